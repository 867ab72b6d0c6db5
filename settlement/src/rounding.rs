//! How a country rounds: where the one rounding falls, which way the middle goes, and cash apart.
//!
//! EN 16931 has no rounding rule of its own; its validators recompute the tax of a category from the
//! category's net sum. So the default is half up, once per tax category of a document.

use crate::jurisdiction::Country;
use novax_model::{Amount, Currency, Rounding};
use rkyv::{Archive, Deserialize, Serialize};

/// Where rounding to the minor unit happens.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[rkyv(derive(Debug))]
pub enum Scope {
    /// Once per tax category, on the sum of its parts.
    #[default]
    Category,
    /// On each part by itself; the sums are sums of rounded amounts.
    Part,
}

/// How charges are rounded.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[rkyv(derive(Debug))]
pub struct RoundingPolicy {
    /// Which way.
    pub rounding: Rounding,
    /// Where.
    pub scope: Scope,
}

impl RoundingPolicy {
    /// What the country's tax office expects.
    ///
    /// China rounds each line of a fapiao; everywhere else of the table the category's sum is rounded.
    #[must_use]
    pub fn of(country: Country) -> RoundingPolicy {
        let scope = if country.code() == "CN" { Scope::Part } else { Scope::Category };
        RoundingPolicy { rounding: Rounding::HalfUp, scope }
    }
}

/// What is paid in coins for an amount due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CashRounding {
    /// What changes hands.
    pub paid: Amount,
    /// What the house gives up: due less paid, where that is positive.
    pub given_up: Amount,
    /// What the house gains: paid less due, where that is positive.
    pub gained: Amount,
}

/// Rounds an amount due to the smallest coin. Only for cash: the invoice keeps the exact amount, and
/// the difference is booked by itself. `country` matters for the euro alone.
#[must_use]
pub fn cash(due: Amount, currency: Currency, country: Country) -> CashRounding {
    // Euro cash is rounded by law or custom in these members; elsewhere cents are legal tender.
    let euro_five = ["BE", "EE", "FI", "IE", "IT", "LT", "NL", "SK"];
    let step = if currency == Currency::EUR && euro_five.contains(&country.code()) {
        5
    } else {
        Amount::from(currency.cash_step())
    };
    let steps = Rounding::HalfUp.divide(due, step);
    // At the end of the range the next step does not exist: then the lower one is paid.
    let paid = steps.checked_mul(step).unwrap_or(due - due % step);
    assert!(paid.abs_diff(due) < step, "less than one coin is rounded away");
    let (given_up, gained) = (due.saturating_sub(paid), paid.saturating_sub(due));
    CashRounding { paid, given_up, gained }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cash_goes_to_the_nearest_coin_and_the_difference_is_named() {
        let country = |code| Country::new(code).unwrap();
        let currency = |code| Currency::new(code).unwrap();
        let paid = |due, code, place| {
            let cash = cash(due, currency(code), country(place));
            assert_eq!(cash.paid + cash.given_up, due + cash.gained);
            cash.paid
        };
        assert_eq!(paid(1_232, "CHF", "CH"), 1_230);
        assert_eq!(paid(1_233, "CHF", "CH"), 1_235);
        assert_eq!(paid(1_250, "SEK", "SE"), 1_300);
        assert_eq!(paid(1_249, "SEK", "SE"), 1_200);
        assert_eq!(paid(1_232, "EUR", "DE"), 1_232);
        assert_eq!(paid(1_232, "EUR", "FI"), 1_230);
        assert_eq!(paid(7, "JPY", "JP"), 7);
        assert_eq!(paid(u128::MAX, "CHF", "CH"), u128::MAX);
    }
}
