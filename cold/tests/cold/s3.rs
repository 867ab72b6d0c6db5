//! The same against a real S3-compatible server, over HTTP: `moto`, as a process of its own.

use crate::faults::FaultStore;
use crate::python::{python, script};
use crate::world::{PARTITION, add, day, fleet, hot_fleet, late, of_day, options, rows_of};
use futures::TryStreamExt;
use novax_cold::export::{ExportOptions, ExportSource, Exporter};
use novax_cold::{
    CacheSizes, Caches, ColdError, ColdQuery, ColdReader, Mover, MoverOptions, Scrubber,
    StoreConfig,
};
use object_store::ObjectStore;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;

struct Server {
    child: Child,
    /// It lives as long as this is open.
    input: Option<ChildStdin>,
    port: u16,
}

impl Server {
    fn start() -> Server {
        let mut child = python()
            .arg(script("s3_server.py"))
            .arg("cold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python runs");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("a port: is moto installed?");
        let input = child.stdin.take();
        Server { child, input, port }
    }

    fn config(&self) -> StoreConfig {
        StoreConfig {
            url: "s3://cold/some/prefix".into(),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            region: Some("us-east-1".into()),
            access_key: Some("key".into()),
            secret_key: Some("secret".into()),
            allow_http: true,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_server_keeps_days_writers_and_exports() {
    let server = Server::start();
    let objects = server.config().open().expect("a store");
    // Parts of 5 MiB are the least that S3 takes; one file of this fleet is less, so it is put whole.
    let options = MoverOptions { part_bytes: 5 << 20, ..options() };
    let mover = Mover::open(Arc::clone(&objects), PARTITION, options).await.expect("a mover");
    let (mut hot, mut rows) = hot_fleet(4, 1);
    mover.move_day(day(0), &hot).await.expect("moved");
    mover.move_day(day(1), &hot).await.expect("moved");
    hot.drop_day(day(1));
    for (series, ticks) in late(&fleet(2, 1), day(1)) {
        hot.add(series, &ticks, Some(0));
        add(&mut rows, series, &ticks);
    }

    // A mover that dies after its files are there and before they are named, and one that does not.
    let dying = Arc::new(FaultStore::dying(&objects, "/manifest/"));
    let dying = Mover::open(dying, PARTITION, options).await.expect("a mover");
    dying.move_day(day(1), &hot).await.expect_err("it died");
    let late = mover.move_day(day(1), &hot).await.expect("moved");
    assert!(late.rows > 0);
    assert_eq!(mover.sweep().await.expect("swept"), 0, "what it left became what was moved");
    let rival = FaultStore::dying(&objects, "/manifest/");
    let rival = Mover::open(Arc::new(rival), PARTITION, options).await.expect("a mover");
    rival.move_day(day(2), &hot).await.expect_err("it died");
    assert!(mover.sweep().await.expect("swept") > 0);

    let caches = Arc::new(Caches::new(CacheSizes::default()));
    let reader = ColdReader::open(Arc::clone(&objects), PARTITION, caches).await.expect("a reader");
    let mut wanted = of_day(&rows, day(0));
    wanted.extend(of_day(&rows, day(1)));
    assert_eq!(rows_of(&reader.rows(&ColdQuery::all()).await.expect("rows")), wanted);
    let report = Scrubber::new(Arc::clone(&objects), PARTITION).verify().await.expect("verified");
    assert!(report.damage.is_empty() && report.rows > 0);

    let source = ExportSource {
        partition: PARTITION,
        cold: Some(reader.clone()),
        hot: None,
        stations: BTreeMap::new(),
    };
    let root = Path::from("parquet");
    let exporter = Exporter::new(Arc::clone(&objects), root.clone(), ExportOptions::default());
    let report = exporter.expect("an export").run(&[source], |_| {}).await.expect("exported");
    assert_eq!(report.rows, wanted.len() as u64);
    let metas: Vec<_> = objects.list(Some(&root)).try_collect().await.expect("a list");
    assert_eq!(metas.len(), report.parts + 1, "and its progress");

    mover.give_up_before(day(1)).await.expect("given up");
    reader.refresh().await.expect("a manifest");
    let rest = rows_of(&reader.rows(&ColdQuery::all()).await.expect("rows"));
    assert_eq!(rest, of_day(&rows, day(1)));
}

#[tokio::test]
async fn large_files_go_up_in_parts() {
    let server = Server::start();
    let objects = server.config().open().expect("a store");
    let bytes: Vec<u8> =
        (0..12_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let path = Path::from("large");
    novax_cold::put_whole(objects.as_ref(), &path, bytes.clone().into(), 5 << 20)
        .await
        .expect("put");
    let back = object_store::ObjectStoreExt::get(&objects, &path).await.expect("there");
    assert_eq!(back.bytes().await.expect("read").len(), bytes.len());
}

#[tokio::test]
async fn a_wrong_bucket_and_a_dead_server_are_errors_that_say_so() {
    let server = Server::start();
    let wrong = StoreConfig { url: "s3://nowhere".into(), ..server.config() };
    let objects = wrong.open().expect("nothing is asked yet");
    let error = Mover::open(objects, PARTITION, options()).await.expect_err("no bucket");
    assert!(matches!(error, ColdError::Store(_)), "{error}");
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
}
