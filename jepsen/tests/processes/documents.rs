//! Documents of a running node: made of a charge through a real socket, the same after a kill.

use crate::scene::{get, until_session};
use crate::sql::psql;
use novax_jepsen::node::{Node, novax, provision, tariff};
use novax_jepsen::station::{Station, Version, now_ms, stamp};
use serde_json::{Value, json};
use std::process::Command;

const SELLER: [&str; 8] = [
    "--statements-name",
    "Nova Charging GmbH",
    "--statements-country",
    "DE",
    "--statements-vat-id",
    "DE123456788",
    "--statements-party",
    "DE*NVX",
];

#[track_caller]
fn post(node: &Node, path: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
    let answer = node.client().post(path, key, body).expect("answers");
    (answer.status, answer.json)
}

#[track_caller]
fn posted(node: &Node, path: &str, key: Option<&str>, body: &Value) -> Value {
    let (status, answer) = post(node, path, key, body);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Milliseconds since the epoch as RFC 3339.
fn text(ms: u64) -> String {
    novax_model::Timestamp::from_millis(ms).to_rfc3339()
}

fn located(node: &Node) {
    let site = json!({
        "site": "depot", "tariff": tariff(),
        "split": {"site_host_basis_points": 1000, "platform_basis_points": 500},
        "location": {
            "name": "Depot", "address": "Am Kai 3", "city": "Hamburg", "country": "DE",
            "latitude": "53.5438", "longitude": "9.9900",
            "connector_standard": "IEC_62196_T2", "power_type": "AC_3_PHASE",
        },
    });
    posted(node, "/v1/sites", None, &site);
}

/// A charge of 10 kWh whose end brings what the meter signed.
fn charge(station: &mut Station, token: &str) {
    let (transaction, status) = station.start(token, 1_000);
    assert_eq!(status, "Accepted");
    let record = |letter: &str| format!("OCMF|{{\"{letter}\":1}}|{{\"SD\":\"00\"}}");
    let signed = |letter: &str, context: &str| json!({"value": record(letter), "format": "SignedData", "context": context});
    let payload = json!({
        "transactionId": transaction, "meterStop": 11_000, "timestamp": stamp(), "reason": "Local",
        "transactionData": [{"timestamp": stamp(), "sampledValue": [
            signed("begin", "Transaction.Begin"), signed("end", "Transaction.End"),
        ]}],
    });
    station.call("StopTransaction", &payload).expect("the hub answers").ok();
}

/// All that is read of a charge, so that it can be compared.
fn papers(node: &Node, session: &str, (from, to): (&str, &str)) -> Vec<Value> {
    let of_session = |what: &str| get(node, &format!("/v1/sessions/{session}/{what}"));
    let revenue =
        |group: &str| get(node, &format!("/v1/reports/revenue?from={from}&to={to}&group={group}"));
    let settlement = format!("/v1/reports/settlement/site-host%2Fdepot?from={from}&to={to}");
    vec![
        of_session("cdr"),
        of_session("cdr?version=2.2.1"),
        of_session("receipt"),
        of_session("signed"),
        revenue("site"),
        revenue("operator"),
        revenue("partner"),
        get(node, &settlement),
        get(node, "/v1/documents"),
    ]
}

#[test]
fn a_charge_becomes_invoice_record_and_report_and_a_kill_changes_none() {
    let mut node = Node::start(&SELLER);
    provision(&node.client(), "depot", "GOOD", "anna", "TAG-A");
    located(&node);
    let from = text(now_ms() - 60_000);
    let mut station = Station::booted(node.addresses.ocpp, "GOOD", Version::V16);
    charge(&mut station, "TAG-A");
    let row = until_session(&node, "GOOD", "SETTLED");
    assert_eq!(row["cost"]["total"]["minor"], "530");
    let session = row["id"].as_str().expect("an id").to_owned();
    let to = text(now_ms() + 1);
    std::thread::sleep(std::time::Duration::from_millis(5));

    let ask = json!({"driver": "anna", "from": from, "to": to, "zone": "Europe/Berlin"});
    let issued = posted(&node, "/v1/invoices", None, &ask);
    let number = issued["documents"][0]["number"].as_str().expect("a number").to_owned();
    assert_eq!(issued["documents"][0]["total_minor"], "530", "{issued}");
    let before = papers(&node, &session, (&from, &to));
    assert_eq!(before[0]["total_cost"]["before_taxes"], 4.45, "{}", before[0]);
    assert_eq!(before[0]["invoice_reference_id"], number.as_str());
    assert_eq!(before[3]["values"].as_array().map(Vec::len), Some(2), "{}", before[3]);
    assert_eq!(before[4]["totals"]["entries"]["gross"], "5.30", "{}", before[4]);
    let invoice = get(&node, &format!("/v1/documents/{number}"));

    node.kill();
    node.restart(None).expect("ready again");
    assert_eq!(papers(&node, &session, (&from, &to)), before, "the same after a kill");
    assert_eq!(get(&node, &format!("/v1/documents/{number}")), invoice);
    assert_eq!(posted(&node, "/v1/invoices", None, &ask), issued, "asked again it is the same");

    let back = json!({"amount": {"minor": "130", "currency": "EUR"}});
    posted(&node, &format!("/v1/sessions/{session}/refund"), Some("r1"), &back);
    let credit = json!({"invoice": number});
    let note = posted(&node, "/v1/credit-notes", Some("c1"), &credit);
    assert_eq!(note["documents"][0]["total_minor"], "130", "{note}");
    assert_eq!(posted(&node, "/v1/credit-notes", Some("c1"), &credit), note);
    assert_eq!(post(&node, "/v1/credit-notes", Some("c2"), &credit).0, 409);

    let sql = "select kind, total from documents order by kind";
    assert_eq!(psql(&node, sql), "credit_note|130\ninvoice|530\n");
    let sql = "select kind, count(*) from billings group by kind order by kind";
    assert_eq!(psql(&node, sql), "BILL|1\nREFUND|1\n");
    assert_eq!(psql(&node, "select count(*) > 0 from account_entries"), "t\n");

    let client = node.client();
    let run = |words: &[&str]| {
        let address = client.address.to_string();
        let common = ["report", "--http", &address, "--api-key", &client.key];
        let ran = Command::new(novax()).args(common).args(words).output().expect("runs");
        assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("text")
    };
    let csv = run(&["revenue", "--from", &from, "--to", &to, "--format", "csv"]);
    assert!(
        csv.starts_with("site,sessions,corrections,energy_kwh,net,tax,gross\r\ndepot,1,"),
        "{csv}"
    );
    let html = run(&["document", &number, "--format", "html", "--language", "de"]);
    assert!(html.contains(&number) && html.contains("Nova Charging GmbH"), "{html}");
    let record: Value = serde_json::from_str(&run(&["cdr", &session])).expect("JSON");
    assert_eq!(record["session_id"], session.as_str());
}

#[test]
fn the_finance_teams_own_requests_are_booked_once() {
    let mut node = Node::start(&[]);
    provision(&node.client(), "depot", "GOOD", "anna", "TAG-A");
    let rate = |rate: &str| {
        json!({
            "id": "ecb-1", "base": "EUR", "quote": "SEK", "rate": rate,
            "from": "2026-11-01T00:00:00Z", "source": "ECB",
        })
    };
    posted(&node, "/v1/fx-rates", None, &rate("11.0425"));
    posted(&node, "/v1/fx-rates", None, &rate("11.0425"));
    let (status, problem) = post(&node, "/v1/fx-rates", None, &rate("12.5"));
    assert!((400..500).contains(&status), "another rate for the same time: {problem}");
    assert_eq!(post(&node, "/v1/fx-rates", None, &rate("1e3")).0, 422);
    let sql = "select rate_id, quote, rate from fx_rates where partition = 0";
    assert_eq!(psql(&node, sql), "ecb-1|SEK|11.042500000000\n");

    let until = |text: &str| json!({"until": text});
    let future = text(now_ms() + 3_600_000);
    assert_eq!(post(&node, "/v1/books/close", None, &until(&future)).0, 422);
    let past = text(now_ms() - 3_600_000);
    posted(&node, "/v1/books/close", None, &until(&past));
    posted(&node, "/v1/books/close", None, &until(&past));

    // A card without money: what it takes all the same is owed, and given up.
    let poor = json!({"driver": "paul", "tokens": ["TAG-P"], "currency": "EUR"});
    posted(&node, "/v1/drivers", None, &poor);
    let mut station = Station::booted(node.addresses.ocpp, "GOOD", Version::V16);
    let (transaction, status) = station.start("TAG-P", 0);
    assert_ne!(status, "Accepted");
    let end = json!({
        "transactionId": transaction, "meterStop": 10_000, "timestamp": stamp(), "reason": "Local",
    });
    station.call("StopTransaction", &end).expect("answers").ok();
    let owed = |node: &Node| -> Vec<String> {
        let lines = get(node, "/v1/books/ageing");
        let lines = lines.as_array().expect("a list").iter();
        lines.map(|line| line["balance_minor"].as_str().expect("digits").to_owned()).collect()
    };
    assert_eq!(owed(&node), ["530"]);
    let give_up = |minor: &str| json!({"amount": {"minor": minor, "currency": "EUR"}});
    let path = "/v1/drivers/paul/write-off";
    posted(&node, path, Some("w1"), &give_up("200"));
    posted(&node, path, Some("w1"), &give_up("200"));
    assert_eq!(owed(&node), ["330"], "booked once");
    assert_eq!(post(&node, path, Some("w1"), &give_up("100")).0, 422, "another for the same key");
    assert_eq!(post(&node, path, Some("w2"), &give_up("331")).0, 409, "more than is owed");
    node.kill();
    node.restart(None).expect("ready again");
    assert_eq!(owed(&node), ["330"]);
    posted(&node, path, Some("w3"), &give_up("330"));
    assert_eq!(owed(&node), Vec::<String>::new());
}
