//! What the shards of one node share: the lock on the log, the incarnation, and the segments of
//! earlier runs, which go when the last partition in them needs them no more.
//!
//! Only start-up code and the segment threads come here; a shard's own thread reads two counters.

use crate::disk::{Disk, DiskLock};
use crate::error::{Error, IoContext};
use crate::format::Fence;
use novax_model::PartitionId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name of a shard's directory.
pub(crate) fn shard_name(shard: u16) -> String {
    format!("shard-{shard:03}")
}

/// The number of a shard from the name of its directory; only the one spelling counts.
pub(crate) fn parse_shard_name(name: &str) -> Option<u16> {
    let shard = name.strip_prefix("shard-")?.parse().ok()?;
    (shard_name(shard) == name).then_some(shard)
}

/// A segment of an earlier run.
#[derive(Debug)]
pub(crate) struct OldSegment {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Who still needs it, and until which mark: the partitions with a frame in it.
    pub(crate) needed: BTreeMap<PartitionId, u64>,
}

/// An earlier run, oldest segment first.
#[derive(Debug)]
pub(crate) struct OldRun {
    pub(crate) segments: VecDeque<OldSegment>,
}

/// Shared by all shards that start from one recovery: the lock on the log, and what earlier runs left.
pub struct LogRoot {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    /// Of the runs to be started: greater than any on disk.
    pub(crate) incarnation: u64,
    /// How far each earlier run was read: what lands behind that later never counts.
    pub(crate) fences: Vec<Fence>,
    old_runs: Mutex<Vec<OldRun>>,
    old_segments: AtomicU64,
    old_bytes: AtomicU64,
    started: Mutex<BTreeSet<PartitionId>>,
    /// Held for its lock, which the system releases when the process ends in any way.
    _lock: Box<dyn DiskLock>,
}

/// Locks the log directory of a node, creating it if it is not there.
pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>, Error> {
    disk.create_dir(dir).context("create", dir)?;
    let path = dir.join("LOCK");
    disk.lock(dir).context("lock", &path)?.ok_or(Error::InUse { path })
}

impl std::fmt::Debug for LogRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogRoot")
            .field("dir", &self.dir)
            .field("incarnation", &self.incarnation)
            .field("old", &self.old())
            .finish_non_exhaustive()
    }
}

impl LogRoot {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        incarnation: u64,
        fences: Vec<Fence>,
        old_runs: Vec<OldRun>,
        lock: Box<dyn DiskLock>,
    ) -> Self {
        let segments = || old_runs.iter().flat_map(|run| &run.segments);
        let count = u64::try_from(segments().count()).expect("usize fits u64");
        let bytes = segments().map(|segment| segment.bytes).sum();
        LogRoot {
            disk,
            dir,
            incarnation,
            fences,
            old_segments: AtomicU64::new(count),
            old_bytes: AtomicU64::new(bytes),
            old_runs: Mutex::new(old_runs),
            started: Mutex::new(BTreeSet::new()),
            _lock: lock,
        }
    }

    /// Claims a partition for one shard; a second claim would make two logs of one history.
    ///
    /// # Errors
    /// When the partition has been claimed before.
    pub fn claim(&self, partition: PartitionId) -> Result<(), Error> {
        if guard(&self.started).insert(partition) {
            Ok(())
        } else {
            Err(Error::StartedTwice(partition))
        }
    }

    /// The number of this start: greater than that of any start before it.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Segments of earlier runs still on disk, and their bytes.
    pub(crate) fn old(&self) -> (u64, u64) {
        (self.old_segments.load(Ordering::Relaxed), self.old_bytes.load(Ordering::Relaxed))
    }

    /// Takes news of durable marks and retires what nobody needs any more, oldest first. An error
    /// leaves the segment for the next time.
    pub(crate) fn release(
        &self,
        marks: &[(PartitionId, u64)],
        mut retire: impl FnMut(&OldSegment) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut result = Ok(());
        let mut runs = guard(&self.old_runs);
        for run in runs.iter_mut() {
            for segment in &mut run.segments {
                for (partition, mark) in marks {
                    if segment.needed.get(partition).is_some_and(|until| mark >= until) {
                        segment.needed.remove(partition);
                    }
                }
            }
            while let Some(front) = run.segments.front()
                && front.needed.is_empty()
            {
                if let Err(error) = retire(front) {
                    result = Err(error);
                    break;
                }
                self.old_segments.fetch_sub(1, Ordering::Relaxed);
                self.old_bytes.fetch_sub(front.bytes, Ordering::Relaxed);
                run.segments.pop_front();
            }
        }
        runs.retain(|run| !run.segments.is_empty());
        result
    }
}

/// The data is whole at any time a panic could strike, so a poisoned lock is taken as it is.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
