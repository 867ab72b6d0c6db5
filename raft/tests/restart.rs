//! Restarts: what survives, with the same number of shards and with another.

mod common;

use common::{Shard, config, listing, p, recover, scratch, segment_files, shard_dir};
use novax_log::Error as LogError;
use novax_model::NodeId;
use novax_raft::{Error, HardState, LogConfig, MultiRaft, blocking_write};
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_restart_keeps_term_and_vote_and_leads_in_a_later_term() {
    let root = scratch();
    for start in 1..=5 {
        let mut shard = Shard::fresh(root.path(), &[7]);
        shard.settle();
        drop(shard);
        let hard = recover(root.path()).hard_state(p(7)).expect("a hard state");
        let HardState { term, vote, commit } = hard;
        assert_eq!((term, vote), (start, common::NODE));
        assert!(commit < start, "commit is written along with entries, never for itself");
    }
    assert_eq!(recover(root.path()).last_index(p(7)), 5, "one entry a term");
}

#[test]
fn committed_entries_come_again_from_the_applied_mark_on() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    for number in 2..=10 {
        assert_eq!(shard.commit(0, format!("entry {number}").as_bytes()), number);
    }
    drop(shard);
    for applied in [0, 1, 5, 10] {
        let recovered = recover(root.path());
        let last = recovered.last_index(p(0));
        let mut shard = Shard::start(root.path(), 0, &recovered, &[(0, applied)]);
        let committed = shard.settle();
        let indexes: Vec<u64> = committed.iter().map(|c| c.index).collect();
        let expected: Vec<u64> = (applied + 1..=last + 1).collect();
        assert_eq!(indexes, expected);
        for entry in committed.iter().filter(|c| (2..=10).contains(&c.index)) {
            assert_eq!(entry.data, format!("entry {}", entry.index));
        }
        // The mark is the engine's: it never goes back, so each round starts from a higher one.
    }
}

/// Starts `shards` shards over `partitions` partitions, each at `applied`.
fn start_node(root: &Path, shards: u16, partitions: u16, applied: u64) -> Vec<Shard> {
    let recovered = recover(root);
    (0..shards)
        .map(|shard| {
            let own = (0..partitions).filter(|number| p(*number).shard(shards) == shard);
            let groups: Vec<_> = own.map(|number| (number, applied)).collect();
            Shard::start(root, shard, &recovered, &groups)
        })
        .collect()
}

#[test]
fn another_number_of_shards_finds_all_entries_in_order() {
    let root = scratch();
    let partitions = 12;
    let mut expected: Vec<Vec<(u64, String)>> = vec![Vec::new(); usize::from(partitions)];
    for (round, shards) in [1, 3, 2, 5, 1, 4].into_iter().enumerate() {
        let mut node = start_node(root.path(), shards, partitions, 0);
        for shard in &mut node {
            for committed in shard.settle() {
                let known = &mut expected[usize::from(committed.partition.0)];
                let data = String::from_utf8(committed.data.to_vec()).unwrap();
                if committed.index > u64::try_from(known.len()).unwrap() {
                    assert_eq!(data, "", "only the new leader's own entry is new");
                    known.push((committed.index, data));
                } else {
                    let at = usize::try_from(committed.index).unwrap() - 1;
                    assert_eq!(known[at], (committed.index, data));
                }
            }
        }
        for number in 0..partitions {
            let data = format!("round {round} partition {number}");
            let index = node[usize::from(number % shards)].commit(number, data.as_bytes());
            expected[usize::from(number)].push((index, data));
        }
        drop(node);
        let found = listing(&recover(root.path()));
        for number in 0..partitions {
            assert_eq!(found[&number], expected[usize::from(number)], "round {round}");
        }
    }
}

#[test]
fn a_write_of_the_dead_process_that_lands_after_the_restart_changes_nothing() {
    for (shards_before, shards_after) in [(1, 1), (2, 1), (1, 2), (3, 2)] {
        let root = scratch();
        let mut node = start_node(root.path(), shards_before, 6, 0);
        for shard in &mut node {
            shard.settle();
        }
        let mut late = Vec::new();
        for (shard, number) in node.iter_mut().zip(0..) {
            shard.propose(number, b"never acknowledged");
            late.push(shard.poll_write().expect("a write"));
        }
        drop(node);
        let mut node = start_node(root.path(), shards_after, 6, 0);
        for shard in &mut node {
            assert!(shard.settle().iter().all(|c| c.data.is_empty()));
        }
        for write in &late {
            blocking_write(write).unwrap();
        }
        for number in 0..6 {
            node[usize::from(number % shards_after)].commit(number, b"new");
        }
        drop(node);
        for (number, entries) in listing(&recover(root.path())) {
            let data: Vec<&str> = entries.iter().map(|(_, data)| data.as_str()).collect();
            assert_eq!(data, ["", "", "new"], "partition {number}");
        }
    }
}

#[test]
fn writes_landing_later_than_the_next_start_but_one_change_nothing() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    shard.propose(0, b"landed between the second start and the third");
    let first = shard.poll_write().expect("a write");
    drop(shard);
    let mut shard = Shard::fresh(root.path(), &[0]);
    let second = shard.poll_write().expect("the opening of the second run");
    drop(shard);
    blocking_write(&first).unwrap();
    let mut shard = Shard::fresh(root.path(), &[0]);
    let committed = shard.settle();
    assert_eq!(committed.len(), 3, "the third start saw it, so it is there for good");
    shard.commit(0, b"third");
    drop(shard);
    // The second run's opening says otherwise, but the third had not seen that.
    blocking_write(&second).unwrap();
    let entries = &listing(&recover(root.path()))[&0];
    let data: Vec<&str> = entries.iter().map(|(_, data)| data.as_str()).collect();
    assert_eq!(data, ["", "landed between the second start and the third", "", "third"]);
}

#[test]
fn many_quick_restarts_do_not_fill_the_disk() {
    let root = scratch();
    for _ in 0..50 {
        let mut shard = Shard::fresh(root.path(), &[0, 1]);
        shard.wait_for_segments(2);
        shard.settle();
        shard.commit(0, b"a little");
    }
    let recovered = recover(root.path());
    assert_eq!(recovered.last_index(p(0)), 100);
    let mut shard = Shard::start(root.path(), 0, &recovered, &[(0, 100), (1, 50)]);
    let before = shard.raft.stats();
    assert_eq!(before.old_segments, 50);
    assert!(before.disk_bytes < 50 * 5 * 4096 + 2 * common::SEGMENT_BYTES, "{before:?}");
    shard.settle();
    drop(shard);
    drop(recovered);
    let shard = Shard::fresh_at(root.path(), &[(0, 100), (1, 50)]);
    assert_eq!(shard.raft.stats().old_segments, 1, "what was flushed is gone");
}

#[test]
fn flushed_partitions_let_the_segments_of_earlier_runs_go_whoever_owns_them_now() {
    let root = scratch();
    let mut node = start_node(root.path(), 2, 4, 0);
    for shard in &mut node {
        shard.settle();
    }
    drop(node);
    let mut node = start_node(root.path(), 3, 4, 0);
    for shard in &mut node {
        shard.settle();
    }
    let segments = |root: &Path, shard| {
        let names = segment_files(root, shard);
        names.iter().filter(|name| name.starts_with("0000000001-")).count()
    };
    assert!(segments(root.path(), 0) > 0 && segments(root.path(), 1) > 0);
    // Partitions 0 and 2 were on shard 0, 1 and 3 on shard 1; now 0 and 3 are on shard 0.
    for (shard, number) in [(0, 0), (1, 1), (0, 3)] {
        node[shard].raft.set_flushed(p(number), 2);
        node[shard].settle();
    }
    drop(node); // waits for what was asked to be retired
    assert!(segments(root.path(), 0) > 0, "partition 2 is not flushed");
    assert_eq!(segments(root.path(), 1), 0, "1 and 3 are");
    let found = listing(&recover(root.path()));
    assert_eq!(found[&2].len(), 2);
    assert_eq!([found[&0].len(), found[&1].len(), found[&3].len()], [0, 0, 0]);
}

#[test]
fn a_partition_that_is_not_started_keeps_its_entries_through_later_runs() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0, 1]);
    shard.settle();
    shard.commit(1, b"dormant");
    drop(shard);
    for _ in 0..3 {
        let recovered = recover(root.path());
        let last = recovered.last_index(p(0));
        let mut shard = Shard::start(root.path(), 0, &recovered, &[(0, last)]);
        shard.settle();
        shard.raft.set_flushed(p(0), last + 1);
        shard.settle();
    }
    let mut shard = Shard::fresh_at(root.path(), &[(1, 0)]);
    let committed = shard.settle();
    assert_eq!(committed[1].data, "dormant");
}

#[test]
fn a_second_process_is_kept_out_and_a_dead_one_is_not() {
    let root = scratch();
    let shard = Shard::fresh(root.path(), &[0]);
    let refused = novax_raft::recover(root.path());
    assert!(matches!(refused, Err(Error::Log(LogError::InUse { .. }))), "{refused:?}");
    drop(shard);
    recover(root.path());
}

#[test]
fn an_engine_and_a_log_that_do_not_belong_together_are_named() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    let index = shard.commit(0, b"flushed");
    shard.raft.set_flushed(p(0), index);
    shard.settle();
    drop(shard);
    let start = |applied| {
        let recovered = recover(root.path());
        let wake = Arc::new(|| {});
        let groups = [common::alone(0, applied)];
        MultiRaft::start(config(root.path(), 0), NodeId::FIRST, &recovered, &groups, wake).map(drop)
    };
    match start(index + 1) {
        Err(Error::Log(LogError::LogBehindState { applied, last, .. })) => {
            assert_eq!((applied, last), (3, 2));
        }
        other => panic!("{other:?}"),
    }
    match start(index - 1) {
        Err(Error::Log(LogError::StateBehindLog { applied, mark, .. })) => {
            assert_eq!((applied, mark), (1, 2));
        }
        other => panic!("{other:?}"),
    }
    start(index).expect("the mark they agree on");
}

#[test]
fn a_start_that_wrote_nothing_leaves_nothing_behind_that_matters() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    shard.commit(0, b"kept");
    drop(shard);
    let before = listing(&recover(root.path()));
    for _ in 0..3 {
        // Nothing written, but all segments made that are made ahead.
        let shard = Shard::fresh(root.path(), &[0]);
        shard.wait_for_segments(2);
    }
    // Not even half a segment.
    std::fs::write(shard_dir(root.path(), 0).join("spare.tmp"), b"half").unwrap();
    assert_eq!(listing(&recover(root.path())), before);
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    assert!(!shard_dir(root.path(), 0).join("spare.tmp").exists() || shard.write());
}

#[test]
fn writes_past_the_page_cache_hold_the_same() {
    // On a real file system, which may or may not know O_DIRECT: the log says which it is.
    let root = tempfile::TempDir::new().unwrap();
    let config = LogConfig { dir: shard_dir(root.path(), 0), segment_bytes: 1 << 20, direct: true };
    let mut shard = Shard::start_with(config, &recover(root.path()), &[(0, 0), (1, 0)]);
    shard.settle();
    for number in 0..40 {
        shard.commit(number % 2, &vec![u8::try_from(number).unwrap(); 30_000]);
    }
    assert!(shard.raft.stats().segments > 1);
    println!("direct: {}", shard.raft.stats().direct);
    drop(shard);
    let recovered = recover(root.path());
    for partition in [0, 1] {
        let sizes: Vec<usize> =
            recovered.entries_after(p(partition), 1).map(|(_, data)| data.len()).collect();
        assert_eq!(sizes, [30_000; 20]);
    }
}
