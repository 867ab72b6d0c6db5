//! Charges that apps ask for: `POST /v1/sessions`, on sockets that stay open.
//!
//! Round by round one request for each connector goes out, from whichever app is free. A charge counts when its request
//! is answered 202 and the call that starts it is on its station's socket; its latency is that of the call. Off the
//! clock the stations then begin and end what they were told to.

use super::Round;
use super::load::{Load, Phase};
use crate::error::{BenchError, During as _, Result};
use crate::node::Node;
use crate::{provision, station};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Interest, Token};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

/// Rounds of the stations' own starts after those of apps are counted from here.
const AFTER_APPS: u32 = 1_000_000;

/// One app on its socket.
#[derive(Debug)]
pub(super) struct App {
    socket: TcpStream,
    /// Bytes of an answer that is not complete.
    input: Vec<u8>,
    /// It waits for an answer.
    busy: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Apps {
    apps: Vec<App>,
    key: String,
    host: String,
    registered: bool,
    /// Of the rounds, so that no two messages of a station have the same id.
    last_round: u32,
}

/// A request, and the place of its station and connector.
type Asking = (Vec<u8>, usize, usize);

impl Apps {
    pub(super) fn open(node: &Node, count: u32) -> Result<Apps> {
        let address = node.starts()?;
        let open = |_| {
            let socket = std::net::TcpStream::connect(address).during("connecting an app")?;
            socket.set_nodelay(true).during("connecting an app")?;
            socket.set_nonblocking(true).during("connecting an app")?;
            let socket = TcpStream::from_std(socket);
            Ok(App { socket, input: Vec::new(), busy: false })
        };
        let apps = (0..count).map(open).collect::<Result<Vec<App>>>()?;
        let (key, host) = (node.key().to_owned(), address.to_string());
        Ok(Apps { apps, key, host, registered: false, last_round: 0 })
    }

    fn register(&mut self, load: &Load) -> Result<()> {
        if std::mem::replace(&mut self.registered, true) {
            return Ok(());
        }
        for (at, app) in self.apps.iter_mut().enumerate() {
            let token = Token(load.stations.len() + at);
            let registered =
                load.poll.registry().register(&mut app.socket, token, Interest::READABLE);
            registered.during("registering a socket")?;
        }
        Ok(())
    }

    /// One for each connector, station after station.
    fn requests(&self, load: &Load, round: u32) -> VecDeque<Asking> {
        let request = |number: u32, connector: u16| {
            let (name, token) = (station::identity(number), provision::token(number, connector));
            let body = format!(
                "{{\"station\":\"{name}\",\"connector\":{connector},\"token\":\"{token}\"}}"
            );
            format!(
                "POST /v1/sessions HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
                 Idempotency-Key: {round}-{name}-{connector}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                self.host,
                self.key,
                body.len()
            )
            .into_bytes()
        };
        let mut all = VecDeque::with_capacity(load.per_round());
        for connector in 1..=load.connectors {
            for (at, station) in load.stations.iter().enumerate() {
                let place = usize::from(connector) - 1;
                all.push_back((request(station.number, connector), at, place));
            }
        }
        all
    }
}

impl Round for Apps {
    fn start(&mut self, load: &mut Load, round: u32) -> Result<Duration> {
        self.register(load)?;
        self.last_round = round;
        load.latencies_us.clear();
        let mut waiting = self.requests(load, round);
        let began = Instant::now();
        // Each is answered, and each has its station called.
        load.outstanding = 2 * waiting.len();
        let mut idle: Vec<usize> = (0..self.apps.len()).collect();
        while !waiting.is_empty() || load.outstanding > 0 {
            while let Some(at) = idle.pop() {
                let Some((request, station, place)) = waiting.pop_front() else { break };
                let station = load.stations.get_mut(station).expect("places are in the list");
                let asked = station.asked.get_mut(place).expect("connectors are in the list");
                *asked = Some(Instant::now());
                let app = self.apps.get_mut(at).expect("idle ones are in the list");
                app.send(&request)?;
            }
            load.turn(Phase::Apps, Duration::from_secs(1), &mut self.apps, &mut idle)?;
            load.check_hangs(began)?;
        }
        let elapsed = began.elapsed();
        assert_eq!(load.latencies_us.len(), load.per_round(), "each station was called");
        Ok(elapsed)
    }

    fn end(&mut self, load: &mut Load) -> Result<()> {
        // What was measured is kept: the stations' own starts are not it.
        let measured = load.take_latencies();
        load.starts(AFTER_APPS + self.last_round)?;
        load.latencies_us = measured;
        load.stops()
    }
}

impl App {
    fn send(&mut self, request: &[u8]) -> Result<()> {
        assert!(!self.busy, "one request is out at a time");
        self.busy = true;
        let written = self.socket.write(request).during("writing to the node")?;
        let whole = BenchError::Machine("a socket buffer is smaller than a request".into());
        if written == request.len() { Ok(()) } else { Err(whole) }
    }

    /// Reads what there is; whether the request that was out is answered.
    pub(super) fn read(&mut self, chunk: &mut [u8]) -> Result<bool> {
        loop {
            let read = match self.socket.read(chunk) {
                Ok(0) => return Err(BenchError::Node("it closed an app's socket".into())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(BenchError::System("reading from the node", error)),
            };
            self.input.extend_from_slice(chunk.get(..read).unwrap_or_default());
            if let Some(length) = answer_length(&self.input)? {
                let right = std::mem::take(&mut self.busy) && length == self.input.len();
                let answer = std::mem::take(&mut self.input);
                let said = || BenchError::Answer(String::from_utf8_lossy(&answer).into_owned());
                return if right { Ok(true) } else { Err(said()) };
            }
        }
    }
}

/// How long the answer at the start of `input` is, once all of it is there.
fn answer_length(input: &[u8]) -> Result<Option<usize>> {
    const LENGTH: &[u8] = b"Content-Length: ";
    let Some(head) = memmem::find(input, b"\r\n\r\n") else { return Ok(None) };
    let head_text = input.get(..head).unwrap_or_default();
    let said = || BenchError::Answer(String::from_utf8_lossy(input).into_owned());
    if !head_text.starts_with(b"HTTP/1.1 202 ") {
        return Err(said());
    }
    let at = memmem::find(head_text, LENGTH).ok_or_else(said)? + LENGTH.len();
    let digits = head_text.get(at..).unwrap_or_default();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let digits = std::str::from_utf8(digits.get(..end).unwrap_or_default()).map_err(|_| said())?;
    let length = head + 4 + digits.parse::<usize>().map_err(|_| said())?;
    Ok((input.len() >= length).then_some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        for cut in 0..answer.len() {
            assert_eq!(answer_length(&answer[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(answer_length(answer).unwrap(), Some(answer.len()));
        let refused = b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n";
        assert!(answer_length(refused).is_err());
    }
}
