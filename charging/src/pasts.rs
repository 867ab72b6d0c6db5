//! The last transactions of a station, and what tells that none of them is meant without looking at each: nearly
//! every start is a new one.
//!
//! **Invariant**: the hints follow from the transactions alone, so that it does not matter how they came here.

use crate::finished::Past;
use crate::rows::SessionRow;
use novax_model::{SessionId, Timestamp};
use std::collections::BTreeMap;
use std::collections::btree_map::{Iter, Values};

/// When it was last heard of, and which session it was.
pub(crate) type PastKey = (Timestamp, SessionId);

/// Oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pasts {
    by_age: BTreeMap<PastKey, Past>,
    /// When the latest of them began, by the station's clock.
    begun_max: Timestamp,
    /// Starts of apps that were cancelled.
    cancelled: usize,
    /// Transactions whose stop may still come.
    awaiting: usize,
}

impl Pasts {
    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(crate) fn get(&self, key: &PastKey) -> Option<&Past> {
        self.by_age.get(key)
    }

    pub(crate) fn iter(&self) -> Iter<'_, PastKey, Past> {
        self.by_age.iter()
    }

    pub(crate) fn values(&self) -> Values<'_, PastKey, Past> {
        self.by_age.values()
    }

    /// Whether one of them may have begun at this time.
    pub(crate) fn may_have_begun(&self, at: Timestamp) -> bool {
        at <= self.begun_max
    }

    /// Starts of apps that were cancelled.
    pub(crate) fn cancelled(&self) -> impl Iterator<Item = &Past> {
        let all = (self.cancelled > 0).then(|| self.by_age.values());
        all.into_iter().flatten().filter(|past| is_cancelled(past))
    }

    /// Transactions whose stop may still come.
    pub(crate) fn awaiting(&self) -> impl Iterator<Item = (&PastKey, &SessionRow)> {
        let all = (self.awaiting > 0).then(|| self.by_age.iter());
        all.into_iter()
            .flatten()
            .filter_map(|(key, past)| Some((key, past.awaits_stop.as_deref()?)))
    }

    /// Puts one in, in the place of what was there.
    pub(crate) fn insert(&mut self, key: PastKey, past: Past) {
        self.cancelled += usize::from(is_cancelled(&past));
        self.awaiting += usize::from(past.awaits_stop.is_some());
        self.begun_max = self.begun_max.max(begun(&past));
        if let Some(before) = self.by_age.insert(key, past) {
            self.forget_hints(&before);
        }
    }

    /// Takes out the oldest.
    pub(crate) fn pop_first(&mut self) -> Option<(PastKey, Past)> {
        let (key, past) = self.by_age.pop_first()?;
        self.forget_hints(&past);
        Some((key, past))
    }

    /// The row of a transaction whose stop has come.
    pub(crate) fn take_awaited(&mut self, key: &PastKey) -> Option<Box<SessionRow>> {
        let row = self.by_age.get_mut(key)?.awaits_stop.take()?;
        self.awaiting -= 1;
        Some(row)
    }

    fn forget_hints(&mut self, gone: &Past) {
        self.cancelled -= usize::from(is_cancelled(gone));
        self.awaiting -= usize::from(gone.awaits_stop.is_some());
        if begun(gone) == self.begun_max {
            self.begun_max = self.by_age.values().map(begun).max().unwrap_or_default();
        }
    }
}

fn is_cancelled(past: &Past) -> bool {
    past.cancelled && past.app
}

/// When the last part of it began.
fn begun(past: &Past) -> Timestamp {
    past.segments.iter().map(|segment| segment.started).fold(past.started, Timestamp::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PartitionConfig;
    use crate::state::State;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Op {
        Insert { key: u64, started: u64, cancelled: bool, awaits: bool },
        Pop,
        Take(u64),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let insert = (0..8_u64, 0..6_u64, any::<bool>(), any::<bool>());
        let insert = insert.prop_map(|(key, started, cancelled, awaits)| Op::Insert {
            key,
            started,
            cancelled,
            awaits,
        });
        let op = prop_oneof![3 => insert, 1 => Just(Op::Pop), 1 => (0..8_u64).prop_map(Op::Take)];
        prop::collection::vec(op, 0..60)
    }

    proptest! {
        #[test]
        fn the_hints_say_what_a_look_at_each_would(ops in ops()) {
            let state = State::new(PartitionConfig::default());
            let mut pasts = Pasts::default();
            let key = |key: u64| (Timestamp(key), SessionId(u128::from(key)));
            for op in ops {
                match op {
                    Op::Insert { key: number, started, cancelled, awaits } => {
                        let mut row = state.tombstone(SessionId(u128::from(number)), 0);
                        row.started = Timestamp(started);
                        let mut past = Past::of(&row);
                        (past.cancelled, past.app) = (cancelled, true);
                        past.awaits_stop = awaits.then(|| Box::new(row));
                        pasts.insert(key(number), past);
                    }
                    Op::Pop => drop(pasts.pop_first()),
                    Op::Take(number) => drop(pasts.take_awaited(&key(number))),
                }
                let all: Vec<&Past> = pasts.values().collect();
                let cancelled = all.iter().filter(|past| past.cancelled && past.app).count();
                prop_assert_eq!(pasts.cancelled().count(), cancelled);
                let awaiting = all.iter().filter(|past| past.awaits_stop.is_some()).count();
                prop_assert_eq!(pasts.awaiting().count(), awaiting);
                for at in (0..7).map(Timestamp) {
                    let later = all.iter().any(|past| past.started >= at);
                    prop_assert!(pasts.may_have_begun(at) >= later, "{at:?}");
                    // Nothing is said of an empty memory but that it is one.
                    prop_assert!(!all.is_empty() || at == Timestamp(0) || !pasts.may_have_begun(at));
                }
            }
        }
    }
}
