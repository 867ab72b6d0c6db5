//! Money: a currency and integer minor units. No floats, no implicit conversion.

use crate::iso4217;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// An amount in minor units (cents, fen, yen). Never negative: direction is debit or credit.
pub type Amount = u128;

/// How much of a text that is no currency is quoted back.
const CODE_SHOWN_CHARS_MAX: usize = 8;

/// An ISO 4217 currency code.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rkyv(compare(PartialEq, PartialOrd), derive(Debug))]
pub struct Currency([u8; 3]);

/// The text is no currency this build knows the minor unit of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a known ISO 4217 currency code")]
pub struct UnknownCurrency(pub String);

impl Currency {
    /// The euro, for tests and the demo.
    pub const EUR: Currency = Currency(*b"EUR");

    /// Looks a code up.
    ///
    /// # Errors
    /// [`UnknownCurrency`] when the code is not in the table.
    pub fn new(code: &str) -> Result<Currency, UnknownCurrency> {
        let bytes = <[u8; 3]>::try_from(code.as_bytes()).ok();
        match bytes.and_then(iso4217::find) {
            Some(entry) => Ok(Currency(entry.code)),
            None => Err(UnknownCurrency(code.chars().take(CODE_SHOWN_CHARS_MAX).collect())),
        }
    }

    /// Looks an ISO 4217 number up, as card networks send it: 978 is the euro.
    #[must_use]
    pub fn from_numeric(numeric: u16) -> Option<Currency> {
        let entry = iso4217::ENTRIES.iter().find(|entry| entry.numeric == numeric)?;
        Some(Currency(entry.code))
    }

    /// Every currency this build knows, by code.
    pub fn all() -> impl ExactSizeIterator<Item = Currency> {
        iso4217::ENTRIES.iter().map(|entry| Currency(entry.code))
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
        iso4217::find(self.0).expect("only made from codes of the list").exponent
    }

    /// The ISO 4217 number: 978 for EUR.
    #[must_use]
    pub fn numeric(&self) -> u16 {
        iso4217::find(self.0).expect("only made from codes of the list").numeric
    }

    /// The smallest coin in minor units: 5 for CHF, 100 for SEK, 1 where cash is not rounded.
    ///
    /// For cash alone. Cards, accounts and invoices keep the minor unit.
    #[must_use]
    pub fn cash_step(&self) -> u32 {
        iso4217::cash_step(self.0)
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

    #[test]
    fn every_active_code_of_the_published_list_is_known() {
        let listed = include_str!("../testdata/iso4217.txt");
        let mut known = Vec::new();
        for line in listed.lines().filter(|line| !line.starts_with('#')) {
            let [code, numeric, digits] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("a line has three words: {line}");
            };
            if digits == "N.A." {
                assert!(Currency::new(code).is_err(), "{code} has no minor unit");
                continue;
            }
            let currency = Currency::new(code).expect("listed");
            assert_eq!(currency.exponent(), digits.parse::<u8>().unwrap(), "{code}");
            assert_eq!(currency.numeric(), numeric.parse::<u16>().unwrap(), "{code}");
            assert_eq!(Currency::from_numeric(currency.numeric()), Some(currency));
            known.push(currency);
        }
        assert_eq!(known, Currency::all().collect::<Vec<_>>());
        assert!(known.len() > 150, "only {} currencies", known.len());
        assert!(known.is_sorted(), "found by halving");
    }

    #[test]
    fn cash_is_rounded_to_the_smallest_coin() {
        let step = |code: &str| Currency::new(code).unwrap().cash_step();
        assert_eq!([step("CHF"), step("SEK"), step("EUR"), step("JPY")], [5, 100, 1, 1]);
    }
}
