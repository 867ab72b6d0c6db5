//! A process with a part of the stations: does what it is told on stdin, line by line, and says so on stdout.
//!
//! `open COUNT`: has so many stations open and booted. Answers `open COUNT`.
//! `beat PER_SECOND SECONDS`: heartbeats, station after station, evenly over the time; each must be answered. Answers
//! `beat ANSWERED WORST_US`.

use crate::error::{BenchError, During as _, Result};
use crate::start_charge::{frame, take_text};
use crate::station::{in_threads, open};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Where they connect and who they are.
#[derive(Debug, clap::Args)]
pub(crate) struct Task {
    #[arg(long)]
    address: SocketAddr,
    /// The number of the first station; the others follow it.
    #[arg(long)]
    first: u32,
}

/// Heartbeats are due so often, a few at a time.
const TURN: Duration = Duration::from_millis(2);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Station {
    socket: TcpStream,
    /// A heartbeat is out since then.
    sent: Option<Instant>,
    input: Vec<u8>,
}

#[derive(Debug)]
struct Stations {
    task: Task,
    poll: Poll,
    all: Vec<Station>,
    /// Whose turn it is.
    next: usize,
}

/// Until stdin ends.
pub(crate) fn serve(task: Task) -> Result<()> {
    let poll = Poll::new().during("making a poll")?;
    let mut stations = Stations { task, poll, all: Vec::new(), next: 0 };
    for line in std::io::stdin().lock().lines() {
        let line = line.during("reading what to do")?;
        let mut words = line.split(' ');
        let order = words.next();
        let numbers: Vec<u32> = words.filter_map(|word| word.parse().ok()).collect();
        let done = match (order, numbers.as_slice()) {
            (Some("open"), [count]) => stations.open(*count)?,
            (Some("beat"), [per_second, seconds]) => stations.beat(*per_second, *seconds)?,
            _ => return Err(BenchError::Machine(format!("no order is {line:?}"))),
        };
        println!("{done}");
    }
    Ok(())
}

impl Stations {
    fn open(&mut self, count: u32) -> Result<String> {
        let had = u32::try_from(self.all.len()).expect("files are counted in 32 bits");
        let (address, first) = (self.task.address, self.task.first + had);
        let more = in_threads(count.saturating_sub(had), |number| open(address, first + number))?;
        for socket in more {
            socket.set_nonblocking(true).during("preparing a socket")?;
            let mut socket = TcpStream::from_std(socket);
            let token = Token(self.all.len());
            let registered = self.poll.registry().register(&mut socket, token, Interest::READABLE);
            registered.during("preparing a socket")?;
            self.all.push(Station { socket, sent: None, input: Vec::new() });
        }
        Ok(format!("open {}", self.all.len()))
    }

    fn beat(&mut self, per_second: u32, seconds: u32) -> Result<String> {
        let beats = u64::from(per_second) * u64::from(seconds);
        let (mut sent, mut answered, mut worst) = (0_u64, 0_u64, Duration::ZERO);
        let beat = frame("[2,\"beat\",\"Heartbeat\",{}]");
        let mut events = Events::with_capacity(1_024);
        let began = Instant::now();
        while answered < beats {
            let elapsed = began.elapsed();
            let due = elapsed.as_secs_f64() * f64::from(per_second);
            while sent < beats && (sent as f64) < due && self.send_next(&beat)? {
                sent += 1;
            }
            self.poll.poll(&mut events, Some(TURN)).during("polling")?;
            for event in &events {
                let station = self.all.get_mut(event.token().0).expect("tokens are places");
                if let Some(waited) = station.read()? {
                    answered += 1;
                    worst = worst.max(waited);
                }
            }
            if elapsed > Duration::from_secs(u64::from(seconds)) + PATIENCE {
                let left = beats - answered;
                return Err(BenchError::Answer(format!("{left} heartbeats were never answered")));
            }
        }
        Ok(format!("beat {answered} {}", worst.as_micros()))
    }

    /// False: the station whose turn it is still waits for its last answer, and so do all.
    fn send_next(&mut self, beat: &[u8]) -> Result<bool> {
        let station = self.all.get_mut(self.next).expect("the next one is one of all");
        if station.sent.is_some() {
            return Ok(false);
        }
        station.sent = Some(Instant::now());
        // One small frame with nothing else in the socket's buffer always fits.
        let written = station.socket.write(beat).during("writing to the node")?;
        assert_eq!(written, beat.len(), "a socket buffer is larger than a message");
        self.next = (self.next + 1) % self.all.len();
        Ok(true)
    }
}

impl Station {
    /// How long its heartbeat took, if it is answered now.
    fn read(&mut self) -> Result<Option<Duration>> {
        let mut chunk = [0; 1_024];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(BenchError::Node("it closed a station's socket".into())),
                Ok(read) => self.input.extend_from_slice(chunk.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(BenchError::System("reading from the node", error)),
            }
        }
        let Some(text) = take_text(&mut self.input)? else { return Ok(None) };
        if self.input.is_empty() {
            // A hundred thousand of them: each costs nothing while it is silent.
            self.input = Vec::new();
        }
        match self.sent.take() {
            Some(sent) if text.starts_with(b"[3,\"beat\",{\"currentTime\":") => {
                Ok(Some(sent.elapsed()))
            }
            _ => Err(BenchError::Answer(String::from_utf8_lossy(&text).into_owned())),
        }
    }
}
