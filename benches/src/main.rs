//! `novax-benches <name>`: prints `figure <name> <value> <unit>` lines on stdout; how it goes is told on stderr.
//! `start-charge` and `connections` start a node of their own on fresh data and load it over real sockets; `engine`,
//! `tsdb` and `ledger` set the store, the series and the books beside their peers, `runtime` the ring.
//!
//! Floors, top first: `replication`, `telemetry`, `soak` > `start_charge`, `connections` > `provision` > `station` (one
//! socket) and `http` > `node` (the process); `runtime`, `peers::ocpp` > `start_charge`, `server`; `engine`, `tsdb`,
//! `ledger` > `peers` > `chart`, `quiet`; all > `cpu`, `files`, `error`, `figures`.
//! No figure is printed unless every answer was as it must be.

mod chart;
mod connections;
mod cpu;
mod engine;
mod error;
mod figures;
mod files;
mod http;
mod ledger;
mod node;
mod peers;
mod provision;
mod quiet;
mod replication;
mod runtime;
mod server;
mod soak;
mod start_charge;
mod station;
mod telemetry;
mod tsdb;

use clap::{Parser, Subcommand};
use error::{BenchError, During as _};
use figures::Figures;
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
        /// A Python that has the package `ocpp`: measures a central system on it too.
        #[arg(long, value_name = "FILE")]
        python: Option<PathBuf>,
    },
    /// Open sockets of booted stations: what each takes of the node's memory, and what a heartbeat costs.
    Connections {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        shape: connections::Shape,
    },
    /// A part of the stations of `connections`, which starts it.
    #[command(hide = true)]
    Stations(connections::stations::Task),
    /// Meter values: what each costs, and what a flood of them does to starts.
    Telemetry {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        shape: telemetry::Shape,
    },
    /// Half load for half an hour while stations come and go: does memory stand still?
    Soak {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        shape: soak::Shape,
    },
    /// Three nodes: card starts a second, beside etcd; how long nothing goes when one of them fails.
    Replication {
        #[command(flatten)]
        common: Common,
        /// Stations, spread over the nodes.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(300..=5_000))]
        chargers: u32,
        /// Connectors of each, started one after the other.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=64))]
        connectors: u16,
        /// Timed seconds at least.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Measures etcd too.
        #[arg(long)]
        peers: bool,
        /// Where the table of figures goes; nowhere by default.
        #[arg(long, value_name = "DIR")]
        charts: Option<PathBuf>,
    },
    /// The store: processor time of puts and gets, size, durable puts, latency, opening after a crash.
    Engine(Setting),
    /// The series: bytes a sample, samples a processor second in and out.
    Tsdb(Setting),
    /// The ledger: in memory, durable, and beside PostgreSQL; rating, splitting and proofs.
    Ledger(Setting),
    /// What a message costs an echo server on the node's ring, and on other runtimes.
    Runtime(runtime::Shape),
    /// The echo server on the node's ring, which `runtime` starts.
    #[command(hide = true)]
    Echo,
    /// One measurement of `engine`, which runs each in a process of its own.
    #[command(hide = true)]
    Part(engine::part::Task),
}

/// How much is measured, with whom, and where.
#[derive(Debug, clap::Args)]
struct Setting {
    /// Part of the full size: 0.02 for a look whether all runs.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Measures the peers too.
    #[arg(long)]
    peers: bool,
    /// A Python that has the package `chdb`.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Where charts and tables of the figures go; nowhere by default.
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
    /// Where data are written, and removed again. By default beside this binary.
    #[arg(long, value_name = "DIR")]
    data_in: Option<PathBuf>,
}

impl Setting {
    /// So much of a full count, and at least one.
    fn scaled(&self, full: u64) -> u64 {
        let of_a_million = (self.scale.clamp(0.0, 100.0) * 1e6).round();
        let of_a_million = std::time::Duration::from_secs_f64(of_a_million).as_secs();
        (full * of_a_million / 1_000_000).max(1)
    }

    fn write_chart(&self, name: &str, content: &str) -> error::Result<()> {
        let Some(charts) = &self.charts else { return Ok(()) };
        std::fs::create_dir_all(charts).during("making the folder of charts")?;
        std::fs::write(charts.join(name), content).during("writing a chart")
    }

    fn check(&self) -> error::Result<()> {
        if self.peers && !cfg!(feature = "peers") {
            let how = "built without peers: build with --features peers";
            return Err(BenchError::Machine(how.into()));
        }
        Ok(())
    }
}

#[derive(Debug, Clone, clap::Args)]
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

/// As in the node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse().bench) {
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

fn run(bench: Bench) -> error::Result<Figures> {
    match bench {
        Bench::StartCharge { common, chargers, connectors, seconds, python } => {
            let shape = start_charge::Shape { chargers, connectors, seconds };
            let mut figures = start_charge::run(&common, shape)?;
            if let Some(python) = python {
                peers::ocpp::measure(&python, &mut figures)?;
            }
            Ok(figures)
        }
        Bench::Connections { common, shape } => connections::run(&common, &shape),
        Bench::Telemetry { common, shape } => telemetry::run(&common, &shape),
        Bench::Soak { common, shape } => soak::run(&common, &shape),
        Bench::Stations(task) => connections::stations::serve(task).map(|()| Figures::default()),
        Bench::Replication { common, chargers, connectors, seconds, peers, charts } => {
            let shape = start_charge::Shape { chargers, connectors, seconds };
            let figures = replication::run(&common, shape, peers)?;
            if let Some(charts) = charts {
                replication::write(&charts, &figures)?;
            }
            Ok(figures)
        }
        Bench::Engine(setting) => setting.check().and_then(|()| engine::run(&setting)),
        Bench::Tsdb(setting) => setting.check().and_then(|()| tsdb::run(&setting)),
        Bench::Ledger(setting) => ledger::run(&setting),
        Bench::Runtime(shape) => runtime::run(&shape),
        Bench::Echo => runtime::echo::serve().map(|()| Figures::default()),
        Bench::Part(task) => engine::part::run(&task).map(|()| Figures::default()),
    }
}
