//! A partition has replicas on other nodes: who leads, what goes to whom, what comes from them.

use super::peers::{Lane, PeerSend, Request};
use super::waiter::Waiter;
use crate::Shard;
use novax_charging::{Command, Origin};
use novax_model::{Duration, NodeId, PartitionId};

/// So long may nobody lead before those who wait are told that nothing happens.
const LEADERLESS_MAX: Duration = Duration::from_secs(5);

/// A batch that came back waits so long before it is sent again.
const FORWARD_PAUSE: Duration = Duration::from_millis(20);

impl Shard {
    /// Commands that wait go into the next entry of this leader, or to the leader elsewhere.
    pub(super) fn propose(&mut self) {
        let partitions: Vec<PartitionId> = self.slots.keys().copied().collect();
        for partition in partitions {
            match self.raft.leader(partition) {
                Some(leader) if leader == self.config.node => self.propose_here(partition),
                Some(leader) => self.forward(partition, leader),
                None => self.wait_for_leader(partition),
            }
        }
    }

    fn propose_here(&mut self, partition: PartitionId) {
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        slot.leaderless_since = None;
        if self.writing || slot.stalled || !self.raft.has_room(partition) {
            return;
        }
        let refused = slot.propose(self.now, &mut self.raft);
        self.refuse(partition, refused);
    }

    /// Batches that will be in no entry: their nodes are told, and those who wait here.
    fn refuse(&mut self, partition: PartitionId, origins: Vec<Origin>) {
        for Origin { node, run, token, .. } in origins {
            if node == self.config.node {
                self.batch_refused(partition, run, token);
            } else {
                self.tell(node, Request::Refused { partition, run, token });
            }
        }
    }

    fn batch_refused(&mut self, partition: PartitionId, run: u64, token: u64) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let waiters = slot.batches.refused(run, token);
        self.answer_unavailable(waiters);
    }

    fn forward(&mut self, partition: PartitionId, leader: NodeId) {
        let now = self.now;
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        (slot.leaderless_since, slot.led_from) = (None, None);
        let theirs = slot.batches.take_theirs();
        let mut mine = Vec::new();
        while now >= slot.forward_after
            && let Some(batch) = slot.next_batch(now)
        {
            mine.push(batch);
        }
        for (origin, commands) in mine {
            self.tell(leader, Request::Forward { partition, origin, commands });
        }
        self.turn_away(partition, theirs);
    }

    fn wait_for_leader(&mut self, partition: PartitionId) {
        let now = self.now;
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        let since = *slot.leaderless_since.get_or_insert(now);
        slot.led_from = None;
        let theirs = slot.batches.take_theirs();
        let given_up = now.since(since) >= LEADERLESS_MAX;
        let waiters = if given_up { slot.batches.give_up_waiting() } else { Vec::new() };
        self.answer_unavailable(waiters);
        self.turn_away(partition, theirs);
    }

    fn turn_away(
        &mut self,
        partition: PartitionId,
        batches: impl IntoIterator<Item = (Origin, Vec<Command>)>,
    ) {
        for (origin, commands) in batches {
            self.tell(origin.node, Request::Turned { partition, origin, commands });
        }
    }

    fn tell(&mut self, to: NodeId, request: Request) {
        self.effects.peers.push(PeerSend { to, lane: Lane::Request, bytes: request.encode() });
    }

    /// Something came from another node.
    pub fn handle_peer(&mut self, from: NodeId, lane: Lane, bytes: &[u8]) {
        let understood = match lane {
            Lane::Raft => self.step_raft(from, bytes),
            Lane::Request => self.handle_peer_request(from, bytes),
        };
        if !understood {
            self.counters.peer_messages_bad.increment();
        }
    }

    /// What Raft has for other nodes, one message a node.
    pub(super) fn send_raft(&mut self) {
        self.raft.take_messages(&mut self.raft_messages);
        for message in self.raft_messages.drain(..) {
            let to = message.to();
            let sends = &mut self.effects.peers;
            let open = sends.iter_mut().rev().find(|send| send.to == to && send.lane == Lane::Raft);
            match open {
                Some(send) => message.encode(&mut send.bytes),
                None => {
                    let mut bytes = Vec::new();
                    message.encode(&mut bytes);
                    sends.push(PeerSend { to, lane: Lane::Raft, bytes });
                }
            }
        }
    }

    fn step_raft(&mut self, from: NodeId, bytes: &[u8]) -> bool {
        self.raft.step(from, bytes).is_ok()
    }

    fn handle_peer_request(&mut self, from: NodeId, bytes: &[u8]) -> bool {
        let Ok(request) = Request::decode(from, self.config.node, bytes) else { return false };
        match request {
            Request::Forward { partition, origin, commands } => {
                self.handle_forward(partition, origin, commands)
            }
            Request::Turned { partition, origin, commands } => {
                let Some(slot) = self.slots.get_mut(&partition) else { return false };
                slot.forward_after = self.now.saturating_add(FORWARD_PAUSE);
                let lost = slot.batches.take_back(origin, commands);
                self.answer_unavailable(lost);
                true
            }
            Request::Refused { partition, run, token } => {
                let known = self.slots.contains_key(&partition);
                self.batch_refused(partition, run, token);
                known
            }
        }
    }

    fn handle_forward(
        &mut self,
        partition: PartitionId,
        origin: Origin,
        commands: Vec<Command>,
    ) -> bool {
        let leads = self.raft.is_leader(partition);
        let Some(slot) = self.slots.get_mut(&partition) else { return false };
        if !leads {
            self.turn_away(partition, [(origin, commands)]);
        } else if slot.batches.accept(origin, commands).is_err() {
            self.refuse(partition, vec![origin]);
        }
        true
    }

    /// Every 100 ms: those who waited too long are told.
    pub(super) fn answer_overdue(&mut self) {
        let mut gone: Vec<Waiter> = Vec::new();
        for slot in self.slots.values_mut() {
            gone.append(&mut slot.batches.overdue(self.now));
        }
        self.answer_unavailable(gone);
    }
}
