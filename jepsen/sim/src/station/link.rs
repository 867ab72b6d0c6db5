//! A station's socket: the handshake, one call at a time, and what is lost with a connection.

use super::say::{self, Say};
use super::{ANSWER_TIMEOUT, Act, Manners, Station};
use crate::truth::Truth;
use novax_log::sim::Rng;
use novax_model::{Duration, Timestamp};
use novax_wire::http;
use novax_wire::ocpp::frame::{self, Frame};
use novax_wire::ws::{self, Event, Limits, Receiver, Role};
use serde_json::Value;

/// A handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// The key of every handshake: nobody here is fooled by a cache.
const KEY: [u8; 16] = [7; 16];

/// Where the socket stands.
#[derive(Debug)]
pub(super) struct Link {
    phase: Phase,
    /// The call that is out.
    open: Option<Open>,
    /// Not before this time is the next call sent.
    quiet_until: Timestamp,
    calls: u64,
}

#[derive(Debug)]
enum Phase {
    /// No socket; a new one is tried then.
    Down(Timestamp),
    /// Asked for, or the handshake is on its way; given up then.
    Opening(Timestamp, Vec<u8>),
    Open(Receiver),
}

#[derive(Debug)]
struct Open {
    id: String,
    say: Say,
    until: Timestamp,
}

impl Link {
    pub(super) fn down(until: Timestamp) -> Link {
        let (phase, open) = (Phase::Down(until), None);
        Link { phase, open, quiet_until: Timestamp::ZERO, calls: 0 }
    }

    /// Whether an answer is to come.
    pub(super) fn is_waiting(&self) -> bool {
        self.open.is_some()
    }

    /// When something is due; `to_tell`: something is to be told.
    pub(super) fn wakeup(&self, to_tell: bool) -> Timestamp {
        match (&self.phase, &self.open) {
            (Phase::Down(until) | Phase::Opening(until, _), _) => *until,
            (Phase::Open(_), Some(open)) => open.until,
            (Phase::Open(_), None) if to_tell => self.quiet_until,
            (Phase::Open(_), None) => Timestamp::MAX,
        }
    }
}

impl Station {
    pub(super) fn connected(&mut self, acts: &mut Vec<Act>) {
        if !matches!(self.link.phase, Phase::Opening(..)) {
            return;
        }
        let path = format!("/ocpp/{}", http::percent_encode(&self.setup.identity));
        let mut request = Vec::new();
        let subprotocols = [self.setup.version.subprotocol()];
        http::client_request("hub", &path, &subprotocols, None, &KEY, &mut request);
        acts.push(Act::Send(request));
    }

    /// The connection is gone; what was not answered is told again over the next one.
    pub(super) fn ended(&mut self) {
        let wait = Duration::from_millis(500 + self.rng.below(15_000));
        self.take_back();
        let calls = self.link.calls;
        self.link = Link { calls, ..Link::down(self.now.saturating_add(wait)) };
    }

    fn take_back(&mut self) {
        if let Some(open) = self.link.open.take() {
            self.tell.push_front(open.say);
        }
    }

    fn give_up(&mut self, acts: &mut Vec<Act>) {
        acts.push(Act::Close);
        self.ended();
    }

    pub(super) fn tick_link(&mut self, truth: &mut Truth, acts: &mut Vec<Act>) {
        match &self.link.phase {
            Phase::Down(until) if *until <= self.now => {
                let until = self.now.saturating_add(HANDSHAKE_TIMEOUT);
                self.link.phase = Phase::Opening(until, Vec::new());
                acts.push(Act::Connect);
            }
            Phase::Opening(until, _) if *until <= self.now => self.give_up(acts),
            Phase::Open(_) => {
                let late = self.link.open.as_ref().is_some_and(|open| open.until <= self.now);
                if late {
                    self.give_up(acts);
                }
            }
            Phase::Down(_) | Phase::Opening(..) => {}
        }
        let open = matches!(self.link.phase, Phase::Open(_)) && self.link.open.is_none();
        if open && Manners::does(&mut self.rng, self.setup.manners.loses_power) {
            acts.push(Act::Close);
            self.lose_power(truth);
        }
    }

    pub(super) fn received(&mut self, mut bytes: Vec<u8>, truth: &mut Truth, acts: &mut Vec<Act>) {
        if let Phase::Opening(_, head) = &mut self.link.phase {
            head.append(&mut bytes);
            match http::parse_client_response(head, &KEY) {
                Ok(None) => return,
                Ok(Some(accept)) => {
                    bytes = head.split_off(accept.head_len);
                    let receiver = Receiver::new(Role::Client, Limits::default());
                    self.link.phase = Phase::Open(receiver);
                }
                Err(_refused) => {
                    self.give_up(acts);
                    return;
                }
            }
        }
        let Phase::Open(receiver) = &mut self.link.phase else { return };
        let mut texts = Vec::new();
        let mut closed = false;
        let sound = receiver.receive(&mut bytes, &mut |event| match event {
            Event::Text(text) => texts.push(text.to_owned()),
            Event::Close { .. } => closed = true,
            _ => {}
        });
        if let Err(error) = &sound {
            let (station, now) = (&self.setup.identity, self.now);
            truth.wrong.push(format!("{station}: the hub sends broken frames: {error} at {now}"));
        }
        for text in texts {
            self.read(&text, truth, acts);
        }
        if closed || sound.is_err() {
            self.give_up(acts);
        }
    }

    fn read(&mut self, text: &str, truth: &mut Truth, acts: &mut Vec<Act>) {
        let station = &self.setup.identity;
        match frame::parse_frame(text) {
            Ok(Frame::Call { id, action, payload }) => {
                let payload = serde_json::from_str(payload).unwrap_or(Value::Null);
                self.order(&id, &action, &payload, truth, acts);
            }
            Ok(Frame::Result { id, payload }) => {
                let Some(open) = self.link.open.take_if(|open| open.id == *id) else { return };
                let payload = serde_json::from_str(payload).unwrap_or(Value::Null);
                self.answered(open.say, &payload, truth);
            }
            Ok(Frame::Error { id, code, .. }) => {
                let Some(open) = self.link.open.take_if(|open| open.id == *id) else { return };
                self.refused(open.say, &code, truth);
            }
            Err(error) => truth.wrong.push(format!("{station}: {error}: {text}")),
        }
    }

    fn answered(&mut self, say: Say, answer: &Value, truth: &mut Truth) {
        if Manners::does(&mut self.rng, self.setup.manners.deaf) {
            self.tell.push_front(say);
            return;
        }
        match &say {
            Say::Boot if answer["status"] != "Accepted" => {
                self.tell.push_front(say);
                self.link.quiet_until = self.now.saturating_add(Duration::from_secs(5));
                return;
            }
            Say::Start { transaction, .. } => self.start_answered(*transaction, answer, truth),
            Say::Stop { transaction, .. } => truth.transactions[*transaction].stopped = true,
            Say::Meter { transaction, at, .. } => truth.metered(*transaction, at),
            _ => {}
        }
        if Manners::does(&mut self.rng, self.setup.manners.repeats) {
            self.tell.push_front(say);
        }
    }

    fn start_answered(&mut self, number: usize, answer: &Value, truth: &mut Truth) {
        let of = &truth.transactions[number];
        let (name, status) = say::read_start(self.setup.version, of, answer);
        truth.started(number, name, &status);
        if status != "Accepted" {
            let greedy = Manners::does(&mut self.rng, self.setup.manners.greedy);
            let within = if greedy { Duration::from_secs(120) } else { Duration::ZERO };
            self.cut_short(number, "DeAuthorized", within);
        }
    }

    /// A CALLERROR: what must not be lost is told again a little later.
    fn refused(&mut self, say: Say, code: &str, truth: &mut Truth) {
        if say == Say::Nonsense {
            return;
        }
        if code != "InternalError" {
            truth.wrong.push(format!("{}: {say:?} was answered {code}", self.setup.identity));
            return;
        }
        self.link.quiet_until = self.now.saturating_add(Duration::from_millis(500));
        self.tell.push_front(say);
    }

    /// Sends the next call, if none is out.
    pub(super) fn speak(&mut self, truth: &Truth, acts: &mut Vec<Act>) {
        let open = matches!(self.link.phase, Phase::Open(_));
        if !open || self.link.open.is_some() || self.link.quiet_until > self.now {
            return;
        }
        let manners = self.setup.manners;
        let nonsense = Manners::does(&mut self.rng, manners.nonsense) && !self.tell.is_empty();
        let Some(say) = (if nonsense { Some(Say::Nonsense) } else { self.tell.pop_front() }) else {
            return;
        };
        self.link.calls += 1;
        let id = format!("s{}", self.link.calls);
        let token = |driver: usize| truth.drivers[driver].token.clone();
        let (action, payload) = say::write(self.setup.version, &say, &truth.transactions, token);
        let mut text = Vec::new();
        frame::write_call(&id, action, &payload, &mut text);
        let times = 1 + usize::from(Manners::does(&mut self.rng, manners.stutters));
        for _ in 0..times {
            acts.push(Act::Send(text_frame(&text, &mut self.rng)));
        }
        self.link.open = Some(Open { id, say, until: self.now.saturating_add(ANSWER_TIMEOUT) });
        if Manners::does(&mut self.rng, manners.breaks_off) {
            // The message is on its way, its answer will find nobody.
            self.give_up(acts);
        }
    }
}

/// A text as a client's frame.
pub(super) fn text_frame(text: &[u8], rng: &mut Rng) -> Vec<u8> {
    let [a, b, c, d, ..] = rng.next().to_le_bytes();
    let mut out = Vec::new();
    ws::write_text(text, Some([a, b, c, d]), &mut out);
    out
}
