//! Prices finer than a minor unit: integer millionths of a currency's major unit.

use rkyv::{Archive, Deserialize, Serialize};

/// Millionths of the currency's major unit (0.39 EUR is `Micros(390_000)`). May be negative.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
)]
pub struct Micros(pub i128);
