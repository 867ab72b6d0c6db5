//! Bytes in, messages out, wherever the bytes are cut.
//!
//! A frame that lies whole in the input is unmasked there and handed on as it lies: no copy and no
//! allocation. Only what is cut by the end of the input, or fragmented, is kept in a [`Partial`],
//! which is dropped as soon as nothing is under way.

use super::header::{HEADER_BYTES_MAX, Header, Opcode, Violation};
use super::write::may_be_sent;
use super::{CONTROL_BYTES_MAX, mask};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes masked frames.
    Server,
    /// Takes unmasked frames.
    Client,
}

/// What a peer may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, all fragments together.
    pub message_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message_bytes_max: 64 * 1024 }
    }
}

/// What a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// An answer to a ping, or a sign of life.
    Pong(&'a [u8]),
    /// The peer closes. Nothing follows.
    Close {
        /// Its code, if it gave one.
        code: Option<u16>,
        /// Its reason, often empty.
        reason: &'a str,
    },
}

/// The receiving half of one connection.
#[derive(Debug)]
pub struct Receiver {
    message_bytes_max: usize,
    partial: Option<Box<Partial>>,
    role: Role,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A close frame came: what follows it is not read (5.5.1).
    Closed,
    Failed(Violation),
}

/// What is kept between two inputs.
#[derive(Debug, Default)]
struct Partial {
    /// A head that is not complete yet.
    head: [u8; HEADER_BYTES_MAX],
    head_len: usize,
    /// The frame whose payload is not complete yet, and how much of it is here.
    frame: Option<Header>,
    frame_taken: usize,
    /// The kind of the message under way, when a fragment of it is here.
    message_kind: Option<Opcode>,
    /// The payload of the message under way, unmasked.
    message: Vec<u8>,
    /// The payload of a control frame under way, unmasked.
    control: Vec<u8>,
}

impl Partial {
    fn is_idle(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message_kind.is_none()
    }
}

// An idle connection costs this and no more (architecture: idle connections are many).
const _: () = assert!(size_of::<Receiver>() <= 32);

impl Receiver {
    /// A receiver for a connection that was just upgraded.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> Self {
        Receiver {
            message_bytes_max: limits.message_bytes_max,
            partial: None,
            role,
            state: State::Open,
        }
    }

    /// Bytes kept for a message that is not complete: never more than the limit plus one frame's
    /// head and one control frame.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.partial
            .as_ref()
            .map_or(0, |partial| partial.head_len + partial.message.len() + partial.control.len())
    }

    /// Whether the peer's close frame has come.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Takes bytes (unmasking them in place) and calls `sink` for each event, in order.
    ///
    /// # Errors
    /// The rule that the peer broke; the events before it were delivered. Every later call gives
    /// the same answer.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        let mut rest = input;
        while !rest.is_empty() {
            match self.state {
                State::Open => {}
                State::Closed => return Ok(()),
                State::Failed(violation) => return Err(violation),
            }
            let before = rest.len();
            let step = match &self.partial {
                None => self.whole_frame(rest, sink),
                Some(_) => self.partial_frame(rest, sink),
            };
            match step {
                Ok(taken) => {
                    assert!(0 < taken && taken <= before, "each step takes some of the input");
                    rest = rest.get_mut(taken..).unwrap_or_default();
                }
                Err(violation) => {
                    self.partial = None;
                    self.state = State::Failed(violation);
                }
            }
            assert!(
                self.buffered() <= self.message_bytes_max + HEADER_BYTES_MAX + CONTROL_BYTES_MAX
            );
        }
        match self.state {
            State::Failed(violation) => Err(violation),
            State::Open | State::Closed => Ok(()),
        }
    }

    /// Nothing is under way: deliver a frame from where it lies, or start a [`Partial`].
    fn whole_frame(
        &mut self,
        input: &mut [u8],
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<usize, Violation> {
        let Some(header) = Header::parse(input, self.role)? else {
            let mut partial = Box::<Partial>::default();
            let kept = partial.head.get_mut(..input.len()).expect("a longer head is complete");
            kept.copy_from_slice(input);
            partial.head_len = input.len();
            self.partial = Some(partial);
            return Ok(input.len());
        };
        let payload_bytes = self.admit(&header, None, 0)?;
        let end = header.header_bytes + payload_bytes;
        let message_ends = header.fin || header.opcode.is_control();
        match input.get_mut(header.header_bytes..end) {
            Some(payload) if message_ends => {
                if let Some(key) = header.mask {
                    mask::apply(payload, key, 0);
                }
                self.deliver(header.opcode, payload, sink)?;
                Ok(end)
            }
            _ => {
                let partial = Partial { frame: Some(header), ..Partial::default() };
                self.partial = Some(Box::new(partial));
                let body = input.get_mut(header.header_bytes..).unwrap_or_default();
                Ok(header.header_bytes + self.payload(body, sink)?)
            }
        }
    }

    /// Something is under way: complete a head, or go on with a payload.
    fn partial_frame(
        &mut self,
        input: &mut [u8],
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<usize, Violation> {
        let role = self.role;
        let partial = self.partial.as_mut().expect("called when there is one");
        if partial.frame.is_some() {
            return self.payload(input, sink);
        }
        // The head is put together in its own few bytes, which a whole head always fits.
        let room = partial.head.get_mut(partial.head_len..).unwrap_or_default();
        let copied = room.len().min(input.len());
        for (to, from) in room.iter_mut().zip(input.iter()) {
            *to = *from;
        }
        let available = partial.head_len + copied;
        let head = partial.head.get(..available).unwrap_or_default();
        let Some(header) = Header::parse(head, role)? else {
            partial.head_len = available;
            assert!(available < HEADER_BYTES_MAX, "a full head is never incomplete");
            return Ok(copied);
        };
        let taken = header.header_bytes - partial.head_len;
        let (kind, message_bytes) = (partial.message_kind, partial.message.len());
        partial.head_len = 0;
        partial.frame_taken = 0;
        partial.frame = Some(header);
        self.admit(&header, kind, message_bytes)?;
        let body = input.get_mut(taken..).unwrap_or_default();
        Ok(taken + self.payload(body, sink)?)
    }

    /// Rules that tie a frame to the message under way; returns the payload's length.
    fn admit(
        &self,
        header: &Header,
        message_kind: Option<Opcode>,
        message_bytes: usize,
    ) -> Result<usize, Violation> {
        match (header.opcode, message_kind) {
            (Opcode::Continuation, None) => return Err(Violation::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Violation::ExpectedContinuation);
            }
            _ => {}
        }
        let Ok(payload_bytes) = usize::try_from(header.payload_bytes) else {
            return Err(Violation::TooBig);
        };
        if header.opcode.is_control() {
            return Ok(payload_bytes);
        }
        match message_bytes.checked_add(payload_bytes) {
            Some(total) if total <= self.message_bytes_max => Ok(payload_bytes),
            _ => Err(Violation::TooBig),
        }
    }

    /// Takes payload bytes of the frame under way; delivers when its message is complete.
    fn payload(
        &mut self,
        input: &mut [u8],
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<usize, Violation> {
        let message_bytes_max = self.message_bytes_max;
        let partial = self.partial.as_mut().expect("called when there is one");
        let header = partial.frame.expect("called when its head is complete");
        let wanted = usize::try_from(header.payload_bytes).map_err(|_| Violation::TooBig)?;
        let taken = input.len().min(wanted - partial.frame_taken);
        let bytes = input.get_mut(..taken).unwrap_or_default();
        if let Some(key) = header.mask {
            mask::apply(bytes, key, partial.frame_taken);
        }
        if header.opcode.is_control() {
            partial.control.extend_from_slice(bytes);
        } else {
            append_bounded(&mut partial.message, bytes, message_bytes_max);
        }
        partial.frame_taken += taken;
        if partial.frame_taken < wanted {
            return Ok(taken);
        }
        partial.frame = None;
        partial.frame_taken = 0;
        self.frame_complete(&header, sink)?;
        Ok(taken)
    }

    fn frame_complete(
        &mut self,
        header: &Header,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        let partial = self.partial.as_mut().expect("a frame was under way");
        let (kind, mut payload) = if header.opcode.is_control() {
            (header.opcode, std::mem::take(&mut partial.control))
        } else {
            let kind = *partial.message_kind.get_or_insert(header.opcode);
            if !header.fin {
                return Ok(());
            }
            partial.message_kind = None;
            (kind, std::mem::take(&mut partial.message))
        };
        if partial.is_idle() {
            self.partial = None;
        }
        self.deliver(kind, &mut payload, sink)
    }

    fn deliver(
        &mut self,
        kind: Opcode,
        payload: &mut [u8],
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        let payload = &*payload;
        match kind {
            Opcode::Text => sink(Event::Text(text(payload)?)),
            Opcode::Binary => sink(Event::Binary(payload)),
            Opcode::Ping => sink(Event::Ping(payload)),
            Opcode::Pong => sink(Event::Pong(payload)),
            Opcode::Close => {
                let (code, reason) = close(payload)?;
                self.partial = None;
                self.state = State::Closed;
                sink(Event::Close { code, reason });
            }
            Opcode::Continuation => return Err(Violation::UnexpectedContinuation),
        }
        Ok(())
    }
}

fn text(payload: &[u8]) -> Result<&str, Violation> {
    std::str::from_utf8(payload).map_err(|_| Violation::InvalidUtf8)
}

fn close(payload: &[u8]) -> Result<(Option<u16>, &str), Violation> {
    match payload {
        [] => Ok((None, "")),
        [_] => Err(Violation::CloseLength),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(Violation::CloseCode);
            }
            Ok((Some(code), text(reason)?))
        }
    }
}

/// Doubles the buffer like `Vec` does, but never reserves past the limit: a frame's announced
/// length is no reason to allocate, only bytes that came are.
fn append_bounded(buffer: &mut Vec<u8>, bytes: &[u8], bytes_max: usize) {
    let needed = buffer.len() + bytes.len();
    assert!(needed <= bytes_max, "admitted frames fit the limit");
    if needed > buffer.capacity() {
        let target = (buffer.capacity() * 2).clamp(needed, bytes_max);
        buffer.reserve_exact(target - buffer.len());
    }
    buffer.extend_from_slice(bytes);
}
