//! What is damaged or missing is named; the rest stays readable.

use crate::world::{
    PARTITION, Rows, cold_rows, day, hot_fleet, memory, mover, of_day, reader, rows_of,
};
use bytes::Bytes;
use novax_cold::{Catalog, ColdError, ColdQuery, Manifest, ScrubPlace, Scrubber};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;

async fn store() -> (Arc<dyn ObjectStore>, Rows, Manifest) {
    let objects = memory();
    let (hot, rows) = hot_fleet(4, 1);
    for n in 0..3 {
        mover(&objects).await.move_day(day(n), &hot).await.expect("moved");
    }
    let manifest = Catalog::new(Arc::clone(&objects), PARTITION).newest().await;
    (objects, rows, manifest.expect("a manifest"))
}

async fn change(objects: &Arc<dyn ObjectStore>, path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let bytes = objects.get(path).await.expect("there").bytes().await.expect("read");
    let mut bytes = bytes.to_vec();
    change(&mut bytes);
    objects.put(path, Bytes::from(bytes).into()).await.expect("written");
}

fn victim(manifest: &Manifest) -> Path {
    manifest.of_day(day(1))[0].path(PARTITION, day(1))
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_a_file_is_found_and_contained() {
    let (objects, rows, manifest) = store().await;
    let path = victim(&manifest);
    let length = manifest.of_day(day(1))[0].bytes as usize;
    for at in (0..length).step_by(97).chain(length - 30..length) {
        change(&objects, &path, |bytes| bytes[at] ^= 0x10).await;
        let report =
            Scrubber::new(Arc::clone(&objects), PARTITION).verify().await.expect("a report");
        assert_eq!(report.files, manifest.files().count());
        assert_eq!(report.damage.len(), 1, "byte {at}");
        assert_eq!(
            (report.damage[0].object.as_str(), report.damage[0].day),
            (path.as_ref(), day(1))
        );
        let reader = reader(&objects).await;
        match reader.rows(&ColdQuery::all()).await {
            Err(ColdError::Damaged { object, .. }) => assert_eq!(object, path.as_ref()),
            // Bytes that nothing rests on may be read past, never misread.
            Ok(all) => assert_eq!(rows_of(&all), rows),
            Err(error) => panic!("byte {at}: {error}"),
        }
        let window = day(2).window();
        let other = ColdQuery { from: window.from, to: window.to, ..ColdQuery::all() };
        let other = reader.rows(&other).await.expect("another day is readable");
        assert_eq!(rows_of(&other), of_day(&rows, day(2)));
        change(&objects, &path, |bytes| bytes[at] ^= 0x10).await;
    }
    assert_eq!(cold_rows(&objects).await, rows);
}

#[tokio::test]
async fn a_cut_or_missing_file_is_named() {
    let (objects, rows, manifest) = store().await;
    let path = victim(&manifest);
    let whole = objects.get(&path).await.expect("there").bytes().await.expect("read");
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        objects.put(&path, whole.slice(..length).into()).await.expect("written");
        let report =
            Scrubber::new(Arc::clone(&objects), PARTITION).verify().await.expect("a report");
        assert_eq!(report.damage.len(), 1);
        assert!(reader(&objects).await.rows(&ColdQuery::all()).await.is_err());
    }
    objects.delete(&path).await.expect("deleted");
    let report = Scrubber::new(Arc::clone(&objects), PARTITION).verify().await.expect("a report");
    assert_eq!(report.damage.len(), 1);
    assert_eq!(report.damage[0].object, path.as_ref());
    let error = reader(&objects).await.rows(&ColdQuery::all()).await.expect_err("missing");
    assert!(error.to_string().contains(path.as_ref()), "{error}");
    objects.put(&path, whole.into()).await.expect("restored");
    assert_eq!(cold_rows(&objects).await, rows);
}

#[tokio::test]
async fn a_scrub_goes_on_a_file_at_a_time() {
    let (objects, _, manifest) = store().await;
    change(&objects, &victim(&manifest), |bytes| bytes[3] ^= 1).await;
    let scrubber = Scrubber::new(Arc::clone(&objects), PARTITION);
    let (mut place, mut looked, mut found) = (ScrubPlace::default(), 0, 0);
    loop {
        let (report, next) = scrubber.scrub(place).await.expect("a report");
        looked += report.files;
        found += report.damage.len();
        place = next;
        if place == ScrubPlace::default() {
            break;
        }
    }
    assert_eq!((looked, found), (manifest.files().count(), 1));
}

#[tokio::test]
async fn a_damaged_manifest_is_not_passed_over_for_an_older_one() {
    let (objects, _, manifest) = store().await;
    let path = Path::from(format!("series/p007/manifest/{:010}.nvm", manifest.generation));
    change(&objects, &path, |bytes| bytes[20] ^= 1).await;
    let error = Catalog::new(Arc::clone(&objects), PARTITION).newest().await.expect_err("damaged");
    assert!(
        matches!(&error, ColdError::Damaged { object, .. } if object == path.as_ref()),
        "{error}"
    );
    let (hot, _) = hot_fleet(4, 1);
    mover(&objects).await.move_day(day(0), &hot).await.expect_err("nothing is moved");
}
