//! The toolbox of faults: what can be broken around a node that runs, each by itself.
//!
//! From the bottom up:
//!
//! * `shell`: a tool of the system, with a time limit; [`tag`]: names by which leftovers are found and swept
//! * [`grudge`]: who does not hear whom; pure
//! * [`net`]: nodes in network namespaces of their own, and what can be done to the cables between them
//! * [`proxy`]: a cable that is slow, on purpose
//! * [`process`]: signals; [`clock`]: a clock that jumps; [`disk`]: a disk that is full, slow or forgets
//!
//! **Invariants**
//! * What was done to the machine is undone when its owner is dropped, and swept at the next start when the
//!   owner was killed. Nothing of the machine's own network is touched.
//! * A fault says how installing it went: [`Outcome`]. What failed because of the test's tools is a
//!   [`HarnessError`](crate::harness::HarnessError), and never a fault that was installed.

pub mod clock;
pub mod disk;
pub mod grudge;
pub mod net;
pub mod process;
pub mod proxy;
pub(crate) mod shell;
pub mod tag;

use serde::Serialize;

/// How installing or healing a fault went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "detail", rename_all = "snake_case")]
pub enum Outcome {
    /// It is in force, or healed; how exactly.
    Installed(String),
    /// It was not tried, for this reason. It is not in force.
    Skipped(String),
    /// It was tried, and perhaps it is in force. Healing it must be tried.
    Indeterminate(String),
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Installed(_) => "installed",
            Outcome::Skipped(_) => "skipped",
            Outcome::Indeterminate(_) => "indeterminate",
        }
    }

    /// How, or why not.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Outcome::Installed(detail)
            | Outcome::Skipped(detail)
            | Outcome::Indeterminate(detail) => detail,
        }
    }
}

/// Why faults of the machine cannot be installed here, if they cannot.
#[must_use]
pub fn unable() -> Option<&'static str> {
    (!rustix::process::geteuid().is_root()).then_some("faults of the machine need root")
}
