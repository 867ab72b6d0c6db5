//! Amounts as Stripe counts them. Mostly our minor units, but some currencies differ: it takes yen whole as
//! ISO 4217 does, ariary whole where ISO has two places, krónur with two places where ISO has none, and
//! dinars with three places of which the last must be zero.

use novax_model::{Amount, Currency};

/// Currencies Stripe counts in whole units.
const WHOLE: [&str; 14] = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF",
];
/// One more, apart for its length of line.
const WHOLE_PACIFIC: &str = "XPF";
/// Currencies that Stripe takes with two places that must be zero.
const ZEROES: [&str; 2] = ["ISK", "UGX"];
/// Currencies Stripe counts in thousandths, to be multiples of ten.
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// Decimal places of an amount on the wire.
fn places(code: &str) -> u32 {
    if WHOLE.contains(&code) || code == WHOLE_PACIFIC {
        0
    } else if THOUSANDTHS.contains(&code) {
        3
    } else {
        2
    }
}

/// What every amount on the wire must be a multiple of.
fn multiple(code: &str) -> Amount {
    if ZEROES.contains(&code) {
        100
    } else if THOUSANDTHS.contains(&code) {
        10
    } else {
        1
    }
}

/// The factor from ours to theirs, as a fraction.
fn ratio(currency: Currency) -> (Amount, Amount) {
    let (ours, theirs) = (u32::from(currency.exponent()), places(currency.code()));
    let ten = |exponent: u32| Amount::from(10_u8).pow(exponent);
    (ten(theirs.saturating_sub(ours)), ten(ours.saturating_sub(theirs)))
}

/// The number that goes on the wire; `None` when Stripe cannot move this amount.
pub(crate) fn to_wire(amount: Amount, currency: Currency) -> Option<u64> {
    let (times, by) = ratio(currency);
    let scaled = amount.checked_mul(times)?;
    let fits = scaled % by == 0 && (scaled / by) % multiple(currency.code()) == 0;
    // Twelve digits are the most that Stripe takes of any currency.
    let wire = u64::try_from(scaled / by).ok().filter(|wire| *wire < 1_000_000_000_000)?;
    fits.then_some(wire)
}

/// Our amount of a number on the wire; `None` when it is none of ours.
pub(crate) fn from_wire(wire: i64, currency: Currency) -> Option<Amount> {
    let (times, by) = ratio(currency);
    let scaled = Amount::from(u64::try_from(wire).ok()?) * by;
    (scaled % times == 0).then_some(scaled / times)
}

/// The least step, in our minor units.
pub(crate) fn step(currency: Currency) -> Amount {
    let (times, by) = ratio(currency);
    // The least multiple on the wire that is also a whole number of our minor units.
    let wire = multiple(currency.code()).max(times);
    assert_eq!(wire % times, 0, "all are powers of ten");
    wire * by / times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_currency_goes_over_the_wire_and_back() {
        // Currency, an amount of ours, the number on the wire, the step.
        let cases: [(&str, Amount, Option<u64>, Amount); 9] = [
            ("EUR", 1234, Some(1234), 1),
            ("JPY", 500, Some(500), 1),
            ("KRW", 12_000, Some(12_000), 1),
            ("KWD", 1230, Some(1230), 10),
            ("KWD", 1234, None, 10),
            ("HUF", 100, Some(100), 1),
            ("EUR", 0, Some(0), 1),
            ("EUR", 999_999_999_999, Some(999_999_999_999), 1),
            ("EUR", Amount::MAX, None, 1),
        ];
        for (code, ours, wire, least) in cases {
            let currency = Currency::new(code).unwrap();
            assert_eq!(to_wire(ours, currency), wire, "{code} {ours}");
            assert_eq!(step(currency), least, "{code}");
            if let Some(wire) = wire {
                let wire = i64::try_from(wire).unwrap();
                assert_eq!(from_wire(wire, currency), Some(ours), "{code} {wire}");
            }
        }
        assert_eq!(from_wire(-1, Currency::EUR), None);
    }

    #[test]
    fn a_currency_whose_places_differ_is_scaled() {
        // Those that the model knows are tested; the others join by themselves when it learns them.
        for (code, ours, wire, least) in
            [("ISK", 500, Some(50_000), 1), ("MGA", 1200, Some(12), 100), ("MGA", 1250, None, 100)]
        {
            let Ok(currency) = Currency::new(code) else { continue };
            assert_eq!(to_wire(ours, currency), wire, "{code} {ours}");
            assert_eq!(step(currency), least, "{code}");
        }
        for code in ["EUR", "JPY", "KWD", "CHF"] {
            let currency = Currency::new(code).unwrap();
            let least = step(currency);
            assert!(to_wire(least * 7, currency).is_some(), "{code}");
            assert!(least == 1 || to_wire(least * 7 + 1, currency).is_none(), "{code}");
        }
    }
}
