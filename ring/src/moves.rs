//! Handing a connection to another ring without losing a byte.
//!
//! The receive is cancelled and a send in flight awaited; only when neither is in the kernel does the socket go.
//! So the bytes split cleanly: all that was received here is reported before [`Completion::TransferDone`], all
//! later ones are read there. The new owner must not start receiving before it has the old owner's bytes, which
//! the two settle between them: the old one forwards what it has when `TransferDone` comes.

use super::completion::Completion;
use super::ids::{ConnId, TRANSFER_TAG_MAX};
use super::queue::Answer;
use super::slots::Phase;
use super::state::{Move, Ring};
use super::wake::RingHandle;
use std::io;

impl Ring {
    /// Hands the connection to another ring, which reports it as [`Completion::Adopted`] with the tag (at most
    /// [`TRANSFER_TAG_MAX`]). Here, [`Completion::TransferDone`] or [`Completion::TransferFailed`] follows; until
    /// then data may still arrive, and sends are refused.
    ///
    /// # Panics
    /// If the tag is too large.
    pub fn transfer(&mut self, conn: ConnId, to: &RingHandle, tag: u64) {
        assert!(tag <= TRANSFER_TAG_MAX, "a transfer's tag has 56 bits");
        let open = self.slots.get(conn).filter(|slot| slot.phase == Phase::Open);
        let Some(slot) = open else {
            let error = io::ErrorKind::NotConnected.into();
            self.ready.push_back(Completion::TransferFailed { conn, tag, error });
            return;
        };
        slot.phase = Phase::Moving;
        slot.wants_input = false;
        let entry = Move { to: to.clone(), tag, close_if_failed: false };
        let other = self.moves.insert(conn.index(), entry);
        assert!(other.is_none(), "two moves of one connection");
        self.cancel_recv(conn);
        self.advance(conn);
    }

    /// Called with nothing in flight.
    pub(super) fn submit_move(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get(conn) else { return };
        assert!(slot.quiet(), "moved a connection with operations in flight");
        slot.phase = Phase::MoveSubmitted;
        let entry = self.moves.get(&conn.index()).expect("a moving connection has its move");
        self.queue.transfer(conn, entry.to.ring_fd(), entry.tag);
    }

    pub(super) fn on_transfer(&mut self, conn: ConnId, answer: Answer) {
        let Some(slot) = self.slots.get(conn) else {
            self.stats.stale += 1;
            return;
        };
        assert_eq!(slot.phase, Phase::MoveSubmitted, "a move was answered that was not asked");
        if answer.result >= 0 {
            slot.phase = Phase::Moved;
            self.moves.remove(&conn.index());
            self.stats.transfers += 1;
            // The other ring holds the socket now; this ends only our reference to it.
            self.queue.close(conn);
            return;
        }
        slot.phase = Phase::Open;
        let close = self.moves.get(&conn.index()).is_some_and(|entry| entry.close_if_failed);
        self.fail_move(conn, io::Error::from_raw_os_error(-answer.result));
        if close {
            self.begin_close(conn, 0);
        }
    }

    pub(super) fn close_failed_move(&mut self, conn: ConnId) {
        if let Some(entry) = self.moves.get_mut(&conn.index()) {
            entry.close_if_failed = true;
        }
    }

    pub(super) fn fail_move(&mut self, conn: ConnId, error: io::Error) {
        if let Some(Move { tag, .. }) = self.moves.remove(&conn.index()) {
            self.ready.push_back(Completion::TransferFailed { conn, tag, error });
        }
    }

    pub(super) fn on_adopt(&mut self, tag: u64, answer: Answer, out: &mut Vec<Completion>) {
        let index = u32::try_from(answer.result).expect("a failed hand-over is told to the sender");
        let conn = self.open_slot(index, out);
        out.push(Completion::Adopted { conn, tag });
    }
}
