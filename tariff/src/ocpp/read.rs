//! From OCPP's tariff to ours.

use super::{DAYS, MINUTE_PLACES};
use crate::error::TariffError;
use crate::model::{
    Component, Dimension, Element, PriceLimit, Reservation, Restrictions, Tariff, Words,
};
use crate::ocpi::Parsed;
use crate::ocpi::json::{Fields, Node, Unknown, parse as parse_json};
use crate::ocpi::read::{PERCENT_PLACES, PRICE_PLACES, currency, day, minute, time};
use crate::rating::ratio;
use novax_model::Micros;

/// A price of one dimension and when it holds.
type Priced = (Component, Option<Restrictions>);

/// Reads a `TariffType`.
///
/// # Errors
/// [`TariffError`] with the path of what is wrong or cannot be kept.
pub fn parse(text: &str) -> Result<Parsed, TariffError> {
    let mut unknown = Unknown::default();
    let mut fields = parse_json(text)?.fields()?;
    let f = &mut fields;
    let id = f.required("tariffId")?.string_of(1, 60)?;
    let currency = currency(&f.required("currency")?)?;
    let blocks = [
        ("energy", Dimension::Energy, None),
        ("chargingTime", Dimension::Time, None),
        ("idleTime", Dimension::ParkingTime, None),
        ("fixedFee", Dimension::Flat, None),
        ("reservationTime", Dimension::Time, Some(Reservation::Reservation)),
        ("reservationFixed", Dimension::Flat, Some(Reservation::Reservation)),
    ];
    let mut priced = Vec::new();
    for (name, dimension, kind) in blocks {
        if let Some(node) = f.optional(name) {
            priced.push(block(&node, dimension, kind, &mut unknown)?);
        }
    }
    let mut tariff = Tariff::of(&id, currency, elements(priced));
    if let Some(node) = f.optional("description") {
        tariff.words = words(&node, &mut unknown)?;
    }
    tariff.valid_from = f.map("validFrom", time)?;
    // A limit that is given with tax only binds with tax only.
    tariff.min_price = limit(f, "minCost", &mut unknown, |_| Micros(0))?;
    tariff.max_price = limit(f, "maxCost", &mut unknown, |with_tax| with_tax)?;
    f.optional("customData");
    fields.finish(&mut unknown);
    tariff.check()?;
    Ok(Parsed { tariff, unknown })
}

/// All prices of a dimension, each with the taxes of the block.
fn block(
    node: &Node<'_>,
    dimension: Dimension,
    kind: Option<Reservation>,
    unknown: &mut Unknown,
) -> Result<Vec<Priced>, TariffError> {
    let mut f = node.fields()?;
    let vat_ppm = f.optional("taxRates").map(|node| taxes(&node, unknown)).transpose()?;
    let list = f.required("prices")?;
    let prices = list.list()?;
    if prices.is_empty() {
        return Err(list.refuse("is empty"));
    }
    let mut out = Vec::with_capacity(prices.len());
    for node in prices {
        let mut f = node.fields()?;
        let price = match dimension {
            Dimension::Energy => Micros(f.required("priceKwh")?.decimal(PRICE_PLACES)?),
            Dimension::Flat => Micros(f.required("priceFixed")?.decimal(PRICE_PLACES)?),
            Dimension::Time | Dimension::ParkingTime => per_hour(&f.required("priceMinute")?)?,
        };
        let restrictions = match f.optional("conditions") {
            Some(node) => Some(conditions(&node, dimension, unknown)?),
            None => None,
        };
        let restrictions = match (restrictions, kind) {
            (None, None) => None,
            (r, reservation) => Some(Restrictions { reservation, ..r.unwrap_or_default() }),
        };
        f.optional("customData");
        f.finish(unknown);
        out.push((Component { vat_ppm, ..Component::new(dimension, price) }, restrictions));
    }
    f.optional("customData");
    f.finish(unknown);
    Ok(out)
}

fn per_hour(node: &Node<'_>) -> Result<Micros, TariffError> {
    let minute = node.decimal(MINUTE_PLACES)?;
    let scale = 10_i128.pow(MINUTE_PLACES - PRICE_PLACES);
    match minute.checked_mul(60) {
        Some(hour) => Ok(Micros(ratio(hour, 1, scale))),
        None => Err(node.refuse("is beyond all measure")),
    }
}

/// Prices without conditions end their dimension's list as a rule, and then share one element: the
/// common tariff stays simple and fast to rate.
fn elements(blocks: Vec<Vec<Priced>>) -> Vec<Element> {
    let simple = blocks.iter().all(|prices| {
        prices.split_last().is_none_or(|(_, rest)| rest.iter().all(|(_, r)| r.is_some()))
    });
    let mut out = Vec::new();
    let mut always = Vec::new();
    for (component, restrictions) in blocks.into_iter().flatten() {
        if simple && restrictions.is_none() {
            always.push(component);
        } else {
            out.push(Element { components: vec![component], restrictions });
        }
    }
    if !always.is_empty() {
        out.push(Element { components: always, restrictions: None });
    }
    out
}

/// Stacked taxes as one: those of a level apply together to the price with all lower levels.
fn taxes(node: &Node<'_>, unknown: &mut Unknown) -> Result<u32, TariffError> {
    let mut levels: Vec<(i64, i128)> = Vec::new();
    let list = node.list()?;
    if list.is_empty() || list.len() > 5 {
        return Err(node.refuse("has not one to five taxes"));
    }
    for node in list {
        let mut f = node.fields()?;
        f.required("type")?.string_of(1, 20)?;
        let tax = f.required("tax")?;
        let ppm = tax.decimal(PERCENT_PLACES)?;
        if !(0..=1_000_000).contains(&ppm) {
            return Err(tax.refuse("is not 0 to 100 %"));
        }
        let level = f.map("stack", |node| node.whole::<i64>(0))?.unwrap_or(0);
        f.optional("customData");
        f.finish(unknown);
        levels.push((level, ppm));
    }
    levels.sort_by_key(|(level, _)| *level);
    let mut with_tax: i128 = 1_000_000;
    for level in levels.chunk_by(|a, b| a.0 == b.0) {
        let together: i128 = level.iter().map(|(_, ppm)| ppm).sum();
        let grown = with_tax * (1_000_000 + together);
        if grown % 1_000_000 != 0 {
            return Err(node.refuse("comes to a tax finer than a millionth"));
        }
        with_tax = grown / 1_000_000;
    }
    u32::try_from(with_tax - 1_000_000).map_err(|_| node.refuse("is beyond all measure"))
}

fn conditions(
    node: &Node<'_>,
    dimension: Dimension,
    unknown: &mut Unknown,
) -> Result<Restrictions, TariffError> {
    let mut f = node.fields()?;
    for name in [
        "evseKind",
        "paymentBrand",
        "paymentRecognition",
        "minChargingTime",
        "maxChargingTime",
        "minIdleTime",
        "maxIdleTime",
    ] {
        if let Some(node) = f.optional(name) {
            return Err(node.refuse("is a condition that cannot be kept here"));
        }
    }
    let mut r = Restrictions {
        start_time: f.map("startTimeOfDay", minute)?,
        end_time: f.map("endTimeOfDay", minute)?,
        start_date: f.map("validFromDate", day)?,
        end_date: f.map("validToDate", day)?,
        days: f.map("dayOfWeek", days)?.unwrap_or(0),
        ..Restrictions::default()
    };
    if dimension != Dimension::Flat {
        r.min_wh = measure(&mut f, "minEnergy", 0)?;
        r.max_wh = measure(&mut f, "maxEnergy", 0)?;
        r.min_ma = measure(&mut f, "minCurrent", 3)?;
        r.max_ma = measure(&mut f, "maxCurrent", 3)?;
        r.min_w = measure(&mut f, "minPower", 0)?;
        r.max_w = measure(&mut f, "maxPower", 0)?;
        r.min_s = f.map("minTime", |node| node.whole(0))?;
        r.max_s = f.map("maxTime", |node| node.whole(0))?;
    }
    f.optional("customData");
    f.finish(unknown);
    Ok(r)
}

fn measure(f: &mut Fields<'_>, name: &str, places: u32) -> Result<Option<i64>, TariffError> {
    f.map(name, |node| {
        let value: i64 = node.whole(places)?;
        if value < 0 {
            return Err(node.refuse("is for energy fed back, whose price cannot be kept here"));
        }
        Ok(value)
    })
}

fn days(node: &Node<'_>) -> Result<u8, TariffError> {
    let words: Vec<(&str, u8)> = DAYS.iter().copied().zip(0..7).collect();
    node.list()?.iter().try_fold(0, |bits, node| Ok(bits | 1 << node.one_of(&words)?))
}

fn limit(
    f: &mut Fields<'_>,
    name: &str,
    unknown: &mut Unknown,
    without: impl Fn(Micros) -> Micros,
) -> Result<Option<PriceLimit>, TariffError> {
    let Some(node) = f.optional(name) else { return Ok(None) };
    let mut f = node.fields()?;
    let price = |node: &Node<'_>| node.decimal(PRICE_PLACES).map(Micros);
    let before = f.map("exclTax", price)?;
    let after_taxes = f.map("inclTax", price)?;
    f.optional("taxRates");
    f.optional("customData");
    f.finish(unknown);
    match before.or(after_taxes.map(without)) {
        Some(before_taxes) => Ok(Some(PriceLimit { before_taxes, after_taxes })),
        None => Err(node.refuse("has neither exclTax nor inclTax")),
    }
}

/// Texts that can be kept; pages and pictures count as unknown.
fn words(node: &Node<'_>, unknown: &mut Unknown) -> Result<Vec<Words>, TariffError> {
    let mut out = Vec::new();
    for node in node.list()? {
        let mut f = node.fields()?;
        let plain =
            [("ASCII", true), ("UTF8", true), ("HTML", false), ("URI", false), ("QRCODE", false)];
        let is_text = f.required("format")?.one_of(&plain)?;
        let language = f.map("language", |node| node.string_of(1, 8))?;
        let text = f.required("content")?.string_of(0, 1_024)?;
        f.optional("customData");
        f.finish(unknown);
        if is_text {
            out.push(Words { language: language.unwrap_or_else(|| "en".into()), text });
        } else {
            unknown.count += 1;
        }
    }
    Ok(out)
}
