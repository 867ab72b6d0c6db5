//! Summaries of a column: mergeable, so that chunks, groups and heads add up.

use novax_model::Timestamp;

/// Count, extremes, sum, first and last of at least one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aggregate {
    /// How many values; at least one.
    pub count: u64,
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
    /// Of all values; cannot overflow.
    pub sum: i128,
    /// The value of the smallest stamp.
    pub first: (Timestamp, i64),
    /// The value of the largest stamp.
    pub last: (Timestamp, i64),
}

impl Aggregate {
    /// Of a single value.
    #[must_use]
    pub fn of(at: Timestamp, value: i64) -> Self {
        let sum = i128::from(value);
        Self { count: 1, min: value, max: value, sum, first: (at, value), last: (at, value) }
    }

    /// Takes another in. Their times may overlap; of equal stamps, this one's values stand.
    pub fn merge(&mut self, other: &Self) {
        assert!(self.count > 0 && other.count > 0, "an aggregate has values");
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        if other.first.0 < self.first.0 {
            self.first = other.first;
        }
        if other.last.0 > self.last.0 {
            self.last = other.last;
        }
    }

    /// Both of two, where there are any.
    #[must_use]
    pub fn merged(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(mut one), Some(other)) => {
                one.merge(&other);
                Some(one)
            }
            (one, other) => one.or(other),
        }
    }
}

/// Count, extremes and sum of values, without their stamps. `None` when there are none.
///
/// Four accumulators, so that no step waits for the one before.
#[must_use]
pub(crate) fn extremes_and_sum(values: &[i64]) -> Option<(i64, i64, i128)> {
    let first = *values.first()?;
    let (mut least, mut most) = ([first; 4], [first; 4]);
    let (fours, rest) = values.as_chunks::<4>();
    for four in fours {
        for lane in 0..4 {
            least[lane] = least[lane].min(four[lane]);
            most[lane] = most[lane].max(four[lane]);
        }
    }
    let min = rest.iter().chain(&least).copied().min().unwrap_or(first);
    let max = rest.iter().chain(&most).copied().max().unwrap_or(first);
    let bound = i64::MAX / i64::try_from(values.len()).unwrap_or(i64::MAX);
    let sum = if -bound <= min && max <= bound {
        // No partial sum can leave 64 bits.
        i128::from(values.iter().fold(0_i64, |sum, value| sum.wrapping_add(*value)))
    } else {
        values.iter().copied().map(i128::from).sum()
    };
    Some((min, max, sum))
}
