//! Who leads which partition, as the nodes of a cluster say.
//!
//! **Invariants**
//! * Of what nodes say of a partition the latest term counts: a leader that was cut off does not know that it is
//!   none any more.
//! * Asking takes a bounded time, whatever the nodes are doing.

use crate::http::Client;
use crate::op::{Recorder, Value};
use novax_model::NodeId;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The leader of each partition that has one.
pub type Leads = BTreeMap<u64, NodeId>;

/// A node that does not answer within this is not asked further.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a watch asks.
const PERIOD: Duration = Duration::from_millis(200);

/// What the nodes say together; empty when none answers.
#[must_use]
pub fn ask(clients: &[Client]) -> Leads {
    let ask_one = |client: &Client| {
        let client = Client { patience: PATIENCE, ..client.clone() };
        client.get("/v1/cluster").ok().filter(|answer| answer.status == 200)
    };
    // All at once: those that are paused or cut off would add up.
    let answers = std::thread::scope(|scope| {
        let asked: Vec<_> =
            clients.iter().map(|client| scope.spawn(move || ask_one(client))).collect();
        let answers = asked.into_iter().filter_map(|asked| asked.join().ok().flatten());
        answers.map(|answer| answer.json).collect::<Vec<_>>()
    });
    together(&answers)
}

/// The answers as one: of each partition the leader of the latest term that anybody knows a leader of.
fn together(answers: &[Json]) -> Leads {
    let mut latest: BTreeMap<u64, (u64, NodeId)> = BTreeMap::new();
    for row in answers.iter().filter_map(|answer| answer["partitions"].as_array()).flatten() {
        let said = (row["partition"].as_u64(), row["term"].as_u64(), row["leader"].as_u64());
        let (Some(partition), Some(term), Some(leader)) = said else { continue };
        let Some(leader) = NodeId::new(leader) else { continue };
        let known = latest.entry(partition).or_insert((term, leader));
        if term > known.0 {
            *known = (term, leader);
        }
    }
    latest.into_iter().map(|(partition, (_, leader))| (partition, leader)).collect()
}

/// The node that leads most partitions, the first of them when there are several.
#[must_use]
pub fn most(leads: &Leads) -> Option<NodeId> {
    let mut counts: BTreeMap<NodeId, u64> = BTreeMap::new();
    for leader in leads.values() {
        *counts.entry(*leader).or_default() += 1;
    }
    let most = counts.values().max().copied()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(node, _)| node)
}

/// In words: which partitions each leads.
#[must_use]
pub fn words(leads: &Leads) -> String {
    let mut by_node: BTreeMap<NodeId, Vec<String>> = BTreeMap::new();
    for (partition, leader) in leads {
        by_node.entry(*leader).or_default().push(partition.to_string());
    }
    let words = by_node.iter().map(|(node, of)| format!("n{}: {}", node.get(), of.join(" ")));
    let words: Vec<String> = words.collect();
    if words.is_empty() { "nobody".to_owned() } else { words.join(", ") }
}

/// Writes into the history who leads, whenever it changes, until it is told to stop.
pub fn watch(clients: &[Client], recorder: &Recorder, stop: &AtomicBool) {
    let mut known = Leads::new();
    while !stop.load(Ordering::Relaxed) {
        let leads = ask(clients);
        if leads != known {
            let row = |(partition, leader): (&u64, &NodeId)| {
                (partition.to_string(), Value::Int(leader.get().cast_signed()))
            };
            let map = Value::Map(leads.iter().map(row).collect());
            let at = Duration::from_nanos(recorder.now_ns()).as_secs_f64();
            println!("{at:>8.3} s  leads {}", words(&leads));
            recorder.nemesis("leads", Value::map([("phase", "leads".into()), ("leads", map)]));
            known = leads;
        }
        std::thread::sleep(PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).expect("not zero")
    }

    #[test]
    fn the_latest_term_counts_and_who_leads_most_leads() {
        let old = json!({"partitions": [
            {"partition": 0, "term": 3, "leader": 1}, {"partition": 1, "term": 9, "leader": 2},
            {"partition": 2, "term": 8, "leader": null}, {"partition": 3, "term": 1, "leader": 0},
        ]});
        let new = json!({"partitions": [
            {"partition": 0, "term": 4, "leader": 3}, {"partition": 1, "term": 8, "leader": 1},
            {"partition": 2, "term": 7, "leader": 2}, {"partition": "?"},
        ]});
        let leads = together(&[old, json!({"partitions": 7}), new]);
        let expected = [(0, node(3)), (1, node(2)), (2, node(2))];
        assert_eq!(leads, Leads::from(expected));
        assert_eq!(most(&leads), Some(node(2)));
        assert_eq!(words(&leads), "n2: 1 2, n3: 0");
        assert_eq!(most(&Leads::from([(0, node(3)), (1, node(2))])), Some(node(2)));
        assert_eq!((most(&Leads::new()), words(&Leads::new()).as_str()), (None, "nobody"));
    }

    #[test]
    fn nobody_leads_where_nobody_answers() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("bound");
        // One that takes the connection and says nothing, as a paused node does, and one that is gone.
        let silent = Client::new(address, "key");
        let gone = Client { address: "127.0.0.1:1".parse().expect("an address"), ..silent.clone() };
        assert_eq!(ask(&[silent, gone]), Leads::new());
    }
}
