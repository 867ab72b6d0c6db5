//! The nodes of a run, and what a fault can get hold of.
//!
//! **Invariants**
//! * Addresses stay the same over all restarts.
//! * A node that ends by itself is remembered as such, unless a fault said that it might.

use super::members::Left;
use crate::harness::HarnessError;
use crate::http::Client;
use crate::nemesis::clock::Clock;
use crate::nemesis::disk::Disk;
use crate::nemesis::net::Network;
use crate::nemesis::proxy::{Delay, Direction};
use crate::node::Addresses;
use novax_model::NodeId;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where clients find a node.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Which.
    pub node: NodeId,
    /// Where it listens, as clients see it.
    pub addresses: Addresses,
    /// A client of its API.
    pub client: Client,
}

/// Nodes that can be broken.
pub trait Cluster: std::fmt::Debug {
    /// The nodes, whatever their state.
    fn nodes(&self) -> Vec<NodeId>;

    /// Where clients find them.
    fn endpoints(&self) -> Vec<Endpoint>;

    /// The node that leads most partitions; `None` when nobody knows.
    fn leader(&self) -> Option<NodeId>;

    /// Starts nodes that are down, all at once, and waits until they are ready: none of them may be without the
    /// others.
    ///
    /// # Errors
    /// When one does not become ready.
    fn start(&mut self, nodes: &[NodeId]) -> Result<Duration, HarnessError>;

    /// SIGKILL. A node that had ended by itself is remembered.
    ///
    /// # Errors
    /// When the system does not do it.
    fn kill(&mut self, node: NodeId) -> Result<(), HarnessError>;

    /// As [`Cluster::kill`], of a node whose disk was broken: it may have ended by itself.
    ///
    /// # Errors
    /// When the system does not do it.
    fn put_down(&mut self, node: NodeId) -> Result<(), HarnessError>;

    /// Whether it runs.
    fn is_up(&mut self, node: NodeId) -> bool;

    /// SIGSTOP.
    ///
    /// # Errors
    /// When it does not stop.
    fn pause(&mut self, node: NodeId) -> Result<(), HarnessError>;

    /// SIGCONT.
    ///
    /// # Errors
    /// When it is gone.
    fn resume(&mut self, node: NodeId) -> Result<(), HarnessError>;

    /// Its network, if it has one of its own.
    fn network(&mut self) -> Option<&mut Network>;

    /// A node's disk, if it has one of its own.
    fn disk(&mut self, node: NodeId) -> Option<&mut Disk>;

    /// Has a node's process count as a user of its disk.
    ///
    /// # Errors
    /// When the machine has no such control.
    fn join_disk(&mut self, node: NodeId) -> Result<(), HarnessError>;

    /// A node's clock, if it goes by one of its own.
    fn clock(&self, node: NodeId) -> Option<&Clock>;

    /// Delays what goes between clients and a node; `false` when nothing is in between.
    fn delay(&mut self, node: NodeId, direction: Direction, delay: Delay) -> bool;

    /// A node leaves the cluster for good, with all that is on its disk.
    ///
    /// # Errors
    /// When the others do not let it go.
    fn leave(&mut self, node: NodeId, how: Left) -> Result<(), HarnessError>;

    /// A node that left comes back as a new one, with the votes that it had.
    ///
    /// # Errors
    /// When the others do not take it.
    fn come_back(&mut self, node: NodeId) -> Result<(), HarnessError>;

    /// Stops a node as its operator does, and starts it from the other binary. Says which.
    ///
    /// # Errors
    /// When it does not stop, or does not become ready.
    fn upgrade(&mut self, node: NodeId) -> Result<PathBuf, HarnessError>;

    /// A node's data directory.
    fn data(&self, node: NodeId) -> Option<PathBuf>;

    /// Nodes that ended by themselves, in words.
    fn unexpected(&mut self) -> Vec<String>;
}

/// What the nodes are to have of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// A network namespace.
    pub network: bool,
    /// A disk.
    pub disk: bool,
    /// A clock.
    pub clock: bool,
    /// Proxies before its ports.
    pub proxies: bool,
}

/// How nodes are laid out.
#[derive(Debug, Clone)]
pub struct Layout {
    /// How many.
    pub nodes: u64,
    /// What they have of their own.
    pub needs: Needs,
    /// Flags of each.
    pub flags: Vec<String>,
    /// Partitions of a cluster. A node alone has what its flags say.
    pub partitions: u16,
    /// Where their data and logs are.
    pub folder: PathBuf,
    /// What nodes are upgraded to, and back from; what they run anyway where nothing is said.
    pub other: Option<PathBuf>,
    /// Decides what proxies do by chance.
    pub seed: u64,
}

/// Where a node's words are, under the folder of its layout.
#[must_use]
pub fn log_path(folder: &Path, node: NodeId) -> PathBuf {
    folder.join(format!("n{}", node.get())).join("log")
}
