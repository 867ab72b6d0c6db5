//! What happened in a run, as the stations and the one who killed the node saw it.
//!
//! A *try* is written before its request is sent, an *acknowledged* thing after its answer came: a
//! crash between the two leaves the try alone, and both outcomes are right then.

use crate::station::now_ms;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Mutex;

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Event {
    /// A station will be told to charge this driver.
    Station {
        /// Its identity.
        station: String,
        /// Who charges there, and nowhere else.
        driver: String,
        /// What was paid into the wallet, in minor units.
        paid_in: u64,
    },
    /// A start is about to be told to the hub, perhaps again.
    TryStart {
        /// Where.
        station: String,
        /// By the station's clock: unique at the station.
        at: String,
        /// Register.
        meter_start: i64,
    },
    /// The hub answered a start.
    Started {
        /// Where.
        station: String,
        /// As in the try.
        at: String,
        /// As in the try.
        meter_start: i64,
        /// The transaction's name.
        transaction: String,
        /// What it said of the token.
        status: String,
    },
    /// The hub answered an app's request with a session.
    AppAccepted {
        /// Where.
        station: String,
        /// The request's key.
        key: String,
        /// The session.
        session: String,
    },
    /// The hub told the station to start for an app.
    RemoteStart {
        /// Where.
        station: String,
        /// The session that was asked for.
        session: String,
        /// When the transaction it leads to begins.
        at: String,
    },
    /// The hub answered meter values: they are kept.
    Metered {
        /// Where.
        station: String,
        /// When.
        at: String,
        /// Register.
        register: i64,
    },
    /// The hub answered a stop.
    Stopped {
        /// Where.
        station: String,
        /// Of which transaction.
        transaction: String,
        /// Register.
        meter_stop: i64,
    },
    /// The station ends the run with this transaction running.
    LeftRunning {
        /// Where.
        station: String,
        /// Which.
        transaction: String,
    },
    /// The node was killed.
    Killed {
        /// The how manieth time.
        number: u32,
    },
    /// It was ready again.
    Ready {
        /// After which kill.
        number: u32,
        /// How long it took.
        after_ms: u64,
    },
    /// Something happened that must not, seen while it happened.
    Wrong {
        /// Where.
        station: String,
        /// What.
        text: String,
    },
}

/// A line with the time it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// A history that many threads write, kept in a file as it grows.
#[derive(Debug)]
pub struct Journal(Mutex<(File, Vec<Line>)>);

impl Journal {
    /// A new one.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> io::Result<Journal> {
        Ok(Journal(Mutex::new((File::create_new(path)?, Vec::new()))))
    }

    /// Writes a line.
    ///
    /// # Panics
    /// When it cannot be written: a run without its evidence is no run.
    pub fn note(&self, event: Event) {
        let line = Line { at_ms: now_ms(), event };
        let mut text = serde_json::to_string(&line).expect("plain data");
        text.push('\n');
        let mut inner = self.0.lock().expect("no thread panics while it writes");
        inner.0.write_all(text.as_bytes()).expect("the history can be written");
        inner.1.push(line);
    }

    /// All lines so far.
    ///
    /// # Panics
    /// When a writing thread has panicked.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().expect("no thread panics while it writes").1.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back_from_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("history.jsonl");
        let journal = Journal::create(&path).expect("made");
        journal.note(Event::Killed { number: 3 });
        journal.note(Event::Metered { station: "s".into(), at: "t".into(), register: 5 });
        let text = std::fs::read_to_string(&path).expect("written");
        let read: Vec<Line> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(read, journal.lines());
        assert!(Journal::create(&path).is_err(), "evidence is not written over");
    }
}
