//! Why a document cannot be written. Every refusal names what is wrong and whose fault it is.

use crate::facts::Minor;

/// Why a document was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Two sums that have to be one are not: the books or the facts given are wrong, and no
    /// document may hide it.
    #[error("{what}: the document says {document}, the books say {books} (minor units)")]
    Differs {
        /// Which sum of what.
        what: String,
        /// By the rows of the document.
        document: Minor,
        /// By the ledger.
        books: Minor,
    },
    /// A field is missing that the document's format demands: whoever filled the facts left it out.
    #[error("{field} is missing, and {format} demands it")]
    Missing {
        /// Which.
        field: &'static str,
        /// Of what.
        format: &'static str,
    },
    /// A text is longer than the format allows: the name or id given is at fault.
    #[error("{field} has {got} characters; {format} allows {max}")]
    TooLong {
        /// Which.
        field: &'static str,
        /// Of what.
        format: &'static str,
        /// How long it is.
        got: usize,
        /// How long it may be.
        max: usize,
    },
    /// A text has characters or a form that the format does not know: the id given is at fault.
    #[error("{field} is {got:?}, which {format} does not allow")]
    Malformed {
        /// Which.
        field: &'static str,
        /// Of what.
        format: &'static str,
        /// Its beginning.
        got: String,
    },
    /// Amounts of several currencies in one document: the caller has to ask for them apart.
    #[error("one document has one currency: {expected} and {got} were given")]
    MixedCurrencies {
        /// Of the document.
        expected: String,
        /// Of a part.
        got: String,
    },
    /// A time lies outside what the facts say themselves: the session or the period is wrong.
    #[error("{what} does not lie within its bounds")]
    OutOfOrder {
        /// Which.
        what: &'static str,
    },
    /// Numbers past what can be counted: the facts given are at fault.
    #[error("{what} is past the range of numbers")]
    Overflow {
        /// Which sum.
        what: &'static str,
    },
    /// The document to be credited does not have what is to be credited: the request is at fault.
    #[error("{what} is not in the document that is to be credited")]
    NotInOriginal {
        /// Which.
        what: String,
    },
    /// The time zone is none this build knows: the site's place is at fault.
    #[error("{0:?} is no time zone of the table")]
    UnknownZone(String),
    /// What was kept of a document is none: the store, or another build, is at fault.
    #[error("what is kept of the document cannot be read: {0}")]
    Unreadable(String),
    /// More rows than one document may have: ask for a shorter period.
    #[error("{what}: {got} rows, and one document has {max} at most")]
    TooMany {
        /// Which rows.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there may be.
        max: usize,
    },
}

impl StatementError {
    /// A stable word for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            StatementError::Differs { .. } => "differs_from_books",
            StatementError::Missing { .. } => "missing_field",
            StatementError::TooLong { .. } => "field_too_long",
            StatementError::Malformed { .. } => "field_malformed",
            StatementError::MixedCurrencies { .. } => "mixed_currencies",
            StatementError::OutOfOrder { .. } => "out_of_order",
            StatementError::Overflow { .. } => "overflow",
            StatementError::NotInOriginal { .. } => "not_in_original",
            StatementError::UnknownZone(_) => "unknown_zone",
            StatementError::Unreadable(_) => "unreadable",
            StatementError::TooMany { .. } => "too_many_rows",
        }
    }
}
