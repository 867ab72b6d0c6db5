//! Log directories of each format version, kept byte for byte: today's code must read them, and the
//! code of the present version must still write them so.
//!
//! `UPDATE_FIXTURES=1` writes those of the present version anew, for a change of format.

mod common;

use common::{Shard, p, recover, scratch, segment_files, shard_dir};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const SHARDS: [u16; 2] = [0, 1];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A log with all there is in the format: two runs with other shard counts, all kinds of frames,
/// entries over block ends, a second segment, a torn tail.
fn write_log(root: &Path) {
    let recovered = recover(root);
    let mut first = Shard::start(root, 0, &recovered, &[(0, 0), (2, 0)]);
    let mut second = Shard::start(root, 1, &recovered, &[(1, 0)]);
    first.settle();
    second.settle();
    first.commit(0, b"hold 500");
    first.commit(2, "meter values ".repeat(400).as_bytes());
    first.raft.set_flushed(p(0), 1);
    second.commit(1, b"begin charge");
    second.propose(1, "never acknowledged ".repeat(300).as_bytes());
    let torn = second.poll_write().expect("a write");
    common::overwrite(&common::file_of(&torn), torn.offset, &torn.blocks[0].0);
    first.settle();
    drop((first, second, recovered));

    let mut shard = Shard::start(root, 0, &recover(root), &[(0, 1), (1, 0), (2, 0)]);
    shard.settle();
    let mut number = 0;
    while shard.raft.stats().segments < 2 {
        number += 1;
        shard.commit(1, format!("{number} {}", "z".repeat(7000)).as_bytes());
    }
    shard.commit(0, b"stop charge");
    shard.commit(2, "naïve Zürich 充电".as_bytes());
}

/// The segments that hold anything, with few of the zeros behind it: a reader takes any whole
/// number of blocks, as long as the torn batch would have fitted.
fn pack(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for shard in SHARDS {
        for name in segment_files(root, shard) {
            let mut bytes = std::fs::read(shard_dir(root, shard).join(&name)).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            bytes.truncate(used.next_multiple_of(8 * common::BLOCK));
            if !bytes.is_empty() {
                files.push((format!("shard-{shard:03}/{name}"), bytes));
            }
        }
    }
    files
}

/// What a log holds, for people: long entries by their length and start.
fn describe(root: &Path) -> String {
    let recovered = recover(root);
    let mut text = String::new();
    for partition in recovered.partitions() {
        let hard = recovered.hard_state(partition).expect("a hard state");
        writeln!(text, "{partition} term {} vote {} commit {}", hard.term, hard.vote, hard.commit)
            .unwrap();
        for (index, data) in recovered.entries_after(partition, 0) {
            let all = String::from_utf8_lossy(data);
            let start: String = all.chars().take(24).collect();
            writeln!(text, "  {index} {} bytes {start:?}", data.len()).unwrap();
        }
    }
    text
}

#[test]
fn version_1_is_read_and_written_as_ever() {
    let root = scratch();
    write_log(root.path());
    let written = pack(root.path());
    let described = describe(root.path());
    let kept = fixture("v1");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        for (name, bytes) in &written {
            let file = kept.join("log").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
        std::fs::write(kept.join("expected.txt"), &described).unwrap();
    }
    let expected = std::fs::read_to_string(kept.join("expected.txt")).unwrap();

    let copy = scratch();
    let mut names = Vec::new();
    for shard in SHARDS {
        std::fs::create_dir_all(shard_dir(copy.path(), shard)).unwrap();
        for name in segment_files(&kept, shard) {
            let bytes = std::fs::read(shard_dir(&kept, shard).join(&name)).unwrap();
            std::fs::write(shard_dir(copy.path(), shard).join(&name), bytes).unwrap();
            names.push(format!("shard-{shard:03}/{name}"));
        }
    }
    assert_eq!(describe(copy.path()), expected, "today's code reads what was written then");
    assert_eq!(described, expected, "and writes the same");
    assert_eq!(written.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
    for (name, bytes) in &written {
        let then = std::fs::read(kept.join("log").join(name)).unwrap();
        assert!(*bytes == then, "{name} is written differently now");
    }
}

#[test]
fn a_log_of_version_1_is_continued_by_todays_code() {
    let root = scratch();
    for shard in SHARDS {
        std::fs::create_dir_all(shard_dir(root.path(), shard)).unwrap();
        for name in segment_files(&fixture("v1"), shard) {
            let from = shard_dir(&fixture("v1"), shard).join(&name);
            std::fs::write(shard_dir(root.path(), shard).join(&name), std::fs::read(from).unwrap())
                .unwrap();
        }
    }
    let recovered = recover(root.path());
    let last: Vec<u64> = (0..3).map(|number| recovered.last_index(p(number))).collect();
    let mut shard = Shard::start(root.path(), 0, &recovered, &[(0, 1), (1, 0), (2, 0)]);
    shard.settle();
    for (number, last) in (0..3).zip(last) {
        assert_eq!(shard.commit(number, b"on and on"), last + 2, "after the new leader's entry");
    }
}
