//! How a store is sized, and the limits that do not change.

use std::time::Duration;

/// The longest key.
pub const KEY_BYTES_MAX: usize = 1024;
/// The longest value.
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// Levels of tables: 0 holds what was flushed last, 6 the oldest.
pub(crate) const LEVELS: usize = 7;

/// How a store is sized. `Options::default()` serves one partition of a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many keyspaces there are; they are numbered from 0.
    pub keyspaces: u8,
    /// The memtable is flushed when it holds this much.
    pub memtable_bytes_max: usize,
    /// Uncompressed blocks kept in memory for reads.
    pub block_cache_bytes: usize,
    /// A table made by compaction ends at this size.
    pub table_bytes_max: u64,
    /// Level 0 is compacted into level 1 when it has this many tables.
    pub level0_tables_max: usize,
    /// What level 1 may hold; each level below holds ten times as much as the one above.
    pub level1_bytes_max: u64,
    /// How long a failed flush or compaction waits for its first new attempt. It doubles with
    /// each failure, up to 64 times this.
    pub retry_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            keyspaces: 16,
            memtable_bytes_max: 8 << 20,
            block_cache_bytes: 32 << 20,
            table_bytes_max: 8 << 20,
            level0_tables_max: 4,
            level1_bytes_max: 64 << 20,
            retry_after: Duration::from_millis(100),
        }
    }
}

impl Options {
    /// What `level` may hold before it is compacted into the one below.
    pub(crate) fn level_bytes_max(&self, level: usize) -> u64 {
        assert!((1..LEVELS).contains(&level), "level 0 is bounded by its count of tables");
        (1..level).fold(self.level1_bytes_max.max(1), |bytes, _| bytes.saturating_mul(10))
    }

    /// Options out of range are the caller's bug.
    pub(crate) fn check(&self) {
        assert!(self.keyspaces > 0, "a store needs a keyspace");
        assert!(self.memtable_bytes_max > 0, "a memtable of nothing would flush for ever");
        assert!(self.table_bytes_max > 0 && self.level0_tables_max > 0);
    }
}
