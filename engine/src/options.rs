//! How a store is sized and what its keyspaces are for, and the limits that do not change.

use crate::table::cache::SharedCache;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Levels of tables: 0 holds what was flushed last, 6 the oldest.
pub(crate) const LEVELS: usize = 7;
/// The longest name of a merge operator.
pub(crate) const MERGE_NAME_BYTES_MAX: usize = 255;

/// Makes values out of operands. Both functions see bytes of any origin and must not panic on them; they use
/// no floats, no clock and no chance: a replay has to come to the same bytes.
pub trait MergeOperator: Send + Sync {
    /// Names the rules. It is kept in the manifest: a store written under one name is not opened under
    /// another. At most 255 bytes.
    fn name(&self) -> &'static str;
    /// The value of `key` after `operand`, from the value before it, if there was one.
    fn merge(&self, key: &[u8], older: Option<&[u8]>, operand: &[u8]) -> Vec<u8>;
    /// One operand that does what `older` and then `newer` do. Must be associative.
    fn combine(&self, key: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8>;
}

/// How the tables of a keyspace are kept.
#[derive(Clone, Copy, Debug, Default)]
pub enum Compaction {
    /// In levels: for state that is overwritten.
    #[default]
    Leveled,
    /// In windows of time: for series, of which old parts are dropped whole. A keyspace stays in windows of
    /// one width for good.
    TimeWindow {
        /// The width of a window, in the unit of `time_of`; not 0.
        window: u64,
        /// The time in a key; none puts it into window 0. Must always give the same for a key.
        time_of: fn(&[u8]) -> Option<u64>,
    },
}

impl Compaction {
    /// The window of `key`; none where there are no windows.
    pub(crate) fn window_of(&self, key: &[u8]) -> Option<u64> {
        match self {
            Compaction::Leveled => None,
            Compaction::TimeWindow { window, time_of } => {
                Some(time_of(key).unwrap_or_default() / (*window).max(1))
            }
        }
    }

    /// The width of its windows; none where there are no windows.
    pub(crate) fn window(&self) -> Option<u64> {
        match self {
            Compaction::Leveled => None,
            Compaction::TimeWindow { window, .. } => Some(*window),
        }
    }
}

/// What a keyspace is for.
#[derive(Clone, Default)]
pub struct KeyspaceOptions {
    /// How its tables are kept.
    pub compaction: Compaction,
    /// Values of this size and more are kept beside the tables, in blob files, so that compactions need not
    /// copy them; none keeps all in tables.
    pub blob_bytes_min: Option<usize>,
    /// Folds the operands of [`crate::Batch::merge`].
    pub merge: Option<Arc<dyn MergeOperator>>,
}

impl fmt::Debug for KeyspaceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyspaceOptions")
            .field("compaction", &self.compaction)
            .field("blob_bytes_min", &self.blob_bytes_min)
            .field("merge", &self.merge.as_ref().map(|operator| operator.name()))
            .finish()
    }
}

/// How a store is sized. `Options::default()` serves one partition of a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many keyspaces there are; they are numbered from 0.
    pub keyspaces: u8,
    /// What each keyspace is for; those not named are leveled, without blobs and merges.
    pub keyspace: BTreeMap<u8, KeyspaceOptions>,
    /// The memtable is flushed when it holds this much.
    pub memtable_bytes_max: usize,
    /// Uncompressed blocks kept in memory for reads, when the store has a cache of its own.
    pub block_cache_bytes: usize,
    /// The cache to use instead, which several stores may share.
    pub cache: Option<SharedCache>,
    /// A table made by compaction ends at this size.
    pub table_bytes_max: u64,
    /// Level 0 is compacted into level 1 when it has this many tables.
    pub level0_tables_max: usize,
    /// What level 1 may hold; each level below holds ten times as much as the one above.
    pub level1_bytes_max: u64,
    /// How many compactions of this store run at once, where they touch different tables.
    pub compactions_max: usize,
    /// How fast all compactions of this store write together, while flushes do not pile up; none for as
    /// fast as they can.
    pub compaction_bytes_per_s_max: Option<u64>,
    /// How long a failed flush or compaction waits for its first new attempt. It doubles with
    /// each failure, up to 64 times this.
    pub retry_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            keyspaces: 16,
            keyspace: BTreeMap::new(),
            memtable_bytes_max: 8 << 20,
            block_cache_bytes: 32 << 20,
            cache: None,
            table_bytes_max: 8 << 20,
            level0_tables_max: 4,
            level1_bytes_max: 64 << 20,
            compactions_max: 2,
            compaction_bytes_per_s_max: None,
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

    pub(crate) fn compaction(&self, keyspace: u8) -> Compaction {
        self.keyspace.get(&keyspace).map_or(Compaction::Leveled, |options| options.compaction)
    }

    pub(crate) fn merge_operator(&self, keyspace: u8) -> Option<&dyn MergeOperator> {
        self.keyspace.get(&keyspace)?.merge.as_deref()
    }

    /// From which size on values are kept beside the tables, keyspace by keyspace; none when they never are.
    pub(crate) fn blob_sizes(&self) -> Option<Vec<usize>> {
        let size = |keyspace: u8| self.keyspace.get(&keyspace)?.blob_bytes_min;
        let sizes: Vec<Option<usize>> = (0..self.keyspaces).map(size).collect();
        let any = sizes.iter().any(Option::is_some);
        any.then(|| sizes.into_iter().map(|size| size.unwrap_or(usize::MAX)).collect())
    }

    /// Options out of range are the caller's bug.
    pub(crate) fn check(&self) {
        assert!(self.keyspaces > 0, "a store needs a keyspace");
        assert!(self.memtable_bytes_max > 0, "a memtable of nothing would flush for ever");
        assert!(self.table_bytes_max > 0 && self.level0_tables_max > 0);
        assert!(self.compactions_max > 0, "a store that never compacts fills its level 0");
        for (keyspace, options) in &self.keyspace {
            assert!(*keyspace < self.keyspaces, "options for keyspace {keyspace}, which is none");
            assert!(options.compaction.window() != Some(0), "a window has a width");
            let name = options.merge.as_ref().map_or("", |operator| operator.name());
            assert!(name.len() <= MERGE_NAME_BYTES_MAX, "a merge operator of a long name");
            assert!(options.blob_bytes_min != Some(0), "empty values are not kept apart");
        }
    }
}
