//! Three nodes on one machine: any of them takes any station, and one may die.

use crate::scene::{get, until_session};
use crate::sql::psql;
use novax_jepsen::form::Founder;
use novax_jepsen::node::{Addresses, Launch, Node, provision};
use novax_jepsen::station::{Station, Version};
use novax_model::NodeId;
use serde_json::json;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Addresses that nobody uses at the moment.
pub(crate) fn free_addresses(count: usize) -> Vec<String> {
    let bound: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    bound.iter().map(|taken| taken.local_addr().expect("an address").to_string()).collect()
}

/// Forms a cluster of three in `folder`: `n1`, `n2`, `n3`.
pub(crate) fn form(folder: &Path) {
    let founder = |((number, address), site): ((u64, String), &str)| Founder {
        node: NodeId::new(number).expect("from 1"),
        address: format!("{address},{site}"),
        data: folder.join(format!("n{number}")),
    };
    let placed = (1..).zip(free_addresses(3)).zip(["fra", "par", "mil"]);
    let founders: Vec<Founder> = placed.map(founder).collect();
    novax_jepsen::form::form(&founders, 4).expect("formed");
}

pub(crate) fn launch(folder: &Path, number: usize) -> Launch {
    let data = folder.join(format!("n{number}"));
    Launch {
        program: novax_jepsen::node::novax(),
        prefix: Vec::new(),
        environment: Vec::new(),
        log: data.with_extension("log"),
        data,
        flags: ["--partitions", "4", "--shards", "1"].map(str::to_owned).into(),
    }
}

fn with(folder: &Path, number: usize, flags: &[&str]) -> Launch {
    let mut launch = launch(folder, number);
    launch.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
    launch
}

/// A node is ready when a majority is: all start at once.
pub(crate) fn start(folder: &Path) -> Vec<Node> {
    start_with(folder, &[])
}

fn start_with(folder: &Path, flags: &[&str]) -> Vec<Node> {
    let any = "127.0.0.1:0".parse().expect("an address");
    let ports = Addresses { ocpp: any, http: any, starts: None, sql: any };
    std::thread::scope(|scope| {
        let starting: Vec<_> = (1..=3)
            .map(|number| {
                let launch = with(folder, number, flags);
                scope.spawn(move || Node::start_at(launch, ports).expect("ready"))
            })
            .collect();
        starting.into_iter().map(|node| node.join().expect("started")).collect()
    })
}

/// Every node answers the same, sooner or later.
#[track_caller]
pub(crate) fn all_say(nodes: &[Node], statement: &str, expected: &str) {
    let limit = Instant::now() + Duration::from_secs(10);
    for node in nodes {
        loop {
            let said = psql(node, statement);
            if said == expected {
                break;
            }
            assert!(Instant::now() < limit, "{statement}: {said:?}, not {expected:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_charge_outlives_any_node_and_is_billed_once() {
    let folder = tempfile::tempdir().expect("a folder");
    form(folder.path());
    let mut nodes = start(folder.path());
    // What one node is told, all know; the station comes to another one.
    provision(&nodes[1].client(), "depot", "S", "anna", "TAG-A");
    all_say(&nodes, "select count(*) from drivers", "1\n");
    let mut station = Station::booted(nodes[2].addresses.ocpp, "S", Version::V16);
    let (transaction, status) = station.start("TAG-A", 1_000);
    assert_eq!(status, "Accepted");
    all_say(&nodes, "select state from sessions", "CHARGING\n");
    // Each of the other two dies once: one of them led the station's partition, or the station's own node did.
    for number in [0, 1] {
        nodes[number].kill();
        let value = station.meter(
            &novax_jepsen::station::stamp(),
            transaction,
            2_000 + 1_000 * i64::try_from(number).expect("small"),
        );
        value.expect("its socket is open").ok();
        nodes[number].restart(None).expect("ready again");
    }
    station.stop(transaction, 11_000);
    until_session(&nodes[2], "S", "SETTLED");
    let sum = "select state, energy_wh from sessions";
    all_say(&nodes, sum, "SETTLED|10000\n");
    all_say(&nodes, "select sum(debits_posted) = sum(credits_posted) from accounts", "t\n");
    let anna = get(&nodes[0], "/v1/drivers/anna");
    assert_eq!(get(&nodes[1], "/v1/drivers/anna")["available"], anna["available"]);
}

#[test]
fn without_a_majority_nothing_is_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    form(folder.path());
    let mut nodes = start(folder.path());
    provision(&nodes[0].client(), "depot", "S", "anna", "TAG-A");
    nodes[1].kill();
    nodes[2].kill();
    let body = json!({"amount": {"minor": "500", "currency": "EUR"}});
    let path = "/v1/drivers/anna/deposits";
    let answer = nodes[0].client().post(path, Some("alone"), &body).expect("answers");
    assert_eq!(answer.status, 503, "{:?}", answer.json);
    nodes[1].restart(None).expect("ready again");
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        // The same key: booked once, whatever became of the first try.
        let answer = nodes[0].client().post(path, Some("alone"), &body).expect("answers");
        if answer.status == 200 {
            break;
        }
        assert!(Instant::now() < limit, "{:?}", answer.json);
    }
    let before = get(&nodes[0], "/v1/drivers/anna")["available"].clone();
    nodes[0].client().post(path, Some("alone"), &body).expect("answers").ok();
    assert_eq!(get(&nodes[0], "/v1/drivers/anna")["available"], before);
}

fn until_a_state_comes(folder: &Path) {
    let limit = Instant::now() + Duration::from_secs(30);
    let comes = || {
        let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
        found.into_iter().any(|entry| entry.file_name().to_string_lossy().contains(".at-"))
    };
    while !comes() {
        assert!(Instant::now() < limit, "no state comes");
        std::thread::yield_now();
    }
}

/// The process of the node on a data directory.
fn process_on(data: &Path) -> Option<u32> {
    let data = data.to_str().expect("UTF-8");
    let runs_there = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == data.as_bytes())
    };
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(runs_there)
}

/// A node that was away for longer than the others keep entries is sent the states of its partitions; killed in the
/// middle of that, it begins again; and then it stands in for another.
#[test]
fn a_node_that_was_away_too_long_is_sent_the_state_and_stands_in_for_another() {
    let folder = tempfile::tempdir().expect("a folder");
    form(folder.path());
    let flags = ["--log-retain-bytes", "64KiB", "--memtable-bytes", "128KiB"];
    let mut nodes = start_with(folder.path(), &flags);
    provision(&nodes[0].client(), "depot", "S", "anna", "TAG-A");
    all_say(&nodes, "select count(*) from drivers", "1\n");
    nodes[2].kill();
    // Each is some hundred bytes in the log, in one partition or another.
    let (writers, each) = (4, 400);
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let client = nodes[writer % 2].client();
            scope.spawn(move || {
                for number in 0..each {
                    let driver = format!("driver-{writer}-{number}");
                    let body = json!({"driver": driver, "tokens": [], "currency": "EUR"});
                    client.post("/v1/drivers", None, &body).expect("answers").ok();
                }
            });
        }
    });
    let count = format!("{}\n", writers * each + 1);
    // Killed when a state has begun to come; it may be ready by then, or not.
    let data = nodes[2].data().to_owned();
    std::thread::scope(|scope| {
        let third = &mut nodes[2];
        scope.spawn(move || drop(third.restart(None)));
        until_a_state_comes(&data.join("states"));
        let pid = process_on(&data).expect("it runs").to_string();
        let killed = Command::new("kill").args(["-KILL", &pid]).status().expect("kill runs");
        assert!(killed.success(), "it ran");
    });
    nodes[2].end().expect("it is gone");
    nodes[2].restart(None).expect("ready again");
    all_say(&nodes, "select count(*) from drivers", &count);
    let sent: u64 = nodes[..2].iter().map(|node| node.counter("novax_snapshots_sent_total")).sum();
    assert!(sent > 0, "by states, not by entries");
    nodes[0].kill();
    let mut station = Station::booted(nodes[2].addresses.ocpp, "S", Version::V16);
    let (transaction, status) = station.start("TAG-A", 1_000);
    assert_eq!(status, "Accepted");
    station.stop(transaction, 11_000);
    until_session(&nodes[2], "S", "SETTLED");
    nodes[0].restart(None).expect("ready again");
    all_say(&nodes, "select count(*) from drivers", &count);
    all_say(&nodes, "select sum(debits_posted) = sum(credits_posted) from accounts", "t\n");
}
