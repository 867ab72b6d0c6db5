//! What a session would cost: tariff, rules and a load curve in, cost and words out.
//!
//! The same rating as in a real session does the work, so a simulation is a promise. Pure: the
//! caller brings the time, the signals and the zone.

use crate::explain::{duration, explain, money};
use crate::language::Language;
use crate::lint::{Finding, lint};
use crate::model::{Dimension, Tariff};
use crate::rating::{Adjustment, Cost, CostLine, Period, Rating, Reading};
use crate::rules::{Quote, RuleBook, Signals};
use crate::zone::Zone;
use crate::{Limit, TariffError};
use novax_model::{Micros, Timestamp, WattHours};
use serde_json::{Value, json};
use std::fmt;

/// Most legs of a load curve.
pub const LEGS_MAX: usize = 10_000;
/// Longest session that is simulated: a month.
pub const DURATION_MAX_S: u64 = 31 * 86_400;

/// A stretch of a session with one power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leg {
    /// How long.
    pub duration_s: u32,
    /// Energy taken in it; negative when the vehicle feeds the grid.
    pub energy_wh: i64,
    /// Whether the vehicle charges; if not, it is parked.
    pub charging: bool,
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The tariff.
    pub tariff: &'a Tariff,
    /// The wall clock of the site.
    pub zone: &'a Zone,
    /// When the charge starts.
    pub start: Timestamp,
    /// When a reservation began that this charge fulfils.
    pub reserved_from: Option<Timestamp>,
    /// What the vehicle does.
    pub legs: &'a [Leg],
    /// Pricing rules and what the place says, if any.
    pub rules: Option<(&'a RuleBook, &'a Signals)>,
    /// The language of the words.
    pub language: Language,
}

/// What a simulated session comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Energy of the session.
    pub energy: WattHours,
    /// What it costs.
    pub cost: Cost,
    /// The running total after each leg.
    pub running: Vec<(Timestamp, WattHours, Micros)>,
    /// Stretches with their own prices.
    pub periods: Vec<Period>,
    /// What the rules did, and why.
    pub quote: Option<Quote>,
    /// What the linter has to say about the tariff.
    pub findings: Vec<Finding>,
    /// The tariff in words.
    pub tariff_words: String,
    /// The language of the words.
    pub language: Language,
}

/// Simulates a session.
///
/// # Errors
/// [`TariffError`] when the tariff cannot be rated or the session is too long to simulate.
pub fn simulate(input: &Input<'_>) -> Result<Report, TariffError> {
    let tariff = input.tariff;
    tariff.check()?;
    check_legs(input)?;
    let quote = input.rules.map(|(book, signals)| {
        let local = input.zone.offset_at(input.start).local(input.start);
        book.evaluate(signals, input.start, local)
    });
    if let Some(quote) = &quote
        && quote.currency != tariff.currency
    {
        let what = format!("is {}, but the rule book is in {}", tariff.currency, quote.currency);
        return Err(TariffError::invalid("currency", what));
    }
    let adjust = quote.as_ref().map_or(Adjustment::NONE, |quote| quote.adjustment);
    let mut reading = Reading {
        at: input.start,
        register_wh: WattHours(0),
        power_w: input.legs.first().and_then(leg_power_w),
        current_ma: None,
        charging: input.legs.first().is_some_and(|leg| leg.charging),
    };
    let mut rating = Rating::start(tariff, input.zone, input.reserved_from, reading);
    let mut running = Vec::with_capacity(input.legs.len());
    for (index, leg) in input.legs.iter().enumerate() {
        let next = input.legs.get(index + 1);
        let us = u64::from(leg.duration_s) * 1_000_000;
        reading = Reading {
            at: Timestamp(reading.at.0.saturating_add(us)),
            register_wh: WattHours(reading.register_wh.0.saturating_add(leg.energy_wh)),
            power_w: next.and_then(leg_power_w),
            current_ma: None,
            charging: next.is_some_and(|leg| leg.charging),
        };
        rating.advance(tariff, input.zone, reading);
        running.push((reading.at, rating.energy(), rating.cost(tariff, &adjust, false).total));
    }
    Ok(Report {
        start: input.start,
        end: reading.at,
        energy: rating.energy(),
        cost: rating.cost(tariff, &adjust, true),
        running,
        periods: rating.periods().to_vec(),
        quote,
        findings: lint(tariff),
        tariff_words: explain(tariff, input.language),
        language: input.language,
    })
}

fn check_legs(input: &Input<'_>) -> Result<(), TariffError> {
    let total_s: u64 = input.legs.iter().map(|leg| u64::from(leg.duration_s)).sum();
    if input.legs.len() > LEGS_MAX || total_s > DURATION_MAX_S {
        let days = DURATION_MAX_S / 86_400;
        let what = format!("a simulation has at most {LEGS_MAX} legs and {days} days");
        return Err(TariffError::invalid("legs", what));
    }
    Ok(())
}

fn leg_power_w(leg: &Leg) -> Option<i64> {
    let watts = i128::from(leg.energy_wh) * 3_600 / i128::from(leg.duration_s.max(1));
    i64::try_from(watts).ok()
}

impl Report {
    /// The report as JSON: amounts as decimal text, so that no reader rounds them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let amount = |micros: Micros| Language::En.decimal(micros.0, 6, 2);
        let lines: Vec<Value> = self.cost.lines.iter().map(line_json).collect();
        let running: Vec<Value> = self
            .running
            .iter()
            .map(|(at, wh, total)| {
                json!({ "at": at.to_rfc3339(), "energy_wh": wh.0, "total": amount(*total) })
            })
            .collect();
        let periods: Vec<Value> = self.periods.iter().map(period_json).collect();
        let findings: Vec<Value> = self.findings.iter().map(Finding::to_json).collect();
        let rules = self.quote.as_ref().map(|quote| {
            json!({
                "book": quote.book.to_string(),
                "factor_ppm": quote.adjustment.factor_ppm,
                "time_factor_ppm": quote.adjustment.time_factor_ppm,
                "add_per_kwh": amount(Micros(quote.adjustment.add_micros_per_kwh.into())),
                "reasons": quote.sentences(self.language),
            })
        });
        json!({
            "start": self.start.to_rfc3339(),
            "end": self.end.to_rfc3339(),
            "energy_wh": self.energy.0,
            "currency": self.cost.currency.code(),
            "total": amount(self.cost.total),
            "before_taxes": self.cost.before_taxes.map(amount),
            "after_taxes": self.cost.after_taxes.map(amount),
            "lines": lines,
            "running": running,
            "periods": periods,
            "rules": rules,
            "findings": findings,
            "tariff": self.tariff_words,
        })
    }
}

fn line_json(line: &CostLine) -> Value {
    let unit = match line.dimension {
        Dimension::Energy => "Wh",
        Dimension::Flat => "session",
        Dimension::ParkingTime | Dimension::Time => "us",
    };
    json!({
        "element": line.element,
        "dimension": line.dimension.name(),
        "reserved": line.reserved,
        "unit": unit,
        "volume": line.volume,
        "billed_volume": line.billed_volume,
        "price": Language::En.decimal(line.price.0, 6, 2),
        "amount": Language::En.decimal(line.amount.0, 6, 2),
        "vat_ppm": line.vat_ppm,
    })
}

fn period_json(period: &Period) -> Value {
    let elements: Vec<Value> = Dimension::ALL
        .iter()
        .filter_map(|dimension| {
            let element = period.active.element(*dimension)?;
            Some(json!({ "dimension": dimension.name(), "element": element }))
        })
        .collect();
    json!({
        "start": period.start.to_rfc3339(),
        "duration_us": period.duration_us,
        "energy_wh": period.energy.0,
        "charging": period.charging,
        "reservation": period.reservation.is_some(),
        "prices": elements,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let language = self.language;
        let amount = |micros: Micros| money(micros, self.cost.currency, language);
        writeln!(f, "{}", self.tariff_words)?;
        for sentence in self.quote.iter().flat_map(|quote| quote.sentences(language)) {
            writeln!(f, "{sentence}")?;
        }
        let (start, end) = (self.start.to_rfc3339(), self.end.to_rfc3339());
        writeln!(f, "{start} - {end}, {} kWh", language.decimal(self.energy.0.into(), 3, 0))?;
        for line in &self.cost.lines {
            let (name, volume) = (line.dimension.name(), volume(line, language));
            let (price, cost) = (amount(line.price), amount(line.amount));
            writeln!(f, "  {name:<12} {volume:>14} x {price:>14} = {cost:>14}")?;
        }
        let limited = match self.cost.limits.before_taxes.or(self.cost.limits.after_taxes) {
            Some(Limit::Min) => language.pick(" (least price)", " (Mindestpreis)", "（最低价）"),
            Some(Limit::Max) => language.pick(" (greatest price)", " (Höchstpreis)", "（最高价）"),
            None => "",
        };
        let total = language.pick("Total", "Gesamt", "合计");
        writeln!(f, "  {total}: {}{limited}", amount(self.cost.total))?;
        if let (Some(before), Some(after)) = (self.cost.before_taxes, self.cost.after_taxes) {
            let (net, gross) = (
                language.pick("before tax", "ohne Steuer", "不含税"),
                language.pick("with tax", "mit Steuer", "含税"),
            );
            writeln!(f, "  {net}: {}, {gross}: {}", amount(before), amount(after))?;
        }
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

fn volume(line: &CostLine, language: Language) -> String {
    match line.dimension {
        Dimension::Energy => {
            format!("{} kWh", language.decimal(line.billed_volume.into(), 3, 0))
        }
        Dimension::Flat => line.billed_volume.to_string(),
        Dimension::ParkingTime | Dimension::Time => {
            let seconds = u32::try_from(line.billed_volume / 1_000_000).unwrap_or(u32::MAX);
            duration(seconds, language)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Component, Element, Restrictions};
    use novax_model::Currency;

    const LEGS: [Leg; 3] = [
        Leg { duration_s: 3_600, energy_wh: 10_000, charging: true },
        Leg { duration_s: 3_600, energy_wh: 10_000, charging: true },
        Leg { duration_s: 1_800, energy_wh: 0, charging: false },
    ];

    const BOOK: &str = "pricing 1\nbook b\ncurrency EUR\ncombine first\nbound factor 0.5 .. 2\n\
        rule \"Night\"\n when time 20:00-06:00\n then factor 0.5\n";

    fn start() -> Timestamp {
        Timestamp::parse_rfc3339("2026-11-22T20:00:00Z").unwrap()
    }

    /// 0.40 until 22:00, then 0.30; parking 2.00 an hour.
    fn tariff() -> Tariff {
        let priced = |dimension, micros| Component::new(dimension, Micros(micros));
        let night = Restrictions { start_time: Some(1_320), ..Restrictions::default() };
        Tariff::of(
            "t",
            Currency::EUR,
            vec![
                Element {
                    components: vec![priced(Dimension::Energy, 300_000)],
                    restrictions: Some(night),
                },
                Element {
                    components: vec![
                        priced(Dimension::Energy, 400_000),
                        priced(Dimension::ParkingTime, 2_000_000),
                    ],
                    restrictions: None,
                },
            ],
        )
    }

    fn run(tariff: &Tariff, legs: &[Leg], book: Option<&str>) -> Result<Report, TariffError> {
        let zone = Zone::get("Europe/Berlin")?;
        let book = book.map(|text| RuleBook::parse(text).unwrap());
        let signals = Signals::of_site("BER-1");
        simulate(&Input {
            tariff,
            zone: &zone,
            start: start(),
            reserved_from: None,
            legs,
            rules: book.as_ref().map(|book| (book, &signals)),
            language: Language::En,
        })
    }

    #[test]
    fn a_session_is_simulated_as_it_would_be_billed() {
        let report = run(&tariff(), &LEGS, None).unwrap();
        let totals: Vec<i128> = report.running.iter().map(|(_, _, total)| total.0).collect();
        assert_eq!(totals, [4_000_000, 7_000_000, 8_000_000]);
        assert_eq!((report.cost.total, report.energy), (Micros(8_000_000), WattHours(20_000)));
        assert_eq!(report.periods.len(), 3, "two prices of energy, then parking");
        let json = report.to_json();
        assert_eq!((&json["total"], &json["rules"]), (&json!("8.00"), &Value::Null));
        assert_eq!(json["periods"][1]["start"], "2026-11-22T21:00:00.000Z");
    }

    #[test]
    fn rules_change_the_price_and_say_why() {
        let report = run(&tariff(), &LEGS, Some(BOOK)).unwrap();
        assert_eq!(report.cost.total, Micros(4_500_000), "energy halved, parking as listed");
        assert_eq!(
            report.to_string(),
            "Energy: 0.30 EUR per kWh from 22:00 to 24:00; otherwise 0.40 EUR per kWh. \
             Parking without charging: 2.00 EUR per hour. Prices exclude tax.\n\
             Night: 50 % cheaper, because it is between 20:00 and 06:00.\n\
             2026-11-22T20:00:00.000Z - 2026-11-22T22:30:00.000Z, 20 kWh\n  \
             ENERGY               10 kWh x       0.20 EUR =       2.00 EUR\n  \
             ENERGY               10 kWh x       0.15 EUR =       1.50 EUR\n  \
             PARKING_TIME         30 min x       2.00 EUR =       1.00 EUR\n  \
             Total: 4.50 EUR\n\
             hint[no_words] tariff_alt_text: there is no text for drivers. Add one, for example: \
             \"Energy: 0.30 EUR per kWh from 22:00 to 24:00; otherwise 0.40 EUR per kWh. Parking \
             without charging: 2.00 EUR per hour. Prices exclude tax.\".\n"
        );
    }

    #[test]
    fn what_cannot_be_simulated_is_refused() {
        let long = Leg { duration_s: u32::MAX, energy_wh: 0, charging: true };
        let at = |result: Result<Report, TariffError>| match result {
            Err(TariffError::Invalid { path, .. }) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(at(run(&tariff(), &[long], None)), "legs");
        assert_eq!(at(run(&tariff(), &vec![LEGS[0]; LEGS_MAX + 1], None)), "legs");
        let dollars = BOOK.replace("EUR", "USD");
        assert_eq!(at(run(&tariff(), &LEGS, Some(&dollars))), "currency");
        assert_eq!(at(run(&Tariff::of("t", Currency::EUR, vec![]), &LEGS, None)), "elements");
        assert_eq!(run(&tariff(), &[], None).unwrap().cost.total, Micros(0));
    }
}
