//! OCPI charge detail records, versions 2.2.1 and 2.3.0, as JSON.
//!
//! A record is never edited: what was wrong is taken back by a credit record, which repeats the
//! original and has negative amounts in `total_cost` alone, and a new record follows under a new
//! id. Volumes are rounded to OCPI's four places over their running sum, so that the periods of a
//! record sum to its totals.

mod cost;
mod fields;
mod volumes;

use crate::country::alpha3;
use crate::error::StatementError;
use crate::facts::{
    AuthMethod, Dimension, LineFacts, RoamingParty, SessionFacts, SignedFacts, SignedNature,
    SignedValueFacts, TokenKind,
};
use crate::json::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cost::{Cost, all_taxes};
use fields::{cut, degrees, exactly, identifier, malformed, required, text, word};
use novax_model::Timestamp;
use volumes::Volumes;

/// Which OCPI a record is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OcpiVersion {
    /// Prices are `excl_vat` and `incl_vat`.
    V221,
    /// Prices are `before_taxes` and a list of taxes.
    V230,
}

/// How a record is taken back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credit {
    /// The id of the credit record: another than the original's, 39 characters at most.
    pub id: Box<str>,
    /// When it was made.
    pub made: Timestamp,
}

const FORMAT: &str = "OCPI";
/// Numbers of OCPI have four decimal places.
const PLACES: u8 = 4;

/// The record of a session.
///
/// # Errors
/// The sum that does not add up, or the field that OCPI has no room for.
pub fn cdr(facts: &SessionFacts, version: OcpiVersion) -> Result<String, StatementError> {
    write(facts, version, None)
}

/// The record that takes another back.
///
/// # Errors
/// As [`cdr`]; and when its id is the original's.
pub fn credit_cdr(
    facts: &SessionFacts,
    credit: &Credit,
    version: OcpiVersion,
) -> Result<String, StatementError> {
    if credit.id.eq_ignore_ascii_case(&facts.cdr) {
        return Err(malformed("id of a credit CDR", &credit.id));
    }
    write(facts, version, Some(credit))
}

fn write(
    facts: &SessionFacts,
    version: OcpiVersion,
    credit: Option<&Credit>,
) -> Result<String, StatementError> {
    facts.check()?;
    let written = Volumes::of(facts)?;
    let mut json = Json::default();
    let mut result = Ok(());
    json.item(|json| {
        result = head(json, facts, credit)
            .and_then(|()| location(json, facts))
            .and_then(|()| agreed(json, facts))
            .and_then(|()| periods(json, facts, &written))
            .and_then(|()| signed(json, facts))
            .and_then(|()| totals(json, facts, &written, version, credit.is_some()))
            .and_then(|()| tail(json, facts, credit));
    });
    result.map(|()| json.finish())
}

fn head(
    json: &mut Json,
    facts: &SessionFacts,
    credit: Option<&Credit>,
) -> Result<(), StatementError> {
    identifier("id", &facts.cdr, 36)?;
    party(json, &facts.operator)?;
    match credit {
        Some(credit) => json.text("id", identifier("id", &credit.id, 39)?),
        None => json.text("id", &facts.cdr),
    }
    json.text("start_date_time", &facts.started.to_rfc3339());
    json.text("end_date_time", &facts.ended.to_rfc3339());
    json.text("session_id", &facts.session.to_string());
    token(json, facts)?;
    json.text(
        "auth_method",
        match facts.auth {
            AuthMethod::AuthRequest => "AUTH_REQUEST",
            AuthMethod::Command => "COMMAND",
            AuthMethod::Whitelist => "WHITELIST",
        },
    );
    if let Some(reference) = &facts.authorization_reference {
        let field = "authorization_reference";
        json.text(field, identifier(field, reference, 36)?);
    }
    Ok(())
}

fn party(json: &mut Json, party: &RoamingParty) -> Result<(), StatementError> {
    exactly("country_code", &party.country, 2)?;
    exactly("party_id", &party.party, 3)?;
    json.text("country_code", &party.country);
    json.text("party_id", &party.party);
    Ok(())
}

fn token(json: &mut Json, facts: &SessionFacts) -> Result<(), StatementError> {
    let token = &facts.token;
    let mut result = Ok(());
    json.object("cdr_token", |json| {
        result = party(json, &token.issuer).and_then(|()| {
            json.text("uid", identifier("cdr_token.uid", &token.uid, 36)?);
            json.text(
                "type",
                match token.kind {
                    TokenKind::AdHocUser => "AD_HOC_USER",
                    TokenKind::AppUser => "APP_USER",
                    TokenKind::Emaid => "EMAID",
                    TokenKind::Other => "OTHER",
                    TokenKind::Rfid => "RFID",
                },
            );
            json.text("contract_id", identifier("cdr_token.contract_id", &token.contract, 36)?);
            Ok(())
        });
    });
    result
}

fn location(json: &mut Json, facts: &SessionFacts) -> Result<(), StatementError> {
    let (place, connector) = (&facts.place, &facts.connector);
    let country =
        alpha3(&place.country).ok_or_else(|| malformed("cdr_location.country", &place.country))?;
    let mut result = Ok(());
    json.object("cdr_location", |json| {
        result = (|| {
            json.text("id", identifier("cdr_location.id", &place.site, 36)?);
            if let Some(name) = &place.name {
                json.text("name", cut(name, 255));
            }
            json.text("address", cut(required("cdr_location.address", &place.address)?, 45));
            json.text("city", cut(required("cdr_location.city", &place.city)?, 45));
            if let Some(code) = &place.postal_code {
                json.text("postal_code", text("cdr_location.postal_code", code, 10)?);
            }
            if let Some(state) = &place.state {
                json.text("state", text("cdr_location.state", state, 20)?);
            }
            json.text("country", country);
            let latitude = degrees("latitude", &place.latitude, 90)?;
            let longitude = degrees("longitude", &place.longitude, 180)?;
            json.object("coordinates", |json| {
                json.text("latitude", &latitude);
                json.text("longitude", &longitude);
            });
            json.text("evse_uid", identifier("evse_uid", &connector.evse_uid, 36)?);
            json.text("evse_id", identifier("evse_id", &connector.evse_id, 48)?);
            json.text("connector_id", identifier("connector_id", &connector.connector_id, 36)?);
            json.text("connector_standard", word("connector_standard", &connector.standard)?);
            json.text("connector_format", if connector.cable { "CABLE" } else { "SOCKET" });
            json.text("connector_power_type", word("connector_power_type", &connector.power_type)?);
            Ok(())
        })();
    });
    result
}

fn agreed(json: &mut Json, facts: &SessionFacts) -> Result<(), StatementError> {
    if let Some(meter) = &facts.meter {
        json.text("meter_id", text("meter_id", meter, 255)?);
    }
    json.text("currency", facts.currency.code());
    if let Some(tariff) = &facts.tariff {
        let object: Option<Box<serde_json::value::RawValue>> =
            serde_json::from_str(&tariff.json).ok();
        let object = object.filter(|raw| raw.get().trim_start().starts_with('{'));
        let object = object.ok_or_else(|| malformed("tariffs[0]", &tariff.json))?;
        json.array("tariffs", |json| json.raw_item(object.get()));
    }
    Ok(())
}

fn periods(json: &mut Json, facts: &SessionFacts, written: &Volumes) -> Result<(), StatementError> {
    let tariff = match &facts.tariff {
        Some(tariff) => Some(identifier("tariff_id", &tariff.id, 36)?),
        None => None,
    };
    json.array("charging_periods", |json| {
        for period in &written.periods {
            json.item(|json| {
                json.text("start_date_time", &period.start.to_rfc3339());
                json.array("dimensions", |json| {
                    for &(kind, volume) in &period.dimensions {
                        json.item(|json| {
                            json.text("type", kind);
                            json.number("volume", volume, PLACES);
                        });
                    }
                });
                if let Some(tariff) = tariff {
                    json.text("tariff_id", tariff);
                }
            });
        }
    });
    Ok(())
}

fn signed(json: &mut Json, facts: &SessionFacts) -> Result<(), StatementError> {
    let Some(signed) = &facts.signed else { return Ok(()) };
    if signed.values.is_empty() {
        return Err(StatementError::Missing { field: "signed_values", format: FORMAT });
    }
    let mut values = Vec::with_capacity(signed.values.len());
    for value in &signed.values {
        let data = STANDARD.encode(&value.raw);
        text("signed_data", &data, 5000)?;
        values.push((nature(value.nature), plain(signed, value), data));
    }
    let key = signed.public_key.as_ref().map(|key| STANDARD.encode(key));
    identifier("encoding_method", &signed.encoding, 36)?;
    text("public_key", key.as_deref().unwrap_or(""), 512)?;
    text("url", signed.url.as_deref().unwrap_or(""), 512)?;
    json.object("signed_data", |json| {
        json.text("encoding_method", &signed.encoding);
        if let Some(version) = signed.encoding_version {
            json.number("encoding_method_version", version.into(), 0);
        }
        if let Some(key) = &key {
            json.text("public_key", key);
        }
        json.array("signed_values", |json| {
            for (nature, plain, data) in &values {
                json.item(|json| {
                    json.text("nature", nature);
                    json.text("plain_data", plain);
                    json.text("signed_data", data);
                });
            }
        });
        if let Some(url) = &signed.url {
            json.text("url", url);
        }
    });
    Ok(())
}

fn nature(nature: SignedNature) -> &'static str {
    match nature {
        SignedNature::Start => "Start",
        SignedNature::Intermediate => "Intermediate",
        SignedNature::End => "End",
    }
}

/// What was signed, for people. It binds nobody, so it may be cut; the signed bytes stand beside
/// it.
fn plain(signed: &SignedFacts, value: &SignedValueFacts) -> String {
    if let Some(plain) = &value.plain {
        return cut(plain, 512).to_owned();
    }
    let raw = String::from_utf8_lossy(&value.raw);
    let payload = match raw.strip_prefix("OCMF|") {
        Some(rest) if &*signed.encoding == "OCMF" => rest.split('|').next().unwrap_or(""),
        _ => &raw,
    };
    cut(payload, 512).to_owned()
}

fn totals(
    json: &mut Json,
    facts: &SessionFacts,
    written: &Volumes,
    version: OcpiVersion,
    credit: bool,
) -> Result<(), StatementError> {
    let places = facts.currency.exponent();
    let mut total = Cost { net: facts.net, taxes: all_taxes(facts) };
    if credit {
        total.net = -total.net;
        total.taxes.iter_mut().for_each(|tax| tax.amount = -tax.amount);
    }
    let cost = |json: &mut Json, name: &str, of: &dyn Fn(&LineFacts) -> bool| {
        let mut lines = facts.lines.iter().filter(|&line| of(line)).peekable();
        if lines.peek().is_some() {
            let cost = Cost::of_lines(facts, lines);
            cost.write(json, name, version, places);
        }
    };
    total.write(json, "total_cost", version, places);
    cost(json, "total_fixed_cost", &|line| line.dimension == Dimension::Flat && !line.reserved);
    json.number("total_energy", written.energy, PLACES);
    cost(json, "total_energy_cost", &|line| line.dimension == Dimension::Energy);
    json.number("total_time", written.time, PLACES);
    cost(json, "total_time_cost", &|line| line.dimension == Dimension::Time && !line.reserved);
    if written.parking > 0 {
        json.number("total_parking_time", written.parking, PLACES);
    }
    cost(json, "total_parking_cost", &|line| {
        line.dimension == Dimension::ParkingTime && !line.reserved
    });
    cost(json, "total_reservation_cost", &|line| line.reserved);
    Ok(())
}

fn tail(
    json: &mut Json,
    facts: &SessionFacts,
    credit: Option<&Credit>,
) -> Result<(), StatementError> {
    if let Some(remark) = &facts.remark {
        json.text("remark", cut(remark, 255));
    }
    if let Some(invoice) = &facts.invoice {
        json.text("invoice_reference_id", identifier("invoice_reference_id", invoice, 39)?);
    }
    if credit.is_some() {
        json.flag("credit", true);
        json.text("credit_reference_id", &facts.cdr);
    }
    if facts.home_charging {
        json.flag("home_charging_compensation", true);
    }
    let updated = credit.map_or(facts.booked, |credit| credit.made);
    json.text("last_updated", &updated.to_rfc3339());
    Ok(())
}
