//! One connection's life: receiving, sending, and every way to its end.
//!
//! All decisions about what follows the end of an operation are in [`Ring::advance`]: it looks at the phase and
//! at what is still in flight. So there is one place where a slot is closed, and it is reached with nothing in
//! flight, whatever the order in which the kernel answers.

use super::completion::Completion;
use super::ids::{ConnId, Op};
use super::queue::Answer;
use super::slots::{Phase, Recv};
use super::state::Ring;
use std::io;
use std::time::{Duration, Instant};

/// How long a connection may take to end in order before it is cut off.
pub(super) const CLOSE_LINGER: Duration = Duration::from_secs(5);

/// What one send may hold; the kernel counts in 31 bits.
const SEND_BYTES_MAX: usize = 1 << 30;

impl Ring {
    /// Starts receiving (again), for an adopted connection or after [`stop_recv`](Self::stop_recv).
    pub fn start_recv(&mut self, conn: ConnId) {
        if let Some(slot) = self.slots.get(conn)
            && slot.phase == Phase::Open
        {
            slot.wants_input = true;
            self.advance(conn);
        }
    }

    /// Stops receiving, so that the peer is slowed down by TCP. What the kernel has read already still comes.
    pub fn stop_recv(&mut self, conn: ConnId) {
        if let Some(slot) = self.slots.get(conn)
            && slot.phase == Phase::Open
        {
            slot.wants_input = false;
            self.cancel_recv(conn);
        }
    }

    /// Sends the whole buffer; [`Completion::Sent`] gives it back. One send at a time: the owner queues.
    ///
    /// # Errors
    /// The buffer, if a send is in flight or the connection is gone, ending or moving.
    pub fn send(&mut self, conn: ConnId, buffer: Vec<u8>) -> Result<(), Vec<u8>> {
        let Some(slot) = self.slots.get(conn) else { return Err(buffer) };
        let open = matches!(slot.phase, Phase::Open | Phase::Finished);
        if !open || slot.sending.is_some() || buffer.len() > SEND_BYTES_MAX {
            return Err(buffer);
        }
        slot.sent_bytes = 0;
        slot.sending = Some(buffer);
        self.submit_send(conn);
        Ok(())
    }

    /// Ends the connection now: a send in flight is cut off. [`Completion::Closed`] follows, except for one
    /// that is just being handed over: if that succeeds, the new owner has it and here `TransferDone` comes.
    pub fn close(&mut self, conn: ConnId) {
        self.begin_close(conn, 0);
    }

    /// Ends the connection in order: the send in flight goes out, then our end is marked, and the peer gets a
    /// bounded time to end its side, during which its bytes are thrown away. [`Completion::Closed`] follows.
    pub fn close_after_send(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get(conn) else { return };
        if slot.phase == Phase::Open {
            slot.phase = Phase::Draining;
            slot.wants_input = true;
            self.linger(conn);
            self.advance(conn);
        }
        // Finished: the peer has ended, the close follows the send by itself. All else is on its way out.
    }

    /// Takes a slot that the kernel has filled into use.
    pub(super) fn open_slot(&mut self, index: u32, out: &mut Vec<Completion>) -> ConnId {
        if let Some((old, Phase::CloseSubmitted | Phase::Moved)) = self.slots.occupant(index) {
            // The kernel may fill the slot again before it reports the close of the last one.
            self.finish_close(old, out);
        }
        self.slots.open(index)
    }

    pub(super) fn on_recv(&mut self, conn: ConnId, answer: Answer, out: &mut Vec<Completion>) {
        let bytes = u32::try_from(answer.result).unwrap_or(0);
        // SAFETY: this answer has just named the buffer, and each answer is handled once.
        let data = answer.buffer.map(|id| unsafe { self.pool.take(id, bytes) });
        let Some(slot) = self.slots.get(conn) else {
            self.stats.stale += 1;
            return;
        };
        if !answer.more {
            slot.recv = Recv::Idle;
        }
        match (answer.result, data) {
            (1.., Some(data)) => {
                if matches!(slot.phase, Phase::Open | Phase::Moving) {
                    self.stats.recvs += 1;
                    out.push(Completion::Received { conn, data });
                }
            }
            (1.., None) => self.begin_close(conn, libc::EIO),
            (0, _) => self.on_end_of_input(conn),
            (error, _) => self.on_recv_error(conn, error),
        }
        if !answer.more {
            self.advance(conn);
        }
    }

    fn on_recv_error(&mut self, conn: ConnId, error: i32) {
        match -error {
            libc::ENOBUFS => {
                self.stats.enobufs += 1;
                let Some(slot) = self.slots.get(conn) else { return };
                if slot.recv == Recv::Idle && slot.wants_input {
                    slot.recv = Recv::Starved;
                    if !std::mem::replace(&mut slot.in_starved, true) {
                        self.starved.push_back(conn);
                    }
                }
            }
            // Our own cancel, or an interruption: `advance` arms it again if it is still wanted.
            libc::ECANCELED | libc::EINTR => {}
            errno => self.begin_close(conn, errno),
        }
    }

    fn on_end_of_input(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get(conn) else { return };
        slot.wants_input = false;
        match slot.phase {
            Phase::Open => {
                slot.phase = Phase::Finished;
                self.linger(conn);
                self.advance(conn);
            }
            Phase::Draining => self.begin_close(conn, 0),
            Phase::Moving => {
                self.fail_move(conn, io::ErrorKind::UnexpectedEof.into());
                self.begin_close(conn, 0);
            }
            _ => {}
        }
    }

    pub(super) fn on_send(&mut self, conn: ConnId, answer: Answer, out: &mut Vec<Completion>) {
        let Some(slot) = self.slots.get(conn) else {
            self.stats.stale += 1;
            return;
        };
        let length = slot.sending.as_ref().map_or(0, Vec::len);
        let ending = slot.phase == Phase::Closing;
        match answer.result {
            sent @ 0.. => {
                slot.sent_bytes += sent.unsigned_abs();
                assert!(
                    slot.sent_bytes as usize <= length,
                    "the kernel sent more than it was given"
                );
                let left = length - slot.sent_bytes as usize;
                if left == 0 {
                    self.stats.sends += 1;
                    out.extend(slot.sending.take().map(|mut buffer| {
                        buffer.clear();
                        Completion::Sent { conn, buffer }
                    }));
                } else if ending || sent == 0 {
                    slot.sending = None;
                    self.begin_close(conn, libc::EPIPE);
                } else {
                    self.submit_send(conn);
                }
            }
            error if matches!(-error, libc::EINTR | libc::EAGAIN) && !ending => {
                self.submit_send(conn);
            }
            error => {
                slot.sending = None;
                self.begin_close(conn, -error);
            }
        }
        self.advance(conn);
    }

    fn submit_send(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get(conn) else { return };
        let Some(buffer) = &slot.sending else { return };
        let rest = &buffer[slot.sent_bytes as usize..];
        // SAFETY: the buffer stays in its slot until the answer: `send` refuses while it is there, only
        // `on_send` takes it out, and `Slots::release` refuses a slot that has one. The slot table may move
        // the `Vec`, not what it points to. Dropping the ring waits for the answer first.
        unsafe { self.queue.send(conn, rest) };
    }

    /// Starts the way to `Closed`, from any phase. The first error is the one reported.
    pub(super) fn begin_close(&mut self, conn: ConnId, errno: i32) {
        let Some(slot) = self.slots.get(conn) else { return };
        match slot.phase {
            Phase::Free | Phase::Closing | Phase::CloseSubmitted | Phase::Moved => return,
            // Cannot be called back; if it fails, the close is made up for then.
            Phase::MoveSubmitted => {
                slot.wants_input = false;
                self.close_failed_move(conn);
                return;
            }
            Phase::Moving => self.fail_move(conn, io::Error::from_raw_os_error(libc::ECANCELED)),
            Phase::Open | Phase::Finished | Phase::Draining => {}
        }
        let Some(slot) = self.slots.get(conn) else { return };
        slot.phase = Phase::Closing;
        slot.errno = errno;
        slot.wants_input = false;
        let cut_off = slot.sending.is_some() && !std::mem::replace(&mut slot.send_cancelled, true);
        if cut_off {
            self.queue.cancel(Op::Send, Op::CancelSend, conn);
        }
        self.cancel_recv(conn);
        self.advance(conn);
    }

    pub(super) fn cancel_recv(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get(conn) else { return };
        match slot.recv {
            Recv::Armed => {
                slot.recv = Recv::Cancelling;
                self.queue.cancel(Op::Recv, Op::CancelRecv, conn);
            }
            Recv::Starved => slot.recv = Recv::Idle,
            Recv::Idle | Recv::Cancelling => {}
        }
    }

    /// A cancel request was answered. Its target reports by itself, unless it was just then being worked on.
    pub(super) fn on_cancel(&mut self, op: Op, conn: ConnId, answer: Answer) {
        if -answer.result != libc::EALREADY {
            return;
        }
        let Some(slot) = self.slots.get(conn) else { return };
        match op {
            Op::CancelRecv if slot.recv == Recv::Cancelling => {
                self.queue.cancel(Op::Recv, Op::CancelRecv, conn);
            }
            Op::CancelSend if slot.sending.is_some() => {
                self.queue.cancel(Op::Send, Op::CancelSend, conn);
            }
            _ => {}
        }
    }

    pub(super) fn on_shutdown(&mut self, conn: ConnId) {
        if let Some(slot) = self.slots.get(conn) {
            // A failure means that the connection is dead, which the receive reports.
            slot.shutdown_in_flight = false;
            self.advance(conn);
        }
    }

    pub(super) fn on_close(&mut self, conn: ConnId, out: &mut Vec<Completion>) {
        match self.slots.occupant(conn.index()) {
            Some((id, Phase::CloseSubmitted | Phase::Moved)) if id == conn => {
                self.finish_close(conn, out);
            }
            _ => self.stats.stale += 1,
        }
    }

    fn finish_close(&mut self, conn: ConnId, out: &mut Vec<Completion>) {
        let moved = self.slots.occupant(conn.index()) == Some((conn, Phase::Moved));
        let errno = self.slots.release(conn);
        if moved {
            out.push(Completion::TransferDone { conn });
            return;
        }
        let error = (errno != 0).then(|| io::Error::from_raw_os_error(errno));
        out.push(Completion::Closed { conn, error });
    }

    /// Takes the next step that the phase allows.
    pub(super) fn advance(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get(conn) else { return };
        match slot.phase {
            Phase::Open => self.arm_if_wanted(conn),
            // The owner gets one turn to answer what came before the end.
            Phase::Finished if slot.sending.is_none() && !slot.in_finished => {
                slot.in_finished = true;
                self.finished.push_back(conn);
            }
            Phase::Draining => {
                if slot.sending.is_none() && !std::mem::replace(&mut slot.shutdown_done, true) {
                    slot.shutdown_in_flight = true;
                    self.queue.shutdown_write(conn);
                }
                self.arm_if_wanted(conn);
            }
            Phase::Closing if slot.quiet() => {
                slot.phase = Phase::CloseSubmitted;
                self.queue.close(conn);
            }
            Phase::Moving if slot.quiet() => self.submit_move(conn),
            _ => {}
        }
    }

    fn arm_if_wanted(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get(conn) else { return };
        if slot.wants_input && slot.recv == Recv::Idle {
            slot.recv = Recv::Armed;
            self.queue.recv(conn);
        }
    }

    /// Arms the receives that ended for want of buffers, oldest first, no more than there are buffers free.
    pub(super) fn rearm_starved(&mut self) {
        let mut free = self.pool.free();
        while free > 0
            && let Some(conn) = self.starved.pop_front()
        {
            let Some(slot) = self.slots.get(conn) else { continue };
            slot.in_starved = false;
            if slot.recv == Recv::Starved {
                slot.recv = Recv::Idle;
                self.arm_if_wanted(conn);
                free -= 1;
            }
        }
    }

    /// Closes the connections whose peer has finished and whose owner had its turn and sends nothing more.
    pub(super) fn close_finished(&mut self) {
        for _ in 0..self.finished.len() {
            let Some(conn) = self.finished.pop_front() else { break };
            let Some(slot) = self.slots.get(conn) else { continue };
            slot.in_finished = false;
            if slot.phase == Phase::Finished && slot.sending.is_none() {
                self.begin_close(conn, 0);
            }
        }
    }

    /// Bounds the rest of this connection's life.
    fn linger(&mut self, conn: ConnId) {
        self.lingering.push_back((Instant::now() + CLOSE_LINGER, conn));
    }

    /// Cuts off what has lingered long enough.
    pub(super) fn close_lingering(&mut self, now: Instant) {
        while let Some((deadline, conn)) = self.lingering.front().copied()
            && deadline <= now
        {
            self.lingering.pop_front();
            self.begin_close(conn, 0);
        }
    }
}
