//! What can go wrong with a store that stands alone, and whose fault it is.

use std::io;
use std::sync::Arc;

/// An error of a [`crate::store::Store`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More waits to be taken than [`crate::store::StoreOptions::queue_bytes_max`]: the caller should hold back,
    /// see [`crate::store::Client::wait_for_room`].
    #[error("too much waits to be written: hold back and try again")]
    Busy,
    /// The batch is larger than one entry of the log may be: the caller should split it.
    #[error("a batch may not be larger than {max} bytes in the log")]
    TooLarge {
        /// The limit, which follows from the size of the log's segments.
        max: usize,
    },
    /// The caller's batch does not fit the keyspaces that the store was opened with.
    #[error("the batch cannot be written to keyspace {keyspace}: {what}")]
    BadBatch {
        /// Which keyspace.
        keyspace: u8,
        /// Why not.
        what: &'static str,
    },
    /// The caller's tables were built for another store, or for this one before it was opened again.
    #[error("the tables were built for another store")]
    ForeignTables,
    /// The store was closed or dropped: what was not acknowledged may be lost.
    #[error("the store is closed")]
    Closed,
    /// The log could not be written: a failing disk. Nothing more is taken; what was acknowledged is safe, and reads go
    /// on. Mend the disk and open the store again.
    #[error("the log cannot be written: {reason}")]
    LogFailed {
        /// What was said, to all who wait.
        reason: Arc<str>,
    },
    /// An entry of the log has a right checksum and cannot be read: it was written by a newer version of the
    /// software, or wrongly.
    #[error("entry {mark} of the log cannot be read: {what}")]
    BadRecord {
        /// Its place.
        mark: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The system has no thread to give.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// A thread of the store ran into a failed assertion: a bug of this crate.
    #[error("the {thread} thread panicked")]
    Panicked {
        /// Which thread.
        thread: &'static str,
    },
    /// The tables say why they cannot go on.
    #[error(transparent)]
    Engine(#[from] crate::Error),
    /// The log says why it cannot go on.
    #[error(transparent)]
    Log(#[from] novax_log::Error),
}
