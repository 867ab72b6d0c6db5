//! What each contract has earned at each site in each month, and what its terms bring when the month
//! is over: minimum guarantees and fixed fees, booked as one linked set.
//!
//! A month is one of the calendar on the site's wall. It is settled when no session of it can still
//! be silent: `silence_close_after` past its end. What comes later counts in the month that is
//! running then. A contract's terms hold for each site that it is put in force at.
//!
//! **Invariants**: each session counts once, in one month; a month is settled once, by its row and by
//! the key of its set; a month that was settled never changes. Open months alone are in memory.

use crate::accounts::Name;
use crate::hash::key128;
use crate::money::words;
use crate::partition::Partition;
use crate::rows::{AccrualRow, Charges, SessionRow, TermsId};
use crate::state::State;
use novax_ledger::{Code, Leg};
use novax_model::{Amount, Identity, Timestamp, TransferKey, WattHours};
use novax_settlement::{Accrual, Base, RevenueContract, Settlement, Share, close_period, split};
use novax_tariff::{Day, Zone};

/// A calendar month: 202611 is November 2026.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Month(pub(crate) u32);

/// Site, contract, month.
pub(crate) type AccrualId = (Identity, TermsId, Month);

impl Month {
    /// The month that the site's wall shows at a time.
    pub(crate) fn of(zone: &Zone, at: Timestamp) -> Month {
        let text = zone.offset_at(at).local(at).day.text();
        let number = |from, to| text.as_deref()?.get(from..to)?.parse::<u32>().ok();
        // Beyond the table, in the year 10000, months are no more.
        Month(number(0, 4).zip(number(5, 7)).map_or(999_912, |(year, month)| year * 100 + month))
    }

    fn next(self) -> Month {
        let (year, month) = (self.0 / 100, self.0 % 100);
        Month(if month >= 12 { (year + 1) * 100 + 1 } else { self.0 + 1 })
    }

    /// When it is over: the first moment of the next one.
    fn end(self, zone: &Zone) -> Timestamp {
        let next = self.next();
        let first = Day::parse(&format!("{:04}-{:02}-01", next.0 / 100, next.0 % 100));
        let Some(first) = first else { return Timestamp::MAX };
        // The offset at midnight by UTC is right but for a change within hours of it.
        let mut at = zone.offset_at(Timestamp::ZERO).at(first, 0);
        for _ in 0..2 {
            at = zone.offset_at(at).at(first, 0);
        }
        at
    }
}

impl State {
    /// When a month of a zone is settled.
    fn month_due(&self, month: Month, zone: &Zone) -> Timestamp {
        month.end(zone).saturating_add(self.config.silence_close_after)
    }

    /// Makes sure that a contract's month is open. One that was settled gives way to the month that
    /// runs.
    fn open_month(
        &mut self,
        site: &Identity,
        contract: TermsId,
        zone: &str,
        at: Timestamp,
    ) -> AccrualId {
        let table = self.terms.zone(zone);
        let now = self.now();
        let mut id = (site.clone(), contract, Month::of(&table, at));
        if !self.accruals.contains_key(&id) && self.month_due(id.2, &table) <= now {
            id.2 = Month::of(&table, now);
        }
        if !self.accruals.contains_key(&id) {
            self.new_month(&id, zone);
        }
        id
    }

    fn new_month(&mut self, (site, contract, month): &AccrualId, zone: &str) {
        let row = AccrualRow {
            site: site.clone(),
            contract: *contract,
            month: month.0,
            currency: self.terms.contract(*contract).currency,
            zone: zone.into(),
            accrual: Accrual::default(),
            corrections: Vec::new(),
            settled: None,
        };
        self.index_accrual(&row);
        self.put_accrual(row);
    }

    /// What an open month waits for.
    pub(crate) fn index_accrual(&mut self, row: &AccrualRow) {
        let month = Month(row.month);
        let due = self.month_due(month, &self.terms.zone(&row.zone));
        self.months.insert((due, (row.site.clone(), row.contract, month)));
    }

    /// Settles months that are due, earliest first, a bounded number per entry.
    pub(crate) fn settle_months(&mut self) {
        for _ in 0..self.config.timers_per_entry_max {
            let now = self.now();
            if self.months.first().is_none_or(|(due, _)| *due > now) {
                return;
            }
            let Some((_, id)) = self.months.pop_first() else { return };
            self.close_month(&id);
        }
    }

    /// Changes the row of an open month.
    fn put_accrual(&mut self, row: AccrualRow) {
        let id = (row.site.clone(), row.contract, Month(row.month));
        self.touch_accrual(&id);
        self.accruals.insert(id, row);
    }

    /// A contract with terms for the month counts from when it is in force, sessions or none.
    pub(crate) fn begin_month(&mut self, site: &Identity) {
        let Some(row) = self.sites.get(site).map(|site| &site.row) else { return };
        let Some(price) = row.price_at(self.now()) else { return };
        let (contract, zone) = (price.contract, row.place.zone.clone());
        if self.has_terms(contract) {
            self.open_month(site, contract, &zone, self.now());
        }
    }

    /// Whether a contract brings something at a month's end, sessions or none.
    fn has_terms(&self, contract: TermsId) -> bool {
        let contract = self.terms.contract(contract);
        !contract.terms.is_empty() && contract.in_force(self.now())
    }

    /// Counts a session that was billed.
    pub(crate) fn accrue(&mut self, row: &SessionRow) {
        let contract = self.terms.contract(row.deal.contract);
        let (base, shares) = split_of(&contract, &row.charges, row.energy());
        let id = self.open_month(&row.site, row.deal.contract, &row.deal.zone, row.ended);
        let mut open = self.accruals.get(&id).expect("opened above").clone();
        open.accrual.add(&base, &shares);
        self.put_accrual(open);
    }

    /// Counts what an adjustment changed, in the month that runs when it is booked.
    pub(crate) fn accrue_difference(&mut self, row: &SessionRow, before: &Charges, was: WattHours) {
        let contract = self.terms.contract(row.deal.contract);
        let shares = [
            (split_of(&contract, before, was).1, false),
            (split_of(&contract, &row.charges, row.energy()).1, true),
        ];
        let id = self.open_month(&row.site, row.deal.contract, &row.deal.zone, self.now());
        let mut open = self.accruals.get(&id).expect("opened above").clone();
        open.corrections.resize(contract.parties.len(), 0);
        for (share, is_new) in shares.iter().flat_map(|(list, is)| list.iter().map(|s| (s, *is))) {
            let place = usize::from(share.party.0);
            let of = open.corrections.get_mut(place).expect("a checked contract names them");
            let amount = i128::try_from(share.amount).unwrap_or(i128::MAX);
            *of = of.saturating_add(if is_new { amount } else { -amount });
        }
        self.put_accrual(open);
    }

    /// Counts what parties gave back of a session, in the month that runs.
    pub(crate) fn accrue_refund(&mut self, row: &SessionRow, before: &[Amount], after: &[Amount]) {
        let id = self.open_month(&row.site, row.deal.contract, &row.deal.zone, self.now());
        let mut open = self.accruals.get(&id).expect("opened above").clone();
        assert_eq!(before.len(), after.len(), "of the same contract");
        open.corrections.resize(after.len(), 0);
        for (of, (before, after)) in open.corrections.iter_mut().zip(before.iter().zip(after)) {
            let given = after.checked_sub(*before).expect("sums of debits only grow");
            *of = of.saturating_sub(i128::try_from(given).unwrap_or(i128::MAX));
        }
        self.put_accrual(open);
    }

    /// A month is over: what its contract's terms bring is booked, once.
    pub(crate) fn close_month(&mut self, id: &AccrualId) {
        let mut row = self.accruals.remove(id).expect("only open months are due");
        assert!(row.settled.is_none(), "a settled month has left memory");
        let contract = self.terms.contract(row.contract);
        let settlements = close_period(&contract, &row.earned());
        if let Err(error) = self.book_month(&row, &contract, &settlements) {
            let text = format!(
                "contract {} at {}: what {} brings was not booked: {error}",
                contract.id, row.site, row.month
            );
            self.except(&row.site.clone(), &text);
        }
        row.settled = Some(settlements);
        self.touch_accrual(id);
        self.settled_months.insert(id.clone(), row);
        self.follow_month(id);
    }

    /// The month after one that was settled, where the contract is still in force.
    fn follow_month(&mut self, (site, contract, month): &AccrualId) {
        let Some(row) = self.sites.get(site).map(|site| &site.row) else { return };
        let Some(price) = row.price_at(self.now()) else { return };
        let (current, zone) = (price.contract, row.place.zone.clone());
        if current != *contract {
            return self.begin_month(site);
        }
        if !self.has_terms(current) {
            return;
        }
        // After a long stand each month has its turn, this one next.
        let next = (site.clone(), current, month.next());
        if !self.accruals.contains_key(&next) {
            self.new_month(&next, &zone);
        }
    }

    fn book_month(
        &mut self,
        row: &AccrualRow,
        contract: &RevenueContract,
        settlements: &[Settlement],
    ) -> Result<(), String> {
        let mut legs = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let account = |state: &mut State, party| {
                let party = contract.party(party).expect("a checked contract names them");
                let opened = state.open(Name::Party(party.as_str()), row.currency);
                opened.map_err(|refusal| words(&refusal))
            };
            let debit = account(self, settlement.payer)?;
            let credit = account(self, settlement.party)?;
            let (amount, code) = (settlement.amount, month_code(settlement));
            legs.push(Leg::Post { debit, credit, amount, code });
        }
        if legs.is_empty() {
            return Ok(());
        }
        // It counts within its month: at its last moment.
        let end = Month(row.month).end(&self.terms.zone(&row.zone));
        self.post_new(Timestamp(end.0.saturating_sub(1)), month_set(row), &legs)
    }
}

fn month_code(settlement: &Settlement) -> Code {
    if settlement.is_guarantee { Code::Guarantee } else { Code::FixedFee }
}

/// The key of what a month's end brings.
fn month_set(row: &AccrualRow) -> TransferKey {
    let (site, month) = (row.site.as_str().as_bytes(), row.month.to_le_bytes());
    TransferKey(key128(&[b"month", site, &row.contract.0.to_le_bytes(), &month]))
}

fn split_of(
    contract: &RevenueContract,
    charges: &Charges,
    energy: WattHours,
) -> (Base, Vec<Share>) {
    let base = Base::new(charges.total(), charges.net(), energy, false);
    (base, split(contract, &base))
}

impl AccrualRow {
    /// What the month came to with its corrections; what a party had to give back of other months
    /// beyond what it got in this one counts as nothing.
    #[must_use]
    pub fn earned(&self) -> Accrual {
        let mut earned = self.accrual.clone();
        let parties = earned.by_party.len().max(self.corrections.len());
        earned.by_party.resize(parties, 0);
        for (of, correction) in earned.by_party.iter_mut().zip(&self.corrections) {
            let amount = i128::try_from(*of).unwrap_or(i128::MAX).saturating_add(*correction);
            *of = Amount::try_from(amount).unwrap_or(0);
        }
        earned
    }

    /// What the month will have brought at its end, were it over now.
    #[must_use]
    pub fn outlook(&self, contract: &RevenueContract) -> Vec<Settlement> {
        match &self.settled {
            Some(settled) => settled.clone(),
            None => close_period(contract, &self.earned()),
        }
    }
}

impl Partition {
    /// The open months of contracts, by site, contract and month. Settled ones are in the store.
    pub fn accruals(&self) -> impl Iterator<Item = &AccrualRow> {
        self.state.accruals.values()
    }

    /// A contract that a site or a session refers to.
    #[must_use]
    pub fn accrued_contract(&self, row: &AccrualRow) -> std::sync::Arc<RevenueContract> {
        self.state.terms.contract(row.contract)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Timestamp {
        // `2026-11-01 00:00` as UTC.
        let day = Day::parse(&text[..10]).unwrap();
        let hour: u16 = text[11..13].parse().unwrap();
        let minute: u16 = text[14..16].parse().unwrap();
        Zone::utc().offset_at(Timestamp::ZERO).at(day, hour * 60 + minute)
    }

    #[test]
    fn a_month_is_that_of_the_clock_on_the_wall() {
        // zone, a time, its month, when that ends: both times by UTC
        let cases = [
            ("UTC", "2026-11-30 23:59", 202_611, "2026-12-01 00:00"),
            ("UTC", "2026-12-01 00:00", 202_612, "2027-01-01 00:00"),
            ("Europe/Berlin", "2026-11-30 23:00", 202_612, "2026-12-31 23:00"),
            ("Europe/Berlin", "2026-07-31 21:59", 202_607, "2026-07-31 22:00"),
            // October begins in summer time and ends in winter time.
            ("Europe/Berlin", "2026-10-01 00:00", 202_610, "2026-10-31 23:00"),
            ("America/Los_Angeles", "2026-03-01 07:59", 202_602, "2026-03-01 08:00"),
            ("Asia/Shanghai", "2026-01-31 16:00", 202_602, "2026-02-28 16:00"),
            ("Pacific/Kiritimati", "2026-02-28 10:00", 202_603, "2026-03-31 10:00"),
        ];
        for (name, at, month, end) in cases {
            let zone = Zone::get(name).unwrap();
            let found = Month::of(&zone, micros(at));
            assert_eq!(found, Month(month), "{name} {at}");
            assert_eq!(found.end(&zone), micros(end), "{name} {at}");
            assert_eq!(Month::of(&zone, found.end(&zone)), found.next(), "{name} {at}");
            let last = Timestamp(found.end(&zone).0 - 1);
            assert_eq!(Month::of(&zone, last), found, "{name} {at}");
        }
    }

    #[test]
    fn december_is_followed_by_january() {
        assert_eq!(Month(202_611).next(), Month(202_612));
        assert_eq!(Month(202_612).next(), Month(202_701));
    }
}
