//! An invitation as a text that an operator carries from one node to another.

use crate::error::Error;
use crate::id::ClusterId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use novax_model::NodeId;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "novax-join-1.";
const BYTES: usize = 16 + 8 + 8 + 32 + 32;
const SUM_BYTES: usize = 4;

/// An invitation for one node. Whoever has it can join as that node until it is used or out of date: it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub(crate) cluster: ClusterId,
    /// Who is invited.
    pub(crate) node: NodeId,
    /// Who invites.
    pub(crate) inviter: NodeId,
    /// SHA-256 of the authority's certificate.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) secret: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} in {}, by {})", self.node, self.cluster, self.inviter)
    }
}

impl Token {
    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The node that is to be.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The node that invites, which is to be called.
    #[must_use]
    pub fn inviter(&self) -> NodeId {
        self.inviter
    }

    /// What the inviter finds it by: says nothing of the secret.
    pub(crate) fn id(secret: &[u8; 32]) -> [u8; 16] {
        let digest =
            Sha256::new().chain_update(b"novax-invitation").chain_update(secret).finalize();
        *digest.first_chunk().expect("32 bytes")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(BYTES + SUM_BYTES);
        bytes.extend_from_slice(&self.cluster.0);
        bytes.extend_from_slice(&self.node.get().to_le_bytes());
        bytes.extend_from_slice(&self.inviter.get().to_le_bytes());
        bytes.extend_from_slice(&self.fingerprint);
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Token, Error> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(Error::Token("it begins otherwise"))?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Token("a letter is wrong"))?;
        let bytes: [u8; BYTES + SUM_BYTES] =
            bytes.try_into().map_err(|_| Error::Token("it is of another length"))?;
        let (said, sum) = bytes.split_at(BYTES);
        if crc32fast::hash(said).to_le_bytes() != sum {
            return Err(Error::Token("a letter is wrong"));
        }
        let mut rest = said;
        let cluster = ClusterId(take(&mut rest));
        let number = |bytes| NodeId::new(u64::from_le_bytes(bytes)).ok_or(Error::Token("node 0"));
        let node = number(take(&mut rest))?;
        let inviter = number(take(&mut rest))?;
        Ok(Token { cluster, node, inviter, fingerprint: take(&mut rest), secret: take(&mut rest) })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (first, behind) = rest.split_first_chunk().expect("the length was checked");
    *rest = behind;
    *first
}
