//! The head of a frame, and every rule that can be checked on it alone.

use super::CONTROL_BYTES_MAX;
use super::receive::Role;

/// Two bytes, an eight-byte length, a mask.
pub(crate) const HEADER_BYTES_MAX: usize = 14;

/// A rule of RFC 6455 that the peer broke. Nothing more is accepted from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit is set although no extension was agreed (5.2).
    #[error("a reserved bit is set but no extension was agreed")]
    ReservedBits,
    /// An opcode that is not defined (5.2).
    #[error("the frame has a reserved opcode")]
    ReservedOpcode,
    /// A client sent a frame without a mask (5.1).
    #[error("a client must mask its frames")]
    Unmasked,
    /// A server sent a frame with a mask (5.1).
    #[error("a server must not mask its frames")]
    Masked,
    /// A length in more bytes than it needs (5.2).
    #[error("the frame's length is not in its shortest form")]
    LengthNotMinimal,
    /// A length with the highest bit set (5.2).
    #[error("the frame's length has its highest bit set")]
    LengthOutOfRange,
    /// A control frame in fragments (5.5).
    #[error("a control frame must not be fragmented")]
    ControlFragmented,
    /// A control frame of more than 125 bytes (5.5).
    #[error("a control frame carries at most 125 bytes")]
    ControlTooLong,
    /// A continuation with nothing to continue (5.4).
    #[error("a continuation frame has no message to continue")]
    UnexpectedContinuation,
    /// A new message inside a fragmented one (5.4).
    #[error("a new message started before the fragmented one ended")]
    ExpectedContinuation,
    /// A close frame with one byte: a code has two (5.5.1).
    #[error("a close frame's code has two bytes")]
    CloseLength,
    /// A close code that must not be sent (7.4).
    #[error("the close code must not be sent")]
    CloseCode,
    /// Text, or the reason of a close, is not UTF-8 (8.1).
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// The message is longer than the limit.
    #[error("the message is longer than the limit")]
    TooBig,
    /// Binary, where the caller takes only text.
    #[error("binary messages are not taken here")]
    BinaryNotTaken,
}

impl Violation {
    /// The code to close the connection with (7.4.1).
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Violation::InvalidUtf8 => 1007,
            Violation::TooBig => 1009,
            Violation::BinaryNotTaken => 1003,
            _ => 1002,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub(crate) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    pub(crate) fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }
}

/// What a frame's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) payload_bytes: u64,
    /// How many bytes the head itself takes.
    pub(crate) header_bytes: usize,
}

impl Header {
    /// Reads a head from the start of `input`. `None`: more bytes are needed; rules that the bytes
    /// at hand already break are reported at once.
    pub(crate) fn parse(input: &[u8], role: Role) -> Result<Option<Header>, Violation> {
        let Some(&first) = input.first() else { return Ok(None) };
        let (fin, opcode) = first_byte(first)?;
        let Some(&second) = input.get(1) else { return Ok(None) };
        let masked = second & 0x80 != 0;
        match role {
            Role::Server if !masked => return Err(Violation::Unmasked),
            Role::Client if masked => return Err(Violation::Masked),
            Role::Server | Role::Client => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(Violation::ControlTooLong);
        }
        let rest = input.get(2..).unwrap_or_default();
        let Some((payload_bytes, length_bytes)) = length(short, rest)? else { return Ok(None) };
        let mut header_bytes = 2 + length_bytes;
        let mut mask = None;
        if masked {
            let Some(key) = input.get(header_bytes..).and_then(<[u8]>::first_chunk) else {
                return Ok(None);
            };
            mask = Some(*key);
            header_bytes += 4;
        }
        assert!(header_bytes <= HEADER_BYTES_MAX && header_bytes <= input.len());
        Ok(Some(Header { fin, opcode, mask, payload_bytes, header_bytes }))
    }
}

fn first_byte(first: u8) -> Result<(bool, Opcode), Violation> {
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(Violation::ReservedOpcode),
    };
    let fin = first & 0x80 != 0;
    if opcode.is_control() && !fin {
        return Err(Violation::ControlFragmented);
    }
    Ok((fin, opcode))
}

/// The payload's length and how many extra bytes said it.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        126 => match rest.first_chunk::<2>() {
            None => Ok(None),
            Some(bytes) => match u16::from_be_bytes(*bytes) {
                0..126 => Err(Violation::LengthNotMinimal),
                length => Ok(Some((u64::from(length), 2))),
            },
        },
        127 => match rest.first_chunk::<8>() {
            None => Ok(None),
            Some(bytes) => match u64::from_be_bytes(*bytes) {
                0..0x1_0000 => Err(Violation::LengthNotMinimal),
                length if length >> 63 != 0 => Err(Violation::LengthOutOfRange),
                length => Ok(Some((length, 8))),
            },
        },
        length => Ok(Some((u64::from(length), 0))),
    }
}
