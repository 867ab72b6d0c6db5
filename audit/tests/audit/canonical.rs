//! The encoding of a transaction: pinned by a fixture, its own inverse, closed to anything else.

use novax_audit::canonical::{ENCODED_BYTES_MAX, encode, field_at, transactions};
use novax_audit::{AuditError, Transaction, hash, merkle};
use novax_ledger::{Code, EntryKind, HoldId, JournalRow, RateId};
use novax_model::{AccountId, Currency, PartitionId, Timestamp, TransferKey};
use proptest::prelude::*;

use crate::journal::{PARTITION, charge_journal};

fn encoded(rows: &[JournalRow]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(PARTITION, rows, &mut bytes).unwrap();
    bytes
}

#[test]
fn transactions_are_fixed_for_ever() {
    let fixture = include_str!("../../testdata/transactions.txt");
    let lines: Vec<&str> = fixture.lines().filter(|line| !line.starts_with('#')).collect();
    let rows = charge_journal();
    let found: Vec<String> = transactions(&rows)
        .flat_map(|rows| {
            let bytes = encoded(rows);
            let leaf = merkle::leaf_hash(&bytes);
            [hash::to_hex(&bytes), format!("leaf {}", hash::to_hex(&leaf))]
        })
        .collect();
    assert_eq!(found, lines, "{}", found.join("\n"));
}

#[test]
fn a_journal_is_cut_where_the_ledger_booked() {
    let rows = charge_journal();
    let keys: Vec<u128> = transactions(&rows).map(|rows| rows[0].key.0).collect();
    assert_eq!(keys, [0xD0, 0xA0, 0xA1, 0xA2, 0xB0, 0xB1, 0xC0, 0xC0, 0xE0, 0xF0, 0xF1]);
    let counts: Vec<usize> = transactions(&rows).map(<[JournalRow]>::len).collect();
    assert_eq!(counts.iter().sum::<usize>(), rows.len());
    for rows in transactions(&rows) {
        let bytes = encoded(rows);
        let back = Transaction::decode(&bytes).unwrap();
        assert_eq!((back.partition, &back.rows[..]), (PARTITION, rows));
    }
}

#[test]
fn rows_that_are_no_transaction_are_refused() {
    let rows = charge_journal();
    let settled: Vec<JournalRow> =
        rows.iter().filter(|row| row.key == TransferKey(0xA2)).cloned().collect();
    assert_eq!(settled.len(), 2);
    let changes: [fn(&mut Vec<JournalRow>); 9] = [
        |rows| rows.clear(),
        |rows| rows.truncate(1),
        |rows| rows.rotate_left(1),
        |rows| *rows = rows[1..].to_vec(),
        |rows| rows[1].key = TransferKey(1),
        |rows| rows[1].index += 1,
        |rows| rows[1].effective_at = Timestamp(5),
        |rows| rows[1].number += 1,
        |rows| rows[1].reverses = Some(TransferKey(1)),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut rows = settled.clone();
        change(&mut rows);
        let mut bytes = vec![1, 2, 3];
        let refused = encode(PARTITION, &rows, &mut bytes);
        assert!(matches!(refused, Err(AuditError::NotOneSet(_))), "change {number}");
        assert_eq!(bytes, [1, 2, 3], "nothing is added");
    }
}

#[test]
fn a_field_is_named_for_each_byte() {
    let rows = charge_journal();
    let names = |bytes: &[u8]| -> Vec<String> {
        let mut names: Vec<String> =
            (0..bytes.len()).map(|at| field_at(bytes, at).unwrap()).collect();
        names.dedup();
        names
    };
    let exchange: Vec<JournalRow> =
        rows.iter().filter(|row| row.key == TransferKey(0xE0)).cloned().collect();
    let found = names(&encoded(&exchange));
    assert_eq!(found.len(), 11 + 2 * 10);
    assert_eq!(found[12..14], ["kind of row 0", "code of row 0"]);
    assert_eq!(found[16], "rate of row 0");
    assert_eq!(found.last().unwrap(), "released amount of row 1");
}

prop_compose! {
    fn row()(
        (leg, kind, code, hold, rate) in (
            0_u8..2,
            prop::sample::select(&EntryKind::ALL[..]),
            prop::sample::select(Code::ALL),
            prop::option::of((any::<u128>(), any::<u8>())),
            prop::option::of(any::<u128>()),
        ),
        (debit, credit, amount, released) in any::<(u128, u128, u128, u128)>(),
    ) -> JournalRow {
        JournalRow {
            number: 0,
            index: 0,
            key: TransferKey(0),
            leg,
            set_row: 0,
            set_rows: 0,
            kind,
            hold: hold.map(|(key, leg)| HoldId { key: TransferKey(key), leg }),
            debit: AccountId(debit),
            credit: AccountId(credit),
            amount,
            released,
            currency: Currency::EUR,
            code,
            at: Timestamp(0),
            effective_at: Timestamp(0),
            stated_at: Timestamp(0),
            reverses: None,
            rate: rate.map(RateId),
        }
    }
}

prop_compose! {
    /// Any rows that hang together as a transaction's do.
    fn transaction()(
        mut rows in prop::collection::vec(row(), 1..8),
        (number, index, key, at, effective_at, stated_at) in
            (0_u64..1 << 60, any::<u64>(), any::<u128>(), any::<u64>(), any::<u64>(), any::<u64>()),
        reverses in prop::option::of(any::<u128>()),
        partition in any::<u16>(),
    ) -> Transaction {
        let is_alone = rows.len() == 1;
        let count = u8::try_from(rows.len()).unwrap();
        for (place, row) in (0..count).zip(&mut rows) {
            row.leg += 2 * place;
            if !is_alone && row.kind == EntryKind::Expired {
                row.kind = EntryKind::Posted;
            }
            (row.set_row, row.set_rows) = (place, count);
            (row.number, row.index) = (number + u64::from(place), index);
            (row.key, row.reverses) = (TransferKey(key), reverses.map(TransferKey));
            row.at = Timestamp(at);
            (row.effective_at, row.stated_at) = (Timestamp(effective_at), Timestamp(stated_at));
        }
        Transaction { partition: PartitionId(partition), rows }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_encoded_decodes(transaction in transaction()) {
        let mut bytes = Vec::new();
        transaction.encode(&mut bytes).unwrap();
        prop_assert!(bytes.len() <= ENCODED_BYTES_MAX);
        prop_assert_eq!(Transaction::decode(&bytes), Ok(transaction));
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        transaction in transaction(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = Vec::new();
        transaction.encode(&mut bytes).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(other) = Transaction::decode(&bytes) {
            let mut again = Vec::new();
            other.encode(&mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Transaction::decode(&bytes);
        let _ = field_at(&bytes, bytes.len() / 2);
    }

    #[test]
    fn short_and_long_bytes_are_refused(transaction in transaction()) {
        let mut bytes = Vec::new();
        transaction.encode(&mut bytes).unwrap();
        for end in 0..bytes.len() {
            prop_assert!(Transaction::decode(&bytes[..end]).is_err());
        }
        bytes.push(0);
        prop_assert!(Transaction::decode(&bytes).is_err());
    }
}
