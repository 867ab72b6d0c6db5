//! What stations send that they should not: it is answered as the standard says, counted, and the
//! station beside them goes on charging.

use crate::scene::Scene;
use novax_jepsen::socket::{Handshake, Said, Socket};
use novax_jepsen::station::{Manners, Station, Version};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

fn bad_socket(scene: &Scene, version: Version) -> Socket {
    let hub = scene.node.addresses.ocpp;
    Socket::open(hub, "/ocpp/BAD", &[version.subprotocol()], None).expect("answers").open()
}

/// Sends a text and answers what comes back, as JSON.
#[track_caller]
fn exchange(socket: &mut Socket, text: &str) -> Value {
    socket.send(text).expect("sent");
    match socket.receive(SOON).expect("WebSocket") {
        Some(Said::Text(text)) => serde_json::from_str(&text).expect("the hub writes JSON"),
        other => panic!("{text} was answered by {other:?}"),
    }
}

/// The text must be answered with this CALLERROR and count once; the sender may go on.
#[track_caller]
fn is_refused(version: Version, text: &str, id: &str, code: &str, counter: &str) {
    let mut scene = Scene::new(&[]);
    let mut bad = bad_socket(&scene, version);
    let before = scene.node.counter(counter);
    let answer = exchange(&mut bad, text);
    assert_eq!((&answer[0], &answer[1], &answer[2]), (&json!(4), &json!(id), &json!(code)));
    assert_eq!(scene.node.counter(counter), before + 1, "{counter}");
    let answer = exchange(&mut bad, r#"[2,"next","Heartbeat",{}]"#);
    assert_eq!((&answer[0], &answer[1]), (&json!(3), &json!("next")));
    scene.the_neighbour_is_well();
}

const MALFORMED: &str = "novax_frames_malformed_total";
const REFUSED: &str = "novax_calls_refused_total";

#[test]
fn malformed_json_is_answered_and_counted() {
    is_refused(Version::V201, r#"{"a":}"#, "-1", "FormatViolation", MALFORMED);
}

#[test]
fn a_call_that_is_cut_short_is_answered_and_counted_under_its_id() {
    let text = r#"[2,"1","Heartbeat",{"#;
    is_refused(Version::V201, text, "1", "FormatViolation", MALFORMED);
}

#[test]
fn an_unknown_action_is_answered_and_counted() {
    let text = r#"[2,"7","BrewCoffee",{"strength":3}]"#;
    is_refused(Version::V16, text, "7", "NotImplemented", REFUSED);
}

#[test]
fn wrong_types_are_answered_and_counted() {
    let text = r#"[2,"8","BootNotification",{"chargePointVendor":{},"chargePointModel":"M"}]"#;
    is_refused(Version::V16, text, "8", "TypeConstraintViolation", REFUSED);
}

#[test]
fn missing_fields_are_answered_and_counted_as_1_6_spells_it() {
    let text = r#"[2,"9","BootNotification",{"chargePointModel":"M"}]"#;
    is_refused(Version::V16, text, "9", "OccurenceConstraintViolation", REFUSED);
}

#[test]
fn missing_fields_are_answered_and_counted_as_2_0_1_spells_it() {
    let text = r#"[2,"9","BootNotification",{"reason":"PowerUp"}]"#;
    is_refused(Version::V201, text, "9", "OccurrenceConstraintViolation", REFUSED);
}

/// What is sent must end the connection with this code and count once.
#[track_caller]
fn is_cut(code: u16, send: impl Fn(&mut Socket)) {
    let mut scene = Scene::new(&["--message-bytes-max", "65536"]);
    let mut bad = bad_socket(&scene, Version::V16);
    let counter = "novax_websocket_violations_total";
    let before = scene.node.counter(counter);
    send(&mut bad);
    let (closed, reason) = bad.end(SOON).expect("a close frame before the end");
    assert_eq!(closed, Some(code), "{reason}");
    assert_eq!(scene.node.counter(counter), before + 1);
    scene.the_neighbour_is_well();
}

#[test]
fn an_oversized_message_ends_the_connection() {
    is_cut(1009, |bad| {
        let payload = "x".repeat(70_000);
        let call = format!(r#"[2,"1","DataTransfer",{{"vendorId":"v","data":"{payload}"}}]"#);
        // The hub may cut before it took all of it.
        let _ = bad.send(&call);
    });
}

#[test]
fn invalid_utf_8_ends_the_connection() {
    // A text frame of two bytes, masked with zeros, that are no UTF-8.
    is_cut(1007, |bad| bad.send_raw(&[0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28]).expect("sent"));
}

#[test]
fn a_binary_message_ends_the_connection() {
    is_cut(1003, |bad| bad.send_binary(b"\x00\x01").expect("sent"));
}

#[test]
fn an_unmasked_frame_ends_the_connection() {
    is_cut(1002, |bad| bad.send_raw(&[0x81, 0x02, b'[', b']']).expect("sent"));
}

#[test]
fn a_silent_connection_is_cut() {
    // Three lost heartbeats and ten seconds.
    let mut scene = Scene::new(&["--heartbeat-s", "10"]);
    let mut silent = bad_socket(&scene, Version::V16);
    let begun = Instant::now();
    loop {
        scene.good.call("Heartbeat", &json!({})).expect("the neighbour lives").ok();
        match silent.receive(Duration::from_secs(3)).expect("WebSocket") {
            Some(Said::End) => break,
            Some(other) => assert!(matches!(other, Said::Close { .. }), "{other:?}"),
            None => assert!(begun.elapsed() < Duration::from_secs(60), "never cut"),
        }
    }
    assert!(begun.elapsed() > Duration::from_secs(35), "cut after {:?}", begun.elapsed());
    assert_eq!(scene.node.counter("novax_connections_timed_out_total"), 1);
    scene.the_neighbour_is_well();
}

#[test]
fn a_handshake_that_is_never_finished_is_cut() {
    let mut scene = Scene::new(&[]);
    let mut slow = TcpStream::connect(scene.node.addresses.ocpp).expect("connected");
    slow.write_all(b"GET /ocpp/BAD HTTP/1.1\r\nHost: x\r\nUpgr").expect("sent");
    slow.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let mut said = Vec::new();
    // A reset is an end too.
    let _ = slow.read_to_end(&mut said);
    assert_eq!(scene.node.counter("novax_connections_timed_out_total"), 1);
    scene.the_neighbour_is_well();
}

#[test]
fn a_reader_that_does_not_read_is_cut() {
    let mut scene = Scene::new(&[]);
    let mut slow = bad_socket(&scene, Version::V16);
    let counter = "novax_slow_readers_closed_total";
    let call = r#"[2,"123456789012345678901234567890","Heartbeat",{}]"#;
    let limit = Instant::now() + Duration::from_secs(60);
    // It sends and sends, and takes none of the answers.
    while slow.send(call).is_ok() {
        assert!(Instant::now() < limit, "the hub keeps everything for it");
    }
    assert_eq!(scene.node.counter(counter), 1);
    scene.the_neighbour_is_well();
}

#[test]
fn a_second_connection_of_an_identity_replaces_the_first() {
    let mut scene = Scene::new(&["--shards", "2"]);
    let hub = scene.node.addresses.ocpp;
    let mut old = bad_socket(&scene, Version::V16);
    let mut new = Station::booted(hub, "BAD", Version::V16);
    let (code, reason) = old.end(SOON).expect("a close frame before the end");
    assert_eq!(code, Some(1008), "{reason}");
    assert_eq!(scene.node.counter("novax_connections_superseded_total"), 1);
    new.call("Heartbeat", &json!({})).expect("the newer one stays").ok();
    assert_eq!(scene.station("BAD")["connected"], true, "the end of the older changes nothing");
    scene.the_neighbour_is_well();
}

/// A station with these manners is told to reset: the status, and what the station counted.
fn commanded(scene: &mut Scene, manners: Manners) -> (u16, Value) {
    let mut bad = Station::booted(scene.node.addresses.ocpp, "BAD", Version::V16);
    bad.manners = manners;
    let client = scene.node.client();
    let ask = std::thread::spawn(move || {
        let body = json!({"command": "reset", "immediate": false});
        client.post("/v1/stations/BAD/commands", None, &body).expect("answers")
    });
    while !ask.is_finished() {
        bad.obey_for(Duration::from_millis(100)).expect("connected");
    }
    let answer = ask.join().expect("asked");
    assert_eq!(bad.orders.len(), 1, "told once: {:?}", bad.orders);
    bad.call("Heartbeat", &json!({})).expect("it stays connected").ok();
    (answer.status, answer.json)
}

#[test]
fn a_station_that_answers_twice_is_heard_once() {
    let mut scene = Scene::new(&[]);
    let (status, answer) = commanded(&mut scene, Manners::Twice);
    assert_eq!((status, &answer["reply"]["status"]), (200, &json!("Accepted")));
    assert_eq!(scene.node.counter("novax_answers_unexpected_total"), 1);
    scene.the_neighbour_is_well();
}

#[test]
fn an_answer_nobody_asked_for_is_not_taken_for_another() {
    let mut scene = Scene::new(&[]);
    let (status, answer) = commanded(&mut scene, Manners::WrongId);
    assert_eq!((status, &answer["reply"]["status"]), (200, &json!("Accepted")));
    assert_eq!(scene.node.counter("novax_answers_unexpected_total"), 1);
    scene.the_neighbour_is_well();
}

#[test]
fn a_station_that_never_answers_is_a_timeout_and_not_a_no() {
    let mut scene = Scene::new(&[]);
    let (status, answer) = commanded(&mut scene, Manners::Silent);
    assert_eq!((status, &answer["code"]), (504, &json!("station_silent")));
    assert_eq!(scene.node.counter("novax_calls_timed_out_total"), 1);
    scene.the_neighbour_is_well();
}

#[track_caller]
fn refused(scene: &Scene, path: &str, basic: Option<(&str, &str)>) -> u16 {
    match Socket::open(scene.node.addresses.ocpp, path, &["ocpp1.6"], basic).expect("answers") {
        Handshake::Refused(status) => status,
        Handshake::Open(_) => panic!("{path} was let in"),
    }
}

#[test]
fn a_wrong_password_or_path_is_refused() {
    let mut scene = Scene::new(&[]);
    scene.post(
        "/v1/stations",
        &json!({"station": "SAFE", "site": "depot", "password": "correct-horse"}),
    );
    let before = scene.node.counter("novax_handshakes_refused_total");
    assert_eq!(refused(&scene, "/ocpp/SAFE", None), 401);
    assert_eq!(refused(&scene, "/ocpp/SAFE", Some(("SAFE", "wrong-horse-1"))), 401);
    assert_eq!(refused(&scene, "/ocpp/SAFE", Some(("BAD", "correct-horse"))), 401);
    assert_eq!(refused(&scene, "/steve/SAFE", None), 404);
    assert_eq!(scene.node.counter("novax_handshakes_refused_total"), before + 4);
    let hub = scene.node.addresses.ocpp;
    let mut safe = Station::connect(hub, "SAFE", Version::V16, Some("correct-horse"))
        .expect("the right password");
    assert_eq!(safe.boot().expect("answers"), "Accepted");
    scene.the_neighbour_is_well();
}

#[test]
fn without_a_common_subprotocol_the_handshake_completes_and_the_connection_closes() {
    let mut scene = Scene::new(&[]);
    let hub = scene.node.addresses.ocpp;
    let mut socket =
        Socket::open(hub, "/ocpp/BAD", &["ocpp1.2", "soap"], None).expect("answers").open();
    assert_eq!(socket.subprotocol, None);
    let (code, reason) = socket.end(SOON).expect("a close frame before the end");
    assert_eq!(code, Some(1002), "{reason}");
    scene.the_neighbour_is_well();
}
