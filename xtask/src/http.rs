//! As much HTTP as asking our own node for a small JSON answer takes.

use crate::Result;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// The body of a GET.
pub(crate) fn get(address: &str, path: &str, key: &str) -> Result<String> {
    let fail = |error: std::io::Error| format!("GET {path}: {error}");
    let mut socket = TcpStream::connect(address).map_err(fail)?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).map_err(fail)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Connection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).map_err(fail)?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).map_err(fail)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        return Err(format!("GET {path}: {status}"));
    }
    Ok(body.to_owned())
}

/// The value of the first `"name":` in a JSON text, as it is written. Enough for flat answers whose
/// names are unique.
pub(crate) fn field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let at = json.find(&format!("\"{name}\":"))? + name.len() + 3;
    let rest = json[at..].trim_start();
    let end = match rest.as_bytes().first()? {
        b'"' => return rest[1..].split('"').next(),
        b'[' => rest.find(']')? + 1,
        _ => rest.find([',', '}', ']'])?,
    };
    Some(rest[..end].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_as_written() {
        let json = r#"{"live": 3, "text":"12.34 EUR","list":[{"a":1}],"last":true}"#;
        assert_eq!(field(json, "live"), Some("3"));
        assert_eq!(field(json, "text"), Some("12.34 EUR"));
        assert_eq!(field(json, "list"), Some(r#"[{"a":1}]"#));
        assert_eq!(field(json, "last"), Some("true"));
        assert_eq!(field(json, "none"), None);
    }
}
