//! What lanes carry, and the bytes of it.

use crate::error::Refusal;
use crate::frame::Lane;
use bytes::{Buf, Bytes};

/// Something for the users of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Messages of Raft: any number, one after another, as `novax-raft` writes them.
    Raft(Bytes),
    /// Something to be done there. Who asked knows the token; an answer may come or not.
    Request {
        /// Given back with the answer.
        token: u64,
        /// What is asked.
        body: Bytes,
    },
    /// What came of a request.
    Answer {
        /// That of the request.
        token: u64,
        /// What came of it.
        body: Bytes,
    },
}

impl Message {
    /// The lane it goes through.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self {
            Message::Raft(_) => Lane::Raft,
            Message::Request { .. } => Lane::Request,
            Message::Answer { .. } => Lane::Answer,
        }
    }

    /// Bytes it takes on a link, frames aside.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is bytes to count, not a container")]
    pub fn len(&self) -> usize {
        match self {
            Message::Raft(body) => body.len(),
            Message::Request { body, .. } | Message::Answer { body, .. } => {
                TOKEN_BYTES + body.len()
            }
        }
    }

    pub(crate) fn decode(lane: Lane, mut bytes: Bytes) -> Result<Message, Refusal> {
        if lane == Lane::Raft {
            return Ok(Message::Raft(bytes));
        }
        let token = bytes.try_get_u64_le().map_err(|_| Refusal::Malformed)?;
        match lane {
            Lane::Request => Ok(Message::Request { token, body: bytes }),
            Lane::Answer => Ok(Message::Answer { token, body: bytes }),
            Lane::Control | Lane::Raft | Lane::Snapshot => Err(Refusal::Lane),
        }
    }
}

pub(crate) const TOKEN_BYTES: usize = 8;

/// A snapshot on its way, as its sender calls it: a number the sender's node gives to no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub u64);

/// What is said about snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotMessage {
    /// There is one to be had. Said again after each reconnect.
    Offer {
        /// Its name.
        id: SnapshotId,
        /// All its bytes.
        length: u64,
        /// What it is of, in the words of the users.
        about: Bytes,
    },
    /// Some of its bytes.
    Chunk {
        /// Of which.
        id: SnapshotId,
        /// Where they stand.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// The receiver has all bytes before `have` and takes those before `until`. `have` at its length: it is done.
    Credit {
        /// Of which.
        id: SnapshotId,
        /// Bytes that are safe there.
        have: u64,
        /// Bytes that may be sent.
        until: u64,
    },
    /// A side gives up.
    Cancel {
        /// Which.
        id: SnapshotId,
        /// Whether the one that offered it gives up, or the other.
        by_sender: bool,
    },
}

const OFFER: u8 = 1;
const CHUNK: u8 = 2;
const CREDIT: u8 = 3;
const CANCEL: u8 = 4;
/// What may be said of a snapshot with its offer.
pub(crate) const ABOUT_BYTES_MAX: usize = 64 << 10;
/// A kind and three numbers.
pub(crate) const HEAD_BYTES_MAX: usize = 1 + 3 * 8;

/// The few bytes ahead of a body that would be a pity to copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

impl Head {
    pub(crate) fn new() -> Head {
        Head { bytes: [0; HEAD_BYTES_MAX], len: 0 }
    }

    pub(crate) fn with(mut self, bytes: &[u8]) -> Head {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        self
    }

    fn number(self, number: u64) -> Head {
        self.with(&number.to_le_bytes())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Message {
    pub(crate) fn into_parts(self) -> (Lane, Head, Bytes) {
        let lane = self.lane();
        match self {
            Message::Raft(body) => (lane, Head::new(), body),
            Message::Request { token, body } | Message::Answer { token, body } => {
                (lane, Head::new().number(token), body)
            }
        }
    }
}

impl SnapshotMessage {
    pub(crate) fn into_parts(self) -> (Head, Bytes) {
        let head = |kind: u8, id: SnapshotId| Head::new().with(&[kind]).number(id.0);
        match self {
            SnapshotMessage::Offer { id, length, about } => {
                assert!(about.len() <= ABOUT_BYTES_MAX, "{} bytes about a snapshot", about.len());
                (head(OFFER, id).number(length), about)
            }
            SnapshotMessage::Chunk { id, offset, bytes } => (head(CHUNK, id).number(offset), bytes),
            SnapshotMessage::Credit { id, have, until } => {
                (head(CREDIT, id).number(have).number(until), Bytes::new())
            }
            SnapshotMessage::Cancel { id, by_sender } => {
                (head(CANCEL, id).with(&[u8::from(by_sender)]), Bytes::new())
            }
        }
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<SnapshotMessage, Refusal> {
        Self::parse(bytes).ok_or(Refusal::Malformed)
    }

    fn parse(mut bytes: Bytes) -> Option<SnapshotMessage> {
        let kind = bytes.try_get_u8().ok()?;
        let id = SnapshotId(bytes.try_get_u64_le().ok()?);
        match kind {
            OFFER => {
                let length = bytes.try_get_u64_le().ok()?;
                let known = bytes.len() <= ABOUT_BYTES_MAX;
                known.then_some(SnapshotMessage::Offer { id, length, about: bytes })
            }
            CHUNK => {
                let offset = bytes.try_get_u64_le().ok()?;
                Some(SnapshotMessage::Chunk { id, offset, bytes })
            }
            CREDIT => {
                let have = bytes.try_get_u64_le().ok()?;
                let until = bytes.try_get_u64_le().ok()?;
                bytes.is_empty().then_some(SnapshotMessage::Credit { id, have, until })
            }
            CANCEL => {
                let by = bytes.try_get_u8().ok()?;
                let known = by <= 1 && bytes.is_empty();
                known.then_some(SnapshotMessage::Cancel { id, by_sender: by == 1 })
            }
            _ => None,
        }
    }
}

/// What a link says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// Are you there? The number comes back.
    Ping(u64),
    /// I am.
    Pong(u64),
    /// The link ends, and why: [`Refusal::code`].
    Bye(u16),
}

impl Control {
    pub(crate) fn head(self) -> Head {
        match self {
            Control::Ping(number) => Head::new().with(&[1]).number(number),
            Control::Pong(number) => Head::new().with(&[2]).number(number),
            Control::Bye(code) => Head::new().with(&[3]).with(&code.to_le_bytes()),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Control, Refusal> {
        let (kind, rest) = bytes.split_first().ok_or(Refusal::Malformed)?;
        let number = || rest.try_into().map(u64::from_le_bytes).map_err(|_| Refusal::Malformed);
        match kind {
            1 => number().map(Control::Ping),
            2 => number().map(Control::Pong),
            3 => {
                let code = rest.try_into().map_err(|_| Refusal::Malformed)?;
                Ok(Control::Bye(u16::from_le_bytes(code)))
            }
            _ => Err(Refusal::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(head: Head, body: &Bytes) -> Bytes {
        [head.as_slice(), body].concat().into()
    }

    #[test]
    fn messages_are_read_as_they_are_written_and_refused_when_cut_short() {
        let body = Bytes::from_static(b"words");
        for message in [
            Message::Raft(body.clone()),
            Message::Request { token: 7, body: body.clone() },
            Message::Answer { token: u64::MAX, body: Bytes::new() },
        ] {
            let len = message.len();
            let (lane, head, body) = message.clone().into_parts();
            let bytes = whole(head, &body);
            assert_eq!(bytes.len(), len);
            assert_eq!(Message::decode(lane, bytes), Ok(message));
        }
        let short = Message::decode(Lane::Request, Bytes::from_static(b"1234567"));
        assert_eq!(short, Err(Refusal::Malformed));
    }

    #[test]
    fn words_about_snapshots_are_read_as_they_are_written() {
        let (id, bytes) = (SnapshotId(3), Bytes::from_static(b"bytes"));
        let all = [
            (SnapshotMessage::Offer { id, length: 9, about: bytes.clone() }, 17),
            (SnapshotMessage::Chunk { id, offset: 5, bytes }, 17),
            (SnapshotMessage::Credit { id, have: 1, until: 2 }, 25),
            (SnapshotMessage::Cancel { id, by_sender: true }, 10),
        ];
        for (message, fixed) in all {
            let (head, body) = message.clone().into_parts();
            let bytes = whole(head, &body);
            for len in 0..fixed {
                let cut = SnapshotMessage::decode(bytes.slice(..len));
                assert_eq!(cut, Err(Refusal::Malformed), "{message:?}, {len} bytes");
            }
            assert_eq!(SnapshotMessage::decode(bytes), Ok(message));
        }
    }

    #[test]
    fn control_is_read_as_it_is_written() {
        for control in [Control::Ping(1), Control::Pong(u64::MAX), Control::Bye(20)] {
            let head = control.head();
            let bytes = head.as_slice();
            assert_eq!(Control::decode(bytes), Ok(control));
            assert_eq!(Control::decode(&bytes[..bytes.len() - 1]), Err(Refusal::Malformed));
            let longer = [bytes, &[0]].concat();
            assert_eq!(Control::decode(&longer), Err(Refusal::Malformed));
        }
    }
}
