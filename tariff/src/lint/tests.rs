use super::*;
use crate::model::{Component, Element, PriceLimit, Reservation, Restrictions, TaxIncluded, Words};
use crate::rating::{Rating, Reading};
use crate::{Day, Zone};
use novax_model::{Currency, Micros, Timestamp, WattHours};
use proptest::prelude::*;

fn priced(dimension: Dimension, micros: i128) -> Component {
    Component::new(dimension, Micros(micros))
}

fn energy(micros: i128, restrictions: Option<Restrictions>) -> Element {
    Element { components: vec![priced(Dimension::Energy, micros)], restrictions }
}

/// A tariff with words, so that only what is tested is found.
fn tariff(elements: Vec<Element>) -> Tariff {
    let mut tariff = Tariff::of("t", Currency::EUR, elements);
    tariff.words = vec![Words { language: "en".into(), text: "x".into() }];
    tariff
}

fn hours(from: u16, until: u16) -> Restrictions {
    Restrictions {
        start_time: Some(from * 60),
        end_time: Some(until * 60),
        ..Restrictions::default()
    }
}

#[track_caller]
fn check(tariff: &Tariff, expected: &[(Code, &str)]) {
    let findings = lint(tariff);
    let found: Vec<(Code, &str)> = findings.iter().map(|f| (f.code, f.path.as_str())).collect();
    assert_eq!(found, expected, "{findings:#?}");
}

#[test]
fn a_sound_tariff_has_no_findings() {
    check(&tariff(vec![energy(290_000, Some(hours(22, 6))), energy(390_000, None)]), &[]);
}

#[test]
fn what_cannot_be_rated_is_an_error() {
    let broken = tariff(vec![energy(-1, None)]);
    check(&broken, &[(Code::Invalid, "elements[0].price_components[0].price")]);
    assert_eq!(lint(&broken)[0].severity, Severity::Error);
}

#[test]
fn a_price_behind_one_that_always_holds_is_found() {
    let hidden = tariff(vec![energy(390_000, None), energy(290_000, Some(hours(22, 6)))]);
    check(&hidden, &[(Code::Unreachable, "elements[1].price_components[0]")]);
    let together = tariff(vec![
        energy(290_000, Some(hours(22, 6))),
        energy(390_000, Some(hours(6, 22))),
        energy(490_000, None),
    ]);
    check(&together, &[(Code::Unreachable, "elements[2].price_components[0]")]);
}

#[test]
fn a_time_without_a_price_is_named() {
    let gap =
        tariff(vec![energy(290_000, Some(hours(22, 6))), energy(390_000, Some(hours(8, 22)))]);
    check(&gap, &[(Code::Gap, "elements")]);
    assert_eq!(lint(&gap)[0].words, "energy has no price at 06:00, and so is free then");
    let tier = Restrictions { max_wh: Some(20_000), ..Restrictions::default() };
    let gap = tariff(vec![energy(290_000, Some(tier))]);
    assert_eq!(lint(&gap)[0].words, "energy has no price after 20000 Wh, and so is free then");
    let weekend = Restrictions { days: 0b110_0000, ..Restrictions::default() };
    let gap = tariff(vec![energy(290_000, Some(weekend))]);
    assert_eq!(lint(&gap)[0].words, "energy has no price on Monday, and so is free then");
}

#[test]
fn numbers_that_are_unlikely_are_found() {
    let with = |change: fn(&mut Component)| {
        let mut element = energy(390_000, None);
        change(&mut element.components[0]);
        tariff(vec![element])
    };
    let at = |field: &str| format!("elements[0].price_components[0].{field}");
    check(&with(|c| c.step = 1_000), &[(Code::StepSize, &at("step_size"))]);
    check(&with(|c| c.price = Micros(39_000_000)), &[(Code::PriceUnlikely, &at("price"))]);
    check(&with(|c| c.price = Micros(3_900)), &[(Code::PriceUnlikely, &at("price"))]);
    check(&with(|c| c.vat_ppm = Some(1_900)), &[(Code::VatUnlikely, &at("vat"))]);
    check(&with(|c| c.vat_ppm = Some(900_000)), &[(Code::VatUnlikely, &at("vat"))]);
    check(&with(|c| c.price = Micros(0)), &[]);
    let mut yen = with(|c| c.price = Micros(60_000_000));
    yen.currency = Currency::new("JPY").unwrap();
    check(&yen, &[]);
}

#[test]
fn taxes_that_disagree_are_found() {
    let mut two = tariff(vec![energy(290_000, Some(hours(22, 6))), energy(390_000, None)]);
    two.elements[0].components[0].vat_ppm = Some(190_000);
    check(&two, &[(Code::VatDisagrees, "elements[1].price_components")]);
    two.elements[1].components[0].vat_ppm = Some(190_000);
    check(&two, &[]);
    two.tax_included = TaxIncluded::NotApplicable;
    assert!(lint(&two).iter().all(|finding| finding.code == Code::VatDisagrees));
    assert_eq!(lint(&two).len(), 2);
}

#[test]
fn restrictions_that_mislead_are_found() {
    let friday_night = Restrictions { days: 0b001_0000, ..hours(22, 6) };
    check(
        &tariff(vec![energy(290_000, Some(friday_night)), energy(390_000, None)]),
        &[(Code::WrapAround, "elements[0].restrictions.day_of_week")],
    );
    check(
        &tariff(vec![energy(290_000, Some(hours(6, 6)))]),
        &[(Code::WholeDay, "elements[0].restrictions.end_time")],
    );
    let fast = Restrictions { min_w: Some(50_000), ..Restrictions::default() };
    let parking = priced(Dimension::ParkingTime, 2_000_000);
    let parked = Element { components: vec![parking], restrictions: Some(fast) };
    check(
        &tariff(vec![parked, energy(390_000, None)]),
        &[(Code::ParkedPower, "elements[0].restrictions")],
    );
    let reserved = Restrictions {
        reservation: Some(Reservation::Reservation),
        min_wh: Some(1),
        ..Restrictions::default()
    };
    let fee = Element {
        components: vec![priced(Dimension::Flat, 1_000_000)],
        restrictions: Some(reserved),
    };
    check(
        &tariff(vec![fee, energy(390_000, None)]),
        &[(Code::ReservationRestriction, "elements[0].restrictions")],
    );
    let mut old = tariff(vec![
        energy(
            290_000,
            Some(Restrictions { end_date: Some(Day(20_000)), ..Restrictions::default() }),
        ),
        energy(390_000, None),
    ]);
    old.valid_from = Some(Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap());
    check(&old, &[(Code::OutsideValidity, "elements[0].restrictions")]);
}

#[test]
fn prices_that_overlap_in_part_are_hinted_at() {
    let tier = Restrictions { min_wh: Some(20_000), ..Restrictions::default() };
    let mixed = tariff(vec![
        energy(290_000, Some(hours(22, 6))),
        energy(350_000, Some(tier)),
        energy(390_000, None),
    ]);
    check(&mixed, &[(Code::Overlap, "elements[1].price_components[0]")]);
    assert_eq!(lint(&mixed)[0].severity, Severity::Hint);
}

#[test]
fn texts_ids_and_limits_are_looked_at() {
    let mut one = tariff(vec![energy(390_000, None)]);
    one.id = "Tarif für alle".into();
    one.words.push(one.words[0].clone());
    check(&one, &[(Code::Id, "id"), (Code::DuplicateWords, "tariff_alt_text[1]")]);
    one.id = "x".repeat(40).into();
    one.words.clear();
    check(&one, &[(Code::Id, "id"), (Code::NoWords, "tariff_alt_text")]);
    let mut capped = tariff(vec![energy(390_000, None)]);
    capped.elements[0].components.push(priced(Dimension::Flat, 6_000_000));
    capped.max_price = Some(PriceLimit { before_taxes: Micros(5_000_000), after_taxes: None });
    check(&capped, &[(Code::MaxBelowFee, "max_price")]);
    let parking =
        Element { components: vec![priced(Dimension::ParkingTime, 1_000_000)], restrictions: None };
    check(&tariff(vec![parking]), &[(Code::NoPrice, "elements")]);
    let shown = lint(&capped)[0].to_string();
    assert!(shown.starts_with("warning[max_below_fee] max_price: a session costs"), "{shown}");
}

fn any_restrictions() -> impl Strategy<Value = Option<Restrictions>> {
    let time = prop::option::of(0_u16..4).prop_map(|h| h.map(|h| h * 360));
    let wh = prop::option::of(0_i64..4).prop_map(|k| k.map(|k| k * 5_000));
    let s = prop::option::of(0_u32..4).prop_map(|k| k.map(|k| k * 3_600));
    let parts = (time.clone(), time, wh.clone(), wh, s.clone(), s, 0_u8..4);
    prop::option::of(parts.prop_filter_map("ranges", |(start, end, w0, w1, s0, s1, days)| {
        let r = Restrictions {
            start_time: start,
            end_time: end,
            min_wh: w0,
            max_wh: w1,
            min_s: s0,
            max_s: s1,
            days: [0, 0b001_1111, 0b110_0000, 0b000_0001][usize::from(days)],
            ..Restrictions::default()
        };
        let sound = w0.zip(w1).is_none_or(|(a, b)| a < b) && s0.zip(s1).is_none_or(|(a, b)| a < b);
        sound.then_some(r)
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The linter's word against rating itself: a price called unreachable is never charged.
    #[test]
    fn no_session_is_charged_a_price_called_unreachable(
        parts in prop::collection::vec(any_restrictions(), 1..6),
        start_h in 0_u64..168, legs in prop::collection::vec((1_u64..300, 0_i64..8_000), 1..6),
    ) {
        let elements = parts.into_iter().enumerate().map(|(i, r)| {
            energy(100_000 * (i128::try_from(i).unwrap() + 1), r)
        });
        let tariff = tariff(elements.collect());
        let findings = lint(&tariff);
        let zone = Zone::utc();
        let mut at = Timestamp((20_779 * 24 + start_h) * 3_600_000_000);
        let mut wh = 0;
        let reading = |at, wh| Reading {
            at, register_wh: WattHours(wh), power_w: None, current_ma: None, charging: true,
        };
        let mut rating = Rating::start(&tariff, &zone, None, reading(at, 0));
        let mut uncovered = false;
        for (minutes, energy) in legs {
            at = Timestamp(at.0 + minutes * 60_000_000);
            wh += energy;
            rating.advance(&tariff, &zone, reading(at, wh));
        }
        for period in rating.periods() {
            match period.active.element(Dimension::Energy) {
                Some(element) => {
                    let path = format!("elements[{element}].price_components[0]");
                    let called = findings.iter().any(|f| f.code == Code::Unreachable && f.path == path);
                    prop_assert!(!called, "{} is charged", path);
                }
                None => uncovered = true,
            }
        }
        if uncovered {
            prop_assert!(findings.iter().any(|f| f.code == Code::Gap), "a gap was not found");
        }
    }
}
