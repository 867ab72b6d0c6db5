//! Containment: whatever file is damaged, missing, cut short, foreign or too new, the error names it and says what
//! to do, everything else stays readable, the store goes on working, and the tools find it. And the faults of whole
//! disks: full, read-only, with a clock that went back.

use crate::common::{DIR, Model, Store, contents, noise, small};
use crate::sim_disk::SimDisk;
use novax_engine::{Batch, Disk, Error, Options, tools, verify_on};
use std::path::{Path, PathBuf};

fn still() -> Options {
    Options { level0_tables_max: 100, memtable_bytes_max: 1 << 20, ..small() }
}

fn path(number: u64) -> PathBuf {
    Path::new(DIR).join(format!("{number:016x}.nvt"))
}

fn manifest() -> PathBuf {
    Path::new(DIR).join("MANIFEST")
}

/// Three tables that share no key, the second of keyspace 1 alone.
fn three_tables() -> (SimDisk, Vec<Model>) {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, still()).unwrap();
    let mut models = Vec::new();
    for table in 1..=3u64 {
        let mut model = Model::new();
        for i in 0..150u64 {
            let keyspace = if table == 2 { 1 } else { (i % 3) as u8 };
            let key = (10_000 * table + i).to_be_bytes();
            let value = noise(1000 * table + i, 60);
            store.put(1000 * table + i, &[(keyspace, &key, &value)]);
            model.insert((keyspace, key.to_vec()), value);
        }
        store.flush().unwrap();
        models.push(model);
    }
    store.engine.close().unwrap();
    (disk, models)
}

/// Flushes now that the disk is well again: attempts that failed before may still be reported.
fn flush_again(store: &mut Store) {
    let done = (0..10).any(|_| store.flush().is_ok());
    assert!(done, "it goes on by itself");
}

/// One thing that happens to a table's file.
struct Fault {
    name: &'static str,
    strike: fn(&SimDisk, &Path),
    /// What the error says of it.
    says: &'static str,
}

fn rewrite(disk: &SimDisk, file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.read_file(file);
    change(&mut bytes);
    disk.write_file(file, &bytes);
}

/// Offset of the magic from the end of a table, and of the version behind it.
fn magic_at(bytes: &[u8]) -> usize {
    bytes.windows(8).rposition(|window| window == b"NVXTABLE").unwrap()
}

/// Changes bytes in a footer and makes its checksum right again.
fn with_checksum(bytes: &mut [u8], footer_bytes: usize) {
    let (start, end) = (bytes.len() - footer_bytes, bytes.len() - 4);
    let crc = crc32fast::hash(&bytes[start..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
}

/// From the magic, version and crc at the end, whatever stands before them.
fn footer_bytes(bytes: &[u8]) -> usize {
    let stored = u32::from_le_bytes(bytes[bytes.len() - 4..].try_into().unwrap());
    let end = bytes.len() - 4;
    let fits = |len: &usize| crc32fast::hash(&bytes[bytes.len() - len..end]) == stored;
    (16..=512.min(bytes.len())).find(fits).unwrap()
}

const FAULTS: [Fault; 6] = [
    Fault {
        name: "a flipped bit in a block",
        strike: |disk, file| disk.rot(file, 200, 4),
        says: "checksum",
    },
    Fault {
        name: "a block of zeros",
        strike: |disk, file| rewrite(disk, file, |bytes| bytes[300..1200].fill(0)),
        says: "checksum",
    },
    Fault {
        name: "a file cut short",
        strike: |disk, file| rewrite(disk, file, |bytes| bytes.truncate(bytes.len() / 2)),
        says: "length",
    },
    Fault {
        name: "an empty file",
        strike: |disk, file| rewrite(disk, file, Vec::clear),
        says: "length",
    },
    Fault {
        name: "a foreign file",
        strike: |disk, file| {
            rewrite(disk, file, |bytes| {
                let (at, len) = (magic_at(bytes), footer_bytes(bytes));
                bytes[at..at + 8].copy_from_slice(b"NOTATABL");
                with_checksum(bytes, len);
            });
        },
        says: "not a sorted table",
    },
    Fault {
        name: "a table of a later version",
        strike: |disk, file| {
            rewrite(disk, file, |bytes| {
                let (at, len) = (magic_at(bytes), footer_bytes(bytes));
                bytes[at + 8..at + 12].copy_from_slice(&99u32.to_le_bytes());
                with_checksum(bytes, len);
            });
        },
        says: "newer version",
    },
];

#[test]
fn a_damaged_table_is_named_with_what_to_do_and_all_else_stays_readable() {
    let (disk, models) = three_tables();
    for fault in &FAULTS {
        let disk = disk.copy();
        (fault.strike)(&disk, &path(2));
        let mut store = Store::open(&disk, still()).unwrap();
        let snapshot = store.engine.snapshot();
        let mut refused = 0;
        for ((keyspace, key), value) in &models[1] {
            match snapshot.get(*keyspace, key) {
                Ok(read) => assert_eq!(read.as_ref(), Some(value), "{}", fault.name),
                Err(error) => {
                    assert!(error.to_string().contains(fault.says), "{}: {error}", fault.name);
                    assert_eq!(error.file(), Some(path(2).as_path()));
                    assert!(
                        error.advice().contains("novax store")
                            || error.advice().contains("version")
                    );
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "{} goes unnoticed", fault.name);
        for ((keyspace, key), value) in models[0].iter().chain(&models[2]) {
            let read = snapshot.get(*keyspace, key).unwrap();
            assert_eq!(read.as_ref(), Some(value), "{}", fault.name);
        }
        let report = verify_on(disk.arc(), Path::new(DIR)).unwrap();
        assert!(!report.problems.is_empty(), "{}", fault.name);
        assert!(report.problems.iter().all(|error| error.file() == Some(&path(2))));
    }
}

#[test]
fn writes_flushes_and_other_compactions_go_on_beside_a_damaged_table() {
    let (disk, models) = three_tables();
    disk.rot(&path(2), 200, 4);
    let mut store = Store::open(&disk, Options { level0_tables_max: 4, ..small() }).unwrap();
    let mut mark = store.engine.mark();
    let mut written = Model::new();
    let mut errors = 0;
    for round in 0..30u64 {
        for i in 0..20u64 {
            mark += 1;
            let key = (90_000 + (round * 20 + i) % 150).to_be_bytes();
            let value = noise(mark, 50);
            store.put(mark, &[(2, &key, &value)]);
            written.insert((2, key.to_vec()), value);
        }
        match store.flush() {
            Ok(_) => {}
            Err(Error::Corruption { file, .. }) => {
                assert_eq!(file, path(2));
                errors += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let snapshot = store.engine.snapshot();
    for ((keyspace, key), value) in written.iter().chain(&models[0]).chain(&models[2]) {
        assert_eq!(snapshot.get(*keyspace, key).unwrap().as_ref(), Some(value));
    }
    assert!(errors < 30, "a damaged table is not read again and again");
    assert_eq!(store.engine.close().unwrap(), mark);
}

#[test]
fn a_missing_table_is_named_and_a_repair_opens_the_store_without_it() {
    let (disk, models) = three_tables();
    disk.remove(&path(2)).unwrap();
    let Err(error) = Store::open(&disk, still()) else { panic!("a table is missing") };
    assert!(matches!(&error, Error::TableMissing { file } if *file == path(2)));
    assert!(error.advice().contains("put the file back"));
    let report = tools::repair(&disk.arc(), Path::new(DIR), &[]).unwrap();
    assert_eq!((report.tables_lost, report.lost.len()), (1, 1));
    let lost = &report.lost[0];
    assert_eq!((lost.from.0, lost.to.0), (1, 1));
    let mut store = Store::open(&disk, still()).unwrap();
    let found = contents(&store.engine.snapshot()).unwrap();
    let left: Model =
        models[0].iter().chain(&models[2]).map(|(k, v)| (k.clone(), v.clone())).collect();
    assert_eq!(found, left);
}

#[test]
fn a_manifest_that_cannot_be_used_is_named_and_says_what_to_do() {
    type Strike = fn(&mut Vec<u8>);
    let strikes: [(&str, Strike, &str); 4] = [
        ("not a manifest", |bytes| bytes[..8].copy_from_slice(b"SOMETHNG"), "repair"),
        ("header too short", |bytes| bytes.truncate(10), "repair"),
        ("record checksum does not match", |bytes| bytes[30] ^= 1, "repair"),
        (
            "version this program does not know",
            |bytes| {
                bytes[8] = 99;
                let crc = crc32fast::hash(&bytes[..16]);
                bytes[16..20].copy_from_slice(&crc.to_le_bytes());
            },
            "later version",
        ),
    ];
    let (disk, models) = three_tables();
    for (says, strike, advice) in strikes {
        let disk = disk.copy();
        rewrite(&disk, &manifest(), strike);
        let Err(error) = Store::open(&disk, still()) else { panic!("{says} goes unnoticed") };
        assert!(matches!(&error, Error::ManifestCorruption { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.advice().contains(advice), "{says}: {}", error.advice());
        assert!(verify_on(disk.arc(), Path::new(DIR)).is_err());
        let report = tools::repair(&disk.arc(), Path::new(DIR), &[]).unwrap();
        assert!(report.manifest_problem.is_some() && report.lost.is_empty());
        let mut store = Store::open(&disk, still()).unwrap();
        let found = contents(&store.engine.snapshot()).unwrap();
        assert_eq!(found.len(), models.iter().map(Model::len).sum::<usize>(), "{says}");
    }
}

#[test]
fn a_full_disk_stops_nothing_but_the_flush_and_room_lets_it_go_on() {
    let (disk, models) = three_tables();
    let mut store = Store::open(&disk, still()).unwrap();
    disk.set_bytes_free(Some(100));
    let mut mark = store.engine.mark();
    let mut written = Model::new();
    for i in 0..50u64 {
        mark += 1;
        store.put(mark, &[(0, &i.to_be_bytes(), &noise(i, 80))]);
        written.insert((0, i.to_be_bytes().to_vec()), noise(i, 80));
    }
    let error = store.flush().unwrap_err();
    assert!(
        matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
    );
    assert!(error.advice().contains("free room"), "{}", error.advice());
    written.extend(models.into_iter().flatten());
    assert_eq!(contents(&store.engine.snapshot()).unwrap(), written, "reads go on");
    mark += 1;
    store.put(mark, &[(0, b"one more", b"x")]);
    written.insert((0, b"one more".to_vec()), b"x".to_vec());
    disk.set_bytes_free(None);
    flush_again(&mut store);
    assert_eq!(store.engine.close().unwrap(), mark);
    let mut store = Store::open(&disk, still()).unwrap();
    assert_eq!(contents(&store.engine.snapshot()).unwrap(), written);
}

#[test]
fn a_read_only_disk_serves_what_it_has_and_says_so() {
    let (disk, models) = three_tables();
    let mut store = Store::open(&disk, still()).unwrap();
    disk.set_read_only(true);
    let mark = store.engine.mark() + 1;
    store.put(mark, &[(0, b"new", b"value")]);
    let error = store.flush().unwrap_err();
    assert!(error.advice().contains("read-only"), "{error}: {}", error.advice());
    let mut expected: Model = models.into_iter().flatten().collect();
    expected.insert((0, b"new".to_vec()), b"value".to_vec());
    assert_eq!(contents(&store.engine.snapshot()).unwrap(), expected);
    let target = tools::BackupTarget::open(disk.arc(), Path::new("/backups"));
    let refused = target.and_then(|target| target.backup(&[], 1));
    assert!(refused.is_err());
    disk.set_read_only(false);
    flush_again(&mut store);
    assert_eq!(store.engine.close().unwrap(), mark);
}

#[test]
fn a_clock_that_goes_back_brings_nothing_back() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, still()).unwrap();
    let write = |store: &mut Store, mark: u64, now_s: u64, key: &[u8], expires_s: u64| {
        let mut batch = Batch::new();
        batch.put_until(0, key, b"value", expires_s);
        batch.set_time_s(now_s);
        batch.set_mark(mark);
        store.engine.write(&mut batch);
    };
    write(&mut store, 1, 100, b"short", 150);
    write(&mut store, 2, 200, b"long", 1000);
    assert_eq!(store.engine.snapshot().get(0, b"short").unwrap(), None);
    // A node whose clock was set back, or a new leader's that is behind.
    write(&mut store, 3, 120, b"other", 1000);
    assert_eq!(store.engine.snapshot().get(0, b"short").unwrap(), None, "it has expired for good");
    assert!(store.engine.snapshot().get(0, b"other").unwrap().is_some());
    store.engine.close().unwrap();
    let mut store = Store::open(&disk, still()).unwrap();
    write(&mut store, 4, 90, b"more", 180);
    let snapshot = store.engine.snapshot();
    assert_eq!(snapshot.get(0, b"short").unwrap(), None, "the clock is kept with the store");
    assert_eq!(snapshot.get(0, b"more").unwrap(), None, "which is past this expiry already");
    assert!(snapshot.get(0, b"long").unwrap().is_some());
}
