//! Look-ups and scans in one sorted table, from any thread.
//!
//! Invariants: a table is opened on its first use, so that one damaged table stops nobody from using
//! the others; every block passes the checksum in its reference before a byte of it is used;
//! the file of an obsolete table is handed to the trash when the last user lets go of it, never
//! removed by whoever that is.

use super::block::{Block, DATA_RAW_BYTES_MAX, Entries, META_RAW_BYTES_MAX, TRAILER_BYTES, unseal};
use super::cache::BlockCache;
use super::filter::{self, Filter};
use super::{BlockRef, FOOTER_BYTES, Footer, TableMeta, decode_block_ref, file_name};
use crate::disk::{Disk, DiskRead};
use crate::entry::{Entry, Expires, RangeTombstone};
use crate::error::Error;
use crate::trash::Trash;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// What the tables of one store share.
pub(crate) struct TableContext {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) cache: BlockCache,
    pub(crate) trash: Arc<Trash>,
}

/// An entry of the index: the last key of a block, and where it lies.
struct IndexEntry {
    last_key: Vec<u8>,
    block: BlockRef,
}

/// What is read of a table when it is first used.
struct Loaded {
    file: Box<dyn DiskRead>,
    index: Vec<IndexEntry>,
    filter: Filter,
    footer: Footer,
}

/// A sorted table.
pub(crate) struct Table {
    meta: TableMeta,
    context: Arc<TableContext>,
    loaded: OnceLock<Loaded>,
    obsolete: AtomicBool,
}

/// What a look-up found.
pub(crate) enum Found {
    /// The table holds the key.
    Entry(Hit),
    /// It does not, and a range tombstone of its deletes the key in older runs.
    Covered,
    /// It says nothing of the key.
    Absent,
}

/// An entry that was found; its bytes are still in their block.
pub(crate) struct Hit {
    block: Arc<Block>,
    value: Option<Range<usize>>,
}

impl Hit {
    pub(crate) fn entry(&self) -> Entry<'_> {
        entry_of(self.value.as_ref().map(|range| self.block.value(range)))
    }
}

fn entry_of(value: Option<&[u8]>) -> Entry<'_> {
    value.map_or(Entry::Tombstone, |value| Entry::Put { value, expires: Expires::NEVER })
}

impl Table {
    pub(crate) fn new(meta: TableMeta, context: Arc<TableContext>) -> Table {
        assert!(meta.smallest <= meta.largest && !meta.smallest.is_empty());
        Table { meta, context, loaded: OnceLock::new(), obsolete: AtomicBool::new(false) }
    }

    pub(crate) fn meta(&self) -> &TableMeta {
        &self.meta
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.context.dir.join(file_name(self.meta.number))
    }

    /// The durable manifest no longer names this table: its file goes when its last user does.
    pub(crate) fn set_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    fn damage(&self, offset: u64, keyspace: Option<u8>, what: &'static str) -> Error {
        Error::Corruption { file: self.path(), offset, keyspace, what }
    }

    fn loaded(&self) -> Result<&Loaded, Error> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        // Two threads may both load it: the second result is dropped.
        let loaded = self.load()?;
        Ok(self.loaded.get_or_init(|| loaded))
    }

    fn load(&self) -> Result<Loaded, Error> {
        let path = self.path();
        let file = self.context.disk.open(&path).map_err(Error::io("open", &path))?;
        let len = file.len_bytes().map_err(Error::io("measure", &path))?;
        if len != self.meta.bytes {
            return Err(self.damage(len.min(self.meta.bytes), None, "file of a wrong length"));
        }
        let Some(footer_at) = len.checked_sub(FOOTER_BYTES as u64) else {
            return Err(self.damage(0, None, "file too short for a footer"));
        };
        let mut bytes = [0; FOOTER_BYTES];
        file.read_at(footer_at, &mut bytes).map_err(Error::io("read", &path))?;
        let (footer, crc) =
            Footer::decode(&bytes).map_err(|what| self.damage(footer_at, None, what))?;
        if crc != self.meta.footer_crc {
            return Err(self.damage(footer_at, None, "file is not the one the manifest means"));
        }
        let end = footer.index.offset.checked_add(u64::from(footer.index.len));
        if end != Some(footer_at) {
            return Err(self.damage(footer_at, None, "index does not reach the footer"));
        }
        let index = self.load_index(file.as_ref(), footer)?;
        let raw = self.read_raw(file.as_ref(), footer.filter, META_RAW_BYTES_MAX, None)?;
        let filter =
            Filter::parse(raw).map_err(|what| self.damage(footer.filter.offset, None, what))?;
        Ok(Loaded { file, index, filter, footer })
    }

    fn load_index(&self, file: &dyn DiskRead, footer: Footer) -> Result<Vec<IndexEntry>, Error> {
        let damage = |what| self.damage(footer.index.offset, None, what);
        let raw = self.read_raw(file, footer.index, META_RAW_BYTES_MAX, None)?;
        let block = Block::parse(raw).map_err(damage)?;
        let mut index: Vec<IndexEntry> = Vec::new();
        let mut next_offset = 0;
        for (last_key, value) in block.entries().map_err(damage)? {
            let value = value.as_ref().map(|range| block.value(range)).unwrap_or_default();
            let block = decode_block_ref(value)
                .filter(|block| block.offset == next_offset && !last_key.is_empty())
                .ok_or_else(|| damage("index entry does not parse"))?;
            next_offset += u64::from(block.len);
            index.push(IndexEntry { last_key, block });
        }
        let filter_end = footer.filter.offset.checked_add(u64::from(footer.filter.len));
        let tight = next_offset == footer.filter.offset && filter_end == Some(footer.index.offset);
        let whole = index.last().is_some_and(|last| last.last_key == self.meta.largest);
        if tight && whole { Ok(index) } else { Err(damage("index does not cover the table")) }
    }

    fn read_raw(
        &self,
        file: &dyn DiskRead,
        block: BlockRef,
        raw_bytes_max: usize,
        keyspace: Option<u8>,
    ) -> Result<Vec<u8>, Error> {
        let damage = |what| self.damage(block.offset, keyspace, what);
        let len = block.len as usize;
        // A stored block is never longer than its raw form and the trailer.
        if len > raw_bytes_max + TRAILER_BYTES {
            return Err(damage("block is bigger than it may be"));
        }
        let inside = block.offset.checked_add(u64::from(block.len));
        if inside.is_none_or(|end| end > self.meta.bytes) {
            return Err(damage("block lies outside the file"));
        }
        let mut stored = vec![0; len];
        let path = self.path();
        file.read_at(block.offset, &mut stored).map_err(Error::io("read", &path))?;
        unseal(stored, block.crc, raw_bytes_max).map_err(damage)
    }

    fn read_block(&self, loaded: &Loaded, at: usize) -> Result<Arc<Block>, Error> {
        let entry = &loaded.index[at];
        let keyspace = entry.last_key.first().copied();
        let raw = self.read_raw(loaded.file.as_ref(), entry.block, DATA_RAW_BYTES_MAX, keyspace)?;
        Block::parse(raw)
            .map(Arc::new)
            .map_err(|what| self.damage(entry.block.offset, keyspace, what))
    }

    fn cached_block(&self, loaded: &Loaded, at: usize) -> Result<Arc<Block>, Error> {
        let key = (self.meta.number, loaded.index[at].block.offset);
        if let Some(block) = self.context.cache.get(&key) {
            return Ok(block);
        }
        let block = self.read_block(loaded, at)?;
        self.context.cache.insert(key, Arc::clone(&block));
        Ok(block)
    }

    /// Looks an internal key up.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Found, Error> {
        if key < self.meta.smallest.as_slice() || key > self.meta.largest.as_slice() {
            return Ok(Found::Absent);
        }
        let loaded = self.loaded()?;
        if !loaded.filter.may_hold(filter::hash(key)) {
            return Ok(Found::Absent);
        }
        let at = loaded.index.partition_point(|entry| entry.last_key.as_slice() < key);
        let Some(entry) = loaded.index.get(at) else {
            return Ok(Found::Absent);
        };
        let block = self.cached_block(loaded, at)?;
        let found = block
            .get(key)
            .map_err(|what| self.damage(entry.block.offset, key.first().copied(), what))?;
        Ok(match found {
            None => Found::Absent,
            Some(value) => Found::Entry(Hit { block, value }),
        })
    }

    /// Entries in `range`, in `direction`. `cached`: blocks go through the cache; merging tables
    /// reads past it, since it reads each block once.
    pub(crate) fn iter(
        &self,
        range: Arc<KeyRange>,
        direction: Direction,
        cached: bool,
    ) -> TableIter<'_> {
        TableIter { table: self, range, direction, cached, blocks: None, open: None }
    }

    /// A cursor over the entries in `range`, standing before the first. `cached` as for `iter`.
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
            blocks: None,
            open: None,
            now: None,
        }
    }

    /// Its range tombstones: in key order, apart from each other.
    pub(crate) fn ranges(&self) -> Result<&[RangeTombstone], Error> {
        assert_eq!(self.meta.ranges, 0, "version 1 of the format has none");
        Ok(&[])
    }

    /// Reads everything and checks what the checksums do not: order, counts, filter, extent.
    pub(crate) fn verify(&self) -> Result<u64, Error> {
        let loaded = self.loaded()?;
        let (mut entries, mut tombstones, mut before) = (0u64, 0u64, Vec::new());
        for (at, indexed) in loaded.index.iter().enumerate() {
            let keyspace = indexed.last_key.first().copied();
            let damage = |what| self.damage(indexed.block.offset, keyspace, what);
            let block = self.read_block(loaded, at)?;
            let decoded = block.entries().map_err(damage)?;
            if decoded.last().map(|(key, _)| key) != Some(&indexed.last_key) {
                return Err(damage("block does not end with the key in the index"));
            }
            for (key, value) in decoded {
                if entries > 0 && key <= before {
                    return Err(damage("keys do not rise across blocks"));
                }
                if entries == 0 && key != self.meta.smallest {
                    return Err(damage("first key is not the one in the manifest"));
                }
                if key.first().copied() != keyspace {
                    return Err(damage("block holds keys of two keyspaces"));
                }
                if !loaded.filter.may_hold(filter::hash(&key)) {
                    return Err(damage("filter denies a key of the table"));
                }
                entries += 1;
                tombstones += u64::from(value.is_none());
                before = key;
            }
        }
        let counted = (entries, tombstones);
        let footer = (loaded.footer.entries, loaded.footer.tombstones);
        if counted != footer || counted != (self.meta.entries, self.meta.tombstones) {
            return Err(self.damage(0, None, "entries are not as many as counted"));
        }
        Ok(loaded.index.len() as u64)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire) {
            let file = self.loaded.take().map(|loaded| loaded.file);
            self.context.trash.add_file(self.path(), file);
        }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Table").field(&self.meta).finish()
    }
}

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

    fn holds(&self, key: &[u8]) -> bool {
        key >= self.from.as_slice() && self.to.as_ref().is_none_or(|to| key < to.as_slice())
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

/// A value that is still in its block.
#[derive(Clone)]
pub(crate) struct TableValue {
    block: Arc<Block>,
    range: Range<usize>,
}

impl TableValue {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.block.value(&self.range)
    }
}

/// Walks over the entries of a table. Its key and entry are borrowed from it until the next step.
pub(crate) struct TableCursor {
    table: Arc<Table>,
    range: Arc<KeyRange>,
    direction: Direction,
    cached: bool,
    blocks: Option<Range<usize>>,
    open: Option<(Arc<Block>, <Entries as IntoIterator>::IntoIter)>,
    now: Option<(Vec<u8>, Option<TableValue>)>,
}

impl TableCursor {
    /// Steps to the next entry; false at the end. After an error it stays at its end.
    pub(crate) fn next(&mut self) -> Result<bool, Error> {
        let mut iter = TableIter {
            table: &self.table,
            range: Arc::clone(&self.range),
            direction: self.direction,
            cached: self.cached,
            blocks: self.blocks.take(),
            open: self.open.take(),
        };
        let next = iter.next();
        (self.blocks, self.open) = (iter.blocks, iter.open);
        self.now = next.transpose()?;
        Ok(self.now.is_some())
    }

    /// The internal key that the cursor stands on; empty before the first step and past the end.
    pub(crate) fn key(&self) -> &[u8] {
        self.now.as_ref().map_or(&[], |(key, _)| key)
    }

    /// The entry that the cursor stands on; a tombstone where it stands on none.
    pub(crate) fn entry(&self) -> Entry<'_> {
        entry_of(self.now.as_ref().and_then(|(_, value)| value.as_ref()).map(TableValue::bytes))
    }
}

/// An internal key and its value, or none for a tombstone.
pub(crate) type TableEntry = (Vec<u8>, Option<TableValue>);

/// A scan of one table. Ends after the first error.
pub(crate) struct TableIter<'a> {
    table: &'a Table,
    range: Arc<KeyRange>,
    direction: Direction,
    cached: bool,
    /// Blocks not yet read; none before the first use.
    blocks: Option<Range<usize>>,
    open: Option<(Arc<Block>, <Entries as IntoIterator>::IntoIter)>,
}

impl TableIter<'_> {
    /// The next entry.
    pub(crate) fn next(&mut self) -> Option<Result<TableEntry, Error>> {
        loop {
            if let Some((block, entries)) = &mut self.open {
                let entry = match self.direction {
                    Direction::Forward => entries.next(),
                    Direction::Backward => entries.next_back(),
                };
                if let Some((key, value)) = entry {
                    if !self.range.holds(&key) {
                        continue;
                    }
                    let value = value.map(|range| TableValue { block: Arc::clone(block), range });
                    return Some(Ok((key, value)));
                }
                self.open = None;
            }
            match self.open_next() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.blocks = Some(0..0);
                    return Some(Err(error));
                }
            }
        }
    }

    /// Opens the next block; false at the end.
    fn open_next(&mut self) -> Result<bool, Error> {
        let loaded = self.table.loaded()?;
        let range = &self.range;
        let blocks = self.blocks.get_or_insert_with(|| {
            let index = &loaded.index;
            let start = index.partition_point(|entry| entry.last_key < range.from);
            // The first block whose last key is at or past the end may still hold keys before it.
            let end = range.to.as_ref().map_or(index.len(), |to| {
                index.partition_point(|entry| entry.last_key < *to).saturating_add(1)
            });
            start..end.min(index.len())
        });
        let next = match self.direction {
            Direction::Forward => blocks.next(),
            Direction::Backward => blocks.next_back(),
        };
        let Some(at) = next else {
            return Ok(false);
        };
        let block = if self.cached {
            self.table.cached_block(loaded, at)?
        } else {
            self.table.read_block(loaded, at)?
        };
        let entries: Entries = block.entries().map_err(|what| {
            let indexed = &loaded.index[at];
            self.table.damage(indexed.block.offset, indexed.last_key.first().copied(), what)
        })?;
        self.open = Some((block, entries.into_iter()));
        Ok(true)
    }
}

impl TableContext {
    /// The folder that the tables are in.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}
