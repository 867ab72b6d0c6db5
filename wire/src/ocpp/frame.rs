//! The OCPP-J envelope: CALL, CALLRESULT, CALLERROR (1.6J section 4, 2.0.1 part 4 section 4).
//!
//! Invariants: a frame that is returned holds one well-formed JSON value as payload, within the
//! nesting bound; a frame that is refused says with which message id to answer, if at all.

use super::error::{CallError, ErrorCode};
use super::json::Scanner;
use super::version::Version;
use serde::Serialize;
use std::borrow::Cow;

/// The longest message id that is taken. The standard has 36; longer ones are seen, and harmless.
pub const MESSAGE_ID_CHARS_MAX: usize = 255;
/// The id of an answer to a frame whose own id cannot be read (2.0.1 part 4, 4.2.3).
pub const UNREADABLE_ID: &str = "-1";
/// The longest errorDescription (both versions).
const DESCRIPTION_CHARS_MAX: usize = 255;

/// One message of OCPP-J.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// `[2, id, action, payload]`
    Call {
        /// To be repeated in the answer.
        id: Cow<'a, str>,
        /// Which message the payload is.
        action: Cow<'a, str>,
        /// A JSON object.
        payload: &'a str,
    },
    /// `[3, id, payload]`
    Result {
        /// Of the call it answers.
        id: Cow<'a, str>,
        /// A JSON object.
        payload: &'a str,
    },
    /// `[4, id, code, description, details]`
    Error {
        /// Of the call it answers.
        id: Cow<'a, str>,
        /// [`ErrorCode::parse`] knows the standard's.
        code: Cow<'a, str>,
        /// Often empty.
        description: Cow<'a, str>,
        /// Any JSON value; `{}` when it was left out.
        details: &'a str,
    },
}

/// The text is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {description}")]
pub struct FrameError {
    /// The id to answer with, [`UNREADABLE_ID`] when the frame's own cannot be read. `None` when
    /// nothing must be answered: answers are never answered.
    pub id: Option<String>,
    /// What to answer.
    pub code: ErrorCode,
    /// A sentence for people.
    pub description: String,
}

impl FrameError {
    fn unreadable(error: CallError) -> FrameError {
        let CallError { code, description } = error;
        FrameError { id: Some(UNREADABLE_ID.to_owned()), code, description }
    }

    fn of_call(id: &str, error: CallError) -> FrameError {
        let CallError { code, description } = error;
        FrameError { id: Some(id.to_owned()), code, description }
    }

    fn unanswered(error: CallError) -> FrameError {
        let CallError { code, description } = error;
        FrameError { id: None, code, description }
    }
}

/// Reads one frame.
///
/// # Errors
/// [`FrameError`] with what to answer.
pub fn parse_frame(text: &str) -> Result<Frame<'_>, FrameError> {
    let mut scanner = Scanner::new(text);
    let (kind, id) = envelope(&mut scanner).map_err(FrameError::unreadable)?;
    match kind {
        "2" => call(&mut scanner, id.clone()).map_err(|error| FrameError::of_call(&id, error)),
        "3" => result(&mut scanner, id).map_err(FrameError::unanswered),
        "4" => error(&mut scanner, id).map_err(FrameError::unanswered),
        _ => {
            let description = "the message type is not 2, 3 or 4";
            let error = CallError::new(ErrorCode::MessageTypeNotSupported, description);
            Err(FrameError::of_call(&id, error))
        }
    }
}

/// The message type's text and the message id.
fn envelope<'a>(scanner: &mut Scanner<'a>) -> Result<(&'a str, Cow<'a, str>), CallError> {
    scanner.expect(b'[', "an array: a frame is one")?;
    scanner.peek();
    let kind = scanner.number()?;
    scanner.expect(b',', "a comma")?;
    let id = match scanner.peek() {
        Some(b'"') => scanner.string()?.decode()?,
        // A bare number is answered as text; some stations take that.
        Some(b'-' | b'0'..=b'9') => Cow::Borrowed(scanner.number()?),
        _ => {
            scanner.value(1)?;
            return Err(CallError::new(ErrorCode::RpcFrameworkError, "the message id is not text"));
        }
    };
    if id.is_empty() || id.len() > MESSAGE_ID_CHARS_MAX {
        let description = "the message id is empty or too long";
        return Err(CallError::new(ErrorCode::RpcFrameworkError, description));
    }
    Ok((kind, id))
}

fn call<'a>(scanner: &mut Scanner<'a>, id: Cow<'a, str>) -> Result<Frame<'a>, CallError> {
    scanner.expect(b',', "a comma and the action")?;
    scanner.peek();
    let action = scanner.string()?.decode()?;
    scanner.expect(b',', "a comma and the payload")?;
    let payload = object(scanner)?;
    end(scanner)?;
    Ok(Frame::Call { id, action, payload })
}

fn result<'a>(scanner: &mut Scanner<'a>, id: Cow<'a, str>) -> Result<Frame<'a>, CallError> {
    scanner.expect(b',', "a comma and the payload")?;
    let payload = object(scanner)?;
    end(scanner)?;
    Ok(Frame::Result { id, payload })
}

/// Description and details are often left out; the code is what matters.
fn error<'a>(scanner: &mut Scanner<'a>, id: Cow<'a, str>) -> Result<Frame<'a>, CallError> {
    scanner.expect(b',', "a comma and the error's code")?;
    scanner.peek();
    let code = scanner.string()?.decode()?;
    let (mut description, mut details) = (Cow::Borrowed(""), "{}");
    if scanner.take(b',') {
        description = match scanner.peek() {
            Some(b'"') => scanner.string()?.decode()?,
            _ => Cow::Borrowed(scanner.value(1)?),
        };
        if scanner.take(b',') {
            details = scanner.value(1)?;
        }
    }
    end(scanner)?;
    Ok(Frame::Error { id, code, description, details })
}

fn object<'a>(scanner: &mut Scanner<'a>) -> Result<&'a str, CallError> {
    let is_object = scanner.peek() == Some(b'{');
    let value = scanner.value(1)?;
    if is_object {
        return Ok(value);
    }
    Err(CallError::new(ErrorCode::FormatViolation, "the payload is not an object"))
}

fn end(scanner: &mut Scanner<'_>) -> Result<(), CallError> {
    scanner.expect(b']', "the frame's end")?;
    scanner.end()
}

/// Appends a CALL. `payload` is one of this crate's messages, or anything that serialises.
///
/// # Panics
/// When `payload` cannot be written as JSON; the messages of this crate all can.
pub fn write_call(id: &str, action: &str, payload: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[2,");
    json(id, out);
    out.push(b',');
    json(action, out);
    out.push(b',');
    json(payload, out);
    out.push(b']');
}

/// Appends a CALLRESULT.
///
/// # Panics
/// As [`write_call`].
pub fn write_result(id: &str, payload: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[3,");
    json(id, out);
    out.push(b',');
    json(payload, out);
    out.push(b']');
}

/// Appends a CALLERROR, its code spelled as `version` has it, its description cut to what the
/// standard allows.
pub fn write_error(
    id: &str,
    code: ErrorCode,
    description: &str,
    version: Version,
    out: &mut Vec<u8>,
) {
    let cut = description.char_indices().nth(DESCRIPTION_CHARS_MAX).map(|(at, _)| at);
    let description = description.get(..cut.unwrap_or(description.len())).unwrap_or_default();
    out.extend_from_slice(b"[4,");
    json(id, out);
    out.push(b',');
    json(code.as_str(version), out);
    out.push(b',');
    json(description, out);
    out.extend_from_slice(b",{}]");
}

fn json(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("messages are plain data and memory takes them");
}
