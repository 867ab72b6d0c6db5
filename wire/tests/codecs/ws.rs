//! WebSocket: the RFC's own examples, every rule broken once, every way to cut the bytes, and
//! tungstenite as the other end.

use novax_wire::ws::{
    Event, Limits, Receiver, Role, Violation, begin_text, end_text, write_binary, write_close,
    write_ping, write_pong, write_text,
};
use proptest::prelude::*;
use std::io::{Cursor, Read, Write};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocket};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Feeds the pieces and lists the events as text.
fn events(receiver: &mut Receiver, pieces: &[&[u8]]) -> (Vec<String>, Result<(), Violation>) {
    let (mut seen, mut outcome) = (Vec::new(), Ok(()));
    for piece in pieces {
        let mut piece = piece.to_vec();
        outcome = receiver.receive(&mut piece, &mut |event| seen.push(format!("{event:?}")));
    }
    (seen, outcome)
}

fn receiver(role: Role) -> Receiver {
    Receiver::new(role, Limits { message_bytes_max: 70_000 })
}

/// The same events however the stream is cut in two, and byte by byte.
#[track_caller]
fn check(role: Role, stream: &[u8], expected: &[&str]) {
    let mut whole = receiver(role);
    assert_eq!(
        events(&mut whole, &[stream]),
        (expected.iter().map(|e| (*e).to_owned()).collect(), Ok(()))
    );
    for cut in 0..=stream.len() {
        let (left, right) = stream.split_at(cut);
        let (seen, outcome) = events(&mut receiver(role), &[left, right]);
        assert_eq!(
            (seen, outcome),
            (expected.iter().map(|e| (*e).to_owned()).collect(), Ok(())),
            "cut at {cut}"
        );
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    let mut receiver = receiver(role);
    assert_eq!(events(&mut receiver, &bytes).0, expected);
    assert_eq!(receiver.buffered(), 0, "nothing is kept when nothing is under way");
}

/// The same violation however the stream is cut, and nothing accepted after it.
#[track_caller]
fn violates(role: Role, stream: &[u8], expected: Violation) {
    for size in [stream.len(), 1, 2, 3] {
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        let mut receiver = receiver(role);
        let (_, outcome) = events(&mut receiver, &pieces);
        assert_eq!(outcome, Err(expected), "in pieces of {size}");
        assert_eq!(receiver.buffered(), 0);
        let mut good = Vec::new();
        write_text("later", (role == Role::Server).then_some(KEY), &mut good);
        assert_eq!(events(&mut receiver, &[&good]), (Vec::new(), Err(expected)));
    }
}

/// A client's frame with a zero mask: its payload reads as it lies.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

#[test]
fn the_examples_of_rfc_6455_section_5_7() {
    check(Role::Client, b"\x81\x05Hello", &["Text(\"Hello\")"]);
    check(Role::Server, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &["Text(\"Hello\")"]);
    check(Role::Client, b"\x01\x03Hel\x80\x02lo", &["Text(\"Hello\")"]);
    check(Role::Client, b"\x89\x05Hello", &["Ping([72, 101, 108, 108, 111])"]);
    check(
        Role::Server,
        b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        &["Pong([72, 101, 108, 108, 111])"],
    );
    let mut long = b"\x82\x7e\x01\x00".to_vec();
    long.extend([7; 256]);
    check(Role::Client, &long, &[&format!("Binary({:?})", [7; 256])]);
    let mut longest = b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00".to_vec();
    longest.extend([7; 65_536]);
    let (seen, outcome) = events(&mut receiver(Role::Client), &[&longest]);
    assert_eq!((seen.len(), outcome), (1, Ok(())));
}

#[test]
fn control_frames_come_between_fragments_and_go_first() {
    let stream = [
        masked(0x01, "é".as_bytes().split_at(1).0),
        masked(0x89, b"p"),
        masked(0x00, b""),
        masked(0x8a, b""),
        masked(0x80, "é".as_bytes().split_at(1).1),
        masked(0x81, b"next"),
        masked(0x88, b"\x03\xe8bye"),
    ]
    .concat();
    let expected = [
        "Ping([112])",
        "Pong([])",
        "Text(\"é\")",
        "Text(\"next\")",
        "Close { code: Some(1000), reason: \"bye\" }",
    ];
    check(Role::Server, &stream, &expected);
}

#[test]
fn what_follows_a_close_is_not_read() {
    let stream = [masked(0x88, b""), masked(0x81, b"late"), b"\xff\xff".to_vec()].concat();
    check(Role::Server, &stream, &["Close { code: None, reason: \"\" }"]);
}

#[test]
fn each_broken_rule_is_named_and_ends_the_connection() {
    let server = |stream: &[u8], violation| violates(Role::Server, stream, violation);
    server(b"\xc1\x80\0\0\0\0", Violation::ReservedBits);
    server(b"\x83\x80\0\0\0\0", Violation::ReservedOpcode);
    server(b"\x8b\x80\0\0\0\0", Violation::ReservedOpcode);
    server(b"\x81\x05Hello", Violation::Unmasked);
    server(b"\x09\x80\0\0\0\0", Violation::ControlFragmented);
    server(b"\x89\xfe\x00\x7e\0\0\0\0", Violation::ControlTooLong);
    server(b"\x81\xfe\x00\x7d\0\0\0\0", Violation::LengthNotMinimal);
    server(b"\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", Violation::LengthNotMinimal);
    server(b"\x81\xff\x80\0\0\0\0\x01\0\0\0\0\0\0", Violation::LengthOutOfRange);
    server(b"\x81\xff\x00\0\0\0\0\x01\x11\x71\0\0\0\0", Violation::TooBig);
    server(&masked(0x80, b"x"), Violation::UnexpectedContinuation);
    server(&[masked(0x01, b"x"), masked(0x81, b"y")].concat(), Violation::ExpectedContinuation);
    server(&masked(0x88, b"\x03"), Violation::CloseLength);
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        server(&masked(0x88, &code.to_be_bytes()), Violation::CloseCode);
    }
    server(&masked(0x88, b"\x03\xe8\xff"), Violation::InvalidUtf8);
    server(&masked(0x81, b"\xc3"), Violation::InvalidUtf8);
    server(&masked(0x81, b"\xed\xa0\x80"), Violation::InvalidUtf8);
    server(&[masked(0x01, b"\xc3"), masked(0x80, b"x")].concat(), Violation::InvalidUtf8);
    violates(Role::Client, b"\x81\x80\0\0\0\0", Violation::Masked);
    let codes = [
        (Violation::ReservedBits, 1002),
        (Violation::InvalidUtf8, 1007),
        (Violation::TooBig, 1009),
        (Violation::BinaryNotTaken, 1003),
    ];
    assert!(codes.iter().all(|(violation, code)| violation.close_code() == *code));
}

#[test]
fn the_limit_holds_for_all_fragments_together_and_to_the_byte() {
    let limits = Limits { message_bytes_max: 10 };
    let feed = |stream: &[u8]| events(&mut Receiver::new(Role::Server, limits), &[stream]).1;
    assert_eq!(feed(&masked(0x81, &[b'x'; 10])), Ok(()));
    assert_eq!(feed(&masked(0x81, &[b'x'; 11])), Err(Violation::TooBig));
    let fragments = |last: &[u8]| {
        [masked(0x01, b"12345"), masked(0x89, b"control does not count"), masked(0x80, last)]
            .concat()
    };
    assert_eq!(feed(&fragments(b"67890")), Ok(()));
    assert_eq!(feed(&fragments(b"678901")), Err(Violation::TooBig));
    // An announced length allocates nothing: only bytes that came are kept.
    let mut receiver = receiver(Role::Server);
    let announced = b"\x81\xfe\xff\xff\0\0\0\0abc";
    assert_eq!(events(&mut receiver, &[announced]).1, Ok(()));
    assert_eq!(receiver.buffered(), 3);
}

#[test]
fn a_whole_frame_is_delivered_from_where_it_lies() {
    let mut input = Vec::new();
    write_text("unmasked in place", Some(KEY), &mut input);
    let lies_at = input.as_ptr_range().end.addr();
    let mut delivered_until = 0;
    let mut receiver = receiver(Role::Server);
    let outcome = receiver.receive(&mut input, &mut |event| {
        let Event::Text(text) = event else { panic!("another event") };
        assert_eq!(text, "unmasked in place");
        delivered_until = text.as_bytes().as_ptr_range().end.addr();
    });
    assert_eq!((outcome, delivered_until), (Ok(()), lies_at));
}

#[test]
fn a_body_written_in_place_makes_the_same_frame() {
    for length in [0, 1, 125, 126, 65_535, 65_536] {
        let body = "x".repeat(length);
        for mask in [None, Some(KEY)] {
            let mut expected = b"before".to_vec();
            write_text(&body, mask, &mut expected);
            let mut out = b"before".to_vec();
            let start = begin_text(&mut out);
            out.extend_from_slice(body.as_bytes());
            end_text(&mut out, start, mask);
            assert_eq!(out, expected, "{length} bytes, mask {mask:?}");
        }
    }
}

#[test]
fn a_close_reason_is_cut_at_a_character() {
    let mut out = Vec::new();
    write_close(1000, &"é".repeat(100), None, &mut out);
    let expected = format!("Close {{ code: Some(1000), reason: \"{}\" }}", "é".repeat(61));
    check(Role::Client, &out, &[&expected]);
}

/// A socket in memory: reads what is there, then would block.
struct Memory {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.input.read(buffer)? {
            0 => Err(std::io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Memory {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.output.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn oracle(role: Role, input: Vec<u8>) -> WebSocket<Memory> {
    let role = match role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    };
    let memory = Memory { input: Cursor::new(input), output: Vec::new() };
    WebSocket::from_raw_socket(memory, role, None)
}

fn shown(message: &Message) -> String {
    match message {
        Message::Text(text) => format!("Text({:?})", text.as_str()),
        Message::Binary(bytes) => format!("Binary({:?})", bytes.to_vec()),
        Message::Ping(bytes) => format!("Ping({:?})", bytes.to_vec()),
        Message::Pong(bytes) => format!("Pong({:?})", bytes.to_vec()),
        Message::Close(frame) => {
            let code = frame.as_ref().map(|frame| u16::from(frame.code));
            let reason = frame.as_ref().map_or("", |frame| frame.reason.as_str());
            format!("Close {{ code: {code:?}, reason: {reason:?} }}")
        }
        Message::Frame(_) => unreachable!("only written, never read"),
    }
}

fn message() -> impl Strategy<Value = Message> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    prop_oneof![
        4 => "\\PC{0,200}".prop_map(Message::text),
        2 => (0_usize..70_000).prop_map(|length| Message::text("é".repeat(length / 2))),
        1 => bytes(300).prop_map(Message::binary),
        1 => bytes(126).prop_map(|payload| Message::Ping(payload.into())),
        1 => bytes(126).prop_map(|payload| Message::Pong(payload.into())),
    ]
}

fn conversation() -> impl Strategy<Value = Vec<Message>> {
    let close = CloseFrame { code: CloseCode::Away, reason: "going".into() };
    prop::collection::vec(message(), 0..6).prop_map(move |mut messages| {
        messages.push(Message::Close(Some(close.clone())));
        messages
    })
}

fn both_roles() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Server, Role::Client])
}

/// Our frames for a message, the text ones in `fragments` pieces.
fn write_ours(message: &Message, mask: Option<[u8; 4]>, fragments: usize, out: &mut Vec<u8>) {
    match message {
        Message::Text(text) if fragments > 1 && text.len() >= fragments => {
            write_fragments(text.as_bytes(), mask, fragments, out);
        }
        Message::Text(text) => write_text(text.as_str(), mask, out),
        Message::Binary(bytes) => write_binary(bytes, mask, out),
        Message::Ping(bytes) => write_ping(bytes, mask, out),
        Message::Pong(bytes) => write_pong(bytes, mask, out),
        Message::Close(frame) => {
            let frame = frame.as_ref().expect("the test writes one");
            write_close(frame.code.into(), &frame.reason, mask, out);
        }
        Message::Frame(_) => unreachable!("the test makes none"),
    }
}

/// We never fragment; a test does, by rewriting the first byte of whole frames.
fn write_fragments(bytes: &[u8], mask: Option<[u8; 4]>, fragments: usize, out: &mut Vec<u8>) {
    let pieces: Vec<&[u8]> = bytes.chunks(bytes.len().div_ceil(fragments)).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let start = out.len();
        write_binary(piece, mask, out);
        let (first, last) = (index == 0, index + 1 == pieces.len());
        out[start] = u8::from(first) | u8::from(last) << 7;
        if !last {
            write_ping(b"between", mask, out);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_tungstenite_writes_we_read(
        messages in conversation(),
        role in both_roles(),
        piece in 1_usize..3_000,
    ) {
        let writer = if role == Role::Server { Role::Client } else { Role::Server };
        let mut peer = oracle(writer, Vec::new());
        for message in &messages {
            peer.write(message.clone()).unwrap();
        }
        peer.flush().unwrap();
        let stream = peer.get_ref().output.clone();
        let pieces: Vec<&[u8]> = stream.chunks(piece).collect();
        let mut ours = receiver(role);
        let expected: Vec<String> = messages.iter().map(shown).collect();
        prop_assert_eq!(events(&mut ours, &pieces), (expected, Ok(())));
        prop_assert!(ours.is_closed());
        prop_assert_eq!(ours.buffered(), 0);
    }

    #[test]
    fn what_we_write_tungstenite_reads(
        messages in conversation(),
        role in both_roles(),
        key in any::<[u8; 4]>(),
        fragments in 1_usize..4,
    ) {
        let mask = (role == Role::Client).then_some(key);
        let mut stream = Vec::new();
        for message in &messages {
            write_ours(message, mask, fragments, &mut stream);
        }
        let reader = if role == Role::Server { Role::Client } else { Role::Server };
        let mut peer = oracle(reader, stream);
        let mut seen = Vec::new();
        while let Ok(message) = peer.read() {
            let between = matches!(&message, Message::Ping(payload) if payload == &b"between"[..]);
            if !between {
                seen.push(shown(&message));
            }
        }
        let expected: Vec<String> = messages.iter().map(shown).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn cutting_changes_nothing_and_bounds_hold_on_any_bytes(
        stream in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 1..8),
            prop::sample::select(vec![0x01_u8, 0x00, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a])
                .prop_flat_map(|first| prop::collection::vec(any::<u8>(), 0..90)
                    .prop_map(move |payload| masked(first, &payload))),
        ], 0..8).prop_map(|frames| frames.concat()),
        size in 1_usize..20,
    ) {
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        let cut = events(&mut receiver(Role::Server), &pieces);
        prop_assert_eq!(cut, events(&mut receiver(Role::Server), &[&stream]));
    }
}
