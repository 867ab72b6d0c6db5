//! How a shard's groups are started, and what hangs on their writes.

use crate::members::Members;
use crate::wire::PeerMessage;
use novax_log::LogConfig;
use novax_model::{NodeId, PartitionId};

/// Bytes of flushed entries kept for peers that lag, for each group, where nothing else is asked for.
const RETAIN_BYTES_DEFAULT: usize = 8 << 20;

/// How a shard's groups run.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    /// The shard's log.
    pub log: LogConfig,
    /// This node. A node that lost its disk is another node: its number never comes back.
    pub node: NodeId,
    /// Times elections: nodes may share it.
    pub seed: u64,
    /// Bytes of flushed entries each group keeps for peers that lag. A peer that lags further gets a state instead.
    pub retain_bytes_max: usize,
}

impl RaftConfig {
    /// As it should be on a server.
    #[must_use]
    pub fn new(log: LogConfig, node: NodeId) -> RaftConfig {
        RaftConfig { log, node, seed: 0, retain_bytes_max: RETAIN_BYTES_DEFAULT }
    }
}

/// How a replica of a partition starts.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// The partition.
    pub partition: PartitionId,
    /// The index up to which the state is durable, or as it is in memory if that is newer.
    pub applied: u64,
    /// The members as of the applied entry, as they came last with
    /// [`Committed::members`](crate::Committed::members) or in a snapshot; may be empty as long as they are
    /// the founders.
    pub members: Members,
    /// Who founded the group: the same on each founder and at each start. Empty on a node that came later.
    pub founders: Vec<NodeId>,
}

impl GroupSpec {
    /// A group of which nothing is known but who founded it.
    #[must_use]
    pub fn new(partition: PartitionId, applied: u64, founders: &[NodeId]) -> GroupSpec {
        let founders = founders.to_vec();
        GroupSpec { partition, applied, members: Members::default(), founders }
    }

    /// A group whose only member is this node, from the beginning or until its members said otherwise.
    #[must_use]
    pub fn alone(node: NodeId, partition: PartitionId, applied: u64) -> GroupSpec {
        GroupSpec::new(partition, applied, &[node])
    }
}

/// What has to be done when a batch of the log is durable.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// Readies of groups that are persisted with it: slot and number.
    pub(crate) readies: Vec<(usize, u64)>,
    /// Messages that may leave then.
    pub(crate) messages: Vec<PeerMessage>,
}
