//! Terms: the tariffs, revenue contracts and rule books that sites and sessions refer to by hash.
//!
//! A session freezes the hashes at its request, so its price cannot change under it, and every row
//! that names a hash finds what it named: terms are written once and never changed or deleted.
//!
//! **Invariant:** every hash in a site's list and in a session's deal is in the table.

use crate::command::{Outcome, PutSite, Refusal, SiteTerms};
use crate::config::AMOUNT_MAX;
use crate::rows::{
    Deal, Keyspace, Place, Price, SignalRow, SiteRow, TermsId, TermsRow, archive, signal_key,
};
use crate::state::{State, StationNumber};
use novax_model::{Amount, Currency, Identity, Measurand, Micros, Timestamp};
use novax_settlement::contract::RevenueContract;
use novax_settlement::{
    Buyer, Jurisdiction, RoundingPolicy, SettlementError, Supply, TaxLine, Treatment, decide,
};
use novax_tariff::rules::{RuleBook, Sample, SignalKind, Signals};
use novax_tariff::{Adjustment, Dimension, Language, Tariff, Zone};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Prices that one site may have in force or announced.
pub(crate) const PRICES_MAX: usize = 32;
/// Bytes of each text of a location.
const LOCATION_BYTES_MAX: usize = 255;
/// What is held when a tariff does not say: the price of this much energy, an hour and all fees.
const USUAL_WH: i128 = 25_000;

/// Terms by hash, and the zones their sites are in.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    tariffs: BTreeMap<TermsId, Arc<Tariff>>,
    contracts: BTreeMap<TermsId, Arc<RevenueContract>>,
    rules: BTreeMap<TermsId, Arc<RuleBook>>,
    zones: BTreeMap<Box<str>, Arc<Zone>>,
}

impl Terms {
    pub(crate) fn tariff(&self, id: TermsId) -> Arc<Tariff> {
        Arc::clone(self.tariffs.get(&id).expect("terms are kept for ever"))
    }

    pub(crate) fn has_contract(&self, id: TermsId) -> bool {
        self.contracts.contains_key(&id)
    }

    pub(crate) fn contract(&self, id: TermsId) -> Arc<RevenueContract> {
        Arc::clone(self.contracts.get(&id).expect("terms are kept for ever"))
    }

    /// The zone of a name that was found good when its site was put.
    pub(crate) fn zone(&self, name: &str) -> Arc<Zone> {
        Arc::clone(self.zones.get(name).expect("a site's zone is known"))
    }

    pub(crate) fn len(&self) -> usize {
        self.tariffs.len() + self.contracts.len() + self.rules.len()
    }

    pub(crate) fn know_zone(&mut self, name: &str) -> bool {
        if self.zones.contains_key(name) {
            return true;
        }
        let Ok(zone) = Zone::get(name) else { return false };
        self.zones.insert(name.into(), Arc::new(zone));
        true
    }

    /// Takes a row in; says whether it is new.
    pub(crate) fn insert(&mut self, id: TermsId, row: TermsRow) -> bool {
        match row {
            TermsRow::Tariff(tariff) => self.tariffs.insert(id, Arc::new(tariff)).is_none(),
            TermsRow::Contract(contract) => self.contracts.insert(id, Arc::new(contract)).is_none(),
            TermsRow::Rules(rules) => self.rules.insert(id, Arc::new(rules)).is_none(),
        }
    }
}

/// The first half of SHA-256 over a terms row as it is stored.
fn id_of(stored: &[u8]) -> TermsId {
    let hash: [u8; 32] = Sha256::digest(stored).into();
    let (first, _) = hash.split_first_chunk::<16>().expect("32 bytes");
    TermsId(u128::from_be_bytes(*first))
}

impl TermsRow {
    /// What sites and sessions refer to it by.
    #[must_use]
    pub fn hash(&self) -> TermsId {
        id_of(&archive(self))
    }
}

/// Key of a terms row.
pub(crate) fn terms_key(row: &TermsRow, id: TermsId) -> Vec<u8> {
    let mut key = vec![row.kind()];
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

impl State {
    /// Creates or changes a site. A limit that is lifted is not taken back from transactions that
    /// already run; it ends with them.
    pub(crate) fn put_site(&mut self, put: PutSite) -> Result<Outcome, Refusal> {
        let PutSite { site, limit, place, from, terms, location } = put;
        if limit.is_some_and(|limit| limit.0 < 0) {
            return Err(Refusal::Full);
        }
        let known = self.sites.get(&site).map(|known| &known.row);
        if known.is_none() && self.sites.len() >= self.config.sites_max {
            return Err(Refusal::Full);
        }
        let now = self.now();
        let mut prices = known.map(|row| row.prices.clone()).unwrap_or_default();
        let price = self.check_terms(&place, terms, from.max(now))?;
        if price.from <= now {
            prices.retain(|known| known.from > now);
        } else {
            prices.retain(|known| known.from != price.from);
        }
        let at = prices.partition_point(|known| known.from < price.from);
        prices.insert(at, price);
        // Of those whose time has come only the last counts.
        let over = prices.partition_point(|known| known.from <= now).saturating_sub(1);
        prices.drain(..over);
        if prices.len() > PRICES_MAX {
            return Err(Refusal::Full);
        }
        let before = self.sites.get(&site).map(|known| known.row.location.clone());
        let location = location.or(before).unwrap_or_default();
        if location.texts().any(|text| text.len() > LOCATION_BYTES_MAX) {
            let text = format!("a text of a location has at most {LOCATION_BYTES_MAX} bytes");
            return Err(Refusal::BadTerms(text.into()));
        }
        let row = SiteRow { site: site.clone(), limit, place, prices, location };
        if let Some(known) = self.touch_site(&site) {
            let limit_changed = known.row.limit != row.limit;
            known.row = row;
            if limit_changed {
                self.share_limit(&site);
            }
        } else {
            self.add_site(row);
        }
        self.begin_month(&site);
        Ok(Outcome::Done)
    }

    /// Checks terms and takes them in.
    fn check_terms(
        &mut self,
        place: &Place,
        terms: SiteTerms,
        from: Timestamp,
    ) -> Result<Price, Refusal> {
        let SiteTerms { tariff, contract, rules } = terms;
        let bad = |why: String| Refusal::BadTerms(why.chars().take(200).collect::<String>().into());
        tariff.check().map_err(|error| bad(error.to_string()))?;
        contract.check().map_err(|error| bad(error.to_string()))?;
        if contract.currency != tariff.currency {
            return Err(bad(format!(
                "the tariff is in {}, the contract in {}",
                tariff.currency, contract.currency
            )));
        }
        if let Some(party) = contract.parties.iter().find(|party| is_reserved(party.as_str())) {
            return Err(bad(format!("{party} is no name for a party: the books use it")));
        }
        self.treatment(place).map_err(|error| bad(error.to_string()))?;
        let new_rows = [
            Some(TermsRow::Tariff(tariff.clone())),
            Some(TermsRow::Contract(contract.clone())),
            rules.clone().map(TermsRow::Rules),
        ];
        if self.terms.len() + new_rows.len() > self.config.terms_max {
            return Err(Refusal::Full);
        }
        if !self.terms.know_zone(&place.zone) {
            return Err(bad(format!("{:?} is no time zone", place.zone)));
        }
        let hold = self.usual_hold(&tariff, place);
        if hold > AMOUNT_MAX {
            return Err(Refusal::Full);
        }
        let mut ids = [None; 3];
        for (id, row) in ids.iter_mut().zip(new_rows) {
            let Some(row) = row else { continue };
            let stored = archive(&row);
            let row_id = id_of(&stored);
            *id = Some(row_id);
            let key = terms_key(&row, row_id);
            if self.terms.insert(row_id, row) {
                self.append(Keyspace::Terms, &key, &stored);
            }
        }
        let [tariff_id, contract_id, rules] = ids;
        Ok(Price {
            from,
            tariff: tariff_id.expect("put above"),
            contract: contract_id.expect("put above"),
            rules,
            currency: tariff.currency,
            hold,
        })
    }

    /// What the tariff says is to be held, or what 25 kWh, an hour and all fees cost at its dearest.
    fn usual_hold(&self, tariff: &Tariff, place: &Place) -> Amount {
        if let Some(hold) = tariff.hold {
            return minor_up(hold, tariff.currency);
        }
        let dearest = |dimension| {
            let prices = tariff.elements.iter().filter_map(|e| e.component(dimension));
            prices.map(|component| component.price.0).max().unwrap_or(0)
        };
        let net = dearest(Dimension::Energy) * USUAL_WH / 1_000
            + dearest(Dimension::Flat)
            + dearest(Dimension::Time).max(dearest(Dimension::ParkingTime));
        let taxes = self.treatment(place).map(|treatment| treatment.lines).unwrap_or_default();
        let said = tariff.elements.iter().flat_map(|element| &element.components);
        let said = said.filter_map(|component| component.vat_ppm).max();
        let tax = i128::from(said.unwrap_or_else(|| taxes.iter().map(|tax| tax.ppm).sum()));
        minor_up(Micros(net + net * tax / 1_000_000), tariff.currency)
    }

    /// Which taxes a session asked for now bears. Drivers are consumers.
    fn treatment(&self, place: &Place) -> Result<Treatment, SettlementError> {
        if place.jurisdiction.is_empty() {
            return Ok(untaxed());
        }
        let jurisdiction = Jurisdiction::new(&place.jurisdiction)?;
        let seller_country = jurisdiction.country();
        let (at, buyer) = (self.now(), Buyer::Consumer);
        decide(&self.taxes, &Supply { jurisdiction, at, buyer, seller_country })
    }

    /// What is agreed with a session that is asked for now at a station.
    pub(crate) fn deal(&self, station: StationNumber) -> Result<(Identity, Deal), Refusal> {
        let site = &self.station(station).row.site;
        let row = &self.sites.get(site).ok_or(Refusal::UnknownSite)?.row;
        let price = row.price_at(self.now()).ok_or(Refusal::UnknownSite)?;
        let (adjustment, explanation) = match price.rules {
            Some(rules) => self.quote(row, rules),
            None => (Adjustment::NONE, Box::from("")),
        };
        let deal = Deal {
            tariff: price.tariff,
            contract: price.contract,
            currency: price.currency,
            hold: price.hold,
            jurisdiction: row.place.jurisdiction.clone(),
            zone: row.place.zone.clone(),
            // The table knew the place when the site was put, and rates do not end.
            treatment: self.treatment(&row.place).unwrap_or_else(|_| untaxed()),
            rounding: match Jurisdiction::new(&row.place.jurisdiction) {
                Ok(place) => RoundingPolicy::of(place.country()),
                Err(_) => RoundingPolicy::default(),
            },
            adjustment,
            explanation,
            fx: None,
        };
        Ok((row.site.clone(), deal))
    }

    fn quote(&self, site: &SiteRow, rules: TermsId) -> (Adjustment, Box<str>) {
        let book = self.terms.rules.get(&rules).expect("terms are kept for ever");
        let zone = self.terms.zone(&site.place.zone);
        let offset = zone.offset_at(self.now());
        let local = offset.local(self.now());
        let quote = book.evaluate(&self.signals_of(site), self.now(), local);
        (quote.adjustment, quote.words(Language::En).into())
    }

    fn signals_of(&self, site: &SiteRow) -> Signals {
        let mut signals = Signals::of_site(site.site.as_str());
        let known = |kind: SignalKind| self.signals.get(&(site.site.clone(), kind)).copied();
        signals.temperature = known(SignalKind::Temperature);
        signals.day_ahead = known(SignalKind::DayAhead);
        signals.renewable = known(SignalKind::Renewable);
        // What the connectors draw against what they may; where nobody measures the transformer itself.
        signals.load = known(SignalKind::Load).or_else(|| self.load_of(site));
        signals
    }
}

impl State {
    /// The power its connectors draw of what they may, in millionths.
    fn load_of(&self, site: &SiteRow) -> Option<Sample> {
        let limit = site.limit.filter(|limit| limit.0 > 0)?;
        let charging = &self.sites.get(&site.site)?.charging;
        let watts = charging.iter().filter_map(|(_, id)| {
            let session = self.sessions.get(id)?;
            let station = self.station(session.station);
            station.connectors.get(&session.row.connector)?.live.get(Measurand::Power)
        });
        let watts = i128::from(watts.fold(0_i64, i64::saturating_add));
        let value = i64::try_from(watts * 1_000_000 / i128::from(limit.0)).ok()?;
        Some(Sample { value, at: self.now() })
    }

    /// What dynamic prices of a site follow. An older word than the one known changes nothing.
    pub(crate) fn put_signal(
        &mut self,
        site: Identity,
        kind: SignalKind,
        sample: Sample,
    ) -> Result<Outcome, Refusal> {
        if !self.sites.contains_key(&site) {
            return Err(Refusal::UnknownSite);
        }
        if !kind.plausible(sample.value) {
            return Err(Refusal::BadTerms(
                format!("no {} is {}", kind.word(), sample.value).into(),
            ));
        }
        let key = (site, kind);
        if self.signals.get(&key).is_some_and(|known| known.at >= sample.at) {
            return Ok(Outcome::Done);
        }
        let row = SignalRow { site: key.0.clone(), kind, sample };
        self.append(Keyspace::Signals, &signal_key(&row.site, kind), &archive(&row));
        self.signals.insert(key, sample);
        Ok(Outcome::Done)
    }
}

/// Where no jurisdiction is named the tariff's own rates count, and nothing where it says none.
fn untaxed() -> Treatment {
    let lines = vec![TaxLine { name: "VAT".into(), ppm: 0 }];
    Treatment {
        rule: "".into(),
        listed: lines.clone(),
        lines,
        reverse_charge: false,
        words: "as the tariff says".into(),
    }
}

impl Deal {
    /// The deal of a row that no session stands behind.
    #[must_use]
    pub fn of_nothing(currency: Currency) -> Deal {
        Deal {
            tariff: TermsId(0),
            contract: TermsId(0),
            currency,
            hold: 0,
            jurisdiction: "".into(),
            zone: "UTC".into(),
            treatment: untaxed(),
            rounding: RoundingPolicy::default(),
            adjustment: Adjustment::NONE,
            explanation: "".into(),
            fx: None,
        }
    }
}

/// First parts of account names that no party may have.
const RESERVED: [&str; 11] = [
    "driver",
    "receivable",
    "funding",
    "tax",
    "clearing",
    "fx",
    "psp",
    "psp-fee",
    "suspense",
    "write-off",
    "rounding",
];

/// Whether the books use a name themselves, so that no party of a contract may have it.
#[must_use]
pub fn is_reserved(party: &str) -> bool {
    RESERVED.contains(&party.split('/').next().unwrap_or(party))
}

/// Whole minor units, rounded up: what is held must suffice.
fn minor_up(amount: Micros, currency: Currency) -> Amount {
    let scale = 10_u128.pow(6 - u32::from(currency.exponent()));
    u128::try_from(amount.0).unwrap_or(0).div_ceil(scale)
}
