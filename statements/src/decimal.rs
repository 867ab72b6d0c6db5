//! Integers as decimals, and division that says how it rounds. No float ever stands for an amount.

use crate::facts::Minor;
use novax_model::{Currency, Rounding};

/// `units / 10^places` with a point; trailing zeros go when `short`.
pub(crate) fn decimal(units: i128, places: u8, short: bool) -> String {
    let size = units.unsigned_abs();
    let scale = 10_u128.pow(u32::from(places));
    let width = usize::from(places);
    let mut text = format!("{}{}", if units < 0 { "-" } else { "" }, size / scale);
    if places == 0 {
        return text;
    }
    let fraction = format!("{:0width$}", size % scale);
    let fraction = if short { fraction.trim_end_matches('0') } else { &fraction };
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// Minor units in the major unit, with all the currency's places: `12.30`.
pub(crate) fn money(amount: Minor, currency: Currency) -> String {
    decimal(amount, currency.exponent(), false)
}

/// `numerator / denominator`, to the nearest, the middle away from zero; `None` past the range.
pub(crate) fn divide(numerator: i128, denominator: u128) -> Option<i128> {
    if denominator == 0 {
        return None;
    }
    Rounding::HalfUp.divide_signed(numerator, denominator)
}

/// So many millionths of an amount, rounded once.
pub(crate) fn ppm_of(amount: Minor, ppm: u32) -> Option<Minor> {
    divide(amount.checked_mul(i128::from(ppm))?, u128::from(novax_model::PPM_WHOLE))
}

/// `total` in proportion to `weights`; the parts sum to it exactly. What is left over after
/// rounding down goes to the largest remainders, of equals to the first.
pub(crate) fn share_out(total: Minor, weights: &[u32]) -> Vec<Minor> {
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    if sum == 0 {
        return weights.iter().enumerate().map(|(i, _)| if i == 0 { total } else { 0 }).collect();
    }
    let size = total.unsigned_abs();
    let exact = |weight: u32| {
        let weight = u128::from(weight);
        // Apart, so that the product cannot overflow: the sum of weights is below 2^64.
        let (whole, rest) = (size / sum, size % sum);
        (whole * weight + rest * weight / sum, rest * weight % sum)
    };
    let mut parts: Vec<(usize, u128, u128)> = Vec::with_capacity(weights.len());
    for (i, &weight) in weights.iter().enumerate() {
        let (part, remainder) = exact(weight);
        parts.push((i, part, remainder));
    }
    let mut left = size - parts.iter().map(|(_, part, _)| part).sum::<u128>();
    parts.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(&b.0)));
    for (_, part, _) in &mut parts {
        let one = left.min(1);
        *part += one;
        left -= one;
    }
    assert_eq!(left, 0, "less is left over than there are parts");
    parts.sort_by_key(|&(i, ..)| i);
    let sign = if total < 0 { -1 } else { 1 };
    let shared: Vec<Minor> =
        parts.into_iter().map(|(_, part, _)| sign * i128::try_from(part).expect("fits")).collect();
    assert_eq!(shared.iter().sum::<Minor>(), total, "nothing is lost in sharing out");
    shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_places_and_their_sign() {
        assert_eq!(decimal(1234, 2, false), "12.34");
        assert_eq!(decimal(-5, 2, false), "-0.05");
        assert_eq!(decimal(1230, 3, true), "1.23");
        assert_eq!(decimal(2000, 3, true), "2");
        assert_eq!(decimal(7, 0, false), "7");
        assert_eq!(decimal(0, 4, true), "0");
    }

    #[test]
    fn halves_go_away_from_zero() {
        assert_eq!([divide(5, 10), divide(-5, 10), divide(4, 10)], [Some(1), Some(-1), Some(0)]);
        assert_eq!(divide(1, 0), None);
        assert_eq!(ppm_of(1000, 190_000), Some(190));
    }

    proptest::proptest! {
        #[test]
        fn shares_sum_to_the_whole(
            total in -1_000_000_000_i128..1_000_000_000,
            weights in proptest::collection::vec(0_u32..2_000_000, 1..8),
        ) {
            let parts = share_out(total, &weights);
            assert_eq!(parts.iter().sum::<i128>(), total);
            let sum: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            for (part, &weight) in parts.iter().zip(&weights) {
                if sum > 0 {
                    let off = part * i128::from(sum) - total * i128::from(weight);
                    assert!(off.abs() <= i128::from(sum), "no part is off by more than one");
                }
            }
        }
    }
}
