//! A small blocking HTTP/1.1 client for JSON, one connection a request.

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, when it is JSON; else null.
    pub json: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The JSON of a success.
    ///
    /// # Panics
    /// When the status is none: for tests.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "status {}: {}", self.status, self.text);
        self.json
    }
}

/// A client of one node.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its key.
    pub key: String,
    /// An answer that takes longer counts as none.
    pub patience: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// There was no connection: the request certainly had no effect.
    #[error("no connection: {0}")]
    NotSent(std::io::Error),
    /// The connection broke, or the answer took too long, or is none: whether it had an effect is not known.
    #[error("no answer: {0}")]
    Unknown(std::io::Error),
}

impl From<NoAnswer> for std::io::Error {
    fn from(error: NoAnswer) -> std::io::Error {
        match error {
            NoAnswer::NotSent(error) | NoAnswer::Unknown(error) => error,
        }
    }
}

/// How long most tests wait.
const PATIENCE: Duration = Duration::from_secs(70);

impl Client {
    /// A client that waits long.
    #[must_use]
    pub fn new(address: SocketAddr, key: &str) -> Client {
        Client { address, key: key.to_owned(), patience: PATIENCE }
    }

    /// GET.
    ///
    /// # Errors
    /// When no answer came; nothing is known then.
    pub fn get(&self, path: &str) -> std::io::Result<Answer> {
        Ok(self.ask("GET", path, None, "")?)
    }

    /// POST, with an idempotency key if the route wants one.
    ///
    /// # Errors
    /// When no answer came; whether it took effect is not known then.
    pub fn post(&self, path: &str, key: Option<&str>, body: &Value) -> std::io::Result<Answer> {
        Ok(self.ask("POST", path, key, &body.to_string())?)
    }

    /// PUT of a text.
    ///
    /// # Errors
    /// When no answer came; whether it took effect is not known then.
    pub fn put(&self, path: &str, text: &str) -> std::io::Result<Answer> {
        Ok(self.ask("PUT", path, None, text)?)
    }

    /// Any request.
    ///
    /// # Errors
    /// When no answer came, with what that means.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &str,
    ) -> Result<Answer, NoAnswer> {
        let patience = self.patience.min(Duration::from_secs(5));
        let mut socket =
            TcpStream::connect_timeout(&self.address, patience).map_err(NoAnswer::NotSent)?;
        self.talk(&mut socket, method, path, key, body).map_err(NoAnswer::Unknown)
    }

    fn talk(
        &self,
        socket: &mut TcpStream,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &str,
    ) -> std::io::Result<Answer> {
        let until = Instant::now() + self.patience;
        socket.set_write_timeout(Some(self.patience))?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            self.address,
            self.key,
            body.len()
        );
        if let Some(key) = key {
            head += &format!("Idempotency-Key: {key}\r\n");
        }
        head += "\r\n";
        socket.write_all(head.as_bytes())?;
        socket.write_all(body.as_bytes())?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 16 << 10]);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            socket.set_read_timeout(Some(left))?;
            match socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        parse(&bytes).ok_or_else(|| std::io::Error::other("not an HTTP answer"))
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let text = if chunked { unchunk(body)? } else { body.to_owned() };
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Some(Answer { status, json, text })
}

fn unchunk(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n")?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        whole += rest.get(..length)?;
        body = rest.get(length + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_and_chunked_bodies() {
        let plain = parse(b"HTTP/1.1 409 Conflict\r\nX: y\r\n\r\n{\"a\":1}").expect("an answer");
        assert_eq!((plain.status, plain.json["a"].as_u64()), (409, Some(1)));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":2}\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).expect("an answer").json["a"], 2);
        assert_eq!(parse(b"junk"), None);
    }
}
