//! A disk in memory with the faults of real ones. Deterministic: all chance comes from a seed.
//!
//! It keeps apart what is written and what is durable. [`SimDisk::crash`] makes the disk that is found after
//! the power went: names as of the last sync of their folder plus some of the changes since, in order; files as of
//! their last sync plus some of the bytes since, which may be garbage; of a block write that was under way any of
//! its sectors.
//!
//! Faults that can be asked for: loss of power at an operation; failing operations; failing syncs; a full, a
//! read-only, a slow disk (the delay is counted, nobody waits); writes that are lost or misdirected although the
//! disk says that they are done; rotten bits.

mod rng;
mod world;

pub use rng::Rng;

use crate::block::{BLOCK_BYTES, Block};
use crate::disk::{Disk, DiskLock, DiskRead, DiskSegment, DiskWrite};
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use world::{NameOp, World};

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    fn lock_world(&self) -> MutexGuard<'_, World> {
        // The world is whole at any time a panic could strike.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk as log and store take it.
    #[must_use]
    pub fn arc(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// The power goes with the operation after the next `operations`.
    pub fn cut_power_after(&self, operations: u64) {
        let mut world = self.lock_world();
        world.power_cut_at = Some(world.operations + operations + 1);
    }

    /// The power stays, whatever was asked for before.
    pub fn keep_power(&self) {
        self.lock_world().power_cut_at = None;
    }

    /// Whether files are read all the same when the power is gone. A thread of the machine goes on to the end of its
    /// turn then, and nobody will ever see what it makes of what it reads.
    pub fn let_the_dead_read(&self, let_them: bool) {
        self.lock_world().dead_may_read = let_them;
    }

    /// Whether the power is gone: every operation fails from now on.
    #[must_use]
    pub fn is_power_gone(&self) -> bool {
        let world = self.lock_world();
        world.power_cut_at.is_some_and(|at| world.operations >= at)
    }

    /// Operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock_world().operations
    }

    /// One in `n` operations that write fails; none when `n` is 0.
    pub fn fail_one_in(&self, n: u64, seed: u64) {
        self.lock_world().fault_one_in = (n > 0).then(|| (n, Rng::new(seed)));
    }

    /// Whether each sync of a file or folder fails.
    pub fn fail_syncs(&self, fail: bool) {
        self.lock_world().syncs_fail = fail;
    }

    /// Whether all that writes is refused.
    pub fn set_read_only(&self, read_only: bool) {
        self.lock_world().read_only = read_only;
    }

    /// Leaves room for so many bytes more; `None` for no limit.
    pub fn set_bytes_free(&self, bytes: Option<usize>) {
        self.lock_world().bytes_free = bytes;
    }

    /// Each operation counts as taking so long.
    pub fn set_delay_us(&self, delay_us: u64) {
        self.lock_world().delay_us = delay_us;
    }

    /// Whether its operations count as taking no time: then a log makes its files on the thread that needs them, and
    /// all that happens depends on what is called alone.
    pub fn set_instant(&self, instant: bool) {
        self.lock_world().instant = instant;
    }

    /// How long all operations would have taken on a disk with the delays that were asked for.
    #[must_use]
    pub fn delayed_us(&self) -> u64 {
        self.lock_world().delayed_us
    }

    /// The write after the next `writes` is said to be done, and nothing is written.
    pub fn lose_write_after(&self, writes: u64) {
        self.lock_world().lose_write_in = Some(writes);
    }

    /// The write after the next `writes` is said to be done, and lands a block off in its file.
    pub fn misdirect_write_after(&self, writes: u64) {
        self.lock_world().misdirect_write_in = Some(writes);
    }

    /// Flips a bit of a file.
    ///
    /// # Panics
    /// When there is no such file or byte.
    pub fn rot(&self, file: &Path, offset: usize, bit: u32) {
        let mut world = self.lock_world();
        let file = world.names[file];
        world.files[file].bytes[offset] ^= 1 << bit;
    }

    /// The bytes of a file as a reader finds them.
    ///
    /// # Panics
    /// When there is no such file.
    #[must_use]
    pub fn read_file(&self, file: &Path) -> Vec<u8> {
        let world = self.lock_world();
        world.files[world.names[file]].bytes.clone()
    }

    /// Puts a file there, durably.
    pub fn write_file(&self, file: &Path, bytes: &[u8]) {
        self.lock_world().put_file(file, bytes);
    }

    /// The names of all files.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock_world().names.keys().cloned().collect()
    }

    /// A copy as it is now, all of it durable and nothing failing.
    #[must_use]
    pub fn copy(&self) -> SimDisk {
        SimDisk { world: Arc::new(Mutex::new(self.lock_world().copy())) }
    }

    /// The disk that is found when the power is back.
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimDisk {
        SimDisk { world: Arc::new(Mutex::new(self.lock_world().crash(Rng::new(seed)))) }
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl DiskWrite for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.lock_world().append(self.file, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.lock_world().sync(self.file)
    }
}

impl DiskRead for SimFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.lock_world().files[self.file].bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.lock_world().read(self.file, offset, buffer)
    }
}

impl DiskSegment for SimFile {
    fn write_blocks(&self, offset: u64, blocks: &[Block]) -> io::Result<()> {
        assert!(offset.is_multiple_of(BLOCK_BYTES as u64), "block writes are aligned");
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.0).collect();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.disk.lock_world().overwrite(self.file, offset, bytes)
    }

    fn is_direct(&self) -> bool {
        true
    }

    fn raw_fd(&self) -> Option<RawFd> {
        None
    }
}

struct SimLock {
    disk: SimDisk,
    dir: PathBuf,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.lock_world().locked.remove(&self.dir);
    }
}

impl Disk for SimDisk {
    fn is_instant(&self) -> bool {
        self.lock_world().instant
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        world.power()?;
        world.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut world = self.lock_world();
        world.power()?;
        let here = world.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let entry = |(path, file): (&PathBuf, &usize)| {
            Some((name(path)?, world.files[*file].bytes.len() as u64))
        };
        Ok(here.filter_map(entry).collect())
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut world = self.lock_world();
        world.power()?;
        let here = world.dirs.iter().filter(|path| path.parent() == Some(dir));
        let name =
            |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(here.filter_map(name).collect())
    }

    fn exists(&self, file: &Path) -> io::Result<bool> {
        let mut world = self.lock_world();
        world.power()?;
        Ok(world.names.contains_key(file))
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskWrite>> {
        let file = self.lock_world().create(file)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn append(&self, file: &Path) -> io::Result<Box<dyn DiskWrite>> {
        let file = self.lock_world().find(file)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskRead>> {
        let file = self.lock_world().find_to_read(file)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        world.chance()?;
        world.find_named(from)?;
        world.name_op(NameOp::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        world.chance()?;
        let file = world.find_named(from)?;
        if world.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.name_op(NameOp::Link(to.to_path_buf(), file));
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        world.power()?;
        world.remove(file)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        world.power()?;
        if world.names.keys().any(|file| file.starts_with(dir)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        world.dirs.retain(|path| !path.starts_with(dir));
        Ok(())
    }

    fn truncate(&self, file: &Path, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        self.lock_world().truncate(file, bytes)
    }

    fn make_zeroed(&self, file: &Path, bytes: u64, _: bool, _: &AtomicBool) -> io::Result<()> {
        let mut world = self.lock_world();
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        let number = world.create(file)?;
        world.append(number, &vec![0; bytes])?;
        world.sync(number)
    }

    fn open_segment(&self, file: &Path, _: bool) -> io::Result<Arc<dyn DiskSegment>> {
        let file = self.lock_world().find(file)?;
        Ok(Arc::new(SimFile { disk: self.clone(), file }))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.lock_world().sync_names(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut world = self.lock_world();
        world.power()?;
        if !world.locked.insert(dir.to_path_buf()) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock { disk: self.clone(), dir: dir.to_path_buf() })))
    }
}
