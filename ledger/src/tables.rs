//! The tables of the ledger: accounts, open holds, keys. Each remembers what changed since the
//! changes were last taken. They know rows, not rules.
//!
//! The fate of a resolved hold is kept with the key of the set that placed it, two bits a leg, so
//! that "already posted", "already voided" and "expired" stay distinct for ever, on a restored
//! replica as on one that never stopped, at no cost in rows.

use std::collections::{BTreeMap, BTreeSet};

use novax_model::{AccountId, Timestamp, TransferKey};

use crate::account::{Account, Balances};
use crate::error::LedgerError;
use crate::idmap::IdMap;
use crate::transfer::{Hold, HoldId, LEGS_MAX};

/// Accounts, by id and by slot. A slot, once given, stays.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    slots: Vec<Account>,
    index: IdMap<AccountId, u32>,
    is_dirty: Vec<bool>,
    dirty: Vec<u32>,
}

impl Accounts {
    pub(crate) fn slot(&self, id: AccountId) -> Option<u32> {
        self.index.get(&id).copied()
    }

    pub(crate) fn at(&self, slot: u32) -> &Account {
        &self.slots[slot as usize]
    }

    pub(crate) fn get(&self, id: AccountId) -> Option<&Account> {
        self.slot(id).map(|slot| self.at(slot))
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// In the order they were opened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Account> {
        self.slots.iter()
    }

    pub(crate) fn insert(&mut self, account: Account, is_dirty: bool) {
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 accounts");
        let before = self.index.insert(account.id, slot);
        assert!(before.is_none(), "an account is opened once");
        self.slots.push(account);
        self.is_dirty.push(false);
        if is_dirty {
            self.mark(slot);
        }
    }

    pub(crate) fn set_balances(&mut self, slot: u32, balances: Balances) {
        self.slots[slot as usize].set_balances(balances);
        self.mark(slot);
    }

    fn mark(&mut self, slot: u32) {
        let flag = &mut self.is_dirty[slot as usize];
        if !*flag {
            *flag = true;
            self.dirty.push(slot);
        }
    }

    /// What changed since the last call, in order of id.
    pub(crate) fn take_changes(&mut self) -> Vec<Account> {
        let mut changed = Vec::with_capacity(self.dirty.len());
        for slot in self.dirty.drain(..) {
            self.is_dirty[slot as usize] = false;
            changed.push(self.slots[slot as usize].clone());
        }
        changed.sort_unstable_by_key(|account| account.id);
        changed
    }
}

/// Open holds, by id and by when they expire.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    open: BTreeMap<HoldId, Hold>,
    expiries: BTreeSet<(Timestamp, HoldId)>,
    dirty: Vec<HoldId>,
}

impl Holds {
    pub(crate) fn get(&self, id: HoldId) -> Option<&Hold> {
        self.open.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.open.values()
    }

    pub(crate) fn insert(&mut self, hold: Hold, is_dirty: bool) {
        let before = self.open.insert(hold.id(), hold);
        assert!(before.is_none(), "a hold is placed once");
        if hold.expires != Timestamp::MAX {
            self.expiries.insert((hold.expires, hold.id()));
        }
        if is_dirty {
            self.dirty.push(hold.id());
        }
    }

    pub(crate) fn remove(&mut self, id: HoldId) {
        let hold = self.open.remove(&id).expect("only an open hold is resolved");
        if hold.expires != Timestamp::MAX {
            assert!(self.expiries.remove(&(hold.expires, id)), "each expiry is indexed");
        }
        self.dirty.push(id);
    }

    /// The next to expire, if any: earliest first, then by id.
    pub(crate) fn next_expiry(&self) -> Option<(Timestamp, HoldId)> {
        self.expiries.first().copied()
    }

    /// What changed since the last call, in order of id; `None` is resolved.
    pub(crate) fn take_changes(&mut self) -> Vec<(HoldId, Option<Hold>)> {
        let mut ids = std::mem::take(&mut self.dirty);
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| (id, self.open.get(&id).copied())).collect()
    }
}

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

/// Keys of all sets booked. A stored key is one number: the upper half of the legs' fingerprint,
/// and below it two bits for each leg that was a hold and has been resolved.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: IdMap<TransferKey, u64>,
    dirty: Vec<TransferKey>,
}

const FINGERPRINT_BITS: u64 = 0xffff_ffff_0000_0000;

impl Keys {
    /// Whether the key was used, and if so whether for legs with this fingerprint.
    pub(crate) fn was_used_for(&self, key: TransferKey, fingerprint: u64) -> Option<bool> {
        let stored = self.known.get(&key)?;
        Some(stored & FINGERPRINT_BITS == fingerprint & FINGERPRINT_BITS)
    }

    pub(crate) fn contains(&self, key: TransferKey) -> bool {
        self.known.contains_key(&key)
    }

    pub(crate) fn resolution(&self, id: HoldId) -> Option<Resolution> {
        if usize::from(id.leg) >= LEGS_MAX {
            return None;
        }
        match self.known.get(&id.key)? >> (2 * id.leg) & 3 {
            1 => Some(Resolution::Posted),
            2 => Some(Resolution::Voided),
            3 => Some(Resolution::Expired),
            _ => None,
        }
    }

    pub(crate) fn insert(&mut self, key: TransferKey, fingerprint: u64) {
        let before = self.known.insert(key, fingerprint & FINGERPRINT_BITS);
        assert!(before.is_none(), "a key is booked once");
        self.dirty.push(key);
    }

    /// Takes a stored key back; `false` when it is there already.
    pub(crate) fn restore(&mut self, key: TransferKey, stored: u64) -> bool {
        self.known.insert(key, stored).is_none()
    }

    pub(crate) fn resolve(&mut self, id: HoldId, resolution: Resolution) {
        assert!(usize::from(id.leg) < LEGS_MAX, "a hold is a leg of a bounded set");
        assert!(self.resolution(id).is_none(), "a hold is resolved once");
        let stored = self.known.get_mut(&id.key).expect("the key of a hold is kept");
        *stored |= (resolution as u64) << (2 * id.leg);
        self.dirty.push(id.key);
    }

    /// What was added or changed since the last call, in order of key.
    pub(crate) fn take_changes(&mut self) -> Vec<(TransferKey, u64)> {
        let mut keys = std::mem::take(&mut self.dirty);
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|key| (key, self.known[&key])).collect()
    }
}
