//! Power allocation under site limits. Pure: no clock, no I/O, no float.
//!
//! [`share`] divides one limit among the connectors below it: max-min fair (water filling), exact
//! to the watt. Invariants, each with a test: the shares never sum to more than the limit; nobody
//! gets more than its maximum; whoever is served gets its minimum; no share can grow but at the
//! cost of one that is no larger.

use novax_model::Watts;

/// What one connector can use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Demand {
    /// The most it can take; `None` is as much as there is.
    pub max: Option<Watts>,
    /// With less than this it cannot charge at all (6 A, by IEC 61851). More than `max` means
    /// `max`.
    pub min: Watts,
}

impl Demand {
    /// The bounds of a share: both from zero, `min` not above `max`.
    fn bounds(&self) -> (i64, i64) {
        let max = self.max.map_or(i64::MAX, |max| max.0.max(0));
        (self.min.0.clamp(0, max), max)
    }
}

/// Divides `limit` among `demands`; the answer has one share for each, in the same order.
///
/// First come, first served: when the minimums together are more than the limit, those at the end
/// get nothing, from the first one on whose minimum does not fit. The rest share evenly within
/// their bounds; watts that do not divide go to the earlier ones, one each.
#[must_use]
pub fn share(limit: Watts, demands: &[Demand]) -> Vec<Watts> {
    let limit = limit.0.max(0);
    let bounds: Vec<(i64, i64)> = demands.iter().map(Demand::bounds).collect();
    let served = &bounds[..count_served(limit, &bounds)];

    let level = water_level(limit, served);
    let mut shares: Vec<i64> = served.iter().map(|(min, max)| level.clamp(*min, *max)).collect();
    let mut left = i128::from(limit) - sum_at(level, served);
    assert!(left >= 0, "the level was chosen to fit");
    for (share, (_, max)) in shares.iter_mut().zip(served) {
        if left > 0 && *share == level && *share < *max {
            *share += 1;
            left -= 1;
        }
    }

    let sum: i128 = shares.iter().map(|share| i128::from(*share)).sum();
    assert!(sum <= i128::from(limit), "never more than the limit");
    shares.resize(demands.len(), 0);
    shares.into_iter().map(Watts).collect()
}

/// How many from the front can have their minimum.
fn count_served(limit: i64, bounds: &[(i64, i64)]) -> usize {
    let mut sum = 0_i128;
    bounds
        .iter()
        .take_while(|(min, _)| {
            sum += i128::from(*min);
            sum <= i128::from(limit)
        })
        .count()
}

/// The highest level at which all shares still fit: 63 halvings at most.
fn water_level(limit: i64, bounds: &[(i64, i64)]) -> i64 {
    assert!(sum_at(0, bounds) <= i128::from(limit), "the minimums fit");
    let (mut fits, mut too_high) = (0_i64, limit.saturating_add(1));
    while too_high - fits > 1 {
        let middle = fits + (too_high - fits) / 2;
        if sum_at(middle, bounds) <= i128::from(limit) {
            fits = middle;
        } else {
            too_high = middle;
        }
    }
    fits
}

fn sum_at(level: i64, bounds: &[(i64, i64)]) -> i128 {
    bounds.iter().map(|(min, max)| i128::from(level.clamp(*min, *max))).sum()
}
