//! The fingerprint of a set's legs: how a repeat is told from another request under the same key.
//!
//! Fixed for ever, because fingerprints are stored: `testdata/fingerprint.txt` pins it. The legs
//! are written as 64-bit words, wide numbers as low word then high word (little-endian):
//!
//! | leg | words |
//! |---|---|
//! | all | tag (post 1, hold 2, post hold 3, void hold 4) + code x 2^8 |
//! | post | + debit (2), credit (2), amount (2) |
//! | hold | + debit (2), credit (2), amount (2), expires (1) |
//! | post hold | + hold key (2), hold leg (1), amount (2) |
//! | void hold | + hold key (2), hold leg (1) |
//!
//! Before them stands the number of legs. Each word is mixed in by xor, a multiplication and a
//! shift. This guards against mistakes, not against an adversary: it is not a signature.

use crate::transfer::{LEGS_MAX, Leg};

const SEED: u64 = 0xcbf2_9ce4_8422_2325;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

struct Mixer(u64);

impl Mixer {
    fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(MULTIPLIER);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn wide(&mut self, number: u128) {
        let low = u64::try_from(number & u128::from(u64::MAX)).expect("masked to 64 bits");
        let high = u64::try_from(number >> 64).expect("64 bits left");
        self.word(low);
        self.word(high);
    }

    fn finish(self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }
}

/// The fingerprint of a set's legs. Times of booking and value are no part of it, so that a
/// request repeated later is still the same request.
///
/// # Panics
/// When there are more than [`LEGS_MAX`] legs.
#[must_use]
pub fn fingerprint(legs: &[Leg]) -> u64 {
    assert!(legs.len() <= LEGS_MAX, "the caller bounds the set");
    let mut mixer = Mixer(SEED);
    mixer.word(legs.len() as u64);
    for leg in legs {
        match *leg {
            Leg::Post { debit, credit, amount, code } => {
                mixer.word(1 | u64::from(code.number()) << 8);
                mixer.wide(debit.0);
                mixer.wide(credit.0);
                mixer.wide(amount);
            }
            Leg::Hold { debit, credit, amount, code, expires } => {
                mixer.word(2 | u64::from(code.number()) << 8);
                mixer.wide(debit.0);
                mixer.wide(credit.0);
                mixer.wide(amount);
                mixer.word(expires.0);
            }
            Leg::PostHold { hold, amount, code } => {
                mixer.word(3 | u64::from(code.number()) << 8);
                mixer.wide(hold.key.0);
                mixer.word(u64::from(hold.leg));
                mixer.wide(amount);
            }
            Leg::VoidHold { hold, code } => {
                mixer.word(4 | u64::from(code.number()) << 8);
                mixer.wide(hold.key.0);
                mixer.word(u64::from(hold.leg));
            }
        }
    }
    mixer.finish()
}
