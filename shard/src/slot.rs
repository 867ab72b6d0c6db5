//! One partition on its shard: the state machine, its store, and the commands on their way through Raft.

use super::batches::Batches;
use super::standing::Others;
use super::states;
use super::stores::{MEMBERS_KEY, Recall};
use super::transfers::Transfers;
use super::waiter::{StationReplyTo, Waiter};
use novax_charging::rows::Keyspace;
use novax_charging::{Applied, Command, Entry, Origin, Outcome, Partition, RowWrites};
use novax_engine::tools::Scrubber;
use novax_engine::{Batch, Engine};
use novax_model::{Duration, Identity, MeterTick, NodeId, PartitionId, Timestamp, seeded};
use novax_raft::{Committed, GroupSpec, Members, MultiRaft};
use novax_tsdb::{BLOCK_TICKS_MAX, BlockBuilder};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

/// Meter ticks wait this long to share a block.
const BLOCK_AGE_MAX: Duration = Duration::from_millis(40);
/// A block is proposed when it is about this large.
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// A partition on its shard.
#[derive(Debug)]
pub struct Slot {
    /// Its number.
    pub id: PartitionId,
    /// Its state.
    pub machine: Partition,
    /// Its rows.
    pub engine: Engine,
    /// Where they are.
    pub dir: PathBuf,
    /// The node's data directory.
    data: PathBuf,
    /// A command of this life has been applied: the state is as new as anything acknowledged before.
    pub caught_up: bool,
    /// While this node leads: the first outbox row made since. Nobody can have delivered it before.
    pub led_from: Option<u64>,
    /// While this node leads: the tick at which it began.
    pub led_since: Option<u64>,
    /// This node is to lead nothing that another could.
    pub draining: bool,
    /// As leader: which voter is preferred and well, and since which tick.
    pub well_since: Option<(NodeId, u64)>,
    /// The replicas elsewhere.
    pub others: Others,
    /// The term of the last entry applied.
    pub applied_term: u64,
    /// Who the members are as of that entry; empty as long as they are the founders.
    pub members: Members,
    /// Since which entry they are.
    pub members_since: u64,
    /// States on their way to and from peers.
    pub transfers: Transfers,
    /// Everything is to be flushed as soon as no flush is under way.
    pub flush_wanted: bool,
    /// A tick is on its way through Raft: timers need no other before it is applied.
    pub ticking: bool,
    /// Batches for the leader wait until then: it said that it is none.
    pub forward_after: Timestamp,
    /// When the leader was last heard of: up to then, about, this replica knows what was committed.
    pub leader_heard: Timestamp,
    /// Since when nobody is known to lead.
    pub leaderless_since: Option<Timestamp>,
    /// The store cannot keep up: no entries until it can.
    pub stalled: bool,
    /// Outbox rows that are being delivered.
    pub delivering: BTreeSet<u64>,
    scrubber: Option<Scrubbing>,
    batch: Batch,
    /// Commands on their way.
    pub batches: Batches,
    block: BlockBuilder,
    block_since: Option<Timestamp>,
    block_waiters: Vec<StationReplyTo>,
}

/// The scrubber of a slot's store, and when it was put there by both clocks: the shard's time is an argument.
#[derive(Debug)]
struct Scrubbing {
    scrubber: Scrubber,
    since: Instant,
    since_at: Timestamp,
}

/// What applying an entry brought.
#[derive(Debug)]
pub struct SlotApplied {
    /// Outcomes and who waits for them.
    pub completions: Vec<(Waiter, Outcome)>,
    /// New outbox rows.
    pub outbox: Vec<u64>,
    /// Stations whose socket changed.
    pub sockets: Vec<Identity>,
}

impl Slot {
    /// A recovered partition, on a node in one of its lives. Its store is at home in the data directory.
    #[must_use]
    pub fn new(
        id: PartitionId,
        (machine, members): (Partition, Members),
        (engine, data): (Engine, PathBuf),
        (node, run): (NodeId, u64),
    ) -> Slot {
        Slot {
            id,
            members_since: 0,
            transfers: Transfers::default(),
            flush_wanted: false,
            machine,
            engine,
            dir: states::home(&data, id),
            data,
            caught_up: false,
            led_from: None,
            led_since: None,
            draining: false,
            well_since: None,
            others: Others::default(),
            applied_term: 0,
            members,
            ticking: false,
            forward_after: Timestamp(0),
            leader_heard: Timestamp(0),
            leaderless_since: None,
            stalled: false,
            delivering: BTreeSet::new(),
            batches: Batches::new(node, run),
            scrubber: None,
            batch: Batch::new(),
            block: BlockBuilder::new(),
            block_since: None,
            block_waiters: Vec::new(),
        }
    }

    /// How its group starts.
    #[must_use]
    pub fn group(&self, founders: &[NodeId]) -> GroupSpec {
        let applied = self.machine.applied_index();
        GroupSpec { members: self.members.clone(), ..GroupSpec::new(self.id, applied, founders) }
    }

    /// Has the store's tables read again, slowly and for ever, by the store's worker.
    pub fn scrub(&mut self, scrubber: Scrubber, since: Instant, since_at: Timestamp) {
        self.scrubber = Some(Scrubbing { scrubber, since, since_at });
    }

    /// Lets the scrubber go on. Cheap.
    pub fn tend_scrubber(&mut self, now: Timestamp) {
        let Some(Scrubbing { scrubber, since, since_at }) = &mut self.scrubber else { return };
        let passed = Duration::from_micros(now.0.saturating_sub(since_at.0));
        if let Err(error) = scrubber.poll(&self.engine, *since + passed) {
            eprintln!("novax: the scrubber of partition {}: {error}", self.id);
        }
    }

    /// Whether nothing is on its way through Raft or waits to be.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.batches.is_idle() && self.block_since.is_none()
    }

    /// Gathers meter ticks; `reply` is answered when their block is committed.
    ///
    /// # Errors
    /// Gives the reply back when the block that gathers is full.
    pub fn submit_ticks(
        &mut self,
        now: Timestamp,
        series: u64,
        ticks: &[MeterTick],
        reply: Option<StationReplyTo>,
    ) -> Result<(), Option<StationReplyTo>> {
        if self.block.len() + ticks.len() > BLOCK_TICKS_MAX {
            return Err(reply);
        }
        for tick in ticks {
            self.block.push(series, *tick);
        }
        self.block_waiters.extend(reply);
        self.block_since.get_or_insert(now);
        Ok(())
    }

    /// When the gathered ticks should be proposed at the latest.
    #[must_use]
    pub fn block_deadline(&self) -> Option<Timestamp> {
        self.block_since.map(|since| since.saturating_add(BLOCK_AGE_MAX))
    }

    /// Whether the gathered ticks have waited long enough or are many.
    fn block_is_due(&self, now: Timestamp) -> bool {
        self.block_deadline().is_some_and(|deadline| deadline <= now)
            || self.block.bytes_estimate() >= BLOCK_BYTES_MAX
    }

    /// Puts the gathered ticks ahead of the commands that wait, if it is time or commands go anyway: a stop
    /// that came after them must find them applied.
    fn pack_block(&mut self, now: Timestamp) {
        let due = self.block_is_due(now) || self.batches.is_waiting();
        if self.block_since.is_none() || !due {
            return;
        }
        let builder = std::mem::replace(&mut self.block, BlockBuilder::new());
        let waiters = std::mem::take(&mut self.block_waiters);
        self.block_since = None;
        let command = Command::Telemetry { block: builder.finish() };
        self.batches.submit_first(command, Waiter::Stations(waiters));
    }

    /// As leader: the next entry, if there is reason for one.
    fn next_entry(&mut self, now: Timestamp, term: u64) -> Option<Entry> {
        self.pack_block(now);
        let timer_due =
            !self.ticking && self.machine.next_deadline().is_some_and(|deadline| deadline <= now);
        let tick = || Entry { time: now, commands: vec![Command::Tick], origins: Vec::new() };
        // Whatever is applied lets timers fire.
        let entry = self.batches.next_entry(now, term).or_else(|| timer_due.then(tick));
        self.ticking |= entry.is_some();
        entry
    }

    /// As leader: packs what waits into one entry and proposes it. Gives back whoever could not be served.
    pub fn propose(&mut self, now: Timestamp, raft: &mut MultiRaft) -> Vec<Origin> {
        let Some(entry) = self.next_entry(now, raft.term(self.id)) else { return Vec::new() };
        match raft.propose(self.id, entry.encode()) {
            Ok(_) => Vec::new(),
            Err(_busy_or_not_leader) => entry.origins,
        }
    }

    /// As follower: the next batch for the leader.
    pub fn next_batch(&mut self, now: Timestamp, term: u64) -> Option<(Origin, Vec<Command>)> {
        self.pack_block(now);
        self.batches.next_batch(now, term)
    }

    /// Applies a committed entry and writes its rows to the store.
    ///
    /// # Panics
    /// When a committed entry does not decode: this node must not go on with another state than the
    /// log's.
    pub fn apply(&mut self, committed: &Committed) -> SlotApplied {
        assert_eq!(committed.partition, self.id, "an entry goes to its own partition");
        let mut history = Recall::new(&mut self.engine);
        let applied = match self.machine.apply(committed.index, &committed.data, &mut history) {
            Ok(applied) => applied,
            Err(error) => panic!("partition {} entry {}: {error}", self.id, committed.index),
        };
        let Applied { outcomes, origins, rows, outbox, sockets } = applied;
        self.ticking = false;
        if let Some(members) = &committed.members {
            self.members.clone_from(members);
            self.members_since = committed.index;
            self.batch.put(Keyspace::Replica as u8, MEMBERS_KEY, &members.encode());
        }
        self.write_rows(&rows, Some(committed.index));
        self.machine.recycle(rows);
        let mut completions = Vec::new();
        self.batches.complete(&origins, outcomes, &mut completions);
        if !self.caught_up {
            // Rows and sockets of the past: they are looked at when the state is whole.
            return SlotApplied { completions, outbox: Vec::new(), sockets: Vec::new() };
        }
        SlotApplied { completions, outbox, sockets }
    }

    fn write_rows(&mut self, rows: &RowWrites, mark: Option<u64>) {
        if seeded::is("delete-not-stored") {
            for row in rows.iter() {
                row.value
                    .iter()
                    .for_each(|value| self.batch.put(row.keyspace as u8, row.key, value));
            }
        } else {
            let lengths = rows.lengths().map(|(keyspace, key, value)| (keyspace as u8, key, value));
            self.batch.extend_packed(rows.bytes(), lengths);
        }
        if let Some(mark) = mark {
            self.batch.set_mark(mark);
        }
        self.engine.write(&mut self.batch);
    }

    /// Moves the store on: starts what is due, takes in what is done. Answers how far it is, and the folder
    /// of a checkpoint that failed. A failed job is told once and tried again by the store itself; meanwhile
    /// the log keeps what the store has not.
    pub fn tend_store(&mut self, memtable_bytes_max: usize) -> (u64, Option<PathBuf>) {
        let full = self.engine.unflushed_bytes() >= memtable_bytes_max;
        self.flush_wanted |= full;
        let checkpoint = self.transfers.is_due();
        // A flush that had to wait for another would take entries that came after the heads were written out.
        let due = (self.flush_wanted || checkpoint) && !self.engine.progress().flush_in_flight;
        if full || due {
            // What is in open heads must be in the tables before the mark says so.
            if !seeded::is("heads-not-flushed") {
                self.write_heads();
            }
        }
        if due {
            self.flush_wanted = false;
            self.engine.flush();
        }
        if due && checkpoint {
            self.transfers.begin(self.id, &self.data, &mut self.engine);
        }
        let mark = match self.engine.poll() {
            Ok(progress) => {
                self.stalled = progress.stalled;
                if seeded::is("mark-before-flush") {
                    return (self.machine.applied_index(), None);
                }
                progress.flushed_mark
            }
            Err(error) => {
                eprintln!("novax: the store of partition {}: {error}", self.id);
                self.stalled = self.engine.progress().stalled;
                self.engine.flushed_mark()
            }
        };
        (mark, self.transfers.poll(self.id, &mut self.engine))
    }

    /// Writes open series heads into the store, so that a snapshot or a flush has them.
    pub fn write_heads(&mut self) {
        let rows = self.machine.seal_heads();
        if !rows.is_empty() {
            self.write_rows(&rows, None);
        }
    }
}
