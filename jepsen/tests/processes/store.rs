//! What becomes of old meter values, and `novax store`.

use crate::scene::{Scene, until};
use crate::sql::psql;
use novax_jepsen::node::{Node, novax};
use novax_jepsen::station::{Station, Version, now_ms};
use novax_model::Timestamp;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// More than one chunk has.
const TICKS: u64 = 1_200;

/// Values that the station kept for three days, as one that was out of reach sends them.
fn send_old_values(scene: &mut Scene) {
    let midnight = now_ms() / DAY_MS * DAY_MS;
    let begin = midnight - 3 * DAY_MS;
    for first in (0..TICKS).step_by(100) {
        let value = |number: u64| {
            let at = Timestamp((begin + number * 5_000) * 1_000).to_rfc3339();
            let register = (100 + number).to_string();
            json!({"timestamp": at, "sampledValue": [
                {"value": register, "measurand": "Energy.Active.Import.Register", "unit": "Wh"}]})
        };
        let values: Vec<Value> = (first..first + 100).map(value).collect();
        let payload = json!({"connectorId": 1, "meterValue": values});
        scene.good.call("MeterValues", &payload).expect("answers").ok();
    }
}

fn counted(node: &Node) -> String {
    psql(
        node,
        "select count(*), min(energy_wh), max(energy_wh), sum(energy_wh) from telemetry \
         where station = 'GOOD' and at < now() - interval '1 day'",
    )
}

/// All files below a folder with this ending.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.append(&mut files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[track_caller]
fn store(arguments: &[&str], data: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(novax());
    let ran = command.arg("store").args(arguments).arg("--data").arg(data).output().expect("runs");
    let text =
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    (ran.status.code(), text)
}

#[test]
fn old_meter_values_become_cold_and_are_read_like_the_rest() {
    let flags = ["--series-hot-days", "1", "--series-tend-s", "1", "--memtable-bytes", "64KiB"];
    let mut scene = Scene::new(&flags);
    send_old_values(&mut scene);
    let all = "1200|100|1299|839400\n";
    assert_eq!(counted(&scene.node), all, "they are kept, late as they are");
    let cold = scene.node.data().join("cold");
    until("a cold file", || (!files(&cold, ".nvc").is_empty()).then_some(()));
    assert_eq!(counted(&scene.node), all, "one tier or two");
    scene.node.kill();
    scene.node.restart(None).expect("ready again");
    assert_eq!(counted(&scene.node), all, "after a crash");
    let status = scene.node.stop();
    assert!(status.success(), "{status}");
    let (code, text) = store(&["verify"], scene.node.data());
    assert_eq!(code, Some(0), "{text}");
    let parquet = scene.node.data().join("exported");
    let to = parquet.to_str().expect("a path in UTF-8");
    let (code, text) = store(&["export", "--to", to], scene.node.data());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1200 rows"), "{text}");
    assert!(!files(&parquet, ".parquet").is_empty());
    scene.node.restart(None).expect("ready again");
    scene.good = Station::booted(scene.node.addresses.ocpp, "GOOD", Version::V16);
    scene.the_neighbour_is_well();
}

#[test]
fn a_damaged_table_is_named_and_repaired_and_the_node_goes_on() {
    let mut scene = Scene::new(&["--memtable-bytes", "64KiB"]);
    let (code, text) = store(&["verify"], scene.node.data());
    assert_eq!(code, Some(1), "a node runs on it: {text}");
    assert!(text.contains("open"), "{text}");
    assert!(scene.node.stop().success());
    let (code, text) = store(&["stats", "--json"], scene.node.data());
    assert_eq!(code, Some(0), "{text}");
    let tables = files(&scene.node.data().join("partitions"), ".nvt");
    let table = tables.first().expect("a clean end leaves tables");
    let mut bytes = std::fs::read(table).expect("readable");
    bytes[20] ^= 0x10;
    std::fs::write(table, &bytes).expect("writable");
    let (code, text) = store(&["verify"], scene.node.data());
    let name = table.file_name().expect("a file").to_string_lossy().into_owned();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&name), "{text} names {name}");
    bytes[20] ^= 0x10;
    std::fs::write(table, &bytes).expect("writable");
    let (code, text) = store(&["verify"], scene.node.data());
    assert_eq!(code, Some(0), "{text}");
    let backups = scene.node.data().join("../backups");
    let into = backups.to_str().expect("a path in UTF-8");
    let (code, text) = store(&["backup", "--into", into], scene.node.data());
    assert_eq!(code, Some(0), "{text}");
    bytes[20] ^= 0x10;
    std::fs::write(table, &bytes).expect("writable");
    // The backup gives back what the disk has lost.
    let restored = scene.node.data().join("../restored");
    let from = ["restore", "--from", into];
    let (code, text) = store(&from, &restored);
    assert_eq!(code, Some(0), "{text}");
    let twin = restored.to_str().expect("a path in UTF-8");
    let (code, text) = store(&["repair", "--from", twin], scene.node.data());
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = store(&["verify"], scene.node.data());
    assert_eq!(code, Some(0), "{text}");
    scene.node.restart(None).expect("ready again");
    scene.good = Station::booted(scene.node.addresses.ocpp, "GOOD", Version::V16);
    scene.the_neighbour_is_well();
}
