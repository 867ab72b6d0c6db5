//! The table of accounts, by id and by slot. It knows rows, not rules, and remembers which changed
//! since the changes were last taken. A slot, once given, stays.

use novax_model::{AccountId, Timestamp};

use crate::account::{Account, Balances};
use crate::index::{Index, hash};
use crate::order::{Marked, Order, leading};
use crate::slab::Slab;

/// A row in two lines of the processor's cache that are fetched together, the name apart: whatever
/// moves money waits for one read.
#[derive(Debug)]
#[repr(align(128))]
struct Row(Account);

const _: () = assert!(size_of::<Row>() == 128, "an account is no wider");

/// All accounts of a ledger.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    rows: Slab<Row>,
    index: Index,
    /// A bit for each slot: whether the row is in `dirty`.
    is_dirty: Vec<u64>,
    dirty: Vec<Marked>,
    /// What was dirty when the changes were taken, in order of id.
    taken: Vec<Marked>,
    order: Order,
}

impl Accounts {
    #[inline]
    pub(crate) fn slot(&self, id: AccountId) -> Option<u32> {
        self.index.find(hash(id.0), |slot| self.at(slot).id == id)
    }

    /// The slot that the account has if there is one; another's, hardly ever. Reads no row.
    #[inline]
    pub(crate) fn likely_slot(&self, id: AccountId) -> Option<u32> {
        self.index.likely(hash(id.0))
    }

    #[inline]
    pub(crate) fn at(&self, slot: u32) -> &Account {
        &self.rows.at(slot).0
    }

    pub(crate) fn get(&self, id: AccountId) -> Option<&Account> {
        self.slot(id).map(|slot| self.at(slot))
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.slots()
    }

    /// In the order they were opened, which is that of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Account> {
        self.rows.iter().map(|row| &row.0)
    }

    pub(crate) fn insert(&mut self, account: Account, is_dirty: bool) {
        let id = account.id;
        let slot = self.rows.insert(Row(account));
        let rows = &self.rows;
        self.index.insert(hash(id.0), slot, |slot| rows.at(slot).0.id == id);
        self.is_dirty.resize(self.len().div_ceil(64), 0);
        if is_dirty {
            self.change(slot);
        }
    }

    #[inline]
    pub(crate) fn set_balances(&mut self, slot: u32, balances: &Balances, at: Timestamp) {
        self.change(slot).set_balances(balances, at);
    }

    /// An account about to change.
    #[inline]
    pub(crate) fn change(&mut self, slot: u32) -> &mut Account {
        let account = &mut self.rows.at_mut(slot).0;
        let (word, bit) = (&mut self.is_dirty[slot as usize / 64], 1 << (slot % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.dirty.push((leading(account.id.0), slot));
        }
        account
    }

    /// What changed since the last call is what [`Accounts::taken`] gives from now on.
    pub(crate) fn take_changes(&mut self) {
        self.taken.clear();
        std::mem::swap(&mut self.taken, &mut self.dirty);
        let rows = &self.rows;
        self.order.sort(&mut self.taken, |slot| rows.at(slot).0.id);
        for (_, slot) in &self.taken {
            self.is_dirty[*slot as usize / 64] &= !(1 << (slot % 64));
        }
    }

    /// In order of id, each once.
    pub(crate) fn taken(&self) -> impl ExactSizeIterator<Item = &Account> {
        self.taken.iter().map(|(_, slot)| self.at(*slot))
    }
}
