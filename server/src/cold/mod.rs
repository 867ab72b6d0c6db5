//! `novax store export`: both tiers of a data directory as partitioned Parquet. All work is done by
//! [`novax_cold`]; here partitions are opened and names are looked up.
//!
//! The node must be stopped: its stores belong to it. What only the log has, after a stop that was
//! not clean, is exported once the node has run again.

use crate::cli::{EXIT_FAILED, EXIT_OK, EXIT_USAGE};
use crate::store::ExportArgs;
use novax_charging::StationRow;
use novax_charging::rows::{Keyspace, read};
use novax_cold::export::{ExportOptions, ExportReport, ExportSource, Exporter};
use novax_cold::{CacheSizes, Caches, ColdError, ColdReader, DAY_US, SeriesRows, StoreConfig};
use novax_engine::{Engine, Snapshot, Worker};
use novax_model::{PartitionId, Timestamp};
use novax_query::series::HotSeries;
use novax_shard::stores::store_options;
use novax_tsdb::query::{SeriesSource, SourceError, Stretch};
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Why nothing, or not all, was exported.
enum Failure {
    Usage(String),
    Cold(ColdError),
    Store(novax_engine::Error),
    System(std::io::Error),
}

impl From<ColdError> for Failure {
    fn from(error: ColdError) -> Failure {
        Failure::Cold(error)
    }
}

impl From<novax_engine::Error> for Failure {
    fn from(error: novax_engine::Error) -> Failure {
        Failure::Store(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::System(error)
    }
}

/// Runs the command. Returns the exit code.
#[must_use]
pub fn export(args: &ExportArgs) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("novax: {error}");
            return EXIT_FAILED;
        }
    };
    match runtime.block_on(run(args)) {
        Ok(done) => {
            let ExportReport { units_kept, units_done, parts, rows, bytes, .. } = done;
            println!(
                "{rows} rows in {parts} files, {bytes} bytes: {units_done} days of partitions"
            );
            if units_kept > 0 {
                println!("{units_kept} were there already");
            }
            if done.values_out_of_range > 0 {
                println!("{} values did not fit their column", done.values_out_of_range);
            }
            EXIT_OK
        }
        Err(Failure::Usage(what)) => {
            eprintln!("novax: {what}");
            EXIT_USAGE
        }
        Err(Failure::Store(error)) => {
            eprintln!("novax: {error}\n    -> {}", error.advice());
            EXIT_FAILED
        }
        Err(Failure::Cold(error)) => {
            eprintln!("novax: {error}");
            EXIT_FAILED
        }
        Err(Failure::System(error)) => {
            eprintln!("novax: {error}");
            EXIT_FAILED
        }
    }
}

async fn run(args: &ExportArgs) -> Result<ExportReport, Failure> {
    let config = |url: &str| StoreConfig {
        url: url.to_owned(),
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        access_key: args.access_key.clone(),
        secret_key: args.secret_key.clone(),
        allow_http: args.allow_http,
    };
    let local = args.data.join("cold");
    let cold = match &args.cold {
        Some(url) => Some(config(url).open()?),
        None if local.is_dir() => Some(config(&local.to_string_lossy()).open()?),
        None => None,
    };
    let options = ExportOptions {
        from: time(args.from.as_deref())?.unwrap_or(Timestamp::ZERO),
        to: time(args.to_time.as_deref())?.unwrap_or_else(start_of_today),
        stations: args.station.clone(),
        columns: args.columns.clone(),
        ..ExportOptions::default()
    };
    let exporter = Exporter::new(config(&args.to).open()?, ObjectPath::default(), options)?;
    let worker = Worker::start(1)?;
    let mut sources = Vec::new();
    // Kept open to the end: a node must not start on them meanwhile.
    let mut engines = Vec::new();
    for number in partitions(&args.data)? {
        let dir = args.data.join("partitions").join(format!("p{number:03}"));
        let mut engine = Engine::open(&dir, store_options(), &worker)?;
        let snapshot = engine.snapshot();
        sources.push(source(PartitionId(number), snapshot, cold.as_ref()).await?);
        engines.push(engine);
    }
    let done = exporter
        .run(&sources, |unit| {
            let rows: u64 = unit.parts.iter().map(|part| part.rows).sum();
            println!("{} partition {}: {rows} rows", unit.date, unit.partition);
        })
        .await?;
    for engine in engines {
        engine.close()?;
    }
    Ok(done)
}

/// The numbers of the partitions of a data directory.
fn partitions(data: &Path) -> Result<Vec<u16>, Failure> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(data.join("partitions"))? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix('p'));
        let number: Option<u16> = digits.and_then(|digits| digits.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    if numbers.is_empty() {
        return Err(Failure::Usage(format!("{} has no partitions", data.display())));
    }
    Ok(numbers)
}

async fn source(
    partition: PartitionId,
    snapshot: Snapshot,
    cold: Option<&Arc<dyn ObjectStore>>,
) -> Result<ExportSource, Failure> {
    let mut stations = BTreeMap::new();
    for entry in snapshot.range(Keyspace::Stations as u8, &[], None) {
        let (_, bytes) = entry?;
        let row = read::<StationRow>(&bytes)
            .map_err(|error| ColdError::Hot(format!("a station: {error}")))?;
        stations.insert(row.number, row.identity.as_str().to_owned());
    }
    let cold = match cold {
        Some(objects) => {
            let caches = Arc::new(Caches::new(CacheSizes::default()));
            Some(ColdReader::open(Arc::clone(objects), partition, caches).await?)
        }
        None => None,
    };
    let hot = Arc::new(SeriesRows(Hot(snapshot)));
    Ok(ExportSource { partition, cold, hot: Some(hot), stations })
}

/// The series of a snapshot that is its own.
#[derive(Clone)]
struct Hot(Snapshot);

impl SeriesSource for Hot {
    fn next_series(&self, from: u64) -> Result<Option<u64>, SourceError> {
        HotSeries::within(&self.0, Timestamp::ZERO, Timestamp::MAX).next_series(from)
    }

    fn next_time(&self, series: u64, from: Timestamp) -> Result<Option<Timestamp>, SourceError> {
        HotSeries::within(&self.0, from, Timestamp::MAX).next_time(series, from)
    }

    fn stretches(
        &self,
        series: u64,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Stretch>, SourceError> {
        let hot = HotSeries::within(&self.0, from, until);
        let mut all = hot.stretches(series, from, until)?;
        all.extend(hot.reaching(series, from)?);
        Ok(all)
    }
}

fn time(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let usage =
        |_| Failure::Usage(format!("{text} is neither 2026-11-21 nor 2026-11-21T08:00:00Z"));
    Timestamp::parse_rfc3339(&whole).map(Some).map_err(usage)
}

/// The day that is not over yet is left for another export: it would be exported in part.
fn start_of_today() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
    Timestamp(now_us / DAY_US * DAY_US)
}
