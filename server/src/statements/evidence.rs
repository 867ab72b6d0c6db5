//! What meters signed, and whether it is so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use novax_charging::rows::StationRow;
use novax_charging::{SignedNature, SignedRow, SignedValue};
use novax_statements::facts::{self, SignedFacts, SignedValueFacts};
use novax_statements::ocmf::{self, PublicKey, Record, Verdict};

/// What OCPP 1.6 stations send as text, by the Open Charge Alliance's note on signed meter values.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wrapped {
    signed_meter_data: String,
    #[serde(default)]
    public_key: String,
}

/// The record as the meter made it: stations send it as it is, in base64, or in a JSON object.
#[must_use]
pub fn record(raw: &[u8]) -> Vec<u8> {
    if let Ok(wrapped) = serde_json::from_slice::<Wrapped>(raw) {
        return bare(wrapped.signed_meter_data.as_bytes());
    }
    bare(raw)
}

/// The key that came along.
fn key_of(value: &SignedValue) -> String {
    if !value.key.is_empty() {
        return value.key.to_string();
    }
    let wrapped = serde_json::from_slice::<Wrapped>(&value.raw);
    wrapped.map(|wrapped| wrapped.public_key).unwrap_or_default()
}

fn bare(raw: &[u8]) -> Vec<u8> {
    let is_record = |bytes: &[u8]| bytes.trim_ascii_start().starts_with(b"OCMF|");
    if is_record(raw) {
        return raw.to_vec();
    }
    let text: Vec<u8> = raw.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    match STANDARD.decode(&text) {
        Ok(decoded) if is_record(&decoded) => decoded,
        _ => raw.to_vec(),
    }
}

/// What was found of one value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Examined {
    /// When in the session.
    pub nature: SignedNature,
    /// As the station sent it.
    pub raw: Vec<u8>,
    /// As the meter made it.
    pub record: Vec<u8>,
    /// Where the key is from: `station`, `message` or `none`.
    pub key_from: &'static str,
    /// `valid`, `invalid` or `unverifiable`.
    pub verdict: &'static str,
    /// Why, if it is not valid.
    pub reason: Option<String>,
}

/// Examines all values of a session by the key of the station's meter; where nobody entered one, by the key
/// in the message, which proves no more than that nothing was changed since.
#[must_use]
pub fn examine(row: &SignedRow, station: Option<&StationRow>) -> Vec<Examined> {
    let entered = station.and_then(|station| station.meter_key.as_deref());
    row.values.iter().map(|value| examine_one(value, entered)).collect()
}

fn examine_one(value: &SignedValue, entered: Option<&str>) -> Examined {
    let along = key_of(value);
    let (key_from, key) = match (entered, along.as_str()) {
        (Some(key), _) => ("station", key),
        (None, "") => ("none", ""),
        (None, key) => ("message", key),
    };
    let record = record(&value.raw);
    let (verdict, reason) = judge(&record, key);
    let (nature, raw) = (value.nature, value.raw.clone());
    Examined { nature, raw, record, key_from, verdict, reason }
}

fn judge(record: &[u8], key: &str) -> (&'static str, Option<String>) {
    let unverifiable = |reason: String| ("unverifiable", Some(reason));
    let record = match Record::parse(record) {
        Ok(record) => record,
        Err(error) => return unverifiable(error.to_string()),
    };
    if key.is_empty() {
        return unverifiable("no public key of the meter is known".to_owned());
    }
    let key = match PublicKey::parse(key) {
        Ok(key) => key,
        Err(error) => return unverifiable(error.to_string()),
    };
    match ocmf::verify(&record, &key) {
        Verdict::Valid => ("valid", None),
        Verdict::Invalid(reason) => ("invalid", Some(reason.to_owned())),
        Verdict::Unverifiable(reason) => unverifiable(reason.to_owned()),
    }
}

/// What the records of a session measured, in watt-hours; or why they must not be billed by.
///
/// # Errors
/// In words.
pub fn measured(values: &[Examined]) -> Result<i128, String> {
    let records: Result<Vec<Record>, _> =
        values.iter().map(|value| Record::parse(&value.record)).collect();
    let records = records.map_err(|error| error.to_string())?;
    ocmf::measured(&records).map(|measured| measured.energy_wh).map_err(|error| error.to_string())
}

/// As charge detail records carry it.
#[must_use]
pub fn signed_facts(row: &SignedRow, station: Option<&StationRow>) -> Option<SignedFacts> {
    let first = row.values.first()?;
    let entered = station.and_then(|station| station.meter_key.as_deref());
    let along = key_of(first);
    let key = entered.unwrap_or(&along);
    let bare: String = key
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(str::chars)
        .filter(|letter| !letter.is_ascii_whitespace())
        .collect();
    let from_hex = crate::audit::from_hex(&bare).filter(|bytes| !bytes.is_empty());
    let public_key = from_hex.or_else(|| STANDARD.decode(&bare).ok());
    let value = |value: &SignedValue| SignedValueFacts {
        nature: match value.nature {
            SignedNature::Start => facts::SignedNature::Start,
            SignedNature::Intermediate => facts::SignedNature::Intermediate,
            SignedNature::End => facts::SignedNature::End,
        },
        plain: None,
        raw: record(&value.raw),
    };
    Some(SignedFacts {
        encoding: if first.encoding.is_empty() { "OCMF".into() } else { first.encoding.clone() },
        encoding_version: None,
        public_key: public_key.filter(|key| !key.is_empty()),
        values: row.values.iter().map(value).collect(),
        url: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] = b"OCMF|{\"FV\":\"1.0\"}|{\"SD\":\"00\"}";

    #[test]
    fn a_record_is_found_as_it_is_or_in_base64() {
        assert_eq!(record(RECORD), RECORD);
        assert_eq!(record(STANDARD.encode(RECORD).as_bytes()), RECORD);
        let wrapped = format!(
            r#"{{"signedMeterData":"{}","publicKey":"3059","encodingMethod":"OCMF"}}"#,
            STANDARD.encode(RECORD)
        );
        assert_eq!(record(wrapped.as_bytes()), RECORD);
        assert_eq!(record(b"\x00\xff"), b"\x00\xff");
        assert_eq!(record(STANDARD.encode(b"something else").as_bytes()).len(), 20);
    }

    #[test]
    fn what_cannot_be_told_is_said_with_the_reason() {
        let value = |raw: &[u8], key: &str| SignedValue {
            nature: SignedNature::End,
            encoding: "OCMF".into(),
            method: "".into(),
            key: key.into(),
            raw: raw.to_vec(),
        };
        let broken = examine_one(&value(b"no record", "3059"), None);
        assert_eq!((broken.verdict, broken.key_from), ("unverifiable", "message"));
        assert!(broken.reason.is_some());
        let keyless = examine_one(&value(RECORD, ""), None);
        assert_eq!((keyless.verdict, keyless.key_from), ("unverifiable", "none"));
    }
}
