//! A blocking client of the HTTP API: one kept-alive connection for each thread.

use crate::error::{BenchError, During, Result};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How often a request that the node has no room for is made again.
const OVERLOAD_RETRIES_MAX: u32 = 50;

#[derive(Debug)]
pub(crate) struct Http {
    address: SocketAddr,
    key: String,
    socket: Option<TcpStream>,
}

impl Http {
    pub(crate) fn new(address: SocketAddr, key: String) -> Http {
        Http { address, key, socket: None }
    }

    /// A page as text.
    pub(crate) fn get_text(&mut self, path: &str) -> Result<String> {
        let body = self.call("GET", path, None, "")?;
        String::from_utf8(body).map_err(|_| BenchError::Answer(format!("{path} is no text")))
    }

    /// Makes something; the same again makes nothing, so a request may be repeated.
    pub(crate) fn get(&mut self, path: &str) -> Result<Value> {
        let text = self.get_text(path)?;
        serde_json::from_str(&text).map_err(|_| BenchError::Answer(text))
    }

    pub(crate) fn post(&mut self, path: &str, key: Option<&str>, body: &Value) -> Result<Value> {
        let answer = self.call("POST", path, key, &body.to_string())?;
        serde_json::from_slice(&answer)
            .map_err(|error| BenchError::Answer(format!("POST {path}: {error}")))
    }

    fn call(&mut self, method: &str, path: &str, key: Option<&str>, body: &str) -> Result<Vec<u8>> {
        for retry in 0..OVERLOAD_RETRIES_MAX {
            let (status, answer) = self.exchange(method, path, key, body)?;
            match status {
                200..=299 => return Ok(answer),
                503 => std::thread::sleep(Duration::from_millis(20) * (retry + 1)),
                _ => {
                    let text = String::from_utf8_lossy(&answer);
                    let said = format!("{method} {path}: {status} {text}");
                    return Err(BenchError::Answer(said));
                }
            }
        }
        Err(BenchError::Answer(format!("{method} {path}: overloaded for too long")))
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &str,
    ) -> Result<(u16, Vec<u8>)> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connect()?,
        };
        let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{key}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        );
        socket.write_all(request.as_bytes()).during("writing to the HTTP API")?;
        let (status, answer) = read_answer(&mut socket)?;
        self.socket = Some(socket);
        Ok((status, answer))
    }

    fn connect(&self) -> Result<TcpStream> {
        let socket = TcpStream::connect(self.address).during("connecting to the HTTP API")?;
        socket.set_nodelay(true).during("connecting to the HTTP API")?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT)).during("connecting to the HTTP API")?;
        Ok(socket)
    }
}

fn read_answer(socket: &mut TcpStream) -> Result<(u16, Vec<u8>)> {
    let unreadable = || BenchError::Answer("the HTTP API sent no HTTP that can be read".into());
    let mut bytes = Vec::with_capacity(4_096);
    let mut chunk = [0; 16 * 1_024];
    loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            let head = bytes.get(..end).and_then(|head| std::str::from_utf8(head).ok());
            let (status, length) = parse_head(head.unwrap_or_default()).ok_or_else(unreadable)?;
            if let Some(body) = bytes.get(end + 4..end + 4 + length) {
                return Ok((status, body.to_vec()));
            }
        }
        let read = socket.read(&mut chunk).during("reading from the HTTP API")?;
        if read == 0 || bytes.len() > ANSWER_BYTES_MAX {
            return Err(unreadable());
        }
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
}

/// Status and length of the body.
fn parse_head(head: &str) -> Option<(u16, usize)> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse().ok()).flatten()
    })?;
    (length <= ANSWER_BYTES_MAX).then_some((status, length))
}

#[cfg(test)]
mod tests {
    use super::parse_head;

    #[test]
    fn a_head_has_a_status_and_a_length() {
        assert_eq!(parse_head("HTTP/1.1 200 OK\r\nContent-Length: 5"), Some((200, 5)));
        assert_eq!(parse_head("HTTP/1.1 200 OK\r\nX: 5"), None);
        assert_eq!(parse_head("HTTP/1.1 200 OK\r\ncontent-length: 99999999999"), None);
    }
}
