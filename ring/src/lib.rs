//! A shard's I/O: sockets, log writes and wake-ups through one io_uring, behind a safe interface.
//!
//! One [`Ring`] belongs to one thread. The owner queues work (`send`, `close`, `write_file`, ...), calls
//! [`Ring::submit_and_wait`] once per loop turn, and works through the [`Completion`]s it gets. Nothing here
//! blocks except that call. Why a ring of our own: `docs/decisions/0001-ring.md`.
//!
//! All `unsafe` of the network is here. The memory that the kernel may touch behind the compiler's back, and the rule
//! that keeps each piece alive:
//!
//! * **Receive buffers** live in one `BufferPool`. A buffer is the kernel's from the moment it is
//!   provided until a completion names it; then it is a [`RecvBuf`], exclusively ours until that is dropped, which
//!   provides it again. The pool outlives the ring and every `RecvBuf` (each holds a reference count on it).
//! * **Send buffers** are moved into the connection's slot and are neither touched nor moved from there before
//!   the send's final completion: one send per connection, and a slot is released only when none is in flight.
//! * **Log blocks** are moved into a write slot and given back with [`Completion::Written`].
//! * **Timeouts** are read by the kernel only during the enter call.
//! * **Dropping the ring** cancels everything and waits for the last completion before any of this memory is
//!   freed. Should the kernel not give an operation back in time, its memory is leaked, never freed.
//!
//! Invariants, each with a test in `tests/`:
//!
//! * A completion for an earlier user of a slot never reaches a later one: each carries its generation.
//! * [`Completion::Closed`] comes exactly once per connection, or [`Completion::TransferDone`] instead, and
//!   nothing comes after it.
//! * No queue or loop here is unbounded, and no error is answered by spinning.
//!
//! Floors, top first: `driver` > `conns`, `moves`, `listeners`, `files` > `state` > `queue` > `slots`, `wake`,
//! `completion` > `buffers`, `ids`; `pin` beside them. `ids`, `slots` and `buffers` make no system
//! call, so Miri can run their tests.

mod buffers;
mod completion;
mod conns;
mod driver;
mod files;
mod ids;
mod listeners;
mod moves;
mod pin;
mod queue;
mod slots;
mod state;
#[cfg(test)]
mod tests;
mod wake;

pub use buffers::RecvBuf;
pub use completion::{Completion, RingConfig, RingStats};
pub use ids::{ConnId, TRANSFER_TAG_MAX};
pub use pin::pin_to_core;
pub use state::Ring;
pub use wake::RingHandle;
