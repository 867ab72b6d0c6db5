//! What was written since the last flush: a run that takes writes, and one that is being flushed.
//!
//! * [`tree`]: the ordered index, cheap to clone
//!
//! Invariants: a run that was given out never changes; a run says one thing of a key, and its range deletes act on
//! older runs alone (what they cover of their own is taken out as they come); the frozen run is the older.

pub(crate) mod tree;

use crate::batch::Change;
use crate::entry::{Entry, Expires};
use crate::options::Options;
use crate::ranges::RangeSet;
use crate::table::internal_key;
use std::sync::Arc;
use tree::{Item, Removed, Tree};

/// What an entry costs beside its key's and value's bytes: its place in the tree and the allocator's share.
const ENTRY_OVERHEAD_BYTES: usize = 72;
/// What a range delete costs beside its two keys.
const RANGE_OVERHEAD_BYTES: usize = 192;

/// A sorted run in memory, all keyspaces. A clone is cheap and never changes.
#[derive(Clone, Default)]
pub(crate) struct MemRun {
    trees: Vec<Tree>,
    ranges: Arc<RangeSet>,
    bytes: usize,
}

impl MemRun {
    fn new(keyspaces: u8) -> MemRun {
        MemRun { trees: vec![Tree::default(); usize::from(keyspaces)], ..MemRun::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.trees.iter().all(Tree::is_empty)
    }

    pub(crate) fn tree(&self, keyspace: u8) -> Option<&Tree> {
        self.trees.get(usize::from(keyspace))
    }

    /// True when dropping it would take long.
    pub(crate) fn is_costly_to_drop(&self) -> bool {
        self.trees.iter().any(Tree::is_costly_to_drop)
    }

    /// What the run says of a key.
    pub(crate) fn get(&self, keyspace: u8, key: &[u8]) -> Option<Entry<'_>> {
        self.tree(keyspace)?.get(key).map(Item::entry)
    }

    /// What the run deletes in older ones.
    pub(crate) fn ranges(&self) -> &Arc<RangeSet> {
        &self.ranges
    }

    fn insert(&mut self, keyspace: u8, key: &[u8], item: Item) {
        let keyspaces = self.trees.len();
        let Some(tree) = self.trees.get_mut(usize::from(keyspace)) else {
            panic!("write to keyspace {keyspace} of {keyspaces}");
        };
        self.bytes += item.len_bytes() + ENTRY_OVERHEAD_BYTES;
        if let Some(old) = tree.insert(key, item) {
            self.bytes -= old.len_bytes() + ENTRY_OVERHEAD_BYTES;
        }
    }

    fn delete_range(&mut self, keyspace: u8, from: &[u8], to: &[u8]) -> Removed {
        let keyspaces = self.trees.len();
        let Some(tree) = self.trees.get_mut(usize::from(keyspace)) else {
            panic!("write to keyspace {keyspace} of {keyspaces}");
        };
        if from >= to {
            return Removed::default();
        }
        let removed = tree.remove_range(from, to);
        self.bytes -= removed.bytes + removed.entries * ENTRY_OVERHEAD_BYTES;
        let before = self.ranges.len();
        let ranges = Arc::make_mut(&mut self.ranges);
        ranges.add(internal_key(keyspace, from), internal_key(keyspace, to));
        // Counted by their number alone: ranges that become one may leave a little too much counted.
        let added = ranges.len().saturating_sub(before);
        self.bytes += added * (RANGE_OVERHEAD_BYTES + from.len() + to.len());
        removed
    }
}

/// The memory part of a store; one thread owns it.
pub(crate) struct Memtable {
    keyspaces: u8,
    active: MemRun,
    /// What is being flushed.
    frozen: Option<Arc<MemRun>>,
}

impl Memtable {
    pub(crate) fn new(keyspaces: u8) -> Memtable {
        Memtable { keyspaces, active: MemRun::new(keyspaces), frozen: None }
    }

    /// Takes one change in. Gives back what a range delete took out, which may be long to free.
    pub(crate) fn apply(
        &mut self,
        keyspace: u8,
        change: Change<'_>,
        options: &Options,
    ) -> Option<Removed> {
        match change {
            Change::Put { key, value, expires } => {
                if expires != Expires::NEVER {
                    let has_merge = options.merge_operator(keyspace).is_some();
                    assert!(!has_merge, "keyspace {keyspace} merges: its entries do not expire");
                }
                let item = Item::new(key, Entry::Put { value, expires });
                self.active.insert(keyspace, key, item);
            }
            Change::Delete { key } => {
                self.active.insert(keyspace, key, Item::new(key, Entry::Tombstone));
            }
            Change::DeleteRange { from, to } => {
                let removed = self.active.delete_range(keyspace, from, to);
                return (removed.entries > 0).then_some(removed);
            }
            Change::Merge { key, operand } => self.merge(keyspace, key, operand, options),
        }
        None
    }

    /// Lays an operand over what the active run says of its key.
    fn merge(&mut self, keyspace: u8, key: &[u8], operand: &[u8], options: &Options) {
        let Some(operator) = options.merge_operator(keyspace) else {
            panic!("keyspace {keyspace} has no merge operator");
        };
        let put = |value: &[u8]| Item::new(key, Entry::Put { value, expires: Expires::NEVER });
        let item = match self.active.get(keyspace, key) {
            Some(Entry::Put { value, .. }) => put(&operator.merge(key, Some(value), operand)),
            Some(Entry::Merge { operand: older }) => {
                let operand = operator.combine(key, older, operand);
                Item::new(key, Entry::Merge { operand: &operand })
            }
            Some(Entry::Tombstone) => put(&operator.merge(key, None, operand)),
            Some(Entry::Blob { .. }) => panic!("memory holds whole values"),
            None if self.active.ranges.covers(keyspace, key) => {
                put(&operator.merge(key, None, operand))
            }
            None => Item::new(key, Entry::Merge { operand }),
        };
        self.active.insert(keyspace, key, item);
    }

    /// What is not being flushed yet.
    pub(crate) fn unflushed_bytes(&self) -> usize {
        self.active.bytes
    }

    pub(crate) fn bytes(&self) -> usize {
        self.active.bytes + self.frozen.as_ref().map_or(0, |run| run.bytes)
    }

    pub(crate) fn runs(&self) -> usize {
        usize::from(!self.active.is_empty()) + usize::from(self.frozen.is_some())
    }

    /// All runs as they are now, newest first, for a reader.
    pub(crate) fn newest_first(&self) -> Vec<Arc<MemRun>> {
        let active = (!self.active.is_empty()).then(|| Arc::new(self.active.clone()));
        active.into_iter().chain(self.frozen.clone()).collect()
    }

    /// Puts everything aside for a flush and returns it.
    pub(crate) fn freeze(&mut self) -> Arc<MemRun> {
        assert!(self.frozen.is_none(), "one flush at a time");
        let run = std::mem::replace(&mut self.active, MemRun::new(self.keyspaces));
        Arc::clone(self.frozen.insert(Arc::new(run)))
    }

    /// The frozen run is in a durable table: forget it.
    pub(crate) fn thaw(&mut self) -> Option<Arc<MemRun>> {
        self.frozen.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &mut Memtable, key: u32, value: usize) {
        let (key, value) = (key.to_be_bytes(), vec![0; value]);
        let change = Change::Put { key: &key, value: &value, expires: Expires::NEVER };
        assert!(table.apply(0, change, &Options::default()).is_none());
    }

    fn value_len(run: &MemRun, key: u32) -> Option<usize> {
        match run.get(0, &key.to_be_bytes())? {
            Entry::Put { value, .. } => Some(value.len()),
            _ => None,
        }
    }

    #[test]
    fn a_run_that_was_given_out_does_not_change() {
        let mut table = Memtable::new(1);
        put(&mut table, 1, 3);
        let held = table.newest_first();
        for i in 0..20 {
            put(&mut table, 1, 10 + i);
            put(&mut table, 2, 1);
            assert_eq!(table.newest_first().len(), 1, "runs do not pile up");
        }
        assert_eq!((value_len(&held[0], 1), value_len(&held[0], 2)), (Some(3), None));
        assert_eq!(value_len(&table.newest_first()[0], 1), Some(29));
    }

    #[test]
    fn bytes_follow_what_is_held() {
        let mut table = Memtable::new(1);
        put(&mut table, 1, 100);
        let once = table.bytes();
        put(&mut table, 1, 100);
        assert_eq!(table.bytes(), once, "overwriting costs nothing more");
        put(&mut table, 1, 0);
        assert_eq!(table.bytes(), once - 100);
        table.freeze();
        assert_eq!((table.unflushed_bytes(), table.bytes()), (0, once - 100));
        assert!(table.thaw().is_some());
        assert_eq!((table.bytes(), table.runs()), (0, 0));
    }

    #[test]
    fn a_range_delete_takes_out_what_it_covers_and_spares_what_comes_later() {
        let mut table = Memtable::new(2);
        for i in 0..100 {
            put(&mut table, i, 10);
        }
        let (from, to) = (20u32.to_be_bytes(), 90u32.to_be_bytes());
        let range = Change::DeleteRange { from: &from, to: &to };
        let removed = table.apply(0, range, &Options::default()).unwrap();
        assert_eq!(removed.entries, 70);
        put(&mut table, 30, 5);
        let run = table.freeze();
        assert_eq!((value_len(&run, 20), value_len(&run, 30)), (None, Some(5)));
        assert_eq!((value_len(&run, 19), value_len(&run, 90)), (Some(10), Some(10)));
        assert!(run.ranges().covers(0, &30u32.to_be_bytes()));
        assert!(!run.ranges().covers(0, &90u32.to_be_bytes()) && !run.ranges().covers(1, &from));
    }
}
