//! What a shard's groups tell the caller, and what the caller may ask about them.

use crate::members::Members;
use bytes::Bytes;
use novax_model::{NodeId, PartitionId};

/// A committed entry. Each index of a partition comes once, in order, from the applied index + 1 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: PartitionId,
    /// Its place in the partition's log.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// What was proposed; empty for the entry by which a leader takes office, and for a change of members.
    pub data: Bytes,
    /// Who the members are from this entry on, if it changed them. To be kept in the same atomic write as the applied
    /// index, and given back at the next start.
    pub members: Option<Box<Members>>,
}

/// Where a proposal stands in the log. It was committed if an entry of this index and term is; if another term's entry
/// comes at the index, it never will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId {
    /// The term in which it was proposed.
    pub term: u64,
    /// Its index if it is committed.
    pub index: u64,
}

/// A linearizable read that was asked for. Numbers are not used again while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// What a replica is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It follows a leader, or waits for one.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads. What it takes office with is an entry of its own term; until that is committed it may not know of all
    /// that was committed before.
    Leader,
}

/// A state another node offers, because the entries that are missing here are gone there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The partition.
    pub partition: PartitionId,
    /// Which node has it.
    pub from: NodeId,
    /// It is the state after this entry,
    pub index: u64,
    /// which was proposed in this term.
    pub term: u64,
    /// The members as of that entry.
    pub members: Members,
}

/// What happened. Events of one partition are in the order in which they have to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An entry is committed.
    Committed(Committed),
    /// The role, the term or the leader changed. Entries that come later were committed later.
    Leadership {
        /// The partition.
        partition: PartitionId,
        /// The term from now on.
        term: u64,
        /// What this replica is.
        role: Role,
        /// Who leads, as far as is known.
        leader: Option<NodeId>,
    },
    /// Whatever was committed when the read was asked for has been delivered before this: the state may be read.
    ReadReady {
        /// The partition.
        partition: PartitionId,
        /// Which read.
        id: ReadId,
    },
    /// No leader answered in time. The read may be asked for again.
    ReadFailed {
        /// The partition.
        partition: PartitionId,
        /// Which read.
        id: ReadId,
    },
    /// A peer needs a state, since entries it misses are gone. Make a checkpoint and name it by
    /// [`offer_snapshot`](crate::MultiRaft::offer_snapshot). Said again while it is needed and there is none.
    SnapshotWanted {
        /// The partition.
        partition: PartitionId,
        /// The peer.
        to: NodeId,
    },
    /// This node needs that state. Fetch it, make it durable beside the present one, and say so by
    /// [`snapshot_fetched`](crate::MultiRaft::snapshot_fetched), or
    /// [`snapshot_failed`](crate::MultiRaft::snapshot_failed).
    SnapshotOffered(SnapshotInfo),
    /// The log now begins behind the state that was fetched: put it in the place of the present one. Entries that come
    /// later follow it. If the process dies before that is done, do it at the next start: the log's mark is then above
    /// the state's.
    SnapshotInstall(SnapshotInfo),
    /// The state that was fetched is not needed any more: remove it.
    SnapshotDropped {
        /// The partition.
        partition: PartitionId,
        /// As of which entry it was.
        index: u64,
    },
    /// A message made the raft crate panic: the group takes part in nothing from now on. Restart the node.
    Broken {
        /// The partition.
        partition: PartitionId,
    },
}

/// How far a peer is, as its leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub node: NodeId,
    /// Entries up to this one are durable there.
    pub matched: u64,
    /// How it is served.
    pub state: PeerState,
    /// Whether it was heard of within an election timeout.
    pub active: bool,
}

/// How a leader serves a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// It is being found out where its log agrees.
    Probe,
    /// Entries flow.
    Replicate,
    /// It waits for a state.
    Snapshot,
}

/// Where a replica of a partition stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub role: Role,
    /// The latest term it knows.
    pub term: u64,
    /// Who leads, as far as is known.
    pub leader: Option<NodeId>,
    /// Entries up to this one are committed, as far as is known.
    pub commit: u64,
    /// Entries up to this one were delivered to the caller.
    pub applied: u64,
    /// The first entry that can still be sent to others.
    pub first: u64,
    /// The last entry.
    pub last: u64,
    /// The members, as of the entries delivered.
    pub members: Members,
    /// The peers, ascending by node. Only a leader knows of them.
    pub peers: Vec<PeerStatus>,
}
