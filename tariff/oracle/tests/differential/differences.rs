//! What we do otherwise than `ocpi-tariffs`, each with its reason. A test here fails as well when they
//! come to do as we do.

use crate::rated::{Session, Stretch, ours, theirs};
use novax_model::Micros;
use novax_tariff::{Tariff, ocpi};

const HEAD: &str = r#""country_code":"DE","party_id":"NVX","id":"D","currency":"EUR","last_updated":"2026-01-01T00:00:00Z""#;

/// Three hours at 10 kW from 2025-10-24T08:00:00Z (10:00 in Berlin).
fn three_hours() -> Session {
    let stretch = Stretch {
        steps: 30,
        wh_per_step: 1_000,
        charging: true,
        power_w: 10_000,
        current_ma: 16_000,
    };
    Session { start_s: 1_761_292_800, stretches: vec![stretch] }
}

fn read(fields: &str) -> (Tariff, String) {
    let json = format!("{{{HEAD},{fields}}}");
    (ocpi::v221::parse(&json).expect("a tariff").tariff, json)
}

/// A tariff that says no tax: they take the sum for the sum with tax. The specification says that it
/// cannot be known ("no VAT information is given"), and a settlement must not guess it to be zero.
#[test]
fn a_tariff_without_tax_is_not_free_of_tax() {
    let (tariff, json) =
        read(r#""elements":[{"price_components":[{"type":"ENERGY","price":0.1,"step_size":1}]}]"#);
    assert_eq!(theirs(&json, &three_hours()), Some((30_000, Some(30_000))));
    let cost = ours(&tariff, &three_hours());
    assert_eq!((cost.before_taxes, cost.after_taxes), (Some(Micros(3_000_000)), None));
}

/// They put both bounds in force when the one without tax is reached. The specification has each bind
/// by itself ("they both apply").
#[test]
fn the_two_bounds_of_a_limit_bind_by_themselves() {
    let (tariff, json) = read(
        r#""max_price":{"excl_vat":3.5,"incl_vat":3.5},"elements":[{"price_components":[{"type":"ENERGY","price":0.1,"vat":20,"step_size":1}]}]"#,
    );
    // 3.00 without tax is within its bound, 3.60 with it is not.
    assert_eq!(theirs(&json, &three_hours()), Some((30_000, Some(36_000))));
    let cost = ours(&tariff, &three_hours());
    let found = (cost.before_taxes, cost.after_taxes);
    assert_eq!(found, (Some(Micros(3_000_000)), Some(Micros(3_500_000))));
}

/// "00:00" as the end of a window is the end of the day for us, since no other text can say it; they
/// find no time before it. (With a beginning they, too, go around midnight.)
#[test]
fn midnight_as_an_end_is_the_end_of_the_day() {
    let (tariff, json) = read(
        r#""elements":[{"price_components":[{"type":"ENERGY","price":0.1,"vat":0,"step_size":1}],"restrictions":{"end_time":"00:00"}}]"#,
    );
    assert_eq!(theirs(&json, &three_hours()), None);
    assert_eq!(ours(&tariff, &three_hours()).total, Micros(3_000_000));
}

/// A window that ends as it begins is all day for us and empty for them: an element that can never
/// hold is not what its author meant.
#[test]
fn a_window_that_ends_as_it_begins_is_all_day() {
    let (tariff, json) = read(
        r#""elements":[{"price_components":[{"type":"ENERGY","price":0.1,"vat":0,"step_size":1}],"restrictions":{"start_time":"12:00","end_time":"12:00"}}]"#,
    );
    assert_eq!(theirs(&json, &three_hours()), None);
    assert_eq!(ours(&tariff, &three_hours()).total, Micros(3_000_000));
}

/// Elements for reservations price charges for them: they do not read that restriction.
#[test]
fn a_reservations_price_is_not_a_charges_price() {
    let (tariff, json) = read(
        r#""elements":[{"price_components":[{"type":"TIME","price":5,"vat":0,"step_size":1}],"restrictions":{"reservation":"RESERVATION"}},{"price_components":[{"type":"ENERGY","price":0.1,"vat":0,"step_size":1}]}]"#,
    );
    assert_eq!(theirs(&json, &three_hours()), Some((180_000, Some(180_000))));
    assert_eq!(ours(&tariff, &three_hours()).total, Micros(3_000_000));
}

/// Where no price held at all they have no total, and no least price; the specification gives a least
/// price to every session.
#[test]
fn a_least_price_is_due_even_when_nothing_had_a_price() {
    let (tariff, json) = read(
        r#""min_price":{"excl_vat":1.00},"elements":[{"price_components":[{"type":"PARKING_TIME","price":5,"vat":0,"step_size":1}]}]"#,
    );
    assert_eq!(theirs(&json, &three_hours()), None);
    assert_eq!(ours(&tariff, &three_hours()).total, Micros(1_000_000));
}
