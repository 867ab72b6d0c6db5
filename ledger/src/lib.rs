//! Accounts, transfers, holds and splits. Pure: no I/O, clock, float or hash order.

pub mod tariff;
pub use tariff::{Charges, SplitRule, Tariff};
