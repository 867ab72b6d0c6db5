//! The ledger of one partition: books linked sets, undoes them, expires holds, closes periods, hands
//! out what changed.
//!
//! Invariants: per currency, debits equal credits, posted and pending, after every call; each key
//! is booked at most once; each hold is resolved at most once; a set is undone at most once and
//! never by more than it moved; nothing counts in a closed period that was not booked in it; a
//! refused set leaves no trace; two ledgers given the same calls give the same answers and the same
//! changes, also when one was restored from its rows in between.

use novax_model::{AccountId, Amount, Timestamp, TransferKey};
use rkyv::{Archive, Deserialize, Serialize};

use crate::account::{Account, NAME_BYTES_MAX, NAME_ERASED, Opening};
use crate::accounts::Accounts;
use crate::changes::Changes;
use crate::code::Code;
use crate::error::LedgerError;
use crate::fingerprint::{digest, fingerprint, undo_fingerprint};
use crate::holds::Holds;
use crate::journal::JournalRow;
use crate::keys::{KeyRow, Keys, Known, NewKey, Undone};
use crate::plan::{Book, Header, Plan};
use crate::receipt::{Posted, Receipt};
use crate::totals::Totals;
use crate::transfer::{Hold, HoldId, LEGS_MAX, Leg, Stamp};
use crate::undo::{self, Exchange};

/// The ledger of one partition.
#[derive(Debug, Default)]
pub struct Ledger {
    pub(crate) accounts: Accounts,
    pub(crate) holds: Holds,
    pub(crate) keys: Keys,
    pub(crate) totals: Totals,
    head: Head,
    /// Keeps the rows written since the last [`Ledger::take_changes`], which the caller calls once
    /// per log entry.
    plan: Plan,
    /// Of the set that was booked last.
    last_rows: u8,
    /// The legs of a reversal, while it is worked out.
    undo_legs: Vec<Leg>,
}

/// What belongs to no single row.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// The number the next journal row will have.
    pub next_journal: u64,
    /// End of the last closed period: nothing booked from now on counts before it.
    pub closed_until: Timestamp,
}

/// The stored rows of a ledger. Their order does not matter.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// [`Ledger::head`], as it was last.
    pub head: Head,
    /// All accounts.
    pub accounts: Vec<Account>,
    /// The open holds.
    pub holds: Vec<Hold>,
    /// The newest keys, and those whose holds are open.
    pub keys: Vec<(TransferKey, KeyRow)>,
}

/// A set to book, whoever worked its legs out.
struct Request {
    stamp: Stamp,
    key: TransferKey,
    fingerprint: u64,
    reverses: Option<TransferKey>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens an account. Opening it again the same way does nothing, also when it was closed since.
    ///
    /// # Errors
    /// [`LedgerError::AccountDiffers`] when it is open with another name, currency, limit or
    /// nature; [`LedgerError::NameTooLong`].
    pub fn open_account(&mut self, at: Timestamp, opening: Opening<'_>) -> Result<(), LedgerError> {
        if opening.name.len() > NAME_BYTES_MAX {
            return Err(LedgerError::NameTooLong(opening.id));
        }
        if let Some(known) = self.accounts.get(opening.id) {
            let is_same = opening.is_of(known);
            return if is_same { Ok(()) } else { Err(LedgerError::AccountDiffers(opening.id)) };
        }
        self.accounts.insert(opening.open(at), true);
        Ok(())
    }

    /// Closes an account for good: it takes no new legs. What is held on it can still be resolved.
    /// Closing it again does nothing.
    ///
    /// # Errors
    /// [`LedgerError::AccountMissing`].
    pub fn close_account(&mut self, id: AccountId) -> Result<(), LedgerError> {
        let slot = self.accounts.slot(id).ok_or(LedgerError::AccountMissing(id))?;
        if !self.accounts.at(slot).is_closed {
            self.accounts.change(slot).is_closed = true;
        }
        Ok(())
    }

    /// Forgets whose account it is. Its sums and lines stay: the books still balance.
    ///
    /// # Errors
    /// [`LedgerError::AccountMissing`]; [`LedgerError::NotPersonal`].
    pub fn erase_name(&mut self, id: AccountId) -> Result<(), LedgerError> {
        let slot = self.accounts.slot(id).ok_or(LedgerError::AccountMissing(id))?;
        let account = self.accounts.at(slot);
        if !account.is_personal {
            return Err(LedgerError::NotPersonal(id));
        }
        if *account.name != *NAME_ERASED {
            self.accounts.change(slot).name = NAME_ERASED.into();
        }
        Ok(())
    }

    /// Books a linked set: all legs or none.
    ///
    /// The same key with the same legs again is [`Posted::Repeat`]; a refused set does not use its
    /// key up.
    ///
    /// # Errors
    /// A [`LedgerError`] that says which rule the first offending leg breaks.
    pub fn post(
        &mut self,
        stamp: Stamp,
        key: TransferKey,
        legs: &[Leg],
    ) -> Result<Receipt<'_>, LedgerError> {
        if legs.is_empty() {
            return Err(LedgerError::NoLegs);
        }
        if legs.len() > LEGS_MAX {
            return Err(LedgerError::TooManyLegs(legs.len()));
        }
        // What is asked of memory before the fingerprint is worked out is there after it.
        let is_likely_known = self.keys.likely_slot(key).is_some();
        let book = Book { accounts: &self.accounts, holds: &self.holds, keys: &self.keys };
        self.plan.look_up(book, legs);
        let fingerprint = fingerprint(legs);
        if is_likely_known && let Some(known) = self.known(key, fingerprint)? {
            return Ok(repeat(known));
        }
        self.work_out(&Request { stamp, key, fingerprint, reverses: None }, legs)
    }

    /// Undoes a booked set by the mirror of all it moved. `lines` are its journal rows, as stored:
    /// `first..first + rows` of its receipt.
    ///
    /// # Errors
    /// [`LedgerError::OriginalMissing`], [`LedgerError::LinesDiffer`],
    /// [`LedgerError::NothingToUndo`], [`LedgerError::IsReversal`],
    /// [`LedgerError::AlreadyReversed`], [`LedgerError::PartlyRefunded`], or whatever refuses the
    /// mirrored legs: a wallet that has spent a deposit cannot give it back.
    pub fn reverse(
        &mut self,
        stamp: Stamp,
        key: TransferKey,
        original: TransferKey,
        lines: &[JournalRow],
        code: Code,
    ) -> Result<Receipt<'_>, LedgerError> {
        let fingerprint = undo_fingerprint(original, None, code);
        if let Some(known) = self.known(key, fingerprint)? {
            return Ok(repeat(known));
        }
        if let refunded @ 1.. = self.check_undoable(original, lines)? {
            return Err(LedgerError::PartlyRefunded { key: original, refunded });
        }
        let mut legs = std::mem::take(&mut self.undo_legs);
        let request = Request { stamp, key, fingerprint, reverses: Some(original) };
        let result = undo::mirror(original, lines, code, &mut legs)
            .and_then(|()| self.look_up_and_work_out(&request, &legs));
        self.undo_legs = legs;
        result?;
        self.keys.undo(original, None);
        Ok(self.receipt())
    }

    /// Undoes a part of a booked set: those who gained by it give back in proportion, those who
    /// paid get back in proportion. Repeated refunds add up to the whole exactly. `lines` as for
    /// [`Ledger::reverse`].
    ///
    /// # Errors
    /// As [`Ledger::reverse`], but a set that was partly refunded may be refunded further;
    /// [`LedgerError::ExceedsOriginal`] when no so much is left of it;
    /// [`LedgerError::RefundOfSeveralCurrencies`].
    pub fn refund(
        &mut self,
        stamp: Stamp,
        key: TransferKey,
        original: TransferKey,
        lines: &[JournalRow],
        amount: Amount,
        code: Code,
    ) -> Result<Receipt<'_>, LedgerError> {
        let fingerprint = undo_fingerprint(original, Some(amount), code);
        if let Some(known) = self.known(key, fingerprint)? {
            return Ok(repeat(known));
        }
        let refunded = self.check_undoable(original, lines)?;
        let mut legs = std::mem::take(&mut self.undo_legs);
        let request = Request { stamp, key, fingerprint, reverses: Some(original) };
        let result = undo::pro_rata(original, lines, refunded, amount, code, &mut legs)
            .and_then(|()| self.look_up_and_work_out(&request, &legs));
        self.undo_legs = legs;
        result?;
        self.keys.undo(original, Some(refunded + amount));
        Ok(self.receipt())
    }

    /// As [`Ledger::refund`], of a set that was paid in one currency and shared out in another. Of the
    /// latter the parties give back in proportion, all but `kept`; what that is worth in the former
    /// the caller says, in `back`.
    ///
    /// # Errors
    /// As [`Ledger::refund`]; [`LedgerError::NotAnExchange`] when `back` is not in one other currency.
    pub fn refund_exchanged(
        &mut self,
        stamp: Stamp,
        key: TransferKey,
        original: TransferKey,
        lines: &[JournalRow],
        amount: Amount,
        exchange: &Exchange<'_>,
    ) -> Result<Receipt<'_>, LedgerError> {
        let fingerprint = undo_fingerprint(original, Some(amount), exchange.code);
        if let Some(known) = self.known(key, fingerprint)? {
            return Ok(repeat(known));
        }
        let refunded = self.check_undoable(original, lines)?;
        let mut legs = std::mem::take(&mut self.undo_legs);
        let request = Request { stamp, key, fingerprint, reverses: Some(original) };
        let result = undo::exchanged(original, lines, refunded, amount, exchange, &mut legs)
            .and_then(|()| self.look_up_and_work_out(&request, &legs));
        self.undo_legs = legs;
        result?;
        self.keys.undo(original, Some(refunded + amount));
        Ok(self.receipt())
    }

    /// Closes the books up to `until`: what is booked later with a value time before it counts from
    /// `until`. Closing the same period again does nothing.
    ///
    /// # Errors
    /// [`LedgerError::PeriodNotOver`] when `until` is after `now`, or before the end of a period
    /// that was closed already.
    pub fn close_period(&mut self, now: Timestamp, until: Timestamp) -> Result<(), LedgerError> {
        if until > now || until < self.head.closed_until {
            return Err(LedgerError::PeriodNotOver);
        }
        self.head.closed_until = until;
        Ok(())
    }

    /// Gives back what is held by holds whose time is over at `stamp.at`, earliest first and at
    /// most `max`.
    pub fn expire(&mut self, stamp: Stamp, max: usize) -> Vec<HoldId> {
        let mut expired = Vec::new();
        while expired.len() < max {
            let Some((expires, slot)) = self.holds.next_expiry() else { break };
            if expires > stamp.at {
                break;
            }
            let hold = *self.holds.at(slot);
            let header = self.header(stamp, hold.key, None);
            let book = Book { accounts: &self.accounts, holds: &self.holds, keys: &self.keys };
            self.plan.work_out_expiry(book, &self.totals, &header, slot);
            self.book(stamp.at, None);
            expired.push(hold.id());
        }
        expired
    }

    /// Lets the keys of all but the newest `max` sets leave memory, beside those whose holds are open. To be
    /// called when the changes have been taken and stored: the store keeps them, and who means one of them
    /// says so first ([`Ledger::recall_key`]). A repeat of a set that has left would be booked again, and it
    /// could not be undone.
    pub fn trim_keys(&mut self, max: usize) {
        self.keys.trim(max);
    }

    /// Takes back what the store has of a set that has left memory, until keys are trimmed again. A set that
    /// is in memory stays as it is.
    ///
    /// # Panics
    /// When a hold of it is open: those never leave.
    pub fn recall_key(&mut self, key: TransferKey, row: &KeyRow) {
        self.keys.recall(key, row);
    }

    /// Whether the key was used for a request with this fingerprint.
    fn known(&self, key: TransferKey, fingerprint: u64) -> Result<Option<&Known>, LedgerError> {
        match self.keys.get(key) {
            Some(known) if known.is_for(fingerprint) => Ok(Some(known)),
            Some(_) => Err(LedgerError::KeyReused(key)),
            None => Ok(None),
        }
    }

    /// How much of a set was refunded so far, if it can be undone at all.
    fn check_undoable(
        &self,
        original: TransferKey,
        lines: &[JournalRow],
    ) -> Result<Amount, LedgerError> {
        let known = self.keys.get(original).ok_or(LedgerError::OriginalMissing(original))?;
        undo::check_lines(original, known, lines)?;
        match self.keys.undone(known) {
            Undone::No => Ok(0),
            Undone::Refunded(amount) => Ok(amount),
            Undone::Reversed => Err(LedgerError::AlreadyReversed(original)),
            Undone::Never => Err(LedgerError::IsReversal(original)),
        }
    }

    fn header(&self, stamp: Stamp, key: TransferKey, reverses: Option<TransferKey>) -> Header {
        Header {
            key,
            index: stamp.index,
            at: stamp.at,
            effective_at: stamp.effective_at.max(self.head.closed_until),
            stated_at: stamp.effective_at,
            reverses,
            next_journal: self.head.next_journal,
        }
    }

    fn look_up_and_work_out(&mut self, request: &Request, legs: &[Leg]) -> Result<(), LedgerError> {
        let book = Book { accounts: &self.accounts, holds: &self.holds, keys: &self.keys };
        self.plan.look_up(book, legs);
        self.work_out(request, legs).map(|_| ())
    }

    /// After [`Plan::look_up`] of the same legs.
    fn work_out(&mut self, request: &Request, legs: &[Leg]) -> Result<Receipt<'_>, LedgerError> {
        let header = self.header(request.stamp, request.key, request.reverses);
        let book = Book { accounts: &self.accounts, holds: &self.holds, keys: &self.keys };
        self.plan.work_out(book, &self.totals, &header, legs)?;
        let rows = self.plan.rows();
        let placed = self.plan.held.iter().filter(|held| held.slot.is_none()).count();
        let new = NewKey {
            first: header.next_journal,
            rows: u8::try_from(rows.len()).expect("the set is bounded"),
            at: header.at,
            fingerprint: request.fingerprint,
            digest: digest(rows),
            holds: u8::try_from(placed).expect("the set is bounded"),
            undone: if request.reverses.is_some() { Undone::Never } else { Undone::No },
        };
        let slot = self.keys.insert(request.key, new);
        self.book(header.at, Some(slot));
        Ok(self.receipt())
    }

    /// Carries the plan out; `key` is the slot of the set's key, if it is a set of its own. Nothing
    /// here can fail; a broken invariant stops the process.
    fn book(&mut self, at: Timestamp, key: Option<u32>) {
        for touched in &self.plan.touched {
            self.accounts.set_balances(touched.slot, &touched.after, at);
        }
        for held in &self.plan.held {
            let placed_by = match held.slot {
                Some(slot) => self.holds.on(slot).key,
                None => key.expect("only a set places holds"),
            };
            match (held.slot, held.resolution) {
                (None, None) => {
                    let on = held.on(&self.plan.touched, placed_by);
                    self.holds.insert(held.hold, on, true);
                }
                (None, Some(_)) => {}
                (Some(slot), None) => self.holds.update(slot, held.hold),
                (Some(slot), Some(_)) => self.holds.remove(slot),
            }
            if let Some(resolution) = held.resolution {
                self.keys.resolve(placed_by, held.hold.id(), resolution);
            }
        }
        std::mem::swap(&mut self.totals, &mut self.plan.totals);
        let rows = self.plan.rows().len();
        self.last_rows = u8::try_from(rows).expect("the set is bounded");
        self.head.next_journal += rows as u64;
        self.assert_conserved();
    }

    /// Of the set that was just booked.
    fn receipt(&self) -> Receipt<'_> {
        let rows = self.last_rows;
        let first = self.head.next_journal - u64::from(rows);
        Receipt { posted: Posted::New, first, rows, touched: &self.plan.touched }
    }

    /// An account.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }

    /// All accounts, in order of id. Sorts them: not for the hot path.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        let mut all: Vec<&Account> = self.accounts.iter().collect();
        all.sort_unstable_by_key(|account| account.id);
        all.into_iter()
    }

    /// A hold that is neither posted, voided nor expired.
    #[must_use]
    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(id)
    }

    /// All open holds, in order of id. Sorts them: not for the hot path.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.sorted().into_iter()
    }

    /// What is known of a set that was booked: where its rows are, and whether it was undone.
    #[must_use]
    pub fn set(&self, key: TransferKey) -> Option<KeyRow> {
        self.keys.row(key)
    }

    /// When the next hold expires; `None` when none ever will.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.holds.next_expiry().map(|(expires, _)| expires)
    }

    /// The number the next journal row will have.
    #[must_use]
    pub fn next_journal(&self) -> u64 {
        self.head.next_journal
    }

    /// What belongs to no single row: to be stored with the changes.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// What changed since the last call, beside [`Ledger::head`].
    pub fn take_changes(&mut self) -> Changes<'_> {
        self.plan.take_rows();
        self.accounts.take_changes();
        self.holds.take_changes();
        self.keys.take_changes();
        let Ledger { accounts, holds, keys, plan, .. } = self;
        let (journal, entries) = plan.taken();
        Changes { accounts, holds, keys, journal, entries }
    }

    pub(crate) fn set_head(&mut self, head: Head) {
        self.head = head;
    }
}

fn repeat(known: &Known) -> Receipt<'static> {
    Receipt { posted: Posted::Repeat, first: known.first, rows: known.rows, touched: &[] }
}
