//! What is on a simulated disk, what of it is durable, and what goes wrong with it.

use super::Rng;
use crate::block::BLOCK_BYTES;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct FileData {
    pub(super) bytes: Vec<u8>,
    /// Bytes up to here survive.
    synced: usize,
    /// Block writes that failed or were under way when the power went: any of their sectors may land.
    torn: Vec<(usize, Vec<u8>)>,
    /// What was cut off, which may come back.
    cut_off: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum NameOp {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameOp {
    /// The folder in which it changes a name.
    fn dir(&self) -> Option<&Path> {
        match self {
            NameOp::Link(path, _) | NameOp::Rename(_, path) | NameOp::Remove(path) => path.parent(),
        }
    }
}

pub(super) type Names = BTreeMap<PathBuf, usize>;

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
pub(super) struct World {
    pub(super) files: Vec<FileData>,
    pub(super) names: Names,
    pub(super) dirs: BTreeSet<PathBuf>,
    durable_names: Names,
    pending: Vec<NameOp>,
    pub(super) locked: BTreeSet<PathBuf>,
    pub(super) operations: u64,
    /// The power goes with this operation.
    pub(super) power_cut_at: Option<u64>,
    /// Files are read all the same when the power is gone.
    pub(super) dead_may_read: bool,
    /// One in so many writing operations fails.
    pub(super) fault_one_in: Option<(u64, Rng)>,
    pub(super) syncs_fail: bool,
    pub(super) read_only: bool,
    pub(super) bytes_free: Option<usize>,
    pub(super) delay_us: u64,
    pub(super) delayed_us: u64,
    pub(super) instant: bool,
    pub(super) lose_write_in: Option<u64>,
    pub(super) misdirect_write_in: Option<u64>,
}

/// What the disk does with a write although it says that it did it.
enum Lie {
    Lost,
    Misdirected,
}

impl World {
    /// Counts an operation; an error once the power is gone.
    pub(super) fn power(&mut self) -> io::Result<()> {
        self.operations += 1;
        self.delayed_us = self.delayed_us.saturating_add(self.delay_us);
        if self.power_cut_at.is_some_and(|at| self.operations >= at) {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }

    /// Counts an operation that reads a file.
    fn power_to_read(&mut self) -> io::Result<()> {
        let power = self.power();
        if self.dead_may_read { Ok(()) } else { power }
    }

    /// Counts an operation that writes; it may fail by chance.
    pub(super) fn chance(&mut self) -> io::Result<()> {
        self.power()?;
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if let Some((n, rng)) = &mut self.fault_one_in
            && rng.one_in(*n)
        {
            return Err(io::Error::other("an injected fault"));
        }
        Ok(())
    }

    /// Whether the write about to be made is lied about.
    fn lie(&mut self) -> Option<Lie> {
        let due = |left: &mut Option<u64>| match left {
            Some(0) => left.take().is_some(),
            Some(writes) => {
                *writes -= 1;
                false
            }
            None => false,
        };
        let (lost, misdirected) = (due(&mut self.lose_write_in), due(&mut self.misdirect_write_in));
        if lost {
            return Some(Lie::Lost);
        }
        misdirected.then_some(Lie::Misdirected)
    }

    pub(super) fn name_op(&mut self, op: NameOp) {
        apply(&mut self.names, &op);
        self.pending.push(op);
    }

    pub(super) fn find_named(&self, file: &Path) -> io::Result<usize> {
        self.names.get(file).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn find(&mut self, file: &Path) -> io::Result<usize> {
        self.power()?;
        self.find_named(file)
    }

    pub(super) fn find_to_read(&mut self, file: &Path) -> io::Result<usize> {
        self.power_to_read()?;
        self.find_named(file)
    }

    pub(super) fn create(&mut self, file: &Path) -> io::Result<usize> {
        self.chance()?;
        self.files.push(FileData::default());
        let number = self.files.len() - 1;
        self.name_op(NameOp::Link(file.to_path_buf(), number));
        Ok(number)
    }

    pub(super) fn put_file(&mut self, file: &Path, bytes: &[u8]) {
        let synced = bytes.len();
        self.files.push(FileData { bytes: bytes.to_vec(), synced, ..FileData::default() });
        let op = NameOp::Link(file.to_path_buf(), self.files.len() - 1);
        apply(&mut self.durable_names, &op);
        apply(&mut self.names, &op);
    }

    pub(super) fn append(&mut self, file: usize, bytes: &[u8]) -> io::Result<()> {
        let outcome = self.chance();
        let fits = self.bytes_free.unwrap_or(usize::MAX).min(bytes.len());
        // A failed write leaves a part of it behind.
        let written = if outcome.is_err() { fits / 2 } else { fits };
        let lie = if outcome.is_ok() { self.lie() } else { None };
        let held = &mut self.files[file].bytes;
        let from = held.len();
        held.extend_from_slice(&bytes[..written]);
        match lie {
            Some(Lie::Lost) => held[from..].fill(0),
            Some(Lie::Misdirected) => {
                held[from..].fill(0);
                let at = from.saturating_sub(BLOCK_BYTES);
                let end = held.len().min(at + written);
                held[at..end].copy_from_slice(&bytes[..end - at]);
            }
            None => {}
        }
        self.bytes_free = self.bytes_free.map(|free| free - written);
        outcome?;
        if written < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, file: usize) -> io::Result<()> {
        self.chance()?;
        if self.syncs_fail {
            return Err(io::Error::other("a sync that fails"));
        }
        let file = &mut self.files[file];
        file.synced = file.bytes.len();
        Ok(())
    }

    /// Writes in place and durably, as a file opened for that does.
    pub(super) fn overwrite(
        &mut self,
        file: usize,
        offset: usize,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        let outcome = self.chance();
        let lie = if outcome.is_ok() { self.lie() } else { None };
        let held = &mut self.files[file];
        assert!(offset + bytes.len() <= held.bytes.len(), "a segment never grows");
        if let Err(error) = outcome {
            held.torn.push((offset, bytes));
            return Err(error);
        }
        let offset = match lie {
            Some(Lie::Lost) => return Ok(()),
            Some(Lie::Misdirected) if offset >= BLOCK_BYTES => offset - BLOCK_BYTES,
            Some(Lie::Misdirected) => (held.bytes.len() - bytes.len()).min(BLOCK_BYTES),
            None => offset,
        };
        held.bytes[offset..][..bytes.len()].copy_from_slice(&bytes);
        Ok(())
    }

    pub(super) fn read(&mut self, file: usize, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.power_to_read()?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::InvalidInput)?;
        let part = self.files[file].bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    pub(super) fn truncate(&mut self, file: &Path, bytes: usize) -> io::Result<()> {
        self.chance()?;
        let number = self.find_named(file)?;
        let held = &mut self.files[number];
        assert!(bytes <= held.bytes.len(), "a cut to a length the file has");
        held.cut_off = held.bytes.split_off(bytes);
        held.synced = held.synced.min(bytes);
        Ok(())
    }

    pub(super) fn remove(&mut self, file: &Path) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let number = self.find_named(file)?;
        self.name_op(NameOp::Remove(file.to_path_buf()));
        if !self.names.values().any(|other| *other == number) {
            let freed = self.files[number].bytes.len();
            self.bytes_free = self.bytes_free.map(|free| free + freed);
        }
        Ok(())
    }

    pub(super) fn sync_names(&mut self, dir: &Path) -> io::Result<()> {
        self.chance()?;
        if self.syncs_fail {
            return Err(io::Error::other("a sync that fails"));
        }
        let durable = &mut self.durable_names;
        self.pending.retain(|op| {
            let here = op.dir() == Some(dir);
            if here {
                apply(durable, op);
            }
            !here
        });
        Ok(())
    }

    pub(super) fn copy(&self) -> World {
        let durable = |file: &FileData| FileData {
            synced: file.bytes.len(),
            bytes: file.bytes.clone(),
            ..FileData::default()
        };
        let files = self.files.iter().map(durable).collect();
        let instant = self.instant;
        let found = World::found(files, self.names.clone(), self.dirs.clone());
        World { instant, ..found }
    }

    fn found(files: Vec<FileData>, names: Names, dirs: BTreeSet<PathBuf>) -> World {
        World { files, durable_names: names.clone(), names, dirs, ..World::default() }
    }

    pub(super) fn crash(&self, mut rng: Rng) -> World {
        let mut names = self.durable_names.clone();
        let survive = rng.below_usize(self.pending.len() + 1);
        for op in &self.pending[..survive] {
            apply(&mut names, op);
        }
        let mut files: Vec<FileData> = self.files.iter().map(|file| file.crash(&mut rng)).collect();
        // What has no name is gone for good: nobody has it open any more.
        let named: BTreeSet<usize> = names.values().copied().collect();
        for (number, file) in files.iter_mut().enumerate() {
            if !named.contains(&number) {
                *file = FileData::default();
            }
        }
        // A folder that was removed is there again with the files whose removal did not reach the disk.
        let mut dirs = self.dirs.clone();
        dirs.extend(names.keys().flat_map(|file| file.ancestors().skip(1).map(Path::to_path_buf)));
        let instant = self.instant;
        World { instant, ..World::found(files, names, dirs) }
    }
}

impl FileData {
    fn crash(&self, rng: &mut Rng) -> FileData {
        let unsynced = self.bytes.len() - self.synced;
        let kept = rng.below_usize(unsynced + 1);
        let mut bytes = self.bytes[..self.synced + kept].to_vec();
        if kept > 0 && rng.one_in(2) {
            // The length reached the disk, some of the bytes did not.
            let torn = self.synced + rng.below_usize(kept);
            let zeros = rng.one_in(2);
            for byte in &mut bytes[torn..] {
                *byte = if zeros { 0 } else { (rng.next() & 0xff) as u8 };
            }
        }
        for (offset, write) in &self.torn {
            tear(&mut bytes, *offset, write, rng);
        }
        if !self.cut_off.is_empty() && rng.one_in(2) {
            bytes.extend_from_slice(&self.cut_off);
        }
        FileData { synced: bytes.len(), bytes, ..FileData::default() }
    }
}

/// Lets some sectors of a write land: a first part, any subset, or all.
fn tear(bytes: &mut [u8], offset: usize, write: &[u8], rng: &mut Rng) {
    let sectors = write.len().div_ceil(SECTOR_BYTES);
    let (kind, first) = (rng.below(4), rng.below_usize(sectors + 1));
    for (number, sector) in write.chunks(SECTOR_BYTES).enumerate() {
        let lands = match kind {
            0 => number < first,
            1 => true,
            _ => rng.one_in(2),
        };
        let at = offset + number * SECTOR_BYTES;
        if lands && let Some(place) = bytes.get_mut(at..at + sector.len()) {
            place.copy_from_slice(sector);
        }
    }
}
