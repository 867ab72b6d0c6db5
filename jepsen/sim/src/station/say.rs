//! What a station tells the hub, in the words of its version, and what an answer says.

use crate::truth::Transaction;
use serde_json::{Value, json};

/// The version a station speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// OCPP 1.6J.
    V16,
    /// OCPP 2.0.1.
    V201,
}

impl Version {
    /// The subprotocol's name.
    #[must_use]
    pub fn subprotocol(self) -> &'static str {
        match self {
            Version::V16 => "ocpp1.6",
            Version::V201 => "ocpp2.0.1",
        }
    }
}

/// A message that is to be told until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Say {
    Boot,
    Heartbeat,
    Status {
        evse: u16,
        word: &'static str,
        at: String,
    },
    Start {
        transaction: usize,
        number: u32,
    },
    Meter {
        transaction: usize,
        number: u32,
        at: String,
        register: i64,
    },
    Stop {
        transaction: usize,
        number: u32,
        reason: &'static str,
    },
    /// Nothing the standard knows.
    Nonsense,
}

impl Say {
    /// Whether it may be dropped when the memory is full.
    pub(super) fn is_periodic(&self) -> bool {
        matches!(self, Say::Meter { .. } | Say::Heartbeat | Say::Status { .. })
    }
}

/// Action and payload.
pub(super) fn write(
    version: Version,
    say: &Say,
    transactions: &[Transaction],
    token: impl Fn(usize) -> String,
) -> (&'static str, Value) {
    match (version, say) {
        (_, Say::Heartbeat) => ("Heartbeat", json!({})),
        (_, Say::Nonsense) => ("MakeCoffee", json!({"cups": 2})),
        (Version::V16, Say::Boot) => {
            ("BootNotification", json!({"chargePointVendor": "Sim", "chargePointModel": "One"}))
        }
        (Version::V201, Say::Boot) => (
            "BootNotification",
            json!({"reason": "PowerUp", "chargingStation": {"vendorName": "Sim", "model": "Two"}}),
        ),
        (Version::V16, Say::Status { evse, word, at }) => (
            "StatusNotification",
            json!({"connectorId": evse, "errorCode": "NoError", "status": word, "timestamp": at}),
        ),
        (Version::V201, Say::Status { evse, word, at }) => {
            let word = if *word == "Available" { "Available" } else { "Occupied" };
            (
                "StatusNotification",
                json!({"timestamp": at, "connectorStatus": word, "evseId": evse, "connectorId": 1}),
            )
        }
        (version, Say::Start { transaction, number }) => {
            let of = &transactions[*transaction];
            start(version, of, *number, &token(of.driver))
        }
        (version, Say::Meter { transaction, number, at, register }) => {
            meter(version, &transactions[*transaction], *number, at, *register)
        }
        (version, Say::Stop { transaction, number, reason }) => {
            stop(version, &transactions[*transaction], *number, reason)
        }
    }
}

fn start(version: Version, of: &Transaction, number: u32, token: &str) -> (&'static str, Value) {
    if version == Version::V16 {
        let payload = json!({
            "connectorId": of.evse, "idTag": token, "meterStart": of.meter_start, "timestamp": of.at,
        });
        return ("StartTransaction", payload);
    }
    let mut payload = event(of, "Started", &of.at, number, of.meter_start);
    payload["idToken"] = json!({"idToken": token, "type": "ISO14443"});
    payload["evse"] = json!({"id": of.evse, "connectorId": 1});
    payload["transactionInfo"]["chargingState"] = "Charging".into();
    if let Some(id) = of.remote_start_id {
        payload["transactionInfo"]["remoteStartId"] = id.into();
    }
    ("TransactionEvent", payload)
}

fn meter(
    version: Version,
    of: &Transaction,
    number: u32,
    at: &str,
    register: i64,
) -> (&'static str, Value) {
    if version == Version::V16 {
        let payload = json!({
            "connectorId": of.evse, "transactionId": number_of(of),
            "meterValue": [{"timestamp": at, "sampledValue": [
                {"value": register.to_string(), "measurand": "Energy.Active.Import.Register",
                    "unit": "Wh"},
                {"value": "11000", "measurand": "Power.Active.Import", "unit": "W"},
            ]}],
        });
        return ("MeterValues", payload);
    }
    ("TransactionEvent", event(of, "Updated", at, number, register))
}

fn stop(version: Version, of: &Transaction, number: u32, reason: &str) -> (&'static str, Value) {
    let register = of.meter_stop.expect("a transaction that is over");
    if version == Version::V16 {
        let payload = json!({
            "transactionId": number_of(of), "meterStop": register, "timestamp": of.ended,
            "reason": reason,
        });
        return ("StopTransaction", payload);
    }
    let mut payload = event(of, "Ended", &of.ended, number, register);
    payload["transactionInfo"]["stoppedReason"] = reason.into();
    ("TransactionEvent", payload)
}

/// 1.6: the hub's number for a transaction; -1 when it never said one.
fn number_of(of: &Transaction) -> i64 {
    of.started.as_ref().and_then(|(name, _)| name.parse().ok()).unwrap_or(-1)
}

fn event(of: &Transaction, kind: &str, at: &str, number: u32, register: i64) -> Value {
    json!({
        "eventType": kind, "timestamp": at, "triggerReason": "Trigger", "seqNo": number,
        "transactionInfo": {"transactionId": of.name},
        "meterValue": [{"timestamp": at, "sampledValue": [
            {"value": register, "measurand": "Energy.Active.Import.Register",
                "unitOfMeasure": {"unit": "Wh"}},
        ]}],
    })
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("none").to_owned()
}

/// What the answer to a start says: the transaction's name, and whether it is allowed.
pub(super) fn read_start(version: Version, of: &Transaction, answer: &Value) -> (String, String) {
    match version {
        Version::V16 => {
            let name = answer["transactionId"].to_string();
            (name, word(&answer["idTagInfo"]["status"]))
        }
        Version::V201 => {
            let name = of.name.clone().unwrap_or_default();
            (name, word(&answer["idTokenInfo"]["status"]))
        }
    }
}
