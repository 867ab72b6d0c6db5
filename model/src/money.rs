//! Money: a currency and integer minor units. No floats, no implicit conversion.

use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// An amount in minor units (cents, fen, yen). Never negative: direction is debit or credit.
pub type Amount = u128;

/// An ISO 4217 currency code.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rkyv(compare(PartialEq, PartialOrd), derive(Debug))]
pub struct Currency([u8; 3]);

/// The text is no currency this build knows the minor unit of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a known ISO 4217 currency code")]
pub struct UnknownCurrency(pub String);

/// Code and minor-unit exponent (ISO 4217 list one).
const KNOWN: [(&str, u8); 16] = [
    ("AUD", 2),
    ("CAD", 2),
    ("CHF", 2),
    ("CNY", 2),
    ("CZK", 2),
    ("DKK", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("HUF", 2),
    ("JPY", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("NOK", 2),
    ("PLN", 2),
    ("SEK", 2),
    ("USD", 2),
];

impl Currency {
    /// The euro, for tests and the demo.
    pub const EUR: Currency = Currency(*b"EUR");

    /// Looks a code up.
    ///
    /// # Errors
    /// [`UnknownCurrency`] when the code is not in the table.
    pub fn new(code: &str) -> Result<Currency, UnknownCurrency> {
        match KNOWN.iter().find(|(known, _)| *known == code) {
            Some((known, _)) => {
                let mut bytes = [0; 3];
                bytes.copy_from_slice(known.as_bytes());
                Ok(Currency(bytes))
            }
            None => Err(UnknownCurrency(code.into())),
        }
    }

    /// The three letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only made from ASCII codes")
    }

    /// The three letters as bytes, for canonical encodings.
    #[must_use]
    pub fn bytes(self) -> [u8; 3] {
        self.0
    }

    /// The currency of three bytes that [`Currency::bytes`] gave.
    ///
    /// # Errors
    /// [`UnknownCurrency`] when they are not one.
    pub fn from_bytes(bytes: [u8; 3]) -> Result<Currency, UnknownCurrency> {
        let text = String::from_utf8_lossy(&bytes);
        Currency::new(&text)
    }

    /// Decimal places between major and minor unit: 2 for EUR, 0 for JPY.
    #[must_use]
    pub fn exponent(&self) -> u8 {
        KNOWN.iter().find(|(known, _)| *known == self.code()).map_or(2, |(_, exponent)| *exponent)
    }

    /// An amount as people write it: `12.34 EUR`.
    #[must_use]
    pub fn format(&self, minor: Amount) -> String {
        let exponent = usize::from(self.exponent());
        if exponent == 0 {
            return format!("{minor} {}", self.code());
        }
        let scale = 10_u128.pow(u32::from(self.exponent()));
        format!("{}.{:0exponent$} {}", minor / scale, minor % scale, self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_with_the_currencys_own_minor_unit() {
        assert_eq!(Currency::EUR.format(1234), "12.34 EUR");
        assert_eq!(Currency::new("JPY").unwrap().format(1234), "1234 JPY");
        assert_eq!(Currency::new("KWD").unwrap().format(5), "0.005 KWD");
        assert!(Currency::new("EURO").is_err());
        assert!(Currency::new("eur").is_err());
    }
}
