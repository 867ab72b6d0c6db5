//! What the hub can order, whichever version it is said in.

use super::message::{Context, Message, Setting, StopReason, TransactionKind};
use super::settings::{self, Change};
use super::state::{Awaits, Charger, Phase, Restart};
use crate::fleet::limits::{Limit, Scope};

/// The answer to most orders, in words that both versions share.
pub(super) type Word = &'static str;

const ACCEPTED: Word = "Accepted";
const REJECTED: Word = "Rejected";

impl Charger {
    /// Starts at a connector, or at the first that is free.
    pub(super) fn order_start(
        &mut self,
        evse: Option<u16>,
        token: &str,
        remote_start_id: Option<i32>,
    ) -> (Word, Option<usize>) {
        let may = |at: usize| {
            let connector = &self.connectors[at];
            connector.operative
                && match &connector.phase {
                    Phase::Free { .. } => true,
                    Phase::Waiting { awaits, .. } => *awaits != Awaits::Authorization,
                    Phase::Charging(_) | Phase::Parked { .. } => false,
                }
        };
        let found = match evse {
            Some(evse) => self.index(evse).filter(|at| may(*at)),
            None => (0..self.connectors.len()).find(|at| may(*at)),
        };
        match found {
            Some(at) if self.restart.is_none() => {
                self.start_session(at, token.to_owned(), remote_start_id, true);
                (ACCEPTED, Some(at))
            }
            _ => (REJECTED, None),
        }
    }

    pub(super) fn order_stop(&mut self, transaction: &str) -> Word {
        let Some(at) = self.find_transaction(transaction) else { return REJECTED };
        self.end_session(at, StopReason::Remote);
        ACCEPTED
    }

    /// A restart; the newest order counts.
    pub(super) fn order_reset(&mut self, restart: Restart) -> Word {
        self.restart = Some(restart);
        ACCEPTED
    }

    /// Takes a connector, or with 0 all, in or out of service.
    pub(super) fn order_availability(&mut self, evse: u16, operative: bool) -> Word {
        if evse != 0 && self.index(evse).is_none() {
            return REJECTED;
        }
        let mut busy = false;
        for connector in &mut self.connectors {
            if evse == 0 || connector.evse == evse {
                connector.operative = operative;
                busy |= !matches!(connector.phase, Phase::Free { .. });
            }
        }
        // Out of service once the vehicle has left.
        if busy && !operative { "Scheduled" } else { ACCEPTED }
    }

    /// Lets a cable go; in 1.6 that ends the transaction. `None`: there is no such connector.
    pub(super) fn order_unlock(&mut self, evse: u16) -> Option<()> {
        let at = self.index(evse)?;
        if matches!(self.connectors[at].phase, Phase::Charging(_)) {
            self.end_session(at, StopReason::Unlock);
        }
        Some(())
    }

    /// Whether a transaction runs there.
    pub(super) fn is_charging(&self, evse: u16) -> bool {
        self.index(evse).is_some_and(|at| matches!(self.connectors[at].phase, Phase::Charging(_)))
    }

    /// Sends what was asked for, for one connector or all.
    pub(super) fn order_trigger(&mut self, message: &str, evse: Option<u16>) -> Word {
        let evse = evse.filter(|evse| *evse != 0);
        let which: Vec<usize> = match evse {
            None => (0..self.connectors.len()).collect(),
            Some(evse) => match self.index(evse) {
                Some(at) => vec![at],
                None => return REJECTED,
            },
        };
        match message {
            "BootNotification" => self.enqueue(Message::Boot),
            "Heartbeat" => self.enqueue(Message::Heartbeat),
            "StatusNotification" => which.into_iter().for_each(|at| self.tell(at)),
            "MeterValues" | "TransactionEvent" => {
                for at in which {
                    match self.connectors[at].phase {
                        Phase::Charging(_) => {
                            let flow = self.flow(at);
                            self.say(at, TransactionKind::Meter(flow), Context::Trigger);
                        }
                        _ if message == "MeterValues" => self.reading(at),
                        _ => {}
                    }
                }
            }
            _ => return "NotImplemented",
        }
        ACCEPTED
    }

    /// Takes a limit. A transaction's needs the transaction.
    pub(super) fn order_limit(
        &mut self,
        evse: u16,
        scope: Scope,
        transaction: Option<&str>,
        limit: Option<Limit>,
    ) -> Word {
        let (Some(limit), at) = (limit, self.index(evse)) else { return REJECTED };
        match (scope, at) {
            (Scope::Station, None) if evse == 0 => self.limit = Some(limit),
            (Scope::Default, None) if evse == 0 => {
                for connector in &mut self.connectors {
                    connector.limit = Some(limit.clone());
                }
            }
            (Scope::Default, Some(at)) => self.connectors[at].limit = Some(limit),
            (Scope::Transaction, Some(at)) => {
                let named = transaction.is_none_or(|name| self.find_transaction(name) == Some(at));
                match &mut self.connectors[at].phase {
                    Phase::Charging(session) if named => session.limit = Some(limit),
                    _ => return REJECTED,
                }
            }
            (Scope::Station | Scope::Default | Scope::Transaction, _) => return REJECTED,
        }
        ACCEPTED
    }

    pub(super) fn order_setting(
        &mut self,
        which: impl Fn(&Setting) -> bool,
        value: &str,
    ) -> Change {
        let found = self.settings.iter_mut().find(|setting| which(setting));
        let change = settings::change(found, value);
        if let Change::Done(key, seconds) = change {
            self.apply_setting(key, seconds);
        }
        change
    }

    /// Queues the report of the device model, in two parts, so that parts occur.
    pub(super) fn order_report(&mut self, request_id: i32) {
        let half = self.settings.len() / 2;
        let (first, second) = self.settings.split_at(half);
        let parts = [first.to_vec(), second.to_vec()];
        for (seq_no, settings) in (0..).zip(parts) {
            let (last, at) = (seq_no == 1, self.now);
            self.enqueue(Message::Report { request_id, seq_no, last, settings, at });
        }
    }
}
