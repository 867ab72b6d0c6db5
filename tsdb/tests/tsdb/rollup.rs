//! Rollup rows: what goes in comes out, and nothing else is taken.

use novax_model::{MEASURANDS, MeterTick, Timestamp};
use novax_tsdb::clean::Limits;
use novax_tsdb::rollup::{
    Resolution, Retention, Rollup, Stat, buckets, decode_rollup, encode_rollup,
};
use proptest::prelude::*;

use crate::ticks::{any_series, steady_charging};

fn rollup(resolution: Resolution, is_late: bool, ticks: &[MeterTick]) -> Rollup {
    let buckets = buckets(resolution, &Limits::default(), None, ticks.iter().copied());
    Rollup { resolution, is_late, buckets }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_rollup_comes_back(ticks in any_series(), number in 0_usize..3, is_late: bool) {
        let rollup = rollup(Resolution::ALL[number], is_late, &ticks);
        prop_assert_eq!(decode_rollup(&encode_rollup(&rollup)).unwrap(), rollup);
    }

    #[test]
    fn buckets_say_what_a_loop_says(ticks in any_series(), number in 0_usize..3) {
        let resolution = Resolution::ALL[number];
        for bucket in rollup(resolution, false, &ticks).buckets {
            let inside = ticks.iter().filter(|tick| resolution.start(tick.at) == bucket.start);
            for measurand in MEASURANDS {
                let values: Vec<i64> =
                    inside.clone().filter_map(|tick| tick.get(measurand)).collect();
                let stat = values.last().map(|last| Stat {
                    count: u32::try_from(values.len()).unwrap(),
                    min: *values.iter().min().unwrap(),
                    max: *values.iter().max().unwrap(),
                    sum: values.iter().map(|value| i128::from(*value)).sum(),
                    last: *last,
                });
                prop_assert_eq!(bucket.stat(measurand), stat.as_ref());
            }
        }
    }

    #[test]
    fn hostile_rollups_never_panic(
        ticks in any_series(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
        cut in any::<prop::sample::Index>(), garbage in prop::collection::vec(any::<u8>(), 0..99),
    ) {
        let _ = decode_rollup(&garbage);
        let bytes = encode_rollup(&rollup(Resolution::Minute, false, &ticks));
        let mut body = bytes[..bytes.len() - 4].to_vec();
        let place = place.index(body.len());
        body[place] = byte;
        body.truncate(1 + cut.index(body.len() * 4).min(body.len()));
        let sum = crc32fast::hash(&body);
        body.extend_from_slice(&sum.to_le_bytes());
        if let Ok(rollup) = decode_rollup(&body) {
            // What was taken can be written again.
            prop_assert_eq!(decode_rollup(&encode_rollup(&rollup)).unwrap(), rollup);
        }
    }
}

#[test]
fn each_flipped_bit_is_found() {
    let bytes = encode_rollup(&rollup(Resolution::Minute, true, &steady_charging(40)));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_rollup(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn each_tier_is_kept_for_its_time() {
    let retention = Retention { ticks_days: 2, rollups_days: [3, 4, 5] };
    let day = 86_400_000_000;
    let now = Timestamp(100 * day + 7);
    assert_eq!(retention.expired(None, now), Timestamp(98 * day));
    assert_eq!(retention.expired(Some(Resolution::Minute), now), Timestamp(97 * day));
    assert_eq!(retention.expired(Some(Resolution::Hour), now), Timestamp(95 * day));
    assert_eq!(retention.expired(None, Timestamp(9)), Timestamp::ZERO);
}

#[test]
fn a_rollup_of_version_1_is_read_and_written_for_ever() {
    let rollup = rollup(Resolution::Minute, false, &steady_charging(30));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/rollup-v1.hex");
    let hex: String = encode_rollup(&rollup).iter().map(|byte| format!("{byte:02x}")).collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let told = "# One-minute buckets of the first thirty ticks of tests/tsdb/ticks.rs.";
        std::fs::write(path, format!("{told}\n{hex}\n")).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap();
    let digits: String =
        stored.lines().filter(|line| !line.starts_with('#')).flat_map(str::chars).collect();
    assert_eq!(hex, digits);
    let bytes: Vec<u8> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(decode_rollup(&bytes).unwrap(), rollup);
}
