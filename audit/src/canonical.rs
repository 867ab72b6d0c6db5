//! The bytes of one transaction, version 1: what a leaf of the tree hashes. Fixed for ever;
//! docs/formats/transaction.md lists them, `testdata/transactions.txt` pins them.
//!
//! Invariants: one transaction has one encoding, and what decodes encodes to the same bytes again;
//! nothing of it depends on how rows lie in memory or in the store; no field holds personal data
//! (an account is an id, see [`crate::commitment`]).

use novax_ledger::{Code, EntryKind, HoldId, JournalRow, LEGS_MAX, RateId};
use novax_model::{AccountId, Currency, PartitionId, Timestamp, TransferKey};

use crate::bytes::Cursor;
use crate::error::AuditError;

/// The version of the encoding, its first byte.
pub const VERSION: u8 = 1;
/// The length of what stands before the rows.
pub const HEAD_BYTES: usize = 77;
/// The length of a row that names neither hold nor rate, and of those.
pub const ROW_BYTES: usize = 72;
const HOLD_BYTES: usize = 17;
const RATE_BYTES: usize = 16;
const ROW_BYTES_MAX: usize = ROW_BYTES + HOLD_BYTES + RATE_BYTES;
const NAMES_HOLD: u8 = 1;
const NAMES_RATE: u8 = 2;
/// The longest encoding there is.
pub const ENCODED_BYTES_MAX: usize = HEAD_BYTES + LEGS_MAX * ROW_BYTES_MAX;

/// One transaction: what one linked set wrote to the journal, or one expiry of a hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Where it was booked.
    pub partition: PartitionId,
    /// Its rows, in order, at least one. All have the key, the log index and the times of the first.
    pub rows: Vec<JournalRow>,
}

impl Transaction {
    /// Its first row, which says what all its rows say alike.
    ///
    /// # Panics
    /// When there is none, which decoding refuses.
    #[must_use]
    pub fn first(&self) -> &JournalRow {
        self.rows.first().expect("a transaction has rows")
    }

    /// Decodes what [`encode`] wrote. Takes no other bytes.
    ///
    /// # Errors
    /// [`AuditError::Malformed`] with the first offending byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, AuditError> {
        let mut cursor = Cursor::new(bytes);
        let head = Head::read(&mut cursor)?;
        let mut rows = Vec::with_capacity(usize::from(head.count));
        for place in 0..head.count {
            rows.push(read_row(&mut cursor, &head, place)?);
        }
        cursor.end()?;
        check_set(&rows)?;
        Ok(Self { partition: head.partition, rows })
    }

    /// Its bytes, added to `out`.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), AuditError> {
        encode(self.partition, &self.rows, out)
    }
}

/// Cuts journal rows, as the ledger wrote them, into transactions: a set's rows stand side by side
/// and count themselves. Each expiry is a transaction of its own, under the key of the set that
/// placed the hold.
pub fn transactions(rows: &[JournalRow]) -> impl Iterator<Item = &[JournalRow]> {
    rows.chunk_by(|_, next| next.set_row != 0)
}

/// Encodes the rows of one transaction, added to `out`; nothing is added on error.
///
/// # Errors
/// [`AuditError::NotOneSet`] when they are not one transaction's.
pub fn encode(
    partition: PartitionId,
    rows: &[JournalRow],
    out: &mut Vec<u8>,
) -> Result<(), AuditError> {
    check_set(rows)?;
    let [first, ..] = rows else { return Err(AuditError::NotOneSet("there are none")) };
    let count =
        u8::try_from(rows.len()).map_err(|_| AuditError::NotOneSet("there are too many"))?;
    let before = out.len();
    out.reserve(HEAD_BYTES + rows.len() * ROW_BYTES_MAX);
    out.push(VERSION);
    out.extend_from_slice(&partition.0.to_le_bytes());
    out.extend_from_slice(&first.index.to_le_bytes());
    out.extend_from_slice(&first.number.to_le_bytes());
    out.extend_from_slice(&first.key.0.to_le_bytes());
    out.extend_from_slice(&first.at.0.to_le_bytes());
    out.extend_from_slice(&first.effective_at.0.to_le_bytes());
    out.extend_from_slice(&first.stated_at.0.to_le_bytes());
    out.push(u8::from(first.reverses.is_some()));
    out.extend_from_slice(&first.reverses.map_or(0, |key| key.0).to_le_bytes());
    out.push(count);
    assert!(out.len() - before == HEAD_BYTES, "the head has its fixed length");
    for row in rows {
        write_row(row, out);
    }
    Ok(())
}

fn write_row(row: &JournalRow, out: &mut Vec<u8>) {
    let before = out.len();
    let mut expected = ROW_BYTES;
    let flags =
        u8::from(row.hold.is_some()) * NAMES_HOLD + u8::from(row.rate.is_some()) * NAMES_RATE;
    out.push(row.leg);
    out.push(row.kind.number());
    out.extend_from_slice(&row.code.number().to_le_bytes());
    out.extend_from_slice(&row.currency.bytes());
    out.push(flags);
    if let Some(hold) = row.hold {
        out.extend_from_slice(&hold.key.0.to_le_bytes());
        out.push(hold.leg);
        expected += HOLD_BYTES;
    }
    if let Some(rate) = row.rate {
        out.extend_from_slice(&rate.0.to_le_bytes());
        expected += RATE_BYTES;
    }
    out.extend_from_slice(&row.debit.0.to_le_bytes());
    out.extend_from_slice(&row.credit.0.to_le_bytes());
    out.extend_from_slice(&row.amount.to_le_bytes());
    out.extend_from_slice(&row.released.to_le_bytes());
    assert!(out.len() - before == expected, "a row has its fixed length");
}

/// Whether the rows are one transaction's: what the ledger promises, asked again of what comes
/// from a store or from outside.
fn check_set(rows: &[JournalRow]) -> Result<(), AuditError> {
    let refuse = |why| Err(AuditError::NotOneSet(why));
    let [first, ..] = rows else { return refuse("there are none") };
    if rows.len() > LEGS_MAX {
        return refuse("there are more than a set may have");
    }
    if rows.len() > 1 && rows.iter().any(|row| row.kind == EntryKind::Expired) {
        return refuse("an expiry stands alone");
    }
    for (place, row) in rows.iter().enumerate() {
        if (usize::from(row.set_row), usize::from(row.set_rows)) != (place, rows.len()) {
            return refuse("they are not all that were written together");
        }
        if row.key != first.key || row.reverses != first.reverses {
            return refuse("they name different sets");
        }
        let stamp = |row: &JournalRow| (row.index, row.at, row.effective_at, row.stated_at);
        if stamp(row) != stamp(first) {
            return refuse("they were booked at different times");
        }
        if first.number.checked_add(u64::from(row.set_row)) != Some(row.number) {
            return refuse("their numbers do not follow one another");
        }
    }
    // A leg that moved nothing wrote no row, so legs may have gaps.
    if !rows.is_sorted_by(|row, next| row.leg < next.leg) {
        return refuse("their legs do not follow one another");
    }
    Ok(())
}

/// What all rows have alike.
struct Head {
    partition: PartitionId,
    index: u64,
    number: u64,
    key: TransferKey,
    at: Timestamp,
    effective_at: Timestamp,
    stated_at: Timestamp,
    reverses: Option<TransferKey>,
    count: u8,
}

impl Head {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, AuditError> {
        const SHORT: &str = "a transaction's head has 77 bytes";
        let malformed = |at, what| Err(AuditError::Malformed { at, what });
        if cursor.u8(SHORT)? != VERSION {
            return malformed(0, "this version of the encoding is not known");
        }
        let partition = PartitionId(cursor.u16(SHORT)?);
        let index = cursor.u64(SHORT)?;
        let number = cursor.u64(SHORT)?;
        let key = TransferKey(cursor.u128(SHORT)?);
        let at = Timestamp(cursor.u64(SHORT)?);
        let effective_at = Timestamp(cursor.u64(SHORT)?);
        let stated_at = Timestamp(cursor.u64(SHORT)?);
        let (flag_at, flag) = (cursor.at(), cursor.u8(SHORT)?);
        let reverses = match (flag, cursor.u128(SHORT)?) {
            (0, 0) => None,
            (0, _) => return malformed(flag_at + 1, "what is not there is zero"),
            (1, key) => Some(TransferKey(key)),
            _ => return malformed(flag_at, "a flag is 0 or 1"),
        };
        let (count_at, count) = (cursor.at(), cursor.u8(SHORT)?);
        if count == 0 || usize::from(count) > LEGS_MAX {
            return malformed(count_at, "a transaction has at least one row and bounded many");
        }
        if number.checked_add(u64::from(count)).is_none() {
            return malformed(11, "journal numbers fit 64 bits");
        }
        Ok(Self { partition, index, number, key, at, effective_at, stated_at, reverses, count })
    }
}

fn read_row(cursor: &mut Cursor<'_>, head: &Head, place: u8) -> Result<JournalRow, AuditError> {
    const SHORT: &str = "a row has 72 bytes, 17 more for a hold, 16 more for a rate";
    let malformed = |at, what| Err(AuditError::Malformed { at, what });
    let leg = cursor.u8(SHORT)?;
    let (at, number) = (cursor.at(), cursor.u8(SHORT)?);
    let Some(kind) = EntryKind::of_number(number) else {
        return malformed(at, "there is no such kind of row");
    };
    let (at, number) = (cursor.at(), cursor.u16(SHORT)?);
    let Some(code) = Code::of_number(number) else {
        return malformed(at, "there is no such code");
    };
    let (at, letters) = (cursor.at(), cursor.array(SHORT)?);
    let Ok(currency) = Currency::from_bytes(letters) else {
        return malformed(at, "there is no such currency");
    };
    let (at, flags) = (cursor.at(), cursor.u8(SHORT)?);
    if flags & !(NAMES_HOLD | NAMES_RATE) != 0 {
        return malformed(at, "these flags have no meaning");
    }
    let (mut hold, mut rate) = (None, None);
    if flags & NAMES_HOLD != 0 {
        hold = Some(HoldId { key: TransferKey(cursor.u128(SHORT)?), leg: cursor.u8(SHORT)? });
    }
    if flags & NAMES_RATE != 0 {
        rate = Some(RateId(cursor.u128(SHORT)?));
    }
    Ok(JournalRow {
        number: head.number + u64::from(place),
        index: head.index,
        key: head.key,
        reverses: head.reverses,
        leg,
        set_row: place,
        set_rows: head.count,
        kind,
        hold,
        rate,
        debit: AccountId(cursor.u128(SHORT)?),
        credit: AccountId(cursor.u128(SHORT)?),
        amount: cursor.u128(SHORT)?,
        released: cursor.u128(SHORT)?,
        currency,
        code,
        at: head.at,
        effective_at: head.effective_at,
        stated_at: head.stated_at,
    })
}

/// What the byte at `at` of an encoding belongs to, in words, for whoever looks for a change:
/// "amount of row 2". `None` when the bytes are too far from an encoding to tell.
#[must_use]
pub fn field_at(bytes: &[u8], at: usize) -> Option<String> {
    const HEAD: [(usize, &str); 11] = [
        (1, "version"),
        (2, "partition"),
        (8, "log index"),
        (8, "journal number"),
        (16, "key"),
        (8, "booking time"),
        (8, "value time"),
        (8, "stated time"),
        (1, "reversal flag"),
        (16, "reversed key"),
        (1, "row count"),
    ];
    if let Some(name) = name_within(&HEAD, at) {
        return Some(name.into());
    }
    let mut start = HEAD_BYTES;
    for row in 0..LEGS_MAX {
        let flags = *bytes.get(start + 7)?;
        let hold = if flags & NAMES_HOLD == 0 { 0 } else { HOLD_BYTES };
        let rate = if flags & NAMES_RATE == 0 { 0 } else { RATE_BYTES };
        let fields = [
            (1, "leg"),
            (1, "kind"),
            (2, "code"),
            (3, "currency"),
            (1, "flags"),
            (hold, "hold"),
            (rate, "rate"),
            (16, "debit account"),
            (16, "credit account"),
            (16, "amount"),
            (16, "released amount"),
        ];
        if let Some(name) = name_within(&fields, at - start) {
            return Some(format!("{name} of row {row}"));
        }
        start += ROW_BYTES + hold + rate;
    }
    None
}

/// The name of the field that holds byte `at` of some that stand side by side.
fn name_within(fields: &[(usize, &'static str)], at: usize) -> Option<&'static str> {
    let mut end = 0;
    for (width, name) in fields {
        end += width;
        if at < end {
            return Some(name);
        }
    }
    None
}
