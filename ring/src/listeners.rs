//! Accepting: one multishot accept per listener, straight into the table, and backing off when there is no room.

use super::completion::Completion;

use super::ids::{ConnId, Op};
use super::queue::Answer;
use super::state::{Listener, Ring};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

/// How long a listener rests after an accept failed or the table was full.
const BACKOFF: Duration = Duration::from_millis(50);

/// Connections that wait for their accept, at most; the kernel cuts it to `net.core.somaxconn`. The 128 of the standard
/// library are fewer than come within one turn when a site's network is back, and who finds the queue full waits for
/// a second and more.
const BACKLOG: libc::c_int = 4_096;

/// Listeners over the life of a ring; each has a slot of its own.
const LISTENERS_MAX: usize = 256;

impl Ring {
    /// Accepts connections, announced with the tag. They get `TCP_NODELAY` from the listener, and its queue becomes as
    /// long as the system allows.
    ///
    /// # Errors
    /// If the option cannot be set, or after too many listeners.
    pub fn listen(&mut self, listener: TcpListener, tag: u8) -> io::Result<()> {
        if self.listeners.len() >= LISTENERS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many listeners"));
        }
        set_nodelay(&listener)?;
        set_backlog(&listener)?;
        self.listeners.push(Listener {
            socket: Some(listener),
            tag,
            armed: false,
            cancelling: false,
            stopping: false,
            paused_until: None,
        });
        self.arm_listener(self.listeners.len() - 1);
        Ok(())
    }

    /// Stops accepting on the listeners with this tag and closes them. A few connections that the kernel has
    /// accepted already may still be announced.
    pub fn stop_listening(&mut self, tag: u8) {
        for position in 0..self.listeners.len() {
            let listener = &mut self.listeners[position];
            if listener.tag == tag {
                listener.stopping = true;
                self.cancel_accept(position);
                self.drop_stopped(position);
            }
        }
    }

    fn arm_listener(&mut self, position: usize) {
        let listener = &mut self.listeners[position];
        if let (Some(socket), false, false) = (&listener.socket, listener.armed, listener.stopping)
        {
            listener.armed = true;
            listener.paused_until = None;
            self.queue.accept(socket.as_raw_fd(), listener_id(position));
        }
    }

    fn cancel_accept(&mut self, position: usize) {
        let listener = &mut self.listeners[position];
        if listener.armed && !std::mem::replace(&mut listener.cancelling, true) {
            self.queue.cancel(Op::Accept, Op::CancelAccept, listener_id(position));
        }
    }

    /// Closes a stopped listener once the kernel has no accept on it: until then its number must stay ours.
    fn drop_stopped(&mut self, position: usize) {
        let listener = &mut self.listeners[position];
        if listener.stopping && !listener.armed {
            (listener.socket, listener.paused_until) = (None, None);
        }
    }

    pub(super) fn on_accept(&mut self, id: ConnId, answer: Answer, out: &mut Vec<Completion>) {
        let position = id.index() as usize;
        let Some(listener) = self.listeners.get_mut(position) else {
            self.stats.stale += 1;
            return;
        };
        let tag = listener.tag;
        if !answer.more {
            (listener.armed, listener.cancelling) = (false, false);
        }
        if let Ok(index) = u32::try_from(answer.result) {
            let conn = self.open_slot(index, out);
            self.stats.accepts += 1;
            out.push(Completion::Accepted { conn, listener: tag });
            self.start_recv(conn);
            if self.slots.full() {
                // Otherwise the kernel would accept and drop the next ones; so they wait in its queue.
                self.pause(position);
            }
        } else if -answer.result != libc::ECANCELED {
            self.pause(position);
        }
        if self.listeners[position].paused_until.is_none() {
            self.arm_listener(position);
        }
        self.drop_stopped(position);
    }

    fn pause(&mut self, position: usize) {
        self.stats.accept_backoffs += 1;
        self.listeners[position].paused_until = Some(Instant::now() + BACKOFF);
        self.cancel_accept(position);
    }

    /// When the first rest ends.
    pub(super) fn listener_deadline(&self) -> Option<Instant> {
        self.listeners.iter().filter_map(|listener| listener.paused_until).min()
    }

    /// Ends the rests that are over, if there is room again.
    pub(super) fn resume_listeners(&mut self, now: Instant) {
        for position in 0..self.listeners.len() {
            let listener = &mut self.listeners[position];
            if listener.paused_until.is_none_or(|until| until > now) {
                continue;
            }
            if listener.armed || self.slots.full() {
                listener.paused_until = Some(now + BACKOFF);
            } else {
                self.arm_listener(position);
            }
        }
    }
}

fn listener_id(position: usize) -> ConnId {
    let index = u32::try_from(position).expect("listeners are few");
    ConnId::from_parts(index, 0)
}

fn set_nodelay(listener: &TcpListener) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).expect("four");
    // SAFETY: the pointer is to `on`, of the length given, and read only during the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Listening again on a socket that listens changes nothing but the length of its queue.
fn set_backlog(listener: &TcpListener) -> io::Result<()> {
    // SAFETY: no pointers, and the socket is open as long as `listener`.
    let result = unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
