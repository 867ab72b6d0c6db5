//! What is to be numbered: invoices, credit notes and settlement statements, as commands for the partitions
//! that give the numbers; and documents that have one.
//!
//! A driver who charged in several partitions gets an invoice of each: a series belongs to one partition,
//! and only there can its numbers be given without gaps.

use super::books::{Movement, Part};
use super::session::final_facts;
use super::{NoDocument, report};
use crate::config::StatementsConfig;
use novax_charging::document::{
    DOCUMENT_BYTES_MAX, DOCUMENT_SESSIONS_MAX, document_facts_key, document_key,
    read_session_document, request_id, request_key, session_documents_prefix,
};
use novax_charging::rows::{self, SessionRow};
use novax_charging::{
    Billing, BillingRow, DocumentId, DocumentKind, DocumentPart, DocumentRow, IssueDocument,
    Keyspace,
};
use novax_model::{Amount, Currency, Duration, PartitionId, SessionId, Timestamp};
use novax_statements::facts::{DocumentFacts, LegalParty, Minor, Period, SessionFacts};
use novax_statements::{
    CreditedSession, Invoice, OcpiVersion, Stamp, Stored, credit_sessions, invoice, receipt,
};
use std::collections::{BTreeMap, BTreeSet};

/// The documents that a session stands on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Which invoices.
    pub invoices: Vec<DocumentId>,
    /// What stands on them.
    pub invoiced: Amount,
    /// Which credit notes.
    pub credit_notes: Vec<DocumentId>,
    /// What they took back.
    pub credited: Amount,
}

/// Which documents a session stands on.
///
/// # Errors
/// [`NoDocument::Storage`].
pub fn standing(part: &Part<'_>, session: SessionId) -> Result<Standing, NoDocument> {
    let prefix = session_documents_prefix(session);
    let mut found = Standing::default();
    part.range(Keyspace::Documents, &prefix, None, |key, value| {
        if !key.starts_with(&prefix) {
            return Ok(false);
        }
        let read = read_session_document(&key, &value);
        let damaged = || NoDocument::Storage(format!("a document of session {session} is damaged"));
        let (kind, id, amount) = read.ok_or_else(damaged)?;
        match kind {
            DocumentKind::Invoice => {
                found.invoiced += amount;
                found.invoices.push(id);
            }
            DocumentKind::CreditNote => {
                found.credited += amount;
                found.credit_notes.push(id);
            }
            DocumentKind::SettlementStatement => {}
        }
        Ok(true)
    })?;
    Ok(found)
}

/// A document that has its number.
///
/// # Errors
/// [`NoDocument`].
pub fn read(part: &Part<'_>, id: &DocumentId) -> Result<Option<(DocumentRow, Stored)>, NoDocument> {
    let row = part.get(Keyspace::Documents, &document_key(id), rows::read::<DocumentRow>)?;
    let Some(row) = row else { return Ok(None) };
    let facts = part.bytes(Keyspace::Documents, &document_facts_key(id))?;
    let facts = facts.ok_or_else(|| NoDocument::Storage(format!("what {id} says is missing")))?;
    let day = |days: u16| Duration::from_secs(u64::from(days) * 86_400);
    let stamp = Stamp {
        series: id.series.clone(),
        number: id.number,
        issued: row.issued,
        due: row.due_days.map(|days| row.issued.saturating_add(day(days))),
    };
    let stored = Stored::read(&facts, stamp)?;
    Ok(Some((row, stored)))
}

/// The document of a request, if it has one.
fn known(part: &Part<'_>, request: [u8; 16]) -> Result<Option<DocumentId>, NoDocument> {
    let text = part.bytes(Keyspace::Documents, &request_key(&request))?;
    let damaged = || NoDocument::Storage("the number of a document is damaged".to_owned());
    text.map(|text| {
        let text = String::from_utf8(text).map_err(|_| damaged())?;
        DocumentId::parse(&text).ok_or_else(damaged)
    })
    .transpose()
}

/// What a request comes to.
#[derive(Debug, Default)]
pub struct Issue {
    /// Documents that it has already.
    pub known: Vec<DocumentId>,
    /// Documents to be issued, each by its partition.
    pub wanted: Vec<(PartitionId, IssueDocument)>,
    /// Sessions that are left out, and why.
    pub left_out: Vec<(SessionId, &'static str)>,
}

/// The name of a series before partition and year.
fn entity(seller: &StatementsConfig, kind: DocumentKind) -> Box<str> {
    let kind = match kind {
        DocumentKind::Invoice => "INV",
        DocumentKind::CreditNote => "CN",
        DocumentKind::SettlementStatement => "SET",
    };
    format!("{}-{kind}", seller.series).into()
}

/// An invoice of everything a driver has to pay for a period, one for each partition and currency.
///
/// # Errors
/// [`NoDocument`]; [`NoDocument::Nothing`] when there is nothing to invoice.
pub fn invoices(
    parts: &[Part<'_>],
    driver: &str,
    period: &Period,
    buyer: &LegalParty,
    seller: &StatementsConfig,
) -> Result<Issue, NoDocument> {
    let head = DocumentFacts {
        series: "draft".into(),
        number: 1,
        issued: Timestamp::ZERO,
        due: None,
        seller: seller.legal_party()?,
        buyer: buyer.clone(),
        currency: Currency::EUR,
        period: period.clone(),
        original: None,
        note: None,
    };
    let mut issue = Issue::default();
    for part in parts {
        let mut by_currency: BTreeMap<Currency, Vec<SessionRow>> = BTreeMap::new();
        for row in billed(part, driver, period)? {
            by_currency.entry(row.deal.currency).or_default().push(row);
        }
        for (currency, sessions) in by_currency {
            let head = DocumentFacts { currency, ..head.clone() };
            invoice_of(part, driver, &head, &sessions, seller, &mut issue)?;
        }
    }
    if issue.known.is_empty() && issue.wanted.is_empty() {
        return Err(NoDocument::Nothing(format!("there is nothing to invoice to {driver}")));
    }
    Ok(issue)
}

/// A driver's sessions that were billed in a period, or whose bill was put right in it.
fn billed(part: &Part<'_>, driver: &str, period: &Period) -> Result<Vec<SessionRow>, NoDocument> {
    let billings = part.billings(period.from, period.until)?;
    let bills = billings.iter().filter(|billing| billing.what != Billing::Refund);
    let ids: BTreeSet<SessionId> = bills.map(|billing| billing.session).collect();
    let mut found = Vec::new();
    for id in ids {
        let row = part.session(id)?;
        let is_theirs =
            |row: &SessionRow| row.driver.as_ref().is_some_and(|name| name.as_str() == driver);
        found.extend(row.filter(is_theirs));
    }
    Ok(found)
}

fn invoice_of(
    part: &Part<'_>,
    driver: &str,
    head: &DocumentFacts,
    sessions: &[SessionRow],
    seller: &StatementsConfig,
    issue: &mut Issue,
) -> Result<(), NoDocument> {
    let (kind, currency) = (DocumentKind::Invoice, head.currency);
    let entity = entity(seller, kind);
    let span = (head.period.from, head.period.until);
    if let Some(id) = known(part, request_id(kind, (&entity, driver), span, currency))? {
        issue.known.push(id);
        return Ok(());
    }
    let (mut facts, mut parts, mut books) = (Vec::new(), Vec::new(), 0);
    for row in sessions {
        let open = row.charges.total().saturating_sub(standing(part, row.session)?.invoiced);
        if row.estimated {
            issue.left_out.push((row.session, "billed by estimate: its stop may come"));
        } else if row.state == novax_charging::SessionState::Settling {
            issue.left_out.push((row.session, "its payment is not settled"));
        } else if open != row.charges.total() {
            issue.left_out.push((row.session, "it stands on an invoice already"));
        } else if open > 0 {
            facts.push(final_facts(part, row, seller, OcpiVersion::V230)?);
            parts.push(DocumentPart { session: row.session, amount: open });
            books += charged(part, row)?;
        }
    }
    if parts.is_empty() {
        return Ok(());
    }
    bounded("sessions of an invoice", parts.len(), DOCUMENT_SESSIONS_MAX)?;
    facts.sort_by_key(|facts| (facts.started, facts.session));
    parts.sort_by_key(|part| part.session);
    let stored = Stored::Invoice(invoice(head, &facts, books)?);
    let ask = IssueDocument {
        kind,
        entity,
        subject: driver.into(),
        from: span.0,
        until: span.1,
        currency,
        total: books,
        parts,
        original: None,
        due_days: Some(seller.due_days),
        facts: kept(&stored)?,
    };
    issue.wanted.push((part.partition, ask));
    Ok(())
}

fn kept(stored: &Stored) -> Result<Vec<u8>, NoDocument> {
    let facts = stored.facts();
    bounded("bytes of a document", facts.len(), DOCUMENT_BYTES_MAX)?;
    Ok(facts)
}

fn bounded(what: &'static str, got: usize, max: usize) -> Result<(), NoDocument> {
    if got <= max { Ok(()) } else { Err(NoDocument::TooMuch { what, got, max }) }
}

/// What the journal charged for a session: its bill and what was put right of it.
fn charged(part: &Part<'_>, row: &SessionRow) -> Result<Minor, NoDocument> {
    let billings = part.billings_of(row.session)?;
    let charges = billings.iter().filter(|billing| billing.what != Billing::Refund);
    let mut sum = 0;
    for billing in charges {
        sum += part.movement(billing, row.deal.currency)?.gross();
    }
    Ok(sum)
}

/// A receipt of one session. It has the number of its bill's first row in the journal, not one of a series.
///
/// # Errors
/// [`NoDocument`]; [`NoDocument::Nothing`] when it is not billed.
pub fn receipt_of(
    part: &Part<'_>,
    row: &SessionRow,
    seller: &StatementsConfig,
) -> Result<Invoice, NoDocument> {
    let billings = part.billings_of(row.session)?;
    let bill = billings.iter().find(|billing| billing.what == Billing::Bill);
    let nothing = || NoDocument::Nothing(format!("session {} is not billed", row.session));
    let bill = bill.ok_or_else(nothing)?;
    let facts = final_facts(part, row, seller, OcpiVersion::V230)?;
    let document = DocumentFacts {
        series: format!("{}-R-{}", seller.series, part.partition).into(),
        number: bill.first + 1,
        issued: bill.booked,
        due: None,
        seller: seller.legal_party()?,
        buyer: LegalParty {
            name: row.driver.as_ref().map(|name| name.as_str()).unwrap_or_default().into(),
            ..LegalParty::default()
        },
        currency: row.deal.currency,
        period: Period { from: facts.started, until: facts.ended, zone: row.deal.zone.clone() },
        original: None,
        note: None,
    };
    Ok(receipt(&document, &facts, charged(part, row)?)?)
}

/// A credit note of all that was given back of an invoice's sessions and is not credited yet.
///
/// # Errors
/// [`NoDocument`]; [`NoDocument::Nothing`] when nothing is to be credited.
pub fn credit_note(
    part: &Part<'_>,
    original: &DocumentId,
    reference: &str,
    seller: &StatementsConfig,
) -> Result<Issue, NoDocument> {
    let unknown = || NoDocument::Unknown { what: "invoice", id: original.to_string() };
    let (row, stored) = read(part, original)?.ok_or_else(unknown)?;
    let Stored::Invoice(invoice) = stored else { return Err(unknown()) };
    if row.kind != DocumentKind::Invoice {
        return Err(unknown());
    }
    let (kind, mut issue) = (DocumentKind::CreditNote, Issue::default());
    let (entity, subject) = (entity(seller, kind), format!("{original}/{reference}"));
    let request = request_id(kind, (&entity, &subject), (row.from, row.until), row.currency);
    if let Some(id) = known(part, request)? {
        issue.known.push(id);
        return Ok(issue);
    }
    let (mut parts, mut credited) = (Vec::new(), Vec::new());
    for of_invoice in &row.parts {
        let Some(back) = given_back(part, of_invoice.session, row.currency)? else { continue };
        let amount = Amount::try_from(back.net + back.tax).unwrap_or(0);
        if amount > 0 {
            parts.push(DocumentPart { session: of_invoice.session, amount });
            credited.push(back);
        }
    }
    if parts.is_empty() {
        let text = format!("nothing was given back of {original} that is not credited yet");
        return Err(NoDocument::Nothing(text));
    }
    let document = DocumentFacts { seller: seller.legal_party()?, ..invoice.document.clone() };
    let note = credit_sessions(&document, &invoice, &credited)?;
    let ask = IssueDocument {
        kind,
        entity,
        subject: subject.into(),
        from: row.from,
        until: row.until,
        currency: row.currency,
        total: credited.iter().map(|back| back.net + back.tax).sum(),
        parts,
        original: Some(original.clone()),
        due_days: None,
        facts: kept(&Stored::Invoice(note))?,
    };
    issue.wanted.push((part.partition, ask));
    Ok(issue)
}

/// What was given back of a session and no credit note says yet.
fn given_back(
    part: &Part<'_>,
    session: SessionId,
    currency: Currency,
) -> Result<Option<CreditedSession>, NoDocument> {
    let billings = part.billings_of(session)?;
    let refunds: Vec<&BillingRow> =
        billings.iter().filter(|billing| billing.what == Billing::Refund).collect();
    if refunds.is_empty() {
        return Ok(None);
    }
    let mut back = Movement::default();
    for refund in refunds {
        for row in part.set(refund)? {
            part.add(&mut back, &row, currency)?;
        }
    }
    let (mut net, mut tax) = (-back.net, -back.tax);
    for id in standing(part, session)?.credit_notes {
        let Some((_, Stored::Invoice(note))) = read(part, &id)? else { continue };
        for line in note.lines.iter().filter(|line| line.session == session) {
            net -= line.net;
            tax -= line.tax_booked;
        }
    }
    Ok(Some(CreditedSession { session, net, tax }))
}

/// A partner's statement of a period, one for each partition that has an account of it.
///
/// # Errors
/// [`NoDocument`].
pub fn settlements(
    parts: &[Part<'_>],
    partner: &str,
    period: &Period,
    asked: Option<Currency>,
    seller: &StatementsConfig,
) -> Result<Issue, NoDocument> {
    let (kind, mut issue) = (DocumentKind::SettlementStatement, Issue::default());
    let entity = entity(seller, kind);
    for part in parts {
        let one = std::slice::from_ref(part);
        let statement = match report::settlement(one, partner, period, asked, seller) {
            Err(NoDocument::Unknown { .. }) => continue,
            made => made?,
        };
        let (currency, span) = (statement.document.currency, (period.from, period.until));
        if let Some(id) = known(part, request_id(kind, (&entity, partner), span, currency))? {
            issue.known.push(id);
            continue;
        }
        let total = statement.closing;
        let ask = IssueDocument {
            kind,
            entity: entity.clone(),
            subject: partner.into(),
            from: span.0,
            until: span.1,
            currency,
            total,
            parts: Vec::new(),
            original: None,
            due_days: None,
            facts: kept(&Stored::Settlement(statement))?,
        };
        issue.wanted.push((part.partition, ask));
    }
    if issue.known.is_empty() && issue.wanted.is_empty() {
        return Err(NoDocument::Unknown { what: "partner", id: partner.to_owned() });
    }
    Ok(issue)
}

/// Facts that an OCPI record of a session is made of.
///
/// # Errors
/// [`NoDocument`]; [`NoDocument::Nothing`] when it is not over.
pub fn record_facts(
    part: &Part<'_>,
    row: &SessionRow,
    seller: &StatementsConfig,
    version: OcpiVersion,
) -> Result<SessionFacts, NoDocument> {
    if row.ended == Timestamp::ZERO {
        return Err(NoDocument::Nothing(format!("session {} is not over", row.session)));
    }
    final_facts(part, row, seller, version)
}
