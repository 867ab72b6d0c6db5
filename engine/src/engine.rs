//! The store as its owner sees it: writes go to memory, `poll` moves what is due to the worker.
//!
//! Invariants: after `open` nothing on the owner's thread touches a file; marks never fall; every write up
//! to `flushed_mark` is in tables that are durable; one flush and one compaction are in flight at most.

use crate::batch::Batch;
use crate::disk::{Disk, DiskLock, RealDisk};
use crate::error::Error;
use crate::jobs::{Compaction, Done, Flush, Shared};
use crate::manifest::{self, Manifest};
use crate::memtable::Memtable;
use crate::options::Options;
use crate::plan::Planner;
use crate::snapshot::Snapshot;
use crate::table::cache::BlockCache;
use crate::table::{Table, TableContext, file_number};
use crate::trash::Trash;
use crate::verify::find_missing;
use crate::version::Version;
use crate::worker::{Handle, Job, Priority, Refused, Worker};
use std::fmt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One flush, one compaction, one sweep.
const JOBS_IN_FLIGHT_MAX: usize = 3;
/// The wait between attempts doubles this often.
const RETRY_DOUBLINGS_MAX: u32 = 6;
/// With so many memtables' worth unflushed, or tables in level 0 as a multiple of their limit, the
/// owner should write less.
const STALL_FACTOR: usize = 4;

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
    /// Flushes finished.
    pub flushes: u64,
    /// Compactions finished.
    pub compactions: u64,
}

/// Where one kind of job is.
enum Slot<J> {
    Idle,
    Running,
    /// Failed: run it again when the time comes.
    Failed {
        job: Box<J>,
        at: Instant,
    },
}

impl<J> Slot<J> {
    fn is_idle(&self) -> bool {
        matches!(self, Slot::Idle)
    }

    fn is_running(&self) -> bool {
        matches!(self, Slot::Running)
    }

    /// Takes a failed job whose time has come.
    fn take_due(&mut self, now: Instant) -> Option<Box<J>> {
        if !matches!(self, Slot::Failed { at, .. } if *at <= now) {
            return None;
        }
        match std::mem::replace(self, Slot::Idle) {
            Slot::Failed { job, .. } => Some(job),
            Slot::Idle | Slot::Running => None,
        }
    }
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
    mark: u64,
    flushed_mark: u64,
    flush_asked: bool,
    /// A compaction may be due: looked at once after each change of the version.
    plan_due: bool,
    flush: Slot<Flush>,
    compaction: Slot<Compaction>,
    sweeping: bool,
    failures: u32,
    stats: Stats,
    /// Given up only after the last job has reported back.
    _lock: Box<dyn DiskLock>,
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
        let manifest = open_manifest(&disk, dir, options.keyspaces)?;
        let state = manifest.state().clone();
        let context = Arc::new(TableContext {
            disk,
            dir: dir.to_path_buf(),
            cache: Arc::new(BlockCache::new(options.block_cache_bytes)),
            trash: Arc::new(Trash::default()),
        });
        let tables = state.tables.into_values();
        let table = |(level, meta)| (level, Arc::new(Table::new(meta, Arc::clone(&context))));
        let version = Version::new(tables.map(table)).ok_or_else(|| {
            let file = dir.join(manifest::FILE_NAME);
            let what = "tables of one level overlap";
            Error::ManifestCorruption { file, offset: 0, what }
        })?;
        let memtable = Memtable::new(options.keyspaces, options.memtable_bytes_max);
        let (sender, done) = sync_channel(JOBS_IN_FLIGHT_MAX);
        let shared = Arc::new(Shared {
            options,
            manifest: Mutex::new(manifest),
            next_file: AtomicU64::new(state.next_file),
            context,
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
            mark: state.mark,
            flushed_mark: state.mark,
            flush_asked: false,
            plan_due: true,
            flush: Slot::Idle,
            compaction: Slot::Idle,
            sweeping: false,
            failures: 0,
            stats: Stats::default(),
            _lock: lock,
        })
    }

    /// Takes all changes of `batch`, which is empty afterwards. Memory only, never blocks.
    ///
    /// # Panics
    /// When the mark falls, or a keyspace is not one of the store's.
    pub fn write(&mut self, batch: &mut Batch) {
        if let Some(mark) = batch.mark.take() {
            assert!(mark >= self.mark, "mark falls from {} to {mark}", self.mark);
            self.mark = mark;
            self.snapshot = None;
        }
        if !batch.ops.is_empty() {
            self.snapshot = None;
        }
        for op in batch.ops.drain(..) {
            self.memtable.apply(op);
        }
        assert!(batch.is_empty());
    }

    /// A view of the store as it is now, for other threads.
    pub fn snapshot(&mut self) -> Snapshot {
        if let Some(snapshot) = &self.snapshot {
            return snapshot.clone();
        }
        self.memtable.seal();
        assert!(self.memtable.is_active_empty());
        let runs = self.memtable.newest_first();
        let keyspaces = self.shared.options.keyspaces;
        let snapshot = Snapshot::new(self.mark, keyspaces, runs, Arc::clone(&self.version));
        self.snapshot = Some(snapshot.clone());
        snapshot
    }

    /// Asks for everything written so far to be flushed; [`Engine::poll`] sees to it.
    pub fn flush(&mut self) {
        self.flush_asked = true;
    }

    /// Takes in what the worker has finished and hands it what is due. Cheap when nothing is.
    ///
    /// # Errors
    /// When a flush or compaction has failed since the last call, with the reason. The store stays as it was,
    /// reads go on, and the job is tried again by itself after a while.
    pub fn poll(&mut self) -> Result<Progress, Error> {
        let mut result = Ok(());
        for _ in 0..JOBS_IN_FLIGHT_MAX {
            let Ok(done) = self.done.try_recv() else { break };
            let installed = self.install(done);
            result = result.and(installed);
        }
        let started = self.start_flush_due().and_then(|()| self.start_rest_due());
        result.and(started)?;
        Ok(self.progress())
    }

    fn progress(&self) -> Progress {
        let options = &self.shared.options;
        let memory_max = options.memtable_bytes_max.saturating_mul(STALL_FACTOR);
        let level0_max = options.level0_tables_max.saturating_mul(STALL_FACTOR);
        Progress {
            flushed_mark: self.flushed_mark,
            flush_in_flight: !self.flush.is_idle(),
            compacting: !self.compaction.is_idle(),
            stalled: self.memtable.bytes() > memory_max || self.version.level(0).len() > level0_max,
        }
    }

    fn install(&mut self, done: Done) -> Result<(), Error> {
        match done {
            Done::Flush(job, Ok(())) => {
                self.flush = Slot::Idle;
                self.failures = 0;
                self.install_flush(*job);
            }
            Done::Compaction(job, Ok(())) => {
                self.compaction = Slot::Idle;
                self.failures = 0;
                self.install_compaction(&job);
            }
            Done::Sweep => self.sweeping = false,
            Done::Flush(job, Err(error)) => {
                self.flush = Slot::Failed { job, at: self.retry_at() };
                return Err(error);
            }
            Done::Compaction(job, Err(error)) => {
                self.compaction = Slot::Failed { job, at: self.retry_at() };
                return Err(error);
            }
        }
        Ok(())
    }

    fn retry_at(&mut self) -> Instant {
        let doublings = self.failures.min(RETRY_DOUBLINGS_MAX);
        self.failures = self.failures.saturating_add(1);
        let wait: Duration = self.shared.options.retry_after.saturating_mul(1 << doublings);
        Instant::now() + wait
    }

    fn install_flush(&mut self, job: Flush) {
        let tables = job.built.unwrap_or_default();
        self.stats.flushes += 1;
        self.stats.bytes_flushed += tables.iter().map(|table| table.meta().bytes).sum::<u64>();
        self.version = Arc::new(self.version.edited(&[], 0, &tables));
        assert!(job.mark >= self.flushed_mark);
        self.flushed_mark = job.mark;
        self.snapshot = None;
        self.plan_due = true;
        let mut runs = self.memtable.thaw();
        runs.extend(job.runs);
        self.shared.context.trash.add_runs(runs);
    }

    fn install_compaction(&mut self, job: &Compaction) {
        let built = job.built.as_deref().unwrap_or_default();
        if !job.is_move() {
            let bytes = built.iter().map(|table| table.meta().bytes).sum::<u64>();
            self.stats.bytes_compacted += bytes;
        }
        self.stats.compactions += 1;
        let removed: Vec<_> = job.inputs.iter().chain(&job.overlaps).cloned().collect();
        self.version = Arc::new(self.version.edited(&removed, job.level + 1, built));
        self.snapshot = None;
        self.plan_due = true;
    }

    fn start_flush_due(&mut self) -> Result<(), Error> {
        match &self.flush {
            Slot::Idle => self.start_new_flush(),
            Slot::Running => Ok(()),
            Slot::Failed { .. } => match self.flush.take_due(Instant::now()) {
                Some(job) => self.start_flush(job),
                None => Ok(()),
            },
        }
    }

    fn start_rest_due(&mut self) -> Result<(), Error> {
        if let Slot::Failed { .. } = &self.compaction {
            if let Some(job) = self.compaction.take_due(Instant::now()) {
                self.start_compaction(job)?;
            }
        } else if self.compaction.is_idle() && self.plan_due {
            match self.planner.next(&self.version, &self.shared.options) {
                Some(job) => self.start_compaction(Box::new(job))?,
                None => self.plan_due = false,
            }
        }
        if !self.sweeping && self.shared.context.trash.is_waiting() {
            self.start_sweep()?;
        }
        Ok(())
    }

    fn start_new_flush(&mut self) -> Result<(), Error> {
        let full = self.memtable.unflushed_bytes() >= self.shared.options.memtable_bytes_max;
        if !full && !self.flush_asked {
            return Ok(());
        }
        self.flush_asked = false;
        if self.memtable.unflushed_bytes() == 0 && self.mark == self.flushed_mark {
            return Ok(());
        }
        let runs = self.memtable.freeze();
        let job = Flush { runs, mark: self.mark, built: None };
        self.start_flush(Box::new(job))
    }

    fn start_flush(&mut self, job: Box<Flush>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        // Should the worker refuse, the job is dropped with the closure: keep what makes another.
        let again =
            Box::new(Flush { runs: job.runs.clone(), mark: job.mark, built: job.built.clone() });
        self.flush = Slot::Failed { job: again, at: Instant::now() };
        if self.submit(Priority::Urgent, Box::new(move || shared.run_flush(job)))? {
            self.flush = Slot::Running;
        }
        Ok(())
    }

    fn start_compaction(&mut self, job: Box<Compaction>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let run: Job = Box::new(move || shared.run_compaction(job));
        // A compaction that the full queue refuses is planned anew at the next poll.
        if self.submit(Priority::Background, run)? {
            self.compaction = Slot::Running;
        }
        Ok(())
    }

    fn start_sweep(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        self.sweeping = self.submit(Priority::Urgent, Box::new(move || shared.run_sweep()))?;
        Ok(())
    }

    /// Hands a job to the worker; false when its queue is full.
    fn submit(&self, priority: Priority, job: Job) -> Result<bool, Error> {
        match self.worker.submit(priority, job) {
            Ok(()) => Ok(true),
            Err(Refused::Full) => Ok(false),
            Err(Refused::Stopped) => Err(Error::WorkerStopped),
        }
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
        Stats {
            levels: self.version.levels().map(level).collect(),
            memtable_bytes: self.memtable.bytes() as u64,
            memtable_runs: self.memtable.runs() as u64,
            cache_bytes: self.shared.context.cache.bytes(),
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
        while self.flushed_mark < self.mark || self.memtable.bytes() > 0 {
            self.flush();
            self.start_flush_due()?;
            if !self.flush.is_running() {
                // The worker's queue is full: it will not be for long.
                std::thread::yield_now();
                continue;
            }
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
        self.shared.context.trash.sweep(&*self.shared.context.disk);
        Ok(self.flushed_mark)
    }

    /// Waits for what is in flight and takes it in, starting nothing new.
    fn settle(&mut self) {
        while self.flush.is_running() || self.compaction.is_running() || self.sweeping {
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

/// Reads the manifest or begins one, and removes what unfinished work has left behind.
fn open_manifest(disk: &Arc<dyn Disk>, dir: &Path, keyspaces: u8) -> Result<Manifest, Error> {
    let files = disk.list(dir).map_err(Error::io("list", dir))?;
    let is_there = |wanted: &str| files.iter().any(|(name, _)| name == wanted);
    if !is_there(manifest::FILE_NAME) {
        if files.iter().any(|(name, _)| file_number(name).is_some()) {
            let (file, what) = (dir.join(manifest::FILE_NAME), "tables, but no manifest");
            return Err(Error::ManifestCorruption { file, offset: 0, what });
        }
        return Manifest::create(Arc::clone(disk), dir, keyspaces);
    }
    let mut recovered = Manifest::read(&**disk, dir)?;
    if recovered.keyspaces > keyspaces {
        let (dir, stored) = (dir.to_path_buf(), recovered.keyspaces);
        return Err(Error::KeyspacesTooFew { dir, stored, asked: keyspaces });
    }
    find_missing(recovered.state.tables.keys().copied(), dir, &files)?;
    for (name, _) in &files {
        let number = file_number(name);
        let is_named = number.is_some_and(|number| recovered.state.tables.contains_key(&number));
        if is_named || (number.is_none() && name != manifest::TEMPORARY_NAME) {
            continue;
        }
        let file = dir.join(name);
        disk.remove(&file).map_err(Error::io("remove", &file))?;
        // The removal may not survive a crash: never give its number to another file.
        let next = number.map_or(0, |number| number.saturating_add(1));
        recovered.state.next_file = recovered.state.next_file.max(next);
    }
    Manifest::resume(Arc::clone(disk), dir, recovered, keyspaces)
}
