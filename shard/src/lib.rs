//! A shard: its sockets, its partitions and its log, as one synchronous state machine.
//!
//! `handle_*` take what happened and the time; what should happen comes back in [`Effects`]. The server's
//! driver turns both into ring operations, the simulator into events of its world. Nothing in here blocks
//! or reads a clock; stores and log are reached through the seams of `engine` and `log`.
//!
//! Floors, top first: `lib` with `accept`, `stations`, `apps`, `requests`, `outbound`, `transfers` (all parts of one
//! [`Shard`]) > `mesh`, `slot` > `states`, `waiter`, `connection` > `gateway` > `port`, `stores`, `timers`,
//! `counters`. Beside them `control`, the way in from other threads, which uses `port` and `counters`.
//!
//! **Invariants**
//! * A reply leaves only after its entry is committed and applied.
//! * Every queue is bounded; what does not fit is answered, not dropped silently.
//! * What one socket does never stops another.

mod accept;
pub mod apps;
pub mod batches;
mod calls;
mod cluster;
pub mod connection;
pub mod control;
pub mod counters;
pub mod gateway;
mod leads;
mod members;
pub mod mesh;
mod outbound;
pub mod peers;
pub mod port;
mod reads;
mod requests;
pub mod slot;
pub mod standing;
pub mod states;
mod stations;
pub mod stores;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod transfers;
pub mod waiter;

pub use novax_model::ConnId;

use connection::{Connection, Handoff};
use counters::Counters;
use gateway::ReplyContext;
use mesh::{Mesh, MeshMessage};
pub use novax_audit::Signer;
use novax_charging::{Command, NodeRow, Outcome, Partition, Roster};
use novax_model::{Duration, Identity, NodeId, PartitionId, Timestamp};
use novax_raft::{Event, LogWrite, MultiRaft};
use peers::PeerSend;
use port::{Asked, Unavailable, View};
use slot::Slot;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use timers::Wheel;
use transfers::StateAct;
use waiter::Waiter;

/// What the data plane is told at start.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Seconds between heartbeats, told to stations.
    pub heartbeat_interval_s: u32,
    /// Bytes of the largest message a station may send.
    pub message_bytes_max: usize,
    /// A handshake must be complete within this.
    pub handshake_timeout: Duration,
    /// A socket on which nothing comes for this long is closed.
    pub idle_timeout: Duration,
    /// A station that has not answered a call within this is silent.
    pub call_timeout: Duration,
    /// Memtable bytes of a partition at which it is flushed.
    pub memtable_bytes_max: usize,
    /// Log segments at which the partitions that keep the oldest are flushed.
    pub log_segments_max: u64,
    /// Number of partitions of the cluster.
    pub partitions: u16,
    /// Sockets a shard may hold.
    pub connections_max: usize,
    /// What heads of journals are signed with.
    pub signing_key: Arc<Signer>,
    /// Which node this is.
    pub node: NodeId,
    /// Tells this life of the node from the ones before, and grows.
    pub run: u64,
}

/// What the driver should do.
#[derive(Debug, Default)]
pub struct Effects {
    /// Send and give the buffer back by `handle_sent`.
    pub sends: Vec<(ConnId, Vec<u8>)>,
    /// Close now; `handle_closed` follows.
    pub closes: Vec<ConnId>,
    /// Close once the peer has had time to read what was sent; `handle_closed` follows.
    pub finishes: Vec<ConnId>,
    /// Give a socket to another shard under a tag; `handle_transferred` follows.
    pub transfers: Vec<(ConnId, u16, u64)>,
    /// Start receiving on an adopted socket.
    pub start_recv: Vec<ConnId>,
    /// Write to the log; `handle_log_written` follows.
    pub log_write: Option<LogWrite>,
    /// Send to other nodes; what a link cannot take may be dropped.
    pub peers: Vec<PeerSend>,
    /// Send, take and remove states; before `peers`, which may ask for one.
    pub states: Vec<StateAct>,
}

/// What a timer is about.
#[derive(Debug, Clone, Copy)]
enum TimerKey {
    /// A socket: handshake, idle and call limits.
    Connection(ConnId),
    /// Once a second: outbox, flushes.
    Housekeeping,
}

/// Where a token's wallet is, remembered so that most starts need not ask. Bounded; when it is full, it
/// starts again empty, which costs one question a token.
const ROUTES_MAX: usize = 262_144;

/// The shard.
pub struct Shard {
    config: ShardConfig,
    counters: Arc<Counters>,
    mesh: Mesh,
    raft: MultiRaft,
    slots: BTreeMap<PartitionId, Slot>,
    /// By the index of their id.
    connections: Vec<Option<Connection>>,
    live_connections: usize,
    /// The newest socket of every station on this shard.
    stations: HashMap<Box<str>, ConnId>,
    /// Sockets of stations that wait for approval.
    pending: Vec<ConnId>,
    /// Sockets that came through the ring and wait for their state, and the reverse.
    adopted: HashMap<u64, ConnId>,
    handoffs: HashMap<u64, Box<Handoff>>,
    /// Requests to other shards that wait for their answer.
    asked: HashMap<u64, Waiter>,
    routes: HashMap<Box<str>, PartitionId>,
    reads: reads::Reads,
    calls: calls::Abroad,
    timers: Wheel<TimerKey>,
    next_token: u64,
    next_epoch: u64,
    raft_ticked: Timestamp,
    /// Ticks of this process.
    ticks: u64,
    /// At which tick each other node was heard last.
    heard: BTreeMap<NodeId, u64>,
    /// The nodes of the cluster, as of what partition 0 has here.
    roster: Arc<Roster>,
    /// The driver has not been told of it.
    roster_is_new: bool,
    /// Who began the cluster.
    founders: Vec<NodeRow>,
    /// Those who wait until nothing is led here.
    drained: Vec<tokio::sync::oneshot::Sender<()>>,
    /// A queue held more than one turn takes: do not sleep.
    more_waits: bool,
    /// The log is being written: commands gather for the next entry.
    writing: bool,
    dirty: Vec<ConnId>,
    buffers: Vec<Vec<u8>>,
    raft_events: Vec<Event>,
    raft_messages: Vec<novax_raft::PeerMessage>,
    effects: Effects,
    now: Timestamp,
    stopping: bool,
    /// Told of identities nobody provisioned.
    unknown_stations: Option<tokio::sync::mpsc::Sender<novax_model::Identity>>,
    /// How apps are read and answered, where they are served.
    apps: Option<Arc<dyn apps::AppApi>>,
    /// Takes what payment providers are asked.
    payments: Option<tokio::sync::mpsc::Sender<Asked>>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("mesh", &self.mesh).finish_non_exhaustive()
    }
}

/// Send buffers kept for reuse.
const BUFFERS_KEPT_MAX: usize = 256;
/// A buffer larger than this is not kept.
const BUFFER_KEPT_BYTES_MAX: usize = 16 * 1024;
/// Raft's logical clock.
const RAFT_TICK: Duration = Duration::from_millis(novax_raft::TICK_MS);
/// Messages and requests taken from queues in one turn.
const QUEUE_QUANTUM: usize = 2_048;

impl Shard {
    /// A shard over recovered partitions.
    #[must_use]
    pub fn new(
        config: ShardConfig,
        counters: Arc<Counters>,
        mesh: Mesh,
        raft: MultiRaft,
        slots: Vec<Slot>,
        unknown_stations: Option<tokio::sync::mpsc::Sender<novax_model::Identity>>,
        now: Timestamp,
    ) -> Shard {
        let mut timers = Wheel::new(now);
        timers.set(now, TimerKey::Housekeeping);
        let mut shard = Shard {
            config,
            counters,
            mesh,
            raft,
            slots: slots.into_iter().map(|slot| (slot.id, slot)).collect(),
            connections: Vec::new(),
            live_connections: 0,
            stations: HashMap::new(),
            pending: Vec::new(),
            adopted: HashMap::new(),
            handoffs: HashMap::new(),
            asked: HashMap::new(),
            routes: HashMap::new(),
            reads: reads::Reads::default(),
            calls: calls::Abroad::default(),
            timers,
            next_token: 0,
            // Epochs must grow over restarts too: they start at the time.
            next_epoch: now.0,
            raft_ticked: now,
            ticks: 0,
            heard: BTreeMap::new(),
            roster: Arc::default(),
            roster_is_new: false,
            founders: Vec::new(),
            drained: Vec::new(),
            more_waits: false,
            writing: false,
            dirty: Vec::new(),
            buffers: Vec::new(),
            raft_events: Vec::new(),
            raft_messages: Vec::new(),
            effects: Effects::default(),
            now,
            stopping: false,
            unknown_stations,
            apps: None,
            payments: None,
        };
        let partitions: Vec<PartitionId> = shard.slots.keys().copied().collect();
        for partition in partitions {
            shard.begin_life(partition);
            shard.publish_roster(partition);
        }
        shard
    }

    /// This node's sockets from before are gone. When that is applied, so is everything that was acknowledged
    /// before it was asked.
    fn begin_life(&mut self, partition: PartitionId) {
        let node = self.config.node;
        let slot = self.slots.get(&partition).expect("a group of this shard");
        // Also when the clock has been set back since.
        let ours = slot.machine.stations().filter(|row| row.node == node);
        let before = ours.map(|row| row.epoch + 1).fold(self.config.run, u64::max);
        let command = Command::SocketsClosed { node, before };
        self.submit(partition, command, Waiter::CaughtUp(partition));
    }

    /// Gives it the way to the payment provider. Without one, what providers are asked waits.
    pub fn set_payments(&mut self, payments: tokio::sync::mpsc::Sender<Asked>) {
        self.payments = Some(payments);
    }

    /// Has it serve apps. Without this it takes no sockets of theirs.
    pub fn set_apps(&mut self, apps: Arc<dyn apps::AppApi>) {
        self.apps = Some(apps);
    }

    /// Whether every partition's state is as new as its log.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.slots.values().all(|slot| slot.caught_up)
    }

    /// The state of a partition of this shard, for whoever looks from the shard's own thread.
    #[must_use]
    pub fn machine(&self, partition: PartitionId) -> Option<&Partition> {
        self.slots.get(&partition).map(|slot| &slot.machine)
    }

    /// The rows of all partitions of this shard as of now, open series written out first.
    pub fn snapshots(&mut self) -> Vec<(PartitionId, novax_engine::Snapshot)> {
        self.view(true).parts
    }

    fn view(&mut self, with_series: bool) -> View {
        let (me, now) = (self.config.node, self.now);
        let mut view = View { parts: Vec::with_capacity(self.slots.len()), as_of: now };
        for slot in self.slots.values_mut() {
            if with_series {
                slot.write_heads();
            }
            view.parts.push((slot.id, slot.engine.snapshot()));
            if self.raft.leader(slot.id) != Some(me) {
                view.as_of = view.as_of.min(slot.leader_heard);
            }
        }
        view
    }

    /// Sets the time of what follows.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// What the driver should do now; call after every turn.
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Whether the shard has been told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    fn reply_context(&self) -> ReplyContext {
        ReplyContext { now: self.now, heartbeat_interval_s: self.config.heartbeat_interval_s }
    }

    fn shard_of(&self, partition: PartitionId) -> u16 {
        partition.shard(self.mesh.shards())
    }

    fn is_mine(&self, partition: PartitionId) -> bool {
        self.shard_of(partition) == self.mesh.me()
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// The log write the driver was given is done.
    ///
    /// # Panics
    /// When the disk refused: acknowledged work could be lost, so the node must not go on.
    pub fn handle_log_written(
        &mut self,
        id: u64,
        blocks: Vec<novax_raft::Block>,
        result: std::io::Result<()>,
    ) {
        self.writing = false;
        self.counters.log_writes.increment();
        self.counters.log_bytes.add(std::mem::size_of_val(blocks.as_slice()) as u64);
        self.raft.recycle(blocks);
        if let Err(error) = self.raft.on_written(id, result) {
            panic!("the log cannot be written: {error}");
        }
    }

    /// Whether, after the order to stop, nothing is left to do.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.stopping && self.live_connections == 0 && self.slots.values().all(Slot::is_idle)
    }

    /// The first half of a turn's end: what came goes on its way to the disk and to other nodes. Perform these
    /// effects before the second half: the disk and the others then work while this shard applies.
    pub fn send_off(&mut self) {
        self.take_messages();
        self.fire_timers();
        self.begin_reads();
        self.write_out();
    }

    /// The second half: committed entries are applied, and whoever waits for them is answered.
    pub fn end_turn(&mut self) {
        self.apply_committed();
        self.write_out();
        self.answer_nodes();
        self.flush_connections();
        self.mesh.flush();
    }

    /// Proposals, the log, messages of Raft.
    fn write_out(&mut self) {
        self.propose();
        if self.effects.log_write.is_none() {
            self.effects.log_write = self.raft.poll_write();
            self.writing |= self.effects.log_write.is_some();
        }
        self.send_raft();
    }

    fn take_messages(&mut self) {
        for _ in 0..QUEUE_QUANTUM {
            let Some(message) = self.mesh.receive() else { return };
            self.handle_mesh(message);
        }
        self.more_waits = true;
    }

    fn fire_timers(&mut self) {
        if self.now.since(self.raft_ticked) >= RAFT_TICK {
            self.raft_ticked = self.now;
            self.raft.tick();
            self.answer_overdue();
            self.ticks += 1;
            self.drain_leads();
            if self.ticks.is_multiple_of(standing::STANDING_TICKS) {
                self.tend_standings();
                self.balance_leads();
                self.tend_members();
            }
        }
        let mut fired = Vec::new();
        self.timers.advance(self.now, &mut |key| fired.push(key));
        for key in fired {
            match key {
                TimerKey::Connection(conn) => self.check_connection(conn),
                TimerKey::Housekeeping => self.keep_house(),
            }
        }
    }

    /// Tells waiters that nothing is known.
    fn answer_unavailable(&mut self, waiters: Vec<Waiter>) {
        for waiter in waiters {
            self.counters.commands_overloaded.increment();
            // A bug that the simulator must find: a station hears that the hub has what was lost.
            let is_told = match &waiter {
                Waiter::Stations(_) => true,
                Waiter::Station(to) => to.kind == gateway::ReplyKind::Stop,
                _ => false,
            };
            if is_told && novax_model::seeded::is("lost-batch-answered") {
                self.complete(waiter, Ok(Outcome::Done));
                continue;
            }
            self.complete(waiter, Err(Unavailable));
        }
    }

    fn apply_committed(&mut self) {
        let mut events = std::mem::take(&mut self.raft_events);
        self.raft.take_events(&mut events);
        let any = !events.is_empty();
        for event in events.drain(..) {
            let entry = match event {
                Event::Committed(entry) => entry,
                Event::Broken { partition } => {
                    panic!("a message of another node broke partition {partition}: start anew")
                }
                Event::ReadReady { partition, id } => {
                    self.reads_answered(partition, id, true);
                    continue;
                }
                Event::ReadFailed { partition, id } => {
                    self.reads_answered(partition, id, false);
                    continue;
                }
                other => {
                    self.take_snapshot_event(other);
                    continue;
                }
            };
            let slot = self.slots.get_mut(&entry.partition).expect("a group of this shard");
            let (applied, before) = (slot.apply(&entry), slot.applied_term);
            let leads = entry.term == self.raft.term(entry.partition)
                && entry.data.is_empty()
                && entry.members.is_none()
                && self.raft.is_leader(entry.partition);
            self.counters.commands_applied.add(applied.completions.len() as u64);
            for (waiter, outcome) in applied.completions {
                self.complete(waiter, Ok(outcome));
            }
            self.take_back_lost(entry.partition);
            if entry.term > before {
                self.begin_term(entry.partition, entry.term);
            }
            if leads {
                self.begin_leading(entry.partition);
            }
            self.publish_roster(entry.partition);
            for outbox in applied.outbox {
                self.deliver(entry.partition, outbox);
            }
            for identity in applied.sockets {
                self.check_socket(entry.partition, &identity);
            }
        }
        self.raft_events = events;
        if any {
            self.tend_stores();
        }
    }

    fn take_snapshot_event(&mut self, event: Event) {
        match event {
            Event::SnapshotWanted { partition, .. } => self.snapshot_wanted(partition),
            Event::SnapshotOffered(info) => self.snapshot_offered(info),
            Event::SnapshotInstall(info) => self.install_snapshot(&info),
            Event::SnapshotDropped { partition, index } => self.snapshot_dropped(partition, index),
            // Who leads is asked for when it matters.
            _ => {}
        }
    }

    /// This node leads the partition, and its state is complete: what its outbox holds is delivered again.
    fn begin_leading(&mut self, partition: PartitionId) {
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        let rows: Vec<u64> = slot.machine.outbox().map(|row| row.id).collect();
        slot.led_from = Some(rows.last().map_or(0, |last| last + 1));
        slot.led_since = Some(self.ticks);
        slot.others.begin_leading();
        for outbox in rows {
            self.deliver(partition, outbox);
        }
    }

    /// A station's socket changed in the state: if this node has another one, that one is not the station's
    /// any more (window 22); if it has the one that was thought closed, it says so.
    fn check_socket(&mut self, partition: PartitionId, identity: &Identity) {
        let Some(conn) = self.stations.get(identity.as_str()).copied() else { return };
        let row =
            self.slots.get(&partition).and_then(|slot| slot.machine.station(identity.as_str()));
        let Some((epoch, connected)) = row.map(|row| (row.epoch, row.connected)) else { return };
        let Some(station) = self.station(conn).filter(|station| !station.pending) else { return };
        if epoch > station.epoch {
            self.counters.connections_superseded.increment();
            self.close_with(conn, 1008, "the same identity connected again");
        } else if epoch == station.epoch && !connected {
            self.announce(conn);
        }
    }

    /// Queues a command, here or on the shard of its partition.
    fn submit(&mut self, partition: PartitionId, command: Command, waiter: Waiter) {
        self.counters.commands_proposed.increment();
        if let Some(slot) = self.slots.get_mut(&partition) {
            if let Err(waiter) = slot.batches.submit(command, waiter) {
                self.counters.commands_overloaded.increment();
                self.complete(waiter, Err(Unavailable));
            }
            return;
        }
        let to = self.shard_of(partition);
        assert_ne!(to, self.mesh.me(), "partition {partition} belongs to this shard");
        if self.mesh.is_congested(to) {
            self.counters.commands_overloaded.increment();
            self.complete(waiter, Err(Unavailable));
            return;
        }
        let (from, token) = (self.mesh.me(), self.token());
        self.asked.insert(token, waiter);
        let command = Box::new(command);
        self.mesh.send(to, MeshMessage::Propose { from, token, partition, command });
    }

    /// Tells a waiter its outcome.
    fn complete(&mut self, waiter: Waiter, outcome: Result<Outcome, Unavailable>) {
        match waiter {
            Waiter::Nobody => {}
            Waiter::Control(reply) => {
                // The client may have gone: what was committed stays.
                let _ = reply.send(outcome);
            }
            Waiter::Mesh { shard, token } => {
                self.mesh.send(shard, MeshMessage::Outcome { token, outcome });
            }
            Waiter::Station(reply) => self.reply_outcome(&reply, &outcome),
            Waiter::Stations(replies) => {
                for reply in replies {
                    self.reply_outcome(&reply, &outcome);
                }
            }
            Waiter::PeerOutbox { partition, outbox } => match outcome {
                Ok(outcome) => {
                    let command = Command::PeerAnswered { outbox, outcome: Box::new(outcome) };
                    self.submit(partition, command, Waiter::OutboxAnswered { partition, outbox });
                }
                Err(_) => self.stop_delivering(partition, outbox),
            },
            Waiter::OutboxAnswered { partition, outbox } => {
                // An answered start whose answer could not be recorded must not be sent again: its timer
                // resolves it.
                if outcome.is_ok() || !self.is_remote_start(partition, outbox) {
                    self.stop_delivering(partition, outbox);
                }
            }
            Waiter::Connected(conn) => {
                if !matches!(outcome, Ok(Outcome::Done)) {
                    self.close_with(conn, 1013, "overloaded; come back later");
                }
            }
            Waiter::CaughtUp(partition) => match outcome {
                Ok(_) => {
                    let slot = self.slots.get_mut(&partition).expect("a group of this shard");
                    slot.caught_up = true;
                }
                Err(_) => self.begin_life(partition),
            },
            Waiter::Held { job, home } => self.job_held(*job, home, outcome),
            Waiter::AppKey { start, home } => self.app_key_kept(*start, home, outcome),
            Waiter::App(to) => self.app_started(to, outcome),
            Waiter::AppStation(_) | Waiter::AppElsewhere(_) => {
                unreachable!("these ask other shards, and propose nothing")
            }
            Waiter::Job(_) => unreachable!("jobs ask where and whether, which are no commands"),
        }
    }

    /// The row may be delivered again, if it is still there.
    fn stop_delivering(&mut self, partition: PartitionId, outbox: u64) {
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.delivering.remove(&outbox);
        }
    }

    /// How long the driver may wait for something to happen.
    #[must_use]
    pub fn sleep_max(&self) -> Duration {
        if self.more_waits {
            return Duration::ZERO;
        }
        if self.mesh.has_backlog() {
            return Duration::from_millis(1);
        }
        let raft = self.raft_ticked.saturating_add(RAFT_TICK);
        // A slot that may not propose now waits for a completion or a wake, not for the time.
        let wake = self
            .slots
            .values()
            .filter(|slot| !self.writing && slot.led_from.is_some() && !slot.stalled)
            .flat_map(|slot| [slot.block_deadline(), slot.machine.next_deadline()])
            .flatten()
            .fold(raft, Timestamp::min);
        let timers = self.timers.sleep(self.now).unwrap_or(RAFT_TICK);
        wake.since(self.now).min(timers)
    }

    /// Once a second.
    fn keep_house(&mut self) {
        self.timers.set(self.now.saturating_add(Duration::from_secs(1)), TimerKey::Housekeeping);
        let partitions: Vec<PartitionId> = self.slots.keys().copied().collect();
        for partition in partitions {
            self.redeliver(partition);
            self.sign_head(partition);
            self.tend_transfers(partition);
        }
        self.move_approved();
        for slot in self.slots.values_mut() {
            slot.tend_scrubber(self.now);
        }
        self.shorten_log();
        self.tend_stores();
    }

    /// Vouches for the newest head of a partition's journal: outside the state machine, which has no key.
    fn sign_head(&mut self, partition: PartitionId) {
        let slot = self.slots.get(&partition).filter(|slot| slot.led_from.is_some());
        let Some(slot) = slot else { return };
        let Some(head) = slot.machine.unsigned_head() else { return };
        let signed = self.config.signing_key.sign(*head);
        // Signed twice, the second is refused and nothing is lost.
        self.submit(partition, Command::SignTreeHead(Box::new(signed)), Waiter::Nobody);
    }

    /// Flushes the stores that keep old log segments alive.
    fn shorten_log(&mut self) {
        let stats = self.raft.stats();
        let log_is_long = stats.segments > self.config.log_segments_max;
        // What earlier runs left goes as soon as its entries are in the stores.
        let leftover = stats.old_segments > 0;
        if !log_is_long && !leftover {
            return;
        }
        let holding: Vec<PartitionId> = self.raft.holding_oldest_segment().collect();
        let wanted = |slot: &&mut Slot| {
            let behind = slot.engine.flushed_mark() < slot.machine.applied_index();
            behind && (leftover || holding.contains(&slot.id))
        };
        // Seen to by `tend_stores`, which follows.
        self.slots.values_mut().filter(wanted).for_each(|slot| slot.flush_wanted = true);
    }

    /// Starts the stores' work that is due and takes in what is done. Cheap when there is nothing.
    pub fn tend_stores(&mut self) {
        let partitions: Vec<PartitionId> = self.slots.keys().copied().collect();
        for partition in partitions {
            let slot = self.slots.get_mut(&partition).expect("a group of this shard");
            let (mark, failed) = slot.tend_store(self.config.memtable_bytes_max);
            if let Some(dir) = failed {
                self.checkpoint_failed(dir);
            }
            // Before Raft lets go of entries that follow it.
            self.name_checkpoint(partition);
            self.raft.set_flushed(partition, mark);
        }
    }

    /// Ends the shard: everything in the stores, everything on disk.
    ///
    /// # Errors
    /// The first store that could not be closed.
    pub fn close(mut self) -> Result<(), novax_engine::Error> {
        for (_, mut slot) in std::mem::take(&mut self.slots) {
            slot.write_heads();
            slot.engine.close()?;
        }
        Ok(())
    }
}
