//! What is remembered of sessions that are over.
//!
//! Stations repeat stops and starts, apps repeat requests: each repeat gets the first answer. Two
//! memories, both bounded, both rebuilt from session rows in the order of `(heard, session)`, which
//! is the order in which sessions finish:
//! * by session id, across the partition ([`Finished`])
//! * the last transactions of each station ([`Past`], kept at the station)

use crate::command::Refusal;
use crate::command::TransactionRef;
use crate::refusal::refusal_of_text;
use crate::rows::{Segment, SessionRow, SessionState};
use novax_model::{Amount, ConnectorRef, Currency, SessionId, Timestamp, TokenUid, WattHours};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Reason of a session that was stopped before it began.
pub(crate) const CANCELLED: &str = "cancelled";
/// Reason of a session whose stop never came.
pub(crate) const CLOSED_BY_NEXT_START: &str = "closed by the next start on its connector";
/// Reason of a session that nothing was heard of any more.
pub(crate) const CLOSED_BY_SILENCE: &str = "nothing was heard of it for too long";
/// Reason of the row that keeps an id from ever starting.
pub(crate) const ASKED_BEFORE_KNOWN: &str = "the payer asked before it was known";

/// A finished session, as its station may refer to it.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) session: SessionId,
    pub(crate) transaction: Option<TransactionRef>,
    pub(crate) connector: ConnectorRef,
    pub(crate) token: TokenUid,
    pub(crate) app: bool,
    pub(crate) remote_start_id: i32,
    pub(crate) requested: Timestamp,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) meter_start: Option<WattHours>,
    pub(crate) meter_last: WattHours,
    pub(crate) cancelled: bool,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) total: Amount,
    pub(crate) currency: Currency,
    /// The transactions of a session that went on after losses of power.
    pub(crate) segments: Vec<Segment>,
    /// A transaction that the station may still end, refused or billed by estimate: its row, to be
    /// completed then.
    pub(crate) awaits_stop: Option<Box<SessionRow>>,
}

impl Past {
    pub(crate) fn of(row: &SessionRow) -> Past {
        let refused = row.state == SessionState::Refused;
        let open = (refused && row.ended == Timestamp::ZERO) || row.estimated;
        Past {
            session: row.session,
            transaction: row.transaction.clone(),
            connector: row.connector,
            token: row.token.clone(),
            app: row.app,
            remote_start_id: row.remote_start_id,
            requested: row.requested,
            started: row.started,
            ended: row.ended,
            meter_start: row.meter_start,
            meter_last: row.meter_last,
            cancelled: row.state == SessionState::Rejected && &*row.reason == CANCELLED,
            refusal: refused.then(|| refusal_of_text(&row.reason)),
            total: if is_billed(row) { row.charges.total() } else { 0 },
            currency: row.deal.currency,
            segments: row.segments.clone(),
            awaits_stop: open.then(|| Box::new(row.clone())),
        }
    }

    /// Whether the station called it so, at some time.
    pub(crate) fn is_named(&self, transaction: &TransactionRef) -> bool {
        self.transaction.as_ref() == Some(transaction)
            || self.segments.iter().any(|segment| segment.transaction == *transaction)
    }
}

/// Whether a session's charges are in the books.
pub(crate) fn is_billed(row: &SessionRow) -> bool {
    match row.state {
        SessionState::Settling | SessionState::Settled => true,
        // It delivered energy all the same, and its driver owes that.
        SessionState::Refused => row.charges.total() > 0,
        _ => false,
    }
}

/// The 1.6 number of a transaction; 0 for 2.x, which names its own.
pub(crate) fn transaction_id(transaction: Option<&TransactionRef>) -> i32 {
    match transaction {
        Some(TransactionRef::V16(id)) => *id,
        Some(TransactionRef::V201(_)) | None => 0,
    }
}

/// What is remembered of a finished session by its id alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) payload_hash: u64,
    pub(crate) state: SessionState,
    pub(crate) transaction_id: i32,
    pub(crate) heard: Timestamp,
    /// Nothing but a mark: no try up to this one may start the id.
    pub(crate) tombstone: Option<u32>,
    /// Its station remembers it too: kept until that forgets it, so that no id that a station
    /// still refers to is opened a second time.
    in_past: bool,
    /// No longer among the newest of the partition.
    aged: bool,
    /// Here for this entry alone.
    recalled: bool,
}

impl Memory {
    fn of(row: &SessionRow) -> Memory {
        let is_mark = row.state == SessionState::Refused && &*row.reason == ASKED_BEFORE_KNOWN;
        Memory {
            payload_hash: row.payload_hash,
            state: row.state,
            transaction_id: transaction_id(row.transaction.as_ref()),
            heard: row.heard,
            tombstone: is_mark.then_some(row.hold_attempt),
            in_past: false,
            aged: false,
            recalled: false,
        }
    }
}

/// Finished sessions by id, the newest ones.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    by_id: BTreeMap<SessionId, Memory>,
    oldest_first: BTreeSet<(Timestamp, SessionId)>,
    /// Sessions of which this entry needs to know.
    recalled: Vec<SessionId>,
    recent: BTreeMap<SessionId, Box<SessionRow>>,
    recent_order: VecDeque<SessionId>,
}

impl Finished {
    pub(crate) fn get(&self, session: SessionId) -> Option<&Memory> {
        self.by_id.get(&session)
    }

    /// A full row, if it finished lately. For readers; `apply` must not depend on it.
    pub(crate) fn recent(&self, session: SessionId) -> Option<&SessionRow> {
        self.recent.get(&session).map(|row| &**row)
    }

    /// Remembers a row; `in_past` when its station does too.
    pub(crate) fn remember(&mut self, row: &SessionRow, max: usize, in_past: bool) {
        let memory = Memory { in_past, ..Memory::of(row) };
        if row.marked > Timestamp::ZERO {
            self.oldest_first.remove(&(row.marked, row.session));
        }
        if let Some(before) = self.by_id.insert(row.session, memory) {
            assert!(before.tombstone.is_some(), "only a mark is replaced by a session");
            self.oldest_first.remove(&(before.heard, row.session));
        }
        self.keep_place(row.heard, row.session, max);
    }

    /// Takes one back that was forgotten, until [`Finished::forget_recalled`].
    pub(crate) fn recall(&mut self, row: &SessionRow) {
        let memory = Memory { recalled: true, ..Memory::of(row) };
        let before = self.by_id.insert(row.session, memory);
        assert!(before.is_none(), "what is remembered is not recalled");
        self.recalled.push(row.session);
    }

    pub(crate) fn forget_recalled(&mut self) {
        for session in self.recalled.drain(..) {
            if self.by_id.get(&session).is_some_and(|memory| memory.recalled) {
                self.by_id.remove(&session);
            }
        }
    }

    /// Takes a place among the newest; the oldest give way.
    pub(crate) fn keep_place(&mut self, at: Timestamp, session: SessionId, max: usize) {
        self.oldest_first.insert((at, session));
        while self.oldest_first.len() > max {
            let Some((_, session)) = self.oldest_first.pop_first() else { break };
            match self.by_id.get_mut(&session) {
                Some(memory) if memory.in_past => memory.aged = true,
                _ => {
                    self.by_id.remove(&session);
                }
            }
        }
        assert!(self.oldest_first.len() <= max, "memory is bounded");
    }

    /// A later try of an id opens its session: the mark is gone with its row. Says when it was made, for
    /// its place among the newest stays taken until the session is over: what was forgotten for it
    /// must not be remembered after a restart.
    pub(crate) fn unmark(&mut self, session: SessionId) -> Timestamp {
        let Some(memory) = self.by_id.remove(&session) else { return Timestamp::ZERO };
        assert!(memory.tombstone.is_some(), "only a mark gives way to a session");
        if memory.recalled { Timestamp::ZERO } else { memory.heard }
    }

    /// A station has forgotten a session.
    pub(crate) fn leave_past(&mut self, session: SessionId) {
        let Some(memory) = self.by_id.get_mut(&session) else { return };
        memory.in_past = false;
        if memory.aged {
            self.by_id.remove(&session);
        }
    }

    pub(crate) fn keep_recent(&mut self, row: Box<SessionRow>, max: usize) {
        let session = row.session;
        if self.recent.insert(session, row).is_none() {
            self.recent_order.push_back(session);
        }
        while self.recent_order.len() > max {
            let Some(session) = self.recent_order.pop_front() else { break };
            self.recent.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PartitionConfig;
    use crate::state::State;
    use novax_model::Identity;

    /// Finished sessions of one station, `count` of them, one a microsecond.
    fn finish(state: &mut State, station: u32, ids: std::ops::Range<u128>) {
        for id in ids {
            let mut row = state.tombstone(SessionId(id), 0);
            row.state = SessionState::Expired;
            row.heard = Timestamp(u64::try_from(id).unwrap());
            state.remember(station, &row);
        }
    }

    fn state() -> State {
        let config = PartitionConfig {
            finished_sessions_max: 5,
            finished_per_station_max: 3,
            ..PartitionConfig::default()
        };
        let mut state = State::new(config);
        for name in ["CP1", "CP2"] {
            let identity = Identity::new(name).unwrap();
            let site = Identity::new("garage").unwrap();
            let number = state.meta.next_station;
            state.meta.next_station += 1;
            state.add_station(crate::provision::new_station(identity, number, site, None));
        }
        state
    }

    #[test]
    fn memories_are_bounded() {
        let mut state = state();
        finish(&mut state, 0, 1..100);
        assert_eq!(state.station(0).past.len(), 3);
        assert_eq!(state.finished.by_id.len(), 5);
        assert!(state.finished.get(SessionId(95)).is_some(), "the fifth newest");
        assert!(state.finished.get(SessionId(94)).is_none());
    }

    #[test]
    fn what_a_station_may_refer_to_is_known_however_old() {
        let mut state = state();
        finish(&mut state, 0, 1..4);
        finish(&mut state, 1, 10..100);
        assert!(state.finished.get(SessionId(1)).is_some(), "still among its station's last three");
        finish(&mut state, 0, 100..101);
        assert!(state.finished.get(SessionId(1)).is_none(), "forgotten by both");
        assert_eq!(state.finished.by_id.len(), 5 + 2);
    }
}
