//! What other partitions ask of this one, mostly as the one where the payer's wallet is.
//!
//! **Invariants**: everything is idempotent by session; a session's hold is resolved once, by
//! release or capture; a release that comes first keeps a later hold from being placed.

use crate::accounts::{Purpose, receivable_id};
use crate::command::{Outcome, PeerCommand, PlaceHold, Refusal};
use crate::config::AMOUNT_MAX;
use crate::finished::ASKED_BEFORE_KNOWN;
use crate::fx::{held_in_wallet, in_wallet};
use crate::money::HoldPlace;
use crate::payment::Funding;
use crate::rows::{Charges, Deal, Payer, PayerSessionRow, SessionRow, SessionState};
use crate::state::State;
use crate::timers::Timer;
use novax_model::{
    AccountId, Amount, ConnectorRef, Currency, Identity, PartitionId, SessionId, Timestamp,
    TokenUid, WattHours,
};

/// Stands where a row must name somebody and nobody is known.
pub(crate) fn nobody() -> Identity {
    Identity::new("-").expect("printable ASCII")
}

fn place_of(row: &PayerSessionRow) -> HoldPlace {
    let purpose = Purpose::PeerHold;
    let held = held_in_wallet(row.fx.as_ref(), row.held);
    HoldPlace { purpose, session: row.session, holds: row.hold_keys, held }
}

impl State {
    /// A command of another partition.
    pub(crate) fn peer(&mut self, from: PartitionId, command: &PeerCommand) -> Outcome {
        let answer = match command {
            PeerCommand::PlaceHold(place) => self.place_hold(from, place),
            PeerCommand::ReleaseHold { session, attempt } => {
                self.release_hold(from, *session, *attempt);
                Ok(Outcome::Done)
            }
            PeerCommand::Capture { session, amount, currency } => {
                self.capture_hold(from, *session, *amount, *currency)
            }
            PeerCommand::Adjust { session, sequence, was, amount, currency } => {
                self.adjust_capture(from, *session, *sequence, (*was, *amount), *currency)
            }
            PeerCommand::Refund { session, sequence, amount, currency } => {
                self.refund_capture(from, *session, *sequence, (*amount, *currency))
            }
            PeerCommand::AskSession { session, attempt } => {
                Ok(self.tell_session(*session, *attempt))
            }
        };
        answer.unwrap_or_else(Outcome::Refused)
    }

    fn place_hold(&mut self, from: PartitionId, place: &PlaceHold) -> Result<Outcome, Refusal> {
        if place.amount > AMOUNT_MAX {
            return Err(Refusal::Full);
        }
        if let Some(card) = self.card_of(place)? {
            return Ok(card);
        }
        match self.payers.get(&place.session).cloned() {
            Some(row) if row.captured.is_some() => Err(Refusal::WrongState(SessionState::Settled)),
            // The try before came to nothing, as with a wallet of the station's own partition.
            Some(row) if row.released && place.sequence == 0 && row.wallet != AccountId(0) => {
                self.next_attempt(&row, from, place)
            }
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

    /// The card that pays, when nothing is held here for the session and its driver pays by card.
    fn card_of(&self, place: &PlaceHold) -> Result<Option<Outcome>, Refusal> {
        let is_new = place.sequence == 0
            && !self.payers.get(&place.session).is_some_and(PayerSessionRow::is_open);
        let driver = self.tokens.get(&place.token).and_then(|row| self.drivers.get(&row.driver));
        let Some(row) = driver.filter(|_| is_new) else { return Ok(None) };
        let Funding::Card(card) = &row.funding else { return Ok(None) };
        if row.blocked {
            return Err(Refusal::DriverBlocked);
        }
        let debts = receivable_id(&row.salt, &row.driver, place.currency);
        Ok(Some(Outcome::Card { driver: row.driver.clone(), card: card.clone(), debts }))
    }

    fn first_hold(&mut self, from: PartitionId, place: &PlaceHold) -> Result<Outcome, Refusal> {
        let row = self.new_payer_row(from, place)?;
        self.raise_hold(row, place)
    }

    /// The row of a hold that is yet to be placed.
    fn new_payer_row(
        &self,
        from: PartitionId,
        place: &PlaceHold,
    ) -> Result<PayerSessionRow, Refusal> {
        if self.open_payers() >= self.config.payer_sessions_max || !self.outbox_has_room() {
            return Err(Refusal::Full);
        }
        let owner = self.tokens.get(&place.token).ok_or(Refusal::UnknownToken)?;
        let driver = self.drivers.get(&owner.driver).ok_or(Refusal::UnknownDriver)?;
        if driver.blocked {
            return Err(Refusal::DriverBlocked);
        }
        let fx = self.rate_between(driver.currency, place.currency)?;
        Ok(PayerSessionRow {
            fx,
            fx_owed: 0,
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
            attempt: 0,
            hold_keys: 0,
            hold_expires: Timestamp::ZERO,
            billed: 0,
            adjusted: 0,
        })
    }

    /// A hold for a session whose hold before was given back before it began.
    fn next_attempt(
        &mut self,
        before: &PayerSessionRow,
        from: PartitionId,
        place: &PlaceHold,
    ) -> Result<Outcome, Refusal> {
        let resolved = (before.ask_at, before.session);
        let (attempt, hold_keys) = (before.attempt.saturating_add(1), before.hold_keys);
        let mut row = self.new_payer_row(from, place)?;
        (row.attempt, row.hold_keys) = (attempt, hold_keys);
        let answer = self.raise_hold(row, place)?;
        self.payers_resolved.remove(&resolved);
        Ok(answer)
    }

    fn raise_hold(
        &mut self,
        mut row: PayerSessionRow,
        place: &PlaceHold,
    ) -> Result<Outcome, Refusal> {
        if place.currency != row.bill_currency() {
            return Err(Refusal::CurrencyMismatch);
        }
        if row.holds > 0 && place.amount == 0 {
            return Ok(held(&row));
        }
        let clearing = self.open(crate::accounts::Name::Clearing(row.partition), row.currency)?;
        let place_before = place_of(&row);
        let wanted = in_wallet(row.fx.as_ref(), row.held + place.amount)?;
        let more = wanted.saturating_sub(place_before.held);
        self.hold_more(place_before, more, row.wallet, clearing)?;
        row.held += place.amount;
        row.holds += 1;
        row.hold_keys += 1;
        row.hold_expires = self.hold_expiry();
        let answer = held(&row);
        if !self.asking.contains(&row.session) {
            self.timers.insert((row.ask_at, Timer::AskSession(row.session)));
        }
        self.put_payer_row(row);
        Ok(answer)
    }

    fn release_hold(&mut self, from: PartitionId, session: SessionId, attempt: u32) {
        let row = match self.payers.get(&session).cloned() {
            // A release of a try before comes again.
            Some(row) if row.attempt > attempt => return,
            Some(row) if row.is_open() => {
                self.void_hold(place_of(&row), Purpose::PeerRelease, row.attempt);
                row
            }
            Some(_) => return,
            // The hold may still be on its way: it must find this.
            None => PayerSessionRow {
                fx: None,
                fx_owed: 0,
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
                attempt,
                hold_keys: 0,
                hold_expires: Timestamp::ZERO,
                billed: 0,
                adjusted: 0,
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
        if row.bill_currency() != currency || row.wallet == AccountId(0) {
            return Err(Refusal::CurrencyMismatch);
        }
        if amount > AMOUNT_MAX {
            return Err(Refusal::Full);
        }
        // A hold let go before finds nothing standing: all of it is owed.
        let owed = match self.capture(place_of(&row), &row, from, amount) {
            Ok(owed) => owed,
            Err(error) => {
                let text = format!("session {session}: the capture was not booked: {error}");
                self.except_driver(&text);
                return Err(Refusal::KeyReused);
            }
        };
        let taken = row.captured_of(amount, owed);
        let row = PayerSessionRow { billed: amount, fx_owed: owed, ..row };
        self.resolve(PayerSessionRow { captured: Some(taken), ..row });
        Ok(Outcome::Captured { amount: taken })
    }

    /// A payer row is over; it stays to answer repeats, as long as there is room.
    fn resolve(&mut self, row: PayerSessionRow) {
        assert!(!row.is_open(), "resolved by release or capture");
        let (session, asked_at) = (row.session, row.ask_at);
        self.timers.remove(&(asked_at, Timer::AskSession(session)));
        self.payers_resolved.remove(&(asked_at, session));
        let now = self.now();
        self.put_payer_row(PayerSessionRow { ask_at: now, ..row });
        self.remember_resolved(now, session);
    }

    /// A payer row is over.
    pub(crate) fn remember_resolved(&mut self, at: Timestamp, session: SessionId) {
        self.payers_resolved.insert((at, session));
    }

    /// Bounds the resolved rows in memory. To be called when they are written: the store keeps them all.
    pub(crate) fn forget_resolved(&mut self) {
        while self.payers_resolved.len() > self.config.finished_sessions_max {
            let Some((_, oldest)) = self.payers_resolved.pop_first() else { break };
            self.payers.remove(&oldest);
        }
    }

    /// What a payer row waits for, when it is read back.
    pub(crate) fn index_payer(&mut self, row: &PayerSessionRow) {
        if !row.is_open() {
            self.remember_resolved(row.ask_at, row.session);
        } else if !self.asking.contains(&row.session) {
            self.timers.insert((row.ask_at, Timer::AskSession(row.session)));
        }
    }

    /// In the station's partition: where a session stands. One never heard of never will be, by this
    /// try or one before.
    fn tell_session(&mut self, session: SessionId, attempt: u32) -> Outcome {
        if let Some(found) = self.sessions.get(&session) {
            return Outcome::Session { state: Some(found.row.state) };
        }
        match self.finished.get(session).map(|memory| (memory.tombstone, memory.state)) {
            Some((None, state)) => return Outcome::Session { state: Some(state) },
            Some((Some(last), _)) if last >= attempt => return Outcome::Session { state: None },
            // A later try: the mark moves with it.
            Some(_) | None => {}
        }
        let row = self.tombstone(session, attempt);
        self.finished.remember(&row, self.config.finished_sessions_max, false);
        self.write_closing(row);
        Outcome::Session { state: None }
    }

    /// A row that keeps an id from starting by this try or one before.
    pub(crate) fn tombstone(&self, session: SessionId, attempt: u32) -> SessionRow {
        let deal = Deal::of_nothing(Currency::EUR);
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
            meter_start: None,
            meter_last: WattHours(0),
            meter_low: None,
            meter_reset: WattHours(0),
            requested: self.now(),
            started: Timestamp::ZERO,
            ended: Timestamp::ZERO,
            heard: self.now(),
            charges: Charges::default(),
            reason: ASKED_BEFORE_KNOWN.into(),
            suspect: false,
            estimated: false,
            owed: 0,
            adjusted: 0,
            hold_attempt: attempt,
            marked: Timestamp::ZERO,
            hold_expires: Timestamp::ZERO,
            segments: Vec::new(),
            card_due: 0,
            free_since: Timestamp::ZERO,
        }
    }

    /// A hold is old: its session's partition is asked.
    pub(crate) fn ask_session(&mut self, session: SessionId) {
        let Some(row) = self.payers.get(&session).filter(|row| row.is_open()) else { return };
        let (to, attempt) = (row.partition, row.attempt);
        self.queue_peer(to, PeerCommand::AskSession { session, attempt });
    }

    /// Where that session stands.
    pub(crate) fn session_told(
        &mut self,
        session: SessionId,
        attempt: u32,
        state: Option<SessionState>,
    ) {
        let Some(row) = self.payers.get(&session).filter(|row| row.is_open()) else { return };
        match state {
            // The answer is about a try before this one.
            _ if row.attempt != attempt => self.ask_again(session),
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
                self.release_hold(from, session, attempt);
            }
            Some(_) => {
                self.renew_peer_hold(session);
                self.ask_again(session);
            }
        }
    }

    /// Window 17: the session lives, so its hold must not run out under it. What cannot be held anew is
    /// owed when the capture comes.
    fn renew_peer_hold(&mut self, session: SessionId) {
        let Some(row) = self.payers.get(&session).cloned() else { return };
        let left = self.config.hold_lifetime / 2;
        if row.held == 0 || row.hold_expires > self.now().saturating_add(left) {
            return;
        }
        let renewed = self
            .open(crate::accounts::Name::Clearing(row.partition), row.currency)
            .and_then(|clearing| {
                let place = place_of(&row);
                self.place_hold_anew(place, place.held, row.wallet, clearing)
            });
        match renewed {
            Ok(()) => {
                let (hold_keys, hold_expires) = (row.hold_keys + 1, self.hold_expiry());
                self.put_payer_row(PayerSessionRow { hold_keys, hold_expires, ..row });
            }
            Err(refusal) => {
                let text = format!(
                    "session {session}: its hold runs out and cannot be renewed: {refusal:?}"
                );
                self.except_driver(&text);
            }
        }
    }

    /// The session lives, or its capture is on the way: ask again later.
    pub(crate) fn ask_again(&mut self, session: SessionId) {
        let Some(row) = self.payers.get(&session).filter(|row| row.is_open()).cloned() else {
            return;
        };
        let ask_at = self.now().saturating_add(self.config.hold_check_after);
        self.timers.remove(&(row.ask_at, Timer::AskSession(session)));
        self.timers.insert((ask_at, Timer::AskSession(session)));
        self.put_payer_row(PayerSessionRow { ask_at, ..row });
    }
}

fn held(row: &PayerSessionRow) -> Outcome {
    let (driver, amount) = (row.driver.clone(), row.held);
    Outcome::Held { driver, amount, currency: row.bill_currency(), attempt: row.attempt }
}
