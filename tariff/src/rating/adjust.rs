//! How a session's prices differ from the list: what a pricing rule decided, frozen.

use novax_model::Micros;
use rkyv::{Archive, Deserialize, Serialize};

/// A change of unit prices. The changed price is a whole millionth and never negative, so what a
/// driver is shown per kWh is what they are billed.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adjustment {
    /// Prices of energy are multiplied by this; 1 000 000 is as listed.
    pub factor_ppm: u32,
    /// Then this is added to a price per kWh.
    pub add_micros_per_kwh: i64,
    /// And a price per kWh is then at least this,
    pub floor_micros_per_kwh: Option<i64>,
    /// and at most this.
    pub ceiling_micros_per_kwh: Option<i64>,
    /// Prices of time, charging or parking, are multiplied by this. Fees stay as listed.
    pub time_factor_ppm: u32,
}

impl Adjustment {
    /// As listed.
    pub const NONE: Adjustment = Adjustment {
        factor_ppm: 1_000_000,
        add_micros_per_kwh: 0,
        floor_micros_per_kwh: None,
        ceiling_micros_per_kwh: None,
        time_factor_ppm: 1_000_000,
    };

    /// The price of a kWh.
    #[must_use]
    pub fn energy(&self, listed: Micros) -> Micros {
        let mut price = scaled(listed.0, self.factor_ppm) + i128::from(self.add_micros_per_kwh);
        if let Some(floor) = self.floor_micros_per_kwh {
            price = price.max(i128::from(floor));
        }
        // Last, so that the promise to the driver wins over the floor.
        if let Some(ceiling) = self.ceiling_micros_per_kwh {
            price = price.min(i128::from(ceiling));
        }
        Micros(price.max(0))
    }

    /// The price of an hour.
    #[must_use]
    pub fn time(&self, listed: Micros) -> Micros {
        Micros(scaled(listed.0, self.time_factor_ppm))
    }
}

impl Default for Adjustment {
    fn default() -> Adjustment {
        Adjustment::NONE
    }
}

fn scaled(price: i128, factor_ppm: u32) -> i128 {
    if factor_ppm == 1_000_000 {
        return price;
    }
    super::cost::ratio(price, i128::from(factor_ppm), 1_000_000)
}
