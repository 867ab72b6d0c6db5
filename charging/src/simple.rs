//! The common terms of a site in one line: so much a kWh, so much a session, one rate of tax, and
//! shares for the owner of the ground, the platform and the operator.

use crate::command::SiteTerms;
use crate::hash::key128;
use novax_model::{Amount, Currency, Identity, Micros, Timestamp};
use novax_settlement::{PartyId, Purpose, RevenueContract, Rule, Step};
use novax_tariff::{Component, Dimension, Element, Tariff};

/// What a simple site charges. Amounts are in minor units, prices before tax.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SimpleTerms {
    /// Of all its amounts.
    pub currency: Currency,
    /// Per kWh, in thousandths of a minor unit: 39.5 cents is 39 500.
    pub energy_millis_per_kwh: u64,
    /// Once per session.
    pub session_fee: Amount,
    /// Tax on the net sum, in hundredths of a percent: 19 % is 1 900.
    pub tax_basis_points: u32,
    /// Held before a start, and each time the hold is raised.
    pub hold: Amount,
    /// The site host's share of the net sum, in hundredths of a percent.
    pub site_host_basis_points: u32,
    /// The platform's share, in hundredths of a percent. The operator has the rest.
    pub platform_basis_points: u32,
}

/// Parts per million in a hundredth of a percent.
const PPM: u32 = 100;

impl SimpleTerms {
    /// As a tariff and a contract of this site. Bounds are checked where they are put in force.
    #[must_use]
    pub fn terms(&self, site: &Identity) -> SiteTerms {
        let scale = 10_i128.pow(6 - u32::from(self.currency.exponent()));
        let micros =
            |minor: Amount| Micros(i128::try_from(minor).unwrap_or(i128::MAX / scale) * scale);
        let vat_ppm = Some(self.tax_basis_points.saturating_mul(PPM));
        // Half a millionth up, where a currency has more places than millionths have.
        let energy = (i128::from(self.energy_millis_per_kwh) * scale + 500) / 1_000;
        let mut components =
            vec![Component { vat_ppm, ..Component::new(Dimension::Energy, Micros(energy)) }];
        if self.session_fee > 0 {
            let fee = Component::new(Dimension::Flat, micros(self.session_fee));
            components.push(Component { vat_ppm, ..fee });
        }
        let elements = vec![Element { components, restrictions: None }];
        let tariff = Tariff {
            hold: Some(micros(self.hold)),
            ..Tariff::of(site.as_str(), self.currency, elements)
        };
        let party = |name: &str| Identity::new(name).expect("printable ASCII");
        // A name too long for what stands before it goes by its hash.
        let host = Identity::new(&format!("site-host/{site}"));
        let hash = || format!("site-host/{:032x}", key128(&[site.as_str().as_bytes()]));
        let host = host.unwrap_or_else(|_| party(&hash()));
        let share = |party, purpose, basis_points: u32| Step {
            party,
            purpose,
            rule: Rule::PercentOfNet { ppm: basis_points.saturating_mul(PPM) },
            roaming_only: false,
        };
        let [operator, site_host, platform] = [PartyId(0), PartyId(1), PartyId(2)];
        let contract = RevenueContract {
            id: site.clone(),
            from: Timestamp::ZERO,
            until: Timestamp::MAX,
            currency: self.currency,
            parties: vec![party("operator"), host, party("platform")],
            residual: operator,
            residual_purpose: Purpose::Operator,
            steps: vec![
                share(site_host, Purpose::SiteHost, self.site_host_basis_points),
                share(platform, Purpose::Platform, self.platform_basis_points),
            ],
            terms: Vec::new(),
        };
        SiteTerms { tariff, contract, rules: None }
    }
}
