//! What is written and read: the workload of RocksDB's `db_bench`, so that all stores have the same.
//!
//! Keys are 16 bytes, a number and padding; values are 100 bytes that compress to about half; keys are
//! drawn with replacement, so that 63 % of a range are there after as many puts as it has keys.

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 16;
/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 100;
/// Values are slices of this much random text, over and over.
const POOL_BYTES: usize = 1 << 20;

/// `SplitMix64`: fast, and the same everywhere for a seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "there is something below");
        self.next() % end
    }
}

/// The key of a number: big-endian, padded with the digit zero.
pub(crate) fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = [b'0'; KEY_BYTES];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

/// Values that compress to half: 50 printable random bytes, twice.
#[derive(Debug)]
pub(crate) struct Values {
    pool: Vec<u8>,
    at: usize,
}

impl Values {
    pub(crate) fn new(seed: u64) -> Values {
        let mut dice = Dice::new(seed);
        let mut pool = Vec::with_capacity(POOL_BYTES + VALUE_BYTES);
        while pool.len() < POOL_BYTES {
            let printable =
                |dice: &mut Dice| b' ' + u8::try_from(dice.below(95)).expect("below 95");
            let half: Vec<u8> = (0..VALUE_BYTES / 2).map(|_| printable(&mut dice)).collect();
            pool.extend_from_slice(&half);
            pool.extend_from_slice(&half);
        }
        assert_eq!(pool.len() % VALUE_BYTES, 0, "whole values");
        Values { pool, at: 0 }
    }

    pub(crate) fn next(&mut self) -> &[u8] {
        if self.at + VALUE_BYTES > self.pool.len() {
            self.at = 0;
        }
        let value = &self.pool[self.at..self.at + VALUE_BYTES];
        self.at += VALUE_BYTES;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_numbers_and_values_repeat_within_themselves() {
        assert!(key(1) < key(2) && key(255) < key(256));
        let mut values = Values::new(7);
        let first = values.next().to_vec();
        assert_eq!(first.len(), VALUE_BYTES);
        assert_eq!(first[..50], first[50..]);
        assert_ne!(first, values.next());
        assert!((0..20_000).all(|_| values.next().len() == VALUE_BYTES), "the pool goes round");
    }
}
