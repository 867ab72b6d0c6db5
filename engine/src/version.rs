//! Which tables make up the store, level by level.
//!
//! Invariants: level 0 is sorted newest first and its tables may overlap; in each level below, tables are
//! sorted by key and do not overlap. A version never changes: an edit makes a new one.

use crate::options::LEVELS;
use crate::table::{KeyRange, Table};
use std::sync::Arc;

/// The tables of a store at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    levels: Vec<Vec<Arc<Table>>>,
}

impl Version {
    /// Arranges tables; false in the result's place when those of a level overlap.
    pub(crate) fn new(tables: impl IntoIterator<Item = (usize, Arc<Table>)>) -> Option<Version> {
        let mut levels = vec![Vec::new(); LEVELS];
        for (level, table) in tables {
            levels.get_mut(level)?.push(table);
        }
        let mut version = Version { levels };
        version.sort();
        version.is_disjoint().then_some(version)
    }

    fn sort(&mut self) {
        for (level, tables) in self.levels.iter_mut().enumerate() {
            if level == 0 {
                tables.sort_by_key(|table| std::cmp::Reverse(table.meta().number));
            } else {
                tables.sort_by(|a, b| a.meta().smallest.cmp(&b.meta().smallest));
            }
        }
    }

    fn is_disjoint(&self) -> bool {
        self.levels.iter().skip(1).all(|tables| {
            tables.windows(2).all(|pair| match pair {
                [left, right] => left.meta().largest < right.meta().smallest,
                _ => true,
            })
        })
    }

    /// The version after `removed` leave and `added` join `level`.
    #[must_use]
    pub(crate) fn edited(
        &self,
        removed: &[Arc<Table>],
        level: usize,
        added: &[Arc<Table>],
    ) -> Version {
        assert!(level < LEVELS);
        let mut next = self.clone();
        let before: usize = next.levels.iter().map(Vec::len).sum();
        for tables in &mut next.levels {
            tables.retain(|table| !removed.iter().any(|gone| Arc::ptr_eq(gone, table)));
        }
        let after: usize = next.levels.iter().map(Vec::len).sum();
        assert_eq!(before, after + removed.len(), "only tables of the version leave it");
        next.levels[level].extend(added.iter().cloned());
        next.sort();
        assert!(next.is_disjoint(), "tables below level 0 do not overlap");
        next
    }

    pub(crate) fn level(&self, level: usize) -> &[Arc<Table>] {
        self.levels.get(level).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn levels(&self) -> impl Iterator<Item = &[Arc<Table>]> {
        self.levels.iter().map(Vec::as_slice)
    }

    /// The tables of a level below 0 that may hold keys of `range`.
    pub(crate) fn touched(&self, level: usize, range: &KeyRange) -> &[Arc<Table>] {
        assert!(level > 0, "tables of level 0 are not sorted by key");
        let tables = self.level(level);
        let start = tables.partition_point(|table| table.meta().largest < range.from);
        let end = range
            .to
            .as_ref()
            .map_or(tables.len(), |to| tables.partition_point(|table| table.meta().smallest < *to));
        tables.get(start..end).unwrap_or_default()
    }

    /// The one table of a level below 0 that may hold `key`.
    pub(crate) fn holder(&self, level: usize, key: &[u8]) -> Option<&Arc<Table>> {
        assert!(level > 0);
        let tables = self.level(level);
        let at = tables.partition_point(|table| table.meta().largest.as_slice() < key);
        tables.get(at).filter(|table| table.meta().smallest.as_slice() <= key)
    }

    /// True when a level below `level` may hold `key`: a tombstone must stay.
    pub(crate) fn is_below(&self, level: usize, key: &[u8]) -> bool {
        (level + 1..LEVELS).any(|below| self.holder(below, key).is_some())
    }

    pub(crate) fn level_bytes(&self, level: usize) -> u64 {
        self.level(level).iter().map(|table| table.meta().bytes).sum()
    }
}
