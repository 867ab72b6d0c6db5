//! The replicated state machine of charging.
//!
//! One [`Partition`] holds everything of its sites, stations and drivers: twins, sessions, accounts,
//! outbox. It changes only by [`Partition::apply`], from committed log entries, and says what
//! changed: rows for the store, outcomes for whoever waits, outbox rows to deliver.
//!
//! **Invariants**
//! * Same entries, same state: time, bytes and ids are arguments; no clock, randomness, threads,
//!   hash order or I/O in this crate.
//! * Debits equal credits per currency after every entry, asserted in release.
//! * A session is in one state; each hold is resolved at most once.
//! * Effects leave only as outbox rows, and only after their entry is committed.
//!
//! Floors, each using only what stands below:
//!
//! * [`partition`]: entries in, outcomes and rows out; reads. [`restore`]: from rows
//! * `answers`: answers to outbox rows, timers firing
//! * `request`, `start`, `stop`, `telemetry`, `peers`, `stations`, `provision`: one command each, or
//!   a few
//! * `secure`: who pays for a session
//! * `sessions`: the life of a session row
//! * `money`, `limits`, `series`, `outbox`: holds and bills, site limits, chunks, effects
//! * `state`: the tables in memory and which rows changed
//! * `accounts`, `finished`, `timers`, `refusal`, `hash`, [`config`]: words for the above
//! * [`command`], [`rows`]: what the log and the store say

mod accounts;
mod answers;
pub mod command;
pub mod config;
mod finished;
mod hash;
mod limits;
mod money;
mod outbox;
mod price;
pub mod partition;
mod peers;
mod provision;
mod refusal;
mod request;
pub mod restore;
pub mod rows;
mod secure;
mod series;
mod sessions;
mod start;
mod state;
mod stations;
mod stop;
mod telemetry;
mod terms;
mod timers;

pub use command::{
    Answer, Command, CorruptEntry, EndTransaction, Outcome, PasswordHash, PayerRef, PeerCommand,
    PlaceHold, PutSite, Refusal, RequestStart, SiteTerms, RowWrite, StartTransaction, StationCommand, TransactionRef,
    decode_entry, encode_entry,
};
pub use config::PartitionConfig;
pub use partition::{Applied, Partition, Totals};
pub use restore::RestoreError;
pub use rows::{
    Charges, ConnectorRow, ConnectorStatus, Deal, DirectoryKind, DirectoryRow, DriverRow, Keyspace, OutboxKind, Place, Price, SignalRow, TaxPart, TermsId, TermsRow,
    OutboxRow, Payer, PayerSessionRow, Protocol, SessionRow, SessionState, SiteRow, StationRow,
    StationState, TokenRow,
};
