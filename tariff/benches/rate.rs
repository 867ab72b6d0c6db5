//! What it costs to price a session: start, four readings, the final cost, under a tariff of three
//! elements with a night, a start fee and parking after four hours.
//!
//! `cargo bench -p novax-tariff` prints one line per figure, `figure <name> <value> <unit>`.

use novax_model::{Currency, Micros, Timestamp, WattHours};
use novax_tariff::{
    Adjustment, Component, Dimension, Element, Rating, Reading, Restrictions, Tariff, Zone,
};
use std::hint::black_box;
use std::time::Instant;

const SESSIONS: u64 = 200_000;
const ROUNDS: u64 = 7;
const BEGIN: u64 = 1_767_225_600_000_000;
const MINUTE_US: u64 = 60_000_000;

fn tariff() -> Tariff {
    let price = |dimension, cents: i128| Component::new(dimension, Micros(cents * 10_000));
    let night = Restrictions {
        start_time: Some(22 * 60),
        end_time: Some(6 * 60),
        ..Restrictions::default()
    };
    let long = Restrictions { min_s: Some(4 * 3_600), ..Restrictions::default() };
    let element = |components, restrictions| Element { components, restrictions };
    Tariff::of(
        "bench",
        Currency::EUR,
        vec![
            element(vec![price(Dimension::Energy, 29)], Some(night)),
            element(vec![price(Dimension::Energy, 39), price(Dimension::Flat, 50)], None),
            element(vec![price(Dimension::ParkingTime, 200)], Some(long)),
        ],
    )
}

fn session(tariff: &Tariff, zone: &Zone, number: u64) -> i128 {
    let start = BEGIN + number * 7 * MINUTE_US;
    let reading = |minute: u64, wh: i64, charging: bool| Reading {
        at: Timestamp(start + minute * MINUTE_US),
        register_wh: WattHours(1_000_000 + wh),
        power_w: Some(11_000),
        current_ma: None,
        charging,
    };
    let mut rating = Rating::start(tariff, zone, None, reading(0, 0, true));
    for (minute, wh, charging) in
        [(15, 2_750, true), (30, 5_500, true), (45, 8_250, false), (70, 8_250, false)]
    {
        rating.advance(tariff, zone, reading(minute, wh, charging));
    }
    rating.cost(tariff, &Adjustment::NONE, true).total.0
}

fn rated_per_second(tariff: &Tariff, zone: &Zone) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut sum = 0;
        for number in 0..SESSIONS {
            sum += session(black_box(tariff), black_box(zone), number);
        }
        black_box(sum);
        best = best.min(began.elapsed().as_secs_f64());
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of sessions")]
    let sessions = SESSIONS as f64;
    sessions / best
}

fn main() {
    let zone = Zone::get("Europe/Berlin").expect("a zone of the table");
    let tariff = tariff();
    tariff.check().expect("a sound tariff");
    let flat = Tariff::flat("flat", Currency::EUR, Micros(390_000), Micros(500_000));
    println!("figure rated_sessions_per_s {:.0} 1/s", rated_per_second(&tariff, &zone));
    println!("figure rated_flat_sessions_per_s {:.0} 1/s", rated_per_second(&flat, &zone));
}
