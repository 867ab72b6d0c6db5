//! Frames: a length, a lane, a checksum, and some bytes of a message.
//!
//! * No frame is longer than [`FRAME_BODY_BYTES_MAX`], known before its body is waited for: a large message is cut, so
//!   that an urgent one never waits behind the whole of it.
//! * Bytes that fail their checksum are never handed on.

use crate::error::Refusal;
use bytes::{Buf, Bytes, BytesMut};

/// Bytes ahead of the body.
pub const HEADER_BYTES: usize = 12;
/// The longest body.
pub const FRAME_BODY_BYTES_MAX: usize = 128 << 10;
/// The frame ends its message.
const LAST: u8 = 1;

/// Which queue of a link something goes through. Lanes are told in the order in which they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// The link's own: pings, and why it ends.
    Control = 1,
    /// Messages of Raft.
    Raft = 2,
    /// Answers to requests.
    Answer = 3,
    /// Requests.
    Request = 4,
    /// Snapshots and their credit.
    Snapshot = 5,
}

impl Lane {
    /// All of them, the most urgent first.
    pub const ALL: [Lane; 5] =
        [Lane::Control, Lane::Raft, Lane::Answer, Lane::Request, Lane::Snapshot];

    fn of_number(number: u8) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| *lane as u8 == number)
    }

    /// Its place in [`Lane::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize - 1
    }

    /// The largest message of this lane.
    #[must_use]
    pub const fn message_bytes_max(self) -> usize {
        match self {
            // Single frames always.
            Lane::Control => 64,
            Lane::Snapshot => FRAME_BODY_BYTES_MAX,
            Lane::Raft => 64 << 20,
            Lane::Answer | Lane::Request => 16 << 20,
        }
    }
}

/// A frame that came, its checksum right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Where it belongs.
    pub lane: Lane,
    /// Whether it ends its message.
    pub last: bool,
    /// Its bytes.
    pub body: Bytes,
}

/// Adds a frame to `out`, its body the parts one after another.
pub(crate) fn encode(lane: Lane, last: bool, parts: [&[u8]; 2], out: &mut Vec<u8>) {
    let len = parts[0].len() + parts[1].len();
    assert!(len <= FRAME_BODY_BYTES_MAX, "a frame of {len} bytes");
    let mut header = [0; HEADER_BYTES];
    let bytes = u32::try_from(len).expect("bounded above").to_le_bytes();
    header[..4].copy_from_slice(&bytes);
    header[4] = lane as u8;
    header[5] = if last { LAST } else { 0 };
    let sum = checksum(&header[..8], parts);
    header[8..].copy_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(parts[0]);
    out.extend_from_slice(parts[1]);
}

fn checksum(header: &[u8], parts: [&[u8]; 2]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(header);
    sum.update(parts[0]);
    sum.update(parts[1]);
    sum.finalize()
}

/// Takes the first frame off `input`, if all of it is there.
///
/// # Errors
/// [`Refusal`] as soon as what is there can be no frame: nothing behind it can be trusted.
pub(crate) fn take(input: &mut BytesMut) -> Result<Option<Frame>, Refusal> {
    let Some(header) = input.first_chunk::<HEADER_BYTES>().copied() else { return Ok(None) };
    let [l0, l1, l2, l3, lane, flags, r0, r1, c0, c1, c2, c3] = header;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if len > FRAME_BODY_BYTES_MAX {
        return Err(Refusal::Oversize);
    }
    let lane = Lane::of_number(lane).ok_or(Refusal::Lane)?;
    if flags & !LAST != 0 || r0 != 0 || r1 != 0 {
        return Err(Refusal::Lane);
    }
    if input.len() < HEADER_BYTES + len {
        input.reserve(HEADER_BYTES + len - input.len());
        return Ok(None);
    }
    input.advance(HEADER_BYTES);
    let body = input.split_to(len).freeze();
    if checksum(&header[..8], [&body, &[]]) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(Refusal::Checksum);
    }
    Ok(Some(Frame { lane, last: flags & LAST != 0, body }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lane() -> impl Strategy<Value = Lane> {
        prop::sample::select(Lane::ALL.to_vec())
    }

    fn frames() -> impl Strategy<Value = Vec<(Lane, bool, Vec<u8>)>> {
        let body = prop::collection::vec(any::<u8>(), 0..300);
        prop::collection::vec((lane(), any::<bool>(), body), 0..8)
    }

    fn encoded(frames: &[(Lane, bool, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (lane, last, body) in frames {
            let (head, tail) = body.split_at(body.len() / 2);
            encode(*lane, *last, [head, tail], &mut bytes);
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in frames(), pieces in prop::collection::vec(1_usize..200, 1..20),
        ) {
            let bytes = encoded(&frames);
            let mut input = BytesMut::new();
            let mut found = Vec::new();
            let (mut at, mut piece) = (0, pieces.iter().cycle());
            while at < bytes.len() {
                let to = bytes.len().min(at + piece.next().expect("it cycles"));
                input.extend_from_slice(&bytes[at..to]);
                at = to;
                while let Some(frame) = take(&mut input).expect("nothing is wrong") {
                    found.push((frame.lane, frame.last, frame.body.to_vec()));
                }
            }
            prop_assert_eq!(found, frames);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn no_flipped_bit_goes_unseen(
            body in prop::collection::vec(any::<u8>(), 0..100), lane in lane(), bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            encode(lane, true, [&body, &[]], &mut bytes);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A length that grew waits for bytes that never come; nothing wrong is handed on.
            let taken = take(&mut BytesMut::from(&bytes[..]));
            prop_assert!(!matches!(taken, Ok(Some(_))), "bit {bit}: {taken:?}");
        }
    }

    #[test]
    fn a_frame_too_long_is_refused_before_its_body_comes() {
        let mut bytes = Vec::new();
        encode(Lane::Raft, true, [&[0; FRAME_BODY_BYTES_MAX], &[]], &mut bytes);
        assert!(take(&mut BytesMut::from(&bytes[..])).expect("as long as it may be").is_some());
        let over = u32::try_from(FRAME_BODY_BYTES_MAX + 1).expect("small");
        bytes[..4].copy_from_slice(&over.to_le_bytes());
        assert_eq!(take(&mut BytesMut::from(&bytes[..HEADER_BYTES])), Err(Refusal::Oversize));
    }

    #[test]
    fn lanes_and_flags_that_mean_nothing_are_refused() {
        let mut bytes = Vec::new();
        encode(Lane::Request, true, [b"x", &[]], &mut bytes);
        for (at, value) in [(4, 0), (4, 6), (5, 2), (6, 1), (7, 1)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert_eq!(take(&mut BytesMut::from(&wrong[..])), Err(Refusal::Lane), "byte {at}");
        }
    }
}
