//! Money back after a session was settled (window 23): whoever earned by it gives back in proportion
//! to what they earned, and the driver gets it, here or in the payer's partition.
//!
//! **Invariants**: no more goes back than was billed; each refund is booked once on either side; what
//! was booked before stays as it is. The journal's lines come with the command, and the ledger takes
//! them only if they are what it booked.

use crate::accounts::{Name, Purpose};
use crate::command::{Outcome, PeerCommand, Refund, Refusal};
use crate::document::Billing;
use crate::money::Debtor;
use crate::rows::{PayerSessionRow, SessionState};
use crate::state::State;
use novax_ledger::{Code, JournalRow, LedgerError};
use novax_model::{Amount, Currency, PartitionId, SessionId};

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
        let stamp = self.stamp(self.now());
        let booked = self.ledger.refund(stamp, key, original, &ask.lines, amount, Code::Refund);
        let is_new = booked.map(|receipt| receipt.is_new()).map_err(|error| refused(&error))?;
        if is_new {
            self.note_booking(session, Billing::Refund, sequence);
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
        let (name, money) = (Name::Clearing(row.partition), (row.bill_currency(), row.fx.as_ref()));
        let (_, owed) = self.bring_difference(debtor, name, money, bills, owed, &mut legs)?;
        self.post_new(self.now(), key, &legs)?;
        Ok(owed)
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
