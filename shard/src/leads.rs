//! Who should lead a partition: leads are spread over the voters, handed back when a node is well again, and handed
//! away before a node stops.
//!
//! Partition p prefers the voter number p mod their count. A leader hands over when the preferred voter has
//! been well and level for some seconds; a node that drains hands over to whoever is level, and is preferred
//! by nobody.
//!
//! Invariant: nobody is given a lead that cannot serve at once: its log is nearly whole and its state as well.

use super::Shard;
use super::peers::Request;
use super::slot::Slot;
use super::standing::STANDING_TICKS;
use crate::port::Order;
use novax_model::{NodeId, PartitionId};
use novax_raft::{PeerState, Status};
use tokio::sync::oneshot;

/// A preferred voter has been well for so long before it gets the lead.
const WELL_TICKS: u64 = 5 * STANDING_TICKS;
/// Leads a shard hands over in a second for the sake of balance.
const HANDED_OVER_MAX: usize = 2;
/// Who lacks more entries than this is not level.
const LEVEL_ENTRIES: u64 = 256;

impl Shard {
    /// Once a second: leads go where they belong, a few at a time.
    pub(super) fn balance_leads(&mut self) {
        let mut left = HANDED_OVER_MAX;
        let led: Vec<PartitionId> = self.led().collect();
        for partition in led {
            let preferred = self.preferred(partition);
            let tick = self.ticks;
            let slot = self.slots.get_mut(&partition).expect("a group of this shard");
            let Some(preferred) = preferred.filter(|_| !slot.draining) else {
                slot.well_since = None;
                continue;
            };
            let since = match slot.well_since {
                Some((node, since)) if node == preferred => since,
                _ => tick,
            };
            slot.well_since = Some((preferred, since));
            if tick - since >= WELL_TICKS && left > 0 {
                left -= 1;
                slot.well_since = None;
                self.hand_over(partition, preferred);
            }
        }
    }

    /// Every tick: a node that drains hands away what it leads.
    pub(super) fn drain_leads(&mut self) {
        let led: Vec<PartitionId> =
            self.led().filter(|partition| self.slots[partition].draining).collect();
        for partition in led {
            let Some(status) = self.raft.status(partition) else { continue };
            let level = self
                .order_of(partition, &status)
                .find(|node| *node != self.config.node && self.is_level(partition, &status, *node));
            if let Some(node) = level {
                self.hand_over(partition, node);
            }
        }
        if !self.drained.is_empty() && !self.leads_beside_others() {
            for reply in self.drained.drain(..) {
                // Whoever asked may have given up.
                let _ = reply.send(());
            }
        }
    }

    /// Answers once nothing is led here that others could lead. Those who ask are few: each is a node that stops.
    pub(super) fn answer_when_drained(&mut self, reply: oneshot::Sender<()>) {
        self.drained.retain(|waiting| !waiting.is_closed());
        self.drained.push(reply);
    }

    /// An order from this node's control plane: for the partition's leader, or for the node it names.
    pub(super) fn give_order(&mut self, partition: PartitionId, order: Order) {
        let to = match order {
            Order::Drain { node, .. } => Some(node),
            Order::Transfer { .. } => self.raft.leader(partition),
        };
        match to {
            Some(to) if to == self.config.node => {
                self.take_order(partition, order);
            }
            Some(to) => self.tell(to, Request::Order { partition, order }),
            // Nobody leads: whoever ordered sees that nothing came of it.
            None => {}
        }
    }

    /// An order for this node; whether it makes sense here. What cannot be done now is not done later.
    pub(super) fn take_order(&mut self, partition: PartitionId, order: Order) -> bool {
        let Some(slot) = self.slots.get_mut(&partition) else { return false };
        match order {
            Order::Drain { node, on } => {
                slot.draining = on && node == self.config.node;
                node == self.config.node
            }
            Order::Transfer { to } => {
                self.hand_over(partition, to);
                true
            }
        }
    }

    pub(super) fn hand_over(&mut self, partition: PartitionId, to: NodeId) {
        // Refused when it leads no longer, or hands over already.
        if self.raft.transfer_leader(partition, to).is_ok() {
            self.counters.leads_handed_over.increment();
        }
    }

    fn led(&self) -> impl Iterator<Item = PartitionId> {
        self.slots.values().filter(|slot| slot.led_from.is_some()).map(|slot| slot.id)
    }

    fn leads_beside_others(&self) -> bool {
        let could_lead = |slot: &Slot, node: NodeId| {
            let said = slot.others.fresh(node, self.ticks);
            node != self.config.node && said.is_some_and(|said| !said.draining)
        };
        let mut led = self.slots.values().filter(|slot| self.raft.is_leader(slot.id));
        led.any(|slot| {
            let status = self.raft.status(slot.id).expect("a group of this shard");
            status.members.voters().iter().any(|node| could_lead(slot, *node))
        })
    }

    /// Voters in the order in which the partition wants to be led by them.
    fn order_of(
        &self,
        partition: PartitionId,
        status: &Status,
    ) -> impl Iterator<Item = NodeId> + use<> {
        let voters = status.members.voters().to_vec();
        let first = usize::from(partition.0) % voters.len().max(1);
        let count = voters.len();
        voters.into_iter().cycle().skip(first).take(count)
    }

    /// Who should lead in place of this node, if there is someone and he can.
    fn preferred(&self, partition: PartitionId) -> Option<NodeId> {
        let status = self.raft.status(partition).filter(|status| !status.members.is_joint())?;
        let others = &self.slots.get(&partition)?.others;
        let wanted = self
            .order_of(partition, &status)
            .find(|node| *node == self.config.node || !others.drains(*node, self.ticks))?;
        let elsewhere = wanted != self.config.node;
        (elsewhere && self.is_level(partition, &status, wanted)).then_some(wanted)
    }

    /// Whether a voter could take over at once.
    fn is_level(&self, partition: PartitionId, status: &Status, node: NodeId) -> bool {
        // Not by `active`: the group forgets it every ten ticks, and looking every twenty may meet that each time.
        let log = status.peers.iter().any(|peer| {
            let near = status.commit.saturating_sub(peer.matched) <= LEVEL_ENTRIES;
            peer.node == node && peer.state == PeerState::Replicate && near
        });
        let said = self.slots.get(&partition).and_then(|slot| slot.others.fresh(node, self.ticks));
        // Measured by what it knew itself: what it said is up to a second old.
        let state = said.is_some_and(|said| {
            let near = said.commit.saturating_sub(said.applied) <= LEVEL_ENTRIES;
            said.caught_up && !said.draining && near
        });
        log && state
    }
}
