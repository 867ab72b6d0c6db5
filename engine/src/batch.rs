//! What one entry of the log changes: puts, deletes and merges over keyspaces, and the mark they lead to.
//!
//! Invariant: the bytes of all changes lie in one buffer, in the order in which they were asked for, so that
//! a batch that is used again allocates nothing.

use crate::entry::Expires;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// What a change does with its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Put { key: &'a [u8], value: &'a [u8], expires: Expires },
    Delete { key: &'a [u8] },
    DeleteRange { from: &'a [u8], to: &'a [u8] },
    Merge { key: &'a [u8], operand: &'a [u8] },
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put(Expires),
    Delete,
    DeleteRange,
    Merge,
}

/// One change: its bytes are the next `first + second` of the buffer.
#[derive(Clone, Copy, Debug)]
struct Op {
    keyspace: u8,
    kind: Kind,
    first: u32,
    second: u32,
}

/// Changes that become visible together. Later ones win over earlier ones.
///
/// A batch is emptied by [`crate::Engine::write`] and keeps its room, so one batch serves for ever.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    ops: Vec<Op>,
    bytes: Vec<u8>,
    pub(crate) mark: Option<u64>,
    pub(crate) time_s: Option<u64>,
}

/// What a batch may keep of its room when it is emptied.
const ROOM_BYTES_MAX: usize = 1 << 20;

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Batch::default()
    }

    fn push(&mut self, keyspace: u8, kind: Kind, first: &[u8], second: &[u8]) {
        assert!(first.len() <= KEY_BYTES_MAX, "key of {} bytes", first.len());
        self.bytes.extend_from_slice(first);
        self.bytes.extend_from_slice(second);
        let (first, second) = (first.len() as u32, second.len() as u32);
        self.ops.push(Op { keyspace, kind, first, second });
    }

    /// Adds puts and deletes whose bytes lie one behind the other already, each key before its value: for each its
    /// keyspace, the length of its key and, unless it is a delete, of its value. One copy serves them all.
    ///
    /// # Panics
    /// As [`Batch::put`] and [`Batch::delete`], or when the lengths are not those of `bytes`.
    pub fn extend_packed(
        &mut self,
        bytes: &[u8],
        changes: impl IntoIterator<Item = (u8, usize, Option<usize>)>,
    ) {
        let mut len = 0;
        self.ops.extend(changes.into_iter().map(|(keyspace, key, value)| {
            assert!(key <= KEY_BYTES_MAX, "key of {key} bytes");
            let kind = if value.is_some() { Kind::Put(Expires::NEVER) } else { Kind::Delete };
            let value = value.unwrap_or_default();
            assert!(value <= VALUE_BYTES_MAX, "value of {value} bytes");
            len += key + value;
            Op { keyspace, kind, first: key as u32, second: value as u32 }
        }));
        assert_eq!(len, bytes.len(), "the lengths are those of the bytes");
        self.bytes.extend_from_slice(bytes);
    }

    /// Sets `key` to `value`, copying both.
    ///
    /// # Panics
    /// When the key is past [`KEY_BYTES_MAX`] or the value past [`VALUE_BYTES_MAX`].
    pub fn put(&mut self, ks: u8, key: &[u8], value: &[u8]) {
        assert!(value.len() <= VALUE_BYTES_MAX, "value of {} bytes", value.len());
        self.push(ks, Kind::Put(Expires::NEVER), key, value);
    }

    /// Sets `key` to `value` until the clock that batches carry ([`Batch::set_time_s`]) reaches
    /// `expires_s`; from then on the key is absent.
    ///
    /// # Panics
    /// As [`Batch::put`]. [`crate::Engine::write`] panics when the keyspace has a merge operator: whether an
    /// operand came before or after the expiry of its base could not be told.
    pub fn put_until(&mut self, ks: u8, key: &[u8], value: &[u8], expires_s: u64) {
        assert!(value.len() <= VALUE_BYTES_MAX, "value of {} bytes", value.len());
        self.push(ks, Kind::Put(Expires(expires_s)), key, value);
    }

    /// Removes `key`.
    ///
    /// # Panics
    /// When the key is past [`KEY_BYTES_MAX`].
    pub fn delete(&mut self, ks: u8, key: &[u8]) {
        self.push(ks, Kind::Delete, key, &[]);
    }

    /// Removes all keys from `from`, to and without `to`. Costs the same however many they are.
    ///
    /// # Panics
    /// When either is past [`KEY_BYTES_MAX`].
    pub fn delete_range(&mut self, ks: u8, from: &[u8], to: &[u8]) {
        assert!(to.len() <= KEY_BYTES_MAX, "key of {} bytes", to.len());
        self.push(ks, Kind::DeleteRange, from, to);
    }

    /// Hands `operand` to the merge operator of the keyspace, which makes the key's new value out of it and
    /// the old one.
    ///
    /// # Panics
    /// When the key is past [`KEY_BYTES_MAX`] or the operand past [`VALUE_BYTES_MAX`].
    /// [`crate::Engine::write`] panics when the keyspace has no merge operator.
    pub fn merge(&mut self, ks: u8, key: &[u8], operand: &[u8]) {
        assert!(operand.len() <= VALUE_BYTES_MAX, "operand of {} bytes", operand.len());
        self.push(ks, Kind::Merge, key, operand);
    }

    /// Adds a change.
    pub(crate) fn push_change(&mut self, keyspace: u8, change: &Change<'_>) {
        match *change {
            Change::Put { key, value, expires: Expires::NEVER } => self.put(keyspace, key, value),
            Change::Put { key, value, expires } => self.put_until(keyspace, key, value, expires.0),
            Change::Delete { key } => self.delete(keyspace, key),
            Change::DeleteRange { from, to } => self.delete_range(keyspace, from, to),
            Change::Merge { key, operand } => self.merge(keyspace, key, operand),
        }
    }

    /// Says up to which entry of the log the store is complete once this batch is in.
    pub fn set_mark(&mut self, mark: u64) {
        self.mark = Some(mark);
    }

    /// Sets the clock by which entries expire. A time before that of an earlier batch changes nothing: the
    /// store's clock never goes back.
    pub fn set_time_s(&mut self, time_s: u64) {
        self.time_s = Some(time_s);
    }

    /// True when writing it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.mark.is_none() && self.time_s.is_none()
    }

    /// How many changes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// The bytes of keys and values that it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets everything, keeping the room.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.bytes.clear();
        // One huge batch must not hold its memory for ever.
        self.bytes.shrink_to(ROOM_BYTES_MAX);
        self.mark = None;
        self.time_s = None;
    }

    /// Its bytes, when in them every change is its key and behind that what else it has.
    pub(crate) fn packed(&self) -> Option<&[u8]> {
        let is_packed = |op: &Op| match op.kind {
            Kind::Put(expires) => expires == Expires::NEVER,
            Kind::Delete | Kind::Merge => true,
            Kind::DeleteRange => false,
        };
        self.ops.iter().all(is_packed).then_some(&self.bytes)
    }

    /// The changes, in order, each with its keyspace.
    pub(crate) fn changes(&self) -> Changes<'_> {
        Changes { ops: self.ops.iter(), bytes: &self.bytes }
    }
}

/// The changes of a batch, in order.
pub(crate) struct Changes<'a> {
    ops: std::slice::Iter<'a, Op>,
    bytes: &'a [u8],
}

impl<'a> Iterator for Changes<'a> {
    type Item = (u8, Change<'a>);

    fn next(&mut self) -> Option<(u8, Change<'a>)> {
        let op = self.ops.next()?;
        let (first, rest) = self.bytes.split_at(op.first as usize);
        let (second, rest) = rest.split_at(op.second as usize);
        self.bytes = rest;
        let change = match op.kind {
            Kind::Put(expires) => Change::Put { key: first, value: second, expires },
            Kind::Delete => Change::Delete { key: first },
            Kind::DeleteRange => Change::DeleteRange { from: first, to: second },
            Kind::Merge => Change::Merge { key: first, operand: second },
        };
        Some((op.keyspace, change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_are_packed_already_are_taken_as_they_are() {
        let (mut one, mut other) = (Batch::new(), Batch::new());
        one.put(1, b"a", b"b");
        one.put(2, b"key", b"value");
        one.delete(3, b"gone");
        other.put(1, b"a", b"b");
        other.extend_packed(b"keyvaluegone", [(2, 3, Some(5)), (3, 4, None)]);
        assert!(one.changes().eq(other.changes()));
        assert_eq!(other.packed(), Some(&b"abkeyvaluegone"[..]));
        other.put_until(1, b"a", b"b", 9);
        assert_eq!(other.packed(), None, "its expiry has to lie between");
    }

    #[test]
    fn changes_come_back_in_order_with_their_bytes() {
        let mut batch = Batch::new();
        for _ in 0..2 {
            batch.put(1, b"key", b"value");
            batch.put_until(2, b"", b"v", 9);
            batch.delete(0, b"gone");
            batch.delete_range(3, b"a", b"b");
            batch.merge(4, b"sum", b"1");
            assert_eq!((batch.len(), batch.bytes()), (5, 19));
            let never = Expires::NEVER;
            let expected = [
                (1, Change::Put { key: b"key", value: b"value", expires: never }),
                (2, Change::Put { key: b"", value: b"v", expires: Expires(9) }),
                (0, Change::Delete { key: b"gone" }),
                (3, Change::DeleteRange { from: b"a", to: b"b" }),
                (4, Change::Merge { key: b"sum", operand: b"1" }),
            ];
            assert_eq!(batch.changes().collect::<Vec<_>>(), expected);
            batch.clear();
            assert!(batch.is_empty() && batch.changes().next().is_none());
        }
    }
}
