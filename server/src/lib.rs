//! The node: shards with their rings, the gateway from OCPP to commands, and the control plane.
//!
//! Floors, top first: `commands` > `node` > `http` > `shard` > `control` > `gateway` > `counters`, `timers`,
//! `ring`. Beside them: `cli`, `config`, `doctor` and
//! `store` and `tariffs` (while no node runs), `audit` (for auditors) and `fleet` (a client); `pricing` is
//! below `http` and `tariffs`.

pub mod audit;
pub mod cli;
pub mod cold;
pub mod commands;
pub mod config;
pub mod control;
pub mod counters;
pub mod doctor;
pub mod fleet;
pub mod gateway;
pub mod http;
pub mod node;
pub mod payments;
pub mod pricing;
pub mod ring;
pub mod shard;
pub mod store;
pub mod tariffs;
pub mod timers;
