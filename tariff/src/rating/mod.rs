//! What a session costs, found out reading by reading.
//!
//! Floors of this folder: `select` (which prices hold at a moment, and how long) and `line` (where
//! between two readings a moment lies) stand by themselves; `state` walks from reading to reading
//! with both; `cost` turns what was counted into money.
//!
//! **Invariants**: every microsecond and every watt-hour between the first reading and the last is
//! counted exactly once, however the readings lie; what was counted depends on the readings alone;
//! money is first rounded in [`Cost`], once a line, to a millionth of the currency's major unit.

mod adjust;
mod cost;
mod line;
mod select;
mod state;

pub use adjust::Adjustment;
pub(crate) use cost::ratio;
pub use cost::{Cost, CostLine, Limit, Limits};
pub use select::Active;
pub use state::{CUTS_MAX, PERIODS_MAX, Period, Rating, Reading};
