//! Reading a log to see whether it is whole, for the operator.
//!
//! Invariant: nothing in the log is changed; what [`crate::recover`] would refuse is refused here.

use crate::disk::Disk;
use crate::error::Error;
use crate::merge::PartitionLog;
use crate::recover::read_log;
use novax_model::PartitionId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// One group of a log that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedGroup {
    /// Entries up to this one are flushed elsewhere and may be missing.
    pub mark: u64,
    /// The last entry.
    pub last: u64,
    /// Entries that are there.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Reads all logs under `root`/log as a node does when it starts, and claims them meanwhile.
///
/// # Errors
/// When the log is open elsewhere, cannot be read, or contradicts itself: the node would refuse it too.
pub fn check(
    disk: Arc<dyn Disk>,
    root: &Path,
) -> Result<BTreeMap<PartitionId, CheckedGroup>, Error> {
    let mut logs: BTreeMap<PartitionId, PartitionLog> = BTreeMap::new();
    let read = read_log(disk, root, |at, frame| {
        let log = logs.entry(at.partition).or_default();
        log.take(at.partition, at.incarnation, frame)
    })?;
    for (partition, log) in &logs {
        log.finish(*partition).map_err(|what| read.corrupt(what))?;
    }
    let group = |log: &PartitionLog| CheckedGroup {
        mark: log.meta.mark.index,
        last: log.meta.last.index,
        entries: log.entries.len() as u64,
        bytes: log.entries.iter().map(|entry| entry.data.len() as u64).sum(),
    };
    Ok(logs.iter().map(|(partition, log)| (*partition, group(log))).collect())
}
