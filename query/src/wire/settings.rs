//! What a session can SET and SHOW. A setting is here because it has an effect, or because the only
//! values accepted are those that describe what the server does anyway.

use crate::catalog::SERVER_VERSION;
use crate::error::Error;
use crate::source::{Freshness, ScanCounters};
use novax_model::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Which values a setting takes.
#[derive(Clone, Copy)]
enum Rule {
    /// Cannot be set.
    Fixed,
    /// Anything; what it governs does not exist here.
    Any,
    /// Any number; what it governs does not exist here.
    Number,
    /// One of these, in lower case.
    OneOf(&'static [&'static str]),
    /// How long a statement may run.
    Timeout,
}

struct Setting {
    name: &'static str,
    /// How it is written in messages; differs in case for three old ones.
    shown: &'static str,
    default: &'static str,
    rule: Rule,
    /// Whether clients are told when it changes.
    reported: bool,
}

const fn fixed(name: &'static str, default: &'static str, reported: bool) -> Setting {
    Setting { name, shown: name, default, rule: Rule::Fixed, reported }
}

const fn setting(name: &'static str, default: &'static str, rule: Rule) -> Setting {
    Setting { name, shown: name, default, rule, reported: false }
}

const ISOLATION: Rule =
    Rule::OneOf(&["serializable", "repeatable read", "read committed", "read uncommitted"]);
const ON: Rule = Rule::OneOf(&["on", "true", "yes", "1"]);

const SETTINGS: [Setting; 28] = [
    Setting {
        name: "application_name",
        shown: "application_name",
        default: "",
        rule: Rule::Any,
        reported: true,
    },
    setting("bytea_output", "hex", Rule::OneOf(&["hex"])),
    Setting {
        name: "client_encoding",
        shown: "client_encoding",
        default: "UTF8",
        rule: Rule::OneOf(&["utf8", "utf-8", "unicode"]),
        reported: true,
    },
    setting("client_min_messages", "notice", Rule::Any),
    Setting {
        name: "datestyle",
        shown: "DateStyle",
        default: "ISO, MDY",
        rule: Rule::OneOf(&["iso", "iso, mdy", "iso, dmy", "iso, ymd"]),
        reported: true,
    },
    setting("default_transaction_isolation", "repeatable read", ISOLATION),
    setting("default_transaction_read_only", "on", ON),
    setting("extra_float_digits", "1", Rule::Number),
    setting("idle_in_transaction_session_timeout", "0", Rule::Number),
    fixed("integer_datetimes", "on", true),
    Setting {
        name: "intervalstyle",
        shown: "IntervalStyle",
        default: "postgres",
        rule: Rule::OneOf(&["postgres"]),
        reported: true,
    },
    fixed("is_superuser", "off", true),
    setting("lock_timeout", "0", Rule::Number),
    fixed("max_identifier_length", "63", false),
    fixed("novax.as_of", "", false),
    setting("novax.reads", "fresh", Rule::OneOf(&["fresh", "local"])),
    setting("row_security", "on", ON),
    setting(
        "search_path",
        "public",
        Rule::OneOf(&[
            "public",
            "\"$user\", public",
            "$user, public",
            "public, pg_catalog",
            "pg_catalog",
        ]),
    ),
    fixed("server_encoding", "UTF8", true),
    fixed("server_version", SERVER_VERSION, true),
    fixed("server_version_num", "150000", false),
    fixed("session_authorization", "", true),
    setting("standard_conforming_strings", "on", ON),
    setting("statement_timeout", "", Rule::Timeout),
    setting("synchronous_commit", "on", Rule::Any),
    Setting {
        name: "timezone",
        shown: "TimeZone",
        default: "UTC",
        rule: Rule::OneOf(&["utc", "gmt", "etc/utc", "z", "0", "+00", "+00:00"]),
        reported: true,
    },
    setting("transaction_isolation", "repeatable read", ISOLATION),
    fixed("transaction_read_only", "on", false),
];

/// The settings of one session.
#[derive(Debug)]
pub(super) struct Settings {
    changed: BTreeMap<&'static str, String>,
    user: String,
    timeout_max: Duration,
    /// What the last query's scans did.
    last: Option<Arc<ScanCounters>>,
}

fn find(name: &str) -> Result<&'static Setting, Error> {
    let lower = name.to_ascii_lowercase();
    let found = SETTINGS.iter().find(|setting| setting.name == lower);
    found.ok_or_else(|| Error::UnknownSetting(name.to_owned()))
}

impl Settings {
    pub(super) fn new(user: &str, timeout_max: Duration) -> Settings {
        Settings { changed: BTreeMap::new(), user: user.to_owned(), timeout_max, last: None }
    }

    /// Sets or resets; answers what the client is to be told of it.
    pub(super) fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<(String, String)>, Error> {
        let setting = find(name)?;
        if let Some(value) = value {
            let bad = || Error::InvalidSetting {
                setting: setting.shown.to_owned(),
                value: value.to_owned(),
            };
            let value = accepted(setting, value, self.timeout_max).ok_or_else(bad)?;
            self.changed.insert(setting.name, value);
        } else {
            self.changed.remove(setting.name);
        }
        Ok(setting.reported.then(|| (setting.shown.to_owned(), self.show(setting))))
    }

    pub(super) fn reset_all(&mut self) {
        self.changed.clear();
    }

    /// A setting's written name and value.
    pub(super) fn get(&self, name: &str) -> Result<(String, String), Error> {
        let setting = find(name)?;
        Ok((setting.shown.to_owned(), self.show(setting)))
    }

    /// All of them, and whether clients are told at the start.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, String, bool)> + '_ {
        SETTINGS
            .iter()
            .map(|setting| (setting.shown.to_owned(), self.show(setting), setting.reported))
    }

    fn show(&self, setting: &'static Setting) -> String {
        if let Some(value) = self.changed.get(setting.name) {
            return value.clone();
        }
        match setting.name {
            "session_authorization" => self.user.clone(),
            "statement_timeout" => millis_text(self.timeout_max),
            "novax.as_of" => self.as_of(),
            _ => setting.default.to_owned(),
        }
    }

    /// How new the rows of this session's queries must be.
    pub(super) fn freshness(&self) -> Freshness {
        match self.changed.get("novax.reads").map(String::as_str) {
            Some("local") => Freshness::Local,
            _ => Freshness::Fresh,
        }
    }

    /// A query was started.
    pub(super) fn ran(&mut self, counters: &Arc<ScanCounters>) {
        self.last = Some(Arc::clone(counters));
    }

    /// How new what the last query read was; empty when it read no table.
    fn as_of(&self) -> String {
        let at = self.last.as_ref().map_or(0, |last| last.as_of_us.load(Ordering::Relaxed));
        if at == 0 { String::new() } else { Timestamp(at).to_string() }
    }

    /// How long a statement of this session may run.
    pub(super) fn timeout(&self) -> Duration {
        let asked = self.changed.get("statement_timeout").and_then(|text| duration(text));
        asked.unwrap_or(self.timeout_max).min(self.timeout_max)
    }
}

fn accepted(setting: &Setting, value: &str, timeout_max: Duration) -> Option<String> {
    let lower = value.trim().to_ascii_lowercase();
    match setting.rule {
        Rule::Fixed => None,
        Rule::Any => (value.len() <= 256).then(|| value.to_owned()),
        Rule::Number => {
            duration(value)?;
            Some(value.to_owned())
        }
        Rule::OneOf(values) => values.contains(&lower.as_str()).then(|| canonical(setting, value)),
        // No limit of its own is the server's limit.
        Rule::Timeout => {
            let asked = duration(value)?;
            let kept = if asked.is_zero() { timeout_max } else { asked.min(timeout_max) };
            Some(millis_text(kept))
        }
    }
}

/// Encodings and zones that mean the same are shown by one name.
fn canonical(setting: &Setting, value: &str) -> String {
    match setting.name {
        "client_encoding" | "timezone" => setting.default.to_owned(),
        "novax.reads" => value.trim().to_ascii_lowercase(),
        _ if matches!(setting.default, "on") => "on".to_owned(),
        _ => value.to_owned(),
    }
}

fn millis_text(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// `500`, `500ms`, `5s`, `2min`, `1h`; a number alone is milliseconds.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Settings {
        Settings::new("ada", Duration::from_secs(60))
    }

    #[test]
    fn a_timeout_can_be_lowered_but_not_raised() {
        let mut settings = fresh();
        assert_eq!(settings.timeout(), Duration::from_secs(60));
        for (value, expected) in [("250", 250), ("2s", 2_000), ("0", 60_000), ("1h", 60_000)] {
            settings.set("statement_timeout", Some(value)).unwrap();
            assert_eq!(settings.timeout(), Duration::from_millis(expected), "{value}");
        }
        settings.set("statement_timeout", Some("5ms")).unwrap();
        settings.set("STATEMENT_TIMEOUT", None).unwrap();
        assert_eq!(settings.timeout(), Duration::from_secs(60));
        assert!(settings.set("statement_timeout", Some("soon")).is_err());
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let mut settings = fresh();
        for (name, value, state) in [
            ("timezone", "Europe/Berlin", "22023"),
            ("client_encoding", "LATIN1", "22023"),
            ("default_transaction_read_only", "off", "22023"),
            ("server_version", "99", "22023"),
            ("no_such_thing", "1", "42704"),
        ] {
            assert_eq!(settings.set(name, Some(value)).unwrap_err().sqlstate(), state, "{name}");
        }
        let told = settings.set("TimeZone", Some("GMT")).unwrap();
        assert_eq!(told, Some(("TimeZone".into(), "UTC".into())));
        assert_eq!(settings.get("session_authorization").unwrap().1, "ada");
    }
}
