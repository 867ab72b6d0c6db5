//! Who does not hear whom: shapes of broken networks.
//!
//! Pure. A grudge is directed: one may be deaf to another that still hears it.

use novax_model::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Of each node: whom it does not hear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grudge(BTreeMap<NodeId, BTreeSet<NodeId>>);

impl Grudge {
    /// Whom a node does not hear.
    #[must_use]
    pub fn deaf_to(&self, node: NodeId) -> BTreeSet<NodeId> {
        self.0.get(&node).cloned().unwrap_or_default()
    }

    /// Whether two nodes can talk, both ways.
    #[must_use]
    pub fn connects(&self, one: NodeId, other: NodeId) -> bool {
        !self.deaf_to(one).contains(&other) && !self.deaf_to(other).contains(&one)
    }

    /// Whether nobody is deaf.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// In words, for the history: `1 deaf to 2 3; 2 deaf to 1`.
    #[must_use]
    pub fn words(&self) -> String {
        let one = |(node, deaf): (&NodeId, &BTreeSet<NodeId>)| {
            let list: Vec<String> = deaf.iter().map(|node| node.get().to_string()).collect();
            format!("{} deaf to {}", node.get(), list.join(" "))
        };
        let deaf = self.0.iter().filter(|(_, deaf)| !deaf.is_empty());
        deaf.map(one).collect::<Vec<_>>().join("; ")
    }

    fn deafen(&mut self, node: NodeId, to: NodeId) {
        if node != to {
            self.0.entry(node).or_default().insert(to);
        }
    }
}

/// Groups that hear only themselves. Who is in no group is alone.
#[must_use]
pub fn groups(nodes: &[NodeId], groups: &[&[NodeId]]) -> Grudge {
    let group = |node| groups.iter().position(|group| group.contains(node));
    let mut grudge = Grudge::default();
    for one in nodes {
        for other in nodes {
            let (mine, theirs) = (group(one), group(other));
            if mine.is_none() || mine != theirs {
                grudge.deafen(*one, *other);
            }
        }
    }
    grudge
}

/// One node alone.
#[must_use]
pub fn isolate(nodes: &[NodeId], alone: NodeId) -> Grudge {
    let rest: Vec<NodeId> = nodes.iter().copied().filter(|node| *node != alone).collect();
    groups(nodes, &[&[alone], &rest])
}

/// Two groups, the first the smaller one: of the nodes in the order given.
#[must_use]
pub fn halves(nodes: &[NodeId]) -> Grudge {
    let (minority, majority) = nodes.split_at(nodes.len() / 2);
    groups(nodes, &[minority, majority])
}

/// Two groups that do not hear each other, and one node in the middle that all hear.
#[must_use]
pub fn bridge(nodes: &[NodeId]) -> Grudge {
    let (left, rest) = nodes.split_at(nodes.len().saturating_sub(1) / 2);
    let mut grudge = Grudge::default();
    for one in left {
        for other in rest.iter().skip(1) {
            grudge.deafen(*one, *other);
            grudge.deafen(*other, *one);
        }
    }
    grudge
}

/// Each node hears a majority, and no two hear the same one. Of fewer than four nodes there is no such
/// thing; then each is deaf to its successor alone.
#[must_use]
pub fn majorities_ring(nodes: &[NodeId]) -> Grudge {
    let count = nodes.len();
    let mut grudge = Grudge::default();
    if count < 2 {
        return grudge;
    }
    if count < 4 {
        for (place, node) in nodes.iter().enumerate() {
            grudge.deafen(*node, nodes[(place + 1) % count]);
        }
        return grudge;
    }
    // In a ring each hears itself and its nearest on both sides, as many as make a majority.
    let each_side = (count / 2).div_ceil(2);
    for (place, node) in nodes.iter().enumerate() {
        for (other, to) in nodes.iter().enumerate() {
            let apart = place.abs_diff(other).min(count - place.abs_diff(other));
            if apart > each_side {
                grudge.deafen(*node, *to);
            }
        }
    }
    grudge
}

/// One node does not hear another that hears it.
#[must_use]
pub fn one_way(deaf: NodeId, to: NodeId) -> Grudge {
    let mut grudge = Grudge::default();
    grudge.deafen(deaf, to);
    grudge
}

/// One node is deaf to all that hear it.
#[must_use]
pub fn deaf(nodes: &[NodeId], deaf: NodeId) -> Grudge {
    let mut grudge = Grudge::default();
    for node in nodes {
        grudge.deafen(deaf, *node);
    }
    grudge
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u64) -> Vec<NodeId> {
        (1..=count).filter_map(NodeId::new).collect()
    }

    /// Whom a node can talk with, itself too.
    fn view(grudge: &Grudge, nodes: &[NodeId], of: NodeId) -> BTreeSet<NodeId> {
        nodes.iter().copied().filter(|node| *node == of || grudge.connects(of, *node)).collect()
    }

    #[test]
    fn halves_and_isolation_leave_a_majority_and_nobody_in_both() {
        for count in 2..8 {
            let nodes = nodes(count);
            // Half of an even number is no majority: then nobody may go on.
            let majority = nodes.len() / 2 + 1;
            let shapes = [
                (halves(&nodes), nodes.len() % 2 == 1),
                (isolate(&nodes, nodes[0]), nodes.len() > 2),
            ];
            for (grudge, goes_on) in shapes {
                let views: BTreeSet<_> =
                    nodes.iter().map(|node| view(&grudge, &nodes, *node)).collect();
                assert_eq!(views.len(), 2, "{count}: {}", grudge.words());
                assert_eq!(views.iter().map(BTreeSet::len).sum::<usize>(), nodes.len());
                let most = views.iter().map(BTreeSet::len).max().unwrap_or(0);
                assert_eq!(most >= majority, goes_on, "{count}: {}", grudge.words());
            }
        }
    }

    #[test]
    fn across_a_bridge_one_node_hears_all_and_the_sides_do_not_hear_each_other() {
        for count in 3..8 {
            let nodes = nodes(count);
            let grudge = bridge(&nodes);
            let all =
                nodes.iter().filter(|node| view(&grudge, &nodes, **node).len() == nodes.len());
            assert_eq!(all.count(), 1, "{count}: {}", grudge.words());
            assert!(!grudge.connects(nodes[0], nodes[nodes.len() - 1]));
        }
    }

    #[test]
    fn in_a_ring_each_hears_a_majority_of_its_own() {
        for count in 4..10 {
            let nodes = nodes(count);
            let grudge = majorities_ring(&nodes);
            let views: BTreeSet<_> =
                nodes.iter().map(|node| view(&grudge, &nodes, *node)).collect();
            assert!(
                views.iter().all(|view| view.len() > nodes.len() / 2),
                "{count}: {}",
                grudge.words()
            );
            assert_eq!(views.len(), nodes.len(), "{count}: {}", grudge.words());
        }
        let three = nodes(3);
        let grudge = majorities_ring(&three);
        assert!(three.iter().all(|node| grudge.deaf_to(*node).len() == 1), "{}", grudge.words());
        assert!(majorities_ring(&nodes(1)).is_empty());
    }

    #[test]
    fn one_way_is_one_way() {
        let nodes = nodes(3);
        let grudge = one_way(nodes[0], nodes[1]);
        assert_eq!(grudge.words(), "1 deaf to 2");
        assert!(!grudge.connects(nodes[0], nodes[1]));
        assert!(grudge.deaf_to(nodes[1]).is_empty());
        assert_eq!(deaf(&nodes, nodes[2]).words(), "3 deaf to 1 2");
        assert!(Grudge::default().is_empty() && Grudge::default().words().is_empty());
    }
}
