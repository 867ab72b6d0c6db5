//! What nodes tell each other of their replicas, and what a leader makes of a node's silence.
//!
//! Once a second each node says to the other members of a partition how far its replica is. A leader closes the
//! sockets of a node that it has not heard for ten seconds, so that their stations count as disconnected and
//! timers run. Time is counted in ticks of this process: neither a clock that jumps nor a process that was
//! stopped makes others seem silent.
//!
//! Invariant: a socket that lives is not lost. A node that finds its socket closed in the state announces it again.

use super::Shard;
use super::peers::Request;
use super::waiter::Waiter;
use crate::port::{Other, Replica};
use novax_charging::{Command, Roster};
use novax_model::{NodeId, PartitionId};
use novax_raft::{MEMBERS_MAX, Members, Role, TICK_MS};
use std::collections::{BTreeMap, BTreeSet};

/// So often do nodes say where they stand.
pub(super) const STANDING_TICKS: u64 = 1_000 / TICK_MS;
/// After so much silence a node is held for gone.
pub(super) const SILENT_TICKS: u64 = 10_000 / TICK_MS;
/// Numbers of nodes that are looked at for ones that were taken out.
const REMOVED_LOOKED_AT_MAX: usize = 64;
/// What a node said holds for so long.
pub(super) const FRESH_TICKS: u64 = 3 * STANDING_TICKS;

/// Where a node's replica of a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it leads.
    pub leads: bool,
    /// Whether it wants to lead nothing.
    pub draining: bool,
    /// Whether its state is as new as its log was when it started.
    pub caught_up: bool,
    /// The latest term it knows.
    pub term: u64,
    /// Entries up to this one are committed, as far as it knows.
    pub commit: u64,
    /// Entries up to this one are in its state.
    pub applied: u64,
}

/// What a slot knows of the replicas elsewhere.
#[derive(Debug, Default)]
pub struct Others {
    /// What was said last, and at which tick. Members only.
    said: BTreeMap<NodeId, (Standing, u64)>,
    /// Silent nodes with no socket left in the state.
    gone: BTreeSet<NodeId>,
}

impl Others {
    /// What a node said, if it is not too long ago.
    pub(super) fn fresh(&self, node: NodeId, tick: u64) -> Option<Standing> {
        let (standing, said) = self.said.get(&node)?;
        (tick.saturating_sub(*said) <= FRESH_TICKS).then_some(*standing)
    }

    /// Whether a node said that it wants to lead nothing.
    pub(super) fn drains(&self, node: NodeId, tick: u64) -> bool {
        self.fresh(node, tick).is_some_and(|standing| standing.draining)
    }

    /// This node begins to lead: it looks anew at who is there.
    pub(super) fn begin_leading(&mut self) {
        self.gone.clear();
    }
}

/// Nodes that were taken out, the last few: a leader may never have heard them.
fn removed_lately(roster: &Roster) -> impl Iterator<Item = NodeId> {
    let numbers = (1..=roster.last).rev().take(REMOVED_LOOKED_AT_MAX);
    numbers.filter_map(NodeId::new).filter(|node| roster.is_removed(*node))
}

/// Everybody with a part in a group.
pub(super) fn all(members: &Members) -> BTreeSet<NodeId> {
    let lists = [members.voters(), members.learners(), members.outgoing()];
    lists.into_iter().flatten().copied().collect()
}

impl Shard {
    /// Something came from a node, whatever it was.
    pub(super) fn hear(&mut self, from: NodeId) {
        self.heard.insert(from, self.ticks);
    }

    /// A node says where its replica stands; whether it may.
    pub(super) fn take_standing(
        &mut self,
        from: NodeId,
        partition: PartitionId,
        standing: Standing,
    ) -> bool {
        let tick = self.ticks;
        let Some(slot) = self.slots.get_mut(&partition) else { return false };
        let said = &mut slot.others.said;
        if said.len() < MEMBERS_MAX || said.contains_key(&from) {
            said.insert(from, (standing, tick));
        }
        true
    }

    /// Once a second.
    pub(super) fn tend_standings(&mut self) {
        let me = self.config.node;
        let partitions: Vec<PartitionId> = self.slots.keys().copied().collect();
        for partition in partitions {
            let Some(status) = self.raft.status(partition) else { continue };
            let members = all(&status.members);
            let slot = self.slots.get_mut(&partition).expect("a group of this shard");
            slot.others.said.retain(|node, _| members.contains(node));
            let standing = Standing {
                leads: status.role == Role::Leader,
                draining: slot.draining,
                caught_up: slot.caught_up,
                term: status.term,
                commit: status.commit,
                applied: slot.machine.applied_index(),
            };
            for node in members.iter().filter(|node| **node != me) {
                self.tell(*node, Request::Standing { partition, standing });
            }
            self.close_for_the_silent(partition, &members);
        }
    }

    /// As leader: sockets of nodes that are not heard are taken for closed.
    fn close_for_the_silent(&mut self, partition: PartitionId, members: &BTreeSet<NodeId>) {
        let (me, tick) = (self.config.node, self.ticks);
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        let Some(since) = slot.led_since.filter(|_| slot.led_from.is_some()) else { return };
        let heard = &self.heard;
        let silent = |node: &NodeId| {
            // Followers do not hear each other: who begins to lead gives everybody time to be heard.
            let last = heard.get(node).copied().unwrap_or(0).max(since);
            tick - last > SILENT_TICKS
        };
        slot.others.gone.retain(silent);
        let removed = removed_lately(&self.roster);
        let others = members.iter().chain(heard.keys()).copied().chain(removed);
        let others = others.filter(|node| *node != me);
        let silent: BTreeSet<NodeId> =
            others.filter(|node| silent(node) && !slot.others.gone.contains(node)).collect();
        for node in silent {
            let sockets = slot.machine.stations().filter(|row| row.node == node && row.connected);
            let Some(last) = sockets.map(|row| row.epoch).max() else {
                slot.others.gone.insert(node);
                continue;
            };
            // Told again each second until it is applied; a second time changes nothing.
            let command = Command::SocketsClosed { node, before: last + 1 };
            if slot.batches.submit(command, Waiter::Nobody).is_ok() {
                self.counters.nodes_given_up.increment();
            }
        }
    }

    /// The replicas here and what is known of those elsewhere, in partition order.
    pub(super) fn replicas(&self) -> Vec<Replica> {
        let replica = |slot: &super::slot::Slot| {
            let status = self.raft.status(slot.id)?;
            let other = |(node, (standing, said)): (&NodeId, &(Standing, u64))| Other {
                node: *node,
                standing: *standing,
                age_ms: (self.ticks - said) * TICK_MS,
            };
            let others = slot.others.said.iter().map(other).collect();
            let standing = Standing {
                leads: status.role == Role::Leader,
                draining: slot.draining,
                caught_up: slot.caught_up,
                term: status.term,
                commit: status.commit,
                applied: slot.machine.applied_index(),
            };
            Some(Replica {
                partition: slot.id,
                leader: status.leader,
                standing,
                members: status.members,
                wanted: self.roster.placement(slot.id).map(<[NodeId]>::to_vec),
                others,
            })
        };
        self.slots.values().filter_map(replica).collect()
    }
}
