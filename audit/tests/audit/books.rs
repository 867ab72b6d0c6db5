//! What an independent auditor sees in books that are signed and whole, and still wrong.

use novax_audit::{Start, What, Writer};
use novax_ledger::{Code, EntryKind, HoldId, JournalRow, Leg, RateId};
use novax_model::{Amount, Currency, Timestamp, TransferKey};
use proptest::prelude::*;

use crate::journal::{
    BANK, Bookkeeper, HOST, Journal, PARTITION, STATE, WALLET, charge_journal, check, chf,
};

fn row(rows: &mut [JournalRow], key: u128) -> &mut JournalRow {
    rows.iter_mut().find(|row| row.key == TransferKey(key)).unwrap()
}

/// What the auditor says of the journal after a change that the exporter signed.
fn breach(change: impl FnOnce(&mut Vec<JournalRow>)) -> (u64, String) {
    let mut rows = charge_journal();
    change(&mut rows);
    let journal = Journal::new(&rows);
    let size = journal.transactions.len() as u64;
    let found = check(&journal.export(0, &[size], true, None)).unwrap_err();
    let What::Books(why) = found.what else { panic!("{found}") };
    (found.transaction.unwrap(), why.into())
}

#[test]
fn a_key_booked_twice_is_seen() {
    let (at, why) = breach(|rows| row(rows, 0xB0).key = TransferKey(0xD0));
    assert_eq!((at, why.contains("booked a second time")), (4, true), "{why}");
}

#[test]
fn a_hold_resolved_twice_is_seen() {
    let (at, why) = breach(|rows| {
        let posted = row(rows, 0xA2).hold;
        row(rows, 0xB1).hold = posted;
    });
    assert_eq!((at, why.contains("resolved before")), (5, true), "{why}");
}

#[test]
fn a_hold_that_vanishes_in_part_is_seen() {
    let (at, why) = breach(|rows| row(rows, 0xA2).released -= 1);
    assert_eq!((at, why.contains("does not account for")), (3, true), "{why}");
    let (at, why) = breach(|rows| row(rows, 0xA1).amount += 1);
    assert_eq!((at, why.contains("does not account for")), (3, true), "{why}");
}

#[test]
fn a_hold_posted_to_somebody_else_is_seen() {
    let (at, why) = breach(|rows| row(rows, 0xA2).credit = STATE);
    assert_eq!((at, why.contains("between other accounts")), (3, true), "{why}");
}

#[test]
fn an_account_in_two_currencies_is_seen() {
    let (at, why) = breach(|rows| {
        let tax = rows.iter_mut().find(|row| row.amount == 197).unwrap();
        tax.currency = chf();
    });
    assert_eq!((at, why.contains("is kept in EUR, not in CHF")), (3, true), "{why}");
}

#[test]
fn a_gap_and_a_step_back_in_time_are_seen() {
    let (at, why) = breach(|rows| rows.iter_mut().skip(2).for_each(|row| row.number += 1));
    assert_eq!((at, why.as_str()), (2, "row 2 is due, row 3 comes"));
    let (at, why) = breach(|rows| row(rows, 0xB0).at = Timestamp(5));
    assert_eq!((at, why.contains("booked before")), (4, true), "{why}");
    let (at, why) = breach(|rows| row(rows, 0xB0).index = 1);
    assert_eq!((at, why.contains("booked before")), (4, true), "{why}");
}

#[test]
fn undoing_more_than_was_done_is_seen() {
    let (at, why) = breach(|rows| row(rows, 0xF0).amount += 5_000);
    assert_eq!((at, why.contains("more of set")), (9, true), "{why}");
    let (at, why) = breach(|rows| {
        rows.iter_mut()
            .filter(|row| row.key == TransferKey(0xF1))
            .for_each(|row| row.reverses = Some(TransferKey(0xF0)));
    });
    assert_eq!((at, why.contains("is itself a reversal")), (10, true), "{why}");
    let (at, why) = breach(|rows| {
        rows.iter_mut()
            .filter(|row| row.key == TransferKey(0xF0))
            .for_each(|row| row.reverses = Some(TransferKey(0x77)));
    });
    assert_eq!((at, why.contains("was never booked")), (9, true), "{why}");
}

#[test]
fn a_one_sided_exchange_is_seen() {
    let (at, why) = breach(|rows| row(rows, 0xE0).rate = Some(RateId(1)));
    assert_eq!((at, why.contains("for 1 currencies")), (8, true), "{why}");
}

#[test]
fn amounts_that_no_row_of_its_kind_has_are_seen() {
    let (at, why) = breach(|rows| row(rows, 0xD0).amount = 0);
    assert_eq!((at, why.as_str()), (0, "a POSTED row does not have such amounts"));
    let (_, why) = breach(|rows| row(rows, 0xD0).kind = EntryKind::Voided);
    assert_eq!(why, "a VOIDED row does not have such amounts");
    let (_, why) = breach(|rows| row(rows, 0xD0).credit = BANK);
    assert!(why.contains("stands on both sides"), "{why}");
}

#[test]
fn a_hold_under_a_foreign_leg_is_seen() {
    let (at, why) = breach(|rows| {
        row(rows, 0xA0).hold = Some(HoldId { key: TransferKey(0xA0), leg: 3 });
    });
    assert_eq!((at, why.contains("placed by another leg")), (1, true), "{why}");
}

#[test]
fn an_empty_journal_is_a_journal() {
    let writer = Writer::new(Vec::new(), &Start::whole(PARTITION, true)).unwrap();
    let report = check(&writer.finish().unwrap()).unwrap();
    assert_eq!((report.size, report.rows, report.booked), (0, 0, None));
}

/// What a driver, a charger or an operator may ask for; the ledger refuses what cannot be. Earlier
/// sets are named by how many asks ago they were.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Deposit(Amount),
    Hold(Amount, u64),
    Raise(u128, Amount),
    Settle(u128, Amount),
    Void(u128),
    Wait(u64),
    Refund(u128, Amount),
    Reverse(u128),
}

fn ask() -> impl Strategy<Value = Ask> {
    let (key, amount) = (1_u128..5, 1_u128..500);
    prop_oneof![
        1 => amount.clone().prop_map(Ask::Deposit),
        3 => (amount.clone(), 3_u64..60).prop_map(|(amount, seconds)| Ask::Hold(amount, seconds)),
        1 => (key.clone(), amount.clone()).prop_map(|(key, more)| Ask::Raise(key, more)),
        3 => (key.clone(), amount.clone()).prop_map(|(key, amount)| Ask::Settle(key, amount)),
        1 => key.clone().prop_map(Ask::Void),
        1 => (1_u64..20).prop_map(Ask::Wait),
        1 => (key.clone(), amount).prop_map(|(key, amount)| Ask::Refund(key, amount)),
        1 => key.prop_map(Ask::Reverse),
    ]
}

/// Does it, under its own number as key; what the ledger refuses leaves no trace.
fn do_it(books: &mut Bookkeeper, rows: &mut Vec<JournalRow>, number: u128, ask: Ask) {
    let (stamp, key) = (books.stamp(), TransferKey(number));
    let ago = |asks| TransferKey(number.saturating_sub(asks));
    let hold = |asks| HoldId { key: ago(asks), leg: 0 };
    let later = |seconds| Timestamp(stamp.at.0 + seconds * 1_000_000);
    let mut post = |legs: &[Leg]| {
        let _refused = books.ledger.post(stamp, key, legs);
    };
    match ask {
        Ask::Deposit(amount) => {
            post(&[Leg::Post { debit: BANK, credit: WALLET, amount, code: Code::Deposit }]);
        }
        Ask::Hold(amount, seconds) => {
            let expires = later(seconds);
            let (debit, credit, code) = (WALLET, HOST, Code::Hold);
            post(&[Leg::Hold { debit, credit, amount, code, expires }]);
        }
        Ask::Raise(key, more) => {
            post(&[Leg::RaiseHold { hold: hold(key), more, expires: later(40) }]);
        }
        Ask::Settle(key, amount) => post(&[
            Leg::PostHold { hold: hold(key), amount, code: Code::Energy },
            Leg::Post { debit: HOST, credit: STATE, amount: amount / 5 + 1, code: Code::Tax },
            Leg::Balancing { debit: WALLET, credit: HOST, max: 3, code: Code::Receivable },
        ]),
        Ask::Void(key) => post(&[Leg::VoidHold { hold: hold(key), code: Code::Release }]),
        Ask::Wait(seconds) => books.index += seconds,
        Ask::Refund(original, _) | Ask::Reverse(original) => {
            let original = ago(original);
            let is_of = |row: &&JournalRow| row.key == original && row.kind != EntryKind::Expired;
            let lines: Vec<JournalRow> = rows.iter().filter(is_of).cloned().collect();
            let ledger = &mut books.ledger;
            let _refused = match ask {
                Ask::Refund(_, amount) => {
                    ledger.refund(stamp, key, original, &lines, amount, Code::Refund).map(|_| ())
                }
                _ => ledger.reverse(stamp, key, original, &lines, Code::Reversal).map(|_| ()),
            };
        }
    }
    let stamp = books.stamp();
    books.ledger.expire(stamp, 100);
    rows.extend(books.rows());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The auditor's books and the ledger's, which share no code, agree on whatever the ledger
    /// lets through.
    #[test]
    fn the_auditor_agrees_with_the_ledger(asks in prop::collection::vec(ask(), 1..60)) {
        let (mut books, mut rows) = (Bookkeeper::new(), Vec::new());
        let asks = std::iter::once(Ask::Deposit(10_000)).chain(asks);
        for (number, ask) in (0..).zip(asks) {
            do_it(&mut books, &mut rows, number, ask);
        }
        let journal = Journal::new(&rows);
        let size = journal.transactions.len() as u64;
        let report = check(&journal.export(0, &[size / 2, size], true, None));
        let report = report.map_err(|tampered| TestCaseError::fail(tampered.to_string()))?;
        prop_assert_eq!(report.open_holds, books.ledger.holds().count() as u64);
        let in_euros = books.ledger.accounts().filter(|a| a.currency == Currency::EUR);
        let (moved, held) = in_euros.fold((0, 0), |(moved, held), account| {
            (moved + account.debits_posted, held + account.debits_pending)
        });
        let trial = report.trial_balance.first().map_or((0, 0), |trial| (trial.moved, trial.held));
        prop_assert_eq!(trial, (moved, held));
        // And a part of it verifies too, with what came before on trust.
        let part = check(&journal.export(size / 3, &[size], false, None));
        prop_assert!(part.is_ok(), "{part:?}");
    }
}
