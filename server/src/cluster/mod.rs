//! This node's place in a cluster: who the others are, and the links to them.
//!
//! `DATA/cluster/` holds `cluster.toml` (who is where) and the certificates. Without that folder the node stands alone,
//! by the same code: its groups have one replica.

mod command;
mod file;
mod join;
mod keeper;
mod keys;
mod moves;
mod router;
mod status;
mod welcome;

pub use command::run;
pub use file::{ClusterFile, Founder};
pub use join::invitation;
pub use keeper::Keeper;
pub use keys::adopt;
pub use router::{INBOX_MAX, Inbox, Router};
pub use welcome::Host;

use novax_model::NodeId;
use novax_peer::net::{Config, Links};
use novax_peer::pki::{self, Authority, Identity};
use novax_peer::{ClusterId, RunId};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Versions of entries and rows that this build exchanges with others.
const STATE_VERSION: u32 = 3;

/// Why the node has no place in its cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// `cluster.toml` cannot be used; says why.
    #[error("{path}: {reason}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Certificates, or the address.
    #[error(transparent)]
    Peer(#[from] novax_peer::Error),
    /// The system refuses it.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// Why.
        error: std::io::Error,
    },
}

/// A node's place in its cluster, for whoever shows it.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Which node this is.
    pub node: NodeId,
    /// Which life of it.
    pub run: u64,
    /// What it knows of its cluster; nothing where it stands alone.
    pub keeper: Option<Arc<Keeper>>,
    /// The links to the others.
    pub links: Arc<OnceLock<Links>>,
}

impl Seat {
    /// Of a node that stands alone.
    #[must_use]
    pub fn alone() -> Seat {
        Seat { node: NodeId::FIRST, run: 0, keeper: None, links: Arc::default() }
    }

    /// Where a node is called.
    #[must_use]
    pub fn address_of(&self, node: NodeId) -> Option<String> {
        self.keeper.as_ref()?.address_of(node)
    }
}

/// Where a data directory keeps what it knows of its cluster.
#[must_use]
pub fn folder(data: &Path) -> PathBuf {
    data.join("cluster")
}

/// Puts a node's folder on the disk for good. It was carried here by hand, perhaps a moment ago: who a node is must be
/// safe before it votes.
///
/// # Errors
/// [`ClusterError::System`].
pub fn make_durable(data: &Path) -> Result<(), ClusterError> {
    let folder = folder(data);
    let failed = |error| ClusterError::System { what: folder.display().to_string(), error };
    let sync = |path: &Path| std::fs::File::open(path)?.sync_all();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        entry.and_then(|entry| sync(&entry.path())).map_err(failed)?;
    }
    sync(&folder).and_then(|()| sync(data)).map_err(failed)
}

/// Links the node with the others.
///
/// # Errors
/// [`ClusterError`].
pub fn link(
    data: &Path,
    file: &ClusterFile,
    run: u64,
    router: Arc<Router>,
) -> Result<Links, ClusterError> {
    let folder = folder(data);
    let identity = Identity::load(&folder, file.cluster, file.node)?;
    let listen = file.listen_address()?;
    let states = STATE_VERSION..=STATE_VERSION;
    let authority = match Authority::load(&folder, &identity) {
        Ok(authority) => Some(authority),
        Err(novax_peer::Error::NoAuthority) => None,
        Err(error) => return Err(error.into()),
    };
    let config = Config { authority, ..Config::new(identity, RunId(run), states, listen) };
    Ok(Links::start(config, &file.peers(), router)?)
}

/// Forms a cluster: the authority and the folder of every founder. The first one's goes into `data`; each of the
/// others is to be carried to its own machine, as `DATA/cluster`. Answers where they are.
///
/// # Errors
/// [`ClusterError`].
pub fn found(
    data: &Path,
    cluster: ClusterId,
    founders: &[Founder],
    partitions: u16,
) -> Result<Vec<(NodeId, PathBuf)>, ClusterError> {
    let [first, others @ ..] = founders else {
        return Err(ClusterError::File {
            path: "the founders".into(),
            reason: "there is none".into(),
        });
    };
    let home = folder(data);
    let system = |what: &Path| {
        let what = what.display().to_string();
        move |error| ClusterError::System { what, error }
    };
    std::fs::create_dir_all(&home).map_err(system(&home))?;
    pki::create(&home, cluster, first.node)?;
    let file = |node| ClusterFile {
        cluster,
        node,
        partitions,
        listen: None,
        founders: founders.iter().map(|founder| founder.node).collect(),
        nodes: founders.to_vec(),
        version: 0,
    };
    file(first.node).write(&home)?;
    let authority = Authority::load(&home, &Identity::load(&home, cluster, first.node)?)?;
    let mut made = vec![(first.node, home.clone())];
    for founder in others {
        let bundle = home.join(format!("for-node-{}", founder.node.get()));
        std::fs::create_dir_all(&bundle).map_err(system(&bundle))?;
        authority.issue(founder.node, &bundle)?;
        file(founder.node).write(&bundle)?;
        made.push((founder.node, bundle));
    }
    let folders: Vec<PathBuf> = made.iter().map(|(_, folder)| folder.clone()).collect();
    keys::share(&folders)?;
    keys::share_authority(&folders)?;
    Ok(made)
}
