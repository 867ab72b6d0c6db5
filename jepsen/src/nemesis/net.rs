//! Nodes in network namespaces of their own, on one switch, and what can be done to the cables.
//!
//! ```text
//!   namespace n1      namespace n2      namespace clients
//!   eth0 10.77.0.1    eth0 10.77.0.2    eth0 10.77.0.254
//!        \                 |                 /
//!         `------ namespace hub: bridge ----'
//! ```
//!
//! **Invariants**
//! * The machine's own network is not touched: cable, bridge and rules are all in namespaces of ours.
//! * What a node does not hear is dropped where it would come in, so that every fault can be one-way.
//! * Rules of a node are replaced all at once: there is no moment with half of them.
//! * Dropped, all of it is gone.

use super::grudge::Grudge;
use super::shell;
use super::tag::{NAMESPACES, Tag};
use crate::harness::{Doing as _, HarnessError};
use novax_model::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::process::Command;

/// Nodes of a network at most.
pub const NODES_MAX: u64 = 100;
/// The last number of the clients' address.
const CLIENTS: u8 = 254;

/// A network namespace with one cable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    namespace: String,
    /// Its address.
    pub address: IpAddr,
}

impl Place {
    fn new(tag: &Tag, name: &str, number: u8) -> Place {
        let address = IpAddr::V4(Ipv4Addr::new(10, 77, 0, number));
        Place { namespace: tag.name(name), address }
    }

    /// Words to put before a command so that it runs here.
    #[must_use]
    pub fn prefix(&self) -> Vec<String> {
        vec![
            "nsenter".to_owned(),
            format!("--net={NAMESPACES}/{}", self.namespace),
            "--".to_owned(),
        ]
    }

    /// A program that will run here.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let prefix = self.prefix();
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg(program);
        command
    }

    /// Moves this thread here: sockets it opens from now on, and processes it starts, are in this network.
    ///
    /// # Errors
    /// When the namespace is gone, or it is not allowed.
    pub fn enter(&self) -> Result<(), HarnessError> {
        let path = format!("{NAMESPACES}/{}", self.namespace);
        let doing = || format!("entering {path}");
        let namespace = File::open(&path).doing(doing)?;
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))
            .map_err(std::io::Error::from)
            .doing(doing)
    }

    fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<String, HarnessError> {
        let net = format!("--net={NAMESPACES}/{}", self.namespace);
        let mut all = vec![net.as_str(), "--", program];
        all.extend(arguments);
        shell::run_with("nsenter", &all, input)
    }

    fn make(&self, hub: &Place, port: &str) -> Result<(), HarnessError> {
        let name = self.namespace.as_str();
        shell::run("ip", &["netns", "add", name])?;
        let cable = ["link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", port];
        shell::run("ip", &[&cable[..], &["netns", &hub.namespace]].concat())?;
        hub.run("ip", &["link", "set", port, "master", "br0", "up"], "")?;
        let address = format!("{}/24", self.address);
        self.run("ip", &["addr", "add", &address, "dev", "eth0"], "")?;
        self.run("ip", &["link", "set", "lo", "up"], "")?;
        self.run("ip", &["link", "set", "eth0", "up"], "").map(drop)
    }
}

/// What is wrong with the cable of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wrong {
    deaf_to: BTreeSet<NodeId>,
    deaf_to_clients: bool,
    loss_per_mille: u16,
}

/// The network of a run.
#[derive(Debug)]
pub struct Network {
    hub: Place,
    clients: Place,
    nodes: BTreeMap<NodeId, Place>,
    wrong: BTreeMap<NodeId, Wrong>,
    slow: BTreeSet<NodeId>,
    unplugged: BTreeSet<NodeId>,
}

impl Network {
    /// Makes a network of so many nodes, from 1.
    ///
    /// # Errors
    /// When a tool fails; what was made by then is gone again.
    ///
    /// # Panics
    /// When there are no nodes, or more than [`NODES_MAX`].
    pub fn create(tag: &Tag, count: u64) -> Result<Network, HarnessError> {
        assert!((1..=NODES_MAX).contains(&count), "{count} nodes");
        let number = |node: NodeId| u8::try_from(node.get()).unwrap_or(u8::MAX);
        let place = |node: NodeId| Place::new(tag, &format!("n{}", node.get()), number(node));
        let nodes = (1..=count).filter_map(NodeId::new).map(|node| (node, place(node))).collect();
        let network = Network {
            hub: Place::new(tag, "hub", 0),
            clients: Place::new(tag, "clients", CLIENTS),
            nodes,
            wrong: BTreeMap::new(),
            slow: BTreeSet::new(),
            unplugged: BTreeSet::new(),
        };
        // From here on, an early end drops the network, and that undoes what there is.
        shell::run("ip", &["netns", "add", &network.hub.namespace])?;
        network.hub.run("ip", &["link", "add", "br0", "type", "bridge"], "")?;
        network.hub.run("ip", &["link", "set", "br0", "up"], "")?;
        for (node, place) in &network.nodes {
            place.make(&network.hub, &port(*node))?;
        }
        network.clients.make(&network.hub, "clients")?;
        Ok(network)
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Where a node is.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn place(&self, node: NodeId) -> &Place {
        &self.nodes[&node]
    }

    /// Where clients and stations are.
    #[must_use]
    pub fn clients(&self) -> &Place {
        &self.clients
    }

    /// Nodes do not hear each other, as the grudge says. What was cut before and is not in it is whole again.
    ///
    /// # Errors
    /// When a tool fails: some nodes may have the new rules then.
    pub fn cut(&mut self, grudge: &Grudge) -> Result<(), HarnessError> {
        self.change(|node, wrong| wrong.deaf_to = grudge.deaf_to(node))
    }

    /// These nodes do not hear clients; all others do.
    ///
    /// # Errors
    /// As [`Network::cut`].
    pub fn cut_clients(&mut self, nodes: &BTreeSet<NodeId>) -> Result<(), HarnessError> {
        self.change(|node, wrong| wrong.deaf_to_clients = nodes.contains(&node))
    }

    /// Of a thousand packets that come in, so many are lost, at every node and from everybody.
    ///
    /// # Errors
    /// As [`Network::cut`].
    pub fn lose(&mut self, per_mille: u16) -> Result<(), HarnessError> {
        self.change(|_, wrong| wrong.loss_per_mille = per_mille.min(1_000))
    }

    /// What a node sends leaves at no more than this rate. Zero is as fast as it goes.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn limit(&mut self, node: NodeId, kbit_per_s: u32) -> Result<(), HarnessError> {
        let was = self.slow.contains(&node);
        let place = self.place(node).clone();
        let rate = format!("{kbit_per_s}kbit");
        let shape = ["tbf", "rate", &rate, "burst", "16kb", "latency", "400ms"];
        match (was, kbit_per_s) {
            (false, 0) => return Ok(()),
            (true, 0) => {
                place.run("tc", &["qdisc", "del", "dev", "eth0", "root"], "")?;
                self.slow.remove(&node);
            }
            (_, _) => {
                self.slow.insert(node);
                let replace = ["qdisc", "replace", "dev", "eth0", "root"];
                place.run("tc", &[&replace[..], &shape].concat(), "")?;
            }
        }
        Ok(())
    }

    /// Takes a node's cable out of the switch, or puts it back.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn plug(&mut self, node: NodeId, plugged: bool) -> Result<(), HarnessError> {
        let state = if plugged { "up" } else { "down" };
        if plugged {
            self.unplugged.remove(&node);
        } else {
            self.unplugged.insert(node);
        }
        self.hub.run("ip", &["link", "set", &port(node), state], "").map(drop)
    }

    /// Everything is as at first.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn heal(&mut self) -> Result<(), HarnessError> {
        for node in self.slow.clone() {
            self.limit(node, 0)?;
        }
        for node in self.unplugged.clone() {
            self.plug(node, true)?;
        }
        self.change(|_, wrong| *wrong = Wrong::default())
    }

    /// How many packets a node has dropped since its rules were last set.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn dropped(&self, node: NodeId) -> Result<u64, HarnessError> {
        let rules = self.place(node).run("nft", &["list", "ruleset"], "")?;
        let mut words = rules.split_whitespace();
        let mut sum = 0;
        while words.any(|word| word == "packets") {
            sum += words.next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(sum)
    }

    fn change(&mut self, mut change: impl FnMut(NodeId, &mut Wrong)) -> Result<(), HarnessError> {
        for node in self.nodes() {
            let mut wrong = self.wrong.get(&node).cloned().unwrap_or_default();
            change(node, &mut wrong);
            if self.wrong.get(&node) != Some(&wrong) {
                let rules = self.rules(&wrong);
                self.place(node).run("nft", &["-f", "-"], &rules)?;
                self.wrong.insert(node, wrong);
            }
        }
        Ok(())
    }

    /// The rules of one node, which replace those it has.
    fn rules(&self, wrong: &Wrong) -> String {
        let mut rules = String::from("add table inet nvxj\ndelete table inet nvxj\n");
        rules += "table inet nvxj {\n chain input {\n  type filter hook input priority 0; policy accept;\n";
        for node in &wrong.deaf_to {
            if let Some(place) = self.nodes.get(node) {
                let _ = writeln!(rules, "  ip saddr {} counter drop", place.address);
            }
        }
        if wrong.deaf_to_clients {
            let _ = writeln!(rules, "  ip saddr {} counter drop", self.clients.address);
        }
        match wrong.loss_per_mille {
            0 => {}
            // Of a thousand numbers none is a thousand: nft refuses to compare with it.
            1_000.. => rules += "  iifname \"eth0\" counter drop\n",
            some => {
                let part = format!("numgen random mod 1000 < {some}");
                let _ = writeln!(rules, "  iifname \"eth0\" {part} counter drop");
            }
        }
        rules + " }\n}\n"
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for place in self.nodes.values().chain([&self.clients, &self.hub]) {
            // What was never made cannot be deleted; what stays is swept at the next start.
            let _ = shell::run("ip", &["netns", "delete", &place.namespace]);
        }
    }
}

/// The name of a node's port at the switch.
fn port(node: NodeId) -> String {
    format!("p{}", node.get())
}

#[cfg(test)]
mod tests;
