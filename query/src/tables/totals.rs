//! Telemetry summed up before it leaves the scan: by station, connector and stretches of time.
//!
//! A chunk that overlaps no other and lies wholly in what is asked for is summed up from its header
//! where that has the answer. Of others the columns asked for are decoded; where chunks overlap, their
//! ticks are merged first.
//!
//! Rows are partial states of aggregates, as DataFusion's own have them: a group may come in several
//! rows, and whoever merges them gets what all ticks would have given.

use super::reading::Reading;
use super::series::{Part, damaged, micros, open_part};
use super::{BATCH_ROWS_MAX, Cursor, STEP_ENTRIES_MAX, Scan, Step};
use crate::cells::Kind;
use crate::error::Error;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use novax_model::{MEASURANDS, Measurand, Timestamp};
use novax_tsdb::clean::Row;
use novax_tsdb::query::Body;
use novax_tsdb::{Aggregate, Chunk, Columns, Scratch};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What a decoded chunk weighs against an entry that is only looked at.
const DECODED_ENTRIES: usize = 32;

/// By what ticks are grouped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Group {
    Station,
    Evse,
    Connector,
    Partition,
    /// Stretches of time of this length, counted from the epoch; told in nanoseconds or microseconds.
    Bucket {
        width_us: i64,
        is_nanos: bool,
    },
}

/// What is told of the ticks of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// How many.
    Rows,
    /// The oldest stamp.
    FirstAt,
    /// The newest stamp.
    LastAt,
    /// How many have a value.
    Count(Measurand),
    Min(Measurand),
    Max(Measurand),
    Sum(Measurand),
    Mean(Measurand),
    /// The value of the oldest tick, or of the oldest that has one.
    First {
        of: Measurand,
        skips_nulls: bool,
    },
    /// The value of the newest tick, or of the newest that has one.
    Last {
        of: Measurand,
        skips_nulls: bool,
    },
}

impl Told {
    fn measurand(self) -> Option<Measurand> {
        match self {
            Told::Rows | Told::FirstAt | Told::LastAt => None,
            Told::Count(of)
            | Told::Min(of)
            | Told::Max(of)
            | Told::Sum(of)
            | Told::Mean(of)
            | Told::First { of, .. }
            | Told::Last { of, .. } => Some(of),
        }
    }

    /// Whether the newest day has the answer, mostly.
    fn is_newest(self) -> bool {
        matches!(self, Told::LastAt | Told::Last { .. })
    }

    /// Whether these are the columns of its state, when its values are of this type.
    fn fits(self, kind: Option<Kind>, columns: &[&DataType]) -> bool {
        let time = Kind::Time.data_type();
        let is_value = |column: &DataType| kind.is_some_and(|kind| kind.data_type() == *column);
        match (self, columns) {
            (Told::Rows | Told::Count(_), [count]) => **count == DataType::Int64,
            (Told::FirstAt | Told::LastAt, [at]) => **at == time,
            (Told::Min(_) | Told::Max(_), [value]) => is_value(value),
            (Told::Sum(_), [sum]) => is_sum(kind, sum),
            (Told::Mean(_), [count, sum]) => {
                let is_float = kind == Some(Kind::Int8) && **sum == DataType::Float64;
                **count == DataType::UInt64 && (is_float || is_sum(kind, sum))
            }
            (Told::First { .. } | Told::Last { .. }, [value, at, is_set]) => {
                is_value(value) && **at == time && **is_set == DataType::Boolean
            }
            _ => false,
        }
    }
}

/// Whether a sum of values of a type can be told in a column.
fn is_sum(kind: Option<Kind>, column: &DataType) -> bool {
    match (kind, column) {
        (Some(Kind::Int8), DataType::Int64) => true,
        (Some(Kind::Decimal(_, scale)), DataType::Decimal128(_, of)) => scale == *of,
        _ => false,
    }
}

/// What ticks are summed up to.
#[derive(Debug)]
pub(crate) struct Totals {
    groups: Vec<Group>,
    told: Vec<Told>,
    /// What EXPLAIN shows of it.
    shown: String,
    /// Columns that have to be known.
    needs: Vec<Measurand>,
    width_us: Option<i64>,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Totals {
    /// Sums up so that rows of this schema come out; `None` where that cannot be.
    pub(crate) fn new(
        groups: Vec<Group>,
        told: Vec<(Told, Option<Kind>, usize)>,
        schema: &Schema,
        shown: String,
    ) -> Option<Totals> {
        let types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
        let (of_groups, mut states) = types.split_at_checked(groups.len())?;
        if !groups.iter().zip(of_groups).all(|(group, column)| **column == group.data_type()) {
            return None;
        }
        for (told, kind, width) in &told {
            let (state, rest) = states.split_at_checked(*width)?;
            if !told.fits(*kind, state) {
                return None;
            }
            states = rest;
        }
        let mut widths = groups.iter().filter_map(|group| match group {
            Group::Bucket { width_us, .. } => Some(*width_us),
            _ => None,
        });
        let width_us = widths.next();
        if !states.is_empty() || widths.any(|other| Some(other) != width_us) {
            return None;
        }
        let told: Vec<Told> = told.into_iter().map(|(told, ..)| told).collect();
        let is_needed =
            |measurand: &Measurand| told.iter().any(|told| told.measurand() == Some(*measurand));
        let needs = MEASURANDS.into_iter().filter(is_needed).collect();
        Some(Totals { groups, told, shown, needs, width_us })
    }

    pub(crate) fn cursor(self: &Arc<Totals>, scan: Scan) -> Box<dyn Cursor> {
        Box::new(TotalsCursor {
            partitions: (0..scan.snapshots.len()).collect(),
            part: None,
            reading: None,
            stage: Stage::Reading,
            sums: Sums { totals: self.clone(), open: BTreeMap::new(), scratch: Scratch::new() },
            scan,
        })
    }

    /// Whether only the newest tick, or the newest with a value, is asked for.
    fn is_newest(&self) -> bool {
        self.width_us.is_none()
            && !self.told.is_empty()
            && self.told.iter().all(|told| told.is_newest())
    }

    fn bucket(&self, at_us: i64) -> i64 {
        self.width_us.map_or(0, |width| at_us.div_euclid(width).saturating_mul(width))
    }
}

impl Group {
    fn data_type(self) -> DataType {
        match self {
            Group::Station => DataType::Utf8,
            Group::Evse | Group::Connector | Group::Partition => DataType::Int32,
            Group::Bucket { is_nanos: false, .. } => Kind::Time.data_type(),
            Group::Bucket { is_nanos: true, .. } => {
                DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()))
            }
        }
    }
}

/// What is known of a measurand in a group.
#[derive(Clone, Copy, Default)]
struct Values {
    all: Option<Aggregate>,
    /// What the first tick says.
    first: Option<i64>,
    /// What the last tick says.
    last: Option<i64>,
}

impl Values {
    /// Of a column in which no value is missing.
    fn full(all: Aggregate) -> Values {
        Values { all: Some(all), first: Some(all.first.1), last: Some(all.last.1) }
    }

    fn loaded(scratch: &Scratch, measurand: Measurand, ticks: Range<usize>) -> Values {
        let column = scratch.column(measurand);
        Values {
            all: scratch.aggregate(measurand, ticks.clone()),
            first: column.get(ticks.start),
            last: ticks.end.checked_sub(1).and_then(|last| column.get(last)),
        }
    }

    fn of_rows(rows: &[Row], measurand: Measurand) -> Values {
        let value = |row: &Row| row.tick.get(measurand);
        let each = rows.iter().filter_map(|row| Some(Aggregate::of(row.tick.at, value(row)?)));
        Values {
            all: each.fold(None, |all, one| Aggregate::merged(all, Some(one))),
            first: rows.first().and_then(value),
            last: rows.last().and_then(value),
        }
    }
}

/// What is known of a group.
struct Total {
    ticks: u64,
    first: Timestamp,
    last: Timestamp,
    values: [Values; 6],
}

impl Total {
    fn new(ticks: usize, first: Timestamp, last: Timestamp) -> Total {
        assert!(ticks > 0 && first <= last, "of at least one tick");
        Total { ticks: ticks as u64, first, last, values: [Values::default(); 6] }
    }

    /// Takes other ticks of the group in.
    fn merge(&mut self, other: &Total) {
        self.ticks += other.ticks;
        for (known, more) in self.values.iter_mut().zip(&other.values) {
            known.all = Aggregate::merged(known.all, more.all);
            if other.first < self.first {
                known.first = more.first;
            }
            if other.last > self.last {
                known.last = more.last;
            }
        }
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// The state of an aggregate, as its columns have it.
    fn state(&self, told: Told) -> Vec<Option<i128>> {
        let all = told.measurand().and_then(|of| self.values[of as usize].all);
        let of = |value: fn(Aggregate) -> i128| all.map(value);
        let stamp = |at: Timestamp| Some(i128::from(micros(at)));
        let count = of(|all| all.count.into()).unwrap_or(0);
        let tick =
            |value: Option<i64>, at: Timestamp| vec![value.map(i128::from), stamp(at), Some(1)];
        // Nothing is set: the stamp does not matter.
        let unset = || vec![None, stamp(self.last), Some(0)];
        match told {
            Told::Rows => vec![Some(self.ticks.into())],
            Told::FirstAt => vec![stamp(self.first)],
            Told::LastAt => vec![stamp(self.last)],
            Told::Count(_) => vec![Some(count)],
            Told::Min(_) => vec![of(|all| all.min.into())],
            Told::Max(_) => vec![of(|all| all.max.into())],
            Told::Sum(_) => vec![of(|all| all.sum)],
            // Without values there is no count either: that of none is no mean.
            Told::Mean(_) => vec![of(|all| all.count.into()), of(|all| all.sum)],
            Told::First { skips_nulls: true, .. } => {
                all.map_or_else(unset, |all| tick(Some(all.first.1), all.first.0))
            }
            Told::Last { skips_nulls: true, .. } => {
                all.map_or_else(unset, |all| tick(Some(all.last.1), all.last.0))
            }
            Told::First { of, .. } => tick(self.values[of as usize].first, self.first),
            Told::Last { of, .. } => tick(self.values[of as usize].last, self.last),
        }
    }
}

/// A number as a column has it.
fn scalar(column: &DataType, value: Option<i128>) -> Result<ScalarValue, Error> {
    let count = |value: i128| u64::try_from(value).expect("counts are not below zero");
    Ok(match column {
        DataType::Boolean => ScalarValue::Boolean(value.map(|value| value != 0)),
        DataType::Int32 => ScalarValue::Int32(value.map(|value| value as i32)),
        // Sums of bigints wrap, as those of all rows do.
        DataType::Int64 => ScalarValue::Int64(value.map(|value| value as i64)),
        DataType::UInt64 => ScalarValue::UInt64(value.map(count)),
        DataType::Float64 => ScalarValue::Float64(value.map(|value| value as f64)),
        DataType::Decimal128(precision, scale) => {
            ScalarValue::Decimal128(value, *precision, *scale)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            ScalarValue::TimestampMicrosecond(value.map(|value| value as i64), zone.clone())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let nanos = value.map(|us| i64::try_from(us * 1_000)).transpose();
            let nanos = nanos.map_err(|_| Error::Internal("a stamp past 2262".into()))?;
            ScalarValue::TimestampNanosecond(nanos, zone.clone())
        }
        other => return Err(Error::Internal(format!("a total of type {other}"))),
    })
}

/// Sums of a series that are not yet given.
struct Sums {
    totals: Arc<Totals>,
    /// By bucket; all under zero without.
    open: BTreeMap<i64, Total>,
    scratch: Scratch,
}

impl Sums {
    fn add(&mut self, bucket: i64, total: Total) {
        match self.open.get_mut(&bucket) {
            Some(known) => known.merge(&total),
            None => {
                self.open.insert(bucket, total);
            }
        }
    }

    /// Adds what is asked for of a part of the series; says whether it was decoded.
    fn take(&mut self, scan: &Scan, body: Body) -> Result<bool, Error> {
        match body {
            Body::Chunk(bytes) => {
                let chunk = Chunk::open(&bytes).map_err(damaged)?;
                let (first, last) = (micros(chunk.first()), micros(chunk.last()));
                let is_one = self.totals.bucket(first) == self.totals.bucket(last);
                if is_one && scan.pushed.has_time(first) && scan.pushed.has_time(last) {
                    self.take_whole(&chunk)
                } else {
                    self.take_part(scan, &chunk)?;
                    Ok(true)
                }
            }
            Body::Rows(rows) => {
                let stamps: Vec<Timestamp> = rows.iter().map(|row| row.tick.at).collect();
                for (bucket, ticks) in ranges(&self.totals, scan, &stamps) {
                    let Some(rows) = rows.get(ticks) else { continue };
                    let [first, ..] = rows else { continue };
                    let last = rows.last().unwrap_or(first);
                    let mut total = Total::new(rows.len(), first.tick.at, last.tick.at);
                    for measurand in &self.totals.needs {
                        total.values[*measurand as usize] = Values::of_rows(rows, *measurand);
                    }
                    self.add(bucket, total);
                }
                Ok(true)
            }
        }
    }

    /// Adds a chunk all of whose ticks are asked for, and of one bucket.
    fn take_whole(&mut self, chunk: &Chunk<'_>) -> Result<bool, Error> {
        let mut total = Total::new(chunk.len(), chunk.first(), chunk.last());
        let mut missing = Vec::new();
        for measurand in &self.totals.needs {
            match chunk.summary(*measurand) {
                Some(all) => total.values[*measurand as usize] = Values::full(all),
                None => missing.push(*measurand),
            }
        }
        if !missing.is_empty() {
            self.load(chunk, &missing)?;
        }
        for measurand in &missing {
            let values = Values::loaded(&self.scratch, *measurand, 0..chunk.len());
            total.values[*measurand as usize] = values;
        }
        let bucket = self.totals.bucket(micros(chunk.first()));
        self.add(bucket, total);
        Ok(!missing.is_empty())
    }

    /// Adds the ticks of a chunk that are asked for.
    fn take_part(&mut self, scan: &Scan, chunk: &Chunk<'_>) -> Result<(), Error> {
        let totals = self.totals.clone();
        self.load(chunk, &totals.needs)?;
        for (bucket, ticks) in ranges(&totals, scan, self.scratch.stamps()) {
            let stamps = &self.scratch.stamps()[ticks.clone()];
            let ([first, ..], [.., last]) = (stamps, stamps) else { continue };
            let mut total = Total::new(stamps.len(), *first, *last);
            for measurand in &totals.needs {
                let values = Values::loaded(&self.scratch, *measurand, ticks.clone());
                total.values[*measurand as usize] = values;
            }
            self.add(bucket, total);
        }
        Ok(())
    }

    fn load(&mut self, chunk: &Chunk<'_>, measurands: &[Measurand]) -> Result<(), Error> {
        let with = |columns: Columns, of: &Measurand| columns.and(Columns::of(*of));
        let columns = measurands.iter().fold(Columns::STAMPS, with);
        chunk.load(columns, &mut self.scratch).map_err(damaged)
    }

    /// Whether the newest ticks say all that is asked for.
    fn are_complete(&self) -> bool {
        let Some(total) = self.open.get(&0) else { return false };
        let is_known = |told: &Told| match told {
            Told::Last { of, skips_nulls: true } => total.values[*of as usize].all.is_some(),
            _ => true,
        };
        self.totals.told.iter().all(is_known)
    }
}

/// The ticks that lie in the time asked for, by bucket. Stamps increase.
fn ranges(totals: &Totals, scan: &Scan, stamps: &[Timestamp]) -> Vec<(i64, Range<usize>)> {
    let mut next = stamps.partition_point(|at| micros(*at) < scan.pushed.from_us);
    let end = stamps.partition_point(|at| micros(*at) <= scan.pushed.until_us);
    let mut found = Vec::new();
    while next < end {
        let bucket = totals.bucket(micros(stamps[next]));
        let inside = stamps[next..end].partition_point(|at| totals.bucket(micros(*at)) == bucket);
        assert!(inside > 0, "the first is of its own bucket");
        found.push((bucket, next..next + inside));
        next += inside;
    }
    found
}

/// What to do with a series.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its newest day is read: that may be enough.
    Newest,
    /// All that is asked for is read.
    Reading,
    /// All was read, sums are given out.
    Giving,
}

struct TotalsCursor {
    scan: Scan,
    /// Positions of the snapshots still to be read.
    partitions: VecDeque<usize>,
    /// The one being read.
    part: Option<Part>,
    /// The series of it being read.
    reading: Option<Reading>,
    stage: Stage,
    sums: Sums,
}

impl Cursor for TotalsCursor {
    fn step(&mut self) -> Result<Step, Error> {
        if self.part.is_none() {
            let Some(at) = self.partitions.pop_front() else { return Ok(Step::Done) };
            self.part = Some(open_part(&self.scan, at)?);
        }
        let mut rows = Rows::new(self.scan.schema.clone());
        self.fill(&mut rows)?;
        self.scan.tally.rows(rows.count);
        if rows.count == 0 { Ok(Step::Working) } else { Ok(Step::Rows(rows.finish()?)) }
    }
}

impl TotalsCursor {
    /// Reads until there are rows enough, enough was read, or the partition has no more.
    fn fill(&mut self, rows: &mut Rows) -> Result<(), Error> {
        let mut entries = 0;
        while entries < STEP_ENTRIES_MAX && rows.count < BATCH_ROWS_MAX {
            entries += 1;
            let Some(part) = &mut self.part else { return Ok(()) };
            let Some(reading) = &mut self.reading else {
                self.reading = Reading::next(&self.scan, part)?;
                self.stage = Stage::Reading;
                match &mut self.reading {
                    None => self.part = None,
                    Some(reading) if self.sums.totals.is_newest() => {
                        reading.begin_newest(&self.scan, part.at)?;
                        self.stage = Stage::Newest;
                    }
                    Some(_) => {}
                }
                continue;
            };
            if self.stage == Stage::Giving || self.sums.open.len() >= BATCH_ROWS_MAX {
                match self.sums.open.pop_first() {
                    Some((bucket, total)) => {
                        rows.push(&self.sums.totals, reading, bucket, &total)?
                    }
                    None => self.reading = None,
                }
            } else if let Some(run) = reading.runs.next() {
                if self.sums.take(&self.scan, run.map_err(damaged)?)? {
                    self.scan.tally.chunk_decoded();
                    entries += DECODED_ENTRIES;
                } else {
                    self.scan.tally.chunk_summarized();
                }
            } else if let Some(read) = reading.load_day(&self.scan, part.at)? {
                entries += read;
            } else if self.stage == Stage::Newest && !self.sums.are_complete() {
                self.sums.open.clear();
                reading.begin_again(&self.scan, part.at)?;
                self.stage = Stage::Reading;
            } else {
                self.stage = Stage::Giving;
            }
        }
        Ok(())
    }
}

/// Rows on their way out, by column.
struct Rows {
    schema: SchemaRef,
    columns: Vec<Vec<ScalarValue>>,
    count: usize,
}

impl Rows {
    fn new(schema: SchemaRef) -> Rows {
        Rows { columns: vec![Vec::new(); schema.fields().len()], schema, count: 0 }
    }

    fn push(
        &mut self,
        totals: &Totals,
        reading: &Reading,
        bucket: i64,
        total: &Total,
    ) -> Result<(), Error> {
        let place = &reading.place;
        let number = |number: u16| Some(i128::from(number));
        let mut cells = Vec::with_capacity(self.columns.len());
        for group in &totals.groups {
            cells.push(match group {
                Group::Station => ScalarValue::Utf8(Some(place.station.clone())),
                Group::Evse => scalar(&group.data_type(), number(place.connector.evse))?,
                Group::Connector => scalar(&group.data_type(), number(place.connector.connector))?,
                Group::Partition => scalar(&group.data_type(), number(place.partition.0))?,
                Group::Bucket { .. } => scalar(&group.data_type(), Some(bucket.into()))?,
            });
        }
        let states = totals.told.iter().flat_map(|told| total.state(*told));
        for (value, field) in states.zip(self.schema.fields().iter().skip(totals.groups.len())) {
            cells.push(scalar(field.data_type(), value)?);
        }
        assert_eq!(cells.len(), self.columns.len(), "the schema was looked at");
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        self.count += 1;
        Ok(())
    }

    fn finish(self) -> Result<RecordBatch, Error> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in self.columns {
            columns.push(ScalarValue::iter_to_array(column)?);
        }
        Ok(RecordBatch::try_new(self.schema, columns)?)
    }
}
