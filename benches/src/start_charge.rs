//! Card starts: the whole path from a StartTransaction on a socket to its committed, held, accepted answer.
//!
//! Round by round every station starts its connectors, one after the other, with one call out at a time;
//! the clock runs while starts are outstanding. Then, off the clock, everything is stopped. One driver
//! in five has the wallet in another partition than the station, so its start crosses partitions.
//!
//! The generator shares the machine with the node, so it does as little as it can: one thread, one
//! poll, frames made before the clock starts (masked with the key 0, which is legal and free), answers
//! searched for the two things that matter. An answer that is not "Accepted" ends the benchmark.

use crate::Common;
use crate::error::{BenchError, During, Result};
use crate::figures::{Figures, per_mille};
use crate::node::Node;
use crate::station::{check_open_files, open_all};
use crate::{provision, station};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use novax_model::Timestamp;
use novax_wire::ws;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) chargers: u32,
    pub(crate) connectors: u16,
    pub(crate) seconds: u64,
}

/// A round that takes longer hangs.
const ROUND_TIMEOUT: Duration = Duration::from_secs(60);
const ROUNDS_MAX: u32 = 10_000;
const READ_BYTES: usize = 16 * 1_024;

pub(crate) fn run(common: &Common, shape: Shape) -> Result<Figures> {
    check_open_files(u64::from(shape.chargers) + 200)?;
    let node = Node::start(common)?;
    let starts = u64::from(shape.chargers) * u64::from(shape.connectors);
    eprintln!("provisioning {} stations, {starts} drivers", shape.chargers);
    let homes = provision::stations(&node, shape.chargers)?;
    provision::drivers(&node, &homes, shape.connectors, common.partitions)?;
    let mut load = Load::new(open_all(node.ocpp(), shape.chargers)?, shape.connectors)?;
    // The first round makes the rows of the connectors; it is not what a day looks like.
    load.starts(0)?;
    load.stops()?;
    node.settle()?;
    let measured = measure(std::slice::from_ref(&node), &mut load, shape)?;
    drop(load);
    node.stop()?;
    let mut figures = Figures::default();
    figures.add("start_charge_tps", measured.per_s, "1/s");
    figures.add("start_charge_p50_ms", measured.ms(500), "ms");
    figures.add("start_charge_p99_ms", measured.ms(990), "ms");
    figures.add("start_charge_p999_ms", measured.ms(999), "ms");
    figures.add("start_charge_cpu_us", measured.cpu_us, "us");
    figures.add("start_charge_log_writes_per_s", measured.log_writes_per_s, "1/s");
    Ok(figures)
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) per_s: f64,
    /// Processor time of a start, of all nodes.
    pub(crate) cpu_us: f64,
    pub(crate) log_writes_per_s: f64,
    /// Ascending.
    latencies_us: Vec<u32>,
}

impl Measured {
    /// The latency that so many of a thousand starts did not exceed.
    pub(crate) fn ms(&self, per_thousand: usize) -> f64 {
        f64::from(per_mille(&self.latencies_us, per_thousand)) / 1_000.0
    }
}

fn cpu(nodes: &[Node]) -> Result<Duration> {
    nodes.iter().map(Node::cpu).sum()
}

fn log_writes(nodes: &[Node]) -> Result<u64> {
    nodes.iter().map(|node| node.metric("novax_log_writes_total")).sum()
}

/// Starts in rounds on the sockets of a load, whichever nodes they are at.
pub(crate) fn measure(nodes: &[Node], load: &mut Load, shape: Shape) -> Result<Measured> {
    let target = Duration::from_secs(shape.seconds);
    let (mut timed, mut theirs, mut own_cpu) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut written, mut latencies_us) = (0, Vec::new());
    for round in 1..=ROUNDS_MAX {
        let before = (cpu(nodes)?, log_writes(nodes)?, own_cpu_time()?);
        let elapsed = load.starts(round)?;
        timed += elapsed;
        theirs += cpu(nodes)?.saturating_sub(before.0);
        own_cpu += own_cpu_time()?.saturating_sub(before.2);
        written += log_writes(nodes)?.saturating_sub(before.1);
        latencies_us.append(&mut load.latencies_us);
        let per_s = load.per_round() as f64 / elapsed.as_secs_f64();
        eprintln!("round {round}: {per_s:.0} starts/s");
        load.stops()?;
        if timed >= target {
            break;
        }
        // Captures in the drivers' partitions go on after the answers: they belong to the stops.
        nodes.iter().try_for_each(Node::rest)?;
    }
    latencies_us.sort_unstable();
    let starts = latencies_us.len() as f64;
    let seconds = timed.as_secs_f64();
    eprintln!("generator: {:.1} us of CPU a start", own_cpu.as_secs_f64() * 1e6 / starts);
    Ok(Measured {
        per_s: starts / seconds,
        cpu_us: theirs.as_secs_f64() * 1e6 / starts,
        log_writes_per_s: written as f64 / seconds,
        latencies_us,
    })
}

fn own_cpu_time() -> Result<Duration> {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").during("reading schedstat")?;
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    Ok(Duration::from_nanos(nanoseconds))
}

/// One station on its socket.
#[derive(Debug)]
struct Station {
    socket: TcpStream,
    number: u32,
    /// The frames still to be sent in this phase.
    frames: VecDeque<Vec<u8>>,
    /// A call is out since then.
    sent: Option<Instant>,
    /// Bytes of an answer that is not complete.
    input: Vec<u8>,
    /// 1.6 numbers of its transactions, by connector.
    transactions: Vec<i32>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Load {
    poll: Poll,
    stations: Vec<Station>,
    connectors: u16,
    latencies_us: Vec<u32>,
    /// Calls whose answer is still to come, sent or not.
    outstanding: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starts,
    Stops,
}

impl Load {
    pub(crate) fn new(sockets: Vec<std::net::TcpStream>, connectors: u16) -> Result<Load> {
        let poll = Poll::new().during("making a poll")?;
        let mut stations = Vec::with_capacity(sockets.len());
        for (number, socket) in (0_u32..).zip(sockets) {
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
                transactions: Vec::new(),
            });
        }
        Ok(Load { poll, stations, connectors, latencies_us: Vec::new(), outstanding: 0 })
    }

    fn per_round(&self) -> usize {
        self.stations.len() * usize::from(self.connectors)
    }

    /// Starts everything; how long that took.
    pub(crate) fn starts(&mut self, round: u32) -> Result<Duration> {
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
        let elapsed = self.play(Phase::Starts)?;
        assert_eq!(self.latencies_us.len(), self.per_round(), "each start was answered");
        Ok(elapsed)
    }

    /// Stops everything.
    pub(crate) fn stops(&mut self) -> Result<()> {
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
        self.play(Phase::Stops).map(drop)
    }

    /// Sends every frame that waits, each station's next one once the one before was answered.
    fn play(&mut self, phase: Phase) -> Result<Duration> {
        let mut events = Events::with_capacity(1_024);
        let mut chunk = vec![0; READ_BYTES];
        self.outstanding = self.stations.iter().map(|station| station.frames.len()).sum();
        let began = Instant::now();
        for station in &mut self.stations {
            station.send_next()?;
        }
        while self.outstanding > 0 {
            self.poll.poll(&mut events, Some(Duration::from_secs(1))).during("polling")?;
            for event in &events {
                self.read(event.token().0, phase, &mut chunk)?;
            }
            if began.elapsed() > ROUND_TIMEOUT {
                let left = self.outstanding;
                return Err(BenchError::Answer(format!("{left} calls were never answered")));
            }
        }
        Ok(began.elapsed())
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
                station.send_next()?;
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
    const NAME: &[u8] = b"\"transactionId\":";
    let at = memmem::find(text, NAME)? + NAME.len();
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

pub(crate) fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(0);
    Timestamp::from_millis(millis).to_rfc3339()
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
