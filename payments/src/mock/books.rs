//! The books of a pretended Stripe: what each request does to them, and what it answers. No I/O.
//!
//! Written from Stripe's documentation and on its own: it shares no type with the client it is to test.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// `pi_...`
    pub id: String,
    /// `requires_capture` and so on.
    pub status: String,
    /// Reserved.
    pub amount: u64,
    /// Taken.
    pub received: u64,
    /// In small letters.
    pub currency: String,
    /// The card, which decides how it behaves.
    pub method: String,
    /// What the requests left on it.
    pub metadata: BTreeMap<String, String>,
    /// How often money was taken of it: more than once is a failure of who asked.
    pub captures: u32,
    created_s: u64,
    cancellation_reason: Option<String>,
    error: Value,
}

/// A refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidBack {
    /// `re_...`
    pub id: String,
    /// Of which payment.
    pub payment: String,
    /// How much.
    pub amount: u64,
    /// What the requests left on it.
    pub metadata: BTreeMap<String, String>,
    currency: String,
    created_s: u64,
}

/// A dispute of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disputed {
    /// `du_...`
    pub id: String,
    /// Which payment.
    pub payment: String,
    /// `needs_response`, `won` or `lost`.
    pub status: String,
    /// How much of it.
    pub amount: u64,
    /// What the trouble costs.
    pub fee: u64,
    currency: String,
    created_s: u64,
}

/// A movement on the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// `txn_...`
    pub id: String,
    /// `charge`, `adjustment` and so on.
    pub kind: String,
    /// How much came.
    pub amount: i64,
    /// What was kept of it.
    pub fee: u64,
    currency: String,
    created_s: u64,
}

/// An answer: status and body.
pub(crate) type Answer = (u16, Value);

/// All there is.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// By name; names rise in the order they were made.
    pub payments: BTreeMap<String, Payment>,
    /// In the order they were made.
    pub refunds: Vec<PaidBack>,
    /// In the order they were opened.
    pub disputes: Vec<Disputed>,
    /// In the order they came.
    pub moved: Vec<Moved>,
    /// How many requests had an effect, or were refused for good.
    pub effects: u64,
    /// How many were answered from memory, for their key had been used.
    pub replays: u64,
    keys: BTreeMap<String, (String, Answer)>,
    pub(crate) events: Vec<Value>,
    named: u64,
}

fn error(status: u16, kind: &str, code: &str, message: &str) -> Answer {
    (status, json!({"error": {"type": kind, "code": code, "message": message}}))
}

fn declined(decline: &str) -> Value {
    let code = match decline {
        "authentication_required" => decline,
        _ => "card_declined",
    };
    json!({"type": "card_error", "code": code, "decline_code": decline, "message": "Your card was declined."})
}

fn wrong(message: &str) -> Answer {
    error(400, "invalid_request_error", "parameter_invalid", message)
}

fn state_error() -> Answer {
    error(400, "invalid_request_error", "payment_intent_unexpected_state", "not in this state")
}

/// The fields of a form, and those in `metadata[...]`.
#[derive(Default)]
pub(crate) struct Fields {
    pub(crate) plain: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Fields {
    fn number(&self, name: &str) -> Option<u64> {
        self.plain.get(name).and_then(|text| text.parse().ok())
    }

    fn text(&self, name: &str) -> &str {
        self.plain.get(name).map_or("", String::as_str)
    }
}

impl Books {
    /// Does what a request asks, unless its key was used: then the answer is the first one's.
    pub(crate) fn post(
        &mut self,
        path: &[&str],
        key: &str,
        text: &str,
        fields: &Fields,
        now_s: u64,
    ) -> Answer {
        let whole = format!("{} {text}", path.join("/"));
        if let Some((used_for, answer)) = self.keys.get(key) {
            if *used_for != whole {
                return error(400, "idempotency_error", "idempotency_error", "key used otherwise");
            }
            self.replays += 1;
            return answer.clone();
        }
        self.effects += 1;
        let answer = match path {
            ["payment_intents"] => self.create(fields, now_s),
            ["payment_intents", id, "capture"] => self.capture(id, fields, now_s),
            ["payment_intents", id, "cancel"] => self.cancel(id, "requested_by_customer", now_s),
            ["payment_intents", id, "increment_authorization"] => self.increment(id, fields, now_s),
            ["refunds"] => self.refund(fields, now_s),
            _ => error(404, "invalid_request_error", "url_invalid", "no such address"),
        };
        self.remember(key, &whole, &answer);
        answer
    }

    /// Keeps an answer, so that the same request is not done again.
    fn remember(&mut self, key: &str, whole: &str, answer: &Answer) {
        if !key.is_empty() {
            self.keys.insert(key.to_owned(), (whole.to_owned(), answer.clone()));
        }
    }

    /// A failure of the server that it will repeat to whoever sends the same key.
    pub(crate) fn stick(&mut self, path: &[&str], key: &str, text: &str) -> Answer {
        let answer = error(500, "api_error", "", "Something went wrong.");
        let whole = format!("{} {text}", path.join("/"));
        if !self.keys.contains_key(key) {
            self.remember(key, &whole, &answer);
        }
        answer
    }

    fn name(&mut self, prefix: &str) -> String {
        self.named += 1;
        format!("{prefix}_{:08}", self.named)
    }

    fn create(&mut self, fields: &Fields, now_s: u64) -> Answer {
        let amount = fields.number("amount").filter(|amount| *amount > 0);
        let (Some(amount), 3) = (amount, fields.text("currency").len()) else {
            return wrong("amount or currency");
        };
        let manual = fields.text("capture_method") == "manual" && fields.text("confirm") == "true";
        if !manual {
            return wrong("this server holds first and takes later");
        }
        let off_session = fields.text("off_session") == "true";
        let (status, failure) = match fields.text("payment_method") {
            "pm_card_chargeDeclined" => ("requires_payment_method", declined("generic_decline")),
            "pm_card_chargeDeclinedInsufficientFunds" => {
                ("requires_payment_method", declined("insufficient_funds"))
            }
            "pm_card_authenticationRequired" if off_session => {
                ("requires_payment_method", declined("authentication_required"))
            }
            "pm_card_authenticationRequired" => ("requires_action", Value::Null),
            name if name.starts_with("pm_card_") => ("requires_capture", Value::Null),
            _ => return error(400, "invalid_request_error", "resource_missing", "no such card"),
        };
        let id = self.name("pi");
        let payment = Payment {
            id: id.clone(),
            status: status.into(),
            amount,
            received: 0,
            currency: fields.text("currency").into(),
            method: fields.text("payment_method").into(),
            metadata: fields.metadata.clone(),
            captures: 0,
            created_s: now_s,
            cancellation_reason: None,
            error: failure.clone(),
        };
        let shown = payment.shown();
        self.payments.insert(id.clone(), payment);
        let name = match status {
            "requires_capture" => "payment_intent.amount_capturable_updated",
            "requires_action" => "payment_intent.requires_action",
            _ => "payment_intent.payment_failed",
        };
        self.tell(name, &shown, now_s);
        if failure.is_null() { (200, shown) } else { (402, json!({ "error": failure })) }
    }

    /// Changes a payment that is held; says what it is after.
    fn change(
        &mut self,
        id: &str,
        event: &str,
        now_s: u64,
        change: impl FnOnce(&mut Payment) -> Result<(), Answer>,
    ) -> Answer {
        let Some(payment) = self.payments.get_mut(id) else {
            return error(404, "invalid_request_error", "resource_missing", "no such payment");
        };
        if let Err(answer) = change(payment) {
            return answer;
        }
        assert!(payment.received <= payment.amount, "never more is taken than was held");
        let shown = payment.shown();
        self.tell(event, &shown, now_s);
        (200, shown)
    }

    fn capture(&mut self, id: &str, fields: &Fields, now_s: u64) -> Answer {
        self.change(id, "payment_intent.succeeded", now_s, |payment| {
            let amount = fields.number("amount_to_capture").unwrap_or(payment.amount);
            if payment.status != "requires_capture" {
                return Err(state_error());
            }
            if amount == 0 || amount > payment.amount {
                return Err(error(400, "invalid_request_error", "amount_too_large", "too much"));
            }
            if payment.method == "pm_card_noPartialCapture" && amount < payment.amount {
                let words = "This card cannot be captured in part.";
                return Err(error(400, "invalid_request_error", "not_supported", words));
            }
            payment.status = "succeeded".into();
            payment.received = amount;
            payment.captures += 1;
            Ok(())
        })
    }

    /// Gives a hold back: asked to, or because it lapsed.
    pub(crate) fn cancel(&mut self, id: &str, reason: &str, now_s: u64) -> Answer {
        self.change(id, "payment_intent.canceled", now_s, |payment| {
            if matches!(payment.status.as_str(), "succeeded" | "canceled") {
                return Err(state_error());
            }
            payment.status = "canceled".into();
            payment.cancellation_reason = Some(reason.into());
            Ok(())
        })
    }

    /// The payer proves who they are, or fails to.
    pub(crate) fn authenticate(&mut self, id: &str, passed: bool, now_s: u64) -> Answer {
        self.change(id, "payment_intent.amount_capturable_updated", now_s, |payment| {
            if payment.status != "requires_action" {
                return Err(state_error());
            }
            let (status, failure) = if passed {
                ("requires_capture", Value::Null)
            } else {
                ("requires_payment_method", declined("authentication_required"))
            };
            payment.status = status.into();
            payment.error = failure;
            Ok(())
        })
    }

    fn increment(&mut self, id: &str, fields: &Fields, now_s: u64) -> Answer {
        self.change(id, "payment_intent.amount_capturable_updated", now_s, |payment| {
            let amount = fields.number("amount").unwrap_or(0);
            if payment.status != "requires_capture" {
                return Err(state_error());
            }
            if payment.method == "pm_card_noIncrement" {
                return Err(wrong("This payment is not eligible for incremental authorization."));
            }
            if payment.method == "pm_card_incrementDeclined" {
                return Err((402, json!({ "error": declined("insufficient_funds") })));
            }
            if amount <= payment.amount {
                return Err(wrong("The new amount must be greater."));
            }
            payment.amount = amount;
            payment.metadata.extend(fields.metadata.clone());
            Ok(())
        })
    }

    fn refund(&mut self, fields: &Fields, now_s: u64) -> Answer {
        let payment = fields.text("payment_intent");
        let Some(paid) = self.payments.get(payment) else {
            return error(404, "invalid_request_error", "resource_missing", "no such payment");
        };
        let before: u64 = self.refunded(payment);
        let amount = fields.number("amount").unwrap_or(paid.received - before);
        if amount == 0 || before + amount > paid.received {
            let words = "Refund amount is greater than what is left.";
            return error(400, "invalid_request_error", "amount_too_large", words);
        }
        let currency = paid.currency.clone();
        let refund = PaidBack {
            id: self.name("re"),
            payment: payment.into(),
            amount,
            metadata: fields.metadata.clone(),
            currency,
            created_s: now_s,
        };
        let shown = refund.shown();
        self.refunds.push(refund);
        self.tell("refund.created", &shown, now_s);
        (200, shown)
    }

    /// What was paid back of a payment.
    #[must_use]
    pub fn refunded(&self, payment: &str) -> u64 {
        let of_it = self.refunds.iter().filter(|refund| refund.payment == payment);
        of_it.map(|refund| refund.amount).sum()
    }

    /// The payer's bank takes a payment back.
    pub(crate) fn dispute(&mut self, payment: &str, fee: u64, now_s: u64) -> Option<String> {
        let paid = self.payments.get(payment).filter(|paid| paid.received > 0)?;
        let (amount, currency) = (paid.received, paid.currency.clone());
        let id = self.name("du");
        let (payment, status) = (payment.to_owned(), "needs_response".to_owned());
        let created_s = now_s;
        let dispute =
            Disputed { id: id.clone(), payment, status, amount, fee, currency, created_s };
        let shown = dispute.shown();
        self.disputes.push(dispute);
        self.tell("charge.dispute.created", &shown, now_s);
        Some(id)
    }

    /// It is decided.
    pub(crate) fn decide(&mut self, dispute: &str, won: bool, now_s: u64) -> bool {
        let Some(found) = self.disputes.iter_mut().find(|found| found.id == dispute) else {
            return false;
        };
        found.status = if won { "won" } else { "lost" }.to_owned();
        let shown = found.shown();
        self.tell("charge.dispute.closed", &shown, now_s);
        true
    }

    /// Something is kept of what a payment brought.
    pub(crate) fn keep_fee(&mut self, payment: &str, fee: u64, now_s: u64) -> Option<String> {
        let paid = self.payments.get(payment).filter(|paid| paid.received > 0)?;
        let (amount, currency) = (i64::try_from(paid.received).ok()?, paid.currency.clone());
        let (id, kind) = (self.name("txn"), "charge".to_owned());
        let created_s = now_s;
        self.moved.push(Moved { id: id.clone(), kind, amount, fee, currency, created_s });
        Some(id)
    }

    fn tell(&mut self, name: &str, object: &Value, now_s: u64) {
        let id = self.name("evt");
        self.events.push(json!({
            "id": id, "object": "event", "type": name, "created": now_s, "data": {"object": object},
        }));
    }

    /// Answers a question.
    pub(crate) fn get(&self, path: &[&str], fields: &Fields) -> Answer {
        let payments = || self.payments.values().rev().map(Payment::shown);
        let refunds = || self.refunds.iter().rev().map(PaidBack::shown);
        match path {
            ["payment_intents", id] => match self.payments.get(*id) {
                Some(payment) => (200, payment.shown()),
                None => error(404, "invalid_request_error", "resource_missing", "no such payment"),
            },
            ["payment_intents"] => (200, page(payments(), fields)),
            ["refunds"] => {
                let of = fields.text("payment_intent").to_owned();
                let ours = refunds().filter(|row| of.is_empty() || row["payment_intent"] == of);
                (200, page(ours, fields))
            }
            ["disputes", id] => match self.disputes.iter().find(|found| found.id == *id) {
                Some(dispute) => (200, dispute.shown()),
                None => error(404, "invalid_request_error", "resource_missing", "no such dispute"),
            },
            ["disputes"] => (200, page(self.disputes.iter().rev().map(Disputed::shown), fields)),
            ["balance_transactions"] => {
                (200, page(self.moved.iter().rev().map(Moved::shown), fields))
            }
            _ => error(404, "invalid_request_error", "url_invalid", "no such address"),
        }
    }
}

/// One page of a list, newest first.
fn page(rows: impl Iterator<Item = Value>, fields: &Fields) -> Value {
    let from = fields.number("created[gte]").unwrap_or(0);
    let limit = usize::try_from(fields.number("limit").unwrap_or(10)).unwrap_or(100).min(100);
    let mut rows: Vec<Value> =
        rows.filter(|row| row["created"].as_u64().is_some_and(|created| created >= from)).collect();
    if let Some(after) = fields.plain.get("starting_after") {
        let place = rows.iter().position(|row| row["id"] == after.as_str());
        rows.drain(..place.map_or(rows.len(), |place| place + 1));
    }
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    json!({"object": "list", "has_more": has_more, "data": rows})
}

impl Payment {
    fn shown(&self) -> Value {
        json!({
            "id": self.id, "object": "payment_intent", "status": self.status, "amount": self.amount,
            "amount_received": self.received, "currency": self.currency, "created": self.created_s,
            "client_secret": format!("{}_secret", self.id), "metadata": self.metadata,
            "cancellation_reason": self.cancellation_reason, "last_payment_error": self.error,
            "capture_method": "manual", "latest_charge": Value::Null,
        })
    }
}

impl Disputed {
    fn shown(&self) -> Value {
        let mut moved = vec![json!({
            "id": format!("txn_{}", self.id), "object": "balance_transaction", "type": "adjustment",
            "amount": -i64::try_from(self.amount).expect("a sum of money"), "fee": self.fee,
            "currency": self.currency, "created": self.created_s,
        })];
        if self.status == "won" {
            moved.push(json!({
                "id": format!("txn_{}_back", self.id), "object": "balance_transaction",
                "type": "adjustment", "amount": self.amount, "fee": 0,
                "currency": self.currency, "created": self.created_s,
            }));
        }
        json!({
            "id": self.id, "object": "dispute", "status": self.status, "amount": self.amount,
            "currency": self.currency, "created": self.created_s, "payment_intent": self.payment,
            "balance_transactions": moved, "metadata": {},
        })
    }
}

impl Moved {
    fn shown(&self) -> Value {
        json!({
            "id": self.id, "object": "balance_transaction", "type": self.kind, "fee": self.fee,
            "amount": self.amount, "currency": self.currency, "created": self.created_s,
        })
    }
}

impl PaidBack {
    fn shown(&self) -> Value {
        json!({
            "id": self.id, "object": "refund", "status": "succeeded", "amount": self.amount,
            "currency": self.currency, "created": self.created_s, "payment_intent": self.payment,
            "metadata": self.metadata,
        })
    }
}
