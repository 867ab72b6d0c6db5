//! What was written since the last flush: the newest changes as they came, sorted runs of those before, and the
//! runs that are being flushed.
//!
//! * `slot`: where an entry lies
//! * `tail`: the changes that are in no run yet
//! * [`run`]: a sorted run
//!
//! A change costs a copy of its bytes. Some thousand of them are sorted at once, and runs of like size become one, so
//! that there are few of them: what a log-structured merge tree does with tables, without files.
//!
//! Invariants: a run never changes, so whoever was given one may keep it; a run says one thing of a key, and its range
//! deletes act on older runs alone; frozen runs are older than the others.

pub(crate) mod run;
mod slot;
mod tail;

use crate::batch::{Batch, Change};
use crate::entry::{Entry, Expires};
use crate::options::Options;
pub(crate) use run::MemRun;
use std::sync::Arc;
use tail::Tail;

/// Runs do not become one that is larger: it would take milliseconds.
const MERGED_WEIGHT_MAX: usize = 128 * 1_024;

/// A batch of more bytes is taken in change by change.
const PACKED_BYTES_MAX: usize = 64 << 20;

/// What a change says of one key; none for one of many keys.
fn entry_of<'a>(change: &Change<'a>) -> Option<(&'a [u8], Entry<'a>)> {
    match *change {
        Change::Put { key, value, expires } => Some((key, Entry::Put { value, expires })),
        Change::Delete { key } => Some((key, Entry::Tombstone)),
        Change::Merge { key, operand } => Some((key, Entry::Merge { operand })),
        Change::DeleteRange { .. } => None,
    }
}

/// Runs put aside for a flush, newest first.
pub(crate) type Frozen = Arc<[Arc<MemRun>]>;

/// The memory part of a store; one thread owns it.
pub(crate) struct Memtable {
    keyspaces: u8,
    tail: Tail,
    /// Oldest first.
    runs: Vec<Arc<MemRun>>,
    /// What is being flushed.
    frozen: Option<Frozen>,
    changes_of_runs: u64,
}

impl Memtable {
    pub(crate) fn new(keyspaces: u8) -> Memtable {
        let (tail, runs) = (Tail::default(), Vec::new());
        Memtable { keyspaces, tail, runs, frozen: None, changes_of_runs: 0 }
    }

    /// Takes all changes of a batch in.
    ///
    /// # Panics
    /// When there is no such keyspace, or a change does not fit it.
    pub(crate) fn apply(&mut self, batch: &Batch, options: &Options) {
        batch.changes().for_each(|(keyspace, change)| self.check(keyspace, &change, options));
        if let Some(bytes) = batch.packed().filter(|bytes| bytes.len() <= PACKED_BYTES_MAX) {
            let entries = batch.changes().filter_map(|(ks, change)| Some((ks, entry_of(&change)?)));
            self.tail.extend_packed(bytes, entries.map(|(ks, (key, entry))| (ks, key, entry)));
            return self.settle_if_full(options);
        }
        for (keyspace, change) in batch.changes() {
            if let Some((key, entry)) = entry_of(&change) {
                self.tail.push(keyspace, key, entry);
            } else if let Change::DeleteRange { from, to } = change
                && from < to
            {
                self.settle(options);
                self.add_run(MemRun::of_range(keyspace, from, to), options);
            }
            self.settle_if_full(options);
        }
    }

    fn check(&self, keyspace: u8, change: &Change<'_>, options: &Options) {
        let keyspaces = self.keyspaces;
        assert!(keyspace < keyspaces, "write to keyspace {keyspace} of {keyspaces}");
        match change {
            Change::Put { expires, .. } if *expires != Expires::NEVER => {
                let has_merge = options.merge_operator(keyspace).is_some();
                assert!(!has_merge, "keyspace {keyspace} merges: its entries do not expire");
            }
            Change::Merge { .. } => drop(run::operator_of(options, keyspace)),
            Change::Put { .. } | Change::Delete { .. } | Change::DeleteRange { .. } => {}
        }
    }

    fn settle_if_full(&mut self, options: &Options) {
        if self.tail.is_full() {
            self.settle(options);
        }
    }

    /// Makes a run of the newest changes.
    fn settle(&mut self, options: &Options) {
        if !self.tail.is_empty() {
            let run = self.tail.take(options);
            self.add_run(run, options);
        }
    }

    /// Adds the newest run. Runs of like size become one: so an entry moves as often as the number of entries can be
    /// halved, and there are no more runs than that.
    fn add_run(&mut self, run: MemRun, options: &Options) {
        self.changes_of_runs += 1;
        let mut newest = run;
        while let Some(older) = self.runs.last() {
            let (weight, both) = (2 * newest.weight(), older.weight() + newest.weight());
            if weight <= older.weight() || both > MERGED_WEIGHT_MAX {
                break;
            }
            newest = MemRun::merged(older, &newest, options);
            self.runs.pop();
        }
        self.runs.push(Arc::new(newest));
    }

    /// What is not being flushed yet.
    pub(crate) fn unflushed_bytes(&self) -> usize {
        self.tail.bytes() + self.runs.iter().map(|run| run.bytes()).sum::<usize>()
    }

    pub(crate) fn bytes(&self) -> usize {
        let frozen = self.frozen.iter().flat_map(|runs| runs.iter());
        self.unflushed_bytes() + frozen.map(|run| run.bytes()).sum::<usize>()
    }

    pub(crate) fn runs(&self) -> usize {
        let frozen = self.frozen.as_ref().map_or(0, |runs| runs.len());
        usize::from(!self.tail.is_empty()) + self.runs.len() + frozen
    }

    /// All runs as they are now, newest first, for a reader.
    pub(crate) fn newest_first(&mut self, options: &Options) -> Vec<Arc<MemRun>> {
        self.settle(options);
        self.settled()
    }

    /// The newest change of a key that is in no run yet.
    pub(crate) fn newest(&mut self, keyspace: u8, key: &[u8]) -> Option<Entry<'_>> {
        self.tail.get(keyspace, key)
    }

    /// All that is in runs, newest first.
    pub(crate) fn settled(&self) -> Vec<Arc<MemRun>> {
        let frozen = self.frozen.iter().flat_map(|runs| runs.iter());
        self.runs.iter().rev().chain(frozen).cloned().collect()
    }

    /// How often what is in runs has changed.
    pub(crate) fn changes_of_runs(&self) -> u64 {
        self.changes_of_runs
    }

    /// Puts everything aside for a flush and returns it.
    pub(crate) fn freeze(&mut self, options: &Options) -> Frozen {
        assert!(self.frozen.is_none(), "one flush at a time");
        self.settle(options);
        self.changes_of_runs += 1;
        Arc::clone(self.frozen.insert(self.runs.drain(..).rev().collect()))
    }

    /// The frozen runs are in a durable table: forget them.
    pub(crate) fn thaw(&mut self) -> Option<Frozen> {
        self.changes_of_runs += 1;
        self.frozen.take()
    }
}

/// What frozen runs say together, for a thread that has the time.
pub(crate) fn merge_frozen(frozen: &Frozen, options: &Options) -> Arc<MemRun> {
    // The newest are the smallest: from there each entry moves least.
    let merged = frozen
        .iter()
        .cloned()
        .reduce(|newer, older| Arc::new(MemRun::merged(&older, &newer, options)));
    merged.unwrap_or_default()
}

#[cfg(test)]
mod tests;
