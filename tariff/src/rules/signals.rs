//! What the world says: temperature, load, the price of tomorrow's market, the share of wind
//! and sun. Each value carries the time from which it is known.

use novax_model::{Decicelsius, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};

/// A signal that a rule may read.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub enum SignalKind {
    /// Ambient temperature, tenths of a degree Celsius.
    Temperature,
    /// Load of the site's transformer, parts per million of its rating.
    Load,
    /// Day-ahead market price now, micros of the major unit per MWh. May be negative.
    DayAhead,
    /// Share of renewable energy in the grid's mix, parts per million.
    Renewable,
}

impl SignalKind {
    /// Every signal, in the order in which they are written.
    pub const ALL: [SignalKind; 4] =
        [SignalKind::Temperature, SignalKind::Load, SignalKind::DayAhead, SignalKind::Renewable];

    /// The word of the rule file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            SignalKind::Temperature => "temperature",
            SignalKind::Load => "load",
            SignalKind::DayAhead => "day-ahead",
            SignalKind::Renewable => "renewable",
        }
    }

    /// Decimal places between the unit of the rule file and the integer kept.
    #[must_use]
    pub fn places(self) -> u32 {
        match self {
            SignalKind::Temperature => 1,
            SignalKind::Load | SignalKind::Renewable => 4,
            SignalKind::DayAhead => 6,
        }
    }

    /// Values that can be true. Others are a broken sensor and count as missing.
    #[must_use]
    pub fn plausible(self, value: i64) -> bool {
        match self {
            SignalKind::Temperature => (-900..=700).contains(&value),
            // A transformer is overloaded for a while; five times its rating is a wrong scale.
            SignalKind::Load => (0..=5_000_000).contains(&value),
            SignalKind::DayAhead => (-100_000_000_000..=100_000_000_000).contains(&value),
            SignalKind::Renewable => (0..=1_000_000).contains(&value),
        }
    }
}

/// One value of a signal.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// In the unit of its [`SignalKind`].
    pub value: i64,
    /// Since when it is known.
    pub at: Timestamp,
}

/// All that is known about a place when a price is asked for.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Signals {
    /// The site's id.
    pub site: Box<str>,
    /// Tags of site and connector, for example `fast` or `depot`.
    pub tags: Vec<Box<str>>,
    /// Ambient temperature.
    pub temperature: Option<Sample>,
    /// Transformer load.
    pub load: Option<Sample>,
    /// Day-ahead price.
    pub day_ahead: Option<Sample>,
    /// Renewable share.
    pub renewable: Option<Sample>,
}

impl Signals {
    /// Of a place of which nothing is heard.
    #[must_use]
    pub fn of_site(site: &str) -> Signals {
        Signals { site: site.into(), ..Signals::default() }
    }

    /// With a tag more.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Signals {
        self.tags.push(tag.into());
        self
    }

    /// With the temperature.
    #[must_use]
    pub fn temperature(mut self, value: Decicelsius, at: Timestamp) -> Signals {
        self.temperature = Some(Sample { value: value.0, at });
        self
    }

    /// With the load of the transformer.
    #[must_use]
    pub fn load_ppm(mut self, ppm: u32, at: Timestamp) -> Signals {
        self.load = Some(Sample { value: i64::from(ppm), at });
        self
    }

    /// With the day-ahead price.
    #[must_use]
    pub fn day_ahead_micros_per_mwh(mut self, micros: i64, at: Timestamp) -> Signals {
        self.day_ahead = Some(Sample { value: micros, at });
        self
    }

    /// With the renewable share.
    #[must_use]
    pub fn renewable_ppm(mut self, ppm: u32, at: Timestamp) -> Signals {
        self.renewable = Some(Sample { value: i64::from(ppm), at });
        self
    }

    /// What is known of one signal.
    #[must_use]
    pub fn sample(&self, kind: SignalKind) -> Option<Sample> {
        match kind {
            SignalKind::Temperature => self.temperature,
            SignalKind::Load => self.load,
            SignalKind::DayAhead => self.day_ahead,
            SignalKind::Renewable => self.renewable,
        }
    }
}
