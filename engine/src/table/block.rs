//! One block: sorted entries with prefix truncation and restart points, and its stored form with
//! compression and checksum. The bytes are those of `docs/formats/table.md`.
//!
//! Invariants: a block that was opened passed both checksums; decoding never panics, whatever the bytes.

use crate::codec::{Reader, put_varint, u32_at};
use crate::options::VALUE_BYTES_MAX;
use std::ops::Range;

/// Entries between two restart points.
const RESTART_INTERVAL: usize = 16;
/// A data block is closed at this size.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// The biggest data block: one big entry behind small ones.
pub(crate) const DATA_RAW_BYTES_MAX: usize = VALUE_BYTES_MAX + (64 << 10);
/// The biggest index or filter.
pub(crate) const META_RAW_BYTES_MAX: usize = 64 << 20;
/// kind, raw length, crc.
pub(crate) const TRAILER_BYTES: usize = 9;

const KIND_RAW: u8 = 0;
const KIND_LZ4: u8 = 1;

/// Gathers sorted entries.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    last_key: Vec<u8>,
    entries: usize,
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// The size of the raw block if it were closed now.
    pub(crate) fn raw_bytes(&self) -> usize {
        self.bytes.len() + 4 * self.restarts.len() + 4
    }

    pub(crate) fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        assert!(self.is_empty() || key > self.last_key.as_slice(), "keys must rise");
        let shared = if self.entries.is_multiple_of(RESTART_INTERVAL) {
            self.restarts.push(self.bytes.len() as u32);
            0
        } else {
            key.iter().zip(&self.last_key).take_while(|(a, b)| a == b).count()
        };
        put_varint(&mut self.bytes, shared as u32);
        put_varint(&mut self.bytes, (key.len() - shared) as u32);
        put_varint(&mut self.bytes, value.map_or(0, |value| value.len() as u32 + 1));
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
        self.entries += 1;
        assert!(self.bytes.len() <= META_RAW_BYTES_MAX, "a block has a bound");
    }

    /// Closes the block and appends its stored form to `out`; the builder is empty afterwards.
    /// Returns the crc.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> u32 {
        assert!(!self.is_empty());
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        self.bytes.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        let crc = seal(&self.bytes, true, out);
        self.bytes.clear();
        self.restarts.clear();
        self.entries = 0;
        crc
    }
}

/// Appends the stored form of a raw block to `out`. Returns its crc.
pub(crate) fn seal(raw: &[u8], compress: bool, out: &mut Vec<u8>) -> u32 {
    assert!(raw.len() <= META_RAW_BYTES_MAX);
    let start = out.len();
    let mut kind = KIND_RAW;
    if compress {
        out.resize(start + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
        // A block that does not shrink by an eighth is not worth the time it takes to read.
        if let Ok(len) = lz4_flex::block::compress_into(raw, &mut out[start..])
            && len <= raw.len() - raw.len() / 8
            && len < raw.len()
        {
            out.truncate(start + len);
            kind = KIND_LZ4;
        }
    }
    if kind == KIND_RAW {
        out.truncate(start);
        out.extend_from_slice(raw);
    }
    out.push(kind);
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    crc
}

/// Checks a stored block against its own crc and the one in the reference to it, and undoes the
/// compression. Allocates no more than `raw_bytes_max`.
pub(crate) fn unseal(
    mut stored: Vec<u8>,
    crc_expected: u32,
    raw_bytes_max: usize,
) -> Result<Vec<u8>, &'static str> {
    let payload_len = stored.len().checked_sub(TRAILER_BYTES).ok_or("block too short")?;
    let (body, crc) = stored.split_at(payload_len + 5);
    let crc_stored = Reader::new(crc).u32().ok_or("block too short")?;
    if crc32fast::hash(body) != crc_stored {
        return Err("block checksum does not match");
    }
    if crc_stored != crc_expected {
        return Err("block is not the one its reference means");
    }
    let (payload, trailer) = body.split_at(payload_len);
    let mut trailer = Reader::new(trailer);
    let (Some(kind), Some(raw_len)) = (trailer.u8(), trailer.u32()) else {
        return Err("block too short");
    };
    let raw_len = raw_len as usize;
    if raw_len > raw_bytes_max {
        return Err("block is bigger than it may be");
    }
    match kind {
        KIND_RAW if raw_len == payload_len => {
            stored.truncate(payload_len);
            Ok(stored)
        }
        KIND_LZ4 => {
            let mut raw = vec![0; raw_len];
            match lz4_flex::block::decompress_into(payload, &mut raw) {
                Ok(len) if len == raw_len => Ok(raw),
                Ok(_) | Err(_) => Err("block does not decompress"),
            }
        }
        _ => Err("block of an unknown kind"),
    }
}

/// An opened block.
pub(crate) struct Block {
    bytes: Vec<u8>,
    entries_end: usize,
    restarts: usize,
}

/// One entry: how much of the key before it it shares, its own suffix, its value.
struct RawEntry {
    shared: usize,
    suffix: Range<usize>,
    value: Option<Range<usize>>,
    end: usize,
}

/// Entries of a block in key order; a value is a range of the block's bytes, `None` a tombstone.
pub(crate) type Entries = Vec<(Vec<u8>, Option<Range<usize>>)>;

const BAD_ENTRY: &str = "block entry does not parse";

impl Block {
    /// Takes raw bytes and checks that the restart points make sense.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Block, &'static str> {
        const BAD: &str = "block restart points do not parse";
        let count_at = bytes.len().checked_sub(4).ok_or(BAD)?;
        let restarts = u32_at(&bytes, count_at).ok_or(BAD)? as usize;
        let table_bytes = restarts.checked_mul(4).ok_or(BAD)?;
        let entries_end = count_at.checked_sub(table_bytes).ok_or(BAD)?;
        let block = Block { bytes, entries_end, restarts };
        let mut last = None;
        for index in 0..restarts {
            let offset = block.restart(index).ok_or(BAD)?;
            if offset >= entries_end || last.is_some_and(|last| offset <= last) {
                return Err(BAD);
            }
            last = Some(offset);
        }
        if restarts == 0 || block.restart(0) != Some(0) { Err(BAD) } else { Ok(block) }
    }

    /// What it costs to keep.
    pub(crate) fn bytes_held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The bytes of a value found earlier in this block.
    pub(crate) fn value(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    fn restart(&self, index: usize) -> Option<usize> {
        u32_at(&self.bytes, self.entries_end + 4 * index).map(|offset| offset as usize)
    }

    fn entry(&self, offset: usize) -> Result<RawEntry, &'static str> {
        let area = self.bytes.get(offset..self.entries_end).ok_or(BAD_ENTRY)?;
        let mut reader = Reader::new(area);
        let mut next = || reader.varint().map(|value| value as usize).ok_or(BAD_ENTRY);
        let (shared, unshared, value) = (next()?, next()?, next()?);
        let suffix = self.entries_end - reader.remaining();
        let value_len = value.saturating_sub(1);
        if unshared.checked_add(value_len).is_none_or(|len| len > reader.remaining()) {
            return Err(BAD_ENTRY);
        }
        let value_start = suffix + unshared;
        let end = value_start + value_len;
        Ok(RawEntry {
            shared,
            suffix: suffix..value_start,
            value: (value > 0).then_some(value_start..end),
            end,
        })
    }

    /// The whole key at a restart point.
    fn restart_key(&self, index: usize) -> Result<&[u8], &'static str> {
        let entry = self.entry(self.restart(index).ok_or(BAD_ENTRY)?)?;
        if entry.shared != 0 {
            return Err("block restart point shares a prefix");
        }
        self.bytes.get(entry.suffix).ok_or(BAD_ENTRY)
    }

    /// Extends the key before into the key of `entry`. Keys must rise.
    fn step(&self, key: &mut Vec<u8>, entry: &RawEntry, first: bool) -> Result<(), &'static str> {
        let suffix = self.bytes.get(entry.suffix.clone()).ok_or(BAD_ENTRY)?;
        let old_rest = key.get(entry.shared..).ok_or(BAD_ENTRY)?;
        if !first && suffix <= old_rest {
            return Err("block keys do not rise");
        }
        key.truncate(entry.shared);
        key.extend_from_slice(suffix);
        Ok(())
    }

    /// Looks `target` up: `None` absent, `Some(None)` a tombstone.
    pub(crate) fn get(&self, target: &[u8]) -> Result<Option<Option<Range<usize>>>, &'static str> {
        // The last restart point that is not past the target.
        let (mut low, mut high) = (0, self.restarts);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.restart_key(middle)? <= target { low = middle } else { high = middle }
        }
        let mut offset = self.restart(low).ok_or(BAD_ENTRY)?;
        let (mut key, mut first) = (Vec::new(), true);
        while offset < self.entries_end {
            let entry = self.entry(offset)?;
            self.step(&mut key, &entry, first)?;
            match key.as_slice().cmp(target) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(entry.value)),
                std::cmp::Ordering::Greater => return Ok(None),
            }
            assert!(entry.end > offset, "an entry takes at least three bytes");
            (offset, first) = (entry.end, false);
        }
        Ok(None)
    }

    /// Every entry, in order.
    pub(crate) fn entries(&self) -> Result<Entries, &'static str> {
        let mut entries = Entries::new();
        let (mut offset, mut key) = (0, Vec::new());
        while offset < self.entries_end {
            let entry = self.entry(offset)?;
            self.step(&mut key, &entry, entries.is_empty())?;
            entries.push((key.clone(), entry.value));
            offset = entry.end;
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn model() -> impl Strategy<Value = Model> {
        let key = proptest::collection::vec(0u8..4, 0..8);
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
        proptest::collection::btree_map(key, value, 1..80)
    }

    fn build(model: &Model) -> (Vec<u8>, u32) {
        let mut builder = BlockBuilder::default();
        for (key, value) in model {
            builder.add(key, value.as_deref());
        }
        let mut stored = Vec::new();
        let crc = builder.finish(&mut stored);
        (stored, crc)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_block_gives_back_what_was_put_in(model in model(), probe in proptest::collection::vec(0u8..4, 0..8)) {
            let (stored, crc) = build(&model);
            let block = Block::parse(unseal(stored, crc, DATA_RAW_BYTES_MAX).unwrap()).unwrap();
            let entries = block.entries().unwrap();
            let read: Model = entries
                .into_iter()
                .map(|(key, value)| (key, value.map(|range| block.value(&range).to_vec())))
                .collect();
            prop_assert_eq!(&read, &model);
            for key in model.keys().chain([&probe]) {
                let got = block.get(key).unwrap().map(|v| v.map(|range| block.value(&range).to_vec()));
                prop_assert_eq!(got.as_ref(), model.get(key));
            }
        }

        #[test]
        fn a_flipped_bit_in_a_stored_block_is_noticed(
            model in model(), at in any::<prop::sample::Index>(), bit in 0u32..8,
        ) {
            let (mut stored, crc) = build(&model);
            let at = at.index(stored.len());
            stored[at] ^= 1u8 << bit;
            prop_assert!(unseal(stored, crc, DATA_RAW_BYTES_MAX).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            probe in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            drop(unseal(bytes.clone(), 0, DATA_RAW_BYTES_MAX));
            if let Ok(block) = Block::parse(bytes) {
                drop(block.get(&probe));
                drop(block.entries());
            }
        }

        #[test]
        fn a_damaged_block_behind_a_right_checksum_never_panics(
            model in model(),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            probe in proptest::collection::vec(0u8..4, 0..8),
        ) {
            let (stored, crc) = build(&model);
            let mut raw = unseal(stored, crc, DATA_RAW_BYTES_MAX).unwrap();
            for (at, byte) in damage {
                let at = at.index(raw.len());
                raw[at] = byte;
            }
            if let Ok(block) = Block::parse(raw) {
                drop(block.get(&probe));
                drop(block.entries());
            }
        }
    }

    #[test]
    fn a_whole_block_under_a_wrong_reference_is_refused() {
        let model = Model::from([(b"k".to_vec(), None)]);
        let (stored, crc) = build(&model);
        let refused = unseal(stored, crc ^ 1, DATA_RAW_BYTES_MAX);
        assert_eq!(refused.unwrap_err(), "block is not the one its reference means");
    }

    #[test]
    fn a_block_that_claims_to_be_huge_is_refused_before_it_is_allocated() {
        let mut stored = vec![0u8; 3];
        stored.push(KIND_LZ4);
        stored.extend_from_slice(&u32::MAX.to_le_bytes());
        let crc = crc32fast::hash(&stored);
        stored.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(
            unseal(stored, crc, DATA_RAW_BYTES_MAX).unwrap_err(),
            "block is bigger than it may be"
        );
    }
}
