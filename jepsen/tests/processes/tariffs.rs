//! Tariffs, taxes, contracts and dynamic prices: put by name, charged by a station, explained.

use crate::scene::{get, until_session};
use crate::sql::psql;
use novax_jepsen::node::{Node, novax};
use novax_jepsen::station::{Station, Version, now_ms};
use serde_json::{Value, json};
use std::process::Command;

#[track_caller]
fn put(node: &Node, path: &str, text: &str) -> (u16, Value) {
    let answer = node.client().put(path, text).expect("answers");
    (answer.status, answer.json)
}

#[track_caller]
fn made(node: &Node, path: &str, text: &str) -> Value {
    let (status, answer) = put(node, path, text);
    assert_eq!(status, 200, "{answer}");
    answer
}

#[track_caller]
fn post(node: &Node, path: &str, body: &Value) -> (u16, Value) {
    let answer = node.client().post(path, None, body).expect("answers");
    (answer.status, answer.json)
}

#[track_caller]
fn posted(node: &Node, path: &str, body: &Value) -> Value {
    let (status, answer) = post(node, path, body);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Milliseconds since the epoch as RFC 3339.
fn text(ms: u64) -> String {
    novax_model::Timestamp::from_millis(ms).to_rfc3339()
}

/// The minute of its day, UTC, as OCPI writes it.
fn clock(ms: u64) -> String {
    let minutes = ms / 60_000 % 1_440;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

const MINUTE_MS: u64 = 60_000;

/// 0.30 a kWh; 0.50 from `from` to `until`; parking 2.00 an hour.
fn by_the_clock(from: u64, until: u64) -> Value {
    let energy = |price| json!({"type": "ENERGY", "price": price, "step_size": 1});
    let parking = json!({"type": "PARKING_TIME", "price": 2.00, "step_size": 1});
    json!({
        "country_code": "DE", "party_id": "NOX", "id": "clock", "currency": "EUR",
        "last_updated": "2026-11-22T12:00:00Z",
        "elements": [
            {
                "price_components": [energy(json!(0.50)), parking],
                "restrictions": {"start_time": clock(from), "end_time": clock(until)},
            },
            {"price_components": [energy(json!(0.30)), parking]},
        ],
    })
}

/// A site that stands as `site` says, a booted station on it and a driver with 100.00.
fn at_site(node: &Node, site: &Value, currency: &str) -> Station {
    posted(node, "/v1/sites", site);
    posted(node, "/v1/stations", &json!({"station": "T-1", "site": site["site"]}));
    let driver = json!({"driver": "tess", "tokens": ["TAG-T"], "currency": currency});
    posted(node, "/v1/drivers", &driver);
    let body = json!({"amount": {"minor": "10000", "currency": currency}});
    let deposit = node.client().post("/v1/drivers/tess/deposits", Some("d"), &body);
    deposit.expect("answers").ok();
    Station::booted(node.addresses.ocpp, "T-1", Version::V16)
}

/// A charge of 10 kWh in an hour from `start`, then an hour of parking.
fn charge(station: &mut Station, start: u64) {
    let (hour, two_hours) = (text(start + 60 * MINUTE_MS), text(start + 120 * MINUTE_MS));
    let begin = json!({
        "connectorId": 1, "idTag": "TAG-T", "meterStart": 0, "timestamp": text(start),
    });
    let answer = station.call("StartTransaction", &begin).expect("answers").ok();
    assert_eq!(answer["idTagInfo"]["status"], "Accepted");
    let transaction = answer["transactionId"].as_i64().expect("a number");
    station.meter(&hour, transaction, 10_000).expect("connected").ok();
    let status = json!({
        "connectorId": 1, "errorCode": "NoError", "status": "SuspendedEV", "timestamp": hour,
    });
    station.call("StatusNotification", &status).expect("answers").ok();
    let end = json!({
        "transactionId": transaction, "meterStop": 10_000, "timestamp": two_hours,
        "reason": "Local",
    });
    station.call("StopTransaction", &end).expect("answers").ok();
}

#[test]
fn a_station_charges_by_the_clock_and_for_parking_with_the_taxes_of_its_country() {
    let mut node = Node::start(&["--shards", "2"]);
    // Two hours ago, on a whole minute; the dear hours begin half an hour later.
    let start = (now_ms() / MINUTE_MS - 120) * MINUTE_MS;
    let tariff = by_the_clock(start + 30 * MINUTE_MS, start + 600 * MINUTE_MS);
    let kept = made(&node, "/v1/tariffs/clock", &tariff.to_string());
    assert_eq!(
        (&kept["format"], &kept["source"]),
        (&json!("ocpi-2.2.1"), &json!(tariff.to_string()))
    );
    let german = kept["words"]["de"].as_str().expect("words");
    assert!(german.contains("0,30") && german.contains("0,50"), "{german}");
    // What a partner reads is what came.
    let ocpi = get(&node, "/v1/tariffs/clock/ocpi-2.2.1");
    let first = &ocpi["elements"][0];
    assert_eq!(first["restrictions"], tariff["elements"][0]["restrictions"]);
    assert_eq!(first["price_components"][1]["type"], "PARKING_TIME");
    let contract = "id = \"shares\"\nfrom = \"2026-01-01T00:00:00Z\"\ncurrency = \"EUR\"\n\
        parties = [\"operator\", \"city\"]\nresidual = \"operator\"\n\
        [[steps]]\nparty = \"city\"\npurpose = \"site_host\"\nrule = \"per_kwh\"\nprice = \"0.05\"\n";
    let contract = made(&node, "/v1/contracts/shares", contract);
    let site = json!({
        "site": "street", "tariff_id": "clock", "contract_id": "shares", "jurisdiction": "DE",
        "zone": "UTC",
    });
    let mut station = at_site(&node, &site, "EUR");
    charge(&mut station, start);
    let row = until_session(&node, "T-1", "SETTLED");
    // 5 kWh for 0.30 and 5 kWh for 0.50, an hour of parking for 2.00, and 19 % on it.
    let minor = |name: &str| row["cost"][name]["minor"].as_str().expect("an amount").to_owned();
    let cost = ["energy", "parking", "tax", "total"].map(minor);
    assert_eq!(cost, ["400", "200", "114", "714"], "{row}");
    assert_eq!(row["cost"]["taxes"][0]["rate_ppm"], 190_000);
    let id = row["id"].as_str().expect("an id");
    let whole = get(&node, &format!("/v1/sessions/{id}"));
    assert_eq!(whole["deal"]["tariff"], kept["hash"], "{whole}");
    assert_eq!(whole["deal"]["contract"], contract["hash"]);
    let periods = whole["periods"].as_array().expect("periods");
    let seen: Vec<_> = periods
        .iter()
        .map(|period| (period["duration_s"].as_u64(), period["energy_wh"].as_i64()))
        .collect();
    assert_eq!(
        seen,
        [(Some(1_800), Some(5_000)), (Some(1_800), Some(5_000)), (Some(3_600), Some(0))],
        "{whole}"
    );
    let shares = whole["shares"].as_array().expect("shares");
    let of = |party: &str| {
        let found = shares.iter().find(|share| share["party"] == party).expect("a share");
        found["amount"]["minor"].as_str().expect("an amount").to_owned()
    };
    assert_eq!((of("city"), of("operator")), ("50".into(), "550".into()));
    let terms = get(&node, &format!("/v1/terms/{}", kept["hash"].as_str().expect("a hash")));
    assert_eq!((&terms["kind"], &terms["words"]), (&json!("tariff"), &kept["words"]));
    let bill = "select cost_energy, cost_parking, cost_tax, cost_total, jurisdiction, price_factor \
                from sessions";
    assert_eq!(psql(&node, bill), "400|200|114|714|DE|1.000000\n");
    let names = "select t.kind, t.id from terms t join sessions s on t.hash in (s.tariff, s.contract) \
                 order by t.kind";
    assert_eq!(psql(&node, names), "contract|shares\ntariff|clock\n");
    let rate =
        "select percent from tax_rates where jurisdiction = 'DE' order by valid_from desc limit 1";
    assert_eq!(psql(&node, rate), "19.0000\n");
    node.kill();
    node.restart(None).expect("ready again");
    assert_eq!(get(&node, "/v1/tariffs/clock"), kept, "it is on disk as it was put");
    assert_eq!(get(&node, "/v1/sites/street")["prices"][0]["tariff"], kept["hash"]);
}

#[test]
fn two_taxes_of_a_province_are_billed_side_by_side() {
    let node = Node::start(&[]);
    made(
        &node,
        "/v1/tariffs/quebec",
        &json!({
            "country_code": "CA", "party_id": "NOX", "id": "quebec", "currency": "CAD",
            "last_updated": "2026-11-22T12:00:00Z",
            "elements": [{"price_components": [
                {"type": "ENERGY", "price": 0.40, "step_size": 1},
                {"type": "FLAT", "price": 1.00, "step_size": 1},
            ]}],
        })
        .to_string(),
    );
    let site = json!({
        "site": "rue", "tariff_id": "quebec", "jurisdiction": "CA-QC", "zone": "America/Toronto",
    });
    let mut station = at_site(&node, &site, "CAD");
    charge(&mut station, (now_ms() / MINUTE_MS - 120) * MINUTE_MS);
    let row = until_session(&node, "T-1", "SETTLED");
    let taxes = row["cost"]["taxes"].as_array().expect("taxes");
    let seen: Vec<_> = taxes
        .iter()
        .map(|tax| (tax["rate_ppm"].as_u64(), tax["amount"]["minor"].as_str()))
        .collect();
    // 5.00 net: GST 5 % and QST 9.975 %, each on the net price.
    assert_eq!(seen, [(Some(50_000), Some("25")), (Some(99_750), Some("50"))], "{row}");
    assert_eq!(row["cost"]["total"]["minor"], "575");
}

const FROST: &str = "pricing 1\nbook \"Frost\"\ncurrency EUR\ncombine first\n\
    bound factor 0.50 .. 1.50\nsignal temperature max age 30 min else skip\n\
    rule \"Frost\"\n  when temperature < -5 C\n  then factor 1.25\n";

#[test]
fn a_dynamic_price_says_why_it_is_what_it_is() {
    let node = Node::start(&[]);
    let start = (now_ms() / MINUTE_MS - 120) * MINUTE_MS;
    let tariff = by_the_clock(start + 600 * MINUTE_MS, start + 660 * MINUTE_MS);
    made(&node, "/v1/tariffs/clock", &tariff.to_string());
    let (status, problem) = put(&node, "/v1/rules/frost", "pricing 1\nbok \"Frost\"\n");
    assert_eq!((status, &problem["code"]), (422, &json!("invalid_rules")));
    assert!(problem["detail"].as_str().is_some_and(|words| words.contains("line 2")), "{problem}");
    made(&node, "/v1/rules/frost", FROST);
    let site = json!({
        "site": "cold", "tariff_id": "clock", "rules_id": "frost", "zone": "UTC",
    });
    let mut station = at_site(&node, &site, "EUR");
    let heard = json!({"signals": [{"kind": "temperature", "value": "-7.2"}]});
    let known = posted(&node, "/v1/sites/cold/signals", &heard);
    assert_eq!(known["signals"][0]["value"], "-7.2");
    assert_eq!(get(&node, "/v1/sites/cold/signals"), known);
    let hot = json!({"signals": [{"kind": "temperature", "value": "700"}]});
    assert_eq!(post(&node, "/v1/sites/cold/signals", &hot).0, 422);
    assert_eq!(post(&node, "/v1/sites/nowhere/signals", &heard).0, 404);
    charge(&mut station, start);
    let row = until_session(&node, "T-1", "SETTLED");
    // 10 kWh for 0.375 instead of 0.30; parking stays as listed.
    assert_eq!(row["cost"]["energy"]["minor"], "375", "{row}");
    assert_eq!(row["cost"]["parking"]["minor"], "200");
    assert_eq!(row["deal"]["factor_ppm"], 1_250_000);
    let why = row["deal"]["explanation"].as_str().expect("words");
    assert!(why.contains("Frost") && why.contains("-7.2 °C"), "{why}");
    assert_eq!(
        psql(&node, "select site, kind, value, unit from signals"),
        "cold|temperature|-7.200000|C\n"
    );
    assert_eq!(
        psql(&node, "select id, format from price_documents where kind = 'rules'"),
        "frost|pricing\n"
    );
    // The same, tried out: nothing is kept.
    let trial = json!({
        "tariff_id": "clock", "rules_id": "frost", "signals": {"temperature": "-7.2"},
        "start": text(start), "energy_wh": 10_000, "charging_s": 3_600, "parked_s": 3_600,
    });
    let report = posted(&node, "/v1/tariffs/simulate", &trial);
    assert_eq!(report["total"], "5.75", "{report}");
    assert!(report["rules"]["reasons"][0].as_str().is_some_and(|why| why.contains("-7.2")));
}

#[test]
fn a_wrong_tariff_is_refused_with_the_path_of_what_is_wrong() {
    let node = Node::start(&[]);
    let mut tariff = by_the_clock(0, 60 * MINUTE_MS);
    tariff["elements"][1]["price_components"][0]["price"] = json!("cheap");
    let path = "elements[1].price_components[0].price";
    for (method, url) in [("put", "/v1/tariffs/clock"), ("post", "/v1/tariffs/lint")] {
        let (status, problem) = match method {
            "put" => put(&node, url, &tariff.to_string()),
            _ => post(&node, url, &tariff),
        };
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_tariff")), "{url}");
        let detail = problem["detail"].as_str().expect("words");
        assert!(detail.contains(path), "{url}: {detail}");
    }
    assert_eq!(node.client().get("/v1/tariffs/clock").expect("answers").status, 404);
    let site = json!({"site": "s", "tariff_id": "clock"});
    assert_eq!(post(&node, "/v1/sites", &site).0, 404, "a site needs a tariff that is there");
    // And in a file, without a node.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("clock.json");
    let novax = |arguments: &[&str]| {
        let mut command = Command::new(novax());
        let ran = command.arg("tariff").args(arguments).arg(&file).output().expect("runs");
        let both = [ran.stdout, ran.stderr].concat();
        (ran.status.code(), String::from_utf8_lossy(&both).into_owned())
    };
    std::fs::write(&file, tariff.to_string()).expect("written");
    let (code, words) = novax(&["lint"]);
    assert!(code == Some(1) && words.contains(path), "{code:?} {words}");
    tariff["elements"][1]["price_components"][0]["price"] = json!(0.30);
    std::fs::write(&file, tariff.to_string()).expect("written");
    assert_eq!(novax(&["lint"]).0, Some(0));
    let (code, words) = novax(&["explain", "--language", "de"]);
    assert!(code == Some(0) && words.contains("0,30 EUR"), "{words}");
    let course = ["simulate", "--start", "2026-11-22T10:00:00Z", "--parked", "1h"];
    let (code, words) = novax(&course);
    assert!(code == Some(0) && words.contains("Total: 8.00 EUR"), "{words}");
}
