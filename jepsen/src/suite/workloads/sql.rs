//! SQL: deposits over HTTP, and views of all accounts by statements that must each be of one moment.

use super::api::Roving;
use super::bank::{deposit, deposit_request, open_wallets, to_and_amount, wallets};
use crate::check::snapshot::{self, Freshness, Put, View};
use crate::harness::HarnessError;
use crate::node::psql;
use crate::op::{Call, Value};
use crate::random::Random;
use crate::suite::cluster::Endpoint;
use crate::suite::workload::{Answer, Client, Request, Workload};
use crate::verdict::Verdict;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

const WALLETS: u64 = 4;

#[derive(Debug)]
pub(super) struct Sql {
    next: AtomicI64,
    statement: OnceLock<String>,
}

impl Default for Sql {
    fn default() -> Sql {
        Sql { next: AtomicI64::new(1), statement: OnceLock::new() }
    }
}

fn driver(number: u64) -> String {
    format!("sql-{number}")
}

/// One row: debits of all accounts, credits of all, credits of the wallets.
fn statement(wallets: impl Iterator<Item = String>) -> String {
    let list: Vec<String> = wallets.map(|id| format!("'{id}'")).collect();
    format!(
        "select coalesce(sum(debits_posted), 0), coalesce(sum(credits_posted), 0), \
         coalesce(sum(case when account_id in ({}) then credits_posted else 0 end), 0) from accounts",
        list.join(", ")
    )
}

/// Asks one node for a view; another one when it did not answer.
struct Viewer {
    endpoints: Vec<Endpoint>,
    at: usize,
    statement: String,
}

impl Client for Viewer {
    fn invoke(&mut self, _request: &Request) -> Answer {
        let Some(endpoint) = self.endpoints.get(self.at % self.endpoints.len().max(1)) else {
            return Answer::Fail("there is no node".to_owned());
        };
        let row = psql(endpoint.addresses.sql, &endpoint.client.key, &self.statement);
        let read = |row: String| {
            let cells: Result<Vec<i64>, _> = row.trim().split('|').map(str::parse).collect();
            let wrong = |_| std::io::Error::other(format!("not three numbers: {row}"));
            cells.map(Value::ints).map_err(wrong)
        };
        match row.and_then(read) {
            Ok(value) => Answer::Ok(value),
            Err(error) => {
                self.at += 1;
                Answer::Fail(error.to_string())
            }
        }
    }
}

impl Workload for Sql {
    fn name(&self) -> &'static str {
        "sql"
    }

    fn setup(&self, endpoints: &[Endpoint]) -> Result<(), HarnessError> {
        open_wallets(endpoints, (0..WALLETS).map(driver))?;
        let Some(endpoint) = endpoints.first() else { return Ok(()) };
        let ids = wallets(&endpoint.client, (0..WALLETS).map(driver))
            .map_err(|error| HarnessError::Scene(error.to_string()))?;
        // SQL shows an account's id without its partition.
        let bare = ids.into_keys().map(|id| id.rsplit('.').next().unwrap_or_default().to_owned());
        let statement = statement(bare);
        self.statement.set(statement).map_err(|_| HarnessError::Scene("set up twice".to_owned()))
    }

    fn generate(&self, lane: usize, random: &mut Random) -> Request {
        if lane % 2 == 1 {
            return Request { f: "view", argument: Value::Nil };
        }
        let amount = self.next.fetch_add(1, Ordering::Relaxed);
        deposit_request(&driver(random.between(0, WALLETS)), amount)
    }

    fn client(&self, endpoints: &[Endpoint], lane: usize) -> Box<dyn Client> {
        if lane % 2 == 1 {
            let statement = self.statement.get().cloned().unwrap_or_default();
            return Box::new(Viewer { endpoints: endpoints.to_vec(), at: lane / 2, statement });
        }
        let statement = self.statement.get().cloned().unwrap_or_default();
        let mut viewer = Viewer { endpoints: endpoints.to_vec(), at: lane / 2, statement };
        Box::new(Roving::new(endpoints, lane / 2, move |client, request| {
            match to_and_amount(&request.argument) {
                Some((name, amount)) => deposit(client, name, amount),
                None => viewer.invoke(request),
            }
        }))
    }

    fn finals(&self) -> Vec<Request> {
        vec![Request { f: "view", argument: Value::Nil }]
    }

    fn check(&self, calls: &[Call]) -> Verdict {
        let (mut puts, mut views) = (Vec::new(), Vec::new());
        for call in calls {
            if let Some((_, amount)) = to_and_amount(&call.argument) {
                if call.may_have_happened() {
                    let (invoked, acknowledged) = (call.invoked, call.returned());
                    puts.push(Put { invoked, acknowledged, amount: i128::from(amount) });
                }
            } else if let Some(row) = call.answer().and_then(Value::as_list) {
                let [debits, credits, sum] = row else {
                    return Verdict::broken(format!("a view that is none: {call:?}"));
                };
                let cell = |value: &Value| value.as_int().map(i128::from);
                let (Some(debits), Some(credits), Some(sum), Some(completed)) =
                    (cell(debits), cell(credits), cell(sum), call.completed)
                else {
                    return Verdict::broken(format!("a view that is none: {call:?}"));
                };
                views.push(View { invoked: call.invoked, completed, debits, credits, sum });
            }
        }
        snapshot::check(&puts, &views, Freshness::Newest)
    }
}
