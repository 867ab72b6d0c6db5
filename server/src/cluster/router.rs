//! What comes over the links, to the shard whose it is. Runs on the links' thread and never waits.

use super::Host;
use crate::node::states::States;
use crossbeam_queue::ArrayQueue;
use novax_model::{NodeId, PartitionId};
use novax_peer::net::{Handler, TakenSnapshot};
use novax_peer::{Message, PeerInfo, Refusal, SnapshotId};
use novax_shard::counters::Counters;
use novax_shard::peers::{FromPeer, PeerInput, partition_of};
use std::sync::Arc;

/// Messages of other nodes that may wait for one shard. Beyond that they are dropped: Raft sends again, and
/// whoever asked for something hears nothing in time.
pub const INBOX_MAX: usize = 16_384;

/// A shard's way in for other nodes.
#[derive(Clone)]
pub struct Inbox {
    /// What waits.
    pub queue: Arc<ArrayQueue<FromPeer>>,
    /// Tells the shard.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// Its counters.
    pub counters: Arc<Counters>,
}

impl Inbox {
    fn give(&self, message: FromPeer) {
        if self.queue.push(message).is_err() {
            self.counters.peer_messages_dropped.increment();
        }
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inbox({} waiting)", self.queue.len())
    }
}

/// See the file's head.
pub struct Router {
    /// By the shard's number.
    inboxes: Vec<Inbox>,
    states: Arc<States>,
    /// Lets nodes in.
    host: Option<Host>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Router({} shards)", self.inboxes.len())
    }
}

impl Router {
    /// A way to every shard, in order.
    #[must_use]
    pub fn new(inboxes: Vec<Inbox>, states: Arc<States>) -> Router {
        assert!(!inboxes.is_empty(), "a node has at least one shard");
        states.set_inboxes(inboxes.clone());
        Router { inboxes, states, host: None }
    }

    /// With somebody who lets nodes in.
    #[must_use]
    pub fn with_host(self, host: Host) -> Router {
        Router { host: Some(host), ..self }
    }

    fn inbox(&self, partition: PartitionId) -> &Inbox {
        let shards = u16::try_from(self.inboxes.len()).expect("shards are counted in u16");
        &self.inboxes[usize::from(partition.shard(shards))]
    }

    fn deliver(&self, partition: PartitionId, from: NodeId, input: PeerInput) {
        self.inbox(partition).give(FromPeer { from, input });
    }

    fn refuse(&self) {
        self.inboxes[0].counters.peer_messages_bad.increment();
    }

    fn wake_all(&self) {
        for inbox in &self.inboxes {
            if !inbox.queue.is_empty() {
                (inbox.wake)();
            }
        }
    }
}

impl Handler for Router {
    fn link_up(&self, peer: &PeerInfo) {
        eprintln!("novax: linked with {}", peer.node);
    }

    fn link_down(&self, node: NodeId, why: Refusal) {
        eprintln!("novax: the link with {node} is down: {why}");
        for inbox in &self.inboxes {
            inbox.give(FromPeer { from: node, input: PeerInput::LinkDown });
        }
        self.wake_all();
    }

    fn message(&self, from: NodeId, message: Message) {
        match message {
            Message::Raft(bytes) => {
                let mut rest: &[u8] = &bytes;
                while !rest.is_empty() {
                    let Ok(message) = novax_raft::PeerMessage::decode(&mut rest) else {
                        self.refuse();
                        break;
                    };
                    self.deliver(message.partition(), from, PeerInput::Raft(message));
                }
            }
            Message::Request { body, .. } => match partition_of(&body) {
                Some(partition) => self.deliver(partition, from, PeerInput::Request(body)),
                None => self.refuse(),
            },
            Message::Answer { .. } => self.refuse(),
        }
        self.wake_all();
    }

    fn snapshot_offered(
        &self,
        from: NodeId,
        id: SnapshotId,
        length: u64,
        about: &[u8],
    ) -> Option<TakenSnapshot> {
        self.states.offered(from, id, length, about)
    }

    fn snapshot_received(&self, from: NodeId, id: SnapshotId, whole: bool) {
        self.states.received(from, id, whole);
    }

    fn joining(&self, node: NodeId, address: &str) -> Result<Vec<u8>, String> {
        let host = self.host.as_ref().ok_or("this node lets nobody in")?;
        let welcome = host.take_in(node, address)?;
        eprintln!("novax: {node} joins the cluster, to be called at {address}");
        Ok(welcome)
    }

    fn snapshot_sent(&self, _to: NodeId, id: SnapshotId, whole: bool) {
        self.states.sent(id, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_shard_hears_that_a_link_is_down() {
        let woken = Arc::new(AtomicUsize::new(0));
        let inbox = || {
            let woken = woken.clone();
            let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
                woken.fetch_add(1, Ordering::SeqCst);
            });
            Inbox { queue: Arc::new(ArrayQueue::new(1)), wake, counters: Arc::default() }
        };
        let inboxes = vec![inbox(), inbox()];
        let dir = tempfile::tempdir().expect("a directory");
        let options = Arc::new(crate::node::states::StoreOptions::new(1, 1 << 20, 1 << 20));
        let worker = Arc::new(novax_engine::Worker::start(1).expect("a worker"));
        let (states, _) =
            States::start(dir.path(), options, worker, Arc::default(), 1).expect("a thread");
        let router = Router::new(inboxes.clone(), states);
        router.link_down(NodeId::FIRST, Refusal::Lost);
        assert_eq!(woken.load(Ordering::SeqCst), 2);
        // A full queue is counted, and nobody waits for room.
        router.link_down(NodeId::FIRST, Refusal::Lost);
        for inbox in inboxes {
            assert_eq!(inbox.counters.peer_messages_dropped.get(), 1);
            let heard = inbox.queue.pop().expect("heard");
            assert!(heard.from == NodeId::FIRST && matches!(heard.input, PeerInput::LinkDown));
        }
    }
}
