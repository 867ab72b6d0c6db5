//! A station says that a transaction runs: a card was shown, or an app's start is answered.
//!
//! A station's word that a transaction runs is never turned away: without money it becomes a refused
//! session, and the station is asked to end it. Said again, it gets the first answer.

use crate::command::{Outcome, PayerRef, Refusal, StartTransaction, TransactionRef};
use crate::finished::{Past, transaction_id};
use crate::meter::take_register;
use crate::price::Flow;
use crate::rows::{Deal, Segment, SessionRow, SessionState};
use crate::secure::{Secured, next_positive};
use crate::sessions::overlap;
use crate::state::{State, StationNumber};
use novax_model::{ConnectorRef, SessionId, Timestamp, TokenUid, WattHours, seeded};

/// What a connector has begun since.
#[derive(Clone, Copy)]
enum Newer {
    /// This session has the connector.
    Running(SessionId),
    /// A transaction that no session pays for, or none any more.
    Unpaid,
}

impl State {
    /// A station says that a transaction runs.
    pub(crate) fn start_transaction(&mut self, start: &StartTransaction) -> Outcome {
        let Some(station) = self.find_station(start.identity.as_str()) else {
            self.release_unused(&start.payer, start.session);
            return Outcome::Refused(Refusal::UnknownStation);
        };
        if let Some((session, answer)) = self.repeated_start(station, start) {
            if session == start.session {
                self.release_surplus(&start.payer, session);
            } else {
                self.release_unused(&start.payer, start.session);
            }
            return answer;
        }
        if let Some(session) = self.awaited_session(station, start) {
            if session != start.session {
                self.release_unused(&start.payer, start.session);
            }
            return self.start_awaited(station, session, start);
        }
        if let Some(session) = self.resumed_session(station, start) {
            self.release_unused(&start.payer, start.session);
            let transaction = self.transaction_of(station, start);
            if self.touch_begun(station, start).is_err() {
                self.except(&start.identity, "a transaction goes on on one connector too many");
            }
            let answer = self.resume(station, session, transaction.clone(), start);
            self.pair_parked(station, start, &transaction);
            return answer;
        }
        self.start_with_card(station, start)
    }

    /// The first answer, when the station has said the same before: by the id derived from it, by
    /// the 2.x transaction, or by where, when, who and the meter, which name a 1.6 transaction.
    fn repeated_start(
        &self,
        station: StationNumber,
        start: &StartTransaction,
    ) -> Option<(SessionId, Outcome)> {
        if seeded::is("start-not-deduped") {
            return None;
        }
        if let Some(session) = self.sessions.get(&start.session)
            && session.row.transaction.is_some()
        {
            return Some((start.session, started(&session.row, start)));
        }
        let here = self.station(station);
        let open = match given_transaction(start) {
            Some(transaction) => here.transactions.get(transaction),
            None => here.transactions.values().find(|open| {
                let is_here = open.connector == start.connector;
                let found = if is_here { self.sessions.get(&open.session) } else { None };
                found.is_some_and(|session| begun_as(&begun(&session.row), start).is_some())
            }),
        };
        if let Some(session) = open.and_then(|open| self.sessions.get(&open.session)) {
            return Some((session.row.session, started(&session.row, start)));
        }
        // What the station remembers, the partition remembers by its id too.
        let may_be_past = given_transaction(start).is_some()
            || here.past.may_have_begun(start.at)
            || self.finished.get(start.session).is_some();
        let mut pasts = may_be_past.then(|| here.past.values().rev()).into_iter().flatten();
        if let Some(past) = pasts.find(|past| is_past(past, start)) {
            let (session, refusal) = (past.session, past.refusal.clone());
            let named = begun_as(&begun_past(past), start).or(past.transaction.as_ref());
            let transaction_id = transaction_id(named);
            return Some((session, Outcome::Started { session, transaction_id, refusal }));
        }
        let memory =
            self.finished.get(start.session).filter(|memory| memory.tombstone.is_none())?;
        let refusal = (memory.state == SessionState::Refused)
            .then_some(Refusal::WrongState(SessionState::Refused));
        let (session, transaction_id) = (start.session, memory.transaction_id);
        Some((session, Outcome::Started { session, transaction_id, refusal }))
    }

    /// The app's session that this transaction answers.
    fn awaited_session(
        &self,
        station: StationNumber,
        start: &StartTransaction,
    ) -> Option<SessionId> {
        let waits = |row: &&SessionRow| row.app && row.transaction.is_none();
        let by_id = start.remote_start_id.and_then(|remote_start_id| {
            let live = self.station(station).live.keys().filter_map(|id| self.sessions.get(id));
            let mut waiting = live.map(|session| &*session.row).filter(waits);
            waiting.find(|row| row.remote_start_id == remote_start_id)
        });
        let found = by_id.or_else(|| {
            let mut waiting = self.sessions_on(station, start.connector).filter(waits);
            waiting.find(|row| row.token == start.token)
        });
        found.map(|row| row.session)
    }

    fn start_awaited(
        &mut self,
        station: StationNumber,
        session: SessionId,
        start: &StartTransaction,
    ) -> Outcome {
        let overtaken_by = self.overtaken_by(station, start);
        if overtaken_by.is_none() {
            self.close_stale(station, start.connector);
        }
        if self.touch_begun(station, start).is_err() {
            self.except(&start.identity, "a transaction runs on one connector too many");
        }
        let transaction = self.transaction_of(station, start);
        let transaction_id = transaction_id(Some(&transaction));
        let named = transaction.clone();
        self.begin_charging(session, start.connector, transaction, start.meter_start, start.at);
        if let Some(newer) = overtaken_by {
            self.close_overtaken(station, session, start.connector, newer);
        }
        self.pair_parked(station, start, &named);
        Outcome::Started { session, transaction_id, refusal: None }
    }

    /// Nobody asked for it: shown a card, or an app's start that came too late.
    fn start_with_card(&mut self, station: StationNumber, start: &StartTransaction) -> Outcome {
        let session = start.session;
        if self.sessions.contains_key(&session) {
            // An app's session of this id waits elsewhere: ids are hashes, so this is a fault.
            return Outcome::Refused(Refusal::KeyReused);
        }
        let overtaken_by = self.overtaken_by(station, start);
        if overtaken_by.is_none() {
            self.close_stale(station, start.connector);
        }
        self.supersede_refused(station, start);
        let transaction = self.transaction_of(station, start);
        let transaction_id = transaction_id(Some(&transaction));
        let (site, deal) = match self.deal(station) {
            Ok(agreed) => agreed,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let secured = self.secure_card(station, start, &deal);
        let mut row =
            self.session_row(session, station, start.connector, &start.token, (site, deal));
        row.transaction = Some(transaction.clone());
        row.meter_start = start.meter_start;
        row.meter_last = start.meter_start.unwrap_or_default();
        row.started = start.at;
        match secured {
            Ok(secured) => {
                let card = secured.write_to(&mut row);
                self.reprice_row(&mut row, Flow::begins(start.at), false);
                self.open_session(station, row);
                if let Some(card) = card {
                    // It charges already; what the provider says comes beside.
                    self.authorise_first(session, card, false);
                }
                if let Some(newer) = overtaken_by {
                    self.close_overtaken(station, session, start.connector, newer);
                }
                self.pair_parked(station, start, &transaction);
                Outcome::Started { session, transaction_id, refusal: None }
            }
            Err(refusal) => {
                self.release_unused(&start.payer, session);
                self.refuse_session(station, row, &refusal);
                // A 1.6 station may go on in spite of idTagInfo.
                if self.outbox_has_room() {
                    self.queue_remote_stop(station, session, transaction.clone());
                }
                self.pair_parked(station, start, &transaction);
                Outcome::Started { session, transaction_id, refusal: Some(refusal) }
            }
        }
    }

    fn secure_card(
        &mut self,
        station: StationNumber,
        start: &StartTransaction,
        deal: &Deal,
    ) -> Result<Secured, Refusal> {
        self.touch_begun(station, start)?;
        if self.is_marked(start.session, &start.payer) {
            return Err(Refusal::WrongState(SessionState::Refused));
        }
        if self.is_cancelled(station, start) {
            return Err(Refusal::WrongState(SessionState::Rejected));
        }
        if !self.session_has_room() {
            return Err(Refusal::Full);
        }
        self.secure(start.session, &start.token, &start.payer, deal)
    }

    /// Whether this is the late start of a session that its driver cancelled: named by its remote
    /// start id, or the same card at the same connector while the remote start may still act.
    fn is_cancelled(&self, station: StationNumber, start: &StartTransaction) -> bool {
        let timeout = self.config.start_timeout;
        self.station(station).past.cancelled().any(|past| {
            let named = start.remote_start_id == Some(past.remote_start_id);
            let unnamed = start.remote_start_id.is_none()
                && overlap(past.connector, start.connector)
                && past.token == start.token
                && self.now() < past.requested.saturating_add(timeout);
            named || unnamed
        })
    }

    /// Whether this try of a session, and so its hold, was given up before it came here.
    pub(crate) fn is_marked(&self, session: SessionId, payer: &PayerRef) -> bool {
        let Some(last) = self.finished.get(session).and_then(|memory| memory.tombstone) else {
            return false;
        };
        !matches!(payer, PayerRef::Held { attempt, .. } if *attempt > last)
    }

    /// A card was refused and another one is shown on the same transaction (2.x): the refused session
    /// ends where the new one begins, and the station is no longer asked to end what both are.
    fn supersede_refused(&mut self, station: StationNumber, start: &StartTransaction) {
        let Some(given) = given_transaction(start) else { return };
        let pasts = self.station(station).past.iter();
        let refused: Vec<_> = pasts
            .filter(|(_, past)| past.refusal.is_some() && past.transaction.as_ref() == Some(given))
            .map(|(key, _)| *key)
            .collect();
        for key in refused {
            self.unqueue_session(station, key.1);
            let Some(row) = self.station_mut(station).past.take_awaited(&key) else { continue };
            let mut row = *row;
            row.ended = start.at.max(Timestamp(1));
            if let Some(register) = start.meter_start {
                take_register(&mut row, register, self.config.session_energy_max);
            }
            self.bill_orphan(&mut row);
            self.station_mut(station).past.insert(key, Past::of(&row));
            self.write_closing(row);
        }
    }

    /// Window 11: a connector that begins a transaction has ended the one before.
    fn close_stale(&mut self, station: StationNumber, connector: ConnectorRef) {
        while let Some(id) = self.running_on(station, connector) {
            self.close_unheard(id);
        }
    }

    /// Window 9: a start that came late, when its connector has begun something newer.
    fn overtaken_by(&self, station: StationNumber, start: &StartTransaction) -> Option<Newer> {
        let running = self.running_on(station, start.connector);
        if let Some(row) = running.and_then(|id| self.sessions.get(&id)).map(|found| &found.row) {
            return self.is_newer(row, start).then_some(Newer::Running(row.session));
        }
        let here = self.station(station);
        // Closed without its stop, and its payer has not answered yet.
        let open = here.transactions.values().filter(|open| open.connector == start.connector);
        let settling = open.filter_map(|open| self.sessions.get(&open.session));
        let settling = settling.map(|session| &*session.row).filter(|row| row.estimated);
        let mut awaiting = settling.chain(here.past.awaiting().map(|(_, row)| row));
        awaiting.any(|row| self.is_newer(row, start)).then_some(Newer::Unpaid)
    }

    /// Whether a transaction that was told before began after this one.
    fn is_newer(&self, row: &SessionRow, start: &StartTransaction) -> bool {
        // A clock that is ahead says nothing about which came first; nor does
        // one that was set back in between, but then the meter has gone on.
        let by_clock = row.started > start.at && row.started <= self.now();
        let is_believed = start.at.saturating_add(self.config.ticks_late_max) > self.now();
        let by_meter = match (start.meter_start, row.meter_start) {
            (Some(this), Some(next)) => this <= next,
            _ => true,
        };
        row.connector == start.connector && by_clock && is_believed && by_meter
    }

    /// It is over already; the connector stays with what it has begun since.
    fn close_overtaken(
        &mut self,
        station: StationNumber,
        session: SessionId,
        connector: ConnectorRef,
        newer: Newer,
    ) {
        self.close_unheard(session);
        if let Newer::Running(next) = newer
            && let Some(row) = self.touch_connector(station, connector)
        {
            row.session = Some(next);
        }
    }

    fn running_on(&self, station: StationNumber, connector: ConnectorRef) -> Option<SessionId> {
        let mut running = self.sessions_on(station, connector);
        running.find(|row| row.transaction.is_some()).map(|row| row.session)
    }

    /// Whether no session has ever had this start's id: that of a 1.6 transaction says when it began. One whose
    /// hold another partition has may have been given up before it came here.
    pub(crate) fn is_new(&self, start: &StartTransaction) -> bool {
        let Some(station) = self.find_station(start.identity.as_str()) else { return false };
        let connector = self.station(station).connectors.get(&start.connector);
        given_transaction(start).is_none()
            && start.payer == PayerRef::Local
            && connector.is_some_and(|row| start.at > row.begun_last)
    }

    /// The connector that begins a transaction, made when the station never spoke of it before.
    fn touch_begun(
        &mut self,
        station: StationNumber,
        start: &StartTransaction,
    ) -> Result<(), Refusal> {
        let row = self.touch_connector_or_new(station, start.connector)?;
        if given_transaction(start).is_none() {
            row.begun_last = row.begun_last.max(start.at);
        }
        Ok(())
    }

    /// As the station named it, or the next 1.6 number.
    fn transaction_of(
        &mut self,
        station: StationNumber,
        start: &StartTransaction,
    ) -> TransactionRef {
        if let Some(given) = given_transaction(start) {
            return given.clone();
        }
        let mut id = self.station(station).row.next_transaction_id;
        // Numbers wrap after 2^31 transactions; one still open is stepped over.
        while self.station(station).transactions.contains_key(&TransactionRef::V16(id)) {
            id = next_positive(id);
        }
        self.touch_station(station).next_transaction_id = next_positive(id);
        TransactionRef::V16(id)
    }
}

/// Only 2.x names its transactions; a 1.6 number comes from us.
fn given_transaction(start: &StartTransaction) -> Option<&TransactionRef> {
    start.transaction.as_ref().filter(|given| matches!(given, TransactionRef::V201(_)))
}

fn started(row: &SessionRow, start: &StartTransaction) -> Outcome {
    let named = begun_as(&begun(row), start).or(row.transaction.as_ref());
    Outcome::Started { session: row.session, transaction_id: transaction_id(named), refusal: None }
}

/// What tells one 1.6 transaction from another: where, when, who and the meter.
struct Begun<'a> {
    connector: ConnectorRef,
    token: &'a TokenUid,
    transaction: Option<&'a TransactionRef>,
    started: Timestamp,
    meter_start: Option<WattHours>,
    segments: &'a [Segment],
}

fn begun(row: &SessionRow) -> Begun<'_> {
    Begun {
        connector: row.connector,
        token: &row.token,
        transaction: row.transaction.as_ref(),
        started: row.started,
        meter_start: row.meter_start,
        segments: &row.segments,
    }
}

fn begun_past(past: &Past) -> Begun<'_> {
    Begun {
        connector: past.connector,
        token: &past.token,
        transaction: past.transaction.as_ref(),
        started: past.started,
        meter_start: past.meter_start,
        segments: &past.segments,
    }
}

/// The 1.6 transaction of a session that began just as this start says.
fn begun_as<'a>(begun: &Begun<'a>, start: &StartTransaction) -> Option<&'a TransactionRef> {
    if begun.connector != start.connector || *begun.token != start.token {
        return None;
    }
    let is_same =
        |at: Timestamp, meter: Option<WattHours>| at == start.at && meter == start.meter_start;
    let first = begun.segments.first().map(|segment| &segment.transaction).or(begun.transaction);
    let whole = first.filter(|_| is_same(begun.started, begun.meter_start));
    let mut parts = begun.segments.iter();
    let part = || {
        let found = parts.find(|part| is_same(part.started, part.meter_start));
        found.map(|part| &part.transaction)
    };
    whole.or_else(part).filter(|found| matches!(found, TransactionRef::V16(_)))
}

fn is_past(past: &Past, start: &StartTransaction) -> bool {
    if past.transaction.is_none() {
        return false;
    }
    if past.session == start.session {
        return true;
    }
    match given_transaction(start) {
        // Another card on a refused transaction is another try.
        Some(given) => {
            past.is_named(given) && (past.refusal.is_none() || past.token == start.token)
        }
        None => begun_as(&begun_past(past), start).is_some(),
    }
}
