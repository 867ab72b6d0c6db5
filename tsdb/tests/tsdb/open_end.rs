//! The open end of a series.

use std::collections::BTreeMap;

use novax_model::{MeterTick, Timestamp};
use novax_tsdb::{HEAD_TICKS, Head, Pushed, decode_chunk};
use proptest::prelude::*;

fn tick(at: u64, voltage: Option<i64>, soc: Option<i64>) -> MeterTick {
    MeterTick { at: Timestamp(at), values: [voltage, None, None, None, None, soc] }
}

fn stamps(head: &Head) -> Vec<u64> {
    head.ticks().iter().map(|tick| tick.at.0).collect()
}

#[test]
fn ticks_are_put_in_their_place() {
    let mut head = Head::new();
    assert_eq!(head.push(tick(10, Some(1), None)), Pushed::InOrder);
    assert_eq!(head.push(tick(30, Some(3), None)), Pushed::InOrder);
    assert_eq!(head.push(tick(20, Some(2), None)), Pushed::Late);
    assert_eq!(head.push(tick(5, Some(0), None)), Pushed::Late);
    assert_eq!(stamps(&head), [5, 10, 20, 30]);
}

#[test]
fn a_stamp_twice_fills_in_what_is_missing_and_changes_nothing_else() {
    let mut head = Head::new();
    head.push(tick(10, Some(1), None));
    assert_eq!(head.push(tick(10, Some(99), Some(500))), Pushed::Duplicate);
    assert_eq!(head.ticks(), [tick(10, Some(1), Some(500))]);
    head.snapshot();
    assert!(!head.is_dirty());
    assert_eq!(head.push(tick(10, Some(1), Some(500))), Pushed::Duplicate);
    assert!(!head.is_dirty(), "nothing new, nothing to write");
}

#[test]
fn a_snapshot_keeps_its_key_until_the_head_is_sealed() {
    let mut head = Head::new();
    assert_eq!(head.snapshot(), None);
    head.push(tick(10, Some(1), None));
    let (first, bytes) = head.snapshot().unwrap();
    assert_eq!(first, Timestamp(10));
    assert_eq!(decode_chunk(&bytes).unwrap(), head.ticks());
    // An older tick would move the key, and leave the row under the old one behind.
    assert_eq!(head.push(tick(9, Some(1), None)), Pushed::TooLate);
    assert_eq!(head.push(tick(20, Some(1), None)), Pushed::InOrder);
    assert_eq!(head.push(tick(15, Some(1), None)), Pushed::Late);
    let (again, bytes) = head.seal().unwrap();
    assert_eq!(again, first);
    assert_eq!(decode_chunk(&bytes).unwrap().len(), 3);
    assert!(head.is_empty() && !head.is_dirty());
    assert_eq!(head.seal(), None);
}

#[test]
fn a_replay_after_a_seal_cannot_overwrite_the_sealed_row() {
    let mut head = Head::new();
    for at in 0..HEAD_TICKS as u64 {
        assert!(!head.is_full());
        head.push(tick(1_000 + at, Some(1), None));
    }
    assert!(head.is_full());
    let (first, _) = head.seal().unwrap();
    assert_eq!(first, Timestamp(1_000));
    assert_eq!(head.push(tick(1_000, Some(1), None)), Pushed::TooLate);
    let last = 1_000 + HEAD_TICKS as u64 - 1;
    assert_eq!(head.push(tick(last, Some(1), None)), Pushed::TooLate);
    assert_eq!(head.push(tick(last + 1, Some(1), None)), Pushed::InOrder);
}

#[test]
fn a_head_goes_on_from_its_chunk() {
    let mut head = Head::new();
    head.push(tick(10, Some(1), None));
    head.push(tick(20, Some(2), Some(3)));
    let (_, bytes) = head.snapshot().unwrap();
    let mut next = Head::from_chunk(&bytes).unwrap();
    assert_eq!(next.ticks(), head.ticks());
    assert!(!next.is_dirty());
    // Older chunks of the series may lie before it.
    assert_eq!(next.push(tick(9, Some(1), None)), Pushed::TooLate);
    assert_eq!(next.push(tick(15, Some(1), None)), Pushed::Late);
    assert_eq!(next.first(), Some(Timestamp(10)));
}

#[test]
fn a_head_from_a_full_chunk_begins_after_it() {
    let mut head = Head::new();
    for at in 1..=HEAD_TICKS as u64 {
        head.push(tick(at, Some(1), None));
    }
    let (_, bytes) = head.seal().unwrap();
    let mut next = Head::from_chunk(&bytes).unwrap();
    assert!(next.is_empty());
    assert_eq!(next.push(tick(HEAD_TICKS as u64, Some(1), None)), Pushed::TooLate);
    assert_eq!(next.push(tick(HEAD_TICKS as u64 + 1, Some(1), None)), Pushed::InOrder);
}

#[derive(Clone, Debug)]
enum Step {
    Push(u64),
    Snapshot,
    Restore,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0_u64..600).prop_map(Step::Push),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the order of ticks, and however often the head is written out and read back: rows
    /// do not overlap, and hold every tick that was taken, once.
    #[test]
    fn rows_hold_what_was_taken_once(steps in prop::collection::vec(any_step(), 1..600)) {
        let mut head = Head::new();
        let mut rows: BTreeMap<Timestamp, Vec<u8>> = BTreeMap::new();
        let mut taken: BTreeMap<u64, i64> = BTreeMap::new();
        for (number, step) in (0_i64..).zip(steps) {
            match step {
                Step::Push(at) => {
                    let kept = head.push(tick(at, Some(number), None));
                    let is_new = matches!(kept, Pushed::InOrder | Pushed::Late);
                    prop_assert_eq!(is_new && taken.contains_key(&at), false);
                    if is_new {
                        taken.insert(at, number);
                    }
                    if kept == Pushed::Duplicate {
                        prop_assert!(taken.contains_key(&at));
                    }
                    if head.is_full() {
                        rows.extend(head.seal());
                    }
                }
                Step::Snapshot => rows.extend(head.snapshot()),
                Step::Restore => {
                    rows.extend(head.snapshot());
                    if let Some((_, bytes)) = rows.last_key_value() {
                        head = Head::from_chunk(bytes).unwrap();
                    }
                }
            }
        }
        rows.extend(head.snapshot());
        let mut found = Vec::new();
        for (first, bytes) in &rows {
            let ticks = decode_chunk(bytes).unwrap();
            prop_assert_eq!(ticks[0].at, *first);
            found.extend(ticks.iter().map(|tick| (tick.at.0, tick.values[0].unwrap())));
        }
        let expected: Vec<(u64, i64)> = taken.into_iter().collect();
        prop_assert_eq!(found, expected);
    }
}
