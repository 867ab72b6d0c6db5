//! The world: a hub, its stations, drivers' apps, a payment provider, and what goes wrong between them, in
//! one thread and under one clock.
//!
//! **Invariants**
//! * A run depends on its plan alone: the same seed makes the same events at the same times.
//! * What one end of a socket sends arrives at the other in order, all of it up to some point, or nothing
//!   more.
//! * First anything may go wrong; then nothing does any more, and all must come to rest.
//!
//! Parts: `hub` (power, turns), `wires` (sockets, links between nodes), `states` (between nodes too), `people`
//! (operators, apps, the provider), `rest` (the end).

mod hub;
mod people;
mod rest;
mod states;
mod wires;

use crate::WorldError;
use crate::agenda::Agenda;
use crate::client::{Op, Task};
use crate::node::{Input, Node, Shape, id_of};
use crate::plan::Plan;
use crate::provider::Provider;
use crate::station::{self, Station};
use crate::truth::{Means, Truth};
use novax_charging::Partition;
use novax_engine::Engine;
use novax_log::sim::{Rng, SimDisk};
use novax_model::{Duration, PartitionId, Timestamp};
use novax_shard::ConnId;
use novax_shard::peers::Lane;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use wires::Links;

/// When every world begins: 22 November 2026, 13:14:24 UTC.
const BEGINNING: Timestamp = Timestamp(1_795_353_264_000_000);
/// All must have come to rest so long after the last fault.
const REST_MAX: Duration = Duration::from_secs(100 * 3_600);
/// So often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Events at the same time, at most: more is a loop.
const EVENTS_PER_INSTANT_MAX: u32 = 100_000;

/// A shard of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    node: usize,
    shard: usize,
}

/// Something that is due.
#[derive(Debug)]
enum Event {
    /// A shard's turn, of a run of the node.
    Turn { run: u64, at: At },
    /// The log write of a shard reaches the disk.
    Write { run: u64, at: At },
    /// A job of the stores.
    Job { run: u64, node: usize },
    /// A station's wish for a connection reaches the hub.
    Reach { socket: usize },
    /// It is answered.
    Connected { socket: usize },
    /// Bytes or, with none, the end, reach the hub.
    ToHub { socket: usize, bytes: Vec<u8> },
    /// Bytes or, with none, the end, reach the station.
    ToStation { socket: usize, bytes: Vec<u8> },
    /// A buffer of the hub is out.
    Sent { run: u64, at: At, conn: ConnId, buffer: Vec<u8> },
    /// A station wants to be woken.
    Station { station: usize },
    /// Somebody asks the hub.
    Ask { op: Op },
    /// Something another node says arrives; what a dead run has sent may still come.
    ToPeer { run: u64, from: usize, to: usize, lane: Lane, bytes: Vec<u8> },
    /// The state of a partition arrives at another node.
    State { run: u64, from: usize, to: usize, of: (PartitionId, u64), bytes: Vec<u8> },
    /// A state nobody needs goes.
    StateGoes { run: u64, node: usize, dir: PathBuf, state: Option<Box<(Partition, Engine)>> },
    /// Links between nodes are cut for a while.
    LinksBreak,
    /// The power of a node goes now.
    PowerGoes { node: usize },
    /// The power goes with one of the next operations of the disk.
    PowerGoesSoon { node: usize, operations: u64 },
    /// The power is back.
    PowerIsBack { node: usize },
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
    hub: Option<(At, ConnId)>,
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
    /// States of partitions that came from other nodes, whole.
    pub states: u64,
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
    nodes: Vec<Node>,
    /// By node: its stores will be looked after.
    job_due: Vec<bool>,
    links: Links,
    /// What each partition was after its entries, on whichever node was first.
    hashes: BTreeMap<PartitionId, BTreeMap<u64, u64>>,
    sockets: Vec<Socket>,
    places: Vec<Place>,
    truth: Truth,
    provider: Provider,
    setup: VecDeque<Op>,
    /// A step of the setup is under way.
    setting_up: bool,
    /// Questions under way, and which node was asked.
    tasks: Vec<(usize, Task)>,
    deposits: u64,
    ending: bool,
    counts: Counts,
    /// The disk as it was found after the first loss of power, for a node that is to forget.
    first_crash: Option<SimDisk>,
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
        let shape = Shape {
            partitions: plan.partitions,
            nodes: plan.nodes,
            retain_bytes_max: plan.retain_bytes_max,
        };
        let nodes =
            (0..usize::from(plan.nodes)).map(|place| Node::new(id_of(place), shape)).collect();
        let mut world = World {
            agenda: Agenda::new(BEGINNING),
            nodes,
            job_due: vec![false; usize::from(plan.nodes)],
            links: Links::default(),
            hashes: BTreeMap::new(),
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
            first_crash: None,
            digest: 0xcbf2_9ce4_8422_2325,
            rng,
            plan,
        };
        for node in 0..world.nodes.len() {
            world.agenda.put_in(Duration::ZERO, Event::PowerIsBack { node });
        }
        if world.plan.cuts_links {
            world.agenda.put_in(Duration::from_secs(20), Event::LinksBreak);
        }
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
            for node in 0..self.nodes.len() {
                if self.nodes[node].up.is_some() && self.nodes[node].disk.is_power_gone() {
                    self.crash(node)?;
                }
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

    /// Whether a node's power may go.
    fn takes_power(&self, node: usize) -> bool {
        !self.ending && self.nodes[node].up.is_some()
    }

    fn handle(&mut self, event: Event) -> Result<(), WorldError> {
        let runs = |node: usize| self.nodes[node].run;
        match event {
            Event::Turn { run, at } if run == runs(at.node) => self.turn(at)?,
            Event::Write { run, at } if run == runs(at.node) => {
                if self.nodes[at.node].write(at.shard) {
                    self.turn_soon(at);
                }
            }
            Event::Job { run, node } if run == runs(node) => self.job(node),
            Event::Sent { run, at, conn, buffer } if run == runs(at.node) => {
                self.put_if_open(at, conn, |conn| Input::Sent(conn, buffer));
            }
            Event::ToPeer { run, from, to, lane, bytes } => {
                // A link dies with the process: of what it had sent, some comes and the rest does not.
                if run == runs(from) || self.rng.one_in(2) {
                    self.reach_peer(from, to, lane, &bytes);
                }
            }
            Event::State { run, from, to, of, bytes } => {
                self.state_arrives((run, from), to, of, &bytes)?;
            }
            Event::StateGoes { run, node, dir, state } => {
                drop(state);
                if run == self.nodes[node].run && self.nodes[node].up.is_some() {
                    self.nodes[node].remove_state(&dir);
                }
            }
            Event::LinksBreak => self.cut_links(),
            Event::Reach { socket } => self.reach(socket),
            Event::Connected { socket } => self.tell_station(socket, station::Event::Connected),
            Event::ToHub { socket, bytes } => self.reach_hub(socket, bytes),
            Event::ToStation { socket, bytes } if bytes.is_empty() => {
                self.tell_station(socket, station::Event::Ended);
            }
            Event::ToStation { socket, bytes } => {
                self.tell_station(socket, station::Event::Bytes(bytes));
            }
            Event::Station { station } => self.station_due(station),
            Event::Ask { op } => self.ask(op),
            Event::PowerGoes { node } if self.takes_power(node) => self.crash(node)?,
            Event::PowerGoesSoon { node, operations } if self.takes_power(node) => {
                self.nodes[node].disk.cut_power_after(operations);
            }
            // Of a run that is over; and what is off already, or is to stay on.
            Event::Turn { .. }
            | Event::Write { .. }
            | Event::Job { .. }
            | Event::Sent { .. }
            | Event::PowerGoes { .. }
            | Event::PowerGoesSoon { .. } => {}
            Event::PowerIsBack { node } => self.power_is_back(node)?,
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
