//! One session, rated by both.

use crate::GRID_S;
use novax_model::{Timestamp, WattHours};
use novax_tariff::{Adjustment, Cost, Rating, Reading, Tariff, Zone, ocpi};
use ocpi_tariffs::{Version, cdr, price, tariff};

/// A part of a session in which nothing changes.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    pub(crate) steps: u64,
    pub(crate) wh_per_step: i64,
    pub(crate) charging: bool,
    pub(crate) power_w: i64,
    pub(crate) current_ma: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) start_s: u64,
    pub(crate) stretches: Vec<Stretch>,
}

/// What the other one says: without and with tax, in ten-thousandths.
pub(crate) type Other = Option<(i128, Option<i128>)>;

/// A decimal in ten-thousandths; it has at most four places.
fn ten_thousandths(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 4, "{text} is rounded to four places");
    format!("{whole}{fraction:0<4}").parse().unwrap_or_else(|_| panic!("{text} is a number"))
}

fn rfc3339(second: u64) -> String {
    Timestamp(second * 1_000_000).to_rfc3339()
}

/// The session as a charge record, a period for each step of the grid.
fn record(session: &Session) -> String {
    let mut periods = Vec::new();
    let mut at = session.start_s;
    for stretch in &session.stretches {
        for _ in 0..stretch.steps {
            let time = if stretch.charging { "TIME" } else { "PARKING_TIME" };
            let (kw, amperes) = (stretch.power_w / 1_000, stretch.current_ma / 1_000);
            let mut dimensions = vec![format!(r#"{{"type":"{time}","volume":0.1}}"#)];
            for (name, volume) in [
                ("MIN_POWER", kw),
                ("MAX_POWER", kw),
                ("MIN_CURRENT", amperes),
                ("MAX_CURRENT", amperes),
            ] {
                dimensions.push(format!(r#"{{"type":"{name}","volume":{volume}}}"#));
            }
            if stretch.wh_per_step > 0 {
                let (kwh, wh) = (stretch.wh_per_step / 1_000, stretch.wh_per_step % 1_000);
                dimensions.push(format!(r#"{{"type":"ENERGY","volume":{kwh}.{wh:03}}}"#));
            }
            periods.push(format!(
                r#"{{"start_date_time":"{}","dimensions":[{}]}}"#,
                rfc3339(at),
                dimensions.join(",")
            ));
            at += GRID_S;
        }
    }
    format!(
        r#"{{"country_code":"DE","party_id":"NVX","currency":"EUR","start_date_time":"{}","end_date_time":"{}","tariffs":[],"charging_periods":[{}],"total_cost":{{"excl_vat":0,"incl_vat":0}},"total_energy":0,"total_time":0,"last_updated":"2026-01-01T00:00:00Z"}}"#,
        rfc3339(session.start_s),
        rfc3339(at),
        periods.join(",")
    )
}

/// What `ocpi-tariffs` says.
pub(crate) fn theirs(tariff_json: &str, session: &Session) -> Other {
    let record = record(session);
    let tariff =
        tariff::parse_with_version(tariff_json, Version::V221).expect("it reads ours").tariff;
    let cdr = cdr::parse_with_version(&record, Version::V221).expect("a record").cdr;
    let source = price::TariffSource::single(tariff);
    let priced = cdr::price(&cdr, source, chrono_tz::Europe::Berlin);
    let Ok(priced) = priced else { panic!("it prices {record} by {tariff_json}") };
    let (report, _warnings) = priced.into_parts();
    let money = |money: ocpi_tariffs::Money| ten_thousandths(&format!("{money:#}"));
    report.total_cost.calculated.map(|price| (money(price.excl_vat), price.incl_vat.map(money)))
}

/// What ours says.
pub(crate) fn ours(tariff: &Tariff, session: &Session) -> Cost {
    let zone = Zone::get("Europe/Berlin").expect("a zone");
    let reading = |at: u64, wh: i64, stretch: &Stretch| Reading {
        at: Timestamp(at * 1_000_000),
        register_wh: WattHours(wh),
        power_w: Some(stretch.power_w),
        current_ma: Some(stretch.current_ma),
        charging: stretch.charging,
    };
    let (mut at, mut wh) = (session.start_s, 0);
    let mut rating = Rating::start(tariff, &zone, None, reading(at, wh, &session.stretches[0]));
    for (index, stretch) in session.stretches.iter().enumerate() {
        at += stretch.steps * GRID_S;
        wh += stretch.wh_per_step * i64::try_from(stretch.steps).expect("few steps");
        let next = session.stretches.get(index + 1).unwrap_or(stretch);
        rating.advance(tariff, &zone, reading(at, wh, next));
    }
    rating.cost(tariff, &Adjustment::NONE, true)
}

/// Whether an amount of ours is theirs: they round to four places once, we to six each line.
fn agrees(ours_micros: i128, theirs: i128, lines: usize) -> bool {
    let slack = 50 + i128::try_from(lines).expect("few lines");
    (ours_micros - theirs * 100).abs() <= slack
}

/// Rates by both.
///
/// # Errors
/// How they differ.
pub(crate) fn compare(tariff: &Tariff, session: &Session) -> Result<(), String> {
    let json = ocpi::v221::write(tariff).map_err(|wrong| wrong.to_string())?;
    let cost = ours(tariff, session);
    // They say nothing where nothing had a price; a least price does not apply there either: see
    // `differences`.
    let Some((before, after)) = theirs(&json, session) else {
        let nothing = cost.lines.iter().all(|line| line.amount.0 == 0);
        return if nothing { Ok(()) } else { Err(format!("they say nothing, we {cost:?}")) };
    };
    let lines = cost.lines.len();
    let ours_before = cost.before_taxes.map_or(0, |micros| micros.0);
    // Where the tariff says no tax they call the sum without it the sum with it: see `differences`.
    let ours_after = cost.after_taxes.map_or(ours_before, |micros| micros.0);
    let same = agrees(ours_before, before, lines)
        && after.is_none_or(|after| agrees(ours_after, after, 2 * lines));
    if same {
        return Ok(());
    }
    Err(format!("they: {before} {after:?}, we: {cost:#?}\n{json}"))
}
