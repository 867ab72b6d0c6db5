//! Stops: asked for by somebody, or told by a station.
//!
//! What a station says about energy is never turned away: what fits no session is parked as an
//! exception for a person, and a repeated stop gets the first answer and books nothing.

use crate::command::{EndTransaction, Outcome, Refusal, TransactionRef};
use crate::finished::CANCELLED;
use crate::price::Heard;
use crate::rows::SessionState;
use crate::state::{State, StationNumber};
use novax_model::{Identity, SessionId, Timestamp, WattHours};

impl State {
    /// Somebody with the right asks for the end of a session.
    pub(crate) fn request_stop(&mut self, id: SessionId) -> Outcome {
        let Some(session) = self.sessions.get(&id) else {
            return Outcome::Refused(match self.finished.get(id) {
                Some(memory) => Refusal::WrongState(memory.state),
                None => Refusal::UnknownSession,
            });
        };
        let station = session.station;
        match (session.row.state, session.row.transaction.clone()) {
            (SessionState::Starting | SessionState::StartAccepted, _) => {
                // The station may start all the same: that late start is refused, see `start`.
                self.abandon(id, SessionState::Rejected, CANCELLED);
            }
            (SessionState::Charging | SessionState::Stopping, Some(transaction)) => {
                if let Some(row) = self.touch_session(id) {
                    row.state = SessionState::Stopping;
                }
                self.queue_remote_stop(station, id, transaction);
            }
            (state, _) => return Outcome::Refused(Refusal::WrongState(state)),
        }
        Outcome::Stopping { session: id }
    }

    /// A station says that a transaction ended.
    pub(crate) fn end_transaction(&mut self, end: &EndTransaction) -> Outcome {
        let Some(station) = self.find_station(end.identity.as_str()) else {
            return self.park(end, "a station nobody provisioned ended it");
        };
        let open = self.station(station).transactions.get(&end.transaction).copied();
        if let Some(id) = open.or_else(|| self.only_running(station, end)) {
            return self.end_open(id, end);
        }
        self.end_past(station, end)
            .unwrap_or_else(|| self.park(end, "no session has this transaction"))
    }

    /// Window 8: the answer to its start was lost, so a 1.6 station makes up a number that no
    /// transaction has. If only one runs there, it is that one.
    fn only_running(&mut self, station: StationNumber, end: &EndTransaction) -> Option<SessionId> {
        if !matches!(end.transaction, TransactionRef::V16(id) if id <= 0) {
            return None;
        }
        let live = self.station(station).live.iter().filter_map(|id| self.sessions.get(id));
        let mut running = live
            .filter(|session| matches!(session.row.transaction, Some(TransactionRef::V16(_))))
            .map(|session| session.row.session);
        let (only, None) = (running.next()?, running.next()) else { return None };
        let text = format!(
            "session {only}: ended by a stop for transaction {}, the only one running",
            text_of(&end.transaction)
        );
        self.except(&end.identity, &text);
        Some(only)
    }

    fn end_open(&mut self, id: SessionId, end: &EndTransaction) -> Outcome {
        let state = self.sessions.get(&id).map(|session| session.row.state);
        if state != Some(SessionState::Settling) {
            if let Some(register) = end.meter_stop {
                let (at, charging) = (end.at, false);
                let heard = Heard { at, register, power_w: None, current_ma: None, charging };
                self.hear_meter(id, heard);
            }
            self.bill(id, end.at.max(Timestamp(1)), &end.reason);
        }
        let (total, currency) = match self.sessions.get(&id) {
            Some(session) => (session.row.charges.total(), session.row.deal.currency),
            None => {
                let row = self.closing_row(id).expect("bill has just finished it");
                (row.charges.total(), row.deal.currency)
            }
        };
        Outcome::Ended { session: id, total, currency }
    }

    /// The first answer to a stop that comes again, or the end of a refused transaction.
    fn end_past(&mut self, station: StationNumber, end: &EndTransaction) -> Option<Outcome> {
        let pasts = self.station_mut(station).past.values_mut().rev();
        let past =
            pasts.into_iter().find(|past| past.transaction.as_ref() == Some(&end.transaction))?;
        let (session, total, currency) = (past.session, past.total, past.currency);
        let (meter_start, meter_last) = (past.meter_start, past.meter_last);
        let estimated = past.estimated;
        if let Some(mut row) = past.unsecured.take() {
            row.ended = end.at.max(Timestamp(1));
            row.meter_last = end.meter_stop.unwrap_or(meter_start).max(meter_start);
            let energy = row.energy();
            self.write_closing(*row);
            self.unqueue_session(station, session);
            if energy > WattHours(0) {
                let text =
                    format!("session {session}: {energy} delivered without a hold, not billed");
                self.except(&end.identity, &text);
            }
        } else if estimated && end.meter_stop.is_some_and(|register| register > meter_last) {
            let text = format!(
                "session {session}: was billed up to {meter_last}, its stop says {}",
                end.meter_stop.unwrap_or(meter_last)
            );
            self.except(&end.identity, &text);
        }
        Some(Outcome::Ended { session, total, currency })
    }

    fn park(&mut self, end: &EndTransaction, why: &str) -> Outcome {
        let register = match end.meter_stop {
            Some(register) => format!("at {register}"),
            None => "without a register".to_owned(),
        };
        let identity: &Identity = &end.identity;
        let text = format!("stop of transaction {} {register}: {why}", text_of(&end.transaction));
        self.except(identity, &text);
        Outcome::Parked
    }
}

fn text_of(transaction: &TransactionRef) -> String {
    match transaction {
        TransactionRef::V16(id) => id.to_string(),
        TransactionRef::V201(id) => id.to_string(),
    }
}
