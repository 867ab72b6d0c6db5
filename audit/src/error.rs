//! What can be wrong with a transaction, a proof, a head or a key. Tampered exports have a type of
//! their own, which says where: `export::Tampered`.

use novax_model::Timestamp;

use crate::ids::{KeyId, NodeKey};

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Bytes are not what their format says: whoever wrote or changed them is at fault.
    #[error("byte {at}: {what}")]
    Malformed {
        /// The first offending byte.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// The rows are not those of one transaction: the caller grouped them wrongly, or the store
    /// they came from is damaged.
    #[error("the journal rows are not one transaction: {0}")]
    NotOneSet(&'static str),
    /// A proof was asked for a leaf or a size that the tree does not have: the caller's mistake.
    #[error("a tree of {size} leaves has no proof for {asked}")]
    OutOfRange {
        /// The leaf, or the older size, asked for.
        asked: u64,
        /// How many leaves there are.
        size: u64,
    },
    /// A proof does not lead to the root: it, the leaf or the root is not genuine.
    #[error("the proof does not lead to the root")]
    ProofWrong,
    /// The store lacks a node that the tree's size says it has: the store is damaged.
    #[error("node {0} is not in the store")]
    NodeMissing(NodeKey),
    /// The store could not be read, in its own words.
    #[error("the nodes of the tree cannot be read: {0}")]
    Nodes(Box<str>),
    /// A stored tree whose frontier does not fit its size: the store is damaged.
    #[error("a tree of {size} leaves does not have {frontier} peaks")]
    TreeInconsistent {
        /// How many leaves it says it has.
        size: u64,
        /// How many peaks it has.
        frontier: usize,
    },
    /// The bytes are no ed25519 public key: whoever configured or sent them is at fault.
    #[error("these 32 bytes are not an ed25519 public key")]
    KeyMalformed,
    /// Signed with a key that is not among the trusted ones.
    #[error("key {0} is not trusted here")]
    KeyUnknown(KeyId),
    /// Signed with a key outside the time it was in force.
    #[error("key {key} was not in force at {at}")]
    KeyNotInForce {
        /// Which key.
        key: KeyId,
        /// When it is said to have signed.
        at: Timestamp,
    },
    /// The signature is not of these bytes by this key.
    #[error("the signature by key {0} is wrong")]
    SignatureWrong(KeyId),
}
