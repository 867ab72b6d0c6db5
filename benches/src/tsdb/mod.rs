//! The series beside VictoriaMetrics and ClickHouse: bytes a sample, samples a processor second in and out.
//!
//! Floors, top first: this file (the order of things and the figures) > `hot`, `cold`, the peers > `blocklog`
//! > `fleet` (the rows that all get).

mod blocklog;
mod cold;
pub(crate) mod fleet;
mod hot;
mod picture;

use crate::Setting;
use crate::error::{BenchError, During as _, Result};
use crate::figures::Figures;
use crate::files;
use crate::peers::{clickhouse, victoria};
use fleet::{DAY_US, Fleet, START, TICKS_A_DAY};
use hot::as_f64;
use novax_model::Measurand;
use novax_tsdb::Scratch;
use novax_tsdb::generate::{Config, Generator};
use serde_json::Value;
use std::path::Path;

const CONNECTORS: u64 = 1_667;
const TICKS: u32 = 1_000;
/// Series of which last values are asked.
const MANY_SERIES: u64 = 1_000_000;
const DAY_SERIES: u64 = 64;
/// Scans of each measurand.
const ROUNDS: u32 = 5;
const QUESTIONS: u32 = 100_000;
const DAY_QUESTIONS: u32 = 2_000;

/// Measures all tiers and systems, at the size of the figures and at ten times that.
pub(crate) fn run(setting: &Setting) -> Result<Figures> {
    let mut figures = Figures::default();
    for (times, suffix) in [(1, ""), (10, "_10x")] {
        let connectors = u32::try_from(setting.scaled(CONNECTORS) * times).expect("a fleet");
        eprintln!("bench: generating {connectors} series of {TICKS} ticks");
        let fleet = Fleet::new(connectors, TICKS);
        ours(setting, &fleet, suffix, &mut figures)?;
        if setting.peers {
            peers(setting, &fleet, suffix, &mut figures)?;
        }
    }
    last_of_many(setting, &mut figures)?;
    a_day(setting, &mut figures)?;
    picture::write(setting, &figures)?;
    Ok(figures)
}

fn ours(setting: &Setting, fleet: &Fleet, suffix: &str, figures: &mut Figures) -> Result<()> {
    let mut add = |name: &str, value, unit| figures.add(format!("{name}{suffix}"), value, unit);
    let data = files::data_dir(setting.data_in.as_deref())?;
    let samples = as_f64(fleet.samples());

    eprintln!("bench: novax ingest");
    let done = hot::ingest(data.path(), fleet)?;
    add("ingest_samples_per_cpu_s", samples / done.log_cpu_s, "1/s");
    add("ingest_to_tables_samples_per_cpu_s", samples / done.cpu_s, "1/s");
    add("ingest_wall_s", done.wall_s, "s");
    add("log_bytes_per_sample", as_f64(done.log_bytes) / samples, "B");
    let store = data.path().join("store");
    add("hot_bytes_per_sample", as_f64(files::written_bytes(&store)?) / samples, "B");

    eprintln!("bench: novax scan");
    let reader = hot::Reader::open(&store)?;
    let mut scratch = Scratch::new();
    let rate = hot::scan_rate(fleet, ROUNDS, |measurand| reader.scan(measurand, &mut scratch))?;
    add("scan_hot_samples_per_s", rate, "1/s");
    let rate =
        hot::scan_rate(fleet, ROUNDS, |measurand| reader.summarise(measurand, &mut scratch))?;
    add("summarise_hot_samples_per_s", rate, "1/s");
    drop(reader);

    eprintln!("bench: novax cold");
    let file = data.path().join("day.nvc");
    let begun = crate::cpu::of_thread();
    let bytes = cold::write(&file, fleet)?;
    let cpu_s = (crate::cpu::of_thread() - begun).as_secs_f64();
    add("cold_bytes_per_sample", as_f64(bytes) / samples, "B");
    add("cold_write_samples_per_cpu_s", samples / cpu_s, "1/s");
    let mut cold = cold::Cold::open(&file)?;
    let rate = hot::scan_rate(fleet, ROUNDS, |measurand| cold.scan(measurand))?;
    add("scan_cold_samples_per_s", rate, "1/s");
    Ok(())
}

fn peers(setting: &Setting, fleet: &Fleet, suffix: &str, figures: &mut Figures) -> Result<()> {
    let mut add = |name: &str, value, unit| figures.add(format!("{name}{suffix}"), value, unit);
    let data = files::data_dir(setting.data_in.as_deref())?;
    let samples = as_f64(fleet.samples());
    let of_one_column = samples / 6.0;
    let power = hot::Extent::of(fleet, Measurand::Power);

    eprintln!("bench: clickhouse");
    let told = load_clickhouse(setting, data.path(), fleet, "fleet")?;
    if number(&told, "sum_of_power")? != whole(power.sum) || number(&told, "rows")? != of_one_column
    {
        return Err(BenchError::Store("clickhouse", format!("it has other rows: {told}")));
    }
    add("clickhouse_bytes_per_sample", number(&told, "bytes")? / samples, "B");
    add("clickhouse_zstd9_bytes_per_sample", number(&told, "dense_bytes")? / samples, "B");
    add("clickhouse_ingest_samples_per_cpu_s", samples / number(&told, "load_cpu_s")?, "1/s");
    add("clickhouse_scan_samples_per_s", of_one_column * 1e6 / number(&told, "scan_us")?, "1/s");
    add("clickhouse_last_value_us", number(&told, "last_us")?, "us");

    eprintln!("bench: victoria");
    let dir = data.path().join("victoria");
    let server = start_victoria(&dir)?;
    let cpu_s = server.ingest(fleet.arrivals())?;
    add("victoria_ingest_samples_per_cpu_s", samples / cpu_s, "1/s");
    let end_s = START.0 / 1_000_000 + u64::from(TICKS) * 5 + 5;
    let sum = format!("sum(sum_over_time(meter_power[{}s]))", TICKS * 5 + 6);
    let answer = server.query(&sum, end_s)?;
    if sum_in(&answer) != Some(whole(power.sum)) {
        return Err(BenchError::Store("victoria", format!("it has other rows: {answer}")));
    }
    let scan_us = server.cost_us(20, |_| server.query(&sum, end_s).map(drop))?;
    add("victoria_scan_samples_per_s", of_one_column * 1e6 / scan_us, "1/s");
    let last_us = server.cost_us(500, |n| {
        let place = usize::try_from(n).expect("small") * 7_919 % fleet.series.len();
        let series = fleet.series[place].series;
        server
            .query(&format!("last_over_time(meter_power{{cp=\"{series}\"}}[60s])"), end_s)
            .map(drop)
    })?;
    add("victoria_last_value_us", last_us, "us");
    add("victoria_rss_mb", as_f64(server.peak_resident_bytes()?) / 1e6, "MB");
    server.stop()?;
    add("victoria_bytes_per_sample", as_f64(files::written_bytes(&dir)?) / samples, "B");
    Ok(())
}

/// The last value of one of a million series.
fn last_of_many(setting: &Setting, figures: &mut Figures) -> Result<()> {
    let connectors = u32::try_from(setting.scaled(MANY_SERIES)).expect("a fleet");
    eprintln!("bench: novax last value of {connectors} series");
    let data = files::data_dir(setting.data_in.as_deref())?;
    let mut store = hot::Hot::create(data.path())?;
    let config = Config { connectors, ticks: 4, start: START, ..Config::default() };
    let mut numbers = Vec::new();
    for series in Generator::new(9, config) {
        store.put(series.series, &series.ticks)?;
        numbers.push(series.series);
    }
    store.finish()?;
    let asked = hot::ask_last(
        data.path(),
        &numbers,
        u32::try_from(setting.scaled(u64::from(QUESTIONS))).expect("few"),
    )?;
    figures.add("last_value_us", asked.cpu_us, "us");
    figures.add("last_value_p50_us", asked.p50_us, "us");
    figures.add("last_value_p99_us", asked.p99_us, "us");
    Ok(())
}

/// One day of one series.
fn a_day(setting: &Setting, figures: &mut Figures) -> Result<()> {
    let connectors = u32::try_from(setting.scaled(DAY_SERIES).max(4)).expect("a fleet");
    eprintln!("bench: a day of {connectors} series");
    let fleet = Fleet::new(connectors, TICKS_A_DAY);
    let data = files::data_dir(setting.data_in.as_deref())?;
    let dir = data.path().join("store");
    let mut store = hot::Hot::create(&dir)?;
    for series in &fleet.series {
        for ticks in series.ticks.chunks(novax_tsdb::CHUNK_TICKS_MAX) {
            store.put(series.series, ticks)?;
        }
    }
    store.finish()?;
    let times = u32::try_from(setting.scaled(u64::from(DAY_QUESTIONS)).max(200)).expect("few");
    let asked = hot::ask_day(&dir, &fleet, times)?;
    figures.add("series_day_us", asked.cpu_us, "us");
    figures.add("series_day_p50_us", asked.p50_us, "us");
    figures.add("series_day_p99_us", asked.p99_us, "us");
    if !setting.peers {
        return Ok(());
    }
    let told = load_clickhouse(setting, data.path(), &fleet, "day")?;
    figures.add("clickhouse_series_day_us", number(&told, "day_us")?, "us");
    let server = start_victoria(&data.path().join("victoria"))?;
    server.ingest(fleet.arrivals())?;
    let day_us = server.cost_us(100, |n| {
        let place = usize::try_from(n).expect("small") % fleet.series.len();
        let series = fleet.series[place].series;
        let told = server.export(&format!("meter_power{{cp=\"{series}\"}}"))?;
        let stamps = told.matches("\"timestamps\":[").count();
        if stamps == 1 { Ok(()) } else { Err(BenchError::Store("victoria", told)) }
    })?;
    figures.add("victoria_series_day_us", day_us, "us");
    server.stop()
}

fn start_victoria(dir: &Path) -> Result<victoria::Victoria> {
    if !victoria::is_there() {
        let missing = "victoria-metrics is missing: Debian's package of that name has it";
        return Err(BenchError::Machine(missing.into()));
    }
    victoria::Victoria::start(dir)
}

fn load_clickhouse(setting: &Setting, dir: &Path, fleet: &Fleet, kind: &str) -> Result<Value> {
    let python = setting.python.as_deref().filter(|python| clickhouse::is_there(python));
    let missing = || BenchError::Machine("--python names no Python that has chdb".into());
    let python = python.ok_or_else(missing)?;
    let rows = dir.join("rows.bin");
    fleet.write_row_binary(&rows)?;
    let told = clickhouse::measure(python, &dir.join("clickhouse"), &rows, kind)?;
    std::fs::remove_file(&rows).during("removing rows that were loaded")?;
    Ok(told)
}

fn number(told: &Value, name: &str) -> Result<f64> {
    let value = told.get(name).and_then(Value::as_f64);
    value.ok_or_else(|| BenchError::Answer(format!("a peer does not tell {name}: {told}")))
}

/// The value of the one series of an answer of VictoriaMetrics.
fn sum_in(answer: &str) -> Option<f64> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    answer.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
}

/// A sum of a fleet's values, which f64 has exactly.
fn whole(sum: i64) -> f64 {
    assert!(sum.unsigned_abs() < 1 << 53, "a sum beyond what f64 counts");
    if sum < 0 { -as_f64(sum.unsigned_abs()) } else { as_f64(sum.unsigned_abs()) }
}

const _: () = assert!(DAY_US == TICKS_A_DAY as u64 * 5_000_000, "a tick each five seconds");
