//! Splitting a whole so that the parts sum to it: the method of the largest remainder.

/// The most parts one whole is split into.
pub const PARTS_MAX: usize = 64;

/// Splits `whole` in proportion to `weights`: each part is its exact share rounded down, and the
/// units that are left go to the largest remainders, the earlier part first where two are alike.
///
/// `None` when the numbers are too large, or there is something to split and no weight at all.
#[must_use]
pub fn proportional(whole: u128, weights: &[u128]) -> Option<Vec<u128>> {
    assert!(weights.len() <= PARTS_MAX, "the caller bounds its parts");
    let total = weights.iter().try_fold(0_u128, |sum, weight| sum.checked_add(*weight))?;
    if total == 0 {
        return (whole == 0).then(|| vec![0; weights.len()]);
    }
    let mut parts = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (place, weight) in weights.iter().enumerate() {
        let product = whole.checked_mul(*weight)?;
        parts.push(product / total);
        remainders.push((std::cmp::Reverse(product % total), place));
    }
    let given: u128 = parts.iter().sum();
    let left = usize::try_from(whole - given).expect("less than one unit a part is left");
    assert!(left < weights.len().max(1), "less than one unit a part is left");
    remainders.sort_unstable();
    for (_, place) in remainders.into_iter().take(left) {
        parts[place] += 1;
    }
    assert_eq!(parts.iter().sum::<u128>(), whole, "the parts are the whole");
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_units_go_to_the_largest_remainders_and_then_to_the_first() {
        assert_eq!(proportional(100, &[1, 1, 1]), Some(vec![34, 33, 33]));
        assert_eq!(proportional(10, &[15, 25, 60]), Some(vec![2, 2, 6]));
        assert_eq!(proportional(5, &[0, 3]), Some(vec![0, 5]));
        assert_eq!(proportional(0, &[0, 0]), Some(vec![0, 0]));
        assert_eq!(proportional(1, &[0, 0]), None);
        assert_eq!(proportional(u128::MAX, &[2, 1]), None);
        assert_eq!(proportional(0, &[]), Some(vec![]));
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole_and_are_off_by_less_than_one(
            whole in 0_u128..1 << 60,
            weights in proptest::collection::vec(0_u128..1 << 40, 1..8),
        ) {
            let total: u128 = weights.iter().sum();
            prop_assume!(total > 0);
            let parts = proportional(whole, &weights).unwrap();
            prop_assert_eq!(parts.iter().sum::<u128>(), whole);
            for (part, weight) in parts.iter().zip(&weights) {
                prop_assert!((part * total).abs_diff(whole * weight) < total);
            }
        }
    }
}
