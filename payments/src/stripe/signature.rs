//! Who sent a message: `Stripe-Signature: t=1700000000,v1=<hex>,v1=<hex>`, each `v1` being HMAC-SHA256 of
//! `t`, a dot and the body. Several secrets are tried, so that one can be replaced while messages flow.

use crate::error::WebhookError;
use crate::operation::{OperationId, ProviderRef};
use crate::webhook::{BODY_BYTES_MAX, Topic, WebhookEvent};
use hmac::{Hmac, Mac};
use novax_model::{Duration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use std::collections::BTreeMap;

/// The most signatures of a header that are tried.
const SIGNATURES_MAX: usize = 8;

/// Checks sender, age and content.
///
/// # Errors
/// [`WebhookError`], the first that applies.
pub fn verify(
    secrets: &[String],
    tolerance: Duration,
    header: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<WebhookEvent, WebhookError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(WebhookError::TooLong);
    }
    let (time, signatures) = parse_header(header)?;
    let fits = |secret: &String| {
        // An empty secret would let anybody sign.
        let mac = if secret.is_empty() { None } else { Some(mac(secret, time, body)) };
        let fits = |signature: &Vec<u8>| {
            mac.as_ref().is_some_and(|mac| mac.clone().verify_slice(signature).is_ok())
        };
        signatures.iter().any(fits)
    };
    if !secrets.iter().any(fits) {
        return Err(WebhookError::Signature);
    }
    let sent =
        Timestamp::from_millis(time.parse::<u64>().map_err(|_| WebhookError::Header)? * 1000);
    if now.since(sent) > tolerance || sent.since(now) > tolerance {
        return Err(WebhookError::Time);
    }
    event(body)
}

/// The signature's header for a body: what Stripe sends, and what tests and our own mock do.
#[must_use]
pub fn sign(secret: &str, time_s: u64, body: &[u8]) -> String {
    let time = time_s.to_string();
    let mut header = format!("t={time},v1=");
    for byte in mac(secret, &time, body).finalize().into_bytes() {
        header.push_str(&format!("{byte:02x}"));
    }
    header
}

fn mac(secret: &str, time: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length of key fits");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

/// The time, as its digits were signed, and the signatures.
fn parse_header(header: &str) -> Result<(&str, Vec<Vec<u8>>), WebhookError> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", digits)) if time.is_none() => time = Some(digits),
            Some(("t", _)) | None => return Err(WebhookError::Header),
            Some(("v1", hex)) if signatures.len() < SIGNATURES_MAX => signatures.extend(bytes(hex)),
            // Other schemes are for other readers.
            Some(_) => {}
        }
    }
    // Eleven digits of seconds last for three thousand years and cannot overflow as microseconds.
    let plain = |digits: &&str| {
        (1..=11).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let time = time.filter(plain).ok_or(WebhookError::Header)?;
    Ok((time, signatures))
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    if digits.len() != 64 {
        return None;
    }
    digits.chunks(2).map(pair).collect()
}

#[derive(Deserialize)]
struct EventBody<'a> {
    id: String,
    #[serde(rename = "type")]
    name: String,
    created: u64,
    #[serde(borrow)]
    data: EventData<'a>,
}

#[derive(Deserialize)]
struct EventData<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
}

/// What we need of an event's object; every kind of object has other fields.
#[derive(Deserialize, Default)]
struct EventObject {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    payment_intent: Option<String>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
}

fn event(body: &[u8]) -> Result<WebhookEvent, WebhookError> {
    let body: EventBody<'_> = serde_json::from_slice(body).map_err(|_| WebhookError::Nonsense)?;
    if body.id.is_empty() || body.id.len() > ProviderRef::BYTES_MAX || body.name.len() > 100 {
        return Err(WebhookError::Nonsense);
    }
    let topic = match body.name.split('.').collect::<Vec<_>>()[..] {
        ["charge", "dispute", ..] => Topic::Dispute,
        ["refund", ..] | ["charge", "refunded"] | ["charge", "refund", ..] => Topic::Refund,
        ["payment_intent" | "charge", ..] => Topic::Payment,
        _ => Topic::Other,
    };
    // An event of no concern may hold anything.
    let object = match (serde_json::from_str::<EventObject>(body.data.object.get()), &topic) {
        (Ok(object), _) => object,
        (Err(_), Topic::Other) => EventObject::default(),
        (Err(_), _) => return Err(WebhookError::Nonsense),
    };
    let named = object.id.as_deref().and_then(ProviderRef::new);
    let own = object.id.filter(|id| id.starts_with("pi_"));
    let payment = own.or(object.payment_intent).and_then(|text| ProviderRef::new(&text));
    let fields = object.metadata.unwrap_or_default();
    let operation =
        fields.get(super::codec::OPERATION_FIELD).and_then(|text| OperationId::parse(text));
    Ok(WebhookEvent {
        id: body.id.into(),
        name: body.name.into(),
        topic,
        payment,
        object: named,
        operation,
        created: Timestamp::from_millis(body.created.saturating_mul(1000)),
    })
}
