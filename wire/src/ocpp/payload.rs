//! From the payload of a frame to a typed message.

use super::error::{CallError, ErrorCode};
use super::json;
use serde::Deserialize;

/// What was let pass while reading a payload. A station that earns notes does not conform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// A number or boolean stood where text is due.
    pub scalar_as_text: bool,
    /// A quoted number or boolean stood where a bare one is due.
    pub text_as_scalar: bool,
    /// A fraction stood where an integer is due, and was cut off.
    pub fraction_cut: bool,
    /// `null` stood where a field should have been left out.
    pub null_field: bool,
    /// A descriptive text was longer than its schema allows.
    pub text_too_long: bool,
}

impl Notes {
    /// Nothing was let pass.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Notes::default()
    }
}

/// Reads a payload.
///
/// # Errors
/// What to answer with: the JSON is broken, a field is missing, of the wrong type, or has a value
/// that is not allowed.
pub fn parse_payload<'a, T: Deserialize<'a>>(payload: &'a str) -> Result<T, CallError> {
    parse_payload_noting(payload, &mut Notes::default())
}

/// Reads a payload and adds to `notes` what was let pass.
///
/// # Errors
/// As [`parse_payload`].
pub fn parse_payload_noting<'a, T: Deserialize<'a>>(
    payload: &'a str,
    notes: &mut Notes,
) -> Result<T, CallError> {
    json::read(payload, notes)
}

/// The bounds a schema puts on a message beyond its types.
pub(crate) trait Check {
    /// Texts that name or decide something must fit; descriptive ones are only noted.
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        Ok(())
    }
}

/// A text that names something: longer than `max` characters is refused.
pub(crate) fn bounded(field: &str, text: &str, max: usize) -> Result<(), CallError> {
    if text.len() <= max || text.chars().count() <= max {
        return Ok(());
    }
    let description = format!("{field}: longer than {max} characters");
    Err(CallError::new(ErrorCode::PropertyConstraintViolation, description))
}

/// A text that only describes: longer than its schema allows is noted, far longer is refused.
pub(crate) fn described(
    field: &str,
    text: Option<&str>,
    max: usize,
    notes: &mut Notes,
) -> Result<(), CallError> {
    const DESCRIPTION_CHARS_MAX: usize = 255;
    let Some(text) = text else { return Ok(()) };
    if bounded(field, text, max).is_err() {
        notes.text_too_long = true;
    }
    bounded(field, text, max.max(DESCRIPTION_CHARS_MAX))
}

/// A list that must not be empty.
pub(crate) fn not_empty<T>(field: &str, list: &[T]) -> Result<(), CallError> {
    if list.is_empty() {
        let description = format!("{field}: at least one element is due");
        return Err(CallError::new(ErrorCode::OccurrenceConstraintViolation, description));
    }
    Ok(())
}
