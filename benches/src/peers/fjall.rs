//! fjall 3, with its own defaults where the benchmark does not ask for something: memtables and cache.

use crate::engine::latency::{Latencies, Pace};
use crate::engine::store::{DurableLoad, KeyValue, Sizing};
use crate::engine::workload::{Dice, Values, key};
use crate::error::{BenchError, Result};
use crate::quiet;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;
use std::time::{Duration, Instant};

/// Threads that put and wait for the disk: more do not make it faster, it does not gather them.
const CLIENTS: u64 = 32;

pub(crate) struct Fjall {
    database: Database,
    items: Keyspace,
}

fn failed(error: &fjall::Error) -> BenchError {
    BenchError::Store("fjall", error.to_string())
}

impl Fjall {
    pub(crate) fn open(dir: &Path, sizing: Sizing) -> Result<Fjall> {
        let database = Database::builder(dir)
            .cache_size(sizing.cache_bytes)
            .max_journaling_size(sizing.log_bytes)
            .open()
            .map_err(|error| failed(&error))?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(sizing.memtable_bytes);
        let items = database.keyspace("items", options).map_err(|error| failed(&error))?;
        Ok(Fjall { database, items })
    }
}

impl KeyValue for Fjall {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.items.insert(key, value).map_err(|error| failed(&error))
    }

    fn get(&mut self, key: &[u8]) -> Result<bool> {
        Ok(self.items.get(key).map_err(|error| failed(&error))?.is_some())
    }

    fn settle(&mut self) -> Result<()> {
        self.items.rotate_memtable_and_wait().map_err(|error| failed(&error))?;
        quiet::wait(|| {
            Ok(self.database.outstanding_flushes() + self.database.active_compactions() == 0)
        })
    }

    fn sync(&mut self) -> Result<()> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| failed(&error))
    }

    fn compactions(&mut self) -> Result<u64> {
        Ok(u64::try_from(self.database.compactions_completed()).unwrap_or(u64::MAX))
    }

    fn paced_durable(&mut self, _pace: &Pace) -> Result<Latencies> {
        let slow = "it syncs a few thousand times a second, far below the pace";
        Err(BenchError::Store("fjall", slow.into()))
    }

    fn durable_load(&mut self, keys: u64, time: Duration) -> Result<DurableLoad> {
        let (database, items) = (&self.database, &self.items);
        let until = Instant::now() + time;
        let client = |seed: u64| -> Result<Vec<u32>> {
            let (mut dice, mut values) = (Dice::new(seed), Values::new(seed));
            let mut latencies_us = Vec::new();
            while Instant::now() < until {
                let begun = Instant::now();
                let put = items.insert(key(dice.below(keys)), values.next());
                let put = put.and_then(|()| database.persist(PersistMode::SyncAll));
                put.map_err(|error| failed(&error))?;
                latencies_us.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok(latencies_us)
        };
        std::thread::scope(|scope| {
            let client = &client;
            let threads: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(move || client(n))).collect();
            let mut load = DurableLoad { clients: CLIENTS, ..DurableLoad::default() };
            for thread in threads {
                load.latencies_us.extend(thread.join().expect("a client does not panic")?);
            }
            load.puts = u64::try_from(load.latencies_us.len()).expect("a count");
            Ok(load)
        })
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| failed(&error))
    }
}
