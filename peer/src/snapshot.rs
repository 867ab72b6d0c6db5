//! A snapshot on its way, from both ends: who may send what, and how fast.
//!
//! * Nothing is sent that the receiver has not given credit for, and credit is given for what was written, not for what came:
//!   a slow disk slows the sender, whatever the network could do.
//! * After a reconnect the sender offers again and goes on where the receiver says.
//! * [`Pace`] bounds the bytes a second of all snapshots a node sends: they never crowd out the lanes ahead of them.

use crate::error::Refusal;
use crate::frame::FRAME_BODY_BYTES_MAX;
use crate::message::{HEAD_BYTES_MAX, SnapshotId};
use std::time::{Duration, Instant};

/// The most bytes of a chunk.
pub const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Bytes a receiver lets be sent ahead of what it has written.
pub const WINDOW_BYTES: u64 = 4 << 20;
const _: () = assert!(CHUNK_BYTES_MAX + HEAD_BYTES_MAX <= FRAME_BODY_BYTES_MAX);

/// The sender's end.
#[derive(Debug)]
pub struct Outgoing {
    id: SnapshotId,
    length: u64,
    /// Safe at the receiver.
    have: u64,
    sent: u64,
    until: u64,
    /// Offered, and the receiver has not said where to begin.
    offered: bool,
}

impl Outgoing {
    /// A snapshot of `length` bytes that was just offered.
    #[must_use]
    pub fn new(id: SnapshotId, length: u64) -> Outgoing {
        Outgoing { id, length, have: 0, sent: 0, until: 0, offered: true }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// All its bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that are safe at the receiver.
    #[must_use]
    pub fn have(&self) -> u64 {
        self.have
    }

    /// The link is a new one, and the snapshot was offered again there.
    pub fn offered_again(&mut self) {
        self.offered = true;
        self.until = 0;
    }

    /// The receiver has the bytes before `have` and takes those before `until`.
    ///
    /// # Errors
    /// [`Refusal::SnapshotFlow`]: it says it has what was never sent, or lost what it had.
    pub fn credit(&mut self, have: u64, until: u64) -> Result<(), Refusal> {
        // After an offer it may begin anywhere: it may have lost its disk, or kept more than was heard of.
        let possible = if self.offered { 0..=self.length } else { self.have..=self.sent };
        if !possible.contains(&have) || until < have || until < self.until {
            return Err(Refusal::SnapshotFlow);
        }
        if self.offered {
            self.sent = have;
        }
        self.offered = false;
        self.have = have;
        self.until = until.min(self.length);
        Ok(())
    }

    /// What to send next: where, and how many bytes; nothing without credit.
    #[must_use]
    pub fn next(&self) -> Option<(u64, usize)> {
        if self.offered || self.sent >= self.until {
            return None;
        }
        let len = usize::try_from(self.until - self.sent).unwrap_or(usize::MAX);
        Some((self.sent, len.min(CHUNK_BYTES_MAX)))
    }

    /// The next bytes are on their way.
    pub fn advance(&mut self, len: usize) {
        self.sent += len as u64;
        assert!(self.sent <= self.until, "sent beyond the credit");
    }

    /// Whether all of it is safe at the receiver.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !self.offered && self.have == self.length
    }
}

/// The receiver's end.
#[derive(Debug)]
pub struct Incoming {
    id: SnapshotId,
    length: u64,
    came: u64,
    written: u64,
    until: u64,
}

impl Incoming {
    /// A snapshot that was offered, of which `have` bytes are here already.
    #[must_use]
    pub fn new(id: SnapshotId, length: u64, have: u64) -> Incoming {
        assert!(have <= length, "no more is here than all of it");
        let mut incoming = Incoming { id, length, came: have, written: have, until: have };
        incoming.restart();
        incoming
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// All its bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that are here.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The link is a new one: what was on its way is lost. To be called when nothing waits to be written; gives
    /// `have` and `until` for the sender.
    pub fn restart(&mut self) -> (u64, u64) {
        self.came = self.written;
        self.until = self.length.min(self.written + WINDOW_BYTES);
        (self.written, self.until)
    }

    /// A chunk came.
    ///
    /// # Errors
    /// [`Refusal::SnapshotFlow`]: not the bytes that were due, or more than was given credit for.
    pub fn chunk(&mut self, offset: u64, len: usize) -> Result<(), Refusal> {
        let room = self.until - self.came;
        if offset != self.came || len == 0 || len > CHUNK_BYTES_MAX || len as u64 > room {
            return Err(Refusal::SnapshotFlow);
        }
        self.came += len as u64;
        Ok(())
    }

    /// Bytes were written; gives `have` and `until` when it is time to tell the sender.
    pub fn wrote(&mut self, len: usize) -> Option<(u64, u64)> {
        self.written += len as u64;
        assert!(self.written <= self.came, "nothing is written that did not come");
        let due = self.until < self.length && self.until - self.written <= WINDOW_BYTES / 2;
        if !due {
            return None;
        }
        self.until = self.length.min(self.written + WINDOW_BYTES);
        Some((self.written, self.until))
    }

    /// Whether all of it is written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.written == self.length
    }
}

/// A bound on bytes a second, with a burst of a tenth of a second.
#[derive(Debug)]
pub struct Pace {
    bytes_per_s: u64,
    /// When what was taken has been paid for.
    free: Option<Instant>,
}

const BURST: Duration = Duration::from_millis(100);

impl Pace {
    /// So many bytes a second.
    #[must_use]
    pub fn new(bytes_per_s: u64) -> Pace {
        assert!(bytes_per_s > 0, "a pace of nothing never ends");
        Pace { bytes_per_s, free: None }
    }

    /// Takes `bytes`, or says when to ask again.
    ///
    /// # Errors
    /// When there will be room.
    pub fn take(&mut self, now: Instant, bytes: usize) -> Result<(), Instant> {
        let paid = self.free.unwrap_or(now);
        if paid > now + BURST {
            return Err(paid - BURST);
        }
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_s);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free = Some(paid.max(now) + cost);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: SnapshotId = SnapshotId(1);

    /// Moves a snapshot until it is done; the link is lost whenever `lose` says so.
    fn carry(length: u64, mut lose: impl FnMut() -> bool) -> Vec<u8> {
        let byte = |at: u64| u8::try_from(at % 251).expect("below 251");
        let mut got: Vec<u8> = Vec::new();
        let mut sender = Outgoing::new(ID, length);
        let mut receiver = Incoming::new(ID, length, 0);
        let mut credits = vec![receiver.restart()];
        for _turn in 0..100_000 {
            if lose() {
                sender.offered_again();
                credits = vec![receiver.restart()];
            }
            for (have, until) in credits.drain(..) {
                sender.credit(have, until).expect("an honest receiver");
            }
            if receiver.is_written() {
                sender.credit(length, length).expect("it is done");
                assert!(sender.is_done());
                return got;
            }
            while let Some((offset, len)) = sender.next() {
                sender.advance(len);
                receiver.chunk(offset, len).expect("an honest sender");
                if lose() {
                    // It came, and the process that was to write it lost it with its link.
                    break;
                }
                got.extend((offset..offset + len as u64).map(byte));
                credits.extend(receiver.wrote(len));
            }
            if receiver.came != receiver.written {
                sender.offered_again();
                credits = vec![receiver.restart()];
            }
        }
        panic!("it never ends");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_byte_comes_once_however_often_the_link_is_lost(
            length in 0_u64..20_000_000, seed in any::<u64>(),
        ) {
            let mut state = seed | 1;
            let lose = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % 50 == 0
            };
            let got = carry(length, lose);
            prop_assert_eq!(got.len() as u64, length);
            let right = (0..length).zip(&got).all(|(at, byte)| u64::from(*byte) == at % 251);
            prop_assert!(right);
        }
    }

    #[test]
    fn a_snapshot_of_nothing_is_done_when_it_is_taken() {
        assert_eq!(carry(0, || false), []);
    }

    #[test]
    fn a_sender_that_goes_beyond_its_credit_is_refused() {
        let mut receiver = Incoming::new(ID, 100_000_000, 0);
        let broken = Err(Refusal::SnapshotFlow);
        assert_eq!(receiver.chunk(1, 10), broken);
        assert_eq!(receiver.chunk(0, 0), broken);
        assert_eq!(receiver.chunk(0, CHUNK_BYTES_MAX + 1), broken);
        let mut at = 0;
        while at < WINDOW_BYTES {
            receiver.chunk(at, CHUNK_BYTES_MAX).expect("within its credit");
            at += CHUNK_BYTES_MAX as u64;
        }
        assert_eq!(receiver.chunk(at, 1), broken);
        assert_eq!(receiver.chunk(0, 1), broken);
    }

    #[test]
    fn a_receiver_that_has_what_was_never_sent_is_refused() {
        let mut sender = Outgoing::new(ID, 1_000);
        assert_eq!(sender.credit(1_001, 1_001), Err(Refusal::SnapshotFlow));
        sender.credit(100, 500).expect("it had some of it");
        assert_eq!(sender.next(), Some((100, 400)));
        sender.advance(400);
        assert_eq!(sender.next(), None);
        for (have, until) in [(501, 600), (99, 600), (300, 299), (300, 499)] {
            assert_eq!(sender.credit(have, until), Err(Refusal::SnapshotFlow), "{have} {until}");
        }
        sender.credit(500, 5_000).expect("more than all is all");
        assert_eq!(sender.next(), Some((500, 500)));
    }

    #[test]
    fn the_pace_is_kept_over_time() {
        let begin = Instant::now();
        let mut pace = Pace::new(1_000_000);
        let (mut now, mut taken) = (begin, 0_u64);
        while taken < 5_000_000 {
            match pace.take(now, 10_000) {
                Ok(()) => taken += 10_000,
                Err(later) => {
                    assert!(later > now, "it never asks to wait for the past");
                    now = later;
                }
            }
        }
        let elapsed = (now - begin).as_secs_f64();
        assert!((4.8..=5.0).contains(&elapsed), "{elapsed} s");
        // A pause does not save up more than the burst.
        now += Duration::from_secs(60);
        let burst = std::iter::repeat_with(|| pace.take(now, 10_000)).take_while(Result::is_ok);
        assert!(burst.count() <= 12);
    }
}
