//! A driver is forgotten by a running node, in every partition, and stays forgotten after a kill.

use crate::scene::{Scene, get, until_session};
use crate::sql::psql;
use novax_jepsen::node::{Node, tariff};
use novax_jepsen::station::{Station, Version};
use serde_json::{Value, json};

#[track_caller]
fn post(node: &Node, path: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
    let answer = node.client().post(path, key, body).expect("answers");
    (answer.status, answer.json)
}

/// A driver at home in partition 6 who has charged at a site of partition 1.
fn charged() -> Node {
    let node = Node::start(&["--shards", "2"]);
    let site = json!({"site": "here", "tariff": tariff(), "partition": 1});
    assert_eq!(post(&node, "/v1/sites", None, &site).0, 200);
    assert_eq!(post(&node, "/v1/stations", None, &json!({"station": "S", "site": "here"})).0, 200);
    let body = json!({"driver": "marguerite", "tokens": ["MARGUERITES"], "currency": "EUR", "partition": 6});
    assert_eq!(post(&node, "/v1/drivers", None, &body).0, 200);
    let body = json!({"amount": {"minor": "5000", "currency": "EUR"}});
    assert_eq!(post(&node, "/v1/drivers/marguerite/deposits", Some("f"), &body).0, 200);
    let mut station = Station::booted(node.addresses.ocpp, "S", Version::V16);
    let (transaction, status) = station.start("MARGUERITES", 0);
    assert_eq!(status, "Accepted");
    let refused = post(&node, "/v1/drivers/marguerite/erase", None, &json!({}));
    assert_eq!((refused.0, &refused.1["code"]), (409, &json!("not_erasable")), "{refused:?}");
    station.stop(transaction, 20_000);
    until_session(&node, "S", "SETTLED");
    node
}

#[test]
fn a_driver_who_is_forgotten_stays_forgotten_after_a_kill() {
    let mut node = charged();
    let (status, problem) = post(&node, "/v1/drivers/marguerite/erase", None, &json!({}));
    assert_eq!((status, &problem["code"]), (409, &json!("not_erasable")));
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("paid out")), "{problem}");
    let rest = get(&node, "/v1/drivers/marguerite")["available"].clone();
    let body = json!({"amount": {"minor": rest["minor"], "currency": rest["currency"]}});
    let paid = post(&node, "/v1/drivers/marguerite/payouts", Some("out"), &body);
    assert_eq!((paid.0, &paid.1["available"]["minor"]), (200, &json!("0")), "{paid:?}");
    assert_eq!(post(&node, "/v1/drivers/marguerite/payouts", Some("out"), &body).0, 200, "again");
    let (status, erased) = post(&node, "/v1/drivers/marguerite/erase", None, &json!({}));
    assert_eq!(status, 200, "{erased}");
    let name = erased["name"].as_str().expect("what stands in its place").to_owned();
    assert!(name.starts_with("erased-"), "{name}");
    for is_after_kill in [false, true] {
        if is_after_kill {
            node.kill();
            node.restart(None).expect("ready again");
        }
        let again = post(&node, "/v1/drivers/marguerite/erase", None, &json!({}));
        assert_eq!(again.0, 404, "nobody of that name is left");
        let sessions = get(&node, "/v1/sessions?station=S");
        assert_eq!(sessions["items"][0]["driver"], json!(name));
        assert_eq!(sessions["items"][0]["state"], "SETTLED");
        for table in ["sessions", "accounts", "drivers", "exceptions"] {
            let rows = psql(&node, &format!("select * from {table}"));
            assert!(!rows.to_lowercase().contains("marguerite"), "{table}: {rows}");
        }
        let sums = "select sum(debits_posted) = sum(credits_posted) from accounts";
        assert_eq!(psql(&node, sums), "t\n");
    }
    // The token leads nowhere any more.
    let mut station = Station::booted(node.addresses.ocpp, "S", Version::V16);
    let (transaction, status) = station.start("MARGUERITES", 20_000);
    assert_eq!(status, "Invalid");
    station.stop(transaction, 20_000);
}

#[test]
fn nobody_is_forgotten_who_is_not_known() {
    let scene = Scene::new(&[]);
    assert_eq!(post(&scene.node, "/v1/drivers/nobody/erase", None, &json!({})).0, 404);
}
