//! A WebSocket as a station opens it, and as a station that behaves badly does.
//!
//! Blocking, with a deadline for each wait. What goes out can be any bytes; what comes in is read
//! with the codec of `wire`.

use novax_wire::http::{self, HttpError};
use novax_wire::ws::{self, Event, Limits, Receiver, Role};
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The handshake's key: it only has to be echoed.
const KEY: [u8; 16] = *b"a station's key!";
/// The mask of what we send: any will do on a loopback.
const MASK: [u8; 4] = [0x17, 0x2e, 0x45, 0x5c];

/// What the hub said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A text message.
    Text(String),
    /// It closes the WebSocket.
    Close {
        /// Why, as a number.
        code: Option<u16>,
        /// Why, in words.
        reason: String,
    },
    /// The connection ended, with or without a close frame before.
    End,
}

/// How a handshake went.
#[derive(Debug)]
pub enum Handshake {
    /// The WebSocket is open.
    Open(Socket),
    /// The hub answered with a status other than 101.
    Refused(u16),
}

impl Handshake {
    /// The open socket.
    ///
    /// # Panics
    /// When it was refused: for tests.
    #[track_caller]
    #[must_use]
    pub fn open(self) -> Socket {
        match self {
            Handshake::Open(socket) => socket,
            Handshake::Refused(status) => panic!("the handshake was refused with {status}"),
        }
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    receiver: Receiver,
    said: VecDeque<Said>,
    /// The subprotocol that the hub chose.
    pub subprotocol: Option<String>,
}

impl Socket {
    /// Opens a WebSocket at `path`, offering `protocols`.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is none.
    pub fn open(
        hub: SocketAddr,
        path: &str,
        protocols: &[&str],
        basic: Option<(&str, &str)>,
    ) -> io::Result<Handshake> {
        let mut stream = TcpStream::connect_timeout(&hub, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut request = Vec::new();
        http::client_request(&hub.to_string(), path, protocols, basic, &KEY, &mut request);
        stream.write_all(&request)?;
        let mut input = Vec::new();
        loop {
            match http::parse_client_response(&input, &KEY) {
                Ok(Some(accept)) => {
                    let limits = Limits { message_bytes_max: 1 << 20 };
                    let receiver = Receiver::new(Role::Client, limits);
                    let subprotocol = accept.subprotocol;
                    let said = VecDeque::new();
                    let mut socket = Socket { stream, receiver, said, subprotocol };
                    socket.take(&mut input[accept.head_len..])?;
                    return Ok(Handshake::Open(socket));
                }
                Ok(None) => {}
                Err(HttpError::Refused { status, .. }) => return Ok(Handshake::Refused(status)),
                Err(error) => return Err(io::Error::other(error)),
            }
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            input.extend_from_slice(&buffer[..count]);
        }
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        let mut frame = Vec::with_capacity(text.len() + 16);
        ws::write_text(text, Some(MASK), &mut frame);
        self.stream.write_all(&frame)
    }

    /// Sends a binary message.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send_binary(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        ws::write_binary(payload, Some(MASK), &mut frame);
        self.stream.write_all(&frame)
    }

    /// Sends these very bytes, whatever they are.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends without ever waiting: what the system takes. Answers how much that was.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn try_send(&mut self, text: &str) -> io::Result<usize> {
        let mut frame = Vec::with_capacity(text.len() + 16);
        ws::write_text(text, Some(MASK), &mut frame);
        self.stream.set_nonblocking(true)?;
        let sent = self.stream.write(&frame);
        self.stream.set_nonblocking(false)?;
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// The next thing the hub says; `None` when it says nothing for so long.
    ///
    /// # Errors
    /// When what came is no WebSocket.
    pub fn receive(&mut self, patience: Duration) -> io::Result<Option<Said>> {
        let limit = Instant::now() + patience;
        loop {
            if let Some(said) = self.said.pop_front() {
                return Ok(Some(said));
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => self.said.push_back(Said::End),
                Ok(count) => self.take(&mut buffer[..count])?,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(None),
                    io::ErrorKind::Interrupted => {}
                    // A killed hub resets: to a station that is an end like any other.
                    _ => self.said.push_back(Said::End),
                },
            }
        }
    }

    /// Reads until the end and answers the close frame before it, if there was one.
    ///
    /// # Panics
    /// When the end does not come in time: for tests.
    #[track_caller]
    pub fn end(&mut self, patience: Duration) -> Option<(Option<u16>, String)> {
        let limit = Instant::now() + patience;
        let mut closed = None;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            match self.receive(left).expect("what the hub sends is WebSocket") {
                Some(Said::End) => return closed,
                Some(Said::Close { code, reason }) => closed = Some((code, reason)),
                Some(Said::Text(_)) => {}
                None => panic!("the hub did not close within {patience:?}"),
            }
        }
    }

    /// Ends it without a word.
    pub fn cut(self) {
        // Already broken is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn take(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let (said, mut pongs) = (&mut self.said, Vec::new());
        let taken = self.receiver.receive(bytes, &mut |event| match event {
            Event::Text(text) => said.push_back(Said::Text(text.to_owned())),
            Event::Close { code, reason } => {
                said.push_back(Said::Close { code, reason: reason.to_owned() });
            }
            Event::Ping(payload) => ws::write_pong(payload, Some(MASK), &mut pongs),
            Event::Binary(_) | Event::Pong(_) => {}
        });
        taken.map_err(io::Error::other)?;
        if pongs.is_empty() { Ok(()) } else { self.stream.write_all(&pongs) }
    }
}
