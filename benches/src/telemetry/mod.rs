//! Telemetry: what a message with six measurands costs from its socket to a committed, compressed block; how many of
//! them one core turns into blocks without sockets; and what a flood of them does to charges that start beside it.
//!
//! Stations send MeterValues of OCPP 1.6 as compact as JSON gets, each with one call out at a time and a charge running
//! on its connector. An answer says that the value is committed, so all processor time of the node until the last one
//! is the price. In the flood, the points of every station are read back over the API: what was acknowledged is there.

mod bytes;
mod flood;

use crate::Common;
use crate::error::{During as _, Result};
use crate::figures::Figures;
use crate::node::Node;
use crate::provision;
use crate::runtime;
use crate::start_charge::Load;
use crate::station::{check_open_files, open_all};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct Shape {
    /// Stations that only send values.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    chargers: u32,
    /// Timed seconds of each part at least.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Messages a second that the flood asks for.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    flood: u32,
    /// Charges that start a second beside the flood.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    starts: u32,
    /// Where the table goes; nowhere by default.
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
}

/// Messages of a station in a round.
const PER_ROUND: u32 = 50;

pub(crate) fn run(common: &Common, shape: &Shape) -> Result<Figures> {
    check_open_files(u64::from(shape.chargers + flood::CHARGERS) + 200)?;
    let mut figures = Figures::default();
    bytes::measure(&mut figures);
    let echo = runtime::echo_cpu_us()?;
    figures.add("echo_cpu_us", echo, "us");
    let node = Node::start_with(common, |_| ())?;
    let stations = shape.chargers + flood::CHARGERS;
    eprintln!("provisioning {stations} stations");
    let homes = provision::stations(&node, stations)?;
    provision::drivers(&node, &homes, flood::CONNECTORS, common.partitions)?;
    let sockets = open_all(node.ocpp(), stations)?;
    let (meters, chargers) = split(sockets, shape.chargers);
    let mut meters = Load::new(meters, 1)?;
    meters.starts(0)?;
    telemetry(&node, &mut meters, shape, &mut figures)?;
    let chargers = Load::numbered(chargers, shape.chargers, flood::CONNECTORS)?;
    flood::measure(&node, meters, chargers, shape, &mut figures)?;
    node.stop()?;
    let ours = figures.get("telemetry_cpu_us").expect("measured above");
    figures.add("telemetry_echo_ratio", ours / echo, "1");
    if let Some(charts) = &shape.charts {
        write(charts, &figures)?;
    }
    Ok(figures)
}

fn split<T>(mut all: Vec<T>, first: u32) -> (Vec<T>, Vec<T>) {
    let rest = all.split_off(usize::try_from(first).expect("32 bits fit"));
    (all, rest)
}

/// Closed loop: a station sends the next value when the one before is committed.
fn telemetry(node: &Node, load: &mut Load, shape: &Shape, figures: &mut Figures) -> Result<()> {
    let target = Duration::from_secs(shape.seconds);
    // The first round makes the rows of the series.
    load.meters(PER_ROUND)?;
    node.rest()?;
    let (mut timed, mut used, mut messages) = (Duration::ZERO, Duration::ZERO, 0.0);
    while timed < target {
        let before = node.cpu()?;
        timed += load.meters(PER_ROUND)?;
        used += node.cpu()?.saturating_sub(before);
        messages += f64::from(shape.chargers) * f64::from(PER_ROUND);
        node.rest()?;
    }
    figures.add("telemetry_messages_per_s", messages / timed.as_secs_f64(), "1/s");
    figures.add("telemetry_cpu_us", used.as_secs_f64() * 1e6 / messages, "us");
    Ok(())
}

fn write(folder: &Path, figures: &Figures) -> Result<()> {
    const HEAD: &str = include_str!("telemetry.md");
    std::fs::create_dir_all(folder).during("making the folder of charts")?;
    let text = format!("{HEAD}\n{}", figures.to_markdown());
    std::fs::write(folder.join("telemetry.md"), text).during("writing the table")
}
