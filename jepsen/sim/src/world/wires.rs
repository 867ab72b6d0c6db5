//! Wires: what is on its way between stations and nodes, and between nodes.

use super::{At, Event, Socket, World};
use crate::node::{Input, id_of};
use crate::station::{self, Act};
use novax_model::{Duration, Timestamp};
use novax_shard::peers::{Lane, PeerSend};
use std::collections::BTreeMap;

impl World {
    pub(super) fn latency(&mut self) -> Duration {
        let ms = 1 + self.rng.below(60);
        let stall = if !self.ending && self.rng.one_in(300) { self.rng.below(8_000) } else { 0 };
        Duration::from_millis(ms + stall)
    }

    pub(super) fn send_to_station(&mut self, socket: usize, bytes: Vec<u8>) {
        let at = self.agenda.now().saturating_add(self.latency());
        let of = &mut self.sockets[socket];
        of.to_station_at = of.to_station_at.max(at);
        self.agenda.put(of.to_station_at, Event::ToStation { socket, bytes });
    }

    fn send_to_hub(&mut self, socket: usize, bytes: Vec<u8>) {
        let at = self.agenda.now().saturating_add(self.latency());
        let of = &mut self.sockets[socket];
        of.to_hub_at = of.to_hub_at.max(at);
        self.agenda.put(of.to_hub_at, Event::ToHub { socket, bytes });
    }

    fn is_open(&self, socket: usize) -> bool {
        self.sockets[socket].station_open
    }

    pub(super) fn reach(&mut self, socket: usize) {
        // A station is told of any node.
        let node = self.rng.below_usize(self.nodes.len());
        let ready = self.nodes[node].up.as_ref().filter(|up| up.is_ready());
        let Some(shards) = ready.map(|up| up.seats.len()).filter(|_| self.is_open(socket)) else {
            // Nobody listens.
            self.send_to_station(socket, Vec::new());
            return;
        };
        let at = At { node, shard: self.rng.below_usize(shards) };
        let seat = self.seat(at);
        let conn = seat.open(socket);
        seat.put(Input::Accepted(conn));
        self.sockets[socket].hub = Some((at, conn));
        self.sockets[socket].receiving = true;
        self.turn_soon(at);
        let delay = self.latency();
        self.agenda.put_in(delay, Event::Connected { socket });
    }

    pub(super) fn reach_hub(&mut self, socket: usize, bytes: Vec<u8>) {
        let of = &mut self.sockets[socket];
        if of.cut {
            return;
        }
        let Some((at, conn)) = of.hub else {
            if of.station_open && !bytes.is_empty() {
                // Whoever talks to a socket that is gone hears so.
                self.send_to_station(socket, Vec::new());
            }
            return;
        };
        if bytes.is_empty() {
            if of.receiving {
                self.hub_hears_end(socket);
            } else {
                of.held_end = true;
            }
        } else if of.receiving {
            self.put_if_open(at, conn, |conn| Input::Received(conn, bytes));
        } else {
            of.held.extend_from_slice(&bytes);
        }
    }

    pub(super) fn hub_hears_end(&mut self, socket: usize) {
        let Some((at, conn)) = self.sockets[socket].hub.take() else { return };
        let seat = self.seat(at);
        if seat.forget(conn).is_some() {
            seat.put(Input::Closed(conn));
            self.turn_soon(at);
        }
    }

    pub(super) fn tell_station(&mut self, socket: usize, event: station::Event) {
        let of = &mut self.sockets[socket];
        let station = of.station;
        if !of.station_open || of.cut {
            return;
        }
        if matches!(event, station::Event::Ended) {
            of.station_open = false;
            self.places[station].socket = None;
        }
        self.station(station, event);
    }

    pub(super) fn station_due(&mut self, station: usize) {
        if self.places[station].wake_at == self.agenda.now() {
            self.places[station].wake_at = Timestamp::MAX;
            self.station(station, station::Event::Woken);
        }
    }

    pub(super) fn wake(&mut self, station: usize) {
        let place = &mut self.places[station];
        // Never in the same instant again: a station that does nothing then would never let time pass.
        let soonest = self.agenda.now().saturating_add(Duration::from_millis(1));
        let at = place.station.wakeup().max(soonest);
        if at < place.wake_at {
            place.wake_at = at;
            self.agenda.put(at, Event::Station { station });
        }
    }

    pub(super) fn station(&mut self, station: usize, event: station::Event) {
        let mut acts = Vec::new();
        let now = self.agenda.now();
        self.places[station].station.handle(now, event, &mut self.truth, &mut acts);
        for act in acts {
            match act {
                Act::Connect => self.connect(station),
                Act::Send(bytes) => self.station_sends(station, bytes),
                Act::Close => self.station_closes(station),
                Act::App(evse, start) => self.app_starts(station, evse, start),
            }
        }
        self.wake(station);
    }

    fn connect(&mut self, station: usize) {
        assert!(self.places[station].socket.is_none(), "a station has one socket");
        self.sockets.push(Socket {
            station,
            hub: None,
            receiving: false,
            held: Vec::new(),
            held_end: false,
            station_open: true,
            cut: false,
            to_hub_at: self.agenda.now(),
            to_station_at: self.agenda.now(),
        });
        let socket = self.sockets.len() - 1;
        self.places[station].socket = Some(socket);
        let delay = self.latency();
        self.agenda.put_in(delay, Event::Reach { socket });
    }

    fn station_sends(&mut self, station: usize, mut bytes: Vec<u8>) {
        let Some(socket) = self.places[station].socket else { return };
        if self.rng.one_in(10) && bytes.len() > 1 {
            // In two parts, as networks do.
            let at = 1 + self.rng.below_usize(bytes.len() - 1);
            let rest = bytes.split_off(at);
            self.send_to_hub(socket, bytes);
            bytes = rest;
        }
        self.send_to_hub(socket, bytes);
    }

    fn station_closes(&mut self, station: usize) {
        let Some(socket) = self.places[station].socket.take() else { return };
        self.sockets[socket].station_open = false;
        if !self.ending && self.rng.one_in(4) {
            // The cable was cut: what is on its way is lost, and the hub finds out by silence.
            self.sockets[socket].cut = true;
        } else {
            self.send_to_hub(socket, Vec::new());
        }
    }

    /// From one node to another, unless the link is cut: what is on it then is lost, and what comes after too.
    pub(super) fn send_to_peer(&mut self, from: usize, send: PeerSend) {
        let PeerSend { to, lane, bytes } = send;
        let to = usize::try_from(to.get() - 1).expect("a place");
        if self.links.is_cut(from, to, self.agenda.now()) {
            return;
        }
        let slow = if !self.ending && self.rng.one_in(200) { self.rng.below(400_000) } else { 0 };
        let delay = Duration::from_micros(100 + self.rng.below(2_000) + slow);
        let at = self.links.arrival(from, to, self.agenda.now().saturating_add(delay));
        self.note(&bytes);
        let run = self.nodes[from].run;
        self.agenda.put(at, Event::ToPeer { run, from, to, lane, bytes: bytes.into() });
    }

    pub(super) fn reach_peer(&mut self, from: usize, to: usize, lane: Lane, bytes: &[u8]) {
        if self.links.is_cut(from, to, self.agenda.now()) {
            return;
        }
        let Some(up) = &mut self.nodes[to].up else { return };
        for shard in up.hear(id_of(from), lane, bytes) {
            self.turn_soon(At { node: to, shard });
        }
    }

    /// A part of the network goes: one direction of one link, or all of a node.
    pub(super) fn cut_links(&mut self) {
        let count = self.nodes.len();
        if self.ending || count < 2 {
            return;
        }
        let until = Duration::from_millis(200 + self.rng.below(15_000));
        let until = self.agenda.now().saturating_add(until);
        let node = self.rng.below_usize(count);
        let other = (node + 1 + self.rng.below_usize(count - 1)) % count;
        match self.rng.below(3) {
            0 => self.links.cut(node, other, until),
            1 => {
                self.links.cut(node, other, until);
                self.links.cut(other, node, until);
            }
            _ => {
                for other in (0..count).filter(|other| *other != node) {
                    self.links.cut(node, other, until);
                    self.links.cut(other, node, until);
                }
            }
        }
        let next = Duration::from_millis(1_000 + self.rng.below(90_000));
        self.agenda.put_in(next, Event::LinksBreak);
    }
}

/// The links between nodes: one in each direction.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Cut until then.
    cut: BTreeMap<(usize, usize), Timestamp>,
    /// When what was sent last arrives: nothing overtakes it.
    last: BTreeMap<(usize, usize), Timestamp>,
}

impl Links {
    fn cut(&mut self, from: usize, to: usize, until: Timestamp) {
        let place = self.cut.entry((from, to)).or_default();
        *place = (*place).max(until);
    }

    pub(super) fn is_cut(&self, from: usize, to: usize, now: Timestamp) -> bool {
        self.cut.get(&(from, to)).is_some_and(|until| *until > now)
    }

    /// All are whole again.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    fn arrival(&mut self, from: usize, to: usize, at: Timestamp) -> Timestamp {
        let last = self.last.entry((from, to)).or_default();
        *last = (*last).max(at);
        *last
    }
}
