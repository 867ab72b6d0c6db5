//! Messages that go out, come back and go out again: so many of each connection are on their way at any time.
//!
//! The bytes are those of a StartTransaction, each connection's its own. What comes back is compared with what was
//! sent, to the byte.

use crate::error::{BenchError, During as _, Result};
use crate::start_charge::frame;
use crate::station::in_threads;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Of a frame, its head included.
pub(crate) const MESSAGE_BYTES: usize = 200;
const READ_BYTES: usize = 16 * 1_024;
/// Longer than any server takes for a message under full load.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// One connection.
#[derive(Debug)]
struct Conn {
    socket: TcpStream,
    /// Its message, as often as it may go out at once.
    bytes: Vec<u8>,
    /// How much of a message has come back.
    at: usize,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    chunk: Vec<u8>,
    conns: Vec<Conn>,
    messages: u64,
}

impl Load {
    /// Connects, and sends the first messages.
    pub(crate) fn begin(address: SocketAddr, count: u32, depth: usize) -> Result<Load> {
        let sockets = in_threads(count, |number| connect(address, number))?;
        let poll = Poll::new().during("making a poll")?;
        let mut conns = Vec::with_capacity(sockets.len());
        for (number, socket) in (0_u32..).zip(sockets) {
            let mut socket = TcpStream::from_std(socket);
            let token = Token(conns.len());
            let registered = poll.registry().register(&mut socket, token, Interest::READABLE);
            registered.during("preparing a socket")?;
            conns.push(Conn { socket, bytes: message(number).repeat(depth), at: 0 });
        }
        for conn in &mut conns {
            conn.send(depth)?;
        }
        let (events, chunk) = (Events::with_capacity(1_024), vec![0; READ_BYTES]);
        Ok(Load { poll, events, chunk, conns, messages: 0 })
    }

    /// Goes on for so long; how many messages came back.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<u64> {
        let (began, before) = (Instant::now(), self.messages);
        while began.elapsed() < duration {
            self.poll.poll(&mut self.events, Some(SILENCE_MAX)).during("polling")?;
            if self.events.is_empty() {
                return Err(BenchError::Answer("an echo server fell silent".into()));
            }
            for event in &self.events {
                let conn = self.conns.get_mut(event.token().0).expect("tokens are places");
                self.messages += conn.read(&mut self.chunk)?;
            }
        }
        Ok(self.messages - before)
    }
}

impl Conn {
    fn send(&mut self, count: usize) -> Result<()> {
        let bytes = self.bytes.get(..count * MESSAGE_BYTES);
        let bytes =
            bytes.ok_or_else(|| BenchError::Answer("more came back than was sent".into()))?;
        // What is on its way is far below a socket's buffers.
        let written = self.socket.write(bytes).during("writing to an echo server")?;
        let whole = BenchError::Machine("a socket buffer is smaller than a few messages".into());
        if written == bytes.len() { Ok(()) } else { Err(whole) }
    }

    /// Reads what is there and sends as many messages again as came back whole.
    fn read(&mut self, chunk: &mut [u8]) -> Result<u64> {
        let mut back = 0;
        loop {
            let read = match self.socket.read(chunk) {
                Ok(0) => return Err(BenchError::Node("an echo server closed a socket".into())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(back),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(BenchError::System("reading from an echo server", error)),
            };
            let whole = self.compare(chunk.get(..read).unwrap_or_default())?;
            if whole > 0 {
                self.send(whole)?;
                back += u64::try_from(whole).expect("few");
            }
            if read < chunk.len() {
                // Edge-triggered: a full chunk may have left something behind, a part did not.
                return Ok(back);
            }
        }
    }

    /// Compares with what was sent; how many messages are whole by now.
    fn compare(&mut self, mut read: &[u8]) -> Result<usize> {
        let mut whole = 0;
        while !read.is_empty() {
            let (now, later) = read.split_at(read.len().min(MESSAGE_BYTES - self.at));
            if self.bytes.get(self.at..self.at + now.len()) != Some(now) {
                return Err(BenchError::Answer("an echo came back changed".into()));
            }
            self.at += now.len();
            if self.at == MESSAGE_BYTES {
                (self.at, whole) = (0, whole + 1);
            }
            read = later;
        }
        Ok(whole)
    }
}

/// A connection over which a message has gone and come back: none waits in the listener's queue, which is short.
fn connect(address: SocketAddr, number: u32) -> Result<std::net::TcpStream> {
    const WHAT: &str = "connecting to an echo server";
    let mut socket = std::net::TcpStream::connect(address).during(WHAT)?;
    socket.set_nodelay(true).during(WHAT)?;
    socket.set_read_timeout(Some(SILENCE_MAX)).during(WHAT)?;
    let (sent, mut back) = (message(number), [0; MESSAGE_BYTES]);
    socket.write_all(&sent).during(WHAT)?;
    socket.read_exact(&mut back).during(WHAT)?;
    if back != *sent {
        return Err(BenchError::Answer("an echo came back changed".into()));
    }
    socket.set_nonblocking(true).during(WHAT)?;
    Ok(socket)
}

/// A StartTransaction, of the length that those of stock clients have.
fn message(number: u32) -> Vec<u8> {
    let text = format!(
        "[2,\"3f2b8c1e-97a4-4c55-9d10-{number:012}\",\"StartTransaction\",{{\"connectorId\":1,\
         \"idTag\":\"DE-NVX-{number:013}\",\"meterStart\":1000,\"timestamp\":\"2026-01-02T03:04:05.678Z\"}}]"
    );
    let frame = frame(&format!("{text:<width$}", width = MESSAGE_BYTES - 8));
    assert_eq!(frame.len(), MESSAGE_BYTES, "a frame of more than 125 bytes has a head of 8");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Serves one connection: `change` may spoil what goes back of each read.
    fn echo(change: fn(u32, &mut [u8])) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it listens");
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("it comes");
            let mut chunk = [0; 333];
            let mut reads = 0;
            while let Ok(read @ 1..) = socket.read(&mut chunk) {
                reads += 1;
                change(reads, &mut chunk[..read]);
                if socket.write_all(&chunk[..read]).is_err() {
                    break;
                }
            }
        });
        address
    }

    #[test]
    fn messages_go_round_wherever_they_are_cut() {
        let mut load = Load::begin(echo(|_, _| {}), 1, 3).expect("connected");
        while load.messages < 500 {
            load.run(Duration::from_millis(1)).expect("all come back");
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let later = |read: u32, bytes: &mut [u8]| bytes[bytes.len() / 2] ^= u8::from(read > 9);
        let mut load = Load::begin(echo(later), 1, 1).expect("connected");
        let error = load.run(Duration::from_secs(60)).expect_err("it was changed");
        assert!(error.to_string().contains("changed"), "{error}");
        let error = Load::begin(echo(|_, bytes| bytes[0] ^= 1), 1, 1).expect_err("at once");
        assert!(error.to_string().contains("changed"), "{error}");
    }

    #[test]
    fn each_connection_has_a_message_of_its_own() {
        assert_ne!(message(1), message(2));
        assert_eq!(message(9_999).len(), MESSAGE_BYTES);
    }
}
