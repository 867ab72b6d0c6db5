//! What the links count, and how they stand, for metrics and for people.

use crate::connection::PeerInfo;
use crate::error::{REFUSALS, Refusal};
use novax_model::NodeId;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts by kind of refusal.
#[derive(Debug)]
pub(super) struct Refusals(Box<[AtomicU64]>);

impl Refusals {
    pub(super) fn new() -> Refusals {
        Refusals(REFUSALS.iter().map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn count(&self, refusal: Refusal) {
        // Numbers of refusals begin at 1, without a gap.
        if let Some(counter) = self.0.get(usize::from(refusal.code()) - 1) {
            counter.fetch_add(1, Relaxed);
        }
    }

    fn read(&self) -> Vec<(Refusal, u64)> {
        REFUSALS.iter().copied().zip(self.0.iter().map(|count| count.load(Relaxed))).collect()
    }
}

/// What one link counts since the start of the node.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) messages_in: AtomicU64,
    pub(super) messages_out: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) snapshot_bytes_in: AtomicU64,
    pub(super) snapshot_bytes_out: AtomicU64,
    /// Messages that were not taken for want of room.
    pub(super) full: AtomicU64,
    /// Messages that waited when their link ended.
    pub(super) dropped: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) round_trip_us: AtomicU64,
    pub(super) standing: Mutex<Standing>,
}

/// How a link stands; written when that changes, by the links' thread alone.
#[derive(Debug, Default, Clone)]
pub(super) struct Standing {
    pub(super) address: String,
    pub(super) up: Option<(PeerInfo, Instant)>,
    pub(super) ended: Option<Refusal>,
}

impl Counters {
    pub(super) fn set_standing(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn read(&self, node: NodeId) -> LinkStatus {
        let Standing { address, up, ended } =
            self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (peer, up_for) = up.map(|(peer, since)| (peer, since.elapsed())).unzip();
        LinkStatus {
            node,
            address,
            peer,
            up_for,
            ended,
            round_trip: Duration::from_micros(self.round_trip_us.load(Relaxed)),
            connects: self.connects.load(Relaxed),
            messages_in: self.messages_in.load(Relaxed),
            messages_out: self.messages_out.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            snapshot_bytes_in: self.snapshot_bytes_in.load(Relaxed),
            snapshot_bytes_out: self.snapshot_bytes_out.load(Relaxed),
            full: self.full.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }
}

/// A link, as of now. Counts are since the start of this node.
#[derive(Debug, Clone)]
pub struct LinkStatus {
    /// To whom.
    pub node: NodeId,
    /// Where it is called.
    pub address: String,
    /// What it said of itself, while the link is up.
    pub peer: Option<PeerInfo>,
    /// How long the link has been up.
    pub up_for: Option<Duration>,
    /// Why the last connection ended, or was not made.
    pub ended: Option<Refusal>,
    /// The time a ping took, lately.
    pub round_trip: Duration,
    /// Connections made.
    pub connects: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages given to the connection.
    pub messages_out: u64,
    /// Bytes received, TLS aside.
    pub bytes_in: u64,
    /// Bytes sent, TLS aside.
    pub bytes_out: u64,
    /// Bytes of snapshots received.
    pub snapshot_bytes_in: u64,
    /// Bytes of snapshots sent.
    pub snapshot_bytes_out: u64,
    /// Messages that were not taken for want of room.
    pub full: u64,
    /// Messages that waited when their connection ended.
    pub dropped: u64,
}

/// All links, as of now.
#[derive(Debug, Clone)]
pub struct Status {
    /// One for each peer, by number.
    pub links: Vec<LinkStatus>,
    /// Connections this node refused or ended, by kind, all kinds.
    pub refusals: Vec<(Refusal, u64)>,
}

impl Status {
    pub(super) fn new(links: Vec<LinkStatus>, refusals: &Refusals) -> Status {
        Status { links, refusals: refusals.read() }
    }

    /// How often this node refused for that.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        let found = self.refusals.iter().find(|(kind, _)| *kind == refusal);
        found.map_or(0, |(_, count)| *count)
    }

    /// The link to that node, if it is a peer.
    #[must_use]
    pub fn link(&self, node: NodeId) -> Option<&LinkStatus> {
        self.links.iter().find(|link| link.node == node)
    }
}
