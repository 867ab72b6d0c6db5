//! Card starts: the whole path from a StartTransaction on a socket to its committed, held, accepted answer.
//!
//! Round by round every station starts its connectors, one after the other, with one call out at a time;
//! the clock runs while starts are outstanding. Then, off the clock, everything is stopped. One driver
//! in five has the wallet in another partition than the station, so its start crosses partitions.
//!
//! Then the same by apps (`apps`), which ask for a charge over HTTP: there the clock runs until each is answered and
//! the call that starts the charge is on its station's socket.

mod apps;
mod load;

pub(crate) use load::{Load, accepted, frame, meter_values, now, take_text, transaction_id};

use crate::Common;
use crate::error::{During, Result};
use crate::figures::{Figures, per_mille};
use crate::node::Node;
use crate::provision;
use crate::station::{check_open_files, open_all};
use apps::Apps;
use std::time::Duration;

/// How much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) chargers: u32,
    pub(crate) connectors: u16,
    pub(crate) seconds: u64,
}

const ROUNDS_MAX: u32 = 10_000;
/// Sockets of apps; each has one request out at a time.
const APPS: u32 = 1_000;

pub(crate) fn run(common: &Common, shape: Shape) -> Result<Figures> {
    check_open_files(u64::from(shape.chargers + APPS) + 200)?;
    let node = Node::start_with(common, |command| {
        command.args(["--starts", "127.0.0.1:0"]);
    })?;
    let starts = u64::from(shape.chargers) * u64::from(shape.connectors);
    eprintln!("provisioning {} stations, {starts} drivers", shape.chargers);
    let homes = provision::stations(&node, shape.chargers)?;
    provision::drivers(&node, &homes, shape.connectors, common.partitions)?;
    let mut load = Load::new(open_all(node.ocpp(), shape.chargers)?, shape.connectors)?;
    // The first round makes the rows of the connectors; it is not what a day looks like.
    load.starts(0)?;
    load.stops()?;
    node.settle()?;
    let nodes = std::slice::from_ref(&node);
    let measured = measure(nodes, &mut load, shape, &mut Cards)?;
    let mut figures = Figures::default();
    measured.add_to(&mut figures, "start_charge_");
    eprintln!("the same, by {APPS} apps");
    let mut apps = Apps::open(&node, APPS)?;
    apps.start(&mut load, 0)?;
    apps.end(&mut load)?;
    node.rest()?;
    let measured = measure(nodes, &mut load, shape, &mut apps)?;
    measured.add_to(&mut figures, "start_charge_http_");
    drop((load, apps));
    node.stop()?;
    Ok(figures)
}

/// How the charges of a round begin and end.
pub(crate) trait Round {
    /// Starts everything; how long that took.
    fn start(&mut self, load: &mut Load, round: u32) -> Result<Duration>;

    /// Stops everything.
    fn end(&mut self, load: &mut Load) -> Result<()>;
}

/// Cards are shown at the stations.
#[derive(Debug)]
pub(crate) struct Cards;

impl Round for Cards {
    fn start(&mut self, load: &mut Load, round: u32) -> Result<Duration> {
        load.starts(round)
    }

    fn end(&mut self, load: &mut Load) -> Result<()> {
        load.stops()
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) per_s: f64,
    /// Processor time of a start, of all nodes.
    pub(crate) cpu_us: f64,
    pub(crate) log_writes_per_s: f64,
    /// Ascending.
    latencies_us: Vec<u32>,
}

impl Measured {
    /// The latency that so many of a thousand starts did not exceed.
    pub(crate) fn ms(&self, per_thousand: usize) -> f64 {
        f64::from(per_mille(&self.latencies_us, per_thousand)) / 1_000.0
    }

    fn add_to(&self, figures: &mut Figures, prefix: &str) {
        figures.add(format!("{prefix}tps"), self.per_s, "1/s");
        figures.add(format!("{prefix}p50_ms"), self.ms(500), "ms");
        figures.add(format!("{prefix}p99_ms"), self.ms(990), "ms");
        figures.add(format!("{prefix}p999_ms"), self.ms(999), "ms");
        figures.add(format!("{prefix}cpu_us"), self.cpu_us, "us");
        figures.add(format!("{prefix}log_writes_per_s"), self.log_writes_per_s, "1/s");
    }
}

fn cpu(nodes: &[Node]) -> Result<Duration> {
    nodes.iter().map(Node::cpu).sum()
}

fn log_writes(nodes: &[Node]) -> Result<u64> {
    nodes.iter().map(|node| node.metric("novax_log_writes_total")).sum()
}

/// Starts in rounds on the sockets of a load, whichever nodes they are at.
pub(crate) fn measure(
    nodes: &[Node],
    load: &mut Load,
    shape: Shape,
    how: &mut impl Round,
) -> Result<Measured> {
    let target = Duration::from_secs(shape.seconds);
    let (mut timed, mut theirs, mut own_cpu) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut written, mut latencies_us) = (0, Vec::new());
    for round in 1..=ROUNDS_MAX {
        let before = (cpu(nodes)?, log_writes(nodes)?, own_cpu_time()?);
        let elapsed = how.start(load, round)?;
        timed += elapsed;
        theirs += cpu(nodes)?.saturating_sub(before.0);
        own_cpu += own_cpu_time()?.saturating_sub(before.2);
        written += log_writes(nodes)?.saturating_sub(before.1);
        latencies_us.append(&mut load.take_latencies());
        let per_s = load.per_round() as f64 / elapsed.as_secs_f64();
        eprintln!("round {round}: {per_s:.0} starts/s");
        how.end(load)?;
        if timed >= target {
            break;
        }
        // Captures in the drivers' partitions go on after the answers: they belong to the stops.
        nodes.iter().try_for_each(Node::rest)?;
    }
    latencies_us.sort_unstable();
    let starts = latencies_us.len() as f64;
    let seconds = timed.as_secs_f64();
    eprintln!("generator: {:.1} us of CPU a start", own_cpu.as_secs_f64() * 1e6 / starts);
    Ok(Measured {
        per_s: starts / seconds,
        cpu_us: theirs.as_secs_f64() * 1e6 / starts,
        log_writes_per_s: written as f64 / seconds,
        latencies_us,
    })
}

fn own_cpu_time() -> Result<Duration> {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").during("reading schedstat")?;
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    Ok(Duration::from_nanos(nanoseconds))
}
