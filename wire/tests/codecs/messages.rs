//! Typed messages: every message of the schemas reads clean and writes back the same; what is
//! refused and what is let pass stands in files that people can read.

use novax_model::Watts;
use novax_wire::ocpp::{
    CallError, Decimal, Empty, Notes, Number, Text, parse_payload, parse_payload_noting, v16, v201,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Lines that are neither blank nor comment.
fn lines(corpus: &str) -> impl Iterator<Item = &str> {
    corpus.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

fn three_words(line: &str) -> (&str, &str, &str) {
    let mut words = line.splitn(3, ' ');
    (words.next().unwrap(), words.next().unwrap(), words.next().unwrap())
}

/// Pairs of an input line and the indented line below it.
fn pairs(corpus: &'static str) -> Vec<(&'static str, &'static str)> {
    let lines: Vec<&str> = lines(corpus).collect();
    lines
        .chunks(2)
        .map(|pair| (pair[0], pair[1].strip_prefix("  ").expect("a result is indented")))
        .collect()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A message that was read: as it is written again, and as it is debugged.
type Read = (String, String);

fn read_as<'a, T: Deserialize<'a> + Serialize + std::fmt::Debug>(
    payload: &'a str,
    notes: &mut Notes,
) -> Result<Read, CallError> {
    let message: T = parse_payload_noting(payload, notes)?;
    Ok((serde_json::to_string(&message).unwrap(), format!("{message:?}")))
}

/// Requests and commands have the same methods in both versions.
macro_rules! read_call {
    ($calls:ty, $action:expr, $payload:expr, $notes:expr) => {
        <$calls>::parse_noting($action, $payload, $notes).map(|message| {
            assert_eq!(message.action(), $action);
            let sendable = message.check();
            assert_eq!(sendable.is_ok(), !$notes.text_too_long, "{sendable:?}");
            (serde_json::to_string(&message).unwrap(), format!("{message:?}"))
        })
    };
}

macro_rules! read_answer {
    ($name:expr, $payload:expr, $notes:expr, [$($module:ident::$type:ident $(<$lt:lifetime>)?)*]) => {
        match $name {
            "Empty" => read_as::<Empty>($payload, $notes),
            $(stringify!($type) => read_as::<$module::$type $(<$lt>)?>($payload, $notes),)*
            other => panic!("no answer has the type {other}"),
        }
    };
}

fn read_v16(kind: &str, name: &str, payload: &str, notes: &mut Notes) -> Result<Read, CallError> {
    match kind {
        "station" => read_call!(v16::Request<'_>, name, payload, notes),
        "central" => read_call!(v16::Command<'_>, name, payload, notes),
        _ => read_answer!(name, payload, notes, [
            v16::BootNotificationResponse v16::HeartbeatResponse v16::AuthorizeResponse<'_>
            v16::StartTransactionResponse<'_> v16::StopTransactionResponse<'_> v16::DataTransferResponse<'_>
            v16::GetConfigurationResponse<'_> v16::StatusResponse<'_>
        ]),
    }
}

fn read_v201(kind: &str, name: &str, payload: &str, notes: &mut Notes) -> Result<Read, CallError> {
    match kind {
        "station" => read_call!(v201::Request<'_>, name, payload, notes),
        "central" => read_call!(v201::Command<'_>, name, payload, notes),
        _ => read_answer!(name, payload, notes, [
            v201::BootNotificationResponse<'_> v201::HeartbeatResponse v201::AuthorizeResponse<'_>
            v201::TransactionEventResponse<'_> v201::DataTransferResponse<'_> v201::StatusResponse<'_>
            v201::RequestStartTransactionResponse<'_> v201::GetVariablesResponse<'_>
            v201::SetVariablesResponse<'_>
        ]),
    }
}

fn every_line_round_trips(
    corpus: &str,
    read: fn(&str, &str, &str, &mut Notes) -> Result<Read, CallError>,
) {
    let mut cases = 0;
    for line in lines(corpus) {
        let (kind, name, payload) = three_words(line);
        let mut notes = Notes::default();
        let (written, debug) = read(kind, name, payload, &mut notes).expect(line);
        assert_eq!(value(&written), value(payload), "{line}");
        assert!(notes.is_clean(), "{notes:?} for {line}");
        assert!(!debug.contains("Other(\""), "a word of the standard is unknown: {debug}");
        cases += 1;
    }
    assert!(cases > 100, "the corpus is there: {cases} cases");
}

#[test]
fn every_message_of_the_1_6_schemas_reads_clean_and_writes_back_the_same() {
    every_line_round_trips(include_str!("../../testdata/v16.txt"), read_v16);
}

#[test]
fn every_message_of_the_2_0_1_schemas_reads_clean_and_writes_back_the_same() {
    every_line_round_trips(include_str!("../../testdata/v201.txt"), read_v201);
}

fn read_request(line: &str, notes: &mut Notes) -> Result<Read, CallError> {
    let (version, action, payload) = three_words(line);
    match version {
        "v16" => read_v16("station", action, payload, notes),
        "v201" => read_v201("station", action, payload, notes),
        other => panic!("no version {other}"),
    }
}

#[test]
fn what_is_refused_is_refused_with_the_code_and_the_field_at_fault() {
    for (line, expected) in pairs(include_str!("../../testdata/refused.txt")) {
        let CallError { code, description } =
            read_request(line, &mut Notes::default()).expect_err(line);
        assert_eq!(format!("{code:?} {description}"), expected, "{line}");
    }
}

#[test]
fn what_stations_get_wrong_is_understood_and_noted() {
    for (line, expected) in pairs(include_str!("../../testdata/lenient.txt")) {
        let mut notes = Notes::default();
        let (written, _) = read_request(line, &mut notes).expect(line);
        let named = [
            (notes.scalar_as_text, "scalar_as_text"),
            (notes.text_as_scalar, "text_as_scalar"),
            (notes.fraction_cut, "fraction_cut"),
            (notes.null_field, "null_field"),
            (notes.text_too_long, "text_too_long"),
        ];
        let mut passed: Vec<&str> =
            named.iter().filter(|(noted, _)| *noted).map(|(_, name)| *name).collect();
        if passed.is_empty() {
            passed.push("clean");
        }
        assert_eq!(format!("{}: {written}", passed.join(" ")), expected, "{line}");
    }
}

#[test]
fn text_borrows_from_the_frame_unless_it_was_escaped() {
    let request = v16::Request::parse("Authorize", r#"{"idTag":"ABC"}"#).unwrap();
    let v16::Request::Authorize(plain) = request else { panic!("another message") };
    assert!(matches!(plain.id_tag, Text(std::borrow::Cow::Borrowed("ABC"))));
    let request = v16::Request::parse("Authorize", r#"{"idTag":"A\u0042C"}"#).unwrap();
    let v16::Request::Authorize(escaped) = request else { panic!("another message") };
    assert!(matches!(&escaped.id_tag, Text(std::borrow::Cow::Owned(tag)) if tag == "ABC"));
}

#[test]
fn a_limit_is_one_period_of_watts_for_the_running_transaction() {
    let v16 = v16::SetChargingProfile::transaction_limit(2, 77, 1, Watts(11_000));
    let expected = r#"{"connectorId":2,"csChargingProfiles":{"chargingProfileId":1,"stackLevel":0,
        "chargingProfilePurpose":"TxProfile","chargingProfileKind":"Relative","transactionId":77,
        "chargingSchedule":{"chargingRateUnit":"W",
        "chargingSchedulePeriod":[{"startPeriod":0,"limit":11000}]}}}"#;
    assert_eq!(serde_json::to_value(&v16).unwrap(), value(expected));
    let v201 = v201::SetChargingProfile::transaction_limit(2, "T", 1, Watts(11_000));
    let expected = r#"{"evseId":2,"chargingProfile":{"id":1,"stackLevel":0,
        "chargingProfilePurpose":"TxProfile","chargingProfileKind":"Relative","transactionId":"T",
        "chargingSchedule":[{"id":1,"chargingRateUnit":"W",
        "chargingSchedulePeriod":[{"startPeriod":0,"limit":11000}]}]}}"#;
    assert_eq!(serde_json::to_value(&v201).unwrap(), value(expected));
}

#[test]
fn commands_that_break_a_bound_must_not_be_sent() {
    let id_tag = Text::from("a token of more than twenty");
    let start = v16::RemoteStartTransaction { id_tag, ..Default::default() };
    let refused = v16::Command::RemoteStartTransaction(start).check().unwrap_err();
    assert_eq!(refused.description, "idTag: longer than 20 characters");
    let empty = v201::Command::GetVariables(v201::GetVariables::default());
    assert!(empty.check().is_err());
}

#[test]
fn numbers_go_out_with_every_digit_and_without_quotes() {
    let cost = v201::TransactionEventResponse {
        total_cost: Some(Decimal::parse("12.10").unwrap()),
        ..Default::default()
    };
    assert_eq!(serde_json::to_string(&cost).unwrap(), r#"{"totalCost":12.1}"#);
    let sample =
        v201::SampledValue { value: Number::from(Decimal::new(123_456, -3)), ..Default::default() };
    assert_eq!(serde_json::to_string(&sample).unwrap(), r#"{"value":123.456}"#);
    let back: v201::SampledValue<'_> = parse_payload(r#"{"value":123.456}"#).unwrap();
    assert_eq!(back.value.decimal(), Decimal::parse("123.456"));
}
