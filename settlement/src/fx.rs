//! One currency into another, at a rate that has a name.
//!
//! A rate is an exact decimal and carries its id, source and the time it is good for; a conversion
//! keeps the id, and is never worked out again. Rounding is in the house's favour and says so: what
//! the counterparty gets is rounded down, what it has to give is rounded up. The spread is what lies
//! between the middle rate and what was given.

use crate::error::SettlementError;
use novax_model::{Amount, Currency, PPM_WHOLE, Rounding, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};

/// The longest id and source of a rate.
pub const RATE_TEXT_BYTES_MAX: usize = 64;
/// The most decimal places of a rate.
pub const RATE_SCALE_MAX: u8 = 12;

/// How much of `quote` one unit of `base` is: `mantissa / 10^scale` major units.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Its name on every posting made with it.
    pub id: Box<str>,
    /// What is given.
    pub base: Currency,
    /// What comes back.
    pub quote: Currency,
    /// The digits of the rate.
    pub mantissa: u64,
    /// How many of them stand after the point.
    pub scale: u8,
    /// What the house keeps of each conversion, in parts per million.
    pub spread_ppm: u32,
    /// In force from here.
    pub from: Timestamp,
    /// Up to here, exclusive.
    pub until: Timestamp,
    /// Who published it.
    pub source: Box<str>,
}

/// A conversion that was made.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Conversion {
    /// The rate's id.
    pub rate: Box<str>,
    /// Of what.
    pub base: Currency,
    /// Into what.
    pub quote: Currency,
    /// What was given, in minor units of the base currency.
    pub from: Amount,
    /// What came back, in minor units of the quote currency.
    pub to: Amount,
    /// What the house kept, in minor units of the quote currency.
    pub spread: Amount,
}

impl Rate {
    /// Whether it can be used at all.
    ///
    /// # Errors
    /// [`SettlementError::Rate`], which names the part that is wrong.
    pub fn check(&self) -> Result<(), SettlementError> {
        let fits = |text: &str| (1..=RATE_TEXT_BYTES_MAX).contains(&text.len());
        let words = if !fits(&self.id) || !fits(&self.source) {
            "its id and its source need 1 to 64 bytes"
        } else if self.base == self.quote {
            "both currencies are the same"
        } else if self.mantissa == 0 {
            "it is zero"
        } else if self.scale > RATE_SCALE_MAX {
            "it has more than 12 decimal places"
        } else if self.spread_ppm >= PPM_WHOLE {
            "its spread leaves nothing"
        } else if self.from >= self.until {
            "it ends before it begins"
        } else {
            return Ok(());
        };
        Err(SettlementError::Rate {
            id: self.id.chars().take(RATE_TEXT_BYTES_MAX).collect(),
            words,
        })
    }

    /// Whether it may be used for something that happens at `at`.
    ///
    /// # Errors
    /// [`SettlementError::RateNotInForce`] when it may not, and what [`Rate::check`] refuses.
    pub fn check_at(&self, at: Timestamp) -> Result<(), SettlementError> {
        self.check()?;
        if self.from <= at && at < self.until {
            return Ok(());
        }
        Err(SettlementError::RateNotInForce { id: self.id.to_string(), at })
    }

    /// Minor units of the quote currency per minor unit of the base, as a fraction.
    fn fraction(&self) -> Option<(u128, u128)> {
        let ten = |exponent: u8| 10_u128.checked_pow(u32::from(exponent));
        let numerator = u128::from(self.mantissa).checked_mul(ten(self.quote.exponent())?)?;
        Some((numerator, ten(self.scale)?.checked_mul(ten(self.base.exponent())?)?))
    }
}

/// Gives `amount` minor units of the base currency and says what comes back.
///
/// # Errors
/// [`SettlementError`] when the rate is wrong or not in force, or the amount too large.
pub fn convert(amount: Amount, rate: &Rate, at: Timestamp) -> Result<Conversion, SettlementError> {
    rate.check_at(at)?;
    let (to, spread) = exchange(amount, rate).ok_or(SettlementError::TooLarge)?;
    Ok(Conversion {
        rate: rate.id.clone(),
        base: rate.base,
        quote: rate.quote,
        from: amount,
        to,
        spread,
    })
}

/// The least amount of the base currency for which `to` minor units of the quote currency come back.
///
/// # Errors
/// As [`convert`].
pub fn cost_of(to: Amount, rate: &Rate, at: Timestamp) -> Result<Conversion, SettlementError> {
    rate.check_at(at)?;
    let from = base_for(to, rate).ok_or(SettlementError::TooLarge)?;
    let conversion = convert(from, rate, at)?;
    assert!(conversion.to >= to, "what was asked for comes back");
    // One minor unit of the base may be worth many of the quote: the rest of it is the house's.
    let spread = conversion.spread.saturating_add(conversion.to - to);
    Ok(Conversion { to, spread, ..conversion })
}

fn exchange(amount: Amount, rate: &Rate) -> Option<(Amount, Amount)> {
    let (numerator, denominator) = rate.fraction()?;
    let exact = amount.checked_mul(numerator)?;
    let middle = exact / denominator;
    let kept = u128::from(PPM_WHOLE - rate.spread_ppm);
    let scaled = denominator.checked_mul(u128::from(PPM_WHOLE))?;
    let to = Rounding::Down.divide(exact.checked_mul(kept)?, scaled);
    assert!(to <= middle, "the house never gives more than the middle rate");
    Some((to, middle - to))
}

fn base_for(to: Amount, rate: &Rate) -> Option<Amount> {
    let (numerator, denominator) = rate.fraction()?;
    let kept = u128::from(PPM_WHOLE - rate.spread_ppm);
    let scaled = denominator.checked_mul(u128::from(PPM_WHOLE))?;
    Some(Rounding::Up.divide(to.checked_mul(scaled)?, numerator.checked_mul(kept)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(base: &str, quote: &str, mantissa: u64, scale: u8, spread_ppm: u32) -> Rate {
        Rate {
            id: "ECB-2026-11-20-EURUSD".into(),
            base: Currency::new(base).unwrap(),
            quote: Currency::new(quote).unwrap(),
            mantissa,
            scale,
            spread_ppm,
            from: Timestamp(10),
            until: Timestamp(20),
            source: "ECB reference rates".into(),
        }
    }

    fn given(amount: Amount, rate: &Rate) -> (Amount, Amount) {
        let conversion = convert(amount, rate, Timestamp(10)).unwrap();
        (conversion.to, conversion.spread)
    }

    #[test]
    fn conversions_are_exact_down_to_the_minor_unit_of_each_currency() {
        // 100.00 EUR at 1.0853 is 108.53 USD; 1 % of it, 1.0853, stays here with the odd part.
        assert_eq!(given(10_000, &rate("EUR", "USD", 10_853, 4, 0)), (10_853, 0));
        assert_eq!(given(10_000, &rate("EUR", "USD", 10_853, 4, 10_000)), (10_744, 109));
        // 12.34 EUR at 163.21 is 2014.0114 JPY, which has no minor unit.
        assert_eq!(given(1_234, &rate("EUR", "JPY", 16_321, 2, 0)), (2_014, 0));
        assert_eq!(given(2_014, &rate("JPY", "EUR", 6_127, 6, 0)), (1_233, 0));
        // 1 EUR at 0.3341 KWD, which has three decimal places.
        assert_eq!(given(100, &rate("EUR", "KWD", 3_341, 4, 0)), (334, 0));
        assert_eq!(given(0, &rate("EUR", "USD", 10_853, 4, 10_000)), (0, 0));
    }

    #[test]
    fn a_rate_is_used_only_while_it_is_in_force() {
        let rate = rate("EUR", "USD", 10_853, 4, 0);
        for (at, good) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(convert(1, &rate, Timestamp(at)).is_ok(), good, "{at}");
        }
    }

    #[test]
    fn rates_that_cannot_be_used_are_refused() {
        let good = rate("EUR", "USD", 10_853, 4, 0);
        let wrong = [
            Rate { id: "".into(), ..good.clone() },
            Rate { quote: good.base, ..good.clone() },
            Rate { mantissa: 0, ..good.clone() },
            Rate { scale: 13, ..good.clone() },
            Rate { spread_ppm: 1_000_000, ..good.clone() },
            Rate { until: good.from, ..good.clone() },
        ];
        for rate in wrong {
            let refused = convert(1, &rate, Timestamp(10));
            assert!(matches!(refused, Err(SettlementError::Rate { .. })), "{rate:?}");
        }
        let too_large = convert(u128::MAX, &good, Timestamp(10));
        assert_eq!(too_large, Err(SettlementError::TooLarge));
    }

    proptest! {
        #[test]
        fn the_house_neither_loses_nor_keeps_more_than_the_spread_and_one_unit(
            amount in 0_u128..1 << 50, mantissa in 1_u64..1 << 30, scale in 0_u8..=8,
            spread_ppm in 0_u32..500_000, pair in 0_usize..4,
        ) {
            let (base, quote) = [("EUR", "USD"), ("EUR", "JPY"), ("JPY", "KWD"), ("KWD", "CLF")][pair];
            let rate = rate(base, quote, mantissa, scale, spread_ppm);
            let (to, spread) = given(amount, &rate);
            let (numerator, denominator) = rate.fraction().unwrap();
            let middle = amount * numerator / denominator;
            prop_assert_eq!(to + spread, middle);
            let most = Rounding::Up.divide(middle * u128::from(spread_ppm), 1_000_000) + 1;
            prop_assert!(spread <= most, "{spread} of {middle}");
        }

        #[test]
        fn the_cost_of_an_amount_is_the_least_that_yields_it(
            to in 1_u128..1 << 40, mantissa in 1_u64..1 << 24, scale in 0_u8..=8,
            spread_ppm in 0_u32..500_000,
        ) {
            let rate = rate("EUR", "USD", mantissa, scale, spread_ppm);
            let cost = cost_of(to, &rate, Timestamp(10)).unwrap();
            prop_assert_eq!(cost.to, to);
            prop_assert!(given(cost.from, &rate).0 >= to);
            prop_assert!(given(cost.from - 1, &rate).0 < to);
        }
    }
}
