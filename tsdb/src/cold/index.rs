//! What stands at the end of a cold file: which series are in which group, where the blocks are,
//! what their checksums must be, and what each column of a group sums up to.

use std::ops::Range;

use novax_model::{MEASURANDS, Measurand, Timestamp};

use super::group::{ColumnBlock, Gatherer, Rows};
use super::{FOOTER_BYTES, GROUP_SERIES_MAX, SERIES_ROWS_MAX, Window};
use crate::aggregate::Aggregate;
use crate::bytes::{self, Reader, put_signed, put_varint, put_varint_128};
use crate::columns;
use crate::error::Error;

pub(super) const MAGIC: [u8; 4] = *b"NVXC";
pub(super) const VERSION: u8 = 1;
/// Stamps, six columns, remarks: their places among the blocks of a group.
pub(super) const BLOCKS: usize = 8;
/// The place of the stamps' block; columns follow.
pub(super) const STAMPS: usize = 0;
/// The place of the remarks' block.
pub(super) const REMARKS: usize = 7;

/// One block of a group: nothing if it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BlockRef {
    /// Where in the file, its checksum included.
    pub(super) range: Range<u64>,
    /// Of its bytes: it stands behind them, too.
    pub(super) checksum: u32,
    /// Whether decoding it takes another column.
    pub(super) is_predicted: bool,
}

/// One group, as the index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupEntry {
    pub(super) series: Vec<super::SeriesEntry>,
    pub(super) blocks: [BlockRef; BLOCKS],
    pub(super) aggregates: [Option<Aggregate>; 6],
}

impl GroupEntry {
    /// Where the rows of its series are once decoded.
    pub(super) fn rows(&self) -> Vec<Rows> {
        let mut begin = 0;
        let rows = self.series.iter().map(|one| {
            let rows = begin..begin + one.rows;
            begin = rows.end;
            Rows { rows, first: one.first, last: one.last }
        });
        rows.collect()
    }
}

/// Appends a group's blocks, each with its checksum, and its entry to the index.
pub(super) fn put_group(
    out: &mut Vec<u8>,
    index: &mut Vec<u8>,
    gatherer: &Gatherer,
    window: Window,
    series_before: &mut u64,
) {
    let stamps = &gatherer.stamps;
    let of = |row: usize| stamps[row] - window.from.0;
    let ends = gatherer.series.iter().flat_map(|one| [of(one.rows.start), of(one.rows.end - 1)]);
    let (unit, micros) = columns::coarsest_unit(&ends);
    put_varint(index, gatherer.series.len() as u64);
    index.push(unit);
    for one in &gatherer.series {
        put_varint(index, one.series - *series_before);
        *series_before = one.series;
        put_varint(index, one.rows.len() as u64);
        let (first, last) = (of(one.rows.start), of(one.rows.end - 1));
        put_varint(index, first / micros);
        put_varint(index, (last - first) / micros);
    }
    put_block(out, index, &gatherer.put_stamps(), false);
    let columns: Vec<ColumnBlock> =
        MEASURANDS.into_iter().map(|measurand| gatherer.put_column(measurand)).collect();
    for column in &columns {
        put_block(out, index, &column.bytes, column.is_predicted);
    }
    put_block(out, index, &gatherer.put_remarks(), false);
    for aggregate in columns.iter().filter_map(|column| column.aggregate) {
        put_aggregate(index, &aggregate, window);
    }
}

/// The length of a block without its checksum, twice, plus one if it is predicted; its checksum.
fn put_block(out: &mut Vec<u8>, index: &mut Vec<u8>, block: &[u8], is_predicted: bool) {
    put_varint(index, (block.len() as u64) << 1 | u64::from(is_predicted));
    if !block.is_empty() {
        let checksum = crc32fast::hash(block).to_le_bytes();
        index.extend_from_slice(&checksum);
        out.extend_from_slice(block);
        out.extend_from_slice(&checksum);
    }
}

fn put_aggregate(index: &mut Vec<u8>, aggregate: &Aggregate, window: Window) {
    let Aggregate { count, min, max, sum, first, last } = aggregate;
    put_varint(index, *count);
    put_signed(index, *min);
    let above = |value: i64| value.wrapping_sub(*min).cast_unsigned();
    put_varint(index, above(*max));
    put_varint_128(index, (sum - i128::from(*min) * i128::from(*count)).cast_unsigned());
    for (at, value) in [first, last] {
        put_varint(index, at.0 - window.from.0);
        put_varint(index, above(*value));
    }
}

/// Finishes a file: index, checksum, footer.
pub(super) fn put_end(
    out: &mut Vec<u8>,
    written: u64,
    window: Window,
    groups: usize,
    index: &[u8],
) {
    let mut whole = Vec::with_capacity(index.len() + 32);
    whole.extend_from_slice(&window.from.0.to_le_bytes());
    whole.extend_from_slice(&window.to.0.to_le_bytes());
    put_varint(&mut whole, groups as u64);
    whole.extend_from_slice(index);
    bytes::seal(&mut whole);
    out.extend_from_slice(&whole);

    let index_len = u32::try_from(whole.len()).expect("an index of less than 4 GiB");
    let mut footer = Vec::with_capacity(FOOTER_BYTES);
    footer.extend_from_slice(&index_len.to_le_bytes());
    let file_len = written + whole.len() as u64 + FOOTER_BYTES as u64;
    footer.extend_from_slice(&file_len.to_le_bytes());
    footer.extend_from_slice(&[VERSION, 0, 0, 0]);
    bytes::seal(&mut footer);
    footer.extend_from_slice(&MAGIC);
    assert_eq!(footer.len(), FOOTER_BYTES, "as the document says");
    out.extend_from_slice(&footer);
}

/// Length of the index and of the file, as a footer says.
pub(super) fn get_footer(footer: &[u8]) -> Result<(usize, u64), Error> {
    let (footer, magic) = footer.split_last_chunk::<4>().ok_or(Error::Truncated)?;
    if *magic != MAGIC || footer.len() != FOOTER_BYTES - 4 {
        return Err(Error::Invalid("not the end of a cold file"));
    }
    let mut reader = Reader::new(bytes::open(footer)?);
    let index_len = reader.u32()?;
    let file_len = reader.u64()?;
    let version = reader.u8()?;
    if version != VERSION {
        return Err(Error::UnknownVersion(version));
    }
    if reader.take(3)? != [0; 3] {
        return Err(Error::Invalid("unknown flags of a cold file"));
    }
    Ok((index_len as usize, file_len))
}

/// Reads the index: window and groups. `end` is where it begins in the file.
pub(super) fn get_index(index: &[u8], end: u64) -> Result<(Window, Vec<GroupEntry>), Error> {
    let mut reader = Reader::new(bytes::open(index)?);
    let window = Window { from: Timestamp(reader.u64()?), to: Timestamp(reader.u64()?) };
    if window.from >= window.to {
        return Err(Error::Invalid("a window without length"));
    }
    let count = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    if count > index.len() {
        return Err(Error::Invalid("more groups than bytes"));
    }
    let mut groups = Vec::with_capacity(count);
    let mut offset = MAGIC.len() as u64 + 4;
    let mut series_before = None;
    for _ in 0..count {
        let series = get_series(&mut reader, window, &mut series_before)?;
        let mut blocks: [BlockRef; BLOCKS] = Default::default();
        for block in &mut blocks {
            *block = get_block(&mut reader, &mut offset)?;
        }
        let mut aggregates = [None; 6];
        for (aggregate, block) in aggregates.iter_mut().zip(&blocks[STAMPS + 1..]) {
            if !block.range.is_empty() {
                *aggregate = Some(get_aggregate(&mut reader, window)?);
            }
        }
        groups.push(GroupEntry { series, blocks, aggregates });
    }
    reader.finish()?;
    if offset != end {
        return Err(Error::Invalid("blocks that do not end where the index begins"));
    }
    Ok((window, groups))
}

fn get_series(
    reader: &mut Reader<'_>,
    window: Window,
    before: &mut Option<u64>,
) -> Result<Vec<super::SeriesEntry>, Error> {
    let invalid = Error::Invalid("a series that cannot be in the file");
    let count = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    if !(1..=GROUP_SERIES_MAX).contains(&count) {
        return Err(Error::Invalid("a group has 1 to 64 series"));
    }
    let micros = columns::unit_micros(reader.u8()?)?;
    let mut series = Vec::with_capacity(count);
    for _ in 0..count {
        let step = reader.varint()?;
        let number = match *before {
            None => step,
            Some(before) => before.checked_add(step).filter(|_| step > 0).ok_or(invalid)?,
        };
        *before = Some(number);
        let rows = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
        let mut after = |from: Timestamp| -> Result<Timestamp, Error> {
            let off = reader.varint()?.checked_mul(micros);
            let at = off.and_then(|off| from.0.checked_add(off)).ok_or(invalid)?;
            if at < window.to.0 { Ok(Timestamp(at)) } else { Err(invalid) }
        };
        let first = after(window.from)?;
        let last = after(first)?;
        if !(1..=SERIES_ROWS_MAX).contains(&rows) || (rows == 1) != (first == last) {
            return Err(invalid);
        }
        series.push(super::SeriesEntry { series: number, rows, first, last });
    }
    let rows: usize = series.iter().map(|one| one.rows).sum();
    if count > 1 && rows > super::GROUP_ROWS_MAX {
        return Err(Error::Invalid("a group of too many rows"));
    }
    Ok(series)
}

fn get_block(reader: &mut Reader<'_>, offset: &mut u64) -> Result<BlockRef, Error> {
    let length = reader.varint()?;
    let (length, is_predicted) = (length >> 1, length & 1 == 1);
    if length == 0 {
        return Ok(BlockRef { range: *offset..*offset, checksum: 0, is_predicted });
    }
    let checksum = reader.u32()?;
    let end = offset.checked_add(length).and_then(|end| end.checked_add(4));
    let end = end.ok_or(Error::Invalid("a block past the end of the file"))?;
    let range = *offset..end;
    *offset = end;
    Ok(BlockRef { range, checksum, is_predicted })
}

fn get_aggregate(reader: &mut Reader<'_>, window: Window) -> Result<Aggregate, Error> {
    let invalid = Error::Invalid("a summary that contradicts itself");
    let count = reader.varint()?;
    let min = reader.signed()?;
    let range = reader.varint()?;
    let more = i128::try_from(reader.varint_128()?).map_err(|_| invalid)?;
    let is_possible = count > 0
        && count <= (GROUP_SERIES_MAX * SERIES_ROWS_MAX) as u64
        && more <= i128::from(range) * i128::from(count);
    if !is_possible {
        return Err(invalid);
    }
    let value =
        |above: u64| min.checked_add_unsigned(above).filter(|_| above <= range).ok_or(invalid);
    let mut end = || {
        let at = window.from.0.checked_add(reader.varint()?).filter(|at| *at < window.to.0);
        Ok((Timestamp(at.ok_or(invalid)?), value(reader.varint()?)?))
    };
    let (first, last) = (end()?, end()?);
    let sum = i128::from(min) * i128::from(count) + more;
    Ok(Aggregate { count, min, max: value(range)?, sum, first, last })
}

/// The place of a column among a group's blocks.
pub(super) fn place(measurand: Measurand) -> usize {
    STAMPS + 1 + measurand as usize
}
