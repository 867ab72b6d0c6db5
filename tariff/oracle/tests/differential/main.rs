//! Our rating beside the crate `ocpi-tariffs`, over the same OCPI texts.
//!
//! The other one prices a charge record whose periods are cut already, so time and energy move on a
//! grid of six minutes (a tenth of an hour, exact as a decimal) on which every bound of a random tariff
//! lies. Ours is told only where the charge changes. Both totals must agree to the other's four places.
//! What we do otherwise on purpose is a test of its own in `differences`.

mod differences;
mod rated;

use novax_model::{Currency, Micros, Timestamp};
use novax_tariff::{
    Component, Day, Dimension, Element, Party, PriceLimit, Restrictions, Tariff, TariffError,
};
use proptest::prelude::*;
use rated::{Session, Stretch, compare};

/// Steps of the grid: six minutes.
pub(crate) const GRID_S: u64 = 360;

fn pair(bounds: (u32, u32), which: u8) -> (Option<u32>, Option<u32>) {
    let (from, more) = bounds;
    ((which & 1 == 1).then_some(from), (which & 2 == 2).then_some(from + more))
}

fn restrictions() -> impl Strategy<Value = Restrictions> {
    let tenth = || proptest::option::weighted(0.3, (0_u16..240).prop_map(|tenth| tenth * 6));
    let bounds = |top: u32| ((0..top, 1..top), 0_u8..4).prop_map(|(b, which)| pair(b, which));
    (tenth(), tenth(), bounds(4), bounds(30), bounds(20), bounds(50), 0_u8..6, 0_u8..128).prop_map(
        |(start, end, dates, kwh, tenths, power, kind, days)| {
            let only = |this: u8, b: (Option<u32>, Option<u32>)| {
                if kind == this { b } else { (None, None) }
            };
            let (kwh, tenths, watts) = (only(0, kwh), only(1, tenths), only(2, power));
            let dates = only(4, dates);
            let scaled = |value: Option<u32>, by: i64| value.map(|value| i64::from(value) * by);
            let seconds = |value: Option<u32>| value.map(|tenths| tenths * 360);
            let day = |value: Option<u32>| value.map(|d| Day(20_386 + i32::try_from(d).unwrap()));
            let mut r = Restrictions {
                start_time: start,
                end_time: end,
                start_date: day(dates.0),
                end_date: day(dates.1),
                min_wh: scaled(kwh.0, 1_000),
                max_wh: scaled(kwh.1, 1_000),
                min_s: seconds(tenths.0),
                max_s: seconds(tenths.1),
                min_w: scaled(watts.0, 1_000),
                max_w: scaled(watts.1, 1_000),
                days: if kind == 3 { days } else { 0 },
                ..Restrictions::default()
            };
            if kind == 5 {
                (r.min_ma, r.max_ma) = (scaled(power.0, 1_000), scaled(power.1, 1_000));
            }
            // An end that is not after its beginning: see `differences`.
            if r.start_time == r.end_time || (r.start_time.is_none() && r.end_time == Some(0)) {
                r.end_time = None;
            }
            r
        },
    )
}

fn element(vat: Option<u32>, taxed: bool) -> impl Strategy<Value = Element> {
    let component = (0_usize..4, 0_i128..2_000, 1_u32..2_000, 0_u32..3);
    let component = component.prop_map(move |(which, price, step, rate)| {
        let dimension = Dimension::ALL[which];
        let step = if dimension == Dimension::Flat { 1 } else { step };
        // 5.5 %, 19 % and none: said, since what was not said is a difference.
        let some = [55_000, 190_000, 0][rate as usize];
        let vat_ppm = taxed.then_some(vat.unwrap_or(some));
        Component { dimension, price: Micros(price * 1_000), step, vat_ppm }
    });
    let components = proptest::collection::vec(component, 1..4).prop_map(|mut components| {
        components.sort_by_key(|c| c.dimension);
        components.dedup_by_key(|c| c.dimension);
        components
    });
    let restrictions = proptest::option::weighted(0.8, restrictions());
    (components, restrictions).prop_map(|(components, restrictions)| Element {
        components,
        restrictions: restrictions.filter(|r| *r != Restrictions::default()),
    })
}

fn tariff() -> impl Strategy<Value = Tariff> {
    let tax = (any::<bool>(), proptest::option::of(Just(190_000_u32)));
    tax.prop_flat_map(|(taxed, vat)| {
        let elements = proptest::collection::vec(element(vat, taxed), 1..6);
        let limits = (proptest::option::of(0_i128..2_000), proptest::option::of(2_000_i128..9_000));
        (elements, limits).prop_map(move |(elements, (min, max))| {
            let mut tariff = Tariff::of("random", Currency::EUR, elements);
            tariff.party = Some(Party { country: "DE".into(), party: "NVX".into() });
            // With one rate both bounds are reached at once; with several: see `differences`.
            if taxed && vat.is_some() {
                let limit = |cents: i128| PriceLimit {
                    before_taxes: Micros(cents * 10_000),
                    after_taxes: Some(Micros(cents * 11_900)),
                };
                tariff.min_price = min.map(limit);
                tariff.max_price = max.map(limit);
            }
            tariff
        })
    })
}

fn session() -> impl Strategy<Value = Session> {
    let stretch = (1_u64..4, 0_usize..6, any::<bool>(), 0_i64..60, 0_i64..60);
    let stretch = stretch.prop_map(|(hours, rate, charging, kw, amperes)| Stretch {
        steps: hours * 10,
        wh_per_step: if charging { [0, 100, 200, 500, 1_000, 1_000][rate] } else { 0 },
        charging,
        power_w: kw * 1_000,
        current_ma: amperes * 1_000,
    });
    // Around the end of summer time in Berlin, and three days more.
    (4_892_640_u64..4_893_360, proptest::collection::vec(stretch, 1..6))
        .prop_map(|(start, stretches)| Session { start_s: start * GRID_S, stretches })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_sessions_cost_the_same(tariff in tariff(), session in session()) {
        prop_assert_eq!(tariff.check(), Ok::<(), TariffError>(()));
        prop_assert!(session.start_s > 0 && Timestamp(session.start_s) > Timestamp::ZERO);
        if let Err(difference) = compare(&tariff, &session) {
            return Err(TestCaseError::fail(difference));
        }
    }
}
