//! A local directory as the store: whole objects or none, put-if-absent, leftovers out of sight.

use crate::world::{PARTITION, cold_rows, day, hot_fleet, mover, of_day};
use futures::TryStreamExt;
use novax_cold::{ColdError, DurableLocal, Scrubber, StoreConfig};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use std::sync::Arc;

fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}

async fn read(store: &DurableLocal, path: &Path) -> Vec<u8> {
    store.get(path).await.expect("there").bytes().await.expect("read").to_vec()
}

#[tokio::test]
async fn a_name_that_is_taken_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = DurableLocal::open(&dir.path().join("made/by/it")).expect("a store");
    let path = Path::from("a/b/c.nvm");
    store.put_opts(&path, "first".into(), create()).await.expect("made");
    let taken = store.put_opts(&path, "second".into(), create()).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
    assert_eq!(read(&store, &path).await, b"first");
    store.put(&path, "third".into()).await.expect("replaced");
    assert_eq!(read(&store, &path).await, b"third");
    let files = std::fs::read_dir(dir.path().join("made/by/it/a/b")).expect("a folder").count();
    assert_eq!(files, 1, "nothing is left beside it");
}

#[tokio::test]
async fn of_many_that_want_one_name_one_gets_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Arc::new(DurableLocal::open(dir.path()).expect("a store"));
    let path = Path::from("series/p000/manifest/0000000001.nvm");
    let tries = (0..16).map(|n| {
        let (store, path) = (Arc::clone(&store), path.clone());
        tokio::spawn(async move { store.put_opts(&path, format!("{n}").into(), create()).await })
    });
    let mut made = 0;
    for one in tries.collect::<Vec<_>>() {
        made += usize::from(one.await.expect("it ran").is_ok());
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_no_object() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = StoreConfig::local(dir.path().to_str().expect("UTF-8"));
    let objects = config.open().expect("a store");
    let (hot, rows) = hot_fleet(3, 1);
    mover(&objects).await.move_day(day(0), &hot).await.expect("moved");
    for (folder, name) in [("manifest", "0000000002.nvm#1"), ("2026-11-21", "g000002-00.nvc#17")] {
        let path = dir.path().join("series/p007").join(folder).join(name);
        std::fs::write(path, "half").expect("written");
    }
    let metas: Vec<_> = objects.list(None).try_collect().await.expect("a list");
    assert!(metas.iter().all(|meta| !meta.location.as_ref().contains('#')));
    mover(&objects).await.move_day(day(1), &hot).await.expect("moved");
    let mut both = of_day(&rows, day(0));
    both.extend(of_day(&rows, day(1)));
    assert_eq!(cold_rows(&objects).await, both);
    let report = Scrubber::new(objects, PARTITION).verify().await.expect("verified");
    assert!(report.damage.is_empty());
}

#[test]
fn an_address_that_names_no_store_is_refused() {
    let addresses = [
        ("", "empty"),
        ("gs://bucket", "neither file nor s3"),
        ("s3://", "bucket"),
        ("file://host/dir", "local path"),
    ];
    for (url, reason) in addresses {
        let error = StoreConfig::local(url).open().expect_err(url);
        assert!(matches!(error, ColdError::Address(_)), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let half =
        StoreConfig { access_key: Some("key".into()), ..StoreConfig::local("s3://bucket/prefix") };
    assert!(matches!(half.open(), Err(ColdError::Address(_))));
    let secret = StoreConfig { secret_key: Some("hush".into()), ..half };
    assert!(!format!("{secret:?}").contains("hush"));
}
