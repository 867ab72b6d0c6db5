//! What the ledger promises, from the outside.

mod bugs;
mod cases;
mod keys;
mod large;
mod model;
mod naive;
mod rows;
mod store;
mod undo;
