//! Linearisability: the search of Wing and Gong with Lowe's memory of configurations, key by key.
//!
//! A history is linearisable when each call can be given a moment between its beginning and its end so that,
//! one after the other, the calls do what the model does. A call of which nothing is known may have its moment
//! anywhere after its beginning, or never. Histories of different keys are checked one by one (Herlihy and
//! Wing's locality): that is what makes long histories possible.
//!
//! **Invariants**
//! * The verdict is exact, or *broken* when the search would remember more than its bound.
//! * What a call that only reads answers, is settled at the first moment it fits: later moments can do no more,
//!   because a read changes nothing.

use crate::verdict::Verdict;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

/// What an object does, one call after the other.
pub trait Model {
    /// All there is to know of the object.
    type State: Clone + Eq + Hash + Debug;
    /// A call with its answer, as far as one is known.
    type Call: Debug;

    /// The object before the first call.
    fn initial(&self) -> Self::State;

    /// The object after the call, or `None` when the call cannot have been answered so.
    fn step(&self, state: &Self::State, call: &Self::Call) -> Option<Self::State>;

    /// Whether the call can change nothing, whatever the state.
    fn only_reads(&self, call: &Self::Call) -> bool;
}

/// A call and when it was under way, by the index of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed<C> {
    /// What.
    pub call: C,
    /// Its first line.
    pub invoked: u64,
    /// Its last line; `None` when nothing is known of its end.
    pub returned: Option<u64>,
}

/// How much a search may remember.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Configurations of one key.
    pub configurations_max: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { configurations_max: 3_000_000 }
    }
}

/// Whether the calls on one object are linearisable.
#[must_use]
pub fn check<M: Model>(model: &M, calls: &[Timed<M::Call>], bounds: Bounds) -> Verdict {
    Search::new(model, calls, bounds).run()
}

/// Whether the calls are linearisable, each key being an object of its own.
#[must_use]
pub fn check_by_key<K: Ord + Debug, M: Model>(
    model: &M,
    calls: impl IntoIterator<Item = (K, Timed<M::Call>)>,
    bounds: Bounds,
) -> Verdict {
    let mut by_key: BTreeMap<K, Vec<Timed<M::Call>>> = BTreeMap::new();
    for (key, call) in calls {
        by_key.entry(key).or_default().push(call);
    }
    let mut whole = Verdict::Passed;
    for (key, calls) in by_key {
        let named = match check(model, &calls, bounds) {
            Verdict::Failed { findings } => {
                Verdict::of(findings.iter().map(|text| format!("{key:?}: {text}")).collect())
            }
            Verdict::Broken { reason } => Verdict::broken(format!("{key:?}: {reason}")),
            Verdict::Passed => Verdict::Passed,
        };
        whole = whole.and(named);
    }
    whole
}

/// An entry of the list of what is still to be placed: the beginning or the end of a call.
#[derive(Debug, Clone, Copy)]
struct Entry {
    call: usize,
    is_end: bool,
    before: usize,
    after: usize,
}

/// The list's anchor: before the first and after the last.
const ANCHOR: usize = 0;

/// Which calls are placed, and what the object is then.
type Configuration<S> = (Box<[u64]>, S);

/// A choice that can be taken back.
#[derive(Debug)]
struct Choice<S> {
    entry: usize,
    state: S,
    /// There was no other choice: a read that fitted.
    forced: bool,
}

struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Timed<M::Call>],
    bounds: Bounds,
    entries: Vec<Entry>,
    /// Where in the list the end of each call is.
    ends: Vec<Option<usize>>,
    placed: Placed,
    seen: HashSet<Configuration<M::State>>,
    choices: Vec<Choice<M::State>>,
    /// Calls with an end that are not placed yet.
    open: usize,
    /// As far as anything fitted: how many were placed, the object then, and the call that did not fit.
    farthest: Option<(usize, M::State, usize)>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, calls: &'a [Timed<M::Call>], bounds: Bounds) -> Search<'a, M> {
        // Without an answer a read says nothing.
        let counts =
            |call: &Timed<M::Call>| call.returned.is_some() || !model.only_reads(&call.call);
        let mut lines: Vec<(u64, usize, bool)> = Vec::with_capacity(calls.len() * 2);
        for (number, call) in calls.iter().enumerate().filter(|(_, call)| counts(call)) {
            lines.push((call.invoked, number, false));
            lines.extend(call.returned.map(|returned| {
                assert!(returned > call.invoked, "a call ends after it begins");
                (returned, number, true)
            }));
        }
        lines.sort_unstable();
        let mut entries = vec![Entry { call: usize::MAX, is_end: false, before: 0, after: 0 }];
        let mut ends = vec![None; calls.len()];
        for (_, call, is_end) in lines {
            let at = entries.len();
            if is_end {
                ends[call] = Some(at);
            }
            entries.push(Entry { call, is_end, before: at - 1, after: at + 1 });
        }
        let last = entries.len() - 1;
        entries[last].after = ANCHOR;
        entries[ANCHOR].before = last;
        entries[ANCHOR].after = usize::from(last > 0);
        let open = ends.iter().flatten().count();
        Search {
            model,
            calls,
            bounds,
            entries,
            placed: Placed::new(&ends),
            ends,
            seen: HashSet::new(),
            choices: Vec::new(),
            open,
            farthest: None,
        }
    }

    fn run(mut self) -> Verdict {
        let mut state = self.model.initial();
        let mut at = self.entries[ANCHOR].after;
        while self.open > 0 {
            let Entry { call, is_end, after, .. } = self.entries[at];
            if is_end {
                self.note_stuck(&state, call);
                match self.take_back() {
                    Some((before, next)) => (state, at) = (before, next),
                    None => return self.refutation(),
                }
                continue;
            }
            let Some(next) = self.model.step(&state, &self.calls[call].call) else {
                at = after;
                continue;
            };
            let forced = self.model.only_reads(&self.calls[call].call);
            self.placed.set(call);
            if !self.seen.insert((self.placed.key(), next.clone())) {
                self.placed.clear(call);
                // A read that fits leads nowhere new: then nothing does from here.
                at = after;
                continue;
            }
            if self.seen.len() > self.bounds.configurations_max {
                let max = self.bounds.configurations_max;
                return Verdict::broken(format!("more than {max} configurations to remember"));
            }
            self.choices.push(Choice { entry: at, state, forced });
            state = next;
            self.lift(at);
            at = self.entries[ANCHOR].after;
        }
        Verdict::Passed
    }

    /// Goes back to the last choice that had another: the object before it, and the entry to go on with.
    fn take_back(&mut self) -> Option<(M::State, usize)> {
        loop {
            let Choice { entry, state, forced } = self.choices.pop()?;
            self.placed.clear(self.entries[entry].call);
            self.put_back(entry);
            if !forced {
                return Some((state, self.entries[entry].after));
            }
        }
    }

    /// Takes a call's beginning and end out of the list.
    fn lift(&mut self, at: usize) {
        self.unlink(at);
        if let Some(end) = self.ends[self.entries[at].call] {
            self.unlink(end);
            self.open -= 1;
        }
    }

    fn put_back(&mut self, at: usize) {
        if let Some(end) = self.ends[self.entries[at].call] {
            self.relink(end);
            self.open += 1;
        }
        self.relink(at);
    }

    fn unlink(&mut self, at: usize) {
        let Entry { before, after, .. } = self.entries[at];
        self.entries[before].after = after;
        self.entries[after].before = before;
    }

    fn relink(&mut self, at: usize) {
        let Entry { before, after, .. } = self.entries[at];
        self.entries[before].after = at;
        self.entries[after].before = at;
    }

    fn note_stuck(&mut self, state: &M::State, call: usize) {
        let placed = self.choices.len();
        if self.farthest.as_ref().is_none_or(|(most, ..)| placed > *most) {
            self.farthest = Some((placed, state.clone(), call));
        }
    }

    fn refutation(self) -> Verdict {
        let Some((placed, state, call)) = self.farthest else {
            return Verdict::broken("a search that ended without a reason");
        };
        let call = &self.calls[call];
        Verdict::of(vec![format!(
            "not linearisable: {:?} of lines {} to {} fits nowhere; at best {placed} calls can be placed \
             before it, and the state is {state:?} then",
            call.call,
            call.invoked,
            call.returned.unwrap_or(u64::MAX),
        )])
    }
}

/// The set of calls that are placed, with a key that is short when they are a prefix but for a few.
struct Placed {
    /// Position of a call among those with an end, or among those without.
    position: Vec<(bool, usize)>,
    ended: Vec<u64>,
    endless: Vec<u64>,
    /// Words of `ended` that are all ones, from the first.
    full: usize,
}

impl Placed {
    fn new(ends: &[Option<usize>]) -> Placed {
        // In the order of their ends, those that are placed are nearly a prefix.
        let mut order: Vec<usize> = (0..ends.len()).filter(|&call| ends[call].is_some()).collect();
        order.sort_unstable_by_key(|&call| ends[call]);
        let mut position = vec![(false, 0); ends.len()];
        for (place, &call) in order.iter().enumerate() {
            position[call] = (true, place);
        }
        let mut endless = 0;
        for (call, place) in position.iter_mut().enumerate() {
            if ends[call].is_none() {
                *place = (false, endless);
                endless += 1;
            }
        }
        let words = |count: usize| vec![0; count.div_ceil(64)];
        Placed { position, ended: words(order.len()), endless: words(endless), full: 0 }
    }

    fn set(&mut self, call: usize) {
        let (has_end, place) = self.position[call];
        let words = if has_end { &mut self.ended } else { &mut self.endless };
        words[place / 64] |= 1 << (place % 64);
        while self.ended.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
    }

    fn clear(&mut self, call: usize) {
        let (has_end, place) = self.position[call];
        let words = if has_end { &mut self.ended } else { &mut self.endless };
        words[place / 64] &= !(1 << (place % 64));
        if has_end {
            self.full = self.full.min(place / 64);
        }
    }

    fn key(&self) -> Box<[u64]> {
        let rest = &self.ended[self.full..];
        let used = rest.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        let mut key = Vec::with_capacity(2 + used + self.endless.len());
        key.push(u64::try_from(self.full).unwrap_or(u64::MAX));
        key.push(u64::try_from(used).unwrap_or(u64::MAX));
        key.extend_from_slice(&rest[..used]);
        key.extend_from_slice(&self.endless);
        key.into_boxed_slice()
    }
}

#[cfg(test)]
mod tests;
