//! What the readers and writers of OCPI promise.

use novax_model::{Currency, Micros, Timestamp};
use novax_tariff::{
    Component, Day, Dimension, Element, Party, PriceLimit, Reservation, Restrictions, Tariff,
    TariffError, TariffKind, TaxIncluded, Words, ocpi,
};
use proptest::prelude::*;

const BASE: &str = r#"{"country_code":"DE","party_id":"NVX","id":"T","currency":"EUR","min_price":{"before_taxes":0.5},"max_price":{"before_taxes":9},"tax_included":"NO","elements":[{"price_components":[{"type":"ENERGY","price":0.25,"vat":10,"step_size":1},{"type":"TIME","price":1,"step_size":60}],"restrictions":{"start_time":"22:00"}}],"last_updated":"2026-01-01T00:00:00Z"}"#;

#[test]
fn what_is_no_tariff_is_refused_with_its_place() {
    ocpi::v230::parse(BASE).unwrap();
    let text = include_str!("../../testdata/ocpi/refused.txt");
    let mut cases = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (version, rest) = line.split_once(" | ").unwrap();
        let [piece, other, said] = rest.split(" => ").collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        assert!(BASE.contains(piece), "{line}");
        let json = BASE.replacen(piece, other, 1);
        let parse = if version == "2.2.1" { ocpi::v221::parse } else { ocpi::v230::parse };
        let wrong = parse(&json).expect_err(line).to_string();
        let whose = ["the sender must correct it", "whoever wrote the tariff must correct it"];
        assert!(whose.iter().any(|whose| wrong == format!("{said}: {whose}")), "{line}\n{wrong}");
        cases += 1;
    }
    assert_eq!(cases, 36);
}

#[test]
fn what_is_no_json_is_refused() {
    for text in ["", "{", "nonsense", "{\"a\":1}}", "{\"id\":\"\\ud800\"}"] {
        assert!(ocpi::v221::parse(text).is_err(), "{text}");
    }
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(ocpi::JSON_BYTES_MAX));
    assert!(matches!(ocpi::v221::parse(&long), Err(TariffError::NotJson(_))));
    let list = ocpi::v221::parse("[]").unwrap_err();
    assert_eq!(list.to_string(), "the text: is no object: the sender must correct it");
    // As deep as the text is long: nothing recurses into what it does not know.
    let deep =
        BASE.replacen("{", &format!("{{\"x\":{}{},", "[".repeat(50_000), "]".repeat(50_000)), 1);
    assert_eq!(ocpi::v230::parse(&deep).unwrap().unknown.paths, ["x"]);
}

#[test]
fn what_ocpi_does_not_know_is_counted_and_named() {
    let json = BASE
        .replacen("\"type\":\"ENERGY\"", "\"type\":\"ENERGY\",\"price_round\":{\"a\":1}", 1)
        .replacen("\"start_time\":\"22:00\"", "\"start_time\":\"22:00\",\"dayOfWeek\":[]", 1)
        .replacen("\"id\":\"T\"", "\"id\":\"T\",\"vendor\":null", 1);
    let parsed = ocpi::v230::parse(&json).unwrap();
    assert_eq!(parsed.unknown.count, 3);
    let paths = [
        "elements[0].price_components[0].price_round",
        "elements[0].restrictions.dayOfWeek",
        "vendor",
    ];
    assert_eq!(parsed.unknown.paths, paths);
    assert_eq!(parsed.tariff, ocpi::v230::parse(BASE).unwrap().tariff);
}

#[test]
fn what_a_version_cannot_say_is_not_written() {
    let tariff = ocpi::v230::parse(BASE).unwrap().tariff;
    let gross = Tariff { tax_included: TaxIncluded::Yes, ..tariff.clone() };
    let wrong = ocpi::v221::write(&gross).unwrap_err();
    assert!(matches!(wrong, TariffError::Inexpressible { ref path, .. } if path == "tax_included"));
    let nobodys = Tariff { party: None, ..tariff.clone() };
    let wrong = ocpi::v230::write(&nobodys).unwrap_err();
    assert!(matches!(wrong, TariffError::Inexpressible { ref path, .. } if path == "party_id"));
    let unsound = Tariff { elements: Vec::new(), ..tariff };
    assert!(matches!(ocpi::v230::write(&unsound), Err(TariffError::Invalid { .. })));
}

fn pair<T: Copy + std::fmt::Debug + 'static>(
    low: impl Strategy<Value = T>,
    high: impl Strategy<Value = T>,
) -> impl Strategy<Value = (Option<T>, Option<T>)> {
    (proptest::option::of(low), proptest::option::of(high))
}

fn restrictions() -> impl Strategy<Value = Restrictions> {
    let measured = || pair(0_i64..50_000, 50_000_i64..99_000_000);
    let clock = (pair(0_u16..1_440, 0_u16..1_440), pair(0_i32..20_000, 20_001_i32..60_000));
    let rest = (pair(0_u32..4_000, 4_001_u32..90_000), 0_u8..128);
    (clock, measured(), measured(), measured(), rest).prop_map(
        |((time, date), wh, ma, w, (s, days))| Restrictions {
            start_time: time.0,
            end_time: time.1,
            start_date: date.0.map(Day),
            end_date: date.1.map(Day),
            min_wh: wh.0,
            max_wh: wh.1,
            min_ma: ma.0,
            max_ma: ma.1,
            min_w: w.0,
            max_w: w.1,
            min_s: s.0,
            max_s: s.1,
            days,
            reservation: None,
        },
    )
}

fn element() -> impl Strategy<Value = Element> {
    let component =
        (0_usize..4, 0_i128..90_000_000, 1_u32..9_999, proptest::option::of(0_u32..1_000_000));
    let component = component.prop_map(|(which, price, step, vat_ppm)| {
        let dimension = Dimension::ALL[which];
        let step = if dimension == Dimension::Flat { 1 } else { step };
        Component { dimension, price: Micros(price), step, vat_ppm }
    });
    let kind = proptest::option::weighted(
        0.2,
        prop_oneof![Just(Reservation::Reservation), Just(Reservation::Expires)],
    );
    let parts =
        (proptest::collection::vec(component, 1..5), proptest::option::of(restrictions()), kind);
    parts.prop_map(|(mut components, restrictions, kind)| {
        components.sort_by_key(|component| component.dimension);
        components.dedup_by_key(|component| component.dimension);
        let timed = |c: &Component| matches!(c.dimension, Dimension::Flat | Dimension::Time);
        let restrictions = restrictions.map(|mut r| {
            r.reservation = kind.filter(|_| components.iter().all(timed));
            r
        });
        let restrictions = restrictions.filter(|r| *r != Restrictions::default());
        Element { components, restrictions }
    })
}

fn tariff() -> impl Strategy<Value = Tariff> {
    let limit = || {
        let price = (0_i128..5_000_000, proptest::option::of(0_i128..5_000_000));
        price.prop_map(|(price, tax)| PriceLimit {
            before_taxes: Micros(price),
            after_taxes: tax.map(|tax| Micros(price + tax)),
        })
    };
    let limits = (proptest::option::of(limit()), proptest::option::of(limit()));
    let said = (".{0,12}", "[a-z]{2}", "\\PC{0,40}", 0_usize..3);
    (proptest::collection::vec(element(), 1..5), limits, said, 0_u64..253_402_300_799_000).prop_map(
        |(elements, (min, max), (url, language, text, tax), millis)| Tariff {
            party: Some(Party { country: "DE".into(), party: "NVX".into() }),
            kind: TariffKind::Regular,
            tax_included: [TaxIncluded::No, TaxIncluded::Yes, TaxIncluded::NotApplicable][tax],
            min_price: min,
            max_price: max.filter(|_| min.is_none()),
            words: vec![Words { language: language.into(), text: text.into() }],
            url: Some(url.into()),
            hold: Some(Micros(i128::from(millis % 1_000))),
            energy_mix: Some("{\"is_green_energy\": true}".into()),
            updated: Timestamp::from_millis(millis),
            valid_from: Some(Timestamp::from_millis(millis / 2)),
            ..Tariff::of("T", Currency::EUR, elements)
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_back(tariff in tariff()) {
        prop_assert_eq!(tariff.check(), Ok(()));
        let parsed = ocpi::v230::parse(&ocpi::v230::write(&tariff).unwrap()).unwrap();
        prop_assert_eq!(parsed.unknown.count, 0);
        prop_assert_eq!(&parsed.tariff, &tariff);
        prop_assert_eq!(parsed.tariff.hash(), tariff.hash());
        // 2.2.1 has neither tax within nor an amount to hold.
        let older = Tariff { tax_included: TaxIncluded::No, hold: None, ..tariff };
        let parsed = ocpi::v221::parse(&ocpi::v221::write(&older).unwrap()).unwrap();
        prop_assert_eq!(&parsed.tariff, &older);
    }

    #[test]
    fn a_broken_text_is_refused_or_read_and_never_panics(at in 0_usize..400, byte in any::<char>()) {
        let mut text: Vec<char> = BASE.chars().collect();
        let place = at % text.len();
        text[place] = byte;
        let text: String = text.into_iter().collect();
        novax_tariff::fuzz::fuzz_tariff_json(text.as_bytes());
        novax_tariff::fuzz::fuzz_tariff_json(&text.as_bytes()[..at.min(text.len())]);
    }

    #[test]
    fn any_change_changes_the_hash(tariff in tariff(), which in 0_usize..6) {
        let mut other = tariff.clone();
        match which {
            0 => other.id = "other".into(),
            1 => other.elements[0].components[0].price.0 += 1,
            2 => other.valid_until = Some(Timestamp::MAX),
            3 => other.words.clear(),
            4 => other.elements.push(other.elements[0].clone()),
            _ => other.hold = None,
        }
        prop_assert_ne!(other.hash(), tariff.hash());
    }
}

#[test]
fn the_canonical_bytes_are_what_the_document_says() {
    let mut tariff = ocpi::v230::parse(BASE).unwrap().tariff;
    tariff.energy_mix = Some("{}".into());
    let text = include_str!("../../testdata/canonical.txt");
    let hex: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::trim)
        .collect::<Vec<_>>()
        .join("");
    let (bytes, hash) = hex.split_once("sha256=").unwrap();
    let found: String = tariff.canonical().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((found.as_str(), tariff.hash().to_string().as_str()), (bytes, hash));
}
