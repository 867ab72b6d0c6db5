//! OCPI charge detail records, held field by field to the tables of the OCPI text.

mod common;

use common::{HOUR_US, bill, golden, period, session, signed};
use novax_model::{Currency, Timestamp};
use novax_statements::facts::{Dimension, SessionFacts};
use novax_statements::{Credit, OcpiVersion, StatementError, cdr, credit_cdr};
use serde_json::Value;

const FIELDS: &str = include_str!("../testdata/ocpi/cdr_fields.txt");
const BOTH: [OcpiVersion; 2] = [OcpiVersion::V221, OcpiVersion::V230];

/// The lines of the table that are for a version, as words.
fn table(version: OcpiVersion) -> impl Iterator<Item = Vec<&'static str>> {
    let name = if version == OcpiVersion::V221 { "2.2.1" } else { "2.3.0" };
    FIELDS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(move |words| words[0] == "both" || words[0] == name)
}

/// An object against its class: nothing missing, nothing unknown, nothing too long.
fn check(version: OcpiVersion, class: &str, value: &Value) {
    let object = value.as_object().unwrap_or_else(|| panic!("{class} is an object: {value}"));
    let fields: Vec<_> = table(version).filter(|words| words[1] == class).collect();
    assert!(!fields.is_empty(), "{class} is in the table");
    for name in object.keys() {
        assert!(fields.iter().any(|words| words[2] == name), "{class} has no field {name}");
    }
    for words in fields {
        let [_, _, name, kind, cardinality, longest] = words[..] else { panic!("{words:?}") };
        match (object.get(name), cardinality) {
            (None, "?" | "*") => {}
            (None, _) => panic!("{class}.{name} is missing"),
            (Some(Value::Array(items)), "+" | "*") => {
                assert!(!items.is_empty(), "{class}.{name} is not empty");
                items.iter().for_each(|item| check_value(version, kind, longest, item));
            }
            (Some(item), "1" | "?") => check_value(version, kind, longest, item),
            (Some(item), _) => panic!("{class}.{name} is a list: {item}"),
        }
    }
}

fn check_value(version: OcpiVersion, kind: &str, longest: &str, value: &Value) {
    if let Ok(longest) = longest.parse::<usize>() {
        let text = value.as_str().expect("a text");
        assert!(!text.is_empty() && text.chars().count() <= longest, "{text} is too long");
    }
    match kind {
        "number" => {
            let text = value.as_number().expect("a number").to_string();
            let places = text.split_once('.').map_or(0, |(_, places)| places.len());
            assert!(places <= 4, "{text} has more than four places");
        }
        "int" => assert!(value.is_i64()),
        "boolean" => assert!(value.is_boolean()),
        "object" => assert!(value.is_object()),
        "string" => assert!(value.is_string()),
        "CiString" => assert!(value.as_str().expect("a text").is_ascii()),
        "DateTime" => {
            let text = value.as_str().expect("a time");
            assert!(text.ends_with('Z') && Timestamp::parse_rfc3339(text).is_ok(), "{text}");
        }
        _ => {
            let words = table(version).find(|words| words[1] == "enum" && words[2] == kind);
            match words {
                Some(words) => assert!(words[3..].contains(&value.as_str().expect("a word"))),
                None => check(version, kind, value),
            }
        }
    }
}

fn parsed(facts: &SessionFacts, version: OcpiVersion) -> Value {
    let json = cdr(facts, version).expect("a record");
    let value = serde_json::from_str(&json).expect("JSON");
    check(version, "CDR", &value);
    value
}

/// Every field there is.
fn full() -> SessionFacts {
    let mut facts = signed(session(7));
    facts.authorization_reference = Some("ok-1".into());
    facts.invoice = Some("INV-17".into());
    facts.remark = Some("Stopped by the driver.".into());
    facts.home_charging = true;
    facts.place.state = Some("HH".into());
    facts
}

/// Montréal: two taxes, and a reservation before the charge.
fn canadian() -> SessionFacts {
    let mut facts = session(8);
    facts.currency = Currency::new("CAD").unwrap();
    facts.place.country = "CA".into();
    facts.place.zone = "America/Toronto".into();
    facts.tariff = None;
    let lines = [(Dimension::Energy, 23_456, 995), (Dimension::Time, 1_800_000_000, 6)];
    bill(&mut facts, &lines, &[("GST", 50_000), ("QST", 99_750)]);
    facts.lines[1].reserved = true;
    let start = facts.started;
    let charging = Timestamp(start.0 + HOUR_US / 2);
    facts.periods =
        vec![period(start, HOUR_US / 2, 0, false), period(charging, HOUR_US, 23_456, true)];
    facts.periods[0].reserved = true;
    facts.ended = Timestamp(charging.0 + HOUR_US);
    facts
}

#[test]
fn every_field_is_as_the_tables_say() {
    for version in BOTH {
        for facts in [session(1), full(), canadian()] {
            parsed(&facts, version);
        }
        let full = parsed(&full(), version);
        let top = table(version).filter(|words| words[1] == "CDR");
        let absent: Vec<_> =
            top.map(|words| words[2]).filter(|name| full.get(name).is_none()).collect();
        let others = ["total_time_cost", "total_reservation_cost", "credit", "credit_reference_id"];
        assert_eq!(absent, others, "the full record has all but these");
    }
}

#[test]
fn records_are_as_kept() {
    for (facts, name) in [(full(), "full"), (canadian(), "canadian")] {
        golden(&format!("cdr_{name}_221.json"), &cdr(&facts, OcpiVersion::V221).unwrap());
        golden(&format!("cdr_{name}_230.json"), &cdr(&facts, OcpiVersion::V230).unwrap());
    }
}

#[test]
fn totals_are_the_bill_and_the_meter() {
    let json = cdr(&session(1), OcpiVersion::V221).unwrap();
    for part in [
        r#""total_cost":{"excl_vat":10.01,"incl_vat":11.91}"#,
        r#""total_fixed_cost":{"excl_vat":0.36,"incl_vat":0.42}"#,
        r#""total_energy":23.456,"#,
        r#""total_time":1.5056,"#,
        r#""total_parking_time":0.5,"#,
        r#""country":"DEU""#,
        r#""coordinates":{"latitude":"53.54380","longitude":"9.99000"}"#,
        r#""connector_format":"CABLE""#,
    ] {
        assert!(json.contains(part), "{part} is not in\n{json}");
    }
}

#[test]
fn several_taxes_stand_apart_and_sum_to_the_total() {
    let json = cdr(&canadian(), OcpiVersion::V230).unwrap();
    // 10.01 net: GST 5 % is 0.5005, QST 9.975 % is 0.9985; each is rounded once.
    let total = r#""total_cost":{"before_taxes":10.01,"taxes":[{"name":"GST","percentage":5,"amount":0.5},{"name":"QST","percentage":9.975,"amount":1}]}"#;
    assert!(json.contains(total), "{json}");
    assert!(json.contains("total_reservation_cost"), "{json}");
    assert!(json.contains(r#"{"type":"RESERVATION_TIME","volume":0.5}"#), "{json}");
    assert!(json.contains(r#""total_time":1,"#), "a reservation is no charging: {json}");
}

#[test]
fn a_credit_record_repeats_the_original_but_for_total_cost() {
    let credit = Credit { id: "cdr-7-C".into(), made: common::at("2026-04-02T09:00:00Z") };
    for version in BOTH {
        let original = parsed(&full(), version);
        let text = credit_cdr(&full(), &credit, version).unwrap();
        let credited: Value = serde_json::from_str(&text).unwrap();
        check(version, "CDR", &credited);
        let (original, credited) = (original.as_object().unwrap(), credited.as_object().unwrap());
        for (name, value) in credited {
            match &**name {
                "id" => assert_eq!(value, "cdr-7-C"),
                "credit" => assert_eq!(value, true),
                "credit_reference_id" => assert_eq!(Some(value), original.get("id")),
                "last_updated" => assert_eq!(value, "2026-04-02T09:00:00.000Z"),
                "total_cost" => assert_ne!(Some(value), original.get(name)),
                _ => assert_eq!(Some(value), original.get(name), "{name}"),
            }
        }
        assert_eq!(credited.len(), original.len() + 2);
        let negative = if version == OcpiVersion::V221 {
            r#""total_cost":{"excl_vat":-10.01,"incl_vat":-11.91}"#
        } else {
            r#""before_taxes":-10.01,"taxes":[{"name":"VAT","percentage":19,"amount":-1.9}]"#
        };
        assert!(text.contains(negative), "{text}");
    }
    let same = Credit { id: "CDR-7".into(), ..credit };
    assert!(matches!(
        credit_cdr(&full(), &same, OcpiVersion::V221),
        Err(StatementError::Malformed { .. })
    ));
}

#[test]
fn a_session_without_periods_has_one() {
    let mut facts = session(1);
    facts.periods.clear();
    let value = parsed(&facts, OcpiVersion::V221);
    assert_eq!(value["charging_periods"].as_array().unwrap().len(), 1);
    assert_eq!(value["charging_periods"][0]["dimensions"][0]["volume"].to_string(), "23.456");
}

fn refused(change: impl FnOnce(&mut SessionFacts)) -> StatementError {
    let mut facts = full();
    change(&mut facts);
    cdr(&facts, OcpiVersion::V230).expect_err("it is refused")
}

#[test]
fn what_ocpi_has_no_room_for_is_refused_by_name() {
    let too_long = |error| matches!(error, StatementError::TooLong { .. });
    let malformed = |error| matches!(error, StatementError::Malformed { .. });
    let missing = |error| matches!(error, StatementError::Missing { .. });
    assert!(too_long(refused(|f| f.cdr = "x".repeat(37).into())));
    assert!(too_long(refused(|f| f.connector.evse_id = "x".repeat(49).into())));
    assert!(too_long(refused(|f| f.place.postal_code = Some("12345678901".into()))));
    assert!(too_long(refused(|f| f.signed.as_mut().unwrap().values[0].raw = vec![0; 4000])));
    assert!(malformed(refused(|f| f.token.uid = "Müller".into())));
    assert!(too_long(refused(|f| f.operator.country = "DEU".into())));
    assert!(malformed(refused(|f| f.operator.country = "D".into())));
    assert!(malformed(refused(|f| f.operator.party = "N*".into())));
    assert!(malformed(refused(|f| f.place.country = "XX".into())));
    assert!(malformed(refused(|f| f.place.latitude = "91x".into())));
    assert!(malformed(refused(|f| f.place.latitude = "181.5".into())));
    assert!(malformed(refused(|f| f.connector.standard = "type 2".into())));
    assert!(malformed(refused(|f| f.tariff.as_mut().unwrap().json = "[1]".into())));
    assert!(malformed(refused(|f| f.tariff.as_mut().unwrap().json = "{\"a\":".into())));
    assert!(missing(refused(|f| f.place.address = "".into())));
    assert!(missing(refused(|f| f.signed.as_mut().unwrap().values.clear())));
    let long = "ä".repeat(300);
    let mut facts = full();
    facts.remark = Some(long.into());
    parsed(&facts, OcpiVersion::V221);
}

#[test]
fn a_bill_that_does_not_add_up_has_no_record() {
    let differs = |error| matches!(error, StatementError::Differs { .. });
    assert!(differs(refused(|f| f.net += 1)));
    assert!(differs(refused(|f| f.gross -= 1)));
    assert!(differs(refused(|f| f.lines[0].net += 1)));
    assert!(differs(refused(|f| f.lines[0].tax += 1)));
    assert!(differs(refused(|f| f.categories[0].taxes[0].amount += 1)));
    assert!(differs(refused(|f| f.shares[0].amount += 1)));
    assert!(differs(refused(|f| f.periods[0].energy_wh += 1)));
    assert!(matches!(
        refused(|f| f.periods.swap(0, 1)),
        StatementError::OutOfOrder { what: "a charging period" }
    ));
    assert!(matches!(refused(|f| f.ended = f.started), StatementError::OutOfOrder { .. }));
}

proptest::proptest! {
    #[test]
    fn periods_sum_to_the_totals_to_the_last_place(
        given in proptest::collection::vec((1_u64..20_000_000_000, 0_i64..200_000, 0_u8..2), 1..20),
    ) {
        let mut facts = session(1);
        facts.periods.clear();
        let mut start = facts.started;
        for (duration_us, energy_wh, charging) in given {
            let energy = if charging == 1 { energy_wh } else { 0 };
            facts.periods.push(period(start, duration_us, energy, charging == 1));
            start = Timestamp(start.0 + duration_us);
        }
        facts.ended = start;
        facts.energy_wh = facts.periods.iter().map(|period| period.energy_wh).sum();
        let value = parsed(&facts, OcpiVersion::V221);
        let ten_thousandths = |value: &Value| -> i64 {
            let text = value.to_string();
            let (whole, places) = text.split_once('.').unwrap_or((&text, ""));
            format!("{whole}{places:0<4}").parse().expect("digits")
        };
        let mut sums = std::collections::BTreeMap::new();
        for period in value["charging_periods"].as_array().unwrap() {
            for dimension in period["dimensions"].as_array().unwrap() {
                let kind = dimension["type"].as_str().unwrap().to_owned();
                *sums.entry(kind).or_insert(0) += ten_thousandths(&dimension["volume"]);
            }
        }
        let sum = |kind: &str| sums.get(kind).copied().unwrap_or(0);
        assert_eq!(sum("ENERGY"), ten_thousandths(&value["total_energy"]));
        assert_eq!(sum("TIME") + sum("PARKING_TIME"), ten_thousandths(&value["total_time"]));
        let parking = value.get("total_parking_time").map_or(0, ten_thousandths);
        assert_eq!(sum("PARKING_TIME"), parking);
    }
}
