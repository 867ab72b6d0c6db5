//! The table of open holds: a slab of slots, found by id, and a heap of those that will expire.
//!
//! The heap is ordered by expiry, then id: which hold is next depends on the holds alone, not on the
//! order of earlier calls. Each slot knows its place in the heap, so that a hold leaves it as soon
//! as it is resolved.

use novax_model::Timestamp;

use crate::idmap::IdMap;
use crate::transfer::{Hold, HoldId};

/// Children of a node of the heap: a wide node costs fewer cache misses than a deep tree.
const ARITY: usize = 4;
/// The place of a hold that never expires.
const NOT_IN_HEAP: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Slot {
    hold: Hold,
    heap_place: u32,
}

/// All open holds of a ledger.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: IdMap<HoldId, u32>,
    heap: Vec<(Timestamp, u32)>,
    dirty: Vec<HoldId>,
}

impl Holds {
    pub(crate) fn slot(&self, id: HoldId) -> Option<u32> {
        self.index.get(&id).copied()
    }

    pub(crate) fn at(&self, slot: u32) -> &Hold {
        &self.slots[slot as usize].hold
    }

    pub(crate) fn get(&self, id: HoldId) -> Option<&Hold> {
        self.slot(id).map(|slot| self.at(slot))
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// In order of id. Sorts: not for the hot path.
    pub(crate) fn sorted(&self) -> Vec<&Hold> {
        let mut free = vec![false; self.slots.len()];
        for slot in &self.free {
            free[*slot as usize] = true;
        }
        let open = self.slots.iter().zip(free).filter(|(_, is_free)| !is_free);
        let mut holds: Vec<&Hold> = open.map(|(slot, _)| &slot.hold).collect();
        assert_eq!(holds.len(), self.len(), "what is not free is open");
        holds.sort_unstable_by_key(|hold| hold.id());
        holds
    }

    pub(crate) fn insert(&mut self, hold: Hold, is_dirty: bool) {
        let filled = Slot { hold, heap_place: NOT_IN_HEAP };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = filled;
                slot
            }
            None => {
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 holds");
                self.slots.push(filled);
                slot
            }
        };
        let before = self.index.insert(hold.id(), slot);
        assert!(before.is_none(), "a hold is placed once");
        self.enter_heap(slot, hold.expires);
        if is_dirty {
            self.dirty.push(hold.id());
        }
    }

    /// A hold raised: another amount, another end.
    pub(crate) fn update(&mut self, slot: u32, hold: Hold) {
        let place = &mut self.slots[slot as usize];
        assert_eq!(place.hold.id(), hold.id(), "a raise keeps the id");
        let before = place.hold.expires;
        place.hold = hold;
        if before != hold.expires {
            self.leave_heap(slot);
            self.enter_heap(slot, hold.expires);
        }
        self.dirty.push(hold.id());
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        let id = self.at(slot).id();
        assert_eq!(self.index.remove(&id), Some(slot), "only an open hold is resolved");
        self.leave_heap(slot);
        self.free.push(slot);
        self.dirty.push(id);
    }

    /// The next to expire, if any: earliest first, then by id.
    pub(crate) fn next_expiry(&self) -> Option<(Timestamp, u32)> {
        self.heap.first().copied()
    }

    /// What changed since the last call, in order of id; `None` is resolved.
    pub(crate) fn take_changes(&mut self) -> Vec<(HoldId, Option<Hold>)> {
        let mut ids = std::mem::take(&mut self.dirty);
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| (id, self.get(id).copied())).collect()
    }

    fn enter_heap(&mut self, slot: u32, expires: Timestamp) {
        if expires == Timestamp::MAX {
            return;
        }
        self.heap.push((expires, slot));
        self.rise(self.heap.len() - 1);
    }

    fn leave_heap(&mut self, slot: u32) {
        let place = std::mem::replace(&mut self.slots[slot as usize].heap_place, NOT_IN_HEAP);
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
        self.slots[node.1 as usize].heap_place = small;
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
