//! The PostgreSQL protocol: sessions, messages, formats.
//!
//! * [`server`]: sockets, and the messages of both query protocols
//! * `session`: who is connected, what they set, what can be cancelled
//! * `encode`, `decode`: values as clients read and write them, in both formats

mod decode;
mod encode;
mod handler;
pub(crate) mod server;
mod session;
mod settings;
