//! Segments come and go: turnover, what keeps one, and what happens when none is ready.

mod common;

use common::{SEGMENT_BYTES, Shard, listing, p, recover, scratch, segment_files, shard_dir};
use novax_raft::blocking_write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Commits to the partition until the shard uses `segments` segments; returns the last index.
fn fill(shard: &mut Shard, partition: u16, segments: u64) -> u64 {
    loop {
        let index = shard.commit(partition, &[5; 3000]);
        if shard.raft.stats().segments >= segments {
            return index;
        }
    }
}

fn free_files(root: &Path) -> usize {
    let dir = std::fs::read_dir(shard_dir(root, 0)).unwrap();
    dir.filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_str().is_some_and(|name| name.starts_with("free-"))
    })
    .count()
}

#[test]
fn a_log_of_many_segments_recovers_whole() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0, 1]);
    shard.settle();
    let mut proposed = Vec::new();
    while shard.raft.stats().segments < 10 {
        let data = format!("{} {}", proposed.len(), "y".repeat(proposed.len() * 37 % 5000));
        shard.commit(0, data.as_bytes());
        proposed.push(data);
    }
    drop(shard);
    let found = listing(&recover(root.path()));
    let data: Vec<&String> = found[&0].iter().skip(1).map(|(_, data)| data).collect();
    assert_eq!(data, proposed.iter().collect::<Vec<_>>());
    assert_eq!(found[&1].len(), 1);
}

#[test]
fn flushing_lets_segments_go_but_never_one_with_an_unflushed_entry() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0, 1]);
    shard.settle();
    fill(&mut shard, 0, 3);
    let kept = shard.commit(1, b"not flushed");
    let last = fill(&mut shard, 0, 8);
    let holding = |shard: &Shard| shard.raft.holding_oldest_segment().collect::<Vec<_>>();
    assert_eq!(holding(&shard), [p(0), p(1)]);

    shard.raft.set_flushed(p(0), last);
    assert_eq!(shard.raft.stats().segments, 8, "the mark is not durable yet");
    shard.settle();
    assert_eq!(holding(&shard), [p(1)]);
    assert_eq!(shard.raft.stats().segments, 8, "partition 1 has its first entry in the first");

    shard.raft.set_flushed(p(1), 1);
    shard.settle();
    assert_eq!(shard.raft.stats().segments, 6, "the third holds an entry of partition 1");
    shard.commit(0, b"goes on");
    drop(shard);
    let on_disk = segment_files(root.path(), 0);
    assert_eq!(on_disk[0], "0000000001-0000000003.log");
    let found = listing(&recover(root.path()));
    assert_eq!(found[&1], [(kept, "not flushed".to_owned())]);
    assert_eq!(found[&0], [(last + 1, "goes on".to_owned())]);

    let mut shard = Shard::fresh_at(root.path(), &[(0, last), (1, 1)]);
    let committed = shard.settle();
    assert_eq!(committed.len(), 4, "two entries of before, two of office");
    shard.raft.set_flushed(p(1), kept + 1);
    shard.settle();
    assert!(holding(&shard).is_empty(), "one segment is in use, nothing holds an older one");
    shard.raft.set_flushed(p(0), last + 1);
    shard.settle();
    drop(shard);
    assert!(segment_files(root.path(), 0).iter().all(|name| name.starts_with("0000000002-")));
}

#[test]
fn a_mark_alone_is_written_so_that_an_idle_shard_lets_go() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    let last = fill(&mut shard, 0, 4);
    shard.raft.set_flushed(p(0), last);
    assert!(shard.write(), "the mark");
    assert!(!shard.write(), "once");
    assert_eq!(shard.raft.stats().segments, 1);
    shard.raft.set_flushed(p(0), last);
    shard.raft.set_flushed(p(0), last - 1);
    assert!(!shard.write(), "nothing new");
}

#[test]
fn entries_are_flushed_only_after_they_were_delivered() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    shard.propose(0, b"not durable");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        shard.raft.set_flushed(p(0), 2);
    }));
    assert!(panicked.is_err(), "a mark ahead of the log would lose the entry");
}

#[test]
fn retired_segments_are_used_again_and_their_old_batches_are_never_read() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    let mut last = 0;
    // Enough rounds that each file is used several times over.
    for _ in 0..40 {
        last = fill(&mut shard, 0, 3);
        shard.raft.set_flushed(p(0), last);
        shard.settle();
        assert_eq!(shard.raft.stats().segments, 1);
    }
    let written = shard.raft.stats().bytes;
    assert!(written > 20 * SEGMENT_BYTES, "{written}");
    let index = shard.commit(0, b"tail");
    drop(shard);
    let files = segment_files(root.path(), 0).len() + free_files(root.path());
    assert!(files <= 6, "{files} files: one in use, few ready, few free");
    let found = listing(&recover(root.path()));
    assert_eq!(found[&0], [(index, "tail".to_owned())]);
    // Free files of an earlier run serve the next one.
    let mut shard = Shard::fresh_at(root.path(), &[(0, last)]);
    assert_eq!(shard.settle().len(), 2);
    drop(shard);
    assert_eq!(recover(root.path()).last_index(p(0)), index + 1);
}

#[test]
fn a_torn_write_into_a_used_segment_leaves_what_was_acknowledged() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    for _ in 0..6 {
        let last = fill(&mut shard, 0, 3);
        shard.raft.set_flushed(p(0), last);
        shard.settle();
    }
    let index = shard.commit(0, b"acknowledged");
    shard.propose(0, &[6; 6000]);
    let write = shard.poll_write().expect("a write");
    let file = common::file_of(&write);
    let stale = std::fs::read(&file).unwrap();
    let at = usize::try_from(write.offset).unwrap();
    assert!(stale[at..].iter().any(|byte| *byte != 0), "the file was used before");
    drop(shard);
    let whole = common::bytes_of(&write);
    for cut in (0..whole.len()).step_by(64) {
        let mut content = stale[at..at + whole.len()].to_vec();
        content[..cut].copy_from_slice(&whole[..cut]);
        if content == whole {
            break; // what is left are zeros on either side
        }
        common::overwrite(&file, write.offset, &content);
        let recovered = recover(root.path());
        let entries: Vec<_> =
            recovered.entries_after(p(0), index - 1).map(|(at, data)| (at, data.len())).collect();
        assert_eq!(entries, [(index, b"acknowledged".len())], "cut at {cut}");
    }
}

#[test]
fn without_a_segment_nothing_is_handed_out_and_nothing_is_lost() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    // The directory goes: segments that were made can be used up, others cannot be made.
    let dir = shard_dir(root.path(), 0);
    let aside = dir.with_file_name("elsewhere");
    std::fs::rename(&dir, &aside).unwrap();
    let mut taken = 0;
    let stalled = loop {
        if shard.raft.propose(p(0), vec![8; 3000]).is_ok() {
            taken += 1;
        }
        match shard.raft.poll_write() {
            Some(write) => {
                blocking_write(&write).unwrap();
                shard.raft.on_written(write.id, Ok(())).unwrap();
            }
            None => {
                let stats = shard.raft.stats();
                if stats.stalls > 0 && stats.segment_failures > 0 {
                    break stats;
                }
                std::thread::yield_now();
            }
        }
    };
    assert_eq!(stalled.segment_errno, libc::ENOENT);
    assert!(shard.raft.poll_write().is_none(), "back-pressure, not an error");
    while shard.raft.propose(p(0), vec![8; 3000]).is_ok() {
        taken += 1;
    }
    // It comes back, and the thread tries again by itself.
    std::fs::rename(&aside, &dir).unwrap();
    let committed = shard.settle();
    assert_eq!(committed.len(), taken);
    drop(shard);
    assert_eq!(listing(&recover(root.path()))[&0].len(), taken + 1);
}

#[test]
fn a_spare_of_an_earlier_run_serves_the_next_but_never_one_that_may_be_in_use() {
    let root = scratch();
    let inode = |name: &str| {
        std::fs::metadata(shard_dir(root.path(), 0).join(name)).map(|file| file.ino()).ok()
    };
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.wait_for_segments(2);
    shard.settle();
    drop(shard);
    let [used, next, spare] =
        ["0000000001-0000000001.log", "0000000001-0000000002.log", "0000000001-0000000003.log"];
    let (next_inode, spare_inode) = (inode(next).unwrap(), inode(spare).unwrap());
    let shard = Shard::fresh(root.path(), &[0]);
    shard.wait_for_segments(2);
    assert!(inode(used).is_some() && inode(next).is_none() && inode(spare).is_none());
    let made: Vec<_> =
        (1..=3).map(|number| inode(&format!("0000000002-{number:010}.log")).unwrap()).collect();
    assert_eq!(made[0], spare_inode, "the first segment was there already");
    assert!(!made[1..].contains(&spare_inode) && next_inode != spare_inode);
    drop(shard);
    assert_eq!(recover(root.path()).last_index(p(0)), 1);
}
