//! All kinds of entries against a sorted map: range deletes, expiry, merges, windows of time, values kept apart;
//! through flushes, compactions, reopening and crashes, and in views that are held meanwhile.

use crate::common::{DIR, Store, noise, tiny};
use crate::sim_disk::{Rng, SimDisk};
use novax_engine::{
    Batch, Compaction, Disk, Error, KeyspaceOptions, MergeOperator, Options, Resident, Snapshot,
    verify_on,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Leveled, expiring, big values kept apart.
const PLAIN: u8 = 0;
/// Leveled, merging, big values kept apart.
const SUMS: u8 = 1;
/// In windows, expiring, big values kept apart.
const SERIES: u8 = 2;
/// In windows, merging.
const COUNTS: u8 = 3;
const KEYSPACES: u8 = 4;
const WINDOW: u64 = 3;

/// Operands are appended: shows any that is lost, doubled or out of order.
struct Append;

impl MergeOperator for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn merge(&self, key: &[u8], older: Option<&[u8]>, operand: &[u8]) -> Vec<u8> {
        assert!(key.len() <= 5, "the key comes without its keyspace");
        [older.unwrap_or(b"^"), operand].concat()
    }

    fn combine(&self, _: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8> {
        [older, newer].concat()
    }
}

/// The second byte of a key; keys without one are in window 0.
fn time_of(key: &[u8]) -> Option<u64> {
    key.get(1).map(|&byte| u64::from(byte))
}

fn options() -> Options {
    let windows = Compaction::TimeWindow { window: WINDOW, time_of };
    let append = || Some(Arc::new(Append) as Arc<dyn MergeOperator>);
    let apart = Some(120);
    let keyspace = [
        (PLAIN, KeyspaceOptions { blob_bytes_min: apart, ..KeyspaceOptions::default() }),
        (SUMS, KeyspaceOptions { blob_bytes_min: apart, merge: append(), ..Default::default() }),
        (SERIES, KeyspaceOptions { compaction: windows, blob_bytes_min: apart, merge: None }),
        (COUNTS, KeyspaceOptions { compaction: windows, blob_bytes_min: None, merge: append() }),
    ];
    // Three compactions at once, on as many threads.
    Options { keyspaces: KEYSPACES, keyspace: keyspace.into(), compactions_max: 3, ..tiny() }
}

type Key = (u8, Vec<u8>);

/// What a store should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    clock_s: u64,
    /// With the second from which they are absent.
    values: BTreeMap<Key, (Vec<u8>, u64)>,
}

/// A value, told by its length.
#[derive(Clone, PartialEq)]
struct Bytes(Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8, Vec<u8>, Bytes),
    /// So many seconds from now.
    PutFor(u8, Vec<u8>, Bytes, u64),
    Delete(u8, Vec<u8>),
    DeleteRange(u8, Vec<u8>, Vec<u8>),
    Merge(u8, Vec<u8>, Vec<u8>),
}

impl Model {
    /// The keys and values that show.
    fn shown(&self) -> BTreeMap<Key, Vec<u8>> {
        let shown = self.values.iter().filter(|(_, (_, until))| *until > self.clock_s);
        shown.map(|(key, (value, _))| (key.clone(), value.clone())).collect()
    }

    /// Applies the changes to the model, and makes the batch that does the same to a store.
    fn change(&mut self, seconds: u64, changes: &[Change], mark: u64) -> Batch {
        let mut batch = Batch::new();
        self.clock_s += seconds;
        batch.set_time_s(self.clock_s);
        batch.set_mark(mark);
        for change in changes {
            match change {
                Change::Put(ks, key, value) => {
                    batch.put(*ks, key, &value.0);
                    self.values.insert((*ks, key.clone()), (value.0.clone(), u64::MAX));
                }
                Change::PutFor(ks, key, value, seconds) => {
                    let until = self.clock_s + seconds;
                    batch.put_until(*ks, key, &value.0, until);
                    self.values.insert((*ks, key.clone()), (value.0.clone(), until));
                }
                Change::Delete(ks, key) => {
                    batch.delete(*ks, key);
                    self.values.remove(&(*ks, key.clone()));
                }
                Change::DeleteRange(ks, from, to) => {
                    batch.delete_range(*ks, from, to);
                    self.values.retain(|(of, key), _| of != ks || key < from || key >= to);
                }
                Change::Merge(ks, key, operand) => {
                    batch.merge(*ks, key, operand);
                    let entry = self.values.entry((*ks, key.clone()));
                    entry.or_insert_with(|| (b"^".to_vec(), u64::MAX)).0.extend(operand);
                }
            }
        }
        batch
    }

    fn drop_windows_before(&mut self, keyspace: u8, time: u64) {
        self.values.retain(|(of, key), _| {
            let end = (time_of(key).unwrap_or(0) / WINDOW + 1) * WINDOW;
            *of != keyspace || end > time
        });
    }
}

impl Model {
    /// Takes out what the store has dropped, which must be in windows before `time` and be as it was `then`.
    fn forget_seen(&mut self, snapshot: &Snapshot, then: &BTreeMap<Key, Vec<u8>>, time: u64) {
        let (found, shown) = (contents(snapshot).unwrap(), self.shown());
        for key in shown.keys().filter(|key| !found.contains_key(*key)) {
            assert_eq!(then.get(key), shown.get(key), "{key:?} is not as it was seen");
            let end = (time_of(&key.1).unwrap_or(0) / WINDOW + 1) * WINDOW;
            assert!(key.0 == SERIES && end <= time, "{key:?} is of a window that stays");
            self.values.remove(key);
        }
    }
}

/// All that shows in a view, read in every way there is.
fn contents(snapshot: &Snapshot) -> Result<BTreeMap<Key, Vec<u8>>, Error> {
    let mut found = BTreeMap::new();
    for keyspace in 0..KEYSPACES {
        let mut forward = Vec::new();
        let mut range = snapshot.range(keyspace, b"", None);
        while let Some(entry) = range.next_entry() {
            let (key, value) = entry?;
            forward.push((key.to_vec(), value.to_vec()));
        }
        let mut backward =
            snapshot.range_rev(keyspace, b"", None).collect::<Result<Vec<_>, _>>()?;
        backward.reverse();
        assert_eq!(forward, backward, "both directions agree");
        assert!(forward.is_sorted_by(|a, b| a.0 < b.0), "each key once, in order");
        let keys: Vec<_> = forward.iter().map(|(key, _)| key.clone()).collect();
        let values = snapshot.multi_get(keyspace, &keys)?;
        assert!(forward.iter().map(|(_, value)| Some(value)).eq(values.iter().map(Option::as_ref)));
        found.extend(forward.into_iter().map(|(key, value)| ((keyspace, key), value)));
    }
    Ok(found)
}

/// A look-up by one that may not read files, beside another that reads them for it.
fn get_by_fetching(snapshot: &Snapshot, keyspace: u8, key: &[u8]) -> Option<Vec<u8>> {
    for _ in 0..2 {
        match snapshot.get_resident(keyspace, key).unwrap() {
            Resident::Value(value) => return Some(value),
            Resident::Absent => return None,
            Resident::Need(fetch) => {
                fetch.run().unwrap();
                // Whatever else happens to the cache, what was fetched is found.
                match snapshot.get_resident(keyspace, key).unwrap() {
                    Resident::Value(value) => return Some(value),
                    Resident::Absent => return None,
                    Resident::Need(_) => {}
                }
            }
        }
    }
    panic!("a look-up that never ends")
}

fn check(snapshot: &Snapshot, model: &Model) {
    let shown = model.shown();
    assert_eq!(contents(snapshot).unwrap(), shown);
    assert_eq!(snapshot.time_s(), model.clock_s);
    // Keys that are there, that were there, and that never were.
    let probes = model.values.keys().cloned().chain((0..KEYSPACES).map(|ks| (ks, vec![9, 9])));
    for (keyspace, key) in probes {
        let expected = shown.get(&(keyspace, key.clone()));
        assert_eq!(snapshot.get(keyspace, &key).unwrap().as_ref(), expected);
        assert_eq!(get_by_fetching(snapshot, keyspace, &key).as_ref(), expected);
    }
}

fn check_range(
    snapshot: &Snapshot,
    model: &Model,
    keyspace: u8,
    from: &[u8],
    to: Option<&[u8]>,
    times: (u64, u64),
) {
    let shown = model.shown();
    let inside = |of: u8, key: &[u8]| of == keyspace && key >= from && to.is_none_or(|to| key < to);
    let expected: Vec<_> = shown
        .iter()
        .filter(|((of, key), _)| inside(*of, key))
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect();
    let found: Vec<_> = snapshot.range(keyspace, from, to).map(Result::unwrap).collect();
    assert_eq!(found, expected);
    let mut found: Vec<_> = snapshot.range_rev(keyspace, from, to).map(Result::unwrap).collect();
    found.reverse();
    assert_eq!(found, expected);
    let (time_from, time_to) = times;
    let in_time = snapshot.range_in_time(keyspace, from, to, time_from, time_to);
    let in_time: Vec<_> = in_time.map(Result::unwrap).collect();
    assert!(in_time.iter().all(|item| expected.contains(item)), "nothing that is not there");
    let due = expected
        .iter()
        .filter(|(key, _)| (time_from..time_to).contains(&time_of(key).unwrap_or(0)));
    assert!(
        due.into_iter().all(|item| in_time.contains(item)),
        "nothing of those times is missing"
    );
}

#[derive(Clone, Debug)]
enum Op {
    Write(u64, Vec<Change>),
    /// Built beside the store, from keys in order.
    Ingest(BTreeMap<Key, Bytes>),
    Hold,
    Release(prop::sample::Index),
    Flush,
    Poll,
    Drain,
    Reopen {
        clean: bool,
    },
    DropWindows(u8, u64),
    /// Of the series, what a view that was held shows.
    DropSeen(prop::sample::Index, u64),
    Get(u8, Vec<u8>),
    Range(u8, Vec<u8>, Option<Vec<u8>>, (u64, u64)),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop::sample::select(vec![0u8, 1, 4, 7, 9]), 0..4)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    (any::<u8>(), 0usize..250).prop_map(|(seed, len)| Bytes(noise(u64::from(seed), len)))
}

fn change() -> impl Strategy<Value = Change> {
    let plain = || prop::sample::select(vec![PLAIN, SERIES]);
    let merging = || prop::sample::select(vec![SUMS, COUNTS]);
    prop_oneof![
        4 => (0..KEYSPACES, key(), bytes()).prop_map(|(ks, key, value)| Change::Put(ks, key, value)),
        2 => (plain(), key(), bytes(), 0u64..12).prop_map(|(ks, key, value, s)| Change::PutFor(ks, key, value, s)),
        2 => (0..KEYSPACES, key()).prop_map(|(ks, key)| Change::Delete(ks, key)),
        1 => (0..KEYSPACES, key(), key()).prop_map(|(ks, a, b)| Change::DeleteRange(ks, a, b)),
        3 => (merging(), key(), 0u8..26).prop_map(|(ks, key, i)| Change::Merge(ks, key, vec![b'a' + i])),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let times = (0u64..12, 0u64..12);
    let windowed = prop::sample::select(vec![SERIES, COUNTS]);
    prop_oneof![
        12 => (prop_oneof![Just(0u64), 0u64..4], proptest::collection::vec(change(), 1..8))
            .prop_map(|(seconds, changes)| Op::Write(seconds, changes)),
        1 => proptest::collection::btree_map((0..KEYSPACES, key()), bytes(), 0..12).prop_map(Op::Ingest),
        2 => Just(Op::Hold),
        1 => any::<prop::sample::Index>().prop_map(Op::Release),
        2 => Just(Op::Flush),
        3 => Just(Op::Poll),
        2 => Just(Op::Drain),
        1 => any::<bool>().prop_map(|clean| Op::Reopen { clean }),
        1 => (windowed, 0u64..12).prop_map(|(ks, time)| Op::DropWindows(ks, time)),
        2 => (0..KEYSPACES, key(), proptest::option::of(key()), times)
            .prop_map(|(ks, from, to, times)| Op::Range(ks, from, to, times)),
        1 => (any::<prop::sample::Index>(), 0u64..12).prop_map(|(i, time)| Op::DropSeen(i, time)),
        6 => (0..KEYSPACES, key()).prop_map(|(ks, key)| Op::Get(ks, key)),
    ]
}

fn run(ops: Vec<Op>) {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options()).unwrap();
    let (mut model, mut mark) = (Model::default(), 0);
    let mut held: Vec<(Snapshot, Model)> = Vec::new();
    for op in ops {
        match op {
            Op::Write(seconds, changes) => {
                mark += 1;
                store.engine.write(&mut model.change(seconds, &changes, mark));
            }
            Op::Ingest(rows) => {
                let mut builder = store.engine.table_builder();
                for ((keyspace, key), value) in &rows {
                    builder.add(*keyspace, key, &value.0).unwrap();
                }
                store.ingest(builder.finish().unwrap()).unwrap();
                let rows = rows.into_iter().map(|(key, value)| (key, (value.0, u64::MAX)));
                model.values.extend(rows);
            }
            Op::Hold => held.push((store.engine.snapshot(), model.clone())),
            Op::Release(index) if !held.is_empty() => {
                let (snapshot, then) = held.swap_remove(index.index(held.len()));
                check(&snapshot, &then);
            }
            Op::Flush => store.engine.flush(),
            Op::Poll => drop(store.engine.poll().unwrap()),
            Op::Drain => drop(store.drain().unwrap()),
            Op::DropWindows(keyspace, time) => {
                store.flush().unwrap();
                let seen = store.engine.snapshot();
                store.engine.drop_windows_before(keyspace, time, &seen).unwrap();
                store.drain().unwrap();
                model.drop_windows_before(keyspace, time);
            }
            Op::DropSeen(index, time) if !held.is_empty() => {
                let (seen, then) = &held[index.index(held.len())];
                store.engine.drop_windows_before(SERIES, time, seen).unwrap();
                store.drain().unwrap();
                model.forget_seen(&store.engine.snapshot(), &then.shown(), time);
            }
            Op::Release(_) | Op::DropSeen(..) => {}
            Op::Reopen { clean } => {
                // A snapshot of the engine before needs its files, which the next one may remove.
                held.clear();
                if clean {
                    assert_eq!(store.engine.close().unwrap(), mark);
                } else {
                    store.flush().unwrap();
                    drop(store);
                }
                store = Store::open(&disk, options()).unwrap();
                assert_eq!((store.engine.mark(), store.engine.flushed_mark()), (mark, mark));
            }
            Op::Get(keyspace, key) => {
                let found = store.engine.get(keyspace, &key).unwrap();
                assert_eq!(found.as_ref(), model.shown().get(&(keyspace, key)));
            }
            Op::Range(keyspace, from, to, times) => {
                check_range(
                    &store.engine.snapshot(),
                    &model,
                    keyspace,
                    &from,
                    to.as_deref(),
                    times,
                );
            }
        }
    }
    held.push((store.engine.snapshot(), model));
    held.iter().for_each(|(snapshot, then)| check(snapshot, then));
    drop(held);
    store.engine.close().unwrap();
    let report = verify_on(disk.arc(), Path::new(DIR)).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_view_shows_what_a_sorted_map_held_whatever_the_kinds_of_entries(
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        run(ops);
    }
}

/// What the batch of a mark changes: the same each time, as if read from the log.
fn changes(seed: u64, mark: u64) -> (u64, Vec<Change>) {
    let mut rng = Rng(seed ^ mark.wrapping_mul(0xA076_1D64_78BD_642F));
    let mut key = {
        let mut rng = rng.clone();
        move || vec![rng.below(4) as u8, rng.below(12) as u8]
    };
    let mut change = || {
        let keyspace = rng.below(u64::from(KEYSPACES)) as u8;
        let merges = keyspace == SUMS || keyspace == COUNTS;
        let value = Bytes(noise(rng.next(), rng.below(200) as usize));
        match rng.below(10) {
            0 => Change::DeleteRange(keyspace, key(), key()),
            1 | 2 => Change::Delete(keyspace, key()),
            3..=5 if merges => Change::Merge(keyspace, key(), vec![b'a' + rng.below(26) as u8]),
            3..=5 => Change::PutFor(keyspace, key(), value, rng.below(9)),
            _ => Change::Put(keyspace, key(), value),
        }
    };
    let count = mark % 6;
    let changes = (0..count).map(|_| change()).collect();
    (mark % 3 / 2, changes)
}

/// The states at each mark from 0, worked out without the store.
struct History {
    seed: u64,
    states: Vec<Model>,
}

impl History {
    fn at(&mut self, mark: u64) -> &Model {
        while self.states.len() as u64 <= mark {
            let mut state = self.states.last().unwrap().clone();
            let next = self.states.len() as u64;
            let (seconds, changes) = changes(self.seed, next);
            state.change(seconds, &changes, next);
            self.states.push(state);
        }
        &self.states[mark as usize]
    }
}

fn crash_again_and_again(seed: u64, cuts: &[u64]) {
    let mut history = History { seed, states: vec![Model::default()] };
    let mut rng = Rng(seed);
    let mut disk = SimDisk::default();
    let mut flushed = 0;
    for &cut in cuts {
        disk.cut_power_after(cut);
        // The power may go while the store is being opened.
        if let Ok(mut store) = Store::open(&disk, options()) {
            for _ in 0..120 {
                let mark = store.engine.mark() + 1;
                let mut before = history.at(mark - 1).clone();
                let (seconds, changes) = changes(seed, mark);
                store.engine.write(&mut before.change(seconds, &changes, mark));
                if rng.one_in(12) {
                    store.engine.flush();
                }
                let outcome = if rng.one_in(10) { store.drain() } else { store.engine.poll() };
                let Ok(progress) = outcome else { break };
                flushed = progress.flushed_mark;
            }
        }
        disk = disk.crash(rng.next());
        let mut store = Store::open(&disk.copy(), options()).unwrap();
        let mark = store.engine.mark();
        assert!(mark >= flushed, "recovered {mark}, but {flushed} was reported flushed");
        check(&store.engine.snapshot(), history.at(mark));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn after_a_crash_the_state_is_that_of_a_mark_whatever_the_kinds_of_entries(
        seed in any::<u64>(),
        cuts in proptest::collection::vec(0u64..500, 1..5),
    ) {
        crash_again_and_again(seed, &cuts);
    }
}

#[test]
fn windows_leave_whole_without_a_table_written_and_views_keep_them() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options()).unwrap();
    let mut model = Model::default();
    for mark in 1..=60u8 {
        let change =
            Change::Put(SERIES, vec![mark % 4, mark / 5], Bytes(noise(u64::from(mark), 100)));
        store.engine.write(&mut model.change(1, &[change], u64::from(mark)));
        if mark % 6 == 0 {
            store.flush().unwrap();
        }
    }
    store.flush().unwrap();
    let before = store.engine.stats();
    assert_eq!((before.windows, before.levels[0].tables), (5, 0), "{before:?}");
    let (snapshot, then) = (store.engine.snapshot(), model.clone());
    store.engine.drop_windows_before(SERIES, 9, &snapshot).unwrap();
    store.drain().unwrap();
    let after = store.engine.stats();
    assert_eq!(after.windows, 2, "{after:?}");
    assert_eq!(
        (after.bytes_flushed, after.bytes_compacted),
        (before.bytes_flushed, before.bytes_compacted)
    );
    check(&snapshot, &then);
    model.drop_windows_before(SERIES, 9);
    check(&store.engine.snapshot(), &model);
    drop(snapshot);
    store.engine.close().unwrap();
    let mut store = Store::open(&disk.crash(4), options()).unwrap();
    check(&store.engine.snapshot(), &model);
}

/// A store with `rows` rows of window 0 in a table, and a newer window.
fn store_with_a_past_window(disk: &SimDisk, rows: u8) -> (Store, Model) {
    let mut store = Store::open(disk, options()).unwrap();
    let mut model = Model::default();
    let noise = |series| noise(u64::from(series), 100);
    let row = |series, time| Change::Put(SERIES, vec![series, time], Bytes(noise(series)));
    let rows = (1..=rows).map(|series| row(series, 0)).chain([row(1, 9)]);
    store.engine.write(&mut model.change(1, &rows.collect::<Vec<_>>(), 1));
    store.flush().unwrap();
    assert_eq!(store.engine.stats().windows, 2);
    (store, model)
}

#[test]
fn a_row_that_came_after_the_copy_stays_when_its_window_is_dropped() {
    let disk = SimDisk::default();
    // So much that the few late rows are not merged into it.
    let (mut store, mut model) = store_with_a_past_window(&disk, 40);
    let seen = store.engine.snapshot();
    let row = |series, seed| Change::Put(SERIES, vec![series, 0], Bytes(noise(seed, 110)));
    store.engine.write(&mut model.change(1, &[row(2, 7), row(70, 8)], 2));
    store.flush().unwrap();
    assert_eq!(store.engine.stats().in_windows.tables, 3, "{:?}", store.engine.stats());
    store.engine.drop_windows_before(SERIES, WINDOW, &seen).unwrap();
    store.drain().unwrap();
    assert_eq!(store.engine.stats().in_windows.tables, 2, "{:?}", store.engine.stats());
    model.values.retain(|(_, key), _| key[1] == 9 || key[0] == 2 || key[0] == 70);
    // The view shows what it always did.
    assert!(seen.get(SERIES, &[1, 0]).unwrap().is_some());
    assert_eq!(seen.get(SERIES, &[70, 0]).unwrap(), None);
    // Another row is still in memory.
    store.engine.write(&mut model.change(1, &[row(8, 9)], 3));
    let seen = store.engine.snapshot();
    store.engine.drop_windows_before(SERIES, WINDOW, &seen).unwrap();
    store.drain().unwrap();
    model.values.retain(|(_, key), _| key[1] == 9 || key[0] == 8);
    check(&store.engine.snapshot(), &model);
    // The next round has seen all that is in tables.
    store.flush().unwrap();
    let seen = store.engine.snapshot();
    store.engine.drop_windows_before(SERIES, WINDOW, &seen).unwrap();
    store.drain().unwrap();
    model.drop_windows_before(SERIES, WINDOW);
    check(&store.engine.snapshot(), &model);
    store.engine.close().unwrap();
    let mut store = Store::open(&disk.crash(2), options()).unwrap();
    check(&store.engine.snapshot(), &model);
    // A view of the store as it was before it was opened again names none of its tables.
    store.engine.drop_windows_before(SERIES, u64::MAX, &seen).unwrap();
    store.drain().unwrap();
    check(&store.engine.snapshot(), &model);
}

#[test]
fn a_window_compacted_after_the_copy_stays_whole_until_the_next_round() {
    let disk = SimDisk::default();
    let (mut store, mut model) = store_with_a_past_window(&disk, 1);
    let seen = store.engine.snapshot();
    let late = Change::Put(SERIES, vec![7, 0], Bytes(noise(7, 110)));
    store.engine.write(&mut model.change(1, &[late], 2));
    let compactions = store.engine.stats().compactions;
    store.flush().unwrap();
    let stats = store.engine.stats();
    assert!(stats.compactions > compactions && stats.in_windows.tables == 2, "{stats:?}");
    store.engine.drop_windows_before(SERIES, WINDOW, &seen).unwrap();
    store.drain().unwrap();
    assert_eq!(store.engine.stats().in_windows, stats.in_windows);
    check(&store.engine.snapshot(), &model);
    let seen = store.engine.snapshot();
    store.engine.drop_windows_before(SERIES, WINDOW, &seen).unwrap();
    store.drain().unwrap();
    model.drop_windows_before(SERIES, WINDOW);
    assert_eq!(store.engine.stats().windows, 1);
    check(&store.engine.snapshot(), &model);
}

#[test]
fn a_scan_in_time_reads_no_table_of_other_windows() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options()).unwrap();
    for time in 0..30u8 {
        let mut batch = Batch::new();
        batch.put(SERIES, &[1, time], &[time; 50]);
        batch.set_mark(u64::from(time) + 1);
        store.engine.write(&mut batch);
    }
    store.flush().unwrap();
    let snapshot = store.engine.snapshot();
    let before = disk.operations();
    let keys: Vec<_> =
        snapshot.range_in_time(SERIES, b"", None, 6, 9).map(|e| e.unwrap().0).collect();
    assert_eq!(keys, [[1, 6], [1, 7], [1, 8]]);
    let one = disk.operations() - before;
    assert_eq!(snapshot.range(SERIES, b"", None).count(), 30);
    let all = disk.operations() - before - one;
    assert!(one > 0 && all >= 8 * one, "{one} reads for a window, {all} for the ten");
    assert_eq!(snapshot.range_in_time(SERIES, b"", None, 9, 9).count(), 0);
}

#[test]
fn a_keyspace_is_not_opened_for_something_else() {
    let disk = SimDisk::default();
    drop(Store::open(&disk, options()).unwrap());
    let refused = |change: fn(&mut Options)| {
        let mut asked = options();
        change(&mut asked);
        let error = Store::open(&disk, asked).err().unwrap();
        assert!(matches!(error, Error::KeyspaceChanged { .. }), "{error}");
        error.to_string()
    };
    let width = refused(|options| {
        let windows = Compaction::TimeWindow { window: 4, time_of };
        options.keyspace.get_mut(&SERIES).unwrap().compaction = windows;
    });
    assert!(width.contains("windows of 3") && width.contains("windows of 4"), "{width}");
    let operator = refused(|options| options.keyspace.get_mut(&SUMS).unwrap().merge = None);
    assert!(operator.contains("append"), "{operator}");
    // What was nothing yet may become something.
    let mut more = options();
    more.keyspace.get_mut(&PLAIN).unwrap().merge = Some(Arc::new(Append));
    drop(Store::open(&disk, more).unwrap());
}

#[test]
fn a_checkpoint_is_a_store_of_its_own() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options()).unwrap();
    let mut model = Model::default();
    let mut write = |store: &mut Store, from: u64| {
        for mark in from..from + 60 {
            let (seconds, changes) = changes(7, mark);
            store.engine.write(&mut model.change(seconds, &changes, mark));
            store.engine.poll().unwrap();
        }
        model.clone()
    };
    let then = write(&mut store, 1);
    let dir = Path::new("/checkpoint");
    store.engine.checkpoint(dir).unwrap();
    assert!(matches!(store.engine.checkpoint(dir), Err(Error::CheckpointBusy { .. })));
    while store.engine.poll().unwrap().checkpointing {
        store.wait();
    }
    assert_eq!(store.engine.take_checkpoint().unwrap().unwrap(), 60);
    assert!(store.engine.take_checkpoint().is_none());
    write(&mut store, 61);
    store.flush().unwrap();
    store.engine.close().unwrap();
    let report = verify_on(disk.crash(3).arc(), dir).unwrap();
    assert!(report.problems.is_empty() && report.mark == 60, "{report:?}");
    let mut store = Store::open_in(&disk.crash(3), dir, options()).unwrap();
    check(&store.engine.snapshot(), &then);
    // A folder that is in use is left alone.
    store.engine.checkpoint(Path::new(DIR)).unwrap();
    while store.engine.poll().unwrap().checkpointing {
        store.wait();
    }
    let refused = store.engine.take_checkpoint().unwrap().unwrap_err();
    assert!(refused.to_string().contains("beside"), "{refused}");
}

#[test]
fn values_kept_apart_are_not_copied_by_compaction_and_garbage_leaves() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options()).unwrap();
    let mut model = Model::default();
    let mut write = |store: &mut Store, mark: u64, from: u8| {
        let value = |i: u8| Bytes(noise(mark + u64::from(i), 2_000));
        let changes: Vec<_> = (from..20).map(|i| Change::Put(PLAIN, vec![i], value(i))).collect();
        store.engine.write(&mut model.change(0, &changes, mark));
        store.flush().unwrap();
        model.clone()
    };
    write(&mut store, 1, 0);
    let stats = store.engine.stats();
    assert!(stats.blob_bytes > 40_000 && stats.levels[0].bytes < 4_000, "{stats:?}");
    for mark in 2..=12 {
        write(&mut store, mark, 1);
    }
    let then = write(&mut store, 13, 1);
    // All but one value of the first file are garbage, and so are most of the others.
    let stats = store.engine.stats();
    assert!(stats.blob_bytes < 3 * 40_000, "{stats:?}");
    assert!(stats.bytes_compacted < stats.bytes_flushed / 4, "{stats:?}");
    check(&store.engine.snapshot(), &then);
    store.engine.close().unwrap();
    let files = disk.list(Path::new(DIR)).unwrap();
    let bytes: u64 =
        files.iter().filter(|(name, _)| name.ends_with(".nvb")).map(|(_, bytes)| bytes).sum();
    assert_eq!(bytes, stats.blob_bytes, "no file is left behind: {files:?}");
    let report = verify_on(disk.arc(), Path::new(DIR)).unwrap();
    assert!(report.problems.is_empty() && report.blobs >= 20, "{report:?}");
}
