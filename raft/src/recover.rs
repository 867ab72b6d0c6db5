//! Start-up: reads the logs of all shards and merges them into one log per partition.
//!
//! A node may be started with another number of shards than before, so a partition's entries may
//! lie in several directories. Runs are merged in the order of their incarnation; within one incarnation
//! a partition has one directory. Each run notes how far it read the earlier ones, and the newest
//! such note governs. See `docs/formats/log.md` for the rules and why they are safe.

use crate::error::{Corruption, Error, IoContext};
use crate::format::Fence;
use crate::merge::{Frame, HardState, LoggedEntry, PartitionLog};
use crate::root::{LogRoot, OldRun, OldSegment, lock, parse_shard_name};
use crate::scan::{SegmentFile, read_fences, scan_run};
use novax_model::PartitionId;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

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
    (segment_name(parsed.0, parsed.1) == name && parsed.1 > 0).then_some(parsed)
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
pub fn recover(root: &Path) -> Result<Recovered, Error> {
    let dir = root.join("log");
    let lock = lock(&dir)?;
    let runs = find_runs(&dir)?;
    let incarnation = runs.keys().map(|(incarnation, _)| *incarnation).max().unwrap_or(0) + 1;
    let governing = governing_fences(&runs)?;
    let mut merge = Merge::default();
    let mut read = Vec::with_capacity(runs.len());
    for (key, segments) in &runs {
        let fence = governing.as_ref().and_then(|(newest, fences)| {
            // A run it does not name had nothing in it then.
            (key.0 < *newest).then(|| fences.get(key).copied().unwrap_or(0))
        });
        read.push(merge.run(*key, segments, fence)?);
    }
    for (partition, log) in &merge.partitions {
        log.finish(*partition).map_err(|what| Error::Corrupt {
            file: dir.clone(),
            offset: 0,
            what,
        })?;
    }
    let fences = runs.keys().zip(&read).filter(|(_, run)| run.seq > 0).map(|(key, run)| Fence {
        shard: key.1,
        incarnation: key.0,
        seq: run.seq,
    });
    let fences = fences.collect();
    let old_runs = read.into_iter().map(ReadRun::trim).collect::<Result<_, _>>()?;
    let root = Arc::new(LogRoot::new(dir, incarnation, fences, old_runs, lock));
    Ok(Recovered { partitions: merge.partitions, root })
}

fn find_runs(dir: &Path) -> Result<Runs, Error> {
    let mut runs = Runs::new();
    for shard in std::fs::read_dir(dir).context("list", dir)? {
        let shard = shard.context("list", dir)?;
        let path = shard.path();
        let Some(number) = shard.file_name().to_str().and_then(parse_shard_name) else { continue };
        for file in std::fs::read_dir(&path).context("list", &path)? {
            let file = file.context("list", &path)?;
            if let Some((incarnation, segment)) =
                file.file_name().to_str().and_then(parse_segment_name)
            {
                let segment = SegmentFile { number: segment, path: file.path() };
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
fn governing_fences(runs: &Runs) -> Result<Option<(u64, Fences)>, Error> {
    for ((incarnation, _), segments) in runs.iter().rev() {
        let Some(oldest) = segments.first() else { continue };
        if let Some(fences) = read_fences(*incarnation, oldest)? {
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
    fn trim(mut self) -> Result<OldRun, Error> {
        let used = self.ends.iter().take_while(|end| **end > 0).count();
        assert!(self.ends[used..].iter().all(|end| *end == 0), "nothing follows an empty segment");
        while self.segments.len() > used {
            let Some(segment) = self.segments.pop() else { break };
            // Only the first empty one can have been in use; the others were spares.
            if self.segments.len() > used {
                let free = segment.path.with_file_name(free_name(&segment.path));
                std::fs::rename(&segment.path, &free).context("rename", &segment.path)?;
            } else {
                std::fs::remove_file(&segment.path).context("remove", &segment.path)?;
            }
        }
        self.ends.truncate(used);
        for (segment, end) in self.segments.iter_mut().zip(self.ends).rev() {
            if segment.bytes > end {
                let file = File::options().write(true).open(&segment.path);
                let cut = file.and_then(|file| file.set_len(end));
                cut.context("shorten", &segment.path)?;
                segment.bytes = end;
            }
        }
        Ok(OldRun { segments: self.segments.into() })
    }
}

#[derive(Default)]
struct Merge {
    partitions: BTreeMap<PartitionId, PartitionLog>,
    /// The run that wrote to a partition last.
    homes: BTreeMap<PartitionId, RunKey>,
}

impl Merge {
    fn run(
        &mut self,
        key: RunKey,
        segments: &[SegmentFile],
        fence: Option<u64>,
    ) -> Result<ReadRun, Error> {
        let mut needed_in: BTreeMap<u64, BTreeMap<PartitionId, u64>> = BTreeMap::new();
        let extent = scan_run(key.0, segments, fence, |segment, partition, frame| {
            self.check_home(partition, key)?;
            self.partitions.entry(partition).or_default().take(partition, key.0, frame)?;
            let needed = needed_in.entry(segment.number).or_default();
            let needed = needed.entry(partition).or_default();
            if let Frame::Entry { at, .. } = frame {
                *needed = (*needed).max(at.index);
            }
            Ok(())
        })?;
        let mut read = ReadRun { seq: extent.seq, segments: Vec::new(), ends: extent.ends };
        for segment in segments {
            let bytes = std::fs::metadata(&segment.path).context("read", &segment.path)?.len();
            let needed = needed_in.remove(&segment.number).unwrap_or_default();
            read.segments.push(OldSegment { path: segment.path.clone(), bytes, needed });
        }
        Ok(read)
    }

    fn check_home(&mut self, partition: PartitionId, key: RunKey) -> Result<(), Corruption> {
        match self.homes.insert(partition, key) {
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
