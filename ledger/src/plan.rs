//! Works a linked set out on copies, leg by leg, and refuses it before anything is touched.
//!
//! A plan that came through can be booked without failing: every limit, sum and hold has been
//! looked at. So a refused set leaves no trace, and there is nothing to undo.

use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};

use crate::account::{Balances, Limit};
use crate::error::LedgerError;
use crate::tables::{Accounts, Holds, Keys, Resolution};
use crate::totals::Totals;
use crate::transfer::{Code, EntryKind, Hold, HoldId, JournalRow, Leg};

/// What the ledger holds before the set.
#[derive(Clone, Copy)]
pub(crate) struct Book<'a> {
    pub(crate) accounts: &'a Accounts,
    pub(crate) holds: &'a Holds,
    pub(crate) keys: &'a Keys,
}

/// When a set is booked, and what its journal rows say.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) key: TransferKey,
    pub(crate) at: Timestamp,
    pub(crate) effective_at: Timestamp,
    pub(crate) next_journal: u64,
}

/// An account of the set, before and after.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touched {
    pub(crate) slot: u32,
    pub(crate) id: AccountId,
    pub(crate) currency: Currency,
    limit: Limit,
    pub(crate) before: Balances,
    pub(crate) after: Balances,
}

/// What booking a set will do. Kept and cleared between sets, so that its buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// At most two per leg; looked through one by one, which beats a map at this size.
    pub(crate) touched: Vec<Touched>,
    pub(crate) placed: Vec<Hold>,
    pub(crate) resolved: Vec<(HoldId, Resolution)>,
    pub(crate) rows: Vec<JournalRow>,
    pub(crate) totals: Totals,
}

/// Both accounts of a leg, as places in [`Plan::touched`].
struct Pair {
    debit: usize,
    credit: usize,
    currency: Currency,
}

/// What a journal row says beside what is the same for the whole set.
struct Entry {
    kind: EntryKind,
    hold: Option<HoldId>,
    debit: AccountId,
    credit: AccountId,
    amount: Amount,
    released: Amount,
    currency: Currency,
    code: Code,
}

impl Plan {
    /// Works the set out. After an error the plan is of no use until the next call.
    pub(crate) fn work_out(
        &mut self,
        book: Book<'_>,
        totals: &Totals,
        stamp: Stamp,
        legs: &[Leg],
    ) -> Result<(), LedgerError> {
        self.touched.clear();
        self.placed.clear();
        self.resolved.clear();
        self.rows.clear();
        for (number, leg) in legs.iter().enumerate() {
            let number = u8::try_from(number).expect("the set is bounded");
            let entry = match *leg {
                Leg::Post { debit, credit, amount, code } => {
                    self.post(book, debit, credit, amount, code)?
                }
                Leg::Hold { debit, credit, amount, code, expires } => {
                    let hold = Hold {
                        key: stamp.key,
                        leg: number,
                        debit,
                        credit,
                        amount,
                        code,
                        created: stamp.at,
                        expires,
                    };
                    self.hold(book, hold)?
                }
                Leg::PostHold { hold, amount, code } => {
                    self.resolve(book, stamp.at, hold, amount, code)?
                }
                Leg::VoidHold { hold, code } => self.resolve(book, stamp.at, hold, 0, code)?,
            };
            self.rows.push(JournalRow {
                number: stamp.next_journal + u64::from(number),
                key: stamp.key,
                leg: number,
                kind: entry.kind,
                hold: entry.hold,
                debit: entry.debit,
                credit: entry.credit,
                amount: entry.amount,
                released: entry.released,
                currency: entry.currency,
                code: entry.code,
                at: stamp.at,
                effective_at: stamp.effective_at,
            });
        }
        self.sum_up(totals)
    }

    /// Gives a hold back whole because its time is over: a plan of one row.
    pub(crate) fn work_out_expiry(
        &mut self,
        book: Book<'_>,
        totals: &Totals,
        at: Timestamp,
        next_journal: u64,
        hold: &Hold,
    ) {
        self.touched.clear();
        self.placed.clear();
        self.resolved.clear();
        self.rows.clear();
        let currency = self.give_back(book, hold);
        self.resolved.push((hold.id(), Resolution::Expired));
        self.rows.push(JournalRow {
            number: next_journal,
            key: hold.key,
            leg: hold.leg,
            kind: EntryKind::Expired,
            hold: Some(hold.id()),
            debit: hold.debit,
            credit: hold.credit,
            amount: 0,
            released: hold.amount,
            currency,
            code: Code::Release,
            at,
            effective_at: at,
        });
        self.sum_up(totals).expect("giving back only lowers totals");
    }

    fn post(
        &mut self,
        book: Book<'_>,
        debit: AccountId,
        credit: AccountId,
        amount: Amount,
        code: Code,
    ) -> Result<Entry, LedgerError> {
        let pair = self.pair(book, debit, credit)?;
        self.check_room(&pair, amount)?;
        add(&mut self.touched[pair.debit].after.debits_posted, amount)?;
        add(&mut self.touched[pair.credit].after.credits_posted, amount)?;
        let currency = pair.currency;
        let (kind, hold, released) = (EntryKind::Posted, None, 0);
        Ok(Entry { kind, hold, debit, credit, amount, released, currency, code })
    }

    fn hold(&mut self, book: Book<'_>, hold: Hold) -> Result<Entry, LedgerError> {
        let Hold { debit, credit, amount, code, .. } = hold;
        if hold.expires <= hold.created {
            return Err(LedgerError::ExpiresInPast);
        }
        let pair = self.pair(book, debit, credit)?;
        self.check_room(&pair, amount)?;
        add(&mut self.touched[pair.debit].after.debits_pending, amount)?;
        add(&mut self.touched[pair.credit].after.credits_pending, amount)?;
        self.placed.push(hold);
        let currency = pair.currency;
        let (kind, hold, released) = (EntryKind::Held, Some(hold.id()), 0);
        Ok(Entry { kind, hold, debit, credit, amount, released, currency, code })
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
        let hold = self.find_open(book, at, id)?;
        if amount > hold.amount {
            return Err(LedgerError::ExceedsHold { hold: id, held: hold.amount, required: amount });
        }
        let currency = self.give_back(book, &hold);
        let (kind, resolution) = if amount == 0 {
            (EntryKind::Voided, Resolution::Voided)
        } else {
            (EntryKind::PostedHold, Resolution::Posted)
        };
        let debit = self.touch(book, hold.debit)?;
        let credit = self.touch(book, hold.credit)?;
        add(&mut self.touched[debit].after.debits_posted, amount)?;
        add(&mut self.touched[credit].after.credits_posted, amount)?;
        self.assert_within(debit);
        self.assert_within(credit);
        self.resolved.push((id, resolution));
        Ok(Entry {
            kind,
            hold: Some(id),
            debit: hold.debit,
            credit: hold.credit,
            amount,
            released: hold.amount - amount,
            currency,
            code,
        })
    }

    /// The hold, if it can still be resolved; it may have been placed by an earlier leg.
    fn find_open(&self, book: Book<'_>, at: Timestamp, id: HoldId) -> Result<Hold, LedgerError> {
        if let Some((_, resolution)) = self.resolved.iter().find(|(known, _)| *known == id) {
            return Err(resolution.refusal(id));
        }
        let placed = self.placed.iter().find(|hold| hold.id() == id);
        let Some(hold) = placed.or_else(|| book.holds.get(id)) else {
            return Err(match book.keys.resolution(id) {
                Some(resolution) => resolution.refusal(id),
                None => LedgerError::HoldMissing(id),
            });
        };
        // Over is over, whether or not the sweep has come by yet.
        if hold.expires <= at {
            return Err(LedgerError::HoldExpired(id));
        }
        Ok(*hold)
    }

    /// Takes a hold off both of its accounts; answers their currency.
    fn give_back(&mut self, book: Book<'_>, hold: &Hold) -> Currency {
        let (debit, credit) = (self.touch(book, hold.debit), self.touch(book, hold.credit));
        let (Ok(debit), Ok(credit)) = (debit, credit) else {
            panic!("the accounts of an open hold exist");
        };
        let pending = &mut self.touched[debit].after.debits_pending;
        *pending = pending.checked_sub(hold.amount).expect("what is held is pending");
        let pending = &mut self.touched[credit].after.credits_pending;
        *pending = pending.checked_sub(hold.amount).expect("what is held is pending");
        self.touched[debit].currency
    }

    /// The place of an account in [`Plan::touched`].
    fn touch(&mut self, book: Book<'_>, id: AccountId) -> Result<usize, LedgerError> {
        if let Some(place) = self.touched.iter().position(|touched| touched.id == id) {
            return Ok(place);
        }
        let slot = book.accounts.slot(id).ok_or(LedgerError::AccountMissing(id))?;
        let account = book.accounts.at(slot);
        let balances = account.balances();
        self.touched.push(Touched {
            slot,
            id,
            currency: account.currency,
            limit: account.limit,
            before: balances,
            after: balances,
        });
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

    /// Whether both accounts may take a new leg of `amount`.
    fn check_room(&self, pair: &Pair, amount: Amount) -> Result<(), LedgerError> {
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

fn add(sum: &mut Amount, amount: Amount) -> Result<(), LedgerError> {
    *sum = sum.checked_add(amount).ok_or(LedgerError::Overflow)?;
    Ok(())
}
