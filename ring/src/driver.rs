//! From making a ring through its turns to its end.
//!
//! One turn: what is due by the clock, one enter call, the answers handed to the file whose matter they are.

use super::buffers::{BufferPool, RecvBuf};
use super::completion::{Completion, RingConfig, RingStats};
use super::ids::{Name, Op};
use super::queue::{Answer, Queue};
use super::slots::Slots;
use super::state::{Ring, WRITES_MAX};
use super::wake::RingHandle;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Answers taken in one turn at most, so that the owner's other work gets its turn.
const ANSWERS_PER_TURN_MAX: usize = 4096;

/// How long the drop of a ring waits for the kernel before it leaks the memory in question.
const DROP_WAIT: Duration = Duration::from_secs(10);

impl Ring {
    /// Makes a ring for the calling thread.
    ///
    /// # Errors
    /// Sizes out of range; or what the kernel lacks: io_uring itself, memory that may be locked, or a limit on open
    /// files of at least `files_max`.
    pub fn new(config: RingConfig) -> io::Result<Self> {
        config.check()?;
        let pool = BufferPool::new(config.recv_buffers, config.recv_buffer_bytes);
        let mut queue = Queue::new(&config, Rc::clone(&pool))?;
        let handle = RingHandle::new(queue.duplicate_fd()?)?;
        queue.poll(handle.eventfd());
        Ok(Self {
            queue,
            pool,
            slots: Slots::new(config.files_max),
            listeners: Vec::new(),
            writes: (0..WRITES_MAX).map(|_| None).collect(),
            moves: BTreeMap::new(),
            starved: VecDeque::new(),
            finished: VecDeque::new(),
            lingering: VecDeque::new(),
            ready: VecDeque::new(),
            stats: RingStats::default(),
            handle,
            answers: Vec::new(),
        })
    }

    /// For other threads: waking this one, and handing it sockets.
    #[must_use]
    pub fn handle(&self) -> RingHandle {
        self.handle.clone()
    }

    /// Counts so far.
    #[must_use]
    pub fn stats(&self) -> RingStats {
        RingStats { live_conns: self.slots.live(), ..self.stats }
    }

    /// Returns a receive buffer; the same as dropping it.
    pub fn give_back(&mut self, buffer: RecvBuf) {
        drop(buffer);
    }

    /// One turn: submits what was asked, waits for the first completion or the timeout (none: for ever), and
    /// appends what happened. It may return early with nothing, for the ring's own housekeeping.
    ///
    /// # Errors
    /// Only if the ring itself has failed and is of no more use. Failures of connections and writes are completions.
    pub fn submit_and_wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let deadline = self.housekeep();
        let nothing_yet = self.ready.is_empty();
        out.extend(self.ready.drain(..));
        let timeout = match deadline {
            Some(own) => Some(timeout.map_or(own, |asked| asked.min(own))),
            None => timeout,
        };
        let may_wait = nothing_yet && timeout != Some(Duration::ZERO);
        let wait = may_wait && self.handle.before_sleep();
        let entered = self.queue.enter(wait, timeout);
        if self.handle.after_sleep() {
            out.push(Completion::Woken);
        }
        entered?;
        if self.queue.overflown() {
            self.stats.cq_overflows += 1;
        }
        let mut answers = std::mem::take(&mut self.answers);
        self.queue.take_answers(ANSWERS_PER_TURN_MAX, &mut answers);
        let handled = answers.drain(..).try_for_each(|answer| self.dispatch(answer, out));
        self.answers = answers;
        out.extend(self.ready.drain(..));
        handled
    }

    /// Hands to the kernel what was asked for since, and takes no answers yet.
    ///
    /// # Errors
    /// As [`Ring::submit_and_wait`].
    pub fn submit(&mut self) -> io::Result<()> {
        self.queue.submit()
    }

    /// Does what is due by now; returns how long until something else is.
    fn housekeep(&mut self) -> Option<Duration> {
        self.close_finished();
        self.rearm_starved();
        if self.lingering.is_empty() && self.listener_deadline().is_none() {
            return None;
        }
        let now = Instant::now();
        self.close_lingering(now);
        self.resume_listeners(now);
        let linger = self.lingering.front().map(|(deadline, _)| *deadline);
        let next = linger.into_iter().chain(self.listener_deadline()).min()?;
        // Rounded up: a wait of nothing would be a spin until the clock gets there.
        Some(next.saturating_duration_since(now) + Duration::from_millis(1))
    }

    pub(super) fn dispatch(&mut self, answer: Answer, out: &mut Vec<Completion>) -> io::Result<()> {
        match answer.name {
            Some(Name::Adopt(tag)) => self.on_adopt(tag, answer, out),
            Some(Name::Own(op, id)) => match op {
                Op::Accept => self.on_accept(id, answer, out),
                Op::Recv => self.on_recv(id, answer, out),
                Op::Send => self.on_send(id, answer, out),
                Op::Write => self.on_write(id, answer, out),
                Op::CancelRecv | Op::CancelSend => self.on_cancel(op, id, answer),
                Op::Shutdown => self.on_shutdown(id),
                Op::Close => self.on_close(id, out),
                Op::Transfer => self.on_transfer(id, answer),
                Op::Wake => return self.on_wake(answer),
                Op::CancelAccept | Op::CancelAll | Op::Adopt => {}
            },
            None => self.stats.stale += 1,
        }
        Ok(())
    }

    /// The eventfd fired: the state word has said all there is to say. Keep the poll going.
    fn on_wake(&mut self, answer: Answer) -> io::Result<()> {
        if answer.result < 0 {
            return Err(io::Error::from_raw_os_error(-answer.result));
        }
        if !answer.more {
            self.queue.poll(self.handle.eventfd());
        }
        Ok(())
    }
}

impl Drop for Ring {
    /// Cancels all operations and waits for the kernel to let go of their memory.
    fn drop(&mut self) {
        let deadline = Instant::now() + DROP_WAIT;
        let mut answers = Vec::new();
        while self.queue.outstanding() > 0 && Instant::now() < deadline {
            self.queue.cancel_all();
            if self.queue.enter(true, Some(Duration::from_millis(100))).is_err() {
                break;
            }
            answers.clear();
            self.queue.take_answers(usize::MAX, &mut answers);
        }
        if self.queue.outstanding() > 0 {
            self.slots.leak();
            std::mem::forget(std::mem::take(&mut self.writes));
        }
        // The queue's own drop takes the buffers and the file table from the kernel, or leaks the pool.
    }
}
