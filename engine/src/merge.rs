//! Many sorted sources become one sorted stream in which each key appears once, in its newest version.
//!
//! Invariants: sources are given newest first; of equal keys the one from the first source is kept;
//! after an error the stream ends.

use crate::error::Error;
use crate::memtable::KeyMap;
use crate::table::{Direction, KeyRange, Table, TableEntry, TableIter, TableValue};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::btree_map;
use std::sync::Arc;

/// Where an entry's key is.
enum Key<'a> {
    Memory {
        keyspace: u8,
        key: &'a [u8],
    },
    /// An internal key: keyspace, then key.
    Table(Vec<u8>),
}

/// Where an entry's value is.
enum Value<'a> {
    Tombstone,
    Memory(&'a [u8]),
    Table(TableValue),
}

/// An entry on its way through a merge. Values are not copied until somebody wants them.
pub(crate) struct Entry<'a> {
    key: Key<'a>,
    value: Value<'a>,
}

impl Entry<'_> {
    pub(crate) fn keyspace(&self) -> u8 {
        match &self.key {
            Key::Memory { keyspace, .. } => *keyspace,
            Key::Table(internal) => internal.first().copied().unwrap_or_default(),
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        match &self.key {
            Key::Memory { key, .. } => key,
            Key::Table(internal) => internal.get(1..).unwrap_or_default(),
        }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        match &self.value {
            Value::Tombstone => None,
            Value::Memory(bytes) => Some(bytes),
            Value::Table(value) => Some(value.bytes()),
        }
    }

    pub(crate) fn into_key(self) -> Vec<u8> {
        match self.key {
            Key::Memory { key, .. } => key.to_vec(),
            Key::Table(mut internal) => {
                internal.drain(..1.min(internal.len()));
                internal
            }
        }
    }

    fn cmp_key(&self, other: &Entry<'_>) -> Ordering {
        (self.keyspace(), self.key()).cmp(&(other.keyspace(), other.key()))
    }
}

/// A sorted source.
pub(crate) enum Source<'a> {
    /// A part of one keyspace's map in a run.
    Memory { keyspace: u8, entries: btree_map::Range<'a, Vec<u8>, Option<Vec<u8>>> },
    /// One table.
    Table(TableIter<'a>),
    /// Tables side by side, in key order.
    Level(LevelIter<'a>),
}

impl<'a> Source<'a> {
    /// All of a map.
    pub(crate) fn map(keyspace: u8, map: &'a KeyMap) -> Source<'a> {
        Source::Memory { keyspace, entries: map.range::<[u8], _>(..) }
    }

    fn next(&mut self, direction: Direction) -> Option<Result<Entry<'a>, Error>> {
        match self {
            Source::Memory { keyspace, entries } => {
                let (key, value) = match direction {
                    Direction::Forward => entries.next()?,
                    Direction::Backward => entries.next_back()?,
                };
                let key = Key::Memory { keyspace: *keyspace, key };
                let value = value.as_deref().map_or(Value::Tombstone, Value::Memory);
                Some(Ok(Entry { key, value }))
            }
            Source::Table(table) => table.next().map(from_table),
            Source::Level(level) => level.next().map(from_table),
        }
    }
}

fn from_table<'a>(entry: Result<(Vec<u8>, Option<TableValue>), Error>) -> Result<Entry<'a>, Error> {
    let (key, value) = entry?;
    let value = value.map_or(Value::Tombstone, Value::Table);
    Ok(Entry { key: Key::Table(key), value })
}

/// Scans tables that lie side by side, opening one at a time.
pub(crate) struct LevelIter<'a> {
    tables: std::slice::Iter<'a, Arc<Table>>,
    open: Option<TableIter<'a>>,
    range: Arc<KeyRange>,
    direction: Direction,
    cached: bool,
}

impl<'a> LevelIter<'a> {
    pub(crate) fn new(
        tables: &'a [Arc<Table>],
        range: Arc<KeyRange>,
        direction: Direction,
        cached: bool,
    ) -> LevelIter<'a> {
        LevelIter { tables: tables.iter(), open: None, range, direction, cached }
    }

    fn next(&mut self) -> Option<Result<TableEntry, Error>> {
        loop {
            if let Some(entry) = self.open.as_mut().and_then(TableIter::next) {
                return Some(entry);
            }
            let table = match self.direction {
                Direction::Forward => self.tables.next()?,
                Direction::Backward => self.tables.next_back()?,
            };
            self.open = Some(table.iter(Arc::clone(&self.range), self.direction, self.cached));
        }
    }
}

/// The next entry of one source, in a heap whose top is what comes next.
struct Head<'a> {
    entry: Entry<'a>,
    source: usize,
    direction: Direction,
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = self.entry.cmp_key(&other.entry);
        // The heap gives the greatest first: turn the order round for a forward scan. The newer
        // source, which has the lower number, comes first either way.
        let by_key = if self.direction == Direction::Forward { by_key.reverse() } else { by_key };
        by_key.then(other.source.cmp(&self.source))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head<'_> {}

/// The merged stream, tombstones included.
pub(crate) struct Merge<'a> {
    sources: Vec<Source<'a>>,
    heads: BinaryHeap<Head<'a>>,
    direction: Direction,
    started: bool,
    failed: bool,
}

impl<'a> Merge<'a> {
    /// `sources` are newest first.
    pub(crate) fn new(sources: Vec<Source<'a>>, direction: Direction) -> Merge<'a> {
        let heads = BinaryHeap::with_capacity(sources.len());
        Merge { sources, heads, direction, started: false, failed: false }
    }

    fn refill(&mut self, source: usize) -> Result<(), Error> {
        let direction = self.direction;
        if let Some(entry) = self.sources[source].next(direction).transpose()? {
            self.heads.push(Head { entry, source, direction });
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Entry<'a>>, Error> {
        if !self.started {
            self.started = true;
            for source in 0..self.sources.len() {
                self.refill(source)?;
            }
        }
        let Some(newest) = self.heads.pop() else {
            return Ok(None);
        };
        self.refill(newest.source)?;
        while let Some(older) = self.heads.peek()
            && older.entry.cmp_key(&newest.entry).is_eq()
        {
            let source = older.source;
            assert_ne!(source, newest.source, "keys of one source rise");
            self.heads.pop();
            self.refill(source)?;
        }
        Ok(Some(newest.entry))
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = Result<Entry<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}
