//! SQL over the state of a node.
//!
//! Tables are views on snapshots of the node's partitions: nothing here writes, and no statement can
//! disturb a shard, which only hands out a snapshot (a few pointers). DataFusion plans and runs,
//! pgwire talks to any PostgreSQL client, and the shell is one more client.
//!
//! Floors, each using only what stands below:
//!
//! * [`shell`]: `novax sql`, a client over the wire protocol
//! * `wire`: sessions, messages, formats of the PostgreSQL protocol; [`serve`]
//! * [`database`]: plans and runs statements on threads of its own, within limits
//! * `catalog`: what PostgreSQL clients ask about the tables: `pg_catalog`, `information_schema`
//! * `statement`: from text to what is to be done, reading only
//! * `pushdown`: aggregates that scans work out themselves
//! * `scan`, `tables`: the tables as DataFusion sees them, and their rows and columns
//! * [`series`]: meter series as the store has them
//! * [`source`], `filter`, `cells`, `datetime`, [`config`], [`error`]
//!
//! **Invariants**
//! * Read-only: what writes is refused before it is planned.
//! * Scans stream in bounded batches; running statements share one memory limit and can be
//!   stopped at any batch; a cancelled session answers at once, whatever its statement does.
//! * Filters that are pushed down are applied exactly, never approximately.

mod catalog;
mod cells;
pub mod config;
pub mod database;
mod datetime;
pub mod error;
mod filter;
mod pushdown;
mod scan;
pub mod series;
pub mod shell;
pub mod source;
mod statement;
mod tables;
mod wire;

pub use config::SqlConfig;
pub use database::{Database, Output, run_statement};
pub use error::{Error, SourceError};
pub use series::HotSeries;
pub use source::{Freshness, ScanCounters, Source, View};
pub use wire::server::serve;
