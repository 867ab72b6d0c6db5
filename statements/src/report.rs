//! The revenue report: what was earned in a period, by operator, site or partner.
//!
//! A session counts in the period its bill was booked in, a correction in the period of the
//! correction. The totals are the ledger's, or there is no report.

use crate::check::{bounded, equal, sum};
use crate::error::StatementError;
use crate::facts::{Minor, Period, SessionFacts, ShareFacts};
use novax_model::Currency;
use std::collections::BTreeMap;

/// What the rows of a report stand for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupBy {
    /// Who runs the charger.
    Operator,
    /// Where it is.
    Site,
    /// Who got a share.
    Party,
}

/// What the ledger booked for sessions and their corrections in a period.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BookedTotals {
    /// Before tax.
    pub net: Minor,
    /// To tax accounts.
    pub tax: Minor,
    /// To each party's account, by its name. Looked at only in reports by party.
    pub parties: BTreeMap<Box<str>, Minor>,
}

/// Revenue of a period.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevenueReport {
    /// Which period.
    pub period: Period,
    /// What a row is.
    pub by: GroupBy,
    /// Of all amounts.
    pub currency: Currency,
    /// By name.
    pub rows: Vec<RevenueRow>,
    /// The sum of the rows.
    pub total: RevenueRow,
}

/// What one operator, site or party earned.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RevenueRow {
    /// Whose.
    pub name: Box<str>,
    /// Sessions billed.
    pub sessions: u64,
    /// Corrections booked.
    pub corrections: u64,
    /// Delivered. In a report by party: delivered in sessions the party has a share of.
    pub energy_wh: i128,
    /// Before tax; in a report by party, its shares.
    pub net: Minor,
    /// All taxes; zero in a report by party.
    pub tax: Minor,
    /// Net and tax.
    pub gross: Minor,
}

/// Makes the report of a period. Sessions and corrections booked outside of it do not count.
///
/// # Errors
/// The sum that the ledger does not confirm, or facts that disagree with themselves.
pub fn revenue_report(
    period: &Period,
    by: GroupBy,
    currency: Currency,
    sessions: &[SessionFacts],
    booked: &BookedTotals,
) -> Result<RevenueReport, StatementError> {
    bounded("sessions of a report", sessions.len())?;
    let mut rows = Rows { by, rows: BTreeMap::new() };
    let (mut net, mut tax) = (0, 0);
    for facts in sessions {
        facts.check()?;
        same_currency(currency, facts.currency)?;
        if period.contains(facts.booked) {
            let of = Counted::of_session(facts);
            rows.count(facts, &of)?;
            net = sum("net", [net, of.net].into_iter())?;
            tax = sum("tax", [tax, of.tax].into_iter())?;
        }
        for correction in facts.corrections.iter().filter(|c| period.contains(c.booked)) {
            let of = Counted {
                sessions: 0,
                corrections: 1,
                energy_wh: correction.energy_wh.into(),
                net: correction.net,
                tax: correction.tax,
                shares: &correction.shares,
            };
            rows.count(facts, &of)?;
            net = sum("net", [net, of.net].into_iter())?;
            tax = sum("tax", [tax, of.tax].into_iter())?;
        }
    }
    equal("net revenue", net, booked.net)?;
    equal("taxes", tax, booked.tax)?;
    let report = rows.finish(period, currency, booked)?;
    equal("the rows' net", report.total.net, net)?;
    Ok(report)
}

/// Refuses an amount in another currency.
pub(crate) fn same_currency(expected: Currency, got: Currency) -> Result<(), StatementError> {
    if expected == got {
        return Ok(());
    }
    Err(StatementError::MixedCurrencies {
        expected: expected.code().to_owned(),
        got: got.code().to_owned(),
    })
}

struct Counted<'a> {
    sessions: u64,
    corrections: u64,
    energy_wh: i128,
    net: Minor,
    tax: Minor,
    shares: &'a [ShareFacts],
}

impl Counted<'_> {
    fn of_session(facts: &SessionFacts) -> Counted<'_> {
        Counted {
            sessions: 1,
            corrections: 0,
            energy_wh: facts.energy_wh.into(),
            net: facts.net,
            tax: facts.tax,
            shares: &facts.shares,
        }
    }
}

struct Rows {
    by: GroupBy,
    rows: BTreeMap<Box<str>, RevenueRow>,
}

impl Rows {
    fn count(&mut self, facts: &SessionFacts, of: &Counted<'_>) -> Result<(), StatementError> {
        match self.by {
            GroupBy::Operator => {
                let name = format!("{}*{}", facts.operator.country, facts.operator.party);
                self.add(&name, of, of.net, of.tax)
            }
            GroupBy::Site => self.add(&facts.place.site, of, of.net, of.tax),
            GroupBy::Party => {
                // A party with two shares of a session had one session.
                let mut parties: BTreeMap<&str, Minor> = BTreeMap::new();
                for share in of.shares {
                    let entry = parties.entry(&share.party).or_default();
                    *entry = sum("shares", [*entry, share.amount].into_iter())?;
                }
                parties.into_iter().try_for_each(|(party, amount)| self.add(party, of, amount, 0))
            }
        }
    }

    fn add(
        &mut self,
        name: &str,
        of: &Counted<'_>,
        net: Minor,
        tax: Minor,
    ) -> Result<(), StatementError> {
        let row = self.rows.entry(name.into()).or_default();
        let more = RevenueRow {
            name: name.into(),
            sessions: of.sessions,
            corrections: of.corrections,
            energy_wh: of.energy_wh,
            net,
            tax,
            gross: sum("net and tax", [net, tax].into_iter())?,
        };
        *row = row.plus(&more)?;
        Ok(())
    }

    fn finish(
        self,
        period: &Period,
        currency: Currency,
        booked: &BookedTotals,
    ) -> Result<RevenueReport, StatementError> {
        if self.by == GroupBy::Party {
            let here = self.rows.iter().map(|(name, row)| (name, row.net));
            let books: BTreeMap<_, _> = booked.parties.iter().map(|(n, &a)| (n, a)).collect();
            let here: BTreeMap<_, _> = here.collect();
            for name in here.keys().chain(books.keys()) {
                let of = |sums: &BTreeMap<_, Minor>| sums.get(name).copied().unwrap_or(0);
                equal(format!("shares of {name}"), of(&here), of(&books))?;
            }
        }
        let mut total = RevenueRow::default();
        for row in self.rows.values() {
            total = total.plus(row)?;
        }
        total.name = "".into();
        equal("net and tax of all rows", total.net + total.tax, total.gross)?;
        let rows = self.rows.into_values().collect();
        Ok(RevenueReport { period: period.clone(), by: self.by, currency, rows, total })
    }
}

impl RevenueRow {
    fn plus(&self, more: &RevenueRow) -> Result<RevenueRow, StatementError> {
        let add = |a: Minor, b: Minor| sum("a total", [a, b].into_iter());
        Ok(RevenueRow {
            name: more.name.clone(),
            sessions: self.sessions.saturating_add(more.sessions),
            corrections: self.corrections.saturating_add(more.corrections),
            energy_wh: add(self.energy_wh, more.energy_wh)?,
            net: add(self.net, more.net)?,
            tax: add(self.tax, more.tax)?,
            gross: add(self.gross, more.gross)?,
        })
    }
}
