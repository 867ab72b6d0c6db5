//! One partition on its shard: the state machine, its store, and the commands on their way through Raft.

use super::waiter::{StationReplyTo, Waiter};
use novax_charging::{Command, Partition, RowWrite, encode_entry};
use novax_engine::tools::Scrubber;
use novax_engine::{Batch, Engine};
use novax_model::{Duration, MeterTick, PartitionId, Timestamp};
use novax_raft::{Committed, MultiRaft};
use novax_tsdb::{BLOCK_TICKS_MAX, BlockBuilder};
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

/// Commands that may wait for the next entry of a partition; more are answered "overloaded".
pub const COMMANDS_WAITING_MAX: usize = 16_384;
/// Commands in one entry; the rest waits for the next turn.
const COMMANDS_PER_ENTRY_MAX: usize = 1_024;
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
    /// The last entry in the log when the node started: entries up to here are replayed, and nobody
    /// waits for them.
    pub replay_until: u64,
    /// An entry of this run has been applied: the state is as new as the log.
    pub caught_up: bool,
    /// The first outbox row made since this node leads: nobody can have delivered it before.
    pub led_from: Option<u64>,
    /// The store cannot keep up: no entries until it can.
    pub stalled: bool,
    /// Outbox rows that are being delivered.
    pub delivering: BTreeSet<u64>,
    scrubber: Option<Scrubbing>,
    batch: Batch,
    commands: Vec<Command>,
    waiters: Vec<Waiter>,
    proposed: VecDeque<Vec<Waiter>>,
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
    pub completions: Vec<(Waiter, novax_charging::Outcome)>,
    /// New outbox rows.
    pub outbox: Vec<u64>,
}

impl Slot {
    /// A recovered partition. `replay_until` is the last index of its log.
    #[must_use]
    pub fn new(id: PartitionId, machine: Partition, engine: Engine, replay_until: u64) -> Slot {
        Slot {
            id,
            machine,
            engine,
            replay_until,
            caught_up: false,
            led_from: None,
            stalled: false,
            delivering: BTreeSet::new(),
            scrubber: None,
            batch: Batch::new(),
            commands: Vec::new(),
            waiters: Vec::new(),
            proposed: VecDeque::new(),
            block: BlockBuilder::new(),
            block_since: None,
            block_waiters: Vec::new(),
        }
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

    /// Queues a command for the next entry.
    ///
    /// # Errors
    /// Gives the waiter back when too many wait.
    pub fn submit(&mut self, command: Command, waiter: Waiter) -> Result<(), Waiter> {
        // What nobody can ask for again may use a reserve.
        let reserved = matches!(waiter, Waiter::Connected(_) | Waiter::OutboxAnswered { .. })
            || matches!(command, Command::StationDisconnected { .. } | Command::LeaderStarted);
        let max = if reserved { 2 * COMMANDS_WAITING_MAX } else { COMMANDS_WAITING_MAX };
        if self.commands.len() >= max {
            return Err(waiter);
        }
        self.commands.push(command);
        self.waiters.push(waiter);
        Ok(())
    }

    /// Whether commands wait for the next entry.
    #[must_use]
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Whether nothing is on its way through Raft or waits to be.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.commands.is_empty() && self.proposed.is_empty() && self.block_since.is_none()
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

    /// Packs what waits into one entry and proposes it. Gives back whoever could not be served.
    pub fn propose(&mut self, now: Timestamp, raft: &mut MultiRaft) -> Vec<Waiter> {
        let timer_due = self.machine.next_deadline().is_some_and(|deadline| deadline <= now);
        let block_due = self.block_is_due(now);
        if self.commands.is_empty() && !block_due && !timer_due {
            return Vec::new();
        }
        if self.block_since.is_some() {
            // Ticks that are there anyway ride along, ahead of commands: a stop that came after
            // them must find them applied.
            self.take_block();
        }
        if self.commands.is_empty() {
            self.commands.push(Command::Tick);
            self.waiters.push(Waiter::Nobody);
        }
        let count = self.commands.len().min(COMMANDS_PER_ENTRY_MAX);
        let commands: Vec<Command> = self.commands.drain(..count).collect();
        let waiters: Vec<Waiter> = self.waiters.drain(..count).collect();
        debug_assert_eq!(self.commands.len(), self.waiters.len(), "one waiter a command");
        match raft.propose(self.id, encode_entry(now, commands)) {
            Ok(()) => {
                self.proposed.push_back(waiters);
                Vec::new()
            }
            Err(_busy_or_not_leader) => waiters,
        }
    }

    fn take_block(&mut self) {
        let builder = std::mem::replace(&mut self.block, BlockBuilder::new());
        let waiters = std::mem::take(&mut self.block_waiters);
        self.block_since = None;
        self.commands.insert(0, Command::Telemetry { block: builder.finish() });
        self.waiters.insert(0, Waiter::Stations(waiters));
    }

    /// Applies a committed entry and writes its rows to the store.
    ///
    /// # Panics
    /// When a committed entry does not decode: this node must not go on with another state than the
    /// log's.
    pub fn apply(&mut self, committed: &Committed) -> SlotApplied {
        assert_eq!(committed.partition, self.id, "an entry goes to its own partition");
        let applied = match self.machine.apply(committed.index, &committed.data) {
            Ok(applied) => applied,
            Err(error) => panic!("partition {} entry {}: {error}", self.id, committed.index),
        };
        self.write_rows(applied.rows, Some(committed.index));
        if committed.index > self.replay_until {
            self.caught_up = true;
        }
        let waits = committed.index > self.replay_until && !committed.data.is_empty();
        let completions = if waits {
            let waiters = self.proposed.pop_front().expect("an entry of this run was proposed");
            assert_eq!(waiters.len(), applied.outcomes.len(), "one outcome a command");
            waiters.into_iter().zip(applied.outcomes).collect()
        } else {
            Vec::new()
        };
        let outbox = if self.caught_up { applied.outbox } else { Vec::new() };
        SlotApplied { completions, outbox }
    }

    fn write_rows(&mut self, rows: Vec<RowWrite>, mark: Option<u64>) {
        for row in rows {
            match row.value {
                Some(value) => self.batch.put_owned(row.keyspace as u8, row.key, value),
                None => self.batch.delete_owned(row.keyspace as u8, row.key),
            }
        }
        if let Some(mark) = mark {
            self.batch.set_mark(mark);
        }
        self.engine.write(&mut self.batch);
    }

    /// Moves the store on: starts what is due, takes in what is done. `flush` wants everything durable.
    /// Answers how far it is. A failed job is told once and tried again by the store itself; meanwhile the log keeps
    /// what the store has not.
    pub fn tend_store(&mut self, flush: bool, memtable_bytes_max: usize) -> u64 {
        if flush || self.engine.unflushed_bytes() >= memtable_bytes_max {
            // What is in open heads must be in the tables before the mark says so.
            self.write_heads();
            self.engine.flush();
        }
        match self.engine.poll() {
            Ok(progress) => {
                self.stalled = progress.stalled;
                progress.flushed_mark
            }
            Err(error) => {
                eprintln!("novax: the store of partition {}: {error}", self.id);
                self.stalled = self.engine.progress().stalled;
                self.engine.flushed_mark()
            }
        }
    }

    /// Writes open series heads into the store, so that a snapshot or a flush has them.
    pub fn write_heads(&mut self) {
        let rows = self.machine.seal_heads();
        if !rows.is_empty() {
            self.write_rows(rows, None);
        }
    }
}
