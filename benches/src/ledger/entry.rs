//! A log entry of the load: transfers of 128 bytes each, as TigerBeetle's. Transfers that one set links
//! follow one another; all but its last say so.

use crate::error::{BenchError, Result};
use novax_ledger::{Code, HoldId, Leg};
use novax_model::{AccountId, Timestamp, TransferKey};

/// Bytes of a transfer.
pub(crate) const TRANSFER_BYTES: usize = 128;
/// The most transfers of an entry: TigerBeetle's batch of a mebibyte.
pub(crate) const ENTRY_TRANSFERS_MAX: usize = 8_190;

const HOLD: u8 = 1;
const POST_HOLD: u8 = 2;
const POST: u8 = 3;

/// Adds a linked set to an entry.
pub(crate) fn encode(key: TransferKey, legs: &[Leg], entry: &mut Vec<u8>) {
    assert!(!legs.is_empty(), "a set has legs");
    for (left, leg) in (0..legs.len()).rev().zip(legs) {
        entry.extend_from_slice(&transfer(key, leg, left > 0));
    }
    assert!(entry.len() <= ENTRY_TRANSFERS_MAX * TRANSFER_BYTES, "entries are bounded");
}

/// One transfer: key, debit (or the hold's key), credit, amount, expiry, code, kind, linked, hold's leg.
fn transfer(key: TransferKey, leg: &Leg, linked: bool) -> [u8; TRANSFER_BYTES] {
    let (kind, first, credit, amount, expires, code, hold_leg) = match *leg {
        Leg::Hold { debit, credit, amount, code, expires } => {
            (HOLD, debit.0, credit.0, amount, expires.0, code, 0)
        }
        Leg::PostHold { hold, amount, code } => {
            (POST_HOLD, hold.key.0, 0, amount, 0, code, hold.leg)
        }
        Leg::Post { debit, credit, amount, code } => (POST, debit.0, credit.0, amount, 0, code, 0),
        ref other => unreachable!("the load has no {other:?}"),
    };
    let mut bytes = [0; TRANSFER_BYTES];
    bytes[..16].copy_from_slice(&key.0.to_le_bytes());
    bytes[16..32].copy_from_slice(&first.to_le_bytes());
    bytes[32..48].copy_from_slice(&credit.to_le_bytes());
    bytes[48..64].copy_from_slice(&amount.to_le_bytes());
    bytes[64..72].copy_from_slice(&expires.to_le_bytes());
    bytes[72..74].copy_from_slice(&code.number().to_le_bytes());
    bytes[74..77].copy_from_slice(&[kind, u8::from(linked), hold_leg]);
    bytes
}

/// Reads an entry set by set.
pub(crate) fn decode(
    entry: &[u8],
    mut take: impl FnMut(TransferKey, &[Leg]) -> Result<()>,
) -> Result<()> {
    let mut legs = Vec::new();
    let (transfers, rest) = entry.as_chunks::<TRANSFER_BYTES>();
    if !rest.is_empty() {
        return Err(damaged());
    }
    for bytes in transfers {
        let (key, leg, linked) = read(bytes).ok_or_else(damaged)?;
        legs.push(leg);
        if !linked {
            take(key, &legs)?;
            legs.clear();
        }
    }
    if legs.is_empty() { Ok(()) } else { Err(damaged()) }
}

fn damaged() -> BenchError {
    BenchError::Answer("an entry does not read back".into())
}

fn read(bytes: &[u8; TRANSFER_BYTES]) -> Option<(TransferKey, Leg, bool)> {
    let wide = |at: usize| Some(u128::from_le_bytes(bytes.get(at..at + 16)?.try_into().ok()?));
    let (key, first, credit, amount) = (wide(0)?, wide(16)?, wide(32)?, wide(48)?);
    let expires = Timestamp(u64::from_le_bytes(bytes[64..72].try_into().ok()?));
    let code = Code::of_number(u16::from_le_bytes([bytes[72], bytes[73]]))?;
    let (debit, credit) = (AccountId(first), AccountId(credit));
    let leg = match bytes[74] {
        HOLD => Leg::Hold { debit, credit, amount, code, expires },
        POST_HOLD => {
            let hold = HoldId { key: TransferKey(first), leg: bytes[76] };
            Leg::PostHold { hold, amount, code }
        }
        POST => Leg::Post { debit, credit, amount, code },
        _ => return None,
    };
    Some((TransferKey(key), leg, bytes[75] == 1))
}

#[cfg(test)]
mod tests {
    use super::super::books::{Books, Spread};
    use super::super::price::{Bill, Prices};
    use super::*;

    #[test]
    fn sets_read_back_as_they_were_written() {
        let books = Books::new(Spread::UNIFORM);
        let (mut bill, mut legs, mut entry) = (Bill::default(), Vec::new(), Vec::new());
        Prices::new().expect("sound").bill(7, &mut bill).expect("priced");
        books.settle(7, &bill, &mut legs);
        let sets = [(books.hold_key(7), vec![books.hold(7)]), (books.bill_key(7), legs)];
        for (key, legs) in &sets {
            encode(*key, legs, &mut entry);
        }
        let mut back = Vec::new();
        decode(&entry, |key, legs| {
            back.push((key, legs.to_vec()));
            Ok(())
        })
        .expect("it reads back");
        assert_eq!(back, sets);
        entry.truncate(entry.len() - TRANSFER_BYTES);
        assert!(decode(&entry, |_, _| Ok(())).is_err(), "half a set is none");
    }
}
