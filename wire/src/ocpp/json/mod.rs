//! JSON as OCPP needs it: a scanner that knows where values lie, and a serde reader on top of it.
//! Own code because messages are read without a tree, numbers keep every digit, and what chargers
//! get wrong is let pass and noted, which a strict reader cannot do.

mod reader;
mod scan;

pub(crate) use reader::read;
pub(crate) use scan::{Scanner, check, is_number};
