//! A document as heads, tables and notes: what all renderers print, so that none can differ.

mod html;
mod plain;
mod words;

use crate::error::StatementError;
use crate::facts::Minor;
use jiff::tz::TimeZone;
use novax_model::{Currency, Micros, Timestamp};

/// The languages documents are printed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// English.
    En,
    /// German.
    De,
}

/// A document ready to be written as JSON, CSV or HTML.
#[derive(Clone, Debug)]
pub struct Sheet {
    pub(crate) kind: &'static str,
    /// The number, or what else tells it apart.
    pub(crate) name: String,
    pub(crate) currency: Currency,
    pub(crate) zone: TimeZone,
    pub(crate) head: Vec<(&'static str, Cell)>,
    pub(crate) tables: Vec<Table>,
    /// Keys of sentences the document has to say, and texts as given.
    pub(crate) notes: Vec<Cell>,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Cell>>,
    pub(crate) total: Option<Vec<Cell>>,
}

/// A value, not yet in anybody's language.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Blank,
    Text(Box<str>),
    /// A key of the dictionary.
    Word(&'static str),
    Money(Minor),
    /// Watt-hours; printed in kWh.
    Energy(i128),
    Count(u64),
    Time(Timestamp),
    Day(Timestamp),
    /// Parts per million; printed in per cent.
    Percent(u32),
    /// Prices and quantities.
    Micros(Micros),
}

impl Cell {
    pub(crate) fn text(text: impl Into<Box<str>>) -> Cell {
        Cell::Text(text.into())
    }

    pub(crate) fn maybe(text: Option<&str>) -> Cell {
        text.map_or(Cell::Blank, Cell::text)
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(
            self,
            Cell::Money(_) | Cell::Energy(_) | Cell::Count(_) | Cell::Percent(_) | Cell::Micros(_)
        )
    }
}

/// A document that can be printed.
pub trait Printed {
    /// Its contents, ready for [`Sheet::json`], [`Sheet::csv`] and [`Sheet::html`].
    ///
    /// # Errors
    /// [`StatementError::UnknownZone`] when its period's zone is none.
    fn sheet(&self) -> Result<Sheet, StatementError>;
}

/// The zone of a name.
pub(crate) fn zone(name: &str) -> Result<TimeZone, StatementError> {
    TimeZone::get(name).map_err(|_| StatementError::UnknownZone(name.chars().take(40).collect()))
}
