//! Random operations against a sorted map: whatever is flushed, compacted or reopened in between, every snapshot
//! shows what the map held when it was taken, and a question for one key is answered with what it holds now.

use crate::common::{KEYSPACES, Model, Store, contents, noise, small, tiny};
use crate::sim_disk::SimDisk;
use novax_engine::{Batch, Options, Snapshot, verify_on};
use proptest::prelude::*;
use std::path::Path;

/// Keyspace, key, and the value's seed and length, or none to delete.
type Change = (u8, Vec<u8>, Option<(u8, usize)>);

#[derive(Clone, Debug)]
enum Op {
    Write(Vec<Change>),
    Hold,
    Release(prop::sample::Index),
    Flush,
    Poll,
    Drain,
    Reopen { clean: bool },
    Get { keyspace: u8, key: Vec<u8> },
    Range { keyspace: u8, from: Vec<u8>, to: Option<Vec<u8>> },
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few letters, so that keys meet again and share prefixes.
    proptest::collection::vec(prop::sample::select(vec![0u8, 1, 2, b'k', 0xff]), 0..4)
}

fn op() -> impl Strategy<Value = Op> {
    let value = proptest::option::weighted(0.75, (any::<u8>(), 0usize..300));
    let change = (0..KEYSPACES, key(), value);
    prop_oneof![
        10 => proptest::collection::vec(change, 1..8).prop_map(Op::Write),
        2 => Just(Op::Hold),
        1 => any::<prop::sample::Index>().prop_map(Op::Release),
        1 => Just(Op::Flush),
        3 => Just(Op::Poll),
        1 => Just(Op::Drain),
        1 => any::<bool>().prop_map(|clean| Op::Reopen { clean }),
        6 => (0..KEYSPACES, key()).prop_map(|(keyspace, key)| Op::Get { keyspace, key }),
        2 => (0..KEYSPACES, key(), proptest::option::of(key()))
            .prop_map(|(keyspace, from, to)| Op::Range { keyspace, from, to }),
    ]
}

fn write(
    store: &mut Store,
    model: &mut Model,
    mark: u64,
    changes: Vec<(u8, Vec<u8>, Option<Vec<u8>>)>,
) {
    let mut batch = Batch::new();
    for (keyspace, key, value) in changes {
        match value {
            Some(value) => {
                batch.put(keyspace, &key, &value);
                model.insert((keyspace, key), value);
            }
            None => {
                batch.delete(keyspace, &key);
                model.remove(&(keyspace, key));
            }
        }
    }
    batch.set_mark(mark);
    store.engine.write(&mut batch);
    assert!(batch.is_empty());
}

fn check_range(snapshot: &Snapshot, model: &Model, keyspace: u8, from: &[u8], to: Option<&[u8]>) {
    let in_range = |key: &[u8]| key >= from && to.is_none_or(|to| key < to);
    let expected: Vec<_> = model
        .iter()
        .filter(|((ks, key), _)| *ks == keyspace && in_range(key))
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect();
    let forward: Vec<_> = snapshot.range(keyspace, from, to).map(Result::unwrap).collect();
    assert_eq!(forward, expected);
    let mut backward: Vec<_> = snapshot.range_rev(keyspace, from, to).map(Result::unwrap).collect();
    backward.reverse();
    assert_eq!(backward, expected);
    let prefixed = |key: &[u8]| key.starts_with(from);
    let expected: Vec<_> = model
        .iter()
        .filter(|((ks, key), _)| *ks == keyspace && prefixed(key))
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect();
    let read: Vec<_> = snapshot.prefix(keyspace, from).map(Result::unwrap).collect();
    assert_eq!(read, expected);
    let got = snapshot.get(keyspace, from).unwrap();
    assert_eq!(got.as_ref(), model.get(&(keyspace, from.to_vec())));
}

fn check_gets(snapshot: &Snapshot, model: &Model) {
    for ((keyspace, key), value) in model {
        assert_eq!(snapshot.get(*keyspace, key).unwrap().as_ref(), Some(value));
    }
}

fn run(ops: Vec<Op>) {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, tiny()).unwrap();
    let (mut model, mut mark) = (Model::new(), 0);
    let mut held: Vec<(Snapshot, Model)> = Vec::new();
    for op in ops {
        match op {
            Op::Write(changes) => {
                mark += 1;
                let value = |(seed, len)| noise(u64::from(seed), len);
                let changes = changes.into_iter().map(|(ks, key, v)| (ks, key, v.map(value)));
                write(&mut store, &mut model, mark, changes.collect());
            }
            Op::Hold => held.push((store.engine.snapshot(), model.clone())),
            Op::Release(index) if !held.is_empty() => {
                let (snapshot, then) = held.swap_remove(index.index(held.len()));
                assert_eq!(contents(&snapshot).unwrap(), then);
            }
            Op::Release(_) => {}
            Op::Flush => store.engine.flush(),
            Op::Poll => drop(store.engine.poll().unwrap()),
            Op::Drain => drop(store.drain().unwrap()),
            Op::Reopen { clean } => {
                // A snapshot of the engine before needs its files, which the next one may remove.
                held.clear();
                if !clean {
                    store.flush().unwrap();
                    drop(store);
                } else {
                    assert_eq!(store.engine.close().unwrap(), mark);
                }
                store = Store::open(&disk, tiny()).unwrap();
                assert_eq!((store.engine.mark(), store.engine.flushed_mark()), (mark, mark));
            }
            Op::Get { keyspace, key } => {
                let found = store.engine.get(keyspace, &key).unwrap();
                assert_eq!(found.as_ref(), model.get(&(keyspace, key)));
            }
            Op::Range { keyspace, from, to } => {
                let snapshot = store.engine.snapshot();
                check_range(&snapshot, &model, keyspace, &from, to.as_deref());
            }
        }
    }
    held.push((store.engine.snapshot(), model));
    for (snapshot, then) in &held {
        assert_eq!(&contents(snapshot).unwrap(), then);
        check_gets(snapshot, then);
    }
    drop(held);
    store.engine.close().unwrap();
    let report = verify_on(disk.arc(), Path::new(crate::common::DIR)).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_snapshot_shows_what_a_sorted_map_held_when_it_was_taken(ops in proptest::collection::vec(op(), 1..250)) {
        run(ops);
    }
}

/// A store with `count` keys of which each is written `times` times, flushed in between.
fn layered(options: Options, count: u32, times: u32) -> (SimDisk, Store, Model) {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options).unwrap();
    let mut model = Model::new();
    let mut mark = 0;
    for round in 0..times {
        for i in 0..count {
            mark += 1;
            let key = i.wrapping_mul(0x9E37_79B9).to_be_bytes().to_vec();
            let value = format!("{round}-{i}").repeat(8).into_bytes();
            write(&mut store, &mut model, mark, vec![(1, key, Some(value))]);
            // Waiting for each flush makes the tables the same however slow the worker is.
            if store.engine.poll().unwrap().flush_in_flight {
                store.drain().unwrap();
            }
        }
    }
    store.flush().unwrap();
    (disk, store, model)
}

#[test]
fn compaction_keeps_every_level_within_its_limit_and_loses_nothing() {
    let options = small();
    let (_, mut store, model) = layered(options.clone(), 600, 3);
    let stats = store.engine.stats();
    assert!(stats.levels[0].tables < options.level0_tables_max as u64, "{stats:?}");
    assert!(stats.levels[1].bytes <= options.level1_bytes_max, "{stats:?}");
    assert!(stats.levels[2].bytes <= 10 * options.level1_bytes_max, "{stats:?}");
    assert!(stats.levels[2].tables > 4, "the data reaches level 2: {stats:?}");
    assert!(stats.compactions > 3 && stats.bytes_compacted > stats.bytes_flushed);
    let snapshot = store.engine.snapshot();
    assert_eq!(contents(&snapshot).unwrap(), model);
    check_gets(&snapshot, &model);
    assert!(store.engine.stats().cache_bytes <= options.block_cache_bytes as u64);
}

#[test]
fn keys_that_rise_sink_without_being_written_again() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, small()).unwrap();
    let mut model = Model::new();
    for mark in 1..=400u64 {
        let key = mark.to_be_bytes().to_vec();
        write(&mut store, &mut model, mark, vec![(0, key, Some(noise(mark, 60)))]);
        if mark % 20 == 0 {
            store.flush().unwrap();
        }
    }
    let stats = store.engine.stats();
    assert!(stats.compactions > 5 && stats.levels[2].tables > 2, "{stats:?}");
    assert_eq!(stats.bytes_compacted, 0, "{stats:?}");
    assert_eq!(contents(&store.engine.snapshot()).unwrap(), model);
}

#[test]
fn deleted_keys_leave_the_disk_when_tombstones_reach_the_bottom() {
    let (_, mut store, model) = layered(small(), 600, 1);
    let full: u64 = store.engine.stats().levels.iter().map(|level| level.bytes).sum();
    let mut batch = Batch::new();
    for (i, (keyspace, key)) in model.keys().enumerate() {
        batch.delete(*keyspace, key);
        batch.set_mark(store.engine.mark() + 1);
        store.engine.write(&mut batch);
        if i % 20 == 0 {
            store.flush().unwrap();
        }
    }
    store.flush().unwrap();
    // What is left in level 0 goes down with the next tables.
    for round in 0..4u32 {
        let mark = store.engine.mark() + 1;
        store.put(mark, &[(1, b"", &[7; 500]), (1, b"\xff\xff\xff\xff\xff", &round.to_be_bytes())]);
        store.flush().unwrap();
    }
    let left: u64 = store.engine.stats().levels.iter().map(|level| level.bytes).sum();
    assert!(left < full / 4, "{left} bytes left of {full}: {:?}", store.engine.stats());
    assert_eq!(contents(&store.engine.snapshot()).unwrap().len(), 2);
}

#[test]
fn a_mark_without_changes_becomes_durable_too() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, small()).unwrap();
    let mut batch = Batch::new();
    batch.set_mark(41);
    store.engine.write(&mut batch);
    assert_eq!(store.flush().unwrap().flushed_mark, 41);
    assert_eq!(store.engine.stats().levels[0].tables, 0, "no table for nothing");
    drop(store);
    let store = Store::open(&disk.crash(1), small()).unwrap();
    assert_eq!(store.engine.mark(), 41);
}

#[test]
fn the_biggest_keys_and_values_come_back_through_memory_flush_and_compaction() {
    let options = Options { memtable_bytes_max: 1 << 20, ..small() };
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options.clone()).unwrap();
    let key = vec![0xff; novax_engine::KEY_BYTES_MAX];
    let value: Vec<u8> =
        (0..novax_engine::VALUE_BYTES_MAX as u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    for mark in 1..=3 {
        store.put(mark, &[(2, &key, &value), (2, b"", b""), (0, &key, b"small")]);
        assert_eq!(store.engine.snapshot().get(2, &key).unwrap().as_deref(), Some(&value[..]));
        store.flush().unwrap();
        assert_eq!(store.engine.snapshot().get(2, &key).unwrap().as_deref(), Some(&value[..]));
        assert_eq!(store.engine.snapshot().get(2, b"").unwrap().as_deref(), Some(&b""[..]));
    }
    assert_eq!(contents(&store.engine.snapshot()).unwrap().len(), 3);
}

#[test]
fn writing_without_polling_touches_no_file() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, small()).unwrap();
    let before = disk.operations();
    for mark in 1..=2_000u64 {
        store.put(mark, &[(0, &mark.to_be_bytes(), &[1; 50])]);
        let snapshot = store.engine.snapshot();
        assert_eq!(snapshot.mark(), mark);
        store.engine.flush();
    }
    assert_eq!(disk.operations(), before, "only the worker does");
    assert!(store.engine.poll().unwrap().stalled, "and the owner is told to hold back");
    assert!(!store.drain().unwrap().stalled);
}
