//! Money back to the driver of a settled session (window 23): the parties give their parts back in
//! proportion, and the driver gets it where the money came from: wallet, card, or what is owed.
//!
//! **Invariants**: no more is paid back than the session cost; what was never paid is no longer owed
//! before anything is paid back; a request that comes again books nothing and gets the same answer;
//! rows that are not the newest change nothing.

use crate::accounts::{Name, Purpose};
use crate::cards::Asked;
use crate::command::{Outcome, PeerCommand, Refusal};
use crate::money::Debtor;
use crate::payment::{PaymentKind, PaymentRow, PaymentState, RefundSession};
use crate::rows::{Payer, SessionRow, SessionState};
use crate::state::State;
use novax_ledger::{Code, LedgerError, Leg, Posted, Undone};
use novax_model::{Amount, SessionId, TransferKey};

/// What of a capture was not paid back, nor asked to be.
fn left_of(rows: &[PaymentRow], capture: &PaymentRow) -> Amount {
    let refunds = rows.iter().filter(|row| {
        row.kind == PaymentKind::Refund
            && row.of == capture.of
            && row.state != PaymentState::Declined
    });
    let back: Amount = refunds.map(|row| row.amount).sum();
    capture.moved.min(capture.amount).saturating_sub(back)
}

impl State {
    /// Money back to a driver.
    pub(crate) fn refund(&mut self, refund: RefundSession) -> Result<Outcome, Refusal> {
        let RefundSession { key, amount, mut row, lines, payments } = refund;
        let id = row.session;
        if let Some(live) = self.sessions.get(&id) {
            return Err(Refusal::WrongState(live.row.state));
        }
        if row.state != SessionState::Settled || row.estimated {
            return Err(Refusal::WrongState(row.state));
        }
        let bill = Purpose::Settle.key(id, 0);
        let before = match self.ledger.set(bill).map(|set| set.undone) {
            Some(Undone::No) => 0,
            Some(Undone::Refunded(before)) => before,
            _ => return Err(Refusal::UnknownSession),
        };
        let is_repeat = self.ledger.set(key).is_some();
        if !is_repeat && before != row.refunded {
            // The rows were read before another refund was booked: read them again.
            return Err(Refusal::Full);
        }
        let left = row.charges.total().saturating_sub(before);
        if !is_repeat && (amount == 0 || amount > left) {
            return Err(Refusal::InsufficientFunds { available: left, required: amount });
        }
        let stamp = self.stamp(self.now());
        let paid_before = self.debt_paid(&row);
        match self.ledger.refund(stamp, key, bill, &lines, amount, Code::Refund) {
            Ok(receipt) if receipt.posted == Posted::Repeat => {
                return Ok(Outcome::Refunded { amount, refunded: before });
            }
            Ok(_) => {}
            Err(LedgerError::ExceedsOriginal { refundable, required, .. }) => {
                return Err(Refusal::InsufficientFunds { available: refundable, required });
            }
            Err(LedgerError::LimitExceeded { available, required, .. }) => {
                return Err(Refusal::InsufficientFunds { available, required });
            }
            Err(_) => return Err(Refusal::KeyReused),
        }
        row.refunded = before + amount;
        let refunded = row.refunded;
        // What the bill took as a debt was booked back to the debtor with the rest.
        let to_debt = self.debt_paid(&row) - paid_before;
        row.owed = row.owed.saturating_sub(to_debt);
        self.pass_refund_on(&mut row, key, amount - to_debt.min(amount), payments);
        self.write_closing(row);
        Ok(Outcome::Refunded { amount, refunded })
    }

    /// The books have the money back: now the driver gets it.
    fn pass_refund_on(
        &mut self,
        row: &mut SessionRow,
        key: TransferKey,
        amount: Amount,
        payments: Vec<PaymentRow>,
    ) {
        match row.payer {
            // What wallet and debt gave they have back already, each its part.
            Payer::Local(_) | Payer::None => {}
            Payer::Remote(to) => {
                row.adjusted += 1;
                // There, too, what was never paid is no longer owed first.
                row.owed = row.owed.saturating_sub(amount);
                let (session, sequence) = (row.session, row.adjusted);
                let amount = row.charges.total() - row.refunded;
                let currency = row.deal.currency;
                self.queue_peer(to, PeerCommand::Adjust { session, sequence, amount, currency });
            }
            Payer::Card(_) => self.refund_card(row, key, amount, payments),
        }
    }

    fn refund_card(
        &mut self,
        row: &mut SessionRow,
        key: TransferKey,
        amount: Amount,
        payments: Vec<PaymentRow>,
    ) {
        let id = row.session;
        if !payments.is_empty() {
            // Those that still wait for an answer are here already, and newer.
            self.cards.entry(id).or_insert(payments);
            self.cards_touched.insert(id);
        }
        let rows = self.cards.get(&id).cloned().unwrap_or_default();
        // What the card was to give and did not is no longer owed, before it gets anything back.
        let mut to_debt = row.owed.min(amount);
        row.owed -= to_debt;
        let mut left = amount - to_debt;
        let taken = rows.iter().rev().filter(|capture| {
            capture.kind == PaymentKind::Capture && capture.state == PaymentState::Succeeded
        });
        for capture in taken {
            let amount = left_of(&rows, capture).min(left);
            if amount > 0 {
                left -= amount;
                let kind = PaymentKind::Refund;
                let of = Some(capture.of);
                self.ask_provider(id, Asked { kind, of, renews: false, amount });
            }
        }
        if left > 0 {
            // Nobody knows whether the card gave it: it is the driver's, and a person's to look at.
            to_debt += left;
            let text =
                format!("session {id}: {left} to be paid back that no card is known to have given");
            self.except(&row.identity, &text);
        }
        if let (Some(driver), true) = (row.driver.clone(), to_debt > 0) {
            let Payer::Card(psp) = row.payer else { return };
            let debtor = Debtor { wallet: psp, driver: Some(&driver) };
            self.credit_debtor(debtor, Purpose::RefundOwed.key(SessionId(key.0), 0), to_debt, id);
        }
    }

    /// What was ever given to the driver's debt.
    fn debt_paid(&self, row: &SessionRow) -> Amount {
        let id = row.driver.as_ref().map(|name| Name::Receivable(name).id(row.deal.currency));
        let account = id.and_then(|id| self.ledger.account(id));
        account.map_or(0, |account| account.credits_posted)
    }

    /// Window 23: a provider did not pay back what it was to: the driver is owed it.
    pub(crate) fn refund_answered(&mut self, row: &PaymentRow) {
        let id = row.session;
        if row.state == PaymentState::Succeeded && row.moved >= row.amount {
            return;
        }
        let (amount, state) = (row.amount, row.state.as_str());
        let text = format!("session {id}: {amount} were not paid back ({state}): {}", row.words);
        self.except(&row.driver, &text);
        let missing = match row.state {
            PaymentState::Succeeded => row.amount - row.moved,
            PaymentState::Declined => row.amount,
            _ => return,
        };
        let Ok(psp) = self.open(Name::Psp(&row.card.provider), row.currency) else { return };
        let debtor = Debtor { wallet: psp, driver: Some(&row.driver) };
        self.credit_debtor(debtor, Purpose::RefundFailed.key(id, row.number), missing, id);
    }

    /// What the provider does not pay back lessens what the driver owes, or is owed to the driver.
    fn credit_debtor(
        &mut self,
        debtor: Debtor<'_>,
        key: TransferKey,
        amount: Amount,
        id: SessionId,
    ) {
        let booked = self.receivable(debtor).and_then(|credit| {
            let leg = Leg::Post { debit: debtor.wallet, credit, amount, code: Code::Refund };
            self.post_new(self.now(), key, &[leg])
        });
        if let (Err(error), Some(driver)) = (booked, debtor.driver) {
            let text = format!("session {id}: {amount} to be paid back, not booked: {error}");
            self.except(driver, &text);
        }
    }
}
