//! A checkpoint of a closed store: a second folder that holds the same tables by hard links and costs no room
//! until the first is compacted. Of a store that is open, its engine makes one.
//!
//! Invariants: the manifest comes last, when all it names is durable; the store itself is not touched.

use super::copy::{copy, write_whole};
use super::view::{View, lock};
use crate::disk::{Disk, read_all};
use crate::error::Error;
use crate::manifest;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a checkpoint holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Up to which mark it is complete.
    pub mark: u64,
    /// Files in it.
    pub files: u64,
    /// Files that could not be linked, because `target` is on another file system, and were copied.
    pub files_copied: u64,
}

/// Makes `target`, which must be empty or not there, a checkpoint of the store in `dir`.
///
/// # Errors
/// When the store is open elsewhere or its manifest is damaged, `target` holds files, or cannot be written.
pub fn checkpoint(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    target: &Path,
) -> Result<CheckpointReport, Error> {
    let _lock = lock(&**disk, dir)?;
    let view = View::open(disk, dir)?;
    disk.create_dir(target).map_err(Error::io("create", target))?;
    if !disk.list(target).map_err(Error::io("list", target))?.is_empty() {
        return Err(Error::NotEmpty { dir: target.to_path_buf() });
    }
    let mut report = CheckpointReport { mark: view.mark, ..CheckpointReport::default() };
    for file in view.files() {
        report.files += 1;
        let (from, to) = (dir.join(&file.name), target.join(&file.name));
        if !file.is_immutable() {
            continue;
        }
        match disk.link(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                copy(&**disk, &from, &to)?;
                report.files_copied += 1;
            }
            Err(source) => return Err(Error::Io { action: "link", file: from, source }),
        }
    }
    disk.sync_dir(target).map_err(Error::io("sync folder", target))?;
    let from = dir.join(manifest::FILE_NAME);
    let bytes = read_all(&**disk, &from, manifest::FILE_BYTES_MAX);
    let bytes = bytes.map_err(Error::io("read", &from))?;
    write_whole(&**disk, &target.join(manifest::FILE_NAME), &bytes)?;
    Ok(report)
}

/// Up to which mark the store in `dir` is complete, as it is on disk; `None` where there is no manifest, and
/// so no store. Nothing is locked and nothing changed: for folders nobody has opened.
///
/// # Errors
/// When the folder cannot be read, or the manifest is damaged.
pub fn store_mark(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<u64>, Error> {
    let file = dir.join(manifest::FILE_NAME);
    if !disk.exists(&file).map_err(Error::io("find", &file))? {
        return Ok(None);
    }
    Ok(Some(View::open(disk, dir)?.mark))
}
