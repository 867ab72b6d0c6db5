//! The wire protocol against a server that we did not write: `localstripe`, as a process of its own. It knows no
//! idempotency keys and no increments, so what these are for is tested against our own.

use crate::world::{authorise, done, now, with};
use novax_model::Duration;
use novax_payments::stripe::{Stripe, StripeConfig};
use novax_payments::{
    Attempt, Knowledge, OperationKind, Outcome, PaymentProvider, Refusal, RowKind, RowState, Topic,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// `NOVAX_PYTHON`, or the workspace's own.
fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("NOVAX_PYTHON") {
        return path.into();
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    assert!(own.exists(), "{} is missing: cargo xtask setup installs it", own.display());
    own
}

struct Server {
    child: Child,
    /// It lives as long as this is open.
    input: Option<ChildStdin>,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

const SECRET: &str = "whsec_localstripe";

impl Server {
    fn start() -> Server {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/stripe_server.py");
        let mut child = Command::new(python())
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let port: u16 = line.trim().parse().expect("a port: is localstripe installed?");
        let input = child.stdin.take();
        Server { child, input, url: format!("http://127.0.0.1:{port}") }
    }

    fn client(&self) -> Stripe {
        let config = StripeConfig {
            url: self.url.clone(),
            filters: false,
            ..StripeConfig::new("sk_test_12345", SECRET)
        };
        Stripe::new(config).expect("a configuration")
    }

    async fn post(&self, path: &str, form: &str) -> String {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let post = client
            .post(format!("{}{path}", self.url))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .bearer_auth("sk_test_12345");
        let answer = post.body(form.to_owned()).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().await.expect("a body")
    }

    /// The name of a means of payment with that card number.
    async fn card(&self, number: &str) -> String {
        let form = format!(
            "type=card&card[number]={number}&card[exp_month]=12&card[exp_year]=2040&card[cvc]=123"
        );
        let made = self.post("/v1/payment_methods", &form).await;
        let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
        made["id"].as_str().expect("a name").to_owned()
    }
}

#[tokio::test]
async fn another_projects_server_understands_us() {
    let server = Server::start();
    let stripe = server.client();
    let visa = server.card("4242424242424242").await;

    let hold = authorise(&visa, 5000);
    let (payment, held) = done(&stripe, &hold).await;
    assert_eq!(held, 5000);
    let found = Outcome::Succeeded { reference: payment.clone(), amount: 5000 };
    assert_eq!(stripe.query(&hold).await, Knowledge::Found(found), "by our own id");
    assert_eq!(stripe.query(&authorise(&visa, 5000)).await, Knowledge::Absent);

    let take = with(OperationKind::Capture, &payment, 1234);
    assert_eq!(stripe.query(&take).await, Knowledge::Absent);
    assert_eq!(done(&stripe, &take).await, (payment.clone(), 1234));
    let found = Outcome::Succeeded { reference: payment.clone(), amount: 1234 };
    assert_eq!(stripe.query(&take).await, Knowledge::Found(found));

    let (second, _) = done(&stripe, &authorise(&visa, 700)).await;
    let void = with(OperationKind::Void, &second, 0);
    assert_eq!(stripe.query(&void).await, Knowledge::Absent);
    assert_eq!(done(&stripe, &void).await, (second.clone(), 0));
    assert!(matches!(stripe.query(&void).await, Knowledge::Found(Outcome::Succeeded { .. })));

    let rows = stripe.list(hold.at, 100).await.expect("a list");
    let by_name: BTreeMap<&str, _> = rows.iter().map(|row| (row.reference.as_str(), row)).collect();
    assert_eq!(by_name.len(), 2, "the part that was not taken is no refund");
    let row = by_name[payment.as_str()];
    assert_eq!((row.state, row.amount, row.moved), (RowState::Done, 5000, 1234));
    assert_eq!(row.operation, Some(hold.id));
    assert_eq!(by_name[second.as_str()].state, RowState::Void);

    let back = with(OperationKind::Refund, &payment, 200);
    assert_eq!(stripe.query(&back).await, Knowledge::Absent);
    let (refund, amount) = done(&stripe, &back).await;
    assert_eq!(amount, 200);
    let found = Outcome::Succeeded { reference: refund.clone(), amount: 200 };
    assert_eq!(stripe.query(&back).await, Knowledge::Found(found));
    let rows = stripe.list(hold.at, 100).await.expect("a list");
    let row = rows.iter().find(|row| row.kind == RowKind::Refund).expect("the refund");
    assert_eq!((row.moved, row.operation), (200, Some(back.id)));
}

#[tokio::test]
async fn another_projects_server_declines_as_ours_does() {
    let server = Server::start();
    let stripe = server.client();
    for (number, expected) in [
        ("4000000000000341", Refusal::CardDeclined),
        ("4000002500003155", Refusal::AuthenticationRequired),
    ] {
        let card = server.card(number).await;
        let attempt = stripe.send(&authorise(&card, 100)).await;
        let Attempt::Answered(Outcome::Declined { refusal, .. }) = attempt else {
            panic!("{number}: {attempt:?}");
        };
        assert_eq!(refusal, expected, "{number}");
    }
    let attempt = stripe.send(&authorise("pm_nobodys", 100)).await;
    assert!(matches!(attempt, Attempt::Answered(Outcome::Declined { .. })), "{attempt:?}");
}

#[tokio::test]
async fn another_projects_messages_are_believed() {
    let server = Server::start();
    let stripe = server.client();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    server.post("/_config/webhooks/ours", &format!("url=http://{address}/&secret={SECRET}")).await;
    let visa = server.card("4242424242424242").await;
    let hold = authorise(&visa, 5000);
    let (payment, _) = done(&stripe, &hold).await;
    done(&stripe, &with(OperationKind::Capture, &payment, 1234)).await;

    // The first message is about the charge or the payment: it sends several.
    let mut event = None;
    while event.is_none() {
        let (header, body) = receive(&listener).await;
        let read = stripe.verify_webhook(&header, &body, now()).expect("it is signed");
        event = Some(read).filter(|read| &*read.name == "payment_intent.succeeded");
    }
    let event = event.expect("the loop ends with one");
    assert_eq!(event.topic, Topic::Payment);
    assert_eq!(event.payment, Some(payment));
    assert_eq!(event.operation, Some(hold.id));
    assert!(now().since(event.created) < Duration::from_secs(300));
}

/// One message: signature and body.
async fn receive(listener: &TcpListener) -> (String, Vec<u8>) {
    let (mut socket, _) = listener.accept().await.expect("it calls");
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = socket.read(&mut part).await.expect("it sends");
        assert!(count > 0, "it sends a whole message");
        bytes.extend_from_slice(&part[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).expect("ASCII");
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
            line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
        };
        let length: usize =
            header("content-length").and_then(|text| text.parse().ok()).expect("a length");
        if bytes.len() >= end + 4 + length {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            socket.write_all(answer).await.expect("it listens");
            return (header("stripe-signature").expect("signed"), bytes.split_off(end + 4));
        }
    }
}
