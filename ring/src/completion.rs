//! What the owner configures, gets back, and can count.

use super::buffers::RecvBuf;
use super::ids::ConnId;
use std::any::Any;
use std::fmt;
use std::io;

/// Sizes of one ring; all memory is taken when it is made.
///
/// Locked memory (`RLIMIT_MEMLOCK`, per user) is about `128 * entries` bytes for the two queues plus 16 bytes per
/// receive buffer: 0.6 MiB with the defaults. The buffers themselves are ordinary memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingConfig {
    /// Submission queue slots, a power of two; the completion queue has four times as many.
    pub entries: u32,
    /// Connections at most: the fixed file table. At most the soft limit on open files, although the sockets in
    /// it do not count towards that limit.
    pub files_max: u32,
    /// Receive buffers, a power of two up to 32,768.
    pub recv_buffers: u16,
    /// Size of each; a longer message arrives in pieces.
    pub recv_buffer_bytes: u32,
}

impl Default for RingConfig {
    fn default() -> Self {
        Self { entries: 4096, files_max: 19_000, recv_buffers: 2048, recv_buffer_bytes: 2048 }
    }
}

impl RingConfig {
    /// Whether the sizes are ones the kernel and this module can work with.
    ///
    /// # Errors
    /// `InvalidInput`, saying which is out of range.
    pub fn check(&self) -> io::Result<()> {
        let refuse = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what.to_owned()));
        if !self.entries.is_power_of_two() || !(8..=32_768).contains(&self.entries) {
            return refuse("entries: a power of two, 8 to 32768");
        }
        if self.files_max == 0 || self.files_max > super::ids::INDEX_MAX {
            return refuse("files_max: 1 to 2^24 - 1");
        }
        if !self.recv_buffers.is_power_of_two() || self.recv_buffers > 32_768 {
            return refuse("recv_buffers: a power of two, 1 to 32768");
        }
        if !(64..=1 << 20).contains(&self.recv_buffer_bytes) {
            return refuse("recv_buffer_bytes: 64 to 1 MiB");
        }
        Ok(())
    }
}

/// Something that happened, in the order it happened per connection. The owner answers to each of them.
pub enum Completion {
    /// A new connection; receiving is already armed.
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// The tag given to [`Ring::listen`](super::Ring::listen).
        listener: u8,
    },
    /// Bytes from the peer, never empty.
    Received {
        /// From whom.
        conn: ConnId,
        /// The bytes; drop it soon, there are only so many buffers.
        data: RecvBuf,
    },
    /// All bytes of the buffer are in the kernel's hands; the next send may follow.
    Sent {
        /// To whom.
        conn: ConnId,
        /// The buffer, cleared, its capacity kept.
        buffer: Vec<u8>,
    },
    /// The connection is gone, for whatever reason; its id means nothing any more.
    Closed {
        /// Which.
        conn: ConnId,
        /// What went wrong; none for an orderly end from either side.
        error: Option<io::Error>,
    },
    /// Another ring handed a connection to this one. Not receiving yet: call
    /// [`Ring::start_recv`](super::Ring::start_recv) once the bytes that the old owner had read are here.
    Adopted {
        /// Its id in this ring.
        conn: ConnId,
        /// The tag given to [`Ring::transfer`](super::Ring::transfer).
        tag: u64,
    },
    /// The connection stays here, not receiving. If it cannot live on, `Closed` follows.
    TransferFailed {
        /// Which, by the id it keeps.
        conn: ConnId,
        /// The tag of the attempt.
        tag: u64,
        /// Why.
        error: io::Error,
    },
    /// The connection lives in the other ring; every byte received here was reported before this.
    TransferDone {
        /// The id it had here, dead now. No `Closed` follows.
        conn: ConnId,
    },
    /// A write to a file is durable, or failed (a short write is a failure).
    Written {
        /// The token given to [`Ring::write_file`](super::Ring::write_file).
        token: u64,
        /// How it went.
        result: io::Result<()>,
        /// The `Vec` of blocks that was given, for `downcast`.
        buffer: Box<dyn Any + Send>,
    },
    /// [`RingHandle::wake`](super::RingHandle::wake) was called at least once since the last time.
    Woken,
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { conn, listener } => {
                write!(f, "Accepted({conn:?}, listener {listener})")
            }
            Self::Received { conn, data } => write!(f, "Received({conn:?}, {} bytes)", data.len()),
            Self::Sent { conn, .. } => write!(f, "Sent({conn:?})"),
            Self::Closed { conn, error } => write!(f, "Closed({conn:?}, {error:?})"),
            Self::Adopted { conn, tag } => write!(f, "Adopted({conn:?}, tag {tag})"),
            Self::TransferFailed { conn, tag, error } => {
                write!(f, "TransferFailed({conn:?}, tag {tag}, {error:?})")
            }
            Self::TransferDone { conn } => write!(f, "TransferDone({conn:?})"),
            Self::Written { token, result, .. } => write!(f, "Written({token}, {result:?})"),
            Self::Woken => write!(f, "Woken"),
        }
    }
}

/// Counts since the ring was made, except `live_conns`, which is the present number.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RingStats {
    /// Connections accepted.
    pub accepts: u64,
    /// Receive completions with data.
    pub recvs: u64,
    /// Buffers sent whole.
    pub sends: u64,
    /// Times a connection found no free receive buffer and had to wait for one.
    pub enobufs: u64,
    /// Turns that found the completion queue overflown (nothing is lost, but it costs).
    pub cq_overflows: u64,
    /// Times a listener paused because the table was full or the system short of something.
    pub accept_backoffs: u64,
    /// Completions of operations whose connection was gone already.
    pub stale: u64,
    /// Connections handed to other rings.
    pub transfers: u64,
    /// Connections open now.
    pub live_conns: u32,
}
