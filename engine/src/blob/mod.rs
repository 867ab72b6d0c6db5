//! Blob files: large values that lie beside the tables. The bytes are those of `docs/formats/blob.md`.
//!
//! * `writer`: values become a file
//! * `reader`: one value by its reference; all of them in order; the check of a file

pub(crate) mod reader;
#[cfg(test)]
mod tests;
pub(crate) mod writer;

pub(crate) use reader::BlobFile;
pub(crate) use writer::BlobWriter;

use crate::codec::{Reader, end_footer};
use crate::limits::{INTERNAL_KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// What the manifest knows of a blob file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobMeta {
    pub(crate) number: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// Values in it.
    pub(crate) records: u64,
    pub(crate) footer_crc: u32,
}

/// The file name of blob file `number`.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:016x}.nvb")
}

/// The number in a blob file's name; `None` for other files.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".nvb").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|&number| file_name(number) == name)
}

pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const FOOTER_BYTES: usize = 40;
pub(crate) const RECORD_HEADER_BYTES: usize = 15;
/// The longest record: a payload is never longer than its value.
pub(crate) const RECORD_BYTES_MAX: usize =
    RECORD_HEADER_BYTES + INTERNAL_KEY_BYTES_MAX + VALUE_BYTES_MAX;
const MAGIC: &[u8; 8] = b"NVXBLOBS";
const FOOTER_MAGIC: &[u8; 8] = b"NVXBLOBF";
const VERSION: u32 = 1;
const KIND_RAW: u8 = 0;
const KIND_LZ4: u8 = 1;

/// The bytes that a blob file begins with.
pub(crate) fn encode_header() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn check_version(version: u32) -> Result<(), &'static str> {
    if version == VERSION {
        Ok(())
    } else {
        Err("blob file of a newer version of the format: open it with a newer program")
    }
}

/// Checks a header.
pub(crate) fn check_header(bytes: &[u8; HEADER_BYTES]) -> Result<(), &'static str> {
    let (summed, crc) = bytes.split_at(HEADER_BYTES - 4);
    if !summed.starts_with(MAGIC) {
        return Err("not a blob file");
    }
    if Reader::new(crc).u32() != Some(crc32fast::hash(summed)) {
        return Err("blob file header checksum does not match");
    }
    check_version(Reader::new(&summed[8..]).u32().unwrap_or(0))
}

/// The end of a blob file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) records: u64,
    pub(crate) raw_bytes: u64,
    pub(crate) end: u64,
}

impl Footer {
    /// Its bytes, and the crc that is in their last four.
    pub(crate) fn encode(&self) -> ([u8; FOOTER_BYTES], u32) {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        for field in [self.records, self.raw_bytes, self.end] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        end_footer(bytes, FOOTER_MAGIC, VERSION)
    }

    /// Reads a footer and its crc.
    pub(crate) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<(Footer, u32), &'static str> {
        const SHORT: &str = "blob file footer too short";
        let mut reader = Reader::new(bytes);
        let mut field = || reader.u64().ok_or(SHORT);
        let footer = Footer { records: field()?, raw_bytes: field()?, end: field()? };
        let magic = reader.take(FOOTER_MAGIC.len()).ok_or(SHORT)?;
        let (version, crc) = (reader.u32().ok_or(SHORT)?, reader.u32().ok_or(SHORT)?);
        if magic != FOOTER_MAGIC {
            return Err("blob file does not end in a footer");
        }
        if crc32fast::hash(&bytes[..FOOTER_BYTES - 4]) != crc {
            return Err("blob file footer checksum does not match");
        }
        check_version(version).map(|()| (footer, crc))
    }
}

/// What comes before a record's key and payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) crc: u32,
    pub(crate) raw_len: u32,
    pub(crate) payload_len: u32,
    pub(crate) key_len: u16,
    pub(crate) kind: u8,
}

impl RecordHeader {
    /// Reads a header whose lengths are within their bounds.
    pub(crate) fn decode(bytes: &[u8]) -> Result<RecordHeader, &'static str> {
        let mut reader = Reader::new(bytes);
        let mut header = || {
            Some(RecordHeader {
                crc: reader.u32()?,
                raw_len: reader.u32()?,
                payload_len: reader.u32()?,
                key_len: reader.u16()?,
                kind: reader.u8()?,
            })
        };
        let header = header().ok_or("blob record too short")?;
        let (raw, payload) = (header.raw_len as usize, header.payload_len as usize);
        if raw > VALUE_BYTES_MAX
            || payload > raw
            || usize::from(header.key_len) > INTERNAL_KEY_BYTES_MAX
        {
            return Err("blob record is bigger than it may be");
        }
        Ok(header)
    }

    /// Length of the whole record.
    pub(crate) fn record_len(&self) -> usize {
        RECORD_HEADER_BYTES + usize::from(self.key_len) + self.payload_len as usize
    }
}

/// A whole record, checked against its own crc.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) header: RecordHeader,
    pub(crate) key: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record that `bytes` is, from its first to its last.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Record<'a>, &'static str> {
        let header = RecordHeader::decode(bytes)?;
        if header.record_len() != bytes.len() {
            return Err("blob record of a wrong length");
        }
        let summed = bytes.get(4..).unwrap_or_default();
        if crc32fast::hash(summed) != header.crc {
            return Err("blob record checksum does not match");
        }
        let mut reader = Reader::new(bytes.get(RECORD_HEADER_BYTES..).unwrap_or_default());
        let key = reader.take(usize::from(header.key_len));
        let payload = reader.take(header.payload_len as usize);
        let (Some(key), Some(payload)) = (key, payload) else {
            return Err("blob record too short");
        };
        Ok(Record { header, key, payload })
    }

    /// Puts the value into `out`, in place of what was there.
    pub(crate) fn value_into(&self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        out.clear();
        let raw_len = self.header.raw_len as usize;
        match self.header.kind {
            KIND_RAW if raw_len == self.payload.len() => {
                out.extend_from_slice(self.payload);
                Ok(())
            }
            KIND_LZ4 => crate::table::seal::decompress(self.payload, raw_len, out),
            _ => Err("blob record of an unknown kind"),
        }
    }
}
