//! What a session costs in minor units: rated by its tariff, taxed by its deal.
//!
//! **Invariant:** the parts sum to the total, whatever was rounded: the net sum is shared among what
//! was paid for by largest remainder, and tax is what the tax rule says of that net sum.

use crate::rows::{Charges, Deal, SessionRow, TaxPart};
use crate::state::State;
use crate::terms::Terms;
use novax_model::{Amount, SessionId, Timestamp, WattHours};
use novax_settlement::tax;
use novax_tariff::{Cost, Dimension, Rating, Reading, TaxIncluded};

/// A word of the meter, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) at: Timestamp,
    pub(crate) register: WattHours,
    pub(crate) power_w: Option<i64>,
    pub(crate) current_ma: Option<i64>,
    /// Whether the vehicle takes energy from then on.
    pub(crate) charging: bool,
}

impl From<Heard> for Reading {
    fn from(heard: Heard) -> Reading {
        Reading {
            at: heard.at,
            register_wh: heard.register,
            power_w: heard.power_w,
            current_ma: heard.current_ma,
            charging: heard.charging,
        }
    }
}

impl Terms {
    /// A session's meter begins to count.
    pub(crate) fn start_rating(&self, row: &mut SessionRow, at: Timestamp) {
        let (tariff, zone) = (self.tariff(row.deal.tariff), self.zone(&row.deal.zone));
        let register = row.meter_start;
        let first = Heard { at, register, power_w: None, current_ma: None, charging: true };
        row.rating = Some(Rating::start(&tariff, &zone, None, first.into()));
        self.charge(row, false);
    }

    /// The meter said more.
    pub(crate) fn advance_rating(&self, row: &mut SessionRow, heard: Heard) {
        let (tariff, zone) = (self.tariff(row.deal.tariff), self.zone(&row.deal.zone));
        if let Some(rating) = &mut row.rating {
            rating.advance(&tariff, &zone, heard.into());
        }
    }

    /// What the session costs so far, or in the end.
    pub(crate) fn charge(&self, row: &mut SessionRow, at_end: bool) {
        let Some(rating) = &row.rating else { return };
        let tariff = self.tariff(row.deal.tariff);
        let cost = rating.cost(&tariff, &row.deal.adjustment, at_end);
        row.charges = charges(&row.deal, &cost);
    }
}

fn charges(deal: &Deal, cost: &Cost) -> Charges {
    let included = cost.tax_included == TaxIncluded::Yes;
    let taxed = tax::apply(&deal.treatment, deal.currency, included, &cost.by_rate());
    let mut charges = Charges {
        taxes: taxed
            .lines
            .iter()
            .map(|line| TaxPart { name: line.name.clone(), ppm: line.ppm, amount: line.amount })
            .collect(),
        tax: taxed.tax,
        ..Charges::default()
    };
    let of = |dimension| -> u128 {
        let lines = cost.lines.iter().filter(|line| line.dimension == dimension);
        u128::try_from(lines.map(|line| line.amount.0).sum::<i128>()).unwrap_or(0)
    };
    let weights = [
        of(Dimension::Energy),
        of(Dimension::Flat),
        of(Dimension::Time),
        of(Dimension::ParkingTime),
    ];
    [charges.energy, charges.fee, charges.time, charges.parking] = share(taxed.net, weights);
    assert_eq!(charges.total(), taxed.gross, "the parts are the whole");
    charges
}

/// Shares an amount by weights, by largest remainder; without weights the first has all.
fn share(amount: Amount, weights: [u128; 4]) -> [Amount; 4] {
    let whole: u128 = weights.iter().sum();
    if whole == 0 {
        return [amount, 0, 0, 0];
    }
    let mut parts = weights.map(|weight| (amount * weight / whole, amount * weight % whole));
    let given: Amount = parts.iter().map(|(part, _)| part).sum();
    for _ in given..amount {
        let most = parts.iter().map(|(_, lost)| *lost).max().unwrap_or(0);
        if let Some((part, lost)) = parts.iter_mut().find(|(_, lost)| *lost == most) {
            *part += 1;
            *lost = 0;
        }
    }
    parts.map(|(part, _)| part)
}

impl State {
    /// A station's time as far as a price may depend on it: a clock that is far out is not believed,
    /// and ours counts instead (window 15).
    pub(crate) fn believed_time(&self, said: Timestamp) -> Timestamp {
        let now = self.now();
        let ahead_max = now.saturating_add(self.config.clock_ahead_max);
        let late_max = self.config.ticks_late_max;
        if said > ahead_max || said.saturating_add(late_max) < now { now } else { said }
    }

    /// A session's meter begins to count.
    pub(crate) fn start_rating(&mut self, id: SessionId, at: Timestamp) {
        let at = self.believed_time(at);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        self.terms.start_rating(&mut session.row, at);
    }

    /// A session's meter said more: what it costs by then.
    pub(crate) fn advance_rating(&mut self, id: SessionId, heard: Heard) {
        let at = self.believed_time(heard.at);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        self.terms.advance_rating(&mut session.row, Heard { at, ..heard });
        self.terms.charge(&mut session.row, false);
    }

    /// A vehicle began or ceased to take energy, as its station says: time has another price then.
    pub(crate) fn hear_flow(&mut self, id: SessionId, at: Timestamp, charging: bool) {
        let Some(row) = self.touch_session(id) else { return };
        let register = row.meter_last;
        let heard = Heard { at, register, power_w: None, current_ma: None, charging };
        self.advance_rating(id, heard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_sum_to_what_was_shared(
            amount in 0_u128..1_000_000_000_000, weights: [u32; 4],
        ) {
            let parts = share(amount, weights.map(u128::from));
            prop_assert_eq!(parts.iter().sum::<u128>(), amount);
        }
    }
}
