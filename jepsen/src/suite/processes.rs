//! Nodes as processes: one that stands alone, or several that `novax cluster init` makes a cluster of.
//!
//! **Invariants**
//! * Addresses stay the same over all restarts, those of the links too.
//! * Nodes that are to start are started at once: a node of a cluster is ready when a majority is.

use super::cluster::{Cluster, Endpoint, Layout};
use super::leads;
use super::members::{self, Left};
use crate::form::{Founder, form};
use crate::harness::{Doing as _, HarnessError};
use crate::http::Client;
use crate::nemesis::clock::Clock;
use crate::nemesis::disk::Disk;
use crate::nemesis::net::{Network, Place};
use crate::nemesis::process;
use crate::nemesis::proxy::{Delay, Direction, Proxy};
use crate::nemesis::tag::Tag;
use crate::node::{Addresses, Launch, Node, novax};
use novax_model::NodeId;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A node that is asked to stop hands its leads away and ends.
const STOP_MAX: Duration = Duration::from_secs(30);
/// The size of a node's own disk.
const DISK_BYTES: u64 = 768 << 20;

/// The nodes of a run.
#[derive(Debug)]
pub struct Processes {
    // Dropped in this order: processes before what they stand on.
    nodes: BTreeMap<NodeId, One>,
    network: Option<Network>,
    unexpected: Vec<String>,
    /// What nodes run, and what they run after an upgrade.
    binaries: [PathBuf; 2],
}

#[derive(Debug)]
struct One {
    process: Node,
    proxies: Option<[Proxy; 3]>,
    clock: Option<Clock>,
    disk: Option<Disk>,
    client: Client,
    /// Its number in the cluster: another one after it has left and come back.
    number: u64,
    /// Where the others call it.
    links: String,
    left: Option<Left>,
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
        let stands: Vec<Stand> = (1..=layout.nodes)
            .filter_map(NodeId::new)
            .map(|node| Stand::make(layout, &tag, node, network.as_ref()))
            .collect::<Result<_, _>>()?;
        let founders = founders(&stands, network.as_ref())?;
        if stands.len() > 1 {
            form(&founders, layout.partitions).doing(|| "forming a cluster".to_owned())?;
        }
        let network_ref = network.as_ref();
        let started = std::thread::scope(|scope| {
            let starting: Vec<_> = stands
                .into_iter()
                .map(|stand| scope.spawn(move || stand.start(layout, network_ref)))
                .collect();
            let panicked = |_| Err(HarnessError::Scene("starting a node panicked".to_owned()));
            // All are waited for, whatever comes of the first.
            let started: Vec<_> =
                starting.into_iter().map(|one| one.join().unwrap_or_else(panicked)).collect();
            started.into_iter().collect::<Result<BTreeMap<NodeId, One>, _>>()
        });
        let mut nodes = started?;
        for Founder { node, address, .. } in founders {
            if let Some(one) = nodes.get_mut(&node) {
                one.links = address;
            }
        }
        let other = layout.other.clone().unwrap_or_else(novax);
        Ok(Processes { nodes, network, unexpected: Vec::new(), binaries: [novax(), other] })
    }

    /// Somebody else, who is up.
    fn other_than(&mut self, node: NodeId) -> Result<&Node, HarnessError> {
        let up = |(other, one): (&NodeId, &mut One)| {
            (*other != node && matches!(one.process.ended(), Ok(None))).then_some(*other)
        };
        let found = self.nodes.iter_mut().find_map(up);
        let nobody = || HarnessError::Scene(format!("node {} is the last one", node.get()));
        let other = found.ok_or_else(nobody)?;
        Ok(&self.one(other)?.process)
    }

    fn one(&mut self, node: NodeId) -> Result<&mut One, HarnessError> {
        let unknown = || HarnessError::Scene(format!("there is no node {}", node.get()));
        self.nodes.get_mut(&node).ok_or_else(unknown)
    }
}

/// What a node stands on before it runs.
#[derive(Debug)]
struct Stand {
    node: NodeId,
    launch: Launch,
    host: IpAddr,
    clock: Option<Clock>,
    disk: Option<Disk>,
}

impl Stand {
    fn make(
        layout: &Layout,
        tag: &Tag,
        node: NodeId,
        network: Option<&Network>,
    ) -> Result<Stand, HarnessError> {
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
        let mut flags = layout.flags.clone();
        if layout.nodes > 1 {
            flags.extend(["--partitions".to_owned(), layout.partitions.to_string()]);
        }
        let launch = Launch {
            program: novax(),
            prefix: place.map(Place::prefix).unwrap_or_default(),
            environment: clock.as_ref().map(Clock::environment).unwrap_or_default(),
            data: disk.as_ref().map_or(folder.as_path(), Disk::folder).join("data"),
            log: folder.join("log"),
            flags,
        };
        let host = place.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |place| place.address);
        Ok(Stand { node, launch, host, clock, disk })
    }

    fn start(
        self,
        layout: &Layout,
        network: Option<&Network>,
    ) -> Result<(NodeId, One), HarnessError> {
        let Stand { node, launch, host, clock, disk } = self;
        let any = SocketAddr::new(host, 0);
        let addresses = Addresses { ocpp: any, http: any, starts: None, sql: any };
        let doing = || format!("starting node {}", node.get());
        let process = Node::start_at(launch, addresses).doing(doing)?;
        let proxies = match layout.needs.proxies {
            true => Some(proxies(process.addresses, network, layout.seed)?),
            false => None,
        };
        let mut client = process.client();
        client.address = seen(&proxies, process.addresses).http;
        let (number, links, left) = (node.get(), String::new(), None);
        Ok((node, One { process, proxies, clock, disk, client, number, links, left }))
    }
}

/// Where nodes call each other when each has a network of its own.
const LINKS_PORT: u16 = 7700;

/// The nodes with the addresses of their links.
fn founders(stands: &[Stand], network: Option<&Network>) -> Result<Vec<Founder>, HarnessError> {
    // On one machine's own network: ports that nobody uses at the moment, all held until the last is found.
    let mut held = Vec::new();
    let mut founders = Vec::new();
    for Stand { node, launch, host, .. } in stands {
        let mut address = SocketAddr::new(*host, LINKS_PORT);
        if network.is_none() {
            let free = TcpListener::bind(SocketAddr::new(*host, 0));
            let free = free.doing(|| "looking for a free port".to_owned())?;
            address = free.local_addr().doing(|| "looking for a free port".to_owned())?;
            held.push(free);
        }
        let (address, data) = (address.to_string(), launch.data.clone());
        founders.push(Founder { node: *node, address, data });
    }
    Ok(founders)
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
            Addresses { ocpp: ocpp.address, http: http.address, starts: None, sql: sql.address }
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
        if self.nodes.len() == 1 {
            return self.nodes.keys().next().copied();
        }
        let clients: Vec<Client> = self.nodes.values().map(|one| one.client.clone()).collect();
        let most = leads::most(&leads::ask(&clients))?.get();
        self.nodes.iter().find(|(_, one)| one.number == most).map(|(node, _)| *node)
    }

    fn start(&mut self, nodes: &[NodeId]) -> Result<Duration, HarnessError> {
        let begun = Instant::now();
        for node in nodes {
            self.one(*node)?;
        }
        let down = |node: NodeId, said: String| HarnessError::NodeDown { node: node.get(), said };
        std::thread::scope(|scope| {
            let wanted = self.nodes.iter_mut().filter(|(node, _)| nodes.contains(node));
            let starting: Vec<_> = wanted
                .map(|(node, one)| (*node, scope.spawn(|| one.process.restart(None))))
                .collect();
            let mut went = Ok(begun.elapsed());
            for (node, starting) in starting {
                let started = match starting.join() {
                    Ok(Ok(())) => Ok(begun.elapsed()),
                    Ok(Err(error)) => Err(down(node, error.to_string())),
                    Err(_) => Err(HarnessError::Scene("starting a node panicked".to_owned())),
                };
                went = went.and(started);
            }
            went
        })
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

    fn leave(&mut self, node: NodeId, how: Left) -> Result<(), HarnessError> {
        let number = self.one(node)?.number.to_string();
        if how == Left::Removed {
            members::order(self.other_than(node)?, &["remove", &number])?;
        }
        self.put_down(node)?;
        let one = self.one(node)?;
        one.left = Some(how);
        members::wipe(one.process.data())
    }

    fn come_back(&mut self, node: NodeId) -> Result<(), HarnessError> {
        let invitation = members::order(self.other_than(node)?, &["invite"])?;
        let one = self.one(node)?;
        let before = one.number.to_string();
        one.number = members::join(&one.process, &one.links, &invitation)?;
        let (number, left) = (one.number.to_string(), one.left.take());
        self.start(&[node])?;
        let order = match left {
            Some(Left::Lost) => vec!["replace", &before, &number],
            Some(Left::Removed) | None => vec!["move", "--to", &number],
        };
        members::order(self.other_than(node)?, &order)?;
        let mut voters: Vec<u64> = self.nodes.values().map(|one| one.number).collect();
        voters.sort_unstable();
        members::until_voters(self.other_than(node)?, &voters)
    }

    fn upgrade(&mut self, node: NodeId) -> Result<PathBuf, HarnessError> {
        let [first, second] = self.binaries.clone();
        let one = self.one(node)?;
        let doing = || format!("stopping node {}", node.get());
        let program = if one.process.launch().program == first { second } else { first };
        match one.process.interrupt(STOP_MAX).doing(doing)? {
            Some(status) if status.success() => {}
            ended => {
                let said = format!("it was asked to stop: {ended:?}");
                return Err(HarnessError::NodeDown { node: node.get(), said });
            }
        }
        one.process.set_program(program.clone());
        self.start(&[node])?;
        Ok(program)
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
