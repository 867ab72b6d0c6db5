//! All Raft groups of one shard over one log.
//!
//! The caller's loop: `propose` as commands come, `poll_write` when no write is in flight,
//! `on_written` when it is durable, `take_committed` then, `tick` every 100 ms. Nothing here
//! blocks, reads a clock or starts I/O.

use crate::error::{BadMessage, Error, ProposeError};
use crate::group::{Group, GroupStart, prepare};
use bytes::Bytes;
use novax_log::{Block, GroupMeta, LogConfig, LogStats, LogWrite, Recovered, ShardLog};
use novax_model::{NodeId, PartitionId};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Committed entries that wait for `take_committed`; beyond it proposals are refused.
const COMMITTED_WAITING_MAX: usize = 1 << 16;
const NO_SLOT: usize = usize::MAX;

/// A committed entry. Each index of a partition comes once, in order, from the applied mark + 1 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: PartitionId,
    /// Its place in the partition's log.
    pub index: u64,
    /// In which term it was proposed.
    pub term: u64,
    /// What was proposed; empty for the entry by which a leader takes office.
    pub data: Bytes,
}

/// A message to the replica of a partition on another node.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerMessage {
    pub(crate) partition: PartitionId,
    pub(crate) message: raft::eraftpb::Message,
}

impl PeerMessage {
    /// The node it is for.
    #[must_use]
    pub fn to(&self) -> NodeId {
        NodeId::new(self.message.to).expect("Raft sends to nodes that are")
    }

    /// Adds its bytes to those of others for the same node.
    pub fn encode(&self, out: &mut Vec<u8>) {
        crate::wire::encode(self.partition, &self.message, out);
    }
}

/// A group to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSpec {
    /// The partition.
    pub partition: PartitionId,
    /// What the engine holds durably: entries up to here are not delivered again.
    pub applied: u64,
    /// The nodes with a replica, this one among them.
    pub voters: Vec<NodeId>,
}

/// What has to be done when a batch of the log is durable.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// Readies of groups that are persisted with it: slot and number.
    pub(crate) readies: Vec<(usize, u64)>,
    /// Messages that may leave then.
    pub(crate) messages: Vec<PeerMessage>,
}

/// The Raft groups of one shard.
pub struct MultiRaft {
    groups: Vec<Group>,
    /// Slot of each partition, by its number.
    slots: Vec<usize>,
    log: ShardLog<Attached>,
    /// Slots of groups that may have something ready.
    dirty: Vec<usize>,
    committed: Vec<Committed>,
    messages: Vec<PeerMessage>,
    proposal_bytes_max: usize,
    uncommitted_entries_max: u64,
    /// A write failed: nothing more is handed out.
    failed: bool,
}

impl std::fmt::Debug for MultiRaft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MultiRaft")
            .field("groups", &self.groups.len())
            .field("log", &self.log.stats())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl MultiRaft {
    /// Starts this node's replicas of the groups of a shard, and a new run of its log.
    ///
    /// Committed entries are delivered from there on. `wake` is called from another thread when a
    /// segment has become ready after `poll_write` found none. Blocking: call it at start-up.
    pub fn start(
        config: LogConfig,
        node: NodeId,
        recovered: &Recovered,
        groups: &[GroupSpec],
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<MultiRaft, Error> {
        let mut starts = Vec::with_capacity(groups.len());
        for GroupSpec { partition, applied, .. } in groups {
            recovered.root().claim(*partition)?;
            starts.push(prepare_from(recovered, *partition, *applied)?);
        }
        let logged: Vec<(PartitionId, GroupMeta)> =
            starts.iter().map(|start| (start.partition, start.meta)).collect();
        let log = ShardLog::start(config, Arc::clone(recovered.root()), &logged, wake)?;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut raft = MultiRaft {
            groups: Vec::with_capacity(starts.len()),
            slots: Vec::new(),
            proposal_bytes_max: log.config().group_bytes_max(),
            uncommitted_entries_max: u64::try_from(log.config().group_entries_max())
                .expect("small"),
            log,
            dirty: Vec::new(),
            committed: Vec::new(),
            messages: Vec::new(),
            failed: false,
        };
        for (slot, (start, spec)) in starts.into_iter().zip(groups).enumerate() {
            let number = usize::from(start.partition.0);
            if raft.slots.len() <= number {
                raft.slots.resize(number + 1, NO_SLOT);
            }
            raft.slots[number] = slot;
            raft.groups.push(Group::start(slot, start, node, spec, raft.log.config(), &logger)?);
            raft.mark_dirty(slot);
        }
        Ok(raft)
    }

    /// Proposes an entry; it comes back from `take_committed` when it is committed. An entry of no
    /// bytes is taken, but cannot be told from that of a new leader.
    pub fn propose(&mut self, partition: PartitionId, data: Vec<u8>) -> Result<(), ProposeError> {
        let Some(slot) = self.slot(partition) else { return Err(ProposeError::UnknownPartition) };
        if data.len() > self.proposal_bytes_max {
            return Err(ProposeError::TooLarge { max: self.proposal_bytes_max });
        }
        if !self.groups[slot].is_leader() {
            return Err(ProposeError::NotLeader);
        }
        if !self.has_room(partition) || !self.groups[slot].propose(data) {
            return Err(ProposeError::Busy);
        }
        self.mark_dirty(slot);
        Ok(())
    }

    /// Whether a proposal would not be refused for what is under way already.
    #[must_use]
    pub fn has_room(&self, partition: PartitionId) -> bool {
        let Some(slot) = self.slot(partition) else { return false };
        let waiting = self.committed.len() >= COMMITTED_WAITING_MAX;
        let full = self.groups[slot].uncommitted_entries() >= self.uncommitted_entries_max;
        !(self.failed || waiting || full)
    }

    /// Takes messages of another node: any number, one after another, as [`PeerMessage::encode`] wrote them.
    /// What cannot be is left out, and the first such thing is the error; the rest is taken.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn step(&mut self, from: NodeId, bytes: &[u8]) -> Result<(), BadMessage> {
        let mut rest = bytes;
        let mut first = Ok(());
        while !rest.is_empty() {
            let (partition, message) = crate::wire::decode(&mut rest)?;
            let stepped = match self.slot(partition) {
                Some(slot) => {
                    self.mark_dirty(slot);
                    self.groups[slot].step(from, message)
                }
                None => Err(BadMessage::NotForUs),
            };
            first = first.and(stepped);
        }
        first
    }

    /// Who leads a partition, as far as this node knows.
    #[must_use]
    pub fn leader(&self, partition: PartitionId) -> Option<NodeId> {
        self.groups[self.slot(partition)?].leader()
    }

    /// The newest term this node knows of a partition.
    #[must_use]
    pub fn term(&self, partition: PartitionId) -> u64 {
        self.slot(partition).map_or(0, |slot| self.groups[slot].term())
    }

    /// Lets another node lead a partition that this one leads, as soon as it is as new.
    pub fn transfer_leader(&mut self, partition: PartitionId, to: NodeId) {
        if let Some(slot) = self.slot(partition) {
            self.groups[slot].transfer(to);
            self.mark_dirty(slot);
        }
    }

    /// Lets 100 ms pass for all groups.
    pub fn tick(&mut self) {
        for slot in 0..self.groups.len() {
            if self.groups[slot].tick() {
                self.mark_dirty(slot);
            }
        }
    }

    /// What is to be written next, of all groups together. None while a write is in flight, when
    /// there is nothing to write, or when no segment is ready (`wake` is called when one is).
    pub fn poll_write(&mut self) -> Option<LogWrite> {
        if self.failed {
            return None;
        }
        self.pump();
        self.log.next_write()
    }

    /// The outcome of a write. An error is fatal: what is on disk is unknown now, so the node has
    /// to stop and recover.
    pub fn on_written(&mut self, id: u64, result: io::Result<()>) -> Result<(), Error> {
        if let Err(error) = result {
            self.failed = true;
            return Err(novax_log::Error::Write(error).into());
        }
        let durable = self.log.written(id)?;
        for (slot, number) in durable.readies {
            self.groups[slot].persisted(number);
            self.mark_dirty(slot);
        }
        self.messages.extend(durable.messages);
        Ok(())
    }

    /// Moves what has been committed to the end of `out`.
    pub fn take_committed(&mut self, out: &mut Vec<Committed>) {
        self.pump();
        out.append(&mut self.committed);
    }

    /// Moves messages for other nodes to the end of `out`. A sole voter has none.
    pub fn take_messages(&mut self, out: &mut Vec<PeerMessage>) {
        self.pump();
        out.append(&mut self.messages);
    }

    /// Whether this node leads the partition.
    #[must_use]
    pub fn is_leader(&self, partition: PartitionId) -> bool {
        self.slot(partition).is_some_and(|slot| self.groups[slot].is_leader())
    }

    /// The engine holds everything of a partition up to `index` durably: it may go from memory and
    /// log. The index must have been delivered; an older one, or an unknown partition, changes nothing.
    pub fn set_flushed(&mut self, partition: PartitionId, index: u64) {
        if let Some(slot) = self.slot(partition) {
            self.groups[slot].set_flushed(&mut self.log, index);
        }
    }

    /// The partitions whose unflushed entries keep the oldest segment of this run on disk. Flush
    /// their engines when [`LogStats::segments`] grows beyond what the disk should hold.
    pub fn holding_oldest_segment(&self) -> impl Iterator<Item = PartitionId> {
        self.log.holding_oldest().map(|slot| self.groups[slot].partition)
    }

    /// Takes the memory of a finished write for a next one. Only saves an allocation.
    pub fn recycle(&mut self, blocks: Vec<Block>) {
        self.log.recycle(blocks);
    }

    /// Figures about the log.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.log.stats()
    }

    fn slot(&self, partition: PartitionId) -> Option<usize> {
        self.slots.get(usize::from(partition.0)).copied().filter(|slot| *slot != NO_SLOT)
    }

    fn mark_dirty(&mut self, slot: usize) {
        let group = &mut self.groups[slot];
        if !group.dirty {
            group.dirty = true;
            self.dirty.push(slot);
        }
    }

    fn pump(&mut self) {
        let MultiRaft { groups, log, dirty, committed, messages, .. } = self;
        dirty.retain(|slot| {
            let group = &mut groups[*slot];
            group.dirty = group.pump(log, committed, messages);
            group.dirty
        });
    }
}

fn prepare_from(
    recovered: &Recovered,
    partition: PartitionId,
    applied: u64,
) -> Result<GroupStart, Error> {
    match recovered.partition(partition) {
        Some(log) => prepare(partition, applied, log.meta(), log.entries()),
        None => prepare(partition, applied, GroupMeta::default(), &VecDeque::new()),
    }
}
