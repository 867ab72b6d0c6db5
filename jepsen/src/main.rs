//! `cargo xtask jepsen`: fault tests against real nodes, with a seed to repeat them and the evidence to look into.
//!
//! Without a workload it is the crash test. Exit codes: 0 passed, 1 failed, 2 broken (nothing can be said).

use clap::Parser;
use novax_jepsen::crash::{self, evidence_folder};
use novax_jepsen::suite::{WORKLOADS, faults, run};
use novax_jepsen::verdict::Verdict;
use std::process::ExitCode;
use std::time::Duration;

/// Breaks nodes under load and checks every promise they made.
#[derive(Debug, Parser)]
struct Arguments {
    /// What clients do: one of those `--list` shows. Without: stations charge, and the node is killed.
    #[arg(long)]
    workload: Option<String>,
    /// What breaks: names from `--list`, parted by commas; `none`, or `all`.
    #[arg(long, requires = "workload", default_value = "kill-one")]
    nemesis: String,
    /// For how many seconds clients call.
    #[arg(long, requires = "workload", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    time: u64,
    /// How many nodes.
    #[arg(long, requires = "workload", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// How many clients call at once.
    #[arg(long, requires = "workload", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=200))]
    clients: u16,
    /// What the fault `upgrade` has nodes go over to, and back from: another release of novax.
    #[arg(long, requires = "workload")]
    upgrade_to: Option<std::path::PathBuf>,
    /// How often the crash test kills.
    #[arg(long, conflicts_with = "workload", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// How many stations the crash test has.
    #[arg(long, conflicts_with = "workload", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=999))]
    chargers: u32,
    /// Which plan; another one each time when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Shows workloads and faults.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        list();
        return ExitCode::SUCCESS;
    }
    let verdict = match &arguments.workload {
        Some(workload) => suite(workload, &arguments),
        None => crash_test(&arguments),
    };
    match verdict {
        Err(error) => {
            eprintln!("broken: {error}");
            ExitCode::from(2)
        }
        Ok(Verdict::Passed) => {
            println!("passed");
            ExitCode::SUCCESS
        }
        Ok(Verdict::Failed { findings }) => {
            for finding in &findings {
                println!("{finding}");
            }
            println!("failed: {} findings", findings.len());
            ExitCode::from(1)
        }
        Ok(Verdict::Broken { reason }) => {
            println!("broken: {reason}");
            ExitCode::from(2)
        }
    }
}

fn list() {
    println!("Workloads:");
    for (name, what) in WORKLOADS {
        println!("  {name:<18} {what}");
    }
    println!("Faults:");
    for (name, _, what) in faults::FAULTS {
        println!("  {name:<18} {what}");
    }
}

fn suite(workload: &str, arguments: &Arguments) -> Result<Verdict, Box<dyn std::error::Error>> {
    if !WORKLOADS.iter().any(|(name, _)| *name == workload) {
        return Err(format!("there is no workload {workload:?}: see --list").into());
    }
    let nemesis = &arguments.nemesis;
    let faults = faults::named(nemesis)
        .ok_or_else(|| format!("there is no fault of that name in {nemesis:?}: see --list"))?;
    let seed = seed(arguments);
    let evidence = evidence_folder()?;
    println!("seed {seed}, evidence in {}", evidence.display());
    let report = run::run(&run::Plan {
        workload: workload.to_owned(),
        faults,
        time: Duration::from_secs(arguments.time),
        nodes: arguments.nodes,
        other: arguments.upgrade_to.clone(),
        lanes: usize::from(arguments.clients),
        seed,
        pace: run::PACE,
        evidence,
    })?;
    println!("{:?}", report.counts);
    for gap in &report.gaps {
        let ms = gap.unavailable_ms.map_or("never again".to_owned(), |ms| format!("{ms} ms"));
        println!("{}: nothing served for {ms}", gap.fault);
    }
    Ok(report.verdict)
}

fn crash_test(arguments: &Arguments) -> Result<Verdict, Box<dyn std::error::Error>> {
    let seed = seed(arguments);
    let evidence = evidence_folder()?;
    println!("seed {seed}, evidence in {}", evidence.display());
    let (kills, chargers) = (arguments.kills, arguments.chargers);
    let report = crash::run(&crash::Plan { kills, seed, chargers, evidence, forget: false })?;
    println!("{:?}", report.counts);
    Ok(report.verdict)
}

fn seed(arguments: &Arguments) -> u64 {
    arguments.seed.unwrap_or_else(novax_jepsen::station::now_ms)
}
