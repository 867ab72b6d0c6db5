//! A station that charges through crashes of the hub.
//!
//! What it once began to tell, it tells again, word for word, until it is answered: over a new
//! connection if the old one broke. What it is doing outlives its connections; only the answer
//! moves it on.

use crate::history::{Event, Journal};
use crate::http::Client;
use crate::random::Random;
use crate::station::{Order, Reply, Station, Version, now_ms};
use novax_model::Timestamp;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What all chargers of a run share.
#[derive(Debug)]
pub struct Shared {
    /// Where the hub takes stations, and its API for the drivers' app: at each of its nodes.
    pub hubs: Vec<(SocketAddr, Client)>,
    /// What happens is written here.
    pub journal: Journal,
    /// Begin nothing new.
    pub ending: AtomicBool,
}

/// A charger and its driver.
#[derive(Debug)]
pub struct Charger {
    shared: Arc<Shared>,
    station: String,
    token: String,
    version: Version,
    random: Random,
    /// Whether its last transaction is to outlive the run.
    leaves_running: bool,
    register: i64,
    last_stamp_ms: u64,
    transactions: u32,
    doing: Doing,
    /// Which hub it talks to; another after each connection that broke.
    hub: usize,
}

/// What a charger is about.
#[derive(Debug, Clone)]
enum Doing {
    /// The connector is free.
    Nothing,
    /// The driver's app asks for a start.
    Asking { key: String },
    /// The hub said yes to the app: it will tell us.
    Expecting { session: String, since: Instant },
    /// A start is told.
    Starting(Start),
    /// It charges.
    Charging { transaction: String, rounds: u64 },
    /// A stop is told.
    Stopping { transaction: String, at: String },
    /// The run ends, the transaction goes on.
    Leaving,
}

#[derive(Debug, Clone)]
struct Start {
    at: String,
    remote_start_id: Option<i64>,
    /// 2.0.1: the station names the transaction.
    name: String,
}

/// A start that an app asked for must be told to the station within this, crashes and all.
const REMOTE_START_PATIENCE: Duration = Duration::from_secs(60);
/// A hub that is away so long does not come back.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(60);

impl Charger {
    /// A charger at a station of the hub, for the driver with this token.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        station: &str,
        token: &str,
        version: Version,
        random: Random,
        leaves_running: bool,
    ) -> Charger {
        Charger {
            shared,
            station: station.to_owned(),
            token: token.to_owned(),
            version,
            random,
            leaves_running,
            register: 1_000,
            last_stamp_ms: 0,
            transactions: 0,
            doing: Doing::Nothing,
            hub: 0,
        }
    }

    /// Charges until the run ends.
    ///
    /// # Errors
    /// When the hub stays away.
    pub fn run(mut self) -> io::Result<()> {
        let mut away_since = Instant::now();
        loop {
            let talked = Station::connect(self.hub().0, &self.station, self.version, None)
                .and_then(|mut station| {
                    let talked = self.talk(&mut station);
                    // However long it talked: it was not away.
                    away_since = Instant::now();
                    talked
                });
            match talked {
                Ok(()) => return Ok(()),
                Err(error) if away_since.elapsed() > RECONNECT_PATIENCE => return Err(error),
                // A station waits a little before it tries again.
                Err(_) => {
                    self.hub += 1;
                    std::thread::sleep(Duration::from_millis(self.random.between(20, 120)));
                }
            }
        }
    }

    fn hub(&self) -> &(SocketAddr, Client) {
        let hubs = &self.shared.hubs;
        &hubs[self.hub % hubs.len()]
    }

    fn talk(&mut self, station: &mut Station) -> io::Result<()> {
        if station.boot()? != "Accepted" {
            return Err(io::Error::other("not accepted"));
        }
        loop {
            let next = match self.doing.clone() {
                Doing::Nothing if self.shared.ending.load(Ordering::Relaxed) => return Ok(()),
                Doing::Nothing => self.begin(),
                Doing::Asking { key } => self.ask(station, key)?,
                Doing::Expecting { session, since } => self.expect(station, session, since)?,
                Doing::Starting(start) => self.start(station, start)?,
                Doing::Charging { transaction, rounds } => {
                    self.charge(station, transaction, rounds)?
                }
                Doing::Stopping { transaction, at } => self.stop(station, &transaction, &at)?,
                Doing::Leaving => return Ok(()),
            };
            self.doing = next;
        }
    }

    fn begin(&mut self) -> Doing {
        self.transactions += 1;
        if self.random.one_in(3) {
            let key = format!("{}-{}", self.station, self.transactions);
            return Doing::Asking { key };
        }
        self.starting(None)
    }

    fn starting(&mut self, remote_start_id: Option<i64>) -> Doing {
        let at = self.stamp();
        let name = format!("{}-t{}", self.station, self.transactions);
        let (station, meter_start) = (self.station.clone(), self.register);
        self.note(Event::TryStart { station, at: at.clone(), meter_start });
        Doing::Starting(Start { at, remote_start_id, name })
    }

    fn ask(&mut self, station: &mut Station, key: String) -> io::Result<Doing> {
        let body = json!({"station": self.station, "evse": 1, "connector": 1, "token": self.token});
        let answer = self.hub().1.post("/v1/sessions", Some(&key), &body)?;
        match answer.status {
            202 => {
                let session = answer.json["id"].as_str().unwrap_or_default().to_owned();
                let (station, session_id) = (self.station.clone(), session.clone());
                self.note(Event::AppAccepted { station, key, session: session_id });
                Ok(Doing::Expecting { session, since: Instant::now() })
            }
            // Not connected yet for all to see, or still settling: a person would try again.
            409 | 503 => {
                station.obey_for(Duration::from_millis(100))?;
                Ok(Doing::Asking { key })
            }
            status => {
                self.wrong(format!("the app's start was answered {status}: {}", answer.text));
                Ok(Doing::Nothing)
            }
        }
    }

    fn expect(
        &mut self,
        station: &mut Station,
        session: String,
        since: Instant,
    ) -> io::Result<Doing> {
        let action = match self.version {
            Version::V16 => "RemoteStartTransaction",
            Version::V201 => "RequestStartTransaction",
        };
        let Some(order) = station.order(action, Duration::from_secs(1))? else {
            if since.elapsed() > REMOTE_START_PATIENCE {
                self.wrong(format!("session {session} was promised and never told to us"));
                return Ok(Doing::Nothing);
            }
            return Ok(Doing::Expecting { session, since });
        };
        let (token, remote_start_id) = read_remote_start(&order);
        if token != Some(&self.token) {
            self.wrong(format!("told to start for {token:?}"));
        }
        let doing = self.starting(remote_start_id);
        if let Doing::Starting(Start { at, .. }) = &doing {
            let (station, at) = (self.station.clone(), at.clone());
            self.note(Event::RemoteStart { station, session, at });
        }
        Ok(doing)
    }

    fn start(&mut self, station: &mut Station, start: Start) -> io::Result<Doing> {
        let meter_start = self.register;
        let (action, payload) = match self.version {
            Version::V16 => (
                "StartTransaction",
                json!({"connectorId": 1, "idTag": self.token, "meterStart": meter_start,
                    "timestamp": start.at}),
            ),
            Version::V201 => {
                let mut info = json!({"transactionId": start.name, "chargingState": "Charging"});
                if let Some(id) = start.remote_start_id {
                    info["remoteStartId"] = id.into();
                }
                let mut event = self.event("Started", &start.at, &info, meter_start);
                event["idToken"] = json!({"idToken": self.token, "type": "ISO14443"});
                event["evse"] = json!({"id": 1, "connectorId": 1});
                ("TransactionEvent", event)
            }
        };
        let Reply::Result(answer) = station.call(action, &payload)? else {
            // The hub is overloaded and said so: the start is not lost, and told again.
            station.obey_for(Duration::from_millis(100))?;
            return Ok(Doing::Starting(start));
        };
        let (transaction, status) = match self.version {
            Version::V16 => (answer["transactionId"].to_string(), &answer["idTagInfo"]["status"]),
            Version::V201 => (start.name.clone(), &answer["idTokenInfo"]["status"]),
        };
        self.note(Event::Started {
            station: self.station.clone(),
            at: start.at.clone(),
            meter_start,
            transaction: transaction.clone(),
            status: status.as_str().unwrap_or("none").to_owned(),
        });
        if self.random.one_in(4) {
            // As if the answer had been lost on the way: told once more, the same.
            return Ok(Doing::Starting(start));
        }
        let rounds = self.random.between(1, 8);
        Ok(Doing::Charging { transaction, rounds })
    }

    fn charge(
        &mut self,
        station: &mut Station,
        transaction: String,
        rounds: u64,
    ) -> io::Result<Doing> {
        let ending = self.shared.ending.load(Ordering::Relaxed);
        if ending && self.leaves_running {
            let station = self.station.clone();
            self.note(Event::LeftRunning { station, transaction });
            return Ok(Doing::Leaving);
        }
        if rounds == 0 {
            self.register += i64::try_from(self.random.between(1, 500)).unwrap_or(1);
            return Ok(Doing::Stopping { transaction, at: self.stamp() });
        }
        station.obey_for(Duration::from_millis(self.random.between(20, 300)))?;
        // It charges whether or not the hub hears of it.
        self.register += i64::try_from(self.random.between(10, 3_000)).unwrap_or(1);
        let (at, register) = (self.stamp(), self.register);
        let reply = match self.version {
            Version::V16 => station.meter(&at, transaction.parse().unwrap_or(0), register)?,
            Version::V201 => {
                let info = json!({"transactionId": transaction, "chargingState": "Charging"});
                station.call("TransactionEvent", &self.event("Updated", &at, &info, register))?
            }
        };
        if matches!(reply, Reply::Result(_)) {
            self.note(Event::Metered { station: self.station.clone(), at, register });
        }
        Ok(Doing::Charging { transaction, rounds: rounds - 1 })
    }

    fn stop(&mut self, station: &mut Station, transaction: &str, at: &str) -> io::Result<Doing> {
        let meter_stop = self.register;
        let (action, payload) = match self.version {
            Version::V16 => (
                "StopTransaction",
                json!({"transactionId": transaction.parse::<i64>().unwrap_or(0),
                    "meterStop": meter_stop, "timestamp": at, "reason": "Local"}),
            ),
            Version::V201 => {
                let info = json!({"transactionId": transaction, "stoppedReason": "Local"});
                ("TransactionEvent", self.event("Ended", at, &info, meter_stop))
            }
        };
        let again = Doing::Stopping { transaction: transaction.to_owned(), at: at.to_owned() };
        let Reply::Result(_) = station.call(action, &payload)? else {
            station.obey_for(Duration::from_millis(100))?;
            return Ok(again);
        };
        self.note(Event::Stopped {
            station: self.station.clone(),
            transaction: transaction.to_owned(),
            meter_stop,
        });
        if self.random.one_in(4) {
            return Ok(again);
        }
        Ok(Doing::Nothing)
    }

    fn event(&self, kind: &str, at: &str, info: &Value, register: i64) -> Value {
        json!({
            "eventType": kind, "timestamp": at, "triggerReason": "Trigger", "seqNo": 0,
            "transactionInfo": info,
            "meterValue": [{"timestamp": at, "sampledValue": [
                {"value": register, "measurand": "Energy.Active.Import.Register",
                    "unitOfMeasure": {"unit": "Wh"}},
            ]}],
        })
    }

    /// By this station's clock, which never shows the same time twice.
    fn stamp(&mut self) -> String {
        self.last_stamp_ms = now_ms().max(self.last_stamp_ms + 1);
        Timestamp::from_millis(self.last_stamp_ms).to_rfc3339()
    }

    fn note(&self, event: Event) {
        self.shared.journal.note(event);
    }

    fn wrong(&self, text: String) {
        self.note(Event::Wrong { station: self.station.clone(), text });
    }
}

fn read_remote_start(order: &Order) -> (Option<&String>, Option<i64>) {
    let token = match &order.payload["idTag"] {
        Value::String(tag) => Some(tag),
        _ => match &order.payload["idToken"]["idToken"] {
            Value::String(token) => Some(token),
            _ => None,
        },
    };
    (token, order.payload["remoteStartId"].as_i64())
}
