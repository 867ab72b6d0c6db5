//! A day of UTC: the window of time that cold files, retention and exports are cut by.

use novax_model::Timestamp;
use novax_tsdb::cold::Window;
use std::fmt;

/// Microseconds of a day. UTC as we keep it has no leap seconds.
pub const DAY_US: u64 = 86_400_000_000;
/// 9999-12-31: the last day that has a name of ten characters.
const LAST: u32 = 2_932_896;

/// Days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Day(u32);

impl Day {
    /// 1970-01-01.
    pub const FIRST: Day = Day(0);
    /// 9999-12-31.
    pub const LAST: Day = Day(LAST);

    /// The day a stamp lies in; stamps after the last day count to it.
    #[must_use]
    pub fn of(at: Timestamp) -> Day {
        Day(u32::try_from(at.0 / DAY_US).unwrap_or(LAST).min(LAST))
    }

    /// The day of a number, if it is not after the last.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Day> {
        (number <= LAST).then_some(Day(number))
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// From its first microsecond up to the first of the next day.
    #[must_use]
    pub fn window(self) -> Window {
        let from = u64::from(self.0) * DAY_US;
        Window { from: Timestamp(from), to: Timestamp(from + DAY_US) }
    }

    /// So many days earlier, not before the first.
    #[must_use]
    pub fn minus(self, days: u32) -> Day {
        Day(self.0.saturating_sub(days))
    }

    /// The day after; the last has none.
    #[must_use]
    pub fn next(self) -> Option<Day> {
        Day::from_number(self.0 + 1)
    }

    /// Reads `YYYY-MM-DD`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Day> {
        if text.len() != 10 {
            return None;
        }
        let start = Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")).ok()?;
        let day = Day::of(start);
        (day.to_string() == text).then_some(day)
    }
}

/// `YYYY-MM-DD`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.window().from.to_rfc3339();
        f.write_str(text.get(..10).unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_reads_back_what_it_writes() {
        for (number, text) in [(0, "1970-01-01"), (20_454, "2026-01-01"), (LAST, "9999-12-31")] {
            let day = Day::from_number(number).expect("not after the last");
            assert_eq!(day.to_string(), text);
            assert_eq!(Day::parse(text), Some(day));
            assert_eq!(Day::of(day.window().from), day);
            assert_eq!(Day::of(Timestamp(day.window().to.0 - 1)), day);
        }
        for text in ["2026-1-1", "2026-02-30", "2026-01-01T", "", "20260101.."] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
        assert_eq!(Day::LAST.next(), None);
        assert_eq!(Day::of(Timestamp::MAX), Day::LAST);
    }
}
