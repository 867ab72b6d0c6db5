//! What rows and journal say, for whoever writes documents.
//!
//! **Invariants**: a set of the journal is read whole; no more than [`ROWS_MAX`] rows of one kind go into
//! one document.

use super::NoDocument;
use novax_charging::document::{billings_of, billings_since};
use novax_charging::rows::{self, CorruptRow, MetaRow, SessionRow, SiteRow, TermsRow};
use novax_charging::{BillingRow, Keyspace, TermsId, is_reserved};
use novax_engine::Snapshot;
use novax_ledger::{Account, Code, JournalRow};
use novax_model::{AccountId, Currency, PartitionId, SessionId, Timestamp};
use novax_settlement::contract::RevenueContract;
use novax_statements::facts::Minor;
use novax_tariff::Tariff;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Rows of one kind that one document looks at.
pub const ROWS_MAX: usize = 1_000_000;

/// Which side of a document an account is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A party of contracts, by its name.
    Party(Box<str>),
    /// A state.
    Tax,
    /// Drivers, providers, clearing and the like: money on its way.
    Other,
}

/// What a set of the journal brought to whom.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Movement {
    /// To parties.
    pub net: Minor,
    /// To tax accounts.
    pub tax: Minor,
    /// To each party.
    pub shares: BTreeMap<Box<str>, Minor>,
}

impl Movement {
    /// Net and tax.
    #[must_use]
    pub fn gross(&self) -> Minor {
        self.net + self.tax
    }
}

/// One partition as of a snapshot.
#[derive(Debug)]
pub struct Part<'a> {
    /// Which.
    pub partition: PartitionId,
    snapshot: &'a Snapshot,
    owners: RefCell<BTreeMap<AccountId, Owner>>,
}

/// What reads a row.
type Parse<T> = fn(&[u8]) -> Result<T, CorruptRow>;

impl<'a> Part<'a> {
    /// Over a snapshot.
    #[must_use]
    pub fn new(partition: PartitionId, snapshot: &'a Snapshot) -> Part<'a> {
        Part { partition, snapshot, owners: RefCell::default() }
    }

    /// One row.
    ///
    /// # Errors
    /// [`NoDocument::Storage`].
    pub fn get<T>(
        &self,
        keyspace: Keyspace,
        key: &[u8],
        parse: Parse<T>,
    ) -> Result<Option<T>, NoDocument> {
        let value = self.snapshot.get(keyspace as u8, key)?;
        Ok(value.map(|bytes| parse(&bytes)).transpose()?)
    }

    /// A value as it is stored.
    ///
    /// # Errors
    /// [`NoDocument::Storage`].
    pub fn bytes(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, NoDocument> {
        Ok(self.snapshot.get(keyspace as u8, key)?)
    }

    /// Keys and values from one key on to another, exclusive.
    ///
    /// # Errors
    /// [`NoDocument::Storage`]; [`NoDocument::TooMuch`].
    pub fn range(
        &self,
        keyspace: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        mut look: impl FnMut(Vec<u8>, Vec<u8>) -> Result<bool, NoDocument>,
    ) -> Result<(), NoDocument> {
        for (count, row) in self.snapshot.range(keyspace as u8, from, to).enumerate() {
            if count == ROWS_MAX {
                let (what, got) = ("rows to look at", count + 1);
                return Err(NoDocument::TooMuch { what, got, max: ROWS_MAX });
            }
            let (key, value) = row?;
            if !look(key, value)? {
                break;
            }
        }
        Ok(())
    }

    /// A session.
    ///
    /// # Errors
    /// [`NoDocument::Storage`].
    pub fn session(&self, id: SessionId) -> Result<Option<SessionRow>, NoDocument> {
        self.get(Keyspace::Sessions, &id.0.to_be_bytes(), rows::read)
    }

    /// A site.
    ///
    /// # Errors
    /// [`NoDocument::Storage`].
    pub fn site(&self, site: &str) -> Result<Option<SiteRow>, NoDocument> {
        self.get(Keyspace::Sites, site.as_bytes(), rows::read)
    }

    fn terms(&self, kind: u8, id: TermsId) -> Result<Option<TermsRow>, NoDocument> {
        let key = [&[kind][..], &id.0.to_be_bytes()].concat();
        self.get(Keyspace::Terms, &key, rows::read)
    }

    /// A session's tariff.
    ///
    /// # Errors
    /// [`NoDocument::Storage`] also when it is not there: rows that are referred to are kept for ever.
    pub fn tariff(&self, id: TermsId) -> Result<Tariff, NoDocument> {
        match self.terms(0, id)? {
            Some(TermsRow::Tariff(tariff)) => Ok(tariff),
            _ => Err(NoDocument::Storage(format!("the tariff {id} is missing"))),
        }
    }

    /// A session's contract.
    ///
    /// # Errors
    /// As [`Part::tariff`].
    pub fn contract(&self, id: TermsId) -> Result<RevenueContract, NoDocument> {
        match self.terms(1, id)? {
            Some(TermsRow::Contract(contract)) => Ok(contract),
            _ => Err(NoDocument::Storage(format!("the contract {id} is missing"))),
        }
    }

    /// What was booked of sessions in a period, in order of time.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub fn billings(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<BillingRow>, NoDocument> {
        self.billing_rows(&billings_since(from), &billings_since(until))
    }

    /// What was booked of a session: its bill, its adjustments, its refunds.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub fn billings_of(&self, session: SessionId) -> Result<Vec<BillingRow>, NoDocument> {
        let from = billings_of(session);
        let to = match session.0.checked_add(1) {
            Some(next) => billings_of(SessionId(next)),
            None => billings_since(Timestamp::ZERO),
        };
        self.billing_rows(&from, &to)
    }

    fn billing_rows(&self, from: &[u8], to: &[u8]) -> Result<Vec<BillingRow>, NoDocument> {
        let mut found = Vec::new();
        self.range(Keyspace::Billings, from, Some(to), |_, value| {
            found.push(rows::read::<BillingRow>(&value)?);
            Ok(true)
        })?;
        Ok(found)
    }

    /// The rows of a set of the journal.
    ///
    /// # Errors
    /// [`NoDocument::Storage`] also when one of them is missing.
    pub fn set(&self, billing: &BillingRow) -> Result<Vec<JournalRow>, NoDocument> {
        let numbers = billing.first..billing.first + u64::from(billing.rows);
        numbers.map(|number| self.journal_row(number)).collect()
    }

    /// One row of the journal.
    ///
    /// # Errors
    /// [`NoDocument::Storage`] also when it is missing.
    pub fn journal_row(&self, number: u64) -> Result<JournalRow, NoDocument> {
        let row = self.get(Keyspace::Transfers, &number.to_be_bytes(), rows::read)?;
        row.ok_or_else(|| NoDocument::Storage(format!("row {number} of the journal is missing")))
    }

    /// The number of the first row of the journal that was booked at a time or later; of the next to be
    /// written, when there is none.
    ///
    /// # Errors
    /// [`NoDocument::Storage`].
    pub fn journal_since(&self, at: Timestamp) -> Result<u64, NoDocument> {
        let meta = self.get(Keyspace::Meta, b"meta", rows::read::<MetaRow>)?;
        let (mut low, mut high) = (0, meta.map_or(0, |meta| meta.next_journal));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.journal_row(middle)?.at < at { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// The journal from a row on, while `look` says so.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub fn journal(
        &self,
        first: u64,
        mut look: impl FnMut(&JournalRow) -> Result<bool, NoDocument>,
    ) -> Result<(), NoDocument> {
        self.range(Keyspace::Transfers, &first.to_be_bytes(), None, |_, value| {
            look(&rows::read::<JournalRow>(&value)?)
        })
    }

    /// An account.
    ///
    /// # Errors
    /// [`NoDocument::Storage`].
    pub fn account(&self, id: AccountId) -> Result<Option<Account>, NoDocument> {
        self.get(Keyspace::Accounts, &id.0.to_be_bytes(), rows::read)
    }

    /// All accounts.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub fn accounts(
        &self,
        mut look: impl FnMut(Account) -> Result<(), NoDocument>,
    ) -> Result<(), NoDocument> {
        self.range(Keyspace::Accounts, &[], None, |_, value| {
            look(rows::read::<Account>(&value)?)?;
            Ok(true)
        })
    }

    /// Whose an account is.
    ///
    /// # Errors
    /// [`NoDocument::Storage`].
    pub fn owner(&self, id: AccountId) -> Result<Owner, NoDocument> {
        if let Some(known) = self.owners.borrow().get(&id) {
            return Ok(known.clone());
        }
        let account = self.account(id)?;
        let account =
            account.ok_or_else(|| NoDocument::Storage(format!("account {id} is missing")))?;
        let owner = owner_of(&account);
        self.owners.borrow_mut().insert(id, owner.clone());
        Ok(owner)
    }

    /// Adds what a row of the journal brought to parties and states, if it was in this currency.
    ///
    /// # Errors
    /// [`NoDocument::Storage`].
    pub fn add(
        &self,
        movement: &mut Movement,
        row: &JournalRow,
        currency: Currency,
    ) -> Result<(), NoDocument> {
        if !row.kind.is_movement() || row.currency != currency {
            return Ok(());
        }
        let amount = Minor::try_from(row.amount)
            .map_err(|_| NoDocument::Storage("an amount past all bounds".to_owned()))?;
        for (account, amount) in [(row.credit, amount), (row.debit, -amount)] {
            match self.owner(account)? {
                Owner::Party(name) => {
                    movement.net += amount;
                    *movement.shares.entry(name).or_default() += amount;
                }
                Owner::Tax => movement.tax += amount,
                Owner::Other => {}
            }
        }
        Ok(())
    }

    /// What a set brought to whom.
    ///
    /// # Errors
    /// [`NoDocument::Storage`].
    pub fn movement(
        &self,
        billing: &BillingRow,
        currency: Currency,
    ) -> Result<Movement, NoDocument> {
        let mut movement = Movement::default();
        for row in self.set(billing)? {
            self.add(&mut movement, &row, currency)?;
        }
        movement.shares.retain(|_, amount| *amount != 0);
        Ok(movement)
    }
}

fn owner_of(account: &Account) -> Owner {
    let first = account.name.split('/').next().unwrap_or_default();
    if first == "tax" {
        Owner::Tax
    } else if account.is_personal || is_reserved(&account.name) {
        Owner::Other
    } else {
        Owner::Party(account.name.clone())
    }
}

/// Whether a row of the journal is of a session's revenue: a share of its bill, a tax of it, or a part of
/// either that went back.
#[must_use]
pub fn is_revenue(code: Code) -> bool {
    matches!(
        code,
        Code::OperatorShare
            | Code::SiteHostShare
            | Code::SupplierShare
            | Code::GridFee
            | Code::PlatformShare
            | Code::RoamingShare
            | Code::PspFee
            | Code::PartnerShare
            | Code::Tax
            | Code::Refund
    )
}
