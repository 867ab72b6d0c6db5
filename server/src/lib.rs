//! The node: shards with their rings, the gateway from OCPP to commands, and the control plane.
//!
//! Floors, top first: `cli` > `node` > `http` > `control` > `shard` > `gateway`, `timers` > `ring`.

pub mod control;
pub mod counters;
