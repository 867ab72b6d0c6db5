//! What a card start costs the shard's thread: entry decoded, hold placed, rows written.
//!
//! `cargo bench -p novax-charging` prints one line per figure, `figure <name> <value> <unit>`.

use novax_charging::{
    Command, Outcome, Partition, PartitionConfig, PayerRef, Protocol, PutSite, SimpleTerms,
    StartTransaction, encode_entry,
};
use novax_model::{
    ConnectorRef, Currency, Identity, NodeId, SessionId, Timestamp, TokenUid, TransferKey,
    WattHours,
};
use std::collections::BTreeMap;
use std::time::Instant;

const STATIONS: u64 = 1_000;
const ROUNDS: u64 = 50;
/// As many commands as a shard gathers in one turn of its loop at full load.
const COMMANDS_PER_ENTRY: u64 = 10;
const BEGIN: u64 = 1_767_225_600_000_000;

fn id(text: &str) -> Identity {
    Identity::new(text).expect("a short name")
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
    let mut commands = vec![Command::PutSite(Box::new(PutSite::new(
        id("garage"),
        None,
        tariff.terms(&id("garage")),
    )))];
    for n in 0..STATIONS {
        let identity = id(&format!("CP-{n:06}"));
        commands.push(Command::PutStation {
            identity: identity.clone(),
            site: id("garage"),
            password: None,
        });
        commands.push(Command::StationConnected {
            identity,
            epoch: 1,
            protocol: Protocol::V16,
            node: NodeId::FIRST,
        });
        let driver = id(&format!("driver-{n}"));
        commands.push(Command::PutDriver {
            driver: driver.clone(),
            salt: [7; 32],
            tokens: vec![TokenUid::new(&format!("T{n}")).expect("a short token")],
            currency: Currency::EUR,
            blocked: false,
        });
        commands.push(Command::Deposit {
            key: TransferKey(u128::from(n)),
            driver,
            amount: 1_000_000_000,
        });
    }
    commands
}

/// Entries that start a session at every station; each closes the one before it.
fn starts(round: u64) -> Vec<Vec<u8>> {
    let at = Timestamp(BEGIN + round * 1_000_000);
    let start = |n: u64| {
        Command::StartTransaction(StartTransaction {
            session: SessionId(u128::from(round) << 64 | u128::from(n)),
            identity: id(&format!("CP-{n:06}")),
            connector: ConnectorRef { evse: 1, connector: 1 },
            transaction: None,
            remote_start_id: None,
            token: TokenUid::new(&format!("T{n}")).expect("a short token"),
            meter_start: Some(WattHours(0)),
            at,
            payer: PayerRef::Local,
        })
    };
    (0..STATIONS / COMMANDS_PER_ENTRY)
        .map(|entry| {
            let first = entry * COMMANDS_PER_ENTRY;
            encode_entry(at, (first..first + COMMANDS_PER_ENTRY).map(start).collect())
        })
        .collect()
}

/// The mean over a round, in microseconds a command.
fn run(partition: &mut Partition, index: &mut u64, entries: &[Vec<u8>]) -> f64 {
    let begin = Instant::now();
    for entry in entries {
        *index += 1;
        let applied = partition.apply(*index, entry, &mut BTreeMap::new()).expect("a sound entry");
        let good = |outcome: &Outcome| matches!(outcome, Outcome::Started { refusal: None, .. });
        assert!(applied.outcomes.iter().all(good), "every start is held for");
    }
    begin.elapsed().as_secs_f64() * 1e6 / STATIONS as f64
}

fn main() {
    let mut partition = Partition::new(PartitionConfig::default());
    let mut index = 1;
    let provision = encode_entry(Timestamp(BEGIN), provision());
    partition.apply(1, &provision, &mut BTreeMap::new()).expect("a sound entry");
    let first = run(&mut partition, &mut index, &starts(1));
    let mut rounds: Vec<f64> =
        (2..ROUNDS).map(|round| run(&mut partition, &mut index, &starts(round))).collect();
    rounds.sort_by(f64::total_cmp);
    println!("figure apply_start_us {first:.2} us");
    println!("figure apply_close_and_start_us {:.2} us", rounds[rounds.len() / 2]);
}
