//! Double entry worked out anew: what an auditor would do with the journal and no access to the
//! ledger. Shares none of the ledger's code but the rows' types.
//!
//! Claims checked, for every transaction: numbers, log indexes and times run on; each key is booked
//! once; each row moves money between two accounts
//! of one currency; what is set aside is resolved once, whole, and between the same accounts; what is
//! undone was booked, and is not undone twice; sides of an exchange are in two currencies. At any
//! time debits equal credits, per currency.

use std::collections::{BTreeMap, BTreeSet};

use novax_ledger::{EntryKind, HoldId, JournalRow};
use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};

use crate::canonical::Transaction;

/// Why the books are wrong.
type Breach = String;

/// The four sums of an account, or of all accounts of a currency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) debits: Amount,
    pub(crate) credits: Amount,
    pub(crate) held_debits: Amount,
    pub(crate) held_credits: Amount,
}

/// What is set aside and not resolved.
#[derive(Clone, Copy)]
struct Held {
    debit: AccountId,
    credit: AccountId,
    currency: Currency,
    amount: Amount,
}

/// What is remembered of a set.
struct Set {
    /// The sum over its rows that moved money, less what was undone.
    left: Amount,
    is_reversal: bool,
}

/// The books, as far as they have been read.
pub(crate) struct Books {
    /// Whether the journal was read from its first row on: if not, sets and holds from before are
    /// taken on trust, and counted.
    is_whole: bool,
    next_number: u64,
    last_index: u64,
    last_at: Timestamp,
    sets: BTreeMap<TransferKey, Set>,
    holds: BTreeMap<HoldId, Held>,
    /// Holds from before the export, once resolved.
    foreign: BTreeSet<HoldId>,
    accounts: BTreeMap<AccountId, (Currency, Sums)>,
    pub(crate) rows: u64,
    /// How often something from before the export was taken on trust.
    pub(crate) on_trust: u64,
}

impl Books {
    pub(crate) fn new(is_whole: bool, next_number: u64) -> Self {
        Self {
            is_whole,
            next_number,
            last_index: 0,
            last_at: Timestamp(0),
            sets: BTreeMap::new(),
            holds: BTreeMap::new(),
            foreign: BTreeSet::new(),
            accounts: BTreeMap::new(),
            rows: 0,
            on_trust: 0,
        }
    }

    /// Books one transaction.
    pub(crate) fn book(&mut self, transaction: &Transaction) -> Result<(), Breach> {
        let first = transaction.first();
        self.run_on(first, transaction.rows.len() as u64)?;
        let is_expiry = first.kind == EntryKind::Expired;
        if is_expiry {
            self.know(first.key, "the set whose hold expires")?;
        } else if self.sets.contains_key(&first.key) {
            return Err(format!("key {} is booked a second time", first.key));
        }
        let mut moved: Amount = 0;
        for row in &transaction.rows {
            self.row(row)?;
            if row.kind.is_movement() {
                moved = moved.checked_add(row.amount).ok_or("the set moves too much")?;
            }
        }
        if let Some(original) = first.reverses {
            self.undo(original, moved, transaction)?;
        }
        check_exchange(&transaction.rows)?;
        if !is_expiry {
            let is_reversal = first.reverses.is_some();
            self.sets.insert(first.key, Set { left: moved, is_reversal });
        }
        self.rows += transaction.rows.len() as u64;
        Ok(())
    }

    /// What is debited is credited, in every currency, posted and held.
    pub(crate) fn trial_balance(&self) -> Result<BTreeMap<Currency, Sums>, Breach> {
        let mut balances: BTreeMap<Currency, Sums> = BTreeMap::new();
        for (currency, sums) in self.accounts.values() {
            let total = balances.entry(*currency).or_default();
            add(&mut total.debits, sums.debits)?;
            add(&mut total.credits, sums.credits)?;
            add(&mut total.held_debits, sums.held_debits)?;
            add(&mut total.held_credits, sums.held_credits)?;
        }
        for (currency, total) in &balances {
            if (total.debits, total.held_debits) != (total.credits, total.held_credits) {
                return Err(format!("debits and credits in {currency} differ"));
            }
        }
        Ok(balances)
    }

    pub(crate) fn accounts(&self) -> u64 {
        self.accounts.len() as u64
    }

    pub(crate) fn open_holds(&self) -> u64 {
        self.holds.len() as u64
    }

    /// Numbers, log indexes and times only grow.
    fn run_on(&mut self, first: &JournalRow, count: u64) -> Result<(), Breach> {
        if first.number != self.next_number {
            return Err(format!("row {} is due, row {} comes", self.next_number, first.number));
        }
        if first.index < self.last_index || first.at < self.last_at {
            return Err("it was booked before the transaction that stands before it".into());
        }
        if first.effective_at < first.stated_at {
            return Err("its value time is earlier than the caller stated".into());
        }
        self.next_number = first.number.checked_add(count).ok_or("the numbers run out")?;
        self.last_index = first.index;
        self.last_at = first.at;
        Ok(())
    }

    /// Whether a set was booked in what was read, or may have been before.
    fn know(&mut self, key: TransferKey, what: &str) -> Result<(), Breach> {
        if self.sets.contains_key(&key) {
            return Ok(());
        }
        if self.is_whole {
            return Err(format!("{what}, {key}, was never booked"));
        }
        self.on_trust += 1;
        Ok(())
    }

    fn row(&mut self, row: &JournalRow) -> Result<(), Breach> {
        if row.debit == row.credit {
            return Err(format!("account {} stands on both sides", row.debit));
        }
        let hold = row.hold.map(|id| self.resolve_or_place(row, id)).transpose()?;
        let (held_before, held_after) = hold.unwrap_or((0, 0));
        let moves = match row.kind {
            EntryKind::Posted => {
                let is_right = row.hold.is_none() && row.amount > 0 && row.released == 0;
                is_right.then_some(row.amount)
            }
            EntryKind::Held | EntryKind::HeldMore => {
                let is_right = row.hold.is_some() && row.released == 0;
                is_right.then_some(0)
            }
            EntryKind::PostedHold => {
                let is_right = row.hold.is_some() && row.amount > 0;
                is_right.then_some(row.amount)
            }
            EntryKind::Voided | EntryKind::Expired => {
                let is_right = row.hold.is_some() && row.amount == 0;
                is_right.then_some(0)
            }
        };
        let Some(moved) = moves else {
            return Err(format!("a {} row does not have such amounts", row.kind.as_str()));
        };
        let debit = self.account(row.debit, row.currency)?;
        add(&mut debit.debits, moved)?;
        shift(&mut debit.held_debits, held_before, held_after)?;
        let credit = self.account(row.credit, row.currency)?;
        add(&mut credit.credits, moved)?;
        shift(&mut credit.held_credits, held_before, held_after)
    }

    fn account(&mut self, id: AccountId, currency: Currency) -> Result<&mut Sums, Breach> {
        let (kept_in, sums) = self.accounts.entry(id).or_insert((currency, Sums::default()));
        if *kept_in != currency {
            return Err(format!("account {id} is kept in {kept_in}, not in {currency}"));
        }
        Ok(sums)
    }

    /// How much was held under `id` before and after a row, as far as it was set aside in what was
    /// read.
    fn resolve_or_place(
        &mut self,
        row: &JournalRow,
        id: HoldId,
    ) -> Result<(Amount, Amount), Breach> {
        if row.kind == EntryKind::Held {
            return self.place(row, id);
        }
        let Some(held) = self.holds.get(&id).copied() else {
            return self.resolve_foreign(row, id);
        };
        let is_same =
            (held.debit, held.credit, held.currency) == (row.debit, row.credit, row.currency);
        if !is_same {
            return Err(format!("hold {id} was placed between other accounts"));
        }
        if row.kind == EntryKind::HeldMore {
            let mut amount = held.amount;
            add(&mut amount, row.amount)?;
            self.holds.insert(id, Held { amount, ..held });
            return Ok((held.amount, amount));
        }
        if row.amount.checked_add(row.released) != Some(held.amount) {
            return Err(format!(
                "hold {id} is of {}, which the row does not account for",
                held.amount
            ));
        }
        if row.kind == EntryKind::Expired && (row.key, row.leg) != (id.key, id.leg) {
            return Err(format!("hold {id} expires under another set"));
        }
        self.holds.remove(&id);
        Ok((held.amount, 0))
    }

    fn place(&mut self, row: &JournalRow, id: HoldId) -> Result<(Amount, Amount), Breach> {
        if (row.key, row.leg) != (id.key, id.leg) || row.amount == 0 {
            return Err(format!("hold {id} is placed by another leg, or is of nothing"));
        }
        let held = Held {
            debit: row.debit,
            credit: row.credit,
            currency: row.currency,
            amount: row.amount,
        };
        if self.holds.insert(id, held).is_some() {
            return Err(format!("hold {id} is placed a second time"));
        }
        Ok((0, row.amount))
    }

    /// A hold that is not open: resolved before, or placed before the export began.
    fn resolve_foreign(
        &mut self,
        row: &JournalRow,
        id: HoldId,
    ) -> Result<(Amount, Amount), Breach> {
        let is_placed_here = id.key == row.key || self.sets.contains_key(&id.key);
        let is_raise = row.kind == EntryKind::HeldMore;
        if self.is_whole || (is_placed_here && row.kind != EntryKind::Expired) {
            return Err(format!("hold {id} is not open: it was resolved before, or never placed"));
        }
        if self.foreign.contains(&id) {
            return Err(format!("hold {id} is resolved a second time"));
        }
        if !is_raise {
            self.foreign.insert(id);
        }
        self.on_trust += 1;
        Ok((0, 0))
    }

    /// Takes what a reversal moves from what is left of the original.
    fn undo(
        &mut self,
        original: TransferKey,
        moved: Amount,
        transaction: &Transaction,
    ) -> Result<(), Breach> {
        if transaction.rows.iter().any(|row| row.kind != EntryKind::Posted) {
            return Err("a reversal does more than to move money back".into());
        }
        self.know(original, "the set that is undone")?;
        let Some(set) = self.sets.get_mut(&original) else { return Ok(()) };
        if set.is_reversal {
            return Err(format!("set {original} is itself a reversal"));
        }
        let Some(left) = set.left.checked_sub(moved) else {
            return Err(format!("more of set {original} is undone than it moved"));
        };
        set.left = left;
        Ok(())
    }
}

/// Rows that name a rate are in exactly two currencies.
fn check_exchange(rows: &[JournalRow]) -> Result<(), Breach> {
    for row in rows {
        let Some(rate) = row.rate else { continue };
        let sides = rows.iter().filter(|other| other.rate == Some(rate));
        let currencies: BTreeSet<Currency> = sides.map(|side| side.currency).collect();
        if currencies.len() != 2 {
            return Err(format!("rate {rate} is used for {} currencies", currencies.len()));
        }
    }
    Ok(())
}

fn add(sum: &mut Amount, amount: Amount) -> Result<(), Breach> {
    *sum = sum.checked_add(amount).ok_or("a sum does not fit 128 bits")?;
    Ok(())
}

fn shift(sum: &mut Amount, before: Amount, after: Amount) -> Result<(), Breach> {
    let shifted = sum.checked_sub(before).and_then(|rest| rest.checked_add(after));
    *sum = shifted.ok_or("what is held does not add up")?;
    Ok(())
}
