//! Scans of one sorted table, either way, decoded in place.
//!
//! Invariants: keys rise (or fall) strictly and lie in the range asked for; after an error the cursor stays at its
//! end; a cursor holds one block and, where it reads past the cache, one buffer.

use super::block::{BlockCursor, Layout};
use super::cache::{Block, Partition};
use super::reader::{Loaded, Table};
use super::{BlockRef, TableMeta};
use crate::entry::Entry;
use crate::error::Error;
use std::sync::Arc;

/// Read at once by a scan that goes past the cache: many blocks that lie side by side.
const AHEAD_BYTES: u64 = 256 << 10;

/// Internal keys from `from`, to and without `to`.
#[derive(Debug)]
pub(crate) struct KeyRange {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Option<Vec<u8>>,
}

impl KeyRange {
    pub(crate) fn all() -> Arc<KeyRange> {
        Arc::new(KeyRange { from: Vec::new(), to: None })
    }

    /// True when `table` may hold keys of the range.
    pub(crate) fn touches(&self, table: &TableMeta) -> bool {
        table.largest >= self.from && self.to.as_ref().is_none_or(|to| table.smallest < *to)
    }
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// The block that a cursor stands in.
enum Open {
    Nothing,
    /// Of the cache.
    Shared(Block),
    /// In the cursor's own room.
    Own(Layout),
}

/// Where in a table a cursor is.
enum Place {
    /// Not yet anywhere.
    Start,
    /// In a block of a partition.
    In {
        part_at: usize,
        part: Arc<Partition>,
        at: usize,
    },
    End,
}

/// Walks over the entries of a table. Its key and entry are borrowed from it until the next step.
pub(crate) struct TableCursor {
    table: Arc<Table>,
    range: Arc<KeyRange>,
    direction: Direction,
    cached: bool,
    place: Place,
    open: Open,
    cursor: BlockCursor,
    /// The block, where it is the cursor's own.
    raw: Vec<u8>,
    /// Stored blocks read ahead, and where they lie in the file.
    ahead: Vec<u8>,
    ahead_at: u64,
}

impl Table {
    /// A cursor over the entries in `range`, standing before the first. `cached`: blocks go through
    /// the cache; merging tables reads past it, since it reads each block once.
    pub(crate) fn cursor(
        self: &Arc<Self>,
        range: Arc<KeyRange>,
        direction: Direction,
        cached: bool,
    ) -> TableCursor {
        TableCursor {
            table: Arc::clone(self),
            range,
            direction,
            cached,
            place: Place::Start,
            open: Open::Nothing,
            cursor: BlockCursor::default(),
            raw: Vec::new(),
            ahead: Vec::new(),
            ahead_at: 0,
        }
    }
}

impl TableCursor {
    /// Steps to the next entry; false at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<bool, Error> {
        let stepped = match (&self.open, self.direction) {
            (Open::Own(layout), Direction::Forward) => self.cursor.next(layout, &self.raw),
            (Open::Own(layout), Direction::Backward) => self.cursor.previous(layout, &self.raw),
            (Open::Shared(block), Direction::Forward) => {
                self.cursor.next(block.layout(), block.bytes())
            }
            (Open::Shared(block), Direction::Backward) => {
                self.cursor.previous(block.layout(), block.bytes())
            }
            (Open::Nothing, _) => Ok(false),
        };
        let result = match stepped {
            Ok(true) => Ok(true),
            Ok(false) => self.next_block(),
            Err(what) => Err(self.damage(what)),
        };
        match result {
            Ok(true) if self.is_inside() => Ok(true),
            other => {
                self.end();
                other.map(|_| false)
            }
        }
    }

    /// The internal key that the cursor stands on; empty before the first step and past the end.
    pub(crate) fn key(&self) -> &[u8] {
        self.cursor.key()
    }

    /// The entry that the cursor stands on; a tombstone where it stands on none.
    #[inline]
    pub(crate) fn entry(&self) -> Entry<'_> {
        let bytes = match &self.open {
            Open::Shared(block) => block.bytes(),
            Open::Own(_) => &self.raw,
            Open::Nothing => &[],
        };
        self.cursor.decoded().entry(bytes)
    }

    fn end(&mut self) {
        self.place = Place::End;
        self.open = Open::Nothing;
        self.cursor.reset();
    }

    /// True when the key lies before the end of the range; the other side was sought.
    #[inline]
    fn is_inside(&self) -> bool {
        match self.direction {
            Direction::Forward => {
                self.range.to.as_ref().is_none_or(|to| self.key() < to.as_slice())
            }
            Direction::Backward => self.key() >= self.range.from.as_slice(),
        }
    }

    fn damage(&self, what: &'static str) -> Error {
        match (&self.place, self.table.loaded()) {
            (Place::In { part_at, part, at }, Ok(loaded)) => {
                self.table.damage_block(loaded, part, (*part_at, *at), what)
            }
            _ => self.table.damage(0, what),
        }
    }

    /// Opens blocks until one has an entry; false at the end. A table has a bounded number of them.
    fn next_block(&mut self) -> Result<bool, Error> {
        let table = Arc::clone(&self.table);
        let loaded = table.loaded()?;
        loop {
            let first = matches!(self.place, Place::Start);
            let Some((part_at, part, at)) = self.next_place(loaded)? else {
                return Ok(false);
            };
            self.open_block(loaded, &part, part_at, at)?;
            self.place = Place::In { part_at, part, at };
            if self.enter(first).map_err(|what| self.damage(what))? {
                return Ok(true);
            }
        }
    }

    /// The block behind (or before) the present one.
    fn next_place(&self, loaded: &Loaded) -> Result<Option<(usize, Arc<Partition>, usize)>, Error> {
        let forward = self.direction == Direction::Forward;
        match &self.place {
            Place::End => Ok(None),
            Place::In { part_at, part, at } => {
                let next = if forward { at.checked_add(1) } else { at.checked_sub(1) };
                if let Some(next) = next.filter(|&next| next < part.index.len()) {
                    return Ok(Some((*part_at, Arc::clone(part), next)));
                }
                let next = if forward { part_at.checked_add(1) } else { part_at.checked_sub(1) };
                self.part_edge(loaded, next)
            }
            Place::Start => self.first_place(loaded),
        }
    }

    /// The first block (or the last) of a partition.
    fn part_edge(
        &self,
        loaded: &Loaded,
        part_at: Option<usize>,
    ) -> Result<Option<(usize, Arc<Partition>, usize)>, Error> {
        let Some(part_at) = part_at.filter(|&at| at < loaded.root.len()) else {
            return Ok(None);
        };
        let part = self.part(loaded, part_at)?;
        let last = part.index.len().saturating_sub(1);
        let at = if self.direction == Direction::Forward { 0 } else { last };
        Ok(Some((part_at, part, at)))
    }

    /// The block that the range begins in (or ends in).
    fn first_place(
        &self,
        loaded: &Loaded,
    ) -> Result<Option<(usize, Arc<Partition>, usize)>, Error> {
        let root = &loaded.root;
        match (self.direction, &self.range.to) {
            (Direction::Forward, _) => {
                let part_at = root.find(&self.range.from);
                if part_at >= root.len() {
                    return Ok(None);
                }
                let part = self.part(loaded, part_at)?;
                let at = part.index.find(&self.range.from);
                Ok(Some((part_at, part, at)))
            }
            (Direction::Backward, None) => self.part_edge(loaded, root.len().checked_sub(1)),
            (Direction::Backward, Some(to)) => {
                // The first block whose separator is at or past the end may still hold keys before it.
                let Some(last) = root.len().checked_sub(1) else { return Ok(None) };
                let part_at = root.find(to).min(last);
                let part = self.part(loaded, part_at)?;
                let at = part.index.find(to).min(part.index.len().saturating_sub(1));
                Ok(Some((part_at, part, at)))
            }
        }
    }

    fn part(&self, loaded: &Loaded, at: usize) -> Result<Arc<Partition>, Error> {
        if self.cached {
            self.table.part(loaded, at)
        } else {
            self.table.read_part(loaded, at).map(|(_, part)| part)
        }
    }

    fn open_block(
        &mut self,
        loaded: &Loaded,
        part: &Arc<Partition>,
        part_at: usize,
        at: usize,
    ) -> Result<(), Error> {
        if self.cached {
            self.open = Open::Shared(self.table.block(loaded, part, part_at, at)?);
            return Ok(());
        }
        let block = self.table.block_ref(loaded, part, (part_at, at))?;
        self.read_ahead(loaded, part, block)?;
        let start = (block.offset - self.ahead_at) as usize;
        let stored = self.ahead.get(start..start + block.len as usize).unwrap_or_default();
        let layout = self
            .table
            .open_block(loaded, stored, block, &mut self.raw)
            .map_err(|what| self.table.damage_block(loaded, part, (part_at, at), what))?;
        self.open = Open::Own(layout);
        Ok(())
    }

    /// Has a block in the buffer, and with it those that follow in the partition.
    fn read_ahead(
        &mut self,
        loaded: &Loaded,
        part: &Partition,
        block: BlockRef,
    ) -> Result<(), Error> {
        let ahead_end = self.ahead_at + self.ahead.len() as u64;
        let block_end = block.offset + u64::from(block.len);
        if self.ahead_at <= block.offset && block_end <= ahead_end {
            return Ok(());
        }
        let forward = self.direction == Direction::Forward;
        let part_end = part.index.refs().last().and_then(BlockRef::end).unwrap_or(block_end);
        let wanted = if forward { block.offset + AHEAD_BYTES } else { block_end };
        let end = wanted.min(part_end).min(self.table.meta().bytes).max(block_end);
        self.ahead.resize((end - block.offset) as usize, 0);
        self.ahead_at = block.offset;
        let read = self.table.read_bytes(loaded.file.as_ref(), block.offset, &mut self.ahead);
        if read.is_err() {
            self.ahead.clear();
        }
        read
    }

    /// Steps to the first entry of the block just opened that belongs to the scan; false when there is none.
    fn enter(&mut self, first: bool) -> Result<bool, &'static str> {
        let (layout, bytes) = match &self.open {
            Open::Shared(block) => (block.layout(), block.bytes()),
            Open::Own(layout) => (layout, self.raw.as_slice()),
            Open::Nothing => return Ok(false),
        };
        match self.direction {
            Direction::Forward if first && !self.range.from.is_empty() => {
                self.cursor.seek(layout, bytes, &self.range.from)
            }
            Direction::Forward => {
                self.cursor.reset();
                self.cursor.next(layout, bytes)
            }
            Direction::Backward => {
                let to = self.range.to.as_deref().filter(|_| first);
                self.cursor.seek_last(layout, bytes, to)
            }
        }
    }
}
