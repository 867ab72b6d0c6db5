//! Filters, limits and columns reach the scans: counted, and shown by EXPLAIN.

use super::store::Store;
use novax_query::{Database, ScanCounters, run_statement};
use std::sync::Arc;
use std::sync::atomic::Ordering;

struct Scanned {
    rows: u64,
    entries: u64,
    decoded: u64,
    skipped: u64,
}

async fn scan(database: &Arc<Database>, sql: &str) -> Scanned {
    let output =
        run_statement(database, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let counters: &ScanCounters = &output.scanned;
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Scanned {
        rows: get(&counters.rows),
        entries: get(&counters.entries_read),
        decoded: get(&counters.chunks_decoded),
        skipped: get(&counters.chunks_skipped),
    }
}

async fn plan(database: &Arc<Database>, sql: &str) -> String {
    let output = run_statement(database, &format!("explain {sql}")).await.expect("a plan");
    let mut lines = Vec::new();
    for batch in &output.batches {
        let column = batch.column(0);
        for row in 0..batch.num_rows() {
            lines.push(
                datafusion::arrow::util::display::array_value_to_string(column, row).unwrap(),
            );
        }
    }
    lines.join("\n")
}

#[tokio::test]
async fn telemetry_decodes_only_chunks_of_the_station_and_time_asked_for() {
    let database = Store::small().database();
    // 8640 ticks of CP-1 and 100 of CP-2, in chunks of 120: 73 of them.
    let all = scan(&database, "select at, power_w from telemetry").await;
    assert_eq!((all.rows, all.decoded, all.skipped), (8_740, 73, 0));

    let one = scan(&database, "select at from telemetry where station = 'CP-2'").await;
    assert_eq!((one.rows, one.entries, one.decoded), (100, 1, 1));

    // A chunk spans twenty minutes: an hour from its middle touches four.
    let hour = "select at from telemetry where station = 'CP-1' \
                and at >= '2026-11-22 10:10:00Z' and at < '2026-11-22 11:10:00Z'";
    let hour = scan(&database, hour).await;
    assert_eq!((hour.rows, hour.decoded), (360, 4));
    // Those of the day before are ruled out by their bounds; of those behind none is looked at.
    assert_eq!(hour.skipped, 30);

    let none = scan(&database, "select at from telemetry where at > '2027-01-01'").await;
    assert_eq!((none.rows, none.decoded), (0, 0));
}

#[tokio::test]
async fn keys_are_looked_up_not_searched_for() {
    let database = Store::small().database();
    let all = scan(&database, "select station, site from stations").await;
    assert_eq!((all.rows, all.entries), (6, 6));
    let one = scan(&database, "select station, site from stations where station = 'CP-3'").await;
    assert_eq!((one.rows, one.entries), (1, 1));
    let two = "select status from connectors where station in ('CP-2', 'nobody')";
    assert_eq!(scan(&database, two).await.entries, 1);
    let session =
        "select state from sessions where session_id = '000000000000000000000000000000ad'";
    assert_eq!(scan(&database, session).await.entries, 1);
}

#[tokio::test]
async fn a_limit_ends_the_scan() {
    let database = Store::long(100_000).database();
    let all = scan(&database, "select at from telemetry").await;
    assert_eq!((all.rows, all.decoded), (100_000, 98));
    let some = scan(&database, "select * from telemetry limit 5").await;
    // Each part of the scan gives up to the limit; only one part has any.
    assert_eq!((some.rows, some.decoded), (5, 1));
}

#[tokio::test]
async fn explain_shows_what_was_pushed_down() {
    let database = Store::small().database();
    let shown = plan(
        &database,
        "select power_w from telemetry where station = 'CP-1' and at >= '2026-11-22 10:00:00Z' \
         and at < '2026-11-22 11:00:00Z' limit 7",
    )
    .await;
    let expected = "table=telemetry, columns=[power_w], keys={\"CP-1\"}, \
                    from=2026-11-22 10:00:00+00, until=2026-11-22 10:59:59.999999+00, limit=7";
    assert!(shown.contains(expected), "{shown}");
    assert!(!shown.contains("FilterExec"), "{shown}");

    let now =
        plan(&database, "select at from telemetry where at > now() - interval '1 hour'").await;
    assert!(now.contains("from=") && !now.contains("FilterExec"), "{now}");

    let kept = plan(&database, "select station from stations where site = 'mall'").await;
    assert!(kept.contains("FilterExec: site@1 = mall"), "{kept}");

    let analyzed =
        plan(&database, "analyze select power_w from telemetry where station = 'CP-2'").await;
    assert!(analyzed.contains("chunks_decoded=1"), "{analyzed}");
}

#[tokio::test]
async fn open_series_heads_are_written_out_for_telemetry_alone() {
    let store = Store::small();
    let database = store.database();
    scan(&database, "select s.station, c.status from stations s join connectors c using (station)")
        .await;
    assert_eq!(*store.asked.borrow(), 1, "one snapshot serves both tables");
    assert_eq!(store.asked_with_series.load(Ordering::Relaxed), 0);
    scan(
        &database,
        "select count(*) from stations where station in (select station from telemetry)",
    )
    .await;
    assert_eq!(store.asked_with_series.load(Ordering::Relaxed), 1);
}

mod naive {
    //! Random filters give the rows that a filter over all rows gives.

    use super::*;
    use proptest::prelude::*;

    fn filters() -> impl Strategy<Value = String> {
        let seconds = 0..90_000_i64;
        let op = prop_oneof![Just("<"), Just("<="), Just(">"), Just(">="), Just("=")];
        let time = (op, seconds, any::<bool>()).prop_map(|(op, second, exact)| {
            let nudge = if exact { "" } else { " + interval '1 microsecond'" };
            format!(
                "at {op} timestamptz '2026-11-22 00:00:00Z' + interval '{second} seconds'{nudge}"
            )
        });
        let station = prop_oneof![
            Just("station = 'CP-1'".to_owned()),
            Just("station in ('CP-2', 'CP-1')".to_owned()),
            Just("station = 'CP-3'".to_owned()),
            Just("station <> 'CP-1'".to_owned()),
        ];
        prop::collection::vec(prop_oneof![3 => time, 1 => station], 1..4)
            .prop_map(|all| all.join(" and "))
    }

    fn count(database: &Arc<Database>, runtime: &tokio::runtime::Runtime, sql: &str) -> String {
        let output = runtime.block_on(run_statement(database, sql)).expect("an answer");
        datafusion::arrow::util::pretty::pretty_format_batches(&output.batches).unwrap().to_string()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn pushed_filters_are_exact(filter in filters()) {
            let runtime = tokio::runtime::Runtime::new().expect("threads");
            let database = Store::small().database();
            let columns = "count(*) as n, min(at) as a, max(at) as b, sum(energy_wh) as e";
            let pushed = count(&database, &runtime, &format!("select {columns} from telemetry where {filter}"));
            // An offset keeps filters above it from being pushed through.
            let naive = count(&database, &runtime, &format!(
                "select {columns} from (select * from telemetry offset 0 limit 1000000) t where {filter}"
            ));
            prop_assert_eq!(pushed, naive, "{}", filter);
        }
    }
}
