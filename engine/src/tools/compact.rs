//! Compacts a closed store to its bottom level: what is deleted, overwritten or expired leaves the disk.
//!
//! Invariant: the store's own engine does the work, so that a crash half way leaves a store like any other.

use super::stats::store_stats;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::Error;
use crate::options::Options;
use crate::worker::Worker;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Bytes of the store's files before.
    pub bytes_before: u64,
    /// And after.
    pub bytes_after: u64,
    /// Entries in tables before, tombstones and old versions included.
    pub entries_before: u64,
    /// And after.
    pub entries_after: u64,
    /// Compactions it took.
    pub compactions: u64,
}

/// Compacts the store in `dir` until no more than some ten kilobytes stand above its lowest level. `options` are those
/// that it is used with.
///
/// # Errors
/// When the store is open elsewhere or damaged, or the disk is full. What is done by then stays done.
pub fn compact(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &Options,
) -> Result<CompactReport, Error> {
    let before = store_stats(disk, dir)?;
    let options = Options {
        keyspaces: options.keyspaces.max(before.keyspaces),
        // Any table is one too many for a level but the last.
        level0_tables_max: 1,
        level1_bytes_max: 1,
        compaction_bytes_per_s_max: None,
        ..options.clone()
    };
    let worker = Worker::start(2).map_err(|source| Error::Io {
        action: "start a thread for",
        file: dir.to_path_buf(),
        source,
    })?;
    let mut engine = Engine::open_on(Arc::clone(disk), dir, options, &worker)?;
    let (sender, wakes) = channel();
    engine.set_wake(Arc::new(move || sender.send(()).unwrap_or_default()));
    loop {
        let progress = engine.poll()?;
        if !progress.compacting && !progress.flush_in_flight {
            break;
        }
        if wakes.recv().is_err() {
            return Err(Error::WorkerStopped);
        }
    }
    let compactions = engine.stats().compactions;
    engine.close()?;
    drop(worker);
    let after = store_stats(disk, dir)?;
    Ok(CompactReport {
        bytes_before: before.bytes(),
        bytes_after: after.bytes(),
        entries_before: before.entries(),
        entries_after: after.entries(),
        compactions,
    })
}
