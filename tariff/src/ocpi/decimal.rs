//! Decimals as JSON writes them, read and written exactly: money never passes through a float.

/// The most digits read; more is no price of anything.
const DIGITS_MAX: usize = 36;
/// The greatest power of ten read.
const EXPONENT_MAX: i32 = 30;

/// Why a text is no decimal of so many places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bad {
    /// Not a JSON number.
    Form,
    /// More places than can be kept.
    TooFine,
    /// Beyond 30 digits.
    TooLarge,
}

/// A JSON number times ten to the `places`, if that is whole.
pub(crate) fn read(text: &str, places: u32) -> Result<i128, Bad> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(Bad::Form),
        None => (mantissa, ""),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || leading_zero {
        return Err(Bad::Form);
    }
    let fraction = fraction.trim_end_matches('0');
    if whole.len() + fraction.len() > DIGITS_MAX {
        return Err(Bad::TooLarge);
    }
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return Err(Bad::Form);
        }
        value = value * 10 + i128::from(digit - b'0');
    }
    let taken = i32::try_from(fraction.len()).map_err(|_| Bad::TooFine)?;
    let shift = exponent + i32::try_from(places).map_err(|_| Bad::TooFine)? - taken;
    let value = shifted(value, shift)?;
    Ok(if negative { -value } else { value })
}

fn read_exponent(text: &str) -> Result<i32, Bad> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Bad::Form);
    }
    let exponent: i32 = text.parse().map_err(|_| Bad::TooLarge)?;
    if exponent.abs() > EXPONENT_MAX { Err(Bad::TooLarge) } else { Ok(exponent) }
}

fn shifted(value: i128, shift: i32) -> Result<i128, Bad> {
    if value == 0 {
        return Ok(0);
    }
    let power = 10_i128.checked_pow(shift.unsigned_abs()).ok_or(Bad::TooLarge)?;
    if shift >= 0 {
        return value.checked_mul(power).ok_or(Bad::TooLarge);
    }
    if value % power == 0 { Ok(value / power) } else { Err(Bad::TooFine) }
}

/// A value of so many places as a JSON number, without zeros at its end.
pub(crate) fn write(value: i128, places: usize) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", value.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_exact_or_refused() {
        for (text, places, value) in [
            ("0.25", 6, 250_000),
            ("0", 6, 0),
            ("-1.50", 3, -1_500),
            ("20", 3, 20_000),
            ("2.5e-1", 6, 250_000),
            ("1E3", 0, 1_000),
            ("0.1000000", 6, 100_000),
            ("0e-30", 0, 0),
        ] {
            assert_eq!(read(text, places), Ok(value), "{text}");
        }
        for (text, bad) in [
            ("0.0000001", Bad::TooFine),
            ("1e-7", Bad::TooFine),
            ("1e31", Bad::TooLarge),
            ("1e99999999999", Bad::TooLarge),
            ("1234567890123456789012345678901234567", Bad::TooLarge),
            ("01", Bad::Form),
            ("1.", Bad::Form),
            (".5", Bad::Form),
            ("1e", Bad::Form),
            ("1e+-1", Bad::Form),
            ("", Bad::Form),
            ("0x1", Bad::Form),
            ("NaN", Bad::Form),
        ] {
            assert_eq!(read(text, 6), Err(bad), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in -1_000_000_000_000_000_i128..1_000_000_000_000_000) {
            prop_assert_eq!(read(&write(value, 6), 6), Ok(value));
        }

        #[test]
        fn reading_never_panics(text in "[-+0-9.eE]{0,50}", places in 0_u32..9) {
            let _ = read(&text, places);
        }
    }
}
