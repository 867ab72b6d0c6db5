//! A hash map for 128-bit ids that hashes alike on every node. It is never iterated: order would
//! depend on its capacity, and so on its history.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Ids are already well spread (they are hashes), so one multiplication does.
#[derive(Default, Clone, Copy, Debug)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn write_u128(&mut self, number: u128) {
        self.write_u64(u64::try_from(number & u128::from(u64::MAX)).expect("masked to 64 bits"));
        self.write_u64(u64::try_from(number >> 64).expect("64 bits left"));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
