//! The price of a session and its split, thin: a flat price per kWh and a session fee.

use novax_model::{Amount, Currency};
use rkyv::{Archive, Deserialize, Serialize};

/// A price list. Prices are before tax.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Tariff {
    /// The currency of all its amounts.
    pub currency: Currency,
    /// Per kWh, in thousandths of a minor unit: 39.5 cents is 39 500.
    pub energy_millis_per_kwh: u64,
    /// Once per session, in minor units.
    pub session_fee: Amount,
    /// Tax on the net sum, in hundredths of a percent: 19 % is 1 900.
    pub tax_basis_points: u32,
    /// What is held before a start, and each time the hold is raised.
    pub hold: Amount,
}

/// How the net revenue of a session is split. The operator has what is left.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct SplitRule {
    /// The site host's share, in hundredths of a percent.
    pub site_host_basis_points: u32,
    /// The platform's share, in hundredths of a percent.
    pub platform_basis_points: u32,
}

/// What a session costs, in minor units.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Charges {
    /// For the energy.
    pub energy: Amount,
    /// For the session.
    pub fee: Amount,
    /// Tax on both.
    pub tax: Amount,
}

impl Charges {
    /// Before tax.
    #[must_use]
    pub fn net(&self) -> Amount {
        self.energy + self.fee
    }

    /// What the driver pays.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.energy + self.fee + self.tax
    }
}
