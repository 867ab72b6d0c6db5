//! What is still to come in a simulated world, in order of time.
//!
//! **Invariant**: what is due at the same time comes in the order in which it was put there, so that a run
//! depends on its seed alone.

use novax_model::{Duration, Timestamp};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Something that is due.
#[derive(Debug)]
struct Due<E> {
    at: Timestamp,
    number: u64,
    event: E,
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Due<E> {
    /// The heap gives the greatest first: that is what comes soonest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// Events in order of time, and the time.
#[derive(Debug)]
pub struct Agenda<E> {
    heap: BinaryHeap<Due<E>>,
    number: u64,
    now: Timestamp,
}

impl<E> Agenda<E> {
    /// An empty one that begins at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Agenda<E> {
        Agenda { heap: BinaryHeap::new(), number: 0, now }
    }

    /// The time of the event that was taken last.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// How many events were put here so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.number
    }

    /// Puts an event at a time; one that is over means now.
    pub fn put(&mut self, at: Timestamp, event: E) {
        self.number += 1;
        self.heap.push(Due { at: at.max(self.now), number: self.number, event });
    }

    /// Puts an event so long after now.
    pub fn put_in(&mut self, delay: Duration, event: E) {
        self.put(self.now.saturating_add(delay), event);
    }

    /// Moves time on to the next event, unless that lies after `until`: then to `until`.
    pub fn next(&mut self, until: Timestamp) -> Option<E> {
        assert!(until >= self.now, "time goes on");
        if self.heap.peek().is_none_or(|due| due.at > until) {
            self.now = until;
            return None;
        }
        let due = self.heap.pop()?;
        assert!(due.at >= self.now, "time goes on");
        self.now = due.at;
        Some(due.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_of_being_put_there() {
        let mut agenda = Agenda::new(Timestamp(10));
        agenda.put(Timestamp(30), 'c');
        agenda.put(Timestamp(20), 'a');
        agenda.put(Timestamp(20), 'b');
        agenda.put(Timestamp(5), 'z');
        let mut taken = Vec::new();
        while let Some(event) = agenda.next(Timestamp(25)) {
            taken.push((agenda.now().0, event));
        }
        assert_eq!(taken, [(10, 'z'), (20, 'a'), (20, 'b')]);
        assert_eq!(agenda.now(), Timestamp(25));
        assert_eq!(agenda.next(Timestamp(40)), Some('c'));
    }
}
