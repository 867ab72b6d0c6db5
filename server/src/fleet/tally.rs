//! What the fleet counts, from all its tasks.

use super::charger::Note;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counters and gauges.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) connected: AtomicI64,
    pub(super) charging: AtomicI64,
    pub(super) power_w: AtomicI64,
    pub(super) messages: AtomicU64,
    pub(super) starts_accepted: AtomicU64,
    pub(super) starts_refused: AtomicU64,
    pub(super) stops: AtomicU64,
    pub(super) calls_failed: AtomicU64,
    pub(super) events_dropped: AtomicU64,
    pub(super) connections_failed: AtomicU64,
    pub(super) connections_lost: AtomicU64,
    pub(super) requests_failed: AtomicU64,
}

impl Tally {
    /// Counts one.
    pub(super) fn add(&self, counter: impl Fn(&Tally) -> &AtomicU64) {
        counter(self).fetch_add(1, Ordering::Relaxed);
    }

    /// Moves a gauge from what one charger added before to what it adds now.
    pub(super) fn shift(&self, gauge: impl Fn(&Tally) -> &AtomicI64, before: i64, now: i64) {
        gauge(self).fetch_add(now - before, Ordering::Relaxed);
    }

    /// Counts what a charger noted.
    pub(super) fn note(&self, note: Note) {
        self.add(|tally| match note {
            Note::StartAccepted => &tally.starts_accepted,
            Note::StartRefused => &tally.starts_refused,
            Note::Stopped => &tally.stops,
            Note::CallFailed => &tally.calls_failed,
            Note::EventDropped => &tally.events_dropped,
        });
    }

    /// The values now.
    pub(super) fn snapshot(&self) -> Snapshot {
        let gauge = |gauge: &AtomicI64| gauge.load(Ordering::Relaxed).max(0);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let errors = [&self.calls_failed, &self.events_dropped, &self.requests_failed];
        Snapshot {
            connected: gauge(&self.connected),
            charging: gauge(&self.charging),
            power_w: gauge(&self.power_w),
            messages: count(&self.messages),
            starts_accepted: count(&self.starts_accepted),
            starts_refused: count(&self.starts_refused),
            stops: count(&self.stops),
            lost: count(&self.connections_failed) + count(&self.connections_lost),
            errors: errors.into_iter().map(count).sum(),
            messages_per_s: 0,
        }
    }
}

/// The values at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot {
    connected: i64,
    charging: i64,
    power_w: i64,
    messages: u64,
    starts_accepted: u64,
    starts_refused: u64,
    stops: u64,
    lost: u64,
    errors: u64,
    messages_per_s: u64,
}

impl Snapshot {
    /// With the rate since an earlier one, a second ago.
    pub(super) fn since(mut self, earlier: &Snapshot) -> Snapshot {
        self.messages_per_s = self.messages.saturating_sub(earlier.messages);
        self
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot { connected, charging, messages_per_s, starts_accepted, .. } = self;
        let (kw, tenth) = (self.power_w / 1_000, self.power_w % 1_000 / 100);
        let Snapshot { starts_refused, stops, lost, errors, .. } = self;
        write!(
            f,
            "connected {connected:>6}   charging {charging:>6}   {kw:>7}.{tenth} kW   \
             {messages_per_s:>7} messages/s   starts {starts_accepted} ok {starts_refused} refused   \
             stops {stops}   lost connections {lost}   errors {errors}"
        )
    }
}
