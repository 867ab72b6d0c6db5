//! What the objects of the workloads do, one call after the other.

use super::linear::{Model, Timed};
use std::collections::BTreeSet;

/// A register of a number, with compare-and-set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Register {
    /// What it holds at first.
    pub initial: Option<i64>,
}

/// A call on a register, with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterCall {
    /// It held this.
    Read(Option<i64>),
    /// Now it holds this.
    Write(i64),
    /// It became `to` if it held `from`.
    Cas {
        /// What it has to hold.
        from: i64,
        /// What it holds then.
        to: i64,
        /// Whether it did; `None` when that is not known.
        done: Option<bool>,
    },
}

impl Model for Register {
    type State = Option<i64>;
    type Call = RegisterCall;

    fn initial(&self) -> Option<i64> {
        self.initial
    }

    fn step(&self, state: &Option<i64>, call: &RegisterCall) -> Option<Option<i64>> {
        match *call {
            RegisterCall::Read(seen) => (seen == *state).then_some(*state),
            RegisterCall::Write(value) => Some(Some(value)),
            RegisterCall::Cas { from, to, done } => {
                let fits = *state == Some(from);
                let after = if fits { Some(to) } else { *state };
                done.is_none_or(|done| done == fits).then_some(after)
            }
        }
    }

    fn only_reads(&self, call: &RegisterCall) -> bool {
        matches!(call, RegisterCall::Read(_) | RegisterCall::Cas { done: Some(false), .. })
    }
}

/// Leaves out writes of which nothing is known and whose value nobody ever saw: such a write can have been
/// never, and leaving it out spares the search a factor of two each.
///
/// Only where every compare-and-set succeeded, since one that failed may have seen any value.
#[must_use]
pub fn without_unseen_writes(calls: Vec<Timed<RegisterCall>>) -> Vec<Timed<RegisterCall>> {
    let mut seen = BTreeSet::new();
    for timed in &calls {
        match timed.call {
            RegisterCall::Read(value) => seen.extend(value),
            RegisterCall::Cas { from, done: Some(true), .. } => {
                seen.insert(from);
            }
            RegisterCall::Cas { .. } => return calls,
            RegisterCall::Write(_) => {}
        }
    }
    let keep = |timed: &Timed<RegisterCall>| match timed.call {
        RegisterCall::Write(value) => timed.returned.is_some() || seen.contains(&value),
        RegisterCall::Read(_) | RegisterCall::Cas { .. } => true,
    };
    calls.into_iter().filter(keep).collect()
}

/// Whether one element is in a set. Elements are objects of their own: check them by key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Element;

/// A call on an element, with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementCall {
    /// Now it is in; whether it was not before, if known.
    Add(Option<bool>),
    /// Now it is not; whether it was before, if known.
    Remove(Option<bool>),
    /// Whether it is in.
    Contains(bool),
}

impl Model for Element {
    type State = bool;
    type Call = ElementCall;

    fn initial(&self) -> bool {
        false
    }

    fn step(&self, state: &bool, call: &ElementCall) -> Option<bool> {
        match *call {
            ElementCall::Add(new) => new.is_none_or(|new| new != *state).then_some(true),
            ElementCall::Remove(was) => was.is_none_or(|was| was == *state).then_some(false),
            ElementCall::Contains(is) => (is == *state).then_some(*state),
        }
    }

    fn only_reads(&self, call: &ElementCall) -> bool {
        matches!(call, ElementCall::Contains(_))
    }
}

/// A whole set that is read at once. Its readings bind all elements together, so it is one object.
#[derive(Debug, Clone, Copy, Default)]
pub struct WholeSet;

/// A call on a set, with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SetCall {
    /// Now it is in.
    Add(i64),
    /// All that is in.
    Read(BTreeSet<i64>),
}

impl Model for WholeSet {
    type State = BTreeSet<i64>;
    type Call = SetCall;

    fn initial(&self) -> BTreeSet<i64> {
        BTreeSet::new()
    }

    fn step(&self, state: &BTreeSet<i64>, call: &SetCall) -> Option<BTreeSet<i64>> {
        match call {
            SetCall::Add(element) => {
                let mut after = state.clone();
                after.insert(*element);
                Some(after)
            }
            SetCall::Read(seen) => (seen == state).then(|| state.clone()),
        }
    }

    fn only_reads(&self, call: &SetCall) -> bool {
        matches!(call, SetCall::Read(_))
    }
}
