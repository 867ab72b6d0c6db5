//! What is written down: lines of the journal, and lines of single accounts. Never changed, never
//! deleted; corrections are lines of their own.

use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};
use rkyv::{Archive, Deserialize, Serialize};

use crate::account::Balances;
use crate::code::Code;
use crate::transfer::{HoldId, RateId};

/// What a journal row records. The numbers are hashed: append only.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
#[repr(u8)]
pub enum EntryKind {
    /// Money moved at once.
    Posted = 1,
    /// Money was set aside.
    Held = 2,
    /// Held money moved; the rest was given back.
    PostedHold = 3,
    /// A hold was given back whole.
    Voided = 4,
    /// A hold ran out.
    Expired = 5,
    /// More was set aside under a hold, or its end was moved.
    HeldMore = 6,
}

impl EntryKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [EntryKind; 6] = [
        EntryKind::Posted,
        EntryKind::Held,
        EntryKind::PostedHold,
        EntryKind::Voided,
        EntryKind::Expired,
        EntryKind::HeldMore,
    ];

    /// Upper-case name for SQL and HTTP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EntryKind::Posted => "POSTED",
            EntryKind::Held => "HELD",
            EntryKind::PostedHold => "POSTED_HOLD",
            EntryKind::Voided => "VOIDED",
            EntryKind::Expired => "EXPIRED",
            EntryKind::HeldMore => "HELD_MORE",
        }
    }

    /// The number that is hashed.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The kind of a number that [`EntryKind::number`] gave.
    #[must_use]
    pub fn of_number(number: u8) -> Option<EntryKind> {
        let place = usize::from(number.checked_sub(1)?);
        EntryKind::ALL.get(place).copied()
    }

    /// Whether the amount went from the debit to the credit account, not merely aside.
    #[must_use]
    pub fn is_movement(self) -> bool {
        matches!(self, EntryKind::Posted | EntryKind::PostedHold)
    }
}

/// One line of the journal.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct JournalRow {
    /// Its place in the journal of the partition, from 0 without gaps.
    pub number: u64,
    /// The log entry that booked it: the offset of the change feed.
    pub index: u64,
    /// The set that wrote it; for an expiry, the set that placed the hold.
    pub key: TransferKey,
    /// Which leg of that set.
    pub leg: u8,
    /// Its place among the rows written with it, from 0. A leg that moved nothing wrote none.
    pub set_row: u8,
    /// How many rows were written together: a reader has the whole set after the last of them.
    pub set_rows: u8,
    /// What happened.
    pub kind: EntryKind,
    /// The hold that this row places, raises or resolves; `None` when there is none.
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
    /// When it counts: value time, never in a period that was closed when it was booked.
    pub effective_at: Timestamp,
    /// Value time as the caller stated it. Earlier than `effective_at` for a late record.
    pub stated_at: Timestamp,
    /// The set that this row undoes, all or a part of it.
    pub reverses: Option<TransferKey>,
    /// The exchange rate, on the two sides of a currency exchange.
    pub rate: Option<RateId>,
}

impl JournalRow {
    /// Whether it is the last of the rows written together.
    #[must_use]
    pub fn is_last_of_set(&self) -> bool {
        self.set_row + 1 == self.set_rows
    }
}

/// What a journal row left on one of its accounts: the line of an account statement. Only for
/// accounts that keep their history. Its key is the account and the journal number.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccountEntry {
    /// The account.
    pub account: AccountId,
    /// The journal row.
    pub number: u64,
    /// The account's sums after that row.
    pub balances: Balances,
    /// When it counts.
    pub effective_at: Timestamp,
    /// When it was booked.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_kinds() {
        for kind in EntryKind::ALL {
            assert_eq!(EntryKind::of_number(kind.number()), Some(kind));
        }
        assert_eq!(EntryKind::of_number(0), None);
        assert_eq!(EntryKind::of_number(7), None);
    }
}
