//! What goes wrong with the tools of a test, as opposed to what is wrong with the node.
//!
//! **Invariant.** A run in which one of these came up is never a pass.

use std::io;

/// A failure of the test itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// A file, socket or process of the test's own failed: the machine's fault, or the test's.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// A tool said no: it is not installed as it must be, or the test calls it wrongly.
    #[error("{command} failed: {said}")]
    Tool {
        /// The command line.
        command: String,
        /// Its error output.
        said: String,
    },
    /// A tool did not end in time: the machine is overloaded, or a file system hangs.
    #[error("{command} did not end within {limit_s} s")]
    TooSlow {
        /// The command line.
        command: String,
        /// How long it was waited for.
        limit_s: u64,
    },
    /// The node under test did not do what every run needs before it can begin: perhaps its fault, but
    /// nothing was tested.
    #[error("the scene cannot be set: {0}")]
    Scene(String),
    /// What a history can hold is full: the run was planned too long.
    #[error("the history holds {0} lines, and no more")]
    HistoryFull(u64),
    /// A line of a kept history is none: the file was changed, or is of another version.
    #[error("line {line} of the history is not one: {why}")]
    HistoryLine {
        /// Which, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// Names what was being done when the system said no.
pub(crate) trait Doing<T> {
    /// With these words.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, HarnessError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, HarnessError> {
        self.map_err(|error| HarnessError::Io { what: what(), error })
    }
}
