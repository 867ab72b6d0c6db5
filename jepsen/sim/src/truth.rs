//! What really happened, as stations, drivers and apps know it: whatever the hub says is held against this.
//!
//! A *try* is noted before its message leaves, an *acknowledgement* when its answer has come. What was tried and
//! not acknowledged may have happened or not; what was acknowledged has.

use novax_model::{Amount, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// How a driver stands with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// A wallet that pays for everything.
    Rich,
    /// A wallet that is soon empty.
    Poor,
    /// A card, by way of the provider.
    Card,
    /// Not allowed to charge.
    Blocked,
}

/// A driver.
#[derive(Debug, Clone)]
pub struct Driver {
    /// Their name.
    pub name: String,
    /// Their token.
    pub token: String,
    /// How they pay.
    pub means: Means,
    /// What was paid into the wallet and acknowledged.
    pub paid_in: Amount,
}

/// What is known of one transaction of a station.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// At which station.
    pub station: String,
    /// At which EVSE.
    pub evse: u16,
    /// Who charges, by number.
    pub driver: usize,
    /// When it began, by the station's clock, as it says it.
    pub at: String,
    /// The register at its start.
    pub meter_start: i64,
    /// The register at its end, once it is over.
    pub meter_stop: Option<i64>,
    /// When it ended, by the station's clock, as it says it.
    pub ended: String,
    /// The hub's word for the start: the transaction's name, and whether it was accepted.
    pub started: Option<(String, bool)>,
    /// The hub has taken the stop.
    pub stopped: bool,
    /// 2.x: the station names it.
    pub name: Option<String>,
    /// Which remote start it answers, by 2.x.
    pub remote_start_id: Option<i64>,
}

/// A start that an app asked for and that was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppStart {
    /// At which station.
    pub station: String,
    /// At which EVSE.
    pub evse: u16,
    /// The app's key.
    pub key: String,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Truth {
    /// Drivers, by number.
    pub drivers: Vec<Driver>,
    /// Transactions, in the order in which they began.
    pub transactions: Vec<Transaction>,
    /// Starts that were promised to apps, by session.
    pub apps: BTreeMap<SessionId, AppStart>,
    /// The session of each key that was used.
    pub keys: BTreeMap<String, SessionId>,
    /// Where an app has asked for an end: a start with the same card soon after is refused, by design.
    pub cancelled: BTreeSet<(String, u16)>,
    /// Meter values that the hub has taken: when they were measured, by station and EVSE.
    pub metered: BTreeMap<(String, u16), BTreeSet<String>>,
    /// Keys of deposits that were acknowledged.
    pub deposits: BTreeSet<String>,
    /// What should never be; each is a finding.
    pub wrong: Vec<String>,
    /// Names of transactions that were given, by station.
    pub names: BTreeSet<(String, String)>,
}

impl Truth {
    /// The hub answered a start.
    pub fn started(&mut self, number: usize, name: String, status: &str) {
        let accepted = status == "Accepted";
        let transaction = &mut self.transactions[number];
        let station = transaction.station.clone();
        match &transaction.started {
            Some((before, _)) if *before != name => {
                let at = &transaction.at;
                self.wrong.push(format!("{station}: the start at {at} got {before} and {name}"));
            }
            Some((_, before)) if *before && !accepted => {
                self.wrong.push(format!("{station}: {name} was accepted, and then refused"));
            }
            None if !self.names.insert((station.clone(), name.clone())) => {
                self.wrong.push(format!("{station}: {name} stands for two starts"));
            }
            Some(_) | None => {}
        }
        let rich = self.drivers[transaction.driver].means == Means::Rich;
        let cancelled = self.cancelled.contains(&(station.clone(), transaction.evse));
        if rich && !accepted && !cancelled {
            self.wrong.push(format!(
                "{station}: {name}, begun {}: a driver with means was refused: {status}",
                transaction.at
            ));
        }
        transaction.started = Some((name, accepted));
    }

    /// The hub has taken a meter value of a transaction.
    pub fn metered(&mut self, number: usize, at: &str) {
        let of = &self.transactions[number];
        self.metered.entry((of.station.clone(), of.evse)).or_default().insert(at.to_owned());
    }

    /// The hub has booked a deposit: once, however often it says so.
    pub fn paid_in(&mut self, driver: usize, key: &str, amount: Amount) {
        if self.deposits.insert(key.to_owned()) {
            self.drivers[driver].paid_in += amount;
        }
    }

    /// The hub promised a session to an app.
    pub fn promised(&mut self, session: SessionId, start: &AppStart) {
        if let Some(before) = self.keys.insert(start.key.clone(), session)
            && before != session
        {
            self.wrong.push(format!("the key {} got {before} and {session}", start.key));
        }
        if let Some(before) = self.apps.insert(session, start.clone())
            && before != *start
        {
            self.wrong.push(format!("session {session} was promised for {before:?} and {start:?}"));
        }
    }

    /// Starts and stops that the hub has acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> (usize, usize) {
        let starts = self.transactions.iter().filter(|of| of.started.is_some()).count();
        (starts, self.transactions.iter().filter(|of| of.stopped).count())
    }
}
