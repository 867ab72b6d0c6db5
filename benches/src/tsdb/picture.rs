//! The figures of the series as pictures.

use crate::Setting;
use crate::chart::{Bar, Panel, bars};
use crate::error::Result;
use crate::figures::Figures;

/// A bar's label, the figure it shows, and whether it is ours.
type Row = (&'static str, &'static str, bool);

/// Writes the charts where the setting wants them.
pub(crate) fn write(setting: &Setting, figures: &Figures) -> Result<()> {
    let note = "1,667 connectors x 1,000 ticks x 6 values, jittered clocks; ClickHouse: Delta + ZSTD(1) on integers";
    setting
        .write_chart("tsdb.svg", &bars("The series beside their peers", note, &panels(figures)))?;
    setting.write_chart("tsdb.md", &figures.to_markdown())
}

fn panels(figures: &Figures) -> Vec<Panel> {
    let panel = |title, unit, goal, rows: &[Row]| {
        let bar =
            |&(label, name, is_ours): &Row| Some(Bar { label, value: figures.get(name)?, is_ours });
        Panel { title, unit, goal, bars: rows.iter().filter_map(bar).collect() }
    };
    let size = [
        ("Nova-X, cold", "cold_bytes_per_sample", true),
        ("Nova-X, hot", "hot_bytes_per_sample", true),
        ("ClickHouse", "clickhouse_bytes_per_sample", false),
        ("ClickHouse, ZSTD(9)", "clickhouse_zstd9_bytes_per_sample", false),
        ("VictoriaMetrics", "victoria_bytes_per_sample", false),
    ];
    let ingest = [
        ("Nova-X, to durable blocks", "ingest_samples_per_cpu_s", true),
        ("Nova-X, to tables", "ingest_to_tables_samples_per_cpu_s", true),
        ("ClickHouse, binary rows", "clickhouse_ingest_samples_per_cpu_s", false),
        ("VictoriaMetrics, text", "victoria_ingest_samples_per_cpu_s", false),
    ];
    let scan = [
        ("Nova-X, hot", "scan_hot_samples_per_s", true),
        ("Nova-X, cold", "scan_cold_samples_per_s", true),
        ("ClickHouse", "clickhouse_scan_samples_per_s", false),
        ("VictoriaMetrics (sum)", "victoria_scan_samples_per_s", false),
    ];
    let day = [
        ("Nova-X", "series_day_us", true),
        ("ClickHouse (SQL)", "clickhouse_series_day_us", false),
        ("VictoriaMetrics (HTTP)", "victoria_series_day_us", false),
    ];
    vec![
        panel("Bytes a sample, all in", "bytes", Some(("hot at most", 0.60)), &size),
        panel("Ingest", "samples a CPU second", Some(("at least", 5e6)), &ingest),
        panel(
            "Aggregate of a whole column",
            "samples a CPU second",
            Some(("hot at least", 3e8)),
            &scan,
        ),
        panel("One series, one day: 17,280 rows", "us of CPU", Some(("at most", 200.0)), &day),
    ]
}
