//! Cases that people can read: `testdata/**.txt`.

use novax_model::{Micros, Timestamp, WattHours};
use novax_tariff::{Adjustment, Cost, Rating, Reading, Tariff, Zone, ocpi};
use std::time::Duration;

/// Where a file's cases stand: each line changes it, each `cost` line asks it.
struct Case<'a> {
    zone: Zone,
    tariff: Option<Tariff>,
    reserved: Option<Timestamp>,
    session: Timestamp,
    rating: Option<Rating>,
    adjust: Adjustment,
    asked: usize,
    place: (&'a str, usize),
}

pub(crate) fn millionths(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<6}");
    assert!(fraction.len() <= 6, "{text} is finer than a millionth");
    digits.parse().unwrap_or_else(|_| panic!("{text} is a number"))
}

fn milli(text: &str) -> i64 {
    i64::try_from(millionths(text) / 1_000).unwrap()
}

/// `+1:07:30` after a time.
fn after(start: Timestamp, text: &str) -> Timestamp {
    let parts: Vec<u64> =
        text.trim_start_matches('+').split(':').map(|part| part.parse().unwrap()).collect();
    let seconds = match parts.as_slice() {
        [h, m] => h * 3_600 + m * 60,
        [h, m, s] => h * 3_600 + m * 60 + s,
        _ => panic!("{text} is no time after"),
    };
    start.saturating_add(Duration::from_secs(seconds))
}

impl Case<'_> {
    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "zone" => self.zone = Zone::get(rest).unwrap(),
            "tariff" => self.tariff = Some(self.read_tariff(rest)),
            "reserved" => self.reserved = Some(Timestamp::parse_rfc3339(rest).unwrap()),
            "session" => {
                self.session = Timestamp::parse_rfc3339(rest).unwrap();
                self.rating = None;
            }
            "expired" => {
                let (from, until) = rest.split_once(' ').unwrap();
                let from = Timestamp::parse_rfc3339(from).unwrap();
                let tariff = self.tariff.as_ref().unwrap();
                self.rating = Some(Rating::expired(tariff, &self.zone, from, after(from, until)));
            }
            "adjust" => self.adjust.factor_ppm = rest.parse().unwrap(),
            "cost" => self.ask(rest),
            _ if word.starts_with('+') => self.reading(word, rest),
            _ => panic!("{:?}: no word {word}", self.place),
        }
    }

    fn read_tariff(&self, rest: &str) -> Tariff {
        let (version, text) = rest.split_once(' ').unwrap();
        let parse = if version == "2.2.1" { ocpi::v221::parse } else { ocpi::v230::parse };
        let write = if version == "2.2.1" { ocpi::v221::write } else { ocpi::v230::write };
        let parsed = parse(text).unwrap_or_else(|wrong| panic!("{:?}: {wrong}", self.place));
        assert_eq!(parsed.unknown.count, 0, "{:?}", self.place);
        let again = parse(&write(&parsed.tariff).unwrap()).unwrap();
        assert_eq!(again, parsed, "{:?}: written and read back", self.place);
        parsed.tariff
    }

    fn reading(&mut self, at: &str, rest: &str) {
        let mut words = rest.split_whitespace();
        let kwh = words.next().unwrap();
        let mut reading = Reading {
            at: after(self.session, at),
            register_wh: WattHours(1_000_000 + milli(kwh)),
            power_w: None,
            current_ma: None,
            charging: true,
        };
        for word in words {
            match word {
                "charging" => reading.charging = true,
                "parked" => reading.charging = false,
                _ if word.ends_with("kW") => {
                    reading.power_w = Some(milli(word.trim_end_matches("kW")));
                }
                _ => reading.current_ma = Some(milli(word.trim_end_matches('A'))),
            }
        }
        let tariff = self.tariff.as_ref().unwrap();
        match &mut self.rating {
            Some(rating) => rating.advance(tariff, &self.zone, reading),
            None => {
                let reserved = self.reserved.take();
                self.rating = Some(Rating::start(tariff, &self.zone, reserved, reading));
            }
        }
    }

    fn ask(&mut self, rest: &str) {
        let cost: Cost = {
            let rating = self.rating.as_ref().unwrap();
            rating.cost(self.tariff.as_ref().unwrap(), &self.adjust, true)
        };
        let said = |text: &str| (text != "-").then(|| Micros(millionths(text)));
        let (before, after) = rest.split_once(' ').unwrap();
        let found = (cost.before_taxes, cost.after_taxes);
        assert_eq!(found, (said(before), said(after)), "{:?}: {:?}", self.place, cost.lines);
        let parts: i128 = cost.by_rate().iter().map(|(_, part)| part.0).sum();
        assert_eq!(Micros(parts), cost.total, "{:?}", self.place);
        self.adjust = Adjustment::NONE;
        self.asked += 1;
    }
}

fn check(name: &'static str, text: &'static str, cases: usize) {
    let mut case = Case {
        zone: Zone::utc(),
        tariff: None,
        reserved: None,
        session: Timestamp::ZERO,
        rating: None,
        adjust: Adjustment::NONE,
        asked: 0,
        place: (name, 0),
    };
    for (number, line) in (1..).zip(text.lines()) {
        case.place.1 = number;
        if !line.is_empty() && !line.starts_with('#') {
            case.line(line);
        }
    }
    assert_eq!(case.asked, cases, "{name} has as many cases as it had");
}

#[test]
fn the_specifications_examples_of_energy() {
    check("energy", include_str!("../../testdata/ocpi/energy.txt"), 13);
}

#[test]
fn the_specifications_examples_of_time() {
    check("time", include_str!("../../testdata/ocpi/time.txt"), 11);
}

#[test]
fn the_specifications_examples_of_restrictions() {
    check("restrictions", include_str!("../../testdata/ocpi/restrictions.txt"), 10);
}

#[test]
fn the_specifications_examples_of_reservations() {
    check("reservation", include_str!("../../testdata/ocpi/reservation.txt"), 7);
}

#[test]
fn the_specifications_examples_of_taxes() {
    check("taxes", include_str!("../../testdata/ocpi/taxes.txt"), 4);
}

#[test]
fn prices_follow_the_clock_on_the_wall() {
    check("clock", include_str!("../../testdata/clock.txt"), 10);
}
