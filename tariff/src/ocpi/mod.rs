//! Tariffs as OCPI's parties send them to each other: 2.2.1 and 2.3.0.
//!
//! Floors: `decimal` (exact numbers), `json` (a text, walked with its paths), then `read` and `write`.
//! Reading is strict: what is wrong is refused with its place. Fields that OCPI does not know are
//! counted, since partners do add their own. What is written reads back as the same tariff.

pub(crate) mod decimal;
pub(crate) mod json;
pub(crate) mod read;
pub(crate) mod write;

pub use json::{JSON_BYTES_MAX, Unknown};
pub use read::Parsed;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    V221,
    V230,
}

impl Version {
    /// The names of a limit's two bounds.
    fn limit_fields(self) -> (&'static str, &'static str) {
        match self {
            Version::V221 => ("excl_vat", "incl_vat"),
            Version::V230 => ("before_taxes", "after_taxes"),
        }
    }
}

/// OCPI 2.2.1: prices are without tax.
pub mod v221 {
    use super::{Parsed, Version, read, write};
    use crate::{Tariff, TariffError};

    /// Reads a tariff object.
    ///
    /// # Errors
    /// What is wrong with it and where; the sender's fault.
    pub fn parse(text: &str) -> Result<Parsed, TariffError> {
        read::tariff(text, Version::V221)
    }

    /// Writes a tariff object. What is held at the start stays here: 2.2.1 has no word for it.
    ///
    /// # Errors
    /// What of the tariff OCPI 2.2.1 cannot say.
    pub fn write(tariff: &Tariff) -> Result<String, TariffError> {
        write::tariff(tariff, Version::V221)
    }
}

/// OCPI 2.3.0: a tariff says whether its prices hold tax.
pub mod v230 {
    use super::{Parsed, Version, read, write};
    use crate::{Tariff, TariffError};

    /// Reads a tariff object.
    ///
    /// # Errors
    /// What is wrong with it and where; the sender's fault.
    pub fn parse(text: &str) -> Result<Parsed, TariffError> {
        read::tariff(text, Version::V230)
    }

    /// Writes a tariff object.
    ///
    /// # Errors
    /// What of the tariff OCPI 2.3.0 cannot say.
    pub fn write(tariff: &Tariff) -> Result<String, TariffError> {
        write::tariff(tariff, Version::V230)
    }
}
