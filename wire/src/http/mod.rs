//! HTTP as stations and apps speak it. Here, the upgrade that opens a WebSocket: RFC 6455 section 4, and where OCPP-J
//! puts the identity. Requests of API clients are in [`Request`].
//!
//! Invariants: a head longer than [`HEAD_BYTES_MAX`] is refused, never buffered further; a refusal
//! names the HTTP status to answer with; nothing that a peer sent is repeated in a response head.

mod request;

pub use request::{BODY_BYTES_MAX, Request, parse_request, write_response};

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest as _, Sha1};
use std::fmt;

/// The longest request or response head that is read.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The most header lines in a head.
pub const HEADERS_MAX: usize = 64;
/// The most subprotocols a client may offer; further ones are ignored.
pub const PROTOCOLS_MAX: usize = 16;
/// Identities live under this path.
pub const OCPP_PREFIX: &str = "/ocpp/";

/// RFC 6455, 1.3: what both sides append to the key before hashing.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Chargers are known to leave the padding of their credentials out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A request to open a WebSocket.
#[derive(Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The path, percent-decoded, without the query.
    pub path: String,
    /// The last segment of a path under [`OCPP_PREFIX`], decoded; not yet checked as an identity.
    /// `None` when the path is elsewhere.
    pub identity: Option<String>,
    /// Subprotocols in the client's order of preference.
    pub protocols: Vec<String>,
    /// `Sec-WebSocket-Key` as sent.
    pub key: String,
    /// User name and password of HTTP Basic authentication.
    pub basic: Option<(String, Vec<u8>)>,
    /// How many bytes of the input the head took; WebSocket frames follow.
    pub head_len: usize,
}

impl fmt::Debug for Upgrade {
    /// Leaves the password out, so that it cannot end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("path", &self.path)
            .field("identity", &self.identity)
            .field("protocols", &self.protocols)
            .field("basic_user", &self.basic.as_ref().map(|(user, _)| user))
            .field("head_len", &self.head_len)
            .finish_non_exhaustive()
    }
}

/// The server agreed to open a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAccept {
    /// How many bytes of the input the head took; WebSocket frames follow.
    pub head_len: usize,
    /// The subprotocol the server chose.
    pub subprotocol: Option<String>,
}

/// Why a head was not taken, and the status to answer with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The head is not HTTP/1.1 as RFC 9112 has it. The peer's fault.
    #[error("{0}")]
    Malformed(&'static str),
    /// The path names no station.
    #[error("the path names no station: use /ocpp/{{identity}}")]
    NotFound,
    /// Only GET opens a WebSocket.
    #[error("only GET opens a WebSocket")]
    MethodNotAllowed,
    /// A plain HTTP request, or another version of the WebSocket protocol.
    #[error("{0}")]
    UpgradeRequired(&'static str),
    /// The head is longer than [`HEAD_BYTES_MAX`] or has more than [`HEADERS_MAX`] lines.
    #[error("the request head is too long")]
    HeadTooLong,
    /// The body is longer than [`BODY_BYTES_MAX`].
    #[error("the request body is too long")]
    BodyTooLong,
    /// The body's length is not said before it.
    #[error("send a Content-Length: no transfer coding is taken")]
    LengthRequired,
    /// The client waits for leave to send its body.
    #[error("send the body without asking for leave")]
    ExpectationFailed,
    /// Client side: the server answered with another status than 101.
    #[error("the server refused the upgrade with status {status}")]
    Refused {
        /// The status it answered with.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// Client side: the server said yes, but not to our request.
    #[error("{0}")]
    WrongAccept(&'static str),
}

impl HttpError {
    /// The status to answer with; on the client side, the status that was answered.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            HttpError::Malformed(_) => 400,
            HttpError::NotFound => 404,
            HttpError::MethodNotAllowed => 405,
            HttpError::UpgradeRequired(_) => 426,
            HttpError::LengthRequired => 411,
            HttpError::BodyTooLong => 413,
            HttpError::ExpectationFailed => 417,
            HttpError::HeadTooLong => 431,
            HttpError::Refused { status, .. } => *status,
            HttpError::WrongAccept(_) => 101,
        }
    }
}

/// Reads an upgrade request from the start of `input`. `None`: the head is not complete yet.
///
/// # Errors
/// [`HttpError`] with the status to refuse the request with.
pub fn parse_upgrade(input: &[u8]) -> Result<Option<Upgrade>, HttpError> {
    let Some((head, head_len)) = complete_head(input)? else { return Ok(None) };
    let mut lines = head.split("\r\n");
    let target = request_target(lines.next().unwrap_or_default())?;
    let headers = UpgradeHeaders::read(lines)?;
    headers.check()?;
    let raw_path = path_of_target(target)?;
    let upgrade = Upgrade {
        path: percent_decode(raw_path)?,
        identity: identity_of_path(raw_path)?,
        protocols: headers.protocols,
        key: headers.key.unwrap_or_default().to_owned(),
        basic: headers.basic,
        head_len,
    };
    assert!(upgrade.head_len <= input.len(), "a head is part of the input");
    Ok(Some(upgrade))
}

/// Writes the `101 Switching Protocols` that accepts an upgrade with this key.
pub fn accept_response(key: &str, subprotocol: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    header(out, "Sec-WebSocket-Accept", &accept_value(key));
    if let Some(subprotocol) = subprotocol {
        header(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a refusal: status line, `extra` headers, and the reason as a plain-text body.
pub fn refuse_response(status: u16, reason: &str, extra: &[(&str, &str)], out: &mut Vec<u8>) {
    assert!((300..600).contains(&status), "a refusal has a status that refuses");
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", phrase(status)).as_bytes());
    for (name, value) in extra {
        header(out, name, value);
    }
    if status == 426 {
        out.extend_from_slice(
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        );
    } else {
        if status == 405 {
            header(out, "Allow", "GET");
        }
        header(out, "Connection", "close");
    }
    header(out, "Content-Type", "text/plain; charset=utf-8");
    header(out, "Content-Length", &(reason.len() + 1).to_string());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(reason.as_bytes());
    out.push(b'\n');
}

/// Writes a client's upgrade request. `path` must already be percent-encoded ([`percent_encode`]);
/// `key` is 16 random bytes.
pub fn client_request(
    host: &str,
    path: &str,
    subprotocols: &[&str],
    basic: Option<(&str, &str)>,
    key: &[u8; 16],
    out: &mut Vec<u8>,
) {
    assert!(path.starts_with('/'), "a request path starts with a slash");
    assert!(path.bytes().all(|b| b.is_ascii_graphic()), "a request path is percent-encoded");
    out.extend_from_slice(format!("GET {path} HTTP/1.1\r\n").as_bytes());
    header(out, "Host", host);
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
    header(out, "Sec-WebSocket-Version", "13");
    header(out, "Sec-WebSocket-Key", &STANDARD.encode(key));
    if !subprotocols.is_empty() {
        header(out, "Sec-WebSocket-Protocol", &subprotocols.join(", "));
    }
    if let Some((user, password)) = basic {
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        header(out, "Authorization", &format!("Basic {credentials}"));
    }
    out.extend_from_slice(b"\r\n");
}

/// Reads the server's answer to a request that was written with `key`. `None`: more is needed.
///
/// # Errors
/// [`HttpError::Refused`] keeps the status; the others say what is wrong with the answer.
pub fn parse_client_response(
    input: &[u8],
    key: &[u8; 16],
) -> Result<Option<ClientAccept>, HttpError> {
    let Some((head, head_len)) = complete_head(input)? else { return Ok(None) };
    let mut lines = head.split("\r\n");
    let (status, reason) = status_line(lines.next().unwrap_or_default())?;
    if status != 101 {
        return Err(HttpError::Refused { status, reason: reason.to_owned() });
    }
    let (mut accept, mut subprotocol, mut upgraded) = (None, None, false);
    for line in lines.filter(|line| !line.is_empty()).take(HEADERS_MAX) {
        let (name, value) = split_header(line)?;
        if name.eq_ignore_ascii_case("sec-websocket-accept") {
            accept = Some(value);
        } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
            subprotocol = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("upgrade") {
            upgraded = has_token(value, "websocket");
        }
    }
    if !upgraded {
        return Err(HttpError::WrongAccept("the server switched to another protocol"));
    }
    if accept != Some(accept_value(&STANDARD.encode(key)).as_str()) {
        return Err(HttpError::WrongAccept("Sec-WebSocket-Accept does not answer our key"));
    }
    Ok(Some(ClientAccept { head_len, subprotocol }))
}

/// Percent-encodes one path segment: everything but unreserved characters (RFC 3986, 2.3).
#[must_use]
pub fn percent_encode(segment: &str) -> String {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
    out
}

/// What an upgrade's header lines said.
#[derive(Default)]
struct UpgradeHeaders<'a> {
    host: bool,
    upgrade: bool,
    connection: bool,
    version_13: bool,
    version: bool,
    key: Option<&'a str>,
    protocols: Vec<String>,
    basic: Option<(String, Vec<u8>)>,
}

impl<'a> UpgradeHeaders<'a> {
    fn read(lines: impl Iterator<Item = &'a str>) -> Result<Self, HttpError> {
        let mut headers = UpgradeHeaders::default();
        for (count, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            if count >= HEADERS_MAX {
                return Err(HttpError::HeadTooLong);
            }
            let (name, value) = split_header(line)?;
            headers.take(name, value)?;
        }
        Ok(headers)
    }

    fn take(&mut self, name: &str, value: &'a str) -> Result<(), HttpError> {
        if name.eq_ignore_ascii_case("host") {
            self.host = true;
        } else if name.eq_ignore_ascii_case("upgrade") {
            self.upgrade |= has_token(value, "websocket");
        } else if name.eq_ignore_ascii_case("connection") {
            self.connection |= has_token(value, "upgrade");
        } else if name.eq_ignore_ascii_case("sec-websocket-version") {
            self.version = true;
            self.version_13 |= value == "13";
        } else if name.eq_ignore_ascii_case("sec-websocket-key") {
            if self.key.replace(value).is_some() {
                return Err(HttpError::Malformed("Sec-WebSocket-Key is there twice"));
            }
        } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
            let room = PROTOCOLS_MAX - self.protocols.len();
            let offered = value.split(',').map(str::trim).filter(|p| !p.is_empty());
            self.protocols.extend(offered.take(room).map(str::to_owned));
        } else if name.eq_ignore_ascii_case("authorization") {
            if self.basic.is_some() {
                return Err(HttpError::Malformed("Authorization is there twice"));
            }
            self.basic = basic_credentials(value)?;
        }
        assert!(self.protocols.len() <= PROTOCOLS_MAX);
        Ok(())
    }

    fn check(&self) -> Result<(), HttpError> {
        if !self.host {
            return Err(HttpError::Malformed("the Host header is missing"));
        }
        if !self.upgrade || !self.connection {
            return Err(HttpError::UpgradeRequired("this address speaks WebSocket only"));
        }
        if !self.version_13 {
            let reason = if self.version {
                "only WebSocket version 13 is spoken"
            } else {
                "Sec-WebSocket-Version is missing"
            };
            return Err(HttpError::UpgradeRequired(reason));
        }
        let key = self.key.ok_or(HttpError::Malformed("Sec-WebSocket-Key is missing"))?;
        if LENIENT.decode(key).is_ok_and(|decoded| decoded.len() == 16) {
            Ok(())
        } else {
            Err(HttpError::Malformed("Sec-WebSocket-Key is not 16 bytes in base64"))
        }
    }
}

/// The head as text and its length with the blank line, once that line is there.
fn complete_head(input: &[u8]) -> Result<Option<(&str, usize)>, HttpError> {
    // What cannot start an HTTP head (a TLS hello, say) is refused at its first byte.
    if input.first().is_some_and(|first| !first.is_ascii_uppercase()) {
        return Err(HttpError::Malformed("this is not HTTP/1.1"));
    }
    let window = input.get(..HEAD_BYTES_MAX).unwrap_or(input);
    let Some(end) = memchr::memmem::find(window, b"\r\n\r\n") else {
        if input.len() >= HEAD_BYTES_MAX {
            return Err(HttpError::HeadTooLong);
        }
        return Ok(None);
    };
    let head = window.get(..end).unwrap_or_default();
    // Header values outside ASCII are obsolete and none that we read may have them.
    let head = std::str::from_utf8(head)
        .map_err(|_| HttpError::Malformed("the head is neither ASCII nor UTF-8"))?;
    let control = |b: u8| b.is_ascii_control() && !matches!(b, b'\r' | b'\n' | b'\t');
    if head.bytes().any(control) {
        return Err(HttpError::Malformed("the head holds control characters"));
    }
    Ok(Some((head, end + 4)))
}

fn request_target(line: &str) -> Result<&str, HttpError> {
    let mut words = line.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(HttpError::Malformed("the request line is not METHOD TARGET VERSION"));
    };
    if version != "HTTP/1.1" {
        return Err(HttpError::Malformed("only HTTP/1.1 can be upgraded"));
    }
    if method != "GET" {
        return Err(HttpError::MethodNotAllowed);
    }
    Ok(target)
}

fn status_line(line: &str) -> Result<(u16, &str), HttpError> {
    let rest = line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| line.strip_prefix("HTTP/1.0 "))
        .ok_or(HttpError::Malformed("the status line is not HTTP/1.1"))?;
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    match code.parse() {
        Ok(status @ 100..=599) => Ok((status, reason)),
        _ => Err(HttpError::Malformed("the status is not a number from 100 to 599")),
    }
}

fn split_header(line: &str) -> Result<(&str, &str), HttpError> {
    let malformed = HttpError::Malformed("a header line is not NAME: VALUE");
    let Some((name, value)) = line.split_once(':') else { return Err(malformed) };
    // A space before the colon, or a folded line, is how request smuggling is done (RFC 9112, 5.1).
    let token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
    if name.is_empty() || !name.bytes().all(token) || value.contains(['\r', '\n']) {
        return Err(malformed);
    }
    Ok((name, value.trim_matches([' ', '\t'])))
}

fn has_token(value: &str, token: &str) -> bool {
    value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn basic_credentials(value: &str) -> Result<Option<(String, Vec<u8>)>, HttpError> {
    let Some((scheme, rest)) = value.split_once(' ') else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let malformed = HttpError::Malformed("the Basic credentials are not base64 of USER:PASSWORD");
    let Ok(mut user) = LENIENT.decode(rest.trim()) else { return Err(malformed) };
    let Some(colon) = memchr::memchr(b':', &user) else { return Err(malformed) };
    // OCPP passwords may be any bytes (1.6 security white paper, A00): only the name is text.
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    let user = String::from_utf8(user).map_err(|_| malformed)?;
    Ok(Some((user, password)))
}

/// The path of an origin-form or absolute-form target, still encoded, without the query.
fn path_of_target(target: &str) -> Result<&str, HttpError> {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
            rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/")
        }
        _ => target,
    };
    if !target.starts_with('/') {
        return Err(HttpError::Malformed("the request target is not a path"));
    }
    Ok(target.split(['?', '#']).next().unwrap_or(target))
}

/// Segments are cut before decoding, so that an encoded slash can be part of an identity.
fn identity_of_path(raw_path: &str) -> Result<Option<String>, HttpError> {
    let Some(below) = raw_path.strip_prefix(OCPP_PREFIX) else {
        let bare = OCPP_PREFIX.trim_end_matches('/');
        return if raw_path == bare { Err(HttpError::NotFound) } else { Ok(None) };
    };
    let below = below.strip_suffix('/').unwrap_or(below);
    let last = below.rsplit('/').next().unwrap_or_default();
    if last.is_empty() {
        return Err(HttpError::NotFound);
    }
    percent_decode(last).map(Some)
}

fn percent_decode(text: &str) -> Result<String, HttpError> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let hex = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (high, low) = (hex(bytes.next()), hex(bytes.next()));
        let decoded = high.zip(low).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        out.push(decoded.ok_or(HttpError::Malformed("the path has a broken percent escape"))?);
    }
    assert!(out.len() <= text.len(), "decoding never grows");
    String::from_utf8(out).map_err(|_| HttpError::Malformed("the path is not UTF-8"))
}

fn accept_value(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(ACCEPT_GUID);
    STANDARD.encode(hash.finalize())
}

/// Values come from this crate's callers; a line break in one would forge a header.
fn header(out: &mut Vec<u8>, name: &str, value: &str) {
    assert!(!name.contains(['\r', '\n', ':']), "a header name is one word");
    assert!(!value.contains(['\r', '\n']), "a header value is one line");
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Refused",
    }
}
