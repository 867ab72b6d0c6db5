//! The greeting: the first bytes each side sends on a link, and what the two must agree on.
//!
//! It may grow: a reader skips fields behind those it knows, up to [`HELLO_BYTES_MAX`].

use crate::error::Refusal;
use crate::id::{ClusterId, RunId};
use novax_model::NodeId;
use std::ops::RangeInclusive;

const MAGIC: [u8; 8] = *b"NOVAXPR1";
/// Magic, and the length of the fields behind it.
const HEAD_BYTES: usize = 10;
/// The fields of version 1.
const FIELDS_BYTES: usize = 2 + 2 + 4 + 4 + 16 + 8 + 8 + 8;
const SUM_BYTES: usize = 4;
/// The longest greeting that is read.
pub const HELLO_BYTES_MAX: usize = 1024;
/// What who is called says instead of greeting, ahead of a [`Refusal::code`].
const REFUSAL_MAGIC: [u8; 8] = *b"NOVAXNO1";
/// The versions of the protocol that this build speaks.
pub const PROTOCOL_VERSIONS: RangeInclusive<u16> = 1..=1;

/// What a side says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Versions of the protocol it speaks.
    pub versions: RangeInclusive<u16>,
    /// Versions of the state (entries, snapshots) it can exchange.
    pub state_versions: RangeInclusive<u32>,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Who it is.
    pub node: NodeId,
    /// Whom it means to talk to; nobody says only: whoever called.
    pub to: Option<NodeId>,
    /// Which life of it this is.
    pub run: RunId,
}

impl Hello {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + FIELDS_BYTES + SUM_BYTES);
        out.extend_from_slice(&MAGIC);
        let len = u16::try_from(FIELDS_BYTES + SUM_BYTES).expect("a small constant");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&self.versions.start().to_le_bytes());
        out.extend_from_slice(&self.versions.end().to_le_bytes());
        out.extend_from_slice(&self.state_versions.start().to_le_bytes());
        out.extend_from_slice(&self.state_versions.end().to_le_bytes());
        out.extend_from_slice(&self.cluster.0);
        out.extend_from_slice(&self.node.get().to_le_bytes());
        out.extend_from_slice(&self.to.map_or(0, NodeId::get).to_le_bytes());
        out.extend_from_slice(&self.run.0.to_le_bytes());
        let sum = crc32fast::hash(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a greeting from the front of `input`: it and its length, or nothing while it is not all there.
    ///
    /// # Errors
    /// [`Refusal`] as soon as what is there can be no greeting.
    pub fn decode(input: &[u8]) -> Result<Option<(Hello, usize)>, Refusal> {
        let begun = input.len().min(MAGIC.len());
        if input[..begun] != MAGIC[..begun] {
            return Err(Refusal::Magic);
        }
        let Some(&[.., l0, l1]) = input.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let total = HEAD_BYTES + usize::from(u16::from_le_bytes([l0, l1]));
        if !(HEAD_BYTES + FIELDS_BYTES + SUM_BYTES..=HELLO_BYTES_MAX).contains(&total) {
            return Err(Refusal::Magic);
        }
        let Some(all) = input.get(..total) else { return Ok(None) };
        let (said, sum) = all.split_at(total - SUM_BYTES);
        if crc32fast::hash(said).to_le_bytes() != sum {
            return Err(Refusal::Checksum);
        }
        let mut fields = &said[HEAD_BYTES..];
        let hello = Hello {
            versions: u16::from_le_bytes(chunk(&mut fields))
                ..=u16::from_le_bytes(chunk(&mut fields)),
            state_versions: u32::from_le_bytes(chunk(&mut fields))
                ..=u32::from_le_bytes(chunk(&mut fields)),
            cluster: ClusterId(chunk(&mut fields)),
            node: NodeId::new(u64::from_le_bytes(chunk(&mut fields))).ok_or(Refusal::Malformed)?,
            to: NodeId::new(u64::from_le_bytes(chunk(&mut fields))),
            run: RunId(u64::from_le_bytes(chunk(&mut fields))),
        };
        if hello.versions.is_empty() || hello.state_versions.is_empty() {
            return Err(Refusal::Malformed);
        }
        Ok(Some((hello, total)))
    }

    /// The version of the protocol this side and `theirs` speak, when they have all in common that they must.
    ///
    /// # Errors
    /// [`Refusal`] names the first thing they do not agree on.
    pub fn agree(&self, theirs: &Hello) -> Result<u16, Refusal> {
        if self.cluster != theirs.cluster {
            return Err(Refusal::Cluster);
        }
        let newest = *self.versions.end().min(theirs.versions.end());
        if newest < *self.versions.start().max(theirs.versions.start()) {
            return Err(Refusal::Version);
        }
        let state = self.state_versions.end().min(theirs.state_versions.end());
        if state < self.state_versions.start().max(theirs.state_versions.start()) {
            return Err(Refusal::StateVersion);
        }
        let meant = |to: Option<NodeId>, is: NodeId| to.is_none_or(|to| to == is);
        let each_other = meant(theirs.to, self.node) && meant(self.to, theirs.node);
        if !each_other || self.node == theirs.node {
            return Err(Refusal::Misdirected);
        }
        Ok(newest)
    }
}

/// What is said instead of a greeting.
pub(crate) fn refusal(code: u16) -> [u8; HEAD_BYTES] {
    let mut out = [0; HEAD_BYTES];
    out[..8].copy_from_slice(&REFUSAL_MAGIC);
    out[8..].copy_from_slice(&code.to_le_bytes());
    out
}

/// Whether `input` begins as [`refusal`] writes it; within, the code, or nothing while it is not all there.
#[expect(clippy::option_option, reason = "no refusal, one that is not all here, one that is")]
pub(crate) fn read_refusal(input: &[u8]) -> Option<Option<u16>> {
    let begun = input.len().min(REFUSAL_MAGIC.len());
    if input[..begun] != REFUSAL_MAGIC[..begun] {
        return None;
    }
    Some(input.first_chunk().map(|&[.., c0, c1]: &[u8; HEAD_BYTES]| u16::from_le_bytes([c0, c1])))
}

/// The next `N` bytes; the caller has made sure that there are so many.
fn chunk<const N: usize>(fields: &mut &[u8]) -> [u8; N] {
    let (first, rest) = fields.split_first_chunk().expect("the length was checked");
    *fields = rest;
    *first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).expect("not zero")
    }

    fn hello(from: u64, to: Option<u64>) -> Hello {
        Hello {
            versions: 1..=3,
            state_versions: 4..=5,
            cluster: ClusterId([7; 16]),
            node: node(from),
            to: to.map(node),
            run: RunId(99),
        }
    }

    #[test]
    fn a_greeting_is_read_as_it_was_said_and_not_before_it_is_whole() {
        let said = hello(1, Some(2));
        let bytes = said.encode();
        for len in 0..bytes.len() {
            assert_eq!(Hello::decode(&bytes[..len]), Ok(None), "{len} bytes");
        }
        let mut more = bytes.clone();
        more.extend_from_slice(b"frames");
        assert_eq!(Hello::decode(&more), Ok(Some((said, bytes.len()))));
    }

    #[test]
    fn a_greeting_with_fields_of_a_later_version_is_understood() {
        let said = hello(1, None);
        let mut bytes = said.encode();
        bytes.truncate(bytes.len() - SUM_BYTES);
        bytes.extend_from_slice(b"later fields");
        let len = u16::try_from(bytes.len() + SUM_BYTES - HEAD_BYTES).expect("small");
        bytes[8..10].copy_from_slice(&len.to_le_bytes());
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        assert_eq!(Hello::decode(&bytes), Ok(Some((said, bytes.len()))));
    }

    #[test]
    fn what_is_no_greeting_is_refused_at_once() {
        assert_eq!(Hello::decode(b"GET / HTTP/1.1\r\n"), Err(Refusal::Magic));
        assert_eq!(Hello::decode(b"NOVAXPR2"), Err(Refusal::Magic));
        let bytes = hello(1, None).encode();
        let mut long = bytes.clone();
        long[8..10].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(Hello::decode(&long), Err(Refusal::Magic));
        for at in HEAD_BYTES..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert_eq!(Hello::decode(&wrong), Err(Refusal::Checksum), "byte {at}");
        }
    }

    #[test]
    fn two_sides_agree_on_the_newest_version_both_speak() {
        let ours = hello(1, Some(2));
        let theirs = Hello { versions: 2..=9, ..hello(2, None) };
        assert_eq!(ours.agree(&theirs), Ok(3));
        assert_eq!(theirs.agree(&ours), Ok(3));
    }

    #[test]
    fn each_disagreement_has_its_name() {
        let ours = hello(1, Some(2));
        let theirs = hello(2, None);
        let cases = [
            (Hello { cluster: ClusterId([8; 16]), ..theirs.clone() }, Refusal::Cluster),
            (Hello { versions: 4..=9, ..theirs.clone() }, Refusal::Version),
            (Hello { versions: 0..=0, ..theirs.clone() }, Refusal::Version),
            (Hello { state_versions: 6..=6, ..theirs.clone() }, Refusal::StateVersion),
            (Hello { node: node(3), ..theirs.clone() }, Refusal::Misdirected),
            (Hello { to: Some(node(5)), ..theirs.clone() }, Refusal::Misdirected),
        ];
        for (theirs, refusal) in cases {
            assert_eq!(ours.agree(&theirs), Err(refusal), "{theirs:?}");
        }
        let me = Hello { to: None, ..ours.clone() };
        assert_eq!(me.agree(&me), Err(Refusal::Misdirected));
    }
}
