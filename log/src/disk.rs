//! The seam between log and store and the file system.
//!
//! Everything they do to files goes through [`Disk`], so that tests can run them on a disk that
//! loses what was not synced, tears writes, fills up and rots ([`crate::sim::SimDisk`]). The store's files are
//! written once, from front to back, and read at offsets. The log's segments are made at their full size, and
//! then written block by block, each write durable by itself.

use crate::block::{BLOCK_BYTES, Block};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Zeros are written in pieces of this size, so that a stop is not kept waiting.
const ZEROS_BYTES: usize = 1 << 20;
/// Blocks handed to the system in one call; it takes no more than 1024 pieces.
const PIECES_MAX: usize = 1024;

#[repr(C, align(4096))]
struct Zeros([u8; ZEROS_BYTES]);
static ZEROS: Zeros = Zeros([0; ZEROS_BYTES]);

/// A file that is being written, from front to back.
pub trait DiskWrite: Send {
    /// Appends all of `bytes`. After an error the end of the file is in doubt.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything written so far survives a loss of power. After an error nothing
    /// is known about what was written since the last sync.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is being read, from any thread.
pub trait DiskRead: Send + Sync {
    /// The file's length.
    fn len_bytes(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`; an error if the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// A file of fixed size that is written in place, block by block.
pub trait DiskSegment: Send + Sync {
    /// Writes the blocks at `offset`, a multiple of their size. When it answers they survive a loss of power; after
    /// an error any part of them may be there. One caller at a time.
    fn write_blocks(&self, offset: u64, blocks: &[Block]) -> io::Result<()>;
    /// Whether writes bypass the page cache.
    fn is_direct(&self) -> bool;
    /// The descriptor, for those who write by themselves. It is opened such that a write that is done is durable.
    fn raw_fd(&self) -> Option<RawFd>;
}

/// Keeps a folder for one owner until dropped.
pub trait DiskLock: Send + Sync {}

/// A file system.
pub trait Disk: Send + Sync + 'static {
    /// Whether its operations take no time, so that whoever needs a file makes it and no thread makes it ahead.
    fn is_instant(&self) -> bool {
        false
    }
    /// Makes the folder and those above it, durably.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names and lengths of the files in a folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>>;
    /// Names of the folders in a folder.
    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Whether there is a file of this name.
    fn exists(&self, file: &Path) -> io::Result<bool>;
    /// Makes an empty file, in place of any that was there.
    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskWrite>>;
    /// Opens a file to write on behind its present end.
    fn append(&self, file: &Path) -> io::Result<Box<dyn DiskWrite>>;
    /// Opens a file to read.
    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskRead>>;
    /// Gives `from` the name `to`, in place of any file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name; an error when the name is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, file: &Path) -> io::Result<()>;
    /// Removes a folder that is empty. Whether that survives a loss of power is open.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Cuts a file to a length that it has. Whether the cut survives a loss of power is open.
    fn truncate(&self, file: &Path, bytes: u64) -> io::Result<()>;
    /// Makes a file of so many zeros, a multiple of [`BLOCK_BYTES`], durable but for its name, in place of any that
    /// was there. Ends early with [`io::ErrorKind::Interrupted`] when `stop` is set.
    fn make_zeroed(
        &self,
        file: &Path,
        bytes: u64,
        direct: bool,
        stop: &AtomicBool,
    ) -> io::Result<()>;
    /// Opens a file of a fixed size to write it in place; past the page cache if `direct` and possible.
    fn open_segment(&self, file: &Path, direct: bool) -> io::Result<Arc<dyn DiskSegment>>;
    /// Returns when the names in the folder survive a loss of power.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Claims the folder; `None` when somebody else holds it.
    fn lock(&self, dir: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl DiskWrite for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl DiskRead for File {
    fn len_bytes(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

/// A segment file, and whether it was opened with `O_DIRECT`.
struct RealSegment {
    file: File,
    direct: bool,
}

impl DiskSegment for RealSegment {
    fn write_blocks(&self, offset: u64, blocks: &[Block]) -> io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))?;
        for blocks in blocks.chunks(PIECES_MAX) {
            let mut pieces: Vec<IoSlice<'_>> =
                blocks.iter().map(|block| IoSlice::new(&block.0)).collect();
            let mut left = &mut pieces[..];
            while !left.is_empty() {
                match file.write_vectored(left) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => IoSlice::advance_slices(&mut left, written),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn is_direct(&self) -> bool {
        self.direct
    }

    fn raw_fd(&self) -> Option<RawFd> {
        Some(self.file.as_raw_fd())
    }
}

/// Opens for writing past the page cache, or through it where the file system cannot do without
/// (it answers `EINVAL` then). Says which it is.
fn open_direct(path: &Path, create: bool, flags: i32, direct: bool) -> io::Result<(File, bool)> {
    let open = |flags| {
        OpenOptions::new()
            .write(true)
            .create(create)
            .truncate(create)
            .custom_flags(flags)
            .open(path)
    };
    if direct {
        match open(flags | libc::O_DIRECT) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            result => return result.map(|file| (file, true)),
        }
    }
    open(flags).map(|file| (file, false))
}

/// The lock of the file `LOCK`: the system drops it with the process, however it ends.
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
        if let Some(above) = above {
            self.create_dir(above)?;
        }
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.sync_dir(above.unwrap_or(Path::new(".")))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut dirs = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string()) {
                dirs.push(name);
            }
        }
        Ok(dirs)
    }

    fn exists(&self, file: &Path) -> io::Result<bool> {
        file.try_exists()
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskWrite>> {
        Ok(Box::new(File::create(file)?))
    }

    fn append(&self, file: &Path) -> io::Result<Box<dyn DiskWrite>> {
        Ok(Box::new(OpenOptions::new().append(true).open(file)?))
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskRead>> {
        Ok(Box::new(File::open(file)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn truncate(&self, file: &Path, bytes: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(file)?.set_len(bytes)
    }

    /// Blocks that were written once are overwritten in place later: no allocation, no journal.
    fn make_zeroed(
        &self,
        file: &Path,
        bytes: u64,
        direct: bool,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        assert!(bytes.is_multiple_of(BLOCK_BYTES as u64), "segments are whole blocks");
        let (file, _) = open_direct(file, true, 0, direct)?;
        let mut offset = 0;
        while offset < bytes {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let left = usize::try_from(bytes - offset).unwrap_or(usize::MAX);
            let piece = &ZEROS.0[..left.min(ZEROS_BYTES)];
            file.write_all_at(piece, offset)?;
            offset += piece.len() as u64;
        }
        file.sync_all()
    }

    fn open_segment(&self, file: &Path, direct: bool) -> io::Result<Arc<dyn DiskSegment>> {
        let (file, direct) = open_direct(file, false, libc::O_DSYNC, direct)?;
        Ok(Arc::new(RealSegment { file, direct }))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(dir.join("LOCK"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Reads a whole file, unless it is longer than it can be.
pub fn read_all(disk: &dyn Disk, file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let reader = disk.open(file)?;
    let len = reader.len_bytes()?;
    if len > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than it can be"));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    reader.read_at(0, &mut bytes)?;
    Ok(bytes)
}
