//! What a ring holds. What it does is in the files above this one, a matter each.

use super::buffers::BufferPool;
use super::completion::{Completion, RingStats};
use super::ids::ConnId;
use super::queue::{Answer, Queue};
use super::slots::Slots;
use super::wake::RingHandle;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::TcpListener;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Instant;

/// Writes in flight at most. The log keeps one per shard in flight; more is an owner gone wrong.
pub(super) const WRITES_MAX: usize = 64;

/// One thread's sockets and log writes. Not `Send`: it lives and dies on the thread that made it.
#[derive(Debug)]
pub struct Ring {
    pub(super) queue: Queue,
    pub(super) pool: Rc<BufferPool>,
    pub(super) slots: Slots,
    pub(super) listeners: Vec<Listener>,
    pub(super) writes: Vec<Option<FileWrite>>,
    /// By slot, the hand-overs under way.
    pub(super) moves: BTreeMap<u32, Move>,
    /// Connections waiting for a receive buffer, at most one entry each.
    pub(super) starved: VecDeque<ConnId>,
    /// Connections whose peer has ended, to be looked at in the next turn, at most one entry each.
    pub(super) finished: VecDeque<ConnId>,
    /// Deadlines of connections that are ending, oldest first; stale entries fall out by their time.
    pub(super) lingering: VecDeque<(Instant, ConnId)>,
    /// Completions that did not come from the kernel.
    pub(super) ready: VecDeque<Completion>,
    pub(super) stats: RingStats,
    pub(super) handle: RingHandle,
    /// Room for a turn's answers, kept for the next turn.
    pub(super) answers: Vec<Answer>,
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    /// None once stopped and no longer known to the kernel.
    pub(super) socket: Option<TcpListener>,
    pub(super) tag: u8,
    pub(super) armed: bool,
    pub(super) cancelling: bool,
    pub(super) stopping: bool,
    pub(super) paused_until: Option<Instant>,
}

/// A hand-over under way.
#[derive(Debug)]
pub(super) struct Move {
    /// Held, so that the other ring's descriptor stays open while the kernel is asked to use it.
    pub(super) to: RingHandle,
    pub(super) tag: u64,
    /// The owner closed the connection meanwhile.
    pub(super) close_if_failed: bool,
}

/// A write in flight, owning all that the kernel reads.
pub(super) struct FileWrite {
    pub(super) token: u64,
    pub(super) fd: RawFd,
    pub(super) offset: u64,
    pub(super) length: usize,
    /// Points into `blocks`.
    pub(super) pieces: Box<[libc::iovec]>,
    /// Not looked at until the answer: the pieces borrow from it.
    pub(super) blocks: Box<dyn Any + Send>,
    pub(super) retries: u8,
}

impl fmt::Debug for FileWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileWrite({}, {} bytes at {})", self.token, self.length, self.offset)
    }
}
