//! What the tests write, decided by numbers, and what must be found.

use novax_engine::store::StoreOptions;
use novax_engine::{Batch, Error, Options, Snapshot};
use novax_log::sim::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const KEYSPACES: u8 = 3;
pub(crate) const DIR: &str = "/store";

/// What a store should hold, by keyspace and key.
pub(crate) type Model = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// Sizes so small that a few hundred batches turn everything over.
pub(crate) fn small() -> StoreOptions {
    let engine = Options {
        keyspaces: KEYSPACES,
        memtable_bytes_max: 8 << 10,
        block_cache_bytes: 16 << 10,
        table_bytes_max: 4 << 10,
        level0_tables_max: 2,
        level1_bytes_max: 16 << 10,
        retry_after: Duration::ZERO,
        ..Options::default()
    };
    StoreOptions {
        engine,
        workers: 1,
        segment_bytes: 64 << 10,
        segments_max: 3,
        queue_bytes_max: 16 << 10,
        relaxed_delay: Duration::from_millis(1),
        ..StoreOptions::default()
    }
}

enum Change {
    Put(u8, Vec<u8>, Vec<u8>),
    Delete(u8, Vec<u8>),
    DeleteRange(u8, Vec<u8>, Vec<u8>),
}

/// What the batch of a mark changes; another life of the store writes something else under the same mark.
fn changes(seed: u64, life: u64, mark: u64) -> Vec<Change> {
    let mut rng =
        Rng(seed ^ life.wrapping_mul(0x9E37_79B9) ^ mark.wrapping_mul(0xA076_1D64_78BD_642F));
    let key = |rng: &mut Rng| rng.below(80).to_be_bytes().to_vec();
    let change = |rng: &mut Rng| {
        let keyspace = rng.below(u64::from(KEYSPACES)) as u8;
        match rng.below(12) {
            0..3 => Change::Delete(keyspace, key(rng)),
            // Some stretches of the log have none, which opening then sorts.
            3 if mark / 64 % 2 == 1 => Change::DeleteRange(keyspace, key(rng), key(rng)),
            _ => {
                let key = key(rng);
                let bytes = if rng.one_in(30) { 1500 } else { rng.below(120) };
                let value = (0..bytes).map(|_| rng.next() as u8).collect();
                Change::Put(keyspace, key, value)
            }
        }
    };
    (0..rng.below(5)).map(|_| change(&mut rng)).collect()
}

/// Fills a batch with what belongs under its mark.
pub(crate) fn fill(batch: &mut Batch, seed: u64, life: u64, mark: u64) {
    for change in changes(seed, life, mark) {
        match change {
            Change::Put(keyspace, key, value) => batch.put(keyspace, &key, &value),
            Change::Delete(keyspace, key) => batch.delete(keyspace, &key),
            Change::DeleteRange(keyspace, from, to) => batch.delete_range(keyspace, &from, &to),
        }
    }
}

/// The states after each mark from 0, worked out without the store.
pub(crate) struct History {
    seed: u64,
    states: Vec<Model>,
}

impl History {
    pub(crate) fn new(seed: u64) -> History {
        History { seed, states: vec![Model::new()] }
    }

    /// Says that the batch of the next mark was written by this life.
    pub(crate) fn push(&mut self, life: u64) {
        let mut state = self.states.last().unwrap().clone();
        for change in changes(self.seed, life, self.states.len() as u64) {
            match change {
                Change::Put(keyspace, key, value) => drop(state.insert((keyspace, key), value)),
                Change::Delete(keyspace, key) => drop(state.remove(&(keyspace, key))),
                Change::DeleteRange(keyspace, from, to) => {
                    state.retain(|(of, key), _| *of != keyspace || *key < from || *key >= to);
                }
            }
        }
        self.states.push(state);
    }

    pub(crate) fn last(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// Forgets what came after a mark.
    pub(crate) fn cut(&mut self, mark: u64) {
        self.states.truncate(mark as usize + 1);
    }

    pub(crate) fn at(&self, mark: u64) -> &Model {
        &self.states[mark as usize]
    }
}

/// Everything in a snapshot.
pub(crate) fn contents(snapshot: &Snapshot) -> Result<Model, Error> {
    let mut model = Model::new();
    for keyspace in 0..KEYSPACES {
        for entry in snapshot.range(keyspace, b"", None) {
            let (key, value) = entry?;
            model.insert((keyspace, key), value);
        }
    }
    Ok(model)
}
