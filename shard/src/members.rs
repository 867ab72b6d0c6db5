//! The nodes of the cluster as every shard knows them, and what a leader does so that its partition's members
//! become what they should be.
//!
//! Partition 0 keeps the roster ([`novax_charging::roster`]). Its shard tells the others of the node, and the
//! driver. Once a second each leader compares the members of its group with it and takes one step: a node
//! that joined learns; one that was taken out leaves; votes move to where they should be, from one set of
//! voters to the next through a joint state, once the new ones are level. A leader that is to lose its vote
//! hands over first. Where voters stand at three sites or more, an entry is committed when two sites have it.
//!
//! **Invariants**
//! * Each step leaves a majority of voters that are up and level, as far as the leader knows.
//! * Nothing here is remembered: whoever leads next finds the next step from the roster and the members
//!   alone.
//! * A node that is in no roster yet stays: only one that was taken out leaves.

use super::Shard;
use super::mesh::MeshMessage;
use super::waiter::Waiter;
use novax_charging::roster::ROSTER_PARTITION;
use novax_charging::{Command, NodeRow, PutNode, Roster};
use novax_model::{NodeId, PartitionId};
use novax_raft::{Change, Members, PeerState, ProposeError, Role, Status};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Who lacks more entries than this does not get a vote yet.
const LEVEL_ENTRIES: u64 = 256;

/// What a leader does next about the members of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// They are as they should be, or it has to wait.
    Rest,
    Change(Vec<Change>),
    HandOver(NodeId),
}

/// What a leader knows of a group when it looks for the next step.
struct Sight<'a> {
    me: NodeId,
    roster: &'a Roster,
    partition: PartitionId,
    members: &'a Members,
    /// Nodes that are up and have nearly all entries, this one among them.
    level: &'a BTreeSet<NodeId>,
}

impl Sight<'_> {
    fn step(&self) -> Step {
        let (members, roster) = (self.members, self.roster);
        if members.is_joint() || members.is_empty() {
            return Step::Rest;
        }
        let mut joined = roster.nodes.iter().filter(|row| row.has_joined()).map(|row| row.node);
        if let Some(new) = joined.find(|node| !members.contains(*node)) {
            return Step::Change(vec![Change::AddLearner(new)]);
        }
        let gone = |node: &&NodeId| roster.is_removed(**node);
        if let Some(node) = members.learners().iter().find(gone) {
            return Step::Change(vec![Change::Remove(*node)]);
        }
        self.move_votes()
    }

    /// The next step towards the voters that are wanted.
    fn move_votes(&self) -> Step {
        let has: BTreeSet<NodeId> = self.members.voters().iter().copied().collect();
        let placed = self.roster.placement(self.partition).unwrap_or(self.members.voters());
        let stays = |node: &NodeId| !self.roster.is_removed(*node) && self.members.contains(*node);
        let wanted: BTreeSet<NodeId> = placed.iter().copied().filter(stays).collect();
        let add: Vec<NodeId> = wanted.difference(&has).copied().collect();
        let is_level = |node: &NodeId| self.level.contains(node);
        if has == wanted || !add.iter().all(is_level) || !self.has_quorum(&wanted) {
            return Step::Rest;
        }
        if !wanted.contains(&self.me) {
            let heir = has.intersection(&wanted).find(|node| is_level(node));
            return match heir {
                Some(heir) => Step::HandOver(*heir),
                // Nobody who stays could lead: the new ones first get their votes beside the old.
                None if add.is_empty() => Step::Rest,
                None => Step::Change(add.into_iter().map(Change::AddVoter).collect()),
            };
        }
        let leave = |node: &NodeId| match self.roster.is_removed(*node) {
            true => Change::Remove(*node),
            // It follows on: every node has a replica of every partition.
            false => Change::AddLearner(*node),
        };
        let changes = add.iter().copied().map(Change::AddVoter);
        Step::Change(changes.chain(has.difference(&wanted).map(leave)).collect())
    }

    fn has_quorum(&self, voters: &BTreeSet<NodeId>) -> bool {
        let level = voters.intersection(self.level).count();
        level > voters.len() / 2
    }
}

impl Shard {
    /// Tells which nodes the cluster began with, so that partition 0 learns of them.
    pub fn set_founders(&mut self, mut founders: Vec<NodeRow>) {
        founders.sort_by_key(|row| row.node);
        self.founders = founders;
    }

    /// The nodes of the cluster, if the shard has learned of a change since the last call.
    pub fn take_roster(&mut self) -> Option<Arc<Roster>> {
        self.roster_is_new.then(|| Arc::clone(&self.roster)).inspect(|_| self.roster_is_new = false)
    }

    /// Partition 0 is as of another entry: whoever has to know of its roster is told.
    pub(super) fn publish_roster(&mut self, partition: PartitionId) {
        if partition != ROSTER_PARTITION {
            return;
        }
        let Some(slot) = self.slots.get(&partition) else { return };
        let roster = slot.machine.roster();
        if roster.version == self.roster.version {
            return;
        }
        let roster = Arc::new(roster.clone());
        let me = self.mesh.me();
        for shard in (0..self.mesh.shards()).filter(|shard| *shard != me) {
            self.mesh.send(shard, MeshMessage::Roster(Arc::clone(&roster)));
        }
        self.roster_is_new = true;
        self.take_in_roster(roster);
    }

    /// The shard of partition 0 says who the nodes are.
    pub(super) fn take_in_roster(&mut self, roster: Arc<Roster>) {
        self.raft.assign_sites(&sites(&roster));
        self.roster = roster;
    }

    /// Once a second: as leader, the next step for each partition.
    pub(super) fn tend_members(&mut self) {
        let leads = |slot: &&super::slot::Slot| slot.led_from.is_some();
        let led: Vec<PartitionId> = self.slots.values().filter(leads).map(|slot| slot.id).collect();
        for partition in led {
            if partition == ROSTER_PARTITION {
                self.tell_founders();
            }
            let Some(status) = self.raft.status(partition) else { continue };
            if status.role == Role::Leader && self.roster.last > 0 {
                self.take_step(partition, &status);
            }
        }
    }

    /// Founders that the roster never had. Said again each second until it is applied; a second time changes
    /// nothing.
    fn tell_founders(&mut self) {
        let missing = |row: &&NodeRow| row.node.get() > self.roster.last;
        let missing: Vec<NodeRow> = self.founders.iter().filter(missing).cloned().collect();
        for NodeRow { node, address, site } in missing {
            let command = Command::PutNode(Box::new(PutNode { node, address, site }));
            self.submit(ROSTER_PARTITION, command, Waiter::Nobody);
        }
    }

    fn take_step(&mut self, partition: PartitionId, status: &Status) {
        let me = self.config.node;
        let level = self.level_nodes(partition, status);
        let (roster, members) = (&*Arc::clone(&self.roster), &status.members);
        let step = Sight { me, roster, partition, members, level: &level }.step();
        match step {
            Step::Rest => {}
            Step::HandOver(to) => self.hand_over(partition, to),
            Step::Change(changes) => match self.raft.change_members(partition, &changes) {
                Ok(_) => {
                    self.counters.members_changed.increment();
                    eprintln!("novax: partition {partition}: {}", in_words(&changes));
                }
                Err(ProposeError::FlushFirst) => {
                    let slot = self.slots.get_mut(&partition).expect("a group of this shard");
                    slot.flush_wanted = true;
                    self.tend_stores();
                }
                // Another change, or much work, is under way: the next second may be better.
                Err(_) => {}
            },
        }
    }

    /// Who is up and has nearly all of a partition.
    fn level_nodes(&self, partition: PartitionId, status: &Status) -> BTreeSet<NodeId> {
        let is_level = |node: NodeId, matched: u64, state: PeerState| {
            let near = |has: u64| status.commit.saturating_sub(has) <= LEVEL_ENTRIES;
            let said = self.slots.get(&partition)?.others.fresh(node, self.ticks)?;
            let log = state == PeerState::Replicate && near(matched);
            let state = said.commit.saturating_sub(said.applied) <= LEVEL_ENTRIES;
            (log && state).then_some(node)
        };
        let peers = status.peers.iter();
        let others = peers.filter_map(|peer| is_level(peer.node, peer.matched, peer.state));
        others.chain([self.config.node]).collect()
    }
}

/// At which site each node stands that was placed somewhere, by number of the site's name.
fn sites(roster: &Roster) -> Vec<(NodeId, u16)> {
    let placed = roster.nodes.iter().filter(|row| !row.site.is_empty());
    let names: BTreeSet<&str> = placed.clone().map(|row| &*row.site).collect();
    let number = |site: &str| names.iter().position(|name| *name == site);
    let site = |row: &NodeRow| u16::try_from(number(&row.site)?).ok().map(|site| (row.node, site));
    placed.filter_map(site).collect()
}

fn in_words(changes: &[Change]) -> String {
    let word = |change: &Change| match change {
        Change::AddVoter(node) => format!("{node} gets a vote"),
        Change::AddLearner(node) => format!("{node} follows without a vote"),
        Change::Remove(node) => format!("{node} leaves"),
    };
    changes.iter().map(word).collect::<Vec<String>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use novax_charging::Placement;

    fn n(number: u64) -> NodeId {
        NodeId::new(number).expect("not zero")
    }

    fn nodes(numbers: &[u64]) -> Vec<NodeId> {
        numbers.iter().copied().map(n).collect()
    }

    /// The cluster has these nodes out of four numbers given, and the partition should be led by those
    /// voters.
    fn roster(numbers: &[u64], voters: &[u64]) -> Roster {
        let row = |node| NodeRow { node, address: "host:1".into(), site: "".into() };
        let placement = Placement { partition: PartitionId(7), voters: nodes(voters) };
        Roster {
            version: 1,
            last: 4,
            nodes: nodes(numbers).into_iter().map(row).collect(),
            placements: if voters.is_empty() { Vec::new() } else { vec![placement] },
        }
    }

    /// What node 1 does, who leads these voters and learners.
    fn step(roster: &Roster, voters: &[u64], learners: &[u64], level: &[u64]) -> Step {
        let mut bytes = vec![1, 0];
        for list in [voters, learners, &[], &[]] {
            bytes.push(u8::try_from(list.len()).expect("few"));
            list.iter().for_each(|node| bytes.extend_from_slice(&node.to_le_bytes()));
        }
        let members = Members::decode(&bytes).expect("sound members");
        let level = nodes(level).into_iter().collect();
        let sight =
            Sight { me: n(1), roster, partition: PartitionId(7), members: &members, level: &level };
        sight.step()
    }

    #[test]
    fn who_joins_learns_and_who_was_taken_out_leaves() {
        let all = roster(&[1, 2, 3, 4], &[]);
        assert_eq!(step(&all, &[1, 2, 3], &[], &[1]), Step::Change(vec![Change::AddLearner(n(4))]));
        assert_eq!(step(&all, &[1, 2, 3], &[4], &[1, 2, 3, 4]), Step::Rest);
        let less = roster(&[1, 2, 3], &[]);
        let leaves = Step::Change(vec![Change::Remove(n(4))]);
        assert_eq!(step(&less, &[1, 2, 3], &[4], &[1, 2]), leaves);
        // A number the roster has not come to yet is nobody's to take out.
        let early = Roster { last: 3, ..less };
        assert_eq!(step(&early, &[1, 2, 3], &[4], &[1, 2]), Step::Rest);
    }

    #[test]
    fn votes_move_at_once_when_the_new_voter_is_level() {
        let moved = roster(&[1, 2, 3, 4], &[1, 2, 4]);
        assert_eq!(step(&moved, &[1, 2, 3], &[4], &[1, 2, 3]), Step::Rest);
        let swap = vec![Change::AddVoter(n(4)), Change::AddLearner(n(3))];
        assert_eq!(step(&moved, &[1, 2, 3], &[4], &[1, 2, 4]), Step::Change(swap));
        assert_eq!(step(&moved, &[1, 2, 4], &[3], &[1, 2, 4]), Step::Rest);
        // One that was taken out with its vote leaves for good.
        let replaced = roster(&[1, 2, 4], &[1, 2, 4]);
        let swap = vec![Change::AddVoter(n(4)), Change::Remove(n(3))];
        assert_eq!(step(&replaced, &[1, 2, 3], &[4], &[1, 2, 4]), Step::Change(swap));
    }

    #[test]
    fn no_step_leaves_fewer_than_a_majority_that_is_level() {
        let fewer = roster(&[1, 2, 3], &[1, 2]);
        assert_eq!(step(&fewer, &[1, 2, 3], &[], &[1, 3]), Step::Rest);
        let change = Step::Change(vec![Change::AddLearner(n(3))]);
        assert_eq!(step(&fewer, &[1, 2, 3], &[], &[1, 2]), change);
        // Nobody is left of those who should vote.
        assert_eq!(step(&roster(&[1], &[]), &[1, 2, 3], &[], &[1, 2, 3]).clone(), {
            Step::Change(vec![Change::Remove(n(2)), Change::Remove(n(3))])
        });
    }

    #[test]
    fn a_leader_that_loses_its_vote_hands_over_first() {
        let away = roster(&[1, 2, 3, 4], &[2, 3, 4]);
        assert_eq!(step(&away, &[1, 2, 3], &[4], &[1, 3, 4]), Step::HandOver(n(3)));
        let alone = roster(&[1, 2], &[2]);
        let both = Step::Change(vec![Change::AddVoter(n(2))]);
        assert_eq!(step(&alone, &[1], &[2], &[1, 2]), both);
        assert_eq!(step(&alone, &[1, 2], &[], &[1, 2]), Step::HandOver(n(2)));
        assert_eq!(step(&alone, &[1], &[2], &[1]), Step::Rest);
    }
}
