//! The tax table: which rates are in force where and when. A data file, compiled in.
//!
//! Rates start at midnight of the place they are for: the table is parsed once, with the time zones of
//! this build, and looking a rate up is a search in sorted rows. Standard rates alone: what a country
//! taxes less is stated per price component by the tariff.

use crate::error::SettlementError;
use crate::jurisdiction::{Country, Jurisdiction, shown};
use crate::tax::TaxLine;
use crate::vat_id;
use jiff::tz::TimeZoneDatabase;
use novax_model::{PPM_WHOLE, Timestamp};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The most taxes on one supply.
pub const TAX_LINES_MAX: usize = 4;

const BUILT_IN: &str = include_str!("../data/tax.toml");

/// Rates by place and time, with the forms of VAT ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaxTable {
    version: Box<str>,
    hash: [u8; 32],
    areas: BTreeMap<Box<str>, Area>,
}

/// A country, or a region with rates of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Area {
    /// Within the common system of value added tax of the EU.
    union: bool,
    /// No rate of the country is good for all of it: a region has to be named.
    regions: bool,
    /// Outside the country's tax territory: it has no rate, and must not fall back to one.
    outside: bool,
    vat_ids: Vec<Box<str>>,
    /// By start, ascending; each is in force up to the next.
    periods: Vec<RatePeriod>,
}

/// What holds from a time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatePeriod {
    /// `DE-2021-01-01`: the place and the day from which it holds.
    pub id: Box<str>,
    /// Midnight of that day, at the place.
    pub from: Timestamp,
    /// The taxes, each on the net price.
    pub lines: Vec<TaxLine>,
    /// Which law or publication says so.
    pub source: Box<str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableText {
    version: Box<str>,
    #[serde(default)]
    area: Vec<AreaText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AreaText {
    code: Box<str>,
    zone: Box<str>,
    #[serde(default)]
    union: bool,
    #[serde(default)]
    regions: bool,
    #[serde(default)]
    outside: Vec<Box<str>>,
    #[serde(default)]
    vat_ids: Vec<Box<str>>,
    #[serde(default)]
    rates: Vec<RateText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateText {
    from: Box<str>,
    taxes: Vec<TaxText>,
    source: Box<str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaxText {
    name: Box<str>,
    ppm: u32,
}

impl TaxTable {
    /// The table this build was made with.
    #[must_use]
    pub fn built_in() -> TaxTable {
        TaxTable::parse(BUILT_IN).expect("a test parses the table that is compiled in")
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`SettlementError::TaxTable`], which names the row.
    pub fn parse(text: &str) -> Result<TaxTable, SettlementError> {
        let parsed: TableText =
            toml::from_str(text).map_err(|error| wrong("its text", error.to_string()))?;
        let mut areas = BTreeMap::new();
        for text in parsed.area {
            let code = text.code.clone();
            for outside in &text.outside {
                insert(&mut areas, outside, Area::without_rates())?;
            }
            insert(&mut areas, &code, Area::read(text)?)?;
        }
        if areas.is_empty() {
            return Err(wrong("its text", "there is no area".into()));
        }
        Ok(TaxTable { version: parsed.version, hash: Sha256::digest(text).into(), areas })
    }

    /// What the table's author calls it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// SHA-256 of the table's text.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Every place with rates and what held there, in order.
    pub fn rates(&self) -> impl Iterator<Item = (&str, &RatePeriod)> {
        let all = self.areas.iter();
        all.flat_map(|(code, area)| area.periods.iter().map(move |period| (&**code, period)))
    }

    /// The taxes of a place at a time: the region's own, else those of its country.
    ///
    /// # Errors
    /// [`SettlementError::NoRate`] when the table does not go there, or not that far back.
    pub fn lookup(
        &self,
        jurisdiction: &Jurisdiction,
        at: Timestamp,
    ) -> Result<&RatePeriod, SettlementError> {
        let no_rate = || SettlementError::NoRate { jurisdiction: jurisdiction.clone(), at };
        let area = match self.areas.get(jurisdiction.as_str()) {
            Some(area) => area,
            None => self
                .areas
                .get(jurisdiction.country().code())
                .filter(|country| !country.regions)
                .ok_or_else(no_rate)?,
        };
        if area.outside || area.regions {
            return Err(no_rate());
        }
        let after = area.periods.partition_point(|period| period.from <= at);
        after.checked_sub(1).and_then(|last| area.periods.get(last)).ok_or_else(no_rate)
    }

    /// Whether the country is in the common system of value added tax of the EU.
    #[must_use]
    pub fn in_union(&self, country: Country) -> bool {
        self.areas.get(country.code()).is_some_and(|area| area.union)
    }

    /// Whether the place belongs to that system: parts of some members do not.
    #[must_use]
    pub fn place_in_union(&self, place: &Jurisdiction) -> bool {
        let outside = self.areas.get(place.as_str()).is_some_and(|area| area.outside);
        !outside && self.in_union(place.country())
    }

    /// Checks the form of a VAT id and gives it back as authorities write it.
    ///
    /// # Errors
    /// [`SettlementError::VatId`] when it has none of the country's forms, or none is known.
    pub fn check_vat_id(&self, country: Country, id: &str) -> Result<String, SettlementError> {
        let forms = self.areas.get(country.code()).map_or(&[][..], |area| &area.vat_ids);
        let normalised = vat_id::normalised(id);
        normalised
            .filter(|id| forms.iter().any(|form| vat_id::fits(id, form)))
            .ok_or_else(|| SettlementError::VatId { id: shown(id), country: country.to_string() })
    }
}

impl Area {
    fn without_rates() -> Area {
        Area { union: false, regions: false, outside: true, vat_ids: vec![], periods: vec![] }
    }

    fn read(text: AreaText) -> Result<Area, SettlementError> {
        let zone = TimeZoneDatabase::bundled()
            .get(&text.zone)
            .map_err(|_| wrong(&text.code, format!("{} is no time zone", text.zone)))?;
        let mut periods: Vec<RatePeriod> = Vec::with_capacity(text.rates.len());
        for rate in text.rates {
            let place = format!("{}-{}", text.code, rate.from);
            let from = midnight(&rate.from, &zone).ok_or_else(|| {
                wrong(&place, "its day is not written like 2026-01-31, from 1970 on".into())
            })?;
            if periods.last().is_some_and(|last| last.from >= from) {
                return Err(wrong(&place, "it does not stand after the earlier ones".into()));
            }
            if rate.taxes.len() > TAX_LINES_MAX {
                return Err(wrong(&place, format!("more than {TAX_LINES_MAX} taxes")));
            }
            let total: u64 = rate.taxes.iter().map(|tax| u64::from(tax.ppm)).sum();
            if total > u64::from(PPM_WHOLE) {
                return Err(wrong(&place, "its taxes are above 100 %".into()));
            }
            let lines = rate.taxes.into_iter().map(|tax| TaxLine { name: tax.name, ppm: tax.ppm });
            let lines = lines.collect();
            periods.push(RatePeriod { id: place.into(), from, lines, source: rate.source });
        }
        if periods.is_empty() != text.regions {
            return Err(wrong(&text.code, "it needs rates, or regions that have them".into()));
        }
        let (union, regions, vat_ids) = (text.union, text.regions, text.vat_ids);
        Ok(Area { union, regions, outside: false, vat_ids, periods })
    }
}

fn insert(
    areas: &mut BTreeMap<Box<str>, Area>,
    code: &str,
    area: Area,
) -> Result<(), SettlementError> {
    Jurisdiction::new(code).map_err(|error| wrong(code, error.to_string()))?;
    match areas.insert(code.into(), area) {
        None => Ok(()),
        Some(_) => Err(wrong(code, "it stands there twice".into())),
    }
}

/// Midnight at the start of a day; where clocks skip midnight, the first moment of the day.
fn midnight(day: &str, zone: &jiff::tz::TimeZone) -> Option<Timestamp> {
    let day: jiff::civil::Date = day.parse().ok()?;
    let start = day.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
    u64::try_from(start.timestamp().as_microsecond()).ok().map(Timestamp)
}

fn wrong(place: &str, words: String) -> SettlementError {
    SettlementError::TaxTable { place: place.into(), words }
}
