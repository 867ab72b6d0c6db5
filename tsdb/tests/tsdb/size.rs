//! How small it gets: bounds that a change must not quietly break.

use novax_model::{MeterTick, Timestamp};
use novax_tsdb::generate::{Config, Generator};
use novax_tsdb::{BlockBuilder, HEAD_TICKS, decode_block, encode_chunk};

use crate::ticks::{Noise, steady_charging};

/// Thousandths of a byte per tick.
fn millibytes_per_tick(bytes: usize, ticks: usize) -> usize {
    bytes * 1_000 / ticks
}

#[test]
fn steady_charging_takes_at_most_four_bytes_a_tick() {
    let ticks = steady_charging(1_024);
    let full = millibytes_per_tick(encode_chunk(&ticks).len(), ticks.len());
    let head = &ticks[..HEAD_TICKS];
    let open = millibytes_per_tick(encode_chunk(head).len(), head.len());
    println!("six values a tick: {open} mB at 128 ticks, {full} mB at 1024");
    assert!(open <= 4_000, "{open}");
    assert!(full <= 3_500, "{full}");
}

#[test]
fn a_constant_column_costs_a_few_bytes_however_long() {
    let constant = |count: u64| {
        let tick = |n: u64| MeterTick {
            at: Timestamp(1_795_353_264_000_000 + n * 5_000_000),
            values: [Some(2_300), Some(0), Some(0), Some(1_234_567), Some(210), None],
        };
        let ticks: Vec<MeterTick> = (0..count).map(tick).collect();
        encode_chunk(&ticks).len()
    };
    // The header of a long one says what the columns sum up to, too.
    assert!(constant(1_024) <= constant(2) + 20, "{} and {}", constant(2), constant(1_024));
    assert!(constant(1_024) <= 70, "{}", constant(1_024));
}

#[test]
fn a_fleet_takes_less_than_half_a_byte_a_sample() {
    let config = Config { connectors: 60, ..Config::default() };
    let (mut bytes, mut samples) = (0, 0);
    for one in Generator::new(1, config) {
        bytes += encode_chunk(&one.ticks).len();
        samples += one.ticks.len() * 6;
    }
    let each = millibytes_per_tick(bytes, samples);
    println!("{each} mB a sample, all in");
    assert!(each <= 450, "{each}");
}

#[test]
fn a_block_of_many_chargers_is_a_fifth_of_its_rows() {
    let mut noise = Noise::new(3);
    let mut block = BlockBuilder::new();
    for station in 0..1_000_u64 {
        let voltage = 2_301 + noise.around(40);
        let energy = 5_000_000 + noise.around(5_000_000);
        let values = [voltage, 1_600, voltage * 16 / 10, energy, 352, 400].map(Some);
        let at = Timestamp::from_millis(1_795_353_264_000 + station % 100);
        block.push(station << 32 | 0x1_0001, MeterTick { at, values });
    }
    let estimate = block.bytes_estimate();
    let bytes = block.finish();
    println!("{} mB a tick in a block", millibytes_per_tick(bytes.len(), 1_000));
    assert_eq!(decode_block(&bytes).unwrap().len(), 1_000);
    // Series, stamp and six values of eight bytes are 64.
    assert!(bytes.len() <= 64 * 1_000 / 5, "{}", bytes.len());
    assert!(bytes.len() <= estimate, "the estimate errs on the large side");
}
