//! One status a second, taken once and shared by everybody who watches.
//!
//! A watcher that is slow misses seconds, never holds anything up: the channel keeps one value.

use super::Api;
use super::status::StatusView;
use crate::control::{Control, Totals, Unavailable};
use novax_model::{Duration, Timestamp};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use utoipa::ToSchema;

/// Seconds the history keeps: what the console's chart shows.
pub(super) const HISTORY_SAMPLES_MAX: usize = 600;

const TICK: Duration = Duration::from_secs(1);

/// The node at one second.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Sample {
    /// When.
    pub at: String,
    /// Power of all connectors.
    pub power_w: i64,
    /// Sessions that hold a connector.
    pub live_sessions: u64,
    /// Commands applied in the second before.
    pub commands_per_s: u64,
}

/// What changes by the second, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rates {
    pub commands_per_s: u64,
    pub messages_per_s: u64,
}

/// The newest status, the history behind it, the rates between.
#[derive(Debug)]
pub(super) struct Live {
    started: Instant,
    newest: watch::Sender<Option<Arc<str>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    history: VecDeque<Sample>,
    rates: Rates,
    before: Option<Reading>,
}

/// The counters at one time.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    commands: u64,
    messages: u64,
}

impl Live {
    pub(super) fn new() -> Live {
        Live {
            started: Instant::now(),
            newest: watch::Sender::new(None),
            state: Mutex::new(State::default()),
        }
    }

    /// The newest status as JSON, now and whenever there is a newer one; `None` before the first
    /// and after the last.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.newest.subscribe()
    }

    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn rates(&self) -> Rates {
        self.lock().rates
    }

    pub(super) fn history(&self) -> Vec<Sample> {
        self.lock().history.iter().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while it is held; the data would be whole even so.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, control: &Control, totals: &Totals) {
        let mut state = self.lock();
        let reading = Reading::of(control);
        if let Some(before) = state.before.replace(reading) {
            state.rates = reading.since(&before);
        }
        let sample = Sample {
            at: now().to_rfc3339(),
            power_w: totals.power_w,
            live_sessions: totals.live_sessions,
            commands_per_s: state.rates.commands_per_s,
        };
        if state.history.len() == HISTORY_SAMPLES_MAX {
            state.history.pop_front();
        }
        state.history.push_back(sample);
        assert!(state.history.len() <= HISTORY_SAMPLES_MAX, "one in, one out");
    }
}

impl Reading {
    fn of(control: &Control) -> Reading {
        let sum = |count: fn(&novax_shard::counters::Counters) -> u64| {
            control.counters().map(count).sum()
        };
        Reading {
            at: Instant::now(),
            commands: sum(|counters| counters.commands_applied.get()),
            messages: sum(|counters| counters.messages_received.get()),
        }
    }

    fn since(&self, before: &Reading) -> Rates {
        let elapsed_us = self.at.duration_since(before.at).as_micros().max(1);
        let per_second = |now: u64, then: u64| {
            let rate = u128::from(now.saturating_sub(then)) * 1_000_000 / elapsed_us;
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        Rates {
            commands_per_s: per_second(self.commands, before.commands),
            messages_per_s: per_second(self.messages, before.messages),
        }
    }
}

/// The time by the node's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Takes a status every second until `stopped` has no sender left.
pub(super) async fn run(api: Api, mut stopped: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                // A node too busy to say how it is: the watchers see the mark of the last status age.
                let _ = tick(&api).await;
            }
            _ = stopped.changed() => break,
        }
    }
    api.0.live.newest.send_replace(None);
}

/// Takes one status and shows it to all watchers.
pub(super) async fn tick(api: &Api) -> Result<(), Unavailable> {
    let totals = api.control().totals().await?;
    api.0.live.note(api.control(), &totals);
    let status = StatusView::new(api, &totals);
    let text = serde_json::to_string(&status).expect("numbers and texts always serialise");
    api.0.live.newest.send_replace(Some(text.into()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_whatever_the_distance() {
        let start = Instant::now();
        let before = Reading { at: start, commands: 100, messages: 50 };
        let at = start + Duration::from_millis(2_000);
        let after = Reading { at, commands: 2_100, messages: 40 };
        let expected = Rates { commands_per_s: 1_000, messages_per_s: 0 };
        assert_eq!(after.since(&before), expected);
        assert_eq!(before.since(&before), Rates::default());
    }
}
