//! Waking a ring's thread from any other, at no cost when it is awake.
//!
//! One state word says whether the thread sleeps in the kernel. A waker writes the eventfd only if it does; the
//! thread looks at the word before it sleeps and after. The eventfd is never read: the ring's poll on it fires
//! once per write, and 2^64 writes do not happen.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const SLEEPING: u8 = 1;
const NOTIFIED: u8 = 2;

#[derive(Debug)]
struct Shared {
    eventfd: File,
    /// A descriptor of the ring itself, so that its number cannot come to mean another file while a handle lives.
    ring: OwnedFd,
    state: AtomicU8,
}

/// A ring as other threads see it: they can wake its owner and hand it sockets.
///
/// It stays valid after the ring is gone: waking does nothing then, and a transfer to it fails.
#[derive(Clone, Debug)]
pub struct RingHandle {
    shared: Arc<Shared>,
}

impl RingHandle {
    pub(super) fn new(ring: OwnedFd) -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before use.
        let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else knows its number.
        let eventfd = File::from(unsafe { OwnedFd::from_raw_fd(raw) });
        Ok(Self { shared: Arc::new(Shared { eventfd, ring, state: AtomicU8::new(AWAKE) }) })
    }

    /// Makes the ring's owner return from its wait with [`Completion::Woken`](super::Completion::Woken). Calls
    /// before it does so are taken together. What was written before the call is visible after `Woken`.
    pub fn wake(&self) {
        if self.shared.state.swap(NOTIFIED, Ordering::SeqCst) == SLEEPING {
            // It cannot fail but by a full counter, and then the thread has been woken many times.
            let _full = (&self.shared.eventfd).write(&1u64.to_ne_bytes());
        }
    }

    pub(super) fn eventfd(&self) -> RawFd {
        self.shared.eventfd.as_raw_fd()
    }

    pub(super) fn ring_fd(&self) -> RawFd {
        self.shared.ring.as_raw_fd()
    }

    /// Says that the thread is about to sleep. False: it must not, it was notified.
    pub(super) fn before_sleep(&self) -> bool {
        let old =
            self.shared.state.compare_exchange(AWAKE, SLEEPING, Ordering::SeqCst, Ordering::SeqCst);
        old.is_ok()
    }

    /// Says that the thread is awake. True: it was notified since it last asked.
    pub(super) fn after_sleep(&self) -> bool {
        self.shared.state.swap(AWAKE, Ordering::SeqCst) == NOTIFIED
    }
}
