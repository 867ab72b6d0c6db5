//! `cluster.toml`: which cluster a data directory belongs to, which node it is, and who is in it.

use super::ClusterError;
use crate::node::data::write_durably;
use novax_charging::NodeRow;
use novax_charging::roster::NODES_MAX;
use novax_model::NodeId;
use novax_peer::ClusterId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;

const NAME: &str = "cluster.toml";
/// Founders of a cluster: Raft groups of more voters are slower and no safer.
const FOUNDERS_MAX: usize = 7;

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founder {
    /// Its number.
    pub node: NodeId,
    /// Where the others call it: `host:port`.
    pub address: String,
    /// At which site it stands, in a word; may be nothing.
    pub site: String,
}

/// See the file's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFile {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Which node this is.
    pub node: NodeId,
    /// How many partitions the cluster has.
    pub partitions: u16,
    /// Where to be called, if not at the address the others use.
    pub listen: Option<SocketAddr>,
    /// Who began it; nobody on a node that came later. It is the same at each start, whoever has left since:
    /// the logs of the groups begin with it.
    pub founders: Vec<NodeId>,
    /// Who is in it, by number, this node among them.
    pub nodes: Vec<Founder>,
    /// Which entry of partition 0 said so; 0 for what the cluster began with.
    pub version: u64,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    cluster: String,
    node: u64,
    partitions: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// All nodes, where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    founders: Option<Vec<u64>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    version: u64,
    nodes: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sites: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ClusterFile {
    /// Reads the file of a data directory's cluster folder; `None` where there is none.
    ///
    /// # Errors
    /// [`ClusterError::File`].
    pub fn read(folder: &Path) -> Result<Option<ClusterFile>, ClusterError> {
        let path = folder.join(NAME);
        let bad = |reason: String| ClusterError::File { path: path.display().to_string(), reason };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
        };
        ClusterFile::parse(&text).map(Some).map_err(bad)
    }

    fn parse(text: &str) -> Result<ClusterFile, String> {
        let mut written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let cluster = written.cluster.parse().map_err(|error| format!("cluster: {error}"))?;
        let node = NodeId::new(written.node).ok_or("node: nodes are numbered from 1")?;
        let mut nodes = Vec::new();
        for (number, address) in written.nodes {
            let site = written.sites.remove(&number).unwrap_or_default();
            let number = number.parse().ok().and_then(NodeId::new);
            let node = number.ok_or("nodes: nodes are numbered from 1")?;
            if !address.contains(':') {
                return Err(format!("nodes: {node} is at {address:?}, which is no host:port"));
            }
            nodes.push(Founder { node, address, site });
        }
        if let Some((number, site)) = written.sites.pop_first() {
            return Err(format!(
                "sites: {site:?} is of node {number}, which is not among the nodes"
            ));
        }
        nodes.sort_by_key(|known| known.node);
        if nodes.len() > NODES_MAX {
            return Err(format!("nodes: more than {NODES_MAX}"));
        }
        if !nodes.iter().any(|known| known.node == node) {
            return Err(format!("node: {node} is not among the nodes"));
        }
        let founders = match written.founders {
            None => nodes.iter().map(|known| known.node).collect(),
            Some(numbers) => {
                let founders: Option<Vec<NodeId>> = numbers.into_iter().map(NodeId::new).collect();
                founders.ok_or("founders: nodes are numbered from 1")?
            }
        };
        if founders.len() > FOUNDERS_MAX {
            return Err(format!("more than {FOUNDERS_MAX} founders"));
        }
        let Written { partitions, listen, version, .. } = written;
        Ok(ClusterFile { cluster, node, partitions, listen, founders, nodes, version })
    }

    /// Writes it into a folder, in the place of what was there: whole or not at all.
    ///
    /// # Errors
    /// [`ClusterError::System`].
    pub fn write(&self, folder: &Path) -> Result<(), ClusterError> {
        let path = folder.join(NAME);
        write_durably(folder, NAME, self.text().as_bytes(), 0o644)
            .map_err(|error| ClusterError::System { what: path.display().to_string(), error })
    }

    fn text(&self) -> String {
        let named = |founder: &Founder| (founder.node.get().to_string(), founder.address.clone());
        let placed = self.nodes.iter().filter(|known| !known.site.is_empty());
        let written = Written {
            cluster: self.cluster.to_string(),
            node: self.node.get(),
            partitions: self.partitions,
            listen: self.listen,
            founders: (!self
                .nodes
                .iter()
                .map(|known| known.node)
                .eq(self.founders.iter().copied()))
            .then(|| self.founders.iter().map(|founder| founder.get()).collect()),
            version: self.version,
            nodes: self.nodes.iter().map(named).collect(),
            sites: placed.map(|known| (known.node.get().to_string(), known.site.clone())).collect(),
        };
        toml::to_string(&written).expect("text and numbers are TOML")
    }

    /// Where a node is called, if it is in the cluster.
    #[must_use]
    pub fn address_of(&self, node: NodeId) -> Option<&str> {
        let found = self.nodes.iter().find(|known| known.node == node);
        found.map(|known| known.address.as_str())
    }

    /// Those who began it and are still there, as partition 0 keeps them.
    #[must_use]
    pub fn founder_rows(&self) -> Vec<NodeRow> {
        let founders = self.nodes.iter().filter(|known| self.founders.contains(&known.node));
        let row = |known: &Founder| NodeRow {
            node: known.node,
            address: known.address.as_str().into(),
            site: known.site.as_str().into(),
        };
        founders.map(row).collect()
    }

    /// The others, and where they are called.
    #[must_use]
    pub fn peers(&self) -> Vec<(NodeId, String)> {
        let others = self.nodes.iter().filter(|founder| founder.node != self.node);
        others.map(|founder| (founder.node, founder.address.clone())).collect()
    }

    /// Where this node is called.
    ///
    /// # Errors
    /// [`ClusterError::System`] when its name is not known here.
    pub fn listen_address(&self) -> Result<SocketAddr, ClusterError> {
        if let Some(listen) = self.listen {
            return Ok(listen);
        }
        let address = self.address_of(self.node).expect("this node is among the nodes");
        let failed = |error| ClusterError::System { what: format!("look up {address}"), error };
        let mut found = address.to_socket_addrs().map_err(failed)?;
        found.next().ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cluster = \"000102030405060708090a0b0c0d0e0f\"\nnode = 2\npartitions = 8\n\n\
        [nodes]\n1 = \"127.0.0.1:7701\"\n2 = \"127.0.0.1:7702\"\n";

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let file = ClusterFile::parse(TEXT).expect("sound");
        assert_eq!(file.text(), TEXT);
        assert_eq!(file.peers(), [(NodeId::FIRST, "127.0.0.1:7701".to_owned())]);
        assert_eq!(file.listen_address().expect("an address").port(), 7702);
    }

    #[test]
    fn who_founded_the_cluster_is_kept_when_nodes_come_and_go() {
        let nodes = "founders = [1, 2]\nversion = 7\n\n[nodes]\n2 = \"a:1\"\n4 = \"b:1\"\n";
        let text = format!("{}{nodes}", TEXT.split_once("\n[nodes]").expect("there").0);
        let file = ClusterFile::parse(&text).expect("sound");
        assert_eq!(file.text(), text);
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect::<Vec<_>>();
        assert_eq!(numbers(&file.founders), [1, 2]);
        assert_eq!(file.peers(), [(NodeId::new(4).expect("not zero"), "b:1".to_owned())]);
        let later = ClusterFile::parse(&text.replace("[1, 2]", "[]")).expect("sound");
        assert_eq!(later.founders, []);
    }

    #[test]
    fn sites_stand_apart_from_addresses() {
        let text = format!("{TEXT}\n[sites]\n2 = \"fra\"\n");
        let file = ClusterFile::parse(&text).expect("sound");
        assert_eq!(file.text(), text);
        let rows = file.founder_rows();
        assert_eq!(rows.iter().map(|row| &*row.site).collect::<Vec<_>>(), ["", "fra"]);
        let error =
            ClusterFile::parse(&text.replace("2 = \"fra", "3 = \"fra")).expect_err("of nobody");
        assert!(error.contains("node 3"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (from, to, word) in [
            ("node = 2", "node = 3", "not among"),
            ("node = 2", "node = 0", "from 1"),
            ("000102", "xx0102", "hexadecimal"),
            ("127.0.0.1:7701", "somewhere", "host:port"),
            ("partitions", "particles", "unknown field"),
        ] {
            let error = ClusterFile::parse(&TEXT.replace(from, to)).expect_err(to);
            assert!(error.contains(word), "{to}: {error}");
        }
    }
}
