//! The store from outside its thread: clients that write and read, and tickets for what is under way.

use super::error::Error;
use super::intake::{Request, Shared};
use super::{StoreStats, record};
use crate::batch::Batch;
use crate::ingest::{BuiltTables, TableBuilder};
use crate::options::Options;
use crate::snapshot::Snapshot;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// Writes to and reads from a store, from any thread. Clones share the store.
///
/// Batches take effect in the order in which they are handed over, and one that was handed over is seen by every
/// snapshot asked for later. A snapshot may show writes that are not durable yet; [`Client::durable_mark`] says
/// how far the store is.
#[derive(Clone)]
pub struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) options: Arc<Options>,
    pub(super) record_bytes_max: usize,
}

/// A write under way.
#[derive(Clone)]
pub struct Ticket {
    mark: u64,
    shared: Arc<Shared>,
}

impl Ticket {
    /// The place of the batch in the order of all batches.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// Whether the write is durable.
    ///
    /// # Errors
    /// When it never will be: the log failed, or the store was closed or dropped before.
    pub fn poll(&self) -> Result<bool, Error> {
        self.shared.is_durable(self.mark)
    }

    /// Waits until the write is durable, and with it all before it.
    ///
    /// # Errors
    /// As [`Ticket::poll`].
    pub fn wait(&self) -> Result<u64, Error> {
        self.shared.wait_durable(self.mark, None)?;
        Ok(self.mark)
    }

    /// Waits until the write is durable, or so long at most. Says whether it is.
    ///
    /// # Errors
    /// As [`Ticket::poll`].
    pub fn wait_for(&self, time: Duration) -> Result<bool, Error> {
        self.shared.wait_durable(self.mark, Some(Instant::now() + time))
    }
}

impl Client {
    /// Writes a batch, which is empty afterwards, and waits until it is durable. All batches that come while one
    /// write of the log is in flight share the next. Returns the batch's mark.
    ///
    /// # Errors
    /// [`Error::Busy`] when too much waits; when the batch does not fit the store; when the log fails.
    pub fn write(&self, batch: &mut Batch) -> Result<u64, Error> {
        self.submit(batch)?.wait()
    }

    /// Hands over a batch, which is empty afterwards, and returns at once: one thread can have many under way.
    ///
    /// # Errors
    /// [`Error::Busy`] when too much waits; when the batch does not fit the store; when the log has failed. Nothing
    /// of it is written then, and the batch is as it was.
    pub fn submit(&self, batch: &mut Batch) -> Result<Ticket, Error> {
        let mark = self.push(batch, true)?;
        Ok(Ticket { mark, shared: Arc::clone(&self.shared) })
    }

    /// Hands over a batch, which is empty afterwards, and asks for no news: it is seen by readers and becomes durable
    /// within [`crate::store::StoreOptions::relaxed_delay`] and the time of a write, unless the process dies
    /// before. Returns its mark, for [`Client::wait_durable`].
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub fn write_relaxed(&self, batch: &mut Batch) -> Result<u64, Error> {
        self.push(batch, false)
    }

    fn push(&self, batch: &mut Batch, awaited: bool) -> Result<u64, Error> {
        let bytes = record::encoded_bytes_max(batch);
        if bytes > self.record_bytes_max {
            return Err(Error::TooLarge { max: self.record_bytes_max });
        }
        record::check(batch, &self.options)?;
        let mark = self.shared.push(bytes, awaited, |out| record::encode(batch, out))?;
        batch.clear();
        Ok(mark)
    }

    /// Waits until there is room again after [`Error::Busy`].
    ///
    /// # Errors
    /// When the store has ended.
    pub fn wait_for_room(&self) -> Result<(), Error> {
        self.shared.wait_for_room()
    }

    /// Every batch up to this mark is durable.
    #[must_use]
    pub fn durable_mark(&self) -> u64 {
        self.shared.durable_mark()
    }

    /// Waits until everything up to `mark` is durable.
    ///
    /// # Errors
    /// When it never will be.
    pub fn wait_durable(&self, mark: u64) -> Result<(), Error> {
        self.shared.wait_durable(mark, None).map(drop)
    }

    /// A view of the store with everything that was handed over before. While the store can take nothing, say on a
    /// full disk, what still waits is not in it; what was acknowledged always is.
    ///
    /// # Errors
    /// When the store has ended.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        if let Some(snapshot) = self.shared.current_snapshot() {
            return Ok(snapshot);
        }
        let (sender, answer) = sync_channel(1);
        if !self.shared.ask(Request::Snapshot(sender)) {
            return Err(Error::Closed);
        }
        answer.recv().map_err(|_| Error::Closed)
    }

    /// The value of a key, from a snapshot of this moment. May read files.
    ///
    /// # Errors
    /// When the store has ended, or a file is damaged.
    pub fn get(&self, ks: u8, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.snapshot()?.get(ks, key)?)
    }

    /// Asks for what is in memory to be flushed into tables, so that the log can be cut. Returns at once.
    ///
    /// # Errors
    /// When the store has ended.
    pub fn flush(&self) -> Result<(), Error> {
        if self.shared.ask(Request::Flush) { Ok(()) } else { Err(Error::Closed) }
    }

    /// Begins tables of this store, for [`Client::ingest`]. The store cannot be opened again while one lives.
    ///
    /// # Errors
    /// When the store has ended.
    pub fn table_builder(&self) -> Result<TableBuilder, Error> {
        let (sender, answer) = sync_channel(1);
        if !self.shared.ask(Request::TableBuilder(sender)) {
            return Err(Error::Closed);
        }
        answer.recv().map_err(|_| Error::Closed)
    }

    /// Takes tables in, past the log and all of them by one step, and waits until they are durable in the store, which
    /// tries again for as long as a disk fails. What was handed over before is older, what is handed over after this
    /// returns is newer, and in between it is either.
    ///
    /// # Errors
    /// When the tables are another store's, or too many wait already: they are removed then. When the log fails or the
    /// store ends first: they are all in it or none is, as the next snapshot or start shows.
    pub fn ingest(&self, built: BuiltTables) -> Result<(), Error> {
        let (sender, answer) = sync_channel(1);
        if !self.shared.ask(Request::Ingest(built, sender)) {
            return Err(Error::Closed);
        }
        answer.recv().unwrap_or(Err(Error::Closed))
    }

    /// What the store holds and has done.
    ///
    /// # Errors
    /// When the store has ended.
    pub fn stats(&self) -> Result<StoreStats, Error> {
        let (sender, answer) = sync_channel(1);
        if !self.shared.ask(Request::Stats(sender)) {
            return Err(Error::Closed);
        }
        answer.recv().map_err(|_| Error::Closed)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("durable_mark", &self.durable_mark()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("mark", &self.mark).finish_non_exhaustive()
    }
}
