//! What a node is told when it joins: who the others are, and the keys that all have in common.

use super::{ClusterError, ClusterFile, Founder, Keeper, keys};
use crate::control::{Control, ControlError};
use novax_charging::roster::ROSTER_PARTITION;
use novax_charging::{Command, PutNode, Refusal};
use novax_model::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// As it travels, in TOML.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) partitions: u16,
    version: u64,
    nodes: BTreeMap<String, String>,
    keys: BTreeMap<String, String>,
}

impl Welcome {
    fn new(file: &ClusterFile, keys: BTreeMap<String, String>) -> Welcome {
        let named = |node: &Founder| (node.node.get().to_string(), node.address.clone());
        let nodes = file.nodes.iter().map(named).collect();
        Welcome { partitions: file.partitions, version: file.version, nodes, keys }
    }

    /// Reads what an inviter said.
    ///
    /// # Errors
    /// In words.
    pub(super) fn read(bytes: &[u8]) -> Result<Welcome, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// The nodes it names.
    ///
    /// # Errors
    /// In words.
    pub(super) fn nodes(&self) -> Result<Vec<Founder>, String> {
        let node = |(number, address): (&String, &String)| {
            let node = number.parse().ok().and_then(NodeId::new);
            let node = node.ok_or_else(|| format!("node {number}"))?;
            Ok(Founder { node, address: address.clone(), site: String::new() })
        };
        let mut nodes = self.nodes.iter().map(node).collect::<Result<Vec<Founder>, String>>()?;
        nodes.sort_by_key(|known| known.node);
        Ok(nodes)
    }

    /// Which entry of partition 0 named them last.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Puts the keys into the folder of a new node.
    ///
    /// # Errors
    /// [`ClusterError::System`].
    pub(super) fn write_keys(&self, folder: &Path) -> Result<(), ClusterError> {
        keys::write(folder, &self.keys)
    }
}

/// Lets nodes in that have an invitation, at the node that has the authority's key.
#[derive(Debug)]
pub struct Host {
    data: PathBuf,
    control: Control,
    keeper: Arc<Keeper>,
}

impl Host {
    /// Of this node.
    #[must_use]
    pub fn new(data: &Path, control: Control, keeper: Arc<Keeper>) -> Host {
        Host { data: data.to_path_buf(), control, keeper }
    }

    /// Takes a node in, and says what it has to know. Waits for a majority.
    ///
    /// # Errors
    /// In words, for the node that asks.
    pub fn take_in(&self, node: NodeId, address: &str) -> Result<Vec<u8>, String> {
        // Where it stands was said when it was invited.
        let put = PutNode { node, address: address.into(), site: "".into() };
        let command = Command::PutNode(Box::new(put));
        let put = self.control.propose_ok(ROSTER_PARTITION, command);
        match futures::executor::block_on(put) {
            Ok(_) => {}
            Err(ControlError::Refused(Refusal::BadNode(words))) => return Err(words.into()),
            Err(error) => return Err(error.to_string()),
        }
        let keys = keys::read(&self.data).map_err(|error| error.to_string())?;
        let welcome = Welcome::new(&self.keeper.file(), keys);
        let text = toml::to_string(&welcome).expect("texts and numbers are TOML");
        Ok(text.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use novax_peer::ClusterId;

    #[test]
    fn a_welcome_is_read_as_it_was_said() {
        let founder = |number, address: &str| Founder {
            node: NodeId::new(number).expect("not zero"),
            address: address.into(),
            site: String::new(),
        };
        let file = ClusterFile {
            cluster: ClusterId([7; 16]),
            node: NodeId::FIRST,
            partitions: 4,
            listen: None,
            founders: vec![NodeId::FIRST],
            nodes: vec![founder(1, "a:1"), founder(11, "b:1"), founder(12, "c:1")],
            version: 9,
        };
        let keys = BTreeMap::from([("api.key".to_owned(), "line\nand line\n".to_owned())]);
        let said = Welcome::new(&file, keys);
        let read = Welcome::read(toml::to_string(&said).expect("TOML").as_bytes()).expect("sound");
        assert_eq!(read, said);
        assert_eq!(read.nodes(), Ok(file.nodes));
        assert!(Welcome::read(b"nonsense").is_err());
    }
}
