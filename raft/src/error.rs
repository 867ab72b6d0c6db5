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
    /// Too much is waiting to become durable, or to be taken: slow down and try again.
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
}

/// A message from another node that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMessage {
    /// The bytes are no message: the sender's build, or the link.
    #[error("the bytes are no message of Raft: {0}")]
    Format(&'static str),
    /// The sender, the receiver or the group is another, or the sender is no replica of it.
    #[error("not for this replica")]
    NotForUs,
    /// No correct replica says so: the sender's fault.
    #[error("no correct replica says this: {0}")]
    Impossible(&'static str),
}
