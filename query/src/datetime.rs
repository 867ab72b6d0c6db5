//! Dates and times as PostgreSQL writes them, in UTC.

const DAY_US: i64 = 86_400_000_000;

/// Microseconds from 1970-01-01 to 2000-01-01, where the binary format starts.
pub(crate) const PG_EPOCH_US: i64 = 946_684_800_000_000;
/// Days from 1970-01-01 to 2000-01-01.
pub(crate) const PG_EPOCH_DAYS: i32 = 10_957;

/// `2026-11-22 13:14:24.5`, with `+00` when it is an instant.
pub(crate) fn timestamp_text(us: i64, zoned: bool) -> String {
    let (days, of_day) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let (date, before_christ) = date_parts(days);
    let zone = if zoned { "+00" } else { "" };
    let era = if before_christ { " BC" } else { "" };
    format!("{date} {}{zone}{era}", time_text(of_day))
}

/// `2026-11-22`.
pub(crate) fn date_text(days: i64) -> String {
    let (date, before_christ) = date_parts(days);
    if before_christ { format!("{date} BC") } else { date }
}

fn date_parts(days: i64) -> (String, bool) {
    let (year, month, day) = civil_of_days(days);
    // There is no year 0: it is 1 BC.
    let (shown, before_christ) = if year > 0 { (year, false) } else { (1 - year, true) };
    (format!("{shown:04}-{month:02}-{day:02}"), before_christ)
}

/// `13:14:24.5`.
pub(crate) fn time_text(us_of_day: i64) -> String {
    let seconds = us_of_day / 1_000_000;
    let (h, m, s) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{h:02}:{m:02}:{s:02}{}", fraction(us_of_day % 1_000_000))
}

/// `1 year 2 mons 3 days 04:05:06.7`, as `IntervalStyle` postgres writes it.
pub(crate) fn interval_text(months: i32, days: i32, us: i64) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut part = |count: i32, unit: &str| {
        if count != 0 {
            let plural = if count == 1 { "" } else { "s" };
            parts.push(format!("{count} {unit}{plural}"));
        }
    };
    part(months / 12, "year");
    part(months % 12, "mon");
    part(days, "day");
    if us != 0 || parts.is_empty() {
        let sign = if us < 0 { "-" } else { "" };
        let size = us.unsigned_abs();
        let seconds = size / 1_000_000;
        let (h, m, s) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        let micros = i64::try_from(size % 1_000_000).expect("less than a million");
        parts.push(format!("{sign}{h:02}:{m:02}:{s:02}{}", fraction(micros)));
    }
    parts.join(" ")
}

fn fraction(micros: i64) -> String {
    if micros == 0 {
        return String::new();
    }
    let digits = format!(".{micros:06}");
    digits.trim_end_matches('0').to_owned()
}

/// The Gregorian date of a day number (H. Hinnant, civil_from_days).
fn civil_of_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_postgresql_writes_them() {
        assert_eq!(timestamp_text(1_795_353_264_500_000, true), "2026-11-22 13:14:24.5+00");
        assert_eq!(timestamp_text(0, false), "1970-01-01 00:00:00");
        assert_eq!(timestamp_text(-1, false), "1969-12-31 23:59:59.999999");
        assert_eq!(timestamp_text(PG_EPOCH_US, false), "2000-01-01 00:00:00");
        assert_eq!(date_text(i64::from(PG_EPOCH_DAYS)), "2000-01-01");
        assert_eq!(date_text(-719_163), "0001-12-31 BC");
        assert_eq!(time_text(3_661_000_001), "01:01:01.000001");
    }

    #[test]
    fn intervals_are_written_as_postgresql_writes_them() {
        assert_eq!(interval_text(0, 0, 0), "00:00:00");
        assert_eq!(interval_text(14, 1, 0), "1 year 2 mons 1 day");
        assert_eq!(interval_text(0, 0, -90_500_000), "-00:01:30.5");
        assert_eq!(interval_text(0, 2, 3_600_000_000), "2 days 01:00:00");
    }
}
