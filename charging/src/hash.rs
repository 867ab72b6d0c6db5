//! Two stable hashes, fixed for ever because their values lie on disk.
//!
//! * [`key128`]: names of accounts and transfers. FNV-1a over 128 bits.
//! * [`Chain`]: the state hash, chained over row writes, eight bytes a step. It finds replicas that
//!   went apart; it does not withstand forgery (that is what the journal's Merkle tree will be for).

const FNV_128_OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const FNV_128_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A 128-bit id of some parts. Each part is followed by its length, so that moving a byte from one
/// part to the next gives another id.
pub(crate) fn key128(parts: &[&[u8]]) -> u128 {
    let mut hash = FNV_128_OFFSET;
    let mut step = |byte: u8| {
        hash ^= u128::from(byte);
        hash = hash.wrapping_mul(FNV_128_PRIME);
    };
    for part in parts {
        part.iter().copied().for_each(&mut step);
        let len = u32::try_from(part.len()).expect("names are short");
        len.to_le_bytes().into_iter().for_each(&mut step);
    }
    hash
}

/// A running 64-bit hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain(pub(crate) u64);

impl Chain {
    /// Takes one number in.
    pub(crate) fn number(&mut self, word: u64) {
        let mixed = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93_u128;
        let low = u64::try_from(mixed & u128::from(u64::MAX)).expect("masked");
        let high = u64::try_from(mixed >> 64).expect("shifted");
        // Adding the word's rotation keeps two words that meet in a zero product apart.
        self.0 = (low ^ high).wrapping_add(word.rotate_left(23)).rotate_left(17);
    }

    /// Takes bytes in, and how many they were.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.number(u64::from_le_bytes(last));
        self.number(bytes.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_state_hashes_are_fixed_for_ever() {
        // Accounts and transfers on disk are found by these.
        assert_eq!(key128(&[]), FNV_128_OFFSET);
        assert_eq!(key128(&[b"driver/alice", b"EUR"]), DRIVER_ALICE_EUR);
        let mut chain = Chain(0);
        chain.bytes(b"abcdefghij");
        assert_eq!(chain.0, ABCDEFGHIJ);
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(key128(&[b"ab", b"c"]), key128(&[b"a", b"bc"]));
        let (mut one, mut two) = (Chain(7), Chain(7));
        one.bytes(b"");
        two.bytes(&[0]);
        assert_ne!(one, two);
    }

    const DRIVER_ALICE_EUR: u128 = 0x5cf6_66f4_9f22_a3b2_3270_f195_f93f_379b;
    const ABCDEFGHIJ: u64 = 0x9d47_be62_bd40_39fb;
}
