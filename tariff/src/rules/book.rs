//! A rule book as data: what was parsed, what is stored, what is evaluated.

use super::signals::SignalKind;
use crate::model::Day;
use novax_model::Currency;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// Longest rule file.
pub const TEXT_MAX_BYTES: usize = 64 * 1024;
/// Most rules of a book.
pub const RULES_MAX: usize = 200;
/// Most conditions of a rule.
pub const CONDITIONS_MAX: usize = 16;
/// Most effects of a rule.
pub const EFFECTS_MAX: usize = 8;
/// Longest name of a book, rule, site or tag.
pub const NAME_MAX_CHARS: usize = 80;
/// The price as listed, as a factor.
pub(super) const PPM: u32 = 1_000_000;
/// The widest bound a book may set itself: ten times the listed price.
pub const FACTOR_MAX_PPM: u32 = 10_000_000;

/// A book of pricing rules.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RuleBook {
    /// Its name, for people.
    pub name: Box<str>,
    /// The currency of every amount in it.
    pub currency: Currency,
    /// What several matching rules do.
    pub combine: Combine,
    /// How far any price may move.
    pub bounds: Bounds,
    /// How old each signal may be and what holds when it is not there; by kind, each at most
    /// once. Every signal that a rule reads is here.
    pub signals: Vec<SignalPolicy>,
    /// The rules, first to last.
    pub rules: Vec<Rule>,
    /// SHA-256 of the canonical text.
    pub(super) hash: RuleHash,
}

impl RuleBook {
    /// What identifies the book in a session and in a proof.
    #[must_use]
    pub fn hash(&self) -> RuleHash {
        self.hash
    }

    /// The policy of a signal.
    #[must_use]
    pub fn policy(&self, kind: SignalKind) -> Option<&SignalPolicy> {
        self.signals.iter().find(|policy| policy.kind == kind)
    }
}

/// SHA-256 of a book's canonical text.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
)]
pub struct RuleHash(pub [u8; 32]);

impl fmt::Display for RuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What happens when several rules match.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Combine {
    /// The first that matches, no other.
    First,
    /// All that match: factors multiply in order, additions add, the highest floor and the
    /// lowest ceiling hold.
    Stack,
}

/// How far rules may move a price, whatever the signals say.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Least factor.
    pub factor_min_ppm: u32,
    /// Greatest factor.
    pub factor_max_ppm: u32,
    /// Least addition per kWh (negative: a reduction), micros.
    pub add_min_micros: i64,
    /// Greatest addition per kWh, micros.
    pub add_max_micros: i64,
    /// Least final price of a kWh, micros.
    pub price_min_micros: Option<i64>,
    /// Greatest final price of a kWh, micros.
    pub price_max_micros: Option<i64>,
}

/// How a signal is trusted.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignalPolicy {
    /// Which.
    pub kind: SignalKind,
    /// Older samples are not believed.
    pub age_max_s: u32,
    /// What holds then.
    pub fallback: Fallback,
}

/// What holds when a signal is missing, stale or impossible.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fallback {
    /// Rules that read it do not apply.
    Skip,
    /// No rule of the book applies: the listed price.
    Listed,
    /// This value is taken, in the signal's unit.
    Assume(i64),
}

/// One rule.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its name, which the driver reads.
    pub name: Box<str>,
    /// All must hold; none: always.
    pub conditions: Vec<Condition>,
    /// What it does; at least one.
    pub effects: Vec<Effect>,
}

/// When a rule applies.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Local time of day, minutes; `until` excluded; wraps past midnight when it is not later.
    Time {
        /// First minute.
        from: u16,
        /// First minute after.
        until: u16,
    },
    /// Local day of the week, Monday bit 0.
    Days(u8),
    /// Local date, both included.
    Dates {
        /// First day.
        first: Day,
        /// Last day.
        last: Day,
    },
    /// The site is one of these.
    Site(Vec<Box<str>>),
    /// The place has one of these tags.
    Tag(Vec<Box<str>>),
    /// The place has none of these tags.
    NoTag(Vec<Box<str>>),
    /// A signal compared with a number in its unit.
    Signal {
        /// Which.
        kind: SignalKind,
        /// How.
        compare: Compare,
        /// With what.
        threshold: i64,
    },
}

/// A comparison.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// Less.
    Below,
    /// Less or equal.
    AtMost,
    /// Greater or equal.
    AtLeast,
    /// Greater.
    Above,
}

impl Compare {
    /// Whether `value` stands so to `threshold`.
    #[must_use]
    pub fn holds(self, value: i64, threshold: i64) -> bool {
        match self {
            Compare::Below => value < threshold,
            Compare::AtMost => value <= threshold,
            Compare::AtLeast => value >= threshold,
            Compare::Above => value > threshold,
        }
    }
}

/// What a rule does: to the price of a kWh where nothing else is said.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Times this.
    Factor(u32),
    /// Prices of time, charging or parking, times this.
    TimeFactor(u32),
    /// Plus this, micros.
    Add(i64),
    /// Plus the share of what the day-ahead price stands above `from` (minus, when below).
    Follow {
        /// The day-ahead price that the listed price was made for, micros per MWh.
        from: i64,
        /// How much of the difference is passed on.
        share_ppm: u32,
    },
    /// The final price is at least this, micros.
    Floor(i64),
    /// The final price is at most this, micros.
    Ceiling(i64),
}

impl Rule {
    /// The signals it reads, each possibly more than once.
    pub fn signals(&self) -> impl Iterator<Item = SignalKind> + '_ {
        let read = self.conditions.iter().filter_map(|condition| match condition {
            Condition::Signal { kind, .. } => Some(*kind),
            _ => None,
        });
        let followed = self.effects.iter().filter_map(|effect| match effect {
            Effect::Follow { .. } => Some(SignalKind::DayAhead),
            _ => None,
        });
        read.chain(followed)
    }
}
