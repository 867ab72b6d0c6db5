//! Two writers at one partition, as after a change of leaders, and readers beside writers.

use crate::faults::FaultStore;
use crate::world::{PARTITION, cold_rows, day, hot_fleet, memory, mover, of_day, options, reader};
use novax_cold::{Catalog, ColdError, ColdQuery, Commit, GENERATIONS_KEPT, Mover, Scrubber};
use object_store::ObjectStore;
use std::sync::Arc;

async fn assert_whole(objects: &Arc<dyn ObjectStore>) {
    let report = Scrubber::new(Arc::clone(objects), PARTITION).verify().await.expect("verified");
    assert!(report.damage.is_empty(), "{:?}", report.damage);
}

/// Starts a move that stops right before it commits.
async fn stopped(
    objects: &Arc<dyn ObjectStore>,
    n: u32,
    hot: &crate::world::Hot,
) -> (FaultStore, tokio::task::JoinHandle<Result<novax_cold::Moved, ColdError>>) {
    let slow = FaultStore::waiting(objects, "/manifest/");
    let (store, hot) = (Arc::new(slow.clone()), hot.clone());
    let task = tokio::spawn(async move {
        let mover = Mover::open(store, PARTITION, options()).await?;
        mover.move_day(day(n), &hot).await
    });
    slow.reached().await;
    (slow, task)
}

#[tokio::test]
async fn of_two_movers_that_do_the_same_both_are_right() {
    let objects = memory();
    let (hot, rows) = hot_fleet(3, 1);
    let (slow, task) = stopped(&objects, 0, &hot).await;
    let first = mover(&objects).await.move_day(day(0), &hot).await.expect("moved");
    slow.go_on();
    let second = task.await.expect("it ran").expect("moved");
    assert_eq!(second, first, "the manifest that the second found is, byte for byte, its own");
    assert_eq!(cold_rows(&objects).await, of_day(&rows, day(0)));
    assert_whole(&objects).await;
}

#[tokio::test]
async fn of_two_movers_of_one_day_the_second_adds_what_the_first_lacked() {
    let objects = memory();
    let (hot, rows) = hot_fleet(3, 1);
    let (slow, task) = stopped(&objects, 0, &hot).await;
    let (series, _) = *rows.keys().next().expect("rows");
    let mut less = hot.clone();
    less.chunks.retain(|key, _| key.starts_with(&series.to_be_bytes()));
    let first = mover(&objects).await.move_day(day(0), &less).await.expect("moved");
    slow.go_on();
    let second = task.await.expect("it ran").expect("moved");
    assert_eq!(second.generation, first.generation + 1);
    assert_eq!(first.rows + second.rows, of_day(&rows, day(0)).len() as u64);
    assert_eq!(cold_rows(&objects).await, of_day(&rows, day(0)));
    assert_whole(&objects).await;
}

#[tokio::test]
async fn of_two_movers_of_two_days_neither_loses_its_own() {
    let objects = memory();
    let (hot, rows) = hot_fleet(3, 2);
    let (slow, task) = stopped(&objects, 0, &hot).await;
    mover(&objects).await.move_day(day(1), &hot).await.expect("moved");
    slow.go_on();
    let moved = task.await.expect("it ran").expect("moved");
    assert!(moved.files > 0);
    let mut both = of_day(&rows, day(0));
    both.extend(of_day(&rows, day(1)));
    assert_eq!(cold_rows(&objects).await, both);
    assert_whole(&objects).await;
}

#[tokio::test]
async fn a_mover_that_slept_through_many_generations_does_not_believe_it_is_done() {
    let objects = memory();
    let (hot, rows) = hot_fleet(2, 3);
    let (slow, task) = stopped(&objects, 0, &hot).await;
    let catalog = Catalog::new(Arc::clone(&objects), PARTITION);
    for _ in 0..GENERATIONS_KEPT + 4 {
        let next = catalog.newest().await.expect("a manifest").next();
        assert_eq!(catalog.commit(&next).await.expect("an answer"), Commit::Done);
    }
    // The name it is about to take is free again.
    let first = object_store::path::Path::from("series/p007/manifest/0000000001.nvm");
    let first = objects.get_opts(&first, Default::default()).await;
    assert!(first.is_err(), "old generations are deleted");
    slow.go_on();
    let moved = task.await.expect("it ran").expect("moved");
    let newest = catalog.newest().await.expect("a manifest");
    assert_eq!(moved.generation, newest.generation);
    assert_eq!(cold_rows(&objects).await, of_day(&rows, day(0)));
    assert_whole(&objects).await;
}

#[tokio::test]
async fn a_sweep_beside_a_move_takes_no_file_that_comes_into_force() {
    let objects = memory();
    let (hot, rows) = hot_fleet(3, 4);
    let (slow, task) = stopped(&objects, 0, &hot).await;
    let swept = mover(&objects).await.sweep().await.expect("swept");
    assert!(swept > 0, "files of the move that has not committed");
    slow.go_on();
    let moved = task.await.expect("it ran").expect("moved");
    assert!(moved.files > 0, "written again under other names");
    assert_eq!(cold_rows(&objects).await, of_day(&rows, day(0)));
    assert_whole(&objects).await;
}

#[tokio::test]
async fn a_reader_goes_on_when_its_files_are_replaced() {
    let objects = memory();
    let (hot, rows) = hot_fleet(3, 5);
    mover(&objects).await.move_day(day(0), &hot).await.expect("moved");
    let reader = reader(&objects).await;
    let was = reader.manifest();
    let anew =
        novax_cold::MoverOptions { files_of_day_max: 0, file_rows_max: 1 << 20, ..options() };
    let writer = Mover::open(Arc::clone(&objects), PARTITION, anew).await.expect("a mover");
    let mut more = hot.clone();
    let late = novax_model::MeterTick { at: day(0).window().from, values: [Some(5); 6] };
    let (series, _) = *rows.keys().next().expect("rows");
    more.add(series, &[late], Some(1));
    writer.move_day(day(0), &more).await.expect("moved");
    writer.sweep().await.expect("swept");
    let got = crate::world::rows_of(&reader.rows(&ColdQuery::all()).await.expect("rows"));
    let mut wanted = of_day(&rows, day(0));
    crate::world::add(&mut wanted, series, &[late]);
    assert_eq!(got, wanted);
    assert!(reader.manifest().generation > was.generation);
}

/// A store that takes a second object under a name that is taken.
#[derive(Debug)]
struct Careless(Arc<dyn ObjectStore>);

impl std::fmt::Display for Careless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("careless")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Careless {
    async fn put_opts(
        &self,
        location: &object_store::path::Path,
        payload: object_store::PutPayload,
        _: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.0.put_opts(location, payload, Default::default()).await
    }

    async fn put_multipart_opts(
        &self,
        location: &object_store::path::Path,
        options: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &object_store::path::Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<
            'static,
            object_store::Result<object_store::path::Path>,
        >,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>> {
        self.0.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> object_store::Result<object_store::ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &object_store::path::Path,
        to: &object_store::path::Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_store_that_does_not_keep_writers_apart_is_refused() {
    let careless: Arc<dyn ObjectStore> = Arc::new(Careless(memory()));
    let refused = Mover::open(careless, PARTITION, options()).await;
    assert!(matches!(refused, Err(ColdError::Unfit(_))), "{refused:?}");
}
