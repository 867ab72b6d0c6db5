//! Heads and keys: what is signed is fixed, what is changed is seen, keys follow one another.

use ed25519_dalek::SigningKey;
use novax_audit::head::{HEAD_EVERY, HEAD_LEAVES_MAX};
use novax_audit::{AuditError, KeyId, PublicKeys, Rotation, SignedHead, TreeHead, hash};
use novax_model::{PartitionId, Timestamp};

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public(key: &SigningKey) -> [u8; 32] {
    key.verifying_key().to_bytes()
}

fn head(at: u64) -> TreeHead {
    TreeHead {
        partition: PartitionId(5),
        size: 1_234,
        root: [0xaa; 32],
        log_index: 99,
        log_chain: [0xbb; 32],
        at: Timestamp(at),
    }
}

#[test]
fn the_bytes_of_a_head_are_fixed_for_ever() {
    let expected = [
        "4e5658484541443105", /* NVXHEAD1, partition low */
        "00d204000000000000",
        &"aa".repeat(32),
        "6300000000000000",
        &"bb".repeat(32),
        "0700000000000000",
    ];
    assert_eq!(hash::to_hex(&head(7).to_bytes()), expected.concat());
    let signed = head(7).sign(&key(1));
    assert_eq!(SignedHead::from_bytes(&signed.to_bytes()), Ok(signed));
}

#[test]
fn every_changed_bit_of_a_signed_head_is_seen() {
    let keys = PublicKeys::new(&public(&key(1))).unwrap();
    let signed = head(7).sign(&key(1)).to_bytes();
    keys.verify(&SignedHead::from_bytes(&signed).unwrap()).unwrap();
    for bit in 0..signed.len() * 8 {
        let mut changed = signed;
        changed[bit / 8] ^= 1 << (bit % 8);
        let seen = SignedHead::from_bytes(&changed).and_then(|head| keys.verify(&head));
        assert!(seen.is_err(), "bit {bit}");
    }
    for end in 0..signed.len() {
        assert!(SignedHead::from_bytes(&signed[..end]).is_err());
    }
    assert!(SignedHead::from_bytes(&[&signed[..], &[0]].concat()).is_err());
}

#[test]
fn a_key_that_is_not_trusted_vouches_for_nothing() {
    let keys = PublicKeys::new(&public(&key(1))).unwrap();
    let id = KeyId::of(&public(&key(2)));
    assert_eq!(keys.verify(&head(7).sign(&key(2))), Err(AuditError::KeyUnknown(id)));
    let mut posing = head(7).sign(&key(2));
    posing.key = KeyId::of(&public(&key(1)));
    assert_eq!(keys.verify(&posing), Err(AuditError::SignatureWrong(posing.key)));
}

#[test]
fn a_key_of_small_order_is_no_key() {
    // The neutral element: without the check it would take signatures of anything.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(PublicKeys::new(&neutral).unwrap_err(), AuditError::KeyMalformed);
}

#[test]
fn keys_are_read_from_a_text() {
    let one = hash::to_hex(&public(&key(1)));
    let keys = PublicKeys::parse(&format!("# ours\n\n  {one}  # since 2026\n")).unwrap();
    keys.verify(&head(7).sign(&key(1))).unwrap();
    assert!(keys.verify(&head(7).sign(&key(2))).is_err());
    for (text, line) in [("", 1), ("# none\n", 2), ("\nabc", 2), (&"01".repeat(33), 1)] {
        assert_eq!(PublicKeys::parse(text).unwrap_err(), AuditError::KeyLine(line), "{text:?}");
    }
}

#[test]
fn keys_follow_one_another() {
    let mut keys = PublicKeys::new(&public(&key(1))).unwrap();
    let rotation = Rotation::sign(&key(1), &key(2), Timestamp(100));
    assert_eq!(Rotation::from_bytes(&rotation.to_bytes()), Ok(rotation));
    keys.follow(&rotation).unwrap();
    keys.follow(&rotation).unwrap();
    keys.verify(&head(99).sign(&key(1))).unwrap();
    keys.verify(&head(100).sign(&key(2))).unwrap();
    let (one, two) = (KeyId::of(&public(&key(1))), KeyId::of(&public(&key(2))));
    let late = AuditError::KeyNotInForce { key: one, at: Timestamp(100) };
    assert_eq!(keys.verify(&head(100).sign(&key(1))), Err(late));
    let early = AuditError::KeyNotInForce { key: two, at: Timestamp(99) };
    assert_eq!(keys.verify(&head(99).sign(&key(2))), Err(early));
}

#[test]
fn a_retired_or_foreign_key_appoints_nobody() {
    let mut keys = PublicKeys::new(&public(&key(1))).unwrap();
    keys.follow(&Rotation::sign(&key(1), &key(2), Timestamp(100))).unwrap();
    assert!(keys.follow(&Rotation::sign(&key(1), &key(3), Timestamp(50))).is_err());
    assert!(keys.follow(&Rotation::sign(&key(3), &key(4), Timestamp(150))).is_err());
    assert!(keys.follow(&Rotation::sign(&key(2), &key(1), Timestamp(150))).is_err());
    assert!(keys.follow(&Rotation::sign(&key(2), &key(3), Timestamp(50))).is_err());
    let mut forged = Rotation::sign(&key(2), &key(3), Timestamp(150));
    forged.new = public(&key(4));
    assert!(keys.follow(&forged).is_err());
    keys.follow(&Rotation::sign(&key(2), &key(3), Timestamp(150))).unwrap();
    keys.verify(&head(200).sign(&key(3))).unwrap();
}

#[test]
fn a_head_is_due_after_a_second_or_ten_thousand_leaves() {
    let last = head(0);
    let second = Timestamp(0).saturating_add(HEAD_EVERY);
    assert!(!TreeHead::is_due(None, 0, second));
    assert!(TreeHead::is_due(None, 1, Timestamp(0)));
    assert!(!TreeHead::is_due(Some(&last), last.size, second));
    assert!(!TreeHead::is_due(Some(&last), last.size + 1, Timestamp(second.0 - 1)));
    assert!(TreeHead::is_due(Some(&last), last.size + 1, second));
    assert!(!TreeHead::is_due(Some(&last), last.size + HEAD_LEAVES_MAX - 1, Timestamp(1)));
    assert!(TreeHead::is_due(Some(&last), last.size + HEAD_LEAVES_MAX, Timestamp(1)));
}
