//! All Raft groups of one shard over one log.
//!
//! The caller's loop: `propose` as commands come, `poll_write` when no write is in flight,
//! `on_written` when it is durable, `take_events` and `take_messages` then, `step` for what peers send, `tick` every
//! [`TICK_MS`]. Nothing here blocks, reads a clock or starts I/O.

use crate::config::{Attached, GroupSpec, RaftConfig};
use crate::error::{Error, ProposeError, Refused};
use crate::event::{Event, ProposalId, ReadId, Status};
use crate::group::{Group, GroupStart, Shared, prepare};
use crate::members::{CHANGES_MAX, Change, Members};
use crate::wire::PeerMessage;
use novax_log::{Block, GroupMeta, LogStats, LogWrite, Recovered, ShardLog};
use novax_model::{NodeId, PartitionId};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// How often [`MultiRaft::tick`] wants to be called. A leader that is gone is replaced after 10 to 20 ticks
/// and two rounds of messages and writes; leadership that is handed over waits for no tick.
pub const TICK_MS: u64 = 50;
/// Events that wait for `take_events`; beyond it proposals and messages are refused.
const EVENTS_WAITING_MAX: usize = 1 << 16;
const NO_SLOT: usize = usize::MAX;

/// The Raft groups of one shard.
pub struct MultiRaft {
    groups: Vec<Group>,
    /// Slot of each partition, by its number.
    slots: Vec<usize>,
    log: ShardLog<Attached>,
    /// Slots of groups that may have something ready.
    dirty: Vec<usize>,
    events: Vec<Event>,
    messages: Vec<PeerMessage>,
    node: NodeId,
    reads: u64,
    refused: [u64; Refused::KINDS],
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
    /// Starts the groups of a shard and a new run of its log.
    ///
    /// Each group names its applied mark, the members as of it, and who founded it. Committed entries are
    /// delivered from the mark on. A group whose only voter is this node leads at once; several founders wait
    /// for an election, or [`MultiRaft::campaign`]. `wake` is called from another thread when a segment has
    /// become ready after `poll_write` found none. Blocking: call it at start-up.
    ///
    /// # Errors
    /// When the log cannot be written, or does not fit the marks and members given.
    pub fn start(
        config: RaftConfig,
        recovered: &Recovered,
        groups: &[GroupSpec],
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<MultiRaft, Error> {
        let mut starts = Vec::with_capacity(groups.len());
        for setup in groups {
            recovered.root().claim(setup.partition)?;
            starts.push(prepare_from(recovered, setup)?);
        }
        let logged: Vec<(PartitionId, GroupMeta)> =
            starts.iter().map(|start| (start.partition, start.logged)).collect();
        let shared = Arc::new(Shared::new(&config, recovered.root().incarnation()));
        let log = ShardLog::start(config.log, Arc::clone(recovered.root()), &logged, wake)?;
        let mut raft = MultiRaft {
            groups: Vec::with_capacity(starts.len()),
            slots: Vec::new(),
            proposal_bytes_max: log.config().group_bytes_max(),
            uncommitted_entries_max: u64::try_from(log.config().group_entries_max())
                .expect("small"),
            log,
            dirty: Vec::new(),
            events: Vec::new(),
            messages: Vec::new(),
            node: config.node,
            reads: 0,
            refused: [0; Refused::KINDS],
            failed: false,
        };
        for (slot, start) in starts.into_iter().enumerate() {
            let number = usize::from(start.partition.0);
            if raft.slots.len() <= number {
                raft.slots.resize(number + 1, NO_SLOT);
            }
            raft.slots[number] = slot;
            raft.groups.push(Group::start(slot, start, &shared, &mut raft.log)?);
            raft.mark_dirty(slot);
        }
        Ok(raft)
    }

    /// Proposes an entry; it comes back from `take_events` if it is committed. An entry of no bytes is taken,
    /// but cannot be told from that of a new leader.
    ///
    /// # Errors
    /// See [`ProposeError`]; nothing has changed then.
    pub fn propose(
        &mut self,
        partition: PartitionId,
        data: Vec<u8>,
    ) -> Result<ProposalId, ProposeError> {
        if data.len() > self.proposal_bytes_max {
            return Err(ProposeError::TooLarge { max: self.proposal_bytes_max });
        }
        let slot = self.leading_slot(partition)?;
        let id = self.groups[slot].propose(data).ok_or(ProposeError::Busy)?;
        self.mark_dirty(slot);
        Ok(id)
    }

    /// Proposes other members. One at a time is under way; several voters change through a joint state, which ends by
    /// itself. A voter should have been a learner until it had caught up.
    ///
    /// # Errors
    /// See [`ProposeError`]; nothing has changed then.
    pub fn change_members(
        &mut self,
        partition: PartitionId,
        changes: &[Change],
    ) -> Result<ProposalId, ProposeError> {
        if changes.len() > CHANGES_MAX {
            return Err(ProposeError::Members);
        }
        let slot = self.leading_slot(partition)?;
        let id = self.groups[slot].change_members(changes)?;
        self.mark_dirty(slot);
        Ok(id)
    }

    /// Hands the lead to another voter, as soon as it has every entry. Proposals are answered "busy"
    /// meanwhile. If it does not take over within an election timeout, this node goes on leading.
    ///
    /// # Errors
    /// When this node does not lead, or the other is no voter.
    pub fn transfer_leader(
        &mut self,
        partition: PartitionId,
        to: NodeId,
    ) -> Result<(), ProposeError> {
        let slot = self.leading_slot(partition)?;
        self.groups[slot].transfer_leader(to)?;
        self.mark_dirty(slot);
        Ok(())
    }

    /// Asks for votes now rather than after the next timeout: for the first start of a cluster. Does nothing where this
    /// node may not lead or leads already.
    pub fn campaign(&mut self, partition: PartitionId) {
        if let Some(slot) = self.slot(partition) {
            self.groups[slot].campaign();
            self.mark_dirty(slot);
        }
    }

    /// Gives this replica a priority among those whose logs are equal: a voter refuses its vote to a lower
    /// one. All start with 0.
    pub fn set_priority(&mut self, partition: PartitionId, priority: i64) {
        if let Some(slot) = self.slot(partition) {
            self.groups[slot].set_priority(priority);
        }
    }

    /// Says at which site each node stands: from then on an entry is committed only when two sites have it, as long as
    /// the voters stand at three or more. (With two, the loss of one would stop the other.) An empty list ends that.
    pub fn assign_sites(&mut self, sites: &[(NodeId, u16)]) {
        let sites = sites.iter().map(|(node, site)| (node.get(), u64::from(*site) + 1)).collect();
        for slot in 0..self.groups.len() {
            self.groups[slot].assign_sites(&sites);
            self.mark_dirty(slot);
        }
    }

    /// Asks to read the state of this replica as of now or later, whoever leads. [`Event::ReadReady`] comes behind all
    /// entries it has to see, or [`Event::ReadFailed`] after about two election timeouts. Ask once for all who wait.
    ///
    /// # Errors
    /// When too many wait, or the partition is not run here.
    pub fn read_index(&mut self, partition: PartitionId) -> Result<ReadId, ProposeError> {
        let slot = self.slot(partition).ok_or(ProposeError::UnknownPartition)?;
        let id = ReadId(self.reads + 1);
        self.groups[slot].read(id)?;
        self.reads += 1;
        self.mark_dirty(slot);
        Ok(id)
    }

    /// Messages of a peer: any number, one after another, as [`PeerMessage::encode`] wrote them. `from` is
    /// the node at the other end of the link, as the link has proved it. Those that break a rule are left out
    /// and counted, and the first such is the error; the rest is taken, but nothing behind bytes that are no
    /// message can be found.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn step(&mut self, from: NodeId, bytes: &[u8]) -> Result<(), Refused> {
        let mut rest = bytes;
        let mut first = Ok(());
        while !rest.is_empty() {
            let stepped = match PeerMessage::decode(&mut rest) {
                Ok(message) => self.step_message(from, message),
                Err(refused) => {
                    rest = &[];
                    self.refused[refused.place()] += 1;
                    Err(refused)
                }
            };
            first = first.and(stepped);
        }
        first
    }

    /// As [`MultiRaft::step`], for a message that has been read.
    ///
    /// # Errors
    /// [`Refused`]; it has changed nothing.
    pub fn step_message(&mut self, from: NodeId, message: PeerMessage) -> Result<(), Refused> {
        let slot = self.slot(message.partition);
        let stepped = self.step_slot(from, slot, message);
        if let Err(refused) = stepped {
            self.refused[refused.place()] += 1;
        }
        if let Some(slot) = slot {
            self.mark_dirty(slot);
        }
        stepped
    }

    fn step_slot(
        &mut self,
        from: NodeId,
        slot: Option<usize>,
        message: PeerMessage,
    ) -> Result<(), Refused> {
        let slot = slot.ok_or(Refused::UnknownPartition)?;
        if message.from != from || message.to != self.node || from == self.node {
            return Err(Refused::WrongNode);
        }
        if self.failed || self.events.len() >= EVENTS_WAITING_MAX {
            return Err(Refused::TooEarly);
        }
        self.groups[slot].step(message.message)
    }

    /// Messages refused, in the order of [`Refused::ALL`].
    #[must_use]
    pub fn refused(&self) -> [u64; Refused::KINDS] {
        self.refused
    }

    /// A node cannot be reached: entries under way to it are sent again when it is heard.
    pub fn report_unreachable(&mut self, node: NodeId) {
        for slot in 0..self.groups.len() {
            self.groups[slot].report_unreachable(node);
            self.mark_dirty(slot);
        }
    }

    /// Names the checkpoint of a partition's state as of `index`, with the members as of it: peers that need
    /// it are told. It takes the place of an earlier one, and has to be kept until it is withdrawn or
    /// [`MultiRaft::withdraw_snapshot`] is called; entries behind it are kept for those peers as the bound
    /// allows.
    ///
    /// # Errors
    /// [`ProposeError::Checkpoint`] when entries behind it are gone already, or it is of no entry delivered.
    pub fn offer_snapshot(
        &mut self,
        partition: PartitionId,
        index: u64,
        members: Members,
    ) -> Result<(), ProposeError> {
        let slot = self.slot(partition).ok_or(ProposeError::UnknownPartition)?;
        self.groups[slot].offer_snapshot(index, members)?;
        self.mark_dirty(slot);
        Ok(())
    }

    /// The checkpoint of a partition is named to nobody any more.
    pub fn withdraw_snapshot(&mut self, partition: PartitionId) {
        if let Some(slot) = self.slot(partition) {
            self.groups[slot].withdraw_snapshot();
        }
    }

    /// The state offered as of `index` is here, durable, beside the present one. Either [`Event::SnapshotInstall`]
    /// follows, or [`Event::SnapshotDropped`].
    pub fn snapshot_fetched(&mut self, partition: PartitionId, index: u64) {
        if let Some(slot) = self.slot(partition) {
            self.groups[slot].snapshot_fetched(index);
            self.mark_dirty(slot);
        }
    }

    /// The state offered as of `index` could not be fetched: the next offer is taken.
    pub fn snapshot_failed(&mut self, partition: PartitionId, index: u64) {
        if let Some(slot) = self.slot(partition) {
            self.groups[slot].snapshot_failed(index);
        }
    }

    /// Lets [`TICK_MS`] pass for all groups.
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

    /// Moves what has happened to the end of `out`.
    pub fn take_events(&mut self, out: &mut Vec<Event>) {
        self.pump();
        out.append(&mut self.events);
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

    /// Who leads the partition, as far as is known.
    #[must_use]
    pub fn leader(&self, partition: PartitionId) -> Option<NodeId> {
        self.slot(partition).and_then(|slot| self.groups[slot].leader())
    }

    /// The latest term this node knows of a partition.
    #[must_use]
    pub fn term(&self, partition: PartitionId) -> u64 {
        self.slot(partition).map_or(0, |slot| self.groups[slot].term())
    }

    /// Whether a leader here would take another proposal, for all that is under way already. While it hands its lead
    /// over it takes none.
    #[must_use]
    pub fn has_room(&self, partition: PartitionId) -> bool {
        let waiting = self.events.len() >= EVENTS_WAITING_MAX;
        self.slot(partition).is_some_and(|slot| {
            let full = self.groups[slot].uncommitted_entries() >= self.uncommitted_entries_max;
            !(self.failed || waiting || full || self.groups[slot].hands_over())
        })
    }

    /// Where the partition's replica here stands.
    #[must_use]
    pub fn status(&self, partition: PartitionId) -> Option<Status> {
        self.slot(partition).map(|slot| self.groups[slot].status())
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

    /// The group, if it leads and takes another entry.
    fn leading_slot(&self, partition: PartitionId) -> Result<usize, ProposeError> {
        let slot = self.slot(partition).ok_or(ProposeError::UnknownPartition)?;
        if !self.groups[slot].is_leader() {
            return Err(ProposeError::NotLeader);
        }
        if self.has_room(partition) { Ok(slot) } else { Err(ProposeError::Busy) }
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
        let MultiRaft { groups, log, dirty, events, messages, .. } = self;
        dirty.retain(|slot| {
            let group = &mut groups[*slot];
            group.dirty = group.pump(log, events, messages);
            group.dirty
        });
    }
}

fn prepare_from(recovered: &Recovered, setup: &GroupSpec) -> Result<GroupStart, Error> {
    match recovered.partition(setup.partition) {
        Some(log) => prepare(setup, log.meta(), log.entries()),
        None => prepare(setup, GroupMeta::default(), &VecDeque::new()),
    }
}
