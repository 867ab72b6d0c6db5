//! Documents of what the rows say: facts are read from a snapshot and handed to `novax-statements`.
//!
//! Floors, top first: [`issue`] (what is to be numbered), [`report`] (what is not) > [`session`] (the facts
//! of a session) > [`books`] (rows, sets of the journal, who an account is). [`evidence`] stands beside
//! them: what meters signed, and whether it is so.
//!
//! **Invariants**
//! * A document is made of one snapshot of all partitions.
//! * What the ledger booked is read from the journal, what sessions cost from their rows: a document whose
//!   two sides differ is not made.

pub mod books;
pub mod evidence;
pub mod issue;
pub mod report;
pub mod session;

use crate::config::StatementsConfig;
use novax_model::Currency;
use novax_statements::StatementError;
use novax_statements::facts::{LegalParty, RoamingParty};

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoDocument {
    /// A row is damaged or cannot be read: the store is at fault.
    #[error("{0}")]
    Storage(String),
    /// The facts make no document.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// There is nothing of that name, or it is not over: the request is at fault.
    #[error("there is no {what} {id:?}")]
    Unknown {
        /// What was asked for.
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// There is nothing to write down.
    #[error("{0}")]
    Nothing(String),
    /// Who sells is not configured: whoever runs the node left it out.
    #[error(
        "{0} is not configured: a document has to name who issues it (section [statements] of the \
         configuration)"
    )]
    NoSeller(&'static str),
    /// The request names no currency and there are several.
    #[error("there are amounts in {0}: name one currency")]
    Currencies(String),
    /// One document has no room for so much.
    #[error("{what}: {got}, and one document has room for {max}")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        got: usize,
        /// How much there may be.
        max: usize,
    },
}

impl From<novax_engine::Error> for NoDocument {
    fn from(error: novax_engine::Error) -> NoDocument {
        NoDocument::Storage(error.to_string())
    }
}

impl From<novax_charging::rows::CorruptRow> for NoDocument {
    fn from(error: novax_charging::rows::CorruptRow) -> NoDocument {
        NoDocument::Storage(error.to_string())
    }
}

/// Country and party of an operator nobody configured. Reports name it so; records are refused.
const NOBODY: [&str; 2] = ["ZZ", "NVX"];

impl StatementsConfig {
    /// Who issues documents.
    ///
    /// # Errors
    /// [`NoDocument::NoSeller`] naming what an invoice has to say and the configuration does not.
    pub fn legal_party(&self) -> Result<LegalParty, NoDocument> {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        if self.vat_id.is_none() && self.tax_number.is_none() {
            return Err(NoDocument::NoSeller("statements.vat_id or statements.tax_number"));
        }
        let maybe = |text: &Option<String>| text.as_deref().map(Into::into);
        Ok(LegalParty {
            name: self.name.as_deref().ok_or(NoDocument::NoSeller("statements.name"))?.into(),
            street: text(&self.street),
            city: text(&self.city),
            postal_code: maybe(&self.postal_code),
            country: self
                .country
                .as_deref()
                .ok_or(NoDocument::NoSeller("statements.country"))?
                .into(),
            vat_id: maybe(&self.vat_id),
            tax_number: maybe(&self.tax_number),
            email: maybe(&self.email),
        })
    }

    /// The operator as roaming names it.
    #[must_use]
    pub fn operator(&self) -> RoamingParty {
        let [country, party] = match self.party.as_deref().and_then(|text| text.split_once('*')) {
            Some((country, party)) => [country, party],
            None => [self.country.as_deref().unwrap_or(NOBODY[0]), NOBODY[1]],
        };
        RoamingParty { country: country.into(), party: party.into() }
    }
}

/// The one currency of some amounts, or the one that was asked for.
///
/// # Errors
/// [`NoDocument::Currencies`] when there are several and none was named.
pub fn one_currency(
    asked: Option<Currency>,
    found: impl Iterator<Item = Currency>,
) -> Result<Option<Currency>, NoDocument> {
    if asked.is_some() {
        return Ok(asked);
    }
    let found: std::collections::BTreeSet<Currency> = found.collect();
    match found.len() {
        0 | 1 => Ok(found.first().copied()),
        _ => {
            let codes: Vec<String> = found.iter().map(ToString::to_string).collect();
            Err(NoDocument::Currencies(codes.join(", ")))
        }
    }
}
