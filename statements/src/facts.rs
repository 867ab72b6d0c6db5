//! What documents are made of: plain facts that whoever calls has read from rows and the ledger.
//!
//! Amounts are integer minor units with a sign: a correction may take back. `check` holds every set
//! of facts to its own sums before anything is printed; a document never shows numbers that do not
//! add up.

use novax_model::{Currency, Micros, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

/// Minor units of a currency (cents), with a sign.
pub type Minor = i128;

/// Rows one set of facts may have: a document for print has an end.
pub const ROWS_MAX: usize = 1_000_000;

/// A session as it was billed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionFacts {
    /// Its id.
    pub session: SessionId,
    /// The id of its charge detail record: 36 characters at most.
    pub cdr: Box<str>,
    /// Who runs the charger, as roaming names it.
    pub operator: RoamingParty,
    /// Where.
    pub place: PlaceFacts,
    /// At which plug.
    pub connector: ConnectorFacts,
    /// With which token.
    pub token: TokenFacts,
    /// How the token was allowed.
    pub auth: AuthMethod,
    /// What the token's issuer called its consent.
    pub authorization_reference: Option<Box<str>>,
    /// The meter's serial number.
    pub meter: Option<Box<str>>,
    /// When it began (its reservation, where there was one).
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// When its bill was booked: the period it counts in.
    pub booked: Timestamp,
    /// Delivered in watt-hours; negative when more was fed back.
    pub energy_wh: i64,
    /// In order of time, without gaps.
    pub periods: Vec<PeriodFacts>,
    /// What was charged, by price.
    pub lines: Vec<LineFacts>,
    /// What was charged, by tax.
    pub categories: Vec<CategoryFacts>,
    /// Who got what of the net; empty when it was not split.
    pub shares: Vec<ShareFacts>,
    /// Of all amounts.
    pub currency: Currency,
    /// Before tax.
    pub net: Minor,
    /// All taxes.
    pub tax: Minor,
    /// Net and tax.
    pub gross: Minor,
    /// What of the gross is paid already.
    pub paid: Minor,
    /// The buyer accounts for the tax.
    pub reverse_charge: bool,
    /// Why it is taxed so.
    pub tax_words: Box<str>,
    /// What was agreed.
    pub tariff: Option<TariffFacts>,
    /// What the meter signed.
    pub signed: Option<SignedFacts>,
    /// The invoice that has or will have it.
    pub invoice: Option<Box<str>>,
    /// A word for people.
    pub remark: Option<Box<str>>,
    /// Charged at the driver's home: the cost is paid back to the driver.
    pub home_charging: bool,
    /// What was booked on top of the bill since, as differences; each counts in its own period.
    pub corrections: Vec<CorrectionFacts>,
}

/// A party of roaming.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoamingParty {
    /// ISO 3166-1 alpha-2.
    pub country: Box<str>,
    /// Three letters, by ISO 15118.
    pub party: Box<str>,
}

/// A site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlaceFacts {
    /// Its id.
    pub site: Box<str>,
    /// Its name.
    pub name: Option<Box<str>>,
    /// Street and number.
    pub address: Box<str>,
    /// Its town.
    pub city: Box<str>,
    /// Where the country has them.
    pub postal_code: Option<Box<str>>,
    /// Where it matters.
    pub state: Option<Box<str>>,
    /// ISO 3166-1 alpha-2.
    pub country: Box<str>,
    /// Decimal degrees: `51.047599`.
    pub latitude: Box<str>,
    /// Decimal degrees: `3.729944`.
    pub longitude: Box<str>,
    /// IANA name: what the clock on the wall shows.
    pub zone: Box<str>,
}

/// A plug.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectorFacts {
    /// The EVSE's technical id.
    pub evse_uid: Box<str>,
    /// The EVSE's id on its label: `DE*ABC*E1234`.
    pub evse_id: Box<str>,
    /// Within the EVSE.
    pub connector_id: Box<str>,
    /// OCPI `ConnectorType`: `IEC_62196_T2`.
    pub standard: Box<str>,
    /// A cable hangs there; otherwise a socket.
    pub cable: bool,
    /// OCPI `PowerType`: `AC_3_PHASE`, `DC`.
    pub power_type: Box<str>,
}

/// A token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenFacts {
    /// Who issued it.
    pub issuer: RoamingParty,
    /// What a reader reads.
    pub uid: Box<str>,
    /// What it is.
    pub kind: TokenKind,
    /// The contract it stands for.
    pub contract: Box<str>,
}

/// OCPI's `TokenType`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// Made for one session.
    AdHocUser,
    /// An app's.
    AppUser,
    /// A vehicle's, by ISO 15118.
    Emaid,
    /// Anything else.
    Other,
    /// A card.
    Rfid,
}

/// How a token was allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMethod {
    /// Its issuer was asked.
    AuthRequest,
    /// Its issuer or an app started the session.
    Command,
    /// It was on a list.
    Whitelist,
}

/// A stretch of a session in which one price held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeriodFacts {
    /// When it began.
    pub start: Timestamp,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Taken in it.
    pub energy_wh: i64,
    /// The vehicle was charging; otherwise it stood there.
    pub charging: bool,
    /// The plug was reserved, the vehicle not there yet.
    pub reserved: bool,
}

/// What a line of a bill is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Dimension {
    /// Energy; volumes in watt-hours, price per kWh.
    Energy,
    /// Once; volume 1.
    Flat,
    /// Standing without charging; volumes in microseconds, price per hour.
    ParkingTime,
    /// Charging, or reserved; volumes in microseconds, price per hour.
    Time,
    /// What a least or highest price of the tariff added or took; volume 1.
    Limit,
}

/// A line of a bill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineFacts {
    /// What for.
    pub dimension: Dimension,
    /// For a reservation.
    pub reserved: bool,
    /// Counted: watt-hours, microseconds or 1.
    pub volume: i64,
    /// The same in whole steps: what is billed.
    pub billed_volume: i64,
    /// As the tariff lists it, adjusted.
    pub price: Micros,
    /// Before tax.
    pub net: Minor,
    /// Its share of the category's taxes.
    pub tax: Minor,
    /// Its place in [`SessionFacts::categories`].
    pub category: usize,
}

/// All of a bill that is taxed alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CategoryFacts {
    /// Its taxes; empty where none is charged.
    pub taxes: Vec<TaxFacts>,
    /// Before tax.
    pub net: Minor,
}

/// A tax.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaxFacts {
    /// As it stands on the bill: `VAT`, `GST`.
    pub name: Box<str>,
    /// Parts per million of the net.
    pub ppm: u32,
    /// How much.
    pub amount: Minor,
}

/// A part of the net.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShareFacts {
    /// The contract's name of the party, which is its account's: `site-host/harbour`.
    pub party: Box<str>,
    /// What for: `percentage`, `platform-fee`.
    pub purpose: Box<str>,
    /// How much.
    pub amount: Minor,
}

/// A difference booked after the bill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CorrectionFacts {
    /// When it was booked: the period it counts in.
    pub booked: Timestamp,
    /// Why.
    pub reason: Box<str>,
    /// Watt-hours more or less.
    pub energy_wh: i64,
    /// Before tax.
    pub net: Minor,
    /// All taxes.
    pub tax: Minor,
    /// Of the net, by party; empty when the bill was not split.
    pub shares: Vec<ShareFacts>,
}

/// The tariff of a session as roaming partners read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TariffFacts {
    /// Its id.
    pub id: Box<str>,
    /// The OCPI Tariff object as JSON, in the version of the record that is asked for.
    pub json: Box<str>,
}

/// What a meter signed in a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedFacts {
    /// `OCMF`.
    pub encoding: Box<str>,
    /// Of the encoding.
    pub encoding_version: Option<u32>,
    /// As bytes (DER); it is written in base64.
    pub public_key: Option<Vec<u8>>,
    /// In order of time, exactly as the station sent them.
    pub values: Vec<SignedValueFacts>,
    /// Where a driver can check them.
    pub url: Option<Box<str>>,
}

/// One signed value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedValueFacts {
    /// When in the session.
    pub nature: SignedNature,
    /// For people: what was signed. Absent: the payload of the record, where it is OCMF.
    pub plain: Option<Box<str>>,
    /// As the station sent it, to the byte.
    pub raw: Vec<u8>,
}

/// When in a session a value was signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignedNature {
    /// At its start.
    Start,
    /// Within.
    Intermediate,
    /// At its end.
    End,
}

/// A period of books.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Period {
    /// Its first moment.
    #[serde(with = "crate::stored::time")]
    pub from: Timestamp,
    /// The first moment after it.
    #[serde(with = "crate::stored::time")]
    pub until: Timestamp,
    /// IANA name: how its times are shown.
    pub zone: Box<str>,
}

impl Period {
    /// The month `2026-11` by the clocks of a zone; `None` when there is no such month or zone.
    #[must_use]
    pub fn month(text: &str, zone: &str) -> Option<Period> {
        let tz = jiff::tz::TimeZone::get(zone).ok()?;
        let (year, month) = text.split_once('-')?;
        let digits =
            |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return None;
        }
        let first = jiff::civil::Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
        let next = first.last_of_month().tomorrow().ok()?;
        let midnight = |date: jiff::civil::Date| {
            let at = date.to_zoned(tz.clone()).ok()?.timestamp().as_microsecond();
            u64::try_from(at).ok().map(Timestamp)
        };
        Some(Period { from: midnight(first)?, until: midnight(next)?, zone: zone.into() })
    }

    /// Whether a moment is in it.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// An account's entries in a period.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountFacts {
    /// Its name in the chart of accounts.
    pub account: Box<str>,
    /// Of all amounts.
    pub currency: Currency,
    /// Its balance before the first entry: positive is what is owed to its owner.
    pub opening: Minor,
    /// In order of booking.
    pub entries: Vec<EntryFacts>,
}

/// An entry of an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EntryFacts {
    /// Its number in the journal.
    pub number: u64,
    /// When it was booked.
    #[serde(with = "crate::stored::time")]
    pub booked: Timestamp,
    /// When it counts.
    #[serde(with = "crate::stored::time")]
    pub effective: Timestamp,
    /// What it is.
    pub kind: EntryKind,
    /// What it belongs to: the session's id, a payout's number.
    pub reference: Box<str>,
    /// Positive is for the owner.
    #[serde(with = "crate::stored::text")]
    pub amount: Minor,
    /// The balance after it.
    #[serde(with = "crate::stored::text")]
    pub balance: Minor,
}

/// What an entry of a partner's account is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum EntryKind {
    /// Of a session's net.
    Share,
    /// A correction of a session, a refund, a chargeback.
    Adjustment,
    /// A fee of the period, or for the platform.
    Fee,
    /// What a guarantee filled up.
    Guarantee,
    /// What was paid out.
    Payout,
    /// Anything else: money between accounts, exchange.
    Other,
}

/// What heads a document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DocumentFacts {
    /// The series it is numbered in: one a legal entity and kind.
    pub series: Box<str>,
    /// Without gaps in its series, from 1: given by the ledger's order.
    pub number: u64,
    /// When it was issued.
    #[serde(with = "crate::stored::time")]
    pub issued: Timestamp,
    /// When it has to be paid.
    #[serde(with = "crate::stored::maybe_time")]
    pub due: Option<Timestamp>,
    /// Who sells (or settles).
    pub seller: LegalParty,
    /// Who buys (or is settled with).
    pub buyer: LegalParty,
    /// Of all amounts.
    #[serde(with = "crate::stored::currency")]
    pub currency: Currency,
    /// What it is about.
    pub period: Period,
    /// The document it takes back.
    pub original: Option<DocumentReference>,
    /// For people.
    pub note: Option<Box<str>>,
}

/// Another document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DocumentReference {
    /// Its number with its series: `INV-17`.
    pub number: Box<str>,
    /// When it was issued.
    #[serde(with = "crate::stored::time")]
    pub issued: Timestamp,
}

impl DocumentFacts {
    /// The number as people quote it: `INV-17`.
    #[must_use]
    pub fn full_number(&self) -> String {
        format!("{}-{}", self.series, self.number)
    }
}

/// A party to a contract.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LegalParty {
    /// As registered.
    pub name: Box<str>,
    /// Street and number.
    pub street: Box<str>,
    /// Town.
    pub city: Box<str>,
    /// Where the country has them.
    pub postal_code: Option<Box<str>>,
    /// ISO 3166-1 alpha-2.
    pub country: Box<str>,
    /// `DE123456789`.
    pub vat_id: Option<Box<str>>,
    /// A national tax number, where there is no VAT id.
    pub tax_number: Option<Box<str>>,
    /// Where questions go.
    pub email: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_that_of_the_clock_on_the_wall() {
        // zone, month, its first moment and the first after it, by UTC
        let cases = [
            ("UTC", "2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("Europe/Berlin", "2026-10", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"),
            ("Asia/Shanghai", "2026-12", "2026-11-30T16:00:00Z", "2026-12-31T16:00:00Z"),
        ];
        for (zone, month, from, until) in cases {
            let at = |text| Timestamp::parse_rfc3339(text).unwrap();
            let expected = Period { from: at(from), until: at(until), zone: zone.into() };
            assert_eq!(Period::month(month, zone), Some(expected), "{zone} {month}");
        }
        for bad in ["", "2026", "2026-13", "2026-1", "2026-00", "26-01", "2026-11-01", "+026-01"] {
            assert_eq!(Period::month(bad, "UTC"), None, "{bad}");
        }
        assert_eq!(Period::month("2026-11", "Mars/Base"), None);
    }
}
