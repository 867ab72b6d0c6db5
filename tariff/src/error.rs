//! What can be wrong with a tariff, and whose fault it is.

/// A tariff that cannot be used, or a text that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TariffError {
    /// The tariff's author gave a value that no tariff may have.
    #[error("{path}: {what}: whoever wrote the tariff must correct it")]
    Invalid {
        /// Where in the tariff: `elements[2].components[0].price`.
        path: String,
        /// What is wrong there.
        what: String,
    },
    /// The sender's text is no JSON.
    #[error("not JSON: {0}: the sender must correct it")]
    NotJson(String),
    /// The sender's JSON is no tariff.
    #[error("{path}: {what}: the sender must correct it")]
    Field {
        /// Where in the text: `elements[2].price_components[0].price`.
        path: String,
        /// What is wrong there.
        what: String,
    },
    /// The tariff is sound, but the protocol it should be written in has no words for it.
    #[error("{path}: {what}: the tariff must be said another way for this protocol")]
    Inexpressible {
        /// Where in the tariff.
        path: String,
        /// What cannot be said.
        what: String,
    },
    /// The site's owner named a time zone that the zone table does not have.
    #[error("there is no time zone {0:?}: whoever set up the site must name one of IANA's")]
    UnknownZone(String),
}

impl TariffError {
    /// A wrong value at a place.
    pub(crate) fn invalid(path: impl Into<String>, what: impl Into<String>) -> TariffError {
        TariffError::Invalid { path: path.into(), what: what.into() }
    }
}
