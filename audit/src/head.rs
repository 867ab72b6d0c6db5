//! Tree heads, their signatures, and the keys that made them.
//!
//! A head is made inside the state machine, where it is equal on every replica, and signed outside
//! it, where the key is. The bytes that are signed are written by hand; docs/formats/transaction.md
//! lists them. Verification is the strict kind: one signature, one meaning, on every implementation.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use novax_model::{Duration, PartitionId, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};

use crate::bytes::Cursor;
use crate::error::AuditError;
use crate::hash::{Hash, from_hex};

pub use crate::ids::KeyId;

/// How many leaves may come before a new head is made, however short the time.
pub const HEAD_LEAVES_MAX: u64 = 10_000;
/// How long new leaves may wait for a head.
pub const HEAD_EVERY: Duration = Duration::from_secs(1);
/// The length of [`TreeHead::to_bytes`].
pub const HEAD_BYTES: usize = 98;
/// The length of [`SignedHead::to_bytes`].
pub const SIGNED_HEAD_BYTES: usize = HEAD_BYTES + 8 + 64;
/// The length of [`Rotation::to_bytes`].
pub const ROTATION_BYTES: usize = ROTATION_SIGNED_BYTES + 2 * 64;

const ROTATION_SIGNED_BYTES: usize = 56;
const HEAD_MAGIC: [u8; 8] = *b"NVXHEAD1";
const ROTATION_MAGIC: [u8; 8] = *b"NVXKEYS1";
/// The most keys a verifier follows.
pub(crate) const KEYS_MAX: usize = 1_024;

/// So many transactions, this root. A row of the partition's state.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeHead {
    /// Whose tree.
    pub partition: PartitionId,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// The last log entry that was applied.
    pub log_index: u64,
    /// The link of the log's chain at that entry.
    pub log_chain: Hash,
    /// When it was made, by the log's clock.
    pub at: Timestamp,
}

impl TreeHead {
    /// Whether it is time for a new head: leaves have come since `last`, and enough of them, or
    /// long enough ago.
    #[must_use]
    pub fn is_due(last: Option<&TreeHead>, size: u64, now: Timestamp) -> bool {
        let Some(last) = last else { return size > 0 };
        assert!(last.size <= size, "a tree only grows");
        let waiting = size - last.size;
        waiting >= HEAD_LEAVES_MAX || (waiting > 0 && now.since(last.at) >= HEAD_EVERY)
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let fields: [&[u8]; 7] = [
            &HEAD_MAGIC,
            &self.partition.0.to_le_bytes(),
            &self.size.to_le_bytes(),
            &self.root,
            &self.log_index.to_le_bytes(),
            &self.log_chain,
            &self.at.0.to_le_bytes(),
        ];
        fill(&mut bytes, &fields);
        bytes
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, AuditError> {
        let at = cursor.at();
        if cursor.array::<8>("a tree head has 98 bytes")? != HEAD_MAGIC {
            return Err(AuditError::Malformed { at, what: "a tree head begins with NVXHEAD1" });
        }
        Ok(Self {
            partition: PartitionId(cursor.u16("the partition of a head has 2 bytes")?),
            size: cursor.u64("the size of a head has 8 bytes")?,
            root: cursor.array("the root of a head has 32 bytes")?,
            log_index: cursor.u64("the log index of a head has 8 bytes")?,
            log_chain: cursor.array("the log chain of a head has 32 bytes")?,
            at: Timestamp(cursor.u64("the time of a head has 8 bytes")?),
        })
    }

    /// Signs it.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedHead {
        let signature = key.sign(&self.to_bytes()).to_bytes();
        SignedHead { head: self, key: KeyId::of(key.verifying_key().as_bytes()), signature }
    }
}

/// A head and who vouches for it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedHead {
    /// What is vouched for.
    pub head: TreeHead,
    /// Which key signed.
    pub key: KeyId,
    /// The ed25519 signature of [`TreeHead::to_bytes`].
    pub signature: [u8; 64],
}

impl SignedHead {
    /// Head, key id, signature.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIGNED_HEAD_BYTES] {
        let mut bytes = [0; SIGNED_HEAD_BYTES];
        fill(&mut bytes, &[&self.head.to_bytes(), &self.key.0, &self.signature]);
        bytes
    }

    /// The head of such bytes. Its signature is not looked at.
    ///
    /// # Errors
    /// [`AuditError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AuditError> {
        let mut cursor = Cursor::new(bytes);
        let head = TreeHead::read(&mut cursor)?;
        let key = KeyId(cursor.array("a key id has 8 bytes")?);
        let signature = cursor.array("a signature has 64 bytes")?;
        cursor.end()?;
        Ok(Self { head, key, signature })
    }
}

/// A key gives way to the next. Signed by both: the old one says who follows it, the new one that
/// its owner agrees.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// The key that signs no head made at `at` or later.
    pub old: KeyId,
    /// The key that signs from then on.
    pub new: [u8; 32],
    /// When.
    pub at: Timestamp,
    /// By the old key.
    pub old_signature: [u8; 64],
    /// By the new key.
    pub new_signature: [u8; 64],
}

impl Rotation {
    /// Signs the change from one key to the next.
    #[must_use]
    pub fn sign(old: &SigningKey, new: &SigningKey, at: Timestamp) -> Self {
        let mut rotation = Self {
            old: KeyId::of(old.verifying_key().as_bytes()),
            new: new.verifying_key().to_bytes(),
            at,
            old_signature: [0; 64],
            new_signature: [0; 64],
        };
        let signed = rotation.signed_bytes();
        rotation.old_signature = old.sign(&signed).to_bytes();
        rotation.new_signature = new.sign(&signed).to_bytes();
        rotation
    }

    fn signed_bytes(&self) -> [u8; ROTATION_SIGNED_BYTES] {
        let mut bytes = [0; ROTATION_SIGNED_BYTES];
        let at = self.at.0.to_le_bytes();
        fill(&mut bytes, &[&ROTATION_MAGIC, &self.old.0, &self.new, &at]);
        bytes
    }

    /// What is signed, then both signatures.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ROTATION_BYTES] {
        let mut bytes = [0; ROTATION_BYTES];
        let parts = [&self.signed_bytes()[..], &self.old_signature, &self.new_signature];
        fill(&mut bytes, &parts);
        bytes
    }

    /// The rotation of such bytes. Its signatures are not looked at.
    ///
    /// # Errors
    /// [`AuditError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AuditError> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array::<8>("a rotation has 184 bytes")? != ROTATION_MAGIC {
            return Err(AuditError::Malformed { at: 0, what: "a rotation begins with NVXKEYS1" });
        }
        let rotation = Self {
            old: KeyId(cursor.array("a key id has 8 bytes")?),
            new: cursor.array("a public key has 32 bytes")?,
            at: Timestamp(cursor.u64("the time of a rotation has 8 bytes")?),
            old_signature: cursor.array("a signature has 64 bytes")?,
            new_signature: cursor.array("a signature has 64 bytes")?,
        };
        cursor.end()?;
        Ok(rotation)
    }
}

fn fill(bytes: &mut [u8], parts: &[&[u8]]) {
    let mut at = 0;
    for part in parts {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    assert!(at == bytes.len(), "the parts fill the record");
}

/// The keys a verifier trusts, each in force for a time.
#[derive(Debug, Clone)]
pub struct PublicKeys {
    known: Vec<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    id: KeyId,
    key: VerifyingKey,
    from: Timestamp,
    /// Not itself in force any more.
    until: Timestamp,
}

impl PublicKeys {
    /// Trusts one key, for all times until a rotation ends it.
    ///
    /// # Errors
    /// [`AuditError::KeyMalformed`].
    pub fn new(key: &[u8; 32]) -> Result<Self, AuditError> {
        let mut keys = Self { known: Vec::new() };
        keys.trust(key, Timestamp(0))?;
        Ok(keys)
    }

    /// Trusts the keys of a text: one a line in 64 hexadecimal digits; empty lines and what follows a
    /// `#` are passed over. A line of 368 digits is a rotation that is followed.
    ///
    /// # Errors
    /// [`AuditError::KeyLine`]; for a text without keys, of the line after its last.
    pub fn parse(text: &str) -> Result<Self, AuditError> {
        let mut keys = Self { known: Vec::new() };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if line.len() == 2 * ROTATION_BYTES {
                let rotation = from_hex::<ROTATION_BYTES>(line);
                let rotation = rotation.and_then(|bytes| Rotation::from_bytes(&bytes).ok());
                let followed = rotation.map(|rotation| keys.follow(&rotation));
                followed.and_then(Result::ok).ok_or(AuditError::KeyLine(number))?;
                continue;
            }
            let key = from_hex(line).filter(|_| keys.known.len() < KEYS_MAX);
            let key = key.ok_or(AuditError::KeyLine(number))?;
            keys.trust(&key, Timestamp(0)).map_err(|_| AuditError::KeyLine(number))?;
        }
        if keys.known.is_empty() {
            return Err(AuditError::KeyLine(text.lines().count() + 1));
        }
        Ok(keys)
    }

    /// Trusts one more, from a time on. A key that is known stays as it is.
    ///
    /// # Errors
    /// [`AuditError::KeyMalformed`].
    ///
    /// # Panics
    /// When there are more keys than anybody rotates through.
    pub fn trust(&mut self, key: &[u8; 32], from: Timestamp) -> Result<(), AuditError> {
        let verifying = VerifyingKey::from_bytes(key).map_err(|_| AuditError::KeyMalformed)?;
        // A key of small order would take any signature.
        if verifying.is_weak() {
            return Err(AuditError::KeyMalformed);
        }
        let id = KeyId::of(key);
        if self.known.iter().any(|known| known.id == id) {
            return Ok(());
        }
        assert!(self.known.len() < KEYS_MAX, "a verifier follows at most {KEYS_MAX} keys");
        self.known.push(Known { id, key: verifying, from, until: Timestamp::MAX });
        Ok(())
    }

    /// Follows a rotation: checks it with the old key, ends that one, trusts the new one.
    /// Following it again does nothing.
    ///
    /// # Errors
    /// [`AuditError::KeyUnknown`], [`AuditError::KeyNotInForce`], [`AuditError::SignatureWrong`],
    /// [`AuditError::KeyMalformed`].
    pub fn follow(&mut self, rotation: &Rotation) -> Result<(), AuditError> {
        let signed = rotation.signed_bytes();
        let old = self.find(rotation.old)?;
        check(old.id, &old.key, &signed, &rotation.old_signature)?;
        let new_id = KeyId::of(&rotation.new);
        let new = VerifyingKey::from_bytes(&rotation.new).map_err(|_| AuditError::KeyMalformed)?;
        check(new_id, &new, &signed, &rotation.new_signature)?;
        let is_again = old.until == rotation.at && self.find(new_id).is_ok();
        if is_again {
            return Ok(());
        }
        let is_in_force = old.from <= rotation.at && old.until == Timestamp::MAX;
        // A key that was in use before cannot come back: its old time would be forgotten.
        if !is_in_force || self.find(new_id).is_ok() || self.known.len() == KEYS_MAX {
            return Err(AuditError::KeyNotInForce { key: rotation.old, at: rotation.at });
        }
        self.trust(&rotation.new, rotation.at)?;
        let old = self.known.iter_mut().find(|known| known.id == rotation.old);
        old.expect("it was found above").until = rotation.at;
        Ok(())
    }

    /// Checks the signature of a head, and that its key was in force when it was made.
    ///
    /// # Errors
    /// [`AuditError::KeyUnknown`], [`AuditError::KeyNotInForce`], [`AuditError::SignatureWrong`].
    pub fn verify(&self, signed: &SignedHead) -> Result<(), AuditError> {
        let known = self.find(signed.key)?;
        check(known.id, &known.key, &signed.head.to_bytes(), &signed.signature)?;
        let at = signed.head.at;
        if at < known.from || at >= known.until {
            return Err(AuditError::KeyNotInForce { key: known.id, at });
        }
        Ok(())
    }

    fn find(&self, id: KeyId) -> Result<&Known, AuditError> {
        self.known.iter().find(|known| known.id == id).ok_or(AuditError::KeyUnknown(id))
    }
}

fn check(
    id: KeyId,
    key: &VerifyingKey,
    bytes: &[u8],
    signature: &[u8; 64],
) -> Result<(), AuditError> {
    let signature = Signature::from_bytes(signature);
    key.verify_strict(bytes, &signature).map_err(|_| AuditError::SignatureWrong(id))
}
