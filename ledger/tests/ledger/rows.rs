//! Rows that do not fit together are refused; what is handed out is what changed.

use novax_ledger::{
    Code, EntryKind, HoldId, Ledger, LedgerError, Leg, Limit, Opening, Posted, Rows, Stamp,
};
use novax_model::{AccountId, Currency, Timestamp, TransferKey};

use crate::store::Store;

const FUNDING: AccountId = AccountId(1);
const WALLET: AccountId = AccountId(2);
const CLEARING: AccountId = AccountId(3);
const HOLD: HoldId = HoldId { key: TransferKey(8), leg: 0 };

fn post(ledger: &mut Ledger, at: u64, key: u128, legs: &[Leg]) -> Posted {
    let stamp = Stamp { index: at, at: Timestamp(at), effective_at: Timestamp(at - 1) };
    ledger.post(stamp, TransferKey(key), legs).unwrap().posted
}

fn open(ledger: &mut Ledger, id: AccountId, name: &str, limit: Limit) {
    ledger.open_account(Timestamp(1), Opening::new(id, name, Currency::EUR, limit)).unwrap();
}

/// A wallet with 1000, 600 of it held.
fn ledger_with_hold() -> Ledger {
    let mut ledger = Ledger::new();
    let wallet = Limit::DebitsMustNotExceedCredits;
    open(&mut ledger, FUNDING, "funding", Limit::None);
    open(&mut ledger, WALLET, "driver/ada", wallet);
    open(&mut ledger, CLEARING, "clearing", Limit::None);
    let code = Code::Deposit;
    post(&mut ledger, 1, 7, &[Leg::Post { debit: FUNDING, credit: WALLET, amount: 1000, code }]);
    let (debit, credit, expires) = (WALLET, CLEARING, Timestamp::MAX);
    let leg = Leg::Hold { debit, credit, amount: 600, code: Code::Hold, expires };
    post(&mut ledger, 2, 8, &[leg]);
    ledger
}

fn stored() -> Store {
    let mut store = Store::default();
    store.follow(&mut ledger_with_hold());
    store
}

#[test]
fn changes_are_what_was_touched_since_the_last_take() {
    let mut ledger = ledger_with_hold();
    let all = ledger.take_changes();
    assert_eq!(all.accounts().len(), 3);
    assert_eq!(all.keys().len(), 2);
    assert_eq!(all.journal().len(), 2);
    assert!(ledger.take_changes().is_empty());

    post(&mut ledger, 5, 9, &[Leg::PostHold { hold: HOLD, amount: 250, code: Code::Energy }]);
    let changes = ledger.take_changes();
    let touched: Vec<AccountId> = changes.accounts().map(|account| account.id).collect();
    assert_eq!(touched, [WALLET, CLEARING]);
    assert!(changes.holds().eq([(HOLD, None)]));
    // The key that placed the hold changes too: it keeps how the hold ended.
    let keys: Vec<u128> = changes.keys().map(|(key, _)| key.0).collect();
    assert_eq!(keys, [8, 9]);
    let [row] = changes.journal() else { panic!("one row") };
    assert_eq!((row.number, row.key, row.leg), (2, TransferKey(9), 0));
    assert_eq!((row.kind, row.hold), (EntryKind::PostedHold, Some(HOLD)));
    assert_eq!((row.amount, row.released), (250, 350));
    assert_eq!((row.debit, row.credit, row.currency), (WALLET, CLEARING, Currency::EUR));
    assert_eq!((row.at, row.effective_at), (Timestamp(5), Timestamp(4)));
    assert_eq!(ledger.next_journal(), 3);
}

#[test]
fn a_refused_set_leaves_no_change_to_take() {
    let mut ledger = ledger_with_hold();
    ledger.take_changes();
    let code = Code::Energy;
    let legs = [
        Leg::PostHold { hold: HOLD, amount: 600, code },
        Leg::Post { debit: WALLET, credit: CLEARING, amount: 401, code },
    ];
    let refused = ledger.post(Stamp::now(3, Timestamp(3)), TransferKey(9), &legs);
    let account = WALLET;
    let expected = LedgerError::LimitExceeded { account, available: 400, required: 401 };
    assert_eq!(refused.err(), Some(expected));
    assert!(ledger.take_changes().is_empty());
    assert_eq!(ledger.next_journal(), 2);
    assert!(ledger.hold(HOLD).is_some());
}

#[test]
fn accounts_come_in_order_of_id_however_they_were_opened() {
    let mut ledger = Ledger::new();
    for id in [5_u128, 1, 9, 3] {
        open(&mut ledger, AccountId(id), "a", Limit::None);
    }
    let ids: Vec<u128> = ledger.accounts().map(|account| account.id.0).collect();
    assert_eq!(ids, [1, 3, 5, 9]);
}

#[test]
fn names_are_bounded() {
    let mut ledger = Ledger::new();
    let name = "x".repeat(129);
    let opening = Opening::new(WALLET, &name, Currency::EUR, Limit::None);
    let refused = ledger.open_account(Timestamp(1), opening);
    assert_eq!(refused, Err(LedgerError::NameTooLong(WALLET)));
}

#[test]
fn a_lost_cent_is_found_on_restore() {
    let store = stored();
    let mut rows = store.rows();
    let funding = rows.accounts.iter_mut().find(|account| account.id == FUNDING).unwrap();
    funding.debits_posted -= 1;
    let refused = Ledger::restore(rows);
    assert_eq!(refused.err(), Some(LedgerError::NotConserved(Currency::EUR)));
}

#[test]
fn rows_that_do_not_fit_together_are_refused() {
    let store = stored();
    let (accounts, holds, keys) = (store.accounts(), store.holds(), store.keys());
    let restore = |accounts: Vec<_>, holds: Vec<_>, keys: Vec<_>| {
        Ledger::restore(Rows { head: store.head, accounts, holds, keys })
    };
    assert!(restore(accounts.clone(), holds.clone(), keys.clone()).is_ok());
    let is_inconsistent = |result: Result<Ledger, LedgerError>| {
        matches!(result.err(), Some(LedgerError::Inconsistent(_)))
    };

    // The hold's row is lost: its sums are not.
    assert!(is_inconsistent(restore(accounts.clone(), vec![], keys.clone())));
    // The key that placed it is lost: it could be placed again.
    assert!(is_inconsistent(restore(accounts.clone(), holds.clone(), vec![])));
    // Rows twice.
    let twice = [accounts.clone(), accounts.clone()].concat();
    assert!(is_inconsistent(restore(twice, holds.clone(), keys.clone())));
    let twice = [holds.clone(), holds.clone()].concat();
    assert!(is_inconsistent(restore(accounts.clone(), twice, keys.clone())));
    let twice = [keys.clone(), keys.clone()].concat();
    assert!(is_inconsistent(restore(accounts.clone(), holds.clone(), twice)));
    // Both sides wrong by the same: balanced, but the wallet is past its limit.
    let mut past = accounts.clone();
    for account in &mut past {
        if account.id == WALLET {
            account.debits_posted += 500;
        }
        if account.id == CLEARING {
            account.credits_posted += 500;
        }
    }
    assert!(is_inconsistent(restore(past, holds.clone(), keys.clone())));
    // Resolved, says the key; open, says the hold.
    let mut ledger = ledger_with_hold();
    post(&mut ledger, 3, 9, &[Leg::VoidHold { hold: HOLD, code: Code::Release }]);
    let changed = ledger.take_changes().keys();
    let keys_after = changed.collect();
    assert!(is_inconsistent(restore(accounts, holds, keys_after)));
}
