//! A sorted run in memory, which never changes: places of entries in key order, and the pieces of memory where they
//! lie.
//!
//! Two runs become one by laying their places side by side; the bytes stay where they are, until so many of them are
//! dead that they are worth being left behind.
//!
//! Invariants: keyspaces and keys rise strictly; range deletes act on older runs alone; no operand stands on a key that
//! a range delete of its own run covers.

use super::slot::{Piece, Place, Slot};
use crate::entry::{Entry, Expires};
use crate::options::{MergeOperator, Options};
use crate::ranges::RangeSet;
use crate::table::{Direction, internal_key};
use std::cmp::Ordering;
use std::sync::Arc;

/// What an entry costs beside its key's and value's bytes.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = size_of::<Slot>();
/// What a range delete costs beside its two keys.
const RANGE_OVERHEAD_BYTES: usize = 192;
/// A run with more live bytes is not copied for the dead ones among them.
const COPIED_BYTES_MAX: usize = 1 << 30;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct MemRun {
    slots: Vec<Slot>,
    pieces: Vec<Arc<[u8]>>,
    ranges: Arc<RangeSet>,
    /// Of what it says, with what that costs.
    bytes: usize,
}

impl MemRun {
    /// Of entries in order, which lie in `piece`.
    pub(super) fn of_entries(slots: Vec<Slot>, piece: Vec<u8>) -> MemRun {
        let pieces = vec![Arc::from(piece)];
        MemRun { slots, pieces, ..MemRun::default() }.counted()
    }

    /// One range delete.
    pub(super) fn of_range(keyspace: u8, from: &[u8], to: &[u8]) -> MemRun {
        let mut ranges = RangeSet::default();
        ranges.add(internal_key(keyspace, from), internal_key(keyspace, to));
        MemRun { ranges: Arc::new(ranges), ..MemRun::default() }.counted()
    }

    fn counted(mut self) -> MemRun {
        let entry = |slot: &Slot| slot.len_bytes() + ENTRY_OVERHEAD_BYTES;
        let of_range = |from: &[u8], to: &[u8]| RANGE_OVERHEAD_BYTES + from.len() + to.len();
        let ranges = self.ranges.iter().map(|range| of_range(&range.from, &range.to));
        self.bytes = self.slots.iter().map(entry).sum::<usize>() + ranges.sum::<usize>();
        self
    }

    /// Of all that it says.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of the memory that it lies in.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// How much there is to do when it becomes one with another.
    pub(super) fn weight(&self) -> usize {
        self.slots.len() + self.ranges.len()
    }

    fn piece(&self, slot: &Slot) -> &[u8] {
        &self.pieces[slot.piece as usize]
    }

    fn key(&self, slot: &Slot) -> &[u8] {
        slot.key(self.piece(slot))
    }

    fn entry(&self, slot: &Slot) -> Entry<'_> {
        slot.entry(self.piece(slot))
    }

    /// The first entry at or past a key.
    fn position(&self, keyspace: u8, key: &[u8]) -> usize {
        let place = Place::new(keyspace, key);
        self.slots.partition_point(|slot| {
            slot.place.order(&place, || self.key(slot), || key) == Ordering::Less
        })
    }

    /// What the run says of a key.
    pub(crate) fn get(&self, keyspace: u8, key: &[u8]) -> Option<Entry<'_>> {
        let slot = self.slots.get(self.position(keyspace, key))?;
        (slot.keyspace() == keyspace && self.key(slot) == key).then(|| self.entry(slot))
    }

    /// What the run deletes in older ones.
    pub(crate) fn ranges(&self) -> &Arc<RangeSet> {
        &self.ranges
    }

    /// The keys of a keyspace from `from`, to and without `to`.
    pub(crate) fn cursor(
        &self,
        keyspace: u8,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Cursor<'_> {
        let start = self.position(keyspace, from);
        let end = match to {
            Some(to) => self.position(keyspace, to),
            None => self.slots.partition_point(|slot| slot.keyspace() <= keyspace),
        };
        Cursor { run: self, start, end: end.max(start), direction }
    }

    /// What both say together, `newer` last.
    pub(super) fn merged(older: &MemRun, newer: &MemRun, options: &Options) -> MemRun {
        let mut merging = Merging {
            older,
            newer,
            options,
            slots: Vec::with_capacity(older.slots.len() + newer.slots.len()),
            made: Piece::default(),
            made_in: (older.pieces.len() + newer.pieces.len()) as u32,
        };
        merging.run();
        let Merging { slots, made, .. } = merging;
        let mut pieces = [&older.pieces[..], &newer.pieces].concat();
        if !made.bytes.is_empty() {
            pieces.push(Arc::from(made.bytes));
        }
        let ranges = if older.ranges.is_empty() {
            Arc::clone(&newer.ranges)
        } else if newer.ranges.is_empty() {
            Arc::clone(&older.ranges)
        } else {
            Arc::new(RangeSet::union(older.ranges.iter().chain(newer.ranges.iter())))
        };
        MemRun { slots, pieces, ranges, bytes: 0 }.without_dead_bytes().counted()
    }

    /// Copies what lives, where a third or more is dead.
    fn without_dead_bytes(self) -> MemRun {
        let live: usize = self.slots.iter().map(Slot::len_bytes).sum();
        let held: usize = self.pieces.iter().map(|piece| piece.len()).sum();
        if held - live <= live / 2 || live > COPIED_BYTES_MAX {
            return self;
        }
        let mut piece = Piece { bytes: Vec::with_capacity(live) };
        let slots = self.slots.iter().map(|slot| piece.copy(slot, self.piece(slot))).collect();
        MemRun { slots, pieces: vec![Arc::from(piece.bytes)], ..self }
    }
}

/// Two runs on their way to one.
struct Merging<'a> {
    older: &'a MemRun,
    newer: &'a MemRun,
    options: &'a Options,
    slots: Vec<Slot>,
    /// Values that come of operands.
    made: Piece,
    /// Which piece that will be.
    made_in: u32,
}

impl Merging<'_> {
    fn run(&mut self) {
        let (older, newer) = (self.older, self.newer);
        let (mut old, mut new) = (older.slots.iter().peekable(), newer.slots.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.place.order(&b.place, || older.key(a), || newer.key(b)),
            };
            let said = if order.is_le() { old.next() } else { None };
            let says = if order.is_ge() { new.next() } else { None };
            match (said, says) {
                (Some(said), None) => self.keep_older(said),
                (said, Some(says)) => self.lay_over(said, says),
                (None, None) => {}
            }
        }
    }

    fn keep_older(&mut self, said: &Slot) {
        let ranges = &self.newer.ranges;
        if ranges.is_empty() || !ranges.covers(said.keyspace(), self.older.key(said)) {
            self.slots.push(*said);
        }
    }

    /// What the newer run says of a key, over what the older one said of it.
    fn lay_over(&mut self, said: Option<&Slot>, says: &Slot) {
        let Entry::Merge { operand } = self.newer.entry(says) else { return self.keep_newer(says) };
        let (keyspace, key) = (says.keyspace(), self.newer.key(says));
        let older = match said {
            Some(said) => self.older.entry(said),
            None if self.older.ranges.covers(keyspace, key) => Entry::Tombstone,
            None => return self.keep_newer(says),
        };
        let made = Said::laid_over(older, operator_of(self.options, keyspace), key, operand);
        let slot = self.made.push(keyspace, key, made.entry());
        self.slots.push(Slot { piece: self.made_in, ..slot });
    }

    fn keep_newer(&mut self, says: &Slot) {
        let piece = says.piece + self.older.pieces.len() as u32;
        self.slots.push(Slot { piece, ..*says });
    }
}

/// The merge operator of a keyspace that operands were written to.
pub(super) fn operator_of(options: &Options, keyspace: u8) -> &dyn MergeOperator {
    let Some(operator) = options.merge_operator(keyspace) else {
        panic!("keyspace {keyspace} has no merge operator");
    };
    operator
}

/// What an operand came to.
pub(super) enum Said {
    Value(Vec<u8>),
    Operand(Vec<u8>),
}

impl Said {
    /// An operand over what was said before it.
    pub(super) fn laid_over(
        older: Entry<'_>,
        operator: &dyn MergeOperator,
        key: &[u8],
        operand: &[u8],
    ) -> Said {
        match older {
            Entry::Put { value, .. } => Said::Value(operator.merge(key, Some(value), operand)),
            Entry::Tombstone => Said::Value(operator.merge(key, None, operand)),
            Entry::Merge { operand: older } => Said::Operand(operator.combine(key, older, operand)),
            Entry::Blob { .. } => panic!("memory holds whole values"),
        }
    }

    pub(super) fn entry(&self) -> Entry<'_> {
        match self {
            Said::Value(value) => Entry::Put { value, expires: Expires::NEVER },
            Said::Operand(operand) => Entry::Merge { operand },
        }
    }
}

/// A walk over a part of a run. Stands on an entry or past the end.
pub(crate) struct Cursor<'a> {
    run: &'a MemRun,
    /// What is left of the walk: from `start`, to and without `end`.
    start: usize,
    end: usize,
    direction: Direction,
}

impl<'a> Cursor<'a> {
    fn current(&self) -> Option<&'a Slot> {
        let left = &self.run.slots[self.start..self.end];
        match self.direction {
            Direction::Forward => left.first(),
            Direction::Backward => left.last(),
        }
    }

    /// The key that the walk stands on.
    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        self.current().map(|slot| self.run.key(slot))
    }

    /// What the run says of it.
    pub(crate) fn entry(&self) -> Option<Entry<'a>> {
        self.current().map(|slot| self.run.entry(slot))
    }

    pub(crate) fn advance(&mut self) {
        if self.start < self.end {
            match self.direction {
                Direction::Forward => self.start += 1,
                Direction::Backward => self.end -= 1,
            }
        }
    }
}
