//! Money for what was counted.
//!
//! A line is one component's volume times its price, rounded once, half up, to a millionth; a sum is
//! the sum of its lines. Minor units come later, with the tax rule of the country.

use super::adjust::Adjustment;
use super::state::{Kind, Rating, Total};
use crate::model::{Dimension, PriceLimit, Tariff, TaxIncluded};
use novax_model::{Currency, Micros};
use rkyv::{Archive, Deserialize, Serialize};

const SECOND_US: i64 = 1_000_000;

/// What a session costs.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Cost {
    /// What all amounts are in.
    pub currency: Currency,
    /// Whether lines and total hold tax.
    pub tax_included: TaxIncluded,
    /// One for each price that was used.
    pub lines: Vec<CostLine>,
    /// In the tariff's own terms (with tax or without), limits applied.
    pub total: Micros,
    /// Without tax, limits applied; absent where the tariff does not say the tax within its prices.
    pub before_taxes: Option<Micros>,
    /// With tax, limits applied; absent where the tariff does not say the tax.
    pub after_taxes: Option<Micros>,
    /// Which limits changed it.
    pub limits: Limits,
}

/// What one price came to.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct CostLine {
    /// Which element's price.
    pub element: u16,
    /// What was paid for.
    pub dimension: Dimension,
    /// Whether it was a reservation's.
    pub reserved: bool,
    /// Watt-hours, microseconds or 1.
    pub volume: i64,
    /// The same, in whole steps.
    pub billed_volume: i64,
    /// For a kWh, an hour or once; adjusted.
    pub price: Micros,
    /// Billed volume times price, in the tariff's own terms (with tax or without).
    pub amount: Micros,
    /// Tax in millionths, where the tariff says it.
    pub vat_ppm: Option<u32>,
}

/// Which bound took hold.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// It would have cost less.
    Min,
    /// It would have cost more.
    Max,
}

/// Bounds that took hold, each by itself.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// On the cost without tax.
    pub before_taxes: Option<Limit>,
    /// On the cost with tax.
    pub after_taxes: Option<Limit>,
}

impl Rating {
    /// What the session has cost up to its last reading. `at_end`: as if that was its end, with steps
    /// and the least price; otherwise what has been used so far.
    #[must_use]
    pub fn cost(&self, tariff: &Tariff, adjust: &Adjustment, at_end: bool) -> Cost {
        let mut lines = Vec::with_capacity(self.totals().len());
        for total in self.totals() {
            lines.push(line(tariff, adjust, total));
        }
        if at_end {
            self.fill_steps(tariff, &mut lines);
        }
        for line in &mut lines {
            line.amount = amount(line);
        }
        sum(tariff, lines, at_end)
    }

    /// Whole steps: once for energy, once for time, once for a reservation. Where parking cost
    /// something, only parking is rounded, else charging is. The last price used says the step. What
    /// is rounded is all of the session, also what had no price, and the last price is paid for what is
    /// missing.
    fn fill_steps(&self, tariff: &Tariff, lines: &mut [CostLine]) {
        for kind in [Kind::Energy, Kind::Time, Kind::Parking, Kind::Reserved] {
            if kind == Kind::Time && self.last_total(Kind::Parking).is_some() {
                continue;
            }
            let Some(last) = self.last_total(kind) else { continue };
            let used = self.used(kind);
            let Some(line) = lines.get_mut(last) else { continue };
            let step = tariff.component(line.element, line.dimension).map_or(1, |c| c.step);
            let unit = if kind == Kind::Energy { 1 } else { SECOND_US };
            // Energy given back is paid as it was measured.
            if used > 0 {
                let missing = (-used).rem_euclid(i64::from(step) * unit);
                line.billed_volume = line.billed_volume.saturating_add(missing);
            }
        }
    }
}

fn line(tariff: &Tariff, adjust: &Adjustment, total: &Total) -> CostLine {
    let component = tariff.component(total.element, total.dimension);
    let listed = component.map_or(Micros(0), |component| component.price);
    let price = match total.dimension {
        Dimension::Energy => adjust.energy(listed),
        Dimension::Flat => listed,
        Dimension::ParkingTime | Dimension::Time => adjust.time(listed),
    };
    CostLine {
        element: total.element,
        dimension: total.dimension,
        reserved: total.reserved,
        volume: total.volume,
        billed_volume: total.volume,
        price,
        amount: Micros(0),
        vat_ppm: component.and_then(|component| component.vat_ppm),
    }
}

fn amount(line: &CostLine) -> Micros {
    let volume = i128::from(line.billed_volume);
    Micros(match line.dimension {
        Dimension::Energy => ratio(line.price.0, volume, 1_000),
        Dimension::Flat => line.price.0 * volume,
        Dimension::ParkingTime | Dimension::Time => ratio(line.price.0, volume, 3_600_000_000),
    })
}

/// `value * times / by`, half away from zero.
pub(crate) fn ratio(value: i128, times: i128, by: i128) -> i128 {
    assert!(by > 0, "a divisor is positive");
    let product = value * times;
    // Most fit 64 bits, where dividing is several times faster.
    if let (Ok(product), Ok(by)) = (i64::try_from(product), i64::try_from(by)) {
        let (whole, rest) = (product / by, product % by);
        let up = i64::from(rest.unsigned_abs() * 2 >= by.unsigned_abs());
        return i128::from(whole + up * product.signum());
    }
    let (whole, rest) = (product / by, product % by);
    whole + i128::from(rest.unsigned_abs() * 2 >= by.unsigned_abs()) * product.signum()
}

fn sum(tariff: &Tariff, lines: Vec<CostLine>, at_end: bool) -> Cost {
    let listed: i128 = lines.iter().map(|line| line.amount.0).sum();
    let said = lines.iter().any(|line| line.vat_ppm.is_some());
    let taxes = |of: fn(i128, i128) -> i128| -> i128 {
        let of = |line: &CostLine| line.vat_ppm.map_or(0, |ppm| of(line.amount.0, i128::from(ppm)));
        lines.iter().map(of).sum()
    };
    let (before, after) = match tariff.tax_included {
        TaxIncluded::No => {
            let on_top = taxes(|amount, ppm| ratio(amount, ppm, 1_000_000));
            (Some(listed), said.then_some(listed + on_top))
        }
        TaxIncluded::Yes => {
            let within = taxes(|amount, ppm| ratio(amount, ppm, 1_000_000 + ppm));
            (said.then_some(listed - within), Some(listed))
        }
        TaxIncluded::NotApplicable => (Some(listed), Some(listed)),
    };
    let min = tariff.min_price.filter(|_| at_end);
    let (before_taxes, min_max_before) =
        bounded(before, min.map(before_of), tariff.max_price.map(before_of));
    let (after_taxes, min_max_after) =
        bounded(after, min.and_then(|min| min.after_taxes), after_of(tariff.max_price));
    let total = match tariff.tax_included {
        TaxIncluded::Yes => after_taxes,
        TaxIncluded::No | TaxIncluded::NotApplicable => before_taxes,
    };
    Cost {
        currency: tariff.currency,
        tax_included: tariff.tax_included,
        lines,
        total: total.unwrap_or(Micros(listed)),
        before_taxes,
        after_taxes,
        limits: Limits { before_taxes: min_max_before, after_taxes: min_max_after },
    }
}

fn before_of(limit: PriceLimit) -> Micros {
    limit.before_taxes
}

fn after_of(limit: Option<PriceLimit>) -> Option<Micros> {
    limit.and_then(|limit| limit.after_taxes)
}

fn bounded(
    value: Option<i128>,
    min: Option<Micros>,
    max: Option<Micros>,
) -> (Option<Micros>, Option<Limit>) {
    let Some(value) = value.map(Micros) else { return (None, None) };
    match (min, max) {
        (Some(min), _) if value < min => (Some(min), Some(Limit::Min)),
        (_, Some(max)) if value > max => (Some(max), Some(Limit::Max)),
        _ => (Some(value), None),
    }
}

/// `total * part / whole`, cut off; of no whole there is no part.
fn proportion(total: i128, mut part: i128, mut whole: i128) -> i128 {
    // Only sums beyond all money do not fit; then the proportion need not be exact either.
    while whole != 0 {
        if let Some(product) = total.checked_mul(part) {
            return product / whole;
        }
        (part, whole) = (part / 2, whole / 2);
    }
    0
}

impl Cost {
    /// The total by tax rate, in the tariff's own terms. What a limit changed is spread over the rates
    /// in proportion, so that the parts are exactly the total.
    #[must_use]
    pub fn by_rate(&self) -> Vec<(Option<u32>, Micros)> {
        let mut parts: Vec<(Option<u32>, Micros)> = Vec::with_capacity(2);
        for line in &self.lines {
            match parts.iter_mut().find(|(rate, _)| *rate == line.vat_ppm) {
                Some((_, part)) => part.0 += line.amount.0,
                None => parts.push((line.vat_ppm, line.amount)),
            }
        }
        let listed: i128 = parts.iter().map(|(_, part)| part.0).sum();
        if parts.is_empty() {
            parts.push((None, Micros(0)));
        }
        if listed == self.total.0 {
            return parts;
        }
        // The last part takes what rounding left, so nothing is lost.
        let mut rest = self.total.0;
        let last = parts.len() - 1;
        for (_, part) in parts.iter_mut().take(last) {
            part.0 = proportion(self.total.0, part.0, listed);
            rest -= part.0;
        }
        if let Some((_, part)) = parts.last_mut() {
            part.0 = rest;
        }
        parts
    }
}
