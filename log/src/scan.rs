//! Reading the segments of one run, batch by batch.
//!
//! Invariants: a batch is only passed on when all batches before it in the run (from the oldest
//! segment kept) were; what is not passed on was never acknowledged, or was not there when a later run
//! read this one.

use crate::block::BLOCK_BYTES;
use crate::disk::Disk;
use crate::error::{Corruption, Error, IoContext};
use crate::format::{
    BatchHeader, Fence, HEADER_BYTES, NotAHeader, decode_fence, decode_frame, version_of,
};
use crate::merge::Frame;
use novax_model::PartitionId;
use std::path::{Path, PathBuf};

/// A segment on disk, as its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// How far a run was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Sequence number of the last batch; 0 for none.
    pub(crate) seq: u64,
    /// Where the batches end in each segment.
    pub(crate) ends: Vec<u64>,
}

/// What the next batch must refer to. None while no batch of the run has been read.
#[derive(Debug, Clone, Copy)]
struct Chain {
    seq: u64,
    crc: u32,
}

struct Scan {
    incarnation: u64,
    /// The batch after which nothing counts, from the fence of a later run.
    fence: Option<u64>,
    chain: Option<Chain>,
    /// A segment without a batch was met: nothing may follow.
    ended: bool,
}

/// Passes each frame of the run to `take`, in order, up to the fence if there is one.
pub(crate) fn scan_run(
    disk: &dyn Disk,
    incarnation: u64,
    segments: &[SegmentFile],
    fence: Option<u64>,
    mut take: impl FnMut(&SegmentFile, PartitionId, &Frame<'_>) -> Result<(), Corruption>,
) -> Result<Extent, Error> {
    let mut scan = Scan { incarnation, fence, chain: None, ended: false };
    let oldest = segments.first().map_or(1, |segment| segment.number);
    let mut ends = Vec::with_capacity(segments.len());
    let mut bytes = Vec::new();
    for (number, segment) in (oldest..).zip(segments) {
        let corrupt = |offset: usize, what| {
            let offset = u64::try_from(offset).expect("usize fits u64");
            Error::Corrupt { file: segment.path.clone(), offset, what }
        };
        if segment.number != number {
            return Err(corrupt(0, Corruption::MissingSegment { number }));
        }
        if scan.at_fence() {
            ends.push(0);
            continue;
        }
        read_into(disk, &segment.path, &mut bytes)?;
        let end = scan
            .segment(segment.number, &bytes, |partition, frame| take(segment, partition, frame))
            .map_err(|(offset, what)| corrupt(offset, what))?;
        ends.push(u64::try_from(end).expect("usize fits u64"));
    }
    if let (Some(fence), Some(last)) = (fence, segments.last())
        && !scan.at_fence()
    {
        let what = Corruption::LostBatch { expected: scan.expected(), found: fence };
        return Err(Error::Corrupt { file: last.path.clone(), offset: 0, what });
    }
    Ok(Extent { seq: scan.chain.map_or(0, |last| last.seq), ends })
}

/// Where the batches of a run's first segment end, all frames read.
pub(crate) fn scan_segment(
    incarnation: u64,
    number: u64,
    bytes: &[u8],
) -> Result<usize, (usize, Corruption)> {
    let mut scan = Scan { incarnation, fence: None, chain: None, ended: false };
    scan.segment(number, bytes, |_, _| Ok(()))
}

/// The fences in the opening batch of a run's oldest segment; None if that cannot be read.
pub(crate) fn read_fences(
    disk: &dyn Disk,
    incarnation: u64,
    oldest: &SegmentFile,
) -> Result<Option<Vec<Fence>>, Error> {
    let mut bytes = Vec::new();
    read_start_into(disk, &oldest.path, BLOCK_BYTES, &mut bytes)?;
    if let Ok((header, _)) = BatchHeader::decode(&bytes) {
        read_start_into(disk, &oldest.path, header.batch_bytes(), &mut bytes)?;
    }
    let scan = Scan { incarnation, fence: None, chain: None, ended: false };
    let Ok(Some((header, _))) = scan.next_batch(oldest.number, 0, &bytes) else {
        return Ok(None); // what is wrong is said when the run is read
    };
    let mut rest = &bytes[HEADER_BYTES..][..usize_of(header.payload_bytes)];
    Ok(Some(std::iter::from_fn(|| decode_fence(&mut rest)).collect()))
}

/// Reads a whole segment into a buffer, which keeps its room for the next.
fn read_into(disk: &dyn Disk, file: &Path, bytes: &mut Vec<u8>) -> Result<(), Error> {
    read_start_into(disk, file, usize::MAX, bytes)
}

fn read_start_into(
    disk: &dyn Disk,
    file: &Path,
    bytes_max: usize,
    bytes: &mut Vec<u8>,
) -> Result<(), Error> {
    let reader = disk.open(file).context("open", file)?;
    let len = reader.len_bytes().context("read", file)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(bytes_max);
    bytes.resize(len, 0);
    reader.read_at(0, bytes).context("read", file)
}

impl Scan {
    fn expected(&self) -> u64 {
        self.chain.map_or(1, |last| last.seq.saturating_add(1))
    }

    fn at_fence(&self) -> bool {
        self.fence.is_some_and(|fence| fence < self.expected())
    }

    /// Returns where the batches end. Errors carry the offset of the batch.
    fn segment(
        &mut self,
        number: u64,
        bytes: &[u8],
        mut take: impl FnMut(PartitionId, &Frame<'_>) -> Result<(), Corruption>,
    ) -> Result<usize, (usize, Corruption)> {
        let mut end = 0;
        while !self.ended && !self.at_fence() && end < bytes.len() {
            let rest = &bytes[end..];
            let Some((header, crc)) =
                self.next_batch(number, end, rest).map_err(|what| (end, what))?
            else {
                break;
            };
            let payload = &rest[HEADER_BYTES..][..usize_of(header.payload_bytes)];
            take_frames(&header, payload, &mut take).map_err(|what| (end, what))?;
            self.chain = Some(Chain { seq: header.seq, crc });
            end += header.batch_bytes();
        }
        if self.at_fence() {
            return Ok(end);
        }
        // The segments before it are retired, which takes that this one had begun.
        if end == 0 && number > 1 && self.chain.is_none() && !self.ended {
            return Err((0, Corruption::UnreadableStart));
        }
        self.check_nothing_follows(number, bytes, end)?;
        self.ended |= end == 0;
        Ok(end)
    }

    /// The batch at the start of `rest`, if it counts and is the next one of the run.
    fn next_batch(
        &self,
        number: u64,
        offset: usize,
        rest: &[u8],
    ) -> Result<Option<(BatchHeader, u32)>, Corruption> {
        let Some((header, crc)) = self.own_header(number, rest)? else { return Ok(None) };
        let seq = header.seq;
        match self.chain {
            // The segments before the oldest one kept are retired: any number may be the first.
            None if number > 1 => {}
            None if seq == 1 && header.previous_crc == 0 => {}
            None => return Err(Corruption::LostBatch { expected: 1, found: seq }),
            Some(last) if seq > last.seq.saturating_add(1) => {
                return Err(Corruption::LostBatch {
                    expected: last.seq.saturating_add(1),
                    found: seq,
                });
            }
            Some(last) if seq == last.seq.saturating_add(1) && header.previous_crc == last.crc => {}
            Some(_) => return Err(Corruption::BrokenChain { seq }),
        }
        if header.opens_segment != (offset == 0) {
            return Err(Corruption::BrokenChain { seq });
        }
        // Segments of earlier runs are cut to what was read, so a torn batch may pass the end.
        let Some(body) = rest.get(HEADER_BYTES..header.batch_bytes()) else { return Ok(None) };
        let intact = crc32fast::hash(body) == header.payload_crc;
        Ok(intact.then_some((header, crc)))
    }

    /// A header of this run and segment; batches of other times are left over in reused files.
    fn own_header(
        &self,
        number: u64,
        block: &[u8],
    ) -> Result<Option<(BatchHeader, u32)>, Corruption> {
        match BatchHeader::decode(block) {
            Ok((header, crc)) => {
                let own = header.incarnation == self.incarnation && header.segment == number;
                Ok(own.then_some((header, crc)))
            }
            Err(NotAHeader::Unreadable) => Ok(None),
            Err(NotAHeader::UnknownVersion(version)) => Err(Corruption::UnknownVersion { version }),
        }
    }

    /// Behind the last batch that counts, a later one proves that something acknowledged is lost.
    fn check_nothing_follows(
        &self,
        number: u64,
        bytes: &[u8],
        end: usize,
    ) -> Result<(), (usize, Corruption)> {
        let expected = self.expected();
        for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
            let offset = index * BLOCK_BYTES;
            if offset < end {
                continue;
            }
            let header = self.own_header(number, block).map_err(|what| (offset, what))?;
            // The batch expected next may stand here torn, but only where it belongs.
            let torn_tail = offset == end && !self.ended;
            if let Some((header, _)) = header
                && (header.seq > expected || header.seq == expected && !torn_tail)
            {
                return Err((end, Corruption::LostBatch { expected, found: header.seq }));
            }
        }
        Ok(())
    }
}

fn take_frames(
    header: &BatchHeader,
    payload: &[u8],
    take: &mut impl FnMut(PartitionId, &Frame<'_>) -> Result<(), Corruption>,
) -> Result<(), Corruption> {
    let seq = header.seq;
    let mut rest = payload;
    let mut count = header.frame_count;
    while header.opens_segment && count > 0 && decode_fence(&mut rest).is_some() {
        count -= 1;
    }
    for _ in 0..count {
        let (partition, frame) =
            decode_frame(&mut rest).map_err(|what| Corruption::BadFrame { seq, what })?;
        if version_of(&frame) > header.version {
            let what = "its kind is unknown to the version of its batch";
            return Err(Corruption::BadFrame { seq, what });
        }
        if header.opens_segment != matches!(frame, Frame::Restatement(_)) {
            let what = "restatements stand in the opening batch, and no other frame of a partition";
            return Err(Corruption::BadFrame { seq, what });
        }
        take(partition, &frame)?;
    }
    if !rest.is_empty() {
        return Err(Corruption::BadFrame { seq, what: "bytes are left behind the last frame" });
    }
    Ok(())
}

fn usize_of(value: u32) -> usize {
    usize::try_from(value).expect("u32 fits usize")
}
