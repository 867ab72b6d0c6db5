//! Our store standing alone, with its log.

use super::latency::{Latencies, Pace};
use super::store::{DurableLoad, KeyValue, Sizing};
use super::workload::{Dice, Values, key};
use crate::error::{BenchError, Result};
use crate::quiet;
use novax_engine::store::{Client, Error, Store, StoreOptions, Ticket};
use novax_engine::{Batch, Options};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// Logical clients with one durable put outstanding each, and the threads that act for them.
const CLIENTS: usize = 1_000;
const CLIENT_THREADS: usize = 4;
/// Paced puts that wait to be durable; past this the pace is not held, which shows in the latencies.
const PACED_OUTSTANDING_MAX: usize = 1 << 16;
const SEGMENT_BYTES: u64 = 64 << 20;

pub(crate) struct Ours {
    store: Store,
    client: Client,
    batch: Batch,
    mark: u64,
}

fn failed(error: &Error) -> BenchError {
    BenchError::Store("novax", error.to_string())
}

fn options(sizing: Sizing) -> StoreOptions {
    let bytes = |bytes: u64| usize::try_from(bytes).expect("64 bits");
    StoreOptions {
        engine: Options {
            memtable_bytes_max: bytes(sizing.memtable_bytes),
            block_cache_bytes: bytes(sizing.cache_bytes),
            ..Options::default()
        },
        segment_bytes: SEGMENT_BYTES,
        // As many again, because a segment is only cut when all it holds is flushed.
        segments_max: sizing.log_bytes / SEGMENT_BYTES,
        ..StoreOptions::default()
    }
}

impl Ours {
    pub(crate) fn open(dir: &Path, sizing: Sizing) -> Result<Ours> {
        let store = Store::open(dir, options(sizing)).map_err(|error| failed(&error))?;
        let client = store.client();
        Ok(Ours { store, client, batch: Batch::new(), mark: 0 })
    }

    /// What the store says of itself, once it has flushed: whether memory is empty.
    fn is_flushed(&self) -> Result<bool> {
        let stats = self.client.stats().map_err(|error| failed(&error))?;
        Ok(stats.flushed_mark == stats.mark)
    }
}

/// Hands over, waiting for room as long as the store says that it is busy.
fn handed<T>(client: &Client, mut put: impl FnMut() -> std::result::Result<T, Error>) -> Result<T> {
    loop {
        match put() {
            Err(Error::Busy) => client.wait_for_room().map_err(|error| failed(&error))?,
            done => return done.map_err(|error| failed(&error)),
        }
    }
}

/// One of several threads that act for logical clients: each puts again as soon as its put is durable.
fn act_for_clients(client: &Client, seed: u64, keys: u64, until: Instant) -> Result<Vec<u32>> {
    let (mut dice, mut values) = (Dice::new(seed), Values::new(seed));
    let mut batch = Batch::new();
    let mut outstanding: VecDeque<(Instant, Ticket)> = VecDeque::with_capacity(CLIENTS);
    let mut latencies_us = Vec::new();
    loop {
        let now = Instant::now();
        while now < until && outstanding.len() < CLIENTS / CLIENT_THREADS {
            batch.put(0, &key(dice.below(keys)), values.next());
            let begun = Instant::now();
            outstanding.push_back((begun, handed(client, || client.submit(&mut batch))?));
        }
        // Marks are durable in their order: the oldest first.
        let Some((begun, ticket)) = outstanding.pop_front() else { return Ok(latencies_us) };
        ticket.wait().map_err(|error| failed(&error))?;
        latencies_us.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

impl KeyValue for Ours {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let Ours { client, batch, .. } = self;
        batch.put(0, key, value);
        self.mark = handed(client, || client.write_relaxed(batch))?;
        Ok(())
    }

    fn get(&mut self, key: &[u8]) -> Result<bool> {
        Ok(self.client.get(0, key).map_err(|error| failed(&error))?.is_some())
    }

    fn settle(&mut self) -> Result<()> {
        self.client.flush().map_err(|error| failed(&error))?;
        quiet::wait(|| self.is_flushed())
    }

    fn sync(&mut self) -> Result<()> {
        self.client.wait_durable(self.mark).map_err(|error| failed(&error))
    }

    fn compactions(&mut self) -> Result<u64> {
        Ok(self.client.stats().map_err(|error| failed(&error))?.engine.compactions)
    }

    fn paced_durable(&mut self, pace: &Pace) -> Result<Latencies> {
        let client = &self.client;
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let (sender, tickets) = sync_channel::<(u64, Ticket)>(PACED_OUTSTANDING_MAX);
            let waiter = scope.spawn(move || -> Result<Latencies> {
                let mut latencies = Latencies::default();
                for (n, ticket) in tickets {
                    ticket.wait().map_err(|error| failed(&error))?;
                    pace.note(n, begun, &mut latencies);
                }
                Ok(latencies)
            });
            let (mut dice, mut values) = (Dice::new(44), Values::new(301));
            let mut batch = Batch::new();
            for n in 0..pace.count() {
                pace.wait(n, begun);
                batch.put(0, &key(dice.below(pace.keys)), values.next());
                let ticket = handed(client, || client.submit(&mut batch))?;
                if sender.send((n, ticket)).is_err() {
                    break; // The waiter failed, and says why.
                }
            }
            drop(sender);
            waiter.join().expect("the waiter does not panic")
        })
    }

    fn durable_load(&mut self, keys: u64, time: Duration) -> Result<DurableLoad> {
        let until = Instant::now() + time;
        std::thread::scope(|scope| {
            let client = &self.client;
            let act = move |seed| act_for_clients(client, seed, keys, until);
            let seeds = 0..u64::try_from(CLIENT_THREADS).expect("a few");
            let threads: Vec<_> = seeds.map(|seed| scope.spawn(move || act(seed))).collect();
            let clients = u64::try_from(CLIENTS).expect("a count");
            let mut load = DurableLoad { clients, ..DurableLoad::default() };
            for thread in threads {
                load.latencies_us.extend(thread.join().expect("a client does not panic")?);
            }
            load.puts = u64::try_from(load.latencies_us.len()).expect("a count");
            Ok(load)
        })
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.store.close().map(drop).map_err(|error| failed(&error))
    }
}
