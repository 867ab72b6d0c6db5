//! Rows that changed since they were last taken: what a store has to write.
//!
//! They are lent, not copied: the caller encodes them as they stand, and the ledger goes on when it
//! is done. Each table comes in order of its key.

use std::fmt;

use novax_model::TransferKey;

use crate::account::Account;
use crate::accounts::Accounts;
use crate::holds::Holds;
use crate::journal::{AccountEntry, JournalRow};
use crate::keys::{KeyRow, Keys};
use crate::transfer::{Hold, HoldId};

/// What changed between two calls of [`crate::Ledger::take_changes`].
#[derive(Clone, Copy)]
pub struct Changes<'a> {
    pub(crate) accounts: &'a Accounts,
    pub(crate) holds: &'a Holds,
    pub(crate) keys: &'a Keys,
    pub(crate) journal: &'a [JournalRow],
    pub(crate) entries: &'a [AccountEntry],
}

impl<'a> Changes<'a> {
    /// Accounts opened or touched, each once, in order of id.
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = &'a Account> + use<'a> {
        self.accounts.taken()
    }

    /// Holds placed or raised (`Some`) or resolved (`None`), each once, in order of id.
    pub fn holds(&self) -> impl ExactSizeIterator<Item = (HoldId, Option<&'a Hold>)> + use<'a> {
        self.holds.taken()
    }

    /// Lines of the journal, in order of number.
    #[must_use]
    pub fn journal(&self) -> &'a [JournalRow] {
        self.journal
    }

    /// Lines of the accounts that keep their history, in order of journal number, debit first.
    #[must_use]
    pub fn entries(&self) -> &'a [AccountEntry] {
        self.entries
    }

    /// Sets booked, or changed by what became of their holds or by a refund, each once, in order of key.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = (TransferKey, KeyRow)> + use<'a> {
        self.keys.taken()
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let rows = self.accounts().len() + self.holds().len() + self.keys().len();
        rows + self.journal.len() + self.entries.len() == 0
    }
}

impl PartialEq for Changes<'_> {
    fn eq(&self, other: &Changes<'_>) -> bool {
        self.accounts().eq(other.accounts())
            && self.holds().eq(other.holds())
            && self.keys().eq(other.keys())
            && self.journal == other.journal
            && self.entries == other.entries
    }
}

impl Eq for Changes<'_> {}

impl fmt::Debug for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("accounts", &self.accounts().collect::<Vec<_>>())
            .field("holds", &self.holds().collect::<Vec<_>>())
            .field("journal", &self.journal)
            .field("entries", &self.entries)
            .field("keys", &self.keys().collect::<Vec<_>>())
            .finish()
    }
}
