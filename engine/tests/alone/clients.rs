//! What clients are told and see.

use crate::model::{DIR, History, contents, fill, small};
use novax_engine::Batch;
use novax_engine::store::{Client, Error, Store, StoreOptions};
use novax_log::sim::SimDisk;
use std::collections::VecDeque;
use std::path::Path;

fn open(disk: &SimDisk) -> Store {
    Store::open_on(disk.arc(), Path::new(DIR), small()).unwrap()
}

#[test]
fn many_threads_write_at_once_and_all_of_it_is_there_after_a_crash() {
    let real = tempfile::tempdir().unwrap();
    let options = StoreOptions { segment_bytes: 256 << 10, ..small() };
    let store = Store::open(real.path(), options.clone()).unwrap();
    let writers: Vec<_> = (0..8_u32)
        .map(|writer| {
            let client = store.client();
            std::thread::spawn(move || {
                let (mut batch, mut last) = (Batch::new(), 0);
                for number in 0..200_u32 {
                    batch.put(1, &[writer.to_be_bytes(), number.to_be_bytes()].concat(), b"v");
                    loop {
                        match client.write(&mut batch) {
                            Ok(mark) => {
                                assert!(mark > last, "a client's batches are in order");
                                assert!(client.durable_mark() >= mark);
                                last = mark;
                                break;
                            }
                            Err(Error::Busy) => client.wait_for_room().unwrap(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                    assert!(batch.is_empty());
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let stats = store.client().stats().unwrap();
    assert_eq!((stats.mark, stats.durable_mark), (1600, 1600));
    assert!(stats.log.batches < 1600 + 50, "writes are shared: {:?}", stats.log);
    drop(store); // as a crash would
    let store = Store::open(real.path(), options).unwrap();
    let snapshot = store.client().snapshot().unwrap();
    assert_eq!(snapshot.mark(), 1600);
    assert_eq!(snapshot.range(1, b"", None).map(Result::unwrap).count(), 1600);
}

#[test]
fn a_log_longer_than_memory_comes_back_in_tables() {
    let disk = SimDisk::new();
    let mut large = small();
    large.engine.memtable_bytes_max = 4 << 20;
    large.segments_max = 64;
    let store = Store::open_on(disk.arc(), Path::new(DIR), large).unwrap();
    let client = store.client();
    let (mut batch, mut model) = (Batch::new(), std::collections::BTreeMap::new());
    for number in 0..3_000_u64 {
        let key = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000).to_be_bytes();
        if number % 5 == 0 {
            batch.delete(1, &key);
            model.remove(key.as_slice());
        } else {
            batch.put(1, &key, &[number as u8; 20]);
            model.insert(key.to_vec(), vec![number as u8; 20]);
        }
        while let Err(Error::Busy) = client.write_relaxed(&mut batch) {
            client.wait_for_room().unwrap();
        }
    }
    batch.put(1, b"last", b"v");
    client.write(&mut batch).unwrap();
    model.insert(b"last".to_vec(), b"v".to_vec());
    drop(store);
    let store = open(&disk.crash(2));
    let client = store.client();
    let snapshot = client.snapshot().unwrap();
    assert_eq!(snapshot.mark(), 3_001);
    let found = snapshot.range(1, b"", None).map(Result::unwrap);
    assert!(found.eq(model), "the last of each key, and nothing that was deleted");
    let stats = client.stats().unwrap();
    // Each has taken about 40 bytes of the log: memory alone would be full at a third of them.
    assert!(stats.engine.flushes >= 10 && stats.flushed_mark > 2_700, "{stats:?}");
    assert_eq!(store.close().unwrap(), 3_001);
}

#[test]
fn one_thread_keeps_many_writes_under_way_and_they_share_log_writes() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let client = store.client();
    let (mut batch, mut under_way) = (Batch::new(), VecDeque::new());
    let before = client.stats().unwrap().log.batches;
    for number in 0..2000_u64 {
        batch.put(0, &number.to_be_bytes(), b"value");
        while let Err(error) = client.submit(&mut batch).map(|ticket| under_way.push_back(ticket)) {
            assert!(matches!(error, Error::Busy), "{error}");
            assert_eq!(batch.len(), 1, "a refused batch is as it was");
            client.wait_for_room().unwrap();
        }
        while under_way.front().is_some_and(|ticket| ticket.poll().unwrap()) {
            under_way.pop_front();
        }
    }
    for ticket in under_way {
        ticket.wait().unwrap();
    }
    assert_eq!(client.durable_mark(), 2000);
    let written = client.stats().unwrap().log.batches - before;
    assert!(written < 1000, "{written} writes of the log for 2000 batches");
}

#[test]
fn what_was_handed_over_is_seen_by_later_snapshots_and_not_by_earlier_ones() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let client = store.client();
    let mut batch = Batch::new();
    for number in 0..500_u64 {
        let earlier = client.snapshot().unwrap();
        batch.put(2, b"counter", &number.to_be_bytes());
        let mark = match number % 3 {
            0 => client.write_relaxed(&mut batch).unwrap(),
            1 => client.submit(&mut batch).unwrap().mark(),
            _ => client.write(&mut batch).unwrap(),
        };
        assert_eq!(mark, number + 1);
        assert_eq!(client.get(2, b"counter").unwrap(), Some(number.to_be_bytes().to_vec()));
        let before = number.checked_sub(1).map(|number| number.to_be_bytes().to_vec());
        assert_eq!(earlier.get(2, b"counter").unwrap(), before);
        assert_eq!(earlier.mark(), number);
    }
}

#[test]
fn relaxed_writes_become_durable_by_themselves() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let client = store.client();
    let mut batch = Batch::new();
    batch.put(0, b"key", b"value");
    let mark = client.write_relaxed(&mut batch).unwrap();
    client.wait_durable(mark).unwrap();
    drop(store);
    let store = open(&disk.crash(1));
    assert_eq!(store.client().get(0, b"key").unwrap(), Some(b"value".to_vec()));
}

#[test]
fn the_log_is_cut_behind_what_is_flushed() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let client = store.client();
    let (mut batch, mut history) = (Batch::new(), History::new(9));
    for mark in 1..=6000 {
        fill(&mut batch, 9, 0, mark);
        while let Err(error) = client.write_relaxed(&mut batch) {
            assert!(matches!(error, Error::Busy), "{error}");
            client.wait_for_room().unwrap();
        }
        history.push(0);
        if mark > 200 {
            // The model keeps every state: too many.
            continue;
        }
        if mark % 50 == 0 {
            assert!(contents(&client.snapshot().unwrap()).unwrap() == *history.at(mark));
        }
    }
    let stats = client.stats().unwrap();
    assert!(stats.log.bytes > 10 * (64 << 10), "{:?}", stats.log);
    assert!(stats.log.segments <= 6 && stats.flushed_mark > 0, "{stats:?}");
    assert_eq!(store.close().unwrap(), 6000);
    let segments = disk.files().iter().filter(|file| file.starts_with("/store/log")).count();
    assert!(segments <= 8, "{segments} segments left");
    let store = open(&disk);
    assert!(contents(&store.client().snapshot().unwrap()).unwrap() == *history.at(6000));
}

#[test]
fn bad_batches_are_refused_and_change_nothing() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let client = store.client();
    let mut batch = Batch::new();
    batch.put(200, b"key", b"value");
    let refused = client.write(&mut batch);
    assert!(matches!(refused, Err(Error::BadBatch { keyspace: 200, .. })), "{refused:?}");
    batch.clear();
    batch.put(0, b"key", &vec![1; 9000]);
    let refused = client.write(&mut batch);
    assert!(
        matches!(refused, Err(Error::TooLarge { max: 8192 })),
        "an eighth of a segment: {refused:?}"
    );
    batch.clear();
    assert_eq!(client.snapshot().unwrap().mark(), 0);
    assert_eq!(client.write(&mut batch).unwrap(), 1, "an empty batch is one as well");
}

#[test]
fn after_the_end_everybody_is_told() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let client = store.client();
    let mut batch = Batch::new();
    batch.put(0, b"key", b"value");
    let ticket = client.submit(&mut batch).unwrap();
    assert_eq!(store.close().unwrap(), 1);
    assert!(ticket.poll().unwrap(), "a close finishes what was handed over");
    batch.put(0, b"key", b"later");
    assert!(matches!(client.write(&mut batch), Err(Error::Closed)));
    assert!(matches!(client.snapshot(), Err(Error::Closed)));
    assert!(matches!(client.stats(), Err(Error::Closed)));
    assert!(matches!(client.wait_durable(2), Err(Error::Closed)));
    assert!(matches!(client.wait_for_room(), Err(Error::Closed)));
}

#[test]
fn a_store_is_opened_once_at_a_time() {
    let real = tempfile::tempdir().unwrap();
    let store = Store::open(real.path(), small()).unwrap();
    assert!(Store::open(real.path(), small()).is_err());
    drop(store);
    Store::open(real.path(), small()).unwrap();
}

#[test]
fn tables_enter_between_what_was_written_before_and_after() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let client = store.client();
    let mut batch = Batch::new();
    batch.put(1, b"a", b"before");
    batch.put(1, b"b", b"before");
    client.write_relaxed(&mut batch).unwrap();
    let mut builder = client.table_builder().unwrap();
    for key in [b"a", b"c", b"d"] {
        builder.add(1, key, b"built").unwrap();
    }
    client.ingest(builder.finish().unwrap()).unwrap();
    batch.put(1, b"c", b"after");
    let mark = client.write(&mut batch).unwrap();
    let expected = [(b"a", &b"built"[..]), (b"b", b"before"), (b"c", b"after"), (b"d", b"built")];
    let check = |store: &Store| {
        let snapshot = store.client().snapshot().unwrap();
        assert_eq!(snapshot.mark(), mark, "tables have no place in the log");
        let found: Vec<_> = snapshot.range(1, b"", None).map(Result::unwrap).collect();
        assert_eq!(found, expected.map(|(key, value)| (key.to_vec(), value.to_vec())));
    };
    check(&store);
    drop(client);
    drop(store); // as a crash would
    let store = open(&disk);
    check(&store);
    assert_eq!(store.close().unwrap(), mark);
}

#[test]
fn tables_of_another_store_or_too_late_are_refused() {
    let (disk, other) = (SimDisk::new(), SimDisk::new());
    let (store, other) = (open(&disk), open(&other));
    let client = store.client();
    let build = |client: &Client| {
        let mut builder = client.table_builder().unwrap();
        builder.add(1, b"k", b"v").unwrap();
        builder.finish().unwrap()
    };
    let refused = client.ingest(build(&other.client()));
    assert!(matches!(refused, Err(Error::ForeignTables)), "{refused:?}");
    assert_eq!(client.get(1, b"k").unwrap(), None);
    let late = build(&client);
    store.close().unwrap();
    assert!(matches!(client.ingest(late), Err(Error::Closed)));
    assert!(matches!(client.table_builder(), Err(Error::Closed)));
}
