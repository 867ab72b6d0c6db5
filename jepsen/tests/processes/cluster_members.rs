//! Nodes join and leave a cluster that runs; votes move; a disk that is gone is another node.

use crate::cluster::{all_say, form, free_addresses, launch, start};
use crate::cluster_ops::{ask, rows, told, until};
use crate::scene::{get, until_session};
use novax_jepsen::node::{Addresses, Node, novax, provision};
use novax_jepsen::station::{Station, Version, stamp};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn any() -> Addresses {
    let any = "127.0.0.1:0".parse().expect("an address");
    Addresses { ocpp: any, http: any, starts: None, sql: any }
}

fn join(data: &Path, invitation: &str) -> Output {
    let listen = free_addresses(1).remove(0);
    let mut command = Command::new(novax());
    command.args(["cluster", "join", "--invite", invitation, "--listen", &listen, "--data"]);
    command.arg(data).output().expect("runs")
}

#[track_caller]
fn refused(output: &Output, word: &str) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains(word), "{word}: {output:?}");
}

/// A node that was invited by another and has joined, ready.
fn newcomer(folder: &Path, number: usize, by: &Node) -> Node {
    let invitation = told(&ask(by, &["invite", "--site", "fra"]));
    let launch = launch(folder, number);
    let said = told(&join(&launch.data, &invitation));
    assert!(said.starts_with(&format!("n{number} of cluster")), "{said}");
    refused(&join(&folder.join("thief"), &invitation), "no such invitation");
    Node::start_at(launch, any()).expect("it has every partition")
}

/// Every partition has these votes and learners.
fn members(voters: &Value, learners: &Value) -> impl Fn(&Value) -> bool + use<> {
    let (voters, learners) = (voters.clone(), learners.clone());
    move |cluster| {
        let is = |row: &Value| {
            row["voters"] == voters && row["learners"] == learners && row["joint"] == false
        };
        rows(cluster, "partitions").iter().all(is)
    }
}

fn deposit(node: &Node, key: &str) {
    let body = json!({"amount": {"minor": "500", "currency": "EUR"}});
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = node.client().post("/v1/drivers/anna/deposits", Some(key), &body);
        let answer = answer.expect("answers");
        if answer.status == 200 {
            return;
        }
        assert!(answer.status == 503 && Instant::now() < limit, "{}", answer.text);
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

#[test]
fn a_disk_that_is_gone_is_replaced_by_a_node_that_joins_while_charges_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    form(folder.path());
    let mut nodes = start(folder.path());
    provision(&nodes[0].client(), "depot", "S", "anna", "TAG-A");
    let mut station = Station::booted(nodes[0].addresses.ocpp, "S", Version::V16);
    let (transaction, status) = station.start("TAG-A", 1_000);
    assert_eq!(status, "Accepted");
    // Invited by a node that has not formed the cluster: any of them can.
    nodes.push(newcomer(folder.path(), 4, &nodes[1]));
    let cluster = until(&nodes[0], "the new node follows", members(&json!([1, 2, 3]), &json!([4])));
    let new = rows(&cluster, "nodes").iter().find(|row| row["node"] == 4).expect("it is there");
    let sites: Vec<&Value> = rows(&cluster, "nodes").iter().map(|row| &row["site"]).collect();
    assert_eq!(sites, ["fra", "par", "mil", "fra"]);
    assert!(new["site"] == "fra" && new["linked"] == true, "{new}");
    deposit(&nodes[3], "one");
    // One vote by hand; then the third node's disk is gone, but for a copy of who it was.
    let moved = told(&ask(&nodes[3], &["move", "--partition", "1", "--from", "3", "--to", "4"]));
    assert_eq!(moved, "partition 1 has moved\n");
    let copy = folder.path().join("copy");
    let lost = nodes[2].data().to_owned();
    copy_folder(&lost.join("cluster"), &copy.join("cluster"));
    nodes.remove(2).kill();
    std::fs::remove_dir_all(&lost).expect("it was there");
    // Whoever ordered it dies half way, and it is ordered again, elsewhere.
    let client = nodes[0].client();
    let mut command = Command::new(novax());
    command.args(["cluster", "replace", "3", "4", "--http", &client.address.to_string()]);
    command.env("NOVAX__HTTP__API_KEY", client.key).stdout(Stdio::null());
    let mut driver = command.spawn().expect("runs");
    until(&nodes[0], "it is ordered", |cluster| {
        let ordered = |row: &Value| {
            let votes = row["voters"].as_array().is_some_and(|voters| voters.contains(&json!(4)));
            votes || row["wanted_voters"].is_array()
        };
        // Partition 1 was moved by hand.
        rows(cluster, "partitions").iter().any(|row| row["partition"] != 1 && ordered(row))
    });
    driver.kill().and_then(|()| driver.wait()).expect("it ends");
    let replaced = told(&ask(&nodes[2], &["replace", "3", "4"]));
    assert!(replaced.contains("node 4 is in the place of node 3"), "{replaced}");
    for node in &nodes {
        let cluster = until(node, "the old one is gone", members(&json!([1, 2, 4]), &json!([])));
        assert!(rows(&cluster, "nodes").iter().all(|row| row["node"] != 3), "{cluster}");
    }
    station.meter(&stamp(), transaction, 3_000).expect("its socket is open").ok();
    // Its number is nobody's: not that of a folder somebody kept, nor that of a new node.
    the_old_one_is_refused(&copy, &nodes[2]);
    let next = told(&ask(&nodes[0], &["invite"]));
    assert!(next.contains('@'), "{next}");
    let cluster = get(&nodes[0], "/v1/cluster");
    let invited: Vec<&Value> =
        rows(&cluster, "nodes").iter().filter(|row| row["invited"] == true).collect();
    assert!(invited.len() == 1 && invited[0]["node"] == 5, "{cluster}");
    // The new one's vote is needed now, also after it has started again.
    nodes[1].kill();
    deposit(&nodes[0], "two");
    nodes[2].kill();
    nodes[2].restart(None).expect("it knows whom to call");
    deposit(&nodes[2], "three");
    station.stop(transaction, 11_000);
    until_session(&nodes[2], "S", "SETTLED");
    nodes[1].restart(None).expect("ready again");
    all_say(&nodes, "select state, energy_wh from sessions", "SETTLED|10000\n");
    all_say(&nodes, "select sum(debits_posted) = sum(credits_posted) from accounts", "t\n");
    // 100 euros, three deposits of five, one bill of 5.30.
    assert_eq!(get(&nodes[2], "/v1/drivers/anna")["available"]["minor"], "10970");
}

/// A folder of a node that was taken out: it finds nobody who talks to it, and does not become ready.
fn the_old_one_is_refused(data: &PathBuf, by: &Node) {
    let linked = || by.log().matches("linked with n3").count();
    let (before, linked_before) = (by.counter("novax_links_refused_total"), linked());
    let mut old = Command::new(novax());
    old.args(["serve", "--partitions", "4", "--shards", "1", "--ocpp", "127.0.0.1:0"]);
    old.args(["--http", "127.0.0.1:0", "--sql", "127.0.0.1:0", "--data"]).arg(data);
    let mut old = old.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("runs");
    let limit = Instant::now() + Duration::from_secs(15);
    while by.counter("novax_links_refused_total") == before {
        assert!(Instant::now() < limit, "it does not call");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(old.try_wait().expect("a child").is_none(), "it waits");
    old.kill().expect("a child");
    let said = old.wait_with_output().expect("a child").stdout;
    assert!(!String::from_utf8_lossy(&said).contains("ready"), "it has nobody to be ready with");
    assert_eq!(linked(), linked_before, "{}", by.log());
}

#[test]
fn what_would_lose_a_majority_is_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    form(folder.path());
    let mut nodes = start(folder.path());
    until(&nodes[0], "who is there is known", |cluster| rows(cluster, "nodes").len() == 3);
    refused(&ask(&nodes[0], &["remove", "1"]), "another");
    refused(&ask(&nodes[0], &["remove", "9"]), "no node");
    refused(&ask(&nodes[0], &["move", "--partition", "9", "--to", "2"]), "no partition");
    refused(&ask(&nodes[0], &["move", "--partition", "0", "--from", "2", "--to", "7"]), "no node");
    let all = members(&json!([1, 2, 3]), &json!([]));
    nodes[2].kill();
    until(&nodes[0], "the third is held for down", |cluster| {
        let silent = |row: &Value| row["node"] != 3 || row["age_ms"].as_u64() > Some(5_000);
        rows(cluster, "partitions").iter().all(|row| rows(row, "replicas").iter().all(silent))
    });
    refused(&ask(&nodes[0], &["remove", "2"]), "no majority");
    assert!(all(&get(&nodes[0], "/v1/cluster")), "nothing has changed");
    // The dead one may go: two of two are up.
    told(&ask(&nodes[0], &["remove", "3"]));
    until(&nodes[1], "two are left", members(&json!([1, 2]), &json!([])));
}
