//! The stored form of a block: compression and checksum. The bytes are those of `docs/formats/table.md`.
//!
//! Invariants: what was unsealed passed both checksums, the one in it and the one in the reference to it;
//! nothing here panics on foreign bytes or allocates more than the caller's bound.

use crate::codec::Reader;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into};

/// The biggest block of any kind.
pub(crate) const META_RAW_BYTES_MAX: usize = 64 << 20;
/// kind, raw length, crc.
pub(crate) const TRAILER_BYTES: usize = 9;
/// Inputs from this size on make the compressor take a table of four times the size, which is then
/// cleared for every block: it is given back after such a block.
const SMALL_INPUT_BYTES: usize = u16::MAX as usize;

const KIND_RAW: u8 = 0;
const KIND_LZ4: u8 = 1;

/// Whether a block is worth compressing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compress {
    /// Keep it compressed where that saves an eighth or more.
    IfItPays,
    /// Bits of a filter do not compress, and what is rewritten soon does not repay it: do not try.
    Never,
}

/// Seals blocks, keeping the compressor's table between them.
#[derive(Default)]
pub(crate) struct Sealer {
    table: CompressTable,
}

impl Sealer {
    /// Appends the stored form of a raw block to `out`. Returns its crc.
    pub(crate) fn seal(&mut self, raw: &[u8], compress: Compress, out: &mut Vec<u8>) -> u32 {
        assert!(raw.len() <= META_RAW_BYTES_MAX);
        let start = out.len();
        let kind = match compress {
            Compress::IfItPays if self.compress(raw, out) => KIND_LZ4,
            Compress::IfItPays | Compress::Never => {
                out.extend_from_slice(raw);
                KIND_RAW
            }
        };
        out.push(kind);
        out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        assert!(out.len() - start <= raw.len() + TRAILER_BYTES, "never longer than its raw form");
        crc
    }

    /// Appends the compressed form; leaves `out` as it is and says false where that saves too little.
    pub(crate) fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.resize(start + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
        let written = compress_into_with_table(raw, &mut out[start..], &mut self.table);
        if raw.len() >= SMALL_INPUT_BYTES {
            self.table = CompressTable::small();
        }
        // What does not shrink by an eighth is not worth the time it takes to read.
        let len = written.ok().filter(|&len| len < raw.len() && len <= raw.len() - raw.len() / 8);
        out.truncate(start + len.unwrap_or(0));
        len.is_some()
    }
}

/// Checks a stored block against its own crc and the one in the reference to it, and undoes the
/// compression into `raw`, whose room is used again. Allocates no more than `raw_bytes_max`.
pub(crate) fn unseal_into(
    stored: &[u8],
    crc_expected: u32,
    raw_bytes_max: usize,
    raw: &mut Vec<u8>,
) -> Result<(), &'static str> {
    const SHORT: &str = "block too short";
    raw.clear();
    let payload_len = stored.len().checked_sub(TRAILER_BYTES).ok_or(SHORT)?;
    let (body, crc) = stored.split_at_checked(payload_len + 5).ok_or(SHORT)?;
    let crc_stored = Reader::new(crc).u32().ok_or(SHORT)?;
    if crc32fast::hash(body) != crc_stored {
        return Err("block checksum does not match");
    }
    if crc_stored != crc_expected {
        return Err("block is not the one its reference means");
    }
    let (payload, trailer) = body.split_at_checked(payload_len).ok_or(SHORT)?;
    let mut trailer = Reader::new(trailer);
    let (Some(kind), Some(raw_len)) = (trailer.u8(), trailer.u32()) else {
        return Err(SHORT);
    };
    let raw_len = raw_len as usize;
    if raw_len > raw_bytes_max {
        return Err("block is bigger than it may be");
    }
    match kind {
        KIND_RAW if raw_len == payload_len => {
            raw.extend_from_slice(payload);
            Ok(())
        }
        KIND_LZ4 => decompress(payload, raw_len, raw),
        _ => Err("block of an unknown kind"),
    }
}

/// Undoes the compression of a payload whose raw length is known and within its bound.
pub(crate) fn decompress(
    payload: &[u8],
    raw_len: usize,
    raw: &mut Vec<u8>,
) -> Result<(), &'static str> {
    // What is there already is overwritten: only growth costs the zeroing.
    raw.resize(raw_len, 0);
    match decompress_into(payload, raw) {
        Ok(len) if len == raw_len => Ok(()),
        Ok(_) | Err(_) => Err("block does not decompress"),
    }
}

/// As [`unseal_into`], into room of its own.
pub(crate) fn unseal(
    stored: &[u8],
    crc_expected: u32,
    raw_bytes_max: usize,
) -> Result<Vec<u8>, &'static str> {
    let mut raw = Vec::new();
    unseal_into(stored, crc_expected, raw_bytes_max, &mut raw)?;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealed(raw: &[u8]) -> (Vec<u8>, u32) {
        let mut stored = Vec::new();
        let crc = Sealer::default().seal(raw, Compress::IfItPays, &mut stored);
        (stored, crc)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_sealed_block_comes_back_and_a_flipped_bit_is_noticed(
            raw in proptest::collection::vec(0u8..4, 0..400), at in any::<prop::sample::Index>(), bit in 0u32..8,
        ) {
            let (mut stored, crc) = sealed(&raw);
            prop_assert_eq!(&unseal(&stored, crc, 400).unwrap(), &raw);
            let at = at.index(stored.len());
            stored[at] ^= 1u8 << bit;
            prop_assert!(unseal(&stored, crc, 400).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(unseal(&bytes, 1, 1 << 10).is_err());
        }
    }

    #[test]
    fn blocks_of_every_size_share_a_sealer() {
        let mut sealer = Sealer::default();
        for len in [0, 1, 100, 4096, SMALL_INPUT_BYTES - 1, SMALL_INPUT_BYTES, 200_000, 5] {
            let raw: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
            let mut stored = Vec::new();
            let crc = sealer.seal(&raw, Compress::IfItPays, &mut stored);
            assert_eq!(unseal(&stored, crc, len).unwrap(), raw);
            assert!(len < 100 || stored.len() < len, "{len} bytes compress");
        }
    }

    #[test]
    fn a_whole_block_under_a_wrong_reference_is_refused() {
        let (stored, crc) = sealed(b"block");
        let refused = unseal(&stored, crc ^ 1, 100);
        assert_eq!(refused.unwrap_err(), "block is not the one its reference means");
    }

    #[test]
    fn a_block_that_claims_to_be_huge_is_refused_before_it_is_allocated() {
        let mut stored = vec![0u8; 3];
        stored.push(KIND_LZ4);
        stored.extend_from_slice(&u32::MAX.to_le_bytes());
        let crc = crc32fast::hash(&stored);
        stored.extend_from_slice(&crc.to_le_bytes());
        let refused = unseal(&stored, crc, META_RAW_BYTES_MAX);
        assert_eq!(refused.unwrap_err(), "block is bigger than it may be");
    }
}
