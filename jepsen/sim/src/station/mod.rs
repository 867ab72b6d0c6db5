//! A simulated station with the bugs of real ones, without a socket: events in, actions out.
//!
//! It keeps what it has to tell through lost connections, lost power and crashes of the hub, in order, and tells it
//! until it is answered. It charges whether or not the hub hears of it. Its manners are drawn from a seed: it may
//! repeat itself, answer late, twice, wrongly or not at all, tell a wrong time, break off, lose power.
//!
//! From the ground up: `say` (messages), `link` (its socket), `obey` (orders of the hub), and this file:
//! what it does.

mod link;
mod obey;
mod say;

pub use say::Version;

use crate::truth::{AppStart, Transaction, Truth};
use link::Link;
use novax_log::sim::Rng;
use novax_model::{Duration, Timestamp};
use say::Say;
use std::collections::VecDeque;

/// Messages it keeps; beyond it periodic ones go.
const TELL_MAX: usize = 60;
/// No answer in this time: the connection counts as dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A start that was promised to an app must reach the station within this.
const PROMISE_TIMEOUT: Duration = Duration::from_secs(300);

/// How a station behaves, in chances of one in so many; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manners {
    /// Tells what was answered once more.
    pub repeats: u64,
    /// Writes a message twice in a row.
    pub stutters: u64,
    /// Does not answer a call of the hub.
    pub silent: u64,
    /// Answers a call twice.
    pub twice: u64,
    /// Answers under a wrong id first.
    pub wrong_id: u64,
    /// Refuses what it is ordered.
    pub refuses: u64,
    /// Breaks off its connection, at each message.
    pub breaks_off: u64,
    /// Notices nothing when its connection breaks.
    pub half_open: u64,
    /// Loses power, at each message.
    pub loses_power: u64,
    /// Says something that nobody understands.
    pub nonsense: u64,
    /// Goes on charging for a while when it is told no.
    pub greedy: u64,
    /// Loses the answer to a message: it tells it again.
    pub deaf: u64,
}

impl Manners {
    /// As drawn from a seed: most stations are well-behaved in most respects.
    #[must_use]
    pub fn drawn(rng: &mut Rng) -> Manners {
        let mut draw = |often: u64| if rng.one_in(2) { often + rng.below(4 * often) } else { 0 };
        Manners {
            repeats: draw(5),
            stutters: draw(20),
            silent: draw(10),
            twice: draw(8),
            wrong_id: draw(10),
            refuses: draw(10),
            breaks_off: draw(40),
            half_open: draw(6),
            loses_power: draw(150),
            nonsense: draw(60),
            greedy: draw(2),
            deaf: draw(30),
        }
    }

    fn does(rng: &mut Rng, one_in: u64) -> bool {
        one_in > 0 && rng.one_in(one_in)
    }
}

/// What a station is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its identity.
    pub identity: String,
    /// The version it speaks.
    pub version: Version,
    /// A driver for each of its EVSEs, by number.
    pub drivers: Vec<usize>,
    /// How it behaves.
    pub manners: Manners,
    /// How far its clock is off, in microseconds.
    pub clock_off_us: i64,
    /// Between two meter values.
    pub meter_interval: Duration,
    /// A charge lasts so long, about.
    pub charge: Duration,
    /// A connector is free so long, about.
    pub pause: Duration,
}

/// Something that happened to a station.
#[derive(Debug)]
pub enum Event {
    /// Its connection to the hub was made.
    Connected,
    /// The connection ended, or never came to be.
    Ended,
    /// Bytes came.
    Bytes(Vec<u8>),
    /// The time it asked to be woken has come, or passed.
    Woken,
    /// The hub has answered an app at an EVSE: with a session, or no.
    App {
        /// At which EVSE.
        evse: u16,
        /// The session's key, when it was promised.
        promised: bool,
    },
}

/// What a station wants.
#[derive(Debug)]
pub enum Act {
    /// A connection to the hub.
    Connect,
    /// Bytes to the hub.
    Send(Vec<u8>),
    /// An end of the connection.
    Close,
    /// A driver's app asks for a start.
    App(u16, AppStart),
}

/// Where an EVSE stands.
#[derive(Debug, Clone)]
enum Doing {
    Nothing {
        until: Timestamp,
    },
    /// An app has asked.
    Asking,
    /// An app was promised a start: it must come.
    Promised {
        since: Timestamp,
    },
    /// The hub ordered a start, which begins soon.
    Ordered {
        at: Timestamp,
        driver: usize,
        remote_start_id: Option<i64>,
    },
    Charging(Charging),
}

#[derive(Debug, Clone)]
struct Charging {
    transaction: usize,
    number: u32,
    until: Timestamp,
    next_meter: Timestamp,
    power_w: u64,
    /// Up to when energy is in the register.
    metered: Timestamp,
    reason: &'static str,
}

#[derive(Debug)]
struct Evse {
    number: u16,
    driver: usize,
    /// In thousandths of a watt-hour.
    register_mwh: u64,
    doing: Doing,
    visits: u32,
}

/// The station.
#[derive(Debug)]
pub struct Station {
    setup: Setup,
    rng: Rng,
    now: Timestamp,
    evses: Vec<Evse>,
    /// What is to be told, oldest first.
    tell: VecDeque<Say>,
    link: Link,
    last_stamp: u64,
    transactions: u32,
    last_heartbeat: Timestamp,
    /// Begins nothing new, and behaves.
    ending: bool,
}

impl Station {
    /// A station that was just switched on.
    #[must_use]
    pub fn new(setup: Setup, seed: u64, now: Timestamp) -> Station {
        let mut rng = Rng::new(seed);
        let evse = |(number, driver): (u16, &usize)| Evse {
            number,
            driver: *driver,
            register_mwh: 1_000_000 + rng.below(1_000_000_000),
            doing: Doing::Nothing { until: spread(&mut rng, now, setup.pause) },
            visits: 0,
        };
        let evses = (1_u16..).zip(&setup.drivers).map(evse).collect();
        let first = now.saturating_add(Duration::from_millis(rng.below(20_000)));
        Station {
            link: Link::down(first),
            tell: VecDeque::from([Say::Boot]),
            setup,
            rng,
            now,
            evses,
            last_stamp: 0,
            transactions: 0,
            last_heartbeat: now,
            ending: false,
        }
    }

    /// Its identity.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.setup.identity
    }

    /// Who charges at an EVSE, by number.
    #[must_use]
    pub fn driver(&self, evse: u16) -> usize {
        self.evses[usize::from(evse) - 1].driver
    }

    /// The run comes to its end: it finishes what it is at, behaves, and begins nothing new.
    pub fn end(&mut self) {
        self.ending = true;
        self.setup.manners = Manners::default();
        for evse in &mut self.evses {
            if let Doing::Charging(charging) = &mut evse.doing {
                charging.until = charging.until.min(self.now.saturating_add(ANSWER_TIMEOUT));
            }
        }
    }

    /// Whether all its EVSEs are free and all is told.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let free = |evse: &Evse| matches!(evse.doing, Doing::Nothing { .. });
        self.evses.iter().all(free) && self.tell.is_empty() && !self.link.is_waiting()
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn wakeup(&self) -> Timestamp {
        let evse = |evse: &Evse| match &evse.doing {
            Doing::Nothing { .. } if self.ending => Timestamp::MAX,
            Doing::Nothing { until } => *until,
            Doing::Asking => Timestamp::MAX,
            Doing::Promised { since } => since.saturating_add(PROMISE_TIMEOUT),
            Doing::Ordered { at, .. } => *at,
            Doing::Charging(charging) => charging.until.min(charging.next_meter),
        };
        let evses = self.evses.iter().map(evse).min().unwrap_or(Timestamp::MAX);
        evses.min(self.link.wakeup(!self.tell.is_empty())).min(self.last_heartbeat.saturating_add(HEARTBEAT))
    }

    /// Takes an event and appends what is to be done, in order.
    pub fn handle(&mut self, now: Timestamp, event: Event, truth: &mut Truth, acts: &mut Vec<Act>) {
        assert!(now >= self.now, "time goes on");
        self.now = now;
        match event {
            Event::Connected => self.connected(acts),
            Event::Ended => self.ended(),
            Event::Bytes(bytes) => self.received(bytes, truth, acts),
            Event::App { evse, promised } => self.app_answered(evse, promised),
            Event::Woken => {}
        }
        self.tick_evses(truth, acts);
        self.tick_link(truth, acts);
        if self.now.since(self.last_heartbeat) >= HEARTBEAT {
            self.last_heartbeat = self.now;
            if self.tell.is_empty() && !self.ending {
                self.tell(Say::Heartbeat);
            }
        }
        self.speak(truth, acts);
    }

    fn app_answered(&mut self, number: u16, promised: bool) {
        let now = self.now;
        let pause = spread(&mut self.rng, now, self.setup.pause);
        let evse = self.evse(number);
        // The order may have come before the answer.
        if matches!(evse.doing, Doing::Asking) {
            evse.doing = if promised {
                Doing::Promised { since: now }
            } else {
                Doing::Nothing { until: pause }
            };
        }
    }

    fn evse(&mut self, number: u16) -> &mut Evse {
        &mut self.evses[usize::from(number) - 1]
    }

    fn tick_evses(&mut self, truth: &mut Truth, acts: &mut Vec<Act>) {
        for at in 0..self.evses.len() {
            let number = self.evses[at].number;
            match self.evses[at].doing.clone() {
                Doing::Nothing { until } if until <= self.now && !self.ending => {
                    self.visit(number, truth, acts);
                }
                Doing::Ordered { at, driver, remote_start_id } if at <= self.now => {
                    self.begin(number, driver, remote_start_id, truth);
                }
                Doing::Promised { since } if self.now.since(since) >= PROMISE_TIMEOUT => {
                    // It may have been told while the socket broke: then it was heard or not, and the hub knows
                    // by its own timer.
                    let until = spread(&mut self.rng, self.now, self.setup.pause);
                    self.evses[at].doing = Doing::Nothing { until };
                }
                Doing::Charging(charging) => self.tick_charging(number, charging, truth),
                _ => {}
            }
        }
    }

    /// A driver comes: with a card, or with an app.
    fn visit(&mut self, number: u16, truth: &mut Truth, acts: &mut Vec<Act>) {
        let by_app = self.rng.one_in(3);
        let evse = self.evse(number);
        evse.visits += 1;
        let (driver, visits) = (evse.driver, evse.visits);
        if by_app {
            evse.doing = Doing::Asking;
            let station = self.setup.identity.clone();
            let key = format!("{station}-{number}-{visits}");
            acts.push(Act::App(number, AppStart { station, key }));
        } else {
            self.begin(number, driver, None, truth);
        }
    }

    fn begin(&mut self, number: u16, driver: usize, remote: Option<i64>, truth: &mut Truth) {
        let at = self.stamp();
        self.transactions += 1;
        let (station, version) = (self.setup.identity.clone(), self.setup.version);
        let name = (version == Version::V201).then(|| format!("{station}-t{}", self.transactions));
        let (now, charge) = (self.now, self.setup.charge);
        let until = spread(&mut self.rng, now, charge);
        let power_w = 3_700 + self.rng.below(18_000);
        let interval = self.setup.meter_interval;
        let evse = self.evse(number);
        truth.transactions.push(Transaction {
            station,
            evse: number,
            driver,
            at,
            meter_start: wh(evse.register_mwh),
            meter_stop: None,
            ended: String::new(),
            started: None,
            stopped: false,
            name,
            remote_start_id: remote,
        });
        let transaction = truth.transactions.len() - 1;
        evse.doing = Doing::Charging(Charging {
            transaction,
            number: 0,
            until,
            next_meter: now.saturating_add(interval),
            power_w,
            metered: now,
            reason: "Local",
        });
        self.status(number, "Charging");
        self.tell(Say::Start { transaction, number: 0 });
    }

    fn tick_charging(&mut self, number: u16, mut charging: Charging, truth: &mut Truth) {
        let (now, interval) = (self.now, self.setup.meter_interval);
        let passed_us = u64::try_from(now.since(charging.metered).as_micros()).unwrap_or(u64::MAX);
        charging.metered = now;
        let evse = self.evse(number);
        // Watts times microseconds, in thousandths of a watt-hour.
        evse.register_mwh += charging.power_w.saturating_mul(passed_us) / 3_600_000;
        let register = wh(evse.register_mwh);
        if charging.until <= now {
            self.finish(number, &charging, truth);
            return;
        }
        if charging.next_meter <= now {
            charging.next_meter = now.saturating_add(interval);
            charging.number += 1;
            let (transaction, at) = (charging.transaction, self.stamp());
            self.tell(Say::Meter { transaction, number: charging.number, at, register });
        }
        self.evse(number).doing = Doing::Charging(charging);
    }

    fn finish(&mut self, number: u16, charging: &Charging, truth: &mut Truth) {
        let ended = self.stamp();
        let until = spread(&mut self.rng, self.now, self.setup.pause);
        let evse = self.evse(number);
        let of = &mut truth.transactions[charging.transaction];
        of.meter_stop = Some(wh(evse.register_mwh));
        of.ended = ended;
        evse.doing = Doing::Nothing { until };
        let (transaction, reason) = (charging.transaction, charging.reason);
        self.tell(Say::Stop { transaction, number: charging.number + 1, reason });
        self.status(number, "Available");
    }

    /// Ends a charge soon, if it is the one that runs there.
    fn cut_short(&mut self, transaction: usize, reason: &'static str, within: Duration) -> bool {
        let at = self.now.saturating_add(within);
        for evse in &mut self.evses {
            if let Doing::Charging(charging) = &mut evse.doing
                && charging.transaction == transaction
            {
                if charging.until > at {
                    charging.until = at;
                    charging.reason = reason;
                }
                return true;
            }
        }
        false
    }

    /// The lights go out and come on again: what was charged ended with it.
    fn lose_power(&mut self, truth: &mut Truth) {
        for at in 0..self.evses.len() {
            let number = self.evses[at].number;
            match self.evses[at].doing.clone() {
                Doing::Charging(mut charging) => {
                    charging.reason = "PowerLoss";
                    charging.until = self.now;
                    self.tick_charging(number, charging, truth);
                }
                Doing::Ordered { .. } => {
                    let until = spread(&mut self.rng, self.now, self.setup.pause);
                    self.evses[at].doing = Doing::Nothing { until };
                }
                _ => {}
            }
        }
        let back = self.now.saturating_add(Duration::from_millis(2_000 + self.rng.below(60_000)));
        self.link = Link::down(back);
        self.tell.retain(|say| *say != Say::Boot);
        self.tell.push_front(Say::Boot);
    }

    fn status(&mut self, evse: u16, word: &'static str) {
        let at = self.stamp();
        self.tell(Say::Status { evse, word, at });
    }

    fn tell(&mut self, say: Say) {
        if self.tell.len() >= TELL_MAX
            && let Some(at) = self.tell.iter().position(Say::is_periodic)
        {
            self.tell.remove(at);
        }
        self.tell.push_back(say);
    }

    /// By this station's clock, which never shows the same time twice.
    fn stamp(&mut self) -> String {
        let shown_us = self.now.0.saturating_add_signed(self.setup.clock_off_us);
        self.last_stamp = (shown_us / 1_000).max(self.last_stamp + 1);
        Timestamp::from_millis(self.last_stamp).to_rfc3339()
    }
}

/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(300);

/// So long from now, more or less.
fn spread(rng: &mut Rng, now: Timestamp, about: Duration) -> Timestamp {
    let about_us = u64::try_from(about.as_micros()).unwrap_or(u64::MAX);
    now.saturating_add(Duration::from_micros(about_us / 2 + rng.below(about_us)))
}

fn wh(register_mwh: u64) -> i64 {
    i64::try_from(register_mwh / 1_000).expect("a register that is not from the stars")
}
