//! Opening: the tables as of the last flush, then the log from there, in bounded memory.
//!
//! One thread reads and checks the log; one parses and sorts what it finds, a chunk at a time; the worker writes each
//! sorted chunk as a table, as if it were a memtable that is flushed, which it never was. Only what would make a small
//! table, or where changes depend on others, goes into the memtable, as it does while the store is in use.
//!
//! Nothing is compacted meanwhile, as long as level 0 does not grow so long that writes would be held up by it.
//!
//! Memory: at most four chunks, one with each of the threads, beside a segment of the log and the memtable.

use super::error::Error;
use super::intake::{LENGTH_BYTES, Records};
use super::options::StoreOptions;
use super::record::{self, Record};
use crate::batch::Batch;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::options::Options;
use crate::sorted::{Slot, SortedRun};
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
/// Records handed on at a time: so many bytes, or what a memtable may hold if that is less.
const CHUNK_BYTES_MAX: usize = 64 << 20;
/// Chunks that wait between two threads, beside the one that is to be handed over.
const CHUNKS_WAITING_MAX: usize = 0;
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
    /// There was more in the log.
    is_full: bool,
}

/// A chunk on its way into tables or memory.
enum Piece {
    /// Plain changes: as a run, up to a mark and a time.
    Run { run: SortedRun, mark: u64, time_s: Option<u64>, is_full: bool },
    /// There are changes that depend on others: they are taken as they came.
    AsItCame(Chunk),
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
    engine.hold_compactions(true);
    let chunk_bytes = CHUNK_BYTES_MAX.min(options.engine.memtable_bytes_max);
    let (chunks, read) = sync_channel(CHUNKS_WAITING_MAX);
    let (pieces, sorted) = sync_channel(CHUNKS_WAITING_MAX);
    let reader = spawn("novax-log-read", {
        let (disk, dir) = (Arc::clone(disk), dir.to_path_buf());
        move || read_log(disk, &dir, applied, chunk_bytes, &chunks)
    })?;
    let sorter = spawn("novax-log-sort", {
        let options = options.engine.clone();
        move || sort_all(&read, &options, &pieces)
    })?;
    let taken = take_all(&mut engine, &options.engine, &sorted, &news);
    // Who reads and sorts ends when nobody takes any more, and each says why it did.
    drop(sorted);
    let sorted = sorter.join().unwrap_or(Err(Error::Panicked { thread: "log sorting" }));
    let read = reader.join().unwrap_or(Err(Error::Panicked { thread: "log reading" }));
    taken?;
    sorted?;
    let replayed = read?;
    let GroupMeta { last, .. } = replayed.meta();
    assert_eq!(engine.mark(), last.index, "all of the log was taken");
    engine.hold_compactions(false);
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
    let begin = |first| Chunk { first, records: Records::default(), is_full: false };
    let mut chunk = begin(applied + 1);
    let replayed = replay(disk, dir, PARTITION, applied, |mark, data| {
        chunk.records.push(|out| out.extend_from_slice(data));
        if chunk.records.bytes() < chunk_bytes {
            return ControlFlow::Continue(());
        }
        chunk.is_full = true;
        match chunks.send(std::mem::replace(&mut chunk, begin(mark + 1))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    if !chunk.records.is_empty() && chunks.send(chunk).is_err() {
        return Err(novax_log::Error::Stopped.into());
    }
    Ok(replayed)
}

/// Sorts each chunk that can be.
fn sort_all(
    read: &Receiver<Chunk>,
    options: &Options,
    pieces: &SyncSender<Piece>,
) -> Result<(), Error> {
    for chunk in read {
        if pieces.send(sort(chunk, options)?).is_err() {
            return Err(novax_log::Error::Stopped.into());
        }
    }
    Ok(())
}

/// Where the changes of a chunk are that all stand for themselves.
struct Plain {
    slots: Vec<Slot>,
    /// Of the last record.
    mark: u64,
    /// The latest of any record.
    time_s: Option<u64>,
}

/// The changes of a chunk in the order of keys, and only the last of each key; as they came where one depends on
/// others.
fn sort(chunk: Chunk, options: &Options) -> Result<Piece, Error> {
    let Some(Plain { slots, mark, time_s }) = find_plain(&chunk, options)? else {
        return Ok(Piece::AsItCame(chunk));
    };
    let run = SortedRun::new(chunk.records.into_bytes(), &slots);
    Ok(Piece::Run { run, mark, time_s, is_full: chunk.is_full })
}

/// Reads a chunk, up to the first change that depends on others if there is one: then it answers none.
fn find_plain(chunk: &Chunk, options: &Options) -> Result<Option<Plain>, Error> {
    let (mut slots, mut time_s) = (Vec::new(), None);
    let (mut mark, mut end) = (chunk.first, 0);
    for bytes in chunk.records.iter() {
        end += LENGTH_BYTES + bytes.len();
        let bad = |what| Error::BadRecord { mark, what };
        let mut record = Record::open(bytes).map_err(bad)?;
        time_s = time_s.max(record.time_s);
        while let Some((keyspace, change)) = record.next(options).map_err(bad)? {
            match Slot::new(keyspace, &change, end - record.rest_bytes()) {
                Some(slot) => slots.push(slot),
                None => return Ok(None),
            }
        }
        mark += 1;
    }
    Ok(Some(Plain { slots, mark: mark - 1, time_s }))
}

fn take_all(
    engine: &mut Engine,
    options: &Options,
    sorted: &Receiver<Piece>,
    news: &Receiver<()>,
) -> Result<(), Error> {
    let mut in_tables = engine.mark();
    for piece in sorted {
        match piece {
            // What is in memory is older, and has to go first: then this goes there too.
            Piece::Run { run, mark, time_s, is_full: true } if engine.unflushed_bytes() == 0 => {
                poll_until(engine, news, Engine::can_take_sorted)?;
                engine.take_sorted(run, mark, time_s)?;
                in_tables = mark;
            }
            Piece::Run { run, mark, time_s, .. } => {
                let mut batch = Batch::new();
                run.put_into(&mut batch);
                batch.set_mark(mark);
                time_s.into_iter().for_each(|time_s| batch.set_time_s(time_s));
                // Both at once would be twice the memory.
                drop(run);
                engine.write(&mut batch);
                poll_until(engine, news, |_| true)?;
            }
            Piece::AsItCame(chunk) => take_as_it_came(engine, options, &chunk, news)?,
        }
    }
    // What never was in memory can be read only once it is in tables.
    poll_until(engine, news, |engine| engine.flushed_mark() >= in_tables)
}

/// Puts records into memory one by one.
fn take_as_it_came(
    engine: &mut Engine,
    options: &Options,
    chunk: &Chunk,
    news: &Receiver<()>,
) -> Result<(), Error> {
    let (mut batch, mut unpolled_bytes) = (Batch::new(), 0);
    for (mark, record) in (chunk.first..).zip(chunk.records.iter()) {
        let decoded = record::decode(record, options, &mut batch);
        decoded.map_err(|what| Error::BadRecord { mark, what })?;
        batch.set_mark(mark);
        engine.write(&mut batch);
        unpolled_bytes += record.len();
        if unpolled_bytes >= options.memtable_bytes_max / 4 {
            unpolled_bytes = 0;
            poll_until(engine, news, |_| true)?;
        }
    }
    poll_until(engine, news, |_| true)
}

/// Lets the engine work until it takes more, and `is_done`.
fn poll_until(
    engine: &mut Engine,
    news: &Receiver<()>,
    is_done: impl Fn(&Engine) -> bool,
) -> Result<(), Error> {
    // A disk that cannot be written is an error here: memory must not grow beyond its bound.
    while engine.poll()?.stalled || !is_done(engine) {
        let _ = news.recv_timeout(WORKER_PATIENCE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;

    fn chunk(batches: &[Batch]) -> Chunk {
        let mut records = Records::default();
        batches.iter().for_each(|batch| records.push(|out| record::encode(batch, out)));
        Chunk { first: 11, records, is_full: false }
    }

    fn batch(fill: impl FnOnce(&mut Batch)) -> Batch {
        let mut batch = Batch::new();
        fill(&mut batch);
        batch
    }

    fn entries(run: &SortedRun, keyspace: u8) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let show = |(key, entry): (&[u8], Entry<'_>)| match entry {
            Entry::Put { value, expires } => format!("{}={} {}", text(key), text(value), expires.0),
            Entry::Tombstone => format!("-{}", text(key)),
            other => format!("{other:?}"),
        };
        run.entries(keyspace).map(show).collect()
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
                b.put_until(1, b"long key a", b"2", 99);
                b.put_until(1, b"long key b", b"3", 98);
                b.put_until(1, b"long key b", b"4", 97);
                b.set_time_s(5);
            }),
        ]);
        let Ok(Piece::Run { run, mark, time_s, .. }) = sort(chunk, &Options::default()) else {
            panic!("they are plain")
        };
        assert_eq!(entries(&run, 0), ["-z"]);
        assert_eq!(entries(&run, 1), ["long key a=2 99", "long key b=4 97"]);
        assert_eq!((mark, time_s), (13, Some(7)));
    }

    #[test]
    fn changes_that_depend_on_others_stay_as_they_came() {
        let chunk = chunk(&[
            batch(|b| b.put(0, b"b", b"1")),
            batch(|b| b.delete_range(0, b"a", b"c")),
            batch(|b| b.put(0, b"b", b"2")),
        ]);
        let piece = sort(chunk, &Options::default());
        assert!(matches!(piece, Ok(Piece::AsItCame(chunk)) if chunk.records.iter().count() == 3));
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named_by_its_mark() {
        let mut chunk = chunk(&[batch(|b| b.put(0, b"b", b"1"))]);
        chunk.records.push(|out| out.push(9));
        let error = sort(chunk, &Options::default()).err().unwrap();
        assert!(matches!(error, Error::BadRecord { mark: 12, .. }), "{error}");
    }
}
