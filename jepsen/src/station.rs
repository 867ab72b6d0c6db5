//! A charging station: calls the hub, and does what the hub asks, well or badly.

use crate::socket::{Handshake, Said, Socket};
use novax_model::Timestamp;
use novax_wire::http::percent_encode;
use novax_wire::ocpp::frame::{self, Frame};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A call unanswered for so long counts as lost with its connection.
pub const CALL_PATIENCE: Duration = Duration::from_secs(15);

/// The version a station speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// OCPP 1.6J.
    V16,
    /// OCPP 2.0.1.
    V201,
}

impl Version {
    /// The subprotocol's name.
    #[must_use]
    pub fn subprotocol(self) -> &'static str {
        match self {
            Version::V16 => "ocpp1.6",
            Version::V201 => "ocpp2.0.1",
        }
    }
}

/// How a station answers the hub's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Accepts everything.
    Polite,
    /// Never answers.
    Silent,
    /// Answers each call twice.
    Twice,
    /// Answers under an id nobody asked with, and then rightly.
    WrongId,
    /// Says no.
    Refusing,
}

/// A call of the hub.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Its action.
    pub action: String,
    /// Its payload.
    pub payload: Value,
}

/// What the hub answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// CALLRESULT.
    Result(Value),
    /// CALLERROR, its code.
    Error(String),
}

impl Reply {
    /// The payload of a CALLRESULT.
    ///
    /// # Panics
    /// When it is a CALLERROR: for tests.
    #[track_caller]
    pub fn ok(self) -> Value {
        match self {
            Reply::Result(payload) => payload,
            Reply::Error(code) => panic!("the hub answered with {code}"),
        }
    }
}

/// A station with an open socket.
#[derive(Debug)]
pub struct Station {
    /// Its socket, for what a station should not do.
    pub socket: Socket,
    version: Version,
    calls: u64,
    /// How it answers.
    pub manners: Manners,
    /// What the hub ordered, oldest first.
    pub orders: VecDeque<Order>,
}

impl Station {
    /// Connects.
    ///
    /// # Errors
    /// When the hub is not there, or says no.
    pub fn connect(
        hub: SocketAddr,
        identity: &str,
        version: Version,
        password: Option<&str>,
    ) -> io::Result<Station> {
        let path = format!("/ocpp/{}", percent_encode(identity));
        let basic = password.map(|password| (identity, password));
        match Socket::open(hub, &path, &[version.subprotocol()], basic)? {
            Handshake::Open(socket) => {
                let (manners, orders) = (Manners::Polite, VecDeque::new());
                Ok(Station { socket, version, calls: 0, manners, orders })
            }
            Handshake::Refused(status) => {
                Err(io::Error::other(format!("the handshake was refused with {status}")))
            }
        }
    }

    /// Connects and boots.
    ///
    /// # Panics
    /// When the hub refuses: for tests.
    #[track_caller]
    #[must_use]
    pub fn booted(hub: SocketAddr, identity: &str, version: Version) -> Station {
        let mut station =
            Station::connect(hub, identity, version, None).expect("the hub takes the station");
        let status = station.boot().expect("the hub answers a boot");
        assert_eq!(status, "Accepted");
        station
    }

    /// BootNotification: the status in its answer.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn boot(&mut self) -> io::Result<String> {
        let payload = match self.version {
            Version::V16 => json!({"chargePointVendor": "Jepsen", "chargePointModel": "Crash"}),
            Version::V201 => json!({
                "reason": "PowerUp",
                "chargingStation": {"vendorName": "Jepsen", "model": "Crash"},
            }),
        };
        match self.call("BootNotification", &payload)? {
            Reply::Result(answer) => Ok(answer["status"].as_str().unwrap_or("none").to_owned()),
            Reply::Error(code) => Err(io::Error::other(code)),
        }
    }

    /// Calls the hub and waits for its answer; obeys meanwhile.
    ///
    /// # Errors
    /// When the connection broke before, or nothing came.
    pub fn call(&mut self, action: &str, payload: &Value) -> io::Result<Reply> {
        self.calls += 1;
        let id = format!("s{}", self.calls);
        self.socket.send(&json!([2, id, action, payload]).to_string())?;
        let limit = Instant::now() + CALL_PATIENCE;
        loop {
            match self.listen(limit)? {
                Some((answered, reply)) if answered == id => return Ok(reply),
                Some(_) => {}
                None => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    /// Obeys for a while.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn obey_for(&mut self, time: Duration) -> io::Result<()> {
        let limit = Instant::now() + time;
        while self.listen(limit)?.is_some() {}
        Ok(())
    }

    /// Obeys until an order of this action came, and takes it; `None` when none came in time.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn order(&mut self, action: &str, patience: Duration) -> io::Result<Option<Order>> {
        let limit = Instant::now() + patience;
        loop {
            if let Some(at) = self.orders.iter().position(|order| order.action == action) {
                return Ok(self.orders.remove(at));
            }
            // A message at a time: the order may be the next one.
            if !self.listen_once(limit)? {
                return Ok(None);
            }
        }
    }

    fn listen_once(&mut self, limit: Instant) -> io::Result<bool> {
        let left = limit.saturating_duration_since(Instant::now());
        match self.socket.receive(left)? {
            None => Ok(false),
            Some(Said::Text(text)) => self.read(&text).map(|_| true),
            Some(Said::Close { .. } | Said::End) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// The next answer of the hub to a call of ours; `None` when the time is up.
    fn listen(&mut self, limit: Instant) -> io::Result<Option<(String, Reply)>> {
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            match self.socket.receive(left)? {
                None => return Ok(None),
                Some(Said::Text(text)) => {
                    if let Some(answer) = self.read(&text)? {
                        return Ok(Some(answer));
                    }
                }
                Some(Said::Close { .. } | Said::End) => {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
        }
    }

    fn read(&mut self, text: &str) -> io::Result<Option<(String, Reply)>> {
        match frame::parse_frame(text).map_err(io::Error::other)? {
            Frame::Result { id, payload } => {
                Ok(Some((id.into_owned(), Reply::Result(serde_json::from_str(payload)?))))
            }
            Frame::Error { id, code, .. } => {
                Ok(Some((id.into_owned(), Reply::Error(code.into_owned()))))
            }
            Frame::Call { id, action, payload } => {
                let payload = serde_json::from_str(payload)?;
                self.orders.push_back(Order { action: action.into_owned(), payload });
                self.answer(&id).map(|()| None)
            }
        }
    }

    fn answer(&mut self, id: &str) -> io::Result<()> {
        let yes = |id: &str| json!([3, id, {"status": "Accepted"}]).to_string();
        match self.manners {
            Manners::Silent => Ok(()),
            Manners::Polite => self.socket.send(&yes(id)),
            Manners::Twice => {
                self.socket.send(&yes(id))?;
                self.socket.send(&yes(id))
            }
            Manners::WrongId => {
                self.socket.send(&yes("nobody-asked"))?;
                self.socket.send(&yes(id))
            }
            Manners::Refusing => {
                self.socket.send(&json!([3, id, {"status": "Rejected"}]).to_string())
            }
        }
    }

    /// Available, Charging and so on, of connector 1.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn status(&mut self, status: &str) -> io::Result<Reply> {
        let payload = match self.version {
            Version::V16 => json!({"connectorId": 1, "errorCode": "NoError", "status": status}),
            Version::V201 => json!({
                "timestamp": stamp(), "connectorStatus": status, "evseId": 1, "connectorId": 1,
            }),
        };
        self.call("StatusNotification", &payload)
    }

    /// A card starts a charge on connector 1: 1.6 StartTransaction. The number and the status.
    ///
    /// # Panics
    /// When the answer is none: for tests.
    #[track_caller]
    pub fn start(&mut self, token: &str, meter_start: i64) -> (i64, String) {
        let payload = json!({
            "connectorId": 1, "idTag": token, "meterStart": meter_start, "timestamp": stamp(),
        });
        let answer = self.call("StartTransaction", &payload).expect("the hub answers").ok();
        let status = answer["idTagInfo"]["status"].as_str().expect("a status");
        (answer["transactionId"].as_i64().expect("a number"), status.to_owned())
    }

    /// 1.6 StopTransaction.
    ///
    /// # Panics
    /// When the answer is none: for tests.
    #[track_caller]
    pub fn stop(&mut self, transaction: i64, meter_stop: i64) {
        let payload = json!({
            "transactionId": transaction, "meterStop": meter_stop, "timestamp": stamp(),
            "reason": "Local",
        });
        let answer = self.call("StopTransaction", &payload).expect("the hub answers").ok();
        assert_eq!(answer["idTagInfo"]["status"], "Accepted");
    }

    /// 1.6 MeterValues: the register and the power of connector 1.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn meter(&mut self, at: &str, transaction: i64, register: i64) -> io::Result<Reply> {
        let payload = json!({
            "connectorId": 1, "transactionId": transaction,
            "meterValue": [{"timestamp": at, "sampledValue": [
                {"value": register.to_string(), "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
                {"value": "11000", "measurand": "Power.Active.Import", "unit": "W"},
            ]}],
        });
        self.call("MeterValues", &payload)
    }
}

/// Now, by a station's clock.
#[must_use]
pub fn stamp() -> String {
    Timestamp::from_millis(now_ms()).to_rfc3339()
}

/// Milliseconds since 1970.
///
/// # Panics
/// When the machine's clock is before that.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a clock before the year 500 million")
}
