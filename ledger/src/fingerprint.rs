//! The fingerprint of a set's legs: how a repeat is told from another request under the same key.
//!
//! Fixed for ever, because fingerprints are stored: `testdata/fingerprint.txt` pins it. The legs
//! are written as 64-bit words, wide numbers as low word then high word (little-endian):
//!
//! | leg | words |
//! |---|---|
//! | all | tag (post 1, hold 2, post hold 3, void hold 4, raise hold 5, balancing 6, convert 7) + code x 2^8 |
//! | post | + debit (2), credit (2), amount (2) |
//! | hold | + debit (2), credit (2), amount (2), expires (1) |
//! | post hold | + hold key (2), hold leg (1), amount (2) |
//! | void hold | + hold key (2), hold leg (1) |
//! | raise hold | + hold key (2), hold leg (1), more (2), expires (1) |
//! | balancing | + debit (2), credit (2), max (2) |
//! | convert | + debit (2), credit (2), amount (2), rate (2) |
//!
//! Before them stands the number of legs; it is 0 for a request to undo a set, followed by tag (8
//! reverse, 9 refund) + code x 2^8, the set's key (2) and for a refund the amount (2). Each word is
//! mixed in by xor, a multiplication and a shift. This guards against mistakes, not against an
//! adversary: it is not a signature.
//!
//! [`digest`] is the same kind of guard over the rows that a set wrote: nothing is undone that was
//! not booked so.

use novax_model::{Amount, TransferKey};

use crate::code::Code;
use crate::journal::JournalRow;
use crate::transfer::{LEGS_MAX, Leg};

const SEED: u64 = 0xcbf2_9ce4_8422_2325;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

struct Mixer(u64);

fn halves(number: u128) -> (u64, u64) {
    let low = u64::try_from(number & u128::from(u64::MAX)).expect("masked to 64 bits");
    (low, u64::try_from(number >> 64).expect("64 bits left"))
}

impl Mixer {
    fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(MULTIPLIER);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn wide(&mut self, number: u128) {
        let (low, high) = halves(number);
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
            Leg::RaiseHold { hold, more, expires } => {
                mixer.word(5 | u64::from(Code::HoldRaise.number()) << 8);
                mixer.wide(hold.key.0);
                mixer.word(u64::from(hold.leg));
                mixer.wide(more);
                mixer.word(expires.0);
            }
            Leg::Balancing { debit, credit, max, code } => {
                mixer.word(6 | u64::from(code.number()) << 8);
                mixer.wide(debit.0);
                mixer.wide(credit.0);
                mixer.wide(max);
            }
            Leg::Convert { debit, credit, amount, code, rate } => {
                mixer.word(7 | u64::from(code.number()) << 8);
                mixer.wide(debit.0);
                mixer.wide(credit.0);
                mixer.wide(amount);
                mixer.wide(rate.0);
            }
        }
    }
    mixer.finish()
}

/// The fingerprint of a request to undo a set: whole, or `amount` of it.
pub(crate) fn undo_fingerprint(original: TransferKey, amount: Option<Amount>, code: Code) -> u64 {
    let mut mixer = Mixer(SEED);
    mixer.word(0);
    let tag = if amount.is_none() { 8 } else { 9 };
    mixer.word(tag | u64::from(code.number()) << 8);
    mixer.wide(original.0);
    if let Some(amount) = amount {
        mixer.wide(amount);
    }
    mixer.finish()
}

/// Odd numbers, one for each word of a row (the SHA-512 round constants, made odd).
const LANES: [u64; 11] = [
    0x428a_2f98_d728_ae23,
    0x7137_4491_23ef_65cd,
    0xb5c0_fbcf_ec4d_3b2f,
    0xe9b5_dba5_8189_dbbd,
    0x3956_c25b_f348_b539,
    0x59f1_11f1_b605_d019,
    0x923f_82a4_af19_4f9b,
    0xab1c_5ed5_da6d_8119,
    0xd807_aa98_a303_0243,
    0x1283_5b01_4570_6fbf,
    0x2431_85be_4ee4_b28d,
];

/// A check sum of what a set's rows say: kinds, codes, accounts, amounts,
/// currencies and rates, in order.
/// Times and numbers are no part of it. Fixed for ever, because it is stored.
///
/// A row's words are multiplied each by a number of its own and summed, so that they need not wait
/// for one another; the sums are mixed in one after the other.
#[must_use]
pub fn digest(rows: &[JournalRow]) -> u32 {
    assert!(rows.len() <= LEGS_MAX, "the caller bounds the set");
    let mut mixer = Mixer(SEED);
    for row in rows {
        let [a, b, c] = row.currency.bytes().map(u64::from);
        let small = u64::from(row.kind.number())
            | u64::from(row.leg) << 8
            | u64::from(row.code.number()) << 16
            | a << 32
            | b << 40
            | c << 48;
        let mut lanes = LANES.iter();
        let mut next = |word: u64| lanes.next().map_or(0, |lane| word.wrapping_mul(*lane));
        let mut sum = next(small);
        let rate = row.rate.map_or(0, |rate| rate.0);
        for wide in [row.debit.0, row.credit.0, row.amount, row.released, rate] {
            let (low, high) = halves(wide);
            sum = sum.wrapping_add(next(low)).wrapping_add(next(high));
        }
        mixer.word(sum);
    }
    u32::try_from(mixer.finish() >> 32).expect("32 bits are left")
}
