//! Frames out. A server passes no mask; a client passes four random bytes for each frame.

use super::header::Opcode;
use super::{CONTROL_BYTES_MAX, mask};

/// Room left by [`begin_text`]: the head of a frame of 126 to 65535 bytes from a server, which is
/// what most OCPP messages are. Other sizes move the payload once.
const HEAD_ROOM: usize = 4;

/// Appends one text frame. The payload must be UTF-8.
pub fn write_text(payload: impl AsRef<[u8]>, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    debug_assert!(std::str::from_utf8(payload.as_ref()).is_ok(), "a text frame is UTF-8");
    write_frame(Opcode::Text, payload.as_ref(), mask, out);
}

/// Appends one binary frame.
pub fn write_binary(payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    write_frame(Opcode::Binary, payload, mask, out);
}

/// Appends a ping.
///
/// # Panics
/// When the payload is longer than [`CONTROL_BYTES_MAX`].
pub fn write_ping(payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    write_frame(Opcode::Ping, payload, mask, out);
}

/// Appends a pong.
///
/// # Panics
/// When the payload is longer than [`CONTROL_BYTES_MAX`]; the payload of a received ping never is.
pub fn write_pong(payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    write_frame(Opcode::Pong, payload, mask, out);
}

/// Appends a close frame. A reason too long for it is cut at a character.
pub fn write_close(code: u16, reason: &str, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    assert!(may_be_sent(code), "{code} must not stand in a close frame");
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    let mut payload = [0; CONTROL_BYTES_MAX];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    write_frame(Opcode::Close, &payload[..2 + reason.len()], mask, out);
}

/// Starts a text frame whose payload the caller appends to `out` next; [`end_text`] takes what is
/// returned here.
#[must_use]
pub fn begin_text(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_ROOM]);
    start
}

/// Ends the text frame that [`begin_text`] started at `start`.
///
/// # Panics
/// When `out` is shorter than it was after `begin_text`.
pub fn end_text(out: &mut Vec<u8>, start: usize, mask: Option<[u8; 4]>) {
    let body = start + HEAD_ROOM;
    assert!(body <= out.len(), "the frame was begun at this place");
    debug_assert!(std::str::from_utf8(&out[body..]).is_ok(), "a text frame is UTF-8");
    if let Some(key) = mask {
        mask::apply(&mut out[body..], key, 0);
    }
    let (head, head_bytes) = head(Opcode::Text, out.len() - body, mask);
    if head_bytes == HEAD_ROOM {
        out[start..body].copy_from_slice(&head[..head_bytes]);
    } else {
        out.splice(start..body, head[..head_bytes].iter().copied());
    }
}

/// Whether RFC 6455 (7.4) lets a close frame carry this code.
pub(crate) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn write_frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    assert!(!opcode.is_control() || payload.len() <= CONTROL_BYTES_MAX);
    let (head, head_bytes) = head(opcode, payload.len(), mask);
    out.reserve(head_bytes + payload.len());
    out.extend_from_slice(&head[..head_bytes]);
    let body = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        mask::apply(&mut out[body..], key, 0);
    }
}

fn head(opcode: Opcode, length: usize, mask: Option<[u8; 4]>) -> ([u8; 14], usize) {
    let mut head = [0; 14];
    head[0] = 0x80 | opcode.bits();
    let mut used = match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => {
            head[1] = short;
            2
        }
        (_, Ok(medium)) => {
            head[1] = 126;
            head[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            let long = u64::try_from(length).expect("a usize has at most 64 bits");
            head[2..10].copy_from_slice(&long.to_be_bytes());
            10
        }
    };
    if let Some(key) = mask {
        head[1] |= 0x80;
        head[used..used + 4].copy_from_slice(&key);
        used += 4;
    }
    (head, used)
}
