//! What shards say to each other, and the bounded queues they say it through.
//!
//! Requests may be refused when a queue is full; answers and sockets may not be lost, so what does not
//! fit waits on the sender's side, bounded by the requests that are out.

use super::apps::AppError;
use super::connection::Handoff;
use crate::port::{StartCharge, Unavailable};
use crossbeam_queue::ArrayQueue;
use novax_charging::{Command, DirectoryKind, Outcome, Refusal, Roster};
use novax_model::{Amount, Currency, PartitionId};
use std::collections::VecDeque;
use std::sync::Arc;

/// A message between shards. `token` is the asker's; answers carry it back.
#[derive(Debug)]
pub enum MeshMessage {
    /// Propose to a partition of the receiver.
    Propose {
        /// Who asks.
        from: u16,
        /// The asker's token.
        token: u64,
        /// Which partition.
        partition: PartitionId,
        /// What.
        command: Box<Command>,
    },
    /// The answer to `Propose`.
    Outcome {
        /// The asker's token.
        token: u64,
        /// What apply said.
        outcome: Result<Outcome, Unavailable>,
    },
    /// Where do the rows of an id live?
    Locate {
        /// Who asks.
        from: u16,
        /// The asker's token.
        token: u64,
        /// The directory partition, on the receiver.
        partition: PartitionId,
        /// Which kind of id.
        kind: DirectoryKind,
        /// The id.
        id: Box<str>,
    },
    /// The answer to `Locate`.
    Located {
        /// The asker's token.
        token: u64,
        /// Where, or nowhere, or nobody knows now.
        home: Result<Option<PartitionId>, Unavailable>,
    },
    /// May this token charge?
    CheckToken {
        /// Who asks.
        from: u16,
        /// The asker's token.
        token: u64,
        /// The payer's partition, on the receiver.
        partition: PartitionId,
        /// What was shown.
        uid: Box<str>,
        /// What a hold would need.
        required: Option<(Currency, Amount)>,
    },
    /// The answer to `CheckToken`.
    Checked {
        /// The asker's token.
        token: u64,
        /// Why not, if not.
        refusal: Option<Refusal>,
    },
    /// Start a charge for an app.
    StartApp {
        /// Who asks.
        from: u16,
        /// The asker's token.
        token: u64,
        /// The station's partition, on the receiver.
        partition: PartitionId,
        /// What.
        request: Box<StartCharge>,
    },
    /// The answer to `StartApp`.
    AppStarted {
        /// The asker's token.
        token: u64,
        /// The body of the answer, or why not.
        result: Result<Vec<u8>, AppError>,
    },
    /// The nodes of the cluster, from the shard of partition 0.
    Roster(Arc<Roster>),
    /// A socket's state; the socket itself comes through the rings under the same tag.
    Handoff(Box<Handoff>),
}

/// The shards of a node as one of them sees them.
pub struct Mesh {
    me: u16,
    /// The queue of every shard, in order.
    queues: Arc<[ArrayQueue<MeshMessage>]>,
    wakes: Arc<[Arc<dyn Fn() + Send + Sync>]>,
    /// What did not fit, per receiver.
    backlog: Vec<VecDeque<MeshMessage>>,
    /// Who has something new and must be woken at the end of the turn.
    to_wake: Vec<bool>,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Mesh {
    /// Shard `me`'s end of the mesh.
    #[must_use]
    pub fn new(
        me: u16,
        queues: Arc<[ArrayQueue<MeshMessage>]>,
        wakes: Arc<[Arc<dyn Fn() + Send + Sync>]>,
    ) -> Mesh {
        assert_eq!(queues.len(), wakes.len(), "every shard has a queue and a wake");
        let backlog = queues.iter().map(|_| VecDeque::new()).collect();
        let to_wake = vec![false; queues.len()];
        Mesh { me, queues, wakes, backlog, to_wake }
    }

    /// This shard's number.
    #[must_use]
    pub fn me(&self) -> u16 {
        self.me
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> u16 {
        u16::try_from(self.queues.len()).expect("few shards")
    }

    /// Sends; what does not fit now is sent in a later turn, in order.
    pub fn send(&mut self, to: u16, message: MeshMessage) {
        assert_ne!(to, self.me, "a shard does not send to itself");
        let at = usize::from(to);
        self.to_wake[at] = true;
        if !self.backlog[at].is_empty() {
            self.backlog[at].push_back(message);
            return;
        }
        if let Err(message) = self.queues[at].push(message) {
            self.backlog[at].push_back(message);
        }
    }

    /// Whether a new request to this shard would only wait.
    #[must_use]
    pub fn is_congested(&self, to: u16) -> bool {
        !self.backlog[usize::from(to)].is_empty()
    }

    /// Moves what waited into the queues and wakes whoever got something.
    pub fn flush(&mut self) {
        for (at, backlog) in self.backlog.iter_mut().enumerate() {
            while let Some(message) = backlog.pop_front() {
                self.to_wake[at] = true;
                if let Err(message) = self.queues[at].push(message) {
                    backlog.push_front(message);
                    break;
                }
            }
            if std::mem::take(&mut self.to_wake[at]) {
                (self.wakes[at])();
            }
        }
    }

    /// Whether something still waits on this side.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.backlog.iter().any(|backlog| !backlog.is_empty())
    }

    /// The next message for this shard.
    #[must_use]
    pub fn receive(&mut self) -> Option<MeshMessage> {
        self.queues[usize::from(self.me)].pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_kept_in_order_and_sent_later() {
        let queues: Arc<[_]> = vec![ArrayQueue::new(2), ArrayQueue::new(2)].into();
        let none: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
        let wakes: Arc<[_]> = vec![none.clone(), none].into();
        let mut a = Mesh::new(0, queues.clone(), wakes.clone());
        let mut b = Mesh::new(1, queues, wakes);
        for token in 0..5 {
            a.send(1, MeshMessage::Located { token, home: Ok(None) });
        }
        assert!(a.is_congested(1));
        let mut got = Vec::new();
        while got.len() < 5 {
            while let Some(MeshMessage::Located { token, .. }) = b.receive() {
                got.push(token);
            }
            a.flush();
        }
        assert_eq!(got, [0, 1, 2, 3, 4]);
        assert!(!a.has_backlog());
    }
}
