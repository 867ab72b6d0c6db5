//! `cluster.toml`: which cluster a data directory belongs to, which node it is, and who founded it.

use super::ClusterError;
use novax_model::NodeId;
use novax_peer::ClusterId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;

const NAME: &str = "cluster.toml";
/// Founders of a cluster: Raft groups of more voters are slower and no safer.
const FOUNDERS_MAX: usize = 7;

/// A node that a cluster begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founder {
    /// Its number.
    pub node: NodeId,
    /// Where the others call it: `host:port`.
    pub address: String,
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
    /// Who began it, this node among them.
    pub founders: Vec<Founder>,
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
    nodes: BTreeMap<String, String>,
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
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let cluster = written.cluster.parse().map_err(|error| format!("cluster: {error}"))?;
        let node = NodeId::new(written.node).ok_or("node: nodes are numbered from 1")?;
        let mut founders = Vec::new();
        for (number, address) in written.nodes {
            let number = number.parse().ok().and_then(NodeId::new);
            let node = number.ok_or("nodes: nodes are numbered from 1")?;
            if !address.contains(':') {
                return Err(format!("nodes: {node} is at {address:?}, which is no host:port"));
            }
            founders.push(Founder { node, address });
        }
        founders.sort_by_key(|founder| founder.node);
        if founders.len() > FOUNDERS_MAX {
            return Err(format!("nodes: more than {FOUNDERS_MAX}"));
        }
        if !founders.iter().any(|founder| founder.node == node) {
            return Err(format!("node: {node} is not among the nodes"));
        }
        let Written { partitions, listen, .. } = written;
        Ok(ClusterFile { cluster, node, partitions, listen, founders })
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// [`ClusterError::System`].
    pub fn write(&self, folder: &Path) -> Result<(), ClusterError> {
        let path = folder.join(NAME);
        std::fs::write(&path, self.text())
            .map_err(|error| ClusterError::System { what: path.display().to_string(), error })
    }

    fn text(&self) -> String {
        let named = |founder: &Founder| (founder.node.get().to_string(), founder.address.clone());
        let written = Written {
            cluster: self.cluster.to_string(),
            node: self.node.get(),
            partitions: self.partitions,
            listen: self.listen,
            nodes: self.founders.iter().map(named).collect(),
        };
        toml::to_string(&written).expect("text and numbers are TOML")
    }

    /// The nodes that have a replica of every partition.
    #[must_use]
    pub fn voters(&self) -> Vec<NodeId> {
        self.founders.iter().map(|founder| founder.node).collect()
    }

    /// The others, and where they are called.
    #[must_use]
    pub fn peers(&self) -> Vec<(NodeId, String)> {
        let others = self.founders.iter().filter(|founder| founder.node != self.node);
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
        let me = self.founders.iter().find(|founder| founder.node == self.node);
        let address = &me.expect("this node is among the founders").address;
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
