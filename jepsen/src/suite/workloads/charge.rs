//! Charges: stations that start, meter and stop through whatever happens, beside lanes that probe the API.
//!
//! The chargers and the checker are those of the crash test; their history is a file of its own.

use super::api::{Roving, asked, make, written};
use crate::charger::Shared;
use crate::checker;
use crate::crash::{self, AtWork};
use crate::harness::{Doing as _, HarnessError};
use crate::history::Journal;
use crate::node::tariff;
use crate::op::{Call, Value};
use crate::random::Random;
use crate::suite::cluster::Endpoint;
use crate::suite::workload::{Background, Client, Request, Workload};
use crate::verdict::Verdict;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const CHARGERS: u32 = 24;

#[derive(Debug, Default)]
pub(super) struct Charge;

/// The site that is written and read by the lanes.
fn probe(limit: i64) -> serde_json::Value {
    json!({"site": "probe", "tariff": tariff(), "limit_w": limit})
}

impl Workload for Charge {
    fn name(&self) -> &'static str {
        "charge"
    }

    fn setup(&self, endpoints: &[Endpoint]) -> Result<(), HarnessError> {
        endpoints.first().map_or(Ok(()), |endpoint| make(endpoint, "/v1/sites", None, &probe(1)))
    }

    fn generate(&self, _lane: usize, random: &mut Random) -> Request {
        if random.one_in(2) {
            return Request { f: "read", argument: Value::Nil };
        }
        let value = random.between(1, 1 << 20).cast_signed();
        Request { f: "write", argument: Value::Int(value) }
    }

    fn client(&self, endpoints: &[Endpoint], lane: usize) -> Box<dyn Client> {
        Box::new(Roving::new(endpoints, lane, |client, request| match request.argument.as_int() {
            Some(value) => {
                let answer = client.ask("POST", "/v1/sites", None, &probe(value).to_string());
                written(answer, |_| Some(Value::Int(value)))
            }
            None => asked(client.ask("GET", "/v1/sites/probe", None, ""), |json| {
                json["limit_w"].as_i64().map(Value::Int)
            }),
        }))
    }

    fn finals(&self) -> Vec<Request> {
        vec![Request { f: "read", argument: Value::Nil }]
    }

    /// The lanes only show when the API answered; the promises are the chargers'.
    fn check(&self, _calls: &[Call]) -> Verdict {
        Verdict::Passed
    }

    fn background(
        &self,
        endpoints: &[Endpoint],
        folder: &Path,
        seed: u64,
    ) -> Result<Option<Box<dyn Background>>, HarnessError> {
        let journal = Journal::create(&folder.join("charges.jsonl"))
            .doing(|| "making the history of the chargers".to_owned())?;
        let hub = |endpoint: &Endpoint| (endpoint.addresses.ocpp, endpoint.client.clone());
        let hubs = endpoints.iter().map(hub).collect();
        let shared = Arc::new(Shared { hubs, journal, ending: AtomicBool::new(false) });
        crash::provision(CHARGERS, &shared)
            .map_err(|error| HarnessError::Scene(error.to_string()))?;
        let chargers = crash::begin(CHARGERS, seed, &shared);
        Ok(Some(Box::new(Charging { shared, chargers, folder: folder.to_owned() })))
    }
}

struct Charging {
    shared: Arc<Shared>,
    chargers: AtWork,
    folder: PathBuf,
}

impl Background for Charging {
    fn end(self: Box<Self>) -> (Verdict, u64) {
        let ended = crash::end(self.chargers, &self.shared);
        let books = crash::settle(&self.shared, &crash::stations(CHARGERS));
        let history = self.shared.journal.lines();
        let counts = crash::count(&history);
        let done = counts.starts + counts.stops + counts.meter_values;
        let books = match books {
            Ok(books) => books,
            Err(error) => return (Verdict::broken(format!("no books: {error}")), done),
        };
        let kept = serde_json::to_string_pretty(&books).map_err(std::io::Error::other);
        let kept = kept.and_then(|text| std::fs::write(self.folder.join("books.json"), text));
        let mut verdict = Verdict::of(checker::check(&history, &books));
        for (what, went) in [("a charger", ended), ("the books", kept)] {
            if let Err(error) = went {
                verdict = verdict.and(Verdict::broken(format!("{what}: {error}")));
            }
        }
        if counts.stops == 0 {
            verdict = verdict.and(Verdict::broken("no charge came to its end"));
        }
        (verdict, done)
    }
}
