//! A request of an API client: as much of RFC 9112 as clients with short bodies of JSON need.
//!
//! Invariants: a body longer than [`BODY_BYTES_MAX`] is refused by its `Content-Length`, before it is read; a body's
//! length is said exactly once and in digits, so that no two readers of the same bytes see different requests.

use super::{HEADERS_MAX, HttpError, complete_head, has_token, header, phrase, split_header};

/// The longest request body that is read.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// A whole request, within the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// As sent; methods are case-sensitive.
    pub method: &'a str,
    /// The request target as sent, query and all.
    pub target: &'a str,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<&'a str>,
    /// `X-Request-Id`.
    pub request_id: Option<&'a str>,
    /// The body; empty when there is none.
    pub body: &'a [u8],
    /// The client closes after the answer.
    pub close: bool,
    /// How many bytes of the input the request took, body and all.
    pub length: usize,
}

/// Reads a request from the start of `input`. `None`: it is not complete yet.
///
/// # Errors
/// [`HttpError`] with the status to answer. What follows in the input cannot be told from it: close.
pub fn parse_request(input: &[u8]) -> Result<Option<Request<'_>>, HttpError> {
    let Some((head, head_len)) = complete_head(input)? else { return Ok(None) };
    let mut lines = head.split("\r\n");
    let (method, target) = request_line(lines.next().unwrap_or_default())?;
    let headers = Headers::read(lines)?;
    let length = headers.length.unwrap_or(0);
    let Some(body) = input.get(head_len..head_len + length) else { return Ok(None) };
    Ok(Some(Request {
        method,
        target,
        authorization: headers.authorization,
        content_type: headers.content_type,
        idempotency_key: headers.idempotency_key,
        request_id: headers.request_id,
        body,
        close: headers.close,
        length: head_len + length,
    }))
}

/// Writes an answer with a body: the status, `headers`, whether the connection stays, and the body's length.
pub fn write_response(
    status: u16,
    headers: &[(&str, &str)],
    close: bool,
    body: &[u8],
    out: &mut Vec<u8>,
) {
    assert!((200..600).contains(&status), "an answer with a body has a status that allows one");
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", phrase(status)).as_bytes());
    for (name, value) in headers {
        header(out, name, value);
    }
    if close {
        header(out, "Connection", "close");
    }
    header(out, "Content-Length", &body.len().to_string());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

fn request_line(line: &str) -> Result<(&str, &str), HttpError> {
    let mut words = line.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(HttpError::Malformed("the request line is not METHOD TARGET VERSION"));
    };
    if version != "HTTP/1.1" {
        return Err(HttpError::Malformed("only HTTP/1.1 is spoken"));
    }
    Ok((method, target))
}

/// What the header lines said.
#[derive(Default)]
struct Headers<'a> {
    host: bool,
    close: bool,
    length: Option<usize>,
    authorization: Option<&'a str>,
    content_type: Option<&'a str>,
    idempotency_key: Option<&'a str>,
    request_id: Option<&'a str>,
}

impl<'a> Headers<'a> {
    fn read(lines: impl Iterator<Item = &'a str>) -> Result<Headers<'a>, HttpError> {
        let mut headers = Headers::default();
        for (count, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            if count >= HEADERS_MAX {
                return Err(HttpError::HeadTooLong);
            }
            let (name, value) = split_header(line)?;
            headers.take(name, value)?;
        }
        if headers.host {
            Ok(headers)
        } else {
            Err(HttpError::Malformed("the Host header is missing"))
        }
    }

    fn take(&mut self, name: &str, value: &'a str) -> Result<(), HttpError> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let once = |place: &mut Option<&'a str>, twice: &'static str| match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(HttpError::Malformed(twice)),
        };
        if is("host") {
            self.host = true;
        } else if is("connection") {
            self.close |= has_token(value, "close");
        } else if is("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let length = value.parse().ok().filter(|_| digits);
            let length = length.ok_or(HttpError::Malformed("Content-Length is not a number"))?;
            if self.length.replace(length).is_some() {
                return Err(HttpError::Malformed("Content-Length is there twice"));
            }
            if length > BODY_BYTES_MAX {
                return Err(HttpError::BodyTooLong);
            }
        } else if is("transfer-encoding") {
            return Err(HttpError::LengthRequired);
        } else if is("expect") {
            return Err(HttpError::ExpectationFailed);
        } else if is("authorization") {
            once(&mut self.authorization, "Authorization is there twice")?;
        } else if is("content-type") {
            once(&mut self.content_type, "Content-Type is there twice")?;
        } else if is("idempotency-key") {
            once(&mut self.idempotency_key, "Idempotency-Key is there twice")?;
        } else if is("x-request-id") {
            once(&mut self.request_id, "X-Request-Id is there twice")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &[u8] = b"POST /v1/sessions HTTP/1.1\r\nHost: hub\r\nauthorization: Bearer k\r\n\
        Content-Type: application/json\r\nIdempotency-Key: a\r\nContent-Length: 2\r\n\r\n{}";

    #[test]
    fn a_request_is_read_once_all_of_it_is_there_and_no_byte_more_is_taken() {
        let mut bytes = POST.to_vec();
        for cut in 0..POST.len() {
            assert_eq!(parse_request(&POST[..cut]), Ok(None), "{cut}");
        }
        bytes.extend_from_slice(b"POST");
        let request = parse_request(&bytes).unwrap().expect("it is whole");
        assert_eq!(request.length, POST.len());
        assert_eq!((request.method, request.target), ("POST", "/v1/sessions"));
        assert_eq!(request.authorization, Some("Bearer k"));
        assert_eq!(request.content_type, Some("application/json"));
        assert_eq!(request.idempotency_key, Some("a"));
        assert_eq!((request.body, request.close), (&b"{}"[..], false));
    }

    #[test]
    fn what_two_readers_could_see_differently_is_refused() {
        let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: hub\r\n{lines}\r\n");
        let cases = [
            ("Content-Length: 2\r\nContent-Length: 2\r\n", 400),
            ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 411),
            ("Transfer-Encoding: chunked\r\n", 411),
            ("Content-Length: +2\r\n", 400),
            ("Content-Length: \r\n", 400),
            ("Content-Length : 2\r\n", 400),
            ("Content-Length: 99999999999999999999999\r\n", 400),
            ("Content-Length: 16385\r\n", 413),
            ("Authorization: a\r\nAuthorization: b\r\n", 400),
            ("Expect: 100-continue\r\n", 417),
        ];
        for (lines, status) in cases {
            let bytes = with(lines);
            let refused = parse_request(bytes.as_bytes()).map_err(|error| error.status());
            assert_eq!(refused, Err(status), "{lines}");
        }
        let bare = parse_request(b"GET / HTTP/1.1\r\n\r\n").map_err(|error| error.status());
        assert_eq!(bare, Err(400), "no Host");
        let old = parse_request(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n");
        assert_eq!(old.map_err(|error| error.status()), Err(400), "HTTP/1.0");
    }

    #[test]
    fn an_answer_says_its_length_and_whether_the_connection_stays() {
        let mut out = Vec::new();
        write_response(202, &[("X-Request-Id", "1")], false, b"{}", &mut out);
        write_response(503, &[], true, b"", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 202 Accepted\r\nX-Request-Id: 1\r\nContent-Length: 2\r\n\r\n{}\
             HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
    }
}
