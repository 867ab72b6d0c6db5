//! Bytes of earlier builds, from `testdata/`: they must be read for ever, and as long as the version
//! is the same, written alike.

use novax_model::{MeterTick, Timestamp};
use novax_tsdb::{BlockBuilder, decode_block, decode_chunk, encode_chunk};

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.chars().filter_map(|c| c.to_digit(16)))
        .collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The ticks of `testdata/chunk-v1.hex`: a full, a constant, a mixed, an absent column.
fn chunk_ticks() -> Vec<MeterTick> {
    (0..10_i64)
        .map(|n| MeterTick {
            at: Timestamp(1_795_353_264_000_000 + (n * 5_000 + n % 3).cast_unsigned() * 1_000),
            values: [
                Some(2_300 + n % 4),
                Some(1_600),
                if n % 3 == 0 { Some(11_000 - n) } else { None },
                Some(1_234_567 + n * 15),
                None,
                Some(if n == 5 { i64::MIN } else { 400 }),
            ],
        })
        .collect()
}

/// The ticks of `testdata/block-v1.hex`, in the order pushed.
fn block_ticks() -> Vec<(u64, MeterTick)> {
    let tick = |at: u64, voltage, energy| MeterTick {
        at: Timestamp(1_795_353_264_000_000 + at),
        values: [voltage, None, None, energy, None, None],
    };
    vec![
        (0x0000_0002_0001_0001, tick(7_000, Some(2_310), Some(5))),
        (0x0000_0001_0001_0001, tick(3_000, Some(2_299), None)),
        (0x0000_0002_0001_0001, tick(5_000, Some(2_311), Some(6))),
        (0x0000_0001_0002_0001, tick(3_000, Some(2_302), Some(7_000_000))),
    ]
}

#[test]
fn a_chunk_of_version_1_is_read_and_written_for_ever() {
    let stored = from_hex(include_str!("../../testdata/chunk-v1.hex"));
    assert_eq!(to_hex(&encode_chunk(&chunk_ticks())), to_hex(&stored));
    assert_eq!(decode_chunk(&stored).unwrap(), chunk_ticks());
}

#[test]
fn a_block_of_version_1_is_read_and_written_for_ever() {
    let stored = from_hex(include_str!("../../testdata/block-v1.hex"));
    let mut block = BlockBuilder::new();
    for (series, tick) in block_ticks() {
        block.push(series, tick);
    }
    assert_eq!(to_hex(&block.finish()), to_hex(&stored));
    let mut expected = block_ticks();
    expected.sort_by_key(|(series, _)| *series);
    assert_eq!(decode_block(&stored).unwrap(), expected);
}
