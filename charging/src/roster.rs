//! The nodes of the cluster as partition 0 keeps them: what is wanted, not what is.
//!
//! **Invariant:** a number is one node's for ever. Numbers only grow, and one up to [`Roster::last`] that is
//! in no row was taken out.

use novax_model::{NodeId, PartitionId};
use rkyv::{Archive, Deserialize, Serialize};

/// The partition that has the roster.
pub const ROSTER_PARTITION: PartitionId = PartitionId(0);
/// Nodes that have joined, at most: each has a replica of every partition.
pub const NODES_MAX: usize = 16;
/// Nodes that were invited and have not come, at most: beyond that the oldest invitation is void.
pub const INVITED_MAX: usize = 16;
/// Votes of a partition at most: more make it slower and no safer.
pub const VOTERS_MAX: usize = 7;
/// A node of the cluster.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct NodeRow {
    /// Its number.
    pub node: NodeId,
    /// Where the others call it, `host:port`; nothing as long as it is only invited.
    pub address: Box<str>,
    /// Where it stands, in the operator's word; may be nothing.
    pub site: Box<str>,
}

impl NodeRow {
    /// Whether it has said where it is.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        !self.address.is_empty()
    }
}

/// Where the votes of a partition should be.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Which partition.
    pub partition: PartitionId,
    /// Ascending.
    pub voters: Vec<NodeId>,
}

/// All nodes. See the file's head.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Roster {
    /// The entry that changed it last.
    pub version: u64,
    /// The largest number that was ever given to a node.
    pub last: u64,
    /// By number.
    pub nodes: Vec<NodeRow>,
    /// By partition. Where there is none, votes stay where they are.
    pub placements: Vec<Placement>,
}

impl Roster {
    /// A node that is in the cluster or invited.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeRow> {
        let at = self.nodes.binary_search_by_key(&node, |row| row.node).ok()?;
        self.nodes.get(at)
    }

    /// Whether the node is one, and not only invited.
    #[must_use]
    pub fn has_joined(&self, node: NodeId) -> bool {
        self.node(node).is_some_and(NodeRow::has_joined)
    }

    /// Whether the node was one and was taken out.
    #[must_use]
    pub fn is_removed(&self, node: NodeId) -> bool {
        node.get() <= self.last && self.node(node).is_none()
    }

    /// Where the votes of a partition should be, if that was ever said.
    #[must_use]
    pub fn placement(&self, partition: PartitionId) -> Option<&[NodeId]> {
        let at = self.placements.binary_search_by_key(&partition, |row| row.partition).ok()?;
        self.placements.get(at).map(|row| row.voters.as_slice())
    }
}
