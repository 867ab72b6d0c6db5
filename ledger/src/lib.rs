//! Accounts, transfers, holds and splits. Pure: no I/O, clock, float or hash order.
//!
//! Floors, each using only what stands below:
//!
//! * [`ledger`]: books linked sets, expires holds, hands out changes
//! * `plan`: works a set out on copies, refuses it before anything is touched
//! * `tables`, `totals`: accounts, holds, keys; the running proof that debits equal credits
//! * [`fingerprint`](mod@fingerprint): tells a repeat from a reused key
//! * [`transfer`], [`account`], [`error`]: the words
//! * [`tariff`]: what a session costs and how it is split; knows nothing of accounts

pub mod account;
pub mod error;
pub mod fingerprint;
mod idmap;
pub mod ledger;
mod plan;
mod tables;
pub mod tariff;
mod totals;
pub mod transfer;

pub use account::{Account, Limit};
pub use error::LedgerError;
pub use fingerprint::fingerprint;
pub use ledger::{Changes, Ledger};
pub use tariff::{Charges, InvalidTariff, Shares, SplitRule, Tariff};
pub use transfer::{Code, EntryKind, Hold, HoldId, JournalRow, LEGS_MAX, Leg, Posted};
