//! What fuzzers and property tests call: foreign bytes through every parser, behind the checksums.
//!
//! A checksum keeps a fuzzer out, so these put the right one there, or go in behind it. What is
//! claimed: no panic, memory bounded by the announced rows, and what is accepted is well formed.

use novax_model::{MEASURANDS, Timestamp};

use crate::block::{BLOCK_TICKS_MAX, decode_block};
use crate::bytes;
use crate::chunk::{CHUNK_TICKS_MAX, Chunk, decode_chunk, encode_chunk_with};
use crate::clean::Limits;
use crate::cold::fuzz_cold;
use crate::floats;
use crate::open::{OpenPart, OpenSeries};
use crate::rollup::{decode_rollup, encode_rollup};
use crate::rows::Scratch;

/// A chunk without its checksum.
pub fn fuzz_chunk(data: &[u8]) {
    let mut sealed = data.to_vec();
    bytes::seal(&mut sealed);
    let Ok(chunk) = Chunk::open(&sealed) else { return };
    assert!((1..=CHUNK_TICKS_MAX).contains(&chunk.len()), "a chunk is bounded");
    let mut scratch = Scratch::new();
    for measurand in MEASURANDS {
        if let Ok(column) = chunk.column(measurand) {
            assert_eq!(column.len(), chunk.len(), "a value or none for each tick");
        }
        let end = Timestamp(u64::MAX);
        let _ = chunk.aggregate(measurand, Timestamp::ZERO, end, &mut scratch);
    }
    let (Ok(ticks), Ok(remarks)) = (chunk.ticks(), chunk.remarks()) else { return };
    assert!(ticks.is_sorted_by(|a, b| a.at < b.at), "stamps increase");
    // What was accepted can be written and read again.
    let again = encode_chunk_with(&ticks, &remarks);
    assert_eq!(decode_chunk(&again).as_ref(), Ok(&ticks), "the same ticks");
}

/// A block without its checksum.
pub fn fuzz_block(data: &[u8]) {
    let mut sealed = data.to_vec();
    bytes::seal(&mut sealed);
    if let Ok(ticks) = decode_block(&sealed) {
        assert!(ticks.len() <= BLOCK_TICKS_MAX, "a block is bounded");
        assert!(ticks.is_sorted_by_key(|(series, _)| *series), "series ascend");
    }
}

/// Index and blocks of a cold file: the first bytes say which, and of what rows.
pub fn fuzz_cold_file(data: &[u8]) {
    let Some(([what, rows, more], rest)) = data.split_first_chunk() else { return };
    let lengths = [usize::from(*rows) + 1, usize::from(*more) * 16 + 1];
    fuzz_cold(*what, lengths, rest);
}

/// A column of floats without its checksum.
pub fn fuzz_floats(data: &[u8]) {
    let mut sealed = data.to_vec();
    bytes::seal(&mut sealed);
    if let Ok(values) = floats::decode_floats(&sealed) {
        assert!(values.len() <= floats::FLOATS_MAX, "a column of floats is bounded");
        let again = floats::decode_floats(&floats::encode_floats(&values)).expect("our own bytes");
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&again), bits(&values), "the same bits");
    }
}

/// A rollup row without its checksum.
pub fn fuzz_rollup(data: &[u8]) {
    let mut sealed = data.to_vec();
    bytes::seal(&mut sealed);
    if let Ok(rollup) = decode_rollup(&sealed) {
        assert!((1..=CHUNK_TICKS_MAX).contains(&rollup.buckets.len()), "buckets are bounded");
        assert_eq!(
            decode_rollup(&encode_rollup(&rollup)).as_ref(),
            Ok(&rollup),
            "the same buckets"
        );
    }
}

/// The open end of a series: a state and a piece, both without their checksums.
pub fn fuzz_open(data: &[u8]) {
    let Some((at, rest)) = data.split_first() else { return };
    let (state, piece) = rest.split_at(usize::from(*at).min(rest.len()));
    let sealed = |bytes: &[u8]| {
        let mut sealed = bytes.to_vec();
        bytes::seal(&mut sealed);
        sealed
    };
    let parts =
        [(OpenPart::State, sealed(state)), (OpenPart::Piece(Timestamp::ZERO), sealed(piece))];
    if let Ok(mut series) = OpenSeries::restore(Timestamp::ZERO, parts) {
        assert!(!series.is_dirty(), "what was read is what is written");
        let mut out = Vec::new();
        series.seal_past(&Limits::default(), Timestamp::MAX, &mut out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{fuzz_block, fuzz_chunk, fuzz_cold_file, fuzz_floats, fuzz_open, fuzz_rollup};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn foreign_bytes_never_panic(mut data in prop::collection::vec(any::<u8>(), 0..300), version in 0_u8..3) {
            if let Some(first) = data.first_mut() {
                *first = version;
            }
            fuzz_chunk(&data);
            fuzz_block(&data);
            fuzz_floats(&data);
            fuzz_rollup(&data);
            fuzz_open(&data);
        }

        #[test]
        fn foreign_bytes_in_a_cold_file_never_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz_cold_file(&data);
        }
    }
}
