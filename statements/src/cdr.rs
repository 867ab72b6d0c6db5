//! OCPI charge detail records, versions 2.2.1 and 2.3.0, as JSON.
//!
//! A record is never edited: what was wrong is taken back by a credit record, which repeats the
//! original and has negative amounts in `total_cost` alone, and a new record follows under a new id.
//! Volumes are rounded to OCPI's four places over their running sum, so that the periods of a record
//! sum to its totals.

use crate::country::alpha3;
use crate::decimal::{divide, share_out};
use crate::error::StatementError;
use crate::facts::{
    AuthMethod, Dimension, LineFacts, Minor, PeriodFacts, RoamingParty, SessionFacts, SignedFacts,
    SignedNature, SignedValueFacts, TaxFacts, TokenKind,
};
use crate::json::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use novax_model::Timestamp;

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
const MICROS_PER_HOUR: u128 = 3_600_000_000;
const TEN_THOUSANDTHS: i128 = 10_000;

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
        let mut fill = || {
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
        };
        result = fill();
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

/// What was signed, for people. It binds nobody, so it may be cut; the signed bytes stand beside it.
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

/// A price and its taxes.
struct Cost {
    net: Minor,
    taxes: Vec<TaxFacts>,
}

impl Cost {
    /// What some lines come to; the tax of each is shared out over its category's taxes.
    fn of_lines<'a>(facts: &SessionFacts, lines: impl Iterator<Item = &'a LineFacts>) -> Cost {
        let mut cost = Cost { net: 0, taxes: Vec::new() };
        for line in lines {
            cost.net += line.net;
            let Some(category) = facts.categories.get(line.category) else { continue };
            let weights: Vec<u32> = category.taxes.iter().map(|tax| tax.ppm).collect();
            for (tax, amount) in category.taxes.iter().zip(share_out(line.tax, &weights)) {
                add_tax(&mut cost.taxes, &TaxFacts { amount, ..tax.clone() });
            }
        }
        cost
    }

    fn write(&self, json: &mut Json, name: &str, version: OcpiVersion, places: u8) {
        let tax: Minor = self.taxes.iter().map(|tax| tax.amount).sum();
        json.object(name, |json| match version {
            OcpiVersion::V221 => {
                json.number("excl_vat", self.net, places);
                json.number("incl_vat", self.net + tax, places);
            }
            OcpiVersion::V230 => {
                json.number("before_taxes", self.net, places);
                if self.taxes.is_empty() {
                    return;
                }
                json.array("taxes", |json| {
                    for tax in &self.taxes {
                        json.item(|json| {
                            json.text("name", &tax.name);
                            json.number("percentage", tax.ppm.into(), PLACES);
                            json.number("amount", tax.amount, places);
                        });
                    }
                });
            }
        });
    }
}

fn all_taxes(facts: &SessionFacts) -> Vec<TaxFacts> {
    let mut taxes = Vec::new();
    for tax in facts.categories.iter().flat_map(|category| &category.taxes) {
        add_tax(&mut taxes, tax);
    }
    taxes
}

fn add_tax(taxes: &mut Vec<TaxFacts>, tax: &TaxFacts) {
    match taxes.iter_mut().find(|known| known.name == tax.name && known.ppm == tax.ppm) {
        Some(known) => known.amount += tax.amount,
        None => taxes.push(tax.clone()),
    }
}

/// Everything that is measured, in ten-thousandths of a kWh or an hour.
struct Volumes {
    periods: Vec<PeriodVolumes>,
    energy: i128,
    time: i128,
    parking: i128,
}

struct PeriodVolumes {
    start: Timestamp,
    dimensions: Vec<(&'static str, i128)>,
}

impl Volumes {
    fn of(facts: &SessionFacts) -> Result<Volumes, StatementError> {
        let whole = [PeriodFacts {
            start: facts.started,
            duration_us: facts.ended.0.saturating_sub(facts.started.0),
            energy_wh: facts.energy_wh,
            charging: true,
            reserved: false,
        }];
        // A record has at least one period, also where none was kept.
        let given = if facts.periods.is_empty() { &whole[..] } else { &facts.periods };
        let (mut charged, mut parked, mut reserved) =
            (Hours::default(), Hours::default(), Hours::default());
        let mut periods = Vec::with_capacity(given.len());
        for period in given {
            let mut dimensions = Vec::with_capacity(2);
            if period.energy_wh != 0 || period.charging {
                dimensions.push(("ENERGY", i128::from(period.energy_wh) * TEN_THOUSANDTHS / 1000));
            }
            let (kind, hours) = match (period.reserved, period.charging) {
                (true, _) => ("RESERVATION_TIME", &mut reserved),
                (false, true) => ("TIME", &mut charged),
                (false, false) => ("PARKING_TIME", &mut parked),
            };
            dimensions.push((kind, hours.add(period.duration_us)?));
            periods.push(PeriodVolumes { start: period.start, dimensions });
        }
        Ok(Volumes {
            periods,
            energy: i128::from(facts.energy_wh) * TEN_THOUSANDTHS / 1000,
            time: charged.written + parked.written,
            parking: parked.written,
        })
    }
}

/// Durations as hours of four places whose written parts sum to the written whole.
#[derive(Default)]
struct Hours {
    micros: i128,
    written: i128,
}

impl Hours {
    fn add(&mut self, micros: u64) -> Result<i128, StatementError> {
        self.micros += i128::from(micros);
        let written = divide(self.micros * TEN_THOUSANDTHS, MICROS_PER_HOUR)
            .ok_or(StatementError::Overflow { what: "the hours of a session" })?;
        let part = written - self.written;
        assert!(part >= 0, "time only grows");
        self.written = written;
        Ok(part)
    }
}

fn malformed(field: &'static str, got: &str) -> StatementError {
    StatementError::Malformed { field, format: FORMAT, got: cut(got, 40).to_owned() }
}

fn required<'a>(field: &'static str, value: &'a str) -> Result<&'a str, StatementError> {
    if value.is_empty() {
        return Err(StatementError::Missing { field, format: FORMAT });
    }
    Ok(value)
}

/// A text that must not be cut, because machines read it.
fn text<'a>(field: &'static str, value: &'a str, max: usize) -> Result<&'a str, StatementError> {
    let got = value.chars().count();
    if got > max {
        return Err(StatementError::TooLong { field, format: FORMAT, got, max });
    }
    Ok(value)
}

/// OCPI's `CiString`: printable ASCII.
fn identifier<'a>(
    field: &'static str,
    value: &'a str,
    max: usize,
) -> Result<&'a str, StatementError> {
    required(field, value)?;
    if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(malformed(field, value));
    }
    text(field, value, max)
}

fn exactly(field: &'static str, value: &str, length: usize) -> Result<(), StatementError> {
    identifier(field, value, length)?;
    if value.len() != length || !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(malformed(field, value));
    }
    Ok(())
}

/// A word of one of OCPI's enumerations.
fn word<'a>(field: &'static str, value: &'a str) -> Result<&'a str, StatementError> {
    required(field, value)?;
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if value.bytes().all(plain) { Ok(value) } else { Err(malformed(field, value)) }
}

/// Decimal degrees with five to seven places; zeros fill up shorter ones.
fn degrees(field: &'static str, value: &str, bound: u16) -> Result<String, StatementError> {
    required(field, value)?;
    let digits = value.strip_prefix('-').unwrap_or(value);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let within = whole.len() <= 3 && whole.parse::<u16>().is_ok_and(|whole| whole <= bound);
    if !all_digits(whole) || !all_digits(fraction) || fraction.len() > 7 || !within {
        return Err(malformed(field, value));
    }
    let sign = if digits.len() < value.len() { "-" } else { "" };
    Ok(format!("{sign}{whole}.{fraction:0<5}"))
}

/// The beginning of a text for people.
fn cut(value: &str, max: usize) -> &str {
    value.char_indices().nth(max).map_or(value, |(at, _)| &value[..at])
}
