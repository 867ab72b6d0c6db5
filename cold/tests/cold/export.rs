//! Exports: whole after any kill, the same bytes always, and read by DuckDB as by ourselves.

use crate::faults::{FAULTS, FaultStore};
use crate::python::{python, script};
use crate::world::{
    Hot, PARTITION, Rows, add, day, fleet, hot_fleet, late, memory, mover, of_day, reader,
};
use futures::TryStreamExt;
use novax_cold::export::progress::Progress;
use novax_cold::export::{ExportOptions, ExportReport, ExportSource, Exporter};
use novax_cold::{ColdError, ColdQuery, StoreConfig};
use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::BTreeMap;
use std::sync::Arc;

fn stations() -> BTreeMap<u32, String> {
    (1..=3).map(|number| (number, format!("station-{number}"))).collect()
}

/// Two days cold with late ticks hot, the third hot alone; the fourth station has no name.
async fn source() -> (ExportSource, Rows, Hot) {
    let objects = memory();
    let (mut hot, mut rows) = hot_fleet(8, 1);
    for n in 0..2 {
        mover(&objects).await.move_day(day(n), &hot).await.expect("moved");
        hot.drop_day(day(n));
    }
    for (series, ticks) in late(&fleet(4, 1), day(1)) {
        hot.add(series, &ticks, Some(0));
        add(&mut rows, series, &ticks);
    }
    let cold = Some(reader(&objects).await);
    let hot_source = Some(hot.shared());
    let source = ExportSource { partition: PARTITION, cold, hot: hot_source, stations: stations() };
    (source, rows, hot)
}

fn small() -> ExportOptions {
    ExportOptions { row_group_rows: 300, part_rows: 900, ..ExportOptions::default() }
}

async fn export(
    objects: Arc<dyn ObjectStore>,
    options: ExportOptions,
    source: &ExportSource,
) -> Result<ExportReport, ColdError> {
    let exporter = Exporter::new(objects, Path::from("out"), options)?;
    exporter.run(std::slice::from_ref(source), |_| {}).await
}

async fn contents(objects: &Arc<dyn ObjectStore>) -> BTreeMap<String, Vec<u8>> {
    let metas: Vec<_> = objects.list(None).try_collect().await.expect("a list");
    let mut all = BTreeMap::new();
    for meta in metas {
        let bytes = objects.get(&meta.location).await.expect("there").bytes().await.expect("read");
        all.insert(meta.location.to_string(), bytes.to_vec());
    }
    all
}

#[tokio::test]
async fn an_export_killed_anywhere_ends_with_the_same_bytes() {
    let (source, rows, _) = source().await;
    let whole = memory();
    let report = export(Arc::clone(&whole), small(), &source).await.expect("exported");
    assert_eq!(report.rows, rows.len() as u64);
    assert_eq!(report.units_done, 3);
    let wanted = contents(&whole).await;
    assert!(wanted.len() > 5, "{:?}", wanted.keys());
    for fault in FAULTS {
        for at in 0..1_000 {
            let objects = memory();
            let faulty = FaultStore::failing(&objects, at, fault);
            let killed = export(Arc::new(faulty.clone()), small(), &source).await;
            if !faulty.struck() {
                assert!(at > 8, "there was something to strike");
                break;
            }
            // What a reader may find by now is whole, and part of the whole.
            for (name, bytes) in contents(&objects).await {
                if name.ends_with(".parquet") {
                    assert_eq!(wanted.get(&name), Some(&bytes), "{name}: {fault:?} at {at}");
                }
            }
            let again = export(Arc::clone(&objects), small(), &source).await.expect("exported");
            assert!(killed.is_err() || again.units_done == 0, "{fault:?} at {at}");
            assert_eq!(contents(&objects).await, wanted, "{fault:?} at {at}");
        }
    }
}

#[tokio::test]
async fn an_export_goes_on_only_as_what_it_began_as() {
    let (source, _, _) = source().await;
    let objects = memory();
    export(Arc::clone(&objects), small(), &source).await.expect("exported");
    let again = export(Arc::clone(&objects), small(), &source).await.expect("exported");
    assert_eq!((again.units_kept, again.units_done, again.parts), (3, 0, 0));
    let other = ExportOptions { columns: vec!["power_w".into()], ..small() };
    let refused = export(Arc::clone(&objects), other, &source).await;
    assert!(matches!(refused, Err(ColdError::Export(_))), "{refused:?}");
    let unknown = ExportOptions { columns: vec!["power_kw".into()], ..small() };
    let refused = export(memory(), unknown, &source).await;
    let error = refused.expect_err("unknown").to_string();
    assert!(error.contains("power_kw") && error.contains("power_w"), "{error}");
    let progress = Progress::read(objects.as_ref(), &Path::from("out")).await;
    let progress = progress.expect("read").expect("there");
    assert!(progress.complete && progress.done.len() == 3);
}

/// What DuckDB says of a folder: rows by station and day with count, and count and exact sum of each
/// column in its smallest unit.
fn duckdb(folder: &std::path::Path) -> serde_json::Value {
    let output = python().arg(script("read_export.py")).arg(folder).output().expect("Python runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

type Sums = BTreeMap<(String, i64, i64, String), (i64, BTreeMap<String, (i64, String)>)>;

fn sums_of_duckdb(said: &serde_json::Value) -> Sums {
    let mut sums = Sums::new();
    for group in said["groups"].as_array().expect("groups") {
        let text = |name: &str| group[name].as_str().expect("text").to_owned();
        let whole = |name: &str| group[name].as_i64().expect("a number");
        let columns = group["columns"].as_object().expect("columns").iter().map(|(name, sum)| {
            let sum = (sum["count"].as_i64().expect("count"), sum["sum"].as_str().expect("sum"));
            (name.clone(), (sum.0, sum.1.to_owned()))
        });
        let key = (text("station"), whole("evse"), whole("connector"), text("date"));
        sums.insert(key, (whole("rows"), columns.collect()));
    }
    sums
}

fn column(measurand: Measurand) -> &'static str {
    match measurand {
        Measurand::Voltage => "voltage_v",
        Measurand::Current => "current_a",
        Measurand::Power => "power_w",
        Measurand::Energy => "energy_wh",
        Measurand::Temperature => "temperature_c",
        Measurand::Soc => "soc_percent",
    }
}

fn sums_of_model(rows: &Rows) -> Sums {
    type Exact = (i64, BTreeMap<String, (i64, i128)>);
    let mut all: BTreeMap<_, Exact> = BTreeMap::new();
    for ((series, at), values) in rows {
        let number = (series >> 32) as u32;
        let station = stations().remove(&number).unwrap_or_else(|| format!("#{number}"));
        let date = novax_cold::Day::of(Timestamp(*at)).to_string();
        let (evse, connector) =
            ((series >> 16 & 0xffff).cast_signed(), (series & 0xffff).cast_signed());
        let group = all.entry((station, evse, connector, date)).or_default();
        group.0 += 1;
        for measurand in MEASURANDS {
            let sum = group.1.entry(column(measurand).to_owned()).or_default();
            if let Some(value) = values[measurand as usize] {
                *sum = (sum.0 + 1, sum.1 + i128::from(value));
            }
        }
    }
    let text = |(count, sum): (i64, i128)| (count, sum.to_string());
    all.into_iter()
        .map(|(key, (rows, columns))| {
            (key, (rows, columns.into_iter().map(|(name, sum)| (name, text(sum))).collect()))
        })
        .collect()
}

fn local(dir: &tempfile::TempDir) -> Arc<dyn ObjectStore> {
    StoreConfig::local(dir.path().to_str().expect("UTF-8")).open().expect("a store")
}

#[tokio::test]
async fn duckdb_agrees_with_our_own_sums() {
    let (mut source, mut rows, mut hot) = source().await;
    // Extremes that fit, and one value too large for its column.
    let at = |n: u64| Timestamp(day(2).window().from.0 + n);
    let extremes = [
        MeterTick {
            at: at(1),
            values: [Some(-999_999_999_999_999_999), None, Some(i64::MIN), None, None, None],
        },
        MeterTick {
            at: at(2),
            values: [
                Some(999_999_999_999_999_999),
                None,
                Some(i64::MAX),
                None,
                None,
                Some(i64::MAX),
            ],
        },
    ];
    let series = 1_u64 << 32 | 9 << 16 | 9;
    hot.add(series, &extremes, Some(2));
    source.hot = Some(hot.shared());
    add(&mut rows, series, &extremes);
    let dir = tempfile::tempdir().expect("a directory");
    let report = export(local(&dir), small(), &source).await.expect("exported");
    assert_eq!(report.values_out_of_range, 1);
    rows.get_mut(&(series, at(2).0)).expect("a row")[Measurand::Soc as usize] = None;

    let said = duckdb(&dir.path().join("out"));
    assert_eq!(sums_of_duckdb(&said), sums_of_model(&rows));
    assert_eq!(said["rows"].as_u64(), Some(rows.len() as u64));
    // The late chunk of each of four series had one remark, on a row that was known; that of the
    // extremes stands.
    assert_eq!(said["flagged"].as_u64(), Some(1));
    assert_eq!(said["first"].as_u64(), rows.keys().map(|(_, at)| *at).min());
    assert_eq!(said["last"].as_u64(), rows.keys().map(|(_, at)| *at).max());
    let types: Vec<&str> =
        said["types"].as_array().expect("types").iter().filter_map(|one| one.as_str()).collect();
    let wanted = [
        "at TIMESTAMP WITH TIME ZONE",
        "station VARCHAR",
        "evse INTEGER",
        "connector INTEGER",
        "voltage_v DECIMAL(18,1)",
        "current_a DECIMAL(18,2)",
        "power_w BIGINT",
        "energy_wh BIGINT",
        "temperature_c DECIMAL(18,1)",
        "soc_percent DECIMAL(18,1)",
        "flags INTEGER",
    ];
    assert_eq!(types[..wanted.len()], wanted);
    assert!(types.contains(&"date DATE"), "the folder is a column: {types:?}");
    // Row groups say what they hold, so that readers leave them out.
    assert!(said["row_groups"].as_u64() > Some(8));
    assert_eq!(said["row_groups_without_statistics"].as_u64(), Some(0));

    // And with what the cold tier itself adds up, without a row in between.
    let reader = source.cold.as_ref().expect("a cold tier");
    let window = day(0).window();
    let query = ColdQuery { from: window.from, to: window.to, ..ColdQuery::all() };
    for measurand in MEASURANDS {
        let own = reader.aggregate(&query, measurand).await.expect("sums");
        let own = own
            .values()
            .fold((0, 0), |all, one| (all.0 + one.count.cast_signed(), all.1 + one.sum));
        let groups =
            sums_of_duckdb(&said).into_iter().filter(|(key, _)| key.3 == day(0).to_string());
        let duck = groups.fold((0, 0), |all: (i64, i128), (_, (_, columns))| {
            let (count, sum) = &columns[column(measurand)];
            (all.0 + count, all.1 + sum.parse::<i128>().expect("a sum"))
        });
        assert_eq!(own, duck, "{measurand:?}");
    }
}

#[tokio::test]
async fn an_export_may_be_of_some_stations_columns_and_hours() {
    let (source, rows, _) = source().await;
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (Timestamp(day(1).window().from.0 + 3_600_000_000), day(2).window().from);
    let options = ExportOptions {
        from,
        to,
        stations: vec!["station-2".into()],
        columns: vec!["power_w".into(), "energy_wh".into()],
        ..ExportOptions::default()
    };
    let report = export(local(&dir), options, &source).await.expect("exported");
    assert_eq!((report.units_done, report.parts), (1, 1));
    let mut wanted = of_day(&rows, day(1));
    wanted.retain(|(series, at), _| series >> 32 == 2 && *at >= from.0);
    assert!(!wanted.is_empty());
    let said = duckdb(&dir.path().join("out"));
    let mut model = sums_of_model(&wanted);
    for (_, columns) in model.values_mut() {
        columns.retain(|name, _| name == "power_w" || name == "energy_wh");
    }
    assert_eq!(sums_of_duckdb(&said), model);
}
