//! The store beside fjall and RocksDB: processor time of puts and gets, size, durable puts, latency while it
//! compacts, and opening after a crash.
//!
//! Floors, top first: this file (the order of things and the figures) > `part` (one measurement, in a process of
//! its own) > `store` > `ours` and the peers > `latency`, `workload`.

pub(crate) mod latency;
mod ours;
pub(crate) mod part;
mod picture;
pub(crate) mod store;
pub(crate) mod workload;

use crate::Setting;
use crate::error::{BenchError, During as _, Result};
use crate::figures::Figures;
use crate::files;
use crate::peers::rocksdb;
use latency::Second;
use part::{Part, Task};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use store::Which;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Shape {
    keys: u64,
    gets: u64,
    /// Puts that the log holds when the process is killed: each takes 150 bytes of ours, so a gigabyte.
    log_puts: u64,
    durable_seconds: u64,
    /// Puts before the paced ones, so that compaction has a debt.
    burst: u64,
    pace: u64,
    pace_seconds: u64,
}

impl Shape {
    fn new(setting: &Setting) -> Shape {
        let seconds = |full: u64| setting.scaled(full).max(2);
        Shape {
            keys: setting.scaled(5_000_000),
            gets: setting.scaled(1_000_000),
            log_puts: setting.scaled(6_666_667),
            durable_seconds: seconds(8),
            burst: setting.scaled(1_000_000),
            pace: 40_000,
            pace_seconds: seconds(30),
        }
    }
}

/// Latencies by second, for the picture.
type Curve = (&'static str, Vec<Second>);

/// Measures all stores.
pub(crate) fn run(setting: &Setting) -> Result<Figures> {
    let shape = Shape::new(setting);
    let mut figures = Figures::default();
    let mut curves = Vec::new();
    measure(setting, Which::Novax, "", shape, &mut figures, &mut curves)?;
    if setting.peers {
        #[cfg(feature = "peers")]
        measure(setting, Which::Fjall, "fjall_", shape, &mut figures, &mut curves)?;
        measure_rocksdb(setting, shape, &mut figures)?;
    }
    picture::write(setting, &figures, &curves)?;
    Ok(figures)
}

/// One store, part by part.
fn measure(
    setting: &Setting,
    which: Which,
    prefix: &str,
    shape: Shape,
    figures: &mut Figures,
    curves: &mut Vec<Curve>,
) -> Result<()> {
    let data = files::data_dir(setting.data_in.as_deref())?;
    let dir = data.path().join("puts");
    let task = |part| Task {
        store: which,
        part,
        dir: dir.clone(),
        keys: shape.keys,
        count: 0,
        rate: 0,
        seconds: 0,
        durable: false,
    };
    let mut add = |name: &str, value, unit| figures.add(format!("{prefix}{name}"), value, unit);

    let put = run_part(&Task { count: shape.keys, ..task(Part::Put) })?;
    let (puts, gets) = (count(shape.keys), count(shape.gets));
    add("put_cpu_us", number(&put, "cpu_s")? / puts * 1e6, "us");
    add("put_wall_us", number(&put, "wall_s")? / puts * 1e6, "us");
    add("put_rss_mb", number(&put, "rss_bytes")? / 1e6, "MB");
    add("size_mb", count(files::written_bytes_but_logs(&dir)?) / 1e6, "MB");
    add("disk_mb", count(files::disk_bytes(&dir)?) / 1e6, "MB");

    let get = run_part(&Task { count: shape.gets, ..task(Part::Get) })?;
    check_hits(which.name(), number(&get, "hits")?, gets)?;
    add("get_cpu_us", number(&get, "cpu_s")? / gets * 1e6, "us");
    add("get_wall_us", number(&get, "wall_s")? / gets * 1e6, "us");
    add("get_rss_mb", number(&get, "rss_bytes")? / 1e6, "MB");

    let (count_of, rate, seconds) = (shape.burst, shape.pace, shape.pace_seconds);
    let pace = Task { count: count_of, rate, seconds, ..task(Part::Latency) };
    let (relaxed, relaxed_name) = (run_part(&pace)?, which.relaxed_figure());
    add(relaxed_name, number(&relaxed, "p999_us")? / 1e3, "ms");
    add("put_call_p999_ms", number(&relaxed, "call_p999_us")? / 1e3, "ms");
    curves.push((which.relaxed_label(), latency::seconds_of(&relaxed)));
    if which == Which::Novax {
        let durable = run_part(&Task { durable: true, ..pace })?;
        add("put_p999_ms", number(&durable, "p999_us")? / 1e3, "ms");
        add("put_p50_ms", number(&durable, "p50_us")? / 1e3, "ms");
        add("put_compactions", number(&durable, "compactions")?, "1");
        curves.insert(0, ("Nova-X, durable", latency::seconds_of(&durable)));
    }
    remove(&dir)?;

    let load = run_part(&Task { seconds: shape.durable_seconds, ..task(Part::Durable) })?;
    let puts = number(&load, "puts")?;
    add("durable_puts_per_s", puts / number(&load, "wall_s")?, "1/s");
    add("durable_put_cpu_us", number(&load, "cpu_s")? / puts * 1e6, "us");
    add("durable_put_p999_ms", number(&load, "p999_us")? / 1e3, "ms");
    remove(&dir)?;

    let fill = Task { count: shape.log_puts, ..task(Part::FillLog) };
    crash(&fill)?;
    let recover = run_part(&Task { part: Part::Recover, ..fill })?;
    add("recover_s", number(&recover, "wall_s")?, "s");
    add("recover_cpu_s", number(&recover, "cpu_s")?, "s");
    add("recover_rss_mb", number(&recover, "rss_bytes")? / 1e6, "MB");
    Ok(())
}

/// As [`measure`], by `db_bench`.
fn measure_rocksdb(setting: &Setting, shape: Shape, figures: &mut Figures) -> Result<()> {
    if !rocksdb::is_there() {
        return Err(BenchError::Machine(
            "db_bench is missing: Debian's rocksdb-tools has it".into(),
        ));
    }
    let data = files::data_dir(setting.data_in.as_deref())?;
    let dir = data.path().join("puts");
    let options =
        |more: &[&str]| -> Vec<String> { more.iter().map(|&word| word.to_owned()).collect() };
    let num = format!("--num={}", shape.keys);
    let usual = "--write_buffer_size=67108864";

    eprintln!("bench: rocksdb put");
    let told =
        rocksdb::run(&dir, 42, "fillrandom,flush,waitforcompaction", &options(&[&num, usual]))?;
    let (puts, gets) = (count(shape.keys), count(shape.gets));
    figures.add("rocksdb_put_cpu_us", told.cpu_s / puts * 1e6, "us");
    figures.add("rocksdb_put_wall_us", told.wall_s / puts * 1e6, "us");
    figures.add("rocksdb_size_mb", count(files::written_bytes_but_logs(&dir)?) / 1e6, "MB");
    figures.add("rocksdb_disk_mb", count(files::disk_bytes(&dir)?) / 1e6, "MB");

    eprintln!("bench: rocksdb get");
    let reads = format!("--reads={}", shape.gets);
    let opened = [num.as_str(), usual, "--use_existing_db=1"];
    let told =
        rocksdb::run(&dir, 1234, "readrandom", &options(&[&opened[..], &[&reads]].concat()))?;
    check_hits("rocksdb", told.hits()?, gets)?;
    figures.add("rocksdb_get_cpu_us", told.cpu_s / gets * 1e6, "us");
    figures.add("rocksdb_get_wall_us", told.wall_s / gets * 1e6, "us");

    eprintln!("bench: rocksdb latency");
    let busy = [num.as_str(), "--use_existing_db=1", "--write_buffer_size=8388608"];
    let burst = format!("--writes={}", shape.burst);
    rocksdb::run(&dir, 43, "overwrite", &options(&[&busy[..], &[&burst]].concat()))?;
    let pace = format!("--benchmark_write_rate_limit={}", shape.pace * 116);
    let seconds = format!("--duration={}", shape.pace_seconds);
    let paced = [&busy[..], &[&pace, &seconds, "--histogram=1"]].concat();
    let told = rocksdb::run(&dir, 44, "overwrite", &options(&paced))?;
    figures.add("rocksdb_put_p999_ms", told.percentile_us("P99.9")? / 1e3, "ms");
    remove(&dir)?;

    rocksdb_durable(&dir, shape, figures)?;
    rocksdb_recover(&dir, shape, figures)
}

/// Durable puts from more and more threads; the best of them is the figure.
fn rocksdb_durable(dir: &Path, shape: Shape, figures: &mut Figures) -> Result<()> {
    let mut best = (0.0, 0.0);
    for threads in [1, 8, 32, 256] {
        eprintln!("bench: rocksdb durable, {threads} threads");
        let mut options = vec![format!("--num={}", shape.keys), format!("--threads={threads}")];
        options.push(format!("--duration={}", shape.durable_seconds));
        options.extend(["--sync=1".into(), "--write_buffer_size=67108864".into()]);
        let told = rocksdb::run(dir, 45, "fillrandom", &options)?;
        let rate = told.ops_per_s("fillrandom")?;
        figures.add(format!("rocksdb_durable_puts_per_s_{threads}_threads"), rate, "1/s");
        if rate > best.0 {
            best = (rate, told.cpu_s / (rate * told.wall_s) * 1e6);
        }
        remove(dir)?;
    }
    figures.add("rocksdb_durable_puts_per_s", best.0, "1/s");
    figures.add("rocksdb_durable_put_cpu_us", best.1, "us");
    Ok(())
}

/// Its log outlives a clean exit too, so it need not be killed.
fn rocksdb_recover(dir: &Path, shape: Shape, figures: &mut Figures) -> Result<()> {
    eprintln!("bench: rocksdb recover");
    let num = format!("--num={}", shape.log_puts);
    let large = [num.clone(), "--write_buffer_size=6442450944".into()];
    rocksdb::run(dir, 46, "filluniquerandom", &large)?;
    let usual = [
        "--use_existing_db=1".into(),
        num,
        "--write_buffer_size=67108864".into(),
        "--reads=1".into(),
    ];
    let told = rocksdb::run(dir, 47, "readrandom", &usual)?;
    figures.add("rocksdb_recover_s", told.wall_s, "s");
    figures.add("rocksdb_recover_cpu_s", told.cpu_s, "s");
    Ok(())
}

/// Keys are drawn with replacement, so 1 - 1/e of them are there.
fn check_hits(store: &'static str, hits: f64, gets: f64) -> Result<()> {
    let share = hits / gets;
    if (0.60..0.67).contains(&share) {
        return Ok(());
    }
    Err(BenchError::Store(store, format!("{hits} of {gets} gets hit: it has lost or made up keys")))
}

/// Runs a part in a process of its own and returns what it found.
fn run_part(task: &Task) -> Result<Value> {
    let mut child = spawn_part(task)?;
    let told = read_line(&mut child);
    let status = child.wait().during("waiting for a part")?;
    let name = format!("{} {}", task.store.name(), task.part.name());
    match told? {
        Some(found) if status.success() => Ok(found),
        _ => Err(BenchError::Part(name, status.to_string())),
    }
}

/// Runs a part until it has said its line, then kills it.
fn crash(task: &Task) -> Result<()> {
    let mut child = spawn_part(task)?;
    let told = read_line(&mut child);
    child.kill().during("killing a part")?;
    child.wait().during("waiting for a part")?;
    match told? {
        Some(_) => Ok(()),
        None => Err(BenchError::Part(task.part.name().into(), "it ended by itself".into())),
    }
}

fn spawn_part(task: &Task) -> Result<Child> {
    eprintln!("bench: {} {}", task.store.name(), task.part.name());
    let binary = std::env::current_exe().during("finding this binary")?;
    let mut command = Command::new(binary);
    command.args(["part", "--store", task.store.name(), "--part", task.part.name(), "--dir"]);
    command.arg(&task.dir);
    for (flag, value) in [
        ("--keys", task.keys),
        ("--count", task.count),
        ("--rate", task.rate),
        ("--seconds", task.seconds),
    ] {
        command.args([flag, &value.to_string()]);
    }
    if task.durable {
        command.arg("--durable");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().during("starting a part")
}

/// The line of JSON that a part says; none when it ends without one.
fn read_line(child: &mut Child) -> Result<Option<Value>> {
    let out = child.stdout.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).during("listening to a part")?;
    Ok(serde_json::from_str(&line).ok())
}

/// What a part found under a name.
fn number(found: &Value, name: &str) -> Result<f64> {
    let value = found.get(name).and_then(Value::as_f64);
    value.ok_or_else(|| BenchError::Answer(format!("a part does not tell {name}")))
}

/// Whole numbers below 2^53, which f64 has exactly.
fn count(whole: u64) -> f64 {
    Duration::from_secs(whole).as_secs_f64()
}

fn remove(dir: &Path) -> Result<()> {
    std::fs::remove_dir_all(dir).during("removing data that was measured")
}
