//! Files as version 1 of the formats lays them down, made from the documents by `tests/fixtures/make.py`, which
//! shares no code with this crate.

use crate::common::{contents, small};
use novax_engine::{Batch, Engine, Worker, verify};
use std::fs;
use std::path::{Path, PathBuf};

const FIRST_TABLE: &str = "0000000000000001.nvt";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(fixture().join(name)).unwrap()
}

#[test]
fn a_store_of_version_1_opens_and_reads() {
    let report = verify(&fixture()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!((report.tables, report.blocks, report.entries, report.mark), (2, 4, 7, 9));

    let folder = tempfile::tempdir().unwrap();
    for name in ["MANIFEST", FIRST_TABLE, "0000000000000002.nvt"] {
        fs::write(folder.path().join(name), bytes(name)).unwrap();
    }
    let worker = Worker::start(1).unwrap();
    let mut engine = Engine::open(folder.path(), small(), &worker).unwrap();
    assert_eq!(engine.mark(), 9);
    let expected = [
        ((0, b"a".to_vec()), b"1".to_vec()),
        ((1, b"long".to_vec()), vec![b'z'; 400]),
        ((1, b"longer".to_vec()), b"tail".to_vec()),
        ((2, b"".to_vec()), b"empty key".to_vec()),
    ];
    let snapshot = engine.snapshot();
    assert_eq!(contents(&snapshot).unwrap(), expected.clone().into());
    for ((keyspace, key), value) in expected {
        assert_eq!(snapshot.get(keyspace, &key).unwrap(), Some(value));
    }
    for (keyspace, key) in [(0, &b"ab"[..]), (2, b"gone"), (2, b"never")] {
        assert_eq!(snapshot.get(keyspace, key).unwrap(), None);
    }
    drop(snapshot);
    // And it is written on: the compaction that is due merges the old tables.
    let mut batch = Batch::new();
    batch.put(0, b"new", b"entry");
    batch.set_mark(10);
    engine.write(&mut batch);
    assert_eq!(engine.close().unwrap(), 10);
    assert!(verify(folder.path()).unwrap().problems.is_empty());
}
