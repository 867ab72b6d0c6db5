//! What stations and their sockets say: connected, booted, connector status.
//!
//! **Invariant:** only the newest socket of a station counts (window 22). Epochs grow with every
//! connection; an older one changes nothing.

use crate::command::{Outcome, Refusal};
use crate::rows::{ConnectorStatus, Protocol, StationState};
use crate::state::{State, StationNumber};
use novax_model::{ConnectorRef, NodeId, Timestamp};

/// What a BootNotification says.
pub(crate) struct Boot {
    pub(crate) vendor: Box<str>,
    pub(crate) model: Box<str>,
    pub(crate) firmware: Box<str>,
    pub(crate) serial: Box<str>,
}

impl State {
    fn known(&self, identity: &str) -> Result<StationNumber, Refusal> {
        self.find_station(identity).ok_or(Refusal::UnknownStation)
    }

    fn set_connected(&mut self, station: StationNumber, connected: bool) {
        let now = self.now();
        self.sockets.insert(station);
        let row = self.touch_station(station);
        if row.connected != connected {
            row.connected = connected;
            row.connection_changed = now;
            if connected {
                self.counters.stations_connected += 1;
            } else {
                self.counters.stations_connected -= 1;
            }
        }
    }

    /// A node started again or is gone, and its sockets with it.
    pub(crate) fn sockets_closed(&mut self, node: NodeId, before: u64) {
        for index in 0..self.stations.len() {
            let station = StationNumber::try_from(index).expect("stations are numbered in 32 bits");
            let row = &self.station(station).row;
            if row.connected && row.node == node && row.epoch < before {
                self.set_connected(station, false);
            }
        }
    }

    /// A socket is open.
    pub(crate) fn station_connected(
        &mut self,
        identity: &str,
        epoch: u64,
        protocol: Protocol,
        node: NodeId,
    ) -> Result<Outcome, Refusal> {
        let station = self.known(identity)?;
        let row = &self.station(station).row;
        let repeat = row.connected
            && row.epoch == epoch
            && row.protocol == Some(protocol)
            && row.node == node;
        if repeat {
            return Ok(Outcome::Done);
        }
        if epoch <= row.epoch {
            return Err(Refusal::KeyReused);
        }
        let now = self.now();
        let row = self.touch_station(station);
        row.epoch = epoch;
        row.node = node;
        row.protocol = Some(protocol);
        row.connection_changed = now;
        self.set_connected(station, true);
        Ok(Outcome::Done)
    }

    /// A socket closed.
    pub(crate) fn station_disconnected(
        &mut self,
        identity: &str,
        epoch: u64,
    ) -> Result<Outcome, Refusal> {
        let station = self.known(identity)?;
        let row = &self.station(station).row;
        if row.connected && row.epoch == epoch {
            self.set_connected(station, false);
        }
        Ok(Outcome::Done)
    }

    /// BootNotification.
    pub(crate) fn station_booted(
        &mut self,
        identity: &str,
        boot: Boot,
    ) -> Result<Outcome, Refusal> {
        let station = self.known(identity)?;
        let now = self.now();
        let row = self.touch_station(station);
        row.vendor = boot.vendor;
        row.model = boot.model;
        row.firmware = boot.firmware;
        row.serial = boot.serial;
        row.booted = now;
        Ok(Outcome::Booted { state: StationState::Accepted })
    }

    /// StatusNotification. A connector that turns Available does not end its session: the stop may
    /// still come; it is waited for for a shorter time.
    pub(crate) fn connector_status(
        &mut self,
        identity: &str,
        connector: ConnectorRef,
        (status, error): (ConnectorStatus, Box<str>),
        at: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let station = self.known(identity)?;
        let row = self.touch_connector_or_new(station, connector)?;
        row.status = status;
        row.error = error;
        row.status_at = at;
        // Energy flows or ceases to by the station's word; other states say nothing of it.
        let flows = match status {
            ConnectorStatus::Charging => Some(true),
            ConnectorStatus::SuspendedEv
            | ConnectorStatus::SuspendedEvse
            | ConnectorStatus::Finishing => Some(false),
            _ => None,
        };
        let session = row.session;
        if let (Some(session), Some(flows)) = (session, flows)
            && self.sessions.get(&session).is_some_and(|found| found.row.transaction.is_some())
        {
            self.hear_flow(session, at, flows);
        }
        if let Some(session) = session {
            self.note_free(session, status == ConnectorStatus::Available);
        }
        Ok(Outcome::Done)
    }
}
