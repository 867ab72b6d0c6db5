//! Tables that are made beside the store, from sorted streams, and then taken in whole by [`crate::Engine::ingest`].
//!
//! Invariants: until the store takes them in, the files have names that no table has, and the next start removes
//! them; a table gets its number, which says what it is newer than, only when all that was in memory before is in
//! tables; memory is bounded by one writer for levels and one for each of a bounded number of windows.

use crate::disk::DiskLock;
use crate::entry::{Entry, Expires};
use crate::error::Error;
use crate::jobs::{Done, Shared, guarded};
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::manifest::Edit;
use crate::table::{Table, TableContext, TableMeta, TableWriter, file_name, loose_name};
use crate::version::Place;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Windows whose tables are open at once, each with some hundred kilobytes of buffers.
pub(crate) const WINDOWS_MAX: usize = 64;
/// Tables that may wait to be taken in.
pub(crate) const TABLES_MAX: usize = 4096;
/// A table in levels ends at this multiple of what compaction makes: each counts against the bound of level 0.
const TABLE_FACTOR: u64 = 8;

/// A file that goes to the trash unless it is kept.
struct LooseFile {
    path: PathBuf,
    context: Arc<TableContext>,
    kept: bool,
}

impl Drop for LooseFile {
    fn drop(&mut self) {
        if !self.kept {
            self.context.trash.add_file(std::mem::take(&mut self.path), None);
        }
    }
}

/// Where a table that has no number is to go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Goal {
    Levels,
    Window { keyspace: u8, window: u64 },
}

/// A table in the making. The writer goes before the file.
struct Growing {
    writer: TableWriter,
    file: LooseFile,
}

/// A finished table that is none of the store's yet.
pub(crate) struct LooseTable {
    goal: Goal,
    /// Its number counts once it was given one.
    meta: TableMeta,
    file: LooseFile,
}

impl LooseTable {
    /// Makes it newer than every table that has a number.
    pub(crate) fn set_number(&mut self, number: u64) {
        self.meta.number = number;
    }

    fn place(&self) -> Place {
        match self.goal {
            Goal::Levels => Place::Level(0),
            Goal::Window { keyspace, window } => {
                Place::Window { keyspace, window, rank: self.meta.number }
            }
        }
    }
}

/// Makes tables for [`crate::Engine::ingest`] out of keys that come in order, on any thread, in bounded memory. The
/// store cannot be opened again while one of its builders lives.
pub struct TableBuilder {
    shared: Arc<Shared>,
    /// The one for levels, and those of windows.
    growing: BTreeMap<Goal, Growing>,
    done: Vec<LooseTable>,
    /// The internal key before.
    last: Vec<u8>,
    lock: Arc<dyn DiskLock>,
}

impl TableBuilder {
    pub(crate) fn new(shared: Arc<Shared>, lock: Arc<dyn DiskLock>) -> TableBuilder {
        let (growing, done, last) = (BTreeMap::new(), Vec::new(), Vec::new());
        TableBuilder { shared, growing, done, last, lock }
    }

    /// Adds a key and its value. Keyspaces rise, and the keys of each do. Waits for files: not for a shard's thread.
    /// After an error of the disk the builder is of no use.
    ///
    /// # Errors
    /// When the keys do not rise, there is no such keyspace, the keys lie in more than 64 windows, or a file
    /// cannot be written.
    ///
    /// # Panics
    /// When the key is past [`KEY_BYTES_MAX`] or the value past [`VALUE_BYTES_MAX`].
    pub fn add(&mut self, ks: u8, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.add_entry(ks, key, value, Expires::NEVER)
    }

    /// As [`TableBuilder::add`], for a key that is absent from `expires_s` on, by the clock that batches carry.
    ///
    /// # Errors
    /// As [`TableBuilder::add`].
    ///
    /// # Panics
    /// As [`TableBuilder::add`], and when the keyspace has a merge operator.
    pub fn add_until(
        &mut self,
        ks: u8,
        key: &[u8],
        value: &[u8],
        expires_s: u64,
    ) -> Result<(), Error> {
        let merges = self.shared.options.merge_operator(ks).is_some();
        assert!(!merges, "what is merged does not expire");
        self.add_entry(ks, key, value, Expires(expires_s))
    }

    fn add_entry(
        &mut self,
        ks: u8,
        key: &[u8],
        value: &[u8],
        expires: Expires,
    ) -> Result<(), Error> {
        assert!(key.len() <= KEY_BYTES_MAX, "key of {} bytes", key.len());
        assert!(value.len() <= VALUE_BYTES_MAX, "value of {} bytes", value.len());
        let options = &self.shared.options;
        if ks >= options.keyspaces {
            return Err(Error::KeyspaceUnknown { keyspace: ks, count: options.keyspaces });
        }
        let before = self.last.first().copied();
        let is_behind = |last: &[u8]| (last[0], &last[1..]) < (ks, key);
        if !self.last.is_empty() && !is_behind(&self.last) {
            return Err(Error::IngestOrder { keyspace: ks });
        }
        let goal = match options.compaction(ks).window_of(key) {
            Some(window) => Goal::Window { keyspace: ks, window },
            None => Goal::Levels,
        };
        let bytes_max = options.table_bytes_max.saturating_mul(TABLE_FACTOR);
        let is_full = |growing: &Growing| growing.writer.bytes() >= bytes_max;
        if goal == Goal::Levels && self.growing.get(&goal).is_some_and(is_full) {
            self.finish_table(goal)?;
        }
        // Windows of a keyspace that is over get no more keys.
        if before.is_some_and(|before| before < ks) {
            self.finish_windows()?;
        }
        self.last.clear();
        self.last.push(ks);
        self.last.extend_from_slice(key);
        let internal = std::mem::take(&mut self.last);
        let added = self
            .growing(goal)
            .and_then(|growing| growing.writer.add(&internal, Entry::Put { value, expires }));
        self.last = internal;
        added
    }

    /// The table at hand for `goal`.
    fn growing(&mut self, goal: Goal) -> Result<&mut Growing, Error> {
        if !self.growing.contains_key(&goal) {
            let windows = self.growing.keys().filter(|goal| **goal != Goal::Levels).count();
            if goal != Goal::Levels && windows >= WINDOWS_MAX {
                return Err(Error::IngestWindows { max: WINDOWS_MAX });
            }
            let serial = self.shared.next_file.fetch_add(1, Ordering::AcqRel);
            let context = Arc::clone(&self.shared.context);
            let path = context.dir().join(loose_name(serial));
            let file = LooseFile { path: path.clone(), context, kept: false };
            let writer = TableWriter::create_at(self.shared.disk(), path, serial)?;
            self.growing.insert(goal, Growing { writer, file });
        }
        match self.growing.get_mut(&goal) {
            Some(growing) => Ok(growing),
            None => panic!("it was made just now"),
        }
    }

    fn finish_windows(&mut self) -> Result<(), Error> {
        let goals: Vec<Goal> = self.growing.keys().copied().collect();
        goals
            .into_iter()
            .filter(|goal| *goal != Goal::Levels)
            .try_for_each(|g| self.finish_table(g))
    }

    fn finish_table(&mut self, goal: Goal) -> Result<(), Error> {
        let Some(Growing { writer, file }) = self.growing.remove(&goal) else { return Ok(()) };
        let meta = writer.finish()?;
        self.done.push(LooseTable { goal, meta, file });
        Ok(())
    }

    /// Ends the stream. All bytes are durable then, but not yet the store's.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(mut self) -> Result<BuiltTables, Error> {
        self.finish_windows()?;
        self.finish_table(Goal::Levels)?;
        let TableBuilder { shared, done, lock, .. } = self;
        Ok(BuiltTables { shared, tables: done, _lock: lock })
    }
}

impl fmt::Debug for TableBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableBuilder").field("tables", &self.done.len()).finish_non_exhaustive()
    }
}

/// What a [`TableBuilder`] has built. Dropped without [`crate::Engine::ingest`], its files are removed.
pub struct BuiltTables {
    shared: Arc<Shared>,
    tables: Vec<LooseTable>,
    _lock: Arc<dyn DiskLock>,
}

impl BuiltTables {
    /// How many tables there are.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.tables.len()
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.meta.bytes).sum()
    }

    /// True when they were built for the engine with this.
    pub(crate) fn is_for(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// Hands the tables to the engine they were built for.
    pub(crate) fn into_tables(self, shared: &Arc<Shared>) -> Vec<LooseTable> {
        assert!(self.is_for(shared), "tables enter the store they were built for");
        self.tables
    }
}

impl fmt::Debug for BuiltTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuiltTables").field("tables", &self.tables.len()).finish_non_exhaustive()
    }
}

/// Loose tables on their way into the store.
pub(crate) struct Ingest {
    tables: Vec<LooseTable>,
    /// So many have their final names.
    renamed: usize,
}

impl Ingest {
    pub(crate) fn new(tables: Vec<LooseTable>) -> Ingest {
        assert!(!tables.is_empty());
        Ingest { tables, renamed: 0 }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.meta.bytes).sum()
    }

    /// The tables as the store has them, once they are in the manifest.
    pub(crate) fn entered(&self, context: &Arc<TableContext>) -> Vec<(Place, Arc<Table>)> {
        let table = |meta: &TableMeta| Arc::new(Table::new(meta.clone(), Arc::clone(context)));
        self.tables.iter().map(|loose| (loose.place(), table(&loose.meta))).collect()
    }
}

impl Shared {
    /// Takes tables in and sends the job back.
    pub(crate) fn run_ingest(&self, mut job: Box<Ingest>) {
        let result = guarded("ingest", || self.ingest(&mut job));
        self.report(Done::Ingest(job, result));
    }

    /// Gives the tables their names, durably, and then their places, by one edit.
    fn ingest(&self, job: &mut Ingest) -> Result<(), Error> {
        let dir = self.context.dir();
        while let Some(table) = job.tables.get_mut(job.renamed) {
            let path = dir.join(file_name(table.meta.number));
            self.disk().rename(&table.file.path, &path).map_err(Error::io("rename", &path))?;
            table.file.path = path;
            job.renamed += 1;
        }
        self.disk().sync_dir(dir).map_err(Error::io("sync folder", dir))?;
        // Should the edit fail, nobody knows whether the next start will find it: that one will tell.
        job.tables.iter_mut().for_each(|table| table.file.kept = true);
        let added = job.tables.iter().map(|table| (table.place(), table.meta.clone()));
        self.commit(Edit { added: added.collect(), ..Edit::default() })
    }
}

/// Tables on the owner's side, on the way from [`crate::Engine::ingest`] to the worker.
#[derive(Default)]
pub(crate) struct Waiting {
    /// What is in memory is to be flushed first.
    asked: Vec<LooseTable>,
    /// It is being flushed.
    frozen: Vec<LooseTable>,
    /// Numbered: newer than all tables that were there.
    due: Vec<LooseTable>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.asked.len() + self.frozen.len() + self.due.len()
    }

    pub(crate) fn ask(&mut self, tables: Vec<LooseTable>) {
        self.asked.extend(tables);
    }

    /// A flush took all that was in memory.
    pub(crate) fn frozen(&mut self) {
        self.frozen.append(&mut self.asked);
    }

    /// What a flush took is in tables.
    pub(crate) fn flushed(&mut self, shared: &Shared) {
        for table in &mut self.frozen {
            table.set_number(shared.next_file.fetch_add(1, Ordering::AcqRel));
        }
        self.due.append(&mut self.frozen);
    }

    /// True when tables have numbers that are not in the store yet.
    pub(crate) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(crate) fn take_due(&mut self) -> Option<Ingest> {
        self.is_due().then(|| Ingest::new(std::mem::take(&mut self.due)))
    }
}
