//! From OCPP messages to what the hub should do, and back.
//!
//! One file per version maps typed messages to [`Intent`]s and outcomes to answers; the shard knows
//! intents only. Nothing here holds state or does I/O.

mod signed;
pub mod v16;
pub mod v201;

use crate::port::StationCall;
use novax_charging::{
    Answer, ConnectorStatus, Outcome, Protocol, Signed, StationCommand, TransactionRef,
};
use novax_model::{ConnectorRef, MeterTick, Timestamp, TokenUid, WattHours};
use novax_wire::ocpp::{CallError, Version};
use serde_json::value::RawValue;

/// What a station's call asks of the hub.
#[derive(Debug, Clone)]
pub enum Intent {
    /// The answer needs nothing from the state: its payload.
    Answer(Box<RawValue>),
    /// BootNotification.
    Boot {
        /// Vendor name.
        vendor: String,
        /// Model name.
        model: String,
        /// Firmware version.
        firmware: String,
        /// Serial number.
        serial: String,
    },
    /// StatusNotification.
    Status {
        /// Which connector.
        connector: ConnectorRef,
        /// Its state.
        status: ConnectorStatus,
        /// Its error code; empty for none.
        error: String,
        /// When.
        at: Timestamp,
    },
    /// Authorize.
    Authorize {
        /// What was shown.
        token: TokenUid,
    },
    /// 1.6 StartTransaction.
    Start(StartIntent),
    /// 1.6 StopTransaction.
    End(EndIntent),
    /// MeterValues, or a 2.0.1 TransactionEvent without news but values.
    Meter {
        /// Which connector.
        connector: ConnectorRef,
        /// The values.
        ticks: Vec<MeterTick>,
    },
    /// 2.0.1 TransactionEvent: what it means depends on what is known of the transaction.
    TransactionEvent(TransactionEvent),
    /// 2.0.1 NotifyReport.
    Report {
        /// Of which GetBaseReport.
        request_id: i32,
        /// More to come.
        to_be_continued: bool,
        /// The `reportData` array as it was written; empty for none.
        data: String,
    },
}

impl Intent {
    /// An answer that needs nothing from the state.
    pub(crate) fn answer(payload: &impl serde::Serialize) -> Intent {
        Intent::Answer(serde_json::value::to_raw_value(payload).expect("messages are plain data"))
    }
}

/// A transaction that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartIntent {
    /// Where.
    pub connector: ConnectorRef,
    /// 2.x: the station's id.
    pub transaction: Option<TransactionRef>,
    /// 2.x: remoteStartId.
    pub remote_start_id: Option<i32>,
    /// What was shown.
    pub token: TokenUid,
    /// Register at the start, when the station said it.
    pub meter_start: Option<WattHours>,
    /// By the station's clock.
    pub at: Timestamp,
}

/// A transaction that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndIntent {
    /// As the station names it.
    pub transaction: TransactionRef,
    /// Register at the end.
    pub meter_stop: Option<WattHours>,
    /// By the station's clock.
    pub at: Timestamp,
    /// Its reason.
    pub reason: String,
    /// Values that came with it.
    pub ticks: Vec<MeterTick>,
    /// What the meter signed.
    pub signed: Option<Box<Signed>>,
}

/// What a 2.0.1 TransactionEvent says of its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionEvent {
    /// Started, Updated or Ended.
    pub phase: Phase,
    /// The station's id of the transaction.
    pub transaction: TransactionRef,
    /// Where, when it says so.
    pub connector: Option<ConnectorRef>,
    /// What was shown, when it says so.
    pub token: Option<TokenUid>,
    /// remoteStartId, when it says so.
    pub remote_start_id: Option<i32>,
    /// By the station's clock.
    pub at: Timestamp,
    /// Values that came with it, in order.
    pub ticks: Vec<MeterTick>,
    /// stoppedReason; empty for none.
    pub reason: String,
    /// What the meter signed.
    pub signed: Option<Box<Signed>>,
}

/// The eventType of a TransactionEvent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The first.
    Started,
    /// In between.
    Updated,
    /// The last.
    Ended,
}

/// Which answer a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// An empty object.
    Empty,
    /// BootNotification.
    Boot,
    /// Authorize.
    Authorize,
    /// 1.6 StartTransaction.
    Start,
    /// 1.6 StopTransaction.
    Stop,
    /// 2.0.1 TransactionEvent; with idTokenInfo when the event showed a token.
    TransactionEvent {
        /// Whether to say something about the token.
        token: bool,
    },
}

/// What the answers need to know besides the outcome.
#[derive(Debug, Clone, Copy)]
pub struct ReplyContext {
    /// The hub's time.
    pub now: Timestamp,
    /// Seconds between heartbeats, or between boot attempts of a pending station.
    pub heartbeat_interval_s: u32,
}

/// Reads a call.
///
/// # Errors
/// [`CallError`] with the CALLERROR the standard asks for.
pub fn read_call(
    protocol: Protocol,
    action: &str,
    payload: &str,
    context: &ReplyContext,
) -> Result<Intent, CallError> {
    match protocol {
        Protocol::V16 => v16::read_call(action, payload, context),
        Protocol::V201 => v201::read_call(action, payload, context),
    }
}

/// Writes the CALLRESULT to call `id`.
pub fn write_reply(
    protocol: Protocol,
    id: &str,
    kind: ReplyKind,
    outcome: &Outcome,
    context: &ReplyContext,
    out: &mut Vec<u8>,
) {
    match protocol {
        Protocol::V16 => v16::write_reply(id, kind, outcome, context, out),
        Protocol::V201 => v201::write_reply(id, kind, outcome, context, out),
    }
}

/// A call to a station, ready to be sent.
#[derive(Debug)]
pub struct OutgoingCall {
    /// OCPP action.
    pub action: &'static str,
    /// JSON payload.
    pub payload: Box<RawValue>,
}

impl OutgoingCall {
    fn new(action: &'static str, payload: &impl serde::Serialize) -> OutgoingCall {
        let payload = serde_json::value::to_raw_value(payload).expect("messages are plain data");
        OutgoingCall { action, payload }
    }
}

/// The call of a command from the outbox.
#[must_use]
pub fn write_command(protocol: Protocol, command: &StationCommand) -> OutgoingCall {
    match protocol {
        Protocol::V16 => v16::write_command(command),
        Protocol::V201 => v201::write_command(command),
    }
}

/// An admin's call; `None` when the version has no such call, or no such word in it.
#[must_use]
pub fn write_call(protocol: Protocol, call: &StationCall, request_id: i32) -> Option<OutgoingCall> {
    match protocol {
        Protocol::V16 => v16::write_call(call, request_id),
        Protocol::V201 => v201::write_call(call, request_id),
    }
}

/// The version as the codecs call it.
#[must_use]
pub fn version(protocol: Protocol) -> Version {
    match protocol {
        Protocol::V16 => Version::V16,
        Protocol::V201 => Version::V201,
    }
}

/// What was shown as a token. Texts no token can have become one that nobody owns.
#[must_use]
pub fn token(text: &str) -> TokenUid {
    TokenUid::new(text).unwrap_or_else(|_| TokenUid::new("!invalid").expect("a valid token"))
}

/// What the payload of a CALLRESULT to an outbox command means: its `status`, in both versions.
#[must_use]
pub fn read_answer(payload: &str) -> Answer {
    #[derive(serde::Deserialize)]
    struct Status<'a> {
        #[serde(borrow)]
        status: std::borrow::Cow<'a, str>,
    }
    match serde_json::from_str::<Status<'_>>(payload) {
        Ok(answer) if answer.status == "Accepted" => Answer::Accepted,
        Ok(answer) => Answer::Rejected(bounded(&answer.status).into()),
        Err(_) => Answer::Rejected("malformed answer".into()),
    }
}

/// Foreign text that goes into the log is kept short.
#[must_use]
pub fn bounded(text: &str) -> &str {
    const LEN_MAX: usize = 100;
    let mut end = text.len().min(LEN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_other_than_accepted_is_a_no_in_the_stations_words() {
        assert_eq!(read_answer(r#"{"status":"Accepted"}"#), Answer::Accepted);
        assert_eq!(
            read_answer(r#"{"status":"NotSupported"}"#),
            Answer::Rejected("NotSupported".into())
        );
        assert_eq!(read_answer("{}"), Answer::Rejected("malformed answer".into()));
    }

    #[test]
    fn foreign_text_is_cut_at_a_character() {
        let text = "ä".repeat(80);
        assert_eq!(bounded(&text).len(), 100);
        assert_eq!(bounded("short"), "short");
    }
}
