//! What time does to a session that runs: nothing is heard of it (window 11), its hold runs out
//! (window 17).
//!
//! **Invariant**: a running session has both timers, due as its row says; one that does not run has
//! neither.

use crate::finished::{CLOSED_BY_NEXT_START, CLOSED_BY_SILENCE};
use crate::money::place_of;
use crate::rows::{Payer, SessionRow, SessionState};
use crate::state::State;
use crate::timers::Timer;
use novax_model::{SessionId, Timestamp};

/// The time of silence is watched in so many steps, so that not every meter value moves a timer.
const SILENCE_STEPS: u64 = 64;
/// A hold is renewed when this part of its life is left: a quarter.
const LIFE_LEFT: u32 = 4;

fn is_running(row: &SessionRow) -> bool {
    matches!(row.state, SessionState::Charging | SessionState::Stopping)
}

impl State {
    /// When a running session has been silent for too long; up to a step later than to the second.
    fn silence_due(&self, row: &SessionRow) -> Timestamp {
        let silence = self.config.silence_close_after;
        let silence_us = u64::try_from(silence.as_micros()).unwrap_or(u64::MAX);
        let step = (silence_us / SILENCE_STEPS).max(1);
        let heard = Timestamp((row.heard.0 / step).saturating_add(1).saturating_mul(step));
        let due = heard.saturating_add(silence);
        match row.free_since {
            Timestamp::ZERO => due,
            since => due.min(since.saturating_add(self.config.free_close_after)),
        }
    }

    /// When the hold of a running session is renewed; never, where none can run out here.
    fn renewal_due(&self, row: &SessionRow) -> Option<Timestamp> {
        let left = self.config.hold_lifetime / LIFE_LEFT;
        let left_us = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        let is_here = match row.payer {
            Payer::Local(_) => true,
            // While it is being renewed there is nothing to wait for.
            Payer::Card(_) => !self.is_renewing(row.session),
            Payer::Remote(_) | Payer::None => false,
        };
        let can_expire = is_here && row.hold_expires > Timestamp::ZERO;
        can_expire.then(|| Timestamp(row.hold_expires.0.saturating_sub(left_us)))
    }

    /// Watches a session, if it runs.
    pub(crate) fn watch(&mut self, row: &SessionRow) {
        if !is_running(row) {
            return;
        }
        self.timers.insert((self.silence_due(row), Timer::Silence(row.session)));
        if let Some(due) = self.renewal_due(row) {
            self.timers.insert((due, Timer::RenewHold(row.session)));
        }
    }

    /// Watches a session no more.
    pub(crate) fn unwatch(&mut self, row: &SessionRow) {
        self.timers.remove(&(self.silence_due(row), Timer::Silence(row.session)));
        if let Some(due) = self.renewal_due(row) {
            self.timers.remove(&(due, Timer::RenewHold(row.session)));
        }
    }

    /// A word of the session came.
    pub(crate) fn hear(&mut self, id: SessionId) {
        let now = self.now();
        let Some(session) = self.sessions.get(&id) else { return };
        let before = self.silence_due(&session.row);
        let Some(row) = self.touch_session(id) else { return };
        row.heard = now;
        let runs = is_running(row);
        let session = self.sessions.get(&id).expect("touched above");
        let after = self.silence_due(&session.row);
        if runs && before != after {
            self.timers.remove(&(before, Timer::Silence(id)));
            self.timers.insert((after, Timer::Silence(id)));
        }
    }

    /// Window 11: a running session's connector is said to be free: its stop was lost, or comes soon. Or
    /// it is not free after all.
    pub(crate) fn note_free(&mut self, id: SessionId, is_free: bool) {
        let Some(session) = self.sessions.get(&id).filter(|found| is_running(&found.row)) else {
            return;
        };
        if is_free == (session.row.free_since > Timestamp::ZERO) {
            return;
        }
        let before = self.silence_due(&session.row);
        let since = if is_free { self.now() } else { Timestamp::ZERO };
        self.touch_session(id).expect("found above").free_since = since;
        let after = self.silence_due(&self.sessions.get(&id).expect("found above").row);
        self.timers.remove(&(before, Timer::Silence(id)));
        self.timers.insert((after, Timer::Silence(id)));
    }

    /// The hold of a session was placed anew.
    pub(crate) fn hold_placed(&mut self, id: SessionId, expires: Timestamp) {
        let Some(session) = self.sessions.get(&id) else { return };
        let before = self.renewal_due(&session.row);
        let Some(row) = self.touch_session(id) else { return };
        row.hold_expires = expires;
        let session = self.sessions.get(&id).expect("touched above");
        let after = self.renewal_due(&session.row).filter(|_| is_running(&session.row));
        if let Some(due) = before {
            self.timers.remove(&(due, Timer::RenewHold(id)));
        }
        if let Some(due) = after {
            self.timers.insert((due, Timer::RenewHold(id)));
        }
    }

    /// Window 17: the hold of a running session is about to run out, or has.
    pub(crate) fn renew_session_hold(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (place, currency) = (place_of(&session.row), session.row.deal.wallet_currency());
        if let Payer::Card(_) = session.row.payer {
            return self.renew_authorisation(id);
        }
        let Payer::Local(wallet) = session.row.payer else { return };
        let renewed = self
            .open(self.clearing_with_self(), currency)
            .and_then(|clearing| self.place_hold_anew(place, place.held, wallet, clearing));
        match renewed {
            Ok(()) => {
                if let Some(row) = self.touch_session(id) {
                    row.holds += 1;
                }
                self.hold_placed(id, self.hold_expiry());
            }
            Err(refusal) => {
                let stands = self.standing_hold(place).is_some();
                let Some(row) = self.touch_session(id) else { return };
                row.held = if stands { row.held } else { 0 };
                let identity = row.identity.clone();
                self.hold_placed(id, Timestamp::ZERO);
                let text = format!("session {id}: its hold runs out and cannot be renewed");
                self.except(&identity, &text);
                self.stop_unpaid(id, &refusal);
            }
        }
    }

    /// Window 11: nothing was heard of it for too long. The station is asked to end it, should it
    /// live: what it says then adjusts the bill.
    pub(crate) fn close_silent(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (station, transaction) = (session.station, session.row.transaction.clone());
        self.close_estimated(id, CLOSED_BY_SILENCE);
        if let Some(transaction) = transaction
            && self.outbox_has_room()
        {
            self.queue_remote_stop(station, id, transaction);
        }
    }

    /// Window 11: the stop never came, and the connector has begun something else.
    pub(crate) fn close_unheard(&mut self, id: SessionId) {
        self.close_estimated(id, CLOSED_BY_NEXT_START);
    }

    fn close_estimated(&mut self, id: SessionId, reason: &str) {
        let Some(row) = self.touch_session(id) else { return };
        row.suspect = true;
        row.estimated = true;
        let identity = row.identity.clone();
        // No longer than it was heard of: what came after is the true stop's to tell.
        let at = row.heard.max(row.started).max(Timestamp(1));
        let text = format!(
            "session {id}: its stop never came; billed up to the last value heard, {}",
            row.meter_last
        );
        self.except(&identity, &text);
        self.bill(id, at, reason);
    }
}
