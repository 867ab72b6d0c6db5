//! Meter values: into the twin, the series, and the running bill.
//!
//! A register that has grown is proof of energy whatever its time stamp; one that has shrunk is
//! doubted only when it is the newest word.

use crate::command::{PeerCommand, PlaceHold, Refusal};
use crate::fx::in_wallet;
use crate::money::place_of;
use crate::price::Flow;
use crate::rows::{Payer, SessionRow, SessionState, series_parts};
use crate::state::State;
use novax_model::{AccountId, Amount, ConnectorRef, Measurand, MeterTick, SessionId, WattHours};

/// A hold is raised when charges reach this share of it.
const RAISE_AT_PERCENT: Amount = 80;

impl State {
    /// A block of ticks.
    pub(crate) fn telemetry(&mut self, block: &[u8]) {
        let Ok(ticks) = novax_tsdb::decode_block(block) else {
            self.counters.blocks_corrupt += 1;
            return;
        };
        for (series, tick) in ticks {
            if self.tick(series, tick) {
                self.counters.ticks += 1;
            } else {
                self.counters.ticks_ignored += 1;
            }
        }
    }

    /// Whether the tick's series is one of ours.
    fn tick(&mut self, series: u64, mut tick: MeterTick) -> bool {
        let (number, connector) = series_parts(series);
        let now = self.now();
        let ahead_max = now.saturating_add(self.config.clock_ahead_max);
        if self.stations.get(number as usize).is_none() {
            return false;
        }
        // The first that is heard of a connector may be the values that come with the first start on it.
        let row = if connector.evse == 0 {
            self.touch_connector(number, connector)
        } else {
            self.touch_connector_or_new(number, connector).ok()
        };
        let Some(row) = row else { return false };
        // The series cleans for itself what the device said. What is hashed must not depend on it: twin
        // and bill take the values as they are and mind the clock alone.
        let said = tick;
        if tick.at > ahead_max {
            // A clock far ahead would keep every true tick after it out of the twin.
            tick.at = now;
        }
        let newest = tick.at >= row.live.at;
        if newest {
            row.live.at = tick.at;
            for (live, value) in row.live.values.iter_mut().zip(tick.values) {
                *live = value.or(*live);
            }
        }
        let session = row.session;
        self.keep_tick(series, said);
        if let (Some(session), Some(register)) = (session, tick.get(Measurand::Energy)) {
            self.meter_session(session, WattHours(register), &tick, newest, connector);
        }
        true
    }

    fn meter_session(
        &mut self,
        id: SessionId,
        register: WattHours,
        tick: &MeterTick,
        newest: bool,
        connector: ConnectorRef,
    ) {
        let Some(session) = self.sessions.get(&id) else { return };
        let row = &session.row;
        assert_eq!(row.connector, connector, "a connector and its session know each other");
        if !matches!(row.state, SessionState::Charging | SessionState::Stopping) {
            return;
        }
        let late = !newest || tick.at < row.started;
        if late && (register < row.meter_last || row.meter_start.is_none()) {
            return;
        }
        let power_w = tick.get(Measurand::Power);
        // Watts tell whether energy flows; without them the register does, up to now.
        let charging = power_w.map_or(register > row.meter_last, |watts| watts != 0);
        let current_ma = tick.get(Measurand::Current).map(|ca| ca.saturating_mul(10));
        self.hear_meter(id, register, Flow { at: tick.at, power_w, current_ma, charging });
        self.secure_funds(id);
    }

    /// Keeps the hold ahead of the charges, or has the station end what cannot be paid (window 16).
    fn secure_funds(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (row, station) = (&session.row, session.station);
        let (hold, total) = (row.deal.hold, row.charges.total());
        let secured = total * 100 < row.held * RAISE_AT_PERCENT;
        if hold == 0 || secured {
            return;
        }
        let Some(transaction) = row.transaction.clone() else { return };
        if row.state == SessionState::Stopping {
            if total >= row.held {
                self.queue_remote_stop(station, id, transaction);
            }
            return;
        }
        let wanted = total * 100 / RAISE_AT_PERCENT + 1;
        let more = wanted.saturating_sub(row.held).div_ceil(hold) * hold;
        let currency = row.deal.currency;
        let row = row.clone();
        match row.payer {
            Payer::Local(wallet) => match self.hold_more_here(&row, more, wallet) {
                Ok(()) => {
                    self.note_raised(id, more);
                    self.hold_placed(id, self.hold_expiry());
                }
                Err(refusal) => self.stop_unpaid(id, &refusal),
            },
            Payer::Remote(to) => {
                if !self.raising.contains(&id) {
                    let (sequence, token) = (row.holds, row.token.clone());
                    let place = PlaceHold { session: id, sequence, token, amount: more, currency };
                    self.queue_peer(to, PeerCommand::PlaceHold(place));
                }
            }
            Payer::Card(_) => self.raise_card(id, more),
            Payer::None => {}
        }
    }

    /// Raises the hold of a wallet of this partition by so much of the tariff's currency.
    fn hold_more_here(
        &mut self,
        row: &SessionRow,
        more: Amount,
        wallet: AccountId,
    ) -> Result<(), Refusal> {
        let place = place_of(row);
        let wanted = in_wallet(row.deal.fx.as_ref(), row.held + more)?;
        let more = wanted.saturating_sub(place.held);
        self.hold_local(place, more, wallet, row.deal.wallet_currency())
    }

    fn note_raised(&mut self, id: SessionId, more: Amount) {
        if let Some(row) = self.touch_session(id) {
            row.held += more;
            row.holds += 1;
        }
    }

    /// A running session whose driver cannot pay for more is asked to end.
    pub(crate) fn stop_unpaid(&mut self, id: SessionId, refusal: &Refusal) {
        let Some(session) = self.sessions.get(&id) else { return };
        let station = session.station;
        if session.row.state != SessionState::Charging {
            return;
        }
        let Some(transaction) = session.row.transaction.clone() else { return };
        if let Some(row) = self.touch_session(id) {
            row.state = SessionState::Stopping;
            row.reason = crate::refusal::refusal_text(refusal);
        }
        self.queue_remote_stop(station, id, transaction);
    }
}
