//! What a node that was killed, or started otherwise, still knows.

use crate::scene::{Scene, get, until};
use crate::sql::psql;
use novax_jepsen::books::Books;
use novax_jepsen::station::{Station, Version, stamp};
use std::time::Duration;

#[test]
fn a_session_goes_on_after_a_kill_and_its_history_reads_back() {
    let mut scene = Scene::new(&["--memtable-bytes", "64KiB"]);
    let stamps: Vec<String> = (0..200)
        .map(|number| {
            let at = stamp();
            scene.good.meter(&at, scene.transaction, 1_000 + 10 * number).expect("answers").ok();
            // Two values of one connector at one time would be one.
            std::thread::sleep(Duration::from_millis(2));
            at
        })
        .collect();
    scene.node.kill();
    scene.node.restart(None).expect("ready again");
    let row = scene.until_session("GOOD", "CHARGING");
    assert_eq!(row["transaction"], scene.transaction.to_string());
    assert_eq!(row["energy_wh"], 1_990, "all that was acknowledged is counted");
    let sql =
        "select count(*), min(energy_wh), max(energy_wh) from telemetry where station = 'GOOD'";
    assert_eq!(psql(&scene.node, sql), "200|1000|2990\n");
    let books = Books::read(&scene.node.client(), &["GOOD".to_owned()]).expect("readable");
    let kept: Vec<String> = books.ticks["GOOD"].iter().map(|(at, _)| at.clone()).collect();
    assert_eq!(kept, stamps);
    // The station comes back by itself and goes on with the transaction it had.
    scene.good = Station::booted(scene.node.addresses.ocpp, "GOOD", Version::V16);
    scene.the_neighbour_is_well();
}

#[test]
fn a_node_that_is_told_to_stop_ends_cleanly_and_loses_nothing() {
    let mut scene = Scene::new(&["--shards", "2"]);
    let status = scene.node.stop();
    assert!(status.success(), "{status}");
    scene.node.restart(None).expect("ready again");
    scene.good = Station::booted(scene.node.addresses.ocpp, "GOOD", Version::V16);
    scene.the_neighbour_is_well();
}

#[test]
fn the_number_of_shards_may_change_between_restarts() {
    let mut scene = Scene::new(&["--shards", "1"]);
    let before = Books::read(&scene.node.client(), &[]).expect("readable");
    for shards in ["3", "2", "1"] {
        scene.node.kill();
        scene.node.restart(Some(&["--shards", shards])).expect("ready again");
        assert_eq!(get(&scene.node, "/v1/status")["shards"].to_string(), shards);
        let after = Books::read(&scene.node.client(), &[]).expect("readable");
        assert_eq!(after, before, "{shards} shards");
        let hub = scene.node.addresses.ocpp;
        scene.good =
            until("the station", || Station::connect(hub, "GOOD", Version::V16, None).ok());
        assert_eq!(scene.good.boot().expect("answers"), "Accepted");
    }
    scene.the_neighbour_is_well();
}
