//! Checkers: a history in, a verdict out. Pure.
//!
//! * [`linear`]: whether calls can have taken effect one at a time, each between its beginning and its end;
//!   [`models`]: what a register, an element of a set and a whole set do
//! * [`serial`]: strict serialisability of a ledger, by the order of its journal and a naive model
//! * [`bank`]: money is conserved in every view; [`snapshot`]: views of a growing book are of one moment
//! * [`set`], [`append`]: what was acknowledged is there once, what was refused is not
//! * [`gaps`]: for how long nothing was served, and how long answers took

pub mod append;
pub mod bank;
pub mod gaps;
pub mod linear;
pub mod models;
pub mod serial;
pub mod set;
pub mod snapshot;
