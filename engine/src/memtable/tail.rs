//! The newest changes, as they came: what a run is made of.
//!
//! Whoever asks for a single key finds it by an index of the keyspaces that were asked for so far, which takes in what
//! came since the last question: who only writes pays nothing for it.

use super::run::{ENTRY_OVERHEAD_BYTES, MemRun, Said, operator_of};
use super::slot::{Piece, Place, Slot};
use crate::entry::Entry;
use crate::options::Options;
use std::cmp::Ordering;
use std::collections::HashMap;

/// So many changes become a run: few enough that what sorts them stays in the processor's cache.
const CHANGES_MAX: usize = 4_096;
/// So many bytes of them do.
const BYTES_MAX: usize = 1 << 20;

/// See the head of this file. It keeps its room.
#[derive(Debug, Default)]
pub(super) struct Tail {
    slots: Vec<Slot>,
    piece: Piece,
    found: Found,
}

/// Where the changes of a key are.
#[derive(Debug, Default)]
struct Found {
    /// The last slot of each place.
    last: HashMap<Place, u32>,
    /// Of each slot that was looked at: the one before it of its place.
    before: Vec<Option<u32>>,
    /// One bit a keyspace, by its number modulo 128.
    asked: u128,
}

impl Found {
    fn clear(&mut self) {
        self.last.clear();
        self.before.clear();
    }

    fn is_asked(&self, keyspace: u8) -> bool {
        self.asked & bit_of(keyspace) != 0
    }
}

fn bit_of(keyspace: u8) -> u128 {
    1 << (keyspace % 128)
}

impl Tail {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= CHANGES_MAX || self.piece.bytes.len() >= BYTES_MAX
    }

    /// What it costs.
    pub(super) fn bytes(&self) -> usize {
        self.piece.bytes.len() + self.slots.len() * ENTRY_OVERHEAD_BYTES
    }

    pub(super) fn push(&mut self, keyspace: u8, key: &[u8], entry: Entry<'_>) {
        let slot = self.piece.push(keyspace, key, entry);
        self.slots.push(slot);
    }

    /// Adds entries whose bytes lie in `packed` one behind the other, each key before its value.
    pub(super) fn extend_packed<'a>(
        &mut self,
        packed: &[u8],
        entries: impl Iterator<Item = (u8, &'a [u8], Entry<'a>)>,
    ) {
        let mut at = self.piece.extend(packed);
        self.slots.extend(entries.map(|(keyspace, key, entry)| {
            let slot = Slot::packed(keyspace, key, entry, at);
            at += slot.len_bytes() as u32;
            slot
        }));
        assert_eq!(at as usize, self.piece.bytes.len(), "the entries are all that is there");
    }

    /// The last change of a key.
    pub(super) fn get(&mut self, keyspace: u8, key: &[u8]) -> Option<Entry<'_>> {
        let bytes = self.piece.bytes.as_slice();
        let found = &mut self.found;
        if !found.is_asked(keyspace) {
            found.clear();
            found.asked |= bit_of(keyspace);
        }
        for slot in &self.slots[found.before.len()..] {
            let at = found.before.len() as u32;
            let is_asked = found.is_asked(slot.keyspace());
            found.before.push(if is_asked { found.last.insert(slot.place, at) } else { None });
        }
        let mut next = found.last.get(&Place::new(keyspace, key)).copied();
        while let Some(at) = next {
            let slot = &self.slots[at as usize];
            if slot.key(bytes) == key {
                return Some(slot.entry(bytes));
            }
            next = found.before[at as usize];
        }
        None
    }

    /// Makes a run of all changes and forgets them.
    pub(super) fn take(&mut self, options: &Options) -> MemRun {
        let bytes = self.piece.bytes.as_slice();
        let order = |a: &Slot, b: &Slot| a.place.order(&b.place, || a.key(bytes), || b.key(bytes));
        // Stable: of one key, the last change stays the last.
        self.slots.sort_by(order);
        let mut sorted = Vec::with_capacity(self.slots.len());
        let mut piece = Piece { bytes: Vec::with_capacity(bytes.len()) };
        for alike in self.slots.chunk_by(|a, b| order(a, b) == Ordering::Equal) {
            let Some((last, earlier)) = alike.split_last() else { continue };
            let slot = match last.entry(bytes) {
                Entry::Merge { .. } if !earlier.is_empty() => {
                    let said = fold(alike, bytes, options);
                    piece.push(last.keyspace(), last.key(bytes), said.entry())
                }
                _ => piece.copy(last, bytes),
            };
            sorted.push(slot);
        }
        self.found.clear();
        self.slots.clear();
        self.piece.bytes.clear();
        // One huge value must not hold its memory for ever.
        self.piece.bytes.shrink_to(2 * BYTES_MAX);
        MemRun::of_entries(sorted, piece.bytes)
    }
}

/// What changes of one key come to, of which the last is an operand and not the first.
fn fold(alike: &[Slot], bytes: &[u8], options: &Options) -> Said {
    let is_operand = |slot: &Slot| matches!(slot.entry(bytes), Entry::Merge { .. });
    let from = alike.iter().rposition(|slot| !is_operand(slot)).unwrap_or(0);
    let (first, operands) = alike[from..].split_first().expect("the last one at least");
    let key = first.key(bytes);
    let operator = operator_of(options, first.keyspace());
    let mut said: Option<Said> = None;
    for slot in operands {
        let Entry::Merge { operand } = slot.entry(bytes) else { panic!("only operands follow") };
        let older = said.as_ref().map_or_else(|| first.entry(bytes), Said::entry);
        said = Some(Said::laid_over(older, operator, key, operand));
    }
    said.expect("an operand follows the first")
}
