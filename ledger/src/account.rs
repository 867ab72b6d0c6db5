//! An account: four sums that only grow or return, and a limit.
//!
//! Debits and credits are kept apart, and held (pending) apart from booked (posted), so that no
//! balance is ever negative and each sum can be checked by itself. A limit counts what is held
//! against the account: resolving a hold can therefore never break it.

use novax_model::{AccountId, Amount, Currency, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};

/// The name of an account whose own was erased.
pub const NAME_ERASED: &str = "erased";

/// The most bytes the name of an account may have.
pub const NAME_BYTES_MAX: usize = 128;

/// What an account must never do.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[rkyv(derive(Debug))]
pub enum Limit {
    /// Anything goes.
    None,
    /// A wallet: it cannot give more than it was given.
    DebitsMustNotExceedCredits,
    /// The other way round: it cannot be given more than it gave.
    CreditsMustNotExceedDebits,
}

/// An account and its balances, in minor units of its currency.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its place in the chart of accounts, for people.
    pub name: Box<str>,
    /// The one currency it is kept in.
    pub currency: Currency,
    /// What it must never do.
    pub limit: Limit,
    /// Held, to be debited.
    pub debits_pending: Amount,
    /// Debited.
    pub debits_posted: Amount,
    /// Held elsewhere, to be credited here.
    pub credits_pending: Amount,
    /// Credited.
    pub credits_posted: Amount,
    /// Takes no new legs. What is held on it can still be resolved.
    pub is_closed: bool,
    /// Each row that touches it leaves an [`crate::AccountEntry`].
    pub has_history: bool,
    /// Belongs to a person: its name may be erased.
    pub is_personal: bool,
    /// When it was opened.
    pub opened: Timestamp,
    /// Since when posted debits and credits differ; `None` while they are equal. The age of what
    /// lies on a clearing or suspense account.
    pub unbalanced_since: Option<Timestamp>,
}

/// What an account is opened as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening<'a> {
    /// Its id.
    pub id: AccountId,
    /// Its place in the chart of accounts, for people.
    pub name: &'a str,
    /// The one currency it is kept in.
    pub currency: Currency,
    /// What it must never do.
    pub limit: Limit,
    /// Whether each row that touches it leaves an [`crate::AccountEntry`].
    pub has_history: bool,
    /// Whether it belongs to a person.
    pub is_personal: bool,
}

impl<'a> Opening<'a> {
    /// An account that keeps no history and belongs to nobody in person.
    #[must_use]
    pub fn new(id: AccountId, name: &'a str, currency: Currency, limit: Limit) -> Self {
        Opening { id, name, currency, limit, has_history: false, is_personal: false }
    }

    /// Whether `account` was opened as this.
    pub(crate) fn is_of(&self, account: &Account) -> bool {
        account.id == self.id
            && *account.name == *self.name
            && account.currency == self.currency
            && account.limit == self.limit
            && account.has_history == self.has_history
            && account.is_personal == self.is_personal
    }

    pub(crate) fn open(&self, at: Timestamp) -> Account {
        Account {
            id: self.id,
            name: self.name.into(),
            currency: self.currency,
            limit: self.limit,
            debits_pending: 0,
            debits_posted: 0,
            credits_pending: 0,
            credits_posted: 0,
            is_closed: false,
            has_history: self.has_history,
            is_personal: self.is_personal,
            opened: at,
            unbalanced_since: None,
        }
    }
}

impl Account {
    /// What can still be debited: credits less debits less what is held. Zero, not negative, for
    /// an account without limit that has given more than it was given.
    #[must_use]
    pub fn available(&self) -> Amount {
        self.balances().debit_room()
    }

    /// Its four sums.
    #[must_use]
    pub fn balances(&self) -> Balances {
        Balances {
            debits_pending: self.debits_pending,
            debits_posted: self.debits_posted,
            credits_pending: self.credits_pending,
            credits_posted: self.credits_posted,
        }
    }

    pub(crate) fn set_balances(&mut self, balances: &Balances, at: Timestamp) {
        if balances.debits_posted == balances.credits_posted {
            self.unbalanced_since = None;
        } else if self.unbalanced_since.is_none() {
            self.unbalanced_since = Some(at);
        }
        self.debits_pending = balances.debits_pending;
        self.debits_posted = balances.debits_posted;
        self.credits_pending = balances.credits_pending;
        self.credits_posted = balances.credits_posted;
    }
}

/// The four sums of an account, or of all accounts of a currency.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Balances {
    /// Held, to be debited.
    pub debits_pending: Amount,
    /// Debited.
    pub debits_posted: Amount,
    /// Held elsewhere, to be credited here.
    pub credits_pending: Amount,
    /// Credited.
    pub credits_posted: Amount,
}

impl Balances {
    /// What can be debited before debits, held ones included, exceed posted credits.
    #[must_use]
    pub fn debit_room(&self) -> Amount {
        self.credits_posted.saturating_sub(self.debits_posted).saturating_sub(self.debits_pending)
    }

    /// What can be credited before credits, held ones included, exceed posted debits.
    #[must_use]
    pub fn credit_room(&self) -> Amount {
        self.debits_posted.saturating_sub(self.credits_posted).saturating_sub(self.credits_pending)
    }

    /// Whether the sums respect `limit`; `false` also when they overflow.
    pub(crate) fn within(&self, limit: Limit) -> bool {
        let fits = |pending: Amount, posted: Amount, bound: Amount| {
            pending.checked_add(posted).is_some_and(|sum| sum <= bound)
        };
        match limit {
            Limit::None => true,
            Limit::DebitsMustNotExceedCredits => {
                fits(self.debits_pending, self.debits_posted, self.credits_posted)
            }
            Limit::CreditsMustNotExceedDebits => {
                fits(self.credits_pending, self.credits_posted, self.debits_posted)
            }
        }
    }

    /// Moves each sum by what it went from `before` to `after`; `None` when one would not fit, and
    /// then the sums are of no use any more.
    #[inline]
    pub(crate) fn shift(&mut self, before: &Balances, after: &Balances) -> Option<()> {
        let shift = |total: &mut Amount, before: Amount, after: Amount| {
            // Most steps move one or two of the four.
            if before != after {
                *total = total.checked_sub(before)?.checked_add(after)?;
            }
            Some(())
        };
        shift(&mut self.debits_pending, before.debits_pending, after.debits_pending)?;
        shift(&mut self.debits_posted, before.debits_posted, after.debits_posted)?;
        shift(&mut self.credits_pending, before.credits_pending, after.credits_pending)?;
        shift(&mut self.credits_posted, before.credits_posted, after.credits_posted)
    }

    /// Double entry: what is debited is credited, held or posted.
    pub(crate) fn is_conserved(&self) -> bool {
        self.debits_pending == self.credits_pending && self.debits_posted == self.credits_posted
    }
}
