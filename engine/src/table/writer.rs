//! Writes one sorted table from entries that come in order.
//!
//! Invariants: what is written is read by [`super::reader`] and accepted by [`super::check`]; memory is bounded by
//! one partition and one buffer, whatever the table's size, but for range tombstones and the index of
//! partitions (some fifty bytes for each 2 MiB of entries).

use super::block::{BLOCK_BYTES, BlockBuilder, ENTRY_OVERHEAD_BYTES};
use super::index::{IndexBuilder, PartRef, separator};
use super::props::{Props, encode_ranges, join_ranges, last_before};
use super::seal::{Compress, META_RAW_BYTES_MAX, Sealer};
use super::{BlockRef, Footer, TableMeta, file_name, filter};
use crate::disk::{Disk, DiskWrite};
use crate::entry::{Entry, Expires, RangeTombstone};
use crate::error::Error;
use crate::limits::{INTERNAL_KEY_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes gathered before they go to the disk.
const BUFFER_BYTES: usize = 256 << 10;
/// A partition is closed when its index and filter take this much together.
const PART_BYTES: usize = 32 << 10;

/// A table in the making. Dropping it without [`TableWriter::finish`] leaves a useless file behind,
/// which the caller removes.
pub(crate) struct TableWriter {
    file: Box<dyn DiskWrite>,
    path: PathBuf,
    number: u64,
    buffer: Vec<u8>,
    /// Length of the file once the buffer is written.
    offset: u64,
    sealer: Sealer,
    /// Of data blocks.
    compress: Compress,
    block: BlockBuilder,
    block_keyspace: u8,
    /// Data blocks of the partition, and the hashes of its keys.
    part: IndexBuilder,
    hashes: Vec<u64>,
    root: IndexBuilder,
    ranges: Vec<RangeTombstone>,
    props: Props,
    blobs: BTreeMap<u64, u64>,
    /// Room for a separator.
    between: Vec<u8>,
    /// Room for a raw filter.
    raw: Vec<u8>,
}

impl TableWriter {
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, number: u64) -> Result<Self, Error> {
        TableWriter::create_at(disk, dir.join(file_name(number)), number)
    }

    /// Its blocks are not compressed: it will be merged into another table soon.
    pub(crate) fn leave_plain(&mut self) {
        self.compress = Compress::Never;
    }

    /// Under another name than its number's.
    pub(crate) fn create_at(disk: &dyn Disk, path: PathBuf, number: u64) -> Result<Self, Error> {
        let file = disk.create(&path).map_err(Error::io("create", &path))?;
        Ok(TableWriter {
            file,
            path,
            number,
            buffer: Vec::with_capacity(BUFFER_BYTES + 4 * BLOCK_BYTES),
            offset: 0,
            sealer: Sealer::default(),
            compress: Compress::IfItPays,
            block: BlockBuilder::default(),
            block_keyspace: 0,
            part: IndexBuilder::default(),
            hashes: Vec::new(),
            root: IndexBuilder::default(),
            ranges: Vec::new(),
            props: Props {
                expires_min: Expires::NEVER.0,
                expires_max: Expires::NEVER.0,
                ..Props::default()
            },
            blobs: BTreeMap::new(),
            between: Vec::new(),
            raw: Vec::new(),
        })
    }

    /// What the file would take if it ended here, without index and filter of the last partition.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset + self.block.raw_bytes() as u64
    }

    /// True when there is nothing in it: it cannot be finished.
    pub(crate) fn is_empty(&self) -> bool {
        self.props.entries == 0 && self.ranges.is_empty()
    }

    /// Appends an entry; internal keys rise strictly.
    pub(crate) fn add(&mut self, key: &[u8], entry: Entry<'_>) -> Result<(), Error> {
        let Some(&keyspace) = key.first() else {
            panic!("an internal key begins with its keyspace")
        };
        let payload_bytes = entry.payload().len();
        assert!(key.len() <= KEY_BYTES_MAX + 1 && payload_bytes <= VALUE_BYTES_MAX);
        let entry_bytes = key.len() + payload_bytes + ENTRY_OVERHEAD_BYTES;
        let full = self.block.raw_bytes() + entry_bytes > BLOCK_BYTES;
        if !self.block.is_empty() && (full || self.block_keyspace != keyspace) {
            self.close_block(Some(key))?;
        }
        self.block_keyspace = keyspace;
        let hash = filter::hash(key);
        self.block.add(key, &entry, hash);
        self.hashes.push(hash);
        if self.props.entries == 0 {
            self.props.smallest.extend_from_slice(key);
        }
        self.count(key, &entry);
        Ok(())
    }

    fn count(&mut self, key: &[u8], entry: &Entry<'_>) {
        let props = &mut self.props;
        props.count_expiry(entry.expires());
        props.entries += 1;
        props.key_bytes += key.len() as u64;
        props.value_bytes += entry.payload().len() as u64;
        match entry {
            Entry::Put { .. } => {}
            Entry::Tombstone => props.tombstones += 1,
            Entry::Merge { .. } => props.merges += 1,
            Entry::Blob { at, .. } => {
                *self.blobs.entry(at.file).or_default() += u64::from(at.stored_len);
            }
        }
    }

    /// Adds a range tombstone. They may come in any order and at any time before `finish`.
    ///
    /// It acts on older runs alone: it deletes none of this table's own entries.
    pub(crate) fn add_range(&mut self, range: RangeTombstone) -> Result<(), Error> {
        assert!(range.from < range.to && !range.from.is_empty(), "a range deletes something");
        assert!(range.from.len().max(range.to.len()) <= INTERNAL_KEY_BYTES_MAX);
        self.ranges.push(range);
        Ok(())
    }

    /// Closes the block, and the partition when that is large enough. `next` is the key that follows.
    fn close_block(&mut self, next: Option<&[u8]>) -> Result<(), Error> {
        let start = self.buffer.len();
        let crc = self.block.finish(&mut self.sealer, self.compress, &mut self.buffer);
        let block = self.reference(start, crc);
        match next {
            Some(next) => separator(self.block.last_key(), next, &mut self.between),
            None => self.block.last_key().clone_into(&mut self.between),
        }
        self.part.add_block(&self.between, block);
        self.props.data_blocks += 1;
        if self.part.raw_bytes() + filter::raw_bytes(self.hashes.len()) >= PART_BYTES {
            self.close_part();
        }
        if self.buffer.len() >= BUFFER_BYTES { self.write_buffer() } else { Ok(()) }
    }

    /// Writes filter and index of the partition behind its data blocks.
    fn close_part(&mut self) {
        assert!(self.part.entries() > 0 && !self.hashes.is_empty());
        self.between.clear();
        self.between.extend_from_slice(self.part.last());
        self.raw.clear();
        filter::build(&self.hashes, &mut self.raw);
        self.hashes.clear();
        let raw = std::mem::take(&mut self.raw);
        let filter = self.put_meta(&raw, Compress::Never);
        self.raw = raw;
        let index = self.part.finish_part();
        let index = self.put_meta(&index, Compress::IfItPays);
        self.root.add_part(&self.between, &PartRef { filter, index });
    }

    /// Appends a block that is not of data.
    fn put_meta(&mut self, raw: &[u8], compress: Compress) -> BlockRef {
        let start = self.buffer.len();
        let crc = self.sealer.seal(raw, compress, &mut self.buffer);
        self.reference(start, crc)
    }

    /// Refers to the block at the end of the buffer, and counts it in.
    fn reference(&mut self, buffer_start: usize, crc: u32) -> BlockRef {
        let len = (self.buffer.len() - buffer_start) as u32;
        let block = BlockRef { offset: self.offset, len, crc };
        self.offset += u64::from(len);
        block
    }

    fn write_buffer(&mut self) -> Result<(), Error> {
        self.file.write(&self.buffer).map_err(Error::io("write", &self.path))?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left, properties and footer, and syncs the file.
    pub(crate) fn finish(mut self) -> Result<TableMeta, Error> {
        assert!(!self.is_empty(), "an empty table is no table");
        if !self.block.is_empty() {
            self.close_block(None)?;
        }
        if self.part.entries() > 0 {
            self.close_part();
        }
        self.close_props();
        let root = std::mem::take(&mut self.root).finish_root();
        let root = self.put_meta(&root, Compress::Never);
        let ranges = if self.ranges.is_empty() {
            BlockRef::default()
        } else {
            let raw = encode_ranges(&self.ranges);
            assert!(raw.len() <= META_RAW_BYTES_MAX, "range tombstones have a bound");
            self.put_meta(&raw, Compress::Never)
        };
        let props = self.put_meta(&self.props.encode(), Compress::Never);
        let (footer, footer_crc) = Footer::encode([props, root, ranges]);
        self.buffer.extend_from_slice(&footer);
        let bytes = self.offset + footer.len() as u64;
        self.write_buffer()?;
        self.file.sync().map_err(Error::io("sync", &self.path))?;
        Ok(self.props.into_meta(self.number, bytes, footer_crc))
    }

    /// Completes the properties.
    fn close_props(&mut self) {
        self.ranges = join_ranges(std::mem::take(&mut self.ranges));
        let props = &mut self.props;
        self.block.last_key().clone_into(&mut props.largest);
        if let (Some(first), Some(last)) = (self.ranges.first(), self.ranges.last()) {
            if props.entries == 0 || first.from < props.smallest {
                props.smallest.clone_from(&first.from);
            }
            let end = last_before(&last.to);
            if end > props.largest {
                props.largest = end;
            }
        }
        props.ranges = self.ranges.len() as u64;
        props.blobs = std::mem::take(&mut self.blobs).into_iter().collect();
    }
}
