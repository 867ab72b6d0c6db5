//! A data block: sorted entries with prefix truncation, restart points, and a hash index from keys to
//! restart points. The bytes are those of `docs/formats/table.md`.
//!
//! Invariants: decoding never panics, whatever the bytes, and copies no key that is only compared; a block
//! that was built gives back every entry that was put in.

use super::seal::{Compress, Sealer};
use crate::codec::{Reader, put_varint, u32_at};
use crate::entry::{BlobRef, Entry, Expires};
use crate::limits::VALUE_BYTES_MAX;
use std::cmp::Ordering;

/// Entries between two restart points.
const RESTART_INTERVAL: usize = 8;
/// A data block is closed at this size.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// The biggest data block: one big entry behind small ones.
pub(crate) const DATA_RAW_BYTES_MAX: usize = VALUE_BYTES_MAX + (64 << 10);
/// The most that an entry takes beside its key and value: headers, expiry, reference to a blob, its shares
/// of the restart points and of the hash index.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Shared prefixes from this length on have a varint of their own.
const SHARED_LONG: u8 = 31;
const KIND_PUT: u8 = 0;
const KIND_PUT_EXPIRES: u8 = 1;
const KIND_TOMBSTONE: u8 = 2;
const KIND_MERGE: u8 = 3;
const KIND_BLOB: u8 = 4;
const KIND_BLOB_EXPIRES: u8 = 5;

/// Bucket of the hash index that no key falls into.
const BUCKET_EMPTY: u8 = 255;
/// Bucket that keys of several restart points fall into.
const BUCKET_SHARED: u8 = 254;
/// Restart points that a bucket can name.
const BUCKET_RESTARTS_MAX: usize = 254;

/// Bytes that two keys have in common at their start.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (mut left, mut right, mut shared) = (a, b, 0);
    while let (Some((x, left_rest)), Some((y, right_rest))) =
        (left.split_first_chunk::<8>(), right.split_first_chunk::<8>())
    {
        let differing = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differing != 0 {
            return shared + (differing.trailing_zeros() / 8) as usize;
        }
        (left, right, shared) = (left_rest, right_rest, shared + 8);
    }
    shared + left.iter().zip(right).take_while(|(x, y)| x == y).count()
}

/// The bucket of a key with this hash.
fn bucket_of(hash: u32, buckets: usize) -> usize {
    ((u64::from(hash) * buckets as u64) >> 32) as usize
}

fn put_blob(out: &mut Vec<u8>, at: &BlobRef) {
    out.extend_from_slice(&at.file.to_le_bytes());
    out.extend_from_slice(&at.offset.to_le_bytes());
    out.extend_from_slice(&at.len.to_le_bytes());
    out.extend_from_slice(&at.stored_len.to_le_bytes());
    out.extend_from_slice(&at.crc.to_le_bytes());
}

/// Gathers sorted entries.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    raw: Vec<u8>,
    restarts: Vec<u32>,
    hashes: Vec<u32>,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// The size of the raw block if it were closed now.
    pub(crate) fn raw_bytes(&self) -> usize {
        self.raw.len() + 4 * self.restarts.len() + self.buckets() + 4
    }

    /// Three quarters of the buckets are used; an odd number spreads keys better.
    fn buckets(&self) -> usize {
        (self.hashes.len() * 4 / 3) | 1
    }

    /// Appends an entry; keys rise strictly, across blocks too.
    pub(crate) fn add(&mut self, key: &[u8], entry: &Entry<'_>, hash: u64) {
        let shared = common_prefix(key, &self.last_key);
        let rises = key.get(shared) > self.last_key.get(shared);
        // The empty key before the first is no key.
        assert!(rises || self.last_key.is_empty(), "keys must rise");
        let kept = if self.hashes.len().is_multiple_of(RESTART_INTERVAL) {
            self.restarts.push(self.raw.len() as u32);
            0
        } else {
            shared
        };
        self.put_header(kept, key.len() - kept, entry);
        self.raw.extend_from_slice(&key[kept..]);
        self.raw.extend_from_slice(entry.payload());
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
        self.hashes.push(hash as u32);
        assert!(self.raw.len() <= DATA_RAW_BYTES_MAX, "a block has a bound");
    }

    fn put_header(&mut self, shared: usize, unshared: usize, entry: &Entry<'_>) {
        let raw = &mut self.raw;
        let kind = match entry {
            Entry::Put { expires: Expires::NEVER, .. } => KIND_PUT,
            Entry::Put { .. } => KIND_PUT_EXPIRES,
            Entry::Tombstone => KIND_TOMBSTONE,
            Entry::Merge { .. } => KIND_MERGE,
            Entry::Blob { expires: Expires::NEVER, .. } => KIND_BLOB,
            Entry::Blob { .. } => KIND_BLOB_EXPIRES,
        };
        raw.push(kind | ((shared.min(usize::from(SHARED_LONG)) as u8) << 3));
        if shared >= usize::from(SHARED_LONG) {
            put_varint(raw, (shared - usize::from(SHARED_LONG)) as u32);
        }
        put_varint(raw, unshared as u32);
        match entry {
            Entry::Put { value, .. } => put_varint(raw, value.len() as u32),
            Entry::Merge { operand } => put_varint(raw, operand.len() as u32),
            Entry::Blob { at, .. } => put_blob(raw, at),
            Entry::Tombstone => {}
        }
        if entry.expires() != Expires::NEVER {
            raw.extend_from_slice(&entry.expires().0.to_le_bytes());
        }
    }

    /// Closes the block and appends its stored form to `out`. The builder is empty afterwards, but
    /// for the last key. Returns the crc.
    pub(crate) fn finish(
        &mut self,
        sealer: &mut Sealer,
        compress: Compress,
        out: &mut Vec<u8>,
    ) -> u32 {
        assert!(!self.is_empty());
        let buckets = self.put_buckets();
        for restart in &self.restarts {
            self.raw.extend_from_slice(&restart.to_le_bytes());
        }
        assert!(self.restarts.len() <= usize::from(u16::MAX) && buckets <= usize::from(u16::MAX));
        self.raw.extend_from_slice(&(buckets as u16).to_le_bytes());
        self.raw.extend_from_slice(&(self.restarts.len() as u16).to_le_bytes());
        let crc = sealer.seal(&self.raw, compress, out);
        self.raw.clear();
        self.restarts.clear();
        self.hashes.clear();
        crc
    }

    /// Appends the hash index, unless there are more restart points than it can name.
    fn put_buckets(&mut self) -> usize {
        if self.restarts.len() > BUCKET_RESTARTS_MAX {
            return 0;
        }
        let (start, buckets) = (self.raw.len(), self.buckets());
        self.raw.resize(start + buckets, BUCKET_EMPTY);
        for (restart, hashes) in (0u8..).zip(self.hashes.chunks(RESTART_INTERVAL)) {
            for &hash in hashes {
                let bucket = &mut self.raw[start + bucket_of(hash, buckets)];
                let free = *bucket == BUCKET_EMPTY || *bucket == restart;
                *bucket = if free { restart } else { BUCKET_SHARED };
            }
        }
        buckets
    }
}

/// Which version of the format a block is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    V1,
    V2,
}

/// Where the parts of a raw block lie. Goes with its bytes, which every call is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    format: Format,
    entries_end: u32,
    buckets: u16,
    restarts_at: u32,
    restarts: u32,
}

/// What an entry is beside its key. The value is a range of the block's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoded {
    kind: DecodedKind,
    expires: Expires,
    value: (u32, u32),
}

#[derive(Clone, Copy, Debug)]
enum DecodedKind {
    Put,
    Tombstone,
    Merge,
    Blob(BlobRef),
}

impl Decoded {
    /// What a cursor holds that stands nowhere.
    pub(crate) const NOTHING: Decoded =
        Decoded { kind: DecodedKind::Tombstone, expires: Expires::NEVER, value: (0, 0) };

    /// The entry, given the bytes it was decoded from.
    pub(crate) fn entry<'a>(&self, bytes: &'a [u8]) -> Entry<'a> {
        let (start, end) = self.value;
        let value = bytes.get(start as usize..end as usize).unwrap_or_default();
        let expires = self.expires;
        match self.kind {
            DecodedKind::Put => Entry::Put { value, expires },
            DecodedKind::Tombstone => Entry::Tombstone,
            DecodedKind::Merge => Entry::Merge { operand: value },
            DecodedKind::Blob(at) => Entry::Blob { at, expires },
        }
    }
}

/// An entry's place in its block.
#[derive(Clone, Copy)]
struct RawEntry {
    shared: usize,
    suffix: usize,
    value: usize,
    end: usize,
    kind: u8,
    /// Where expiry and reference to a blob begin.
    extra: usize,
}

const BAD_ENTRY: &str = "block entry does not parse";
const BAD_RESTARTS: &str = "block restart points do not parse";

fn varint(reader: &mut Reader<'_>) -> Result<usize, &'static str> {
    reader.varint().map(|value| value as usize).ok_or(BAD_ENTRY)
}

impl Layout {
    /// Takes raw bytes and checks that the restart points make sense.
    pub(crate) fn parse(format: Format, bytes: &[u8]) -> Result<Layout, &'static str> {
        if bytes.len() > META_BYTES_MAX {
            return Err("block is bigger than it may be");
        }
        let count_at = bytes.len().checked_sub(4).ok_or(BAD_RESTARTS)?;
        let counts = u32_at(bytes, count_at).ok_or(BAD_RESTARTS)?;
        let (restarts, buckets) = match format {
            Format::V1 => (counts, 0),
            Format::V2 => (counts >> 16, counts as u16),
        };
        let restart_bytes = (restarts as usize).checked_mul(4).ok_or(BAD_RESTARTS)?;
        let restarts_at = count_at.checked_sub(restart_bytes).ok_or(BAD_RESTARTS)?;
        let entries_end = restarts_at.checked_sub(usize::from(buckets)).ok_or(BAD_RESTARTS)?;
        let layout = Layout {
            format,
            entries_end: entries_end as u32,
            buckets,
            restarts_at: restarts_at as u32,
            restarts,
        };
        layout.check_restarts(bytes).then_some(layout).ok_or(BAD_RESTARTS)
    }

    fn check_restarts(&self, bytes: &[u8]) -> bool {
        let area = bytes.get(self.restarts_at as usize..bytes.len() - 4).unwrap_or_default();
        let mut offsets = area.chunks_exact(4).map(|chunk| u32_at(chunk, 0).unwrap_or(u32::MAX));
        let mut last = match offsets.next() {
            Some(0) if self.entries_end > 0 => 0,
            _ => return false,
        };
        offsets.all(|offset| {
            let rises = offset > last && offset < self.entries_end;
            last = offset;
            rises
        })
    }

    fn end(&self) -> usize {
        self.entries_end as usize
    }

    fn restart(&self, bytes: &[u8], index: usize) -> Result<usize, &'static str> {
        debug_assert!(index < self.restarts as usize);
        u32_at(bytes, self.restarts_at as usize + 4 * index)
            .map(|offset| offset as usize)
            .ok_or(BAD_RESTARTS)
    }

    /// Where the interval of a restart point ends.
    fn interval_end(&self, bytes: &[u8], index: usize) -> Result<usize, &'static str> {
        if index + 1 < self.restarts as usize {
            self.restart(bytes, index + 1)
        } else {
            Ok(self.end())
        }
    }

    #[inline]
    fn raw_entry(&self, bytes: &[u8], offset: usize) -> Result<RawEntry, &'static str> {
        let area = bytes.get(offset..self.end()).ok_or(BAD_ENTRY)?;
        let entry = match (self.format, area) {
            // Nearly every entry: a put with three lengths of one byte each.
            (Format::V2, &[head, unshared, len, ..])
                if head & 7 == KIND_PUT && head >> 3 < SHARED_LONG && (unshared | len) < 0x80 =>
            {
                let suffix = offset + 3;
                let value = suffix + usize::from(unshared);
                RawEntry {
                    shared: usize::from(head >> 3),
                    suffix,
                    value,
                    end: value + usize::from(len),
                    kind: KIND_PUT,
                    extra: suffix,
                }
            }
            (Format::V2, _) => self.raw_entry_v2(area)?,
            (Format::V1, _) => self.raw_entry_v1(area)?,
        };
        if entry.end > self.end() { Err(BAD_ENTRY) } else { Ok(entry) }
    }

    fn raw_entry_v2(&self, area: &[u8]) -> Result<RawEntry, &'static str> {
        let mut reader = Reader::new(area);
        let head = reader.u8().ok_or(BAD_ENTRY)?;
        let mut shared = usize::from(head >> 3);
        if head >> 3 == SHARED_LONG {
            shared += varint(&mut reader)?;
        }
        let unshared = varint(&mut reader)?;
        let kind = head & 7;
        let (len, extra_bytes) = match kind {
            KIND_PUT | KIND_MERGE => (varint(&mut reader)?, 0),
            KIND_PUT_EXPIRES => (varint(&mut reader)?, 8),
            KIND_TOMBSTONE => (0, 0),
            KIND_BLOB => (0, 28),
            KIND_BLOB_EXPIRES => (0, 36),
            _ => return Err(BAD_ENTRY),
        };
        let extra = self.end() - reader.remaining();
        reader.take(extra_bytes).ok_or(BAD_ENTRY)?;
        let suffix = extra + extra_bytes;
        Ok(RawEntry {
            shared,
            suffix,
            value: suffix + unshared,
            end: suffix + unshared + len,
            kind,
            extra,
        })
    }

    fn raw_entry_v1(&self, area: &[u8]) -> Result<RawEntry, &'static str> {
        let mut reader = Reader::new(area);
        let (shared, unshared) = (varint(&mut reader)?, varint(&mut reader)?);
        let tagged = varint(&mut reader)?;
        let suffix = self.end() - reader.remaining();
        let value = suffix + unshared;
        let kind = if tagged == 0 { KIND_TOMBSTONE } else { KIND_PUT };
        let end = value + tagged.saturating_sub(1);
        Ok(RawEntry { shared, suffix, value, end, kind, extra: suffix })
    }

    fn decode(bytes: &[u8], raw: &RawEntry) -> Result<Decoded, &'static str> {
        let value = (raw.value as u32, raw.end as u32);
        let mut extra = Reader::new(bytes.get(raw.extra..raw.suffix).ok_or(BAD_ENTRY)?);
        let kind = match raw.kind {
            KIND_PUT | KIND_PUT_EXPIRES => DecodedKind::Put,
            KIND_MERGE => DecodedKind::Merge,
            KIND_TOMBSTONE => DecodedKind::Tombstone,
            _ => DecodedKind::Blob(read_blob(&mut extra).ok_or(BAD_ENTRY)?),
        };
        let expires =
            if extra.is_empty() { Expires::NEVER } else { Expires(extra.u64().ok_or(BAD_ENTRY)?) };
        Ok(Decoded { kind, expires, value })
    }

    /// The whole key at a restart point.
    fn restart_key<'a>(&self, bytes: &'a [u8], index: usize) -> Result<&'a [u8], &'static str> {
        let entry = self.raw_entry(bytes, self.restart(bytes, index)?)?;
        if entry.shared != 0 {
            return Err("block restart point shares a prefix");
        }
        bytes.get(entry.suffix..entry.value).ok_or(BAD_ENTRY)
    }

    /// The last restart point whose key is below `target`, or not past it; the first if there is none.
    fn restart_before(&self, bytes: &[u8], target: &[u8]) -> Result<usize, &'static str> {
        let (mut low, mut high) = (0, self.restarts as usize);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.restart_key(bytes, middle)? <= target { low = middle } else { high = middle }
        }
        Ok(low)
    }

    /// Looks a key with a known hash up.
    pub(crate) fn find(
        &self,
        bytes: &[u8],
        target: &[u8],
        hash: u64,
    ) -> Result<Option<Decoded>, &'static str> {
        let restart = match self.bucket(bytes, hash) {
            Some(BUCKET_EMPTY) => return Ok(None),
            None | Some(BUCKET_SHARED) => self.restart_before(bytes, target)?,
            Some(restart) if u32::from(restart) < self.restarts => usize::from(restart),
            Some(_) => return Err("block hash index does not parse"),
        };
        self.find_within(bytes, restart, target)
    }

    /// The bucket of a hash; none where the block has no hash index.
    fn bucket(&self, bytes: &[u8], hash: u64) -> Option<u8> {
        if self.buckets == 0 {
            return None;
        }
        let at = bucket_of(hash as u32, usize::from(self.buckets));
        bytes.get(self.end() + at).copied()
    }

    /// Looks for a key among the entries of one restart point, comparing only what each entry adds to the
    /// one before.
    fn find_within(
        &self,
        bytes: &[u8],
        restart: usize,
        target: &[u8],
    ) -> Result<Option<Decoded>, &'static str> {
        let mut offset = self.restart(bytes, restart)?;
        let end = self.interval_end(bytes, restart)?;
        // How far the target agrees with the key before, which is below it.
        let mut agreed = 0;
        while offset < end {
            let entry = self.raw_entry(bytes, offset)?;
            // Sharing less with its predecessor than the target does, a key is past the target.
            if entry.shared < agreed {
                return Ok(None);
            }
            // Sharing more, it is below the target as its predecessor is.
            if entry.shared == agreed {
                let suffix = bytes.get(entry.suffix..entry.value).ok_or(BAD_ENTRY)?;
                let rest = target.get(agreed..).ok_or(BAD_ENTRY)?;
                let more = common_prefix(suffix, rest);
                match suffix.get(more).cmp(&rest.get(more)) {
                    Ordering::Less => agreed += more,
                    Ordering::Equal => return Self::decode(bytes, &entry).map(Some),
                    Ordering::Greater => return Ok(None),
                }
            }
            offset = entry.end;
        }
        Ok(None)
    }
}

/// Every offset of a block fits this.
const META_BYTES_MAX: usize = super::seal::META_RAW_BYTES_MAX;

fn read_blob(reader: &mut Reader<'_>) -> Option<BlobRef> {
    Some(BlobRef {
        file: reader.u64()?,
        offset: reader.u64()?,
        len: reader.u32()?,
        stored_len: reader.u32()?,
        crc: reader.u32()?,
    })
}

/// Walks over the entries of a block, either way. The block's bytes are given to each call; they must
/// be the same until the next `reset`.
pub(crate) struct BlockCursor {
    key: Vec<u8>,
    at: usize,
    next: usize,
    decoded: Decoded,
}

impl Default for BlockCursor {
    fn default() -> Self {
        BlockCursor { key: Vec::new(), at: 0, next: 0, decoded: Decoded::NOTHING }
    }
}

impl BlockCursor {
    /// The key it stands on.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// What it stands on.
    pub(crate) fn decoded(&self) -> &Decoded {
        &self.decoded
    }

    /// Stands before the first entry.
    pub(crate) fn reset(&mut self) {
        self.key.clear();
        (self.at, self.next, self.decoded) = (0, 0, Decoded::NOTHING);
    }

    /// Steps on; false at the end.
    #[inline]
    pub(crate) fn next(&mut self, layout: &Layout, bytes: &[u8]) -> Result<bool, &'static str> {
        if self.next >= layout.end() {
            return Ok(false);
        }
        let entry = layout.raw_entry(bytes, self.next)?;
        let suffix = bytes.get(entry.suffix..entry.value).ok_or(BAD_ENTRY)?;
        let old_rest = self.key.get(entry.shared..).ok_or(BAD_ENTRY)?;
        if self.next > 0 && suffix <= old_rest {
            return Err("block keys do not rise");
        }
        self.key.truncate(entry.shared);
        self.key.extend_from_slice(suffix);
        self.decoded = Layout::decode(bytes, &entry)?;
        (self.at, self.next) = (self.next, entry.end);
        Ok(true)
    }

    /// Stands before the entries of a restart point.
    fn enter(&mut self, layout: &Layout, bytes: &[u8], restart: usize) -> Result<(), &'static str> {
        self.reset();
        self.next = layout.restart(bytes, restart)?;
        Ok(())
    }

    /// Steps to the first entry at or past `target`; false when there is none.
    pub(crate) fn seek(
        &mut self,
        layout: &Layout,
        bytes: &[u8],
        target: &[u8],
    ) -> Result<bool, &'static str> {
        self.enter(layout, bytes, layout.restart_before(bytes, target)?)?;
        while self.next(layout, bytes)? {
            if self.key.as_slice() >= target {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Steps to the entry that ends where `end` is, which lies behind an entry.
    fn step_to_end(
        &mut self,
        layout: &Layout,
        bytes: &[u8],
        end: usize,
    ) -> Result<bool, &'static str> {
        if end == 0 {
            return Ok(false);
        }
        let (mut low, mut high) = (0, layout.restarts as usize);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if layout.restart(bytes, middle)? < end { low = middle } else { high = middle }
        }
        self.enter(layout, bytes, low)?;
        while self.next(layout, bytes)? {
            if self.next >= end {
                return if self.next == end { Ok(true) } else { Err(BAD_ENTRY) };
            }
        }
        Err(BAD_ENTRY)
    }

    /// Steps back; false at the start.
    pub(crate) fn previous(&mut self, layout: &Layout, bytes: &[u8]) -> Result<bool, &'static str> {
        self.step_to_end(layout, bytes, self.at)
    }

    /// Steps to the last entry, or to the last below `to`; false when there is none.
    pub(crate) fn seek_last(
        &mut self,
        layout: &Layout,
        bytes: &[u8],
        to: Option<&[u8]>,
    ) -> Result<bool, &'static str> {
        match to {
            Some(to) if self.seek(layout, bytes, to)? => self.previous(layout, bytes),
            _ => self.step_to_end(layout, bytes, layout.end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::hash;
    use super::super::seal::unseal;
    use super::super::tests::Any;
    use super::*;
    use crate::entry::OwnedEntry;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, Any>;

    fn entry() -> impl Strategy<Value = Any> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
        let expires = || prop_oneof![Just(u64::MAX), any::<u64>()];
        prop_oneof![
            6 => (bytes(), expires())
                .prop_map(|(value, at)| Any::Owned(OwnedEntry::Put { value, expires: Expires(at) })),
            1 => Just(Any::Owned(OwnedEntry::Tombstone)),
            1 => bytes().prop_map(|operand| Any::Owned(OwnedEntry::Merge { operand })),
            1 => (any::<u32>(), expires()).prop_map(|(n, at)| Any::Blob(n, at)),
        ]
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let long = proptest::collection::vec(0u8..2, 30..50);
        prop_oneof![3 => proptest::collection::vec(0u8..4, 1..8), 1 => long]
    }

    fn model() -> impl Strategy<Value = Model> {
        proptest::collection::btree_map(key(), entry(), 1..80)
    }

    fn build(model: &Model) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        for (key, entry) in model {
            builder.add(key, &entry.entry(), hash(key));
        }
        let expected = builder.raw_bytes();
        let mut stored = Vec::new();
        let crc = builder.finish(&mut Sealer::default(), Compress::IfItPays, &mut stored);
        let raw = unseal(&stored, crc, DATA_RAW_BYTES_MAX).unwrap();
        assert_eq!(raw.len(), expected);
        raw
    }

    fn exercise(raw: &[u8], format: Format, probe: &[u8]) {
        let Ok(layout) = Layout::parse(format, raw) else { return };
        let _ = layout.find(raw, probe, hash(probe));
        let mut cursor = BlockCursor::default();
        let mut steps = 0;
        while cursor.next(&layout, raw) == Ok(true) {
            let _ = cursor.decoded().entry(raw);
            steps += 1;
            assert!(steps <= raw.len());
        }
        while cursor.previous(&layout, raw) == Ok(true) {
            steps += 1;
            assert!(steps <= 3 * raw.len());
        }
        let _ = cursor.seek(&layout, raw, probe);
        let _ = cursor.seek_last(&layout, raw, Some(probe));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_block_gives_back_what_was_put_in(model in model(), probe in key()) {
            let raw = build(&model);
            let layout = Layout::parse(Format::V2, &raw).unwrap();
            let mut cursor = BlockCursor::default();
            for (key, entry) in &model {
                prop_assert!(cursor.next(&layout, &raw).unwrap());
                prop_assert_eq!(cursor.key(), key);
                prop_assert_eq!(cursor.decoded().entry(&raw), entry.entry());
            }
            prop_assert!(!cursor.next(&layout, &raw).unwrap());
            for key in model.keys().chain([&probe]) {
                let got = layout.find(&raw, key, hash(key)).unwrap();
                let got = got.as_ref().map(|decoded| decoded.entry(&raw));
                prop_assert_eq!(got, model.get(key).map(Any::entry));
                let at = model.range(key.clone()..).next();
                prop_assert_eq!(cursor.seek(&layout, &raw, key).unwrap(), at.is_some());
                prop_assert!(at.is_none_or(|(key, _)| key == cursor.key()));
            }
        }

        #[test]
        fn a_block_is_walked_from_its_end(model in model(), to in key()) {
            let raw = build(&model);
            let layout = Layout::parse(Format::V2, &raw).unwrap();
            for to in [None, Some(to)] {
                let mut cursor = BlockCursor::default();
                let mut more = cursor.seek_last(&layout, &raw, to.as_deref()).unwrap();
                let below = |key: &&Vec<u8>| to.as_ref().is_none_or(|to| *key < to);
                for key in model.keys().rev().filter(below) {
                    prop_assert!(more && cursor.key() == key);
                    more = cursor.previous(&layout, &raw).unwrap();
                }
                prop_assert!(!more);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), probe in key(),
        ) {
            exercise(&bytes, Format::V1, &probe);
            exercise(&bytes, Format::V2, &probe);
        }

        #[test]
        fn a_damaged_block_behind_a_right_checksum_never_panics(
            model in model(), probe in key(),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut raw = build(&model);
            for (at, byte) in damage {
                let at = at.index(raw.len());
                raw[at] = byte;
            }
            exercise(&raw, Format::V2, &probe);
            exercise(&raw, Format::V1, &probe);
        }
    }

    #[test]
    fn a_prefix_is_counted_to_its_last_byte() {
        let long: Vec<u8> = (0..40).collect();
        for len in 0..40 {
            let mut other = long.clone();
            other[len] ^= 0x80;
            assert_eq!(common_prefix(&long, &other), len);
            assert_eq!(common_prefix(&long[..len], &long), len);
        }
    }
}
