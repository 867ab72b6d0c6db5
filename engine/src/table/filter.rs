//! A Bloom filter over the keys of a table: most reads of a key that is not there touch no block.

use crate::codec::Reader;

const BITS_PER_KEY: u64 = 10;
const PROBES: u8 = 7;

/// The hash that the filter is made of. Part of the table format.
pub(crate) fn hash(key: &[u8]) -> u64 {
    let mut h = 0x9E37_79B9_7F4A_7C15 ^ key.len() as u64;
    for chunk in key.chunks(8) {
        let mut word = [0u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        h = (h ^ u64::from_le_bytes(word)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        h ^= h >> 32;
    }
    h = h.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ (h >> 29)
}

/// The bits that stand for a key.
fn positions(hash: u64, probes: u8, bits: u32) -> impl Iterator<Item = u64> {
    let (low, high) = (hash & 0xFFFF_FFFF, (hash >> 32) | 1);
    (0..u64::from(probes)).map(move |i| (low + i * high) % u64::from(bits))
}

/// The raw filter block for these key hashes.
pub(crate) fn build(hashes: &[u64]) -> Vec<u8> {
    let bits = (hashes.len() as u64 * BITS_PER_KEY).next_multiple_of(8).clamp(64, 1 << 28) as u32;
    let mut raw = Vec::with_capacity(5 + bits as usize / 8);
    raw.extend_from_slice(&bits.to_le_bytes());
    raw.push(PROBES);
    raw.resize(5 + bits as usize / 8, 0);
    for &hash in hashes {
        for position in positions(hash, PROBES, bits) {
            raw[5 + (position / 8) as usize] |= 1 << (position % 8);
        }
    }
    raw
}

/// A filter as read from a table.
pub(crate) struct Filter {
    bitmap: Vec<u8>,
    bits: u32,
    probes: u8,
}

impl Filter {
    pub(crate) fn parse(mut raw: Vec<u8>) -> Result<Filter, &'static str> {
        let mut reader = Reader::new(&raw);
        let (Some(bits), Some(probes)) = (reader.u32(), reader.u8()) else {
            return Err("filter too short");
        };
        if bits == 0 || !bits.is_multiple_of(8) || reader.remaining() != bits as usize / 8 {
            return Err("filter of a wrong size");
        }
        raw.drain(..5);
        Ok(Filter { bitmap: raw, bits, probes })
    }

    /// False only when no key with this hash is in the table.
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        positions(hash, self.probes, self.bits).all(|position| {
            let byte = self.bitmap.get((position / 8) as usize).copied().unwrap_or(u8::MAX);
            byte & (1 << (position % 8)) != 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_of_the_document() {
        // Worked out apart from this code, from the formula of docs/formats/table.md.
        let table: [(&[u8], u64); 3] = [
            (b"", 0x90F8_749B_0FB1_3233),
            (b"station", 0xC8E4_6300_4655_0BDE),
            (b"0123456789abcdef", 0x1AAC_7876_1470_03CD),
        ];
        for (key, expected) in table {
            assert_eq!(hash(key), expected, "{key:?}");
        }
    }

    #[test]
    fn every_key_is_found_and_few_others_are() {
        let key = |i: u32| [b"\x05station-".as_slice(), &i.to_be_bytes()].concat();
        let hashes: Vec<u64> = (0..10_000).map(|i| hash(&key(i))).collect();
        let filter = Filter::parse(build(&hashes)).unwrap();
        assert!(hashes.iter().all(|&hash| filter.may_hold(hash)));
        let wrong = (10_000..30_000).filter(|&i| filter.may_hold(hash(&key(i)))).count();
        assert!(wrong < 20_000 * 15 / 1000, "{wrong} of 20,000 absent keys pass, 0.8 % are due");
    }

    #[test]
    fn a_filter_of_a_wrong_size_is_refused() {
        assert!(Filter::parse(Vec::new()).is_err());
        assert!(Filter::parse(vec![64, 0, 0, 0, 7]).is_err());
        assert!(Filter::parse(vec![0, 0, 0, 0, 7]).is_err());
    }
}
