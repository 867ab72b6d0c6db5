//! Questions to series, beside plain loops over all ticks.

use novax_model::{Measurand, MeterTick, Timestamp};
use novax_tsdb::clean::{Limits, Row};
use novax_tsdb::query::{
    self, Fill, Measure, Rank, Runs, Stretch, TooManyWindows, WINDOWS_MAX, Windows, as_of, counted,
    windowed,
};
use novax_tsdb::{Aggregate, Scratch, encode_chunk};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Ticks = BTreeMap<u64, (Option<i64>, Option<i64>)>;

fn tick(at: u64, (voltage, power): (Option<i64>, Option<i64>)) -> MeterTick {
    MeterTick { at: Timestamp(at), values: [voltage, None, power, None, None, None] }
}

/// Overlapping stretches by rank: some chunks, some rows.
fn any_stretches() -> impl Strategy<Value = Vec<(bool, Ticks)>> {
    let value = || prop::option::of(-50_i64..50);
    let spot = (0_u64..400, 1_u64..60);
    let stretch = (spot, prop::collection::vec((any::<u64>(), (value(), value())), 1..40))
        .prop_map(|((from, width), ticks)| -> Ticks {
            ticks.into_iter().map(|(at, values)| (from + at % width, values)).collect()
        });
    prop::collection::vec((any::<bool>(), stretch), 0..9)
}

fn stretches(all: &[(bool, Ticks)]) -> Vec<Stretch> {
    let make = |(number, (is_chunk, ticks)): (usize, &(bool, Ticks))| {
        let rank = Rank(number as u64);
        let ticks: Vec<MeterTick> = ticks.iter().map(|(at, values)| tick(*at, *values)).collect();
        if *is_chunk {
            Stretch::chunk(rank, encode_chunk(&ticks)).unwrap()
        } else {
            Stretch::rows(rank, ticks.into_iter().map(Row::plain).collect()).unwrap()
        }
    };
    let mut made: Vec<Stretch> = all.iter().enumerate().map(make).collect();
    made.reverse();
    made
}

/// What a loop makes of them.
fn naive(all: &[(bool, Ticks)]) -> Vec<MeterTick> {
    let mut merged = Ticks::new();
    for (at, values) in all.iter().flat_map(|(_, ticks)| ticks) {
        let known = merged.entry(*at).or_default();
        *known = (known.0.or(values.0), known.1.or(values.1));
    }
    merged.into_iter().map(|(at, values)| tick(at, values)).collect()
}

fn powers(ticks: &[MeterTick], from: u64, to: u64) -> Vec<(Timestamp, i64)> {
    let inside = ticks.iter().filter(|tick| (from..to).contains(&tick.at.0));
    inside.filter_map(|tick| Some((tick.at, tick.get(Measurand::Power)?))).collect()
}

fn summed(values: &[(Timestamp, i64)]) -> Option<Aggregate> {
    Some(Aggregate {
        count: values.len() as u64,
        min: values.iter().map(|(_, value)| *value).min()?,
        max: values.iter().map(|(_, value)| *value).max()?,
        sum: values.iter().map(|(_, value)| i128::from(*value)).sum(),
        first: *values.first()?,
        last: *values.last()?,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_range_is_what_a_loop_finds(all in any_stretches(), from in 0_u64..400, width in 0_u64..300) {
        let expected: Vec<MeterTick> = naive(&all)
            .into_iter()
            .filter(|tick| (from..=from + width).contains(&tick.at.0))
            .collect();
        let rows = query::range(stretches(&all), Timestamp(from), Timestamp(from + width)).unwrap();
        let found: Vec<MeterTick> = rows.iter().map(|row| row.tick).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn runs_do_not_overlap(all in any_stretches()) {
        let mut end = None;
        for run in Runs::new(stretches(&all)) {
            let rows = run.unwrap().into_rows().unwrap();
            let first = rows.first().map(|row| row.tick.at);
            prop_assert!(first.is_some() && end < first);
            end = rows.last().map(|row| row.tick.at);
        }
    }

    #[test]
    fn the_last_value_is_the_newest(all in any_stretches(), until in 0_u64..500) {
        let found = query::last_value(stretches(&all), Measurand::Power, Timestamp(until)).unwrap();
        prop_assert_eq!(found, powers(&naive(&all), 0, until + 1).last().copied());
    }

    #[test]
    fn an_aggregate_is_that_of_all_values(
        all in any_stretches(), from in 0_u64..400, width in 0_u64..300,
    ) {
        let (low, high) = (Timestamp(from), Timestamp(from + width));
        let mut scratch = Scratch::default();
        let found =
            query::aggregate(stretches(&all), Measurand::Power, low, high, &mut scratch).unwrap();
        prop_assert_eq!(found, summed(&powers(&naive(&all), from, from + width)));
    }

    #[test]
    fn windows_are_loops(
        all in any_stretches(), from in 0_u64..200, span in 0_u64..300, window in 1_u64..60,
        step in 1_u64..60,
    ) {
        let values = powers(&naive(&all), 0, u64::MAX);
        let windows = |fill| Windows {
            from: Timestamp(from),
            to: Timestamp(from + span),
            window_us: window,
            step_us: step,
            fill,
        };
        let inside = |start: u64| {
            let all: Vec<_> =
                values.iter().filter(|(at, _)| (start..start + window).contains(&at.0)).copied().collect();
            summed(&all)
        };
        let starts: Vec<u64> =
            (0..).map(|n| from + n * step).take_while(|at| *at < from + span).collect();
        let check = |measure, fill, expected: Vec<(Timestamp, Option<i128>)>| {
            assert_eq!(windowed(&windows(fill), measure, &values).unwrap(), expected);
        };
        let each = |pick: &dyn Fn(Aggregate) -> i128| -> Vec<(Timestamp, Option<i128>)> {
            starts.iter().map(|at| (Timestamp(*at), inside(*at).map(pick))).collect()
        };
        check(Measure::Min, Fill::Null, each(&|all| all.min.into()));
        check(Measure::Max, Fill::Null, each(&|all| all.max.into()));
        check(Measure::Sum, Fill::Null, each(&|all| all.sum));
        check(Measure::Count, Fill::Null, each(&|all| all.count.into()));
        check(Measure::Mean, Fill::Null, each(&|all| all.sum / i128::from(all.count)));
        check(Measure::First, Fill::Null, each(&|all| all.first.1.into()));
        let last = each(&|all| all.last.1.into());
        check(Measure::Last, Fill::Null, last.clone());
        let there: Vec<_> = last.iter().filter(|(_, value)| value.is_some()).copied().collect();
        check(Measure::Last, Fill::Skip, there);
        let mut before = None;
        let previous = last.iter().map(|(at, value)| {
            before = value.or(before);
            (*at, before)
        });
        check(Measure::Last, Fill::Previous, previous.collect());
    }

    #[test]
    fn an_as_of_join_is_a_search(
        left in prop::collection::btree_set(0_u64..200, 0..40),
        right in prop::collection::btree_set(0_u64..200, 0..40),
        tolerance in 0_u64..50,
    ) {
        let make = |stamps: std::collections::BTreeSet<u64>| -> Vec<MeterTick> {
            stamps.into_iter().map(|at| tick(at, (Some(1), None))).collect()
        };
        let (left, right) = (make(left), make(right));
        for (one, found) in as_of(&left, &right, tolerance) {
            let near = right.iter().filter(|other| other.at <= one.at);
            let newest = near.max_by_key(|other| other.at);
            let within = newest.filter(|other| one.at.0 - other.at.0 <= tolerance);
            prop_assert_eq!(found, within);
        }
        prop_assert_eq!(as_of(&left, &right, tolerance).len(), left.len());
    }
}

#[test]
fn gaps_are_filled_in_proportion() {
    let values = [(Timestamp(0), 10), (Timestamp(30), 40), (Timestamp(50), 30)];
    let windows = Windows {
        from: Timestamp(0),
        to: Timestamp(70),
        window_us: 10,
        step_us: 10,
        fill: Fill::Linear,
    };
    let filled = windowed(&windows, Measure::Mean, &values).unwrap();
    let found: Vec<Option<i128>> = filled.into_iter().map(|(_, value)| value).collect();
    let expected = [Some(10), Some(20), Some(30), Some(40), Some(35), Some(30), None];
    assert_eq!(found, expected);
}

#[test]
fn counters_are_counted_over_resets_and_rollovers() {
    let minute = 60_000_000;
    let readings: Vec<(Timestamp, i64)> = [
        (0, 999_900),
        (1, 999_990),
        (2, 40),
        (3, 90),
        (4, 7),
        (5, 27),
        (6, 500_000_000),
        (7, 500_000_010),
    ]
    .map(|(n, value)| (Timestamp(n * minute), value))
    .into();
    let windows = Windows {
        from: Timestamp(0),
        to: Timestamp(8 * minute),
        window_us: minute,
        step_us: minute,
        fill: Fill::Null,
    };
    let counts = counted(&windows, &Limits::default(), &readings).unwrap();
    let found: Vec<Option<i128>> = counts.into_iter().map(|(_, value)| value).collect();
    // No reading before the first; 999,990 to 40 went round at a million; 90 to 7 began anew; half a
    // gigawatt-hour in a minute cannot be.
    let expected = [None, Some(90), Some(50), Some(50), Some(7), Some(20), Some(0), Some(10)];
    assert_eq!(found, expected);
}

#[test]
fn windows_without_end_are_refused() {
    let windows = |to, window_us, step_us| Windows {
        from: Timestamp(0),
        to: Timestamp(to),
        window_us,
        step_us,
        fill: Fill::Null,
    };
    for bad in [windows(10, 0, 1), windows(10, 1, 0), windows(WINDOWS_MAX + 1, 1, 1)] {
        assert_eq!(windowed(&bad, Measure::Sum, &[]), Err(TooManyWindows));
    }
    assert_eq!(windowed(&windows(0, 1, 1), Measure::Sum, &[]), Ok(Vec::new()));
    let late = Windows { from: Timestamp(u64::MAX - 1), ..windows(u64::MAX, u64::MAX, 1) };
    assert_eq!(windowed(&late, Measure::Sum, &[]).unwrap().len(), 1);
}
