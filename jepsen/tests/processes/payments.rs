//! Charges paid by card, with a pretended payment provider that loses answers, and kills in between:
//! money is taken once, and both sides have the same books.

use crate::scene::{get, until};
use novax_jepsen::node::{Node, provision};
use novax_jepsen::station::{Station, Version};
use novax_payments::mock::{Delivery, Fault, KEY, Mock, WEBHOOK_SECRET};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::runtime::Runtime;

struct Till {
    runtime: Runtime,
    mock: Mock,
    node: Node,
    station: Station,
}

impl Till {
    /// A node with one station, and a driver `dora` who pays by this card.
    fn new(card: &str) -> Till {
        let runtime = Runtime::new().expect("a runtime");
        let mock = runtime.block_on(Mock::start());
        let url = mock.config(Duration::from_secs(5)).url;
        let node = Node::start(&[
            "--payments-provider",
            "stripe",
            "--payments-url",
            &url,
            "--payments-secret-key",
            KEY,
            "--payments-webhook-secret",
            WEBHOOK_SECRET,
        ]);
        provision(&node.client(), "depot", "GOOD", "anna", "TAG-A");
        let body = json!({
            "driver": "dora", "tokens": ["TAG-D"], "currency": "EUR",
            "funding": {"kind": "card", "method": card}
        });
        let driver = node.client().post("/v1/drivers", None, &body).expect("answers").ok();
        assert_eq!(driver["funding"], "CARD");
        let station = Station::booted(node.addresses.ocpp, "GOOD", Version::V16);
        Till { runtime, mock, node, station }
    }

    /// An app asks for a charge: the session's id.
    fn ask(&self, key: &str) -> String {
        let body = json!({"station": "GOOD", "connector": 1, "driver": "dora"});
        let session = self.node.client().post("/v1/sessions", Some(key), &body).expect("answers");
        session.ok()["id"].as_str().expect("an id").to_owned()
    }

    fn until(&self, session: &str, state: &str) -> Value {
        until(&format!("{session} in {state}"), || {
            let row = get(&self.node, &format!("/v1/sessions/{session}"));
            (row["state"] == state).then_some(row)
        })
    }

    /// The provider's answer to the newest operation of a kind.
    fn until_payment(&self, session: &str, kind: &str, state: &str) -> Value {
        until(&format!("{kind} of {session} {state}"), || {
            let list = get(&self.node, &format!("/v1/payments?session={session}"));
            let items = list["items"].as_array().expect("a list").clone();
            items.into_iter().rev().find(|row| row["kind"] == kind && row["state"] == state)
        })
    }

    fn kill(&mut self) {
        self.node.kill();
        self.node.restart(None).expect("ready again");
        let hub = self.node.addresses.ocpp;
        self.station = Station::booted(hub, "GOOD", Version::V16);
    }

    /// Brings the provider's messages to the node.
    fn deliver(&self, how: Delivery) {
        let url = format!("http://{}/v1/payments/webhooks/stripe", self.node.addresses.http);
        let statuses = self.runtime.block_on(self.mock.deliver_webhooks(&url, how));
        let statuses = statuses.expect("answers");
        assert!(statuses.iter().all(|status| *status == 204), "{statuses:?}");
    }

    /// Debits less credits of the provider's account.
    fn owed_by_provider(&self) -> i64 {
        let sql = "select coalesce(sum(debits_posted - credits_posted), 0) from accounts \
                   where name = 'psp/stripe'";
        self.node.psql(sql).expect("readable").trim().parse().expect("a number")
    }

    #[track_caller]
    fn both_sides_agree(&self) {
        let books = self.mock.books();
        let taken: u64 = books.payments.values().map(|payment| payment.received).sum();
        let back: u64 = books.refunds.iter().map(|refund| refund.amount).sum();
        assert!(books.payments.values().all(|payment| payment.captures <= 1), "{books:?}");
        let held = books.payments.values().filter(|row| row.status == "requires_capture").count();
        assert_eq!(held, 0, "nothing stays reserved: {books:?}");
        assert_eq!(self.owed_by_provider(), i64::try_from(taken - back).expect("small"));
        let report = get(&self.node, "/v1/payments/reconciliation");
        assert_eq!(report["alarming"], 0, "{report}");
        for totals in report["totals"].as_array().expect("a list") {
            assert_eq!(totals["taken_here"], totals["taken_there"], "{report}");
            assert_eq!(totals["refunded_here"], totals["refunded_there"], "{report}");
        }
    }
}

#[test]
fn money_is_taken_once_whatever_answers_are_lost_and_whenever_the_node_is_killed() {
    let mut till = Till::new("pm_card_visa");
    // The card was reserved and nobody heard of it.
    till.mock.fail_posts([Fault::LoseReply]);
    let session = till.ask("first");
    till.until(&session, "STARTING");
    let order = till.station.order("RemoteStartTransaction", Duration::from_secs(20));
    assert!(order.expect("open").is_some(), "the station is asked once the card is good");
    let (transaction, status) = till.station.start("TAG-D", 1_000);
    assert_eq!(status, "Accepted");
    // The bill is booked and the node dies while the card is charged, with the answer lost.
    till.mock.fail_posts([Fault::LoseReply]);
    till.station.stop(transaction, 11_000);
    till.kill();
    let row = till.until(&session, "SETTLED");
    assert_eq!(row["cost"]["total"]["minor"], "530");
    assert_eq!(till.owed_by_provider(), 530);
    till.both_sides_agree();

    let path = format!("/v1/sessions/{session}/refund");
    let body = json!({"amount": {"minor": "130", "currency": "EUR"}});
    till.mock.fail_posts([Fault::LoseReply]);
    for _ in 0..2 {
        let answer = till.node.client().post(&path, Some("back"), &body).expect("answers").ok();
        assert_eq!(answer["refunded"]["minor"], "130");
    }
    till.kill();
    till.until_payment(&session, "REFUND", "SUCCEEDED");
    assert_eq!(till.mock.books().refunds.len(), 1);
    let more = json!({"amount": {"minor": "401", "currency": "EUR"}});
    let refused = till.node.client().post(&path, Some("more"), &more).expect("answers");
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("insufficient_funds")));
    till.both_sides_agree();
    let sql = "select kind, state, moved from payments order by number";
    let rows = till.node.psql(sql).expect("readable");
    assert_eq!(rows, "AUTHORISE|SUCCEEDED|2000\nCAPTURE|SUCCEEDED|530\nREFUND|SUCCEEDED|130\n");
}

#[test]
fn disputes_and_fees_are_booked_once_and_both_sides_agree() {
    let mut till = Till::new("pm_card_visa");
    let session = till.ask("first");
    till.until(&session, "STARTING");
    let order = till.station.order("RemoteStartTransaction", Duration::from_secs(20));
    assert!(order.expect("open").is_some(), "the station is asked once the card is good");
    let (transaction, status) = till.station.start("TAG-D", 1_000);
    assert_eq!(status, "Accepted");
    till.station.stop(transaction, 11_000);
    till.until(&session, "SETTLED");
    let capture = till.until_payment(&session, "CAPTURE", "SUCCEEDED");
    let payment = capture["payment"].as_str().expect("named").to_owned();
    // A fee, and a dispute that the provider tells of twice; then the node is killed.
    till.mock.keep_fee(&payment, 18);
    let dispute = till.mock.dispute(&payment, 1_500);
    till.deliver(Delivery::Twice);
    let balance = |till: &Till, name: &str| {
        let sql = format!(
            "select coalesce(sum(debits_posted - credits_posted), 0) from accounts where name = '{name}'"
        );
        till.node.psql(&sql).expect("readable").trim().parse::<i64>().expect("a number")
    };
    until("the dispute is booked", || (balance(&till, "chargeback") == 530).then_some(()));
    till.kill();
    let report = get(&till.node, "/v1/payments/reconciliation");
    assert_eq!(report["alarming"], 0, "{report}");
    assert_eq!(report["totals"][0]["disputed_here"], report["totals"][0]["disputed_there"]);
    assert_eq!(report["totals"][0]["disputed_here"]["minor"], "530", "{report}");
    assert_eq!(balance(&till, "psp-fee/stripe"), 1_518, "the fee and the dispute's");
    assert_eq!(till.owed_by_provider(), 530 - 530 - 1_518);
    // It is lost: the driver owes again.
    till.mock.decide(&dispute, false);
    till.deliver(Delivery::Twice);
    until("the dispute is closed", || (balance(&till, "chargeback") == 0).then_some(()));
    assert_eq!(balance(&till, "receivable/dora"), 530);
    let report = get(&till.node, "/v1/payments/reconciliation");
    assert_eq!(report["alarming"], 0, "{report}");
}

#[test]
fn a_card_shown_at_the_station_charges_at_once_and_a_kill_before_its_answer_asks_again() {
    let mut till = Till::new("pm_card_visa");
    // No answer for as long as one is waited for; the node dies before.
    till.mock.fail_posts([Fault::Silence]);
    let (transaction, status) = till.station.start("TAG-D", 0);
    assert_eq!(status, "Accepted");
    until("the provider is asked", || (till.mock.requests().0 > 0).then_some(()));
    till.kill();
    till.station.stop(transaction, 10_000);
    let list = get(&till.node, "/v1/sessions?driver=dora");
    let session = list["items"][0]["id"].as_str().expect("an id").to_owned();
    let row = till.until(&session, "SETTLED");
    assert_eq!(row["cost"]["total"]["minor"], "530");
    till.both_sides_agree();
}

#[test]
fn a_declined_card_starts_nothing_and_messages_are_believed_only_when_signed() {
    let till = Till::new("pm_card_chargeDeclined");
    let session = till.ask("first");
    let row = till.until(&session, "REFUSED");
    assert_eq!(row["reason"], "payment declined", "{row}");
    till.both_sides_agree();
    till.deliver(Delivery::Twice);
    let forged = till.node.client().post("/v1/payments/webhooks/stripe", None, &json!({}));
    assert_eq!(forged.expect("answers").status, 400);
}
