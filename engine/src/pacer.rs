//! How fast compactions write: no faster than the options say, unless flushed tables pile up.
//!
//! Invariant: a job never waits longer than a moment past the time when the limit is lifted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest wait without a look at the limit.
const NAP: Duration = Duration::from_millis(10);
/// What may be written at once after a pause.
const BURST: Duration = Duration::from_millis(50);

/// Shared by the compactions of a store.
pub(crate) struct Pacer {
    bytes_per_s_max: Option<u64>,
    /// There is more to do than the limit allows for.
    lifted: AtomicBool,
    /// When all that was written so far is paid for.
    paid_until: Mutex<Option<Instant>>,
    /// How long jobs have waited in all.
    waited_us: AtomicU64,
}

impl Pacer {
    pub(crate) fn new(bytes_per_s_max: Option<u64>) -> Pacer {
        Pacer {
            bytes_per_s_max,
            lifted: AtomicBool::new(false),
            paid_until: Mutex::new(None),
            waited_us: AtomicU64::new(0),
        }
    }

    /// Lifts the limit while work piles up, and for good when the store is closed.
    pub(crate) fn set_lifted(&self, lifted: bool) {
        self.lifted.store(lifted, Ordering::Release);
    }

    pub(crate) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_us.load(Ordering::Relaxed))
    }

    fn is_lifted(&self) -> bool {
        self.lifted.load(Ordering::Acquire)
    }

    /// When what was written by now, these bytes included, is paid for.
    fn due(&self, bytes: u64, bytes_per_s: u64, now: Instant) -> Instant {
        let price = Duration::from_nanos(
            bytes.saturating_mul(1_000_000_000).checked_div(bytes_per_s).unwrap_or(u64::MAX),
        );
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.checked_sub(BURST).unwrap_or(now);
        let due = paid_until.map_or(start, |paid| paid.max(start)) + price;
        *paid_until = Some(due);
        due
    }

    /// Waits until `bytes` that were written are within the limit. For a worker's thread.
    pub(crate) fn pay(&self, bytes: u64) {
        let Some(bytes_per_s) = self.bytes_per_s_max.filter(|_| !self.is_lifted()) else { return };
        let begun = Instant::now();
        let due = self.due(bytes, bytes_per_s.max(1), begun);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_lifted() {
                break;
            }
            std::thread::sleep(left.min(NAP));
        }
        let waited_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(waited_us, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_paid_for_at_the_rate_and_a_pause_saves_up_little() {
        let pacer = Pacer::new(Some(1_000_000));
        let start = Instant::now();
        let mut due = start;
        for _ in 0..10 {
            due = pacer.due(100_000, 1_000_000, start);
        }
        assert_eq!(due - start, Duration::from_secs(1) - BURST);
        // An hour later, no more than the burst was saved up.
        let later = start + Duration::from_secs(3600);
        assert_eq!(pacer.due(100_000, 1_000_000, later) - later, Duration::from_millis(50));
    }

    #[test]
    fn without_a_limit_or_with_it_lifted_nobody_waits() {
        Pacer::new(None).pay(u64::MAX);
        let pacer = Pacer::new(Some(1));
        pacer.set_lifted(true);
        pacer.pay(u64::MAX);
        assert_eq!(pacer.waited(), Duration::ZERO);
    }
}
