//! Numbers that are possible and unlikely: steps, taxes, prices off by a hundred.

use super::{Code, Findings};
use crate::Language;
use crate::explain::money;
use crate::model::{Component, Dimension, Tariff, TaxIncluded};
use novax_model::{Currency, Micros};

pub(super) fn prices(tariff: &Tariff, findings: &mut Findings) {
    for (index, element) in tariff.elements.iter().enumerate() {
        for (at, component) in element.components.iter().enumerate() {
            let path = format!("elements[{index}].price_components[{at}]");
            step(component, &path, findings);
            vat(tariff, component, &path, findings);
            size(tariff.currency, component, &path, findings);
        }
    }
    vat_agrees(tariff, findings);
    limits(tariff, findings);
    let components = || tariff.elements.iter().flat_map(|element| &element.components);
    let says_free = components().any(|c| c.dimension == Dimension::Flat);
    let paid = |c: &Component| matches!(c.dimension, Dimension::Energy | Dimension::Time);
    if !says_free && !components().any(paid) {
        let words = "neither energy nor charging time nor a fee has a price";
        let to_do = "If charging is free, say so with a FLAT price of 0.00";
        findings.warn(Code::NoPrice, "elements", words, to_do);
    }
}

fn step(component: &Component, path: &str, findings: &mut Findings) {
    if component.step == 1 || component.dimension == Dimension::Flat {
        return;
    }
    let unit = if component.dimension == Dimension::Energy { "Wh" } else { "s" };
    let words = format!(
        "a session is rounded up to a multiple of {} {unit}; OCPI 3.0 takes steps away",
        component.step
    );
    findings.warn(Code::StepSize, &format!("{path}.step_size"), words, "Use 1");
}

fn vat(tariff: &Tariff, component: &Component, path: &str, findings: &mut Findings) {
    let Some(ppm) = component.vat_ppm else { return };
    let path = format!("{path}.vat");
    let rate = Language::En.percent(ppm.into());
    if tariff.tax_included == TaxIncluded::NotApplicable && ppm > 0 {
        let words = format!("the tariff says that no tax applies, this price says {rate}");
        findings.warn(Code::VatDisagrees, &path, words, "Keep one of both");
    }
    if ppm > 0 && ppm < 10_000 {
        let words = format!("a tax of {rate} is far below any country's");
        let to_do = "Write the percentage: 19, not 0.19";
        findings.warn(Code::VatUnlikely, &path, words, to_do);
    } else if ppm > 300_000 {
        let words = format!("a tax of {rate} is above any country's");
        findings.warn(Code::VatUnlikely, &path, words, "Check the percentage");
    }
}

/// One dimension should bear one tax: the same good does not change its rate with the hour.
fn vat_agrees(tariff: &Tariff, findings: &mut Findings) {
    for dimension in Dimension::ALL {
        let mut first: Option<(usize, Option<u32>)> = None;
        for (index, element) in tariff.elements.iter().enumerate() {
            let Some(component) = element.component(dimension) else { continue };
            let Some((earlier, vat)) = first else {
                first = Some((index, component.vat_ppm));
                continue;
            };
            if component.vat_ppm != vat {
                let name = dimension.name();
                let words = format!("the tax of {name} is not the one in elements[{earlier}]");
                let path = format!("elements[{index}].price_components");
                findings.warn(Code::VatDisagrees, &path, words, "Say the same tax in both");
            }
        }
    }
}

/// About what one euro is worth: only the order of size matters. None: not judged.
fn units_per_euro(currency: Currency) -> Option<i128> {
    Some(match currency.code() {
        "EUR" | "USD" | "GBP" | "CHF" | "AUD" | "CAD" => 1,
        "CNY" | "DKK" | "NOK" | "SEK" | "PLN" => 8,
        "CZK" => 25,
        "JPY" => 160,
        "HUF" => 400,
        "KRW" => 1_500,
        _ => return None,
    })
}

fn size(currency: Currency, component: &Component, path: &str, findings: &mut Findings) {
    let Some(units) = units_per_euro(currency) else { return };
    // In euro: least and most that is ever asked, and what it is asked for.
    let (least, most, unit) = match component.dimension {
        Dimension::Energy => (10_000, 5_000_000, "a kWh"),
        Dimension::Time | Dimension::ParkingTime => (10_000, 120_000_000, "an hour"),
        Dimension::Flat => (10_000, 100_000_000, "a session"),
    };
    let price = component.price.0;
    let path = format!("{path}.price");
    let shown = |micros: i128| money(Micros(micros), currency, Language::En);
    if price > most * units {
        let words = format!("{} for {unit} is far more than is ever asked", shown(price));
        let to_do = format!("If it is in minor units, write {}", shown(price / 100));
        findings.warn(Code::PriceUnlikely, &path, words, to_do);
    } else if price > 0 && price < least * units {
        let words = format!("{} for {unit} is far less than is ever asked", shown(price));
        let to_do = format!("If a decimal point slipped, write {}", shown(price * 100));
        findings.warn(Code::PriceUnlikely, &path, words, to_do);
    }
}

fn limits(tariff: &Tariff, findings: &mut Findings) {
    let Some(max) = tariff.max_price else { return };
    let always = tariff.elements.iter().filter(|element| element.restrictions.is_none());
    let fee = always.filter_map(|element| element.component(Dimension::Flat)).next();
    if let Some(fee) = fee.filter(|fee| fee.price > max.before_taxes) {
        let shown = |micros| money(micros, tariff.currency, Language::En);
        let words = format!(
            "a session costs at most {}, which is less than its fee of {}",
            shown(max.before_taxes),
            shown(fee.price)
        );
        findings.warn(Code::MaxBelowFee, "max_price", words, "Raise it or lower the fee");
    }
}
