//! The store standing alone: [`novax_engine::store::Store`] with a log of its own.
//!
//! * `model`: what the tests write, and what must be found
//! * `clients`: what clients are told and see
//! * `oracle`: the power goes at any moment on the simulated disk
//! * `faults`: disks that fail, fill up and forbid

mod clients;
mod faults;
mod model;
mod oracle;
