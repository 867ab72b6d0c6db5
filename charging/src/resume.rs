//! A station that lost power in the middle of a charge and goes on with it under a new transaction
//! (window 14): one session, one hold, one bill.
//!
//! **Invariants**: a session goes on only soon after its station booted, on its connector, for its
//! card, with a register that did not go back; all its transactions lead to it until it is over; only
//! the end of the newest ends it.

use crate::command::{Outcome, StartTransaction, TransactionRef};
use crate::finished::transaction_id;
use crate::price::Flow;
use crate::rows::{Segment, SessionRow, SessionState};
use crate::state::{OpenTransaction, State, StationNumber};
use novax_model::{SessionId, Timestamp};

impl State {
    /// The running session that this transaction goes on with.
    pub(crate) fn resumed_session(
        &self,
        station: StationNumber,
        start: &StartTransaction,
    ) -> Option<SessionId> {
        let here = self.station(station);
        let booted = here.row.booted;
        let until = booted.saturating_add(self.config.continue_after_boot);
        if booted == Timestamp::ZERO || self.now() > until {
            return None;
        }
        let goes_on = |row: &SessionRow| {
            let same_version = matches!(
                (&row.transaction, &start.transaction),
                (Some(TransactionRef::V201(_)), Some(TransactionRef::V201(_)))
                    | (Some(TransactionRef::V16(_)), None | Some(TransactionRef::V16(_)))
            );
            same_version
                && row.connector == start.connector
                && row.token == start.token
                && booted > row.requested
                && start.at >= row.started
                && start.meter_start.is_none_or(|register| register >= row.meter_last)
                && row.segments.len() < self.config.segments_max
        };
        let mut running = self.sessions_on(station, start.connector);
        running.find(|row| goes_on(row)).map(|row| row.session)
    }

    /// Goes on with a session under a new transaction.
    pub(crate) fn resume(
        &mut self,
        station: StationNumber,
        id: SessionId,
        transaction: TransactionRef,
        start: &StartTransaction,
    ) -> Outcome {
        self.unqueue_session(station, id);
        if let Some(register) = start.meter_start {
            self.hear_meter(id, register, Flow::begins(start.at));
        }
        let open = OpenTransaction { session: id, connector: start.connector };
        self.station_mut(station).transactions.insert(transaction.clone(), open);
        let row = self.touch_session(id).expect("the caller found it");
        if row.segments.is_empty() {
            row.segments.extend(row.transaction.clone().map(|transaction| Segment {
                transaction,
                started: row.started,
                meter_start: row.meter_start,
            }));
        }
        let (started, meter_start) = (start.at, start.meter_start);
        row.segments.push(Segment { transaction: transaction.clone(), started, meter_start });
        row.transaction = Some(transaction.clone());
        let (stopping, site) = (row.state == SessionState::Stopping, row.site.clone());
        let connector = row.connector;
        self.hear(id);
        // What it was told to draw was for the transaction before.
        if let Some(row) = self.touch_connector(station, connector) {
            row.limit = None;
        }
        self.share_limit(&site);
        let text = format!("session {id}: goes on after a loss of power");
        self.except(&start.identity, &text);
        let transaction_id = transaction_id(Some(&transaction));
        if stopping {
            self.queue_remote_stop(station, id, transaction);
        }
        Outcome::Started { session: id, transaction_id, refusal: None }
    }
}
