//! Which block holds a key: the index of a partition (its data blocks) and of a table (its partitions).
//! The bytes are those of `docs/formats/table.md`.
//!
//! Invariants: separators rise strictly; the block of a separator holds every key past the separator before it
//! and up to it. Parsing never panics, and expands no more than its bound.

use super::BlockRef;
use super::block::common_prefix;
use crate::codec::{Reader, put_varint};
use crate::limits::KEY_BYTES_MAX;

/// The biggest index of a partition: a writer closes a partition long before.
pub(crate) const PART_RAW_BYTES_MAX: usize = 1 << 20;
/// What separators may take once their shared prefixes are written out.
const KEYS_BYTES_MAX: usize = 64 << 20;

/// Where a partition's index and filter lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartRef {
    pub(crate) filter: BlockRef,
    pub(crate) index: BlockRef,
}

/// The shortest key from `last` on that is below `next`: what comes between two blocks. It is of the
/// keyspace of `last`, so that it names whose keys its block holds.
pub(crate) fn separator(last: &[u8], next: &[u8], out: &mut Vec<u8>) {
    assert!(last < next);
    out.clear();
    let shared = common_prefix(last, next);
    // One byte past what they share tells them apart, where raising it leads past `last` and not to `next`.
    if shared == 0 {
        out.extend_from_slice(last);
    } else if let (Some(&low), Some(&high)) = (last.get(shared), next.get(shared))
        && low + 1 < high
    {
        out.extend_from_slice(&last[..shared]);
        out.push(low + 1);
    } else if next.len() > shared + 1 && last.len() > shared {
        // `next` goes on past the byte that differs, so its prefix lies between the two.
        out.extend_from_slice(&next[..=shared]);
    } else {
        out.extend_from_slice(last);
    }
    assert!(last <= out.as_slice() && out.as_slice() < next);
}

/// Gathers separators and where they lead.
#[derive(Default)]
pub(crate) struct IndexBuilder {
    raw: Vec<u8>,
    last: Vec<u8>,
    entries: u32,
    first_offset: u64,
    next_offset: u64,
}

impl IndexBuilder {
    pub(crate) fn entries(&self) -> u32 {
        self.entries
    }

    pub(crate) fn raw_bytes(&self) -> usize {
        self.raw.len() + 12
    }

    pub(crate) fn last(&self) -> &[u8] {
        &self.last
    }

    fn add_key(&mut self, separator: &[u8]) {
        assert!(self.entries == 0 || separator > self.last.as_slice(), "separators must rise");
        let shared = if self.entries == 0 { 0 } else { common_prefix(separator, &self.last) };
        put_varint(&mut self.raw, shared as u32);
        put_varint(&mut self.raw, (separator.len() - shared) as u32);
        self.raw.extend_from_slice(&separator[shared..]);
        self.last.truncate(shared);
        self.last.extend_from_slice(&separator[shared..]);
        self.entries += 1;
    }

    /// Appends a data block, which lies right behind the one before.
    pub(crate) fn add_block(&mut self, separator: &[u8], block: BlockRef) {
        if self.entries == 0 {
            (self.first_offset, self.next_offset) = (block.offset, block.offset);
        }
        assert_eq!(block.offset, self.next_offset, "data blocks of a partition lie side by side");
        self.next_offset += u64::from(block.len);
        self.add_key(separator);
        put_varint(&mut self.raw, block.len);
        self.raw.extend_from_slice(&block.crc.to_le_bytes());
    }

    /// Appends a partition.
    pub(crate) fn add_part(&mut self, separator: &[u8], part: &PartRef) {
        self.add_key(separator);
        for block in [part.filter, part.index] {
            self.raw.extend_from_slice(&super::encode_block_ref(block));
        }
    }

    /// The raw index of a partition; the builder is empty afterwards.
    pub(crate) fn finish_part(&mut self) -> Vec<u8> {
        assert!(self.entries > 0 && self.raw_bytes() <= PART_RAW_BYTES_MAX);
        let mut out = Vec::with_capacity(self.raw_bytes());
        out.extend_from_slice(&self.first_offset.to_le_bytes());
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.append(&mut self.raw);
        self.last.clear();
        self.entries = 0;
        out
    }

    /// The raw index of a table.
    pub(crate) fn finish_root(self) -> Vec<u8> {
        let mut out = self.entries.to_le_bytes().to_vec();
        out.extend_from_slice(&self.raw);
        out
    }
}

/// An index in memory: separators and what each leads to.
pub(crate) struct Index<R> {
    /// All separators, one behind the other.
    keys: Vec<u8>,
    ends: Vec<u32>,
    /// How many bytes all separators begin with alike.
    alike: usize,
    /// The eight bytes behind those, as a number that sorts like them.
    heads: Vec<u64>,
    refs: Vec<R>,
}

/// The first eight bytes as a number that sorts like them, filled up with zeros.
fn head(bytes: &[u8]) -> u64 {
    if let Some(chunk) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*chunk);
    }
    let mut chunk = [0; 8];
    chunk.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(chunk)
}

impl<R: Copy> Index<R> {
    /// Makes an index; none when the separators do not rise.
    pub(crate) fn new<'k>(entries: impl Iterator<Item = (&'k [u8], R)>) -> Option<Index<R>> {
        let mut builder = Gather::default();
        for (key, reference) in entries {
            builder.push(0, key, reference).ok()?;
        }
        Some(builder.finish())
    }

    pub(crate) fn len(&self) -> usize {
        self.refs.len()
    }

    pub(crate) fn reference(&self, at: usize) -> Option<R> {
        self.refs.get(at).copied()
    }

    pub(crate) fn refs(&self) -> &[R] {
        &self.refs
    }

    /// The separator at `at`; empty past the end.
    pub(crate) fn key(&self, at: usize) -> &[u8] {
        let start = match at.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(u32::MAX),
            None => 0,
        };
        let end = self.ends.get(at).copied().unwrap_or(0);
        self.keys.get(start as usize..end as usize).unwrap_or_default()
    }

    pub(crate) fn bytes_held(&self) -> usize {
        self.keys.capacity() + self.refs.len() * (12 + size_of::<R>())
    }

    /// The first separator that is not below `key`: `len` when all are.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> usize {
        let alike = self.keys.get(..self.alike).unwrap_or_default();
        let (start, rest) = key.split_at_checked(self.alike).unwrap_or((key, &[]));
        match start.cmp(alike) {
            std::cmp::Ordering::Less => return 0,
            std::cmp::Ordering::Greater => return self.len(),
            std::cmp::Ordering::Equal => {}
        }
        let target = head(rest);
        let mut at = self.heads.partition_point(|&head| head < target);
        // Alike in eight bytes more: compare them whole, of which there are few.
        while self.heads.get(at) == Some(&target) && self.key(at) < key {
            at += 1;
        }
        at
    }
}

/// An index in the making, from keys that share prefixes.
struct Gather<R> {
    keys: Vec<u8>,
    ends: Vec<u32>,
    refs: Vec<R>,
    last: Vec<u8>,
}

impl<R> Default for Gather<R> {
    fn default() -> Self {
        Gather { keys: Vec::new(), ends: Vec::new(), refs: Vec::new(), last: Vec::new() }
    }
}

const BAD: &str = "index does not parse";

impl<R: Copy> Gather<R> {
    fn push(&mut self, shared: usize, suffix: &[u8], reference: R) -> Result<(), &'static str> {
        let old_rest = self.last.get(shared..).ok_or(BAD)?;
        if !self.refs.is_empty() && suffix <= old_rest {
            return Err("index keys do not rise");
        }
        let len = shared + suffix.len();
        if len == 0 || len > KEY_BYTES_MAX + 1 || self.keys.len() + len > KEYS_BYTES_MAX {
            return Err(BAD);
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(suffix);
        self.keys.extend_from_slice(&self.last);
        self.ends.push(self.keys.len() as u32);
        self.refs.push(reference);
        Ok(())
    }

    fn finish(mut self) -> Index<R> {
        self.keys.shrink_to_fit();
        let mut index = Index {
            keys: self.keys,
            ends: self.ends,
            alike: 0,
            heads: Vec::new(),
            refs: self.refs,
        };
        index.alike = common_prefix(index.key(0), &self.last);
        let heads =
            (0..index.len()).map(|at| head(index.key(at).get(index.alike..).unwrap_or_default()));
        index.heads = heads.collect();
        index
    }
}

fn read_key<'a>(reader: &mut Reader<'a>) -> Option<(usize, &'a [u8])> {
    let (shared, unshared) = (reader.varint()?, reader.varint()?);
    Some((shared as usize, reader.take(unshared as usize)?))
}

/// Reads the raw index of a partition.
pub(crate) fn parse_part(raw: &[u8]) -> Result<Index<BlockRef>, &'static str> {
    let mut reader = Reader::new(raw);
    let (Some(mut offset), Some(count)) = (reader.u64(), reader.u32()) else { return Err(BAD) };
    let mut gather = Gather::default();
    for _ in 0..count {
        let (shared, suffix) = read_key(&mut reader).ok_or(BAD)?;
        let (Some(len), Some(crc)) = (reader.varint(), reader.u32()) else { return Err(BAD) };
        gather.push(shared, suffix, BlockRef { offset, len, crc })?;
        offset = offset.checked_add(u64::from(len)).ok_or(BAD)?;
    }
    if reader.is_empty() && count > 0 { Ok(gather.finish()) } else { Err(BAD) }
}

/// Reads the raw index of a table.
pub(crate) fn parse_root(raw: &[u8]) -> Result<Index<PartRef>, &'static str> {
    let mut reader = Reader::new(raw);
    let count = reader.u32().ok_or(BAD)?;
    let mut gather = Gather::default();
    for _ in 0..count {
        let (shared, suffix) = read_key(&mut reader).ok_or(BAD)?;
        let mut block =
            || Some(BlockRef { offset: reader.u64()?, len: reader.u32()?, crc: reader.u32()? });
        let (Some(filter), Some(index)) = (block(), block()) else { return Err(BAD) };
        gather.push(shared, suffix, PartRef { filter, index })?;
    }
    if reader.is_empty() { Ok(gather.finish()) } else { Err(BAD) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let tail = proptest::collection::vec(prop_oneof![0u8..3, Just(255)], 0..12);
        (0usize..3, 6u8..8, tail)
            .prop_map(|(long, byte, tail)| [&vec![byte; 10 * long + 1][..], &tail].concat())
    }

    fn keys() -> impl Strategy<Value = BTreeSet<Vec<u8>>> {
        proptest::collection::btree_set(key(), 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_separator_lies_between(a in key(), b in key()) {
            prop_assume!(a != b);
            let (last, next) = if a < b { (a, b) } else { (b, a) };
            let mut out = Vec::new();
            separator(&last, &next, &mut out);
            prop_assert!(last <= out && out < next && out.len() <= last.len().max(next.len()));
            prop_assert_eq!(out.first(), last.first());
        }

        #[test]
        fn an_index_leads_where_a_sorted_list_would(keys in keys(), probe in key()) {
            let mut builder = IndexBuilder::default();
            let mut offset = 3;
            let mut expected = Vec::new();
            for (i, key) in (1u32..).zip(&keys) {
                let block = BlockRef { offset, len: 100 * i, crc: i };
                builder.add_block(key, block);
                expected.push(block);
                offset += u64::from(100 * i);
            }
            let raw = builder.finish_part();
            let index = parse_part(&raw).unwrap();
            prop_assert_eq!(index.refs(), &expected[..]);
            let list: Vec<&Vec<u8>> = keys.iter().collect();
            for (at, key) in list.iter().enumerate() {
                prop_assert_eq!(index.key(at), key.as_slice());
                prop_assert_eq!(index.find(key), at);
            }
            prop_assert_eq!(index.find(&probe), list.partition_point(|key| **key < probe));
            for cut in 0..raw.len() {
                prop_assert!(parse_part(&raw[..cut]).is_err());
            }
        }

        #[test]
        fn a_root_gives_back_its_partitions(keys in keys()) {
            let mut builder = IndexBuilder::default();
            let part = |i: u32| PartRef {
                filter: BlockRef { offset: u64::from(i), len: i, crc: 1 },
                index: BlockRef { offset: u64::from(i) + 9, len: i, crc: 2 },
            };
            for (i, key) in (0u32..).zip(&keys) {
                builder.add_part(key, &part(i));
            }
            let index = parse_root(&builder.finish_root()).unwrap();
            prop_assert_eq!(index.len(), keys.len());
            prop_assert!((0u32..).zip(index.refs()).all(|(i, read)| *read == part(i)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), probe in key()) {
            drop(parse_part(&bytes).map(|index| index.find(&probe)));
            drop(parse_root(&bytes).map(|index| index.find(&probe)));
        }
    }
}
