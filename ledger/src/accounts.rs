//! The table of accounts, by id and by slot. It knows rows, not rules, and remembers which changed
//! since the changes were last taken. A slot, once given, stays.

use novax_model::{AccountId, Timestamp};

use crate::account::{Account, Balances};
use crate::idmap::IdMap;

#[derive(Debug)]
struct Slot {
    account: Account,
    is_dirty: bool,
}

/// All accounts of a ledger.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    slots: Vec<Slot>,
    index: IdMap<AccountId, u32>,
    dirty: Vec<u32>,
}

impl Accounts {
    pub(crate) fn slot(&self, id: AccountId) -> Option<u32> {
        self.index.get(&id).copied()
    }

    pub(crate) fn at(&self, slot: u32) -> &Account {
        &self.slots[slot as usize].account
    }

    pub(crate) fn get(&self, id: AccountId) -> Option<&Account> {
        self.slot(id).map(|slot| self.at(slot))
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// In the order they were opened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Account> {
        self.slots.iter().map(|slot| &slot.account)
    }

    pub(crate) fn insert(&mut self, account: Account, is_dirty: bool) {
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 accounts");
        let before = self.index.insert(account.id, slot);
        assert!(before.is_none(), "an account is opened once");
        self.slots.push(Slot { account, is_dirty: false });
        if is_dirty {
            self.mark(slot);
        }
    }

    pub(crate) fn set_balances(&mut self, slot: u32, balances: Balances, at: Timestamp) {
        self.change(slot).set_balances(balances, at);
    }

    /// An account about to change in something else than its balances.
    pub(crate) fn change(&mut self, slot: u32) -> &mut Account {
        self.mark(slot);
        &mut self.slots[slot as usize].account
    }

    fn mark(&mut self, slot: u32) {
        let flag = &mut self.slots[slot as usize].is_dirty;
        if !*flag {
            *flag = true;
            self.dirty.push(slot);
        }
    }

    /// What changed since the last call, in order of id.
    pub(crate) fn take_changes(&mut self) -> Vec<Account> {
        // Sorted by themselves, ids are moved about at a tenth of the cost of rows.
        let mut order: Vec<(AccountId, u32)> =
            self.dirty.drain(..).map(|slot| (self.slots[slot as usize].account.id, slot)).collect();
        order.sort_unstable();
        let row = |(_, slot): (AccountId, u32)| {
            let slot = &mut self.slots[slot as usize];
            slot.is_dirty = false;
            slot.account.clone()
        };
        order.into_iter().map(row).collect()
    }
}
