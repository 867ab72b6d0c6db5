//! A charger against a small hub, in virtual time. The hub takes every call apart with the codec, so
//! a message that breaks its schema fails whichever test it occurs in.

use super::*;
use crate::fleet::car::Outlet;
use crate::fleet::random::Random;
use novax_model::Duration;
use novax_wire::ocpp::{v16, v201};
use std::collections::VecDeque;

struct Hub {
    charger: Charger,
    now: Timestamp,
    connected: bool,
    accepts: bool,
    answers: bool,
    /// No answer to what starts a transaction.
    ignores_starts: bool,
    /// Calls of the charger as they came: action and payload.
    calls: Vec<(String, String)>,
    /// Answers of the charger to ours.
    replies: Vec<String>,
    apps: Vec<AppCall>,
    acknowledged: Vec<(TransactionMessage, Option<i32>)>,
    closes: u32,
    /// The call that is out.
    open: Option<String>,
    next_number: i32,
}

const METER: Duration = Duration::from_secs(10);

impl Hub {
    fn new(version: Version, app_percent: u8, seed: u64) -> Hub {
        let connector = |number: u32| ConnectorSetup {
            outlet: Outlet::Alternating,
            power_w_max: 22_000,
            driver: format!("driver-{number}"),
            token: format!("TAG-{number}"),
            register_wh: 1_000,
        };
        let profile = Profile { identity: "CP-1".into(), vendor: "v", model: "m", firmware: "1" };
        let plan = Plan {
            meter_interval: METER,
            session: Duration::from_secs(120),
            pause: Duration::from_secs(20),
            app_percent,
        };
        let now = Timestamp::from_millis(1_790_000_000_000);
        let connectors = vec![connector(1), connector(2)];
        let random = Random::new(seed, 0);
        Hub {
            charger: Charger::new(profile, version, connectors, plan, random, now),
            now,
            connected: false,
            accepts: true,
            answers: true,
            ignores_starts: false,
            calls: Vec::new(),
            replies: Vec::new(),
            apps: Vec::new(),
            acknowledged: Vec::new(),
            closes: 0,
            open: None,
            next_number: 100,
        }
    }

    fn connected(version: Version, app_percent: u8, seed: u64) -> Hub {
        let mut hub = Hub::new(version, app_percent, seed);
        hub.connect();
        hub
    }

    fn connect(&mut self) {
        self.connected = true;
        self.give(Event::Opened);
    }

    fn cut(&mut self) {
        self.connected = false;
        self.open = None;
        self.give(Event::Closed);
    }

    fn give(&mut self, event: Event<'_>) {
        let mut texts = VecDeque::new();
        let mut out = Vec::new();
        self.charger.handle(self.now, event, &mut out);
        loop {
            for action in out.drain(..) {
                if let Some(answer) = self.take(action) {
                    texts.push_back(answer);
                }
            }
            let Some(text) = texts.pop_front() else { return };
            self.charger.handle(self.now, Event::Text(&text), &mut out);
        }
    }

    fn take(&mut self, action: Action) -> Option<String> {
        match action {
            Action::Send(bytes) => self.read(String::from_utf8(bytes).unwrap()),
            Action::Close => {
                self.closes += 1;
                None
            }
            Action::App(call) => {
                self.apps.push(call);
                None
            }
            Action::Acknowledged { event, number, .. } => {
                self.acknowledged.push((event, number));
                None
            }
            Action::Note(_) => None,
        }
    }

    fn read(&mut self, text: String) -> Option<String> {
        assert!(self.connected, "nothing is sent without a connection: {text}");
        let (id, action, payload) = match frame::parse_frame(&text).unwrap() {
            Frame::Call { id, action, payload } => {
                (id.to_string(), action.to_string(), payload.to_owned())
            }
            Frame::Result { .. } | Frame::Error { .. } => {
                self.replies.push(text);
                return None;
            }
        };
        assert_eq!(self.open.replace(id.clone()), None, "one call is out at a time");
        self.calls.push((action.clone(), payload.clone()));
        if !self.answers || (self.ignores_starts && is_start(&action, &payload)) {
            return None;
        }
        self.open = None;
        let answer = match self.charger.version() {
            Version::V16 => self.answer_v16(&action, &payload),
            Version::V201 => self.answer_v201(&action, &payload),
        };
        Some(format!("[3,\"{id}\",{answer}]"))
    }

    fn status(&self) -> &'static str {
        if self.accepts { "Accepted" } else { "Blocked" }
    }

    fn booted(&self) -> String {
        let now = self.now.to_rfc3339();
        format!(r#"{{"currentTime":"{now}","interval":300,"status":"Accepted"}}"#)
    }

    fn answer_v16(&mut self, action: &str, payload: &str) -> String {
        let status = self.status();
        match v16::Request::parse(action, payload).unwrap() {
            v16::Request::BootNotification(_) => self.booted(),
            v16::Request::StartTransaction(_) => {
                self.next_number += 1;
                let number = self.next_number;
                format!(r#"{{"idTagInfo":{{"status":"{status}"}},"transactionId":{number}}}"#)
            }
            v16::Request::Authorize(_) => r#"{"idTagInfo":{"status":"Accepted"}}"#.into(),
            _ => "{}".into(),
        }
    }

    fn answer_v201(&mut self, action: &str, payload: &str) -> String {
        let status = self.status();
        match v201::Request::parse(action, payload).unwrap() {
            v201::Request::BootNotification(_) => self.booted(),
            v201::Request::TransactionEvent(event) if event.id_token.is_some() => {
                format!(r#"{{"idTokenInfo":{{"status":"{status}"}}}}"#)
            }
            v201::Request::Authorize(_) => r#"{"idTokenInfo":{"status":"Accepted"}}"#.into(),
            _ => "{}".into(),
        }
    }

    /// Lets time pass until `done`, or at most for so long.
    fn run(&mut self, at_most: Duration, done: impl Fn(&Hub) -> bool) {
        let end = self.now.saturating_add(at_most);
        let mut turns = 0;
        while !done(self) && self.now < end {
            let next = self.charger.wakeup().max(self.now).min(end);
            turns = if next == self.now { turns + 1 } else { 0 };
            assert!(turns < 10, "a charger that has nothing to do does not spin");
            self.now = next;
            self.give(Event::Tick);
        }
    }

    fn run_for(&mut self, duration: Duration) {
        self.run(duration, |_| false);
    }

    fn order(&mut self, action: &str, payload: &str) -> String {
        self.give(Event::Text(&format!("[2,\"hub-1\",\"{action}\",{payload}]")));
        self.replies.pop().expect("each order is answered")
    }

    fn events(&self, kind: TransactionKind) -> usize {
        self.acknowledged.iter().filter(|(event, _)| event.kind == kind).count()
    }

    fn stops(&self) -> usize {
        let is_stop =
            |event: &&(TransactionMessage, _)| matches!(event.0.kind, TransactionKind::Stop(_));
        self.acknowledged.iter().filter(is_stop).count()
    }
}

fn is_start(action: &str, payload: &str) -> bool {
    action == "StartTransaction" || payload.contains(r#""eventType":"Started""#)
}

const BOTH: [Version; 2] = [Version::V16, Version::V201];
const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn nothing_but_a_boot_is_sent_before_a_boot_was_accepted() {
    for version in BOTH {
        let mut hub = Hub::new(version, 0, 1);
        hub.answers = false;
        hub.connect();
        hub.run_for(Duration::from_secs(20));
        assert_eq!(hub.calls.len(), 1, "{:?}", hub.calls);
        assert_eq!(hub.calls[0].0, "BootNotification");
        hub.cut();
        hub.answers = true;
        hub.connect();
        assert_eq!(hub.calls[1].0, "BootNotification");
        assert!(
            hub.calls[2..].iter().filter(|(action, _)| action == "StatusNotification").count() >= 2
        );
    }
}

#[test]
fn sessions_start_charge_and_stop_and_their_energy_is_their_registers_difference() {
    for version in BOTH {
        let mut hub = Hub::connected(version, 0, 2);
        hub.run_for(HOUR);
        assert!(hub.stops() >= 10, "{}", hub.stops());
        for (stop, number) in &hub.acknowledged {
            let same = |other: &TransactionMessage| other.facts.number == stop.facts.number;
            let of_it: Vec<_> =
                hub.acknowledged.iter().map(|(event, _)| event).filter(|e| same(e)).collect();
            assert_eq!(of_it[0].kind, TransactionKind::Start);
            let seq_nos: Vec<i64> = of_it.iter().map(|event| event.seq_no).collect();
            assert_eq!(seq_nos, (0..).take(of_it.len()).collect::<Vec<_>>());
            assert!(of_it.is_sorted_by_key(|event| event.sample.measured.register_wh));
            assert_eq!(number.is_some(), version == Version::V16);
            assert!(!stop.offline);
            if matches!(stop.kind, TransactionKind::Stop(_)) {
                let energy = stop.sample.measured.register_wh - stop.facts.meter_start_wh;
                assert!(energy > 0, "something was charged: {stop:?}");
                let seconds = stop.sample.at.since(stop.facts.started).as_secs();
                assert!(energy.cast_unsigned() <= 22_000 * (seconds + 1) / 3_600 + 1);
            }
        }
    }
}

#[test]
fn what_happens_offline_is_told_later_in_order() {
    for version in BOTH {
        let mut hub = Hub::connected(version, 0, 3);
        hub.run(HOUR, |hub| hub.charger.charging() > 0);
        hub.run_for(METER);
        let told = hub.acknowledged.len();
        hub.cut();
        hub.run_for(HOUR / 6);
        assert_eq!(hub.acknowledged.len(), told, "nobody was there to acknowledge");
        hub.connect();
        hub.run_for(Duration::from_secs(1));
        let later = &hub.acknowledged[told..];
        assert!(later.len() > 60, "{}", later.len());
        assert!(later.is_sorted_by_key(|(event, _)| event.sample.at));
        assert!(later.iter().filter(|(event, _)| event.offline).count() > 60);
        let started = |(event, _): &&(TransactionMessage, Option<i32>)| {
            event.offline && event.kind == TransactionKind::Start
        };
        assert!(later.iter().filter(started).count() >= 2, "drivers came while it was offline");
        if version == Version::V16 {
            assert!(later.iter().all(|(_, number)| number.is_some()));
        }
    }
}

#[test]
fn a_start_without_an_answer_is_said_again_as_it_was() {
    for version in BOTH {
        let mut hub = Hub::connected(version, 0, 4);
        hub.ignores_starts = true;
        hub.run(HOUR, |hub| hub.open.is_some());
        let (action, payload) = hub.calls.last().unwrap().clone();
        hub.run(HOUR, |hub| hub.closes > 0);
        assert_eq!(hub.closes, 1, "a hub that is silent is hung up on");
        hub.cut();
        hub.ignores_starts = false;
        let before = hub.calls.len();
        hub.connect();
        hub.run_for(Duration::from_secs(1));
        let again = hub.calls[before..].iter().find(|(name, _)| *name == action).unwrap();
        assert_eq!(again.1, payload);
    }
}

#[test]
fn an_app_starts_and_stops_through_the_hub() {
    for version in BOTH {
        let mut hub = Hub::connected(version, 100, 5);
        hub.run(HOUR, |hub| !hub.apps.is_empty());
        let AppCall::Start { evse, visit, token } = hub.apps.remove(0) else { panic!("a start") };
        let reply = match version {
            Version::V16 => hub.order(
                "RemoteStartTransaction",
                &format!(r#"{{"connectorId":{evse},"idTag":"{token}"}}"#),
            ),
            Version::V201 => hub.order(
                "RequestStartTransaction",
                &format!(
                    r#"{{"evseId":{evse},"remoteStartId":7,"idToken":{{"idToken":"{token}","type":"Central"}}}}"#
                ),
            ),
        };
        assert!(reply.contains("Accepted"), "{reply}");
        assert_eq!(hub.charger.charging(), 1);
        hub.give(Event::AppStarted { evse, visit, session: Some("s-1".into()) });
        let (start, number) = hub.acknowledged.first().cloned().expect("the start was told");
        assert!(start.facts.remote);
        hub.run(HOUR, |hub| hub.apps.contains(&AppCall::Stop { session: "s-1".into() }));
        let reply = match number {
            Some(number) => {
                hub.order("RemoteStopTransaction", &format!(r#"{{"transactionId":{number}}}"#))
            }
            None => hub.order(
                "RequestStopTransaction",
                &format!(r#"{{"transactionId":"{}"}}"#, start.facts.name),
            ),
        };
        assert!(reply.contains("Accepted"), "{reply}");
        assert_eq!(hub.stops(), 1);
    }
}

#[test]
fn a_driver_whom_the_hub_refuses_charges_nothing() {
    for version in BOTH {
        let mut hub = Hub::connected(version, 0, 6);
        hub.accepts = false;
        hub.run(HOUR, |hub| hub.stops() > 0);
        let (stop, _) = hub.acknowledged.last().expect("it ran");
        assert_eq!(stop.sample.measured.register_wh, stop.facts.meter_start_wh);
        assert!(hub.apps.iter().any(|call| matches!(call, AppCall::TopUp { .. })));
        assert_eq!(hub.events(TransactionKind::Start), 1);
    }
}

fn limit(
    version: Version,
    evse: u16,
    start: &(TransactionMessage, Option<i32>),
    watts: i64,
) -> (&'static str, String) {
    let payload = match version {
        Version::V16 => serde_json::to_string(&v16::SetChargingProfile::transaction_limit(
            evse,
            start.1.unwrap(),
            1,
            novax_model::Watts(watts),
        )),
        Version::V201 => serde_json::to_string(&v201::SetChargingProfile::transaction_limit(
            evse,
            start.0.facts.name.as_str(),
            1,
            novax_model::Watts(watts),
        )),
    };
    ("SetChargingProfile", payload.unwrap())
}

#[test]
fn a_limit_is_kept_and_too_little_is_nothing() {
    for version in BOTH {
        let mut hub = Hub::connected(version, 0, 7);
        hub.run(HOUR, |hub| hub.charger.power_w() > 6_000 && hub.charger.charging() == 1);
        let start = hub.acknowledged.iter().rev();
        let start = start.clone().find(|(event, _)| event.kind == TransactionKind::Start);
        let start = start.expect("it started").clone();
        let evse = start.0.facts.evse;
        let (action, payload) = limit(version, evse, &start, 4_000);
        assert!(hub.order(action, &payload).contains("Accepted"));
        hub.run_for(Duration::from_secs(1));
        assert_eq!(hub.charger.power_w(), 4_000);
        let (action, payload) = limit(version, evse, &start, 1_000);
        assert!(hub.order(action, &payload).contains("Accepted"));
        hub.give(Event::Tick);
        assert_eq!(hub.charger.power_w(), 0);
        let other = if evse == 1 { 2 } else { 1 };
        let (action, payload) = limit(version, other, &start, 4_000);
        assert!(hub.order(action, &payload).contains("Rejected"), "another connector's");
    }
}

#[track_caller]
fn check_order(version: Version, action: &str, payload: &str, expected: &str) {
    let mut hub = Hub::connected(version, 0, 8);
    let reply = hub.order(action, payload);
    assert!(reply.contains(expected), "{action} {payload}: {reply}");
}

#[test]
fn every_order_of_1_6_is_answered() {
    let check = |action, payload, expected| check_order(Version::V16, action, payload, expected);
    check("Reset", r#"{"type":"Soft"}"#, "Accepted");
    check("ChangeAvailability", r#"{"connectorId":0,"type":"Inoperative"}"#, "Accepted");
    check("ChangeAvailability", r#"{"connectorId":9,"type":"Inoperative"}"#, "Rejected");
    check("UnlockConnector", r#"{"connectorId":1}"#, "Unlocked");
    check("UnlockConnector", r#"{"connectorId":9}"#, "NotSupported");
    check("TriggerMessage", r#"{"requestedMessage":"Heartbeat"}"#, "Accepted");
    check("TriggerMessage", r#"{"requestedMessage":"MeterValues","connectorId":1}"#, "Accepted");
    check("TriggerMessage", r#"{"requestedMessage":"Sing"}"#, "NotImplemented");
    check(
        "GetConfiguration",
        r#"{"key":["HeartbeatInterval","Nonsense"]}"#,
        r#""unknownKey":["Nonsense"]"#,
    );
    check("GetConfiguration", "{}", r#""key":"NumberOfConnectors","readonly":true,"value":"2""#);
    check("ChangeConfiguration", r#"{"key":"HeartbeatInterval","value":"60"}"#, "Accepted");
    check("ChangeConfiguration", r#"{"key":"NumberOfConnectors","value":"9"}"#, "Rejected");
    check("ChangeConfiguration", r#"{"key":"Nonsense","value":"9"}"#, "NotSupported");
    check("ClearCache", "{}", "Accepted");
    check("DataTransfer", r#"{"vendorId":"x"}"#, "UnknownVendorId");
    check("RemoteStopTransaction", r#"{"transactionId":5}"#, "Rejected");
    check("RemoteStartTransaction", r#"{"idTag":"A"}"#, "Accepted");
    check("ReserveNow", "{}", "NotSupported");
    check("Sing", "{}", "NotImplemented");
    check("Reset", "{}", "OccurenceConstraintViolation");
}

#[test]
fn every_order_of_2_0_1_is_answered() {
    let check = |action, payload, expected| check_order(Version::V201, action, payload, expected);
    check("Reset", r#"{"type":"OnIdle"}"#, "Accepted");
    check("ChangeAvailability", r#"{"operationalStatus":"Inoperative"}"#, "Accepted");
    check("UnlockConnector", r#"{"evseId":1,"connectorId":1}"#, "Unlocked");
    check("UnlockConnector", r#"{"evseId":9,"connectorId":1}"#, "UnknownConnector");
    check("TriggerMessage", r#"{"requestedMessage":"StatusNotification"}"#, "Accepted");
    check(
        "GetVariables",
        r#"{"getVariableData":[{"component":{"name":"OCPPCommCtrlr"},"variable":{"name":"HeartbeatInterval"}}]}"#,
        r#""attributeValue":"300""#,
    );
    check(
        "GetVariables",
        r#"{"getVariableData":[{"component":{"name":"Nonsense"},"variable":{"name":"x"}}]}"#,
        "UnknownComponent",
    );
    check(
        "SetVariables",
        r#"{"setVariableData":[{"attributeValue":"60","component":{"name":"OCPPCommCtrlr"},
            "variable":{"name":"HeartbeatInterval"}}]}"#,
        "Accepted",
    );
    check("GetBaseReport", r#"{"requestId":4,"reportBase":"FullInventory"}"#, "Accepted");
    check("ClearCache", "{}", "Accepted");
    check("DataTransfer", r#"{"vendorId":"x"}"#, "UnknownVendorId");
    check("RequestStopTransaction", r#"{"transactionId":"5"}"#, "Rejected");
    check("ReserveNow", "{}", "NotSupported");
}

#[test]
fn a_report_comes_in_parts_and_the_last_says_so() {
    let mut hub = Hub::connected(Version::V201, 0, 9);
    let reply = hub.order("GetBaseReport", r#"{"requestId":4,"reportBase":"FullInventory"}"#);
    assert!(reply.contains("Accepted"));
    hub.run_for(Duration::from_secs(1));
    let parts: Vec<_> = hub.calls.iter().filter(|(action, _)| action == "NotifyReport").collect();
    assert_eq!(parts.len(), 2);
    assert!(parts[0].1.contains(r#""tbc":true"#) && parts[1].1.contains(r#""tbc":false"#));
    assert!(parts.iter().all(|(_, payload)| payload.contains(r#""requestId":4"#)));
}

#[test]
fn a_reset_ends_sessions_and_boots_again() {
    for version in BOTH {
        let mut hub = Hub::connected(version, 0, 10);
        hub.run(HOUR, |hub| hub.charger.charging() > 0);
        let at_once = if version == Version::V16 { "Hard" } else { "Immediate" };
        hub.order("Reset", &format!(r#"{{"type":"{at_once}"}}"#));
        hub.run(Duration::from_secs(60), |hub| hub.closes > 0);
        assert_eq!((hub.closes, hub.charger.charging(), hub.stops()), (1, 0, 1));
        hub.cut();
        let before = hub.calls.len();
        hub.connect();
        assert_eq!(hub.calls[before].0, "BootNotification");
    }
}

#[test]
fn a_fleet_that_leaves_ends_its_sessions_and_says_so() {
    for version in BOTH {
        let mut hub = Hub::connected(version, 0, 11);
        hub.run(HOUR, |hub| hub.charger.charging() > 0);
        assert!(!hub.charger.is_done());
        hub.give(Event::Leave);
        hub.run(Duration::from_secs(5), |hub| hub.charger.is_done());
        assert!(hub.charger.is_done());
        assert_eq!((hub.stops(), hub.charger.charging()), (1, 0));
    }
}
