//! Writes one sorted table from entries that come in order.

use super::block::{BLOCK_BYTES, BlockBuilder, seal};
use super::{BlockRef, Footer, TableMeta, encode_block_ref, file_name, filter};
use crate::disk::{Disk, DiskWrite};
use crate::entry::{Entry, Expires, RangeTombstone};
use crate::error::Error;
use std::path::{Path, PathBuf};

/// Bytes gathered before they go to the disk.
const BUFFER_BYTES: usize = 256 << 10;
/// The most that an entry's header and its share of the restart table take.
const ENTRY_OVERHEAD_BYTES: usize = 19;

/// A table in the making. Dropping it without [`TableWriter::finish`] leaves a useless file behind,
/// which the caller removes.
pub(crate) struct TableWriter {
    file: Box<dyn DiskWrite>,
    path: PathBuf,
    number: u64,
    buffer: Vec<u8>,
    /// Length of the file once the buffer is written.
    offset: u64,
    block: BlockBuilder,
    block_keyspace: Option<u8>,
    index: BlockBuilder,
    hashes: Vec<u64>,
    entries: u64,
    tombstones: u64,
    smallest: Vec<u8>,
    key: Vec<u8>,
}

impl TableWriter {
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, number: u64) -> Result<Self, Error> {
        let path = dir.join(file_name(number));
        let file = disk.create(&path).map_err(Error::io("create", &path))?;
        Ok(TableWriter {
            file,
            path,
            number,
            buffer: Vec::with_capacity(BUFFER_BYTES + 2 * BLOCK_BYTES),
            offset: 0,
            block: BlockBuilder::default(),
            block_keyspace: None,
            index: BlockBuilder::default(),
            hashes: Vec::new(),
            entries: 0,
            tombstones: 0,
            smallest: Vec::new(),
            key: Vec::new(),
        })
    }

    /// What the file would take if it ended here, without index and filter.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset + self.block.raw_bytes() as u64
    }

    /// Appends an entry; internal keys rise strictly.
    pub(crate) fn add(&mut self, key: &[u8], entry: Entry<'_>) -> Result<(), Error> {
        let value = match entry {
            Entry::Put { value, expires: Expires::NEVER } => Some(value),
            Entry::Tombstone => None,
            other => panic!("version 1 of the format has no place for {other:?}"),
        };
        let Some(&ks) = key.first() else { panic!("an internal key begins with its keyspace") };
        self.key.clear();
        self.key.extend_from_slice(key);
        let entry_bytes = self.key.len() + value.map_or(0, <[u8]>::len) + ENTRY_OVERHEAD_BYTES;
        let full = self.block.raw_bytes() + entry_bytes > BLOCK_BYTES;
        if !self.block.is_empty() && (full || self.block_keyspace != Some(ks)) {
            self.close_block()?;
        }
        self.block_keyspace = Some(ks);
        self.block.add(&self.key, value);
        self.hashes.push(filter::hash(&self.key));
        if self.entries == 0 {
            self.smallest.clone_from(&self.key);
        }
        self.entries += 1;
        self.tombstones += u64::from(value.is_none());
        Ok(())
    }

    /// Adds a range tombstone. They may come in any order and at any time before `finish`.
    pub(crate) fn add_range(&mut self, range: RangeTombstone) -> Result<(), Error> {
        panic!("version 1 of the format has no place for {range:?}")
    }

    fn close_block(&mut self) -> Result<(), Error> {
        let start = self.buffer.len();
        let crc = self.block.finish(&mut self.buffer);
        let block = self.reference(start, crc);
        self.index.add(self.block.last_key(), Some(&encode_block_ref(block)));
        if self.buffer.len() >= BUFFER_BYTES { self.write_buffer() } else { Ok(()) }
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

    /// Writes what is left, filter, index and footer, and syncs the file.
    pub(crate) fn finish(mut self) -> Result<TableMeta, Error> {
        assert!(self.entries > 0, "an empty table is no table");
        self.close_block()?;
        let largest = std::mem::take(&mut self.key);
        let start = self.buffer.len();
        let crc = seal(&filter::build(&self.hashes), false, &mut self.buffer);
        let filter = self.reference(start, crc);
        let start = self.buffer.len();
        let crc = self.index.finish(&mut self.buffer);
        let index = self.reference(start, crc);
        let (entries, tombstones) = (self.entries, self.tombstones);
        let (footer, footer_crc) = Footer { index, filter, entries, tombstones }.encode();
        self.buffer.extend_from_slice(&footer);
        let bytes = self.offset + footer.len() as u64;
        self.write_buffer()?;
        self.file.sync().map_err(Error::io("sync", &self.path))?;
        let (number, smallest) = (self.number, self.smallest);
        Ok(TableMeta {
            number,
            bytes,
            entries,
            tombstones,
            footer_crc,
            smallest,
            largest,
            ranges: 0,
            merges: 0,
            expires_min: Expires::NEVER,
            expires_max: Expires::NEVER,
            blobs: Vec::new(),
        })
    }
}
