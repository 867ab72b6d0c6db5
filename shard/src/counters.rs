//! What a shard counts, readable from any thread without asking it.
//!
//! One [`Counters`] per shard: only its own thread adds, so relaxed atomics are exact enough and
//! share no cache line with another shard's writes.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter or gauge.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ident,)*) => {
        /// Everything one shard counts.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: Counter,)*
        }

        impl Counters {
            /// Names, kinds ("counter" or "gauge"), help texts and values, in the order declared.
            #[must_use]
            pub fn list(&self) -> Vec<Metric> {
                vec![$(Metric {
                    name: stringify!($name),
                    kind: stringify!($kind),
                    help: concat!($($doc),*),
                    value: self.$name.get(),
                },)*]
            }
        }
    };
}

/// One line of the metrics page.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Without the `novax_` prefix; counters get `_total` where they are shown.
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Its value.
    pub value: u64,
}

counters! {
    /// Sockets open now.
    connections: gauge,
    /// Sockets accepted.
    connections_accepted: counter,
    /// Handshakes refused: bad request, wrong path, wrong password, overload.
    handshakes_refused: counter,
    /// Requests of apps on `http.starts_listen`.
    app_requests: counter,
    /// Requests of apps there that got no session.
    app_requests_refused: counter,
    /// Sockets closed because a newer one of the same identity came.
    connections_superseded: counter,
    /// Sockets closed because nothing was heard within the idle limit, or the handshake took too long.
    connections_timed_out: counter,
    /// Sockets closed because they did not read what was sent to them.
    slow_readers_closed: counter,
    /// WebSocket violations: bad frames, invalid UTF-8, oversized messages, binary frames.
    websocket_violations: counter,
    /// Messages received from stations.
    messages_received: counter,
    /// Messages sent to stations.
    messages_sent: counter,
    /// OCPP frames that could not be read at all.
    frames_malformed: counter,
    /// Calls answered with a CALLERROR.
    calls_refused: counter,
    /// Answers of stations to calls that nobody waits for: twice, too late, or never asked.
    answers_unexpected: counter,
    /// Calls to stations that were not answered in time.
    calls_timed_out: counter,
    /// Commands proposed.
    commands_proposed: counter,
    /// Commands applied.
    commands_applied: counter,
    /// Commands refused because a queue was full or the partition had no leader.
    commands_overloaded: counter,
    /// Times another node lacked entries that are gone here.
    snapshots_wanted: counter,
    /// States sent to other nodes, whole.
    snapshots_sent: counter,
    /// States of other nodes that took the place of one here.
    snapshots_installed: counter,
    /// Bytes of states sent to other nodes.
    snapshot_bytes_sent: counter,
    /// Bytes of states that came from other nodes.
    snapshot_bytes_received: counter,
    /// Leads of partitions handed to another node, for balance, a drain or an order.
    leads_handed_over: counter,
    /// Changes of the members of partitions that were begun here.
    members_changed: counter,
    /// Times the sockets of a silent node were taken for closed.
    nodes_given_up: counter,
    /// Messages of other nodes that found a full queue.
    peer_messages_dropped: counter,
    /// Batches of commands that a link lost on their way to a leader and that were sent again.
    batches_lost: counter,
    /// Messages of other nodes that made no sense, or that no correct node sends.
    peer_messages_bad: counter,
    /// Meter ticks received.
    ticks_received: counter,
    /// Log writes completed.
    log_writes: counter,
    /// Bytes written to the log.
    log_bytes: counter,
    /// Transactions started by a card or an app.
    transactions_started: counter,
    /// Transactions ended.
    transactions_ended: counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_sentence() {
        for metric in Counters::default().list() {
            assert!(metric.help.trim().ends_with('.'), "{}", metric.name);
            assert!(matches!(metric.kind, "counter" | "gauge"));
        }
    }
}
