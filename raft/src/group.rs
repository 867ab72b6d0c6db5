//! One Raft group: the raft crate's node over a log in memory.
//!
//! Invariants:
//! * what the raft crate takes for stable is in [`GroupLog`] first; it is told that a ready is persisted only when the
//!   write that holds it is durable;
//! * nothing is sent before the term it speaks in is durable here, nor entries acknowledged before they are;
//! * the commit index is written no later than entries that follow, so that a node that starts again knows of every
//!   change of members that others may have acted on;
//! * elections are timed by a seed, the node and the term: the same inputs make the same history.

use crate::config::{Attached, GroupSpec, RaftConfig};
use crate::error::{Error, ProposeError, Refused};
use crate::event::{
    Committed, Event, PeerState, PeerStatus, ProposalId, ReadId, Role, SnapshotInfo, Status,
};
use crate::guard::{Known, READS_PENDING_MAX, check};
use crate::members::{Change, Members, decode_changes, encode_changes, to_raft};
use crate::reads::{Reads, context};
use crate::store::{Checkpoint, GroupLog, carried, entry, founding_entries, frame};
use crate::wire::PeerMessage;
use bytes::Bytes;
use novax_log::{EntryKind, GroupMeta, HardState, LogConfig, LoggedEntry, Position, ShardLog};
use novax_model::{NodeId, PartitionId, seeded};
use raft::eraftpb::{Entry, Message, MessageType};
use raft::{ProgressState, RawNode, SnapshotStatus, StateRole};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A leader is heard five times before anybody doubts it.
const HEARTBEAT_TICKS: usize = 2;
/// No election before so many ticks of silence,
const ELECTION_TICKS: usize = 10;
/// and at the latest after fewer than so many.
const ELECTION_TICKS_MAX: usize = 20;
/// Entries sent to a peer in one message; a larger entry goes alone.
const MESSAGE_BYTES_MAX: u64 = 256 << 10;
/// Messages with entries under way to a peer: with the size above, 32 MiB at the worst.
const MESSAGES_IN_FLIGHT_MAX: usize = 128;
/// Committed entries taken from the raft crate at a time.
const COMMITTED_BYTES_MAX: u64 = 4 << 20;
/// Readies taken of one group at a time; what is left comes next time.
const READIES_MAX: usize = 64;
/// A peer that waits for a state is told of it again after so many ticks: it may have started anew meanwhile.
const SNAPSHOT_AGAIN_TICKS: u64 = 100;

/// Where voters stand at so many sites, two have to have an entry before it is committed. Where they stand at two,
/// the loss of one would stop the other.
const SITES_MIN: usize = 3;

/// While a state is on its way to a peer, so many times as much is kept for it: what it misses when the state is
/// there should still be here.
const RETAIN_FACTOR: usize = 8;

/// What the replicas of a shard share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) seed: u64,
    pub(crate) incarnation: u64,
    pub(crate) retain_bytes_max: usize,
    pub(crate) logger: slog::Logger,
}

impl Shared {
    pub(crate) fn new(config: &RaftConfig, incarnation: u64) -> Shared {
        Shared {
            node: config.node,
            seed: config.seed,
            incarnation,
            retain_bytes_max: config.retain_bytes_max,
            logger: slog::Logger::root(slog::Discard, slog::o!()),
        }
    }
}

/// A group: Raft's node, and where its log stands.
pub(crate) struct Group {
    pub(crate) partition: PartitionId,
    slot: usize,
    shared: Arc<Shared>,
    node: RawNode<GroupLog>,
    /// As of the last frame pushed.
    meta: GroupMeta,
    /// The hard state Raft gave last; only its commit index may be ahead of `meta`.
    hard: HardState,
    /// The last ready that waits for a write.
    unpersisted: Option<u64>,
    /// The last ready that waits for a write and holds a new term or vote: nothing is sent meanwhile.
    term_unpersisted: Option<u64>,
    /// Entries up to here were handed to the caller.
    delivered: u64,
    /// As of the entries delivered.
    members: Members,
    /// What was last said about role, term and leader.
    reported: (Role, u64, u64),
    /// What is to be said before anything that comes.
    events: Vec<Event>,
    reads: Reads,
    /// Sites of nodes; commit has to span two of them.
    sites: Arc<[(u64, u64)]>,
    snapshots: Snapshots,
    entry_bytes_max: usize,
    entries_max: usize,
    ticks: u64,
    /// Elections this node called, so that a second try in the same term waits for another time than the first.
    elections: u64,
    broken: bool,
    /// Whether it is on the list of groups to look at.
    pub(crate) dirty: bool,
}

/// States on their way, in both directions.
#[derive(Default)]
struct Snapshots {
    /// What a leader offers us, and whether it has been fetched.
    offered: Option<(Message, bool)>,
    /// A state that is being put in: the ready that waits for its write, and what to say then.
    installing: Option<(u64, SnapshotInfo)>,
    /// Peers for which a checkpoint was asked, and when.
    wanted: BTreeMap<u64, u64>,
    /// Peers that have been told of a state, and since when they are waiting.
    waiting: BTreeMap<u64, u64>,
}

/// What a group needs to start.
pub(crate) struct GroupStart {
    pub(crate) partition: PartitionId,
    /// As the log restates it.
    pub(crate) logged: GroupMeta,
    meta: GroupMeta,
    members: Members,
    entries: VecDeque<Entry>,
    /// The group is founded now: its first entries have to be written.
    founded: bool,
}

/// Prepares a group: `applied` is what the engine holds, so entries up to it are dropped.
pub(crate) fn prepare(
    setup: &GroupSpec,
    meta: GroupMeta,
    logged: &VecDeque<LoggedEntry>,
) -> Result<GroupStart, Error> {
    let GroupSpec { partition, applied, ref members, ref founders } = *setup;
    let mut meta = meta;
    if applied > meta.last.index {
        let last = meta.last.index;
        return Err(novax_log::Error::LogBehindState { partition, applied, last }.into());
    }
    if applied < meta.mark.index {
        let mark = meta.mark.index;
        return Err(novax_log::Error::StateBehindLog { partition, applied, mark }.into());
    }
    if !members.is_sound() {
        return Err(Error::Members(partition));
    }
    let mut entries = VecDeque::with_capacity(logged.len());
    for LoggedEntry { at, kind, data } in logged {
        if *kind == EntryKind::Change && decode_changes(data).is_none() {
            return Err(Error::Change { partition, index: at.index });
        }
        if at.index <= applied {
            meta.mark = *at;
        } else {
            entries.push_back(entry(*at, *kind, data.clone()));
        }
    }
    assert_eq!(meta.mark.index, applied, "recovery checked that no entry is missing");
    // What is applied was committed, whether or not the log had come to say so.
    meta.hard.commit = meta.hard.commit.max(applied);
    let logged = meta;
    let mut members = members.clone();
    let founded = meta == GroupMeta::default() && founders.len() > 1;
    if founded {
        entries = founding_entries(founders);
        let last = entries.back().expect("several founders");
        meta.last = Position { index: last.index, term: last.term };
        meta.hard = HardState { term: last.term, vote: 0, commit: last.index };
    } else if members.is_empty() {
        members = founded_by(founders, applied);
    }
    Ok(GroupStart { partition, logged, meta, members, entries, founded })
}

/// The members as of an entry before any change: a log of one founder says nothing of it, and one of several
/// begins with an entry for each.
fn founded_by(founders: &[NodeId], applied: u64) -> Members {
    let all = Members::of_voters(founders);
    match all.voters() {
        [_] => all,
        several => {
            let entries = usize::try_from(applied).unwrap_or(usize::MAX).min(several.len());
            Members::of_voters(&several[..entries])
        }
    }
}

/// Every field on purpose: the crate's defaults do not suit a server.
fn raft_config(node: NodeId, applied: u64, limits: &LogConfig) -> raft::Config {
    let group_bytes_max = u64::try_from(limits.group_bytes_max()).expect("usize fits u64");
    raft::Config {
        id: node.get(),
        election_tick: ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        applied,
        max_size_per_msg: MESSAGE_BYTES_MAX.min(group_bytes_max),
        max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
        // A leader cut off from its quorum steps down, and a returning node disturbs nobody.
        check_quorum: true,
        pre_vote: true,
        min_election_tick: ELECTION_TICKS,
        max_election_tick: ELECTION_TICKS_MAX,
        // A lease counts ticks, which a stopped process does not see pass: not for money.
        read_only_option: raft::ReadOnlyOption::Safe,
        skip_bcast_commit: false,
        // It would join messages without a bound. A turn makes one entry of a partition anyway.
        batch_append: false,
        priority: 0,
        max_uncommitted_size: group_bytes_max,
        max_committed_size_per_ready: COMMITTED_BYTES_MAX,
    }
}

/// Spreads bits, so that neighbouring numbers give times far apart (splitmix64).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Group {
    pub(crate) fn start(
        slot: usize,
        start: GroupStart,
        shared: &Arc<Shared>,
        log: &mut ShardLog<Attached>,
    ) -> Result<Group, Error> {
        let GroupStart { partition, meta, members, entries, founded, .. } = start;
        let failed = |source| Error::Raft { partition, source };
        if founded {
            // The same on each founder: should they be lost, the next start founds the group anew.
            let gather = log.gather();
            gather.push(partition, &novax_log::Frame::HardState(meta.hard));
            for entry in &entries {
                gather.push(partition, &frame(entry));
            }
            gather.note(slot, meta, meta.last.index);
        }
        let store = GroupLog::new(meta.hard, members.clone(), meta.mark, entries);
        let config = raft_config(shared.node, meta.mark.index, log.config());
        let node = RawNode::new(&config, store, &shared.logger).map_err(failed)?;
        let mut group = Group {
            partition,
            slot,
            shared: Arc::clone(shared),
            node,
            meta,
            hard: meta.hard,
            unpersisted: None,
            term_unpersisted: None,
            delivered: meta.mark.index,
            members,
            reported: (Role::Follower, meta.hard.term, 0),
            events: Vec::new(),
            reads: Reads::default(),
            sites: Arc::new([]),
            snapshots: Snapshots::default(),
            entry_bytes_max: log.config().group_bytes_max(),
            entries_max: log.config().group_entries_max(),
            ticks: 0,
            elections: 0,
            broken: false,
            dirty: false,
        };
        group.set_timeout();
        if group.members.is_sole_voter(shared.node) {
            // No other voter could object, so there is no reason to wait for an election timeout.
            group.campaign();
        }
        Ok(group)
    }

    // ---- what it is ----

    pub(crate) fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader && !self.broken
    }

    fn role(&self) -> Role {
        match self.node.raft.state {
            _ if self.broken => Role::Follower,
            StateRole::Leader => Role::Leader,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower => Role::Follower,
        }
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        NodeId::new(self.node.raft.leader_id).filter(|_| !self.broken)
    }

    pub(crate) fn term(&self) -> u64 {
        self.node.raft.term
    }

    pub(crate) fn status(&self) -> Status {
        let raft = &self.node.raft;
        let peer = |(id, progress): (&u64, &raft::Progress)| {
            let state = match progress.state {
                ProgressState::Probe => PeerState::Probe,
                ProgressState::Replicate => PeerState::Replicate,
                ProgressState::Snapshot => PeerState::Snapshot,
            };
            let (matched, active) = (progress.matched, progress.recent_active);
            NodeId::new(*id).map(|node| PeerStatus { node, matched, state, active })
        };
        let others = raft.prs().iter().filter(|(id, _)| **id != raft.id && self.is_leader());
        let mut peers: Vec<PeerStatus> = others.filter_map(peer).collect();
        peers.sort_by_key(|peer| peer.node);
        Status {
            role: self.role(),
            term: raft.term,
            leader: self.leader(),
            commit: raft.raft_log.committed,
            applied: self.delivered,
            first: self.node.store().start().index + 1,
            last: raft.raft_log.last_index(),
            members: self.members.clone(),
            peers,
        }
    }

    /// Entries proposed and not yet known to be committed.
    pub(crate) fn uncommitted_entries(&self) -> u64 {
        let log = &self.node.raft.raft_log;
        log.last_index() - log.committed
    }

    /// The lead is on its way to another node: nothing is proposed meanwhile.
    pub(crate) fn hands_over(&self) -> bool {
        self.node.raft.lead_transferee.is_some()
    }

    fn all_durable(&self) -> bool {
        let log = &self.node.raft.raft_log;
        log.persisted == log.last_index() && self.snapshots.installing.is_none()
    }

    // ---- what the caller asks for ----

    /// `None` if too much is uncommitted, or the lead is being handed over.
    pub(crate) fn propose(&mut self, data: Vec<u8>) -> Option<ProposalId> {
        self.node.propose(Vec::new(), data).ok()?;
        let raft = &self.node.raft;
        Some(ProposalId { term: raft.term, index: raft.raft_log.last_index() })
    }

    pub(crate) fn change_members(
        &mut self,
        changes: &[Change],
    ) -> Result<ProposalId, ProposeError> {
        let joint = self.node.raft.prs().conf().to_conf_state().voters_outgoing;
        if self.node.raft.has_pending_conf() || !joint.is_empty() {
            return Err(ProposeError::Busy);
        }
        self.check_changes(changes)?;
        if !self.node.store().tells_members() {
            if self.meta.mark.index == 0 {
                return Err(ProposeError::FlushFirst);
            }
            self.node.mut_store().drop_flushed(2, usize::MAX);
        }
        let bytes = encode_changes(changes);
        self.node.propose_conf_change(bytes, to_raft(changes)).map_err(|_| ProposeError::Busy)?;
        let raft = &self.node.raft;
        Ok(ProposalId { term: raft.term, index: raft.raft_log.last_index() })
    }

    /// Tries the changes on a copy: this node has to stay a voter, and the members have to make sense.
    fn check_changes(&self, changes: &[Change]) -> Result<(), ProposeError> {
        let prs = self.node.raft.prs();
        let wanted = to_raft(changes);
        let mut changer = raft::Changer::new(prs);
        let tried = match wanted.enter_joint() {
            Some(auto_leave) => changer.enter_joint(auto_leave, &wanted.changes),
            None => changer.simple(&wanted.changes),
        };
        let (after, _) = tried.map_err(|_| ProposeError::Members)?;
        let after = Members::from_raft(&after.to_conf_state());
        let kept = after.is_sound() && after.voters().contains(&self.shared.node);
        if kept && !changes.is_empty() { Ok(()) } else { Err(ProposeError::Members) }
    }

    pub(crate) fn transfer_leader(&mut self, to: NodeId) -> Result<(), ProposeError> {
        let voters = self.members.voters();
        if !voters.contains(&to) || to == self.shared.node {
            return Err(ProposeError::Members);
        }
        self.node.transfer_leader(to.get());
        Ok(())
    }

    pub(crate) fn campaign(&mut self) {
        if !self.broken && !self.is_leader() && self.all_durable() {
            self.elections += 1;
            // Refused by nobody but a node that may not lead; there is nothing to be done about that.
            let _ = self.node.campaign();
            self.set_timeout();
        }
    }

    pub(crate) fn set_priority(&mut self, priority: i64) {
        self.node.set_priority(priority);
    }

    pub(crate) fn assign_sites(&mut self, sites: &Arc<[(u64, u64)]>) {
        self.sites = Arc::clone(sites);
        let voters = self.members.voters().iter();
        let site_of = |node: &NodeId| sites.iter().find(|(placed, _)| *placed == node.get());
        let at: BTreeSet<u64> = voters.filter_map(site_of).map(|(_, site)| *site).collect();
        self.node.raft.enable_group_commit(at.len() >= SITES_MIN);
        self.node.raft.clear_commit_group();
        self.node.raft.assign_commit_groups(&self.sites);
    }

    pub(crate) fn read(&mut self, id: ReadId) -> Result<(), ProposeError> {
        let pending = self.node.raft.read_only.pending_read_count();
        if self.broken || self.reads.is_full() || pending >= READS_PENDING_MAX {
            return Err(ProposeError::Busy);
        }
        self.reads.ask(id, self.ticks);
        self.ask_read(id);
        Ok(())
    }

    fn ask_read(&mut self, id: ReadId) {
        let context = context(self.shared.node.get(), self.shared.incarnation, id);
        if seeded::is("read-without-quorum") {
            self.reads.answer(&context, self.node.raft.raft_log.committed);
            return;
        }
        self.node.read_index(context);
    }

    pub(crate) fn report_unreachable(&mut self, peer: NodeId) {
        if !self.broken {
            self.node.report_unreachable(peer.get());
        }
    }

    /// A timeout that depends on nothing but what the caller gave: the crate draws its own at random.
    fn set_timeout(&mut self) {
        let Shared { node, seed, .. } = *self.shared;
        let parts = [node.get(), u64::from(self.partition.0), self.node.raft.term, self.elections];
        let drawn = parts.iter().fold(seed, |drawn, part| mix(drawn ^ mix(*part)));
        let range = u64::try_from(ELECTION_TICKS_MAX - ELECTION_TICKS).expect("small");
        let extra = usize::try_from(drawn % range).expect("small");
        self.node.raft.set_randomized_election_timeout(ELECTION_TICKS + extra);
    }

    // ---- time and messages ----

    /// True if there may be something ready.
    pub(crate) fn tick(&mut self) -> bool {
        let sole = self.node.raft.prs().is_singleton();
        if self.broken || self.snapshots.installing.is_some() {
            return false;
        }
        self.ticks += 1;
        if sole && !self.is_leader() && !self.all_durable() {
            return false; // it would win at once, with a log that is not durable
        }
        let led = self.is_leader();
        let mut ready = self.node.tick();
        if ready && !led {
            self.elections += 1;
        }
        self.set_timeout();
        ready |= self.is_leader() && self.tick_leader();
        ready |= self.tick_reads();
        ready |= self.try_install();
        ready || self.node.has_ready()
    }

    fn tick_leader(&mut self) -> bool {
        let raft = &self.node.raft;
        // The crate leaves a joint state by itself, unless the leader that entered it has gone.
        let stays_joint = *raft.prs().conf().auto_leave() && !raft.has_pending_conf();
        if stays_joint {
            let _ = self.node.propose_conf_change(Vec::new(), to_raft(&[]));
        }
        let waits = |(id, progress): (&u64, &raft::Progress)| {
            (progress.state == ProgressState::Snapshot).then_some(*id)
        };
        let waiting: Vec<u64> = self.node.raft.prs().iter().filter_map(waits).collect();
        self.snapshots.waiting.retain(|id, _| waiting.contains(id));
        for id in waiting {
            let since = *self.snapshots.waiting.entry(id).or_insert(self.ticks);
            if self.ticks - since >= SNAPSHOT_AGAIN_TICKS {
                self.snapshots.waiting.remove(&id);
                self.node.report_snapshot(id, SnapshotStatus::Failure);
            }
        }
        stays_joint
    }

    fn tick_reads(&mut self) -> bool {
        let (again, old) = self.reads.tick(self.ticks);
        let said = !again.is_empty() || !old.is_empty();
        for id in again {
            self.ask_read(id);
        }
        let partition = self.partition;
        self.events.extend(old.into_iter().map(|id| Event::ReadFailed { partition, id }));
        said
    }

    /// A message of a peer, whose sender is known to be right.
    pub(crate) fn step(&mut self, message: Message) -> Result<(), Refused> {
        if self.broken {
            return Err(Refused::Broken);
        }
        let known = Known {
            entry_bytes_max: self.entry_bytes_max,
            installing: self.snapshots.installing.is_some(),
            incarnation: self.shared.incarnation,
        };
        check(&self.node.raft, &known, &message)?;
        if message.get_msg_type() == MessageType::MsgSnapshot && self.needs(&message) {
            return self.offered(message);
        }
        self.step_checked(message)
    }

    fn step_checked(&mut self, message: Message) -> Result<(), Refused> {
        let stepped = catch_unwind(AssertUnwindSafe(|| self.node.step(message)));
        let Ok(result) = stepped else {
            self.break_down();
            return Err(Refused::Broken);
        };
        self.set_timeout();
        result.map_err(|_| Refused::NotMember)
    }

    /// What the crate holds now cannot be known: it takes part in nothing from now on.
    fn break_down(&mut self) {
        self.broken = true;
        let partition = self.partition;
        let reads = self.reads.take_all();
        self.events.extend(reads.into_iter().map(|id| Event::ReadFailed { partition, id }));
        self.events.push(Event::Broken { partition });
    }

    // ---- states instead of entries ----

    /// Whether a state offered is ahead of all that is here.
    fn needs(&self, message: &Message) -> bool {
        let log = &self.node.raft.raft_log;
        let metadata = message.get_snapshot().get_metadata();
        message.term >= self.node.raft.term
            && metadata.index > log.committed
            && !log.match_term(metadata.index, metadata.term)
    }

    /// Keeps the offer until the state is here: the crate would answer for it at once.
    fn offered(&mut self, message: Message) -> Result<(), Refused> {
        if self.snapshots.installing.is_some() {
            return Err(Refused::TooEarly);
        }
        if message.term > self.node.raft.term {
            // The leader is known from it all the same.
            self.step_checked(heartbeat_like(&message))?;
        }
        if self.snapshots.offered.is_none() {
            let info = self.info(&message)?;
            self.events.push(Event::SnapshotOffered(info));
            self.snapshots.offered = Some((message, false));
        }
        Ok(())
    }

    fn info(&self, message: &Message) -> Result<SnapshotInfo, Refused> {
        let metadata = message.get_snapshot().get_metadata();
        Ok(SnapshotInfo {
            partition: self.partition,
            from: NodeId::new(message.from).ok_or(Refused::WrongNode)?,
            index: metadata.index,
            term: metadata.term,
            members: Members::from_raft(metadata.get_conf_state()),
        })
    }

    pub(crate) fn snapshot_fetched(&mut self, index: u64) {
        match &mut self.snapshots.offered {
            Some((message, fetched)) if message.get_snapshot().get_metadata().index == index => {
                *fetched = true;
            }
            _ => {
                let partition = self.partition;
                self.events.push(Event::SnapshotDropped { partition, index });
            }
        }
        self.try_install();
    }

    pub(crate) fn snapshot_failed(&mut self, index: u64) {
        let offered = &self.snapshots.offered;
        let is =
            |(message, _): &(Message, bool)| message.get_snapshot().get_metadata().index == index;
        if offered.as_ref().is_some_and(is) {
            self.snapshots.offered = None;
        }
    }

    /// Gives the crate the state that has been fetched, in the name of whoever leads now: what was committed
    /// is so under each later leader too.
    fn try_install(&mut self) -> bool {
        let leader = self.node.raft.leader_id;
        let fetched = self.snapshots.offered.as_ref().is_some_and(|(_, fetched)| *fetched);
        if !fetched || self.is_leader() || leader == raft::INVALID_ID {
            return false;
        }
        let Some((mut message, _)) = self.snapshots.offered.take() else { return false };
        message.from = leader;
        message.term = self.node.raft.term;
        let index = message.get_snapshot().get_metadata().index;
        let needed = self.needs(&message) && self.step_checked(message).is_ok();
        if !needed || self.node.snap().is_none() {
            let partition = self.partition;
            self.events.push(Event::SnapshotDropped { partition, index });
        }
        true
    }

    pub(crate) fn offer_snapshot(
        &mut self,
        index: u64,
        members: Members,
    ) -> Result<(), ProposeError> {
        let known = index <= self.delivered && !members.is_empty() && members.is_sound();
        let term = self.node.store().term_of(index).filter(|_| known && index > 0);
        let Some(term) = term else { return Err(ProposeError::Checkpoint) };
        let at = Position { index, term };
        self.node.mut_store().set_checkpoint(Some(Checkpoint { at, members }));
        self.snapshots.wanted.clear();
        Ok(())
    }

    pub(crate) fn withdraw_snapshot(&mut self) {
        self.node.mut_store().set_checkpoint(None);
    }

    fn report_wanted(&mut self, out: &mut Vec<Event>) {
        for id in self.node.store().take_wanted() {
            let before = self.snapshots.wanted.get(&id);
            if before.is_some_and(|tick| self.ticks - tick < SNAPSHOT_AGAIN_TICKS) {
                continue;
            }
            self.snapshots.wanted.insert(id, self.ticks);
            if let Some(to) = NodeId::new(id) {
                out.push(Event::SnapshotWanted { partition: self.partition, to });
            }
        }
    }

    // ---- what is ready ----

    /// The write that holds ready `number` is durable.
    pub(crate) fn persisted(&mut self, number: u64) {
        if self.broken {
            return;
        }
        assert!(self.unpersisted >= Some(number), "only what waits is persisted");
        if self.unpersisted == Some(number) {
            self.unpersisted = None;
        }
        if self.term_unpersisted.is_some_and(|waits| waits <= number) {
            self.term_unpersisted = None;
        }
        self.node.on_persist_ready(number);
        if let Some((_, info)) = self.snapshots.installing.take_if(|(waits, _)| *waits <= number) {
            self.installed(info);
        }
    }

    /// The log begins behind the state now, durably.
    fn installed(&mut self, info: SnapshotInfo) {
        assert!(info.index > self.delivered, "a state that is put in is newer than the one here");
        self.delivered = info.index;
        self.node.advance_apply_to(info.index);
        self.members = info.members.clone();
        let sites = Arc::clone(&self.sites);
        self.assign_sites(&sites);
        self.events.push(Event::SnapshotInstall(info));
    }

    /// Takes what Raft has ready: frames into the log, events and messages out.
    /// True if there may be more.
    pub(crate) fn pump(
        &mut self,
        log: &mut ShardLog<Attached>,
        events: &mut Vec<Event>,
        messages: &mut Vec<PeerMessage>,
    ) -> bool {
        events.append(&mut self.events);
        if self.broken {
            return false;
        }
        if seeded::is("commit-without-quorum") && self.is_leader() {
            let log = &mut self.node.raft.raft_log;
            log.commit_to(log.persisted);
        }
        let mut more = true;
        for _ in 0..READIES_MAX {
            if !self.node.has_ready() {
                more = false;
                break;
            }
            self.take_ready(log, events, messages);
        }
        self.report_reads(events);
        self.report_wanted(events);
        more
    }

    fn take_ready(
        &mut self,
        log: &mut ShardLog<Attached>,
        events: &mut Vec<Event>,
        messages: &mut Vec<PeerMessage>,
    ) {
        let mut ready = self.node.ready();
        self.report_leadership(events);
        if let Some(hard) = ready.hs() {
            self.hard = HardState { term: hard.term, vote: hard.vote, commit: hard.commit };
        }
        let must_write = ready.must_sync();
        let entries = ready.take_entries();
        assert!(must_write || entries.is_empty(), "entries are always written");
        let durable = (self.meta.hard.term, self.meta.hard.vote);
        if durable != (self.hard.term, self.hard.vote) && !seeded::is("ack-before-write") {
            self.term_unpersisted = Some(ready.number());
        }
        if !ready.snapshot().is_empty() {
            self.write_snapshot(log, ready.number(), ready.snapshot().get_metadata());
        }
        if must_write {
            self.write(log, ready.number(), entries);
        }
        let to_send = |message| PeerMessage::new(self.partition, message);
        let mut now: Vec<_> = ready.take_messages().into_iter().filter_map(to_send).collect();
        // A leader of several may have voted for itself just now; that must not be forgotten.
        if self.term_unpersisted.is_none() || !hold_messages(log, &mut now) {
            messages.append(&mut now);
        }
        let held = ready.take_persisted_messages();
        let mut held: Vec<_> = held.into_iter().filter_map(to_send).collect();
        let early = self.unpersisted.is_none() || seeded::is("follower-acks-early");
        if !held.is_empty() && (early || !hold_messages(log, &mut held)) {
            messages.append(&mut held);
        }
        for read in ready.take_read_states() {
            self.reads.answer(&read.request_ctx, read.index);
        }
        let newly_committed = ready.take_committed_entries();
        let number = ready.number();
        self.node.advance_append_async(ready);
        if self.unpersisted.is_none() {
            // Nothing of it had to be written: a commit index may be lost without harm.
            self.node.on_persist_ready(number);
        }
        self.deliver(newly_committed, events);
    }

    fn report_leadership(&mut self, events: &mut Vec<Event>) {
        let now = (self.role(), self.node.raft.term, self.node.raft.leader_id);
        if now != self.reported {
            self.reported = now;
            let (role, term, leader) = now;
            let leader = NodeId::new(leader);
            let partition = self.partition;
            events.push(Event::Leadership { partition, term, role, leader });
        }
    }

    fn report_reads(&mut self, events: &mut Vec<Event>) {
        let partition = self.partition;
        let ready = self.reads.take_ready(self.delivered);
        events.extend(ready.into_iter().map(|id| Event::ReadReady { partition, id }));
    }

    fn write_snapshot(
        &mut self,
        log: &mut ShardLog<Attached>,
        number: u64,
        metadata: &raft::eraftpb::SnapshotMetadata,
    ) {
        let at = Position { index: metadata.index, term: metadata.term };
        let from = NodeId::new(self.node.raft.leader_id).unwrap_or(self.shared.node);
        let members = Members::from_raft(metadata.get_conf_state());
        let (partition, index, term) = (self.partition, at.index, at.term);
        let info = SnapshotInfo { partition, from, index, term, members };
        self.snapshots.installing = Some((number, info));
        self.node.mut_store().install(at);
        (self.meta.mark, self.meta.last) = (at, at);
        // The term first, as with entries; the commit index follows with the next frame.
        self.meta.hard = HardState { commit: self.meta.hard.commit, ..self.hard };
        let gather = log.gather();
        gather.push(self.partition, &novax_log::Frame::HardState(self.meta.hard));
        gather.push(self.partition, &novax_log::Frame::Installed(at));
        gather.note(self.slot, self.meta, 0);
    }

    /// A ready may hold more than one batch takes: its entries go in portions, each with as much of the commit index as
    /// it has entries for, so that what is on disk makes sense after any of them.
    fn write(&mut self, log: &mut ShardLog<Attached>, number: u64, entries: Vec<Entry>) {
        let mut rest = entries.as_slice();
        loop {
            let (portion, later) = rest.split_at(self.portion(rest));
            self.write_portion(log, portion);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let attached = log.newest_attached().expect("a portion was gathered just now");
        if !seeded::is("ack-before-write") {
            attached.readies.push((self.slot, number));
            self.unpersisted = Some(number);
        }
        self.node.mut_store().append(entries);
    }

    /// How many of the entries one batch takes: at least one, unless there is none.
    fn portion(&self, entries: &[Entry]) -> usize {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += carried(entry).1.len();
            bytes <= self.entry_bytes_max
        };
        let count = entries.iter().take(self.entries_max).take_while(fits).count();
        count.max(1).min(entries.len())
    }

    fn write_portion(&mut self, log: &mut ShardLog<Attached>, entries: &[Entry]) {
        let last = entries.last().map_or(self.meta.last.index, |entry| entry.index);
        let hard = HardState { commit: self.hard.commit.min(last), ..self.hard };
        let gather = log.gather();
        if self.meta.hard != hard {
            self.meta.hard = hard;
            let vote = if seeded::is("vote-not-persisted") { 0 } else { hard.vote };
            gather.push(self.partition, &novax_log::Frame::HardState(HardState { vote, ..hard }));
        }
        for entry in entries {
            gather.push(self.partition, &frame(entry));
            self.meta.last = Position { index: entry.index, term: entry.term };
        }
        let entry_index_max = entries.last().map_or(0, |entry| entry.index);
        gather.note(self.slot, self.meta, entry_index_max);
    }

    fn deliver(&mut self, entries: Vec<Entry>, events: &mut Vec<Event>) {
        for entry in entries {
            assert_eq!(entry.index, self.delivered + 1, "each index is delivered once, in order");
            let (kind, bytes) = carried(&entry);
            let members = match kind {
                EntryKind::Command => None,
                EntryKind::Change => self.change(bytes).map(Box::new),
            };
            self.delivered = entry.index;
            let data = if kind == EntryKind::Command { entry.data } else { Bytes::new() };
            let (partition, index, term) = (self.partition, entry.index, entry.term);
            events.push(Event::Committed(Committed { partition, index, term, data, members }));
            if kind == EntryKind::Change {
                self.node.advance_apply_to(self.delivered);
            }
        }
        if self.delivered > self.node.raft.raft_log.applied {
            self.node.advance_apply_to(self.delivered);
        }
    }

    /// Makes a change of members. One that makes no sense is refused on all replicas alike, and changes nothing.
    fn change(&mut self, bytes: &Bytes) -> Option<Members> {
        let changes = decode_changes(bytes).expect("checked when it was read");
        let conf = self.node.apply_conf_change(&to_raft(&changes)).ok()?;
        self.members = Members::from_raft(&conf);
        if self.node.raft.state == StateRole::Leader && !self.node.raft.promotable() {
            // The crate would go on leading a group it is no member of, and fail at its next own write.
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, raft::INVALID_ID);
        }
        let sites = Arc::clone(&self.sites);
        if !sites.is_empty() {
            self.assign_sites(&sites);
        }
        self.set_timeout();
        Some(self.members.clone())
    }

    /// The engine holds everything up to `index`: says so in the log, and drops here what no peer may need.
    pub(crate) fn set_flushed(&mut self, log: &mut ShardLog<Attached>, index: u64) {
        if index <= self.meta.mark.index || self.broken {
            return;
        }
        assert!(index <= self.delivered, "only what was delivered can have been flushed");
        let term = self.node.store().term_of(index).expect("what is not flushed is here");
        self.meta.mark = Position { index, term };
        let keep_from = self.keep_from();
        let store = self.node.mut_store();
        store.set_flushed(index);
        let factor = if store.has_checkpoint() { RETAIN_FACTOR } else { 1 };
        store.drop_flushed(keep_from, self.shared.retain_bytes_max.saturating_mul(factor));
        let gather = log.gather();
        gather.push(self.partition, &novax_log::Frame::Mark(self.meta.mark));
        gather.note(self.slot, self.meta, 0);
    }

    /// The first entry that a peer may still ask for. A follower does not know what the others have.
    fn keep_from(&self) -> u64 {
        let raft = &self.node.raft;
        let others = raft.prs().iter().filter(|(id, _)| **id != raft.id);
        match others.map(|(_, progress)| progress.matched).min() {
            None => u64::MAX,
            Some(matched) if self.is_leader() => matched + 1,
            Some(_) => 0,
        }
    }
}

/// What a leader of a new term says in any of its messages: that it is there.
fn heartbeat_like(message: &Message) -> Message {
    let mut heartbeat =
        Message { from: message.from, to: message.to, term: message.term, ..Message::default() };
    heartbeat.set_msg_type(MessageType::MsgHeartbeat);
    heartbeat
}

/// Holds messages back until all that was gathered so far is durable. False if it is already.
fn hold_messages(log: &mut ShardLog<Attached>, messages: &mut Vec<PeerMessage>) -> bool {
    let Some(attached) = log.newest_attached() else { return false };
    attached.messages.append(messages);
    true
}

const _: () = assert!(HEARTBEAT_TICKS < ELECTION_TICKS && ELECTION_TICKS < ELECTION_TICKS_MAX);
