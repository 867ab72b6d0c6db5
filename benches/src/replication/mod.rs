//! Three nodes on one machine: how much they do together, and for how long nothing goes when one of them fails.
//!
//! The load is that of `start-charge`, its stations spread over the nodes; every start is on the disks of two nodes
//! before it is answered. Faults are met by a client that wants a charge every 10 ms (`probe`): the figure of a
//! fault is what the unluckiest start around it had to wait.

mod cluster;
mod etcd;
mod probe;

use crate::Common;
use crate::error::{During as _, Result};
use crate::figures::Figures;
use crate::node::data_dir;
use crate::provision;
use crate::start_charge::{self, Cards, Load, Shape};
use crate::station::{check_open_files, open_among};
use cluster::Cluster;
use probe::{Probe, Start};
use std::path::Path;
use std::time::{Duration, Instant};

/// Stations of the probe: each waits for its stop, and for a fault to pass.
const LANES: u32 = 300;
const CALM: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(8);

pub(crate) fn run(common: &Common, shape: Shape, peers: bool) -> Result<Figures> {
    check_open_files(u64::from(shape.chargers) + 500)?;
    let mut figures = Figures::default();
    let mut cluster = Cluster::start(common)?;
    let homes = fill(common, &cluster, shape)?;
    throughput(&cluster, shape, &mut figures)?;
    unavailability(common, &mut cluster, &homes, &mut figures)?;
    cluster.stop()?;
    if peers {
        let dir = data_dir(common)?;
        let etcd = etcd::measure(dir.path())?;
        figures.add("etcd_writes_per_s", etcd.per_s, "1/s");
        figures.add("etcd_write_cpu_us", etcd.cpu_us, "us");
        let ours = figures.get("replicated_tps").expect("measured above");
        figures.add("etcd_ratio", ours / etcd.per_s, "1");
        let ours = figures.get("replicated_cpu_us").expect("measured above");
        figures.add("etcd_cpu_ratio", etcd.cpu_us / ours, "1");
    }
    Ok(figures)
}

/// Stations and drivers, through one node. Answers the partition of each station.
fn fill(common: &Common, cluster: &Cluster, shape: Shape) -> Result<Vec<u64>> {
    let starts = u64::from(shape.chargers) * u64::from(shape.connectors);
    eprintln!("provisioning {} stations, {starts} drivers", shape.chargers);
    let homes = provision::stations(&cluster.nodes[0], shape.chargers)?;
    provision::drivers(&cluster.nodes[0], &homes, shape.connectors, common.partitions)?;
    Ok(homes)
}

fn throughput(cluster: &Cluster, shape: Shape, figures: &mut Figures) -> Result<()> {
    let sockets = open_among(&cluster.addresses(), shape.chargers)?;
    let mut load = Load::new(sockets, shape.connectors)?;
    // The first round makes the rows of the connectors; it is not what a day looks like.
    load.starts(0)?;
    load.stops()?;
    cluster.nodes.iter().try_for_each(crate::node::Node::rest)?;
    let measured = start_charge::measure(&cluster.nodes, &mut load, shape, &mut Cards)?;
    figures.add("replicated_tps", measured.per_s, "1/s");
    figures.add("replicated_p50_ms", measured.ms(500), "ms");
    figures.add("replicated_p99_ms", measured.ms(990), "ms");
    figures.add("replicated_p999_ms", measured.ms(999), "ms");
    figures.add("replicated_cpu_us", measured.cpu_us, "us");
    figures.add("replicated_log_writes_per_s", measured.log_writes_per_s, "1/s");
    Ok(())
}

/// Each fault in turn; the cluster is whole before the next one.
fn unavailability(
    common: &Common,
    cluster: &mut Cluster,
    homes: &[u64],
    figures: &mut Figures,
) -> Result<()> {
    // Partition after partition, so that each is asked often.
    let mut order: Vec<u32> = (0..LANES).collect();
    let mut nth = vec![0_u64; usize::from(common.partitions)];
    let mut rank: Vec<(u64, u64)> = Vec::new();
    for home in homes.iter().take(order.len()) {
        let of = &mut nth[usize::try_from(*home).expect("partitions are few")];
        rank.push((*of, *home));
        *of += 1;
    }
    order.sort_by_key(|number| rank[usize::try_from(*number).expect("32 bits fit")]);
    let probe = |cluster: &Cluster| Probe::new(&cluster.addresses(), &order);

    let mut calm = probe(cluster)?;
    let (_, starts) = calm.run(CALM, || Ok(()), CALM)?;
    let healthy = percentile(&starts, 990);
    figures.add("probe_p50_ms", percentile(&starts, 500), "ms");
    figures.add("probe_p99_ms", healthy, "ms");
    drop(calm);

    // A third of the stations are at the node that dies, and a third of the partitions are led by it.
    let mut probed = probe(cluster)?;
    let victim = cluster.nodes.remove(0);
    let (at, starts) = probed.run(CALM, || victim.kill(), AFTER)?;
    figures.add("unavailable_node_kill_ms", worst(&starts, at), "ms");
    let (_, starts) = probed.run(CALM, || Ok(()), CALM)?;
    figures.add("one_dead_p99_ms", percentile(&starts, 990), "ms");
    figures.add("latency_one_dead_ratio", percentile(&starts, 990) / healthy, "1");
    drop(probed);
    cluster.restart(common, 0)?;
    std::thread::sleep(CALM);

    // The probe's stations are at the other two nodes: only the leaders are missed.
    let others = cluster.addresses();
    let mut probed = Probe::new(&others[..2], &order)?;
    let victim = cluster.nodes.remove(2);
    let (at, starts) = probed.run(CALM, || victim.kill(), AFTER)?;
    figures.add("unavailable_leader_kill_ms", worst(&starts, at), "ms");
    drop(probed);
    cluster.restart(common, 2)?;
    std::thread::sleep(CALM);

    // One node a site: a site that is cut off says nothing any more, not even that it is gone.
    let mut probed = Probe::new(&cluster.addresses()[..2], &order)?;
    let lost = &cluster.nodes[2];
    let (at, starts) = probed.run(CALM, || lost.signal("STOP"), AFTER)?;
    lost.signal("CONT")?;
    figures.add("unavailable_site_loss_ms", worst(&starts, at), "ms");
    drop(probed);
    std::thread::sleep(CALM);

    // An operator stops a node: it hands its leads over first.
    let mut probed = Probe::new(&cluster.addresses()[..2], &order)?;
    let mut stopped = cluster.nodes.remove(2);
    let (at, starts) = probed.run(CALM, || stopped.signal("INT"), AFTER)?;
    stopped.wait()?;
    figures.add("unavailable_transfer_ms", worst(&starts, at), "ms");
    drop(probed);
    cluster.restart(common, 2)
}

/// What the unluckiest start after (or just before) a time waited.
fn worst(starts: &[Start], at: Instant) -> f64 {
    let touched = starts.iter().filter(|start| start.due + start.waited >= at);
    touched.map(|start| millis(start.waited)).fold(0.0, f64::max)
}

fn percentile(starts: &[Start], per_thousand: usize) -> f64 {
    let mut waited: Vec<f64> = starts.iter().map(|start| millis(start.waited)).collect();
    waited.sort_by(f64::total_cmp);
    let at = waited.len() * per_thousand / 1_000;
    waited.get(at.min(waited.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The table of a run, for the docs.
pub(crate) fn write(folder: &Path, figures: &Figures) -> Result<()> {
    const HEAD: &str = include_str!("replication.md");
    std::fs::create_dir_all(folder).during("making the folder of charts")?;
    let text = format!("{HEAD}\n{}", figures.to_markdown());
    std::fs::write(folder.join("replication.md"), text).during("writing the table")
}
