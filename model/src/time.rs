//! Time as the state machines see it: an argument, never a clock read.

use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;
pub use std::time::Duration;

/// Microseconds since the Unix epoch, UTC.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
)]
#[rkyv(compare(PartialEq, PartialOrd), derive(Debug))]
pub struct Timestamp(pub u64);

/// The text is no RFC 3339 date-time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date-time between 1970 and 9999")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// The epoch itself.
    pub const ZERO: Timestamp = Timestamp(0);
    /// Later than any time that occurs.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// From milliseconds since the epoch.
    #[must_use]
    pub fn from_millis(millis: u64) -> Timestamp {
        Timestamp(millis.saturating_mul(1_000))
    }

    /// Milliseconds since the epoch, rounded down.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// This time and `duration` more; stays at the end of time instead of wrapping.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Timestamp {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this is; zero when it is not.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with milliseconds, as OCPP writes it: `2026-11-22T13:14:24.000Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let millis = self.as_millis();
        let (days, ms_of_day) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = civil_of_days(days);
        let (s, ms) = (ms_of_day / 1_000, ms_of_day % 1_000);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
            s / 3_600,
            s / 60 % 60,
            s % 60
        )
    }

    /// Reads RFC 3339, with or without fraction. A missing zone is taken as UTC, because
    /// chargers in the field leave it out.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] when the text is not such a date-time.
    pub fn parse_rfc3339(text: &str) -> Result<Timestamp, InvalidTimestamp> {
        let bytes = text.as_bytes();
        if bytes.len() < 19 || bytes.len() > 40 || !text.is_ascii() {
            return Err(InvalidTimestamp);
        }
        let number = |from: usize, to: usize| -> Result<u64, InvalidTimestamp> {
            let digits = &bytes[from..to];
            if !digits.iter().all(u8::is_ascii_digit) {
                return Err(InvalidTimestamp);
            }
            Ok(digits.iter().fold(0, |sum, d| sum * 10 + u64::from(d - b'0')))
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let separators = bytes[4] == b'-'
            && bytes[7] == b'-'
            && matches!(bytes[10], b'T' | b't' | b' ')
            && bytes[13] == b':'
            && bytes[16] == b':';
        let in_range = year >= 1970
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        if !separators || !in_range {
            return Err(InvalidTimestamp);
        }
        let mut rest = &bytes[19..];
        let mut micros = 0;
        if let [b'.' | b',', fraction @ ..] = rest {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return Err(InvalidTimestamp);
            }
            for place in 0..6 {
                let digit = fraction[..digits].get(place).map_or(0, |d| u64::from(d - b'0'));
                micros = micros * 10 + digit;
            }
            rest = &fraction[digits..];
        }
        let offset_minutes = match rest {
            [] | [b'Z' | b'z'] => 0_i64,
            [sign @ (b'+' | b'-'), zone @ ..] => {
                let (h, m) = match zone {
                    [a, b, b':', c, d] | [a, b, c, d] => ([*a, *b], [*c, *d]),
                    [a, b] => ([*a, *b], *b"00"),
                    _ => return Err(InvalidTimestamp),
                };
                let two = |pair: [u8; 2]| -> Result<i64, InvalidTimestamp> {
                    if !pair.iter().all(u8::is_ascii_digit) {
                        return Err(InvalidTimestamp);
                    }
                    Ok(i64::from(pair[0] - b'0') * 10 + i64::from(pair[1] - b'0'))
                };
                let (h, m) = (two(h)?, two(m)?);
                if h > 23 || m > 59 {
                    return Err(InvalidTimestamp);
                }
                if *sign == b'-' { -(h * 60 + m) } else { h * 60 + m }
            }
            _ => return Err(InvalidTimestamp),
        };
        let seconds =
            days_of_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        let seconds = i64::try_from(seconds).map_err(|_| InvalidTimestamp)? - offset_minutes * 60;
        let seconds = u64::try_from(seconds).map_err(|_| InvalidTimestamp)?;
        Ok(Timestamp(seconds * 1_000_000 + micros))
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a Gregorian date (H. Hinnant, days_from_civil), for years from 1970.
fn days_of_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let month_shifted = (month + 9) % 12;
    let day_of_year = (153 * month_shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The Gregorian date of a number of days since 1970-01-01.
fn civil_of_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_chargers_send() {
        let expected = Timestamp(1_795_353_264_000_000);
        for text in [
            "2026-11-22T13:14:24Z",
            "2026-11-22T13:14:24",
            "2026-11-22 13:14:24.000000Z",
            "2026-11-22T14:14:24+01:00",
            "2026-11-22T09:44:24-0330",
            "2026-11-22T13:14:24.0000000001Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "2026-11-22",
            "2026-13-22T13:14:24Z",
            "2026-02-30T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-22T13:14:24.Z",
            "2026-11-22T13:14:24+1",
            "2026-11-22T25:14:24Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), Err(InvalidTimestamp), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0_u64..253_402_300_799_000) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse_rfc3339(&at.to_rfc3339()), Ok(at));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,45}") {
            let _ = Timestamp::parse_rfc3339(&text);
        }
    }
}
