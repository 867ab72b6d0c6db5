//! What the ledger promises, from the outside.

mod cases;
mod model;
mod rows;
mod store;
