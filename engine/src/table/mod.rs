//! Sorted tables: the files that hold flushed data. The bytes are those of `docs/formats/table.md`.
//!
//! Floors, each using only what stands below: `check` | `cursor` | `reader`, `writer` | `cache` | `index`, `props` |
//! `block`, `filter` | `seal`.
//!
//! * `seal`: compression and checksum of a stored block
//! * `block`: entries of a data block
//! * `filter`: which keys are surely absent
//! * `index`: which block holds a key
//! * `props`: counts, extents and range tombstones of a table
//! * `cache`: what is read often
//! * `writer`: a sorted stream of entries becomes a file
//! * `describe`: what a file says of itself, where no manifest does
//! * `reader`: opening, look-ups
//! * `cursor`: scans
//! * `check`: what checksums do not tell
//!
//! Tables are read through the system's page cache, not past it: see `docs/decisions/0005-page-cache.md`.

pub(crate) mod block;
pub(crate) mod cache;
pub(crate) mod check;
pub(crate) mod cursor;
mod describe;
pub(crate) mod filter;
pub(crate) mod index;
pub(crate) mod props;
pub(crate) mod reader;
pub(crate) mod seal;
#[cfg(test)]
mod tests;
pub(crate) mod writer;

pub(crate) use cursor::{Direction, KeyRange, TableCursor};
pub(crate) use reader::{Found, Probe, Table, TableContext};
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

impl TableMeta {
    /// Of a table of version 1, which has neither ranges, merges, expiries nor blobs.
    pub(crate) fn of_v1(
        (number, bytes, footer_crc): (u64, u64, u32),
        (entries, tombstones): (u64, u64),
        (smallest, largest): (Vec<u8>, Vec<u8>),
    ) -> TableMeta {
        TableMeta {
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
        }
    }
}

/// The file name of table `number`.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:016x}.nvt")
}

/// The name of a table that has no number of the store's yet; `serial` tells such files apart.
pub(crate) fn loose_name(serial: u64) -> String {
    format!("{serial:016x}{LOOSE_SUFFIX}")
}

/// True for a name that [`loose_name`] gives.
pub(crate) fn is_loose_name(name: &str) -> bool {
    let digits = name.strip_suffix(LOOSE_SUFFIX).filter(|digits| digits.len() == 16);
    let serial = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    serial.is_some_and(|serial| loose_name(serial) == name)
}

const LOOSE_SUFFIX: &str = ".nvt.tmp";

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
const VERSION: u32 = 2;

/// Where a block lies, and what its checksum must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockRef {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

impl BlockRef {
    /// The first byte behind it; none where there can be none.
    pub(crate) fn end(&self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.len))
    }
}

/// The last 64 bytes of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Footer {
    /// As version 1 wrote it; nobody does any more.
    V1 { index: BlockRef, filter: BlockRef, entries: u64, tombstones: u64 },
    /// Properties, index of the partitions, range tombstones (of length 0 where there are none).
    V2 { props: BlockRef, root: BlockRef, ranges: BlockRef },
}

impl Footer {
    /// The bytes of a footer of version 2 and their checksum, which is also in their last four.
    pub(crate) fn encode(blocks: [BlockRef; 3]) -> ([u8; FOOTER_BYTES], u32) {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        for block in blocks {
            bytes.extend_from_slice(&encode_block_ref(block));
        }
        crate::codec::end_footer(bytes, MAGIC, VERSION)
    }

    /// Reads a footer and its checksum.
    pub(crate) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<(Footer, u32), &'static str> {
        const SHORT: &str = "footer too short";
        let (fields, tail) = bytes.split_at(FOOTER_BYTES - 16);
        let mut tail = crate::codec::Reader::new(tail);
        let magic = tail.take(MAGIC.len()).ok_or(SHORT)?;
        let (version, crc) = (tail.u32().ok_or(SHORT)?, tail.u32().ok_or(SHORT)?);
        if magic != MAGIC {
            return Err("not a sorted table");
        }
        if crc32fast::hash(&bytes[..FOOTER_BYTES - 4]) != crc {
            return Err("footer checksum does not match");
        }
        let mut reader = crate::codec::Reader::new(fields);
        let mut block =
            || Some(BlockRef { offset: reader.u64()?, len: reader.u32()?, crc: reader.u32()? });
        let (first, second) = (block().ok_or(SHORT)?, block().ok_or(SHORT)?);
        let footer = match version {
            1 => {
                let (entries, tombstones) =
                    (reader.u64().ok_or(SHORT)?, reader.u64().ok_or(SHORT)?);
                Footer::V1 { index: first, filter: second, entries, tombstones }
            }
            VERSION => Footer::V2 { props: first, root: second, ranges: block().ok_or(SHORT)? },
            _ => {
                return Err("table of a newer version of the format: open it with a newer program");
            }
        };
        Ok((footer, crc))
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
