//! The bank: deposits into a few wallets, the balance in each answer, and views of all accounts.
//!
//! Each amount is used once in a run: it is the name by which a deposit is found in the journal.

use super::api::{Roving, asked, gathered, make, minor, written};
use crate::books::pages;
use crate::check::bank::{self, Rules, View};
use crate::check::serial::{self, Booked, Ended, Line, Money, NaiveLedger};
use crate::harness::HarnessError;
use crate::http::Client as HttpClient;
use crate::op::{Call, End, Value};
use crate::random::Random;
use crate::suite::cluster::Endpoint;
use crate::suite::workload::{Answer, Client, Request, Workload};
use crate::verdict::Verdict;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};

const WALLETS: u64 = 8;

#[derive(Debug)]
pub(super) struct Bank {
    next: AtomicI64,
}

impl Default for Bank {
    fn default() -> Bank {
        Bank { next: AtomicI64::new(1) }
    }
}

fn driver(number: u64) -> String {
    format!("bank-{number}")
}

/// Makes the wallets of a workload.
pub(super) fn open_wallets(
    endpoints: &[Endpoint],
    names: impl IntoIterator<Item = String>,
) -> Result<(), HarnessError> {
    let Some(endpoint) = endpoints.first() else { return Ok(()) };
    names.into_iter().try_for_each(|name| {
        let body = json!({"driver": name, "tokens": [format!("TOKEN-{name}")], "currency": "EUR"});
        make(endpoint, "/v1/drivers", None, &body)
    })
}

/// The ids of wallets by their drivers' names.
pub(super) fn wallets(
    client: &HttpClient,
    names: impl IntoIterator<Item = String>,
) -> std::io::Result<BTreeMap<String, String>> {
    let wallet = |name: String| {
        let answer = client.get(&format!("/v1/drivers/{name}"))?;
        let id = answer.json["wallet"].as_str().map(str::to_owned);
        Ok((id.ok_or_else(|| std::io::Error::other(format!("{name}: {}", answer.text)))?, name))
    };
    names.into_iter().map(wallet).collect()
}

/// A deposit of an amount that no other deposit of the run has, which is also its key.
pub(super) fn deposit(client: &HttpClient, name: &str, amount: i64) -> Answer {
    let body = json!({"amount": {"minor": amount.to_string(), "currency": "EUR"}}).to_string();
    let (path, key) = (format!("/v1/drivers/{name}/deposits"), format!("deposit-{amount}"));
    written(client.ask("POST", &path, Some(&key), &body), |json| {
        let available = minor(&json["available"])?;
        let fields =
            [("to", name.into()), ("amount", amount.into()), ("available", available.into())];
        Some(Value::map(fields))
    })
}

pub(super) fn deposit_request(name: &str, amount: i64) -> Request {
    let argument = Value::map([("to", name.into()), ("amount", amount.into())]);
    Request { f: "deposit", argument }
}

pub(super) fn to_and_amount(argument: &Value) -> Option<(&str, i64)> {
    Some((argument.get("to")?.as_text()?, argument.get("amount")?.as_int()?))
}

/// Balances of all accounts in one answer: wallets by their driver's name, all others under `other/`.
fn view(client: &HttpClient) -> Answer {
    let names = match wallets(client, (0..WALLETS).map(driver)) {
        Ok(names) => names,
        Err(error) => return Answer::Fail(error.to_string()),
    };
    asked(client.ask("GET", "/v1/accounts?limit=1000", None, ""), |json| {
        // More than a page would be of more than one moment.
        json["next_page"].is_null().then_some(())?;
        let account = |row: &Json| {
            let id = row["id"].as_str()?;
            let balance = minor(&row["credits_posted"])? - minor(&row["debits_posted"])?;
            let name = names.get(id).cloned().unwrap_or_else(|| format!("other/{id}"));
            Some((name, Value::Int(balance)))
        };
        let accounts: Option<BTreeMap<_, _>> =
            json["items"].as_array()?.iter().map(account).collect();
        accounts.map(Value::Map)
    })
}

/// The journal's lines that pay into wallets: `[partition, number, driver, amount]`, in order.
fn journal(client: &HttpClient) -> std::io::Result<Value> {
    let names = wallets(client, (0..WALLETS).map(driver))?;
    let mut lines = BTreeSet::new();
    for row in pages(client, "/v1/transfers")? {
        let text = |field: &str| row[field].as_str().unwrap_or_default();
        let Some(name) = names.get(text("credit")) else { continue };
        let odd = || std::io::Error::other(format!("a line that is not as documented: {row}"));
        let (partition, number) = text("id").split_once('.').ok_or_else(odd)?;
        let parse = |text: &str| text.parse::<i64>().map_err(|_| odd());
        let amount = minor(&row["amount"]).ok_or_else(odd)?;
        lines.insert((parse(partition)?, parse(number)?, name.clone(), amount));
    }
    let line = |(partition, number, name, amount): (i64, i64, String, i64)| {
        Value::List(vec![partition.into(), number.into(), Value::Text(name), amount.into()])
    };
    Ok(Value::List(lines.into_iter().map(line).collect()))
}

impl Workload for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn setup(&self, endpoints: &[Endpoint]) -> Result<(), HarnessError> {
        open_wallets(endpoints, (0..WALLETS).map(driver))
    }

    fn generate(&self, _lane: usize, random: &mut Random) -> Request {
        if random.one_in(5) {
            return Request { f: "view", argument: Value::Nil };
        }
        let amount = self.next.fetch_add(1, Ordering::Relaxed);
        deposit_request(&driver(random.between(0, WALLETS)), amount)
    }

    fn client(&self, endpoints: &[Endpoint], lane: usize) -> Box<dyn Client> {
        Box::new(Roving::new(endpoints, lane, |client, request| {
            match (request.f, to_and_amount(&request.argument)) {
                ("deposit", Some((name, amount))) => deposit(client, name, amount),
                ("journal", _) => gathered(journal(client)),
                _ => view(client),
            }
        }))
    }

    fn finals(&self) -> Vec<Request> {
        let ask = |f| Request { f, argument: Value::Nil };
        vec![ask("view"), ask("journal")]
    }

    fn check(&self, calls: &[Call]) -> Verdict {
        let Some(journal) =
            calls.iter().rev().filter(|call| call.f == "journal").find_map(Call::answer)
        else {
            return Verdict::broken("the journal was never read");
        };
        let Some(partitions) = by_partition(calls, journal) else {
            return Verdict::broken("a call or a line of the journal is not as it should be");
        };
        let serial = partitions
            .values()
            .map(|(requests, journal)| serial::check(NaiveLedger::default(), requests, journal));
        serial.fold(check_views(calls), Verdict::and)
    }
}

/// Requests and journal of a partition.
type Part = (Vec<serial::Request<Money, Booked>>, Vec<Line<Money>>);

/// Parts a history by partition. Whoever has no line in the journal has a part of its own: nothing of it may have
/// been acknowledged.
fn by_partition(calls: &[Call], journal: &Value) -> Option<BTreeMap<String, Part>> {
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    let mut homes: BTreeMap<&str, String> = BTreeMap::new();
    let into = |to: &str, amount: i64| Money::Transfer {
        from: "outside".to_owned(),
        to: to.to_owned(),
        amount: i128::from(amount),
    };
    for line in journal.as_list()? {
        let [partition, number, name, amount] = line.as_list()? else { return None };
        let (name, amount) = (name.as_text()?, amount.as_int()?);
        let home = homes.entry(name).or_insert(format!("partition {}", partition.as_int()?));
        let place = u64::try_from(number.as_int()?).ok()?;
        let line = Line { place, key: amount.to_string(), command: into(name, amount) };
        parts.entry(home.clone()).or_default().1.push(line);
    }
    for call in calls.iter().filter(|call| call.f == "deposit") {
        let (name, amount) = to_and_amount(&call.argument)?;
        let ended = match &call.end {
            End::Ok(answer) => Ended::Replied {
                at: call.completed?,
                place: None,
                reply: Booked::Available(i128::from(answer.get("available")?.as_int()?)),
            },
            End::Fail(_) => Ended::Refused,
            End::Unknown(_) => Ended::Unknown,
        };
        let (key, command) = (amount.to_string(), into(name, amount));
        let request = serial::Request { key, command, invoked: call.invoked, ended };
        let home = homes.get(name).cloned().unwrap_or_else(|| name.to_owned());
        parts.entry(home).or_default().0.push(request);
    }
    Some(parts)
}

fn check_views(calls: &[Call]) -> Verdict {
    let view = |call: &Call| {
        let Value::Map(accounts) = call.answer()? else { return None };
        let balance =
            |(name, sum): (&String, &Value)| Some((name.clone(), i128::from(sum.as_int()?)));
        let balances = accounts.iter().map(balance).collect::<Option<_>>()?;
        Some(View { line: call.completed?, balances })
    };
    let views: Vec<View> = calls.iter().filter(|call| call.f == "view").filter_map(view).collect();
    bank::check(&views, &Rules { total: 0, may_owe: vec!["other/".to_owned()] })
}
