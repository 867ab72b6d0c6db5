//! Bytes of earlier builds, from `testdata/`: they must be read for ever, and as long as the version
//! is the same, written alike.

use novax_model::{Measurand, MeterTick, Timestamp};
use novax_tsdb::{
    BlockBuilder, Chunk, Flags, Remark, Scratch, decode_block, decode_chunk, encode_chunk,
    encode_chunk_with,
};

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
fn a_chunk_of_version_1_is_read_for_ever() {
    let stored = from_hex(include_str!("../../testdata/chunk-v1.hex"));
    assert_eq!(decode_chunk(&stored).unwrap(), chunk_ticks());
    let chunk = Chunk::open(&stored).unwrap();
    assert_eq!(chunk.remarks().unwrap(), []);
    let all = (Timestamp::ZERO, Timestamp(u64::MAX));
    let energy = chunk.aggregate(Measurand::Energy, all.0, all.1, &mut Scratch::new()).unwrap();
    assert_eq!(energy.unwrap().max, 1_234_567 + 9 * 15);
}

/// What cleaning remarked on the ticks of `testdata/chunk-v2.hex`.
fn chunk_remarks() -> [Remark; 2] {
    let raw_at = Some(Timestamp(1_795_353_269_900_000));
    let raw = [None, None, None, None, None, Some(65_535)];
    [
        Remark { row: 1, flags: Flags(0x0001), raw_at, raw: [None; 6] },
        Remark { row: 5, flags: Flags(0x0204), raw_at: None, raw },
    ]
}

#[test]
fn a_chunk_of_version_2_is_read_and_written_for_ever() {
    let stored = from_hex(include_str!("../../testdata/chunk-v2.hex"));
    let written = encode_chunk_with(&chunk_ticks(), &chunk_remarks());
    assert_eq!(to_hex(&written), to_hex(&stored));
    assert_eq!(decode_chunk(&stored).unwrap(), chunk_ticks());
    assert_eq!(Chunk::open(&stored).unwrap().remarks().unwrap(), chunk_remarks());
}

/// Three blocks, an AC session that begins in the middle, power and energy predicted, summaries.
#[test]
fn a_long_chunk_of_version_2_is_read_and_written_for_ever() {
    let stored = from_hex(include_str!("../../testdata/chunk-v2-long.hex"));
    let ticks = long_ticks();
    assert_eq!(to_hex(&encode_chunk(&ticks)), to_hex(&stored));
    assert_eq!(decode_chunk(&stored).unwrap(), ticks);
}

fn long_ticks() -> Vec<MeterTick> {
    let mut joules = 44_444_444_400_i64;
    let tick = |n: i64| {
        let voltage = 2_290 + n * 7 % 13;
        let current = if n < 40 { 0 } else { 1_580 + n * 5 % 9 };
        let power = voltage * current * 3 / 1_001 + n % 3;
        joules += power * 5;
        let values = [voltage, current, power, joules / 3_600, 300 + n / 9, 400 + n / 50 * 10];
        let spike = if n == 200 { 30_000 } else { 0 };
        let values = [values[0], values[1] + spike, values[2], values[3], values[4], values[5]];
        // Twelve ticks are missing before the 150th.
        let grid = if n < 150 { n } else { n + 12 };
        let at = 1_795_353_264_000 + grid * 5_000 + n * 11 % 31;
        MeterTick { at: Timestamp::from_millis(at.cast_unsigned()), values: values.map(Some) }
    };
    (0..300).map(tick).collect()
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
