//! A ledger as plainly as it can be written: it copies everything before each set, remembers
//! everything, counts refunds out unit by unit, and knows no tables but sorted maps.

use std::collections::BTreeMap;

use novax_ledger::{
    AccountEntry, Balances, Code, EntryKind, HOLD_LEGS_MAX, Hold, HoldId, JournalRow, LEGS_MAX,
    LedgerError, Leg, Limit, POST_ALL, Posted, RateId, Stamp, Undone,
};
use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Fate {
    Open,
    Posted,
    Voided,
    Expired,
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveAccount {
    pub(crate) currency: Currency,
    pub(crate) limit: Limit,
    pub(crate) is_closed: bool,
    pub(crate) has_history: bool,
    pub(crate) unbalanced_since: Option<Timestamp>,
    /// Held to debit, debited, held to credit, credited.
    pub(crate) sums: [Amount; 4],
}

/// What was asked for under a key.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Payload {
    Legs(Vec<Leg>),
    Reverse(TransferKey, Code),
    Refund(TransferKey, Amount, Code),
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveSet {
    pub(crate) payload: Payload,
    pub(crate) at: Timestamp,
    pub(crate) first: u64,
    pub(crate) rows: u8,
    pub(crate) undone: Undone,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    pub(crate) accounts: BTreeMap<AccountId, NaiveAccount>,
    pub(crate) holds: BTreeMap<HoldId, (Hold, Fate)>,
    pub(crate) sets: BTreeMap<TransferKey, NaiveSet>,
    pub(crate) journal: Vec<JournalRow>,
    pub(crate) entries: Vec<AccountEntry>,
    pub(crate) closed_until: Timestamp,
    pub(crate) newest: Timestamp,
}

/// Posted, first row, how many rows, what the set's accounts have after it.
pub(crate) type Answer = Result<(Posted, u64, u8, Vec<(AccountId, [Amount; 4])>), LedgerError>;

pub(crate) fn sums_of(balances: Balances) -> [Amount; 4] {
    let Balances { debits_pending, debits_posted, credits_pending, credits_posted } = balances;
    [debits_pending, debits_posted, credits_pending, credits_posted]
}

fn balances_of(
    [debits_pending, debits_posted, credits_pending, credits_posted]: [Amount; 4],
) -> Balances {
    Balances { debits_pending, debits_posted, credits_pending, credits_posted }
}

struct Row {
    kind: EntryKind,
    hold: Option<HoldId>,
    debit: AccountId,
    credit: AccountId,
    amount: Amount,
    released: Amount,
    code: Code,
    rate: Option<RateId>,
}

impl Naive {
    pub(crate) fn request(&mut self, stamp: Stamp, key: TransferKey, payload: &Payload) -> Answer {
        if let Payload::Legs(legs) = payload {
            if legs.is_empty() {
                return Err(LedgerError::NoLegs);
            }
            if legs.len() > LEGS_MAX {
                return Err(LedgerError::TooManyLegs(legs.len()));
            }
        }
        if let Some(known) = self.sets.get(&key) {
            if known.payload != *payload {
                return Err(LedgerError::KeyReused(key));
            }
            return Ok((Posted::Repeat, known.first, known.rows, vec![]));
        }
        let (legs, undoes) = match payload {
            Payload::Legs(legs) => (legs.clone(), None),
            Payload::Reverse(original, code) => {
                let (lines, undone) = self.undoable(*original)?;
                if let Undone::Refunded(refunded) = undone {
                    return Err(LedgerError::PartlyRefunded { key: *original, refunded });
                }
                (mirror(*original, &lines, *code)?, Some((*original, Undone::Reversed)))
            }
            Payload::Refund(original, amount, code) => {
                let (lines, undone) = self.undoable(*original)?;
                let before = if let Undone::Refunded(amount) = undone { amount } else { 0 };
                let legs = refund(*original, &lines, before, *amount, *code)?;
                (legs, Some((*original, Undone::Refunded(before + amount))))
            }
        };
        let mut next = self.clone();
        let answer = next.book(stamp, key, &legs, undoes.map(|(original, _)| original))?;
        let undone = if undoes.is_some() { Undone::Never } else { Undone::No };
        let (first, rows) = (answer.1, answer.2);
        next.sets
            .insert(key, NaiveSet { payload: payload.clone(), at: stamp.at, first, rows, undone });
        if let Some((original, undone)) = undoes {
            next.sets.get_mut(&original).unwrap().undone = undone;
        }
        next.newest = next.newest.max(stamp.at);
        *self = next;
        Ok(answer)
    }

    fn undoable(&self, original: TransferKey) -> Result<(Vec<JournalRow>, Undone), LedgerError> {
        let set = self.sets.get(&original).ok_or(LedgerError::OriginalMissing(original))?;
        match set.undone {
            Undone::Never => return Err(LedgerError::IsReversal(original)),
            Undone::Reversed => return Err(LedgerError::AlreadyReversed(original)),
            Undone::No | Undone::Refunded(_) => {}
        }
        let first = usize::try_from(set.first).unwrap();
        Ok((self.journal[first..first + usize::from(set.rows)].to_vec(), set.undone))
    }

    fn book(
        &mut self,
        stamp: Stamp,
        key: TransferKey,
        legs: &[Leg],
        reverses: Option<TransferKey>,
    ) -> Answer {
        let start = self.journal.len();
        let mut touched: Vec<AccountId> = Vec::new();
        let mut exchanges: BTreeMap<RateId, Vec<Currency>> = BTreeMap::new();
        for (number, leg) in legs.iter().enumerate() {
            let number = u8::try_from(number).unwrap();
            if let Leg::Convert { debit, rate, .. } = leg
                && let Some(account) = self.accounts.get(debit)
            {
                let currencies = exchanges.entry(*rate).or_default();
                currencies.push(account.currency);
                currencies.sort();
                currencies.dedup();
            }
            if let Some(row) = self.leg(stamp.at, key, number, leg)? {
                for account in [row.debit, row.credit] {
                    if !touched.contains(&account) {
                        touched.push(account);
                    }
                }
                self.write(stamp, key, number, reverses, &row);
            } else if let Leg::Balancing { debit, credit, .. } = *leg {
                for account in [debit, credit] {
                    if !touched.contains(&account) {
                        touched.push(account);
                    }
                }
            }
        }
        let rows = u8::try_from(self.journal.len() - start).unwrap();
        if rows == 0 {
            return Err(LedgerError::NothingMoved);
        }
        for (rate, currencies) in exchanges {
            if currencies.len() != 2 {
                return Err(LedgerError::NotAnExchange(rate));
            }
        }
        for (place, row) in self.journal[start..].iter_mut().enumerate() {
            (row.set_row, row.set_rows) = (u8::try_from(place).unwrap(), rows);
        }
        self.age(stamp.at);
        let after = touched.iter().map(|id| (*id, self.accounts[id].sums)).collect();
        Ok((Posted::New, start as u64, rows, after))
    }

    /// Accounts whose debits and credits differ know since when.
    fn age(&mut self, at: Timestamp) {
        for account in self.accounts.values_mut() {
            let is_balanced = account.sums[1] == account.sums[3];
            account.unbalanced_since = match account.unbalanced_since {
                _ if is_balanced => None,
                None => Some(at),
                since => since,
            };
        }
    }

    fn write(
        &mut self,
        stamp: Stamp,
        key: TransferKey,
        leg: u8,
        reverses: Option<TransferKey>,
        row: &Row,
    ) {
        let number = self.journal.len() as u64;
        let effective_at = stamp.effective_at.max(self.closed_until);
        for account in [row.debit, row.credit] {
            let NaiveAccount { has_history, sums, .. } = self.accounts[&account];
            if has_history {
                let balances = balances_of(sums);
                let at = stamp.at;
                self.entries.push(AccountEntry { account, number, balances, effective_at, at });
            }
        }
        self.journal.push(JournalRow {
            number,
            index: stamp.index,
            key,
            leg,
            set_row: 0,
            set_rows: 1,
            kind: row.kind,
            hold: row.hold,
            debit: row.debit,
            credit: row.credit,
            amount: row.amount,
            released: row.released,
            currency: self.accounts[&row.debit].currency,
            code: row.code,
            at: stamp.at,
            effective_at,
            stated_at: stamp.effective_at,
            reverses,
            rate: row.rate,
        });
    }

    fn leg(
        &mut self,
        at: Timestamp,
        key: TransferKey,
        number: u8,
        leg: &Leg,
    ) -> Result<Option<Row>, LedgerError> {
        Ok(Some(match *leg {
            Leg::Post { debit, credit, amount, code } => {
                self.post(debit, credit, amount, code, None)?
            }
            Leg::Convert { debit, credit, amount, code, rate } => {
                self.post(debit, credit, amount, code, Some(rate))?
            }
            Leg::Balancing { debit, credit, max, code } => {
                if max == 0 {
                    return Err(LedgerError::ZeroAmount);
                }
                self.check_accounts(debit, credit, true)?;
                let mut room = self.debit_room(debit);
                if self.accounts[&credit].limit == Limit::CreditsMustNotExceedDebits {
                    room = room.min(self.credit_room(credit));
                }
                let amount = max.min(Amount::try_from(room).unwrap_or(0));
                if amount == 0 {
                    return Ok(None);
                }
                self.post(debit, credit, amount, code, None)?
            }
            Leg::Hold { debit, credit, amount, code, expires } => {
                if usize::from(number) >= HOLD_LEGS_MAX {
                    return Err(LedgerError::HoldTooLate(number));
                }
                if expires <= at {
                    return Err(LedgerError::ExpiresInPast);
                }
                self.check(debit, credit, amount)?;
                self.add(debit, 0, amount);
                self.add(credit, 2, amount);
                let hold =
                    Hold { key, leg: number, debit, credit, amount, code, created: at, expires };
                self.holds.insert(hold.id(), (hold, Fate::Open));
                let (kind, hold) = (EntryKind::Held, Some(hold.id()));
                Row { kind, hold, debit, credit, amount, released: 0, code, rate: None }
            }
            Leg::RaiseHold { hold: id, more, expires } => {
                let hold = self.find(at, id)?;
                let Hold { debit, credit, .. } = hold;
                if expires <= at {
                    return Err(LedgerError::ExpiresInPast);
                }
                self.check_accounts(debit, credit, true)?;
                if more > 0 {
                    self.check(debit, credit, more)?;
                } else if hold.expires == expires {
                    return Err(LedgerError::ZeroAmount);
                }
                self.add(debit, 0, more);
                self.add(credit, 2, more);
                let (hold, _) = self.holds.get_mut(&id).unwrap();
                (hold.amount, hold.expires) = (hold.amount + more, expires);
                let (kind, code, hold) = (EntryKind::HeldMore, Code::HoldRaise, Some(id));
                Row { kind, hold, debit, credit, amount: more, released: 0, code, rate: None }
            }
            Leg::PostHold { hold, amount, code } => self.resolve(at, hold, amount, code)?,
            Leg::VoidHold { hold, code } => self.resolve(at, hold, 0, code)?,
        }))
    }

    fn post(
        &mut self,
        debit: AccountId,
        credit: AccountId,
        amount: Amount,
        code: Code,
        rate: Option<RateId>,
    ) -> Result<Row, LedgerError> {
        self.check(debit, credit, amount)?;
        self.add(debit, 1, amount);
        self.add(credit, 3, amount);
        let (kind, hold, released) = (EntryKind::Posted, None, 0);
        Ok(Row { kind, hold, debit, credit, amount, released, code, rate })
    }

    fn check_accounts(
        &self,
        debit: AccountId,
        credit: AccountId,
        opens: bool,
    ) -> Result<(), LedgerError> {
        if debit == credit {
            return Err(LedgerError::SameAccount(debit));
        }
        let giver = self.accounts.get(&debit).ok_or(LedgerError::AccountMissing(debit))?;
        let taker = self.accounts.get(&credit).ok_or(LedgerError::AccountMissing(credit))?;
        if giver.currency != taker.currency {
            let (debit, credit) = (giver.currency, taker.currency);
            return Err(LedgerError::CurrencyDiffers { debit, credit });
        }
        for (id, account) in [(debit, giver), (credit, taker)] {
            if opens && account.is_closed {
                return Err(LedgerError::AccountClosed(id));
            }
        }
        Ok(())
    }

    fn debit_room(&self, id: AccountId) -> i128 {
        let [held, debited, _, credited] =
            self.accounts[&id].sums.map(|sum| i128::try_from(sum).unwrap());
        credited - debited - held
    }

    fn credit_room(&self, id: AccountId) -> i128 {
        let [_, debited, held, credited] =
            self.accounts[&id].sums.map(|sum| i128::try_from(sum).unwrap());
        debited - credited - held
    }

    fn check(
        &self,
        debit: AccountId,
        credit: AccountId,
        amount: Amount,
    ) -> Result<(), LedgerError> {
        self.check_accounts(debit, credit, true)?;
        if amount == 0 {
            return Err(LedgerError::ZeroAmount);
        }
        let refuse = |account, room: i128| {
            let available = Amount::try_from(room).unwrap_or(0);
            LedgerError::LimitExceeded { account, available, required: amount }
        };
        let room = self.debit_room(debit);
        let is_bound = self.accounts[&debit].limit == Limit::DebitsMustNotExceedCredits;
        if is_bound && amount.cast_signed() > room {
            return Err(refuse(debit, room));
        }
        let room = self.credit_room(credit);
        let is_bound = self.accounts[&credit].limit == Limit::CreditsMustNotExceedDebits;
        if is_bound && amount.cast_signed() > room {
            return Err(refuse(credit, room));
        }
        Ok(())
    }

    fn add(&mut self, account: AccountId, sum: usize, amount: Amount) {
        self.accounts.get_mut(&account).unwrap().sums[sum] += amount;
    }

    fn end(&mut self, id: HoldId, fate: Fate) -> Hold {
        let (hold, known) = self.holds.get_mut(&id).unwrap();
        assert_eq!(*known, Fate::Open);
        *known = fate;
        let hold = *hold;
        self.accounts.get_mut(&hold.debit).unwrap().sums[0] -= hold.amount;
        self.accounts.get_mut(&hold.credit).unwrap().sums[2] -= hold.amount;
        hold
    }

    fn find(&self, at: Timestamp, id: HoldId) -> Result<Hold, LedgerError> {
        let (hold, fate) = self.holds.get(&id).ok_or(LedgerError::HoldMissing(id))?;
        match fate {
            Fate::Posted => Err(LedgerError::HoldAlreadyPosted(id)),
            Fate::Voided => Err(LedgerError::HoldAlreadyVoided(id)),
            Fate::Expired => Err(LedgerError::HoldExpired(id)),
            Fate::Open if hold.expires <= at => Err(LedgerError::HoldExpired(id)),
            Fate::Open => Ok(*hold),
        }
    }

    fn resolve(
        &mut self,
        at: Timestamp,
        id: HoldId,
        amount: Amount,
        code: Code,
    ) -> Result<Row, LedgerError> {
        let held = self.find(at, id)?.amount;
        let amount = if amount == POST_ALL { held } else { amount };
        if amount > held {
            return Err(LedgerError::ExceedsHold { hold: id, held, required: amount });
        }
        let fate = if amount == 0 { Fate::Voided } else { Fate::Posted };
        let Hold { debit, credit, .. } = self.end(id, fate);
        self.add(debit, 1, amount);
        self.add(credit, 3, amount);
        let kind = if amount == 0 { EntryKind::Voided } else { EntryKind::PostedHold };
        let (hold, released) = (Some(id), held - amount);
        Ok(Row { kind, hold, debit, credit, amount, released, code, rate: None })
    }

    pub(crate) fn expire(&mut self, stamp: Stamp, max: usize) -> Vec<HoldId> {
        let mut due: Vec<(Timestamp, HoldId)> = self
            .holds
            .iter()
            .filter(|(_, (hold, fate))| *fate == Fate::Open && hold.expires <= stamp.at)
            .filter(|(_, (hold, _))| hold.expires != Timestamp::MAX)
            .map(|(id, (hold, _))| (hold.expires, *id))
            .collect();
        due.sort();
        due.truncate(max);
        for (_, id) in &due {
            let Hold { key, leg, debit, credit, amount, .. } = self.end(*id, Fate::Expired);
            let (kind, hold, code) = (EntryKind::Expired, Some(*id), Code::Release);
            let row =
                Row { kind, hold, debit, credit, amount: 0, released: amount, code, rate: None };
            self.write(stamp, key, leg, None, &row);
        }
        due.into_iter().map(|(_, id)| id).collect()
    }

    pub(crate) fn close_period(
        &mut self,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), LedgerError> {
        if until > now || until < self.closed_until {
            return Err(LedgerError::PeriodNotOver);
        }
        self.closed_until = until;
        Ok(())
    }
}

fn mirror(key: TransferKey, lines: &[JournalRow], code: Code) -> Result<Vec<Leg>, LedgerError> {
    let moved = lines.iter().rev().filter(|row| row.kind.is_movement());
    let legs: Vec<Leg> = moved
        .map(|row| {
            let (debit, credit, amount) = (row.credit, row.debit, row.amount);
            match row.rate {
                Some(rate) => Leg::Convert { debit, credit, amount, code, rate },
                None => Leg::Post { debit, credit, amount, code },
            }
        })
        .collect();
    if legs.is_empty() { Err(LedgerError::NothingToUndo(key)) } else { Ok(legs) }
}

/// Unit by unit, from the first refund on: each goes to who has most for the share it would make.
fn deal(parts: &[(AccountId, Amount)], sum: Amount) -> Vec<AccountId> {
    let mut shares = vec![0; parts.len()];
    let mut dealt = Vec::new();
    for _ in 0..sum {
        let mut best = 0;
        for place in 1..parts.len() {
            if parts[place].1 * (2 * shares[best] + 1) > parts[best].1 * (2 * shares[place] + 1) {
                best = place;
            }
        }
        shares[best] += 1;
        dealt.push(parts[best].0);
    }
    dealt
}

fn refund(
    key: TransferKey,
    lines: &[JournalRow],
    before: Amount,
    amount: Amount,
    code: Code,
) -> Result<Vec<Leg>, LedgerError> {
    if amount == 0 {
        return Err(LedgerError::ZeroAmount);
    }
    let mut sums: Vec<(AccountId, i128)> = Vec::new();
    let mut currencies: Vec<Currency> = Vec::new();
    for row in lines.iter().filter(|row| row.kind.is_movement()) {
        currencies.push(row.currency);
        let amount = i128::try_from(row.amount).unwrap();
        for (account, change) in [(row.debit, -amount), (row.credit, amount)] {
            match sums.iter_mut().find(|(known, _)| *known == account) {
                Some((_, sum)) => *sum += change,
                None => sums.push((account, change)),
            }
        }
    }
    currencies.sort();
    currencies.dedup();
    if currencies.len() > 1 {
        return Err(LedgerError::RefundOfSeveralCurrencies(key));
    }
    let side = |sign: i128| -> Vec<(AccountId, Amount)> {
        let of_side = sums.iter().filter(|(_, sum)| sum * sign > 0);
        of_side.map(|(account, sum)| (*account, sum.unsigned_abs())).collect()
    };
    let (givers, takers) = (side(-1), side(1));
    if givers.is_empty() {
        return Err(LedgerError::NothingToUndo(key));
    }
    let total: Amount = takers.iter().map(|(_, amount)| amount).sum();
    if before + amount > total {
        let (refundable, required) = (total - before, amount);
        return Err(LedgerError::ExceedsOriginal { key, refundable, required });
    }
    // Who is dealt a unit now, in order of the parts.
    let now = |parts: &[(AccountId, Amount)]| -> Vec<AccountId> {
        let dealt = deal(parts, before + amount).split_off(usize::try_from(before).unwrap());
        let of = |id: AccountId| dealt.iter().filter(move |dealt| **dealt == id).copied();
        parts.iter().flat_map(|(id, _)| of(*id).collect::<Vec<_>>()).collect()
    };
    let pairs: Vec<(AccountId, AccountId)> = now(&takers).into_iter().zip(now(&givers)).collect();
    let legs = pairs.chunk_by(|a, b| a == b).map(|same| {
        let (debit, credit) = same[0];
        Leg::Post { debit, credit, amount: same.len() as Amount, code }
    });
    Ok(legs.collect())
}
