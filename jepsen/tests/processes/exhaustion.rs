//! What a process can run out of, and get again.

use crate::scene::{Scene, until};
use novax_jepsen::node::Node;
use novax_jepsen::station::{Station, Version, stamp};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use std::io::ErrorKind;

/// More than four memory tables of 64 KiB hold.
const CHARGES_MAX: usize = 900;

fn descriptors(node: &Node) -> u64 {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", node.pid())).expect("it lives");
    folder.count() as u64
}

/// Lets a node have so many descriptors, and returns how many it was allowed before.
fn allow(node: &Node, current: u64) -> u64 {
    let pid = Pid::from_raw(i32::try_from(node.pid()).expect("a process")).expect("not zero");
    let limit = Rlimit { current: Some(current), maximum: getrlimit(Resource::Nofile).maximum };
    let before = prlimit(Some(pid), Resource::Nofile, limit).expect("allowed");
    before.current.expect("it is limited")
}

/// A station that goes on from one charge to the next, and stops where it gets no answer.
struct Charging {
    station: Station,
    /// Charges that were answered from begin to end.
    whole: usize,
    /// The one that began and is not over.
    running: Option<i64>,
    /// What is to be said next: said again, it is the same.
    next: (&'static str, Value),
}

impl Charging {
    fn new(station: Station) -> Charging {
        Charging { station, whole: 0, running: None, next: start(0) }
    }

    /// Says what is next; whether it was answered.
    fn step(&mut self) -> bool {
        let answer = match self.station.call(self.next.0, &self.next.1) {
            Ok(answer) => answer.ok(),
            Err(error) if error.kind() == ErrorKind::TimedOut => return false,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(answer["idTagInfo"]["status"], "Accepted");
        if self.running.take().is_some() {
            self.whole += 1;
            self.next = start(self.whole);
        } else {
            let transaction = answer["transactionId"].as_i64().expect("a number");
            self.running = Some(transaction);
            self.next = stop(transaction, self.whole);
        }
        true
    }
}

fn start(round: usize) -> (&'static str, Value) {
    let (tag, meter) = ("TAG-A", round * 1_000);
    let payload =
        json!({"connectorId": 1, "idTag": tag, "meterStart": meter, "timestamp": stamp()});
    ("StartTransaction", payload)
}

fn stop(transaction: i64, round: usize) -> (&'static str, Value) {
    let meter = round * 1_000 + 500;
    let payload = json!({
        "transactionId": transaction, "meterStop": meter, "timestamp": stamp(), "reason": "Local",
    });
    ("StopTransaction", payload)
}

/// A table that cannot be written stays in memory, and memory is bounded: then commands wait. What needs no table goes
/// on, nothing is lost, and whoever asks again when there are descriptors gets the answer that was due.
#[test]
fn a_node_without_descriptors_says_so_waits_and_is_whole_when_it_has_some() {
    let mut scene = Scene::new(&["--memtable-bytes", "64KiB"]);
    let ocpp = scene.node.addresses.ocpp;
    let mut charging = Charging::new(Station::booted(ocpp, "BAD", Version::V16));
    let allowed = allow(&scene.node, descriptors(&scene.node));
    while charging.step() {
        assert!(charging.whole < CHARGES_MAX, "so much fits into no memory table");
    }
    assert!(scene.node.log().contains("Too many open files"), "{}", scene.node.log());

    // A station's socket is a slot of a ring and no descriptor.
    let mut other = Station::connect(ocpp, "GOOD", Version::V16, None).expect("it may connect");
    other.call("Heartbeat", &json!({})).expect("answers").ok();

    allow(&scene.node, allowed);
    let before = charging.whole;
    while charging.whole < before + 2 {
        assert!(charging.step(), "there are descriptors again");
    }
    let whole = charging.whole;
    let settled = |scene: &Scene| {
        let list = scene.get("/v1/sessions?station=BAD&limit=1000");
        let rows = list["items"].as_array().expect("a list").iter();
        rows.filter(|row| row["state"] == "SETTLED").count()
    };
    until("every charge is paid", || (settled(&scene) == whole).then_some(()));

    scene.node.kill();
    scene.node.restart(None).expect("starts again");
    until("every charge is still paid", || (settled(&scene) == whole).then_some(()));
}
