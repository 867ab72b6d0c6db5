//! What a run is made of, drawn from its seed.

use crate::station::{Manners, Setup, Version};
use crate::truth::{Driver, Means};
use novax_log::sim::Rng;
use novax_model::{Amount, Duration};

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// How long faults happen, in simulated time; then all must come to rest.
    pub duration: Duration,
    /// How many stations.
    pub stations: usize,
    /// How many partitions.
    pub partitions: u16,
    /// How many shards at the most; each start draws a number.
    pub shards_max: u16,
    /// How many nodes; each has a replica of each partition.
    pub nodes: u16,
    /// Bytes of entries that each replica keeps for peers that lag: one that lags further gets the whole state.
    pub retain_bytes_max: usize,
    /// Links between nodes break now and then.
    pub cuts_links: bool,
    /// How many sites.
    pub sites: usize,
    /// Between two losses of power, about; `None`: the power stays.
    pub crash_every: Option<Duration>,
    /// At this loss of power the disk goes back to what it was at the first: a node that forgets. Such a run must
    /// fail; it shows that a run would notice.
    pub forgets_at: Option<u64>,
}

/// Paid into the wallet of a driver who never runs dry, in cents.
const RICH: Amount = 100_000_000;
/// Paid into the wallet of one who does.
const POOR: Amount = 3_000;
/// EVSEs of a station at the most.
const EVSES_MAX: u64 = 3;

impl Plan {
    /// The plan of a seed: small worlds and larger ones, calm and rough.
    #[must_use]
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x706c_616e);
        let crash_s = 20 + rng.below(600);
        // Drawn apart, so that it changes nothing else.
        let lags = Rng::new(seed ^ 0x6c61_6773).one_in(2);
        Plan {
            seed,
            duration: Duration::from_secs(600 + rng.below(3_000)),
            stations: 3 + rng.below_usize(20),
            partitions: 1 + u16::try_from(rng.below(8)).expect("small"),
            shards_max: 1 + u16::try_from(rng.below(3)).expect("small"),
            nodes: 1,
            retain_bytes_max: if lags { 8 << 10 } else { 8 << 20 },
            cuts_links: true,
            sites: 1 + rng.below_usize(5),
            crash_every: (!rng.one_in(8)).then(|| Duration::from_secs(crash_s)),
            forgets_at: None,
        }
    }

    /// The stations and their drivers: one driver for each EVSE.
    #[must_use]
    pub fn people(&self) -> (Vec<Setup>, Vec<Driver>) {
        let mut rng = Rng::new(self.seed ^ 0x7065_6f70);
        let mut drivers = Vec::new();
        let mut setups = Vec::new();
        for number in 0..self.stations {
            let evses = 1 + rng.below(EVSES_MAX);
            let ours = (0..evses).map(|_| {
                drivers.push(driver(drivers.len(), &mut rng));
                drivers.len() - 1
            });
            let ours: Vec<usize> = ours.collect();
            let version = if rng.one_in(2) { Version::V16 } else { Version::V201 };
            // Most clocks are nearly right, some are wrong by hours.
            let off_us = i64::try_from(rng.below(4_000_000)).expect("small") - 2_000_000;
            let factor = if rng.one_in(6) { 5_000 } else { 1 };
            setups.push(Setup {
                identity: format!("CP-{number}"),
                version,
                drivers: ours,
                manners: Manners::drawn(&mut rng),
                clock_off_us: off_us * factor,
                meter_interval: Duration::from_secs(10 + rng.below(50)),
                charge: Duration::from_secs(60 + rng.below(600)),
                pause: Duration::from_secs(10 + rng.below(120)),
            });
        }
        (setups, drivers)
    }
}

fn driver(number: usize, rng: &mut Rng) -> Driver {
    let means = match rng.below(10) {
        0 | 1 => Means::Poor,
        2 | 3 => Means::Card,
        4 if rng.one_in(2) => Means::Blocked,
        _ => Means::Rich,
    };
    let (name, token) = (format!("driver-{number}"), format!("TAG{number}"));
    Driver { name, token, means, paid_in: 0 }
}

impl Driver {
    /// What is paid into the wallet at first.
    #[must_use]
    pub fn first_deposit(&self) -> Option<Amount> {
        match self.means {
            Means::Rich | Means::Blocked => Some(RICH),
            Means::Poor => Some(POOR),
            Means::Card => None,
        }
    }
}
