//! What other threads want sent to a node, on its way to the links' thread.
//!
//! * Taking a message never waits and takes no lock. Each lane is bounded in bytes; full is said at once.
//! * A message belongs to the link that was up when it was taken: it never goes over a later one.

use super::stats::Counters;
use crate::error::SendError;
use crate::frame::Lane;
use crate::message::Message;
use novax_model::NodeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Lanes of messages, the most urgent first, and the waiting bytes at which each is full.
pub(super) const LANES: [(Lane, usize); 3] =
    [(Lane::Raft, 64 << 20), (Lane::Answer, 16 << 20), (Lane::Request, 16 << 20)];
/// What a waiting message takes beside its bytes, about: empty ones are bounded too.
const OVERHEAD_BYTES: usize = 128;
/// No link is up.
const DOWN: u64 = 0;

#[derive(Debug)]
struct Shared {
    node: NodeId,
    /// The number of the link that is up, or [`DOWN`].
    link: AtomicU64,
    waiting: [AtomicUsize; LANES.len()],
    counters: Arc<Counters>,
}

/// Where messages for one node are given. Cheap to copy; what a shard keeps to send without looking the node up.
#[derive(Debug, Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    lanes: [UnboundedSender<(u64, Message)>; LANES.len()],
}

/// The other end of an [`Outbox`].
#[derive(Debug)]
pub(super) struct Inbox {
    shared: Arc<Shared>,
    lanes: [UnboundedReceiver<(u64, Message)>; LANES.len()],
    links: u64,
}

pub(super) fn outbox(node: NodeId, counters: Arc<Counters>) -> (Outbox, Inbox) {
    let link = AtomicU64::new(DOWN);
    let shared = Arc::new(Shared { node, link, waiting: Default::default(), counters });
    let [(raft, from_raft), (answer, from_answer), (request, from_request)] =
        std::array::from_fn(|_| unbounded_channel());
    let outbox = Outbox { shared: Arc::clone(&shared), lanes: [raft, answer, request] };
    (outbox, Inbox { shared, lanes: [from_raft, from_answer, from_request], links: 0 })
}

fn place(lane: Lane) -> usize {
    let found = LANES.iter().position(|(one, _)| *one == lane);
    found.expect("messages go through one of these")
}

impl Outbox {
    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// Whether a link is up now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.link.load(Ordering::Acquire) != DOWN
    }

    /// A message for that node. It is sent at once when the link is idle, with others when it is busy; it is lost when
    /// the link ends first.
    ///
    /// # Errors
    /// [`SendError`]; the message is gone.
    pub fn send(&self, message: Message) -> Result<(), SendError> {
        let link = self.shared.link.load(Ordering::Acquire);
        if link == DOWN {
            return Err(SendError::Down);
        }
        let max = message.lane().message_bytes_max();
        if message.len() > max {
            return Err(SendError::TooLarge { max });
        }
        let (place, bytes) = (place(message.lane()), message.len() + OVERHEAD_BYTES);
        let waiting = &self.shared.waiting[place];
        if waiting.fetch_add(bytes, Ordering::Relaxed) >= LANES[place].1 {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.shared.counters.full.fetch_add(1, Ordering::Relaxed);
            return Err(SendError::Full);
        }
        self.lanes[place].send((link, message)).map_err(|_| SendError::Unknown)
    }
}

impl Inbox {
    /// A link is up: messages are taken for it.
    pub(super) fn open(&mut self) {
        self.links += 1;
        self.shared.link.store(self.links, Ordering::Release);
    }

    /// The link is down: nothing is taken any more, and what waits is dropped.
    pub(super) fn close(&mut self) {
        self.shared.link.store(DOWN, Ordering::Release);
        for place in 0..LANES.len() {
            while let Ok((_, message)) = self.lanes[place].try_recv() {
                self.left(place, &message);
                self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The next message of a lane, by its place in [`LANES`]; `None` when all outboxes are gone.
    pub(super) fn poll_take(
        &mut self,
        place: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Message>> {
        loop {
            let Some((link, message)) = std::task::ready!(self.lanes[place].poll_recv(cx)) else {
                return Poll::Ready(None);
            };
            self.left(place, &message);
            if link == self.links {
                return Poll::Ready(Some(message));
            }
            self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn left(&self, place: usize, message: &Message) {
        let bytes = message.len() + OVERHEAD_BYTES;
        self.shared.waiting[place].fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Outbox, Inbox) {
        outbox(NodeId::FIRST, Arc::default())
    }

    fn next(inbox: &mut Inbox, place: usize) -> Option<Message> {
        match inbox.poll_take(place, &mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }

    fn raft(len: usize) -> Message {
        Message::Raft(vec![0; len].into())
    }

    #[test]
    fn a_full_lane_says_so_and_has_room_again_when_something_left() {
        let (outbox, mut inbox) = pair();
        assert_eq!(outbox.send(raft(1)), Err(SendError::Down));
        inbox.open();
        let taken = std::iter::repeat_with(|| outbox.send(raft(1 << 20)));
        assert_eq!(taken.take_while(Result::is_ok).count(), 64);
        let request = Message::Request { token: 1, body: vec![0; 9].into() };
        assert_eq!(outbox.send(request.clone()), Ok(()), "other lanes have room");
        assert_eq!(next(&mut inbox, 0), Some(raft(1 << 20)));
        assert_eq!(outbox.send(raft(1)), Ok(()));
        assert_eq!(next(&mut inbox, 2), Some(request));
        let max = Lane::Raft.message_bytes_max();
        assert_eq!(outbox.send(raft(max + 1)), Err(SendError::TooLarge { max }));
    }

    #[test]
    fn a_message_never_goes_over_a_later_link() {
        let (outbox, mut inbox) = pair();
        inbox.open();
        let late = outbox.clone();
        // As if it was taken while the link went down.
        late.lanes[0].send((1, raft(3))).expect("the other end is there");
        outbox.shared.waiting[0].fetch_add(3 + OVERHEAD_BYTES, Ordering::Relaxed);
        outbox.shared.link.store(DOWN, Ordering::Release);
        assert_eq!(outbox.send(raft(1)), Err(SendError::Down));
        inbox.open();
        outbox.send(raft(7)).expect("a link is up");
        assert_eq!(next(&mut inbox, 0), Some(raft(7)));
        inbox.close();
        assert_eq!(outbox.shared.waiting[0].load(Ordering::Relaxed), 0);
        assert_eq!(outbox.shared.counters.dropped.load(Ordering::Relaxed), 1);
    }
}
