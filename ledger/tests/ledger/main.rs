//! What the ledger promises, from the outside.

mod bugs;
mod cases;
mod keys;
mod model;
mod naive;
mod rating;
mod rows;
mod store;
mod undo;
