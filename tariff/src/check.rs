//! Whether a tariff can be rated: bounds of every list, of every number, and that ranges are ranges.
//!
//! This refuses what has no meaning. What has one that its author hardly meant is for the linter.

use crate::error::TariffError;
use crate::model::{
    ALL_DAYS, COMPONENTS_MAX, Component, DAY_MINUTES, Dimension, ELEMENTS_MAX, Element,
    ID_BYTES_MAX, PRICE_MAX, PriceLimit, Restrictions, STEP_MAX, TEXT_BYTES_MAX, Tariff,
    VAT_PPM_MAX, WORDS_MAX,
};
use novax_model::Micros;

type Checked = Result<(), TariffError>;

/// The greatest bound a restriction may have: far beyond any session, far below an overflow.
pub(crate) const BOUND_MAX: i64 = 1_000_000_000_000;

/// Checks all of a tariff.
pub(crate) fn check(tariff: &Tariff) -> Checked {
    length("id", tariff.id.len(), 1, ID_BYTES_MAX)?;
    if let Some(party) = &tariff.party {
        length("country_code", party.country.len(), 2, 2)?;
        length("party_id", party.party.len(), 1, 3)?;
    }
    length("elements", tariff.elements.len(), 1, ELEMENTS_MAX)?;
    for (index, element) in tariff.elements.iter().enumerate() {
        check_element(element, &format!("elements[{index}]"))?;
    }
    limit(tariff.min_price, "min_price")?;
    limit(tariff.max_price, "max_price")?;
    check_limits(tariff)?;
    if let (Some(from), Some(until)) = (tariff.valid_from, tariff.valid_until)
        && from >= until
    {
        return Err(TariffError::invalid("end_date_time", "is not after start_date_time"));
    }
    length("tariff_alt_text", tariff.words.len(), 0, WORDS_MAX)?;
    for (index, words) in tariff.words.iter().enumerate() {
        length(&format!("tariff_alt_text[{index}].language"), words.language.len(), 1, 16)?;
        length(&format!("tariff_alt_text[{index}].text"), words.text.len(), 0, TEXT_BYTES_MAX)?;
    }
    length("tariff_alt_url", tariff.url.as_ref().map_or(0, |url| url.len()), 0, TEXT_BYTES_MAX)?;
    let mix = tariff.energy_mix.as_ref().map_or(0, |mix| mix.len());
    length("energy_mix", mix, 0, 4 * TEXT_BYTES_MAX)?;
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if !tariff.energy_mix.as_deref().is_none_or(is_json) {
        return Err(TariffError::invalid("energy_mix", "is no JSON"));
    }
    tariff.hold.map_or(Ok(()), |hold| price(hold, "hold"))
}

fn check_limits(tariff: &Tariff) -> Checked {
    let (Some(min), Some(max)) = (tariff.min_price, tariff.max_price) else { return Ok(()) };
    let after = |limit: PriceLimit| limit.after_taxes;
    let crossed = after(min).zip(after(max)).is_some_and(|(min, max)| min > max);
    if min.before_taxes > max.before_taxes || crossed {
        return Err(TariffError::invalid("min_price", "is more than max_price"));
    }
    Ok(())
}

fn limit(limit: Option<PriceLimit>, path: &str) -> Checked {
    let Some(limit) = limit else { return Ok(()) };
    price(limit.before_taxes, path)?;
    let Some(after) = limit.after_taxes else { return Ok(()) };
    price(after, path)?;
    if after < limit.before_taxes {
        return Err(TariffError::invalid(path, "is less with tax than without"));
    }
    Ok(())
}

fn check_element(element: &Element, path: &str) -> Checked {
    length(&format!("{path}.price_components"), element.components.len(), 1, COMPONENTS_MAX)?;
    for (index, component) in element.components.iter().enumerate() {
        let path = format!("{path}.price_components[{index}]");
        check_component(component, &path)?;
        let earlier = element.components.iter().take(index);
        if earlier.into_iter().any(|other| other.dimension == component.dimension) {
            let name = component.dimension.name();
            let what = format!("is the second price of {name} in one element: only one can hold");
            return Err(TariffError::invalid(path, what));
        }
    }
    let Some(restrictions) = &element.restrictions else { return Ok(()) };
    check_restrictions(restrictions, &format!("{path}.restrictions"))?;
    let timed = |c: &Component| matches!(c.dimension, Dimension::Flat | Dimension::Time);
    if restrictions.reservation.is_some() && !element.components.iter().all(timed) {
        let what = "a reservation can only cost FLAT and TIME";
        return Err(TariffError::invalid(format!("{path}.price_components"), what));
    }
    Ok(())
}

fn check_component(component: &Component, path: &str) -> Checked {
    price(component.price, &format!("{path}.price"))?;
    let step = component.step;
    if step == 0 || step > STEP_MAX {
        let what = format!("is {step}: a step is 1 to {STEP_MAX}");
        return Err(TariffError::invalid(format!("{path}.step_size"), what));
    }
    if component.dimension == Dimension::Flat && step != 1 {
        return Err(TariffError::invalid(format!("{path}.step_size"), "FLAT has no steps"));
    }
    if component.vat_ppm.is_some_and(|vat| vat > VAT_PPM_MAX) {
        return Err(TariffError::invalid(format!("{path}.vat"), "is more than 100 %"));
    }
    Ok(())
}

fn check_restrictions(r: &Restrictions, path: &str) -> Checked {
    let minute = |minute: Option<u16>, name: &str| match minute {
        Some(minute) if minute >= DAY_MINUTES => {
            Err(TariffError::invalid(format!("{path}.{name}"), "is no time of a day"))
        }
        _ => Ok(()),
    };
    minute(r.start_time, "start_time")?;
    minute(r.end_time, "end_time")?;
    let day = |day: Option<crate::model::Day>| day.map(|day| i64::from(day.0));
    let seconds = |s: Option<u32>| s.map(i64::from);
    range(r.min_wh, r.max_wh, path, "kwh")?;
    range(r.min_ma, r.max_ma, path, "current")?;
    range(r.min_w, r.max_w, path, "power")?;
    range(seconds(r.min_s), seconds(r.max_s), path, "duration")?;
    if let (Some(from), Some(until)) = (day(r.start_date), day(r.end_date))
        && from >= until
    {
        return Err(TariffError::invalid(format!("{path}.end_date"), "is not after start_date"));
    }
    if r.days & !ALL_DAYS != 0 {
        return Err(TariffError::invalid(
            format!("{path}.day_of_week"),
            "has more than seven days",
        ));
    }
    Ok(())
}

fn range(min: Option<i64>, max: Option<i64>, path: &str, name: &str) -> Checked {
    for (bound, end) in [(min, "min"), (max, "max")] {
        if bound.is_some_and(|bound| !(0..=BOUND_MAX).contains(&bound)) {
            let what = format!("is not 0 to {BOUND_MAX} of the smallest unit");
            return Err(TariffError::invalid(format!("{path}.{end}_{name}"), what));
        }
    }
    if min.zip(max).is_some_and(|(min, max)| min >= max) {
        let what = format!("is not more than min_{name}: the element could never hold");
        return Err(TariffError::invalid(format!("{path}.max_{name}"), what));
    }
    Ok(())
}

fn price(price: Micros, path: &str) -> Checked {
    if price < Micros(0) || price > PRICE_MAX {
        let what = format!("is not 0 to {} of the currency", PRICE_MAX.0 / 1_000_000);
        return Err(TariffError::invalid(path, what));
    }
    Ok(())
}

fn length(path: &str, is: usize, least: usize, most: usize) -> Checked {
    if (least..=most).contains(&is) {
        return Ok(());
    }
    Err(TariffError::invalid(path, format!("has {is} parts: {least} to {most} are possible")))
}
