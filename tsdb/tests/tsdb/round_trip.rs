//! What goes in comes out.

use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};
use novax_tsdb::generate::{Config, Generated, Generator};
use novax_tsdb::{
    Aggregate, BlockBuilder, CHUNK_TICKS_MAX, Chunk, Columns, Remark, Scratch, chunk_bounds,
    decode_block, decode_chunk, decode_column, encode_chunk, encode_chunk_with,
};
use proptest::prelude::*;

use crate::ticks::{any_remark, any_series, any_tick, steady_charging};

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
    fn what_is_loaded_together_is_what_is_loaded_alone(
        one in any_series(), other in any_series(), columns in prop::collection::vec(0_usize..6, 0..6),
        is_timed in any::<bool>(),
    ) {
        let mut wanted = if is_timed { Columns::STAMPS } else { Columns::NONE };
        for column in columns {
            wanted = wanted.and(Columns::of(MEASURANDS[column]));
        }
        // One scratch for both: nothing of the first is left in the second.
        let mut scratch = Scratch::new();
        for ticks in [one, other] {
            let bytes = encode_chunk(&ticks);
            Chunk::open(&bytes).unwrap().load(wanted, &mut scratch).unwrap();
            if is_timed {
                prop_assert!(scratch.stamps().iter().eq(ticks.iter().map(|tick| &tick.at)));
            }
            for measurand in MEASURANDS.into_iter().filter(|one| wanted.has(*one)) {
                let column = scratch.column(measurand);
                prop_assert_eq!(column.len(), ticks.len());
                prop_assert!(column.iter().eq(ticks.iter().map(|tick| tick.get(measurand))));
            }
        }
    }

    #[test]
    fn an_aggregate_is_that_of_a_loop(
        ticks in any_series(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let bytes = encode_chunk(&ticks);
        let chunk = Chunk::open(&bytes).unwrap();
        let (from, to) = if whole {
            (Timestamp::ZERO, Timestamp(u64::MAX))
        } else {
            (from.get(&ticks).at, to.get(&ticks).at)
        };
        for measurand in MEASURANDS {
            let mut expected: Option<Aggregate> = None;
            for tick in ticks.iter().filter(|tick| from <= tick.at && tick.at < to) {
                let Some(value) = tick.get(measurand) else { continue };
                let one = expected.get_or_insert(Aggregate {
                    count: 0, min: value, max: value, sum: 0, first: (tick.at, value), last: (tick.at, value),
                });
                one.count += 1;
                one.min = one.min.min(value);
                one.max = one.max.max(value);
                one.sum += i128::from(value);
                one.last = (tick.at, value);
            }
            let found = chunk.aggregate(measurand, from, to, &mut Scratch::new()).unwrap();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn remarks_come_back(
        ticks in any_series(), remarks in prop::collection::btree_map(0_u32..300, any_remark(), 0..20),
    ) {
        let remarks: Vec<Remark> = remarks
            .into_iter()
            .filter(|(row, _)| (*row as usize) < ticks.len())
            .map(|(row, remark)| Remark { row, ..remark })
            .collect();
        let bytes = encode_chunk_with(&ticks, &remarks);
        prop_assert_eq!(Chunk::open(&bytes).unwrap().remarks().unwrap(), remarks);
        prop_assert_eq!(decode_chunk(&bytes).unwrap(), ticks);
    }

    #[test]
    fn generated_telemetry_comes_back(seed in any::<u64>(), ticks in 1_u32..1_025, place in 0_u32..1_000) {
        let config = Config { ticks, ..Config::default() };
        let one = Generator::new(seed, config).series(place);
        prop_assert_eq!(decode_chunk(&encode_chunk(&one.ticks)).unwrap(), one.ticks);
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
fn a_seed_gives_the_same_fleet_and_another_seed_another() {
    let config = Config { connectors: 40, ticks: 50, ..Config::default() };
    let fleet = |seed| Generator::new(seed, config).collect::<Vec<_>>();
    assert_eq!(fleet(7), fleet(7));
    assert_ne!(fleet(7), fleet(8));
    assert_eq!(fleet(7)[13], Generator::new(7, config).series(13));
    assert!(fleet(7).is_sorted_by(|a, b| a.series < b.series));
    let has_power =
        |one: &&Generated| one.ticks.iter().any(|tick| tick.get(Measurand::Power) > Some(0));
    let charging = fleet(7).iter().filter(has_power).count();
    assert!((8..=30).contains(&charging), "{charging} of 40 charge");
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
