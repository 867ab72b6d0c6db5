//! The seam between the store and the file system.
//!
//! Everything the store does to files goes through [`Disk`], so that tests can run it on a disk that
//! loses what was not synced, tears writes, fills up and rots. Files are written once, from front to
//! back, and read at offsets; nothing is changed in place.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

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

/// Keeps a folder for one engine until dropped.
pub trait DiskLock: Send + Sync {}

/// A file system.
pub trait Disk: Send + Sync + 'static {
    /// Makes the folder and those above it, durably.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names and lengths of the files in a folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>>;
    /// Makes an empty file, in place of any that was there.
    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskWrite>>;
    /// Opens a file to write on behind its present end.
    fn append(&self, file: &Path) -> io::Result<Box<dyn DiskWrite>>;
    /// Opens a file to read.
    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskRead>>;
    /// Gives `from` the name `to`, in place of any file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, file: &Path) -> io::Result<()>;
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

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
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

/// Reads a whole file.
pub(crate) fn read_all(disk: &dyn Disk, file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let reader = disk.open(file)?;
    let len = reader.len_bytes()?;
    if len > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than it can be"));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    reader.read_at(0, &mut bytes)?;
    Ok(bytes)
}
