//! Facts for tests: sessions with their bills, documents, and comparison with files.

#![allow(dead_code)] // Each test binary uses its part.

use novax_model::{Currency, Micros, SessionId, Timestamp};
use novax_statements::facts::{
    AccountFacts, AuthMethod, CategoryFacts, ConnectorFacts, Dimension, DocumentFacts, EntryFacts,
    EntryKind, LegalParty, LineFacts, Minor, Period, PeriodFacts, PlaceFacts, RoamingParty,
    SessionFacts, ShareFacts, SignedFacts, SignedNature, SignedValueFacts, TariffFacts, TaxFacts,
    TokenFacts, TokenKind,
};

pub(crate) const HOUR_US: u64 = 3_600_000_000;
pub(crate) const TARIFF: &str = r#"{"country_code":"DE","party_id":"NVX","id":"day","currency":"EUR","elements":[{"price_components":[{"type":"ENERGY","price":0.39,"vat":19.0,"step_size":1}]}],"last_updated":"2026-01-01T00:00:00Z"}"#;

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn party(country: &str, party: &str) -> RoamingParty {
    RoamingParty { country: country.into(), party: party.into() }
}

/// A bill of lines that are taxed alike; tax is rounded once, and its parts are the lines'.
pub(crate) fn bill(
    facts: &mut SessionFacts,
    lines: &[(Dimension, i64, Minor)],
    taxes: &[(&str, u32)],
) {
    let net: Minor = lines.iter().map(|line| line.2).sum();
    let round = |size: Minor, ppm: u32| (2 * size * Minor::from(ppm) + 1_000_000) / 2_000_000;
    let charged =
        |&(name, ppm): &(&str, u32)| TaxFacts { name: name.into(), ppm, amount: round(net, ppm) };
    let taxes: Vec<TaxFacts> = taxes.iter().map(charged).collect();
    let tax: Minor = taxes.iter().map(|tax| tax.amount).sum();
    let mut left = tax;
    let last = lines.len() - 1;
    facts.lines.clear();
    for (i, &(dimension, volume, net_of_line)) in lines.iter().enumerate() {
        let part = if i == last { left } else { (tax * net_of_line) / net.max(1) };
        left -= part;
        facts.lines.push(LineFacts {
            dimension,
            reserved: false,
            volume,
            billed_volume: volume,
            price: Micros(if dimension == Dimension::Energy { 390_000 } else { 0 }),
            net: net_of_line,
            tax: part,
            category: 0,
        });
    }
    facts.categories = vec![CategoryFacts { taxes, net }];
    (facts.net, facts.tax, facts.gross) = (net, tax, net + tax);
    facts.shares = shares(net);
}

/// Seven tenths to the operator, the rest to the site's host, a fixed fee of 5 cents to the
/// platform.
fn shares(net: Minor) -> Vec<ShareFacts> {
    let fee = net.min(5);
    let host = (net - fee) * 3 / 10;
    let parts = [
        ("platform", "platform-fee", fee),
        ("site-host/harbour", "percentage", host),
        ("operator", "rest", net - fee - host),
    ];
    let share = |(party, purpose, amount): (&str, &str, Minor)| ShareFacts {
        party: party.into(),
        purpose: purpose.into(),
        amount,
    };
    parts.into_iter().filter(|part| part.2 != 0).map(share).collect()
}

/// An hour and a half at the harbour: 23.456 kWh in an hour and a bit, then half an hour of
/// parking. Net 10.01 EUR, 19 % of it 1.90, gross 11.91.
pub(crate) fn session(number: u128) -> SessionFacts {
    let started = at("2026-03-28T22:30:00Z");
    let charged_us = HOUR_US + 20_000_000;
    let parked = Timestamp(started.0 + charged_us);
    let mut facts = SessionFacts {
        session: SessionId(number),
        cdr: format!("cdr-{number}").into(),
        operator: party("DE", "NVX"),
        place: PlaceFacts {
            site: "harbour".into(),
            name: Some("Harbour <North>".into()),
            address: "Am Kai 3".into(),
            city: "Hamburg".into(),
            postal_code: Some("20457".into()),
            state: None,
            country: "DE".into(),
            latitude: "53.5438".into(),
            longitude: "9.99".into(),
            zone: "Europe/Berlin".into(),
        },
        connector: ConnectorFacts {
            evse_uid: "CP-7/1".into(),
            evse_id: "DE*NVX*E7*1".into(),
            connector_id: "1".into(),
            standard: "IEC_62196_T2".into(),
            cable: true,
            power_type: "AC_3_PHASE".into(),
        },
        token: TokenFacts {
            issuer: party("NL", "TNM"),
            uid: "04A1B2C3".into(),
            kind: TokenKind::Rfid,
            contract: "NL-TNM-C00000017-X".into(),
        },
        auth: AuthMethod::Whitelist,
        authorization_reference: None,
        meter: Some("BQ27400330016".into()),
        started,
        ended: Timestamp(parked.0 + HOUR_US / 2),
        booked: at("2026-03-29T00:05:00Z"),
        energy_wh: 23_456,
        periods: vec![
            period(started, charged_us, 23_456, true),
            period(parked, HOUR_US / 2, 0, false),
        ],
        lines: Vec::new(),
        categories: Vec::new(),
        shares: Vec::new(),
        currency: Currency::EUR,
        net: 0,
        tax: 0,
        gross: 0,
        paid: 0,
        reverse_charge: false,
        tax_words: "a consumer pays the tax of the place".into(),
        tariff: Some(TariffFacts { id: "day".into(), json: TARIFF.into() }),
        signed: None,
        invoice: None,
        remark: None,
        home_charging: false,
        corrections: Vec::new(),
    };
    let half_hour = i64::try_from(HOUR_US / 2).unwrap();
    let lines = [
        (Dimension::Energy, 23_456, 915),
        (Dimension::Flat, 1, 36),
        (Dimension::ParkingTime, half_hour, 50),
    ];
    bill(&mut facts, &lines, &[("VAT", 190_000)]);
    facts
}

pub(crate) fn period(
    start: Timestamp,
    duration_us: u64,
    energy_wh: i64,
    charging: bool,
) -> PeriodFacts {
    PeriodFacts { start, duration_us, energy_wh, charging, reserved: false }
}

/// The same with a signed begin and end.
pub(crate) fn signed(mut facts: SessionFacts) -> SessionFacts {
    let records = include_str!("../../testdata/ocmf/published.txt");
    let record = records.lines().find_map(|line| line.strip_prefix("record ")).expect("a record");
    let value = |nature| SignedValueFacts { nature, plain: None, raw: record.as_bytes().to_vec() };
    facts.signed = Some(SignedFacts {
        encoding: "OCMF".into(),
        encoding_version: None,
        public_key: Some(vec![0x30, 0x59, 0x30, 0x13]),
        values: vec![value(SignedNature::Start), value(SignedNature::End)],
        url: Some("https://example.org/check".into()),
    });
    facts
}

pub(crate) fn march() -> Period {
    // The month by the clocks of Berlin: it begins in winter time and ends in summer time.
    Period {
        from: at("2026-02-28T23:00:00Z"),
        until: at("2026-03-31T22:00:00Z"),
        zone: "Europe/Berlin".into(),
    }
}

pub(crate) fn document(series: &str, number: u64) -> DocumentFacts {
    DocumentFacts {
        series: series.into(),
        number,
        issued: at("2026-04-01T08:00:00Z"),
        due: Some(at("2026-04-15T08:00:00Z")),
        seller: LegalParty {
            name: "Nova Charging GmbH".into(),
            street: "Deich 1".into(),
            city: "Hamburg".into(),
            postal_code: Some("20457".into()),
            country: "DE".into(),
            vat_id: Some("DE123456788".into()),
            tax_number: None,
            email: Some("books@example.org".into()),
        },
        buyer: LegalParty {
            name: "Müller & Söhne \"Fuhrpark\"".into(),
            street: "Hauptstraße 5".into(),
            city: "Lübeck".into(),
            postal_code: Some("23552".into()),
            country: "DE".into(),
            vat_id: Some("DE811907980".into()),
            tax_number: None,
            email: None,
        },
        currency: Currency::EUR,
        period: march(),
        original: None,
        note: Some("Thank you.".into()),
    }
}

/// The account of a party: an entry for each session it has shares of, and what else is given.
pub(crate) fn account(
    party: &str,
    sessions: &[SessionFacts],
    more: &[(EntryKind, &str, Minor)],
) -> AccountFacts {
    let opening = 1_000;
    let mut account = AccountFacts {
        account: party.into(),
        currency: Currency::EUR,
        opening,
        entries: Vec::new(),
    };
    let mut add = |kind, reference: String, booked, amount| {
        let balance = account.entries.last().map_or(opening, |entry: &EntryFacts| entry.balance);
        account.entries.push(EntryFacts {
            number: 100 + account.entries.len() as u64,
            booked,
            effective: booked,
            kind,
            reference: reference.into(),
            amount,
            balance: balance + amount,
        });
    };
    for facts in sessions {
        let own = facts.shares.iter().filter(|share| &*share.party == party);
        for share in own {
            add(EntryKind::Share, facts.session.to_string(), facts.booked, share.amount);
        }
        for correction in &facts.corrections {
            for share in correction.shares.iter().filter(|share| &*share.party == party) {
                let id = facts.session.to_string();
                add(EntryKind::Adjustment, id, correction.booked, share.amount);
            }
        }
    }
    for &(kind, reference, amount) in more {
        add(kind, reference.to_owned(), at("2026-03-31T12:00:00Z"), amount);
    }
    account
}

/// Compares with a file of `testdata/golden`; with `NOVAX_GOLDEN=write` in the environment, writes
/// it.
pub(crate) fn golden(name: &str, text: &str) {
    let path = format!("{}/testdata/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("NOVAX_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, text).expect("testdata can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(kept == text, "{name} is not as kept; it is now:\n{text}");
}
