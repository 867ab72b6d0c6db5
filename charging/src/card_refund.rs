//! The part of a refund that a card's provider owes (window 23): the books have it back, now the card
//! gets it.
//!
//! **Invariants**: no card gets more back than it gave; what no card is known to have given lessens
//! what its driver owes; rows that are not the newest are refused, so that no operation's id is used
//! twice.

use crate::accounts::{Name, Purpose};
use crate::cards::Asked;
use crate::command::{Refund, Refusal};
use crate::money::Debtor;
use crate::payment::{PaymentKind, PaymentRow, PaymentState};
use crate::state::State;
use novax_ledger::{Code, JournalRow, Leg, Undone};
use novax_model::{AccountId, Amount, SessionId, TransferKey};

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
    /// The provider's account that paid a bill, if a card did.
    pub(crate) fn psp_of(&self, lines: &[JournalRow]) -> Option<AccountId> {
        let moved = lines.iter().filter(|row| row.kind.is_movement());
        moved.map(|row| row.debit).find(|id| {
            self.ledger.account(*id).is_some_and(|account| account.name.starts_with("psp/"))
        })
    }

    /// Whether what came with the request is what is known here.
    pub(crate) fn check_card_refund(&self, ask: &Refund) -> Result<(), Refusal> {
        if let Some(found) = self.sessions.get(&ask.session) {
            return Err(Refusal::WrongState(found.row.state));
        }
        let bill = self.ledger.set(Purpose::Settle.key(ask.session, 0));
        let before = match bill.map(|set| set.undone) {
            Some(Undone::No) => 0,
            Some(Undone::Refunded(before)) => before,
            _ => return Err(Refusal::NotRefundable),
        };
        let in_order =
            |(number, row): (u32, &PaymentRow)| (row.session, row.number) == (ask.session, number);
        let is_whole = !ask.payments.is_empty() && (0..).zip(&ask.payments).all(in_order);
        // Those that wait for an answer are here, and newer.
        let is_here = self.cards.contains_key(&ask.session);
        let is_newest = ask.payments.iter().all(|row| row.state.is_definite());
        if before == ask.before && is_whole && (is_here || is_newest) {
            Ok(())
        } else {
            Err(Refusal::NotRefundable)
        }
    }

    /// What a provider's account was given so far.
    pub(crate) fn given_to(&self, psp: AccountId) -> Amount {
        self.ledger.account(psp).map_or(0, |account| account.credits_posted)
    }

    /// The books have given `returned` to the provider's account: now the card gets what it gave.
    pub(crate) fn refund_card(&mut self, ask: &Refund, psp: AccountId, returned: Amount) {
        self.note_late_change();
        let id = ask.session;
        let rows = self.cards.entry(id).or_insert_with(|| ask.payments.clone()).clone();
        self.cards_touched.insert(id);
        let Some(first) = rows.first().cloned() else { return };
        let mut left = returned;
        let taken = rows.iter().rev().filter(|capture| {
            capture.kind == PaymentKind::Capture && capture.state == PaymentState::Succeeded
        });
        for capture in taken {
            let amount = left_of(&rows, capture).min(left);
            if amount > 0 {
                left -= amount;
                let (kind, of) = (PaymentKind::Refund, Some(capture.of));
                self.ask_provider(id, Asked { kind, of, renews: false, amount });
            }
        }
        if left > 0 {
            let debtor = Debtor { wallet: psp, driver: Some(&first.driver) };
            self.credit_debtor(debtor, Purpose::RefundOwed.key(id, ask.sequence), left, id);
        }
    }

    /// Window 23: a provider did not pay back what it was to: the driver is owed it.
    pub(crate) fn refund_answered(&mut self, row: &PaymentRow) {
        let id = row.session;
        if row.state == PaymentState::Succeeded && row.moved >= row.amount {
            return;
        }
        let (amount, state) = (row.amount, row.state.as_str());
        let text = format!("session {id}: {amount} were not paid back ({state}): {}", row.words);
        self.except_driver(&text);
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
        if let Err(error) = booked {
            let text = format!("session {id}: {amount} to be paid back, not booked: {error}");
            self.except_driver(&text);
        }
    }
}
