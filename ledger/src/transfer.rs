//! What moves money: legs of a linked set, the holds they leave, the journal rows they write.

use std::fmt;

use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};
use rkyv::{Archive, Deserialize, Serialize};

/// The most legs of one linked set.
pub const LEGS_MAX: usize = 16;

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
    /// How much is held.
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

/// What a transfer is for. Stored and hashed: append only.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
#[repr(u16)]
pub enum Code {
    /// Money from outside into a wallet.
    Deposit = 1,
    /// Set aside before a charge.
    Hold = 2,
    /// Set aside because the charge costs more than expected.
    HoldRaise = 3,
    /// The driver pays for a charge.
    Energy = 4,
    /// The site host's part of a charge.
    SiteHostShare = 5,
    /// The operator's part of a charge.
    OperatorShare = 6,
    /// The platform's part of a charge.
    PlatformShare = 7,
    /// The state's part of a charge.
    Tax = 8,
    /// Between partitions.
    Clearing = 9,
    /// Owed by a driver whose wallet did not suffice.
    Receivable = 10,
    /// A hold given back.
    Release = 11,
    /// A person put something right.
    Correction = 12,
    /// Money back to a driver.
    Refund = 13,
    /// Money out of the system.
    Payout = 14,
}

impl Code {
    /// All codes, in the order of their numbers.
    pub const ALL: [Code; 14] = [
        Code::Deposit,
        Code::Hold,
        Code::HoldRaise,
        Code::Energy,
        Code::SiteHostShare,
        Code::OperatorShare,
        Code::PlatformShare,
        Code::Tax,
        Code::Clearing,
        Code::Receivable,
        Code::Release,
        Code::Correction,
        Code::Refund,
        Code::Payout,
    ];

    /// Upper-case name for SQL and HTTP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Deposit => "DEPOSIT",
            Code::Hold => "HOLD",
            Code::HoldRaise => "HOLD_RAISE",
            Code::Energy => "ENERGY",
            Code::SiteHostShare => "SITE_HOST_SHARE",
            Code::OperatorShare => "OPERATOR_SHARE",
            Code::PlatformShare => "PLATFORM_SHARE",
            Code::Tax => "TAX",
            Code::Clearing => "CLEARING",
            Code::Receivable => "RECEIVABLE",
            Code::Release => "RELEASE",
            Code::Correction => "CORRECTION",
            Code::Refund => "REFUND",
            Code::Payout => "PAYOUT",
        }
    }

    /// The number that is hashed and shown to auditors.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    /// Sets money aside. The hold's id is the set's key and this leg's place in it.
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
    /// Moves `amount` of what is held and gives the rest back in the same step. Zero is a void.
    PostHold {
        /// Which hold.
        hold: HoldId,
        /// How much; at most what is held.
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
}

/// What a journal row records.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
pub enum EntryKind {
    /// Money moved at once.
    Posted,
    /// Money was set aside.
    Held,
    /// Held money moved; the rest was given back.
    PostedHold,
    /// A hold was given back whole.
    Voided,
    /// A hold ran out.
    Expired,
}

impl EntryKind {
    /// Upper-case name for SQL and HTTP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EntryKind::Posted => "POSTED",
            EntryKind::Held => "HELD",
            EntryKind::PostedHold => "POSTED_HOLD",
            EntryKind::Voided => "VOIDED",
            EntryKind::Expired => "EXPIRED",
        }
    }
}

/// One line of the journal. Never changed, never deleted; corrections are lines of their own.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct JournalRow {
    /// Its place in the journal of the partition, from 0 without gaps.
    pub number: u64,
    /// The set that wrote it; for an expiry, the set that placed the hold.
    pub key: TransferKey,
    /// Which leg of that set.
    pub leg: u8,
    /// What happened.
    pub kind: EntryKind,
    /// The hold that this row places or resolves; `None` when there is none.
    pub hold: Option<HoldId>,
    /// The debited account.
    pub debit: AccountId,
    /// The credited account.
    pub credit: AccountId,
    /// How much moved or was set aside.
    pub amount: Amount,
    /// How much of a hold was given back.
    pub released: Amount,
    /// Of both accounts.
    pub currency: Currency,
    /// What for.
    pub code: Code,
    /// When it was booked, by the log's clock.
    pub at: Timestamp,
    /// When it counts: value time.
    pub effective_at: Timestamp,
}

/// What became of a set that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Posted {
    /// Booked now.
    New,
    /// Booked before, under the same key with the same legs; nothing was done.
    Repeat,
}
