//! Opening sorted tables and looking keys up in them, from any thread.
//!
//! Invariants: a table is opened on its first use, so that one damaged table stops nobody from using
//! the others; every block passes the checksum in its reference before a byte of it is used;
//! [`Table::get_resident`] reads no file; the file of an obsolete table is handed to the trash when the last user
//! lets go of it, never removed by whoever that is.

use super::block::{BlockCursor, DATA_RAW_BYTES_MAX, Decoded, Format, Layout};
use super::cache::{Block, BlockCache, CacheKey, Cached, Partition, Pin};
use super::filter::{self, Filter};
use super::index::{self, Index, PART_RAW_BYTES_MAX, PartRef};
use super::props::{Props, covering, decode_ranges};
use super::seal::{META_RAW_BYTES_MAX, TRAILER_BYTES, unseal, unseal_into};
use super::{BlockRef, FOOTER_BYTES, Footer, TableMeta, decode_block_ref, file_name};
use crate::disk::{Disk, DiskRead};
use crate::entry::{Entry, RangeTombstone};
use crate::error::{Error, KeySpan};
use crate::trash::Trash;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Read at once when a table is opened: all that describes a table of usual size.
const TAIL_BYTES: u64 = 8 << 10;

/// What the tables of one store share.
pub(crate) struct TableContext {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) trash: Arc<Trash>,
}

impl TableContext {
    /// The folder that the tables are in.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Of a real folder, for tests of files.
    #[cfg(test)]
    pub(crate) fn on_disk(dir: &Path, cache_bytes: usize) -> Arc<TableContext> {
        Arc::new(TableContext {
            disk: Arc::new(crate::disk::RealDisk),
            dir: dir.to_path_buf(),
            cache: Arc::new(BlockCache::new(cache_bytes)),
            trash: Arc::new(Trash::default()),
        })
    }
}

/// What is read of a table when it is first used.
pub(super) struct Loaded {
    pub(super) file: Box<dyn DiskRead>,
    pub(super) format: Format,
    pub(super) root: Index<PartRef>,
    /// The partition of a table that has but one.
    resident: Option<Arc<Partition>>,
    pub(super) ranges: Vec<RangeTombstone>,
    pub(super) props: Props,
}

/// A sorted table.
pub(crate) struct Table {
    meta: TableMeta,
    context: Arc<TableContext>,
    /// Its number in the cache.
    cache_file: u64,
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
    block: Block,
    decoded: Decoded,
}

impl Hit {
    pub(crate) fn entry(&self) -> Entry<'_> {
        self.decoded.entry(self.block.bytes())
    }
}

/// What a look-up that may not read files came to.
pub(crate) enum Probe {
    /// All it needed was in memory.
    Found(Found),
    /// Ask again when this has been fetched.
    Need(BlockNeed),
}

/// What a look-up lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// The table was never used.
    Open,
    /// A partition of index and filter.
    Part(usize),
    /// A data block of a partition.
    Block(usize, usize),
}

/// A part of a table that a look-up needs and memory lacks.
pub(crate) struct BlockNeed {
    table: Arc<Table>,
    missing: Missing,
}

impl BlockNeed {
    /// Reads it into the cache, from any thread. It is found there at least until the pin is
    /// dropped; a table that is opened stays open and needs none.
    pub(crate) fn fetch(&self) -> Result<Option<Pin>, Error> {
        let table = &*self.table;
        let loaded = table.loaded()?;
        let (offset, cached) = match self.missing {
            Missing::Open => return Ok(None),
            Missing::Part(at) => {
                let (offset, part) = table.read_part(loaded, at)?;
                (offset, Cached::Part(part))
            }
            Missing::Block(part_at, at) => {
                let part = table.part(loaded, part_at)?;
                let block = table.read_block(loaded, &part, part_at, at)?;
                let offset = part.index.reference(at).map_or(0, |block| block.offset);
                (offset, Cached::Block(block))
            }
        };
        Ok(Some(Pin::new(&table.context.cache, table.cache_key(offset), cached)))
    }
}

impl Table {
    pub(crate) fn new(meta: TableMeta, context: Arc<TableContext>) -> Table {
        assert!(meta.smallest <= meta.largest && !meta.smallest.is_empty());
        let cache_file = context.cache.next_file();
        let obsolete = AtomicBool::new(false);
        Table { meta, context, cache_file, loaded: OnceLock::new(), obsolete }
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

    /// Damage that hits the table as a whole.
    pub(super) fn damage(&self, offset: u64, what: &'static str) -> Error {
        Error::Corruption { file: self.path(), offset, keyspace: None, keys: None, what }
    }

    /// Damage to what holds the keys past `before` (if there are any) and up to `last`.
    fn damage_between(&self, offset: u64, before: &[u8], last: &[u8], what: &'static str) -> Error {
        let (Some((&keyspace, last)), first) = (last.split_first(), before) else {
            return self.damage(offset, what);
        };
        let first = match first.split_first() {
            Some((&of, first)) if of == keyspace => first.to_vec(),
            _ => Vec::new(),
        };
        let keys = Some(Box::new(KeySpan { first, last: last.to_vec() }));
        Error::Corruption { file: self.path(), offset, keyspace: Some(keyspace), keys, what }
    }

    /// Below which no key of a partition is.
    pub(super) fn part_start<'a>(&'a self, loaded: &'a Loaded, at: usize) -> &'a [u8] {
        at.checked_sub(1).map_or(&self.meta.smallest, |before| loaded.root.key(before))
    }

    /// Damage to the index or filter of a partition. It may hold keys of several keyspaces: then it
    /// hits none alone.
    pub(super) fn damage_part(
        &self,
        loaded: &Loaded,
        at: usize,
        offset: u64,
        what: &'static str,
    ) -> Error {
        let (start, end) = (self.part_start(loaded, at), loaded.root.key(at));
        if start.first() == end.first() {
            self.damage_between(offset, start, end, what)
        } else {
            self.damage(offset, what)
        }
    }

    /// Damage to a data block, which holds keys of one keyspace alone.
    pub(super) fn damage_block(
        &self,
        loaded: &Loaded,
        part: &Partition,
        (part_at, at): (usize, usize),
        what: &'static str,
    ) -> Error {
        let offset = part.index.reference(at).map_or(0, |block| block.offset);
        let before =
            at.checked_sub(1).map_or(self.part_start(loaded, part_at), |at| part.index.key(at));
        self.damage_between(offset, before, part.index.key(at), what)
    }

    pub(super) fn loaded(&self) -> Result<&Loaded, Error> {
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
            return Err(self.damage(len.min(self.meta.bytes), "file of a wrong length"));
        }
        let Some(footer_at) = len.checked_sub(FOOTER_BYTES as u64) else {
            return Err(self.damage(0, "file too short for a footer"));
        };
        let tail_at = len.saturating_sub(TAIL_BYTES);
        let mut tail = vec![0; (len - tail_at) as usize];
        file.read_at(tail_at, &mut tail).map_err(Error::io("read", &path))?;
        let footer = tail.last_chunk::<FOOTER_BYTES>().ok_or("file too short for a footer");
        let (footer, crc) =
            footer.and_then(Footer::decode).map_err(|what| self.damage(footer_at, what))?;
        if crc != self.meta.footer_crc {
            return Err(self.damage(footer_at, "file is not the one the manifest means"));
        }
        let reading = Opening { table: self, file, footer_at, tail_at, tail };
        match footer {
            Footer::V1 { index, filter, entries, tombstones } => {
                if (entries, tombstones) != (self.meta.entries, self.meta.tombstones) {
                    return Err(self.damage(footer_at, "entries are not as many as counted"));
                }
                reading.load_v1(index, filter)
            }
            Footer::V2 { props, root, ranges } => reading.load_v2(props, root, ranges),
        }
    }

    pub(super) fn cache_key(&self, offset: u64) -> CacheKey {
        CacheKey { file: self.cache_file, offset }
    }

    /// Checks where a block says that it lies.
    fn check_extent(&self, block: BlockRef, raw_bytes_max: usize) -> Result<(), &'static str> {
        // A stored block is never longer than its raw form and the trailer.
        if block.len as usize > raw_bytes_max + TRAILER_BYTES {
            return Err("block is bigger than it may be");
        }
        if block.end().is_none_or(|end| end > self.meta.bytes) {
            return Err("block lies outside the file");
        }
        Ok(())
    }

    /// Reads bytes of the file whose extent was checked.
    pub(super) fn read_bytes(
        &self,
        file: &dyn DiskRead,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), Error> {
        file.read_at(offset, out).map_err(|source| Error::io("read", &self.path())(source))
    }

    /// Reads index and filter of a partition, which lie side by side. Their place in the cache is the filter's
    /// offset.
    pub(super) fn read_part(
        &self,
        loaded: &Loaded,
        at: usize,
    ) -> Result<(u64, Arc<Partition>), Error> {
        let offset = loaded.root.reference(at).map_or(0, |part| part.filter.offset);
        if let Some(resident) = &loaded.resident {
            return Ok((offset, Arc::clone(resident)));
        }
        let damage = |what| self.damage_part(loaded, at, offset, what);
        let part = loaded.root.reference(at).ok_or_else(|| damage("partition is not there"))?;
        self.load_part(loaded.file.as_ref(), part, damage).map(|part| (offset, part))
    }

    fn load_part(
        &self,
        file: &dyn DiskRead,
        PartRef { filter, index }: PartRef,
        damage: impl Fn(&'static str) -> Error,
    ) -> Result<Arc<Partition>, Error> {
        for block in [filter, index] {
            self.check_extent(block, PART_RAW_BYTES_MAX).map_err(&damage)?;
        }
        if filter.end() != Some(index.offset) {
            return Err(damage("filter and index of a partition lie apart"));
        }
        let mut stored = vec![0; filter.len as usize + index.len as usize];
        self.read_bytes(file, filter.offset, &mut stored)?;
        let (stored_filter, stored_index) = stored.split_at(filter.len as usize);
        let raw = unseal(stored_filter, filter.crc, PART_RAW_BYTES_MAX).map_err(&damage)?;
        let parsed_filter = Filter::parse(&raw).map_err(&damage)?;
        let raw = unseal(stored_index, index.crc, PART_RAW_BYTES_MAX).map_err(&damage)?;
        let parsed = index::parse_part(&raw).map_err(&damage)?;
        if parsed.refs().last().and_then(BlockRef::end) != Some(filter.offset) {
            return Err(damage("data blocks do not reach their filter"));
        }
        Ok(Arc::new(Partition { index: parsed, filter: parsed_filter }))
    }

    /// A partition, through the cache.
    pub(super) fn part(&self, loaded: &Loaded, at: usize) -> Result<Arc<Partition>, Error> {
        if let Some(part) = self.part_in_memory(loaded, at) {
            return Ok(part);
        }
        let (offset, part) = self.read_part(loaded, at)?;
        self.context.cache.insert(self.cache_key(offset), Cached::Part(Arc::clone(&part)));
        Ok(part)
    }

    #[inline]
    fn part_in_memory(&self, loaded: &Loaded, at: usize) -> Option<Arc<Partition>> {
        if let Some(resident) = &loaded.resident {
            return Some(Arc::clone(resident));
        }
        let offset = loaded.root.reference(at)?.filter.offset;
        match self.context.cache.get(&self.cache_key(offset)) {
            Some(Cached::Part(part)) => Some(part),
            _ => None,
        }
    }

    /// Checks the extent of a data block and returns its reference.
    pub(super) fn block_ref(
        &self,
        loaded: &Loaded,
        part: &Partition,
        (part_at, at): (usize, usize),
    ) -> Result<BlockRef, Error> {
        let damage = |what| self.damage_block(loaded, part, (part_at, at), what);
        let block = part.index.reference(at).ok_or_else(|| damage("block is not there"))?;
        self.check_extent(block, DATA_RAW_BYTES_MAX).map_err(damage)?;
        Ok(block)
    }

    /// Opens a stored data block into room that is used again.
    pub(super) fn open_block(
        &self,
        loaded: &Loaded,
        stored: &[u8],
        block: BlockRef,
        raw: &mut Vec<u8>,
    ) -> Result<Layout, &'static str> {
        unseal_into(stored, block.crc, DATA_RAW_BYTES_MAX, raw)?;
        Layout::parse(loaded.format, raw)
    }

    /// Reads a data block past the cache.
    pub(super) fn read_block(
        &self,
        loaded: &Loaded,
        part: &Partition,
        part_at: usize,
        at: usize,
    ) -> Result<Block, Error> {
        let block = self.block_ref(loaded, part, (part_at, at))?;
        let mut stored = vec![0; block.len as usize];
        self.read_bytes(loaded.file.as_ref(), block.offset, &mut stored)?;
        let mut raw = Vec::new();
        let layout = self
            .open_block(loaded, &stored, block, &mut raw)
            .map_err(|what| self.damage_block(loaded, part, (part_at, at), what))?;
        Ok(Block::new(raw.into(), layout))
    }

    /// A data block, through the cache.
    pub(super) fn block(
        &self,
        loaded: &Loaded,
        part: &Partition,
        part_at: usize,
        at: usize,
    ) -> Result<Block, Error> {
        if let Some(block) = self.block_in_memory(part, at) {
            return Ok(block);
        }
        let block = self.read_block(loaded, part, part_at, at)?;
        if let Some(reference) = part.index.reference(at) {
            let key = self.cache_key(reference.offset);
            self.context.cache.insert(key, Cached::Block(block.clone()));
        }
        Ok(block)
    }

    #[inline]
    fn block_in_memory(&self, part: &Partition, at: usize) -> Option<Block> {
        let offset = part.index.reference(at)?.offset;
        match self.context.cache.get(&self.cache_key(offset)) {
            Some(Cached::Block(block)) => Some(block),
            _ => None,
        }
    }

    /// Looks an internal key up. May read files.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Found, Error> {
        self.get_hashed(key, filter::hash(key))
    }

    /// As [`Table::get`], for who asks several tables for one key: `hash` is [`filter::hash`] of it.
    pub(crate) fn get_hashed(&self, key: &[u8], hash: u64) -> Result<Found, Error> {
        if !self.spans(key) {
            return Ok(Found::Absent);
        }
        let loaded = self.loaded()?;
        let part_at = loaded.root.find(key);
        if part_at >= loaded.root.len() {
            return Ok(loaded.without_entry(key));
        }
        let cached;
        let part = match &loaded.resident {
            Some(resident) => resident,
            None => {
                cached = self.part(loaded, part_at)?;
                &cached
            }
        };
        let Some(at) = part.may_hold(key, hash) else {
            return Ok(loaded.without_entry(key));
        };
        let block = self.block(loaded, part, part_at, at)?;
        self.find(loaded, part, (part_at, at), block, key, hash)
    }

    /// Looks an internal key up without reading any file.
    pub(crate) fn get_resident(self: &Arc<Self>, key: &[u8]) -> Result<Probe, Error> {
        self.get_resident_hashed(key, filter::hash(key))
    }

    /// As [`Table::get_resident`], with [`filter::hash`] of the key.
    pub(crate) fn get_resident_hashed(
        self: &Arc<Self>,
        key: &[u8],
        hash: u64,
    ) -> Result<Probe, Error> {
        if !self.spans(key) {
            return Ok(Probe::Found(Found::Absent));
        }
        let Some(loaded) = self.loaded.get() else {
            return Ok(self.need(Missing::Open));
        };
        let part_at = loaded.root.find(key);
        if part_at >= loaded.root.len() {
            return Ok(Probe::Found(loaded.without_entry(key)));
        }
        let Some(part) = self.part_in_memory(loaded, part_at) else {
            return Ok(self.need(Missing::Part(part_at)));
        };
        let Some(at) = part.may_hold(key, hash) else {
            return Ok(Probe::Found(loaded.without_entry(key)));
        };
        let Some(block) = self.block_in_memory(&part, at) else {
            return Ok(self.need(Missing::Block(part_at, at)));
        };
        self.find(loaded, &part, (part_at, at), block, key, hash).map(Probe::Found)
    }

    fn need(self: &Arc<Self>, missing: Missing) -> Probe {
        Probe::Need(BlockNeed { table: Arc::clone(self), missing })
    }

    #[inline]
    fn spans(&self, key: &[u8]) -> bool {
        key >= self.meta.smallest.as_slice() && key <= self.meta.largest.as_slice()
    }

    #[inline]
    fn find(
        &self,
        loaded: &Loaded,
        part: &Partition,
        at: (usize, usize),
        block: Block,
        key: &[u8],
        hash: u64,
    ) -> Result<Found, Error> {
        match block.find(key, hash) {
            Ok(Some(decoded)) => Ok(Found::Entry(Hit { block, decoded })),
            Ok(None) => Ok(loaded.without_entry(key)),
            Err(what) => Err(self.damage_block(loaded, part, at, what)),
        }
    }

    /// Its range tombstones: in key order, apart from each other. May read files.
    pub(crate) fn ranges(&self) -> Result<&[RangeTombstone], Error> {
        if self.meta.ranges == 0 { Ok(&[]) } else { Ok(&self.loaded()?.ranges) }
    }
}

impl Loaded {
    /// What a table says of a key that it has no entry of.
    fn without_entry(&self, key: &[u8]) -> Found {
        if covering(&self.ranges, key).is_some() { Found::Covered } else { Found::Absent }
    }
}

impl Partition {
    /// The block that may hold a key; none when there is surely none.
    #[inline]
    fn may_hold(&self, key: &[u8], hash: u64) -> Option<usize> {
        if !self.filter.may_hold(hash) {
            return None;
        }
        Some(self.index.find(key)).filter(|&at| at < self.index.len())
    }
}

/// A table that is being opened.
struct Opening<'a> {
    table: &'a Table,
    file: Box<dyn DiskRead>,
    footer_at: u64,
    tail_at: u64,
    /// The end of the file.
    tail: Vec<u8>,
}

impl Opening<'_> {
    /// Reads a block that describes the table as a whole.
    fn meta_block(&self, block: BlockRef) -> Result<Vec<u8>, Error> {
        let damage = |what| self.table.damage(block.offset, what);
        self.table.check_extent(block, META_RAW_BYTES_MAX).map_err(damage)?;
        let len = block.len as usize;
        let start = block.offset.checked_sub(self.tail_at).map(|start| start as usize);
        let at_hand = start.and_then(|start| self.tail.get(start..)?.get(..len));
        let raw = match at_hand {
            Some(stored) => unseal(stored, block.crc, META_RAW_BYTES_MAX),
            None => {
                let mut stored = vec![0; len];
                self.table.read_bytes(self.file.as_ref(), block.offset, &mut stored)?;
                unseal(&stored, block.crc, META_RAW_BYTES_MAX)
            }
        };
        raw.map_err(damage)
    }

    fn load_v2(
        self,
        props_at: BlockRef,
        root_at: BlockRef,
        ranges_at: BlockRef,
    ) -> Result<Loaded, Error> {
        let table = self.table;
        let meta = &table.meta;
        let behind_root = if ranges_at == BlockRef::default() {
            root_at.end()
        } else {
            (root_at.end() == Some(ranges_at.offset)).then(|| ranges_at.end()).flatten()
        };
        if behind_root != Some(props_at.offset) || props_at.end() != Some(self.footer_at) {
            return Err(table.damage(self.footer_at, "blocks do not reach the footer"));
        }
        let props = Props::decode(&self.meta_block(props_at)?)
            .map_err(|what| table.damage(props_at.offset, what))?;
        let described = props.clone().into_meta(meta.number, meta.bytes, meta.footer_crc);
        if described != *meta {
            return Err(table.damage(props_at.offset, "properties are not those in the manifest"));
        }
        let ranges = if ranges_at == BlockRef::default() {
            Vec::new()
        } else {
            decode_ranges(&self.meta_block(ranges_at)?)
                .map_err(|what| table.damage(ranges_at.offset, what))?
        };
        if ranges.len() as u64 != props.ranges {
            return Err(
                table.damage(props_at.offset, "range tombstones are not as many as counted")
            );
        }
        let root = index::parse_root(&self.meta_block(root_at)?)
            .map_err(|what| table.damage(root_at.offset, what))?;
        if root.refs().last().map_or(Some(0), |part| part.index.end()) != Some(root_at.offset) {
            return Err(table.damage(root_at.offset, "partitions do not reach their index"));
        }
        let resident = match root.refs() {
            &[part] => {
                let damage = |what| table.damage(part.filter.offset, what);
                Some(table.load_part(self.file.as_ref(), part, damage)?)
            }
            _ => None,
        };
        Ok(Loaded { file: self.file, format: Format::V2, root, resident, ranges, props })
    }

    fn load_v1(self, index: BlockRef, filter: BlockRef) -> Result<Loaded, Error> {
        let table = self.table;
        if index.end() != Some(self.footer_at) || filter.end() != Some(index.offset) {
            return Err(table.damage(self.footer_at, "index does not reach the footer"));
        }
        let parsed_filter = Filter::parse_v1(self.meta_block(filter)?)
            .map_err(|what| table.damage(filter.offset, what))?;
        let blocks = index_v1(&self.meta_block(index)?, filter.offset)
            .map_err(|what| table.damage(index.offset, what))?;
        let meta = &table.meta;
        let last = blocks.len().checked_sub(1).map(|last| blocks.key(last));
        if last != Some(meta.largest.as_slice()) {
            return Err(table.damage(index.offset, "index does not cover the table"));
        }
        let root = [(meta.largest.as_slice(), PartRef { filter, index })];
        let root = Index::new(root.into_iter())
            .ok_or_else(|| table.damage(index.offset, "index does not parse"))?;
        let props = Props {
            entries: meta.entries,
            tombstones: meta.tombstones,
            expires_min: meta.expires_min.0,
            expires_max: meta.expires_max.0,
            data_blocks: blocks.len() as u64,
            smallest: meta.smallest.clone(),
            largest: meta.largest.clone(),
            ..Props::default()
        };
        let resident = Some(Arc::new(Partition { index: blocks, filter: parsed_filter }));
        Ok(Loaded {
            file: self.file,
            format: Format::V1,
            root,
            resident,
            ranges: Vec::new(),
            props,
        })
    }
}

/// Reads an index of version 1: a data block whose values are references. Data blocks lie side by side
/// from byte 0 to `end`.
pub(super) fn index_v1(raw: &[u8], end: u64) -> Result<Index<BlockRef>, &'static str> {
    let layout = Layout::parse(Format::V1, raw)?;
    let (mut cursor, mut next_offset) = (BlockCursor::default(), 0);
    let mut entries: Vec<(Vec<u8>, BlockRef)> = Vec::new();
    while cursor.next(&layout, raw)? {
        let Entry::Put { value, .. } = cursor.decoded().entry(raw) else {
            return Err("index entry does not parse");
        };
        let block = decode_block_ref(value).filter(|block| block.offset == next_offset);
        let block = block.ok_or("index entry does not parse")?;
        next_offset = block.end().ok_or("index entry does not parse")?;
        entries.push((cursor.key().to_vec(), block));
    }
    if next_offset != end {
        return Err("index does not cover the table");
    }
    let entries = entries.iter().map(|(key, block)| (key.as_slice(), *block));
    Index::new(entries).ok_or("index does not parse")
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
