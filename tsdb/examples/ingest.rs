//! How many samples a series takes per second of CPU: cleaned, put in the head, compressed, joined into
//! chunks and rolled up.
//!
//! `cargo run --release -p novax-tsdb --example ingest [connectors] [ticks]`

use novax_model::Timestamp;
use novax_tsdb::clean::Limits;
use novax_tsdb::generate::{Config, Generator};
use novax_tsdb::{DAY_US, OpenSeries, SeriesRow};
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let connectors = arguments.next().unwrap_or(200);
    let ticks = arguments.next().unwrap_or(5_000);
    let config = Config { connectors, ticks, ..Config::default() };
    let all: Vec<_> = Generator::new(7, config).map(|series| series.ticks).collect();
    let limits = Limits::default();
    let (mut chunks, mut rollups, mut samples) = ((0, 0), (0, 0), 0);
    let began = Instant::now();
    for ticks in &all {
        let mut series = OpenSeries::new();
        let mut rows = Vec::new();
        for tick in ticks {
            samples += tick.values.iter().flatten().count();
            series.take(&limits, tick.at, *tick, &mut rows);
        }
        series.seal_past(&limits, Timestamp(u64::MAX - DAY_US), &mut rows);
        for row in rows {
            match row {
                SeriesRow::Chunk { bytes, .. } => chunks = (chunks.0 + 1, chunks.1 + bytes.len()),
                SeriesRow::Rollup { bytes, .. } => {
                    rollups = (rollups.0 + 1, rollups.1 + bytes.len());
                }
                SeriesRow::Open(..) => {}
            }
        }
    }
    let micros = began.elapsed().as_micros().max(1);
    let per_second = samples as u128 * 1_000_000 / micros;
    println!("{samples} samples in {micros} us: {per_second} a second");
    println!(
        "chunks: {} of {} bytes; rollups: {} of {} bytes",
        chunks.0, chunks.1, rollups.0, rollups.1
    );
}
