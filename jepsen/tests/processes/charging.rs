//! Whole charges through the binary, and what must be refused on the way.

use crate::scene::{Scene, get, until, until_session};
use novax_jepsen::books::Books;
use novax_jepsen::checker::price;
use novax_jepsen::node::{Node, provision, tariff};
use novax_jepsen::station::{Station, Version, stamp};
use serde_json::{Value, json};
use std::time::Duration;

#[track_caller]
fn post(node: &Node, path: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
    let answer = node.client().post(path, key, body).expect("answers");
    (answer.status, answer.json)
}

#[test]
fn an_unknown_station_is_held_pending_until_it_is_approved() {
    let mut scene = Scene::new(&["--shards", "2"]);
    let hub = scene.node.addresses.ocpp;
    let mut stranger = Station::connect(hub, "STRANGER", Version::V201, None).expect("let in");
    assert_eq!(stranger.boot().expect("answers"), "Pending");
    let refused = stranger.status("Available").expect("answers");
    assert_eq!(refused, novax_jepsen::station::Reply::Error("SecurityError".into()));
    let waiting = scene.get("/v1/stations/pending");
    assert_eq!(waiting["items"][0]["station"], "STRANGER");
    assert_eq!(waiting["items"][0]["vendor"], "Jepsen");
    scene.post("/v1/stations/STRANGER/approve", &json!({"site": "depot"}));
    assert_eq!(scene.get("/v1/stations/pending")["items"], json!([]));
    // On the same socket: its next boot is the first of a station that belongs here.
    assert_eq!(stranger.boot().expect("answers"), "Accepted");
    stranger.status("Available").expect("answers").ok();
    let row = until("the station's row", || {
        Some(scene.station("STRANGER")).filter(|row| row["connected"] == true)
    });
    assert_eq!(row["connectors"][0]["status"], "Available");
    scene.the_neighbour_is_well();
}

/// A driver with 19.99 euros, where a start holds 20.
fn poor(node: &Node) {
    let body = json!({"driver": "poor", "tokens": ["TAG-P"], "currency": "EUR"});
    assert_eq!(post(node, "/v1/drivers", None, &body).0, 200);
    let body = json!({"amount": {"minor": "1999", "currency": "EUR"}});
    assert_eq!(post(node, "/v1/drivers/poor/deposits", Some("p"), &body).0, 200);
}

#[test]
fn an_overdrawn_driver_is_refused_at_the_charger_and_in_the_app() {
    let mut scene = Scene::new(&[]);
    poor(&scene.node);
    let mut charger = Station::booted(scene.node.addresses.ocpp, "BAD", Version::V16);
    let (transaction, status) = charger.start("TAG-P", 0);
    assert_eq!(status, "Blocked", "1.6 has no word for an empty wallet");
    assert!(transaction > 0, "and always a transaction");
    let told = charger.order("RemoteStopTransaction", Duration::from_secs(10)).expect("connected");
    assert_eq!(told.expect("told to stop").payload["transactionId"], transaction);
    charger.stop(transaction, 0);
    let body = json!({"station": "BAD", "evse": 1, "driver": "poor"});
    let (status, problem) = post(&scene.node, "/v1/sessions", Some("k"), &body);
    assert_eq!((status, &problem["code"]), (409, &json!("insufficient_funds")));
    assert_eq!(get(&scene.node, "/v1/drivers/poor")["available"]["minor"], "1999");
    scene.the_neighbour_is_well();
}

#[test]
fn an_overdrawn_driver_is_told_so_in_2_0_1() {
    let mut scene = Scene::new(&[]);
    poor(&scene.node);
    let mut charger = Station::booted(scene.node.addresses.ocpp, "BAD", Version::V201);
    let event = json!({
        "eventType": "Started", "timestamp": stamp(), "triggerReason": "Authorized", "seqNo": 0,
        "transactionInfo": {"transactionId": "t-1"}, "evse": {"id": 1, "connectorId": 1},
        "idToken": {"idToken": "TAG-P", "type": "ISO14443"},
    });
    let answer = charger.call("TransactionEvent", &event).expect("answers").ok();
    assert_eq!(answer["idTokenInfo"]["status"], "NoCredit");
    scene.the_neighbour_is_well();
}

/// A site in partition 1 and a driver whose wallet is in partition 6, on two shards.
fn far_apart() -> Node {
    let node = Node::start(&["--shards", "2"]);
    let site = json!({"site": "here", "tariff": tariff(), "partition": 1});
    assert_eq!(post(&node, "/v1/sites", None, &site).0, 200);
    assert_eq!(post(&node, "/v1/stations", None, &json!({"station": "S", "site": "here"})).0, 200);
    let body = json!({"driver": "far", "tokens": ["TAG-F"], "currency": "EUR", "partition": 6});
    assert_eq!(post(&node, "/v1/drivers", None, &body).0, 200);
    let body = json!({"amount": {"minor": "5000", "currency": "EUR"}});
    assert_eq!(post(&node, "/v1/drivers/far/deposits", Some("f"), &body).0, 200);
    assert_eq!(get(&node, "/v1/stations/S")["partition"], 1);
    assert_eq!(get(&node, "/v1/drivers/far")["partition"], 6);
    node
}

#[test]
fn a_driver_of_another_partition_charges_and_clearing_ends_at_zero() {
    let node = far_apart();
    let mut station = Station::booted(node.addresses.ocpp, "S", Version::V16);
    let (transaction, status) = station.start("TAG-F", 0);
    assert_eq!(status, "Accepted");
    assert_eq!(get(&node, "/v1/drivers/far")["available"]["minor"], "3000", "held far away");
    station.stop(transaction, 20_000);
    let row = until_session(&node, "S", "SETTLED");
    let total: u64 = price(20_000).iter().sum();
    assert_eq!(row["cost"]["total"]["minor"], total.to_string());
    let books = Books::read(&node.client(), &[]).expect("readable");
    let of = |prefix: &str| {
        let accounts = books.accounts.iter().filter(|row| row.name.starts_with(prefix));
        accounts.fold((0_i64, 0_u64), |(balance, pending), row| {
            let booked = row.credits_posted.cast_signed() - row.debits_posted.cast_signed();
            (balance + booked, pending + row.debits_pending + row.credits_pending)
        })
    };
    assert_eq!(of("clearing/"), (0, 0), "{:#?}", books.accounts);
    assert!(
        books.accounts.iter().any(|row| row.name == "clearing/p1" && row.credits_posted == total),
        "the money went through clearing: {:#?}",
        books.accounts
    );
    assert_eq!(of("driver/far"), (5_000 - total.cast_signed(), 0));
    assert_eq!(of("operator").0 + of("tax").0, total.cast_signed());
}

#[test]
fn a_request_key_starts_one_session_and_serves_no_other_request() {
    let mut scene = Scene::new(&["--shards", "2"]);
    provision(&scene.node.client(), "depot", "APP", "bert", "TAG-B");
    let mut station = Station::booted(scene.node.addresses.ocpp, "APP", Version::V16);
    let body = json!({"station": "APP", "evse": 1, "connector": 1, "token": "TAG-B"});
    let (status, first) = post(&scene.node, "/v1/sessions", Some("once"), &body);
    assert_eq!(status, 202, "{first}");
    let (status, second) = post(&scene.node, "/v1/sessions", Some("once"), &body);
    assert_eq!((status, &second["id"]), (202, &first["id"]));
    let other = json!({"station": "APP", "evse": 1, "connector": 1, "token": "TAG-A"});
    let (status, problem) = post(&scene.node, "/v1/sessions", Some("once"), &other);
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(post(&scene.node, "/v1/sessions", None, &body).0, 400, "a key is needed");
    let told = station.order("RemoteStartTransaction", Duration::from_secs(10)).expect("connected");
    assert_eq!(told.expect("told to start").payload["idTag"], "TAG-B");
    let (transaction, status) = station.start("TAG-B", 0);
    assert_eq!(status, "Accepted");
    station.stop(transaction, 1_000);
    let row = scene.until_session("APP", "SETTLED");
    assert_eq!(row["id"], first["id"]);
    assert!(station.orders.is_empty(), "told once: {:?}", station.orders);
    assert_eq!(
        get(&scene.node, "/v1/sessions?station=APP")["items"].as_array().map(Vec::len),
        Some(1)
    );
    scene.the_neighbour_is_well();
}

/// The newest limit that a station was told, in watts.
fn told_limit(station: &mut Station) -> i64 {
    let order = station.order("SetChargingProfile", Duration::from_secs(10)).expect("connected");
    let mut order = order.expect("told a limit");
    station.obey_for(Duration::from_millis(200)).expect("connected");
    while let Some(newer) = station.order("SetChargingProfile", Duration::ZERO).expect("connected")
    {
        order = newer;
    }
    let schedule = &order.payload["csChargingProfiles"]["chargingSchedule"];
    assert_eq!(schedule["chargingRateUnit"], "W");
    schedule["chargingSchedulePeriod"][0]["limit"]
        .as_f64()
        .map(|limit| limit as i64)
        .expect("a limit")
}

#[test]
fn a_sites_limit_is_shared_among_its_chargers_at_each_start_and_stop() {
    const LIMIT_W: i64 = 20_000;
    let node = Node::start(&[]);
    for (station, driver, token) in [("L-1", "lea", "TAG-1"), ("L-2", "max", "TAG-2")] {
        provision(&node.client(), "tight", station, driver, token);
    }
    let body = json!({"site": "tight", "tariff": tariff(), "limit_w": LIMIT_W});
    assert_eq!(post(&node, "/v1/sites", None, &body).0, 200);
    let mut one = Station::booted(node.addresses.ocpp, "L-1", Version::V16);
    let mut two = Station::booted(node.addresses.ocpp, "L-2", Version::V16);
    let (first, _) = one.start("TAG-1", 0);
    assert_eq!(told_limit(&mut one), LIMIT_W, "all of it");
    let (second, _) = two.start("TAG-2", 0);
    let shares = (told_limit(&mut one), told_limit(&mut two));
    assert!(shares.0 > 0 && shares.1 > 0 && shares.0 + shares.1 <= LIMIT_W, "{shares:?}");
    one.stop(first, 1_000);
    assert_eq!(told_limit(&mut two), LIMIT_W, "all of it again");
    two.stop(second, 1_000);
    until_session(&node, "L-2", "SETTLED");
}
