//! A client that wants to start a charge every 10 ms, whatever became of the ones before, and notes how long each
//! had to wait.
//!
//! Each start is by another station, partition after partition, so that a partition that nobody serves shows
//! within some tens of milliseconds. A start that is refused is asked for again; what counts is the time from
//! when it was due to its acceptance. A station whose node has gone connects to another one.

use crate::error::{BenchError, During as _, Result};
use crate::provision;
use crate::start_charge::{accepted, frame, now, take_text, transaction_id};
use crate::station;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Between two starts.
const EVERY: Duration = Duration::from_millis(10);
/// A start that waits longer will not come to be.
const PATIENCE: Duration = Duration::from_secs(60);
/// Before a refused start is asked for again, and between two tries to connect.
const PAUSE: Duration = Duration::from_millis(10);
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// How a start went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) due: Instant,
    pub(super) waited: Duration,
}

/// The stations, each a thread that waits for its turns.
pub(super) struct Probe {
    turns: Vec<mpsc::Sender<Instant>>,
    done: mpsc::Receiver<Result<Start>>,
    next: usize,
}

static ENDING: AtomicBool = AtomicBool::new(false);

impl Probe {
    /// Over stations `0..count`, at the addresses in turn. They are provisioned, with one connector.
    pub(super) fn new(addresses: &[SocketAddr], order: &[u32]) -> Result<Probe> {
        ENDING.store(false, Ordering::Relaxed);
        let (report, done) = mpsc::channel();
        let mut turns = Vec::new();
        for number in order.iter().copied() {
            let home = usize::try_from(number).expect("32 bits fit") % addresses.len();
            let socket = station::open(addresses[home], number)?;
            socket.set_read_timeout(Some(READ_TIMEOUT)).during("preparing a socket")?;
            let mut lane = Lane {
                number,
                addresses: addresses.to_vec(),
                at: home,
                socket: Some(socket),
                input: Vec::new(),
                calls: 0,
            };
            let (turn, due) = mpsc::channel::<Instant>();
            let report = report.clone();
            std::thread::spawn(move || {
                for due in due {
                    let went = lane.charge(due);
                    let failed = went.is_err();
                    if report.send(went).is_err() || failed {
                        return;
                    }
                }
            });
            turns.push(turn);
        }
        Ok(Probe { turns, done, next: 0 })
    }

    /// Starts for so long, and does something in between. Answers what each had to wait.
    pub(super) fn run(
        &mut self,
        before: Duration,
        event: impl FnOnce() -> Result<()>,
        after: Duration,
    ) -> Result<(Instant, Vec<Start>)> {
        let began = Instant::now();
        let end = began + before + after;
        let (mut due, mut event, mut at) = (began, Some(event), began);
        let mut asked = 0;
        while due < end {
            if due >= began + before
                && let Some(event) = event.take()
            {
                at = Instant::now();
                event()?;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let lane = self.next % self.turns.len();
            self.next += 1;
            let gone = |_| BenchError::Node("a station has given up".into());
            self.turns[lane].send(due).map_err(gone)?;
            asked += 1;
            due += EVERY;
        }
        let mut starts = Vec::with_capacity(asked);
        for _ in 0..asked {
            let late = |_| BenchError::Node("a start was never accepted".into());
            starts.push(self.done.recv_timeout(PATIENCE).map_err(late)??);
        }
        Ok((at, starts))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        ENDING.store(true, Ordering::Relaxed);
    }
}

/// One station.
struct Lane {
    number: u32,
    addresses: Vec<SocketAddr>,
    /// Which address it is at.
    at: usize,
    socket: Option<TcpStream>,
    input: Vec<u8>,
    calls: u64,
}

impl Lane {
    /// A start that was due at a time, and the stop after it.
    fn charge(&mut self, due: Instant) -> Result<Start> {
        let token = provision::token(self.number, 1);
        let stamp = now();
        let start = format!(
            "\"StartTransaction\",{{\"connectorId\":1,\"idTag\":\"{token}\",\
             \"meterStart\":1000,\"timestamp\":\"{stamp}\"}}"
        );
        let answer = self.until(&start, accepted)?;
        let waited = due.elapsed();
        let number = transaction_id(&answer);
        let number = number.ok_or_else(|| BenchError::Answer("a start without number".into()))?;
        let stop = format!(
            "\"StopTransaction\",{{\"meterStop\":1000,\"timestamp\":\"{stamp}\",\
             \"transactionId\":{number},\"reason\":\"Local\"}}"
        );
        self.until(&stop, |_| true)?;
        Ok(Start { due, waited })
    }

    /// Says it again, on this socket or the next, until it is answered as wanted.
    fn until(&mut self, call: &str, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let limit = Instant::now() + PATIENCE;
        while Instant::now() < limit && !ENDING.load(Ordering::Relaxed) {
            match self.say(call) {
                Some(answer) if answer.starts_with(b"[3,") && wanted(&answer) => return Ok(answer),
                _ => std::thread::sleep(PAUSE),
            }
        }
        Err(BenchError::Answer(format!("station {} gave up: {call}", self.number)))
    }

    /// One try. `None`: the socket is gone, and another one is there or not.
    fn say(&mut self, call: &str) -> Option<Vec<u8>> {
        if self.socket.is_none() {
            self.at = (self.at + 1) % self.addresses.len();
            let socket = station::open(self.addresses[self.at], self.number).ok()?;
            socket.set_read_timeout(Some(READ_TIMEOUT)).ok()?;
            self.input.clear();
            self.socket = Some(socket);
        }
        self.calls += 1;
        let head = format!("[3,\"{}\",", self.calls);
        let text = frame(&format!("[2,\"{}\",{call}]", self.calls));
        let socket = self.socket.as_mut().expect("it was opened");
        let said = socket.write_all(&text).and_then(|()| {
            let mut chunk = [0; 2_048];
            loop {
                let read = socket.read(&mut chunk)?;
                if read == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                self.input.extend_from_slice(chunk.get(..read).unwrap_or_default());
                let wrong = |_| std::io::Error::from(ErrorKind::InvalidData);
                while let Some(answer) = take_text(&mut self.input).map_err(wrong)? {
                    if answer.starts_with(head.as_bytes()) || answer.starts_with(b"[4,") {
                        return Ok(answer);
                    }
                }
            }
        });
        if said.is_err() {
            self.socket = None;
        }
        said.ok()
    }
}
