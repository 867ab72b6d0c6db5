//! What a session costs in minor units: rated by its tariff, taxed by its deal.
//!
//! **Invariant:** the parts sum to the total, whatever was rounded: the net sum is shared among what
//! was paid for by largest remainder, and tax is what the tax rule says of that net sum.

use crate::rows::{Charges, Deal, SessionRow, TaxPart};
use crate::state::State;
use novax_model::{Amount, SessionId, Timestamp, WattHours};
use novax_settlement::tax;
use novax_tariff::{Cost, Dimension, Rating, Reading, TaxIncluded};

/// How energy flows from some moment on, as far as prices ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) at: Timestamp,
    pub(crate) power_w: Option<i64>,
    pub(crate) current_ma: Option<i64>,
    /// Whether the vehicle takes energy from then on.
    pub(crate) charging: bool,
}

impl Flow {
    /// A transaction begins; until the meter says otherwise it charges.
    pub(crate) fn begins(at: Timestamp) -> Flow {
        Flow { at, power_w: None, current_ma: None, charging: true }
    }

    /// A transaction ends.
    pub(crate) fn ends(at: Timestamp) -> Flow {
        Flow { at, power_w: None, current_ma: None, charging: false }
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
    fn believed_time(&self, said: Timestamp) -> Timestamp {
        let now = self.now();
        let ahead_max = now.saturating_add(self.config.clock_ahead_max);
        let late_max = self.config.ticks_late_max;
        if said > ahead_max || said.saturating_add(late_max) < now { now } else { said }
    }

    /// What a session costs by now, or in the end, with the energy its row says. The rating counts
    /// energy of the session, not registers: a meter that began anew is no matter here.
    pub(crate) fn reprice_row(&self, row: &mut SessionRow, flow: Flow, at_end: bool) {
        let (tariff, zone) = (self.terms.tariff(row.deal.tariff), self.terms.zone(&row.deal.zone));
        let reading = |at: Timestamp, register_wh: WattHours, charging: bool| Reading {
            at,
            register_wh,
            power_w: flow.power_w,
            current_ma: flow.current_ma,
            charging,
        };
        let began = if row.started == Timestamp::ZERO { flow.at } else { row.started };
        let began = self.believed_time(began);
        let energy = row.energy();
        let rating = row.rating.get_or_insert_with(|| {
            Rating::start(&tariff, &zone, None, reading(began, WattHours(0), true))
        });
        rating.advance(&tariff, &zone, reading(self.believed_time(flow.at), energy, flow.charging));
        row.charges = charges(&row.deal, &rating.cost(&tariff, &row.deal.adjustment, at_end));
    }

    /// The same, of a session in the table.
    pub(crate) fn reprice(&mut self, id: SessionId, flow: Flow, at_end: bool) {
        let Some(row) = self.touch_session(id) else { return };
        let mut row = row.clone();
        self.reprice_row(&mut row, flow, at_end);
        if let Some(found) = self.touch_session(id) {
            (found.rating, found.charges) = (row.rating, row.charges);
        }
    }

    /// A vehicle began or ceased to take energy, as its station says: time has another price then.
    pub(crate) fn hear_flow(&mut self, id: SessionId, at: Timestamp, charging: bool) {
        self.reprice(id, Flow { charging, ..Flow::begins(at) }, false);
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
