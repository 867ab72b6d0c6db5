//! The three languages in which a price explains itself, and how each writes a number.
//!
//! The words are part of the product: drivers and regulators keep them. They change only on
//! purpose, with the tests that quote them.

use crate::model::Day;

/// A language this crate has words in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Language {
    /// English.
    En,
    /// German.
    De,
    /// Chinese, simplified.
    Zh,
}

impl Language {
    /// Every language, English first.
    pub const ALL: [Language; 3] = [Language::En, Language::De, Language::Zh];

    /// The ISO 639-1 code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::De => "de",
            Language::Zh => "zh",
        }
    }

    /// The language of a tag such as `de`, `de-AT` or `zh_CN`.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Language> {
        let primary = tag.split(['-', '_']).next()?;
        Language::ALL.into_iter().find(|language| language.code().eq_ignore_ascii_case(primary))
    }

    /// The text of three that is this language's.
    #[must_use]
    pub fn pick<T>(self, en: T, de: T, zh: T) -> T {
        match self {
            Language::En => en,
            Language::De => de,
            Language::Zh => zh,
        }
    }

    /// `value` / 10^`places` exactly, with at least `least` decimals.
    #[must_use]
    pub fn decimal(self, value: i128, places: u32, least: u32) -> String {
        assert!(least <= places && places <= 18, "scales are small and known");
        let scale = 10_u128.pow(places);
        let (whole, part) = (value.unsigned_abs() / scale, value.unsigned_abs() % scale);
        let sign = if value < 0 { "-" } else { "" };
        let mut decimals = if places == 0 {
            String::new()
        } else {
            format!("{part:0width$}", width = places as usize)
        };
        while decimals.len() > least as usize && decimals.ends_with('0') {
            decimals.pop();
        }
        if decimals.is_empty() {
            return format!("{sign}{whole}");
        }
        let point = self.pick('.', ',', '.');
        format!("{sign}{whole}{point}{decimals}")
    }

    /// A percentage given in parts per million, with its sign of percent.
    #[must_use]
    pub fn percent(self, ppm: i128) -> String {
        format!("{}\u{a0}%", self.decimal(ppm, 4, 0)).replace('\u{a0}', self.pick(" ", " ", ""))
    }

    /// The items as one phrase: `a, b and c`.
    #[must_use]
    pub fn join(self, items: &[String]) -> String {
        let Some((last, rest)) = items.split_last() else { return String::new() };
        if rest.is_empty() {
            return last.clone();
        }
        let comma = self.pick(", ", ", ", "、");
        format!("{}{}{last}", rest.join(comma), self.pick(" and ", " und ", "和"))
    }

    /// The name of a day, Monday being 0.
    #[must_use]
    pub fn weekday(self, day: u8) -> &'static str {
        const EN: [&str; 7] =
            ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
        const DE: [&str; 7] =
            ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"];
        const ZH: [&str; 7] = ["周一", "周二", "周三", "周四", "周五", "周六", "周日"];
        let index = usize::from(day).min(6);
        self.pick(EN, DE, ZH)[index]
    }

    /// The days of a bitset, Monday being bit 0, in runs: `Monday to Friday and Sunday`.
    #[must_use]
    pub fn weekdays(self, days: u8) -> String {
        let mut runs: Vec<String> = Vec::new();
        let mut day = 0_u8;
        while day < 7 {
            if days >> day & 1 == 0 {
                day += 1;
                continue;
            }
            let first = day;
            while day < 6 && days >> (day + 1) & 1 == 1 {
                day += 1;
            }
            match day - first {
                0 => runs.push(self.weekday(first).to_owned()),
                1 => runs.extend([first, day].map(|one| self.weekday(one).to_owned())),
                _ => runs.push(format!(
                    "{}{}{}",
                    self.weekday(first),
                    self.pick(" to ", " bis ", "至"),
                    self.weekday(day)
                )),
            }
            day += 1;
        }
        self.join(&runs)
    }
}

/// Minutes of the day as `HH:MM`.
#[must_use]
pub(crate) fn clock(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// A day as `YYYY-MM-DD`, in every language.
pub(crate) fn date(day: Day) -> String {
    day.text().unwrap_or_else(|| format!("day {}", day.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_in_the_languages_own_form() {
        assert_eq!(Language::En.decimal(390_000, 6, 2), "0.39");
        assert_eq!(Language::De.decimal(390_000, 6, 2), "0,39");
        assert_eq!(Language::De.decimal(-1_234_567, 6, 2), "-1,234567");
        assert_eq!(Language::En.decimal(2_000_000, 6, 0), "2");
        assert_eq!(Language::En.decimal(7, 0, 0), "7");
        assert_eq!(Language::De.percent(125_000), "12,5 %");
        assert_eq!(Language::Zh.percent(125_000), "12.5%");
    }

    #[test]
    fn days_are_told_in_runs() {
        assert_eq!(Language::En.weekdays(0b001_1111), "Monday to Friday");
        assert_eq!(Language::De.weekdays(0b110_0000), "Samstag und Sonntag");
        assert_eq!(Language::En.weekdays(0b101_0111), "Monday to Wednesday, Friday and Sunday");
        assert_eq!(Language::Zh.weekdays(0b000_0001), "周一");
        assert_eq!(Language::En.weekdays(0), "");
    }

    #[test]
    fn a_tag_finds_its_language() {
        assert_eq!(Language::from_tag("de-AT"), Some(Language::De));
        assert_eq!(Language::from_tag("ZH_cn"), Some(Language::Zh));
        assert_eq!(Language::from_tag("fr"), None);
    }
}
