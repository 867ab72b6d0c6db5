//! The generator: stations with one call out at a time, on one thread.
//!
//! It shares the machine with the node, so it does as little as it can: one poll, frames made before the clock starts
//! (masked with the key 0, which is legal and free), answers searched for the two things that matter. An answer that
//! is not "Accepted" ends the benchmark.

use super::apps::App;
use crate::error::{BenchError, During, Result};
use crate::{provision, station};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use novax_model::Timestamp;
use novax_wire::ws;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A round that takes longer hangs.
const ROUND_TIMEOUT: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 16 * 1_024;

/// One station on its socket.
#[derive(Debug)]
pub(super) struct Station {
    socket: TcpStream,
    pub(super) number: u32,
    /// The frames still to be sent in this phase.
    frames: VecDeque<Vec<u8>>,
    /// A call is out since then.
    sent: Option<Instant>,
    /// Bytes of an answer that is not complete.
    input: Vec<u8>,
    /// How many meter values were made for it.
    metered: u32,
    /// No value is of a later millisecond.
    metered_to: u64,
    /// How many of them were answered.
    told: u64,
    /// 1.6 numbers of its transactions, by connector.
    transactions: Vec<i32>,
    /// When an app asked for a charge on a connector, from 1, that the hub has not called for yet.
    pub(super) asked: Vec<Option<Instant>>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Load {
    pub(super) poll: Poll,
    events: Events,
    chunk: Vec<u8>,
    pub(super) stations: Vec<Station>,
    pub(super) connectors: u16,
    pub(super) latencies_us: Vec<u32>,
    /// Stations that may send as soon as it is time, when the pace is given.
    ready: Option<VecDeque<usize>>,
    /// What is still to come: answers to calls, sent or not; or answers and calls of the hub for what apps asked.
    pub(super) outstanding: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starts,
    Stops,
    /// Values of meters.
    Meters,
    /// Apps ask, and the hub calls the stations.
    Apps,
}

impl Load {
    pub(crate) fn new(sockets: Vec<std::net::TcpStream>, connectors: u16) -> Result<Load> {
        Load::numbered(sockets, 0, connectors)
    }

    /// As [`Load::new`]; stations are numbered from `first`.
    pub(crate) fn numbered(
        sockets: Vec<std::net::TcpStream>,
        first: u32,
        connectors: u16,
    ) -> Result<Load> {
        let poll = Poll::new().during("making a poll")?;
        let mut stations = Vec::with_capacity(sockets.len());
        for (number, socket) in (first..).zip(sockets) {
            socket.set_nonblocking(true).during("preparing a socket")?;
            let mut socket = TcpStream::from_std(socket);
            let token = Token(stations.len());
            let registered = poll.registry().register(&mut socket, token, Interest::READABLE);
            registered.during("registering a socket")?;
            stations.push(Station {
                socket,
                number,
                frames: VecDeque::new(),
                sent: None,
                input: Vec::new(),
                metered: 0,
                metered_to: 0,
                told: 0,
                transactions: Vec::new(),
                asked: vec![None; usize::from(connectors)],
            });
        }
        let (events, chunk) = (Events::with_capacity(1_024), vec![0; READ_BYTES]);
        let latencies_us = Vec::new();
        Ok(Load {
            poll,
            events,
            chunk,
            stations,
            connectors,
            latencies_us,
            ready: None,
            outstanding: 0,
        })
    }

    pub(super) fn per_round(&self) -> usize {
        self.stations.len() * usize::from(self.connectors)
    }

    /// Starts everything; how long that took.
    pub(crate) fn starts(&mut self, round: u32) -> Result<Duration> {
        self.prepare_starts(round);
        let elapsed = self.play(Phase::Starts)?;
        assert_eq!(self.latencies_us.len(), self.per_round(), "each start was answered");
        Ok(elapsed)
    }

    /// As [`Load::starts`], at so many a second; latencies count from when a start was due.
    pub(crate) fn starts_paced(&mut self, round: u32, per_s: u32) -> Result<Duration> {
        self.prepare_starts(round);
        let elapsed = self.paced(Phase::Starts, per_s, None)?;
        assert_eq!(self.latencies_us.len(), self.per_round(), "each start was answered");
        Ok(elapsed)
    }

    fn prepare_starts(&mut self, round: u32) {
        self.latencies_us.clear();
        let at = now();
        for station in &mut self.stations {
            assert!(station.transactions.is_empty(), "everything was stopped");
            let frames = (1..=self.connectors).map(|connector| {
                let token = provision::token(station.number, connector);
                let id = format!("{round}-{connector}");
                frame(&format!(
                    "[2,\"{id}\",\"StartTransaction\",{{\"connectorId\":{connector},\
                     \"idTag\":\"{token}\",\"meterStart\":1000,\"timestamp\":\"{at}\"}}]"
                ))
            });
            station.frames = frames.collect();
        }
    }

    pub(crate) fn take_latencies(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.latencies_us)
    }

    /// Stops everything.
    pub(crate) fn stops(&mut self) -> Result<()> {
        self.prepare_stops();
        self.play(Phase::Stops).map(drop)
    }

    /// As [`Load::stops`], at so many a second.
    pub(crate) fn stops_paced(&mut self, per_s: u32) -> Result<()> {
        self.prepare_stops();
        self.paced(Phase::Stops, per_s, None).map(drop)
    }

    /// Each station sends so many values of connector 1, one behind the other; how long that took.
    pub(crate) fn meters(&mut self, each: u32) -> Result<Duration> {
        self.prepare_meters(each);
        self.play(Phase::Meters)
    }

    /// Values at so many a second until it is over, and how many were answered. Who was not answered yet sends nothing
    /// more, so fewer may be taken than are asked for.
    pub(crate) fn meters_paced(&mut self, per_s: u32, over: &AtomicBool) -> Result<u64> {
        const EACH: u32 = 100;
        let before: u64 = self.stations.iter().map(|station| station.told).sum();
        while !over.load(Ordering::Relaxed) {
            self.prepare_meters(EACH);
            self.paced(Phase::Meters, per_s, Some(over))?;
        }
        let after: u64 = self.stations.iter().map(|station| station.told).sum();
        Ok(after - before)
    }

    /// How many values each station was told are kept.
    pub(crate) fn values_told(&self) -> Vec<u64> {
        self.stations.iter().map(|station| station.told).collect()
    }

    fn prepare_meters(&mut self, each: u32) {
        let now = now_millis();
        for station in &mut self.stations {
            let first = station.metered;
            station.metered += each;
            // A millisecond apart, and never at the same time twice.
            let base = now.max(station.metered_to + 1);
            station.metered_to = base + u64::from(each);
            station.frames = (first..first + each)
                .map(|value| {
                    let at = base + u64::from(value - first);
                    let at = Timestamp::from_millis(at).to_rfc3339();
                    frame(&meter_values(&format!("m{value}"), station.number, value, &at))
                })
                .collect();
        }
    }

    fn prepare_stops(&mut self) {
        let at = now();
        for station in &mut self.stations {
            let transactions = std::mem::take(&mut station.transactions);
            assert_eq!(transactions.len(), usize::from(self.connectors), "all of it was started");
            let frames = transactions.iter().map(|number| {
                frame(&format!(
                    "[2,\"s{number}\",\"StopTransaction\",{{\"meterStop\":1000,\
                     \"timestamp\":\"{at}\",\"transactionId\":{number},\"reason\":\"Local\"}}]"
                ))
            });
            station.frames = frames.collect();
        }
    }

    /// Sends what waits at so many a second, or until it is over; how long that took until the last answer.
    fn paced(&mut self, phase: Phase, per_s: u32, over: Option<&AtomicBool>) -> Result<Duration> {
        let each = Duration::from_secs(1) / per_s;
        let began = Instant::now();
        let mut due = began;
        self.ready = Some((0..self.stations.len()).collect());
        self.outstanding = 0;
        loop {
            let now = Instant::now();
            let ends = over.is_some_and(|over| over.load(Ordering::Relaxed));
            while due <= now && !ends {
                let Some(at) = self.ready.as_mut().and_then(VecDeque::pop_front) else { break };
                let station = self.stations.get_mut(at).expect("places are in the list");
                if station.frames.is_empty() {
                    continue;
                }
                station.send_next()?;
                // What could not go when it was due has waited since then.
                station.sent = Some(due);
                self.outstanding += 1;
                due += each;
            }
            let nobody = self.ready.as_ref().is_none_or(VecDeque::is_empty);
            if self.outstanding == 0 && (ends || nobody) {
                break;
            }
            let wait =
                if nobody || ends { Duration::from_secs(1) } else { due.duration_since(now) };
            self.turn(phase, wait, &mut [], &mut Vec::new())?;
            self.check_hangs(began)?;
        }
        self.ready = None;
        self.stations.iter_mut().for_each(|station| station.frames.clear());
        Ok(began.elapsed())
    }

    /// Sends every frame that waits, each station's next one once the one before was answered.
    fn play(&mut self, phase: Phase) -> Result<Duration> {
        self.outstanding = self.stations.iter().map(|station| station.frames.len()).sum();
        let began = Instant::now();
        for station in &mut self.stations {
            station.send_next()?;
        }
        while self.outstanding > 0 {
            self.turn(phase, Duration::from_secs(1), &mut [], &mut Vec::new())?;
            self.check_hangs(began)?;
        }
        Ok(began.elapsed())
    }

    /// Waits for something to come, but no longer than told, and reads it. Sockets of apps come after those of the
    /// stations; places of those that were answered go into `idle`.
    pub(super) fn turn(
        &mut self,
        phase: Phase,
        wait: Duration,
        apps: &mut [App],
        idle: &mut Vec<usize>,
    ) -> Result<()> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut chunk = std::mem::take(&mut self.chunk);
        self.poll.poll(&mut events, Some(wait)).during("polling")?;
        for event in &events {
            let Some(at) = event.token().0.checked_sub(self.stations.len()) else {
                self.read(event.token().0, phase, &mut chunk)?;
                continue;
            };
            if apps.get_mut(at).expect("tokens are places in the list").read(&mut chunk)? {
                self.outstanding -= 1;
                idle.push(at);
            }
        }
        (self.events, self.chunk) = (events, chunk);
        Ok(())
    }

    pub(super) fn check_hangs(&self, began: Instant) -> Result<()> {
        if began.elapsed() > ROUND_TIMEOUT {
            let left = self.outstanding;
            return Err(BenchError::Answer(format!("{left} calls were never answered")));
        }
        Ok(())
    }

    fn read(&mut self, at: usize, phase: Phase, chunk: &mut [u8]) -> Result<()> {
        let station = self.stations.get_mut(at).expect("tokens are places in the list");
        loop {
            let read = match station.socket.read(chunk) {
                Ok(0) => return Err(BenchError::Node("it closed a station's socket".into())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(BenchError::System("reading from the node", error)),
            };
            station.input.extend_from_slice(chunk.get(..read).unwrap_or_default());
            while let Some(text) = take_text(&mut station.input)? {
                if phase == Phase::Apps {
                    self.latencies_us.push(station.called(&text)?);
                    self.outstanding -= 1;
                    continue;
                }
                if text.starts_with(b"[2,") {
                    // A call of the node, such as a limit: none is due without limits at the sites.
                    return Err(unexpected(station.number, &text));
                }
                let since = station.sent.take();
                let since = since.ok_or_else(|| unexpected(station.number, &text))?;
                station.answered(phase, &text)?;
                if phase == Phase::Starts {
                    let micros = since.elapsed().as_micros();
                    self.latencies_us.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
                self.outstanding -= 1;
                match &mut self.ready {
                    Some(ready) => ready.push_back(at),
                    None => station.send_next()?,
                }
            }
            if read < chunk.len() {
                // Edge-triggered: a full chunk may have left something behind, a part did not.
                return Ok(());
            }
        }
    }
}

impl Station {
    fn send_next(&mut self) -> Result<()> {
        assert!(self.sent.is_none(), "one call is out at a time");
        let Some(frame) = self.frames.pop_front() else { return Ok(()) };
        self.sent = Some(Instant::now());
        // One small frame with nothing else in the socket's buffer always fits.
        let written = self.socket.write(&frame).during("writing to the node")?;
        let whole = BenchError::Machine("a socket buffer is smaller than a message".into());
        if written == frame.len() { Ok(()) } else { Err(whole) }
    }

    /// The hub's call for a charge that an app asked for: accepted. Returns how long it took since the app asked, in
    /// microseconds.
    fn called(&mut self, text: &[u8]) -> Result<u32> {
        const CALL: &[u8] = b"[2,\"";
        let wrong = || unexpected(self.number, text);
        let id = text.strip_prefix(CALL).ok_or_else(wrong)?;
        let end = memmem::find(id, b"\",\"RemoteStartTransaction\",").ok_or_else(wrong)?;
        let id = id.get(..end).ok_or_else(wrong)?;
        let connector = number(text, b"\"connectorId\":").and_then(|number| number.checked_sub(1));
        let place = usize::try_from(connector.ok_or_else(wrong)?).map_err(|_| wrong())?;
        let asked = self.asked.get_mut(place).and_then(Option::take);
        let since = asked.ok_or_else(|| unexpected(self.number, text))?;
        let mut answer = Vec::with_capacity(64);
        answer.extend_from_slice(b"[3,\"");
        answer.extend_from_slice(id);
        answer.extend_from_slice(b"\",{\"status\":\"Accepted\"}]");
        let mut frame = Vec::with_capacity(72);
        let answer = std::str::from_utf8(&answer).map_err(|_| unexpected(self.number, text))?;
        ws::write_text(answer, Some([0; 4]), &mut frame);
        let micros = since.elapsed().as_micros();
        let written = self.socket.write(&frame).during("writing to the node")?;
        let whole = BenchError::Machine("a socket buffer is smaller than a message".into());
        if written == frame.len() {
            Ok(u32::try_from(micros).unwrap_or(u32::MAX))
        } else {
            Err(whole)
        }
    }

    /// Every answer must be the right one.
    fn answered(&mut self, phase: Phase, text: &[u8]) -> Result<()> {
        let right = text.starts_with(b"[3,")
            && match phase {
                Phase::Starts => match transaction_id(text) {
                    Some(number @ 1..) if accepted(text) => {
                        self.transactions.push(number);
                        true
                    }
                    _ => false,
                },
                Phase::Stops => true,
                Phase::Meters => {
                    self.told += 1;
                    true
                }
                Phase::Apps => unreachable!("stations call nobody while apps ask"),
            };
        if right { Ok(()) } else { Err(unexpected(self.number, text)) }
    }
}

fn unexpected(station: u32, text: &[u8]) -> BenchError {
    let name = station::identity(station);
    BenchError::Answer(format!("{name} got {}", String::from_utf8_lossy(text)))
}

pub(crate) fn accepted(text: &[u8]) -> bool {
    memmem::find(text, b"\"status\":\"Accepted\"").is_some()
}

pub(crate) fn transaction_id(text: &[u8]) -> Option<i32> {
    number(text, b"\"transactionId\":")
}

/// The number after a name.
fn number(text: &[u8], name: &[u8]) -> Option<i32> {
    let at = memmem::find(text, name)? + name.len();
    let digits = text.get(at..)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

/// A masked text frame; with the key 0 the text stands as it is.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(text.len() + 8);
    ws::write_text(text, Some([0; 4]), &mut frame);
    frame
}

/// The next whole text of the node, which never fragments and never masks.
pub(crate) fn take_text(input: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    let (head, length) = match input.as_slice() {
        [] | [_] | [0x81, 126] | [0x81, 126, _] => return Ok(None),
        [0x81, length @ 0..126, ..] => (2, usize::from(*length)),
        [0x81, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [first, second, ..] => {
            let said = format!("a frame that begins {first:02x} {second:02x}");
            return Err(BenchError::Answer(said));
        }
    };
    let Some(text) = input.get(head..head + length) else { return Ok(None) };
    let text = text.to_vec();
    input.drain(..head + length);
    Ok(Some(text))
}

/// A MeterValues with six measurands, as compact as it gets; the value counts up.
pub(crate) fn meter_values(id: &str, station: u32, value: u32, at: &str) -> String {
    // A watt-hour in twenty milliseconds: as a strong charger's.
    let (energy, wobble) = (1_000 + value / 20, (station + value) % 97);
    format!(
        "[2,\"{id}\",\"MeterValues\",{{\"connectorId\":1,\"meterValue\":[{{\"timestamp\":\"{at}\",\
         \"sampledValue\":[{{\"value\":\"{energy}\"}},\
         {{\"value\":\"{}\",\"measurand\":\"Power.Active.Import\"}},\
         {{\"value\":\"{}.{}\",\"measurand\":\"Current.Import\"}},\
         {{\"value\":\"{}.5\",\"measurand\":\"Voltage\"}},\
         {{\"value\":\"{}\",\"measurand\":\"SoC\"}},\
         {{\"value\":\"{}\",\"measurand\":\"Temperature\"}}]}}]}}]",
        180_000 + wobble * 10,
        260 + wobble % 10,
        wobble % 10,
        690 + wobble % 7,
        20 + wobble % 60,
        30 + wobble % 5,
    )
}

pub(crate) fn now() -> String {
    Timestamp::from_millis(now_millis()).to_rfc3339()
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_wherever_the_bytes_are_cut() {
        let mut wire = Vec::new();
        let long = "x".repeat(300);
        ws::write_text("[3,1]", None, &mut wire);
        ws::write_text(&long, None, &mut wire);
        for cut in 0..=wire.len() {
            let (mut input, mut texts) = (Vec::new(), Vec::new());
            for part in [&wire[..cut], &wire[cut..]] {
                input.extend_from_slice(part);
                while let Some(text) = take_text(&mut input).unwrap() {
                    texts.push(text);
                }
            }
            assert_eq!(texts, [b"[3,1]".to_vec(), long.clone().into_bytes()], "{cut}");
        }
        assert!(take_text(&mut vec![0x88, 0]).is_err(), "a close is no answer");
    }

    #[test]
    fn an_answer_is_accepted_with_a_number_or_it_is_wrong() {
        let text = br#"[3,"1-1",{"idTagInfo":{"status":"Accepted"},"transactionId":42}]"#;
        assert!(accepted(text));
        assert_eq!(transaction_id(text), Some(42));
        assert_eq!(transaction_id(br#"[3,"1",{}]"#), None);
        assert!(!accepted(br#"[3,"1",{"idTagInfo":{"status":"Blocked"}}]"#));
    }

    #[test]
    fn a_frame_reads_as_its_text_for_the_server() {
        let mut bytes = frame("[2]");
        let mut receiver = ws::Receiver::new(ws::Role::Server, ws::Limits::default());
        let mut texts = Vec::new();
        let read = receiver.receive(&mut bytes, &mut |event| match event {
            ws::Event::Text(text) => texts.push(text.to_owned()),
            other => panic!("{other:?}"),
        });
        assert_eq!((read, texts), (Ok(()), vec!["[2]".to_owned()]));
    }
}
