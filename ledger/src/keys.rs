//! The keys of all sets booked, and what is kept of each set: so that a repeat gets the first
//! answer, a hold is resolved once, and a set is undone once.
//!
//! The fate of a resolved hold is kept with the key of the set that placed it, two bits a leg, so
//! that "already posted", "already voided" and "expired" stay distinct, on a restored replica as on
//! one that never stopped, at no cost in rows.
//!
//! In memory a key costs 48 bytes in a hash table and 16 in the queue of ages: 70 to 145 bytes with
//! the room both keep to grow. So keys are forgotten, oldest first, but never younger than
//! [`KEY_AGE_MIN`]; one whose hold is still open stays until that is resolved. The hash table is cut
//! in [`SHARDS`], so that growing it never stops the ledger for longer than one of them takes.

use std::collections::{BTreeMap, VecDeque};

use novax_model::{Amount, Duration, Timestamp, TransferKey};
use rkyv::{Archive, Deserialize, Serialize};

use crate::error::LedgerError;
use crate::idmap::IdMap;
use crate::transfer::{HOLD_LEGS_MAX, HoldId};

/// No key younger than this is forgotten, whatever is asked for: longer than a charger may have
/// been offline, and than a bank may take to dispute a payment.
pub const KEY_AGE_MIN: Duration = Duration::from_secs(60 * 24 * 3600);

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

/// [`KeyRow`] without the amount refunded, which few sets have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) first: u64,
    pub(crate) at: Timestamp,
    fingerprint: u32,
    pub(crate) digest: u32,
    fates: u32,
    pub(crate) rows: u8,
    open_holds: u8,
    mark: Mark,
}

const _: () = assert!(size_of::<(TransferKey, Known)>() == 48, "as the file's head says");

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

/// Keys of all sets that are remembered.
#[derive(Debug)]
pub(crate) struct Keys {
    shards: Box<[IdMap<TransferKey, Known>]>,
    refunded: BTreeMap<TransferKey, Amount>,
    /// By number of the first journal row, which grows with each set.
    oldest_first: VecDeque<TransferKey>,
    /// Old enough to be forgotten but for an open hold, by number of the first journal row.
    kept: BTreeMap<u64, TransferKey>,
    dirty: Vec<TransferKey>,
    newest: Timestamp,
    open_holds: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Keys {
            shards: (0..SHARDS).map(|_| IdMap::default()).collect(),
            refunded: BTreeMap::new(),
            oldest_first: VecDeque::new(),
            kept: BTreeMap::new(),
            dirty: Vec::new(),
            newest: Timestamp::ZERO,
            open_holds: 0,
        }
    }
}

/// Other bits than the table's own hash goes by.
fn shard_of(key: TransferKey) -> usize {
    let folded = u64::try_from((key.0 ^ key.0 >> 64) & u128::from(u64::MAX)).expect("64 bits");
    usize::try_from(folded.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 56).expect("8 bits") % SHARDS
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
    pub(crate) fn get(&self, key: TransferKey) -> Option<&Known> {
        self.shards[shard_of(key)].get(&key)
    }

    fn get_mut(&mut self, key: TransferKey) -> Option<&mut Known> {
        self.shards[shard_of(key)].get_mut(&key)
    }

    /// Holds that are open by what their keys say.
    pub(crate) fn open_holds(&self) -> usize {
        self.open_holds
    }

    pub(crate) fn undone(&self, key: TransferKey, known: &Known) -> Undone {
        match known.mark {
            Mark::No => Undone::No,
            Mark::Refunded => Undone::Refunded(self.refunded.get(&key).copied().unwrap_or(0)),
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

    pub(crate) fn insert(&mut self, key: TransferKey, new: NewKey) {
        assert!(new.rows > 0, "a set that moves nothing is refused");
        let known = Known {
            first: new.first,
            at: new.at,
            fingerprint: upper_half(new.fingerprint),
            digest: new.digest,
            fates: 0,
            rows: new.rows,
            open_holds: new.holds,
            mark: Mark::of(new.undone),
        };
        let before = self.shards[shard_of(key)].insert(key, known);
        assert!(before.is_none(), "a key is booked once");
        self.open_holds += usize::from(new.holds);
        self.oldest_first.push_back(key);
        self.newest = self.newest.max(new.at);
        self.dirty.push(key);
    }

    /// Takes stored keys back.
    ///
    /// # Errors
    /// When one stands there twice.
    pub(crate) fn restore(&mut self, rows: Vec<(TransferKey, KeyRow)>) -> Result<(), LedgerError> {
        let mut order: Vec<(u64, TransferKey)> = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let known = Known {
                first: row.first,
                at: row.at,
                fingerprint: row.fingerprint,
                digest: row.digest,
                fates: row.fates,
                rows: row.rows,
                open_holds: row.open_holds,
                mark: Mark::of(row.undone),
            };
            if self.shards[shard_of(key)].insert(key, known).is_some() {
                return Err(LedgerError::Inconsistent("a key stands there twice"));
            }
            if let Undone::Refunded(amount) = row.undone {
                self.refunded.insert(key, amount);
            }
            self.open_holds += usize::from(row.open_holds);
            self.newest = self.newest.max(row.at);
            order.push((row.first, key));
        }
        order.sort_unstable();
        if order.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(LedgerError::Inconsistent("two keys share a journal row"));
        }
        self.oldest_first = order.into_iter().map(|(_, key)| key).collect();
        Ok(())
    }

    pub(crate) fn resolve(&mut self, id: HoldId, resolution: Resolution) {
        assert!(usize::from(id.leg) < HOLD_LEGS_MAX, "a hold is among the first legs");
        let known = self.get_mut(id.key).expect("the key of a hold is kept");
        assert!(known.fates >> (2 * id.leg) & 3 == 0, "a hold is resolved once");
        known.fates |= (resolution as u32) << (2 * id.leg);
        known.open_holds = known.open_holds.checked_sub(1).expect("the hold was open");
        self.open_holds -= 1;
        self.dirty.push(id.key);
    }

    /// Remembers that a set was undone, all or `refunded` of it.
    pub(crate) fn undo(&mut self, key: TransferKey, refunded: Option<Amount>) {
        let known = self.get_mut(key).expect("the key of a set that is undone is known");
        known.mark = if refunded.is_some() { Mark::Refunded } else { Mark::Reversed };
        if let Some(amount) = refunded {
            self.refunded.insert(key, amount);
        }
        self.dirty.push(key);
    }

    /// Forgets at most `max` keys that were booked before `before`, oldest first.
    pub(crate) fn forget(&mut self, before: Timestamp, max: usize) -> usize {
        let age_us = u64::try_from(KEY_AGE_MIN.as_micros()).expect("days fit");
        let before = before.min(Timestamp(self.newest.0.saturating_sub(age_us)));
        let mut forgotten = 0;
        forgotten += self.forget_kept(before, max);
        while forgotten < max {
            let Some(key) = self.oldest_first.front().copied() else { break };
            let known = *self.get(key).expect("a key in the queue is known");
            if known.at >= before {
                break;
            }
            self.oldest_first.pop_front();
            if known.open_holds == 0 {
                self.drop_key(key);
                forgotten += 1;
            } else {
                self.kept.insert(known.first, key);
            }
        }
        forgotten
    }

    /// Those whose holds have been resolved since they were passed over.
    fn forget_kept(&mut self, before: Timestamp, max: usize) -> usize {
        let is_over = |known: &Known| known.open_holds == 0 && known.at < before;
        let due: Vec<(u64, TransferKey)> = self
            .kept
            .iter()
            .filter(|(_, key)| self.get(**key).is_some_and(is_over))
            .map(|(first, key)| (*first, *key))
            .take(max)
            .collect();
        for (first, key) in &due {
            self.kept.remove(first);
            self.drop_key(*key);
        }
        due.len()
    }

    fn drop_key(&mut self, key: TransferKey) {
        let known = self.shards[shard_of(key)].remove(&key);
        assert!(known.is_some_and(|known| known.open_holds == 0), "an open hold keeps its key");
        self.refunded.remove(&key);
        self.dirty.push(key);
    }

    /// What was added or changed since the last call, in order of key; `None` is forgotten.
    pub(crate) fn take_changes(&mut self) -> Vec<(TransferKey, Option<KeyRow>)> {
        let mut keys = std::mem::take(&mut self.dirty);
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|key| (key, self.row(key))).collect()
    }

    /// What is stored of a set.
    pub(crate) fn row(&self, key: TransferKey) -> Option<KeyRow> {
        let known = self.get(key)?;
        Some(KeyRow {
            first: known.first,
            rows: known.rows,
            at: known.at,
            fingerprint: known.fingerprint,
            digest: known.digest,
            fates: known.fates,
            open_holds: known.open_holds,
            undone: self.undone(key, known),
        })
    }
}
