//! How a record of an export protects itself.
//!
//! ```text
//! length u32 | kind u8 | check 4 | body | fold 32 | link 32
//! ```
//!
//! *check* tells a changed length before it leads astray. *fold* is the xor of all the body's bytes
//! at each place modulo 32: any change within 32 neighbouring bytes can be undone at each place it
//! might have been, and *link*, a hash over all records so far, says which of these is right. So
//! the first changed byte is known for certain, and what it was.

use crate::hash::{Domain, Hash, hash};

pub(crate) const MAGIC: [u8; 8] = *b"NVXAUDIT";
pub(crate) const VERSION: u16 = 1;
pub(crate) const PREAMBLE_BYTES: usize = 10;
pub(crate) const HEAD_BYTES: usize = 9;
pub(crate) const TAIL_BYTES: usize = 64;
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024;
/// The longest record.
pub const RECORD_BYTES_MAX: usize = HEAD_BYTES + BODY_BYTES_MAX + TAIL_BYTES;

const _: () = assert!(crate::canonical::ENCODED_BYTES_MAX <= BODY_BYTES_MAX);

/// What a record holds. The numbers stand in files: append only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Where the export begins. The first record.
    Start = 1,
    /// A signed head, before the transactions it covers.
    Head = 2,
    /// A change of keys.
    Rotation = 3,
    /// A transaction in its canonical encoding.
    Transaction = 4,
    /// The inclusion proof of the transaction before it.
    Proof = 5,
    /// Where it ends. The last record.
    End = 6,
}

impl Kind {
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        [Kind::Start, Kind::Head, Kind::Rotation, Kind::Transaction, Kind::Proof, Kind::End]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

pub(crate) fn preamble() -> [u8; PREAMBLE_BYTES] {
    let mut bytes = [0; PREAMBLE_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..].copy_from_slice(&VERSION.to_le_bytes());
    bytes
}

/// What the first record's link follows.
pub(crate) fn first_link() -> Hash {
    hash(Domain::RecordLink, &[&preamble()])
}

/// The link of a record: `SHA-256(0x03 || link before || length || kind || body)`.
pub(crate) fn link(before: &Hash, length_and_kind: [u8; 5], body: &[u8]) -> Hash {
    hash(Domain::RecordLink, &[before, &length_and_kind, body])
}

/// The first four bytes of `SHA-256(0x04 || length || kind)`.
pub(crate) fn check(length_and_kind: [u8; 5]) -> [u8; 4] {
    let [a, b, c, d, ..] = hash(Domain::RecordHead, &[&length_and_kind]);
    [a, b, c, d]
}

/// Length and kind, as they stand in a record.
pub(crate) fn length_and_kind(length: usize, kind: u8) -> [u8; 5] {
    assert!(length <= BODY_BYTES_MAX, "a body is bounded");
    let [a, b, c, d] = u32::try_from(length).expect("a body is bounded").to_le_bytes();
    [a, b, c, d, kind]
}

/// The xor of all bytes at each place modulo 32.
pub(crate) fn fold(body: &[u8]) -> Hash {
    let mut fold = [0; 32];
    for chunk in body.chunks(32) {
        for (sum, byte) in fold.iter_mut().zip(chunk) {
            *sum ^= byte;
        }
    }
    fold
}

/// A record as it stands in a file: head, body, and the tail to be written after it. Moves the link
/// on.
pub(crate) fn seal(link: &mut Hash, kind: u8, body: &[u8]) -> ([u8; HEAD_BYTES], [u8; TAIL_BYTES]) {
    let signed = length_and_kind(body.len(), kind);
    *link = self::link(link, signed, body);
    let (mut head, mut tail) = ([0; HEAD_BYTES], [0; TAIL_BYTES]);
    head[..5].copy_from_slice(&signed);
    head[5..].copy_from_slice(&check(signed));
    tail[..32].copy_from_slice(&fold(body));
    tail[32..].copy_from_slice(link);
    (head, tail)
}
