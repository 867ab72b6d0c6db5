//! Tests against real processes: how they are started, asked, killed and judged.
//!
//! * [`node`]: a `novax serve` process on a directory of its own
//! * [`http`]: as much HTTP as asking it takes

pub mod http;
pub mod node;
