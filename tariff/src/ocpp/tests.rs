use super::*;
use crate::model::{Component, Dimension, Element, Reservation, Restrictions};
use crate::rating::{Adjustment, Rating, Reading};
use crate::{PriceLimit, Tariff, TariffError, TaxIncluded, Words, Zone};
use novax_model::{Currency, Micros, Timestamp, WattHours};
use proptest::prelude::*;
use serde_json::{Value, json};

const SAMPLE: &str = include_str!("../../testdata/ocpp/tariff.json");

fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-22T20:30:00Z").unwrap()
}

fn reading(at: Timestamp, wh: i64, charging: bool) -> Reading {
    Reading { at, register_wh: WattHours(wh), power_w: None, current_ma: None, charging }
}

fn after(minutes: u64) -> Timestamp {
    Timestamp(start().0 + minutes * 60_000_000)
}

/// Two hours of charging, one of parking.
fn session(tariff: &Tariff) -> Rating {
    let zone = Zone::get("Europe/Berlin").unwrap();
    let mut rating = Rating::start(tariff, &zone, None, reading(start(), 1_000, true));
    rating.advance(tariff, &zone, reading(after(60), 11_000, true));
    rating.advance(tariff, &zone, reading(after(120), 21_000, false));
    rating.advance(tariff, &zone, reading(after(180), 21_000, false));
    rating
}

#[test]
fn a_tariff_of_ocpp_is_rated_as_it_says() {
    let parsed = parse(SAMPLE).unwrap();
    assert_eq!((parsed.unknown.count, parsed.unknown.paths.len()), (2, 1), "a page and a field");
    let tariff = parsed.tariff;
    assert_eq!(tariff.words.len(), 1);
    let cost = session(&tariff).cost(&tariff, &Adjustment::NONE, true);
    // 21:30 to 22:00 at 0.40, then 0.30: 5 and 15 kWh. An hour of parking at 0.10 a minute, of
    // which OCPP's conditions leave the time from two and a half hours on. A fee of 1.00.
    assert_eq!(cost.before_taxes, Some(Micros(2_000_000 + 4_500_000 + 3_000_000 + 1_000_000)));
    // Energy bears 5 % and, on top of that, 10 %: 15.5 %; the rest says no tax.
    assert_eq!(cost.after_taxes, Some(Micros(10_500_000 + 1_007_500)));
}

#[test]
fn what_ocpp_says_and_we_cannot_keep_is_refused_by_name() {
    let with = |conditions: Value| {
        json!({
            "tariffId": "t", "currency": "EUR",
            "energy": { "prices": [{ "priceKwh": 0.4, "conditions": conditions }] }
        })
        .to_string()
    };
    let path = |name: &str| format!("energy.prices[0].conditions.{name}");
    for (name, value) in [
        ("evseKind", json!("DC")),
        ("paymentBrand", json!("Visa")),
        ("minChargingTime", json!(60)),
        ("maxIdleTime", json!(60)),
        ("minEnergy", json!(-5)),
        ("minEnergy", json!(0.5)),
        ("startTimeOfDay", json!("7:00")),
        ("dayOfWeek", json!(["Mo"])),
    ] {
        match parse(&with(json!({ name: value }))) {
            Err(TariffError::Field { path: at, .. }) => {
                assert!(at.starts_with(&path(name)), "{at}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    for (text, field) in [
        (r#"{"currency":"EUR"}"#, "tariffId"),
        (r#"{"tariffId":"t","currency":"EUR","energy":{"prices":[]}}"#, "energy.prices"),
        (
            r#"{"tariffId":"t","currency":"EUR","energy":{"prices":[{}]}}"#,
            "energy.prices[0].priceKwh",
        ),
        (
            r#"{"tariffId":"t","currency":"EUR","minCost":{},"fixedFee":{"prices":[{"priceFixed":1}]}}"#,
            "minCost",
        ),
    ] {
        match parse(text) {
            Err(TariffError::Field { path, .. }) => assert_eq!(path, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert!(matches!(parse("{"), Err(TariffError::NotJson(_))));
}

fn priced(dimension: Dimension, micros: i128) -> Component {
    Component::new(dimension, Micros(micros))
}

#[test]
fn what_we_say_and_ocpp_cannot_is_refused_by_name() {
    let base = || Tariff::flat("t", Currency::EUR, Micros(390_000), Micros(0));
    let refused = |tariff: &Tariff| match write(tariff) {
        Err(TariffError::Inexpressible { path, .. }) => path,
        other => panic!("{other:?}"),
    };
    let mut tariff = base();
    tariff.tax_included = TaxIncluded::Yes;
    assert_eq!(refused(&tariff), "tax_included");
    let mut tariff = base();
    tariff.valid_until = Some(start());
    assert_eq!(refused(&tariff), "end_date_time");
    let mut tariff = base();
    tariff.elements[0].components[0].step = 1_000;
    assert_eq!(refused(&tariff), "elements[0].price_components.step_size");
    let mut tariff = base();
    let expires =
        Restrictions { reservation: Some(Reservation::Expires), ..Restrictions::default() };
    tariff.elements.push(Element {
        components: vec![priced(Dimension::Flat, 1_000_000)],
        restrictions: Some(expires),
    });
    assert_eq!(refused(&tariff), "elements[1].restrictions.reservation");
    let mut tariff = base();
    let tier = Restrictions { min_wh: Some(1_000), ..Restrictions::default() };
    tariff.elements.push(Element {
        components: vec![priced(Dimension::Flat, 1_000_000)],
        restrictions: Some(tier),
    });
    assert_eq!(refused(&tariff), "elements[1].restrictions.min_kwh");
    let mut tariff = base();
    let mut taxed = tariff.elements[0].clone();
    taxed.components[0].vat_ppm = Some(190_000);
    tariff.elements.insert(0, taxed);
    assert_eq!(refused(&tariff), "elements[1].price_components.vat");
}

#[test]
fn requests_carry_the_tariff() {
    let mut tariff = Tariff::flat("t", Currency::EUR, Micros(390_000), Micros(1_000_000));
    tariff.words.push(Words { language: "de".into(), text: "39 Cent".into() });
    let request: Value = serde_json::from_str(&set_default_tariff(1, &tariff).unwrap()).unwrap();
    assert_eq!(
        request,
        json!({
            "evseId": 1,
            "tariff": {
                "tariffId": "t", "currency": "EUR",
                "description": [{ "format": "UTF8", "language": "de", "content": "39 Cent" }],
                "energy": { "prices": [{ "priceKwh": 0.39 }] },
                "fixedFee": { "prices": [{ "priceFixed": 1 }] }
            }
        })
    );
    let request = change_transaction_tariff("tx", &tariff).unwrap();
    let request: Value = serde_json::from_str(&request).unwrap();
    assert_eq!(
        (&request["transactionId"], &request["tariff"]["tariffId"]),
        (&json!("tx"), &json!("t"))
    );
    assert!(parse(&write(&tariff).unwrap()).unwrap().tariff.is_simple(), "stays fast to rate");
    let texts: Value = serde_json::from_str(&price_texts(&tariff)).unwrap();
    let languages: Vec<&str> =
        texts.as_array().unwrap().iter().map(|text| text["language"].as_str().unwrap()).collect();
    assert_eq!(languages, ["de", "en", "zh"]);
    assert_eq!(texts[0]["content"], "39 Cent");
}

#[test]
fn stations_are_told_costs_exactly() {
    let tariff = parse(SAMPLE).unwrap().tariff;
    let rating = session(&tariff);
    let adjust = Adjustment { factor_ppm: 1_100_000, ..Adjustment::NONE };
    let cost = rating.cost(&tariff, &adjust, true);
    // 6.5 x 1.1 with 15.5 % tax, and 4.00: 12.25825.
    assert_eq!(total_minor(&cost), 1_226);
    assert_eq!(cost_updated("tx-1", &cost), r#"{"totalCost":12.26,"transactionId":"tx-1"}"#);
    let open = |text: String, message: &str| -> Value {
        let outer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (outer["vendorId"].as_str(), outer["messageId"].as_str()),
            (Some(COSTMSG_VENDOR), Some(message))
        );
        serde_json::from_str(outer["data"].as_str().unwrap()).unwrap()
    };
    let zone = Zone::get("Europe/Berlin").unwrap();
    assert_eq!(
        open(running_cost(7, &tariff, &zone, &rating, &adjust), "RunningCost"),
        json!({
            "transactionId": 7, "timestamp": "2026-11-22T23:30:00.000Z", "meterValue": 21_000,
            "cost": 12.26, "state": "Idle",
            "chargingPrice": { "kWhPrice": 0.33, "flatFee": 1 },
            "idlePrice": { "graceMinutes": 0, "hourPrice": 6 },
            "triggerMeterValue": { "atTime": "2026-11-23T05:00:00.000Z" }
        })
    );
    assert_eq!(
        open(final_cost(7, &cost, "12.26 EUR", Some("https://example.org/7")), "FinalCost"),
        json!({
            "transactionId": 7, "cost": 12.26, "priceText": "12.26 EUR",
            "qrCodeText": "https://example.org/7"
        })
    );
    assert_eq!(
        open(set_user_price("DEADBEEF", "0.39 \"EUR\""), "SetUserPrice"),
        json!({ "idToken": "DEADBEEF", "priceText": "0.39 \"EUR\"" })
    );
}

fn any_restrictions() -> impl Strategy<Value = Option<Restrictions>> {
    let bound = || prop::option::of(1_i64..50_000);
    let parts = (
        prop::option::of(0_u16..1_440),
        prop::option::of(0_u16..1_440),
        bound(),
        prop::option::of(1_u32..7_200),
        0_u8..128,
        bound(),
    );
    prop::option::of(parts.prop_map(|(start_time, end_time, min_wh, max_s, days, max_ma)| {
        Restrictions {
            start_time,
            end_time,
            min_wh,
            max_s,
            max_ma,
            days: if days == 127 { 0 } else { days },
            ..Restrictions::default()
        }
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Through OCPP and back, the same sessions cost the same.
    #[test]
    fn a_tariff_that_is_sent_costs_the_same(
        parts in prop::collection::vec((0_u8..3, 0_i128..100_000_000, any_restrictions()), 1..8),
        fee in prop::option::of(0_i128..10_000_000), vat in prop::option::of(0_u32..=250_000),
        max in prop::option::of(1_i128..20_000_000),
    ) {
        let dimensions = [Dimension::Energy, Dimension::Time, Dimension::ParkingTime];
        let component = |dimension, price| Component {
            vat_ppm: vat, ..Component::new(dimension, Micros(price))
        };
        let mut elements: Vec<Element> = parts.into_iter().map(|(d, price, restrictions)| Element {
            components: vec![component(dimensions[usize::from(d)], price)], restrictions,
        }).collect();
        if let Some(fee) = fee {
            let components = vec![component(Dimension::Flat, fee)];
            elements.push(Element { components, restrictions: None });
        }
        let mut tariff = Tariff::of("any", Currency::EUR, elements);
        tariff.max_price = max.map(|max| PriceLimit {
            before_taxes: Micros(max), after_taxes: Some(Micros(max + 1)),
        });
        let text = write(&tariff).unwrap();
        let parsed = parse(&text).unwrap();
        prop_assert_eq!(parsed.unknown.count, 0);
        prop_assert_eq!(write(&parsed.tariff).unwrap(), text);
        let cost = |tariff: &Tariff| {
            let cost = session(tariff).cost(tariff, &Adjustment::NONE, true);
            (cost.total, cost.before_taxes, cost.after_taxes, cost.limits)
        };
        prop_assert_eq!(cost(&parsed.tariff), cost(&tariff));
    }

    #[test]
    fn no_text_makes_the_reader_panic(cut in 0_usize..2_000, with in "[\\[\\]{}\",:0-9a-z-]{0,3}") {
        let mut text: String = SAMPLE.chars().take(cut).collect();
        text.push_str(&with);
        text.extend(SAMPLE.chars().skip(cut + with.len()));
        let _ = parse(&text);
    }
}
