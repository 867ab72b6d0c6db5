//! The thread that owns the engine and the log of a store.
//!
//! Invariants:
//! * a batch is in the log's next write before it is in memory, and both in the order of marks;
//! * a flush begins only when all that is in memory is durable in the log, so the tables never hold what the
//!   log does not;
//! * a mark goes into the log only when the tables behind it are durable;
//! * after a failed log write nothing is written any more.

use super::StoreStats;
use super::error::Error;
use super::intake::{Intake, Records, Request, Shared, State, Written};
use super::open::{Opened, PARTITION, TERM};
use super::options::StoreOptions;
use super::record;
use super::writer::LogWriter;
use crate::batch::Batch;
use crate::engine::{Engine, Progress};
use crate::ingest::BuiltTables;
use crate::worker::Worker;
use novax_log::{Frame, GroupMeta, Position, ShardLog, blocking_write};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What may be in the log's next writes; beyond it nothing more is taken.
const GATHERED_BYTES_MAX: usize = 4 << 20;
/// Writes nobody waits for go out when there are this many bytes of them.
const RELAXED_BYTES: usize = 256 << 10;
/// Between so many batches put into memory, the log is looked after.
const APPLIED_IN_A_ROW: usize = 64;
/// While jobs are under way or fail, the engine is looked at this often whatever is said.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// The highest mark in a batch of the log.
#[derive(Debug, Default)]
pub(super) struct MarkMax(u64);

/// Tells the clients when the owner is gone, however it went.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.set_gone();
    }
}

/// What one turn of the loop has to do.
#[derive(Default)]
struct Turn {
    requests: VecDeque<Request>,
    written: Option<Written>,
    news: bool,
    awaited: u64,
    closing: bool,
    dropped: bool,
}

/// The owner of engine and log. Fields are dropped in this order: the clients learn of the end last.
pub(super) struct Owner {
    writer: LogWriter,
    log: ShardLog<MarkMax>,
    engine: Engine,
    shared: Arc<Shared>,
    options: Arc<StoreOptions>,
    /// Of the log's group, as of the last frame pushed.
    meta: GroupMeta,
    /// Taken from the clients, to be logged and applied.
    taken: Records,
    batch: Batch,
    /// Up to here somebody waits.
    awaited: u64,
    /// The highest mark in a write handed out.
    handed_out: u64,
    /// When the oldest frame that is gathered came.
    gathered_since: Option<Instant>,
    progress: Progress,
    flush_wanted: bool,
    /// Tables to be given to the engine with its next flush, and who waits for that.
    built: Vec<(BuiltTables, SyncSender<Result<(), Error>>)>,
    /// Who waits for tables that the engine has.
    ingesting: Vec<SyncSender<Result<(), Error>>>,
    /// A flush is due, and waits for the log: nothing is taken.
    hold: bool,
    /// The log has something to write and no segment to write it to.
    log_waits: bool,
    closing: bool,
    failed: Option<Arc<str>>,
    last_error: Option<String>,
    polled_at: Instant,
    replayed_entries: u64,
    _worker: Worker,
    _gone: Gone,
}

impl Owner {
    pub(super) fn new(
        opened: Opened,
        log: ShardLog<MarkMax>,
        shared: &Arc<Shared>,
        options: &Arc<StoreOptions>,
    ) -> io::Result<Owner> {
        let Opened { mut engine, worker, replayed, entries } = opened;
        let wake = Arc::clone(shared);
        engine.set_wake(Arc::new(move || wake.wake()));
        let meta = replayed.meta();
        assert_eq!(engine.mark(), meta.last.index, "memory and log begin at the same mark");
        Ok(Owner {
            writer: LogWriter::start(shared)?,
            log,
            shared: Arc::clone(shared),
            options: Arc::clone(options),
            meta,
            taken: Records::default(),
            batch: Batch::new(),
            awaited: meta.last.index,
            handed_out: meta.last.index,
            gathered_since: None,
            // One that the replay began may be: until the first poll says so, no other may be asked for.
            progress: Progress {
                flushed_mark: engine.flushed_mark(),
                flush_in_flight: true,
                ..Progress::default()
            },
            engine,
            flush_wanted: false,
            built: Vec::new(),
            ingesting: Vec::new(),
            hold: false,
            log_waits: false,
            closing: false,
            failed: None,
            last_error: None,
            polled_at: Instant::now(),
            replayed_entries: entries,
            _worker: worker,
            _gone: Gone(Arc::clone(shared)),
        })
    }

    /// Serves until the store is closed or dropped. Returns the mark up to which the tables are durable.
    pub(super) fn run(mut self) -> Result<u64, Error> {
        loop {
            let turn = self.wait();
            if turn.dropped {
                return Err(Error::Closed);
            }
            self.closing |= turn.closing;
            self.awaited = self.awaited.max(turn.awaited);
            if let Some(written) = turn.written {
                self.on_written(written);
            }
            self.log_taken();
            self.hand_out();
            self.apply_taken();
            self.keep_house(turn.news);
            self.hand_out();
            self.answer(turn.requests);
            if self.closing && self.is_done() {
                return self.close();
            }
        }
    }

    fn can_take(&self) -> bool {
        self.failed.is_none()
            && !self.hold
            && !self.progress.stalled
            && self.log.gathered_bytes() < GATHERED_BYTES_MAX
    }

    /// Whoever asks should see what was handed over before; but not at the price of waiting for a disk to have
    /// room again.
    fn can_answer(&self) -> bool {
        self.can_take() || self.failed.is_some() || self.progress.stalled || self.log_waits
    }

    fn wait(&mut self) -> Turn {
        let (can_take, can_answer) = (self.can_take(), self.can_answer());
        let closing_seen = self.closing;
        let due = |intake: &Intake| {
            intake.written.is_some()
                || intake.news
                || can_answer && !intake.requests.is_empty()
                || can_take && !intake.records.is_empty()
                || matches!(intake.state, State::Dropped)
                || matches!(intake.state, State::Closing) && !closing_seen
        };
        let mut intake = self.shared.wait_for_work(self.wait_until(), due);
        let requests =
            if can_answer { std::mem::take(&mut intake.requests) } else { VecDeque::new() };
        let turn = Turn {
            requests,
            written: intake.written.take(),
            news: std::mem::take(&mut intake.news),
            awaited: intake.awaited,
            closing: matches!(intake.state, State::Closing),
            dropped: matches!(intake.state, State::Dropped),
        };
        assert!(self.taken.is_empty(), "what was taken was applied");
        if can_take && !intake.records.is_empty() {
            std::mem::swap(&mut self.taken, &mut intake.records);
            self.shared.tell_room(intake);
        }
        turn
    }

    /// When there is something to do even if nobody says so. What waits for the log or for room on the disk is told
    /// of in time, and must not make this thread turn round and round.
    fn wait_until(&self) -> Option<Instant> {
        let can_write = self.log.in_flight().is_none() && self.failed.is_none() && !self.log_waits;
        let relaxed = self.gathered_since.filter(|_| can_write);
        let relaxed = relaxed.map(|since| since + self.options.relaxed_delay);
        let progress = &self.progress;
        let busy = progress.flush_in_flight
            || progress.compacting
            || progress.stalled
            || progress.ingesting
            || self.flush_wanted
            || self.last_error.is_some();
        let poll = (busy && !self.hold).then(|| self.polled_at + POLL_EVERY);
        relaxed.into_iter().chain(poll).min()
    }

    /// Puts what was taken into the log's next write.
    fn log_taken(&mut self) {
        for record in self.taken.iter() {
            let at = Position { index: self.meta.last.index + 1, term: TERM };
            self.meta.last = at;
            let gather = self.log.gather();
            gather.push(PARTITION, &Frame::Entry { at, data: record });
            gather.note(0, self.meta, at.index);
            gather.attached.0 = at.index;
        }
        if !self.taken.is_empty() {
            self.gathered_since.get_or_insert_with(Instant::now);
        }
    }

    /// Hands the log's next write to the thread that makes it, if it is time.
    fn hand_out(&mut self) {
        if self.failed.is_some() || self.log.in_flight().is_some() {
            return;
        }
        let Some(since) = self.gathered_since else { return };
        let due = self.awaited > self.handed_out
            || self.hold
            || self.closing
            || self.log.gathered_bytes() >= RELAXED_BYTES
            || since.elapsed() >= self.options.relaxed_delay;
        if !due {
            return;
        }
        let next = self.log.next_write();
        self.log_waits = next.is_none();
        let Some(write) = next else { return };
        let mark = self.log.in_flight().map_or(0, |mark| mark.0);
        self.handed_out = self.handed_out.max(mark);
        if self.log.gathered_bytes() == 0 {
            self.gathered_since = None;
        }
        self.writer.write(write, mark);
    }

    fn on_written(&mut self, written: Written) {
        let result = written.result.map_err(novax_log::Error::Write);
        let result = result.and_then(|()| self.log.written(written.id).map(drop));
        self.log.recycle(written.blocks);
        if let Err(error) = result {
            let reason: Arc<str> = Arc::from(error.to_string());
            self.shared.fail(&reason);
            // The flush that they wait for may never come, nor the poll that sees the tables enter.
            let waiting = self.built.drain(..).map(|(_, sender)| sender);
            for sender in waiting.chain(self.ingesting.drain(..)) {
                drop(sender.try_send(Err(Error::LogFailed { reason: Arc::clone(&reason) })));
            }
            self.failed = Some(reason);
        }
    }

    /// Puts what was taken into memory, and looks after the log meanwhile.
    fn apply_taken(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        let mut in_row = 0;
        for record in taken.iter() {
            let decoded = record::decode(record, &self.options.engine, &mut self.batch);
            assert_eq!(decoded, Ok(()), "clients encode what can be decoded");
            self.batch.set_mark(self.engine.mark() + 1);
            self.engine.write(&mut self.batch);
            in_row += 1;
            if in_row % APPLIED_IN_A_ROW == 0
                && let Some(written) = self.shared.take_written()
            {
                self.on_written(written);
                self.hand_out();
            }
        }
        if in_row > 0 {
            // It would keep memory that is on its way out.
            self.shared.set_latest(None);
        }
        self.taken = taken;
        self.taken.clear();
    }

    /// Lets the engine flush and compact, and the log forget what is flushed.
    fn keep_house(&mut self, news: bool) {
        let options = &self.options.engine;
        let full = self.engine.unflushed_bytes() >= options.memtable_bytes_max;
        let log = self.log.stats();
        let is_long = log.segments + log.old_segments > self.options.segments_max;
        let idle = !self.progress.flush_in_flight;
        self.flush_wanted |= is_long && idle && self.engine.mark() > self.engine.flushed_mark();
        let flush_due = (full || self.flush_wanted) && idle;
        if !news && !flush_due && !self.hold && self.polled_at.elapsed() < POLL_EVERY {
            return;
        }
        // This poll could begin a flush of all that is in memory.
        if (full || self.flush_wanted) && self.engine.mark() > self.shared.durable_mark() {
            self.hold = true;
            return;
        }
        self.hold = false;
        // Asked while one is in flight, the next would begin at any later poll, whatever is durable then.
        if self.flush_wanted && !self.progress.flush_in_flight {
            self.flush_wanted = false;
            self.engine.flush();
            self.ingest_built();
        }
        self.poll_engine();
    }

    /// Gives the engine tables to take in behind the flush that begins now. Those that come meanwhile wait, so that
    /// nobody waits for others without end.
    fn ingest_built(&mut self) {
        if !self.ingesting.is_empty() {
            return;
        }
        for (built, sender) in std::mem::take(&mut self.built) {
            match self.engine.ingest(built) {
                Ok(()) => self.ingesting.push(sender),
                Err(error) => drop(sender.try_send(Err(error.into()))),
            }
        }
    }

    /// Tells who waited that the tables are in the store, and sees to those that came meanwhile.
    fn tell_ingested(&mut self) {
        if self.progress.ingesting {
            return;
        }
        for sender in self.ingesting.drain(..) {
            drop(sender.try_send(Ok(())));
        }
        self.flush_wanted |= !self.built.is_empty();
    }

    fn poll_engine(&mut self) {
        self.polled_at = Instant::now();
        match self.engine.poll() {
            Ok(progress) => {
                self.progress = progress;
                self.last_error = None;
            }
            // It tries again by itself, and says when it cannot take more.
            Err(error) => {
                self.last_error = Some(error.to_string());
                // Told all the same how far things are: whether more may be taken must not be as of the last poll
                // that went well. What failed may be a flush, which is under way until it succeeds: no other may be
                // asked for.
                self.progress = Progress { flush_in_flight: true, ..self.engine.progress() };
            }
        }
        // A snapshot would keep tables that were replaced.
        self.shared.set_latest(None);
        self.tell_ingested();
        self.set_flushed(self.engine.flushed_mark());
    }

    /// The tables hold everything up to `mark`: says so in the log, which may then be cut.
    fn set_flushed(&mut self, mark: u64) {
        if mark <= self.meta.mark.index || self.failed.is_some() {
            return;
        }
        assert!(mark <= self.shared.durable_mark(), "the tables never pass the log");
        self.meta.mark = Position { index: mark, term: TERM };
        let gather = self.log.gather();
        gather.push(PARTITION, &Frame::Mark(self.meta.mark));
        gather.note(0, self.meta, 0);
        self.gathered_since.get_or_insert_with(Instant::now);
    }

    fn answer(&mut self, requests: VecDeque<Request>) {
        for request in requests {
            // Whoever asked and left has no use for the answer.
            match request {
                Request::Snapshot(sender) => {
                    let snapshot = self.engine.snapshot();
                    self.shared.set_latest(Some(snapshot.clone()));
                    drop(sender.try_send(snapshot));
                }
                Request::Flush => self.flush_wanted = true,
                Request::Stats(sender) => drop(sender.try_send(self.stats())),
                Request::TableBuilder(sender) => {
                    drop(sender.try_send(self.engine.table_builder()));
                }
                Request::Ingest(built, sender) => self.take_built(built, sender),
            }
        }
        if self.flush_wanted {
            self.keep_house(false);
            self.hand_out();
        }
    }

    fn take_built(&mut self, built: BuiltTables, sender: SyncSender<Result<(), Error>>) {
        let refused = match &self.failed {
            Some(reason) => Some(Error::LogFailed { reason: Arc::clone(reason) }),
            None if !self.engine.is_builder_of(&built) => Some(Error::ForeignTables),
            None => None,
        };
        if let Some(error) = refused {
            drop(sender.try_send(Err(error)));
            return;
        }
        self.built.push((built, sender));
        self.flush_wanted = true;
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            engine: self.engine.stats(),
            log: self.log.stats(),
            mark: self.engine.mark(),
            durable_mark: self.shared.durable_mark(),
            flushed_mark: self.engine.flushed_mark(),
            replayed_entries: self.replayed_entries,
            stalled: self.progress.stalled,
            last_error: self.last_error.clone(),
        }
    }

    /// Nothing waits to be logged or to be durable.
    fn is_done(&self) -> bool {
        let waiting = self.shared.has_records();
        self.failed.is_some()
            || !waiting && self.log.in_flight().is_none() && self.log.gathered_bytes() == 0
    }

    /// Flushes everything and says so in the log, so that the next start has nothing to read.
    fn close(mut self) -> Result<u64, Error> {
        if let Some(reason) = self.failed.take() {
            return Err(Error::LogFailed { reason });
        }
        let mark = self.engine.mark();
        assert_eq!(mark, self.shared.durable_mark(), "all that was taken is durable");
        self.shared.set_latest(None);
        // Their files go with them, and who waits hears that the store is closed.
        self.built.clear();
        let flushed = self.engine.close()?;
        assert_eq!(flushed, mark, "a clean end flushes everything");
        if mark > self.meta.mark.index {
            self.meta.mark = Position { index: mark, term: TERM };
            let gather = self.log.gather();
            gather.push(PARTITION, &Frame::Mark(self.meta.mark));
            gather.note(0, self.meta, 0);
            // The tables are durable: a mark that cannot be written only costs the next start time.
            while let Some(write) = self.log.next_write() {
                if blocking_write(&write).is_err() || self.log.written(write.id).is_err() {
                    break;
                }
            }
        }
        Ok(flushed)
    }
}

/// Runs an owner on a thread of its own, made inside so that a failure to start ends it in order.
pub(super) fn start(owner: Owner) -> io::Result<JoinHandle<Result<u64, Error>>> {
    std::thread::Builder::new().name("novax-store".to_owned()).spawn(move || owner.run())
}
