//! `novax-benches <name>`: starts a node of its own on fresh data, loads it over real sockets, and prints
//! `figure <name> <value> <unit>` lines on stdout; how it goes is told on stderr.
//!
//! Floors, top first: `start_charge`, `connections` > `provision` > `station` (one socket) and `http` >
//! `node` (the process) > `error`, `figures`. No figure is printed unless every answer was as it must be.

mod connections;
mod error;
mod figures;
mod http;
mod node;
mod provision;
mod start_charge;
mod station;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about = "Loads a node and prints figures.")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Card starts of OCPP 1.6J stations: how many a second, how long each takes, what each costs.
    StartCharge {
        #[command(flatten)]
        common: Common,
        /// Stations; each has one call out at a time.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
        chargers: u32,
        /// Connectors of each, started one after the other.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=64))]
        connectors: u16,
        /// Timed seconds at least; stopping between the rounds is not timed.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Open sockets of booted stations: how much memory of the node each takes.
    Connections {
        #[command(flatten)]
        common: Common,
        /// Stations.
        #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..=25_000))]
        chargers: u32,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The binary to load.
    #[arg(long, value_name = "FILE")]
    novax: PathBuf,
    /// Shards of the node. One by default: the load itself takes the other of two cores.
    #[arg(long, default_value_t = 1)]
    shards: u16,
    /// Partitions of the node.
    #[arg(long, default_value_t = 8)]
    partitions: u16,
    /// Where the data directory is made, and removed again. By default beside the binary.
    #[arg(long, value_name = "DIR")]
    data_in: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().bench {
        Bench::StartCharge { common, chargers, connectors, seconds } => {
            start_charge::run(&common, start_charge::Shape { chargers, connectors, seconds })
        }
        Bench::Connections { common, chargers } => connections::run(&common, chargers),
    };
    match result {
        Ok(figures) => {
            print!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("novax-benches: {error}");
            ExitCode::FAILURE
        }
    }
}
