//! Export to partitioned Parquet: nobody is locked in.
//!
//! ```text
//! _progress.json
//! date=2026-11-21/p007-00000.parquet
//! ```
//!
//! Folders are days alone, not stations: a folder for each station and day would mean a hundred
//! kilobytes a file, and readers spend their time opening files, not reading them. DuckDB and Spark
//! take `date` from the folder and leave out whole days; stations stand together within a file, so
//! that the minimum, maximum and bloom filter of `station` in each row group leave out the rest.
//!
//! Invariants: a file is there whole or not at all; an export that was killed and begun again ends
//! with the same bytes as one that was not, given the same rows.
//!
//! * [`table`]: columns, rows as Parquet
//! * [`progress`]: what is done

pub mod progress;
mod table;

use crate::day::Day;
use crate::error::ColdError;
use crate::hot::RowSource;
use crate::reader::{ColdQuery, ColdReader, hot_day};
use crate::shelf::put_whole;
use crate::tiers::DayCursor;
use bytes::Bytes;
use futures::TryStreamExt;
use novax_model::{PartitionId, Timestamp};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use progress::{Asked, PartDone, Progress, UnitDone};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use table::{Part, Place, Table};

/// Larger files are uploaded in parts of this size.
const UPLOAD_PART_BYTES: usize = 8 << 20;

/// What to export, and how files are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// The first stamp.
    pub from: Timestamp,
    /// The first stamp no longer wanted.
    pub to: Timestamp,
    /// Only these stations; all when there are none.
    pub stations: Vec<String>,
    /// Only these columns, and those that say whose rows they are; all when there are none.
    pub columns: Vec<String>,
    /// Rows of a row group: what readers leave out or take at once.
    pub row_group_rows: usize,
    /// The most rows of a file.
    pub part_rows: u64,
}

impl Default for ExportOptions {
    /// Everything; row groups of 128 Ki rows, files of 8 Mi.
    fn default() -> Self {
        Self {
            from: Timestamp::ZERO,
            to: Timestamp::MAX,
            stations: Vec::new(),
            columns: Vec::new(),
            row_group_rows: 128 << 10,
            part_rows: 8 << 20,
        }
    }
}

/// One partition to export from: both tiers, read as one.
#[derive(Clone)]
pub struct ExportSource {
    /// Which.
    pub partition: PartitionId,
    /// Its cold tier, if it has one.
    pub cold: Option<ColdReader>,
    /// Its hot tier, if it is to be exported too.
    pub hot: Option<Arc<dyn RowSource>>,
    /// Names of stations by their numbers. One that has no name any more is `#number`.
    pub stations: BTreeMap<u32, String>,
}

impl std::fmt::Debug for ExportSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportSource").field("partition", &self.partition).finish_non_exhaustive()
    }
}

/// What one run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportReport {
    /// Days of partitions that earlier runs had finished.
    pub units_kept: usize,
    /// Those that this run finished.
    pub units_done: usize,
    /// Files this run wrote.
    pub parts: usize,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Values too large for their column, left empty.
    pub values_out_of_range: u64,
}

/// Writes an export.
#[derive(Debug)]
pub struct Exporter {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    options: ExportOptions,
    table: Table,
}

impl Exporter {
    /// An export to a folder of a store.
    ///
    /// # Errors
    /// [`ColdError::Export`] when a column is unknown, or the time asked for is empty.
    pub fn new(
        objects: Arc<dyn ObjectStore>,
        root: Path,
        options: ExportOptions,
    ) -> Result<Self, ColdError> {
        assert!(options.row_group_rows > 0 && options.part_rows > 0, "files have rows");
        if options.from >= options.to {
            return Err(ColdError::Export("the time asked for ends before it begins".into()));
        }
        let table = Table::new(&options.columns)?;
        Ok(Self { objects, root, options, table })
    }

    fn asked(&self) -> Asked {
        let mut stations = self.options.stations.clone();
        stations.sort();
        stations.dedup();
        let text =
            |at: Timestamp| if at == Timestamp::MAX { "end".into() } else { at.to_rfc3339() };
        Asked {
            from: text(self.options.from),
            to: text(self.options.to),
            stations: (!stations.is_empty()).then_some(stations),
            columns: self.table.names().into_iter().map(str::to_owned).collect(),
            row_group_rows: self.options.row_group_rows,
            part_rows: self.options.part_rows,
        }
    }

    /// Exports what is not yet exported. `tell` hears of each unit that is finished.
    ///
    /// # Errors
    /// When a tier cannot be read, the target cannot be written, or it holds an export of something
    /// else. Begun again, it goes on behind the last unit that was finished.
    pub async fn run(
        &self,
        sources: &[ExportSource],
        mut tell: impl FnMut(&UnitDone),
    ) -> Result<ExportReport, ColdError> {
        let asked = self.asked();
        let mut progress = match Progress::read(self.objects.as_ref(), &self.root).await? {
            Some(progress) if progress.asked == asked => progress,
            Some(_) => {
                let reason = "it holds an export of something else; choose another, or empty it";
                return Err(ColdError::Export(reason.into()));
            }
            None => Progress::new(asked),
        };
        let mut report = ExportReport::default();
        for (day, partitions) in self.units(sources).await? {
            let mut unsaved = 0;
            for source in sources.iter().filter(|one| partitions.contains(&one.partition)) {
                let date = day.to_string();
                let is_unit =
                    |unit: &UnitDone| unit.date == date && unit.partition == source.partition.0;
                if progress.done.iter().any(is_unit) {
                    report.units_kept += 1;
                    continue;
                }
                let unit = self.export_unit(day, source).await?;
                report.count(&unit);
                tell(&unit);
                unsaved += unit.parts.iter().map(|part| part.rows).sum::<u64>() + 1;
                progress.done.push(unit);
                progress.complete = false;
                // The object grows with the export: it is not written for every small unit.
                if unsaved >= self.options.part_rows {
                    progress.write(self.objects.as_ref(), &self.root).await?;
                    unsaved = 0;
                }
            }
            if unsaved > 0 {
                progress.write(self.objects.as_ref(), &self.root).await?;
            }
        }
        if !progress.complete {
            progress.complete = true;
            progress.write(self.objects.as_ref(), &self.root).await?;
        }
        Ok(report)
    }

    /// Which partitions have rows of which days, within the time asked for.
    async fn units(
        &self,
        sources: &[ExportSource],
    ) -> Result<BTreeMap<Day, BTreeSet<PartitionId>>, ColdError> {
        let last = Timestamp(self.options.to.0 - 1);
        let asked = Day::of(self.options.from)..=Day::of(last);
        let mut units: BTreeMap<Day, BTreeSet<PartitionId>> = BTreeMap::new();
        for source in sources {
            let mut days = BTreeSet::new();
            if let Some(cold) = &source.cold {
                days.extend(cold.refresh().await?.days.keys().copied());
            }
            if let Some(hot) = &source.hot {
                days.extend(hot.days()?);
            }
            for day in days.into_iter().filter(|day| asked.contains(day)) {
                units.entry(day).or_default().insert(source.partition);
            }
        }
        Ok(units)
    }

    async fn export_unit(&self, day: Day, source: &ExportSource) -> Result<UnitDone, ColdError> {
        let mut unit = UnitDone {
            date: day.to_string(),
            partition: source.partition.0,
            values_out_of_range: 0,
            parts: Vec::new(),
        };
        let query = ColdQuery {
            series: self.wanted(day, source).await?,
            from: self.options.from,
            to: self.options.to,
            columns: self.table.source_columns(),
        };
        let mut rows = open_day(day, source, &query).await?;
        let mut part: Option<Part> = None;
        while let Some(rows) = &mut rows
            && let Some(stretch) = rows.next().await?
        {
            let (number, evse, connector) = parts_of(stretch.series);
            let unnamed = format!("#{number}");
            let station = source.stations.get(&number).unwrap_or(&unnamed);
            let place = Place { station, evse, connector };
            let mut from = 0;
            while from < stretch.ticks.len() {
                let open = match &mut part {
                    Some(open) => open,
                    None => part.insert(Part::new(&self.table, self.options.row_group_rows)?),
                };
                let room = self.options.part_rows - open.rows();
                let room = usize::try_from(room).unwrap_or(usize::MAX);
                from += open.add(place, &stretch, from, room)?;
                if open.rows() >= self.options.part_rows
                    && let Some(full) = part.take()
                {
                    self.put_part(day, &mut unit, full).await?;
                }
            }
        }
        if let Some(last) = part {
            self.put_part(day, &mut unit, last).await?;
        }
        self.delete_others(day, &unit).await?;
        Ok(unit)
    }

    /// The series of the stations asked for; `None` when all are.
    async fn wanted(
        &self,
        day: Day,
        source: &ExportSource,
    ) -> Result<Option<Arc<[u64]>>, ColdError> {
        if self.options.stations.is_empty() {
            return Ok(None);
        }
        let is_wanted = |series: &u64| {
            let name = source.stations.get(&parts_of(*series).0);
            name.is_some_and(|name| self.options.stations.contains(name))
        };
        let mut all = BTreeSet::new();
        if let Some(cold) = &source.cold {
            all.extend(cold.series_of(day).await?.into_iter().filter(is_wanted));
        }
        if let Some(hot) = &source.hot {
            let mut from = Some(0);
            while let Some(at) = from
                && let Some(series) = hot.next_series(at)?
            {
                all.extend(Some(series).filter(is_wanted));
                from = series.checked_add(1);
            }
        }
        Ok(Some(all.into_iter().collect()))
    }

    async fn put_part(&self, day: Day, unit: &mut UnitDone, part: Part) -> Result<(), ColdError> {
        let rows = part.rows();
        let (bytes, out_of_range) = part.finish()?;
        let name = format!("p{:03}-{:05}.parquet", unit.partition, unit.parts.len());
        let object = self.folder(day).join(name.as_str());
        unit.values_out_of_range += out_of_range;
        unit.parts.push(PartDone {
            object: format!("date={day}/{name}"),
            rows,
            bytes: bytes.len() as u64,
            crc32: format!("{:08x}", crc32fast::hash(&bytes)),
        });
        put_whole(self.objects.as_ref(), &object, Bytes::from(bytes), UPLOAD_PART_BYTES).await
    }

    fn folder(&self, day: Day) -> Path {
        self.root.clone().join(format!("date={day}"))
    }

    /// Deletes files of this unit that an earlier run wrote and this one did not.
    async fn delete_others(&self, day: Day, unit: &UnitDone) -> Result<(), ColdError> {
        let folder = self.folder(day);
        let own = format!("p{:03}-", unit.partition);
        let metas: Vec<_> = self.objects.list(Some(&folder)).try_collect().await?;
        for meta in metas {
            let name = meta.location.filename().unwrap_or_default();
            let is_own = name.starts_with(&own) && name.ends_with(".parquet");
            let object = format!("date={day}/{name}");
            if is_own && unit.parts.iter().all(|part| part.object != object) {
                self.objects.delete(&meta.location).await?;
            }
        }
        Ok(())
    }
}

impl ExportReport {
    fn count(&mut self, unit: &UnitDone) {
        self.units_done += 1;
        self.parts += unit.parts.len();
        self.rows += unit.parts.iter().map(|part| part.rows).sum::<u64>();
        self.bytes += unit.parts.iter().map(|part| part.bytes).sum::<u64>();
        self.values_out_of_range += unit.values_out_of_range;
    }
}

/// Both tiers of a day, read as one.
async fn open_day(
    day: Day,
    source: &ExportSource,
    query: &ColdQuery,
) -> Result<Option<DayCursor>, ColdError> {
    match &source.cold {
        Some(cold) => cold.day(day, query, source.hot.clone()).await,
        None => hot_day(day, query, source.hot.clone()),
    }
}

/// Station, EVSE and connector of a series.
fn parts_of(series: u64) -> (u32, u16, u16) {
    let [a, b, c, d, e, f, g, h] = series.to_be_bytes();
    let station = u32::from_be_bytes([a, b, c, d]);
    (station, u16::from_be_bytes([e, f]), u16::from_be_bytes([g, h]))
}
