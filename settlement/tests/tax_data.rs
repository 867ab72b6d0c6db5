//! The tax table against three public lists. Their reduced copies in `testdata/` say where they are from.

use novax_model::{Duration, Timestamp};
use novax_settlement::{Country, Jurisdiction, TaxTable};

const HISTORY: &str = include_str!("../testdata/vat-history-duty27.txt");
const CURRENT: &str = include_str!("../testdata/vat-current-tedb.txt");
const SALES_TAX: &str = include_str!("../testdata/sales-tax.txt");
/// When the lists were published.
const LISTED_AT: &str = "2026-11-01T12:00:00Z";

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').collect())
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect(text)
}

fn total_ppm(table: &TaxTable, place: &str, at: Timestamp) -> u32 {
    let place = Jurisdiction::new(place).expect(place);
    table.lookup(&place, at).expect("listed").lines.iter().map(|line| line.ppm).sum()
}

/// `25.5` with two digits moved is 255 000 millionths; no float on the way.
fn ppm(text: &str, digits: usize) -> u32 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<digits$}").parse().expect(text)
}

#[test]
fn every_change_since_2016_is_the_one_duty27_lists() {
    let table = TaxTable::built_in();
    let listed: Vec<(String, u32)> = lines(HISTORY)
        .map(|words| (format!("{}-{}", words[0], words[1]), ppm(words[2], 4)))
        .collect();
    let ours: Vec<(String, u32)> = table
        .rates()
        .filter(|(code, _)| Country::new(code).is_ok_and(|country| table.in_union(country)))
        .map(|(_, period)| (period.id.to_string(), period.lines.iter().map(|l| l.ppm).sum()))
        .collect();
    let mut listed = listed;
    listed.sort();
    assert_eq!(ours, listed);
    assert!(listed.len() > 27, "the list has changes in it");
}

#[test]
fn current_rates_and_members_are_those_of_the_commissions_database() {
    let table = TaxTable::built_in();
    let mut members = 0;
    for words in lines(CURRENT) {
        let [code, union, percent] = words[..] else { panic!("three words: {words:?}") };
        assert_eq!(total_ppm(&table, code, at(LISTED_AT)), ppm(percent, 4), "{code}");
        assert_eq!(table.in_union(Country::new(code).unwrap()), union == "union", "{code}");
        members += usize::from(union == "union");
    }
    assert_eq!(members, 27);
}

#[test]
fn current_and_earlier_rates_are_those_of_the_sales_tax_list() {
    let table = TaxTable::built_in();
    let canada = ppm("0.05", 6);
    let mut changes = 0;
    for words in lines(SALES_TAX).filter(|words| words[0] != "CA") {
        // The list gives a province's rate on top of the country's.
        let base = if words[0].starts_with("CA-") { canada } else { 0 };
        let listed = base + ppm(words[1], 6);
        let Some(until) = words.get(3) else {
            assert_eq!(total_ppm(&table, words[0], at(LISTED_AT)), listed, "{words:?}");
            continue;
        };
        // It keeps some ends in UTC and one (RO) a day late, so the days around an end are left out.
        let margin = Duration::from_secs(36 * 3_600);
        let until = at(until);
        let before = Timestamp(until.0 - 36 * 3_600_000_000);
        assert_eq!(total_ppm(&table, words[0], before), listed, "before {words:?}");
        let after = total_ppm(&table, words[0], until.saturating_add(margin));
        assert_ne!(after, listed, "after {words:?}");
        changes += 1;
    }
    assert!(changes >= 10, "only {changes} changes compared");
}

#[test]
fn a_rate_starts_at_midnight_of_its_place() {
    let table = TaxTable::built_in();
    for (place, last_of_old, first_of_new, old, new) in [
        ("DE", "2020-06-30T21:59:59.999999Z", "2020-06-30T22:00:00Z", 190_000, 160_000),
        ("EE", "2025-06-30T20:59:59Z", "2025-06-30T21:00:00Z", 220_000, 240_000),
        ("IE", "2021-02-28T23:59:59Z", "2021-03-01T00:00:00Z", 210_000, 230_000),
        ("CA-NS", "2025-04-01T02:59:59Z", "2025-04-01T03:00:00Z", 150_000, 140_000),
        ("CN", "2019-03-31T15:59:59Z", "2019-03-31T16:00:00Z", 160_000, 130_000),
    ] {
        assert_eq!(total_ppm(&table, place, at(last_of_old)), old, "{place}");
        assert_eq!(total_ppm(&table, place, at(first_of_new)), new, "{place}");
    }
}

#[test]
fn places_without_a_rate_get_none_instead_of_a_neighbours() {
    let table = TaxTable::built_in();
    let rate = |place: &str, time: &str| {
        table
            .lookup(&Jurisdiction::new(place).unwrap(), at(time))
            .map(|period| period.id.to_string())
    };
    assert_eq!(rate("DE-BY", LISTED_AT).as_deref(), Ok("DE-2021-01-01"));
    for place in ["CA", "CA-XX", "US", "US-OR", "ES-CN", "PT-20", "ZZ"] {
        assert!(rate(place, LISTED_AT).is_err(), "{place}");
    }
    assert!(rate("DE", "2015-12-31T00:00:00Z").is_err(), "the table starts in 2016");
}

#[test]
fn wrong_tables_are_refused_by_the_row_that_is_wrong() {
    let area = |rates: &str| {
        format!("version = \"1\"\n[[area]]\ncode = \"DE\"\nzone = \"Europe/Berlin\"\n{rates}")
    };
    let rate = |day: &str, ppm: u32| {
        format!(
            "{{ from = \"{day}\", taxes = [{{ name = \"USt\", ppm = {ppm} }}], source = \"x\" }}"
        )
    };
    let good = area(&format!("rates = [{}]", rate("2020-01-01", 190_000)));
    assert!(TaxTable::parse(&good).is_ok());
    for (text, place) in [
        ("version = \"1\"".to_owned(), "there is no area"),
        (area(""), "wrong at DE:"),
        (area(&format!("rates = [{}]", rate("2020-13-01", 1))), "DE-2020-13-01"),
        (area(&format!("rates = [{}]", rate("2020-01-01", 1_000_001))), "above 100 %"),
        (
            area(&format!("rates = [{}, {}]", rate("2020-01-01", 1), rate("2019-01-01", 1))),
            "DE-2019-01-01",
        ),
        (good.replace("Berlin", "Bonn"), "Europe/Bonn"),
        (good.replace("\"DE\"", "\"de\""), "wrong at de"),
        (good.replace("ppm", "rate"), "rate"),
        (format!("{good}{}", good.replace("version = \"1\"", "")), "twice"),
    ] {
        let error = TaxTable::parse(&text).expect_err(&text).to_string();
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn the_table_has_a_version_and_a_hash_and_a_source_for_each_row() {
    let table = TaxTable::built_in();
    assert!(!table.version().is_empty());
    assert_ne!(table.hash(), [0; 32]);
    assert!(table.rates().all(|(_, period)| period.source.len() > 5));
    assert!(table.rates().count() > 60);
}

#[test]
fn vat_ids_are_checked_by_the_form_of_their_country() {
    let table = TaxTable::built_in();
    let check = |country: &str, id: &str| table.check_vat_id(Country::new(country).unwrap(), id);
    for (country, id, written) in [
        ("DE", "de 123 456 789", "DE123456789"),
        ("AT", "ATU12345678", "ATU12345678"),
        ("GR", "EL123456789", "EL123456789"),
        ("NL", "NL123456789B01", "NL123456789B01"),
        ("IE", "IE1234567FA", "IE1234567FA"),
        ("CH", "CHE-123.456.789 MWST", "CHE123456789MWST"),
        ("FR", "FRK7399859412", "FRK7399859412"),
    ] {
        assert_eq!(check(country, id).as_deref(), Ok(written));
    }
    for (country, id) in [
        ("DE", "DE12345678"),
        ("DE", "ATU12345678"),
        ("AT", "AT12345678"),
        ("GR", "GR123456789"),
        ("US", "123456789"),
        ("DE", ""),
    ] {
        assert!(check(country, id).is_err(), "{country} {id}");
    }
}
