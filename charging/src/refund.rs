//! Money back after a session was settled (window 23): whoever earned by it gives back in proportion
//! to what they earned, and the driver gets it, here or in the payer's partition.
//!
//! **Invariants**: no more goes back than was billed; each refund is booked once on either side; what
//! was booked before stays as it is. The journal's lines come with the command, and the ledger takes
//! them only if they are what it booked. A wallet in another currency gets back what the refund is worth
//! by the session's own rate; what the house kept of the exchange stays kept. What parties give back counts
//! in the month of their contract that runs.

use crate::accounts::{Name, Purpose};
use crate::command::{Outcome, PeerCommand, Refund, Refusal};
use crate::document::Billing;
use crate::fx::{in_wallet, rate_id};
use crate::money::{Debtor, words};
use crate::rows::{Payer, PayerSessionRow, SessionRow, SessionState};
use crate::state::State;
use novax_ledger::{Code, Exchange, JournalRow, LedgerError, Leg, Undone};
use novax_model::{AccountId, Amount, Currency, Identity, PartitionId, SessionId};
use novax_settlement::Rate;

impl State {
    /// A part of a settled session's bill goes back.
    pub(crate) fn refund(&mut self, ask: &Refund) -> Result<Outcome, Refusal> {
        let (session, sequence, amount) = (ask.session, ask.sequence, ask.amount);
        let psp = self.psp_of(&ask.lines).map(|psp| (psp, self.given_to(psp)));
        // Whoever was forgotten cannot be given anything.
        if ask.lines.iter().any(|row| self.is_nobodys(row.debit)) {
            return Err(Refusal::UnknownDriver);
        }
        let original = Purpose::Settle.key(session, 0);
        let key = Purpose::Refund.key(session, sequence);
        if psp.is_some() && self.ledger.set(key).is_none() {
            self.check_card_refund(ask)?;
        }
        let row = ask.row.as_deref().filter(|row| self.is_billed_by(row, ask));
        let given = row.map(|row| self.given_by_parties(row));
        let fx = self.exchange_of(&ask.lines, row)?;
        let stamp = self.stamp(self.now());
        let is_new = match &fx {
            Some(fx) => self.refund_exchanged(ask, fx)?,
            None => {
                let lines = &ask.lines;
                let booked = self.ledger.refund(stamp, key, original, lines, amount, Code::Refund);
                booked.map(|receipt| receipt.is_new()).map_err(|error| refused(&error))?
            }
        };
        if is_new {
            self.note_booking(session, Billing::Refund, sequence);
        }
        if is_new && let (Some(row), Some(before)) = (row, given) {
            let after = self.given_by_parties(row);
            self.accrue_refund(row, &before, &after);
        }
        if is_new && let Some((to, currency)) = self.payer_of(&ask.lines) {
            let command = PeerCommand::Refund { session, sequence, amount, currency };
            self.queue_peer(to, command);
        }
        if is_new && let Some((psp, before)) = psp {
            let returned = self.given_to(psp) - before;
            self.refund_card(ask, psp, returned);
        }
        Ok(Outcome::Refunded { amount })
    }

    /// Whether the row that came along is the session's, as far as the books can tell.
    fn is_billed_by(&self, row: &SessionRow, ask: &Refund) -> bool {
        let currency = row.deal.currency;
        row.session == ask.session
            && self.terms.has_contract(row.deal.contract)
            && ask.lines.iter().any(|line| line.currency == currency)
    }

    /// What each party of a session's contract was debited so far, by its place there.
    fn given_by_parties(&self, row: &SessionRow) -> Vec<Amount> {
        let contract = self.terms.contract(row.deal.contract);
        let debited = |party: &Identity| {
            let id = Name::Party(party.as_str()).id(row.deal.currency);
            self.ledger.account(id).map_or(0, |account| account.debits_posted)
        };
        contract.parties.iter().map(debited).collect()
    }

    /// By which rate a bill was paid, if its wallet is in another currency.
    fn exchange_of<'a>(
        &self,
        lines: &[JournalRow],
        row: Option<&'a SessionRow>,
    ) -> Result<Option<Paid<'a>>, Refusal> {
        let Some(named) = lines.iter().find_map(|line| line.rate) else { return Ok(None) };
        let paid = row.and_then(|row| {
            let rate = row.deal.fx.as_ref().filter(|rate| rate_id(rate) == named)?;
            let Payer::Local(wallet) = row.payer else { return None };
            Some(Paid { rate, wallet, driver: row.driver.as_ref()? })
        });
        paid.map(Some).ok_or(Refusal::NotRefundable)
    }

    /// Money back through the exchange that brought it. Says whether it was booked now.
    fn refund_exchanged(&mut self, ask: &Refund, paid: &Paid<'_>) -> Result<bool, Refusal> {
        let original = Purpose::Settle.key(ask.session, 0);
        let key = Purpose::Refund.key(ask.session, ask.sequence);
        let booked = |found: &State| found.ledger.set(original).map(|set| set.undone);
        let before = match booked(self) {
            Some(Undone::Refunded(before)) => before,
            _ => 0,
        };
        let rate = paid.rate;
        let position = Name::Party("fx/position").id(rate.quote);
        let kept = Name::Party("fx/spread").id(rate.quote);
        let moved = |is: &dyn Fn(&&JournalRow) -> bool| -> Amount {
            ask.lines.iter().filter(|row| row.kind.is_movement()).filter(is).map(|r| r.amount).sum()
        };
        let billed = moved(&|row| row.debit == position && row.credit != kept);
        let debts = self.debts_of(paid.driver, rate.base).ok();
        let owed = moved(&|row| debts == Some(row.debit));
        let worth = |refunded: Amount| in_wallet(Some(&without_spread(rate)), billed - refunded);
        let is_known = self.ledger.set(key).is_some();
        let after = if is_known { before } else { before.saturating_add(ask.amount).min(billed) };
        let (whole, was, is) = (worth(0)?, worth(before)?, worth(after)?);
        let (debtor, forgiven) = (paid.debtor(), owed.min(whole - was));
        let back = self.back_legs(debtor, rate, was - is, owed - forgiven).0;
        let stamp = self.stamp(self.now());
        let (currency, rate, code) = (rate.quote, rate_id(rate), Code::Refund);
        let exchange = Exchange { currency, kept, rate, code, back: &back };
        let amount = ask.amount;
        let done =
            self.ledger.refund_exchanged(stamp, key, original, &ask.lines, amount, &exchange);
        done.map(|receipt| receipt.is_new()).map_err(|error| refused(&error))
    }

    /// The partition whose clearing account paid a bill, if it was another one.
    fn payer_of(&self, lines: &[JournalRow]) -> Option<(PartitionId, Currency)> {
        let debited = lines.iter().filter(|row| row.kind.is_movement());
        debited
            .filter_map(|row| {
                let account = self.ledger.account(row.debit)?;
                let number = account.name.strip_prefix("clearing/p")?.parse().ok()?;
                Some((PartitionId(number), account.currency))
            })
            .find(|(partition, _)| *partition != self.config.partition)
    }

    /// In the payer's partition: what the other one gave back, to the driver. What is owed is forgiven
    /// first.
    pub(crate) fn refund_capture(
        &mut self,
        from: PartitionId,
        session: SessionId,
        sequence: u32,
        (amount, currency): (Amount, Currency),
    ) -> Result<Outcome, Refusal> {
        let row = self.payers.get(&session).cloned().ok_or(Refusal::UnknownSession)?;
        if row.captured.is_none() {
            return Err(Refusal::WrongState(SessionState::Charging));
        }
        if row.partition != from {
            return Err(Refusal::KeyReused);
        }
        let key = Purpose::PeerRefund.key(session, sequence);
        if self.ledger.set(key).is_some() {
            return Ok(Outcome::Refunded { amount });
        }
        if row.bill_currency() != currency {
            return Err(Refusal::CurrencyMismatch);
        }
        let Some(billed) = row.billed.checked_sub(amount).filter(|_| amount > 0) else {
            return Err(Refusal::NotRefundable);
        };
        self.note_late_change();
        let booked = self.book_peer_refund(&row, key, (row.billed, billed), row.owed());
        match booked {
            Ok(owed) => {
                let captured = Some(row.captured_of(billed, owed));
                self.put_payer_row(PayerSessionRow { captured, billed, fx_owed: owed, ..row });
                Ok(Outcome::Refunded { amount })
            }
            Err(error) => {
                let text = format!("session {session}: the refund was not booked: {error}");
                self.except_driver(&text);
                Err(Refusal::NotRefundable)
            }
        }
    }

    fn book_peer_refund(
        &mut self,
        row: &PayerSessionRow,
        key: novax_model::TransferKey,
        bills: (Amount, Amount),
        owed: Amount,
    ) -> Result<Amount, String> {
        let wallet = self.wallet_or_suspense(row.wallet, row.currency);
        let debtor = Debtor { wallet, driver: Some(&row.driver) };
        let mut legs = Vec::with_capacity(6);
        let (name, currency) = (Name::Clearing(row.partition), row.bill_currency());
        let owed = match &row.fx {
            Some(rate) => {
                let clearing = self.open(name, currency).map_err(|refusal| words(&refusal))?;
                let (was, is) = bills;
                let worth = |bill| in_wallet(Some(&without_spread(rate)), bill);
                let back = worth(was).and_then(|was| Ok(was - worth(is)?));
                let back = back.map_err(|refusal| words(&refusal))?;
                let (mut back, owed) = self.back_legs(debtor, rate, back, owed);
                let credit = self.position(rate.quote)?;
                let (amount, code) = (was - is, Code::Refund);
                legs.push(Leg::Post { debit: clearing, credit, amount, code });
                legs.append(&mut back);
                as_exchange(rate, &mut legs);
                owed
            }
            None => {
                let money = (currency, None);
                self.bring_difference(debtor, name, money, bills, owed, &mut legs)?.1
            }
        };
        self.post_new(self.now(), key, &legs)?;
        Ok(owed)
    }

    fn position(&mut self, currency: Currency) -> Result<AccountId, String> {
        self.open(Name::Party("fx/position"), currency).map_err(|refusal| words(&refusal))
    }

    /// Legs that give `back` of a wallet's currency out of what was exchanged: what is owed is forgiven
    /// first. Says what is owed afterwards. Nothing is to be opened: the bill did.
    fn back_legs(
        &mut self,
        debtor: Debtor<'_>,
        rate: &Rate,
        back: Amount,
        owed: Amount,
    ) -> (Vec<Leg>, Amount) {
        let debit = Name::Party("fx/position").id(rate.base);
        let debts = debtor.driver.and_then(|driver| self.debts_of(driver, rate.base).ok());
        let forgiven = if debts.is_some() { owed.min(back) } else { 0 };
        let code = Code::Refund;
        let parts = [(debts, forgiven), (Some(debtor.wallet), back - forgiven)];
        let legs =
            parts.into_iter().filter(|(_, amount)| *amount > 0).filter_map(|(credit, amount)| {
                Some(Leg::Post { debit, credit: credit?, amount, code })
            });
        (legs.collect(), owed - forgiven)
    }
}

/// How a bill was paid in another currency.
struct Paid<'a> {
    rate: &'a Rate,
    wallet: AccountId,
    driver: &'a Identity,
}

impl Paid<'_> {
    fn debtor(&self) -> Debtor<'_> {
        Debtor { wallet: self.wallet, driver: Some(self.driver) }
    }
}

/// The middle rate: what the house kept of an exchange it keeps.
fn without_spread(rate: &Rate) -> Rate {
    Rate { spread_ppm: 0, ..rate.clone() }
}

/// The legs name the rate, if they are in both its currencies.
fn as_exchange(rate: &Rate, legs: &mut [Leg]) {
    if legs.len() < 2 {
        return;
    }
    let rate = rate_id(rate);
    for leg in legs {
        if let Leg::Post { debit, credit, amount, code } = *leg {
            *leg = Leg::Convert { debit, credit, amount, code, rate };
        }
    }
}

fn refused(error: &LedgerError) -> Refusal {
    match error {
        LedgerError::KeyReused(_) => Refusal::KeyReused,
        LedgerError::ExceedsOriginal { refundable, required, .. } => {
            Refusal::InsufficientFunds { available: *refundable, required: *required }
        }
        _ => Refusal::NotRefundable,
    }
}
