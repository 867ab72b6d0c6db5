//! Where a damaged store gets back what it lost: a backup of itself, or a replica.
//!
//! Invariant: a source answers for exactly the mark asked, or not at all; what it gives is checked by whoever
//! asked.

use super::view::View;
use crate::blob::{self, BlobMeta};
use crate::disk::{Disk, DiskRead};
use crate::error::Error;
use crate::table::{self, TableMeta};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What tells a table or a value file from all others, also from those of other stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileId {
    /// Its number, from which its file's name is made.
    pub number: u64,
    /// Its length.
    pub bytes: u64,
    /// The checksum of its footer, which vouches for every other checksum in it.
    pub footer_crc: u32,
}

impl FileId {
    pub(super) fn of(meta: &TableMeta) -> FileId {
        FileId { number: meta.number, bytes: meta.bytes, footer_crc: meta.footer_crc }
    }

    pub(super) fn of_values(meta: &BlobMeta) -> FileId {
        FileId { number: meta.number, bytes: meta.bytes, footer_crc: meta.footer_crc }
    }
}

/// An entry that a replica has for a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceEntry {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The second from which on it is absent, by the clock that batches carry.
    pub expires_s: Option<u64>,
}

/// Gives back what a store lost. A backup has the very same tables; a replica has the same keys and values in
/// tables of its own.
pub trait RepairSource: Send + Sync {
    /// The bytes of this very table, if the source has it.
    ///
    /// # Errors
    /// When the source cannot be read. The repair goes on without it.
    fn table(&self, table: &FileId) -> Result<Option<Box<dyn DiskRead>>, Error>;

    /// The bytes of this very value file, if the source has it.
    ///
    /// # Errors
    /// When the source cannot be read. The repair goes on without it.
    fn values(&self, file: &FileId) -> Result<Option<Box<dyn DiskRead>>, Error>;

    /// Every key from `from` to `to`, both included, that exists at exactly `mark`, in order; none when the
    /// source does not know that state.
    ///
    /// # Errors
    /// When the source cannot be read. The repair goes on without it.
    fn range(
        &self,
        mark: u64,
        keyspace: u8,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<Vec<SourceEntry>>, Error>;
}

/// A store in a folder that nobody writes to: a checkpoint, a restored backup, a replica that was stopped.
pub struct StoreSource {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    view: View,
}

impl std::fmt::Debug for StoreSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreSource").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl StoreSource {
    /// Opens the store in `dir` to read.
    ///
    /// # Errors
    /// When its manifest is missing or damaged.
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Result<StoreSource, Error> {
        let view = View::open(disk, dir)?;
        Ok(StoreSource { disk: Arc::clone(disk), dir: dir.to_path_buf(), view })
    }

    fn open_file(&self, name: String) -> Result<Option<Box<dyn DiskRead>>, Error> {
        let path = self.dir.join(name);
        self.disk.open(&path).map(Some).map_err(Error::io("open", &path))
    }
}

impl RepairSource for StoreSource {
    fn table(&self, file: &FileId) -> Result<Option<Box<dyn DiskRead>>, Error> {
        let mut here = self.view.tables.iter().map(|placed| FileId::of(placed.table.meta()));
        if !here.any(|id| id == *file) {
            return Ok(None);
        }
        self.open_file(table::file_name(file.number))
    }

    fn values(&self, file: &FileId) -> Result<Option<Box<dyn DiskRead>>, Error> {
        let here = self.view.blobs.get(&file.number);
        if here.map(|here| FileId::of_values(here.meta())) != Some(*file) {
            return Ok(None);
        }
        self.open_file(blob::file_name(file.number))
    }

    fn range(
        &self,
        mark: u64,
        keyspace: u8,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<Vec<SourceEntry>>, Error> {
        if mark != self.view.mark {
            return Ok(None);
        }
        self.view.live(keyspace, from, to)
    }
}
