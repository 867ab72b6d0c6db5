//! A rating that looks at every second by itself and adds up; ours must agree with it exactly.
//!
//! It knows no windows, no cuts and no lines: for each second it goes through the tariff from the top.
//! Sessions have their readings on whole seconds, and between two of them the same whole watt-hours
//! each second. Bounds of energy are multiples of six, and at whatever rate it is drawn, such a multiple
//! is reached at the end of a second: nothing falls within one.

use crate::cases::millionths;
use novax_model::{Currency, Micros, Timestamp, WattHours};
use novax_tariff::{
    Adjustment, Component, Day, Dimension, Element, Rating, Reading, Restrictions, Tariff, Zone,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What was drawn in each second, and what was measured meanwhile.
#[derive(Clone, Debug)]
struct Stretch {
    seconds: u64,
    wh_per_second: i64,
    charging: bool,
    current_ma: Option<i64>,
    power_w: Option<i64>,
}

#[derive(Clone, Debug)]
struct Session {
    start: u64,
    stretches: Vec<Stretch>,
}

fn within<T: PartialOrd + Copy>(min: Option<T>, max: Option<T>, value: Option<T>) -> bool {
    match value {
        Some(value) => min.is_none_or(|m| value >= m) && max.is_none_or(|m| value < m),
        None => min.is_none() && max.is_none(),
    }
}

/// One second of a session.
struct Second {
    at: u64,
    elapsed: u64,
    wh: i64,
    power_w: Option<i64>,
    current_ma: Option<i64>,
}

fn holds(r: &Restrictions, second: &Second, zone: &Zone) -> bool {
    let local =
        zone.offset_at(Timestamp(second.at * 1_000_000)).local(Timestamp(second.at * 1_000_000));
    let minute = local.minute();
    let elapsed = u32::try_from(second.elapsed).unwrap();
    let end = r.end_time.map(|end| if end == 0 { 1_440 } else { end });
    let clock = match (r.start_time, end) {
        (Some(start), Some(end)) if start < end => start <= minute && minute < end,
        (Some(start), Some(end)) => start <= minute || minute < end,
        (start, end) => within(start, end, Some(minute)),
    };
    clock
        && (r.days == 0 || r.days >> local.day.weekday() & 1 == 1)
        && within(r.start_date, r.end_date, Some(local.day))
        && within(r.min_wh, r.max_wh, Some(second.wh))
        && within(r.min_s, r.max_s, Some(elapsed))
        && within(r.min_w, r.max_w, second.power_w)
        && within(r.min_ma, r.max_ma, second.current_ma)
}

fn price<'a>(
    tariff: &'a Tariff,
    dimension: Dimension,
    second: &Second,
    zone: &Zone,
) -> Option<(u16, &'a Component)> {
    (0..).zip(&tariff.elements).find_map(|(index, element)| {
        let holds = element.restrictions.as_ref().is_none_or(|r| holds(r, second, zone));
        let component = element.components.iter().find(|c| c.dimension == dimension)?;
        holds.then_some((index, component))
    })
}

type Totals = BTreeMap<(u16, Dimension), i64>;

/// Watt-hours, seconds and fees by element and dimension, in whole steps.
fn rate(tariff: &Tariff, zone: &Zone, session: &Session) -> Totals {
    let mut totals = Totals::new();
    let mut last: BTreeMap<Dimension, (u16, u32)> = BTreeMap::new();
    let (mut at, mut wh) = (session.start, 0);
    // A fee is due at the start, by what is known then.
    let first = &session.stretches[0];
    let start = second(session, at, 0, first.power_w, first.current_ma);
    if let Some((index, _)) = price(tariff, Dimension::Flat, &start, zone) {
        totals.insert((index, Dimension::Flat), 1);
    }
    for stretch in &session.stretches {
        for _ in 0..stretch.seconds {
            let power_w = stretch.power_w.or(Some(stretch.wh_per_second * 3_600));
            // The watt-hours of a second are looked at one by one.
            for each in 0..stretch.wh_per_second.abs() {
                let cell = if stretch.wh_per_second < 0 { wh - each - 1 } else { wh + each };
                let second = second(session, at, cell, power_w, stretch.current_ma);
                if let Some((index, c)) = price(tariff, Dimension::Energy, &second, zone) {
                    *totals.entry((index, Dimension::Energy)).or_default() +=
                        stretch.wh_per_second.signum();
                    last.insert(Dimension::Energy, (index, c.step));
                }
            }
            let cell = if stretch.wh_per_second < 0 { wh - 1 } else { wh };
            let second = second(session, at, cell, power_w, stretch.current_ma);
            if let Some((index, _)) = price(tariff, Dimension::Flat, &second, zone)
                && !totals.keys().any(|(_, dimension)| *dimension == Dimension::Flat)
            {
                totals.insert((index, Dimension::Flat), 1);
            }
            let time = if stretch.charging { Dimension::Time } else { Dimension::ParkingTime };
            if let Some((index, c)) = price(tariff, time, &second, zone) {
                *totals.entry((index, time)).or_default() += 1;
                last.insert(time, (index, c.step));
            }
            at += 1;
            wh += stretch.wh_per_second;
        }
    }
    fill_steps(&mut totals, &last, session);
    totals
}

fn second(
    session: &Session,
    at: u64,
    wh: i64,
    power_w: Option<i64>,
    current_ma: Option<i64>,
) -> Second {
    Second { at, elapsed: at - session.start, wh, power_w, current_ma }
}

fn fill_steps(totals: &mut Totals, last: &BTreeMap<Dimension, (u16, u32)>, session: &Session) {
    let seconds = |charging: bool| -> u64 {
        session.stretches.iter().filter(|s| s.charging == charging).map(|s| s.seconds).sum()
    };
    let wh = |s: &Stretch| s.wh_per_second * i64::try_from(s.seconds).unwrap();
    for (dimension, (index, step)) in last {
        let used = match dimension {
            Dimension::Energy => session.stretches.iter().map(wh).sum(),
            Dimension::Time if last.contains_key(&Dimension::ParkingTime) => continue,
            Dimension::Time => i64::try_from(seconds(true)).unwrap(),
            Dimension::ParkingTime => i64::try_from(seconds(false)).unwrap(),
            Dimension::Flat => unreachable!("a fee has no steps"),
        };
        let step = i64::from(*step);
        let billed = if used > 0 { (used + step - 1) / step * step } else { used };
        *totals.get_mut(&(*index, *dimension)).unwrap() += billed - used;
    }
}

fn ours(tariff: &Tariff, zone: &Zone, session: &Session, every: u64) -> (Totals, Rating) {
    let reading = |second: u64, wh: i64, stretch: &Stretch| Reading {
        at: Timestamp(second * 1_000_000),
        register_wh: WattHours(1_000_000 + wh),
        power_w: stretch.power_w,
        current_ma: stretch.current_ma,
        charging: stretch.charging,
    };
    let (mut at, mut wh) = (session.start, 0);
    let mut rating = Rating::start(tariff, zone, None, reading(at, wh, &session.stretches[0]));
    for (index, stretch) in session.stretches.iter().enumerate() {
        let end = at + stretch.seconds;
        while at < end {
            let seconds = every.min(end - at);
            at += seconds;
            wh += stretch.wh_per_second * i64::try_from(seconds).unwrap();
            let says = if at < end {
                stretch
            } else {
                session.stretches.get(index + 1).unwrap_or(stretch)
            };
            rating.advance(tariff, zone, reading(at, wh, says));
        }
    }
    let cost = rating.cost(tariff, &Adjustment::NONE, true);
    let second = |line: &novax_tariff::CostLine| match line.dimension {
        Dimension::Time | Dimension::ParkingTime => {
            assert_eq!(line.billed_volume % 1_000_000, 0);
            line.billed_volume / 1_000_000
        }
        Dimension::Energy | Dimension::Flat => line.billed_volume,
    };
    let lines = cost.lines.iter().map(|line| ((line.element, line.dimension), second(line)));
    (lines.collect(), rating)
}

fn restrictions() -> impl Strategy<Value = Option<Restrictions>> {
    let minute = || proptest::option::weighted(0.3, (0_u16..96).prop_map(|quarter| quarter * 15));
    let pair = |top: i64| {
        let bounds = (0..top, 1..top).prop_map(|(from, more)| (from, from + more));
        (bounds, 0_u8..8).prop_map(|((from, until), which)| {
            ((which & 5 == 5).then_some(from), (which & 6 == 6).then_some(until))
        })
    };
    let clock = (minute(), minute(), pair(4), prop_oneof![3 => Just(0_u8), 1 => 0_u8..128]);
    let measured = (pair(600), pair(7_200), pair(60_000), pair(32_000));
    let all =
        (clock, measured, 0_u8..4).prop_map(|((start, end, dates, days), (wh, s, w, ma), few)| {
            let day = |offset: Option<i64>| offset.map(|d| Day(20_386 + i32::try_from(d).unwrap()));
            let only = |kind: u8, (a, b): (Option<i64>, Option<i64>)| {
                if few == kind { (a, b) } else { (None, None) }
            };
            let six = |wh: Option<i64>| wh.map(|wh| wh * 6);
            let (wh, w, ma) = (only(0, wh), only(1, w), only(2, ma));
            let seconds = |s: Option<i64>| s.map(|s| u32::try_from(s).unwrap());
            Restrictions {
                start_time: start,
                end_time: end,
                start_date: day(dates.0),
                end_date: day(dates.1),
                min_wh: six(wh.0),
                max_wh: six(wh.1),
                min_ma: ma.0,
                max_ma: ma.1,
                min_w: w.0,
                max_w: w.1,
                min_s: seconds(s.0),
                max_s: seconds(s.1),
                days,
                reservation: None,
            }
        });
    proptest::option::weighted(0.8, all)
}

fn element() -> impl Strategy<Value = Element> {
    let component = (0_usize..4, 0_i128..1_000, 1_u32..1_200).prop_map(|(which, price, step)| {
        let dimension = Dimension::ALL[which];
        let step = if dimension == Dimension::Flat { 1 } else { step };
        Component { dimension, price: Micros(price * 1_000), step, vat_ppm: None }
    });
    let components = proptest::collection::vec(component, 1..4).prop_map(|mut components| {
        components.sort_by_key(|c| c.dimension);
        components.dedup_by_key(|c| c.dimension);
        components
    });
    (components, restrictions())
        .prop_map(|(components, restrictions)| Element { components, restrictions })
}

pub(crate) fn tariff() -> impl Strategy<Value = Tariff> {
    proptest::collection::vec(element(), 1..6)
        .prop_map(|elements| Tariff::of("random", Currency::EUR, elements))
}

fn session() -> impl Strategy<Value = Session> {
    let stretch = (
        1_u64..500,
        prop_oneof![Just(0_i64), Just(1), Just(2), Just(3), Just(6), Just(-2), Just(-3)],
        any::<bool>(),
        proptest::option::of(0_i64..40_000),
        proptest::option::weighted(0.2, 0_i64..60_000),
    );
    let stretch = stretch.prop_map(|(seconds, wh_per_second, charging, current_ma, power_w)| {
        Stretch { seconds: seconds * 6, wh_per_second, charging, current_ma, power_w }
    });
    // Around the end of summer time in Berlin, 2025-10-26 01:00 UTC, and three days more.
    (1_761_350_000_u64..1_761_610_000, proptest::collection::vec(stretch, 1..5))
        .prop_map(|(start, stretches)| Session { start, stretches })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_second_is_counted_at_its_price(
        tariff in tariff(), session in session(), every in prop_oneof![Just(u64::MAX), 1_u64..2_000],
    ) {
        tariff.check().unwrap();
        let zone = Zone::get("Europe/Berlin").unwrap();
        // How often the charger speaks changes nothing, while it says the same.
        let (found, rating) = ours(&tariff, &zone, &session, every);
        prop_assert_eq!(&found, &rate(&tariff, &zone, &session));
        let seconds: u64 = session.stretches.iter().map(|s| s.seconds).sum();
        let periods = rating.periods();
        let us: u64 = periods.iter().map(|p| p.duration_us).sum();
        let wh: i64 = periods.iter().map(|p| p.energy.0).sum();
        prop_assert_eq!(us, seconds * 1_000_000, "no time is lost or doubled");
        prop_assert_eq!(wh, rating.energy().0, "no energy is lost or doubled");
        for pair in periods.windows(2) {
            prop_assert_eq!(pair[0].start.0 + pair[0].duration_us, pair[1].start.0);
        }
    }

    #[test]
    fn prices_do_not_change_before_the_next_boundary(tariff in tariff(), start in 1_761_350_000_u64..1_761_610_000) {
        let zone = Zone::get("Europe/Berlin").unwrap();
        let reading = |second: u64| Reading {
            at: Timestamp(second * 1_000_000), register_wh: WattHours(0),
            power_w: Some(0), current_ma: None, charging: true,
        };
        let mut rating = Rating::start(&tariff, &zone, None, reading(start));
        for _ in 0..20 {
            let Some(next) = rating.next_boundary(&tariff, &zone) else { break };
            let second = next.0 / 1_000_000;
            let (active, from) = (rating.active(), rating.last().at.0 / 1_000_000);
            prop_assert!(next > rating.last().at);
            // A reading just before it changes nothing; whatever is after it, it is found.
            for between in [from + 1, from + (second - from) / 2, second - 1] {
                if between > rating.last().at.0 / 1_000_000 {
                    rating.advance(&tariff, &zone, reading(between));
                    prop_assert_eq!(rating.active(), active);
                }
            }
            rating.advance(&tariff, &zone, reading(second));
            rating.advance(&tariff, &zone, reading(second + 1));
        }
    }
}

#[test]
fn millionths_are_read_by_the_cases() {
    assert_eq!(millionths("4.50"), 4_500_000);
    assert_eq!(millionths("0.333333"), 333_333);
}
