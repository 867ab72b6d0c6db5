//! What a node says there is: sessions, accounts, meter series, as the API shows them.

use crate::http::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// Where.
    pub station: String,
    /// Who.
    pub driver: Option<String>,
    /// The transaction's name.
    pub transaction: Option<String>,
    /// When the transaction began.
    pub started: Option<String>,
    /// Energy.
    pub energy_wh: i64,
    /// Energy, fee and tax, in minor units.
    pub cost: [u64; 3],
    /// What is held.
    pub held: u64,
    /// Doubtful.
    pub suspect: bool,
}

impl Session {
    /// Whether it holds money that is its own.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(
            self.state.as_str(),
            "AUTHORISING" | "STARTING" | "START_ACCEPTED" | "CHARGING" | "STOPPING"
        )
    }

    /// What the driver pays.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.cost.iter().sum()
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its partition and id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// ISO 4217.
    pub currency: String,
    /// Booked debits.
    pub debits_posted: u64,
    /// Booked credits.
    pub credits_posted: u64,
    /// Held debits.
    pub debits_pending: u64,
    /// Held credits.
    pub credits_pending: u64,
}

/// Everything a checker looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// All sessions.
    pub sessions: Vec<Session>,
    /// All accounts.
    pub accounts: Vec<Account>,
    /// Of each station: time and register of each tick of its connector.
    pub ticks: BTreeMap<String, BTreeSet<(String, i64)>>,
}

impl Books {
    /// Reads them all.
    ///
    /// # Errors
    /// When the node does not answer, or not as documented.
    pub fn read(client: &Client, stations: &[String]) -> io::Result<Books> {
        let sessions = pages(client, "/v1/sessions")?.iter().map(session).collect();
        let accounts = pages(client, "/v1/accounts")?.iter().map(account).collect();
        let mut ticks = BTreeMap::new();
        for station in stations {
            ticks.insert(station.clone(), series(client, station)?);
        }
        let (sessions, accounts): (Option<_>, Option<_>) = (sessions, accounts);
        let odd = || io::Error::other("a row that is not as documented");
        Ok(Books {
            sessions: sessions.ok_or_else(odd)?,
            accounts: accounts.ok_or_else(odd)?,
            ticks,
        })
    }
}

fn answer(client: &Client, path: &str) -> io::Result<Value> {
    let answer = client.get(path)?;
    if answer.status == 200 {
        Ok(answer.json)
    } else {
        Err(io::Error::other(format!("GET {path}: {} {}", answer.status, answer.text)))
    }
}

/// A list is never longer than this many pages of a thousand.
const PAGES_MAX: usize = 1_000;

/// All items of a paged list.
///
/// # Errors
/// When the node does not answer, or without end.
pub fn pages(client: &Client, path: &str) -> io::Result<Vec<Value>> {
    let (mut items, mut token) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let next = token.map(|token| format!("&page_token={token}")).unwrap_or_default();
        let mut page = answer(client, &format!("{path}?limit=1000{next}"))?;
        let list = page["items"].as_array_mut().ok_or_else(|| io::Error::other("no items"))?;
        items.append(list);
        token = page["next_page"].as_str().map(str::to_owned);
        if token.is_none() {
            return Ok(items);
        }
    }
    Err(io::Error::other(format!("{path} has no last page")))
}

fn series(client: &Client, station: &str) -> io::Result<BTreeSet<(String, i64)>> {
    Ok(ticks(client, station)?.into_iter().collect())
}

/// Time and register of each tick of a station's connector, as the node lists them.
///
/// # Errors
/// When the node does not answer, or without end.
pub fn ticks(client: &Client, station: &str) -> io::Result<Vec<(String, i64)>> {
    let mut found = Vec::new();
    let mut from = "2020-01-01T00:00:00Z".to_owned();
    for _ in 0..PAGES_MAX {
        let path = format!("/v1/connectors/{station}/1/1/series?from={from}");
        let got = client.get(&path)?;
        if got.status == 404 {
            return Ok(found);
        }
        let page = if got.status == 200 {
            got.json
        } else {
            return Err(io::Error::other(format!("GET {path}: {} {}", got.status, got.text)));
        };
        let points = page["points"].as_array().ok_or_else(|| io::Error::other("no points"))?;
        found.extend(points.iter().filter_map(|point| {
            // What was not believed is kept as it was said.
            let said = point["raw"]["energy_wh"].as_i64().or(point["energy_wh"].as_i64());
            Some((point["at"].as_str()?.to_owned(), said?))
        }));
        match page["next_from"].as_str() {
            Some(next) => from = next.to_owned(),
            None => return Ok(found),
        }
    }
    Err(io::Error::other("a series has no end"))
}

fn minor(money: &Value) -> Option<u64> {
    money["minor"].as_str()?.parse().ok()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn session(row: &Value) -> Option<Session> {
    let cost = &row["cost"];
    Some(Session {
        id: text(&row["id"])?,
        state: text(&row["state"])?,
        station: text(&row["station"])?,
        driver: text(&row["driver"]),
        transaction: text(&row["transaction"]),
        started: text(&row["started"]),
        energy_wh: row["energy_wh"].as_i64()?,
        cost: [minor(&cost["energy"])?, minor(&cost["fee"])?, minor(&cost["tax"])?],
        held: minor(&row["held"])?,
        suspect: row["suspect"].as_bool()?,
    })
}

fn account(row: &Value) -> Option<Account> {
    Some(Account {
        id: text(&row["id"])?,
        name: text(&row["name"])?,
        currency: text(&row["debits_posted"]["currency"])?,
        debits_posted: minor(&row["debits_posted"])?,
        credits_posted: minor(&row["credits_posted"])?,
        debits_pending: minor(&row["debits_pending"])?,
        credits_pending: minor(&row["credits_pending"])?,
    })
}
