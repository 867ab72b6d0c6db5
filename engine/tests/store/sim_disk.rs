//! A disk in memory with the faults of real ones. Deterministic: all chance comes from a seed.
//!
//! It keeps apart what is written and what is synced. [`SimDisk::crash`] makes the disk that is found after
//! the power went: names as of the last sync of the folder plus some of the changes since, in
//! order; files as of their last sync plus some of the bytes since, which may be garbage.

use novax_engine::{Disk, DiskLock, DiskRead, DiskWrite};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// A small generator (splitmix64), so that one number reproduces a failure.
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug, Default)]
struct FileData {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Clone, Debug)]
enum NameOp {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

type Names = BTreeMap<PathBuf, usize>;

fn apply(names: &mut Names, op: &NameOp) {
    match op {
        NameOp::Link(path, file) => drop(names.insert(path.clone(), *file)),
        NameOp::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        NameOp::Remove(path) => drop(names.remove(path)),
    }
}

#[derive(Default)]
struct World {
    files: Vec<FileData>,
    names: Names,
    durable_names: Names,
    pending: Vec<NameOp>,
    locked: bool,
    operations: u64,
    /// The power goes with this operation.
    power_cut_at: Option<u64>,
    /// One in so many writing operations fails.
    fault_one_in: Option<(u64, Rng)>,
    bytes_free: Option<usize>,
}

impl World {
    /// Counts an operation; an error once the power is gone.
    fn power(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.power_cut_at.is_some_and(|at| self.operations >= at) {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }

    /// Counts an operation that writes; it may fail by chance.
    fn chance(&mut self) -> io::Result<()> {
        self.power()?;
        if let Some((n, rng)) = &mut self.fault_one_in
            && rng.one_in(*n)
        {
            return Err(io::Error::other("an injected fault"));
        }
        Ok(())
    }

    fn name_op(&mut self, op: NameOp) {
        apply(&mut self.names, &op);
        self.pending.push(op);
    }
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct SimDisk {
    world: Arc<Mutex<World>>,
}

impl SimDisk {
    fn lock_world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn arc(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// The power goes `operations` operations from now.
    pub(crate) fn cut_power_after(&self, operations: u64) {
        let mut world = self.lock_world();
        world.power_cut_at = Some(world.operations + operations + 1);
    }

    pub(crate) fn operations(&self) -> u64 {
        self.lock_world().operations
    }

    /// One in `n` operations that write fails; none when `n` is 0.
    pub(crate) fn fail_one_in(&self, n: u64, seed: u64) {
        self.lock_world().fault_one_in = (n > 0).then_some((n, Rng(seed)));
    }

    /// Leaves room for so many bytes more; `None` for no limit.
    pub(crate) fn set_bytes_free(&self, bytes: Option<usize>) {
        self.lock_world().bytes_free = bytes;
    }

    /// Flips a bit of a file.
    pub(crate) fn rot(&self, file: &Path, offset: usize, bit: u32) {
        let mut world = self.lock_world();
        let file = world.names[file];
        world.files[file].bytes[offset] ^= 1 << bit;
    }

    pub(crate) fn read_file(&self, file: &Path) -> Vec<u8> {
        let world = self.lock_world();
        world.files[world.names[file]].bytes.clone()
    }

    /// A copy as it is now, all of it durable and nothing failing.
    pub(crate) fn copy(&self) -> SimDisk {
        let world = self.lock_world();
        let files = world.files.iter().cloned();
        let files = files.map(|file| FileData { synced: file.bytes.len(), ..file }).collect();
        SimDisk::from(files, world.names.clone())
    }

    fn from(files: Vec<FileData>, names: Names) -> SimDisk {
        let world = World { files, durable_names: names.clone(), names, ..World::default() };
        SimDisk { world: Arc::new(Mutex::new(world)) }
    }

    /// The disk that is found when the power is back.
    pub(crate) fn crash(&self, seed: u64) -> SimDisk {
        let mut rng = Rng(seed);
        let world = self.lock_world();
        let mut names = world.durable_names.clone();
        let survive = rng.below(world.pending.len() as u64 + 1) as usize;
        for op in &world.pending[..survive] {
            apply(&mut names, op);
        }
        let mut files = Vec::new();
        for file in &world.files {
            let unsynced = file.bytes.len() - file.synced;
            let kept = rng.below(unsynced as u64 + 1) as usize;
            let mut bytes = file.bytes[..file.synced + kept].to_vec();
            if kept > 0 && rng.one_in(2) {
                // The length reached the disk, some of the bytes did not.
                let torn = file.synced + rng.below(kept as u64) as usize;
                let zeros = rng.one_in(2);
                for byte in &mut bytes[torn..] {
                    *byte = if zeros { 0 } else { rng.next() as u8 };
                }
            }
            files.push(FileData { synced: bytes.len(), bytes });
        }
        SimDisk::from(files, names)
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl DiskWrite for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.disk.lock_world();
        let outcome = world.chance();
        let fits = world.bytes_free.unwrap_or(usize::MAX).min(bytes.len());
        // A failed write leaves a part of it behind.
        let written = if outcome.is_err() { fits / 2 } else { fits };
        world.files[self.file].bytes.extend_from_slice(&bytes[..written]);
        world.bytes_free = world.bytes_free.map(|free| free - written);
        outcome?;
        if written < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.disk.lock_world();
        world.chance()?;
        let file = &mut world.files[self.file];
        file.synced = file.bytes.len();
        Ok(())
    }
}

impl DiskRead for SimFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.lock_world().files[self.file].bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut world = self.disk.lock_world();
        world.power()?;
        let bytes = &world.files[self.file].bytes;
        let start = offset as usize;
        let part = bytes.get(start..start + buffer.len());
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

struct SimLock(SimDisk);

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.lock_world().locked = false;
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.lock_world().power()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut world = self.lock_world();
        world.power()?;
        let here = world.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok(here.map(|(path, &file)| (name(path), world.files[file].bytes.len() as u64)).collect())
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskWrite>> {
        let mut world = self.lock_world();
        world.chance()?;
        world.files.push(FileData::default());
        let number = world.files.len() - 1;
        world.name_op(NameOp::Link(file.to_path_buf(), number));
        Ok(Box::new(SimFile { disk: self.clone(), file: number }))
    }

    fn append(&self, file: &Path) -> io::Result<Box<dyn DiskWrite>> {
        let mut world = self.lock_world();
        world.power()?;
        let file = *world.names.get(file).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskRead>> {
        let mut world = self.lock_world();
        world.power()?;
        let file = *world.names.get(file).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        world.chance()?;
        if !world.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.name_op(NameOp::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        world.power()?;
        if !world.names.contains_key(file) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let freed = world.files[world.names[file]].bytes.len();
        world.bytes_free = world.bytes_free.map(|free| free + freed);
        world.name_op(NameOp::Remove(file.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        world.chance()?;
        for op in std::mem::take(&mut world.pending) {
            apply(&mut world.durable_names, &op);
        }
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut world = self.lock_world();
        if std::mem::replace(&mut world.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock(self.clone()))))
    }
}
