//! Disks that fail, fill up and forbid: nothing acknowledged is lost, and everybody is told.

use crate::model::{DIR, History, contents, fill, small};
use novax_engine::Batch;
use novax_engine::store::{Error, Store, StoreOptions};
use novax_log::sim::SimDisk;
use std::path::Path;

fn open(disk: &SimDisk, options: StoreOptions) -> Result<Store, Error> {
    Store::open_on(disk.arc(), Path::new(DIR), options)
}

#[test]
fn a_failed_log_write_ends_writing_and_reads_go_on() {
    let disk = SimDisk::new();
    let store = open(&disk, small()).unwrap();
    let client = store.client();
    let mut batch = Batch::new();
    batch.put(0, b"safe", b"1");
    client.write(&mut batch).unwrap();
    disk.set_read_only(true);
    batch.put(0, b"lost", b"2");
    let error = client.write(&mut batch).unwrap_err();
    assert!(
        matches!(&error, Error::LogFailed { reason } if reason.contains("read-only")),
        "{error}"
    );
    batch.put(0, b"refused", b"3");
    assert!(matches!(client.write(&mut batch), Err(Error::LogFailed { .. })));
    assert!(matches!(client.wait_durable(2), Err(Error::LogFailed { .. })));
    client.wait_durable(1).unwrap();
    assert_eq!(client.get(0, b"safe").unwrap(), Some(b"1".to_vec()));
    assert!(matches!(store.close(), Err(Error::LogFailed { .. })));
    disk.set_read_only(false);
    let store = open(&disk.crash(4), small()).unwrap();
    assert_eq!(store.client().get(0, b"safe").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn a_full_disk_holds_writers_back_and_room_lets_them_go_on() {
    let disk = SimDisk::new();
    let store = open(&disk, small()).unwrap();
    let client = store.client();
    let (mut batch, mut history) = (Batch::new(), History::new(2));
    let mut write = |history: &mut History| {
        let mark = history.last() + 1;
        batch.clear();
        fill(&mut batch, 2, 0, mark);
        let written = client.write_relaxed(&mut batch);
        if written.is_ok() {
            history.push(0);
        }
        written
    };
    while history.last() < 50 {
        match write(&mut history) {
            Err(Error::Busy) => client.wait_for_room().unwrap(),
            written => drop(written.unwrap()),
        }
    }
    disk.set_bytes_free(Some(100));
    // Neither a table nor a segment can be made any more; at some point nothing more is taken.
    let mut refused = 0;
    while refused < 1000 {
        match write(&mut history) {
            Ok(_) => refused = 0,
            Err(Error::Busy) => {
                refused += 1;
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(history.last() < 20_000, "what waits is bounded");
    }
    let snapshot = store.client().snapshot().unwrap();
    assert!(contents(&snapshot).unwrap() == *history.at(snapshot.mark()), "reads go on");
    disk.set_bytes_free(None);
    store.client().wait_for_room().unwrap();
    write(&mut history).unwrap();
    assert_eq!(store.close().unwrap(), history.last());
    let store = open(&disk.crash(4), small()).unwrap();
    let snapshot = store.client().snapshot().unwrap();
    assert!(contents(&snapshot).unwrap() == *history.at(history.last()));
}

#[test]
fn a_damaged_log_is_named_and_the_store_does_not_open() {
    let disk = SimDisk::new();
    let store = open(&disk, small()).unwrap();
    let client = store.client();
    let mut batch = Batch::new();
    for mark in 1..=20 {
        fill(&mut batch, 3, 0, mark);
        client.write(&mut batch).unwrap();
    }
    drop(store);
    let disk = disk.copy();
    let segment = Path::new("/store/log/shard-000/0000000001-0000000001.log");
    disk.rot(segment, 4096 + 70, 1);
    let error = open(&disk, small()).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Log(novax_log::Error::Corrupt { .. })), "{error}");
    assert!(error.to_string().contains("0000000001-0000000001.log"), "{error}");
}

#[test]
fn tables_and_log_that_do_not_belong_together_are_named() {
    let disk = SimDisk::new();
    let store = open(&disk, small()).unwrap();
    let mut batch = Batch::new();
    batch.put(0, b"key", b"value");
    store.client().write(&mut batch).unwrap();
    store.close().unwrap();
    let files = |of: &str| -> Vec<_> {
        disk.files().into_iter().filter(|file| file.starts_with(of)).collect()
    };
    // A disk with the log alone, and one with the tables alone.
    for (kept, expected) in [("/store/log", "only keeps"), ("/store/engine", "the log ends at 0")] {
        let found = SimDisk::new();
        novax_engine::Disk::create_dir(&found, Path::new("/store/log/shard-000")).unwrap();
        for file in files(kept) {
            found.write_file(&file, &disk.read_file(&file));
        }
        let error = open(&found, small()).map(drop).unwrap_err();
        assert!(error.to_string().contains(expected), "{kept}: {error}");
    }
}

#[test]
fn fewer_keyspaces_than_the_log_has_entries_for_are_named() {
    let disk = SimDisk::new();
    let options = |keyspaces| {
        let mut options = small();
        options.engine.keyspaces = keyspaces;
        options
    };
    let store = open(&disk, options(3)).unwrap();
    let mut batch = Batch::new();
    batch.put(2, b"key", b"value");
    store.client().write(&mut batch).unwrap();
    drop(store);
    assert!(open(&disk.copy(), options(2)).is_err());
    open(&disk.copy(), options(4)).unwrap();
}
