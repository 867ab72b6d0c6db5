//! A client of the hub's HTTP API: JSON over kept-alive connections, a bounded number of them.

use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Requests at once.
pub(super) const CONCURRENCY: usize = 32;
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a request that the hub has no room for is made again.
const OVERLOAD_RETRIES_MAX: u32 = 20;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ApiError {
    /// The connection failed, also when tried again.
    #[error("the connection to the HTTP API failed: {0}")]
    Connection(#[from] std::io::Error),
    /// No answer in time.
    #[error("the HTTP API does not answer")]
    Silent,
    /// The answer is no HTTP that this client reads.
    #[error("the HTTP API answered with something unreadable: {0}")]
    Unreadable(&'static str),
    /// The hub said no.
    #[error("the HTTP API answered {status} to {request}: {detail}")]
    Refused { request: String, status: u16, detail: String },
}

/// The client.
#[derive(Debug)]
pub(super) struct Api {
    address: SocketAddr,
    key: String,
    permits: Semaphore,
    idle: Mutex<Vec<TcpStream>>,
}

/// A request with a body, if any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) path: &'a str,
    pub(super) idempotency_key: Option<&'a str>,
    pub(super) body: Option<&'a Value>,
}

impl Api {
    pub(super) fn new(address: SocketAddr, key: String) -> Api {
        let permits = Semaphore::new(CONCURRENCY);
        Api { address, key, permits, idle: Mutex::new(Vec::new()) }
    }

    /// Reads something.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call(Request { method: "GET", path, idempotency_key: None, body: None }).await
    }

    /// Makes or changes something; doing it twice is doing it once.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        let body = Some(body);
        self.call(Request { method: "POST", path, idempotency_key: None, body }).await
    }

    /// Makes a request; again while the hub has no room for it.
    pub(super) async fn call(&self, request: Request<'_>) -> Result<Value, ApiError> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let mut tries = 0;
        loop {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
            match answer.map_err(|_elapsed| ApiError::Silent)?? {
                (200..=299, body) => return Ok(body),
                (503, _) if tries < OVERLOAD_RETRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(100) * tries).await;
                }
                (status, body) => {
                    let detail = body.get("detail").and_then(Value::as_str).unwrap_or_default();
                    let request = format!("{} {}", request.method, request.path);
                    return Err(ApiError::Refused { request, status, detail: detail.to_owned() });
                }
            }
        }
    }

    /// Over an idle connection if there is one; a server may close those at any time, so a failure
    /// there is no failure yet.
    async fn exchange(&self, request: Request<'_>) -> Result<(u16, Value), ApiError> {
        let text = self.text(request);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(socket) = idle
            && let Ok(answer) = self.exchange_on(socket, &text).await
        {
            return Ok(answer);
        }
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        self.exchange_on(socket, &text).await
    }

    async fn exchange_on(
        &self,
        mut socket: TcpStream,
        text: &[u8],
    ) -> Result<(u16, Value), ApiError> {
        socket.write_all(text).await?;
        let (answer, reusable) = read_answer(&mut socket).await?;
        if reusable {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < CONCURRENCY {
                idle.push(socket);
            }
        }
        Ok(answer)
    }

    fn text(&self, request: Request<'_>) -> Vec<u8> {
        let Request { method, path, idempotency_key, body } = request;
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n",
            self.address,
            self.key,
            body.len()
        );
        if let Some(key) = idempotency_key {
            text.push_str(&format!("Idempotency-Key: {key}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(&body);
        text.into_bytes()
    }
}

/// Reads one answer; whether the connection can be used again.
async fn read_answer(socket: &mut TcpStream) -> Result<((u16, Value), bool), ApiError> {
    let mut bytes = Vec::with_capacity(2_048);
    let head = loop {
        if let Some(head) = parse_head(&bytes)? {
            break head;
        }
        more(socket, &mut bytes).await?;
    };
    let end = head.bytes.saturating_add(head.body_bytes);
    if end > ANSWER_BYTES_MAX {
        return Err(ApiError::Unreadable("an answer that is too long"));
    }
    while bytes.len() < end {
        more(socket, &mut bytes).await?;
    }
    let body = bytes.get(head.bytes..end).unwrap_or_default();
    let body = match body {
        [] => Value::Null,
        json => serde_json::from_slice(json).unwrap_or(Value::Null),
    };
    Ok(((head.status, body), !head.closes && bytes.len() == end))
}

async fn more(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), ApiError> {
    if bytes.len() > ANSWER_BYTES_MAX {
        return Err(ApiError::Unreadable("an answer that is too long"));
    }
    match socket.read_buf(bytes).await? {
        0 => Err(ApiError::Unreadable("an answer that ends in the middle")),
        _ => Ok(()),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    body_bytes: usize,
    closes: bool,
}

/// The head of an answer, once it is whole.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, ApiError> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default())
        .map_err(|_| ApiError::Unreadable("a head that is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or(ApiError::Unreadable("a head without a status"))?;
    let (mut body_bytes, mut closes) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            body_bytes = value.parse().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.eq_ignore_ascii_case("close");
        }
    }
    // Our own server gives the length of all it answers with, streams apart, which are not asked for.
    let body_bytes = match body_bytes {
        Some(body_bytes) => body_bytes,
        None if status == 204 => 0,
        None => return Err(ApiError::Unreadable("an answer without a length")),
    };
    Ok(Some(Head { status, bytes: end + 4, body_bytes, closes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_once_they_are_whole() {
        let text = b"HTTP/1.1 202 Accepted\r\ncontent-length: 12\r\nConnection: close\r\n\r\n{}";
        for cut in 0..text.len() - 2 {
            assert!(matches!(parse_head(&text[..cut]), Ok(None)), "{cut}");
        }
        let head = parse_head(text).unwrap();
        let bytes = text.len() - 2;
        assert_eq!(head, Some(Head { status: 202, bytes, body_bytes: 12, closes: true }));
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
