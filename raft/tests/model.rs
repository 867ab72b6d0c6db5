//! Random proposals, writes, flushes, crashes and restarts against naive lists.
//!
//! The claims, for each partition: what was delivered is delivered again after a crash, the same
//! entry at the same index, unless it was flushed; what was proposed is delivered in order, at most
//! once, and only the end of it may be lost, by a crash.

mod common;

use common::{BLOCK, Shard, bytes_of, file_of, overwrite, p, recover, scratch};
use novax_raft::{LogWrite, blocking_write};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

const PARTITIONS: u16 = 5;
const CASES: u32 = 400;

#[derive(Debug, Clone)]
enum Step {
    Propose {
        partition: u16,
        bytes: usize,
    },
    /// Hands out writes; those in flight stay so.
    Poll,
    /// Completes the writes in flight.
    Complete,
    /// The engines flush what was delivered, up to so many entries before the end.
    Flush {
        partition: u16,
        keep: u64,
    },
    Tick,
    Crash {
        landing: Landing,
        shards: u16,
    },
}

/// What becomes of the writes in flight at a crash.
#[derive(Debug, Clone, Copy)]
enum Landing {
    Nothing,
    /// So many 256ths of the bytes.
    Torn(u8),
    /// All blocks but one.
    Hole(u8),
    Whole,
    /// Whole, but only after the next start has read the log.
    Late,
}

fn step() -> impl Strategy<Value = Step> {
    let landing = prop_oneof![
        Just(Landing::Nothing),
        any::<u8>().prop_map(Landing::Torn),
        any::<u8>().prop_map(Landing::Hole),
        Just(Landing::Whole),
        Just(Landing::Late),
    ];
    let bytes = prop_oneof![4 => 1..200_usize, 1 => 200..8192_usize];
    prop_oneof![
        8 => (0..PARTITIONS, bytes).prop_map(|(partition, bytes)| Step::Propose { partition, bytes }),
        6 => Just(Step::Poll),
        6 => Just(Step::Complete),
        2 => (0..PARTITIONS, 0..4_u64).prop_map(|(partition, keep)| Step::Flush { partition, keep }),
        1 => Just(Step::Tick),
        1 => (landing, 1..4_u16).prop_map(|(landing, shards)| Step::Crash { landing, shards }),
    ]
}

/// One partition as a list.
#[derive(Debug, Default)]
struct Model {
    delivered: BTreeMap<u64, Vec<u8>>,
    flushed: u64,
    next: u64,
    /// Taken and not delivered, oldest first, with the run in which they were.
    pending: VecDeque<(u32, Vec<u8>)>,
    /// The run now, and that of the last proposal delivered.
    run: u32,
    delivered_run: u32,
    /// Leaders' own entries delivered since.
    leaders: u32,
}

impl Model {
    fn deliver(&mut self, index: u64, data: &[u8]) {
        assert_eq!(index, self.next, "no index is left out or repeated");
        self.next += 1;
        if let Some(known) = self.delivered.get(&index) {
            assert!(data == known, "the same entry as before the crash");
            return;
        }
        self.delivered.insert(index, data.to_vec());
        if data.is_empty() {
            self.leaders += 1;
            return;
        }
        let at = self.pending.iter().position(|(_, known)| known == data);
        let (run, _) = self.pending[at.expect("proposed, and not delivered before")];
        // The end of an earlier run may be lost, and then a new leader has begun; nothing else.
        let lost: Vec<u32> = self.pending.drain(..at.unwrap()).map(|(run, _)| run).collect();
        assert!(lost.iter().all(|earlier| *earlier < run), "in the order proposed");
        self.pending.pop_front();
        assert!(run == self.delivered_run || self.leaders > 0, "a run starts with its leader");
        assert!(run >= self.delivered_run);
        (self.delivered_run, self.leaders) = (run, 0);
    }

    fn crash(&mut self) {
        self.next = self.flushed + 1;
        self.run += 1;
    }

    /// All that was taken in this run is delivered.
    fn is_settled(&self) -> bool {
        self.pending.iter().all(|(run, _)| *run < self.run)
    }
}

struct Node {
    shards: Vec<Shard>,
    in_flight: Vec<Option<LogWrite>>,
    models: Vec<Model>,
    proposals: u32,
}

impl Node {
    fn start(root: &Path, shards: u16, models: Vec<Model>, late: &[LogWrite]) -> Node {
        let recovered = recover(root);
        for write in late {
            blocking_write(write).unwrap();
        }
        let start = |shard| {
            let own = (0..PARTITIONS).filter(|number| p(*number).shard(shards) == shard);
            let groups: Vec<_> =
                own.map(|number| (number, models[usize::from(number)].flushed)).collect();
            Shard::start(root, shard, &recovered, &groups)
        };
        let running: Vec<Shard> = (0..shards).map(start).collect();
        let in_flight = running.iter().map(|_| None).collect();
        Node { shards: running, in_flight, models, proposals: 0 }
    }

    fn owner(&mut self, partition: u16) -> &mut Shard {
        let shards = u16::try_from(self.shards.len()).unwrap();
        &mut self.shards[usize::from(p(partition).shard(shards))]
    }

    fn poll(&mut self) {
        for (shard, in_flight) in self.shards.iter_mut().zip(&mut self.in_flight) {
            if in_flight.is_none() {
                *in_flight = shard.poll_write();
            }
        }
    }

    /// True if any write was completed.
    fn complete(&mut self) -> bool {
        let mut committed = Vec::new();
        let mut any = false;
        for (shard, in_flight) in self.shards.iter_mut().zip(&mut self.in_flight) {
            if let Some(write) = in_flight.take() {
                blocking_write(&write).unwrap();
                shard.raft.on_written(write.id, Ok(())).unwrap();
                any = true;
            }
            common::take_committed(&mut shard.raft, &mut committed);
        }
        for entry in committed {
            self.models[usize::from(entry.partition.0)].deliver(entry.index, &entry.data);
        }
        any
    }

    fn settle(&mut self) {
        loop {
            self.poll();
            if !self.complete() {
                return;
            }
        }
    }

    fn take(&mut self, step: &Step, root: &Path) {
        match *step {
            Step::Propose { partition, bytes } => {
                self.proposals += 1;
                let mut data = self.proposals.to_le_bytes().to_vec();
                data.resize(bytes.max(data.len()), 0xab);
                if self.owner(partition).raft.propose(p(partition), data.clone()).is_ok() {
                    let model = &mut self.models[usize::from(partition)];
                    model.pending.push_back((model.run, data));
                }
            }
            Step::Poll => self.poll(),
            Step::Complete => drop(self.complete()),
            Step::Flush { partition, keep } => {
                let model = &mut self.models[usize::from(partition)];
                let mark = (model.next - 1).saturating_sub(keep);
                if mark > model.flushed {
                    model.flushed = mark;
                    self.owner(partition).raft.set_flushed(p(partition), mark);
                }
            }
            Step::Tick => self.shards.iter_mut().for_each(|shard| shard.raft.tick()),
            Step::Crash { landing, shards } => {
                let mut models = std::mem::take(&mut self.models);
                models.iter_mut().for_each(Model::crash);
                let writes: Vec<_> = self.in_flight.drain(..).flatten().collect();
                // Files are named before the shards, and with them the descriptors, are gone.
                let files: Vec<_> = writes.iter().map(file_of).collect();
                self.shards.clear();
                for (write, file) in writes.iter().zip(&files) {
                    land(write, file, landing);
                }
                let late = if matches!(landing, Landing::Late) { &writes[..] } else { &[] };
                let proposals = self.proposals;
                *self = Node::start(root, shards, models, late);
                self.proposals = proposals;
            }
        }
    }
}

fn land(write: &LogWrite, file: &Path, landing: Landing) {
    let mut bytes = bytes_of(write);
    match landing {
        Landing::Nothing | Landing::Late => {}
        Landing::Whole => overwrite(file, write.offset, &bytes),
        Landing::Torn(part) => {
            bytes.truncate(bytes.len() * usize::from(part) / 256);
            overwrite(file, write.offset, &bytes);
        }
        Landing::Hole(block) => {
            let missing = usize::from(block) % (bytes.len() / BLOCK);
            for (at, block) in bytes.chunks(BLOCK).enumerate().filter(|(at, _)| *at != missing) {
                let offset = u64::try_from(at * BLOCK).unwrap();
                overwrite(file, write.offset + offset, block);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_each_partition_is_the_list_of_what_was_proposed(
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let root = scratch();
        let model = || Model { next: 1, ..Model::default() };
        let models = (0..PARTITIONS).map(|_| model()).collect();
        let mut node = Node::start(root.path(), 2, models, &[]);
        for step in &steps {
            node.take(step, root.path());
        }
        node.settle();
        for model in &node.models {
            prop_assert!(model.is_settled(), "all that was taken is delivered");
        }
        // And once more, from what is on disk alone.
        node.take(&Step::Crash { landing: Landing::Nothing, shards: 1 }, root.path());
        node.settle();
        for model in &node.models {
            let last = model.delivered.last_key_value().map_or(0, |(index, _)| *index);
            prop_assert_eq!(model.next, last + 1);
        }
    }
}
