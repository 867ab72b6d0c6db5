//! From OCPI's tariff to ours.

use super::Version;
use super::json::{Fields, Node, Unknown, parse};
use crate::error::TariffError;
use crate::model::{
    Component, Day, Dimension, Element, Party, PriceLimit, Reservation, Restrictions, Tariff,
    TariffKind, TaxIncluded, Words,
};
use novax_model::{Currency, Micros, Timestamp};

/// Places of a price: a millionth of the major unit.
pub(crate) const PRICE_PLACES: u32 = 6;
/// Places of kWh, A and kW: watt-hours, milliamperes and watts.
pub(super) const MILLI_PLACES: u32 = 3;
/// Places of a tax in percent: millionths.
pub(crate) const PERCENT_PLACES: u32 = 4;

pub(super) const KINDS: [(&str, TariffKind); 5] = [
    ("AD_HOC_PAYMENT", TariffKind::AdHocPayment),
    ("PROFILE_CHEAP", TariffKind::ProfileCheap),
    ("PROFILE_FAST", TariffKind::ProfileFast),
    ("PROFILE_GREEN", TariffKind::ProfileGreen),
    ("REGULAR", TariffKind::Regular),
];
pub(super) const TAXES: [(&str, TaxIncluded); 3] =
    [("YES", TaxIncluded::Yes), ("NO", TaxIncluded::No), ("N/A", TaxIncluded::NotApplicable)];
pub(super) const RESERVATIONS: [(&str, Reservation); 2] =
    [("RESERVATION", Reservation::Reservation), ("RESERVATION_EXPIRES", Reservation::Expires)];
pub(super) const DAYS: [&str; 7] =
    ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// Checked: it can be rated.
    pub tariff: Tariff,
    /// Fields that are not OCPI's. Nothing here reads them.
    pub unknown: Unknown,
}

pub(super) fn tariff(text: &str, version: Version) -> Result<Parsed, TariffError> {
    let mut unknown = Unknown::default();
    let mut fields = parse(text)?.fields()?;
    let f = &mut fields;
    let party = Party {
        country: f.required("country_code")?.string_of(2, 2)?,
        party: f.required("party_id")?.string_of(1, 3)?,
    };
    let tariff = Tariff {
        party: Some(party),
        id: f.required("id")?.string_of(1, 36)?,
        currency: currency(&f.required("currency")?)?,
        kind: f.map("type", |node| node.one_of(&KINDS))?.unwrap_or(TariffKind::Any),
        words: match f.optional("tariff_alt_text") {
            Some(node) => words(&node, &mut unknown)?,
            None => Vec::new(),
        },
        url: f.map("tariff_alt_url", |node| node.string_of(0, 255))?,
        min_price: limit(f, "min_price", version, &mut unknown)?,
        max_price: limit(f, "max_price", version, &mut unknown)?,
        hold: hold(f, version)?,
        elements: elements(&f.required("elements")?, &mut unknown)?,
        tax_included: match version {
            Version::V221 => TaxIncluded::No,
            Version::V230 => f.required("tax_included")?.one_of(&TAXES)?,
        },
        valid_from: f.map("start_date_time", time)?,
        valid_until: f.map("end_date_time", time)?,
        energy_mix: f.optional("energy_mix").map(|node| node.text().into()),
        updated: time(&f.required("last_updated")?)?,
    };
    fields.finish(&mut unknown);
    tariff.check()?;
    Ok(Parsed { tariff, unknown })
}

fn hold(f: &mut Fields<'_>, version: Version) -> Result<Option<Micros>, TariffError> {
    match version {
        Version::V221 => Ok(None),
        Version::V230 => f.map("preauthorize_amount", price),
    }
}

pub(crate) fn currency(node: &Node<'_>) -> Result<Currency, TariffError> {
    Currency::new(&node.string()?).map_err(|unknown| node.refuse(unknown.to_string()))
}

pub(crate) fn time(node: &Node<'_>) -> Result<Timestamp, TariffError> {
    Timestamp::parse_rfc3339(&node.string()?).map_err(|wrong| node.refuse(wrong.to_string()))
}

fn price(node: &Node<'_>) -> Result<Micros, TariffError> {
    node.decimal(PRICE_PLACES).map(Micros)
}

fn words(node: &Node<'_>, unknown: &mut Unknown) -> Result<Vec<Words>, TariffError> {
    let mut all = Vec::new();
    for node in node.list()? {
        let mut f = node.fields()?;
        let language = f.required("language")?.string_of(2, 2)?;
        let text = f.required("text")?.string_of(0, crate::model::TEXT_BYTES_MAX)?;
        f.finish(unknown);
        all.push(Words { language, text });
    }
    Ok(all)
}

fn limit(
    f: &mut Fields<'_>,
    name: &str,
    version: Version,
    unknown: &mut Unknown,
) -> Result<Option<PriceLimit>, TariffError> {
    let Some(node) = f.optional(name) else { return Ok(None) };
    let mut f = node.fields()?;
    let (before, after) = version.limit_fields();
    let limit = PriceLimit {
        before_taxes: price(&f.required(before)?)?,
        after_taxes: f.map(after, price)?,
    };
    f.finish(unknown);
    Ok(Some(limit))
}

fn elements(node: &Node<'_>, unknown: &mut Unknown) -> Result<Vec<Element>, TariffError> {
    let mut elements = Vec::new();
    for node in node.list()? {
        let mut f = node.fields()?;
        let mut components = Vec::new();
        for node in f.required("price_components")?.list()? {
            components.push(component(&node, unknown)?);
        }
        let restrictions = match f.optional("restrictions") {
            Some(node) => Some(restrictions(&node, unknown)?),
            None => None,
        };
        f.finish(unknown);
        // A restriction that restricts nothing is none, so that one tariff has one form.
        let restrictions = restrictions.filter(|r| *r != Restrictions::default());
        elements.push(Element { components, restrictions });
    }
    Ok(elements)
}

fn component(node: &Node<'_>, unknown: &mut Unknown) -> Result<Component, TariffError> {
    let mut f = node.fields()?;
    let dimension = f.required("type")?.one_of(&Dimension::ALL.map(|d| (d.name(), d)))?;
    let step: u32 = f.required("step_size")?.whole(0)?;
    let component = Component {
        dimension,
        price: price(&f.required("price")?)?,
        // A fee has no steps; the specification's own examples write 0 or 1 for it.
        step: if dimension == Dimension::Flat { 1 } else { step },
        vat_ppm: f.map("vat", |node| node.whole(PERCENT_PLACES))?,
    };
    f.finish(unknown);
    Ok(component)
}

fn restrictions(node: &Node<'_>, unknown: &mut Unknown) -> Result<Restrictions, TariffError> {
    let mut f = node.fields()?;
    let f_ref = &mut f;
    let mut milli = |name: &str| f_ref.map(name, |node| node.whole(MILLI_PLACES));
    let [min_wh, max_wh] = [milli("min_kwh")?, milli("max_kwh")?];
    let [min_ma, max_ma] = [milli("min_current")?, milli("max_current")?];
    let [min_w, max_w] = [milli("min_power")?, milli("max_power")?];
    let restrictions = Restrictions {
        start_time: f.map("start_time", minute)?,
        end_time: f.map("end_time", minute)?,
        start_date: f.map("start_date", day)?,
        end_date: f.map("end_date", day)?,
        min_wh,
        max_wh,
        min_ma,
        max_ma,
        min_w,
        max_w,
        min_s: f.map("min_duration", |node| node.whole(0))?,
        max_s: f.map("max_duration", |node| node.whole(0))?,
        days: f.map("day_of_week", days)?.unwrap_or(0),
        reservation: f.map("reservation", |node| node.one_of(&RESERVATIONS))?,
    };
    f.finish(unknown);
    Ok(restrictions)
}

pub(crate) fn minute(node: &Node<'_>) -> Result<u16, TariffError> {
    let text = node.string()?;
    let digits = |bytes: [u8; 2]| -> Option<u16> {
        bytes
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| u16::from(bytes[0] - b'0') * 10 + u16::from(bytes[1] - b'0'))
    };
    let read = match *text.as_bytes() {
        [a, b, b':', c, d] => digits([a, b]).zip(digits([c, d])),
        _ => None,
    };
    match read {
        Some((hour, minute)) if hour < 24 && minute < 60 => Ok(hour * 60 + minute),
        _ => Err(node.refuse("is no time of day like 13:30")),
    }
}

pub(crate) fn day(node: &Node<'_>) -> Result<Day, TariffError> {
    Day::parse(&node.string()?).ok_or_else(|| node.refuse("is no date like 2026-11-22"))
}

fn days(node: &Node<'_>) -> Result<u8, TariffError> {
    let names: Vec<(&str, u8)> = (0_u8..).zip(DAYS).map(|(bit, name)| (name, 1 << bit)).collect();
    let mut days = 0;
    for node in node.list()? {
        days |= node.one_of(&names)?;
    }
    Ok(days)
}
