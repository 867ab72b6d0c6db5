//! A ledger from its rows, and the proof that its rows fit together.

use novax_model::Amount;

use crate::account::Balances;
use crate::error::LedgerError;
use crate::holds::HeldOn;
use crate::ledger::{Ledger, Rows};
use crate::totals::Totals;
use crate::transfer::{HOLD_LEGS_MAX, Hold};

impl Ledger {
    /// The ledger whose rows these are.
    ///
    /// # Errors
    /// [`LedgerError::Inconsistent`] or [`LedgerError::NotConserved`] when the rows do not fit
    /// together.
    pub fn restore(rows: Rows) -> Result<Self, LedgerError> {
        let mut ledger = Self::default();
        ledger.set_head(rows.head);
        for account in rows.accounts {
            if ledger.accounts.slot(account.id).is_some() {
                return Err(LedgerError::Inconsistent("an account stands there twice"));
            }
            ledger
                .totals
                .shift(account.currency, &Balances::default(), &account.balances())
                .ok_or(LedgerError::Inconsistent("balances overflow"))?;
            ledger.accounts.insert(account, false);
        }
        ledger.keys.restore(rows.keys)?;
        for hold in rows.holds {
            if ledger.holds.get(hold.id()).is_some() {
                return Err(LedgerError::Inconsistent("a hold stands there twice"));
            }
            let on = ledger.belongs_to(&hold)?;
            ledger.holds.insert(hold, on, false);
        }
        ledger.audit()?;
        Ok(ledger)
    }

    /// Where the rows stand that a stored hold belongs to.
    fn belongs_to(&self, hold: &Hold) -> Result<HeldOn, LedgerError> {
        let (debit, credit) = (self.accounts.slot(hold.debit), self.accounts.slot(hold.credit));
        let (Some(debit), Some(credit)) = (debit, credit) else {
            return Err(LedgerError::Inconsistent("a hold lacks accounts of one currency"));
        };
        let key = self.keys.slot(hold.key);
        let key = key.ok_or(LedgerError::Inconsistent("a hold lacks the key that placed it"))?;
        Ok(HeldOn { debit, credit, key })
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
            let is_balanced = account.debits_posted == account.credits_posted;
            if is_balanced != account.unbalanced_since.is_none() {
                return Err(LedgerError::Inconsistent("an account's age belies its balance"));
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
        let mut pending = vec![(0 as Amount, 0 as Amount); self.accounts.len()];
        for (hold, on) in self.holds.open() {
            let (debit, credit) = (self.accounts.at(on.debit), self.accounts.at(on.credit));
            let is_on = debit.id == hold.debit && credit.id == hold.credit;
            if !is_on || debit.currency != credit.currency {
                return Err(LedgerError::Inconsistent("a hold lacks accounts of one currency"));
            }
            let placed_by = self.keys.slot(hold.key);
            if placed_by != Some(on.key) || usize::from(hold.leg) >= HOLD_LEGS_MAX {
                return Err(LedgerError::Inconsistent("a hold lacks the key that placed it"));
            }
            if self.keys.resolution(hold.id()).is_some() {
                return Err(LedgerError::Inconsistent("a hold is open and resolved"));
            }
            let overflow = LedgerError::Inconsistent("holds overflow");
            let (debits, _) = &mut pending[on.debit as usize];
            *debits = debits.checked_add(hold.amount).ok_or(overflow.clone())?;
            let (_, credits) = &mut pending[on.credit as usize];
            *credits = credits.checked_add(hold.amount).ok_or(overflow)?;
        }
        if self.keys.open_holds() != self.holds.len() {
            return Err(LedgerError::Inconsistent("keys count other holds than are open"));
        }
        for (account, (debits, credits)) in self.accounts.iter().zip(pending) {
            if (debits, credits) != (account.debits_pending, account.credits_pending) {
                return Err(LedgerError::Inconsistent("pending sums differ from the holds"));
            }
        }
        Ok(())
    }
}
