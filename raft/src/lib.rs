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
//! * a torn last batch is dropped, everything else that is wrong is a named error;
//! * a segment goes only when all it holds is flushed, and a newer one says so durably.
//!
//! Files, from the ground up: `error`, `block` (aligned memory), `format` (bytes of batches and
//! frames), `batch` (writing them), `scan` (reading a run), `merge` (runs to partitions), `root`
//! (what the shards of a node share), `recover`, `segments` (files made and retired by a thread),
//! `writer` (the log of one shard), `group` (one Raft group), `multi` (all of them).

mod batch;
mod block;
mod error;
mod format;
mod group;
mod merge;
mod multi;
mod recover;
mod root;
mod scan;
mod segments;
mod writer;

pub use block::Block;
pub use error::{Corruption, Error, ProposeError};
pub use merge::HardState;
pub use multi::{Committed, MultiRaft, PeerMessage};
pub use recover::{Recovered, recover};
pub use writer::{LogConfig, LogStats, LogWrite, blocking_write};
