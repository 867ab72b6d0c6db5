//! Where an entry of a run lies in memory, small enough to be sorted and merged by the hundred thousand.
//!
//! Invariant: a slot's head is the first sixteen bytes of its key, zero-padded: heads that differ order as their keys
//! do, so the key itself is seldom looked at.

use crate::entry::{Entry, Expires};
use crate::limits::KEY_BYTES_MAX;
use std::cmp::Ordering;

const HEAD_BYTES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    /// The second of expiry lies between key and value.
    PutUntil,
    Tombstone,
    Merge,
}

/// A keyspace and a key in it, in the form in which they are compared. Keys longer than a head may have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    head: u128,
    key_len: u16,
    keyspace: u8,
}

impl Place {
    pub(super) fn new(keyspace: u8, key: &[u8]) -> Place {
        assert!(key.len() <= KEY_BYTES_MAX, "key of {} bytes", key.len());
        let head = match key.first_chunk::<HEAD_BYTES>() {
            Some(chunk) => u128::from_be_bytes(*chunk),
            None => {
                let mut padded = [0; HEAD_BYTES];
                padded[..key.len()].copy_from_slice(key);
                u128::from_be_bytes(padded)
            }
        };
        Place { head, key_len: key.len() as u16, keyspace }
    }

    /// By keyspace, then by key; the keys are looked at where their heads do not tell.
    pub(super) fn order<'a>(
        &self,
        other: &Place,
        key: impl FnOnce() -> &'a [u8],
        other_key: impl FnOnce() -> &'a [u8],
    ) -> Ordering {
        let heads = (self.keyspace, self.head).cmp(&(other.keyspace, other.head));
        heads.then_with(|| {
            if usize::from(self.key_len.max(other.key_len)) <= HEAD_BYTES {
                // What the longer one has more is zeros.
                self.key_len.cmp(&other.key_len)
            } else {
                key().cmp(other_key())
            }
        })
    }
}

/// See the head of this file: key, then value, from `at` on in a piece of memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) kind: Kind,
    /// Which piece of its run's.
    pub(super) piece: u32,
    pub(super) at: u32,
    /// What lies behind the key.
    pub(super) rest_len: u32,
}

impl Slot {
    /// Of an entry that lies at `at` already: its key, then its value, and nothing between.
    pub(super) fn packed(keyspace: u8, key: &[u8], entry: Entry<'_>, at: u32) -> Slot {
        let kind = match entry {
            Entry::Put { expires: Expires::NEVER, .. } => Kind::Put,
            Entry::Tombstone => Kind::Tombstone,
            Entry::Merge { .. } => Kind::Merge,
            Entry::Put { .. } | Entry::Blob { .. } => panic!("more than a key and a value"),
        };
        let rest_len = entry.payload().len() as u32;
        Slot { place: Place::new(keyspace, key), kind, piece: 0, at, rest_len }
    }

    pub(super) fn keyspace(&self) -> u8 {
        self.place.keyspace
    }

    /// Of key and what lies behind it.
    pub(super) fn len_bytes(&self) -> usize {
        usize::from(self.place.key_len) + self.rest_len as usize
    }

    /// Key and what lies behind it.
    pub(super) fn whole<'a>(&self, piece: &'a [u8]) -> &'a [u8] {
        let at = self.at as usize;
        &piece[at..at + self.len_bytes()]
    }

    pub(super) fn key<'a>(&self, piece: &'a [u8]) -> &'a [u8] {
        let at = self.at as usize;
        &piece[at..at + usize::from(self.place.key_len)]
    }

    pub(super) fn entry<'a>(&self, piece: &'a [u8]) -> Entry<'a> {
        let rest = &self.whole(piece)[usize::from(self.place.key_len)..];
        match self.kind {
            Kind::Put => Entry::Put { value: rest, expires: Expires::NEVER },
            Kind::PutUntil => {
                let (until, value) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
                Entry::Put { value, expires: Expires(u64::from_le_bytes(*until)) }
            }
            Kind::Tombstone => Entry::Tombstone,
            Kind::Merge => Entry::Merge { operand: rest },
        }
    }
}

/// Entries on their way into one piece of memory.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
}

impl Piece {
    fn at(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("a piece is bounded")
    }

    /// Lays bytes behind the others; where they begin.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> u32 {
        let at = self.at();
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// Lays an entry behind the others.
    pub(super) fn push(&mut self, keyspace: u8, key: &[u8], entry: Entry<'_>) -> Slot {
        let at = self.at();
        self.bytes.extend_from_slice(key);
        let (kind, value): (_, &[u8]) = match entry {
            Entry::Put { value, expires: Expires::NEVER } => (Kind::Put, value),
            Entry::Put { value, expires } => {
                self.bytes.extend_from_slice(&expires.0.to_le_bytes());
                (Kind::PutUntil, value)
            }
            Entry::Tombstone => (Kind::Tombstone, &[]),
            Entry::Merge { operand } => (Kind::Merge, operand),
            Entry::Blob { .. } => panic!("memory holds whole values"),
        };
        self.bytes.extend_from_slice(value);
        let rest_len = self.at() - at - key.len() as u32;
        Slot { place: Place::new(keyspace, key), kind, piece: 0, at, rest_len }
    }

    /// Lays an entry of another piece behind the others.
    pub(super) fn copy(&mut self, slot: &Slot, piece: &[u8]) -> Slot {
        let at = self.at();
        self.bytes.extend_from_slice(slot.whole(piece));
        Slot { piece: 0, at, ..*slot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_entry_comes_back() {
        let entries = [
            Entry::Put { value: b"value", expires: Expires::NEVER },
            Entry::Put { value: b"", expires: Expires::NEVER },
            Entry::Put { value: b"v", expires: Expires(7) },
            Entry::Tombstone,
            Entry::Merge { operand: b"+1" },
        ];
        let (mut first, mut second) = (Piece::default(), Piece::default());
        for entry in entries {
            let slot = first.push(3, b"key", entry);
            assert_eq!((slot.keyspace(), slot.key(&first.bytes)), (3, b"key".as_slice()));
            assert_eq!(slot.entry(&first.bytes), entry);
            let copy = second.copy(&slot, &first.bytes);
            assert_eq!((copy.key(&second.bytes), copy.entry(&second.bytes)), (&b"key"[..], entry));
        }
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let bytes = || prop::sample::select(vec![0u8, 1, 255]);
        let short = proptest::collection::vec(bytes(), 0..4);
        // As long as a head, and longer.
        let long = proptest::collection::vec(bytes(), 0..4);
        prop_oneof![short, long.prop_map(|end| [&[0; 14][..], &end].concat())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn places_order_as_keyspaces_and_keys_do(a in key(), b in key(), spaces in (0u8..2, 0u8..2)) {
            let order = Place::new(spaces.0, &a).order(&Place::new(spaces.1, &b), || &a, || &b);
            prop_assert_eq!(order, (spaces.0, &a).cmp(&(spaces.1, &b)));
        }
    }
}
