//! The table over meter series. Rows are the ticks of compressed chunks, merged where chunks overlap;
//! only chunks of the stations asked for are read, only those that touch the time asked for are
//! decoded, and of those only the columns asked for.

use super::reading::Reading;
use super::series::{
    self, Batch, Part, Place, SeriesColumn, damaged, infos, micros, open_part, scaled,
};
use super::{BATCH_ROWS_MAX, ColumnInfo, Cursor, STEP_ENTRIES_MAX, Scan, Step, Table};
use crate::cells::{Builder, Cell, HUNDREDTHS, Kind, TENTHS};
use crate::error::Error;
use crate::filter::Pushable;
use novax_model::{MEASURANDS, Measurand};
use novax_tsdb::clean::Row;
use novax_tsdb::query::Body;
use novax_tsdb::{CHUNK_TICKS_MAX, Chunk, Remark};
use std::collections::{BTreeMap, VecDeque};

pub(crate) const NAME: &str = "telemetry";

#[derive(Debug)]
pub(super) struct Telemetry;

/// What a column holds.
#[derive(Clone, Copy)]
enum Content {
    At,
    Station,
    Evse,
    Connector,
    Value(Measurand),
    Partition,
    Flags,
    Raw,
}

const COLUMNS: [SeriesColumn<Content>; 13] = [
    ("at", Kind::Time, Content::At, false),
    ("station", Kind::Text, Content::Station, false),
    ("evse", Kind::Int4, Content::Evse, false),
    ("connector", Kind::Int4, Content::Connector, false),
    ("voltage_v", TENTHS, Content::Value(Measurand::Voltage), true),
    ("current_a", HUNDREDTHS, Content::Value(Measurand::Current), true),
    ("power_w", Kind::Int8, Content::Value(Measurand::Power), true),
    ("energy_wh", Kind::Int8, Content::Value(Measurand::Energy), true),
    ("temperature_c", TENTHS, Content::Value(Measurand::Temperature), true),
    ("soc_percent", TENTHS, Content::Value(Measurand::Soc), true),
    ("partition", Kind::Int4, Content::Partition, false),
    ("flags", Kind::Text, Content::Flags, true),
    ("raw", Kind::Text, Content::Raw, true),
];

/// What a column of this name measures, and its type.
pub(crate) fn measurand(name: &str) -> Option<(Measurand, Kind)> {
    let columns: &'static [SeriesColumn<Content>] = &COLUMNS;
    let (_, kind, content, _) = columns.iter().find(|column| column.0 == name)?;
    if let Content::Value(measurand) = content { Some((*measurand, *kind)) } else { None }
}

impl Table for Telemetry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn comment(&self) -> &'static str {
        "Meter values of all connectors over time; station and time range are pushed down."
    }

    fn columns(&self) -> Vec<ColumnInfo> {
        infos(&COLUMNS)
    }

    fn pushable(&self) -> Pushable {
        Pushable { key: Some("station"), time: Some("at") }
    }

    fn wants_series(&self) -> bool {
        true
    }

    fn cursor(&self, scan: Scan) -> Box<dyn Cursor> {
        let partitions = (0..scan.snapshots.len()).collect();
        let (left, merged) = (scan.limit, VecDeque::new());
        Box::new(TelemetryCursor { left, partitions, part: None, reading: None, merged, scan })
    }
}

struct TelemetryCursor {
    scan: Scan,
    /// Positions of the snapshots still to be read.
    partitions: VecDeque<usize>,
    /// The one being read.
    part: Option<Part>,
    /// The series of it being read.
    reading: Option<Reading>,
    /// Rows of its chunks that overlapped.
    merged: VecDeque<Row>,
    /// How many rows may still be given.
    left: usize,
}

impl Cursor for TelemetryCursor {
    fn step(&mut self) -> Result<Step, Error> {
        if self.left == 0 {
            return Ok(Step::Done);
        }
        if self.part.is_none() {
            let Some(at) = self.partitions.pop_front() else { return Ok(Step::Done) };
            self.part = Some(open_part(&self.scan, at)?);
        }
        let mut batch = Batch::new(&self.scan, &COLUMNS);
        self.fill_batch(&mut batch)?;
        self.left -= batch.rows;
        self.scan.tally.rows(batch.rows);
        if batch.rows == 0 { Ok(Step::Working) } else { Ok(Step::Rows(batch.finish()?)) }
    }
}

impl TelemetryCursor {
    /// Reads until the batch is full, enough was read, or the partition has no more.
    fn fill_batch(&mut self, batch: &mut Batch<Content>) -> Result<(), Error> {
        let mut entries = 0;
        while entries < STEP_ENTRIES_MAX
            && batch.rows < self.left
            && batch.rows + CHUNK_TICKS_MAX <= BATCH_ROWS_MAX
        {
            let Some(part) = &mut self.part else { return Ok(()) };
            let Some(reading) = &mut self.reading else {
                self.reading = Reading::next(&self.scan, part)?;
                entries += 1;
                if self.reading.is_none() {
                    self.part = None;
                }
                continue;
            };
            let rows_max = self.left - batch.rows;
            if !self.merged.is_empty() {
                let count = self.merged.len().min(CHUNK_TICKS_MAX);
                let rows: Vec<Row> = self.merged.drain(..count).collect();
                add(batch, &self.scan, &reading.place, &Ticks::Rows(&rows), rows_max)?;
            } else if let Some(run) = reading.runs.next() {
                self.scan.tally.chunk_decoded();
                match run.map_err(damaged)? {
                    Body::Rows(rows) => self.merged = rows.into(),
                    Body::Chunk(bytes) => {
                        let chunk = Chunk::open(&bytes).map_err(damaged)?;
                        add(batch, &self.scan, &reading.place, &Ticks::Chunk(&chunk), rows_max)?;
                    }
                }
            } else {
                entries += 1;
                match reading.load_day(&self.scan, part.at)? {
                    Some(read) => entries += read,
                    None => self.reading = None,
                }
            }
        }
        Ok(())
    }
}

/// Ticks of a chunk, or merged from several.
enum Ticks<'a> {
    Chunk(&'a Chunk<'a>),
    Rows(&'a [Row]),
}

impl Ticks<'_> {
    fn len(&self) -> usize {
        match self {
            Ticks::Chunk(chunk) => chunk.len(),
            Ticks::Rows(rows) => rows.len(),
        }
    }

    fn ends(&self) -> (i64, i64) {
        match self {
            Ticks::Chunk(chunk) => (micros(chunk.first()), micros(chunk.last())),
            Ticks::Rows(rows) => {
                let at = |row: Option<&Row>| row.map_or(0, |row| micros(row.tick.at));
                (at(rows.first()), at(rows.last()))
            }
        }
    }

    fn stamps(&self) -> Result<Vec<i64>, Error> {
        match self {
            Ticks::Chunk(chunk) => {
                Ok(chunk.stamps().map_err(damaged)?.into_iter().map(micros).collect())
            }
            Ticks::Rows(rows) => Ok(rows.iter().map(|row| micros(row.tick.at)).collect()),
        }
    }

    fn values(&self, measurand: Measurand) -> Result<Vec<Option<i64>>, Error> {
        match self {
            Ticks::Chunk(chunk) => chunk.column(measurand).map_err(damaged),
            Ticks::Rows(rows) => Ok(rows.iter().map(|row| row.tick.get(measurand)).collect()),
        }
    }

    fn remarks(&self) -> Result<BTreeMap<usize, Remark>, Error> {
        match self {
            Ticks::Chunk(chunk) => {
                let remarks = chunk.remarks().map_err(damaged)?.into_iter();
                Ok(remarks.map(|remark| (remark.row as usize, remark)).collect())
            }
            Ticks::Rows(rows) => {
                let remark = |(at, row): (usize, &Row)| Some((at, **row.remark.as_ref()?));
                Ok(rows.iter().enumerate().filter_map(remark).collect())
            }
        }
    }
}

/// Adds the ticks that lie in the time asked for.
fn add(
    batch: &mut Batch<Content>,
    scan: &Scan,
    place: &Place,
    ticks: &Ticks<'_>,
    rows_max: usize,
) -> Result<(), Error> {
    let (first, last) = ticks.ends();
    let inside = scan.pushed.has_time(first) && scan.pushed.has_time(last);
    let wants_at = batch.columns.iter().any(|(content, _)| matches!(content, Content::At));
    let stamps = if inside && !wants_at { Vec::new() } else { ticks.stamps()? };
    let picked: Vec<usize> = (0..ticks.len())
        .filter(|tick| inside || scan.pushed.has_time(stamps[*tick]))
        .take(rows_max)
        .collect();
    for (content, builder) in &mut batch.columns {
        fill(*content, builder, ticks, place, &stamps, &picked)?;
    }
    batch.rows += picked.len();
    Ok(())
}

/// Adds one column of the picked ticks.
fn fill(
    content: Content,
    builder: &mut Builder,
    ticks: &Ticks<'_>,
    place: &Place,
    stamps: &[i64],
    picked: &[usize],
) -> Result<(), Error> {
    let mut repeat = |cell: &Cell<'_>| -> Result<(), Error> {
        picked.iter().try_for_each(|_| builder.push(NAME, cell.clone()))
    };
    match content {
        Content::Station => repeat(&Cell::text(&place.station)),
        Content::Evse => repeat(&Cell::int(place.connector.evse)),
        Content::Connector => repeat(&Cell::int(place.connector.connector)),
        Content::Partition => repeat(&Cell::int(place.partition.0)),
        Content::At => picked.iter().try_for_each(|at| builder.push(NAME, Cell::Time(stamps[*at]))),
        Content::Value(measurand) => {
            let values = ticks.values(measurand)?;
            picked.iter().try_for_each(|at| {
                let cell = values[*at].map_or(Cell::Null, |value| scaled(builder, value));
                builder.push(NAME, cell)
            })
        }
        Content::Flags => each_remark(builder, ticks, picked, flags_text),
        Content::Raw => each_remark(builder, ticks, picked, raw_text),
    }
}

fn each_remark(
    builder: &mut Builder,
    ticks: &Ticks<'_>,
    picked: &[usize],
    text: fn(&Remark) -> String,
) -> Result<(), Error> {
    let remarks = ticks.remarks()?;
    picked.iter().try_for_each(|at| {
        let told = remarks.get(at).map(text).filter(|told| !told.is_empty());
        builder.push(NAME, told.map_or(Cell::Null, Cell::show))
    })
}

fn flags_text(remark: &Remark) -> String {
    remark.flags.names().collect::<Vec<_>>().join(",")
}

/// What the device had said, where that was changed: `energy_wh=0`.
fn raw_text(remark: &Remark) -> String {
    let columns: &'static [SeriesColumn<Content>] = &COLUMNS;
    let mut told = Vec::new();
    if let Some(at) = remark.raw_at {
        told.push(format!("at={}", at.to_rfc3339()));
    }
    for (measurand, value) in MEASURANDS.into_iter().zip(remark.raw) {
        let holds = |column: &&SeriesColumn<Content>| matches!(column.2, Content::Value(of) if of == measurand);
        let column = columns.iter().find(holds);
        if let (Some((name, kind, ..)), Some(value)) = (column, value) {
            told.push(format!("{name}={}", series::decimal_text(*kind, value)));
        }
    }
    told.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use novax_model::Timestamp;
    use novax_tsdb::Flags;

    #[test]
    fn remarks_are_told_in_words() {
        let mut remark = Remark { flags: Flags::SPIKE.union(Flags::LATE), ..Remark::default() };
        remark.raw[Measurand::Energy as usize] = Some(0);
        remark.raw[Measurand::Voltage as usize] = Some(-5);
        remark.raw[Measurand::Current as usize] = Some(123);
        remark.raw_at = Some(Timestamp(1_000_000));
        assert_eq!(flags_text(&remark), "late,spike");
        let told = "at=1970-01-01T00:00:01.000Z,voltage_v=-0.5,current_a=1.23,energy_wh=0";
        assert_eq!(raw_text(&remark), told);
    }
}
