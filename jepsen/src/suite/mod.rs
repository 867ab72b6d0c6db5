//! Runs: a workload against nodes as real processes, while something breaks.
//!
//! * [`cluster`]: the nodes, and what a fault can get hold of; [`processes`]: nodes as processes
//! * [`leads`]: who leads, as the nodes say; [`faults`]: the faults by name
//! * [`members`]: nodes that leave and come back
//! * [`workload`]: what clients do, and what must be true of it; `workloads`: those there are
//! * [`run`]: a run from an empty folder to its verdict

pub mod cluster;
pub mod faults;
pub mod leads;
pub mod members;
pub mod processes;
pub mod run;
pub mod workload;
mod workloads;

pub use workloads::{WORKLOADS, workload};
