//! The journal: what the hub acknowledged, one JSON object a line, for a checker to hold the hub to.
//!
//! A line is written after the acknowledgement was read, so everything in the file was promised. A
//! promise that is not in the file (the fleet was killed in between) proves nothing either way.

use super::charger::{TransactionKind, TransactionMessage};
use novax_wire::ocpp::Version;
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A file of lines.
#[derive(Debug)]
pub(super) struct Journal(Mutex<BufWriter<File>>);

/// One line.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// `start`, `meter` or `stop`.
    event: &'static str,
    station: &'a str,
    /// `ocpp1.6` or `ocpp2.0.1`.
    protocol: &'static str,
    /// EVSE; in 1.6 the connector.
    evse: u16,
    /// 1.6: the number the hub gave; 2.0.1: the station's id. As `transaction` of a session.
    transaction: &'a str,
    token: &'a str,
    /// Only in `start`: the hub said that it may charge.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<bool>,
    /// Asked for by an app.
    remote: bool,
    /// Happened while the connection was down.
    offline: bool,
    seq_no: i64,
    /// The station's time of the event.
    at: String,
    started: String,
    meter_start_wh: i64,
    /// The register at the event.
    meter_wh: i64,
    /// Only in `stop`: the whole energy.
    #[serde(skip_serializing_if = "Option::is_none")]
    energy_wh: Option<i64>,
    power_w: i64,
}

impl Journal {
    /// Opens a file to append to.
    pub(super) fn open(path: &Path) -> std::io::Result<Journal> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Journal(Mutex::new(BufWriter::new(file))))
    }

    /// Notes an acknowledged event.
    pub(super) fn note(
        &self,
        station: &str,
        version: Version,
        event: &TransactionMessage,
        number: Option<i32>,
        accepted: bool,
    ) -> std::io::Result<()> {
        let mut line = line(station, version, event, number, accepted);
        line.push('\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
    }

    /// Hands what was noted to the system.
    pub(super) fn flush(&self) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

fn line(
    station: &str,
    version: Version,
    event: &TransactionMessage,
    number: Option<i32>,
    accepted: bool,
) -> String {
    let (facts, measured) = (&event.facts, &event.sample.measured);
    let number = number.map(|number| number.to_string());
    let transaction = match version {
        Version::V16 => number.as_deref().unwrap_or_default(),
        Version::V201 => &facts.name,
    };
    let (name, stops) = match event.kind {
        TransactionKind::Start => ("start", false),
        TransactionKind::Meter(_) => ("meter", false),
        TransactionKind::Stop(_) => ("stop", true),
    };
    let line = Line {
        event: name,
        station,
        protocol: version.subprotocol(),
        evse: facts.evse,
        transaction,
        token: &facts.token,
        accepted: (event.kind == TransactionKind::Start).then_some(accepted),
        remote: facts.remote,
        offline: event.offline,
        seq_no: event.seq_no,
        at: event.sample.at.to_rfc3339(),
        started: facts.started.to_rfc3339(),
        meter_start_wh: facts.meter_start_wh,
        meter_wh: measured.register_wh,
        energy_wh: stops.then_some(measured.register_wh - facts.meter_start_wh),
        power_w: measured.power_w,
    };
    serde_json::to_string(&line).expect("a line is plain data")
}
