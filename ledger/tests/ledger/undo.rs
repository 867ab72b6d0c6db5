//! Reversals and refunds: only of what was booked, once, never more than it moved.

use novax_ledger::{
    Code, HoldId, JournalRow, KeyRow, Ledger, LedgerError, Leg, Limit, Opening, Posted, RateId,
    Stamp, Undone,
};
use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};
use proptest::prelude::*;

use crate::store::Store;

const FUNDING: AccountId = AccountId(1);
const WALLET: AccountId = AccountId(2);
const CLEARING: AccountId = AccountId(3);
const HOST: AccountId = AccountId(4);
const OPERATOR: AccountId = AccountId(5);
const TAX: AccountId = AccountId(6);
const USD_POOL: AccountId = AccountId(7);
const USD_WALLET: AccountId = AccountId(8);
const BILL: TransferKey = TransferKey(3);

#[derive(Default)]
struct Books {
    ledger: Ledger,
    store: Store,
    at: u64,
}

impl Books {
    fn stamp(&mut self) -> Stamp {
        self.at += 1;
        Stamp::now(self.at, Timestamp(self.at))
    }

    fn post(&mut self, key: u128, legs: &[Leg]) -> Result<Posted, LedgerError> {
        let stamp = self.stamp();
        let posted = self.ledger.post(stamp, TransferKey(key), legs)?.posted;
        self.store.follow(&mut self.ledger);
        Ok(posted)
    }

    fn lines(&self, key: TransferKey) -> Vec<JournalRow> {
        self.store.lines_of_set(self.ledger.set(key))
    }

    fn reverse(&mut self, key: u128, of: TransferKey) -> Result<Posted, LedgerError> {
        let (stamp, lines) = (self.stamp(), self.lines(of));
        let key = TransferKey(key);
        let receipt = self.ledger.reverse(stamp, key, of, &lines, Code::Reversal)?;
        let posted = receipt.posted;
        self.store.follow(&mut self.ledger);
        Ok(posted)
    }

    fn refund(
        &mut self,
        key: u128,
        of: TransferKey,
        amount: Amount,
    ) -> Result<Posted, LedgerError> {
        let (stamp, lines) = (self.stamp(), self.lines(of));
        let key = TransferKey(key);
        let receipt = self.ledger.refund(stamp, key, of, &lines, amount, Code::Refund)?;
        let posted = receipt.posted;
        self.store.follow(&mut self.ledger);
        Ok(posted)
    }

    /// Credits less debits.
    fn balance(&self, id: AccountId) -> i128 {
        let account = self.ledger.account(id).unwrap();
        account.credits_posted.cast_signed() - account.debits_posted.cast_signed()
    }
}

fn pay(debit: AccountId, credit: AccountId, amount: Amount, code: Code) -> Leg {
    Leg::Post { debit, credit, amount, code }
}

/// A charge of 26.22, held, taken and split under [`BILL`].
fn charged() -> Books {
    let mut books = Books::default();
    let usd = Currency::new("USD").unwrap();
    let eur = Currency::EUR;
    let wallet = Limit::DebitsMustNotExceedCredits;
    for (id, currency, limit) in [
        (FUNDING, eur, Limit::None),
        (WALLET, eur, wallet),
        (CLEARING, eur, Limit::None),
        (HOST, eur, Limit::None),
        (OPERATOR, eur, Limit::None),
        (TAX, eur, Limit::None),
        (USD_POOL, usd, Limit::None),
        (USD_WALLET, usd, wallet),
    ] {
        let opening = Opening::new(id, "a", currency, limit);
        books.ledger.open_account(Timestamp(0), opening).unwrap();
    }
    books.post(1, &[pay(FUNDING, WALLET, 5000, Code::Deposit)]).unwrap();
    let expires = Timestamp::MAX;
    let code = Code::Hold;
    let hold = Leg::Hold { debit: WALLET, credit: CLEARING, amount: 3000, code, expires };
    books.post(2, &[hold]).unwrap();
    let hold = HoldId { key: TransferKey(2), leg: 0 };
    let legs = [
        Leg::PostHold { hold, amount: 2622, code: Code::Energy },
        pay(CLEARING, HOST, 220, Code::SiteHostShare),
        pay(CLEARING, OPERATOR, 1983, Code::OperatorShare),
        pay(CLEARING, TAX, 419, Code::Tax),
    ];
    books.post(BILL.0, &legs).unwrap();
    books
}

#[test]
fn a_reversal_takes_everything_back_and_says_what_it_reverses() {
    let mut books = charged();
    assert_eq!(books.reverse(4, BILL), Ok(Posted::New));
    for account in [CLEARING, HOST, OPERATOR, TAX] {
        assert_eq!(books.balance(account), 0);
    }
    assert_eq!(books.balance(WALLET), 5000);
    let lines = books.lines(TransferKey(4));
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|row| row.reverses == Some(BILL) && row.code == Code::Reversal));
    // The last first: nobody gives what has not come back yet.
    assert_eq!((lines[0].debit, lines[0].credit, lines[0].amount), (TAX, CLEARING, 419));
    assert_eq!((lines[3].debit, lines[3].credit, lines[3].amount), (CLEARING, WALLET, 2622));
    assert_eq!(books.reverse(4, BILL), Ok(Posted::Repeat));
    assert_eq!(books.reverse(5, BILL), Err(LedgerError::AlreadyReversed(BILL)));
    assert_eq!(books.refund(5, BILL, 1), Err(LedgerError::AlreadyReversed(BILL)));
    let reversal = TransferKey(4);
    assert_eq!(books.reverse(5, reversal), Err(LedgerError::IsReversal(reversal)));
    // Also after a restart.
    books.ledger = books.store.restore().unwrap();
    assert_eq!(books.reverse(5, BILL), Err(LedgerError::AlreadyReversed(BILL)));
    assert_eq!(books.reverse(5, reversal), Err(LedgerError::IsReversal(reversal)));
}

#[test]
fn refunds_take_from_each_in_proportion_and_add_up_to_the_whole() {
    let mut books = charged();
    assert_eq!(books.refund(4, BILL, 1000), Ok(Posted::New));
    // 220, 1983 and 419 of 2622, of 1000: 83.9, 756.3, 159.8.
    assert_eq!(books.balance(HOST), 220 - 84);
    assert_eq!(books.balance(OPERATOR), 1983 - 756);
    assert_eq!(books.balance(TAX), 419 - 160);
    assert_eq!(books.balance(CLEARING), 0);
    assert_eq!(books.balance(WALLET), 5000 - 2622 + 1000);
    let undone = Some(Undone::Refunded(1000));
    assert_eq!(books.ledger.set(BILL).map(|row| row.undone), undone);
    assert_eq!(books.refund(4, BILL, 1000), Ok(Posted::Repeat));
    assert_eq!(books.refund(4, BILL, 999), Err(LedgerError::KeyReused(TransferKey(4))));
    let refused = LedgerError::PartlyRefunded { key: BILL, refunded: 1000 };
    assert_eq!(books.reverse(5, BILL), Err(refused));
    books.ledger = books.store.restore().unwrap();
    let refused = LedgerError::ExceedsOriginal { key: BILL, refundable: 1622, required: 1623 };
    assert_eq!(books.refund(5, BILL, 1623), Err(refused));
    assert_eq!(books.refund(5, BILL, 0), Err(LedgerError::ZeroAmount));
    assert_eq!(books.refund(5, BILL, 1622), Ok(Posted::New));
    for account in [CLEARING, HOST, OPERATOR, TAX] {
        assert_eq!(books.balance(account), 0);
    }
    assert_eq!(books.balance(WALLET), 5000);
}

#[test]
fn nothing_is_reversed_that_was_not_booked_so() {
    let mut books = charged();
    let lines = books.lines(BILL);
    let mut try_lines = |lines: &[JournalRow]| {
        let stamp = books.stamp();
        let result = books.ledger.reverse(stamp, TransferKey(9), BILL, lines, Code::Reversal);
        result.map(|receipt| receipt.posted)
    };
    let differs = Err(LedgerError::LinesDiffer(BILL));
    assert_eq!(try_lines(&[]), differs);
    assert_eq!(try_lines(&lines[1..]), differs);
    assert_eq!(try_lines(&lines[..3]), differs);
    type Change = fn(&mut JournalRow);
    let changes: [Change; 11] = [
        |row| row.rate = Some(RateId(1)),
        |row| row.amount += 1,
        |row| row.released += 1,
        |row| std::mem::swap(&mut row.debit, &mut row.credit),
        |row| row.debit = WALLET,
        |row| row.credit = FUNDING,
        |row| row.code = Code::Correction,
        |row| row.kind = novax_ledger::EntryKind::Held,
        |row| row.currency = Currency::new("USD").unwrap(),
        |row| row.key = TransferKey(1),
        |row| row.number += 1,
    ];
    for (place, change) in changes.iter().enumerate() {
        let mut changed = lines.clone();
        change(&mut changed[1]);
        assert_eq!(try_lines(&changed), differs, "change {place}");
    }
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    assert_eq!(try_lines(&swapped), differs);
    assert_eq!(try_lines(&lines), Ok(Posted::New));
    let missing = LedgerError::OriginalMissing(TransferKey(77));
    assert_eq!(books.reverse(10, TransferKey(77)), Err(missing));
}

#[test]
fn a_hold_is_resolved_not_reversed() {
    let mut books = charged();
    let hold = TransferKey(2);
    assert_eq!(books.reverse(4, hold), Err(LedgerError::NothingToUndo(hold)));
    assert_eq!(books.refund(4, hold, 1), Err(LedgerError::NothingToUndo(hold)));
}

#[test]
fn a_deposit_that_was_spent_cannot_be_taken_back() {
    let mut books = charged();
    let refused = LedgerError::LimitExceeded { account: WALLET, available: 2378, required: 5000 };
    assert_eq!(books.reverse(4, TransferKey(1)), Err(refused));
    // Refused, it is not marked.
    let undone = books.ledger.set(TransferKey(1)).map(|row| row.undone);
    assert_eq!(undone, Some(Undone::No));
    assert_eq!(books.refund(4, TransferKey(1), 2378), Ok(Posted::New));
}

#[test]
fn an_exchange_is_reversed_whole_at_its_own_rate() {
    let mut books = charged();
    let (rate, code) = (RateId(9), Code::Fx);
    let legs = [
        Leg::Convert { debit: WALLET, credit: FUNDING, amount: 1000, code, rate },
        pay(WALLET, OPERATOR, 5, Code::FxSpread),
        Leg::Convert { debit: USD_POOL, credit: USD_WALLET, amount: 1080, code, rate },
    ];
    books.post(4, &legs).unwrap();
    let exchange = TransferKey(4);
    let refused = LedgerError::RefundOfSeveralCurrencies(exchange);
    assert_eq!(books.refund(5, exchange, 1), Err(refused));
    assert_eq!(books.reverse(5, exchange), Ok(Posted::New));
    assert_eq!(books.balance(USD_WALLET), 0);
    assert_eq!(books.balance(WALLET), 2378);
    let rates: Vec<_> = books.lines(TransferKey(5)).iter().map(|row| row.rate).collect();
    assert_eq!(rates, [Some(rate), None, Some(rate)]);
    // One side alone is no exchange.
    let refused = LedgerError::NotAnExchange(rate);
    assert_eq!(books.post(6, &legs[..2]), Err(refused));
}

#[test]
fn sums_too_large_to_share_out_are_refused() {
    let mut books = charged();
    books.post(4, &[pay(FUNDING, OPERATOR, 1 << 80, Code::Correction)]).unwrap();
    assert_eq!(books.refund(5, TransferKey(4), 1), Err(LedgerError::Overflow));
    assert_eq!(books.reverse(5, TransferKey(4)), Ok(Posted::New));
}

#[test]
fn a_stored_key_says_where_its_rows_are() {
    let books = charged();
    let row: KeyRow = books.ledger.set(BILL).unwrap();
    assert_eq!((row.first, row.rows, row.open_holds, row.undone), (2, 4, 0, Undone::No));
    assert_eq!(novax_ledger::digest(&books.lines(BILL)), row.digest);
    // Stored, and so fixed for ever.
    assert_eq!(row.digest, 3_913_626_753);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn refunds_however_cut_leave_nobody_with_less_than_nothing(
        cuts in prop::collection::vec(1_u128..900, 1..30),
    ) {
        let mut books = charged();
        let mut refunded = 0;
        for (key, cut) in (10..).zip(cuts) {
            let cut = cut.min(2622 - refunded);
            if cut == 0 {
                break;
            }
            refunded += cut;
            prop_assert_eq!(books.refund(key, BILL, cut), Ok(Posted::New));
            for (account, got) in [(HOST, 220), (OPERATOR, 1983), (TAX, 419)] {
                let left = books.balance(account);
                prop_assert!((0..=got).contains(&left));
                // Within a minor unit and the rounding of its neighbours of the exact part.
                let exact = got * (2622 - refunded.cast_signed());
                prop_assert!((left * 2622 - exact).abs() < 2 * 2622);
            }
            prop_assert_eq!(books.balance(CLEARING), 0);
            prop_assert_eq!(books.balance(WALLET), 5000 - 2622 + refunded.cast_signed());
        }
    }
}
