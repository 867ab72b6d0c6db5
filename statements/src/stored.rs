//! Documents as they are kept: JSON without number and date, which only their order gives, and read
//! back with them. What is read back prints as it did.
//!
//! **Invariant**: the same document is the same bytes; amounts are texts, so no reader rounds them.

use crate::error::StatementError;
use crate::facts::DocumentFacts;
use crate::invoice::Invoice;
use crate::settlement::SettlementStatement;
use crate::sheet::{Printed, Sheet};
use novax_model::Timestamp;
use serde::{Deserialize, Serialize};

/// What is kept of a document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Stored {
    /// An invoice or a credit note.
    Invoice(Invoice),
    /// A settlement statement.
    Settlement(SettlementStatement),
}

/// What only the order of documents gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The series.
    pub series: Box<str>,
    /// From 1.
    pub number: u64,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it has to be paid.
    pub due: Option<Timestamp>,
}

impl Stored {
    fn document(&mut self) -> &mut DocumentFacts {
        match self {
            Stored::Invoice(invoice) => &mut invoice.document,
            Stored::Settlement(statement) => &mut statement.document,
        }
    }

    fn stamped(mut self, stamp: Stamp) -> Stored {
        let document = self.document();
        (document.series, document.number) = (stamp.series, stamp.number);
        (document.issued, document.due) = (stamp.issued, stamp.due);
        self
    }

    /// What is kept: all but number and dates.
    #[must_use]
    pub fn facts(&self) -> Vec<u8> {
        let blank = Stamp { series: "".into(), number: 0, issued: Timestamp::ZERO, due: None };
        let blank = self.clone().stamped(blank);
        serde_json::to_vec(&blank).expect("facts have no maps with other keys than texts")
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// [`StatementError::Unreadable`] when it is not what [`Stored::facts`] wrote.
    pub fn read(facts: &[u8], stamp: Stamp) -> Result<Stored, StatementError> {
        let stored: Stored = serde_json::from_slice(facts)
            .map_err(|error| StatementError::Unreadable(error.to_string()))?;
        Ok(stored.stamped(stamp))
    }
}

impl Printed for Stored {
    fn sheet(&self) -> Result<Sheet, StatementError> {
        match self {
            Stored::Invoice(invoice) => invoice.sheet(),
            Stored::Settlement(statement) => statement.sheet(),
        }
    }
}

/// Numbers and ids as texts.
pub(crate) mod text {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;
    use std::fmt::Display;
    use std::str::FromStr;

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Lists of amounts as texts.
pub(crate) mod texts {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(values: &[i128], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<i128>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

/// Millionths as text.
pub(crate) mod micros {
    use novax_model::Micros;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(value: &Micros, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&value.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Micros, D::Error> {
        String::deserialize(from)?.parse().map(Micros).map_err(D::Error::custom)
    }
}

/// Microseconds since 1970.
pub(crate) mod time {
    use novax_model::Timestamp;
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(value: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        u64::deserialize(from).map(Timestamp)
    }
}

/// Microseconds since 1970, or none.
pub(crate) mod maybe_time {
    use novax_model::Timestamp;
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::{Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|at| at.0).serialize(to)
    }

    pub(crate) fn deserialize<'de, D>(from: D) -> Result<Option<Timestamp>, D::Error>
    where
        D: Deserializer<'de>,
    {
        Option::<u64>::deserialize(from).map(|at| at.map(Timestamp))
    }
}

/// A currency by its code.
pub(crate) mod currency {
    use novax_model::Currency;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(value: &Currency, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.code())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Currency, D::Error> {
        Currency::new(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}
