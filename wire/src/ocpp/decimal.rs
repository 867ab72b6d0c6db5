//! Exact decimal numbers: what meters and tariffs write, without a float in between.

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// A decimal number: `digits` times ten to the power of `exponent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decimal {
    digits: i128,
    exponent: i8,
}

/// The text is not a decimal number, or has more digits than any meter means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number of at most 36 significant digits and an exponent from -64 to 64")]
pub struct InvalidDecimal;

/// Digits and at most one point between them, as meters write nearly always; `None` for all else, which may be a number
/// too. Gives what the reader of any number gives: without zeros at the end.
fn short(text: &[u8]) -> Option<Decimal> {
    const LENGTH_MAX: usize = 18;
    let (last, before) = text.split_last()?;
    if text.len() > LENGTH_MAX || !last.is_ascii_digit() {
        return None;
    }
    let (mut digits, mut places, mut after_point) = (0_i64, 0_i8, false);
    for byte in before.iter().chain([last]) {
        match byte {
            b'0'..=b'9' => {
                digits = digits * 10 + i64::from(byte - b'0');
                places += i8::from(after_point);
            }
            b'.' if !after_point => after_point = true,
            _ => return None,
        }
    }
    if digits == 0 {
        return Some(Decimal::default());
    }
    let mut exponent = -places;
    while digits % 10 == 0 {
        digits /= 10;
        exponent += 1;
    }
    Some(Decimal { digits: i128::from(digits), exponent })
}

/// Digits times ten to the power of `shift`, rounded, where 64 bits are enough on the way; `None` where not.
fn short_scaled(digits: i128, shift: i32) -> Option<i64> {
    let digits = i64::try_from(digits).ok()?;
    let power = 10_i64.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 {
        return digits.checked_mul(power);
    }
    let half = if digits < 0 { -(power / 2) } else { power / 2 };
    Some(digits.checked_add(half)? / power)
}

/// What fits an `i128` with room for scaling.
const SIGNIFICANT_DIGITS_MAX: u32 = 36;
const EXPONENT_MAX: i64 = 64;

impl Decimal {
    /// `digits` times ten to the power of `exponent`; `Decimal::new(12345, -3)` is 12.345.
    ///
    /// # Panics
    /// When the exponent is beyond 64 in either direction.
    #[must_use]
    pub fn new(digits: i64, exponent: i8) -> Decimal {
        assert!(i64::from(exponent).abs() <= EXPONENT_MAX, "exponents are bounded");
        Decimal { digits: i128::from(digits), exponent }
    }

    /// Reads `-12.345`, `1.2e3`, `+5`, `.5`; surrounding blanks are let pass.
    ///
    /// # Errors
    /// [`InvalidDecimal`] for anything else, and for more digits than fit.
    pub fn parse(text: &str) -> Result<Decimal, InvalidDecimal> {
        short(text.as_bytes()).map_or_else(|| Decimal::parse_any(text), Ok)
    }

    fn parse_any(text: &str) -> Result<Decimal, InvalidDecimal> {
        let text = text.trim_matches([' ', '\t']);
        let (number, power) = match text.split_once(['e', 'E']) {
            Some((number, power)) => (number, parse_power(power)?),
            None => (text, 0),
        };
        let negative = number.starts_with('-');
        let unsigned = number.strip_prefix(['-', '+']).unwrap_or(number);
        let mut digits = 0_i128;
        let (mut significant, mut seen, mut places, mut zeros) = (0_u32, false, 0_i64, 0_u32);
        let mut after_point = false;
        for byte in unsigned.bytes() {
            match byte {
                b'.' if !after_point => after_point = true,
                b'0'..=b'9' => {
                    seen = true;
                    places += i64::from(after_point);
                    // Zeros are held back: behind the last other digit they only move the point.
                    if byte == b'0' {
                        zeros += u32::from(significant > 0);
                        continue;
                    }
                    significant += zeros + 1;
                    if significant > SIGNIFICANT_DIGITS_MAX {
                        return Err(InvalidDecimal);
                    }
                    digits = digits * 10_i128.pow(zeros + 1) + i128::from(byte - b'0');
                    zeros = 0;
                }
                _ => return Err(InvalidDecimal),
            }
        }
        let exponent = power - places + i64::from(zeros);
        if !seen || (digits != 0 && exponent.abs() > EXPONENT_MAX) {
            return Err(InvalidDecimal);
        }
        let exponent = if digits == 0 { 0 } else { exponent };
        let exponent = i8::try_from(exponent).map_err(|_| InvalidDecimal)?;
        Ok(Decimal { digits: if negative { -digits } else { digits }, exponent })
    }

    /// The value times ten to the power of `places`, to the nearest integer, halves away from zero.
    /// `None` when that does not fit.
    #[must_use]
    pub fn scaled(self, places: i8) -> Option<i64> {
        let shift = i32::from(self.exponent) + i32::from(places);
        short_scaled(self.digits, shift).or_else(|| self.scaled_any(shift))
    }

    fn scaled_any(self, shift: i32) -> Option<i64> {
        let power = 10_i128.checked_pow(shift.unsigned_abs());
        let scaled = match (self.digits, shift >= 0, power) {
            (0, _, _) | (_, false, None) => 0,
            (digits, true, power) => digits.checked_mul(power?)?,
            (digits, false, Some(power)) => {
                let half = power / 2;
                let away = if digits < 0 { digits - half } else { digits + half };
                away / power
            }
        };
        i64::try_from(scaled).ok()
    }

    /// The integer part and whether anything was cut off. `None` when it does not fit.
    #[must_use]
    pub fn truncated(self) -> Option<(i64, bool)> {
        let power = 10_i128.checked_pow(u32::from(self.exponent.unsigned_abs()));
        let (whole, cut) = match (self.digits, self.exponent >= 0, power) {
            (0, _, _) => (0, false),
            (_, false, None) => (0, true),
            (digits, true, power) => (digits.checked_mul(power?)?, false),
            (digits, false, Some(power)) => (digits / power, digits % power != 0),
        };
        i64::try_from(whole).ok().map(|whole| (whole, cut))
    }
}

fn parse_power(text: &str) -> Result<i64, InvalidDecimal> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let good =
        !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
    if !good {
        return Err(InvalidDecimal);
    }
    text.parse().map_err(|_| InvalidDecimal)
}

impl fmt::Display for Decimal {
    /// Plain digits where that is short, with an exponent otherwise; always a JSON number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exponent {
            0 => write!(f, "{}", self.digits),
            1..=18 => {
                let zeros = usize::from(self.exponent.unsigned_abs());
                write!(f, "{}{:0<zeros$}", self.digits, "")
            }
            -18..=-1 => {
                let places = usize::from(self.exponent.unsigned_abs());
                let power = 10_u128.pow(u32::from(self.exponent.unsigned_abs()));
                let sign = if self.digits < 0 { "-" } else { "" };
                let digits = self.digits.unsigned_abs();
                write!(f, "{sign}{}.{:0places$}", digits / power, digits % power)
            }
            exponent => write!(f, "{}e{exponent}", self.digits),
        }
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::text::Number::from(*self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::text::Number::deserialize(deserializer)?.decimal().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, places: i8, expected: Option<i64>) {
        assert_eq!(Decimal::parse(text).ok().and_then(|d| d.scaled(places)), expected, "{text:?}");
    }

    #[test]
    fn reads_what_meters_write() {
        check("12.345", 3, Some(12_345));
        check("12.345", 1, Some(123));
        check("12.35", 1, Some(124));
        check("-12.35", 1, Some(-124));
        check("1.2e3", 0, Some(1_200));
        check("1200E-3", 1, Some(12));
        check("+5", 0, Some(5));
        check(".5", 1, Some(5));
        check("5.", 0, Some(5));
        check(" 7 ", 0, Some(7));
        check("0.000", 3, Some(0));
        check("-0", 0, Some(0));
        check("0e99", 0, Some(0));
        check("1000000000000000000000000000000000000e-30", 0, Some(1_000_000));
        check("230.00000000000000000000000000000000000000000000000000", 1, Some(2_300));
        check("9223372036854775807", 0, Some(i64::MAX));
        check("9223372036854775808", 0, None);
        check("1e-60", 0, Some(0));
        check("1e60", 0, None);
    }

    #[test]
    fn junk_is_an_error() {
        for text in [
            "",
            " ",
            "-",
            ".",
            "e5",
            "NaN",
            "inf",
            "1,5",
            "1.2.3",
            "1e",
            "1e+",
            "1e1000",
            "0x10",
            "1 2",
            "--1",
            "1e9999999999",
            "1234567890123456789012345678901234567",
            "١",
        ] {
            assert_eq!(Decimal::parse(text), Err(InvalidDecimal), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn short_numbers_are_read_and_scaled_as_any(text in "-?[0-9]{0,10}\\.?[0-9]{0,10}", places in -20_i8..20) {
            let any = Decimal::parse_any(&text);
            prop_assert_eq!(Decimal::parse(&text), any);
            if let Ok(number) = any {
                let shift = i32::from(number.exponent) + i32::from(places);
                prop_assert_eq!(number.scaled(places), number.scaled_any(shift));
            }
        }

        #[test]
        fn what_is_written_reads_back_to_the_same_value(digits in any::<i64>(), exponent in -30_i8..31) {
            let decimal = Decimal::new(digits, exponent);
            let text = decimal.to_string();
            prop_assert!(crate::ocpp::json::is_number(&text), "{}", text);
            let back = Decimal::parse(&text).unwrap();
            for places in [-40_i8, -3, 0, 3, 30] {
                prop_assert_eq!(back.scaled(places), decimal.scaled(places));
            }
            prop_assert_eq!(back.truncated(), decimal.truncated());
        }

        #[test]
        fn scaling_agrees_with_integer_arithmetic(digits in -1_000_000_i64..1_000_000, shift in 0_u32..6) {
            let exact = Decimal::new(digits, -i8::try_from(shift).unwrap());
            let power = 10_i64.pow(shift);
            prop_assert_eq!(exact.truncated(), Some((digits / power, digits % power != 0)));
            let rounded = (digits.abs() + power / 2) / power * digits.signum();
            prop_assert_eq!(exact.scaled(0), Some(rounded));
        }
    }
}
