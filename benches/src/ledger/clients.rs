//! Clients over sockets, each with one hold outstanding until its own is durable and booked: what PostgreSQL's
//! clients do. Holds that come while a write is on its way share the next.
//!
//! One thread acts for all clients, as `pgbench` does, and sends each hold by itself; the server sees 64
//! sockets and cannot tell.

use super::books::{Books, Spread, refused};
use super::durable::{Rate, apply};
use super::entry::{self, TRANSFER_BYTES};
use super::journal::Journal;
use super::number;
use crate::cpu;
use crate::error::{BenchError, During as _, Result};
use mio::net::UnixDatagram;
use mio::{Events, Interest, Poll, Token, Waker};
use novax_ledger::Ledger;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const CLIENTS: usize = 64;
const WAKE: Token = Token(CLIENTS);
const BOOKED: u8 = 1;
const PATIENCE: Duration = Duration::from_secs(30);

/// Places holds for the time.
pub(crate) fn run(dir: &Path, spread: Spread, time: Duration) -> Result<Rate> {
    let books = Books::new(spread);
    let mut ledger = books.open()?;
    let before = ledger.next_journal();
    let mut server = Server::start(dir)?;
    let direct = server.journal.is_direct();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let (server, client) = UnixDatagram::pair().during("making sockets")?;
        ours.push(server);
        theirs.push(client);
    }
    std::thread::scope(|scope| {
        let clients = scope.spawn(move || act_for_clients(books, &mut theirs, time));
        let (begun, used) = (Instant::now(), cpu::of_thread());
        let booked = server.serve(&mut ours, &mut ledger, begun + time)?;
        let (wall, cpu) = (begun.elapsed(), cpu::of_thread() - used);
        drop(ours);
        let answered = clients.join().expect("clients do not panic")?;
        let written = server.journal.close(dir)?;
        let cpu = cpu + written.cpu;
        ledger.audit().map_err(|error| refused(&error))?;
        let booked_there = ledger.next_journal() - before;
        if answered != booked || booked != booked_there || ledger.holds().count() as u64 != booked {
            return Err(BenchError::Answer(format!("{answered} answers, {booked_there} holds")));
        }
        let per_s = number(booked) / wall.as_secs_f64();
        let cpu_us = cpu.as_secs_f64() * 1e6 / number(booked);
        Ok(Rate { per_s, cpu_us, write_us: written.each_us(), direct })
    })
}

/// What stands between sockets and ledger.
struct Server {
    poll: Poll,
    /// What belongs to an entry: whose holds they are.
    journal: Journal<Vec<usize>>,
    /// The entry that gathers, and whose holds it has.
    gathering: (Vec<u8>, Vec<usize>),
    index: u64,
}

impl Server {
    fn start(dir: &Path) -> Result<Server> {
        let poll = Poll::new().during("making a poll")?;
        let waker = Waker::new(poll.registry(), WAKE).during("making a waker")?;
        // A wake that fails would be seen as silence.
        let journal = Journal::start(dir, Arc::new(move || drop(waker.wake())))?;
        Ok(Server { poll, journal, gathering: Default::default(), index: 1 })
    }

    /// Serves until the time is over, and until what was taken by then is answered; returns how many holds.
    fn serve(
        &mut self,
        sockets: &mut [UnixDatagram],
        ledger: &mut Ledger,
        until: Instant,
    ) -> Result<u64> {
        for (number, socket) in sockets.iter_mut().enumerate() {
            let registry = self.poll.registry();
            registry.register(socket, Token(number), Interest::READABLE).during("watching")?;
        }
        let mut events = Events::with_capacity(CLIENTS + 1);
        let mut booked = 0;
        loop {
            self.poll.poll(&mut events, Some(PATIENCE)).during("waiting for holds")?;
            let open = Instant::now() < until;
            for token in events.iter().map(|event| event.token().0) {
                // A hold that comes too late is not taken; its client hears the end.
                if let Some(socket) = sockets.get(token).filter(|_| open) {
                    self.receive(socket, token)?;
                }
            }
            let durable = self.journal.take_durable()?;
            // The next write first: the disk works while the ledger does.
            if !self.gathering.1.is_empty() && !self.journal.is_writing() {
                let (entry, clients) = std::mem::take(&mut self.gathering);
                self.journal.submit(entry, clients);
            }
            for (entry, clients) in durable {
                self.index += 1;
                booked += apply(ledger, self.index, &entry)?;
                for client in clients {
                    sockets[client].send(&[BOOKED]).during("answering a client")?;
                }
            }
            if !open && !self.journal.is_writing() && self.gathering.1.is_empty() {
                return Ok(booked);
            }
        }
    }

    /// Takes the one hold that a client has outstanding.
    fn receive(&mut self, socket: &UnixDatagram, client: usize) -> Result<()> {
        let mut hold = [0; TRANSFER_BYTES];
        let bytes = socket.recv(&mut hold).during("taking a hold")?;
        if bytes != TRANSFER_BYTES {
            return Err(BenchError::Answer(format!("a hold of {bytes} bytes")));
        }
        self.gathering.0.extend_from_slice(&hold);
        self.gathering.1.push(client);
        assert!(self.gathering.1.len() <= CLIENTS, "each has one outstanding");
        Ok(())
    }
}

/// Sends each client's next hold when its last is answered; returns how many were, a while after the time.
fn act_for_clients(books: Books, sockets: &mut [UnixDatagram], time: Duration) -> Result<u64> {
    let mut poll = Poll::new().during("making a poll")?;
    let until = Instant::now() + time + Duration::from_millis(500);
    let (mut session, mut answered, mut hold) = (0, 0, Vec::with_capacity(TRANSFER_BYTES));
    let mut send = |socket: &UnixDatagram| {
        hold.clear();
        entry::encode(books.hold_key(session), &[books.hold(session)], &mut hold);
        session += 1;
        // Who serves ends at its time; a hold sent after that has nobody to go to.
        socket.send(&hold).is_ok()
    };
    for (number, socket) in sockets.iter_mut().enumerate() {
        let registry = poll.registry();
        registry.register(socket, Token(number), Interest::READABLE).during("watching")?;
        send(socket);
    }
    let mut events = Events::with_capacity(CLIENTS);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        poll.poll(&mut events, Some(left)).during("waiting for answers")?;
        for event in &events {
            let socket = &sockets[event.token().0];
            let mut answer = [0];
            if socket.recv(&mut answer).is_ok() && answer == [BOOKED] {
                answered += 1;
                send(socket);
            }
        }
    }
    Ok(answered)
}
