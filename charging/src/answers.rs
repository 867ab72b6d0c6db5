//! Answers to outbox rows, from stations and from other partitions, and time running out.
//!
//! An answer deletes its row; an answer to a row that is gone changes nothing. Silence decides
//! nothing: the start timer does.

use crate::command::{Answer, Outcome, PeerCommand, StationCommand};
use crate::rows::{OutboxKind, SessionState};
use crate::state::State;
use crate::timers::Timer;
use novax_model::{Amount, SessionId, Timestamp};

impl State {
    /// A station answered, or did not in time.
    pub(crate) fn command_answered(&mut self, id: u64, answer: &Answer) {
        let is_station = |kind: &OutboxKind| matches!(kind, OutboxKind::Station { .. });
        if !self.outbox.get(&id).is_some_and(|row| is_station(&row.kind)) {
            return;
        }
        let Some(row) = self.remove_outbox_row(id) else { return };
        let OutboxKind::Station { command, .. } = row.kind else { return };
        match (command, answer) {
            (StationCommand::RemoteStart { session, .. }, Answer::Accepted) => {
                self.change_state(session, SessionState::Starting, SessionState::StartAccepted);
            }
            (StationCommand::RemoteStart { session, .. }, Answer::Rejected(word)) => {
                let waits =
                    |state| matches!(state, SessionState::Starting | SessionState::StartAccepted);
                if self.sessions.get(&session).is_some_and(|found| waits(found.row.state)) {
                    self.abandon(session, SessionState::Rejected, word);
                }
            }
            (StationCommand::RemoteStop { session, .. }, Answer::Rejected(_)) => {
                self.change_state(session, SessionState::Stopping, SessionState::Charging);
            }
            (StationCommand::RemoteStop { .. }, Answer::Accepted)
            | (StationCommand::SetLimit { .. }, _)
            | (_, Answer::Silent) => {}
        }
    }

    fn change_state(&mut self, session: SessionId, from: SessionState, to: SessionState) {
        if self.sessions.get(&session).is_some_and(|found| found.row.state == from)
            && let Some(row) = self.touch_session(session)
        {
            row.state = to;
        }
    }

    /// A peer partition answered.
    pub(crate) fn peer_answered(&mut self, id: u64, outcome: &Outcome) {
        let is_peer = |kind: &OutboxKind| matches!(kind, OutboxKind::Peer { .. });
        if !self.outbox.get(&id).is_some_and(|row| is_peer(&row.kind)) {
            return;
        }
        let Some(row) = self.remove_outbox_row(id) else { return };
        let OutboxKind::Peer { command, .. } = row.kind else { return };
        match command {
            PeerCommand::PlaceHold(place) => self.raise_answered(place.session, outcome),
            PeerCommand::ReleaseHold { .. } => {}
            PeerCommand::Capture { session, amount, .. } => {
                self.capture_answered(session, amount, outcome);
            }
            PeerCommand::Adjust { session, .. } => {
                if !matches!(outcome, Outcome::Captured { .. }) {
                    let text = format!("session {session}: its payer did not adjust: {outcome:?}");
                    self.except(&crate::peers::nobody(), &text);
                }
            }
            PeerCommand::Refund { session, .. } => {
                if !matches!(outcome, Outcome::Refunded { .. }) {
                    let text = format!("session {session}: its payer did not refund: {outcome:?}");
                    self.except(&crate::peers::nobody(), &text);
                }
            }
            PeerCommand::AskSession { session, attempt } => match outcome {
                Outcome::Session { state } => self.session_told(session, attempt, *state),
                _ => self.ask_again(session),
            },
        }
    }

    fn raise_answered(&mut self, session: SessionId, outcome: &Outcome) {
        match outcome {
            Outcome::Held { amount, .. } => {
                let runs =
                    self.sessions.get(&session).is_some_and(|found| found.row.state.is_live());
                if runs && let Some(row) = self.touch_session(session) {
                    // The answer to a raise; never less than what was known.
                    row.held = row.held.max(*amount);
                    row.holds += 1;
                }
            }
            Outcome::Refused(refusal) => self.stop_unpaid(session, refusal),
            _ => {}
        }
    }

    fn capture_answered(&mut self, session: SessionId, billed: Amount, outcome: &Outcome) {
        let Some(found) = self.sessions.get(&session) else { return };
        assert_eq!(found.row.state, SessionState::Settling, "only settling sessions are captured");
        if let Outcome::Captured { amount } = outcome {
            if let Some(row) = self.touch_session(session)
                && row.adjusted == 0
            {
                row.owed = row.charges.total().saturating_sub(*amount);
            }
        } else {
            let identity = found.row.identity.clone();
            let text = format!("session {session}: its payer did not take the bill: {outcome:?}");
            self.except(&identity, &text);
            if let Some(row) = self.touch_session(session) {
                row.suspect = true;
            }
        }
        let row = self.finish(session, SessionState::Settled);
        if row.adjusted > 0 {
            // Its true stop came while the capture was on its way.
            self.queue_adjustment(&row, billed);
        }
    }

    /// Fires what is due, in order of time, a bounded number per entry.
    pub(crate) fn fire_timers(&mut self) {
        let stamp = self.stamp(self.now());
        self.ledger.expire(stamp, self.config.timers_per_entry_max);
        for _ in 0..self.config.timers_per_entry_max {
            let Some((due, timer)) = self.timers.first().copied() else { return };
            if due > self.now() {
                return;
            }
            self.timers.remove(&(due, timer));
            match timer {
                Timer::Start(session) => {
                    self.start_timed_out(session);
                }
                Timer::Outbox(id) => self.command_answered(id, &Answer::Silent),
                Timer::AskSession(session) => self.ask_session(session),
                Timer::RenewHold(session) => self.renew_session_hold(session),
                Timer::Silence(session) => self.close_silent(session),
            }
        }
    }

    /// When the first timer is due.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(due, _)| *due);
        let month = self.months.first().map(|(due, _)| *due);
        timer.into_iter().chain(month).chain(self.ledger.next_expiry()).min()
    }
}
