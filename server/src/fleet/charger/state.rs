//! A charger: its connectors, its transactions, and the calls it makes.
//!
//! **Invariants**
//! * Pure: time is an argument, chance comes from a seed, and what is to be done comes out as actions.
//! * One call is out at a time. Events of transactions keep their order, across lost connections too.
//! * Before a boot was accepted nothing but a boot is sent.
//! * A register never runs back, and a session's energy is the difference of its register.

use super::message::{
    Answer, Context, Facts, Flow, Message, Profile, Sample, Setting, Status, StopReason,
    TransactionKind, TransactionMessage,
};
use super::{say_v16, say_v201, settings};
use crate::fleet::car::{Car, MILLIJOULES_PER_WH, Outlet};
use crate::fleet::limits::{Limit, smallest};
use crate::fleet::random::Random;
use novax_model::{Duration, Timestamp};
use novax_wire::ocpp::Version;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Calls that wait at most; then the oldest periodic reading goes.
const QUEUE_MAX: usize = 500;
/// With so many events waiting a charger takes no more customers: its memory is full.
const QUEUE_FULL: usize = 2 * QUEUE_MAX;
/// No answer in this time: the connection is dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// An event that the hub could not take is tried again so often.
const ATTEMPTS_MAX: u32 = 8;
/// A vehicle stops below 6 A at 230 V.
const POWER_W_MIN: u64 = 1_380;
/// How long an app's start may take to come back as a command.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(80);
/// The longest step of the meter, and the longest time that is made up for.
const STEP_MS_MAX: u64 = 5_000;
const CATCH_UP_MS_MAX: u64 = 3_600_000;

/// How the drivers behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct Plan {
    pub(in crate::fleet) meter_interval: Duration,
    /// How long a session lasts, about.
    pub(in crate::fleet) session: Duration,
    /// How long a connector is free between two, about.
    pub(in crate::fleet) pause: Duration,
    /// So many of a hundred sessions are started by an app.
    pub(in crate::fleet) app_percent: u8,
}

/// What a connector is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct ConnectorSetup {
    pub(in crate::fleet) outlet: Outlet,
    pub(in crate::fleet) power_w_max: u64,
    /// Whose vehicle comes here.
    pub(in crate::fleet) driver: String,
    pub(in crate::fleet) token: String,
    /// Where the meter stood when it was last heard of.
    pub(in crate::fleet) register_wh: u64,
}

/// Something for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum Note {
    StartAccepted,
    StartRefused,
    Stopped,
    /// A call was answered with an error, not at all, or with nonsense.
    CallFailed,
    /// A periodic reading was dropped, or an event given up.
    EventDropped,
}

/// What an app is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) enum AppCall {
    /// Start a charge here; the answer is [`Event::AppStarted`].
    Start { evse: u16, visit: u32, token: String },
    /// Stop it.
    Stop { session: String },
    /// The wallet may be empty.
    TopUp { driver: String },
}

/// What a charger wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) enum Action {
    /// Send this text message.
    Send(Vec<u8>),
    /// Close the connection.
    Close,
    /// Have an app do something.
    App(AppCall),
    /// Count.
    Note(Note),
    /// The hub acknowledged an event of a transaction.
    Acknowledged { event: TransactionMessage, number: Option<i32>, accepted: bool },
}

/// A free connector, a vehicle that waits, a transaction, a vehicle that is about to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Free { until: Timestamp },
    Waiting { car: Box<Car>, by_app: bool, awaits: Awaits, until: Timestamp },
    Charging(Box<Session>),
    Parked { until: Timestamp },
}

/// What a plugged-in vehicle waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaits {
    /// The driver, who gets out a card or a phone.
    Driver,
    /// The hub's word about the card.
    Authorization,
    /// The hub's command, asked for by an app.
    Remote,
}

/// A transaction that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) facts: Arc<Facts>,
    pub(super) car: Car,
    pub(super) limit: Option<Limit>,
    power_w: u64,
    /// Energy is accounted for up to here.
    advanced: Timestamp,
    /// The hub has not answered the start, which was made while connected.
    unanswered: bool,
    next_meter: Timestamp,
    leaves: Timestamp,
    next_seq_no: i64,
    /// Its id at the hub, when an app started it.
    app_session: Option<String>,
}

/// A connector; in 2.0.1 an EVSE with one.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) evse: u16,
    setup: ConnectorSetup,
    register_mj: u64,
    pub(super) operative: bool,
    pub(super) phase: Phase,
    pub(super) limit: Option<Limit>,
    told: Option<Status>,
    visits: u32,
}

#[derive(Debug, Clone)]
struct Queued {
    message: Message,
    attempts: u32,
}

#[derive(Debug)]
struct InFlight {
    id: String,
    queued: Queued,
    deadline: Timestamp,
}

/// How a charger restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    /// When nothing charges any more.
    WhenIdle,
    /// After ending its transactions.
    Now { immediate: bool },
}

/// Where the charger stands with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    /// Connected, boots at this time.
    Booting(Timestamp),
    Up,
}

/// A charger.
#[derive(Debug)]
pub(in crate::fleet) struct Charger {
    pub(super) profile: Profile,
    pub(super) version: Version,
    pub(super) connectors: Vec<Connector>,
    pub(super) limit: Option<Limit>,
    pub(super) settings: Vec<Setting>,
    pub(super) now: Timestamp,
    plan: Plan,
    random: Random,
    link: Link,
    booted: bool,
    heartbeat: Duration,
    next_heartbeat: Timestamp,
    queue: VecDeque<Queued>,
    /// Nothing is sent before this: the hub could not take the last call.
    retry_at: Timestamp,
    in_flight: Option<InFlight>,
    last_id: u64,
    sessions: u32,
    /// 1.6: the hub's number of each transaction that it has not seen end.
    numbers: BTreeMap<u32, i32>,
    /// A restart is due.
    pub(super) restart: Option<Restart>,
    leaving: bool,
    actions: Vec<Action>,
}

impl Charger {
    pub(in crate::fleet) fn new(
        profile: Profile,
        version: Version,
        connectors: Vec<ConnectorSetup>,
        plan: Plan,
        random: Random,
        now: Timestamp,
    ) -> Charger {
        let mut charger = Charger {
            profile,
            version,
            connectors: Vec::new(),
            limit: None,
            settings: settings::of_station(connectors.len(), plan.meter_interval),
            now,
            heartbeat: Duration::from_secs(300),
            plan,
            random,
            link: Link::Down,
            booted: false,
            next_heartbeat: now,
            queue: VecDeque::new(),
            retry_at: Timestamp::ZERO,
            in_flight: None,
            last_id: 0,
            sessions: 0,
            numbers: BTreeMap::new(),
            restart: None,
            leaving: false,
            actions: Vec::new(),
        };
        for (evse, setup) in (1..).zip(connectors) {
            let until = charger.after(Duration::ZERO, charger.plan.pause);
            charger.connectors.push(Connector {
                evse,
                register_mj: setup.register_wh * MILLIJOULES_PER_WH,
                setup,
                operative: true,
                phase: Phase::Free { until },
                limit: None,
                told: None,
                visits: 0,
            });
        }
        assert!(!charger.connectors.is_empty(), "a charger has a connector");
        charger
    }

    pub(in crate::fleet) fn identity(&self) -> &str {
        &self.profile.identity
    }

    pub(in crate::fleet) fn version(&self) -> Version {
        self.version
    }

    /// Power of all connectors.
    pub(in crate::fleet) fn power_w(&self) -> u64 {
        self.running().map(|session| session.power_w).sum()
    }

    /// Transactions that run.
    pub(in crate::fleet) fn charging(&self) -> usize {
        self.running().count()
    }

    /// Leaving, and nothing is left to say.
    pub(in crate::fleet) fn is_done(&self) -> bool {
        self.leaving && self.queue.is_empty() && self.in_flight.is_none()
    }

    /// When there is something to do next, if nothing happens before.
    pub(in crate::fleet) fn wakeup(&self) -> Timestamp {
        const IDLE_MAX: Duration = Duration::from_secs(60);
        let mut wakeup = self.now.saturating_add(IDLE_MAX);
        for connector in &self.connectors {
            wakeup = wakeup.min(match &connector.phase {
                Phase::Free { until } | Phase::Waiting { until, .. } | Phase::Parked { until } => {
                    *until
                }
                Phase::Charging(session) => session.wakeup(),
            });
        }
        match (self.link, &self.in_flight) {
            (_, Some(call)) => wakeup.min(call.deadline),
            (Link::Booting(at), None) => wakeup.min(at),
            (Link::Up, None) if self.queue.is_empty() => wakeup.min(self.next_heartbeat),
            (Link::Up, None) => wakeup.min(self.retry_at),
            (Link::Down, None) => wakeup,
        }
    }

    pub(super) fn take_actions(&mut self, out: &mut Vec<Action>) {
        out.append(&mut self.actions);
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn online(&self) -> bool {
        self.link == Link::Up
    }

    fn running(&self) -> impl Iterator<Item = &Session> {
        self.connectors.iter().filter_map(|connector| match &connector.phase {
            Phase::Charging(session) => Some(&**session),
            _ => None,
        })
    }

    /// A moment from `low` to `low + span` from now.
    fn after(&mut self, low: Duration, span: Duration) -> Timestamp {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let drawn = Duration::from_millis(self.random.between(0, span_ms));
        self.now.saturating_add(low).saturating_add(drawn)
    }

    /// Where a connector stands in the list. Numbers count from one.
    pub(super) fn index(&self, evse: u16) -> Option<usize> {
        let at = usize::from(evse).checked_sub(1)?;
        (at < self.connectors.len()).then_some(at)
    }
}

/// The connection.
impl Charger {
    pub(super) fn opened(&mut self) {
        assert!(self.in_flight.is_none(), "a new connection has no call out");
        self.link = if self.booted { Link::Up } else { Link::Booting(self.now) };
        self.forget_told();
    }

    pub(super) fn closed(&mut self) {
        self.link = Link::Down;
        if let Some(call) = self.in_flight.take()
            && call.queued.message.is_transactional()
        {
            self.queue.push_front(call.queued);
        }
        self.queue.retain(|queued| queued.message.is_transactional());
        self.retry_at = Timestamp::ZERO;
        for connector in &mut self.connectors {
            match &mut connector.phase {
                // The driver tries again, without the hub if need be.
                Phase::Waiting { awaits: awaits @ Awaits::Authorization, until, .. } => {
                    *awaits = Awaits::Driver;
                    *until = self.now;
                }
                // A card that cannot be asked about is good until the hub says otherwise.
                Phase::Charging(session) => session.unanswered = false,
                Phase::Free { .. } | Phase::Waiting { .. } | Phase::Parked { .. } => {}
            }
        }
    }

    /// After a connection or a boot the hub is told the state of every connector.
    pub(super) fn forget_told(&mut self) {
        for connector in &mut self.connectors {
            connector.told = None;
        }
    }

    pub(super) fn enqueue(&mut self, message: Message) {
        if self.queue.len() >= QUEUE_MAX {
            let reading = |queued: &Queued| match &queued.message {
                Message::Transaction(event) => matches!(event.kind, TransactionKind::Meter(_)),
                _ => true,
            };
            if let Some(at) = self.queue.iter().position(reading) {
                self.queue.remove(at);
                self.act(Action::Note(Note::EventDropped));
            }
        }
        self.queue.push_back(Queued { message, attempts: 0 });
        assert!(self.queue.len() <= QUEUE_FULL + 2 * self.connectors.len() + 8);
    }

    /// Sends the next call, if one may be sent.
    pub(super) fn pump(&mut self) {
        while self.in_flight.is_none() {
            let queued = match self.link {
                Link::Booting(at) if at <= self.now => {
                    Queued { message: Message::Boot, attempts: 0 }
                }
                Link::Up if self.retry_at <= self.now => match self.queue.pop_front() {
                    Some(queued) => queued,
                    None => return,
                },
                Link::Down | Link::Booting(_) | Link::Up => return,
            };
            self.send(queued);
        }
    }

    fn send(&mut self, queued: Queued) {
        self.last_id += 1;
        let id = self.last_id.to_string();
        let mut text = Vec::with_capacity(512);
        let written = match self.version {
            Version::V16 => {
                let number = match &queued.message {
                    Message::Transaction(event) => self.numbers.get(&event.facts.number).copied(),
                    _ => None,
                };
                say_v16::write(&self.profile, &queued.message, number, &id, &mut text)
            }
            Version::V201 => {
                say_v201::write(&self.profile, &queued.message, &id, &mut text);
                true
            }
        };
        if !written {
            // 1.6: its start was given up, so the hub has no name for this transaction.
            self.act(Action::Note(Note::EventDropped));
            return;
        }
        self.act(Action::Send(text));
        self.next_heartbeat = self.now.saturating_add(self.heartbeat);
        let deadline = self.now.saturating_add(ANSWER_TIMEOUT);
        self.in_flight = Some(InFlight { id, queued, deadline });
    }

    pub(super) fn answered(&mut self, id: &str, payload: &str) {
        let Some(call) = self.in_flight.take_if(|call| call.id == id) else {
            return self.act(Action::Note(Note::CallFailed));
        };
        let message = &call.queued.message;
        let answer = match self.version {
            Version::V16 => say_v16::read_answer(message, payload),
            Version::V201 => say_v201::read_answer(message, payload),
        };
        match answer {
            Ok(answer) => self.follow(call.queued.message, answer),
            Err(_) => self.try_again(call.queued),
        }
    }

    pub(super) fn refused(&mut self, id: &str) {
        match self.in_flight.take_if(|call| call.id == id) {
            Some(call) => self.try_again(call.queued),
            None => self.act(Action::Note(Note::CallFailed)),
        }
    }

    /// The hub could not take a call.
    fn try_again(&mut self, mut queued: Queued) {
        const PATIENCE: Duration = Duration::from_secs(2);
        self.act(Action::Note(Note::CallFailed));
        match queued.message {
            Message::Boot => self.link = Link::Booting(self.now.saturating_add(5 * PATIENCE)),
            Message::Transaction(_) => {
                queued.attempts += 1;
                if queued.attempts >= ATTEMPTS_MAX {
                    return self.act(Action::Note(Note::EventDropped));
                }
                self.retry_at = self.now.saturating_add(PATIENCE * queued.attempts);
                self.queue.push_front(queued);
            }
            Message::Authorize { evse, .. } => self.card_answered(evse, false),
            Message::Heartbeat
            | Message::Status { .. }
            | Message::Reading { .. }
            | Message::Report { .. } => {}
        }
    }

    fn follow(&mut self, message: Message, answer: Answer) {
        match (message, answer) {
            (Message::Boot, Answer::Booted { accepted, interval_s }) => {
                let interval = Duration::from_secs(u64::from(interval_s.clamp(1, 86_400)));
                if accepted {
                    (self.link, self.booted, self.heartbeat) = (Link::Up, true, interval);
                    settings::set(&mut self.settings, "HeartbeatInterval", interval_s);
                } else {
                    self.link = Link::Booting(self.now.saturating_add(interval));
                }
            }
            (Message::Authorize { evse, .. }, Answer::Authorized(accepted)) => {
                self.card_answered(evse, accepted);
            }
            (Message::Transaction(event), Answer::Transaction { number, accepted }) => {
                self.event_answered(event, number, accepted);
            }
            _ => {}
        }
    }

    fn event_answered(&mut self, event: TransactionMessage, number: Option<i32>, accepted: bool) {
        let facts = event.facts.clone();
        if let Some(number) = number {
            self.numbers.insert(facts.number, number);
        }
        let number = self.numbers.get(&facts.number).copied();
        let kind = event.kind;
        self.act(Action::Acknowledged { event, number, accepted });
        match kind {
            TransactionKind::Start => {
                self.act(Action::Note(match accepted {
                    true => Note::StartAccepted,
                    false => Note::StartRefused,
                }));
                if let Some((_, session)) = self.session_mut(facts.number) {
                    session.unanswered = false;
                }
            }
            TransactionKind::Meter(_) => {}
            TransactionKind::Stop(_) => {
                self.numbers.remove(&facts.number);
                self.act(Action::Note(Note::Stopped));
            }
        }
        if !accepted && let Some((at, _)) = self.session_mut(facts.number) {
            self.end_session(at, StopReason::DeAuthorized);
            self.ask_top_up(at);
        }
    }

    fn session_mut(&mut self, number: u32) -> Option<(usize, &mut Session)> {
        self.connectors.iter_mut().enumerate().find_map(|(at, connector)| {
            match &mut connector.phase {
                Phase::Charging(session) if session.facts.number == number => {
                    Some((at, &mut **session))
                }
                _ => None,
            }
        })
    }

    /// The transaction that the hub names, by its 1.6 number or its 2.0.1 id.
    pub(super) fn find_transaction(&self, name: &str) -> Option<usize> {
        self.connectors.iter().position(|connector| match &connector.phase {
            Phase::Charging(session) => match self.version {
                Version::V16 => {
                    let number = self.numbers.get(&session.facts.number);
                    number.is_some_and(|number| name.parse() == Ok(*number))
                }
                Version::V201 => session.facts.name == name,
            },
            _ => false,
        })
    }
}

/// Drivers and their vehicles.
impl Charger {
    /// Whatever is due now.
    pub(super) fn live(&mut self) {
        if self.in_flight.as_ref().is_some_and(|call| call.deadline <= self.now) {
            self.act(Action::Note(Note::CallFailed));
            self.act(Action::Close);
        }
        for at in 0..self.connectors.len() {
            self.live_connector(at);
        }
        if self.online() && self.next_heartbeat <= self.now && self.queue.is_empty() {
            self.enqueue(Message::Heartbeat);
            self.next_heartbeat = self.now.saturating_add(self.heartbeat);
        }
        self.live_restart();
        self.tell_status();
    }

    fn live_connector(&mut self, at: usize) {
        let now = self.now;
        let full = self.queue.len() >= QUEUE_MAX;
        let resting = self.leaving || self.restart.is_some() || full;
        let connector = &mut self.connectors[at];
        match &mut connector.phase {
            Phase::Free { until } if *until <= now => {
                if resting || !connector.operative {
                    *until = now.saturating_add(Duration::from_secs(5));
                } else {
                    self.plug_in(at);
                }
            }
            Phase::Waiting { until, .. } if self.leaving => {
                *until = now;
                connector.phase = Phase::Free { until: now };
            }
            Phase::Waiting { awaits, by_app, until, .. } if *until <= now => {
                match (*awaits, *by_app) {
                    (Awaits::Driver, by_app) => self.show(at, by_app),
                    (Awaits::Authorization | Awaits::Remote, _) => self.drive_off(at),
                }
            }
            Phase::Parked { until } if *until <= now => {
                let pause = self.plan.pause;
                let until = self.after(pause / 2, pause);
                self.connectors[at].phase = Phase::Free { until };
            }
            Phase::Charging(_) => self.live_session(at),
            Phase::Free { .. } | Phase::Waiting { .. } | Phase::Parked { .. } => {}
        }
    }

    fn plug_in(&mut self, at: usize) {
        const FUMBLE: Duration = Duration::from_secs(2);
        let by_app = self.random.chance(self.plan.app_percent);
        let setup = &self.connectors[at].setup;
        let (outlet, power_w_max) = (setup.outlet, setup.power_w_max);
        let car = Box::new(Car::arrive(outlet, power_w_max, &mut self.random));
        let until = self.after(FUMBLE / 4, FUMBLE);
        let connector = &mut self.connectors[at];
        connector.visits += 1;
        connector.phase = Phase::Waiting { car, by_app, awaits: Awaits::Driver, until };
    }

    /// The driver shows a card, or asks with the app when there is a connection.
    fn show(&mut self, at: usize, by_app: bool) {
        let (now, online) = (self.now, self.online());
        let connector = &mut self.connectors[at];
        let (evse, visit, token) =
            (connector.evse, connector.visits, connector.setup.token.clone());
        let Phase::Waiting { awaits, until, .. } = &mut connector.phase else { return };
        match (online, by_app) {
            (true, true) => {
                *awaits = Awaits::Remote;
                *until = now.saturating_add(REMOTE_TIMEOUT);
                self.act(Action::App(AppCall::Start { evse, visit, token }));
            }
            (true, false) => {
                *awaits = Awaits::Authorization;
                *until = now.saturating_add(2 * ANSWER_TIMEOUT);
                self.enqueue(Message::Authorize { evse, token });
            }
            (false, _) => self.start_session(at, token, None, false),
        }
    }

    fn card_answered(&mut self, evse: u16, accepted: bool) {
        let Some(at) = self.index(evse) else { return };
        let waits = matches!(
            self.connectors[at].phase,
            Phase::Waiting { awaits: Awaits::Authorization, .. }
        );
        if waits && accepted {
            let token = self.connectors[at].setup.token.clone();
            self.start_session(at, token, None, false);
        } else if waits {
            self.act(Action::Note(Note::StartRefused));
            self.ask_top_up(at);
            self.drive_off(at);
        }
    }

    fn ask_top_up(&mut self, at: usize) {
        let driver = self.connectors[at].setup.driver.clone();
        self.act(Action::App(AppCall::TopUp { driver }));
    }

    /// An app's request was answered: the hub's session id, or none when it refused.
    pub(super) fn app_started(&mut self, evse: u16, visit: u32, hub_session: Option<String>) {
        let Some(at) = self.index(evse) else { return };
        let connector = &mut self.connectors[at];
        if connector.visits != visit {
            return;
        }
        match (&mut connector.phase, hub_session) {
            (Phase::Charging(session), Some(id)) => session.app_session = Some(id),
            (Phase::Waiting { awaits: Awaits::Remote, .. }, None) => {
                self.act(Action::Note(Note::StartRefused));
                self.ask_top_up(at);
                self.drive_off(at);
            }
            // The command is still to come, or it is all over.
            _ => {}
        }
    }

    fn drive_off(&mut self, at: usize) {
        const DEPARTURE: Duration = Duration::from_secs(3);
        let until = self.after(DEPARTURE / 2, DEPARTURE);
        self.connectors[at].phase = Phase::Parked { until };
    }

    /// A transaction begins: with the vehicle that is there, or with one that arrives.
    pub(super) fn start_session(
        &mut self,
        at: usize,
        token: String,
        remote_start_id: Option<i32>,
        remote: bool,
    ) {
        if !matches!(self.connectors[at].phase, Phase::Waiting { .. }) {
            self.plug_in(at);
        }
        let stay = self.plan.session;
        let leaves = self.after(stay / 2, stay);
        let online = self.online();
        let next_meter = self.now.saturating_add(self.plan.meter_interval);
        self.sessions += 1;
        let connector = &mut self.connectors[at];
        let free = Phase::Free { until: self.now };
        let Phase::Waiting { car, .. } = std::mem::replace(&mut connector.phase, free) else {
            unreachable!("a vehicle was plugged in above")
        };
        let millis = self.now.as_millis();
        let facts = Arc::new(Facts {
            number: self.sessions,
            evse: connector.evse,
            token,
            name: format!("{millis:x}-{}-{}", connector.evse, self.sessions),
            started: self.now,
            meter_start_wh: (connector.register_mj / MILLIJOULES_PER_WH).cast_signed(),
            remote_start_id,
            remote,
        });
        connector.phase = Phase::Charging(Box::new(Session {
            facts,
            car: *car,
            limit: None,
            power_w: 0,
            advanced: self.now,
            unanswered: online,
            next_meter,
            leaves,
            next_seq_no: 0,
            app_session: None,
        }));
        self.say(at, TransactionKind::Start, Context::Begin);
    }

    /// Queues an event of the transaction that runs there.
    pub(super) fn say(&mut self, at: usize, kind: TransactionKind, context: Context) {
        let (now, offline) = (self.now, !self.online());
        let connector = &mut self.connectors[at];
        let register_mj = connector.register_mj;
        let Phase::Charging(session) = &mut connector.phase else { return };
        let seq_no = session.next_seq_no;
        session.next_seq_no += 1;
        let power_w = if context == Context::End { 0 } else { session.power_w };
        let measured = session.car.measure(power_w, register_mj);
        let sample = Sample { at: now, context, measured };
        let facts = session.facts.clone();
        let event = TransactionMessage { facts, sample, seq_no, offline, kind };
        self.enqueue(Message::Transaction(event));
    }

    fn live_session(&mut self, at: usize) {
        let now = self.now;
        let flow = self.flow(at);
        let Phase::Charging(session) = &mut self.connectors[at].phase else { return };
        if session.car.is_full() {
            // A driver whose battery is full comes back soon.
            session.leaves = session.leaves.min(now.saturating_add(self.plan.pause));
        }
        if session.leaves <= now || self.leaving {
            match session.app_session.take() {
                // The app asks the hub, the hub asks us; if nothing comes the driver pulls the plug.
                Some(id) if !self.leaving && matches!(self.link, Link::Up) => {
                    session.leaves = now.saturating_add(REMOTE_TIMEOUT / 4);
                    self.act(Action::App(AppCall::Stop { session: id }));
                }
                _ => {
                    let pulls = self.random.chance(30);
                    let reason = if pulls { StopReason::Departed } else { StopReason::Local };
                    self.end_session(at, reason);
                }
            }
        } else if session.next_meter <= now {
            session.next_meter = now.saturating_add(self.plan.meter_interval);
            self.say(at, TransactionKind::Meter(flow), Context::Periodic);
        }
    }

    pub(super) fn end_session(&mut self, at: usize, reason: StopReason) {
        self.say(at, TransactionKind::Stop(reason), Context::End);
        self.drive_off(at);
    }

    pub(super) fn flow(&self, at: usize) -> Flow {
        match &self.connectors[at].phase {
            Phase::Charging(session) if session.car.is_full() => Flow::SuspendedEv,
            Phase::Charging(session) if session.power_w > 0 || session.car.is_ramping() => {
                Flow::Charging
            }
            _ => Flow::SuspendedEvse,
        }
    }

    /// The energy up to now, and the power from now on.
    pub(super) fn advance(&mut self) {
        let now = self.now;
        let running = self.charging().max(1) as u64;
        let station = self.limit.as_ref().and_then(|limit| limit.watts(now));
        let share = station.map(|watts| watts / running);
        for connector in &mut self.connectors {
            let (power_w_max, default) = (connector.setup.power_w_max, &connector.limit);
            let default = default.as_ref().and_then(|limit| limit.watts(now));
            let Phase::Charging(session) = &mut connector.phase else { continue };
            let own = session.limit.as_ref().and_then(|limit| limit.watts(now));
            let limit = smallest(&[share, default, own, Some(power_w_max)]);
            let limit_w = match limit.unwrap_or(power_w_max) {
                too_little if too_little < POWER_W_MIN => 0,
                enough => enough,
            };
            connector.register_mj += session.advance(now, limit_w);
        }
    }

    fn tell_status(&mut self) {
        if !self.online() {
            return;
        }
        for at in 0..self.connectors.len() {
            let status = self.status(at);
            if self.connectors[at].told != Some(status) {
                self.connectors[at].told = Some(status);
                self.tell(at);
            }
        }
    }

    /// Queues a StatusNotification.
    pub(super) fn tell(&mut self, at: usize) {
        let (evse, status) = (self.connectors[at].evse, self.status(at));
        self.enqueue(Message::Status { evse, status, at: self.now });
    }

    fn status(&self, at: usize) -> Status {
        let connector = &self.connectors[at];
        match &connector.phase {
            Phase::Free { .. } if !connector.operative => Status::Unavailable,
            Phase::Free { .. } => Status::Available,
            Phase::Waiting { .. } => Status::Preparing,
            Phase::Parked { .. } => Status::Finishing,
            Phase::Charging(session) if session.unanswered => Status::Preparing,
            Phase::Charging(_) => match self.flow(at) {
                Flow::Charging => Status::Charging,
                Flow::SuspendedEv => Status::SuspendedEv,
                Flow::SuspendedEvse => Status::SuspendedEvse,
            },
        }
    }

    /// What a meter says outside transactions.
    pub(super) fn reading(&mut self, at: usize) {
        let connector = &self.connectors[at];
        let nobody = Car::arrive(
            connector.setup.outlet,
            connector.setup.power_w_max,
            &mut Random::new(0, u64::from(connector.evse)),
        );
        let measured = nobody.measure(0, connector.register_mj);
        let sample = Sample { at: self.now, context: Context::Trigger, measured };
        self.enqueue(Message::Reading { evse: connector.evse, sample });
    }

    /// Ends the sessions and goes when everything is said.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    fn live_restart(&mut self) {
        let Some(restart) = self.restart else { return };
        if let Restart::Now { immediate } = restart {
            for at in 0..self.connectors.len() {
                if matches!(self.connectors[at].phase, Phase::Charging(_)) {
                    self.end_session(at, StopReason::Reset { immediate });
                }
            }
        }
        let quiet = self.queue.is_empty() && self.in_flight.is_none();
        if self.charging() == 0 && quiet {
            self.restart = None;
            self.booted = false;
            self.act(Action::Close);
        }
    }

    /// The interval of a setting that was changed takes effect.
    pub(super) fn apply_setting(&mut self, key: &str, seconds: u64) {
        let interval = Duration::from_secs(seconds.clamp(1, 86_400));
        match key {
            "HeartbeatInterval" => self.heartbeat = interval,
            "MeterValueSampleInterval" => self.plan.meter_interval = interval,
            _ => {}
        }
    }
}

impl Session {
    fn wakeup(&self) -> Timestamp {
        const RAMP_STEP: Duration = Duration::from_secs(1);
        let next = self.next_meter.min(self.leaves);
        let ramps = self.car.is_ramping();
        if ramps { next.min(self.advanced.saturating_add(RAMP_STEP)) } else { next }
    }

    /// Draws what it wants within the limit; returns the energy.
    fn advance(&mut self, now: Timestamp, limit_w: u64) -> u64 {
        let elapsed = now.since(self.advanced).as_millis();
        let mut left_ms = u64::try_from(elapsed).unwrap_or(u64::MAX).min(CATCH_UP_MS_MAX);
        self.advanced = self.advanced.max(now);
        let limit_w = if self.unanswered { 0 } else { limit_w };
        let mut energy_mj = 0;
        while left_ms > 0 {
            let step_ms = left_ms.min(STEP_MS_MAX);
            // The power that was told holds for the time that has passed.
            energy_mj += self.car.draw(self.power_w, step_ms);
            self.power_w = self.car.wants_w().min(limit_w);
            left_ms -= step_ms;
        }
        self.power_w = self.car.wants_w().min(limit_w);
        energy_mj
    }
}
