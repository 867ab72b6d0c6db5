//! Keys leave memory, the oldest first, and never while a hold depends on them; the store keeps them all.

use novax_ledger::{Code, HoldId, Ledger, LedgerError, Leg, Limit, Opening, Posted, Stamp};
use novax_model::{AccountId, Currency, Timestamp, TransferKey};

use crate::store::Store;

fn ledger() -> (Ledger, Store) {
    let mut ledger = Ledger::new();
    for id in [1, 2] {
        let opening = Opening::new(AccountId(id), "a", Currency::EUR, Limit::None);
        ledger.open_account(Timestamp(0), opening).unwrap();
    }
    (ledger, Store::default())
}

fn post(ledger: &mut Ledger, at: u64, key: u128, leg: Leg) -> Result<Posted, LedgerError> {
    let stamp = Stamp::now(at, Timestamp(at));
    ledger.post(stamp, TransferKey(key), &[leg]).map(|receipt| receipt.posted)
}

fn book(ledger: &mut Ledger, at: u64, key: u128, leg: Leg) {
    assert_eq!(post(ledger, at, key, leg), Ok(Posted::New));
}

fn trim(ledger: &mut Ledger, store: &mut Store, max: usize) {
    store.follow(ledger);
    ledger.trim_keys(max);
}

fn pay() -> Leg {
    Leg::Post { debit: AccountId(1), credit: AccountId(2), amount: 1, code: Code::Correction }
}

fn hold() -> Leg {
    let (debit, credit, expires) = (AccountId(1), AccountId(2), Timestamp::MAX);
    Leg::Hold { debit, credit, amount: 1, code: Code::Hold, expires }
}

fn in_memory(ledger: &Ledger) -> Vec<u128> {
    (0..300).filter(|key| ledger.set(TransferKey(*key)).is_some()).collect()
}

#[test]
fn the_newest_stay_and_the_store_keeps_all() {
    let (mut ledger, mut store) = ledger();
    // Booked in another order than their keys'.
    for (at, key) in [(1, 9), (2, 3), (3, 7), (4, 1), (5, 2)] {
        book(&mut ledger, at, key, pay());
    }
    trim(&mut ledger, &mut store, 5);
    assert_eq!(in_memory(&ledger), [1, 2, 3, 7, 9]);
    trim(&mut ledger, &mut store, 2);
    assert_eq!(in_memory(&ledger), [1, 2]);
    book(&mut ledger, 6, 4, pay());
    trim(&mut ledger, &mut store, 2);
    assert_eq!(in_memory(&ledger), [2, 4]);
    assert_eq!(store.keys.len(), 6);
}

#[test]
fn a_set_that_was_recalled_is_repeated_as_if_it_had_never_left_and_leaves_again() {
    let (mut ledger, mut store) = ledger();
    book(&mut ledger, 1, 5, pay());
    book(&mut ledger, 2, 6, pay());
    let before = ledger.set(TransferKey(5));
    trim(&mut ledger, &mut store, 1);
    assert_eq!(ledger.set(TransferKey(5)), None);
    store.recall(&mut ledger, TransferKey(5));
    assert_eq!(ledger.set(TransferKey(5)), before);
    assert_eq!(post(&mut ledger, 3, 5, pay()), Ok(Posted::Repeat));
    let other = post(&mut ledger, 3, 5, hold());
    assert_eq!(other, Err(LedgerError::KeyReused(TransferKey(5))));
    trim(&mut ledger, &mut store, 1);
    assert_eq!(in_memory(&ledger), [6]);
}

#[test]
fn what_was_refunded_of_a_set_is_known_when_it_comes_back() {
    let (mut ledger, mut store) = ledger();
    let ten =
        Leg::Post { debit: AccountId(1), credit: AccountId(2), amount: 10, code: Code::Energy };
    book(&mut ledger, 1, 5, ten);
    trim(&mut ledger, &mut store, 0);
    for (at, amount, fits) in [(2, 6, true), (3, 5, false), (4, 4, true), (5, 1, false)] {
        store.recall(&mut ledger, TransferKey(5));
        let lines = store.lines_of_set(ledger.set(TransferKey(5)));
        let (stamp, original) = (Stamp::now(at, Timestamp(at)), TransferKey(5));
        let key = TransferKey(at.into());
        let done = ledger.refund(stamp, key, original, &lines, amount, Code::Refund);
        assert_eq!(done.is_ok(), fits, "{amount} at {at}");
        trim(&mut ledger, &mut store, 0);
        assert_eq!(in_memory(&ledger), [0_u128; 0]);
    }
}

#[test]
fn an_open_hold_keeps_its_key_and_nobody_elses() {
    let (mut ledger, mut store) = ledger();
    book(&mut ledger, 1, 1, hold());
    book(&mut ledger, 2, 2, pay());
    book(&mut ledger, 3, 3, pay());
    trim(&mut ledger, &mut store, 1);
    assert_eq!(in_memory(&ledger), [1, 3]);
    let mut restored = store.restore().unwrap();
    let hold = HoldId { key: TransferKey(1), leg: 0 };
    let void = Leg::VoidHold { hold, code: Code::Release };
    restored.trim_keys(1);
    for ledger in [&mut ledger, &mut restored] {
        assert_eq!(in_memory(ledger), [1, 3]);
        let mut store = store.clone();
        book(ledger, 4, 4, void);
        trim(ledger, &mut store, 1);
        assert_eq!(in_memory(ledger), [4]);
        // What became of it is known to whoever recalls its key.
        assert_eq!(post(ledger, 5, 5, void), Err(LedgerError::HoldMissing(hold)));
        store.recall(ledger, TransferKey(1));
        assert_eq!(post(ledger, 5, 5, void), Err(LedgerError::HoldAlreadyVoided(hold)));
        trim(ledger, &mut store, 1);
    }
    assert_eq!(ledger.take_changes(), restored.take_changes());
}

#[test]
fn a_restored_ledger_has_the_keys_in_memory_that_one_has_which_never_stopped() {
    let (mut ledger, mut store) = ledger();
    for at in 1..100_u64 {
        // Every third hold is resolved ten steps later.
        let leg = if at % 3 == 0 { hold() } else { pay() };
        let resolved = at.checked_sub(10).filter(|at| at % 9 == 0);
        match resolved.filter(|at| *at > 0) {
            Some(key) => {
                let hold = HoldId { key: TransferKey(key.into()), leg: 0 };
                book(&mut ledger, at, at.into(), Leg::VoidHold { hold, code: Code::Release });
            }
            None => book(&mut ledger, at, at.into(), leg),
        }
        if at % 7 == 0 {
            store.recall(&mut ledger, TransferKey(u128::from(at / 2)));
        }
        trim(&mut ledger, &mut store, 8);
        let mut restored = store.restore().unwrap();
        restored.trim_keys(8);
        assert_eq!(in_memory(&restored), in_memory(&ledger), "after {at}");
        ledger.audit().unwrap();
    }
}
