//! Invoices, credit notes and receipts in the terms of EN 16931 (its BT numbers stand at the
//! fields).
//!
//! Tax is rounded once for each category of a document. The ledger booked it session by session;
//! what lies between the two is stated as the rounding amount (BT-114), so that the amount due is
//! exactly what the ledger says. It is never more than the roundings that made it, or there is no
//! invoice.

use crate::check::{bounded, equal, sum};
use crate::decimal::{divide, ppm_of};
use crate::error::StatementError;
use crate::facts::{
    CategoryFacts, CorrectionFacts, Dimension, DocumentFacts, DocumentReference, LegalParty,
    LineFacts, Minor, SessionFacts,
};
use crate::report::same_currency;
use novax_model::{Currency, Micros, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

/// What a document is (BT-3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InvoiceKind {
    /// 380.
    Invoice,
    /// 381: takes back an invoice or a part of it; its amounts are positive.
    CreditNote,
    /// 380 as well: a simplified invoice for one session that is paid.
    Receipt,
}

/// An invoice, credit note or receipt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invoice {
    /// What it is.
    pub kind: InvoiceKind,
    /// Number (BT-1), dates (BT-2, BT-9), parties (BG-4, BG-7), period (BG-14), original (BG-3).
    pub document: DocumentFacts,
    /// BG-25.
    pub lines: Vec<InvoiceLine>,
    /// BG-23.
    pub breakdown: Vec<TaxBreakdown>,
    /// BG-22.
    pub totals: InvoiceTotals,
}

/// A line (BG-25).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// BT-126, from 1. A credit note keeps the original's.
    pub number: u32,
    /// The session's record (BT-128).
    pub cdr: Box<str>,
    /// Its session.
    #[serde(with = "crate::stored::text")]
    pub session: SessionId,
    /// Where.
    pub site: Box<str>,
    /// When the session began and ended (BG-26).
    #[serde(with = "crate::stored::time")]
    pub from: Timestamp,
    /// See [`InvoiceLine::from`].
    #[serde(with = "crate::stored::time")]
    pub until: Timestamp,
    /// BT-153.
    pub item: InvoiceItem,
    /// BT-129, in millionths of the unit.
    #[serde(with = "crate::stored::micros")]
    pub quantity: Micros,
    /// BT-146: as listed where that gives the net, otherwise derived from the net. Either way,
    /// quantity times price is the net again.
    #[serde(with = "crate::stored::micros")]
    pub price: Micros,
    /// BT-131.
    #[serde(with = "crate::stored::text")]
    pub net: Minor,
    /// What the ledger booked as tax of it.
    #[serde(with = "crate::stored::text")]
    pub tax_booked: Minor,
    /// BT-151 and BT-152.
    pub rate: TaxRate,
}

/// What a line is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InvoiceItem {
    /// A price of the tariff.
    Priced {
        /// Which.
        dimension: Dimension,
        /// Of a reservation.
        reserved: bool,
    },
    /// A session as a whole, where its prices are not told apart.
    Session,
    /// What was corrected after the bill.
    Correction,
}

impl InvoiceItem {
    /// BT-130, by UN/ECE Recommendation 20.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            InvoiceItem::Priced { dimension: Dimension::Energy, .. } => "KWH",
            InvoiceItem::Priced { dimension: Dimension::ParkingTime | Dimension::Time, .. } => {
                "HUR"
            }
            _ => "C62",
        }
    }
}

/// How something is taxed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct TaxRate {
    /// UNTDID 5305.
    pub code: TaxCode,
    /// Name and parts per million of each tax; empty where none is charged.
    pub taxes: Vec<(Box<str>, u32)>,
}

/// A category of tax, by UNTDID 5305.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum TaxCode {
    /// S.
    Standard,
    /// Z: a rate of nothing.
    Zero,
    /// AE: the buyer accounts for it.
    ReverseCharge,
    /// O: no tax there.
    NotSubject,
}

impl TaxCode {
    /// As EN 16931 writes it.
    #[must_use]
    pub fn letters(self) -> &'static str {
        match self {
            TaxCode::Standard => "S",
            TaxCode::Zero => "Z",
            TaxCode::ReverseCharge => "AE",
            TaxCode::NotSubject => "O",
        }
    }
}

/// The tax of all that is taxed alike (BG-23).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TaxBreakdown {
    /// BT-118 and BT-119.
    pub rate: TaxRate,
    /// BT-116.
    #[serde(with = "crate::stored::text")]
    pub taxable: Minor,
    /// BT-117 of each tax, rounded once.
    #[serde(with = "crate::stored::texts")]
    pub amounts: Vec<Minor>,
    /// What the ledger booked for the same lines.
    #[serde(with = "crate::stored::text")]
    pub booked: Minor,
}

/// Totals (BG-22).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InvoiceTotals {
    /// BT-106 and, there being no allowances, BT-109.
    #[serde(with = "crate::stored::text")]
    pub net: Minor,
    /// BT-110.
    #[serde(with = "crate::stored::text")]
    pub tax: Minor,
    /// BT-112.
    #[serde(with = "crate::stored::text")]
    pub gross: Minor,
    /// BT-113.
    #[serde(with = "crate::stored::text")]
    pub paid: Minor,
    /// BT-114.
    #[serde(with = "crate::stored::text")]
    pub rounding: Minor,
    /// BT-115.
    #[serde(with = "crate::stored::text")]
    pub due: Minor,
}

/// Invoices sessions. `books` is what the ledger charged for them, taxes and the period's
/// corrections included.
///
/// # Errors
/// The sum the ledger does not confirm, or what an invoice must have and this would not.
pub fn invoice(
    document: &DocumentFacts,
    sessions: &[SessionFacts],
    books: Minor,
) -> Result<Invoice, StatementError> {
    issue(InvoiceKind::Invoice, document, sessions, books)
}

/// The receipt of one session.
///
/// # Errors
/// As [`invoice`].
pub fn receipt(
    document: &DocumentFacts,
    session: &SessionFacts,
    books: Minor,
) -> Result<Invoice, StatementError> {
    issue(InvoiceKind::Receipt, document, std::slice::from_ref(session), books)
}

/// Takes back an invoice: all of it, or the lines named. Tax is again rounded once for each
/// category.
///
/// # Errors
/// A line the original does not have, or has once and is named twice.
pub fn credit_note(
    document: &DocumentFacts,
    original: &Invoice,
    lines: Option<&[u32]>,
) -> Result<Invoice, StatementError> {
    same_currency(original.document.currency, document.currency)?;
    let mut kept = Vec::new();
    match lines {
        None => kept.clone_from(&original.lines),
        Some(numbers) => {
            for (i, number) in numbers.iter().enumerate() {
                let line = original.lines.iter().find(|line| line.number == *number);
                let twice = numbers.iter().take(i).any(|before| before == number);
                let line = line.filter(|_| !twice).ok_or_else(|| {
                    StatementError::NotInOriginal { what: format!("line {number}") }
                })?;
                kept.push(line.clone());
            }
        }
    }
    let mut document = document.clone();
    document.original = Some(reference(original));
    finish(InvoiceKind::CreditNote, document, kept, 0)
}

/// What of a session on an invoice is taken back, as the ledger booked it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreditedSession {
    /// Which session.
    pub session: SessionId,
    /// Before tax; positive.
    pub net: Minor,
    /// Tax of it; positive.
    pub tax: Minor,
}

/// Takes back what sessions of an invoice were given back: one line each, which keeps the number of the
/// session's first line.
///
/// # Errors
/// A session that the original does not have, or whose lines are not taxed alike.
pub fn credit_sessions(
    document: &DocumentFacts,
    original: &Invoice,
    sessions: &[CreditedSession],
) -> Result<Invoice, StatementError> {
    same_currency(original.document.currency, document.currency)?;
    let mut kept = Vec::with_capacity(sessions.len());
    for credited in sessions {
        let of_session = || original.lines.iter().filter(|line| line.session == credited.session);
        let first = of_session().next().ok_or_else(|| StatementError::NotInOriginal {
            what: format!("session {}", credited.session),
        })?;
        if of_session().any(|line| line.rate != first.rate) {
            let field = "the tax category of what is given back";
            return Err(StatementError::Missing { field, format: "a credit note" });
        }
        let price = price(credited.net, ONE, document.currency)?;
        let (item, quantity) = (InvoiceItem::Correction, ONE);
        let (net, tax_booked) = (credited.net, credited.tax);
        kept.push(InvoiceLine { item, quantity, price, net, tax_booked, ..first.clone() });
    }
    let mut document = document.clone();
    document.original = Some(reference(original));
    finish(InvoiceKind::CreditNote, document, kept, 0)
}

fn reference(original: &Invoice) -> DocumentReference {
    DocumentReference {
        number: original.document.full_number().into(),
        issued: original.document.issued,
    }
}

fn issue(
    kind: InvoiceKind,
    document: &DocumentFacts,
    sessions: &[SessionFacts],
    books: Minor,
) -> Result<Invoice, StatementError> {
    bounded("sessions of an invoice", sessions.len())?;
    let mut lines = Vec::new();
    for facts in sessions {
        facts.check()?;
        same_currency(document.currency, facts.currency)?;
        lines_of(document, facts, &mut lines)?;
    }
    bounded("lines of an invoice", lines.len())?;
    for (i, line) in lines.iter_mut().enumerate() {
        line.number = u32::try_from(i + 1).expect("bounded above");
    }
    let paid = sum("paid amounts", sessions.iter().map(|facts| facts.paid))?;
    let charged = sum("lines", lines.iter().map(|line| line.net + line.tax_booked))?;
    equal(format!("charges of {}", document.full_number()), charged, books)?;
    let invoice = finish(kind, document.clone(), lines, paid)?;
    equal(format!("amount due of {}", document.full_number()), invoice.totals.due, books - paid)?;
    Ok(invoice)
}

fn finish(
    kind: InvoiceKind,
    document: DocumentFacts,
    lines: Vec<InvoiceLine>,
    paid: Minor,
) -> Result<Invoice, StatementError> {
    let breakdown = break_down(&lines)?;
    demand(kind, &document, &breakdown)?;
    let net = sum("lines", lines.iter().map(|line| line.net))?;
    let taxable = sum("categories", breakdown.iter().map(|part| part.taxable))?;
    equal("taxable amounts", taxable, net)?;
    let tax = sum("taxes", breakdown.iter().flat_map(|part| &part.amounts).copied())?;
    let booked = sum("booked taxes", breakdown.iter().map(|part| part.booked))?;
    let gross = sum("net and tax", [net, tax].into_iter())?;
    let rounding = booked - tax;
    let due = sum("due", [gross, -paid, rounding].into_iter())?;
    let totals = InvoiceTotals { net, tax, gross, paid, rounding, due };
    Ok(Invoice { kind, document, lines, breakdown, totals })
}

fn lines_of(
    document: &DocumentFacts,
    facts: &SessionFacts,
    lines: &mut Vec<InvoiceLine>,
) -> Result<(), StatementError> {
    for line in facts.lines.iter().filter(|line| line.net != 0 || line.billed_volume != 0) {
        let category = facts.categories.get(line.category);
        let rate = rate(facts, category);
        let item = InvoiceItem::Priced { dimension: line.dimension, reserved: line.reserved };
        let quantity = quantity(line)?;
        let mut made = line_of(facts, item, quantity, [line.net, line.tax], rate)?;
        if gives(quantity, line.price, line.net, facts.currency) {
            made.price = line.price;
        }
        lines.push(made);
    }
    if facts.lines.is_empty() {
        // One that only corrections are taxed by has no line of its own.
        let billed = |category: &&CategoryFacts| {
            category.net != 0 || category.taxes.iter().any(|tax| tax.amount != 0)
        };
        for category in facts.categories.iter().filter(billed) {
            let tax = sum("taxes", category.taxes.iter().map(|tax| tax.amount))?;
            let amounts = [category.net, tax];
            let rate = rate(facts, Some(category));
            lines.push(line_of(facts, InvoiceItem::Session, ONE, amounts, rate)?);
        }
    }
    let counts = |c: &&CorrectionFacts| document.period.contains(c.booked);
    for correction in facts.corrections.iter().filter(counts) {
        // Differences do not say how they are taxed; they are taxed as their session is.
        let [category] = &facts.categories[..] else {
            let field = "the tax category of a correction";
            return Err(StatementError::Missing { field, format: "an invoice" });
        };
        let amounts = [correction.net, correction.tax];
        let rate = rate(facts, Some(category));
        lines.push(line_of(facts, InvoiceItem::Correction, ONE, amounts, rate)?);
    }
    Ok(())
}

const ONE: Micros = Micros(1_000_000);

fn line_of(
    facts: &SessionFacts,
    item: InvoiceItem,
    quantity: Micros,
    [net, tax_booked]: [Minor; 2],
    rate: TaxRate,
) -> Result<InvoiceLine, StatementError> {
    Ok(InvoiceLine {
        number: 0,
        cdr: facts.cdr.clone(),
        session: facts.session,
        site: facts.place.name.clone().unwrap_or_else(|| facts.place.site.clone()),
        from: facts.started,
        until: facts.ended,
        item,
        quantity,
        price: price(net, quantity, facts.currency)?,
        net,
        tax_booked,
        rate,
    })
}

fn quantity(line: &LineFacts) -> Result<Micros, StatementError> {
    let volume = i128::from(line.billed_volume);
    let millionths = match line.dimension {
        Dimension::Energy => Some(volume * 1_000),
        Dimension::Time | Dimension::ParkingTime => divide(volume * 1_000_000, 3_600_000_000),
        Dimension::Flat | Dimension::Limit => Some(volume * 1_000_000),
    };
    millionths.map(Micros).ok_or(StatementError::Overflow { what: "a quantity" })
}

fn price(net: Minor, quantity: Micros, currency: Currency) -> Result<Micros, StatementError> {
    let overflow = StatementError::Overflow { what: "a price" };
    let per_minor = 10_i128.pow(6 - u32::from(currency.exponent().min(6)));
    let micros = net.checked_mul(per_minor).ok_or_else(|| overflow.clone())?;
    if quantity.0 == 0 {
        return Ok(Micros(micros));
    }
    let (size, sign) = (quantity.0.unsigned_abs(), quantity.0.signum());
    let scaled = micros.checked_mul(1_000_000 * sign).ok_or_else(|| overflow.clone())?;
    divide(scaled, size).map(Micros).ok_or(overflow)
}

/// Whether quantity times price, rounded, is the net: not where the list has prices with tax.
fn gives(quantity: Micros, price: Micros, net: Minor, currency: Currency) -> bool {
    let per_minor = 10_u128.pow(6 - u32::from(currency.exponent().min(6)));
    let product = quantity.0.checked_mul(price.0);
    product.and_then(|product| divide(product, 1_000_000 * per_minor)) == Some(net)
}

fn rate(facts: &SessionFacts, category: Option<&CategoryFacts>) -> TaxRate {
    let taxes = category.map_or(&[][..], |category| &category.taxes);
    let taxes: Vec<_> = taxes.iter().map(|tax| (tax.name.clone(), tax.ppm)).collect();
    let code = match (facts.reverse_charge, taxes.is_empty()) {
        (true, _) => TaxCode::ReverseCharge,
        (false, true) => TaxCode::NotSubject,
        (false, false) if taxes.iter().all(|&(_, ppm)| ppm == 0) => TaxCode::Zero,
        (false, false) => TaxCode::Standard,
    };
    TaxRate { code, taxes }
}

fn break_down(lines: &[InvoiceLine]) -> Result<Vec<TaxBreakdown>, StatementError> {
    let mut rates: Vec<&TaxRate> = lines.iter().map(|line| &line.rate).collect();
    rates.sort();
    rates.dedup();
    let overflow = StatementError::Overflow { what: "a tax" };
    let mut breakdown = Vec::with_capacity(rates.len());
    for rate in rates {
        let alike = || lines.iter().filter(|line| &line.rate == rate);
        let taxable = sum("lines", alike().map(|line| line.net))?;
        let booked = sum("booked taxes", alike().map(|line| line.tax_booked))?;
        let mut amounts = Vec::with_capacity(rate.taxes.len());
        for &(_, ppm) in &rate.taxes {
            amounts.push(ppm_of(taxable, ppm).ok_or_else(|| overflow.clone())?);
        }
        let once = sum("taxes", amounts.iter().copied())?;
        // Each line's tax was rounded by less than a unit for each of its taxes.
        let roundings = alike().count().saturating_mul(rate.taxes.len());
        if (once - booked).unsigned_abs() > roundings as u128 {
            let what = format!("tax at {}", rate.code.letters());
            return Err(StatementError::Differs { what, document: once, books: booked });
        }
        breakdown.push(TaxBreakdown { rate: rate.clone(), taxable, amounts, booked });
    }
    Ok(breakdown)
}

/// What an invoice has to say.
fn demand(
    kind: InvoiceKind,
    document: &DocumentFacts,
    breakdown: &[TaxBreakdown],
) -> Result<(), StatementError> {
    let missing = |field| Err(StatementError::Missing { field, format: "EN 16931" });
    let (seller, buyer) = (&document.seller, &document.buyer);
    let has = |text: &str| !text.trim().is_empty();
    let vat_id = |party: &LegalParty| party.vat_id.as_deref().is_some_and(has);
    if document.number == 0 || !has(&document.series) {
        return missing("the number (BT-1)");
    }
    if !has(&seller.name) || !has(&seller.country) {
        return missing("the seller's name and country (BT-27, BT-40)");
    }
    if !vat_id(seller) && !seller.tax_number.as_deref().is_some_and(has) {
        return missing("the seller's VAT id or tax number (BT-31, BT-32)");
    }
    if kind != InvoiceKind::Receipt && (!has(&buyer.name) || !has(&buyer.country)) {
        return missing("the buyer's name and country (BT-44, BT-55)");
    }
    let reverse = breakdown.iter().any(|part| part.rate.code == TaxCode::ReverseCharge);
    if reverse && (!vat_id(seller) || !vat_id(buyer)) {
        return missing("the VAT ids of both parties under reverse charge (BT-31, BT-48)");
    }
    Ok(())
}
