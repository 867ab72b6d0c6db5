//! Links between the nodes of a cluster: one authenticated connection a pair of nodes, carrying lanes.
//!
//! It knows nodes, frames and certificates; what the bytes of a message mean is its users' matter.
//!
//! * Messages are delivered at most once, and in order within their lane while a link is up. What is on its way when a
//!   link ends may be lost: Raft sends again, who waits for an answer is told by [`Handler::link_down`].
//! * Nothing queues without a bound: a lane that is full says so to the sender.
//! * Bytes of a peer are believed when its certificate, its greeting and the checksum of each frame are right. What is
//!   wrong ends that link, is counted by kind ([`Refusal`]), and touches no other.
//! * Messages of Raft go before answers, these before requests, these before snapshots, and none waits for ever: frames
//!   are small, and each lane has its part of every write.
//!
//! Files, from the ground up: `error`, `id`, `frame` (bytes and their checksums), `hello` (the greeting), `message` (what lanes
//! carry), `queue` (what goes first), `snapshot` (credit, resumption, pace), `connection` (all that as a machine without I/O), `pki`
//! (certificates, invitations, joining), `net` (sockets and threads). The format is in `docs/formats/peer.md`.

mod connection;
mod error;
mod frame;
pub mod fuzz;
mod hello;
mod id;
mod message;
pub mod net;
pub mod pki;
mod queue;
mod snapshot;

pub use connection::{Connection, Event, Local, PeerInfo, Side, Timing};
pub use error::{Error, REFUSALS, Refusal, SendError};
pub use frame::{FRAME_BODY_BYTES_MAX, HEADER_BYTES, Lane};
pub use hello::{HELLO_BYTES_MAX, Hello, PROTOCOL_VERSIONS};
pub use id::{ClusterId, RunId};
pub use message::{Message, SnapshotId, SnapshotMessage};
pub use net::{Config, Handler, Links, Outbox};
pub use snapshot::{CHUNK_BYTES_MAX, Incoming, Outgoing, Pace, WINDOW_BYTES};
