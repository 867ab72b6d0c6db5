//! What the crate promises, seen from outside.

mod cases;
mod naive;
mod ocpi;
mod simple;
