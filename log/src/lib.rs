//! The segmented log of a shard, and the seam to the file system that log and store share.
//!
//! A log holds frames of *groups*: each group is one history of numbered entries (a partition), beside which
//! the log keeps a hard state and a mark up to which entries are flushed elsewhere. The log knows nothing of what
//! the entries mean, nor of who agreed on them. [`ShardLog`] gathers the frames of all groups into
//! batches and hands out one aligned [`LogWrite`] at a time; while one is in flight the next gathers. [`recover`]
//! reads the logs of all shards of a node; [`replay`] reads a log of one group entry by entry,
//! in bounded memory. The format is in `docs/formats/log.md`.
//!
//! Invariants:
//! * one write is in flight, and no block that was acknowledged is ever written again;
//! * a torn last batch is dropped, everything else that is wrong is a named error;
//! * a segment goes only when all it holds is flushed, and a newer one says so durably;
//! * all that touches a file goes through [`Disk`], so that everything runs on [`sim::SimDisk`] too.
//!
//! Files, from the ground up: `block` (aligned memory), `disk` (the file system), `sim` (one in memory, with the
//! faults of real ones), `error`, `merge` (frames to groups), `format` (bytes of batches and frames),
//! `batch` (writing them), `scan` (reading a run), `root` (what the shards of a node share), `recover`, `check`,
//! `replay`, `segments` (files made and retired by a thread), `writer` (the log of one shard), `fuzz` (foreign bytes
//! through all that reads).

mod batch;
mod block;
mod check;
mod disk;
mod error;
mod format;
pub mod fuzz;
mod merge;
mod recover;
mod replay;
mod root;
mod scan;
mod segments;
pub mod sim;
mod writer;

pub use block::{BLOCK_BYTES, Block};
pub use check::{CheckedGroup, check};
pub use disk::{Disk, DiskLock, DiskRead, DiskSegment, DiskWrite, RealDisk, read_all};
pub use error::{Corruption, Error};
pub use merge::{EntryKind, Frame, GroupMeta, HardState, LoggedEntry, PartitionLog, Position};
pub use recover::{Recovered, recover, recover_on};
pub use replay::{Replayed, replay};
pub use root::LogRoot;
pub use segments::Wake;
pub use writer::{Gather, LogConfig, LogStats, LogWrite, ShardLog, blocking_write};
