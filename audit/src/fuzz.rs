//! The entry of the fuzz target, here so that plain tests can run it without a fuzzer.
//!
//! Check sums and signatures would turn every foreign byte away at the door, so foreign bytes are
//! also made the inside of records whose sums and signatures are right. Claimed is: no panic,
//! whatever the bytes; and every change of a genuine export is seen, at or before the first changed
//! byte and within its record.

use ed25519_dalek::SigningKey;
use novax_model::{PartitionId, Timestamp};

use crate::canonical::{Transaction, field_at};
use crate::error::AuditError;
use crate::export::record::{
    BODY_BYTES_MAX, HEAD_BYTES, Kind, PREAMBLE_BYTES, TAIL_BYTES, first_link, preamble, seal,
};
use crate::export::{Start, verify};
use crate::head::{PublicKeys, Rotation, SignedHead, TreeHead};
use crate::merkle::{Tree, leaf_hash};

/// A genuine export, signed with the key of all ones.
const GENUINE: &[u8] = include_bytes!("../testdata/export-v1.nvx");
const PARTITION: PartitionId = PartitionId(7);

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn keys() -> PublicKeys {
    PublicKeys::new(key().verifying_key().as_bytes()).expect("a signing key has a public key")
}

/// Foreign bytes as an export, as the inside of one, and as changes of one.
pub fn fuzz_export(data: &[u8]) {
    let _ = verify(data, &keys(), None);
    let _ = Transaction::decode(data).map(|transaction| {
        let mut again = Vec::new();
        let encoded = transaction.encode(&mut again);
        assert!(encoded.is_ok() && again == data, "an encoding is its own");
    });
    let _ = field_at(data, data.len() / 2);
    let _ = (SignedHead::from_bytes(data), Rotation::from_bytes(data));
    let _ = verify(&built(data)[..], &keys(), None);
    check_changes(data);
}

/// An export whose sums are right, of records that the data says: a number, a length, bytes.
fn built(data: &[u8]) -> Vec<u8> {
    let genuine = records(GENUINE);
    let (mut out, mut link, mut tree) = (preamble().to_vec(), first_link(), Tree::new());
    let mut put = |kind: u8, body: &[u8]| {
        let (head, tail) = seal(&mut link, kind, body);
        out.extend_from_slice(&head);
        out.extend_from_slice(body);
        out.extend_from_slice(&tail);
    };
    put(Kind::Start as u8, &Start::whole(PARTITION, data.len().is_multiple_of(2)).to_bytes());
    let mut rest = data;
    while let [number, length, more @ ..] = rest {
        let (body, after) = more.split_at(more.len().min(usize::from(*length)));
        rest = after;
        match number % 12 {
            // A head that fits, or nearly.
            8 | 9 => {
                let ahead = u64::from(*length % 3);
                let head = TreeHead {
                    partition: PARTITION,
                    size: tree.size() + ahead,
                    root: tree.root(),
                    log_index: u64::MAX,
                    log_chain: [0; 32],
                    at: Timestamp(u64::from(*length)),
                };
                put(Kind::Head as u8, &head.sign(&key()).to_bytes());
            }
            // A genuine transaction, in or out of turn.
            10 | 11 => {
                let turn = if *number < 128 { tree.size() } else { u64::from(*length) };
                let bodies = genuine.iter().filter(|(kind, _)| *kind == Kind::Transaction as u8);
                let nth = usize::try_from(turn).unwrap_or(usize::MAX);
                let Some((kind, body)) = bodies.clone().nth(nth) else { continue };
                let _stored = tree.append(leaf_hash(body));
                put(*kind, body);
            }
            kind => put(kind, body),
        }
    }
    let mut end = tree.size().to_le_bytes().to_vec();
    end.extend_from_slice(&tree.root());
    put(Kind::End as u8, &end);
    out
}

/// Kind and body of each record of a genuine export.
fn records(export: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    let mut rest = export.get(PREAMBLE_BYTES..).unwrap_or_default();
    while let [a, b, c, d, kind, ..] = *rest {
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        assert!(length <= BODY_BYTES_MAX, "the export is genuine");
        found.push((kind, &rest[HEAD_BYTES..HEAD_BYTES + length]));
        rest = &rest[HEAD_BYTES + length + TAIL_BYTES..];
    }
    found
}

/// Changes a genuine export: three bytes of data say where and to what.
fn check_changes(data: &[u8]) {
    let mut changed = GENUINE.to_vec();
    for [low, high, byte] in data.as_chunks::<3>().0 {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % changed.len();
        changed[at] = *byte;
    }
    let first = GENUINE.iter().zip(&changed).position(|(was, is)| was != is);
    let (Some(first), Err(error)) = (first, verify(&changed[..], &keys(), None)) else {
        assert!(changed == GENUINE, "a change went unseen");
        return;
    };
    let AuditError::Tampered(tampered) = error else { panic!("reading memory does not fail") };
    let mut start = 0;
    let mut end = PREAMBLE_BYTES;
    for (_, body) in records(GENUINE) {
        if first < end {
            break;
        }
        start = end;
        end += HEAD_BYTES + body.len() + TAIL_BYTES;
    }
    let found = usize::try_from(tampered.byte_offset).expect("the file is short");
    assert!((start..=first).contains(&found), "changed at {first}: {tampered}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn genuine_transactions_and_heads_make_a_genuine_export() {
        // Head over nothing, all transactions in turn, a head over them.
        let mut data = vec![8, 0];
        for _ in 0..11 {
            data.extend_from_slice(&[10, 0]);
        }
        data.extend_from_slice(&[9, 0, 1]);
        let report = verify(&built(&data)[..], &keys(), None).unwrap();
        assert_eq!((report.size, report.signed, report.heads), (11, 11, 2));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_fuzzers_claims_hold(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_export(&data);
        }

        #[test]
        fn single_changes_are_seen(at in any::<u16>(), byte in any::<u8>()) {
            let [low, high] = at.to_le_bytes();
            check_changes(&[low, high, byte]);
        }
    }
}
