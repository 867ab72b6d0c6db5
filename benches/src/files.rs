//! Folders for data that are gone at the end, and how much is in them.

use crate::error::{During as _, Result};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Deeper than any store nests its folders.
const DEPTH_MAX: usize = 16;

/// A folder that is removed when dropped. By default beside this binary, which is the same kind of disk
/// that the project is on; the folder for temporary files may be memory.
pub(crate) fn data_dir(place: Option<&Path>) -> Result<TempDir> {
    let place = match place {
        Some(place) => place.to_path_buf(),
        None => beside_this_binary()?,
    };
    tempfile::Builder::new().prefix("bench-").tempdir_in(place).during("making a data directory")
}

fn beside_this_binary() -> Result<PathBuf> {
    let binary = std::env::current_exe().during("finding this binary")?;
    Ok(binary.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf))
}

/// What all files below take on the disk, by blocks: as `du` counts.
pub(crate) fn disk_bytes(dir: &Path) -> Result<u64> {
    sum(dir, DEPTH_MAX, &|_, data| data.blocks() * 512)
}

/// What all files below hold that was written: their lengths, or less where they have holes.
pub(crate) fn written_bytes(dir: &Path) -> Result<u64> {
    sum(dir, DEPTH_MAX, &|_, data| data.len().min(data.blocks() * 512))
}

/// As [`written_bytes`], without logs: they hold what is in memory too, and are made in advance.
pub(crate) fn written_bytes_but_logs(dir: &Path) -> Result<u64> {
    let is_log = |path: &Path| path.extension().is_some_and(|end| end == "log" || end == "jnl");
    let len = |data: &Metadata| data.len().min(data.blocks() * 512);
    sum(dir, DEPTH_MAX, &|path, data| if is_log(path) { 0 } else { len(data) })
}

fn sum(dir: &Path, depth: usize, of: &dyn Fn(&Path, &Metadata) -> u64) -> Result<u64> {
    assert!(depth > 0, "folders nest deeper than any store makes them");
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).during("listing a data directory")? {
        let entry = entry.during("listing a data directory")?;
        // A file may go while the store is open.
        let Ok(data) = entry.metadata() else { continue };
        let path = entry.path();
        bytes += if data.is_dir() { sum(&path, depth - 1, of)? } else { of(&path, &data) };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_folder_are_those_of_all_files_below() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("below")).expect("a folder");
        std::fs::write(dir.path().join("a"), [1; 10_000]).expect("a file");
        std::fs::write(dir.path().join("below/b"), [1; 5_000]).expect("a file");
        std::fs::write(dir.path().join("below/1.log"), [1; 7_000]).expect("a file");
        assert_eq!(written_bytes(dir.path()).expect("listed"), 22_000);
        assert_eq!(written_bytes_but_logs(dir.path()).expect("listed"), 15_000);
        assert!(disk_bytes(dir.path()).expect("listed") >= 15_000);
    }
}
