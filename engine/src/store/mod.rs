//! The engine standing alone: a store with a log of its own and many clients.
//!
//! A [`Store`] has one thread, which owns the [`crate::Engine`] and the segmented log of `novax-log` as its
//! write-ahead log. [`Client`]s on any thread hand it batches; all that wait go into one write of the log while
//! the one before is in flight (group commit). Inside the server there is none of this: there the Raft log is
//! the write-ahead log, and the shard owns the engine.
//!
//! Invariants:
//! * what a client was told is durable survives any crash; what comes back after one is exactly the state after some
//!   batch, never a part of one and never with a hole;
//! * everything that waits is bounded, and more is refused with [`Error::Busy`];
//! * memory is bounded by the options also while a long log is read at the start.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use novax_engine::Batch;
//! use novax_engine::store::{Store, StoreOptions};
//! # let options = StoreOptions { segment_bytes: 1 << 20, ..StoreOptions::default() };
//! let store = Store::open(dir.path(), options)?;
//! let client = store.client();
//! let mut batch = Batch::new();
//! batch.put(0, b"station-1", b"available");
//! let mark = client.write(&mut batch)?; // durable now
//! assert_eq!(client.get(0, b"station-1")?, Some(b"available".to_vec()));
//! assert_eq!(store.close()?, mark);
//! # Ok(())
//! # }
//! ```
//!
//! Floors: `mod` | `owner`, `client` | `open`, `writer` | `intake` | `record` | `options`, `error`.

mod client;
mod error;
mod intake;
mod open;
mod options;
mod owner;
mod record;
mod writer;

pub use client::{Client, Ticket};
pub use error::Error;
pub use options::StoreOptions;

use crate::disk::{Disk, RealDisk};
use crate::engine::Stats;
use intake::{Shared, State};
use novax_log::{LogConfig, LogStats, ShardLog};
use open::PARTITION;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

/// What a store holds and has done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// The tables and what is in memory.
    pub engine: Stats,
    /// The log.
    pub log: LogStats,
    /// The mark of the last batch taken.
    pub mark: u64,
    /// Batches up to this one are durable.
    pub durable_mark: u64,
    /// Batches up to this one are in tables.
    pub flushed_mark: u64,
    /// Batches that came from the log when the store was opened.
    pub replayed_entries: u64,
    /// Writes come faster than they are flushed or compacted.
    pub stalled: bool,
    /// Why the last flush or compaction failed, until one succeeds.
    pub last_error: Option<String>,
}

/// A store with a log of its own. Dropping it ends it as a crash would: what was acknowledged is safe, the
/// rest may be lost.
pub struct Store {
    client: Client,
    thread: Option<JoinHandle<Result<u64, Error>>>,
}

impl Store {
    /// Opens the store in `dir`, making it if it is not there, and brings back what was acknowledged. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be used, is open elsewhere, or what is in it is damaged.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Store, Error> {
        Store::open_on(Arc::new(RealDisk), dir, options)
    }

    /// As [`Store::open`], on a given disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: StoreOptions) -> Result<Store, Error> {
        let opened = open::open(&disk, dir, &options)?;
        let options = Arc::new(options);
        let meta = opened.replayed.meta();
        let shared = Arc::new(Shared::new(meta.last.index, options.queue_bytes_max));
        let config = LogConfig {
            segment_bytes: options.segment_bytes,
            direct: options.direct,
            ..LogConfig::for_shard(dir, 0)
        };
        let record_bytes_max = config.group_bytes_max();
        let root = opened.replayed.root();
        root.claim(PARTITION)?;
        let wake = Arc::clone(&shared);
        let wake = Arc::new(move || wake.wake());
        let log = ShardLog::start(config, Arc::clone(root), &[(PARTITION, meta)], wake)?;
        let owner = owner::Owner::new(opened, log, &shared, &options).map_err(Error::Thread)?;
        let thread = owner::start(owner).map_err(Error::Thread)?;
        let engine = Arc::new(options.engine.clone());
        let client = Client { shared, options: engine, record_bytes_max };
        Ok(Store { client, thread: Some(thread) })
    }

    /// A client, for any thread.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Takes nothing more, makes all that was handed over durable, flushes it into tables, and ends. Returns the mark
    /// of the last batch. Opening again has nothing to read from the log then.
    ///
    /// # Errors
    /// When the log had failed, or the last flush fails: what was acknowledged is safe all the same.
    pub fn close(mut self) -> Result<u64, Error> {
        self.end(State::Closing)
    }

    fn end(&mut self, state: State) -> Result<u64, Error> {
        let Some(thread) = self.thread.take() else { return Err(Error::Closed) };
        self.client.shared.end(state);
        thread.join().unwrap_or(Err(Error::Panicked { thread: "store" }))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // What there is to say is said to those who wait.
        drop(self.end(State::Dropped));
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("client", &self.client).finish_non_exhaustive()
    }
}
