//! What can go wrong, and whose fault it is.

use novax_model::PartitionId;

/// An error of a Raft group or of the log under it. All of them are fatal for the node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log says why it cannot go on.
    #[error(transparent)]
    Log(#[from] novax_log::Error),
    /// The caller named a partition this shard does not run.
    #[error("{0} is not run by this shard")]
    UnknownPartition(PartitionId),
    /// The members given at a start contradict themselves: the caller kept something else than it was given.
    #[error("{0}: the members it is started with are not sound")]
    Members(PartitionId),
    /// An entry of the log that changes members cannot be read: another version wrote it.
    #[error("{partition}: entry {index} is a change of members that cannot be read")]
    Change {
        /// The partition.
        partition: PartitionId,
        /// The entry.
        index: u64,
    },
    /// The raft crate refused to start a group.
    #[error("{partition}: raft: {source}")]
    Raft {
        /// The partition.
        partition: PartitionId,
        /// What the raft crate says.
        source: raft::Error,
    },
}

/// Why a proposal was not taken. None of them is fatal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Another replica leads the partition, or none does yet: send it there, or try again.
    #[error("this node does not lead the partition")]
    NotLeader,
    /// Too much is waiting to become durable, or to be taken, or the lead is being handed over, or another change of
    /// members is under way: try again later.
    #[error("too much is uncommitted in the partition")]
    Busy,
    /// The proposal is larger than any entry may be: split it.
    #[error("a proposal may not be larger than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The caller named a partition this shard does not run.
    #[error("this shard does not run the partition")]
    UnknownPartition,
    /// The caller named a node that is no voter, or changes that make no sense: nobody left to vote, too many members,
    /// the leader itself (hand the lead over first).
    #[error("the members named do not fit the group")]
    Members,
    /// The log still begins with the first entry, and newcomers could not know from it who founded the group: flush the
    /// store once, then try again.
    #[error("the partition has to be flushed once before it can have other members")]
    FlushFirst,
    /// The caller named a checkpoint that is of no use: older than the log's first entry, or not of a delivered one.
    #[error("the checkpoint does not fit the log")]
    Checkpoint,
}

/// Why a message of a peer was refused. It is counted by kind, and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The bytes are no message: the peer's fault, or a newer version of it.
    #[error("the bytes are no message")]
    Malformed,
    /// The message names a partition this shard does not run.
    #[error("this shard does not run the partition")]
    UnknownPartition,
    /// Its sender is not the node that sent it, or it is for another node.
    #[error("the message is not from its sender, or not for this node")]
    WrongNode,
    /// A kind that never travels.
    #[error("messages of this kind do not travel")]
    Kind,
    /// A term of 0, one that falls, or one nobody can have reached.
    #[error("its term is impossible")]
    Term,
    /// An index nobody can have reached, or that this node knows to be wrong.
    #[error("its index is impossible")]
    Index,
    /// Entries that are too large, or too many.
    #[error("its entries are too large")]
    Entries,
    /// Another node leads the term it speaks of, or it speaks as a leader to the leader.
    #[error("its sender does not lead its term")]
    NotFromLeader,
    /// The sender is no member of the group.
    #[error("its sender is no member")]
    NotMember,
    /// It would make this replica do what it cannot do yet: its log is not durable, or a state is being put in.
    #[error("it comes too early")]
    TooEarly,
    /// Members in a snapshot that make no sense.
    #[error("the members in it make no sense")]
    Members,
    /// A read this node does not know, or too many of them.
    #[error("its read is unknown, or one too many")]
    Read,
    /// The group does not run any more.
    #[error("the group is broken")]
    Broken,
}

impl Refused {
    /// Kinds there are.
    pub const KINDS: usize = 13;

    /// All kinds, in the order in which they are counted.
    pub const ALL: [Refused; Refused::KINDS] = [
        Refused::Malformed,
        Refused::UnknownPartition,
        Refused::WrongNode,
        Refused::Kind,
        Refused::Term,
        Refused::Index,
        Refused::Entries,
        Refused::NotFromLeader,
        Refused::NotMember,
        Refused::TooEarly,
        Refused::Members,
        Refused::Read,
        Refused::Broken,
    ];

    /// Its place in [`Refused::ALL`].
    #[must_use]
    pub fn place(self) -> usize {
        Refused::ALL.iter().position(|kind| *kind == self).expect("all are listed")
    }
}
