//! The OCPP-J envelope: a corpus that people can read, and what we write.

use novax_wire::ocpp::{
    CallError, ErrorCode, Frame, Version, parse_frame, write_call, write_error, write_result,
};
use proptest::prelude::*;

/// A frame as the corpus writes it.
fn shown(text: &str) -> String {
    match parse_frame(text) {
        Ok(Frame::Call { id, action, payload }) => format!("call {id} {action} {payload}"),
        Ok(Frame::Result { id, payload }) => format!("result {id} {payload}"),
        Ok(Frame::Error { id, code, description, details }) => {
            format!("error {id} {code} {description:?} {details}")
        }
        Err(error) => {
            let answer = error.id.unwrap_or_else(|| "nobody".to_owned());
            format!("refused {:?} to {answer}: {}", error.code, error.description)
        }
    }
}

#[test]
fn the_corpus_reads_as_it_says() {
    let corpus = include_str!("../../testdata/frames.txt");
    let (mut cases, mut input) = (0, None);
    for line in corpus.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.strip_prefix("  ") {
            None => assert_eq!(input.replace(line), None, "two inputs in a row"),
            Some(expected) => {
                let text = input.take().expect("an input comes before its result");
                assert_eq!(shown(text), expected, "for {text}");
                cases += 1;
            }
        }
    }
    assert!(cases >= 40, "the corpus is there: {cases} cases");
}

#[test]
fn frames_beyond_a_line_are_refused_too() {
    let deep = format!("[2,\"1\",\"A\",{{\"a\":{}{}}}]", "[".repeat(40), "]".repeat(40));
    assert!(shown(&deep).starts_with("refused FormatViolation to 1: values are nested"));
    let long_id = format!("[2,\"{}\",\"A\",{{}}]", "x".repeat(256));
    assert!(shown(&long_id).starts_with("refused RpcFrameworkError to -1:"));
    let spaced = "\n[ 2 ,\t\"1\" , \"A\" , { } ]\r\n";
    assert_eq!(shown(spaced), "call 1 A { }");
}

#[test]
fn error_codes_are_spelled_as_each_version_has_them() {
    let mut out = Vec::new();
    let code = ErrorCode::OccurrenceConstraintViolation;
    write_error("1", code, "a \"b\"", Version::V16, &mut out);
    write_error("1", ErrorCode::FormatViolation, "", Version::V16, &mut out);
    write_error("1", code, "", Version::V201, &mut out);
    write_error("1", ErrorCode::RpcFrameworkError, "", Version::V16, &mut out);
    let expected = concat!(
        r#"[4,"1","OccurenceConstraintViolation","a \"b\"",{}]"#,
        r#"[4,"1","FormationViolation","",{}]"#,
        r#"[4,"1","OccurrenceConstraintViolation","",{}]"#,
        r#"[4,"1","GenericError","",{}]"#,
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(ErrorCode::parse("OccurenceConstraintViolation"), Some(code));
    assert_eq!(ErrorCode::parse("OccurrenceConstraintViolation"), Some(code));
    assert_eq!(ErrorCode::parse("FormationViolation"), Some(ErrorCode::FormatViolation));
    assert_eq!(ErrorCode::parse("Whatever"), None);
}

#[test]
fn a_description_is_cut_to_255_characters() {
    let mut out = Vec::new();
    let CallError { code, description } = CallError::new(ErrorCode::GenericError, "é".repeat(300));
    write_error("1", code, &description, Version::V201, &mut out);
    let text = String::from_utf8(out).unwrap();
    let Ok(Frame::Error { description, .. }) = parse_frame(&text) else { panic!("{text}") };
    assert_eq!(description, "é".repeat(255));
}

#[test]
fn subprotocols_are_taken_in_the_clients_order() {
    let offer = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Version::negotiate(&names)
    };
    assert_eq!(offer(&["ocpp2.1", "ocpp1.6", "ocpp2.0.1"]), Some(Version::V16));
    assert_eq!(offer(&["ocpp2.0.1", "ocpp1.6"]), Some(Version::V201));
    assert_eq!(offer(&["ocpp1.5"]), None);
    assert_eq!(offer(&[]), None);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(id in "\\PC{1,36}", action in "\\PC{0,30}", field in any::<String>()) {
        let payload = std::collections::BTreeMap::from([("field", field)]);
        let payload_text = serde_json::to_string(&payload).unwrap();
        let mut call = Vec::new();
        write_call(&id, &action, &payload, &mut call);
        let call = String::from_utf8(call).unwrap();
        let expected = Frame::Call {
            id: id.as_str().into(),
            action: action.into(),
            payload: &payload_text,
        };
        prop_assert_eq!(parse_frame(&call), Ok(expected));
        let mut result = Vec::new();
        write_result(&id, &payload, &mut result);
        let result = String::from_utf8(result).unwrap();
        let expected = Frame::Result { id: id.into(), payload: &payload_text };
        prop_assert_eq!(parse_frame(&result), Ok(expected));
    }

    #[test]
    fn any_text_is_a_frame_or_refused(text in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,40}") {
        shown(&text);
    }
}
