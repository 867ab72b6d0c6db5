//! Latencies by second and altogether.

use crate::figures::per_mille;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Latencies of one run, in microseconds, by the second in which each was due.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    seconds: Vec<Vec<u32>>,
}

/// Puts that are due at a steady rate, whatever the store does: one that is late because those before it
/// were held up counts from when it was due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Puts a second.
    pub(crate) rate: u64,
    pub(crate) seconds: u64,
    /// Keys are drawn from so many numbers.
    pub(crate) keys: u64,
}

impl Pace {
    pub(crate) fn count(&self) -> u64 {
        self.rate * self.seconds
    }

    fn due(&self, n: u64) -> Duration {
        Duration::from_micros(n * 1_000_000 / self.rate)
    }

    /// Waits until the put is due.
    pub(crate) fn wait(&self, n: u64, begun: Instant) {
        if let Some(early) = self.due(n).checked_sub(begun.elapsed()) {
            std::thread::sleep(early);
        }
    }

    /// The put is done now.
    pub(crate) fn note(&self, n: u64, begun: Instant, latencies: &mut Latencies) {
        let due = self.due(n);
        let late = begun.elapsed().saturating_sub(due);
        let second = usize::try_from(due.as_secs()).expect("a short run");
        latencies.add(second, u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
    }
}

/// One second of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Second {
    pub(crate) p50_us: u32,
    pub(crate) p999_us: u32,
    pub(crate) max_us: u32,
}

/// More seconds than any run has.
const SECONDS_MAX: usize = 3_600;

impl Latencies {
    pub(crate) fn add(&mut self, second: usize, latency_us: u32) {
        assert!(second < SECONDS_MAX, "a run is bounded");
        if self.seconds.len() <= second {
            self.seconds.resize_with(second + 1, Vec::new);
        }
        self.seconds[second].push(latency_us);
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut all: Vec<u32> = self.seconds.iter().flatten().copied().collect();
        let seconds = self.seconds.iter().filter_map(|second| {
            let mut sorted = second.clone();
            summary(&mut sorted).map(|s| json!([s.p50_us, s.p999_us, s.max_us]))
        });
        let seconds: Vec<Value> = seconds.collect();
        let Some(all) = summary(&mut all) else { return json!({ "seconds": [] }) };
        json!({ "p50_us": all.p50_us, "p999_us": all.p999_us, "max_us": all.max_us, "seconds": seconds })
    }
}

/// Percentiles of some latencies; none when there are none. Sorts them.
pub(crate) fn summary(latencies_us: &mut [u32]) -> Option<Second> {
    if latencies_us.is_empty() {
        return None;
    }
    latencies_us.sort_unstable();
    let of = |part| per_mille(latencies_us, part);
    Some(Second { p50_us: of(500), p999_us: of(999), max_us: of(1_000) })
}

/// The seconds of [`Latencies::to_json`].
pub(crate) fn seconds_of(told: &Value) -> Vec<Second> {
    let number =
        |value: Option<&Value>| value.and_then(Value::as_u64).and_then(|us| us.try_into().ok());
    let second = |entry: &Value| {
        Some(Second {
            p50_us: number(entry.get(0))?,
            p999_us: number(entry.get(1))?,
            max_us: number(entry.get(2))?,
        })
    };
    let seconds = told.get("seconds").and_then(Value::as_array);
    seconds.into_iter().flatten().filter_map(second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_come_back_from_what_was_told_of_them() {
        let mut latencies = Latencies::default();
        for us in 1..=1_000 {
            latencies.add(0, us);
        }
        latencies.add(1, 7);
        let told = latencies.to_json();
        let first = Second { p50_us: 500, p999_us: 999, max_us: 1_000 };
        let second = Second { p50_us: 7, p999_us: 7, max_us: 7 };
        assert_eq!(seconds_of(&told), [first, second]);
        assert_eq!(told["p999_us"], 999);
    }
}
