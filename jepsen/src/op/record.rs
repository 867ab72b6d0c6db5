//! Writes a history while it happens.
//!
//! **Invariants**
//! * A line is in both files before whoever wrote it goes on: a harness that is killed leaves all but a torn
//!   last line. Nothing of the history is kept in memory.
//! * A call that nobody ends, because its thread panicked, ends as not known.
//! * A lane calls one thing at a time, and goes on as another process after what is not known.

use super::{Kind, Op, Process, Value};
use crate::harness::{Doing as _, HarnessError};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Lanes of a run at most.
pub const LANES_MAX: usize = 1_000;

/// A history that many threads write.
#[derive(Debug)]
pub struct Recorder {
    begun: Instant,
    lines_max: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    edn: File,
    json: File,
    lines: u64,
    lanes: Vec<Lane>,
    /// The first thing that went wrong with the files.
    broken: Option<HarnessError>,
}

#[derive(Debug, Clone, Copy)]
struct Lane {
    process: u64,
    busy: bool,
}

/// A call that has begun. Dropped, it ends as not known.
#[derive(Debug)]
#[must_use]
pub struct Open<'a> {
    recorder: &'a Recorder,
    lane: usize,
    f: String,
    argument: Value,
    ended: bool,
}

impl Recorder {
    /// Begins a history of so many lanes in `history.edn` and `history.jsonl` of a folder.
    ///
    /// # Errors
    /// When the files cannot be made, or are there: evidence is not written over.
    ///
    /// # Panics
    /// When there are more lanes than [`LANES_MAX`].
    pub fn create(folder: &Path, lanes: usize, lines_max: u64) -> Result<Recorder, HarnessError> {
        assert!(lanes <= LANES_MAX, "{lanes} lanes");
        let make = |name: &str| {
            let path = folder.join(name);
            File::create_new(&path).doing(|| format!("making {}", path.display()))
        };
        let process = |lane: usize| u64::try_from(lane).unwrap_or(u64::MAX);
        let lanes = (0..lanes).map(|lane| Lane { process: process(lane), busy: false }).collect();
        let inner = Inner {
            edn: make("history.edn")?,
            json: make("history.jsonl")?,
            lines: 0,
            lanes,
            broken: None,
        };
        Ok(Recorder { begun: Instant::now(), lines_max, inner: Mutex::new(inner) })
    }

    /// A lane begins a call.
    ///
    /// # Errors
    /// When the history is full.
    ///
    /// # Panics
    /// When the lane is not there, or is at another call: a mistake of the caller.
    pub fn invoke(&self, lane: usize, f: &str, argument: Value) -> Result<Open<'_>, HarnessError> {
        let mut inner = self.lock();
        // Every call that has begun must be able to end.
        let busy = inner.lanes.iter().filter(|lane| lane.busy).count();
        if inner.lines + u64::try_from(busy).unwrap_or(u64::MAX) + 2 > self.lines_max {
            return Err(HarnessError::HistoryFull(self.lines_max));
        }
        let state = inner.lanes.get_mut(lane).expect("a lane of this recorder");
        assert!(!state.busy, "lane {lane} calls twice at once");
        state.busy = true;
        let process = Process::Client(state.process);
        self.write(&mut inner, process, Kind::Invoke, f, argument.clone(), None);
        Ok(Open { recorder: self, lane, f: f.to_owned(), argument, ended: false })
    }

    /// The nemesis did something.
    pub fn nemesis(&self, f: &str, value: Value) {
        let mut inner = self.lock();
        self.write(&mut inner, Process::Nemesis, Kind::Info, f, value, None);
    }

    /// Since the beginning.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// How many lines there are.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lock().lines
    }

    /// Ends the history.
    ///
    /// # Errors
    /// When a line of it could not be written.
    pub fn finish(self) -> Result<(), HarnessError> {
        let inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        match inner.broken {
            Some(error) => Err(error),
            None => inner.json.sync_all().doing(|| "syncing the history".to_owned()),
        }
    }

    /// A thread that panics while it writes leaves whole lines or a torn last one: both can be read.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(
        &self,
        inner: &mut Inner,
        process: Process,
        kind: Kind,
        f: &str,
        value: Value,
        error: Option<String>,
    ) {
        let (index, time_ns) = (inner.lines, self.now_ns());
        let op = Op { index, time_ns, kind, process, f: f.to_owned(), value, error };
        let edn = format!("{op}\n");
        let mut json = serde_json::to_string(&op).expect("plain data");
        json.push('\n');
        inner.lines += 1;
        let written = inner
            .edn
            .write_all(edn.as_bytes())
            .and_then(|()| inner.json.write_all(json.as_bytes()));
        if let Err(error) = written
            && inner.broken.is_none()
        {
            let what = "writing the history".to_owned();
            inner.broken = Some(HarnessError::Io { what, error });
        }
    }

    fn end(&self, lane: usize, kind: Kind, f: &str, value: Value, error: Option<String>) {
        let mut inner = self.lock();
        let lanes = u64::try_from(inner.lanes.len()).unwrap_or(u64::MAX);
        let Some(state) = inner.lanes.get_mut(lane) else { return };
        let process = Process::Client(state.process);
        state.busy = false;
        if kind == Kind::Info {
            state.process += lanes;
        }
        self.write(&mut inner, process, kind, f, value, error);
    }
}

impl Open<'_> {
    /// It was done.
    pub fn ok(mut self, value: Value) {
        self.end(Kind::Ok, value, None);
    }

    /// It certainly was not done.
    pub fn fail(mut self, error: impl Into<String>) {
        let argument = self.argument.clone();
        self.end(Kind::Fail, argument, Some(error.into()));
    }

    /// Nothing is known.
    pub fn unknown(mut self, error: impl Into<String>) {
        let argument = self.argument.clone();
        self.end(Kind::Info, argument, Some(error.into()));
    }

    fn end(&mut self, kind: Kind, value: Value, error: Option<String>) {
        self.ended = true;
        self.recorder.end(self.lane, kind, &self.f, value, error);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let argument = self.argument.clone();
            self.end(Kind::Info, argument, Some("the client was gone".to_owned()));
        }
    }
}
