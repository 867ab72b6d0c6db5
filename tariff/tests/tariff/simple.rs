//! The common tariff, by hand.

use novax_model::{Currency, Micros, Timestamp, WattHours};
use novax_tariff::{Adjustment, Rating, Reading, Tariff, Zone};

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
