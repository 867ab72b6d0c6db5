//! Whether the books of a node keep what its stations were promised.
//!
//! Pure: a history and the books in, findings out. The price is worked out here anew, not with the
//! ledger's code, so that a mistake there is not repeated here.
//!
//! What is checked:
//! 1. every acknowledged start is one session, under the acknowledged transaction;
//! 2. a start told twice got one transaction, and no transaction stands for two starts;
//! 3. every session comes from a start that was tried or asked for, and no start has two sessions;
//! 4. every acknowledged stop is settled: energy is the meter's difference, money its price;
//! 5. what the stations left running still runs;
//! 6. acknowledged meter values are in the series;
//! 7. debits equal credits, clearing is empty, drivers paid for their sessions and nothing else, the
//!    shares are what they paid, and nothing is held but for live sessions.

use crate::books::{Books, Session};
use crate::history::{Event, Line};
use std::collections::{BTreeMap, BTreeSet};

/// The price the run's sites charge, as [`crate::node::tariff`] says it.
const MILLIS_PER_KWH: u64 = 39_500;
const SESSION_FEE: u64 = 50;
const TAX_BASIS_POINTS: u64 = 1_900;

/// Energy, fee and tax of a session, in minor units, each rounded half up.
#[must_use]
pub fn price(energy_wh: u64) -> [u64; 3] {
    let energy = (energy_wh * MILLIS_PER_KWH + 500_000) / 1_000_000;
    let tax = ((energy + SESSION_FEE) * TAX_BASIS_POINTS + 5_000) / 10_000;
    [energy, SESSION_FEE, tax]
}

/// Everything that is wrong, a sentence each; none is a pass.
#[must_use]
pub fn check(history: &[Line], books: &Books) -> Vec<String> {
    let promises = Promises::of(history);
    let mut findings = promises.wrong.clone();
    check_starts(&promises, books, &mut findings);
    check_origins(&promises, books, &mut findings);
    check_stops(&promises, books, &mut findings);
    check_running(&promises, books, &mut findings);
    check_ticks(&promises, books, &mut findings);
    check_money(&promises, books, &mut findings);
    findings
}

/// Of which transaction at which station.
type Name = (String, String);

/// The history, by what it promises.
#[derive(Debug, Default)]
struct Promises {
    wrong: Vec<String>,
    drivers: BTreeMap<String, (String, u64)>,
    tried: BTreeMap<(String, String), i64>,
    started: BTreeMap<Name, (String, i64, String)>,
    apps: BTreeMap<String, String>,
    stopped: BTreeMap<Name, i64>,
    running: BTreeSet<Name>,
    metered: Vec<(String, String, i64)>,
}

impl Promises {
    fn of(history: &[Line]) -> Promises {
        let mut promises = Promises::default();
        for line in history {
            promises.add(&line.event);
        }
        promises
    }

    fn add(&mut self, event: &Event) {
        match event.clone() {
            Event::Station { station, driver, paid_in } => {
                self.drivers.insert(station, (driver, paid_in));
            }
            Event::TryStart { station, at, meter_start } => {
                self.tried.insert((station, at), meter_start);
            }
            Event::Started { station, at, meter_start, transaction, status } => {
                self.add_start((station, transaction), (at, meter_start, status));
            }
            Event::AppAccepted { station, key, session } => {
                if let Some(other) = self.apps.insert(session.clone(), station.clone())
                    && other != station
                {
                    self.wrong.push(format!("{station}: {key} got {session}, which is {other}'s"));
                }
            }
            Event::Metered { station, at, register } => self.metered.push((station, at, register)),
            Event::Stopped { station, transaction, meter_stop } => {
                self.stopped.insert((station, transaction), meter_stop);
            }
            Event::LeftRunning { station, transaction } => {
                self.running.insert((station, transaction));
            }
            Event::Wrong { station, text } => self.wrong.push(format!("{station}: {text}")),
            Event::RemoteStart { .. } | Event::Killed { .. } | Event::Ready { .. } => {}
        }
    }

    fn add_start(&mut self, name: Name, facts: (String, i64, String)) {
        let other_name = self
            .started
            .iter()
            .find(|((station, _), (at, ..))| *station == name.0 && *at == facts.0)
            .map(|(other, _)| other.1.clone());
        if let Some(other) = other_name.filter(|other| *other != name.1) {
            let (station, transaction) = &name;
            self.wrong.push(format!(
                "{station}: the start at {} got transactions {other} and {transaction}",
                facts.0
            ));
        }
        if let Some((at, ..)) = self.started.get(&name).filter(|known| known.0 != facts.0) {
            let (station, transaction) = &name;
            self.wrong.push(format!(
                "{station}: transaction {transaction} stands for the starts at {at} and {}",
                facts.0
            ));
        }
        self.started.insert(name, facts);
    }
}

fn named<'a>(books: &'a Books, name: &Name) -> Vec<&'a Session> {
    let is = |session: &&Session| {
        session.station == name.0 && session.transaction.as_deref() == Some(&name.1)
    };
    books.sessions.iter().filter(is).collect()
}

fn check_starts(promises: &Promises, books: &Books, findings: &mut Vec<String>) {
    for (name, (at, _, status)) in &promises.started {
        let (station, transaction) = name;
        match named(books, name).as_slice() {
            [session] if session.started.as_deref() != Some(at) => findings.push(format!(
                "{station}: transaction {transaction} began at {at}; session {} says {:?}",
                session.id, session.started
            )),
            [_] => {}
            [] => findings.push(format!(
                "{station}: the acknowledged start of transaction {transaction} is lost"
            )),
            many => findings
                .push(format!("{station}: transaction {transaction} has {} sessions", many.len())),
        }
        if status != "Accepted" {
            findings.push(format!("{station}: a funded driver was refused: {status}"));
        }
    }
}

fn check_origins(promises: &Promises, books: &Books, findings: &mut Vec<String>) {
    let mut of_start: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for session in &books.sessions {
        if !ids.insert(&session.id) {
            findings.push(format!("session {} is there twice", session.id));
        }
        match &session.started {
            Some(at) => {
                of_start
                    .entry((session.station.clone(), at.clone()))
                    .or_default()
                    .push(&session.id);
            }
            None if !promises.apps.contains_key(&session.id) => {
                findings.push(format!("session {} was neither started nor asked for", session.id));
            }
            None => {}
        }
    }
    for ((station, at), sessions) in of_start {
        if !promises.tried.contains_key(&(station.clone(), at.clone())) {
            findings.push(format!("{station}: nobody started {sessions:?} at {at}"));
        }
        if sessions.len() > 1 {
            findings.push(format!("{station}: the start at {at} has the sessions {sessions:?}"));
        }
    }
    for (session, station) in &promises.apps {
        match books.sessions.iter().find(|row| row.id == *session) {
            None => findings.push(format!("{station}: the app's session {session} is lost")),
            Some(row) if row.station != *station => {
                findings.push(format!("the app's session {session} is not at {station}"));
            }
            Some(_) => {}
        }
    }
}

fn check_stops(promises: &Promises, books: &Books, findings: &mut Vec<String>) {
    for (name, meter_stop) in &promises.stopped {
        let (station, transaction) = name;
        let Some((_, meter_start, _)) = promises.started.get(name) else {
            findings.push(format!("{station}: {transaction} was stopped but never started"));
            continue;
        };
        let [session] = named(books, name)[..] else { continue };
        if session.state != "SETTLED" {
            findings.push(format!(
                "{station}: {transaction} was stopped, its session {} is {}",
                session.id, session.state
            ));
        }
        let energy = meter_stop - meter_start;
        if session.energy_wh != energy {
            findings.push(format!(
                "{station}: {transaction} delivered {energy} Wh, session {} says {}",
                session.id, session.energy_wh
            ));
        }
        let due = u64::try_from(energy).map(price).unwrap_or_default();
        if session.cost != due {
            findings.push(format!(
                "{station}: {transaction} costs {due:?}, session {} says {:?}",
                session.id, session.cost
            ));
        }
        let driver = promises.drivers.get(station).map(|(driver, _)| driver.as_str());
        if session.driver.as_deref() != driver || session.suspect {
            findings.push(format!(
                "{station}: session {} is of {:?} (suspect: {})",
                session.id, session.driver, session.suspect
            ));
        }
    }
}

fn check_running(promises: &Promises, books: &Books, findings: &mut Vec<String>) {
    for name in &promises.running {
        let states: Vec<_> =
            named(books, name).iter().map(|session| session.state.clone()).collect();
        if states != ["CHARGING"] {
            let (station, transaction) = name;
            findings.push(format!("{station}: {transaction} charges on; the node says {states:?}"));
        }
    }
    for session in &books.sessions {
        let name = (session.station.clone(), session.transaction.clone().unwrap_or_default());
        if session.is_live() && !promises.running.contains(&name) {
            findings.push(format!("{}: session {} still lives", session.station, session.id));
        }
    }
}

fn check_ticks(promises: &Promises, books: &Books, findings: &mut Vec<String>) {
    for (station, at, register) in &promises.metered {
        let tick = (at.clone(), *register);
        if !books.ticks.get(station).is_some_and(|ticks| ticks.contains(&tick)) {
            findings.push(format!("{station}: the meter's {register} Wh at {at} is lost"));
        }
    }
}

fn check_money(promises: &Promises, books: &Books, findings: &mut Vec<String>) {
    // Debits, credits, pending debits, pending credits.
    let mut sums: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
    let mut balances: BTreeMap<&str, i128> = BTreeMap::new();
    let mut held = 0;
    for account in &books.accounts {
        let sum = sums.entry(&account.currency).or_default();
        sum[0] += account.debits_posted;
        sum[1] += account.credits_posted;
        sum[2] += account.debits_pending;
        sum[3] += account.credits_pending;
        let balance = i128::from(account.credits_posted) - i128::from(account.debits_posted);
        *balances.entry(kind(&account.name)).or_default() += balance;
        if account.name.starts_with("driver/") {
            *balances.entry(&account.name).or_default() += balance;
            held += account.debits_pending;
        }
    }
    for (currency, [debits, credits, pending_debits, pending_credits]) in sums {
        if debits != credits || pending_debits != pending_credits {
            findings.push(format!(
                "{currency}: debits {debits} + {pending_debits} held, credits {credits} + {pending_credits} held"
            ));
        }
    }
    let live: u64 =
        books.sessions.iter().filter(|session| session.is_live()).map(|session| session.held).sum();
    if held != live {
        findings.push(format!("{held} is held of wallets, {live} for live sessions"));
    }
    let balance = |name: &str| balances.get(name).copied().unwrap_or(0);
    for name in ["clearing", "receivable"] {
        if balance(name) != 0 {
            findings.push(format!("{name} is {} instead of 0", balance(name)));
        }
    }
    let settled = || books.sessions.iter().filter(|session| session.state == "SETTLED");
    let total: u64 = settled().map(Session::total).sum();
    let shared = balance("operator") + balance("platform") + balance("site-host") + balance("tax");
    if shared != i128::from(total) {
        findings.push(format!("{shared} was shared of {total} that drivers paid"));
    }
    for (driver, paid_in) in promises.drivers.values() {
        let of_driver = settled().filter(|session| session.driver.as_ref() == Some(driver));
        let spent: u64 = of_driver.map(Session::total).sum();
        let left = balance(&format!("driver/{driver}"));
        if left != i128::from(*paid_in) - i128::from(spent) {
            findings.push(format!("{driver} paid in {paid_in}, spent {spent} and has {left}"));
        }
    }
}

/// `clearing` of `clearing/p3`.
fn kind(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests;
