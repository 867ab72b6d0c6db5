//! Costs of a record in the words of its version.

use super::{OcpiVersion, PLACES};
use crate::decimal::share_out;
use crate::facts::{LineFacts, Minor, SessionFacts, TaxFacts};
use crate::json::Json;

/// A price and its taxes.
pub(super) struct Cost {
    pub(super) net: Minor,
    pub(super) taxes: Vec<TaxFacts>,
}

impl Cost {
    /// What some lines come to; the tax of each is shared out over its category's taxes.
    pub(super) fn of_lines<'a>(
        facts: &SessionFacts,
        lines: impl Iterator<Item = &'a LineFacts>,
    ) -> Cost {
        let mut cost = Cost { net: 0, taxes: Vec::new() };
        for line in lines {
            cost.net += line.net;
            let Some(category) = facts.categories.get(line.category) else { continue };
            let weights: Vec<u32> = category.taxes.iter().map(|tax| tax.ppm).collect();
            for (tax, amount) in category.taxes.iter().zip(share_out(line.tax, &weights)) {
                add_tax(&mut cost.taxes, &TaxFacts { amount, ..tax.clone() });
            }
        }
        cost
    }

    pub(super) fn write(&self, json: &mut Json, name: &str, version: OcpiVersion, places: u8) {
        let tax: Minor = self.taxes.iter().map(|tax| tax.amount).sum();
        json.object(name, |json| match version {
            OcpiVersion::V221 => {
                json.number("excl_vat", self.net, places);
                json.number("incl_vat", self.net + tax, places);
            }
            OcpiVersion::V230 => {
                json.number("before_taxes", self.net, places);
                if self.taxes.is_empty() {
                    return;
                }
                json.array("taxes", |json| {
                    for tax in &self.taxes {
                        json.item(|json| {
                            json.text("name", &tax.name);
                            json.number("percentage", tax.ppm.into(), PLACES);
                            json.number("amount", tax.amount, places);
                        });
                    }
                });
            }
        });
    }
}

pub(super) fn all_taxes(facts: &SessionFacts) -> Vec<TaxFacts> {
    let mut taxes = Vec::new();
    for tax in facts.categories.iter().flat_map(|category| &category.taxes) {
        add_tax(&mut taxes, tax);
    }
    taxes
}

pub(super) fn add_tax(taxes: &mut Vec<TaxFacts>, tax: &TaxFacts) {
    match taxes.iter_mut().find(|known| known.name == tax.name && known.ppm == tax.ppm) {
        Some(known) => known.amount += tax.amount,
        None => taxes.push(tax.clone()),
    }
}
