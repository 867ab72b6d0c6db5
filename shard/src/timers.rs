//! A hierarchical timer wheel (Varghese and Lauck, 1987): setting and firing cost the same however many wait.
//!
//! Four levels of 64 slots over ticks of 100 ms reach 19 days; later deadlines wait in the last slot
//! and are set again when it comes. Timers are never cancelled: whoever owns one looks, when it fires,
//! whether it still means anything, and sets it again if not. So a busy connection costs nothing here.

use novax_model::{Duration, Timestamp};

const TICK_US: u64 = 100_000;
const LEVELS: usize = 4;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// The wheel. `K` names what a timer is about; it is copied, so keep it small.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: Vec<Vec<(u64, K)>>,
    /// The tick that has been fired up to and including.
    tick: u64,
    len: usize,
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel whose time is `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let slots = (0..LEVELS * SLOTS).map(|_| Vec::new()).collect();
        Wheel { slots, tick: now.0 / TICK_US, len: 0 }
    }

    /// How many timers wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fires `key` at the first tick at or after `deadline`, never early, at the earliest next tick.
    pub fn set(&mut self, deadline: Timestamp, key: K) {
        let due = deadline.0.div_ceil(TICK_US).max(self.tick + 1);
        self.place(due, key);
        self.len += 1;
    }

    fn place(&mut self, due: u64, key: K) {
        debug_assert!(due > self.tick, "a timer waits for a tick to come");
        let reach = 1_u64 << (SLOT_BITS * LEVELS as u32);
        let at = due.min(self.tick + reach - 1);
        // The level whose slots are just wide enough to tell `at` from now.
        let differing = (at ^ self.tick) | 1;
        let level = ((63 - differing.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1);
        let slot = (at >> (SLOT_BITS * level)) as usize % SLOTS;
        self.slots[level as usize * SLOTS + slot].push((due, key));
    }

    /// Moves time on to `now` and hands out every timer that is due.
    pub fn advance(&mut self, now: Timestamp, fire: &mut impl FnMut(K)) {
        let target = now.0 / TICK_US;
        while self.tick < target {
            if self.len == 0 {
                self.tick = target;
                return;
            }
            self.tick += 1;
            self.cascade();
            let slot = self.tick as usize % SLOTS;
            for (due, key) in std::mem::take(&mut self.slots[slot]) {
                if due <= self.tick {
                    self.len -= 1;
                    fire(key);
                } else {
                    self.place(due, key);
                }
            }
        }
    }

    /// When a lower level has gone round, the next slot of the level above is spread over it.
    fn cascade(&mut self) {
        for level in (1..LEVELS as u32).rev() {
            if self.tick.is_multiple_of(1 << (SLOT_BITS * level)) {
                let slot = (self.tick >> (SLOT_BITS * level)) as usize % SLOTS;
                let waiting = std::mem::take(&mut self.slots[level as usize * SLOTS + slot]);
                for (due, key) in waiting {
                    if due <= self.tick {
                        // Due at this very tick: into the slot that is about to fire.
                        self.slots[self.tick as usize % SLOTS].push((due, key));
                    } else {
                        self.place(due, key);
                    }
                }
            }
        }
    }

    /// How long the loop may sleep before the next tick, or `None` when no timer waits.
    #[must_use]
    pub fn sleep(&self, now: Timestamp) -> Option<Duration> {
        if self.len == 0 {
            return None;
        }
        let next = Timestamp((self.tick + 1) * TICK_US);
        Some(next.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fires_like_a_sorted_list(
            start in 0_u64..1 << 40,
            deadlines in prop::collection::vec(0_u64..3_000_000_000_000, 1..60),
            steps in prop::collection::vec(1_u64..200_000_000_000, 1..40),
        ) {
            let mut wheel = Wheel::new(Timestamp(start));
            let mut waiting: Vec<(u64, usize)> = Vec::new();
            for (key, delay) in deadlines.iter().enumerate() {
                // Mostly near, some far, some past the wheel's reach.
                let delay = if key % 3 == 0 { *delay } else { delay % 10_000_000 };
                wheel.set(Timestamp(start + delay), key);
                waiting.push((start + delay, key));
            }
            let mut now = start;
            for step in steps {
                now += if step % 2 == 0 { step } else { step % 3_000_000 };
                let mut fired = Vec::new();
                wheel.advance(Timestamp(now), &mut |key| fired.push(key));
                for key in &fired {
                    let at = waiting.iter().position(|(_, k)| k == key).expect("fires once");
                    prop_assert!(waiting.swap_remove(at).0 <= now, "never early");
                }
                for (deadline, _) in &waiting {
                    prop_assert!(*deadline + TICK_US > now, "at most one tick late");
                }
                prop_assert_eq!(wheel.len(), waiting.len());
            }
        }
    }
}
