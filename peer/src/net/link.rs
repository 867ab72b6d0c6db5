//! The link to one peer, over all its connections.
//!
//! * While it is up, one loop reads, hands on, takes what is to be sent and writes; it writes at once when nothing is being written,
//!   and what gathers meanwhile goes with the next write.
//! * No turn of the loop goes on for long: other links share its thread.

use super::outbox::{Inbox, LANES};
use super::socket::{self, Established, Failed, READ_BYTES, refusal_of};
use super::stats::Counters;
use super::transfer::Transfers;
use super::{Common, Snapshot};
use crate::connection::{Connection, Event};
use crate::error::Refusal;
use crate::message::SnapshotId;
use bytes::BytesMut;
use novax_model::NodeId;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_rustls::TlsStream;

/// Reads and writes in one turn.
const STEPS_MAX: usize = 32;
/// The pause before the second call, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A connection that held so long makes the next call come at once.
const HELD: Duration = Duration::from_secs(2);

/// What a link is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// The peer has called.
    Adopt(Box<Established>),
    /// Send this.
    Snapshot(Snapshot),
    /// Stop sending it.
    Cancel(SnapshotId),
    /// The peer is called there now.
    Address(String),
    /// End this connection.
    Disconnect,
}

/// The link to one peer.
pub(super) struct Link {
    node: NodeId,
    address: String,
    common: Arc<Common>,
    inbox: Inbox,
    orders: mpsc::Receiver<Order>,
    counters: Arc<Counters>,
    transfers: Transfers,
    pause: Duration,
}

/// How a connection ended.
struct Ended {
    why: Refusal,
    /// The peer said so; otherwise this side refuses.
    by_peer: bool,
    /// The peer called anew.
    next: Option<Box<Established>>,
    /// It is a peer no more.
    gone: bool,
}

impl Ended {
    fn refused(why: Refusal) -> Ended {
        Ended { why, by_peer: false, next: None, gone: false }
    }
}

impl Link {
    pub(super) fn new(
        node: NodeId,
        address: String,
        common: Arc<Common>,
        inbox: Inbox,
        orders: mpsc::Receiver<Order>,
        counters: Arc<Counters>,
    ) -> Link {
        let (handler, pace) = (Arc::clone(&common.handler), Arc::clone(&common.pace));
        let transfers = Transfers::new(node, handler, pace, Arc::clone(&counters));
        Link { node, address, common, inbox, orders, counters, transfers, pause: Duration::ZERO }
    }

    /// Until the peer is one no more.
    pub(super) async fn run(mut self) {
        let mut next = None;
        loop {
            let established = match next.take() {
                Some(established) => established,
                None => match self.next_connection().await {
                    Some(established) => established,
                    None => break,
                },
            };
            let began = Instant::now();
            let ended = self.keep(*established).await;
            if began.elapsed() >= HELD {
                self.pause = Duration::ZERO;
            }
            next = ended.next;
            if ended.gone {
                break;
            }
        }
        self.transfers.give_up_all();
    }

    /// Calls the peer, or waits for its call.
    async fn next_connection(&mut self) -> Option<Box<Established>> {
        loop {
            let pause = self.next_pause();
            let (common, address) = (Arc::clone(&self.common), self.address.clone());
            let (node, calls) = (self.node, self.common.local.node < self.node);
            let calling = async move {
                tokio::time::sleep(pause).await;
                if !calls {
                    // Now and then, so that transfers that are over are seen.
                    return Err(Failed::Refused(Refusal::Lost));
                }
                socket::call(&common, node, &address).await
            };
            tokio::pin!(calling);
            let called = loop {
                tokio::select! {
                    called = &mut calling => break called,
                    order = self.orders.recv() => match order? {
                        Order::Adopt(established) => return Some(established),
                        Order::Address(address) => {
                            self.address = address;
                            self.pause = Duration::ZERO;
                            break Err(Failed::Refused(Refusal::Lost));
                        }
                        order => self.obey_while_down(order),
                    }
                }
            };
            self.transfers.settle(Instant::now());
            match called {
                Ok(established) => return Some(Box::new(established)),
                Err(failed) if calls => self.call_failed(failed),
                Err(_) => {}
            }
        }
    }

    fn call_failed(&self, failed: Failed) {
        if let Failed::Refused(refusal) = failed {
            self.common.refusals.count(refusal);
        }
        self.counters.set_standing(|standing| standing.ended = Some(failed.refusal()));
    }

    /// Nothing at first, then longer and longer, and never the same for all.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let mut random = [0; 2];
        // Without chance the pauses are only more alike.
        let chance = getrandom::fill(&mut random).map_or(0, |()| u16::from_le_bytes(random));
        pause / 2 + pause.mul_f64(f64::from(chance) / f64::from(u16::MAX))
    }

    fn obey_while_down(&mut self, order: Order) {
        match order {
            Order::Snapshot(snapshot) => self.transfers.add(Instant::now(), snapshot, None),
            Order::Cancel(id) => self.transfers.cancel(id, None),
            Order::Adopt(_) | Order::Address(_) | Order::Disconnect => {}
        }
    }

    /// One connection, from its greeting to its end.
    async fn keep(&mut self, established: Established) -> Ended {
        let Established { stream, connection, input, peer } = established;
        assert_eq!(peer.node, self.node, "the greeting was checked");
        let mut live = Live::new(stream, connection, input);
        self.counters.connects.fetch_add(1, Relaxed);
        self.counters.set_standing(|standing| standing.up = Some((peer.clone(), Instant::now())));
        self.inbox.open();
        self.common.handler.link_up(&peer);
        self.transfers.connected(Instant::now(), &mut live.connection);
        let ended = poll_fn(|cx| self.turn(cx, &mut live)).await;
        self.inbox.close();
        let why = ended.why;
        self.counters.set_standing(|standing| {
            standing.up = None;
            standing.ended = Some(why);
        });
        if !ended.by_peer {
            self.common.refusals.count(why);
        }
        self.common.handler.link_down(self.node, why);
        let begun = live.out.split_off(live.written);
        if ended.by_peer || why == Refusal::Lost {
            return ended;
        }
        live.connection.refuse(why);
        let goodbye = socket::say_goodbye(live.stream, live.connection, begun);
        if ended.gone {
            goodbye.await;
        } else {
            tokio::spawn(goodbye);
        }
        ended
    }

    /// All that can be done now.
    fn turn(&mut self, cx: &mut Context<'_>, live: &mut Live) -> Poll<Ended> {
        let now = Instant::now();
        if let Some(ended) = self.obey(cx, live, now) {
            return Poll::Ready(ended);
        }
        match self.read(cx, live, now).and_then(|()| self.write(cx, live, now)) {
            Ok(()) => Poll::Pending,
            Err(ended) => Poll::Ready(ended),
        }
    }

    fn obey(&mut self, cx: &mut Context<'_>, live: &mut Live, now: Instant) -> Option<Ended> {
        while let Poll::Ready(order) = self.orders.poll_recv(cx) {
            match order {
                None => return Some(Ended { gone: true, ..Ended::refused(Refusal::Closed) }),
                Some(Order::Adopt(next)) => {
                    return Some(Ended { next: Some(next), ..Ended::refused(Refusal::Replaced) });
                }
                Some(Order::Disconnect) => return Some(Ended::refused(Refusal::Closed)),
                Some(Order::Address(address)) => self.address = address,
                Some(Order::Snapshot(snapshot)) => {
                    self.transfers.add(now, snapshot, Some(&mut live.connection));
                }
                Some(Order::Cancel(id)) => self.transfers.cancel(id, Some(&mut live.connection)),
            }
        }
        None
    }

    fn read(&mut self, cx: &mut Context<'_>, live: &mut Live, now: Instant) -> Result<(), Ended> {
        // What came behind the greeting is there already.
        if std::mem::take(&mut live.fresh) {
            self.handle_input(live, now)?;
        }
        for _ in 0..STEPS_MAX {
            live.input.reserve(READ_BYTES);
            let reading = std::pin::pin!(live.stream.read_buf(&mut live.input));
            match reading.poll(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(Ended::refused(Refusal::Lost)),
                Poll::Ready(Ok(bytes)) => {
                    self.counters.bytes_in.fetch_add(bytes as u64, Relaxed);
                    self.handle_input(live, now)?;
                }
                Poll::Ready(Err(error)) => return Err(Ended::refused(refusal_of(&error))),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn handle_input(&mut self, live: &mut Live, now: Instant) -> Result<(), Ended> {
        let Live { connection, input, events, .. } = live;
        let refused = connection.handle_input(now, input, events);
        for event in events.drain(..) {
            match event {
                Event::Message(message) => {
                    self.counters.messages_in.fetch_add(1, Relaxed);
                    self.common.handler.message(self.node, message);
                }
                Event::Snapshot(said) => {
                    self.transfers.handle(now, said, connection).map_err(Ended::refused)?;
                }
                Event::RoundTrip(time) => {
                    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                    self.counters.round_trip_us.store(us, Relaxed);
                }
                Event::Bye(why) => {
                    let why = why.unwrap_or(Refusal::Lost);
                    return Err(Ended { by_peer: true, ..Ended::refused(why) });
                }
                Event::Greeted(_) => unreachable!("it greeted before it got here"),
            }
        }
        refused.map_err(Ended::refused)
    }

    fn write(&mut self, cx: &mut Context<'_>, live: &mut Live, now: Instant) -> Result<(), Ended> {
        for _ in 0..STEPS_MAX {
            self.take_messages(cx, live);
            let paced = self.transfers.poll(now, cx, &mut live.connection);
            live.connection.handle_timeout(now).map_err(Ended::refused)?;
            let wrote = live.write(cx, &self.counters);
            if live.arm(cx, now, paced) {
                // A time has come meanwhile.
                cx.waker().wake_by_ref();
                return Ok(());
            }
            match wrote {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) | Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(Ended::refused(refusal_of(&error))),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Messages that wait, as far as the connection has room for them.
    fn take_messages(&mut self, cx: &mut Context<'_>, live: &mut Live) {
        for (place, (lane, _)) in LANES.into_iter().enumerate() {
            while live.connection.has_room(lane) {
                let Poll::Ready(Some(message)) = self.inbox.poll_take(place, cx) else { break };
                self.counters.messages_out.fetch_add(1, Relaxed);
                let taken = live.connection.push(message);
                assert_eq!(taken, Ok(()), "it has room, and the outbox has checked the size");
            }
        }
    }
}

/// A connection that is up.
struct Live {
    stream: TlsStream<TcpStream>,
    connection: Connection,
    input: BytesMut,
    /// What came with the greeting was not looked at yet.
    fresh: bool,
    events: Vec<Event>,
    out: Vec<u8>,
    written: usize,
    /// TLS may hold bytes that it has not written.
    unflushed: bool,
    timer: Pin<Box<Sleep>>,
    armed: Instant,
}

impl Live {
    fn new(stream: TlsStream<TcpStream>, connection: Connection, input: BytesMut) -> Live {
        let armed = Instant::now();
        Live {
            stream,
            connection,
            input,
            fresh: true,
            events: Vec::new(),
            out: Vec::new(),
            written: 0,
            unflushed: false,
            timer: Box::pin(tokio::time::sleep_until(armed.into())),
            armed,
        }
    }

    /// Writes what waits; whether anything was written, so that there is room for more.
    fn write(&mut self, cx: &mut Context<'_>, counters: &Counters) -> Poll<std::io::Result<bool>> {
        let mut wrote = false;
        if self.out.is_empty() && self.connection.wants_write() {
            self.connection.fill(&mut self.out);
        }
        while self.written < self.out.len() {
            let bytes = &self.out[self.written..];
            let n = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
            if n == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
            counters.bytes_out.fetch_add(n as u64, Relaxed);
            self.unflushed = true;
            wrote = true;
        }
        self.out.clear();
        self.written = 0;
        if self.unflushed {
            std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(wrote))
    }

    /// Sets the timer; whether its time is here already.
    fn arm(&mut self, cx: &mut Context<'_>, now: Instant, paced: Option<Instant>) -> bool {
        let next = self.connection.poll_timeout();
        let next = next.into_iter().chain(paced).min().unwrap_or(now + PAUSE_MAX);
        // Times mostly move away: the timer is let run out, and then set anew.
        if next < self.armed || self.timer.is_elapsed() {
            self.armed = next;
            self.timer.as_mut().reset(next.into());
        }
        self.timer.as_mut().poll(cx).is_ready()
    }
}
