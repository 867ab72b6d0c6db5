//! The saga between money and hardware, told in `testdata/*.txt`: one case for each window of time
//! in which something may be lost, late, doubled or wrong.
//!
//! A line is a command or a question; what it answers stands behind `=>` on the next line.
//! `UPDATE_EXPECT=1 cargo nextest run -p novax-charging` writes the answers anew: read the diff.

use crate::node::{Node, config};
use novax_charging::rows::ExceptionRow;
use novax_charging::{
    Answer, Command, ConnectorStatus, EndTransaction, Keyspace, OutboxKind, Outcome,
    PartitionConfig, PayerRef, PeerCommand, PlaceHold, Protocol, PutSite, Refund, Refusal,
    RequestStart, SessionRow, SignedEnergy, SimpleTerms, StartTransaction, StationCommand,
    TransactionRef,
};
use novax_ledger::JournalRow;
use novax_model::{
    ConnectorRef, Currency, Identity, Measurand, MeterTick, NodeId, PartitionId, SessionId,
    Timestamp, TokenUid, TransferKey, WattHours, Watts,
};
use novax_tsdb::BlockBuilder;

/// 2026-01-01T00:00:00Z, where each case begins.
const BEGIN: u64 = 1_767_225_600_000_000;

/// Two partitions and a clock.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Timestamp,
    deposits: u128,
}

/// The words of a line, taken one by one, and its `name value` options.
pub(crate) struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    pub(crate) fn next(&mut self) -> &'a str {
        assert!(!self.0.is_empty(), "a word is missing");
        self.0.remove(0)
    }

    pub(crate) fn option(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|word| *word == name)?;
        self.0.remove(at);
        Some(self.0.remove(at))
    }

    pub(crate) fn number(&mut self, name: &str) -> Option<i64> {
        self.option(name).map(|text| text.parse().expect(name))
    }

    /// All words that are left.
    pub(crate) fn rest(&mut self) -> Vec<&'a str> {
        std::mem::take(&mut self.0)
    }

    fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|word| *word == name);
        at.map(|at| self.0.remove(at)).is_some()
    }
}

fn id(text: &str) -> Identity {
    Identity::new(text).unwrap()
}

fn token(text: &str) -> TokenUid {
    TokenUid::new(text).unwrap()
}

fn partition(text: &str) -> PartitionId {
    PartitionId(text.strip_prefix('p').expect("p0 or p1").parse().unwrap())
}

fn connector(text: &str) -> ConnectorRef {
    let (evse, connector) = text.split_once('.').expect("evse.connector");
    ConnectorRef { evse: evse.parse().unwrap(), connector: connector.parse().unwrap() }
}

/// A session is named by up to 16 letters, which are its id.
pub(crate) fn session(name: &str) -> SessionId {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    SessionId(u128::from_be_bytes(bytes))
}

pub(crate) fn session_name(session: SessionId) -> String {
    let bytes = session.0.to_be_bytes();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}

fn transaction(text: &str) -> TransactionRef {
    match text.parse() {
        Ok(number) => TransactionRef::V16(number),
        Err(_) => TransactionRef::V201(text.into()),
    }
}

fn transaction_text(transaction: &TransactionRef) -> String {
    match transaction {
        TransactionRef::V16(number) => number.to_string(),
        TransactionRef::V201(text) => text.to_string(),
    }
}

/// The option `currency`, or euros.
fn currency(words: &mut Words<'_>) -> Currency {
    words.option("currency").map_or(Currency::EUR, |text| Currency::new(text).unwrap())
}

fn payer(words: &mut Words<'_>) -> PayerRef {
    if let Some(amount) = words.number("held") {
        let driver = id(words.option("driver").expect("driver"));
        let partition = partition(words.option("at-partition").expect("at-partition"));
        let amount = amount.unsigned_abs().into();
        let attempt = words.number("attempt").map_or(0, |attempt| attempt.try_into().unwrap());
        return PayerRef::Held { driver, partition, amount, currency: Currency::EUR, attempt };
    }
    if let Some(driver) = words.option("card-of") {
        let text = format!("receivable/{driver}");
        let debts = novax_audit::commitment::commit(&[7; 32], &text, Currency::EUR);
        let (driver, card) = (id(driver), crate::cards::card(driver));
        return PayerRef::Card { driver, card, debts };
    }
    if words.flag("unknown-payer") {
        return PayerRef::Refused(Refusal::UnknownToken);
    }
    PayerRef::Local
}

fn outcome_text(outcome: &Outcome) -> String {
    let refusal_text = |refusal: &Refusal| match refusal {
        Refusal::InsufficientFunds { available, required } => {
            format!("InsufficientFunds {available} of {required}")
        }
        other => format!("{other:?}"),
    };
    match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Refused(Refusal::BadDocument(words)) => {
            format!("no document: {}", plain_names(words))
        }
        Outcome::Refused(refusal) => format!("refused {}", refusal_text(refusal)),
        Outcome::Deposited { available } => format!("deposited, available {available}"),
        Outcome::Started { session, transaction_id, refusal } => {
            let name = session_name(*session);
            match refusal {
                None => format!("started {name} transaction {transaction_id}"),
                Some(refusal) => format!(
                    "started {name} transaction {transaction_id}, but {}",
                    refusal_text(refusal)
                ),
            }
        }
        Outcome::Stopping { session } => format!("stopping {}", session_name(*session)),
        Outcome::Ended { session, total, currency } => {
            format!("ended {}, {}", session_name(*session), currency.format(*total))
        }
        Outcome::Held { driver, amount, attempt: 0, .. } => format!("held {amount} of {driver}"),
        Outcome::Held { driver, amount, attempt, .. } => {
            format!("held {amount} of {driver} in attempt {attempt}")
        }
        Outcome::Captured { amount } => format!("captured {amount}"),
        Outcome::Issued { id, is_new: true, .. } => format!("issued {id}"),
        Outcome::Issued { id, is_new: false, .. } => format!("was issued as {id}"),
        Outcome::Refunded { amount } => format!("refunded {amount}"),
        Outcome::Session { state: Some(state) } => format!("session {}", state.as_str()),
        Outcome::Session { state: None } => "session never heard of".to_owned(),
        other => format!("{other:?}"),
    }
}

fn command_text(kind: &OutboxKind) -> String {
    match kind {
        OutboxKind::Station { identity, command } => match command {
            StationCommand::RemoteStart { session, connector, token, remote_start_id } => format!(
                "{identity} RemoteStart {} {connector} {token} id {remote_start_id}",
                session_name(*session)
            ),
            StationCommand::RemoteStop { session, transaction } => format!(
                "{identity} RemoteStop {} transaction {}",
                session_name(*session),
                transaction_text(transaction)
            ),
            StationCommand::SetLimit { connector, limit, .. } => {
                format!("{identity} SetLimit {connector} {limit}")
            }
        },
        OutboxKind::Peer { to, command } => match command {
            PeerCommand::PlaceHold(place) => format!(
                "{to} PlaceHold {} sequence {} amount {}",
                session_name(place.session),
                place.sequence,
                place.amount
            ),
            PeerCommand::ReleaseHold { session, .. } => {
                format!("{to} ReleaseHold {}", session_name(*session))
            }
            PeerCommand::Refund { session, sequence, amount, .. } => {
                format!("{to} Refund {} {sequence} of {amount}", session_name(*session))
            }
            PeerCommand::Adjust { session, sequence, amount, .. } => {
                format!("{to} Adjust {} {sequence} to {amount}", session_name(*session))
            }
            PeerCommand::Capture { session, amount, .. } => {
                format!("{to} Capture {} {amount}", session_name(*session))
            }
            PeerCommand::AskSession { session, .. } => {
                format!("{to} AskSession {}", session_name(*session))
            }
        },
        OutboxKind::Payment { payment } => crate::cards::text(payment),
    }
}

fn session_text(row: &SessionRow) -> String {
    let mut text = format!("{} held {}", row.state.as_str(), row.held);
    if let Some(transaction) = &row.transaction {
        let number = transaction_text(transaction);
        let total = row.charges.total();
        text += &format!(" transaction {number} energy {} total {total}", row.energy());
    }
    if !row.reason.is_empty() {
        text += &format!(", {}", row.reason);
    }
    text + if row.suspect { ", suspect" } else { "" }
}

impl World {
    pub(crate) fn new() -> World {
        World::with(|_| {})
    }

    /// With other bounds than usual.
    pub(crate) fn with(change: impl Fn(&mut PartitionConfig)) -> World {
        let node = |number| {
            let mut config = config(number);
            change(&mut config);
            Node::new(config)
        };
        World { nodes: vec![node(0), node(1)], now: Timestamp(BEGIN), deposits: 0 }
    }

    /// A session's row, as the store has it.
    pub(crate) fn session(&self, name: &str) -> SessionRow {
        let rows = self.nodes[0].rows::<SessionRow>(Keyspace::Sessions);
        rows.into_iter().find(|row| row.session == session(name)).expect("a session of this name")
    }

    /// The journal's lines of a session's bill, as whoever asks for a refund brings them.
    fn bill(&self, node: usize, session: SessionId) -> Vec<JournalRow> {
        let node = &self.nodes[node];
        let Some(bill) = node.booked(session) else { return Vec::new() };
        let rows = node.rows::<JournalRow>(Keyspace::Transfers);
        let of_it = bill.first..bill.first + u64::from(bill.rows);
        rows.into_iter().filter(|row| of_it.contains(&row.number)).collect()
    }

    /// Both nodes begin anew from their stores; sockets stay.
    pub(crate) fn restart_all(&mut self) {
        for node in &mut self.nodes {
            node.partition = node.restored();
        }
    }

    /// As when so much has happened since that no memory has the sessions any more.
    pub(crate) fn forget_sessions(&mut self) {
        for node in &mut self.nodes {
            node.store.retain(|(keyspace, _), _| *keyspace != Keyspace::Sessions);
        }
        self.restart_all();
    }

    pub(crate) fn step(&mut self, node: usize, command: Command) -> String {
        self.now = Timestamp(self.now.0 + 1_000_000);
        outcome_text(&self.nodes[node].one(self.now, command))
    }

    pub(crate) fn run(&mut self, line: &str) -> String {
        let mut words = Words(line.split_whitespace().collect());
        let node = match words.0[0] {
            "p0" | "p1" => usize::from(partition(words.next()).0),
            _ => 0,
        };
        let verb = words.next();
        let answer = match verb {
            "site" | "station" | "driver" | "block" => self.provision(node, verb, &mut words),
            "connect" | "disconnect" | "boot" | "status" => self.station(node, verb, &mut words),
            "request" | "start" | "refund" | "stop" | "end" | "tick" | "place-hold" => {
                self.charge(node, verb, &mut words)
            }
            "answer" => self.answer(node, &mut words),
            "erase" => self.erase(node, &mut words),
            "rate" | "close-books" | "write-off" | "pay-out" | "park" | "until" => {
                self.books(node, verb, &mut words)
            }
            "wait" => {
                let seconds: u64 = words.next().parse().unwrap();
                self.now = Timestamp(self.now.0 + seconds * 1_000_000);
                self.step(node, Command::Tick);
                String::new()
            }
            "invoice" | "credit" | "statement" | "documents" => {
                self.documents(node, verb, &mut words)
            }
            "deliver" => self.deliver(node, &mut words),
            "card" | "psp" => {
                let words = std::mem::take(&mut words.0);
                self.pay(node, verb, &words)
            }
            "restart" => {
                self.nodes[node].partition = self.nodes[node].restored();
                self.step(node, Command::SocketsClosed { node: NodeId::FIRST, before: u64::MAX })
            }
            "show" => self.show(node, &mut words),
            other => panic!("no such command: {other}"),
        };
        assert!(words.0.is_empty(), "left over: {:?}", words.0);
        answer
    }

    fn provision(&mut self, node: usize, verb: &str, words: &mut Words<'_>) -> String {
        let name = id(words.next());
        let number =
            |words: &mut Words<'_>, name, or| words.number(name).map_or(or, i64::unsigned_abs);
        match verb {
            "site" => {
                let tariff = SimpleTerms {
                    currency: currency(words),
                    energy_millis_per_kwh: number(words, "price", 40_000),
                    session_fee: number(words, "fee", 100).into(),
                    tax_basis_points: u32::try_from(number(words, "tax", 2_000)).unwrap(),
                    hold: number(words, "hold", 500).into(),
                    site_host_basis_points: 3_000,
                    platform_basis_points: 1_000,
                };
                let limit = words.number("limit").map(Watts);
                let mut put = PutSite::new(name.clone(), limit, tariff.terms(&name));
                crate::books::month_terms(&mut put, words);
                self.step(node, Command::PutSite(Box::new(put)))
            }
            "station" => {
                let site = id(words.next());
                let identity = name.clone();
                self.step(node, Command::PutStation { identity, site, password: None });
                let identity = name.clone();
                let protocol = Protocol::V16;
                self.step(
                    node,
                    Command::StationConnected { identity, epoch: 1, protocol, node: NodeId::FIRST },
                );
                self.boot(node, name)
            }
            "driver" => {
                let token = token(words.next());
                let amount: u128 = words.next().parse().unwrap();
                let (driver, currency) = (name.clone(), currency(words));
                let tokens = vec![token];
                self.step(
                    node,
                    Command::PutDriver { driver, salt: [7; 32], tokens, currency, blocked: false },
                );
                self.deposits += 1;
                let key = TransferKey(self.deposits);
                self.step(node, Command::Deposit { key, driver: name, amount })
            }
            _ => {
                let (driver, currency) = (name, Currency::EUR);
                let tokens = Vec::new();
                self.step(
                    node,
                    Command::PutDriver { driver, salt: [7; 32], tokens, currency, blocked: true },
                )
            }
        }
    }

    fn boot(&mut self, node: usize, identity: Identity) -> String {
        let text = |text: &str| text.into();
        let (vendor, model) = (text("Acme"), text("Two"));
        let (firmware, serial) = (text("1.0"), text("7"));
        self.step(node, Command::StationBooted { identity, vendor, model, firmware, serial })
    }

    fn station(&mut self, node: usize, verb: &str, words: &mut Words<'_>) -> String {
        let identity = id(words.next());
        match verb {
            "connect" => {
                let epoch = words.next().parse().unwrap();
                let protocol = Protocol::V16;
                self.step(
                    node,
                    Command::StationConnected { identity, epoch, protocol, node: NodeId::FIRST },
                )
            }
            "disconnect" => {
                let epoch = words.next().parse().unwrap();
                self.step(node, Command::StationDisconnected { identity, epoch })
            }
            "boot" => self.boot(node, identity),
            _ => {
                let connector = connector(words.next());
                let status = match words.next() {
                    "Available" => ConnectorStatus::Available,
                    "Faulted" => ConnectorStatus::Faulted,
                    other => panic!("no such status: {other}"),
                };
                let (error, at) = ("".into(), self.now);
                self.step(node, Command::ConnectorStatus { identity, connector, status, error, at })
            }
        }
    }

    /// Seconds after the beginning, or now.
    fn stamp(&self, words: &mut Words<'_>) -> Timestamp {
        let seconds = words.number("at").map(i64::unsigned_abs);
        seconds.map_or(self.now, |seconds| Timestamp(BEGIN + seconds * 1_000_000))
    }

    fn charge(&mut self, node: usize, verb: &str, words: &mut Words<'_>) -> String {
        let at = self.stamp(words);
        let first = words.next();
        let command = match verb {
            "request" => Command::RequestStart(RequestStart {
                session: session(first),
                payload_hash: words.number("hash").map_or(1, i64::unsigned_abs),
                payer: payer(words),
                identity: id(words.next()),
                connector: connector(words.next()),
                token: token(words.next()),
            }),
            "start" => Command::StartTransaction(StartTransaction {
                session: session(first),
                transaction: words.option("transaction").map(transaction),
                remote_start_id: words.number("remote").map(|id| i32::try_from(id).unwrap()),
                meter_start: words.number("meter").map(WattHours),
                at,
                payer: payer(words),
                identity: id(words.next()),
                connector: connector(words.next()),
                token: token(words.next()),
            }),
            "refund" => {
                let session = session(first);
                let (sequence, amount) =
                    (words.next().parse().unwrap(), words.next().parse().unwrap());
                Command::Refund(Refund {
                    lines: self.bill(node, session),
                    ..crate::cards::refund(&self.nodes[node], session, sequence, amount)
                })
            }
            "stop" => Command::RequestStop { session: session(first) },
            "end" => Command::EndTransaction(EndTransaction {
                identity: id(first),
                transaction: transaction(words.next()),
                meter_stop: words.number("meter").map(WattHours),
                at,
                reason: "Local".into(),
                signed: words.number("signed").map(|stop| {
                    SignedEnergy {
                        start: words.number("signed-start").map(WattHours),
                        stop: WattHours(stop),
                    }
                    .into()
                }),
            }),
            "place-hold" => {
                let command = PeerCommand::PlaceHold(PlaceHold {
                    session: session(first),
                    sequence: 0,
                    token: token(words.next()),
                    amount: words.next().parse().unwrap(),
                    currency: Currency::EUR,
                });
                let from = PartitionId(u16::try_from(1 - node).unwrap());
                Command::Peer { from, command }
            }
            _ => {
                let mut tick = MeterTick { at, values: [None; 6] };
                let wanted = connector(words.next());
                for (name, measurand) in
                    [("energy", Measurand::Energy), ("power", Measurand::Power)]
                {
                    if let Some(value) = words.number(name) {
                        tick.set(measurand, value);
                    }
                }
                let station = self.nodes[node].partition.station(first);
                let series = station.map_or(999 << 32, |row| row.series(wanted));
                let mut block = BlockBuilder::new();
                block.push(series, tick);
                Command::Telemetry { block: block.finish() }
            }
        };
        let answer = self.step(node, command);
        if verb == "tick" { String::new() } else { answer }
    }

    /// A station's answer to the outbox row whose text contains the words before the last one.
    fn answer(&mut self, node: usize, words: &mut Words<'_>) -> String {
        let answer = match words.0.pop().expect("an answer") {
            "accepted" => Answer::Accepted,
            "silent" => Answer::Silent,
            other => Answer::Rejected(other.into()),
        };
        let wanted = std::mem::take(&mut words.0).join(" ");
        let found = self.nodes[node]
            .partition
            .outbox()
            .find(|row| command_text(&row.kind).contains(&wanted));
        let Some(outbox) = found.map(|row| row.id) else { return "no such row".to_owned() };
        self.step(node, Command::CommandAnswered { outbox, answer })
    }

    /// Brings what this partition asks of the other one there, and the answers back.
    fn deliver(&mut self, node: usize, words: &mut Words<'_>) -> String {
        let (twice, answer_lost) = (words.flag("twice"), words.flag("answer-lost"));
        let rows: Vec<_> = self.nodes[node]
            .partition
            .outbox()
            .filter_map(|row| match &row.kind {
                OutboxKind::Peer { to, command } => Some((row.id, *to, command.clone())),
                OutboxKind::Station { .. } | OutboxKind::Payment { .. } => None,
            })
            .collect();
        let from = PartitionId(u16::try_from(node).unwrap());
        let mut answers = Vec::new();
        for (outbox, to, command) in rows {
            for _ in 0..1 + usize::from(twice) {
                self.now = Timestamp(self.now.0 + 1_000_000);
                let command = Command::Peer { from, command: command.clone() };
                let outcome = self.nodes[usize::from(to.0)].one(self.now, command);
                answers.push(outcome_text(&outcome));
                if !answer_lost {
                    let outcome = Box::new(outcome);
                    self.step(node, Command::PeerAnswered { outbox, outcome });
                }
            }
        }
        answers.join("; ")
    }

    fn show(&mut self, node: usize, words: &mut Words<'_>) -> String {
        let here = &self.nodes[node];
        match words.next() {
            "session" => {
                let wanted = session(words.next());
                let rows = here.rows::<SessionRow>(Keyspace::Sessions);
                let row = rows.iter().find(|row| row.session == wanted);
                row.map_or("none".to_owned(), session_text)
            }
            "wallet" => {
                let driver = words.next();
                let available = here.partition.available(driver).expect("a driver");
                format!(
                    "{} of which available {available}",
                    here.balance(&format!("driver/{driver}"))
                )
            }
            "account" => here.balance(words.next()).to_string(),
            "outbox" => {
                let rows: Vec<_> =
                    here.partition.outbox().map(|row| command_text(&row.kind)).collect();
                if rows.is_empty() { "nothing".to_owned() } else { rows.join("; ") }
            }
            "exceptions" => {
                let rows = here.rows::<ExceptionRow>(Keyspace::Exceptions);
                let texts = rows.iter().map(|row| plain_names(&row.text));
                let texts: Vec<_> = texts.collect();
                if texts.is_empty() { "none".to_owned() } else { texts.join("; ") }
            }
            "holds" => here.rows::<novax_ledger::Hold>(Keyspace::Holds).len().to_string(),
            "connector" => {
                let identity = words.next();
                let row = here.partition.connector(identity, connector(words.next())).unwrap();
                let session = row.session.map_or("nobody".to_owned(), session_name);
                let value = |measurand| match row.live.get(measurand) {
                    Some(value) => value.to_string(),
                    None => "?".to_owned(),
                };
                let limit = row.limit.map_or("none".to_owned(), |limit| limit.to_string());
                format!(
                    "{} for {session}, {} W, {} Wh, limit {limit}",
                    row.status.as_str(),
                    value(Measurand::Power),
                    value(Measurand::Energy)
                )
            }
            other => self.show_books(node, other, words),
        }
    }
}

/// Session ids in exception texts, as this file names them.
fn plain_names(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let (bare, rest) = word.split_at(word.len().min(32));
        match bare.parse::<SessionId>() {
            Ok(session) if bare.len() == 32 => session_name(session) + rest,
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Runs a file and gives it back with the answers it got.
fn rerun(text: &str) -> (String, usize) {
    let mut out = String::new();
    let mut world = World::new();
    let mut cases = 0;
    for line in text.lines().filter(|line| !line.starts_with("=>")) {
        out += line;
        out.push('\n');
        let command = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with("==") {
            world.nodes.iter().for_each(Node::check_books);
            world = World::new();
            cases += 1;
        } else if !command.is_empty() {
            let answer = world.run(command);
            if !answer.is_empty() {
                out += &format!("=> {answer}\n");
            }
        }
    }
    world.nodes.iter().for_each(Node::check_books);
    (out, cases)
}

pub(crate) fn check(name: &str, cases_min: usize) {
    let path = format!("{}/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).expect("the case file");
    let (actual, cases) = rerun(&expected);
    assert!(cases >= cases_min, "{name} has {cases} cases");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, actual).expect("the case file can be written");
        return;
    }
    for (number, (expected, actual)) in expected.lines().zip(actual.lines()).enumerate() {
        assert_eq!(actual, expected, "{name}.txt line {}", number + 1);
    }
    assert_eq!(actual.lines().count(), expected.lines().count(), "{name}.txt has all answers");
}

#[test]
fn starts_are_held_for_before_they_are_promised() {
    check("start", 14);
}

#[test]
fn stops_bill_what_is_proven_once() {
    check("stop", 10);
}

#[test]
fn holds_grow_with_the_charge_or_the_charge_ends() {
    check("money", 6);
}

#[test]
fn two_partitions_agree_on_money_whatever_is_lost() {
    check("peers", 8);
}

#[test]
fn a_site_limit_is_shared_by_those_who_charge() {
    check("limits", 3);
}

#[test]
fn only_the_newest_socket_counts() {
    check("stations", 3);
}
