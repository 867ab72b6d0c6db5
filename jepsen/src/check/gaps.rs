//! For how long nothing was served, and how long answers took.

use crate::op::{Call, End, FaultSpan};

/// How long nothing was served because of a fault.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// Which fault.
    pub fault: String,
    /// From the fault's beginning to the end of the first call that was answered *ok* after it and had begun
    /// after the last that was not; `None` when none was any more.
    pub unavailable_ms: Option<u64>,
}

/// Of each fault: the longest time between two successes that touches it, up to the next fault.
///
/// A client that probes each 10 ms makes this as exact as 10 ms. A success counts when it ends; the time before
/// the fault counts from the fault on.
#[must_use]
pub fn gaps(calls: &[Call], faults: &[FaultSpan]) -> Vec<Gap> {
    let mut done: Vec<u64> = calls
        .iter()
        .filter(|call| matches!(call.end, End::Ok(_)))
        .filter_map(|call| call.completed_ns)
        .collect();
    done.sort_unstable();
    let until = |number: usize| faults.get(number + 1).map_or(u64::MAX, |next| next.from_ns);
    faults
        .iter()
        .enumerate()
        .map(|(number, fault)| {
            let (from, to) = (fault.from_ns, until(number));
            let first = done.partition_point(|&at| at < from);
            let mut before = from;
            let mut longest = None;
            for &at in done[first..].iter().take_while(|&&at| at < to) {
                longest = longest.max(Some(at - before));
                before = at;
            }
            // What the next fault cut short is no recovery.
            let unavailable_ms = longest.map(|ns| ns / 1_000_000);
            Gap { fault: fault.name.clone(), unavailable_ms }
        })
        .collect()
}

/// Latencies of calls that were answered, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// Of the calls that began in a span of time.
    #[must_use]
    pub fn between(calls: &[Call], from_ns: u64, to_ns: u64) -> Latencies {
        let mut taken: Vec<u64> = calls
            .iter()
            .filter(|call| (from_ns..to_ns).contains(&call.invoked_ns))
            .filter(|call| !matches!(call.end, End::Unknown(_)))
            .filter_map(|call| Some(call.completed_ns?.saturating_sub(call.invoked_ns)))
            .collect();
        taken.sort_unstable();
        Latencies(taken)
    }

    /// So many of a thousand took no longer than this.
    ///
    /// # Panics
    /// When asked for more than a thousand of a thousand.
    #[must_use]
    pub fn per_mille_ns(&self, per_mille: usize) -> Option<u64> {
        assert!(per_mille <= 1_000, "{per_mille} of a thousand");
        let last = self.0.len().checked_sub(1)?;
        self.0.get((last * per_mille).div_ceil(1_000)).copied()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Value;

    const MS: u64 = 1_000_000;

    fn call(invoked_ms: u64, completed_ms: u64, end: End) -> Call {
        Call {
            process: 0,
            f: "probe".to_owned(),
            argument: Value::Nil,
            invoked: invoked_ms,
            completed: Some(completed_ms),
            invoked_ns: invoked_ms * MS,
            completed_ns: Some(completed_ms * MS),
            end,
        }
    }

    fn fault(name: &str, from_ms: u64) -> FaultSpan {
        let detail = String::new();
        FaultSpan { name: name.to_owned(), detail, from_ns: from_ms * MS, to_ns: None }
    }

    #[test]
    fn a_gap_lasts_from_the_fault_to_the_next_success() {
        let ok = || End::Ok(Value::Nil);
        let calls = [
            call(0, 10, ok()),
            call(90, 95, ok()),
            // Answered after the fault began, then nothing for a while.
            call(100, 105, ok()),
            call(110, 400, End::Unknown(String::new())),
            call(410, 415, End::Fail(String::new())),
            call(420, 655, ok()),
            call(660, 670, ok()),
            call(900, 905, End::Fail(String::new())),
        ];
        let found = gaps(&calls, &[fault("kill", 100), fault("cut", 800)]);
        let seen: Vec<_> =
            found.iter().map(|gap| (gap.fault.as_str(), gap.unavailable_ms)).collect();
        assert_eq!(seen, [("kill", Some(550)), ("cut", None)]);
    }

    #[test]
    fn latencies_are_of_what_was_answered() {
        let calls: Vec<Call> = (0..101)
            .map(|number| call(number, 2 * number, End::Ok(Value::Nil)))
            .chain([call(5, 9_000, End::Unknown(String::new()))])
            .collect();
        let all = Latencies::between(&calls, 0, u64::MAX);
        assert_eq!(all.count(), 101);
        assert_eq!(all.per_mille_ns(500), Some(50 * MS));
        assert_eq!(all.per_mille_ns(990), Some(99 * MS));
        assert_eq!(all.per_mille_ns(1_000), Some(100 * MS));
        assert_eq!(Latencies::between(&calls, 10 * MS, 11 * MS).per_mille_ns(0), Some(10 * MS));
        assert_eq!(Latencies(Vec::new()).per_mille_ns(500), None);
    }
}
