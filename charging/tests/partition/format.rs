//! Entries and rows as they lie on disk: `testdata/format_v3.txt` holds a log and the rows it makes.
//! The forms before it were never released.
//!
//! A later build must read these entries, do the same with them, and open these rows; and write the
//! same bytes as in the newest file. `UPDATE_EXPECT=1` writes that anew, which is right only together
//! with a new entry version and a migration of rows.

use crate::node::{Node, Store, config};
use novax_charging::{
    Answer, Command, ConnectorStatus, DirectoryKind, DocumentKind, DocumentPart, EndTransaction,
    IssueDocument, Keyspace, Outcome, Partition, PasswordHash, PayerRef, PeerCommand, PlaceHold,
    Protocol, PutNode, PutSite, RequestStart, Signed, SignedNature, SignedValue, SimpleTerms,
    StartTransaction, TransactionRef, decode_entry, encode_entry,
};
use novax_model::{
    ConnectorRef, Currency, Identity, Measurand, MeterTick, NodeId, PartitionId, SessionId,
    Timestamp, TokenUid, TransferKey, WattHours, Watts,
};
use novax_tariff::rules::{Sample, SignalKind};
use novax_tsdb::BlockBuilder;
use std::collections::BTreeSet;
use std::fmt::Write;

const BEGIN: u64 = 1_767_225_600_000_000;

fn id(text: &str) -> Identity {
    Identity::new(text).unwrap()
}

fn token(text: &str) -> TokenUid {
    TokenUid::new(text).unwrap()
}

fn provision() -> Vec<Command> {
    let tariff = SimpleTerms {
        currency: Currency::EUR,
        energy_millis_per_kwh: 39_500,
        session_fee: 100,
        tax_basis_points: 1_900,
        hold: 500,
        site_host_basis_points: 3_000,
        platform_basis_points: 1_000,
    };
    let password = Some(PasswordHash { salt: [7; 16], sha256: [9; 32] });
    vec![
        Command::PutDirectory {
            kind: DirectoryKind::Station,
            id: "CP1".into(),
            home: PartitionId(0),
        },
        Command::ReportUnknownStation {
            identity: id("CP9"),
            protocol: Protocol::V201,
            vendor: "Acme".into(),
            model: "Two".into(),
        },
        Command::PutSite(Box::new(PutSite::new(
            id("garage"),
            Some(Watts(11_000)),
            tariff.terms(&id("garage")),
        ))),
        Command::PutSignal {
            site: id("garage"),
            kind: SignalKind::Temperature,
            sample: Sample { value: -55, at: Timestamp(1_000_000) },
        },
        Command::PutStation { identity: id("CP1"), site: id("garage"), password },
        Command::PutDriver {
            driver: id("alice"),
            salt: [7; 32],
            tokens: vec![token("A")],
            currency: Currency::EUR,
            blocked: false,
        },
        Command::Deposit { key: TransferKey(77), driver: id("alice"), amount: 5_000 },
        Command::StationConnected {
            identity: id("CP1"),
            epoch: 1,
            protocol: Protocol::V16,
            node: NodeId::FIRST,
        },
        Command::StationBooted {
            identity: id("CP1"),
            vendor: "Acme".into(),
            model: "Two".into(),
            firmware: "1.0".into(),
            serial: "7".into(),
        },
    ]
}

fn charges() -> Vec<Command> {
    let connector = ConnectorRef { evse: 1, connector: 1 };
    let start = |session, evse, transaction| {
        Command::StartTransaction(StartTransaction {
            session: SessionId(session),
            identity: id("CP1"),
            connector: ConnectorRef { evse, connector: 1 },
            transaction,
            remote_start_id: None,
            token: token("A"),
            meter_start: Some(WattHours(100)),
            at: Timestamp(BEGIN),
            payer: PayerRef::Local,
        })
    };
    let mut tick = MeterTick { at: Timestamp(BEGIN + 5_000_000), values: [None; 6] };
    tick.set(Measurand::Energy, 1_100);
    tick.set(Measurand::Power, 11_000);
    // A tick of the day before: its chunk is sealed by the next, and rolled up.
    let mut yesterday = MeterTick { at: Timestamp(BEGIN - 5_000_000), values: [None; 6] };
    yesterday.set(Measurand::Voltage, 2_300);
    let mut block = BlockBuilder::new();
    block.push(novax_charging::rows::series_id(0, connector), yesterday);
    block.push(novax_charging::rows::series_id(0, connector), tick);
    vec![
        Command::ConnectorStatus {
            identity: id("CP1"),
            connector,
            status: ConnectorStatus::Available,
            error: "".into(),
            at: Timestamp(BEGIN),
        },
        start(1, 1, None),
        start(2, 2, Some(TransactionRef::V201("T-b".into()))),
        Command::Telemetry { block: block.finish() },
        Command::CommandAnswered { outbox: 0, answer: Answer::Accepted },
        Command::EndTransaction(EndTransaction {
            identity: id("CP1"),
            transaction: TransactionRef::V16(1),
            meter_stop: Some(WattHours(1_000)),
            at: Timestamp(BEGIN + 9_000_000),
            reason: "EVDisconnected".into(),
            signed: Some(Box::new(Signed {
                energy: None,
                values: vec![SignedValue {
                    nature: SignedNature::End,
                    encoding: "OCMF".into(),
                    method: "".into(),
                    key: "3059".into(),
                    raw: b"OCMF|{}|{}".to_vec(),
                }],
            })),
        }),
        Command::RequestStart(RequestStart {
            session: SessionId(3),
            payload_hash: 5,
            identity: id("CP1"),
            connector: ConnectorRef { evse: 3, connector: 0 },
            token: token("A"),
            payer: PayerRef::Local,
        }),
        Command::Peer {
            from: PartitionId(1),
            command: PeerCommand::PlaceHold(PlaceHold {
                session: SessionId(4),
                sequence: 0,
                token: token("A"),
                amount: 300,
                currency: Currency::EUR,
            }),
        },
        Command::RequestStop { session: SessionId(2) },
        Command::Tick,
    ]
}

fn documents() -> Vec<Command> {
    let invoice = IssueDocument {
        kind: DocumentKind::Invoice,
        entity: "NX-INV".into(),
        subject: "alice".into(),
        from: Timestamp(BEGIN),
        until: Timestamp(BEGIN + 2_500_000),
        currency: Currency::EUR,
        total: 167,
        parts: vec![DocumentPart { session: SessionId(1), amount: 167 }],
        original: None,
        due_days: Some(14),
        facts: b"{}".to_vec(),
    };
    vec![
        Command::PutMeterKey { identity: id("CP1"), key: Some("3059".into()) },
        Command::IssueDocument(Box::new(invoice)),
    ]
}

fn nodes() -> Vec<Command> {
    let put = |number, address: &str| {
        let node = NodeId::new(number).unwrap();
        Command::PutNode(Box::new(PutNode { node, address: address.into(), site: "fra".into() }))
    };
    vec![
        put(1, "10.0.0.1:7700"),
        put(2, ""),
        put(2, "10.0.0.2:7700"),
        put(3, "10.0.0.3:7700"),
        Command::PlaceReplicas { partition: PartitionId(1), voters: vec![NodeId::FIRST] },
        Command::RemoveNode { node: NodeId::new(3).unwrap() },
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn path(version: u8) -> String {
    format!("{}/testdata/format_v{version}.txt", env!("CARGO_MANIFEST_DIR"))
}

fn keyspace(number: u8) -> Keyspace {
    let found = Keyspace::ALL.into_iter().find(|keyspace| *keyspace as u8 == number);
    found.expect("a known keyspace")
}

/// The file as this build writes it.
fn written() -> String {
    let mut node = Node::new(config(0));
    let mut text = String::new();
    for (index, commands) in [(1, provision()), (2, charges()), (3, documents()), (4, nodes())] {
        let at = Timestamp(BEGIN + index * 1_000_000);
        writeln!(text, "entry {index} {}", hex(&encode_entry(at, commands.clone()))).unwrap();
        let applied = node.apply_once(at, commands);
        let refused = |outcome: &&Outcome| matches!(outcome, Outcome::Refused(_));
        assert_eq!(applied.outcomes.iter().find(refused), None);
    }
    let heads = node.partition.seal_heads();
    node.write(&heads);
    for ((keyspace, key), value) in &node.store {
        writeln!(text, "row {} {} {}", *keyspace as u8, hex(key), hex(value)).unwrap();
    }
    text
}

#[test]
fn entries_and_rows_keep_their_form() {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path(3), written()).unwrap();
    }
    let stored = std::fs::read_to_string(path(3)).unwrap();
    assert!(stored == written(), "this build writes other bytes than format_v3.txt");
    let seen: BTreeSet<&str> =
        stored.lines().filter_map(|line| line.strip_prefix("row ")?.split(' ').next()).collect();
    // A log this short has nothing for a person to look at.
    let absent = [
        Keyspace::Exceptions,
        Keyspace::Accruals,
        Keyspace::FxRates,
        Keyspace::TreeNodes,
        Keyspace::TreeHeads,
        Keyspace::Payments,
        Keyspace::Priced,
        // Written beside the state, by whoever replicates it.
        Keyspace::Replica,
    ];
    let absent = absent.map(|keyspace| (keyspace as u8).to_string());
    let missing = absent.iter().filter(|number| !seen.contains(number.as_str())).count();
    let wanted = usize::from(Keyspace::COUNT) - missing;
    assert_eq!(seen.len(), wanted, "the file has rows of every keyspace");
}

#[test]
fn stored_entries_and_rows_are_read() {
    check_is_read(&std::fs::read_to_string(path(3)).unwrap());
}

fn check_is_read(stored: &str) {
    let mut replayed = Partition::new(config(0));
    let mut store = Store::new();
    let mut rows = Vec::new();
    for line in stored.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["entry", index, entry] => {
                let entry = unhex(entry);
                assert!(decode_entry(&entry).is_ok());
                let applied = replayed.apply(index.parse().unwrap(), &entry, &mut store).unwrap();
                for row in applied.rows.iter() {
                    let key = (row.keyspace, row.key.to_vec());
                    match row.value {
                        Some(value) => store.insert(key, value.to_vec()),
                        None => store.remove(&key),
                    };
                }
            }
            ["row", number, key, value] => {
                let keyspace = keyspace(number.parse().unwrap());
                rows.push(Ok::<_, String>((keyspace, unhex(key), unhex(value))));
            }
            _ => panic!("no such line: {line}"),
        }
    }
    let restored = Partition::restore(config(0), rows.into_iter()).unwrap();
    assert_eq!(restored.state_hash(), replayed.state_hash());
    assert_eq!(restored.roster(), replayed.roster());
    assert_eq!(restored.available("alice"), replayed.available("alice"));
    assert_eq!(restored.session(SessionId(1)), replayed.session(SessionId(1)));
    assert!(restored.outbox().eq(replayed.outbox()));
}
