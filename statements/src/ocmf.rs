//! OCMF: meter values signed by the meter, `OCMF|payload|signature`.
//!
//! The signature covers the payload's bytes as they came, so a record keeps them and nothing is
//! ever written anew. Whether a record is genuine ([`verify`]) and what a session measured
//! ([`measured`]) are two questions; both have to be answered before it is billed by it.

mod key;
mod record;
mod series;
mod verify;

pub use key::{Curve, PublicKey};
pub use record::{Pagination, Reading, ReadingUnit, Record, Registers, SignatureSection};
pub use series::{Measured, measured};
pub use verify::{Verdict, verify};

/// Why a text is no OCMF, or its readings measure nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OcmfError {
    /// The station sent more than a record may have.
    #[error("a record has {max} bytes at most, this one {got}")]
    TooLong {
        /// How long it is.
        got: usize,
        /// How long it may be.
        max: usize,
    },
    /// The station's record does not have its three sections.
    #[error("a record is OCMF|payload|signature, this one is not")]
    Sections,
    /// A section is not the JSON it has to be: the station is at fault.
    #[error("the {section} section: {words}")]
    Json {
        /// Which.
        section: &'static str,
        /// What the reader said.
        words: String,
    },
    /// A field has a value that the format does not know: the station is at fault.
    #[error("{field} is {got:?}, which OCMF does not know")]
    Field {
        /// Its key.
        field: &'static str,
        /// Its beginning.
        got: String,
    },
    /// The key is none, or damaged: whoever entered it is at fault.
    #[error("the public key: {0}")]
    Key(&'static str),
    /// The records are not those of one session, whole and in order.
    #[error("the records of a session: {0}")]
    Series(String),
}
