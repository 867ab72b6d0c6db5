//! Payments by card: what was asked of the provider, what it has, its messages, and money back.

use super::Api;
use super::extract::{Body, IdempotencyKey, Params};
use super::page::{ResultsPage, Want};
use super::problem::{Problem, keyed};
use super::read::{ReadError, Rows, read};
use super::sessions::of_caller;
use super::views::{Money, MoneyInput, session_id};
use crate::control::digest;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use novax_charging::command::Refund;
use novax_charging::rows::{self, SessionRow};
use novax_charging::{Command, Keyspace, Partition, PaymentRow};
use novax_ledger::{JournalRow, KeyRow, Undone};
use novax_model::{SessionId, Timestamp};
use novax_payments::reconcile::Line;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Where the provider's messages come in. They need no key: their signature is checked.
pub(super) const WEBHOOK_PATH: &str = "/v1/payments/webhooks/stripe";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(reconciliation))
        .routes(routes!(webhook))
        .routes(routes!(refund))
}

/// One thing asked of a payment provider.
#[derive(Debug, Serialize, ToSchema)]
struct PaymentView {
    /// For which session.
    session: String,
    /// Its place among the session's operations, from 0.
    number: u32,
    /// Its id, which the provider has too.
    operation: String,
    /// `AUTHORISE`, `INCREMENT`, `CAPTURE`, `VOID` or `REFUND`.
    kind: String,
    /// `ASKED`, `PENDING`, `SUCCEEDED`, `DECLINED` or `UNKNOWN`.
    state: String,
    /// Whose card.
    driver: String,
    /// The provider.
    provider: String,
    /// The provider's name of the payment.
    payment: Option<String>,
    /// The provider's name of what it made.
    reference: Option<String>,
    /// What was asked.
    amount: Money,
    /// What it did, by the provider's word.
    moved: Money,
    /// What the provider said.
    reason: Option<String>,
    /// What the payer's app needs in order to prove who they are.
    challenge: Option<String>,
    /// When it was decided.
    at: String,
    /// When something last happened to it.
    changed: String,
}

impl From<&PaymentRow> for PaymentView {
    fn from(row: &PaymentRow) -> PaymentView {
        let text = |text: &Option<Box<str>>| text.as_deref().map(ToOwned::to_owned);
        PaymentView {
            session: row.session.to_string(),
            number: row.number,
            operation: format!("{:032x}", row.operation),
            kind: row.kind.as_str().to_owned(),
            state: row.state.as_str().to_owned(),
            driver: row.driver.to_string(),
            provider: row.card.provider.to_string(),
            payment: text(&row.payment),
            reference: text(&row.reference),
            amount: Money::new(row.amount, row.currency),
            moved: Money::new(row.moved, row.currency),
            reason: (!row.words.is_empty()).then(|| row.words.to_string()),
            challenge: text(&row.challenge),
            at: row.at.to_rfc3339(),
            changed: row.changed.to_rfc3339(),
        }
    }
}

/// Which payments.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PaymentParams {
    /// Items at most: 1 to 1000, 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// `next_page` of the page before; absent for the first.
    page_token: Option<String>,
    /// Only those of this session.
    session: Option<String>,
    /// Only those in this state, such as `UNKNOWN`.
    state: Option<String>,
}

/// What was asked of payment providers, by session.
#[utoipa::path(get, path = "/v1/payments", tag = "payments", params(PaymentParams),
    operation_id = "list_payments", responses((status = 200, body = ResultsPage<PaymentView>)))]
async fn list(
    State(api): State<Api>,
    Params(params): Params<PaymentParams>,
) -> Result<Json<ResultsPage<PaymentView>>, Problem> {
    let want = Want::new(params.limit, params.page_token.as_deref(), Keyspace::Payments)?;
    let prefix = match params.session.as_deref() {
        None => Vec::new(),
        Some(text) => {
            let unknown = || Problem::not_found("session", text);
            session_id(text).ok_or_else(unknown)?.0.to_be_bytes().to_vec()
        }
    };
    let page = read(api.control(), false, move |rows| {
        rows.page(&want, &prefix, |found| {
            let row = rows::read::<PaymentRow>(found.value)?;
            let wanted = params.state.as_deref().is_none_or(|state| state == row.state.as_str());
            Ok(wanted.then(|| PaymentView::from(&row)))
        })
    });
    Ok(Json(page.await?))
}

/// Since when.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SinceParams {
    /// Seconds to look back: 60 to 2592000, two days when absent.
    #[param(minimum = 60, maximum = 2_592_000)]
    seconds: Option<u64>,
}

/// One payment or refund, on either side or both.
#[derive(Debug, Serialize, ToSchema)]
struct FindingView {
    /// `Matched`, `InFlight`, `MissingHere`, `MissingThere`, `AmountDiffers`, ...
    finding: String,
    /// The same in a sentence.
    words: String,
    /// Whether a person must look at it.
    alarming: bool,
    /// The operation that made it.
    operation: Option<String>,
    /// The provider's name of it.
    reference: Option<String>,
    /// Moved, by our books.
    here: Option<Money>,
    /// Moved, by the provider's.
    there: Option<Money>,
}

impl From<&Line> for FindingView {
    fn from(line: &Line) -> FindingView {
        let (ours, theirs) = (line.ours.as_ref(), line.theirs.as_ref());
        let operation = ours.map(|row| row.operation).or(theirs.and_then(|row| row.operation));
        let reference = theirs
            .map(|row| row.reference.to_string())
            .or(ours.and_then(|row| row.reference.as_ref()).map(ToString::to_string));
        FindingView {
            finding: format!("{:?}", line.finding),
            words: line.finding.words().to_owned(),
            alarming: line.finding.is_alarming(),
            operation: operation.map(|id| id.to_string()),
            reference,
            here: ours.map(|row| Money::new(row.moved, row.currency)),
            there: theirs.map(|row| Money::new(row.moved, row.currency)),
        }
    }
}

/// Sums of one currency.
#[derive(Debug, Serialize, ToSchema)]
struct TotalsView {
    /// Taken by our books.
    taken_here: Money,
    /// Taken by the provider's.
    taken_there: Money,
    /// Paid back by our books.
    refunded_here: Money,
    /// Paid back by the provider's.
    refunded_there: Money,
    /// Disputed by the payers' banks, away or lost, by our books.
    disputed_here: Money,
    /// Disputed, by the provider's.
    disputed_there: Money,
}

/// What the provider has beside what we have.
#[derive(Debug, Serialize, ToSchema)]
struct ReconciliationView {
    /// By currency.
    totals: Vec<TotalsView>,
    /// How many lines a person must look at.
    alarming: usize,
    /// Those that do not match first; at most a thousand.
    lines: Vec<FindingView>,
}

const LINES_MAX: usize = 1_000;

fn not_configured() -> Problem {
    Problem::conflict("payments_not_configured", "no payment provider is configured")
}

/// Compares our payments with the provider's; what was unknown is found out on the way, and the
/// provider's fees and disputes are booked.
#[utoipa::path(get, path = "/v1/payments/reconciliation", tag = "payments", params(SinceParams),
    operation_id = "reconcile_payments", responses((status = 200, body = ReconciliationView)))]
async fn reconciliation(
    State(api): State<Api>,
    Params(params): Params<SinceParams>,
) -> Result<Json<ReconciliationView>, Problem> {
    let payments = api.payments().ok_or_else(not_configured)?;
    let seconds = params.seconds.unwrap_or(2 * 86_400);
    if !(60..=2_592_000).contains(&seconds) {
        return Err(Problem::unprocessable("seconds goes from 60 to 2592000"));
    }
    let since = Timestamp(super::now().0.saturating_sub(seconds * 1_000_000));
    let failed = |error: novax_payments::PaymentError| {
        Problem::new(StatusCode::BAD_GATEWAY, "payment_provider", error.to_string())
    };
    payments.resolve(api.control()).await.map_err(failed)?;
    payments.take_entries(api.control(), since).await.map_err(failed)?;
    let report = payments.reconcile(api.control(), since).await.map_err(failed)?;
    let mut lines: Vec<&Line> = report.lines.iter().collect();
    lines.sort_by_key(|line| !line.finding.is_alarming());
    let totals = report.totals.iter().map(|(currency, totals)| TotalsView {
        taken_here: Money::new(totals.taken_here, *currency),
        taken_there: Money::new(totals.taken_there, *currency),
        refunded_here: Money::new(totals.refunded_here, *currency),
        refunded_there: Money::new(totals.refunded_there, *currency),
        disputed_here: Money::new(totals.disputed_here, *currency),
        disputed_there: Money::new(totals.disputed_there, *currency),
    });
    Ok(Json(ReconciliationView {
        totals: totals.collect(),
        alarming: report.alarming().count(),
        lines: lines.into_iter().take(LINES_MAX).map(FindingView::from).collect(),
    }))
}

/// A message of the payment provider, signed by it. Any other is turned away.
#[utoipa::path(post, path = "/v1/payments/webhooks/stripe", tag = "payments",
    operation_id = "stripe_webhook", request_body(content = String, content_type = "application/json"),
    params(("Stripe-Signature" = String, Header, description = "Time and HMAC of the body")),
    security(()), responses((status = 204)))]
async fn webhook(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let payments = api.payments().filter(|payments| payments.name() == "stripe");
    let payments = payments.ok_or_else(not_configured)?;
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    payments
        .webhook(signature.unwrap_or_default(), &body)
        .map_err(|error| Problem::bad_request("webhook_refused", error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// How much goes back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    /// In the session's currency, tax included.
    amount: MoneyInput,
}

/// What a refund came to.
#[derive(Debug, Serialize, ToSchema)]
struct RefundedView {
    /// What goes back by this request.
    refunded: Money,
}

/// Pays a part of a settled session back: each who earned by it gives their part back, and the driver
/// gets it where it came from. The same key and amount again book nothing.
#[utoipa::path(post, path = "/v1/sessions/{id}/refund", tag = "sessions",
    operation_id = "refund_session", request_body = RefundBody,
    params(("id" = String, Path, description = "The session's id"),
        ("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 characters")),
    responses((status = 200, body = RefundedView)))]
async fn refund(
    State(api): State<Api>,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<RefundBody>,
) -> Result<Json<RefundedView>, Problem> {
    let session = session_id(&id).ok_or_else(|| Problem::not_found("session", &id))?;
    let (amount, currency) = body.amount.amount()?;
    if amount == 0 {
        return Err(Problem::unprocessable("a refund of nothing"));
    }
    // The books want a number: one that only this key has.
    let number = digest(&["refund", &of_caller(&key)]) >> 96;
    let sequence = u32::try_from(number).expect("32 bits are left");
    let found = read(api.control(), false, move |rows| bill(rows, session)).await?;
    let (row, mut refund) = found.ok_or_else(|| Problem::not_found("session", &id))?;
    if row.deal.currency != currency {
        let detail = format!("the session is in {}", row.deal.currency.code());
        return Err(Problem::conflict("currency_mismatch", detail));
    }
    (refund.sequence, refund.amount) = (sequence, amount);
    let command = Command::Refund(refund);
    api.control().propose_ok(session.partition(), command).await.map_err(keyed)?;
    Ok(Json(RefundedView { refunded: Money::new(amount, currency) }))
}

/// A session and what a refund of it must bring along.
fn bill(rows: &Rows, session: SessionId) -> Result<Option<(SessionRow, Refund)>, ReadError> {
    let partition = session.partition();
    let key = session.0.to_be_bytes();
    let found = rows.get(partition, Keyspace::Sessions, &key, rows::read::<SessionRow>)?;
    let Some(row) = found else { return Ok(None) };
    let key = Partition::bill_key(session).0.to_be_bytes();
    let booked = rows.get(partition, Keyspace::Keys, &key, rows::read::<KeyRow>)?;
    let mut refund = Refund {
        session,
        sequence: 0,
        amount: 0,
        lines: Vec::new(),
        before: 0,
        payments: Vec::new(),
        row: Some(Box::new(row.clone())),
    };
    let Some(booked) = booked else { return Ok(Some((row, refund))) };
    if let Undone::Refunded(before) = booked.undone {
        refund.before = before;
    }
    for number in booked.first..booked.first + u64::from(booked.rows) {
        let key = number.to_be_bytes();
        let line = rows.get(partition, Keyspace::Transfers, &key, rows::read::<JournalRow>)?;
        refund.lines.extend(line);
    }
    for number in 0.. {
        let key = novax_charging::payment::payment_key(session, number);
        let payment = rows.get(partition, Keyspace::Payments, &key, rows::read::<PaymentRow>)?;
        let Some(payment) = payment else { break };
        refund.payments.push(payment);
    }
    Ok(Some((row, refund)))
}
