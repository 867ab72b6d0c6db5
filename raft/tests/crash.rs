//! What a crash or a bad disk may do to the log, and what recovery makes of it.

mod common;

use common::{BLOCK, Shard, bytes_of, file_of, listing, overwrite, recover, scratch};
use novax_log::Error as LogError;
use novax_raft::{Corruption, Error, LogWrite, blocking_write};
use std::path::{Path, PathBuf};

/// A log with some acknowledged entries and a last batch of two blocks in flight.
struct Torn {
    root: tempfile::TempDir,
    file: PathBuf,
    write: LogWrite,
    before: Listing,
    after: Listing,
}

type Listing = std::collections::BTreeMap<u16, Vec<(u64, String)>>;

fn torn() -> Torn {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0, 1]);
    shard.settle();
    shard.commit(0, b"one");
    shard.commit(1, b"two");
    shard.propose(0, "three".repeat(400).as_bytes());
    shard.propose(1, "four".repeat(700).as_bytes());
    let write = shard.poll_write().expect("a write");
    assert_eq!(write.blocks.len(), 2);
    let file = file_of(&write);
    let bytes = std::fs::read(&file).unwrap();
    drop(shard);
    let before = listing(&recover(root.path()));
    blocking_write(&write).unwrap();
    let after = listing(&recover(root.path()));
    assert_eq!(after[&0].len(), before[&0].len() + 1);
    assert_eq!(after[&1].len(), before[&1].len() + 1);
    std::fs::write(&file, bytes).unwrap();
    Torn { root, file, write, before, after }
}

/// Recovers with `content` in place of the last batch.
fn check(torn: &Torn, content: &[u8], whole: &[u8], what: &str) {
    overwrite(&torn.file, torn.write.offset, content);
    let expected = if content == whole { &torn.after } else { &torn.before };
    assert_eq!(&listing(&recover(torn.root.path())), expected, "{what}");
}

#[test]
fn a_crash_at_any_byte_of_the_last_batch_leaves_exactly_what_was_acknowledged() {
    let torn = torn();
    let whole = bytes_of(&torn.write);
    for cut in 0..=whole.len() {
        let mut content = whole.clone();
        content[cut..].fill(0);
        check(&torn, &content, &whole, &format!("cut at {cut}"));
    }
}

#[test]
fn any_changed_byte_of_the_last_batch_drops_it_whole() {
    let torn = torn();
    let whole = bytes_of(&torn.write);
    for at in 0..whole.len() {
        let mut content = whole.clone();
        content[at] ^= 0x40;
        check(&torn, &content, &whole, &format!("changed at {at}"));
    }
}

#[test]
fn any_subset_of_its_blocks_drops_the_last_batch_whole() {
    let torn = torn();
    let whole = bytes_of(&torn.write);
    for missing in 0..whole.len() / BLOCK {
        for filler in [0, 0xff, b'N'] {
            let mut content = whole.clone();
            content[missing * BLOCK..][..BLOCK].fill(filler);
            check(&torn, &content, &whole, &format!("block {missing} is {filler}"));
        }
    }
}

/// Corrupts what was acknowledged and expects recovery to refuse.
fn check_corrupt(root: &Path, expected: impl Fn(&Corruption) -> bool, what: &str) {
    match novax_raft::recover(root) {
        Err(Error::Log(LogError::Corrupt { what: found, .. })) if expected(&found) => {}
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn damage_before_the_last_batch_is_named_never_dropped() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    let mut writes = Vec::new();
    for number in 0..6 {
        if number > 0 {
            shard.propose(0, format!("entry {number}").as_bytes());
        }
        while let Some(write) = shard.poll_write() {
            blocking_write(&write).unwrap();
            shard.raft.on_written(write.id, Ok(())).unwrap();
            writes.push(write);
        }
    }
    let file = file_of(&writes[0]);
    drop(shard);
    let (last, earlier) = writes.split_last().unwrap();
    assert_eq!(last.offset, 6 * BLOCK as u64, "an opening batch and six of one block");
    for write in earlier {
        let bytes = bytes_of(write);
        for at in (0..BLOCK).step_by(7) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            overwrite(&file, write.offset, &changed);
            let lost = |found: &Corruption| {
                *found == Corruption::LostBatch { expected: write.id, found: write.id + 1 }
            };
            check_corrupt(root.path(), lost, &format!("batch {} at {at}", write.id));
        }
        overwrite(&file, write.offset, &vec![0; BLOCK]);
        let lost = |found: &Corruption| matches!(found, Corruption::LostBatch { .. });
        check_corrupt(root.path(), lost, &format!("batch {} zeroed", write.id));
        overwrite(&file, write.offset, &bytes);
    }
    assert_eq!(listing(&recover(root.path()))[&0].len(), 6, "all put right again");
}

#[test]
fn a_batch_put_in_the_place_of_another_is_named() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    shard.propose(0, b"first");
    let first = shard.poll_write().unwrap();
    blocking_write(&first).unwrap();
    shard.raft.on_written(first.id, Ok(())).unwrap();
    shard.commit(0, b"second");
    let file = file_of(&first);
    drop(shard);
    // A block the disk wrote to the wrong place: an old batch where the newest one should be.
    overwrite(&file, first.offset + BLOCK as u64, &bytes_of(&first));
    check_corrupt(
        root.path(),
        |found| matches!(found, Corruption::BrokenChain { .. }),
        "misplaced",
    );
}

#[test]
fn a_segment_that_is_missing_or_cut_is_named() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    while shard.raft.stats().segments < 4 {
        shard.commit(0, &[9; 4000]);
    }
    drop(shard);
    let dir = common::shard_dir(root.path(), 0);
    let names = common::segment_files(root.path(), 0);
    let (second, third) = (dir.join(&names[1]), dir.join(&names[2]));

    let bytes = std::fs::read(&second).unwrap();
    std::fs::remove_file(&second).unwrap();
    let missing = |found: &Corruption| *found == Corruption::MissingSegment { number: 2 };
    check_corrupt(root.path(), missing, "missing");

    let lost = |found: &Corruption| matches!(found, Corruption::LostBatch { .. });
    std::fs::write(&second, &bytes[..5000]).unwrap();
    check_corrupt(root.path(), lost, "cut inside a block");

    std::fs::write(&second, &bytes[..3 * BLOCK]).unwrap();
    check_corrupt(root.path(), lost, "cut between blocks");

    std::fs::write(&second, vec![0; bytes.len()]).unwrap();
    check_corrupt(root.path(), lost, "zeroed");

    std::fs::write(&second, std::fs::read(&third).unwrap()).unwrap();
    check_corrupt(root.path(), lost, "a copy of another segment");

    std::fs::write(&second, &bytes).unwrap();
    std::fs::remove_file(dir.join(&names[0])).unwrap();
    let gap = |found: &Corruption| matches!(found, Corruption::MissingEntries { .. });
    check_corrupt(root.path(), gap, "the oldest one, while its entries are needed");
}

#[test]
fn a_tail_lost_between_two_runs_is_found_by_the_later_run() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    shard.propose(0, b"acknowledged");
    let write = shard.poll_write().unwrap();
    blocking_write(&write).unwrap();
    shard.raft.on_written(write.id, Ok(())).unwrap();
    shard.settle();
    let file = file_of(&write);
    drop(shard);
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    drop(shard);
    // Damage to the last batch of a run looks like a torn write, but the next run had seen it.
    overwrite(&file, write.offset, &[0; 16]);
    let lost = |found: &Corruption| {
        *found == Corruption::LostBatch { expected: write.id, found: write.id }
    };
    check_corrupt(root.path(), lost, "the earlier run's tail");
}

#[test]
fn damage_that_reads_as_a_newer_format_is_not_overwritten_but_named() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    shard.propose(0, b"from the future");
    let write = shard.poll_write().unwrap();
    let mut bytes = bytes_of(&write);
    bytes[4] = 3;
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    let file = file_of(&write);
    drop(shard);
    overwrite(&file, write.offset, &bytes);
    let newer = |found: &Corruption| *found == Corruption::UnknownVersion { version: 3 };
    check_corrupt(root.path(), newer, "version 3");
}
