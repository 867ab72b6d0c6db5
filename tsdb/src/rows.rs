//! Decoded columns in buffers that are used again: what readers of chunks and cold groups work on.
//!
//! Invariant: all columns that are loaded have as many rows as there are stamps to them, a value
//! each; where a row has none, its value is zero and its bit is not set.

use std::ops::Range;

use novax_model::{Measurand, MeterTick, Timestamp};

use crate::aggregate::{Aggregate, extremes_and_sum};
use crate::dense::Stream;
use crate::error::Error;

/// Which of stamps and columns are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Columns(u8);

impl Columns {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The stamps alone.
    pub const STAMPS: Self = Self(1 << 6);
    /// What cleaning remarked: only cold files are asked for it this way.
    pub const REMARKS: Self = Self(1 << 7);
    /// Stamps and all six columns.
    pub const ALL: Self = Self(0x7f);

    /// One column, without stamps.
    #[must_use]
    pub const fn of(measurand: Measurand) -> Self {
        Self(1 << measurand as u8)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a column is among them.
    #[must_use]
    pub const fn has(self, measurand: Measurand) -> bool {
        self.0 >> measurand as u8 & 1 == 1
    }

    /// Whether the stamps are among them.
    #[must_use]
    pub const fn has_stamps(self) -> bool {
        self.0 & Self::STAMPS.0 != 0
    }
}

impl Columns {
    /// Whether remarks are among them.
    #[must_use]
    pub const fn has_remarks(self) -> bool {
        self.0 & Self::REMARKS.0 != 0
    }
}

/// What a column may be predicted from.
pub(crate) fn sources(measurand: Measurand) -> &'static [Measurand] {
    match measurand {
        Measurand::Power => &[Measurand::Voltage, Measurand::Current],
        Measurand::Energy => &[Measurand::Power],
        _ => &[],
    }
}

/// One column: a value or none for each row.
#[derive(Debug, Clone, Default)]
pub struct Column {
    pub(crate) values: Vec<i64>,
    /// A bit for each row, the first in the lowest of the first byte. Empty when all rows have a
    /// value, or none has one.
    pub(crate) bitmap: Vec<u8>,
    pub(crate) is_absent: bool,
}

impl Column {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether every row has a value.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bitmap.is_empty() && !self.is_absent
    }

    /// Whether no row has a value.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.is_absent
    }

    /// A number for each row, zero where it has no value.
    #[must_use]
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// Whether a row has a value.
    #[must_use]
    pub fn is_set(&self, row: usize) -> bool {
        if self.bitmap.is_empty() {
            return !self.is_absent && row < self.values.len();
        }
        self.bitmap.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    }

    /// The value of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<i64> {
        if self.is_set(row) { self.values.get(row).copied() } else { None }
    }

    /// Each row's value or none.
    pub fn iter(&self) -> impl Iterator<Item = Option<i64>> + '_ {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Count, extremes and sum of the values of some rows. `None` when they have none.
    ///
    /// # Panics
    /// When the rows are not there.
    #[must_use]
    pub fn summary(&self, rows: Range<usize>) -> Option<Summary> {
        let values = &self.values[rows.clone()];
        if self.is_absent {
            return None;
        }
        if self.bitmap.is_empty() {
            let (min, max, sum) = extremes_and_sum(values)?;
            return Some(Summary { count: values.len() as u64, min, max, sum });
        }
        let mut set =
            rows.zip(values).filter(|(row, _)| self.is_set(*row)).map(|(_, value)| *value);
        let first = set.next()?;
        let one = Summary { count: 1, min: first, max: first, sum: first.into() };
        Some(set.fold(one, |so_far, value| Summary {
            count: so_far.count + 1,
            min: so_far.min.min(value),
            max: so_far.max.max(value),
            sum: so_far.sum + i128::from(value),
        }))
    }

    /// Says that all rows have a value, after values were put.
    pub(crate) fn set_full(&mut self) {
        self.bitmap.clear();
        self.is_absent = false;
    }

    /// The values, if every row has one.
    pub(crate) fn full(&self) -> Result<&[i64], Error> {
        if self.is_full() {
            Ok(&self.values)
        } else {
            Err(Error::Invalid("a prediction from gaps"))
        }
    }

    /// No value in any of so many rows.
    pub(crate) fn set_absent(&mut self, rows: usize) {
        self.values.clear();
        self.values.resize(rows, 0);
        self.bitmap.clear();
        self.is_absent = true;
    }

    /// Values of the rows whose bits are set.
    pub(crate) fn set_mixed(&mut self, bitmap: &[u8], rows: usize, set: &[i64]) {
        self.bitmap.clear();
        self.bitmap.extend_from_slice(bitmap);
        self.is_absent = false;
        self.values.clear();
        let mut set = set.iter().copied();
        for row in 0..rows {
            let is_set = bitmap.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1);
            self.values.push(if is_set { set.next().unwrap_or(0) } else { 0 });
        }
    }

    /// The values of some rows, if each has one.
    pub(crate) fn full_in(&self, rows: Range<usize>) -> Option<&[i64]> {
        let is_full = self.is_full() || rows.clone().all(|row| self.is_set(row));
        if is_full { self.values.get(rows) } else { None }
    }

    /// A bitmap, all set so far.
    fn bits(&mut self) -> &mut [u8] {
        if self.bitmap.is_empty() {
            self.bitmap.resize(self.values.len().div_ceil(8), u8::MAX);
        }
        &mut self.bitmap
    }

    /// Takes the values of some rows away.
    pub(crate) fn unset(&mut self, rows: Range<usize>) {
        let bits = self.bits();
        rows.for_each(|row| bits[row / 8] &= !(1 << (row % 8)));
    }

    /// Puts values into those of some rows whose bits are set; the others have none.
    pub(crate) fn place(&mut self, bitmap: &[u8], rows: Range<usize>, set: &[i64]) {
        self.unset(rows.clone());
        let mut set = set.iter().copied();
        for (place, row) in rows.enumerate() {
            let is_set = bitmap.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1);
            if is_set {
                self.bitmap[row / 8] |= 1 << (row % 8);
                self.values[row] = set.next().unwrap_or(0);
            }
        }
    }

    /// Each row's value or none.
    pub(crate) fn set(&mut self, rows: impl Iterator<Item = Option<i64>>) {
        self.values.clear();
        self.bitmap.clear();
        let mut count = 0;
        for (row, value) in rows.enumerate() {
            if row % 8 == 0 {
                self.bitmap.push(0);
            }
            self.bitmap[row / 8] |= u8::from(value.is_some()) << (row % 8);
            count += usize::from(value.is_some());
            self.values.push(value.unwrap_or(0));
        }
        self.is_absent = count == 0;
        if self.is_absent || count == self.values.len() {
            self.bitmap.clear();
        }
    }
}

/// Of at least one value of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many values; at least one.
    pub count: u64,
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
    /// Of all values; cannot overflow.
    pub sum: i128,
}

/// Decoded rows. Keep one for as many reads as there are: what it holds is only ever that of the
/// last one.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) loaded: Columns,
    pub(crate) stamps: Vec<Timestamp>,
    pub(crate) columns: [Column; 6],
    /// Numbers on their way from packed to decoded.
    pub(crate) work: Vec<i64>,
    /// Those of a whole group.
    pub(crate) stream: Stream,
}

impl Scratch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The stamps of the rows that were loaded last.
    ///
    /// # Panics
    /// When stamps were not asked for.
    #[must_use]
    pub fn stamps(&self) -> &[Timestamp] {
        assert!(self.loaded.has_stamps(), "stamps were not loaded");
        &self.stamps
    }

    /// A column of the rows that were loaded last.
    ///
    /// # Panics
    /// When the column was not asked for.
    #[must_use]
    pub fn column(&self, measurand: Measurand) -> &Column {
        assert!(self.loaded.has(measurand), "{measurand:?} was not loaded");
        &self.columns[measurand as usize]
    }

    /// A row as a tick, its values those of the columns that were loaded.
    ///
    /// # Panics
    /// When stamps were not asked for, or there is no such row.
    #[must_use]
    pub fn tick(&self, row: usize) -> MeterTick {
        let mut tick = MeterTick { at: self.stamps()[row], values: [None; 6] };
        for (measurand, value) in novax_model::MEASURANDS.into_iter().zip(&mut tick.values) {
            if self.loaded.has(measurand) {
                *value = self.columns[measurand as usize].get(row);
            }
        }
        tick
    }

    /// The aggregate of some rows of a column. `None` when they have no values.
    ///
    /// # Panics
    /// When stamps and column were not asked for, or the rows are not there.
    #[must_use]
    pub fn aggregate(&self, measurand: Measurand, rows: Range<usize>) -> Option<Aggregate> {
        let (stamps, column) = (self.stamps(), self.column(measurand));
        let Summary { count, min, max, sum } = column.summary(rows.clone())?;
        let first = rows.clone().find(|row| column.is_set(*row))?;
        let last = rows.rev().find(|row| column.is_set(*row))?;
        let of = |row: usize| (stamps[row], column.values[row]);
        Some(Aggregate { count, min, max, sum, first: of(first), last: of(last) })
    }

    /// Forgets what was loaded.
    pub(crate) fn reset(&mut self) {
        self.loaded = Columns::NONE;
    }
}
