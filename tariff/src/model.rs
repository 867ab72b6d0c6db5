//! A tariff as everything here sees it, whichever protocol it came in.
//!
//! The words are OCPI's, because its structure holds the others': a tariff is an ordered list of
//! elements, an element is prices that hold while its restrictions do. For each dimension the first
//! element in order that has it and whose restrictions hold is the one that counts.
//!
//! **Invariants** of a tariff that passed [`Tariff::check`]: bounded in every list; one component a
//! dimension in an element; no price beyond [`PRICE_MAX`]; all ranges are ranges. Rating relies on
//! it and cannot overflow with it.

use crate::error::TariffError;
use novax_model::{Currency, Micros, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};

/// Elements of one tariff.
pub const ELEMENTS_MAX: usize = 64;
/// Components of one element: one a dimension.
pub const COMPONENTS_MAX: usize = 4;
/// Texts that go with one tariff, one a language.
pub const WORDS_MAX: usize = 32;
/// The longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// The longest id, in bytes (OCPI: 36, OCPP: 60).
pub const ID_BYTES_MAX: usize = 64;
/// The dearest price: ten million of the major unit. A price beyond it is a typing error.
pub const PRICE_MAX: Micros = Micros(10_000_000 * 1_000_000);
/// The longest step: a day in seconds, or as many watt-hours.
pub const STEP_MAX: u32 = 86_400;
/// The highest tax: 100 %.
pub const VAT_PPM_MAX: u32 = 1_000_000;
/// Minutes of a day.
pub const DAY_MINUTES: u16 = 1_440;
/// All seven days of the week.
pub const ALL_DAYS: u8 = 0b111_1111;

/// What a session costs, in a form that does not change while the session runs.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Tariff {
    /// The owner's name for it.
    pub id: Box<str>,
    /// Who owns it, where that came with it.
    pub party: Option<Party>,
    /// What all its prices are in.
    pub currency: Currency,
    /// Which sessions it is for.
    pub kind: TariffKind,
    /// Whether its prices hold tax.
    pub tax_included: TaxIncluded,
    /// In order: the first that matches counts, for each dimension by itself.
    pub elements: Vec<Element>,
    /// A session costs at least this.
    pub min_price: Option<PriceLimit>,
    /// A session costs at most this.
    pub max_price: Option<PriceLimit>,
    /// From then on (inclusive) sessions may start with it.
    pub valid_from: Option<Timestamp>,
    /// Before then (exclusive) sessions may start with it.
    pub valid_until: Option<Timestamp>,
    /// What the owner says about it, by language.
    pub words: Vec<Words>,
    /// A page that explains it.
    pub url: Option<Box<str>>,
    /// What to hold at the start of a session; a rule of the house when absent.
    pub hold: Option<Micros>,
    /// The energy mix as its JSON text: a charge record repeats it and nothing here reads it.
    pub energy_mix: Option<Box<str>>,
    /// When its owner last changed it.
    pub updated: Timestamp,
}

/// Who owns a tariff: OCPI's country and party.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Party {
    /// ISO 3166-1 alpha-2.
    pub country: Box<str>,
    /// ISO 15118's three letters.
    pub party: Box<str>,
}

/// A text in a language.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// ISO 639-1.
    pub language: Box<str>,
    /// Plain text.
    pub text: Box<str>,
}

/// Whether a tariff's prices hold tax.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaxIncluded {
    /// Tax comes on top.
    No,
    /// Tax is within.
    Yes,
    /// No tax applies to it.
    NotApplicable,
}

/// Which sessions a tariff is for.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TariffKind {
    /// Every session: nothing was said.
    Any,
    /// Paid on the spot, without a contract.
    AdHocPayment,
    /// The driver asked for a cheap charge.
    ProfileCheap,
    /// The driver asked for a fast charge.
    ProfileFast,
    /// The driver asked for a green charge.
    ProfileGreen,
    /// With a contract, and no wish.
    Regular,
}

/// Prices and when they hold.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Element {
    /// One a dimension.
    pub components: Vec<Component>,
    /// Always, when absent.
    pub restrictions: Option<Restrictions>,
}

/// One price.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Component {
    /// What it is the price of.
    pub dimension: Dimension,
    /// For a kWh, for an hour, or once. Never negative.
    pub price: Micros,
    /// A session is billed in whole steps: watt-hours or seconds. At least 1; `Flat` has 1.
    pub step: u32,
    /// Tax in millionths, where the tariff says it. Absent is not the same as none.
    pub vat_ppm: Option<u32>,
}

/// What is paid for.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Dimension {
    /// Energy taken, per kWh.
    Energy,
    /// Once a session.
    Flat,
    /// Time plugged in without charging, per hour.
    ParkingTime,
    /// Time charging, per hour; of a reservation: time reserved.
    Time,
}

impl Dimension {
    /// All four, in the order of their numbers.
    pub const ALL: [Dimension; 4] =
        [Dimension::Energy, Dimension::Flat, Dimension::ParkingTime, Dimension::Time];

    /// As OCPI writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Dimension::Energy => "ENERGY",
            Dimension::Flat => "FLAT",
            Dimension::ParkingTime => "PARKING_TIME",
            Dimension::Time => "TIME",
        }
    }
}

/// When an element holds: all that is set must.
#[derive(Archive, Serialize, Deserialize, Clone, Default, PartialEq, Eq, Debug)]
pub struct Restrictions {
    /// Minutes of the local day, inclusive. With an `end_time` that is not later it goes around
    /// midnight; the same time for both is all day.
    pub start_time: Option<u16>,
    /// Minutes of the local day, exclusive; 0 is the end of the day.
    pub end_time: Option<u16>,
    /// First local day.
    pub start_date: Option<Day>,
    /// First local day on which it no longer holds.
    pub end_date: Option<Day>,
    /// Energy of the session from which on it holds.
    pub min_wh: Option<i64>,
    /// Energy of the session from which on it no longer holds.
    pub max_wh: Option<i64>,
    /// Current, summed over phases, from which up it holds.
    pub min_ma: Option<i64>,
    /// Current, summed over phases, from which up it no longer holds.
    pub max_ma: Option<i64>,
    /// Power from which up it holds.
    pub min_w: Option<i64>,
    /// Power from which up it no longer holds.
    pub max_w: Option<i64>,
    /// Duration from which on it holds.
    pub min_s: Option<u32>,
    /// Duration from which on it no longer holds.
    pub max_s: Option<u32>,
    /// Days of the week: bit 0 is Monday. 0 is every day, as [`ALL_DAYS`] is.
    pub days: u8,
    /// It is for a reservation instead of a charge.
    pub reservation: Option<Reservation>,
}

/// A local day: days since 1970-01-01.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub struct Day(pub i32);

/// Which reservations an element is for.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reservation {
    /// Any.
    Reservation,
    /// One that ended without a charge.
    Expires,
}

/// A bound on what a session costs. Both its numbers bind, each by itself.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct PriceLimit {
    /// On the cost without tax.
    pub before_taxes: Micros,
    /// On the cost with tax.
    pub after_taxes: Option<Micros>,
}

impl Tariff {
    /// The common tariff: so much a kWh, so much a session, tax on top.
    #[must_use]
    pub fn flat(
        id: &str,
        currency: Currency,
        energy_per_kwh: Micros,
        session_fee: Micros,
    ) -> Tariff {
        let mut components = vec![Component::new(Dimension::Energy, energy_per_kwh)];
        if session_fee != Micros(0) {
            components.push(Component::new(Dimension::Flat, session_fee));
        }
        Tariff::of(id, currency, vec![Element { components, restrictions: None }])
    }

    /// A tariff of these elements and nothing else said, tax on top.
    #[must_use]
    pub fn of(id: &str, currency: Currency, elements: Vec<Element>) -> Tariff {
        Tariff {
            id: id.into(),
            party: None,
            currency,
            kind: TariffKind::Any,
            tax_included: TaxIncluded::No,
            elements,
            min_price: None,
            max_price: None,
            valid_from: None,
            valid_until: None,
            words: Vec::new(),
            url: None,
            hold: None,
            energy_mix: None,
            updated: Timestamp::ZERO,
        }
    }

    /// Whether a session may start with it at a time.
    #[must_use]
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.valid_from.is_none_or(|from| from <= at)
            && self.valid_until.is_none_or(|until| at < until)
    }

    /// Whether one element without restrictions is all of it, so that a price never changes.
    #[must_use]
    pub fn is_simple(&self) -> bool {
        matches!(self.elements.as_slice(), [one] if one.restrictions.is_none())
    }

    /// The price of a dimension in an element.
    #[must_use]
    pub fn component(&self, element: u16, dimension: Dimension) -> Option<&Component> {
        self.elements.get(usize::from(element))?.component(dimension)
    }

    /// Whether it can be rated.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place in the tariff.
    pub fn check(&self) -> Result<(), TariffError> {
        crate::check::check(self)
    }
}

impl Element {
    /// Its price of a dimension.
    #[must_use]
    pub fn component(&self, dimension: Dimension) -> Option<&Component> {
        self.components.iter().find(|component| component.dimension == dimension)
    }
}

impl Component {
    /// A price without steps, that says nothing of tax.
    #[must_use]
    pub fn new(dimension: Dimension, price: Micros) -> Component {
        Component { dimension, price, step: 1, vat_ppm: None }
    }
}
