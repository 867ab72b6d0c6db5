//! Time stamps in messages: RFC 3339 on the wire, [`Timestamp`] in the types. For `#[serde(with)]`.

use novax_model::Timestamp;
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::Serializer;

use super::text::Text;

/// Writes RFC 3339 in UTC with milliseconds.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339())
}

/// Reads RFC 3339, with the leniency of [`Timestamp::parse_rfc3339`].
///
/// # Errors
/// When the text is no date-time.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = Text::deserialize(deserializer)?;
    Timestamp::parse_rfc3339(text.trim()).map_err(de::Error::custom)
}

/// The same for fields that may be left out.
pub mod optional {
    use super::{Deserialize, Deserializer, Serializer, Text, Timestamp};

    /// Writes RFC 3339 in UTC with milliseconds.
    ///
    /// # Errors
    /// Those of the serializer.
    #[allow(clippy::ref_option, reason = "the signature is serde's")]
    pub fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads RFC 3339. What cannot be read counts as left out: the field was not needed.
    ///
    /// # Errors
    /// When the value is not text at all.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<Text<'de>>::deserialize(deserializer)?;
        Ok(text.and_then(|text| Timestamp::parse_rfc3339(text.trim()).ok()))
    }
}
