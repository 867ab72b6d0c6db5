//! The API's claims, through the real server on a loopback socket and the real state machine.
//!
//! * [`node`]: partitions and stores in a thread; [`client`]: the server and a client
//! * [`charge`]: provisioning, a charge, money; [`bounds`]: keys, errors, limits; [`service`]:
//!   events, metrics, files, the document

mod bounds;
mod charge;
mod client;
mod node;
mod service;

use client::World;
use novax_charging::command::Command;
use novax_charging::{ConnectorStatus, Outcome, Protocol};
use novax_model::{ConnectorRef, Identity, NodeId, Timestamp};
use serde_json::{Value, json};

fn id(text: &str) -> Identity {
    Identity::new(text).expect("a name of the tests")
}

/// 39.5 cents a kWh, 50 cents a session, 19 % tax, 20 EUR held.
fn site(name: &str, partition: u16) -> Value {
    json!({
        "site": name, "limit_w": 50_000, "partition": partition,
        "tariff": {
            "currency": "EUR", "energy_millis_per_kwh": 39_500, "session_fee_minor": "50",
            "tax_basis_points": 1_900, "hold_minor": "2000",
        },
        "split": { "site_host_basis_points": 1_000, "platform_basis_points": 500 },
    })
}

/// A site with a station and a driver without money, all in partition 1.
async fn provisioned() -> World {
    let world = World::new(3).await;
    world.make("/v1/sites", site("depot", 1)).await;
    world.make("/v1/stations", json!({"station": "CP-1", "site": "depot"})).await;
    let anna = json!({"driver": "anna", "tokens": ["TAG-A"], "currency": "EUR", "partition": 1});
    world.make("/v1/drivers", anna).await;
    world
}

/// As [`provisioned`], with the station booted and 50 EUR in the wallet.
async fn ready() -> World {
    let world = provisioned().await;
    connect(&world, "CP-1").await;
    let deposit = json!({"amount": {"minor": "5000", "currency": "EUR"}});
    world.make("/v1/drivers/anna/deposits", deposit).await;
    world
}

/// The station opens a socket, boots, and says that its connector is free.
async fn connect(world: &World, station: &str) {
    let identity = id(station);
    let connector = ConnectorRef::of_v16(1);
    for command in [
        Command::StationConnected {
            identity: identity.clone(),
            epoch: 1,
            protocol: Protocol::V16,
            node: NodeId::FIRST,
        },
        Command::StationBooted {
            identity: identity.clone(),
            vendor: "Acme".into(),
            model: "Fast 50".into(),
            firmware: "1.2".into(),
            serial: "S-1".into(),
        },
        Command::ConnectorStatus {
            identity: identity.clone(),
            connector,
            status: ConnectorStatus::Available,
            error: "".into(),
            at: node::START,
        },
    ] {
        let outcome = world.node.apply("depot", command).await;
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }
}

fn minutes_after_start(minutes: u64) -> Timestamp {
    Timestamp(node::START.0 + minutes * 60_000_000)
}
