//! The keys of whoever signs heads: each head is signed by the key that was in force when it was made.
//!
//! **Invariant**: a verifier who trusts the first key and follows the rotations takes every head that
//! this signs.

use ed25519_dalek::SigningKey;
use novax_model::Timestamp;

use crate::error::AuditError;
use crate::head::{KEYS_MAX, KeyId, PublicKeys, Rotation, SignedHead, TreeHead};

/// The keys of one node, the first one and those that followed it.
#[derive(Debug, Clone)]
pub struct Signer {
    first: SigningKey,
    /// Each with the word of the key before it.
    later: Vec<(Rotation, SigningKey)>,
}

impl Signer {
    /// With one key.
    #[must_use]
    pub fn new(first: SigningKey) -> Signer {
        Signer { first, later: Vec::new() }
    }

    /// Takes the next key in, with the rotation that made it the next.
    ///
    /// # Errors
    /// What [`PublicKeys::follow`] says of the rotation; [`AuditError::KeyMalformed`] when it is about
    /// another key, or there are too many.
    pub fn follow(&mut self, rotation: Rotation, key: SigningKey) -> Result<(), AuditError> {
        if rotation.new != key.verifying_key().to_bytes() || self.later.len() + 2 > KEYS_MAX {
            return Err(AuditError::KeyMalformed);
        }
        let mut keys = PublicKeys::new(&self.first_public())?;
        for (earlier, _) in &self.later {
            keys.follow(earlier)?;
        }
        if rotation.old != KeyId::of(&self.public()) {
            return Err(AuditError::KeyUnknown(rotation.old));
        }
        keys.follow(&rotation)?;
        self.later.push((rotation, key));
        Ok(())
    }

    /// Signs a new key in, from a time on: that is the rotation. The key is not taken in yet.
    #[must_use]
    pub fn rotation_to(&self, new: &SigningKey, at: Timestamp) -> Rotation {
        let old = self.later.last().map_or(&self.first, |(_, key)| key);
        let after = self.later.last().map_or(Timestamp::ZERO, |(rotation, _)| rotation.at);
        Rotation::sign(old, new, at.max(after))
    }

    /// Signs a head with the key that was in force when it was made.
    #[must_use]
    pub fn sign(&self, head: TreeHead) -> SignedHead {
        let in_force = self.later.iter().rev().find(|(rotation, _)| rotation.at <= head.at);
        head.sign(in_force.map_or(&self.first, |(_, key)| key))
    }

    /// How the keys followed one another.
    pub fn rotations(&self) -> impl Iterator<Item = &Rotation> {
        self.later.iter().map(|(rotation, _)| rotation)
    }

    /// Each secret key after the first, with its rotation, for whoever keeps them.
    pub fn later(&self) -> impl Iterator<Item = (&Rotation, &SigningKey)> {
        self.later.iter().map(|(rotation, key)| (rotation, key))
    }

    /// The first secret key, for whoever keeps it.
    #[must_use]
    pub fn first(&self) -> &SigningKey {
        &self.first
    }

    /// The key that verifiers begin with.
    #[must_use]
    pub fn first_public(&self) -> [u8; 32] {
        self.first.verifying_key().to_bytes()
    }

    /// The key that is in force last.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        let last = self.later.last().map_or(&self.first, |(_, key)| key);
        last.verifying_key().to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::to_hex;
    use novax_model::PartitionId;

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    fn head(at: u64) -> TreeHead {
        TreeHead {
            partition: PartitionId(0),
            size: at,
            root: [1; 32],
            log_index: at,
            log_chain: [2; 32],
            at: Timestamp(at),
        }
    }

    /// Three keys, in force from 0, 100 and 200.
    fn signer() -> Signer {
        let mut signer = Signer::new(key(1));
        for (number, at) in [(2, 100), (3, 200)] {
            let rotation = signer.rotation_to(&key(number), Timestamp(at));
            signer.follow(rotation, key(number)).unwrap();
        }
        signer
    }

    #[test]
    fn whoever_trusts_the_first_key_follows_to_every_later_one() {
        let signer = signer();
        let mut keys = PublicKeys::new(&signer.first_public()).unwrap();
        signer.rotations().for_each(|rotation| keys.follow(rotation).unwrap());
        for at in [1, 99, 100, 150, 199, 200, 1_000] {
            keys.verify(&signer.sign(head(at))).unwrap();
        }
        // The same as a text that an auditor keeps.
        let mut text = to_hex(&signer.first_public());
        for rotation in signer.rotations() {
            text = format!("{text}\n{}  # followed\n", to_hex(&rotation.to_bytes()));
        }
        let kept = PublicKeys::parse(&text).unwrap();
        for at in [1, 100, 200] {
            kept.verify(&signer.sign(head(at))).unwrap();
        }
    }

    #[test]
    fn a_key_signs_nothing_of_another_ones_time() {
        let signer = signer();
        let mut keys = PublicKeys::new(&signer.first_public()).unwrap();
        signer.rotations().for_each(|rotation| keys.follow(rotation).unwrap());
        for (number, at) in [(1, 100), (1, 500), (2, 99), (2, 200), (3, 199)] {
            let stolen = head(at).sign(&key(number));
            assert!(matches!(keys.verify(&stolen), Err(AuditError::KeyNotInForce { .. })));
        }
    }

    #[test]
    fn a_key_follows_only_by_the_word_of_the_last() {
        let mut signer = signer();
        let foreign = Rotation::sign(&key(9), &key(4), Timestamp(300));
        assert!(signer.follow(foreign, key(4)).is_err(), "nobody knows who says so");
        let old = Rotation::sign(&key(1), &key(4), Timestamp(300));
        assert!(signer.follow(old, key(4)).is_err(), "its time is over");
        let mut forged = signer.rotation_to(&key(4), Timestamp(300));
        forged.at = Timestamp(250);
        assert!(signer.follow(forged, key(4)).is_err(), "not what was signed");
        let other = signer.rotation_to(&key(4), Timestamp(300));
        assert!(signer.follow(other, key(5)).is_err(), "of another key");
        assert_eq!(signer.public(), key(3).verifying_key().to_bytes(), "nothing has changed");
        // A time before the last key's is moved to it.
        let early = signer.rotation_to(&key(4), Timestamp(5));
        assert_eq!(early.at, Timestamp(200));
    }
}
