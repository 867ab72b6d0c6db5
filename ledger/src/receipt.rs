//! The answer to a set that was not refused.

use novax_model::{AccountId, Currency};

use crate::account::{Balances, Limit};

/// What became of a set that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Posted {
    /// Booked now.
    New,
    /// Booked before, under the same key with the same legs; nothing was done.
    Repeat,
}

/// An account of a set, before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touched {
    /// Which account.
    pub id: AccountId,
    /// What it is kept in.
    pub currency: Currency,
    /// Its sums before the set.
    pub before: Balances,
    /// Its sums after the set.
    pub after: Balances,
    pub(crate) slot: u32,
    pub(crate) limit: Limit,
    pub(crate) is_closed: bool,
    pub(crate) has_history: bool,
}

/// Where a set stands in the journal and what it left on its accounts. Borrowed: costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// Booked now or before.
    pub posted: Posted,
    /// Number of its first journal row.
    pub first: u64,
    /// How many journal rows it has, from `first` on.
    pub rows: u8,
    /// Its accounts, in the order in which its legs name them. Empty for a repeat: what stands on
    /// them now is no longer what the set left.
    pub touched: &'a [Touched],
}

impl Receipt<'_> {
    /// Whether the set was booked by this call.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.posted == Posted::New
    }

    /// What the set left on one of its accounts.
    #[must_use]
    pub fn balances(&self, id: AccountId) -> Option<Balances> {
        self.touched.iter().find(|touched| touched.id == id).map(|touched| touched.after)
    }
}
