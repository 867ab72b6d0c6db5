//! Works a linked set out on copies, leg by leg, and refuses it before anything is touched.
//!
//! A plan that came through can be booked without failing: every limit, sum and hold has been
//! looked at. So a refused set leaves no trace, and there is nothing to undo.

use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};

use crate::account::{Account, Limit};
use crate::accounts::Accounts;
use crate::code::Code;
use crate::error::LedgerError;
use crate::holds::Holds;
use crate::journal::{AccountEntry, EntryKind, JournalRow};
use crate::keys::{Keys, Resolution};
use crate::receipt::Touched;
use crate::totals::Totals;
use crate::transfer::{HOLD_LEGS_MAX, Hold, HoldId, Leg, POST_ALL, RateId};

/// What the ledger holds before the set.
#[derive(Clone, Copy)]
pub(crate) struct Book<'a> {
    pub(crate) accounts: &'a Accounts,
    pub(crate) holds: &'a Holds,
    pub(crate) keys: &'a Keys,
}

/// What all journal rows of a set say.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) key: TransferKey,
    pub(crate) index: u64,
    pub(crate) at: Timestamp,
    pub(crate) effective_at: Timestamp,
    pub(crate) stated_at: Timestamp,
    pub(crate) reverses: Option<TransferKey>,
    pub(crate) next_journal: u64,
}

/// A hold that the set places, raises or resolves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldPlan {
    pub(crate) hold: Hold,
    /// Where it stands; `None` when this set places it.
    pub(crate) slot: Option<u32>,
    pub(crate) resolution: Option<Resolution>,
}

/// What booking a set will do. Kept and cleared between sets, so that its buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// At most two per leg; looked through one by one, which beats a map at this size.
    pub(crate) touched: Vec<Touched>,
    pub(crate) held: Vec<HeldPlan>,
    /// Rows of this set behind those of sets that were booked and not taken yet: written where they
    /// stay, because they are wide.
    rows: Vec<JournalRow>,
    entries: Vec<AccountEntry>,
    /// Where the rows and the entries of this set begin.
    rows_start: usize,
    entries_start: usize,
    pub(crate) totals: Totals,
    exchanges: Vec<(RateId, Currency)>,
    ids: Vec<AccountId>,
    slots: Vec<u32>,
}

/// Both accounts of a leg, as places in [`Plan::touched`].
#[derive(Clone, Copy)]
struct Pair {
    debit: usize,
    credit: usize,
    currency: Currency,
}

/// What a journal row says beside its header.
struct Entry {
    kind: EntryKind,
    hold: Option<HoldId>,
    pair: Pair,
    amount: Amount,
    released: Amount,
    code: Code,
    rate: Option<RateId>,
}

impl Plan {
    /// Works the set out. After an error the plan is of no use until the next call.
    pub(crate) fn work_out(
        &mut self,
        book: Book<'_>,
        totals: &Totals,
        header: &Header,
        legs: &[Leg],
    ) -> Result<(), LedgerError> {
        self.clear();
        let result = self.try_legs(book, totals, header, legs);
        if result.is_err() {
            self.rows.truncate(self.rows_start);
            self.entries.truncate(self.entries_start);
        }
        result
    }

    /// The rows of this set.
    pub(crate) fn rows(&self) -> &[JournalRow] {
        &self.rows[self.rows_start..]
    }

    /// Rows and entries of all sets since the last call.
    pub(crate) fn take_rows(&mut self) -> (Vec<JournalRow>, Vec<AccountEntry>) {
        // The next batch is about as large as this one.
        let rows = Vec::with_capacity(self.rows.len());
        let entries = Vec::with_capacity(self.entries.len());
        (self.rows_start, self.entries_start) = (0, 0);
        (std::mem::replace(&mut self.rows, rows), std::mem::replace(&mut self.entries, entries))
    }

    fn try_legs(
        &mut self,
        book: Book<'_>,
        totals: &Totals,
        header: &Header,
        legs: &[Leg],
    ) -> Result<(), LedgerError> {
        self.gather(book, legs);
        for (number, leg) in legs.iter().enumerate() {
            let number = u8::try_from(number).expect("the set is bounded");
            if let Some(entry) = self.leg(book, header, number, leg)? {
                self.write(header, number, &entry);
            }
        }
        if self.rows().is_empty() {
            return Err(LedgerError::NothingMoved);
        }
        self.check_exchanges()?;
        self.number_rows();
        self.sum_up(totals)
    }

    /// Works out that a hold's time is over.
    pub(crate) fn work_out_expiry(
        &mut self,
        book: Book<'_>,
        totals: &Totals,
        header: &Header,
        slot: u32,
    ) {
        self.clear();
        let hold = *book.holds.at(slot);
        self.held.push(HeldPlan { hold, slot: Some(slot), resolution: None });
        let pair = self.end(book, 0, Resolution::Expired);
        let entry = Entry {
            kind: EntryKind::Expired,
            hold: Some(hold.id()),
            pair,
            amount: 0,
            released: hold.amount,
            code: Code::Release,
            rate: None,
        };
        self.write(header, hold.leg, &entry);
        self.number_rows();
        self.sum_up(totals).expect("giving back only lowers totals");
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.slots.clear();
        self.touched.clear();
        self.held.clear();
        (self.rows_start, self.entries_start) = (self.rows.len(), self.entries.len());
        self.exchanges.clear();
    }

    /// Copies the accounts of all legs, in the order in which they name them. All at once, because
    /// then the reads do not wait for one another: most of the time goes by waiting for memory.
    /// What is missing is refused when its leg comes.
    fn gather(&mut self, book: Book<'_>, legs: &[Leg]) {
        for leg in legs {
            let pair = match *leg {
                Leg::Post { debit, credit, .. }
                | Leg::Hold { debit, credit, .. }
                | Leg::Balancing { debit, credit, .. }
                | Leg::Convert { debit, credit, .. } => [debit, credit],
                Leg::RaiseHold { hold, .. }
                | Leg::PostHold { hold, .. }
                | Leg::VoidHold { hold, .. } => match book.holds.get(hold) {
                    Some(hold) => [hold.debit, hold.credit],
                    None => continue,
                },
            };
            for id in pair {
                if !self.ids.contains(&id) {
                    self.ids.push(id);
                }
            }
        }
        self.slots.extend(self.ids.iter().filter_map(|id| book.accounts.slot(*id)));
        self.touched.extend(self.slots.iter().map(|slot| touched(book.accounts.at(*slot), *slot)));
    }

    /// What the leg writes; `None` when it moves nothing.
    fn leg(
        &mut self,
        book: Book<'_>,
        header: &Header,
        number: u8,
        leg: &Leg,
    ) -> Result<Option<Entry>, LedgerError> {
        let entry = match *leg {
            Leg::Post { debit, credit, amount, code } => {
                let pair = self.open_pair(book, debit, credit)?;
                self.post(pair, amount, code)?
            }
            Leg::Convert { debit, credit, amount, code, rate } => {
                let pair = self.open_pair(book, debit, credit)?;
                if !self.exchanges.contains(&(rate, pair.currency)) {
                    self.exchanges.push((rate, pair.currency));
                }
                Entry { rate: Some(rate), ..self.post(pair, amount, code)? }
            }
            Leg::Balancing { debit, credit, max, code } => {
                if max == 0 {
                    return Err(LedgerError::ZeroAmount);
                }
                let pair = self.open_pair(book, debit, credit)?;
                let amount = self.room(pair).min(max);
                if amount == 0 {
                    return Ok(None);
                }
                self.post(pair, amount, code)?
            }
            Leg::Hold { debit, credit, amount, code, expires } => {
                if usize::from(number) >= HOLD_LEGS_MAX {
                    return Err(LedgerError::HoldTooLate(number));
                }
                let (key, created) = (header.key, header.at);
                self.hold(
                    book,
                    Hold { key, leg: number, debit, credit, amount, code, created, expires },
                )?
            }
            Leg::RaiseHold { hold, more, expires } => {
                self.raise(book, header.at, hold, more, expires)?
            }
            Leg::PostHold { hold, amount, code } => {
                self.resolve(book, header.at, hold, amount, code)?
            }
            Leg::VoidHold { hold, code } => self.resolve(book, header.at, hold, 0, code)?,
        };
        Ok(Some(entry))
    }

    fn write(&mut self, header: &Header, leg: u8, entry: &Entry) {
        let number = header.next_journal + self.rows().len() as u64;
        let Pair { debit, credit, currency } = entry.pair;
        for place in [debit, credit] {
            let touched = &self.touched[place];
            if touched.has_history {
                self.entries.push(AccountEntry {
                    account: touched.id,
                    number,
                    balances: touched.after,
                    effective_at: header.effective_at,
                    at: header.at,
                });
            }
        }
        self.rows.push(JournalRow {
            number,
            index: header.index,
            key: header.key,
            leg,
            set_row: 0,
            set_rows: 0,
            kind: entry.kind,
            hold: entry.hold,
            debit: self.touched[debit].id,
            credit: self.touched[credit].id,
            amount: entry.amount,
            released: entry.released,
            currency,
            code: entry.code,
            at: header.at,
            effective_at: header.effective_at,
            stated_at: header.stated_at,
            reverses: header.reverses,
            rate: entry.rate,
        });
    }

    fn number_rows(&mut self) {
        let count = u8::try_from(self.rows().len()).expect("the set is bounded");
        for (place, row) in (0..).zip(&mut self.rows[self.rows_start..]) {
            row.set_row = place;
            row.set_rows = count;
        }
    }

    fn post(&mut self, pair: Pair, amount: Amount, code: Code) -> Result<Entry, LedgerError> {
        self.check_room(pair, amount)?;
        add(&mut self.touched[pair.debit].after.debits_posted, amount)?;
        add(&mut self.touched[pair.credit].after.credits_posted, amount)?;
        let (kind, hold, released, rate) = (EntryKind::Posted, None, 0, None);
        Ok(Entry { kind, hold, pair, amount, released, code, rate })
    }

    fn hold(&mut self, book: Book<'_>, hold: Hold) -> Result<Entry, LedgerError> {
        if hold.expires <= hold.created {
            return Err(LedgerError::ExpiresInPast);
        }
        let pair = self.open_pair(book, hold.debit, hold.credit)?;
        self.set_aside(pair, hold.amount)?;
        self.held.push(HeldPlan { hold, slot: None, resolution: None });
        let (amount, code, id) = (hold.amount, hold.code, Some(hold.id()));
        Ok(Entry { kind: EntryKind::Held, hold: id, pair, amount, released: 0, code, rate: None })
    }

    /// Holds `more` under a hold that stands, and moves its end.
    fn raise(
        &mut self,
        book: Book<'_>,
        at: Timestamp,
        id: HoldId,
        more: Amount,
        expires: Timestamp,
    ) -> Result<Entry, LedgerError> {
        let place = self.find_open(book, at, id)?;
        let hold = self.held[place].hold;
        if expires <= at {
            return Err(LedgerError::ExpiresInPast);
        }
        let pair = self.open_pair(book, hold.debit, hold.credit)?;
        if more > 0 {
            self.set_aside(pair, more)?;
        } else if expires == hold.expires {
            return Err(LedgerError::ZeroAmount);
        }
        let raised = &mut self.held[place].hold;
        add(&mut raised.amount, more)?;
        raised.expires = expires;
        let (kind, code) = (EntryKind::HeldMore, Code::HoldRaise);
        Ok(Entry { kind, hold: Some(id), pair, amount: more, released: 0, code, rate: None })
    }

    fn set_aside(&mut self, pair: Pair, amount: Amount) -> Result<(), LedgerError> {
        self.check_room(pair, amount)?;
        add(&mut self.touched[pair.debit].after.debits_pending, amount)?;
        add(&mut self.touched[pair.credit].after.credits_pending, amount)
    }

    /// Posts `amount` of a hold and gives the rest back.
    fn resolve(
        &mut self,
        book: Book<'_>,
        at: Timestamp,
        id: HoldId,
        amount: Amount,
        code: Code,
    ) -> Result<Entry, LedgerError> {
        let place = self.find_open(book, at, id)?;
        let held = self.held[place].hold.amount;
        let amount = if amount == POST_ALL { held } else { amount };
        if amount > held {
            return Err(LedgerError::ExceedsHold { hold: id, held, required: amount });
        }
        let (kind, resolution) = if amount == 0 {
            (EntryKind::Voided, Resolution::Voided)
        } else {
            (EntryKind::PostedHold, Resolution::Posted)
        };
        let pair = self.end(book, place, resolution);
        add(&mut self.touched[pair.debit].after.debits_posted, amount)?;
        add(&mut self.touched[pair.credit].after.credits_posted, amount)?;
        self.assert_within(pair.debit);
        self.assert_within(pair.credit);
        let released = held - amount;
        Ok(Entry { kind, hold: Some(id), pair, amount, released, code, rate: None })
    }

    /// The place in [`Plan::held`] of a hold that can still be raised or resolved; it may have been
    /// placed by an earlier leg.
    fn find_open(
        &mut self,
        book: Book<'_>,
        at: Timestamp,
        id: HoldId,
    ) -> Result<usize, LedgerError> {
        let place = match self.held.iter().position(|held| held.hold.id() == id) {
            Some(place) => place,
            None => {
                let Some(slot) = book.holds.slot(id) else {
                    return Err(match book.keys.resolution(id) {
                        Some(resolution) => resolution.refusal(id),
                        None => LedgerError::HoldMissing(id),
                    });
                };
                let hold = *book.holds.at(slot);
                self.held.push(HeldPlan { hold, slot: Some(slot), resolution: None });
                self.held.len() - 1
            }
        };
        let held = &self.held[place];
        if let Some(resolution) = held.resolution {
            return Err(resolution.refusal(id));
        }
        // Over is over, whether or not the sweep has come by yet.
        if held.hold.expires <= at {
            return Err(LedgerError::HoldExpired(id));
        }
        Ok(place)
    }

    /// Takes a hold off both of its accounts.
    fn end(&mut self, book: Book<'_>, place: usize, resolution: Resolution) -> Pair {
        let held = &mut self.held[place];
        assert!(held.resolution.is_none(), "a hold is resolved once");
        held.resolution = Some(resolution);
        let hold = held.hold;
        let pair = self.pair(book, hold.debit, hold.credit);
        let pair = pair.expect("the accounts of an open hold exist, in one currency");
        let pending = &mut self.touched[pair.debit].after.debits_pending;
        *pending = pending.checked_sub(hold.amount).expect("what is held is pending");
        let pending = &mut self.touched[pair.credit].after.credits_pending;
        *pending = pending.checked_sub(hold.amount).expect("what is held is pending");
        pair
    }

    /// The place of an account in [`Plan::touched`].
    fn touch(&mut self, book: Book<'_>, id: AccountId) -> Result<usize, LedgerError> {
        if let Some(place) = self.touched.iter().position(|touched| touched.id == id) {
            return Ok(place);
        }
        let slot = book.accounts.slot(id).ok_or(LedgerError::AccountMissing(id))?;
        self.touched.push(touched(book.accounts.at(slot), slot));
        Ok(self.touched.len() - 1)
    }

    fn pair(
        &mut self,
        book: Book<'_>,
        debit: AccountId,
        credit: AccountId,
    ) -> Result<Pair, LedgerError> {
        if debit == credit {
            return Err(LedgerError::SameAccount(debit));
        }
        let (debit, credit) = (self.touch(book, debit)?, self.touch(book, credit)?);
        let currency = self.touched[debit].currency;
        if self.touched[credit].currency != currency {
            let credit = self.touched[credit].currency;
            return Err(LedgerError::CurrencyDiffers { debit: currency, credit });
        }
        Ok(Pair { debit, credit, currency })
    }

    /// Both accounts of a leg that does more than resolve a hold: neither is closed.
    fn open_pair(
        &mut self,
        book: Book<'_>,
        debit: AccountId,
        credit: AccountId,
    ) -> Result<Pair, LedgerError> {
        let pair = self.pair(book, debit, credit)?;
        for place in [pair.debit, pair.credit] {
            if self.touched[place].is_closed {
                return Err(LedgerError::AccountClosed(self.touched[place].id));
            }
        }
        Ok(pair)
    }

    /// What a balancing leg may move.
    fn room(&self, pair: Pair) -> Amount {
        let (debit, credit) = (&self.touched[pair.debit], &self.touched[pair.credit]);
        let room = debit.after.debit_room();
        match credit.limit {
            Limit::CreditsMustNotExceedDebits => room.min(credit.after.credit_room()),
            Limit::None | Limit::DebitsMustNotExceedCredits => room,
        }
    }

    /// Whether both accounts may take a new leg of `amount`.
    fn check_room(&self, pair: Pair, amount: Amount) -> Result<(), LedgerError> {
        if amount == 0 {
            return Err(LedgerError::ZeroAmount);
        }
        let (debit, credit) = (&self.touched[pair.debit], &self.touched[pair.credit]);
        let room = debit.after.debit_room();
        if debit.limit == Limit::DebitsMustNotExceedCredits && amount > room {
            let account = debit.id;
            return Err(LedgerError::LimitExceeded { account, available: room, required: amount });
        }
        let room = credit.after.credit_room();
        if credit.limit == Limit::CreditsMustNotExceedDebits && amount > room {
            let account = credit.id;
            return Err(LedgerError::LimitExceeded { account, available: room, required: amount });
        }
        Ok(())
    }

    fn assert_within(&self, place: usize) {
        let touched = &self.touched[place];
        assert!(touched.after.within(touched.limit), "resolving a hold cannot break a limit");
    }

    /// An exchange has two sides, in two currencies.
    fn check_exchanges(&mut self) -> Result<(), LedgerError> {
        self.exchanges.sort_unstable();
        for sides in self.exchanges.chunk_by(|a, b| a.0 == b.0) {
            if let [(rate, _)] | [(rate, _), _, _, ..] = sides {
                return Err(LedgerError::NotAnExchange(*rate));
            }
        }
        Ok(())
    }

    /// The totals as they will be; refuses what does not fit.
    fn sum_up(&mut self, totals: &Totals) -> Result<(), LedgerError> {
        self.totals.copy_from(totals);
        for touched in &self.touched {
            self.totals
                .shift(touched.currency, &touched.before, &touched.after)
                .ok_or(LedgerError::Overflow)?;
        }
        Ok(())
    }
}

fn touched(account: &Account, slot: u32) -> Touched {
    let balances = account.balances();
    Touched {
        id: account.id,
        currency: account.currency,
        before: balances,
        after: balances,
        slot,
        limit: account.limit,
        is_closed: account.is_closed,
        has_history: account.has_history,
    }
}

fn add(sum: &mut Amount, amount: Amount) -> Result<(), LedgerError> {
    *sum = sum.checked_add(amount).ok_or(LedgerError::Overflow)?;
    Ok(())
}
