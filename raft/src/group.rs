//! One Raft group: the raft crate's node over a log in memory, which holds the entries that are
//! not flushed yet, and some that are, for replicas that lag behind.
//!
//! Invariants: what the raft crate takes for stable is in [`GroupLog`] first; it is told that a
//! ready is persisted only when the write that holds it is durable; nothing that a message says
//! reaches the raft crate's own assertions unchecked.

use crate::error::{BadMessage, Error};
use crate::multi::{Attached, Committed, GroupSpec, PeerMessage};
use bytes::Bytes;
use novax_log::{Frame, GroupMeta, HardState, LogConfig, LoggedEntry, Position, ShardLog};
use novax_model::{NodeId, PartitionId};
use raft::eraftpb::{self, ConfState, Entry, EntryType, Message, MessageType, Snapshot};
use raft::{GetEntriesContext, RaftState, RawNode, StateRole, Storage, StorageError};
use std::collections::VecDeque;

/// Ticks are 100 ms: a leader is heard five times before anybody doubts it.
const HEARTBEAT_TICKS: usize = 2;
/// No election before a second of silence, and at the latest after two.
const ELECTION_TICKS: usize = 10;
/// Entries sent to a peer in one message.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Messages with entries under way to a peer: with the size above, 64 MiB at the worst.
const MESSAGES_IN_FLIGHT_MAX: usize = 64;
/// Committed entries taken from the raft crate at a time.
const COMMITTED_BYTES_MAX: u64 = 4 << 20;
/// Readies taken of one group at a time; what is left comes next time.
const READIES_MAX: usize = 64;

/// Bytes of flushed entries that are kept for replicas that lag behind; a replica that lags more gets a
/// snapshot. None are kept where there is no other replica.
const RETAINED_BYTES_MAX: usize = 8 << 20;
/// What an entry takes beside its data, about.
const ENTRY_OVERHEAD_BYTES: usize = 64;
/// Terms that a message may be ahead of this node: more is no election but a lie.
const TERMS_AHEAD_MAX: u64 = 1 << 32;

/// The entries of a group, as the raft crate reads them.
pub(crate) struct GroupLog {
    hard: HardState,
    conf: ConfState,
    /// Entries up to here are gone.
    gone: Position,
    entries: VecDeque<Entry>,
    /// Entries up to here are flushed.
    flushed: u64,
    /// Bytes of entries that are flushed and still here, and how many there may be.
    retained: usize,
    retained_max: usize,
}

fn entry_bytes(entry: &Entry) -> usize {
    entry.data.len() + ENTRY_OVERHEAD_BYTES
}

impl GroupLog {
    fn last_index(&self) -> u64 {
        self.entries.back().map_or(self.gone.index, |entry| entry.index)
    }

    fn position(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.gone.index + 1)?).ok()
    }

    /// The term of an entry that is here, or of the last one that is gone.
    fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.gone.index {
            return Some(self.gone.term);
        }
        self.entries.get(self.position(index)?).map(|entry| entry.term)
    }

    /// Appends, replacing from the first index on.
    fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.flushed, "flushed entries are never replaced");
        assert!(first.index <= self.last_index() + 1, "entries leave no gap");
        let keep = self.position(first.index).expect("above what is gone");
        self.entries.truncate(keep);
        self.entries.extend(entries);
    }

    /// Entries up to `index` are flushed: they may go, as far as no replica may want them.
    fn set_flushed(&mut self, index: u64) {
        assert!(index <= self.last_index(), "only entries that are there are flushed");
        let from = self.position(self.flushed + 1).unwrap_or(0);
        let count = usize::try_from(index - self.flushed).expect("entries fit memory");
        self.retained += self.entries.range(from..).take(count).map(entry_bytes).sum::<usize>();
        self.flushed = index;
        while self.retained > self.retained_max {
            let entry = self.entries.pop_front().expect("what is retained is here");
            self.retained -= entry_bytes(&entry);
            self.gone = Position { index: entry.index, term: entry.term };
        }
    }
}

impl Storage for GroupLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let hard_state = eraftpb::HardState {
            term: self.hard.term,
            vote: self.hard.vote,
            commit: self.hard.commit,
            ..eraftpb::HardState::default()
        };
        Ok(RaftState { hard_state, conf_state: self.conf.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let Some(from) = self.position(low) else {
            return Err(StorageError::Compacted.into());
        };
        if high > self.last_index() + 1 || low > high {
            return Err(StorageError::Unavailable.into());
        }
        let count = usize::try_from(high - low).unwrap_or(usize::MAX);
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0_u64;
        let fits = |entry: &&Entry| {
            // The first one always fits, or nothing would ever move.
            let first = bytes == 0;
            bytes += u64::try_from(entry_bytes(entry)).expect("usize fits u64");
            first || bytes <= bytes_max
        };
        Ok(self.entries.range(from..).take(count).take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.gone.index {
            return Err(StorageError::Compacted.into());
        }
        self.term_of(index).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.gone.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(GroupLog::last_index(self))
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}

/// A group: Raft's node, and where its log stands.
pub(crate) struct Group {
    pub(crate) partition: PartitionId,
    slot: usize,
    me: NodeId,
    node: RawNode<GroupLog>,
    /// The term for which the election timeout was chosen.
    timeout_term: u64,
    /// As of the last frame pushed.
    meta: GroupMeta,
    /// The hard state Raft gave last; only its commit index may be ahead of `meta`.
    hard: HardState,
    /// The last ready that waits for a write.
    unpersisted: Option<u64>,
    /// Entries up to here were handed to the caller.
    delivered: u64,
    /// Whether it is on the list of groups to look at.
    pub(crate) dirty: bool,
}

/// What a group needs to start.
pub(crate) struct GroupStart {
    pub(crate) partition: PartitionId,
    pub(crate) meta: GroupMeta,
    pub(crate) entries: VecDeque<Entry>,
}

/// Prepares a group: `applied` is what the engine holds, so entries up to it are dropped.
pub(crate) fn prepare(
    partition: PartitionId,
    applied: u64,
    meta: GroupMeta,
    logged: &VecDeque<LoggedEntry>,
) -> Result<GroupStart, Error> {
    let mut meta = meta;
    if applied > meta.last.index {
        let last = meta.last.index;
        return Err(novax_log::Error::LogBehindState { partition, applied, last }.into());
    }
    if applied < meta.mark.index {
        let mark = meta.mark.index;
        return Err(novax_log::Error::StateBehindLog { partition, applied, mark }.into());
    }
    let mut entries = VecDeque::with_capacity(logged.len());
    for LoggedEntry { at, data } in logged {
        if at.index <= applied {
            meta.mark = *at;
        } else {
            entries.push_back(entry(*at, data.clone()));
        }
    }
    assert_eq!(meta.mark.index, applied, "recovery checked that no entry is missing");
    // What is applied was committed, whether or not the log had come to say so.
    meta.hard.commit = meta.hard.commit.max(applied);
    Ok(GroupStart { partition, meta, entries })
}

fn entry(at: Position, data: Bytes) -> Entry {
    Entry { index: at.index, term: at.term, data, ..Entry::default() }
}

/// Every field on purpose: the crate's defaults do not suit a server.
fn raft_config(node: u64, applied: u64, limits: &LogConfig) -> raft::Config {
    let group_bytes_max = u64::try_from(limits.group_bytes_max()).expect("usize fits u64");
    raft::Config {
        id: node,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        applied,
        max_size_per_msg: MESSAGE_BYTES_MAX.min(group_bytes_max),
        max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
        // A leader cut off from its quorum steps down, and a returning node disturbs nobody.
        check_quorum: true,
        pre_vote: true,
        min_election_tick: ELECTION_TICKS,
        max_election_tick: 2 * ELECTION_TICKS,
        // A lease counts ticks, which a stopped process does not see pass: not for money.
        read_only_option: raft::ReadOnlyOption::Safe,
        skip_bcast_commit: false,
        batch_append: true,
        priority: 0,
        max_uncommitted_size: group_bytes_max,
        max_committed_size_per_ready: COMMITTED_BYTES_MAX,
    }
}

impl Group {
    /// Starts a group of the voters in `spec`.
    pub(crate) fn start(
        slot: usize,
        start: GroupStart,
        me: NodeId,
        spec: &GroupSpec,
        limits: &LogConfig,
        logger: &slog::Logger,
    ) -> Result<Group, Error> {
        let GroupStart { partition, meta, entries } = start;
        let failed = |source| Error::Raft { partition, source };
        let voters: Vec<u64> = spec.voters.iter().map(|voter| voter.get()).collect();
        let alone = voters == [me.get()];
        let log = GroupLog {
            hard: meta.hard,
            conf: ConfState { voters, ..ConfState::default() },
            gone: meta.mark,
            entries,
            flushed: meta.mark.index,
            retained: 0,
            retained_max: if alone { 0 } else { RETAINED_BYTES_MAX },
        };
        let config = raft_config(me.get(), meta.mark.index, limits);
        let mut node = RawNode::new(&config, log, logger).map_err(failed)?;
        if alone {
            // No other voter could object, so there is no reason to wait for an election timeout.
            node.campaign().map_err(failed)?;
        }
        Ok(Group {
            partition,
            slot,
            me,
            node,
            timeout_term: u64::MAX,
            meta,
            hard: meta.hard,
            unpersisted: None,
            delivered: meta.mark.index,
            dirty: false,
        })
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Entries proposed and not yet known to be committed.
    pub(crate) fn uncommitted_entries(&self) -> u64 {
        let log = &self.node.raft.raft_log;
        log.last_index() - log.committed
    }

    /// False if too much is uncommitted.
    pub(crate) fn propose(&mut self, data: Vec<u8>) -> bool {
        self.node.propose(Vec::new(), data).is_ok()
    }

    pub(crate) fn tick(&mut self) -> bool {
        let busy = self.node.tick();
        self.choose_timeout();
        busy
    }

    /// Who leads, as far as this replica knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        NodeId::new(self.node.raft.leader_id)
    }

    pub(crate) fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// Asks the leader to let `to` lead.
    pub(crate) fn transfer(&mut self, to: NodeId) {
        self.node.transfer_leader(to.get());
    }

    /// The raft crate draws election timeouts by chance; here they come from the node, the group and the term,
    /// so that the same events make the same history. Different nodes get different ones in every term.
    fn choose_timeout(&mut self) {
        let term = self.node.raft.term;
        if self.timeout_term == term {
            return;
        }
        self.timeout_term = term;
        let mut mixed = self.me.get() ^ u64::from(self.partition.0) << 32 ^ term << 48;
        mixed = mixed.wrapping_add(term).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let spread = usize::try_from((mixed >> 33) % (ELECTION_TICKS as u64)).expect("small");
        self.node.raft.set_randomized_election_timeout(ELECTION_TICKS + spread);
    }

    /// Takes a message from another replica.
    pub(crate) fn step(&mut self, from: NodeId, message: Message) -> Result<(), BadMessage> {
        self.check(from, &message)?;
        self.node.step(message).map_err(|_| BadMessage::NotForUs)?;
        self.choose_timeout();
        Ok(())
    }

    /// What would make the raft crate stop this process, or believe what cannot be.
    fn check(&self, from: NodeId, message: &Message) -> Result<(), BadMessage> {
        let raft = &self.node.raft;
        let conf = raft.prs().conf();
        if message.from != from.get() || message.to != self.me.get() || from == self.me {
            return Err(BadMessage::NotForUs);
        }
        if !conf.voters().contains(message.from) && !conf.learners().contains(&message.from) {
            return Err(BadMessage::NotForUs);
        }
        if message.term > raft.term.saturating_add(TERMS_AHEAD_MAX) {
            return Err(BadMessage::Impossible("its term is far ahead"));
        }
        let last = raft.raft_log.last_index();
        match message.get_msg_type() {
            MessageType::MsgAppend => self.check_append(message),
            MessageType::MsgHeartbeat if message.commit > last && message.term >= raft.term => {
                Err(BadMessage::Impossible("it commits what this replica does not have"))
            }
            MessageType::MsgAppendResponse if message.index > last && !message.reject => {
                Err(BadMessage::Impossible("it has what this leader never sent"))
            }
            MessageType::MsgAppendResponse
            | MessageType::MsgHeartbeat
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse
            | MessageType::MsgTimeoutNow
            | MessageType::MsgTransferLeader
            | MessageType::MsgReadIndex
            | MessageType::MsgReadIndexResp => Ok(()),
            _ => Err(BadMessage::Impossible("replicas do not say that to each other")),
        }
    }

    fn check_append(&self, message: &Message) -> Result<(), BadMessage> {
        let log = &self.node.raft.raft_log;
        let mut before = Position { index: message.index, term: message.log_term };
        for entry in &message.entries {
            if entry.index != before.index + 1
                || entry.term < before.term
                || entry.term > message.term
            {
                return Err(BadMessage::Impossible("its entries do not follow each other"));
            }
            before = Position { index: entry.index, term: entry.term };
            let ours = log.term(entry.index).ok();
            if entry.index <= log.committed && ours.is_some_and(|term| term != entry.term) {
                return Err(BadMessage::Impossible("it replaces what is committed"));
            }
        }
        Ok(())
    }

    /// The write that holds ready `number` is durable.
    pub(crate) fn persisted(&mut self, number: u64) {
        assert!(self.unpersisted >= Some(number), "only what waits is persisted");
        if self.unpersisted == Some(number) {
            self.unpersisted = None;
        }
        self.node.on_persist_ready(number);
    }

    /// Takes what Raft has ready: frames into the log, committed entries and messages out.
    /// True if there may be more.
    pub(crate) fn pump(
        &mut self,
        log: &mut ShardLog<Attached>,
        committed: &mut Vec<Committed>,
        messages: &mut Vec<PeerMessage>,
    ) -> bool {
        for _ in 0..READIES_MAX {
            if !self.node.has_ready() {
                return false;
            }
            self.take_ready(log, committed, messages);
        }
        true
    }

    fn take_ready(
        &mut self,
        log: &mut ShardLog<Attached>,
        committed: &mut Vec<Committed>,
        messages: &mut Vec<PeerMessage>,
    ) {
        let mut ready = self.node.ready();
        assert!(ready.snapshot().is_empty(), "messages with snapshots are not let in");
        if let Some(hard) = ready.hs() {
            self.hard = HardState { term: hard.term, vote: hard.vote, commit: hard.commit };
        }
        let must_write = ready.must_sync();
        let entries = ready.take_entries();
        assert!(must_write || entries.is_empty(), "entries are always written");
        if must_write {
            self.write(log, ready.number(), entries);
        }
        let to_send = |message| PeerMessage { partition: self.partition, message };
        messages.extend(ready.take_messages().into_iter().map(to_send));
        let mut held: Vec<_> = ready.take_persisted_messages().into_iter().map(to_send).collect();
        if !held.is_empty() && (self.unpersisted.is_none() || !hold_messages(log, &mut held)) {
            messages.append(&mut held);
        }
        let newly_committed = ready.take_committed_entries();
        let number = ready.number();
        self.node.advance_append_async(ready);
        if self.unpersisted.is_none() {
            // Nothing of it had to be written: a commit index may be lost without harm.
            self.node.on_persist_ready(number);
        }
        self.deliver(newly_committed, committed);
    }

    fn write(&mut self, log: &mut ShardLog<Attached>, number: u64, entries: Vec<Entry>) {
        let gather = log.gather();
        if self.meta.hard != self.hard {
            self.meta.hard = self.hard;
            gather.push(self.partition, &Frame::HardState(self.hard));
        }
        for entry in &entries {
            assert_eq!(entry.entry_type, EntryType::EntryNormal, "membership is not changed yet");
            let at = Position { index: entry.index, term: entry.term };
            gather.push(self.partition, &Frame::Entry { at, data: &entry.data });
            self.meta.last = at;
        }
        let entry_index_max = entries.last().map_or(0, |entry| entry.index);
        gather.note(self.slot, self.meta, entry_index_max);
        gather.attached.readies.push((self.slot, number));
        self.unpersisted = Some(number);
        self.node.mut_store().append(entries);
    }

    fn deliver(&mut self, entries: Vec<Entry>, committed: &mut Vec<Committed>) {
        for entry in entries {
            assert_eq!(entry.index, self.delivered + 1, "each index is delivered once, in order");
            self.delivered = entry.index;
            let Entry { index, term, data, .. } = entry;
            committed.push(Committed { partition: self.partition, index, term, data });
        }
        if self.delivered > self.node.raft.raft_log.applied {
            self.node.advance_apply_to(self.delivered);
        }
    }

    /// The engine holds everything up to `index`: drops it here and says so in the log.
    pub(crate) fn set_flushed(&mut self, log: &mut ShardLog<Attached>, index: u64) {
        if index <= self.meta.mark.index {
            return;
        }
        assert!(index <= self.delivered, "only what was delivered can have been flushed");
        let term = self.node.store().term_of(index).expect("what was delivered is here");
        self.node.mut_store().set_flushed(index);
        self.meta.mark = Position { index, term };
        let gather = log.gather();
        gather.push(self.partition, &Frame::Mark(self.meta.mark));
        gather.note(self.slot, self.meta, 0);
    }
}

/// Holds messages back until all that was gathered so far is durable. False if it is already.
fn hold_messages(log: &mut ShardLog<Attached>, messages: &mut Vec<PeerMessage>) -> bool {
    let Some(attached) = log.newest_attached() else { return false };
    attached.messages.append(messages);
    true
}
