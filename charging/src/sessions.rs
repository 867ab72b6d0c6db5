//! The life of a session row: opened, running, off its connector, finished.
//!
//! **Invariant:** the indices (a station's live sessions and transactions with their connectors, a connector's session,
//! a site's list, the start timer) agree with the row's state after each function here.

use crate::command::{PeerCommand, Refusal, TransactionRef};
use crate::finished::Past;
use crate::meter::take_register;
use crate::price::Flow;
use crate::rows::{Charges, Payer, SessionRow, SessionState};
use crate::state::{OpenTransaction, State, StationNumber};
use crate::timers::Timer;
use novax_model::{ConnectorRef, SessionId, Timestamp, WattHours};

/// Whether two connectors of a station cannot both be in use: they are the same, or one of them
/// means "any of this EVSE".
pub(crate) fn overlap(a: ConnectorRef, b: ConnectorRef) -> bool {
    a.evse == b.evse && (a.connector == b.connector || a.connector == 0 || b.connector == 0)
}

impl State {
    /// Whether one more session fits.
    pub(crate) fn session_has_room(&self) -> bool {
        self.sessions.len() < self.config.live_sessions_max
            && self.cards.len() < self.config.live_sessions_max
            && self.outbox_has_room()
    }

    /// The session that has this connector; one that runs rather than one that is starting.
    pub(crate) fn session_on(
        &self,
        station: StationNumber,
        connector: ConnectorRef,
    ) -> Option<&SessionRow> {
        let here = self.sessions_on(station, connector);
        here.min_by_key(|row| (row.transaction.is_none(), row.session))
    }

    /// The live sessions of connectors that cannot be in use beside this one.
    pub(crate) fn sessions_on(
        &self,
        station: StationNumber,
        connector: ConnectorRef,
    ) -> impl Iterator<Item = &SessionRow> {
        let live = self.station(station).live.iter();
        let here = live.filter(move |(_, taken)| overlap(**taken, connector));
        here.filter_map(|(id, _)| self.sessions.get(id)).map(|session| &*session.row)
    }

    pub(crate) fn start_deadline(&self, row: &SessionRow) -> Timestamp {
        // Before it runs it is heard of when it is asked for, and when its card said yes.
        row.requested.max(row.heard).saturating_add(self.config.start_timeout)
    }

    /// Puts a session that has a connector into the table and its indices.
    pub(crate) fn index_session(&mut self, station: StationNumber, row: &SessionRow) {
        let id = row.session;
        let transaction = row.transaction.clone();
        let earlier = row.segments.iter().map(|segment| segment.transaction.clone());
        let open = OpenTransaction { session: id, connector: row.connector };
        for transaction in transaction.into_iter().chain(earlier) {
            self.station_mut(station).transactions.insert(transaction, open);
        }
        if !row.state.is_live() {
            return;
        }
        self.station_mut(station).live.insert(id, row.connector);
        match row.state {
            SessionState::Authorising | SessionState::Starting | SessionState::StartAccepted => {
                self.timers.insert((self.start_deadline(row), Timer::Start(id)));
            }
            _ => {
                self.watch(row);
                if let Some(site) = self.sites.get_mut(&row.site) {
                    site.charging.insert((row.requested, id));
                }
            }
        }
    }

    /// Opens a session on its connector.
    pub(crate) fn open_session(&mut self, station: StationNumber, mut row: SessionRow) {
        assert!(row.state.is_live(), "a session is opened alive");
        row.marked = self.finished.unmark(row.session);
        if let Some(connector) = self.touch_connector(station, row.connector) {
            connector.session = Some(row.session);
        }
        self.index_session(station, &row);
        let site = (row.state == SessionState::Charging).then(|| row.site.clone());
        self.add_session(station, row);
        if let Some(site) = site {
            self.share_limit(&site);
        }
    }

    /// A starting session's transaction runs.
    pub(crate) fn begin_charging(
        &mut self,
        id: SessionId,
        connector: ConnectorRef,
        transaction: TransactionRef,
        meter_start: Option<WattHours>,
        at: Timestamp,
    ) {
        let session = self.sessions.get(&id).expect("the caller found it");
        let (station, site) = (session.station, session.row.site.clone());
        let (deadline, requested) = (self.start_deadline(&session.row), session.row.requested);
        let asked_for = session.row.connector;
        self.timers.remove(&(deadline, Timer::Start(id)));
        self.unqueue_session(station, id);
        if asked_for != connector {
            self.free_connector(station, asked_for, id);
        }
        if let Some(row) = self.touch_connector(station, connector) {
            row.session = Some(id);
        }
        let here = self.station_mut(station);
        here.live.insert(id, connector);
        here.transactions.insert(transaction.clone(), OpenTransaction { session: id, connector });
        let now = self.now();
        let row = self.touch_session(id).expect("found above");
        assert!(row.transaction.is_none(), "a session starts once");
        row.state = SessionState::Charging;
        row.connector = connector;
        row.transaction = Some(transaction);
        row.meter_start = meter_start;
        row.meter_last = meter_start.unwrap_or_default();
        row.started = at;
        row.heard = now;
        self.reprice(id, Flow::begins(at), false);
        let row = self.sessions.get(&id).expect("found above").row.clone();
        self.watch(&row);
        if let Some(site) = self.sites.get_mut(&site) {
            site.charging.insert((requested, id));
        }
        self.share_limit(&site);
    }

    fn free_connector(&mut self, station: StationNumber, connector: ConnectorRef, id: SessionId) {
        let held = self.station(station).connectors.get(&connector).map(|row| row.session);
        if held == Some(Some(id))
            && let Some(row) = self.touch_connector(station, connector)
        {
            row.session = None;
            row.limit = None;
        }
    }

    /// Takes a session off its connector, with its timer, commands and share of the limit.
    fn leave_connector(&mut self, id: SessionId) {
        let session = self.sessions.get(&id).expect("the caller found it");
        let (station, row) = (session.station, &session.row);
        let (connector, site, requested) = (row.connector, row.site.clone(), row.requested);
        let (deadline, row) = (self.start_deadline(row), row.clone());
        self.timers.remove(&(deadline, Timer::Start(id)));
        self.unwatch(&row);
        self.station_mut(station).live.remove(&id);
        self.unqueue_session(station, id);
        self.free_connector(station, connector, id);
        let drew = match self.sites.get_mut(&site) {
            Some(site) => site.charging.remove(&(requested, id)),
            None => false,
        };
        if drew {
            self.unqueue_set_limit(station, connector);
            self.share_limit(&site);
        }
    }

    /// Ends a session for good: off its connector, out of the table, into the memories.
    pub(crate) fn finish(&mut self, id: SessionId, state: SessionState) -> Box<SessionRow> {
        assert!(!state.is_live() && state != SessionState::Settling, "an end state");
        if self.sessions.get(&id).is_some_and(|session| session.row.state.is_live()) {
            self.leave_connector(id);
        }
        let session = self.sessions.remove(&id).expect("the caller found it");
        let (station, mut row) = (session.station, session.row);
        row.state = state;
        row.heard = self.now();
        let earlier = row.segments.iter().map(|segment| &segment.transaction);
        for transaction in row.transaction.iter().chain(earlier) {
            self.station_mut(station).transactions.remove(transaction);
        }
        self.remember(station, &row);
        if let Payer::Card(_) = row.payer {
            self.cards_touched.insert(id);
        }
        self.write_closing(row.clone());
        row
    }

    /// Takes a finished row into the memories.
    pub(crate) fn remember(&mut self, station: StationNumber, row: &SessionRow) {
        self.finished.remember(row, self.config.finished_sessions_max, true);
        let max = self.config.finished_per_station_max;
        let past = &mut self.station_mut(station).past;
        past.insert((row.heard, row.session), Past::of(row));
        while self.station(station).past.len() > max {
            let oldest = self.station_mut(station).past.pop_first();
            let ((_, session), _) = oldest.expect("longer than max");
            self.finished.leave_past(session);
        }
    }

    /// A session that never ran is over: the money goes back.
    pub(crate) fn abandon(&mut self, id: SessionId, state: SessionState, reason: &str) {
        if let Some(row) = self.touch_session(id) {
            assert!(row.transaction.is_none(), "only a session without transaction is abandoned");
            row.reason = reason.into();
        }
        let row = self.finish(id, state);
        self.release_money(&row);
    }

    /// A refused start leaves a row that says why, and the money goes back.
    pub(crate) fn refuse_session(
        &mut self,
        station: StationNumber,
        mut row: SessionRow,
        refusal: &Refusal,
    ) {
        row.state = SessionState::Refused;
        row.reason = crate::refusal::refusal_text(refusal);
        row.heard = self.now();
        if let Payer::Remote(_) = row.payer {
            self.release_money(&row);
        }
        row.payer = Payer::None;
        (row.held, row.holds) = (0, 0);
        self.remember(station, &row);
        self.write_closing(row);
    }

    /// What a meter said: what was seen is owed, the rest is doubted.
    pub(crate) fn hear_meter(&mut self, id: SessionId, register: WattHours, flow: Flow) {
        let energy_max = self.config.session_energy_max;
        self.hear(id);
        let Some(row) = self.touch_session(id) else { return };
        let before = row.meter_last;
        let doubt = take_register(row, register, energy_max);
        if row.meter_last > before {
            // Energy flows: it is not free after all.
            self.note_free(id, false);
        }
        self.reprice(id, flow, false);
        let Some(row) = self.touch_session(id) else { return };
        if let Some(doubt) = doubt {
            let mut row = row.clone();
            self.doubt(&mut row, doubt, register);
            if let Some(found) = self.touch_session(id) {
                found.suspect = row.suspect;
            }
        }
    }

    /// Marks a bill as doubtful, and shows it to a person the first time.
    pub(crate) fn doubt(&mut self, row: &mut SessionRow, doubt: &str, register: WattHours) {
        if row.suspect && !row.estimated {
            return;
        }
        row.suspect = true;
        let (id, last) = (row.session, row.meter_last);
        let text = format!("session {id}: {doubt}, from {last} to {register}");
        self.except(&row.identity, &text);
    }

    /// Bills a transaction that is over.
    pub(crate) fn bill(&mut self, id: SessionId, at: Timestamp, reason: &str) {
        self.hear(id);
        let Some(row) = self.touch_session(id) else { return };
        row.ended = at;
        row.reason = reason.into();
        self.reprice(id, Flow::ends(at), true);
        self.leave_connector(id);
        let row = self.sessions.get(&id).expect("touched above").row.clone();
        match self.settle(&row) {
            Ok(owed) => {
                if let Some(row) = self.touch_session(id) {
                    row.owed = owed;
                }
            }
            Err(error) => return self.leave_unbilled(id, &error),
        }
        self.counters.count_ended(&row);
        match row.payer {
            Payer::Remote(to) => {
                let (amount, currency) = (row.charges.total(), row.deal.currency);
                if let Some(row) = self.touch_session(id) {
                    row.state = SessionState::Settling;
                }
                self.queue_peer(to, PeerCommand::Capture { session: id, amount, currency });
            }
            Payer::Card(_) => self.begin_collecting(id),
            Payer::Local(_) | Payer::None => {
                self.finish(id, SessionState::Settled);
            }
        }
    }

    /// The ledger refused a bill: what was held goes back, and a person has to bill it. The row says
    /// what the books say: nothing.
    fn leave_unbilled(&mut self, id: SessionId, error: &str) {
        let Some(row) = self.touch_session(id) else { return };
        let total = row.charges.total();
        row.charges = Charges::default();
        row.suspect = true;
        row.estimated = false;
        let row = self.finish(id, SessionState::Settled);
        self.counters.count_ended(&row);
        self.release_money(&row);
        let text = format!(
            "session {id}: the bill of {total} was not booked and nothing is held any more: {error}"
        );
        self.except(&row.identity, &text);
    }
}

impl crate::state::Counters {
    /// A session ended with this bill.
    pub(crate) fn count_ended(&mut self, row: &SessionRow) {
        self.sessions_ended += 1;
        let energy = u64::try_from(row.energy().0).unwrap_or(0);
        self.energy_wh_total = self.energy_wh_total.saturating_add(energy);
        let settled = self.settled.entry(row.deal.currency).or_insert(0);
        *settled = settled.saturating_add(row.charges.total());
    }
    /// An ended session's bill was adjusted.
    pub(crate) fn recount(&mut self, before: &(Charges, WattHours), row: &SessionRow) {
        let number = |energy: WattHours| u64::try_from(energy.0).unwrap_or(0);
        let total = self.energy_wh_total.saturating_sub(number(before.1));
        self.energy_wh_total = total.saturating_add(number(row.energy()));
        let settled = self.settled.entry(row.deal.currency).or_insert(0);
        *settled = settled.saturating_sub(before.0.total()).saturating_add(row.charges.total());
    }
}
