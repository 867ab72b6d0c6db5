//! The log of one shard, its writing side: gathers frames into batches, hands them out one write
//! at a time, and knows which segments are needed no more.
//!
//! Invariants:
//! * one write in flight; batches go out in the order in which they were gathered;
//! * each segment begins with a batch that restates all groups as of the batch before;
//! * a segment is retired when every group has a durable mark not below its entries in it, and a
//!   newer segment has begun durably.

use crate::batch::{Batch, BatchPlace};
use crate::block::{BLOCK_BYTES, Block};
use crate::disk::DiskSegment;
use crate::error::Error;
use crate::format::{FENCE_BYTES, FRAME_BYTES, HEADER_BYTES, RESTATEMENT_BYTES};
use crate::merge::{Frame, GroupMeta};
use crate::root::{LogRoot, parse_shard_name, shard_name};
use crate::segments::{Segment, Segments, Wake};
use novax_model::{PartitionId, seeded};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Segment size where nothing else is asked for.
const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// An entry is never larger, whatever the segment size.
const ENTRY_BYTES_MAX: u64 = 8 << 20;
/// Below this a segment could not hold what the groups may ask for at once.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Above this, positions in a batch would not fit its header.
const SEGMENT_BYTES_MAX: u64 = 2 << 30;
/// A batch that has this much is closed, and what comes goes into the next.
const BATCH_BYTES_TARGET: usize = 1 << 20;
/// Buffers kept for reuse: one in flight, one gathering, one coming back.
const BUFFERS_MAX: usize = 3;
/// A buffer that grew larger is given back to the allocator.
const BUFFER_BLOCKS_MAX: usize = 512;

/// Where a shard's log is, and how it is written.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The shard's directory, `root/log/shard-NNN`.
    pub dir: PathBuf,
    /// Size of a segment file: a multiple of 4096 from 64 KiB to 2 GiB; 64 MiB serves well.
    pub segment_bytes: u64,
    /// Bypass the page cache (`O_DIRECT`) where the file system can; where it cannot, writes go
    /// through it and are as durable (`O_DSYNC`), only slower. [`LogStats::direct`] tells.
    pub direct: bool,
}

impl LogConfig {
    /// The log of a shard under `root`, the directory given to [`recover`](crate::recover), as it
    /// should be on a server.
    #[must_use]
    pub fn for_shard(root: &Path, shard: u16) -> LogConfig {
        LogConfig {
            dir: root.join("log").join(shard_name(shard)),
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            direct: true,
        }
    }

    /// The largest entry, and the most one group may have uncommitted.
    #[must_use]
    pub fn group_bytes_max(&self) -> usize {
        let bytes = ENTRY_BYTES_MAX.min(self.segment_bytes / 8);
        usize::try_from(bytes).expect("at most 8 MiB")
    }

    /// The most entries one group may have uncommitted, so that frames of small entries fit too.
    #[must_use]
    pub fn group_entries_max(&self) -> usize {
        (self.group_bytes_max() / 64).min(4096)
    }

    fn check(&self, group_count: usize, fence_count: usize) -> Result<(), Error> {
        if !self.segment_bytes.is_multiple_of(BLOCK_BYTES as u64) {
            return Err(Error::Config("segment_bytes must be a multiple of 4096"));
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(Error::Config("segment_bytes must be from 64 KiB to 2 GiB"));
        }
        let opening = HEADER_BYTES + group_count * RESTATEMENT_BYTES + fence_count * FENCE_BYTES;
        if u64::try_from(opening).expect("usize fits u64") > self.segment_bytes / 8 {
            return Err(Error::Config(
                "segment_bytes is too small for so many groups and earlier runs",
            ));
        }
        Ok(())
    }
}

/// One write the caller has to make: all blocks, at the offset, then durable (`O_DSYNC` is set on
/// the file). Keep the blocks alive until it is done, then call `on_written` with the id.
pub struct LogWrite {
    /// Names the write in `on_written`.
    pub id: u64,
    /// The segment, open as long as the write is in flight; -1 on a disk without descriptors.
    pub fd: RawFd,
    /// Offset in the file, a multiple of 4096.
    pub offset: u64,
    /// What to write. May be handed back by `recycle`.
    pub blocks: Vec<Block>,
    file: Arc<dyn DiskSegment>,
}

impl std::fmt::Debug for LogWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWrite")
            .field("id", &self.id)
            .field("offset", &self.offset)
            .field("blocks", &self.blocks.len())
            .finish_non_exhaustive()
    }
}

/// Makes a write here and now: where a thread may wait for the disk, so not on a shard.
///
/// # Errors
/// What the disk says; what is on it is unknown then.
pub fn blocking_write(write: &LogWrite) -> io::Result<()> {
    if seeded::is("log-skips-write") && write.id % 64 == 63 {
        return Ok(());
    }
    write.file.write_blocks(write.offset, &write.blocks)
}

/// Figures about the log of one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Segments of the present run in use.
    pub segments: u64,
    /// Segments of earlier runs not retired yet, of all shards.
    pub old_segments: u64,
    /// Bytes on disk of both.
    pub disk_bytes: u64,
    /// Batches made durable since the start.
    pub batches: u64,
    /// Bytes made durable since the start, padding included.
    pub bytes: u64,
    /// Entries made durable since the start.
    pub entries: u64,
    /// Times `poll_write` had something to write and no segment to write it to.
    pub stalls: u64,
    /// Failures to make or retire a segment; each is tried again.
    pub segment_failures: u64,
    /// `errno` of the last such failure; 0 if there was none.
    pub segment_errno: i32,
    /// Whether writes bypass the page cache.
    pub direct: bool,
}

/// A group's state after a batch, and its highest entry in it (0 for none).
#[derive(Debug, Clone, Copy)]
struct After {
    slot: usize,
    meta: GroupMeta,
    entry_index_max: u64,
}

/// A batch being gathered, and what hangs on it.
#[derive(Debug)]
pub struct Gather<T> {
    batch: Batch,
    entries: u64,
    after: Vec<After>,
    /// What the owner is to be told of when it is durable.
    pub attached: T,
}

impl<T: Default> Gather<T> {
    fn new(memory: Vec<Block>) -> Gather<T> {
        Gather { batch: Batch::new(memory), entries: 0, after: Vec::new(), attached: T::default() }
    }

    /// Adds a frame. [`Gather::note`] has to follow, once for all frames of a group in a row.
    pub fn push(&mut self, partition: PartitionId, frame: &Frame<'_>) {
        self.entries += u64::from(matches!(frame, Frame::Entry { .. } | Frame::Change { .. }));
        self.batch.push(partition, frame);
    }

    /// Says what the frames of a group, pushed just now, have made of it. `slot` is the group's place in
    /// the list given to [`ShardLog::start`]; `entry_index_max` the highest entry among them, 0 for none.
    pub fn note(&mut self, slot: usize, meta: GroupMeta, entry_index_max: u64) {
        match self.after.last_mut() {
            Some(after) if after.slot == slot => {
                after.meta = meta;
                after.entry_index_max = after.entry_index_max.max(entry_index_max);
            }
            _ => self.after.push(After { slot, meta, entry_index_max }),
        }
    }
}

/// What was handed out and is not known to be durable.
#[derive(Debug)]
struct InFlight<T> {
    id: u64,
    segment: u64,
    bytes: u64,
    gather: Gather<T>,
}

/// A segment in use, and each group's highest entry in it, by slot.
#[derive(Debug)]
struct LiveSegment {
    number: u64,
    entry_index_max: Vec<u64>,
}

/// The writing side of one shard's log. With each batch travels a `T`: what the owner has to do once the batch is
/// durable.
pub struct ShardLog<T> {
    config: LogConfig,
    partitions: Vec<PartitionId>,
    root: Arc<LogRoot>,
    segments: Segments,
    current: Segment,
    offset: u64,
    seq: u64,
    previous_crc: u32,
    /// Groups as of the last batch handed out, by slot.
    sealed: Vec<GroupMeta>,
    /// Marks that are durable, by slot; None until the group was restated in this run.
    durable_marks: Vec<Option<u64>>,
    live: VecDeque<LiveSegment>,
    gathers: VecDeque<Gather<T>>,
    in_flight: Option<InFlight<T>>,
    buffers: Vec<Vec<Block>>,
    stats: LogStats,
}

impl<T> std::fmt::Debug for ShardLog<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardLog").field("dir", &self.config.dir).finish_non_exhaustive()
    }
}

impl<T: Default> ShardLog<T> {
    /// Starts a new run. `groups` are the partitions of the shard in the order of their slots. `wake` is called from
    /// another thread when a segment is ready after [`ShardLog::next_write`] found none. Blocking.
    ///
    /// # Errors
    /// When the configuration cannot work, or the first segment cannot be made.
    pub fn start(
        config: LogConfig,
        root: Arc<LogRoot>,
        groups: &[(PartitionId, GroupMeta)],
        wake: Wake,
    ) -> Result<ShardLog<T>, Error> {
        config.check(groups.len(), root.fences.len())?;
        let named = config.dir.file_name().and_then(|name| name.to_str());
        let inside = config.dir.parent() == Some(root.dir.as_path());
        if !inside || named.and_then(parse_shard_name).is_none() {
            return Err(Error::Config("dir must be shard-NNN in the log directory recovered"));
        }
        let (segments, current) = Segments::start(&config, Arc::clone(&root), wake)?;
        let first = LiveSegment { number: 1, entry_index_max: vec![0; groups.len()] };
        Ok(ShardLog {
            config,
            partitions: groups.iter().map(|(partition, _)| *partition).collect(),
            root,
            segments,
            current,
            offset: 0,
            seq: 0,
            previous_crc: 0,
            sealed: groups.iter().map(|(_, meta)| *meta).collect(),
            durable_marks: vec![None; groups.len()],
            live: VecDeque::from([first]),
            gathers: VecDeque::new(),
            in_flight: None,
            buffers: Vec::new(),
            stats: LogStats::default(),
        })
    }

    /// How the log is written.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// The batch that takes what comes now. What one caller pushes before it asks again, may have
    /// [`LogConfig::group_bytes_max`] of entries in it at most.
    pub fn gather(&mut self) -> &mut Gather<T> {
        let full = |gather: &Gather<T>| gather.batch.bytes() >= self.batch_bytes_target();
        if self.gathers.back().is_none_or(full) {
            let memory = self.buffers.pop().unwrap_or_default();
            self.gathers.push_back(Gather::new(memory));
        }
        self.gathers.back_mut().expect("pushed above if there was none")
    }

    /// What hangs on the newest batch that is not known to be durable; `None` when all is.
    pub fn newest_attached(&mut self) -> Option<&mut T> {
        let in_flight = self.in_flight.as_mut().map(|write| &mut write.gather);
        self.gathers.back_mut().or(in_flight).map(|gather| &mut gather.attached)
    }

    /// What hangs on the write in flight, if there is one.
    #[must_use]
    pub fn in_flight(&self) -> Option<&T> {
        self.in_flight.as_ref().map(|write| &write.gather.attached)
    }

    /// Bytes that were gathered and not handed out yet.
    #[must_use]
    pub fn gathered_bytes(&self) -> usize {
        self.gathers.iter().map(|gather| gather.batch.bytes()).sum()
    }

    /// Together with one group's limits this keeps a batch below half a segment.
    fn batch_bytes_target(&self) -> usize {
        let eighth = usize::try_from(self.config.segment_bytes / 8).expect("at most 256 MiB");
        BATCH_BYTES_TARGET.min(eighth)
    }

    /// The next write, unless one is in flight, nothing is to be written, or no segment is ready.
    pub fn next_write(&mut self) -> Option<LogWrite> {
        if self.in_flight.is_some() {
            return None;
        }
        let gathered = self.gathers.front()?;
        let bytes = u64::try_from(gathered.batch.block_bytes()).expect("usize fits u64");
        assert!(bytes <= self.config.segment_bytes / 2, "the groups' limits keep batches small");
        if self.offset > 0
            && self.offset + bytes > self.config.segment_bytes
            && !self.next_segment()
        {
            self.stats.stalls += 1;
            return None;
        }
        let opens_segment = self.offset == 0;
        let mut gather = if opens_segment {
            self.restatement()
        } else {
            self.gathers.pop_front().expect("looked at above")
        };
        for after in &gather.after {
            self.sealed[after.slot] = after.meta;
            let live = self.live.back_mut().expect("the current segment is live");
            let max = &mut live.entry_index_max[after.slot];
            *max = (*max).max(after.entry_index_max);
        }
        let batch = std::mem::replace(&mut gather.batch, Batch::new(Vec::new()));
        Some(self.hand_out(gather, batch, opens_segment))
    }

    fn hand_out(&mut self, gather: Gather<T>, batch: Batch, opens_segment: bool) -> LogWrite {
        self.seq += 1;
        let bytes = u64::try_from(batch.block_bytes()).expect("usize fits u64");
        let (blocks, crc) = batch.seal(BatchPlace {
            opens_segment,
            incarnation: self.root.incarnation,
            segment: self.current.number,
            seq: self.seq,
            previous_crc: self.previous_crc,
        });
        let write = LogWrite {
            id: self.seq,
            fd: self.current.file.raw_fd().unwrap_or(-1),
            offset: self.offset,
            blocks,
            file: Arc::clone(&self.current.file),
        };
        self.previous_crc = crc;
        self.offset += bytes;
        assert!(self.offset <= self.config.segment_bytes, "a batch never passes its segment's end");
        let segment = self.current.number;
        self.in_flight = Some(InFlight { id: write.id, segment, bytes, gather });
        write
    }

    fn next_segment(&mut self) -> bool {
        let Some(next) = self.segments.take() else { return false };
        assert_eq!(next.number, self.current.number + 1, "segments come in order");
        let entry_index_max = vec![0; self.partitions.len()];
        self.live.push_back(LiveSegment { number: next.number, entry_index_max });
        self.current = next;
        self.offset = 0;
        true
    }

    fn restatement(&mut self) -> Gather<T> {
        let mut gather = Gather::new(self.buffers.pop().unwrap_or_default());
        for fence in &self.root.fences {
            gather.batch.push_fence(fence);
        }
        for (slot, (partition, meta)) in self.partitions.iter().zip(&self.sealed).enumerate() {
            gather.push(*partition, &Frame::Restatement(*meta));
            gather.note(slot, *meta, 0);
        }
        gather
    }

    /// The write in flight is durable: gives back what hung on it.
    ///
    /// # Errors
    /// When it is another write that is in flight, or none.
    pub fn written(&mut self, id: u64) -> Result<T, Error> {
        let write = match self.in_flight.take() {
            Some(write) if write.id == id => write,
            other => {
                self.in_flight = other;
                return Err(Error::UnknownWrite(id));
            }
        };
        self.stats.batches += 1;
        self.stats.bytes += write.bytes;
        self.stats.entries += write.gather.entries;
        self.take_marks(&write.gather.after);
        self.retire(write.segment);
        Ok(write.gather.attached)
    }

    fn take_marks(&mut self, after: &[After]) {
        let mut news = Vec::new();
        for after in after {
            let mark = Some(after.meta.mark.index);
            let durable = &mut self.durable_marks[after.slot];
            assert!(mark >= *durable, "marks never go back");
            if mark > *durable {
                *durable = mark;
                news.push((self.partitions[after.slot], after.meta.mark.index));
            }
        }
        if !news.is_empty() && self.root.old().0 > 0 {
            self.segments.marks(news);
        }
    }

    fn retire(&mut self, durable_segment: u64) {
        while let Some(oldest) = self.live.front()
            && oldest.number < durable_segment
            && oldest.entry_index_max.iter().zip(&self.durable_marks).all(|(entry, mark)| {
                mark.is_some_and(|mark| mark >= *entry) || seeded::is("segment-retired-early")
            })
        {
            self.segments.retire(oldest.number);
            self.live.pop_front();
        }
    }

    /// The slots whose unflushed entries keep the oldest segment on disk, if it is not the current one.
    pub fn holding_oldest(&self) -> impl Iterator<Item = usize> {
        let oldest = self.live.front().filter(|_| self.live.len() > 1);
        let entries = oldest.map_or(&[][..], |oldest| &oldest.entry_index_max[..]);
        let slots = entries.iter().zip(&self.durable_marks).enumerate();
        slots.filter(|(_, (entry, mark))| mark.unwrap_or(0) < **entry).map(|(slot, _)| slot)
    }

    /// Takes the memory of a finished write for a next one.
    pub fn recycle(&mut self, blocks: Vec<Block>) {
        if self.buffers.len() < BUFFERS_MAX && blocks.capacity() <= BUFFER_BLOCKS_MAX {
            self.buffers.push(blocks);
        }
    }

    /// Figures about the log.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let (old_segments, old_bytes) = self.root.old();
        let segments = u64::try_from(self.live.len()).expect("usize fits u64");
        LogStats {
            segments,
            old_segments,
            disk_bytes: segments * self.config.segment_bytes + old_bytes,
            segment_failures: self.segments.health.failures.load(Ordering::Relaxed),
            segment_errno: self.segments.health.last_errno.load(Ordering::Relaxed),
            direct: self.current.file.is_direct(),
            ..self.stats
        }
    }
}

// One group's share of a batch: its bytes, a frame for each entry, its hard state.
const _: () = assert!(FRAME_BYTES < 64, "entries / 64 bounds the frames' bytes by the entries'");
