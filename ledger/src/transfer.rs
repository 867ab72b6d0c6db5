//! What moves money: the legs of a linked set, its stamp, and the holds it leaves.

use std::fmt;

use novax_model::{AccountId, Amount, Timestamp, TransferKey};
use rkyv::{Archive, Deserialize, Serialize};

use crate::code::Code;

/// The most legs of one linked set.
pub const LEGS_MAX: usize = 64;

/// Only the first legs of a set may be holds: two bits are kept for the fate of each.
pub const HOLD_LEGS_MAX: usize = 16;

/// As the amount of [`Leg::PostHold`]: all that is held.
pub const POST_ALL: Amount = Amount::MAX;

/// When a call happens: its place in the log, the log's time, and value time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Index of the log entry: the offset of the change feed.
    pub index: u64,
    /// When it is booked, by the log's clock.
    pub at: Timestamp,
    /// When it counts: value time, as stated. In a closed period it counts from the period's end.
    pub effective_at: Timestamp,
}

impl Stamp {
    /// Counts when it is booked.
    #[must_use]
    pub fn now(index: u64, at: Timestamp) -> Stamp {
        Stamp { index, at, effective_at: at }
    }
}

/// The exchange rate that both sides of a currency exchange name.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rkyv(derive(Debug))]
pub struct RateId(pub u128);

impl fmt::Display for RateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RateId({:032x})", self.0)
    }
}

/// A hold: the key of the set that placed it, and which leg of the set it was.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub struct HoldId {
    /// The key of the set that placed it.
    pub key: TransferKey,
    /// Its leg in that set, from 0.
    pub leg: u8,
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key, self.leg)
    }
}

/// Money set aside: neither account has it until the hold is posted, voided or expired.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hold {
    /// The key of the set that placed it.
    pub key: TransferKey,
    /// Its leg in that set.
    pub leg: u8,
    /// The account to be debited.
    pub debit: AccountId,
    /// The account to be credited.
    pub credit: AccountId,
    /// How much is held, raises included.
    pub amount: Amount,
    /// What it is for.
    pub code: Code,
    /// When it was placed.
    pub created: Timestamp,
    /// From when on it counts as expired; [`Timestamp::MAX`] is never.
    pub expires: Timestamp,
}

impl Hold {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> HoldId {
        HoldId { key: self.key, leg: self.leg }
    }
}

/// One step of a linked set. Steps count in order: a later leg sees what an earlier one did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leg {
    /// Moves money at once.
    Post {
        /// The account to debit.
        debit: AccountId,
        /// The account to credit.
        credit: AccountId,
        /// How much; more than zero.
        amount: Amount,
        /// What for.
        code: Code,
    },
    /// Sets money aside. The hold's id is the set's key and this leg's place in it. Only among the
    /// first [`HOLD_LEGS_MAX`] legs.
    Hold {
        /// The account to be debited.
        debit: AccountId,
        /// The account to be credited.
        credit: AccountId,
        /// How much; more than zero.
        amount: Amount,
        /// What for.
        code: Code,
        /// From when on it counts as expired; [`Timestamp::MAX`] is never. Part of the payload: a
        /// repeat must name the same time.
        expires: Timestamp,
    },
    /// Sets more aside under a hold that stands, and moves its end. The hold keeps its id.
    RaiseHold {
        /// Which hold.
        hold: HoldId,
        /// How much more; zero only moves the end.
        more: Amount,
        /// The new end, sooner or later than the old one, but not past.
        expires: Timestamp,
    },
    /// Moves `amount` of what is held and gives the rest back in the same step. Zero is a void.
    PostHold {
        /// Which hold.
        hold: HoldId,
        /// How much; at most what is held, or [`POST_ALL`].
        amount: Amount,
        /// What for.
        code: Code,
    },
    /// Gives back all that is held.
    VoidHold {
        /// Which hold.
        hold: HoldId,
        /// What for.
        code: Code,
    },
    /// Moves what there is, at most `max`: what the debit account was given and neither gave nor
    /// holds, as far as the credit account's limit lets it in. That may be nothing; then it writes
    /// no row.
    Balancing {
        /// The account to debit.
        debit: AccountId,
        /// The account to credit.
        credit: AccountId,
        /// The most to move; more than zero.
        max: Amount,
        /// What for.
        code: Code,
    },
    /// One side of a currency exchange: a [`Leg::Post`] whose row names the rate. Within a set, the
    /// legs that name a rate are in two currencies.
    Convert {
        /// The account to debit.
        debit: AccountId,
        /// The account to credit.
        credit: AccountId,
        /// How much; more than zero.
        amount: Amount,
        /// What for.
        code: Code,
        /// The rate it was worked out by.
        rate: RateId,
    },
}
