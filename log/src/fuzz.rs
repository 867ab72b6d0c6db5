//! The entry of the fuzz target, here so that plain tests can run its corpus without a fuzzer.
//!
//! Checksums would turn every foreign byte away at the door, so foreign bytes are also made the inside of batches whose
//! checksums are right. Claimed is, beside that nothing panics: what reads as frames is written back to the same bytes;
//! what a segment says it holds fits into it.

use crate::block::BLOCK_BYTES;
use crate::format::{
    BatchHeader, HEADER_BYTES, VERSION_1, VERSION_2, decode_fence, decode_frame, encode_fence,
    encode_frame,
};
use crate::scan::scan_segment;

const INCARNATION: u64 = 7;
const SEGMENT: u64 = 1;

/// Three bytes of choices, then a payload.
///
/// # Panics
/// When a claim does not hold.
pub fn fuzz_segment(data: &[u8]) {
    let Some((&[choice, frames, cut], payload)) = data.split_first_chunk::<3>() else { return };
    frames_keep_their_bytes(payload);
    fences_keep_their_bytes(payload);
    let _ = BatchHeader::decode(data);
    let _ = scan_segment(INCARNATION, SEGMENT, data);

    let frames = u32::from(frames);
    let mut segment = Vec::new();
    let (first, second) = payload.split_at(payload.len() * usize::from(cut) / 256);
    let version = if choice & 1 == 0 { VERSION_1 } else { VERSION_2 };
    let header = |seq, frame_count, previous_crc, payload: &[u8]| BatchHeader {
        version,
        opens_segment: seq == 1,
        incarnation: INCARNATION,
        segment: SEGMENT,
        seq,
        payload_bytes: u32::try_from(payload.len()).expect("inputs are small"),
        frame_count,
        payload_crc: 0,
        previous_crc,
    };
    let crc = push_batch(&mut segment, header(1, frames & 3, 0, first), first);
    push_batch(&mut segment, header(2, frames >> 2, crc, second), second);
    // What a torn write leaves of it is none, or a batch less.
    segment.truncate(segment.len() - (usize::from(choice >> 1) * 64).min(segment.len()));
    if let Ok(end) = scan_segment(INCARNATION, SEGMENT, &segment) {
        assert!(end <= segment.len() && end.is_multiple_of(BLOCK_BYTES), "{end}");
    }
}

/// Adds a batch with its checksums right; that of its header.
fn push_batch(segment: &mut Vec<u8>, mut header: BatchHeader, payload: &[u8]) -> u32 {
    let mut body = payload.to_vec();
    body.resize(header.batch_bytes() - HEADER_BYTES, 0);
    header.payload_crc = crc32fast::hash(&body);
    let (bytes, crc) = header.encode();
    assert_eq!(
        BatchHeader::decode(&bytes),
        Ok((header, crc)),
        "a header is read as it was written"
    );
    segment.extend_from_slice(&bytes);
    segment.extend_from_slice(&body);
    crc
}

fn frames_keep_their_bytes(payload: &[u8]) {
    let mut rest = payload;
    loop {
        let before = rest;
        let Ok((partition, frame)) = decode_frame(&mut rest) else { return };
        let mut again = Vec::new();
        encode_frame(partition, &frame, |bytes| again.extend_from_slice(bytes));
        assert_eq!(again, before[..before.len() - rest.len()]);
    }
}

fn fences_keep_their_bytes(payload: &[u8]) {
    let mut rest = payload;
    loop {
        let before = rest;
        let Some(fence) = decode_fence(&mut rest) else { return };
        let mut again = Vec::new();
        encode_fence(&fence, |bytes| again.extend_from_slice(bytes));
        assert_eq!(again, before[..before.len() - rest.len()]);
    }
}
