//! A directory as an object store that survives a power cut.
//!
//! `object_store`'s own does not sync. Here a put is written beside its place, synced, linked or
//! renamed to it, and every directory on the way is synced: an object is there whole, or not at all,
//! and stays. A mover that was told "done" may drop what it moved.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many names beside an object are tried before giving up: leftovers of crashes take some.
const STAGED_MAX: u32 = 10_000;

/// Objects as files of a directory.
#[derive(Debug, Clone)]
pub struct DurableLocal {
    files: Arc<LocalFileSystem>,
    root: PathBuf,
}

impl DurableLocal {
    /// Opens a directory, and makes it when it is not there.
    ///
    /// # Errors
    /// When it can neither be made nor opened.
    pub fn open(root: &FsPath) -> std::io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let root = std::fs::canonicalize(root)?;
        if let Some(parent) = root.parent() {
            sync_dir(parent)?;
        }
        let files = LocalFileSystem::new_with_prefix(&root).map_err(std::io::Error::other)?;
        Ok(Self { files: Arc::new(files), root })
    }
}

impl std::fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DurableLocal({})", self.root.display())
    }
}

fn wrap(error: std::io::Error) -> Error {
    Error::Generic { store: "local directory", source: Box::new(error) }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Syncs a directory: names that came or went in it stay so.
fn sync_dir(dir: &FsPath) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes the directories down to a file's, each name synced in the one above.
fn make_dirs(root: &FsPath, file: &FsPath) -> std::io::Result<()> {
    let dir = file.parent().unwrap_or(root);
    if dir.is_dir() || !dir.starts_with(root) {
        return Ok(());
    }
    make_dirs(root, dir)?;
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(dir.parent().unwrap_or(root))
}

/// A new file beside `path`. Names that end in `#` and digits are no objects to `LocalFileSystem`.
fn stage(path: &FsPath) -> std::io::Result<(File, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    for _ in 0..STAGED_MAX {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut name = path.as_os_str().to_owned();
        name.push(format!("#{number}"));
        let staged = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Ok(file) => return Ok((file, staged)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(std::io::Error::new(ErrorKind::AlreadyExists, "no name is free beside it"))
}

/// Writes, syncs and names one file.
fn put(root: &FsPath, path: &FsPath, payload: &PutPayload, is_new: bool) -> std::io::Result<()> {
    make_dirs(root, path)?;
    let (mut file, staged) = stage(path)?;
    let named = payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| {
        file.sync_all()?;
        if is_new {
            // A link, unlike a rename, fails when the name is taken.
            std::fs::hard_link(&staged, path)?;
            std::fs::remove_file(&staged)
        } else {
            std::fs::rename(&staged, path)
        }
    });
    if named.is_err() {
        // What is beside stays out of sight; the reason of the failure matters more.
        let _ = std::fs::remove_file(&staged);
    }
    named?;
    sync_dir(path.parent().unwrap_or(root))
}

#[async_trait::async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let is_new = match options.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "`put_opts` with mode `PutMode::Update`".into(),
                    implementer: self.to_string(),
                });
            }
        };
        let path = self.files.path_to_filesystem(location)?;
        let (root, name) = (self.root.clone(), location.to_string());
        blocking(move || match put(&root, &path, &payload, is_new) {
            Ok(()) => Ok(PutResult { e_tag: None, version: None }),
            Err(error) if is_new && error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: name, source: Box::new(error) })
            }
            Err(error) => Err(wrap(error)),
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.files.path_to_filesystem(location)?;
        let root = self.root.clone();
        let made = path.clone();
        blocking(move || make_dirs(&root, &made).map_err(wrap)).await?;
        let inner = self.files.put_multipart_opts(location, options).await?;
        Ok(Box::new(SyncedUpload { inner, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

/// An upload in parts that is synced when it is complete.
#[derive(Debug)]
struct SyncedUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait::async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part: BoxFuture<'static, Result<()>> = self.inner.put_part(data);
        part
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let path = self.path.clone();
        blocking(move || {
            let synced = File::open(&path).and_then(|file| file.sync_all());
            let dir = path.parent().map_or(Ok(()), sync_dir);
            synced.and(dir).map_err(wrap)
        })
        .await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
