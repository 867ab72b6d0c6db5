//! What a message costs a server that only sends it back: on the node's ring, and on the runtimes others build on.
//!
//! Every server is a process on the first core, with one thread; the load is one thread on the second. They take turns
//! within each round, and the figure of each is the median of the rounds: what else the machine does hits all alike.

pub(crate) mod echo;
mod load;

use crate::chart::{Bar, Panel, bars};
use crate::error::{During as _, Result};
use crate::figures::Figures;
use crate::server::Server;
use crate::station::check_open_files;
use load::Load;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct Shape {
    /// Rounds; each measures every server.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=25))]
    rounds: u8,
    /// Seconds that each measurement takes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Where the servers on other runtimes are; they are left out by default.
    #[arg(long, value_name = "DIR")]
    runtimes: Option<PathBuf>,
    /// Where the table and the chart go; nowhere by default.
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
}

/// Connections, messages on their way on each, and how that is called in a figure.
#[derive(Debug, Clone, Copy)]
struct Cell {
    conns: u32,
    depth: usize,
    suffix: &'static str,
    title: &'static str,
}

const CELLS: [Cell; 3] = [
    Cell {
        conns: 1_000,
        depth: 1,
        suffix: "",
        title: "1,000 connections, one message on its way on each",
    },
    Cell {
        conns: 1_000,
        depth: 8,
        suffix: "depth8_",
        title: "1,000 connections, eight on their way on each",
    },
    Cell {
        conns: 10_000,
        depth: 1,
        suffix: "10k_",
        title: "10,000 connections, one message on its way on each",
    },
];

/// A server: how it is shown, its program, its part of a figure's name.
type Kind = (&'static str, &'static str, &'static str);

const OURS: Kind = ("Nova-X", "", "");
const PEERS: [Kind; 4] = [
    ("tokio 1", "tokio", "tokio_"),
    ("tokio-uring 0.5", "tokio-uring", "tokio_uring_"),
    ("glommio 0.9", "glommio", "glommio_"),
    ("compio 0.19", "compio", "compio_"),
];

/// Before a measurement, so that buffers and caches are warm.
const WARM: Duration = Duration::from_millis(500);

pub(crate) fn run(shape: &Shape) -> Result<Figures> {
    check_open_files(10_500)?;
    let peers: &[Kind] = if shape.runtimes.is_some() { &PEERS } else { &[] };
    let kinds = [&[OURS], peers].concat();
    let mut samples = vec![Vec::new(); CELLS.len() * kinds.len()];
    for round in 1..=shape.rounds {
        eprintln!("round {round} of {}", shape.rounds);
        let cells = CELLS.iter().flat_map(|cell| kinds.iter().map(move |kind| (cell, kind)));
        for ((cell, kind), samples) in cells.zip(&mut samples) {
            let cpu_us = measure(shape, *cell, kind.1)?;
            eprintln!("  {:16} {:6} x {}: {cpu_us:.2} us", kind.0, cell.conns, cell.depth);
            samples.push(cpu_us);
        }
    }
    let mut medians = samples.into_iter().map(median);
    let mut figures = Figures::default();
    for cell in CELLS {
        let name = |kind: &Kind| format!("echo_{}{}cpu_us", kind.2, cell.suffix);
        for kind in &kinds {
            figures.add(name(kind), medians.next().expect("one for each"), "us");
        }
        let ours = figures.get(&name(&OURS)).expect("just added");
        for kind in peers {
            let theirs = figures.get(&name(kind)).expect("just added");
            figures.add(format!("echo_{}{}ratio", kind.2, cell.suffix), theirs / ours, "1");
        }
    }
    if let Some(charts) = &shape.charts {
        write(charts, &figures, &kinds)?;
    }
    Ok(figures)
}

/// What a bare echo on the node's ring costs, for others to set their figures beside.
pub(crate) fn echo_cpu_us() -> Result<f64> {
    let shape = Shape { rounds: 3, seconds: 2, runtimes: None, charts: None };
    let samples: Result<Vec<f64>> =
        (0..shape.rounds).map(|_| measure(&shape, CELLS[0], OURS.1)).collect();
    samples.map(median)
}

/// Processor time of the server for a message.
fn measure(shape: &Shape, cell: Cell, program: &str) -> Result<f64> {
    let command = match &shape.runtimes {
        Some(folder) if !program.is_empty() => Command::new(folder.join(program)),
        _ => {
            let mut own = Command::new(std::env::current_exe().during("finding this binary")?);
            own.arg("echo");
            own
        }
    };
    let server = Server::start(command)?;
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            novax_ring::pin_to_core(1);
            let mut load = Load::begin(server.address(), cell.conns, cell.depth)?;
            load.run(WARM)?;
            let before = server.cpu()?;
            let messages = load.run(Duration::from_secs(shape.seconds))?;
            let used = server.cpu()?.saturating_sub(before);
            Ok(used.as_secs_f64() * 1e6 / messages as f64)
        });
        load.join().expect("the load does not panic")
    })
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let (low, high) = (samples.get((samples.len() - 1) / 2), samples.get(samples.len() / 2));
    low.zip(high).map_or(0.0, |(low, high)| (low + high) / 2.0)
}

fn write(folder: &Path, figures: &Figures, kinds: &[Kind]) -> Result<()> {
    const HEAD: &str = include_str!("runtime.md");
    let panel = |cell: &Cell| {
        let bar = |kind: &Kind| {
            let value = figures.get(&format!("echo_{}{}cpu_us", kind.2, cell.suffix))?;
            Some(Bar { label: kind.0, value, is_ours: kind.1.is_empty() })
        };
        Panel {
            title: cell.title,
            unit: "us of CPU",
            goal: None,
            bars: kinds.iter().filter_map(bar).collect(),
        }
    };
    let panels: Vec<Panel> = CELLS.iter().map(panel).collect();
    let note =
        "Processor time of an echo server for a message of 200 bytes, in and out. Less is better.";
    std::fs::create_dir_all(folder).during("making the folder of charts")?;
    let picture = bars("The ring beside other runtimes", note, &panels);
    std::fs::write(folder.join("runtime.svg"), picture).during("writing a chart")?;
    let text = format!("{HEAD}\n{}", figures.to_markdown());
    std::fs::write(folder.join("runtime.md"), text).during("writing the table")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
