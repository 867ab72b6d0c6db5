//! An app asks for a charge: hold, session row and remote start in one step, or nothing.
//!
//! Sent again with the same key it gets the first answer; with another payload it is refused.

use crate::command::{Outcome, Refusal, RequestStart, StationCommand};
use crate::rows::{ConnectorStatus, SessionRow, SessionState};
use crate::secure::next_positive;
use crate::sessions::overlap;
use crate::state::{State, StationNumber};
use novax_model::{ConnectorRef, Timestamp};

impl State {
    /// An app asks for a charge.
    pub(crate) fn request_start(&mut self, ask: &RequestStart) -> Outcome {
        if let Some(answer) = self.repeated_request(ask) {
            return answer;
        }
        match self.try_request(ask) {
            Ok(()) => Outcome::Started { session: ask.session, transaction_id: 0, refusal: None },
            Err(refusal) => {
                self.release_unused(&ask.payer, ask.session);
                Outcome::Refused(refusal)
            }
        }
    }

    /// The first answer, when the request has been made before.
    fn repeated_request(&mut self, ask: &RequestStart) -> Option<Outcome> {
        let live = self.sessions.get(&ask.session).map(|session| session.row.payload_hash);
        let memory = self.finished.get(ask.session).copied();
        if self.is_marked(ask.session, &ask.payer) {
            // The payer asked about this try before it was known here and has let its hold go.
            return Some(Outcome::Refused(Refusal::WrongState(SessionState::Refused)));
        }
        let memory = memory.filter(|memory| memory.tombstone.is_none());
        let payload_hash = live.or(memory.map(|memory| memory.payload_hash))?;
        if payload_hash != ask.payload_hash {
            // A hold under this id belongs to the first request: it is not released here.
            return Some(Outcome::Refused(Refusal::KeyReused));
        }
        self.release_surplus(&ask.payer, ask.session);
        Some(Outcome::Started { session: ask.session, transaction_id: 0, refusal: None })
    }

    fn try_request(&mut self, ask: &RequestStart) -> Result<(), Refusal> {
        let station = self.find_station(ask.identity.as_str()).ok_or(Refusal::UnknownStation)?;
        self.check_ready(station, ask.connector)?;
        if self.session_on(station, ask.connector).is_some() {
            return Err(Refusal::ConnectorBusy);
        }
        if !self.session_has_room() {
            return Err(Refusal::Full);
        }
        let (site, deal) = self.deal(station)?;
        if ask.connector.connector > 0 {
            self.touch_connector_or_new(station, ask.connector)?;
        }
        let secured = self.secure(ask.session, &ask.token, &ask.payer, &deal)?;
        let row = self.touch_station(station);
        let remote_start_id = row.next_remote_start_id;
        row.next_remote_start_id = next_positive(remote_start_id);
        let mut session =
            self.session_row(ask.session, station, ask.connector, &ask.token, (site, deal));
        session.payload_hash = ask.payload_hash;
        session.state = SessionState::Starting;
        session.app = true;
        session.remote_start_id = remote_start_id;
        let card = secured.write_to(&mut session);
        if let Some(card) = card.filter(|_| session.held > 0) {
            // The station is asked once the card's provider has said yes.
            session.state = SessionState::Authorising;
            self.open_session(station, session);
            self.authorise_first(ask.session, card, true);
            return Ok(());
        }
        let deadline = self.start_deadline(&session);
        self.open_session(station, session.clone());
        self.queue_remote_start(station, &session, deadline);
        Ok(())
    }

    /// Asks a station to begin.
    pub(crate) fn queue_remote_start(
        &mut self,
        station: StationNumber,
        row: &SessionRow,
        deadline: Timestamp,
    ) {
        let command = StationCommand::RemoteStart {
            session: row.session,
            connector: row.connector,
            token: row.token.clone(),
            remote_start_id: row.remote_start_id,
        };
        self.queue_station(station, command, deadline);
    }

    /// Connected, booted, and the connector not known to be out of order.
    fn check_ready(&self, station: StationNumber, connector: ConnectorRef) -> Result<(), Refusal> {
        let station = self.station(station);
        if !station.row.connected {
            return Err(Refusal::StationOffline);
        }
        if station.row.booted == Timestamp::ZERO || connector.evse == 0 {
            return Err(Refusal::StationNotReady);
        }
        let out_of_order = |status: ConnectorStatus| {
            matches!(status, ConnectorStatus::Faulted | ConnectorStatus::Unavailable)
        };
        let mut known = station
            .connectors
            .values()
            .filter(|row| row.connector.connector > 0 && overlap(row.connector, connector))
            .peekable();
        if known.peek().is_some() && known.all(|row| out_of_order(row.status)) {
            return Err(Refusal::StationNotReady);
        }
        Ok(())
    }
}
