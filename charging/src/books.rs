//! The books as a whole: periods are closed, debts are given up, money nobody can place is parked,
//! and what lies about is listed by its age.
//!
//! **Invariants**: nothing counts in a period after it was closed: what comes later counts from its
//! end, so the sums of a closed period never change; no more is written off than is owed, and no
//! more parked than lies there; each is booked once by its key.

use crate::accounts::Name;
use crate::command::{Outcome, Refusal};
use crate::config::AMOUNT_MAX;
use crate::partition::Partition;
use crate::state::State;
use novax_ledger::{Account, Code, LedgerError, Leg};
use novax_model::{
    AccountId, Amount, Currency, Duration, Identity, PartitionId, Timestamp, TransferKey,
};

/// First parts of the names of accounts that ought to return to zero.
const AGEING: [&str; 5] = ["clearing", "receivable", "suspense", "psp", "chargeback"];

/// Money that lies where it ought not to stay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ageing {
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: Box<str>,
    /// Its currency.
    pub currency: Currency,
    /// Posted debits less posted credits; never zero. Above zero it is owed to us.
    pub balance: i128,
    /// Since when it has not been at zero.
    pub since: Timestamp,
    /// How long that is.
    pub age: Duration,
}

impl Partition {
    /// Accounts that ought to be at zero and are not, the oldest first. Clearing with another
    /// partition is at zero only together with that one's clearing with this.
    #[must_use]
    pub fn ageing(&self, now: Timestamp) -> Vec<Ageing> {
        let accounts = self.state.ledger.accounts();
        let mut lines: Vec<Ageing> = accounts.filter_map(|account| age(account, now)).collect();
        lines.sort_by_key(|line| (line.since, line.account));
        lines
    }

    /// End of the last closed period of the books; zero when none was closed.
    #[must_use]
    pub fn closed_until(&self) -> Timestamp {
        self.state.ledger.head().closed_until
    }
}

fn age(account: &Account, now: Timestamp) -> Option<Ageing> {
    let first = account.name.split('/').next()?;
    let since = account.unbalanced_since.filter(|_| AGEING.contains(&first))?;
    let sum = |amount: Amount| i128::try_from(amount).unwrap_or(i128::MAX);
    Some(Ageing {
        account: account.id,
        name: account.name.clone(),
        currency: account.currency,
        balance: sum(account.debits_posted) - sum(account.credits_posted),
        since,
        age: Duration::from_micros(now.0.saturating_sub(since.0)),
    })
}

impl State {
    /// Closes the books up to a time that is over.
    pub(crate) fn close_books(&mut self, until: Timestamp) -> Result<Outcome, Refusal> {
        let now = self.now();
        match self.ledger.close_period(now, until) {
            Ok(()) => Ok(Outcome::Done),
            Err(error) => Err(Refusal::BadTerms(error.to_string().into())),
        }
    }

    /// A debt of a driver is given up.
    pub(crate) fn write_off(
        &mut self,
        key: TransferKey,
        driver: &Identity,
        amount: Amount,
    ) -> Result<Outcome, Refusal> {
        let currency = self.drivers.get(driver).ok_or(Refusal::UnknownDriver)?.currency;
        let debt = self.debts_of(driver, currency).map_err(|_| Refusal::KeyReused)?;
        let loss = self.open(Name::Party("write-off"), currency)?;
        let owed = self.balance_of(debt).max(0).unsigned_abs();
        self.move_at_most(key, (loss, debt), (amount, owed), Code::WriteOff)
    }

    /// Money out of a wallet, to wherever its driver wants it.
    pub(crate) fn pay_out(
        &mut self,
        key: TransferKey,
        driver: &Identity,
        amount: Amount,
    ) -> Result<Outcome, Refusal> {
        let row = self.drivers.get(driver).ok_or(Refusal::UnknownDriver)?;
        let (wallet, currency) = (row.wallet, row.currency);
        let funding = self.open(Name::Funding, currency)?;
        let available = self.available(wallet);
        self.move_at_most(key, (wallet, funding), (amount, available), Code::Payout)?;
        Ok(Outcome::Deposited { available: self.available(wallet) })
    }

    /// What lies on clearing with a partition, and nobody can say whose it is, goes to suspense: what
    /// came and did not go on, or what went on and never came.
    pub(crate) fn park_money(
        &mut self,
        key: TransferKey,
        with: PartitionId,
        currency: Currency,
        amount: Amount,
    ) -> Result<Outcome, Refusal> {
        let clearing = self.open(Name::Clearing(with), currency)?;
        let suspense = self.open(Name::Party("suspense"), currency)?;
        let balance = self.balance_of(clearing);
        let known = self.ledger.set(key).is_some();
        // A repeat finds another balance, and must name the same legs.
        let (first, second) = ((clearing, suspense), (suspense, clearing));
        let bounds = (amount, balance.unsigned_abs());
        let way = if balance <= 0 { first } else { second };
        match self.move_at_most(key, way, bounds, Code::Suspense) {
            Err(Refusal::KeyReused) if known => {
                let other = if way == first { second } else { first };
                self.move_at_most(key, other, bounds, Code::Suspense)
            }
            done => done,
        }
    }

    /// Posted debits less posted credits.
    fn balance_of(&self, account: AccountId) -> i128 {
        let sum = |amount: Amount| i128::try_from(amount).unwrap_or(i128::MAX);
        let account = self.ledger.account(account);
        account.map_or(0, |account| sum(account.debits_posted) - sum(account.credits_posted))
    }

    /// Moves an amount once, if there is so much.
    fn move_at_most(
        &mut self,
        key: TransferKey,
        (debit, credit): (AccountId, AccountId),
        (amount, available): (Amount, Amount),
        code: Code,
    ) -> Result<Outcome, Refusal> {
        if amount == 0 || amount > AMOUNT_MAX {
            return Err(Refusal::Full);
        }
        if self.ledger.set(key).is_none() && amount > available {
            return Err(Refusal::InsufficientFunds { available, required: amount });
        }
        let stamp = self.stamp(self.now());
        match self.ledger.post(stamp, key, &[Leg::Post { debit, credit, amount, code }]) {
            Ok(_) => Ok(Outcome::Done),
            Err(LedgerError::KeyReused(_)) => Err(Refusal::KeyReused),
            Err(_) => Err(Refusal::Full),
        }
    }
}
