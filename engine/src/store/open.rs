//! Opening: the tables as of the last flush, then the log from there, in bounded memory.
//!
//! One thread reads, checks and parses the log; this one puts what it finds into memory, and the worker flushes it
//! as it does while the store is in use.

use super::error::Error;
use super::intake::Records;
use super::options::StoreOptions;
use super::record;
use crate::batch::Batch;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::options::Options;
use crate::worker::Worker;
use novax_log::{GroupMeta, Replayed, replay};
use novax_model::PartitionId;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The log's only group.
pub(super) const PARTITION: PartitionId = PartitionId(0);
/// The only term: there is one writer.
pub(super) const TERM: u64 = 1;
/// Records handed from the reading thread at a time, and how many of these may wait.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS_WAITING_MAX: usize = 4;
/// How long to wait for the worker before looking again, should a failed flush be due once more.
const WORKER_PATIENCE: Duration = Duration::from_millis(100);

/// The folder of the tables in that of the store; the log has its own beside it.
pub(super) fn engine_dir(dir: &Path) -> std::path::PathBuf {
    dir.join("engine")
}

/// Records of the log in a row.
#[derive(Default)]
struct Chunk {
    records: Records,
    /// Of the last record.
    mark: u64,
}

/// A store that is as it was before it ended, and not running yet.
pub(super) struct Opened {
    pub(super) engine: Engine,
    pub(super) worker: Worker,
    pub(super) replayed: Replayed,
    /// Entries that came from the log.
    pub(super) entries: u64,
}

/// Opens tables and log and brings them together.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &StoreOptions,
) -> Result<Opened, Error> {
    let worker = Worker::start(options.workers).map_err(Error::Thread)?;
    let tables = engine_dir(dir);
    let mut engine = Engine::open_on(Arc::clone(disk), &tables, options.engine.clone(), &worker)?;
    let (sender, news) = sync_channel(1);
    // A full channel holds news enough.
    engine.set_wake(Arc::new(move || {
        let _ = sender.try_send(());
    }));
    let applied = engine.mark();
    let (chunks, inbox) = sync_channel(CHUNKS_WAITING_MAX);
    let reader = read_log(disk, dir, applied, chunks)?;
    let taken = take_all(&mut engine, &inbox, &options.engine, &news);
    // The reader ends when nobody takes any more.
    drop(inbox);
    let read = reader.join().map_err(|_| Error::Panicked { thread: "log reading" })?;
    taken?;
    let replayed = read?;
    let GroupMeta { last, .. } = replayed.meta();
    assert_eq!(engine.mark(), last.index, "all of the log was taken");
    Ok(Opened { engine, worker, replayed, entries: last.index - applied })
}

fn read_log(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    applied: u64,
    chunks: SyncSender<Chunk>,
) -> Result<JoinHandle<Result<Replayed, Error>>, Error> {
    let (disk, dir) = (Arc::clone(disk), dir.to_path_buf());
    let thread = std::thread::Builder::new().name("novax-log-read".to_owned());
    let read = move || {
        let mut chunk = Chunk::default();
        let replayed = replay(disk, &dir, PARTITION, applied, |mark, data| {
            chunk.records.push(|out| out.extend_from_slice(data));
            chunk.mark = mark;
            let full = chunk.records.bytes() >= CHUNK_BYTES;
            if full && chunks.send(std::mem::take(&mut chunk)).is_err() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if !chunk.records.is_empty() && chunks.send(chunk).is_err() {
            return Err(novax_log::Error::Stopped.into());
        }
        Ok(replayed)
    };
    thread.spawn(read).map_err(Error::Thread)
}

fn take_all(
    engine: &mut Engine,
    inbox: &Receiver<Chunk>,
    options: &Options,
    news: &Receiver<()>,
) -> Result<(), Error> {
    let mut batch = Batch::new();
    for chunk in inbox {
        let first = engine.mark() + 1;
        for (mark, record) in (first..).zip(chunk.records.iter()) {
            record::decode(record, options, &mut batch)
                .map_err(|what| Error::BadRecord { mark, what })?;
        }
        batch.set_mark(chunk.mark);
        engine.write(&mut batch);
        // A disk that cannot be written is an error here: memory must not grow beyond its bound.
        while engine.poll()?.stalled {
            let _ = news.recv_timeout(WORKER_PATIENCE);
        }
    }
    Ok(())
}
