//! What a payment provider books of its own accord: its fees, and payments that the payer's bank takes
//! back, or may (chargebacks).
//!
//! | what | debit | credit |
//! |---|---|---|
//! | a fee | `psp-fee/<provider>` | `psp/<provider>` |
//! | a dispute is opened | `chargeback`; its fee: `psp-fee/<provider>` | `psp/<provider>` |
//! | it is won | `psp/<provider>` | `chargeback` |
//! | it is lost | `receivable/<driver>`, or `write-off` | `chargeback` |
//!
//! **Invariants**: each is booked once, by the provider's own name for it; a dispute is opened before it
//! is closed, and closed one way; what is closed is what was opened, so `chargeback` goes back to zero.
//! Whoever earned by a disputed charge keeps it: the driver owes again.

use crate::accounts::Name;
use crate::command::{Outcome, Refusal};
use crate::config::AMOUNT_MAX;
use crate::hash::key128;
use crate::payment::{CARD_TEXT_BYTES_MAX, ProviderEntry, ProviderEntryKind};
use crate::state::State;
use novax_ledger::{Code, LedgerError, Leg};
use novax_model::{AccountId, Amount, TransferKey};

impl ProviderEntry {
    /// The key under which it is booked.
    #[must_use]
    pub fn key(&self) -> TransferKey {
        ProviderEntry::key_of(&self.provider, &self.reference, self.kind)
    }

    /// The key of what a provider calls so.
    #[must_use]
    pub fn key_of(provider: &str, reference: &str, kind: ProviderEntryKind) -> TransferKey {
        let what: &[u8] = match kind {
            ProviderEntryKind::Fee => b"psp-fee",
            ProviderEntryKind::DisputeOpened => b"dispute-opened",
            ProviderEntryKind::DisputeWon => b"dispute-won",
            ProviderEntryKind::DisputeLost => b"dispute-lost",
        };
        TransferKey(key128(&[what, provider.as_bytes(), reference.as_bytes()]))
    }

    fn check(&self) -> Result<(), Refusal> {
        let plain = |text: &str, max: usize| {
            (1..=max).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if !plain(&self.provider, 32) || !plain(&self.reference, CARD_TEXT_BYTES_MAX) {
            return Err(Refusal::BadTerms("the names are no names of a provider".into()));
        }
        if self.amount == 0 || self.amount > AMOUNT_MAX || self.fee > AMOUNT_MAX {
            return Err(Refusal::BadTerms("the amount is nothing, or too large".into()));
        }
        Ok(())
    }
}

impl State {
    /// A provider booked something of its own accord.
    pub(crate) fn provider_booked(&mut self, entry: &ProviderEntry) -> Result<Outcome, Refusal> {
        entry.check()?;
        let key = entry.key();
        let other = match entry.kind {
            ProviderEntryKind::DisputeWon => Some(ProviderEntryKind::DisputeLost),
            ProviderEntryKind::DisputeLost => Some(ProviderEntryKind::DisputeWon),
            ProviderEntryKind::Fee | ProviderEntryKind::DisputeOpened => None,
        };
        if let Some(other) = other {
            let other = ProviderEntry::key_of(&entry.provider, &entry.reference, other);
            if self.ledger.set(other).is_some() {
                return Err(Refusal::KeyReused);
            }
            // Closed before; who owes it may be another by now, should the driver have been forgotten.
            if self.ledger.set(key).is_some() {
                return Ok(Outcome::Done);
            }
        }
        let legs = self.provider_legs(entry)?;
        let stamp = self.stamp(self.now());
        match self.ledger.post(stamp, key, &legs) {
            Ok(receipt) if receipt.is_new() => self.tell_of(entry),
            Ok(_) => {}
            Err(LedgerError::KeyReused(_)) => return Err(Refusal::KeyReused),
            Err(_) => return Err(Refusal::Full),
        }
        Ok(Outcome::Done)
    }

    fn provider_legs(&mut self, entry: &ProviderEntry) -> Result<Vec<Leg>, Refusal> {
        let (amount, currency) = (entry.amount, entry.currency);
        let psp = self.open(Name::Psp(&entry.provider), currency)?;
        let fees = self.open(Name::Party(&format!("psp-fee/{}", entry.provider)), currency)?;
        let lost = self.open(Name::Party("chargeback"), currency)?;
        let leg = |debit: AccountId, credit: AccountId, amount: Amount, code| Leg::Post {
            debit,
            credit,
            amount,
            code,
        };
        let mut legs = match entry.kind {
            ProviderEntryKind::Fee => vec![leg(fees, psp, amount, Code::PspFee)],
            ProviderEntryKind::DisputeOpened => vec![leg(lost, psp, amount, Code::Dispute)],
            ProviderEntryKind::DisputeWon => {
                self.check_opened(entry)?;
                vec![leg(psp, lost, amount, Code::Dispute)]
            }
            ProviderEntryKind::DisputeLost => {
                self.check_opened(entry)?;
                let debts = entry.driver.as_ref().map(|driver| self.debts_of(driver, currency));
                let debtor = match debts {
                    Some(Ok(debts)) => debts,
                    _ => self.open(Name::Party("write-off"), currency)?,
                };
                vec![leg(debtor, lost, amount, Code::Chargeback)]
            }
        };
        if entry.fee > 0 {
            legs.push(leg(fees, psp, entry.fee, Code::DisputeFee));
        }
        Ok(legs)
    }

    /// A dispute that is closed was opened, and is about the same amount.
    fn check_opened(&self, entry: &ProviderEntry) -> Result<(), Refusal> {
        let opened = ProviderEntryKind::DisputeOpened;
        let key = ProviderEntry::key_of(&entry.provider, &entry.reference, opened);
        let set = self.ledger.set(key).ok_or(Refusal::NotRefundable)?;
        // What it moved stays on its account until it is closed.
        assert!(set.rows >= 1, "a booked set has rows");
        let lost = Name::Party("chargeback").id(entry.currency);
        let open = self.ledger.account(lost);
        let open =
            open.map_or(0, |account| account.debits_posted.saturating_sub(account.credits_posted));
        if entry.amount > open { Err(Refusal::NotRefundable) } else { Ok(()) }
    }

    fn tell_of(&mut self, entry: &ProviderEntry) {
        let what = match entry.kind {
            ProviderEntryKind::Fee => return,
            ProviderEntryKind::DisputeOpened => "is disputed by the payer's bank",
            ProviderEntryKind::DisputeWon => "was disputed, and the dispute is won",
            ProviderEntryKind::DisputeLost => "was disputed, and the dispute is lost",
        };
        let amount = entry.currency.format(entry.amount);
        let of = match entry.session {
            Some(session) => format!("session {session}"),
            None => "a payment of no session known".to_owned(),
        };
        let text = format!("{of}: {amount} {what}: {}", entry.reference);
        self.except_driver(&text);
    }
}
