//! A flood of telemetry beside charges that start at a steady pace.

use super::Shape;
use crate::error::{BenchError, Result};
use crate::figures::{Figures, per_mille};
use crate::http::Http;
use crate::node::Node;
use crate::start_charge::Load;
use crate::station::{identity, with_state_in_threads};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Stations that start charges, and their connectors.
pub(super) const CHARGERS: u32 = 500;
pub(super) const CONNECTORS: u16 = 10;

pub(super) fn measure(
    node: &Node,
    mut meters: Load,
    mut chargers: Load,
    shape: &Shape,
    figures: &mut Figures,
) -> Result<()> {
    chargers.starts(0)?;
    chargers.stops()?;
    node.rest()?;
    let over = AtomicBool::new(false);
    let (latencies, starts, sent) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let began = Instant::now();
            let answered = meters.meters_paced(shape.flood, &over)?;
            Ok::<_, BenchError>((answered, began.elapsed()))
        });
        let charges = charge(&mut chargers, shape);
        over.store(true, Ordering::Relaxed);
        let flood = flood.join().expect("the flood does not panic")?;
        let (latencies, starts) = charges?;
        Ok::<_, BenchError>((latencies, starts, flood))
    })?;
    let (answered, elapsed) = sent;
    figures.add("flood_asked_per_s", f64::from(shape.flood), "1/s");
    figures.add("flood_messages_per_s", answered as f64 / elapsed.as_secs_f64(), "1/s");
    figures.add("flood_starts_asked_per_s", f64::from(shape.starts), "1/s");
    figures.add("flood_starts_per_s", starts, "1/s");
    for (name, part) in [("p50", 500), ("p99", 990), ("p999", 999)] {
        let micros = f64::from(per_mille(&latencies, part));
        figures.add(format!("flood_start_{name}_ms"), micros / 1_000.0, "ms");
    }
    let told = meters.values_told();
    let lost = missing(node, &told)?;
    figures.add("flood_lost", lost as f64, "1");
    if lost > 0 {
        return Err(BenchError::Answer(format!("{lost} acknowledged values are not there")));
    }
    Ok(())
}

/// Starts at their pace, round after round; stops in between are not timed. Latencies, ascending, and starts a second.
fn charge(load: &mut Load, shape: &Shape) -> Result<(Vec<u32>, f64)> {
    let (mut latencies, mut timed) = (Vec::new(), Duration::ZERO);
    for round in 1..u32::MAX {
        timed += load.starts_paced(round, shape.starts)?;
        latencies.append(&mut load.take_latencies());
        load.stops_paced(shape.starts)?;
        if timed.as_secs() >= shape.seconds {
            break;
        }
    }
    latencies.sort_unstable();
    let per_s = latencies.len() as f64 / timed.as_secs_f64();
    Ok((latencies, per_s))
}

/// How many of the values that stations were told are kept cannot be read.
fn missing(node: &Node, told: &[u64]) -> Result<u64> {
    let count = u32::try_from(told.len()).expect("stations are counted in 32 bits");
    let lost = with_state_in_threads(
        count,
        || node.client(),
        |http: &mut Http, number: u32| {
            let kept = points(http, &identity(number))?;
            let told = told.get(usize::try_from(number).expect("32 bits fit")).copied();
            Ok(told.unwrap_or(0).saturating_sub(kept))
        },
    )?;
    Ok(lost.into_iter().sum())
}

/// Points of connector 1 of a station.
fn points(http: &mut Http, station: &str) -> Result<u64> {
    const PAGES_MAX: u32 = 10_000;
    let (mut points, mut from) = (0, "2020-01-01T00:00:00Z".to_owned());
    for _ in 0..PAGES_MAX {
        let page = http.get(&format!("/v1/connectors/{station}/1/1/series?from={from}"))?;
        let strange = || BenchError::Answer(format!("a series without points: {page}"));
        points += page["points"].as_array().ok_or_else(strange)?.len() as u64;
        match page["next_from"].as_str() {
            Some(next) => from = next.to_owned(),
            None => return Ok(points),
        }
    }
    Err(BenchError::Answer(format!("the series of {station} has no end")))
}
