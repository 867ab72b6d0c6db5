//! The API key: where it comes from and how a request shows it.

use crate::config::Secret;
use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The name of the key's file in the data directory.
pub const KEY_FILE: &str = "api.key";

/// Longer than any key; a larger file is not ours.
const KEY_BYTES_MAX: u64 = 1_024;
/// As in the table of configuration keys.
const KEY_BYTES_MIN: usize = 16;

/// The one key that opens everything. Prints as stars.
#[derive(Clone, Debug)]
pub struct ApiKey {
    text: Secret,
    sha256: [u8; 32],
}

impl ApiKey {
    /// A key of this text.
    #[must_use]
    pub fn new(text: &str) -> ApiKey {
        ApiKey { text: Secret::new(text), sha256: Sha256::digest(text.as_bytes()).into() }
    }

    /// The configured key; else the one kept in the data directory; else a new one, kept there
    /// from now on, readable by its owner alone.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds no key.
    pub fn of_node(data: &Path, configured: Option<&Secret>) -> std::io::Result<ApiKey> {
        if let Some(configured) = configured {
            return Ok(ApiKey::new(configured.reveal()));
        }
        let path = data.join(KEY_FILE);
        match std::fs::File::open(&path) {
            Ok(file) => read_key(&path, &file),
            Err(error) if error.kind() == ErrorKind::NotFound => make_key(&path),
            Err(error) => Err(error),
        }
    }

    /// The text, for the one line that tells the operator.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.text.reveal()
    }

    /// Whether the request shows this key as `Authorization: Bearer`.
    #[must_use]
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        self.is_shown(shown)
    }

    /// As [`ApiKey::admits`], for the header's text.
    #[must_use]
    pub(super) fn is_shown(&self, authorization: Option<&str>) -> bool {
        let Some((scheme, key)) = authorization.and_then(|text| text.split_once(' ')) else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer") && self.equals(key.trim())
    }

    /// Takes the same time whatever the text: digests are compared, and all of them.
    fn equals(&self, text: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let differing = digest.iter().zip(&self.sha256).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

fn read_key(path: &Path, file: &std::fs::File) -> std::io::Result<ApiKey> {
    let mut text = String::new();
    file.take(KEY_BYTES_MAX).read_to_string(&mut text)?;
    let key = text.trim();
    if key.len() < KEY_BYTES_MIN || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = format!("{} holds no API key: remove it to have a new one made", path.display());
        return Err(std::io::Error::new(ErrorKind::InvalidData, why));
    }
    Ok(ApiKey::new(key))
}

fn make_key(path: &Path) -> std::io::Result<ApiKey> {
    let key = format!("nvx_{}", random_hex::<32>());
    // Written aside and renamed: a crash leaves no half a key.
    let aside = path.with_extension("key.new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&aside)?;
    writeln!(file, "{key}")?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    Ok(ApiKey::new(&key))
}

/// Random bytes of the system as hexadecimal digits.
pub(super) fn random_hex<const BYTES: usize>() -> String {
    let mut text = String::with_capacity(BYTES * 2);
    for byte in random::<BYTES>() {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Random bytes of the system. It gives them or the machine is broken beyond serving.
pub(super) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::os::unix::fs::PermissionsExt;

    fn shows(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).expect("a header"));
        headers
    }

    #[test]
    fn only_the_whole_key_as_bearer_is_admitted() {
        let key = ApiKey::new("0123456789abcdef");
        assert!(key.admits(&shows("Bearer 0123456789abcdef")));
        assert!(key.admits(&shows("bearer 0123456789abcdef")));
        for value in ["Bearer 0123456789abcde", "Bearer", "Basic 0123456789abcdef", "Bearer x", ""]
        {
            assert!(!key.admits(&shows(value)), "{value}");
        }
        assert!(!key.admits(&HeaderMap::new()));
    }

    #[test]
    fn a_made_key_is_kept_private_and_the_same_at_the_next_start() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = ApiKey::of_node(dir.path(), None).expect("made");
        let second = ApiKey::of_node(dir.path(), None).expect("read");
        assert_eq!(first.reveal(), second.reveal());
        assert!(first.reveal().len() > 60);
        let mode =
            std::fs::metadata(dir.path().join(KEY_FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{first:?}").contains(first.reveal()));
    }

    #[test]
    fn a_configured_key_wins_and_a_broken_file_is_told() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join(KEY_FILE), "short\n").expect("written");
        let configured = Secret::new("configured-key-1");
        let key = ApiKey::of_node(dir.path(), Some(&configured)).expect("configured");
        assert_eq!(key.reveal(), "configured-key-1");
        let error = ApiKey::of_node(dir.path(), None).expect_err("no key in it");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
