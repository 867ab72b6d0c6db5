//! Local wall clock of a site: an IANA zone, and the offset that holds until it next changes.
//!
//! The zone table is compiled in, so every replica of one build reads the same table and no file.
//! A rating keeps the [`Offset`] in its state and asks for another only when that one ends.

use crate::error::TariffError;
use crate::model::Day;
use novax_model::Timestamp;
use rkyv::{Archive, Deserialize, Serialize};

const DAY_US: i64 = 86_400_000_000;
pub(crate) const MINUTE_US: i64 = 60_000_000;

/// A site's time zone.
#[derive(Clone, Debug)]
pub struct Zone(jiff::tz::TimeZone);

/// What local time is ahead of UTC, and until when.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offset {
    /// Seconds east of UTC.
    pub seconds: i32,
    /// When it changes; [`Timestamp::MAX`] when it never does.
    pub until: Timestamp,
}

/// A moment on a local clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Local {
    /// Which day.
    pub day: Day,
    /// Microseconds since that day began, by the clock on the wall.
    pub of_day_us: i64,
}

impl Zone {
    /// Coordinated universal time, for those who have no zone.
    #[must_use]
    pub fn utc() -> Zone {
        Zone(jiff::tz::TimeZone::UTC)
    }

    /// The zone of an IANA name: `Europe/Berlin`.
    ///
    /// # Errors
    /// [`TariffError::UnknownZone`] when the table has none of that name.
    pub fn get(name: &str) -> Result<Zone, TariffError> {
        let zone = jiff::tz::TimeZone::get(name);
        zone.map(Zone).map_err(|_| TariffError::UnknownZone(name.chars().take(64).collect()))
    }

    /// Its name, where it has one.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The offset that holds at a time.
    #[must_use]
    pub fn offset_at(&self, at: Timestamp) -> Offset {
        let micros = i64::try_from(at.0).unwrap_or(i64::MAX);
        // Times beyond the table (year 9999) keep UTC: nothing is charged then.
        let Ok(at) = jiff::Timestamp::from_microsecond(micros) else {
            return Offset { seconds: 0, until: Timestamp::MAX };
        };
        let seconds = self.0.to_offset(at).seconds();
        let until = self.0.following(at).next().map_or(Timestamp::MAX, |next| {
            u64::try_from(next.timestamp().as_microsecond()).map_or(Timestamp::MAX, Timestamp)
        });
        Offset { seconds, until }
    }
}

impl Offset {
    /// What the wall clock shows at a time.
    #[must_use]
    pub fn local(self, at: Timestamp) -> Local {
        let micros = i64::try_from(at.0).unwrap_or(i64::MAX - DAY_US);
        let local = micros.saturating_add(i64::from(self.seconds) * 1_000_000);
        let day = i32::try_from(local.div_euclid(DAY_US)).unwrap_or(i32::MAX);
        Local { day: Day(day), of_day_us: local.rem_euclid(DAY_US) }
    }

    /// The time at which the wall clock shows this minute of this day, were the offset to hold.
    #[must_use]
    pub fn at(self, day: Day, minute: u16) -> Timestamp {
        let local = i64::from(day.0).saturating_mul(DAY_US);
        let ahead = i64::from(self.seconds) * 1_000_000 - i64::from(minute) * MINUTE_US;
        let micros = local.saturating_sub(ahead);
        Timestamp(u64::try_from(micros).unwrap_or(0))
    }
}

impl Local {
    /// Which minute of the day it is.
    #[must_use]
    pub fn minute(self) -> u16 {
        u16::try_from(self.of_day_us / MINUTE_US).expect("a day has 1440 minutes")
    }
}

impl Day {
    /// Its place in the week: 0 is Monday.
    #[must_use]
    pub fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday.
        u8::try_from((i64::from(self.0) + 3).rem_euclid(7)).expect("a week has seven days")
    }

    /// The day after.
    #[must_use]
    pub fn next(self) -> Day {
        Day(self.0.saturating_add(1))
    }

    /// Reads `2026-11-22`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Day> {
        let b = text.as_bytes();
        let shape = b.len() == 10
            && b.iter().enumerate().all(|(i, c)| match i {
                4 | 7 => *c == b'-',
                _ => c.is_ascii_digit(),
            });
        if !shape {
            return None;
        }
        let date: jiff::civil::Date = text.parse().ok()?;
        let epoch = jiff::civil::date(1970, 1, 1);
        Some(Day(epoch.until(date).ok()?.get_days()))
    }

    /// Writes `2026-11-22`; nothing beyond the year 9999.
    #[must_use]
    pub fn text(self) -> Option<String> {
        let epoch = jiff::civil::date(1970, 1, 1);
        let date = epoch.checked_add(jiff::Span::new().try_days(self.0).ok()?).ok()?;
        Some(date.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn an_offset_holds_until_the_zone_changes_it() {
        let berlin = Zone::get("Europe/Berlin").unwrap();
        let winter = berlin.offset_at(at("2026-03-29T00:59:59Z"));
        assert_eq!(winter, Offset { seconds: 3_600, until: at("2026-03-29T01:00:00Z") });
        let summer = berlin.offset_at(winter.until);
        assert_eq!(summer, Offset { seconds: 7_200, until: at("2026-10-25T01:00:00Z") });
        assert_eq!(Zone::utc().offset_at(at("2026-01-01T00:00:00Z")).until, Timestamp::MAX);
        let refused = Zone::get("Europe/Atlantis").unwrap_err();
        assert_eq!(refused, TariffError::UnknownZone("Europe/Atlantis".into()));
    }

    #[test]
    fn days_read_back_as_they_were_written() {
        for (text, day, weekday) in
            [("1970-01-01", 0, 3), ("2026-11-22", 20_779, 6), ("2024-02-29", 19_782, 3)]
        {
            assert_eq!(Day::parse(text), Some(Day(day)), "{text}");
            assert_eq!(Day(day).text().as_deref(), Some(text));
            assert_eq!(Day(day).weekday(), weekday, "{text}");
        }
        for text in ["2026-02-30", "2026-1-01", "2026-01-01T00:00", "", "+026-01-01"] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_wall_clock_is_utc_and_the_offset() {
        let offset = Offset { seconds: -3 * 3_600 - 1_800, until: Timestamp::MAX };
        let local = offset.local(at("2026-11-22T01:15:30Z"));
        assert_eq!((local.day.text().unwrap().as_str(), local.minute()), ("2026-11-21", 1_305));
        assert_eq!(offset.at(local.day, 1_305), at("2026-11-22T01:15:00Z"));
    }
}
