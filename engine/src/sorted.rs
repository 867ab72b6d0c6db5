//! A run that is made at once, of changes that lie in one buffer as they came: what a log has for the tables.
//!
//! It goes into a table without a tree in between: nothing is allocated for an entry, and the bytes stay where they
//! are.
//!
//! Invariants: keyspaces and keys rise strictly; of several changes of a key the last one counts; there are only
//! changes that stand for themselves, puts and deletes.

use crate::batch::{Batch, Change};
use crate::entry::{Entry, Expires};
use crate::limits::KEY_BYTES_MAX;

/// So many entries are fetched from memory together: they lie all over the buffer, and the processor waits for many
/// places no longer than for one.
const FETCHED_TOGETHER: usize = 64;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put(Expires),
    Delete,
}

/// One change: its key lies at `at` in the buffer, its value behind that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    kind: Kind,
    at: u32,
    value_len: u32,
    key_len: u16,
    keyspace: u8,
}

impl Slot {
    /// Of a change whose last byte is the one before `end` in the buffer, its value right behind its key; none for one
    /// that depends on others, or that lies too far back.
    pub(crate) fn new(keyspace: u8, change: &Change<'_>, end: usize) -> Option<Slot> {
        let (kind, key, value): (_, _, &[u8]) = match *change {
            Change::Put { key, value, expires } => (Kind::Put(expires), key, value),
            Change::Delete { key } => (Kind::Delete, key, &[]),
            Change::DeleteRange { .. } | Change::Merge { .. } => return None,
        };
        assert!(key.len() <= KEY_BYTES_MAX, "key of {} bytes", key.len());
        let at = u32::try_from(end.checked_sub(key.len() + value.len())?).ok()?;
        let value_len = u32::try_from(value.len()).ok()?;
        Some(Slot { kind, at, value_len, key_len: key.len() as u16, keyspace })
    }

    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let at = self.at as usize;
        &bytes[at..at + usize::from(self.key_len)]
    }

    fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let at = self.at as usize + usize::from(self.key_len);
        &bytes[at..at + self.value_len as usize]
    }

    fn change<'a>(&self, bytes: &'a [u8]) -> Change<'a> {
        let key = self.key(bytes);
        match self.kind {
            Kind::Put(expires) => Change::Put { key, value: self.value(bytes), expires },
            Kind::Delete => Change::Delete { key },
        }
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct SortedRun {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

impl SortedRun {
    /// Of changes in the order in which they came.
    pub(crate) fn new(bytes: Vec<u8>, slots: &[Slot]) -> SortedRun {
        assert!(u32::try_from(slots.len()).is_ok(), "places fit half a word");
        let skip = shared_prefix(&bytes, slots);
        let mut order: Vec<u128> = (0u32..)
            .zip(slots)
            .map(|(place, slot)| {
                u128::from(slot.keyspace) << 96
                    | u128::from(head(slot.key(&bytes), skip)) << 32
                    | u128::from(place)
            })
            .collect();
        order.sort_unstable();
        let slot = |order: u128| &slots[(order & u128::from(u32::MAX)) as usize];
        let mut sorted: Vec<Slot> = Vec::with_capacity(slots.len());
        for alike in order.chunk_by_mut(|a, b| a >> 32 == b >> 32) {
            // A stable sort keeps the places of one key in order.
            alike.sort_by(|a, b| slot(*a).key(&bytes).cmp(slot(*b).key(&bytes)));
            let mut rest = alike.iter().peekable();
            while let Some(one) = rest.next() {
                let key = slot(*one).key(&bytes);
                if rest.peek().is_none_or(|next| slot(**next).key(&bytes) != key) {
                    sorted.push(*slot(*one));
                }
            }
        }
        SortedRun { bytes, slots: sorted }
    }

    /// The entries of a keyspace, their keys rising.
    pub(crate) fn entries(&self, keyspace: u8) -> impl Iterator<Item = (&[u8], Entry<'_>)> {
        let start = self.slots.partition_point(|slot| slot.keyspace < keyspace);
        let end = self.slots.partition_point(|slot| slot.keyspace <= keyspace);
        let together = self.slots[start..end].chunks(FETCHED_TOGETHER);
        together.inspect(|slots| self.fetch(slots)).flatten().map(|slot| {
            let entry = match slot.kind {
                Kind::Put(expires) => Entry::Put { value: slot.value(&self.bytes), expires },
                Kind::Delete => Entry::Tombstone,
            };
            (slot.key(&self.bytes), entry)
        })
    }

    /// Has the processor fetch what some entries start and end with. It says nothing: it is for the time it saves.
    fn fetch(&self, slots: &[Slot]) {
        let byte = |at: usize| self.bytes.get(at).copied().unwrap_or_default();
        let fetched = slots.iter().fold(0, |sum, slot| {
            let at = slot.at as usize;
            sum ^ byte(at) ^ byte(at + usize::from(slot.key_len) + slot.value_len as usize)
        });
        std::hint::black_box(fetched);
    }

    /// Adds all of it to a batch.
    pub(crate) fn put_into(&self, batch: &mut Batch) {
        for slot in &self.slots {
            batch.push_change(slot.keyspace, &slot.change(&self.bytes));
        }
    }
}

/// How many bytes all keys begin with alike, so that what sorts them looks behind.
fn shared_prefix(bytes: &[u8], slots: &[Slot]) -> usize {
    let Some((first, rest)) = slots.split_first() else { return 0 };
    let first = first.key(bytes);
    rest.iter().fold(first.len(), |shared, slot| {
        let pairs = first[..shared].iter().zip(slot.key(bytes));
        pairs.take_while(|(a, b)| a == b).count()
    })
}

/// The eight bytes behind the first `skip`, zero-padded: heads that differ order as their keys do.
fn head(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(whole) = rest.first_chunk() {
        return u64::from_be_bytes(*whole);
    }
    let mut padded = [0; 8];
    padded[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(padded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop::sample::select(vec![0u8, 1, 255]);
        let tail = proptest::collection::vec(byte, 0..4);
        (any::<bool>(), tail).prop_map(|(long, tail): (bool, Vec<u8>)| {
            let prefix: &[u8] = if long { b"a prefix longer than a head" } else { b"" };
            [prefix, tail.as_slice()].concat()
        })
    }

    proptest! {
        #[test]
        fn a_run_is_a_sorted_map_of_the_last_changes(
            changes in proptest::collection::vec((0u8..3, key(), proptest::option::of((0u8..9, any::<bool>()))), 0..60)
        ) {
            let (mut bytes, mut slots, mut model) = (Vec::new(), Vec::new(), BTreeMap::new());
            for (keyspace, key, value) in &changes {
                let value = value.map(|(byte, until)| {
                    (vec![byte; usize::from(byte)], if until { Expires(7) } else { Expires::NEVER })
                });
                let change = match &value {
                    Some((value, expires)) => Change::Put { key, value, expires: *expires },
                    None => Change::Delete { key },
                };
                bytes.extend_from_slice(b"header");
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(value.as_ref().map_or(&[], |(value, _)| value));
                slots.push(Slot::new(*keyspace, &change, bytes.len()).unwrap());
                model.insert((*keyspace, key.clone()), value);
            }
            let run = SortedRun::new(bytes, &slots);
            let mut found = Vec::new();
            for keyspace in 0..3 {
                for (key, entry) in run.entries(keyspace) {
                    let value = match entry {
                        Entry::Put { value, expires } => Some((value.to_vec(), expires)),
                        Entry::Tombstone => None,
                        other => panic!("{other:?}"),
                    };
                    found.push(((keyspace, key.to_vec()), value));
                }
            }
            prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_depends_on_others_has_no_slot() {
        assert!(Slot::new(0, &Change::Merge { key: b"k", operand: b"1" }, 9).is_none());
        assert!(Slot::new(0, &Change::DeleteRange { from: b"a", to: b"b" }, 9).is_none());
        assert!(Slot::new(0, &Change::Delete { key: b"longer" }, 5).is_none(), "out of the buffer");
    }
}
