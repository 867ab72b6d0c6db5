//! The entry of the fuzz target, here so that plain tests can run its corpus without a fuzzer.
//!
//! An input is three bytes of choices and then what a peer sends. Claims checked on every input, beside
//! that nothing panics: how bytes are cut changes nothing; no more is kept than the limit allows;
//! what reads as a message can be written, and reads back to the same text.

use crate::http;
use crate::ocpp::{self, Frame, Notes, Version, meter, v16, v201};
use crate::ws::{Event, Limits, Receiver, Role, Violation};
use serde::{Deserialize, Serialize};

const MESSAGE_BYTES_MAX: usize = 4096;

/// Runs one input through everything that reads a peer's bytes.
///
/// # Panics
/// When a claim does not hold.
pub fn fuzz_one(data: &[u8]) {
    let Some((&[choice, cut_a, cut_b], stream)) = data.split_first_chunk::<3>() else { return };
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let cuts = [usize::from(cut_a) + 1, usize::from(cut_b) + 1];
    match choice >> 1 & 7 {
        4 => api_request(stream, cuts),
        0 => upgrade_and_frames(stream, cuts),
        1 => frames(stream, role, cuts),
        2 | 6 => text(&String::from_utf8_lossy(stream)),
        _ => client_response(stream),
    }
}

/// A whole connection from its first byte: the head, then frames.
fn upgrade_and_frames(stream: &[u8], cuts: [usize; 2]) {
    let whole = http::parse_upgrade(stream);
    let first_cut = cuts[0].min(stream.len());
    match (http::parse_upgrade(&stream[..first_cut]), &whole) {
        (Ok(None), _) => {}
        // What a prefix settles, the rest must not unsettle.
        (settled, whole) => assert_eq!(&settled, whole),
    }
    let mut out = Vec::new();
    match whole {
        Ok(Some(upgrade)) => {
            http::accept_response(&upgrade.key, Some("ocpp1.6"), &mut out);
            frames(&stream[upgrade.head_len..], Role::Server, cuts);
        }
        Ok(None) => assert!(stream.len() < http::HEAD_BYTES_MAX),
        Err(error) => http::refuse_response(error.status(), &error.to_string(), &[], &mut out),
    }
}

/// Requests behind each other, as an app's socket brings them.
fn api_request(mut stream: &[u8], cuts: [usize; 2]) {
    loop {
        let whole = http::parse_request(stream);
        let cut = cuts[0].min(stream.len());
        match (http::parse_request(&stream[..cut]), &whole) {
            (Ok(None), _) => {}
            // What a prefix settles, the rest must not unsettle.
            (settled, whole) => assert_eq!(&settled, whole),
        }
        match whole {
            Ok(Some(request)) => {
                assert!(
                    request.length <= stream.len() && request.body.len() <= http::BODY_BYTES_MAX
                );
                stream = &stream[request.length..];
            }
            Ok(None) => {
                assert!(stream.len() < http::HEAD_BYTES_MAX + http::BODY_BYTES_MAX);
                return;
            }
            Err(error) => {
                let mut out = Vec::new();
                http::write_response(error.status(), &[], true, b"", &mut out);
                return;
            }
        }
    }
}

fn client_response(stream: &[u8]) {
    match http::parse_client_response(stream, &[7; 16]) {
        Ok(Some(accept)) => assert!(accept.head_len <= stream.len()),
        Ok(None) => assert!(stream.len() < http::HEAD_BYTES_MAX),
        Err(error) => assert!((100..600).contains(&error.status())),
    }
}

/// An event that outlives its input.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

fn receive<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    role: Role,
) -> (Vec<Seen>, Result<(), Violation>) {
    let mut receiver = Receiver::new(role, Limits { message_bytes_max: MESSAGE_BYTES_MAX });
    let (mut seen, mut outcome) = (Vec::new(), Ok(()));
    for piece in pieces {
        let mut piece = piece.to_vec();
        outcome = receiver.receive(&mut piece, &mut |event| {
            seen.push(match event {
                Event::Text(text) => Seen::Text(text.to_owned()),
                Event::Binary(bytes) => Seen::Binary(bytes.to_vec()),
                Event::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                Event::Pong(bytes) => Seen::Pong(bytes.to_vec()),
                Event::Close { code, reason } => Seen::Close(code, reason.to_owned()),
            });
        });
        assert!(receiver.buffered() <= MESSAGE_BYTES_MAX + 14 + 125);
    }
    (seen, outcome)
}

fn frames(stream: &[u8], role: Role, cuts: [usize; 2]) {
    let whole = receive(std::iter::once(stream), role);
    let (mut rest, mut turn) = (stream, 0);
    let pieces = std::iter::from_fn(|| {
        let cut = cuts[turn % 2].min(rest.len());
        turn += 1;
        let (piece, after) = rest.split_at(cut);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(receive(pieces, role), whole, "how bytes are cut changes nothing");
    for event in &whole.0 {
        if let Seen::Text(seen) = event {
            text(seen);
        }
    }
}

fn text(text: &str) {
    match ocpp::parse_frame(text) {
        Ok(Frame::Call { id, action, payload }) => {
            for version in [Version::V16, Version::V201] {
                call(version, &id, &action, payload);
            }
        }
        Ok(Frame::Result { payload, .. }) => {
            response::<v16::StatusResponse<'_>>(payload);
            response::<v16::GetConfigurationResponse<'_>>(payload);
            response::<v16::BootNotificationResponse>(payload);
            response::<v16::StartTransactionResponse<'_>>(payload);
            response::<v201::StatusResponse<'_>>(payload);
            response::<v201::RequestStartTransactionResponse<'_>>(payload);
            response::<v201::GetVariablesResponse<'_>>(payload);
            response::<v201::SetVariablesResponse<'_>>(payload);
            response::<v201::TransactionEventResponse<'_>>(payload);
        }
        Ok(Frame::Error { code, details, .. }) => {
            let _ = ocpp::ErrorCode::parse(&code);
            let _ = ocpp::Json::new(details).expect("details of a frame are JSON");
        }
        Err(error) => {
            let Some(id) = error.id else { return };
            let mut out = Vec::new();
            ocpp::write_error(&id, error.code, &error.description, Version::V16, &mut out);
            assert_frame(&out);
        }
    }
}

/// Reads a call as either side of this version would, and answers it.
fn call(version: Version, id: &str, action: &str, payload: &str) {
    let mut notes = Notes::default();
    let refusals = match version {
        Version::V16 => [
            v16::Request::parse_noting(action, payload, &mut notes).map(|request| {
                match &request {
                    v16::Request::MeterValues(values) => {
                        let _ = meter::readings_v16(&values.meter_value);
                    }
                    v16::Request::StopTransaction(stop) => {
                        let data = stop.transaction_data.as_deref().unwrap_or_default();
                        let _ = meter::readings_v16(data);
                    }
                    _ => {}
                }
                again(&request, |text| to_text(&v16::Request::parse(action, text)));
            }),
            v16::Command::parse(action, payload).map(|command| {
                again(&command, |text| to_text(&v16::Command::parse(action, text)));
            }),
        ],
        Version::V201 => [
            v201::Request::parse_noting(action, payload, &mut notes).map(|request| {
                match &request {
                    v201::Request::MeterValues(values) => {
                        let _ = meter::readings_v201(&values.meter_value);
                    }
                    v201::Request::TransactionEvent(event) => {
                        let values = event.meter_value.as_deref().unwrap_or_default();
                        let _ = meter::readings_v201(values);
                    }
                    _ => {}
                }
                again(&request, |text| to_text(&v201::Request::parse(action, text)));
            }),
            v201::Command::parse(action, payload).map(|command| {
                again(&command, |text| to_text(&v201::Command::parse(action, text)));
            }),
        ],
    };
    for refusal in refusals.into_iter().filter_map(Result::err) {
        let mut out = Vec::new();
        ocpp::write_error(id, refusal.code, &refusal.description, version, &mut out);
        assert_frame(&out);
    }
}

fn response<'a, T: Deserialize<'a> + Serialize>(payload: &'a str) {
    if let Ok(message) = ocpp::parse_payload::<T>(payload) {
        let mut out = Vec::new();
        ocpp::write_result("1", &message, &mut out);
        assert_frame(&out);
    }
}

/// What was read can be written, and what was written reads back to the same text.
fn again(message: &impl Serialize, reread: impl Fn(&str) -> String) {
    let first = serde_json::to_string(message).expect("messages can be written");
    assert_eq!(reread(&first), first, "what is written reads back");
}

fn to_text<T: Serialize, E: std::fmt::Debug>(message: &Result<T, E>) -> String {
    let message = message.as_ref().expect("what we write, we read");
    serde_json::to_string(message).expect("messages can be written")
}

fn assert_frame(out: &[u8]) {
    let text = std::str::from_utf8(out).expect("frames are UTF-8");
    ocpp::parse_frame(text).expect("what we write is a frame");
}
