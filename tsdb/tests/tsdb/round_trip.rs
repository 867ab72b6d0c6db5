//! What goes in comes out.

use novax_model::{MEASURANDS, MeterTick, Timestamp};
use novax_tsdb::{
    BlockBuilder, CHUNK_TICKS_MAX, Chunk, chunk_bounds, decode_block, decode_chunk, decode_column,
    encode_chunk,
};
use proptest::prelude::*;

use crate::ticks::{any_series, any_tick, steady_charging};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_chunk_gives_back_every_series(ticks in any_series()) {
        let bytes = encode_chunk(&ticks);
        prop_assert_eq!(&decode_chunk(&bytes).unwrap(), &ticks);

        let (first, last) = (ticks[0].at, ticks[ticks.len() - 1].at);
        prop_assert_eq!(chunk_bounds(&bytes).unwrap(), (first, last, ticks.len()));
        let chunk = Chunk::open(&bytes).unwrap();
        prop_assert_eq!((chunk.first(), chunk.last(), chunk.len()), (first, last, ticks.len()));
        let stamps: Vec<Timestamp> = ticks.iter().map(|tick| tick.at).collect();
        prop_assert_eq!(chunk.stamps().unwrap(), stamps);
    }

    #[test]
    fn a_projected_column_is_the_column_of_the_ticks(ticks in any_series()) {
        let bytes = encode_chunk(&ticks);
        for measurand in MEASURANDS {
            let column: Vec<Option<i64>> = ticks.iter().map(|tick| tick.get(measurand)).collect();
            prop_assert_eq!(decode_column(&bytes, measurand).unwrap(), column);
        }
    }

    #[test]
    fn a_block_gives_back_every_tick_in_the_order_pushed(
        pushed in prop::collection::vec((prop_oneof![0_u64..6, any::<u64>()], any_tick()), 0..200),
    ) {
        let mut block = BlockBuilder::new();
        for (series, tick) in &pushed {
            block.push(*series, *tick);
        }
        prop_assert_eq!(block.len(), pushed.len());
        let bytes = block.finish();
        let mut expected = pushed;
        expected.sort_by_key(|(series, _)| *series);
        prop_assert_eq!(decode_block(&bytes).unwrap(), expected);
    }
}

#[test]
fn a_single_tick_is_a_chunk() {
    let extremes = [Some(i64::MIN), Some(i64::MAX), None, Some(0), Some(-1), None];
    for at in [0, 1, u64::MAX] {
        let ticks = [MeterTick { at: Timestamp(at), values: extremes }];
        assert_eq!(decode_chunk(&encode_chunk(&ticks)).unwrap(), ticks);
    }
}

#[test]
fn values_that_jump_from_end_to_end_come_back() {
    let jumping = |n: u64| if n.is_multiple_of(2) { i64::MIN } else { i64::MAX };
    let ticks: Vec<MeterTick> = (0..300)
        .map(|n| MeterTick { at: Timestamp(n * n * n), values: [Some(jumping(n)); 6] })
        .skip(1)
        .collect();
    assert_eq!(decode_chunk(&encode_chunk(&ticks)).unwrap(), ticks);

    let far = [0, 1, u64::MAX - 1, u64::MAX];
    let ticks = far.map(|at| MeterTick { at: Timestamp(at), values: [None; 6] });
    assert_eq!(decode_chunk(&encode_chunk(&ticks)).unwrap(), ticks);
}

#[test]
fn the_largest_chunk_comes_back() {
    let ticks = steady_charging(CHUNK_TICKS_MAX);
    assert_eq!(decode_chunk(&encode_chunk(&ticks)).unwrap(), ticks);
}

#[test]
fn an_empty_block_is_a_block() {
    assert!(BlockBuilder::new().is_empty());
    assert_eq!(decode_block(&BlockBuilder::new().finish()).unwrap(), []);
}

#[test]
#[should_panic(expected = "stamps increase")]
fn a_chunk_refuses_a_stamp_twice() {
    let _ = encode_chunk(&[MeterTick::default(), MeterTick::default()]);
}
