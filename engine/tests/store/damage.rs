//! Bits that flip, files that go, options that do not fit: each is named, and nothing damaged is served.

use crate::common::{DIR, Model, Store, contents, small};
use crate::sim_disk::SimDisk;
use novax_engine::{Disk, Engine, Error, Options, Worker, verify, verify_on};
use std::fs;
use std::path::{Path, PathBuf};

/// Three tables in level 0 that share no key; compaction stays out of it.
fn three_tables() -> (SimDisk, Vec<(PathBuf, Model)>) {
    let options = Options { level0_tables_max: 100, memtable_bytes_max: 1 << 20, ..small() };
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options).unwrap();
    let mut tables = Vec::new();
    for table in 1..=3u64 {
        let mut model = Model::new();
        for i in 0..60u64 {
            let keyspace = (i % 3) as u8;
            let key = (1000 * i + table).to_be_bytes();
            let value =
                format!("value {i} of table {table}").repeat(1 + i as usize % 5).into_bytes();
            store.put(table, &[(keyspace, &key, &value)]);
            model.insert((keyspace, key.to_vec()), value);
        }
        store.flush().unwrap();
        tables.push((Path::new(DIR).join(format!("{table:016x}.nvt")), model));
    }
    (disk, tables)
}

fn three_tables_options() -> Options {
    Options { level0_tables_max: 100, ..small() }
}

#[test]
fn a_flipped_bit_is_named_where_it_is_and_the_other_tables_stay_readable() {
    let (disk, tables) = three_tables();
    let (rotten, model) = &tables[1];
    let len = disk.read_file(rotten).len();
    let (mut named_keyspaces, mut lost) = (0, 0);
    for at in (0..len).step_by(11) {
        let disk = disk.copy();
        disk.rot(rotten, at, (at % 8) as u32);
        let mut store = Store::open(&disk, three_tables_options()).unwrap();
        let snapshot = store.engine.snapshot();
        for ((keyspace, key), value) in model {
            match snapshot.get(*keyspace, key) {
                Ok(read) => assert_eq!(read.as_ref(), Some(value), "never a wrong answer"),
                Err(Error::Corruption { file, offset, keyspace: named, keys, .. }) => {
                    assert_eq!(&file, rotten);
                    // Where keys are named, the one that is lost is among them.
                    assert!(keys.is_none_or(|keys| keys.first <= *key && *key <= keys.last));
                    // The footer's own checks name the footer, which refers to the block meant.
                    assert!(offset <= at as u64);
                    assert!(named.is_none_or(|named| named == *keyspace));
                    named_keyspaces += u32::from(named.is_some());
                    lost += 1;
                }
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
        for (_, model) in [&tables[0], &tables[2]] {
            for ((keyspace, key), value) in model {
                // A key of another table is read past the damage only where the filter or the
                // range of the damaged table says that it need not be asked.
                match snapshot.get(*keyspace, key) {
                    Ok(read) => assert_eq!(read.as_ref(), Some(value)),
                    Err(Error::Corruption { file, .. }) => assert_eq!(&file, rotten),
                    Err(error) => panic!("byte {at}: {error}"),
                }
            }
        }
        let newest = &tables[2].1;
        for ((keyspace, key), value) in newest {
            assert_eq!(snapshot.get(*keyspace, key).unwrap().as_ref(), Some(value));
        }
        let report = verify_on(disk.arc(), Path::new(DIR)).unwrap();
        assert_eq!((report.tables, report.problems.len()), (3, 1), "byte {at}");
        assert!(report.problems[0].to_string().contains("0000000000000002.nvt"));
    }
    assert!(lost > 0 && named_keyspaces > 0);
}

#[test]
fn a_scan_over_damage_ends_with_the_error() {
    let (disk, tables) = three_tables();
    disk.rot(&tables[1].0, 10, 0);
    let mut store = Store::open(&disk, three_tables_options()).unwrap();
    let snapshot = store.engine.snapshot();
    let items: Vec<_> = snapshot.range(0, b"", None).collect();
    let (last, before) = items.split_last().unwrap();
    assert!(matches!(last, Err(Error::Corruption { keyspace: Some(0), keys: Some(_), .. })));
    assert!(before.iter().all(Result::is_ok));
    let elsewhere = snapshot.range(1, b"", None).map(Result::unwrap).count();
    assert_eq!(elsewhere, 60, "other keyspaces are whole");
}

#[test]
fn a_whole_table_under_the_name_of_its_twin_is_refused() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, three_tables_options()).unwrap();
    for mark in 1..=2 {
        store.put(mark, &[(0, b"key", &[mark as u8; 20])]);
        store.flush().unwrap();
    }
    store.engine.close().unwrap();
    let path = |number: u64| Path::new(DIR).join(format!("{number:016x}.nvt"));
    let old = disk.read_file(&path(1));
    assert_eq!(old.len(), disk.read_file(&path(2)).len());
    disk.create(&path(2)).unwrap().write(&old).unwrap();
    let mut store = Store::open(&disk, three_tables_options()).unwrap();
    let refused = store.engine.snapshot().get(0, b"key");
    assert!(matches!(
        refused,
        Err(Error::Corruption { what: "file is not the one the manifest means", .. })
    ));
}

#[test]
fn a_compaction_that_meets_damage_reports_it_and_leaves_everything_in_place() {
    let (disk, tables) = three_tables();
    disk.rot(&tables[1].0, 10, 0);
    let mut store = Store::open(&disk, small()).unwrap();
    assert!(matches!(store.drain(), Err(Error::Corruption { keyspace: Some(0), .. })));
    for _ in 0..3 {
        assert!(!store.drain().unwrap().compacting, "it is not tried for ever");
    }
    let stats = store.engine.stats();
    assert_eq!(stats.quarantined.len(), 1, "{stats:?}");
    store.put(9, &[(2, b"new", b"value")]);
    let newest = &tables[2].1;
    for ((keyspace, key), value) in newest {
        let read = store.engine.snapshot().get(*keyspace, key).unwrap();
        assert_eq!(read.as_ref(), Some(value));
    }
    assert_eq!(store.engine.close().unwrap(), 9, "flushes go on");
}

#[test]
fn flushes_above_a_damaged_table_do_not_pile_up() {
    let (disk, tables) = three_tables();
    disk.rot(&tables[1].0, 10, 0);
    let mut store = Store::open(&disk, small()).unwrap();
    assert!(store.drain().is_err());
    let ends: [(u8, &[u8]); 3] = [(0, b""), (1, b"middle"), (2, &[0xff; 9])];
    for mark in 10..90u64 {
        // From one end to the other: none of it can get past the damage.
        let value = mark.to_be_bytes();
        store.put(mark, &ends.map(|(keyspace, key)| (keyspace, key, &value[..])));
        let progress = store.flush().unwrap();
        assert!(!progress.stalled && progress.flushed_mark == mark);
        let stats = store.engine.stats();
        assert!(stats.levels[0].tables < 20, "{stats:?}");
        assert_eq!(stats.quarantined.len(), 1, "{stats:?}");
    }
    assert!(store.engine.stats().compactions > 10, "they become one now and then");
    let check = |store: &mut Store| {
        let snapshot = store.engine.snapshot();
        for (keyspace, key) in ends {
            let found = snapshot.get(keyspace, key).unwrap();
            assert_eq!(found.as_deref(), Some(&89u64.to_be_bytes()[..]));
        }
    };
    check(&mut store);
    store.engine.close().unwrap();
    let mut store = Store::open(&disk.crash(5), small()).unwrap();
    check(&mut store);
}

#[test]
fn a_flipped_bit_in_the_manifest_stops_the_opening_or_costs_the_last_edit_alone() {
    let (disk, _) = three_tables();
    let manifest = Path::new(DIR).join("MANIFEST");
    let len = disk.read_file(&manifest).len();
    let mut refused = 0;
    for at in 0..len {
        let disk = disk.copy();
        disk.rot(&manifest, at, (at % 8) as u32);
        match Store::open(&disk, three_tables_options()) {
            Ok(store) => assert_eq!(store.engine.mark(), 2),
            Err(Error::ManifestCorruption { file, offset, .. }) => {
                assert!(file == manifest && offset <= at as u64);
                refused += 1;
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
    assert!(refused > len / 2, "{refused} of {len}");
}

#[test]
fn a_missing_table_or_manifest_stops_the_opening() {
    let (disk, tables) = three_tables();
    let without_table = disk.copy();
    without_table.remove(&tables[1].0).unwrap();
    let error = Store::open(&without_table, small()).err().unwrap();
    assert!(matches!(error, Error::TableMissing { file } if file == tables[1].0));
    let without_manifest = disk.copy();
    without_manifest.remove(&Path::new(DIR).join("MANIFEST")).unwrap();
    let error = Store::open(&without_manifest, small()).err().unwrap();
    assert!(matches!(error, Error::ManifestCorruption { what: "tables, but no manifest", .. }));
}

#[test]
fn a_store_opens_with_more_keyspaces_than_before_and_not_with_fewer() {
    let (disk, tables) = three_tables();
    let with = |keyspaces| Options { keyspaces, ..three_tables_options() };
    let error = Store::open(&disk, with(2)).err().unwrap();
    assert!(matches!(error, Error::KeyspacesTooFew { stored: 3, asked: 2, .. }));
    let mut store = Store::open(&disk, with(5)).unwrap();
    store.put(10, &[(4, b"new", b"keyspace")]);
    store.engine.close().unwrap();
    let error = Store::open(&disk, with(3)).err().unwrap();
    assert!(matches!(error, Error::KeyspacesTooFew { stored: 5, asked: 3, .. }));
    let mut store = Store::open(&disk, with(5)).unwrap();
    let snapshot = store.engine.snapshot();
    let all: usize = tables.iter().map(|(_, model)| model.len()).sum();
    assert_eq!(contents(&snapshot).unwrap().len(), all);
    assert!(matches!(snapshot.get(5, b""), Err(Error::KeyspaceUnknown { keyspace: 5, count: 5 })));
    assert!(matches!(
        snapshot.range(9, b"", None).next(),
        Some(Err(Error::KeyspaceUnknown { .. }))
    ));
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn open_real(dir: &Path, worker: &Worker) -> Result<Engine, Error> {
    Engine::open(dir, small(), worker)
}

#[test]
fn a_folder_is_open_once_and_free_again_after_closing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("deep/store");
    let worker = Worker::start(2).unwrap();
    let engine = open_real(&dir, &worker).unwrap();
    assert!(matches!(open_real(&dir, &worker), Err(Error::Locked { .. })));
    engine.close().unwrap();
    drop(open_real(&dir, &worker).unwrap());
    drop(open_real(&dir, &worker).unwrap());
}

#[test]
fn leftovers_are_removed_and_other_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(1).unwrap();
    open_real(folder.path(), &worker).unwrap().close().unwrap();
    for name in ["00000000000000ff.nvt", "MANIFEST.tmp", "notes.txt", "ff.nvt"] {
        fs::write(folder.path().join(name), b"junk").unwrap();
    }
    open_real(folder.path(), &worker).unwrap().close().unwrap();
    assert_eq!(names(folder.path()), ["LOCK", "MANIFEST", "ff.nvt", "notes.txt"]);
}

#[test]
fn a_replaced_table_stays_on_disk_until_its_last_snapshot_goes() {
    let (disk, tables) = three_tables();
    let mut store = Store::open(&disk, three_tables_options()).unwrap();
    let held = store.engine.snapshot();
    store.engine.close().unwrap();
    let mut store = Store::open(&disk, small()).unwrap();
    drop(held);
    let held = store.engine.snapshot();
    store.drain().unwrap();
    let on_disk = |path: &Path| {
        disk.list(Path::new(DIR)).unwrap().iter().any(|(name, _)| path.ends_with(name))
    };
    assert!(store.engine.stats().levels[0].tables == 0, "all compacted");
    assert!(tables.iter().all(|(path, _)| on_disk(path)), "and still held");
    let all: usize = tables.iter().map(|(_, model)| model.len()).sum();
    assert_eq!(contents(&held).unwrap().len(), all);
    drop(held);
    store.engine.close().unwrap();
    assert!(!tables.iter().any(|(path, _)| on_disk(path)), "gone with it");
}

#[test]
fn a_store_on_the_real_disk_comes_back_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(2).unwrap();
    let mut engine = open_real(folder.path(), &worker).unwrap();
    let mut batch = novax_engine::Batch::new();
    for mark in 1..=500u64 {
        batch.put(1, &mark.to_be_bytes(), &[mark as u8; 60]);
        batch.set_mark(mark);
        engine.write(&mut batch);
        engine.poll().unwrap();
    }
    assert_eq!(engine.close().unwrap(), 500);
    let report = verify(folder.path()).unwrap();
    assert!(report.problems.is_empty() && report.entries >= 500 && report.mark == 500);
    let mut engine = open_real(folder.path(), &worker).unwrap();
    assert_eq!(engine.mark(), 500);
    assert_eq!(engine.snapshot().range(1, b"", None).map(Result::unwrap).count(), 500);
}

#[test]
fn a_worker_that_has_stopped_is_named() {
    let disk = SimDisk::default();
    let worker = Worker::start(1).unwrap();
    let mut engine = Engine::open_on(disk.arc(), Path::new(DIR), small(), &worker).unwrap();
    drop(worker);
    let mut batch = novax_engine::Batch::new();
    batch.put(0, b"key", b"value");
    batch.set_mark(1);
    engine.write(&mut batch);
    engine.flush();
    assert!(matches!(engine.poll(), Err(Error::WorkerStopped)));
    assert!(matches!(engine.close(), Err(Error::WorkerStopped)));
}
