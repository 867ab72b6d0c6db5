//! Building, draining and comparing stores.

use crate::sim_disk::{Rng, SimDisk};
use novax_engine::{Batch, BuiltTables, Engine, Error, Options, Progress, Snapshot, Worker};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub(crate) const DIR: &str = "/store";
pub(crate) const KEYSPACES: u8 = 3;

/// What a store should hold, by keyspace and key.
pub(crate) type Model = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// Sizes so small that a few hundred entries fill several levels.
pub(crate) fn small() -> Options {
    Options {
        keyspaces: KEYSPACES,
        memtable_bytes_max: 4 << 10,
        block_cache_bytes: 16 << 10,
        table_bytes_max: 2 << 10,
        level0_tables_max: 2,
        level1_bytes_max: 6 << 10,
        retry_after: Duration::ZERO,
        ..Options::default()
    }
}

/// Sizes so small that a few dozen entries fill several levels.
pub(crate) fn tiny() -> Options {
    Options {
        memtable_bytes_max: 1 << 10,
        block_cache_bytes: 4 << 10,
        table_bytes_max: 512,
        level1_bytes_max: 256,
        ..small()
    }
}

/// Bytes that do not compress, the same each time.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng(seed);
    (0..len).map(|_| rng.next() as u8).collect()
}

/// An engine whose background work can be waited for.
pub(crate) struct Store {
    pub(crate) engine: Engine,
    wakes: Receiver<()>,
    /// Last: the engine waits for it when dropped.
    _worker: Worker,
}

impl Store {
    pub(crate) fn open(disk: &SimDisk, options: Options) -> Result<Store, Error> {
        Store::open_in(disk, Path::new(DIR), options)
    }

    pub(crate) fn open_in(disk: &SimDisk, dir: &Path, options: Options) -> Result<Store, Error> {
        // One thread for each job that may run at once: a single compaction needs no second.
        let threads = if options.compactions_max > 2 { 1 + options.compactions_max } else { 1 };
        let worker = Worker::start(threads).unwrap();
        let mut engine = Engine::open_on(disk.arc(), dir, options, &worker)?;
        let (sender, wakes) = channel();
        engine.set_wake(Arc::new(move || sender.send(()).unwrap_or_default()));
        Ok(Store { engine, wakes, _worker: worker })
    }

    /// Returns when a job has reported back.
    pub(crate) fn wait(&self) {
        self.wakes.recv().unwrap();
    }

    /// Polls until nothing is in flight; stops at the first error.
    pub(crate) fn drain(&mut self) -> Result<Progress, Error> {
        loop {
            let progress = self.engine.poll()?;
            if !progress.flush_in_flight && !progress.compacting {
                return Ok(progress);
            }
            self.wakes.recv().unwrap();
        }
    }

    /// Flushes and waits for it and for the compactions that follow.
    pub(crate) fn flush(&mut self) -> Result<Progress, Error> {
        // What a flush in flight does not cover is flushed by the next.
        self.drain()?;
        self.engine.flush();
        self.drain()
    }

    /// Takes tables in and waits until they are.
    pub(crate) fn ingest(&mut self, built: BuiltTables) -> Result<(), Error> {
        self.engine.ingest(built)?;
        while self.engine.poll()?.ingesting {
            self.wakes.recv().unwrap();
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, mark: u64, entries: &[(u8, &[u8], &[u8])]) {
        let mut batch = Batch::new();
        for (keyspace, key, value) in entries {
            batch.put(*keyspace, key, value);
        }
        batch.set_mark(mark);
        self.engine.write(&mut batch);
    }
}

/// Everything in a snapshot, which is read once from the front and once from the back.
pub(crate) fn contents(snapshot: &Snapshot) -> Result<Model, Error> {
    let mut model = Model::new();
    for keyspace in 0..KEYSPACES {
        let mut forward = Vec::new();
        for entry in snapshot.range(keyspace, b"", None) {
            forward.push(entry?);
        }
        let mut backward = Vec::new();
        for entry in snapshot.range_rev(keyspace, b"", None) {
            backward.push(entry?);
        }
        backward.reverse();
        assert_eq!(forward, backward, "both directions agree");
        assert!(forward.is_sorted_by(|a, b| a.0 < b.0), "each key once, in order");
        model.extend(forward.into_iter().map(|(key, value)| ((keyspace, key), value)));
    }
    Ok(model)
}
