//! Several nodes in one thread: simulated disks, a simulated network, a clock that is a number, and a state
//! machine that is a list. Everything that happens follows from the seed.
//!
//! What is checked at each step, whatever the faults: a term has one leader; an index holds one entry, on
//! every node and after every restart; nothing acknowledged is ever missing; a read sees all that was
//! acknowledged before it was asked for; members are the same everywhere at the same index.

use novax_log::recover_on;
use novax_log::sim::{Rng, SimDisk};
use novax_model::{NodeId, PartitionId};
use novax_raft::{
    Change, Event, GroupSpec, LogConfig, LogWrite, Members, MultiRaft, PeerMessage, ProposalId,
    RaftConfig, ReadId, Role, SnapshotInfo, TICK_MS, blocking_write,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

pub(crate) fn n(number: u64) -> NodeId {
    NodeId::new(number).expect("not 0")
}

/// What is to go wrong, each once in so many chances; 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) drop_one_in: u64,
    pub(crate) double_one_in: u64,
    pub(crate) delay_ms_max: u64,
    /// For each millisecond.
    pub(crate) crash_one_in: u64,
    /// All nodes at the same instant.
    pub(crate) crash_all_one_in: u64,
    pub(crate) cut_one_in: u64,
    pub(crate) change_members_one_in: u64,
    pub(crate) transfer_one_in: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Founders, then nodes that may join.
    pub(crate) founders: u64,
    pub(crate) spares: u64,
    pub(crate) groups: u16,
    pub(crate) retain_bytes_max: usize,
    pub(crate) flush_one_in: u64,
    pub(crate) faults: Faults,
}

impl Plan {
    pub(crate) fn calm(seed: u64, founders: u64, groups: u16) -> Plan {
        let faults = Faults::default();
        let (spares, retain_bytes_max, flush_one_in) = (0, 1 << 20, 40);
        Plan { seed, founders, spares, groups, retain_bytes_max, flush_one_in, faults }
    }
}

/// The state machine: which commands were applied, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) applied: u64,
    pub(crate) hash: u64,
    pub(crate) members: Members,
    /// Set when a leader takes office, so that only its own proposals are acknowledged.
    pub(crate) commands: u64,
}

impl State {
    fn apply(&mut self, index: u64, data: &[u8], members: Option<Members>) {
        assert_eq!(index, self.applied + 1, "entries follow one another");
        self.applied = index;
        self.hash = mix(self.hash ^ mix(index));
        for byte in data {
            self.hash = mix(self.hash ^ u64::from(*byte));
        }
        self.commands += u64::from(!data.is_empty());
        if let Some(members) = members {
            self.members = members;
        }
    }
}

/// No thread makes its files ahead, so that chance alone decides what happens.
fn instant_disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.set_instant(true);
    disk
}

fn mix(value: u64) -> u64 {
    Rng::new(value).next()
}

/// A process, or where one was, and its disk.
struct Node {
    id: NodeId,
    disk: SimDisk,
    raft: Option<MultiRaft>,
    run: u64,
    states: Vec<State>,
    /// What the engine holds durably.
    engines: Vec<State>,
    /// States kept for peers, and one that was fetched from a peer, by group. Durable too.
    checkpoints: Vec<Option<State>>,
    fetched: Vec<Option<State>>,
    writing: Option<(u64, LogWrite)>,
    back_at: u64,
    tick_phase: u64,
    reads: BTreeMap<(u16, ReadId), u64>,
    proposed: BTreeMap<(u16, ProposalId), Vec<u8>>,
}

/// A message or a transfer that arrives.
enum Arrival {
    Bytes { from: NodeId, to: NodeId, bytes: Vec<u8> },
    State { to: NodeId, run: u64, info: SnapshotInfo },
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) acknowledged: u64,
    pub(crate) reads: u64,
    pub(crate) leaders: u64,
    pub(crate) restarts: u64,
    pub(crate) installs: u64,
    pub(crate) changes: u64,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    rng: Rng,
    pub(crate) now: u64,
    nodes: Vec<Node>,
    arrivals: BTreeMap<(u64, u64), Arrival>,
    sent: u64,
    /// Of every message and when it was sent.
    pub(crate) trace: u64,
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// The one leader of each term.
    leaders: BTreeMap<(u16, u64), NodeId>,
    /// The one entry at each index: term and bytes, and the hash of the state behind it.
    history: BTreeMap<(u16, u64), (u64, u64)>,
    /// The last acknowledged index of each group.
    acknowledged: Vec<u64>,
    next_command: u64,
    pub(crate) seen: Seen,
    /// Changes what node 3 says, if it is to lie.
    pub(crate) lie: Option<fn(&mut Rng, &mut Vec<u8>)>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> World {
        let mut rng = Rng::new(plan.seed);
        let groups = usize::from(plan.groups);
        let node = |number: u64, rng: &mut Rng| Node {
            id: n(number),
            disk: instant_disk(),
            raft: None,
            run: 0,
            states: vec![State::default(); groups],
            engines: vec![State::default(); groups],
            checkpoints: vec![None; groups],
            fetched: vec![None; groups],
            writing: None,
            back_at: 0,
            tick_phase: rng.below(TICK_MS),
            reads: BTreeMap::new(),
            proposed: BTreeMap::new(),
        };
        let nodes = (1..=plan.founders + plan.spares).map(|id| node(id, &mut rng)).collect();
        let mut world = World {
            rng,
            now: 0,
            nodes,
            arrivals: BTreeMap::new(),
            sent: 0,
            trace: 0,
            cuts: BTreeSet::new(),
            leaders: BTreeMap::new(),
            history: BTreeMap::new(),
            acknowledged: vec![0; groups],
            next_command: 0,
            seen: Seen::default(),
            lie: None,
            plan,
        };
        for at in 0..world.nodes.len() {
            world.start(at);
        }
        world
    }

    fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.plan.groups).map(PartitionId)
    }

    // ---- lives ----

    fn start(&mut self, at: usize) {
        let founders: Vec<NodeId> = (1..=self.plan.founders).map(n).collect();
        let node = &mut self.nodes[at];
        let recovered = recover_on(node.disk.arc(), Path::new("data")).expect("a log");
        let founders = if founders.contains(&node.id) { founders } else { Vec::new() };
        let mut specs = Vec::new();
        for partition in (0..self.plan.groups).map(PartitionId) {
            let group = usize::from(partition.0);
            let mark = recovered.partition(partition).map_or(0, |log| log.meta().mark.index);
            // The process died between the log's new beginning and the new state.
            if mark > node.engines[group].applied {
                let fetched = node.fetched[group].take().expect("a state as new as the log");
                assert_eq!(fetched.applied, mark, "it is the one the log speaks of");
                node.engines[group] = fetched;
            }
            node.fetched[group] = None;
            let engine = node.engines[group].clone();
            specs.push(GroupSpec {
                partition,
                applied: engine.applied,
                members: engine.members.clone(),
                founders: founders.clone(),
            });
            node.states[group] = engine;
        }
        let log =
            LogConfig { dir: "data/log/shard-000".into(), segment_bytes: 1 << 20, direct: false };
        let mut config = RaftConfig::new(log, node.id);
        config.seed = self.plan.seed;
        config.retain_bytes_max = self.plan.retain_bytes_max;
        let raft = MultiRaft::start(config, &recovered, &specs, Arc::new(|| {}));
        node.raft = Some(raft.expect("a start"));
        node.run += 1;
        self.seen.restarts += u64::from(node.run > 1);
    }

    /// The power goes: a write under way may have landed or not.
    pub(crate) fn crash(&mut self, id: NodeId, back_after_ms: u64) {
        let seed = self.rng.next();
        let landed = self.rng.one_in(2);
        let now = self.now;
        let node = &mut self.nodes[place(id)];
        if let Some((_, write)) = node.writing.take()
            && landed
        {
            blocking_write(&write).expect("a write");
        }
        node.raft = None;
        node.reads.clear();
        node.proposed.clear();
        node.disk = node.disk.crash(seed);
        node.back_at = now + back_after_ms;
    }

    pub(crate) fn is_up(&self, id: NodeId) -> bool {
        self.nodes[place(id)].raft.is_some()
    }

    pub(crate) fn raft(&mut self, id: NodeId) -> &mut MultiRaft {
        self.nodes[place(id)].raft.as_mut().expect("a node that is up")
    }

    pub(crate) fn state(&self, id: NodeId, partition: PartitionId) -> &State {
        &self.nodes[place(id)].states[usize::from(partition.0)]
    }

    pub(crate) fn leader_of(&self, partition: PartitionId) -> Option<NodeId> {
        let term = |node: &Node| node.raft.as_ref().map_or(0, |raft| raft.term(partition));
        let leads = |node: &&Node| node.raft.as_ref().is_some_and(|raft| raft.is_leader(partition));
        self.nodes.iter().filter(leads).max_by_key(|node| term(node)).map(|node| node.id)
    }

    // ---- time ----

    pub(crate) fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.step_ms();
        }
    }

    /// Runs until it is so. Panics when it is not within the time.
    pub(crate) fn run_until(&mut self, what: &str, ms: u64, so: impl Fn(&World) -> bool) -> u64 {
        let start = self.now;
        while !so(self) {
            assert!(self.now - start < ms, "seed {}: not within {ms} ms: {what}", self.plan.seed);
            self.step_ms();
        }
        self.now - start
    }

    fn step_ms(&mut self) {
        self.now += 1;
        self.hurt();
        for at in 0..self.nodes.len() {
            if self.nodes[at].raft.is_none() && self.nodes[at].back_at <= self.now {
                self.start(at);
            }
            self.tick(at);
        }
        self.arrive();
        self.work();
        for at in 0..self.nodes.len() {
            self.turn(at);
        }
    }

    fn tick(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if self.now % TICK_MS == node.tick_phase
            && let Some(raft) = &mut node.raft
        {
            raft.tick();
        }
        // A write takes one to ten milliseconds.
        if node.writing.is_some()
            && self.rng.one_in(5)
            && let Some((id, write)) = self.nodes[at].writing.take()
        {
            blocking_write(&write).expect("a write");
            let raft = self.nodes[at].raft.as_mut().expect("who writes is up");
            raft.on_written(id, Ok(())).expect("in flight");
        }
    }

    fn hurt(&mut self) {
        let faults = self.plan.faults;
        let count = self.nodes.len() as u64;
        let often = |rng: &mut Rng, one_in: u64| one_in > 0 && rng.one_in(one_in);
        if often(&mut self.rng, faults.crash_one_in) {
            let (id, back) = (n(1 + self.rng.below(count)), 10 + self.rng.below(3_000));
            if self.is_up(id) {
                self.crash(id, back);
            }
        }
        if often(&mut self.rng, faults.crash_all_one_in) {
            for id in (1..=count).map(n) {
                let back = 10 + self.rng.below(1_000);
                if self.is_up(id) {
                    self.crash(id, back);
                }
            }
        }
        if often(&mut self.rng, faults.cut_one_in) {
            // One direction of one pair, or the end of all cuts.
            if self.rng.one_in(3) {
                self.cuts.clear();
            } else {
                let (from, to) = (n(1 + self.rng.below(count)), n(1 + self.rng.below(count)));
                self.cuts.insert((from, to));
            }
        }
        for partition in self.partitions() {
            if often(&mut self.rng, faults.change_members_one_in) {
                self.change_members(partition);
            }
            if often(&mut self.rng, faults.transfer_one_in)
                && let Some(leader) = self.leader_of(partition)
            {
                let to = n(1 + self.rng.below(count));
                let _no_voter_perhaps = self.raft(leader).transfer_leader(partition, to);
            }
        }
    }

    fn change_members(&mut self, partition: PartitionId) {
        let Some(leader) = self.leader_of(partition) else { return };
        let count = self.nodes.len() as u64;
        let mut changes = Vec::new();
        for _ in 0..=self.rng.below(2) {
            let node = n(1 + self.rng.below(count));
            changes.push(match self.rng.below(3) {
                0 => Change::AddLearner(node),
                1 => Change::AddVoter(node),
                _ => Change::Remove(node),
            });
        }
        // Whatever makes no sense is refused.
        if self.raft(leader).change_members(partition, &changes).is_ok() {
            self.seen.changes += 1;
        }
    }

    pub(crate) fn cut(&mut self, one: NodeId, other: NodeId) {
        self.cuts.insert((one, other));
        self.cuts.insert((other, one));
    }

    /// All is well again.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        self.plan.faults = Faults::default();
        for node in &mut self.nodes {
            node.back_at = 0;
        }
    }

    // ---- network ----

    fn send(&mut self, message: &PeerMessage) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.trace = bytes
            .iter()
            .fold(mix(self.trace ^ self.now), |trace, byte| mix(trace ^ u64::from(*byte)));
        let faults = self.plan.faults;
        let (from, to) = (message.from(), message.to());
        if place(to) >= self.nodes.len() || self.cuts.contains(&(from, to)) {
            return;
        }
        let mut copies = 1;
        if faults.drop_one_in > 0 && self.rng.one_in(faults.drop_one_in) {
            copies = 0;
        } else if faults.double_one_in > 0 && self.rng.one_in(faults.double_one_in) {
            copies = 2;
        }
        for _ in 0..copies {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            if from == n(3)
                && let Some(lie) = self.lie
            {
                lie(&mut self.rng, &mut bytes);
            }
            let delay = 1 + self.rng.below(2) + self.rng.below(faults.delay_ms_max + 1);
            self.schedule(delay, Arrival::Bytes { from, to, bytes });
        }
    }

    fn schedule(&mut self, delay_ms: u64, arrival: Arrival) {
        self.sent += 1;
        self.arrivals.insert((self.now + delay_ms, self.sent), arrival);
    }

    fn arrive(&mut self) {
        while let Some(first) = self.arrivals.first_entry()
            && first.key().0 <= self.now
        {
            match first.remove() {
                Arrival::Bytes { from, to, bytes } => {
                    let honest = self.lie.is_none();
                    let Some(raft) = &mut self.nodes[place(to)].raft else { continue };
                    let stepped = raft.step(from, &bytes);
                    let fine = stepped.is_ok() || !honest || is_late(stepped);
                    assert!(fine, "seed {}: {from} to {to}: {stepped:?}", self.plan.seed);
                }
                Arrival::State { to, run, info } => self.fetch(to, run, &info),
            }
        }
    }

    /// The state arrives, if the node it was asked of still has it.
    fn fetch(&mut self, to: NodeId, run: u64, info: &SnapshotInfo) {
        let group = usize::from(info.partition.0);
        let source = &self.nodes[place(info.from)];
        let cut = self.cuts.contains(&(info.from, to));
        let kept = source.checkpoints[group].clone();
        let found =
            kept.filter(|state| state.applied == info.index && source.raft.is_some() && !cut);
        let node = &mut self.nodes[place(to)];
        let Some(raft) = node.raft.as_mut().filter(|_| node.run == run) else { return };
        if found.is_some() {
            node.fetched[group] = found;
            raft.snapshot_fetched(info.partition, info.index);
        } else {
            raft.snapshot_failed(info.partition, info.index);
        }
    }

    // ---- clients ----

    fn work(&mut self) {
        for partition in self.partitions() {
            let group = usize::from(partition.0);
            let at = self.rng.below_usize(self.nodes.len());
            let asks = self.rng.one_in(6);
            let proposes = self.rng.one_in(3);
            let acknowledged = self.acknowledged[group];
            let node = &mut self.nodes[at];
            let Some(raft) = &mut node.raft else { continue };
            if asks && let Ok(id) = raft.read_index(partition) {
                node.reads.insert((partition.0, id), acknowledged);
            }
            if proposes && raft.is_leader(partition) {
                self.next_command += 1;
                let mut data = self.next_command.to_le_bytes().to_vec();
                data.resize(8 + self.rng.below_usize(120), 7);
                if let Ok(id) = raft.propose(partition, data.clone()) {
                    node.proposed.insert((partition.0, id), data);
                }
            }
        }
    }

    // ---- nodes ----

    fn turn(&mut self, at: usize) {
        let Some(raft) = &mut self.nodes[at].raft else { return };
        let (mut events, mut messages) = (Vec::new(), Vec::new());
        raft.take_events(&mut events);
        raft.take_messages(&mut messages);
        for event in events {
            self.take(at, event);
        }
        for message in messages {
            self.send(&message);
        }
        let node = &mut self.nodes[at];
        let raft = node.raft.as_mut().expect("up");
        if node.writing.is_none()
            && let Some(write) = raft.poll_write()
        {
            node.writing = Some((write.id, write));
        }
        for partition in self.partitions() {
            if self.rng.one_in(self.plan.flush_one_in) {
                self.flush(at, partition);
            }
        }
    }

    fn flush(&mut self, at: usize, partition: PartitionId) {
        let node = &mut self.nodes[at];
        let group = usize::from(partition.0);
        node.engines[group] = node.states[group].clone();
        let raft = node.raft.as_mut().expect("up");
        raft.set_flushed(partition, node.engines[group].applied);
    }

    fn take(&mut self, at: usize, event: Event) {
        let seed = self.plan.seed;
        match event {
            Event::Committed(entry) => {
                let group = usize::from(entry.partition.0);
                let node = &mut self.nodes[at];
                let state = &mut node.states[group];
                state.apply(entry.index, &entry.data, entry.members.map(|members| *members));
                let (key, is) = ((entry.partition.0, entry.index), (entry.term, state.hash));
                let was = *self.history.entry(key).or_insert(is);
                // What a member lies about the past cannot be known.
                assert!(
                    was == is || self.lie.is_some(),
                    "seed {seed}: {} has another entry at {key:?}",
                    node.id
                );
                let id = ProposalId { term: entry.term, index: entry.index };
                if let Some(data) = node.proposed.remove(&(entry.partition.0, id)) {
                    let same = data == entry.data || self.lie.is_some();
                    assert!(same, "seed {seed}: what was proposed is what is committed");
                    self.acknowledged[group] = self.acknowledged[group].max(entry.index);
                    self.seen.acknowledged += 1;
                }
            }
            Event::Leadership { partition, term, role, leader } => {
                let id = self.nodes[at].id;
                if role == Role::Leader {
                    assert_eq!(leader, Some(id));
                    let only = *self.leaders.entry((partition.0, term)).or_insert(id);
                    assert!(
                        only == id || self.lie.is_some(),
                        "seed {seed}: term {term} of {partition} has two leaders"
                    );
                    self.seen.leaders += 1;
                }
            }
            Event::ReadReady { partition, id } => {
                let node = &mut self.nodes[at];
                let floor = node.reads.remove(&(partition.0, id)).expect("asked, and once");
                let applied = node.states[usize::from(partition.0)].applied;
                assert!(
                    applied >= floor || self.lie.is_some(),
                    "seed {seed}: a read at {applied} missed {floor}"
                );
                self.seen.reads += 1;
            }
            Event::ReadFailed { partition, id } => {
                self.nodes[at].reads.remove(&(partition.0, id)).expect("asked, and once");
            }
            other => self.take_snapshot_event(at, other),
        }
    }

    fn take_snapshot_event(&mut self, at: usize, event: Event) {
        match event {
            Event::SnapshotWanted { partition, .. } => {
                self.flush(at, partition);
                let node = &mut self.nodes[at];
                let state = node.engines[usize::from(partition.0)].clone();
                let raft = node.raft.as_mut().expect("up");
                let (applied, members) = (state.applied, state.members.clone());
                if raft.offer_snapshot(partition, applied, members).is_ok() {
                    node.checkpoints[usize::from(partition.0)] = Some(state);
                }
            }
            Event::SnapshotOffered(info) => {
                let (to, run) = (self.nodes[at].id, self.nodes[at].run);
                let delay = 20 + self.rng.below(300);
                self.schedule(delay, Arrival::State { to, run, info });
            }
            Event::SnapshotInstall(info) => {
                let node = &mut self.nodes[at];
                let group = usize::from(info.partition.0);
                let fetched = node.fetched[group].take().expect("it was fetched");
                assert_eq!(fetched.applied, info.index);
                assert_eq!(fetched.members, info.members, "members as of the state");
                assert!(fetched.applied > node.states[group].applied, "a state never goes back");
                let (_, hash) = self.history[&(info.partition.0, info.index)];
                assert_eq!(fetched.hash, hash, "the state is that of its entry");
                node.states[group] = fetched.clone();
                node.engines[group] = fetched;
                self.seen.installs += 1;
            }
            Event::SnapshotDropped { partition, .. } => {
                self.nodes[at].fetched[usize::from(partition.0)] = None;
            }
            other => panic!("seed {}: {other:?}", self.plan.seed),
        }
    }

    // ---- the end ----

    /// When all is well, each group takes new entries, and every member has all of them.
    pub(crate) fn check_liveness(&mut self) {
        self.heal();
        for partition in self.partitions() {
            let group = usize::from(partition.0);
            let before = self.acknowledged[group];
            self.run_until("a new entry is acknowledged", 15_000, |world| {
                world.acknowledged[group] > before
            });
            let goal = self.acknowledged[group];
            self.run_until("every member is as new", 30_000, |world| {
                let Some(leader) = world.leader_of(partition) else { return false };
                let members = &world.state(leader, partition).members;
                let all = members.voters().iter().chain(members.learners());
                let mut all = all.copied();
                let new = |id| world.is_up(id) && world.state(id, partition).applied >= goal;
                !members.is_joint() && all.all(new)
            });
        }
    }
}

/// A message that was right when it was sent and comes too late for what its receiver has become since.
fn is_late(stepped: Result<(), novax_raft::Refused>) -> bool {
    use novax_raft::Refused;
    matches!(
        stepped,
        Err(Refused::NotFromLeader
            | Refused::NotMember
            | Refused::TooEarly
            | Refused::Read
            | Refused::Index)
    )
}

pub(crate) fn place(id: NodeId) -> usize {
    usize::try_from(id.get() - 1).expect("few nodes")
}
