//! Keys are forgotten when they are old, in order, and never while a hold depends on them.

use novax_ledger::{
    Code, HoldId, KEY_AGE_MIN, Ledger, LedgerError, Leg, Limit, Opening, Posted, Stamp,
};
use novax_model::{AccountId, Currency, Timestamp, TransferKey};

use crate::store::Store;

const DAY_US: u64 = 24 * 3600 * 1_000_000;

fn ledger() -> Ledger {
    let mut ledger = Ledger::new();
    for id in [1, 2] {
        let opening = Opening::new(AccountId(id), "a", Currency::EUR, Limit::None);
        ledger.open_account(Timestamp(0), opening).unwrap();
    }
    ledger
}

fn book(ledger: &mut Ledger, day: u64, key: u128, leg: Leg) -> Posted {
    let stamp = Stamp::now(day, Timestamp(day * DAY_US));
    ledger.post(stamp, TransferKey(key), &[leg]).unwrap().posted
}

fn pay() -> Leg {
    Leg::Post { debit: AccountId(1), credit: AccountId(2), amount: 1, code: Code::Correction }
}

fn hold() -> Leg {
    let (debit, credit, expires) = (AccountId(1), AccountId(2), Timestamp::MAX);
    Leg::Hold { debit, credit, amount: 1, code: Code::Hold, expires }
}

fn known(ledger: &Ledger) -> Vec<u128> {
    (0..300).filter(|key| ledger.set(TransferKey(*key)).is_some()).collect()
}

#[test]
fn the_oldest_go_first_and_no_more_than_asked() {
    let mut ledger = ledger();
    // Booked in another order than their keys'.
    for (day, key) in [(1, 9), (2, 3), (3, 7), (4, 1), (100, 2)] {
        book(&mut ledger, day, key, pay());
    }
    assert_eq!(ledger.forget_keys(Timestamp(30 * DAY_US), 3), 3);
    assert_eq!(known(&ledger), [1, 2]);
    assert_eq!(ledger.forget_keys(Timestamp(30 * DAY_US), 3), 1);
    assert_eq!(ledger.forget_keys(Timestamp(30 * DAY_US), 3), 0);
    assert_eq!(known(&ledger), [2]);
}

#[test]
fn no_key_younger_than_sixty_days_is_forgotten_whatever_is_asked() {
    assert_eq!(KEY_AGE_MIN.as_secs(), 60 * 24 * 3600);
    let mut ledger = ledger();
    for day in 1..=100 {
        book(&mut ledger, day, day.into(), pay());
    }
    assert_eq!(ledger.forget_keys(Timestamp::MAX, usize::MAX), 39);
    assert_eq!(known(&ledger), (40..=100).collect::<Vec<u128>>());
}

#[test]
fn a_repeat_of_a_forgotten_set_is_a_new_one_and_the_store_follows() {
    let mut ledger = ledger();
    let mut store = Store::default();
    book(&mut ledger, 1, 5, pay());
    book(&mut ledger, 100, 6, pay());
    store.follow(&mut ledger);
    assert_eq!(store.keys.len(), 2);
    assert_eq!(ledger.forget_keys(Timestamp(50 * DAY_US), 9), 1);
    store.follow(&mut ledger);
    assert_eq!(store.keys.len(), 1);
    assert_eq!(book(&mut ledger, 101, 5, pay()), Posted::New);
    // Forgotten and booked anew between two takes: what is stored is the new one.
    assert_eq!(book(&mut ledger, 200, 7, pay()), Posted::New);
    assert_eq!(ledger.forget_keys(Timestamp(120 * DAY_US), 9), 2);
    assert_eq!(book(&mut ledger, 201, 5, pay()), Posted::New);
    store.follow(&mut ledger);
    let restored = store.restore().unwrap();
    assert_eq!(known(&restored), [5, 7]);
    assert_eq!(restored.set(TransferKey(5)), ledger.set(TransferKey(5)));
}

#[test]
fn an_open_hold_keeps_its_key_and_holds_nobody_else_up() {
    let mut ledger = ledger();
    let mut store = Store::default();
    book(&mut ledger, 1, 1, hold());
    book(&mut ledger, 2, 2, pay());
    book(&mut ledger, 100, 3, pay());
    let before = Timestamp(50 * DAY_US);
    assert_eq!(ledger.forget_keys(before, 9), 1);
    assert_eq!(known(&ledger), [1, 3]);
    store.follow(&mut ledger);
    let mut restored = store.restore().unwrap();
    let hold = HoldId { key: TransferKey(1), leg: 0 };
    for ledger in [&mut ledger, &mut restored] {
        assert_eq!(ledger.forget_keys(before, 9), 0);
        let void = Leg::VoidHold { hold, code: Code::Release };
        assert_eq!(book(ledger, 101, 4, void), Posted::New);
        assert_eq!(ledger.forget_keys(before, 9), 1);
        assert_eq!(known(ledger), [3, 4]);
        // Forgotten is forgotten: the hold was never heard of.
        let stamp = Stamp::now(102, Timestamp(102 * DAY_US));
        let refused = ledger.post(stamp, TransferKey(5), &[void]).map(|receipt| receipt.posted);
        assert_eq!(refused, Err(LedgerError::HoldMissing(hold)));
    }
    assert_eq!(ledger.take_changes(), restored.take_changes());
}
