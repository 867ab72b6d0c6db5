//! What a session of the load costs, and who gets what of it: a tariff of three elements, German tax, a
//! contract of five parties.

use super::failed;
use crate::error::Result;
use novax_model::{Amount, Currency, Micros, Timestamp, WattHours};
use novax_settlement::{
    Base, Country, Priced, RevenueContract, RoundingPolicy, Share, TaxLine, Treatment, apply,
    split_into,
};
use novax_tariff::{
    Adjustment, Component, Cost, Dimension, Element, Rating, Reading, Restrictions, Tariff, Zone,
};

/// Parties that share each session.
pub(crate) const PARTIES: usize = 5;

const CONTRACT: &str = r#"
id = "site-5"
from = "2026-01-01T00:00:00Z"
currency = "EUR"
parties = ["cpo", "host", "supplier", "platform", "hub"]
residual = "cpo"
steps = [
    { party = "supplier", purpose = "electricity", rule = "per_kwh", price = "0.18" },
    { party = "hub", purpose = "roaming", rule = "fixed_per_session", amount = "0.25", roaming_only = true },
    { party = "platform", purpose = "platform", rule = "percent_of_net", percent = "5" },
    { party = "host", purpose = "site_host", rule = "percent_of_rest", percent = "40" },
]
"#;

/// The first session's start: 2026-01-01.
const BEGIN_US: u64 = 1_767_225_600_000_000;
const MINUTE_US: u64 = 60_000_000;
/// Starts are seven minutes apart, so that they fall on all hours; after 16 months they begin anew.
const STARTS: u64 = 100_000;
const ENERGY_WH: i64 = 8_250;
/// Minute, register, whether the vehicle charges: the readings after the first.
const READINGS: [(u64, i64, bool); 4] =
    [(15, 2_750, true), (30, 5_500, true), (45, ENERGY_WH, false), (70, ENERGY_WH, false)];

/// What a session comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bill {
    pub(crate) gross: Amount,
    pub(crate) tax: Amount,
    /// Of what is left without the tax.
    pub(crate) shares: Vec<Share>,
}

/// By what sessions are priced.
#[derive(Debug)]
pub(crate) struct Prices {
    tariff: Tariff,
    zone: Zone,
    treatment: Treatment,
    rounding: RoundingPolicy,
    contract: RevenueContract,
}

impl Prices {
    pub(crate) fn new() -> Result<Prices> {
        let tariff = tariff();
        tariff.check().map_err(failed)?;
        let line = TaxLine { name: "VAT".into(), ppm: 190_000 };
        let treatment = Treatment {
            rule: "DE-2021-01-01".into(),
            lines: vec![line.clone()],
            listed: vec![line],
            reverse_charge: false,
            words: "a consumer pays the tax of the place".into(),
        };
        Ok(Prices {
            tariff,
            zone: Zone::get("Europe/Berlin").map_err(failed)?,
            treatment,
            rounding: RoundingPolicy::of(Country::new("DE").map_err(failed)?),
            contract: RevenueContract::from_toml(CONTRACT).map_err(failed)?,
        })
    }

    /// Start, four readings, the final cost.
    pub(crate) fn rate(&self, session: u64) -> Cost {
        let start = BEGIN_US + session % STARTS * 7 * MINUTE_US;
        let reading = |minute: u64, wh: i64, charging: bool| Reading {
            at: Timestamp(start + minute * MINUTE_US),
            register_wh: WattHours(1_000_000 + wh),
            power_w: Some(11_000),
            current_ma: None,
            charging,
        };
        let mut rating = Rating::start(&self.tariff, &self.zone, None, reading(0, 0, true));
        for (minute, wh, charging) in READINGS {
            rating.advance(&self.tariff, &self.zone, reading(minute, wh, charging));
        }
        rating.cost(&self.tariff, &Adjustment::NONE, true)
    }

    /// Rates, taxes and splits a session.
    pub(crate) fn bill(&self, session: u64, bill: &mut Bill) -> Result<()> {
        let cost = self.rate(session);
        let price = |amount| Priced { amount, tax_ppm: None };
        let mut priced = [price(Micros(0)); 8];
        let lines = cost.lines.len().min(priced.len());
        assert_eq!(lines, cost.lines.len(), "the tariff has few prices");
        for (slot, line) in priced.iter_mut().zip(&cost.lines) {
            *slot = price(line.amount);
        }
        let taxed = apply(&self.treatment, cost.currency, false, &priced[..lines], self.rounding)
            .map_err(failed)?;
        (bill.gross, bill.tax) = (taxed.gross, taxed.tax);
        let base = Base::new(taxed.gross, taxed.net, WattHours(ENERGY_WH), true);
        split_into(&self.contract, &base, &mut bill.shares);
        Ok(())
    }
}

/// A night, a fee to start, and parking after four hours.
fn tariff() -> Tariff {
    let price = |dimension, cents: i128| Component::new(dimension, Micros(cents * 10_000));
    let night = Restrictions {
        start_time: Some(22 * 60),
        end_time: Some(6 * 60),
        ..Restrictions::default()
    };
    let long = Restrictions { min_s: Some(4 * 3_600), ..Restrictions::default() };
    let element = |components, restrictions| Element { components, restrictions };
    Tariff::of(
        "bench",
        Currency::EUR,
        vec![
            element(vec![price(Dimension::Energy, 29)], Some(night)),
            element(vec![price(Dimension::Energy, 39), price(Dimension::Flat, 50)], None),
            element(vec![price(Dimension::ParkingTime, 200)], Some(long)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_by_day_costs_what_one_works_out_by_hand() {
        let prices = Prices::new().expect("sound");
        let mut bill = Bill::default();
        // Session 120 starts 14 hours after one in the morning, Berlin's time: 8.25 kWh at 0.39, and
        // 0.50 to start, are 3.7175 net and 0.71 of tax on 3.72.
        prices.bill(120, &mut bill).expect("it is priced");
        assert_eq!((bill.gross, bill.tax), (443, 71));
        let mut shares: Vec<_> =
            bill.shares.iter().map(|share| (share.party.0, share.amount)).collect();
        shares.sort_unstable();
        // 8.25 kWh at 0.18; 0.25; five percent of 3.72; of the 1.79 left 40 percent; the rest.
        assert_eq!(shares, [(0, 107), (1, 72), (2, 149), (3, 19), (4, 25)]);
        // The first session is at one in the morning.
        prices.bill(0, &mut bill).expect("it is priced");
        assert!(bill.gross < 443 && bill.shares.len() == PARTIES);
    }
}
