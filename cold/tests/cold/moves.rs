//! Moving days: crashes at every step, moves done again, late ticks, retention, sweeping.

use crate::faults::{FAULTS, Fault, FaultStore};
use crate::world::{
    Hot, PARTITION, Rows, add, cold_rows, day, fleet, hot_fleet, late, memory, mover, of_day,
    options, reader,
};
use futures::TryStreamExt;
use novax_cold::{Catalog, ColdError, ColdQuery, Day, HotContent, Mover, MoverOptions, Scrubber};
use object_store::ObjectStore;
use std::sync::Arc;

async fn names(objects: &Arc<dyn ObjectStore>) -> Vec<String> {
    let metas: Vec<_> = objects.list(None).try_collect().await.expect("a list");
    let files = metas.into_iter().map(|meta| meta.location.to_string());
    files.filter(|name| name.ends_with(".nvc")).collect()
}

/// Whatever is named is whole, and after a sweep nothing else is there.
async fn assert_tidy(objects: &Arc<dyn ObjectStore>) {
    let report = Scrubber::new(Arc::clone(objects), PARTITION).verify().await.expect("verified");
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    mover(objects).await.sweep().await.expect("swept");
    let manifest = Catalog::new(Arc::clone(objects), PARTITION).newest().await.expect("a manifest");
    let mut named: Vec<String> =
        manifest.files().map(|(day, file)| file.path(PARTITION, day).to_string()).collect();
    named.sort();
    let mut there = names(objects).await;
    there.sort();
    assert_eq!(there, named);
}

#[tokio::test]
async fn a_day_reads_back_as_it_was() {
    let objects = memory();
    let (hot, rows) = hot_fleet(9, 1);
    let mover = mover(&objects).await;
    for n in 0..3 {
        let moved = mover.move_day(day(n), &hot).await.expect("moved");
        assert!(moved.files > 1, "small files: {moved:?}");
        assert_eq!(moved.rows, of_day(&rows, day(n)).len() as u64);
        assert_eq!(moved.mark, hot.mark);
        assert_eq!(moved.window, day(n).window());
        let content = HotContent::of(&hot, moved.window).expect("a view").0;
        assert_eq!(moved.content, content);
    }
    assert_eq!(cold_rows(&objects).await, rows);
    assert_tidy(&objects).await;
}

#[tokio::test]
async fn a_move_done_again_writes_nothing() {
    let objects = memory();
    let (hot, _) = hot_fleet(5, 2);
    let mover = mover(&objects).await;
    let first = mover.move_day(day(0), &hot).await.expect("moved");
    let again = mover.move_day(day(0), &hot).await.expect("moved");
    assert_eq!((again.files, again.rows, again.generation), (0, 0, first.generation));
    let nothing = mover.move_day(day(400), &hot).await.expect("moved");
    assert_eq!((nothing.files, nothing.content.chunks), (0, 0));
}

#[tokio::test]
async fn late_ticks_join_their_day() {
    let objects = memory();
    let fleet = fleet(5, 3);
    let (mut hot, mut rows) = hot_fleet(5, 3);
    let mover = mover(&objects).await;
    mover.move_day(day(1), &hot).await.expect("moved");
    hot.drop_day(day(1));
    for (n, (series, ticks)) in late(&fleet, day(1)).into_iter().enumerate() {
        hot.add(series, &ticks, Some(0));
        add(&mut rows, series, &ticks);
        // What has come is read before it is moved, too.
        let reader = reader(&objects).await;
        let mut cursor = reader
            .day(day(1), &ColdQuery::all(), Some(hot.shared()))
            .await
            .expect("opened")
            .expect("a day");
        let mut count = 0;
        while let Some(stretch) = cursor.next().await.expect("read") {
            assert!(stretch.is_sound());
            count += stretch.ticks.len();
        }
        assert_eq!(count, of_day(&rows, day(1)).len(), "after {n}");
    }
    let moved = mover.move_day(day(1), &hot).await.expect("moved");
    assert!(moved.rows > 0 && moved.rows < of_day(&rows, day(1)).len() as u64);
    assert_eq!(cold_rows(&objects).await, of_day(&rows, day(1)));
    let remarks: usize = reader(&objects)
        .await
        .rows(&ColdQuery::all())
        .await
        .expect("rows")
        .iter()
        .map(|stretch| stretch.remarks.len())
        .sum();
    // Of each late chunk its first row had a remark; it was of a stamp all of whose values were
    // known, so that the row stayed behind with it.
    assert_eq!(remarks, 0);
    assert_tidy(&objects).await;
}

/// One step that may crash: what was before, what is to be after, and how it is done.
struct Step {
    before: Rows,
    after: Rows,
    hot: Hot,
    options: MoverOptions,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Move(Day),
    GiveUp(Day),
    Sweep,
}

impl Step {
    async fn run(&self, objects: Arc<dyn ObjectStore>) -> Result<(), ColdError> {
        let mover = Mover::open(objects, PARTITION, self.options).await?;
        match self.what {
            What::Move(day) => {
                let moved = mover.move_day(day, &self.hot).await?;
                assert_eq!(moved.mark, self.hot.mark);
            }
            What::GiveUp(day) => {
                mover.give_up_before(day).await?;
            }
            What::Sweep => {
                mover.sweep().await?;
            }
        }
        Ok(())
    }
}

/// Makes the same store again and again and lets the step crash at each of its operations.
async fn crash_everywhere<F: Future<Output = (Arc<dyn ObjectStore>, Step)>>(make: impl Fn() -> F) {
    for fault in FAULTS {
        for at in 0.. {
            assert!(at < 2_000, "a step has an end");
            let (objects, step) = make().await;
            let faulty = FaultStore::failing(&objects, at, fault);
            let result = step.run(Arc::new(faulty.clone())).await;
            let now = cold_rows(&objects).await;
            match &result {
                Ok(()) => assert_eq!(now, step.after, "done, and not there: {fault:?} at {at}"),
                Err(error) => {
                    let is_whole = now == step.before || now == step.after;
                    assert!(is_whole, "half of a step: {fault:?} at {at}: {error}");
                }
            }
            step.run(Arc::clone(&objects)).await.expect("a step made again ends well");
            assert_eq!(cold_rows(&objects).await, step.after, "{fault:?} at {at}");
            assert_tidy(&objects).await;
            if !faulty.struck() {
                assert!(result.is_ok());
                assert!(at > 4, "there was something to strike");
                break;
            }
            if matches!(fault, Fault::DiesBefore) {
                assert!(result.is_err() || now == step.after);
            }
        }
    }
}

#[tokio::test]
async fn a_first_move_is_all_or_nothing() {
    crash_everywhere(|| async {
        let (hot, rows) = hot_fleet(3, 4);
        let after = of_day(&rows, day(1));
        let what = What::Move(day(1));
        (memory(), Step { before: Rows::new(), after, hot, options: options(), what })
    })
    .await;
}

/// A store with a day, of which late ticks are still hot.
async fn with_late(options: MoverOptions) -> (Arc<dyn ObjectStore>, Step) {
    let objects = memory();
    let (mut hot, rows) = hot_fleet(3, 5);
    let before = of_day(&rows, day(1));
    mover(&objects).await.move_day(day(1), &hot).await.expect("moved");
    hot.drop_day(day(1));
    let mut after = before.clone();
    for (series, ticks) in late(&fleet(3, 5), day(1)) {
        hot.add(series, &ticks, Some(0));
        add(&mut after, series, &ticks);
    }
    (objects, Step { before, after, hot, options, what: What::Move(day(1)) })
}

#[tokio::test]
async fn a_move_of_late_ticks_is_all_or_nothing() {
    crash_everywhere(|| with_late(options())).await;
}

#[tokio::test]
async fn a_day_written_anew_is_all_or_nothing() {
    let anew = MoverOptions { files_of_day_max: 0, file_rows_max: 1 << 20, ..options() };
    crash_everywhere(|| with_late(anew)).await;
    let (objects, step) = with_late(anew).await;
    step.run(Arc::clone(&objects)).await.expect("moved");
    let manifest = Catalog::new(objects, PARTITION).newest().await.expect("a manifest");
    assert_eq!(manifest.of_day(day(1)).len(), 1, "all files became one");
}

#[tokio::test]
async fn days_are_given_up_at_once() {
    crash_everywhere(|| async {
        let objects = memory();
        let (hot, rows) = hot_fleet(2, 6);
        for n in 0..3 {
            mover(&objects).await.move_day(day(n), &hot).await.expect("moved");
        }
        let what = What::GiveUp(day(2));
        let after = of_day(&rows, day(2));
        (objects, Step { before: rows, after, hot, options: options(), what })
    })
    .await;
}

#[tokio::test]
async fn a_sweep_takes_nothing_that_is_named() {
    crash_everywhere(|| async {
        let (objects, step) = with_late(options()).await;
        // Killed right before its commit: files that nobody names.
        let dying = FaultStore::dying(&objects, "/manifest/");
        step.run(Arc::new(dying)).await.expect_err("killed");
        assert!(names(&objects).await.len() > 1);
        let before = step.before.clone();
        (objects, Step { after: before.clone(), before, what: What::Sweep, ..step })
    })
    .await;
}

#[tokio::test]
async fn a_day_that_was_given_up_stays_so() {
    let objects = memory();
    let (hot, _) = hot_fleet(2, 7);
    let mover = mover(&objects).await;
    mover.move_day(day(0), &hot).await.expect("moved");
    let gone = mover.give_up_before(day(1)).await.expect("given up");
    assert_eq!(gone.days, 1);
    let moved = mover.move_day(day(0), &hot).await.expect("moved");
    assert_eq!(moved.files, 0, "the caller may drop it all the same");
    assert!(cold_rows(&objects).await.is_empty());
    let again = mover.give_up_before(day(0)).await.expect("nothing to do");
    assert_eq!(again.days, 0, "retention does not go back");
}

#[tokio::test]
async fn many_late_moves_do_not_pile_up_files() {
    let objects = memory();
    let (mut hot, mut rows) = hot_fleet(2, 8);
    let options = MoverOptions { file_rows_max: 1 << 20, files_of_day_max: 3, ..options() };
    let mover = Mover::open(Arc::clone(&objects), PARTITION, options).await.expect("a mover");
    mover.move_day(day(0), &hot).await.expect("moved");
    let series = rows.keys().next().expect("rows").0;
    for n in 0..12_u8 {
        hot.drop_day(day(0));
        let at = novax_model::Timestamp(day(0).window().from.0 + u64::from(n) * 1_000 + 1);
        let tick = [novax_model::MeterTick { at, values: [Some(n.into()); 6] }];
        hot.add(series, &tick, Some(n));
        add(&mut rows, series, &tick);
        mover.move_day(day(0), &hot).await.expect("moved");
        let manifest = Catalog::new(Arc::clone(&objects), PARTITION).newest().await;
        assert!(manifest.expect("a manifest").of_day(day(0)).len() <= 4);
    }
    assert_eq!(cold_rows(&objects).await, of_day(&rows, day(0)));
    assert_tidy(&objects).await;
}
