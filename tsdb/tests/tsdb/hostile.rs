//! Bytes that are no chunk and no block: refused, without panic and without much memory.

use novax_model::{MEASURANDS, MeterTick, Timestamp};
use novax_tsdb::{
    BLOCK_TICKS_MAX, BlockBuilder, CHUNK_TICKS_MAX, Chunk, Error, Head, OpenPart, OpenSeries,
    Remark, decode_block, decode_chunk, encode_chunk, encode_chunk_with,
};
use proptest::prelude::*;

use crate::ticks::{any_series, any_tick, steady_charging};

/// Puts the right checksum at the end, so that what is behind it is looked at.
fn reseal(mut body: Vec<u8>) -> Vec<u8> {
    let sum = crc32fast::hash(&body);
    body.extend_from_slice(&sum.to_le_bytes());
    body
}

/// Everything that reads a chunk.
fn read_chunk(bytes: &[u8]) {
    if let Ok(ticks) = decode_chunk(bytes) {
        assert!(!ticks.is_empty() && ticks.len() <= CHUNK_TICKS_MAX);
        assert!(ticks.is_sorted_by(|a, b| a.at < b.at));
        // What was taken can be written again.
        assert_eq!(decode_chunk(&encode_chunk(&ticks)).unwrap(), ticks);
    }
    if let Ok(chunk) = Chunk::open(bytes) {
        let _ = chunk.stamps();
        let _ = chunk.remarks();
        for measurand in MEASURANDS {
            if let Ok(column) = chunk.column(measurand) {
                assert_eq!(column.len(), chunk.len());
            }
        }
    }
    let _ = Head::from_pieces(Timestamp::ZERO, vec![bytes.to_vec()]);
    let _ = OpenSeries::restore(Timestamp::ZERO, [(OpenPart::State, bytes.to_vec())]);
}

fn read_block(bytes: &[u8]) {
    if let Ok(ticks) = decode_block(bytes) {
        assert!(ticks.len() <= BLOCK_TICKS_MAX);
        assert!(ticks.is_sorted_by_key(|(series, _)| *series));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_chunk(&bytes);
        read_block(&bytes);
        for known in [1, 2] {
            if let Some(version) = bytes.first_mut() {
                *version = known;
            }
            let bytes = reseal(bytes.clone());
            read_chunk(&bytes);
            read_block(&bytes);
        }
    }

    #[test]
    fn a_mutated_chunk_never_panics(
        ticks in any_series(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = encode_chunk(&ticks);
        let mut body = bytes[..bytes.len() - 4].to_vec();
        read_chunk(&reseal(body[..cut.index(body.len())].to_vec()));
        let place = place.index(body.len());
        body[place] = byte;
        read_chunk(&reseal(body));
    }

    #[test]
    fn a_mutated_chunk_with_all_it_can_have_never_panics(
        place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let ticks = steady_charging(300);
        let remark = |row| Remark { row, raw: [None, Some(5), None, None, None, Some(-1)], ..Remark::default() };
        let bytes = encode_chunk_with(&ticks, &[remark(0), remark(7), remark(299)]);
        let mut body = bytes[..bytes.len() - 4].to_vec();
        let place = place.index(body.len());
        body[place] = byte;
        read_chunk(&reseal(body));
    }

    #[test]
    fn a_mutated_header_never_panics(
        ticks in any_series(), place in 0_usize..60, byte in any::<u8>(),
    ) {
        let bytes = encode_chunk(&ticks);
        let mut body = bytes[..bytes.len() - 4].to_vec();
        if let Some(target) = body.get_mut(place) {
            *target = byte;
        }
        read_chunk(&reseal(body));
    }

    #[test]
    fn a_mutated_block_never_panics(
        pushed in prop::collection::vec((0_u64..9, any_tick()), 0..60),
        place in any::<prop::sample::Index>(), byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut block = BlockBuilder::new();
        for (series, tick) in pushed {
            block.push(series, tick);
        }
        let bytes = block.finish();
        let mut body = bytes[..bytes.len() - 4].to_vec();
        read_block(&reseal(body[..cut.index(body.len())].to_vec()));
        let place = place.index(body.len());
        body[place] = byte;
        read_block(&reseal(body));
    }
}

#[test]
fn each_flipped_bit_is_found() {
    let bytes = encode_chunk(&steady_charging(20));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(decode_chunk(&flipped), Err(Error::Checksum { .. })), "bit {bit}");
    }
}

#[test]
fn each_cut_is_found() {
    let bytes = encode_chunk(&steady_charging(20));
    for length in 0..bytes.len() {
        assert!(decode_chunk(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn bytes_left_over_are_refused() {
    let bytes = encode_chunk(&steady_charging(20));
    let mut body = bytes[..bytes.len() - 4].to_vec();
    body.push(0);
    assert_eq!(decode_chunk(&reseal(body)), Err(Error::Invalid("bytes are left over")));
}

#[test]
fn another_version_is_refused_by_number() {
    let bytes = encode_chunk(&steady_charging(20));
    let mut body = bytes[..bytes.len() - 4].to_vec();
    body[0] = 3;
    assert_eq!(decode_chunk(&reseal(body)), Err(Error::UnknownVersion(3)));
}

#[test]
fn a_small_block_cannot_announce_many_ticks() {
    let mut block = BlockBuilder::new();
    block.push(1, MeterTick { at: Timestamp(1), values: [Some(1); 6] });
    let bytes = block.finish();
    let body = &bytes[..bytes.len() - 4];
    assert_eq!(body[1], 1, "the count, as a varint");
    // The same with 2^63 ticks.
    let huge = [&[1][..], &[0x80; 9], &[1], &body[2..]].concat();
    let refused = decode_block(&reseal(huge));
    assert_eq!(refused, Err(Error::Invalid("a block has at most 16384 ticks")));
}

#[test]
#[should_panic(expected = "a block is bounded")]
fn a_full_block_takes_no_more() {
    let mut block = BlockBuilder::new();
    for n in 0..=BLOCK_TICKS_MAX as u64 {
        assert_eq!(block.is_full(), block.len() == BLOCK_TICKS_MAX);
        block.push(n, MeterTick::default());
    }
}
