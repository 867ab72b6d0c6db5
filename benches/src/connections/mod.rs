//! What stations cost the node for being connected: memory when they are silent, processor time when they speak.
//!
//! Stations are provisioned first, so the difference in memory is what a socket and a boot add: buffers, the session,
//! and what the rows grow by. Memory of the kernel for the sockets is not the node's and not in it. Then the same
//! number of heartbeats a second comes from a thousand stations, from ten times and from a hundred times as many: what
//! one costs should not depend on it.
//!
//! A ring's table of files has room for the limit of open files; so there are as many shards as that takes.

mod crowd;
pub(crate) mod stations;

use crate::Common;
use crate::error::{BenchError, During as _, Result};
use crate::figures::Figures;
use crate::node::Node;
use crate::provision;
use crate::station::check_open_files;
use crowd::{Crowd, EACH_MAX};
use std::path::{Path, PathBuf};

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct Shape {
    /// Stations.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=150_000))]
    chargers: u32,
    /// Heartbeats a second, of all together.
    #[arg(long, default_value_t = 6_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    beats: u32,
    /// For so many seconds, at each number of stations.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Where the table goes; nowhere by default.
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
}

/// Stations of a shard, with room for those that are only on their way to another.
const SHARD_MAX: u32 = 14_000;

pub(crate) fn run(common: &Common, shape: &Shape) -> Result<Figures> {
    check_open_files(u64::from(EACH_MAX) + 200)?;
    let partitions = u32::from(common.partitions);
    let shards = shape.chargers.div_ceil(SHARD_MAX).next_power_of_two().min(partitions);
    let shards = common.shards.max(u16::try_from(shards).expect("at most the partitions"));
    let common = Common { shards, ..common.clone() };
    let node = Node::start_with(&common, |command| {
        // From one address to one other there are fewer ports than stations: they connect to several.
        command.env("NOVAX__OCPP__LISTEN", "0.0.0.0:0");
        // Fresh rows and blocks of tables are not what a connection takes, and memory that was freed is not in use.
        command.args(["--memtable-bytes", "1MiB", "--cache-bytes", "16MiB"]);
        command.env("MIMALLOC_PURGE_DELAY", "100");
    })?;
    eprintln!("provisioning {} stations, on {shards} shards", shape.chargers);
    provision::stations(&node, shape.chargers)?;
    let mut crowd = Crowd::start(node.ocpp().port(), shape.chargers)?;
    let mut figures = Figures::default();
    let before = node.settle()?;
    eprintln!("{} MiB at rest", before >> 20);
    let mut costs = Vec::new();
    for (name, part) in [("1k", 1_000), ("10k", 10_000), ("100k", 100_000)] {
        let part = if name == "100k" { shape.chargers } else { part.min(shape.chargers) };
        crowd.open(part)?;
        let resident = node.settle()?;
        let live = node.metric("novax_connections")?;
        eprintln!("{} MiB with {live} stations connected", resident >> 20);
        if live != u64::from(part) {
            return Err(BenchError::Answer(format!("{live} of {part} stations stayed connected")));
        }
        if part == shape.chargers {
            figures.add("live_connections", f64::from(part), "1");
            figures.add("idle_connection_bytes", each(resident, before, part), "B");
        }
        let used = node.cpu()?;
        let (answered, worst) = crowd.beat(shape.beats, shape.seconds)?;
        let used = node.cpu()?.saturating_sub(used);
        costs.push(used.as_secs_f64() * 1e6 / f64::from(answered));
        figures.add(format!("heartbeat_{name}_cpu_us"), costs[costs.len() - 1], "us");
        figures.add(format!("heartbeat_{name}_worst_ms"), worst.as_secs_f64() * 1e3, "ms");
        if part == shape.chargers {
            figures.add("live_connection_bytes", each(node.settle()?, before, part), "B");
            break;
        }
    }
    let (least, most) = costs.iter().fold((f64::MAX, 0.0_f64), |(a, b), c| (a.min(*c), b.max(*c)));
    figures.add("flat_cost_ratio", most / least, "1");
    figures.add("connections_shards", f64::from(shards), "1");
    drop(crowd);
    node.stop()?;
    if let Some(charts) = &shape.charts {
        write(charts, &figures)?;
    }
    Ok(figures)
}

/// What each of so many has added.
fn each(after: u64, before: u64, count: u32) -> f64 {
    // Kibibytes, which 32 bits hold.
    let kib = u32::try_from(after.saturating_sub(before) / 1_024).unwrap_or(u32::MAX);
    f64::from(kib) * 1_024.0 / f64::from(count)
}

fn write(folder: &Path, figures: &Figures) -> Result<()> {
    const HEAD: &str = include_str!("connections.md");
    std::fs::create_dir_all(folder).during("making the folder of charts")?;
    let text = format!("{HEAD}\n{}", figures.to_markdown());
    std::fs::write(folder.join("connections.md"), text).during("writing the table")
}
