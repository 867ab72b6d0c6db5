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
//! * `park`, `resume`: stops and starts that do not say which session they are of
//! * `secure`: who pays for a session. `orphan`: who pays for energy without one
//! * `disputes`: what payment providers book of their own accord
//! * `cards`, `card_refund`: what is asked of payment providers
//! * [`erase`]: a driver is forgotten
//! * `silence`, `adjust`, `refund`: what time does to a session, what its true stop changes, money back
//! * `sessions`: the life of a session row. `meter`: what a register proves
//! * `money`, `limits`, `series`, `outbox`: holds and bills, site limits, chunks, effects
//! * `state`: the tables in memory and which rows changed
//! * `fx`: wallets in another currency than the tariff
//! * [`history`]: what has left memory and is needed again
//! * `documents`: numbers for invoices and the like. `evidence`: what meters signed
//! * `accruals`: what contracts earn by the month. `books`: periods, debts given up, what lies about
//! * `nodes`, [`roster`]: the nodes of the cluster, and where votes should be
//! * `accounts`, `finished`, `lookup`, `timers`, `refusal`, `hash`, [`config`]: words for the above
//! * [`command`], [`rows`], [`document`], [`payment`]: what the log and the store say

mod accounts;
mod accruals;
mod adjust;
mod answers;
mod books;
mod card_refund;
mod cards;
pub mod command;
pub mod config;
mod disputes;
pub mod document;
mod documents;
pub mod erase;
mod evidence;
mod finished;
pub mod fuzz;
mod fx;
mod hash;
pub mod history;
mod limits;
mod lookup;
mod meter;
mod money;
mod nodes;
mod orphan;
mod outbox;
mod park;
pub mod partition;
mod pasts;
pub mod payment;
mod peers;
mod price;
pub mod priced;
mod provision;
mod refund;
mod refusal;
mod request;
pub mod restore;
mod resume;
pub mod roster;
pub mod rows;
mod secure;
mod series;
mod sessions;
mod silence;
mod simple;
mod start;
mod state;
mod stations;
mod stop;
mod telemetry;
mod terms;
mod timers;
mod tree;
mod writes;

pub use books::Ageing;
pub use command::{
    Answer, Command, CorruptEntry, EndTransaction, Entry, EraseDriver, Erasure, Origin, Outcome,
    PasswordHash, PayerRef, PeerCommand, PlaceHold, PutNode, PutPriced, PutSite, Refund, Refusal,
    RequestStart, SiteTerms, StartTransaction, StationCommand, TransactionRef, decode_entry,
    encode_entry, erased_name,
};
pub use config::PartitionConfig;
pub use document::{
    Billing, BillingRow, DocumentId, DocumentKind, DocumentPart, DocumentRow, IssueDocument,
    SeriesRow, Signed, SignedEnergy, SignedNature, SignedRow, SignedValue,
};
pub use documents::Invoicing;
pub use history::History;
pub use partition::{Applied, Partition, Totals};
pub use payment::{
    Card, Funding, PaymentAnswer, PaymentKind, PaymentRow, PaymentState, ProviderEntry,
    ProviderEntryKind,
};
pub use price::{BillItem, Itemised, itemise};
pub use restore::RestoreError;
pub use roster::{NodeRow, Placement, Roster};
pub use rows::{
    AccrualRow, Charges, ConnectorRow, ConnectorStatus, Deal, DirectoryKind, DirectoryRow,
    DriverRow, FxRateRow, Keyspace, Location, OutboxKind, OutboxRow, ParkedStop, Payer,
    PayerSessionRow, Place, Price, PricedRow, Protocol, Salt, Segment, SessionRow, SessionState,
    SignalRow, SiteRow, StationRow, StationState, TaxPart, TermsId, TermsRow, TokenRow,
    TreeHeadRow,
};
pub use simple::SimpleTerms;
pub use terms::is_reserved;
pub use writes::{RowWrite, RowWrites};
