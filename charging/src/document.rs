//! Documents that were issued: invoices, credit notes, settlement statements; and what meters signed. What
//! a command brings, what rows keep, and under which keys.
//!
//! | key in keyspace `documents` | row |
//! |---|---|
//! | 0, series text | [`SeriesRow`]: the number that comes next |
//! | 1, series text, 0, number u64 | [`DocumentRow`]: what was issued to whom, for which sessions |
//! | 2, series text, 0, number u64 | what the document says, to the byte |
//! | 3, session u128, kind u8, series text, 0, number u64 | minor units of the session that stand there, u128 |
//! | 4, request: 16 bytes ([`request_id`]) | the document's number as text |
//!
//! | key in keyspace `billings` | row |
//! |---|---|
//! | 0, session u128, what u8, n u32 | [`BillingRow`] |
//! | 1, booked u64, session u128, what u8, n u32 | the same |
//!
//! What a document says is opaque here: whoever asks for it has made it of rows, without its number and
//! its date, which only the order of the log can give.

use novax_model::{Amount, Currency, Identity, SessionId, Timestamp, WattHours};
use rkyv::{Archive, Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// What a document may say, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// Sessions on one document.
pub const DOCUMENT_SESSIONS_MAX: usize = 2_000;
/// Characters of what begins a series, so that a full number fits OCPI's 39.
pub const ENTITY_CHARS_MAX: usize = 16;
/// Bytes of what a document is about.
pub const SUBJECT_BYTES_MAX: usize = 128;
/// Bytes of all that meters signed in one session, as the station sent it.
pub const SIGNED_BYTES_MAX: usize = 16 * 1024;
/// Signed values of one session.
pub const SIGNED_VALUES_MAX: usize = 64;

/// What a document is.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[repr(u8)]
pub enum DocumentKind {
    /// To a driver, for sessions.
    Invoice = 0,
    /// Takes back a part of an invoice.
    CreditNote = 1,
    /// To a partner, of what was earned.
    SettlementStatement = 2,
}

impl DocumentKind {
    /// As APIs and tables write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DocumentKind::Invoice => "invoice",
            DocumentKind::CreditNote => "credit_note",
            DocumentKind::SettlementStatement => "settlement_statement",
        }
    }
}

/// The number of a document: its series, and its place there, from 1 without gaps.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DocumentId {
    /// `NX-INV-p3-2026`: who issues what, in which partition, in which year.
    pub series: Box<str>,
    /// From 1.
    pub number: u64,
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.series, self.number)
    }
}

impl DocumentId {
    /// Reads `NX-INV-p3-2026-17`.
    #[must_use]
    pub fn parse(text: &str) -> Option<DocumentId> {
        let (series, number) = text.rsplit_once('-')?;
        let plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
        let number = number.parse().ok().filter(|_| plain)?;
        let fits = !series.is_empty() && series.len() <= SUBJECT_BYTES_MAX;
        fits.then(|| DocumentId { series: series.into(), number })
    }

    /// The partition that issued it, by its series.
    #[must_use]
    pub fn partition(&self) -> Option<novax_model::PartitionId> {
        let (rest, _year) = self.series.rsplit_once('-')?;
        let (_, partition) = rest.rsplit_once("-p")?;
        partition.parse().ok().map(novax_model::PartitionId)
    }
}

/// What a session stands on a document with.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct DocumentPart {
    /// Which session.
    pub session: SessionId,
    /// Minor units, tax included: charged by an invoice, taken back by a credit note.
    pub amount: Amount,
}

/// A document is to be issued. The number and the date are given when it is.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct IssueDocument {
    /// What it is.
    pub kind: DocumentKind,
    /// Begins the series: capital letters, digits and `-`.
    pub entity: Box<str>,
    /// Invoice: the driver. Credit note: the invoice and what the caller calls the request. Settlement
    /// statement: the partner, as its account is named.
    pub subject: Box<str>,
    /// First moment of its period.
    pub from: Timestamp,
    /// First moment after its period, which is over.
    pub until: Timestamp,
    /// Of all amounts.
    pub currency: Currency,
    /// Invoice, credit note: the sum of the parts. Settlement statement: the closing balance.
    pub total: i128,
    /// In order of their ids, each once.
    pub parts: Vec<DocumentPart>,
    /// Credit note: the invoice.
    pub original: Option<DocumentId>,
    /// How many days after its issue it is to be paid; `None` when nothing is.
    pub due_days: Option<u16>,
    /// What it says, without number and date.
    pub facts: Vec<u8>,
}

/// What a request for a document is known by.
pub type RequestId = [u8; 16];

/// What a document is known by before it has a number: kind, who issues, subject, period, currency.
#[must_use]
pub fn request_id(
    kind: DocumentKind,
    (entity, subject): (&str, &str),
    (from, until): (Timestamp, Timestamp),
    currency: Currency,
) -> RequestId {
    let mut hash = Sha256::new();
    hash.update([kind as u8]);
    for text in [entity, subject] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.update(from.0.to_be_bytes());
    hash.update(until.0.to_be_bytes());
    hash.update(currency.bytes());
    let hash: [u8; 32] = hash.finalize().into();
    *hash.first_chunk().expect("32 bytes")
}

impl IssueDocument {
    /// See [`request_id`].
    #[must_use]
    pub fn request(&self) -> RequestId {
        let (names, period) = ((&*self.entity, &*self.subject), (self.from, self.until));
        request_id(self.kind, names, period, self.currency)
    }

    /// SHA-256 over all that the document says and counts.
    pub(crate) fn content(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.total.to_be_bytes());
        hash.update((self.parts.len() as u64).to_be_bytes());
        for part in &self.parts {
            hash.update(part.session.0.to_be_bytes());
            hash.update(part.amount.to_be_bytes());
        }
        let original = self.original.as_ref().map(ToString::to_string).unwrap_or_default();
        hash.update((original.len() as u64).to_be_bytes());
        hash.update(original.as_bytes());
        hash.update(self.due_days.map_or([0; 3], |days| {
            let [high, low] = days.to_be_bytes();
            [1, high, low]
        }));
        hash.update(&self.facts);
        hash.finalize().into()
    }
}

/// The number that comes next in a series.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct SeriesRow {
    /// The series.
    pub series: Box<str>,
    /// From 1.
    pub next: u64,
}

/// A document that was issued. Never changed.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DocumentRow {
    /// Its number.
    pub id: DocumentId,
    /// What it is.
    pub kind: DocumentKind,
    /// What it is known by, with kind, subject, period and currency.
    pub entity: Box<str>,
    /// Whom or what it is about.
    pub subject: Box<str>,
    /// First moment of its period.
    pub from: Timestamp,
    /// First moment after its period.
    pub until: Timestamp,
    /// Of all amounts.
    pub currency: Currency,
    /// When it was issued: the time of its entry.
    pub issued: Timestamp,
    /// How many days later it is to be paid.
    pub due_days: Option<u16>,
    /// See [`IssueDocument::total`].
    pub total: i128,
    /// Which sessions it has, and for how much.
    pub parts: Vec<DocumentPart>,
    /// Credit note: the invoice.
    pub original: Option<DocumentId>,
    /// SHA-256 over what it says and counts.
    pub content: [u8; 32],
    /// SHA-256 over what it says, as stored.
    pub facts: [u8; 32],
}

/// Key of a [`SeriesRow`].
#[must_use]
pub fn series_row_key(series: &str) -> Vec<u8> {
    [&[SERIES][..], series.as_bytes()].concat()
}

/// Key of a [`DocumentRow`].
#[must_use]
pub fn document_key(id: &DocumentId) -> Vec<u8> {
    [&[HEAD][..], id.series.as_bytes(), &[0], &id.number.to_be_bytes()].concat()
}

/// Key of what a document says.
#[must_use]
pub fn document_facts_key(id: &DocumentId) -> Vec<u8> {
    [&[FACTS][..], id.series.as_bytes(), &[0], &id.number.to_be_bytes()].concat()
}

/// Key of what of a session stands on a document.
#[must_use]
pub fn session_document_key(session: SessionId, kind: DocumentKind, id: &DocumentId) -> Vec<u8> {
    let end = [&[kind as u8][..], id.series.as_bytes(), &[0], &id.number.to_be_bytes()].concat();
    [&session_documents_prefix(session)[..], &end].concat()
}

/// How the keys of a session's documents begin.
#[must_use]
pub fn session_documents_prefix(session: SessionId) -> Vec<u8> {
    [&[OF_SESSION][..], &session.0.to_be_bytes()].concat()
}

/// Reads [`session_document_key`] and its value.
#[must_use]
pub fn read_session_document(
    key: &[u8],
    value: &[u8],
) -> Option<(DocumentKind, DocumentId, Amount)> {
    let (_, rest) = key.split_at_checked(17)?;
    let (kind, rest) = rest.split_first()?;
    let kinds =
        [DocumentKind::Invoice, DocumentKind::CreditNote, DocumentKind::SettlementStatement];
    let kind = kinds.into_iter().find(|known| *known as u8 == *kind)?;
    let (series, number) = rest.split_at_checked(rest.len().checked_sub(9)?)?;
    let (_, number) = number.split_first()?;
    let series = std::str::from_utf8(series).ok()?.into();
    let id = DocumentId { series, number: u64::from_be_bytes(number.try_into().ok()?) };
    Some((kind, id, Amount::from_be_bytes(value.try_into().ok()?)))
}

/// Key under which a request's document is found.
#[must_use]
pub fn request_key(request: &RequestId) -> Vec<u8> {
    [&[REQUEST][..], request].concat()
}

/// First byte of the keys of what of a session stands on documents.
pub const OF_SESSION: u8 = 3;
/// First byte of the keys of requests.
pub const REQUEST: u8 = 4;

/// First byte of the key of a [`SeriesRow`].
pub const SERIES: u8 = 0;
/// First byte of the key of a [`DocumentRow`].
pub const HEAD: u8 = 1;
/// First byte of the key of what a document says.
pub const FACTS: u8 = 2;

/// What was booked of a session.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[repr(u8)]
pub enum Billing {
    /// Its bill.
    Bill = 0,
    /// Its true stop changed the bill.
    Adjustment = 1,
    /// A part of the bill went back.
    Refund = 2,
}

/// Where the journal has what was booked of a session: for statements of a period, for ever.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct BillingRow {
    /// Which session.
    pub session: SessionId,
    /// What of it.
    pub what: Billing,
    /// Which of several: the adjustment's or the refund's number.
    pub n: u32,
    /// When it was booked.
    pub booked: Timestamp,
    /// Its first row in the journal.
    pub first: u64,
    /// How many rows it has.
    pub rows: u8,
}

impl BillingRow {
    /// The key of its set in the ledger.
    #[must_use]
    pub fn transfer_key(&self) -> novax_model::TransferKey {
        match self.what {
            Billing::Bill => crate::Partition::bill_key(self.session),
            Billing::Adjustment => crate::Partition::adjust_key(self.session, self.n),
            Billing::Refund => crate::Partition::refund_key(self.session, self.n),
        }
    }

    fn end(&self) -> Vec<u8> {
        [&self.session.0.to_be_bytes()[..], &[self.what as u8], &self.n.to_be_bytes()].concat()
    }

    /// Its key among those of its session.
    #[must_use]
    pub fn session_key(&self) -> Vec<u8> {
        [&[BY_SESSION][..], &self.end()].concat()
    }

    /// Its key by time.
    #[must_use]
    pub fn time_key(&self) -> Vec<u8> {
        [&billings_since(self.booked)[..], &self.end()].concat()
    }
}

/// First byte of the keys of billings by session.
pub const BY_SESSION: u8 = 0;
/// First byte of the keys of billings by time.
pub const BY_TIME: u8 = 1;

/// The first key of billings booked at a time or later.
#[must_use]
pub fn billings_since(at: Timestamp) -> Vec<u8> {
    [&[BY_TIME][..], &at.0.to_be_bytes()].concat()
}

/// How the keys of a session's billings begin.
#[must_use]
pub fn billings_of(session: SessionId) -> Vec<u8> {
    [&[BY_SESSION][..], &session.0.to_be_bytes()].concat()
}

/// Registers under a meter's own signature (OCMF), verified before they were proposed. They win over
/// everything the station said without one.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedEnergy {
    /// Where the transaction began; `None` when only the end is signed.
    pub start: Option<WattHours>,
    /// Where it ended.
    pub stop: WattHours,
}

/// What a meter signed for a transaction.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Signed {
    /// What of it was verified by whoever proposed it.
    pub energy: Option<SignedEnergy>,
    /// All of it, as the station sent it.
    pub values: Vec<SignedValue>,
}

impl From<SignedEnergy> for Box<Signed> {
    fn from(energy: SignedEnergy) -> Box<Signed> {
        Box::new(Signed { energy: Some(energy), values: Vec::new() })
    }
}

impl Signed {
    /// Whether a session may keep so much.
    #[must_use]
    pub fn fits(&self) -> bool {
        let bytes = |value: &SignedValue| {
            value.raw.len() + value.key.len() + value.encoding.len() + value.method.len()
        };
        self.values.len() <= SIGNED_VALUES_MAX
            && self.values.iter().map(bytes).sum::<usize>() <= SIGNED_BYTES_MAX
    }
}

/// A value as a meter signed it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct SignedValue {
    /// When in the transaction.
    pub nature: SignedNature,
    /// How it is encoded, as the station says: `OCMF`; empty when it does not say.
    pub encoding: Box<str>,
    /// How it is signed, as the station says: `ECDSA-secp256r1-SHA256`; may be empty.
    pub method: Box<str>,
    /// The public key, as the station says; may be empty. It proves nothing by itself.
    pub key: Box<str>,
    /// What was signed and the signature, to the byte.
    pub raw: Vec<u8>,
}

/// When in a transaction a value was signed.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignedNature {
    /// At its start.
    Start,
    /// Within.
    Intermediate,
    /// At its end.
    End,
}

/// What meters signed for a session.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct SignedRow {
    /// Which session.
    pub session: SessionId,
    /// At which station.
    pub identity: Identity,
    /// When it came.
    pub at: Timestamp,
    /// In the order in which the station sent them.
    pub values: Vec<SignedValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_back_and_says_its_partition() {
        let id = DocumentId { series: "NX-INV-p12-2026".into(), number: 40 };
        assert_eq!(DocumentId::parse(&id.to_string()), Some(id.clone()));
        assert_eq!(id.partition(), Some(novax_model::PartitionId(12)));
        for bad in ["", "-", "17", "NX-017", "NX-+1", "NX-", "-1", "NX-18446744073709551616"] {
            assert_eq!(DocumentId::parse(bad), None, "{bad}");
        }
        let other = DocumentId { series: "p1".into(), number: 1 };
        assert_eq!(other.partition(), None);
    }

    #[test]
    fn rows_of_a_series_lie_together_in_order_of_their_numbers() {
        let id = |series: &str, number| DocumentId { series: series.into(), number };
        assert!(document_key(&id("A-p1-2026", 255)) < document_key(&id("A-p1-2026", 256)));
        assert!(document_key(&id("A-p1-2026", u64::MAX)) < document_key(&id("A-p1-20260", 1)));
        assert_ne!(document_key(&id("A", 1)), document_facts_key(&id("A", 1)));
        let (session, one) = (SessionId(7), id("A-p1-2026", 258));
        for kind in [DocumentKind::Invoice, DocumentKind::CreditNote] {
            let key = session_document_key(session, kind, &one);
            assert!(key.starts_with(&session_documents_prefix(session)));
            let read = read_session_document(&key, &360_u128.to_be_bytes());
            assert_eq!(read, Some((kind, one.clone(), 360)));
            assert_eq!(read_session_document(&key, b"360"), None);
        }
        assert_eq!(read_session_document(b"", b""), None);
    }

    #[test]
    fn billings_are_found_by_session_and_by_time() {
        let (session, what) = (SessionId(7), Billing::Refund);
        let row = BillingRow { session, what, n: 3, booked: Timestamp(9), first: 1, rows: 2 };
        assert!(row.session_key().starts_with(&billings_of(session)));
        assert!(row.time_key() >= billings_since(Timestamp(9)));
        assert!(row.time_key() < billings_since(Timestamp(10)));
        assert_eq!(row.transfer_key(), crate::Partition::refund_key(session, 3));
    }
}
