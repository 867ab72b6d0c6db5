//! What the tasks of the links' thread share, and what they tell each other.

use super::handler::{Handler, Snapshot};
use super::outbox::Outbox;
use super::stats::{Counters, Refusals};
use crate::connection::{Connection, Local, PeerInfo, Timing};
use crate::message::SnapshotId;
use crate::pki::{Authority, Configs};
use crate::snapshot::Pace;
use bytes::BytesMut;
use novax_model::NodeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsStream;

/// What all tasks of the links' thread share.
pub(super) struct Common {
    pub(super) local: Local,
    pub(super) timing: Timing,
    pub(super) configs: Configs,
    pub(super) authority: Option<Authority>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) pace: Arc<Mutex<Pace>>,
    pub(super) refusals: Refusals,
    pub(super) peers: RwLock<BTreeMap<NodeId, Peer>>,
}

impl Common {
    pub(super) fn with_peers<T>(&self, read: impl FnOnce(&BTreeMap<NodeId, Peer>) -> T) -> T {
        read(&self.peers.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn orders(&self, node: NodeId) -> Option<mpsc::Sender<Order>> {
        self.with_peers(|peers| peers.get(&node).map(|peer| peer.orders.clone()))
    }
}

/// A peer, as other threads see it. When it goes, its link ends.
pub(super) struct Peer {
    pub(super) address: String,
    pub(super) outbox: Outbox,
    pub(super) counters: Arc<Counters>,
    pub(super) orders: mpsc::Sender<Order>,
}

impl Peer {
    /// The peer is called at `address` from now on; `false` when its link is gone or cannot be told.
    pub(super) fn move_to(&mut self, address: &str) -> bool {
        if self.address == address {
            return !self.orders.is_closed();
        }
        address.clone_into(&mut self.address);
        self.counters.set_standing(|standing| address.clone_into(&mut standing.address));
        self.orders.try_send(Order::Address(address.to_owned())).is_ok()
    }
}

/// What a link is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// The peer has called.
    Adopt(Box<Established>),
    /// Send this.
    Snapshot(Snapshot),
    /// Stop sending it.
    Cancel(SnapshotId),
    /// The peer is called there now.
    Address(String),
    /// End this connection.
    Disconnect,
}

/// A connection whose ends know each other.
pub(super) struct Established {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) connection: Connection,
    /// What came behind the greeting.
    pub(super) input: BytesMut,
    pub(super) peer: PeerInfo,
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Established({:?})", self.peer)
    }
}
