//! Operators, drivers with their apps, and the payment provider.

use super::{Event, World};
use crate::client::{Done, Op, Task};
use crate::node::Running;
use crate::station;
use crate::truth::{AppStart, Means};
use novax_charging::Refusal;
use novax_model::Duration;

impl World {
    /// Asks any node that takes questions.
    pub(super) fn ask(&mut self, op: Op) {
        let ready = |node: &usize| self.nodes[*node].up.as_ref().is_some_and(Running::is_ready);
        let ready: Vec<usize> = (0..self.nodes.len()).filter(ready).collect();
        if ready.is_empty() {
            self.ask_later(op);
            return;
        }
        let node = ready[self.rng.below_usize(ready.len())];
        let up = self.nodes[node].up.as_ref().expect("just seen");
        self.tasks.push((node, Task::begin(up.control.clone(), op)));
        self.poll_tasks();
        self.look_after(node);
    }

    pub(super) fn ask_later(&mut self, op: Op) {
        let delay = Duration::from_millis(100 + self.rng.below(3_000));
        self.agenda.put_in(delay, Event::Ask { op });
    }

    pub(super) fn poll_tasks(&mut self) {
        let mut at = 0;
        while at < self.tasks.len() {
            match self.tasks[at].1.poll() {
                None => at += 1,
                Some(done) => {
                    let (_, task) = self.tasks.swap_remove(at);
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
                self.truth.promised(session, &start);
                self.station(station, station::Event::App { evse, promised: true });
            }
            (Op::Start { station, evse, .. }, Done::Refused(_)) => {
                self.station(station, station::Event::App { evse, promised: false });
            }
            (op @ Op::Deposit { .. }, Done::Yes) => self.paid_in(op),
            (Op::Station(..), Done::Refused(Refusal::UnknownSite)) => {
                self.truth.wrong.push("a site that was made is not known".to_owned());
            }
            // An app's stop comes for a session that may be over; a provider's answer may have come before.
            (Op::Stop(_) | Op::Answer(_), _) | (_, Done::Yes) => {}
            (op, done) => self.truth.wrong.push(format!("{op:?} was answered {done:?}")),
        }
    }

    fn paid_in(&mut self, op: Op) {
        let Op::Deposit { driver, key, amount, .. } = &op else { return };
        self.truth.paid_in(*driver, key, *amount);
        // To whoever paid in, the answer may be lost, and they ask again under the same key. Setting up goes
        // step by step.
        if !op.is_setup() && self.rng.one_in(4) {
            self.ask_later(op);
        }
    }

    pub(super) fn go_on_with_setup(&mut self) {
        let ready = self.nodes.iter().any(|node| node.up.as_ref().is_some_and(Running::is_ready));
        if !ready || self.setting_up {
            return;
        }
        if let Some(op) = self.setup.pop_front() {
            self.setting_up = true;
            self.ask(op);
        }
    }

    pub(super) fn app_starts(&mut self, station: usize, evse: u16, start: AppStart) {
        let of = &self.places[station].station;
        let token = self.truth.drivers[of.driver(evse)].token.clone();
        let op = Op::Start { station, evse, start, token };
        self.ask_later(op);
    }

    pub(super) fn take_asked(&mut self, node: usize) {
        let Some(up) = &mut self.nodes[node].up else { return };
        let mut replies = Vec::new();
        while let Ok(asked) = up.asked.try_recv() {
            replies.extend(self.provider.ask(&asked.payment));
        }
        for (delay, reply) in replies {
            self.agenda.put_in(delay, Event::Ask { op: Op::Answer(reply) });
        }
    }

    /// A driver whose wallet ran dry pays in again.
    pub(super) fn pay_in(&mut self) {
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

    pub(super) fn app_stops(&mut self) {
        if self.ending {
            return;
        }
        let count = self.truth.apps.len();
        if count > 0 {
            // One of the newest: it may still run.
            let newest = self.truth.apps.len().min(8);
            let skip = count - 1 - self.rng.below_usize(newest);
            let (session, start) = self.truth.apps.iter().nth(skip).expect("below the count");
            let (session, place) = (*session, (start.station.clone(), start.evse));
            self.truth.cancelled.insert(place);
            self.ask(Op::Stop(session));
        }
        let delay = Duration::from_secs(30 + self.rng.below(200));
        self.agenda.put_in(delay, Event::AppStops);
    }
}
