//! Cold files: many series over one window of time, as dense as still scans fast.
//! `docs/formats/cold.md` has the bytes. No I/O: a reader is told which bytes it needs.
//!
//! To read: fetch the last [`FOOTER_BYTES`], ask [`index_len`] how much of the end is the index,
//! fetch that, [`ColdIndex::parse`] it; [`ColdIndex::plan`] says which blocks a question needs;
//! fetch their ranges and [`decode_group`] them.

use std::ops::Range;

use novax_model::{Measurand, MeterTick, Timestamp};

use crate::aggregate::Aggregate;
use crate::error::Error;
use crate::remark::Remark;
use crate::rows::{Columns, Scratch};

/// Bytes of the footer that ends a cold file.
pub const FOOTER_BYTES: usize = 24;
/// The most rows of one series in one file: a tick a second for a day, and some.
pub const SERIES_ROWS_MAX: usize = 100_000;

/// The time that a file covers: from `from` up to, but not with, `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first stamp that may be in it.
    pub from: Timestamp,
    /// The first stamp after it.
    pub to: Timestamp,
}

/// Makes one cold file.
#[derive(Debug)]
pub struct ColdWriter {
    window: Window,
}

impl ColdWriter {
    /// An empty file for a window.
    ///
    /// # Panics
    /// When the window ends before it begins.
    #[must_use]
    pub fn new(window: Window) -> Self {
        assert!(window.from < window.to, "a window has a length");
        Self { window }
    }

    /// Adds all ticks of one series. One without ticks leaves no trace.
    ///
    /// # Panics
    /// When the series does not come after the one before, stamps do not increase or lie outside the
    /// window, there are more than [`SERIES_ROWS_MAX`], or remarks are not by ascending row of rows
    /// that are there.
    pub fn add_series(&mut self, series: u64, ticks: &[MeterTick], remarks: &[Remark]) {
        let _ = (series, ticks, remarks, self.window);
        unreachable!("the first checkpoint has the signatures alone")
    }

    /// Finished bytes that may be written out already: taken again and again, and with
    /// [`finish`](Self::finish) at the end, they are the file. Keeps memory to one group.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// The (rest of the) file.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        Vec::new()
    }
}

/// How many bytes of a file's end are index and footer, told by the footer.
///
/// # Errors
/// [`Error`] when the bytes are no footer of ours.
pub fn index_len(footer: &[u8]) -> Result<usize, Error> {
    let _ = footer;
    Err(Error::Truncated)
}

/// What a file has, and where.
#[derive(Debug, Clone)]
pub struct ColdIndex {
    window: Window,
}

/// What is asked of a file.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Ascending series; `None` for all.
    pub series: Option<&'a [u64]>,
    /// The first stamp wanted.
    pub from: Timestamp,
    /// The first stamp no longer wanted.
    pub to: Timestamp,
    /// Stamps and columns.
    pub columns: Columns,
}

/// One group of series to read: fetch the ranges, then [`decode_group`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    /// Which group of the file.
    pub group: usize,
    /// Stamps and columns that will be decoded.
    pub columns: Columns,
    /// Where in the file the blocks are, ascending and apart.
    pub ranges: Vec<Range<u64>>,
}

/// One series of a group that was decoded: its rows stand together in the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesRows {
    /// Its number.
    pub series: u64,
    /// Where its rows are.
    pub rows: Range<usize>,
}

/// A series as the index has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesEntry {
    /// Its number.
    pub series: u64,
    /// How many rows; at least one.
    pub rows: usize,
    /// The first stamp.
    pub first: Timestamp,
    /// The last stamp.
    pub last: Timestamp,
}

impl ColdIndex {
    /// Reads the index from the end of a file: [`index_len`] bytes (more do no harm).
    ///
    /// # Errors
    /// [`Error`] when the bytes are not the end of a cold file.
    pub fn parse(tail: &[u8]) -> Result<Self, Error> {
        let _ = tail;
        Err(Error::Truncated)
    }

    /// The time it covers.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// All series, ascending.
    pub fn series(&self) -> impl Iterator<Item = SeriesEntry> + '_ {
        std::iter::empty()
    }

    /// Which groups have something of what is wanted, and which bytes that takes.
    #[must_use]
    pub fn plan(&self, wanted: &Wanted<'_>) -> Vec<GroupPlan> {
        let _ = wanted;
        Vec::new()
    }

    /// The summary of one column of one whole group, from the index alone: for groups that lie
    /// within the time asked for.
    #[must_use]
    pub fn group_aggregate(&self, group: usize, measurand: Measurand) -> Option<Aggregate> {
        let _ = (group, measurand);
        None
    }
}

/// Decodes the blocks of a plan, one slice for each of its ranges, in order. All rows of all series
/// of the group are in `scratch` then; which are whose is the answer.
///
/// # Errors
/// [`Error`] when the blocks are not those of the index, or damaged.
pub fn decode_group(
    index: &ColdIndex,
    plan: &GroupPlan,
    blocks: &[&[u8]],
    scratch: &mut Scratch,
) -> Result<Vec<SeriesRows>, Error> {
    let _ = (index, plan, blocks, scratch);
    Err(Error::Truncated)
}

/// Remarks of a group: series and remark (its row counted within the series), from the same blocks.
///
/// # Errors
/// [`Error`] when the blocks are not those of the index, or damaged.
pub fn decode_remarks(
    index: &ColdIndex,
    plan: &GroupPlan,
    blocks: &[&[u8]],
) -> Result<Vec<(u64, Remark)>, Error> {
    let _ = (index, plan, blocks);
    Err(Error::Truncated)
}
