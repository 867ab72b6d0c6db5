//! The canonical text of a book: what is hashed, and what an operator is shown as in force.
//!
//! Reading it gives the same book again. It changes only with the version of the language.

use super::book::{Combine, Compare, Condition, Effect, Fallback, RuleBook, RuleHash};
use super::signals::SignalKind;
use crate::language::{Language, clock, date};
use sha2::{Digest, Sha256};
use std::fmt::Write;

impl RuleBook {
    /// The book in the one form that is hashed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::from("pricing 1\n");
        let combine = match self.combine {
            Combine::First => "first",
            Combine::Stack => "stack",
        };
        let _ = writeln!(out, "book {}", quoted(&self.name));
        let _ = writeln!(out, "currency {}", self.currency);
        let _ = writeln!(out, "combine {combine}");
        let bounds = &self.bounds;
        let (least, most) = (number(bounds.factor_min_ppm, 6), number(bounds.factor_max_ppm, 6));
        let _ = writeln!(out, "bound factor {least} .. {most}");
        let (least, most) = (number(bounds.add_min_micros, 6), number(bounds.add_max_micros, 6));
        let _ = writeln!(out, "bound add {least} .. {most} per kWh");
        if let (Some(least), Some(most)) = (bounds.price_min_micros, bounds.price_max_micros) {
            let _ =
                writeln!(out, "bound price {} .. {} per kWh", number(least, 6), number(most, 6));
        }
        for policy in &self.signals {
            let fallback = match policy.fallback {
                Fallback::Skip => "skip".into(),
                Fallback::Listed => "listed".into(),
                Fallback::Assume(value) => format!("assume {}", with_unit(policy.kind, value)),
            };
            let (word, age_s) = (policy.kind.word(), policy.age_max_s);
            let _ = writeln!(out, "signal {word} max age {age_s} s else {fallback}");
        }
        for rule in &self.rules {
            let _ = writeln!(out, "\nrule {}", quoted(&rule.name));
            if rule.conditions.is_empty() {
                let _ = writeln!(out, "  when always");
            }
            for one in &rule.conditions {
                let _ = writeln!(out, "  when {}", condition(one));
            }
            for one in &rule.effects {
                let _ = writeln!(out, "  then {}", effect(one));
            }
        }
        out
    }

    pub(super) fn canonical_hash(&self) -> RuleHash {
        RuleHash(Sha256::digest(self.to_text().as_bytes()).into())
    }
}

fn condition(condition: &Condition) -> String {
    match condition {
        Condition::Time { from, until } => format!("time {}-{}", clock(*from), clock(*until)),
        Condition::Days(bits) => {
            const WORDS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            let on = WORDS.iter().enumerate().filter(|(day, _)| bits >> day & 1 == 1);
            let words: Vec<&str> = on.map(|(_, word)| *word).collect();
            format!("days {}", words.join(", "))
        }
        Condition::Dates { first, last } => {
            format!("dates {} .. {}", date(*first), date(*last))
        }
        Condition::Site(names) => format!("site {}", list(names)),
        Condition::Tag(names) => format!("tag {}", list(names)),
        Condition::NoTag(names) => format!("no tag {}", list(names)),
        Condition::Signal { kind, compare, threshold } => {
            let sign = match compare {
                Compare::Below => "<",
                Compare::AtMost => "<=",
                Compare::AtLeast => ">=",
                Compare::Above => ">",
            };
            format!("{} {sign} {}", kind.word(), with_unit(*kind, *threshold))
        }
    }
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Factor(ppm) => format!("factor {}", number(*ppm, 6)),
        Effect::TimeFactor(ppm) => format!("time factor {}", number(*ppm, 6)),
        Effect::Add(micros) => format!("add {} per kWh", number(*micros, 6)),
        Effect::Follow { from, share_ppm } => format!(
            "follow day-ahead from {} share {} %",
            with_unit(SignalKind::DayAhead, *from),
            number(*share_ppm, 4)
        ),
        Effect::Floor(micros) => format!("floor {} per kWh", number(*micros, 6)),
        Effect::Ceiling(micros) => format!("ceiling {} per kWh", number(*micros, 6)),
    }
}

fn with_unit(kind: SignalKind, value: i64) -> String {
    let unit = match kind {
        SignalKind::Temperature => "C",
        SignalKind::Load | SignalKind::Renewable => "%",
        SignalKind::DayAhead => "per MWh",
    };
    format!("{} {unit}", number(value, kind.places()))
}

fn number(value: impl Into<i128>, places: u32) -> String {
    Language::En.decimal(value.into(), places, 0)
}

fn list(names: &[Box<str>]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
