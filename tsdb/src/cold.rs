//! Cold files: many series over one window of time, as dense as still scans fast.
//! `docs/formats/cold.md` has the bytes. No I/O: a reader is told which bytes it needs.
//!
//! To read: fetch the last [`FOOTER_BYTES`], ask [`index_len`] how much of the end is the index,
//! fetch that, [`ColdIndex::parse`] it; [`ColdIndex::plan`] says which blocks a question needs;
//! fetch their ranges and [`decode_group`] them.

mod group;
mod index;

use std::ops::Range;

use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};

use crate::aggregate::Aggregate;
use crate::dense::Stream;
use crate::error::Error;
use crate::remark::Remark;
use crate::rows::{Columns, Scratch, sources as measurand_sources};
use group::Gatherer;
use index::{BlockRef, GroupEntry};

/// Bytes of the footer that ends a cold file.
pub const FOOTER_BYTES: usize = 24;
/// The most rows of one series in one file: a tick a second for a day, and some.
pub const SERIES_ROWS_MAX: usize = 100_000;
/// The most series of one group.
pub const GROUP_SERIES_MAX: usize = 64;
/// The most rows of a group of more than one series: what a reader must hold.
pub const GROUP_ROWS_MAX: usize = 65_536;

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
    gatherer: Gatherer,
    /// Finished bytes that were not taken.
    out: Vec<u8>,
    /// How many bytes were taken.
    taken: u64,
    index: Vec<u8>,
    groups: usize,
    /// The last series of the last finished group.
    series_before: u64,
    /// The last series added.
    newest: Option<u64>,
}

impl ColdWriter {
    /// An empty file for a window.
    ///
    /// # Panics
    /// When the window ends before it begins.
    #[must_use]
    pub fn new(window: Window) -> Self {
        assert!(window.from < window.to, "a window has a length");
        let [a, b, c, d] = index::MAGIC;
        Self {
            window,
            gatherer: Gatherer::default(),
            out: vec![a, b, c, d, index::VERSION, 0, 0, 0],
            taken: 0,
            index: Vec::new(),
            groups: 0,
            series_before: 0,
            newest: None,
        }
    }

    /// Adds all ticks of one series. One without ticks leaves no trace.
    ///
    /// # Panics
    /// When the series does not come after the one before, stamps do not increase or lie outside the
    /// window, there are more than [`SERIES_ROWS_MAX`], or remarks are not by ascending row of rows
    /// that are there.
    pub fn add_series(&mut self, series: u64, ticks: &[MeterTick], remarks: &[Remark]) {
        assert!(self.newest.is_none_or(|newest| newest < series), "series ascend");
        assert!(ticks.is_sorted_by(|a, b| a.at < b.at), "stamps increase");
        assert!(ticks.len() <= SERIES_ROWS_MAX, "a series is bounded");
        assert!(remarks.is_sorted_by(|a, b| a.row < b.row), "one remark a row, by row");
        assert!(
            remarks.last().is_none_or(|last| (last.row as usize) < ticks.len()),
            "rows are there"
        );
        let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else { return };
        assert!(self.window.from <= first.at && last.at < self.window.to, "stamps in the window");
        self.newest = Some(series);
        let is_full = self.gatherer.series.len() >= GROUP_SERIES_MAX
            || self.gatherer.stamps.len() + ticks.len() > GROUP_ROWS_MAX;
        if is_full {
            self.finish_group();
        }
        self.gatherer.add(series, ticks, remarks);
    }

    /// Finished bytes that may be written out already: taken again and again, and with
    /// [`finish`](Self::finish) at the end, they are the file. Keeps memory to one group.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        self.taken += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// The (rest of the) file.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.finish_group();
        let written = self.taken + self.out.len() as u64;
        index::put_end(&mut self.out, written, self.window, self.groups, &self.index);
        self.out
    }

    fn finish_group(&mut self) {
        if self.gatherer.series.is_empty() {
            return;
        }
        let (out, index) = (&mut self.out, &mut self.index);
        index::put_group(out, index, &self.gatherer, self.window, &mut self.series_before);
        self.gatherer.clear();
        self.groups += 1;
    }
}

/// How many bytes of a file's end are index and footer, told by the footer: the last
/// [`FOOTER_BYTES`] of the file (more do no harm).
///
/// # Errors
/// [`Error`] when the bytes are no footer of ours.
pub fn index_len(footer: &[u8]) -> Result<usize, Error> {
    let begin = footer.len().saturating_sub(FOOTER_BYTES);
    let (index_len, file_len) = index::get_footer(footer.get(begin..).unwrap_or_default())?;
    let whole = index_len.saturating_add(FOOTER_BYTES);
    if whole as u64 > file_len {
        return Err(Error::Invalid("an index longer than the file"));
    }
    Ok(whole)
}

/// What a file has, and where.
#[derive(Debug, Clone)]
pub struct ColdIndex {
    window: Window,
    groups: Vec<GroupEntry>,
    file_len: u64,
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
        let whole = index_len(tail)?;
        let begin = tail.len().checked_sub(whole).ok_or(Error::Truncated)?;
        let (index, footer) = tail
            .get(begin..)
            .and_then(|tail| tail.split_last_chunk::<FOOTER_BYTES>())
            .ok_or(Error::Truncated)?;
        let (_, file_len) = index::get_footer(footer)?;
        let (window, groups) = index::get_index(index, file_len - whole as u64)?;
        Ok(Self { window, groups, file_len })
    }

    /// The time it covers.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// How long the file must be.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// How many groups there are.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// All series, ascending.
    pub fn series(&self) -> impl Iterator<Item = SeriesEntry> + '_ {
        self.groups.iter().flat_map(|group| &group.series).copied()
    }

    /// The series of one group, ascending; none if there is no such group.
    #[must_use]
    pub fn group_series(&self, group: usize) -> &[SeriesEntry] {
        self.groups.get(group).map_or(&[], |group| &group.series)
    }

    /// Which groups have something of what is wanted, and which bytes that takes.
    #[must_use]
    pub fn plan(&self, wanted: &Wanted<'_>) -> Vec<GroupPlan> {
        let groups = self.groups.iter().enumerate().filter(|(_, group)| group.has(wanted));
        groups.map(|(number, group)| group.plan(number, wanted.columns)).collect()
    }

    /// The summary of one column of one whole group, from the index alone: for groups that lie
    /// within the time asked for, and of whose series all are wanted. Stamps of first and last are
    /// the least and the greatest among all its series.
    #[must_use]
    pub fn group_aggregate(&self, group: usize, measurand: Measurand) -> Option<Aggregate> {
        self.groups.get(group)?.aggregates[measurand as usize]
    }

    fn group(&self, plan: &GroupPlan) -> Result<&GroupEntry, Error> {
        self.groups.get(plan.group).ok_or(Error::Invalid("a plan of another file"))
    }
}

impl GroupEntry {
    fn has(&self, wanted: &Wanted<'_>) -> bool {
        self.series.iter().any(|one| {
            let is_wanted = wanted.series.is_none_or(|all| all.binary_search(&one.series).is_ok());
            is_wanted && one.first < wanted.to && wanted.from <= one.last
        })
    }

    fn plan(&self, group: usize, wanted: Columns) -> GroupPlan {
        let mut columns = wanted;
        for measurand in [Measurand::Energy, Measurand::Power] {
            if columns.has(measurand) && self.blocks[index::place(measurand)].is_predicted {
                let sources = measurand_sources(measurand).iter().copied().map(Columns::of);
                columns = sources.fold(columns, Columns::and);
            }
        }
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for block in self.needed(columns) {
            match ranges.last_mut() {
                Some(last) if last.end == block.range.start => last.end = block.range.end,
                _ => ranges.push(block.range.clone()),
            }
        }
        GroupPlan { group, columns, ranges }
    }

    /// The blocks that columns take, as they stand in the file; not those that are empty.
    fn needed(&self, columns: Columns) -> impl Iterator<Item = &BlockRef> {
        let places = columns.has_stamps().then_some(index::STAMPS).into_iter();
        let places = places
            .chain(MEASURANDS.into_iter().filter(move |one| columns.has(*one)).map(index::place));
        let places = places.chain(columns.has_remarks().then_some(index::REMARKS));
        places.map(|place| &self.blocks[place]).filter(|block| !block.range.is_empty())
    }

    /// The bytes of one block, checked; empty if the block is.
    fn block<'a>(
        &self,
        place: usize,
        plan: &GroupPlan,
        fetched: &[&'a [u8]],
    ) -> Result<&'a [u8], Error> {
        let block = &self.blocks[place];
        if block.range.is_empty() {
            return Ok(&[]);
        }
        let (range, bytes) = plan
            .ranges
            .iter()
            .zip(fetched)
            .find(|(range, _)| range.start <= block.range.start && block.range.end <= range.end)
            .ok_or(Error::Invalid("a block that was not fetched"))?;
        let begin = usize::try_from(block.range.start - range.start).unwrap_or(usize::MAX);
        let end = usize::try_from(block.range.end - range.start).unwrap_or(usize::MAX);
        let bytes = bytes.get(begin..end).ok_or(Error::Truncated)?;
        let (bytes, stored) = bytes.split_last_chunk::<4>().ok_or(Error::Truncated)?;
        let found = crc32fast::hash(bytes);
        for expected in [block.checksum, u32::from_le_bytes(*stored)] {
            if expected != found {
                return Err(Error::Checksum { expected, found });
            }
        }
        Ok(bytes)
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
    let group = index.group(plan)?;
    let rows = group.rows();
    scratch.reset();
    let mut stream = std::mem::take(&mut scratch.stream);
    let decoded = decode_blocks(group, plan, blocks, &rows, &mut stream, scratch);
    scratch.stream = stream;
    decoded?;
    scratch.loaded = plan.columns;
    let series = group.series.iter().zip(rows);
    Ok(series.map(|(one, rows)| SeriesRows { series: one.series, rows: rows.rows }).collect())
}

fn decode_blocks(
    group: &GroupEntry,
    plan: &GroupPlan,
    blocks: &[&[u8]],
    rows: &[group::Rows],
    stream: &mut Stream,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    if plan.columns.has_stamps() {
        let block = group.block(index::STAMPS, plan, blocks)?;
        group::get_stamps(block, rows, stream, scratch)?;
    }
    for measurand in MEASURANDS.into_iter().filter(|one| plan.columns.has(*one)) {
        let block = group.block(index::place(measurand), plan, blocks)?;
        group::get_column(block, measurand, rows, stream, scratch)?;
    }
    Ok(())
}

/// Remarks of a group: series and remark (its row counted within the series), from the same blocks,
/// if [`Columns::REMARKS`] were planned.
///
/// # Errors
/// [`Error`] when the blocks are not those of the index, or damaged.
pub fn decode_remarks(
    index: &ColdIndex,
    plan: &GroupPlan,
    blocks: &[&[u8]],
) -> Result<Vec<(u64, Remark)>, Error> {
    let group = index.group(plan)?;
    let block = group.block(index::REMARKS, plan, blocks)?;
    let remarks = group::get_remarks(block, &group.rows())?;
    let number = |place: usize| group.series.get(place).map_or(0, |one| one.series);
    Ok(remarks.into_iter().map(|(place, remark)| (number(place), remark)).collect())
}

/// Bytes as index, stamps, column or remarks of two series of so many rows, behind the checksums.
pub(crate) fn fuzz_cold(what: u8, lengths: [usize; 2], data: &[u8]) {
    let (first, last) = (Timestamp(1_000), Timestamp(1_000_000_000));
    let end = lengths[0] + lengths[1];
    let each = [0..lengths[0], lengths[0]..end];
    let rows = each.map(|rows| group::Rows { rows, first, last });
    let mut scratch = Scratch::new();
    for measurand in MEASURANDS {
        scratch.columns[measurand as usize].values.resize(end, 7);
    }
    let mut stream = Stream::default();
    match what % 4 {
        0 => {
            let mut sealed = data.to_vec();
            crate::bytes::seal(&mut sealed);
            let _ = index::get_index(&sealed, 8);
        }
        1 => {
            let _ = group::get_stamps(data, &rows, &mut stream, &mut scratch);
            assert!(scratch.stamps.len() <= end, "no more than announced");
        }
        2 => {
            let measurand = MEASURANDS[usize::from(what / 4) % MEASURANDS.len()];
            let _ = group::get_column(data, measurand, &rows, &mut stream, &mut scratch);
            assert_eq!(scratch.columns[measurand as usize].len(), end, "a number for each row");
        }
        _ => {
            let _ = group::get_remarks(data, &rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use novax_model::{MEASURANDS, Timestamp};
    use proptest::prelude::*;

    use super::group::{Gatherer, Rows, get_column, get_stamps};
    use crate::dense::Stream;
    use crate::generate::{Config, Generator};
    use crate::rows::Scratch;

    /// Two series with all their blocks: stamps, then columns.
    fn blocks() -> (Vec<Rows>, Vec<Vec<u8>>) {
        let mut gatherer = Gatherer::default();
        for one in Generator::new(9, Config { connectors: 3, ticks: 300, ..Config::default() }) {
            gatherer.add(one.series, &one.ticks, &[]);
        }
        let end = |row: usize| Timestamp(gatherer.stamps[row]);
        let of = |one: &std::ops::Range<usize>| Rows {
            rows: one.clone(),
            first: end(one.start),
            last: end(one.end - 1),
        };
        let rows = gatherer.series.iter().map(|one| of(&one.rows)).collect();
        let mut blocks = vec![gatherer.put_stamps()];
        blocks.extend(MEASURANDS.map(|measurand| gatherer.put_column(measurand).bytes));
        (rows, blocks)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_changed_block_never_panics_behind_its_checksum(
            which in 0_usize..7, place in any::<prop::sample::Index>(), byte in any::<u8>(),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let (rows, mut blocks) = blocks();
            let (mut stream, mut scratch) = (Stream::default(), Scratch::new());
            get_stamps(&blocks[0], &rows, &mut stream, &mut scratch).unwrap();
            for measurand in MEASURANDS {
                let block = &blocks[measurand as usize + 1];
                get_column(block, measurand, &rows, &mut stream, &mut scratch).unwrap();
            }
            let block = &mut blocks[which];
            let place = place.index(block.len());
            block[place] = byte;
            if let Some(cut) = cut {
                block.truncate(cut.index(block.len()));
            }
            if which == 0 {
                let _ = get_stamps(block, &rows, &mut stream, &mut scratch);
            } else {
                let measurand = MEASURANDS[which - 1];
                let _ = get_column(block, measurand, &rows, &mut stream, &mut scratch);
                prop_assert_eq!(scratch.columns[which - 1].len(), 900);
            }
        }
    }
}
