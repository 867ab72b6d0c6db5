//! The entries of a group that are in memory, as the raft crate reads them.
//!
//! Invariants:
//! * what the raft crate takes for stable is here first;
//! * entries above the flushed one are never dropped; those below are kept for peers that lag, up to a bound;
//! * a checkpoint is only named to a peer that is a member in it, and that finds all entries behind it here.

use crate::members::{Change, Members, encode_changes};
use bytes::Bytes;
use novax_log::{EntryKind, Frame, HardState, Position};
use novax_model::NodeId;
use raft::eraftpb::{self, Entry, EntryType, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::cell::RefCell;
use std::collections::VecDeque;

/// What an entry takes in memory beside its data.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// A state the caller keeps for peers.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    pub(crate) at: Position,
    pub(crate) members: Members,
}

/// The log of a group in memory.
pub(crate) struct GroupLog {
    hard: HardState,
    members: Members,
    /// Entries up to here are gone.
    start: Position,
    /// Entries up to here are flushed to the engine.
    flushed: u64,
    /// Bytes of the entries that are flushed and still here.
    flushed_bytes: usize,
    entries: VecDeque<Entry>,
    checkpoint: Option<Checkpoint>,
    /// Peers that need a checkpoint there is not, since this was last looked at.
    wanted: RefCell<Vec<u64>>,
}

pub(crate) fn entry(at: Position, kind: EntryKind, bytes: Bytes) -> Entry {
    let mut entry = Entry { index: at.index, term: at.term, ..Entry::default() };
    match kind {
        EntryKind::Command => entry.data = bytes,
        EntryKind::Change => {
            // The raft crate only looks at the kind. Our bytes of a change travel in the context.
            entry.set_entry_type(EntryType::EntryConfChangeV2);
            entry.context = bytes;
        }
    }
    entry
}

/// What an entry carries beside its place.
pub(crate) fn carried(entry: &Entry) -> (EntryKind, &Bytes) {
    match entry.get_entry_type() {
        EntryType::EntryNormal => (EntryKind::Command, &entry.data),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            (EntryKind::Change, &entry.context)
        }
    }
}

pub(crate) fn frame(entry: &Entry) -> Frame<'_> {
    let at = Position { index: entry.index, term: entry.term };
    match carried(entry) {
        (EntryKind::Command, data) => Frame::Entry { at, data },
        (EntryKind::Change, data) => Frame::Change { at, data },
    }
}

pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    carried(entry).1.len() + ENTRY_OVERHEAD_BYTES
}

/// The entries by which several nodes found a group: the same on all of them, so that whoever comes later and reads the
/// log from its start knows the members.
pub(crate) fn founding_entries(founders: &[NodeId]) -> VecDeque<Entry> {
    let members = Members::of_voters(founders);
    let one = |(index, node): (u64, &NodeId)| {
        let bytes = encode_changes(&[Change::AddVoter(*node)]);
        entry(Position { index, term: 1 }, EntryKind::Change, bytes.into())
    };
    (1..).zip(members.voters()).map(one).collect()
}

impl GroupLog {
    pub(crate) fn new(
        hard: HardState,
        members: Members,
        start: Position,
        entries: VecDeque<Entry>,
    ) -> GroupLog {
        GroupLog {
            hard,
            members,
            start,
            flushed: start.index,
            flushed_bytes: 0,
            entries,
            checkpoint: None,
            wanted: RefCell::default(),
        }
    }

    pub(crate) fn start(&self) -> Position {
        self.start
    }

    /// Whether a newcomer that reads the log from here on learns who the members are, or is given a state first.
    pub(crate) fn tells_members(&self) -> bool {
        let change = |entry: &Entry| carried(entry).0 == EntryKind::Change;
        self.start.index > 0 || self.entries.front().is_some_and(change)
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.entries.back().map_or(self.start.index, |entry| entry.index)
    }

    /// The term of an entry that is here, or of the one before the first.
    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        self.entries.get(self.position(index)?).map(|entry| entry.term)
    }

    fn position(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.start.index + 1)?).ok()
    }

    /// Appends, replacing from the first index on.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.flushed, "flushed entries are never replaced");
        assert!(first.index <= self.last_index() + 1, "entries leave no gap");
        let keep = self.position(first.index).expect("above the start");
        self.entries.truncate(keep);
        self.entries.extend(entries);
    }

    /// The state as of an entry came from elsewhere: all entries are gone.
    pub(crate) fn install(&mut self, at: Position) {
        assert!(at.index > self.flushed, "a state that is put in is newer than the one here");
        self.entries.clear();
        self.start = at;
        self.flushed = at.index;
        self.flushed_bytes = 0;
        self.checkpoint = None;
    }

    /// Entries up to `index` are flushed.
    pub(crate) fn set_flushed(&mut self, index: u64) {
        assert!(index >= self.flushed && index <= self.last_index(), "what is flushed was here");
        let from = self.position(self.flushed + 1).expect("flushed is not below the start");
        let to = self.position(index + 1).expect("not below it");
        self.flushed_bytes += self.entries.range(from..to).map(entry_bytes).sum::<usize>();
        self.flushed = index;
    }

    /// Drops flushed entries below `keep_from`, and more of them while they take more than `bytes_max`.
    pub(crate) fn drop_flushed(&mut self, keep_from: u64, bytes_max: usize) {
        while let Some(entry) = self.entries.front()
            && entry.index <= self.flushed
            && (entry.index < keep_from || self.flushed_bytes > bytes_max)
        {
            self.flushed_bytes -= entry_bytes(entry);
            self.start = Position { index: entry.index, term: entry.term };
            self.entries.pop_front();
        }
        assert!(self.start.index <= self.flushed, "what is not flushed stays");
        if self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.at.index < self.start.index)
        {
            self.checkpoint = None;
        }
    }

    pub(crate) fn set_checkpoint(&mut self, checkpoint: Option<Checkpoint>) {
        self.checkpoint = checkpoint;
    }

    pub(crate) fn has_checkpoint(&self) -> bool {
        self.checkpoint.is_some()
    }

    pub(crate) fn take_wanted(&self) -> Vec<u64> {
        self.wanted.take()
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
        Ok(RaftState { hard_state, conf_state: self.members.to_raft() })
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
        if index < self.start.index {
            return Err(StorageError::Compacted.into());
        }
        self.term_of(index).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(GroupLog::last_index(self))
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let serves = |checkpoint: &&Checkpoint| {
            checkpoint.at.index >= self.start.index.max(request_index)
                && NodeId::new(to).is_some_and(|node| checkpoint.members.contains(node))
        };
        let Some(checkpoint) = self.checkpoint.as_ref().filter(serves) else {
            let mut wanted = self.wanted.borrow_mut();
            if !wanted.contains(&to) {
                wanted.push(to);
            }
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = checkpoint.at.index;
        metadata.term = checkpoint.at.term;
        metadata.set_conf_state(checkpoint.members.to_raft());
        Ok(snapshot)
    }
}
