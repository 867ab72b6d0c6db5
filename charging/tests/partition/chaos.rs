//! Random charges at stations that lose power and replies, with messages lost, doubled and out of
//! order, drivers here and in another partition: when all is quiet, everything is settled, and money,
//! sessions and chargers agree.
//!
//! The chargers here are the truth: what each of them delivered is known. Stations of 2.x name their
//! transactions, so what a session bills must be what was delivered; those of 1.6 do not, so only the
//! books are compared.

use crate::saga::World;
use crate::windows::{SETUP, agree, play};
use novax_charging::{
    Answer, Command, EndTransaction, Keyspace, OutboxKind, Outcome, Payer, PayerRef, PaymentAnswer,
    PaymentKind, PaymentRow, PaymentState, PeerCommand, PlaceHold, Protocol, RequestStart,
    SessionRow, SessionState, StartTransaction, StationCommand, TransactionRef,
};
use novax_model::{
    ConnectorRef, Currency, Identity, Measurand, MeterTick, NodeId, PartitionId, SessionId,
    Timestamp, TokenUid, WattHours,
};
use novax_tsdb::BlockBuilder;
use proptest::prelude::*;
use std::collections::BTreeMap;

const EVSES: u16 = 3;

/// What happens next. Numbers choose among what there is, modulo how much there is.
#[derive(Debug, Clone)]
enum Step {
    /// A cable goes in and a card is shown, unless the connector is taken.
    Plug {
        station: bool,
        evse: u8,
        card: u8,
    },
    /// An app asks for a charge.
    App {
        station: bool,
        evse: u8,
        card: u8,
    },
    /// Energy flows; its meter value may be lost.
    Flow {
        charge: u8,
        energy_wh: u16,
        lost: bool,
    },
    Unplug {
        charge: u8,
    },
    /// A message on its way arrives, in any order. The reply may be lost: then it is sent again.
    Arrive {
        message: u8,
        reply_lost: bool,
    },
    /// A message is lost for ever.
    Lose {
        message: u8,
    },
    /// A message that arrived before arrives again.
    Again {
        message: u8,
    },
    /// The station answers what it is asked.
    Answers {
        row: u8,
        answer: u8,
    },
    /// The station loses power; what it charges goes on under a new transaction.
    PowerLoss {
        station: bool,
    },
    /// The node fails over.
    Restart {
        payer: bool,
    },
    Peer {
        from_payer: bool,
        row: u8,
        answer_lost: bool,
    },
    Wait {
        hours: u8,
    },
    /// The payment provider does what it is asked, or not; its answer may be lost.
    Provider {
        row: u8,
        answer: u8,
        answer_lost: bool,
    },
    /// Some of what a session cost is paid back.
    Refund {
        session: u8,
        amount: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let any8 = any::<u8>;
    let seldom = || prop::bool::weighted(0.25);
    prop_oneof![
        6 => (any::<bool>(), any8(), any8())
            .prop_map(|(station, evse, card)| Step::Plug { station, evse, card }),
        3 => (any::<bool>(), any8(), any8())
            .prop_map(|(station, evse, card)| Step::App { station, evse, card }),
        8 => (any8(), any::<u16>(), seldom())
            .prop_map(|(charge, energy_wh, lost)| Step::Flow { charge, energy_wh, lost }),
        5 => any8().prop_map(|charge| Step::Unplug { charge }),
        14 => (any8(), seldom())
            .prop_map(|(message, reply_lost)| Step::Arrive { message, reply_lost }),
        1 => any8().prop_map(|message| Step::Lose { message }),
        3 => any8().prop_map(|message| Step::Again { message }),
        5 => (any8(), any8()).prop_map(|(row, answer)| Step::Answers { row, answer }),
        1 => any::<bool>().prop_map(|station| Step::PowerLoss { station }),
        1 => any::<bool>().prop_map(|payer| Step::Restart { payer }),
        6 => (any::<bool>(), any8(), seldom())
            .prop_map(|(from_payer, row, answer_lost)| Step::Peer { from_payer, row, answer_lost }),
        2 => (1..100_u8).prop_map(|hours| Step::Wait { hours }),
        8 => (any8(), any8(), seldom())
            .prop_map(|(row, answer, answer_lost)| Step::Provider { row, answer, answer_lost }),
        1 => (any8(), any::<u16>()).prop_map(|(session, amount)| Step::Refund { session, amount }),
    ]
}

/// A charge as it truly happens.
#[derive(Debug, Clone)]
struct Charge {
    session: SessionId,
    station: usize,
    connector: ConnectorRef,
    card: TokenUid,
    remote_start_id: Option<i32>,
    meter_start: i64,
    register: i64,
    /// As the station names it: 1.6 only once the reply came.
    transaction: Option<TransactionRef>,
    over: bool,
    start_heard: bool,
    stop_heard: bool,
    lost_power: bool,
}

/// What is on its way to the hub.
#[derive(Debug, Clone)]
enum Message {
    Start { charge: usize, begun: StartTransaction },
    Stop { charge: usize, end: EndTransaction },
}

struct Chaos {
    world: World,
    charges: Vec<Charge>,
    flight: Vec<Message>,
    arrived: Vec<Message>,
    numbers: u128,
    epochs: u64,
    registers: [[i64; EVSES as usize]; 2],
    /// What the provider did, by operation: it does each once, however often it is asked.
    provider: BTreeMap<u128, PaymentAnswer>,
}

fn id(text: &str) -> Identity {
    Identity::new(text).unwrap()
}

fn token(text: &str) -> TokenUid {
    TokenUid::new(text).unwrap()
}

fn partition(node: usize) -> PartitionId {
    PartitionId(u16::try_from(node).unwrap())
}

const STATIONS: [&str; 2] = ["CP1", "CP2"];
/// The second station speaks 2.x.
const NAMES_ITS_OWN: usize = 1;

impl Chaos {
    fn new() -> Chaos {
        let mut world = World::with(|config| config.parked_per_station_max = 1_000);
        play(&mut world, SETUP);
        play(&mut world, "station CP2 garage\n card dora D\n p1 card erin E");
        Chaos {
            world,
            charges: Vec::new(),
            flight: Vec::new(),
            arrived: Vec::new(),
            numbers: 100,
            epochs: 10,
            registers: [[1_000; EVSES as usize]; 2],
            provider: BTreeMap::new(),
        }
    }

    fn one(&mut self, node: usize, command: Command) -> Outcome {
        self.world.now = Timestamp(self.world.now.0 + 1_000_000);
        self.world.nodes[node].apply_once(self.world.now, vec![command]).outcomes.remove(0)
    }

    fn number(&mut self) -> u128 {
        self.numbers += 1;
        self.numbers
    }

    /// The gateway finds the wallet, and holds there what is needed.
    fn payer(&mut self, session: SessionId, card: &TokenUid) -> PayerRef {
        if !["C", "E"].contains(&card.as_str())
            || self.world.nodes[0].partition.session(session).is_some()
        {
            return PayerRef::Local;
        }
        let place = PeerCommand::PlaceHold(PlaceHold {
            session,
            sequence: 0,
            token: card.clone(),
            amount: 500,
            currency: Currency::EUR,
        });
        match self.one(1, Command::Peer { from: partition(0), command: place }) {
            Outcome::Held { driver, amount, currency, attempt } => {
                PayerRef::Held { driver, partition: partition(1), amount, currency, attempt }
            }
            Outcome::Card { driver, card, debts } => PayerRef::Card { driver, card, debts },
            Outcome::Refused(refusal) => PayerRef::Refused(refusal),
            other => panic!("PlaceHold is not answered by {other:?}"),
        }
    }

    fn plug(&mut self, station: usize, evse: u16, card: TokenUid, remote: Option<i32>) {
        let connector = ConnectorRef { evse, connector: 1 };
        let is_here = |charge: &Charge| charge.station == station && charge.connector == connector;
        if self.charges.iter().any(|charge| !charge.over && is_here(charge)) {
            return;
        }
        let register = self.registers[station][usize::from(evse - 1)];
        let number = self.number();
        let named = TransactionRef::V201(format!("T{number}").into());
        self.charges.push(Charge {
            session: SessionId(number),
            station,
            connector,
            card,
            remote_start_id: remote,
            meter_start: register,
            register,
            transaction: (station == NAMES_ITS_OWN).then_some(named),
            over: false,
            start_heard: false,
            stop_heard: false,
            lost_power: false,
        });
        self.say_start(self.charges.len() - 1);
    }

    fn say_start(&mut self, charge: usize) {
        self.world.now = Timestamp(self.world.now.0 + 1_000_000);
        let of = &self.charges[charge];
        let begun = StartTransaction {
            session: of.session,
            identity: id(STATIONS[of.station]),
            connector: of.connector,
            transaction: of.transaction.clone(),
            remote_start_id: of.remote_start_id,
            token: of.card.clone(),
            meter_start: Some(WattHours(of.register)),
            at: self.world.now,
            payer: PayerRef::Local,
        };
        self.flight.push(Message::Start { charge, begun });
    }

    fn unplug(&mut self, charge: usize) {
        if self.charges[charge].over {
            return;
        }
        self.world.now = Timestamp(self.world.now.0 + 1_000_000);
        let now = self.world.now;
        let of = &mut self.charges[charge];
        of.over = true;
        self.registers[of.station][usize::from(of.connector.evse - 1)] = of.register;
        let end = EndTransaction {
            identity: id(STATIONS[of.station]),
            transaction: of.transaction.clone().unwrap_or(TransactionRef::V16(-1)),
            meter_stop: Some(WattHours(of.register)),
            at: now,
            reason: "Local".into(),
            signed: None,
        };
        self.flight.push(Message::Stop { charge, end });
    }

    fn arrive(&mut self, message: Message, reply_lost: bool) {
        match message.clone() {
            Message::Start { charge, mut begun } => {
                begun.payer = self.payer(begun.session, &begun.token);
                let outcome = self.one(0, Command::StartTransaction(begun));
                let of = &mut self.charges[charge];
                of.start_heard = true;
                if let Outcome::Started { transaction_id, .. } = outcome
                    && of.station != NAMES_ITS_OWN
                    && !reply_lost
                {
                    of.transaction = Some(TransactionRef::V16(transaction_id));
                }
            }
            Message::Stop { charge, end } => {
                self.one(0, Command::EndTransaction(end));
                self.charges[charge].stop_heard = true;
            }
        }
        self.arrived.push(message);
    }

    fn flow(&mut self, charge: usize, energy_wh: u16, lost: bool) {
        let of = &mut self.charges[charge];
        if of.over {
            return;
        }
        of.register += i64::from(energy_wh);
        if lost || !of.start_heard {
            return;
        }
        let (connector, register, at) = (of.connector, of.register, self.world.now);
        let station = self.world.nodes[0].partition.station(STATIONS[of.station]).unwrap();
        let mut tick = MeterTick { at, values: [None; 6] };
        tick.set(Measurand::Energy, register);
        let mut block = BlockBuilder::new();
        block.push(station.series(connector), tick);
        self.one(0, Command::Telemetry { block: block.finish() });
    }

    /// The station answers the row, and does what it says.
    fn answers(&mut self, row: u8, answer: u8) -> bool {
        let rows: Vec<(u64, Identity, StationCommand)> = self.world.nodes[0]
            .partition
            .outbox()
            .filter_map(|row| match &row.kind {
                OutboxKind::Station { identity, command } => {
                    Some((row.id, identity.clone(), command.clone()))
                }
                OutboxKind::Peer { .. } | OutboxKind::Payment { .. } => None,
            })
            .collect();
        let Some(at) = usize::from(row).checked_rem(rows.len()) else { return false };
        let (outbox, identity, command) = rows[at].clone();
        let answer = match answer % 4 {
            0 | 1 => Answer::Accepted,
            2 => Answer::Rejected("Rejected".into()),
            _ => Answer::Silent,
        };
        let acts = answer != Answer::Rejected("Rejected".into());
        self.one(0, Command::CommandAnswered { outbox, answer });
        let station = usize::from(identity.as_str() == STATIONS[1]);
        match command {
            StationCommand::RemoteStart { connector, token, remote_start_id, .. } if acts => {
                // 1.6 has no id to give back.
                let named = (station == NAMES_ITS_OWN).then_some(remote_start_id);
                self.plug(station, connector.evse, token, named);
            }
            StationCommand::RemoteStop { transaction, .. } if acts => {
                let running = self.charges.iter().position(|charge| {
                    charge.station == station && charge.transaction.as_ref() == Some(&transaction)
                });
                if let Some(charge) = running {
                    self.unplug(charge);
                }
            }
            _ => {}
        }
        true
    }

    fn power_loss(&mut self, station: usize) {
        self.epochs += 1;
        let (identity, epoch) = (id(STATIONS[station]), self.epochs);
        let protocol = Protocol::V16;
        let text = |text: &str| text.into();
        let (vendor, model) = (text("Acme"), text("Two"));
        let (firmware, serial) = (text("1.0"), text("7"));
        let connected = Command::StationConnected {
            identity: identity.clone(),
            epoch,
            protocol,
            node: NodeId::FIRST,
        };
        self.one(0, connected);
        self.one(0, Command::StationBooted { identity, vendor, model, firmware, serial });
        for charge in 0..self.charges.len() {
            if self.charges[charge].station != station || self.charges[charge].over {
                continue;
            }
            let number = self.number();
            let of = &mut self.charges[charge];
            of.lost_power = true;
            of.session = SessionId(number);
            let named = TransactionRef::V201(format!("T{number}").into());
            of.transaction = (station == NAMES_ITS_OWN).then_some(named);
            self.say_start(charge);
        }
    }

    fn peer(&mut self, node: usize, row: u8, answer_lost: bool) -> bool {
        let rows: Vec<(u64, PeerCommand)> = self.world.nodes[node]
            .partition
            .outbox()
            .filter_map(|row| match &row.kind {
                OutboxKind::Peer { command, .. } => Some((row.id, command.clone())),
                OutboxKind::Station { .. } | OutboxKind::Payment { .. } => None,
            })
            .collect();
        let Some(at) = usize::from(row).checked_rem(rows.len()) else { return false };
        let (outbox, command) = rows[at].clone();
        let outcome =
            Box::new(self.one(1 - node, Command::Peer { from: partition(node), command }));
        if !answer_lost {
            self.one(node, Command::PeerAnswered { outbox, outcome });
        }
        true
    }

    /// The provider is asked, and its answer arrives unless it is lost.
    fn provider(&mut self, row: u8, answer: u8, answer_lost: bool) -> bool {
        let rows: Vec<PaymentRow> = self.world.nodes[0]
            .partition
            .outbox()
            .filter_map(|row| match &row.kind {
                OutboxKind::Payment { payment } => Some((**payment).clone()),
                _ => None,
            })
            .collect();
        let Some(at) = usize::from(row).checked_rem(rows.len()) else { return false };
        let row = &rows[at];
        let declined = |code| PaymentAnswer::Declined { code, words: "no".into() };
        let truth = self.provider.entry(row.operation).or_insert_with(|| match answer % 8 {
            0 => declined(1),
            1 if row.kind == PaymentKind::Increment => declined(9),
            _ => crate::cards::done(row),
        });
        let said = match answer / 8 % 8 {
            0 => PaymentAnswer::Unknown,
            _ => truth.clone(),
        };
        if !answer_lost {
            self.answer_payment(row, said);
        }
        true
    }

    fn answer_payment(&mut self, row: &PaymentRow, answer: PaymentAnswer) {
        let (session, number) = (row.session, row.number);
        self.one(0, Command::PaymentAnswered { session, number, answer });
    }

    /// What was given up as unknown is found out.
    fn reconcile(&mut self) {
        let rows: Vec<PaymentRow> =
            self.world.nodes[0].partition.open_payments().cloned().collect();
        for row in rows.iter().filter(|row| row.state == PaymentState::Unknown) {
            let truth = self.provider[&row.operation].clone();
            self.answer_payment(row, truth);
        }
    }

    fn refund(&mut self, session: u8, amount: u16) {
        let mut rows = self.world.nodes[0].rows::<SessionRow>(Keyspace::Sessions);
        rows.retain(|row| matches!(row.payer, Payer::Card(_) | Payer::Local(_)) && !row.estimated);
        let Some(at) = usize::from(session).checked_rem(rows.len()) else { return };
        let row = &rows[at];
        let sequence = u32::try_from(self.number()).unwrap();
        let amount = u128::from(amount) % (row.charges.total() + 2);
        let refund = crate::cards::refund(&self.world.nodes[0], row.session, sequence, amount);
        self.one(0, Command::Refund(refund));
    }

    fn wait(&mut self, hours: u64) {
        self.world.now = Timestamp(self.world.now.0 + hours * 3_600_000_000);
        self.one(0, Command::Tick);
        self.one(1, Command::Tick);
    }

    fn take(&mut self, step: &Step) {
        let card = |card: u8| token(["A", "B", "C", "X", "D", "E", "D"][usize::from(card % 7)]);
        let evse = |evse: u8| u16::from(evse) % EVSES + 1;
        match *step {
            Step::Plug { station, evse: at, card: which } => {
                self.plug(usize::from(station), evse(at), card(which), None);
            }
            Step::App { station, evse: at, card: which } => {
                let session = SessionId(self.number());
                let payer = self.payer(session, &card(which));
                let ask = RequestStart {
                    session,
                    payload_hash: 7,
                    identity: id(STATIONS[usize::from(station)]),
                    connector: ConnectorRef { evse: evse(at), connector: 1 },
                    token: card(which),
                    payer,
                };
                self.one(0, Command::RequestStart(ask));
            }
            Step::Flow { charge, energy_wh, lost } => {
                if let Some(charge) = usize::from(charge).checked_rem(self.charges.len()) {
                    self.flow(charge, energy_wh, lost);
                }
            }
            Step::Unplug { charge } => {
                if let Some(charge) = usize::from(charge).checked_rem(self.charges.len()) {
                    self.unplug(charge);
                }
            }
            Step::Arrive { message, reply_lost } => {
                if let Some(at) = usize::from(message).checked_rem(self.flight.len()) {
                    let message =
                        if reply_lost { self.flight[at].clone() } else { self.flight.remove(at) };
                    self.arrive(message, reply_lost);
                }
            }
            Step::Lose { message } => {
                if let Some(at) = usize::from(message).checked_rem(self.flight.len()) {
                    self.flight.remove(at);
                }
            }
            Step::Again { message } => {
                if let Some(at) = usize::from(message).checked_rem(self.arrived.len()) {
                    let message = self.arrived[at].clone();
                    self.arrive(message, true);
                }
            }
            Step::Answers { row, answer } => {
                self.answers(row, answer);
            }
            Step::PowerLoss { station } => self.power_loss(usize::from(station)),
            Step::Restart { payer } => {
                let node = &mut self.world.nodes[usize::from(payer)];
                node.partition = node.restored();
            }
            Step::Peer { from_payer, row, answer_lost } => {
                self.peer(usize::from(from_payer), row, answer_lost);
            }
            Step::Wait { hours } => self.wait(u64::from(hours)),
            Step::Provider { row, answer, answer_lost } => {
                self.provider(row, answer, answer_lost);
            }
            Step::Refund { session, amount } => self.refund(session, amount),
        }
    }

    /// Every cable comes out, every message arrives, and time goes by.
    fn settle_down(&mut self) {
        for round in 0..6 {
            for charge in 0..self.charges.len() {
                self.unplug(charge);
            }
            while !self.flight.is_empty() {
                let message = self.flight.remove(0);
                self.arrive(message, false);
            }
            // Nothing is begun any more: what is asked is refused.
            while self.answers(0, 2) {}
            while self.provider(0, 8 + u8::try_from(round).unwrap(), false) {}
            self.reconcile();
            for node in [0, 1] {
                while self.peer(node, 0, false) {}
            }
            self.wait(if round < 4 { 40 } else { 1 });
        }
        for node in [0, 1] {
            while self.peer(node, 0, false) {}
        }
        while self.answers(0, 2) {}
        while self.provider(0, 15, false) {}
        self.reconcile();
        while self.provider(0, 15, false) {}
    }

    /// What the stations of 2.x delivered is what is billed, where both ends were heard.
    fn check_energy(&self) {
        let rows = self.world.nodes[0].rows::<SessionRow>(Keyspace::Sessions);
        let told = self.charges.iter().filter(|charge| {
            charge.station == NAMES_ITS_OWN
                && charge.start_heard
                && charge.stop_heard
                && !charge.lost_power
        });
        for charge in told {
            let is_of_it = |row: &&SessionRow| {
                let segments = row.segments.iter().map(|segment| Some(&segment.transaction));
                let mut all = segments.chain([row.transaction.as_ref()]);
                all.any(|transaction| transaction == charge.transaction.as_ref())
            };
            let of_it: Vec<&SessionRow> = rows.iter().filter(is_of_it).collect();
            assert_eq!(of_it.len(), 1, "one session for {charge:?}: {of_it:?}");
            if !of_it[0].segments.is_empty() {
                // The same card soon after a loss of power goes on with what the station had.
                continue;
            }
            let delivered = WattHours(charge.register - charge.meter_start);
            assert_eq!(of_it[0].energy(), delivered, "{charge:?}: {:?}", of_it[0]);
            let billed = of_it[0].charges.total();
            assert!(billed > 0 || of_it[0].state == SessionState::Refused, "{:?}", of_it[0]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_lost_or_doubled_it_ends_settled_and_balanced(
        steps in prop::collection::vec(step(), 1..150)
    ) {
        let mut chaos = Chaos::new();
        for step in &steps {
            chaos.take(step);
        }
        chaos.settle_down();
        agree(&chaos.world);
        chaos.check_energy();
    }
}
