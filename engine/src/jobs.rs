//! What the worker does for a store: flushes, compactions, and sweeping the trash. All I/O after start-up
//! happens here.
//!
//! Invariants: a table's file and name are durable before the manifest names it, and its file is removed
//! only after the manifest, durably, no longer does; a job that failed can be run again, and
//! then does not write twice what is written already.

use crate::disk::Disk;
use crate::entry::{Entry, Expires};
use crate::error::Error;
use crate::manifest::{Edit, Manifest};
use crate::memtable::MemRun;
use crate::merge::{LevelIter, Merge, Source};
use crate::options::{LEVELS, Options};
use crate::table::{
    Direction, KeyRange, Table, TableContext, TableMeta, TableWriter, file_name, internal_key,
};
use crate::version::Version;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

/// Called when a job is done and `poll` has something to install.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// What an engine and its jobs share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) next_file: AtomicU64,
    pub(crate) context: Arc<TableContext>,
    pub(crate) wake: Mutex<Option<Wake>>,
    pub(crate) done: SyncSender<Done>,
}

/// A finished job on its way back to the engine.
pub(crate) enum Done {
    Flush(Box<Flush>, Result<(), Error>),
    Compaction(Box<Compaction>, Result<(), Error>),
    Sweep,
}

/// A job's output that is not in the manifest yet.
type Built = Option<Vec<Arc<Table>>>;

/// Frozen runs on their way to level 0.
pub(crate) struct Flush {
    /// Newest first.
    pub(crate) runs: Vec<Arc<MemRun>>,
    pub(crate) mark: u64,
    pub(crate) built: Built,
}

/// Tables of one level on their way into the next.
pub(crate) struct Compaction {
    pub(crate) level: usize,
    /// Tables of `level`; for level 0 newest first.
    pub(crate) inputs: Vec<Arc<Table>>,
    /// Tables of the level below that share keys with them.
    pub(crate) overlaps: Vec<Arc<Table>>,
    /// What the plan was made on: says what lies deeper. Nothing there changes meanwhile, since
    /// one compaction runs at a time.
    pub(crate) version: Arc<Version>,
    pub(crate) built: Built,
}

impl Shared {
    fn disk(&self) -> &dyn Disk {
        &*self.context.disk
    }

    /// Runs a flush and sends it back.
    pub(crate) fn run_flush(&self, mut job: Box<Flush>) {
        let result = guarded("flush", || self.flush(&mut job));
        self.report(Done::Flush(job, result));
    }

    /// Runs a compaction and sends it back.
    pub(crate) fn run_compaction(&self, mut job: Box<Compaction>) {
        let result = guarded("compaction", || self.compact(&mut job));
        self.report(Done::Compaction(job, result));
    }

    /// Empties the trash.
    pub(crate) fn run_sweep(&self) {
        // A panic here would be one of the disk's; the files are found again at the next start.
        drop(catch_unwind(AssertUnwindSafe(|| self.context.trash.sweep(self.disk()))));
        self.report(Done::Sweep);
    }

    fn report(&self, done: Done) {
        // There is room for one of each kind, so this never waits; and a failure means that the
        // engine is gone, which has no use for the news.
        drop(self.done.send(done));
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(wake) = wake {
            wake();
        }
    }

    fn flush(&self, job: &mut Flush) -> Result<(), Error> {
        let built = match &job.built {
            Some(built) => built.clone(),
            None => job.built.insert(self.write_runs(&job.runs)?).clone(),
        };
        let added = built.iter().map(|table| (0, table.meta().clone())).collect();
        self.commit(Edit { mark: Some(job.mark), added, ..Edit::default() })
    }

    /// Writes runs as one table, or none if they hold nothing.
    fn write_runs(&self, runs: &[Arc<MemRun>]) -> Result<Vec<Arc<Table>>, Error> {
        if runs.iter().all(|run| run.is_empty()) {
            return Ok(Vec::new());
        }
        let mut output = Output::new(self, u64::MAX);
        let result = (0..self.options.keyspaces).try_for_each(|keyspace| {
            let maps = runs.iter().filter_map(|run| run.map(keyspace));
            let sources = maps.map(|map| Source::map(keyspace, map)).collect();
            Merge::new(sources, Direction::Forward).try_for_each(|entry| {
                let entry = entry?;
                output.add(keyspace, entry.key(), entry.value())
            })
        });
        output.close(result)
    }

    fn compact(&self, job: &mut Compaction) -> Result<(), Error> {
        assert!(!job.inputs.is_empty() && job.level + 1 < LEVELS);
        let built = match &job.built {
            Some(built) => built.clone(),
            None => {
                let built = if job.is_move() { job.inputs.clone() } else { self.merge(job)? };
                job.built.insert(built).clone()
            }
        };
        let removed = job.inputs.iter().chain(&job.overlaps).map(|t| t.meta().number).collect();
        let added = built.iter().map(|table| (job.level + 1, table.meta().clone())).collect();
        self.commit(Edit { removed, added, ..Edit::default() })?;
        if !job.is_move() {
            // Durably out of the manifest: the files go with their last reader.
            job.inputs.iter().chain(&job.overlaps).for_each(|table| table.set_obsolete());
        }
        Ok(())
    }

    /// Merges the tables of a job into new ones for the level below.
    fn merge(&self, job: &Compaction) -> Result<Vec<Arc<Table>>, Error> {
        let all = KeyRange::all();
        let forward = Direction::Forward;
        let level =
            |tables| Source::Level(LevelIter::new(tables, Arc::clone(&all), forward, false));
        let mut sources: Vec<Source<'_>> = Vec::new();
        if job.level == 0 {
            let tables = job.inputs.iter();
            sources.extend(tables.map(|t| Source::Table(t.iter(Arc::clone(&all), forward, false))));
        } else {
            sources.push(level(&job.inputs));
        }
        sources.push(level(&job.overlaps));
        let mut output = Output::new(self, self.options.table_bytes_max);
        let mut internal = Vec::new();
        let result = Merge::new(sources, forward).try_for_each(|entry| {
            let entry = entry?;
            if entry.value().is_none() {
                internal.clear();
                internal.push(entry.keyspace());
                internal.extend_from_slice(entry.key());
                if !job.version.is_below(job.level + 1, &internal) {
                    return Ok(());
                }
            }
            output.add(entry.keyspace(), entry.key(), entry.value())
        });
        output.close(result)
    }

    fn commit(&self, edit: Edit) -> Result<(), Error> {
        let next_file = self.next_file.load(Ordering::Acquire);
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        manifest.commit(&Edit { next_file, ..edit })
    }
}

impl Compaction {
    /// One table with nothing of its key range in the next level only changes its level, unless it has
    /// tombstones to lose on the way.
    pub(crate) fn is_move(&self) -> bool {
        let tombstones: u64 = self.inputs.iter().map(|table| table.meta().tombstones).sum();
        self.level > 0 && self.inputs.len() == 1 && self.overlaps.is_empty() && tombstones == 0
    }
}

/// A panic in a job becomes an error, so that the engine that waits for it hears of it.
fn guarded(job: &'static str, run: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Error::JobPanicked { job }))
}

/// Tables in the making: a sorted stream cut into files.
struct Output<'a> {
    shared: &'a Shared,
    bytes_max: u64,
    writer: Option<TableWriter>,
    /// Numbers taken, to remove the files should the job fail.
    numbers: Vec<u64>,
    metas: Vec<TableMeta>,
}

impl<'a> Output<'a> {
    fn new(shared: &'a Shared, bytes_max: u64) -> Output<'a> {
        Output { shared, bytes_max, writer: None, numbers: Vec::new(), metas: Vec::new() }
    }

    fn add(&mut self, keyspace: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        if self.writer.as_ref().is_some_and(|writer| writer.bytes() >= self.bytes_max) {
            self.finish_table()?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let number = self.shared.next_file.fetch_add(1, Ordering::AcqRel);
                self.numbers.push(number);
                let dir = self.shared.context.dir();
                let writer = TableWriter::create(self.shared.disk(), dir, number)?;
                self.writer.insert(writer)
            }
        };
        let entry =
            value.map_or(Entry::Tombstone, |value| Entry::Put { value, expires: Expires::NEVER });
        writer.add(&internal_key(keyspace, key), entry)
    }

    fn finish_table(&mut self) -> Result<(), Error> {
        if let Some(writer) = self.writer.take() {
            self.metas.push(writer.finish()?);
        }
        Ok(())
    }

    /// Ends the last table and makes the names durable; on failure removes what was written.
    fn close(mut self, result: Result<(), Error>) -> Result<Vec<Arc<Table>>, Error> {
        let dir = self.shared.context.dir();
        let result = result.and_then(|()| self.finish_table()).and_then(|()| {
            if self.metas.is_empty() {
                return Ok(());
            }
            self.shared.disk().sync_dir(dir).map_err(Error::io("sync folder", dir))
        });
        if let Err(error) = result {
            drop(self.writer.take());
            for number in self.numbers {
                // What cannot be removed now is removed at the next start.
                drop(self.shared.disk().remove(&dir.join(file_name(number))));
            }
            return Err(error);
        }
        let context = &self.shared.context;
        let table = |meta| Arc::new(Table::new(meta, Arc::clone(context)));
        Ok(self.metas.into_iter().map(table).collect())
    }
}
