//! The bytes of batch headers and frames, as `docs/formats/log.md` lays them down. Pure: decoding
//! takes any bytes, never panics, and allocates nothing.

use crate::block::BLOCK_BYTES;
use crate::merge::{Frame, GroupMeta, HardState, Position};
use novax_model::PartitionId;

/// Batches of frames that version 1 knows are written as it wrote them.
pub(crate) const VERSION_1: u16 = 1;
/// Batches with frames of groups that have several members.
pub(crate) const VERSION_2: u16 = 2;
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const FRAME_BYTES: usize = 24;
const MAGIC: [u8; 4] = *b"NXBL";
const FLAG_OPENS_SEGMENT: u16 = 1;
const HEADER_CRC_AT: usize = 60;

const KIND_ENTRY: u8 = 1;
const KIND_HARD_STATE: u8 = 2;
const KIND_MARK: u8 = 3;
const KIND_RESTATEMENT: u8 = 4;
const KIND_FENCE: u8 = 5;
const KIND_CHANGE: u8 = 6;
const KIND_INSTALLED: u8 = 7;
const HARD_STATE_DATA_BYTES: usize = 8;
const RESTATEMENT_DATA_BYTES: usize = 40;
/// What one restatement takes in a batch.
pub(crate) const RESTATEMENT_BYTES: usize = FRAME_BYTES + RESTATEMENT_DATA_BYTES;

/// The header of a batch, without its own checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) version: u16,
    pub(crate) opens_segment: bool,
    pub(crate) incarnation: u64,
    pub(crate) segment: u64,
    pub(crate) seq: u64,
    pub(crate) payload_bytes: u32,
    pub(crate) frame_count: u32,
    pub(crate) payload_crc: u32,
    pub(crate) previous_crc: u32,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAHeader {
    /// Zeros, a torn write, or anything else.
    Unreadable,
    /// Checksum and magic are right, the version is not ours.
    UnknownVersion(u16),
}

impl BatchHeader {
    /// The header's bytes, and the checksum in them by which the next batch refers to this one.
    pub(crate) fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        let flags = if self.opens_segment { FLAG_OPENS_SEGMENT } else { 0 };
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&self.version.to_le_bytes());
        bytes[6..8].copy_from_slice(&flags.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.seq.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.frame_count.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.previous_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..HEADER_CRC_AT]);
        bytes[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads a header from the start of a block.
    pub(crate) fn decode(block: &[u8]) -> Result<(BatchHeader, u32), NotAHeader> {
        let Some(bytes) = block.first_chunk::<HEADER_BYTES>() else {
            return Err(NotAHeader::Unreadable);
        };
        let crc = u32_at(bytes, HEADER_CRC_AT);
        if bytes[0..4] != MAGIC || crc != crc32fast::hash(&bytes[..HEADER_CRC_AT]) {
            return Err(NotAHeader::Unreadable);
        }
        let version = u16_at(bytes, 4);
        let flags = u16_at(bytes, 6);
        if !matches!(version, VERSION_1 | VERSION_2) || flags & !FLAG_OPENS_SEGMENT != 0 {
            return Err(NotAHeader::UnknownVersion(version));
        }
        let header = BatchHeader {
            version,
            opens_segment: flags & FLAG_OPENS_SEGMENT != 0,
            incarnation: u64_at(bytes, 8),
            segment: u64_at(bytes, 16),
            seq: u64_at(bytes, 24),
            payload_bytes: u32_at(bytes, 32),
            frame_count: u32_at(bytes, 36),
            payload_crc: u32_at(bytes, 40),
            previous_crc: u32_at(bytes, 44),
        };
        Ok((header, crc))
    }

    /// Bytes of the whole batch, padding included.
    pub(crate) fn batch_bytes(&self) -> usize {
        let bytes = HEADER_BYTES + usize::try_from(self.payload_bytes).expect("u32 fits usize");
        bytes.next_multiple_of(BLOCK_BYTES)
    }
}

/// A fence: how far the log of a shard in an earlier incarnation was read at the start of this run.
/// It stands in the opening batch, where the shard takes the partition's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) shard: u16,
    pub(crate) incarnation: u64,
    pub(crate) seq: u64,
}

/// What one fence takes in a batch.
pub(crate) const FENCE_BYTES: usize = FRAME_BYTES;

/// Writes a fence in the way of [`encode_frame`].
pub(crate) fn encode_fence(fence: &Fence, mut put: impl FnMut(&[u8])) {
    put(&frame_header(KIND_FENCE, PartitionId(fence.shard), 0, fence.incarnation, fence.seq));
}

/// Takes a fence off the front of a payload if there is one.
pub(crate) fn decode_fence(payload: &mut &[u8]) -> Option<Fence> {
    let (header, rest) = payload.split_first_chunk::<FRAME_BYTES>()?;
    if header[0] != KIND_FENCE || header[1] != 0 || u32_at(header, 4) != 0 {
        return None;
    }
    *payload = rest;
    Some(Fence {
        shard: u16_at(header, 2),
        incarnation: u64_at(header, 8),
        seq: u64_at(header, 16),
    })
}

/// The oldest version of a batch that may hold the frame.
pub(crate) fn version_of(frame: &Frame<'_>) -> u16 {
    match frame {
        Frame::Change { .. } | Frame::Installed(_) => VERSION_2,
        Frame::Entry { .. } | Frame::HardState(_) | Frame::Mark(_) | Frame::Restatement(_) => {
            VERSION_1
        }
    }
}

/// Writes a frame through `put`, which takes the frame's header and its data piece by piece.
pub(crate) fn encode_frame(partition: PartitionId, frame: &Frame<'_>, mut put: impl FnMut(&[u8])) {
    match *frame {
        Frame::Entry { at, data } => {
            put(&frame_header(KIND_ENTRY, partition, data.len(), at.term, at.index));
            put(data);
        }
        Frame::HardState(hard) => {
            let data = hard.vote.to_le_bytes();
            put(&frame_header(KIND_HARD_STATE, partition, data.len(), hard.term, hard.commit));
            put(&data);
        }
        Frame::Change { at, data } => {
            put(&frame_header(KIND_CHANGE, partition, data.len(), at.term, at.index));
            put(data);
        }
        Frame::Mark(at) => put(&frame_header(KIND_MARK, partition, 0, at.term, at.index)),
        Frame::Installed(at) => {
            put(&frame_header(KIND_INSTALLED, partition, 0, at.term, at.index));
        }
        Frame::Restatement(meta) => {
            let GroupMeta { mark, hard, last } = meta;
            let fields = [hard.term, hard.vote, hard.commit, last.index, last.term];
            put(&frame_header(
                KIND_RESTATEMENT,
                partition,
                RESTATEMENT_DATA_BYTES,
                mark.term,
                mark.index,
            ));
            for field in fields {
                put(&field.to_le_bytes());
            }
        }
    }
}

fn frame_header(
    kind: u8,
    partition: PartitionId,
    data_bytes: usize,
    term: u64,
    index: u64,
) -> [u8; FRAME_BYTES] {
    let data_bytes = u32::try_from(data_bytes).expect("entries are bounded far below 4 GiB");
    let mut bytes = [0; FRAME_BYTES];
    bytes[0] = kind;
    bytes[2..4].copy_from_slice(&partition.0.to_le_bytes());
    bytes[4..8].copy_from_slice(&data_bytes.to_le_bytes());
    bytes[8..16].copy_from_slice(&term.to_le_bytes());
    bytes[16..24].copy_from_slice(&index.to_le_bytes());
    bytes
}

/// Takes the next frame off the front of a payload; says what is wrong if there is none.
pub(crate) fn decode_frame<'a>(
    payload: &mut &'a [u8],
) -> Result<(PartitionId, Frame<'a>), &'static str> {
    let Some((header, rest)) = payload.split_first_chunk::<FRAME_BYTES>() else {
        return Err("its header is cut off");
    };
    let data_bytes = usize::try_from(u32_at(header, 4)).expect("u32 fits usize");
    let Some((data, rest)) = rest.split_at_checked(data_bytes) else {
        return Err("its data is cut off");
    };
    if header[1] != 0 {
        return Err("its reserved byte is set");
    }
    let partition = PartitionId(u16_at(header, 2));
    let at = Position { term: u64_at(header, 8), index: u64_at(header, 16) };
    let frame = match (header[0], data.len()) {
        (KIND_ENTRY, _) => Frame::Entry { at, data },
        (KIND_HARD_STATE, HARD_STATE_DATA_BYTES) => {
            Frame::HardState(HardState { term: at.term, vote: u64_at(data, 0), commit: at.index })
        }
        (KIND_CHANGE, _) => Frame::Change { at, data },
        (KIND_MARK, 0) => Frame::Mark(at),
        (KIND_INSTALLED, 0) => Frame::Installed(at),
        (KIND_RESTATEMENT, RESTATEMENT_DATA_BYTES) => Frame::Restatement(GroupMeta {
            mark: at,
            hard: HardState {
                term: u64_at(data, 0),
                vote: u64_at(data, 8),
                commit: u64_at(data, 16),
            },
            last: Position { index: u64_at(data, 24), term: u64_at(data, 32) },
        }),
        (KIND_HARD_STATE | KIND_MARK | KIND_RESTATEMENT | KIND_INSTALLED, _) => {
            return Err("its length is wrong");
        }
        _ => return Err("its kind is unknown"),
    };
    *payload = rest;
    Ok((partition, frame))
}

// The three readers below are only called with offsets inside buffers whose length was checked.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> BatchHeader {
        BatchHeader {
            version: VERSION_1,
            opens_segment: true,
            incarnation: 7,
            segment: 3,
            seq: 99,
            payload_bytes: 4033,
            frame_count: 2,
            payload_crc: 0xdead_beef,
            previous_crc: 0x0102_0304,
        }
    }

    #[test]
    fn a_header_reads_back_as_written() {
        let (bytes, crc) = header().encode();
        assert_eq!(BatchHeader::decode(&bytes), Ok((header(), crc)));
        assert_eq!(header().batch_bytes(), 2 * BLOCK_BYTES, "one byte past the first block");
    }

    #[test]
    fn no_changed_bit_of_a_header_goes_unseen() {
        let (bytes, _) = header().encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHeader::decode(&changed), Err(NotAHeader::Unreadable), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_named_not_taken_for_damage() {
        let (mut bytes, _) = header().encode();
        bytes[4] = 3;
        let crc = crc32fast::hash(&bytes[..HEADER_CRC_AT]);
        bytes[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(BatchHeader::decode(&bytes), Err(NotAHeader::UnknownVersion(3)));
    }

    #[test]
    fn each_kind_of_frame_reads_back_as_written() {
        let at = Position { index: 1 << 40, term: 5 };
        let hard = HardState { term: 6, vote: 1, commit: 17 };
        let frames = [
            Frame::Entry { at, data: b"hold" },
            Frame::Entry { at, data: b"" },
            Frame::Change { at, data: b"add n2" },
            Frame::HardState(hard),
            Frame::Mark(at),
            Frame::Installed(at),
            Frame::Restatement(GroupMeta { mark: at, hard, last: Position { index: 9, term: 8 } }),
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            encode_frame(PartitionId(513), frame, |piece| bytes.extend_from_slice(piece));
        }
        let mut rest = bytes.as_slice();
        for frame in &frames {
            assert_eq!(decode_frame(&mut rest).as_ref(), Ok(&(PartitionId(513), *frame)));
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn fences_stand_before_frames_and_are_not_taken_for_them() {
        let fence = Fence { shard: 300, incarnation: 1 << 33, seq: 1 << 34 };
        let mut bytes = Vec::new();
        encode_fence(&fence, |piece| bytes.extend_from_slice(piece));
        assert_eq!(bytes.len(), FENCE_BYTES);
        let mark = Frame::Mark(Position { index: 1, term: 1 });
        encode_frame(PartitionId(1), &mark, |piece| bytes.extend_from_slice(piece));
        let mut rest = bytes.as_slice();
        assert_eq!(decode_frame(&mut rest), Err("its kind is unknown"));
        assert_eq!(decode_fence(&mut rest), Some(fence));
        assert_eq!(decode_fence(&mut rest), None);
        assert_eq!(decode_frame(&mut rest), Ok((PartitionId(1), mark)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = BatchHeader::decode(&bytes);
            let mut rest = bytes.as_slice();
            while decode_fence(&mut rest).is_some() || decode_frame(&mut rest).is_ok() {}
        }
    }
}
