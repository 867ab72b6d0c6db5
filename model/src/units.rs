//! Physical units as scaled integers, at the resolution the series keep.

use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $symbol:expr, $scale:expr) => {
        $(#[$doc])*
        #[derive(
            Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            Debug, Default,
        )]
        pub struct $name(pub i64);

        impl $name {
            /// How many of these make one of the base unit shown to people.
            pub const SCALE: i64 = $scale;
            /// The base unit's symbol.
            pub const SYMBOL: &'static str = $symbol;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if Self::SCALE == 1 {
                    return write!(f, "{} {}", self.0, Self::SYMBOL);
                }
                let digits = Self::SCALE.ilog10() as usize;
                let sign = if self.0 < 0 { "-" } else { "" };
                let (whole, part) = (self.0.abs() / Self::SCALE, self.0.abs() % Self::SCALE);
                write!(f, "{sign}{whole}.{part:0digits$} {}", Self::SYMBOL)
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
    }
}
