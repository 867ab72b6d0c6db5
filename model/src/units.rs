//! Physical units as scaled integers, at the resolution the series keep.

#![expect(
    missing_debug_implementations,
    reason = "rkyv's resolvers, made within a macro, have none"
)]

use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

fn write_scaled(f: &mut fmt::Formatter<'_>, value: i64, scale: u64, symbol: &str) -> fmt::Result {
    if scale == 1 {
        return write!(f, "{value} {symbol}");
    }
    let digits = scale.ilog10() as usize;
    let sign = if value < 0 { "-" } else { "" };
    let (whole, part) = (value.unsigned_abs() / scale, value.unsigned_abs() % scale);
    write!(f, "{sign}{whole}.{part:0digits$} {symbol}")
}

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $symbol:expr, $scale:expr) => {
        $(#[$doc])*
        #[derive(
            Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            Debug, Default,
        )]
        #[rkyv(derive(Debug))]
        pub struct $name(pub i64);

        impl $name {
            /// How many of these make one of the base unit shown to people.
            pub const SCALE: i64 = $scale;
            /// The base unit's symbol.
            pub const SYMBOL: &'static str = $symbol;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_scaled(f, self.0, Self::SCALE.unsigned_abs(), Self::SYMBOL)
            }
        }
    };
}

unit!(
    /// Active power in watts; negative when the vehicle feeds the grid.
    Watts, "W", 1
);
unit!(
    /// Energy in watt-hours.
    WattHours, "Wh", 1
);
unit!(
    /// Voltage in tenths of a volt.
    Decivolts, "V", 10
);
unit!(
    /// Current in hundredths of an ampere.
    Centiamperes, "A", 100
);
unit!(
    /// Temperature in tenths of a degree Celsius.
    Decicelsius, "°C", 10
);
unit!(
    /// State of charge in tenths of a percent.
    SocPermille, "%", 10
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_print_in_their_base_unit() {
        assert_eq!(Decivolts(2301).to_string(), "230.1 V");
        assert_eq!(Centiamperes(-1605).to_string(), "-16.05 A");
        assert_eq!(Watts(-5).to_string(), "-5 W");
        assert_eq!(Decivolts(i64::MIN).to_string(), "-922337203685477580.8 V");
    }
}
