//! What a table says of itself as a whole: its properties and its range tombstones.
//! The bytes are those of `docs/formats/table.md`.

use super::TableMeta;
use crate::codec::Reader;
use crate::entry::{Expires, RangeTombstone};
use crate::limits::{INTERNAL_KEY_BYTES_MAX, KEY_BYTES_MAX};

/// Counts and extents of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Props {
    /// Point entries, tombstones included.
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
    pub(crate) merges: u64,
    pub(crate) ranges: u64,
    pub(crate) expires_min: u64,
    pub(crate) expires_max: u64,
    pub(crate) data_blocks: u64,
    /// Internal keys, before prefixes are cut.
    pub(crate) key_bytes: u64,
    /// Values and operands in the table itself, before compression.
    pub(crate) value_bytes: u64,
    pub(crate) smallest: Vec<u8>,
    pub(crate) largest: Vec<u8>,
    /// Blob files and how many stored bytes of each the entries refer to; in order of number.
    pub(crate) blobs: Vec<(u64, u64)>,
}

fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    assert!((1..=INTERNAL_KEY_BYTES_MAX).contains(&key.len()));
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(key);
}

fn read_key(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let len = usize::from(reader.u16()?);
    let key = reader.take(len)?;
    (1..=INTERNAL_KEY_BYTES_MAX).contains(&len).then(|| key.to_vec())
}

impl Props {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for field in [
            self.entries,
            self.tombstones,
            self.merges,
            self.ranges,
            self.expires_min,
            self.expires_max,
            self.data_blocks,
            self.key_bytes,
            self.value_bytes,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        put_key(&mut out, &self.smallest);
        put_key(&mut out, &self.largest);
        out.extend_from_slice(&(self.blobs.len() as u32).to_le_bytes());
        for (file, bytes) in &self.blobs {
            out.extend_from_slice(&file.to_le_bytes());
            out.extend_from_slice(&bytes.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(raw: &[u8]) -> Result<Props, &'static str> {
        const BAD: &str = "table properties do not parse";
        let mut reader = Reader::new(raw);
        let mut field = || reader.u64().ok_or(BAD);
        let mut props = Props {
            entries: field()?,
            tombstones: field()?,
            merges: field()?,
            ranges: field()?,
            expires_min: field()?,
            expires_max: field()?,
            data_blocks: field()?,
            key_bytes: field()?,
            value_bytes: field()?,
            ..Props::default()
        };
        props.smallest = read_key(&mut reader).ok_or(BAD)?;
        let largest = read_key(&mut reader).filter(|largest| *largest >= props.smallest);
        props.largest = largest.ok_or(BAD)?;
        for _ in 0..reader.u32().ok_or(BAD)? {
            let (Some(file), Some(bytes)) = (reader.u64(), reader.u64()) else { return Err(BAD) };
            if props.blobs.last().is_some_and(|(last, _)| *last >= file) {
                return Err(BAD);
            }
            props.blobs.push((file, bytes));
        }
        if reader.is_empty() { Ok(props) } else { Err(BAD) }
    }

    /// What a manifest says of the table.
    pub(crate) fn into_meta(self, number: u64, bytes: u64, footer_crc: u32) -> TableMeta {
        TableMeta {
            number,
            bytes,
            entries: self.entries,
            tombstones: self.tombstones,
            footer_crc,
            smallest: self.smallest,
            largest: self.largest,
            ranges: self.ranges,
            merges: self.merges,
            expires_min: Expires(self.expires_min),
            expires_max: Expires(self.expires_max),
            blobs: self.blobs,
        }
    }

    /// Counts an expiry in.
    pub(crate) fn count_expiry(&mut self, expires: Expires) {
        if self.entries == 0 {
            (self.expires_min, self.expires_max) = (expires.0, expires.0);
        }
        self.expires_min = self.expires_min.min(expires.0);
        self.expires_max = self.expires_max.max(expires.0);
    }
}

/// Sorts range tombstones and joins those that touch: of one run, all have the same force.
pub(crate) fn join_ranges(mut ranges: Vec<RangeTombstone>) -> Vec<RangeTombstone> {
    ranges.sort_by(|a, b| a.from.cmp(&b.from));
    let mut joined: Vec<RangeTombstone> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.from <= last.to => {
                if range.to > last.to {
                    last.to = range.to;
                }
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// The raw block of range tombstones.
pub(crate) fn encode_ranges(ranges: &[RangeTombstone]) -> Vec<u8> {
    let mut out = (ranges.len() as u32).to_le_bytes().to_vec();
    for range in ranges {
        put_key(&mut out, &range.from);
        put_key(&mut out, &range.to);
    }
    out
}

/// Reads range tombstones, which rise and lie apart.
pub(crate) fn decode_ranges(raw: &[u8]) -> Result<Vec<RangeTombstone>, &'static str> {
    const BAD: &str = "range tombstones do not parse";
    let mut reader = Reader::new(raw);
    let mut ranges: Vec<RangeTombstone> = Vec::new();
    for _ in 0..reader.u32().ok_or(BAD)? {
        let (Some(from), Some(to)) = (read_key(&mut reader), read_key(&mut reader)) else {
            return Err(BAD);
        };
        if from >= to || ranges.last().is_some_and(|last| last.to >= from) {
            return Err("range tombstones do not rise");
        }
        ranges.push(RangeTombstone { from, to });
    }
    if reader.is_empty() { Ok(ranges) } else { Err(BAD) }
}

/// The range of sorted ranges that lie apart which covers `key`.
pub(crate) fn covering<'a>(ranges: &'a [RangeTombstone], key: &[u8]) -> Option<&'a RangeTombstone> {
    let past = ranges.partition_point(|range| range.from.as_slice() <= key);
    ranges.get(past.checked_sub(1)?).filter(|range| range.covers(key))
}

/// The last internal key below `to`, given how long keys can be.
pub(crate) fn last_before(to: &[u8]) -> Vec<u8> {
    let mut key = to.to_vec();
    match key.pop() {
        None | Some(0) => {}
        Some(last) => {
            key.push(last - 1);
            key.resize(KEY_BYTES_MAX + 1, 0xff);
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = RangeTombstone> {
        let key = || proptest::collection::vec(0u8..4, 1..4);
        (key(), key())
            .prop_filter("not empty", |(a, b)| a != b)
            .prop_map(|(a, b)| RangeTombstone { from: a.clone().min(b.clone()), to: a.max(b) })
    }

    fn props() -> Props {
        Props {
            entries: 5,
            tombstones: 1,
            expires_max: u64::MAX,
            smallest: b"\0a".to_vec(),
            largest: b"\0b".to_vec(),
            blobs: vec![(3, 100), (9, 1)],
            ..Props::default()
        }
    }

    proptest! {
        #[test]
        fn joined_ranges_cover_what_the_single_ones_did(
            ranges in proptest::collection::vec(range(), 0..6), key in proptest::collection::vec(0u8..4, 1..5),
        ) {
            let joined = join_ranges(ranges.clone());
            let read = decode_ranges(&encode_ranges(&joined)).unwrap();
            prop_assert_eq!(&read, &joined);
            let covered = ranges.iter().any(|range| range.covers(&key));
            prop_assert_eq!(covering(&joined, &key).is_some(), covered);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Props::decode(&bytes);
            let _ = decode_ranges(&bytes);
        }
    }

    #[test]
    fn properties_come_back_and_cut_ones_are_refused() {
        let raw = props().encode();
        assert_eq!(Props::decode(&raw).unwrap(), props());
        assert!((0..raw.len()).all(|cut| Props::decode(&raw[..cut]).is_err()));
    }

    #[test]
    fn nothing_lies_between_a_key_and_the_last_before_it() {
        assert_eq!(last_before(b"\x01a\0"), b"\x01a");
        let last = last_before(b"\x01b");
        assert!(last.starts_with(b"\x01a\xff") && last.len() == KEY_BYTES_MAX + 1);
        assert!(last_before(&[1]).starts_with(&[0, 0xff]));
    }
}
