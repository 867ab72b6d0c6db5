//! The figures of the store as pictures.

use super::Curve;
use crate::Setting;
use crate::chart::{Bar, Line, LineChart, Panel, bars, lines};
use crate::error::Result;
use crate::figures::Figures;

const SYSTEMS: [(&str, &str); 3] =
    [("Nova-X", ""), ("fjall 3", "fjall_"), ("RocksDB 7.8", "rocksdb_")];

/// Writes the charts where the setting wants them.
pub(crate) fn write(setting: &Setting, figures: &Figures, curves: &[Curve]) -> Result<()> {
    let note = "5 M keys of 16 B, values of 100 B, 1 GiB of cache. RocksDB is Debian's db_bench, its assertions on.";
    setting
        .write_chart("engine.svg", &bars("The store beside its peers", note, &panels(figures)))?;
    setting.write_chart("engine-latency.svg", &lines(&over_time(curves)))?;
    setting.write_chart("engine.md", &figures.to_markdown())
}

fn panels(figures: &Figures) -> Vec<Panel> {
    let panel = |title, unit, goal, name: &str| {
        let bar = |&(label, prefix): &(&'static str, &str)| {
            let value = figures.get(&format!("{prefix}{name}"))?;
            Some(Bar { label, value, is_ours: prefix.is_empty() })
        };
        Panel { title, unit, goal, bars: SYSTEMS.iter().filter_map(bar).collect() }
    };
    let at_most = |goal| Some(("at most", goal));
    vec![
        panel("Random put, with flush and compaction", "us of CPU", at_most(4.0), "put_cpu_us"),
        panel("Random get, 63 % hits", "us of CPU", at_most(5.0), "get_cpu_us"),
        panel("Size on disk, without the log", "MB", None, "size_mb"),
        panel(
            "Durable puts from many clients",
            "a second",
            Some(("at least", 100_000.0)),
            "durable_puts_per_s",
        ),
        panel("Opening after a crash, 1 GB in the log", "seconds", at_most(5.0), "recover_s"),
    ]
}

fn over_time(curves: &[Curve]) -> LineChart {
    let line = |(label, seconds): &Curve| {
        let values = seconds.iter().map(|second| f64::from(second.p999_us) / 1e3).collect();
        Line { label, values }
    };
    LineChart {
        title: "Latency of puts while everything is compacted",
        note: "p99.9 of each second, 40,000 puts a second; one that is late counts from when it was due".into(),
        unit: "ms",
        goal: Some(20.0),
        lines: curves.iter().map(line).collect(),
    }
}
