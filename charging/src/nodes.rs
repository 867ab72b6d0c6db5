//! Nodes come and go, and votes of partitions move: commands of partition 0.
//!
//! They say what is wanted. The leader of each partition brings it about, a step at a time, and whoever leads
//! after it goes on.
//!
//! **Invariant:** a placement names nodes that have joined.

use crate::command::{Outcome, PutNode, Refusal};
use crate::roster::{INVITED_MAX, NODES_MAX, NodeRow, Placement, ROSTER_PARTITION, VOTERS_MAX};
use crate::state::State;
use novax_model::{NodeId, PartitionId};

/// Bytes of an address or the name of a site.
const TEXT_BYTES_MAX: usize = 255;

fn bad(words: impl Into<String>) -> Refusal {
    Refusal::BadNode(words.into().into())
}

impl State {
    fn roster_is_here(&self) -> Result<(), Refusal> {
        let here = self.config.partition == ROSTER_PARTITION;
        if here { Ok(()) } else { Err(bad("the nodes are kept by partition 0")) }
    }

    /// Invites a node (no address), or takes one in.
    pub(crate) fn put_node(&mut self, put: PutNode) -> Result<Outcome, Refusal> {
        self.roster_is_here()?;
        let PutNode { node, address, site } = put;
        let is_text =
            |text: &str| text.len() <= TEXT_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        if !is_text(&address) || !is_text(&site) || !(address.is_empty() || address.contains(':')) {
            return Err(bad("an address is host:port, a site is a word"));
        }
        let roster = &self.roster;
        let joined = roster.nodes.iter().filter(|row| row.has_joined()).count();
        if !address.is_empty() && !roster.has_joined(node) && joined >= NODES_MAX {
            return Err(bad(format!("the cluster has {NODES_MAX} nodes, which is the most")));
        }
        match roster.nodes.binary_search_by_key(&node, |row| row.node) {
            Ok(at) => {
                let row = &self.roster.nodes[at];
                if row.has_joined() && row.address == address {
                    return Ok(Outcome::Done);
                }
                if row.has_joined() || address.is_empty() {
                    return Err(bad(format!("number {} is another node's", node.get())));
                }
                self.touch_roster().nodes[at].address = address;
            }
            Err(_) if node.get() <= roster.last => {
                return Err(bad(format!(
                    "number {} was used before, and no number is used twice: invite a new node",
                    node.get()
                )));
            }
            Err(at) => {
                let roster = self.touch_roster();
                roster.last = node.get();
                roster.nodes.insert(at, NodeRow { node, address, site });
                let invited = roster.nodes.iter().filter(|row| !row.has_joined()).count();
                let oldest = roster.nodes.iter().position(|row| !row.has_joined());
                if let Some(oldest) = oldest.filter(|_| invited > INVITED_MAX) {
                    roster.nodes.remove(oldest);
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Takes a node out, for ever.
    pub(crate) fn remove_node(&mut self, node: NodeId) -> Result<Outcome, Refusal> {
        self.roster_is_here()?;
        if self.roster.is_removed(node) {
            return Ok(Outcome::Done);
        }
        let Ok(at) = self.roster.nodes.binary_search_by_key(&node, |row| row.node) else {
            return Err(bad(format!("there is no node {}", node.get())));
        };
        let votes = self.roster.placements.iter().find(|row| row.voters.contains(&node));
        if let Some(Placement { partition, .. }) = votes {
            let number = node.get();
            return Err(bad(format!(
                "node {number} is to vote in partition {}: move that vote first",
                partition.0
            )));
        }
        let joined = self.roster.nodes.iter().filter(|row| row.has_joined()).count();
        if self.roster.has_joined(node) && joined == 1 {
            return Err(bad("it is the last node"));
        }
        self.touch_roster().nodes.remove(at);
        Ok(Outcome::Done)
    }

    /// Says where the votes of a partition should be.
    pub(crate) fn place_replicas(
        &mut self,
        partition: PartitionId,
        voters: Vec<NodeId>,
    ) -> Result<Outcome, Refusal> {
        self.roster_is_here()?;
        if voters.is_empty() || voters.len() > VOTERS_MAX {
            return Err(bad(format!("a partition has from 1 to {VOTERS_MAX} votes")));
        }
        if !voters.is_sorted_by(|one, next| one < next) {
            return Err(bad("votes are named once each, in ascending order"));
        }
        if let Some(stranger) = voters.iter().find(|node| !self.roster.has_joined(**node)) {
            return Err(bad(format!("node {} has not joined the cluster", stranger.get())));
        }
        if self.roster.placement(partition) == Some(&voters) {
            return Ok(Outcome::Done);
        }
        let roster = self.touch_roster();
        match roster.placements.binary_search_by_key(&partition, |row| row.partition) {
            Ok(at) => roster.placements[at].voters = voters,
            Err(at) => roster.placements.insert(at, Placement { partition, voters }),
        }
        Ok(Outcome::Done)
    }
}
