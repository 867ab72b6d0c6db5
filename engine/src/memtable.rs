//! What was written since the last flush: one map that takes writes, and sealed runs that never
//! change and may be read from any thread.
//!
//! Invariants: runs are kept oldest first and the newer wins; the number of runs is bounded by merging
//! small neighbours; frozen runs (being flushed) are older than all sealed ones.

use crate::batch::Op;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys of one keyspace; `None` is a tombstone.
pub(crate) type KeyMap = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What an entry costs beside its key's and value's bytes.
const ENTRY_OVERHEAD_BYTES: usize = 64;
/// As many small neighbours of like size become one.
const MERGE_RUNS: usize = 4;
/// Runs of this share of the memtable are left alone: merging them would hold the shard up.
const LARGE_RUN_SHARE: usize = 64;
/// Below this share of a large run, runs count as tiny and are merged among themselves first.
const TINY_RUN_SHARE: usize = 16;

fn entry_bytes(key_bytes: usize, value: Option<&Vec<u8>>) -> usize {
    key_bytes + value.map_or(0, Vec::len) + ENTRY_OVERHEAD_BYTES
}

/// A sorted run in memory, all keyspaces.
#[derive(Clone, Debug)]
pub(crate) struct MemRun {
    maps: Vec<KeyMap>,
    bytes: usize,
}

impl MemRun {
    fn new(keyspaces: u8) -> MemRun {
        MemRun { maps: vec![KeyMap::new(); usize::from(keyspaces)], bytes: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.maps.iter().all(KeyMap::is_empty)
    }

    pub(crate) fn map(&self, keyspace: u8) -> Option<&KeyMap> {
        self.maps.get(usize::from(keyspace))
    }

    fn insert(&mut self, keyspace: u8, key: Vec<u8>, value: Option<Vec<u8>>) {
        let keyspaces = self.maps.len();
        let Some(map) = self.maps.get_mut(usize::from(keyspace)) else {
            panic!("write to keyspace {keyspace} of {keyspaces}");
        };
        let key_bytes = key.len();
        self.bytes += entry_bytes(key_bytes, value.as_ref());
        if let Some(old) = map.insert(key, value) {
            self.bytes -= entry_bytes(key_bytes, old.as_ref());
        }
    }

    /// Lays a newer run over this one.
    fn absorb(&mut self, newer: MemRun) {
        for (keyspace, map) in (0u8..).zip(newer.maps) {
            for (key, value) in map {
                self.insert(keyspace, key, value);
            }
        }
    }
}

/// The memory part of a store; one thread owns it.
#[derive(Debug)]
pub(crate) struct Memtable {
    keyspaces: u8,
    active: MemRun,
    /// Oldest first.
    sealed: Vec<Arc<MemRun>>,
    /// Oldest first; empty when no flush is under way.
    frozen: Vec<Arc<MemRun>>,
    large_bytes: usize,
}

impl Memtable {
    pub(crate) fn new(keyspaces: u8, bytes_max: usize) -> Memtable {
        Memtable {
            keyspaces,
            active: MemRun::new(keyspaces),
            sealed: Vec::new(),
            frozen: Vec::new(),
            large_bytes: (bytes_max / LARGE_RUN_SHARE).max(1),
        }
    }

    pub(crate) fn apply(&mut self, op: Op) {
        self.active.insert(op.keyspace, op.key, op.value);
    }

    /// What is not being flushed yet.
    pub(crate) fn unflushed_bytes(&self) -> usize {
        self.active.bytes + self.sealed.iter().map(|run| run.bytes).sum::<usize>()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.unflushed_bytes() + self.frozen.iter().map(|run| run.bytes).sum::<usize>()
    }

    pub(crate) fn runs(&self) -> usize {
        self.sealed.len() + self.frozen.len()
    }

    pub(crate) fn is_active_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Makes the active map an immutable run; nothing is copied unless small runs pile up.
    pub(crate) fn seal(&mut self) {
        if self.active.is_empty() {
            return;
        }
        let run = std::mem::replace(&mut self.active, MemRun::new(self.keyspaces));
        self.sealed.push(Arc::new(run));
        self.merge_small();
    }

    /// Merges the newest runs when four neighbours are of one size class: first the tiny ones, then,
    /// when that or a write made a bigger one, those below a large run.
    fn merge_small(&mut self) {
        let tiny = (self.large_bytes / TINY_RUN_SHARE).max(1);
        for (from, limit) in [(0, tiny), (tiny, self.large_bytes)] {
            let small = self.sealed.iter().rev().take_while(|run| run.bytes < limit).count();
            let in_class = self.sealed.last().is_some_and(|run| run.bytes >= from);
            if small < MERGE_RUNS || !in_class {
                continue;
            }
            let mut runs = self.sealed.split_off(self.sealed.len() - small).into_iter();
            let Some(oldest) = runs.next() else { continue };
            // Copies only what a snapshot still holds.
            let mut merged = Arc::unwrap_or_clone(oldest);
            for run in runs {
                merged.absorb(Arc::unwrap_or_clone(run));
            }
            self.sealed.push(Arc::new(merged));
        }
    }

    /// All runs, newest first, for a reader.
    pub(crate) fn newest_first(&self) -> Vec<Arc<MemRun>> {
        assert!(self.active.is_empty(), "seal before reading");
        self.sealed.iter().rev().chain(self.frozen.iter().rev()).cloned().collect()
    }

    /// Puts everything aside for a flush and returns it, newest first.
    pub(crate) fn freeze(&mut self) -> Vec<Arc<MemRun>> {
        assert!(self.frozen.is_empty(), "one flush at a time");
        self.seal();
        self.frozen = std::mem::take(&mut self.sealed);
        self.frozen.iter().rev().cloned().collect()
    }

    /// The frozen runs are in a durable table: forget them.
    pub(crate) fn thaw(&mut self) -> Vec<Arc<MemRun>> {
        std::mem::take(&mut self.frozen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(i: u32, value: usize) -> Op {
        Op { keyspace: 0, key: i.to_be_bytes().to_vec(), value: Some(vec![0; value]) }
    }

    #[test]
    fn runs_stay_few_when_every_write_is_followed_by_a_snapshot() {
        let mut table = Memtable::new(1, 1 << 20);
        let (mut held, mut runs_max) = (Vec::new(), 0);
        for i in 0..8_000 {
            table.apply(op(i, 40));
            table.seal();
            held = table.newest_first();
            runs_max = runs_max.max(table.runs());
        }
        let entries: usize = held.iter().map(|run| run.maps[0].len()).sum();
        assert_eq!(entries, 8_000);
        assert!(runs_max <= LARGE_RUN_SHARE + 2 * MERGE_RUNS, "{runs_max} runs");
    }

    #[test]
    fn a_held_run_does_not_change_when_its_neighbours_merge() {
        let mut table = Memtable::new(1, 1 << 20);
        table.apply(op(1, 3));
        table.seal();
        let held = table.newest_first();
        for i in 0..20 {
            table.apply(op(1, 10 + i));
            table.seal();
        }
        assert_eq!(held[0].maps[0][&1u32.to_be_bytes().to_vec()].as_ref().unwrap().len(), 3);
        let newest = table.newest_first();
        assert_eq!(newest[0].maps[0][&1u32.to_be_bytes().to_vec()].as_ref().unwrap().len(), 29);
    }

    #[test]
    fn bytes_follow_what_is_held() {
        let mut table = Memtable::new(1, 1 << 20);
        table.apply(op(1, 100));
        let once = table.bytes();
        table.apply(op(1, 100));
        assert_eq!(table.bytes(), once, "overwriting costs nothing more");
        table.apply(op(1, 0));
        assert_eq!(table.bytes(), once - 100);
        table.freeze();
        assert_eq!((table.unflushed_bytes(), table.bytes()), (0, once - 100));
        table.thaw();
        assert_eq!(table.bytes(), 0);
    }
}
