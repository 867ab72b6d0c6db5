//! The common tariff by hand, and readings as no charger should send them.

use crate::naive::tariff;
use novax_model::{Currency, Micros, Timestamp, WattHours};
use novax_tariff::{
    Adjustment, Component, Dimension, Element, PERIODS_MAX, Rating, Reading, Restrictions, Tariff,
    Zone,
};
use proptest::prelude::*;

fn reading(second: u64, wh: i64) -> Reading {
    Reading {
        at: Timestamp(second * 1_000_000),
        register_wh: WattHours(wh),
        power_w: None,
        current_ma: None,
        charging: true,
    }
}

#[test]
fn a_kwh_and_a_session_have_their_price() {
    let tariff = Tariff::flat("T", Currency::EUR, Micros(390_000), Micros(500_000));
    tariff.check().unwrap();
    assert!(tariff.is_simple());
    let zone = Zone::utc();
    let mut rating = Rating::start(&tariff, &zone, None, reading(0, 1_000));
    rating.advance(&tariff, &zone, reading(600, 6_000));
    rating.advance(&tariff, &zone, reading(1_200, 11_000));
    let cost = rating.cost(&tariff, &Adjustment::NONE, true);
    assert_eq!(cost.total, Micros(4_400_000));
    assert_eq!(cost.after_taxes, None, "the tariff says nothing of tax");
    assert_eq!(cost.by_rate(), [(None, Micros(4_400_000))]);
    assert_eq!(rating.periods().len(), 1);
    assert_eq!(rating.next_boundary(&tariff, &zone), None);
    let dearer = Adjustment { factor_ppm: 1_500_000, ..Adjustment::NONE };
    assert_eq!(rating.cost(&tariff, &dearer, true).total, Micros(6_350_000));
}

#[test]
fn a_reading_from_the_past_costs_its_energy_and_no_time() {
    let tariff = Tariff::of(
        "T",
        Currency::EUR,
        vec![Element {
            components: vec![
                Component::new(Dimension::Energy, Micros(1_000_000)),
                Component::new(Dimension::Time, Micros(3_600_000)),
            ],
            restrictions: None,
        }],
    );
    let zone = Zone::utc();
    let mut rating = Rating::start(&tariff, &zone, None, reading(1_000, 0));
    rating.advance(&tariff, &zone, reading(1_100, 1_000));
    rating.advance(&tariff, &zone, reading(900, 3_000));
    rating.advance(&tariff, &zone, reading(1_200, 3_000));
    // 3 kWh and 200 seconds at a thousandth each.
    assert_eq!(rating.cost(&tariff, &Adjustment::NONE, true).total, Micros(3_200_000));
}

/// A quarter of the day each, 64 prices: no season of silence makes the work unbounded.
#[test]
fn years_of_silence_under_the_busiest_tariff_are_counted_to_the_end() {
    let element = |n: u16| Element {
        components: vec![Component::new(Dimension::Time, Micros(i128::from(n)))],
        restrictions: Some(Restrictions {
            start_time: Some(n * 22),
            end_time: Some(n * 22 + 11),
            ..Restrictions::default()
        }),
    };
    let tariff = Tariff::of("busy", Currency::EUR, (0..64).map(element).collect());
    tariff.check().unwrap();
    let zone = Zone::get("America/New_York").unwrap();
    let years = 10 * 365 * 86_400;
    let mut rating = Rating::start(&tariff, &zone, None, reading(1_700_000_000, 0));
    rating.advance(&tariff, &zone, reading(1_700_000_000 + years, 77));
    let us: u64 = rating.periods().iter().map(|period| period.duration_us).sum();
    assert_eq!(us, years * 1_000_000);
    assert_eq!(rating.periods().iter().map(|period| period.energy.0).sum::<i64>(), 77);
    assert_eq!(rating.periods().len(), PERIODS_MAX);
    assert!(rating.periods_cut());
}

#[test]
fn what_is_used_so_far_knows_neither_steps_nor_the_least_price() {
    let text = r#"{"country_code":"DE","party_id":"NVX","id":"T","currency":"EUR","min_price":{"excl_vat":5},
        "elements":[{"price_components":[{"type":"ENERGY","price":1,"step_size":1000}]}],
        "last_updated":"2026-01-01T00:00:00Z"}"#;
    let tariff = novax_tariff::ocpi::v221::parse(text).unwrap().tariff;
    let zone = Zone::utc();
    let mut rating = Rating::start(&tariff, &zone, None, reading(0, 0));
    rating.advance(&tariff, &zone, reading(60, 1_500));
    assert_eq!(rating.cost(&tariff, &Adjustment::NONE, false).total, Micros(1_500_000));
    assert_eq!(rating.cost(&tariff, &Adjustment::NONE, true).total, Micros(5_000_000));
    rating.advance(&tariff, &zone, reading(120, 5_100));
    assert_eq!(rating.cost(&tariff, &Adjustment::NONE, true).total, Micros(6_000_000));
}

#[test]
fn a_changed_price_keeps_its_bounds() {
    let listed = Micros(400_000);
    let adjust = |factor_ppm, add_micros_per_kwh, floor, ceiling| Adjustment {
        factor_ppm,
        add_micros_per_kwh,
        floor_micros_per_kwh: floor,
        ceiling_micros_per_kwh: ceiling,
        ..Adjustment::NONE
    };
    assert_eq!(adjust(1_250_000, -50_000, None, None).energy(listed), Micros(450_000));
    assert_eq!(adjust(0, -50_000, None, None).energy(listed), Micros(0), "never negative");
    assert_eq!(adjust(100_000, 0, Some(90_000), None).energy(listed), Micros(90_000));
    assert_eq!(adjust(u32::MAX, i64::MAX, None, Some(790_000)).energy(listed), Micros(790_000));
    // The greatest price is a promise: it wins over the least one.
    assert_eq!(adjust(1_000_000, 0, Some(9), Some(5)).energy(listed), Micros(5));
    assert_eq!(adjust(333_333, 0, None, None).energy(Micros(1)), Micros(0));
    assert_eq!(adjust(500_000, 0, None, None).energy(Micros(1)), Micros(1), "half up");
}

proptest! {
    #[test]
    fn no_reading_stops_a_rating(
        tariff in tariff(),
        reserved in proptest::option::of(any::<u64>()),
        readings in proptest::collection::vec(
            (any::<u64>(), any::<i64>(), proptest::option::of(any::<i64>()), any::<bool>()), 1..6,
        ),
        factor_ppm in any::<u32>(),
        add_micros_per_kwh in any::<i64>(),
    ) {
        let zone = Zone::get("Pacific/Apia").unwrap();
        let mut all = readings.into_iter().map(|(at, wh, power_w, charging)| Reading {
            at: Timestamp(at), register_wh: WattHours(wh), power_w, current_ma: power_w, charging,
        });
        let first = all.next().unwrap();
        let mut rating = Rating::start(&tariff, &zone, reserved.map(Timestamp), first);
        for next in all {
            rating.advance(&tariff, &zone, next);
            let _ = rating.next_boundary(&tariff, &zone);
        }
        let adjust = Adjustment { factor_ppm, add_micros_per_kwh, ..Adjustment::NONE };
        let cost = rating.cost(&tariff, &adjust, true);
        let parts: i128 = cost.by_rate().iter().map(|(_, part)| part.0).sum();
        prop_assert_eq!(parts, cost.total.0);
        prop_assert!(rating.periods().len() <= PERIODS_MAX);
    }
}
