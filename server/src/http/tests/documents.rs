//! Reports, invoices, credit notes, settlement statements, records and signed values of one charge.

use super::charge::{begins, ends, ends_with, start_body};
use super::client::{LIMITS, World};
use super::node::START;
use super::{ready, site};
use crate::config::StatementsConfig;
use novax_charging::command::Command;
use novax_charging::{Signed, SignedNature, SignedValue};
use novax_model::Timestamp;
use serde_json::{Value, json};

/// When the periods of these tests end: as many milliseconds after the node's start as it needs commands.
const UNTIL: Timestamp = Timestamp(START.0 + 200_000);

/// A charge of 10 kWh: 3.95 and 0.50, with 19 % tax 5.30 EUR. Says which session.
async fn charged(world: &World) -> String {
    let started = world.keyed_post("/v1/sessions", Some("k1"), &start_body()).await;
    let id = started.json()["id"].as_str().expect("an id").to_owned();
    let transaction = begins(world).await;
    ends(world, transaction, 11_000).await;
    id
}

/// Lets the node's time pass [`UNTIL`].
async fn period_over(world: &World) {
    for _ in 0..200 {
        world.node.apply("depot", Command::Tick).await;
    }
}

fn period() -> (String, String) {
    (START.to_rfc3339(), UNTIL.to_rfc3339())
}

async fn located(world: &World) {
    let mut put = site("depot", 1);
    put["location"] = json!({
        "name": "Depot", "address": "Am Kai 3", "city": "Hamburg", "country": "DE",
        "postal_code": "20457", "latitude": "53.5438", "longitude": "9.9900",
        "connector_standard": "IEC_62196_T2", "power_type": "AC_3_PHASE",
    });
    world.make("/v1/sites", put).await;
}

fn invoice_body() -> Value {
    let (from, to) = period();
    json!({"driver": "anna", "from": from, "to": to})
}

#[tokio::test]
async fn a_charge_is_invoiced_once_and_what_goes_back_is_credited_once() {
    let world = ready().await;
    let session = charged(&world).await;
    let early = world.post("/v1/invoices", &json!({"driver": "anna", "month": "2026-11"})).await;
    assert_eq!(early.problem(), (409, "not_confirmed".into()), "the month is not over");
    period_over(&world).await;
    let issued = world.make("/v1/invoices", invoice_body()).await;
    let document = issued["documents"][0].clone();
    assert_eq!(document["number"], "NX-INV-p1-2026-1", "{issued}");
    assert_eq!((&document["total_minor"], &document["sessions"]), (&json!("530"), &json!(1)));
    assert_eq!(world.make("/v1/invoices", invoice_body()).await["documents"][0], document);

    let whole = world.read("/v1/documents/NX-INV-p1-2026-1").await;
    assert_eq!(whole["kind"], "invoice");
    assert_eq!(whole["head"]["seller_vat_id"], "DE123456788");
    assert_eq!(whole["lines"].as_array().map(Vec::len), Some(2), "energy and fee: {whole}");
    let due = whole["totals"]["sums"]["amount"].as_str();
    assert_eq!(due, Some("0.00"), "the wallet has paid it: {whole}");

    let of_invoice = json!({"invoice": "NX-INV-p1-2026-1"});
    let nothing = world.keyed_post("/v1/credit-notes", Some("c1"), &of_invoice).await;
    assert_eq!(nothing.problem(), (409, "nothing_to_write".into()));
    let back = json!({"amount": {"minor": "119", "currency": "EUR"}});
    world.make(&format!("/v1/sessions/{session}/refund"), back).await;
    let credit = async |key| {
        let body = json!({"invoice": "NX-INV-p1-2026-1"});
        world.keyed_post("/v1/credit-notes", Some(key), &body).await
    };
    let note = credit("c1").await.json();
    let number = note["documents"][0]["number"].as_str().expect("a number").to_owned();
    assert_eq!(
        (number.as_str(), &note["documents"][0]["total_minor"]),
        ("NX-CN-p1-2026-1", &json!("119"))
    );
    assert_eq!(credit("c1").await.json(), note, "the same key is the same note");
    assert_eq!(credit("c2").await.problem(), (409, "nothing_to_write".into()));
    let note = world.read(&format!("/v1/documents/{number}")).await;
    assert_eq!(note["head"]["original"], "NX-INV-p1-2026-1", "{note}");

    let list = world.read("/v1/documents?subject=anna").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    let list = world.read("/v1/documents").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.get("/v1/documents/NX-INV-p1-2026-2").await.problem().0, 404);
    assert_eq!(world.get("/v1/documents/NX-INV-p9-2026-1").await.problem().0, 404);
    let unknown = json!({"invoice": "NX-CN-p1-2026-1"});
    let unknown = world.keyed_post("/v1/credit-notes", Some("c3"), &unknown).await;
    assert_eq!(unknown.problem(), (404, "not_found".into()), "a credit note is no invoice");
}

#[tokio::test]
async fn a_document_comes_in_the_form_that_is_asked_for() {
    let world = ready().await;
    let session = charged(&world).await;
    let path = format!("/v1/sessions/{session}/receipt");
    let receipt = world.read(&path).await;
    assert_eq!((&receipt["kind"], &receipt["currency"]), (&json!("receipt"), &json!("EUR")));
    let csv = world.get(&format!("{path}?format=csv")).await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.body.starts_with("line,cdr,site,"), "{}", csv.body);
    assert_eq!(csv.body.lines().count(), 3);
    let html = world.get(&format!("{path}?format=html&language=de")).await;
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(html.body.contains("5,30") && !html.body.contains("<script"), "{}", html.body);
    let taxes = world.get(&format!("{path}?format=csv&table=taxes")).await;
    assert!(taxes.body.contains("4.45,0.85"), "{}", taxes.body);
    for wrong in ["format=pdf", "format=html&language=fr", "format=csv&table=nothing"] {
        assert_eq!(world.get(&format!("{path}?{wrong}")).await.problem().0, 422, "{wrong}");
    }
}

#[tokio::test]
async fn a_record_says_what_the_session_cost_or_what_it_lacks() {
    let world = ready().await;
    let session = charged(&world).await;
    let path = format!("/v1/sessions/{session}/cdr");
    assert_eq!(world.get(&path).await.problem().0, 409, "nobody said where the site is");
    located(&world).await;
    let record = world.read(&path).await;
    assert_eq!(record["total_cost"]["before_taxes"], 4.45, "{record}");
    assert_eq!(record["total_energy"], 10);
    assert_eq!(record["cdr_location"]["city"], "Hamburg");
    assert_eq!(record["country_code"], "DE");
    let older = world.read(&format!("{path}?version=2.2.1")).await;
    assert_eq!(older["total_cost"], json!({"excl_vat": 4.45, "incl_vat": 5.3}));
    assert_eq!(older["tariffs"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.get(&format!("{path}?version=2.1.1")).await.problem().0, 422);
    assert_eq!(world.get("/v1/sessions/0/cdr").await.problem().0, 404);
}

#[tokio::test]
async fn revenue_and_settlement_are_what_the_ledger_booked() {
    let world = ready().await;
    let session = charged(&world).await;
    let (from, to) = period();
    let revenue = async |group: &str| {
        world.read(&format!("/v1/reports/revenue?from={from}&to={to}&group={group}")).await
    };
    let by_site = revenue("site").await;
    assert_eq!(by_site["totals"]["entries"]["gross"], "5.30", "{by_site}");
    assert_eq!(by_site["entries"][0]["site"], "depot");
    let by_partner = revenue("partner").await;
    let share = |name: &str| -> String {
        let rows = by_partner["entries"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["party"] == name).expect("a partner");
        row["share"].as_str().expect("an amount").to_owned()
    };
    assert_eq!(by_partner["totals"]["entries"]["share"], "4.45", "{by_partner}");
    let host = share("site-host/depot");
    let path = format!("/v1/reports/settlement/site-host%2Fdepot?from={from}&to={to}");
    let statement = world.read(&path).await;
    assert_eq!(statement["totals"]["sums"]["amount"], host.as_str(), "{statement}");
    assert_eq!(statement["sessions"][0]["cdr"], session.as_str());
    // Money that goes back counts as a correction, in both.
    let back = json!({"amount": {"minor": "530", "currency": "EUR"}});
    world.make(&format!("/v1/sessions/{session}/refund"), back).await;
    assert_eq!(revenue("site").await["totals"]["entries"]["gross"], "0.00");
    assert_eq!(world.read(&path).await["totals"]["sums"]["amount"], "0.00");
    period_over(&world).await;
    let body = json!({"partner": "site-host/depot", "from": from, "to": to});
    let issued = world.make("/v1/settlements", body.clone()).await;
    assert_eq!(issued["documents"][0]["number"], "NX-SET-p1-2026-1", "{issued}");
    assert_eq!(world.make("/v1/settlements", body).await, issued);
    let nobody = world.get(&format!("/v1/reports/settlement/nobody?from={from}&to={to}")).await;
    assert_eq!(nobody.problem().0, 404);
    let person = format!("/v1/reports/settlement/driver%2Fanna?from={from}&to={to}");
    assert_eq!(world.get(&person).await.problem().0, 404, "a wallet is no partner's");
    let contract = world.read("/v1/sessions").await["items"][0]["deal"]["contract"].clone();
    let contract = contract.as_str().expect("a hash");
    let accruals = world.read(&format!("/v1/contracts/{contract}/accruals")).await;
    assert_eq!(accruals[0]["site"], "depot", "{accruals}");
    assert_eq!(world.read("/v1/contracts/none/accruals").await, json!([]));
    assert_eq!(world.read("/v1/books/ageing").await, json!([]));
}

#[tokio::test]
async fn signed_values_are_kept_as_they_came_and_judged() {
    let world = ready().await;
    let started = world.keyed_post("/v1/sessions", Some("k1"), &start_body()).await;
    let id = started.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/sessions/{id}/signed");
    assert_eq!(world.get(&path).await.problem().0, 404);
    let transaction = begins(&world).await;
    let value = SignedValue {
        nature: SignedNature::End,
        encoding: "OCMF".into(),
        method: "".into(),
        key: "".into(),
        raw: b"OCMF|{\"no\":\"record\"}|{\"SD\":\"00\"}".to_vec(),
    };
    let signed = Signed { energy: None, values: vec![value] };
    ends_with(&world, transaction, 11_000, Some(Box::new(signed))).await;
    let view = world.read(&path).await;
    assert_eq!(view["values"][0]["record"], "OCMF|{\"no\":\"record\"}|{\"SD\":\"00\"}", "{view}");
    assert_eq!(view["values"][0]["verdict"], "unverifiable");
    assert_eq!(view["values"][0]["key_from"], "none");
    assert!(view["not_measured"].is_string());
    let bad = json!({"station": "CP-1", "site": "depot", "meter_public_key": "not a key"});
    assert_eq!(world.post("/v1/stations", &bad).await.problem().0, 422);
    let point = format!("04{}", "11".repeat(64));
    let good = json!({"station": "CP-1", "site": "depot", "meter_public_key": point});
    world.make("/v1/stations", good).await;
    assert_eq!(world.read(&path).await["values"][0]["key_from"], "station");
}

#[tokio::test]
async fn without_a_seller_there_is_no_invoice_and_it_says_so() {
    let nobody = StatementsConfig::default();
    let world = World::of_seller(3, LIMITS, |_, _| None, nobody).await;
    let invoice = world.post("/v1/invoices", &invoice_body()).await;
    assert_eq!(invoice.problem(), (409, "seller_not_configured".into()));
    assert!(invoice.body.contains("statements.vat_id"), "{}", invoice.body);
}
