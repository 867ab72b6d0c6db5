//! A store that nobody else has open, seen from outside: what its manifest names, read past every cache.
//!
//! Invariants: nothing here writes into the store; what is read is checked as the engine checks it.

use crate::disk::{Disk, DiskLock};
use crate::error::Error;
use crate::manifest::{self, Manifest, Recovered};
use crate::table::cache::BlockCache;
use crate::table::{Table, TableContext, file_name};
use crate::trash::Trash;
use std::path::Path;
use std::sync::Arc;

/// Claims a folder, as the engine does.
pub(super) fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>, Error> {
    let lock = disk.lock(dir).map_err(Error::io("lock", dir))?;
    lock.ok_or_else(|| Error::Locked { dir: dir.to_path_buf() })
}

/// What tables need to be read; nothing is kept in memory.
pub(super) fn context(disk: &Arc<dyn Disk>, dir: &Path) -> Arc<TableContext> {
    Arc::new(TableContext {
        disk: Arc::clone(disk),
        dir: dir.to_path_buf(),
        cache: BlockCache::new(0),
        trash: Arc::new(Trash::default()),
    })
}

/// A table as the manifest places it.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) level: usize,
    pub(super) table: Arc<Table>,
}

/// A store to look at.
pub(super) struct View {
    pub(super) mark: u64,
    pub(super) keyspaces: u8,
    /// By number.
    pub(super) tables: Vec<Placed>,
}

impl View {
    /// Reads the manifest of the store in `dir`.
    pub(super) fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Result<View, Error> {
        let recovered: Recovered = Manifest::read(&**disk, dir)?;
        let context = context(disk, dir);
        let place = |(level, meta)| Placed {
            level,
            table: Arc::new(Table::new(meta, Arc::clone(&context))),
        };
        let tables = recovered.state.tables.into_values().map(place).collect();
        Ok(View { mark: recovered.state.mark, keyspaces: recovered.keyspaces, tables })
    }

    /// The files that make up the store, the manifest last.
    pub(super) fn files(&self) -> Vec<StoreFile> {
        let table = |placed: &Placed| StoreFile {
            name: file_name(placed.table.meta().number),
            content: Content::Table(Arc::clone(&placed.table)),
        };
        let manifest =
            StoreFile { name: manifest::FILE_NAME.to_owned(), content: Content::Manifest };
        self.tables.iter().map(table).chain([manifest]).collect()
    }
}

/// A file of a store.
pub(super) struct StoreFile {
    pub(super) name: String,
    content: Content,
}

enum Content {
    Table(Arc<Table>),
    /// Read already.
    Manifest,
}

impl StoreFile {
    /// True for files that are never written again under the same name.
    pub(super) fn is_immutable(&self) -> bool {
        !matches!(self.content, Content::Manifest)
    }

    /// Reads all of it and checks every block.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.content {
            Content::Table(table) => table.verify().map(drop),
            Content::Manifest => Ok(()),
        }
    }
}
