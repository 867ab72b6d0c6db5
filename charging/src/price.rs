//! What a session costs in minor units: rated by its tariff, taxed by its deal.
//!
//! **Invariant:** the parts sum to the total, whatever was rounded: the net sum is shared among what
//! was paid for by largest remainder, and tax is what the tax rule says of that net sum.

use crate::rows::{Charges, Deal, SessionRow, TaxPart};
use crate::state::State;
use novax_model::{Micros, SessionId, Timestamp, WattHours};
use novax_settlement::share::proportional;
use novax_settlement::tax::{self, Priced};
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

/// The cost of a session in minor units, taxed as its deal says.
fn charges(deal: &Deal, cost: &Cost) -> Charges {
    let weights: Vec<u128> =
        cost.lines.iter().map(|line| u128::try_from(line.amount.0).unwrap_or(0)).collect();
    // Energy that went back into the grid is not paid for.
    let total = u128::try_from(cost.total.0).unwrap_or(0);
    let lines = cost.lines.iter().map(|line| (line.dimension, line.vat_ppm));
    let mut priced: Vec<(Dimension, Priced)> = match proportional(total, &weights) {
        Some(amounts) => lines
            .zip(amounts)
            .map(|((dimension, tax_ppm), amount)| {
                let amount = Micros(i128::try_from(amount).unwrap_or(i128::MAX));
                (dimension, Priced { amount, tax_ppm })
            })
            .collect(),
        // A least price for nothing at all is a fee.
        None => vec![(Dimension::Flat, Priced { amount: cost.total, tax_ppm: None })],
    };
    let included = cost.tax_included == TaxIncluded::Yes;
    if cost.tax_included == TaxIncluded::NotApplicable {
        priced.iter_mut().for_each(|(_, priced)| priced.tax_ppm = Some(0));
    }
    let prices: Vec<Priced> = priced.iter().map(|(_, priced)| *priced).collect();
    let taxed = tax::apply(&deal.treatment, deal.currency, included, &prices, deal.rounding)
        .expect("a rating of a tariff that was checked stays within bounds");
    let mut charges = Charges { tax: taxed.tax, ..Charges::default() };
    for ((dimension, _), part) in priced.iter().zip(&taxed.parts) {
        let sum = match dimension {
            Dimension::Energy => &mut charges.energy,
            Dimension::Flat => &mut charges.fee,
            Dimension::Time => &mut charges.time,
            Dimension::ParkingTime => &mut charges.parking,
        };
        *sum += part.net;
    }
    for tax in taxed.categories.into_iter().flat_map(|category| category.taxes) {
        let same = |known: &&mut TaxPart| known.name == tax.name && known.ppm == tax.ppm;
        match charges.taxes.iter_mut().find(same) {
            Some(known) => known.amount += tax.amount,
            None => {
                charges.taxes.push(TaxPart { name: tax.name, ppm: tax.ppm, amount: tax.amount });
            }
        }
    }
    assert_eq!(charges.total(), taxed.gross, "the parts are the whole");
    charges
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
