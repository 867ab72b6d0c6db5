//! The chain over the entries of a partition's log: each link hashes the one before and its entry,
//! so one link stands for everything up to it. Cheap to keep, and equal on all replicas at equal
//! index; proofs of single transactions are the tree's business.
//!
//! `link(n) = SHA-256(0x02 || link(n-1) || index u64 LE || entry bytes)`, where the link before the
//! first entry is [`genesis`] of the partition.

use novax_model::PartitionId;

use crate::hash::{Domain, Hash, hash};

/// What the first link of a partition follows: `SHA-256(0x02 || "NVXCHAIN" || partition u16 LE)`.
#[must_use]
pub fn genesis(partition: PartitionId) -> Hash {
    hash(Domain::LogLink, &[b"NVXCHAIN", &partition.0.to_le_bytes()])
}

/// The link of the log entry at `index` with these bytes.
#[must_use]
pub fn link(previous: &Hash, index: u64, entry: &[u8]) -> Hash {
    hash(Domain::LogLink, &[previous, &index.to_le_bytes(), entry])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_depends_on_all_before_it() {
        let partition = PartitionId(3);
        let first = link(&genesis(partition), 1, b"one");
        let second = link(&first, 2, b"two");
        assert_ne!(genesis(partition), genesis(PartitionId(4)));
        assert_ne!(second, link(&first, 3, b"two"), "the index counts");
        assert_ne!(second, link(&first, 2, b"twO"), "the entry counts");
        let other = link(&genesis(partition), 1, b"On");
        assert_ne!(second, link(&other, 2, b"two"), "the past counts");
    }

    #[test]
    fn links_are_fixed_for_ever() {
        // Worked out by hand with another implementation: printf ... | sha256sum.
        let link = link(&genesis(PartitionId(3)), 1, b"one");
        assert_eq!(crate::hash::to_hex(&genesis(PartitionId(3))), GENESIS);
        assert_eq!(crate::hash::to_hex(&link), FIRST);
    }

    const GENESIS: &str = "cff0add2b83905d69679baba90a10994b1afe870a0f68943569f9b37c807fb24";
    const FIRST: &str = "a30b33b23e16079daa6485a7be1d5083c6bb8dc4443861a852089181090aeabc";
}
