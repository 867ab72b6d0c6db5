//! The kernel's two queues: what we ask, packed into submissions, and what it answers.
//!
//! Invariants: submissions reach the kernel in the order they were asked, also when the queue is full for a
//! while; every submission is counted until its final completion. Entries that carry a pointer are made only in
//! the `unsafe` functions here, whose callers promise that the memory stays.

use super::buffers::BufferPool;
use super::completion::RingConfig;
use super::ids::{ConnId, Name, Op, pack, pack_adopt, unpack};
use io_uring::types::{self, CancelBuilder, DestinationSlot, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

/// The one buffer group.
const BUFFER_GROUP: u16 = 0;

/// Threads of the kernel that may run what cannot be done without blocking (shutdowns, odd file systems).
const KERNEL_WORKERS_MAX: u32 = 4;

/// An answer, taken out of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) name: Option<Name>,
    pub(super) result: i32,
    /// The buffer that was filled.
    pub(super) buffer: Option<u16>,
    /// More answers to the same submission will come.
    pub(super) more: bool,
}

/// The ring proper.
pub(super) struct Queue {
    io: IoUring,
    /// Entries that found the submission queue full while the kernel would take none.
    backlog: VecDeque<squeue::Entry>,
    /// Submissions whose final answer has not come.
    outstanding: u32,
    /// Keeps the registered memory alive while the kernel knows it.
    pool: Rc<BufferPool>,
}

impl Queue {
    pub(super) fn new(config: &RingConfig, pool: Rc<BufferPool>) -> io::Result<Self> {
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(config.entries * 4)
            .build(config.entries)?;
        let submitter = io.submitter();
        submitter.register_files_sparse(config.files_max)?;
        submitter.register_iowq_max_workers(&mut [KERNEL_WORKERS_MAX, KERNEL_WORKERS_MAX])?;
        // SAFETY: the address is that of `count` entries in page-aligned memory, which the pool keeps until the
        // drop of this queue has unregistered it (or for ever, if that fails).
        unsafe {
            submitter.register_buf_ring_with_flags(
                pool.ring_address(),
                pool.count(),
                BUFFER_GROUP,
                0,
            )?;
        }
        Ok(Self { io, backlog: VecDeque::new(), outstanding: 0, pool })
    }

    /// A second descriptor of this ring.
    pub(super) fn duplicate_fd(&self) -> io::Result<OwnedFd> {
        // SAFETY: the descriptor is open as long as `self.io`, so during this call.
        unsafe { BorrowedFd::borrow_raw(self.io.as_raw_fd()) }.try_clone_to_owned()
    }

    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    pub(super) fn accept(&mut self, listener: RawFd, id: ConnId) {
        let entry = opcode::AcceptMulti::new(types::Fd(listener)).allocate_file_index(true).build();
        self.push(entry.user_data(pack(Op::Accept, id)));
    }

    pub(super) fn recv(&mut self, conn: ConnId) {
        let entry = opcode::RecvMulti::new(Fixed(conn.index()), BUFFER_GROUP).build();
        self.push(entry.user_data(pack(Op::Recv, conn)));
    }

    /// Asks for the end of the operation named (`op`, `id`); `cancel` names the request itself.
    pub(super) fn cancel(&mut self, op: Op, cancel: Op, id: ConnId) {
        let entry = opcode::AsyncCancel::new(pack(op, id)).build();
        self.push(entry.user_data(pack(cancel, id)));
    }

    pub(super) fn cancel_all(&mut self) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::any().all()).build();
        self.push(entry.user_data(pack(Op::CancelAll, ConnId::from_parts(0, 0))));
    }

    pub(super) fn shutdown_write(&mut self, conn: ConnId) {
        let entry = opcode::Shutdown::new(Fixed(conn.index()), libc::SHUT_WR).build();
        self.push(entry.user_data(pack(Op::Shutdown, conn)));
    }

    pub(super) fn close(&mut self, conn: ConnId) {
        let entry = opcode::Close::new(Fixed(conn.index())).build();
        self.push(entry.user_data(pack(Op::Close, conn)));
    }

    pub(super) fn transfer(&mut self, conn: ConnId, ring: RawFd, tag: u64) {
        let slot = Fixed(conn.index());
        let target = DestinationSlot::auto_target();
        let entry = opcode::MsgRingSendFd::new(types::Fd(ring), slot, target, pack_adopt(tag));
        self.push(entry.build().user_data(pack(Op::Transfer, conn)));
    }

    pub(super) fn poll(&mut self, fd: RawFd) {
        let readable = libc::POLLIN.unsigned_abs().into();
        let entry = opcode::PollAdd::new(types::Fd(fd), readable).multi(true).build();
        self.push(entry.user_data(pack(Op::Wake, ConnId::from_parts(0, 0))));
    }

    /// Sends the bytes, continuing short sends.
    ///
    /// # Safety
    /// The memory of `bytes` must stay allocated and unchanged until the answer has come.
    pub(super) unsafe fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("the ring bounds what one send may hold");
        let entry = opcode::Send::new(Fixed(conn.index()), bytes.as_ptr(), length)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.push(entry.user_data(pack(Op::Send, conn)));
    }

    /// Writes the pieces at the offset, durably.
    ///
    /// # Safety
    /// The memory of `pieces` and of what they point to must stay allocated and unchanged until the answer
    /// has come.
    pub(super) unsafe fn write(
        &mut self,
        id: ConnId,
        fd: RawFd,
        offset: u64,
        pieces: &[libc::iovec],
    ) {
        let fd = types::Fd(fd);
        let entry = match pieces {
            [piece] => {
                let length = u32::try_from(piece.iov_len).expect("checked by the caller");
                opcode::Write::new(fd, piece.iov_base.cast_const().cast(), length)
                    .offset(offset)
                    .rw_flags(libc::RWF_DSYNC)
                    .build()
            }
            _ => {
                let count = u32::try_from(pieces.len()).expect("checked by the caller");
                opcode::Writev::new(fd, pieces.as_ptr(), count)
                    .offset(offset)
                    .rw_flags(libc::RWF_DSYNC)
                    .build()
            }
        };
        self.push(entry.user_data(pack(Op::Write, id)));
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.outstanding += 1;
        self.backlog.push_back(entry);
        self.fill();
        if !self.backlog.is_empty() {
            // Only now is a system call of its own worth it. If the kernel takes nothing (it wants its answers
            // read first), the entry waits; the backlog is bounded by a few entries per connection and write.
            let _taken_later = self.io.submit();
            self.fill();
        }
    }

    /// Moves the backlog into the submission queue as far as there is room.
    fn fill(&mut self) {
        let mut submission = self.io.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: entries with pointers come only from `send` and `write`, whose callers keep the memory;
            // the buffer group that receives name is registered from `new` to the drop of self.
            if unsafe { submission.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// Hands over what is asked for, as far as the kernel takes it at once. The rest follows with `enter`.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.fill();
        tolerate(self.io.submit())
    }

    /// Submits everything and runs the kernel's pending work for this thread; with `wait`, until there is at
    /// least one answer or the time is over.
    pub(super) fn enter(&mut self, wait: bool, timeout: Option<Duration>) -> io::Result<()> {
        for _ in 0..=self.backlog.len() / self.io.params().sq_entries() as usize {
            self.fill();
            if self.backlog.is_empty() {
                break;
            }
            tolerate(self.io.submit())?;
        }
        let (submitter, submission, answers) = self.io.split();
        let wait = wait && answers.is_empty();
        let idle = submission.is_empty() && !submission.taskrun() && !submission.cq_overflow();
        if idle && !wait {
            return Ok(());
        }
        drop((submission, answers));
        let timespec = timeout.map(Timespec::from);
        let args =
            timespec.iter().fold(SubmitArgs::new(), |args, timespec| args.timespec(timespec));
        tolerate(submitter.submit_with_args(usize::from(wait), &args))
    }

    /// Whether the kernel holds answers that found the queue full.
    pub(super) fn overflown(&mut self) -> bool {
        self.io.submission().cq_overflow()
    }

    /// Takes at most `count` answers.
    pub(super) fn take_answers(&mut self, count: usize, into: &mut Vec<Answer>) {
        for answer in self.io.completion().take(count) {
            let answer = Answer {
                name: unpack(answer.user_data()),
                result: answer.result(),
                buffer: cqueue::buffer_select(answer.flags()),
                more: cqueue::more(answer.flags()),
            };
            if !answer.more && !matches!(answer.name, Some(Name::Adopt(_))) {
                assert!(self.outstanding > 0, "an answer to nothing: {answer:?}");
                self.outstanding -= 1;
            }
            into.push(answer);
        }
    }

    /// Closes every socket of the table and takes the buffers from the kernel.
    fn unregister(&self) -> io::Result<()> {
        let submitter = self.io.submitter();
        submitter.unregister_buf_ring(BUFFER_GROUP)?;
        submitter.unregister_files()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.outstanding > 0 || self.unregister().is_err() {
            std::mem::forget(Rc::clone(&self.pool));
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} outstanding, {} waiting)", self.outstanding, self.backlog.len())
    }
}

/// Ends of an enter call that are no failure: time over, a signal, or the kernel wanting its answers read first.
fn tolerate(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}
