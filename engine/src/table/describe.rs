//! What a table's file says of itself, for those who have no manifest that says it.
//!
//! Invariant: only what passed its checksum is believed; nothing here panics on foreign bytes or allocates more than
//! a table's own parts may take.

use super::block::{BlockCursor, DATA_RAW_BYTES_MAX, Format, Layout};
use super::props::Props;
use super::reader::{Table, TableContext, index_v1};
use super::seal::{META_RAW_BYTES_MAX, TRAILER_BYTES, unseal};
use super::{BlockRef, FOOTER_BYTES, Footer, TableMeta, file_name};
use crate::disk::DiskRead;
use crate::error::Error;
use std::path::PathBuf;

/// A file that may be a table.
struct Unknown {
    file: Box<dyn DiskRead>,
    path: PathBuf,
    bytes: u64,
}

impl Table {
    /// Reads the description of table `number` from its own file.
    pub(crate) fn describe(context: &TableContext, number: u64) -> Result<TableMeta, Error> {
        let path = context.dir().join(file_name(number));
        let file = context.disk.open(&path).map_err(Error::io("open", &path))?;
        let bytes = file.len_bytes().map_err(Error::io("measure", &path))?;
        Unknown { file, path, bytes }.describe(number)
    }
}

impl Unknown {
    fn damage(&self, offset: u64, what: &'static str) -> Error {
        let file = self.path.clone();
        Error::Corruption { file, offset, keyspace: None, keys: None, what }
    }

    /// Reads a block and undoes its compression.
    fn block(&self, block: BlockRef, raw_bytes_max: usize) -> Result<Vec<u8>, Error> {
        let damage = |what| self.damage(block.offset, what);
        let fits = block.end().is_some_and(|end| end <= self.bytes);
        if !fits || block.len as usize > raw_bytes_max + TRAILER_BYTES {
            return Err(damage("block lies outside the file"));
        }
        let mut stored = vec![0; block.len as usize];
        self.file.read_at(block.offset, &mut stored).map_err(Error::io("read", &self.path))?;
        unseal(&stored, block.crc, raw_bytes_max).map_err(damage)
    }

    fn describe(&self, number: u64) -> Result<TableMeta, Error> {
        let footer_at = self.bytes.checked_sub(FOOTER_BYTES as u64);
        let footer_at = footer_at.ok_or_else(|| self.damage(0, "file too short for a footer"))?;
        let mut footer = [0; FOOTER_BYTES];
        self.file.read_at(footer_at, &mut footer).map_err(Error::io("read", &self.path))?;
        let damage = |what| self.damage(footer_at, what);
        let (footer, footer_crc) = Footer::decode(&footer).map_err(damage)?;
        match footer {
            Footer::V2 { props, .. } => {
                let raw = self.block(props, META_RAW_BYTES_MAX)?;
                let read = Props::decode(&raw).map_err(|what| self.damage(props.offset, what))?;
                Ok(read.into_meta(number, self.bytes, footer_crc))
            }
            Footer::V1 { index, filter, entries, tombstones } => {
                let extent = self.extent_v1(index, filter)?;
                let file = (number, self.bytes, footer_crc);
                Ok(TableMeta::of_v1(file, (entries, tombstones), extent))
            }
        }
    }

    /// The first and the last key of a table of version 1, which has no properties.
    fn extent_v1(&self, index: BlockRef, filter: BlockRef) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let raw = self.block(index, META_RAW_BYTES_MAX)?;
        let damage = |what| self.damage(index.offset, what);
        let blocks = index_v1(&raw, filter.offset).map_err(damage)?;
        let last = blocks.len().checked_sub(1).ok_or_else(|| damage("index is empty"))?;
        let first = blocks.reference(0).ok_or_else(|| damage("index is empty"))?;
        let largest = blocks.key(last).to_vec();
        // Of a damaged first block only what is below its keys is known.
        let smallest = self.block(first, DATA_RAW_BYTES_MAX).ok().and_then(|raw| first_key(&raw));
        let below = || largest.first().map(|_| vec![0]);
        match smallest.or_else(below).filter(|smallest| *smallest <= largest) {
            Some(smallest) => Ok((smallest, largest)),
            None => Err(damage("keys out of order")),
        }
    }
}

fn first_key(raw: &[u8]) -> Option<Vec<u8>> {
    let layout = Layout::parse(Format::V1, raw).ok()?;
    let mut cursor = BlockCursor::default();
    cursor.next(&layout, raw).ok()?.then(|| cursor.key().to_vec())
}
