//! What a node shows of itself, read from its directory.

use super::names::{AUTHORITY_CERTIFICATE, NODE_CERTIFICATE, NODE_KEY, node_name};
use super::{files, tls};
use crate::error::Error;
use crate::id::ClusterId;
use novax_model::NodeId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::Path;

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

    /// How a node with this identity speaks TLS.
    pub(crate) fn configs(&self) -> Result<tls::Configs, Error> {
        tls::Configs::new(&self.certificate, &self.authority, &self.key)
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

pub(super) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, Error> {
    let text = files::read(path)?;
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|error| Error::Certificate(format!("{}: {error}", path.display())))
}
