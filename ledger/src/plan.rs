//! Works a linked set out on copies, leg by leg, and refuses it before anything is touched.
//!
//! A plan that came through can be booked without failing: every limit, sum and hold has been
//! looked at. So a refused set leaves no trace, and there is nothing to undo.

use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};

use crate::account::{Account, Limit};
use crate::accounts::Accounts;
use crate::code::Code;
use crate::error::LedgerError;
use crate::holds::{HeldOn, Holds};
use crate::journal::{AccountEntry, EntryKind, JournalRow};
use crate::keys::{Keys, Resolution};
use crate::receipt::Touched;
use crate::totals::Totals;
use crate::transfer::{HOLD_LEGS_MAX, Hold, HoldId, LEGS_MAX, Leg, POST_ALL, RateId};

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
    /// Places of its accounts in [`Plan::touched`].
    pub(crate) debit: u8,
    pub(crate) credit: u8,
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
    /// Accounts that the legs name, and where they stand most likely.
    named: Vec<(AccountId, Option<u32>)>,
    /// One for each leg.
    found: Vec<Found>,
    /// The rows were handed out: they go once there are others.
    is_taken: bool,
}

/// What a leg names, looked up.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Of a hold that stood before the set.
    hold: Option<u32>,
    /// Both accounts, as places in [`Plan::touched`]; [`NOWHERE`] while it is not known which.
    debit: u8,
    credit: u8,
}

/// No place in [`Plan::touched`]: it holds at most two for each leg.
const NOWHERE: u8 = u8::MAX;
const _: () = assert!(2 * LEGS_MAX < NOWHERE as usize, "places fit");

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

impl HeldPlan {
    /// Where its accounts stand; `key` is the slot of the key that placed it.
    pub(crate) fn on(&self, touched: &[Touched], key: u32) -> HeldOn {
        let slot = |place: u8| touched[usize::from(place)].slot;
        HeldOn { debit: slot(self.debit), credit: slot(self.credit), key }
    }
}

impl Plan {
    /// Finds what the legs name. To be called before [`Plan::work_out`], best with work in between
    /// that needs none of it: then nobody waits for memory.
    pub(crate) fn look_up(&mut self, book: Book<'_>, legs: &[Leg]) {
        self.clear();
        for leg in legs {
            let found = match *leg {
                Leg::Post { debit, credit, .. }
                | Leg::Hold { debit, credit, .. }
                | Leg::Balancing { debit, credit, .. }
                | Leg::Convert { debit, credit, .. } => {
                    let (debit, credit) = (self.name(debit, None), self.name(credit, None));
                    Found { hold: None, debit, credit }
                }
                Leg::RaiseHold { hold, .. }
                | Leg::PostHold { hold, .. }
                | Leg::VoidHold { hold, .. } => self.find_hold(book, hold),
            };
            self.found.push(found);
        }
        for (id, slot) in &mut self.named {
            if slot.is_none() {
                *slot = book.accounts.likely_slot(*id);
            }
        }
    }

    /// Works the set out, once its legs are looked up. After an error the plan is of no use until
    /// the next call.
    pub(crate) fn work_out(
        &mut self,
        book: Book<'_>,
        totals: &Totals,
        header: &Header,
        legs: &[Leg],
    ) -> Result<(), LedgerError> {
        assert_eq!(self.found.len(), legs.len(), "the legs are looked up");
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

    /// From now on, [`Plan::taken`] gives the rows and entries of all sets since the last call.
    pub(crate) fn take_rows(&mut self) {
        self.drop_taken();
        self.is_taken = true;
    }

    /// What the last [`Plan::take_rows`] found, until the next set is worked out.
    pub(crate) fn taken(&self) -> (&[JournalRow], &[AccountEntry]) {
        assert!(self.is_taken, "rows are handed out once they are taken");
        (&self.rows, &self.entries)
    }

    fn drop_taken(&mut self) {
        if std::mem::take(&mut self.is_taken) {
            self.rows.clear();
            self.entries.clear();
        }
    }

    fn try_legs(
        &mut self,
        book: Book<'_>,
        totals: &Totals,
        header: &Header,
        legs: &[Leg],
    ) -> Result<(), LedgerError> {
        self.gather(book);
        for (place, leg) in legs.iter().enumerate() {
            let number = u8::try_from(place).expect("the set is bounded");
            let found = self.found[place];
            if let Some(entry) = self.leg(book, header, number, leg, found)? {
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
        let on = book.holds.on(slot);
        for account in [on.debit, on.credit] {
            self.touched.push(touched(book.accounts.at(account), account));
        }
        let (slot, debit, credit) = (Some(slot), 0, 1);
        self.held.push(HeldPlan { hold, slot, debit, credit, resolution: None });
        let pair = self.end(0, Resolution::Expired);
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
        self.drop_taken();
        self.named.clear();
        self.found.clear();
        self.touched.clear();
        self.held.clear();
        (self.rows_start, self.entries_start) = (self.rows.len(), self.entries.len());
        self.exchanges.clear();
    }

    /// Copies the accounts of all legs, in the order in which they name them. All at once, because
    /// then the reads do not wait for one another: most of the time goes by waiting for memory.
    /// What is missing is refused when its leg comes.
    fn gather(&mut self, book: Book<'_>) {
        for (id, likely) in &self.named {
            let Some(likely) = *likely else { continue };
            let account = book.accounts.at(likely);
            if account.id == *id {
                self.touched.push(touched(account, likely));
            } else if let Some(slot) = book.accounts.slot(*id) {
                self.touched.push(touched(book.accounts.at(slot), slot));
            }
        }
        if self.touched.len() < self.named.len() {
            // Some leg will be refused; until then, places are looked up as the legs come.
            for found in &mut self.found {
                (found.debit, found.credit) = (NOWHERE, NOWHERE);
            }
        }
    }

    /// The place that an account will have in [`Plan::touched`] if none is missing.
    fn name(&mut self, id: AccountId, slot: Option<u32>) -> u8 {
        let place = self.named.iter().position(|(named, _)| *named == id);
        let place = place.unwrap_or_else(|| {
            self.named.push((id, slot));
            self.named.len() - 1
        });
        small(place)
    }

    fn find_hold(&mut self, book: Book<'_>, id: HoldId) -> Found {
        let Some(slot) = book.holds.slot(id) else {
            return Found { hold: None, debit: NOWHERE, credit: NOWHERE };
        };
        let (hold, on) = (book.holds.at(slot), book.holds.on(slot));
        let debit = self.name(hold.debit, Some(on.debit));
        let credit = self.name(hold.credit, Some(on.credit));
        Found { hold: Some(slot), debit, credit }
    }

    /// What the leg writes; `None` when it moves nothing.
    fn leg(
        &mut self,
        book: Book<'_>,
        header: &Header,
        number: u8,
        leg: &Leg,
        found: Found,
    ) -> Result<Option<Entry>, LedgerError> {
        let entry = match *leg {
            Leg::Post { debit, credit, amount, code } => {
                let pair = self.open_pair(book, debit, credit, found)?;
                self.post(pair, amount, code)?
            }
            Leg::Convert { debit, credit, amount, code, rate } => {
                let pair = self.open_pair(book, debit, credit, found)?;
                if !self.exchanges.contains(&(rate, pair.currency)) {
                    self.exchanges.push((rate, pair.currency));
                }
                Entry { rate: Some(rate), ..self.post(pair, amount, code)? }
            }
            Leg::Balancing { debit, credit, max, code } => {
                if max == 0 {
                    return Err(LedgerError::ZeroAmount);
                }
                let pair = self.open_pair(book, debit, credit, found)?;
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
                let (key, leg, created) = (header.key, number, header.at);
                let hold = Hold { key, leg, debit, credit, amount, code, created, expires };
                self.hold(book, hold, found)?
            }
            Leg::RaiseHold { hold, more, expires } => {
                let place = self.find_open(book, header.at, hold, found)?;
                self.raise(header.at, place, more, expires)?
            }
            Leg::PostHold { hold, amount, code } => {
                let place = self.find_open(book, header.at, hold, found)?;
                self.resolve(place, amount, code)?
            }
            Leg::VoidHold { hold, code } => {
                let place = self.find_open(book, header.at, hold, found)?;
                self.resolve(place, 0, code)?
            }
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

    fn hold(&mut self, book: Book<'_>, hold: Hold, found: Found) -> Result<Entry, LedgerError> {
        if hold.expires <= hold.created {
            return Err(LedgerError::ExpiresInPast);
        }
        let pair = self.open_pair(book, hold.debit, hold.credit, found)?;
        self.set_aside(pair, hold.amount)?;
        let (debit, credit) = (small(pair.debit), small(pair.credit));
        self.held.push(HeldPlan { hold, slot: None, debit, credit, resolution: None });
        let (amount, code, id) = (hold.amount, hold.code, Some(hold.id()));
        Ok(Entry { kind: EntryKind::Held, hold: id, pair, amount, released: 0, code, rate: None })
    }

    /// Holds `more` under a hold that stands, and moves its end.
    fn raise(
        &mut self,
        at: Timestamp,
        place: usize,
        more: Amount,
        expires: Timestamp,
    ) -> Result<Entry, LedgerError> {
        let hold = self.held[place].hold;
        if expires <= at {
            return Err(LedgerError::ExpiresInPast);
        }
        let pair = self.pair_of(place);
        self.check_open(pair)?;
        if more > 0 {
            self.set_aside(pair, more)?;
        } else if expires == hold.expires {
            return Err(LedgerError::ZeroAmount);
        }
        let raised = &mut self.held[place].hold;
        add(&mut raised.amount, more)?;
        raised.expires = expires;
        let (kind, code) = (EntryKind::HeldMore, Code::HoldRaise);
        Ok(Entry { kind, hold: Some(hold.id()), pair, amount: more, released: 0, code, rate: None })
    }

    fn set_aside(&mut self, pair: Pair, amount: Amount) -> Result<(), LedgerError> {
        self.check_room(pair, amount)?;
        add(&mut self.touched[pair.debit].after.debits_pending, amount)?;
        add(&mut self.touched[pair.credit].after.credits_pending, amount)
    }

    /// Posts `amount` of a hold and gives the rest back.
    fn resolve(&mut self, place: usize, amount: Amount, code: Code) -> Result<Entry, LedgerError> {
        let (id, held) = (self.held[place].hold.id(), self.held[place].hold.amount);
        let amount = if amount == POST_ALL { held } else { amount };
        if amount > held {
            return Err(LedgerError::ExceedsHold { hold: id, held, required: amount });
        }
        let (kind, resolution) = if amount == 0 {
            (EntryKind::Voided, Resolution::Voided)
        } else {
            (EntryKind::PostedHold, Resolution::Posted)
        };
        let pair = self.end(place, resolution);
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
        found: Found,
    ) -> Result<usize, LedgerError> {
        let place = match self.held.iter().position(|held| held.hold.id() == id) {
            Some(place) => place,
            None => {
                let Some(slot) = found.hold else {
                    return Err(match book.keys.resolution(id) {
                        Some(resolution) => resolution.refusal(id),
                        None => LedgerError::HoldMissing(id),
                    });
                };
                let hold = *book.holds.at(slot);
                let (debit, credit) = self.places(book, hold.debit, hold.credit, found)?;
                let (slot, debit, credit) = (Some(slot), small(debit), small(credit));
                self.held.push(HeldPlan { hold, slot, debit, credit, resolution: None });
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
    fn end(&mut self, place: usize, resolution: Resolution) -> Pair {
        let pair = self.pair_of(place);
        let held = &mut self.held[place];
        assert!(held.resolution.is_none(), "a hold is resolved once");
        held.resolution = Some(resolution);
        let amount = held.hold.amount;
        let pending = &mut self.touched[pair.debit].after.debits_pending;
        *pending = pending.checked_sub(amount).expect("what is held is pending");
        let pending = &mut self.touched[pair.credit].after.credits_pending;
        *pending = pending.checked_sub(amount).expect("what is held is pending");
        pair
    }

    /// The accounts of a hold.
    fn pair_of(&self, place: usize) -> Pair {
        let held = &self.held[place];
        let (debit, credit) = (usize::from(held.debit), usize::from(held.credit));
        let (giver, taker) = (&self.touched[debit], &self.touched[credit]);
        let is_of = giver.id == held.hold.debit && taker.id == held.hold.credit;
        assert!(is_of && giver.currency == taker.currency, "accounts of a hold, in one currency");
        Pair { debit, credit, currency: giver.currency }
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

    /// Places of two accounts in [`Plan::touched`].
    #[inline]
    fn places(
        &mut self,
        book: Book<'_>,
        debit: AccountId,
        credit: AccountId,
        found: Found,
    ) -> Result<(usize, usize), LedgerError> {
        if found.debit == NOWHERE {
            return Ok((self.touch(book, debit)?, self.touch(book, credit)?));
        }
        let places = (usize::from(found.debit), usize::from(found.credit));
        let is_there = self.touched[places.0].id == debit && self.touched[places.1].id == credit;
        assert!(is_there, "accounts stand where they were found");
        Ok(places)
    }

    #[inline]
    fn pair(
        &mut self,
        book: Book<'_>,
        debit: AccountId,
        credit: AccountId,
        found: Found,
    ) -> Result<Pair, LedgerError> {
        if debit == credit {
            return Err(LedgerError::SameAccount(debit));
        }
        let (debit, credit) = self.places(book, debit, credit, found)?;
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
        found: Found,
    ) -> Result<Pair, LedgerError> {
        let pair = self.pair(book, debit, credit, found)?;
        self.check_open(pair)?;
        Ok(pair)
    }

    fn check_open(&self, pair: Pair) -> Result<(), LedgerError> {
        let closed =
            [pair.debit, pair.credit].into_iter().find(|place| self.touched[*place].is_closed);
        closed.map_or(Ok(()), |place| Err(LedgerError::AccountClosed(self.touched[place].id)))
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
        let refuse = |account: AccountId, available: Amount| {
            Err(LedgerError::LimitExceeded { account, available, required: amount })
        };
        if debit.limit == Limit::DebitsMustNotExceedCredits {
            let room = debit.after.debit_room();
            if amount > room {
                return refuse(debit.id, room);
            }
        }
        if credit.limit == Limit::CreditsMustNotExceedDebits {
            let room = credit.after.credit_room();
            if amount > room {
                return refuse(credit.id, room);
            }
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

/// A place in [`Plan::touched`].
fn small(place: usize) -> u8 {
    u8::try_from(place).expect("the set is bounded")
}

fn add(sum: &mut Amount, amount: Amount) -> Result<(), LedgerError> {
    *sum = sum.checked_add(amount).ok_or(LedgerError::Overflow)?;
    Ok(())
}
