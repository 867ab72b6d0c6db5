//! `sim`: runs simulated worlds by their seeds.

use clap::Parser;
use novax_model::Duration;
use novax_sim::plan::Plan;
use novax_sim::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// Runs simulated worlds: a hub, its disks, stations and a payment provider in one thread, from one seed.
#[derive(Debug, Parser)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, one after another.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Simulated seconds with faults; without it the seed decides.
    #[arg(long)]
    seconds: Option<u64>,
    /// Stations; without it the seed decides.
    #[arg(long)]
    stations: Option<usize>,
    /// Nodes of the hub.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// Runs each seed twice and compares: the same seed is the same run.
    #[arg(long)]
    twice: bool,
    /// Stops at the first seed that fails.
    #[arg(long)]
    first: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    println!("commit {}", commit());
    let begun = Instant::now();
    let (mut simulated_s, mut failed) = (0, 0_u64);
    for seed in args.seed..args.seed.saturating_add(args.count) {
        match run(&args, seed) {
            Ok(seconds) => simulated_s += seconds,
            Err(text) => {
                failed += 1;
                println!("seed {seed} FAILED: {text}");
                if args.first {
                    break;
                }
            }
        }
    }
    let took = begun.elapsed().as_secs_f64().max(0.001);
    let count = args.count;
    println!("{count} seeds, {failed} failed, {simulated_s} simulated s in {took:.1} s");
    if let Some(cpu_ms) = cpu_ms() {
        // In hundredths: s / 3,600 over ms / 60,000.
        let hours_per_minute = simulated_s * 5_000 / 3 / cpu_ms.max(1);
        let (whole, hundredths) = (hours_per_minute / 100, hours_per_minute % 100);
        println!("{cpu_ms} ms of CPU: {whole}.{hundredths:02} simulated hours per CPU-minute");
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(args: &Args, seed: u64) -> Result<u64, String> {
    let (seconds, digest) = run_once(args, seed)?;
    if args.twice {
        let (_, again) = run_once(args, seed)?;
        if again != digest {
            return Err(format!("the same seed made two runs: {digest:x} and {again:x}"));
        }
    }
    Ok(seconds)
}

fn run_once(args: &Args, seed: u64) -> Result<(u64, u64), String> {
    let mut plan = Plan::of(seed);
    if let Some(seconds) = args.seconds {
        plan.duration = Duration::from_secs(seconds);
    }
    plan.nodes = args.nodes;
    if let Some(stations) = args.stations {
        plan.stations = stations;
    }
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(plan);
        world.run().map(|counts| (counts, world.digest()))
    }));
    match ran {
        Ok(Ok((counts, digest))) => {
            println!("seed {seed}: {counts:?}, digest {digest:016x}");
            Ok((counts.seconds, digest))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_panic) => Err("it panicked, see above".to_owned()),
    }
}

/// What this thread has used of a core, in ms; all of a world is in this thread.
fn cpu_ms() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let on_cpu_ns: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(on_cpu_ns / 1_000_000)
}

/// The commit that is checked out, so that a seed can be run on the same code again.
fn commit() -> String {
    let git = std::process::Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let text = git.ok().filter(|output| output.status.success());
    let text = text.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|| "unknown".to_owned())
}
