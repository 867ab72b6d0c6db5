//! Opening: the tables as of the last flush, then the log from there, in bounded memory.
//!
//! One thread reads and checks the log; one parses and sorts what it finds, a chunk at a time, since a sorted chunk goes
//! into memory in a fraction of the time; this one puts it there, and the worker flushes it as it does while the
//! store is in use.

use super::error::Error;
use super::intake::Records;
use super::options::StoreOptions;
use super::record::{self, Record};
use crate::batch::{Batch, Change};
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
/// Records handed on at a time: so many bytes, or a quarter of the memtable if that is less.
const CHUNK_BYTES_MAX: usize = 16 << 20;
/// Chunks that wait between two threads.
const CHUNKS_WAITING_MAX: usize = 1;
/// How long to wait for the worker before looking again, should a failed flush be due once more.
const WORKER_PATIENCE: Duration = Duration::from_millis(100);

/// The folder of the tables in that of the store; the log has its own beside it.
pub(super) fn engine_dir(dir: &Path) -> std::path::PathBuf {
    dir.join("engine")
}

/// Records of the log in a row.
struct Chunk {
    /// The mark of the first.
    first: u64,
    records: Records,
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
    let chunk_bytes = CHUNK_BYTES_MAX.min(options.engine.memtable_bytes_max / 4);
    let (chunks, read) = sync_channel(CHUNKS_WAITING_MAX);
    let (batches, sorted) = sync_channel(CHUNKS_WAITING_MAX);
    let reader = spawn("novax-log-read", {
        let (disk, dir) = (Arc::clone(disk), dir.to_path_buf());
        move || read_log(disk, &dir, applied, chunk_bytes, &chunks)
    })?;
    let sorter = spawn("novax-log-sort", {
        let options = options.engine.clone();
        move || sort_all(&read, &options, &batches)
    })?;
    let taken = take_all(&mut engine, &sorted, &news);
    // Who reads and sorts ends when nobody takes any more, and each says why it did.
    drop(sorted);
    let sorted = sorter.join().unwrap_or(Err(Error::Panicked { thread: "log sorting" }));
    let read = reader.join().unwrap_or(Err(Error::Panicked { thread: "log reading" }));
    taken?;
    sorted?;
    let replayed = read?;
    let GroupMeta { last, .. } = replayed.meta();
    assert_eq!(engine.mark(), last.index, "all of the log was taken");
    Ok(Opened { engine, worker, replayed, entries: last.index - applied })
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<JoinHandle<Result<T, Error>>, Error> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(Error::Thread)
}

fn read_log(
    disk: Arc<dyn Disk>,
    dir: &Path,
    applied: u64,
    chunk_bytes: usize,
    chunks: &SyncSender<Chunk>,
) -> Result<Replayed, Error> {
    let mut chunk = Chunk { first: applied + 1, records: Records::default() };
    let replayed = replay(disk, dir, PARTITION, applied, |mark, data| {
        chunk.records.push(|out| out.extend_from_slice(data));
        if chunk.records.bytes() < chunk_bytes {
            return ControlFlow::Continue(());
        }
        let next = Chunk { first: mark + 1, records: Records::default() };
        match chunks.send(std::mem::replace(&mut chunk, next)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    if !chunk.records.is_empty() && chunks.send(chunk).is_err() {
        return Err(novax_log::Error::Stopped.into());
    }
    Ok(replayed)
}

/// Makes one batch of each chunk.
fn sort_all(
    read: &Receiver<Chunk>,
    options: &Options,
    batches: &SyncSender<Batch>,
) -> Result<(), Error> {
    for chunk in read {
        if batches.send(sort(&chunk, options)?).is_err() {
            return Err(novax_log::Error::Stopped.into());
        }
    }
    Ok(())
}

/// A change and its place: sorted by key, then by the order in which they came.
struct Placed<'a> {
    keyspace: u8,
    /// The first bytes of the key, so that few comparisons look at the rest.
    head: u64,
    key: &'a [u8],
    number: usize,
    change: Change<'a>,
}

/// One batch of all changes in a chunk: in the order of keys where each stands for itself, and only the last of each
/// key; as they came where one depends on others.
fn sort(chunk: &Chunk, options: &Options) -> Result<Batch, Error> {
    let (mut placed, mut batch) = (Vec::new(), Batch::new());
    let (mut mark, mut is_plain) = (chunk.first, true);
    for bytes in chunk.records.iter() {
        let bad = |what| Error::BadRecord { mark, what };
        let mut record = Record::open(bytes).map_err(bad)?;
        if let Some(time_s) = record.time_s {
            batch.set_time_s(batch.time_s.unwrap_or(0).max(time_s));
        }
        while let Some((keyspace, change)) = record.next(options).map_err(bad)? {
            let key = match change {
                Change::Put { key, .. } | Change::Delete { key } => key,
                Change::DeleteRange { from: key, .. } | Change::Merge { key, .. } => {
                    is_plain = false;
                    key
                }
            };
            placed.push(Placed { keyspace, head: head(key), key, number: placed.len(), change });
        }
        mark += 1;
    }
    if is_plain {
        placed.sort_unstable_by(|a, b| {
            let order = (a.keyspace, a.head).cmp(&(b.keyspace, b.head));
            order.then_with(|| a.key.cmp(b.key)).then_with(|| a.number.cmp(&b.number))
        });
    }
    let mut all = placed.iter().peekable();
    while let Some(one) = all.next() {
        let same = |next: &&Placed<'_>| (next.keyspace, next.key) == (one.keyspace, one.key);
        if !is_plain || !all.peek().is_some_and(same) {
            record::push(&mut batch, one.keyspace, &one.change);
        }
    }
    batch.set_mark(mark - 1);
    Ok(batch)
}

fn head(key: &[u8]) -> u64 {
    let mut head = [0; 8];
    let bytes = key.len().min(8);
    head[..bytes].copy_from_slice(&key[..bytes]);
    u64::from_be_bytes(head)
}

fn take_all(
    engine: &mut Engine,
    sorted: &Receiver<Batch>,
    news: &Receiver<()>,
) -> Result<(), Error> {
    for mut batch in sorted {
        engine.write(&mut batch);
        // A disk that cannot be written is an error here: memory must not grow beyond its bound.
        while engine.poll()?.stalled {
            let _ = news.recv_timeout(WORKER_PATIENCE);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(batches: &[Batch]) -> Chunk {
        let mut records = Records::default();
        batches.iter().for_each(|batch| records.push(|out| record::encode(batch, out)));
        Chunk { first: 11, records }
    }

    fn batch(fill: impl FnOnce(&mut Batch)) -> Batch {
        let mut batch = Batch::new();
        fill(&mut batch);
        batch
    }

    fn changes(batch: &Batch) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let show = |(keyspace, change): (u8, Change<'_>)| match change {
            Change::Put { key, value, .. } => format!("{keyspace} {}={}", text(key), text(value)),
            Change::Delete { key } => format!("{keyspace} -{}", text(key)),
            other => format!("{keyspace} {other:?}"),
        };
        batch.changes().map(show).collect()
    }

    #[test]
    fn plain_changes_are_sorted_and_the_last_of_each_key_stays() {
        let chunk = chunk(&[
            batch(|b| {
                b.put(1, b"long key b", b"1");
                b.put(0, b"z", b"1");
                b.set_time_s(7);
            }),
            batch(|b| b.delete(0, b"z")),
            batch(|b| {
                b.put(1, b"long key a", b"2");
                b.put(1, b"long key b", b"3");
                b.put(1, b"long key b", b"4");
                b.set_time_s(5);
            }),
        ]);
        let sorted = sort(&chunk, &Options::default()).unwrap();
        assert_eq!(changes(&sorted), ["0 -z", "1 long key a=2", "1 long key b=4"]);
        assert_eq!((sorted.mark, sorted.time_s), (Some(13), Some(7)));
    }

    #[test]
    fn changes_that_depend_on_others_stay_as_they_came() {
        let chunk = chunk(&[
            batch(|b| b.put(0, b"b", b"1")),
            batch(|b| b.delete_range(0, b"a", b"c")),
            batch(|b| b.put(0, b"b", b"2")),
        ]);
        let sorted = sort(&chunk, &Options::default()).unwrap();
        assert_eq!(sorted.len(), 3);
        assert_eq!([&changes(&sorted)[0], &changes(&sorted)[2]], ["0 b=1", "0 b=2"]);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named_by_its_mark() {
        let mut chunk = chunk(&[batch(|b| b.put(0, b"b", b"1"))]);
        chunk.records.push(|out| out.push(9));
        let error = sort(&chunk, &Options::default()).unwrap_err();
        assert!(matches!(error, Error::BadRecord { mark: 12, .. }), "{error}");
    }
}
