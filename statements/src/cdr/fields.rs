//! What OCPI allows in its fields. What machines read is refused when it does not fit; what people
//! read is cut.

use super::FORMAT;
use crate::error::StatementError;

pub(super) fn malformed(field: &'static str, got: &str) -> StatementError {
    StatementError::Malformed { field, format: FORMAT, got: cut(got, 40).to_owned() }
}

pub(super) fn required<'a>(field: &'static str, value: &'a str) -> Result<&'a str, StatementError> {
    if value.is_empty() {
        return Err(StatementError::Missing { field, format: FORMAT });
    }
    Ok(value)
}

/// A text that must not be cut, because machines read it.
pub(super) fn text<'a>(
    field: &'static str,
    value: &'a str,
    max: usize,
) -> Result<&'a str, StatementError> {
    let got = value.chars().count();
    if got > max {
        return Err(StatementError::TooLong { field, format: FORMAT, got, max });
    }
    Ok(value)
}

/// OCPI's `CiString`: printable ASCII.
pub(super) fn identifier<'a>(
    field: &'static str,
    value: &'a str,
    max: usize,
) -> Result<&'a str, StatementError> {
    required(field, value)?;
    if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(malformed(field, value));
    }
    text(field, value, max)
}

pub(super) fn exactly(
    field: &'static str,
    value: &str,
    length: usize,
) -> Result<(), StatementError> {
    identifier(field, value, length)?;
    if value.len() != length || !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(malformed(field, value));
    }
    Ok(())
}

/// A word of one of OCPI's enumerations.
pub(super) fn word<'a>(field: &'static str, value: &'a str) -> Result<&'a str, StatementError> {
    required(field, value)?;
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if value.bytes().all(plain) { Ok(value) } else { Err(malformed(field, value)) }
}

/// Decimal degrees with five to seven places; zeros fill up shorter ones.
pub(super) fn degrees(
    field: &'static str,
    value: &str,
    bound: u16,
) -> Result<String, StatementError> {
    required(field, value)?;
    let digits = value.strip_prefix('-').unwrap_or(value);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let within = whole.len() <= 3 && whole.parse::<u16>().is_ok_and(|whole| whole <= bound);
    if !all_digits(whole) || !all_digits(fraction) || fraction.len() > 7 || !within {
        return Err(malformed(field, value));
    }
    let sign = if digits.len() < value.len() { "-" } else { "" };
    Ok(format!("{sign}{whole}.{fraction:0<5}"))
}

/// The beginning of a text for people.
pub(super) fn cut(value: &str, max: usize) -> &str {
    value.char_indices().nth(max).map_or(value, |(at, _)| &value[..at])
}
