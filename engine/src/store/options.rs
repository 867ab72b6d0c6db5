//! How a store that stands alone is sized.

use crate::options::Options;
use std::time::Duration;

/// How a store that stands alone is sized.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The tables and what is in memory.
    pub engine: Options,
    /// Threads that flush and compact; with two or more, a flush never waits for a compaction.
    pub workers: usize,
    /// Size of a segment of the log: a multiple of 4096 from 64 KiB to 2 GiB. A batch may be an eighth of it.
    pub segment_bytes: u64,
    /// Write the log past the page cache where the file system can.
    pub direct: bool,
    /// With more segments than this in use, what is in memory is flushed so that the log can be cut. Bounds the
    /// disk that the log takes and the time that opening takes after a crash.
    pub segments_max: u64,
    /// What may wait to be taken by the store's thread; beyond it writers are told [`crate::store::Error::Busy`].
    pub queue_bytes_max: usize,
    /// Writes that nobody waits for are gathered this long, or until there are 256 KiB of them.
    pub relaxed_delay: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            engine: Options { memtable_bytes_max: 64 << 20, ..Options::default() },
            workers: 2,
            segment_bytes: 64 << 20,
            direct: true,
            segments_max: 16,
            queue_bytes_max: 4 << 20,
            relaxed_delay: Duration::from_millis(10),
        }
    }
}
