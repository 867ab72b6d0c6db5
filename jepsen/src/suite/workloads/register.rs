//! Registers: the limits of sites. Each value is written once, so that a reading names its write.

use super::api::{Roving, asked, make, written};
use crate::check::linear::{self, Bounds, Timed};
use crate::check::models::{Register, RegisterCall, without_unseen_writes};
use crate::harness::HarnessError;
use crate::node::tariff;
use crate::op::{Call, End, Value};
use crate::random::Random;
use crate::suite::cluster::Endpoint;
use crate::suite::workload::{Client, Request, Workload};
use crate::verdict::Verdict;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

const KEYS: u64 = 6;
/// What each holds at first.
const INITIAL: i64 = 0;

#[derive(Debug)]
pub(super) struct Registers {
    next: AtomicI64,
}

impl Default for Registers {
    fn default() -> Registers {
        Registers { next: AtomicI64::new(INITIAL + 1) }
    }
}

fn site(key: i64, limit: i64) -> Json {
    json!({"site": format!("register-{key}"), "tariff": tariff(), "limit_w": limit})
}

/// `[key value]`, as Jepsen's independent keys are written.
fn pair(key: i64, value: Value) -> Value {
    Value::List(vec![Value::Int(key), value])
}

fn key_and_value(value: &Value) -> Option<(i64, Option<i64>)> {
    let [key, value] = value.as_list()? else { return None };
    Some((key.as_int()?, value.as_int()))
}

impl Workload for Registers {
    fn name(&self) -> &'static str {
        "register"
    }

    fn setup(&self, endpoints: &[Endpoint]) -> Result<(), HarnessError> {
        let Some(endpoint) = endpoints.first() else { return Ok(()) };
        (0..KEYS).try_for_each(|key| {
            make(endpoint, "/v1/sites", None, &site(key.cast_signed(), INITIAL))
        })
    }

    fn generate(&self, _lane: usize, random: &mut Random) -> Request {
        let key = random.between(0, KEYS).cast_signed();
        if random.one_in(2) {
            return Request { f: "read", argument: pair(key, Value::Nil) };
        }
        let value = self.next.fetch_add(1, Ordering::Relaxed);
        Request { f: "write", argument: pair(key, Value::Int(value)) }
    }

    fn client(&self, endpoints: &[Endpoint], lane: usize) -> Box<dyn Client> {
        Box::new(Roving::new(endpoints, lane, |client, request| {
            let Some((key, value)) = key_and_value(&request.argument) else {
                unreachable!("a request of this workload");
            };
            if let Some(value) = value {
                let body = site(key, value).to_string();
                let answer = client.ask("POST", "/v1/sites", None, &body);
                return written(answer, |_| Some(request.argument.clone()));
            }
            let answer = client.ask("GET", &format!("/v1/sites/register-{key}"), None, "");
            asked(answer, |json| Some(pair(key, Value::Int(json["limit_w"].as_i64()?))))
        }))
    }

    fn finals(&self) -> Vec<Request> {
        let read = |key: u64| Request { f: "read", argument: pair(key.cast_signed(), Value::Nil) };
        (0..KEYS).map(read).collect()
    }

    fn check(&self, calls: &[Call]) -> Verdict {
        let mut by_key: BTreeMap<i64, Vec<Timed<RegisterCall>>> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.may_have_happened()) {
            let seen = match &call.end {
                End::Ok(value) => value,
                _ => &call.argument,
            };
            let Some((key, value)) = key_and_value(seen) else {
                return Verdict::broken(format!("a call without a key: {call:?}"));
            };
            let register_call = match (call.f.as_str(), value) {
                ("write", Some(value)) => RegisterCall::Write(value),
                ("read", value) => RegisterCall::Read(value),
                _ => return Verdict::broken(format!("a call of another workload: {call:?}")),
            };
            let timed =
                Timed { call: register_call, invoked: call.invoked, returned: call.returned() };
            by_key.entry(key).or_default().push(timed);
        }
        let model = Register { initial: Some(INITIAL) };
        let pruned = by_key.into_iter().flat_map(|(key, calls)| {
            without_unseen_writes(calls).into_iter().map(move |call| (key, call))
        });
        linear::check_by_key(&model, pruned, Bounds::default())
    }
}
