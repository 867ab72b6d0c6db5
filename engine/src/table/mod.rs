//! Sorted tables: the files that hold flushed data. The bytes are those of `docs/formats/table.md`.
//!
//! * [`block`]: entries, compression, checksum
//! * [`cache`]: blocks that are read often
//! * [`filter`]: which keys are surely absent
//! * [`writer`]: a sorted stream of entries becomes a file
//! * [`reader`]: look-ups and scans

pub(crate) mod block;
pub(crate) mod cache;
pub(crate) mod filter;
pub(crate) mod reader;
pub(crate) mod writer;

pub(crate) use reader::{
    Direction, Found, Hit, KeyRange, Table, TableContext, TableCursor, TableEntry, TableIter,
    TableValue,
};
pub(crate) use writer::TableWriter;

use crate::entry::Expires;

/// What the manifest knows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableMeta {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
    pub(crate) footer_crc: u32,
    /// Internal keys: keyspace, then key.
    pub(crate) smallest: Vec<u8>,
    /// No key of the table, and none that its range tombstones delete, is past it.
    pub(crate) largest: Vec<u8>,
    /// Range tombstones.
    pub(crate) ranges: u64,
    /// Entries that are merge operands.
    pub(crate) merges: u64,
    /// The earliest expiry of an entry; NEVER when none expires.
    pub(crate) expires_min: Expires,
    /// From then on no entry says anything: NEVER when one of them does not expire.
    pub(crate) expires_max: Expires,
    /// Blob files that entries refer to, and how many stored bytes of each; in order of number.
    pub(crate) blobs: Vec<(u64, u64)>,
}

/// The file name of table `number`.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:016x}.nvt")
}

/// The number in a table's file name; `None` for other files.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".nvt").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|&number| file_name(number) == name)
}

/// Appends the internal key of `key` in `keyspace`.
pub(crate) fn internal_key(keyspace: u8, key: &[u8]) -> Vec<u8> {
    let mut internal = Vec::with_capacity(key.len() + 1);
    internal.push(keyspace);
    internal.extend_from_slice(key);
    internal
}

pub(crate) const FOOTER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"NVXTABLE";
const VERSION: u32 = 1;

/// Where a block lies, and what its checksum must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRef {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

/// The last 64 bytes of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) index: BlockRef,
    pub(crate) filter: BlockRef,
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
}

impl Footer {
    /// The footer's bytes and their checksum, which is also in their last four.
    pub(crate) fn encode(&self) -> ([u8; FOOTER_BYTES], u32) {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        for block in [self.index, self.filter] {
            bytes.extend_from_slice(&block.offset.to_le_bytes());
            bytes.extend_from_slice(&block.len.to_le_bytes());
            bytes.extend_from_slice(&block.crc.to_le_bytes());
        }
        bytes.extend_from_slice(&self.entries.to_le_bytes());
        bytes.extend_from_slice(&self.tombstones.to_le_bytes());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let mut footer = [0; FOOTER_BYTES];
        footer.copy_from_slice(&bytes);
        (footer, crc)
    }

    /// Reads a footer and its checksum.
    pub(crate) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<(Footer, u32), &'static str> {
        const SHORT: &str = "footer too short";
        let mut reader = crate::codec::Reader::new(bytes);
        let mut block = || -> Option<BlockRef> {
            Some(BlockRef { offset: reader.u64()?, len: reader.u32()?, crc: reader.u32()? })
        };
        let (index, filter) = (block().ok_or(SHORT)?, block().ok_or(SHORT)?);
        let entries = reader.u64().ok_or(SHORT)?;
        let tombstones = reader.u64().ok_or(SHORT)?;
        let magic = reader.take(MAGIC.len()).ok_or(SHORT)?;
        let version = reader.u32().ok_or(SHORT)?;
        let crc = reader.u32().ok_or(SHORT)?;
        if crc32fast::hash(&bytes[..FOOTER_BYTES - 4]) != crc {
            return Err("footer checksum does not match");
        }
        if magic != MAGIC {
            return Err("not a sorted table");
        }
        if version != VERSION {
            return Err("table of a version this program does not know");
        }
        Ok((Footer { index, filter, entries, tombstones }, crc))
    }
}

/// The value of an index entry.
pub(crate) fn encode_block_ref(block: BlockRef) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&block.offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&block.len.to_le_bytes());
    bytes[12..].copy_from_slice(&block.crc.to_le_bytes());
    bytes
}

/// Reads the value of an index entry.
pub(crate) fn decode_block_ref(bytes: &[u8]) -> Option<BlockRef> {
    let mut reader = crate::codec::Reader::new(bytes);
    let block = BlockRef { offset: reader.u64()?, len: reader.u32()?, crc: reader.u32()? };
    reader.is_empty().then_some(block)
}
