//! The store as its owner sees it: writes go to memory, `poll` moves what is due to the worker.
//!
//! Invariants: after `open` nothing on the owner's thread touches a file; marks never fall; every write up
//! to `flushed_mark` is in tables that are durable; one flush is in flight at most, and as many compactions as the
//! options allow.

mod recover;
mod stages;

use crate::batch::Batch;
use crate::blob::{self, BlobFile};
use crate::disk::{Disk, DiskLock, RealDisk};
use crate::entry::Entry;
use crate::error::Error;
use crate::ingest::{self, BuiltTables, Ingest, TableBuilder};
use crate::jobs::{Compaction, Done, DropWindows, Flush, FlushRun, Shared};
use crate::manifest;
use crate::memtable::{MemRun, Memtable};
use crate::options::Options;
use crate::output::Written;
use crate::pacer::Pacer;
use crate::plan::Planner;
use crate::resident::Fetches;
use crate::snapshot::{Inner, Snapshot};
use crate::sorted::SortedRun;
use crate::table::cache::{BlockCache, SharedCache};
use crate::table::{Table, TableContext, TableMeta, file_number};
use crate::trash::Trash;
use crate::version::Version;
use crate::worker::{Handle, Worker};
use recover::open_manifest;
use stages::{CheckpointStage, Slot};
use std::fmt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Beside the compactions: a flush, a drop, an ingest, a checkpoint and a sweep, and one of each whose
/// report is not read yet.
const OTHER_JOBS_MAX: usize = 10;
/// The wait between attempts doubles this often.
const RETRY_DOUBLINGS_MAX: u32 = 6;
/// At half of what makes the owner write less, compactions write as fast as they can.
const PACE_FACTOR: usize = 2;
/// With so many memtables' worth unflushed, or tables in level 0 as a multiple of their limit, the
/// owner should write less.
const STALL_FACTOR: usize = 4;
/// While compactions are held, up to so many tables in level 0, as a multiple of their limit, wait for the end of it:
/// less than what makes the owner write less, which it should not have to do when that end comes.
const HELD_FACTOR: usize = 3;

/// How far the background work is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every write up to this mark is in durable tables.
    pub flushed_mark: u64,
    /// A flush is being written, or waits for another attempt.
    pub flush_in_flight: bool,
    /// A compaction is running, or waits for another attempt.
    pub compacting: bool,
    /// Writes come faster than they are flushed or compacted: the owner should hold back.
    pub stalled: bool,
    /// A checkpoint was asked for and is not ended.
    pub checkpointing: bool,
    /// Tables were given to [`Engine::ingest`] that are not all in the store.
    pub ingesting: bool,
}

/// Tables and bytes of a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Tables in the level.
    pub tables: u64,
    /// Their bytes on disk.
    pub bytes: u64,
}

/// What a store holds and has done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Level 0 first.
    pub levels: Vec<LevelStats>,
    /// Windows of time, over all keyspaces.
    pub windows: u64,
    /// What lies in windows.
    pub in_windows: LevelStats,
    /// Files of values that are kept apart.
    pub blob_files: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// How many of these no table refers to any more.
    pub blob_bytes_garbage: u64,
    /// Range deletes in tables.
    pub range_tombstones: u64,
    /// What is in memory and not in a table yet.
    pub memtable_bytes: u64,
    /// Sealed runs in memory.
    pub memtable_runs: u64,
    /// Blocks kept in memory for reads.
    pub cache_bytes: u64,
    /// Bytes of tables written by flushes.
    pub bytes_flushed: u64,
    /// Bytes of tables written by compactions.
    pub bytes_compacted: u64,
    /// Bytes of tables that came by [`Engine::ingest`].
    pub bytes_ingested: u64,
    /// Flushes finished.
    pub flushes: u64,
    /// Compactions finished.
    pub compactions: u64,
    /// How long compactions have held back for [`Options::compaction_bytes_per_s_max`].
    pub compaction_waited: Duration,
    /// Tables that compaction found damaged and leaves alone.
    pub quarantined: Vec<u64>,
    /// What the last job that failed said; none once all went well again.
    pub last_error: Option<String>,
}

/// A store of one partition. Belongs to one thread.
pub struct Engine {
    shared: Arc<Shared>,
    worker: Handle,
    done: Receiver<Done>,
    memtable: Memtable,
    version: Arc<Version>,
    planner: Planner,
    /// The latest snapshot, while nothing has changed since.
    snapshot: Option<Snapshot>,
    /// All but the newest changes, and how often the runs in memory had changed by when: while they and the tables do
    /// not.
    settled: Option<(Snapshot, (u64, u64))>,
    mark: u64,
    flushed_mark: u64,
    /// By which entries expire: never goes back.
    clock_s: u64,
    /// The clock at the flushed mark.
    flushed_clock_s: u64,
    flush_asked: bool,
    /// A compaction may be due: looked at once after each change of the version.
    plan_due: bool,
    /// Compactions wait until level 0 has too many tables: see [`Engine::hold_compactions`].
    held: bool,
    flush: Slot<Flush>,
    /// Compactions that failed; the others that the planner knows of are running.
    failed: Vec<(Box<Compaction>, Instant)>,
    dropping: Slot<DropWindows>,
    waiting: ingest::Waiting,
    ingest: Slot<Ingest>,
    checkpoint: CheckpointStage,
    checkpointed: Option<Result<u64, Error>>,
    sweeping: bool,
    failures: u32,
    stats: Stats,
    /// Given up only after the last job has reported back.
    lock: Arc<dyn DiskLock>,
}

impl Engine {
    /// Opens the store in `dir`, making it if it is not there. Blocks: for start-up only. The caller then
    /// replays its log from [`Engine::mark`].
    ///
    /// # Errors
    /// When the folder cannot be read or written, is open elsewhere, or the manifest is damaged.
    pub fn open(dir: &Path, options: Options, worker: &Worker) -> Result<Engine, Error> {
        Engine::open_on(Arc::new(RealDisk), dir, options, worker)
    }

    /// As [`Engine::open`], on a given disk.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        worker: &Worker,
    ) -> Result<Engine, Error> {
        options.check();
        disk.create_dir(dir).map_err(Error::io("create", dir))?;
        let lock = disk.lock(dir).map_err(Error::io("lock", dir))?;
        let lock = lock.ok_or_else(|| Error::Locked { dir: dir.to_path_buf() })?;
        let manifest = open_manifest(&disk, dir, &options)?;
        let state = manifest.state().clone();
        let context = Arc::new(TableContext {
            disk,
            dir: dir.to_path_buf(),
            cache: options.cache.as_ref().map_or_else(
                || Arc::new(BlockCache::new(options.block_cache_bytes)),
                SharedCache::cache,
            ),
            trash: Arc::new(Trash::default()),
        });
        let tables = state.tables.into_values();
        let table = |(place, meta)| (place, Arc::new(Table::new(meta, Arc::clone(&context))));
        let blobs = state.blobs.into_values();
        let blobs = blobs.map(|meta| Arc::new(BlobFile::new(meta, Arc::clone(&context))));
        let version = Version::new(tables.map(table), blobs).ok_or_else(|| {
            let file = dir.join(manifest::FILE_NAME);
            let what = "tables of one level overlap";
            Error::ManifestCorruption { file, offset: 0, what }
        })?;
        let (sender, done) = sync_channel(options.compactions_max.saturating_add(OTHER_JOBS_MAX));
        let memtable = Memtable::new(options.keyspaces);
        let pacer = Pacer::new(options.compaction_bytes_per_s_max);
        let shared = Arc::new(Shared {
            options: Arc::new(options),
            manifest: Mutex::new(manifest),
            next_file: AtomicU64::new(state.next_file),
            context,
            pacer,
            wake: Mutex::new(None),
            done: sender,
        });
        Ok(Engine {
            shared,
            worker: worker.handle(),
            done,
            memtable,
            version: Arc::new(version),
            planner: Planner::new(),
            snapshot: None,
            settled: None,
            mark: state.mark,
            flushed_mark: state.mark,
            clock_s: state.clock_s,
            flushed_clock_s: state.clock_s,
            flush_asked: false,
            plan_due: true,
            held: false,
            flush: Slot::Idle,
            failed: Vec::new(),
            dropping: Slot::Idle,
            waiting: ingest::Waiting::default(),
            ingest: Slot::Idle,
            checkpoint: CheckpointStage::Idle,
            checkpointed: None,
            sweeping: false,
            failures: 0,
            stats: Stats::default(),
            lock: Arc::from(lock),
        })
    }

    /// Takes all changes of `batch`, which is empty afterwards. Memory only, never blocks.
    ///
    /// # Panics
    /// When the mark falls, a keyspace is not one of the store's, or a change does not fit its keyspace (see
    /// [`Batch::merge`], [`Batch::put_until`]).
    pub fn write(&mut self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        self.let_go_of_snapshot();
        if let Some(mark) = batch.mark {
            assert!(mark >= self.mark, "mark falls from {} to {mark}", self.mark);
            self.mark = mark;
        }
        self.clock_s = self.clock_s.max(batch.time_s.unwrap_or_default());
        self.memtable.apply(batch, &self.shared.options);
        batch.clear();
        // What became one with others is not held for its sake.
        let changes = self.memtable.changes_of_runs();
        self.settled.take_if(|(_, (known, _))| *known != changes);
    }

    /// True when [`Engine::take_sorted`] may be called. Where nothing is left in memory, it is so at last, after some
    /// [`Engine::poll`].
    pub(crate) fn can_take_sorted(&self) -> bool {
        self.flush.is_idle() && self.memtable.unflushed_bytes() == 0
    }

    /// Has a run written to tables that never was in memory, and is in no snapshot until [`Engine::poll`] has taken in
    /// that it is: for a start, when nobody reads.
    ///
    /// # Errors
    /// When there is no worker any more.
    ///
    /// # Panics
    /// When the mark falls, or the run would overtake what is in memory.
    pub(crate) fn take_sorted(
        &mut self,
        run: SortedRun,
        mark: u64,
        time_s: Option<u64>,
    ) -> Result<(), Error> {
        assert!(self.can_take_sorted(), "runs are flushed in the order in which they came");
        assert!(mark >= self.mark, "mark falls from {} to {mark}", self.mark);
        self.let_go_of_snapshot();
        self.mark = mark;
        self.clock_s = self.clock_s.max(time_s.unwrap_or_default());
        let (clock_s, version) = (self.clock_s, Arc::clone(&self.version));
        let run = FlushRun::Sorted(Arc::new(run));
        self.start_flush(Box::new(Flush { run, mark, clock_s, version, built: None }))
    }

    /// Puts compactions off, as far as level 0 allows, or no longer: while a start is in a hurry.
    pub(crate) fn hold_compactions(&mut self, held: bool) {
        self.held = held;
    }

    /// Whether compactions wait.
    fn is_held(&self) -> bool {
        let level0_max = self.shared.options.level0_tables_max.saturating_mul(HELD_FACTOR);
        self.held && self.planner.level0_waiting(&self.version) <= level0_max
    }

    /// Drops the kept view before memory is written to, so that nothing is copied for its sake.
    fn let_go_of_snapshot(&mut self) {
        self.snapshot = None;
    }

    /// A view of the store as it is now, for other threads.
    pub fn snapshot(&mut self) -> Snapshot {
        if let Some(snapshot) = &self.snapshot {
            return snapshot.clone();
        }
        let runs = self.memtable.newest_first(&self.shared.options);
        let snapshot = self.view(runs);
        self.snapshot = Some(snapshot.clone());
        snapshot
    }

    /// The value of a key as it is now, for the thread that owns the store. As [`Snapshot::get`], but the newest
    /// changes are looked at as they lie: a view of them would have them sorted first. May read files.
    ///
    /// # Errors
    /// When a file cannot be read, a block is damaged, or there is no such keyspace.
    pub fn get(&mut self, ks: u8, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.memtable.newest(ks, key) {
            None => self.settled().get(ks, key),
            Some(entry) if entry.expires().is_due(self.clock_s) => Ok(None),
            Some(Entry::Put { value, .. }) => Ok(Some(value.to_vec())),
            Some(Entry::Tombstone) => Ok(None),
            // What it is merged onto is older.
            Some(Entry::Merge { .. } | Entry::Blob { .. }) => self.snapshot().get(ks, key),
        }
    }

    /// A view of all but the newest changes.
    fn settled(&mut self) -> &Snapshot {
        let as_of = (self.memtable.changes_of_runs(), self.clock_s);
        if self.settled.as_ref().is_none_or(|(_, known)| *known != as_of) {
            self.settled = Some((self.view(self.memtable.settled()), as_of));
        }
        &self.settled.as_ref().expect("just made").0
    }

    fn view(&self, runs: Vec<Arc<MemRun>>) -> Snapshot {
        Snapshot::new(Inner {
            mark: self.mark,
            clock_s: self.clock_s,
            options: Arc::clone(&self.shared.options),
            runs,
            version: Arc::clone(&self.version),
            fetches: Fetches::default(),
        })
    }

    /// Asks for everything written so far to be flushed; [`Engine::poll`] sees to it.
    pub fn flush(&mut self) {
        self.flush_asked = true;
    }

    /// Lets windows of `ks` go that end at or before `time` (in the unit of [`crate::Compaction::TimeWindow`]), as far
    /// as `seen` shows them: in one step, and without writing a table. [`Engine::poll`] sees to it.
    ///
    /// Whoever keeps old windows elsewhere takes a snapshot, copies them out of it, makes the copy durable, and then
    /// calls this with that snapshot. Only tables that the snapshot has may leave, so no row is lost that came later:
    /// what was in memory stays, and so does a table that was flushed or merged since, whole, and every table newer
    /// than one that stays. They go the next time, with a snapshot that has them. Until then rows that were
    /// copied may still be read here too, and an operand that came later stands without what it was to be merged onto,
    /// which the copy has. A snapshot of another engine, or of this store before it was opened again, lets
    /// nothing go.
    ///
    /// # Errors
    /// When there is no such keyspace.
    pub fn drop_windows_before(&mut self, ks: u8, time: u64, seen: &Snapshot) -> Result<(), Error> {
        let count = self.shared.options.keyspaces;
        if ks >= count {
            return Err(Error::KeyspaceUnknown { keyspace: ks, count });
        }
        // A keyspace in levels has no windows.
        if let Some(width) = self.shared.options.compaction(ks).window() {
            self.planner.ask_drop(&self.version, &seen.inner().version, ks, time, width);
        }
        Ok(())
    }

    /// Begins tables of this store that another thread fills, for [`Engine::ingest`].
    #[must_use]
    pub fn table_builder(&self) -> TableBuilder {
        TableBuilder::new(Arc::clone(&self.shared), Arc::clone(&self.lock))
    }

    /// True for tables that may be given to [`Engine::ingest`].
    pub(crate) fn is_builder_of(&self, built: &BuiltTables) -> bool {
        built.is_for(&self.shared)
    }

    /// Takes tables in, all of them by one step: after a crash they are all there or none is. They are as new as if
    /// their keys were written by the flush that this asks for: what is in memory now is older, what is written after
    /// [`Progress::ingesting`] is false again is newer, and in between it is either. The mark stays: who
    /// keeps a log has to know by other means that the tables are in. Values are not kept apart before the tables
    /// are compacted. [`Engine::poll`] sees to it; when the engine is closed or dropped before, the tables are not
    /// taken in.
    ///
    /// # Errors
    /// When too many tables wait already: these are removed then.
    ///
    /// # Panics
    /// When the tables were built for another engine.
    pub fn ingest(&mut self, built: BuiltTables) -> Result<(), Error> {
        let tables = built.into_tables(&self.shared);
        let waiting = self.waiting.len();
        if waiting > 0 && waiting + tables.len() > ingest::TABLES_MAX {
            return Err(Error::IngestBusy { waiting });
        }
        if !tables.is_empty() {
            self.waiting.ask(tables);
            self.flush();
        }
        Ok(())
    }

    /// Asks for a whole store in `dir`, a folder of the same file system that is empty or not there: what is in memory
    /// is flushed, and the files are linked, not copied. [`Engine::poll`] sees to it; when
    /// [`Progress::checkpointing`] is false again, [`Engine::take_checkpoint`] says how it went.
    ///
    /// # Errors
    /// When one is being made already.
    pub fn checkpoint(&mut self, dir: &Path) -> Result<(), Error> {
        if !matches!(self.checkpoint, CheckpointStage::Idle) {
            return Err(Error::CheckpointBusy { dir: dir.to_path_buf() });
        }
        self.checkpointed = None;
        self.checkpoint = CheckpointStage::Asked(dir.to_path_buf());
        self.flush();
        Ok(())
    }

    /// How the last checkpoint went, once: up to which mark it is complete. After an error the folder holds
    /// links without a manifest, which may be removed.
    pub fn take_checkpoint(&mut self) -> Option<Result<u64, Error>> {
        self.checkpointed.take()
    }

    /// Takes in what the worker has finished and hands it what is due. Cheap when nothing is.
    ///
    /// # Errors
    /// When a flush, compaction or ingest has failed since the last call, with the reason; [`Engine::progress`] tells
    /// how far things are all the same. The store stays as it was,
    /// reads go on, and the job is tried again by itself after a while; but a table that was found damaged is left
    /// alone from then on ([`Stats::quarantined`]).
    pub fn poll(&mut self) -> Result<Progress, Error> {
        let mut result = Ok(());
        for _ in 0..self.shared.options.compactions_max.saturating_add(OTHER_JOBS_MAX) {
            let Ok(done) = self.done.try_recv() else { break };
            let installed = self.install(done);
            result = result.and(installed);
        }
        let started = self.start_flush_due().and_then(|()| self.start_rest_due());
        self.pace();
        result.and(started)?;
        Ok(self.progress())
    }

    /// Compactions hold back only as long as flushed tables do not pile up behind them.
    fn pace(&self) {
        let options = &self.shared.options;
        let behind = options.level0_tables_max.saturating_mul(PACE_FACTOR);
        let in_memory = options.memtable_bytes_max.saturating_mul(PACE_FACTOR);
        let piled = self.planner.level0_waiting(&self.version) >= behind;
        self.shared.pacer.set_lifted(piled || self.memtable.bytes() >= in_memory);
    }

    /// How far the background work is, as the last [`Engine::poll`] left it: also where that told of an error, since
    /// whoever was held back must not wait for the next one.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let options = &self.shared.options;
        let memory_max = options.memtable_bytes_max.saturating_mul(STALL_FACTOR);
        let level0_max = options.level0_tables_max.saturating_mul(STALL_FACTOR);
        let level0 = self.planner.level0_waiting(&self.version);
        Progress {
            flushed_mark: self.flushed_mark,
            flush_in_flight: !self.flush.is_idle(),
            compacting: self.planner.running() > 0,
            stalled: self.memtable.bytes() > memory_max || level0 > level0_max,
            checkpointing: !matches!(self.checkpoint, CheckpointStage::Idle),
            ingesting: self.waiting.len() > 0 || !self.ingest.is_idle(),
        }
    }

    fn install(&mut self, done: Done) -> Result<(), Error> {
        match done {
            Done::Flush(job, Ok(())) => {
                self.flush = Slot::Idle;
                self.went_well();
                self.install_flush(*job);
            }
            Done::Compaction(job, Ok(())) => {
                self.planner.finish(job.id);
                self.went_well();
                self.install_compaction(&job);
            }
            Done::Drop(job, Ok(())) => {
                self.dropping = Slot::Idle;
                self.planner.finish(job.id);
                self.went_well();
                self.set_version(self.version.edited(&job.tables, &[], &[]));
            }
            Done::Ingest(job, Ok(())) => {
                self.ingest = Slot::Idle;
                self.went_well();
                self.stats.bytes_ingested += job.bytes();
                let entered = job.entered(&self.shared.context);
                self.set_version(self.version.edited(&[], &entered, &[]));
            }
            Done::Checkpoint(job, result) => {
                self.checkpoint = CheckpointStage::Idle;
                self.checkpointed = Some(result.map(|()| job.mark));
            }
            Done::Sweep => self.sweeping = false,
            Done::Flush(job, Err(error)) => {
                self.flush = Slot::Failed { job, at: self.retry_at(&error) };
                return Err(error);
            }
            Done::Drop(job, Err(error)) => {
                self.dropping = Slot::Failed { job, at: self.retry_at(&error) };
                return Err(error);
            }
            Done::Ingest(job, Err(error)) => {
                self.ingest = Slot::Failed { job, at: self.retry_at(&error) };
                return Err(error);
            }
            Done::Compaction(job, Err(error)) => {
                let at = self.retry_at(&error);
                if self.quarantine(&job, &error) {
                    self.planner.finish(job.id);
                    self.plan_due = true;
                } else {
                    self.failed.push((job, at));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn went_well(&mut self) {
        self.failures = 0;
        self.stats.last_error = None;
    }

    fn retry_at(&mut self, error: &Error) -> Instant {
        self.stats.last_error = Some(error.to_string());
        let doublings = self.failures.min(RETRY_DOUBLINGS_MAX);
        self.failures = self.failures.saturating_add(1);
        let wait: Duration = self.shared.options.retry_after.saturating_mul(1 << doublings);
        Instant::now() + wait
    }

    /// Leaves alone what a compaction failed over and would fail over again; false where another attempt may help.
    fn quarantine(&mut self, job: &Compaction, error: &Error) -> bool {
        let name = match error {
            Error::Corruption { file, .. } => file.file_name().and_then(|name| name.to_str()),
            Error::BlobMissing { .. }
            | Error::JobPanicked { .. }
            | Error::MergeOperatorMissing { .. } => None,
            _ => return false,
        };
        let (table, blob) = (name.and_then(file_number), name.and_then(blob::file_number));
        let is_hit = |meta: &TableMeta| {
            Some(meta.number) == table || meta.blobs.iter().any(|(number, _)| Some(*number) == blob)
        };
        let metas = || job.inputs().map(|table| table.meta());
        // Where it is not known which of them it was, it is all.
        let any = metas().any(is_hit);
        for meta in metas().filter(|meta| !any || is_hit(meta)) {
            self.planner.quarantine(meta.number);
        }
        true
    }

    fn set_version(&mut self, version: Version) {
        // The edit that this follows is durable: blob files that went with it go with their last reader.
        for (number, blob) in self.version.blobs() {
            if !version.blobs().contains_key(number) {
                blob.set_obsolete();
            }
        }
        self.version = Arc::new(version);
        self.settled = None;
        self.snapshot = None;
        self.plan_due = true;
    }

    fn install_flush(&mut self, job: Flush) {
        let built = job.built.unwrap_or_default();
        self.stats.flushes += 1;
        self.stats.bytes_flushed += built.bytes();
        self.set_version(self.version.edited(&[], &built.tables, &built.blobs));
        assert!(job.mark >= self.flushed_mark && job.clock_s >= self.flushed_clock_s);
        (self.flushed_mark, self.flushed_clock_s) = (job.mark, job.clock_s);
        self.after_flush();
        if let FlushRun::Frozen(run) = job.run {
            self.shared.context.trash.add_runs(self.memtable.thaw().into_iter().chain([run]));
        }
    }

    fn install_compaction(&mut self, job: &Compaction) {
        let nothing = Written::default();
        let built = job.built.as_ref().unwrap_or(&nothing);
        if !job.is_move {
            self.stats.bytes_compacted += built.bytes();
        }
        self.stats.compactions += 1;
        let removed: Vec<_> = job.inputs().cloned().collect();
        self.set_version(self.version.edited(&removed, &built.tables, &built.blobs));
    }

    /// All that a flush was asked to take is in tables.
    fn after_flush(&mut self) {
        self.checkpoint.flushed();
        self.waiting.flushed(&self.shared);
    }

    /// The tables as they are now, for the scrubber.
    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Where its files are.
    pub(crate) fn context(&self) -> &TableContext {
        &self.shared.context
    }

    /// Who runs its jobs.
    pub(crate) fn worker(&self) -> &Handle {
        &self.worker
    }

    /// Up to which entry of the log the store is complete, memory included.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// Every write up to this mark is in durable tables.
    #[must_use]
    pub fn flushed_mark(&self) -> u64 {
        self.flushed_mark
    }

    /// Bytes in memory that no flush has taken yet. When they reach
    /// [`Options::memtable_bytes_max`], the next [`Engine::poll`] starts a flush.
    #[must_use]
    pub fn unflushed_bytes(&self) -> usize {
        self.memtable.unflushed_bytes()
    }

    /// What the store holds and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let level = |tables: &[Arc<Table>]| LevelStats {
            tables: tables.len() as u64,
            bytes: tables.iter().map(|table| table.meta().bytes).sum(),
        };
        let mut in_windows = LevelStats::default();
        for ranked in self.version.windows().values().flatten() {
            in_windows.tables += 1;
            in_windows.bytes += ranked.table.meta().bytes;
        }
        let blobs = self.version.blobs();
        let blob_bytes = blobs.values().map(|blob| blob.meta().bytes).sum::<u64>();
        let live = self.version.blob_bytes_live().values().sum::<u64>();
        Stats {
            blob_files: blobs.len() as u64,
            blob_bytes,
            blob_bytes_garbage: blob_bytes.saturating_sub(live),
            levels: self.version.levels().map(level).collect(),
            windows: self.version.windows().len() as u64,
            in_windows,
            range_tombstones: self.version.tables().map(|table| table.meta().ranges).sum(),
            memtable_bytes: self.memtable.bytes() as u64,
            memtable_runs: self.memtable.runs() as u64,
            cache_bytes: self.shared.context.cache.bytes(),
            compaction_waited: self.shared.pacer.waited(),
            quarantined: self.planner.quarantined().iter().copied().collect(),
            ..self.stats.clone()
        }
    }

    /// Sets what a worker thread calls when [`Engine::poll`] has something to take in.
    #[allow(clippy::needless_pass_by_value, reason = "an owned handle is what callers have")]
    pub fn set_wake(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.shared.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake);
    }

    /// Flushes everything and waits for all work in flight: a clean end. Blocks. Returns the mark up to which
    /// the store is durable, which is all of it.
    ///
    /// # Errors
    /// When the last flush fails: what was not flushed must be replayed from the log.
    pub fn close(mut self) -> Result<u64, Error> {
        // The caller wants to know now, not after the next attempt.
        if let Slot::Failed { at, .. } = &mut self.flush {
            *at = Instant::now();
        }
        let is_behind = |engine: &Engine| {
            engine.flushed_mark < engine.mark
                || engine.flushed_clock_s < engine.clock_s
                || engine.memtable.bytes() > 0
        };
        while is_behind(&self) {
            self.flush();
            self.start_flush_due()?;
            if !self.flush.is_running() {
                // The worker's queue is full: it will not be for long.
                std::thread::yield_now();
                continue;
            }
            self.worker.help();
            let Ok(done) = self.done.recv() else {
                return Err(Error::WorkerStopped);
            };
            // A compaction that fails takes nothing away from what is flushed.
            let is_flush = matches!(done, Done::Flush(..));
            let installed = self.install(done);
            if is_flush {
                installed?;
            }
        }
        self.settle();
        self.snapshot = None;
        self.waiting = ingest::Waiting::default();
        self.shared.context.trash.sweep(&*self.shared.context.disk);
        Ok(self.flushed_mark)
    }

    fn is_at_work(&self) -> bool {
        let waiting = self.failed.len() + usize::from(!self.dropping.is_idle());
        let compacting = self.planner.running() > waiting || self.dropping.is_running();
        let checkpointing = matches!(self.checkpoint, CheckpointStage::Running);
        let moving = self.flush.is_running() || self.ingest.is_running();
        moving || compacting || checkpointing || self.sweeping
    }

    /// Waits for what is in flight and takes it in, starting nothing new.
    fn settle(&mut self) {
        self.shared.pacer.set_lifted(true);
        while self.is_at_work() {
            self.worker.help();
            let Ok(done) = self.done.recv() else { return };
            // Whoever wanted to hear of a failure has polled.
            drop(self.install(done));
        }
    }
}

impl Drop for Engine {
    /// Waits for work in flight, so that the folder may be opened again at once. Flushes nothing: dropping an
    /// engine loses no more than a crash does.
    fn drop(&mut self) {
        self.settle();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("mark", &self.mark)
            .field("flushed_mark", &self.flushed_mark)
            .finish_non_exhaustive()
    }
}
