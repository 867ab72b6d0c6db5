//! Who is a node of the cluster: its certificate authority, its nodes' certificates, invitations to join.
//!
//! * A cluster has an authority of its own, made when it is formed. Its key stays in the directory of the node that formed it
//!   (and of whoever is given a copy); only there can nodes be invited.
//! * A node's certificate names the node and the cluster ([`node_name`]), and serves for calling and being called.
//!   Nobody is believed to be a node whose certificate does not say so.
//! * A node's key never leaves its directory. Files are whole or not there; keys are readable by their owner only.
//!
//! Which nodes are peers at all is not a matter of certificates: a node that was taken out of the cluster is
//! refused by number (`Links::set_peers`), so there is no list of revoked ones.

mod authority;
mod files;
mod join;
mod tls;
mod token;

pub use authority::{Admission, Authority, create};
pub use join::{Joined, join};
pub use token::Token;

pub(crate) use join::{WELCOME_BYTES_MAX, binding, request_len, write_admission, write_refusal};
pub(crate) use tls::{Configs, JOIN_PROTOCOL, is_certificate_of};

use crate::error::Error;
use crate::id::ClusterId;
use novax_model::NodeId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::Path;

pub(crate) const AUTHORITY_CERTIFICATE: &str = "ca.pem";
pub(crate) const AUTHORITY_KEY: &str = "ca.key";
pub(crate) const NODE_CERTIFICATE: &str = "node.pem";
pub(crate) const NODE_KEY: &str = "node.key";
pub(crate) const INVITATIONS: &str = "invitations";

/// The name in a node's certificate. It is never looked up; the last part makes it a valid one whatever the digits.
#[must_use]
pub fn node_name(node: NodeId, cluster: ClusterId) -> String {
    format!("node-{}.{cluster}.novax", node.get())
}

/// What a node shows on every link, read from its directory.
pub struct Identity {
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) authority: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", node_name(self.node, self.cluster))
    }
}

impl Identity {
    /// Reads the certificates in `dir`, which must be those of this node, and valid now.
    ///
    /// # Errors
    /// [`Error`]: they are not there, damaged, of another node, or out of date.
    pub fn load(dir: &Path, cluster: ClusterId, node: NodeId) -> Result<Identity, Error> {
        let certificate = read_certificate(&dir.join(NODE_CERTIFICATE))?;
        let authority = read_certificate(&dir.join(AUTHORITY_CERTIFICATE))?;
        let key = files::read(&dir.join(NODE_KEY))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| Error::Certificate(format!("{NODE_KEY}: {error}")))?;
        tls::verify(&certificate, &authority, &node_name(node, cluster))
            .map_err(|source| Error::Identity { node, cluster, source })?;
        Ok(Identity { node, cluster, certificate, authority, key })
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Its cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, Error> {
    let text = files::read(path)?;
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|error| Error::Certificate(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests;
