//! The open end of a series: heads, late ticks, and the rows they become.

use std::collections::{BTreeMap, BTreeSet};

use novax_model::{Measurand, MeterTick, Timestamp};
use novax_tsdb::clean::{Limits, Row};
use novax_tsdb::head::{DAY_US, HEAD_TICKS, Head, Pushed, day_of, decode_rows};
use novax_tsdb::open::{Kept, OpenPart, OpenSeries, SeriesRow};
use novax_tsdb::query::{self, Rank, Stretch};
use novax_tsdb::rollup::{Resolution, Rollup, buckets, covers, decode_rollup, merge_rollups};
use novax_tsdb::{CHUNK_TICKS_MAX, decode_chunk};
use proptest::prelude::*;

use crate::ticks::steady_charging;

fn tick(at: u64, voltage: Option<i64>, soc: Option<i64>) -> MeterTick {
    MeterTick { at: Timestamp(at), values: [voltage, None, None, None, None, soc] }
}

fn push(head: &mut Head, tick: MeterTick) -> Option<Pushed> {
    head.push(Row::plain(tick)).ok()
}

#[test]
fn ticks_are_put_in_their_place() {
    let mut head = Head::new();
    assert_eq!(push(&mut head, tick(10, Some(1), None)), Some(Pushed::InOrder));
    assert_eq!(push(&mut head, tick(30, Some(3), None)), Some(Pushed::InOrder));
    assert_eq!(push(&mut head, tick(20, Some(2), None)), Some(Pushed::Late));
    assert_eq!(push(&mut head, tick(5, Some(0), None)), Some(Pushed::Late));
    let stamps: Vec<u64> = head.rows().iter().map(|row| row.tick.at.0).collect();
    assert_eq!(stamps, [5, 10, 20, 30]);
}

#[test]
fn a_stamp_twice_fills_in_what_is_missing_and_changes_nothing_else() {
    let mut head = Head::new();
    push(&mut head, tick(10, Some(1), None));
    assert_eq!(push(&mut head, tick(10, Some(99), Some(500))), Some(Pushed::Duplicate));
    let [row] = head.rows() else { panic!("one row") };
    assert_eq!(row.tick, tick(10, Some(1), Some(500)));
    assert_eq!(row.flags().names().collect::<Vec<_>>(), ["conflict"]);
    head.snapshot();
    assert!(!head.is_dirty());
    assert_eq!(push(&mut head, tick(10, Some(1), Some(500))), Some(Pushed::Duplicate));
    assert!(!head.is_dirty(), "nothing new, nothing to write");
}

#[test]
fn a_snapshot_keeps_its_key_until_the_head_is_sealed() {
    let mut head = Head::new();
    assert_eq!(head.snapshot(), []);
    push(&mut head, tick(10, Some(1), None));
    let written = head.snapshot();
    assert_eq!((written.len(), written[0].0), (1, Timestamp(10)));
    // An older tick would move the key, and leave the row under the old one behind.
    assert_eq!(push(&mut head, tick(9, Some(1), None)), None);
    assert_eq!(push(&mut head, tick(20, Some(1), None)), Some(Pushed::InOrder));
    assert_eq!(push(&mut head, tick(15, Some(1), None)), Some(Pushed::Late));
    let sealed = head.seal().unwrap();
    assert_eq!((sealed.first, sealed.replaces), (Timestamp(10), vec![Timestamp(10)]));
    assert_eq!(decode_chunk(&sealed.bytes).unwrap().len(), 3);
    assert!(head.is_empty() && !head.is_dirty());
    assert_eq!(head.seal(), None);
}

#[test]
fn pieces_become_one_chunk() {
    let mut head = Head::new();
    let ticks = steady_charging(CHUNK_TICKS_MAX);
    for (n, tick) in ticks.iter().enumerate() {
        assert!(!head.is_full() && head.len() == n);
        assert!(head.rows().len() < HEAD_TICKS, "what is full is compressed");
        assert_eq!(push(&mut head, *tick), Some(Pushed::InOrder));
        if n == 300 {
            assert_eq!(head.snapshot().len(), 3, "two pieces and what is open");
            assert_eq!(head.snapshot(), [], "each is written once");
        }
    }
    // What a piece has is known, what it lacks is too late.
    assert_eq!(push_full(&head, ticks[7]), Some(Pushed::Duplicate));
    let mut other = ticks[7];
    other.set(Measurand::Voltage, 1);
    assert_eq!(push_full(&head, other), None);
    assert!(head.is_full());
    let sealed = head.seal().unwrap();
    assert_eq!(decode_chunk(&sealed.bytes).unwrap(), ticks);
    assert_eq!(sealed.replaces, [ticks[0].at, ticks[128].at, ticks[256].at]);
    assert_eq!(push(&mut head, ticks[1_023]), None);
}

/// Pushes to a full head as if it had room: by way of its pieces.
fn push_full(head: &Head, tick: MeterTick) -> Option<Pushed> {
    let mut pieces: Vec<Vec<u8>> =
        head.clone().snapshot().into_iter().map(|(_, bytes)| bytes).collect();
    let all = head.clone().seal().unwrap().rows;
    if pieces.len() != 8 {
        pieces = all.chunks(HEAD_TICKS).map(novax_tsdb::head::encode_rows).collect();
    }
    pieces.pop();
    let mut open = Head::from_pieces(head.floor(), pieces).unwrap();
    push(&mut open, tick)
}

#[test]
fn a_chunk_is_of_one_day() {
    let mut series = OpenSeries::new();
    let limits = Limits::default();
    let mut out = Vec::new();
    let midnight = 20_000 * DAY_US;
    for at in [midnight - 10, midnight - 5, midnight, midnight + 5] {
        series.take(&limits, Timestamp(at), tick(at, Some(1), None), &mut out);
    }
    let chunks: Vec<_> = out.iter().filter(|row| matches!(row, SeriesRow::Chunk { .. })).collect();
    let [SeriesRow::Chunk { first, sequence: None, bytes }] = chunks[..] else { panic!("{out:?}") };
    assert_eq!(*first, Timestamp(midnight - 10));
    assert_eq!(decode_chunk(bytes).unwrap().len(), 2);
    // The day before is closed, though nothing was written after its last tick.
    let late = tick(midnight - 1, Some(1), None);
    assert_eq!(series.take(&limits, Timestamp(midnight + 9), late, &mut out), Kept::Late);
    out.clear();
    series.seal_past(&limits, Timestamp(midnight + DAY_US), &mut out);
    let late = out.iter().any(|row| matches!(row, SeriesRow::Chunk { sequence: Some(_), .. }));
    assert!(late, "late ticks are sealed when no more come: {out:?}");
    series.seal_past(&limits, Timestamp(midnight + 2 * DAY_US), &mut out);
    assert!(series.snapshot().len() == 1 && !series.is_dirty(), "only the state is left");
}

/// The rows of one series in a store.
#[derive(Default, Clone)]
struct Store {
    chunks: BTreeMap<(Timestamp, Option<u32>), Vec<u8>>,
    rollups: BTreeMap<(Resolution, Timestamp, u32), Vec<u8>>,
    open: BTreeMap<OpenPart, Vec<u8>>,
}

impl Store {
    fn write(&mut self, rows: Vec<SeriesRow>) {
        let mut touched = BTreeSet::new();
        for row in rows {
            match row {
                SeriesRow::Chunk { first, sequence, bytes } => {
                    let ticks = decode_chunk(&bytes).unwrap();
                    assert_eq!(ticks[0].at, first);
                    assert_eq!(day_of(first), day_of(ticks[ticks.len() - 1].at), "one day");
                    let before = self.chunks.insert((first, sequence), bytes);
                    assert_eq!(before, None, "a chunk is written once");
                }
                SeriesRow::Rollup { resolution, first, sequence, bytes } => {
                    let before = self.rollups.insert((resolution, first, sequence), bytes);
                    assert_eq!(before, None, "a rollup is written once");
                }
                SeriesRow::Open(part, bytes) => {
                    assert!(touched.insert(part), "each key once");
                    match bytes {
                        Some(bytes) => drop(self.open.insert(part, bytes)),
                        None => assert!(self.open.remove(&part).is_some(), "what goes was there"),
                    }
                }
            }
        }
    }

    fn stretches(&self) -> Vec<Stretch> {
        let chunks = self.chunks.iter().map(|((_, sequence), bytes)| {
            let rank = sequence.map_or(Rank::BASE, Rank::late);
            Stretch::chunk(rank, bytes.clone()).unwrap()
        });
        let open = self.open.iter().filter_map(|(part, bytes)| {
            let rank = match part {
                OpenPart::State => return None,
                OpenPart::Piece(_) => Rank::BASE,
                OpenPart::Late(_) => Rank::OPEN_LATE,
            };
            Some(Stretch::chunk(rank, bytes.clone()).unwrap())
        });
        chunks.chain(open).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u64, Option<i64>, Option<i64>),
    Run(u64, usize),
    Snapshot,
    Restore,
    Past,
    Late,
}

const DAY0: u64 = 20_000 * DAY_US;

fn any_step() -> impl Strategy<Value = Step> {
    let value = || prop::option::weighted(0.8, 0_i64..900);
    let near = || prop_oneof![3 => 0_u64..600, 1 => 0_u64..3_000];
    // Stamps of three days: the last and the first hour of each.
    let stamp = (0_u64..3, near()).prop_map(|(day, n)| DAY0 + day * DAY_US - 300 + n);
    prop_oneof![
        60 => (stamp.clone(), value(), value()).prop_map(|(at, v, s)| Step::Push(at, v, s)),
        3 => (stamp, 1_usize..500).prop_map(|(at, n)| Step::Run(at, n)),
        2 => Just(Step::Snapshot),
        2 => Just(Step::Restore),
        1 => Just(Step::Past),
        1 => Just(Step::Late),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// Whatever the order of ticks, and however often the series is written out and read back: no row is
    /// written twice, and merged they hold every value that came first, once.
    #[test]
    fn rows_hold_what_was_taken_once(steps in prop::collection::vec(any_step(), 1..250)) {
        let limits = Limits::default();
        let now = Timestamp(DAY0 + 3 * DAY_US);
        let mut series = OpenSeries::new();
        let mut store = Store::default();
        let mut taken: BTreeMap<Timestamp, [Option<i64>; 6]> = BTreeMap::new();
        for step in steps {
            let mut out = Vec::new();
            let mut push = |at, voltage, soc| {
                let tick = tick(at, voltage, soc);
                let kept = series.take(&limits, now, tick, &mut out);
                assert_ne!(kept, Kept::TooOld);
                let known = taken.entry(tick.at).or_default();
                for (known, value) in known.iter_mut().zip(tick.values) {
                    *known = known.or(value);
                }
            };
            match step {
                Step::Push(at, voltage, soc) => push(at, voltage, soc),
                Step::Run(at, n) => (0..n as u64).for_each(|n| push(at + n * 2, Some(7), None)),
                Step::Snapshot => out = series.snapshot(),
                Step::Restore => {
                    store.write(series.snapshot());
                    if !store.open.is_empty() {
                        series = OpenSeries::restore(now, store.open.clone()).unwrap();
                    }
                    prop_assert!(!series.is_dirty());
                }
                Step::Past => series.seal_past(&limits, Timestamp(DAY0 + DAY_US * 2), &mut out),
                Step::Late => series.seal_all_late(&limits, &mut out),
            }
            store.write(out);
        }
        store.write(series.snapshot());
        let all = query::range(store.stretches(), Timestamp::ZERO, Timestamp::MAX).unwrap();
        let found: Vec<_> = all.iter().map(|row| (row.tick.at, row.tick.values)).collect();
        let expected: Vec<_> = taken.into_iter().collect();
        prop_assert_eq!(found, expected);
    }

    /// A series that goes on from its rows writes the same rows as one that never stopped.
    #[test]
    fn a_restored_series_goes_on_as_if_nothing_had_been(
        before in 1_usize..2_500, after in 1_usize..1_500, step in 1_u64..8,
    ) {
        let limits = Limits::default();
        let mut straight = OpenSeries::new();
        let mut store = Store::default();
        let feed = |n: usize| {
            let at = DAY0 + n as u64 * step * 5_000_000;
            let number = i64::try_from(n).unwrap();
            let energy = if number % 97 == 0 { 1 } else { 1_000 + number };
            let mut tick = tick(at, Some(2_300 + number % 7), None);
            tick.set(Measurand::Energy, energy);
            (Timestamp(at), tick)
        };
        let mut out = Vec::new();
        for n in 0..before {
            let (now, tick) = feed(n);
            straight.take(&limits, now, tick, &mut out);
        }
        store.write(out);
        store.write(straight.snapshot());
        let mut again = OpenSeries::restore(feed(before).0, store.open).unwrap();
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for n in before..before + after {
            let (now, tick) = feed(n);
            let kept = straight.take(&limits, now, tick, &mut one);
            prop_assert_eq!(again.take(&limits, now, tick, &mut other), kept);
        }
        one.extend(straight.snapshot());
        other.extend(again.snapshot());
        prop_assert_eq!(one, other);
    }
}

fn stored_rollups(store: &Store, resolution: Resolution, late: bool) -> Vec<(u32, Rollup)> {
    let mut parts = Vec::new();
    for ((of, first, sequence), bytes) in &store.rollups {
        let rollup = decode_rollup(bytes).unwrap();
        assert_eq!((*of, *first), (rollup.resolution, rollup.buckets[0].start));
        if *of == resolution && (late || !rollup.is_late) {
            parts.push((*sequence, rollup));
        }
    }
    parts
}

#[test]
fn rollups_of_chunks_are_those_of_the_series() {
    let limits = Limits::default();
    let ticks = steady_charging(4_000);
    let mut series = OpenSeries::new();
    let mut store = Store::default();
    let mut out = Vec::new();
    for tick in &ticks {
        series.take(&limits, tick.at, *tick, &mut out);
    }
    series.seal_past(&limits, Timestamp(ticks[3_999].at.0 + 2 * DAY_US), &mut out);
    store.write(out);
    for resolution in Resolution::ALL {
        let expected = buckets(resolution, &limits, None, ticks.iter().copied());
        let found = merge_rollups(stored_rollups(&store, resolution, true));
        assert_eq!(found, expected);
        let energy: i64 = found.iter().map(|bucket| bucket.energy_wh).sum();
        let register = |n: usize| ticks[n].get(Measurand::Energy).unwrap();
        assert_eq!(energy, register(3_999) - register(0));
    }
}

#[test]
fn late_ticks_are_flagged_and_their_rollups_say_so() {
    let limits = Limits::default();
    let mut series = OpenSeries::new();
    let mut out = Vec::new();
    let now = Timestamp(DAY0 + DAY_US);
    series.take(&limits, now, tick(now.0, Some(1), None), &mut out);
    for n in 0..HEAD_TICKS as u64 {
        assert_eq!(series.take(&limits, now, tick(DAY0 + n, Some(1), None), &mut out), Kept::Late);
    }
    assert_eq!(out.len(), 4, "three rollups and a chunk: {out:?}");
    for row in out {
        match row {
            SeriesRow::Rollup { bytes, .. } => assert!(decode_rollup(&bytes).unwrap().is_late),
            SeriesRow::Chunk { first, sequence, bytes } => {
                assert_eq!((first, sequence), (Timestamp(DAY0), Some(0)));
                let rows = decode_rows(&bytes).unwrap();
                assert!(rows.iter().all(|row| row.flags().names().eq(["late"])), "{rows:?}");
            }
            SeriesRow::Open(..) => panic!("{row:?}"),
        }
    }
}

#[test]
fn ticks_tell_whether_they_cover_what_was_rolled_up() {
    let limits = Limits::default();
    let ticks = steady_charging(2_000);
    let (late, now) = (ticks[700..800].to_vec(), ticks[1_999].at);
    let mut series = OpenSeries::new();
    let mut store = Store::default();
    let mut out = Vec::new();
    for tick in ticks[..700].iter().chain(&ticks[800..]).chain(&late) {
        series.take(&limits, now, *tick, &mut out);
    }
    series.seal_past(&limits, Timestamp(now.0 + 2 * DAY_US), &mut out);
    store.write(out);
    let rows = query::range(store.stretches(), Timestamp::ZERO, Timestamp::MAX).unwrap();
    let kept: Vec<MeterTick> = rows.iter().map(|row| row.tick).collect();
    for resolution in Resolution::ALL {
        let in_time = merge_rollups(stored_rollups(&store, resolution, false));
        let exact = buckets(resolution, &limits, None, kept.iter().copied());
        assert_eq!(exact, buckets(resolution, &limits, None, ticks.iter().copied()));
        assert!(covers(&exact, &in_time));
        assert!(!covers(&buckets(resolution, &limits, None, late.iter().copied()), &in_time));
        // Merged, late parts give the same counts and extremes: no tick came twice.
        let merged = merge_rollups(stored_rollups(&store, resolution, true));
        for (merged, exact) in merged.iter().zip(&exact) {
            for (merged, exact) in merged.stats.iter().flatten().zip(exact.stats.iter().flatten()) {
                assert_eq!(
                    (merged.count, merged.min, merged.max),
                    (exact.count, exact.min, exact.max)
                );
                assert_eq!(merged.sum, exact.sum);
            }
        }
    }
}
