//! Sessions paid by card: what their payment providers are asked, and what follows from the answers.
//!
//! A session's books hold against the provider's account what its provider reserved, or was asked to
//! reserve first. Its bill takes of that; then the provider is asked to take it from the card. What the
//! card does not give after all is owed by the driver; what was reserved and is not needed is given
//! back.
//!
//! **Invariants**: nothing is asked of a provider but by an outbox row, and nothing of a payment whose
//! authorisation has no answer; each authorisation is captured or voided at most once; a session is
//! settled only when nothing it asked to be taken is without an answer; nothing is remembered here of
//! a session that is over and waits for nothing.

use crate::accounts::{Name, Purpose};
use crate::command::Refusal;
use crate::money::{Debtor, place_of, words};
use crate::payment::{
    AUTHORISATION_GONE, Card, NOT_SUPPORTED, PAYMENTS_PER_SESSION_MAX, PaymentAnswer, PaymentKind,
    PaymentRow, PaymentState, operation_id,
};
use crate::refusal::refusal_text;
use crate::rows::{OutboxKind, Payer, SessionState};
use crate::state::State;
use crate::timers::Timer;
use novax_ledger::{Code, Leg};
use novax_model::{Amount, SessionId, Timestamp};

/// One thing more to be asked for a session.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) kind: PaymentKind,
    /// The authorisation it acts on; `None` for a new one.
    pub(crate) of: Option<u32>,
    pub(crate) renews: bool,
    pub(crate) amount: Amount,
}

/// Whether the operation changes what is reserved.
fn reserves(row: &PaymentRow) -> bool {
    matches!(row.kind, PaymentKind::Authorise | PaymentKind::Increment)
}

/// What is reserved under an authorisation, by the provider's word.
fn reserved(rows: &[PaymentRow], of: u32) -> Amount {
    let answered = rows
        .iter()
        .filter(|row| reserves(row) && row.of == of && row.state == PaymentState::Succeeded);
    answered.map(|row| row.moved.min(row.amount)).max().unwrap_or(0)
}

/// Whether an authorisation was neither captured nor given back, nor asked to be.
fn is_standing(rows: &[PaymentRow], of: u32) -> bool {
    let ends = |row: &PaymentRow| matches!(row.kind, PaymentKind::Capture | PaymentKind::Void);
    !rows.iter().any(|row| row.of == of && ends(row))
}

/// Authorisations that succeeded and stand, oldest first, and what is reserved under each.
fn standing(rows: &[PaymentRow]) -> Vec<(u32, Amount)> {
    let all = rows.iter().filter(|row| {
        row.kind == PaymentKind::Authorise
            && row.state == PaymentState::Succeeded
            && is_standing(rows, row.number)
    });
    all.map(|row| (row.number, reserved(rows, row.number))).collect()
}

/// What the books hold against the provider: what is reserved, or was asked for first.
fn secured(rows: &[PaymentRow]) -> Amount {
    let first = rows.first().filter(|row| row.state.is_open()).map_or(0, |row| row.amount);
    standing(rows).into_iter().map(|(_, amount)| amount).sum::<Amount>() + first
}

impl State {
    /// Asks the provider of a session's card for one thing more.
    pub(crate) fn ask_provider(&mut self, session: SessionId, asked: Asked) {
        let rows = self.cards.get(&session).expect("the first authorisation is there");
        let first = rows.first().expect("the first authorisation is there").clone();
        let number = u32::try_from(rows.len()).expect("bounded");
        let of = asked.of.unwrap_or(number);
        let payment = rows.get(of as usize).and_then(|row| row.payment.clone());
        assert!(asked.of.is_none() || payment.is_some(), "only a payment with a name is acted on");
        self.queue_payment(PaymentRow {
            number,
            operation: operation_id(session, number),
            kind: asked.kind,
            of,
            renews: asked.renews,
            present: false,
            amount: asked.amount,
            state: PaymentState::Asked,
            moved: 0,
            reference: None,
            payment,
            code: 0,
            words: "".into(),
            challenge: None,
            at: self.now(),
            changed: self.now(),
            outbox: 0,
            ..first
        });
    }

    fn queue_payment(&mut self, mut row: PaymentRow) {
        row.outbox = self.meta.next_outbox;
        let payment = Box::new(row.clone());
        let outbox = self.add_outbox_row(OutboxKind::Payment { payment }, Timestamp::MAX);
        assert_eq!(outbox, row.outbox, "the row knows what carries it");
        self.put_payment_row(row);
    }

    /// The card of a session that was just opened is asked for what the books hold.
    pub(crate) fn authorise_first(&mut self, id: SessionId, card: Card, present: bool) {
        let row = &self.sessions.get(&id).expect("just opened").row;
        if row.held == 0 {
            return;
        }
        let driver = row.driver.clone().expect("a card has an owner");
        let (amount, currency) = (row.held, row.deal.currency);
        self.queue_payment(PaymentRow {
            session: id,
            number: 0,
            operation: operation_id(id, 0),
            kind: PaymentKind::Authorise,
            of: 0,
            renews: false,
            driver,
            card,
            present,
            amount,
            currency,
            state: PaymentState::Asked,
            moved: 0,
            reference: None,
            payment: None,
            code: 0,
            words: "".into(),
            challenge: None,
            at: self.now(),
            changed: self.now(),
            outbox: 0,
        });
    }

    /// A provider answered. An answer to what was answered changes nothing.
    pub(crate) fn payment_answered(
        &mut self,
        session: SessionId,
        number: u32,
        answer: PaymentAnswer,
    ) {
        let known = self.cards.get(&session).and_then(|rows| rows.get(number as usize));
        let Some(mut row) = known.filter(|row| !row.state.is_definite()).cloned() else { return };
        row.changed = self.now();
        match answer {
            PaymentAnswer::Pending { reference, challenge } => {
                let is_news = row.reference.as_ref() != Some(&reference)
                    || row.challenge != challenge
                    || row.state == PaymentState::Asked;
                if row.state.is_open() && is_news {
                    row.state = PaymentState::Pending;
                    row.reference = Some(reference);
                    row.challenge = challenge;
                    self.put_payment_row(row);
                }
                return;
            }
            PaymentAnswer::Unknown if row.state == PaymentState::Unknown => return,
            PaymentAnswer::Unknown => row.state = PaymentState::Unknown,
            PaymentAnswer::Declined { code, words } => {
                row.state = PaymentState::Declined;
                (row.code, row.words) = (code, words);
            }
            PaymentAnswer::Succeeded { reference, amount } => {
                row.state = PaymentState::Succeeded;
                row.moved = amount;
                if row.kind == PaymentKind::Authorise {
                    row.payment = Some(reference.clone());
                }
                row.reference = Some(reference);
            }
        }
        row.challenge = None;
        self.remove_outbox_row(row.outbox);
        self.put_payment_row(row.clone());
        match row.kind {
            PaymentKind::Authorise | PaymentKind::Increment => self.reservation_answered(&row),
            PaymentKind::Capture => self.capture_of_card_answered(&row),
            PaymentKind::Void => self.void_answered(&row),
            PaymentKind::Refund => self.refund_answered(&row),
        }
    }

    fn reservation_answered(&mut self, row: &PaymentRow) {
        let (id, succeeded) = (row.session, row.state == PaymentState::Succeeded);
        match self.sessions.get(&id).map(|found| found.row.state) {
            // It is over, and was told to be: nothing of it is needed any more.
            None => self.give_back(id),
            Some(SessionState::Settling) => self.collect(id, row.number),
            Some(_) if succeeded => self.reserved_more(row),
            Some(state) => self.not_reserved(row, state),
        }
    }

    /// A provider has reserved money for a session that lives.
    fn reserved_more(&mut self, row: &PaymentRow) {
        let id = row.session;
        if row.renews {
            let rows = self.cards.get(&id).expect("just answered");
            let earlier = standing(rows).into_iter().filter(|(of, _)| *of < row.number);
            for (of, _) in earlier.collect::<Vec<_>>() {
                self.ask_void(id, of);
            }
        }
        self.sync_hold(id, row.renews);
        let state = self.sessions.get(&id).map(|found| found.row.state);
        if state == Some(SessionState::Authorising) {
            self.start_paid(id);
        }
    }

    /// A card did not give what a session that lives asked of it.
    fn not_reserved(&mut self, row: &PaymentRow, state: SessionState) {
        let id = row.session;
        let refusal = match row.state {
            PaymentState::Unknown => Refusal::PaymentUnanswered,
            _ => Refusal::PaymentDeclined,
        };
        if state == SessionState::Authorising {
            return self.abandon(id, SessionState::Refused, &refusal_text(&refusal));
        }
        if row.kind == PaymentKind::Increment && row.code == NOT_SUPPORTED {
            let rows = self.cards.get(&id).expect("just answered");
            let more = row.amount.saturating_sub(reserved(rows, row.of));
            return self.authorise_more(id, more);
        }
        self.sync_hold(id, false);
        if row.renews {
            self.hold_placed(id, Timestamp::ZERO);
            let text = format!("session {id}: its card's reservation runs out and is not renewed");
            self.except_driver(&text);
        }
        if matches!(state, SessionState::Starting | SessionState::StartAccepted) {
            return;
        }
        self.stop_unpaid(id, &refusal);
    }

    /// Brings what the books hold to what the provider reserved.
    fn sync_hold(&mut self, id: SessionId, anew: bool) {
        let target = self.cards.get(&id).map_or(0, |rows| secured(rows));
        let Some(found) = self.sessions.get(&id) else { return };
        let (place, currency) = (place_of(&found.row), found.row.deal.currency);
        let Payer::Card(psp) = found.row.payer else { return };
        if target == place.held && !anew {
            return;
        }
        if target == 0 {
            self.void_hold(place, Purpose::Release, 0);
            if let Some(row) = self.touch_session(id) {
                row.held = 0;
            }
            return;
        }
        let placed = self
            .open(self.clearing_with_self(), currency)
            .and_then(|clearing| self.place_hold_anew(place, target, psp, clearing));
        match placed {
            Ok(()) => {
                if let Some(row) = self.touch_session(id) {
                    row.held = target;
                    row.holds += 1;
                }
                if anew {
                    self.hold_placed(id, self.hold_expiry());
                }
            }
            Err(refusal) => {
                let text = format!("session {id}: {target} reserved and not held: {refusal:?}");
                let session = self.sessions.get(&id).expect("the caller found it");
                let identity = session.row.identity.clone();
                self.except(&identity, &text);
            }
        }
    }

    /// The card of an app's session is good for it: now the station is asked.
    fn start_paid(&mut self, id: SessionId) {
        let found = self.sessions.get(&id).expect("the caller found it");
        let (station, before) = (found.station, self.start_deadline(&found.row));
        let now = self.now();
        let row = self.touch_session(id).expect("found above");
        row.state = SessionState::Starting;
        row.heard = now;
        let row = row.clone();
        let deadline = self.start_deadline(&row);
        self.timers.remove(&(before, Timer::Start(id)));
        self.timers.insert((deadline, Timer::Start(id)));
        self.queue_remote_start(station, &row, deadline);
    }

    /// A session that was asked for has taken too long to begin.
    pub(crate) fn start_timed_out(&mut self, id: SessionId) {
        let state = self.sessions.get(&id).map(|found| found.row.state);
        if state == Some(SessionState::Authorising) {
            let text = refusal_text(&Refusal::PaymentUnanswered);
            return self.abandon(id, SessionState::Refused, &text);
        }
        self.abandon(id, SessionState::Expired, "no transaction came in time");
    }

    /// Charges near what is reserved: the provider is asked for more, one thing at a time.
    pub(crate) fn raise_card(&mut self, id: SessionId, more: Amount) {
        let Some(rows) = self.cards.get(&id) else { return };
        if rows.iter().any(|row| reserves(row) && row.state.is_open()) {
            return;
        }
        if rows.len() >= PAYMENTS_PER_SESSION_MAX {
            return self.stop_unpaid(id, &Refusal::Full);
        }
        let cannot = |row: &PaymentRow| {
            row.kind == PaymentKind::Increment && row.state == PaymentState::Declined
        };
        match standing(rows).last().copied() {
            Some((of, amount)) if !rows.iter().any(cannot) => {
                let kind = PaymentKind::Increment;
                let amount = amount + more;
                self.ask_provider(id, Asked { kind, of: Some(of), renews: false, amount });
            }
            _ => self.authorise_more(id, more),
        }
    }

    fn authorise_more(&mut self, id: SessionId, amount: Amount) {
        let kind = PaymentKind::Authorise;
        self.ask_provider(id, Asked { kind, of: None, renews: false, amount });
    }

    /// Window 17: what was reserved lapses after some days: it is reserved anew before.
    pub(crate) fn renew_authorisation(&mut self, id: SessionId) {
        let Some(found) = self.sessions.get(&id) else { return };
        let amount = found.row.held;
        let rows = self.cards.get(&id).map_or(0, Vec::len);
        if amount == 0 || rows == 0 || rows >= PAYMENTS_PER_SESSION_MAX {
            return self.hold_placed(id, Timestamp::ZERO);
        }
        let kind = PaymentKind::Authorise;
        self.ask_provider(id, Asked { kind, of: None, renews: true, amount });
    }

    /// Whether a reservation is being renewed.
    pub(crate) fn is_renewing(&self, id: SessionId) -> bool {
        let rows = self.cards.get(&id).map_or(&[][..], Vec::as_slice);
        rows.iter().any(|row| row.renews && row.state.is_open())
    }

    fn ask_void(&mut self, id: SessionId, of: u32) {
        let kind = PaymentKind::Void;
        self.ask_provider(id, Asked { kind, of: Some(of), renews: false, amount: 0 });
    }

    /// What is reserved for a session that is over and bills nothing is given back.
    pub(crate) fn give_back(&mut self, id: SessionId) {
        let Some(rows) = self.cards.get(&id) else { return };
        for (of, _) in standing(rows) {
            self.ask_void(id, of);
        }
    }

    fn void_answered(&mut self, row: &PaymentRow) {
        if row.state == PaymentState::Succeeded || row.code == AUTHORISATION_GONE {
            return;
        }
        let id = row.session;
        let text = format!("session {id}: its card's money may still be reserved: {}", row.words);
        self.except_driver(&text);
    }

    /// The bill is booked: the card is to give what the books took of its provider.
    pub(crate) fn begin_collecting(&mut self, id: SessionId) {
        let row = self.touch_session(id).expect("the caller billed it");
        row.state = SessionState::Settling;
        row.card_due = row.charges.total() - row.owed;
        self.collect(id, 0);
    }

    /// Takes what is due from what is reserved, gives the rest back, and settles the session once
    /// nothing is without an answer. `trigger` is the operation whose answer led here.
    fn collect(&mut self, id: SessionId, trigger: u32) {
        let rows = self.cards.get(&id).cloned().unwrap_or_default();
        if rows.iter().any(|row| reserves(row) && row.state.is_open()) {
            return;
        }
        let asked = rows.iter().filter(|row| row.kind == PaymentKind::Capture);
        let asked: Amount = asked
            .map(|row| match row.state {
                PaymentState::Succeeded => row.moved.min(row.amount),
                PaymentState::Declined => 0,
                _ => row.amount,
            })
            .sum();
        let due = self.sessions.get(&id).map_or(0, |found| found.row.card_due);
        let mut left = due.checked_sub(asked).expect("no more is asked for than is due");
        for (of, amount) in standing(&rows) {
            let amount = amount.min(left);
            left -= amount;
            if amount == 0 {
                self.ask_void(id, of);
            } else {
                let kind = PaymentKind::Capture;
                self.ask_provider(id, Asked { kind, of: Some(of), renews: false, amount });
            }
        }
        if left > 0 {
            self.leave_uncaptured(id, trigger, left);
        }
        let rows = self.cards.get(&id).map_or(&[][..], Vec::as_slice);
        let waits = |row: &PaymentRow| row.kind == PaymentKind::Capture && row.state.is_open();
        if !rows.iter().any(waits) {
            self.finish(id, SessionState::Settled);
        }
    }

    fn capture_of_card_answered(&mut self, row: &PaymentRow) {
        let id = row.session;
        let moved = match row.state {
            PaymentState::Succeeded => row.moved,
            _ => 0,
        };
        if moved != row.amount {
            let (amount, state) = (row.amount, row.state.as_str());
            let text = format!(
                "session {id}: its card was to give {amount} and gave {moved} ({state}): {}",
                row.words
            );
            self.except_driver(&text);
        }
        if !self.sessions.contains_key(&id) {
            // It was given up as unknown, and the session settled; the truth comes late.
            let missing = row.amount.saturating_sub(moved);
            if row.state.is_definite() && missing > 0 {
                self.book_uncaptured(row, missing);
            }
            return;
        }
        if row.state == PaymentState::Unknown
            && let Some(session) = self.touch_session(id)
        {
            session.suspect = true;
        }
        self.collect(id, row.number);
    }

    /// Window 18: what a card did not give is owed; who earned it keeps it.
    fn leave_uncaptured(&mut self, id: SessionId, trigger: u32, amount: Amount) {
        let rows = self.cards.get(&id).expect("something was asked for");
        let at = (trigger as usize).min(rows.len() - 1);
        let row = rows[at].clone();
        if self.book_uncaptured(&row, amount)
            && let Some(session) = self.touch_session(id)
        {
            session.owed += amount;
            session.card_due -= amount;
        }
    }

    fn book_uncaptured(&mut self, row: &PaymentRow, amount: Amount) -> bool {
        let id = row.session;
        let key = Purpose::Uncaptured.key(id, row.number);
        let booked = self
            .open(Name::Psp(&row.card.provider), row.currency)
            .map_err(|refusal| words(&refusal))
            .and_then(|psp| {
                let debtor = Debtor { wallet: psp, driver: Some(&row.driver) };
                let debit = self.receivable(debtor)?;
                let leg = Leg::Post { debit, credit: psp, amount, code: Code::Receivable };
                self.post_new(self.now(), key, &[leg])
            });
        match &booked {
            Ok(()) => self.note_owed(id, Some(&row.driver), amount),
            Err(error) => {
                let text = format!("session {id}: {amount} not given and not booked: {error}");
                self.except_driver(&text);
            }
        }
        booked.is_ok()
    }

    /// Forgets the payments of sessions that are over and wait for nothing; the store keeps them.
    pub(crate) fn forget_cards(&mut self) {
        for id in std::mem::take(&mut self.cards_touched) {
            let waits = |rows: &Vec<PaymentRow>| rows.iter().any(|row| !row.state.is_definite());
            if !self.sessions.contains_key(&id) && !self.cards.get(&id).is_some_and(waits) {
                self.cards.remove(&id);
            }
        }
    }
}
