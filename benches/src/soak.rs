//! Half an hour under half of what a node can do, with stations that come and go all the while: its memory and its
//! files must stand still.
//!
//! One thread plays rounds of card starts and stops and rests after each for as long as it took. Beside it another
//! opens and boots a station for each that it closes, so that the same number is connected. The node's memory is read
//! every few seconds; the figure is that of the last quarter over that of the second. The first is left out: caches and
//! memtables fill.

use crate::Common;
use crate::error::{BenchError, Result};
use crate::figures::Figures;
use crate::node::Node;
use crate::provision;
use crate::start_charge::Load;
use crate::station::{check_open_files, open, open_all};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long, and with how many.
#[derive(Debug, clap::Args)]
pub(crate) struct Shape {
    /// How long.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
    /// Stations that charge.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    chargers: u32,
    /// Stations that come and go, a third of them connected at a time.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(30..=12_000))]
    visitors: u32,
    /// Part of the time in which charges are started and stopped, in hundredths.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    load: u32,
}

const CONNECTORS: u16 = 10;
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_secs(5);
/// Between two visitors.
const VISIT: Duration = Duration::from_millis(5);

pub(crate) fn run(common: &Common, shape: &Shape) -> Result<Figures> {
    check_open_files(u64::from(shape.chargers + shape.visitors) + 200)?;
    let node = Node::start_with(common, |_| ())?;
    let stations = shape.chargers + shape.visitors;
    eprintln!("provisioning {stations} stations");
    let homes = provision::stations(&node, stations)?;
    let charging = homes.get(..usize::try_from(shape.chargers).expect("32 bits fit"));
    let charging = charging.expect("there are as many stations as were asked for");
    provision::drivers(&node, charging, CONNECTORS, common.partitions)?;
    let mut load = Load::new(open_all(node.ocpp(), shape.chargers)?, CONNECTORS)?;
    let until = Instant::now() + Duration::from_secs(shape.minutes * 60);
    let (over, visits) = (AtomicBool::new(false), AtomicU64::new(0));
    let (charges, looks) = std::thread::scope(|scope| {
        let visitors = scope.spawn(|| visit(&node, shape, &over, &visits));
        let looks = scope.spawn(|| look(&node, &over, &visits));
        let charges = charge(&mut load, shape, until);
        over.store(true, Ordering::Relaxed);
        visitors.join().expect("visitors do not panic")?;
        Ok::<_, BenchError>((charges?, looks.join().expect("looking does not panic")?))
    })?;
    drop(load);
    node.stop()?;
    let mut figures = Figures::default();
    let quarter = looks.len() / 4;
    let part = |number: usize| {
        let part = looks.get(quarter * number..quarter * (number + 1)).unwrap_or_default();
        (median(part, |look| look.memory), median(part, |look| look.files))
    };
    let ((memory, files), (memory_last, files_last)) = (part(1), part(3));
    figures.add("soak_charges", charges as f64, "1");
    figures.add("soak_reconnects", visits.into_inner() as f64, "1");
    figures.add("soak_memory_bytes", memory_last as f64, "B");
    figures.add("soak_memory_ratio", memory_last as f64 / memory.max(1) as f64, "1");
    figures.add("soak_files", files_last as f64, "1");
    figures.add("soak_files_ratio", files_last as f64 / files.max(1) as f64, "1");
    Ok(figures)
}

/// Rounds of charges and rests. Answers how many charges.
fn charge(load: &mut Load, shape: &Shape, until: Instant) -> Result<u64> {
    let mut charges = 0;
    for round in 1..u32::MAX {
        let began = Instant::now();
        if began >= until {
            break;
        }
        load.starts(round)?;
        load.stops()?;
        charges += u64::from(shape.chargers) * u64::from(CONNECTORS);
        std::thread::sleep(began.elapsed() * (100 - shape.load) / shape.load);
    }
    Ok(charges)
}

/// Stations that come and go: the one that has been there longest leaves for the next.
fn visit(node: &Node, shape: &Shape, over: &AtomicBool, visits: &AtomicU64) -> Result<()> {
    let there_max = usize::try_from(shape.visitors / 3).expect("32 bits fit");
    let mut there = VecDeque::new();
    for turn in 0..u32::MAX {
        if over.load(Ordering::Relaxed) {
            break;
        }
        if there.len() >= there_max {
            there.pop_front();
        }
        let number = shape.chargers + turn % shape.visitors;
        there.push_back(open(node.ocpp(), number)?);
        visits.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(VISIT);
    }
    Ok(())
}

/// The node's memory, and its open files.
struct Look {
    memory: u64,
    files: u64,
}

fn look(node: &Node, over: &AtomicBool, visits: &AtomicU64) -> Result<Vec<Look>> {
    let mut looks = Vec::new();
    let began = Instant::now();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let look = Look { memory: node.resident_bytes()?, files: node.open_files()? };
        if looks.len() % 12 == 0 {
            let (minutes, mib) = (began.elapsed().as_secs() / 60, look.memory >> 20);
            let visits = visits.load(Ordering::Relaxed);
            eprintln!("minute {minutes}: {mib} MiB, {} files, {visits} reconnects", look.files);
        }
        looks.push(look);
    }
    Ok(looks)
}

fn median(looks: &[Look], what: impl Fn(&Look) -> u64) -> u64 {
    let mut values: Vec<u64> = looks.iter().map(what).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_looks_is_that_of_what_was_looked_at() {
        let looks = [5, 1, 3].map(|memory| Look { memory, files: 7 });
        assert_eq!(median(&looks, |look| look.memory), 3);
        assert_eq!(median(&looks, |look| look.files), 7);
        assert_eq!(median(&[], |look| look.memory), 0);
    }
}
