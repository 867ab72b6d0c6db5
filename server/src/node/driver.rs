//! The loop of a shard's thread: what the ring says goes into the shard, what the shard wants goes to the ring.
//!
//! One system call a turn when there is work, two when it writes the log, none but the wait when there is not.

use super::states::States;
use crate::cluster::Keeper;
use crate::control::Request;
use crossbeam_queue::ArrayQueue;
use novax_model::{Duration, Timestamp};
use novax_peer::Message;
use novax_peer::net::Links;
use novax_raft::Block;
use novax_ring::{Completion, Ring, RingHandle};
use novax_shard::peers::{FromPeer, Lane, PeerSend};
use novax_shard::{Effects, Shard};
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

/// After the order to stop, sockets have this long to read their close frames.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Tags of the listeners: who comes there.
pub const STATIONS: u8 = 0;
/// See [`STATIONS`].
pub const APPS: u8 = 1;

/// What a shard's loop works with.
pub struct Driver {
    /// The shard.
    pub shard: Shard,
    /// Its ring.
    pub ring: Ring,
    /// All rings, to hand sockets over.
    pub rings: Vec<RingHandle>,
    /// Requests of the control plane.
    pub requests: Arc<ArrayQueue<Request>>,
    /// What came from other nodes.
    pub peers: Arc<ArrayQueue<FromPeer>>,
    /// The way to them, once it is there; none on a node that stands alone.
    pub links: Arc<OnceLock<Links>>,
    /// States that come and go.
    pub states: Arc<States>,
    /// Hears who the nodes of the cluster are; none on a node that stands alone.
    pub keeper: Option<Arc<Keeper>>,
    /// With their tags. Taken once every shard's state is as new as its log.
    pub listeners: Vec<(TcpListener, u8)>,
    /// How many shards are not there yet.
    pub behind: Arc<AtomicUsize>,
    /// The time last used, and when that was.
    pub clock: (Timestamp, Instant),
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("shard", &self.shard).finish_non_exhaustive()
    }
}

/// The wall clock. The only place of the data plane that reads it.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

impl Driver {
    /// Runs until the shard is told to stop.
    ///
    /// # Errors
    /// When the ring fails.
    pub fn run(mut self) -> io::Result<Shard> {
        let mut completions = Vec::new();
        let mut counted = false;
        let mut stop_at: Option<Timestamp> = None;
        self.turn(&mut completions)?;
        loop {
            if !counted && self.shard.is_caught_up() {
                counted = true;
                self.behind.fetch_sub(1, Ordering::SeqCst);
                self.rings.iter().for_each(RingHandle::wake);
            }
            if self.behind.load(Ordering::SeqCst) == 0 {
                for (listener, tag) in self.listeners.drain(..) {
                    self.ring.listen(listener, tag)?;
                }
            }
            if self.shard.is_stopping() {
                let now = self.now();
                let stop_at = *stop_at.get_or_insert(now.saturating_add(STOP_TIMEOUT));
                if self.shard.is_quiet() || now >= stop_at {
                    return Ok(self.shard);
                }
            }
            let wait = self.shard.sleep_max();
            self.ring.submit_and_wait(Some(wait), &mut completions)?;
            self.turn(&mut completions)?;
        }
    }

    /// The wall clock, but never slower than time itself: when it is set back, timers go on.
    fn now(&mut self) -> Timestamp {
        let (last, at) = self.clock;
        let time = now().max(last.saturating_add(at.elapsed()));
        self.clock = (time, Instant::now());
        time
    }

    fn turn(&mut self, completions: &mut Vec<Completion>) -> io::Result<()> {
        let now = self.now();
        self.shard.set_now(now);
        for completion in completions.drain(..) {
            Self::handle(&mut self.shard, completion);
        }
        self.shard.take_requests(&self.requests);
        self.shard.take_peers(&self.peers);
        self.shard.send_off();
        let effects = self.shard.take_effects();
        let writes = effects.log_write.is_some();
        self.perform(effects);
        if writes {
            self.ring.submit()?;
        }
        self.shard.end_turn();
        let effects = self.shard.take_effects();
        self.perform(effects);
        if let (Some(roster), Some(keeper)) = (self.shard.take_roster(), &self.keeper) {
            keeper.tell(roster);
        }
        Ok(())
    }

    /// A link takes it or says at once that it does not.
    fn send_to_peer(&mut self, send: &PeerSend) {
        let body = send.bytes.clone();
        let message = match send.lane {
            Lane::Raft => Message::Raft(body),
            Lane::Request => Message::Request { token: 0, body },
        };
        let sent = self.links.get().map(|links| links.send(send.to, message));
        if !matches!(sent, Some(Ok(()))) {
            self.shard.handle_unsent(send);
        }
    }

    fn handle(shard: &mut Shard, completion: Completion) {
        match completion {
            Completion::Accepted { conn, listener: APPS } => shard.handle_app_accepted(conn),
            Completion::Accepted { conn, .. } => shard.handle_accepted(conn),
            Completion::Received { conn, mut data } => shard.handle_received(conn, &mut data),
            Completion::Sent { conn, buffer } => shard.handle_sent(conn, buffer),
            Completion::Closed { conn, .. } => shard.handle_closed(conn),
            Completion::Adopted { conn, tag } => shard.handle_adopted(conn, tag),
            Completion::TransferFailed { conn, .. } => shard.handle_transfer_failed(conn),
            Completion::TransferDone { conn } => shard.handle_transferred(conn),
            Completion::Written { token, result, buffer } => {
                let blocks = buffer.downcast::<Vec<Block>>().ok().map(|blocks| *blocks);
                shard.handle_log_written(token, blocks.unwrap_or_default(), result);
            }
            Completion::Woken => shard.tend_stores(),
        }
    }

    fn perform(&mut self, effects: Effects) {
        let Effects { sends, closes, finishes, transfers, start_recv, log_write, peers, states } =
            effects;
        for act in states {
            self.states.perform(act);
        }
        for send in peers {
            self.send_to_peer(&send);
        }
        if let Some(write) = log_write {
            self.ring.write_file(write.id, write.fd, write.offset, write.blocks);
        }
        for conn in start_recv {
            self.ring.start_recv(conn);
        }
        for (conn, buffer) in sends {
            // Refused: the socket died in this turn and its `Closed` is on the way.
            let _dead = self.ring.send(conn, buffer);
        }
        for (conn, to, tag) in transfers {
            self.ring.transfer(conn, &self.rings[usize::from(to)], tag);
        }
        for conn in finishes {
            self.ring.close_after_send(conn);
        }
        for conn in closes {
            self.ring.close(conn);
        }
    }
}
