//! What can still be read of a damaged table, and which keys cannot.
//!
//! Invariant: entries and holes come in key order and do not overlap; nothing unchecked is passed on.

use crate::entry::Entry;
use crate::error::Error;
use crate::limits::KEY_BYTES_MAX;
use crate::table::{Direction, KeyRange, Table, internal_key};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Keys that a damaged file no longer gives.
#[derive(Clone, PartialEq, Eq)]
pub struct LostRange {
    /// The damaged file.
    pub file: PathBuf,
    /// Where in the file the damage starts.
    pub offset: u64,
    /// Keyspace and key of the first that may be lost.
    pub from: (u8, Vec<u8>),
    /// Keyspace and key of the last that may be lost.
    pub to: (u8, Vec<u8>),
    /// What is wrong there.
    pub what: String,
}

/// A key as people can read it: text where it is text, hexadecimal otherwise.
#[derive(Clone, Copy)]
pub struct ShownKey<'a>(pub &'a [u8]);

impl fmt::Display for ShownKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"' && *byte != b'\\';
        if !self.0.is_empty() && self.0.iter().all(is_plain) {
            return write!(f, "\"{}\"", self.0.escape_ascii());
        }
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ShownKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((from_ks, from), (to_ks, to)) = (&self.from, &self.to);
        let (from, to) = (ShownKey(from), ShownKey(to));
        let file = self.file.display();
        write!(f, "{file}: keyspace {from_ks} from key {from} to ")?;
        if from_ks != to_ks {
            write!(f, "keyspace {to_ks} ")?;
        }
        write!(f, "key {to}")
    }
}

impl fmt::Debug for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Keyspace and key of an internal key.
pub(super) fn split(internal: &[u8]) -> (u8, Vec<u8>) {
    match internal.split_first() {
        Some((keyspace, key)) => (*keyspace, key.to_vec()),
        None => (0, Vec::new()),
    }
}

/// The internal key of a keyspace and a key.
pub(super) fn join((keyspace, key): &(u8, Vec<u8>)) -> Vec<u8> {
    internal_key(*keyspace, key)
}

/// The first internal key past `key`.
pub(super) fn past(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    if next.len() <= KEY_BYTES_MAX {
        next.push(0);
        return next;
    }
    // The longest there is: the next one differs earlier.
    while next.pop_if(|last| *last == u8::MAX).is_some() {}
    if let Some(last) = next.last_mut() {
        *last += 1;
    }
    next
}

/// A piece of a table, in key order.
pub(super) enum Piece<'a> {
    /// An internal key and what the table says of it.
    Entry(&'a [u8], Entry<'a>),
    /// Keys that cannot be read.
    Hole(&'a LostRange),
}

/// Walks over a table past the cache, round whatever is damaged. Returns the holes.
///
/// # Errors
/// Those of `take`. Damage to the table is no error here.
pub(super) fn survey(
    table: &Arc<Table>,
    mut take: impl FnMut(Piece<'_>) -> Result<(), Error>,
) -> Result<Vec<LostRange>, Error> {
    let meta = table.meta();
    let mut holes = Vec::new();
    let mut from = meta.smallest.clone();
    // Each round ends the table or gets past a damaged block.
    while from <= meta.largest {
        let range = Arc::new(KeyRange { from: from.clone(), to: None });
        let mut cursor = table.cursor(range, Direction::Forward, false);
        let damage = loop {
            match cursor.next() {
                Ok(true) => {
                    from = past(cursor.key());
                    take(Piece::Entry(cursor.key(), cursor.entry()))?;
                }
                Ok(false) => return Ok(holes),
                Err(error) => break error,
            }
        };
        let hole = hole(&damage, &from, &meta.largest, table);
        from = past(&join(&hole.to));
        take(Piece::Hole(&hole))?;
        holes.push(hole);
    }
    Ok(holes)
}

/// The keys that an error takes away from a walk that had come to `from`: to the end of the damaged block
/// where the error names it, else to the end of the table.
fn hole(error: &Error, from: &[u8], largest: &[u8], table: &Table) -> LostRange {
    let (mut offset, mut last) = (0, largest.to_vec());
    if let Error::Corruption { offset: at, keyspace, keys, .. } = error {
        offset = *at;
        if let (Some(keyspace), Some(keys)) = (keyspace, keys) {
            let block_last = internal_key(*keyspace, &keys.last);
            // An error that names keys behind the walk would have it run in circles.
            if block_last.as_slice() >= from && block_last.as_slice() < largest {
                last = block_last;
            }
        }
    }
    let (from, to) = (split(from), split(&last));
    LostRange { file: table.path(), offset, from, to, what: error.to_string() }
}

impl LostRange {
    /// The keys that an error names.
    pub(super) fn of(error: &Error) -> Option<LostRange> {
        let Error::Corruption { file, offset, keyspace: Some(keyspace), keys: Some(keys), .. } =
            error
        else {
            return None;
        };
        Some(LostRange {
            file: file.clone(),
            offset: *offset,
            from: (*keyspace, keys.first.clone()),
            to: (*keyspace, keys.last.clone()),
            what: error.to_string(),
        })
    }
}
