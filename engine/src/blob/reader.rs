//! Reads blob files, from any thread.
//!
//! Invariants: a file is opened on its first use; no byte is served that did not pass the checksum in its record and
//! in the reference to it, and whose record is of the key asked for; [`BlobFile::get_resident`] reads no file;
//! the file of an obsolete one is handed to the trash when the last user lets go of it.

use super::{
    BlobMeta, FOOTER_BYTES, Footer, HEADER_BYTES, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, Record,
    RecordHeader, check_header, file_name,
};
use crate::disk::DiskRead;
use crate::entry::BlobRef;
use crate::error::{Error, KeySpan};
use crate::table::TableContext;
use crate::table::cache::{CacheKey, Cached};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// A blob file.
pub(crate) struct BlobFile {
    meta: BlobMeta,
    context: Arc<TableContext>,
    /// Its number in the cache.
    cache_file: u64,
    open: OnceLock<Box<dyn DiskRead>>,
    obsolete: AtomicBool,
}

impl BlobFile {
    pub(crate) fn new(meta: BlobMeta, context: Arc<TableContext>) -> BlobFile {
        let cache_file = context.cache.next_file();
        BlobFile {
            meta,
            context,
            cache_file,
            open: OnceLock::new(),
            obsolete: AtomicBool::new(false),
        }
    }

    pub(crate) fn meta(&self) -> &BlobMeta {
        &self.meta
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.context.dir().join(file_name(self.meta.number))
    }

    /// The durable manifest no longer names this file: it goes when its last user does.
    pub(crate) fn set_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    fn damage(&self, offset: u64, what: &'static str) -> Error {
        Error::Corruption { file: self.path(), offset, keyspace: None, keys: None, what }
    }

    /// Damage to the record of one key.
    fn damage_of(&self, offset: u64, key: &[u8], what: &'static str) -> Error {
        let Some((&keyspace, key)) = key.split_first() else { return self.damage(offset, what) };
        let keys = Some(Box::new(KeySpan { first: key.to_vec(), last: key.to_vec() }));
        Error::Corruption { file: self.path(), offset, keyspace: Some(keyspace), keys, what }
    }

    fn open(&self) -> Result<&dyn DiskRead, Error> {
        if let Some(file) = self.open.get() {
            return Ok(file.as_ref());
        }
        // Two threads may both open it: the second handle is dropped.
        let file = self.load()?;
        Ok(self.open.get_or_init(|| file).as_ref())
    }

    fn load(&self) -> Result<Box<dyn DiskRead>, Error> {
        let path = self.path();
        let file = self.context.disk.open(&path).map_err(Error::io("open", &path))?;
        let len = file.len_bytes().map_err(Error::io("measure", &path))?;
        if len != self.meta.bytes {
            return Err(self.damage(len.min(self.meta.bytes), "file of a wrong length"));
        }
        let footer_at =
            len.checked_sub(FOOTER_BYTES as u64).filter(|&at| at >= HEADER_BYTES as u64);
        let Some(footer_at) = footer_at else {
            return Err(self.damage(0, "file too short for a header and a footer"));
        };
        let (mut header, mut footer) = ([0; HEADER_BYTES], [0; FOOTER_BYTES]);
        file.read_at(0, &mut header).map_err(Error::io("read", &path))?;
        check_header(&header).map_err(|what| self.damage(0, what))?;
        file.read_at(footer_at, &mut footer).map_err(Error::io("read", &path))?;
        let (footer, crc) = Footer::decode(&footer).map_err(|what| self.damage(footer_at, what))?;
        if crc != self.meta.footer_crc || footer.records != self.meta.records {
            return Err(self.damage(footer_at, "file is not the one the manifest means"));
        }
        if footer.end != footer_at {
            return Err(self.damage(footer_at, "records do not reach the footer"));
        }
        Ok(file)
    }

    fn cache_key(&self, offset: u64) -> CacheKey {
        CacheKey { file: self.cache_file, offset }
    }

    /// The value that `at` refers to, for `key`, past the cache, into `value`, whose room is used again.
    pub(crate) fn read_into(
        &self,
        at: &BlobRef,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<(), Error> {
        assert_eq!(at.file, self.meta.number, "asked of the file it lies in");
        let damage = |what| self.damage_of(at.offset, key, what);
        let len = at.stored_len as usize;
        let end = at.offset.checked_add(u64::from(at.stored_len));
        let footer_at = self.meta.bytes.saturating_sub(FOOTER_BYTES as u64);
        if len > RECORD_BYTES_MAX || end.is_none_or(|end| end > footer_at) {
            return Err(damage("blob record lies outside the file"));
        }
        let file = self.open()?;
        let mut stored = vec![0; len];
        file.read_at(at.offset, &mut stored).map_err(|e| Error::io("read", &self.path())(e))?;
        let record = Record::parse(&stored).map_err(damage)?;
        if (record.header.crc, record.header.raw_len) != (at.crc, at.len) {
            return Err(damage("blob record is not the one its reference means"));
        }
        if record.key != key {
            return Err(damage("blob record is of another key"));
        }
        record.value_into(value).map_err(damage)
    }

    /// The value that `at` refers to, for `key`, through the cache. May read the file.
    pub(crate) fn get(&self, at: &BlobRef, key: &[u8]) -> Result<Arc<[u8]>, Error> {
        if let Some(value) = self.get_resident(at) {
            return Ok(value);
        }
        let value = self.read(at, key)?;
        self.context.cache.insert(self.cache_key(at.offset), Cached::Blob(Arc::clone(&value)));
        Ok(value)
    }

    fn read(&self, at: &BlobRef, key: &[u8]) -> Result<Arc<[u8]>, Error> {
        let mut value = Vec::new();
        self.read_into(at, key, &mut value)?;
        Ok(value.into())
    }

    /// The value that `at` refers to, if it is in memory.
    pub(crate) fn get_resident(&self, at: &BlobRef) -> Option<Arc<[u8]>> {
        match self.context.cache.get(&self.cache_key(at.offset)) {
            Some(Cached::Blob(value)) if value.len() == at.len as usize => Some(value),
            _ => None,
        }
    }

    /// All records in the order of the file.
    pub(crate) fn scan(&self) -> BlobScan<'_> {
        let end = self.meta.bytes.saturating_sub(FOOTER_BYTES as u64);
        BlobScan { file: self, next: HEADER_BYTES as u64, end, stored: Vec::new() }
    }

    /// Reads everything, past the cache. Returns the values found whole, and what is damaged. Behind a record
    /// whose length is damaged nothing can be told apart: there the check ends.
    pub(crate) fn check(&self) -> (u64, Vec<Error>) {
        let (mut scan, mut value) = (self.scan(), Vec::new());
        let (mut records, mut raw_bytes, mut problems) = (0, 0, Vec::new());
        loop {
            let offset = scan.next;
            match scan.next() {
                Ok(None) => break,
                Ok(Some((_, record))) => match record.value_into(&mut value) {
                    Ok(()) => {
                        records += 1;
                        raw_bytes += value.len() as u64;
                    }
                    Err(what) => problems.push(self.damage_of(offset, record.key, what)),
                },
                Err(error) => {
                    problems.push(error);
                    break;
                }
            }
        }
        if problems.is_empty()
            && (records, Some(raw_bytes)) != (self.meta.records, self.raw_bytes())
        {
            problems.push(self.damage(0, "values are not as many as counted"));
        }
        (records, problems)
    }

    fn raw_bytes(&self) -> Option<u64> {
        let mut footer = [0; FOOTER_BYTES];
        let footer_at = self.meta.bytes.checked_sub(FOOTER_BYTES as u64)?;
        self.open().ok()?.read_at(footer_at, &mut footer).ok()?;
        Footer::decode(&footer).ok().map(|(footer, _)| footer.raw_bytes)
    }
}

/// Walks over the records of a blob file. Ends after the first error.
pub(crate) struct BlobScan<'a> {
    file: &'a BlobFile,
    next: u64,
    end: u64,
    stored: Vec<u8>,
}

impl BlobScan<'_> {
    /// The next record, and what a table's entry that means it says.
    pub(crate) fn next(&mut self) -> Result<Option<(BlobRef, Record<'_>)>, Error> {
        if self.next >= self.end {
            return Ok(None);
        }
        let offset = std::mem::replace(&mut self.next, self.end);
        let damage = |what| self.file.damage(offset, what);
        let file = self.file.open()?;
        let io = |source| Error::io("read", &self.file.path())(source);
        let mut header = [0; RECORD_HEADER_BYTES];
        if self.end - offset < RECORD_HEADER_BYTES as u64 {
            return Err(damage("blob record too short"));
        }
        file.read_at(offset, &mut header).map_err(io)?;
        let len = RecordHeader::decode(&header).map_err(damage)?.record_len();
        if self.end - offset < len as u64 {
            return Err(damage("blob record lies outside the file"));
        }
        self.stored.resize(len, 0);
        file.read_at(offset, &mut self.stored).map_err(io)?;
        let record = Record::parse(&self.stored).map_err(damage)?;
        self.next = offset + len as u64;
        let RecordHeader { crc, raw_len, .. } = record.header;
        let number = self.file.meta.number;
        let at = BlobRef { file: number, offset, len: raw_len, stored_len: len as u32, crc };
        Ok(Some((at, record)))
    }
}

impl Drop for BlobFile {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire) {
            self.context.trash.add_file(self.path(), self.open.take());
        }
    }
}

impl std::fmt::Debug for BlobFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BlobFile").field(&self.meta).finish()
    }
}
