//! Two partitions over a network that loses, doubles and reorders: when it is quiet again, every
//! hold is resolved and what one clearing account gave the other got.

use crate::node::{Node, config};
use novax_charging::{
    Answer, Command, EndTransaction, OutboxKind, Outcome, PayerRef, PeerCommand, PlaceHold,
    Protocol, PutSite, Refusal, RequestStart, SessionState, SimpleTerms, StartTransaction,
    TransactionRef,
};
use novax_model::{
    ConnectorRef, Currency, Identity, Measurand, MeterTick, NodeId, PartitionId, SessionId,
    Timestamp, TokenUid, TransferKey, WattHours,
};
use novax_tsdb::BlockBuilder;
use proptest::prelude::*;

const BEGIN: u64 = 1_767_225_600_000_000;
/// The station is in partition 0, the wallet in partition 1.
const STATION: usize = 0;
const PAYER: usize = 1;
const DEPOSIT: u128 = 3_000;

/// What happens next. Numbers choose among what there is, modulo how much there is.
#[derive(Debug, Clone)]
enum Step {
    /// A gateway holds at the payer's, then starts; the start may never arrive.
    Start {
        evse: u16,
        app: bool,
        start_lost: bool,
    },
    /// The station begins what an app asked for.
    BeginAwaited {
        evse: u16,
    },
    Meter {
        evse: u16,
        register: i64,
    },
    End {
        evse: u16,
        register: i64,
    },
    Stop {
        session: u8,
    },
    StationAnswers {
        row: u8,
        answer: u8,
    },
    /// A peer row reaches the other partition; its answer may be lost.
    Deliver {
        from_payer: bool,
        row: u8,
        answer_lost: bool,
    },
    /// Something that was delivered before arrives once more.
    Echo {
        message: u8,
    },
    Wait {
        minutes: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let evse = || 1..4_u16;
    prop_oneof![
        4 => (evse(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(evse, app, start_lost)| Step::Start { evse, app, start_lost }),
        2 => evse().prop_map(|evse| Step::BeginAwaited { evse }),
        4 => (evse(), 0..60_000_i64).prop_map(|(evse, register)| Step::Meter { evse, register }),
        3 => (evse(), 0..60_000_i64).prop_map(|(evse, register)| Step::End { evse, register }),
        1 => any::<u8>().prop_map(|session| Step::Stop { session }),
        3 => (any::<u8>(), any::<u8>())
            .prop_map(|(row, answer)| Step::StationAnswers { row, answer }),
        6 => (any::<bool>(), any::<u8>(), prop::bool::weighted(0.3)).prop_map(
            |(from_payer, row, answer_lost)| Step::Deliver { from_payer, row, answer_lost }
        ),
        2 => any::<u8>().prop_map(|message| Step::Echo { message }),
        1 => (1..15_u8).prop_map(|minutes| Step::Wait { minutes }),
    ]
}

struct Net {
    nodes: [Node; 2],
    now: u64,
    sessions: u128,
    /// Messages that were sent: to whom, what.
    sent: Vec<(usize, Command)>,
}

fn id(text: &str) -> Identity {
    Identity::new(text).unwrap()
}

fn card() -> TokenUid {
    TokenUid::new("C").unwrap()
}

fn partition(node: usize) -> PartitionId {
    PartitionId(u16::try_from(node).unwrap())
}

impl Net {
    fn new() -> Net {
        let nodes = [Node::new(config(0)), Node::new(config(1))];
        let mut net = Net { nodes, now: BEGIN, sessions: 0, sent: Vec::new() };
        let tariff = SimpleTerms {
            currency: Currency::EUR,
            energy_millis_per_kwh: 40_000,
            session_fee: 100,
            tax_basis_points: 2_000,
            hold: 500,
            site_host_basis_points: 3_333,
            platform_basis_points: 1_111,
        };
        let (site, identity) = (id("garage"), id("CP1"));
        net.one(
            STATION,
            Command::PutSite(Box::new(PutSite::new(site.clone(), None, tariff.terms(&site)))),
        );
        net.one(STATION, Command::PutStation { identity: identity.clone(), site, password: None });
        let protocol = Protocol::V16;
        net.one(
            STATION,
            Command::StationConnected {
                identity: identity.clone(),
                epoch: 1,
                protocol,
                node: NodeId::FIRST,
            },
        );
        let text = |text: &str| text.into();
        let (vendor, model) = (text("v"), text("m"));
        let (firmware, serial) = (text("1"), text("2"));
        net.one(STATION, Command::StationBooted { identity, vendor, model, firmware, serial });
        let (driver, currency) = (id("carol"), Currency::EUR);
        let tokens = vec![card()];
        net.one(
            PAYER,
            Command::PutDriver {
                driver: driver.clone(),
                salt: [7; 32],
                tokens,
                currency,
                blocked: false,
            },
        );
        let key = TransferKey(1);
        net.one(PAYER, Command::Deposit { key, driver, amount: DEPOSIT });
        net
    }

    fn one(&mut self, node: usize, command: Command) -> Outcome {
        self.now += 1_000_000;
        self.nodes[node].apply_once(Timestamp(self.now), vec![command]).outcomes.remove(0)
    }

    fn start(&mut self, evse: u16, app: bool, start_lost: bool) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let place = PeerCommand::PlaceHold(PlaceHold {
            session,
            sequence: 0,
            token: card(),
            amount: 500,
            currency: Currency::EUR,
        });
        let place = Command::Peer { from: partition(STATION), command: place };
        self.sent.push((PAYER, place.clone()));
        let payer = match self.one(PAYER, place) {
            Outcome::Held { driver, amount, currency, attempt } => {
                PayerRef::Held { driver, partition: partition(PAYER), amount, currency, attempt }
            }
            Outcome::Refused(refusal) => PayerRef::Refused(refusal),
            other => panic!("PlaceHold is not answered by {other:?}"),
        };
        let connector = ConnectorRef { evse, connector: 1 };
        let command = if app {
            let (identity, token) = (id("CP1"), card());
            let payload_hash = 7;
            Command::RequestStart(RequestStart {
                session,
                payload_hash,
                identity,
                connector,
                token,
                payer,
            })
        } else {
            self.start_command(session, evse, payer)
        };
        self.sent.push((STATION, command.clone()));
        if !start_lost {
            self.one(STATION, command);
        }
    }

    fn start_command(&self, session: SessionId, evse: u16, payer: PayerRef) -> Command {
        Command::StartTransaction(StartTransaction {
            session,
            identity: id("CP1"),
            connector: ConnectorRef { evse, connector: 1 },
            transaction: Some(TransactionRef::V201(format!("T{session}").into())),
            remote_start_id: None,
            token: card(),
            meter_start: Some(WattHours(1_000)),
            at: Timestamp(self.now),
            payer,
        })
    }

    fn end(&mut self, transaction: TransactionRef, register: i64) {
        let command = Command::EndTransaction(EndTransaction {
            identity: id("CP1"),
            transaction,
            meter_stop: Some(WattHours(register)),
            at: Timestamp(self.now),
            reason: "Local".into(),
            signed: None,
        });
        self.sent.push((STATION, command.clone()));
        self.one(STATION, command);
    }

    fn running(&self, evse: u16) -> Option<TransactionRef> {
        let connector = ConnectorRef { evse, connector: 1 };
        self.nodes[STATION].partition.session_at("CP1", connector)?.transaction.clone()
    }

    /// The n-th row of this partition for the other one.
    fn peer_row(&self, node: usize, row: u8) -> Option<(u64, PeerCommand)> {
        let rows: Vec<_> = self.nodes[node]
            .partition
            .outbox()
            .filter_map(|row| match &row.kind {
                OutboxKind::Peer { command, .. } => Some((row.id, command.clone())),
                OutboxKind::Station { .. } | OutboxKind::Payment { .. } => None,
            })
            .collect();
        rows.get(usize::from(row).checked_rem(rows.len())?).cloned()
    }

    fn deliver(&mut self, node: usize, row: u8, answer_lost: bool) -> bool {
        let Some((outbox, command)) = self.peer_row(node, row) else { return false };
        let command = Command::Peer { from: partition(node), command };
        self.sent.push((1 - node, command.clone()));
        let outcome = Box::new(self.one(1 - node, command));
        let answer = Command::PeerAnswered { outbox, outcome };
        self.sent.push((node, answer.clone()));
        if !answer_lost {
            self.one(node, answer);
        }
        true
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Start { evse, app, start_lost } => self.start(evse, app, start_lost),
            Step::BeginAwaited { evse } => {
                self.sessions += 1;
                let session = SessionId(self.sessions);
                let payer = PayerRef::Refused(Refusal::UnknownToken);
                let command = self.start_command(session, evse, payer);
                self.one(STATION, command);
            }
            Step::Meter { evse, register } => {
                let station = self.nodes[STATION].partition.station("CP1").unwrap();
                let series = station.series(ConnectorRef { evse, connector: 1 });
                let mut tick = MeterTick { at: Timestamp(self.now), values: [None; 6] };
                tick.set(Measurand::Energy, register);
                let mut block = BlockBuilder::new();
                block.push(series, tick);
                self.one(STATION, Command::Telemetry { block: block.finish() });
            }
            Step::End { evse, register } => {
                if let Some(transaction) = self.running(evse) {
                    self.end(transaction, register);
                }
            }
            Step::Stop { session } => {
                let session = SessionId(u128::from(session) % (self.sessions + 1));
                self.one(STATION, Command::RequestStop { session });
            }
            Step::StationAnswers { row, answer } => {
                let outbox = self.nodes[STATION].partition.outbox_for("CP1");
                let ids: Vec<u64> = outbox.map(|row| row.id).collect();
                let Some(at) = usize::from(row).checked_rem(ids.len()) else { return };
                let answer = match answer % 3 {
                    0 => Answer::Accepted,
                    1 => Answer::Rejected("Rejected".into()),
                    _ => Answer::Silent,
                };
                self.one(STATION, Command::CommandAnswered { outbox: ids[at], answer });
            }
            Step::Deliver { from_payer, row, answer_lost } => {
                self.deliver(usize::from(from_payer), row, answer_lost);
            }
            Step::Echo { message } => {
                let Some(at) = usize::from(message).checked_rem(self.sent.len()) else { return };
                let (node, command) = self.sent[at].clone();
                self.one(node, command);
            }
            Step::Wait { minutes } => {
                self.now += u64::from(minutes) * 60_000_000;
                self.one(STATION, Command::Tick);
                self.one(PAYER, Command::Tick);
            }
        }
    }

    /// Everything ends and every message arrives.
    fn settle_down(&mut self) {
        for _ in 0..20 {
            for evse in 1..4 {
                while let Some(transaction) = self.running(evse) {
                    self.end(transaction, 5_000);
                }
            }
            self.take(&Step::Wait { minutes: 20 });
            for node in [STATION, PAYER] {
                while self.deliver(node, 0, false) {}
            }
        }
    }

    fn check_settled(&self) {
        for node in &self.nodes {
            node.check_books();
            assert_eq!(node.partition.ledger().holds().count(), 0, "every hold is resolved");
            let peers =
                node.partition.outbox().filter(|row| matches!(row.kind, OutboxKind::Peer { .. }));
            assert_eq!(peers.count(), 0, "every peer has answered");
        }
        let sessions: Vec<novax_charging::SessionRow> =
            self.nodes[STATION].rows(novax_charging::Keyspace::Sessions);
        let mut billed = 0;
        for row in &sessions {
            let state = row.state;
            assert!(!state.is_live() && state != SessionState::Settling, "{row:?}");
            if state == SessionState::Settled {
                billed += i128::try_from(row.charges.total()).unwrap();
            }
        }
        let [station, payer] = &self.nodes;
        assert_eq!(station.balance("clearing/p1"), -billed, "what the sessions cost");
        assert_eq!(payer.balance("clearing/p0"), billed, "is what the payer's side gave");
        let left = payer.balance("driver/carol") + payer.balance("receivable/carol");
        assert_eq!(left, i128::try_from(DEPOSIT).unwrap() - billed, "and what the driver paid");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn clearing_sums_to_zero_and_no_hold_stays(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut net = Net::new();
        for step in &steps {
            net.take(step);
        }
        net.settle_down();
        net.check_settled();
    }
}
