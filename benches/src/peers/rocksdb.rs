//! RocksDB, by Debian's `db_bench`, as a process of its own.
//!
//! That build has its assertions on, and says so itself: its processor time is an upper bound for RocksDB.

use crate::cpu;
use crate::error::{BenchError, During as _, Result};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What a run of `db_bench` told, and took.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) cpu_s: f64,
    pub(crate) wall_s: f64,
    text: String,
}

/// What is the same in all runs: the project's own sizes, and RocksDB's for all else.
const COMMON: [&str; 5] = [
    "--key_size=16",
    "--value_size=100",
    "--compression_type=lz4",
    "--bloom_bits=10",
    "--cache_size=1073741824",
];

/// Whether `db_bench` is installed.
pub(crate) fn is_there() -> bool {
    Command::new("db_bench").arg("--version").output().is_ok()
}

/// Runs benchmarks of `db_bench` in a folder. Each run wants a seed of its own: with the seed of the puts, gets
/// would ask for what was put first, and all hit.
pub(crate) fn run(dir: &Path, seed: u32, benchmarks: &str, options: &[String]) -> Result<Told> {
    let before = cpu::of_ended_children()?;
    let begun = Instant::now();
    let mut command = Command::new("db_bench");
    command.arg(format!("--benchmarks={benchmarks}")).arg(format!("--db={}", dir.display()));
    command.arg(format!("--seed={seed}")).args(COMMON).args(options).stdin(Stdio::null());
    let output = command.output().during("running db_bench")?;
    let wall_s = begun.elapsed().as_secs_f64();
    let cpu_s = (cpu::of_ended_children()? - before).as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let said = format!("db_bench ended with {}: {}", output.status, why.trim());
        return Err(BenchError::Store("rocksdb", said));
    }
    Ok(Told { cpu_s, wall_s, text })
}

impl Told {
    /// Operations a second of a benchmark.
    pub(crate) fn ops_per_s(&self, benchmark: &str) -> Result<f64> {
        number_before(&self.line(benchmark)?, "ops/sec").ok_or_else(|| unclear(&self.text))
    }

    /// Hits of `readrandom`: "(632 of 1000 found)".
    pub(crate) fn hits(&self) -> Result<f64> {
        let line = self.line("readrandom")?;
        let hits =
            line.split_once('(').and_then(|(_, rest)| rest.trim().split(' ').next()?.parse().ok());
        hits.ok_or_else(|| unclear(&self.text))
    }

    /// A percentile of the histogram, in microseconds.
    pub(crate) fn percentile_us(&self, name: &str) -> Result<f64> {
        let line = self.text.lines().find(|line| line.starts_with("Percentiles:"));
        let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        let name = format!("{name}:");
        let found =
            words.windows(2).find(|pair| pair[0] == name).and_then(|pair| pair[1].parse().ok());
        found.ok_or_else(|| unclear(&self.text))
    }

    fn line(&self, benchmark: &str) -> Result<String> {
        let named = |line: &&str| line.split_whitespace().next() == Some(benchmark);
        let line = self.text.lines().filter(named).find(|line| line.contains("micros/op"));
        line.map(str::to_owned).ok_or_else(|| unclear(&self.text))
    }
}

fn number_before(line: &str, word: &str) -> Option<f64> {
    line.split_once(word)?.0.split_whitespace().next_back()?.parse().ok()
}

fn unclear(text: &str) -> BenchError {
    BenchError::Store("rocksdb", format!("db_bench says something unknown:\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_what_db_bench_prints() {
        let text = "\
fillrandom   :      21.075 micros/op 47449 ops/sec 2.108 seconds 100000 operations;    5.2 MB/s
Percentiles: P50: 4.70 P75: 5.87 P99: 14.64 P99.9: 3876.74 P99.99: 28285.71
readrandom   :       7.479 micros/op 133700 ops/sec 7.5 seconds 1000000 operations; 9.3 MB/s (632345 of 1000000 found)
";
        let told = Told { cpu_s: 0.0, wall_s: 0.0, text: text.into() };
        assert_eq!(told.ops_per_s("fillrandom").expect("it is there"), 47_449.0);
        assert_eq!(told.percentile_us("P99.9").expect("it is there"), 3_876.74);
        assert_eq!(told.hits().expect("it is there"), 632_345.0);
        assert!(told.ops_per_s("fillsync").is_err());
    }
}
