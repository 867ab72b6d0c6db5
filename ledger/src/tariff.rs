//! The price of a session and its split, thin: a flat price per kWh and a session fee.
//!
//! Integers only. Each component is rounded once, half up, to a minor unit; a split loses nothing.
//! Neither can fail: a tariff within [`Tariff::check`] never comes near the bounds, and one that is
//! not is cut off at [`COMPONENT_MAX`] instead of stopping every replica.

use novax_model::{Amount, Currency, WattHours};
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

    /// What the driver pays: net and tax.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.energy + self.fee + self.tax
    }
}

/// The most any component of a charge comes to, in minor units.
pub const COMPONENT_MAX: Amount = 1 << 96;

/// The highest price per kWh, in thousandths of a minor unit: ten million a kWh.
const ENERGY_MILLIS_MAX: u64 = 1_000_000_000_000;
/// The highest session fee and hold, in minor units.
const FEE_MAX: Amount = 1_000_000_000_000;
/// All of it, in hundredths of a percent.
const WHOLE_BASIS_POINTS: u32 = 10_000;

/// Why a tariff or a split rule must not be put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTariff {
    /// Nobody charges that much per kWh.
    #[error("the price per kWh is above {ENERGY_MILLIS_MAX} thousandths of a minor unit")]
    EnergyPrice,
    /// Nobody charges that much per session.
    #[error("the session fee is above {FEE_MAX} minor units")]
    SessionFee,
    /// Nobody holds that much.
    #[error("the hold is above {FEE_MAX} minor units")]
    Hold,
    /// More tax than price.
    #[error("the tax is above 100 %")]
    Tax,
    /// The shares of site host and platform are more than there is.
    #[error("the shares of site host and platform are above 100 %")]
    Shares,
}

impl Tariff {
    /// Whether this tariff may be put in force.
    ///
    /// # Errors
    /// [`InvalidTariff`], which names the part that is out of bounds.
    pub fn check(&self) -> Result<(), InvalidTariff> {
        if self.energy_millis_per_kwh > ENERGY_MILLIS_MAX {
            return Err(InvalidTariff::EnergyPrice);
        }
        if self.session_fee > FEE_MAX {
            return Err(InvalidTariff::SessionFee);
        }
        if self.hold > FEE_MAX {
            return Err(InvalidTariff::Hold);
        }
        if self.tax_basis_points > WHOLE_BASIS_POINTS {
            return Err(InvalidTariff::Tax);
        }
        Ok(())
    }

    /// What a session that took `energy` costs. Energy fed back is not paid for: it counts as none.
    #[must_use]
    pub fn rate(&self, energy: WattHours) -> Charges {
        let energy_wh = u128::try_from(energy.0).unwrap_or(0);
        // 2^63 Wh times 2^64 fits 128 bits.
        let millis_per_thousand = energy_wh * u128::from(self.energy_millis_per_kwh);
        let energy = round_half_up(millis_per_thousand, 1_000_000).min(COMPONENT_MAX);
        let fee = self.session_fee.min(COMPONENT_MAX);
        // 2^97 times 2^32 would not fit 128 bits with room to round.
        let basis_points = u128::from(self.tax_basis_points.min(WHOLE_BASIS_POINTS));
        let tax = round_half_up((energy + fee) * basis_points, u128::from(WHOLE_BASIS_POINTS));
        assert!(tax <= energy + fee, "tax is at most 100 %");
        Charges { energy, fee, tax }
    }
}

fn round_half_up(numerator: u128, denominator: u128) -> u128 {
    let (whole, rest) = (numerator / denominator, numerator % denominator);
    whole + u128::from(rest >= denominator.div_ceil(2))
}

/// Who gets how much of the net revenue of a session.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shares {
    /// The owner of the ground.
    pub site_host: Amount,
    /// The operator of the stations: what is left.
    pub operator: Amount,
    /// The platform.
    pub platform: Amount,
}

impl SplitRule {
    /// Whether this rule may be put in force.
    ///
    /// # Errors
    /// [`InvalidTariff::Shares`] when it gives away more than there is.
    pub fn check(&self) -> Result<(), InvalidTariff> {
        let sum = u64::from(self.site_host_basis_points) + u64::from(self.platform_basis_points);
        if sum > u64::from(WHOLE_BASIS_POINTS) {
            return Err(InvalidTariff::Shares);
        }
        Ok(())
    }

    /// Splits `net` without loss: each share is rounded down, and the minor units left over go to
    /// the shares that lost most by it; among equals the operator comes first, then the site host.
    #[must_use]
    pub fn split(&self, net: Amount) -> Shares {
        let site_host = self.site_host_basis_points.min(WHOLE_BASIS_POINTS);
        let platform = self.platform_basis_points.min(WHOLE_BASIS_POINTS - site_host);
        let operator = WHOLE_BASIS_POINTS - site_host - platform;
        let mut parts = [operator, site_host, platform].map(|points| portion(net, points));

        let mut left = net - parts.iter().map(|(share, _)| share).sum::<Amount>();
        assert!(left < 3, "each of three shares lost less than one");
        while left > 0 {
            let most = parts.iter().map(|(_, lost)| *lost).max().unwrap_or(0);
            let first = parts.iter_mut().find(|(_, lost)| *lost == most);
            let (share, lost) = first.expect("the largest is among them");
            *share += 1;
            *lost = 0;
            left -= 1;
        }
        let [(operator, _), (site_host, _), (platform, _)] = parts;
        assert_eq!(site_host + operator + platform, net, "a split loses nothing");
        Shares { site_host, operator, platform }
    }
}

/// `points` hundredths of a percent of `net`, rounded down, and what was lost by it in ten
/// thousandths. Taken apart so that nothing overflows.
fn portion(net: Amount, points: u32) -> (Amount, u128) {
    let whole = u128::from(WHOLE_BASIS_POINTS);
    let points = u128::from(points);
    let of_rest = (net % whole) * points;
    (net / whole * points + of_rest / whole, of_rest % whole)
}
