//! Which tables make up the store: leveled keyspaces level by level, the others window by window.
//!
//! Invariants: level 0 is sorted newest first and its tables may overlap; in each level below, tables are
//! sorted by key and do not overlap; the tables of a window are sorted newest first. What is in windows is newer
//! than what its keyspace has in levels. A version never changes: an edit makes a new one.

use crate::blob::BlobFile;
use crate::error::Error;
use crate::options::LEVELS;
use crate::table::{KeyRange, Table};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a table has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Level(usize),
    Window {
        keyspace: u8,
        window: u64,
        /// Orders the tables of a window: the newer has the higher.
        rank: u64,
    },
}

/// A table of a window, with its rank.
#[derive(Clone, Debug)]
pub(crate) struct Ranked {
    pub(crate) rank: u64,
    pub(crate) table: Arc<Table>,
}

/// Keyspace and number of a window, and its tables, newest first.
pub(crate) type Windows = BTreeMap<(u8, u64), Vec<Ranked>>;

/// Blob files by number.
pub(crate) type Blobs = BTreeMap<u64, Arc<BlobFile>>;

/// The tables of a store at one moment.
#[derive(Clone)]
pub(crate) struct Version {
    levels: Vec<Vec<Arc<Table>>>,
    windows: Arc<Windows>,
    /// By number: those that tables refer to.
    blobs: Arc<Blobs>,
}

impl Version {
    /// Arranges tables; none in the result's place when those of a level overlap, or two of a window
    /// have one rank.
    pub(crate) fn new(
        tables: impl IntoIterator<Item = (Place, Arc<Table>)>,
        blobs: impl IntoIterator<Item = Arc<BlobFile>>,
    ) -> Option<Version> {
        let mut levels = vec![Vec::new(); LEVELS];
        let mut windows = Windows::new();
        for (place, table) in tables {
            match place {
                Place::Level(level) => levels.get_mut(level)?.push(table),
                Place::Window { keyspace, window, rank } => {
                    windows.entry((keyspace, window)).or_default().push(Ranked { rank, table });
                }
            }
        }
        let blobs = blobs.into_iter().map(|blob| (blob.meta().number, blob)).collect();
        let mut version = Version { levels, windows: Arc::new(windows), blobs: Arc::new(blobs) };
        version.sort();
        version.is_sound().then_some(version)
    }

    fn sort(&mut self) {
        for (level, tables) in self.levels.iter_mut().enumerate() {
            if level == 0 {
                tables.sort_by_key(|table| std::cmp::Reverse(table.meta().number));
            } else {
                tables.sort_by(|a, b| a.meta().smallest.cmp(&b.meta().smallest));
            }
        }
        let unsorted = |tables: &Vec<Ranked>| !tables.is_sorted_by(|a, b| a.rank > b.rank);
        if self.windows.values().any(unsorted) {
            for tables in Arc::make_mut(&mut self.windows).values_mut() {
                tables.sort_by_key(|ranked| std::cmp::Reverse(ranked.rank));
            }
        }
    }

    fn is_sound(&self) -> bool {
        let disjoint = self.levels.iter().skip(1).all(|tables| {
            tables.windows(2).all(|pair| match pair {
                [left, right] => left.meta().largest < right.meta().smallest,
                _ => true,
            })
        });
        disjoint && self.windows.values().all(|tables| tables.is_sorted_by(|a, b| a.rank > b.rank))
    }

    /// The version after `removed` leave and `added` join.
    #[must_use]
    pub(crate) fn edited(
        &self,
        removed: &[Arc<Table>],
        added: &[(Place, Arc<Table>)],
        blobs_added: &[Arc<BlobFile>],
    ) -> Version {
        let mut next = self.clone();
        let before = self.tables().count();
        let is_removed = |table: &Arc<Table>| removed.iter().any(|gone| Arc::ptr_eq(gone, table));
        for tables in &mut next.levels {
            tables.retain(|table| !is_removed(table));
        }
        let in_window = |place: &Place| matches!(place, Place::Window { .. });
        let leaves_window = self.windows.values().flatten().any(|ranked| is_removed(&ranked.table));
        if leaves_window || added.iter().any(|(place, _)| in_window(place)) {
            let windows = Arc::make_mut(&mut next.windows);
            for tables in windows.values_mut() {
                tables.retain(|ranked| !is_removed(&ranked.table));
            }
            windows.retain(|_, tables| !tables.is_empty());
        }
        let after = next.tables().count();
        assert_eq!(before, after + removed.len(), "only tables of the version leave it");
        for (place, table) in added {
            let table = Arc::clone(table);
            match *place {
                Place::Level(level) => next.levels[level].push(table),
                Place::Window { keyspace, window, rank } => {
                    let windows = Arc::make_mut(&mut next.windows);
                    windows.entry((keyspace, window)).or_default().push(Ranked { rank, table });
                }
            }
        }
        next.sort();
        assert!(next.is_sound(), "tables below level 0 do not overlap, and ranks differ");
        next.edit_blobs(blobs_added);
        next
    }

    /// Takes blob files in, and forgets those that no table refers to.
    fn edit_blobs(&mut self, added: &[Arc<BlobFile>]) {
        if self.blobs.is_empty() && added.is_empty() {
            return;
        }
        let live = self.blob_bytes_live();
        let known = self.blobs.values().chain(added);
        let used = known.filter(|blob| live.contains_key(&blob.meta().number));
        self.blobs = Arc::new(used.map(|blob| (blob.meta().number, Arc::clone(blob))).collect());
        assert_eq!(self.blobs.len(), live.len(), "every blob file that is referred to is there");
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// How much of each blob file tables refer to.
    pub(crate) fn blob_bytes_live(&self) -> BTreeMap<u64, u64> {
        let mut live = BTreeMap::new();
        for (blob, bytes) in self.tables().flat_map(|table| &table.meta().blobs) {
            *live.entry(*blob).or_default() += bytes;
        }
        live
    }

    pub(crate) fn level(&self, level: usize) -> &[Arc<Table>] {
        self.levels.get(level).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn levels(&self) -> impl Iterator<Item = &[Arc<Table>]> {
        self.levels.iter().map(Vec::as_slice)
    }

    /// All windows of all keyspaces.
    pub(crate) fn windows(&self) -> &Windows {
        &self.windows
    }

    /// The tables of one window, newest first.
    pub(crate) fn window(&self, keyspace: u8, window: u64) -> &[Ranked] {
        self.windows.get(&(keyspace, window)).map_or(&[], Vec::as_slice)
    }

    /// The windows of a keyspace, from and to and with the given ones.
    pub(crate) fn windows_of(
        &self,
        keyspace: u8,
        first: u64,
        last: u64,
    ) -> impl Iterator<Item = (u64, &[Ranked])> {
        let range = (first <= last).then(|| (keyspace, first)..=(keyspace, last));
        let windows = range.into_iter().flat_map(|range| self.windows.range(range));
        windows.map(|((_, window), tables)| (*window, tables.as_slice()))
    }

    /// Every table, in no order that means anything.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        let windows = self.windows.values().flatten().map(|ranked| &ranked.table);
        self.levels.iter().flatten().chain(windows)
    }

    /// Every table with its place.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Place, &Arc<Table>)> {
        let levels = self.levels.iter().enumerate();
        let in_levels =
            levels.flat_map(|(level, tables)| tables.iter().map(move |t| (Place::Level(level), t)));
        let in_windows = self.windows.iter().flat_map(|(&(keyspace, window), tables)| {
            tables.iter().map(move |ranked| {
                (Place::Window { keyspace, window, rank: ranked.rank }, &ranked.table)
            })
        });
        in_levels.chain(in_windows)
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

    /// True when a level below `level` may hold keys of `range`.
    pub(crate) fn is_range_below(&self, level: usize, range: &KeyRange) -> bool {
        (level + 1..LEVELS).any(|below| !self.touched(below, range).is_empty())
    }

    /// True when any level may hold keys of `range`.
    pub(crate) fn is_in_levels(&self, range: &KeyRange) -> bool {
        self.level(0).iter().any(|table| range.touches(table.meta()))
            || self.is_range_below(0, range)
    }

    pub(crate) fn blob(&self, number: u64) -> Result<&BlobFile, Error> {
        self.blobs.get(&number).map(|blob| &**blob).ok_or(Error::BlobMissing { number })
    }

    pub(crate) fn level_bytes(&self, level: usize) -> u64 {
        self.level(level).iter().map(|table| table.meta().bytes).sum()
    }
}
