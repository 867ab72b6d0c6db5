//! The scrubber: reads every file of a store that serves, slowly and again and again, so that a disk that rots is
//! found out while a replica can still help.
//!
//! Invariants: it reads past every cache, what memory holds proves nothing; over any length of time it reads at most
//! its budget and one file more; one file is in flight at most; it writes nothing.

use super::survey::LostRange;
use super::view::{self, View};
use crate::blob::BlobFile;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::Error;
use crate::table::{Table, TableContext};
use crate::version::Version;
use crate::worker::{Priority, Refused};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// What one look at the clock may add to the budget: a thread that slept for a day does not catch up at once.
const CREDIT_MAX: Duration = Duration::from_secs(1);

/// How far a pass has come. To be kept by the owner across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubPosition {
    /// The number of the file looked at last; 0 at the start of a pass. Numbers are never used twice.
    pub file: u64,
}

/// A damaged block, or a file that cannot be read at all.
#[derive(Debug)]
pub struct ScrubFinding {
    /// Names the file, the place in it, and the keys.
    pub error: Error,
    /// The keys that cannot be read, where they are known.
    pub lost: Option<LostRange>,
}

/// What a scrubber has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubStats {
    /// Tables and value files read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Passes over the whole store.
    pub passes: u64,
    /// Findings; the same again in each pass.
    pub findings: u64,
}

/// A file to be read.
#[derive(Clone)]
enum Scrubbed {
    Table(Arc<Table>),
    Values(Arc<BlobFile>),
}

impl Scrubbed {
    fn number(&self) -> u64 {
        match self {
            Scrubbed::Table(table) => table.meta().number,
            Scrubbed::Values(file) => file.meta().number,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Scrubbed::Table(table) => table.meta().bytes,
            Scrubbed::Values(file) => file.meta().bytes,
        }
    }

    /// Reads it anew. The handle that the store uses is held meanwhile, so that the file stays.
    fn check(&self, context: Arc<TableContext>) -> Checked {
        let problems = match self {
            Scrubbed::Table(table) => Table::new(table.meta().clone(), context).check().problems,
            Scrubbed::Values(file) => BlobFile::new(*file.meta(), context).check().1,
        };
        let finding = |error| ScrubFinding { lost: LostRange::of(&error), error };
        Checked { bytes: self.bytes(), findings: problems.into_iter().map(finding).collect() }
    }
}

/// A file that was read.
struct Checked {
    bytes: u64,
    findings: Vec<ScrubFinding>,
}

/// Called on the owner's thread for each finding.
type OnFinding = Box<dyn FnMut(&ScrubFinding) + Send>;

/// Scrubs one store. Belongs to the engine's thread; the reading is done by its worker.
pub struct Scrubber {
    bytes_per_s: u64,
    pause: Duration,
    position: ScrubPosition,
    in_flight: Option<Receiver<Checked>>,
    /// May be read now; below zero after a table bigger than that.
    credit_bytes: i64,
    looked_at: Option<Instant>,
    /// The next pass does not begin before.
    resume_at: Option<Instant>,
    on_finding: OnFinding,
    stats: ScrubStats,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber")
            .field("position", &self.position)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl Scrubber {
    /// A scrubber that reads `bytes_per_s`, waits for `pause` after each pass, and goes on behind
    /// `position`. `on_finding` hears of all that is damaged.
    ///
    /// # Panics
    /// When `bytes_per_s` is 0: that scrubber would never read.
    #[must_use]
    pub fn new(
        bytes_per_s: u64,
        pause: Duration,
        position: ScrubPosition,
        on_finding: OnFinding,
    ) -> Scrubber {
        assert!(bytes_per_s > 0, "a scrubber without a budget never reads");
        Scrubber {
            bytes_per_s,
            pause,
            position,
            in_flight: None,
            credit_bytes: 1,
            looked_at: None,
            resume_at: None,
            on_finding,
            stats: ScrubStats::default(),
        }
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> ScrubStats {
        self.stats
    }

    /// Where to go on after a restart.
    #[must_use]
    pub fn position(&self) -> ScrubPosition {
        self.position
    }

    /// True while the worker reads a table.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Takes in what was read and has the next table read when the budget allows. Cheap; call it about as
    /// often as [`Engine::poll`].
    ///
    /// # Errors
    /// When the worker has stopped.
    pub fn poll(&mut self, engine: &Engine, now: Instant) -> Result<(), Error> {
        self.earn(now);
        if let Some(reading) = &self.in_flight {
            match reading.try_recv() {
                Ok(checked) => self.take(&checked),
                Err(TryRecvError::Empty) => return Ok(()),
                // The job panicked, or the worker dropped it: the table is read in the next pass.
                Err(TryRecvError::Disconnected) => self.in_flight = None,
            }
        }
        if self.credit_bytes <= 0 || self.resume_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        self.resume_at = None;
        match next_file(engine.version(), self.position) {
            Some(file) => self.start(engine, file),
            None => {
                self.position = ScrubPosition::default();
                self.stats.passes += 1;
                self.resume_at = Some(now + self.pause);
                Ok(())
            }
        }
    }

    fn earn(&mut self, now: Instant) {
        let since = self.looked_at.replace(now).map(|before| now.saturating_duration_since(before));
        let since_us = since.unwrap_or_default().min(CREDIT_MAX).as_micros();
        let earned = u128::from(self.bytes_per_s) * since_us / 1_000_000;
        let earned = i64::try_from(earned).unwrap_or(i64::MAX);
        let credit_max = i64::try_from(self.bytes_per_s).unwrap_or(i64::MAX);
        self.credit_bytes = self.credit_bytes.saturating_add(earned).min(credit_max);
    }

    fn take(&mut self, checked: &Checked) {
        self.in_flight = None;
        self.stats.files += 1;
        self.stats.bytes += checked.bytes;
        for finding in &checked.findings {
            self.stats.findings += 1;
            (self.on_finding)(finding);
        }
    }

    fn start(&mut self, engine: &Engine, file: Scrubbed) -> Result<(), Error> {
        let (number, bytes) = (file.number(), file.bytes());
        assert!(number > self.position.file, "a pass goes forward");
        let store = engine.context();
        let context = view::context(&store.disk, store.dir());
        let (sender, reading) = sync_channel(1);
        let job = Box::new(move || {
            // A panic would be a bug of this crate; the thread is worth more than the finding.
            let checked = catch_unwind(AssertUnwindSafe(|| file.check(context)));
            if let Ok(checked) = checked {
                // The scrubber may be gone.
                drop(sender.send(checked));
            }
        });
        match engine.worker().submit(Priority::Background, job) {
            Ok(()) => {}
            // It has enough to do: another time.
            Err(Refused::Full) => return Ok(()),
            Err(Refused::Stopped) => return Err(Error::WorkerStopped),
        }
        self.in_flight = Some(reading);
        self.position = ScrubPosition { file: number };
        self.credit_bytes =
            self.credit_bytes.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        Ok(())
    }
}

/// The file with the lowest number past `position`.
fn next_file(version: &Version, position: ScrubPosition) -> Option<Scrubbed> {
    let tables = version.tables().cloned().map(Scrubbed::Table);
    let values = version.blobs().values().cloned().map(Scrubbed::Values);
    let ahead = tables.chain(values).filter(|file| file.number() > position.file);
    ahead.min_by_key(Scrubbed::number)
}

/// Reads every file of the store in `dir` once, at `bytes_per_s`; `wait` is called for the time in between. The store
/// may be open: files that leave it meanwhile are passed over.
///
/// # Errors
/// When the manifest is missing or damaged.
pub fn scrub_store(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    bytes_per_s: u64,
    wait: &mut dyn FnMut(Duration),
    on_finding: &mut dyn FnMut(ScrubFinding),
) -> Result<ScrubStats, Error> {
    assert!(bytes_per_s > 0, "a scrub without a budget never ends");
    let mut stats = ScrubStats::default();
    let view = View::open(disk, dir)?;
    let tables = view.tables.into_iter().map(|placed| Scrubbed::Table(placed.table));
    for file in tables.chain(view.blobs.into_values().map(Scrubbed::Values)) {
        let checked = file.check(view::context(disk, dir));
        stats.files += 1;
        stats.bytes += checked.bytes;
        let damaged = !checked.findings.is_empty();
        if damaged && View::open(disk, dir)?.names(file.number()) {
            stats.findings += checked.findings.len() as u64;
            checked.findings.into_iter().for_each(&mut *on_finding);
        }
        wait(Duration::from_micros(checked.bytes.saturating_mul(1_000_000) / bytes_per_s));
    }
    stats.passes = 1;
    Ok(stats)
}
