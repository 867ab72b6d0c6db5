//! Operations of a cluster of three: what it shows, who leads, a node that drains, stops or dies.

use crate::cluster::{all_say, form, start};
use crate::scene::get;
use novax_jepsen::node::{Node, novax, provision};
use novax_jepsen::station::{Station, Version};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// `novax cluster ...`, asked of a node.
pub(crate) fn ask(node: &Node, words: &[&str]) -> Output {
    let client = node.client();
    let mut command = Command::new(novax());
    command.arg("cluster").args(words).args(["--http", &client.address.to_string()]);
    command.env("NOVAX__HTTP__API_KEY", client.key).output().expect("runs")
}

#[track_caller]
pub(crate) fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub(crate) fn rows<'a>(cluster: &'a Value, of: &str) -> &'a [Value] {
    cluster[of].as_array().expect("a list")
}

/// Looks at the cluster until it is so.
#[track_caller]
pub(crate) fn until(node: &Node, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let cluster = get(node, "/v1/cluster");
        if is_so(&cluster) {
            return cluster;
        }
        assert!(Instant::now() < limit, "{what}: {cluster}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn leads_are_spread(cluster: &Value) -> bool {
    rows(cluster, "partitions").iter().all(|partition| {
        let number = partition["partition"].as_u64().expect("a number");
        partition["leader"] == number % 3 + 1
    })
}

#[test]
fn leads_are_spread_drained_and_handed_over_through_any_node() {
    let folder = tempfile::tempdir().expect("a folder");
    form(folder.path());
    let nodes = start(folder.path());
    let cluster = until(&nodes[2], "each partition is led by its preferred node", leads_are_spread);
    assert_eq!(rows(&cluster, "partitions").len(), 4);
    for partition in rows(&cluster, "partitions") {
        assert_eq!(partition["voters"], json!([1, 2, 3]));
        assert_eq!(rows(partition, "replicas").len(), 3, "{partition}");
    }
    for node in rows(&cluster, "nodes") {
        assert!(node["linked"] == true && node["address"].is_string(), "{node}");
    }
    assert_eq!(told(&ask(&nodes[1], &["drain", "1"])), "node 1 leads nothing\n");
    let shown = told(&ask(&nodes[2], &["status"]));
    assert!(shown.contains("0 (draining)"), "{shown}");
    let led = told(&ask(&nodes[1], &["transfer", "--partition", "1", "--to", "3"]));
    assert_eq!(led, "node 3 leads partition 1\n");
    told(&ask(&nodes[1], &["drain", "1", "--undo"]));
    until(&nodes[1], "all is as before", leads_are_spread);
    let nobody = ask(&nodes[0], &["drain", "9"]);
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    let mistake =
        nodes[0].client().put("/v1/cluster/partitions/9/leader", &json!({"node": 1}).to_string());
    assert_eq!(mistake.expect("answers").status, 404);
}

/// Deposits again and again at a node: each is booked, and how long the slowest took.
fn slowest_deposit(node: &Node, done: &AtomicBool) -> (u64, Duration) {
    let (client, mut booked, mut slowest) = (node.client(), 0, Duration::ZERO);
    while !done.load(Ordering::SeqCst) {
        let body = json!({"amount": {"minor": "1", "currency": "EUR"}});
        let (key, begun) = (format!("d{booked}"), Instant::now());
        let answer = client.post("/v1/drivers/anna/deposits", Some(&key), &body).expect("answers");
        assert_eq!(answer.status, 200, "nothing is refused while leads move: {}", answer.text);
        booked += 1;
        slowest = slowest.max(begun.elapsed());
    }
    (booked, slowest)
}

#[test]
fn a_node_that_is_stopped_hands_over_first_and_no_request_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    form(folder.path());
    let mut nodes = start(folder.path());
    provision(&nodes[0].client(), "depot", "S", "anna", "TAG-A");
    until(&nodes[0], "each partition is led by its preferred node", leads_are_spread);
    let before = get(&nodes[0], "/v1/drivers/anna")["available"]["minor"].clone();
    let (done, mut rest) = (AtomicBool::new(false), nodes.split_off(1));
    let (booked, slowest) = std::thread::scope(|scope| {
        let probe = scope.spawn(|| slowest_deposit(&nodes[0], &done));
        // Both others, one after the other: one of them led where the wallet is, or node 1 did.
        for node in &mut rest {
            assert!(node.stop().success(), "{}", node.log());
            assert!(!node.log().contains("did not take over"), "{}", node.log());
            node.restart(None).expect("ready again");
        }
        done.store(true, Ordering::SeqCst);
        probe.join().expect("every deposit was booked")
    });
    assert!(booked > 10, "{booked} deposits prove nothing");
    // An election takes 500 ms at the least.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    let minor = |text: &Value| text.as_str().expect("text").parse::<u64>().expect("a number");
    let after = get(&rest[1], "/v1/drivers/anna")["available"]["minor"].clone();
    assert_eq!(minor(&after), minor(&before) + booked);
}

#[test]
fn stations_of_a_dead_node_show_as_disconnected() {
    let folder = tempfile::tempdir().expect("a folder");
    form(folder.path());
    let mut nodes = start(folder.path());
    provision(&nodes[0].client(), "depot", "S", "anna", "TAG-A");
    all_say(&nodes, "select count(*) from stations", "1\n");
    let _station = Station::booted(nodes[2].addresses.ocpp, "S", Version::V16);
    until(&nodes[0], "the station's row is there", |_| {
        get(&nodes[0], "/v1/stations/S")["connected"] == true
    });
    nodes[2].kill();
    until(&nodes[0], "it is held for gone", |_| {
        get(&nodes[0], "/v1/stations/S")["connected"] == false
    });
}
