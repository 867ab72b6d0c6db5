//! `cargo xtask jepsen`: the crash test, with a seed to repeat it and the evidence to look into.
//!
//! Exit codes: 0 passed, 1 failed, 2 broken (nothing can be said).

use clap::Parser;
use novax_jepsen::crash::{self, Plan, Verdict};
use std::process::ExitCode;

/// Kills a node under load, restarts it, and checks every promise it made.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often to kill.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// Which plan; another one each time when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How many stations.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=999))]
    chargers: u32,
}

fn main() -> ExitCode {
    let Arguments { kills, seed, chargers } = Arguments::parse();
    let seed = seed.unwrap_or_else(novax_jepsen::station::now_ms);
    let ran = crash::evidence_folder().and_then(|evidence| {
        println!("seed {seed}, evidence in {}", evidence.display());
        crash::run(&Plan { kills, seed, chargers, evidence, forget: false })
    });
    let report = match ran {
        Ok(report) => report,
        Err(error) => {
            eprintln!("broken: {error}");
            return ExitCode::from(2);
        }
    };
    println!("{:?}", report.counts);
    match report.verdict {
        Verdict::Passed => {
            println!("passed");
            ExitCode::SUCCESS
        }
        Verdict::Failed { findings } => {
            for finding in &findings {
                println!("{finding}");
            }
            println!("failed: {} findings", findings.len());
            ExitCode::from(1)
        }
        Verdict::Broken { reason } => {
            println!("broken: {reason}");
            ExitCode::from(2)
        }
    }
}
