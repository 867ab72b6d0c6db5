//! The owner's jobs on their way to the worker: what is due, what waits for another attempt, what runs.
//!
//! Invariants: a job that the worker refuses is not lost; of each kind but compactions one is under way at most; the
//! files of a checkpoint and the tables of an ingest wait for the flush that was asked for with them.

use super::Engine;
use crate::error::Error;
use crate::ingest::Ingest;
use crate::jobs::{Checkpoint, Compaction, DropWindows, Flush, FlushRun, Target};
use crate::worker::{Job, Priority, Refused};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Where one kind of job is.
pub(super) enum Slot<J> {
    Idle,
    Running,
    /// Failed: run it again when the time comes.
    Failed {
        job: Box<J>,
        at: Instant,
    },
}

impl<J> Slot<J> {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Slot::Idle)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self, Slot::Running)
    }

    /// Takes a failed job whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Box<J>> {
        if !matches!(self, Slot::Failed { at, .. } if *at <= now) {
            return None;
        }
        match std::mem::replace(self, Slot::Idle) {
            Slot::Failed { job, .. } => Some(job),
            Slot::Idle | Slot::Running => None,
        }
    }
}

/// How far a checkpoint is.
pub(super) enum CheckpointStage {
    Idle,
    /// What is in memory is to be flushed first.
    Asked(PathBuf),
    /// It is being flushed.
    Flushing(PathBuf),
    /// Files can be linked.
    Due(PathBuf),
    Running,
}

impl CheckpointStage {
    /// A flush took all that was in memory.
    pub(super) fn frozen(&mut self) {
        if let CheckpointStage::Asked(dir) = self {
            *self = CheckpointStage::Flushing(std::mem::take(dir));
        }
    }

    /// What a flush took is durable.
    pub(super) fn flushed(&mut self) {
        if let CheckpointStage::Flushing(dir) = self {
            *self = CheckpointStage::Due(std::mem::take(dir));
        }
    }
}

impl Engine {
    pub(super) fn start_flush_due(&mut self) -> Result<(), Error> {
        match &self.flush {
            Slot::Idle => self.start_new_flush(),
            Slot::Running => Ok(()),
            Slot::Failed { .. } => match self.flush.take_due(Instant::now()) {
                Some(job) => self.start_flush(job),
                None => Ok(()),
            },
        }
    }

    pub(super) fn start_rest_due(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if let Some(at) = self.failed.iter().position(|(_, at)| *at <= now) {
            let (job, _) = self.failed.swap_remove(at);
            self.start_compaction(job)?;
        }
        if let Some(job) = self.dropping.take_due(now) {
            self.start_drop(job)?;
        } else if self.dropping.is_idle()
            && let Some(job) = self.planner.next_drop(&self.version)
        {
            self.start_drop(Box::new(job))?;
        }
        self.start_ingest_due(now)?;
        while self.plan_due && !self.is_held() {
            let (options, clock_s) = (&self.shared.options, self.flushed_clock_s);
            // A table in the making may have a number already, and be newer than those that are there.
            let ingests = self.waiting.is_due() || !self.ingest.is_idle();
            let is_quiet = self.flush.is_idle() && !ingests;
            match self.planner.next(&self.version, options, clock_s, is_quiet) {
                Some(mut job) => {
                    if job.target == Target::Level(0) {
                        job.number = Some(self.shared.next_file.fetch_add(1, Ordering::AcqRel));
                    }
                    self.start_compaction(Box::new(job))?;
                }
                None => self.plan_due = false,
            }
        }
        if let CheckpointStage::Due(dir) = &mut self.checkpoint {
            let dir = std::mem::take(dir);
            self.start_checkpoint(dir)?;
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
        self.checkpoint.frozen();
        self.waiting.frozen();
        let is_new = self.mark != self.flushed_mark || self.clock_s != self.flushed_clock_s;
        if self.memtable.unflushed_bytes() == 0 && !is_new {
            self.after_flush();
            return Ok(());
        }
        // A view that nobody else holds must not make the next writes copy.
        self.let_go_of_snapshot();
        let run = FlushRun::Frozen(self.memtable.freeze(&self.shared.options));
        let version = Arc::clone(&self.version);
        let (mark, clock_s) = (self.mark, self.clock_s);
        self.start_flush(Box::new(Flush { run, mark, clock_s, version, built: None }))
    }

    pub(super) fn start_flush(&mut self, job: Box<Flush>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        // Should the worker refuse, the job is dropped with the closure: keep what makes another.
        let again = Box::new(Flush {
            run: job.run.clone(),
            version: Arc::clone(&job.version),
            built: job.built.clone(),
            ..*job
        });
        self.flush = Slot::Failed { job: again, at: Instant::now() };
        if self.submit(Priority::Urgent, Box::new(move || shared.run_flush(job)))? {
            self.flush = Slot::Running;
        }
        Ok(())
    }

    fn start_compaction(&mut self, job: Box<Compaction>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let id = job.id;
        let run: Job = Box::new(move || shared.run_compaction(job));
        let accepted = self.submit(Priority::Background, run);
        if !matches!(accepted, Ok(true)) {
            // Planned anew at the next poll. What a failed one had written is found at the next start.
            self.planner.finish(id);
        }
        if matches!(accepted, Ok(false)) {
            self.plan_due = true;
        }
        accepted.map(drop)
    }

    fn start_drop(&mut self, job: Box<DropWindows>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let again = Box::new(DropWindows { id: job.id, tables: job.tables.clone() });
        self.dropping = Slot::Failed { job: again, at: Instant::now() };
        if self.submit(Priority::Background, Box::new(move || shared.run_drop(job)))? {
            self.dropping = Slot::Running;
        }
        Ok(())
    }

    fn start_ingest_due(&mut self, now: Instant) -> Result<(), Error> {
        let job = match self.ingest.take_due(now) {
            Some(job) => job,
            None if self.ingest.is_idle() => match self.waiting.take_due() {
                Some(job) => Box::new(job),
                None => return Ok(()),
            },
            None => return Ok(()),
        };
        // Should the worker refuse, the job is dropped with the closure: keep it where both find it.
        let job = Arc::new(Mutex::new(Some(job)));
        let (shared, handed) = (Arc::clone(&self.shared), Arc::clone(&job));
        let take = |job: &Mutex<Option<Box<Ingest>>>| {
            job.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let run: Job = Box::new(move || {
            if let Some(job) = take(&handed) {
                shared.run_ingest(job);
            }
        });
        let accepted = self.submit(Priority::Background, run);
        let refused = if matches!(accepted, Ok(true)) { None } else { take(&job) };
        self.ingest = refused.map_or(Slot::Running, |job| Slot::Failed { job, at: now });
        accepted.map(drop)
    }

    fn start_checkpoint(&mut self, dir: PathBuf) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        self.checkpoint = CheckpointStage::Due(dir.clone());
        let version = Arc::clone(&self.version);
        let (mark, clock_s) = (self.flushed_mark, self.flushed_clock_s);
        let job = Box::new(Checkpoint { dir, version, mark, clock_s });
        if self.submit(Priority::Background, Box::new(move || shared.run_checkpoint(job)))? {
            self.checkpoint = CheckpointStage::Running;
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
}
