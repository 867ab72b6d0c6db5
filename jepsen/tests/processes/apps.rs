//! Apps start charges on the shards' own port, in the same words as on the API's.

use crate::scene::{Scene, get};
use novax_jepsen::http::Client;
use novax_jepsen::node::{Node, provision};
use novax_jepsen::station::{Station, Version};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const FLAGS: [&str; 4] = ["--shards", "3", "--starts", "127.0.0.1:0"];
const PATIENCE: Duration = Duration::from_secs(10);

/// A client of the port where the shards start charges.
fn apps(node: &Node) -> Client {
    let starts = node.addresses.starts.expect("the node said where it is");
    Client { address: starts, ..node.client() }
}

#[track_caller]
fn start(client: &Client, key: &str, body: &Value) -> (u16, Value) {
    let answer = client.post("/v1/sessions", Some(key), body).expect("answers");
    (answer.status, answer.json)
}

/// What comes until the node closes, for bytes that no client should send.
#[track_caller]
fn raw(node: &Node, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(apps(node).address).expect("connects");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    socket.write_all(bytes).expect("the node reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the node answers and closes");
    answer
}

fn request(key: &str, name: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {key}\r\n\
         Idempotency-Key: {name}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn an_app_starts_a_charge_wherever_station_wallet_and_key_live() {
    let node = Node::start(&FLAGS);
    let client = node.client();
    for number in 0..6 {
        // Homes follow names: with eight partitions on three shards, some are apart and some are not.
        let (site, station) = (format!("site-{number}"), format!("CP-{number}"));
        let (driver, token) = (format!("driver-{number}"), format!("TOKEN-{number}"));
        provision(&client, &site, &station, &driver, &token);
        let mut charger = Station::booted(node.addresses.ocpp, &station, Version::V16);
        let body = json!({"station": station, "connector": 1, "token": token});
        let (status, session) = start(&apps(&node), &station, &body);
        assert_eq!(status, 202, "{session}");
        assert_eq!((&session["station"], &session["driver"]), (&json!(station), &json!(driver)));
        assert_eq!(session["started_by"], "app");
        let told = charger.order("RemoteStartTransaction", PATIENCE).expect("connected");
        assert_eq!(told.expect("told to start").payload["idTag"], json!(token));
        let (transaction, status) = charger.start(&token, 0);
        assert_eq!(status, "Accepted");
        let path = format!("/v1/sessions/{}", session["id"].as_str().expect("an id"));
        let read = get(&node, &path);
        assert_eq!((&read["id"], &read["state"]), (&session["id"], &json!("CHARGING")));
        assert!(
            session["shares"].is_array(),
            "who gets what is said as on the API's port: {session}"
        );
        charger.stop(transaction, 1_000);
    }
    assert_eq!(node.counter("novax_app_requests_total"), 6);
    assert_eq!(node.counter("novax_app_requests_refused_total"), 0);
}

#[test]
fn a_key_gives_the_same_session_on_both_ports_and_after_a_kill() {
    let mut node = Node::start(&FLAGS);
    provision(&node.client(), "depot", "APP", "bert", "TAG-B");
    let _station = Station::booted(node.addresses.ocpp, "APP", Version::V16);
    let body = json!({"station": "APP", "connector": 1, "token": "TAG-B"});
    let (status, first) = start(&apps(&node), "once", &body);
    assert_eq!(status, 202, "{first}");
    assert_eq!(start(&apps(&node), "once", &body).1["id"], first["id"]);
    assert_eq!(start(&node.client(), "once", &body).1["id"], first["id"], "on the API's port");
    let other = json!({"station": "APP", "connector": 2, "token": "TAG-B"});
    let (status, problem) = start(&apps(&node), "once", &other);
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")));
    node.kill();
    node.restart(None).expect("ready again");
    let (status, again) = start(&apps(&node), "once", &body);
    assert_eq!((status, &again["id"]), (202, &first["id"]));
    assert_eq!(get(&node, "/v1/sessions")["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn refusals_read_as_on_the_apis_port() {
    let mut scene = Scene::new(&FLAGS);
    let both = [apps(&scene.node), scene.node.client()];
    let body =
        |station: &str, token: &str| json!({"station": station, "connector": 1, "token": token});
    let cases = [
        (body("NOBODY", "TAG-A"), 404, "unknown_station"),
        (body("BAD", "NO-SUCH"), 404, "unknown_token"),
        (body("BAD", "TAG-A"), 409, "station_offline"),
        (json!({"station": "BAD", "connector": 0, "token": "TAG-A"}), 422, "invalid_request"),
        (json!({"station": "BAD", "connector": 1}), 422, "invalid_request"),
        (
            json!({"station": "BAD", "connector": 1, "token": "TAG-A", "x": 1}),
            422,
            "invalid_request",
        ),
    ];
    for (number, (body, status, code)) in cases.into_iter().enumerate() {
        let said = both.clone().map(|client| start(&client, &number.to_string(), &body));
        for (got, problem) in said {
            assert_eq!((got, &problem["code"]), (status, &json!(code)), "{body}: {problem}");
            assert_eq!(problem["type"], json!(format!("urn:novax:problem:{code}")));
        }
    }
    let good = body("GOOD", "TAG-A");
    for client in &both {
        let stranger = Client { key: "wrong".into(), ..client.clone() };
        assert_eq!(start(&stranger, "k", &good).0, 401);
        assert_eq!(start(client, "k", &good).1["code"], "connector_busy");
        let unnamed = client.post("/v1/sessions", None, &good).expect("answers");
        assert_eq!(
            (unnamed.status, &unnamed.json["code"]),
            (400, &json!("idempotency_key_missing"))
        );
        let broken = client.ask("POST", "/v1/sessions", Some("k"), "{").expect("answers");
        assert_eq!((broken.status, &broken.json["code"]), (400, &json!("invalid_json")));
        assert_eq!(client.get("/v1/nothing").expect("answers").status, 404);
    }
    let only_token =
        start(&both[0], "d", &json!({"station": "GOOD", "connector": 1, "driver": "anna"}));
    assert_eq!((only_token.0, &only_token.1["code"]), (422, &json!("invalid_request")));
    assert_eq!(both[0].get("/v1/sessions").expect("answers").status, 405);
    scene.the_neighbour_is_well();
}

#[test]
fn bytes_that_are_no_request_are_refused_and_the_neighbour_is_well() {
    let mut scene = Scene::new(&FLAGS);
    let long = "x".repeat(9_000);
    let cases = [
        ("\x16\x03\x01 a TLS hello".to_owned(), "HTTP/1.1 400 "),
        (
            "POST /v1/sessions HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: h\r\n\r\n".into(),
            "HTTP/1.1 411 ",
        ),
        (
            "POST /v1/sessions HTTP/1.1\r\nHost: h\r\nContent-Length: 99999\r\n\r\n".into(),
            "HTTP/1.1 413 ",
        ),
        (format!("POST /{long} HTTP/1.1\r\n"), "HTTP/1.1 431 "),
        ("POST / HTTP/2.0\r\nHost: h\r\n\r\n".into(), "HTTP/1.1 400 "),
    ];
    for (bytes, status) in cases {
        let answer = raw(&scene.node, bytes.as_bytes());
        assert!(answer.starts_with(status), "{bytes:.60}: {answer}");
        assert!(answer.contains("urn:novax:problem:bad_request"), "{answer}");
    }
    scene.the_neighbour_is_well();
}

#[test]
fn requests_sent_behind_each_other_are_answered_in_order() {
    let node = Node::start(&FLAGS);
    provision(&node.client(), "depot", "APP", "bert", "TAG-B");
    let _station = Station::booted(node.addresses.ocpp, "APP", Version::V16);
    let key = node.client().key;
    let body = |connector: u16| json!({"station": "APP", "connector": connector, "token": "TAG-B"});
    let bad = "GET /nothing HTTP/1.1\r\nHost: h\r\nX-Request-Id: third\r\n\r\n";
    let last = request(&key, "one", &body(1)).replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let all = [&request(&key, "one", &body(1)), &request(&key, "two", &body(0)), bad, &last]
        .map(str::to_owned);
    let answers = raw(&node, all.concat().as_bytes());
    let statuses: Vec<&str> = answers
        .match_indices("HTTP/1.1 ")
        .filter_map(|(at, _)| answers.get(at + 9..at + 12))
        .collect();
    assert_eq!(statuses, ["202", "422", "401", "202"], "{answers}");
    assert!(answers.contains("X-Request-Id: third"), "{answers}");
    assert_eq!(answers.matches("\r\nConnection: close\r\n").count(), 1, "{answers}");
}
