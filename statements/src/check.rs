//! Facts held to their own sums, before a document is made of them.

use crate::error::StatementError;
use crate::facts::{AccountFacts, Minor, ROWS_MAX, SessionFacts};

/// A sum that has to be another, or the error that says which is not.
pub(crate) fn equal(
    what: impl Into<String>,
    document: Minor,
    books: Minor,
) -> Result<(), StatementError> {
    if document == books {
        return Ok(());
    }
    Err(StatementError::Differs { what: what.into(), document, books })
}

/// No economy has so many cents; a number past it is a fault, and nothing below it can overflow.
const AMOUNT_MAX: u128 = 10_u128.pow(30);

/// The sum of amounts, or the error that it cannot be counted.
pub(crate) fn sum(
    what: &'static str,
    mut amounts: impl Iterator<Item = Minor>,
) -> Result<Minor, StatementError> {
    let within = |amount: &Minor| amount.unsigned_abs() <= AMOUNT_MAX;
    amounts
        .try_fold(0, |sum: Minor, amount| {
            sum.checked_add(Some(amount).filter(within)?).filter(within)
        })
        .ok_or(StatementError::Overflow { what })
}

/// Refuses more rows than a document may have.
pub(crate) fn bounded(what: &'static str, got: usize) -> Result<(), StatementError> {
    if got > ROWS_MAX {
        return Err(StatementError::TooMany { what, got, max: ROWS_MAX });
    }
    Ok(())
}

impl SessionFacts {
    /// Whether the facts agree with themselves: lines, taxes, shares and periods add up to what the
    /// session was billed.
    ///
    /// # Errors
    /// The sum that does not add up, or the time that lies outside the session.
    pub fn check(&self) -> Result<(), StatementError> {
        self.check_times()?;
        self.check_taxes()?;
        let id = &self.cdr;
        if !self.lines.is_empty() {
            let net = sum("lines", self.lines.iter().map(|line| line.net))?;
            equal(format!("lines of {id}"), net, self.net)?;
            let tax = sum("taxes of lines", self.lines.iter().map(|line| line.tax))?;
            equal(format!("taxes of the lines of {id}"), tax, self.tax)?;
        }
        if !self.shares.is_empty() {
            let shared = sum("shares", self.shares.iter().map(|share| share.amount))?;
            equal(format!("shares of {id}"), shared, self.net)?;
        }
        for correction in &self.corrections {
            sum("a correction", [correction.net, correction.tax].into_iter())?;
            if !correction.shares.is_empty() {
                let shared = sum("shares", correction.shares.iter().map(|share| share.amount))?;
                equal(format!("shares of a correction of {id}"), shared, correction.net)?;
            }
        }
        let gross = sum("net and tax", [self.net, self.tax].into_iter())?;
        equal(format!("net and tax of {id}"), gross, self.gross)
    }

    fn check_times(&self) -> Result<(), StatementError> {
        if self.ended < self.started {
            return Err(StatementError::OutOfOrder { what: "the end of a session" });
        }
        let mut at = self.started;
        for period in &self.periods {
            if period.start < at {
                return Err(StatementError::OutOfOrder { what: "a charging period" });
            }
            at = period
                .start
                .saturating_add(novax_model::time::Duration::from_micros(period.duration_us));
        }
        if at > self.ended {
            return Err(StatementError::OutOfOrder { what: "the last charging period" });
        }
        if !self.periods.is_empty() {
            let counted = self.periods.iter().map(|period| Minor::from(period.energy_wh));
            let counted = sum("energy of the periods", counted)?;
            equal(format!("energy of {} in Wh", self.cdr), counted, self.energy_wh.into())?;
        }
        Ok(())
    }

    fn check_taxes(&self) -> Result<(), StatementError> {
        let id = &self.cdr;
        let net = sum("categories", self.categories.iter().map(|category| category.net))?;
        equal(format!("taxed amounts of {id}"), net, self.net)?;
        let taxes = self.categories.iter().flat_map(|category| &category.taxes);
        let tax = sum("taxes", taxes.map(|tax| tax.amount))?;
        equal(format!("taxes of {id}"), tax, self.tax)?;
        for (i, category) in self.categories.iter().enumerate() {
            let lines = || self.lines.iter().filter(move |line| line.category == i);
            if self.lines.is_empty() {
                break;
            }
            let net = sum("lines", lines().map(|line| line.net))?;
            equal(format!("lines of tax category {i} of {id}"), net, category.net)?;
            let tax = sum("taxes", category.taxes.iter().map(|tax| tax.amount))?;
            let of_lines = sum("taxes of lines", lines().map(|line| line.tax))?;
            equal(format!("taxes of the lines of category {i} of {id}"), of_lines, tax)?;
        }
        Ok(())
    }
}

impl AccountFacts {
    /// Whether every running balance follows from the one before it.
    ///
    /// # Errors
    /// The first entry whose balance does not.
    pub fn check(&self) -> Result<(), StatementError> {
        bounded("entries of an account", self.entries.len())?;
        let mut balance = self.opening;
        let mut before = 0;
        for entry in &self.entries {
            if entry.number < before {
                return Err(StatementError::OutOfOrder { what: "an entry of an account" });
            }
            before = entry.number;
            balance = sum("a running balance", [balance, entry.amount].into_iter())?;
            let what = format!("balance of {} after entry {}", self.account, entry.number);
            equal(what, balance, entry.balance)?;
        }
        Ok(())
    }

    /// The balance after the last entry.
    #[must_use]
    pub fn closing(&self) -> Minor {
        self.entries.last().map_or(self.opening, |entry| entry.balance)
    }
}
