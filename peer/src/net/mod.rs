//! Links over real sockets, on a thread of their own.
//!
//! * One connection a pair of nodes: of two nodes the one with the lower number calls, again and again, until
//!   the other answers. A newer connection of the same node takes the place of an older one.
//! * Who sends never waits ([`Outbox`]); what comes is handed to a [`Handler`] on the links' thread, which
//!   must not wait either.
//! * A connection that has not said who it is has a short time to, and there are few of them at a time:
//!   strangers cannot keep nodes from each other.
//!
//! Files, from the ground up: `handler` (what users provide), `stats`, `outbox` (the way in), `transfer`
//! (snapshots), `common`, `socket` (one greeting), `link` (one peer over its connections), `accept` (being called).

mod accept;
mod common;
mod handler;
mod link;
mod outbox;
mod socket;
mod stats;
mod transfer;

pub use handler::{Handler, Snapshot, SnapshotSink, SnapshotSource, TakenSnapshot};
pub use outbox::Outbox;
pub use stats::{LinkStatus, Status};

use crate::connection::{Local, Timing};
use crate::error::{Error, SendError};
use crate::id::RunId;
use crate::message::{Message, SnapshotId};
use crate::pki::{Authority, Identity};
use crate::snapshot::Pace;
use common::{Common, Order, Peer};
use link::Link;
use novax_model::NodeId;
use stats::{Counters, Refusals};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Orders that wait for one link.
const ORDERS_MAX: usize = 64;
/// Threads that may wait for files, of all snapshots together.
const WAITING_THREADS_MAX: usize = 8;
/// How long links may take to say goodbye when the node stops.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// How a node links itself with others.
#[derive(Debug)]
pub struct Config {
    /// Who it is.
    pub identity: Identity,
    /// The key of the cluster's authority, where it is: others can join here.
    pub authority: Option<Authority>,
    /// Which life of the node this is.
    pub run: RunId,
    /// Versions of the state this build can exchange.
    pub state_versions: RangeInclusive<u32>,
    /// Where to be called.
    pub listen: SocketAddr,
    /// How long things may take.
    pub timing: Timing,
    /// Bytes a second of all snapshots this node sends.
    pub snapshot_bytes_per_s: u64,
    /// Connections that have not said who they are, at a time.
    pub greeting_max: usize,
}

impl Config {
    /// With what is right for most.
    #[must_use]
    pub fn new(
        identity: Identity,
        run: RunId,
        state_versions: RangeInclusive<u32>,
        listen: SocketAddr,
    ) -> Config {
        Config {
            identity,
            authority: None,
            run,
            state_versions,
            listen,
            timing: Timing::default(),
            snapshot_bytes_per_s: 64 << 20,
            greeting_max: 64,
        }
    }
}

/// The links of a node. They end when this is dropped.
pub struct Links {
    common: Arc<Common>,
    address: SocketAddr,
    runtime: tokio::runtime::Handle,
    /// Each task holds one: when all are gone the thread may end.
    alive: Option<mpsc::Sender<()>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({} at {})", self.common.local.node, self.address)
    }
}

impl Links {
    /// Begins to be called, and to call `peers`: node and address (`host:port`), itself left out or not.
    ///
    /// # Errors
    /// [`Error`]: the address cannot be used, or the certificates.
    pub fn start(
        config: Config,
        peers: &[(NodeId, String)],
        handler: Arc<dyn Handler>,
    ) -> Result<Links, Error> {
        let failed = || Error::io(format!("listening at {}", config.listen));
        let listener = TcpListener::bind(config.listen).map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let configs = config.identity.configs()?;
        let (cluster, node) = (config.identity.cluster, config.identity.node);
        let common = Arc::new(Common {
            local: Local::new(cluster, node, config.run, config.state_versions),
            timing: config.timing,
            configs,
            authority: config.authority,
            handler,
            pace: Arc::new(Mutex::new(Pace::new(config.snapshot_bytes_per_s))),
            refusals: Refusals::new(),
            peers: RwLock::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(WAITING_THREADS_MAX)
            .build()
            .map_err(Error::io("the links' thread"))?;
        let (stop, stopped) = oneshot::channel();
        let (alive, gone) = mpsc::channel(1);
        let handle = runtime.handle().clone();
        let accepting = accept::accept(Arc::clone(&common), listener, config.greeting_max);
        let thread = std::thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || runtime.block_on(run(accepting, stopped, gone)))
            .map_err(Error::io("the links' thread"))?;
        let (alive, stop, thread) = (Some(alive), Some(stop), Some(thread));
        let links = Links { common, address, runtime: handle, alive, stop, thread };
        links.set_peers(peers);
        Ok(links)
    }

    /// Where this node is called.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who is a peer from now on, and where: links to others end, and those are refused; links that stay are not
    /// disturbed.
    pub fn set_peers(&self, wanted: &[(NodeId, String)]) {
        let wanted: BTreeMap<NodeId, &String> =
            wanted.iter().map(|(node, address)| (*node, address)).collect();
        let mut peers = self.common.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|node, _| wanted.contains_key(node));
        for (node, address) in wanted {
            if node == self.common.local.node {
                continue;
            }
            if peers.get_mut(&node).is_some_and(|peer| peer.move_to(address)) {
                continue;
            }
            peers.insert(node, self.add_peer(node, address));
        }
    }

    fn add_peer(&self, node: NodeId, address: &str) -> Peer {
        let counters = Arc::new(Counters::default());
        counters.set_standing(|standing| address.clone_into(&mut standing.address));
        let (outbox, inbox) = outbox::outbox(node, Arc::clone(&counters));
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let common = Arc::clone(&self.common);
        let link =
            Link::new(node, address.to_owned(), common, inbox, received, Arc::clone(&counters));
        let alive = self.alive.clone();
        self.runtime.spawn(async move {
            link.run().await;
            drop(alive);
        });
        Peer { address: address.to_owned(), outbox, counters, orders }
    }

    /// Where messages for a node are given, if it is a peer.
    #[must_use]
    pub fn outbox(&self, node: NodeId) -> Option<Outbox> {
        self.common.with_peers(|peers| peers.get(&node).map(|peer| peer.outbox.clone()))
    }

    /// Sends a message as [`Outbox::send`] does, the node looked up.
    ///
    /// # Errors
    /// [`SendError`]; the message is gone.
    pub fn send(&self, to: NodeId, message: Message) -> Result<(), SendError> {
        self.common
            .with_peers(|peers| peers.get(&to).ok_or(SendError::Unknown)?.outbox.send(message))
    }

    /// Sends a snapshot, as soon as there is a link and through as many as it takes; the handler hears how it ended.
    ///
    /// # Errors
    /// [`SendError`]; the snapshot is gone.
    pub fn send_snapshot(&self, to: NodeId, snapshot: Snapshot) -> Result<(), SendError> {
        let max = crate::message::ABOUT_BYTES_MAX;
        if snapshot.about.len() > max {
            return Err(SendError::TooLarge { max });
        }
        self.order(to, Order::Snapshot(snapshot))
    }

    /// Gives up sending a snapshot.
    ///
    /// # Errors
    /// [`SendError`]: no such peer, or too many orders.
    pub fn cancel_snapshot(&self, to: NodeId, id: SnapshotId) -> Result<(), SendError> {
        self.order(to, Order::Cancel(id))
    }

    /// Ends the connection to a peer; it is made again at once.
    ///
    /// # Errors
    /// [`SendError`]: no such peer, or too many orders.
    pub fn disconnect(&self, node: NodeId) -> Result<(), SendError> {
        self.order(node, Order::Disconnect)
    }

    fn order(&self, to: NodeId, order: Order) -> Result<(), SendError> {
        let orders = self.common.orders(to).ok_or(SendError::Unknown)?;
        orders.try_send(order).map_err(|_| SendError::Full)
    }

    /// How the links stand, and what was refused.
    #[must_use]
    pub fn status(&self) -> Status {
        let read = |(node, peer): (&NodeId, &Peer)| peer.counters.read(*node);
        let links = self.common.with_peers(|peers| peers.iter().map(read).collect());
        Status::new(links, &self.common.refusals)
    }

    /// Whether the authority's key is here.
    #[must_use]
    pub fn can_invite(&self) -> bool {
        self.common.authority.is_some()
    }

    /// Invites a node, where the authority's key is.
    ///
    /// # Errors
    /// [`Error`]: this node has no such key, or for files.
    pub fn invite(&self, node: NodeId, valid: Duration) -> Result<crate::pki::Token, Error> {
        self.common.authority.as_ref().ok_or(Error::NoAuthority)?.invite(node, valid)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // Links whose peers are gone say goodbye and end.
        self.set_peers(&[]);
        self.alive = None;
        if let Some(stop) = self.stop.take() {
            let _heard = stop.send(()).is_ok();
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the links' thread panicked");
        }
    }
}

/// The links' thread: accepts until it is told to stop, then lets the links end.
async fn run(
    accepting: impl Future<Output = ()>,
    stopped: oneshot::Receiver<()>,
    mut gone: mpsc::Receiver<()>,
) {
    tokio::select! {
        () = accepting => {}
        _ = stopped => {}
    }
    let _in_time = tokio::time::timeout(GOODBYE_MAX, gone.recv()).await.is_ok();
}
