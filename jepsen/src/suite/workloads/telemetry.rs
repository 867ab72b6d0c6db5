//! Telemetry: a station a lane tells values of its meter over its own socket, each under another time.

use super::api::{Roving, gathered, make};
use crate::books::ticks;
use crate::check::append::{self, Tick, Told};
use crate::harness::HarnessError;
use crate::node::tariff;
use crate::op::{Call, End, Value};
use crate::random::Random;
use crate::station::{Reply, Station, Version, now_ms};
use crate::suite::cluster::Endpoint;
use crate::suite::workload::{Answer, Client, Request, Workload};
use crate::verdict::Verdict;
use novax_model::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Telemetry {
    lanes: usize,
    last_ms: Mutex<u64>,
    registers: Vec<AtomicU64>,
}

impl Telemetry {
    pub(super) fn new(lanes: usize) -> Telemetry {
        let registers = (0..lanes).map(|_| AtomicU64::new(1_000)).collect();
        Telemetry { lanes, last_ms: Mutex::new(0), registers }
    }

    /// Now, and never the same time twice.
    fn stamp(&self) -> u64 {
        let mut last = self.last_ms.lock().unwrap_or_else(PoisonError::into_inner);
        *last = now_ms().max(*last + 1);
        *last
    }
}

fn station(lane: usize) -> String {
    format!("METER-{lane:03}")
}

/// A station's socket, opened when it is needed.
struct Socket {
    hubs: Vec<SocketAddr>,
    at: usize,
    station: Option<Station>,
    identity: String,
}

impl Socket {
    fn open(&mut self) -> std::io::Result<&mut Station> {
        if self.station.is_none() {
            self.at += 1;
            let hub = self.hubs[self.at % self.hubs.len()];
            let mut station = Station::connect(hub, &self.identity, Version::V16, None)?;
            let status = station.boot()?;
            if status != "Accepted" {
                return Err(std::io::Error::other(format!("the boot was answered {status}")));
            }
            // What a station says first: before it, nobody knows of its connector.
            station.status("Available")?;
            self.station = Some(station);
        }
        self.station.as_mut().ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }

    fn tell(&mut self, request: &Request) -> Answer {
        let field = |name| request.argument.get(name).and_then(Value::as_int);
        let (Some(at_ms), Some(register)) = (field("at"), field("register")) else {
            return Answer::Fail("a request of another workload".to_owned());
        };
        let socket = match self.open() {
            Ok(socket) => socket,
            // Without a socket nothing was told.
            Err(error) => return Answer::Fail(error.to_string()),
        };
        let at = Timestamp::from_millis(at_ms.cast_unsigned()).to_rfc3339();
        let payload = json!({"connectorId": 1, "meterValue": [{"timestamp": at, "sampledValue": [
            {"value": register.to_string(), "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
        ]}]});
        match socket.call("MeterValues", &payload) {
            Ok(Reply::Result(_)) => Answer::Ok(request.argument.clone()),
            // A hub that cannot finish says so, and may have it all the same.
            Ok(Reply::Error(code)) => Answer::Unknown(code),
            Err(error) => {
                self.station = None;
                Answer::Unknown(error.to_string())
            }
        }
    }
}

impl Client for Socket {
    fn invoke(&mut self, request: &Request) -> Answer {
        self.tell(request)
    }
}

impl Workload for Telemetry {
    fn name(&self) -> &'static str {
        "telemetry"
    }

    fn setup(&self, endpoints: &[Endpoint]) -> Result<(), HarnessError> {
        let Some(endpoint) = endpoints.first() else { return Ok(()) };
        make(endpoint, "/v1/sites", None, &json!({"site": "meters", "tariff": tariff()}))?;
        (0..self.lanes).try_for_each(|lane| {
            make(
                endpoint,
                "/v1/stations",
                None,
                &json!({"station": station(lane), "site": "meters"}),
            )
        })
    }

    fn generate(&self, lane: usize, random: &mut Random) -> Request {
        let more = random.between(1, 50);
        let register = self.registers[lane].fetch_add(more, Ordering::Relaxed) + more;
        let fields = [
            ("station", station(lane).as_str().into()),
            ("at", self.stamp().cast_signed().into()),
            ("register", register.cast_signed().into()),
        ];
        Request { f: "meter", argument: Value::map(fields) }
    }

    fn client(&self, endpoints: &[Endpoint], lane: usize) -> Box<dyn Client> {
        if lane >= self.lanes {
            // The lane that reads in the end.
            return Box::new(Roving::new(endpoints, lane, |client, request| {
                let station = request.argument.as_text().unwrap_or_default();
                gathered(ticks(client, station).map(|ticks| {
                    let pair = |(at, register): (String, i64)| {
                        let at = Timestamp::parse_rfc3339(&at).map_or(0, Timestamp::as_millis);
                        Value::ints([at.cast_signed(), register])
                    };
                    Value::List(ticks.into_iter().map(pair).collect())
                }))
            }));
        }
        let hubs = endpoints.iter().map(|endpoint| endpoint.addresses.ocpp).collect();
        Box::new(Socket { hubs, at: lane, station: None, identity: station(lane) })
    }

    fn finals(&self) -> Vec<Request> {
        let read = |lane| Request { f: "series", argument: station(lane).as_str().into() };
        (0..self.lanes).map(read).collect()
    }

    fn check(&self, calls: &[Call]) -> Verdict {
        let mut told: BTreeMap<String, Vec<(Tick, Told)>> = BTreeMap::new();
        let mut series: BTreeMap<String, Vec<Tick>> = BTreeMap::new();
        for call in calls {
            let judged = match call.f.as_str() {
                "meter" => note_told(call, &mut told),
                "series" => note_series(call, &mut series),
                _ => None,
            };
            if judged.is_none() {
                return Verdict::broken(format!("a call that is not as it should be: {call:?}"));
            }
        }
        if series.len() < self.lanes {
            return Verdict::broken(format!(
                "only {} of {} series were read",
                series.len(),
                self.lanes
            ));
        }
        // A station that never got a word through has no series.
        series.retain(|station, ticks| !ticks.is_empty() || told.contains_key(station));
        append::check(&told, &series)
    }

    fn think(&self) -> Duration {
        Duration::from_millis(10)
    }
}

fn note_told(call: &Call, told: &mut BTreeMap<String, Vec<(Tick, Told)>>) -> Option<()> {
    let at_ms = u64::try_from(call.argument.get("at")?.as_int()?).ok()?;
    let tick = Tick { at_ms, register: call.argument.get("register")?.as_int()? };
    let how = match call.end {
        End::Ok(_) => Told::Ok,
        End::Fail(_) => Told::Refused,
        End::Unknown(_) => Told::Unknown,
    };
    let station = call.argument.get("station")?.as_text()?;
    told.entry(station.to_owned()).or_default().push((tick, how));
    Some(())
}

fn note_series(call: &Call, series: &mut BTreeMap<String, Vec<Tick>>) -> Option<()> {
    let Some(answer) = call.answer() else { return Some(()) };
    let tick = |pair: &Value| {
        let [at, register] = pair.as_list()? else { return None };
        Some(Tick { at_ms: u64::try_from(at.as_int()?).ok()?, register: register.as_int()? })
    };
    let ticks = answer.as_list()?.iter().map(tick).collect::<Option<Vec<Tick>>>()?;
    series.insert(call.argument.as_text()?.to_owned(), ticks);
    Some(())
}
