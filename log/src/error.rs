//! What can go wrong, and whose fault it is.

use novax_model::PartitionId;
use std::io;
use std::path::{Path, PathBuf};

/// An error of the shard log. All of them are fatal for the node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused something: a full disk, missing rights, a failing device.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Another process has this data directory open.
    #[error("the log in {} is in use by another process", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The log on disk contradicts itself: bytes that were acknowledged are lost or changed.
    #[error("log corrupt in {} at byte {offset}: {what}", file.display())]
    Corrupt {
        /// The segment, or the directory when no single segment is at fault.
        file: PathBuf,
        /// Byte offset of the batch in the segment; 0 where a whole file is meant.
        offset: u64,
        /// What is wrong.
        what: Corruption,
    },
    /// The engine has applied entries which the log does not know: the log lost its end, or the
    /// two directories do not belong together.
    #[error("{partition}: the engine has entry {applied}, the log ends at {last}")]
    LogBehindState {
        /// The partition.
        partition: PartitionId,
        /// The applied mark given by the caller.
        applied: u64,
        /// The last index in the log.
        last: u64,
    },
    /// The log has dropped entries which the engine needs: the engine's directory was lost or
    /// replaced by an older one.
    #[error("{partition}: the engine has entry {applied}, the log only keeps those after {mark}")]
    StateBehindLog {
        /// The partition.
        partition: PartitionId,
        /// The applied mark given by the caller.
        applied: u64,
        /// Entries up to this one are gone from the log.
        mark: u64,
    },
    /// The caller gave a configuration that cannot work.
    #[error("bad configuration: {0}")]
    Config(&'static str),
    /// The caller started a partition on two shards, or twice from one recovery.
    #[error("{0} was already started from this recovery")]
    StartedTwice(PartitionId),
    /// A log write failed. What is on disk is unknown now, so the node must stop and recover.
    #[error("log write failed: {0}")]
    Write(#[source] io::Error),
    /// The caller did not want to hear more while the log was read.
    #[error("the reading of the log was broken off")]
    Stopped,
    /// The caller reported a write that is not in flight.
    #[error("write {0} is not in flight")]
    UnknownWrite(u64),
}

/// How the log contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// A batch is damaged, and a later one proves that it had been acknowledged.
    #[error(
        "batch {expected} is damaged or missing, but batch {found} is known to have been written"
    )]
    LostBatch {
        /// The sequence number that should be here.
        expected: u64,
        /// The sequence number found further on, or named by a later run.
        found: u64,
    },
    /// A batch does not continue the one before it.
    #[error("batch {seq} does not follow from the batch before it")]
    BrokenChain {
        /// Its sequence number.
        seq: u64,
    },
    /// A log of one group and one writer holds an entry that replaces another, or another group's.
    #[error("{partition}: entry {index} is not the next one of a log with one writer")]
    NotSingle {
        /// The partition.
        partition: PartitionId,
        /// The entry's index.
        index: u64,
    },
    /// A segment between two others is not there.
    #[error("segment {number} of this run is missing")]
    MissingSegment {
        /// Its number.
        number: u64,
    },
    /// The oldest segment kept does not start with a readable batch.
    #[error("the oldest segment of the run cannot be read from its start")]
    UnreadableStart,
    /// A newer format: this binary is older than the one that wrote it.
    #[error("format version {version} is not known to this version of the software")]
    UnknownVersion {
        /// The version in the header.
        version: u16,
    },
    /// A batch with correct checksums holds a frame that cannot be read: written wrongly.
    #[error("a frame of batch {seq} cannot be read: {what}")]
    BadFrame {
        /// The batch.
        seq: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A partition was written by two shards in one run.
    #[error("{partition} was written by two shards under incarnation {incarnation}")]
    TwoHomes {
        /// The partition.
        partition: PartitionId,
        /// The incarnation.
        incarnation: u64,
    },
    /// A restatement differs from what the log before it says.
    #[error("{partition}: a restatement contradicts the log before it: {what}")]
    Restatement {
        /// The partition.
        partition: PartitionId,
        /// In what.
        what: &'static str,
    },
    /// A frame does not fit the partition's state: an index out of order, a mark or term gone back.
    #[error("{partition}: {what} at index {index}")]
    OutOfOrder {
        /// The partition.
        partition: PartitionId,
        /// What is out of order.
        what: &'static str,
        /// The index or term in the frame.
        index: u64,
    },
    /// Entries that are not flushed are not in any segment.
    #[error("{partition}: entries {first} to {last} are not all there")]
    MissingEntries {
        /// The partition.
        partition: PartitionId,
        /// First index that must be there.
        first: u64,
        /// Last index that must be there.
        last: u64,
    },
}

/// Names the act and the file in an I/O error.
pub(crate) trait IoContext<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what, path: path.to_owned(), source })
    }
}
