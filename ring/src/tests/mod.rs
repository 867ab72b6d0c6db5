//! The ring on real loopback sockets and files. Every wait is for an event, with a deadline that fails the test.

mod drops;
mod echo;
mod ends;
mod files;
mod pressure;
mod reuse;
mod transfer;
mod wake;

use super::{Completion, ConnId, Ring, RingConfig};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn small() -> RingConfig {
    RingConfig { entries: 256, files_max: 2000, recv_buffers: 64, recv_buffer_bytes: 2048 }
}

fn listening(config: RingConfig) -> (Ring, SocketAddr) {
    let mut ring = Ring::new(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    ring.listen(listener, 7).unwrap();
    (ring, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Runs turns until `done` says so. It sees each completion once, all of the last turn's too.
fn run_until(ring: &mut Ring, mut done: impl FnMut(&mut Ring, Completion) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut out = Vec::new();
    let mut over = false;
    while !over {
        ring.submit_and_wait(Some(Duration::from_millis(500)), &mut out).unwrap();
        for completion in out.drain(..) {
            over |= done(ring, completion);
        }
        assert!(over || Instant::now() < deadline, "nothing came; {:?}", ring.stats());
    }
}

/// Runs turns for a while and returns all that happened.
fn run_for(ring: &mut Ring, duration: Duration) -> Vec<Completion> {
    let deadline = Instant::now() + duration;
    let mut all = Vec::new();
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        ring.submit_and_wait(Some(left), &mut all).unwrap();
    }
    all
}

fn accept_one(ring: &mut Ring) -> ConnId {
    let mut found = None;
    run_until(ring, |_, completion| match completion {
        Completion::Accepted { conn, listener: 7 } => found.replace(conn).is_none(),
        other => panic!("{other:?}"),
    });
    found.unwrap()
}

/// Waits for the `Closed` of this connection and returns its error; data and sends before it are ignored.
fn closed(ring: &mut Ring, which: ConnId) -> Option<io::Error> {
    let mut outcome = None;
    run_until(ring, |_, completion| match completion {
        Completion::Closed { conn, error } if conn == which => {
            outcome = error;
            true
        }
        Completion::Received { .. } | Completion::Sent { .. } => false,
        other => panic!("{other:?}"),
    });
    outcome
}

/// An owner that sends back whatever it receives, in order, one send at a time.
#[derive(Default)]
struct Echo {
    conns: BTreeMap<ConnId, Outgoing>,
    accepted: usize,
    closed: Vec<ConnId>,
}

#[derive(Default)]
struct Outgoing {
    queued: Vec<u8>,
    busy: bool,
}

impl Echo {
    fn handle(&mut self, ring: &mut Ring, completion: Completion) {
        match completion {
            Completion::Accepted { conn, .. } => {
                self.accepted += 1;
                assert!(self.conns.insert(conn, Outgoing::default()).is_none());
            }
            Completion::Received { conn, data } => {
                let outgoing = self.conns.get_mut(&conn).expect("a live connection");
                outgoing.queued.extend_from_slice(&data);
                outgoing.flush(ring, conn);
            }
            Completion::Sent { conn, buffer } => {
                assert!(buffer.is_empty());
                let outgoing = self.conns.get_mut(&conn).expect("a live connection");
                outgoing.busy = false;
                outgoing.flush(ring, conn);
            }
            Completion::Closed { conn, .. } => {
                assert!(self.conns.remove(&conn).is_some(), "closed twice or unknown: {conn:?}");
                self.closed.push(conn);
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Outgoing {
    fn flush(&mut self, ring: &mut Ring, conn: ConnId) {
        if !self.busy && !self.queued.is_empty() {
            match ring.send(conn, std::mem::take(&mut self.queued)) {
                Ok(()) => self.busy = true,
                // Ending or moving: the bytes are still the owner's.
                Err(buffer) => self.queued = buffer,
            }
        }
    }
}

/// Bytes that tell every position and stream apart.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
