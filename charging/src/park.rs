//! Stops that name no transaction we know (windows 8 and 12).
//!
//! A 1.6 station whose start was never answered makes up a number for its stop. Such a stop is
//! matched by what the meter and the clock say, only where exactly one transaction fits; a stop that
//! nothing fits is kept at its station until its start comes, and shown to a person at once.
//!
//! **Invariants**: a stop is never matched to a transaction that began after it, or whose register
//! stands above it; the stops kept at a station are bounded, the oldest goes first.

use crate::command::{EndTransaction, Outcome, StartTransaction, TransactionRef};
use crate::finished::Past;
use crate::rows::{ParkedStop, SessionRow};
use crate::state::{State, StationNumber};
use novax_model::{Identity, SessionId, Timestamp, WattHours};

/// What a stop without a transaction may belong to.
enum Candidate {
    Running(SessionId),
    Estimated((Timestamp, SessionId)),
}

fn fits(row: &SessionRow, end: &EndTransaction, energy_max: WattHours) -> bool {
    let Some(stop) = end.meter_stop else { return false };
    let start = row.meter_start.unwrap_or(stop);
    let energy = i128::from(stop.0) - i128::from(start.0);
    matches!(row.transaction, Some(TransactionRef::V16(_)))
        && end.at >= row.started
        && stop >= row.meter_last
        && (0..=i128::from(energy_max.0)).contains(&energy)
}

/// Whether a finished transaction ended just so: the stop is told again.
fn is_repeat(past: &Past, end: &EndTransaction) -> bool {
    matches!(past.transaction, Some(TransactionRef::V16(_)))
        && past.ended == end.at
        && Some(past.meter_last) == end.meter_stop
}

impl State {
    /// Whether the station made this number up: we never gave it out.
    pub(crate) fn is_made_up(&self, station: StationNumber, transaction: &TransactionRef) -> bool {
        let next = self.station(station).row.next_transaction_id;
        matches!(transaction, TransactionRef::V16(id) if *id <= 0 || *id >= next)
    }

    /// The stop of a transaction whose number the station made up.
    pub(crate) fn end_made_up(
        &mut self,
        station: StationNumber,
        end: &EndTransaction,
    ) -> Option<Outcome> {
        if !self.is_made_up(station, &end.transaction) {
            return None;
        }
        let mut pasts = self.station(station).past.values().rev();
        if let Some(past) = pasts.find(|past| is_repeat(past, end)) {
            let (session, total, currency) = (past.session, past.total, past.currency);
            return Some(Outcome::Ended { session, total, currency });
        }
        let mut candidates = self.candidates(station, end);
        let (only, None) = (candidates.pop()?, candidates.pop()) else { return None };
        let session = match only {
            Candidate::Running(session) | Candidate::Estimated((_, session)) => session,
        };
        let text = format!(
            "session {session}: ended by a stop for transaction {}, the only one it fits by meter \
             and time",
            text_of(&end.transaction)
        );
        self.except(&end.identity, &text);
        Some(match only {
            Candidate::Running(id) => self.end_open(id, end),
            Candidate::Estimated(key) => self.end_finished(station, key, end),
        })
    }

    fn candidates(&self, station: StationNumber, end: &EndTransaction) -> Vec<Candidate> {
        let here = self.station(station);
        let energy_max = self.config.session_energy_max;
        let live = here.live.keys().filter_map(|id| self.sessions.get(id));
        let running = live
            .filter(|session| fits(&session.row, end, energy_max))
            .map(|session| Candidate::Running(session.row.session));
        let estimated = here
            .past
            .awaiting()
            .filter(|(_, row)| row.estimated && fits(row, end, energy_max))
            .map(|(key, _)| Candidate::Estimated(*key));
        running.chain(estimated).collect()
    }

    /// Keeps a stop that no session has, and shows it to a person.
    pub(crate) fn park(
        &mut self,
        station: Option<StationNumber>,
        end: &EndTransaction,
        why: &str,
    ) -> Outcome {
        if let Some(station) = station {
            let named = matches!(end.transaction, TransactionRef::V201(_));
            if (named || self.is_made_up(station, &end.transaction))
                && !self.keep_stop(station, end)
            {
                return Outcome::Parked;
            }
        }
        let register = match end.meter_stop {
            Some(register) => format!("at {register}"),
            None => "without a register".to_owned(),
        };
        let identity: &Identity = &end.identity;
        let text = format!("stop of transaction {} {register}: {why}", text_of(&end.transaction));
        self.except(identity, &text);
        Outcome::Parked
    }

    /// Whether the stop was not kept before.
    fn keep_stop(&mut self, station: StationNumber, end: &EndTransaction) -> bool {
        let stop = ParkedStop {
            transaction: end.transaction.clone(),
            meter_stop: end.meter_stop,
            at: end.at,
            reason: end.reason.clone(),
            signed: end.signed.clone().filter(|signed| signed.fits()),
        };
        if self.station(station).row.parked.contains(&stop) {
            return false;
        }
        let max = self.config.parked_per_station_max;
        let parked = &mut self.touch_station(station).parked;
        parked.push(stop);
        let over = parked.len().saturating_sub(max);
        parked.drain(..over);
        true
    }

    /// Window 12: the start has come; its stop may be here already.
    pub(crate) fn pair_parked(
        &mut self,
        station: StationNumber,
        start: &StartTransaction,
        transaction: &TransactionRef,
    ) {
        let energy_max = self.config.session_energy_max;
        let parked = self.station(station).row.parked.iter().enumerate();
        let of_this = parked.filter(|(_, stop)| match transaction {
            TransactionRef::V201(_) => stop.transaction == *transaction,
            TransactionRef::V16(_) => is_stop_of(stop, start, energy_max),
        });
        let Some((place, _)) = of_this.min_by_key(|(_, stop)| stop.at) else { return };
        let stop = self.touch_station(station).parked.remove(place);
        let text = format!(
            "stop of transaction {}: paired with its start, which came later",
            text_of(&stop.transaction)
        );
        self.except(&start.identity, &text);
        let end = EndTransaction {
            identity: start.identity.clone(),
            transaction: transaction.clone(),
            meter_stop: stop.meter_stop,
            at: stop.at,
            reason: stop.reason,
            signed: stop.signed,
        };
        self.end_transaction(&end);
    }
}

/// Whether a kept stop with a made-up number is that of a 1.6 transaction that began so.
fn is_stop_of(stop: &ParkedStop, start: &StartTransaction, energy_max: WattHours) -> bool {
    let (Some(stopped), Some(started)) = (stop.meter_stop, start.meter_start) else { return false };
    let energy = i128::from(stopped.0) - i128::from(started.0);
    matches!(stop.transaction, TransactionRef::V16(_))
        && stop.at > start.at
        && energy > 0
        && energy <= i128::from(energy_max.0)
}

pub(crate) fn text_of(transaction: &TransactionRef) -> String {
    match transaction {
        TransactionRef::V16(id) => id.to_string(),
        TransactionRef::V201(id) => id.to_string(),
    }
}
