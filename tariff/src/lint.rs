//! What a tariff says that its author hardly meant.
//!
//! [`Tariff::check`] refuses what has no meaning; this finds what has one and is still likely a
//! mistake. Whether a price can hold is decided exactly: restrictions are boxes in a space of
//! clock, date, energy, duration, power and current, so it is enough to look at the lower corner
//! of each cell that their bounds cut the space into. Where there are too many cells
//! ([`CELLS_MAX`]) only prices hidden by a single earlier one are found.

mod grid;
mod prices;

use crate::model::{Dimension, Tariff};
use crate::{Language, TariffError};
use serde_json::{Value, json};
use std::fmt;

pub use grid::CELLS_MAX;

/// Something in a tariff that its author should look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// Where: `elements[2].price_components[0].step_size`.
    pub path: String,
    /// What is so.
    pub words: String,
    /// What to do.
    pub suggestion: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Legal and perhaps meant.
    Hint,
    /// Likely a mistake.
    Warning,
    /// The tariff cannot be used.
    Error,
}

/// What kind of finding. Append only: the words are kept by users.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Code {
    /// The tariff cannot be rated.
    Invalid,
    /// A price that never holds, because earlier ones always do.
    Unreachable,
    /// At some times energy has no price.
    Gap,
    /// Neither energy nor time nor a fee has a price.
    NoPrice,
    /// Steps of more than the smallest unit, which OCPI 3.0 takes away.
    StepSize,
    /// Taxes that contradict each other.
    VatDisagrees,
    /// A tax far from any country's.
    VatUnlikely,
    /// A price that looks a hundred times too high or too low.
    PriceUnlikely,
    /// The most a session costs is less than its fee.
    MaxBelowFee,
    /// A time that wraps past midnight on certain days only.
    WrapAround,
    /// A time of which the start is its end: it holds all day.
    WholeDay,
    /// Dates outside those in which the tariff is valid.
    OutsideValidity,
    /// Prices that hold together in part, so that their order decides.
    Overlap,
    /// A restriction that a parked vehicle never meets.
    ParkedPower,
    /// A restriction of a reservation that a reservation never meets.
    ReservationRestriction,
    /// An id with signs that partners may not take, or too long for OCPI.
    Id,
    /// A text twice in one language.
    DuplicateWords,
    /// No text for drivers.
    NoWords,
}

impl Code {
    /// The word it is known by.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Code::Invalid => "invalid",
            Code::Unreachable => "unreachable",
            Code::Gap => "gap",
            Code::NoPrice => "no_price",
            Code::StepSize => "step_size",
            Code::VatDisagrees => "vat_disagrees",
            Code::VatUnlikely => "vat_unlikely",
            Code::PriceUnlikely => "price_unlikely",
            Code::MaxBelowFee => "max_below_fee",
            Code::WrapAround => "wrap_around",
            Code::WholeDay => "whole_day",
            Code::OutsideValidity => "outside_validity",
            Code::Overlap => "overlap",
            Code::ParkedPower => "parked_power",
            Code::ReservationRestriction => "reservation_restriction",
            Code::Id => "id",
            Code::DuplicateWords => "duplicate_words",
            Code::NoWords => "no_words",
        }
    }
}

impl Severity {
    /// The word it is known by.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Severity::Hint => "hint",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

impl Finding {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code.word(),
            "severity": self.severity.word(),
            "path": self.path,
            "words": self.words,
            "suggestion": self.suggestion,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { code, severity, path, words, suggestion } = self;
        let (code, severity) = (code.word(), severity.word());
        write!(f, "{severity}[{code}] {path}: {words}. {suggestion}.")
    }
}

/// The findings of one run.
struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        code: Code,
        severity: Severity,
        path: impl Into<String>,
        words: impl Into<String>,
        suggestion: impl Into<String>,
    ) {
        let (path, words, suggestion) = (path.into(), words.into(), suggestion.into());
        self.0.push(Finding { code, severity, path, words, suggestion });
    }

    fn warn(&mut self, code: Code, path: &str, words: impl Into<String>, to_do: impl Into<String>) {
        self.add(code, Severity::Warning, path, words, to_do);
    }

    fn hint(&mut self, code: Code, path: &str, words: impl Into<String>, to_do: impl Into<String>) {
        self.add(code, Severity::Hint, path, words, to_do);
    }
}

/// All findings, in the tariff's order; the worst first where a caller sorts by severity.
#[must_use]
pub fn lint(tariff: &Tariff) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    if let Err(error) = tariff.check() {
        let (path, words) = match &error {
            TariffError::Invalid { path, what } => (path.clone(), format!("{path} {what}")),
            other => (String::new(), other.to_string()),
        };
        let to_do = "Correct it: nobody can be charged by this tariff";
        findings.add(Code::Invalid, Severity::Error, path, words, to_do);
        return findings.0;
    }
    texts(tariff, &mut findings);
    prices::prices(tariff, &mut findings);
    restrictions(tariff, &mut findings);
    grid::reach(tariff, &mut findings);
    findings.0
}

fn texts(tariff: &Tariff, findings: &mut Findings) {
    if !tariff.id.is_ascii() || tariff.id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let words = "the id has signs other than printing ASCII";
        findings.warn(Code::Id, "id", words, "Use letters, digits and - only");
    } else if tariff.id.len() > 36 {
        let words = format!("the id has {} signs, OCPI allows 36", tariff.id.len());
        findings.warn(Code::Id, "id", words, "Shorten it before sending it to partners");
    }
    for (index, words) in tariff.words.iter().enumerate() {
        let earlier = tariff.words.iter().take(index);
        if earlier.into_iter().any(|other| other.language == words.language) {
            let path = format!("tariff_alt_text[{index}]");
            let what = format!("there is a text in {:?} before it", words.language);
            findings.warn(Code::DuplicateWords, &path, what, "Keep one text a language");
        }
    }
    if tariff.words.is_empty() {
        let text = crate::explain::explain(tariff, Language::En);
        let to_do = format!("Add one, for example: {text:?}");
        findings.hint(Code::NoWords, "tariff_alt_text", "there is no text for drivers", to_do);
    }
}

fn restrictions(tariff: &Tariff, findings: &mut Findings) {
    for (index, element) in tariff.elements.iter().enumerate() {
        let Some(r) = &element.restrictions else { continue };
        let path = format!("elements[{index}].restrictions");
        if let (Some(start), Some(end)) = (r.start_time, r.end_time) {
            if start == end {
                let words = "the time ends when it starts and so holds all day";
                let to_do = "Leave both out, or correct one";
                findings.warn(Code::WholeDay, &format!("{path}.end_time"), words, to_do);
            } else if end < start && end != 0 && r.days != 0 && r.days != crate::model::ALL_DAYS {
                let words = "past midnight the day of the week is the next one: what wraps holds \
                             early on the named day, not after it";
                let to_do = "Make two elements: until 00:00 on the named days, and from 00:00 on \
                             the days after";
                findings.warn(Code::WrapAround, &format!("{path}.day_of_week"), words, to_do);
            }
        }
        let parks = element.component(Dimension::ParkingTime).is_some();
        if parks && (r.min_w.is_some_and(|w| w > 0) || r.min_ma.is_some_and(|ma| ma > 0)) {
            let words = "a parked vehicle takes no power, so the price of parking never holds";
            findings.warn(Code::ParkedPower, &path, words, "Take min_power or min_current out");
        }
        let measured = [r.min_wh, r.max_wh, r.min_w, r.max_w, r.min_ma, r.max_ma];
        if r.reservation.is_some() && measured.iter().any(Option::is_some) {
            let words = "nothing is measured during a reservation";
            let to_do = "Restrict a reservation by time, date and duration only";
            findings.warn(Code::ReservationRestriction, &path, words, to_do);
        }
        validity(tariff, r, &path, findings);
    }
}

/// Dates of an element that no session of the tariff can meet. A day's margin stands for the
/// zone, which a tariff does not know.
fn validity(tariff: &Tariff, r: &crate::model::Restrictions, path: &str, findings: &mut Findings) {
    let day = |at: novax_model::Timestamp| i64::try_from(at.0 / 86_400_000_000).unwrap_or(i64::MAX);
    let ends_before = tariff
        .valid_from
        .zip(r.end_date)
        .is_some_and(|(from, end)| i64::from(end.0) + 1 < day(from));
    // A session may start just before the tariff ends and go on for days; a month is enough.
    let starts_after = tariff
        .valid_until
        .zip(r.start_date)
        .is_some_and(|(until, start)| i64::from(start.0) > day(until) + 31);
    if ends_before || starts_after {
        let words = "the dates lie outside those in which the tariff is valid";
        findings.warn(Code::OutsideValidity, path, words, "Correct the dates or take it out");
    }
}

#[cfg(test)]
mod tests;
