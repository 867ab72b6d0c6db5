//! The hot tier: blocks in the log, chunks as rows of the store, and questions to them.
//!
//! Rows are as the server has them: keyed by series and first stamp, a chunk of up to 1,024 ticks each.

use super::blocklog::BlockLog;
use super::fleet::{DAY_US, Fleet, START};
use crate::cpu;
use crate::engine::workload::Dice;
use crate::error::{BenchError, Result};
use crate::figures::per_mille;
use crate::quiet;
use novax_engine::{Batch, Engine, Options, Snapshot, Worker};
use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};
use novax_tsdb::{BlockBuilder, Chunk, Columns, Scratch, decode_block, encode_chunk};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

const SERIES: u8 = 0;
/// A block of the log is finished at this size.
const BLOCK_BYTES: usize = 64 << 10;
/// Ticks of a chunk: what the figures are quoted for.
pub(crate) const CHUNK_TICKS: usize = 1_000;
/// Chunks handed to the store at a time.
const CHUNKS_A_BATCH: usize = 64;

fn failed(error: &novax_engine::Error) -> BenchError {
    BenchError::Store("novax", error.to_string())
}

fn damaged(error: &novax_tsdb::Error) -> BenchError {
    BenchError::Store("tsdb", error.to_string())
}

fn options() -> Options {
    Options { memtable_bytes_max: 64 << 20, block_cache_bytes: 1 << 30, ..Options::default() }
}

/// The key of a chunk.
fn row_key(series: u64, first: Timestamp) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&series.to_be_bytes());
    key[8..].copy_from_slice(&first.0.to_be_bytes());
    key
}

/// Processor seconds that rows took on their way.
#[derive(Debug, Default)]
pub(crate) struct Ingested {
    /// Until each was in a durable block of the log.
    pub(crate) log_cpu_s: f64,
    /// Until all were in chunks in tables too, and nothing was left to do.
    pub(crate) cpu_s: f64,
    pub(crate) wall_s: f64,
    /// Bytes of all blocks.
    pub(crate) log_bytes: u64,
}

/// Takes all rows of a fleet in the order in which they arrive: each goes into a block, the block into the
/// log, and then, as a replica does, out of the block into its series and as a chunk into the store.
pub(crate) fn ingest(dir: &Path, fleet: &Fleet) -> Result<Ingested> {
    let mut done = Ingested::default();
    let stretch = cpu::Stretch::begin();
    let mut log = BlockLog::start(&dir.join("log"))?;
    let mut hot = Hot::create(&dir.join("store"))?;
    let mut block = BlockBuilder::new();
    let mut log_cpu = std::time::Duration::ZERO;
    let mut begun = cpu::of_thread();
    for (series, tick) in fleet.arrivals() {
        block.push(series, tick);
        if block.bytes_estimate() >= BLOCK_BYTES {
            let bytes = std::mem::take(&mut block).finish();
            log.append(&bytes)?;
            log_cpu += cpu::of_thread() - begun;
            hot.apply(&bytes)?;
            begun = cpu::of_thread();
        }
    }
    let bytes = block.finish();
    log.append(&bytes)?;
    log_cpu += cpu::of_thread() - begun;
    hot.apply(&bytes)?;
    hot.finish()?;
    log.flushed()?;
    done.log_cpu_s = log_cpu.as_secs_f64();
    done.log_bytes = log.bytes;
    drop(log);
    done.cpu_s = stretch.cpu_s();
    done.wall_s = stretch.wall_s();
    Ok(done)
}

/// The series of a partition, being written.
pub(crate) struct Hot {
    engine: Engine,
    batch: Batch,
    heads: BTreeMap<u64, Vec<MeterTick>>,
    // After the engine, which it works for.
    _worker: Worker,
}

impl Hot {
    pub(crate) fn create(dir: &Path) -> Result<Hot> {
        let worker =
            Worker::start(2).map_err(|error| BenchError::System("starting threads", error))?;
        let engine = Engine::open(dir, options(), &worker).map_err(|error| failed(&error))?;
        Ok(Hot { engine, batch: Batch::new(), heads: BTreeMap::new(), _worker: worker })
    }

    /// Takes a block out of the log.
    fn apply(&mut self, block: &[u8]) -> Result<()> {
        for (series, tick) in decode_block(block).map_err(|error| damaged(&error))? {
            let head = self.heads.entry(series).or_default();
            head.push(tick);
            if head.len() == CHUNK_TICKS {
                let ticks = std::mem::take(head);
                self.put(series, &ticks)?;
            }
        }
        Ok(())
    }

    /// Seals a chunk of a series.
    pub(crate) fn put(&mut self, series: u64, ticks: &[MeterTick]) -> Result<()> {
        let first = ticks.first().map_or(Timestamp(0), |tick| tick.at);
        self.batch.put(SERIES, &row_key(series, first), &encode_chunk(ticks));
        if self.batch.len() >= CHUNKS_A_BATCH {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        self.batch.set_mark(self.engine.mark() + 1);
        self.engine.write(&mut self.batch);
        while self.engine.poll().map_err(|error| failed(&error))?.stalled {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(())
    }

    /// Seals what is open, flushes everything and waits until nothing is left to do.
    pub(crate) fn finish(mut self) -> Result<()> {
        for (series, ticks) in std::mem::take(&mut self.heads) {
            if !ticks.is_empty() {
                self.put(series, &ticks)?;
            }
        }
        self.write()?;
        self.engine.flush();
        let mark = self.engine.mark();
        let engine = &mut self.engine;
        quiet::wait(|| {
            let progress = engine.poll().map_err(|error| failed(&error))?;
            Ok(progress.flushed_mark == mark && !progress.compacting && !progress.flush_in_flight)
        })?;
        self.engine.close().map(drop).map_err(|error| failed(&error))
    }
}

/// A store that is read.
pub(crate) struct Reader {
    snapshot: Snapshot,
    _engine: Engine,
    _worker: Worker,
}

impl Reader {
    pub(crate) fn open(dir: &Path) -> Result<Reader> {
        let worker =
            Worker::start(2).map_err(|error| BenchError::System("starting threads", error))?;
        let mut engine = Engine::open(dir, options(), &worker).map_err(|error| failed(&error))?;
        Ok(Reader { snapshot: engine.snapshot(), _engine: engine, _worker: worker })
    }

    /// Minimum, maximum, sum and count of one measurand over all rows: every value is decoded.
    pub(crate) fn scan(&self, measurand: Measurand, scratch: &mut Scratch) -> Result<Extent> {
        let mut extent = Extent::default();
        for row in self.snapshot.range(SERIES, &[], None) {
            let (_, bytes) = row.map_err(|error| failed(&error))?;
            let chunk = Chunk::open(&bytes).map_err(|error| damaged(&error))?;
            chunk.load(Columns::of(measurand), scratch).map_err(|error| damaged(&error))?;
            let column = scratch.column(measurand);
            if !column.is_full() {
                return Err(BenchError::Store("tsdb", "a value is missing".into()));
            }
            extent.add(column.values());
        }
        Ok(extent)
    }

    /// The same by what chunks keep of their columns, where they keep it.
    pub(crate) fn summarise(&self, measurand: Measurand, scratch: &mut Scratch) -> Result<Extent> {
        let mut extent = Extent::default();
        let end = Timestamp(u64::MAX);
        for row in self.snapshot.range(SERIES, &[], None) {
            let (_, bytes) = row.map_err(|error| failed(&error))?;
            let chunk = Chunk::open(&bytes).map_err(|error| damaged(&error))?;
            let found = chunk.aggregate(measurand, Timestamp(0), end, scratch);
            if let Some(found) = found.map_err(|error| damaged(&error))? {
                let sum = i64::try_from(found.sum).expect("meters sum up to less");
                extent.merge(Extent { count: found.count, min: found.min, max: found.max, sum });
            }
        }
        Ok(extent)
    }

    /// The newest row of a series.
    fn last_of(&self, series: u64, scratch: &mut Scratch) -> Result<Option<MeterTick>> {
        let Some(row) = self.snapshot.prefix_rev(SERIES, &series.to_be_bytes()).next() else {
            return Ok(None);
        };
        let (_, bytes) = row.map_err(|error| failed(&error))?;
        let chunk = Chunk::open(&bytes).map_err(|error| damaged(&error))?;
        chunk.load(Columns::ALL, scratch).map_err(|error| damaged(&error))?;
        Ok(Some(scratch.tick(chunk.len() - 1)))
    }

    /// Stamps and values of one measurand of a series over a day.
    fn day_of(
        &self,
        series: u64,
        measurand: Measurand,
        scratch: &mut Scratch,
        rows: &mut Vec<(Timestamp, i64)>,
    ) -> Result<()> {
        let (from, to) = (START, Timestamp(START.0 + DAY_US));
        rows.clear();
        let (first, end) = (row_key(series, from), row_key(series, to));
        for row in self.snapshot.range(SERIES, &first, Some(&end)) {
            let (_, bytes) = row.map_err(|error| failed(&error))?;
            let chunk = Chunk::open(&bytes).map_err(|error| damaged(&error))?;
            let columns = Columns::STAMPS.and(Columns::of(measurand));
            chunk.load(columns, scratch).map_err(|error| damaged(&error))?;
            let values = scratch.column(measurand).values().iter().copied();
            let all = scratch.stamps().iter().copied().zip(values);
            rows.extend(all.filter(|(at, _)| (from..to).contains(at)));
        }
        Ok(())
    }
}

/// What a scan finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) count: u64,
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) sum: i64,
}

impl Default for Extent {
    fn default() -> Extent {
        Extent { count: 0, min: i64::MAX, max: i64::MIN, sum: 0 }
    }
}

impl Extent {
    pub(crate) fn add(&mut self, values: &[i64]) {
        let mut piece =
            Extent { count: u64::try_from(values.len()).expect("a count"), ..Extent::default() };
        for &value in values {
            piece.min = piece.min.min(value);
            piece.max = piece.max.max(value);
            piece.sum = piece.sum.wrapping_add(value);
        }
        self.merge(piece);
    }

    fn merge(&mut self, other: Extent) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        // Watt-hours of a fleet: far from the end of 64 bits, and the peers wrap too.
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// What a scan of `measurand` must find.
    pub(crate) fn of(fleet: &Fleet, measurand: Measurand) -> Extent {
        let mut extent = Extent::default();
        for series in &fleet.series {
            let values = series.ticks.iter().filter_map(|tick| tick.values[measurand as usize]);
            extent.add(&values.collect::<Vec<i64>>());
        }
        extent
    }
}

/// Scans each measurand so often after one scan that fills the caches; values a second of one processor.
pub(crate) fn scan_rate(
    fleet: &Fleet,
    rounds: u32,
    mut scan: impl FnMut(Measurand) -> Result<Extent>,
) -> Result<f64> {
    for measurand in MEASURANDS {
        let (found, wanted) = (scan(measurand)?, Extent::of(fleet, measurand));
        if found != wanted {
            let wrong = format!("a scan of {measurand:?} finds {found:?}, not {wanted:?}");
            return Err(BenchError::Store("tsdb", wrong));
        }
    }
    let begun = cpu::of_thread();
    let mut values = 0;
    for _ in 0..rounds {
        for measurand in MEASURANDS {
            values += std::hint::black_box(scan(measurand)?).count;
        }
    }
    Ok(as_f64(values) / (cpu::of_thread() - begun).as_secs_f64())
}

/// Times of single questions.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Asks so often, after a tenth as often to warm up. Nanoseconds in 32 bits: four seconds at most.
fn ask(times: u32, mut question: impl FnMut() -> Result<()>) -> Result<Asked> {
    for _ in 0..times / 10 {
        question()?;
    }
    let begun = cpu::of_thread();
    let mut nanos = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        question()?;
        nanos.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    let cpu_us = (cpu::of_thread() - begun).as_secs_f64() * 1e6 / f64::from(times);
    nanos.sort_unstable();
    let of = |part| f64::from(per_mille(&nanos, part)) / 1e3;
    Ok(Asked { cpu_us, p50_us: of(500), p99_us: of(990) })
}

/// The last value of random ones of many series.
pub(crate) fn ask_last(dir: &Path, numbers: &[u64], times: u32) -> Result<Asked> {
    let reader = Reader::open(dir)?;
    let mut dice = Dice::new(5);
    let mut scratch = Scratch::new();
    let many = u64::try_from(numbers.len()).expect("a count");
    ask(times, || {
        let place = usize::try_from(dice.below(many)).expect("below the length");
        match reader.last_of(numbers[place], &mut scratch)? {
            Some(tick) if tick.values.iter().all(Option::is_some) => Ok(()),
            _ => Err(BenchError::Store("tsdb", "a series has lost its last value".into())),
        }
    })
}

/// A day of random ones of the fleet's series.
pub(crate) fn ask_day(dir: &Path, fleet: &Fleet, times: u32) -> Result<Asked> {
    let reader = Reader::open(dir)?;
    let mut dice = Dice::new(6);
    let mut scratch = Scratch::new();
    let mut rows = Vec::new();
    let many = u64::try_from(fleet.series.len()).expect("a count");
    ask(times, || {
        let place = usize::try_from(dice.below(many)).expect("below the length");
        let series = &fleet.series[place];
        reader.day_of(series.series, Measurand::Power, &mut scratch, &mut rows)?;
        let last =
            series.ticks.last().map(|tick| (tick.at, tick.values[Measurand::Power as usize]));
        let found = rows.last().map(|&(at, value)| (at, Some(value)));
        if rows.len() == series.ticks.len() && found == last {
            return Ok(());
        }
        Err(BenchError::Store("tsdb", format!("a day has {} rows", rows.len())))
    })
}

/// Whole numbers below 2^53, which f64 has exactly.
pub(crate) fn as_f64(whole: u64) -> f64 {
    std::time::Duration::from_secs(whole).as_secs_f64()
}
