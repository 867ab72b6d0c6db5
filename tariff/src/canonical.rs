//! The bytes a tariff is hashed as, and its hash.
//!
//! A session keeps the hash of the tariff it was started with, so that years later it can be shown
//! which prices a driver agreed to. The form is in `docs/formats/tariff.md`; it never changes, a new
//! one gets a new first byte.

use crate::model::{
    Component, Day, Element, PriceLimit, Reservation, Restrictions, Tariff, TariffKind, TaxIncluded,
};
use novax_model::{Micros, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

const VERSION: u8 = 1;

/// SHA-256 of a tariff's canonical bytes.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub struct TariffHash(pub [u8; 32]);

impl fmt::Display for TariffHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Tariff {
    /// Its hash: equal for equal tariffs, on every machine and for good.
    #[must_use]
    pub fn hash(&self) -> TariffHash {
        TariffHash(Sha256::digest(self.canonical()).into())
    }

    /// Its canonical bytes.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Out(vec![VERSION]);
        out.text(&self.id);
        out.option(self.party.as_ref(), |out, party| {
            out.text(&party.country);
            out.text(&party.party);
        });
        out.0.extend(self.currency.bytes());
        out.0.push(kind(self.kind));
        out.0.push(tax(self.tax_included));
        out.list(&self.elements, Out::element);
        out.option(self.min_price, Out::limit);
        out.option(self.max_price, Out::limit);
        out.option(self.valid_from, Out::time);
        out.option(self.valid_until, Out::time);
        out.list(&self.words, |out, words| {
            out.text(&words.language);
            out.text(&words.text);
        });
        out.option(self.url.as_deref(), Out::text);
        out.option(self.hold, Out::price);
        out.option(self.energy_mix.as_deref(), Out::text);
        out.time(self.updated);
        out.0
    }
}

struct Out(Vec<u8>);

impl Out {
    fn count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("a tariff's lists and texts are bounded");
        self.0.extend(count.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Out, T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Out, &T)) {
        self.count(values.len());
        for value in values {
            write(self, value);
        }
    }

    fn price(&mut self, price: Micros) {
        self.0.extend(price.0.to_le_bytes());
    }

    fn time(&mut self, at: Timestamp) {
        self.0.extend(at.0.to_le_bytes());
    }

    fn limit(&mut self, limit: PriceLimit) {
        self.price(limit.before_taxes);
        self.option(limit.after_taxes, Out::price);
    }

    fn element(&mut self, element: &Element) {
        self.list(&element.components, Out::component);
        self.option(element.restrictions.as_ref(), Out::restrictions);
    }

    fn component(&mut self, component: &Component) {
        self.0.push(component.dimension as u8);
        self.price(component.price);
        self.0.extend(component.step.to_le_bytes());
        self.option(component.vat_ppm, |out, vat| out.0.extend(vat.to_le_bytes()));
    }

    fn restrictions(&mut self, r: &Restrictions) {
        for minute in [r.start_time, r.end_time] {
            self.option(minute, |out, minute| out.0.extend(minute.to_le_bytes()));
        }
        for day in [r.start_date, r.end_date] {
            self.option(day, |out, Day(day)| out.0.extend(day.to_le_bytes()));
        }
        for bound in [r.min_wh, r.max_wh, r.min_ma, r.max_ma, r.min_w, r.max_w] {
            self.option(bound, |out, bound| out.0.extend(bound.to_le_bytes()));
        }
        for seconds in [r.min_s, r.max_s] {
            self.option(seconds, |out, seconds| out.0.extend(seconds.to_le_bytes()));
        }
        self.0.push(r.days);
        self.0.push(match r.reservation {
            None => 0,
            Some(Reservation::Reservation) => 1,
            Some(Reservation::Expires) => 2,
        });
    }
}

fn kind(kind: TariffKind) -> u8 {
    match kind {
        TariffKind::Any => 0,
        TariffKind::AdHocPayment => 1,
        TariffKind::ProfileCheap => 2,
        TariffKind::ProfileFast => 3,
        TariffKind::ProfileGreen => 4,
        TariffKind::Regular => 5,
    }
}

fn tax(tax: TaxIncluded) -> u8 {
    match tax {
        TaxIncluded::No => 0,
        TaxIncluded::Yes => 1,
        TaxIncluded::NotApplicable => 2,
    }
}
