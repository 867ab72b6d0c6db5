//! One group of series: a block of stamps, a block for each column, one of remarks. Rows of all its
//! series stand one behind the other.

use std::ops::Range;

use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};

use crate::aggregate::Aggregate;
use crate::bytes::{Reader, put_signed, put_varint};
use crate::chunk::remarks;
use crate::columns;
use crate::dense::{Smoothing, Stream};
use crate::error::Error;
use crate::predict;
use crate::remark::Remark;
use crate::rows::{Column, Scratch};
use crate::stamps::{self, Grid};

/// No row of the series has a value.
const ABSENT: u8 = 0;
/// All rows have the same value.
const CONSTANT: u8 = 1;
/// All rows have a value.
const FULL: u8 = 2;
/// Some rows have a value: a bitmap says which.
const MIXED: u8 = 3;
/// Added to [`FULL`]: a prediction comes first.
const PREDICTED: u8 = 4;

/// Stamps: distances, smoothed.
const DISTANCES: u8 = 0;
/// Stamps: deviations from a grid, as they are.
const GRID: u8 = 1;
/// Stamps: deviations from a grid that drift, smoothed.
const DRIFTING: u8 = 2;

/// A series of the group, gathered.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) series: u64,
    pub(super) rows: Range<usize>,
    pub(super) remarks: Vec<Remark>,
}

/// Gathers the series of one group.
#[derive(Debug, Default)]
pub(super) struct Gatherer {
    pub(super) series: Vec<Gathered>,
    pub(super) stamps: Vec<u64>,
    pub(super) columns: [Vec<Option<i64>>; 6],
}

/// One column's block.
pub(super) struct ColumnBlock {
    pub(super) bytes: Vec<u8>,
    /// Whether another column is needed to decode it.
    pub(super) is_predicted: bool,
    pub(super) aggregate: Option<Aggregate>,
}

impl Gatherer {
    pub(super) fn add(&mut self, series: u64, ticks: &[MeterTick], remarks: &[Remark]) {
        let begin = self.stamps.len();
        self.stamps.extend(ticks.iter().map(|tick| tick.at.0));
        for (measurand, column) in MEASURANDS.into_iter().zip(&mut self.columns) {
            column.extend(ticks.iter().map(|tick| tick.get(measurand)));
        }
        let rows = begin..self.stamps.len();
        self.series.push(Gathered { series, rows, remarks: remarks.to_vec() });
    }

    pub(super) fn clear(&mut self) {
        self.series.clear();
        self.stamps.clear();
        self.columns.iter_mut().for_each(Vec::clear);
    }

    /// The block of stamps.
    pub(super) fn put_stamps(&self) -> Vec<u8> {
        let (mut meta, mut stream) = (Vec::new(), Stream::default());
        for one in &self.series {
            put_stamps(&mut meta, &mut stream, &self.stamps[one.rows.clone()]);
        }
        joined(&meta, &mut stream)
    }

    /// The block of a column: empty if no series has a value there.
    pub(super) fn put_column(&self, measurand: Measurand) -> ColumnBlock {
        let column = &self.columns[measurand as usize];
        let mut block = ColumnBlock { bytes: Vec::new(), is_predicted: false, aggregate: None };
        if column.iter().all(Option::is_none) {
            return block;
        }
        let (mut meta, mut stream) = (Vec::new(), Stream::default());
        for one in &self.series {
            let rows = &column[one.rows.clone()];
            block.is_predicted |= self.put_series(&mut meta, &mut stream, measurand, one, rows);
            let stamps = &self.stamps[one.rows.clone()];
            block.aggregate = Aggregate::merged(block.aggregate, aggregate(stamps, rows));
        }
        block.bytes = joined(&meta, &mut stream);
        block
    }

    /// Appends one series of a column. Says whether it is predicted.
    fn put_series(
        &self,
        meta: &mut Vec<u8>,
        stream: &mut Stream,
        measurand: Measurand,
        one: &Gathered,
        rows: &[Option<i64>],
    ) -> bool {
        let mut values: Vec<i64> = rows.iter().flatten().copied().collect();
        let Some(first) = values.first().copied() else {
            meta.push(ABSENT);
            return false;
        };
        if values.len() < rows.len() {
            meta.push(MIXED);
            columns::put_bitmap(meta, rows.iter().map(Option::is_some));
            stream.put_smoothed(meta, Smoothing::fitted(&values).0, &mut values);
            return false;
        }
        if values.iter().all(|value| *value == first) {
            meta.push(CONSTANT);
            put_signed(meta, first);
            return false;
        }
        let (smoothing, cost) = Smoothing::fitted(&values);
        if let Some((prediction, mut residual)) = self.split(measurand, one, &values) {
            let (smoothing, cost_predicted) = Smoothing::fitted(&residual);
            // The prediction itself takes about a bit for each eight rows.
            let overhead = cost_predicted / 10 + rows.len() as u64 / 16;
            if cost_predicted.saturating_add(overhead) < cost {
                meta.push(FULL | PREDICTED);
                meta.extend_from_slice(&prediction);
                stream.put_smoothed(meta, smoothing, &mut residual);
                return true;
            }
        }
        meta.push(FULL);
        stream.put_smoothed(meta, smoothing, &mut values);
        false
    }

    /// What physics says of a full series, and what it misses.
    fn split(
        &self,
        measurand: Measurand,
        one: &Gathered,
        values: &[i64],
    ) -> Option<(Vec<u8>, Vec<i64>)> {
        let full = |measurand: Measurand| -> Option<Vec<i64>> {
            self.columns[measurand as usize][one.rows.clone()].iter().copied().collect()
        };
        let (mut prediction, mut residual) = (Vec::new(), Vec::new());
        match measurand {
            Measurand::Power => {
                let (voltage, current) = (full(Measurand::Voltage)?, full(Measurand::Current)?);
                predict::split_power(&mut prediction, &voltage, &current, values, &mut residual);
            }
            Measurand::Energy => {
                let power = full(Measurand::Power)?;
                let step_us = median_step(&self.stamps[one.rows.clone()]);
                predict::split_energy(&mut prediction, &power, values, step_us, &mut residual);
            }
            _ => return None,
        }
        Some((prediction, residual))
    }

    /// The block of remarks: empty if there are none.
    pub(super) fn put_remarks(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (place, one) in self.series.iter().enumerate() {
            if !one.remarks.is_empty() {
                put_varint(&mut out, place as u64);
                remarks::put(&mut out, &one.remarks);
            }
        }
        out
    }
}

/// What belongs to each series, its length in front, then the stream of all.
fn joined(meta: &[u8], stream: &mut Stream) -> Vec<u8> {
    let mut out = Vec::with_capacity(meta.len() + 8);
    put_varint(&mut out, meta.len() as u64);
    out.extend_from_slice(meta);
    stream.write(&mut out);
    out
}

/// The inverse of [`joined`].
fn split<'a>(block: &'a [u8], stream: &mut Stream, most: usize) -> Result<Reader<'a>, Error> {
    let mut reader = Reader::new(block);
    let meta_len = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    let meta = reader.take(meta_len)?;
    stream.read(&mut reader, most)?;
    Ok(Reader::new(meta))
}

fn median_step(stamps: &[u64]) -> Option<u64> {
    let mut steps: Vec<u64> =
        stamps.iter().zip(stamps.iter().skip(1)).map(|(a, b)| b - a).collect();
    if steps.is_empty() {
        return None;
    }
    let middle = steps.len() / 2;
    Some(*steps.select_nth_unstable(middle).1)
}

fn aggregate(stamps: &[u64], rows: &[Option<i64>]) -> Option<Aggregate> {
    let set = stamps.iter().zip(rows).filter_map(|(at, value)| Some((Timestamp(*at), (*value)?)));
    let each = set.map(|(at, value)| Aggregate::of(at, value));
    each.fold(None, |all, one| Aggregate::merged(all, Some(one)))
}

fn put_stamps(meta: &mut Vec<u8>, stream: &mut Stream, stamps: &[u64]) {
    if stamps.len() < 2 {
        return;
    }
    let distances = stamps.iter().zip(stamps.iter().skip(1)).map(|(a, b)| b - a);
    let (unit, micros) = columns::coarsest_unit(&distances);
    let mut values: Vec<i64> = distances.map(|one| (one / micros).cast_signed()).collect();
    let Some(Grid { step, jumps }) = stamps::grid(&values, values.len() / 8) else {
        meta.push(DISTANCES << 2 | unit);
        stream.put_smoothed(meta, Smoothing::fitted(&values).0, &mut values);
        return;
    };
    stamps::to_deviations(&mut values, step, &jumps);
    let (smoothing, cost) = Smoothing::fitted(&values);
    let low = values.iter().copied().min().unwrap_or(0);
    let range = values.iter().map(|value| value - low).max().unwrap_or(0);
    // Uniform over a range, the mean miss of its middle is a quarter of it.
    let is_drifting = range.cast_unsigned() / 4 > 2 * cost / values.len() as u64 + 1;
    meta.push((if is_drifting { DRIFTING } else { GRID }) << 2 | unit);
    put_varint(meta, step.cast_unsigned());
    stamps::put_jumps(meta, &jumps);
    if is_drifting {
        stream.put_smoothed(meta, smoothing, &mut values);
    } else {
        put_signed(meta, low);
        values.iter_mut().for_each(|value| *value -= low);
        stream.put(meta, &values);
    }
}

/// Where the rows of each series of a group are, and its first and last stamp.
pub(super) struct Rows {
    pub(super) rows: Range<usize>,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// Reads the block of stamps.
pub(super) fn get_stamps(
    block: &[u8],
    series: &[Rows],
    stream: &mut Stream,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let total = series.last().map_or(0, |one| one.rows.end);
    let mut meta = split(block, stream, total)?;
    scratch.stamps.clear();
    for one in series {
        let begin = scratch.stamps.len();
        scratch.stamps.push(one.first);
        if one.rows.len() > 1 {
            let work = &mut scratch.work;
            work.clear();
            work.resize(one.rows.len() - 1, 0);
            let micros = get_offsets(&mut meta, stream, work)?;
            let after =
                |off: &i64| one.first.0.wrapping_add(off.cast_unsigned().wrapping_mul(micros));
            scratch.stamps.extend(work.iter().map(|off| Timestamp(after(off))));
        }
        let stamps = scratch.stamps.get(begin..).unwrap_or_default();
        if !stamps::is_increasing(stamps) || stamps.last() != Some(&one.last) {
            return Err(Error::Invalid("stamps that are not those of the index"));
        }
    }
    meta.finish()?;
    stream.finish()
}

/// How far the stamps after the first are from it, in the unit whose microseconds are returned.
fn get_offsets(
    meta: &mut Reader<'_>,
    stream: &mut Stream,
    offsets: &mut [i64],
) -> Result<u64, Error> {
    let kind = meta.u8()?;
    let micros = columns::unit_micros(kind & 3)?;
    match kind >> 2 {
        DISTANCES => {
            stream.get_smoothed(meta, offsets)?;
            stamps::add_up(offsets);
        }
        GRID | DRIFTING => {
            let step = meta.varint()?.cast_signed();
            let jumps = stamps::get_jumps(meta, offsets.len())?;
            if kind >> 2 == DRIFTING {
                stream.get_smoothed(meta, offsets)?;
            } else {
                let low = meta.signed()?;
                stream.get(meta, offsets)?;
                offsets.iter_mut().for_each(|off| *off = off.wrapping_add(low));
            }
            stamps::from_deviations(offsets, step, &jumps)?;
        }
        _ => return Err(Error::Invalid("unknown kind of stamps")),
    }
    Ok(micros)
}

/// Reads the block of a column whose sources are decoded.
pub(super) fn get_column(
    block: &[u8],
    measurand: Measurand,
    series: &[Rows],
    stream: &mut Stream,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let total = series.last().map_or(0, |one| one.rows.end);
    if block.is_empty() {
        scratch.columns[measurand as usize].set_absent(total);
        return Ok(());
    }
    let mut meta = split(block, stream, total)?;
    let mut column = std::mem::take(&mut scratch.columns[measurand as usize]);
    column.values.clear();
    column.values.resize(total, 0);
    column.set_full();
    let read = series.iter().try_for_each(|one| {
        get_series(&mut meta, measurand, one.rows.clone(), stream, scratch, &mut column)
    });
    scratch.columns[measurand as usize] = column;
    read?;
    meta.finish()?;
    stream.finish()
}

fn get_series(
    meta: &mut Reader<'_>,
    measurand: Measurand,
    rows: Range<usize>,
    stream: &mut Stream,
    scratch: &mut Scratch,
    column: &mut Column,
) -> Result<(), Error> {
    let kind = meta.u8()?;
    let values = &mut column.values[rows.clone()];
    match kind {
        ABSENT => column.unset(rows),
        CONSTANT => values.fill(meta.signed()?),
        FULL => stream.get_smoothed(meta, values)?,
        MIXED => {
            let bitmap = meta.take(rows.len().div_ceil(8))?;
            let set = columns::count_ones(bitmap, rows.len())?;
            scratch.work.clear();
            scratch.work.resize(set, 0);
            stream.get_smoothed(meta, &mut scratch.work)?;
            column.place(bitmap, rows, &scratch.work);
        }
        _ if kind == FULL | PREDICTED => {
            get_predicted(meta, measurand, rows, stream, scratch, values)?;
        }
        _ => return Err(Error::Invalid("unknown kind of column")),
    }
    Ok(())
}

fn get_predicted(
    meta: &mut Reader<'_>,
    measurand: Measurand,
    rows: Range<usize>,
    stream: &mut Stream,
    scratch: &Scratch,
    values: &mut [i64],
) -> Result<(), Error> {
    let mut prediction = meta.clone();
    let source = |measurand: Measurand| {
        let column = &scratch.columns[measurand as usize];
        column.full_in(rows.clone()).ok_or(Error::Invalid("a prediction from gaps"))
    };
    match measurand {
        Measurand::Power => {
            predict::skip_power(meta, rows.len())?;
            stream.get_smoothed(meta, values)?;
            let (voltage, current) = (source(Measurand::Voltage)?, source(Measurand::Current)?);
            predict::join_power(&mut prediction, voltage, current, values)
        }
        Measurand::Energy => {
            predict::skip_energy(meta, rows.len())?;
            stream.get_smoothed(meta, values)?;
            predict::join_energy(&mut prediction, source(Measurand::Power)?, values)
        }
        _ => Err(Error::Invalid("a prediction of what cannot be predicted")),
    }
}

/// Reads the block of remarks: each with the place of its series in the group.
pub(super) fn get_remarks(block: &[u8], series: &[Rows]) -> Result<Vec<(usize, Remark)>, Error> {
    let mut reader = Reader::new(block);
    let mut all = Vec::new();
    let mut least = 0;
    while !reader.is_empty() {
        let place = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
        let one = series.get(place).filter(|_| place >= least);
        let one = one.ok_or(Error::Invalid("remarks on a series that is not there"))?;
        let remarks = remarks::get(&mut reader, one.rows.len())?;
        all.extend(remarks.into_iter().map(|remark| (place, remark)));
        least = place + 1;
    }
    Ok(all)
}
