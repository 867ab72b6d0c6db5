//! The accounts of the load and the sets booked on them. Keys and ids spread as hashes do.

use super::price::{Bill, PARTIES};
use crate::error::{BenchError, Result};
use novax_ledger::{
    Changes, Code, HoldId, LEGS_MAX, Ledger, LedgerError, Leg, Limit, Opening, Stamp,
};
use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};
use std::hint::black_box;

/// Drivers with money.
pub(crate) const WALLETS: u64 = 100_000;
/// What each of them has.
pub(crate) const DEPOSIT: Amount = 1_000_000_000_000;
/// What is held for a session.
pub(crate) const HELD: Amount = 3_000;
/// Transfers of a session: the hold, its posting, a share for each party, the tax.
pub(crate) const SESSION_TRANSFERS: u64 = 3 + PARTIES as u64;
/// Sessions are held for so long, by the log's clock, which no load reaches.
const HOLD_US: u64 = 3_600_000_000;

const WALLET: u64 = 1;
const CLEARING: u64 = 2;
const TAX: u64 = 3;
const PARTY: u64 = 4;
const DEPOSITS: u64 = 50;
const HOLDS: u64 = 60;
const BILLS: u64 = 61;

/// What a set is refused with, if it is.
pub(crate) fn refused(error: &LedgerError) -> BenchError {
    BenchError::Answer(format!("the ledger refuses a set: {error}"))
}

/// Looks at each row that changed, as whoever stores them does; how they are written is not the ledger's.
pub(crate) fn visit(changes: Changes<'_>) {
    for account in changes.accounts() {
        black_box((account.balances(), account.name.len()));
    }
    for (id, hold) in changes.holds() {
        black_box((id, hold.copied()));
    }
    for (key, row) in changes.keys() {
        black_box((key, row));
    }
    for row in changes.journal() {
        black_box(row);
    }
}

/// Spreads as a hash would.
fn id(kind: u64, number: u64) -> u128 {
    let low = (number ^ (kind << 56)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let low = (low ^ (low >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let high = (low ^ (low >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (u128::from(high) << 64) | u128::from(low)
}

/// Among how many accounts the money of all drivers spreads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    /// Clearing accounts.
    pub(crate) clearing: u64,
    /// Accounts of each party, and of the tax.
    pub(crate) earning: u64,
}

impl Spread {
    /// Ten thousand sites, each with accounts of its own.
    pub(crate) const UNIFORM: Spread = Spread { clearing: 10_000, earning: 10_000 };
    /// Eight accounts in all: two for clearing, five parties, the tax.
    pub(crate) const HOT: Spread = Spread { clearing: 2, earning: 1 };
    /// For holds alone: all go to eight clearing accounts.
    pub(crate) const HOT_HOLDS: Spread = Spread { clearing: 8, earning: 1 };
}

/// The accounts of the load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Books {
    spread: Spread,
}

impl Books {
    pub(crate) fn new(spread: Spread) -> Books {
        Books { spread }
    }

    /// A ledger with all accounts open and the wallets filled.
    pub(crate) fn open(&self) -> Result<Ledger> {
        let mut ledger = Ledger::new();
        let at = Timestamp(1);
        let open = |ledger: &mut Ledger, id, name: &str, limit| {
            let opening = Opening::new(id, name, Currency::EUR, limit);
            ledger.open_account(at, opening).map_err(|error| refused(&error))
        };
        let funding = AccountId(id(100, 0));
        open(&mut ledger, funding, "funding", Limit::None)?;
        for number in 0..self.spread.clearing {
            open(&mut ledger, self.clearing(number), "clearing", Limit::None)?;
        }
        for number in 0..self.spread.earning {
            open(&mut ledger, self.tax(number), "tax/DE/VAT", Limit::None)?;
            for party in 0..PARTIES {
                open(&mut ledger, self.party(party, number), "site-host/of-a-site", Limit::None)?;
            }
        }
        for number in 0..WALLETS {
            let (wallet, limit) = (self.wallet(number), Limit::DebitsMustNotExceedCredits);
            open(&mut ledger, wallet, &format!("driver/{number:08}"), limit)?;
            let (debit, credit, code) = (funding, wallet, Code::Deposit);
            let leg = Leg::Post { debit, credit, amount: DEPOSIT, code };
            let posted = ledger.post(Stamp::now(1, at), TransferKey(id(DEPOSITS, number)), &[leg]);
            posted.map_err(|error| refused(&error))?;
        }
        ledger.take_changes();
        Ok(ledger)
    }

    /// The key under which a session's money is held.
    pub(crate) fn hold_key(&self, session: u64) -> TransferKey {
        TransferKey(id(HOLDS, session))
    }

    /// The key under which a session is settled.
    pub(crate) fn bill_key(&self, session: u64) -> TransferKey {
        TransferKey(id(BILLS, session))
    }

    /// Sets a driver's money aside.
    pub(crate) fn hold(&self, session: u64) -> Leg {
        Leg::Hold {
            debit: self.wallet(id(70, session) as u64 % WALLETS),
            credit: self.clearing(session),
            amount: HELD,
            code: Code::Hold,
            // Later sessions expire later, as in the field.
            expires: Timestamp(HOLD_US + session),
        }
    }

    /// Takes what a session cost, and gives each their share. Fills `legs`.
    pub(crate) fn settle(&self, session: u64, bill: &Bill, legs: &mut Vec<Leg>) {
        let debit = self.clearing(session);
        let hold = HoldId { key: self.hold_key(session), leg: 0 };
        legs.clear();
        legs.push(Leg::PostHold { hold, amount: bill.gross, code: Code::Energy });
        for share in &bill.shares {
            let credit = self.party(usize::from(share.party.0), session);
            let code = Code::OperatorShare;
            legs.push(Leg::Post { debit, credit, amount: share.amount, code });
        }
        let credit = self.tax(session);
        legs.push(Leg::Post { debit, credit, amount: bill.tax, code: Code::Tax });
        assert!(legs.len() <= LEGS_MAX, "a session's set is small");
        assert_eq!(legs.len() as u64 + 1, SESSION_TRANSFERS, "all parties have a share");
    }

    fn wallet(&self, number: u64) -> AccountId {
        AccountId(id(WALLET, number))
    }

    fn clearing(&self, number: u64) -> AccountId {
        AccountId(id(CLEARING, number % self.spread.clearing))
    }

    fn tax(&self, number: u64) -> AccountId {
        AccountId(id(TAX, number % self.spread.earning))
    }

    fn party(&self, party: usize, number: u64) -> AccountId {
        AccountId(id(PARTY + party as u64, number % self.spread.earning))
    }
}
