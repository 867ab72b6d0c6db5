//! Invoices, credit notes, settlement statements, receipts, charge detail records, signed meter values,
//! revenue.

use super::Api;
use super::extract::{Body, IdempotencyKey, Params, identity};
use super::page::{ResultsPage, Want};
use super::problem::Problem;
use super::read::{ReadError, read};
use super::sessions::of_caller;
use super::tariffs::time as stamp;
use super::views::{currency, session_id};
use crate::config::StatementsConfig;
use crate::control::digest;
use crate::statements::books::Part;
use crate::statements::{NoDocument, evidence, issue, report};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use novax_charging::document::HEAD;
use novax_charging::rows::{self, SessionRow, StationRow};
use novax_charging::{
    Command, DocumentId, DocumentRow, Keyspace, Outcome, SignedNature, SignedRow,
};
use novax_model::{Currency, PartitionId, SessionId};
use novax_statements::facts::{LegalParty, Period};
use novax_statements::{GroupBy, Language, OcpiVersion, Printed, Sheet, Stored, cdr};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(charge_detail_record))
        .routes(routes!(session_receipt))
        .routes(routes!(signed_values))
        .routes(routes!(revenue))
        .routes(routes!(settlement))
        .routes(routes!(make_invoice))
        .routes(routes!(make_credit_note))
        .routes(routes!(make_settlement))
        .routes(routes!(list))
        .routes(routes!(get))
}

impl From<NoDocument> for Problem {
    fn from(error: NoDocument) -> Problem {
        let detail = error.to_string();
        match error {
            NoDocument::Storage(_) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "storage", detail)
            }
            NoDocument::Statement(error) => Problem::conflict(error.code(), detail),
            NoDocument::Unknown { .. } => Problem::new(StatusCode::NOT_FOUND, "not_found", detail),
            NoDocument::Nothing(_) => Problem::conflict("nothing_to_write", detail),
            NoDocument::NoSeller(_) => Problem::conflict("seller_not_configured", detail),
            NoDocument::Currencies(_) => Problem::unprocessable(detail),
            NoDocument::TooMuch { .. } => Problem::conflict("too_many_rows", detail),
        }
    }
}

/// Runs work over all partitions as of now.
async fn with_books<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&[Part<'_>], &StatementsConfig) -> Result<T, NoDocument> + Send + 'static,
) -> Result<T, Problem> {
    let seller = api.statements().clone();
    let done = read(api.control(), false, move |rows| {
        let parts: Vec<Part<'_>> =
            rows.parts().map(|(partition, snapshot)| Part::new(partition, snapshot)).collect();
        Ok::<_, ReadError>(work(&parts, &seller))
    });
    Ok(done.await??)
}

/// Runs work over the partition of a session, with its row.
async fn with_session<T: Send + 'static>(
    api: &Api,
    id: &str,
    work: impl FnOnce(&Part<'_>, &SessionRow, &StatementsConfig) -> Result<T, NoDocument>
    + Send
    + 'static,
) -> Result<T, Problem> {
    let session = session_id(id).ok_or_else(|| Problem::not_found("session", id))?;
    let unknown = NoDocument::Unknown { what: "session", id: session.to_string() };
    with_books(api, move |parts, seller| {
        let part = part_of(parts, session.partition()).ok_or_else(|| unknown.clone())?;
        let row = part.session(session)?.ok_or(unknown)?;
        work(part, &row, seller)
    })
    .await
}

fn part_of<'a, 'b>(parts: &'a [Part<'b>], partition: PartitionId) -> Option<&'a Part<'b>> {
    parts.iter().find(|part| part.partition == partition)
}

/// How a document is written.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PrintParams {
    /// `json`, `csv` or `html`; absent: as `Accept` says, or JSON.
    format: Option<String>,
    /// Of HTML: `en` or `de`; absent: `en`.
    language: Option<String>,
    /// Of CSV: which table of the document; absent: its main one.
    table: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Json,
    Csv,
    Html,
}

impl Format {
    fn read(text: Option<&str>, headers: &HeaderMap) -> Result<Format, Problem> {
        match text {
            Some("json") => Ok(Format::Json),
            Some("csv") => Ok(Format::Csv),
            Some("html") => Ok(Format::Html),
            Some(other) => Err(Problem::unprocessable(format!(
                "format: there is no {other:?}: json, csv or html"
            ))),
            None => Ok(Format::accepted(headers)),
        }
    }

    /// The first media type of ours that the client names.
    fn accepted(headers: &HeaderMap) -> Format {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let named = accept.unwrap_or_default().split(',').find_map(|part| {
            match part.split(';').next().unwrap_or_default().trim() {
                "application/json" => Some(Format::Json),
                "text/csv" => Some(Format::Csv),
                "text/html" => Some(Format::Html),
                _ => None,
            }
        });
        named.unwrap_or(Format::Json)
    }
}

fn language(text: Option<&str>) -> Result<Language, Problem> {
    match text {
        None | Some("en") => Ok(Language::En),
        Some("de") => Ok(Language::De),
        Some(other) => {
            Err(Problem::unprocessable(format!("language: there is no {other:?}: en or de")))
        }
    }
}

/// A document in the form that was asked for.
struct Print {
    format: Format,
    language: Language,
    table: Option<String>,
}

impl Print {
    fn new(params: &PrintParams, headers: &HeaderMap) -> Result<Print, Problem> {
        Ok(Print {
            format: Format::read(params.format.as_deref(), headers)?,
            language: language(params.language.as_deref())?,
            table: params.table.clone(),
        })
    }

    fn response(&self, sheet: &Sheet) -> Result<Response, Problem> {
        let (kind, text) = match self.format {
            Format::Json => ("application/json", sheet.json()),
            Format::Html => ("text/html; charset=utf-8", sheet.html(self.language)),
            Format::Csv => ("text/csv; charset=utf-8", self.csv(sheet)?),
        };
        Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
    }

    fn csv(&self, sheet: &Sheet) -> Result<String, Problem> {
        let Some(table) = &self.table else { return Ok(sheet.csv()) };
        sheet.csv_of(table).ok_or_else(|| {
            let known: Vec<&str> = sheet.tables().collect();
            Problem::unprocessable(format!("table: there is no {table:?}: {}", known.join(", ")))
        })
    }
}

/// Which version of OCPI.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RecordParams {
    /// `2.2.1` or `2.3.0`; absent: `2.3.0`.
    version: Option<String>,
}

/// The OCPI charge detail record of a session that is over.
#[utoipa::path(get, path = "/v1/sessions/{id}/cdr", tag = "documents",
    operation_id = "get_charge_detail_record",
    params(("id" = String, Path, description = "The session's id"), RecordParams),
    responses((status = 200, body = Value)))]
async fn charge_detail_record(
    State(api): State<Api>,
    Path(id): Path<String>,
    Params(params): Params<RecordParams>,
) -> Result<Response, Problem> {
    let version = match params.version.as_deref() {
        Some("2.2.1") => OcpiVersion::V221,
        None | Some("2.3.0") => OcpiVersion::V230,
        Some(other) => {
            let detail = format!("version: there is no {other:?}: 2.2.1 or 2.3.0");
            return Err(Problem::unprocessable(detail));
        }
    };
    let text = with_session(&api, &id, move |part, row, seller| {
        let facts = issue::record_facts(part, row, seller, version)?;
        Ok(cdr(&facts, version)?)
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], text.await?).into_response())
}

/// The receipt of a session that is billed.
#[utoipa::path(get, path = "/v1/sessions/{id}/receipt", tag = "documents",
    operation_id = "get_receipt",
    params(("id" = String, Path, description = "The session's id"), PrintParams),
    responses((status = 200, body = Value)))]
async fn session_receipt(
    State(api): State<Api>,
    Path(id): Path<String>,
    Params(params): Params<PrintParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let print = Print::new(&params, &headers)?;
    let sheet = with_session(&api, &id, |part, row, seller| {
        Ok(issue::receipt_of(part, row, seller)?.sheet()?)
    });
    print.response(&sheet.await?)
}

/// A value that a meter signed.
#[derive(Debug, Serialize, ToSchema)]
struct SignedValueView {
    /// `start`, `intermediate` or `end`.
    nature: &'static str,
    /// As the station sent it, in base64.
    raw: String,
    /// The record as the meter made it.
    record: String,
    /// Where the key is from: `station` (somebody entered it), `message` (it came along, and proves no more
    /// than that nothing was changed since) or `none`.
    key_from: &'static str,
    /// `valid`, `invalid` or `unverifiable`.
    verdict: &'static str,
    /// Why it is not valid.
    reason: Option<String>,
}

/// What a meter signed for a session.
#[derive(Debug, Serialize, ToSchema)]
struct SignedView {
    /// Which session.
    session: String,
    /// At which station.
    station: String,
    /// When it came.
    at: String,
    /// One by one.
    values: Vec<SignedValueView>,
    /// What the records together say the session took, in watt-hours.
    measured_wh: Option<String>,
    /// Why they must not be billed by.
    not_measured: Option<String>,
}

/// What the meter signed for a session, as it came, and whether it is so.
#[utoipa::path(get, path = "/v1/sessions/{id}/signed", tag = "documents",
    operation_id = "get_signed_values",
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 200, body = SignedView)))]
async fn signed_values(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<SignedView>, Problem> {
    let view = with_session(&api, &id, |part, row, _| {
        let key = row.session.0.to_be_bytes();
        let signed = part.get(Keyspace::SignedValues, &key, rows::read::<SignedRow>)?;
        let unknown = || NoDocument::Unknown {
            what: "signed meter value of session",
            id: row.session.to_string(),
        };
        let signed = signed.ok_or_else(unknown)?;
        let key = row.identity.as_str().as_bytes();
        let station = part.get(Keyspace::Stations, key, rows::read::<StationRow>)?;
        Ok(signed_view(&signed, station.as_ref()))
    });
    Ok(Json(view.await?))
}

fn signed_view(row: &SignedRow, station: Option<&StationRow>) -> SignedView {
    let examined = evidence::examine(row, station);
    let (measured_wh, not_measured) = match evidence::measured(&examined) {
        Ok(energy) => (Some(energy.to_string()), None),
        Err(words) => (None, Some(words)),
    };
    let value = |value: evidence::Examined| SignedValueView {
        nature: match value.nature {
            SignedNature::Start => "start",
            SignedNature::Intermediate => "intermediate",
            SignedNature::End => "end",
        },
        raw: STANDARD.encode(&value.raw),
        record: String::from_utf8_lossy(&value.record).into_owned(),
        key_from: value.key_from,
        verdict: value.verdict,
        reason: value.reason,
    };
    SignedView {
        session: row.session.to_string(),
        station: row.identity.to_string(),
        at: row.at.to_rfc3339(),
        values: examined.into_iter().map(value).collect(),
        measured_wh,
        not_measured,
    }
}

/// Which revenue.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RevenueParams {
    /// The first moment, RFC 3339.
    from: String,
    /// The first moment after it, RFC 3339.
    to: String,
    /// `site`, `operator` or `partner`; absent: `site`.
    group: Option<String>,
    /// ISO 4217 code; needed when there are several.
    currency: Option<String>,
    /// IANA name of the clock that times are shown by; UTC when absent.
    zone: Option<String>,
    /// `json`, `csv` or `html`; absent: as `Accept` says, or JSON.
    format: Option<String>,
    /// Of HTML: `en` or `de`; absent: `en`.
    language: Option<String>,
}

fn asked(code: Option<&str>) -> Result<Option<Currency>, Problem> {
    code.map(currency).transpose()
}

/// What was earned in a period, as the ledger booked it.
#[utoipa::path(get, path = "/v1/reports/revenue", tag = "documents",
    operation_id = "get_revenue", params(RevenueParams), responses((status = 200, body = Value)))]
async fn revenue(
    State(api): State<Api>,
    Params(params): Params<RevenueParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let by = match params.group.as_deref() {
        None | Some("site") => GroupBy::Site,
        Some("operator") => GroupBy::Operator,
        Some("partner") => GroupBy::Party,
        Some(other) => {
            let detail = format!("group: there is no {other:?}: site, operator or partner");
            return Err(Problem::unprocessable(detail));
        }
    };
    let (from, until) = (stamp("from", &params.from)?, stamp("to", &params.to)?);
    if from >= until {
        return Err(Problem::unprocessable("to: it is not after from"));
    }
    let zone = params.zone.as_deref().unwrap_or("UTC").into();
    let (period, currency) = (Period { from, until, zone }, asked(params.currency.as_deref())?);
    let print = PrintParams { format: params.format, language: params.language, table: None };
    let print = Print::new(&print, &headers)?;
    let sheet = with_books(&api, move |parts, seller| {
        Ok(report::revenue(parts, &period, by, currency, seller)?.sheet()?)
    });
    print.response(&sheet.await?)
}

/// Which statement.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SettlementParams {
    /// `2026-11`. Or name `from` and `to`.
    month: Option<String>,
    /// The first moment, RFC 3339.
    from: Option<String>,
    /// The first moment after it, RFC 3339.
    to: Option<String>,
    /// ISO 4217 code; needed when the partner has accounts in several.
    currency: Option<String>,
    /// IANA name of the clock whose month it is; UTC when absent.
    zone: Option<String>,
    /// `json`, `csv` or `html`; absent: as `Accept` says, or JSON.
    format: Option<String>,
    /// Of HTML: `en` or `de`; absent: `en`.
    language: Option<String>,
    /// Of CSV: `sessions`, `entries` or `sums`; absent: `sessions`.
    table: Option<String>,
}

fn month(text: &str, zone: Option<&str>) -> Result<Period, Problem> {
    let zone = zone.unwrap_or("UTC");
    Period::month(text, zone).ok_or_else(|| {
        Problem::unprocessable(format!("there is no month {text:?} by the clocks of {zone:?}"))
    })
}

/// A month, or from one moment to another.
fn named_period(
    named: (Option<&str>, Option<&str>, Option<&str>),
    zone: Option<&str>,
) -> Result<Period, Problem> {
    match named {
        (Some(text), None, None) => month(text, zone),
        (None, Some(from), Some(to)) => {
            let (from, until) = (stamp("from", from)?, stamp("to", to)?);
            if from >= until {
                return Err(Problem::unprocessable("to: it is not after from"));
            }
            let zone = zone.unwrap_or("UTC");
            if novax_tariff::Zone::get(zone).is_err() {
                return Err(Problem::unprocessable(format!("zone: there is no {zone:?}")));
            }
            Ok(Period { from, until, zone: zone.into() })
        }
        _ => Err(Problem::unprocessable("name either a month, or from and to")),
    }
}

/// A partner's account over a month: a draft without a number. Partners' names have slashes: write `%2F`.
#[utoipa::path(get, path = "/v1/reports/settlement/{partner}", tag = "documents",
    operation_id = "get_settlement",
    params(("partner" = String, Path, description = "The partner, as contracts name it"),
        SettlementParams),
    responses((status = 200, body = Value)))]
async fn settlement(
    State(api): State<Api>,
    Path(partner): Path<String>,
    Params(params): Params<SettlementParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let named = (params.month.as_deref(), params.from.as_deref(), params.to.as_deref());
    let period = named_period(named, params.zone.as_deref())?;
    let currency = asked(params.currency.as_deref())?;
    let print =
        PrintParams { format: params.format, language: params.language, table: params.table };
    let print = Print::new(&print, &headers)?;
    let sheet = with_books(&api, move |parts, seller| {
        Ok(report::settlement(parts, &partner, &period, currency, seller)?.sheet()?)
    });
    print.response(&sheet.await?)
}

/// Who buys.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BuyerInput {
    /// As registered; the driver's name when absent.
    name: Option<String>,
    /// Street and number.
    #[serde(default)]
    street: String,
    /// Town.
    #[serde(default)]
    city: String,
    /// Where the country has them.
    postal_code: Option<String>,
    /// ISO 3166-1 alpha-2; the seller's when absent.
    country: Option<String>,
    /// VAT id.
    vat_id: Option<String>,
    /// Where the invoice goes.
    email: Option<String>,
}

const BUYER_BYTES_MAX: usize = 256;

impl BuyerInput {
    fn party(self, driver: &str, country: Option<&str>) -> Result<LegalParty, Problem> {
        let party = LegalParty {
            name: self.name.unwrap_or_else(|| driver.to_owned()).into(),
            street: self.street.into(),
            city: self.city.into(),
            postal_code: self.postal_code.map(Into::into),
            country: self.country.as_deref().or(country).unwrap_or_default().into(),
            vat_id: self.vat_id.map(Into::into),
            tax_number: None,
            email: self.email.map(Into::into),
        };
        let maybe = [&party.postal_code, &party.vat_id, &party.email];
        let maybe = maybe.into_iter().flatten();
        let texts = [&party.name, &party.street, &party.city, &party.country];
        let long = texts.into_iter().chain(maybe).any(|text| text.len() > BUYER_BYTES_MAX);
        if long {
            let detail = format!("buyer: a text has more than {BUYER_BYTES_MAX} bytes");
            return Err(Problem::unprocessable(detail));
        }
        Ok(party)
    }
}

/// An invoice to issue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InvoiceInput {
    /// To whom.
    #[schema(example = "anna")]
    driver: String,
    /// For which month, which is over: `2026-11`. Or name `from` and `to`.
    #[schema(example = "2026-11")]
    month: Option<String>,
    /// The first moment, RFC 3339.
    from: Option<String>,
    /// The first moment after it, RFC 3339; it is over.
    to: Option<String>,
    /// IANA name of the clock whose month it is, and by which times are shown; UTC when absent.
    zone: Option<String>,
    /// Who buys, for the invoice; the driver when absent.
    buyer: Option<BuyerInput>,
}

/// A document that was issued.
#[derive(Debug, Serialize, ToSchema)]
struct IssuedView {
    /// Its number, with its series.
    number: String,
    /// `invoice`, `credit_note` or `settlement_statement`.
    kind: &'static str,
    /// Invoice: the driver. Credit note: the invoice and what the request was called. Settlement statement:
    /// the partner.
    subject: String,
    /// The partition whose series it is of.
    partition: u16,
    /// First moment of its period.
    from: String,
    /// First moment after its period.
    until: String,
    /// ISO 4217 code.
    currency: String,
    /// Minor units: what is charged or taken back, tax included; of a settlement statement the closing
    /// balance.
    total_minor: String,
    /// When it was issued.
    issued: String,
    /// How many days later it is to be paid.
    due_days: Option<u16>,
    /// How many sessions it has.
    sessions: usize,
    /// Credit note: the invoice.
    original: Option<String>,
}

impl IssuedView {
    fn new(partition: PartitionId, row: &DocumentRow) -> IssuedView {
        IssuedView {
            number: row.id.to_string(),
            kind: row.kind.as_str(),
            subject: row.subject.to_string(),
            partition: partition.0,
            from: row.from.to_rfc3339(),
            until: row.until.to_rfc3339(),
            currency: row.currency.code().to_owned(),
            total_minor: row.total.to_string(),
            issued: row.issued.to_rfc3339(),
            due_days: row.due_days,
            sessions: row.parts.len(),
            original: row.original.as_ref().map(ToString::to_string),
        }
    }
}

/// A session that a document leaves out.
#[derive(Debug, Serialize, ToSchema)]
struct LeftOutView {
    /// Which session.
    session: String,
    /// Why.
    reason: &'static str,
}

/// What a request for documents came to.
#[derive(Debug, Serialize, ToSchema)]
struct IssuesView {
    /// The documents: one for each partition and currency.
    documents: Vec<IssuedView>,
    /// Sessions that are on none of them.
    left_out: Vec<LeftOutView>,
}

/// Has the wanted documents issued and reads all of them.
async fn carry_out(api: &Api, issue: issue::Issue) -> Result<Json<IssuesView>, Problem> {
    let mut ids = issue.known;
    for (partition, ask) in issue.wanted {
        let command = Command::IssueDocument(Box::new(ask));
        match api.control().propose_ok(partition, command).await? {
            Outcome::Issued { id, .. } => ids.push(id),
            other => unreachable!("a document is issued or refused, not {other:?}"),
        }
    }
    let documents = with_books(api, move |parts, _| {
        let mut views = Vec::with_capacity(ids.len());
        for id in ids {
            views.extend(document(parts, &id)?.map(|(at, row, _)| IssuedView::new(at, &row)));
        }
        Ok(views)
    });
    let left_out = issue.left_out.into_iter();
    let left_out = left_out.map(|(session, reason): (SessionId, _)| LeftOutView {
        session: session.to_string(),
        reason,
    });
    Ok(Json(IssuesView { documents: documents.await?, left_out: left_out.collect() }))
}

/// A document by its number.
fn document(
    parts: &[Part<'_>],
    id: &DocumentId,
) -> Result<Option<(PartitionId, DocumentRow, Stored)>, NoDocument> {
    let Some(part) = id.partition().and_then(|partition| part_of(parts, partition)) else {
        return Ok(None);
    };
    let found = issue::read(part, id)?;
    Ok(found.map(|(row, stored)| (part.partition, row, stored)))
}

/// Issues the invoice of a driver for a month. Asked again it is the same invoice. Sessions in several
/// partitions or currencies get one each.
#[utoipa::path(post, path = "/v1/invoices", tag = "documents", operation_id = "issue_invoice",
    request_body = InvoiceInput, responses((status = 200, body = IssuesView)))]
async fn make_invoice(
    State(api): State<Api>,
    Body(body): Body<InvoiceInput>,
) -> Result<Json<IssuesView>, Problem> {
    let driver = identity("driver", &body.driver)?;
    let named = (body.month.as_deref(), body.from.as_deref(), body.to.as_deref());
    let period = named_period(named, body.zone.as_deref())?;
    let country = api.statements().country.clone();
    let buyer = body.buyer.unwrap_or_default().party(driver.as_str(), country.as_deref())?;
    let issue = with_books(&api, move |parts, seller| {
        issue::invoices(parts, driver.as_str(), &period, &buyer, seller)
    });
    carry_out(&api, issue.await?).await
}

/// An invoice to be credited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreditInput {
    /// Its number.
    #[schema(example = "NX-INV-p0-2026-1")]
    invoice: String,
}

fn document_id(text: &str) -> Result<DocumentId, Problem> {
    DocumentId::parse(text).ok_or_else(|| Problem::not_found("document", text))
}

/// Issues a credit note of all that was given back of an invoice's sessions and is not credited yet. The
/// same key again is the same credit note.
#[utoipa::path(post, path = "/v1/credit-notes", tag = "documents",
    operation_id = "issue_credit_note", request_body = CreditInput,
    params(("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 characters")),
    responses((status = 200, body = IssuesView)))]
async fn make_credit_note(
    State(api): State<Api>,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<CreditInput>,
) -> Result<Json<IssuesView>, Problem> {
    let original = document_id(&body.invoice)?;
    let reference = format!("{:016x}", digest(&["credit", &of_caller(&key)]) >> 64);
    let unknown = NoDocument::Unknown { what: "invoice", id: original.to_string() };
    let issue = with_books(&api, move |parts, seller| {
        let part = original.partition().and_then(|partition| part_of(parts, partition));
        issue::credit_note(part.ok_or(unknown)?, &original, &reference, seller)
    });
    carry_out(&api, issue.await?).await
}

/// A settlement statement to issue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettlementInput {
    /// The partner, as contracts name it.
    #[schema(example = "site-host/harbour")]
    partner: String,
    /// For which month, which is over: `2026-11`. Or name `from` and `to`.
    #[schema(example = "2026-11")]
    month: Option<String>,
    /// The first moment, RFC 3339.
    from: Option<String>,
    /// The first moment after it, RFC 3339; it is over.
    to: Option<String>,
    /// IANA name of the clock whose month it is, and by which times are shown; UTC when absent.
    zone: Option<String>,
    /// ISO 4217 code; needed when the partner has accounts in several.
    currency: Option<String>,
}

/// Issues the settlement statement of a partner for a month, one for each partition that has an account of
/// theirs. Asked again it is the same statement.
#[utoipa::path(post, path = "/v1/settlements", tag = "documents",
    operation_id = "issue_settlement", request_body = SettlementInput,
    responses((status = 200, body = IssuesView)))]
async fn make_settlement(
    State(api): State<Api>,
    Body(body): Body<SettlementInput>,
) -> Result<Json<IssuesView>, Problem> {
    let named = (body.month.as_deref(), body.from.as_deref(), body.to.as_deref());
    let period = named_period(named, body.zone.as_deref())?;
    let currency = asked(body.currency.as_deref())?;
    let issue = with_books(&api, move |parts, seller| {
        issue::settlements(parts, &body.partner, &period, currency, seller)
    });
    carry_out(&api, issue.await?).await
}

/// Which documents.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Items at most: 1 to 1000, 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// `next_page` of the page before; absent for the first.
    page_token: Option<String>,
    /// Only `invoice`, `credit_note` or `settlement_statement`.
    kind: Option<String>,
    /// Only those about this driver or partner.
    subject: Option<String>,
}

/// Documents that were issued, by series and number.
#[utoipa::path(get, path = "/v1/documents", tag = "documents", operation_id = "list_documents",
    params(ListParams), responses((status = 200, body = ResultsPage<IssuedView>)))]
async fn list(
    State(api): State<Api>,
    Params(params): Params<ListParams>,
) -> Result<Json<ResultsPage<IssuedView>>, Problem> {
    let want = Want::new(params.limit, params.page_token.as_deref(), Keyspace::Documents)?;
    let page = read(api.control(), false, move |rows| {
        rows.page(&want, &[HEAD], |found| {
            let row = rows::read::<DocumentRow>(found.value)?;
            let is = |wanted: &Option<String>, text: &str| {
                wanted.as_deref().is_none_or(|wanted| wanted == text)
            };
            let wanted = is(&params.kind, row.kind.as_str()) && is(&params.subject, &row.subject);
            Ok(wanted.then(|| IssuedView::new(found.partition, &row)))
        })
    });
    Ok(Json(page.await?))
}

/// A document as it was issued.
#[utoipa::path(get, path = "/v1/documents/{number}", tag = "documents",
    operation_id = "get_document",
    params(("number" = String, Path, description = "Its number, with its series"), PrintParams),
    responses((status = 200, body = Value)))]
async fn get(
    State(api): State<Api>,
    Path(number): Path<String>,
    Params(params): Params<PrintParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = document_id(&number)?;
    let print = Print::new(&params, &headers)?;
    let unknown = NoDocument::Unknown { what: "document", id: id.to_string() };
    let sheet = with_books(&api, move |parts, _| {
        let (_, _, stored) = document(parts, &id)?.ok_or(unknown)?;
        Ok(stored.sheet()?)
    });
    print.response(&sheet.await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_form_is_what_is_asked_for_or_else_accepted() {
        let form = |text: Option<&str>, accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            Format::read(text, &headers)
        };
        assert_eq!(form(None, "*/*"), Ok(Format::Json));
        assert_eq!(form(None, "text/html, application/json;q=0.5"), Ok(Format::Html));
        assert_eq!(form(None, "text/csv"), Ok(Format::Csv));
        assert_eq!(form(Some("json"), "text/html"), Ok(Format::Json));
        assert_eq!(form(Some("pdf"), "text/html").unwrap_err().code(), "invalid_request");
        assert_eq!(language(Some("fr")).unwrap_err().code(), "invalid_request");
    }
}
