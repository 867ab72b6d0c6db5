//! What other partitions ask of this one, mostly as the one where the payer's wallet is.
//!
//! **Invariants**: everything is idempotent by session; a session's hold is resolved once, by
//! release or capture; a release that comes first keeps a later hold from being placed.

use crate::accounts::Purpose;
use crate::command::{Outcome, PeerCommand, PlaceHold, Refusal};
use crate::config::AMOUNT_MAX;
use crate::finished::ASKED_BEFORE_KNOWN;
use crate::money::HoldPlace;
use crate::rows::{Charges, Deal, Payer, PayerSessionRow, SessionRow, SessionState, TermsId};
use crate::state::State;
use crate::timers::Timer;
use novax_settlement::tax::Treatment;
use novax_tariff::Adjustment;
use novax_model::{
    AccountId, Amount, ConnectorRef, Currency, Identity, PartitionId, SessionId, Timestamp,
    TokenUid, WattHours,
};

/// Stands where a row must name somebody and nobody is known.
fn nobody() -> Identity {
    Identity::new("-").expect("printable ASCII")
}

fn place_of(row: &PayerSessionRow) -> HoldPlace {
    let purpose = Purpose::PeerHold;
    HoldPlace { purpose, session: row.session, holds: row.holds, held: row.held }
}

fn is_open(row: &PayerSessionRow) -> bool {
    row.captured.is_none() && !row.released
}

impl State {
    /// A command of another partition.
    pub(crate) fn peer(&mut self, from: PartitionId, command: &PeerCommand) -> Outcome {
        let answer = match command {
            PeerCommand::PlaceHold(place) => self.place_hold(from, place),
            PeerCommand::ReleaseHold { session } => {
                self.release_hold(from, *session);
                Ok(Outcome::Done)
            }
            PeerCommand::Capture { session, amount, currency } => {
                self.capture_hold(from, *session, *amount, *currency)
            }
            PeerCommand::AskSession { session } => Ok(self.tell_session(*session)),
        };
        answer.unwrap_or_else(Outcome::Refused)
    }

    fn place_hold(&mut self, from: PartitionId, place: &PlaceHold) -> Result<Outcome, Refusal> {
        if place.amount > AMOUNT_MAX {
            return Err(Refusal::Full);
        }
        match self.payers.get(&place.session).cloned() {
            Some(row) if row.captured.is_some() => Err(Refusal::WrongState(SessionState::Settled)),
            Some(row) if row.released => Err(Refusal::WrongState(SessionState::Expired)),
            Some(row) if row.partition != from => Err(Refusal::KeyReused),
            // The same key with another driver's token is another request.
            Some(row)
                if self.tokens.get(&place.token).is_none_or(|owner| owner.driver != row.driver) =>
            {
                Err(Refusal::KeyReused)
            }
            Some(row) if place.sequence < row.holds => Ok(held(&row)),
            Some(row) if place.sequence == row.holds => self.raise_hold(row, place),
            Some(_) => Err(Refusal::WrongState(SessionState::Charging)),
            None if place.sequence == 0 => self.first_hold(from, place),
            None => Err(Refusal::UnknownSession),
        }
    }

    fn first_hold(&mut self, from: PartitionId, place: &PlaceHold) -> Result<Outcome, Refusal> {
        let open = self.payers.len() - self.payers_resolved.len();
        if open >= self.config.payer_sessions_max || !self.outbox_has_room() {
            return Err(Refusal::Full);
        }
        let owner = self.tokens.get(&place.token).ok_or(Refusal::UnknownToken)?;
        let driver = self.drivers.get(&owner.driver).ok_or(Refusal::UnknownDriver)?;
        if driver.blocked {
            return Err(Refusal::DriverBlocked);
        }
        if driver.currency != place.currency {
            return Err(Refusal::CurrencyMismatch);
        }
        let row = PayerSessionRow {
            session: place.session,
            partition: from,
            driver: driver.driver.clone(),
            wallet: driver.wallet,
            currency: driver.currency,
            held: 0,
            holds: 0,
            ask_at: self.now().saturating_add(self.config.hold_check_after),
            captured: None,
            released: false,
        };
        self.raise_hold(row, place)
    }

    fn raise_hold(
        &mut self,
        mut row: PayerSessionRow,
        place: &PlaceHold,
    ) -> Result<Outcome, Refusal> {
        if place.currency != row.currency {
            return Err(Refusal::CurrencyMismatch);
        }
        if row.holds > 0 && place.amount == 0 {
            return Ok(held(&row));
        }
        let clearing = self.open(crate::accounts::Name::Clearing(row.partition), row.currency)?;
        self.hold_more(place_of(&row), place.amount, row.wallet, clearing)?;
        row.held += place.amount;
        row.holds += 1;
        let answer = held(&row);
        if !self.asking.contains(&row.session) {
            self.timers.insert((row.ask_at, Timer::AskSession(row.session)));
        }
        self.put_payer_row(row);
        Ok(answer)
    }

    fn release_hold(&mut self, from: PartitionId, session: SessionId) {
        let row = match self.payers.get(&session).cloned() {
            Some(row) if is_open(&row) => {
                self.void_hold(place_of(&row), Purpose::PeerRelease.key(session, 0));
                row
            }
            Some(_) => return,
            // The hold may still be on its way: it must find this.
            None => PayerSessionRow {
                session,
                partition: from,
                driver: nobody(),
                wallet: AccountId(0),
                currency: Currency::EUR,
                held: 0,
                holds: 0,
                ask_at: self.now(),
                captured: None,
                released: false,
            },
        };
        self.resolve(PayerSessionRow { released: true, ..row });
    }

    fn capture_hold(
        &mut self,
        from: PartitionId,
        session: SessionId,
        amount: Amount,
        currency: Currency,
    ) -> Result<Outcome, Refusal> {
        let row = self.payers.get(&session).cloned().ok_or(Refusal::UnknownSession)?;
        if let Some(amount) = row.captured {
            return Ok(Outcome::Captured { amount });
        }
        if row.partition != from {
            return Err(Refusal::KeyReused);
        }
        if row.currency != currency || row.wallet == AccountId(0) {
            return Err(Refusal::CurrencyMismatch);
        }
        if amount > AMOUNT_MAX {
            return Err(Refusal::Full);
        }
        // A hold let go before finds nothing standing: all of it is owed.
        let payer = (row.wallet, &row.driver, row.currency);
        let taken = match self.capture(place_of(&row), payer, from, amount) {
            Ok(taken) => taken,
            Err(error) => {
                let text = format!("session {session}: the capture was not booked: {error}");
                self.except(&row.driver, &text);
                return Err(Refusal::KeyReused);
            }
        };
        self.resolve(PayerSessionRow { captured: Some(taken), ..row });
        Ok(Outcome::Captured { amount: taken })
    }

    /// A payer row is over; it stays to answer repeats, as long as there is room.
    fn resolve(&mut self, row: PayerSessionRow) {
        assert!(!is_open(&row), "resolved by release or capture");
        let (session, asked_at) = (row.session, row.ask_at);
        self.timers.remove(&(asked_at, Timer::AskSession(session)));
        self.payers_resolved.remove(&(asked_at, session));
        let now = self.now();
        self.put_payer_row(PayerSessionRow { ask_at: now, ..row });
        self.remember_resolved(now, session);
    }

    /// Bounds the resolved rows in memory; the store keeps them all.
    pub(crate) fn remember_resolved(&mut self, at: Timestamp, session: SessionId) {
        self.payers_resolved.insert((at, session));
        while self.payers_resolved.len() > self.config.payer_sessions_max {
            let Some((_, oldest)) = self.payers_resolved.pop_first() else { break };
            self.payers.remove(&oldest);
        }
    }

    /// What a payer row waits for, when it is read back.
    pub(crate) fn index_payer(&mut self, row: &PayerSessionRow) {
        if !is_open(row) {
            self.remember_resolved(row.ask_at, row.session);
        } else if !self.asking.contains(&row.session) {
            self.timers.insert((row.ask_at, Timer::AskSession(row.session)));
        }
    }

    /// In the station's partition: where a session stands. One never heard of never will be.
    fn tell_session(&mut self, session: SessionId) -> Outcome {
        if let Some(found) = self.sessions.get(&session) {
            return Outcome::Session { state: Some(found.row.state) };
        }
        if let Some(memory) = self.finished.get(session) {
            let state = (!memory.tombstone).then_some(memory.state);
            return Outcome::Session { state };
        }
        let row = self.tombstone(session);
        self.finished.remember(&row, self.config.finished_sessions_max, false);
        self.write_closing(row);
        Outcome::Session { state: None }
    }

    /// A row that keeps an id from ever starting.
    pub(crate) fn tombstone(&self, session: SessionId) -> SessionRow {
        let deal = Deal {
            tariff: TermsId(0),
            contract: TermsId(0),
            currency: Currency::EUR,
            hold: 0,
            jurisdiction: "".into(),
            zone: "UTC".into(),
            treatment: Treatment::none(),
            adjustment: Adjustment::NONE,
            explanation: "".into(),
        };
        SessionRow {
            session,
            payload_hash: 0,
            state: SessionState::Refused,
            identity: nobody(),
            site: nobody(),
            connector: ConnectorRef::STATION,
            driver: None,
            token: TokenUid::new("-").expect("printable ASCII"),
            app: true,
            transaction: None,
            remote_start_id: 0,
            payer: Payer::None,
            deal,
            rating: None,
            held: 0,
            holds: 0,
            meter_start: WattHours(0),
            meter_last: WattHours(0),
            requested: self.now(),
            started: Timestamp::ZERO,
            ended: Timestamp::ZERO,
            heard: self.now(),
            charges: Charges::default(),
            reason: ASKED_BEFORE_KNOWN.into(),
            suspect: false,
        }
    }

    /// A hold is old: its session's partition is asked.
    pub(crate) fn ask_session(&mut self, session: SessionId) {
        let Some(row) = self.payers.get(&session).filter(|row| is_open(row)) else { return };
        let to = row.partition;
        self.queue_peer(to, PeerCommand::AskSession { session });
    }

    /// Where that session stands.
    pub(crate) fn session_told(&mut self, session: SessionId, state: Option<SessionState>) {
        let Some(row) = self.payers.get(&session).filter(|row| is_open(row)) else { return };
        match state {
            // A session is settled only after its payer answered the capture: a hold that is still open
            // then was placed for a request that came to nothing.
            None
            | Some(
                SessionState::Rejected
                | SessionState::Expired
                | SessionState::Refused
                | SessionState::Settled,
            ) => {
                let from = row.partition;
                self.release_hold(from, session);
            }
            Some(_) => self.ask_again(session),
        }
    }

    /// The session lives, or its capture is on the way: ask again later.
    pub(crate) fn ask_again(&mut self, session: SessionId) {
        let Some(row) = self.payers.get(&session).filter(|row| is_open(row)).cloned() else {
            return;
        };
        let ask_at = self.now().saturating_add(self.config.hold_check_after);
        self.timers.remove(&(row.ask_at, Timer::AskSession(session)));
        self.timers.insert((ask_at, Timer::AskSession(session)));
        self.put_payer_row(PayerSessionRow { ask_at, ..row });
    }
}

fn held(row: &PayerSessionRow) -> Outcome {
    Outcome::Held { driver: row.driver.clone(), amount: row.held, currency: row.currency }
}
