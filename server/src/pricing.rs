//! Tariffs, contracts and rule books as people hand them in, and what a session would cost by them.
//!
//! The same for the HTTP API, which keeps them, and for `novax tariff`, which needs no node.
//!
//! **Invariants**
//! * What is refused is refused with its place: the path in a JSON text, line and column in a rule book.
//! * No float: amounts, temperatures and percentages come as decimal text.

use novax_charging::rows::TermsRow;
use novax_model::{Timestamp, WattHours};
use novax_settlement::{ContractText, RevenueContract};
use novax_tariff::ocpi::{self, Unknown};
use novax_tariff::rules::{RuleBook, Sample, SignalKind, Signals};
use novax_tariff::simulate::{self, Input, Leg};
use novax_tariff::{Language, Tariff, TariffError, Zone, ocpp};
use serde::Deserialize;
use std::fmt::Display;
use utoipa::ToSchema;

/// How a tariff is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TariffFormat {
    /// OCPI 2.2.1 Tariff object.
    Ocpi221,
    /// OCPI 2.3.0 Tariff object.
    Ocpi230,
    /// OCPP 2.1 TariffType.
    Ocpp21,
}

impl TariffFormat {
    /// Each.
    pub const ALL: [TariffFormat; 3] =
        [TariffFormat::Ocpi221, TariffFormat::Ocpi230, TariffFormat::Ocpp21];

    /// As it is named in queries and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TariffFormat::Ocpi221 => "ocpi-2.2.1",
            TariffFormat::Ocpi230 => "ocpi-2.3.0",
            TariffFormat::Ocpp21 => "ocpp-2.1",
        }
    }

    /// The format of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<TariffFormat> {
        TariffFormat::ALL.into_iter().find(|format| format.name() == name)
    }

    /// What a text must be: only OCPP has a `tariffId`, only OCPI 2.3.0 says `tax_included`.
    #[must_use]
    pub fn guess(text: &str) -> TariffFormat {
        let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        if value.get("tariffId").is_some() {
            TariffFormat::Ocpp21
        } else if value.get("tax_included").is_some() {
            TariffFormat::Ocpi230
        } else {
            TariffFormat::Ocpi221
        }
    }

    /// Reads a tariff.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(self, text: &str) -> Result<(Tariff, Unknown), TariffError> {
        let parsed = match self {
            TariffFormat::Ocpi221 => ocpi::v221::parse(text),
            TariffFormat::Ocpi230 => ocpi::v230::parse(text),
            TariffFormat::Ocpp21 => ocpp::parse(text),
        };
        parsed.map(|parsed| (parsed.tariff, parsed.unknown))
    }

    /// Writes a tariff.
    ///
    /// # Errors
    /// What of it this format cannot say.
    pub fn write(self, tariff: &Tariff) -> Result<String, TariffError> {
        match self {
            TariffFormat::Ocpi221 => ocpi::v221::write(tariff),
            TariffFormat::Ocpi230 => ocpi::v230::write(tariff),
            TariffFormat::Ocpp21 => ocpp::write(tariff),
        }
    }
}

/// Reads a revenue contract: JSON if it begins with a brace, else TOML. Says which.
///
/// # Errors
/// A sentence that names the field or the line.
pub fn read_contract(text: &str) -> Result<(RevenueContract, &'static str), String> {
    if text.trim_start().starts_with('{') {
        let fields: ContractText = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let contract = RevenueContract::try_from(&fields).map_err(|e| e.to_string())?;
        return Ok((contract, "json"));
    }
    RevenueContract::from_toml(text).map(|read| (read, "toml")).map_err(|e| e.to_string())
}

/// What terms say, for a person.
#[must_use]
pub fn words(terms: &TermsRow, language: Language) -> String {
    match terms {
        TermsRow::Tariff(tariff) => novax_tariff::explain::explain(tariff, language),
        TermsRow::Contract(contract) => novax_settlement::explain(contract),
        TermsRow::Rules(book) => book.to_text(),
    }
}

/// The value of a signal as its [`Sample`] has it, from a decimal in the unit of the rule file: degrees
/// Celsius, percent, major units per MWh.
///
/// # Errors
/// A sentence, when it is no such decimal or cannot be true.
pub fn signal_value(kind: SignalKind, text: &str) -> Result<i64, String> {
    let places = usize::try_from(kind.places()).unwrap_or(0);
    let wrong = || {
        let kind = kind.word();
        format!("{kind}: {text:?} is no decimal such as \"-7.2\" with at most {places} places")
    };
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str, max: usize| {
        (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !all_digits(whole, 9) || !all_digits(part, places) {
        return Err(wrong());
    }
    let value: i64 = format!("{whole}{part:0<places$}").parse().map_err(|_| wrong())?;
    let value = if negative { -value } else { value };
    if kind.plausible(value) { Ok(value) } else { Err(format!("no {} is {text}", kind.word())) }
}

/// What a simulated place says, as decimals in the units of the rule file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalTexts {
    /// Degrees Celsius.
    #[schema(example = "-7.2")]
    pub temperature: Option<String>,
    /// Percent of the transformer's rating.
    #[schema(example = "60")]
    pub load: Option<String>,
    /// Major units per MWh.
    #[schema(example = "60.00")]
    pub day_ahead: Option<String>,
    /// Percent.
    #[schema(example = "83")]
    pub renewable: Option<String>,
}

impl SignalTexts {
    /// As if all of it had been heard at `at`.
    ///
    /// # Errors
    /// A sentence about the first value that is none.
    pub fn signals(&self, site: &str, at: Timestamp) -> Result<Signals, String> {
        let mut signals = Signals::of_site(site);
        let sample = |kind: SignalKind, text: &Option<String>| {
            let value = text.as_deref().map(|text| signal_value(kind, text)).transpose()?;
            Ok::<_, String>(value.map(|value| Sample { value, at }))
        };
        signals.temperature = sample(SignalKind::Temperature, &self.temperature)?;
        signals.load = sample(SignalKind::Load, &self.load)?;
        signals.day_ahead = sample(SignalKind::DayAhead, &self.day_ahead)?;
        signals.renewable = sample(SignalKind::Renewable, &self.renewable)?;
        Ok(signals)
    }
}

/// What a simulated vehicle does: it charges evenly, then it stays plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Energy taken.
    pub energy: WattHours,
    /// How long it takes it.
    pub charging_s: u32,
    /// How long it stays afterwards.
    pub parked_s: u32,
}

/// The longest leg of a course: the total runs through each.
const LEG_S: u32 = 900;

impl Course {
    /// In legs of a quarter of an hour, so that a report shows how the total runs. The energy of all
    /// legs is that of the course, to the watt-hour.
    #[must_use]
    pub fn legs(self) -> Vec<Leg> {
        let mut legs = Vec::new();
        let (mut at_s, mut sum_wh) = (0_u32, 0_i64);
        while at_s < self.charging_s {
            let duration_s = LEG_S.min(self.charging_s - at_s);
            at_s += duration_s;
            let by_now = i128::from(self.energy.0) * i128::from(at_s) / i128::from(self.charging_s);
            let by_now = i64::try_from(by_now).unwrap_or(self.energy.0);
            legs.push(Leg { duration_s, energy_wh: by_now - sum_wh, charging: true });
            sum_wh = by_now;
        }
        if self.parked_s > 0 {
            legs.push(Leg { duration_s: self.parked_s, energy_wh: 0, charging: false });
        }
        legs
    }
}

/// Where and when a simulated session is.
#[derive(Clone, Debug)]
pub struct Setting {
    /// IANA name of the zone.
    pub zone: String,
    /// When it starts.
    pub start: Timestamp,
    /// The site's name, for rules that ask for it.
    pub site: String,
    /// What the place says.
    pub signals: SignalTexts,
    /// The language of the words.
    pub language: Language,
}

impl Setting {
    /// Simulates a session.
    ///
    /// # Errors
    /// A sentence about what of it cannot be.
    pub fn simulate(
        &self,
        tariff: &Tariff,
        rules: Option<&RuleBook>,
        legs: &[Leg],
    ) -> Result<simulate::Report, String> {
        let zone = Zone::get(&self.zone).map_err(|error| error.to_string())?;
        let signals = self.signals.signals(&self.site, self.start)?;
        simulate::simulate(&Input {
            tariff,
            zone: &zone,
            start: self.start,
            reserved_from: None,
            legs,
            rules: rules.map(|book| (book, &signals)),
            language: self.language,
        })
        .map_err(|error| error.to_string())
    }
}

/// The language of a tag.
///
/// # Errors
/// A sentence, when there are no words in it.
pub fn language(tag: &str) -> Result<Language, String> {
    Language::from_tag(tag).ok_or_else(|| format!("there are no words in {tag:?}: en, de, zh"))
}

/// Reads a rule book.
///
/// # Errors
/// Line, column and a sentence.
pub fn read_rules(text: &str) -> Result<RuleBook, String> {
    RuleBook::parse(text).map_err(|error| named("rules", &error))
}

fn named(what: &str, error: &impl Display) -> String {
    format!("{what}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_guessed_by_what_only_they_have() {
        for (text, format) in [
            (r#"{"tariffId": "t"}"#, TariffFormat::Ocpp21),
            (r#"{"id": "t", "tax_included": "NO"}"#, TariffFormat::Ocpi230),
            (r#"{"id": "t"}"#, TariffFormat::Ocpi221),
            ("no JSON", TariffFormat::Ocpi221),
        ] {
            assert_eq!(TariffFormat::guess(text), format, "{text}");
        }
        for format in TariffFormat::ALL {
            assert_eq!(TariffFormat::named(format.name()), Some(format));
        }
    }

    #[test]
    fn signals_are_exact_decimals_that_can_be_true() {
        let value = signal_value;
        assert_eq!(value(SignalKind::Temperature, "-7.2"), Ok(-72));
        assert_eq!(value(SignalKind::Temperature, "-0.5"), Ok(-5));
        assert_eq!(value(SignalKind::Load, "85"), Ok(850_000));
        assert_eq!(value(SignalKind::DayAhead, "-12.5"), Ok(-12_500_000));
        assert_eq!(value(SignalKind::Renewable, "100"), Ok(1_000_000));
        for (kind, text) in [
            (SignalKind::Temperature, "7.25"),
            (SignalKind::Temperature, "120"),
            (SignalKind::Renewable, "100.1"),
            (SignalKind::Load, "-1"),
            (SignalKind::Load, "1e2"),
            (SignalKind::Load, "."),
            (SignalKind::Load, "-"),
            (SignalKind::DayAhead, ""),
            (SignalKind::DayAhead, "--1"),
        ] {
            assert!(value(kind, text).is_err(), "{kind:?} {text:?}");
        }
    }

    #[test]
    fn a_course_loses_no_watt_hour() {
        let course = Course { energy: WattHours(10_001), charging_s: 3_700, parked_s: 60 };
        let legs = course.legs();
        assert_eq!(legs.iter().map(|leg| leg.energy_wh).sum::<i64>(), 10_001);
        assert_eq!(legs.iter().map(|leg| leg.duration_s).sum::<u32>(), 3_760);
        assert_eq!(legs.iter().filter(|leg| !leg.charging).count(), 1);
        assert!(Course { energy: WattHours(5), charging_s: 0, parked_s: 0 }.legs().is_empty());
    }
}
