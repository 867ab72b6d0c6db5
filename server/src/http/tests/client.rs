//! A client of the tests: the real server on a loopback socket, plain HTTP/1.1 by hand.

use super::node::{Node, Station};
use crate::config::StatementsConfig;
use crate::http::auth::ApiKey;
use crate::http::{Api, Limits, serve};
use novax_model::Duration;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(super) const KEY: &str = "a-key-for-the-tests";

pub(super) const LIMITS: Limits = Limits {
    body_bytes_max: 4_096,
    requests_max: 16,
    subscribers_max: 2,
    request_time_max: Duration::from_secs(30),
};

/// Whoever issues the documents of the tests.
fn seller() -> StatementsConfig {
    let text = |text: &str| Some(text.to_owned());
    StatementsConfig {
        name: text("Nova Charging GmbH"),
        street: text("Deich 1"),
        city: text("Hamburg"),
        country: text("DE"),
        vat_id: text("DE123456788"),
        party: text("DE*NVX"),
        ..StatementsConfig::default()
    }
}

/// A node, its server, and how to talk to it.
pub(super) struct World {
    pub node: Node,
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
}

/// What the server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The code of a problem, after checking that it is a whole one.
    pub(super) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
        let code = body["code"].as_str().expect("a code");
        assert_eq!(body["type"], format!("urn:novax:problem:{code}"));
        assert!(!body["detail"].as_str().expect("a detail").is_empty());
        (self.status, code.to_owned())
    }
}

impl World {
    pub(super) async fn new(partitions: u16) -> World {
        World::with(partitions, LIMITS, |_, _| None).await
    }

    pub(super) async fn with(partitions: u16, limits: Limits, station: Station) -> World {
        World::of_seller(partitions, limits, station, seller()).await
    }

    /// With somebody else who issues documents.
    pub(super) async fn of_seller(
        partitions: u16,
        limits: Limits,
        station: Station,
        seller: StatementsConfig,
    ) -> World {
        let node = Node::start(partitions, station);
        let api = Api::new(node.control.clone(), ApiKey::new(KEY), limits);
        let api = api.with_statements(seller);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, api, async {
            let _ = stopped.await;
        }));
        World { node, address, stop: Some(stop), server }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("Authorization", &format!("Bearer {KEY}"))], "").await
    }

    /// A GET that must work; its JSON.
    pub(super) async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.keyed_post(path, None, body).await
    }

    pub(super) async fn keyed_post(&self, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let authorization = format!("Bearer {KEY}");
        let mut headers =
            vec![("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        self.send("POST", path, &headers, &body.to_string()).await
    }

    /// A POST that must work; its JSON.
    pub(super) async fn make(&self, path: &str, body: Value) -> Value {
        let answer = self.keyed_post(path, Some("key-of-make"), &body).await;
        assert!((200..300).contains(&answer.status), "{path} {body}: {answer:?}");
        answer.json()
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut stream = self.open(method, path, headers, body).await;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("an answer");
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.expect("a status"), head: head.into(), body: body.into() }
    }

    /// Sends a request and leaves the answer in the socket.
    pub(super) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("the server listens");
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        // A server that has refused already may close before it has read all.
        let _ = stream.write_all(text.as_bytes()).await;
        stream
    }

    /// Stops the server and waits until it has ended.
    pub(super) async fn stop(&mut self) {
        let stop = self.stop.take().expect("stopped once");
        stop.send(()).expect("the server runs");
        (&mut self.server).await.expect("the server's task").expect("the server");
    }
}

/// Reads from a socket until the text holds `end`, or the socket ends.
pub(super) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut bytes = [0; 1_024];
    while !text.contains(end) {
        let count = stream.read(&mut bytes).await.expect("a socket");
        if count == 0 {
            break;
        }
        text.push_str(std::str::from_utf8(&bytes[..count]).expect("text"));
    }
    text
}
