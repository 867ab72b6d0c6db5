//! Aggregates that scans work out from what chunks say of themselves: shown by EXPLAIN, counted, and the
//! same as those of all rows.

use super::store::Store;
use datafusion::arrow::util::pretty::pretty_format_batches;
use novax_query::{Database, Output, run_statement};
use std::sync::Arc;
use std::sync::atomic::Ordering;

async fn run(database: &Arc<Database>, sql: &str) -> Output {
    run_statement(database, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn shown(output: &Output) -> String {
    pretty_format_batches(&output.batches).expect("a table").to_string()
}

/// The cells of the only row.
async fn row(database: &Arc<Database>, sql: &str) -> String {
    let text = shown(&run(database, sql).await);
    let row = text.lines().nth(3).unwrap_or_else(|| panic!("{sql}: a row"));
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn plan(database: &Arc<Database>, sql: &str) -> String {
    shown(&run(database, &format!("explain {sql}")).await)
}

/// How many chunks were decoded, and of how many only the header was read.
async fn chunks(database: &Arc<Database>, sql: &str) -> (u64, u64) {
    let scanned = run(database, sql).await.scanned;
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    (get(&scanned.chunks_decoded), get(&scanned.chunks_summarized))
}

#[tokio::test]
async fn whole_chunks_are_not_decoded() {
    let database = Store::long(100_000).database();
    let all = "select count(*), min(power_w), max(power_w), sum(energy_wh) from telemetry";
    assert_eq!(row(&database, all).await, "| 100000 | 10901 | 11000 | 149998500000 |");
    // 97 chunks of 1024 ticks and one of 672.
    assert_eq!(chunks(&database, all).await, (0, 98));
    // Two whole chunks and a part of one on each side.
    let some = "select avg(power_w), count(voltage_v) from telemetry where station = 'CP-1' \
                and at >= '2026-11-22 00:10:00Z' and at < '2026-11-22 01:00:00Z'";
    assert_eq!(row(&database, some).await, "| 10950.5 | 3000 |");
    assert_eq!(chunks(&database, some).await, (2, 2));
    // A column with gaps has to be decoded.
    assert_eq!(chunks(&database, "select count(soc_percent) from telemetry").await, (98, 0));
}

#[tokio::test]
async fn the_last_value_is_read_from_the_newest_day_alone() {
    let database = Store::random(7).database();
    for connector in ["station = 'CP-1' and evse = 2", "station = 'CP-2' and evse = 1"] {
        // What is grouped by is not filtered by, so that all goes to the scan.
        let station = &connector[..16];
        let last = format!(
            "select evse, last_value(power_w order by at), \
             last_value(soc_percent order by at) ignore nulls, max(at) \
             from telemetry where {station} group by evse order by evse"
        );
        assert!(plan(&database, &last).await.contains("AggregateScanExec"), "{last}");
        let newest = format!(
            "select max(at) as newest, count(*) as ticks, count(distinct date_trunc('day', at)) \
             from telemetry where {connector}"
        );
        assert!(!plan(&database, &newest).await.contains("AggregateScanExec"), "{newest}");
        let (decoded, summarized) = chunks(&database, &last).await;
        let all = format!("select at from telemetry where {station}");
        assert!(decoded + summarized <= chunks(&database, &all).await.0, "{last}");
    }
    // A week of a tick a second: only the chunks of the last day are looked at.
    let database = Store::long(7 * 86_400).database();
    let last = "select last_value(power_w order by at), max(at) from telemetry";
    assert_eq!(row(&database, last).await, "| 10901 | 2026-11-28T23:59:59Z |");
    let (decoded, summarized) = chunks(&database, last).await;
    assert!(decoded == 0 && summarized <= 86, "{decoded} {summarized}");
    let first = "select first_value(power_w order by at desc) from telemetry";
    assert_eq!(row(&database, first).await, "| 10901 |");
    assert_eq!(chunks(&database, first).await, (decoded, summarized));
}

#[tokio::test]
async fn explain_shows_what_scans_work_out() {
    let database = Store::small().database();
    let sql = "select station, time_bucket('15 minutes', at), count(*), max(power_w) \
               from telemetry where station = 'CP-1' group by 1, 2";
    let text = plan(&database, sql).await;
    for part in ["AggregateScanExec: table=telemetry, groups=[", "count(", "keys={\"CP-1\"}"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for kept in [
        "select count(distinct power_w) from telemetry",
        "select count(flags) from telemetry",
        "select count(*) filter (where power_w > 5) from telemetry",
        "select sum(power_w + 1), min(power_w * 2) from telemetry",
        "select count(*) filter (where power_w is not null) from telemetry",
        "select count(*) from telemetry where power_w > 5",
        "select date_bin('1 month', at), count(*) from telemetry group by 1",
        "select power_w, count(*) from telemetry group by 1",
        "select last_value(power_w order by energy_wh) from telemetry",
        "select count(*) from (select * from telemetry limit 5) t",
        "select count(*) from stations",
    ] {
        let text = plan(&database, kept).await;
        assert!(!text.contains("AggregateScanExec"), "{kept}: {text}");
    }
}

#[tokio::test]
async fn groups_without_ticks_and_tables_without_rows_answer_as_sql_does() {
    let database = Store::small().database();
    let none = "select count(*), count(power_w), sum(power_w), min(at), \
                last_value(power_w order by at) from telemetry where station = 'nobody'";
    assert_eq!(row(&database, none).await, "| 0 | 0 | | | |");
    let grouped = "select station, count(*) from telemetry where at > '2027-01-01' group by 1";
    assert!(run(&database, grouped).await.batches.iter().all(|batch| batch.num_rows() == 0));
    let stations =
        shown(&run(&database, "select distinct station from telemetry order by 1").await);
    assert!(stations.contains("CP-1") && stations.contains("CP-2"), "{stations}");
    assert!(!stations.contains("CP-3"), "{stations}");
}

mod naive {
    //! What is pushed down gives what all rows give.

    use super::*;
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    const AGGREGATES: [&str; 18] = [
        "count(*)",
        "count(power_w)",
        "count(soc_percent)",
        "count(at)",
        "min(at)",
        "max(at)",
        "min(power_w)",
        "max(temperature_c)",
        "min(current_a)",
        "sum(power_w)",
        "sum(voltage_v)",
        "sum(energy_wh)",
        "avg(power_w)",
        "avg(voltage_v)",
        "last_value(power_w order by at)",
        "last_value(soc_percent order by at) ignore nulls",
        "first_value(temperature_c order by at)",
        "first_value(soc_percent order by at) filter (where soc_percent is not null)",
    ];

    const NEWEST: [&str; 4] = [
        "max(at)",
        "last_value(power_w order by at)",
        "last_value(soc_percent order by at) ignore nulls",
        "last_value(current_a order by at) ignore nulls",
    ];

    const GROUPS: [&str; 7] = [
        "station",
        "evse",
        "connector",
        "partition",
        "date_bin('10 minutes', at)",
        "time_bucket('7 hours', at)",
        "date_trunc('day', at)",
    ];

    fn filters() -> impl Strategy<Value = String> {
        let time = |op: &'static str| {
            (0..400_000_i64).prop_map(move |second| {
                format!("at {op} timestamptz '2026-11-22 00:00:00Z' + interval '{second} seconds'")
            })
        };
        let station = prop_oneof![
            Just("station = 'CP-1'".to_owned()),
            Just("station in ('CP-2', 'CP-3')".to_owned()),
        ];
        let either = prop_oneof![
            1 => time(">="),
            1 => time("<"),
            1 => (0..30_000_i64).prop_map(|second| format!(
                "at < timestamptz '2026-11-22 00:00:00Z' + interval '{second} seconds'"
            )),
            1 => station,
        ];
        prop::collection::vec(either, 0..3).prop_map(|all| {
            let all: Vec<String> = std::iter::once("true".to_owned()).chain(all).collect();
            all.join(" and ")
        })
    }

    fn groups() -> impl Strategy<Value = Vec<&'static str>> {
        let columns = subsequence(GROUPS[..4].to_vec(), 0..3);
        let bucket = prop::option::of(prop::sample::select(GROUPS[4..].to_vec()));
        (columns, bucket).prop_map(|(columns, bucket)| columns.into_iter().chain(bucket).collect())
    }

    fn aggregates() -> impl Strategy<Value = Vec<&'static str>> {
        prop_oneof![
            3 => subsequence(AGGREGATES.to_vec(), 1..8),
            1 => subsequence(NEWEST.to_vec(), 1..4),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn what_is_pushed_down_is_what_all_rows_give(
            seed: u64,
            statements in prop::collection::vec((aggregates(), groups(), filters()), 12),
        ) {
            let runtime = tokio::runtime::Runtime::new().expect("threads");
            let database = Store::random(seed).database();
            for (aggregates, groups, filter) in statements {
                let columns: Vec<&str> = groups.iter().chain(&aggregates).copied().collect();
                let columns = columns.join(", ");
                let numbers: Vec<String> = (1..=groups.len()).map(|n| n.to_string()).collect();
                let by = match numbers.join(", ") {
                    none if none.is_empty() => none,
                    some => format!("group by {some} order by {some}"),
                };
                let pushed = format!("select {columns} from telemetry where {filter} {by}");
                // A limit keeps what is above it where it is.
                let naive = format!(
                    "select {columns} from (select * from telemetry where {filter} \
                     limit 100000000) telemetry {by}"
                );
                runtime.block_on(async {
                    let how = plan(&database, &pushed).await;
                    prop_assert!(how.contains("AggregateScanExec"), "{}: {}", pushed, how);
                    let how = plan(&database, &naive).await;
                    prop_assert!(!how.contains("AggregateScanExec"), "{}: {}", naive, how);
                    let (pushed_rows, naive_rows) =
                        (run(&database, &pushed).await, run(&database, &naive).await);
                    prop_assert_eq!(shown(&pushed_rows), shown(&naive_rows), "{}", pushed);
                    Ok(())
                })?;
            }
        }
    }
}
