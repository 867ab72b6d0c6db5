//! Which object store: a local directory by default, S3-compatible by configuration.

use crate::error::ColdError;
use crate::local::DurableLocal;
use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use std::fmt;
use std::sync::Arc;
use url::Url;

/// Where objects are, and how to get at them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StoreConfig {
    /// A directory, `file:///directory`, or `s3://bucket/prefix`.
    pub url: String,
    /// S3: the server, when it is not Amazon's.
    pub endpoint: Option<String>,
    /// S3: the region; `us-east-1` when there is none.
    pub region: Option<String>,
    /// S3: the key. Without one, requests are not signed.
    pub access_key: Option<String>,
    /// S3: its secret.
    pub secret_key: Option<String>,
    /// S3: whether an endpoint without TLS will do.
    pub allow_http: bool,
}

/// Secrets are never printed.
impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key", &self.access_key)
            .field("secret_key", &self.secret_key.as_ref().map(|_| "***"))
            .field("allow_http", &self.allow_http)
            .finish()
    }
}

impl StoreConfig {
    /// Objects in a local directory.
    #[must_use]
    pub fn local(dir: &str) -> Self {
        Self { url: dir.to_owned(), ..Self::default() }
    }

    /// Opens the store. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`ColdError::Address`] when the configuration names none; [`ColdError::Local`] when the
    /// directory can neither be opened nor made.
    pub fn open(&self) -> Result<Arc<dyn ObjectStore>, ColdError> {
        if !self.url.contains("://") {
            return open_dir(std::path::Path::new(&self.url));
        }
        let bad = |reason: String| ColdError::Address(format!("{}: {reason}", self.url));
        let url = Url::parse(&self.url).map_err(|error| bad(error.to_string()))?;
        match url.scheme() {
            "file" => {
                let dir = url.to_file_path().map_err(|()| bad("it is no local path".into()))?;
                open_dir(&dir)
            }
            "s3" | "s3a" => self.open_s3(&url),
            other => Err(bad(format!("{other} is neither file nor s3"))),
        }
    }

    fn open_s3(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, ColdError> {
        let bad = |reason: &str| ColdError::Address(format!("{}: {reason}", self.url));
        let bucket = url.host_str().ok_or_else(|| bad("it names no bucket"))?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(self.region.as_deref().unwrap_or("us-east-1"))
            .with_allow_http(self.allow_http)
            .with_conditional_put(S3ConditionalPut::ETagMatch);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder = match (&self.access_key, &self.secret_key) {
            (Some(key), Some(secret)) => {
                builder.with_access_key_id(key).with_secret_access_key(secret)
            }
            (None, None) => builder.with_skip_signature(true),
            _ => return Err(bad("a key needs its secret, and a secret its key")),
        };
        let store = builder.build()?;
        let prefix = Path::from_url_path(url.path()).map_err(object_store::Error::from)?;
        if prefix.as_ref().is_empty() {
            return Ok(Arc::new(store));
        }
        Ok(Arc::new(PrefixStore::new(store, prefix)))
    }
}

fn open_dir(dir: &std::path::Path) -> Result<Arc<dyn ObjectStore>, ColdError> {
    if dir.as_os_str().is_empty() {
        return Err(ColdError::Address("it is empty".into()));
    }
    let store = DurableLocal::open(dir)
        .map_err(|source| ColdError::Local { path: dir.to_owned(), source })?;
    Ok(Arc::new(store))
}
