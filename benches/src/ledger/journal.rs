//! The real log, as a node writes it: `O_DIRECT` segments, one write in flight, a thread that waits for the disk.
//!
//! Entries below the newest 64 are marked as flushed elsewhere, as a store would, so that segments are used
//! again instead of filling the disk.

use crate::cpu;
use crate::error::{BenchError, During as _, Result};
use novax_log::{
    Block, Frame, GroupMeta, LogConfig, LogWrite, Position, ShardLog, Wake, blocking_write, recover,
};
use novax_model::PartitionId;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PARTITION: PartitionId = PartitionId(1);
const TERM: u64 = 1;
/// Entries are marked as flushed in steps of so many, and so many stay unmarked.
const MARK_EVERY: u64 = 64;
/// What the writing thread and the maker of segments may have to tell: one write, and a wake for each segment.
const TOLD_MAX: usize = 64;

/// What another thread tells the owner of the log.
enum Told {
    /// The write is done.
    Written { id: u64, result: io::Result<()>, blocks: Vec<Block> },
    /// There is a segment again.
    Segment,
}

/// An entry on its way to the disk, and whatever belongs to it.
pub(crate) type Entry<T> = (Vec<u8>, T);

/// The log and the thread that waits for the disk.
pub(crate) struct Journal<T> {
    log: ShardLog<Vec<Entry<T>>>,
    meta: GroupMeta,
    writes: SyncSender<LogWrite>,
    told: Receiver<Told>,
    writer: JoinHandle<Written>,
}

/// What the writing thread did in its life.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) writes: u32,
    /// From handing a write to the system until it was on the disk, all of them.
    pub(crate) waited: Duration,
    /// Processor time.
    pub(crate) cpu: Duration,
}

impl Written {
    /// How long a write took.
    pub(crate) fn each_us(&self) -> f64 {
        self.waited.as_secs_f64() * 1e6 / f64::from(self.writes.max(1))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn log_failed(error: novax_log::Error) -> BenchError {
    BenchError::Store("the log", error.to_string())
}

impl<T> Journal<T> {
    /// A fresh log. `wake` is called whenever there is something to hear.
    pub(crate) fn start(dir: &Path, wake: Wake) -> Result<Journal<T>> {
        let recovered = recover(dir).map_err(log_failed)?;
        let (teller, told) = sync_channel(TOLD_MAX);
        let (segments, woken) = (teller.clone(), Arc::clone(&wake));
        let on_segment: Wake = Arc::new(move || {
            // When it is full, the owner has enough to hear: it asks for a segment whenever it hears.
            drop(segments.try_send(Told::Segment));
            woken();
        });
        let config = LogConfig::for_shard(dir, 0);
        let meta = GroupMeta::default();
        let groups = [(PARTITION, meta)];
        let log = ShardLog::start(config, Arc::clone(recovered.root()), &groups, on_segment)
            .map_err(log_failed)?;
        let (writes, inbox) = sync_channel::<LogWrite>(1);
        let run = move || write_all(&inbox, &teller, &wake);
        let writer = std::thread::Builder::new().name("log-write".into()).spawn(run);
        let writer = writer.during("starting a thread")?;
        Ok(Journal { log, meta, writes, told, writer })
    }

    /// Whether writes bypass the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        self.log.stats().direct
    }

    /// Whether anything is on its way to the disk, or waits for it.
    pub(crate) fn is_writing(&self) -> bool {
        self.log.in_flight().is_some() || self.log.gathered_bytes() > 0
    }

    /// Adds an entry, and writes unless a write is on its way.
    pub(crate) fn submit(&mut self, entry: Vec<u8>, belongs: T) {
        assert!(!entry.is_empty(), "empty entries are a leader's");
        self.mark();
        let at = Position { index: self.meta.last.index + 1, term: TERM };
        self.meta.last = at;
        let gather = self.log.gather();
        gather.push(PARTITION, &Frame::Entry { at, data: &entry });
        gather.note(0, self.meta, at.index);
        gather.attached.push((entry, belongs));
        self.write_next();
    }

    /// Takes all that was told; gives back the entries that are durable by now, in their order.
    pub(crate) fn take_durable(&mut self) -> Result<Vec<Entry<T>>> {
        let mut durable = Vec::new();
        while let Ok(told) = self.told.try_recv() {
            durable.extend(self.hear(told)?);
        }
        Ok(durable)
    }

    /// As [`Journal::take_durable`], once there is something to hear.
    pub(crate) fn wait_durable(&mut self) -> Result<Vec<Entry<T>>> {
        let told = self.told.recv();
        let told = told.map_err(|_| BenchError::Answer("the log's writer is gone".into()))?;
        self.hear(told)
    }

    /// Ends the log, and reads it again: the last entry has to be there. Returns what the
    /// writing thread did.
    pub(crate) fn close(self, dir: &Path) -> Result<Written> {
        assert!(!self.is_writing(), "ended between writes");
        let Journal { log, meta, writes, told, writer } = self;
        drop((writes, told, log));
        let written = writer.join().expect("the writing thread does not panic");
        let found = recover(dir).map_err(log_failed)?;
        if found.last_index(PARTITION) != meta.last.index {
            return Err(BenchError::Answer("the log does not give back what was durable".into()));
        }
        Ok(written)
    }

    /// Says that old entries are not needed, once there are enough of them.
    fn mark(&mut self) {
        let behind = self.meta.last.index - self.meta.mark.index;
        if behind < 2 * MARK_EVERY {
            return;
        }
        self.meta.mark = Position { index: self.meta.last.index - MARK_EVERY, term: TERM };
        let gather = self.log.gather();
        gather.push(PARTITION, &Frame::Mark(self.meta.mark));
        gather.note(0, self.meta, 0);
    }

    fn write_next(&mut self) {
        if let Some(write) = self.log.next_write() {
            assert!(self.writes.send(write).is_ok(), "the writing thread lives as long as this");
        }
    }

    fn hear(&mut self, told: Told) -> Result<Vec<Entry<T>>> {
        let durable = match told {
            Told::Segment => Vec::new(),
            Told::Written { id, result, blocks } => {
                result.during("writing the log")?;
                self.log.recycle(blocks);
                self.log.written(id).map_err(log_failed)?
            }
        };
        self.write_next();
        Ok(durable)
    }
}

/// Makes the writes, one after the other, until there is nobody to hand any over.
fn write_all(inbox: &Receiver<LogWrite>, teller: &SyncSender<Told>, wake: &Wake) -> Written {
    let mut written = Written::default();
    for write in inbox {
        let begun = Instant::now();
        let result = blocking_write(&write);
        written.waited += begun.elapsed();
        written.writes += 1;
        let LogWrite { id, blocks, .. } = write;
        if teller.send(Told::Written { id, result, blocks }).is_err() {
            break;
        }
        wake();
    }
    Written { cpu: cpu::of_thread(), ..written }
}
