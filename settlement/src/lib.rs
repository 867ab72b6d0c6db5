//! Who gets what of a session.
pub mod contract;
pub mod tax;
