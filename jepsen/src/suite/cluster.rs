//! The nodes of a run, and what a fault can get hold of.
//!
//! **Invariants**
//! * Addresses stay the same over all restarts.
//! * A node that ends by itself is remembered as such, unless a fault said that it might.

use crate::harness::{Doing as _, HarnessError};
use crate::http::Client;
use crate::nemesis::clock::Clock;
use crate::nemesis::disk::Disk;
use crate::nemesis::net::{Network, Place};
use crate::nemesis::process;
use crate::nemesis::proxy::{Delay, Direction, Proxy};
use crate::nemesis::tag::Tag;
use crate::node::{Addresses, Launch, Node};
use novax_model::NodeId;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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

    /// Starts a node that is down, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    fn start(&mut self, node: NodeId) -> Result<Duration, HarnessError>;

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
    /// Where their data and logs are.
    pub folder: PathBuf,
    /// Decides what proxies do by chance.
    pub seed: u64,
}

/// The size of a node's own disk.
const DISK_BYTES: u64 = 768 << 20;

/// Nodes as processes.
#[derive(Debug)]
pub struct Processes {
    // Dropped in this order: processes before what they stand on.
    nodes: BTreeMap<NodeId, One>,
    network: Option<Network>,
    unexpected: Vec<String>,
}

#[derive(Debug)]
struct One {
    process: Node,
    proxies: Option<[Proxy; 3]>,
    clock: Option<Clock>,
    disk: Option<Disk>,
    client: Client,
}

impl Processes {
    /// Starts them all. The calling thread is in the clients' network afterwards, when there is one.
    ///
    /// # Errors
    /// When a tool fails or a node does not become ready.
    pub fn start(layout: &Layout) -> Result<Processes, HarnessError> {
        let tag = Tag::new();
        let network = match layout.needs.network {
            true => Some(Network::create(&tag, layout.nodes)?),
            false => None,
        };
        if let Some(network) = &network {
            network.clients().enter()?;
        }
        let mut nodes = BTreeMap::new();
        for node in (1..=layout.nodes).filter_map(NodeId::new) {
            nodes.insert(node, One::start(layout, &tag, node, network.as_ref())?);
        }
        Ok(Processes { nodes, network, unexpected: Vec::new() })
    }

    fn one(&mut self, node: NodeId) -> Result<&mut One, HarnessError> {
        let unknown = || HarnessError::Scene(format!("there is no node {}", node.get()));
        self.nodes.get_mut(&node).ok_or_else(unknown)
    }
}

impl One {
    fn start(
        layout: &Layout,
        tag: &Tag,
        node: NodeId,
        network: Option<&Network>,
    ) -> Result<One, HarnessError> {
        let name = format!("n{}", node.get());
        let folder = layout.folder.join(&name);
        std::fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
        let disk = match layout.needs.disk {
            true => Some(Disk::create(tag, &name, &folder, DISK_BYTES)?),
            false => None,
        };
        let clock = match layout.needs.clock {
            true => Clock::create(&folder.join("clock"))?,
            false => None,
        };
        let place = network.map(|network| network.place(node));
        let launch = Launch {
            prefix: place.map(Place::prefix).unwrap_or_default(),
            environment: clock.as_ref().map(Clock::environment).unwrap_or_default(),
            data: disk.as_ref().map_or(folder.as_path(), Disk::folder).join("data"),
            log: folder.join("log"),
            flags: layout.flags.clone(),
        };
        let host = place.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |place| place.address);
        let any = SocketAddr::new(host, 0);
        let addresses = Addresses { ocpp: any, http: any, sql: any };
        let doing = || format!("starting node {}", node.get());
        let process = Node::start_at(launch, addresses).doing(doing)?;
        let proxies = match layout.needs.proxies {
            true => Some(proxies(process.addresses, network, layout.seed)?),
            false => None,
        };
        let mut client = process.client();
        client.address = seen(&proxies, process.addresses).http;
        Ok(One { process, proxies, clock, disk, client })
    }
}

fn proxies(
    of: Addresses,
    network: Option<&Network>,
    seed: u64,
) -> Result<[Proxy; 3], HarnessError> {
    let host = network.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |network| network.clients().address);
    let proxy = |target, number| Proxy::start(SocketAddr::new(host, 0), target, seed ^ number);
    Ok([proxy(of.ocpp, 1)?, proxy(of.http, 2)?, proxy(of.sql, 3)?])
}

/// Where clients find a node: its proxies, or itself.
fn seen(proxies: &Option<[Proxy; 3]>, own: Addresses) -> Addresses {
    match proxies {
        Some([ocpp, http, sql]) => {
            Addresses { ocpp: ocpp.address, http: http.address, sql: sql.address }
        }
        None => own,
    }
}

impl Cluster for Processes {
    fn nodes(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |(node, one): (&NodeId, &One)| Endpoint {
            node: *node,
            addresses: seen(&one.proxies, one.process.addresses),
            client: one.client.clone(),
        };
        self.nodes.iter().map(endpoint).collect()
    }

    fn leader(&self) -> Option<NodeId> {
        // A node alone leads.
        let mut nodes = self.nodes.keys();
        nodes.next().copied().filter(|_| nodes.next().is_none())
    }

    fn start(&mut self, node: NodeId) -> Result<Duration, HarnessError> {
        let begun = Instant::now();
        let one = self.one(node)?;
        let down = |error: std::io::Error| HarnessError::NodeDown {
            node: node.get(),
            said: error.to_string(),
        };
        one.process.restart(None).map_err(down)?;
        Ok(begun.elapsed())
    }

    fn kill(&mut self, node: NodeId) -> Result<(), HarnessError> {
        let one = self.one(node)?;
        let ended = one.process.ended().doing(|| format!("looking after node {}", node.get()))?;
        one.process.end().doing(|| format!("killing node {}", node.get()))?;
        if let Some(status) = ended {
            self.unexpected.push(format!("node {} ended by itself: {status}", node.get()));
        }
        Ok(())
    }

    fn put_down(&mut self, node: NodeId) -> Result<(), HarnessError> {
        self.one(node)?.process.end().doing(|| format!("killing node {}", node.get()))
    }

    fn is_up(&mut self, node: NodeId) -> bool {
        self.one(node).is_ok_and(|one| matches!(one.process.ended(), Ok(None)))
    }

    fn pause(&mut self, node: NodeId) -> Result<(), HarnessError> {
        process::pause(self.one(node)?.process.pid())
    }

    fn resume(&mut self, node: NodeId) -> Result<(), HarnessError> {
        process::resume(self.one(node)?.process.pid())
    }

    fn network(&mut self) -> Option<&mut Network> {
        self.network.as_mut()
    }

    fn disk(&mut self, node: NodeId) -> Option<&mut Disk> {
        self.nodes.get_mut(&node)?.disk.as_mut()
    }

    fn join_disk(&mut self, node: NodeId) -> Result<(), HarnessError> {
        let one = self.one(node)?;
        let pid = one.process.pid();
        one.disk.as_ref().map_or(Ok(()), |disk| disk.join(pid))
    }

    fn clock(&self, node: NodeId) -> Option<&Clock> {
        self.nodes.get(&node)?.clock.as_ref()
    }

    fn delay(&mut self, node: NodeId, direction: Direction, delay: Delay) -> bool {
        let Some(proxies) = self.nodes.get(&node).and_then(|one| one.proxies.as_ref()) else {
            return false;
        };
        for proxy in proxies {
            proxy.set(direction, delay);
        }
        true
    }

    fn data(&self, node: NodeId) -> Option<PathBuf> {
        Some(self.nodes.get(&node)?.process.data().to_owned())
    }

    fn unexpected(&mut self) -> Vec<String> {
        for node in self.nodes() {
            if let Ok(one) = self.one(node)
                && let Ok(Some(status)) = one.process.ended()
            {
                self.unexpected.push(format!("node {} ended by itself: {status}", node.get()));
            }
        }
        std::mem::take(&mut self.unexpected)
    }
}

/// Where a node's words are, under the folder of its layout.
#[must_use]
pub fn log_path(folder: &Path, node: NodeId) -> PathBuf {
    folder.join(format!("n{}", node.get())).join("log")
}
