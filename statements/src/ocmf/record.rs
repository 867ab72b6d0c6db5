//! A record, read without changing a byte of it.

use super::OcmfError;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A record of a charging session has some hundred bytes; this many is hostile.
const RECORD_BYTES_MAX: usize = 64 * 1024;
const READINGS_MAX: usize = 1024;
/// Digits of a register value; more is no meter.
const DIGITS_MAX: usize = 20;

/// A record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    raw: Box<[u8]>,
    payload: std::ops::Range<usize>,
    /// FV.
    pub version: Option<Box<str>>,
    /// PG.
    pub pagination: Pagination,
    /// GS: of what signs.
    pub gateway_serial: Option<Box<str>>,
    /// MS: of the meter.
    pub meter_serial: Option<Box<str>>,
    /// IS: a user was assigned.
    pub user_assigned: Option<bool>,
    /// ID: which.
    pub user: Option<Box<str>>,
    /// CI: at which charge point.
    pub charge_point: Option<Box<str>>,
    /// RD, each with what it left out because the one before it had the same.
    pub readings: Vec<Reading>,
    /// The last section.
    pub signature: SignatureSection,
}

/// PG: the counter and what it counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pagination {
    /// T: in a session.
    Transaction(u64),
    /// F: without one.
    Fiscal(u64),
}

/// One reading (RD).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// TM without its state: `2018-07-24T13:22:04,000+0200`.
    pub time: Box<str>,
    /// The letter behind TM: `U`, `I`, `S` or `R`.
    pub time_status: char,
    /// TX: why it was read; absent outside of sessions.
    pub transaction: Option<char>,
    /// RV and RU; absent where only an event is told.
    pub value: Option<Registers>,
    /// RI: the OBIS code.
    pub register: Option<Box<str>>,
    /// RT: `AC` or `DC`.
    pub current: Option<Box<str>>,
    /// EF: `E` energy, `t` time: what must not be billed from here on.
    pub errors: Box<str>,
    /// ST: `G` is good.
    pub status: char,
}

/// A value of a register, to the digit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registers {
    /// As it stands in the record.
    pub text: Box<str>,
    /// `value / 10^places` of the unit.
    pub value: i128,
    /// Decimal places it was given with.
    pub places: u8,
    /// What it is in.
    pub unit: ReadingUnit,
}

/// RU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadingUnit {
    /// Kilowatt-hours.
    KilowattHour,
    /// Watt-hours.
    WattHour,
    /// A resistance: never energy.
    Other,
}

/// The last section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureSection {
    /// SA; the default where it is left out.
    pub algorithm: Box<str>,
    /// SE: `hex` or `base64`.
    pub encoding: Box<str>,
    /// SM.
    pub mime: Box<str>,
    /// SD.
    pub data: Box<str>,
}

#[derive(Deserialize)]
struct PayloadJson {
    #[serde(rename = "FV")]
    version: Option<Box<str>>,
    #[serde(rename = "PG")]
    pagination: Box<str>,
    #[serde(rename = "GS")]
    gateway_serial: Option<Box<str>>,
    #[serde(rename = "MS")]
    meter_serial: Option<Box<str>>,
    #[serde(rename = "IS")]
    user_assigned: Option<bool>,
    #[serde(rename = "ID")]
    user: Option<Box<str>>,
    #[serde(rename = "CI")]
    charge_point: Option<Box<str>>,
    #[serde(rename = "RD")]
    readings: Vec<ReadingJson>,
}

#[derive(Deserialize)]
struct ReadingJson {
    #[serde(rename = "TM")]
    time: Option<Box<str>>,
    #[serde(rename = "TX")]
    transaction: Option<Box<str>>,
    #[serde(rename = "RV")]
    value: Option<Box<RawValue>>,
    #[serde(rename = "RI")]
    register: Option<Box<str>>,
    #[serde(rename = "RU")]
    unit: Option<Box<str>>,
    #[serde(rename = "RT")]
    current: Option<Box<str>>,
    #[serde(rename = "EF")]
    errors: Option<Box<str>>,
    #[serde(rename = "ST")]
    status: Option<Box<str>>,
}

#[derive(Deserialize)]
struct SignatureJson {
    #[serde(rename = "SA")]
    algorithm: Option<Box<str>>,
    #[serde(rename = "SE")]
    encoding: Option<Box<str>>,
    #[serde(rename = "SM")]
    mime: Option<Box<str>>,
    #[serde(rename = "SD")]
    data: Box<str>,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// What is not OCMF about it.
    pub fn parse(raw: &[u8]) -> Result<Record, OcmfError> {
        if raw.len() > RECORD_BYTES_MAX {
            return Err(OcmfError::TooLong { got: raw.len(), max: RECORD_BYTES_MAX });
        }
        let text = std::str::from_utf8(raw).map_err(|_| OcmfError::Sections)?;
        // Line ends around a record belong to whoever carried it.
        let lead = text.len() - text.trim_start().len();
        let mut sections = text.trim().split('|');
        let (head, payload, signature) = (sections.next(), sections.next(), sections.next());
        let (Some("OCMF"), Some(payload), Some(signature), None) =
            (head, payload, signature, sections.next())
        else {
            return Err(OcmfError::Sections);
        };
        let from = lead + "OCMF|".len();
        let json: PayloadJson = read("payload", payload)?;
        let signature: SignatureJson = read("signature", signature)?;
        Ok(Record {
            raw: raw.into(),
            payload: from..from + payload.len(),
            version: json.version,
            pagination: pagination(&json.pagination)?,
            gateway_serial: json.gateway_serial,
            meter_serial: json.meter_serial,
            user_assigned: json.user_assigned,
            user: json.user,
            charge_point: json.charge_point,
            readings: readings(json.readings)?,
            signature: SignatureSection {
                algorithm: signature.algorithm.unwrap_or("ECDSA-secp256r1-SHA256".into()),
                encoding: signature.encoding.unwrap_or("hex".into()),
                mime: signature.mime.unwrap_or("application/x-der".into()),
                data: signature.data,
            },
        })
    }

    /// The whole record, as it came.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// What is signed, as it came.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.raw[self.payload.clone()]
    }
}

fn read<'a, T: Deserialize<'a>>(section: &'static str, text: &'a str) -> Result<T, OcmfError> {
    serde_json::from_str(text)
        .map_err(|error| OcmfError::Json { section, words: error.to_string() })
}

fn field(field: &'static str, got: &str) -> OcmfError {
    OcmfError::Field { field, got: got.chars().take(40).collect() }
}

fn pagination(text: &str) -> Result<Pagination, OcmfError> {
    let wrong = || field("PG", text);
    let (context, digits) = text.split_at_checked(1).ok_or_else(wrong)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    match context {
        "T" => Ok(Pagination::Transaction(number)),
        "F" => Ok(Pagination::Fiscal(number)),
        _ => Err(wrong()),
    }
}

/// Fills each reading with what it left out because the one before it had the same.
fn readings(given: Vec<ReadingJson>) -> Result<Vec<Reading>, OcmfError> {
    if given.is_empty() || given.len() > READINGS_MAX {
        return Err(field("RD", &given.len().to_string()));
    }
    let mut readings: Vec<Reading> = Vec::with_capacity(given.len());
    let mut unit: Option<Box<str>> = None;
    for json in given {
        let before = readings.last();
        unit = json.unit.or(unit);
        let (time, time_status) = match (&json.time, before) {
            (Some(text), _) => time(text)?,
            (None, Some(before)) => (before.time.clone(), before.time_status),
            (None, None) => return Err(field("TM", "")),
        };
        let value = match &json.value {
            Some(raw) => Some(registers(raw.get(), unit.as_deref())?),
            None => None,
        };
        let transaction = match &json.transaction {
            Some(text) => Some(letter("TX", text, "BCXELRAPST")?),
            None => before.and_then(|before| before.transaction),
        };
        let status = match (&json.status, before) {
            (Some(text), _) => letter("ST", text, "NGTDRMXIOSEF")?,
            (None, Some(before)) => before.status,
            (None, None) => return Err(field("ST", "")),
        };
        let errors = json.errors.or_else(|| before.map(|before| before.errors.clone()));
        let errors = errors.unwrap_or_default();
        if !errors.chars().all(|c| matches!(c, 'E' | 't')) {
            return Err(field("EF", &errors));
        }
        readings.push(Reading {
            time,
            time_status,
            transaction,
            value,
            register: json.register.or_else(|| before.and_then(|before| before.register.clone())),
            current: json.current.or_else(|| before.and_then(|before| before.current.clone())),
            errors,
            status,
        });
    }
    Ok(readings)
}

fn letter(name: &'static str, text: &str, known: &str) -> Result<char, OcmfError> {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if known.contains(letter) => Ok(letter),
        _ => Err(field(name, text)),
    }
}

/// `2018-07-24T13:22:04,000+0200 S`.
fn time(text: &str) -> Result<(Box<str>, char), OcmfError> {
    let wrong = || field("TM", text);
    let (time, status) = text.rsplit_once(' ').ok_or_else(wrong)?;
    let form = b"0000-00-00T00:00:00,000+0000";
    let fits = time.len() == form.len()
        && time.bytes().zip(form).all(|(got, form)| match form {
            b'0' => got.is_ascii_digit(),
            b',' => matches!(got, b',' | b'.'),
            b'+' => matches!(got, b'+' | b'-'),
            _ => got == *form,
        });
    if !fits {
        return Err(wrong());
    }
    Ok((time.into(), letter("TM", status, "UISR")?))
}

/// A JSON number kept to the digit. Exponents are refused: no meter writes them.
fn registers(text: &str, unit: Option<&str>) -> Result<Registers, OcmfError> {
    let wrong = || field("RV", text);
    let size = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = size.split_once('.').unwrap_or((size, ""));
    let digits = format!("{whole}{fraction}");
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || digits.len() > DIGITS_MAX {
        return Err(wrong());
    }
    let value: i128 = digits.parse().map_err(|_| wrong())?;
    let unit = match unit {
        Some("kWh") => ReadingUnit::KilowattHour,
        Some("Wh") => ReadingUnit::WattHour,
        Some("mOhm" | "uOhm") => ReadingUnit::Other,
        Some(other) => return Err(field("RU", other)),
        None => return Err(field("RU", "")),
    };
    Ok(Registers {
        text: text.into(),
        value: if size.len() < text.len() { -value } else { value },
        places: u8::try_from(fraction.len()).map_err(|_| wrong())?,
        unit,
    })
}
