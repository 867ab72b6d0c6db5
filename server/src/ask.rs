//! One request of the command line to a node's HTTP API.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<String>,
}

/// Sends it over a connection of its own: the body of a success, or in words why there is none.
pub(crate) fn ask(address: SocketAddr, key: &str, request: &Request) -> Result<Vec<u8>, String> {
    match exchange(address, key, request) {
        Ok((200..=299, body)) => Ok(body),
        Ok((status, body)) => {
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let detail = problem["detail"].as_str().unwrap_or("no reason was given");
            Err(format!("the node answered {status}: {detail}"))
        }
        Err(error) => Err(format!("{address}: {error}")),
    }
}

/// Status and body.
fn exchange(address: SocketAddr, key: &str, request: &Request) -> std::io::Result<(u16, Vec<u8>)> {
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let body = request.body.as_deref().unwrap_or_default();
    // An answer of version 1.0 ends with its connection: no chunks.
    let head = format!(
        "{} {} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        request.method,
        request.path,
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    read_answer(&answer).ok_or_else(|| std::io::Error::other("the answer is no HTTP"))
}

fn read_answer(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end);
    let head = std::str::from_utf8(head).ok()?;
    let status = head.lines().next()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.get(4..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_or_is_none() {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Type: text/csv\r\n\r\na,b\r\n";
        assert_eq!(read_answer(answer), Some((200, b"a,b\r\n".to_vec())));
        for broken in [&b""[..], b"\r\n\r\n", b"HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK"] {
            assert_eq!(read_answer(broken), None);
        }
    }
}
