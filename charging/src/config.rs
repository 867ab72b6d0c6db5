//! What a partition is told when it is made: who it is, how long it waits, how much it keeps.
//!
//! Every replica of a partition must run with the same values: they decide what `apply` does.

use novax_model::{Amount, Duration, PartitionId, WattHours, Watts};
use novax_tsdb::clean::Limits;

/// No amount in a command may be larger, so that sums of amounts never overflow.
pub const AMOUNT_MAX: Amount = 1_000_000_000_000_000_000_000_000_000;

/// Limits and waiting times of a [`Partition`](crate::Partition).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionConfig {
    /// Which partition this is.
    pub partition: PartitionId,
    /// How long an app's start may take until the transaction runs.
    pub start_timeout: Duration,
    /// How long a stop or a limit may wait in the outbox for its station.
    pub outbox_deadline: Duration,
    /// How old a hold for another partition's session gets before that partition is asked.
    pub hold_check_after: Duration,
    /// How long nothing may be heard of a transaction until it is billed up to the last value heard.
    pub silence_close_after: Duration,
    /// How long after a connector was said to be free its transaction may still run, though no more
    /// energy is seen: then it is billed up to the last value heard.
    pub free_close_after: Duration,
    /// How long a hold lasts unless it is renewed; longer than `silence_close_after`, so that it
    /// outlives its session unless the clock jumps.
    pub hold_lifetime: Duration,
    /// How long after a station booted a new transaction may be the going on of the one it had.
    pub continue_after_boot: Duration,
    /// How far a station's clock may be ahead before its ticks get the log's time instead.
    pub clock_ahead_max: Duration,
    /// How late ticks may come and still be kept in their series.
    pub ticks_late_max: Duration,
    /// No connector delivers more: a meter that says so is not believed.
    pub connector_power_max: Watts,
    /// Most unprovisioned stations remembered.
    pub pending_stations_max: usize,
    /// Most rows of each kind in the directory.
    pub directory_max: usize,
    /// Most sites.
    pub sites_max: usize,
    /// Most tariffs, contracts and rule books; they are never forgotten.
    pub terms_max: usize,
    /// Most stations.
    pub stations_max: usize,
    /// Most connectors of one station.
    pub connectors_per_station_max: usize,
    /// Most drivers.
    pub drivers_max: usize,
    /// Most tokens of one driver.
    pub tokens_per_driver_max: usize,
    /// Most sessions not yet settled.
    pub live_sessions_max: usize,
    /// Most outbox rows before new sessions are refused.
    pub outbox_max: usize,
    /// How many finished sessions are in memory by id, and as many holds for sessions of other partitions that are
    /// over; the store has all.
    pub finished_sessions_max: usize,
    /// How many finished transactions of one station are remembered, for repeats.
    pub finished_per_station_max: usize,
    /// How many stops of unknown transactions one station may have waiting for their starts.
    pub parked_per_station_max: usize,
    /// How many transactions of a station that loses power may make up one session.
    pub segments_max: usize,
    /// How many finished sessions can be read in full without the store.
    pub recent_sessions_max: usize,
    /// Most holds standing for sessions of other partitions.
    pub payer_sessions_max: usize,
    /// How many sets the ledger has in memory beside those whose holds are open; the store has all.
    pub keys_max: usize,
    /// Most timers fired by one entry; the rest fire with the next.
    pub timers_per_entry_max: usize,
    /// No session delivers more: a meter that says so is not believed.
    pub session_energy_max: WattHours,
    /// A vehicle stops charging below this, so a connector gets this much or nothing.
    pub connector_power_min: Watts,
}

impl Default for PartitionConfig {
    fn default() -> Self {
        PartitionConfig {
            partition: PartitionId(0),
            start_timeout: Duration::from_secs(90),
            outbox_deadline: Duration::from_secs(15 * 60),
            hold_check_after: Duration::from_secs(10 * 60),
            silence_close_after: Duration::from_secs(72 * 60 * 60),
            free_close_after: Duration::from_secs(30 * 60),
            hold_lifetime: Duration::from_secs(7 * 24 * 60 * 60),
            continue_after_boot: Duration::from_secs(15 * 60),
            clock_ahead_max: Duration::from_secs(60 * 60),
            ticks_late_max: Duration::from_secs(45 * 24 * 60 * 60),
            connector_power_max: Watts(1_000_000),
            pending_stations_max: 10_000,
            directory_max: 10_000_000,
            sites_max: 100_000,
            terms_max: 100_000,
            stations_max: 200_000,
            connectors_per_station_max: 64,
            drivers_max: 5_000_000,
            tokens_per_driver_max: 64,
            live_sessions_max: 200_000,
            outbox_max: 400_000,
            finished_sessions_max: 20_000,
            finished_per_station_max: 64,
            parked_per_station_max: 16,
            segments_max: 16,
            recent_sessions_max: 1_024,
            payer_sessions_max: 200_000,
            keys_max: 20_000,
            timers_per_entry_max: 1_000,
            session_energy_max: WattHours(1_000_000),
            // 6 A at 230 V, the least a vehicle charges with (IEC 61851).
            connector_power_min: Watts(1_380),
        }
    }
}

impl PartitionConfig {
    /// What is possible at a connector, for cleaning and for rollups.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            power_w_max: self.connector_power_max.0,
            ahead_max: self.clock_ahead_max,
            late_max: self.ticks_late_max,
            ..Limits::default()
        }
    }
}
