//! What an entry writes to the store: many small rows in one piece of memory.
//!
//! **Invariant**: the bytes of all rows lie in one buffer, in the order in which they were written, so that a
//! buffer that is used again allocates nothing.

use crate::rows::{Archivable, Keyspace, with_archive};

/// A row for the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowWrite<'a> {
    /// Which table.
    pub keyspace: Keyspace,
    /// Its key, see [`crate::rows`].
    pub key: &'a [u8],
    /// Its value, an rkyv archive; `None` deletes.
    pub value: Option<&'a [u8]>,
}

/// Rows for the store, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RowWrites {
    lengths: Vec<Lengths>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lengths {
    keyspace: Keyspace,
    key: u32,
    value: Option<u32>,
}

/// What a buffer may keep of its room when it is emptied.
const ROOM_BYTES_MAX: usize = 1 << 20;

impl RowWrites {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = RowWrite<'_>> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |&Lengths { keyspace, key, value }| {
            let (key, behind) = rest.split_at(key as usize);
            let (bytes, behind) = behind.split_at(value.unwrap_or(0) as usize);
            rest = behind;
            RowWrite { keyspace, key, value: value.map(|_| bytes) }
        })
    }

    /// The keys and values of all rows, one behind the other.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Of each row its table and the lengths of its key and, unless it is deleted, of its value.
    pub fn lengths(&self) -> impl Iterator<Item = (Keyspace, usize, Option<usize>)> {
        let of_value = |value: u32| value as usize;
        self.lengths
            .iter()
            .map(move |row| (row.keyspace, row.key as usize, row.value.map(of_value)))
    }

    /// Forgets the rows and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.lengths.clear();
        self.bytes.clear();
        // One huge entry must not hold its memory for ever.
        self.bytes.shrink_to(ROOM_BYTES_MAX);
    }

    pub(crate) fn write(&mut self, keyspace: Keyspace, key: &[u8], value: Option<&[u8]>) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let value = value.map(len);
        self.lengths.push(Lengths { keyspace, key: len(key), value });
    }

    /// The archive of a row, or its absence.
    pub(crate) fn write_row<T: Archivable>(
        &mut self,
        keyspace: Keyspace,
        key: &[u8],
        row: Option<&T>,
    ) {
        match row {
            Some(row) => with_archive(row, |value| self.write(keyspace, key, Some(value))),
            None => self.write(keyspace, key, None),
        }
    }

    /// Moves the other's rows behind these.
    pub(crate) fn append(&mut self, other: &mut RowWrites) {
        self.lengths.append(&mut other.lengths);
        self.bytes.append(&mut other.bytes);
    }
}

fn len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("rows are small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_as_they_were_written() {
        let mut rows = RowWrites::default();
        let mut more = RowWrites::default();
        for _ in 0..2 {
            rows.clear();
            rows.write(Keyspace::Sites, b"a", Some(b"value"));
            rows.write(Keyspace::Drivers, b"", None);
            more.write(Keyspace::Tokens, b"key", Some(b""));
            rows.append(&mut more);
            let row = |keyspace, key, value| RowWrite { keyspace, key, value };
            let expected = [
                row(Keyspace::Sites, &b"a"[..], Some(&b"value"[..])),
                row(Keyspace::Drivers, b"", None),
                row(Keyspace::Tokens, b"key", Some(b"")),
            ];
            assert_eq!(rows.iter().collect::<Vec<_>>(), expected);
            assert_eq!((rows.len(), more.len()), (3, 0));
            assert_eq!(rows.bytes(), b"avaluekey");
            let lengths: Vec<_> = rows.lengths().map(|(_, key, value)| (key, value)).collect();
            assert_eq!(lengths, [(1, Some(5)), (0, None), (3, Some(0))]);
        }
    }
}
