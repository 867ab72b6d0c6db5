//! From our tariff to OCPP's. One tariff has one text.

use super::{DAYS, MINUTE_PLACES};
use crate::error::TariffError;
use crate::language::clock;
use crate::model::{
    ALL_DAYS, Component, Dimension, PriceLimit, Reservation, Restrictions, Tariff, TaxIncluded,
};
use crate::ocpi::decimal;
use crate::ocpi::read::{PERCENT_PLACES, PRICE_PLACES};
use crate::ocpi::write::{Object, cannot, list, time};
use crate::rating::ratio;

/// Writes a `TariffType`.
///
/// # Errors
/// [`TariffError::Inexpressible`] with what OCPP has no words for.
pub fn write(tariff: &Tariff) -> Result<String, TariffError> {
    tariff.check()?;
    if tariff.tax_included == TaxIncluded::Yes {
        return Err(cannot("tax_included", "prices of OCPP are without tax"));
    }
    if tariff.id.chars().count() > 60 {
        return Err(cannot("id", "has more than OCPP's 60 characters"));
    }
    if tariff.valid_until.is_some() {
        let what = "OCPP has no end: replace the tariff in time instead";
        return Err(cannot("end_date_time", what));
    }
    let mut o = Object::new();
    o.text("tariffId", &tariff.id);
    describe(&mut o, tariff)?;
    o.text("currency", tariff.currency.code());
    block(&mut o, tariff, "energy", Dimension::Energy, None)?;
    if let Some(from) = tariff.valid_from {
        o.text("validFrom", &time(from, "start_date_time")?);
    }
    block(&mut o, tariff, "chargingTime", Dimension::Time, None)?;
    block(&mut o, tariff, "idleTime", Dimension::ParkingTime, None)?;
    block(&mut o, tariff, "fixedFee", Dimension::Flat, None)?;
    let reserved = Some(Reservation::Reservation);
    block(&mut o, tariff, "reservationTime", Dimension::Time, reserved)?;
    block(&mut o, tariff, "reservationFixed", Dimension::Flat, reserved)?;
    for (name, limit) in [("minCost", tariff.min_price), ("maxCost", tariff.max_price)] {
        if let Some(limit) = limit {
            o.raw(name, &price_limit(limit));
        }
    }
    Ok(o.end())
}

/// Writes a `SetDefaultTariffRequest`; EVSE 0 is all of a station.
///
/// # Errors
/// As [`write`].
pub fn set_default_tariff(evse_id: u32, tariff: &Tariff) -> Result<String, TariffError> {
    let mut o = Object::new();
    o.number("evseId", evse_id, 0);
    o.raw("tariff", &write(tariff)?);
    Ok(o.end())
}

/// Writes a `ChangeTransactionTariffRequest`.
///
/// # Errors
/// As [`write`].
pub fn change_transaction_tariff(
    transaction_id: &str,
    tariff: &Tariff,
) -> Result<String, TariffError> {
    let mut o = Object::new();
    o.raw("tariff", &write(tariff)?);
    o.text("transactionId", transaction_id);
    Ok(o.end())
}

fn describe(o: &mut Object, tariff: &Tariff) -> Result<(), TariffError> {
    if tariff.words.is_empty() {
        return Ok(());
    }
    if tariff.words.len() > 10 {
        return Err(cannot("tariff_alt_text", "has more than OCPP's ten texts"));
    }
    let mut texts = Vec::with_capacity(tariff.words.len());
    for (index, words) in tariff.words.iter().enumerate() {
        let path = format!("tariff_alt_text[{index}]");
        if words.text.chars().count() > 1_024 || words.language.len() > 8 {
            return Err(cannot(&path, "is longer than OCPP's messages"));
        }
        let mut o = Object::new();
        o.text("format", "UTF8");
        o.text("language", &words.language);
        o.text("content", &words.text);
        texts.push(o.end());
    }
    o.raw("description", &list(texts.into_iter()));
    Ok(())
}

fn block(
    o: &mut Object,
    tariff: &Tariff,
    name: &str,
    dimension: Dimension,
    kind: Option<Reservation>,
) -> Result<(), TariffError> {
    let mut prices = Vec::new();
    let mut vat: Option<Option<u32>> = None;
    for (index, element) in tariff.elements.iter().enumerate() {
        let r = element.restrictions.as_ref();
        let reservation = r.and_then(|r| r.reservation);
        if reservation == Some(Reservation::Expires) {
            let path = format!("elements[{index}].restrictions.reservation");
            return Err(cannot(&path, "OCPP has no price of a reservation that expires"));
        }
        let Some(component) = element.component(dimension).filter(|_| reservation == kind) else {
            continue;
        };
        let path = format!("elements[{index}]");
        if *vat.get_or_insert(component.vat_ppm) != component.vat_ppm {
            let what = "OCPP has one tax for all prices of a dimension";
            return Err(cannot(&format!("{path}.price_components.vat"), what));
        }
        prices.push(price(component, r, &path)?);
    }
    if prices.is_empty() {
        return Ok(());
    }
    let mut block = Object::new();
    block.raw("prices", &list(prices.into_iter()));
    if let Some(Some(ppm)) = vat {
        let mut tax = Object::new();
        tax.text("type", "VAT");
        tax.number("tax", ppm, PERCENT_PLACES);
        block.raw("taxRates", &format!("[{}]", tax.end()));
    }
    o.raw(name, &block.end());
    Ok(())
}

fn price(
    component: &Component,
    restrictions: Option<&Restrictions>,
    path: &str,
) -> Result<String, TariffError> {
    if component.step != 1 {
        let path = format!("{path}.price_components.step_size");
        return Err(cannot(&path, "OCPP bills without steps"));
    }
    let mut o = Object::new();
    let price = component.price.0;
    match component.dimension {
        Dimension::Energy => o.number("priceKwh", price, PRICE_PLACES),
        Dimension::Flat => o.number("priceFixed", price, PRICE_PLACES),
        Dimension::Time | Dimension::ParkingTime => {
            let scale = 10_i128.pow(MINUTE_PLACES - PRICE_PLACES);
            o.number("priceMinute", ratio(price, scale, 60), MINUTE_PLACES);
        }
    }
    if let Some(r) = restrictions {
        let conditions = conditions(r, component.dimension, path)?;
        if conditions != "{}" {
            o.raw("conditions", &conditions);
        }
    }
    Ok(o.end())
}

fn conditions(r: &Restrictions, dimension: Dimension, path: &str) -> Result<String, TariffError> {
    let mut o = Object::new();
    for (name, minute) in [("startTimeOfDay", r.start_time), ("endTimeOfDay", r.end_time)] {
        if let Some(minute) = minute {
            // The end of a day is the next day's beginning.
            o.text(name, &clock(minute % 1_440));
        }
    }
    if r.days != 0 && r.days != ALL_DAYS {
        let days = DAYS.iter().zip(0..7).filter(|(_, day)| r.days >> day & 1 == 1);
        o.raw("dayOfWeek", &list(days.map(|(word, _)| format!("\"{word}\""))));
    }
    for (name, ours, day) in
        [("validFromDate", "start_date", r.start_date), ("validToDate", "end_date", r.end_date)]
    {
        if let Some(day) = day {
            let text = day.text().ok_or_else(|| {
                cannot(&format!("{path}.restrictions.{ours}"), "lies beyond the year 9999")
            })?;
            o.text(name, &text);
        }
    }
    let measured = [
        ("minEnergy", "min_kwh", r.min_wh, 0),
        ("maxEnergy", "max_kwh", r.max_wh, 0),
        ("minCurrent", "min_current", r.min_ma, 3),
        ("maxCurrent", "max_current", r.max_ma, 3),
        ("minPower", "min_power", r.min_w, 0),
        ("maxPower", "max_power", r.max_w, 0),
        ("minTime", "min_duration", r.min_s.map(i64::from), 0),
        ("maxTime", "max_duration", r.max_s.map(i64::from), 0),
    ];
    for (name, ours, value, places) in measured {
        let Some(value) = value else { continue };
        if dimension == Dimension::Flat {
            let path = format!("{path}.restrictions.{ours}");
            return Err(cannot(&path, "a fixed fee of OCPP depends on clock and date only"));
        }
        o.number(name, value, places);
    }
    Ok(o.end())
}

fn price_limit(limit: PriceLimit) -> String {
    let mut o = Object::new();
    o.number("exclTax", limit.before_taxes.0, PRICE_PLACES);
    if let Some(after) = limit.after_taxes {
        o.raw("inclTax", &decimal::write(after.0, PRICE_PLACES as usize));
    }
    o.end()
}
