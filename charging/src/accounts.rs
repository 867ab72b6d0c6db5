//! The chart of accounts and the keys of transfers.
//!
//! An account is named by a path and a currency; its id is the 128-bit FNV-1a of both, so a name
//! leads to its account without a table. Opened on first use. The id of a person's account is a
//! salted commitment (`novax_audit::commitment`): it says nothing to whoever has not the salt, which
//! stands in the driver's row and is forgotten with it.
//!
//! | name | limit | what it is |
//! |---|---|---|
//! | `driver/<driver>` | never below zero, holds counted | a driver's wallet |
//! | `receivable/<driver>` | none | what a driver owes beyond the wallet |
//! | `funding` | none | where money comes in: its debit is all deposits |
//! | `psp/<provider>` | none | what a payment provider owes us: taken from cards, less what it paid back |
//! | `psp-fee/<provider>` | none | what a payment provider keeps for its work |
//! | `chargeback` | none | disputed with the payer's bank, not decided |
//! | a party of a contract: `operator`, `site-host/<site>` | none | what it earned |
//! | `tax/<jurisdiction>/<tax>` | none | tax collected; `tax` where the tariff alone says the rate |
//! | `fx/position`, `fx/spread` | none | currencies bought and sold; what the house kept of it |
//! | `suspense`, `write-off` | none | money nobody can place; debts given up |
//! | `clearing/p<n>` | none | money between this partition and partition n; with itself: passing through |
//!
//! Clearing with itself is zero after every settlement; clearing between two partitions is zero
//! once both have booked, summed over both.

use crate::hash::key128;
use crate::rows::Salt;
use novax_audit::commitment::commit;
use novax_ledger::Limit;
use novax_model::{AccountId, Currency, Identity, PartitionId, SessionId, TransferKey};

/// An account's name, before its currency.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name<'a> {
    /// A wallet, and its id.
    Driver(&'a Identity, AccountId),
    /// What a driver owes, and that account's id.
    Receivable(&'a Identity, AccountId),
    Funding,
    /// As its contract names it, or a tax.
    Party(&'a str),
    /// A payment provider.
    Psp(&'a str),
    Clearing(PartitionId),
}

/// First part of the names of accounts of debts.
const RECEIVABLE: &str = "receivable/";

/// The id of a driver's wallet.
pub(crate) fn wallet_id(salt: &Salt, driver: &Identity, currency: Currency) -> AccountId {
    commit(salt, &format!("driver/{driver}"), currency)
}

/// The id of the account of what a driver owes.
pub(crate) fn receivable_id(salt: &Salt, driver: &Identity, currency: Currency) -> AccountId {
    commit(salt, &format!("{RECEIVABLE}{driver}"), currency)
}

/// Whose debts an account of this name is about.
pub(crate) fn debtor_of(name: &str) -> Option<Identity> {
    Identity::new(name.strip_prefix(RECEIVABLE)?).ok()
}

/// The account of a tax.
pub(crate) fn tax_name(jurisdiction: &str, tax: &str) -> String {
    if jurisdiction.is_empty() { "tax".to_owned() } else { format!("tax/{jurisdiction}/{tax}") }
}

impl Name<'_> {
    /// As it stands in the account row.
    pub(crate) fn text(self) -> String {
        match self {
            Name::Driver(driver, _) => format!("driver/{driver}"),
            Name::Receivable(driver, _) => format!("{RECEIVABLE}{driver}"),
            Name::Funding => "funding".to_owned(),
            Name::Party(party) => party.to_owned(),
            Name::Psp(provider) => format!("psp/{provider}"),
            Name::Clearing(partition) => format!("clearing/{partition}"),
        }
    }

    /// Only a wallet has a limit.
    pub(crate) fn limit(self) -> Limit {
        match self {
            Name::Driver(..) => Limit::DebitsMustNotExceedCredits,
            _ => Limit::None,
        }
    }

    /// Those whose statement is read line by line: wallets and what is owed, parties of contracts,
    /// taxes.
    pub(crate) fn has_history(self) -> bool {
        self.is_personal() || matches!(self, Name::Party(_))
    }

    /// Whether it belongs to a person.
    pub(crate) fn is_personal(self) -> bool {
        matches!(self, Name::Driver(..) | Name::Receivable(..))
    }

    /// The account's id.
    pub(crate) fn id(self, currency: Currency) -> AccountId {
        match self {
            Name::Driver(_, id) | Name::Receivable(_, id) => id,
            _ => AccountId(key128(&[self.text().as_bytes(), &currency.bytes()])),
        }
    }
}

/// What a linked set of transfers does for a session. One partition may be on both sides of a
/// session, so the payer's sets have names of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Hold from a wallet of the session's own partition.
    Hold,
    /// That hold voided.
    Release,
    /// The bill.
    Settle,
    /// What the bill turned out to be more or less.
    Adjust,
    /// A part of the bill goes back.
    Refund,
    /// Hold for a session of another partition.
    PeerHold,
    /// That hold voided.
    PeerRelease,
    /// That hold taken.
    Capture,
    /// What that bill turned out to be more or less.
    PeerAdjust,
    /// A part of that bill goes back.
    PeerRefund,
    /// What a card did not give after all.
    Uncaptured,
    /// A part of what was paid back that was never paid, but owed.
    RefundOwed,
    /// What a payment provider did not pay back after all.
    RefundFailed,
}

impl Purpose {
    fn text(self) -> &'static str {
        match self {
            Purpose::Hold => "hold",
            Purpose::Release => "release",
            Purpose::Settle => "settle",
            Purpose::Adjust => "adjust",
            Purpose::Refund => "refund",
            Purpose::PeerHold => "peer-hold",
            Purpose::PeerRelease => "peer-release",
            Purpose::Capture => "capture",
            Purpose::PeerAdjust => "peer-adjust",
            Purpose::PeerRefund => "peer-refund",
            Purpose::Uncaptured => "uncaptured",
            Purpose::RefundOwed => "refund-owed",
            Purpose::RefundFailed => "refund-failed",
        }
    }

    /// The key of the n-th such set of a session.
    pub(crate) fn key(self, session: SessionId, n: u32) -> TransferKey {
        let parts: [&[u8]; 3] =
            [self.text().as_bytes(), &session.0.to_le_bytes(), &n.to_le_bytes()];
        TransferKey(key128(&parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_and_number_has_a_key_of_its_own() {
        let purposes = [
            Purpose::Hold,
            Purpose::Release,
            Purpose::Settle,
            Purpose::Adjust,
            Purpose::Refund,
            Purpose::PeerHold,
            Purpose::PeerRelease,
            Purpose::Capture,
            Purpose::PeerAdjust,
            Purpose::PeerRefund,
            Purpose::Uncaptured,
            Purpose::RefundOwed,
            Purpose::RefundFailed,
        ];
        let mut keys = std::collections::BTreeSet::new();
        for purpose in purposes {
            for n in 0..4 {
                for session in 0..4 {
                    assert!(keys.insert(purpose.key(SessionId(session), n)));
                }
            }
        }
    }

    #[test]
    fn a_wallet_is_apart_from_what_is_owed_and_from_other_currencies() {
        let driver = Identity::new("alice").unwrap();
        let usd = Currency::new("USD").unwrap();
        let wallet = wallet_id(&[7; 32], &driver, Currency::EUR);
        assert_ne!(wallet, receivable_id(&[7; 32], &driver, Currency::EUR));
        assert_ne!(wallet, wallet_id(&[7; 32], &driver, usd));
        assert_ne!(wallet, wallet_id(&[8; 32], &driver, Currency::EUR), "without its salt");
        let debts = Name::Receivable(&driver, wallet).text();
        assert_eq!(debtor_of(&debts), Some(driver));
        assert_eq!(debtor_of("operator"), None);
        assert_eq!(Name::Clearing(PartitionId(3)).text(), "clearing/p3");
    }
}
