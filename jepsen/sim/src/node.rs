//! A node of the hub without threads and files: its shards, stores and logs on a simulated disk.
//!
//! It starts as the server starts, from what is on the disk, and it ends as a machine ends whose power goes: what
//! was not durable may be there, or not, or in part.

use crate::WorldError;
use crossbeam_queue::ArrayQueue;
use novax_audit::Signer;
use novax_charging::{Partition, PartitionConfig};
use novax_engine::{Engine, Options, Worker};
use novax_log::sim::SimDisk;
use novax_log::{
    EntryKind, LogConfig, LogWrite, LoggedEntry, PartitionLog, Recovered, blocking_write,
    recover_on,
};
use novax_model::{Duration, NodeId, PartitionId, Timestamp};
use novax_raft::{Committed, GroupSpec, MultiRaft, PeerMessage, RaftConfig};
use novax_shard::control::{Control, ShardPort};
use novax_shard::counters::Counters;
use novax_shard::mesh::{Mesh, MeshMessage};
use novax_shard::peers::{self, Lane, PeerInput};
use novax_shard::port::{Asked, Request};
use novax_shard::slot::Slot;
use novax_shard::states::{Fetched, StateReader, StateWriter};
use novax_shard::transfers::StateNews;
use novax_shard::{ConnId, Effects, Shard, ShardConfig, states, stores};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// Where a node's data are on its disk.
const ROOT: &str = "/node";
/// Small, so that a run comes by all that happens at their ends.
const SEGMENT_BYTES: u64 = 1 << 20;
const MEMTABLE_BYTES: usize = 128 << 10;
const LOG_SEGMENTS_MAX: u64 = 3;
/// Bytes of a state that are written at a time.
const STATE_CHUNK_BYTES: usize = 64 << 10;
/// Requests and messages that may wait, as in the server.
const QUEUE_MAX: usize = 16_384;
/// What payment providers may be asked at a time.
const ASKED_MAX: usize = 4_096;

/// What does not change in a node's life.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Partitions of the cluster.
    pub partitions: u16,
    /// Nodes of the cluster; each has a replica of each partition.
    pub nodes: u16,
    /// Bytes of entries each replica keeps for peers that lag.
    pub retain_bytes_max: usize,
}

/// A node by its place in the world.
#[must_use]
pub fn id_of(place: usize) -> NodeId {
    NodeId::new(place as u64 + 1).expect("not zero")
}

/// Something for a shard to take at its next turn.
#[derive(Debug)]
pub enum Input {
    /// A socket was accepted.
    Accepted(ConnId),
    /// Bytes came.
    Received(ConnId, Vec<u8>),
    /// A buffer has gone out.
    Sent(ConnId, Vec<u8>),
    /// A socket is gone.
    Closed(ConnId),
    /// A socket came from another shard.
    Adopted(ConnId, u64),
    /// A socket has gone to another shard.
    Transferred(ConnId),
    /// It could not go.
    TransferFailed(ConnId),
    /// The log write in flight is durable.
    Written,
    /// Another node says something.
    Peer(NodeId, PeerInput),
    /// Somebody has called: a store's job is done, a queue holds something.
    Woken,
}

/// A shard and what belongs to its thread.
pub struct Seat {
    /// The shard.
    pub shard: Shard,
    /// When its next turn is due.
    pub turn_at: Timestamp,
    requests: Arc<ArrayQueue<Request>>,
    inbox: Vec<Input>,
    write: Option<LogWrite>,
    write_is_new: bool,
    conns: Conns,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("shard", &self.shard).finish_non_exhaustive()
    }
}

/// Names of sockets, as a ring gives them: slots are used again under another generation.
#[derive(Debug, Default)]
struct Conns {
    generations: Vec<u32>,
    free: Vec<u32>,
    /// Which socket of the world it is.
    sockets: BTreeMap<ConnId, usize>,
}

impl Conns {
    fn open(&mut self, socket: usize) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            u32::try_from(self.generations.len() - 1).expect("few sockets")
        });
        let generation = &mut self.generations[index as usize];
        *generation += 1;
        let conn = ConnId::from_parts(index, *generation);
        self.sockets.insert(conn, socket);
        conn
    }

    fn close(&mut self, conn: ConnId) -> Option<usize> {
        let socket = self.sockets.remove(&conn)?;
        self.free.push(conn.index());
        Some(socket)
    }
}

impl Seat {
    /// Gives a socket of the world a name here.
    pub fn open(&mut self, socket: usize) -> ConnId {
        self.conns.open(socket)
    }

    /// Takes a name back; which socket it was.
    pub fn forget(&mut self, conn: ConnId) -> Option<usize> {
        self.conns.close(conn)
    }

    /// Which socket it is.
    #[must_use]
    pub fn socket(&self, conn: ConnId) -> Option<usize> {
        self.conns.sockets.get(&conn).copied()
    }

    /// Puts something before the shard.
    pub fn put(&mut self, input: Input) {
        self.inbox.push(input);
    }

    fn turn(&mut self, now: Timestamp) -> Effects {
        self.shard.set_now(now);
        for input in std::mem::take(&mut self.inbox) {
            match input {
                Input::Accepted(conn) => self.shard.handle_accepted(conn),
                Input::Received(conn, mut bytes) => self.shard.handle_received(conn, &mut bytes),
                Input::Sent(conn, buffer) => self.shard.handle_sent(conn, buffer),
                Input::Closed(conn) => self.shard.handle_closed(conn),
                Input::Adopted(conn, tag) => self.shard.handle_adopted(conn, tag),
                Input::Transferred(conn) => self.shard.handle_transferred(conn),
                Input::TransferFailed(conn) => self.shard.handle_transfer_failed(conn),
                Input::Written => {
                    let write = self.write.take().expect("a write in flight");
                    self.shard.handle_log_written(write.id, write.blocks, Ok(()));
                }
                Input::Peer(from, input) => self.shard.handle_peer(from, input),
                Input::Woken => self.shard.tend_stores(),
            }
        }
        self.shard.take_requests(&self.requests);
        self.shard.send_off();
        self.shard.end_turn();
        let mut effects = self.shard.take_effects();
        if let Some(write) = effects.log_write.take() {
            assert!(self.write.is_none(), "one log write at a time");
            self.write = Some(write);
            self.write_is_new = true;
        }
        effects
    }

    /// How many bytes the shard wants written, once for each write it hands out.
    pub fn take_write_bytes(&mut self) -> Option<usize> {
        let write = self.write.as_ref().filter(|_| std::mem::take(&mut self.write_is_new))?;
        Some(write.blocks.len() * novax_log::BLOCK_BYTES)
    }
}

/// A node whose power is on.
pub struct Running {
    /// Its shards.
    pub seats: Vec<Seat>,
    /// The way into them.
    pub control: Control,
    /// What payment providers are asked.
    pub asked: mpsc::Receiver<Asked>,
    /// Which states of which nodes are expected.
    expected: BTreeMap<PartitionId, (NodeId, u64)>,
    wakes: Arc<[AtomicBool]>,
    // Last: stores end before their worker.
    worker: Worker,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("shards", &self.seats.len()).finish_non_exhaustive()
    }
}

impl Running {
    /// Whether anybody wants this shard to look, since it was last asked.
    #[must_use]
    pub fn take_wake(&self, shard: usize) -> bool {
        self.wakes[shard].swap(false, Ordering::Relaxed)
    }

    /// Does one job of the stores; false when there is none.
    pub fn do_job(&self) -> bool {
        self.worker.run_next()
    }

    /// Does at once what a shard wants of states; what travels or comes later is the caller's.
    pub fn expect(&mut self, partition: PartitionId, expected: Option<(NodeId, u64)>) {
        match expected {
            Some(expected) => drop(self.expected.insert(partition, expected)),
            None => drop(self.expected.remove(&partition)),
        }
    }

    /// Whether a shard expects this state of this node.
    #[must_use]
    pub fn expects(&self, partition: PartitionId, from: NodeId, index: u64) -> bool {
        self.expected.get(&partition) == Some(&(from, index))
    }

    /// Tells a shard what became of a state; which shard.
    pub fn tell(&mut self, from: NodeId, news: StateNews) -> usize {
        let shards = u16::try_from(self.seats.len()).expect("few shards");
        let shard = usize::from(news.partition().shard(shards));
        self.seats[shard].put(Input::Peer(from, PeerInput::State(news)));
        shard
    }

    /// Whether all states are as new as their logs: before that nobody is let in.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.seats.iter().all(|seat| seat.shard.is_caught_up())
    }

    /// What another node says goes to the shards it is for: which of them have something now.
    pub fn hear(&mut self, from: NodeId, lane: Lane, mut bytes: &[u8]) -> Vec<usize> {
        let shards = u16::try_from(self.seats.len()).expect("few shards");
        let mut heard = Vec::new();
        while !bytes.is_empty() {
            let (partition, input) = match lane {
                Lane::Raft => {
                    let read = PeerMessage::decode(&mut bytes);
                    let message = read.expect("nodes of a simulation send what they mean");
                    (message.partition(), PeerInput::Raft(message))
                }
                Lane::Request => {
                    let of = peers::partition_of(bytes);
                    let all = std::mem::take(&mut bytes).to_vec();
                    let of = of.expect("nodes of a simulation send what they mean");
                    (of, PeerInput::Request(all.into()))
                }
            };
            let shard = usize::from(partition.shard(shards));
            self.seats[shard].put(Input::Peer(from, input));
            heard.push(shard);
        }
        heard
    }

    /// A partition's state.
    #[must_use]
    pub fn machine(&self, partition: PartitionId) -> Option<&Partition> {
        self.seats.iter().find_map(|seat| seat.shard.machine(partition))
    }
}

/// How far a partition had come, and what it was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The last entry that was applied.
    pub index: u64,
    /// The hash of the state after it.
    pub hash: u64,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Which one.
    pub id: NodeId,
    /// Its disk.
    pub disk: SimDisk,
    /// What runs, while the power is on.
    pub up: Option<Running>,
    /// How often it was started.
    pub run: u64,
    /// How far its clock is off, in microseconds.
    pub clock_off_us: i64,
    shape: Shape,
    /// Its clock never goes back while it runs.
    clock: Timestamp,
    /// What it has told of each partition before its power went.
    known: BTreeMap<PartitionId, Known>,
}

impl Node {
    /// A node with an empty disk.
    #[must_use]
    pub fn new(id: NodeId, shape: Shape) -> Node {
        let disk = SimDisk::new();
        disk.set_instant(true);
        Node {
            id,
            disk,
            up: None,
            run: 0,
            clock_off_us: 0,
            shape,
            clock: Timestamp::ZERO,
            known: BTreeMap::new(),
        }
    }

    /// Its clock.
    pub fn clock(&mut self, now: Timestamp) -> Timestamp {
        self.clock = self.clock.max(Timestamp(now.0.saturating_add_signed(self.clock_off_us)));
        self.clock
    }

    /// Starts with so many shards.
    ///
    /// # Errors
    /// When the disk fails, or what is on it is not what was put there.
    pub fn start(&mut self, shards: u16, now: Timestamp) -> Result<(), WorldError> {
        assert!(self.up.is_none() && shards > 0, "a node that is off starts");
        self.run += 1;
        // A clock may have been set back while the power was off.
        self.clock = Timestamp::ZERO;
        let now = self.clock(now);
        let worker = Worker::by_hand();
        // Tells this life from others, as in the server.
        let life = (self.id, now.0);
        let (recovered, slots) = recover(&self.disk, self.shape, life, &worker)?;
        let mut per_shard: Vec<Vec<Slot>> = (0..shards).map(|_| Vec::new()).collect();
        for slot in slots {
            per_shard[usize::from(slot.id.shard(shards))].push(slot);
        }
        let wakes: Arc<[AtomicBool]> = (0..shards).map(|_| AtomicBool::new(false)).collect();
        let queues: Arc<[ArrayQueue<MeshMessage>]> =
            (0..shards).map(|_| ArrayQueue::new(QUEUE_MAX)).collect();
        let wakers: Arc<[Wake]> = (0..usize::from(shards)).map(|at| waker(&wakes, at)).collect();
        let (asked_in, asked) = mpsc::channel(ASKED_MAX);
        let (mut seats, mut ports) = (Vec::new(), Vec::new());
        for (number, mut slots) in (0_u16..).zip(per_shard) {
            let wake = wakers[usize::from(number)].clone();
            slots.iter_mut().for_each(|slot| slot.engine.set_wake(wake.clone()));
            let log = LogConfig::for_shard(Path::new(ROOT), number);
            let raft = start_raft(&recovered, &slots, (self.id, self.shape), log, &wake)?;
            let mesh = Mesh::new(number, queues.clone(), wakers.clone());
            let counters = Arc::new(Counters::default());
            let config = shard_config(self.shape, life);
            let mut shard = Shard::new(config, counters.clone(), mesh, raft, slots, None, now);
            shard.set_payments(asked_in.clone());
            let requests = Arc::new(ArrayQueue::new(QUEUE_MAX));
            ports.push(ShardPort { queue: requests.clone(), wake, counters });
            seats.push(Seat {
                shard,
                turn_at: Timestamp::MAX,
                requests,
                inbox: Vec::new(),
                write: None,
                write_is_new: false,
                conns: Conns::default(),
            });
        }
        self.disk.let_the_dead_read(true);
        let control = Control::new(ports, self.shape.partitions);
        let expected = BTreeMap::new();
        self.up = Some(Running { seats, control, asked, expected, wakes, worker });
        Ok(())
    }

    /// Lets a shard take its turn.
    pub fn turn(&mut self, shard: usize, now: Timestamp) -> Option<Effects> {
        let now = self.clock(now);
        Some(self.up.as_mut()?.seats[shard].turn(now))
    }

    /// Makes the write durable that a shard has handed out; false when the power went.
    pub fn write(&mut self, shard: usize) -> bool {
        let Some(up) = &mut self.up else { return false };
        let seat = &mut up.seats[shard];
        let Some(write) = &seat.write else { return false };
        if blocking_write(write).is_err() {
            assert!(self.disk.is_power_gone(), "this disk fails only for want of power");
            return false;
        }
        seat.put(Input::Written);
        true
    }

    /// The bytes of a checkpoint, if it can be read.
    #[must_use]
    pub fn read_state(&self, dir: &Path) -> Option<Vec<u8>> {
        let mut reader = StateReader::open(self.disk.arc(), dir).ok()?;
        let mut bytes = vec![0; usize::try_from(reader.length()).ok()?];
        reader.read_at(0, &mut bytes).ok()?;
        Some(bytes)
    }

    /// Writes a state that came, as a link's threads do, and opens it. None when the disk fails.
    ///
    /// # Errors
    /// When it is not the state it should be, although the disk is well.
    pub fn take_state(
        &self,
        of: (PartitionId, u64),
        bytes: &[u8],
    ) -> Result<Option<Fetched>, WorldError> {
        let Some(up) = &self.up else { return Ok(None) };
        let dir = states::incoming(Path::new(ROOT), of.0, of.1);
        let mut writer = StateWriter::new(self.disk.arc(), dir, bytes.len() as u64);
        let mut offset = 0;
        for chunk in bytes.chunks(STATE_CHUNK_BYTES) {
            if writer.write_at(offset, chunk).is_err() {
                return self.state_failed("cannot be written");
            }
            offset += chunk.len() as u64;
        }
        if writer.finish().is_err() {
            return self.state_failed("is not whole");
        }
        let root = Path::new(ROOT);
        match states::open_fetched(self.disk.arc(), root, of, store_options(self.shape), &up.worker)
        {
            Ok(mut fetched) => {
                let shards = u16::try_from(up.seats.len()).expect("few shards");
                let shard = usize::from(of.0.shard(shards));
                fetched.engine.set_wake(waker(&up.wakes, shard));
                Ok(Some(fetched))
            }
            Err(error) => self.state_failed(&error.to_string()),
        }
    }

    fn state_failed(&self, why: &str) -> Result<Option<Fetched>, WorldError> {
        if self.disk.is_power_gone() {
            return Ok(None);
        }
        Err(WorldError::promise(&format!("{}: a state that came {why}", self.id)))
    }

    /// Removes a state's folder. It may fail for want of power alone.
    pub fn remove_state(&self, dir: &Path) {
        let removed = states::wipe(&*self.disk.arc(), dir);
        assert!(removed.is_ok() || self.disk.is_power_gone(), "{removed:?}");
    }

    /// The power goes. What is on the disk afterwards is decided by `seed`; writes under way may be torn.
    pub fn crash(&mut self, seed: u64) -> Option<Running> {
        let up = self.up.take();
        self.disk.cut_power_after(0);
        for seat in up.iter().flat_map(|up| &up.seats) {
            if let Some(write) = &seat.write {
                // It fails, and the disk notes what was on its way.
                drop(blocking_write(write));
            }
        }
        if let Some(up) = &up {
            for partition in (0..self.shape.partitions).map(PartitionId) {
                let machine = up.machine(partition).expect("each partition has a shard");
                let known = Known { index: machine.applied_index(), hash: machine.state_hash() };
                let before = self.known.get(&partition).map_or(0, |before| before.index);
                // A start that was cut short has not come as far.
                if known.index >= before {
                    self.known.insert(partition, known);
                }
            }
        }
        self.disk = self.disk.crash(seed);
        up
    }

    /// What is on the disk makes the states again that the node had told of: from what the stores hold and the
    /// entries after it, with the same hash at the same entry.
    ///
    /// # Errors
    /// When something that was committed is gone, or makes another state.
    pub fn check_replay(&self) -> Result<(), WorldError> {
        // Recovery changes the disk: this one works on a copy.
        let disk = self.disk.copy();
        let worker = Worker::by_hand();
        let (recovered, slots) = recover(&disk, self.shape, (self.id, 0), &worker)?;
        for mut slot in slots {
            let Some(known) = self.known.get(&slot.id) else { continue };
            let from = slot.machine.applied_index();
            if from > known.index && self.shape.nodes > 1 {
                // A state of a peer took its place in the last moment.
                continue;
            }
            let logged = recovered.partition(slot.id).into_iter().flat_map(PartitionLog::entries);
            for LoggedEntry { at, kind, data } in logged.filter(|entry| entry.at.index > from) {
                if at.index > known.index {
                    break;
                }
                // Who the members are is no matter of the state.
                let data = if *kind == EntryKind::Change { &[][..] } else { data };
                let data = data.to_vec().into();
                let (partition, index, term) = (slot.id, at.index, at.term);
                slot.apply(&Committed { partition, index, term, data, members: None });
            }
            let found = slot.machine.applied_index();
            if found == 0 && known.hash == 0 && known.index <= u64::from(self.shape.nodes) {
                // The founders, which each node knows without a log; its first write was not durable yet.
                continue;
            }
            if found != known.index {
                let text = format!(
                    "partition {}: entry {} was committed, the disk has entries up to {found}",
                    slot.id, known.index
                );
                return Err(WorldError::promise(&text));
            }
            if slot.machine.state_hash() != known.hash {
                let text = format!("partition {}: entry {found} makes another state", slot.id);
                return Err(WorldError::promise(&text));
            }
        }
        Ok(())
    }
}

type Wake = Arc<dyn Fn() + Send + Sync>;

fn waker(wakes: &Arc<[AtomicBool]>, at: usize) -> Wake {
    let wakes = wakes.clone();
    Arc::new(move || wakes[at].store(true, Ordering::Relaxed))
}

fn recover(
    disk: &SimDisk,
    shape: Shape,
    life: (NodeId, u64),
    worker: &Worker,
) -> Result<(Recovered, Vec<Slot>), WorldError> {
    let recovered = recover_on(disk.arc(), Path::new(ROOT))?;
    let mut slots = Vec::new();
    for id in (0..shape.partitions).map(PartitionId) {
        let mark = recovered.partition(id).map_or(0, |log| log.meta().mark.index);
        let dir = states::settle(&disk.arc(), Path::new(ROOT), id, mark)
            .map_err(|error| WorldError::promise(&format!("partition {id}: {error}")))?;
        let mut engine = Engine::open_on(disk.arc(), &dir, store_options(shape), worker)?;
        let state = PartitionConfig { partition: id, ..PartitionConfig::default() };
        let restored = stores::restore(state, &mut engine)
            .and_then(|machine| Ok((machine, stores::members(&mut engine)?)));
        let restored =
            restored.map_err(|error| WorldError::promise(&format!("partition {id}: {error}")))?;
        slots.push(Slot::new(id, restored, (engine, PathBuf::from(ROOT)), life));
    }
    Ok((recovered, slots))
}

/// Where little is kept for peers, stores are written often, so that there is little.
fn memtable_bytes(shape: Shape) -> usize {
    MEMTABLE_BYTES.min(shape.retain_bytes_max.saturating_mul(8))
}

fn store_options(shape: Shape) -> Options {
    Options {
        memtable_bytes_max: memtable_bytes(shape),
        block_cache_bytes: 1 << 20,
        table_bytes_max: 128 << 10,
        level1_bytes_max: 512 << 10,
        // A clock that is not ours would decide when a failed job is tried again.
        retry_after: Duration::ZERO,
        ..stores::store_options()
    }
}

fn start_raft(
    recovered: &Recovered,
    slots: &[Slot],
    (node, shape): (NodeId, Shape),
    log: LogConfig,
    wake: &Wake,
) -> Result<MultiRaft, WorldError> {
    let founders: Vec<NodeId> = (0..usize::from(shape.nodes)).map(id_of).collect();
    let groups: Vec<GroupSpec> = slots.iter().map(|slot| slot.group(&founders)).collect();
    let log = LogConfig { segment_bytes: SEGMENT_BYTES, ..log };
    let retain_bytes_max = shape.retain_bytes_max;
    let config = RaftConfig { retain_bytes_max, ..RaftConfig::new(log, node) };
    Ok(MultiRaft::start(config, recovered, &groups, wake.clone())?)
}

fn shard_config(shape: Shape, (node, run): (NodeId, u64)) -> ShardConfig {
    ShardConfig {
        heartbeat_interval_s: 300,
        message_bytes_max: 64 * 1024,
        handshake_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(910),
        call_timeout: Duration::from_secs(30),
        memtable_bytes_max: memtable_bytes(shape),
        log_segments_max: LOG_SEGMENTS_MAX,
        partitions: shape.partitions,
        connections_max: 10_000,
        signing_key: Arc::new(Signer::new(ed25519_dalek::SigningKey::from_bytes(&[7; 32]))),
        node,
        run,
    }
}
