//! The upgrade: RFC 6455's own example, both of our sides against each other, and every refusal.

use novax_wire::http::{
    HEAD_BYTES_MAX, HttpError, accept_response, client_request, parse_client_response,
    parse_upgrade, percent_encode, refuse_response,
};
use proptest::prelude::*;

const GOOD: &str = "GET /ocpp/CP-1 HTTP/1.1\r\nHost: csms\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: ocpp2.0.1, ocpp1.6\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[track_caller]
fn refused(head: &str, status: u16) {
    let error = parse_upgrade(head.as_bytes()).unwrap_err();
    assert_eq!(error.status(), status, "{error} for {head:?}");
}

#[track_caller]
fn identity(path: &str, expected: Result<Option<&str>, u16>) {
    let head = GOOD.replace("/ocpp/CP-1", path);
    let found = parse_upgrade(head.as_bytes())
        .map(|upgrade| upgrade.expect("the head is whole").identity)
        .map_err(|error| error.status());
    assert_eq!(found, expected.map(|name| name.map(str::to_owned)), "{path}");
}

#[test]
fn the_example_of_rfc_6455_is_accepted_with_its_accept_value() {
    let upgrade = parse_upgrade(GOOD.as_bytes()).unwrap().unwrap();
    assert_eq!(upgrade.path, "/ocpp/CP-1");
    assert_eq!(upgrade.identity.as_deref(), Some("CP-1"));
    assert_eq!(upgrade.protocols, ["ocpp2.0.1", "ocpp1.6"]);
    assert_eq!(upgrade.basic, None);
    assert_eq!(upgrade.head_len, GOOD.len());
    let mut out = Vec::new();
    accept_response(&upgrade.key, Some("ocpp2.0.1"), &mut out);
    let response = String::from_utf8(out).unwrap();
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert!(response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(response.contains("\r\nSec-WebSocket-Protocol: ocpp2.0.1\r\n"));
    assert!(response.ends_with("\r\n\r\n"));
}

#[test]
fn a_head_is_awaited_byte_by_byte_and_bytes_behind_it_are_left() {
    for end in 0..GOOD.len() {
        assert_eq!(parse_upgrade(&GOOD.as_bytes()[..end]), Ok(None), "{end} bytes");
    }
    let with_frames = [GOOD.as_bytes(), b"\x81\x80...."].concat();
    assert_eq!(parse_upgrade(&with_frames).unwrap().unwrap().head_len, GOOD.len());
}

#[test]
fn the_identity_is_the_last_segment_decoded_after_cutting() {
    identity("/ocpp/CP-1", Ok(Some("CP-1")));
    identity("/ocpp/CP-1/", Ok(Some("CP-1")));
    identity("/ocpp/site/7/CP-1", Ok(Some("CP-1")));
    identity("/ocpp/CP%201%2F2", Ok(Some("CP 1/2")));
    identity("/ocpp/%C3%BC?token=1", Ok(Some("ü")));
    identity("http://csms:9000/ocpp/CP-1", Ok(Some("CP-1")));
    identity("/live", Ok(None));
    identity("/ocppx/CP-1", Ok(None));
    identity("/ocpp", Err(404));
    identity("/ocpp/", Err(404));
    identity("/ocpp//", Err(404));
    identity("/ocpp/%zz", Err(400));
    identity("/ocpp/%4", Err(400));
    identity("/ocpp/%FF", Err(400));
    identity("*", Err(400));
}

#[test]
fn each_refusal_has_the_status_http_has_for_it() {
    refused(&GOOD.replace("GET", "POST"), 405);
    refused(&GOOD.replace("HTTP/1.1", "HTTP/1.0"), 400);
    refused(&GOOD.replace("GET /ocpp/CP-1", "GET  /ocpp/CP-1"), 400);
    refused(&GOOD.replace("Host: csms\r\n", ""), 400);
    refused(&GOOD.replace("Host: csms", "Host : csms"), 400);
    refused(&GOOD.replace("Host: csms", "Host: csms\r\n folded"), 400);
    refused(&GOOD.replace("Host: csms", "Host: \u{1}"), 400);
    refused(&GOOD.replace("Upgrade: websocket\r\n", ""), 426);
    refused(&GOOD.replace("keep-alive, Upgrade", "keep-alive"), 426);
    refused(&GOOD.replace("Version: 13", "Version: 8"), 426);
    refused(&GOOD.replace("Sec-WebSocket-Version: 13\r\n", ""), 426);
    refused(&GOOD.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400);
    refused(&GOOD.replace("dGhlIHNhbXBsZSBub25jZQ==", "not base64"), 400);
    refused(&GOOD.replace("Host: csms", "Host: csms\r\nSec-WebSocket-Key: x"), 400);
    refused(&GOOD.replace("Host: csms", "Host: csms\r\nAuthorization: Basic !"), 400);
    refused(&GOOD.replace("Host: csms", &format!("Host: {}", "x".repeat(9_000))), 431);
    refused(&GOOD.replace("Host: csms", &format!("Host: x{}", "\r\nA: b".repeat(65))), 431);
    // A TLS client, at its first byte.
    assert_eq!(parse_upgrade(b"\x16\x03\x01").unwrap_err().status(), 400);
    assert_eq!(parse_upgrade(&[b'G'; HEAD_BYTES_MAX]), Err(HttpError::HeadTooLong));
    assert_eq!(parse_upgrade(&[b'G'; HEAD_BYTES_MAX - 1]), Ok(None));
}

#[test]
fn a_refusal_is_a_complete_response_that_says_why() {
    let mut out = Vec::new();
    refuse_response(401, "who are you?", &[("WWW-Authenticate", "Basic realm=\"ocpp\"")], &mut out);
    let response = String::from_utf8(out).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm"));
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    assert_eq!(body, "who are you?\n");
    let mut out = Vec::new();
    refuse_response(426, "version 13", &[], &mut out);
    assert!(String::from_utf8(out).unwrap().contains("\r\nSec-WebSocket-Version: 13\r\n"));
}

#[test]
fn a_password_is_not_printed() {
    let head = GOOD.replace("Host: csms", "Host: csms\r\nAuthorization: Basic Q1AtMTpzZWNyZXQ=");
    let upgrade = parse_upgrade(head.as_bytes()).unwrap().unwrap();
    assert_eq!(upgrade.basic, Some(("CP-1".to_owned(), b"secret".to_vec())));
    assert!(!format!("{upgrade:?}").contains("secret"));
    assert!(!format!("{upgrade:?}").contains("115, 101"), "nor as bytes");
}

#[test]
fn a_client_takes_only_the_answer_to_its_own_key() {
    let key = *b"the sample nonce";
    let mut answer = Vec::new();
    accept_response("dGhlIHNhbXBsZSBub25jZQ==", Some("ocpp1.6"), &mut answer);
    let accept = parse_client_response(&answer, &key).unwrap().unwrap();
    assert_eq!(accept.subprotocol.as_deref(), Some("ocpp1.6"));
    assert_eq!(accept.head_len, answer.len());
    assert!(matches!(parse_client_response(&answer, &[0; 16]), Err(HttpError::WrongAccept(_))));
    assert_eq!(parse_client_response(&answer[..answer.len() - 1], &key), Ok(None));
    let mut refusal = Vec::new();
    refuse_response(401, "no", &[], &mut refusal);
    let error = parse_client_response(&refusal, &key).unwrap_err();
    assert_eq!(error, HttpError::Refused { status: 401, reason: "Unauthorized".to_owned() });
}

proptest! {
    #[test]
    fn what_the_client_side_asks_the_server_side_reads(
        name in "\\PC{1,30}",
        password in "[ -~]{0,40}",
        key in any::<[u8; 16]>(),
    ) {
        let user = name.replace(':', "");
        let mut request = Vec::new();
        let path = format!("/ocpp/{}", percent_encode(&name));
        let basic = Some((user.as_str(), password.as_str()));
        client_request("csms:80", &path, &["ocpp1.6"], basic, &key, &mut request);
        let upgrade = parse_upgrade(&request).unwrap().unwrap();
        prop_assert_eq!(upgrade.identity, Some(name));
        prop_assert_eq!(upgrade.basic, Some((user, password.into_bytes())));
        let mut answer = Vec::new();
        accept_response(&upgrade.key, None, &mut answer);
        let accept = parse_client_response(&answer, &key).unwrap().unwrap();
        prop_assert_eq!(accept.subprotocol, None);
    }
}
