//! Two ends of a link, with bytes and time moved by hand.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn node(number: u64) -> NodeId {
    NodeId::new(number).expect("not zero")
}

fn local(number: u64) -> Local {
    Local::new(ClusterId([7; 16]), node(number), RunId(number * 100), 1..=2)
}

/// Both ends of a link; bytes go over at once.
struct Pair {
    now: Instant,
    ends: [Connection; 2],
    inputs: [BytesMut; 2],
}

impl Pair {
    fn new() -> Pair {
        let now = Instant::now();
        let caller = Connection::new(&local(1), Side::Caller(node(2)), Timing::default(), now);
        let called = Connection::new(&local(2), Side::Called, Timing::default(), now);
        Pair { now, ends: [caller, called], inputs: Default::default() }
    }

    fn open() -> Pair {
        let mut pair = Pair::new();
        // Who is called greets second, when it has admitted the caller.
        for end in [1, 0] {
            let events = pair.carry(1 - end).expect("an honest greeting");
            assert!(matches!(events[..], [Event::Greeted(_)]), "{events:?}");
            pair.ends[end].admit(pair.now);
        }
        pair
    }

    /// Takes all that end `from` has to say to the other one.
    fn carry(&mut self, from: usize) -> Result<Vec<Event>, Refusal> {
        let mut events = Vec::new();
        while self.ends[from].wants_write() {
            let mut bytes = Vec::new();
            self.ends[from].fill(&mut bytes);
            self.give(1 - from, &bytes, &mut events)?;
        }
        Ok(events)
    }

    fn give(&mut self, to: usize, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Refusal> {
        self.inputs[to].extend_from_slice(bytes);
        self.ends[to].handle_input(self.now, &mut self.inputs[to], events)
    }
}

fn request(token: u64, len: usize) -> Message {
    Message::Request { token, body: vec![u8::try_from(token).expect("small"); len].into() }
}

#[test]
fn messages_cross_in_order_within_their_lane() {
    let mut pair = Pair::open();
    let sent = [request(1, 10), request(2, 300_000), request(3, 0)];
    for message in sent.clone() {
        // The large one takes the room: what follows waits until it is on its way.
        let mut bytes = Vec::new();
        while !pair.ends[0].has_room(Lane::Request) {
            pair.ends[0].fill(&mut bytes);
        }
        pair.inputs[1].extend_from_slice(&bytes);
        pair.ends[0].push(message).expect("there is room");
    }
    let got: Vec<Message> = pair
        .carry(0)
        .expect("nothing is wrong")
        .into_iter()
        .filter_map(|event| if let Event::Message(message) = event { Some(message) } else { None })
        .collect();
    assert_eq!(got, sent);
}

#[test]
fn nothing_is_handed_on_before_the_owner_admits() {
    let mut pair = Pair::new();
    pair.carry(0).expect("an honest greeting");
    assert_eq!(pair.ends[1].push(request(9, 1)), Err(SendError::Down));
    assert!(!pair.ends[1].wants_write(), "it does not greet before it has decided");
    pair.ends[1].admit(pair.now);
    pair.ends[1].push(request(1, 5)).expect("there is room");
    let events = pair.carry(1).expect("an honest greeting");
    assert!(matches!(events[..], [Event::Greeted(_)]), "{events:?}");
    pair.ends[0].admit(pair.now);
    let mut events = Vec::new();
    pair.give(0, &[], &mut events).expect("nothing is wrong");
    assert_eq!(events, [Event::Message(request(1, 5))]);
}

#[test]
fn a_caller_that_is_not_admitted_hears_why_and_never_opens() {
    let mut pair = Pair::new();
    pair.carry(0).expect("an honest greeting");
    pair.ends[1].refuse(Refusal::Stranger);
    let mut bytes = Vec::new();
    pair.ends[1].fill(&mut bytes);
    assert!(!pair.ends[1].wants_write());
    let mut events = Vec::new();
    for byte in bytes {
        pair.give(0, &[byte], &mut events).expect("a refusal is no fault");
    }
    assert_eq!(events, [Event::Bye(Some(Refusal::Stranger))]);
}

#[test]
fn what_each_knows_of_the_other_is_what_it_said() {
    let mut pair = Pair::new();
    let events = pair.carry(0).expect("an honest greeting");
    let said = PeerInfo { node: node(1), run: RunId(100), version: 1, state_versions: 1..=2 };
    assert_eq!(events, [Event::Greeted(said)]);
}

#[test]
fn the_higher_node_may_not_call() {
    let now = Instant::now();
    let mut caller = Connection::new(&local(3), Side::Caller(node(2)), Timing::default(), now);
    let mut called = Connection::new(&local(2), Side::Called, Timing::default(), now);
    let mut bytes = Vec::new();
    caller.fill(&mut bytes);
    let mut input = BytesMut::from(&bytes[..]);
    let refused = called.handle_input(now, &mut input, &mut Vec::new());
    assert_eq!(refused, Err(Refusal::Direction));
    assert!(!called.is_open());
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let mut pair = Pair::open();
    pair.ends[0].refuse(Refusal::Stranger);
    let events = pair.carry(0).expect("a goodbye is no fault");
    assert_eq!(events, [Event::Bye(Some(Refusal::Stranger))]);
    assert_eq!(pair.ends[1].poll_timeout(), None);
}

#[test]
fn a_damaged_frame_ends_the_link_and_nothing_behind_it_is_read() {
    let mut pair = Pair::open();
    for token in 1..=3 {
        pair.ends[0].push(request(token, 20)).expect("there is room");
    }
    let mut bytes = Vec::new();
    pair.ends[0].fill(&mut bytes);
    let frame = bytes.len() / 3;
    bytes[frame + 15] ^= 1;
    let mut events = Vec::new();
    assert_eq!(pair.give(1, &bytes, &mut events), Err(Refusal::Checksum));
    assert_eq!(events, [Event::Message(request(1, 20))]);
    assert_eq!(pair.give(1, &[], &mut events), Ok(()));
    assert_eq!(events.len(), 1, "the third is not handed on");
    // The other side hears why.
    let told = pair.carry(1).expect("a goodbye is no fault");
    assert_eq!(told, [Event::Bye(Some(Refusal::Checksum))]);
}

#[test]
fn a_message_of_more_parts_than_it_may_have_is_refused() {
    let mut pair = Pair::open();
    let part = vec![0; frame::FRAME_BODY_BYTES_MAX];
    let parts = Lane::Request.message_bytes_max() / part.len();
    let mut bytes = Vec::new();
    frame::encode(Lane::Request, false, [&part, &[]], &mut bytes);
    for _ in 0..parts {
        pair.give(1, &bytes, &mut Vec::new()).expect("as large as it may be");
    }
    let refused = pair.give(1, &bytes, &mut Vec::new());
    assert_eq!(refused, Err(Refusal::MessageTooLarge));
}

#[test]
fn pings_come_back_and_tell_the_round_trip() {
    let mut pair = Pair::open();
    pair.ends[0].handle_timeout(pair.now).expect("nothing is late");
    pair.carry(0).expect("nothing is wrong");
    pair.now += 7 * MS;
    let events = pair.carry(1).expect("nothing is wrong");
    assert_eq!(events, [Event::RoundTrip(7 * MS)]);
}

#[test]
fn two_idle_ends_keep_their_link_for_ever() {
    let mut pair = Pair::open();
    let began = pair.now;
    while pair.now < began + Duration::from_secs(60) {
        let next = pair.ends.iter().filter_map(Connection::poll_timeout).min();
        let next = next.expect("an open link always has a next time");
        assert!(next > pair.now || pair.now == began, "time goes on");
        pair.now = next;
        for end in [0, 1] {
            pair.ends[end].handle_timeout(pair.now).expect("both are alive");
        }
        for end in [0, 1, 0] {
            pair.carry(end).expect("nothing is wrong");
        }
    }
}

/// Calls the machine whenever it asks to be called, until it refuses; how long that took.
fn time_to_refusal(pair: &mut Pair, end: usize) -> (Refusal, Duration) {
    let began = pair.now;
    for _ in 0..1_000 {
        pair.now = pair.ends[end].poll_timeout().expect("a time to end").max(pair.now);
        if let Err(refusal) = pair.ends[end].handle_timeout(pair.now) {
            return (refusal, pair.now - began);
        }
        pair.ends[end].fill(&mut Vec::new());
    }
    panic!("it never ends");
}

#[test]
fn who_does_not_greet_is_refused_in_time() {
    let mut pair = Pair::new();
    let max = Timing::default().greeting_max;
    assert_eq!(time_to_refusal(&mut pair, 1), (Refusal::GreetingTimeout, max));
}

#[test]
fn a_greeting_that_comes_byte_by_byte_gets_no_more_time() {
    let mut pair = Pair::new();
    let mut bytes = Vec::new();
    pair.ends[0].fill(&mut bytes);
    let began = pair.now;
    for byte in bytes {
        pair.give(1, &[byte], &mut Vec::new()).expect("it is an honest one");
        pair.now += 500 * MS;
        if pair.ends[1].handle_timeout(pair.now).is_err() {
            assert_eq!(pair.now - began, Timing::default().greeting_max);
            return;
        }
    }
    panic!("it took all the time it wanted");
}

#[test]
fn silence_ends_a_link() {
    let mut pair = Pair::open();
    let max = Timing::default().silence_max;
    assert_eq!(time_to_refusal(&mut pair, 0), (Refusal::Silent, max));
}

#[test]
fn a_side_that_was_away_does_not_take_that_for_silence() {
    let mut pair = Pair::open();
    let max = Timing::default().silence_max;
    pair.ends[0].handle_timeout(pair.now).expect("nothing is late");
    // Its thread did not run; what came lies in the socket.
    pair.now += 2 * max;
    pair.ends[0].handle_timeout(pair.now).expect("it has not read yet");
    pair.ends[0].handle_timeout(pair.now).expect("nor has it now");
    let (refusal, after) = time_to_refusal(&mut pair, 0);
    assert_eq!(refusal, Refusal::Silent);
    assert_eq!(after, max / 2, "it was silent after all");
}

#[test]
fn half_a_frame_ends_a_link_even_if_bytes_keep_coming() {
    let mut pair = Pair::open();
    pair.ends[0].push(request(1, 1_000)).expect("there is room");
    let mut bytes = Vec::new();
    pair.ends[0].fill(&mut bytes);
    let began = pair.now;
    for byte in bytes {
        pair.give(1, &[byte], &mut Vec::new()).expect("nothing is wrong yet");
        pair.now += 100 * MS;
        if let Err(refusal) = pair.ends[1].handle_timeout(pair.now) {
            assert_eq!(refusal, Refusal::Stalled);
            assert_eq!(pair.now - began, Timing::default().frame_max);
            return;
        }
    }
    panic!("a frame may take for ever");
}

#[test]
fn who_speaks_and_never_answers_a_ping_is_refused() {
    let mut pair = Pair::open();
    let began = pair.now;
    pair.ends[0].handle_timeout(pair.now).expect("nothing is late");
    loop {
        pair.now += 100 * MS;
        // End 1 never reads, but sends.
        pair.ends[1].push(request(1, 1)).expect("there is room");
        pair.carry(1).expect("nothing is wrong");
        if let Err(refusal) = pair.ends[0].handle_timeout(pair.now) {
            assert_eq!(refusal, Refusal::Stalled);
            assert_eq!(pair.now - began, Timing::default().frame_max);
            return;
        }
        assert!(pair.now - began < Duration::from_secs(60), "it goes on for ever");
    }
}

/// What is on a link of version 1, by name, as hexadecimal digits. Written once; never to be changed.
const VERSION_1: &str = include_str!("../../testdata/v1.txt");

fn version_1(name: &str) -> Vec<u8> {
    let line = VERSION_1.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let digits = line.unwrap_or_else(|| panic!("no line {name}")).as_bytes();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(text, 16).expect("digits")
    };
    digits.chunks(2).map(byte).collect()
}

/// One of each thing that is ever said, and its name in the file.
fn said() -> Vec<(&'static str, Event)> {
    let (id, bytes) = (crate::message::SnapshotId(0x0102), Bytes::from_static(b"bytes"));
    let message = |message| Event::Message(message);
    let snapshot = |said| Event::Snapshot(said);
    vec![
        ("raft", message(Message::Raft(bytes.clone()))),
        ("answer", message(Message::Answer { token: 0x0a0b, body: bytes.clone() })),
        ("request", message(Message::Request { token: 0x0a0b, body: bytes.clone() })),
        ("offer", snapshot(SnapshotMessage::Offer { id, length: 0x1234, about: bytes.clone() })),
        ("chunk", snapshot(SnapshotMessage::Chunk { id, offset: 0x34, bytes })),
        ("credit", snapshot(SnapshotMessage::Credit { id, have: 0x10, until: 0x20 })),
        ("cancel", snapshot(SnapshotMessage::Cancel { id, by_sender: true })),
    ]
}

#[test]
fn a_link_of_version_1_is_spoken_and_understood_byte_for_byte() {
    let mut pair = Pair::new();
    let mut bytes = Vec::new();
    pair.ends[0].fill(&mut bytes);
    assert_eq!(bytes, version_1("greeting"));
    let mut pair = Pair::open();
    for (name, event) in said() {
        match &event {
            Event::Message(message) => pair.ends[0].push(message.clone()).expect("there is room"),
            Event::Snapshot(said) => {
                pair.ends[0].push_snapshot(said.clone()).expect("there is room");
            }
            other => panic!("{other:?}"),
        }
        let mut bytes = Vec::new();
        pair.ends[0].fill(&mut bytes);
        assert_eq!(bytes, version_1(name), "{name}");
        let mut events = Vec::new();
        pair.give(1, &version_1(name), &mut events).expect("it is understood");
        assert_eq!(events, [event], "{name}");
    }
    pair.ends[0].handle_timeout(pair.now).expect("nothing is late");
    let mut ping = Vec::new();
    pair.ends[0].fill(&mut ping);
    assert_eq!(ping, version_1("ping"));
    let mut events = Vec::new();
    pair.give(1, &ping, &mut events).expect("it is understood");
    let mut pong = Vec::new();
    pair.ends[1].fill(&mut pong);
    assert_eq!(pong, version_1("pong"));
    pair.ends[1].refuse(Refusal::Closed);
    let mut bye = Vec::new();
    pair.ends[1].fill(&mut bye);
    assert_eq!(bye, version_1("bye"));
    let mut refused = Pair::new();
    refused.ends[1].refuse(Refusal::Stranger);
    let mut bytes = Vec::new();
    refused.ends[1].fill(&mut bytes);
    assert_eq!(bytes, version_1("refusal"));
}
