//! Documents are numbered by the order of the log, and held to the books before they are.
//!
//! A document says what rows said when somebody asked for it. Between then and now the books may have
//! gone on, so each session it names is looked up here: what it costs, what of it stands on documents
//! already, what of it was given back. Only what agrees gets a number.
//!
//! **Invariants**: numbers of a series begin at 1 and have no gap, whatever is asked for twice, refused
//! or lost; the same request gets the same document; what invoices have of a session is never more than
//! it cost, and what credit notes have is never more than its invoice had too much.
//!
//! Memory has the next number of each series and nothing else: the sessions that a request names, and what
//! was asked for by it before, are recalled from the store ([`crate::history`]).

use crate::accounts::{Name, Purpose};
use crate::accruals::Month;
use crate::command::{Outcome, Refusal};
use crate::document::{
    Billing, BillingRow, DOCUMENT_BYTES_MAX, DOCUMENT_SESSIONS_MAX, DocumentId, DocumentKind,
    DocumentPart, DocumentRow, ENTITY_CHARS_MAX, IssueDocument, RequestId, SUBJECT_BYTES_MAX,
    SeriesRow, document_facts_key, document_key, read_session_document, request_key,
    series_row_key, session_document_key, session_documents_prefix,
};
use crate::hash::key128;
use crate::history::{History, stored};
use crate::partition::Partition;
use crate::rows::{Keyspace, SessionRow, SessionState, archive};
use crate::state::State;
use novax_ledger::Undone;
use novax_model::{Amount, Currency, SessionId, Timestamp};
use novax_tariff::Zone;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a billed session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bill {
    /// Who pays, by name: [`payer_of`].
    payer: u128,
    /// What it costs, tax included.
    gross: Amount,
    currency: Currency,
    /// Its true stop may yet come.
    estimated: bool,
    /// Of its gross, what stands on invoices.
    invoiced: Amount,
    /// Of that, what credit notes took back.
    credited: Amount,
    /// Which invoices.
    invoices: Vec<DocumentId>,
}

/// A document that was issued, as a repeat of its request finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Issued {
    id: DocumentId,
    content: [u8; 32],
    issued: Timestamp,
}

/// What is known of documents and of what may stand on them.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// The number that comes next.
    pub(crate) series: BTreeMap<Box<str>, u64>,
    /// Series whose row is to be written.
    touched: BTreeSet<Box<str>>,
    /// Granted or recalled in this entry.
    by_request: BTreeMap<RequestId, Issued>,
    /// Recalled in this entry: as they were before it, with what it issued.
    bills: BTreeMap<SessionId, Bill>,
    /// What this entry booked of sessions.
    booked: Vec<(SessionId, Billing, u32)>,
}

fn payer_of(driver: &str) -> u128 {
    key128(&[b"payer", driver.as_bytes()])
}

fn bad(words: impl Into<Box<str>>) -> Refusal {
    Refusal::BadDocument(words.into())
}

impl Bill {
    /// What of a session may stand on an invoice, if it is billed and somebody is to pay it.
    fn of(row: &SessionRow) -> Option<Bill> {
        let is_final = match row.state {
            SessionState::Settled => true,
            // Delivered without a hold, and owed all the same.
            SessionState::Refused => row.charges.total() > 0,
            _ => false,
        };
        let driver = row.driver.as_ref().filter(|_| is_final && row.charges.total() > 0)?;
        Some(Bill {
            payer: payer_of(driver.as_str()),
            gross: row.charges.total(),
            currency: row.deal.currency,
            estimated: row.estimated,
            invoiced: 0,
            credited: 0,
            invoices: Vec::new(),
        })
    }

    fn take(&mut self, kind: DocumentKind, id: &DocumentId, amount: Amount) {
        match kind {
            DocumentKind::Invoice => {
                self.invoiced += amount;
                self.invoices.push(id.clone());
            }
            DocumentKind::CreditNote => self.credited += amount,
            DocumentKind::SettlementStatement => {}
        }
        assert!(self.credited <= self.invoiced, "no more is credited than was invoiced");
    }
}

impl Documents {
    /// What was asked for before by the same request.
    pub(crate) fn recall(&mut self, request: &RequestId, history: &mut dyn History) {
        if self.by_request.contains_key(request) {
            return;
        }
        let Some(text) = history.get(Keyspace::Documents, &request_key(request)) else { return };
        let text = String::from_utf8(text).unwrap_or_default();
        let id = DocumentId::parse(&text).expect("the number that a request got");
        let row: Option<DocumentRow> = stored(history, Keyspace::Documents, &document_key(&id));
        let row = row.expect("a document that has its number");
        let issued = Issued { id, content: row.content, issued: row.issued };
        self.by_request.insert(*request, issued);
    }

    /// How a session is billed, and which documents it stands on.
    pub(crate) fn recall_bill(&mut self, session: SessionId, history: &mut dyn History) {
        if self.bills.contains_key(&session) {
            return;
        }
        let key = session.0.to_be_bytes();
        let row: Option<SessionRow> = stored(history, Keyspace::Sessions, &key);
        let Some(mut bill) = row.as_ref().and_then(Bill::of) else { return };
        // Invoices come before credit notes.
        for (key, amount) in history.under(Keyspace::Documents, &session_documents_prefix(session))
        {
            let (kind, id, amount) =
                read_session_document(&key, &amount).expect("where a session stands");
            bill.take(kind, &id, amount);
        }
        self.bills.insert(session, bill);
    }

    pub(crate) fn forget_recalled(&mut self) {
        self.by_request.clear();
        self.bills.clear();
    }
}

impl State {
    /// Issues a document, if the books confirm it.
    pub(crate) fn issue_document(&mut self, ask: &IssueDocument) -> Result<Outcome, Refusal> {
        self.check_form(ask)?;
        let (request, content) = (ask.request(), ask.content());
        if let Some(known) = self.documents.by_request.get(&request) {
            let Issued { id, issued, .. } = known.clone();
            if known.content != content {
                return Err(Refusal::DocumentDiffers(id.to_string().into()));
            }
            return Ok(Outcome::Issued { id, issued, is_new: false });
        }
        match ask.kind {
            DocumentKind::Invoice => self.check_invoice(ask)?,
            DocumentKind::CreditNote => self.check_credit_note(ask)?,
            DocumentKind::SettlementStatement => self.check_settlement(ask)?,
        }
        let id = self.allot_number(&ask.entity);
        self.write_document(ask, &id, content);
        for part in &ask.parts {
            let bill = self.documents.bills.get_mut(&part.session).expect("looked up above");
            bill.take(ask.kind, &id, part.amount);
        }
        let issued = self.now();
        let known = Issued { id: id.clone(), content, issued };
        let before = self.documents.by_request.insert(request, known);
        assert!(before.is_none(), "a request is granted once");
        Ok(Outcome::Issued { id, issued, is_new: true })
    }

    /// What can be said of a request without the books.
    fn check_form(&self, ask: &IssueDocument) -> Result<(), Refusal> {
        let entity_char = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'-';
        let entity = ask.entity.as_bytes();
        let is_entity = (1..=ENTITY_CHARS_MAX).contains(&entity.len())
            && entity.iter().copied().all(entity_char);
        if !is_entity {
            return Err(bad(format!(
                "a series begins with 1 to {ENTITY_CHARS_MAX} capital letters, digits and hyphens"
            )));
        }
        if ask.subject.is_empty() || ask.subject.len() > SUBJECT_BYTES_MAX {
            return Err(bad(format!("a subject has 1 to {SUBJECT_BYTES_MAX} bytes")));
        }
        if ask.facts.is_empty() || ask.facts.len() > DOCUMENT_BYTES_MAX {
            return Err(bad(format!(
                "a document has at most {DOCUMENT_BYTES_MAX} bytes, this one {}",
                ask.facts.len()
            )));
        }
        if std::str::from_utf8(&ask.facts).is_err() {
            return Err(bad("a document is a text in UTF-8"));
        }
        if ask.parts.len() > DOCUMENT_SESSIONS_MAX {
            return Err(bad(format!("a document has at most {DOCUMENT_SESSIONS_MAX} sessions")));
        }
        if !ask.parts.is_sorted_by(|a, b| a.session < b.session) {
            return Err(bad("sessions stand in order of their ids, each once"));
        }
        if ask.from >= ask.until || ask.until > self.now() {
            return Err(bad("a document is of a period that is over"));
        }
        Ok(())
    }

    /// The bill of a session, if it is in this currency and nothing else may still change it.
    fn bill_for(&self, session: SessionId, currency: Currency) -> Result<&Bill, Refusal> {
        let bill = self.documents.bills.get(&session);
        let bill = bill.ok_or_else(|| bad(format!("session {session} is not billed here")))?;
        if bill.currency != currency {
            return Err(bad(format!("session {session} is in {}", bill.currency)));
        }
        if bill.estimated {
            return Err(bad(format!("session {session} is billed by estimate, its stop may come")));
        }
        Ok(bill)
    }

    fn check_invoice(&self, ask: &IssueDocument) -> Result<(), Refusal> {
        if ask.original.is_some() {
            return Err(bad("an invoice has no original"));
        }
        let payer = payer_of(&ask.subject);
        for &DocumentPart { session, amount } in &ask.parts {
            let bill = self.bill_for(session, ask.currency)?;
            if bill.payer != payer {
                return Err(bad(format!("session {session} is not {}'s", ask.subject)));
            }
            let Some(open) = bill.gross.checked_sub(bill.invoiced).filter(|open| *open > 0) else {
                let on = bill.invoices.last().map(ToString::to_string).unwrap_or_default();
                return Err(bad(format!("session {session} stands on {on} already")));
            };
            if amount != open {
                return Err(bad(format!(
                    "session {session} has {open} to invoice, the document says {amount}"
                )));
            }
            let booked = self.ledger.set(Purpose::Settle.key(session, 0)).map(|set| set.at);
            let booked = booked.ok_or_else(|| bad(format!("session {session} is not booked")))?;
            // Earlier ones may have come to light when their own period's invoice was out.
            if booked >= ask.until {
                return Err(bad(format!("session {session} was booked after the period")));
            }
        }
        check_total(ask)
    }

    fn check_credit_note(&self, ask: &IssueDocument) -> Result<(), Refusal> {
        let original = ask.original.as_ref().ok_or_else(|| bad("a credit note has an original"))?;
        let next = self.documents.series.get(&original.series).copied().unwrap_or(1);
        if original.number == 0 || original.number >= next {
            return Err(bad(format!("{original} was not issued")));
        }
        for &DocumentPart { session, amount } in &ask.parts {
            let bill = self.bill_for(session, ask.currency)?;
            if !bill.invoices.contains(original) {
                return Err(bad(format!("session {session} does not stand on {original}")));
            }
            let open = self.creditable(session, bill);
            if amount == 0 || amount > open {
                return Err(bad(format!(
                    "session {session} has {open} to credit, the document says {amount}"
                )));
            }
        }
        check_total(ask)
    }

    /// What its invoices have of a session beyond what it costs now, less what was credited.
    fn creditable(&self, session: SessionId, bill: &Bill) -> Amount {
        let costs = bill.gross.saturating_sub(self.refunded(session, bill.gross));
        bill.invoiced.saturating_sub(bill.credited).saturating_sub(costs)
    }

    /// What was given back of a session.
    fn refunded(&self, session: SessionId, gross: Amount) -> Amount {
        match self.ledger.set(Purpose::Settle.key(session, 0)).map(|set| set.undone) {
            Some(Undone::Refunded(amount)) => amount,
            Some(Undone::Reversed) => gross,
            Some(Undone::No | Undone::Never) | None => 0,
        }
    }

    /// The partner has an account here; what the statement says of it was read from its history.
    fn check_settlement(&self, ask: &IssueDocument) -> Result<(), Refusal> {
        if !ask.parts.is_empty() || ask.original.is_some() {
            return Err(bad("a settlement statement is of an account, not of sessions"));
        }
        let id = Name::Party(&ask.subject).id(ask.currency);
        let account = self.ledger.account(id);
        let account = account.filter(|account| *account.name == *ask.subject);
        match account {
            Some(account) if !account.is_personal => Ok(()),
            _ => Err(bad(format!("{} has no account in {}", ask.subject, ask.currency))),
        }
    }

    fn allot_number(&mut self, entity: &str) -> DocumentId {
        let year = Month::of(&Zone::utc(), self.now()).0 / 100;
        let series: Box<str> = format!("{entity}-{}-{year}", self.config.partition).into();
        let next = self.documents.series.entry(series.clone()).or_insert(1);
        let number = *next;
        *next += 1;
        self.documents.touched.insert(series.clone());
        DocumentId { series, number }
    }

    fn write_document(&mut self, ask: &IssueDocument, id: &DocumentId, content: [u8; 32]) {
        let row = DocumentRow {
            id: id.clone(),
            kind: ask.kind,
            entity: ask.entity.clone(),
            subject: ask.subject.clone(),
            from: ask.from,
            until: ask.until,
            currency: ask.currency,
            issued: self.now(),
            due_days: ask.due_days,
            total: ask.total,
            parts: ask.parts.clone(),
            original: ask.original.clone(),
            content,
            facts: Sha256::digest(&ask.facts).into(),
        };
        self.append(Keyspace::Documents, &document_key(id), &archive(&row));
        self.append(Keyspace::Documents, &document_facts_key(id), &ask.facts);
        let number = id.to_string().into_bytes();
        self.append(Keyspace::Documents, &request_key(&ask.request()), &number);
        for part in &ask.parts {
            let key = session_document_key(part.session, ask.kind, id);
            self.append(Keyspace::Documents, &key, &part.amount.to_be_bytes());
        }
    }

    /// Something was booked of a session: statements of periods find it.
    pub(crate) fn note_booking(&mut self, session: SessionId, what: Billing, n: u32) {
        self.documents.booked.push((session, what, n));
    }

    /// Rows that say where this entry's bookings are.
    fn write_billings(&mut self) {
        for (session, what, n) in std::mem::take(&mut self.documents.booked) {
            let mut row = BillingRow { session, what, n, booked: self.now(), first: 0, rows: 0 };
            // A bill of nothing is not booked.
            let Some(set) = self.ledger.set(row.transfer_key()) else { continue };
            (row.booked, row.first, row.rows) = (set.at, set.first, set.rows);
            for key in [row.session_key(), row.time_key()] {
                self.append(Keyspace::Billings, &key, &archive(&row));
            }
        }
    }

    /// Rows of series that gave numbers in this entry.
    pub(crate) fn write_series(&mut self) {
        self.write_billings();
        for series in std::mem::take(&mut self.documents.touched) {
            let next = self.documents.series.get(&series).copied().unwrap_or(1);
            let key = series_row_key(&series);
            let row = SeriesRow { series, next };
            self.append(Keyspace::Documents, &key, &archive(&row));
        }
    }
}

fn check_total(ask: &IssueDocument) -> Result<(), Refusal> {
    let sum = ask
        .parts
        .iter()
        .try_fold(0_i128, |sum, part| sum.checked_add(i128::try_from(part.amount).ok()?));
    match sum {
        Some(0) | None => Err(bad("a document is of one session at least")),
        Some(sum) if sum != ask.total => {
            Err(bad(format!("its sessions come to {sum}, the document says {}", ask.total)))
        }
        Some(_) => Ok(()),
    }
}

/// How a session stands with its documents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invoicing {
    /// What it costs, tax included.
    pub gross: Amount,
    /// What was given back of it.
    pub refunded: Amount,
    /// What stands on invoices.
    pub invoiced: Amount,
    /// What credit notes took back.
    pub credited: Amount,
    /// What a credit note may take back now.
    pub creditable: Amount,
    /// Its true stop may yet come: not to be invoiced before.
    pub estimated: bool,
    /// Which invoices it stands on.
    pub invoices: Vec<DocumentId>,
}

impl Partition {
    /// How a billed session stands with its documents; `None` when it is not billed, or nobody pays it.
    pub fn invoicing(
        &mut self,
        session: SessionId,
        history: &mut dyn History,
    ) -> Option<Invoicing> {
        self.state.recall_for_bill(session, history);
        let found = self.state.documents.bills.get(&session).map(|bill| Invoicing {
            gross: bill.gross,
            refunded: self.state.refunded(session, bill.gross),
            invoiced: bill.invoiced,
            credited: bill.credited,
            creditable: self.state.creditable(session, bill),
            estimated: bill.estimated,
            invoices: bill.invoices.clone(),
        });
        self.state.forget_recalled();
        found
    }
}
