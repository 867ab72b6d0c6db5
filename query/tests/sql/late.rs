//! Telemetry that came late, twice, or not true: merged, flagged, and rolled up.

use super::store::Store;
use datafusion::arrow::util::pretty::pretty_format_batches;
use novax_query::{Database, run_statement};
use std::sync::Arc;

async fn rows(database: &Arc<Database>, sql: &str) -> Vec<String> {
    let output =
        run_statement(database, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let shown = pretty_format_batches(&output.batches).expect("a table").to_string();
    let inner = shown.lines().filter(|line| line.starts_with('|')).skip(1);
    inner.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn late_ticks_are_merged_into_what_came_in_time() {
    let database = Store::late().database();
    // 3000 ticks, the 500 from the 1000th on came last; each is there once, in order.
    let all = "select count(*), count(distinct at), min(power_w), max(power_w) from telemetry";
    assert_eq!(rows(&database, all).await, ["| 3000 | 3000 | 0 | 2999 |"]);
    let part = "select count(*), sum(power_w) from telemetry where station = 'CP-1' \
                and at >= '2026-11-22 01:23:20Z' and at < '2026-11-22 01:31:40Z'";
    // Ticks 1000 to 1099.
    assert_eq!(rows(&database, part).await, ["| 100 | 104950 |"]);
    let flagged = "select flags, count(*) from telemetry where flags is not null group by flags";
    assert_eq!(rows(&database, flagged).await, ["| late | 500 |"]);
    let limited = "select power_w from telemetry where station = 'CP-1' limit 7";
    assert_eq!(rows(&database, limited).await.len(), 7);
}

#[tokio::test]
async fn rollups_are_those_of_the_ticks() {
    let database = Store::late().database();
    for (table, length) in
        [("telemetry_1m", "1 minute"), ("telemetry_15m", "15 minutes"), ("telemetry_1h", "1 hour")]
    {
        let kept = format!(
            "select at, power_w_min, power_w_max, power_w_sum, power_w_count, energy_wh_last \
             from {table} where station = 'CP-1' order by at"
        );
        let naive = format!(
            "select date_bin('{length}', at) as at, min(power_w), max(power_w), \
             sum(power_w)::numeric(38,0), count(power_w), max(energy_wh) from telemetry \
             group by 1 order by 1"
        );
        assert_eq!(rows(&database, &kept).await, rows(&database, &naive).await, "{table}");
        let energy = format!("select sum(delivered_wh) from {table}");
        assert_eq!(rows(&database, &energy).await, ["| 2999 |"], "{table}");
    }
}
