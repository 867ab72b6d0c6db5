//! The facts of a session, from its row and its journal sets.
//!
//! Two views: as it stands ([`final_facts`]), for whoever pays it, and as it was booked
//! ([`booked_facts`]), for the reports of a period, where each correction counts in its own.

use super::NoDocument;
use super::books::{Movement, Part};
use super::evidence;
use crate::config::StatementsConfig;
use crate::pricing::TariffFormat;
use novax_charging::rows::{self, SessionRow, SiteRow, StationRow};
use novax_charging::{Billing, BillingRow, Itemised, Keyspace, Location, SignedRow, itemise};
use novax_model::Amount;
use novax_settlement::{Base, contract::Purpose, split};
use novax_statements::OcpiVersion;
use novax_statements::facts::{
    AuthMethod, CategoryFacts, ConnectorFacts, CorrectionFacts, Dimension, LineFacts, Minor,
    Period, PeriodFacts, PlaceFacts, RoamingParty, SessionFacts, ShareFacts, TariffFacts, TaxFacts,
    TokenFacts, TokenKind,
};
use novax_tariff::{Party, Tariff};

fn minor(amount: Amount) -> Minor {
    Minor::try_from(amount).unwrap_or(Minor::MAX)
}

/// A session as it stands.
///
/// # Errors
/// [`NoDocument`].
pub fn final_facts(
    part: &Part<'_>,
    row: &SessionRow,
    seller: &StatementsConfig,
    version: OcpiVersion,
) -> Result<SessionFacts, NoDocument> {
    let tariff = part.tariff(row.deal.tariff)?;
    let billings = part.billings_of(row.session)?;
    let bill = billings.iter().find(|billing| billing.what == Billing::Bill);
    let mut facts = frame(part, row, seller)?;
    facts.booked = bill.map_or(row.heard, |bill| bill.booked);
    (facts.net, facts.tax) = (minor(row.charges.net()), minor(row.charges.tax));
    facts.gross = facts.net + facts.tax;
    facts.paid = paid(row);
    match itemise(row, &tariff) {
        Some(bill) => (facts.lines, facts.categories) = itemised(&bill),
        None => facts.categories = vec![charged(row)],
    }
    facts.shares = shares(part, row)?;
    facts.periods = periods(row, &facts);
    facts.tariff = written(&tariff, &facts.operator, version);
    let key = row.session.0.to_be_bytes();
    let signed = part.get(Keyspace::SignedValues, &key, rows::read::<SignedRow>)?;
    let station = station(part, row)?;
    facts.signed = signed.and_then(|signed| evidence::signed_facts(&signed, station.as_ref()));
    facts.invoice = invoice_of(part, row)?;
    Ok(facts)
}

/// A session as the books of a period have it: its bill as it was booked, and corrections booked in the
/// period.
///
/// # Errors
/// [`NoDocument`].
pub fn booked_facts(
    part: &Part<'_>,
    row: &SessionRow,
    seller: &StatementsConfig,
    period: &Period,
) -> Result<SessionFacts, NoDocument> {
    let billings = part.billings_of(row.session)?;
    let missing = || NoDocument::Storage(format!("session {} has no bill", row.session));
    let bill = billings.iter().find(|billing| billing.what == Billing::Bill);
    let bill = bill.ok_or_else(missing)?;
    let mut facts = frame(part, row, seller)?;
    facts.booked = bill.booked;
    if billings.iter().any(|billing| billing.what == Billing::Adjustment) {
        // Its row says what it costs now; what its bill was, the journal alone knows.
        let booked = part.movement(bill, row.deal.currency)?;
        (facts.net, facts.tax) = (booked.net, booked.tax);
        facts.shares = shares_of(&booked, "as booked");
    } else {
        (facts.net, facts.tax) = (minor(row.charges.net()), minor(row.charges.tax));
        facts.shares = shares(part, row)?;
    }
    facts.gross = facts.net + facts.tax;
    facts.categories = vec![sum_category(facts.net, facts.tax)];
    let corrections = billings.iter().filter(|billing| billing.what != Billing::Bill);
    for billing in corrections.filter(|billing| period.contains(billing.booked)) {
        facts.corrections.push(correction(part, row, billing)?);
    }
    Ok(facts)
}

fn correction(
    part: &Part<'_>,
    row: &SessionRow,
    billing: &BillingRow,
) -> Result<CorrectionFacts, NoDocument> {
    let moved = part.movement(billing, row.deal.currency)?;
    let reason = if billing.what == Billing::Refund { "refund" } else { "adjustment" };
    let (net, tax, shares) = (moved.net, moved.tax, shares_of(&moved, reason));
    let (booked, energy_wh) = (billing.booked, 0);
    Ok(CorrectionFacts { booked, reason: reason.into(), energy_wh, net, tax, shares })
}

fn shares_of(moved: &Movement, purpose: &str) -> Vec<ShareFacts> {
    let share = |(party, amount): (&Box<str>, &Minor)| ShareFacts {
        party: party.clone(),
        purpose: purpose.into(),
        amount: *amount,
    };
    moved.shares.iter().map(share).collect()
}

fn sum_category(net: Minor, amount: Minor) -> CategoryFacts {
    let taxes = match amount {
        0 => Vec::new(),
        _ => vec![TaxFacts { name: "taxes".into(), ppm: 0, amount }],
    };
    CategoryFacts { taxes, net }
}

/// All that does not depend on the view.
fn frame(
    part: &Part<'_>,
    row: &SessionRow,
    seller: &StatementsConfig,
) -> Result<SessionFacts, NoDocument> {
    let site = part.site(row.site.as_str())?;
    let station = station(part, row)?;
    let operator = seller.operator();
    let started = row.rating.as_ref().map_or(row.started, novax_tariff::Rating::started);
    let ended = row.rating.as_ref().map_or(row.ended, |rating| rating.last().at).max(started);
    let location = site.as_ref().map(|site| site.location.clone()).unwrap_or_default();
    Ok(SessionFacts {
        session: row.session,
        cdr: row.session.to_string().into(),
        place: place(row, site.as_ref(), &location),
        connector: connector(row, &location, &operator.country, &operator.party),
        token: token(row, &operator),
        operator,
        auth: if row.app { AuthMethod::Command } else { AuthMethod::Whitelist },
        authorization_reference: None,
        meter: station.map(|row| row.serial).filter(|serial| !serial.is_empty()),
        started,
        ended,
        booked: row.heard,
        energy_wh: row.energy().0,
        periods: Vec::new(),
        lines: Vec::new(),
        categories: Vec::new(),
        shares: Vec::new(),
        currency: row.deal.currency,
        net: 0,
        tax: 0,
        gross: 0,
        paid: 0,
        reverse_charge: row.deal.treatment.reverse_charge,
        tax_words: row.deal.treatment.words.clone(),
        tariff: None,
        signed: None,
        invoice: None,
        remark: None,
        home_charging: false,
        corrections: Vec::new(),
    })
}

fn station(part: &Part<'_>, row: &SessionRow) -> Result<Option<StationRow>, NoDocument> {
    part.get(Keyspace::Stations, row.identity.as_str().as_bytes(), rows::read)
}

fn place(row: &SessionRow, site: Option<&SiteRow>, location: &Location) -> PlaceFacts {
    let filled = |text: &str| (!text.is_empty()).then(|| text.into());
    let jurisdiction = site.map_or(&*row.deal.jurisdiction, |site| &site.place.jurisdiction);
    let (country, state) = jurisdiction.split_once('-').unwrap_or((jurisdiction, ""));
    let country = if location.country.is_empty() { country } else { &location.country };
    let state = if location.state.is_empty() { state } else { &location.state };
    PlaceFacts {
        site: row.site.as_str().into(),
        name: filled(&location.name),
        address: location.address.clone(),
        city: location.city.clone(),
        postal_code: filled(&location.postal_code),
        state: filled(state),
        country: country.into(),
        latitude: location.latitude.clone(),
        longitude: location.longitude.clone(),
        zone: row.deal.zone.clone(),
    }
}

fn connector(row: &SessionRow, location: &Location, country: &str, party: &str) -> ConnectorFacts {
    let evse = row.connector.evse;
    let plain = row.identity.as_str().chars().filter(char::is_ascii_alphanumeric);
    let plain: String = plain.map(|letter| letter.to_ascii_uppercase()).collect();
    ConnectorFacts {
        evse_uid: format!("{}/{evse}", row.identity).into(),
        evse_id: format!("{country}*{party}*E{plain}*{evse}").into(),
        connector_id: row.connector.connector.to_string().into(),
        standard: location.connector_standard.clone(),
        cable: location.cable,
        power_type: location.power_type.clone(),
    }
}

/// Drivers are our own: their tokens are issued by whoever runs the stations.
fn token(row: &SessionRow, operator: &RoamingParty) -> TokenFacts {
    let driver = row.driver.as_ref().map(|driver| driver.as_str());
    let contract = driver.filter(|name| name.len() <= 36).unwrap_or(row.token.as_str());
    TokenFacts {
        issuer: operator.clone(),
        uid: row.token.as_str().into(),
        kind: if row.app { TokenKind::AppUser } else { TokenKind::Rfid },
        contract: contract.into(),
    }
}

/// What of the bill is paid. A debt in the wallet's currency counts by the rate that was agreed.
fn paid(row: &SessionRow) -> Minor {
    let gross = minor(row.charges.total());
    let owed = minor(row.owed);
    let Some(rate) = row.deal.fx.as_ref().filter(|_| owed > 0) else {
        return gross - owed.min(gross);
    };
    let cost = novax_settlement::cost_of(row.charges.total(), rate, rate.from);
    match cost.map(|cost| minor(cost.from)) {
        Ok(cost) if cost > 0 && owed <= cost => {
            gross.checked_mul(cost - owed).map_or(0, |product| product / cost)
        }
        _ => 0,
    }
}

fn itemised(bill: &Itemised) -> (Vec<LineFacts>, Vec<CategoryFacts>) {
    let lines = bill.items.iter().map(|item| LineFacts {
        dimension: match item.dimension {
            novax_tariff::Dimension::Energy => Dimension::Energy,
            novax_tariff::Dimension::Flat => Dimension::Flat,
            novax_tariff::Dimension::Time => Dimension::Time,
            novax_tariff::Dimension::ParkingTime => Dimension::ParkingTime,
        },
        reserved: item.reserved,
        volume: item.volume,
        billed_volume: item.billed_volume,
        price: item.price,
        net: minor(item.charge.net),
        tax: minor(item.charge.tax),
        category: usize::from(item.charge.category),
    });
    let categories = bill.categories.iter().map(|category| CategoryFacts {
        taxes: category
            .taxes
            .iter()
            .map(|tax| TaxFacts { name: tax.name.clone(), ppm: tax.ppm, amount: minor(tax.amount) })
            .collect(),
        net: minor(category.net),
    });
    (lines.collect(), categories.collect())
}

/// The taxes of a bill whose lines nobody knows any more.
fn charged(row: &SessionRow) -> CategoryFacts {
    let tax = |tax: &novax_charging::TaxPart| TaxFacts {
        name: tax.name.clone(),
        ppm: tax.ppm,
        amount: minor(tax.amount),
    };
    let taxes = row.charges.taxes.iter().map(tax).collect();
    CategoryFacts { taxes, net: minor(row.charges.net()) }
}

/// Who got what, by the contract.
fn shares(part: &Part<'_>, row: &SessionRow) -> Result<Vec<ShareFacts>, NoDocument> {
    let contract = part.contract(row.deal.contract)?;
    let base = Base::new(row.charges.total(), row.charges.net(), row.energy(), false);
    let mut facts = Vec::new();
    for share in split(&contract, &base) {
        let party = contract.party(share.party).map(|party| party.as_str().into());
        let party = party.ok_or_else(|| {
            NoDocument::Storage(format!("the contract {} lacks a party", row.deal.contract))
        })?;
        facts.push(ShareFacts {
            party,
            purpose: purpose(share.purpose).into(),
            amount: minor(share.amount),
        });
    }
    Ok(facts)
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Operator => "operator",
        Purpose::SiteHost => "site-host",
        Purpose::Electricity => "electricity",
        Purpose::Grid => "grid",
        Purpose::Platform => "platform",
        Purpose::Roaming => "roaming",
        Purpose::Payment => "payment",
        Purpose::Partner => "partner",
    }
}

/// The stretches of a session, or all of it as one where they do not add up to it.
fn periods(row: &SessionRow, facts: &SessionFacts) -> Vec<PeriodFacts> {
    let of_rating = row.rating.as_ref().map(|rating| rating.periods()).unwrap_or_default();
    let stretches: Vec<PeriodFacts> = of_rating
        .iter()
        .map(|period| PeriodFacts {
            start: period.start,
            duration_us: period.duration_us,
            energy_wh: period.energy.0,
            charging: period.charging,
            reserved: period.reservation.is_some(),
        })
        .collect();
    let energy: i64 = stretches.iter().map(|period| period.energy_wh).sum();
    let end = stretches.last().map(|period| period.start.0.saturating_add(period.duration_us));
    if energy == facts.energy_wh && end.is_some_and(|end| end <= facts.ended.0) {
        return stretches;
    }
    vec![PeriodFacts {
        start: facts.started,
        duration_us: facts.ended.0 - facts.started.0,
        energy_wh: facts.energy_wh,
        charging: true,
        reserved: false,
    }]
}

/// As a partner reads it. A tariff that came without an owner is the operator's own.
fn written(tariff: &Tariff, operator: &RoamingParty, version: OcpiVersion) -> Option<TariffFacts> {
    let (country, party) = (operator.country.clone(), operator.party.clone());
    let owner = tariff.party.clone().or(Some(Party { country, party }));
    let tariff = Tariff { party: owner, ..tariff.clone() };
    let format = match version {
        OcpiVersion::V221 => TariffFormat::Ocpi221,
        OcpiVersion::V230 => TariffFormat::Ocpi230,
    };
    let json = format.write(&tariff).ok()?;
    Some(TariffFacts { id: tariff.id, json: json.into() })
}

/// The first invoice it stands on.
fn invoice_of(part: &Part<'_>, row: &SessionRow) -> Result<Option<Box<str>>, NoDocument> {
    let on = super::issue::standing(part, row.session)?;
    Ok(on.invoices.first().map(|id| id.to_string().into()))
}
