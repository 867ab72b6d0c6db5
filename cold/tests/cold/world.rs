//! A hot store in memory, and what a naive reader would make of its ticks.

use novax_cold::{Caches, ColdError, ColdQuery, ColdReader, Day, HotChunk, HotSource, Mover};
use novax_cold::{MoverOptions, RowSource, Stretch, merge_chunks};
use novax_model::{MeterTick, PartitionId, Timestamp};
use novax_tsdb::cold::Window;
use novax_tsdb::generate::{Config, Generator};
use novax_tsdb::{Chunk, Flags, Remark, encode_chunk_with};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const PARTITION: PartitionId = PartitionId(7);
/// 2026-11-21
pub(crate) const DAY: u32 = 20_778;
const CHUNK_TICKS: usize = 100;

pub(crate) fn day(n: u32) -> Day {
    Day::from_number(DAY + n).expect("not after the last")
}

/// Values by series and stamp, first writer first.
pub(crate) type Rows = BTreeMap<(u64, u64), [Option<i64>; 6]>;

pub(crate) fn rows_of(stretches: &[Stretch]) -> Rows {
    let row = |s: &Stretch, t: &MeterTick| ((s.series, t.at.0), t.values);
    stretches.iter().flat_map(|s| s.ticks.iter().map(move |t| row(s, t))).collect()
}

pub(crate) fn add(rows: &mut Rows, series: u64, ticks: &[MeterTick]) {
    for tick in ticks {
        let known = rows.entry((series, tick.at.0)).or_insert([None; 6]);
        for (known, value) in known.iter_mut().zip(tick.values) {
            *known = known.or(value);
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Hot {
    pub(crate) chunks: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) mark: u64,
}

impl Hot {
    /// Adds ticks in order as chunks; `sequence` marks those that came late.
    pub(crate) fn add(&mut self, series: u64, ticks: &[MeterTick], sequence: Option<u8>) {
        for ticks in ticks.chunk_by(|a, b| Day::of(a.at) == Day::of(b.at)) {
            for ticks in ticks.chunks(CHUNK_TICKS) {
                let mut key = series.to_be_bytes().to_vec();
                key.extend_from_slice(&ticks[0].at.0.to_be_bytes());
                key.extend(sequence);
                let remark = Remark { row: 0, flags: Flags(1), ..Remark::default() };
                let remarks = if sequence.is_some() { vec![remark] } else { Vec::new() };
                self.chunks.insert(key, encode_chunk_with(ticks, &remarks));
            }
        }
        self.mark += 1;
    }

    pub(crate) fn drop_day(&mut self, day: Day) {
        self.chunks.retain(|_, bytes| Day::of(Chunk::open(bytes).expect("a chunk").first()) != day);
    }

    pub(crate) fn shared(&self) -> Arc<dyn RowSource> {
        Arc::new(self.clone())
    }
}

impl RowSource for Hot {
    fn next_series(&self, from: u64) -> Result<Option<u64>, ColdError> {
        let first = self.chunks.range(from.to_be_bytes().to_vec()..).next();
        Ok(first.map(|(key, _)| u64::from_be_bytes(*key.first_chunk().expect("a key"))))
    }

    fn stretch(&self, series: u64, window: Window) -> Result<Stretch, ColdError> {
        merge_chunks(series, self.chunks(series, window)?, window)
    }

    fn days(&self) -> Result<BTreeSet<Day>, ColdError> {
        Ok(self
            .chunks
            .values()
            .map(|b| Day::of(Chunk::open(b).expect("a chunk").first()))
            .collect())
    }
}

impl HotSource for Hot {
    fn mark(&self) -> u64 {
        self.mark
    }

    fn chunks(&self, series: u64, window: Window) -> Result<Vec<HotChunk>, ColdError> {
        let own = self.chunks.iter().filter(|(key, bytes)| {
            let chunk = Chunk::open(bytes).expect("a chunk");
            key.starts_with(&series.to_be_bytes())
                && chunk.first() < window.to
                && chunk.last() >= window.from
        });
        Ok(own.map(|(key, bytes)| HotChunk { key: key.clone(), bytes: bytes.clone() }).collect())
    }
}

/// Two days and a half of a small fleet, a tick every five minutes, from [`DAY`] on.
pub(crate) fn fleet(connectors: u32, seed: u64) -> Vec<(u64, Vec<MeterTick>)> {
    let start = day(0).window().from;
    let config = Config { connectors, ticks: 720, start, step_ms: 300_000, ..Config::default() };
    Generator::new(seed, config).map(|one| (one.series, one.ticks)).collect()
}

/// A hot store with the fleet, and its rows.
pub(crate) fn hot_fleet(connectors: u32, seed: u64) -> (Hot, Rows) {
    let (mut hot, mut rows) = (Hot::default(), Rows::new());
    for (series, ticks) in fleet(connectors, seed) {
        hot.add(series, &ticks, None);
        add(&mut rows, series, &ticks);
    }
    (hot, rows)
}

/// Ticks that come late for a day of each series: new stamps, known ones, and values that lacked.
pub(crate) fn late(of: &[(u64, Vec<MeterTick>)], day: Day) -> Vec<(u64, Vec<MeterTick>)> {
    let one = |(series, ticks): &(u64, Vec<MeterTick>)| {
        let own = ticks.iter().filter(|tick| Day::of(tick.at) == day).step_by(9);
        let mut late: Vec<MeterTick> = own
            .flat_map(|tick| {
                let after = Timestamp(tick.at.0 + 60_000_000);
                let known = MeterTick { at: tick.at, values: [Some(-1); 6] };
                [known, MeterTick { at: after, values: [Some(7), None, None, Some(1), None, None] }]
            })
            .collect();
        late.retain(|tick| Day::of(tick.at) == day);
        (*series, late)
    };
    of.iter().map(one).collect()
}

pub(crate) fn of_day(rows: &Rows, day: Day) -> Rows {
    rows.iter()
        .filter(|((_, at), _)| Day::of(Timestamp(*at)) == day)
        .map(|(k, v)| (*k, *v))
        .collect()
}

pub(crate) fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

/// Small files in small parts, so that few rows go every way there is.
pub(crate) fn options() -> MoverOptions {
    MoverOptions {
        file_rows_max: 400,
        part_bytes: 1_000,
        files_of_day_max: 64,
        ..MoverOptions::default()
    }
}

pub(crate) async fn mover(objects: &Arc<dyn ObjectStore>) -> Mover {
    Mover::open(Arc::clone(objects), PARTITION, options()).await.expect("a mover")
}

pub(crate) async fn reader(objects: &Arc<dyn ObjectStore>) -> ColdReader {
    let caches = Arc::new(Caches::new(novax_cold::CacheSizes::default()));
    ColdReader::open(Arc::clone(objects), PARTITION, caches).await.expect("a reader")
}

pub(crate) async fn cold_rows(objects: &Arc<dyn ObjectStore>) -> Rows {
    let stretches = reader(objects).await.rows(&ColdQuery::all()).await.expect("rows");
    rows_of(&stretches)
}
