//! One part of the benchmark, in a process of its own, so that its processor time and memory are its own.
//!
//! A part prints one line of JSON. Nothing is printed unless every put and get did what it must.

use super::latency::{Latencies, Pace, summary};
use super::store::{KeyValue, Sizing, Which, open};
use super::workload::{Dice, Values, key};
use crate::cpu::{self, Stretch};
use crate::error::{BenchError, During as _, Result};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const SEED_OF_KEYS: u64 = 42;
const SEED_OF_VALUES: u64 = 301;
const SEED_OF_READS: u64 = 1_234;

/// What to do in which store.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Task {
    #[arg(long)]
    pub(crate) store: Which,
    #[arg(long)]
    pub(crate) part: Part,
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Keys are drawn from so many numbers.
    #[arg(long)]
    pub(crate) keys: u64,
    /// Puts or gets.
    #[arg(long, default_value_t = 0)]
    pub(crate) count: u64,
    /// Puts a second, where they are paced.
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u64,
    #[arg(long, default_value_t = 0)]
    pub(crate) seconds: u64,
    /// Paced puts are acknowledged when they are durable.
    #[arg(long)]
    pub(crate) durable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Random puts as fast as they go, then flush and compact until nothing is due.
    Put,
    /// Random gets in a store that was just opened.
    Get,
    /// Durable puts from many clients.
    Durable,
    /// Paced puts while everything is compacted.
    Latency,
    /// Fills the log, says so, and waits to be killed.
    FillLog,
    /// Opens what `fill-log` left.
    Recover,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Put => "put",
            Part::Get => "get",
            Part::Durable => "durable",
            Part::Latency => "latency",
            Part::FillLog => "fill-log",
            Part::Recover => "recover",
        }
    }
}

/// Runs a part in this process and prints what it found.
pub(crate) fn run(task: &Task) -> Result<()> {
    let mut found = match task.part {
        Part::Put => put(task)?,
        Part::Get => get(task)?,
        Part::Durable => durable(task)?,
        Part::Latency => latency(task)?,
        Part::FillLog => return fill_log(task),
        Part::Recover => recover(task)?,
    };
    found["rss_bytes"] = json!(cpu::peak_resident_bytes(std::process::id())?);
    println!("{found}");
    Ok(())
}

fn put(task: &Task) -> Result<Value> {
    let stretch = Stretch::begin();
    let mut store = open(task.store, &task.dir, Sizing::USUAL)?;
    let mut dice = Dice::new(SEED_OF_KEYS);
    let mut values = Values::new(SEED_OF_VALUES);
    for _ in 0..task.count {
        store.put(&key(dice.below(task.keys)), values.next())?;
    }
    let (loop_cpu_s, loop_wall_s) = (stretch.cpu_s(), stretch.wall_s());
    store.settle()?;
    store.close()?;
    Ok(json!({
        "cpu_s": stretch.cpu_s(), "wall_s": stretch.wall_s(),
        "loop_cpu_s": loop_cpu_s, "loop_wall_s": loop_wall_s,
    }))
}

fn get(task: &Task) -> Result<Value> {
    let stretch = Stretch::begin();
    let mut store = open(task.store, &task.dir, Sizing::USUAL)?;
    let mut dice = Dice::new(SEED_OF_READS);
    let mut hits = 0_u64;
    for _ in 0..task.count {
        hits += u64::from(store.get(&key(dice.below(task.keys)))?);
    }
    let (cpu_s, wall_s) = (stretch.cpu_s(), stretch.wall_s());
    store.close()?;
    Ok(json!({ "cpu_s": cpu_s, "wall_s": wall_s, "hits": hits }))
}

fn durable(task: &Task) -> Result<Value> {
    let mut store = open(task.store, &task.dir, Sizing::USUAL)?;
    let stretch = Stretch::begin();
    let mut load = store.durable_load(task.keys, Duration::from_secs(task.seconds))?;
    let (cpu_s, wall_s) = (stretch.cpu_s(), stretch.wall_s());
    store.close()?;
    let all = summary(&mut load.latencies_us);
    let all = all.ok_or_else(|| BenchError::Store(task.store.name(), "no durable put".into()))?;
    Ok(json!({
        "cpu_s": cpu_s, "wall_s": wall_s, "puts": load.puts, "clients": load.clients,
        "p50_us": all.p50_us, "p999_us": all.p999_us,
    }))
}

/// Puts at a steady rate, while what a burst of puts before them left is compacted, and memtables so small
/// that compaction never ends.
fn latency(task: &Task) -> Result<Value> {
    let mut store = open(task.store, &task.dir, Sizing::BUSY)?;
    let mut dice = Dice::new(SEED_OF_KEYS + 1);
    let mut values = Values::new(SEED_OF_VALUES);
    for _ in 0..task.count {
        store.put(&key(dice.below(task.keys)), values.next())?;
    }
    let before = store.compactions()?;
    let stretch = Stretch::begin();
    let pace = Pace { rate: task.rate, seconds: task.seconds, keys: task.keys };
    let (latencies, calls) = match task.durable {
        true => (store.paced_durable(&pace)?, None),
        false => paced(store.as_mut(), &pace).map(|(late, calls)| (late, Some(calls)))?,
    };
    let (cpu_s, wall_s) = (stretch.cpu_s(), stretch.wall_s());
    let compactions = store.compactions()? - before;
    store.close()?;
    let mut found = latencies.to_json();
    found["cpu_s"] = json!(cpu_s);
    found["wall_s"] = json!(wall_s);
    found["compactions"] = json!(compactions);
    if let Some(calls) = calls {
        found["call_p999_us"] = calls.to_json()["p999_us"].take();
    }
    Ok(found)
}

/// Puts without waiting for the disk, at a steady rate: how late each was done, and how long its call took.
fn paced(store: &mut dyn KeyValue, pace: &Pace) -> Result<(Latencies, Latencies)> {
    let mut dice = Dice::new(SEED_OF_KEYS + 2);
    let mut values = Values::new(SEED_OF_VALUES);
    let (mut latencies, mut calls) = (Latencies::default(), Latencies::default());
    let begun = Instant::now();
    for n in 0..pace.count() {
        pace.wait(n, begun);
        let called = Instant::now();
        store.put(&key(dice.below(pace.keys)), values.next())?;
        calls.add(0, u32::try_from(called.elapsed().as_micros()).unwrap_or(u32::MAX));
        pace.note(n, begun, &mut latencies);
    }
    Ok((latencies, calls))
}

/// Fills the log in an order that `recover` knows.
fn fill_log(task: &Task) -> Result<()> {
    let mut store = open(task.store, &task.dir, Sizing::UNFLUSHED)?;
    let mut values = Values::new(SEED_OF_VALUES);
    for number in 0..task.count {
        store.put(&key(scattered(number)), values.next())?;
    }
    store.sync()?;
    println!("{}", json!({ "durable": task.count }));
    std::io::stdout().flush().during("telling that the log is full")?;
    // The parent kills this process; only if the parent is gone does it end by itself.
    let parent = std::os::unix::process::parent_id();
    while std::os::unix::process::parent_id() == parent {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn recover(task: &Task) -> Result<Value> {
    let stretch = Stretch::begin();
    let mut store = open(task.store, &task.dir, Sizing::USUAL)?;
    let (cpu_s, wall_s) = (stretch.cpu_s(), stretch.wall_s());
    check_recovered(store.as_mut(), task)?;
    store.close()?;
    Ok(json!({ "cpu_s": cpu_s, "wall_s": wall_s }))
}

/// Every put was acknowledged as durable: all must be there. One in a hundred is asked for, the last too.
fn check_recovered(store: &mut dyn KeyValue, task: &Task) -> Result<()> {
    let asked = (0..task.count).step_by(101).chain(task.count.checked_sub(1));
    for number in asked {
        if !store.get(&key(scattered(number)))? {
            let lost = format!("put {number} of {} was durable and is lost", task.count);
            return Err(BenchError::Store(task.store.name(), lost));
        }
    }
    if store.get(&key(scattered(task.count)))? {
        return Err(BenchError::Store(task.store.name(), "it has what was never written".into()));
    }
    Ok(())
}

/// Distinct numbers in no order: multiplying by an odd number loses nothing.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
