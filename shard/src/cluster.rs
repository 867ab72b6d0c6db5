//! A partition has replicas on other nodes: who leads, what goes to whom, what comes from them.

use super::peers::{FromPeer, Lane, PeerInput, PeerSend, Request};
use super::waiter::Waiter;
use crate::{QUEUE_QUANTUM, Shard};
use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use novax_charging::{Command, Origin};
use novax_model::{Duration, NodeId, PartitionId};

/// So long may nobody lead before those who wait are told that nothing happens.
const LEADERLESS_MAX: Duration = Duration::from_secs(5);

/// Messages of Raft for one node share a message of a link up to about here.
const RAFT_BYTES_TARGET: usize = 1 << 20;
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
        let stale = slot.batches.take_theirs_before(self.raft.term(partition));
        if !self.writing && !slot.stalled && self.raft.has_room(partition) {
            let refused = slot.propose(self.now, &mut self.raft);
            self.refuse(partition, refused);
        }
        self.turn_away(partition, stale);
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
        let (now, term) = (self.now, self.raft.term(partition));
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        (slot.leaderless_since, slot.led_from, slot.ticking) = (None, None, false);
        let theirs = slot.batches.take_theirs();
        let mut mine = Vec::new();
        while now >= slot.forward_after
            && let Some(batch) = slot.next_batch(now, term)
        {
            mine.push(batch);
        }
        for (origin, commands) in mine {
            let request = Request::Forward { partition, term, origin, commands };
            let bytes = Bytes::from(request.encode());
            let slot = self.slots.get_mut(&partition).expect("a group of this shard");
            slot.batches.sent(origin.token, bytes.clone());
            self.effects.peers.push(PeerSend { to: leader, lane: Lane::Request, bytes });
        }
        self.turn_away(partition, theirs);
    }

    fn wait_for_leader(&mut self, partition: PartitionId) {
        let now = self.now;
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        let since = *slot.leaderless_since.get_or_insert(now);
        (slot.led_from, slot.ticking) = (None, false);
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

    pub(super) fn tell(&mut self, to: NodeId, request: Request) {
        self.effects.peers.push(PeerSend {
            to,
            lane: Lane::Request,
            bytes: request.encode().into(),
        });
    }

    /// Takes what came from other nodes, at most a quantum.
    pub fn take_peers(&mut self, queue: &ArrayQueue<FromPeer>) {
        for _ in 0..QUEUE_QUANTUM {
            let Some(FromPeer { from, input }) = queue.pop() else { return };
            self.handle_peer(from, input);
        }
        self.more_waits = true;
    }

    /// Something came from another node.
    pub fn handle_peer(&mut self, from: NodeId, input: PeerInput) {
        if !matches!(input, PeerInput::LinkDown) {
            self.hear(from);
        }
        let understood = match input {
            PeerInput::Raft(message) => {
                let partition = message.partition();
                let stepped = self.raft.step_message(from, message).is_ok();
                if stepped && self.raft.leader(partition) == Some(from) {
                    let slot = self.slots.get_mut(&partition).expect("it has taken the message");
                    slot.leader_heard = self.now;
                }
                stepped
            }
            PeerInput::Request(bytes) => self.handle_peer_request(from, &bytes),
            PeerInput::LinkDown => {
                self.raft.report_unreachable(from);
                self.calls_lost(from);
                self.slots.values_mut().for_each(|slot| slot.batches.doubt());
                true
            }
            PeerInput::State(news) => {
                self.handle_state(news);
                true
            }
        };
        if !understood {
            self.counters.peer_messages_bad.increment();
        }
    }

    /// A link had no room, or there is none: what was for the leader waits for a better moment, or another leader.
    pub fn handle_unsent(&mut self, send: &PeerSend) {
        if send.lane != Lane::Request {
            return;
        }
        let me = self.config.node;
        match Request::decode(me, send.to, &send.bytes) {
            Ok(Request::Forward { partition, origin, commands, .. }) => {
                self.take_back(partition, origin, commands);
            }
            // The other node's own clock ends the wait; a state is asked for again.
            Ok(
                Request::Turned { .. }
                | Request::Refused { .. }
                | Request::Called { .. }
                | Request::Fetch { .. }
                | Request::Gone { .. }
                | Request::Standing { .. }
                | Request::Order { .. },
            )
            | Err(_) => {}
            Ok(Request::Call { token, .. }) => self.call_lost(token),
        }
    }

    /// The first entry of a new term is applied: what earlier leaders were given and did not bring about goes to
    /// the new one.
    pub(super) fn begin_term(&mut self, partition: PartitionId, term: u64) {
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        slot.applied_term = term;
        let (sent, waiters) = slot.batches.lost_before(term);
        self.take_back_sent(partition, &sent, waiters);
    }

    /// Entries are applied: what a link lost on its way to a leader who still leads is seen now.
    pub(super) fn take_back_lost(&mut self, partition: PartitionId) {
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        let lost = slot.batches.take_lost();
        if !lost.is_empty() {
            self.counters.batches_lost.add(lost.len() as u64);
            self.take_back_sent(partition, &lost, Vec::new());
        }
    }

    /// Takes back batches that will never be in an entry, as they were sent; tells these waiters that they wait in
    /// vain, and those that are of no batch any more.
    fn take_back_sent(&mut self, partition: PartitionId, sent: &[Bytes], mut waiters: Vec<Waiter>) {
        let me = self.config.node;
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        // The last one first: each goes ahead of what waits.
        for bytes in sent.iter().rev() {
            match Request::decode(me, me, bytes) {
                Ok(Request::Forward { origin, commands, .. }) => {
                    waiters.append(&mut slot.batches.take_back(origin, commands));
                }
                other => unreachable!("only batches are sent to a leader, not {other:?}"),
            }
        }
        self.answer_unavailable(waiters);
    }

    /// What Raft has for other nodes, one message a node.
    pub(super) fn send_raft(&mut self) {
        self.raft.take_messages(&mut self.raft_messages);
        let mut gathered: Vec<(NodeId, Vec<u8>)> = Vec::new();
        for message in self.raft_messages.drain(..) {
            let to = message.to();
            let open = gathered
                .iter()
                .position(|(node, bytes)| *node == to && bytes.len() < RAFT_BYTES_TARGET);
            let at = open.unwrap_or_else(|| {
                gathered.push((to, Vec::new()));
                gathered.len() - 1
            });
            message.encode(&mut gathered[at].1);
        }
        for (to, bytes) in gathered {
            self.effects.peers.push(PeerSend { to, lane: Lane::Raft, bytes: bytes.into() });
        }
    }

    fn handle_peer_request(&mut self, from: NodeId, bytes: &[u8]) -> bool {
        let Ok(request) = Request::decode(from, self.config.node, bytes) else { return false };
        match request {
            Request::Forward { partition, term, origin, commands } => {
                self.handle_forward(partition, term, origin, commands)
            }
            Request::Turned { partition, origin, commands } => {
                self.take_back(partition, origin, commands)
            }
            Request::Refused { partition, run, token } => {
                let known = self.slots.contains_key(&partition);
                self.batch_refused(partition, run, token);
                known
            }
            Request::Fetch { partition, index } => self.handle_fetch(from, partition, index),
            Request::Gone { partition, index } => self.handle_gone(from, partition, index),
            Request::Call { partition, run, token, station, call } => {
                self.call_for_node(from, partition, (run, token), &station, &call)
            }
            Request::Standing { partition, standing } => {
                self.take_standing(from, partition, standing)
            }
            Request::Order { partition, order } => self.take_order(partition, order),
            Request::Called { run, token, answer, .. } => {
                self.call_answered(from, run, token, answer);
                true
            }
        }
    }

    /// A batch comes back to wait here, if it is of a partition that is here.
    fn take_back(
        &mut self,
        partition: PartitionId,
        origin: Origin,
        commands: Vec<Command>,
    ) -> bool {
        let Some(slot) = self.slots.get_mut(&partition) else { return false };
        slot.forward_after = self.now.saturating_add(FORWARD_PAUSE);
        let lost = slot.batches.take_back(origin, commands);
        self.answer_unavailable(lost);
        true
    }

    fn handle_forward(
        &mut self,
        partition: PartitionId,
        term: u64,
        origin: Origin,
        commands: Vec<Command>,
    ) -> bool {
        let leads = self.raft.is_leader(partition) && self.raft.term(partition) == term;
        let Some(slot) = self.slots.get_mut(&partition) else { return false };
        if !leads {
            self.turn_away(partition, [(origin, commands)]);
        } else if slot.batches.accept(term, origin, commands).is_err() {
            self.refuse(partition, vec![origin]);
        }
        true
    }

    /// Every 100 ms: those who waited too long are told.
    pub(super) fn answer_overdue(&mut self) {
        self.calls_overdue();
        let mut gone: Vec<Waiter> = Vec::new();
        for slot in self.slots.values_mut() {
            gone.append(&mut slot.batches.overdue(self.now));
        }
        self.answer_unavailable(gone);
    }
}
