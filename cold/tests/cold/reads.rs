//! Questions against a naive reader: ranges, series, columns, aggregates, caches, the hot store.

use crate::faults::FaultStore;
use crate::world::{
    Hot, PARTITION, Rows, add, day, fleet, hot_fleet, late, memory, mover, of_day, reader, rows_of,
};
use novax_cold::{
    BlockingReader, CacheSizes, Caches, ColdQuery, ColdReader, DAY_US, DiskCache, HotSource,
    RowSource, SeriesRows, SnapshotSource,
};
use novax_engine::{Batch, Compaction, Engine, KeyspaceOptions, Options, Worker};
use novax_model::{MEASURANDS, Measurand, Timestamp};
use novax_tsdb::{Aggregate, Columns};
use object_store::ObjectStore;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Three days, the second with late ticks in further files.
async fn store() -> (Arc<dyn ObjectStore>, Rows) {
    let objects = memory();
    let (mut hot, mut rows) = hot_fleet(7, 1);
    let mover = mover(&objects).await;
    for n in 0..3 {
        mover.move_day(day(n), &hot).await.expect("moved");
    }
    hot.drop_day(day(1));
    for (series, ticks) in late(&fleet(3, 1), day(1)) {
        hot.add(series, &ticks, Some(0));
        add(&mut rows, series, &ticks);
    }
    mover.move_day(day(1), &hot).await.expect("moved");
    (objects, rows)
}

fn naive(rows: &Rows, query: &ColdQuery) -> Rows {
    let wanted = query.series.as_deref();
    let inside = rows.iter().filter(|((series, at), _)| {
        let is_wanted = wanted.is_none_or(|wanted| wanted.contains(series));
        is_wanted && query.from.0 <= *at && *at < query.to.0
    });
    inside
        .map(|(key, values)| {
            let mut values = *values;
            for measurand in MEASURANDS {
                if !query.columns.has(measurand) {
                    values[measurand as usize] = None;
                }
            }
            (*key, values)
        })
        .collect()
}

fn naive_sums(rows: &Rows, query: &ColdQuery, measurand: Measurand) -> BTreeMap<u64, Aggregate> {
    let mut sums: BTreeMap<u64, Aggregate> = BTreeMap::new();
    let query = ColdQuery { columns: Columns::of(measurand), ..query.clone() };
    for ((series, at), values) in naive(rows, &query) {
        let Some(value) = values[measurand as usize] else { continue };
        let one = Aggregate::of(Timestamp(at), value);
        sums.entry(series).and_modify(|all| all.merge(&one)).or_insert(one);
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_question_is_answered_as_by_a_naive_reader(
        from in 0..4 * DAY_US,
        len in 1..3 * DAY_US,
        picked in proptest::option::of(proptest::collection::btree_set(0_usize..8, 1..4)),
        columns in 0_usize..64,
        measurand in 0_usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (objects, rows) = store().await;
            let mut all: Vec<u64> = rows.keys().map(|(series, _)| *series).collect();
            all.dedup();
            all.push(u64::MAX);
            let from = Timestamp(day(0).window().from.0 - DAY_US / 2 + from);
            let wanted = MEASURANDS.iter().filter(|m| columns >> **m as usize & 1 == 1);
            let query = ColdQuery {
                series: picked.map(|picked| picked.into_iter().map(|n| all[n]).collect()),
                from,
                to: Timestamp(from.0 + len),
                columns: wanted.fold(Columns::NONE, |all, m| all.and(Columns::of(*m))),
            };
            let reader = reader(&objects).await;
            let got = rows_of(&reader.rows(&query).await.expect("rows"));
            prop_assert_eq!(got, naive(&rows, &query));
            let measurand = MEASURANDS[measurand];
            let got = reader.aggregate(&query, measurand).await.expect("sums");
            prop_assert_eq!(&got, &naive_sums(&rows, &query, measurand));
            let everything = ColdQuery { series: None, ..query };
            let sums = naive_sums(&rows, &everything, measurand);
            let total = sums.into_values().map(Some).fold(None, Aggregate::merged);
            let got = reader.aggregate_total(everything.from, everything.to, measurand).await;
            let got = got.expect("a total");
            // Of equal stamps of several series any may be the first.
            let counts = |one: Option<Aggregate>| {
                one.map(|one| (one.count, one.min, one.max, one.sum, one.first.0, one.last.0))
            };
            prop_assert_eq!(counts(got), counts(total));
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_was_remarked_on_late_ticks_stays() {
    let objects = memory();
    let mut hot = Hot::default();
    let (series, ticks) = fleet(1, 9).remove(0);
    hot.add(series, &ticks[..50], None);
    hot.add(series, &ticks[60..70], Some(0));
    let mover = mover(&objects).await;
    mover.move_day(day(0), &hot).await.expect("moved");
    hot.add(series, &ticks[50..60], Some(1));
    mover.move_day(day(0), &hot).await.expect("moved");
    let all = reader(&objects).await.rows(&ColdQuery::all()).await.expect("rows");
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].ticks, ticks[..70]);
    let rows: Vec<u32> = all[0].remarks.iter().map(|remark| remark.row).collect();
    assert_eq!(rows, [50, 60]);
}

#[tokio::test]
async fn what_was_read_once_is_not_fetched_again() {
    let (objects, _) = store().await;
    let counting = FaultStore::counting(&objects);
    let dir = tempfile::tempdir().expect("a directory");
    let caches = || {
        let disk = DiskCache::open(dir.path(), 64 << 20).expect("a cache");
        Arc::new(Caches::new(CacheSizes::default()).with_disk(disk))
    };
    let first = caches();
    let open = |caches: &Arc<Caches>| {
        ColdReader::open(Arc::new(counting.clone()), PARTITION, Arc::clone(caches))
    };
    let reader = open(&first).await.expect("a reader");
    let rows = reader.rows(&ColdQuery::all()).await.expect("rows");
    let ops = counting.ops();
    assert_eq!(reader.rows(&ColdQuery::all()).await.expect("rows"), rows);
    assert_eq!(counting.ops(), ops, "all from memory");
    assert!(first.stats().fetched > 0 && first.stats().memory_hits > 0);
    drop((reader, first));

    let second = caches();
    let reader = open(&second).await.expect("a reader");
    let ops = counting.ops();
    assert_eq!(reader.rows(&ColdQuery::all()).await.expect("rows"), rows);
    assert_eq!(counting.ops(), ops, "all from the local disk");
    assert!(second.stats().disk_hits > 0);
}

#[tokio::test]
async fn a_question_about_one_column_of_one_series_fetches_a_part() {
    let (objects, rows) = store().await;
    let fetched = |query: ColdQuery| {
        let objects = Arc::clone(&objects);
        async move {
            let caches = Arc::new(Caches::new(CacheSizes::default()));
            let reader = ColdReader::open(objects, PARTITION, Arc::clone(&caches)).await;
            let rows = reader.expect("a reader").rows(&query).await.expect("rows");
            assert!(!rows.is_empty());
            caches.stats().fetched_bytes
        }
    };
    let all = fetched(ColdQuery::all()).await;
    let (series, _) = *rows.keys().next().expect("rows");
    let window = day(0).window();
    let one = ColdQuery { series: Some(vec![series].into()), ..ColdQuery::all() };
    let part = ColdQuery { from: window.from, to: window.to, ..one.clone() };
    let (one, part) = (fetched(one).await, fetched(part).await);
    assert!(part < one && one < all, "{part} {one} {all}");
}

#[test]
fn a_thread_without_a_runtime_reads_days() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (objects, rows) = runtime.block_on(store());
    let reader = runtime.block_on(reader(&objects));
    let blocking = BlockingReader::new(reader, runtime.handle().clone());
    let query = ColdQuery::all();
    assert_eq!(rows_of(&blocking.rows(&query).expect("rows")), rows);
    let cursor = blocking.day(day(1), &query, None).expect("opened").expect("a day");
    let stretches: Vec<_> = cursor.map(|stretch| stretch.expect("read")).collect();
    assert_eq!(rows_of(&stretches), of_day(&rows, day(1)));
    let sums = blocking.aggregate(&query, Measurand::Power).expect("sums");
    assert_eq!(sums, naive_sums(&rows, &query, Measurand::Power));
}

#[test]
fn queries_take_the_cold_tier_as_one_more_place() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (objects, rows) = runtime.block_on(store());
    let reader = runtime.block_on(reader(&objects));
    let cold = SeriesRows(BlockingReader::new(reader, runtime.handle().clone()));
    let days: Vec<_> = cold.days().expect("days").into_iter().collect();
    assert_eq!(days, [day(0), day(1), day(2)]);
    let mut got = Rows::new();
    let mut next = cold.next_series(0).expect("read");
    while let Some(series) = next {
        for day in &days {
            got.extend(rows_of(&[cold.stretch(series, day.window()).expect("read")]));
        }
        next = cold.next_series(series + 1).expect("read");
    }
    assert_eq!(got, rows);
    let (series, last) = *rows.keys().next_back().expect("rows");
    let next = |from| cold.0.next_row_time(series, Timestamp(from)).expect("read");
    assert_eq!(next(last), Some(Timestamp(last)));
    assert_eq!(next(last + 1), None);
    assert_eq!(cold.0.next_row_time(series + 9, Timestamp::ZERO).expect("read"), None);
}

#[test]
fn the_chunks_of_a_real_store_are_those_that_were_put() {
    let dir = tempfile::tempdir().expect("a directory");
    let worker = Worker::start(1).expect("a worker");
    let mut engine = Engine::open(dir.path(), Options::default(), &worker).expect("a store");
    let (mut hot, mut rows) = hot_fleet(5, 11);
    for (series, ticks) in late(&fleet(5, 11), day(1)) {
        hot.add(series, &ticks, Some(3));
        add(&mut rows, series, &ticks);
    }
    // As older releases wrote them: across midnight.
    let (series, ticks) = (77_u64 << 32, &fleet(1, 12)[0].1[250..330]);
    let mut key = series.to_be_bytes().to_vec();
    key.extend_from_slice(&ticks[0].at.0.to_be_bytes());
    hot.chunks.insert(key, novax_tsdb::encode_chunk(ticks));
    add(&mut rows, series, ticks);
    const KEYSPACE: u8 = 5;
    let mut batch = Batch::new();
    for (key, chunk) in &hot.chunks {
        batch.put(KEYSPACE, key, chunk);
    }
    batch.put(KEYSPACE - 1, &[0xff; 16], b"not a chunk");
    batch.put(KEYSPACE + 1, &[0; 16], b"not a chunk");
    batch.set_mark(42);
    engine.write(&mut batch);
    let source = SnapshotSource::new(engine.snapshot(), KEYSPACE);
    assert_eq!(source.mark(), 42);
    let mut days = hot.days().expect("days");
    days.insert(day(1));
    assert_eq!(source.days().expect("days"), days);
    for n in 0..5 {
        let before: BTreeSet<_> = days.iter().copied().filter(|of| *of < day(n)).collect();
        assert_eq!(source.days_before(day(n)).expect("days"), before, "before day {n}");
    }
    for n in 0..3 {
        let mut got = Rows::new();
        let mut next = source.next_series(0).expect("read");
        while let Some(series) = next {
            let window = day(n).window();
            let stretch = source.stretch(series, window).expect("read");
            got.extend(rows_of(&[stretch]));
            assert_eq!(source.chunks(series, window).ok(), hot.chunks(series, window).ok());
            next = source.next_series(series + 1).expect("read");
        }
        assert_eq!(got, of_day(&rows, day(n)));
    }
    engine.close().expect("closed");
}

#[test]
fn days_before_another_are_found_without_reading_what_is_newer() {
    let dir = tempfile::tempdir().expect("a directory");
    let worker = Worker::start(1).expect("a worker");
    let time_of: fn(&[u8]) -> Option<u64> = |key| {
        let at = key.get(8..16).and_then(|at| at.try_into().ok());
        at.map(u64::from_be_bytes)
    };
    let compaction = Compaction::TimeWindow { window: DAY_US, time_of };
    let windows = KeyspaceOptions { compaction, ..KeyspaceOptions::default() };
    let options = Options { keyspace: [(5, windows)].into(), ..Options::default() };
    let mut engine = Engine::open(dir.path(), options, &worker).expect("a store");
    let (hot, _) = hot_fleet(3, 7);
    let mut batch = Batch::new();
    for (key, chunk) in &hot.chunks {
        batch.put(5, key, chunk);
    }
    // Whoever opens what is in a newer window learns that it is no chunk.
    let newer = [7_u64.to_be_bytes(), day(9).window().from.0.to_be_bytes()].concat();
    batch.put(5, &newer, b"not a chunk");
    batch.set_mark(1);
    engine.write(&mut batch);
    let days = hot.days().expect("days");
    assert!(days.len() > 1, "{days:?}");
    let check = |snapshot| {
        let source = SnapshotSource::new(snapshot, 5);
        assert!(source.days().is_err());
        assert_eq!(source.days_before(day(9)).expect("days"), days);
        let last = *days.iter().next_back().expect("a day");
        let before: BTreeSet<_> = days.iter().copied().filter(|of| *of < last).collect();
        assert_eq!(source.days_before(last).expect("days"), before);
    };
    check(engine.snapshot());
    engine.flush();
    while engine.flushed_mark() < 1 {
        engine.poll().expect("a flush");
        std::thread::yield_now();
    }
    check(engine.snapshot());
    engine.close().expect("closed");
}
