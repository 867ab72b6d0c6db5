//! Random work on both tiers, with crashes, against a map: nothing is lost, nothing comes twice.

use crate::faults::{FAULTS, FaultStore};
use crate::world::{Hot, PARTITION, Rows, add, day, memory, options, reader};
use novax_cold::{ColdQuery, Day, HotContent, Moved, Mover, MoverOptions, Scrubber};
use novax_model::{MeterTick, Timestamp};
use object_store::ObjectStore;
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Step {
    /// Ticks of a series come in, at these minutes of a day.
    Ticks { series: u64, day: u32, minutes: Vec<u16> },
    /// A day is moved; maybe the process dies or the store fails at some operation.
    Move { day: u32, fault: Option<(u64, usize)> },
    /// The hot rows of the day moved last are dropped, if they are still those that were moved.
    Drop,
    /// Days before one are given up.
    GiveUp { day: u32, fault: Option<(u64, usize)> },
    /// What nobody names is deleted.
    Sweep { fault: Option<(u64, usize)> },
}

fn step() -> impl Strategy<Value = Step> {
    let fault = || proptest::option::weighted(0.5, (0_u64..40, 0_usize..FAULTS.len()));
    let minutes = proptest::collection::btree_set(0_u16..40, 1..12);
    prop_oneof![
        5 => (1_u64..5, 0_u32..4, minutes).prop_map(|(series, day, minutes)| {
            Step::Ticks { series, day, minutes: minutes.into_iter().collect() }
        }),
        4 => (0_u32..4, fault()).prop_map(|(day, fault)| Step::Move { day, fault }),
        3 => Just(Step::Drop),
        1 => (0_u32..4, fault()).prop_map(|(day, fault)| Step::GiveUp { day, fault }),
        2 => fault().prop_map(|fault| Step::Sweep { fault }),
    ]
}

struct World {
    objects: Arc<dyn ObjectStore>,
    hot: Hot,
    rows: Rows,
    moved: Option<Moved>,
    kept_from: Day,
    count: u32,
}

impl World {
    async fn mover(&self, fault: Option<(u64, usize)>) -> Option<Mover> {
        let faulty = |(at, kind): (u64, usize)| -> Arc<dyn ObjectStore> {
            Arc::new(FaultStore::failing(&self.objects, at, FAULTS[kind]))
        };
        let objects = fault.map_or_else(|| Arc::clone(&self.objects), faulty);
        let options = MoverOptions { files_of_day_max: 4, file_rows_max: 20, ..options() };
        Mover::open(objects, PARTITION, options).await.ok()
    }

    async fn apply(&mut self, step: Step) {
        self.count += 1;
        match step {
            Step::Ticks { series, day: n, minutes } => {
                let start = day(n).window().from.0;
                let value = i64::from(self.count);
                let ticks: Vec<MeterTick> = minutes
                    .iter()
                    .map(|minute| MeterTick {
                        at: Timestamp(start + u64::from(*minute) * 60_000_000),
                        values: std::array::from_fn(|place| {
                            ((place + usize::from(*minute)) % 4 != 0).then_some(value)
                        }),
                    })
                    .collect();
                // Each batch is later than the one before: the order of keys says so.
                let sequence = u8::try_from(self.count).expect("few steps");
                self.hot.add(series, &ticks, Some(sequence));
                if day(n) >= self.kept_from {
                    add(&mut self.rows, series, &ticks);
                }
            }
            Step::Move { day: n, fault } => {
                let Some(mover) = self.mover(fault).await else { return };
                if let Ok(moved) = mover.move_day(day(n), &self.hot).await {
                    self.moved = Some(moved);
                }
            }
            Step::Drop => {
                let Some(moved) = self.moved.take() else { return };
                let now = HotContent::of(&self.hot, moved.window).expect("a view").0;
                if now == moved.content {
                    self.hot.drop_day(moved.day);
                }
            }
            Step::GiveUp { day: n, fault } => {
                let Some(mover) = self.mover(fault).await else { return };
                if mover.give_up_before(day(n)).await.is_err() {
                    let again = self.mover(None).await.expect("a mover");
                    again.give_up_before(day(n)).await.expect("given up");
                }
                self.kept_from = self.kept_from.max(day(n));
                let kept = self.kept_from.window().from.0;
                self.rows.retain(|(_, at), _| *at >= kept);
            }
            Step::Sweep { fault } => {
                if let Some(mover) = self.mover(fault).await {
                    let _ = mover.sweep().await;
                }
            }
        }
    }

    /// What both tiers together say of the days that are kept.
    async fn read(&self) -> Rows {
        let reader = reader(&self.objects).await;
        let mut got = Rows::new();
        for n in 0..4 {
            if day(n) < self.kept_from {
                continue;
            }
            let hot = Some(self.hot.shared());
            let cursor = reader.day(day(n), &ColdQuery::all(), hot).await.expect("opened");
            let mut cursor = cursor.expect("a day");
            let mut last = None;
            while let Some(stretch) = cursor.next().await.expect("read") {
                assert!(last < Some(stretch.series), "series ascend");
                last = Some(stretch.series);
                for tick in stretch.ticks {
                    let before = got.insert((stretch.series, tick.at.0), tick.values);
                    assert_eq!(before, None, "no row comes twice");
                }
            }
        }
        got
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn both_tiers_together_are_what_came_in(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World {
                objects: memory(),
                hot: Hot::default(),
                rows: Rows::new(),
                moved: None,
                kept_from: Day::FIRST,
                count: 0,
            };
            for step in steps {
                world.apply(step).await;
                let got = world.read().await;
                // Hot rows of a day given up may linger until they are dropped; they are not asked for.
                assert_eq!(got, world.rows);
            }
            let report = Scrubber::new(Arc::clone(&world.objects), PARTITION).verify().await;
            assert!(report.expect("verified").damage.is_empty());
        });
    }
}
