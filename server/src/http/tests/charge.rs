//! Provisioning, a charge from the request to the books, and what is read of it.

use super::client::{LIMITS, World};
use super::{connect, id, minutes_after_start, provisioned, ready, site};
use crate::control::{CallFailed, StationCall, StationReply};
use novax_charging::command::{Command, EndTransaction, Outcome, PayerRef, StartTransaction};
use novax_charging::rows::series_id;
use novax_charging::{Protocol, Signed, TransactionRef};
use novax_model::{
    ConnectorRef, Measurand, MeterTick, PartitionId, SessionId, Timestamp, TokenUid, WattHours,
};
use novax_tsdb::BlockBuilder;
use serde_json::{Value, json};

/// The station says that the transaction of anna's token runs.
pub(super) async fn begins(world: &World) -> i32 {
    let command = Command::StartTransaction(StartTransaction {
        session: SessionId::new(PartitionId(1), 77),
        identity: id("CP-1"),
        connector: ConnectorRef::of_v16(1),
        transaction: None,
        remote_start_id: None,
        token: TokenUid::new("TAG-A").expect("a token"),
        meter_start: Some(WattHours(1_000)),
        at: minutes_after_start(1),
        payer: PayerRef::Local,
    });
    match world.node.apply("depot", command).await {
        Outcome::Started { transaction_id, refusal: None, .. } => transaction_id,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn ends(world: &World, transaction: i32, meter_stop: i64) {
    ends_with(world, transaction, meter_stop, None).await;
}

pub(super) async fn ends_with(
    world: &World,
    transaction: i32,
    meter_stop: i64,
    signed: Option<Box<Signed>>,
) {
    let command = Command::EndTransaction(EndTransaction {
        identity: id("CP-1"),
        transaction: TransactionRef::V16(transaction),
        meter_stop: Some(WattHours(meter_stop)),
        at: minutes_after_start(31),
        reason: "Remote".into(),
        signed,
    });
    let outcome = world.node.apply("depot", command).await;
    assert!(matches!(outcome, Outcome::Ended { .. }), "{outcome:?}");
}

pub(super) fn start_body() -> Value {
    json!({"station": "CP-1", "connector": 1, "driver": "anna"})
}

#[tokio::test]
async fn a_charge_goes_from_request_to_books() {
    let world = ready().await;
    let started = world.keyed_post("/v1/sessions", Some("k1"), &start_body()).await;
    assert_eq!(started.status, 202, "{started:?}");
    let session = started.json();
    assert_eq!(session["state"], "STARTING");
    assert_eq!(session["held"]["text"], "20.00 EUR");
    assert_eq!(world.read("/v1/drivers/anna").await["available"]["minor"], "3000");

    let transaction = begins(&world).await;
    let path = format!("/v1/sessions/{}", session["id"].as_str().expect("an id"));
    assert_eq!(world.read(&path).await["state"], "CHARGING");
    let stopping = world.post(&format!("{path}/stop"), &json!({})).await;
    assert_eq!(stopping.status, 202, "{stopping:?}");
    assert_eq!(stopping.json()["state"], "STOPPING");

    // 10 kWh: 3.95 for the energy, 0.50 for the session, 19 % of 4.45.
    ends(&world, transaction, 11_000).await;
    let settled = world.read(&path).await;
    assert_eq!(settled["state"], "SETTLED");
    assert_eq!(settled["energy_wh"], 10_000);
    assert_eq!(
        settled["cost"]["total"],
        json!({"minor": "530", "currency": "EUR", "text": "5.30 EUR"})
    );
    assert_eq!(settled["started"], "2026-11-22T13:15:24.000Z");
    assert_eq!(world.read("/v1/drivers/anna").await["available"]["minor"], "4470");
    let status = world.read("/v1/status").await;
    assert_eq!((&status["live_sessions"], &status["ended_sessions"]), (&json!(0), &json!(1)));
    assert_eq!(status["settled"][0]["text"], "5.30 EUR");
}

#[tokio::test]
async fn the_books_balance_as_read_over_http() {
    let world = ready().await;
    world.keyed_post("/v1/sessions", Some("k1"), &start_body()).await;
    let transaction = begins(&world).await;
    ends(&world, transaction, 11_000).await;
    let accounts = world.read("/v1/accounts").await;
    let sum = |field: &str| -> u128 {
        let items = accounts["items"].as_array().expect("items");
        let minor = |item: &Value| item[field]["minor"].as_str().expect("text").parse::<u128>();
        items.iter().map(|item| minor(item).expect("digits")).sum()
    };
    assert_eq!(sum("debits_posted"), sum("credits_posted"));
    assert!(sum("debits_posted") >= 5_530, "a deposit and a bill were booked");
    assert_eq!(sum("debits_pending"), 0);

    let wallet = world.read("/v1/drivers/anna").await["wallet"].as_str().expect("id").to_owned();
    let account = world.read(&format!("/v1/accounts/{wallet}")).await;
    assert_eq!(account["available"]["minor"], "4470");
    let all = world.read("/v1/transfers").await;
    let of_wallet = world.read(&format!("/v1/transfers?account={wallet}")).await;
    let (all, of_wallet) = (all["items"].as_array(), of_wallet["items"].as_array());
    let (all, of_wallet) = (all.expect("items"), of_wallet.expect("items"));
    assert!(!of_wallet.is_empty() && of_wallet.len() < all.len());
    assert!(of_wallet.iter().all(|row| row["debit"] == wallet || row["credit"] == wallet));
}

#[tokio::test]
async fn the_same_key_is_the_same_session_and_never_another() {
    let world = ready().await;
    let first = world.keyed_post("/v1/sessions", Some("k1"), &start_body()).await.json();
    let again = world.keyed_post("/v1/sessions", Some("\"k1\""), &start_body()).await;
    assert_eq!((again.status, &again.json()["id"]), (202, &first["id"]));
    let other = json!({"station": "CP-1", "connector": 2, "driver": "anna"});
    let other = world.keyed_post("/v1/sessions", Some("k1"), &other).await;
    assert_eq!(other.problem(), (422, "idempotency_key_reused".into()));
    let missing = world.post("/v1/sessions", &start_body()).await;
    assert_eq!(missing.problem(), (400, "idempotency_key_missing".into()));
    let busy = world.keyed_post("/v1/sessions", Some("k2"), &start_body()).await;
    assert_eq!(busy.problem(), (409, "connector_busy".into()));
    assert_eq!(world.read("/v1/sessions").await["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_start_is_refused_with_the_reason() {
    let world = provisioned().await;
    let start =
        async |body: Value| world.keyed_post("/v1/sessions", Some("k"), &body).await.problem();
    assert_eq!(start(start_body()).await, (409, "station_offline".into()));
    connect(&world, "CP-1").await;
    assert_eq!(start(start_body()).await, (409, "insufficient_funds".into()));
    let of = |field: &str, value: &str| {
        let mut body = json!({"station": "CP-1", "connector": 1, "token": "TAG-A"});
        body[field] = value.into();
        body
    };
    assert_eq!(start(of("station", "CP-9")).await, (404, "unknown_station".into()));
    assert_eq!(start(of("token", "TAG-Z")).await, (404, "unknown_token".into()));
    let nobody = json!({"station": "CP-1", "connector": 1, "driver": "nobody"});
    assert_eq!(start(nobody).await, (404, "unknown_driver".into()));
    let both = of("driver", "anna");
    assert_eq!(start(both).await, (422, "invalid_request".into()));
    let nowhere = json!({"station": "CP-1", "token": "TAG-A"});
    assert_eq!(start(nowhere).await, (422, "invalid_request".into()));
}

#[tokio::test]
async fn sessions_are_found_by_state_station_driver_and_life() {
    let world = ready().await;
    world.keyed_post("/v1/sessions", Some("k1"), &start_body()).await;
    let count = async |query: &str| {
        let page = world.read(&format!("/v1/sessions?{query}")).await;
        page["items"].as_array().expect("items").len()
    };
    for (query, live) in [
        ("live=true", 1),
        ("live=false", 0),
        ("state=STARTING", 1),
        ("state=SETTLED", 0),
        ("station=CP-1&driver=anna", 1),
        ("station=CP-2", 0),
        ("driver=bert", 0),
        ("live=true&driver=bert", 0),
    ] {
        assert_eq!(count(query).await, live, "{query} while it lives");
    }
    let transaction = begins(&world).await;
    ends(&world, transaction, 2_000).await;
    for (query, ended) in
        [("live=true", 0), ("live=false", 1), ("state=SETTLED", 1), ("station=CP-1&driver=anna", 1)]
    {
        assert_eq!(count(query).await, ended, "{query} when it is over");
    }
}

#[tokio::test]
async fn a_deposit_is_booked_once() {
    let world = provisioned().await;
    let path = "/v1/drivers/anna/deposits";
    let deposit =
        |minor: &str, currency: &str| json!({"amount": {"minor": minor, "currency": currency}});
    let post = async |key, body: Value| world.keyed_post(path, key, &body).await;
    assert_eq!(post(Some("d1"), deposit("700", "EUR")).await.json()["available"]["minor"], "700");
    assert_eq!(post(Some("d1"), deposit("700", "EUR")).await.json()["available"]["minor"], "700");
    assert_eq!(post(Some("d2"), deposit("1", "EUR")).await.json()["available"]["text"], "7.01 EUR");
    let reused = post(Some("d1"), deposit("701", "EUR")).await;
    assert_eq!(reused.problem(), (422, "idempotency_key_reused".into()));
    assert_eq!(post(None, deposit("1", "EUR")).await.problem().1, "idempotency_key_missing");
    assert_eq!(post(Some("d3"), deposit("1", "USD")).await.problem().1, "currency_mismatch");
    assert_eq!(post(Some("d3"), deposit("0", "EUR")).await.problem().1, "invalid_request");
    assert_eq!(post(Some("d3"), deposit("-5", "EUR")).await.problem().1, "invalid_request");
    assert_eq!(world.read("/v1/drivers/anna").await["available"]["minor"], "701");
}

#[tokio::test]
async fn a_pending_station_is_seen_and_approved_once() {
    let world = provisioned().await;
    let stranger = Command::ReportUnknownStation {
        identity: id("CP-X"),
        protocol: Protocol::V201,
        vendor: "Acme".into(),
        model: "M".into(),
    };
    let directory = PartitionId::of_directory("CP-X", 3);
    world.node.control.propose(directory, stranger).await.expect("the node runs");
    let pending = world.read("/v1/stations/pending").await;
    assert_eq!(pending["items"][0]["station"], "CP-X");
    assert_eq!(pending["items"][0]["protocol"], "ocpp2.0.1");

    let approve = async |id: &str, site: &str| {
        world.post(&format!("/v1/stations/{id}/approve"), &json!({"site": site})).await
    };
    assert_eq!(approve("CP-X", "nowhere").await.problem(), (404, "unknown_site".into()));
    assert_eq!(approve("CP-Y", "depot").await.problem(), (404, "not_found".into()));
    let approved = approve("CP-X", "depot").await;
    assert_eq!((approved.status, &approved.json()["site"]), (200, &json!("depot")));
    assert_eq!(world.read("/v1/stations/pending").await["items"], json!([]));
    assert_eq!(approve("CP-X", "depot").await.status, 200, "the same again changes nothing");
    assert_eq!(world.read("/v1/stations/CP-X").await["has_password"], false);
}

#[tokio::test]
async fn lists_page_through_all_partitions_without_gap_or_repeat() {
    let world = World::new(3).await;
    for number in 0..7 {
        world.make("/v1/sites", site(&format!("site-{number}"), number % 3)).await;
    }
    let mut names = Vec::new();
    let mut path = "/v1/sites?limit=2".to_owned();
    for _ in 0..4 {
        let page = world.read(&path).await;
        let items = page["items"].as_array().expect("items").clone();
        names.extend(items.iter().map(|item| item["site"].as_str().expect("a name").to_owned()));
        let Some(token) = page["next_page"].as_str() else { break };
        path = format!("/v1/sites?limit=2&page_token={token}");
    }
    let expected: Vec<String> = (0..7).map(|number| format!("site-{number}")).collect();
    assert_eq!(names, expected);
    let whole = world.read("/v1/sites?limit=7").await;
    assert!(whole.get("next_page").is_none(), "a full last page is the last: {whole}");
    let foreign =
        world.read("/v1/sites?limit=2").await["next_page"].as_str().expect("more").to_owned();
    let refused = world.get(&format!("/v1/drivers?page_token={foreign}")).await;
    assert_eq!(refused.problem(), (400, "invalid_page_token".into()));
}

#[tokio::test]
async fn a_station_shows_its_own_connectors_only() {
    let world = ready().await;
    // A name that another name starts with: keys must not run into one another.
    world.make("/v1/stations", json!({"station": "CP-11", "site": "depot"})).await;
    connect(&world, "CP-11").await;
    let stations = world.read("/v1/stations").await;
    let items = stations["items"].as_array().expect("items");
    assert_eq!(items.len(), 2);
    for item in items {
        let connectors = item["connectors"].as_array().expect("connectors");
        assert_eq!(connectors.len(), 1, "{item}");
        assert_eq!(connectors[0]["station"], item["station"]);
        assert_eq!(connectors[0]["status"], "Available");
    }
    assert_eq!(items[0]["vendor"], "Acme");
    assert_eq!(world.read("/v1/connectors").await["items"].as_array().map(Vec::len), Some(2));
}

fn tick(at: Timestamp, power: i64) -> MeterTick {
    let mut tick = MeterTick { at, ..MeterTick::default() };
    tick.set(Measurand::Power, power);
    tick.set(Measurand::Voltage, 2_301);
    tick
}

/// The last five hours before the node's clock: nothing a station tells may be of the future.
fn history_minute(minute: u64) -> Timestamp {
    Timestamp(super::node::START.0 - (300 - minute) * 60_000_000)
}

#[tokio::test]
async fn a_history_is_read_back_in_order_and_in_parts() {
    let world = ready().await;
    let mut block = BlockBuilder::new();
    for minute in 0..300 {
        let at = history_minute(minute);
        let power = i64::try_from(minute).expect("small");
        block.push(series_id(0, ConnectorRef::of_v16(1)), tick(at, power));
    }
    let ticked = world.node.apply("depot", Command::Telemetry { block: block.finish() }).await;
    assert_eq!(ticked, Outcome::Done);
    let base = "/v1/connectors/CP-1/1/1/series";
    let hour = format!(
        "{base}?from={}&to={}&limit=20",
        history_minute(200).to_rfc3339(),
        history_minute(230).to_rfc3339()
    );
    let first = world.read(&hour).await;
    let powers = |page: &Value| -> Vec<i64> {
        let points = page["points"].as_array().expect("points");
        points.iter().map(|point| point["power_w"].as_i64().expect("watts")).collect()
    };
    assert_eq!(powers(&first), (200..220).collect::<Vec<_>>());
    assert_eq!(first["points"][0]["voltage_v"], 230.1);
    let next = first["next_from"].as_str().expect("more");
    let to = history_minute(230).to_rfc3339();
    let second = world.read(&format!("{base}?from={next}&to={to}&limit=20")).await;
    assert_eq!(powers(&second), (220..230).collect::<Vec<_>>());
    assert!(second.get("next_from").is_none());
    let nowhere = world.get("/v1/connectors/CP-1/9/1/series").await;
    assert_eq!(nowhere.problem(), (404, "not_found".into()));
}

#[tokio::test]
async fn a_call_is_answered_in_the_stations_own_words() {
    let world = World::with(1, LIMITS, |_, call| {
        Some(match call {
            StationCall::Reset { immediate: true } => {
                Ok(StationReply { payload: r#"{"status":"Accepted"}"#.into() })
            }
            StationCall::Reset { immediate: false } => Err(CallFailed::Silent),
            StationCall::ClearCache => Err(CallFailed::NotInVersion),
            StationCall::GetConfiguration { .. } => Err(CallFailed::Offline),
            StationCall::TriggerMessage { .. } => Err(CallFailed::CallError {
                code: "NotImplemented".into(),
                description: "no".into(),
            }),
            _ => Err(CallFailed::Busy),
        })
    });
    let world = world.await;
    world.make("/v1/sites", site("depot", 0)).await;
    world.make("/v1/stations", json!({"station": "CP-1", "site": "depot"})).await;
    let call = async |body: Value| world.post("/v1/stations/CP-1/commands", &body).await;
    let reset = call(json!({"command": "reset", "immediate": true})).await;
    assert_eq!((reset.status, reset.json()), (200, json!({"reply": {"status": "Accepted"}})));
    for (body, status, code) in [
        (json!({"command": "reset"}), 504, "station_silent"),
        (json!({"command": "clear_cache"}), 409, "not_in_version"),
        (json!({"command": "get_configuration"}), 409, "station_offline"),
        (json!({"command": "trigger_message", "message": "Heartbeat"}), 502, "station_error"),
        (json!({"command": "get_base_report"}), 503, "overloaded"),
        (json!({"command": "dance"}), 422, "invalid_request"),
    ] {
        assert_eq!(call(body).await.problem(), (status, code.into()));
    }
    let unknown = world.post("/v1/stations/CP-9/commands", &json!({"command": "reset"})).await;
    assert_eq!(unknown.problem(), (404, "unknown_station".into()));
}
