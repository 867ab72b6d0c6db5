//! WebSocket frames, RFC 6455, without extensions: both roles.
//!
//! Invariants: a message never takes more than [`Limits::message_bytes_max`] of memory, whatever
//! length its frames announce; an idle connection holds no buffer; after a violation or a close
//! nothing more is delivered.

mod header;
mod mask;
mod receive;
mod write;

pub use header::Violation;
pub use receive::{Event, Limits, Receiver, Role};
pub use write::{
    begin_text, end_text, write_binary, write_close, write_ping, write_pong, write_text,
};

/// A control frame carries at most this much (RFC 6455, 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
