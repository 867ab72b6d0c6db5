//! Writes a blob file.

use super::{
    BlobMeta, Footer, HEADER_BYTES, KIND_LZ4, KIND_RAW, RECORD_HEADER_BYTES, encode_header,
    file_name,
};
use crate::disk::{Disk, DiskWrite};
use crate::entry::BlobRef;
use crate::error::Error;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::table::seal::Sealer;
use std::path::{Path, PathBuf};

/// Bytes gathered before they go to the disk.
const BUFFER_BYTES: usize = 256 << 10;

/// A blob file in the making. Dropping it without [`BlobWriter::finish`] leaves a useless file behind,
/// which the caller removes.
pub(crate) struct BlobWriter {
    file: Box<dyn DiskWrite>,
    path: PathBuf,
    number: u64,
    buffer: Vec<u8>,
    sealer: Sealer,
    footer: Footer,
}

impl BlobWriter {
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, number: u64) -> Result<Self, Error> {
        let path = dir.join(file_name(number));
        let file = disk.create(&path).map_err(Error::io("create", &path))?;
        let footer = Footer { records: 0, raw_bytes: 0, end: HEADER_BYTES as u64 };
        let buffer = encode_header().to_vec();
        Ok(BlobWriter { file, path, number, buffer, sealer: Sealer::default(), footer })
    }

    /// Length of the file if it ended here.
    pub(crate) fn bytes(&self) -> u64 {
        self.footer.end
    }

    /// Appends a value of an internal key, in any order of keys. The reference holds once the file
    /// is finished.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<BlobRef, Error> {
        assert!((1..=KEY_BYTES_MAX + 1).contains(&key.len()) && value.len() <= VALUE_BYTES_MAX);
        let start = self.buffer.len();
        self.buffer.resize(start + RECORD_HEADER_BYTES, 0);
        self.buffer.extend_from_slice(key);
        let payload_at = self.buffer.len();
        let kind = if self.sealer.compress(value, &mut self.buffer) {
            KIND_LZ4
        } else {
            self.buffer.extend_from_slice(value);
            KIND_RAW
        };
        let payload_len = (self.buffer.len() - payload_at) as u32;
        let record = &mut self.buffer[start..];
        record[4..8].copy_from_slice(&(value.len() as u32).to_le_bytes());
        record[8..12].copy_from_slice(&payload_len.to_le_bytes());
        record[12..14].copy_from_slice(&(key.len() as u16).to_le_bytes());
        record[14] = kind;
        let crc = crc32fast::hash(&record[4..]);
        record[..4].copy_from_slice(&crc.to_le_bytes());
        let at = BlobRef {
            file: self.number,
            offset: self.footer.end,
            len: value.len() as u32,
            stored_len: record.len() as u32,
            crc,
        };
        self.footer.end += u64::from(at.stored_len);
        self.footer.records += 1;
        self.footer.raw_bytes += u64::from(at.len);
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_buffer()?;
        }
        Ok(at)
    }

    fn write_buffer(&mut self) -> Result<(), Error> {
        self.file.write(&self.buffer).map_err(Error::io("write", &self.path))?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left and the footer, and syncs the file.
    pub(crate) fn finish(mut self) -> Result<BlobMeta, Error> {
        assert!(self.footer.records > 0, "an empty blob file is none");
        let (footer, footer_crc) = self.footer.encode();
        self.buffer.extend_from_slice(&footer);
        self.write_buffer()?;
        self.file.sync().map_err(Error::io("sync", &self.path))?;
        let bytes = self.footer.end + footer.len() as u64;
        Ok(BlobMeta { number: self.number, bytes, records: self.footer.records, footer_crc })
    }
}
