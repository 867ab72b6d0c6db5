//! An admin's call for a station whose socket another node has: that node makes the call, and says what came of it.
//!
//! Invariant: whoever asked is answered once. If the node dies, or the link breaks, the answer is that nothing is
//! known.

use super::Shard;
use super::peers::Request;
use crate::port::{CallFailed, StationCall, StationReply, Unavailable};
use novax_model::{Duration, Identity, NodeId, PartitionId, Timestamp};
use std::collections::BTreeMap;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Who waits for what a station says.
pub(super) type CallReply = oneshot::Sender<Result<StationReply, CallFailed>>;

/// Calls that may be under way at other nodes, and for other nodes.
const CALLS_MAX: usize = 4_096;
/// The other node gives up by its own clock; this is for an answer that was lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Abroad {
    /// Asked of other nodes, by number.
    asked: BTreeMap<u64, Asked>,
    /// Made for other nodes.
    made: Vec<Made>,
}

#[derive(Debug)]
struct Asked {
    of: NodeId,
    until: Timestamp,
    reply: CallReply,
}

#[derive(Debug)]
struct Made {
    by: NodeId,
    partition: PartitionId,
    run: u64,
    token: u64,
    answer: oneshot::Receiver<Result<StationReply, CallFailed>>,
}

impl Shard {
    /// The station has no socket here: its row says where it has one.
    pub(super) fn call_elsewhere(
        &mut self,
        partition: PartitionId,
        station: &Identity,
        call: &StationCall,
        reply: CallReply,
    ) -> Result<(), (CallReply, CallFailed)> {
        let row =
            self.slots.get(&partition).and_then(|slot| slot.machine.station(station.as_str()));
        let there = row.filter(|row| row.connected && row.node != self.config.node);
        let Some(of) = there.map(|row| row.node) else {
            return Err((reply, CallFailed::Offline));
        };
        if self.calls.asked.len() >= CALLS_MAX {
            return Err((reply, CallFailed::Busy));
        }
        let (run, token) = (self.config.run, self.token());
        let until = self.now.saturating_add(ANSWER_TIMEOUT);
        self.calls.asked.insert(token, Asked { of, until, reply });
        let (station, call) = (station.clone(), call.clone());
        self.tell(of, Request::Call { partition, run, token, station, call });
        Ok(())
    }

    /// Another node asks; whether it may.
    pub(super) fn call_for_node(
        &mut self,
        by: NodeId,
        partition: PartitionId,
        (run, token): (u64, u64),
        station: &Identity,
        call: &StationCall,
    ) -> bool {
        if !self.slots.contains_key(&partition) {
            return false;
        }
        let busy = self.calls.made.len() >= CALLS_MAX;
        // It would be sent on, to a node whose row may be as old as that of who asked.
        let here = self.stations.contains_key(station.as_str());
        if busy || !here {
            let answer = Err(if busy { CallFailed::Busy } else { CallFailed::Offline });
            self.tell(by, Request::Called { partition, run, token, answer });
            return true;
        }
        let (reply, answer) = oneshot::channel();
        self.call_for_admin(partition, station, call, reply);
        self.calls.made.push(Made { by, partition, run, token, answer });
        true
    }

    /// Tells other nodes what came of their calls.
    pub(super) fn answer_nodes(&mut self) {
        let mut at = 0;
        while at < self.calls.made.len() {
            let answer = match self.calls.made[at].answer.try_recv() {
                Err(TryRecvError::Empty) => {
                    at += 1;
                    continue;
                }
                Ok(answer) => answer,
                Err(TryRecvError::Closed) => Err(Unavailable.into()),
            };
            let Made { by, partition, run, token, .. } = self.calls.made.swap_remove(at);
            self.tell(by, Request::Called { partition, run, token, answer });
        }
    }

    /// Another node has made the call.
    pub(super) fn call_answered(
        &mut self,
        from: NodeId,
        run: u64,
        token: u64,
        answer: Result<StationReply, CallFailed>,
    ) {
        let asked = self.calls.asked.get(&token);
        // Of an earlier life of this node, or given up; or of a node that was not asked.
        if run != self.config.run || asked.is_none_or(|asked| asked.of != from) {
            return;
        }
        if let Some(Asked { reply, .. }) = self.calls.asked.remove(&token) {
            let _ = reply.send(answer);
        }
    }

    /// It did not leave.
    pub(super) fn call_lost(&mut self, token: u64) {
        if let Some(Asked { reply, .. }) = self.calls.asked.remove(&token) {
            let _ = reply.send(Err(Unavailable.into()));
        }
    }

    /// The link to a node is down.
    pub(super) fn calls_lost(&mut self, of: NodeId) {
        for (_, Asked { reply, .. }) in self.calls.asked.extract_if(.., |_, asked| asked.of == of) {
            let _ = reply.send(Err(Unavailable.into()));
        }
        self.calls.made.retain(|made| made.by != of);
    }

    /// Gives up what was not answered in time.
    pub(super) fn calls_overdue(&mut self) {
        let now = self.now;
        for (_, Asked { reply, .. }) in self.calls.asked.extract_if(.., |_, a| a.until <= now) {
            let _ = reply.send(Err(CallFailed::Silent));
        }
    }
}
