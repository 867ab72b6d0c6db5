//! What holds whatever is said in whatever order: no panic, balanced books, holds resolved once,
//! equal replicas, and a restored partition that cannot be told from one that never stopped.

use crate::node::{Node, config};
use novax_charging::{
    Answer, Command, ConnectorStatus, DirectoryKind, EndTransaction, Keyspace, Outcome, Partition,
    PartitionConfig, PayerRef, PeerCommand, PlaceHold, Protocol, PutSite, Refusal, RequestStart,
    SessionState, SignedEnergy, SimpleTerms, StartTransaction, TransactionRef, encode_entry, rows,
};
use novax_model::{
    ConnectorRef, Currency, Duration, Identity, Measurand, MeterTick, NodeId, PartitionId,
    SessionId, Timestamp, TokenUid, TransferKey, WattHours, Watts,
};
use novax_tsdb::query::{Rank, Stretch, range};
use novax_tsdb::{BlockBuilder, OpenPart};
use proptest::prelude::*;

const BEGIN: u64 = 1_767_225_600_000_000;

fn id(text: &str) -> Identity {
    Identity::new(text).unwrap()
}

fn token(text: &str) -> TokenUid {
    TokenUid::new(text).unwrap()
}

fn tariff() -> impl Strategy<Value = SimpleTerms> {
    let hold = prop_oneof![Just(0_u128), Just(500), Just(700), Just(u128::MAX)];
    (hold, 0..100_000_u64, 0..12_000_u32).prop_map(|(hold, price, tax)| SimpleTerms {
        currency: Currency::EUR,
        energy_millis_per_kwh: price,
        session_fee: 100,
        tax_basis_points: tax,
        hold,
        site_host_basis_points: 3_000,
        platform_basis_points: 1_000,
    })
}

fn station() -> impl Strategy<Value = Identity> {
    prop::sample::select(vec!["CP1", "CP1", "CP1", "CP2", "CP2", "CP3"]).prop_map(id)
}

fn connector() -> impl Strategy<Value = ConnectorRef> {
    let numbers = vec![(1, 1), (1, 1), (2, 1), (1, 0), (1, 2), (0, 0), (3, 1), (4, 1)];
    prop::sample::select(numbers).prop_map(|(evse, connector)| ConnectorRef { evse, connector })
}

fn card() -> impl Strategy<Value = TokenUid> {
    prop::sample::select(vec!["A", "A", "A", "B", "C", "X"]).prop_map(token)
}

/// Transactions of stations have the first ids, apps' starts the others.
fn session() -> impl Strategy<Value = SessionId> {
    (1..15_u128).prop_map(SessionId)
}

fn begun_by_station() -> impl Strategy<Value = SessionId> {
    (1..13_u128).prop_map(SessionId)
}

fn asked_by_app() -> impl Strategy<Value = SessionId> {
    (13..15_u128).prop_map(SessionId)
}

/// What the id of a transaction is derived from: where and when it began.
fn place_of(session: SessionId) -> (Identity, ConnectorRef, Timestamp) {
    let (station, evse, connector) = [
        ("CP1", 1, 1),
        ("CP1", 1, 1),
        ("CP2", 1, 1),
        ("CP1", 2, 1),
        ("CP1", 1, 1),
        ("CP3", 1, 1),
        ("CP1", 3, 1),
        ("CP1", 1, 2),
        ("CP2", 1, 0),
        ("CP1", 4, 1),
        ("CP2", 1, 1),
        ("CP1", 0, 0),
    ][session.0 as usize - 1];
    let at = Timestamp(BEGIN + session.0 as u64 * 300_000_000);
    (id(station), ConnectorRef { evse, connector }, at)
}

fn register() -> impl Strategy<Value = WattHours> {
    prop_oneof![8 => 0..30_000_i64, 1 => any::<i64>()].prop_map(WattHours)
}

fn stamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![8 => BEGIN..BEGIN + 4_000_000_000, 1 => any::<u64>()].prop_map(Timestamp)
}

fn transaction() -> impl Strategy<Value = TransactionRef> {
    prop_oneof![
        4 => (-1..6_i32).prop_map(TransactionRef::V16),
        1 => prop::sample::select(vec!["t1", "t2"]).prop_map(|id| TransactionRef::V201(id.into())),
    ]
}

fn amount() -> impl Strategy<Value = u128> {
    prop_oneof![8 => 0..1_500_u128, 1 => any::<u128>()]
}

fn payer() -> impl Strategy<Value = PayerRef> {
    prop_oneof![
        4 => Just(PayerRef::Local),
        2 => (0..3_u16, amount(), 0..3_u32).prop_map(|(partition, amount, attempt)| PayerRef::Held {
            driver: id("carol"),
            partition: PartitionId(partition),
            amount,
            currency: Currency::EUR,
            attempt,
        }),
        1 => Just(PayerRef::Refused(Refusal::UnknownToken)),
    ]
}

fn admin() -> impl Strategy<Value = Command> {
    let site = || prop::sample::select(vec!["garage", "yard"]).prop_map(id);
    let limit = prop_oneof![Just(None), (-1..20_000_i64).prop_map(|watts| Some(Watts(watts)))];
    let kind = prop::sample::select(vec![DirectoryKind::Station, DirectoryKind::Driver]);
    let driver = || prop::sample::select(vec!["alice", "bob", "dan", "eve"]).prop_map(id);
    prop_oneof![
        (kind, 0..3_u16, 0..2_u16).prop_map(|(kind, n, home)| Command::PutDirectory {
            kind,
            id: format!("CP{n}").into(),
            home: PartitionId(home),
        }),
        station().prop_map(|identity| Command::ReportUnknownStation {
            identity,
            protocol: Protocol::V16,
            vendor: "v".into(),
            model: "".into(),
        }),
        station().prop_map(|identity| Command::ForgetUnknownStation { identity }),
        (site(), limit, tariff()).prop_map(move |(site, limit, tariff)| {
            let terms = tariff.terms(&site);
            Command::PutSite(Box::new(PutSite::new(site, limit, terms)))
        }),
        (station(), site()).prop_map(|(identity, site)| Command::PutStation {
            identity,
            site,
            password: None
        }),
        (driver(), card(), any::<bool>()).prop_map(|(driver, token, blocked)| {
            Command::PutDriver {
                driver,
                salt: [7; 32],
                tokens: vec![token],
                currency: Currency::EUR,
                blocked,
            }
        }),
        (0..9_u128, driver(), amount()).prop_map(|(key, driver, amount)| Command::Deposit {
            key: TransferKey(key),
            driver,
            amount,
        }),
    ]
}

fn station_says() -> impl Strategy<Value = Command> {
    let status = prop::sample::select(vec![ConnectorStatus::Available, ConnectorStatus::Faulted]);
    prop_oneof![
        (1..3_u64, 0..6_u64).prop_map(|(node, before)| Command::SocketsClosed {
            node: NodeId::new(node).expect("not zero"),
            before,
        }),
        (station(), 0..6_u64).prop_map(|(identity, epoch)| Command::StationConnected {
            identity,
            epoch,
            protocol: Protocol::V16,
            node: NodeId::FIRST
        }),
        (station(), 0..6_u64)
            .prop_map(|(identity, epoch)| Command::StationDisconnected { identity, epoch }),
        (station(), connector(), status, stamp()).prop_map(|(identity, connector, status, at)| {
            Command::ConnectorStatus { identity, connector, status, error: "".into(), at }
        }),
        station().prop_map(|identity| Command::StationBooted {
            identity,
            vendor: "v".into(),
            model: "m".into(),
            firmware: "".into(),
            serial: "".into(),
        }),
    ]
}

fn telemetry() -> impl Strategy<Value = Command> {
    let tick = (0..3_u32, connector(), stamp(), register(), any::<bool>());
    let ticks = prop::collection::vec(tick, 1..200).prop_map(|ticks| {
        let mut block = BlockBuilder::new();
        for (number, connector, at, register, power) in ticks {
            let mut tick = MeterTick { at, values: [None; 6] };
            tick.set(Measurand::Energy, register.0);
            if power {
                tick.set(Measurand::Power, 11_000);
            }
            block.push(novax_charging::rows::series_id(number, connector), tick);
        }
        Command::Telemetry { block: block.finish() }
    });
    let garbage = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![9 => ticks, 1 => garbage.prop_map(|block| Command::Telemetry { block })]
}

fn charge() -> impl Strategy<Value = Command> {
    let remote = prop_oneof![3 => Just(None), 1 => (1..4_i32).prop_map(Some)];
    let named = prop_oneof![3 => Just(None), 1 => transaction().prop_map(Some)];
    let request = (asked_by_app(), 0..2_u64, station(), connector(), card(), payer()).prop_map(
        |(session, payload_hash, identity, connector, token, payer)| {
            let ask = RequestStart { session, payload_hash, identity, connector, token, payer };
            Command::RequestStart(ask)
        },
    );
    let start = (
        (begun_by_station(), named, remote),
        (card(), prop::option::weighted(0.9, register()), payer()),
    )
        .prop_map(|((session, transaction, remote_start_id), rest)| {
            let (token, meter_start, payer) = rest;
            let (identity, connector, at) = place_of(session);
            Command::StartTransaction(StartTransaction {
                session,
                identity,
                connector,
                transaction,
                remote_start_id,
                token,
                meter_start,
                at,
                payer,
            })
        });
    let signed = prop::option::weighted(
        0.1,
        (prop::option::of(register()), register())
            .prop_map(|(start, stop)| SignedEnergy { start, stop }.into()),
    );
    let end = (station(), transaction(), prop::option::of(register()), stamp(), signed).prop_map(
        |(identity, transaction, meter_stop, at, signed)| {
            let reason = "Local".into();
            Command::EndTransaction(EndTransaction {
                identity,
                transaction,
                meter_stop,
                at,
                reason,
                signed,
            })
        },
    );
    let stop = session().prop_map(|session| Command::RequestStop { session });
    prop_oneof![2 => request, 3 => start, 3 => end, 1 => stop]
}

fn peer() -> impl Strategy<Value = Command> {
    let place =
        (session(), 0..3_u32, card(), amount()).prop_map(|(session, sequence, token, amount)| {
            let currency = Currency::EUR;
            PeerCommand::PlaceHold(PlaceHold { session, sequence, token, amount, currency })
        });
    let command = prop_oneof![
        3 => place,
        1 => (session(), 0..3_u32)
            .prop_map(|(session, attempt)| PeerCommand::ReleaseHold { session, attempt }),
        1 => (session(), amount()).prop_map(|(session, amount)| PeerCommand::Capture {
            session,
            amount,
            currency: Currency::EUR,
        }),
        1 => (session(), 0..3_u32, amount(), amount()).prop_map(
            |(session, sequence, was, amount)| {
                let currency = Currency::EUR;
                PeerCommand::Adjust { session, sequence, was, amount, currency }
            }
        ),
        1 => (session(), 0..3_u32, amount()).prop_map(|(session, sequence, amount)| {
            PeerCommand::Refund { session, sequence, amount, currency: Currency::EUR }
        }),
        1 => (session(), 0..3_u32)
            .prop_map(|(session, attempt)| PeerCommand::AskSession { session, attempt }),
    ];
    (0..3_u16, command)
        .prop_map(|(from, command)| Command::Peer { from: PartitionId(from), command })
}

fn answers() -> impl Strategy<Value = Command> {
    let answer = prop_oneof![
        Just(Answer::Accepted),
        Just(Answer::Rejected("Rejected".into())),
        Just(Answer::Silent)
    ];
    let outcome = prop_oneof![
        Just(Outcome::Done),
        Just(Outcome::Refused(Refusal::Full)),
        amount().prop_map(|amount| Outcome::Captured { amount: amount % 5_000 }),
        amount().prop_map(|amount| Outcome::Held {
            driver: id("carol"),
            amount: amount % 5_000,
            currency: Currency::EUR,
            attempt: 0,
        }),
        Just(Outcome::Session { state: None }),
        Just(Outcome::Session { state: Some(SessionState::Charging) }),
    ];
    prop_oneof![
        (0..40_u64, answer)
            .prop_map(|(outbox, answer)| Command::CommandAnswered { outbox, answer }),
        (0..40_u64, outcome).prop_map(|(outbox, outcome)| Command::PeerAnswered {
            outbox,
            outcome: Box::new(outcome)
        }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => admin(),
        3 => station_says(),
        10 => charge(),
        3 => telemetry(),
        4 => answers(),
        4 => peer(),
        1 => Just(Command::Tick),
    ]
}

/// Entries: how much later than the one before, and what they say.
fn entries() -> impl Strategy<Value = Vec<(u64, Vec<Command>)>> {
    let later = prop_oneof![6 => 0..5_000_000_u64, 1 => 0..1_000_000_000_u64];
    prop::collection::vec((later, prop::collection::vec(command(), 0..5)), 1..80)
}

/// Bounds so small that every one is met.
fn tight() -> PartitionConfig {
    PartitionConfig {
        pending_stations_max: 1,
        directory_max: 3,
        sites_max: 2,
        stations_max: 2,
        connectors_per_station_max: 3,
        drivers_max: 4,
        tokens_per_driver_max: 2,
        live_sessions_max: 3,
        outbox_max: 5,
        finished_sessions_max: 2,
        finished_per_station_max: 2,
        recent_sessions_max: 1,
        payer_sessions_max: 2,
        timers_per_entry_max: 2,
        parked_per_station_max: 1,
        segments_max: 2,
        silence_close_after: Duration::from_secs(600),
        hold_lifetime: Duration::from_secs(900),
        ..config(0)
    }
}

fn setup() -> Vec<Command> {
    let tariff = SimpleTerms {
        currency: Currency::EUR,
        energy_millis_per_kwh: 40_000,
        session_fee: 100,
        tax_basis_points: 2_000,
        hold: 500,
        site_host_basis_points: 3_000,
        platform_basis_points: 1_000,
    };
    let limit = Some(Watts(11_000));
    let mut commands = vec![Command::PutSite(Box::new(PutSite::new(
        id("garage"),
        limit,
        tariff.terms(&id("garage")),
    )))];
    for name in ["CP1", "CP2"] {
        let (identity, protocol) = (id(name), Protocol::V16);
        commands.push(Command::PutStation {
            identity: identity.clone(),
            site: id("garage"),
            password: None,
        });
        commands.push(Command::StationConnected {
            identity: identity.clone(),
            epoch: 1,
            protocol,
            node: NodeId::FIRST,
        });
        let text = |text: &str| text.into();
        let (vendor, model) = (text("v"), text("m"));
        let (firmware, serial) = (text("1"), text("2"));
        commands.push(Command::StationBooted { identity, vendor, model, firmware, serial });
    }
    for (driver, card, amount) in [("alice", "A", 3_000), ("bob", "B", 600), ("carol", "C", 9)] {
        let tokens = vec![token(card)];
        commands.push(Command::PutDriver {
            driver: id(driver),
            salt: [7; 32],
            tokens,
            currency: Currency::EUR,
            blocked: false,
        });
        let key = TransferKey(1_000 + amount);
        commands.push(Command::Deposit { key, driver: id(driver), amount });
    }
    commands
}

/// Replicas of one log: one that runs, one that only listens, one restored on the way.
fn replicate(config: PartitionConfig, entries: &[(u64, Vec<Command>)], restore_at: usize) {
    let mut node = Node::new(config.clone());
    let mut follower = Partition::new(config);
    let mut restored: Option<Partition> = None;
    let mut now = BEGIN;
    let setup = [(0, setup())];
    for (number, (later, commands)) in setup.iter().chain(entries).enumerate() {
        now += later;
        if number == restore_at {
            // A flush writes the open heads out on every replica at its own time.
            let heads = node.partition.seal_heads();
            follower.seal_heads();
            node.write(&heads);
            restored = Some(node.restored());
        }
        let mut before = node.store.clone();
        let applied = node.apply_once(Timestamp(now), commands.clone());
        let entry = encode_entry(Timestamp(now), commands.clone());
        for replica in [Some(&mut follower), restored.as_mut()].into_iter().flatten() {
            let same = replica.apply(node.index, &entry, &mut before).expect("a sound entry");
            assert_eq!(applied, same, "replicas do the same");
            assert_eq!(node.partition.state_hash(), replica.state_hash());
            assert_eq!(node.partition.next_deadline(), replica.next_deadline());
        }
        node.partition.audit().expect("balanced books");
    }
    node.check_books();
    let heads = node.partition.seal_heads();
    node.write(&heads);
    let again = node.restored();
    let wanted = node.partition.totals();
    let found = again.totals();
    assert_eq!(
        (wanted.live_sessions, wanted.stations_connected, wanted.power_w_live),
        (found.live_sessions, found.stations_connected, found.power_w_live)
    );
    assert!(again.outbox().eq(node.partition.outbox()), "the outbox is what the rows say");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    #[test]
    fn replicas_agree_and_a_restart_cannot_be_told(entries in entries(), at in 0..50_usize) {
        replicate(config(0), &entries, at);
    }

    #[test]
    fn replicas_agree_at_every_bound(entries in entries(), at in 0..50_usize) {
        replicate(tight(), &entries, at);
    }
}

#[test]
fn an_entry_that_is_damaged_changes_nothing() {
    let mut node = Node::new(config(0));
    node.apply(Timestamp(BEGIN), setup());
    let hash = node.partition.state_hash();
    let mut entry = encode_entry(Timestamp(BEGIN + 1), vec![Command::Tick]);
    assert!(node.partition.apply(2, &entry[..15], &mut node.store).is_err(), "too short");
    entry[0] = 9;
    assert!(node.partition.apply(2, &entry, &mut node.store).is_err(), "of an unknown version");
    assert!(node.partition.apply(2, &[1; 64], &mut node.store).is_err(), "no archive");
    assert_eq!((node.partition.applied_index(), node.partition.state_hash()), (1, hash));
}

#[test]
fn an_empty_entry_moves_the_index_alone() {
    let mut node = Node::new(config(0));
    node.apply(Timestamp(BEGIN), setup());
    let (hash, now) = (node.partition.state_hash(), node.partition.now());
    let applied = node.partition.apply(5, &[], &mut node.store).unwrap();
    assert_eq!((applied.outcomes.len(), applied.rows.len()), (0, 1));
    assert_eq!((node.partition.state_hash(), node.partition.now()), (hash, now));
    node.write(&applied.rows);
    assert_eq!(node.restored().applied_index(), 5);
}

#[test]
fn time_grows_even_when_the_leaders_clock_steps_back() {
    let mut node = Node::new(config(0));
    node.apply(Timestamp(BEGIN), setup());
    node.apply(Timestamp(BEGIN - 1_000_000), vec![Command::Tick]);
    assert_eq!(node.partition.now(), Timestamp(BEGIN + 1));
}

#[test]
fn damaged_rows_are_named_not_taken() {
    let mut node = Node::new(config(0));
    node.apply(Timestamp(BEGIN), setup());
    for (keyspace, key) in node.store.keys() {
        let damaged = node.store.iter().map(|((of, at), value)| {
            let mut value = value.clone();
            if (of, at) == (keyspace, key) {
                value.truncate(3);
            }
            Ok::<_, std::convert::Infallible>((*of, at.clone(), value))
        });
        let restored = Partition::restore(node.config.clone(), damaged);
        assert_eq!(restored.is_err(), keyspace.is_restored(), "{keyspace:?}");
    }
    let failing = std::iter::once(Err::<(_, Vec<u8>, Vec<u8>), _>("disk on fire"));
    let error = Partition::restore(
        config(0),
        failing.map(|row| row.map(|(a, b, c): (novax_charging::Keyspace, _, _)| (a, b, c))),
    );
    assert!(error.unwrap_err().to_string().contains("disk on fire"));
}

#[test]
fn a_finished_chunk_and_an_open_head_come_back() {
    let mut node = Node::new(config(0));
    node.apply(Timestamp(BEGIN), setup());
    let connector = ConnectorRef { evse: 1, connector: 1 };
    let status = ConnectorStatus::Available;
    let (identity, at) = (id("CP1"), Timestamp(BEGIN));
    let error = "".into();
    node.one(at, Command::ConnectorStatus { identity, connector, status, error, at });
    let series = node.partition.station("CP1").unwrap().series(connector);
    let mut ticks = Vec::new();
    for n in 0..200 {
        let mut tick = MeterTick { at: Timestamp(BEGIN + n * 5_000_000), values: [None; 6] };
        tick.set(Measurand::Energy, i64::try_from(n).unwrap());
        ticks.push(tick);
        let mut block = BlockBuilder::new();
        block.push(series, tick);
        node.one(tick.at, Command::Telemetry { block: block.finish() });
    }
    let heads = node.partition.seal_heads();
    node.write(&heads);
    let chunks: Vec<MeterTick> = node
        .store
        .iter()
        .filter(|((keyspace, key), _)| match keyspace {
            Keyspace::Series => true,
            Keyspace::Heads => {
                matches!(rows::read_head_key(key), Some((_, OpenPart::Piece(_))))
            }
            _ => false,
        })
        .flat_map(|(_, chunk)| novax_tsdb::decode_chunk(chunk).unwrap())
        .collect();
    assert_eq!(chunks, ticks, "every tick is there once, in order");
    assert!(node.partition.seal_heads().is_empty(), "what is written is clean");
}

/// Feeds one series from several replicas' points of view, each writing its open end out at times of its
/// own: the same state hash, and the same ticks once their chunks are merged.
#[test]
fn replicas_that_write_heads_at_different_times_keep_the_same_ticks() {
    let (mut one, mut other) = (Node::new(config(0)), Node::new(config(0)));
    let connector = ConnectorRef { evse: 1, connector: 1 };
    let both = |one: &mut Node, other: &mut Node, at: Timestamp, commands: Vec<Command>| {
        one.apply_once(at, commands.clone());
        other.apply_once(at, commands);
        assert_eq!(one.partition.state_hash(), other.partition.state_hash());
    };
    both(&mut one, &mut other, Timestamp(BEGIN), setup());
    let status = Command::ConnectorStatus {
        identity: id("CP1"),
        connector,
        status: ConnectorStatus::Available,
        error: "".into(),
        at: Timestamp(BEGIN),
    };
    both(&mut one, &mut other, Timestamp(BEGIN), vec![status]);
    let series = one.partition.station("CP1").unwrap().series(connector);
    let mut expected = std::collections::BTreeSet::new();
    for n in 0..3_000_u64 {
        // Every seventh tick comes a day and a half late, every fifth twice.
        let now = BEGIN + n * 30_000_000;
        let stamp = if n % 7 == 6 { now - 130_000_000_000 } else { now };
        let mut tick = MeterTick { at: Timestamp(stamp), values: [None; 6] };
        tick.set(Measurand::Power, i64::try_from(n % 1_000).unwrap());
        expected.insert((tick.at, tick.values));
        let mut block = BlockBuilder::new();
        for _ in 0..1 + u64::from(n % 5 == 0) {
            block.push(series, tick);
        }
        let told = vec![Command::Telemetry { block: block.finish() }];
        both(&mut one, &mut other, Timestamp(now), told);
        if n % 41 == 0 {
            let heads = one.partition.seal_heads();
            one.write(&heads);
        }
        if n == 1_000 {
            let heads = other.partition.seal_heads();
            other.write(&heads);
            other.partition = other.restored();
        }
    }
    for mut node in [one, other] {
        let heads = node.partition.seal_heads();
        node.write(&heads);
        let stretches = node.store.iter().filter_map(|((keyspace, key), value)| {
            let rank = match keyspace {
                Keyspace::Series => rows::SeriesKey::read(key)?.rank(),
                Keyspace::Heads => match rows::read_head_key(key)?.1 {
                    OpenPart::State => return None,
                    OpenPart::Piece(_) => Rank::BASE,
                    _ => Rank::OPEN_LATE,
                },
                _ => return None,
            };
            Some(Stretch::chunk(rank, value.clone()).unwrap())
        });
        let all = range(stretches.collect(), Timestamp::ZERO, Timestamp::MAX).unwrap();
        assert!(all.iter().map(|row| (row.tick.at, row.tick.values)).eq(expected.iter().copied()));
        assert_eq!(node.partition.totals().ticks_late, 0, "nothing was too late");
        let rollups = |keyspace| node.store.keys().any(|(of, _)| *of == keyspace);
        assert!(rollups(Keyspace::RollupsMinute) && rollups(Keyspace::RollupsHour));
    }
}

/// A try that was refused before leaves a mark; when a later one opens its session the mark goes, and
/// what had been forgotten to make room for it must not come back with a restart.
#[test]
fn a_session_in_the_place_of_a_mark_changes_no_memory() {
    let ask = |session| {
        let command = PeerCommand::AskSession { session: SessionId(session), attempt: 0 };
        Command::Peer { from: PartitionId(0), command }
    };
    let start = |session, evse, attempt: Option<u32>| {
        let held = |attempt| PayerRef::Held {
            driver: id("carol"),
            partition: PartitionId(0),
            amount: 0,
            currency: Currency::EUR,
            attempt,
        };
        Command::StartTransaction(StartTransaction {
            session: SessionId(session),
            identity: id("CP1"),
            connector: ConnectorRef { evse, connector: 1 },
            transaction: None,
            remote_start_id: None,
            token: token(if attempt.is_some() { "A" } else { "X" }),
            meter_start: None,
            at: Timestamp(BEGIN),
            payer: attempt.map_or(PayerRef::Local, held),
        })
    };
    let entries = [ask(6), ask(7), start(1, 1, None), start(7, 1, Some(1)), start(6, 2, None)];
    let entries: Vec<_> = entries.into_iter().map(|command| (0, vec![command])).collect();
    for at in 0..=entries.len() {
        replicate(tight(), &entries, at);
    }
}
