//! The true stop of a session that was billed by estimate (window 11): the difference is booked as
//! a set of its own; nothing that was booked is changed.
//!
//! **Invariants**: after an adjustment the session's row, its shares and what its driver paid or owes
//! say the same amount; an adjustment of nothing books nothing; each is booked once, here by its
//! number, at the payer's partition too.

use crate::accounts::{Name, Purpose};
use crate::command::{EndTransaction, Outcome, PeerCommand, Refusal};
use crate::config::AMOUNT_MAX;
use crate::document::Billing;
use crate::money::{Debtor, words};
use crate::price::Flow;
use crate::rows::{Charges, Payer, PayerSessionRow, SessionRow, SessionState};
use crate::state::State;
use novax_ledger::{Code, Leg};
use novax_model::{AccountId, Amount, Currency, PartitionId, SessionId, WattHours};
use std::collections::BTreeMap;

impl State {
    /// Takes the true stop into an estimated session's row and books what it changes.
    pub(crate) fn adjust(&mut self, row: &mut SessionRow, end: &EndTransaction) {
        assert!(row.estimated, "only an estimate is adjusted");
        let before = (row.charges.clone(), row.energy());
        self.take_stop(row, end);
        row.ended = end.at.max(row.started).max(novax_model::Timestamp(1));
        row.reason = end.reason.clone();
        row.estimated = false;
        self.reprice_row(row, Flow::ends(row.ended), true);
        self.book_adjustment(row, &before);
    }

    /// Books what a bill changed from what it was; if that cannot be, the row says what it was.
    fn book_adjustment(&mut self, row: &mut SessionRow, before: &(Charges, WattHours)) {
        if row.charges == before.0 {
            self.counters.recount(before, row);
            return;
        }
        row.adjusted += 1;
        match self.book_difference(row, before) {
            Ok(owed) => row.owed = owed,
            Err(error) => {
                let (id, total) = (row.session, row.charges.total());
                let text = format!("session {id}: its bill was not adjusted to {total}: {error}");
                self.except(&row.identity, &text);
                row.charges = before.0.clone();
                row.adjusted -= 1;
                row.suspect = true;
            }
        }
        self.counters.recount(before, row);
    }

    /// Says what the driver owes of the session afterwards.
    fn book_difference(
        &mut self,
        row: &SessionRow,
        (before, energy_before): &(Charges, WattHours),
    ) -> Result<Amount, String> {
        let currency = row.deal.currency;
        let mut legs = Vec::with_capacity(8);
        let mut owed = row.owed;
        let clearing = match row.payer {
            Payer::Local(wallet) => {
                let debtor = Debtor { wallet, driver: row.driver.as_ref() };
                let bills = (before.total(), row.charges.total());
                let (name, money) = (self.clearing_with_self(), (currency, row.deal.fx.as_ref()));
                let (clearing, rest) =
                    self.bring_difference(debtor, name, money, bills, owed, &mut legs)?;
                owed = rest;
                clearing
            }
            Payer::Remote(payer) => {
                self.open(Name::Clearing(payer), currency).map_err(|refusal| words(&refusal))?
            }
            Payer::Card(psp) => {
                let clearing = self
                    .open(self.clearing_with_self(), currency)
                    .map_err(|refusal| words(&refusal))?;
                let debtor = Debtor { wallet: psp, driver: row.driver.as_ref() };
                let (was, is) = (before.total(), row.charges.total());
                // The provider is not asked a second time: more is owed, less is owed back.
                let receivable = self.receivable(debtor)?;
                let (debit, credit) =
                    if is > was { (receivable, clearing) } else { (clearing, receivable) };
                let (amount, code) = (is.abs_diff(was), Code::Receivable);
                if amount > 0 {
                    legs.push(Leg::Post { debit, credit, amount, code });
                }
                owed = (owed + is).saturating_sub(was);
                clearing
            }
            Payer::None => return Ok(0),
        };
        let mut shares: BTreeMap<(Box<str>, Code), (Amount, Amount)> = BTreeMap::new();
        for part in self.shares(row, before, *energy_before) {
            shares.entry((part.name, part.code)).or_default().0 += part.amount;
        }
        for part in self.shares(row, &row.charges, row.energy()) {
            shares.entry((part.name, part.code)).or_default().1 += part.amount;
        }
        for ((name, code), (was, is)) in shares {
            let amount = was.abs_diff(is);
            if amount == 0 {
                continue;
            }
            let party =
                self.open(Name::Party(&name), currency).map_err(|refusal| words(&refusal))?;
            let (debit, credit) = if is > was { (clearing, party) } else { (party, clearing) };
            legs.push(Leg::Post { debit, credit, amount, code });
        }
        if !legs.is_empty() {
            self.post_new(row.ended, Purpose::Adjust.key(row.session, row.adjusted), &legs)?;
            self.note_booking(row.session, Billing::Adjustment, row.adjusted);
        }
        self.accrue_difference(row, before, *energy_before);
        self.note_owed(row.session, row.driver.as_ref(), owed.saturating_sub(row.owed));
        Ok(owed)
    }

    /// Legs that bring the difference between two bills from a driver to `clearing`, or back: what is
    /// owed is forgiven first. Says what is owed afterwards.
    pub(crate) fn debtor_legs(
        &mut self,
        debtor: Debtor<'_>,
        clearing: AccountId,
        (was, is): (Amount, Amount),
        owed: Amount,
        legs: &mut Vec<Leg>,
    ) -> Result<Amount, String> {
        assert!(owed <= was, "no more is owed than was billed");
        if is >= was {
            let taken = self.charge_legs(debtor, clearing, is - was, legs)?;
            return Ok(owed + (is - was - taken));
        }
        let forgiven = owed.min(was - is);
        let returned = was - is - forgiven;
        if forgiven > 0 {
            let credit = self.receivable(debtor)?;
            let code = Code::Receivable;
            legs.push(Leg::Post { debit: clearing, credit, amount: forgiven, code });
        }
        if returned > 0 {
            let (credit, code) = (debtor.wallet, Code::Energy);
            legs.push(Leg::Post { debit: clearing, credit, amount: returned, code });
        }
        Ok(owed - forgiven)
    }

    /// Tells the payer's partition what an adjusted session costs now.
    pub(crate) fn queue_adjustment(&mut self, row: &SessionRow, was: Amount) {
        let Payer::Remote(to) = row.payer else { return };
        let (session, sequence) = (row.session, row.adjusted);
        let (amount, currency) = (row.charges.total(), row.deal.currency);
        self.queue_peer(to, PeerCommand::Adjust { session, sequence, was, amount, currency });
    }

    /// In the payer's partition: a captured session costs another amount.
    pub(crate) fn adjust_capture(
        &mut self,
        from: PartitionId,
        session: SessionId,
        sequence: u32,
        (was, amount): (Amount, Amount),
        currency: Currency,
    ) -> Result<Outcome, Refusal> {
        let row = self.payers.get(&session).cloned().ok_or(Refusal::UnknownSession)?;
        let Some(captured) = row.captured else {
            return Err(Refusal::WrongState(SessionState::Charging));
        };
        if row.partition != from {
            return Err(Refusal::KeyReused);
        }
        if sequence <= row.adjusted {
            return Ok(Outcome::Captured { amount: captured });
        }
        if row.bill_currency() != currency {
            return Err(Refusal::CurrencyMismatch);
        }
        if amount.max(was) > AMOUNT_MAX {
            return Err(Refusal::Full);
        }
        self.note_late_change();
        // What was refunded in between stays refunded.
        let amount = (row.billed + amount).saturating_sub(was);
        match self.book_peer_difference(&row, sequence, amount) {
            Ok(owed) => {
                let captured = row.captured_of(amount, owed);
                let row = PayerSessionRow { billed: amount, fx_owed: owed, ..row };
                let adjusted = sequence;
                self.put_payer_row(PayerSessionRow { captured: Some(captured), adjusted, ..row });
                Ok(Outcome::Captured { amount: captured })
            }
            Err(error) => {
                let text = format!("session {session}: the adjustment was not booked: {error}");
                self.except_driver(&text);
                Err(Refusal::KeyReused)
            }
        }
    }

    fn book_peer_difference(
        &mut self,
        row: &PayerSessionRow,
        sequence: u32,
        amount: Amount,
    ) -> Result<Amount, String> {
        let wallet = match amount < row.billed {
            true => self.wallet_or_suspense(row.wallet, row.currency),
            false => row.wallet,
        };
        let debtor = Debtor { wallet, driver: Some(&row.driver) };
        let was_owed = row.owed();
        let mut legs = Vec::with_capacity(6);
        let (name, money) = (Name::Clearing(row.partition), (row.bill_currency(), row.fx.as_ref()));
        let bills = (row.billed, amount);
        let (_, owed) = self.bring_difference(debtor, name, money, bills, was_owed, &mut legs)?;
        if !legs.is_empty() {
            let key = Purpose::PeerAdjust.key(row.session, sequence);
            self.post_new(self.now(), key, &legs)?;
        }
        self.note_owed(row.session, Some(&row.driver), owed.saturating_sub(was_owed));
        Ok(owed)
    }
}
