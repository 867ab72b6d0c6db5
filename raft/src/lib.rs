//! Multi-group Raft over the `raft` crate, and the shard log on disk.
//!
//! One [`MultiRaft`] per shard runs the Raft groups of all partitions of that shard. It is
//! synchronous and never writes: [`MultiRaft::poll_write`] hands out one aligned [`LogWrite`] at a
//! time, holding what all groups have to make durable, and [`MultiRaft::on_written`] takes the
//! news that it is. While one write is in flight the next gathers. [`recover`] reads the logs of
//! all shards at start-up; the format is in `docs/formats/log.md`.
//!
//! Invariants:
//! * nothing is committed, answered or sent before the write it rests on is durable;
//! * an acknowledged block is never written again;
//! * what is flushed goes from memory and log, and nothing else does.
//!
//! Files, from the ground up: `error`, `wire` (messages as bytes), `group` (one Raft group), `multi` (all of them). The log is that of
//! `novax-log`; what a shard needs of it is named here again.

mod error;
mod group;
mod multi;
mod wire;

use std::path::Path;

pub use error::{BadMessage, Error, ProposeError};
pub use multi::{Committed, GroupSpec, MultiRaft, PeerMessage};
pub use novax_log::{
    Block, Corruption, HardState, LogConfig, LogStats, LogWrite, Recovered, blocking_write,
};
pub use wire::partition_of;

/// Reads the logs of all shards under `root`/log, as [`novax_log::recover`] does.
///
/// # Errors
/// When the log is open elsewhere, cannot be read, or contradicts itself.
pub fn recover(root: &Path) -> Result<Recovered, Error> {
    Ok(novax_log::recover(root)?)
}
