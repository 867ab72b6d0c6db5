//! Prices finer than a minor unit: integer millionths of a currency's major unit.
//!
//! Every operation is exact or says how it rounds, and says `None` instead of wrapping.

use crate::money::{Amount, Currency};
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// Millionths of the currency's major unit (0.39 EUR is `Micros(390_000)`). May be negative.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
)]
#[rkyv(compare(PartialEq, PartialOrd), derive(Debug))]
pub struct Micros(pub i128);

/// Decimal places of [`Micros`].
pub const MICROS_DIGITS: u32 = 6;
/// One whole, in parts per million: 100 %.
pub const PPM_WHOLE: u32 = 1_000_000;

/// What becomes of the part that is smaller than the last unit kept.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
)]
#[rkyv(derive(Debug))]
pub enum Rounding {
    /// To the nearest; the middle goes away from zero. What tax offices of the EU expect.
    #[default]
    HalfUp,
    /// To the nearest; the middle goes to the even neighbour.
    HalfEven,
    /// Towards zero.
    Down,
    /// Away from zero.
    Up,
}

impl Rounding {
    /// `numerator / denominator`; a denominator of zero is a fault of the caller's.
    #[must_use]
    pub fn divide(self, numerator: u128, denominator: u128) -> u128 {
        assert!(denominator > 0, "nothing is divided by zero");
        let (whole, rest) = (numerator / denominator, numerator % denominator);
        // The rest against what lacks to the next: no doubling, so no overflow.
        let lacks = denominator - rest;
        let up = match self {
            Rounding::HalfUp => rest >= lacks,
            Rounding::HalfEven => rest > lacks || (rest == lacks && whole % 2 == 1),
            Rounding::Down => false,
            Rounding::Up => rest > 0,
        };
        // Up only with a rest, so the denominator is above one and the sum cannot overflow.
        whole + u128::from(up)
    }

    /// The same for a signed numerator: the sign is kept, the size is rounded.
    #[must_use]
    pub fn divide_signed(self, numerator: i128, denominator: u128) -> Option<i128> {
        let size = i128::try_from(self.divide(numerator.unsigned_abs(), denominator)).ok()?;
        Some(if numerator < 0 { -size } else { size })
    }
}

impl Micros {
    /// Nothing.
    pub const ZERO: Micros = Micros(0);

    /// An amount of minor units; `None` past the range.
    #[must_use]
    pub fn from_minor(amount: Amount, currency: Currency) -> Option<Micros> {
        let amount = i128::try_from(amount).ok()?;
        amount.checked_mul(i128::from(micros_per_minor(currency))).map(Micros)
    }

    /// In minor units; `None` when it is negative. Direction is debit or credit, never a sign.
    #[must_use]
    pub fn to_minor(self, currency: Currency, rounding: Rounding) -> Option<Amount> {
        let micros = u128::try_from(self.0).ok()?;
        Some(rounding.divide(micros, u128::from(micros_per_minor(currency))))
    }

    /// In minor units, with its sign.
    #[must_use]
    pub fn to_minor_signed(self, currency: Currency, rounding: Rounding) -> i128 {
        let minor = rounding.divide_signed(self.0, u128::from(micros_per_minor(currency)));
        minor.expect("a minor unit is 100 micros or more, so the size shrinks")
    }

    /// The sum; `None` past the range.
    #[must_use]
    pub fn checked_add(self, other: Micros) -> Option<Micros> {
        self.0.checked_add(other.0).map(Micros)
    }

    /// The difference; `None` past the range.
    #[must_use]
    pub fn checked_sub(self, other: Micros) -> Option<Micros> {
        self.0.checked_sub(other.0).map(Micros)
    }

    /// `self * numerator / denominator`, rounded once; `None` past the range.
    #[must_use]
    pub fn checked_mul_div(
        self,
        numerator: u64,
        denominator: u64,
        rounding: Rounding,
    ) -> Option<Micros> {
        let product = self.0.checked_mul(i128::from(numerator))?;
        rounding.divide_signed(product, u128::from(denominator)).map(Micros)
    }

    /// So many millionths of it: 190 000 is 19 %.
    #[must_use]
    pub fn checked_ppm(self, ppm: u32, rounding: Rounding) -> Option<Micros> {
        self.checked_mul_div(u64::from(ppm), u64::from(PPM_WHOLE), rounding)
    }
}

/// How many micros one minor unit is: 10 000 for the cent, 1 000 000 for the yen.
fn micros_per_minor(currency: Currency) -> u32 {
    let exponent = u32::from(currency.exponent());
    assert!(exponent <= 4, "no currency has more than four decimal places");
    10_u32.pow(MICROS_DIGITS - exponent)
}

/// As a decimal of the major unit, without needless zeros: `0.39`, `-1.5`, `2`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let scale = u128::from(PPM_WHOLE);
        let (whole, part) = (self.0.unsigned_abs() / scale, self.0.unsigned_abs() % scale);
        if part == 0 {
            return write!(f, "{sign}{whole}");
        }
        let part = format!("{part:06}");
        write!(f, "{sign}{whole}.{}", part.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn currency(code: &str) -> Currency {
        Currency::new(code).unwrap()
    }

    #[test]
    fn micros_become_minor_units_of_the_currency() {
        let price = Micros(12_345_000);
        assert_eq!(price.to_minor(Currency::EUR, Rounding::HalfUp), Some(1_235));
        assert_eq!(price.to_minor(Currency::EUR, Rounding::HalfEven), Some(1_234));
        assert_eq!(price.to_minor(Currency::EUR, Rounding::Down), Some(1_234));
        assert_eq!(price.to_minor(Currency::EUR, Rounding::Up), Some(1_235));
        assert_eq!(price.to_minor(currency("JPY"), Rounding::HalfUp), Some(12));
        assert_eq!(price.to_minor(currency("KWD"), Rounding::HalfUp), Some(12_345));
        assert_eq!(price.to_minor(currency("CLF"), Rounding::HalfUp), Some(123_450));
        assert_eq!(Micros(-1).to_minor(Currency::EUR, Rounding::HalfUp), None);
        assert_eq!(Micros(-5_000).to_minor_signed(Currency::EUR, Rounding::HalfUp), -1);
    }

    #[test]
    fn nothing_wraps_at_the_ends_of_the_range() {
        let most = Micros(i128::MAX);
        assert_eq!(most.checked_add(Micros(1)), None);
        assert_eq!(Micros(i128::MIN).checked_sub(Micros(1)), None);
        assert_eq!(most.checked_ppm(2, Rounding::Down), None);
        assert_eq!(Micros::from_minor(u128::MAX, Currency::EUR), None);
        assert_eq!(Rounding::HalfUp.divide(u128::MAX, 1), u128::MAX);
        assert_eq!(Rounding::HalfUp.divide(u128::MAX, u128::MAX), 1);
        assert_eq!(
            Micros(i128::MIN).to_minor_signed(currency("CLF"), Rounding::Up),
            i128::MIN / 100 - 1
        );
    }

    #[test]
    fn micros_print_as_decimals() {
        let texts = [390_000, 2_000_000, -1_500_000, 1, 0].map(|n| Micros(n).to_string());
        assert_eq!(texts, ["0.39", "2", "-1.5", "0.000001", "0"]);
    }

    proptest! {
        #[test]
        fn minor_units_come_back_unchanged(amount in 0_u128..=u128::from(u64::MAX)) {
            for code in ["JPY", "EUR", "KWD", "CLF"] {
                let micros = Micros::from_minor(amount, currency(code)).unwrap();
                for rounding in [Rounding::HalfUp, Rounding::HalfEven, Rounding::Down, Rounding::Up] {
                    prop_assert_eq!(micros.to_minor(currency(code), rounding), Some(amount));
                }
            }
        }

        #[test]
        fn rounding_is_off_by_less_than_one_and_by_half_at_most_when_nearest(
            numerator in 0_u128..1 << 100, denominator in 1_u128..1 << 60,
        ) {
            let down = Rounding::Down.divide(numerator, denominator);
            let up = Rounding::Up.divide(numerator, denominator);
            prop_assert!(down * denominator <= numerator && numerator <= up * denominator);
            prop_assert!(up - down <= 1);
            for nearest in [Rounding::HalfUp, Rounding::HalfEven] {
                let near = nearest.divide(numerator, denominator) * denominator;
                prop_assert!(near.abs_diff(numerator) * 2 <= denominator);
            }
        }
    }
}
