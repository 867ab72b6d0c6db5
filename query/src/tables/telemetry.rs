//! The table over meter series. Rows are the ticks of compressed chunks; only chunks of the
//! stations asked for are read, only those that touch the time asked for are decoded, and of those
//! only the columns asked for.

use super::{BATCH_ROWS_MAX, ColumnInfo, Cursor, STEP_ENTRIES_MAX, Scan, Step, Table};
use crate::cells::{Builder, Cell, HUNDREDTHS, Kind, TENTHS};
use crate::error::Error;
use crate::filter::Pushable;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use novax_charging::rows::{read, series_id, series_key, series_parts};
use novax_charging::{Keyspace, StationRow};
use novax_engine::Snapshot;
use novax_model::{ConnectorRef, Measurand, PartitionId, Timestamp};
use novax_tsdb::{CHUNK_TICKS_MAX, Chunk};
use std::collections::{BTreeMap, VecDeque};

const NAME: &str = "telemetry";

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
}

const COLUMNS: [(&str, Kind, Content); 11] = [
    ("at", Kind::Time, Content::At),
    ("station", Kind::Text, Content::Station),
    ("evse", Kind::Int4, Content::Evse),
    ("connector", Kind::Int4, Content::Connector),
    ("voltage_v", TENTHS, Content::Value(Measurand::Voltage)),
    ("current_a", HUNDREDTHS, Content::Value(Measurand::Current)),
    ("power_w", Kind::Int8, Content::Value(Measurand::Power)),
    ("energy_wh", Kind::Int8, Content::Value(Measurand::Energy)),
    ("temperature_c", TENTHS, Content::Value(Measurand::Temperature)),
    ("soc_percent", TENTHS, Content::Value(Measurand::Soc)),
    ("partition", Kind::Int4, Content::Partition),
];

impl Table for Telemetry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn comment(&self) -> &'static str {
        "Meter values of all connectors over time; station and time range are pushed down."
    }

    fn columns(&self) -> Vec<ColumnInfo> {
        let nullable = |content| matches!(content, Content::Value(_));
        COLUMNS
            .iter()
            .map(|(name, kind, content)| ColumnInfo {
                name,
                kind: *kind,
                nullable: nullable(*content),
            })
            .collect()
    }

    fn pushable(&self) -> Pushable {
        Pushable { key: Some("station"), time: Some("at") }
    }

    fn wants_series(&self) -> bool {
        true
    }

    fn cursor(&self, scan: Scan) -> Box<dyn Cursor> {
        let partitions = (0..scan.snapshots.len()).collect();
        Box::new(TelemetryCursor { left: scan.limit, partitions, part: None, scan })
    }
}

struct TelemetryCursor {
    scan: Scan,
    /// Positions of the snapshots still to be read.
    partitions: VecDeque<usize>,
    /// The one being read.
    part: Option<Part>,
    /// How many rows may still be given.
    left: usize,
}

/// The series of one partition that are still to be read.
struct Part {
    at: usize,
    /// Names of the stations that are wanted, by their numbers.
    stations: BTreeMap<u32, String>,
    /// Keys `[from, to)`.
    todo: VecDeque<([u8; 16], Option<[u8; 16]>)>,
}

impl Cursor for TelemetryCursor {
    fn step(&mut self) -> Result<Step, Error> {
        if self.left == 0 {
            return Ok(Step::Done);
        }
        let Some(part) = &mut self.part else {
            let Some(at) = self.partitions.pop_front() else { return Ok(Step::Done) };
            self.part = Some(open_part(&self.scan, at)?);
            return Ok(Step::Working);
        };
        let Some((from, to)) = part.todo.pop_front() else {
            self.part = None;
            return Ok(Step::Working);
        };
        let mut batch = Batch::new(&self.scan);
        let next = read_chunks(&self.scan, part, from, to, self.left, &mut batch)?;
        if let Some(next) = next {
            part.todo.push_front((next, to));
        }
        self.left -= batch.rows;
        self.scan.tally.rows(batch.rows);
        if batch.rows == 0 { Ok(Step::Working) } else { Ok(Step::Rows(batch.finish()?)) }
    }
}

/// Finds the wanted stations of a partition, and with them the keys to read.
fn open_part(scan: &Scan, at: usize) -> Result<Part, Error> {
    let (_, snapshot) = &scan.snapshots[at];
    let mut stations = BTreeMap::new();
    let Some(keys) = &scan.pushed.keys else {
        for entry in snapshot.range(Keyspace::Stations as u8, &[], None) {
            let station = station_row(&entry?.1)?;
            stations.insert(station.number, station.identity.as_str().to_owned());
        }
        let all = ([0; 16], None);
        return Ok(Part { at, stations, todo: VecDeque::from([all]) });
    };
    let mut todo = VecDeque::new();
    for key in keys {
        if let Some(bytes) = get_station(snapshot, key)? {
            let number = station_row(&bytes)?.number;
            stations.insert(number, key.clone());
            todo.push_back((first_key(number), number.checked_add(1).map(first_key)));
        }
    }
    Ok(Part { at, stations, todo })
}

fn get_station(snapshot: &Snapshot, station: &str) -> Result<Option<Vec<u8>>, Error> {
    // The store takes keys of bounded length only; no station has a longer name.
    if station.len() > novax_model::Identity::MAX_LEN {
        return Ok(None);
    }
    Ok(snapshot.get(Keyspace::Stations as u8, station.as_bytes())?)
}

fn station_row(bytes: &[u8]) -> Result<StationRow, Error> {
    read(bytes).map_err(|error| Error::Corrupt { table: "stations", message: error.to_string() })
}

/// The smallest key a series of a station can have.
fn first_key(number: u32) -> [u8; 16] {
    series_key(series_id(number, ConnectorRef::STATION), Timestamp::ZERO)
}

/// Reads chunks into `batch` until it is full or enough was read; answers where to go on.
fn read_chunks(
    scan: &Scan,
    part: &Part,
    from: [u8; 16],
    to: Option<[u8; 16]>,
    rows_max: usize,
    batch: &mut Batch,
) -> Result<Option<[u8; 16]>, Error> {
    let (partition, snapshot) = &scan.snapshots[part.at];
    let mut entries = 0;
    let range =
        snapshot.range(Keyspace::Series as u8, &from, to.as_ref().map(<[u8; 16]>::as_slice));
    for entry in range {
        let (key, value) = entry?;
        let (series, first) = parse_key(&key)?;
        entries += 1;
        scan.tally.entry();
        let (number, connector) = series_parts(series);
        let Some(station) = part.stations.get(&number) else {
            return Err(corrupt(format!("a chunk of a station that is not here: {number}")));
        };
        if first > scan.pushed.until_us {
            // Chunks of a series come by their first stamp: none behind this one begins in time.
            scan.tally.chunk_skipped();
            return Ok(series.checked_add(1).map(|next| series_key(next, Timestamp::ZERO)));
        }
        let place = Place { partition: *partition, station, connector };
        batch.add(scan, &place, &value, rows_max)?;
        let full = batch.rows >= rows_max || batch.rows + CHUNK_TICKS_MAX > BATCH_ROWS_MAX;
        if full || entries == STEP_ENTRIES_MAX {
            let next = u128::from_be_bytes(to_key(&key)?).checked_add(1);
            return Ok(next.map(u128::to_be_bytes));
        }
    }
    Ok(None)
}

fn to_key(key: &[u8]) -> Result<[u8; 16], Error> {
    key.try_into().map_err(|_| corrupt(format!("a key of {} bytes", key.len())))
}

fn parse_key(key: &[u8]) -> Result<(u64, i64), Error> {
    let key = u128::from_be_bytes(to_key(key)?);
    let series = u64::try_from(key >> 64).expect("64 bits are left");
    let first = u64::try_from(key & u128::from(u64::MAX)).expect("64 bits are kept");
    Ok((series, i64::try_from(first).unwrap_or(i64::MAX)))
}

fn corrupt(message: String) -> Error {
    Error::Corrupt { table: NAME, message }
}

/// Where the ticks of a chunk were measured.
struct Place<'a> {
    partition: PartitionId,
    station: &'a str,
    connector: ConnectorRef,
}

/// Columns being filled.
struct Batch {
    columns: Vec<(Content, Builder)>,
    schema: datafusion::arrow::datatypes::SchemaRef,
    rows: usize,
}

impl Batch {
    fn new(scan: &Scan) -> Batch {
        let column = |position: &usize| {
            let (_, kind, content) = COLUMNS[*position];
            (content, Builder::new(kind))
        };
        let columns = scan.projection.iter().map(column).collect();
        Batch { columns, schema: scan.schema.clone(), rows: 0 }
    }

    /// Adds the ticks of a chunk that lie in the time asked for.
    fn add(
        &mut self,
        scan: &Scan,
        place: &Place<'_>,
        bytes: &[u8],
        rows_max: usize,
    ) -> Result<(), Error> {
        let bad = |error: novax_tsdb::Error| corrupt(error.to_string());
        let chunk = Chunk::open(bytes).map_err(bad)?;
        let micros = |at: Timestamp| i64::try_from(at.0).unwrap_or(i64::MAX);
        let (first, last) = (micros(chunk.first()), micros(chunk.last()));
        if last < scan.pushed.from_us || first > scan.pushed.until_us {
            scan.tally.chunk_skipped();
            return Ok(());
        }
        let inside = scan.pushed.has_time(first) && scan.pushed.has_time(last);
        let wants_at = self.columns.iter().any(|(content, _)| matches!(content, Content::At));
        let stamps = if inside && !wants_at {
            Vec::new()
        } else {
            chunk.stamps().map_err(bad)?.into_iter().map(micros).collect()
        };
        let picked: Vec<usize> = (0..chunk.len())
            .filter(|tick| inside || scan.pushed.has_time(stamps[*tick]))
            .take(rows_max - self.rows)
            .collect();
        scan.tally.chunk_decoded();
        for (content, builder) in &mut self.columns {
            fill(*content, builder, &chunk, place, &stamps, &picked)?;
        }
        self.rows += picked.len();
        Ok(())
    }

    fn finish(mut self) -> Result<RecordBatch, Error> {
        let columns = self.columns.iter_mut().map(|(_, builder)| builder.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(self.schema, columns, &options)?)
    }
}

/// Adds one column of the picked ticks.
fn fill(
    content: Content,
    builder: &mut Builder,
    chunk: &Chunk<'_>,
    place: &Place<'_>,
    stamps: &[i64],
    picked: &[usize],
) -> Result<(), Error> {
    let mut repeat = |cell: &Cell<'_>| -> Result<(), Error> {
        picked.iter().try_for_each(|_| builder.push(NAME, cell.clone()))
    };
    match content {
        Content::Station => repeat(&Cell::text(place.station)),
        Content::Evse => repeat(&Cell::int(place.connector.evse)),
        Content::Connector => repeat(&Cell::int(place.connector.connector)),
        Content::Partition => repeat(&Cell::int(place.partition.0)),
        Content::At => picked.iter().try_for_each(|at| builder.push(NAME, Cell::Time(stamps[*at]))),
        Content::Value(measurand) => {
            let values = chunk.column(measurand).map_err(|error| corrupt(error.to_string()))?;
            let whole = matches!(builder, Builder::Int8(_));
            let cell = |value: i64| {
                if whole { Cell::Int(value) } else { Cell::Decimal(value.into()) }
            };
            picked.iter().try_for_each(|at| builder.push(NAME, Cell::of(values[*at], cell)))
        }
    }
}
