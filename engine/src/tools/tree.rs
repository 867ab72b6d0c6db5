//! Which folders a data directory is made of: stores, and others such as logs.

use super::catalogue::SourceKind;
use crate::disk::Disk;
use crate::error::Error;
use crate::manifest;
use crate::table::file_number;
use std::path::{Path, PathBuf};

/// How deep stores may lie.
const DEPTH_MAX: usize = 4;

/// A folder to save.
#[derive(Clone, Debug)]
pub struct BackupSource {
    /// Where it is restored to, as a relative path such as `partitions/p000`; empty for the folder itself.
    pub name: String,
    /// Where it is.
    pub dir: PathBuf,
    /// Which of its files are saved.
    pub kind: SourceKind,
    /// Names of plain files that are left out.
    pub skip: Vec<String>,
}

/// Every folder in `dir` that holds files, by name: those with a manifest or tables as stores, the others as plain
/// files. Folders within stores do not count.
///
/// # Errors
/// When a folder cannot be read.
pub fn find_sources(disk: &dyn Disk, dir: &Path) -> Result<Vec<BackupSource>, Error> {
    let mut found = Vec::new();
    let mut ahead = vec![(String::new(), dir.to_path_buf(), 0)];
    while let Some((name, dir, depth)) = ahead.pop() {
        let files = disk.list(&dir).map_err(Error::io("list", &dir))?;
        let is_store = files
            .iter()
            .any(|(name, _)| name == manifest::FILE_NAME || file_number(name).is_some());
        let kind = if is_store { SourceKind::Store } else { SourceKind::Files };
        if is_store || files.iter().any(|(name, _)| name != "LOCK") {
            found.push(BackupSource {
                name: name.clone(),
                dir: dir.clone(),
                kind,
                skip: Vec::new(),
            });
        }
        if is_store || depth == DEPTH_MAX {
            continue;
        }
        for below in disk.list_dirs(&dir).map_err(Error::io("list", &dir))? {
            let full = if name.is_empty() { below.clone() } else { format!("{name}/{below}") };
            ahead.push((full, dir.join(below), depth + 1));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
