//! Tables that are built beside the store are taken in whole or not at all, and are as new as they should be.

use crate::common::{DIR, Store, noise, tiny};
use crate::sim_disk::SimDisk;
use novax_engine::{
    BuiltTables, Compaction, Disk, Engine, Error, KeyspaceOptions, Options, Snapshot, verify_on,
};
use std::collections::BTreeMap;
use std::path::Path;

const PLAIN: u8 = 0;
const SERIES: u8 = 1;

type Rows = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// The second byte of a key.
fn time_of(key: &[u8]) -> Option<u64> {
    key.get(1).map(|&byte| u64::from(byte))
}

fn options() -> Options {
    let compaction = Compaction::TimeWindow { window: 3, time_of };
    let series = KeyspaceOptions { compaction, ..KeyspaceOptions::default() };
    Options { keyspace: [(SERIES, series)].into(), ..tiny() }
}

/// Rows of both kinds of keyspaces, in several tables.
fn rows(seed: u64, from: u8, to: u8) -> Rows {
    let value = |i: u8| noise(seed * 1_000 + u64::from(i), 90);
    let keys = (from..to).flat_map(|i| [(PLAIN, vec![i]), (SERIES, vec![i % 4, i])]);
    keys.map(|(keyspace, key)| ((keyspace, key.clone()), value(key[key.len() - 1]))).collect()
}

fn build(engine: &Engine, rows: &Rows) -> Result<BuiltTables, Error> {
    let mut builder = engine.table_builder();
    for ((keyspace, key), value) in rows {
        builder.add(*keyspace, key, value)?;
    }
    builder.finish()
}

fn write(store: &mut Store, mark: u64, rows: &Rows) {
    let rows: Vec<_> = rows.iter().map(|((ks, key), value)| (*ks, &key[..], &value[..])).collect();
    store.put(mark, &rows);
}

fn contents(snapshot: &Snapshot) -> Rows {
    let mut found = Rows::new();
    for keyspace in [PLAIN, SERIES] {
        for entry in snapshot.range(keyspace, b"", None) {
            let (key, value) = entry.unwrap();
            assert_eq!(snapshot.get(keyspace, &key).unwrap().as_ref(), Some(&value));
            found.insert((keyspace, key), value);
        }
    }
    found
}

/// Files of the folder that are neither the manifest nor named by it.
fn leftovers(disk: &SimDisk) -> Vec<String> {
    let report = verify_on(disk.arc(), Path::new(DIR)).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let files = disk.list(Path::new(DIR)).unwrap();
    let (tables, rest): (Vec<_>, Vec<_>) =
        files.into_iter().map(|(name, _)| name).partition(|name| name.ends_with(".nvt"));
    assert!(tables.len() as u64 >= report.tables, "{tables:?}");
    let extra = tables.len() as u64 - report.tables;
    let rest = rest.into_iter().filter(|name| name != "MANIFEST");
    rest.chain((extra > 0).then(|| format!("{extra} tables"))).collect()
}

#[test]
fn tables_are_newer_than_what_was_written_before_and_older_than_what_comes_after() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options()).unwrap();
    let mut expected = rows(1, 0, 30);
    write(&mut store, 1, &expected);
    store.flush().unwrap();
    // In memory, and still not in a table when the others come.
    let in_memory = rows(2, 10, 20);
    write(&mut store, 2, &in_memory);
    let before = store.engine.snapshot();
    let built = rows(3, 15, 40);
    let tables = build(&store.engine, &built).unwrap();
    assert!(tables.tables() > 8 && tables.bytes() > 4_000, "{tables:?}");
    store.ingest(tables).unwrap();
    expected.extend(in_memory);
    assert_eq!(contents(&before), expected, "a view does not change");
    expected.extend(built);
    assert_eq!(contents(&store.engine.snapshot()), expected);
    let later = rows(4, 30, 35);
    write(&mut store, 3, &later);
    expected.extend(later);
    assert_eq!(contents(&store.engine.snapshot()), expected);
    let stats = store.engine.stats();
    assert!(stats.bytes_ingested > 4_000, "{stats:?}");
    drop(before);
    store.flush().unwrap();
    assert_eq!(contents(&store.engine.snapshot()), expected);
    assert_eq!(store.engine.close().unwrap(), 3);
    let mut store = Store::open(&disk.crash(1), options()).unwrap();
    assert_eq!(contents(&store.engine.snapshot()), expected);
    assert_eq!(leftovers(&disk), Vec::<String>::new());
}

#[test]
fn whenever_the_power_goes_all_tables_are_in_or_none_is_and_nothing_is_left_behind() {
    let (old, new) = (rows(1, 0, 20), rows(2, 10, 40));
    let mut both = old.clone();
    both.extend(new.clone());
    let (mut none, mut all) = (0, 0);
    for cut in 0..10_000 {
        let disk = SimDisk::default();
        let mut store = Store::open(&disk, options()).unwrap();
        write(&mut store, 1, &old);
        store.flush().unwrap();
        disk.cut_power_after(cut);
        let built = build(&store.engine, &new);
        let done = built.and_then(|built| store.ingest(built)).is_ok();
        let is_over = !disk.is_power_gone();
        drop(store);
        let disk = disk.crash(cut);
        let mut store = Store::open(&disk, options()).unwrap();
        assert_eq!(store.engine.mark(), 1);
        let found = contents(&store.engine.snapshot());
        assert!(found == both || !done && found == old, "cut {cut}");
        if found == both {
            all += 1;
        } else {
            none += 1;
        }
        store.engine.close().unwrap();
        assert_eq!(leftovers(&disk), Vec::<String>::new(), "cut {cut}");
        if is_over {
            assert!(none > 20 && all > 0, "{none} {all}");
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn a_failing_disk_delays_tables_and_loses_none() {
    let (old, new) = (rows(1, 0, 20), rows(2, 10, 40));
    let mut both = old.clone();
    both.extend(new.clone());
    let mut errors = 0;
    for seed in 0..60 {
        let disk = SimDisk::default();
        let mut store = Store::open(&disk, options()).unwrap();
        write(&mut store, 1, &old);
        let built = build(&store.engine, &new).unwrap();
        disk.fail_one_in(4, seed);
        store.engine.ingest(built).unwrap();
        // Without a wait between attempts, each poll makes another.
        for attempt in 0.. {
            assert!(attempt < 10_000, "it is tried again until it is in");
            match store.engine.poll() {
                Ok(progress) if !progress.ingesting => break,
                Ok(_) => store.wait(),
                Err(_) => errors += 1,
            }
        }
        disk.fail_one_in(0, 0);
        assert_eq!(contents(&store.engine.snapshot()), both);
        drop(store);
        let mut store = Store::open(&disk.crash(seed), options()).unwrap();
        assert_eq!(contents(&store.engine.snapshot()), both);
    }
    assert!(errors > 50, "{errors}");
}

#[test]
fn a_stream_out_of_order_is_refused_and_what_is_not_taken_in_is_removed() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options()).unwrap();
    let mut builder = store.engine.table_builder();
    builder.add(PLAIN, b"b", b"1").unwrap();
    for (keyspace, key) in [(PLAIN, b"b"), (PLAIN, b"a")] {
        let refused = builder.add(keyspace, key, b"2");
        assert!(matches!(refused, Err(Error::IngestOrder { keyspace: PLAIN })));
    }
    let refused = builder.add(9, b"b", b"2");
    assert!(matches!(refused, Err(Error::KeyspaceUnknown { keyspace: 9, .. })));
    builder.add(SERIES, b"a", b"2").unwrap();
    let refused = builder.add(PLAIN, b"c", b"2");
    assert!(matches!(refused, Err(Error::IngestOrder { keyspace: PLAIN })));
    // What was refused has done no harm.
    store.ingest(builder.finish().unwrap()).unwrap();
    assert_eq!(contents(&store.engine.snapshot()).len(), 2);

    let mut builder = store.engine.table_builder();
    let refused = (0..=255).find_map(|time| builder.add(SERIES, &[time, time], b"").err());
    assert!(matches!(refused, Some(Error::IngestWindows { max: 64 })));
    assert!(matches!(Store::open(&disk, options()), Err(Error::Locked { .. })));
    drop(builder);
    let built = build(&store.engine, &rows(1, 0, 20)).unwrap();
    assert!(!leftovers(&disk).is_empty(), "files of both lie about");
    drop(built);
    // Never taken in, since the engine ends before.
    let built = build(&store.engine, &rows(1, 0, 20)).unwrap();
    store.engine.ingest(built).unwrap();
    store.engine.close().unwrap();
    assert_eq!(leftovers(&disk), Vec::<String>::new());
    let mut store = Store::open(&disk, options()).unwrap();
    assert_eq!(contents(&store.engine.snapshot()).len(), 2);
}
