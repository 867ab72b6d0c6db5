//! Proposals, batches and what is committed when.

mod common;

use common::{BLOCK, Shard, alone, bytes_of, config, p, recover, scratch};
use novax_log::Error as LogError;
use novax_model::NodeId;
use novax_raft::{Error, GroupSpec, MultiRaft, ProposeError, blocking_write};
use std::io;
use std::sync::Arc;

#[test]
fn a_sole_voter_leads_at_once_and_commits_its_first_entry_by_its_first_writes() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[4]);
    assert!(shard.raft.is_leader(p(4)));
    assert!(!shard.raft.is_leader(p(5)), "a partition of another shard");
    let committed = shard.settle();
    assert_eq!(committed.len(), 1);
    assert_eq!((committed[0].index, committed[0].data.len()), (1, 0));
}

#[test]
fn nothing_is_committed_before_its_write_is_reported_durable() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    shard.propose(0, b"hold");
    let write = shard.poll_write().expect("a write");
    let mut committed = Vec::new();
    shard.raft.take_committed(&mut committed);
    assert_eq!(committed, [], "handed out is not durable");
    blocking_write(&write).unwrap();
    shard.raft.take_committed(&mut committed);
    assert_eq!(committed, [], "durable, but nobody said so");
    shard.raft.on_written(write.id, Ok(())).unwrap();
    shard.raft.take_committed(&mut committed);
    assert_eq!(committed.len(), 1);
    assert_eq!((committed[0].index, committed[0].data.as_ref()), (2, &b"hold"[..]));
}

#[test]
fn one_write_carries_the_entries_of_all_groups() {
    let root = scratch();
    let partitions: Vec<u16> = (0..24).collect();
    let mut shard = Shard::fresh(root.path(), &partitions);
    assert_eq!(shard.settle().len(), 24);
    let before = shard.raft.stats();
    for partition in &partitions {
        shard.propose(*partition, b"begin charge");
    }
    let write = shard.poll_write().expect("a write");
    assert_eq!(write.blocks.len(), 1, "24 small entries fit one block");
    assert_eq!(write.offset % BLOCK as u64, 0);
    blocking_write(&write).unwrap();
    shard.raft.on_written(write.id, Ok(())).unwrap();
    let committed = shard.settle();
    assert_eq!(committed.len(), 24);
    let after = shard.raft.stats();
    assert_eq!((after.batches - before.batches, after.entries - before.entries), (1, 24));
}

#[test]
fn the_next_batch_gathers_while_one_is_in_flight() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0, 1]);
    shard.settle();
    shard.propose(0, b"first");
    let first = shard.poll_write().expect("a write");
    for number in 0..10 {
        shard.propose(number % 2, format!("later {number}").as_bytes());
        assert!(shard.raft.poll_write().is_none(), "one write at a time");
    }
    blocking_write(&first).unwrap();
    shard.raft.on_written(first.id, Ok(())).unwrap();
    let second = shard.poll_write().expect("the gathered batch");
    assert_eq!(second.offset, first.offset + BLOCK as u64);
    blocking_write(&second).unwrap();
    shard.raft.on_written(second.id, Ok(())).unwrap();
    assert!(shard.poll_write().is_none(), "all ten went into one batch");
    let committed = shard.settle();
    assert_eq!(committed.len(), 11);
    let of_one: Vec<_> = committed.iter().filter(|c| c.partition == p(1)).collect();
    let expected: Vec<String> = (0..5).map(|n| format!("later {}", 2 * n + 1)).collect();
    let found: Vec<String> =
        of_one.iter().map(|c| String::from_utf8(c.data.to_vec()).unwrap()).collect();
    assert_eq!(found, expected, "in the order proposed");
    assert!(of_one.windows(2).all(|pair| pair[0].index + 1 == pair[1].index));
}

#[test]
fn a_proposal_too_large_is_refused_and_the_largest_one_is_committed() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    let max = 8 << 10; // an eighth of the segment
    let too_large = shard.raft.propose(p(0), vec![7; max + 1]);
    assert_eq!(too_large, Err(ProposeError::TooLarge { max }));
    let index = shard.commit(0, &vec![7; max]);
    drop(shard);
    let recovered = recover(root.path());
    let (_, data) = recovered.entries_after(p(0), index - 1).next().expect("the entry");
    assert_eq!(data, vec![7; max]);
}

#[test]
fn too_much_uncommitted_is_answered_busy_until_a_write_is_done() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0, 1]);
    shard.settle();
    // By bytes in one group, by entries in the other.
    for (partition, bytes) in [(0, 1000), (1, 1)] {
        let taken = (0..100_000)
            .take_while(|_| shard.raft.propose(p(partition), vec![1; bytes]).is_ok())
            .count();
        assert!((2..=128).contains(&taken), "{taken} of {bytes} bytes");
        assert_eq!(shard.raft.propose(p(partition), vec![1; bytes]), Err(ProposeError::Busy));
        assert_eq!(shard.settle().len(), taken, "what was taken is committed");
        assert_eq!(shard.raft.propose(p(partition), vec![1; bytes]), Ok(()));
        shard.settle();
    }
}

#[test]
fn committed_entries_nobody_takes_stop_further_proposals() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    let mut refused = None;
    for number in 0..200_000 {
        if let Err(error) = shard.raft.propose(p(0), vec![1]) {
            if !shard.write() {
                refused = Some((number, error));
                break;
            }
            assert_eq!(error, ProposeError::Busy);
        }
    }
    let (number, error) = refused.expect("a bound");
    assert_eq!(error, ProposeError::Busy);
    assert!(number >= 1 << 16, "refused only at the bound, not at {number}");
    let mut committed = Vec::new();
    shard.raft.take_committed(&mut committed);
    assert_eq!(shard.raft.propose(p(0), vec![1]), Ok(()));
}

#[test]
fn an_unknown_partition_is_refused() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[3]);
    assert_eq!(shard.raft.propose(p(2), vec![1]), Err(ProposeError::UnknownPartition));
    assert_eq!(shard.raft.propose(p(999), vec![1]), Err(ProposeError::UnknownPartition));
    shard.raft.set_flushed(p(999), 5);
    shard.settle();
}

#[test]
fn a_failed_write_is_fatal_and_nothing_is_written_after_it() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    shard.propose(0, b"lost");
    let write = shard.poll_write().expect("a write");
    let error = shard.raft.on_written(write.id, Err(io::ErrorKind::StorageFull.into()));
    assert!(matches!(error, Err(Error::Log(LogError::Write(_)))), "{error:?}");
    assert!(shard.raft.poll_write().is_none());
    assert_eq!(shard.raft.propose(p(0), vec![1]), Err(ProposeError::Busy));
    assert_eq!(shard.settle(), []);
}

#[test]
fn a_report_of_a_write_that_is_not_in_flight_is_an_error() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    let write = shard.poll_write().expect("a write");
    let error = shard.raft.on_written(write.id + 1, Ok(()));
    assert!(matches!(error, Err(Error::Log(LogError::UnknownWrite(_)))), "{error:?}");
    blocking_write(&write).unwrap();
    shard.raft.on_written(write.id, Ok(())).expect("it is still in flight");
    let error = shard.raft.on_written(write.id, Ok(()));
    assert!(matches!(error, Err(Error::Log(LogError::UnknownWrite(_)))), "{error:?}");
}

#[test]
fn ticks_cost_a_sole_voter_neither_its_lead_nor_a_write() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0, 1]);
    shard.settle();
    let before = shard.raft.stats();
    for _ in 0..100 {
        shard.raft.tick();
        assert_eq!(shard.settle(), []);
    }
    assert!(shard.raft.is_leader(p(0)) && shard.raft.is_leader(p(1)));
    assert_eq!(shard.raft.stats().batches, before.batches);
    let mut messages = Vec::new();
    shard.raft.take_messages(&mut messages);
    assert_eq!(messages, [], "there is nobody to write to");
}

#[test]
fn blocks_hold_what_the_log_holds_however_entries_fall_on_block_ends() {
    let root = scratch();
    let mut shard = Shard::fresh(root.path(), &[0]);
    shard.settle();
    // Around the sizes where header, frame header or data end exactly with a block.
    for bytes in (3900..4110).chain([8100, 8104, 8191, 8192]) {
        let data: Vec<u8> = (0..bytes).map(|n| u8::try_from(n % 251).unwrap()).collect();
        shard.propose(0, &data);
        let write = shard.poll_write().expect("a write");
        if write.blocks.len() > 1 || write.offset > 0 {
            assert!(bytes_of(&write).len().is_multiple_of(BLOCK));
        }
        blocking_write(&write).unwrap();
        shard.raft.on_written(write.id, Ok(())).unwrap();
        let committed = shard.settle();
        let last = committed.last().expect("the entry");
        assert_eq!(last.data, data);
        if bytes % 16 == 0 {
            let index = last.index;
            shard.raft.set_flushed(p(0), index);
        }
    }
    drop(shard);
    let recovered = recover(root.path());
    for (_, data) in recovered.entries_after(p(0), 0) {
        let expected: Vec<u8> = (0..data.len()).map(|n| u8::try_from(n % 251).unwrap()).collect();
        assert_eq!(data, expected);
    }
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let root = scratch();
    let recovered = recover(root.path());
    let good = config(root.path(), 0);
    let try_start = |config, groups: &[GroupSpec]| {
        MultiRaft::start(config, NodeId::FIRST, &recovered, groups, Arc::new(|| {})).map(drop)
    };
    for segment_bytes in [0, 60 << 10, (64 << 10) + 1, 4 << 30] {
        let config = novax_raft::LogConfig { segment_bytes, ..good.clone() };
        assert!(
            matches!(try_start(config, &[]), Err(Error::Log(LogError::Config(_)))),
            "{segment_bytes}"
        );
    }
    let elsewhere = novax_raft::LogConfig { dir: root.path().join("shard-000"), ..good.clone() };
    assert!(matches!(try_start(elsewhere, &[]), Err(Error::Log(LogError::Config(_)))));
    let many: Vec<_> = (0..200).map(|number| alone(number, 0)).collect();
    assert!(matches!(try_start(good.clone(), &many), Err(Error::Log(LogError::Config(_)))));
    let twice = try_start(good, &[alone(500, 0), alone(500, 0)]);
    assert!(matches!(twice, Err(Error::Log(LogError::StartedTwice(_)))), "{twice:?}");
}
