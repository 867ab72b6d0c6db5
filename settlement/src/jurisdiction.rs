//! Places of taxation: an ISO 3166-1 country and, where taxes differ inside it, an ISO 3166-2 region.

use crate::error::SettlementError;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// An ISO 3166-1 alpha-2 country code.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rkyv(derive(Debug))]
pub struct Country([u8; 2]);

impl Country {
    /// Two capital letters.
    ///
    /// # Errors
    /// [`SettlementError::Jurisdiction`] when they are not.
    pub fn new(code: &str) -> Result<Country, SettlementError> {
        match code.as_bytes() {
            &[a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(Country([a, b])),
            _ => Err(SettlementError::Jurisdiction(shown(code))),
        }
    }

    /// The two letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only made from ASCII letters")
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A country, or a country and a region of it: `DE`, `CA-QC`, `US-WA`.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rkyv(derive(Debug))]
pub struct Jurisdiction(Box<str>);

impl Jurisdiction {
    /// Reads `CC` or `CC-RRR` (a region has one to three letters or digits).
    ///
    /// # Errors
    /// [`SettlementError::Jurisdiction`] when the text has another form.
    pub fn new(text: &str) -> Result<Jurisdiction, SettlementError> {
        let wrong = || SettlementError::Jurisdiction(shown(text));
        let (country, region) = match text.split_once('-') {
            Some((country, region)) => (country, Some(region)),
            None => (text, None),
        };
        Country::new(country).map_err(|_| wrong())?;
        let region_fits = region.is_none_or(|region| {
            let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
            (1..=3).contains(&region.len()) && region.bytes().all(known)
        });
        if region_fits { Ok(Jurisdiction(text.into())) } else { Err(wrong()) }
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The country alone.
    #[must_use]
    pub fn country(&self) -> Country {
        let (country, _) = self.0.split_at_checked(2).unwrap_or((&self.0, ""));
        Country::new(country).expect("checked when it was made")
    }

    /// The region within the country, if one is named.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.0.split_once('-').map(|(_, region)| region)
    }
}

impl fmt::Debug for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As much of an outside text as an error quotes.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_countries_or_countries_with_a_region() {
        for (text, region) in [("DE", None), ("CA-QC", Some("QC")), ("FR-971", Some("971"))] {
            let place = Jurisdiction::new(text).expect(text);
            assert_eq!(place.country().code(), &text[..2]);
            assert_eq!(place.region(), region);
        }
        for text in ["", "D", "de", "DEU", "CA-", "CA-QCQC", "CA-qc", "CA_QC", "ÄÄ", "CA-Q-C"] {
            assert!(Jurisdiction::new(text).is_err(), "{text}");
        }
    }
}
