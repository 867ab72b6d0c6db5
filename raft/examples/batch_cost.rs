//! What a batch costs the shard's thread: `cargo run --release -p novax-raft --example batch_cost`.
//!
//! 12 groups, one entry of 1,200 bytes for each (ten packed commands of 120) in every batch; nothing
//! is written to a disk, so this is the time of proposing, gathering, sealing and delivering alone.

use novax_model::{NodeId, PartitionId};
use novax_raft::{GroupSpec, LogConfig, MultiRaft, recover};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

const GROUPS: u16 = 12;
const ENTRY_BYTES: usize = 1200;
const BATCHES: u32 = 50_000;

fn main() {
    let root = tempfile::tempdir().expect("a scratch directory");
    let recovered = recover(root.path()).expect("an empty log");
    let groups: Vec<_> = (0..GROUPS)
        .map(|number| GroupSpec {
            partition: PartitionId(number),
            applied: 0,
            voters: vec![NodeId::FIRST],
        })
        .collect();
    let config =
        LogConfig { dir: root.path().join("log/shard-000"), segment_bytes: 2 << 30, direct: false };
    let config = LogConfig { segment_bytes: config.segment_bytes.min(64 << 20), ..config };
    let (ready, woken) = sync_channel(1);
    let wake = Arc::new(move || {
        let _ = ready.try_send(());
    });
    let mut raft =
        MultiRaft::start(config, NodeId::FIRST, &recovered, &groups, wake).expect("a start");
    let mut committed = Vec::new();
    let mut delivered = 0_usize;
    let mut batches = 0;
    let mut finish_backlog = false;
    let mut busy = std::time::Duration::ZERO;
    while batches < BATCHES {
        let payload: Vec<Vec<u8>> = groups.iter().map(|_| vec![7; ENTRY_BYTES]).collect();
        let start = Instant::now();
        let payload = if std::mem::take(&mut finish_backlog) { Vec::new() } else { payload };
        for (GroupSpec { partition, .. }, data) in groups.iter().zip(payload) {
            raft.propose(*partition, data).expect("room");
        }
        let Some(write) = raft.poll_write() else {
            // The log is faster than the disk can make segments for it.
            busy += start.elapsed();
            woken.recv().expect("a segment becomes ready");
            finish_backlog = true;
            continue;
        };
        raft.on_written(write.id, Ok(())).expect("in flight");
        raft.recycle(write.blocks);
        raft.take_committed(&mut committed);
        busy += start.elapsed();
        batches += 1;
        delivered += committed.len();
        if batches % 1000 == 0 {
            for GroupSpec { partition, .. } in &groups {
                let last = committed.iter().rev().find(|c| c.partition == *partition);
                raft.set_flushed(*partition, last.map_or(0, |c| c.index));
            }
        }
        committed.clear();
    }
    let nanos = busy.as_nanos() / u128::from(batches);
    println!("figure batch_cost_ns {nanos} ns");
    println!("figure entries_delivered {delivered} entries");
}
