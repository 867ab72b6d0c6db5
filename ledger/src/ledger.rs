//! The ledger of one partition: books linked sets, expires holds, hands out what changed.
//!
//! Invariants: per currency, debits equal credits, posted and pending, after every call; each key
//! is booked at most once; each hold is resolved at most once; a refused set leaves no trace; two
//! ledgers given the same calls give the same answers and the same changes, also when one was
//! restored from its rows in between.

use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};

use crate::account::{Account, Balances, Limit, NAME_BYTES_MAX};
use crate::error::LedgerError;
use crate::fingerprint::fingerprint;
use crate::idmap::IdMap;
use crate::plan::{Book, Plan, Stamp};
use crate::tables::{Accounts, Holds, Keys};
use crate::totals::Totals;
use crate::transfer::{Hold, HoldId, JournalRow, LEGS_MAX, Leg, Posted};

/// The ledger of one partition.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: Accounts,
    holds: Holds,
    keys: Keys,
    totals: Totals,
    next_journal: u64,
    /// Written since the last [`Ledger::take_changes`], which the caller calls once per log entry.
    journal: Vec<JournalRow>,
    plan: Plan,
}

/// Rows that changed since they were last taken, each table in order of its key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Accounts opened or touched, each once.
    pub accounts: Vec<Account>,
    /// Holds placed (`Some`) or resolved (`None`), each once.
    pub holds: Vec<(HoldId, Option<Hold>)>,
    /// Lines of the journal.
    pub journal: Vec<JournalRow>,
    /// Keys of sets booked, and keys whose holds were resolved: the row to store, to be handed back
    /// to [`Ledger::restore`] as it is.
    pub keys: Vec<(TransferKey, u64)>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The ledger whose rows these are. Their order does not matter.
    ///
    /// # Errors
    /// [`LedgerError::Inconsistent`] or [`LedgerError::NotConserved`] when the rows do not fit
    /// together.
    pub fn restore(
        accounts: Vec<Account>,
        holds: Vec<Hold>,
        keys: Vec<(TransferKey, u64)>,
        next_journal: u64,
    ) -> Result<Self, LedgerError> {
        let mut ledger = Self { next_journal, ..Self::default() };
        for account in accounts {
            if ledger.accounts.slot(account.id).is_some() {
                return Err(LedgerError::Inconsistent("an account stands there twice"));
            }
            ledger
                .totals
                .shift(account.currency, &Balances::default(), &account.balances())
                .ok_or(LedgerError::Inconsistent("balances overflow"))?;
            ledger.accounts.insert(account, false);
        }
        for (key, stored) in keys {
            if !ledger.keys.restore(key, stored) {
                return Err(LedgerError::Inconsistent("a key stands there twice"));
            }
        }
        for hold in holds {
            if ledger.holds.get(hold.id()).is_some() {
                return Err(LedgerError::Inconsistent("a hold stands there twice"));
            }
            ledger.holds.insert(hold, false);
        }
        ledger.audit()?;
        Ok(ledger)
    }

    /// Opens an account. Opening it again the same way does nothing.
    ///
    /// # Errors
    /// [`LedgerError::AccountDiffers`] when it is open with another name, currency or limit;
    /// [`LedgerError::NameTooLong`].
    pub fn open_account(
        &mut self,
        id: AccountId,
        name: &str,
        currency: Currency,
        limit: Limit,
    ) -> Result<(), LedgerError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(LedgerError::NameTooLong(id));
        }
        if let Some(known) = self.accounts.get(id) {
            let is_same =
                *known.name == *name && known.currency == currency && known.limit == limit;
            return if is_same { Ok(()) } else { Err(LedgerError::AccountDiffers(id)) };
        }
        let account = Account {
            id,
            name: name.into(),
            currency,
            limit,
            debits_pending: 0,
            debits_posted: 0,
            credits_pending: 0,
            credits_posted: 0,
        };
        self.accounts.insert(account, true);
        Ok(())
    }

    /// Books a linked set: all legs or none. `at` is the log's time, `effective_at` the value time.
    ///
    /// The same key with the same legs again is [`Posted::Repeat`]; a refused set does not use its
    /// key up.
    ///
    /// # Errors
    /// A [`LedgerError`] that says which rule the first offending leg breaks.
    pub fn post(
        &mut self,
        at: Timestamp,
        effective_at: Timestamp,
        key: TransferKey,
        legs: &[Leg],
    ) -> Result<Posted, LedgerError> {
        if legs.is_empty() {
            return Err(LedgerError::NoLegs);
        }
        if legs.len() > LEGS_MAX {
            return Err(LedgerError::TooManyLegs(legs.len()));
        }
        let fingerprint = fingerprint(legs);
        match self.keys.was_used_for(key, fingerprint) {
            Some(true) => return Ok(Posted::Repeat),
            Some(false) => return Err(LedgerError::KeyReused(key)),
            None => {}
        }
        let book = Book { accounts: &self.accounts, holds: &self.holds, keys: &self.keys };
        let stamp = Stamp { key, at, effective_at, next_journal: self.next_journal };
        self.plan.work_out(book, &self.totals, stamp, legs)?;
        self.keys.insert(key, fingerprint);
        self.book();
        Ok(Posted::New)
    }

    /// Gives back what is held by holds whose time is over, earliest first and at most `max`.
    pub fn expire(&mut self, now: Timestamp, max: usize) -> Vec<HoldId> {
        let mut expired = Vec::new();
        while expired.len() < max {
            let Some((expires, id)) = self.holds.next_expiry() else { break };
            if expires > now {
                break;
            }
            let hold = *self.holds.get(id).expect("an expiry belongs to an open hold");
            let book = Book { accounts: &self.accounts, holds: &self.holds, keys: &self.keys };
            self.plan.work_out_expiry(book, &self.totals, now, self.next_journal, &hold);
            self.book();
            expired.push(id);
        }
        expired
    }

    /// Carries the plan out. Nothing here can fail; a broken invariant stops the process.
    fn book(&mut self) {
        for touched in &self.plan.touched {
            self.accounts.set_balances(touched.slot, touched.after);
        }
        for hold in &self.plan.placed {
            self.holds.insert(*hold, true);
        }
        for (id, resolution) in &self.plan.resolved {
            self.holds.remove(*id);
            self.keys.resolve(*id, *resolution);
        }
        std::mem::swap(&mut self.totals, &mut self.plan.totals);
        self.next_journal += self.plan.rows.len() as u64;
        self.journal.append(&mut self.plan.rows);
        self.assert_conserved();
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

    /// All open holds, in order of id.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter()
    }

    /// When the next hold expires; `None` when none ever will.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.holds.next_expiry().map(|(expires, _)| expires)
    }

    /// The number the next journal row will have.
    #[must_use]
    pub fn next_journal(&self) -> u64 {
        self.next_journal
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        Changes {
            accounts: self.accounts.take_changes(),
            holds: self.holds.take_changes(),
            journal: std::mem::take(&mut self.journal),
            keys: self.keys.take_changes(),
        }
    }

    /// Debits equal credits in every currency, from totals kept along. Cheap: call it often.
    ///
    /// # Panics
    /// When they do not, in release builds too: better no answer than a wrong one.
    pub fn assert_conserved(&self) {
        if let Some(currency) = self.totals.first_unbalanced() {
            panic!("debits and credits in {currency} differ");
        }
    }

    /// Recounts everything from the rows: totals from accounts, pending sums from holds, limits.
    ///
    /// # Errors
    /// [`LedgerError::Inconsistent`] or [`LedgerError::NotConserved`], which both mean a bug or a
    /// damaged store.
    pub fn audit(&self) -> Result<(), LedgerError> {
        let mut totals = Totals::default();
        for account in self.accounts.iter() {
            if !account.balances().within(account.limit) {
                return Err(LedgerError::Inconsistent("an account is past its limit"));
            }
            totals
                .shift(account.currency, &Balances::default(), &account.balances())
                .ok_or(LedgerError::Inconsistent("balances overflow"))?;
        }
        if let Some(currency) = totals.first_unbalanced() {
            return Err(LedgerError::NotConserved(currency));
        }
        if !totals.is_same(&self.totals) {
            return Err(LedgerError::Inconsistent("totals differ from the sum of balances"));
        }
        self.audit_holds()
    }

    fn audit_holds(&self) -> Result<(), LedgerError> {
        let mut pending: IdMap<AccountId, (Amount, Amount)> = IdMap::default();
        pending.reserve(self.accounts.len());
        for hold in self.holds.iter() {
            let debit = self.accounts.get(hold.debit).map(|account| account.currency);
            let credit = self.accounts.get(hold.credit).map(|account| account.currency);
            if debit.is_none() || debit != credit {
                return Err(LedgerError::Inconsistent("a hold lacks accounts of one currency"));
            }
            if !self.keys.contains(hold.key) || usize::from(hold.leg) >= LEGS_MAX {
                return Err(LedgerError::Inconsistent("a hold lacks the key that placed it"));
            }
            if self.keys.resolution(hold.id()).is_some() {
                return Err(LedgerError::Inconsistent("a hold is open and resolved"));
            }
            let overflow = LedgerError::Inconsistent("holds overflow");
            let (debits, _) = pending.entry(hold.debit).or_default();
            *debits = debits.checked_add(hold.amount).ok_or(overflow.clone())?;
            let (_, credits) = pending.entry(hold.credit).or_default();
            *credits = credits.checked_add(hold.amount).ok_or(overflow)?;
        }
        for account in self.accounts.iter() {
            let (debits, credits) = pending.get(&account.id).copied().unwrap_or_default();
            if (debits, credits) != (account.debits_pending, account.credits_pending) {
                return Err(LedgerError::Inconsistent("pending sums differ from the holds"));
            }
        }
        Ok(())
    }
}
