//! The table of open holds: a slab of slots, found by id, and a heap of those that will expire.
//!
//! A row knows the slots of its accounts and of the key that placed it: whoever resolves a hold looks
//! nothing else up. A resolved hold keeps its slot until the changes were taken twice, because its
//! row is asked for its id in between.
//!
//! The heap is ordered by expiry, then id: which hold is next depends on the holds alone, not on the
//! order of earlier calls. Each slot knows its place in the heap, so that a hold leaves it as soon
//! as it is resolved.

use novax_model::Timestamp;

use crate::index::{Index, hash, mix};
use crate::order::{Marked, Order, leading};
use crate::slab::Slab;
use crate::transfer::{Hold, HoldId};

/// Children of a node of the heap: a wide node costs fewer cache misses than a deep tree.
const ARITY: usize = 4;
/// The place of a hold that never expires.
const NOT_IN_HEAP: u32 = u32::MAX;

/// Where the rows stand that a hold belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldOn {
    pub(crate) debit: u32,
    pub(crate) credit: u32,
    pub(crate) key: u32,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(128))]
struct Slot {
    hold: Hold,
    on: HeldOn,
    heap_place: u32,
    is_open: bool,
    is_dirty: bool,
}

const _: () = assert!(size_of::<Slot>() == 128, "two lines of a cache, fetched together");

/// All open holds of a ledger.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    slots: Slab<Slot>,
    index: Index,
    heap: Vec<(Timestamp, u32)>,
    dirty: Vec<Marked>,
    /// Resolved since the changes were last taken.
    resolved: Vec<u32>,
    /// What was dirty when the changes were taken, in order of id.
    taken: Vec<Marked>,
    taken_resolved: Vec<u32>,
    order: Order,
}

fn hash_of(id: HoldId) -> u64 {
    mix(hash(id.key.0), u64::from(id.leg))
}

impl Holds {
    pub(crate) fn slot(&self, id: HoldId) -> Option<u32> {
        self.index.find(hash_of(id), |slot| self.at(slot).id() == id)
    }

    pub(crate) fn at(&self, slot: u32) -> &Hold {
        &self.slots.at(slot).hold
    }

    pub(crate) fn on(&self, slot: u32) -> HeldOn {
        self.slots.at(slot).on
    }

    pub(crate) fn get(&self, id: HoldId) -> Option<&Hold> {
        self.slot(id).map(|slot| self.at(slot))
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The open ones and what they belong to, in no order.
    pub(crate) fn open(&self) -> impl Iterator<Item = (&Hold, HeldOn)> {
        self.slots.iter().filter(|slot| slot.is_open).map(|slot| (&slot.hold, slot.on))
    }

    /// In order of id. Sorts: not for the hot path.
    pub(crate) fn sorted(&self) -> Vec<&Hold> {
        let mut holds: Vec<&Hold> = self.open().map(|(hold, _)| hold).collect();
        assert_eq!(holds.len(), self.len(), "what is open is found by its id");
        holds.sort_unstable_by_key(|hold| hold.id());
        holds
    }

    pub(crate) fn insert(&mut self, hold: Hold, on: HeldOn, is_dirty: bool) {
        let (id, heap_place) = (hold.id(), NOT_IN_HEAP);
        let filled = Slot { hold, on, heap_place, is_open: true, is_dirty: false };
        let slot = self.slots.insert(filled);
        let slots = &self.slots;
        self.index.insert(hash_of(id), slot, |slot| slots.at(slot).hold.id() == id);
        self.enter_heap(slot, hold.expires);
        if is_dirty {
            self.mark(slot);
        }
    }

    /// A hold raised: another amount, another end.
    pub(crate) fn update(&mut self, slot: u32, hold: Hold) {
        let place = self.slots.at_mut(slot);
        assert!(place.is_open && place.hold.id() == hold.id(), "a raise keeps the id");
        let before = place.hold.expires;
        place.hold = hold;
        if before != hold.expires {
            self.leave_heap(slot);
            self.enter_heap(slot, hold.expires);
        }
        self.mark(slot);
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        let row = self.slots.at_mut(slot);
        assert!(row.is_open, "only an open hold is resolved");
        row.is_open = false;
        let id = row.hold.id();
        self.index.remove(hash_of(id), slot);
        self.leave_heap(slot);
        self.mark(slot);
        self.resolved.push(slot);
    }

    fn mark(&mut self, slot: u32) {
        let row = self.slots.at_mut(slot);
        if !row.is_dirty {
            row.is_dirty = true;
            self.dirty.push((leading(row.hold.key.0), slot));
        }
    }

    /// The next to expire, if any: earliest first, then by id.
    pub(crate) fn next_expiry(&self) -> Option<(Timestamp, u32)> {
        self.heap.first().copied()
    }

    /// What changed since the last call is what [`Holds::taken`] gives from now on.
    pub(crate) fn take_changes(&mut self) {
        for slot in self.taken_resolved.drain(..) {
            self.slots.give_back(slot);
        }
        std::mem::swap(&mut self.taken_resolved, &mut self.resolved);
        self.taken.clear();
        std::mem::swap(&mut self.taken, &mut self.dirty);
        let slots = &mut self.slots;
        // Before they are sorted: new ones stand side by side.
        for (_, slot) in &self.taken {
            slots.at_mut(*slot).is_dirty = false;
        }
        self.order.sort(&mut self.taken, |slot| slots.at(slot).hold.id());
        // A key may be forgotten and used again at once: of two holds of one id, one is open at most.
        self.taken.dedup_by(|later, kept| {
            if later.0 != kept.0 {
                return false;
            }
            let (row, before) = (slots.at(later.1), slots.at(kept.1));
            let is_same = row.hold.id() == before.hold.id();
            if is_same && row.is_open {
                *kept = *later;
            }
            is_same
        });
    }

    /// In order of id, each once; `None` is resolved.
    pub(crate) fn taken(&self) -> impl ExactSizeIterator<Item = (HoldId, Option<&Hold>)> {
        self.taken.iter().map(|(_, slot)| {
            let row = self.slots.at(*slot);
            (row.hold.id(), row.is_open.then_some(&row.hold))
        })
    }

    fn enter_heap(&mut self, slot: u32, expires: Timestamp) {
        if expires == Timestamp::MAX {
            return;
        }
        self.heap.push((expires, slot));
        self.rise(self.heap.len() - 1);
    }

    fn leave_heap(&mut self, slot: u32) {
        let place = std::mem::replace(&mut self.slots.at_mut(slot).heap_place, NOT_IN_HEAP);
        if place == NOT_IN_HEAP {
            return;
        }
        let place = place as usize;
        assert_eq!(self.heap[place].1, slot, "slot and heap agree");
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.rise(place);
            self.sink(place);
        }
    }

    fn is_before(&self, a: (Timestamp, u32), b: (Timestamp, u32)) -> bool {
        // Ends together: only then are the ids looked up.
        a.0 < b.0 || a.0 == b.0 && self.at(a.1).id() < self.at(b.1).id()
    }

    fn settle(&mut self, place: usize, node: (Timestamp, u32)) {
        self.heap[place] = node;
        let small = u32::try_from(place).expect("as many as there are slots");
        self.slots.at_mut(node.1).heap_place = small;
    }

    fn rise(&mut self, mut place: usize) {
        let node = self.heap[place];
        while place > 0 {
            let above = (place - 1) / ARITY;
            if !self.is_before(node, self.heap[above]) {
                break;
            }
            self.settle(place, self.heap[above]);
            place = above;
        }
        self.settle(place, node);
    }

    fn sink(&mut self, mut place: usize) {
        let node = self.heap[place];
        loop {
            let below = place * ARITY + 1;
            let end = (below + ARITY).min(self.heap.len());
            let Some(first) = (below..end)
                .reduce(|a, b| if self.is_before(self.heap[b], self.heap[a]) { b } else { a })
            else {
                break;
            };
            if !self.is_before(self.heap[first], node) {
                break;
            }
            self.settle(place, self.heap[first]);
            place = first;
        }
        self.settle(place, node);
    }
}
