//! What the fuzzer calls: a foreign text through both readers of OCPI, and what it accepts through a
//! rating.
//!
//! Claimed: no panic; what is accepted passes its check, is written and read back as the same; and a
//! session under it adds up.

use crate::{Adjustment, Rating, Reading, Tariff, Zone, ocpi};
use novax_model::{Timestamp, WattHours};

/// Any bytes as the JSON of a tariff.
pub fn fuzz_tariff_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(parsed) = ocpi::v221::parse(text) {
        check(&parsed.tariff);
        // Times are written in whole milliseconds, so a finer one comes back earlier: compare texts.
        if let Ok(written) = ocpi::v221::write(&parsed.tariff) {
            let again = ocpi::v221::parse(&written).expect("what was written is read");
            assert_eq!(ocpi::v221::write(&again.tariff), Ok(written), "one tariff, one text");
            assert_eq!(again.unknown.count, 0, "nothing is written that is not known");
        }
    }
    if let Ok(parsed) = ocpi::v230::parse(text) {
        check(&parsed.tariff);
        if let Ok(written) = ocpi::v230::write(&parsed.tariff) {
            let again = ocpi::v230::parse(&written).expect("what was written is read");
            assert_eq!(ocpi::v230::write(&again.tariff), Ok(written), "one tariff, one text");
        }
    }
}

fn check(tariff: &Tariff) {
    assert_eq!(tariff.check(), Ok(()), "what was accepted is sound");
    let zone = Zone::get("Europe/Berlin").expect("a zone of the table");
    let reading = |second: u64, wh: i64, charging: bool| Reading {
        at: Timestamp(1_792_890_000_000_000 + second * 1_000_000),
        register_wh: WattHours(wh),
        power_w: None,
        current_ma: Some(16_000),
        charging,
    };
    let mut rating = Rating::start(tariff, &zone, None, reading(0, 0, true));
    for (second, wh, charging) in [
        (1, 0, true),
        (3_600, 11_000, true),
        (40_000, 44_123, false),
        (90_000, 40_000, false),
        (90_000, i64::MAX, true),
    ] {
        rating.advance(tariff, &zone, reading(second, wh, charging));
    }
    let us: u64 = rating.periods().iter().map(|period| period.duration_us).sum();
    assert_eq!(us, 90_000_000_000, "no time is lost");
    let cost = rating.cost(tariff, &Adjustment::NONE, true);
    let parts: i128 = cost.by_rate().iter().map(|(_, part)| part.0).sum();
    assert_eq!(parts, cost.total.0, "the parts are the total");
}
