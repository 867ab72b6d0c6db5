//! What tables over meter series share: which stations and series are wanted, and where they are read.

use super::{ColumnInfo, Scan};
use crate::cells::{Builder, Cell, Kind};
use crate::error::{Error, SourceError};
use crate::series::HotSeries;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use novax_charging::rows::{read, series_id, series_parts};
use novax_charging::{Keyspace, StationRow};
use novax_engine::Snapshot;
use novax_model::{ConnectorRef, PartitionId, Timestamp};
use novax_tsdb::query::{self, SeriesSource};
use std::collections::{BTreeMap, VecDeque};

/// The series of one partition that are still to be read.
pub(super) struct Part {
    /// Its position in the scan's snapshots.
    pub(super) at: usize,
    /// Names of the stations that are wanted, by their numbers.
    stations: BTreeMap<u32, String>,
    /// Series `[from, to)`.
    todo: VecDeque<(u64, Option<u64>)>,
}

/// Where ticks were measured.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) partition: PartitionId,
    pub(super) station: String,
    pub(super) connector: ConnectorRef,
}

/// The time asked for; `None` when none can be in it.
pub(super) fn bounds(scan: &Scan) -> Option<(Timestamp, Timestamp)> {
    let until_us = u64::try_from(scan.pushed.until_us).ok()?;
    let until = if scan.pushed.until_us == i64::MAX { u64::MAX } else { until_us };
    let from = u64::try_from(scan.pushed.from_us).unwrap_or(0);
    (from <= until).then_some((Timestamp(from), Timestamp(until)))
}

/// A stamp as SQL has it.
pub(super) fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// Finds the wanted stations of a partition, and with them the series to read.
pub(super) fn open_part(scan: &Scan, at: usize) -> Result<Part, Error> {
    let (_, snapshot) = &scan.snapshots[at];
    let mut stations = BTreeMap::new();
    let mut todo = VecDeque::new();
    let Some(keys) = &scan.pushed.keys else {
        for entry in snapshot.range(Keyspace::Stations as u8, &[], None) {
            let station = station_row(&entry?.1)?;
            stations.insert(station.number, station.identity.as_str().to_owned());
        }
        todo.push_back((0, None));
        return Ok(Part { at, stations, todo });
    };
    for key in keys {
        if let Some(bytes) = get_station(snapshot, key)? {
            let number = station_row(&bytes)?.number;
            stations.insert(number, key.clone());
            todo.push_back((first_series(number), number.checked_add(1).map(first_series)));
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

/// The lowest series a station can have.
fn first_series(number: u32) -> u64 {
    series_id(number, ConnectorRef::STATION)
}

impl Part {
    /// The next series that is wanted. `find` says which is the lowest from a given one on.
    pub(super) fn next_series(
        &mut self,
        find: impl Fn(u64) -> Result<Option<u64>, Error>,
    ) -> Result<Option<u64>, Error> {
        while let Some((from, to)) = self.todo.pop_front() {
            let found = find(from)?.filter(|series| to.is_none_or(|to| *series < to));
            let Some(series) = found else { continue };
            if let Some(next) = series.checked_add(1) {
                self.todo.push_front((next, to));
            }
            return Ok(Some(series));
        }
        Ok(None)
    }

    /// Where the ticks of a series were measured.
    pub(super) fn place(
        &self,
        scan: &Scan,
        series: u64,
        table: &'static str,
    ) -> Result<Place, Error> {
        let (partition, _) = &scan.snapshots[self.at];
        let (number, connector) = series_parts(series);
        let Some(station) = self.stations.get(&number) else {
            let message = format!("a series of a station that is not here: {number}");
            return Err(Error::Corrupt { table, message });
        };
        Ok(Place { partition: *partition, station: station.clone(), connector })
    }
}

/// What all places say that the series of a partition come from: the store first, then colder tiers.
pub(super) fn ask<T>(
    scan: &Scan,
    at: usize,
    question: impl Fn(&dyn SeriesSource) -> Result<T, query::SourceError>,
) -> Result<Vec<T>, Error> {
    let hot = HotSeries::new(&scan.snapshots[at].1);
    let mut answers = vec![question(&hot).map_err(unreadable)?];
    for colder in scan.colder.get(at).into_iter().flatten() {
        answers.push(question(&**colder).map_err(unreadable)?);
    }
    Ok(answers)
}

/// What a client is told when a place cannot be read.
pub(super) fn unreadable(error: query::SourceError) -> Error {
    match error.downcast::<novax_engine::Error>() {
        Ok(error) => Error::Store(*error),
        Err(error) => match error.downcast::<novax_tsdb::Error>() {
            Ok(error) => damaged(*error),
            Err(error) => Error::Source(SourceError(error.to_string())),
        },
    }
}

/// What a client is told of a chunk that does not validate.
pub(super) fn damaged(error: novax_tsdb::Error) -> Error {
    Error::Corrupt { table: "telemetry", message: error.to_string() }
}

/// A column of a table over series: its name, its type, what it holds, whether that may be missing.
pub(super) type SeriesColumn<T> = (&'static str, Kind, T, bool);

/// Columns as people see them.
pub(super) fn infos<T>(columns: &[SeriesColumn<T>]) -> Vec<ColumnInfo> {
    let info = |(name, kind, _, nullable): &SeriesColumn<T>| ColumnInfo {
        name: *name,
        kind: *kind,
        nullable: *nullable,
    };
    columns.iter().map(info).collect()
}

/// The wanted columns being filled.
pub(super) struct Batch<T> {
    pub(super) columns: Vec<(T, Builder)>,
    schema: SchemaRef,
    pub(super) rows: usize,
}

impl<T: Copy> Batch<T> {
    pub(super) fn new(scan: &Scan, columns: &[SeriesColumn<T>]) -> Batch<T> {
        let column = |position: &usize| {
            let (_, kind, content, _) = columns[*position];
            (content, Builder::new(kind))
        };
        let columns = scan.projection.iter().map(column).collect();
        Batch { columns, schema: scan.schema.clone(), rows: 0 }
    }

    pub(super) fn finish(mut self) -> Result<RecordBatch, Error> {
        let columns = self.columns.iter_mut().map(|(_, builder)| builder.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(self.schema, columns, &options)?)
    }
}

/// A scaled value as its column has it.
pub(super) fn scaled(builder: &Builder, value: i64) -> Cell<'static> {
    if matches!(builder, Builder::Int8(_)) { Cell::Int(value) } else { Cell::Decimal(value.into()) }
}

/// A scaled value as people write it.
pub(super) fn decimal_text(kind: Kind, value: i64) -> String {
    let Kind::Decimal(_, scale @ 1..) = kind else { return value.to_string() };
    let width = usize::from(scale.unsigned_abs());
    let one = 10_u64.pow(u32::from(scale.unsigned_abs()));
    let sign = if value < 0 { "-" } else { "" };
    let (whole, rest) = (value.unsigned_abs() / one, value.unsigned_abs() % one);
    format!("{sign}{whole}.{rest:0width$}")
}
