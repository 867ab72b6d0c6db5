//! Start-up: reads the logs of all shards and merges them into one log per partition.
//!
//! A node may be started with another number of shards than before, so a partition's entries may
//! lie in several directories. Runs are merged in the order of their incarnation; within one incarnation
//! a partition has one directory. Each run notes how far it read the earlier ones, and the newest
//! such note governs. See `docs/formats/log.md` for the rules and why they are safe.

use crate::disk::{Disk, DiskLock, RealDisk};
use crate::error::{Corruption, Error, IoContext};
use crate::format::Fence;
use crate::merge::{Frame, HardState, LoggedEntry, PartitionLog};
use crate::root::{LogRoot, OldRun, OldSegment, lock, parse_shard_name};
use crate::scan::{SegmentFile, read_fences, scan_run};
use novax_model::PartitionId;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// No name has a larger number: what follows can be counted.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// The file name of a segment.
pub(crate) fn segment_name(incarnation: u64, number: u64) -> String {
    format!("{incarnation:010}-{number:010}.log")
}

/// The file name a segment gets when it is kept to be used again.
pub(crate) fn free_name(segment: &Path) -> String {
    let name = segment.file_name().and_then(|name| name.to_str());
    format!("free-{}", name.expect("segments have plain names"))
}

fn parse_segment_name(name: &str) -> Option<(u64, u64)> {
    let (incarnation, number) = name.strip_suffix(".log")?.split_once('-')?;
    let parsed = (incarnation.parse().ok()?, number.parse().ok()?);
    // Only the one spelling, so that no two files claim to be the same segment.
    let in_bounds = parsed.0 < NUMBER_MAX && (1..NUMBER_MAX).contains(&parsed.1);
    (in_bounds && segment_name(parsed.0, parsed.1) == name).then_some(parsed)
}

/// What the logs of a node hold. Keep it until every shard has been started from it.
#[derive(Debug)]
pub struct Recovered {
    pub(crate) partitions: BTreeMap<PartitionId, PartitionLog>,
    pub(crate) root: Arc<LogRoot>,
}

impl Recovered {
    /// The partitions found in any log, ascending.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions.keys().copied()
    }

    /// The entries of a partition above `index`, ascending. Not all of them need be committed, and
    /// those below the log's mark are gone; empty entries are those by which leaders took office.
    pub fn entries_after(
        &self,
        partition: PartitionId,
        index: u64,
    ) -> impl Iterator<Item = (u64, &[u8])> {
        self.logged(partition)
            .filter(move |entry| entry.at.index > index)
            .map(|entry| (entry.at.index, entry.data.as_ref()))
    }

    /// What the shards to be started share.
    #[must_use]
    pub fn root(&self) -> &Arc<LogRoot> {
        &self.root
    }

    /// All that is known of a partition; `None` if no log names it.
    #[must_use]
    pub fn partition(&self, partition: PartitionId) -> Option<&PartitionLog> {
        self.partitions.get(&partition)
    }

    /// Term, vote and known commit index of a partition.
    #[must_use]
    pub fn hard_state(&self, partition: PartitionId) -> Option<HardState> {
        self.partitions.get(&partition).map(|log| log.meta.hard)
    }

    /// Index of the last entry of a partition; 0 if there is none.
    #[must_use]
    pub fn last_index(&self, partition: PartitionId) -> u64 {
        self.partitions.get(&partition).map_or(0, |log| log.meta.last.index)
    }

    fn logged(&self, partition: PartitionId) -> impl Iterator<Item = &LoggedEntry> {
        self.partitions.get(&partition).into_iter().flat_map(|log| &log.entries)
    }
}

/// A run is one shard under one incarnation; runs sort by incarnation first.
type RunKey = (u64, u16);
type Runs = BTreeMap<RunKey, Vec<SegmentFile>>;
/// The last batch that counts, of each run that has any.
type Fences = BTreeMap<RunKey, u64>;

/// Reads all logs under `root`/log, and locks them for this process as long as the answer or any
/// shard started from it lives. When all is well, what earlier runs made and never used is removed.
/// Blocking; once per start of a node.
///
/// # Errors
/// When the log is open elsewhere, cannot be read, or contradicts itself.
pub fn recover(root: &Path) -> Result<Recovered, Error> {
    recover_on(Arc::new(RealDisk), root)
}

/// As [`recover`], on a given disk.
///
/// # Errors
/// As [`recover`].
pub fn recover_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Recovered, Error> {
    let mut partitions = BTreeMap::new();
    let root = read_log(disk, root, |at, frame| {
        let log: &mut PartitionLog = partitions.entry(at.partition).or_default();
        log.take(at.partition, at.incarnation, frame)
    })?;
    for (partition, log) in &partitions {
        log.finish(*partition).map_err(|what| root.corrupt(what))?;
    }
    let root = Arc::new(root.trim()?);
    Ok(Recovered { partitions, root })
}

/// Where a frame was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameAt {
    pub(crate) partition: PartitionId,
    pub(crate) incarnation: u64,
}

/// A log that was read, and nothing in it changed so far.
pub(crate) struct ReadLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    incarnation: u64,
    fences: Vec<Fence>,
    runs: Vec<ReadRun>,
    lock: Box<dyn DiskLock>,
}

/// Locks a log and passes all its frames to `take`, in the order in which they became durable.
pub(crate) fn read_log(
    disk: Arc<dyn Disk>,
    root: &Path,
    mut take: impl FnMut(FrameAt, &Frame<'_>) -> Result<(), Corruption>,
) -> Result<ReadLog, Error> {
    let dir = root.join("log");
    let lock = lock(&*disk, &dir)?;
    let found = find_runs(&*disk, &dir)?;
    let incarnation = found.keys().map(|(incarnation, _)| *incarnation).max().unwrap_or(0) + 1;
    let governing = governing_fences(&*disk, &found)?;
    let mut homes = Homes::default();
    let mut runs = Vec::with_capacity(found.len());
    for (key, segments) in &found {
        let fence = governing.as_ref().and_then(|(newest, fences)| {
            // A run it does not name had nothing in it then.
            (key.0 < *newest).then(|| fences.get(key).copied().unwrap_or(0))
        });
        let take = |partition, frame: &Frame<'_>| {
            homes.check(partition, *key)?;
            take(FrameAt { partition, incarnation: key.0 }, frame)
        };
        runs.push(read_run(&*disk, *key, segments, fence, take)?);
    }
    let fences = found.keys().zip(&runs).filter(|(_, run)| run.seq > 0).map(|(key, run)| Fence {
        shard: key.1,
        incarnation: key.0,
        seq: run.seq,
    });
    let fences = fences.collect();
    Ok(ReadLog { disk, dir, incarnation, fences, runs, lock })
}

impl ReadLog {
    /// Something that is wrong with the log as a whole.
    pub(crate) fn corrupt(&self, what: Corruption) -> Error {
        Error::Corrupt { file: self.dir.clone(), offset: 0, what }
    }

    /// All is well: takes away what earlier runs made and never used.
    pub(crate) fn trim(self) -> Result<LogRoot, Error> {
        let ReadLog { disk, dir, incarnation, fences, runs, lock } = self;
        let trim = |run: ReadRun| run.trim(&*disk);
        let old_runs = runs.into_iter().map(trim).collect::<Result<_, _>>()?;
        Ok(LogRoot::new(Arc::clone(&disk), dir, incarnation, fences, old_runs, lock))
    }
}

fn find_runs(disk: &dyn Disk, dir: &Path) -> Result<Runs, Error> {
    let mut runs = Runs::new();
    for shard in disk.list_dirs(dir).context("list", dir)? {
        let path = dir.join(&shard);
        let Some(number) = parse_shard_name(&shard) else { continue };
        for (name, bytes) in disk.list(&path).context("list", &path)? {
            if let Some((incarnation, segment)) = parse_segment_name(&name) {
                let segment = SegmentFile { number: segment, path: path.join(name), bytes };
                runs.entry((incarnation, number)).or_default().push(segment);
            }
        }
    }
    for segments in runs.values_mut() {
        segments.sort_by_key(|segment| segment.number);
    }
    Ok(runs)
}

/// The newest incarnation in which any shard has begun, and how far it had read each earlier run.
/// All its shards read the same, so any of them will do; what it did not see does not count.
fn governing_fences(disk: &dyn Disk, runs: &Runs) -> Result<Option<(u64, Fences)>, Error> {
    for ((incarnation, _), segments) in runs.iter().rev() {
        let Some(oldest) = segments.first() else { continue };
        if let Some(fences) = read_fences(disk, *incarnation, oldest)? {
            let by_run = |fence: Fence| ((fence.incarnation, fence.shard), fence.seq);
            return Ok(Some((*incarnation, fences.into_iter().map(by_run).collect())));
        }
    }
    Ok(None)
}

/// A run as it was read.
struct ReadRun {
    seq: u64,
    segments: Vec<OldSegment>,
    ends: Vec<u64>,
}

impl ReadRun {
    /// Takes away segments without a batch and cuts the rest to what was read, newest first, so
    /// that starts in quick succession do not fill the disk. A write of the dead process that is still
    /// on its way lands in a removed file, or behind the fence.
    fn trim(mut self, disk: &dyn Disk) -> Result<OldRun, Error> {
        let used = self.ends.iter().take_while(|end| **end > 0).count();
        assert!(self.ends[used..].iter().all(|end| *end == 0), "nothing follows an empty segment");
        while self.segments.len() > used {
            let Some(segment) = self.segments.pop() else { break };
            // Only the first empty one can have been in use; the others were spares.
            if self.segments.len() > used {
                let free = segment.path.with_file_name(free_name(&segment.path));
                disk.rename(&segment.path, &free).context("rename", &segment.path)?;
            } else {
                disk.remove(&segment.path).context("remove", &segment.path)?;
            }
        }
        self.ends.truncate(used);
        for (segment, end) in self.segments.iter_mut().zip(self.ends).rev() {
            if segment.bytes > end {
                disk.truncate(&segment.path, end).context("shorten", &segment.path)?;
                segment.bytes = end;
            }
        }
        Ok(OldRun { segments: self.segments.into() })
    }
}

/// Reads a run, and notes which partitions need which of its segments.
fn read_run(
    disk: &dyn Disk,
    key: RunKey,
    segments: &[SegmentFile],
    fence: Option<u64>,
    mut take: impl FnMut(PartitionId, &Frame<'_>) -> Result<(), Corruption>,
) -> Result<ReadRun, Error> {
    let mut needed_in: BTreeMap<u64, BTreeMap<PartitionId, u64>> = BTreeMap::new();
    let extent = scan_run(disk, key.0, segments, fence, |segment, partition, frame| {
        take(partition, frame)?;
        let needed = needed_in.entry(segment.number).or_default();
        let needed = needed.entry(partition).or_default();
        if let Frame::Entry { at, .. } | Frame::Change { at, .. } = frame {
            *needed = (*needed).max(at.index);
        }
        Ok(())
    })?;
    let old = |segment: &SegmentFile| OldSegment {
        path: segment.path.clone(),
        bytes: segment.bytes,
        needed: needed_in.remove(&segment.number).unwrap_or_default(),
    };
    let segments = segments.iter().map(old).collect();
    Ok(ReadRun { seq: extent.seq, segments, ends: extent.ends })
}

/// The run that wrote to each partition last.
#[derive(Default)]
struct Homes(BTreeMap<PartitionId, RunKey>);

impl Homes {
    fn check(&mut self, partition: PartitionId, key: RunKey) -> Result<(), Corruption> {
        match self.0.insert(partition, key) {
            Some(home) if home != key && home.0 == key.0 => {
                Err(Corruption::TwoHomes { partition, incarnation: key.0 })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_spelling_is_a_segment() {
        assert_eq!(parse_segment_name(&segment_name(7, 12)), Some((7, 12)));
        for name in [
            "7-12.log",
            "0000000007-0000000000.log",
            "0000000007-0000000012.log.tmp",
            "free-0000000007-0000000012.log",
            "+000000007-0000000012.log",
            "spare.tmp",
        ] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }
}
