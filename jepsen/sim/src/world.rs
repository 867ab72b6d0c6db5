//! The world: a hub, its stations, drivers' apps, a payment provider, and what goes wrong between them, in one
//! thread and under one clock.
//!
//! **Invariants**
//! * A run depends on its plan alone: the same seed makes the same events at the same times.
//! * What one end of a socket sends arrives at the other in order, all of it up to some point, or nothing more.
//! * First anything may go wrong; then nothing does any more, and all must come to rest.

use crate::WorldError;
use crate::agenda::Agenda;
use crate::checker;
use crate::client::{Done, Op, Task};
use crate::node::{Input, Node, Shape};
use crate::plan::Plan;
use crate::provider::{Provider, Reply};
use crate::station::{self, Act, Station};
use crate::truth::{AppStart, Means, Truth};
use novax_charging::{Keyspace, PaymentRow, Refusal, rows};
use novax_log::sim::Rng;
use novax_model::{Duration, PartitionId, Timestamp};
use novax_shard::{ConnId, Effects};
use std::collections::VecDeque;

/// When every world begins: 22 November 2026, 13:14:24 UTC.
const BEGINNING: Timestamp = Timestamp(1_795_353_264_000_000);
/// All must have come to rest so long after the last fault.
const REST_MAX: Duration = Duration::from_secs(100 * 3_600);
/// So often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Stations named in a report that not all came to rest.
const RESTLESS_SHOWN_MAX: usize = 3;
/// Events at the same time, at most: more is a loop.
const EVENTS_PER_INSTANT_MAX: u32 = 100_000;

/// Something that is due.
#[derive(Debug)]
enum Event {
    /// A shard's turn, of a run of the node.
    Turn { run: u64, shard: usize },
    /// The log write of a shard reaches the disk.
    Write { run: u64, shard: usize },
    /// A job of the stores.
    Job { run: u64 },
    /// A station's wish for a connection reaches the hub.
    Reach { socket: usize },
    /// It is answered.
    Connected { socket: usize },
    /// Bytes or, with none, the end, reach the hub.
    ToHub { socket: usize, bytes: Vec<u8> },
    /// Bytes or, with none, the end, reach the station.
    ToStation { socket: usize, bytes: Vec<u8> },
    /// A buffer of the hub is out.
    Sent { run: u64, shard: usize, conn: ConnId, buffer: Vec<u8> },
    /// A station wants to be woken.
    Station { station: usize },
    /// Somebody asks the hub.
    Ask { op: Op },
    /// The power goes now.
    PowerGoes,
    /// The power goes with one of the next operations of the disk.
    PowerGoesSoon { operations: u64 },
    /// The power is back.
    PowerIsBack,
    /// A driver pays in.
    PayIn,
    /// An app wants a charge to end.
    AppStops,
}

/// A connection between a station and the hub.
#[derive(Debug)]
struct Socket {
    station: usize,
    /// The hub's end: which shard knows it by which name.
    hub: Option<(usize, ConnId)>,
    /// The hub takes what comes.
    receiving: bool,
    /// What came before it did.
    held: Vec<u8>,
    held_end: bool,
    station_open: bool,
    /// The cable is cut: neither end hears of the other again.
    cut: bool,
    to_hub_at: Timestamp,
    to_station_at: Timestamp,
}

#[derive(Debug)]
struct Place {
    station: Station,
    socket: Option<usize>,
    wake_at: Timestamp,
}

/// Figures of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Losses of power.
    pub crashes: u64,
    /// Of these, in the middle of a start.
    pub crashed_starts: u64,
    /// Starts acknowledged to stations.
    pub starts: usize,
    /// Stops acknowledged to stations.
    pub stops: usize,
    /// Sessions promised to apps.
    pub promises: usize,
    /// Events.
    pub events: u64,
    /// Simulated seconds.
    pub seconds: u64,
}

/// A world.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    rng: Rng,
    agenda: Agenda<Event>,
    node: Node,
    /// The next run of the node has this many shards.
    shards: u16,
    job_due: bool,
    sockets: Vec<Socket>,
    places: Vec<Place>,
    truth: Truth,
    provider: Provider,
    setup: VecDeque<Op>,
    /// A step of the setup is under way.
    setting_up: bool,
    tasks: Vec<Task>,
    deposits: u64,
    ending: bool,
    counts: Counts,
    digest: u64,
}

impl World {
    /// The world of a plan, with nothing in it but switched-on stations and an operator who sets up the rest.
    #[must_use]
    pub fn new(plan: Plan) -> World {
        let mut rng = Rng::new(plan.seed);
        let (setups, drivers) = plan.people();
        let setup = setup(&plan, &setups, &drivers);
        let place = |setup| Place {
            station: Station::new(setup, rng.next(), BEGINNING),
            socket: None,
            wake_at: Timestamp::MAX,
        };
        let places: Vec<Place> = setups.into_iter().map(place).collect();
        let mut world = World {
            agenda: Agenda::new(BEGINNING),
            node: Node::new(Shape { partitions: plan.partitions }),
            shards: 1,
            job_due: false,
            sockets: Vec::new(),
            places,
            truth: Truth { drivers, ..Truth::default() },
            provider: Provider::new(rng.next()),
            setup,
            setting_up: false,
            tasks: Vec::new(),
            deposits: 0,
            ending: false,
            counts: Counts::default(),
            digest: 0xcbf2_9ce4_8422_2325,
            rng,
            plan,
        };
        world.agenda.put_in(Duration::ZERO, Event::PowerIsBack);
        world.agenda.put_in(Duration::from_secs(30), Event::PayIn);
        world.agenda.put_in(Duration::from_secs(60), Event::AppStops);
        for station in 0..world.places.len() {
            world.wake(station);
        }
        world
    }

    /// Runs to the end, and checks.
    ///
    /// # Errors
    /// What the hub did not keep, or that the run itself is broken.
    pub fn run(&mut self) -> Result<Counts, WorldError> {
        self.run_until(BEGINNING.saturating_add(self.plan.duration))?;
        self.end();
        let limit = self.agenda.now().saturating_add(REST_MAX);
        while !self.is_at_rest() {
            if self.agenda.now() >= limit {
                return Err(self.restless());
            }
            self.reconcile();
            let next = self.agenda.now().saturating_add(LOOK_EVERY);
            self.run_until(next)?;
        }
        self.check()
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// As [`World::run`].
    pub fn run_until(&mut self, until: Timestamp) -> Result<(), WorldError> {
        let (mut instant, mut events) = (self.agenda.now(), 0);
        while let Some(event) = self.agenda.next(until) {
            if self.agenda.now() > instant {
                (instant, events) = (self.agenda.now(), 0);
            }
            events += 1;
            if events > EVENTS_PER_INSTANT_MAX {
                return Err(WorldError::Broken(format!("too much at once: {event:?}")));
            }
            self.counts.events += 1;
            self.handle(event)?;
            if self.node.up.is_some() && self.node.disk.is_power_gone() {
                self.crash()?;
            }
        }
        Ok(())
    }

    /// A number that is the same for the same run: of all that was sent, and when.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// What really happened.
    #[must_use]
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    fn note(&mut self, bytes: &[u8]) {
        for byte in self.agenda.now().0.to_le_bytes().iter().chain(bytes) {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), WorldError> {
        let run = self.node.run;
        match event {
            Event::Turn { run: of, shard } if of == run => self.turn(shard),
            Event::Write { run: of, shard } if of == run => {
                if self.node.write(shard) {
                    self.turn_soon(shard);
                }
            }
            Event::Job { run: of } if of == run => self.job(),
            Event::Sent { run: of, shard, conn, buffer } if of == run => {
                self.put_if_open(shard, conn, |conn| Input::Sent(conn, buffer));
            }
            // Of a run that is over.
            Event::Turn { .. } | Event::Write { .. } | Event::Job { .. } | Event::Sent { .. } => {}
            Event::Reach { socket } => self.reach(socket),
            Event::Connected { socket } => self.tell_station(socket, station::Event::Connected),
            Event::ToHub { socket, bytes } => self.to_hub(socket, bytes),
            Event::ToStation { socket, bytes } if bytes.is_empty() => {
                self.tell_station(socket, station::Event::Ended);
            }
            Event::ToStation { socket, bytes } => {
                self.tell_station(socket, station::Event::Bytes(bytes));
            }
            Event::Station { station } => self.station_due(station),
            Event::Ask { op } => self.ask(op),
            Event::PowerGoes | Event::PowerGoesSoon { .. } if self.ending => {}
            Event::PowerGoes if self.node.up.is_some() => self.crash()?,
            Event::PowerGoesSoon { operations } if self.node.up.is_some() => {
                self.node.disk.cut_power_after(operations);
            }
            // It is off already.
            Event::PowerGoes | Event::PowerGoesSoon { .. } => {}
            Event::PowerIsBack => self.power_is_back()?,
            Event::PayIn => self.pay_in(),
            Event::AppStops => self.app_stops(),
        }
        Ok(())
    }
}

/// Who is set up in what order: sites before their stations, drivers before their money.
fn setup(plan: &Plan, setups: &[station::Setup], drivers: &[crate::truth::Driver]) -> VecDeque<Op> {
    let home = |number: usize| {
        let number = number % usize::from(plan.partitions);
        PartitionId(u16::try_from(number).expect("below the number of partitions"))
    };
    let mut ops: VecDeque<Op> = (0..plan.sites).map(|site| Op::Site(site, home(site))).collect();
    for (number, driver) in drivers.iter().enumerate() {
        ops.push_back(Op::Driver(driver.clone(), home(number * 7 / 2)));
        if driver.means == Means::Card {
            ops.push_back(Op::Fund(driver.clone()));
        }
        if let Some(amount) = driver.first_deposit() {
            let (name, key) = (driver.name.clone(), format!("first-{number}"));
            ops.push_back(Op::Deposit { driver: number, name, key, amount });
        }
    }
    for (number, setup) in setups.iter().enumerate() {
        ops.push_back(Op::Station(setup.identity.clone(), number % plan.sites));
    }
    ops
}

/// The hub: its power, its shards, its disk.
impl World {
    fn plan_fault(&mut self) {
        let Some(every) = self.plan.crash_every else { return };
        let about_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let delay = Duration::from_millis(self.rng.below(2 * about_ms));
        let event = if self.rng.one_in(2) {
            Event::PowerGoes
        } else {
            Event::PowerGoesSoon { operations: self.rng.below(300) }
        };
        self.agenda.put_in(delay, event);
    }

    fn crash(&mut self) -> Result<(), WorldError> {
        let was_up = self.node.up.is_some();
        drop(self.node.crash(self.rng.next()));
        self.counts.crashes += 1;
        self.counts.crashed_starts += u64::from(!was_up);
        self.job_due = false;
        // Whoever had asked never hears of it, and asks again.
        for task in std::mem::take(&mut self.tasks) {
            self.ask_later(task.op);
        }
        for socket in 0..self.sockets.len() {
            if self.sockets[socket].hub.take().is_some() && !self.rng.one_in(6) {
                self.send_to_station(socket, Vec::new());
            }
        }
        self.node.check_replay()?;
        let off = Duration::from_millis(50 + self.rng.below(20_000));
        self.agenda.put_in(off, Event::PowerIsBack);
        Ok(())
    }

    fn power_is_back(&mut self) -> Result<(), WorldError> {
        if self.node.up.is_some() {
            return Ok(());
        }
        self.shards =
            1 + u16::try_from(self.rng.below(u64::from(self.plan.shards_max))).expect("few");
        // The clock may have been set meanwhile, back too.
        let off_us = i64::try_from(self.rng.below(4_000_000)).expect("small") - 2_000_000;
        self.node.clock_off_us = if self.rng.one_in(10) { off_us * 60 } else { off_us };
        if !self.ending && self.rng.one_in(6) {
            // And goes again while the node starts.
            self.node.disk.cut_power_after(self.rng.below(400));
        }
        let started = self.node.start(self.shards, self.agenda.now());
        if self.node.disk.is_power_gone() {
            return self.crash();
        }
        started?;
        if !self.ending {
            self.plan_fault();
        }
        for shard in 0..usize::from(self.shards) {
            self.turn_soon(shard);
        }
        Ok(())
    }

    fn turn_soon(&mut self, shard: usize) {
        let delay = Duration::from_micros(1 + self.rng.below(100));
        self.turn_at(shard, self.agenda.now().saturating_add(delay));
    }

    fn turn_at(&mut self, shard: usize, at: Timestamp) {
        let run = self.node.run;
        let Some(up) = &mut self.node.up else { return };
        let seat = &mut up.seats[shard];
        if at < seat.turn_at {
            seat.turn_at = at;
            self.agenda.put(at, Event::Turn { run, shard });
        }
    }

    fn turn(&mut self, shard: usize) {
        let now = self.agenda.now();
        let Some(up) = &mut self.node.up else { return };
        let seat = &mut up.seats[shard];
        if seat.turn_at != now {
            return;
        }
        seat.turn_at = Timestamp::MAX;
        let Some(effects) = self.node.turn(shard, now) else { return };
        if std::env::var_os("SIM_TRACE").is_some() && self.counts.events < 400 { eprintln!("{} turn {shard} {effects:?}", now.0 - BEGINNING.0); }
        self.perform(shard, effects);
        let Some(up) = &mut self.node.up else { return };
        let seat = &mut up.seats[shard];
        let wait = seat.shard.sleep_max().max(Duration::from_micros(50));
        if let Some(bytes) = seat.take_write_bytes() {
            let busy = if self.rng.one_in(50) { self.rng.below(40_000) } else { 0 };
            let bytes_us = u64::try_from(bytes / 1_000).expect("small");
            let delay = Duration::from_micros(150 + self.rng.below(400) + bytes_us + busy);
            self.agenda.put_in(delay, Event::Write { run: self.node.run, shard });
        }
        self.turn_at(shard, now.saturating_add(wait));
        self.look_after();
    }

    /// What a turn may have brought: calls to other shards, jobs, questions, answers to those who asked.
    fn look_after(&mut self) {
        let Some(up) = &mut self.node.up else { return };
        for shard in 0..up.seats.len() {
            if up.take_wake(shard) {
                up.seats[shard].put(Input::Woken);
                self.turn_soon(shard);
                return self.look_after();
            }
        }
        if !self.job_due {
            self.job_due = true;
            let delay = Duration::from_micros(500 + self.rng.below(30_000));
            self.agenda.put_in(delay, Event::Job { run: self.node.run });
        }
        self.take_asked();
        self.poll_tasks();
        self.go_on_with_setup();
    }

    fn job(&mut self) {
        self.job_due = false;
        let Some(up) = &self.node.up else { return };
        if up.do_job() {
            self.look_after();
        }
    }

    fn perform(&mut self, shard: usize, effects: Effects) {
        let Effects { sends, closes, finishes, transfers, start_recv, log_write } = effects;
        assert!(log_write.is_none(), "the seat keeps the write");
        for conn in start_recv {
            self.start_recv(shard, conn);
        }
        for (conn, buffer) in sends {
            self.send(shard, conn, buffer);
        }
        for (conn, to, tag) in transfers {
            self.transfer(shard, conn, usize::from(to), tag);
        }
        for conn in finishes.into_iter().chain(closes) {
            self.close(shard, conn);
        }
    }

    fn seat(&mut self, shard: usize) -> &mut crate::node::Seat {
        let up = self.node.up.as_mut().expect("effects come from a node that runs");
        &mut up.seats[shard]
    }

    fn start_recv(&mut self, shard: usize, conn: ConnId) {
        let Some(socket) = self.seat(shard).socket(conn) else { return };
        let of = &mut self.sockets[socket];
        of.receiving = true;
        let (held, end) = (std::mem::take(&mut of.held), of.held_end);
        if !held.is_empty() {
            self.seat(shard).put(Input::Received(conn, held));
            self.turn_soon(shard);
        }
        if end {
            self.hub_hears_end(socket);
        }
    }

    fn send(&mut self, shard: usize, conn: ConnId, buffer: Vec<u8>) {
        // None: it died in this turn, and its end is on the way to the shard.
        let Some(socket) = self.seat(shard).socket(conn) else { return };
        self.note(&buffer);
        self.send_to_station(socket, buffer.clone());
        let delay = Duration::from_micros(20 + self.rng.below(2_000));
        let run = self.node.run;
        self.agenda.put_in(delay, Event::Sent { run, shard, conn, buffer });
    }

    fn transfer(&mut self, shard: usize, conn: ConnId, to: usize, tag: u64) {
        if self.rng.one_in(50) {
            self.put_if_open(shard, conn, Input::TransferFailed);
            return;
        }
        let Some(socket) = self.seat(shard).forget(conn) else { return };
        self.seat(shard).put(Input::Transferred(conn));
        let there = self.seat(to).open(socket);
        self.seat(to).put(Input::Adopted(there, tag));
        let of = &mut self.sockets[socket];
        (of.hub, of.receiving) = (Some((to, there)), false);
        self.turn_soon(shard);
        self.turn_soon(to);
    }

    fn close(&mut self, shard: usize, conn: ConnId) {
        let Some(socket) = self.seat(shard).forget(conn) else { return };
        self.seat(shard).put(Input::Closed(conn));
        self.turn_soon(shard);
        self.sockets[socket].hub = None;
        self.send_to_station(socket, Vec::new());
    }

    fn put_if_open(&mut self, shard: usize, conn: ConnId, input: impl FnOnce(ConnId) -> Input) {
        let Some(up) = &mut self.node.up else { return };
        let seat = &mut up.seats[shard];
        if seat.socket(conn).is_some() {
            seat.put(input(conn));
            self.turn_soon(shard);
        }
    }
}

/// Sockets: what is on its way between stations and hub.
impl World {
    fn latency(&mut self) -> Duration {
        let ms = 1 + self.rng.below(60);
        let stall = if !self.ending && self.rng.one_in(300) { self.rng.below(8_000) } else { 0 };
        Duration::from_millis(ms + stall)
    }

    fn send_to_station(&mut self, socket: usize, bytes: Vec<u8>) {
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

    fn reach(&mut self, socket: usize) {
        let ready = self.node.up.as_ref().is_some_and(crate::node::Running::is_ready);
        if !ready || !self.sockets[socket].station_open {
            // Nobody listens.
            self.send_to_station(socket, Vec::new());
            return;
        }
        let shard = self.rng.below_usize(usize::from(self.shards));
        let seat = self.seat(shard);
        let conn = seat.open(socket);
        seat.put(Input::Accepted(conn));
        self.sockets[socket].hub = Some((shard, conn));
        self.sockets[socket].receiving = true;
        self.turn_soon(shard);
        let delay = self.latency();
        self.agenda.put_in(delay, Event::Connected { socket });
    }

    fn to_hub(&mut self, socket: usize, bytes: Vec<u8>) {
        let of = &mut self.sockets[socket];
        if of.cut {
            return;
        }
        let Some((shard, conn)) = of.hub else {
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
            self.put_if_open(shard, conn, |conn| Input::Received(conn, bytes));
        } else {
            of.held.extend_from_slice(&bytes);
        }
    }

    fn hub_hears_end(&mut self, socket: usize) {
        let Some((shard, conn)) = self.sockets[socket].hub.take() else { return };
        let seat = self.seat(shard);
        if seat.forget(conn).is_some() {
            seat.put(Input::Closed(conn));
            self.turn_soon(shard);
        }
    }

    fn tell_station(&mut self, socket: usize, event: station::Event) {
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

    fn station_due(&mut self, station: usize) {
        if self.places[station].wake_at == self.agenda.now() {
            self.places[station].wake_at = Timestamp::MAX;
            self.station(station, station::Event::Woken);
        }
    }

    fn wake(&mut self, station: usize) {
        let place = &mut self.places[station];
        // Never in the same instant again: a station that does nothing then would never let time pass.
        let soonest = self.agenda.now().saturating_add(Duration::from_millis(1));
        let at = place.station.wakeup().max(soonest);
        if at < place.wake_at {
            place.wake_at = at;
            self.agenda.put(at, Event::Station { station });
        }
    }

    fn station(&mut self, station: usize, event: station::Event) {
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
}

/// Operators, apps, and the payment provider.
impl World {
    fn ask(&mut self, op: Op) {
        let ready = self.node.up.as_ref().filter(|up| up.is_ready());
        let Some(control) = ready.map(|up| up.control.clone()) else {
            self.ask_later(op);
            return;
        };
        self.tasks.push(Task::begin(control, op));
        self.poll_tasks();
        self.look_after();
    }

    fn ask_later(&mut self, op: Op) {
        let delay = Duration::from_millis(100 + self.rng.below(3_000));
        self.agenda.put_in(delay, Event::Ask { op });
    }

    fn poll_tasks(&mut self) {
        let mut at = 0;
        while at < self.tasks.len() {
            match self.tasks[at].poll() {
                None => at += 1,
                Some(done) => {
                    let task = self.tasks.swap_remove(at);
                    self.done(task.op, done);
                }
            }
        }
    }

    fn done(&mut self, op: Op, done: Done) {
        self.setting_up &= !op.is_setup() || done == Done::Unavailable;
        match (op, done) {
            (op, Done::Unavailable) => self.ask_later(op),
            (Op::Start { station, evse, start, .. }, Done::Started(session)) => {
                self.truth.promised(session, start);
                self.station(station, station::Event::App { evse, promised: true });
            }
            (Op::Start { station, evse, .. }, Done::Refused(_)) => {
                self.station(station, station::Event::App { evse, promised: false });
            }
            (Op::Deposit { driver, amount, .. }, Done::Yes) => {
                self.truth.drivers[driver].paid_in += amount;
            }
            (Op::Station(..), Done::Refused(Refusal::UnknownSite)) => {
                self.truth.wrong.push("a site that was made is not known".to_owned());
            }
            // An app's stop comes for a session that may be over; a provider's answer may have come before.
            (Op::Stop(_) | Op::Answer(_), _) | (_, Done::Yes) => {}
            (op, done) => self.truth.wrong.push(format!("{op:?} was answered {done:?}")),
        }
    }

    fn go_on_with_setup(&mut self) {
        let ready = self.node.up.as_ref().is_some_and(crate::node::Running::is_ready);
        if !ready || self.setting_up {
            return;
        }
        if let Some(op) = self.setup.pop_front() {
            self.setting_up = true;
            self.ask(op);
        }
    }

    fn app_starts(&mut self, station: usize, evse: u16, start: AppStart) {
        let of = &self.places[station].station;
        let token = self.truth.drivers[of.driver(evse)].token.clone();
        let op = Op::Start { station, evse, start, token };
        self.ask_later(op);
    }

    fn take_asked(&mut self) {
        let Some(up) = &mut self.node.up else { return };
        let mut replies = Vec::new();
        while let Ok(asked) = up.asked.try_recv() {
            replies.extend(self.provider.ask(&asked.payment));
        }
        for (delay, reply) in replies {
            self.agenda.put_in(delay, Event::Ask { op: Op::Answer(reply) });
        }
    }

    /// A driver whose wallet ran dry pays in again.
    fn pay_in(&mut self) {
        if self.ending {
            return;
        }
        let poor = |(number, driver): (usize, &crate::truth::Driver)| {
            (driver.means == Means::Poor && driver.paid_in > 0).then_some(number)
        };
        let poor: Vec<usize> = self.truth.drivers.iter().enumerate().filter_map(poor).collect();
        if !poor.is_empty() {
            let driver = poor[self.rng.below_usize(poor.len())];
            self.deposits += 1;
            let key = format!("more-{}", self.deposits);
            let name = self.truth.drivers[driver].name.clone();
            let amount = 500 + u128::from(self.rng.below(5_000));
            self.ask(Op::Deposit { driver, name, key, amount });
        }
        let delay = Duration::from_secs(20 + self.rng.below(120));
        self.agenda.put_in(delay, Event::PayIn);
    }

    fn app_stops(&mut self) {
        if self.ending {
            return;
        }
        let count = self.truth.apps.len();
        if count > 0 {
            // One of the newest: it may still run.
            let newest = self.truth.apps.len().min(8);
            let skip = count - 1 - self.rng.below_usize(newest);
            let session = *self.truth.apps.keys().nth(skip).expect("below the count");
            self.ask(Op::Stop(session));
        }
        let delay = Duration::from_secs(30 + self.rng.below(200));
        self.agenda.put_in(delay, Event::AppStops);
    }
}

/// The end.
impl World {
    /// Nothing goes wrong any more.
    fn end(&mut self) {
        self.ending = true;
        self.node.disk.keep_power();
        self.provider.end();
        for station in 0..self.places.len() {
            self.places[station].station.end();
            self.wake(station);
        }
    }

    fn is_at_rest(&self) -> bool {
        let Some(up) = self.node.up.as_ref().filter(|up| up.is_ready()) else { return false };
        let machines = || (0..self.plan.partitions).filter_map(|at| up.machine(PartitionId(at)));
        let stations = self.places.iter().all(|place| place.station.is_done());
        stations
            && self.setup.is_empty()
            && !self.setting_up
            && self.tasks.is_empty()
            && machines().all(|machine| machine.outbox().next().is_none())
            && machines().all(|machine| machine.ledger().holds().next().is_none())
            && machines().all(|machine| machine.open_payments().next().is_none())
    }

    fn restless(&self) -> WorldError {
        let mut text = String::from("it does not come to rest:");
        let busy = self.places.iter().filter(|place| !place.station.is_done());
        for place in busy.take(RESTLESS_SHOWN_MAX) {
            text += &format!("\n  {:?}", place.station);
        }
        let Some(up) = self.node.up.as_ref().filter(|up| up.is_ready()) else {
            return WorldError::promise("the node does not start");
        };
        for machine in (0..self.plan.partitions).filter_map(|at| up.machine(PartitionId(at))) {
            for row in machine.outbox() {
                text += &format!("\n  {row:?}");
            }
            for hold in machine.ledger().holds() {
                text += &format!("\n  {hold:?}");
            }
            for row in machine.open_payments() {
                text += &format!("\n  {row:?}");
            }
        }
        text += &format!("\n  {} to set up\n  {:?}", self.setup.len(), self.tasks);
        WorldError::promise(&text)
    }

    /// What was given up as unknown is found out, as the server's reconciliation does.
    fn reconcile(&mut self) {
        let Some(up) = self.node.up.as_ref().filter(|up| up.is_ready()) else { return };
        let mut replies: Vec<Reply> = Vec::new();
        for machine in (0..self.plan.partitions).filter_map(|at| up.machine(PartitionId(at))) {
            let unknown = machine.open_payments().filter(|row| Provider::is_given_up(row));
            replies.extend(unknown.filter_map(|row| self.provider.truth(row)));
        }
        for reply in replies {
            self.ask(Op::Answer(reply));
        }
    }

    fn check(&mut self) -> Result<Counts, WorldError> {
        let books = self.books()?;
        let mut findings = std::mem::take(&mut self.truth.wrong);
        checker::check(&self.truth, &books, self.provider.taken(), &mut findings);
        if !findings.is_empty() {
            return Err(WorldError::Promises(findings));
        }
        // And all of it is on the disk.
        drop(self.node.crash(self.rng.next()));
        self.node.check_replay()?;
        let (starts, stops) = self.truth.acknowledged();
        let seconds = self.agenda.now().since(BEGINNING).as_secs();
        let promises = self.truth.apps.len();
        Ok(Counts { starts, stops, promises, seconds, ..self.counts.clone() })
    }

    /// The rows of the stores, as SQL would see them.
    fn books(&mut self) -> Result<checker::Books, WorldError> {
        let up = self.node.up.as_mut().expect("at rest it runs");
        let mut books = checker::Books::default();
        for partition in (0..self.plan.partitions).map(PartitionId) {
            let machine = up.machine(partition).expect("each partition has a shard");
            machine.audit().map_err(|error| WorldError::promise(&format!("{error}")))?;
            books.accounts.extend(machine.ledger().accounts().cloned());
            for driver in &self.truth.drivers {
                if let Some(available) = machine.available(&driver.name) {
                    books.wallets.insert(driver.name.clone(), available);
                }
            }
        }
        for (_, snapshot) in up.seats.iter_mut().flat_map(|seat| seat.shard.snapshots()) {
            for row in snapshot.range(Keyspace::Sessions as u8, &[], None) {
                books.sessions.push(rows::read(&row?.1).map_err(broken)?);
            }
            for row in snapshot.range(Keyspace::Payments as u8, &[], None) {
                let payment: PaymentRow = rows::read(&row?.1).map_err(broken)?;
                books.payments.push(payment);
            }
        }
        Ok(books)
    }
}

fn broken(error: impl std::fmt::Display) -> WorldError {
    WorldError::promise(&format!("a row cannot be read: {error}"))
}
