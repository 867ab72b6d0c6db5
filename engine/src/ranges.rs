//! Range deletes as sorted lists that do not overlap.
//!
//! Invariants: ranges are not empty, rise, and neither overlap nor touch; so a look-up is one binary search.

use crate::entry::RangeTombstone;
use std::sync::Arc;

/// A set of internal keys, given as ranges.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeSet {
    ranges: Vec<Arc<RangeTombstone>>,
}

impl RangeSet {
    /// Puts the keys of many ranges together, which come in any order.
    pub(crate) fn union<'a>(ranges: impl IntoIterator<Item = &'a RangeTombstone>) -> RangeSet {
        let mut sorted: Vec<&RangeTombstone> =
            ranges.into_iter().filter(|range| range.from < range.to).collect();
        sorted.sort_by(|a, b| a.from.cmp(&b.from));
        let mut merged: Vec<RangeTombstone> = Vec::new();
        for range in sorted {
            match merged.last_mut() {
                Some(last) if range.from <= last.to => {
                    if range.to > last.to {
                        last.to.clone_from(&range.to);
                    }
                }
                Some(_) | None => merged.push(range.clone()),
            }
        }
        RangeSet { ranges: merged.into_iter().map(Arc::new).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &RangeTombstone> {
        self.ranges.iter().map(|range| &**range)
    }

    /// Adds the keys from `from`, to and without `to`.
    pub(crate) fn add(&mut self, mut from: Vec<u8>, mut to: Vec<u8>) {
        if from >= to {
            return;
        }
        let start = self.ranges.partition_point(|range| range.to < from);
        let end = self.ranges.partition_point(|range| range.from <= to);
        if start < end {
            // Those that it overlaps or touches become one with it.
            let touched = self.ranges.get(start..end).unwrap_or_default();
            if let Some(first) = touched.first().filter(|first| first.from < from) {
                from.clone_from(&first.from);
            }
            if let Some(last) = touched.last().filter(|last| last.to > to) {
                to.clone_from(&last.to);
            }
        }
        let whole = Arc::new(RangeTombstone { from, to });
        self.ranges.splice(start..end.max(start), [whole]);
    }

    /// True when `key` of `keyspace` is in the set.
    pub(crate) fn covers(&self, keyspace: u8, key: &[u8]) -> bool {
        if self.ranges.is_empty() {
            return false;
        }
        // The last range that begins at or before the key.
        let at = self.ranges.partition_point(|range| !is_before(keyspace, key, &range.from));
        let range = at.checked_sub(1).and_then(|at| self.ranges.get(at));
        range.is_some_and(|range| is_before(keyspace, key, &range.to))
    }

    /// True when the internal key `key` is in the set.
    pub(crate) fn covers_internal(&self, key: &[u8]) -> bool {
        match key.split_first() {
            Some((keyspace, key)) => self.covers(*keyspace, key),
            None => false,
        }
    }

    /// What of the set lies from `from` on and before `to`.
    pub(crate) fn clipped(&self, from: &[u8], to: Option<&[u8]>) -> Vec<RangeTombstone> {
        let clip = |range: &RangeTombstone| {
            let start = range.from.as_slice().max(from);
            let end = to.map_or(range.to.as_slice(), |to| range.to.as_slice().min(to));
            (start < end).then(|| RangeTombstone { from: start.to_vec(), to: end.to_vec() })
        };
        self.iter().filter_map(clip).collect()
    }
}

/// True when `key` of `keyspace` comes before the internal key `bound`.
fn is_before(keyspace: u8, key: &[u8], bound: &[u8]) -> bool {
    match bound.split_first() {
        Some((first, rest)) => (keyspace, key) < (*first, rest),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_range_set_covers_what_its_ranges_do(
            pairs in proptest::collection::vec((0u8..30, 0u8..30), 0..12),
            clip in (0u8..30, 0u8..30),
        ) {
            let mut set = RangeSet::default();
            let tombstone = |(from, to): (u8, u8)| RangeTombstone { from: vec![1, from], to: vec![1, to] };
            let all: Vec<_> = pairs.iter().copied().map(tombstone).collect();
            for range in &all {
                set.add(range.from.clone(), range.to.clone());
            }
            let union = RangeSet::union(&all);
            prop_assert!(set.iter().eq(union.iter()));
            let apart = |pair: &[Arc<RangeTombstone>]| pair[0].to < pair[1].from;
            prop_assert!(set.ranges.windows(2).all(apart));
            let clipped = RangeSet::union(&set.clipped(&[1, clip.0], Some(&[1, clip.1])));
            for key in 0..30u8 {
                let expected = pairs.iter().any(|(from, to)| (*from..*to).contains(&key));
                prop_assert_eq!(set.covers(1, &[key]), expected);
                prop_assert_eq!(set.covers_internal(&[1, key]), expected);
                prop_assert!(!set.covers(0, &[key]) && !set.covers(2, &[key]));
                let inside = (clip.0..clip.1).contains(&key);
                prop_assert_eq!(clipped.covers(1, &[key]), expected && inside);
            }
        }
    }
}
