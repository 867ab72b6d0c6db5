//! Accounts, transfers, holds, reversals. Pure: no I/O, clock, float or hash order.
//!
//! Floors, each using only what stands below:
//!
//! * `audit`: a ledger from its rows, and the proof that they fit together
//! * [`ledger`]: books and undoes linked sets, expires holds, closes periods
//! * `changes`: lends out the rows that changed
//! * `plan`, `undo`: work a set out on copies, refuse it before anything is touched
//! * `accounts`, `holds`, [`keys`], `totals`: the tables; the running proof that debits equal credits
//! * `slab`, `index`, `order`: rows in slots, found by their ids, put in order of them
//! * [`fingerprint`](mod@fingerprint): tells a repeat from a reused key
//! * [`receipt`], [`journal`], [`transfer`], [`account`], [`code`], [`error`]: the words

pub mod account;
mod accounts;
mod audit;
mod changes;
pub mod code;
pub mod error;
pub mod fingerprint;
mod holds;
mod index;
pub mod journal;
pub mod keys;
pub mod ledger;
mod order;
mod plan;
pub mod receipt;
mod slab;
mod totals;
pub mod transfer;
mod undo;

pub use account::{Account, Balances, Limit, NAME_ERASED, Opening};
pub use changes::Changes;
pub use code::Code;
pub use error::LedgerError;
pub use fingerprint::{digest, fingerprint};
pub use journal::{AccountEntry, EntryKind, JournalRow};
pub use keys::{KeyRow, Undone};
pub use ledger::{Head, Ledger, Rows};
pub use receipt::{Posted, Receipt, Touched};
pub use transfer::{HOLD_LEGS_MAX, Hold, HoldId, LEGS_MAX, Leg, POST_ALL, RateId, Stamp};
pub use undo::Exchange;
