//! What an independent auditor sees in books that are signed and whole, and still wrong.

use novax_audit::{Start, What, Writer};
use novax_ledger::{Code, EntryKind, HoldId, JournalRow, KEY_AGE_MIN, Leg, RateId};
use novax_model::{Timestamp, TransferKey};

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
fn a_key_may_come_back_after_the_ledger_forgot_it() {
    let mut books = Bookkeeper::new();
    let deposit = |amount| Leg::Post { debit: BANK, credit: WALLET, amount, code: Code::Deposit };
    books.post(1, &[deposit(5)]);
    books.index += KEY_AGE_MIN.as_secs() + 2;
    books.post(2, &[deposit(6)]);
    assert_eq!(books.ledger.forget_keys(Timestamp::MAX, 10), 1);
    books.post(1, &[Leg::Post { debit: WALLET, credit: HOST, amount: 3, code: Code::Energy }]);
    let journal = Journal::new(&books.rows());
    let report = check(&journal.export(0, &[3], false, None)).unwrap();
    assert_eq!(report.signed, 3);
    assert_eq!(report.trial_balance[0].moved, 14);
}

#[test]
fn an_empty_journal_is_a_journal() {
    let writer = Writer::new(Vec::new(), &Start::whole(PARTITION, true)).unwrap();
    let report = check(&writer.finish().unwrap()).unwrap();
    assert_eq!((report.size, report.rows, report.booked), (0, 0, None));
}
