//! One record after the other, and where the first that is not genuine was changed.

use std::io::Read;

use super::record::{
    BODY_BYTES_MAX, HEAD_BYTES, Kind, MAGIC, PREAMBLE_BYTES, TAIL_BYTES, VERSION, check,
    first_link, fold, length_and_kind, link, preamble,
};
use crate::canonical::field_at;
use crate::error::{AuditError, Tampered, What};
use crate::hash::Hash;

/// A record whose check sums are right.
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) body: &'a [u8],
    /// Where it stands in the file, and which it is.
    pub(crate) place: Place,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) record: u64,
}

impl Place {
    /// Something is wrong with the whole record.
    pub(crate) fn tampered(self, what: What) -> AuditError {
        self.tampered_at(0, what)
    }

    /// Something is wrong `within` bytes after the record's start.
    pub(crate) fn tampered_at(self, within: usize, what: What) -> AuditError {
        AuditError::Tampered(Box::new(Tampered {
            byte_offset: self.offset + within as u64,
            record: self.record,
            transaction: None,
            key: None,
            what,
        }))
    }
}

/// Reads records and checks how they follow one another.
pub(crate) struct Reader<R> {
    input: R,
    next: Place,
    link: Hash,
    body: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads the preamble.
    pub(crate) fn new(mut input: R) -> Result<Self, AuditError> {
        let mut bytes = [0; PREAMBLE_BYTES];
        let start = Place { offset: 0, record: 0 };
        let count = read_up_to(&mut input, &mut bytes)?;
        let expected = preamble();
        if let Some(wrong) = (0..count.min(MAGIC.len())).find(|at| bytes[*at] != expected[*at]) {
            return Err(start.tampered_at(wrong, What::NotAnExport));
        }
        if count < PREAMBLE_BYTES {
            return Err(start.tampered_at(count, What::Truncated));
        }
        if let Some(wrong) = (0..count).find(|at| bytes[*at] != expected[*at]) {
            let version = u16::from_le_bytes([bytes[8], bytes[9]]);
            assert!(version != VERSION, "only the version is left to differ");
            return Err(start.tampered_at(wrong, What::Version(version)));
        }
        let next = Place { offset: PREAMBLE_BYTES as u64, record: 1 };
        let body = Vec::with_capacity(BODY_BYTES_MAX);
        Ok(Self { input, next, link: first_link(), body })
    }

    /// The next record; every error says where.
    /// `transaction` is the number that the next transaction has, to name it when it was changed.
    pub(crate) fn next(&mut self, transaction: u64) -> Result<Record<'_>, AuditError> {
        let place = self.next;
        let mut head = [0; HEAD_BYTES];
        self.fill(&mut head, place, 0)?;
        let (length, kind) = read_head(head, place)?;
        let mut body = std::mem::take(&mut self.body);
        body.resize(length, 0);
        self.fill(&mut body, place, HEAD_BYTES)?;
        let mut tail = [0; TAIL_BYTES];
        self.fill(&mut tail, place, HEAD_BYTES + length)?;
        self.body = body;
        let stored = Tail::of(tail);
        let signed = length_and_kind(length, kind as u8);
        let expected = link(&self.link, signed, &self.body);
        if expected != stored.link || fold(&self.body) != stored.fold {
            let suspect = Suspect { place, kind, body: &self.body, stored, expected };
            let error = suspect.locate(&self.link);
            return Err(match error {
                AuditError::Tampered(found) if kind == Kind::Transaction => {
                    let transaction = Some(transaction);
                    AuditError::Tampered(Box::new(Tampered { transaction, ..*found }))
                }
                other => other,
            });
        }
        self.link = expected;
        self.next = Place {
            offset: place.offset + (HEAD_BYTES + length + TAIL_BYTES) as u64,
            record: place.record + 1,
        };
        Ok(Record { kind, body: &self.body, place })
    }

    /// Nothing may come any more.
    pub(crate) fn end(&mut self) -> Result<(), AuditError> {
        if read_up_to(&mut self.input, &mut [0])? == 0 {
            return Ok(());
        }
        Err(self.next.tampered(What::TooLong))
    }

    fn fill(&mut self, out: &mut [u8], place: Place, within: usize) -> Result<(), AuditError> {
        let count = read_up_to(&mut self.input, out)?;
        if count == out.len() {
            return Ok(());
        }
        Err(place.tampered_at(within + count, What::Truncated))
    }
}

/// Fills `out` as far as there is anything to read.
fn read_up_to(input: &mut impl Read, out: &mut [u8]) -> Result<usize, AuditError> {
    let mut count = 0;
    while count < out.len() {
        match input.read(&mut out[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(count)
}

/// Length and kind of a record, if their check is right.
fn read_head(head: [u8; HEAD_BYTES], place: Place) -> Result<(usize, Kind), AuditError> {
    if !is_checked(head) {
        return Err(locate_in_head(head, place));
    }
    let [a, b, c, d, kind, ..] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let malformed =
        |at, what| place.tampered_at(at, What::Malformed(AuditError::Malformed { at, what }));
    if length > BODY_BYTES_MAX {
        return Err(malformed(0, "the body of a record is at most 16 KiB long"));
    }
    let kind = Kind::of_number(kind).ok_or_else(|| malformed(4, "there is no such record"))?;
    Ok((length, kind))
}

fn is_checked(head: [u8; HEAD_BYTES]) -> bool {
    let [a, b, c, d, kind, ref stored @ ..] = head;
    check([a, b, c, d, kind]) == *stored
}

/// A single changed byte of a head is found by trying all.
fn locate_in_head(head: [u8; HEAD_BYTES], place: Place) -> AuditError {
    for at in 0..HEAD_BYTES {
        for was in 0..=u8::MAX {
            let mut repaired = head;
            repaired[at] = was;
            if is_checked(repaired) {
                let field = match at {
                    0..4 => "length of the record",
                    4 => "kind of the record",
                    _ => "check of the record's head",
                };
                return place.tampered_at(at, changed(field, &[was], &head[at..=at]));
            }
        }
    }
    place.tampered(What::ChangedWidely { record_bytes: HEAD_BYTES as u64 })
}

fn changed(field: &str, was: &[u8], is: &[u8]) -> What {
    What::Changed { field: field.into(), was: was.into(), is: is.into() }
}

#[derive(Clone, Copy)]
struct Tail {
    fold: Hash,
    link: Hash,
}

impl Tail {
    fn of(bytes: [u8; TAIL_BYTES]) -> Self {
        let (mut fold, mut link) = ([0; 32], [0; 32]);
        fold.copy_from_slice(&bytes[..32]);
        link.copy_from_slice(&bytes[32..]);
        Self { fold, link }
    }
}

/// A record whose check sums are wrong.
struct Suspect<'a> {
    place: Place,
    kind: Kind,
    body: &'a [u8],
    stored: Tail,
    /// The link that the body as it is would have.
    expected: Hash,
}

impl Suspect<'_> {
    fn locate(&self, before: &Hash) -> AuditError {
        let folded = fold(self.body);
        let fold_at = HEAD_BYTES + self.body.len();
        if self.expected == self.stored.link {
            return self.in_tail(fold_at, "fold of the record", &folded, &self.stored.fold);
        }
        let mut difference = folded;
        for (byte, stored) in difference.iter_mut().zip(self.stored.fold) {
            *byte ^= stored;
        }
        if let Some(error) = self.in_body(before, &difference) {
            return error;
        }
        if difference == [0; 32] {
            let same = self.expected.iter().zip(self.stored.link).filter(|(a, b)| **a == *b);
            // Two hashes that have nothing to do with one another hardly agree in three bytes.
            if same.count() >= 16 {
                let link_at = fold_at + 32;
                return self.in_tail(
                    link_at,
                    "link of the record",
                    &self.expected,
                    &self.stored.link,
                );
            }
            return self.place.tampered(What::OutOfPlace);
        }
        let record_bytes = (fold_at + TAIL_BYTES) as u64;
        self.place.tampered(What::ChangedWidely { record_bytes })
    }

    /// The bytes between the first and the last that differ.
    fn in_tail(&self, at: usize, field: &str, was: &Hash, is: &Hash) -> AuditError {
        let differs = |place: &usize| was[*place] != is[*place];
        let first = (0..32).find(differs).unwrap_or(0);
        let last = (0..32).rfind(differs).unwrap_or(31);
        self.place.tampered_at(at + first, changed(field, &was[first..=last], &is[first..=last]))
    }

    /// Undoes the difference wherever it could begin, until the link is right.
    fn in_body(&self, before: &Hash, difference: &Hash) -> Option<AuditError> {
        let signed = length_and_kind(self.body.len(), self.kind as u8);
        let mut repaired = self.body.to_vec();
        let differing = difference.iter().filter(|byte| **byte != 0).count();
        for first in 0..repaired.len() {
            if difference[first % 32] == 0 {
                continue;
            }
            let end = repaired.len().min(first + 32);
            let mut last = first;
            let mut undone = 0;
            for at in first..end {
                let byte = difference[at % 32];
                repaired[at] ^= byte;
                if byte != 0 {
                    (last, undone) = (at, undone + 1);
                }
            }
            if undone == differing && link(before, signed, &repaired) == self.stored.link {
                let what = changed(
                    &self.field(&repaired, first),
                    &repaired[first..=last],
                    &self.body[first..=last],
                );
                return Some(self.place.tampered_at(HEAD_BYTES + first, what));
            }
            repaired[first..end].copy_from_slice(&self.body[first..end]);
        }
        None
    }

    fn field(&self, repaired: &[u8], at: usize) -> String {
        match self.kind {
            Kind::Transaction => {
                field_at(repaired, at).unwrap_or_else(|| "byte of a transaction".into())
            }
            Kind::Start => "byte of the start".into(),
            Kind::Head => "byte of a signed head".into(),
            Kind::Rotation => "byte of a change of keys".into(),
            Kind::Proof => "byte of a proof".into(),
            Kind::End => "byte of the end".into(),
        }
    }
}
