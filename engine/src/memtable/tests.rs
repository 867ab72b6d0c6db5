use super::*;
use crate::entry::OwnedEntry;
use crate::options::{KeyspaceOptions, MergeOperator};
use crate::table::Direction;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Operands are laid behind the value, which shows their order.
#[derive(Debug)]
struct Append;

impl MergeOperator for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn merge(&self, _key: &[u8], base: Option<&[u8]>, operand: &[u8]) -> Vec<u8> {
        [base.unwrap_or_default(), operand].concat()
    }

    fn combine(&self, _key: &[u8], older: &[u8], newer: &[u8]) -> Vec<u8> {
        [older, newer].concat()
    }
}

/// Keyspace 1 merges, keyspace 0 expires.
fn options() -> Options {
    let merging = KeyspaceOptions { merge: Some(Arc::new(Append)), ..KeyspaceOptions::default() };
    Options { keyspaces: 2, keyspace: [(1, merging)].into(), ..Options::default() }
}

/// Writes one change by itself.
fn write(table: &mut Memtable, keyspace: u8, change: &Change<'_>) {
    let mut batch = Batch::new();
    batch.push_change(keyspace, change);
    table.apply(&batch, &options());
}

fn put(table: &mut Memtable, key: u32, value: usize) {
    let (key, value) = (key.to_be_bytes(), vec![0; value]);
    write(table, 0, &Change::Put { key: &key, value: &value, expires: Expires::NEVER });
}

fn value_len(runs: &[Arc<MemRun>], key: u32) -> Option<usize> {
    let key = key.to_be_bytes();
    for run in runs {
        match run.get(0, &key) {
            Some(Entry::Put { value, .. }) => return Some(value.len()),
            Some(_) => return None,
            None if run.ranges().covers(0, &key) => return None,
            None => {}
        }
    }
    None
}

#[test]
fn a_run_that_was_given_out_does_not_change() {
    let mut table = Memtable::new(1);
    put(&mut table, 1, 3);
    let held = table.newest_first(&options());
    for i in 0..20 {
        put(&mut table, 1, 10 + i);
        put(&mut table, 2, 1);
        assert!(table.newest_first(&options()).len() <= 2, "runs do not pile up");
    }
    assert_eq!((value_len(&held, 1), value_len(&held, 2)), (Some(3), None));
    assert_eq!(value_len(&table.newest_first(&options()), 1), Some(29));
}

#[test]
fn bytes_follow_what_is_held() {
    let mut table = Memtable::new(1);
    put(&mut table, 1, 100);
    let once = table.bytes();
    put(&mut table, 1, 100);
    assert_eq!(table.bytes(), 2 * once, "what came last is not looked at yet");
    table.newest_first(&options());
    assert_eq!(table.bytes(), once, "overwriting costs nothing more");
    put(&mut table, 1, 0);
    table.newest_first(&options());
    assert_eq!(table.bytes(), once - 100);
    table.freeze(&options());
    assert_eq!((table.unflushed_bytes(), table.bytes()), (0, once - 100));
    assert!(table.thaw().is_some());
    assert_eq!((table.bytes(), table.runs()), (0, 0));
}

#[test]
fn what_is_overwritten_often_takes_no_memory_for_each_time() {
    let mut table = Memtable::new(1);
    for _ in 0..200 {
        for key in 0..1_000 {
            put(&mut table, key, 100);
        }
    }
    let runs = table.newest_first(&options());
    assert!(runs.len() <= 3, "{} runs", runs.len());
    let held: usize = runs.iter().map(|run| run.held_bytes()).sum();
    assert!(held <= 3 * 1_000 * 104, "{held} bytes for 1,000 rows");
}

#[test]
fn a_range_delete_covers_what_came_before_and_spares_what_comes_later() {
    let mut table = Memtable::new(2);
    for i in 0..100 {
        put(&mut table, i, 10);
    }
    let (from, to) = (20u32.to_be_bytes(), 90u32.to_be_bytes());
    write(&mut table, 0, &Change::DeleteRange { from: &from, to: &to });
    put(&mut table, 30, 5);
    let frozen = table.freeze(&options());
    let whole = [merge_frozen(&frozen, &options())];
    for runs in [&frozen[..], &whole] {
        assert_eq!((value_len(runs, 20), value_len(runs, 30)), (None, Some(5)));
        assert_eq!((value_len(runs, 19), value_len(runs, 90)), (Some(10), Some(10)));
    }
    let [whole] = whole;
    assert_eq!(keys(&whole, 0).len(), 31, "what is covered is gone");
    assert!(whole.ranges().covers(0, &30u32.to_be_bytes()));
    assert!(!whole.ranges().covers(0, &90u32.to_be_bytes()) && !whole.ranges().covers(1, &from));
}

#[test]
fn runs_are_few_however_many_changes_came_and_however_they_were_read() {
    let mut table = Memtable::new(1);
    for key in 0..200_000 {
        put(&mut table, key, 1);
        if key % 1_000 == 0 {
            table.newest_first(&options());
        }
    }
    let runs = table.newest_first(&options());
    assert!(runs.len() <= 2 * 17, "{} runs", runs.len());
    assert_eq!(runs.iter().map(|run| keys(run, 0).len()).sum::<usize>(), 200_000);
}

fn keys(run: &MemRun, keyspace: u8) -> Vec<Vec<u8>> {
    let mut cursor = run.cursor(keyspace, &[], None, Direction::Forward);
    let mut keys = Vec::new();
    while let Some(key) = cursor.key() {
        keys.push(key.to_vec());
        cursor.advance();
    }
    keys
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, Vec<u8>, u8),
    PutUntil(Vec<u8>, u64),
    Delete(u8, Vec<u8>),
    Merge(Vec<u8>, u8),
    DeleteRange(u8, Vec<u8>, Vec<u8>),
    /// Puts of many keys, so that a tail fills.
    Many(u16, u16),
    /// What was done so far comes as one batch.
    Write,
    Read,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let short = proptest::collection::vec(prop::sample::select(vec![0u8, 1, 7, 255]), 0..4);
    let long =
        (0u16..20).prop_map(|i| [b"station-identity-".as_slice(), &i.to_be_bytes()].concat());
    prop_oneof![short, long]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..2, key(), any::<u8>()).prop_map(|(ks, key, byte)| Op::Put(ks, key, byte)),
        1 => (key(), 0u64..20).prop_map(|(key, until)| Op::PutUntil(key, until)),
        3 => (0u8..2, key()).prop_map(|(ks, key)| Op::Delete(ks, key)),
        6 => (key(), any::<u8>()).prop_map(|(key, byte)| Op::Merge(key, byte)),
        2 => (0u8..2, key(), key()).prop_map(|(ks, from, to)| Op::DeleteRange(ks, from, to)),
        1 => (0u16..20, 1u16..6_000).prop_map(|(from, count)| Op::Many(from, count)),
        3 => Just(Op::Write),
        3 => Just(Op::Read),
    ]
}

/// The naive memtable: what was said of each key, and whether older runs still count.
#[derive(Clone, Default)]
struct Model {
    entries: BTreeMap<(u8, Vec<u8>), OwnedEntry>,
    ranges: Vec<(u8, Vec<u8>, Vec<u8>)>,
}

impl Model {
    fn is_cut(&self, keyspace: u8, key: &[u8]) -> bool {
        self.ranges.iter().any(|(ks, from, to)| *ks == keyspace && **from <= *key && *key < **to)
    }

    fn set(&mut self, keyspace: u8, key: &[u8], entry: OwnedEntry) {
        self.entries.insert((keyspace, key.to_vec()), entry);
    }

    fn merge(&mut self, key: &[u8], operand: &[u8]) {
        let never = Expires::NEVER;
        let is_cut = self.is_cut(1, key);
        let entry = match self.entries.get(&(1, key.to_vec())) {
            Some(OwnedEntry::Put { value, .. }) => {
                OwnedEntry::Put { value: [value, operand].concat(), expires: never }
            }
            Some(OwnedEntry::Merge { operand: older }) => {
                OwnedEntry::Merge { operand: [older, operand].concat() }
            }
            Some(OwnedEntry::Tombstone) => {
                OwnedEntry::Put { value: operand.to_vec(), expires: never }
            }
            None if is_cut => OwnedEntry::Put { value: operand.to_vec(), expires: never },
            None => OwnedEntry::Merge { operand: operand.to_vec() },
        };
        self.set(1, key, entry);
    }

    fn delete_range(&mut self, keyspace: u8, from: &[u8], to: &[u8]) {
        self.entries.retain(|(ks, key), _| *ks != keyspace || **key < *from || **key >= *to);
        if from < to {
            self.ranges.push((keyspace, from.to_vec(), to.to_vec()));
        }
    }
}

/// Does an operation to both: in the end to the table, or when it is read.
fn act(op: &Op, table: &mut Memtable, batch: &mut Batch, model: &mut Model) {
    let options = options();
    let never = Expires::NEVER;
    match op {
        Op::Put(keyspace, key, byte) => {
            let value = [*byte];
            batch.push_change(*keyspace, &Change::Put { key, value: &value, expires: never });
            model.set(*keyspace, key, OwnedEntry::Put { value: value.to_vec(), expires: never });
        }
        Op::PutUntil(key, until) => {
            let expires = Expires(*until);
            batch.push_change(0, &Change::Put { key, value: b"until", expires });
            model.set(0, key, OwnedEntry::Put { value: b"until".to_vec(), expires });
        }
        Op::Delete(keyspace, key) => {
            batch.push_change(*keyspace, &Change::Delete { key });
            model.set(*keyspace, key, OwnedEntry::Tombstone);
        }
        Op::Merge(key, byte) => {
            batch.push_change(1, &Change::Merge { key, operand: &[*byte] });
            model.merge(key, &[*byte]);
        }
        Op::DeleteRange(keyspace, from, to) => {
            batch.push_change(*keyspace, &Change::DeleteRange { from, to });
            model.delete_range(*keyspace, from, to);
        }
        Op::Many(from, count) => {
            for i in *from..from + count {
                let key = [b"station-identity-".as_slice(), &i.to_be_bytes()].concat();
                let change = Change::Put { key: &key, value: b"many", expires: never };
                batch.push_change(0, &change);
                model.set(0, &key, OwnedEntry::Put { value: b"many".to_vec(), expires: never });
            }
        }
        Op::Read => {
            table.apply(batch, &options);
            batch.clear();
            table.newest_first(&options);
        }
        Op::Write => {
            table.apply(batch, &options);
            batch.clear();
        }
    }
}

fn owned(entry: Entry<'_>) -> OwnedEntry {
    match entry {
        Entry::Put { value, expires } => OwnedEntry::Put { value: value.to_vec(), expires },
        Entry::Tombstone => OwnedEntry::Tombstone,
        Entry::Merge { operand } => OwnedEntry::Merge { operand: operand.to_vec() },
        Entry::Blob { .. } => panic!("memory holds whole values"),
    }
}

/// One run says just what the model does, read key by key and walked both ways.
fn check(run: &MemRun, model: &Model) {
    for keyspace in 0..2 {
        let of_model = |(ks, _): &(u8, Vec<u8>)| *ks == keyspace;
        let mut expected: Vec<_> = model.entries.iter().filter(|(key, _)| of_model(key)).collect();
        for ((_, key), entry) in &expected {
            assert_eq!(run.get(keyspace, key).map(owned).as_ref(), Some(*entry));
        }
        for direction in [Direction::Forward, Direction::Backward] {
            let mut cursor = run.cursor(keyspace, &[], None, direction);
            for ((_, key), entry) in &expected {
                assert_eq!(cursor.key(), Some(key.as_slice()));
                assert_eq!(cursor.entry().map(owned).as_ref(), Some(*entry));
                cursor.advance();
            }
            assert!(cursor.key().is_none() && cursor.entry().is_none());
            expected.reverse();
        }
        for key in [&b""[..], b"\x01", b"\x07\xff", b"station-identity-", b"zz"] {
            assert_eq!(run.ranges().covers(keyspace, key), model.is_cut(keyspace, key));
            let from_there = expected.iter().filter(|((_, other), _)| other.as_slice() >= key);
            let cursor = run.cursor(keyspace, key, None, Direction::Forward);
            assert_eq!(cursor.key(), from_there.map(|((_, key), _)| key.as_slice()).min());
            let before = expected.iter().filter(|((_, other), _)| other.as_slice() < key);
            let cursor = run.cursor(keyspace, b"", Some(key), Direction::Backward);
            assert_eq!(cursor.key(), before.map(|((_, key), _)| key.as_slice()).max());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn frozen_runs_say_together_what_a_sorted_map_would(ops in proptest::collection::vec(op(), 1..80)) {
        let (mut table, mut model) = (Memtable::new(2), Model::default());
        let mut batch = Batch::new();
        for op in ops.iter().chain([&Op::Write]) {
            act(op, &mut table, &mut batch, &mut model);
        }
        let frozen = table.freeze(&options());
        check(&merge_frozen(&frozen, &options()), &model);
    }
}
