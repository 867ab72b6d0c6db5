//! Where clients and the store's threads meet: records on their way in, and how far they are durable.
//!
//! Invariants: a record's mark is given out under the lock under which it is queued, so marks are the order of
//! the log; what waits is bounded; nobody waits for somebody who is gone, since both ends say how they end.

use super::error::Error;
use crate::ingest::{BuiltTables, TableBuilder};
use crate::snapshot::Snapshot;
use novax_log::Block;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the owner is asked beside writes. Whoever asks waits for the answer, so their number is bounded by the
/// number of threads.
pub(super) enum Request {
    Snapshot(SyncSender<Snapshot>),
    Flush,
    Stats(SyncSender<super::StoreStats>),
    TableBuilder(SyncSender<TableBuilder>),
    Ingest(BuiltTables, SyncSender<Result<(), Error>>),
}

/// A log write that has ended.
pub(super) struct Written {
    pub(super) id: u64,
    pub(super) result: io::Result<()>,
    /// Its memory, to be used again.
    pub(super) blocks: Vec<Block>,
}

/// Whether the store takes writes.
#[derive(Clone, Debug)]
pub(super) enum State {
    Open,
    /// Take nothing more, finish what is there.
    Closing,
    /// Leave everything as it is.
    Dropped,
    /// The log failed, for this reason.
    Failed(Arc<str>),
}

/// Records one after another, each behind its length.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
}

/// What lies before each record in [`Records`].
pub(super) const LENGTH_BYTES: usize = 4;

impl Records {
    pub(super) fn push(&mut self, record: impl FnOnce(&mut Vec<u8>)) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        record(&mut self.bytes);
        let length =
            u32::try_from(self.bytes.len() - at - LENGTH_BYTES).expect("records are bounded");
        self.bytes[at..at + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// All of it as one piece, in which the records lie as [`Records::iter`] gives them.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).expect("u32 fits usize");
            let (record, after) = after.split_at(length);
            rest = after;
            Some(record)
        })
    }
}

/// What waits for the owner.
pub(super) struct Intake {
    pub(super) records: Records,
    /// The mark of the next record.
    pub(super) next_mark: u64,
    /// Up to this mark somebody wants to hear that it is durable.
    pub(super) awaited: u64,
    pub(super) requests: VecDeque<Request>,
    /// The log write in flight has ended.
    pub(super) written: Option<Written>,
    /// The worker or the log's segments have news.
    pub(super) news: bool,
    pub(super) state: State,
    owner_sleeps: bool,
    waiting_for_room: usize,
    /// The owner has ended: nobody answers any more.
    is_gone: bool,
}

/// How far the store is, for those who wait.
struct Durable {
    mark: u64,
    /// Nothing more will become durable.
    ended: Option<Ended>,
    waiting: usize,
}

#[derive(Clone)]
enum Ended {
    Closed,
    Failed(Arc<str>),
}

impl Ended {
    fn error(&self) -> Error {
        match self {
            Ended::Closed => Error::Closed,
            Ended::Failed(reason) => Error::LogFailed { reason: Arc::clone(reason) },
        }
    }
}

/// Shared by the clients, the owner and the writer of the log.
pub(super) struct Shared {
    intake: Mutex<Intake>,
    owner: Condvar,
    room: Condvar,
    durable: Mutex<Durable>,
    progressed: Condvar,
    durable_mark: AtomicU64,
    /// The latest snapshot that was asked for, until it is outdated.
    latest: Mutex<Option<Snapshot>>,
    queue_bytes_max: usize,
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at any time a panic could strike.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(mark: u64, queue_bytes_max: usize) -> Shared {
        let intake = Intake {
            records: Records::default(),
            next_mark: mark + 1,
            awaited: mark,
            requests: VecDeque::new(),
            written: None,
            news: false,
            state: State::Open,
            owner_sleeps: false,
            waiting_for_room: 0,
            is_gone: false,
        };
        Shared {
            intake: Mutex::new(intake),
            owner: Condvar::new(),
            room: Condvar::new(),
            durable: Mutex::new(Durable { mark, ended: None, waiting: 0 }),
            progressed: Condvar::new(),
            durable_mark: AtomicU64::new(mark),
            latest: Mutex::new(None),
            queue_bytes_max,
        }
    }

    fn wake_owner(&self, mut intake: MutexGuard<'_, Intake>) {
        let sleeps = std::mem::replace(&mut intake.owner_sleeps, false);
        drop(intake);
        if sleeps {
            self.owner.notify_one();
        }
    }

    /// Queues a record of about `bytes` and returns its mark.
    pub(super) fn push(
        &self,
        bytes: usize,
        awaited: bool,
        record: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u64, Error> {
        let mut intake = guard(&self.intake);
        Self::check_open(&intake)?;
        let held = intake.records.bytes.len();
        // A large record fits an empty queue whatever the bound.
        if held > 0 && held + bytes > self.queue_bytes_max {
            return Err(Error::Busy);
        }
        intake.records.push(record);
        let mark = intake.next_mark;
        intake.next_mark += 1;
        if awaited {
            intake.awaited = mark;
        }
        self.wake_owner(intake);
        Ok(mark)
    }

    fn check_open(intake: &Intake) -> Result<(), Error> {
        match &intake.state {
            State::Open => Ok(()),
            State::Closing | State::Dropped => Err(Error::Closed),
            State::Failed(reason) => Err(Error::LogFailed { reason: Arc::clone(reason) }),
        }
    }

    pub(super) fn wait_for_room(&self) -> Result<(), Error> {
        let mut intake = guard(&self.intake);
        // Half is free: who waited should not be refused again at once.
        while intake.records.bytes.len() > self.queue_bytes_max / 2 {
            Self::check_open(&intake)?;
            intake.waiting_for_room += 1;
            intake = self.room.wait(intake).unwrap_or_else(PoisonError::into_inner);
            intake.waiting_for_room -= 1;
        }
        Self::check_open(&intake)
    }

    /// Asks the owner for something; false when there is none any more.
    pub(super) fn ask(&self, request: Request) -> bool {
        let mut intake = guard(&self.intake);
        if intake.is_gone || matches!(intake.state, State::Closing | State::Dropped) {
            return false;
        }
        intake.requests.push_back(request);
        self.wake_owner(intake);
        true
    }

    /// The latest snapshot, if nothing was queued since.
    pub(super) fn current_snapshot(&self) -> Option<Snapshot> {
        let last = guard(&self.intake).next_mark - 1;
        guard(&self.latest).as_ref().filter(|snapshot| snapshot.mark() == last).cloned()
    }

    pub(super) fn set_latest(&self, snapshot: Option<Snapshot>) {
        *guard(&self.latest) = snapshot;
    }

    /// Somebody has news for the owner.
    pub(super) fn wake(&self) {
        let mut intake = guard(&self.intake);
        intake.news = true;
        self.wake_owner(intake);
    }

    /// The log write in flight has ended.
    pub(super) fn set_written(&self, written: Written) {
        let mut intake = guard(&self.intake);
        assert!(intake.written.is_none(), "one write is in flight");
        intake.written = Some(written);
        self.wake_owner(intake);
    }

    /// Asks the owner to end.
    pub(super) fn end(&self, state: State) {
        let mut intake = guard(&self.intake);
        intake.state = state;
        // The owner must look even if it holds the reason already.
        intake.news = true;
        self.wake_owner(intake);
    }

    /// Whether records wait to be taken.
    pub(super) fn has_records(&self) -> bool {
        !guard(&self.intake).records.is_empty()
    }

    /// The log write that has ended, if one has.
    pub(super) fn take_written(&self) -> Option<Written> {
        guard(&self.intake).written.take()
    }

    /// Waits until `due` says that there is something to do, or `until`; the owner alone calls this.
    pub(super) fn wait_for_work(
        &self,
        until: Option<Instant>,
        due: impl Fn(&Intake) -> bool,
    ) -> MutexGuard<'_, Intake> {
        let mut intake = guard(&self.intake);
        while !due(&intake) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            intake.owner_sleeps = true;
            intake = match left {
                None => self.owner.wait(intake).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let waited = self.owner.wait_timeout(intake, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            intake.owner_sleeps = false;
        }
        intake
    }

    /// Tells those who wait that the queue was taken.
    pub(super) fn tell_room(&self, intake: MutexGuard<'_, Intake>) {
        let waiting = intake.waiting_for_room > 0;
        drop(intake);
        if waiting {
            self.room.notify_all();
        }
    }

    pub(super) fn durable_mark(&self) -> u64 {
        self.durable_mark.load(Ordering::Acquire)
    }

    /// Everything up to `mark` is durable; the writer of the log says so.
    pub(super) fn set_durable(&self, mark: u64) {
        let mut durable = guard(&self.durable);
        assert!(mark >= durable.mark, "what is durable stays so");
        durable.mark = mark;
        self.durable_mark.store(mark, Ordering::Release);
        let waiting = durable.waiting > 0;
        drop(durable);
        if waiting {
            self.progressed.notify_all();
        }
    }

    /// The log failed: nothing more is taken, and nothing more becomes durable.
    pub(super) fn fail(&self, reason: &Arc<str>) {
        let mut intake = guard(&self.intake);
        intake.state = State::Failed(Arc::clone(reason));
        intake.records.clear();
        drop(intake);
        self.room.notify_all();
        self.set_ended(Ended::Failed(Arc::clone(reason)));
    }

    /// The owner is gone: nothing more becomes durable, and nobody answers.
    pub(super) fn set_gone(&self) {
        let mut intake = guard(&self.intake);
        if matches!(intake.state, State::Open) {
            intake.state = State::Dropped;
        }
        intake.is_gone = true;
        intake.records.clear();
        // Whoever waits for an answer hears that there is none.
        intake.requests.clear();
        drop(intake);
        self.room.notify_all();
        self.set_ended(Ended::Closed);
        self.set_latest(None);
    }

    fn set_ended(&self, ended: Ended) {
        guard(&self.durable).ended.get_or_insert(ended);
        self.progressed.notify_all();
    }

    /// Whether `mark` is durable; an error when it never will be.
    pub(super) fn is_durable(&self, mark: u64) -> Result<bool, Error> {
        if self.durable_mark() >= mark {
            return Ok(true);
        }
        let durable = guard(&self.durable);
        match &durable.ended {
            _ if durable.mark >= mark => Ok(true),
            Some(ended) => Err(ended.error()),
            None => Ok(false),
        }
    }

    /// Waits until `mark` is durable, or `until`; false when it is not by then.
    pub(super) fn wait_durable(&self, mark: u64, until: Option<Instant>) -> Result<bool, Error> {
        if self.durable_mark() >= mark {
            return Ok(true);
        }
        let mut durable = guard(&self.durable);
        loop {
            if durable.mark >= mark {
                return Ok(true);
            }
            if let Some(ended) = &durable.ended {
                return Err(ended.error());
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
            durable.waiting += 1;
            durable = match left {
                None => self.progressed.wait(durable).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let waited = self.progressed.wait_timeout(durable, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            durable.waiting -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut records = Records::default();
        for text in ["", "one", "two words"] {
            records.push(|out| out.extend_from_slice(text.as_bytes()));
        }
        let found: Vec<&[u8]> = records.iter().collect();
        assert_eq!(found, [&b""[..], b"one", b"two words"]);
        records.clear();
        assert!(records.is_empty() && records.iter().next().is_none());
    }

    #[test]
    fn a_full_queue_refuses_and_a_large_record_fits_an_empty_one() {
        let shared = Shared::new(6, 10);
        let push = |bytes: usize| shared.push(bytes, false, |out| out.resize(out.len() + bytes, 7));
        assert_eq!(push(100).unwrap(), 7);
        assert!(matches!(push(1), Err(Error::Busy)));
        shared.wait_for_work(None, |intake| !intake.records.is_empty()).records.clear();
        assert_eq!(push(1).unwrap(), 8);
        shared.wait_for_room().unwrap();
        shared.fail(&Arc::from("burnt"));
        assert!(matches!(push(1), Err(Error::LogFailed { .. })));
        assert!(matches!(shared.wait_for_room(), Err(Error::LogFailed { .. })));
        assert!(matches!(shared.wait_durable(7, None), Err(Error::LogFailed { .. })));
        assert!(shared.wait_durable(6, None).unwrap());
    }
}
