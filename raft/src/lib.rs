//! Multi-group Raft over the `raft` crate, and the shard log on disk.
//!
//! One [`MultiRaft`] per shard runs this node's replicas of all partitions of that shard. It is synchronous,
//! and neither writes nor sends: [`MultiRaft::poll_write`] hands out one aligned [`LogWrite`] at a time,
//! holding what all groups have to make durable, and [`MultiRaft::on_written`] takes the news that it is;
//! while one write is in flight the next gathers. [`MultiRaft::take_messages`] gives what may leave for other
//! nodes, [`MultiRaft::step`] takes what comes from them, and [`MultiRaft::take_events`] says what happened.
//! [`recover`] reads the logs of all shards at start-up. Formats: `docs/formats/log.md`,
//! `docs/formats/raft.md`.
//!
//! Invariants:
//! * nothing is committed, answered or sent before the write it rests on is durable;
//! * an acknowledged block is never written again;
//! * what is flushed goes from the log; from memory it goes when no peer may need it, or beyond a bound;
//! * no message of a peer ends the process: what breaks a rule is refused, and counted by kind;
//! * the same inputs make the same history: time, messages and the ends of writes are inputs, chance is a
//!   seed.
//!
//! **A state instead of entries.** A peer that misses entries which are gone is given a state: the leader's
//! caller is asked for a checkpoint ([`Event::SnapshotWanted`]) and names it ([`MultiRaft::offer_snapshot`]);
//! the peer's caller is told ([`Event::SnapshotOffered`]), fetches it, makes it durable beside its present
//! state and says so ([`MultiRaft::snapshot_fetched`]); when the log begins behind it, durably, it is put in
//! ([`Event::SnapshotInstall`]). A process that dies before the last step finds, at its next start, a log
//! whose mark is above its state, and does that step first.
//!
//! Files, from the ground up: `error`, `members` (who takes part), `event` (what is told), `store` (entries
//! in memory), `wire` (messages as bytes), `config`, `reads`, `guard` (what peers may say), `group` (one Raft
//! group), `multi` (all of them). The log is that of `novax-log`; what a shard needs of it is named here
//! again.

mod config;
mod error;
mod event;
pub mod fuzz;
mod group;
mod guard;
mod members;
mod multi;
mod reads;
mod store;
mod wire;

use std::path::Path;

pub use config::{GroupSpec, RaftConfig};
pub use error::{Error, ProposeError, Refused};
pub use event::{
    Committed, Event, PeerState, PeerStatus, ProposalId, ReadId, Role, SnapshotInfo, Status,
};
pub use members::{CHANGES_MAX, Change, MEMBERS_MAX, Members};
pub use multi::{MultiRaft, TICK_MS};
pub use novax_log::{
    Block, Corruption, HardState, LogConfig, LogStats, LogWrite, Recovered, blocking_write,
};
pub use wire::{MESSAGE_BYTES_MAX, MESSAGE_HEADER_BYTES, PeerMessage, partition_of};

/// Reads the logs of all shards under `root`/log, as [`novax_log::recover`] does.
///
/// # Errors
/// When the log is open elsewhere, cannot be read, or contradicts itself.
pub fn recover(root: &Path) -> Result<Recovered, Error> {
    Ok(novax_log::recover(root)?)
}
