//! What errors name: nodes of the tree and keys.

use std::fmt;

use rkyv::{Archive, Deserialize, Serialize};

use crate::hash::{Domain, hash, to_hex};

/// Where a stored node stands: `index` counts the nodes of its level from the left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeKey {
    /// 0 for leaves.
    pub level: u8,
    /// From 0.
    pub index: u64,
}

impl NodeKey {
    /// The key in a store, level first, big-endian: neighbours of a level stand side by side.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 9] {
        let mut bytes = [0; 9];
        bytes[0] = self.level;
        bytes[1..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    /// The key of the bytes that [`NodeKey::to_bytes`] gave.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 9]) -> Self {
        let [level, index @ ..] = bytes;
        Self { level, index: u64::from_be_bytes(index) }
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.index)
    }
}

/// Which public key: the first eight bytes of `SHA-256(0x06 || key)`. It finds a key among trusted
/// ones, so that finding another key of the same id gains nothing.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// The id of a public key.
    #[must_use]
    pub fn of(key: &[u8; 32]) -> Self {
        let full = hash(Domain::Key, &[key]);
        let mut id = [0; 8];
        id.copy_from_slice(&full[..8]);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}
