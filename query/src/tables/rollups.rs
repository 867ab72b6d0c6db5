//! The tables over rollups: what each connector did in each minute, quarter of an hour and hour.
//!
//! Rows of the store are parts of buckets, merged day by day; what is not yet sealed is worked out from
//! the open end. Where ticks came late, the buckets of that day are worked out from all its ticks,
//! as long as those are kept.

use super::series::{
    Batch, Part, Place, SeriesColumn, ask, bounds, damaged, infos, micros, open_part, scaled,
    unreadable,
};
use super::{BATCH_ROWS_MAX, ColumnInfo, Cursor, STEP_ENTRIES_MAX, Scan, Step, Table};
use crate::cells::{Builder, Cell, HUNDREDTHS, Kind, TENTHS};
use crate::error::Error;
use crate::filter::Pushable;
use crate::series::HotSeries;
use novax_charging::Keyspace;
use novax_charging::rows::{SeriesKey, series_key};
use novax_model::{Measurand, MeterTick, Timestamp};
use novax_tsdb::clean::{Limits, Row};
use novax_tsdb::head::{day_of, decode_rows};
use novax_tsdb::open::register_before;
use novax_tsdb::query;
use novax_tsdb::rollup::{
    Bucket, Resolution, Rollup, Stat, buckets, covers, decode_rollup, merge_rollups,
};
use novax_tsdb::{DAY_US, OpenPart};
use std::collections::VecDeque;

/// The table of one resolution.
#[derive(Debug)]
pub(super) struct Rollups(pub(super) Resolution);

/// What is told of the values of a measurand.
#[derive(Clone, Copy)]
enum Told {
    Min,
    Max,
    Sum,
    Count,
    Last,
}

/// What a column holds.
#[derive(Clone, Copy)]
enum Content {
    At,
    Station,
    Evse,
    Connector,
    Of(Measurand, Told),
    Energy,
    Partition,
}

macro_rules! stats {
    ($columns:ident, $name:literal, $kind:expr, $sum:expr, $measurand:ident) => {{
        let of = |told| Content::Of(Measurand::$measurand, told);
        $columns.push((concat!($name, "_min"), $kind, of(Told::Min), true));
        $columns.push((concat!($name, "_max"), $kind, of(Told::Max), true));
        $columns.push((concat!($name, "_sum"), $sum, of(Told::Sum), true));
        $columns.push((concat!($name, "_count"), Kind::Int8, of(Told::Count), false));
        $columns.push((concat!($name, "_last"), $kind, of(Told::Last), true));
    }};
}

/// Sums, with as many decimals as what they are of.
const SUM: Kind = Kind::Decimal(38, 0);
const SUM_TENTHS: Kind = Kind::Decimal(38, 1);
const SUM_HUNDREDTHS: Kind = Kind::Decimal(38, 2);

fn columns() -> Vec<SeriesColumn<Content>> {
    let mut columns: Vec<SeriesColumn<Content>> = vec![
        ("at", Kind::Time, Content::At, false),
        ("station", Kind::Text, Content::Station, false),
        ("evse", Kind::Int4, Content::Evse, false),
        ("connector", Kind::Int4, Content::Connector, false),
        ("delivered_wh", Kind::Int8, Content::Energy, false),
    ];
    stats!(columns, "voltage_v", TENTHS, SUM_TENTHS, Voltage);
    stats!(columns, "current_a", HUNDREDTHS, SUM_HUNDREDTHS, Current);
    stats!(columns, "power_w", Kind::Int8, SUM, Power);
    stats!(columns, "energy_wh", Kind::Int8, SUM, Energy);
    stats!(columns, "temperature_c", TENTHS, SUM_TENTHS, Temperature);
    stats!(columns, "soc_percent", TENTHS, SUM_TENTHS, Soc);
    columns.push(("partition", Kind::Int4, Content::Partition, false));
    columns
}

impl Table for Rollups {
    fn name(&self) -> &'static str {
        match self.0 {
            Resolution::Minute => "telemetry_1m",
            Resolution::Quarter => "telemetry_15m",
            Resolution::Hour => "telemetry_1h",
        }
    }

    fn comment(&self) -> &'static str {
        match self.0 {
            Resolution::Minute => "Meter values by the minute; `at` is when it begins.",
            Resolution::Quarter => {
                "Meter values by the quarter of an hour; `at` is when it begins."
            }
            Resolution::Hour => "Meter values by the hour; `at` is when it begins.",
        }
    }

    fn columns(&self) -> Vec<ColumnInfo> {
        infos(&columns())
    }

    fn pushable(&self) -> Pushable {
        Pushable { key: Some("station"), time: Some("at") }
    }

    fn wants_series(&self) -> bool {
        true
    }

    fn cursor(&self, scan: Scan) -> Box<dyn Cursor> {
        Box::new(RollupCursor {
            resolution: self.0,
            name: self.name(),
            columns: columns(),
            left: scan.limit,
            partitions: (0..scan.snapshots.len()).collect(),
            part: None,
            reading: None,
            scan,
        })
    }
}

struct RollupCursor {
    resolution: Resolution,
    name: &'static str,
    columns: Vec<SeriesColumn<Content>>,
    scan: Scan,
    /// Positions of the snapshots still to be read.
    partitions: VecDeque<usize>,
    /// The one being read.
    part: Option<Part>,
    /// The series of it being read.
    reading: Option<Reading>,
    /// How many rows may still be given.
    left: usize,
}

/// A series on its way through the time asked for.
struct Reading {
    series: u64,
    place: Place,
    /// Where to look on; `None` when all was looked at.
    next: Option<Timestamp>,
    until: Timestamp,
    /// Buckets of the day that are not yet given.
    ready: VecDeque<Bucket>,
}

impl Cursor for RollupCursor {
    fn step(&mut self) -> Result<Step, Error> {
        if self.left == 0 {
            return Ok(Step::Done);
        }
        if self.part.is_none() {
            let Some(at) = self.partitions.pop_front() else { return Ok(Step::Done) };
            self.part = Some(open_part(&self.scan, at)?);
        }
        let mut batch = Batch::new(&self.scan, &self.columns);
        self.fill_batch(&mut batch)?;
        self.left -= batch.rows;
        self.scan.tally.rows(batch.rows);
        if batch.rows == 0 { Ok(Step::Working) } else { Ok(Step::Rows(batch.finish()?)) }
    }
}

impl RollupCursor {
    /// Reads until the batch is full, enough was read, or the partition has no more.
    fn fill_batch(&mut self, batch: &mut Batch<Content>) -> Result<(), Error> {
        let mut entries = 0;
        while entries < STEP_ENTRIES_MAX && batch.rows < self.left.min(BATCH_ROWS_MAX) {
            let Some(part) = &mut self.part else { return Ok(()) };
            let Some(reading) = &mut self.reading else {
                self.reading = next_reading(&self.scan, part, self.resolution, self.name)?;
                entries += 1;
                if self.reading.is_none() {
                    self.part = None;
                }
                continue;
            };
            if let Some(bucket) = reading.ready.pop_front() {
                if self.scan.pushed.has_time(micros(bucket.start)) {
                    add(batch, self.name, &reading.place, &bucket)?;
                }
                continue;
            }
            entries += 1;
            match load_day(&self.scan, part.at, self.resolution, reading)? {
                Some(read) => entries += read,
                None => self.reading = None,
            }
        }
        Ok(())
    }
}

/// The next series that is wanted, at the begin of the time asked for.
fn next_reading(
    scan: &Scan,
    part: &mut Part,
    resolution: Resolution,
    name: &'static str,
) -> Result<Option<Reading>, Error> {
    let Some((from, until)) = bounds(scan) else { return Ok(None) };
    let at = part.at;
    let lowest = |from: u64| -> Result<Option<u64>, Error> {
        let hot = HotSeries::new(&scan.snapshots[at].1);
        let sealed = hot.first_of(Keyspace::rollups(resolution), from).map_err(unreadable)?;
        let open = hot.first_of(Keyspace::Heads, from).map_err(unreadable)?;
        Ok(sealed.into_iter().chain(open).min())
    };
    let Some(series) = part.next_series(lowest)? else { return Ok(None) };
    let place = part.place(scan, series, name)?;
    Ok(Some(Reading { series, place, next: Some(from), until, ready: VecDeque::new() }))
}

/// Finds the buckets of the next day that has any, and says how many rows were read; `None` when there is
/// no such day.
fn load_day(
    scan: &Scan,
    at: usize,
    resolution: Resolution,
    reading: &mut Reading,
) -> Result<Option<usize>, Error> {
    let Some(from) = reading.next.take() else { return Ok(None) };
    let hot = HotSeries::new(&scan.snapshots[at].1);
    let open = hot.open_parts(reading.series).map_err(unreadable)?;
    let found = next_day(scan, at, resolution, reading.series, from, &open)?;
    let Some(day) = found.filter(|day| *day <= reading.until) else { return Ok(None) };
    let midnight = Timestamp(day.0.saturating_add(DAY_US - 1));
    if midnight < reading.until {
        reading.next = Some(Timestamp(midnight.0 + 1));
    }
    let mut parts = stored(scan, at, resolution, reading.series, day)?;
    let read = parts.len() + open.len();
    parts.extend(open_rollups(resolution, day, open)?);
    reading.ready = merge_day(scan, at, resolution, (reading.series, day), parts)?.into();
    Ok(Some(read))
}

/// The first day from that of `from` on that has something.
fn next_day(
    scan: &Scan,
    at: usize,
    resolution: Resolution,
    series: u64,
    from: Timestamp,
    open: &[(OpenPart, Vec<u8>)],
) -> Result<Option<Timestamp>, Error> {
    let snapshot = &scan.snapshots[at].1;
    let low = series_key(series, day_of(from));
    let mut next = None;
    if let Some(entry) = snapshot.range(Keyspace::rollups(resolution) as u8, &low, None).next() {
        let key = read_key(&entry?.0)?;
        next = Some(day_of(key.first)).filter(|_| key.series == series);
    }
    let begins = open.iter().filter_map(|(part, _)| match part {
        OpenPart::State => None,
        OpenPart::Piece(at) | OpenPart::Late(at) => Some(day_of(*at)),
    });
    Ok(begins.filter(|begin| *begin >= day_of(from)).chain(next).min())
}

fn read_key(key: &[u8]) -> Result<SeriesKey, Error> {
    let bad = || damaged(novax_tsdb::Error::Invalid("a key of a rollup of the wrong length"));
    SeriesKey::read(key).ok_or_else(bad)
}

/// The stored rows of a day, with their numbers.
fn stored(
    scan: &Scan,
    at: usize,
    resolution: Resolution,
    series: u64,
    day: Timestamp,
) -> Result<Vec<(u32, Rollup)>, Error> {
    let snapshot = &scan.snapshots[at].1;
    let low = series_key(series, day);
    let mut parts = Vec::new();
    for entry in snapshot.range(Keyspace::rollups(resolution) as u8, &low, None) {
        let (key, value) = entry?;
        let key = read_key(&key)?;
        if key.series != series || day_of(key.first) != day {
            break;
        }
        scan.tally.entry();
        parts.push((key.sequence.unwrap_or(0), decode_rollup(&value).map_err(damaged)?));
    }
    Ok(parts)
}

/// What is open of a day, rolled up as if it were sealed last.
fn open_rollups(
    resolution: Resolution,
    day: Timestamp,
    open: Vec<(OpenPart, Vec<u8>)>,
) -> Result<Vec<(u32, Rollup)>, Error> {
    let (mut before, mut in_time, mut late) = (None, Vec::new(), Vec::new());
    for (part, bytes) in open {
        match part {
            OpenPart::State => before = register_before(&bytes).map_err(damaged)?,
            OpenPart::Piece(first) if day_of(first) == day => {
                in_time.append(&mut decode_rows(&bytes).map_err(damaged)?);
            }
            OpenPart::Late(of) if of == day => {
                late.append(&mut decode_rows(&bytes).map_err(damaged)?);
            }
            OpenPart::Piece(_) | OpenPart::Late(_) => {}
        }
    }
    let limits = Limits::default();
    let mut parts = Vec::new();
    if !in_time.is_empty() {
        let buckets = buckets(resolution, &limits, before, ticks(&in_time));
        parts.push((u32::MAX, Rollup { resolution, is_late: false, buckets }));
    }
    if !late.is_empty() {
        let mut buckets = buckets(resolution, &limits, None, ticks(&late));
        buckets.iter_mut().for_each(|bucket| bucket.energy_wh = 0);
        parts.push((u32::MAX, Rollup { resolution, is_late: true, buckets }));
    }
    Ok(parts)
}

fn ticks(rows: &[Row]) -> impl Iterator<Item = MeterTick> {
    rows.iter().map(|row| row.tick)
}

/// The buckets of a day: its parts merged, or worked out anew when some are of late ticks.
fn merge_day(
    scan: &Scan,
    at: usize,
    resolution: Resolution,
    (series, day): (u64, Timestamp),
    parts: Vec<(u32, Rollup)>,
) -> Result<Vec<Bucket>, Error> {
    if !parts.iter().any(|(_, rollup)| rollup.is_late) {
        return Ok(merge_rollups(parts));
    }
    let span = |from: Timestamp| -> Result<Vec<query::Stretch>, Error> {
        let until = Timestamp(from.0.saturating_add(DAY_US - 1));
        let all = ask(scan, at, |source| source.stretches(series, from, until))?;
        Ok(all.into_iter().flatten().collect())
    };
    let rows = query::range(span(day)?, day, Timestamp(day.0.saturating_add(DAY_US - 1)));
    let rows = rows.map_err(damaged)?;
    let before = match day.0.checked_sub(DAY_US) {
        None => None,
        Some(eve) => {
            let end = Timestamp(day.0 - 1);
            query::last_value(span(Timestamp(eve))?, Measurand::Energy, end).map_err(damaged)?
        }
    };
    let exact = buckets(resolution, &Limits::default(), before, ticks(&rows));
    let in_time = parts.iter().filter(|(_, rollup)| !rollup.is_late).cloned().collect();
    if covers(&exact, &merge_rollups(in_time)) {
        return Ok(exact);
    }
    // The ticks of that time are not kept any more.
    Ok(merge_rollups(parts))
}

fn add(
    batch: &mut Batch<Content>,
    name: &'static str,
    place: &Place,
    bucket: &Bucket,
) -> Result<(), Error> {
    for (content, builder) in &mut batch.columns {
        let cell = match *content {
            Content::At => Cell::Time(micros(bucket.start)),
            Content::Station => Cell::text(&place.station),
            Content::Evse => Cell::int(place.connector.evse),
            Content::Connector => Cell::int(place.connector.connector),
            Content::Partition => Cell::int(place.partition.0),
            Content::Energy => Cell::Int(bucket.energy_wh),
            Content::Of(measurand, told) => told_cell(builder, bucket.stat(measurand), told),
        };
        builder.push(name, cell)?;
    }
    batch.rows += 1;
    Ok(())
}

fn told_cell(builder: &Builder, stat: Option<&Stat>, told: Told) -> Cell<'static> {
    let Some(stat) = stat else {
        return if matches!(told, Told::Count) { Cell::Int(0) } else { Cell::Null };
    };
    match told {
        Told::Min => scaled(builder, stat.min),
        Told::Max => scaled(builder, stat.max),
        Told::Last => scaled(builder, stat.last),
        Told::Sum => Cell::Decimal(stat.sum),
        Told::Count => Cell::int(stat.count),
    }
}
