//! A whole hub in one thread: the real shards, Raft, ledger, stores, logs and codecs under a simulated clock, on a
//! simulated disk, with simulated stations, drivers and a payment provider, all from one seed.
//!
//! A failing seed fails again, event by event: `cargo xtask sim --seed N`.
//!
//! A run has two phases. First the power goes at any operation of the disk, stations misbehave, messages are late,
//! lost and doubled. Then nothing goes wrong any more, and all must come to rest. Along the way and at the end:
//!
//! * nothing that was acknowledged is lost or doubled, and nothing is made up;
//! * after each loss of power, what is on the disk makes the same state at the same entry;
//! * energy billed is energy delivered; money is conserved, to the cent.
//!
//! From the ground up: `agenda` (what is to come), `truth` (what really happened), `station`, `provider`, `client`
//! (who is around the hub), `node` (the hub), `checker`, `plan` (a seed's world), `world` (all of it).

pub mod agenda;
pub mod checker;
pub mod client;
pub mod node;
pub mod plan;
pub mod provider;
pub mod station;
pub mod truth;
pub mod world;

/// Findings shown of a run; the first ones tell the most.
const SHOWN_MAX: usize = 12;

/// Why a run is no success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// The hub did not keep these promises: its fault.
    #[error("{} broken promises:\n{}", .0.len(), .0[..SHOWN_MAX.min(.0.len())].join("\n"))]
    Promises(Vec<String>),
    /// The run itself does not work: the simulator's fault, and no verdict about the hub.
    #[error("the run is broken: {0}")]
    Broken(String),
    /// The log refuses what is on the disk: the hub's fault, unless bits rotted.
    #[error("the log: {0}")]
    Log(#[from] novax_log::Error),
    /// Raft refuses it.
    #[error("raft: {0}")]
    Raft(#[from] novax_raft::Error),
    /// A store refuses it.
    #[error("a store: {0}")]
    Store(#[from] novax_engine::Error),
}

impl WorldError {
    /// One promise that was not kept.
    #[must_use]
    pub fn promise(text: &str) -> WorldError {
        WorldError::Promises(vec![text.to_owned()])
    }
}
