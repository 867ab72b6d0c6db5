//! What a session costs in minor units: rated by its tariff, taxed by its deal.
//!
//! **Invariant:** the parts sum to the total, whatever was rounded: the net sum is shared among what
//! was paid for by largest remainder, and tax is what the tax rule says of that net sum.

use crate::rows::{Charges, Deal, SessionRow, TaxPart};
use crate::state::State;
use crate::terms::Terms;
use novax_model::{Micros, SessionId, Timestamp, WattHours};
use novax_settlement::share::proportional;
use novax_settlement::tax::{self, PartCharge, Priced, TaxCategory};
use novax_tariff::{Cost, Dimension, Rating, Reading, Tariff, TaxIncluded};

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

/// A line of a bill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BillItem {
    /// What for.
    pub dimension: Dimension,
    /// For a reservation.
    pub reserved: bool,
    /// Counted: watt-hours, microseconds or 1.
    pub volume: i64,
    /// The same in whole steps: what is billed.
    pub billed_volume: i64,
    /// As listed, adjusted.
    pub price: Micros,
    /// In minor units.
    pub charge: PartCharge,
}

/// A bill line by line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Itemised {
    /// Its lines, in the order in which their prices were first used.
    pub items: Vec<BillItem>,
    /// By tax.
    pub categories: Vec<TaxCategory>,
}

/// A session's bill line by line; `None` where what was counted is not what was booked: its bill could
/// not be booked, or it was billed before prices were counted.
#[must_use]
pub fn itemise(row: &SessionRow, tariff: &Tariff) -> Option<Itemised> {
    let cost = row.rating.as_ref()?.cost(tariff, &row.deal.adjustment, true);
    let (_, taxed) = taxed(&row.deal, &cost);
    if taxed.gross != row.charges.total() || taxed.net != row.charges.net() {
        return None;
    }
    let lines = cost.lines.iter().map(|line| BillItem {
        dimension: line.dimension,
        reserved: line.reserved,
        volume: line.volume,
        billed_volume: line.billed_volume,
        price: line.price,
        charge: PartCharge::default(),
    });
    let mut items: Vec<BillItem> = lines.collect();
    if items.len() != taxed.parts.len() {
        // The least price of a session that used no price.
        let (volume, price) = (1, Micros(cost.total.0.max(0)));
        let fee = BillItem {
            dimension: Dimension::Flat,
            reserved: false,
            volume,
            billed_volume: volume,
            price,
            charge: PartCharge::default(),
        };
        items = vec![fee];
    }
    assert_eq!(items.len(), taxed.parts.len(), "a charge for each line");
    for (item, charge) in items.iter_mut().zip(&taxed.parts) {
        item.charge = *charge;
    }
    Some(Itemised { items, categories: taxed.categories })
}

/// What was paid for, and what each came to in minor units, taxed as the deal says.
fn taxed(deal: &Deal, cost: &Cost) -> (Vec<Dimension>, tax::Charges) {
    let weights: Vec<u128> =
        cost.lines.iter().map(|line| u128::try_from(line.amount.0).unwrap_or(0)).collect();
    // Energy that went back into the grid is not paid for.
    let total = u128::try_from(cost.total.0).unwrap_or(0);
    let lines = cost.lines.iter().map(|line| (line.dimension, line.vat_ppm));
    let amounts = if weights.iter().sum::<u128>() == total {
        Some(weights)
    } else {
        // A least or a highest price took hold: what it changed is spread over what was paid for.
        proportional(total, &weights)
    };
    let mut priced: Vec<(Dimension, Priced)> = match amounts {
        Some(amounts) => lines
            .zip(amounts)
            .map(|((dimension, tax_ppm), amount)| {
                let amount = Micros(i128::try_from(amount).unwrap_or(i128::MAX));
                (dimension, Priced { amount, tax_ppm })
            })
            .collect(),
        // A least price for nothing at all is a fee, taxed as the tariff's first price.
        None => {
            let tax_ppm = cost.lines.first().and_then(|line| line.vat_ppm);
            vec![(Dimension::Flat, Priced { amount: Micros(cost.total.0.max(0)), tax_ppm })]
        }
    };
    let included = cost.tax_included == TaxIncluded::Yes;
    if cost.tax_included == TaxIncluded::NotApplicable {
        priced.iter_mut().for_each(|(_, priced)| priced.tax_ppm = Some(0));
    }
    let prices: Vec<Priced> = priced.iter().map(|(_, priced)| *priced).collect();
    let taxed = tax::apply(&deal.treatment, deal.currency, included, &prices, deal.rounding)
        .expect("a rating of a tariff that was checked stays within bounds");
    (priced.into_iter().map(|(dimension, _)| dimension).collect(), taxed)
}

/// The cost of a session in minor units, taxed as its deal says.
fn charges(deal: &Deal, cost: &Cost) -> Charges {
    let (priced, taxed) = taxed(deal, cost);
    let mut charges = Charges { tax: taxed.tax, ..Charges::default() };
    for (dimension, part) in priced.iter().zip(&taxed.parts) {
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

impl Terms {
    /// Rates up to `at` and charges what that comes to. The rating counts energy of the session, not
    /// registers: a meter that began anew is no matter here.
    fn reprice(
        &self,
        row: &mut SessionRow,
        (began, at): (Timestamp, Timestamp),
        flow: Flow,
        at_end: bool,
    ) {
        let (tariff, zone) = (self.tariff(row.deal.tariff), self.zone(&row.deal.zone));
        let reading = |at: Timestamp, register_wh: WattHours, charging: bool| Reading {
            at,
            register_wh,
            power_w: flow.power_w,
            current_ma: flow.current_ma,
            charging,
        };
        let energy = row.energy();
        let rating = row.rating.get_or_insert_with(|| {
            Rating::start(&tariff, &zone, None, reading(began, WattHours(0), true))
        });
        rating.advance(&tariff, &zone, reading(at, energy, flow.charging));
        row.charges = charges(&row.deal, &rating.cost(&tariff, &row.deal.adjustment, at_end));
    }
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

    /// When a session began and when this flow was, both as far as they are believed.
    fn believed_times(&self, row: &SessionRow, flow: Flow) -> (Timestamp, Timestamp) {
        let began = if row.started == Timestamp::ZERO { flow.at } else { row.started };
        (self.believed_time(began), self.believed_time(flow.at))
    }

    /// What a session costs by now, or in the end, with the energy its row says.
    pub(crate) fn reprice_row(&self, row: &mut SessionRow, flow: Flow, at_end: bool) {
        let times = self.believed_times(row, flow);
        self.terms.reprice(row, times, flow, at_end);
    }

    /// The same, of a session in the table, in its place: this is done for each word of a meter.
    pub(crate) fn reprice(&mut self, id: SessionId, flow: Flow, at_end: bool) {
        let Some(session) = self.sessions.get(&id) else { return };
        let times = self.believed_times(&session.row, flow);
        if self.touch_session(id).is_some()
            && let Some(session) = self.sessions.get_mut(&id)
        {
            self.terms.reprice(&mut session.row, times, flow, at_end);
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
    use crate::simple::SimpleTerms;
    use novax_model::{Amount, Currency, Identity};
    use novax_settlement::{Base, split};
    use novax_tariff::{Adjustment, Zone};

    fn cases(text: &str) -> impl Iterator<Item = (usize, Vec<&str>, &str)> {
        let numbered = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
        let lines = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        lines.map(|(number, line)| {
            let (left, right) = line.split_once("=>").expect("what comes of it");
            (number, left.split('|').map(str::trim).collect(), right.trim())
        })
    }

    fn simple() -> SimpleTerms {
        SimpleTerms {
            currency: Currency::EUR,
            energy_millis_per_kwh: 0,
            session_fee: 0,
            tax_basis_points: 0,
            hold: 0,
            site_host_basis_points: 0,
            platform_basis_points: 0,
        }
    }

    #[test]
    fn sessions_cost_what_the_cases_say() {
        let mut count = 0;
        for (number, words, expected) in cases(include_str!("../testdata/rating.txt")) {
            let terms = SimpleTerms {
                energy_millis_per_kwh: words[0].parse().unwrap(),
                session_fee: words[1].parse().unwrap(),
                tax_basis_points: words[2].parse().unwrap(),
                ..simple()
            };
            let tariff = terms.terms(&Identity::new("depot").unwrap()).tariff;
            assert_eq!(tariff.check(), Ok(()), "line {number}");
            let reading = |at, wh| Reading {
                at: Timestamp(at),
                register_wh: WattHours(wh),
                power_w: None,
                current_ma: None,
                charging: true,
            };
            let mut rating = Rating::start(&tariff, &Zone::utc(), None, reading(1, 0));
            let energy = words[3].parse::<i64>().unwrap().max(0);
            rating.advance(&tariff, &Zone::utc(), reading(3_600_000_000, energy));
            let cost = rating.cost(&tariff, &Adjustment::NONE, true);
            let charges = charges(&Deal::of_nothing(Currency::EUR), &cost);
            let found = format!("{} {} {}", charges.energy, charges.fee, charges.tax);
            assert_eq!(found, expected, "line {number}");
            count += 1;
        }
        assert!(count >= 10, "the cases were read");
    }

    #[test]
    fn revenue_is_split_as_the_cases_say() {
        let mut count = 0;
        for (number, words, expected) in cases(include_str!("../testdata/split.txt")) {
            let terms = SimpleTerms {
                site_host_basis_points: words[0].parse().unwrap(),
                platform_basis_points: words[1].parse().unwrap(),
                ..simple()
            };
            let contract = terms.terms(&Identity::new("depot").unwrap()).contract;
            assert_eq!(contract.check(), Ok(()), "line {number}");
            let net: Amount = words[2].parse().unwrap();
            let shares = split(&contract, &Base::new(net, net, WattHours(0), false));
            let of = |name: &str| -> Amount {
                let party = contract.party_id(name).unwrap();
                shares.iter().filter(|share| share.party == party).map(|share| share.amount).sum()
            };
            let found = format!("{} {} {}", of("site-host/depot"), of("operator"), of("platform"));
            assert_eq!(found, expected, "line {number}");
            count += 1;
        }
        assert!(count >= 10, "the cases were read");
    }
}
