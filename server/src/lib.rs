//! The node: rings under the shards of `novax-shard`, and the control plane.
//!
//! Floors, top first: `commands` > `node` > `http`. Beside them: `cli`, `config`, `doctor` and
//! `store` and `tariffs` (while no node runs), `audit` (for auditors), `fleet` and `report` (clients; `report`
//! and `cluster` go over `ask`); `pricing` is below `http`, `statements` and `tariffs`; `statements` is below
//! `http`.

mod ask;
pub mod audit;
pub mod cli;
pub mod cluster;
pub mod cold;
pub mod commands;
pub mod config;
pub mod doctor;
pub mod fleet;
pub mod http;
pub mod memory;
pub mod node;
pub mod payments;
pub mod pricing;
pub mod report;
pub mod statements;
pub mod store;
pub mod tariffs;

pub use novax_shard::control;
