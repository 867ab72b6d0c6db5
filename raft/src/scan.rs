//! Reading the segments of one run, batch by batch.
//!
//! Invariant: a batch is only passed on when all batches before it in the run (from the oldest
//! segment kept) were; what is not passed on is at most one batch that was never acknowledged.

use crate::block::BLOCK_BYTES;
use crate::error::{Corruption, Error, IoContext};
use crate::format::{BatchHeader, HEADER_BYTES, NotAHeader, decode_frame};
use crate::merge::Frame;
use novax_model::PartitionId;
use std::path::PathBuf;

/// A segment on disk, as its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
}

/// What the next batch must refer to. None while no batch of the run has been read.
#[derive(Debug, Clone, Copy)]
struct Chain {
    seq: u64,
    crc: u32,
}

struct Scan {
    incarnation: u64,
    chain: Option<Chain>,
    /// A segment without a batch was met: nothing may follow.
    ended: bool,
}

/// Passes each frame of the run to `take`, in order.
pub(crate) fn scan_run(
    incarnation: u64,
    segments: &[SegmentFile],
    mut take: impl FnMut(&SegmentFile, PartitionId, &Frame<'_>) -> Result<(), Corruption>,
) -> Result<(), Error> {
    let mut scan = Scan { incarnation, chain: None, ended: false };
    let mut number = segments.first().map_or(1, |segment| segment.number);
    for segment in segments {
        if segment.number != number {
            let what = Corruption::MissingSegment { number };
            return Err(Error::Corrupt { file: segment.path.clone(), offset: 0, what });
        }
        number += 1;
        let bytes = std::fs::read(&segment.path).context("read", &segment.path)?;
        let result = scan
            .segment(segment.number, &bytes, |partition, frame| take(segment, partition, frame));
        result.map_err(|(offset, what)| {
            let offset = u64::try_from(offset).expect("usize fits u64");
            Error::Corrupt { file: segment.path.clone(), offset, what }
        })?;
    }
    Ok(())
}

impl Scan {
    /// Errors carry the offset of the batch.
    fn segment(
        &mut self,
        number: u64,
        bytes: &[u8],
        mut take: impl FnMut(PartitionId, &Frame<'_>) -> Result<(), Corruption>,
    ) -> Result<(), (usize, Corruption)> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK_BYTES) {
            let bytes = u64::try_from(bytes.len()).expect("usize fits u64");
            return Err((0, Corruption::BadLength { bytes }));
        }
        let mut offset = 0;
        while !self.ended && offset < bytes.len() {
            let rest = &bytes[offset..];
            let Some((header, crc)) =
                self.next_batch(number, offset, rest).map_err(|what| (offset, what))?
            else {
                break;
            };
            let payload = &rest[HEADER_BYTES..][..usize_of(header.payload_bytes)];
            take_frames(&header, payload, &mut take).map_err(|what| (offset, what))?;
            self.chain = Some(Chain { seq: header.seq, crc });
            offset += header.batch_bytes();
        }
        if offset == 0 && number > 1 && self.chain.is_none() {
            return Err((0, Corruption::UnreadableStart));
        }
        self.check_nothing_follows(number, bytes, offset)?;
        self.ended |= offset == 0;
        Ok(())
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
            Some(last) if seq > last.seq + 1 => {
                return Err(Corruption::LostBatch { expected: last.seq + 1, found: seq });
            }
            Some(last) if seq == last.seq + 1 && header.previous_crc == last.crc => {}
            Some(_) => return Err(Corruption::BrokenChain { seq }),
        }
        if header.opens_segment != (offset == 0) {
            return Err(Corruption::BrokenChain { seq });
        }
        let Some(body) = rest.get(HEADER_BYTES..header.batch_bytes()) else {
            return Err(Corruption::BadFrame { seq, what: "the batch runs past its segment" });
        };
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
        let expected = self.chain.map_or(1, |last| last.seq + 1);
        for (index, block) in bytes.chunks_exact(BLOCK_BYTES).enumerate() {
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
    for _ in 0..header.frame_count {
        let (partition, frame) =
            decode_frame(&mut rest).map_err(|what| Corruption::BadFrame { seq, what })?;
        if header.opens_segment != matches!(frame, Frame::Restatement(_)) {
            let what = "restatements stand in the opening batch, and nothing else does";
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
