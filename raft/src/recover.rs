//! Start-up: reads the logs of all shards and merges them into one log per partition.
//!
//! A node may be started with another number of shards than before, so a partition's entries may
//! lie in several directories. Runs are merged in the order of their incarnation; within one incarnation
//! a partition has one directory. See `docs/formats/log.md` for the rules and why they are safe.

use crate::error::{Corruption, Error, IoContext};
use crate::merge::{Frame, HardState, LoggedEntry, PartitionLog};
use crate::root::{LogRoot, OldRun, OldSegment, lock};
use crate::scan::{SegmentFile, scan_run};
use novax_model::PartitionId;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file name of a segment.
pub(crate) fn segment_name(incarnation: u64, number: u64) -> String {
    format!("{incarnation:010}-{number:010}.log")
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

/// A run is one shard directory under one incarnation; runs sort by incarnation first.
type RunKey = (u64, PathBuf);

/// Reads all logs under `root`/log, and locks them for this process as long as the answer or any
/// shard started from it lives. Blocking; once per start of a node.
pub fn recover(root: &Path) -> Result<Recovered, Error> {
    let dir = root.join("log");
    let lock = lock(&dir)?;
    let runs = find_runs(&dir)?;
    let incarnation = runs.keys().map(|(incarnation, _)| *incarnation).max().unwrap_or(0) + 1;
    let mut merge = Merge::default();
    let mut old_runs = Vec::new();
    for (key, segments) in &runs {
        old_runs.push(merge.run(key, segments)?);
    }
    for (partition, log) in &merge.partitions {
        log.finish(*partition).map_err(|what| Error::Corrupt {
            file: dir.clone(),
            offset: 0,
            what,
        })?;
    }
    let root = Arc::new(LogRoot::new(dir, incarnation, old_runs, lock));
    Ok(Recovered { partitions: merge.partitions, root })
}

fn find_runs(dir: &Path) -> Result<BTreeMap<RunKey, Vec<SegmentFile>>, Error> {
    let mut runs: BTreeMap<RunKey, Vec<SegmentFile>> = BTreeMap::new();
    for shard in std::fs::read_dir(dir).context("list", dir)? {
        let shard = shard.context("list", dir)?;
        let path = shard.path();
        let named = shard.file_name().to_str().is_some_and(|name| name.starts_with("shard-"));
        if !named || !path.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(&path).context("list", &path)? {
            let file = file.context("list", &path)?;
            if let Some((incarnation, number)) =
                file.file_name().to_str().and_then(parse_segment_name)
            {
                let segment = SegmentFile { number, path: file.path() };
                runs.entry((incarnation, path.clone())).or_default().push(segment);
            }
        }
    }
    for segments in runs.values_mut() {
        segments.sort_by_key(|segment| segment.number);
    }
    Ok(runs)
}

#[derive(Default)]
struct Merge {
    partitions: BTreeMap<PartitionId, PartitionLog>,
    /// The run that wrote to a partition last.
    homes: BTreeMap<PartitionId, RunKey>,
}

impl Merge {
    fn run(&mut self, key: &RunKey, segments: &[SegmentFile]) -> Result<OldRun, Error> {
        let mut old: BTreeMap<u64, BTreeMap<PartitionId, u64>> = BTreeMap::new();
        scan_run(key.0, segments, |segment, partition, frame| {
            self.check_home(partition, key)?;
            self.partitions.entry(partition).or_default().take(partition, key.0, frame)?;
            let needed = old.entry(segment.number).or_default().entry(partition).or_default();
            if let Frame::Entry { at, .. } = frame {
                *needed = (*needed).max(at.index);
            }
            Ok(())
        })?;
        let mut run = OldRun { segments: VecDeque::new() };
        for segment in segments {
            let bytes = std::fs::metadata(&segment.path).context("read", &segment.path)?.len();
            let needed = old.remove(&segment.number).unwrap_or_default();
            run.segments.push_back(OldSegment { path: segment.path.clone(), bytes, needed });
        }
        Ok(run)
    }

    fn check_home(&mut self, partition: PartitionId, key: &RunKey) -> Result<(), Corruption> {
        match self.homes.entry(partition) {
            Entry::Vacant(vacant) => {
                vacant.insert(key.clone());
            }
            Entry::Occupied(mut home) if home.get() != key => {
                if home.get().0 == key.0 {
                    return Err(Corruption::TwoHomes { partition, incarnation: key.0 });
                }
                home.insert(key.clone());
            }
            Entry::Occupied(_) => {}
        }
        Ok(())
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
            "free-0000000001.log",
            "+000000007-0000000012.log",
            "spare.tmp",
        ] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }
}
