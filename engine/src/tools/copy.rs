//! Copying files whole, with a checksum taken on the way.
//!
//! Invariant: a copy has its final name only when all of it is durable.

use crate::disk::{Disk, DiskRead};
use crate::error::Error;
use std::path::{Path, PathBuf};

/// Bytes moved at a time.
const PIECE_BYTES: usize = 256 << 10;
/// The part at the end of a file that tells it from others of its name.
const TAIL_BYTES: u64 = 256;

/// Length and checksum of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

/// The name of a file that is not whole yet.
pub(super) fn part_name(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    file.with_file_name(name)
}

/// Hands a file over piece by piece.
fn read_through(
    disk: &dyn Disk,
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Sum, Error> {
    let file = disk.open(path).map_err(Error::io("open", path))?;
    let bytes = file.len_bytes().map_err(Error::io("measure", path))?;
    let mut buffer = vec![0; PIECE_BYTES.min(usize::try_from(bytes).unwrap_or(PIECE_BYTES))];
    let mut hasher = crc32fast::Hasher::new();
    let mut offset = 0;
    while offset < bytes {
        let len = usize::try_from(bytes - offset).map_or(buffer.len(), |len| len.min(buffer.len()));
        let piece = &mut buffer[..len];
        file.read_at(offset, piece).map_err(Error::io("read", path))?;
        hasher.update(piece);
        take(piece)?;
        offset += len as u64;
    }
    Ok(Sum { bytes, crc: hasher.finalize() })
}

/// Length and checksum of a file as it is.
pub(super) fn sum(disk: &dyn Disk, path: &Path) -> Result<Sum, Error> {
    read_through(disk, path, |_| Ok(()))
}

/// Copies a file, durable but for its name in the folder. Returns what was read.
pub(super) fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> Result<Sum, Error> {
    let part = part_name(to);
    let mut out = disk.create(&part).map_err(Error::io("create", &part))?;
    let copied =
        read_through(disk, from, |piece| out.write(piece).map_err(Error::io("write", &part)))?;
    out.sync().map_err(Error::io("sync", &part))?;
    drop(out);
    disk.rename(&part, to).map_err(Error::io("rename", &part))?;
    Ok(copied)
}

/// Length of a file and the checksum of its tail.
pub(super) fn tail(disk: &dyn Disk, path: &Path) -> Result<Sum, Error> {
    let file: Box<dyn DiskRead> = disk.open(path).map_err(Error::io("open", path))?;
    let bytes = file.len_bytes().map_err(Error::io("measure", path))?;
    let mut tail = vec![0; bytes.min(TAIL_BYTES) as usize];
    file.read_at(bytes - tail.len() as u64, &mut tail).map_err(Error::io("read", path))?;
    Ok(Sum { bytes, crc: crc32fast::hash(&tail) })
}

/// Writes a small file whole: it is there with all its bytes or not at all.
pub(super) fn write_whole(disk: &dyn Disk, to: &Path, bytes: &[u8]) -> Result<(), Error> {
    let part = part_name(to);
    let mut out = disk.create(&part).map_err(Error::io("create", &part))?;
    out.write(bytes).map_err(Error::io("write", &part))?;
    out.sync().map_err(Error::io("sync", &part))?;
    drop(out);
    disk.rename(&part, to).map_err(Error::io("rename", &part))?;
    sync_parent(disk, to)
}

/// Makes the names in a file's folder durable.
pub(super) fn sync_parent(disk: &dyn Disk, file: &Path) -> Result<(), Error> {
    let dir = file.parent().unwrap_or(Path::new("."));
    disk.sync_dir(dir).map_err(Error::io("sync folder", dir))
}
