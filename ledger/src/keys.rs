//! The keys of all sets booked, and what is kept of each set: so that a repeat gets the first answer, a hold
//! is resolved once, and a set is undone once.
//!
//! The fate of a resolved hold is kept with the key of the set that placed it, two bits a leg, so that
//! "already posted", "already voided" and "expired" stay distinct, on a restored replica as on one that never
//! stopped, at no cost in rows.
//!
//! The store keeps every key, as long as the journal. Memory keeps the newest and those whose holds are open:
//! [`Keys::trim`] lets the others leave, [`Keys::recall`] takes one back for as long as somebody needs it. In
//! memory a key costs 48 bytes in a slab, 4 in the queue of ages and 11 to 21 in the index that finds it: 63
//! to 77 bytes with the room both keep to grow. New keys stand side by side, and the index is cut in
//! [`SHARDS`], so that growing it never stops the ledger for longer than one of them takes.
//!
//! **Invariant**: which keys are in memory after [`Keys::trim`] follows from the rows and its bound alone, so
//! it is the same on a replica that was restored.

use std::collections::{BTreeMap, VecDeque};

use novax_model::{Amount, Timestamp, TransferKey};
use rkyv::{Archive, Deserialize, Serialize};

use crate::error::LedgerError;
use crate::index::{Index, hash};
use crate::order::{Marked, Order, leading};
use crate::slab::Slab;
use crate::transfer::{HOLD_LEGS_MAX, HoldId};

const SHARDS: usize = 256;

/// What became of a hold. The numbers are stored: append only, at most three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution {
    Posted = 1,
    Voided = 2,
    Expired = 3,
}

impl Resolution {
    /// The refusal of a second resolution.
    pub(crate) fn refusal(self, id: HoldId) -> LedgerError {
        match self {
            Resolution::Posted => LedgerError::HoldAlreadyPosted(id),
            Resolution::Voided => LedgerError::HoldAlreadyVoided(id),
            Resolution::Expired => LedgerError::HoldExpired(id),
        }
    }
}

/// Whether a set was undone.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[rkyv(derive(Debug))]
pub enum Undone {
    /// It stands.
    No,
    /// So much of it was refunded.
    Refunded(Amount),
    /// It was reversed whole.
    Reversed,
    /// It undoes another set, and so cannot be undone.
    Never,
}

/// What is stored of a set that was booked. To be handed back to [`crate::Ledger::restore`].
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyRow {
    /// Number of the set's first journal row.
    pub first: u64,
    /// How many journal rows it wrote.
    pub rows: u8,
    /// When it was booked.
    pub at: Timestamp,
    /// Upper half of [`crate::fingerprint()`].
    pub fingerprint: u32,
    /// [`crate::digest()`] of its rows.
    pub digest: u32,
    /// Two bits for each leg that was a hold: 0 open, 1 posted, 2 voided, 3 expired.
    pub fates: u32,
    /// How many of its holds are open.
    pub open_holds: u8,
    /// Whether it was undone.
    pub undone: Undone,
}

/// [`KeyRow`] with its key, without the amount refunded, which few sets have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) key: TransferKey,
    pub(crate) first: u64,
    pub(crate) at: Timestamp,
    fingerprint: u32,
    pub(crate) digest: u32,
    fates: u32,
    pub(crate) rows: u8,
    open_holds: u8,
    mark: Mark,
    state: State,
}

const _: () = assert!(size_of::<Known>() == 48, "as the file's head says");

/// Whether a row changed since the changes were last taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Clean,
    Dirty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    No,
    Refunded,
    Reversed,
    Never,
}

impl Mark {
    fn of(undone: Undone) -> Mark {
        match undone {
            Undone::No => Mark::No,
            Undone::Refunded(_) => Mark::Refunded,
            Undone::Reversed => Mark::Reversed,
            Undone::Never => Mark::Never,
        }
    }
}

/// A set about to be booked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewKey {
    pub(crate) first: u64,
    pub(crate) rows: u8,
    pub(crate) at: Timestamp,
    pub(crate) fingerprint: u64,
    pub(crate) digest: u32,
    pub(crate) holds: u8,
    pub(crate) undone: Undone,
}

/// Keys of the sets that are in memory.
#[derive(Debug)]
pub(crate) struct Keys {
    rows: Slab<Known>,
    shards: Box<[Index]>,
    refunded: BTreeMap<TransferKey, Amount>,
    /// Slots of the newest, by number of the first journal row, which grows with each set.
    oldest_first: VecDeque<u32>,
    /// The first journal row of any set that was ever too old to stay is below.
    stay_from: u64,
    /// Slots of sets that are too old to stay, and that nothing needs any more.
    over: Vec<u32>,
    dirty: Vec<Marked>,
    /// What was dirty when the changes were taken, in order of key.
    taken: Vec<Marked>,
    order: Order,
    open_holds: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Keys {
            rows: Slab::default(),
            shards: (0..SHARDS).map(|_| Index::default()).collect(),
            refunded: BTreeMap::new(),
            oldest_first: VecDeque::new(),
            stay_from: 0,
            over: Vec::new(),
            dirty: Vec::new(),
            taken: Vec::new(),
            order: Order::default(),
            open_holds: 0,
        }
    }
}

/// By the last bits of a hash; an index goes by the first.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash % SHARDS as u64).expect("a small number")
}

fn upper_half(fingerprint: u64) -> u32 {
    u32::try_from(fingerprint >> 32).expect("32 bits are left")
}

impl Known {
    pub(crate) fn is_for(&self, fingerprint: u64) -> bool {
        self.fingerprint == upper_half(fingerprint)
    }
}

impl Keys {
    #[inline]
    pub(crate) fn slot(&self, key: TransferKey) -> Option<u32> {
        let hash = hash(key.0);
        self.shards[shard_of(hash)].find(hash, |slot| self.rows.at(slot).key == key)
    }

    /// The slot that the key has if it is known; another's, hardly ever. Reads no row.
    #[inline]
    pub(crate) fn likely_slot(&self, key: TransferKey) -> Option<u32> {
        let hash = hash(key.0);
        self.shards[shard_of(hash)].likely(hash)
    }

    pub(crate) fn get(&self, key: TransferKey) -> Option<&Known> {
        self.slot(key).map(|slot| self.rows.at(slot))
    }

    /// Holds that are open by what their keys say.
    pub(crate) fn open_holds(&self) -> usize {
        self.open_holds
    }

    pub(crate) fn undone(&self, known: &Known) -> Undone {
        match known.mark {
            Mark::No => Undone::No,
            Mark::Refunded => Undone::Refunded(self.refunded.get(&known.key).copied().unwrap_or(0)),
            Mark::Reversed => Undone::Reversed,
            Mark::Never => Undone::Never,
        }
    }

    pub(crate) fn resolution(&self, id: HoldId) -> Option<Resolution> {
        if usize::from(id.leg) >= HOLD_LEGS_MAX {
            return None;
        }
        match self.get(id.key)?.fates >> (2 * id.leg) & 3 {
            1 => Some(Resolution::Posted),
            2 => Some(Resolution::Voided),
            3 => Some(Resolution::Expired),
            _ => None,
        }
    }

    /// Returns the slot.
    pub(crate) fn insert(&mut self, key: TransferKey, new: NewKey) -> u32 {
        assert!(new.rows > 0, "a set that moves nothing is refused");
        let slot = self.put(Known {
            key,
            first: new.first,
            at: new.at,
            fingerprint: upper_half(new.fingerprint),
            digest: new.digest,
            fates: 0,
            rows: new.rows,
            open_holds: new.holds,
            mark: Mark::of(new.undone),
            state: State::Dirty,
        });
        self.dirty.push((leading(key.0), slot));
        self.oldest_first.push_back(slot);
        slot
    }

    fn put(&mut self, known: Known) -> u32 {
        let hash = hash(known.key.0);
        let slot = self.rows.insert(known);
        let rows = &self.rows;
        let is_it = |slot| rows.at(slot).key == known.key;
        self.shards[shard_of(hash)].insert(hash, slot, is_it);
        self.open_holds += usize::from(known.open_holds);
        slot
    }

    fn mark(&mut self, slot: u32) {
        let known = self.rows.at_mut(slot);
        if known.state == State::Clean {
            known.state = State::Dirty;
            self.dirty.push((leading(known.key.0), slot));
        }
    }

    /// Takes stored keys back: the newest, and those whose holds are open.
    ///
    /// # Errors
    /// When one stands there twice.
    pub(crate) fn restore(&mut self, rows: Vec<(TransferKey, KeyRow)>) -> Result<(), LedgerError> {
        let mut order: Vec<(u64, u32)> = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            if self.slot(key).is_some() {
                return Err(LedgerError::Inconsistent("a key stands there twice"));
            }
            order.push((row.first, self.put_row(key, &row)));
        }
        order.sort_unstable();
        if order.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(LedgerError::Inconsistent("two keys share a journal row"));
        }
        self.oldest_first = order.into_iter().map(|(_, slot)| slot).collect();
        Ok(())
    }

    /// Takes one back that has left memory, until the next [`Keys::trim`]. One that is here stays as it is.
    pub(crate) fn recall(&mut self, key: TransferKey, row: &KeyRow) {
        if self.slot(key).is_some() {
            return;
        }
        assert!(row.open_holds == 0, "a key whose hold is open never leaves");
        let slot = self.put_row(key, row);
        self.over.push(slot);
    }

    fn put_row(&mut self, key: TransferKey, row: &KeyRow) -> u32 {
        if let Undone::Refunded(amount) = row.undone {
            self.refunded.insert(key, amount);
        }
        self.put(Known {
            key,
            first: row.first,
            at: row.at,
            fingerprint: row.fingerprint,
            digest: row.digest,
            fates: row.fates,
            rows: row.rows,
            open_holds: row.open_holds,
            mark: Mark::of(row.undone),
            state: State::Clean,
        })
    }

    /// Remembers what became of a hold of the set in `slot`.
    pub(crate) fn resolve(&mut self, slot: u32, id: HoldId, resolution: Resolution) {
        assert!(usize::from(id.leg) < HOLD_LEGS_MAX, "a hold is among the first legs");
        let known = self.rows.at_mut(slot);
        assert_eq!(known.key, id.key, "the key of a hold is kept");
        assert!(known.fates >> (2 * id.leg) & 3 == 0, "a hold is resolved once");
        known.fates |= (resolution as u32) << (2 * id.leg);
        known.open_holds = known.open_holds.checked_sub(1).expect("the hold was open");
        if known.open_holds == 0 && known.first < self.stay_from {
            self.over.push(slot);
        }
        self.open_holds -= 1;
        self.mark(slot);
    }

    /// Remembers that a set was undone, all or `refunded` of it.
    pub(crate) fn undo(&mut self, key: TransferKey, refunded: Option<Amount>) {
        let slot = self.slot(key).expect("the key of a set that is undone is known");
        let mark = if refunded.is_some() { Mark::Refunded } else { Mark::Reversed };
        self.rows.at_mut(slot).mark = mark;
        if let Some(amount) = refunded {
            self.refunded.insert(key, amount);
        }
        self.mark(slot);
    }

    /// Lets all but the newest `max` sets leave memory, and those whose holds are open. To be called when the
    /// changes have been taken and stored.
    pub(crate) fn trim(&mut self, max: usize) {
        while let Some(slot) = self.over.pop() {
            self.leave(slot);
        }
        while self.oldest_first.len() > max {
            let Some(slot) = self.oldest_first.pop_front() else { break };
            let known = self.rows.at(slot);
            self.stay_from = known.first + 1;
            if known.open_holds == 0 {
                self.leave(slot);
            }
        }
    }

    fn leave(&mut self, slot: u32) {
        let known = self.rows.at(slot);
        assert!(known.open_holds == 0, "an open hold keeps its key");
        assert!(known.state == State::Clean, "what leaves is stored");
        let key = known.key;
        let hash = hash(key.0);
        self.shards[shard_of(hash)].remove(hash, slot);
        self.refunded.remove(&key);
        self.rows.give_back(slot);
    }

    /// What was added or changed since the last call is what [`Keys::taken`] gives from now on.
    pub(crate) fn take_changes(&mut self) {
        self.taken.clear();
        std::mem::swap(&mut self.taken, &mut self.dirty);
        let rows = &mut self.rows;
        // Before they are sorted: new ones stand side by side.
        for (_, slot) in &self.taken {
            rows.at_mut(*slot).state = State::Clean;
        }
        self.order.sort(&mut self.taken, |slot| rows.at(slot).key);
    }

    /// In order of key, each once.
    pub(crate) fn taken(&self) -> impl ExactSizeIterator<Item = (TransferKey, KeyRow)> {
        self.taken.iter().map(|(_, slot)| {
            let known = self.rows.at(*slot);
            (known.key, self.row_of(known))
        })
    }

    /// What is stored of a set.
    pub(crate) fn row(&self, key: TransferKey) -> Option<KeyRow> {
        self.get(key).map(|known| self.row_of(known))
    }

    fn row_of(&self, known: &Known) -> KeyRow {
        KeyRow {
            first: known.first,
            rows: known.rows,
            at: known.at,
            fingerprint: known.fingerprint,
            digest: known.digest,
            fates: known.fates,
            open_holds: known.open_holds,
            undone: self.undone(known),
        }
    }
}
