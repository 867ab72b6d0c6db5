//! A store that nobody else has open, seen from outside: what its manifest names, read past every cache.
//!
//! Invariants: nothing here writes into the store; what is read is checked as the engine checks it.

use super::source::SourceEntry;
use super::survey::{past, split};
use crate::blob::{self, BlobFile, BlobMeta};
use crate::disk::{Disk, DiskLock};
use crate::entry::{Entry, Expires};
use crate::error::Error;
use crate::manifest::{self, Manifest, State};
use crate::options::{Compaction, LEVELS, Options};
use crate::resident::Fetches;
use crate::snapshot::{Inner, Snapshot};
use crate::table::cache::BlockCache;
use crate::table::{self, Direction, KeyRange, Table, TableContext, internal_key};
use crate::trash::Trash;
use crate::version::{Place, Version};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
        cache: Arc::new(BlockCache::new(0)),
        trash: Arc::new(Trash::default()),
    })
}

/// What a value file says of itself; none when it cannot be believed.
pub(super) fn describe_values(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    bytes: u64,
) -> Option<BlobMeta> {
    let file = disk.open(&dir.join(blob::file_name(number))).ok()?;
    let mut footer = [0; blob::FOOTER_BYTES];
    file.read_at(bytes.checked_sub(footer.len() as u64)?, &mut footer).ok()?;
    let (footer, footer_crc) = blob::Footer::decode(&footer).ok()?;
    Some(BlobMeta { number, bytes, records: footer.records, footer_crc })
}

/// The first thing that is wrong with a table.
pub(super) fn first_problem(table: &Table) -> Option<Error> {
    table.check().problems.into_iter().next()
}

/// A table as the manifest places it.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) place: Place,
    pub(super) table: Arc<Table>,
}

/// A store to look at.
pub(super) struct View {
    pub(super) mark: u64,
    pub(super) clock_s: u64,
    pub(super) keyspaces: u8,
    /// By number.
    pub(super) tables: Vec<Placed>,
    /// By number.
    pub(super) blobs: BTreeMap<u64, Arc<BlobFile>>,
    /// The width of the windows of each keyspace that has them.
    windows: BTreeMap<u8, u64>,
    file: PathBuf,
}

impl View {
    /// Reads the manifest of the store in `dir`.
    pub(super) fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Result<View, Error> {
        let read = Manifest::read(&**disk, dir)?;
        let State { mark, clock_s, tables, blobs, uses, .. } = read.state;
        let context = context(disk, dir);
        let place = |(place, meta)| {
            let table = Arc::new(Table::new(meta, Arc::clone(&context)));
            Placed { place, table }
        };
        let values =
            |meta: BlobMeta| (meta.number, Arc::new(BlobFile::new(meta, Arc::clone(&context))));
        let windows = uses.iter().filter(|(_, used)| used.window > 0);
        Ok(View {
            mark,
            clock_s,
            keyspaces: read.keyspaces,
            tables: tables.into_values().map(place).collect(),
            blobs: blobs.into_values().map(values).collect(),
            windows: windows.map(|(keyspace, used)| (*keyspace, used.window)).collect(),
            file: dir.join(manifest::FILE_NAME),
        })
    }

    /// True when the store has a file of this number.
    pub(super) fn names(&self, number: u64) -> bool {
        let mut tables = self.tables.iter();
        self.blobs.contains_key(&number)
            || tables.any(|placed| placed.table.meta().number == number)
    }

    fn version(&self) -> Result<Version, Error> {
        let tables = self.tables.iter();
        let tables = tables.map(|placed| (placed.place, Arc::clone(&placed.table)));
        Version::new(tables, self.blobs.values().cloned()).ok_or_else(|| {
            let (file, what) = (self.file.clone(), "tables of one level overlap");
            Error::ManifestCorruption { file, offset: 0, what }
        })
    }

    /// The store as its readers see it. `options` say what its keyspaces are for.
    pub(super) fn snapshot(&self, options: &Options) -> Result<Snapshot, Error> {
        let mut options = options.clone();
        options.keyspaces = options.keyspaces.max(self.keyspaces);
        for (keyspace, window) in &self.windows {
            let keyspace = options.keyspace.entry(*keyspace).or_default();
            if keyspace.compaction.window().is_none() {
                // Only single look-ups, of which there are none here, would ask for the time.
                let time_of = |_: &[u8]| None;
                keyspace.compaction = Compaction::TimeWindow { window: *window, time_of };
            }
        }
        Ok(Snapshot::new(Inner {
            mark: self.mark,
            clock_s: self.clock_s,
            options: Arc::new(options),
            runs: Vec::new(),
            fetches: Fetches::default(),
            version: Arc::new(self.version()?),
        }))
    }

    /// What a keyspace has from key `from` to key `to`, both included, with when it expires; none when
    /// merge operands would have to be folded.
    pub(super) fn live(
        &self,
        keyspace: u8,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<Vec<SourceEntry>>, Error> {
        let (from, to) = (internal_key(keyspace, from), past(&internal_key(keyspace, to)));
        let range = Arc::new(KeyRange { from: from.clone(), to: Some(to.clone()) });
        let version = self.version()?;
        let mut found: BTreeMap<Vec<u8>, (Vec<u8>, Expires)> = BTreeMap::new();
        for table in oldest_first(&version, keyspace) {
            if !range.touches(table.meta()) {
                continue;
            }
            if table.meta().merges > 0 {
                return Ok(None);
            }
            for deleted in table.ranges()? {
                found.retain(|key, _| !deleted.covers(key));
            }
            let mut cursor = table.cursor(Arc::clone(&range), Direction::Forward, false);
            while cursor.next()? {
                let (value, expires) = match cursor.entry() {
                    Entry::Put { value, expires } => (value.to_vec(), expires),
                    Entry::Blob { at, expires } => {
                        let file = self.blobs.get(&at.file);
                        let file = file.ok_or(Error::BlobMissing { number: at.file })?;
                        (file.get(&at, cursor.key()).map(|value| value.to_vec())?, expires)
                    }
                    Entry::Tombstone | Entry::Merge { .. } => {
                        found.remove(cursor.key());
                        continue;
                    }
                };
                found.insert(cursor.key().to_vec(), (value, expires));
            }
        }
        found.retain(|_, (_, expires)| !expires.is_due(self.clock_s));
        let entry = |(key, (value, expires)): (Vec<u8>, (Vec<u8>, Expires))| SourceEntry {
            key: split(&key).1,
            value,
            expires_s: (expires != Expires::NEVER).then_some(expires.0),
        };
        Ok(Some(found.into_iter().map(entry).collect()))
    }

    /// The files that make up the store, the manifest last.
    pub(super) fn files(&self) -> Vec<StoreFile> {
        let table = |placed: &Placed| StoreFile {
            name: table::file_name(placed.table.meta().number),
            content: Content::Table(Arc::clone(&placed.table)),
        };
        let values = |(number, file): (&u64, &Arc<BlobFile>)| StoreFile {
            name: blob::file_name(*number),
            content: Content::Values(Arc::clone(file)),
        };
        let manifest =
            StoreFile { name: manifest::FILE_NAME.to_owned(), content: Content::Manifest };
        let files = self.tables.iter().map(table).chain(self.blobs.iter().map(values));
        files.chain([manifest]).collect()
    }
}

/// The tables that may hold keys of a keyspace. What is in windows is newer than what is in levels.
fn oldest_first(version: &Version, keyspace: u8) -> Vec<Arc<Table>> {
    let below = (1..LEVELS).rev().flat_map(|level| version.level(level));
    let level0 = version.level(0).iter().rev();
    let windows = version.windows().range((keyspace, 0)..=(keyspace, u64::MAX));
    let windows = windows.flat_map(|(_, tables)| tables.iter().rev().map(|ranked| &ranked.table));
    below.chain(level0).chain(windows).cloned().collect()
}

/// A file of a store.
pub(super) struct StoreFile {
    pub(super) name: String,
    content: Content,
}

enum Content {
    Table(Arc<Table>),
    /// Values beside the tables.
    Values(Arc<BlobFile>),
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
            Content::Table(table) => first_problem(table).map_or(Ok(()), Err),
            Content::Values(file) => file.check().1.into_iter().next().map_or(Ok(()), Err),
            Content::Manifest => Ok(()),
        }
    }
}
