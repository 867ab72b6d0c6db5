//! Stops: asked for by somebody, or told by a station.
//!
//! What a station says about energy is never turned away: what fits no session is parked and shown to
//! a person, a repeated stop gets the first answer and books nothing, and the true stop of a session
//! that was billed by estimate adjusts the bill.

use crate::command::{EndTransaction, Outcome, Refusal};
use crate::finished::{CANCELLED, Past};
use crate::meter::{take_register, take_signed};
use crate::price::Flow;
use crate::rows::{SessionRow, SessionState};
use crate::state::{State, StationNumber};
use novax_model::{SessionId, Timestamp};

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
            (
                SessionState::Authorising | SessionState::Starting | SessionState::StartAccepted,
                _,
            ) => {
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
            return self.park(None, end, "a station nobody provisioned ended it");
        };
        if let Some(open) = self.station(station).transactions.get(&end.transaction) {
            return self.end_open(open.session, end);
        }
        if let Some(answer) = self.end_past(station, end) {
            return answer;
        }
        self.end_made_up(station, end)
            .unwrap_or_else(|| self.park(Some(station), end, "no session has this transaction"))
    }

    pub(crate) fn end_open(&mut self, id: SessionId, end: &EndTransaction) -> Outcome {
        let row = &self.sessions.get(&id).expect("the caller found it").row;
        let of_earlier = row.segments.split_last().is_some_and(|(_, earlier)| {
            earlier.iter().any(|segment| segment.transaction == end.transaction)
        });
        if row.state == SessionState::Settling {
            self.end_settling(id, end);
        } else if of_earlier {
            // It went on under another transaction: this end is not its own.
            if let Some(register) = end.meter_stop.filter(|register| *register > row.meter_last) {
                self.hear_meter(id, register, Flow::ends(end.at));
            }
        } else {
            let mut row = row.clone();
            self.take_stop(&mut row, end);
            let found = self.touch_session(id).expect("found above");
            *found = *row;
            self.bill(id, end.at.max(Timestamp(1)), &end.reason);
        }
        let row = match self.sessions.get(&id) {
            Some(session) => &*session.row,
            None => self.closing_row(id).expect("bill has just finished it"),
        };
        let (total, currency) = (row.charges.total(), row.deal.currency);
        Outcome::Ended { session: id, total, currency }
    }

    /// The true stop of an estimate whose payer has not answered yet. The payer is told of the
    /// difference once it has.
    fn end_settling(&mut self, id: SessionId, end: &EndTransaction) {
        let mut row = self.sessions.get(&id).expect("the caller found it").row.clone();
        if row.estimated {
            self.adjust(&mut row, end);
            let found = self.touch_session(id).expect("found above");
            *found = *row;
        }
    }

    /// What a stop says of energy, into a session's row.
    pub(crate) fn take_stop(&mut self, row: &mut SessionRow, end: &EndTransaction) {
        let energy_max = self.config.session_energy_max;
        let no_start = row.meter_start.is_none();
        if let Some(register) = end.meter_stop {
            if let Some(doubt) = take_register(row, register, energy_max) {
                self.doubt(row, doubt, register);
            } else if no_start {
                self.doubt(row, "nobody knows where the meter stood at its start", register);
            }
        }
        let Some(signed) = &end.signed else { return };
        self.keep_signed(row, signed);
        if let Some(energy) = signed.energy
            && let Some(doubt) = take_signed(row, energy, energy_max)
        {
            self.doubt(row, doubt, energy.stop);
        }
    }

    /// The first answer to a stop that comes again, or the end of one that was awaited.
    fn end_past(&mut self, station: StationNumber, end: &EndTransaction) -> Option<Outcome> {
        let mut pasts = self.station(station).past.iter().rev();
        let (key, _) = pasts.find(|(_, past)| past.is_named(&end.transaction))?;
        let key = *key;
        Some(self.end_finished(station, key, end))
    }

    /// A stop of a session that is no longer in the table.
    pub(crate) fn end_finished(
        &mut self,
        station: StationNumber,
        key: (Timestamp, SessionId),
        end: &EndTransaction,
    ) -> Outcome {
        if let Some(row) = self.station_mut(station).past.take_awaited(&key) {
            let mut row = *row;
            self.note_late_change();
            if row.estimated {
                let (before, was) = (row.adjusted, row.charges.total());
                self.adjust(&mut row, end);
                if row.adjusted > before {
                    self.queue_adjustment(&row, was);
                }
            } else {
                row.ended = end.at.max(Timestamp(1));
                self.take_stop(&mut row, end);
                self.bill_orphan(&mut row);
            }
            self.unqueue_session(station, row.session);
            self.station_mut(station).past.insert(key, Past::of(&row));
            self.write_closing(row);
        }
        let past = self.station(station).past.get(&key).expect("found above");
        let (session, total, currency) = (past.session, past.total, past.currency);
        Outcome::Ended { session, total, currency }
    }
}
