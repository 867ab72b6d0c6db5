//! What cleaning does to ticks, and what it must not do.

use novax_model::{Measurand, MeterTick, Timestamp};
use novax_tsdb::clean::{Cleaner, Limits, Row};
use novax_tsdb::remark::Flags;
use proptest::prelude::*;
use std::time::Duration;

use crate::ticks::steady_charging;

const BEGIN: u64 = 1_795_353_264_000_000;
const SECOND: u64 = 1_000_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp(BEGIN + seconds * SECOND)
}

fn one(seconds: u64, measurand: Measurand, value: i64) -> MeterTick {
    let mut tick = MeterTick { at: at(seconds), values: [None; 6] };
    tick.set(measurand, value);
    tick
}

/// Cleans registers read at their times, and says what is kept.
fn registers(readings: &[(u64, i64)]) -> Vec<(Option<i64>, Flags)> {
    let mut cleaner = Cleaner::new();
    let limits = Limits::default();
    let clean = |(seconds, value): &(u64, i64)| {
        let tick = one(*seconds, Measurand::Energy, *value);
        let row = cleaner.clean(&limits, at(*seconds), tick).expect("in time");
        let raw = row.remark.as_ref().and_then(|remark| remark.raw[Measurand::Energy as usize]);
        let kept = row.tick.get(Measurand::Energy);
        assert_eq!(raw, (kept != Some(*value)).then_some(*value), "what was changed is kept raw");
        (kept, row.flags())
    };
    readings.iter().map(clean).collect()
}

#[test]
fn clean_ticks_are_left_alone() {
    let mut cleaner = Cleaner::new();
    for tick in steady_charging(500) {
        let row = cleaner.clean(&Limits::default(), tick.at, tick);
        assert_eq!(row, Some(Row::plain(tick)));
    }
}

#[test]
fn a_register_that_falls_for_a_moment_is_a_spike() {
    let kept = registers(&[(0, 500_000), (5, 0), (10, 500_015), (15, 499_000), (20, 500_030)]);
    let none = (None, Flags::SPIKE);
    let some = |value| (Some(value), Flags::NONE);
    assert_eq!(kept, [some(500_000), none, some(500_015), none, some(500_030)]);
}

#[test]
fn a_register_that_stays_low_began_anew() {
    let mut readings = vec![(0, 500_000)];
    readings.extend((1..=13).map(|n| (n * 5, i64::try_from(n).unwrap() * 10)));
    let kept = registers(&readings);
    assert!(kept[1..12].iter().all(|kept| *kept == (None, Flags::SPIKE)), "{kept:?}");
    assert_eq!(kept[12], (Some(120), Flags::RESET));
    assert_eq!(kept[13], (Some(130), Flags::NONE));
}

#[test]
fn a_register_that_rises_too_fast_is_a_spike_until_it_stays() {
    let kept = registers(&[(0, 500_000), (5, 9_000_000), (10, 500_015), (80, 90_000_000)]);
    assert_eq!(kept[1], (None, Flags::SPIKE));
    assert_eq!(kept[2], (Some(500_015), Flags::NONE));
    assert_eq!(kept[3], (Some(90_000_000), Flags::JUMP));
}

#[test]
fn registers_go_round() {
    for modulus in [1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 1 << 32] {
        let kept = registers(&[(0, modulus - 10), (5, 5)]);
        assert_eq!(kept[1], (Some(5), Flags::ROLLOVER), "{modulus}");
        let grown = Limits::default().energy((at(0), modulus - 10), (at(5), 5));
        assert_eq!(grown, 15, "{modulus}");
    }
}

#[test]
fn units_of_registers_are_told_by_their_size() {
    let kept = registers(&[(0, 1_234_567), (5, 1_234), (10, 1_235), (15, 1_235_100)]);
    assert_eq!(kept[1], (Some(1_234_567), Flags::ENERGY_KILO));
    assert_eq!(kept[2], (Some(1_235_000), Flags::ENERGY_KILO));
    assert_eq!(kept[3], (Some(1_235_100), Flags::NONE));
    let kept = registers(&[(0, 1_234_567), (5, 1_234_580_123), (10, 1_234_590)]);
    assert_eq!(kept[1], (Some(1_234_580), Flags::ENERGY_MILLI));
    assert_eq!(kept[2], (Some(1_234_590), Flags::NONE));
}

#[test]
fn units_of_power_are_told_by_voltage_and_current() {
    let check = |voltage, current, power: i64, kept: Option<i64>, flags: Flags| {
        let values = [Some(voltage), Some(current), Some(power), None, None, None];
        let tick = MeterTick { at: at(0), values };
        let row = Cleaner::new().clean(&Limits::default(), at(0), tick).unwrap();
        assert_eq!((row.tick.get(Measurand::Power), row.flags()), (kept, flags), "{power}");
        let raw = row.remark.and_then(|remark| remark.raw[Measurand::Power as usize]);
        assert_eq!(raw, (kept != Some(power)).then_some(power));
    };
    check(2_300, 1_600, 11_040, Some(11_040), Flags::NONE);
    check(2_300, 1_600, 11, Some(11_000), Flags::POWER_KILO);
    check(2_300, 1_600, 11_040_000, Some(11_040), Flags::POWER_MILLI);
    check(2_300, 1_600, -11, Some(-11_000), Flags::POWER_KILO);
    // Standby: hardly a current, and a few watts.
    check(2_300, 10, 11, Some(11), Flags::NONE);
    check(2_300, 10, 11_040_000, None, Flags::SPIKE);
    check(2_300, 1_600, 0, Some(0), Flags::NONE);
}

#[test]
fn impossible_values_are_taken_out_alone() {
    let values = [Some(-1), Some(1_600), Some(i64::MAX), Some(i64::MIN), Some(9_999), Some(1_001)];
    let tick = MeterTick { at: at(0), values };
    let row = Cleaner::new().clean(&Limits::default(), at(0), tick).unwrap();
    assert_eq!(row.tick.values, [None, Some(1_600), None, None, None, None]);
    assert_eq!(row.flags(), Flags::SPIKE);
    let raw = row.remark.unwrap().raw;
    assert_eq!(raw, [values[0], None, values[2], values[3], values[4], values[5]]);
}

#[test]
fn a_temperature_cannot_leap() {
    let mut cleaner = Cleaner::new();
    let mut clean = |seconds, value| {
        let tick = one(seconds, Measurand::Temperature, value);
        let row = cleaner.clean(&Limits::default(), at(seconds), tick).unwrap();
        (row.tick.get(Measurand::Temperature), row.flags())
    };
    assert_eq!(clean(0, 300), (Some(300), Flags::NONE));
    assert_eq!(clean(1, 1_500), (None, Flags::SPIKE));
    assert_eq!(clean(2, 310), (Some(310), Flags::NONE));
    assert_eq!(clean(70, 1_500), (Some(1_500), Flags::NONE));
}

#[test]
fn a_clock_ahead_is_replaced_and_distances_stay() {
    let mut cleaner = Cleaner::new();
    let limits = Limits::default();
    let mut clean = |now, stamp: Timestamp| {
        let tick = MeterTick { at: stamp, values: [None; 6] };
        let row = cleaner.clean(&limits, now, tick)?;
        Some((row.tick.at, row.flags(), row.remark.and_then(|remark| remark.raw_at)))
    };
    let hour = 3_600;
    assert_eq!(clean(at(0), at(hour)), Some((at(hour), Flags::NONE, None)), "just within");
    let far = 100 * hour;
    assert_eq!(clean(at(9), at(far)), Some((at(9), Flags::CLOCK_AHEAD, Some(at(far)))));
    let next = at(far + 5);
    assert_eq!(clean(at(9), next), Some((at(14), Flags::CLOCK_AHEAD, Some(next))));
    // A year on by the device's clock: off by more than before.
    let year = at(365 * 24 * hour);
    assert_eq!(clean(at(20), year), Some((at(20), Flags::CLOCK_AHEAD, Some(year))));
    let unset = Timestamp(946_684_800_000_000);
    assert_eq!(clean(at(30), unset), Some((at(30), Flags::CLOCK_UNSET, Some(unset))));
    let days = 24 * hour * SECOND;
    assert_eq!(clean(at(0), Timestamp(BEGIN - 46 * days)), None, "too old");
    let old = Timestamp(BEGIN - 44 * days);
    assert_eq!(clean(at(0), old), Some((old, Flags::NONE, None)));
}

#[test]
fn every_flag_has_a_bit_and_a_name_of_its_own() {
    let all = Flags::NAMES.iter().fold(Flags::NONE, |all, (flag, _)| all.union(*flag));
    assert_eq!(all.0.count_ones() as usize, Flags::NAMES.len());
    assert_eq!(all.names().count(), Flags::NAMES.len());
    assert_eq!(Flags::SPIKE.union(Flags::LATE).names().collect::<Vec<_>>(), ["late", "spike"]);
}

/// Ticks as bad chargers send them, with the log's time at which each came.
fn any_feed() -> impl Strategy<Value = Vec<(Timestamp, MeterTick)>> {
    let step = prop_oneof![
        12 => (0_u64..8).prop_map(|s| s * SECOND),
        2 => (0_u64..900).prop_map(|s| s * SECOND),
        1 => Just(0),
    ];
    let stamp = prop_oneof![
        10 => Just(0_i64),
        2 => -600_i64..600,
        1 => prop_oneof![Just(400_000_i64), Just(40_000_000), Just(-5_000_000), Just(-900_000_000)],
    ];
    let register = prop_oneof![
        10 => (0_i64..30).prop_map(|grown| (1, grown)),
        1 => Just((0, 0)),
        1 => Just((1_000, 5)),
        1 => Just((-1_000, 5)),
        1 => (0_i64..5_000).prop_map(|to| (0, to)),
        1 => any::<i64>().prop_map(|to| (0, to)),
        1 => Just((1, 5_000_000)),
    ];
    let values = (
        prop_oneof![8 => 2_200_i64..2_400, 1 => any::<i64>()],
        prop_oneof![8 => 0_i64..3_200, 1 => any::<i64>()],
        prop_oneof![4 => 0_i64..22_000, 2 => 0_i64..22, 1 => 0_i64..22_000_000, 1 => any::<i64>()],
        prop_oneof![8 => 200_i64..400, 1 => any::<i64>()],
        prop_oneof![8 => 0_i64..1_000, 1 => any::<i64>()],
        any::<u8>(),
    );
    (prop::collection::vec((step, stamp, register, values), 1..80), 900_000_i64..1_100_000)
        .prop_map(|(steps, mut energy)| {
            let mut now = BEGIN;
            let tick = |(step, off, (factor, add), (v, i, p, t, s, mask))| {
                now += step;
                let seconds = i64::saturating_mul(off, 1_000_000);
                let stamp = now.saturating_add_signed(seconds);
                let said = match factor {
                    1 => {
                        energy += add;
                        energy
                    }
                    -1_000 => energy / 1_000,
                    1_000 => energy * 1_000,
                    _ => add,
                };
                let mut values = [v, i, p, said, t, s].map(Some);
                for (place, value) in values.iter_mut().enumerate() {
                    if mask >> place & 1 == 1 && mask & 0xc0 == 0xc0 {
                        *value = None;
                    }
                }
                (Timestamp(now), MeterTick { at: Timestamp(stamp), values })
            };
            steps.into_iter().map(tick).collect()
        })
}

fn run(limits: &Limits, feed: &[(Timestamp, MeterTick)]) -> Vec<(Timestamp, Row)> {
    let mut cleaner = Cleaner::new();
    let clean = |(now, tick): &(Timestamp, MeterTick)| {
        cleaner.clean(limits, *now, *tick).map(|row| (*now, row))
    };
    feed.iter().filter_map(clean).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn cleaning_twice_is_cleaning_once(feed in any_feed()) {
        let limits = Limits::default();
        let once = run(&limits, &feed);
        let again: Vec<_> = once.iter().map(|(now, row)| (*now, row.tick)).collect();
        let twice: Vec<_> = run(&limits, &again).into_iter().map(|(now, row)| (now, row.tick)).collect();
        prop_assert_eq!(again, twice);
    }

    #[test]
    fn what_is_believed_is_possible(feed in any_feed()) {
        let limits = Limits::default();
        for (now, row) in run(&limits, &feed) {
            prop_assert!(row.tick.at <= now.saturating_add(limits.ahead_max));
            prop_assert!(now.since(row.tick.at) <= limits.late_max);
            let power = row.tick.get(Measurand::Power).unwrap_or(0);
            prop_assert!(power.abs() <= limits.power_w_max);
            // Whatever was taken out or changed is kept raw.
            let raw = row.remark.as_ref().map_or([None; 6], |remark| remark.raw);
            let flags = row.flags();
            prop_assert_eq!(raw == [None; 6], !changes_values(flags), "{:?} {:?}", flags, raw);
        }
    }

    /// Late ticks among themselves, and between ticks in order: each is cleaned alike wherever it comes.
    #[test]
    fn the_order_of_late_ticks_does_not_matter(
        late in prop::collection::vec((1_u64..3_000_000, any::<i64>()), 1..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 20),
        shuffle in any::<u64>(),
    ) {
        let limits = Limits::default();
        let now = at(4_000_000);
        let fresh: Vec<MeterTick> = (0..30)
            .map(|n| one(4_000_000 + n * 5, Measurand::Energy, i64::try_from(n * n * n).unwrap()))
            .collect();
        let late: Vec<MeterTick> =
            late.into_iter().map(|(s, value)| one(s, Measurand::Energy, value)).collect();
        let mix = |late: Vec<MeterTick>| {
            let mut feed = fresh.clone();
            for (tick, cut) in late.into_iter().zip(&cuts) {
                feed.insert(1 + cut.index(feed.len()), tick);
            }
            let feed: Vec<_> = feed.into_iter().map(|tick| (now, tick)).collect();
            let mut rows = run(&limits, &feed);
            rows.sort_by_key(|(_, row)| (row.tick.at, row.tick.values));
            rows
        };
        let mut other = late.clone();
        other.sort_by_key(|tick| tick.at.0.wrapping_mul(shuffle | 1));
        prop_assert_eq!(mix(late), mix(other));
    }
}

fn changes_values(flags: Flags) -> bool {
    let changing = [
        Flags::SPIKE,
        Flags::ENERGY_KILO,
        Flags::ENERGY_MILLI,
        Flags::POWER_KILO,
        Flags::POWER_MILLI,
    ];
    changing.iter().any(|flag| flags.contains(*flag))
}

#[test]
fn a_clock_off_by_more_than_a_number_holds_is_replaced() {
    let mut cleaner = Cleaner::new();
    let limits = Limits { late_max: Duration::from_secs(3_600), ..Limits::default() };
    for stamp in [u64::MAX, 0, u64::MAX, 1] {
        let tick = MeterTick { at: Timestamp(stamp), values: [None; 6] };
        let row = cleaner.clean(&limits, at(0), tick).unwrap();
        assert!(row.tick.at >= at(0) && row.tick.at <= at(3_600), "{stamp}");
    }
}
