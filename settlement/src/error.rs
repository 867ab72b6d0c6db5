//! Why a tax, a conversion or a contract was refused, and whose fault it is.

use crate::jurisdiction::Jurisdiction;
use novax_model::{Currency, Timestamp};

/// Why a call was refused. What was refused has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettlementError {
    /// The operator named a place that is none.
    #[error("{0:?} is not a country such as DE, or a country and region such as CA-QC")]
    Jurisdiction(String),
    /// The operator sells where the table has no rate; the table has to be extended.
    #[error("the tax table has no rate for {jurisdiction} at {at}")]
    NoRate {
        /// Where.
        jurisdiction: Jurisdiction,
        /// When.
        at: Timestamp,
    },
    /// The table's author made a mistake: this build cannot be used with it.
    #[error("the tax table is wrong at {place}: {words}")]
    TaxTable {
        /// Which row.
        place: String,
        /// What is wrong.
        words: String,
    },
    /// The buyer gave an id that no authority of the country would have issued.
    #[error("{id:?} does not look like a VAT id of {country}")]
    VatId {
        /// The text that was given.
        id: String,
        /// Whose form it should have.
        country: String,
    },
    /// The rater handed over a negative price; paying a driver is a supply of its own.
    #[error("part {part} of the charge is negative")]
    NegativePart {
        /// Which part, counted from zero.
        part: usize,
    },
    /// The rater named a rate above 100 %.
    #[error("a tax of {ppm} parts per million is above 100 %")]
    TaxRate {
        /// The rate.
        ppm: u32,
    },
    /// The amounts are beyond anything that is sold; the caller is at fault.
    #[error("the amounts are too large to be counted")]
    TooLarge,
    /// More parts than a charge may have; the caller is at fault.
    #[error("a charge has at most {max} parts")]
    TooManyParts {
        /// The most.
        max: usize,
    },
    /// The operator entered an exchange rate that cannot be used.
    #[error("the exchange rate {id:?} is wrong: {words}")]
    Rate {
        /// Its id.
        id: String,
        /// What is wrong.
        words: &'static str,
    },
    /// The caller took a rate outside the time it is good for.
    #[error("the exchange rate {id:?} is not in force at {at}")]
    RateNotInForce {
        /// Its id.
        id: String,
        /// When it was to be used.
        at: Timestamp,
    },
    /// The caller gave an amount in another currency than the rate or contract is for.
    #[error("an amount in {given} was given where {wanted} is meant")]
    CurrencyDiffers {
        /// What was given.
        given: Currency,
        /// What was expected.
        wanted: Currency,
    },
    /// The author of a contract made a mistake in one field.
    #[error("the contract's {field}: {words}")]
    Contract {
        /// The path of the field, such as `steps[2].percent`.
        field: String,
        /// What is wrong.
        words: String,
    },
}
