//! Defects that users of other ledgers reported in public, each as a test that this one is without.

use novax_ledger::{
    Code, HoldId, Ledger, LedgerError, Leg, Limit, Opening, POST_ALL, Posted, Stamp,
};
use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};

use crate::store::Store;

const FUNDING: AccountId = AccountId(1);
const WALLET: AccountId = AccountId(2);
const CLEARING: AccountId = AccountId(3);

/// A wallet with 1000.
pub(crate) fn filled() -> Ledger {
    let mut ledger = Ledger::new();
    let wallet = Limit::DebitsMustNotExceedCredits;
    let accounts = [(FUNDING, Limit::None), (WALLET, wallet), (CLEARING, Limit::None)];
    for (id, limit) in accounts {
        ledger.open_account(Timestamp(1), Opening::new(id, "a", Currency::EUR, limit)).unwrap();
    }
    post(&mut ledger, 1, 1, &[deposit(1000)]).unwrap();
    ledger
}

fn deposit(amount: Amount) -> Leg {
    Leg::Post { debit: FUNDING, credit: WALLET, amount, code: Code::Deposit }
}

fn hold(amount: Amount) -> Leg {
    let expires = Timestamp::MAX;
    Leg::Hold { debit: WALLET, credit: CLEARING, amount, code: Code::Hold, expires }
}

fn pay(amount: Amount) -> Leg {
    Leg::Post { debit: WALLET, credit: CLEARING, amount, code: Code::Energy }
}

fn capture(key: u128, amount: Amount) -> Leg {
    Leg::PostHold { hold: HoldId { key: TransferKey(key), leg: 0 }, amount, code: Code::Energy }
}

fn post(ledger: &mut Ledger, at: u64, key: u128, legs: &[Leg]) -> Result<Posted, LedgerError> {
    let receipt = ledger.post(Stamp::now(at, Timestamp(at)), TransferKey(key), legs)?;
    Ok(receipt.posted)
}

fn available(ledger: &Ledger) -> Amount {
    ledger.account(WALLET).unwrap().available()
}

#[test]
fn limits_count_what_is_in_flight() {
    let mut ledger = filled();
    post(&mut ledger, 2, 2, &[hold(600)]).unwrap();
    let too_much = LedgerError::LimitExceeded { account: WALLET, available: 400, required: 401 };
    assert_eq!(post(&mut ledger, 3, 3, &[pay(401)]), Err(too_much.clone()));
    assert_eq!(post(&mut ledger, 3, 3, &[hold(401)]), Err(too_much.clone()));
    let raise = Leg::RaiseHold {
        hold: HoldId { key: TransferKey(2), leg: 0 },
        more: 401,
        expires: Timestamp::MAX,
    };
    assert_eq!(post(&mut ledger, 3, 3, &[raise]), Err(too_much));
    // What is left is what a balancing leg takes, no more.
    let (debit, credit, code) = (WALLET, CLEARING, Code::Sweep);
    post(&mut ledger, 3, 3, &[Leg::Balancing { debit, credit, max: POST_ALL, code }]).unwrap();
    assert_eq!(available(&ledger), 0);
    assert_eq!(ledger.account(WALLET).unwrap().debits_posted, 400);
}

#[test]
fn a_hold_within_the_limit_can_always_be_taken_whatever_came_between() {
    let mut ledger = filled();
    post(&mut ledger, 2, 2, &[hold(1000)]).unwrap();
    assert!(post(&mut ledger, 3, 3, &[pay(1)]).is_err());
    assert_eq!(post(&mut ledger, 4, 4, &[capture(2, POST_ALL)]), Ok(Posted::New));
}

#[test]
fn a_rejected_set_cannot_be_committed() {
    let mut ledger = filled();
    assert!(post(&mut ledger, 2, 2, &[hold(1001)]).is_err());
    let missing = LedgerError::HoldMissing(HoldId { key: TransferKey(2), leg: 0 });
    assert_eq!(post(&mut ledger, 3, 3, &[capture(2, 1)]), Err(missing));
    assert_eq!(ledger.set(TransferKey(2)), None);
    assert_eq!(available(&ledger), 1000);
}

#[test]
fn two_commits_of_one_hold_in_one_batch_take_it_once() {
    // Both in one log entry, as two requests and as two legs of one.
    let mut ledger = filled();
    post(&mut ledger, 2, 2, &[hold(600)]).unwrap();
    ledger.take_changes();
    let again = LedgerError::HoldAlreadyPosted(HoldId { key: TransferKey(2), leg: 0 });
    assert_eq!(post(&mut ledger, 3, 3, &[capture(2, 300), capture(2, 300)]), Err(again.clone()));
    assert_eq!(post(&mut ledger, 3, 4, &[capture(2, 300)]), Ok(Posted::New));
    assert_eq!(post(&mut ledger, 3, 5, &[capture(2, 300)]), Err(again));
    assert_eq!(ledger.account(WALLET).unwrap().debits_posted, 300);
}

#[test]
fn one_key_twice_in_one_batch_books_once() {
    let mut ledger = filled();
    ledger.take_changes();
    assert_eq!(post(&mut ledger, 2, 2, &[pay(100)]), Ok(Posted::New));
    assert_eq!(post(&mut ledger, 2, 2, &[pay(100)]), Ok(Posted::Repeat));
    let reused = LedgerError::KeyReused(TransferKey(2));
    assert_eq!(post(&mut ledger, 2, 2, &[pay(101)]), Err(reused));
    let changes = ledger.take_changes();
    assert_eq!(changes.journal().len(), 1);
    assert_eq!(changes.keys().len(), 1);
    assert_eq!(available(&ledger), 900);
}

#[test]
fn record_and_balance_are_never_apart() {
    // A store that has the changes of some calls, however many, is a whole ledger.
    let mut ledger = filled();
    let mut store = Store::default();
    store.follow(&mut ledger);
    let steps: [&[Leg]; 4] =
        [&[hold(600)], &[capture(2, 250), pay(100)], &[pay(1_000_000)], &[deposit(5), pay(5)]];
    for (key, legs) in (2..).zip(steps) {
        let _ = post(&mut ledger, 9, key, legs);
        store.follow(&mut ledger);
        let restored = store.restore().unwrap();
        for account in ledger.accounts() {
            assert_eq!(restored.account(account.id), Some(account));
        }
        assert!(restored.holds().eq(ledger.holds()));
        assert_eq!(restored.next_journal(), ledger.next_journal());
    }
}

#[test]
fn a_hold_that_moved_balances_also_wrote_its_row() {
    // Balances moved and no transaction was written, elsewhere, when a rate was involved.
    let mut ledger = filled();
    ledger.take_changes();
    for (key, legs) in (2..).zip([[hold(10)], [pay(10)], [capture(2, 5)]]) {
        let next = ledger.next_journal();
        post(&mut ledger, 2, key, &legs).unwrap();
        let changes = ledger.take_changes();
        assert_eq!(changes.journal().len(), 1);
        assert_eq!(changes.journal()[0].number, next);
        assert!(changes.accounts().len() > 0);
    }
}

#[test]
fn a_bulk_is_all_or_none() {
    let mut ledger = filled();
    post(&mut ledger, 2, 2, &[hold(400)]).unwrap();
    let before: Vec<_> = ledger.accounts().cloned().collect();
    ledger.take_changes();
    let mut bulk = vec![pay(1); 62];
    bulk.push(capture(2, 400));
    bulk.push(pay(539));
    let account = WALLET;
    let refused = LedgerError::LimitExceeded { account, available: 538, required: 539 };
    assert_eq!(post(&mut ledger, 3, 3, &bulk), Err(refused));
    assert!(ledger.take_changes().is_empty());
    assert!(ledger.accounts().eq(&before));
    bulk[63] = pay(538);
    assert_eq!(post(&mut ledger, 3, 3, &bulk), Ok(Posted::New));
    assert_eq!(ledger.take_changes().journal().len(), 64);
    assert_eq!(available(&ledger), 0);
}

#[test]
fn each_hold_of_a_bulk_is_committed() {
    let mut ledger = filled();
    post(&mut ledger, 2, 2, &[hold(10); 16]).unwrap();
    let id = |leg| HoldId { key: TransferKey(2), leg };
    let legs: Vec<Leg> = (0..16)
        .map(|leg| Leg::PostHold { hold: id(leg), amount: POST_ALL, code: Code::Energy })
        .collect();
    post(&mut ledger, 3, 3, &legs).unwrap();
    assert_eq!(ledger.holds().count(), 0);
    assert_eq!(ledger.account(WALLET).unwrap().debits_posted, 160);
    for leg in 0..16 {
        let void = Leg::VoidHold { hold: id(leg), code: Code::Release };
        let refused = LedgerError::HoldAlreadyPosted(id(leg));
        assert_eq!(post(&mut ledger, 4, 4, &[void]), Err(refused));
    }
    assert_eq!(
        post(&mut ledger, 5, 5, &[hold(1); 17]),
        Err(LedgerError::HoldTooLate(16)),
        "a fate is kept for sixteen"
    );
}

#[test]
fn a_reply_says_what_the_set_left() {
    let mut ledger = filled();
    let stamp = Stamp::now(2, Timestamp(2));
    let receipt = ledger.post(stamp, TransferKey(2), &[hold(600), pay(100)]).unwrap();
    assert_eq!((receipt.posted, receipt.first, receipt.rows), (Posted::New, 1, 2));
    let wallet = receipt.balances(WALLET).unwrap();
    assert_eq!((wallet.debits_pending, wallet.debits_posted, wallet.debit_room()), (600, 100, 300));
    assert_eq!(receipt.balances(FUNDING), None);
    let again = ledger.post(stamp, TransferKey(2), &[hold(600), pay(100)]).unwrap();
    assert_eq!((again.posted, again.first, again.rows), (Posted::Repeat, 1, 2));
    assert!(again.touched.is_empty());
}
