//! What a run, in memory or in a table, says of one key, and of ranges of keys.
//!
//! Invariants: a run holds at most one entry a key; its range tombstones act on older runs alone, so a
//! point entry always wins over a range tombstone of its own run.

/// The second (of the clock that batches carry) from which on a key is absent; NEVER for good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Expires(pub(crate) u64);

impl Expires {
    /// The key stays until it is overwritten or deleted.
    pub(crate) const NEVER: Expires = Expires(u64::MAX);

    /// True when the key is absent at `now_s`.
    pub(crate) fn is_due(self, now_s: u64) -> bool {
        self != Expires::NEVER && self.0 <= now_s
    }
}

/// Where a separated value lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlobRef {
    /// Number of the blob file.
    pub file: u64,
    /// Where the record starts.
    pub offset: u64,
    /// Length of the value.
    pub len: u32,
    /// Length of the whole record as stored: header and payload.
    pub stored_len: u32,
    /// The checksum that the record must carry.
    pub crc: u32,
}

/// What a run or a table says of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry<'a> {
    /// The key has this value until `expires`.
    Put { value: &'a [u8], expires: Expires },
    /// The key has a value that lies in a blob file.
    Blob { at: BlobRef, expires: Expires },
    /// The key is deleted.
    Tombstone,
    /// To be folded into what older runs say.
    Merge { operand: &'a [u8] },
}

impl Entry<'_> {
    /// When it is absent by itself; NEVER for what does not expire.
    pub(crate) fn expires(&self) -> Expires {
        match self {
            Entry::Put { expires, .. } | Entry::Blob { expires, .. } => *expires,
            Entry::Tombstone | Entry::Merge { .. } => Expires::NEVER,
        }
    }

    /// Bytes of the value or operand that lie in the run itself.
    pub(crate) fn payload(&self) -> &[u8] {
        match self {
            Entry::Put { value, .. } => value,
            Entry::Merge { operand } => operand,
            Entry::Blob { .. } | Entry::Tombstone => &[],
        }
    }
}

/// An entry that holds its bytes: what models keep.
#[cfg(test)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum OwnedEntry {
    /// See [`Entry::Put`].
    Put { value: Vec<u8>, expires: Expires },
    /// See [`Entry::Tombstone`].
    Tombstone,
    /// See [`Entry::Merge`].
    Merge { operand: Vec<u8> },
}

#[cfg(test)]
impl OwnedEntry {
    /// The same, borrowed.
    pub(crate) fn as_entry(&self) -> Entry<'_> {
        match self {
            OwnedEntry::Put { value, expires } => Entry::Put { value, expires: *expires },
            OwnedEntry::Tombstone => Entry::Tombstone,
            OwnedEntry::Merge { operand } => Entry::Merge { operand },
        }
    }
}

/// Internal keys [from, to) deleted in all runs OLDER than the one that holds this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RangeTombstone {
    /// The first key that is deleted.
    pub from: Vec<u8>,
    /// The first key past it that is not.
    pub to: Vec<u8>,
}

impl RangeTombstone {
    /// True when `key` lies in the range.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        self.from.as_slice() <= key && key < self.to.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_from_its_second_on_and_never_for_good() {
        assert!(!Expires(10).is_due(9) && Expires(10).is_due(10) && Expires(10).is_due(11));
        assert!(!Expires::NEVER.is_due(u64::MAX));
    }

    #[test]
    fn a_range_holds_its_start_and_not_its_end() {
        let range = RangeTombstone { from: b"b".to_vec(), to: b"d".to_vec() };
        let covered: Vec<bool> =
            [&b"a"[..], b"b", b"c\xff", b"d"].map(|key| range.covers(key)).into();
        assert_eq!(covered, [false, true, true, false]);
    }
}
