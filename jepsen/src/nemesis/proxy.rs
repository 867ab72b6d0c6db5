//! A TCP proxy of our own: a cable that is slow, uneven or silent, each direction by itself.
//!
//! The kernel here cannot delay packets (no `netem`), and a proxy can do what it cannot: hold back one direction
//! of one connection. Bytes stay in order, as TCP has it.
//!
//! **Invariants**
//! * A direction holds back no more than [`CHUNKS_MAX`] chunks of [`CHUNK_BYTES`]: then it stops reading, and
//!   the sender feels it.
//! * No more than [`CONNECTIONS_MAX`] connections at once; more are refused by closing them.
//! * Dropped, it closes everything and its threads end.

use crate::harness::{Doing as _, HarnessError};
use crate::random::Random;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes read at once.
pub const CHUNK_BYTES: usize = 16 << 10;
/// Chunks held back at most.
pub const CHUNKS_MAX: usize = 256;
/// Connections at once at most.
pub const CONNECTIONS_MAX: usize = 256;
/// How often a thread that waits looks whether it is over.
const TICK: Duration = Duration::from_millis(20);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From who connects to the target.
    There,
    /// From the target.
    Back,
}

/// What is done to bytes of a direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delay {
    /// Each chunk waits this long.
    pub base: Duration,
    /// And up to this much more, by chance.
    pub jitter: Duration,
    /// Nothing gets through until this is taken back; nothing is lost either.
    pub silent: bool,
}

#[derive(Debug, Default)]
struct Lane {
    delay: Mutex<Delay>,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    there: Lane,
    back: Lane,
    over: AtomicBool,
    connections: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
    seed: u64,
}

/// A proxy to one target.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Proxy {
    /// Listens, in the network of the calling thread, and passes on to the target from there.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(listen: SocketAddr, target: SocketAddr, seed: u64) -> Result<Proxy, HarnessError> {
        let doing = || format!("a proxy on {listen}");
        let socket = TcpListener::bind(listen).doing(doing)?;
        let address = socket.local_addr().doing(doing)?;
        socket.set_nonblocking(true).doing(doing)?;
        let shared = Arc::new(Shared {
            there: Lane::default(),
            back: Lane::default(),
            over: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            open: Mutex::new(Vec::new()),
            seed,
        });
        let theirs = Arc::clone(&shared);
        // Threads begin in the network of who starts them.
        let listener = std::thread::spawn(move || listen_until_over(&socket, target, &theirs));
        Ok(Proxy { shared, listener: Some(listener), address })
    }

    /// From now on this is done to bytes of a direction.
    pub fn set(&self, direction: Direction, delay: Delay) {
        *self.shared.lane(direction).delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// Ends all connections without a word; new ones are taken.
    pub fn cut(&self) {
        for socket in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Bytes that got through.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.lane(direction).bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.cut();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Shared {
    fn lane(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::There => &self.there,
            Direction::Back => &self.back,
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

fn listen_until_over(socket: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    let mut number = 0;
    while !shared.is_over() {
        let Ok((from, _)) = socket.accept() else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        number += 1;
        if shared.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A target that is not there is a connection that ends at once.
            if let Ok(to) = TcpStream::connect_timeout(&target, Duration::from_secs(5)) {
                let _ = pass(&from, &to, &shared, number);
            }
            let _ = from.shutdown(Shutdown::Both);
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Passes bytes both ways until one side ends.
fn pass(
    from: &TcpStream,
    to: &TcpStream,
    shared: &Arc<Shared>,
    number: u64,
) -> std::io::Result<()> {
    from.set_nonblocking(false)?;
    for socket in [from, to] {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TICK))?;
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|socket| socket.peer_addr().is_ok());
        open.push(socket.try_clone()?);
    }
    std::thread::scope(|scope| {
        for (reader, writer, direction) in
            [(from, to, Direction::There), (to, from, Direction::Back)]
        {
            let (send, receive) = sync_channel(CHUNKS_MAX);
            let random =
                Random::new(shared.seed, number * 2 + u64::from(direction == Direction::Back));
            scope.spawn(move || read(reader, &send, shared, direction, random));
            scope.spawn(move || write(writer, &receive, shared, direction));
        }
    });
    Ok(())
}

type Chunk = (Instant, Vec<u8>);

fn read(
    mut from: &TcpStream,
    send: &SyncSender<Chunk>,
    shared: &Shared,
    direction: Direction,
    mut random: Random,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while !shared.is_over() {
        let count = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if is_early(&error) => continue,
            Err(_) => return,
        };
        let delay = *shared.lane(direction).delay.lock().unwrap_or_else(PoisonError::into_inner);
        let jitter_us = u64::try_from(delay.jitter.as_micros()).unwrap_or(u64::MAX - 1);
        let jitter = Duration::from_micros(random.between(0, jitter_us + 1));
        // When too much is held back this waits, and nothing more is read.
        if send.send((Instant::now() + delay.base + jitter, buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

fn write(mut to: &TcpStream, receive: &Receiver<Chunk>, shared: &Shared, direction: Direction) {
    let lane = shared.lane(direction);
    while let Ok((due, bytes)) = receive.recv() {
        loop {
            let silent = lane.delay.lock().unwrap_or_else(PoisonError::into_inner).silent;
            let left = due.saturating_duration_since(Instant::now());
            if shared.is_over() {
                return;
            }
            if left.is_zero() && !silent {
                break;
            }
            std::thread::sleep(if left.is_zero() { TICK } else { left.min(TICK) });
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
        lane.bytes.fetch_add(u64::try_from(bytes.len()).unwrap_or(0), Ordering::Relaxed);
    }
    // The reader has ended, or the writer cannot go on: both sides learn of it.
    let _ = to.shutdown(Shutdown::Write);
}

fn is_early(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte with the next one.
    fn server() -> SocketAddr {
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = socket.local_addr().expect("bound");
        std::thread::spawn(move || {
            for client in socket.incoming().take(8) {
                let mut client = client.expect("a client");
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while client.read_exact(&mut byte).is_ok() {
                        if client.write_all(&[byte[0].wrapping_add(1)]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn client(proxy: &Proxy) -> TcpStream {
        let socket = TcpStream::connect(proxy.address).expect("connects");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        socket.set_nodelay(true).expect("set");
        socket
    }

    fn round(client: &mut TcpStream, byte: u8) -> Duration {
        let begun = Instant::now();
        client.write_all(&[byte]).expect("written");
        let mut answer = [0];
        client.read_exact(&mut answer).expect("answered");
        assert_eq!(answer[0], byte.wrapping_add(1));
        begun.elapsed()
    }

    #[test]
    fn each_direction_is_as_slow_as_it_is_told_and_bytes_stay_in_order() {
        let proxy =
            Proxy::start("127.0.0.1:0".parse().expect("any"), server(), 1).expect("listens");
        let mut client = client(&proxy);
        round(&mut client, 1);
        let slow = |base, jitter| Delay {
            base: Duration::from_millis(base),
            jitter: Duration::from_millis(jitter),
            silent: false,
        };
        proxy.set(Direction::There, slow(80, 0));
        assert!(round(&mut client, 2) >= Duration::from_millis(80));
        proxy.set(Direction::Back, slow(120, 40));
        assert!(round(&mut client, 3) >= Duration::from_millis(200));
        // Written one after the other, answered in that order whatever each waits.
        let bytes: Vec<u8> = (10..40).collect();
        for byte in &bytes {
            client.write_all(&[*byte]).expect("written");
        }
        let mut answers = vec![0; bytes.len()];
        client.read_exact(&mut answers).expect("answered");
        assert_eq!(answers, (11..41).collect::<Vec<u8>>());
        assert_eq!((proxy.bytes(Direction::There), proxy.bytes(Direction::Back)), (33, 33));
    }

    #[test]
    fn a_silent_direction_loses_nothing_and_a_cut_ends_what_is_open() {
        let proxy =
            Proxy::start("127.0.0.1:0".parse().expect("any"), server(), 1).expect("listens");
        let mut first = client(&proxy);
        proxy.set(Direction::Back, Delay { silent: true, ..Delay::default() });
        first.write_all(&[5]).expect("written");
        first.set_read_timeout(Some(Duration::from_millis(150))).expect("set");
        let mut answer = [0];
        assert!(first.read_exact(&mut answer).is_err(), "silence");
        proxy.set(Direction::Back, Delay::default());
        first.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        first.read_exact(&mut answer).expect("answered after all");
        assert_eq!(answer, [6]);
        proxy.cut();
        assert!(first.write_all(&[7]).is_err() || first.read_exact(&mut answer).is_err());
        round(&mut client(&proxy), 8);
    }
}
