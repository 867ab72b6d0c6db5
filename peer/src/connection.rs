//! One link as a machine without I/O: bytes and the time go in, events and bytes come out.
//!
//! * Nothing of a peer is handed on before both greeted and the owner admitted it ([`Connection::admit`]). Who
//!   is called greets when it has admitted the caller: a caller that got a greeting is welcome.
//! * Every state has an end: a greeting, a frame and silence have their longest times.
//! * After a refusal nothing more is read; what is left to be said is why.

use crate::error::{Refusal, SendError};
use crate::frame::{self, Frame, Lane};
use crate::hello::{self, Hello, PROTOCOL_VERSIONS};
use crate::id::{ClusterId, RunId};
use crate::message::{Control, Message, SnapshotMessage};
use crate::queue::Queue;
use bytes::{Buf, Bytes, BytesMut};
use novax_model::NodeId;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// What a node says of itself on each link.
#[derive(Debug, Clone)]
pub struct Local {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Who it is.
    pub node: NodeId,
    /// Which life of it this is.
    pub run: RunId,
    /// Versions of the state it can exchange.
    pub state_versions: RangeInclusive<u32>,
    /// Versions of the protocol it speaks: [`PROTOCOL_VERSIONS`], but for tests of old ones.
    pub versions: RangeInclusive<u16>,
}

impl Local {
    /// A node of today's build.
    #[must_use]
    pub fn new(
        cluster: ClusterId,
        node: NodeId,
        run: RunId,
        state_versions: RangeInclusive<u32>,
    ) -> Local {
        assert!(!state_versions.is_empty(), "a build exchanges some version of the state");
        Local { cluster, node, run, state_versions, versions: PROTOCOL_VERSIONS }
    }
}

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This side called, and whom.
    Caller(NodeId),
    /// This side was called.
    Called,
}

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timing {
    /// From the connection to both greetings, TLS included.
    pub greeting_max: Duration,
    /// Between pings.
    pub ping_every: Duration,
    /// Without hearing anything.
    pub silence_max: Duration,
    /// From a frame's first byte to its last, and from a ping to its answer.
    pub frame_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            greeting_max: Duration::from_secs(5),
            ping_every: Duration::from_millis(500),
            silence_max: Duration::from_secs(3),
            frame_max: Duration::from_secs(10),
        }
    }
}

/// What is known of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who it says it is; the owner compares with its certificate.
    pub node: NodeId,
    /// Which life of it.
    pub run: RunId,
    /// The version of the protocol both speak.
    pub version: u16,
    /// Versions of the state it can exchange.
    pub state_versions: RangeInclusive<u32>,
}

/// What came of bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The other side greeted, and its words fit: the owner is to admit or refuse it.
    Greeted(PeerInfo),
    /// Something for the users.
    Message(Message),
    /// Something about a snapshot.
    Snapshot(SnapshotMessage),
    /// A ping came back after this time.
    RoundTrip(Duration),
    /// The other side ends the link; its reason, if this build knows it.
    Bye(Option<Refusal>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The other greeting is not here.
    Greeting,
    /// It is; the owner has not decided.
    Greeted,
    Open,
    /// Refused, or said goodbye.
    Ended,
}

/// One link.
#[derive(Debug)]
pub struct Connection {
    hello: Hello,
    side: Side,
    timing: Timing,
    state: State,
    queue: Queue,
    /// This side's greeting, until it is written.
    greeting: Option<Vec<u8>>,
    /// Messages of which not all frames are here, by lane.
    partial: [Vec<u8>; Lane::ALL.len()],
    began: Instant,
    heard: Instant,
    /// When this side wanted to look again, as of its last look.
    due: Option<Instant>,
    /// When the frame at the front of the input began to come.
    frame_began: Option<Instant>,
    next_ping: Instant,
    pinged: Option<Instant>,
}

impl Connection {
    /// A link whose TLS is about to begin or has just ended.
    #[must_use]
    pub fn new(local: &Local, side: Side, timing: Timing, now: Instant) -> Connection {
        let to = match side {
            Side::Caller(to) => Some(to),
            Side::Called => None,
        };
        let hello = Hello {
            versions: local.versions.clone(),
            state_versions: local.state_versions.clone(),
            cluster: local.cluster,
            node: local.node,
            to,
            run: local.run,
        };
        let greeting = Some(hello.encode());
        Connection {
            hello,
            side,
            timing,
            state: State::Greeting,
            queue: Queue::default(),
            greeting,
            partial: Default::default(),
            began: now,
            heard: now,
            due: None,
            frame_began: None,
            next_ping: now,
            pinged: None,
        }
    }

    /// Takes what can be read off `input` and leaves the rest there; to be called whenever bytes came.
    ///
    /// # Errors
    /// [`Refusal`]: the link is over. What [`Connection::fill`] still gives tells the other side.
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        self.heard = now;
        let before = input.len();
        let read = self.read(now, input, events);
        let whole = input.len() < before;
        if input.is_empty() {
            self.frame_began = None;
        } else if whole || self.frame_began.is_none() {
            self.frame_began = Some(now);
        }
        read.inspect_err(|refusal| self.refuse(*refusal))
    }

    fn read(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        if self.state == State::Greeting {
            if let Some(refused) = hello::read_refusal(input) {
                self.hear_refusal(refused, events);
                return Ok(());
            }
            let Some((theirs, len)) = Hello::decode(input)? else { return Ok(()) };
            input.advance(len);
            let version = self.hello.agree(&theirs)?;
            self.check_direction(theirs.node)?;
            self.state = State::Greeted;
            let Hello { node, run, state_versions, .. } = theirs;
            events.push(Event::Greeted(PeerInfo { node, run, version, state_versions }));
        }
        while self.state == State::Open {
            let Some(frame) = frame::take(input)? else { return Ok(()) };
            events.extend(self.handle_frame(now, frame)?);
        }
        Ok(())
    }

    /// The other side refuses to greet, and tells why as soon as all of that is here.
    fn hear_refusal(&mut self, refused: Option<u16>, events: &mut Vec<Event>) {
        if let Some(code) = refused {
            self.state = State::Ended;
            events.push(Event::Bye(Refusal::of_code(code)));
        }
    }

    /// Of two nodes the lower one calls, so that there is one link between them.
    fn check_direction(&self, theirs: NodeId) -> Result<(), Refusal> {
        let called_by_lower = self.side == Side::Called && theirs < self.hello.node;
        let called_higher = self.side != Side::Called && theirs > self.hello.node;
        if called_by_lower || called_higher { Ok(()) } else { Err(Refusal::Direction) }
    }

    fn handle_frame(&mut self, now: Instant, frame: Frame) -> Result<Option<Event>, Refusal> {
        let Frame { lane, last, body } = frame;
        match lane {
            Lane::Control | Lane::Snapshot if !last => Err(Refusal::Malformed),
            Lane::Control => Ok(self.handle_control(now, Control::decode(&body)?)),
            Lane::Snapshot => SnapshotMessage::decode(body).map(|said| Some(Event::Snapshot(said))),
            Lane::Raft | Lane::Answer | Lane::Request => {
                let Some(bytes) = self.assemble(lane, last, body)? else { return Ok(None) };
                Message::decode(lane, bytes).map(|message| Some(Event::Message(message)))
            }
        }
    }

    /// A message of which this is the last part, or none yet.
    fn assemble(&mut self, lane: Lane, last: bool, body: Bytes) -> Result<Option<Bytes>, Refusal> {
        let partial = &mut self.partial[lane.index()];
        if partial.is_empty() && last {
            return Ok(Some(body));
        }
        if partial.len() + body.len() > lane.message_bytes_max() {
            return Err(Refusal::MessageTooLarge);
        }
        partial.extend_from_slice(&body);
        Ok(last.then(|| std::mem::take(partial).into()))
    }

    fn handle_control(&mut self, now: Instant, control: Control) -> Option<Event> {
        match control {
            Control::Ping(number) => {
                self.queue.push_control(Control::Pong(number));
                None
            }
            Control::Pong(number) => {
                // Only the ping under way counts: a made-up answer is no news.
                let sent = self.pinged.filter(|sent| self.ping_number(*sent) == number)?;
                self.pinged = None;
                Some(Event::RoundTrip(now.saturating_duration_since(sent)))
            }
            Control::Bye(code) => {
                self.state = State::Ended;
                Some(Event::Bye(Refusal::of_code(code)))
            }
        }
    }

    fn ping_number(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// The peer is who it says it is: messages flow. What came behind its greeting is to be given to
    /// [`Connection::handle_input`] again.
    pub fn admit(&mut self, now: Instant) {
        assert_eq!(self.state, State::Greeted, "a peer is admitted once, when it has greeted");
        self.state = State::Open;
        self.next_ping = now;
    }

    /// Ends the link; the other side is told why by what [`Connection::fill`] gives.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.state = State::Ended;
        if self.side == Side::Called && self.greeting.is_some() {
            self.greeting = Some(hello::refusal(refusal.code()).to_vec());
        } else {
            self.queue.push_control(Control::Bye(refusal.code()));
        }
    }

    /// Who is called keeps its greeting until it has decided.
    fn may_greet(&self) -> bool {
        let undecided = matches!(self.state, State::Greeting | State::Greeted);
        self.greeting.is_some() && !(undecided && self.side == Side::Called)
    }

    /// Whether messages flow.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the lane takes another message now.
    #[must_use]
    pub fn has_room(&self, lane: Lane) -> bool {
        self.is_open() && self.queue.has_room(lane)
    }

    /// A message to be sent.
    ///
    /// # Errors
    /// [`SendError`]; the message is gone.
    pub fn push(&mut self, message: Message) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::Down);
        }
        self.queue.push(message)
    }

    /// Something about a snapshot to be sent.
    ///
    /// # Errors
    /// [`SendError`]; it is gone.
    pub fn push_snapshot(&mut self, message: SnapshotMessage) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::Down);
        }
        self.queue.push_snapshot(message)
    }

    /// Whether there is something to write.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.may_greet() || !self.queue.is_empty()
    }

    /// Adds what is to be written next to `out`: some hundred KiB at most, while each lane gets its part.
    pub fn fill(&mut self, out: &mut Vec<u8>) {
        if self.may_greet()
            && let Some(greeting) = self.greeting.take()
        {
            out.extend_from_slice(&greeting);
        }
        self.queue.fill(out);
    }

    /// When [`Connection::handle_timeout`] is to be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Greeting | State::Greeted => Some(self.began + self.timing.greeting_max),
            State::Open => Some(self.open_deadlines().fold(self.next_ping_due(), Instant::min)),
            State::Ended => None,
        }
    }

    fn next_ping_due(&self) -> Instant {
        // One ping is under way at a time.
        self.pinged.map_or(self.next_ping, |sent| sent + self.timing.frame_max)
    }

    fn open_deadlines(&self) -> impl Iterator<Item = Instant> {
        let frame = self.frame_began.map(|began| began + self.timing.frame_max);
        std::iter::once(self.heard + self.timing.silence_max).chain(frame)
    }

    /// The time has come that [`Connection::poll_timeout`] told, or any other.
    ///
    /// # Errors
    /// [`Refusal`]: the other side took too long; the link is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Refusal> {
        self.excuse(now);
        let checked = self.check_time(now);
        self.due = self.poll_timeout();
        checked.inspect_err(|refusal| self.refuse(*refusal))
    }

    /// Whoever looks much later than it wanted was away itself, and may not have read yet what came meanwhile: the
    /// other side has half its time again.
    fn excuse(&mut self, now: Instant) {
        let late = self.due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        if late > self.timing.silence_max / 4 {
            let grace = now.checked_sub(self.timing.silence_max / 2);
            self.heard = self.heard.max(grace.unwrap_or(now));
        }
    }

    fn check_time(&mut self, now: Instant) -> Result<(), Refusal> {
        match self.state {
            State::Greeting | State::Greeted => {
                let late = now >= self.began + self.timing.greeting_max;
                return if late { Err(Refusal::GreetingTimeout) } else { Ok(()) };
            }
            State::Ended => return Ok(()),
            State::Open => {}
        }
        let over = |since: Instant, max: Duration| now >= since + max;
        if over(self.heard, self.timing.silence_max) {
            return Err(Refusal::Silent);
        }
        // A peer that does not read, or speaks and does not answer, holds what waits for it.
        let unanswered = self.pinged.is_some_and(|sent| over(sent, self.timing.frame_max));
        if unanswered || self.frame_began.is_some_and(|began| over(began, self.timing.frame_max)) {
            return Err(Refusal::Stalled);
        }
        if self.pinged.is_none() && now >= self.next_ping {
            self.pinged = Some(now);
            self.next_ping = now + self.timing.ping_every;
            self.queue.push_control(Control::Ping(self.ping_number(now)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
