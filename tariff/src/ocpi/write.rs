//! From our tariff to OCPI's. One tariff has one text: fields in the specification's order, no blanks.

use super::Version;
use super::decimal;
use super::json::quoted;
use super::read::{DAYS, KINDS, MILLI_PLACES, PERCENT_PLACES, PRICE_PLACES, RESERVATIONS, TAXES};
use crate::error::TariffError;
use crate::model::{
    Component, Day, Element, PriceLimit, Restrictions, Tariff, TariffKind, TaxIncluded,
};
use novax_model::{Micros, Timestamp};

/// An object being written.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Object {
        Object("{".to_owned())
    }

    pub(crate) fn raw(&mut self, name: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
        self.0.push_str(value);
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &quoted(value));
    }

    pub(crate) fn number(&mut self, name: &str, value: impl Into<i128>, places: u32) {
        self.raw(name, &decimal::write(value.into(), places as usize));
    }

    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

pub(crate) fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> Option<&'static str> {
    words.iter().find(|(_, known)| known == value).map(|(word, _)| *word)
}

pub(crate) fn cannot(path: &str, what: &str) -> TariffError {
    TariffError::Inexpressible { path: path.to_owned(), what: what.to_owned() }
}

pub(super) fn tariff(tariff: &Tariff, version: Version) -> Result<String, TariffError> {
    tariff.check()?;
    if version == Version::V221 && tariff.tax_included == TaxIncluded::Yes {
        return Err(cannot("tax_included", "prices of OCPI 2.2.1 are without tax"));
    }
    let Some(party) = &tariff.party else {
        return Err(cannot("party_id", "OCPI names the owner of each tariff"));
    };
    if tariff.id.len() > 36 {
        return Err(cannot("id", "has more than OCPI's 36 characters"));
    }
    let mut o = Object::new();
    o.text("country_code", &party.country);
    o.text("party_id", &party.party);
    o.text("id", &tariff.id);
    o.text("currency", tariff.currency.code());
    if tariff.kind != TariffKind::Any
        && let Some(kind) = word(&KINDS, &tariff.kind)
    {
        o.text("type", kind);
    }
    describe(&mut o, tariff);
    for (name, limit) in [("min_price", tariff.min_price), ("max_price", tariff.max_price)] {
        if let Some(limit) = limit {
            o.raw(name, &price_limit(limit, version));
        }
    }
    if version == Version::V230 {
        if let Some(hold) = tariff.hold {
            o.number("preauthorize_amount", hold.0, PRICE_PLACES);
        }
        o.text("tax_included", word(&TAXES, &tariff.tax_included).unwrap_or("N/A"));
    }
    let elements: Result<Vec<String>, TariffError> =
        tariff.elements.iter().enumerate().map(|(index, e)| element(e, index)).collect();
    o.raw("elements", &list(elements?.into_iter()));
    times(&mut o, tariff)?;
    Ok(o.end())
}

fn describe(o: &mut Object, tariff: &Tariff) {
    if !tariff.words.is_empty() {
        let words = tariff.words.iter().map(|words| {
            let mut o = Object::new();
            o.text("language", &words.language);
            o.text("text", &words.text);
            o.end()
        });
        o.raw("tariff_alt_text", &list(words));
    }
    if let Some(url) = &tariff.url {
        o.text("tariff_alt_url", url);
    }
}

fn times(o: &mut Object, tariff: &Tariff) -> Result<(), TariffError> {
    for (name, at) in
        [("start_date_time", tariff.valid_from), ("end_date_time", tariff.valid_until)]
    {
        if let Some(at) = at {
            o.text(name, &time(at, name)?);
        }
    }
    if let Some(mix) = &tariff.energy_mix {
        o.raw("energy_mix", mix);
    }
    o.text("last_updated", &time(tariff.updated, "last_updated")?);
    Ok(())
}

pub(crate) fn time(at: Timestamp, path: &str) -> Result<String, TariffError> {
    // The last second of the year 9999, beyond which there is no RFC 3339.
    if at.0 >= 253_402_300_800_000_000 {
        return Err(cannot(path, "lies beyond the year 9999"));
    }
    Ok(at.to_rfc3339())
}

fn price_limit(limit: PriceLimit, version: Version) -> String {
    let (before, after) = version.limit_fields();
    let mut o = Object::new();
    o.number(before, limit.before_taxes.0, PRICE_PLACES);
    if let Some(Micros(taxed)) = limit.after_taxes {
        o.number(after, taxed, PRICE_PLACES);
    }
    o.end()
}

fn element(element: &Element, index: usize) -> Result<String, TariffError> {
    let mut o = Object::new();
    o.raw("price_components", &list(element.components.iter().map(component)));
    if let Some(r) = &element.restrictions {
        o.raw("restrictions", &restrictions(r, index)?);
    }
    Ok(o.end())
}

fn component(component: &Component) -> String {
    let mut o = Object::new();
    o.text("type", component.dimension.name());
    o.number("price", component.price.0, PRICE_PLACES);
    if let Some(vat) = component.vat_ppm {
        o.number("vat", vat, PERCENT_PLACES);
    }
    o.number("step_size", component.step, 0);
    o.end()
}

fn restrictions(r: &Restrictions, index: usize) -> Result<String, TariffError> {
    let mut o = Object::new();
    for (name, minute) in [("start_time", r.start_time), ("end_time", r.end_time)] {
        if let Some(minute) = minute {
            // The end of a day is the next day's beginning.
            o.text(name, &format!("{:02}:{:02}", minute / 60 % 24, minute % 60));
        }
    }
    for (name, day) in [("start_date", r.start_date), ("end_date", r.end_date)] {
        if let Some(day) = day {
            let path = || format!("elements[{index}].restrictions.{name}");
            let text = Day::text(day);
            o.text(name, &text.ok_or_else(|| cannot(&path(), "lies beyond the year 9999"))?);
        }
    }
    let milli = [
        ("min_kwh", r.min_wh),
        ("max_kwh", r.max_wh),
        ("min_current", r.min_ma),
        ("max_current", r.max_ma),
        ("min_power", r.min_w),
        ("max_power", r.max_w),
    ];
    for (name, value) in milli {
        if let Some(value) = value {
            o.number(name, value, MILLI_PLACES);
        }
    }
    for (name, seconds) in [("min_duration", r.min_s), ("max_duration", r.max_s)] {
        if let Some(seconds) = seconds {
            o.number(name, seconds, 0);
        }
    }
    if r.days != 0 {
        let set = (0_u8..).zip(DAYS).filter(|(bit, _)| r.days & 1 << bit != 0);
        o.raw("day_of_week", &list(set.map(|(_, name)| quoted(name))));
    }
    if let Some(reservation) = r.reservation
        && let Some(name) = word(&RESERVATIONS, &reservation)
    {
        o.text("reservation", name);
    }
    Ok(o.end())
}
