//! A set: drivers that are made, and the list of them.

use super::api::{Roving, gathered, written};
use crate::books::pages;
use crate::check::set::{self, Added, Reading, Tries};
use crate::harness::HarnessError;
use crate::http::Client as HttpClient;
use crate::op::{Call, End, Value};
use crate::random::Random;
use crate::suite::cluster::Endpoint;
use crate::suite::workload::{Client, Request, Workload};
use crate::verdict::Verdict;
use serde_json::json;
use std::sync::atomic::{AtomicI64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Set {
    next: AtomicI64,
}

fn read(client: &HttpClient) -> std::io::Result<Value> {
    let element =
        |row: &serde_json::Value| row["driver"].as_str()?.strip_prefix("set-")?.parse().ok();
    Ok(Value::ints(pages(client, "/v1/drivers")?.iter().filter_map(element)))
}

impl Workload for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn setup(&self, _endpoints: &[Endpoint]) -> Result<(), HarnessError> {
        Ok(())
    }

    fn generate(&self, _lane: usize, random: &mut Random) -> Request {
        if random.one_in(20) {
            return Request { f: "read", argument: Value::Nil };
        }
        let element = self.next.fetch_add(1, Ordering::Relaxed);
        Request { f: "add", argument: Value::Int(element) }
    }

    fn client(&self, endpoints: &[Endpoint], lane: usize) -> Box<dyn Client> {
        Box::new(Roving::new(endpoints, lane, |client, request| {
            let Some(element) = request.argument.as_int() else { return gathered(read(client)) };
            let name = format!("set-{element:08}");
            let body =
                json!({"driver": name, "tokens": [format!("T{element}")], "currency": "EUR"});
            let answer = client.ask("POST", "/v1/drivers", None, &body.to_string());
            written(answer, |json| (json["driver"] == name.as_str()).then_some(Value::Int(element)))
        }))
    }

    fn finals(&self) -> Vec<Request> {
        vec![Request { f: "read", argument: Value::Nil }]
    }

    fn check(&self, calls: &[Call]) -> Verdict {
        let (mut tries, mut readings) = (Tries::new(), Vec::new());
        for call in calls {
            match (call.argument.as_int(), &call.end, call.completed) {
                (Some(element), End::Ok(_), Some(completed)) => {
                    tries.insert(element, (call.invoked, Added::Ok(completed)));
                }
                (Some(element), End::Fail(_), _) => {
                    tries.insert(element, (call.invoked, Added::Refused));
                }
                (Some(element), ..) => {
                    tries.insert(element, (call.invoked, Added::Unknown));
                }
                (None, End::Ok(Value::List(elements)), Some(completed)) => {
                    let elements = elements.iter().filter_map(Value::as_int).collect();
                    readings.push(Reading { invoked: call.invoked, completed, elements });
                }
                (None, ..) => {}
            }
        }
        set::check(&tries, &readings)
    }
}
