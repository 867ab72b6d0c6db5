//! Stripe's requests and answers as text, without any network: what is sent for an operation, and what an
//! answer says of it.
//!
//! What is definite and what is not is decided here, and nowhere else. Definite: a payment in a state that
//! says so, and a refusal that says that nothing was done. All else is [`Outcome::Unknown`]: the caller asks.

use super::amount;
use super::form::Form;
use crate::operation::{
    Operation, OperationId, OperationKind, Outcome, ProviderRef, Refusal, Target,
};
use crate::provider::{
    Attempt, DisputeRow, DisputeState, FeeRow, Knowledge, ProviderRow, RowKind, RowState,
};
use novax_model::{Amount, Currency, Duration, Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The field of an object's metadata that holds our operation's id.
pub const OPERATION_FIELD: &str = "novax_operation";
/// The field that holds what it is for, for people who look at the provider's pages.
const SUBJECT_FIELD: &str = "novax_subject";
/// The field that the last increment leaves on the payment.
const INCREMENT_FIELD: &str = "novax_increment";
/// Rows of one page of a list: the most that Stripe gives.
const PAGE_ROWS: &str = "100";

/// A request that changes something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Below the address of the API.
    pub path: String,
    /// The body.
    pub form: Form,
    /// Sent as `Idempotency-Key`.
    pub idempotency_key: String,
}

/// What is sent for an operation.
///
/// # Errors
/// The outcome, when Stripe could not do it whatever it says.
pub fn request(operation: &Operation) -> Result<Request, Outcome> {
    let wire = amount::to_wire(operation.amount, operation.currency);
    let wire = wire.or((operation.kind == OperationKind::Void).then_some(0));
    let Some(wire) = wire else {
        return Err(Outcome::declined(Refusal::AmountUnfit, ""));
    };
    let idempotency_key = format!("novax-{}", operation.id);
    let wire = wire.to_string();
    let form = Form::default();
    let (path, form) = match (&operation.target, operation.kind) {
        (Target::Payer(_), OperationKind::Authorise) => {
            ("payment_intents".to_owned(), authorise_form(operation, &wire))
        }
        (Target::Payment(payment), OperationKind::Increment) => (
            format!("payment_intents/{payment}/increment_authorization"),
            form.with("amount", &wire)
                .with(&format!("metadata[{INCREMENT_FIELD}]"), &operation.id.to_string()),
        ),
        (Target::Payment(payment), OperationKind::Capture) => {
            (format!("payment_intents/{payment}/capture"), form.with("amount_to_capture", &wire))
        }
        (Target::Payment(payment), OperationKind::Void) => {
            (format!("payment_intents/{payment}/cancel"), form)
        }
        (Target::Payment(payment), OperationKind::Refund) => (
            "refunds".to_owned(),
            marked(form.with("payment_intent", payment.as_str()).with("amount", &wire), operation),
        ),
        (Target::Payer(_), _) | (Target::Payment(_), OperationKind::Authorise) => {
            return Err(Outcome::declined(Refusal::Malformed, ""));
        }
    };
    Ok(Request { path, form, idempotency_key })
}

fn authorise_form(operation: &Operation, wire: &str) -> Form {
    let Target::Payer(payer) = &operation.target else {
        panic!("an authorisation has a payer");
    };
    let mut form = Form::default()
        .with("amount", wire)
        .with("currency", &operation.currency.code().to_ascii_lowercase())
        .with("capture_method", "manual")
        .with("confirm", "true")
        .with("payment_method", payer.method.as_str())
        .with("payment_method_types[0]", "card")
        .with("payment_method_options[card][request_incremental_authorization]", "if_available");
    if let Some(customer) = &payer.customer {
        form = form.with("customer", customer.as_str());
    }
    if !payer.present {
        form = form.with("off_session", "true");
    }
    marked(form, operation)
}

fn marked(form: Form, operation: &Operation) -> Form {
    form.with(&format!("metadata[{OPERATION_FIELD}]"), &operation.id.to_string())
        .with(&format!("metadata[{SUBJECT_FIELD}]"), &operation.subject)
}

/// A payment as Stripe shows it; what we do not use is left out.
#[derive(Deserialize, Debug)]
pub(crate) struct Intent {
    pub(crate) id: String,
    status: String,
    amount: i64,
    currency: String,
    created: u64,
    #[serde(default)]
    amount_received: Option<i64>,
    #[serde(default)]
    cancellation_reason: Option<String>,
    #[serde(default)]
    client_secret: Option<String>,
    #[serde(default)]
    last_payment_error: Option<ErrorBody>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    latest_charge: Option<LatestCharge>,
}

/// A charge: its name, or itself where the server always shows it whole.
#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum LatestCharge {
    Name(#[expect(dead_code, reason = "a name says nothing of amounts")] String),
    Whole(Charge),
}

#[derive(Deserialize, Debug)]
struct Charge {
    amount: i64,
    #[serde(default)]
    amount_captured: Option<i64>,
    #[serde(default)]
    amount_refunded: Option<i64>,
}

/// A refund.
#[derive(Deserialize, Debug)]
pub(crate) struct RefundBody {
    pub(crate) id: String,
    #[serde(default)]
    status: Option<String>,
    amount: i64,
    currency: String,
    created: u64,
    #[serde(default)]
    payment_intent: Option<String>,
    #[serde(default)]
    failure_reason: Option<String>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
}

/// A dispute.
#[derive(Deserialize, Debug)]
pub(crate) struct DisputeBody {
    pub(crate) id: String,
    status: String,
    amount: i64,
    currency: String,
    created: u64,
    #[serde(default)]
    payment_intent: Option<String>,
    #[serde(default)]
    balance_transactions: Vec<BalanceBody>,
}

/// A movement on our account at the provider.
#[derive(Deserialize, Debug)]
pub(crate) struct BalanceBody {
    pub(crate) id: String,
    #[serde(default)]
    created: u64,
    #[serde(default, rename = "type")]
    kind: String,
    amount: i64,
    #[serde(default)]
    fee: i64,
    currency: String,
}

/// A page of a list.
#[derive(Deserialize, Debug)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    pub(crate) has_more: bool,
}

#[derive(Deserialize, Debug)]
struct ErrorEnvelope {
    error: ErrorBody,
}

#[derive(Deserialize, Debug, Default)]
struct ErrorBody {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    decline_code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl Intent {
    fn reference(&self) -> Option<ProviderRef> {
        ProviderRef::new(&self.id)
    }

    /// The operation that made it.
    pub(crate) fn operation(&self) -> Option<OperationId> {
        mark(self.metadata.as_ref(), OPERATION_FIELD)
    }

    /// What was taken. Servers of an old protocol do not say it: there the charge does, and what was not
    /// taken counts as paid back.
    fn received(&self) -> Option<i64> {
        if self.status != "succeeded" {
            return Some(0);
        }
        if self.amount_received.is_some() {
            return self.amount_received;
        }
        let Some(LatestCharge::Whole(charge)) = &self.latest_charge else {
            return None;
        };
        charge.amount_captured.or(Some(charge.amount - charge.amount_refunded.unwrap_or(0)))
    }

    /// Why its authorisation is no longer.
    fn gone(&self) -> Outcome {
        let reason = self.cancellation_reason.as_deref().unwrap_or("canceled");
        Outcome::declined(Refusal::AuthorisationGone, &format!("the payment is void ({reason})"))
    }
}

fn mark(metadata: Option<&BTreeMap<String, String>>, field: &str) -> Option<OperationId> {
    metadata.and_then(|fields| fields.get(field)).and_then(|text| OperationId::parse(text))
}

/// What an intent says of an operation on it; `None` when the operation has not been done to it.
fn intent_outcome(operation: &Operation, intent: &Intent) -> Option<Outcome> {
    let (Some(reference), Some(reserved), Some(received)) = (
        intent.reference(),
        amount::from_wire(intent.amount, operation.currency),
        intent.received().and_then(|wire| amount::from_wire(wire, operation.currency)),
    ) else {
        return Some(Outcome::Unknown);
    };
    if !intent.currency.eq_ignore_ascii_case(operation.currency.code()) {
        return Some(Outcome::Unknown);
    }
    let done = |amount: Amount| Some(Outcome::Succeeded { reference: reference.clone(), amount });
    match (operation.kind, intent.status.as_str()) {
        // Once it was captured it had been reserved too.
        (OperationKind::Authorise, "requires_capture" | "succeeded") => done(reserved),
        (OperationKind::Authorise, _) => Some(unpaid(operation, intent, reference)),
        (OperationKind::Increment, "requires_capture") if reserved >= operation.amount => {
            done(reserved)
        }
        (OperationKind::Capture, "succeeded") => done(received),
        (OperationKind::Void, "canceled") => done(0),
        (_, "canceled") => Some(intent.gone()),
        (OperationKind::Increment | OperationKind::Void, "succeeded") => {
            Some(Outcome::declined(Refusal::AlreadyCaptured, ""))
        }
        (_, "processing") => Some(Outcome::Pending { reference, challenge: None }),
        _ => None,
    }
}

/// What a payment that is not (yet) authorised means for its authorisation.
fn unpaid(operation: &Operation, intent: &Intent, reference: ProviderRef) -> Outcome {
    let Target::Payer(payer) = &operation.target else {
        return Outcome::Unknown;
    };
    match intent.status.as_str() {
        "canceled" => intent.gone(),
        "processing" => Outcome::Pending { reference, challenge: None },
        "requires_action" if payer.present => {
            let challenge = intent.client_secret.as_deref().map(Into::into);
            Outcome::Pending { reference, challenge }
        }
        "requires_action" => Outcome::declined(Refusal::AuthenticationRequired, ""),
        "requires_payment_method" => match &intent.last_payment_error {
            Some(error) => error.declined(),
            None => Outcome::declined(Refusal::CardDeclined, ""),
        },
        _ => Outcome::Unknown,
    }
}

fn refund_outcome(operation: &Operation, refund: &RefundBody) -> Outcome {
    let (Some(reference), Some(amount)) =
        (ProviderRef::new(&refund.id), amount::from_wire(refund.amount, operation.currency))
    else {
        return Outcome::Unknown;
    };
    if !refund.currency.eq_ignore_ascii_case(operation.currency.code()) {
        return Outcome::Unknown;
    }
    match refund.status.as_deref() {
        Some("succeeded") => Outcome::Succeeded { reference, amount },
        Some("pending" | "requires_action") => Outcome::Pending { reference, challenge: None },
        Some("failed" | "canceled") => {
            let reason = refund.failure_reason.as_deref().unwrap_or("the refund failed");
            Outcome::declined(Refusal::CardUnusable, reason)
        }
        _ => Outcome::Unknown,
    }
}

impl ErrorBody {
    fn declined(&self) -> Outcome {
        Outcome::declined(self.refusal(), self.message.as_deref().unwrap_or_default())
    }

    fn refusal(&self) -> Refusal {
        let code = self.code.as_deref().unwrap_or_default();
        match (self.decline_code.as_deref().unwrap_or_default(), code) {
            ("insufficient_funds" | "card_velocity_exceeded", _) => Refusal::InsufficientFunds,
            ("authentication_required", _) => Refusal::AuthenticationRequired,
            (
                "expired_card"
                | "lost_card"
                | "stolen_card"
                | "pickup_card"
                | "restricted_card"
                | "card_not_supported"
                | "incorrect_number"
                | "invalid_account"
                | "incorrect_cvc"
                | "invalid_cvc"
                | "invalid_expiry_month"
                | "invalid_expiry_year",
                _,
            ) => Refusal::CardUnusable,
            (_, "authentication_required" | "payment_intent_authentication_failure") => {
                Refusal::AuthenticationRequired
            }
            (_, "expired_card" | "incorrect_cvc" | "incorrect_number" | "invalid_number") => {
                Refusal::CardUnusable
            }
            (_, "capture_charge_authorization_expired" | "charge_expired_for_capture") => {
                Refusal::AuthorisationGone
            }
            (_, "amount_too_large" | "refund_amount_exceeded") => Refusal::AmountTooLarge,
            (_, "amount_too_small" | "parameter_invalid_integer") => Refusal::AmountUnfit,
            (_, "charge_already_refunded") => Refusal::AlreadyCaptured,
            (_, "resource_missing") => Refusal::NoSuchObject,
            (_, "payment_intent_increment_authorization_unavailable" | "not_supported") => {
                Refusal::NotSupported
            }
            (_, "card_declined") => Refusal::CardDeclined,
            _ if self.kind.as_deref() == Some("card_error") => Refusal::CardDeclined,
            _ => Refusal::Malformed,
        }
    }

    fn text(&self) -> String {
        let code = self.code.as_deref().unwrap_or("no code");
        let words = self.message.as_deref().unwrap_or_default();
        format!("{code}: {}", &words[..words.floor_char_boundary(200)])
    }
}

/// What an answer to an operation's request says.
#[must_use]
pub fn answer(operation: &Operation, status: u16, body: &[u8], wait: Option<Duration>) -> Attempt {
    if status == 200 {
        return Attempt::Answered(success(operation, body));
    }
    let error = serde_json::from_slice::<ErrorEnvelope>(body).map(|envelope| envelope.error);
    let not_taken = |reason: &str| {
        let words = error.as_ref().map(ErrorBody::text).unwrap_or_default();
        Attempt::NotTaken { wait, reason: format!("{reason} ({status}) {words}") }
    };
    match (status, &error) {
        (429, _) => not_taken("too many requests"),
        // The same key is being worked on: it stays one request, and asking for it again is safe.
        (409, _) => not_taken("busy with the same request"),
        (401 | 403, _) => not_taken("the key is not accepted"),
        (400, Ok(error)) if is_about_state(error) => Attempt::Answered(Outcome::Unknown),
        (400 | 402 | 404, Ok(error)) => Attempt::Answered(refused(operation, error)),
        // All else may or may not have had its effect.
        _ => Attempt::Answered(Outcome::Unknown),
    }
}

/// A refusal. Stripe has no code for a card whose hold cannot be raised: it says that the request is wrong.
fn refused(operation: &Operation, error: &ErrorBody) -> Outcome {
    match error.declined() {
        Outcome::Declined { refusal: Refusal::Malformed, words }
            if operation.kind == OperationKind::Increment =>
        {
            Outcome::Declined { refusal: Refusal::NotSupported, words }
        }
        outcome => outcome,
    }
}

/// Refusals which only say that the payment is not in the state that was thought, or that the key was used:
/// perhaps by an earlier try of the very same operation. Its state says what is true.
fn is_about_state(error: &ErrorBody) -> bool {
    let state = matches!(
        error.code.as_deref(),
        Some(
            "payment_intent_unexpected_state"
                | "charge_already_captured"
                | "idempotency_key_in_use"
        )
    );
    state || error.kind.as_deref() == Some("idempotency_error")
}

fn success(operation: &Operation, body: &[u8]) -> Outcome {
    if operation.kind == OperationKind::Refund {
        let refund = serde_json::from_slice::<RefundBody>(body);
        return refund.map_or(Outcome::Unknown, |refund| refund_outcome(operation, &refund));
    }
    let intent = serde_json::from_slice::<Intent>(body);
    let outcome = intent.ok().and_then(|intent| intent_outcome(operation, &intent));
    outcome.unwrap_or(Outcome::Unknown)
}

/// Where to look for what became of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    /// The payment itself says.
    Payment { path: String },
    /// Some payment, made from a while before it was decided on, that bears its id.
    Payments { from: Timestamp },
    /// Some refund of the payment that bears its id.
    Refunds { payment: ProviderRef },
}

/// How far the provider's clock may be behind ours.
const SLACK: Duration = Duration::from_secs(600);

/// Where to look for an operation.
pub(crate) fn question(operation: &Operation) -> Question {
    match (&operation.target, operation.kind) {
        (Target::Payer(_), _) => {
            let slack_us = u64::try_from(SLACK.as_micros()).expect("minutes");
            Question::Payments { from: Timestamp(operation.at.0.saturating_sub(slack_us)) }
        }
        (Target::Payment(payment), OperationKind::Refund) => {
            Question::Refunds { payment: payment.clone() }
        }
        (Target::Payment(payment), _) => {
            Question::Payment { path: format!("payment_intents/{payment}") }
        }
    }
}

/// What a payment says of an operation on it.
pub(crate) fn known_of_payment(operation: &Operation, status: u16, body: &[u8]) -> Knowledge {
    if status == 404 {
        return Knowledge::Found(Outcome::declined(Refusal::NoSuchObject, ""));
    }
    if status != 200 {
        return Knowledge::Unanswered(format!("status {status}"));
    }
    match serde_json::from_slice::<Intent>(body) {
        Ok(intent) => match intent_outcome(operation, &intent) {
            Some(Outcome::Unknown) => Knowledge::Unanswered("a payment without sense".into()),
            Some(outcome) => Knowledge::Found(outcome),
            None => Knowledge::Absent,
        },
        Err(error) => Knowledge::Unanswered(format!("no payment: {error}")),
    }
}

/// What a payment of a list says of the authorisation that may have made it.
pub(crate) fn known_of_listed(operation: &Operation, intent: &Intent) -> Option<Outcome> {
    (intent.operation() == Some(operation.id))
        .then(|| intent_outcome(operation, intent).unwrap_or(Outcome::Unknown))
}

/// What a refund of a list says of the operation that may have made it.
pub(crate) fn known_of_refund(operation: &Operation, refund: &RefundBody) -> Option<Outcome> {
    (mark(refund.metadata.as_ref(), OPERATION_FIELD) == Some(operation.id))
        .then(|| refund_outcome(operation, refund))
}

/// The query of a page of a list. `from` is a filter at the server, where it has one.
pub(crate) fn page_query(from: Option<Timestamp>, after: Option<&str>, more: Form) -> Form {
    let mut form = more.with("limit", PAGE_ROWS);
    if let Some(from) = from {
        form = form.with("created[gte]", &(from.as_millis() / 1000).to_string());
    }
    if let Some(after) = after {
        form = form.with("starting_after", after);
    }
    form
}

/// An object that a list can hold.
pub(crate) trait Stamped {
    /// Its name, which the next page starts after.
    fn id(&self) -> &str;
    /// When it was made.
    fn created(&self) -> Timestamp;
}

/// A payment or a refund of a list.
pub(crate) trait Listed: Stamped {
    /// As a row; `None` when it is not one that we can count: another currency's, or no payment's.
    fn row(&self) -> Option<ProviderRow>;
}

fn seconds(created: u64) -> Timestamp {
    Timestamp::from_millis(created.saturating_mul(1000))
}

impl Stamped for Intent {
    fn id(&self) -> &str {
        &self.id
    }

    fn created(&self) -> Timestamp {
        seconds(self.created)
    }
}

impl Listed for Intent {
    fn row(&self) -> Option<ProviderRow> {
        let currency = Currency::new(&self.currency.to_ascii_uppercase()).ok()?;
        let reference = self.reference()?;
        let state = match self.status.as_str() {
            "requires_capture" => RowState::Reserved,
            "succeeded" => RowState::Done,
            "canceled" => RowState::Void,
            _ => RowState::Unpaid,
        };
        Some(ProviderRow {
            kind: RowKind::Payment,
            payment: reference.clone(),
            reference,
            operation: self.operation(),
            state,
            amount: amount::from_wire(self.amount, currency)?,
            moved: amount::from_wire(self.received()?, currency)?,
            currency,
            created: self.created(),
        })
    }
}

impl DisputeBody {
    /// As a row; `None` when its amounts make no sense.
    pub(crate) fn row(&self) -> Option<DisputeRow> {
        let currency = Currency::new(&self.currency.to_ascii_uppercase()).ok()?;
        let state = match self.status.as_str() {
            "won" => DisputeState::Won,
            "lost" => DisputeState::Lost,
            // Only asked about: nothing is taken away.
            "warning_needs_response" | "warning_under_review" | "warning_closed" | "prevented" => {
                DisputeState::Inquiry
            }
            _ => DisputeState::Open,
        };
        // What the money's leaving cost; what its return brings is not our income.
        let taken = self.balance_transactions.iter().find(|moved| moved.amount < 0);
        let fee = taken.filter(|moved| moved.currency.eq_ignore_ascii_case(currency.code()));
        let fee = fee.map_or(0, |moved| moved.fee.max(0));
        Some(DisputeRow {
            reference: ProviderRef::new(&self.id)?,
            payment: self.payment_intent.as_deref().and_then(ProviderRef::new),
            state,
            amount: amount::from_wire(self.amount, currency)?,
            fee: amount::from_wire(fee, currency)?,
            currency,
            created: seconds(self.created),
        })
    }
}

impl BalanceBody {
    /// What was kept of it, if anything; what a dispute costs is the dispute's to say.
    pub(crate) fn row(&self) -> Option<FeeRow> {
        let currency = Currency::new(&self.currency.to_ascii_uppercase()).ok()?;
        let fee = match self.kind.as_str() {
            "charge" | "payment" | "refund" | "payment_refund" => self.fee,
            "stripe_fee" => self.amount.checked_neg()?,
            _ => 0,
        };
        let fee = amount::from_wire(fee, currency).filter(|fee| *fee > 0)?;
        let reference = ProviderRef::new(&self.id)?;
        Some(FeeRow { reference, fee, currency, created: seconds(self.created) })
    }
}

/// What Stripe says of one dispute; `None` when it knows none of that name.
///
/// # Errors
/// In words, when the answer makes no sense.
pub(crate) fn dispute(status: u16, body: &[u8]) -> Result<Option<DisputeRow>, String> {
    match status {
        404 => Ok(None),
        200 => {
            let dispute: DisputeBody =
                serde_json::from_slice(body).map_err(|error| error.to_string())?;
            dispute.row().map(Some).ok_or_else(|| format!("the amounts of {}", dispute.id))
        }
        other => Err(format!("status {other}")),
    }
}

impl Stamped for DisputeBody {
    fn id(&self) -> &str {
        &self.id
    }

    fn created(&self) -> Timestamp {
        seconds(self.created)
    }
}

impl Stamped for BalanceBody {
    fn id(&self) -> &str {
        &self.id
    }

    fn created(&self) -> Timestamp {
        seconds(self.created)
    }
}

impl RefundBody {
    /// Old servers make a refund without a payment of the part of a hold that was not captured.
    pub(crate) fn is_of_a_payment(&self) -> bool {
        self.payment_intent.is_some()
    }
}

impl Stamped for RefundBody {
    fn id(&self) -> &str {
        &self.id
    }

    fn created(&self) -> Timestamp {
        seconds(self.created)
    }
}

impl Listed for RefundBody {
    fn row(&self) -> Option<ProviderRow> {
        let currency = Currency::new(&self.currency.to_ascii_uppercase()).ok()?;
        let amount = amount::from_wire(self.amount, currency)?;
        let state = match self.status.as_deref() {
            Some("succeeded") => RowState::Done,
            Some("failed" | "canceled") => RowState::Void,
            _ => RowState::Reserved,
        };
        Some(ProviderRow {
            kind: RowKind::Refund,
            reference: ProviderRef::new(&self.id)?,
            payment: ProviderRef::new(self.payment_intent.as_deref()?)?,
            operation: mark(self.metadata.as_ref(), OPERATION_FIELD),
            state,
            amount,
            moved: if state == RowState::Done { amount } else { 0 },
            currency,
            created: self.created(),
        })
    }
}
