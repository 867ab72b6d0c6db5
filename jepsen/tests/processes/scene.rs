//! A node with one station that charges and must go on doing so, whatever happens beside it.

use novax_jepsen::node::{Node, provision};
use novax_jepsen::station::{Station, Version, stamp};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The node and its well-behaved station.
pub(crate) struct Scene {
    pub(crate) node: Node,
    pub(crate) good: Station,
    pub(crate) transaction: i64,
}

impl Scene {
    /// A node with site `depot`, the stations `GOOD` (of which anna's session runs) and `BAD`.
    pub(crate) fn new(flags: &[&str]) -> Scene {
        let node = Node::start(flags);
        let client = node.client();
        provision(&client, "depot", "GOOD", "anna", "TAG-A");
        let body = json!({"station": "BAD", "site": "depot"});
        client.post("/v1/stations", None, &body).expect("answers").ok();
        let mut good = Station::booted(node.addresses.ocpp, "GOOD", Version::V16);
        let (transaction, status) = good.start("TAG-A", 1_000);
        assert_eq!(status, "Accepted");
        Scene { node, good, transaction }
    }

    /// The neighbour noticed nothing: its socket, its session and its bill are in order.
    #[track_caller]
    pub(crate) fn the_neighbour_is_well(&mut self) {
        let transaction = self.transaction;
        self.good.meter(&stamp(), transaction, 3_000).expect("its socket is open").ok();
        self.good.stop(transaction, 11_000);
        let row = self.until_session("GOOD", "SETTLED");
        assert_eq!(row["energy_wh"], 10_000);
        // 395 cents for the energy, 50 for the session, 85 tax.
        assert_eq!(row["cost"]["total"]["minor"], "530");
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        get(&self.node, path)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.node.client().post(path, None, body).expect("answers").ok()
    }

    #[track_caller]
    pub(crate) fn station(&self, name: &str) -> Value {
        self.get(&format!("/v1/stations/{name}"))
    }

    #[track_caller]
    pub(crate) fn until_session(&self, station: &str, state: &str) -> Value {
        until_session(&self.node, station, state)
    }
}

#[track_caller]
pub(crate) fn get(node: &Node, path: &str) -> Value {
    node.client().get(path).expect("answers").ok()
}

/// The newest session of a station, once it is in this state.
#[track_caller]
pub(crate) fn until_session(node: &Node, station: &str, state: &str) -> Value {
    let mut seen = Vec::new();
    until(&format!("a session of {station} in {state}"), || {
        let list = get(node, &format!("/v1/sessions?station={station}"));
        seen = list["items"].as_array().expect("a list").clone();
        seen.iter().find(|row| row["state"] == state).cloned()
    })
}

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < limit, "waited 20 s for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
