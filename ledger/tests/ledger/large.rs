//! Batches of thousands with ids as in the field, slots used again and again: a ledger that goes on,
//! one restored after each batch, and the sums that follow from what was asked.

use novax_ledger::{Code, HoldId, Ledger, Leg, Limit, Opening, Posted, Stamp};
use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};

use crate::store::Store;

const WALLETS: u64 = 1_500;
const DEPOSIT: Amount = 1_000_000;
const HELD: Amount = 30;
const TAKEN: Amount = 7;

/// Spreads as a hash does.
fn id(kind: u64, number: u64) -> u128 {
    let low = (number ^ kind << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let low = (low ^ low >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let high = (low ^ low >> 32).wrapping_mul(0x94d0_49bb_1331_11eb);
    u128::from(high) << 64 | u128::from(low)
}

fn wallet(number: u64) -> AccountId {
    AccountId(id(1, number % WALLETS))
}

const CLEARING: AccountId = AccountId(7);

fn open(ledger: &mut Ledger) {
    let (eur, limit) = (Currency::EUR, Limit::DebitsMustNotExceedCredits);
    let clearing = Opening::new(CLEARING, "clearing", eur, Limit::None);
    ledger.open_account(Timestamp(0), clearing).unwrap();
    for number in 0..WALLETS {
        let opening = Opening::new(wallet(number), "driver", eur, limit);
        ledger.open_account(Timestamp(0), opening).unwrap();
        let (debit, credit, code) = (CLEARING, wallet(number), Code::Deposit);
        let leg = Leg::Post { debit, credit, amount: DEPOSIT, code };
        book(ledger, 0, id(2, number), leg);
    }
}

fn book(ledger: &mut Ledger, at: u64, key: u128, leg: Leg) {
    let stamp = Stamp::now(at, Timestamp(at));
    let posted = ledger.post(stamp, TransferKey(key), &[leg]).unwrap().posted;
    assert_eq!(posted, Posted::New);
}

fn hold(number: u64) -> Leg {
    let (debit, credit, expires) = (wallet(number), CLEARING, Timestamp(u64::MAX - number));
    Leg::Hold { debit, credit, amount: HELD, code: Code::Hold, expires }
}

fn capture(number: u64) -> Leg {
    let hold = HoldId { key: TransferKey(id(3, number)), leg: 0 };
    Leg::PostHold { hold, amount: TAKEN, code: Code::Energy }
}

#[test]
fn large_batches_change_what_they_should_and_nothing_else() {
    let (mut ledger, mut store) = (Ledger::new(), Store::default());
    open(&mut ledger);
    store.follow(&mut ledger);
    let (mut held, mut captured) = (0, 0);
    for batch in 1..=6_u64 {
        // All that was held in the last batch is taken, and every third of this one.
        let (from, until) = (held, held + 2_000 + batch * 100);
        for number in from..until {
            book(&mut ledger, batch, id(3, number), hold(number));
        }
        let due = (captured..from).filter(|number| *number % 3 != 0 || batch % 2 == 0);
        let due: Vec<u64> = due.chain((from..until).filter(|number| number % 3 == 1)).collect();
        for number in due {
            if ledger.hold(HoldId { key: TransferKey(id(3, number)), leg: 0 }).is_some() {
                book(&mut ledger, batch, id(4, number), capture(number));
            }
        }
        held = until;
        if batch % 2 == 0 {
            captured = from;
        }
        store.follow(&mut ledger);
        ledger.audit().unwrap();
        let restored = store.restore().unwrap();
        assert!(restored.accounts().eq(ledger.accounts()));
        assert!(restored.holds().eq(ledger.holds()));
        assert_eq!(restored.next_expiry(), ledger.next_expiry());
        let open = ledger.holds().count() as Amount;
        let account = ledger.account(CLEARING).unwrap();
        let taken = (Amount::from(held) - open) * TAKEN;
        assert_eq!((account.credits_pending, account.credits_posted), (open * HELD, taken));
    }
    assert!(held > 12_000);
}

#[test]
fn slots_of_keys_that_left_and_of_resolved_holds_serve_again() {
    let (mut ledger, mut store) = (Ledger::new(), Store::default());
    open(&mut ledger);
    store.follow(&mut ledger);
    for round in 1..=5_u64 {
        for number in 500 * round..500 * (round + 1) {
            book(&mut ledger, round, id(3, number), hold(number));
            book(&mut ledger, round, id(4, number), capture(number));
        }
        book(&mut ledger, round, id(5, round), hold(round));
        store.follow(&mut ledger);
        ledger.trim_keys(10);
        // The keys of holds that are open stay.
        for number in 500 * round..500 * (round + 1) - 10 {
            assert_eq!(ledger.set(TransferKey(id(3, number))), None);
        }
        for round in 1..=round {
            assert!(ledger.set(TransferKey(id(5, round))).is_some());
        }
        ledger.audit().unwrap();
    }
    let restored = store.restore().unwrap();
    assert!(restored.holds().eq(ledger.holds()));
    assert_eq!(ledger.holds().count(), 5);
}
