//! Whole tables against a sorted map: look-ups, scans, range tombstones, flipped bits.

use super::props::join_ranges;
use super::*;
use crate::disk::{Disk, RealDisk};
use crate::entry::{BlobRef, Entry, Expires, OwnedEntry, RangeTombstone};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An entry of any kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Any {
    Owned(OwnedEntry),
    Blob(u32, u64),
}

impl Any {
    pub(super) fn entry(&self) -> Entry<'_> {
        match self {
            Any::Owned(owned) => owned.as_entry(),
            Any::Blob(n, expires) => Entry::Blob {
                at: BlobRef {
                    file: 1 + u64::from(n % 3),
                    offset: 1 << 40,
                    len: *n,
                    stored_len: n / 2,
                    crc: !n,
                },
                expires: Expires(*expires),
            },
        }
    }

    fn of(entry: Entry<'_>) -> Any {
        match entry {
            Entry::Put { value, expires } => {
                Any::Owned(OwnedEntry::Put { value: value.to_vec(), expires })
            }
            Entry::Tombstone => Any::Owned(OwnedEntry::Tombstone),
            Entry::Merge { operand } => Any::Owned(OwnedEntry::Merge { operand: operand.to_vec() }),
            Entry::Blob { at, expires } => Any::Blob(at.len, expires.0),
        }
    }
}

type Model = BTreeMap<Vec<u8>, Any>;

struct Folder {
    dir: tempfile::TempDir,
    context: Arc<TableContext>,
}

impl Folder {
    fn new(cache_bytes: usize) -> Folder {
        let dir = tempfile::tempdir().unwrap();
        let context = TableContext::on_disk(dir.path(), cache_bytes);
        Folder { dir, context }
    }

    fn meta(&self, model: &Model, ranges: &[RangeTombstone]) -> TableMeta {
        let mut writer = TableWriter::create(&RealDisk, self.dir.path(), 1).unwrap();
        for (key, entry) in model {
            writer.add(key, entry.entry()).unwrap();
        }
        ranges.iter().for_each(|range| writer.add_range(range.clone()).unwrap());
        writer.finish().unwrap()
    }

    fn open(&self, meta: TableMeta) -> Arc<Table> {
        Arc::new(Table::new(meta, Arc::clone(&self.context)))
    }
}

fn entry() -> impl Strategy<Value = Any> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..60);
    let expires = || prop_oneof![Just(u64::MAX), 0u64..100];
    prop_oneof![
        6 => (bytes(), expires())
            .prop_map(|(value, at)| Any::Owned(OwnedEntry::Put { value, expires: Expires(at) })),
        1 => Just(Any::Owned(OwnedEntry::Tombstone)),
        1 => bytes().prop_map(|operand| Any::Owned(OwnedEntry::Merge { operand })),
        1 => (any::<u32>(), expires()).prop_map(|(n, at)| Any::Blob(n, at)),
        1 => Just(Any::Owned(OwnedEntry::Put { value: vec![b'z'; 5000], expires: Expires::NEVER })),
    ]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let tail = proptest::collection::vec(prop_oneof![0u8..4, Just(255)], 0..5);
    (0u8..3, tail).prop_map(|(keyspace, tail)| [&[keyspace][..], &tail].concat())
}

fn range() -> impl Strategy<Value = RangeTombstone> {
    (key(), key())
        .prop_filter("not empty", |(a, b)| a != b)
        .prop_map(|(a, b)| RangeTombstone { from: a.clone().min(b.clone()), to: a.max(b) })
}

fn check_get(table: &Arc<Table>, model: &Model, ranges: &[RangeTombstone], key: &[u8]) {
    let expected = match model.get(key) {
        Some(entry) => Some(Some(entry.clone())),
        None => ranges.iter().any(|range| range.covers(key)).then_some(None),
    };
    let seen = |found: Found| match found {
        Found::Entry(hit) => Some(Some(Any::of(hit.entry()))),
        Found::Covered => Some(None),
        Found::Absent => None,
    };
    assert_eq!(seen(table.get(key).unwrap()), expected);
    // Without reading: each answer names one thing that is missing, and there are three of them at most.
    let mut pins = Vec::new();
    for round in 0..=3 {
        match table.get_resident(key).unwrap() {
            Probe::Found(found) => {
                assert_eq!(seen(found), expected);
                return;
            }
            Probe::Need(need) => pins.extend(need.fetch().unwrap()),
        }
        assert!(round < 3, "a look-up comes to an end");
    }
}

fn check_scan(table: &Arc<Table>, model: &Model, range: &KeyRange, cached: bool) {
    let inside =
        |key: &&Vec<u8>| **key >= range.from && range.to.as_ref().is_none_or(|to| *key < to);
    let mut expected: Vec<_> =
        model.iter().filter(|(key, _)| inside(key)).map(|(k, e)| (k.clone(), e.clone())).collect();
    let range = Arc::new(KeyRange { from: range.from.clone(), to: range.to.clone() });
    for direction in [Direction::Forward, Direction::Backward] {
        let mut cursor = table.cursor(Arc::clone(&range), direction, cached);
        let mut read = Vec::new();
        while cursor.next().unwrap() {
            read.push((cursor.key().to_vec(), Any::of(cursor.entry())));
        }
        assert!(!cursor.next().unwrap() && cursor.key().is_empty(), "the end stays the end");
        assert_eq!(read, expected);
        expected.reverse();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_table_answers_as_a_sorted_map(
        model in proptest::collection::btree_map(key(), entry(), 0..300),
        ranges in proptest::collection::vec(range(), 0..4),
        probes in proptest::collection::vec(key(), 1..20),
        cache_bytes in prop_oneof![Just(0usize), Just(1 << 20)],
    ) {
        prop_assume!(!model.is_empty() || !ranges.is_empty());
        let folder = Folder::new(cache_bytes);
        let table = folder.open(folder.meta(&model, &ranges));
        prop_assert_eq!(table.ranges().unwrap(), &join_ranges(ranges.clone())[..]);
        for key in model.keys().chain(&probes) {
            check_get(&table, &model, &ranges, key);
        }
        for pair in probes.windows(2) {
            for cached in [false, true] {
                let (from, to) = (pair[0].clone().min(pair[1].clone()), pair[0].clone().max(pair[1].clone()));
                check_scan(&table, &model, &KeyRange { from, to: Some(to) }, cached);
            }
        }
        check_scan(&table, &model, &KeyRange { from: Vec::new(), to: None }, false);
        let check = table.check();
        prop_assert!(check.problems.is_empty(), "{:?}", check.problems);
        prop_assert_eq!(check.entries, model.len() as u64);
    }
}

/// Large enough for several partitions.
fn large() -> Model {
    let value = |i: u32| format!("value {}", i.wrapping_mul(2_654_435_761)).repeat(4).into_bytes();
    let put = |i| Any::Owned(OwnedEntry::Put { value: value(i), expires: Expires::NEVER });
    (0..60_000u32)
        .map(|i| ([&[(i / 25_000) as u8], &i.to_be_bytes()[..]].concat(), put(i)))
        .collect()
}

#[test]
fn a_large_table_keeps_its_partitions_in_the_cache_alone() {
    let folder = Folder::new(4 << 20);
    let model = large();
    let table = folder.open(folder.meta(&model, &[]));
    assert!(table.loaded().unwrap().root.len() > 1);
    for (i, (key, _)) in model.iter().enumerate() {
        if i % 7 == 0 {
            check_get(&table, &model, &[], key);
        }
    }
    check_get(&table, &model, &[], b"\x01absent");
    check_scan(&table, &model, &KeyRange { from: vec![0, 0, 0, 9], to: Some(vec![2]) }, true);
    check_scan(&table, &model, &KeyRange { from: vec![], to: None }, false);
    let check = table.check();
    assert!(check.problems.is_empty(), "{:?}", check.problems);
    assert!(folder.context.cache.bytes() <= 4 << 20);
}

#[test]
fn damage_in_a_large_table_is_found_block_by_block_and_the_rest_is_read() {
    let folder = Folder::new(0);
    let model = large();
    let meta = folder.meta(&model, &[]);
    let path = folder.dir.path().join(file_name(1));
    let whole = std::fs::read(&path).unwrap();
    let (one, two) = (100, whole.len() / 2);
    let mut rotten = whole.clone();
    rotten[one] ^= 1;
    rotten[two] ^= 1;
    std::fs::write(&path, &rotten).unwrap();
    let table = folder.open(meta);
    let check = table.check();
    assert_eq!(check.problems.len(), 2, "{:?}", check.problems);
    let mut spans = Vec::new();
    for problem in &check.problems {
        let crate::Error::Corruption { keyspace: Some(ks), keys: Some(keys), offset, .. } = problem
        else {
            panic!("{problem}")
        };
        assert!(*offset <= two as u64);
        spans.push(([&[*ks], &keys.first[..]].concat(), [&[*ks], &keys.last[..]].concat()));
    }
    let mut lost = 0;
    for (key, entry) in &model {
        match table.get(key) {
            Ok(Found::Entry(hit)) => assert_eq!(&Any::of(hit.entry()), entry),
            Ok(_) => panic!("a key is lost in silence"),
            Err(_) => {
                lost += 1;
                assert!(spans.iter().any(|(first, last)| first <= key && key <= last), "{key:?}");
            }
        }
    }
    assert!((2..1000).contains(&lost), "{lost} of {}", model.len());
}

#[test]
fn every_flipped_bit_of_a_small_table_is_found() {
    let folder = Folder::new(0);
    let mut model = Model::new();
    for i in 0..40u8 {
        let value = vec![i; 3 * usize::from(i)];
        let expires = if i % 5 == 0 { Expires(7) } else { Expires::NEVER };
        model.insert(vec![i / 20, i], Any::Owned(OwnedEntry::Put { value, expires }));
    }
    model.insert(vec![0, 200], Any::Blob(5, u64::MAX));
    model.insert(vec![0, 201], Any::Owned(OwnedEntry::Tombstone));
    let ranges = [RangeTombstone { from: vec![0, 30], to: vec![0, 90] }];
    let meta = folder.meta(&model, &ranges);
    let path = folder.dir.path().join(file_name(1));
    let whole = std::fs::read(&path).unwrap();
    assert!(folder.open(meta.clone()).check().problems.is_empty());
    for bit in 0..8 * whole.len() {
        let mut rotten = whole.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &rotten).unwrap();
        let table = folder.open(meta.clone());
        assert_eq!(table.check().problems.len(), 1, "bit {bit}");
        let mut cursor = table.cursor(KeyRange::all(), Direction::Forward, false);
        let read = loop {
            match cursor.next() {
                Ok(true) => assert_eq!(model.get(cursor.key()), Some(&Any::of(cursor.entry()))),
                Ok(false) => break false,
                Err(_) => break true,
            }
        };
        // A scan reads every block but none of the filter.
        let gets = model.keys().any(|key| table.get(key).is_err());
        assert!(read || gets, "bit {bit} is served");
    }
}

#[test]
fn the_extent_of_a_table_holds_its_range_tombstones() {
    let folder = Folder::new(0);
    let put = |value: &[u8]| {
        Any::Owned(OwnedEntry::Put { value: value.to_vec(), expires: Expires::NEVER })
    };
    let model = Model::from([(b"\0m".to_vec(), put(b"1"))]);
    let range = |from: &[u8], to: &[u8]| RangeTombstone { from: from.to_vec(), to: to.to_vec() };
    let meta = folder.meta(&model, &[range(b"\0a", b"\0c"), range(b"\0x", b"\0z")]);
    assert_eq!((meta.smallest.as_slice(), meta.ranges), (&b"\0a"[..], 2));
    assert!(
        meta.largest.as_slice() < b"\0z".as_slice()
            && meta.largest.as_slice() > b"\0yzzz".as_slice()
    );
    let table = folder.open(meta);
    check_get(&table, &model, &[range(b"\0a", b"\0c"), range(b"\0x", b"\0z")], b"\0b");
    let alone = folder.open(folder.meta(&Model::new(), &[range(b"\0a", b"\0c")]));
    assert!(matches!(alone.get(b"\0b").unwrap(), Found::Covered));
    assert!(alone.check().problems.is_empty());
}

#[test]
fn counts_of_a_table_are_in_its_meta() {
    let folder = Folder::new(0);
    let put = |at| Any::Owned(OwnedEntry::Put { value: vec![1], expires: Expires(at) });
    let model =
        Model::from([(vec![0, 1], put(5)), (vec![0, 2], put(9)), (vec![0, 3], Any::Blob(40, 7))]);
    let meta = folder.meta(&model, &[]);
    assert_eq!((meta.expires_min, meta.expires_max), (Expires(5), Expires(9)));
    assert_eq!(meta.blobs, [(2, 20)]);
    let merge = Any::Owned(OwnedEntry::Merge { operand: vec![1] });
    let model = Model::from([(vec![0, 1], put(5)), (vec![0, 2], merge)]);
    let meta = folder.meta(&model, &[]);
    assert_eq!((meta.merges, meta.expires_min, meta.expires_max), (1, Expires(5), Expires::NEVER));
}

#[test]
fn an_obsolete_table_leaves_its_file_to_the_trash() {
    let folder = Folder::new(0);
    let model = Model::from([(vec![0, 1], Any::Owned(OwnedEntry::Tombstone))]);
    let table = folder.open(folder.meta(&model, &[]));
    check_get(&table, &model, &[], &[0, 1]);
    table.set_obsolete();
    let path = table.path();
    drop(table);
    assert!(path.exists() && folder.context.trash.is_waiting());
    folder.context.trash.sweep(&RealDisk);
    assert!(!path.exists() && RealDisk.list(folder.dir.path()).unwrap().is_empty());
}

/// The table of `tests/fixtures/make_v2.py`, which was made from the document and shares no code with this crate.
fn fixture_entries() -> Vec<(Vec<u8>, Any)> {
    let put = |value: &[u8], expires| {
        Any::Owned(OwnedEntry::Put { value: value.to_vec(), expires: Expires(expires) })
    };
    let never = u64::MAX;
    let tombstone = || Any::Owned(OwnedEntry::Tombstone);
    let noise: Vec<u8> = (130..255).chain(0..30).collect();
    let long: Vec<u8> = [2, 0].into_iter().chain(40..80).collect();
    vec![
        (b"\0a".to_vec(), put(b"1", never)),
        (b"\0ab".to_vec(), put(b"22", 1000)),
        (b"\0b".to_vec(), tombstone()),
        (b"\0c".to_vec(), Any::Owned(OwnedEntry::Merge { operand: b"+5".to_vec() })),
        (b"\0d".to_vec(), Any::Blob(70_000, never)),
        (b"\0e".to_vec(), Any::Blob(70_000, 2000)),
        (b"\0f".to_vec(), put(&noise, never)),
        (b"\0g".to_vec(), put(b"", never)),
        (b"\0h".to_vec(), put(b"behind a restart point", never)),
        (b"\0i".to_vec(), put(b"x", never)),
        (b"\x02".to_vec(), put(b"empty key", never)),
        (long.clone(), put(b"long", never)),
        ([&long[..], b"er"].concat(), tombstone()),
    ]
}

#[test]
fn what_is_written_today_is_version_2_byte_for_byte() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v2/0000000000000001.nvt");
    let folder = Folder::new(0);
    let blob = BlobRef { file: 12, offset: 16, len: 70_000, stored_len: 69_000, crc: 0xC0_FFEE };
    let mut writer = TableWriter::create(&RealDisk, folder.dir.path(), 1).unwrap();
    for (key, entry) in &fixture_entries() {
        let entry = match entry {
            Any::Blob(_, expires) => Entry::Blob { at: blob, expires: Expires(*expires) },
            Any::Owned(owned) => owned.as_entry(),
        };
        writer.add(key, entry).unwrap();
    }
    for (from, to) in
        [(&b"\x01"[..], &b"\x02"[..]), (b"\x02x", b"\x02y"), (b"\0A", b"\0Z"), (b"\0B", b"\0a")]
    {
        writer.add_range(RangeTombstone { from: from.to_vec(), to: to.to_vec() }).unwrap();
    }
    let meta = writer.finish().unwrap();
    let written = std::fs::read(folder.dir.path().join(file_name(1))).unwrap();
    assert_eq!(written, std::fs::read(fixture).unwrap());
    let table = folder.open(meta);
    for (key, entry) in fixture_entries() {
        let Found::Entry(hit) = table.get(&key).unwrap() else { panic!("{key:?}") };
        assert_eq!(Any::of(hit.entry()), entry);
    }
    assert!(matches!(table.get(b"\x01k").unwrap(), Found::Covered));
    assert!(table.check().problems.is_empty());
}

#[test]
fn a_table_of_a_newer_version_is_refused_by_name() {
    let (mut footer, _) = Footer::encode([BlockRef::default(); 3]);
    footer[56] = 3;
    let crc = crc32fast::hash(&footer[..60]);
    footer[60..].copy_from_slice(&crc.to_le_bytes());
    assert!(Footer::decode(&footer).unwrap_err().contains("newer version"));
    footer[48] ^= 1;
    assert_eq!(Footer::decode(&footer).unwrap_err(), "not a sorted table");
}
