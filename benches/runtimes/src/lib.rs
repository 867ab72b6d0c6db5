//! What the echo servers of this package share: how they listen, how they say where, and how much they read at once.
//!
//! Each server is written as its runtime's own examples are, on one thread, a task for each connection, with the
//! allocator of the node. All of them are stopped by a signal.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// As in the node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A task's buffer: twenty messages.
pub const READ_BYTES: usize = 4_096;

/// Submissions that fit a ring, where a runtime lets one say so: as the node's.
pub const RING_ENTRIES: u32 = 4_096;

/// Any free port.
pub const ADDRESS: &str = "127.0.0.1:0";

/// Listens, and tells whoever started the server where.
///
/// # Errors
/// If the system has no port.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(ADDRESS)?;
    tell(listener.local_addr()?);
    Ok(listener)
}

/// Says where the server listens.
pub fn tell(address: SocketAddr) {
    println!("listening {address}");
}
