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

pub mod command;
pub mod rows;

pub use command::{
    Answer, Command, EndTransaction, Outcome, PasswordHash, PeerCommand, PlaceHold, Refusal,
    RequestStart, RowWrite, StartTransaction, StationCommand, TransactionRef, decode_entry,
    encode_entry,
};
pub use rows::{
    ConnectorRow, ConnectorStatus, DirectoryKind, Keyspace, OutboxKind, OutboxRow, Payer, Protocol,
    SessionRow, SessionState, SiteRow, StationRow, StationState,
};
