//! SHA-256 and the first byte of what it is given, which keeps a leaf from being taken for a node
//! and a chain's link for either.

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// What a hash is of: the first byte of its input. Fixed for ever; 0 and 1 are RFC 9162's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Domain {
    /// A leaf of the tree.
    Leaf = 0,
    /// An inner node of the tree.
    Node = 1,
    /// A link of the chain over log entries.
    LogLink = 2,
    /// A link of the chain over the records of an export.
    RecordLink = 3,
    /// The head of a record of an export.
    RecordHead = 4,
    /// A personal account.
    Commitment = 5,
    /// A public key.
    Key = 6,
}

/// The hash of some parts, one after the other, in a domain. Whoever calls it sees to it that the
/// parts cannot be cut elsewhere: all but the last have fixed lengths.
pub(crate) fn hash(domain: Domain, parts: &[&[u8]]) -> Hash {
    let mut sha = Sha256::new();
    sha.update([domain as u8]);
    for part in parts {
        sha.update(part);
    }
    sha.finalize().into()
}

/// The hash of nothing, which is the root of the empty tree.
pub(crate) fn hash_of_nothing() -> Hash {
    Sha256::digest([]).into()
}

/// A hash as people compare it: 64 hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes what it is given");
    }
    text
}

/// The bytes of hexadecimal text of exactly the right length; `None` for anything else.
#[must_use]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(*pair.first()?).to_digit(16)?;
        let low = char::from(*pair.last()?).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_reads_back_and_nothing_else_does() {
        assert_eq!(from_hex::<3>(&to_hex(&[0, 0xab, 0xff])), Some([0, 0xab, 0xff]));
        assert_eq!(from_hex::<3>("00ABff"), Some([0, 0xab, 0xff]));
        for wrong in ["", "00abf", "00abfff0", "00abfg", "00ab f", "+0abff"] {
            assert_eq!(from_hex::<3>(wrong), None, "{wrong}");
        }
    }
}
