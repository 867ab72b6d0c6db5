//! The rows of a ledger as a store keeps them, by way of their archives.

use std::collections::BTreeMap;

use novax_ledger::{Account, Changes, Hold, HoldId, JournalRow, Ledger, LedgerError};
use novax_model::{AccountId, TransferKey};

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Store {
    pub(crate) accounts: BTreeMap<AccountId, Vec<u8>>,
    pub(crate) holds: BTreeMap<HoldId, Vec<u8>>,
    pub(crate) journal: Vec<JournalRow>,
    pub(crate) keys: BTreeMap<TransferKey, u64>,
}

impl Store {
    pub(crate) fn write(&mut self, changes: Changes) {
        assert!(changes.accounts.is_sorted_by(|a, b| a.id < b.id), "in order, each once");
        assert!(changes.holds.is_sorted_by(|a, b| a.0 < b.0), "in order, each once");
        assert!(changes.keys.is_sorted_by(|a, b| a.0 < b.0), "in order, each once");
        for account in changes.accounts {
            let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&account).unwrap();
            self.accounts.insert(account.id, bytes.to_vec());
        }
        for (id, hold) in changes.holds {
            match hold {
                Some(hold) => {
                    assert_eq!(hold.id(), id);
                    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&hold).unwrap();
                    self.holds.insert(id, bytes.to_vec());
                }
                None => {
                    self.holds.remove(&id);
                }
            }
        }
        for row in changes.journal {
            assert_eq!(row.number, self.journal.len() as u64, "the journal has no gap");
            let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&row).unwrap();
            let read = rkyv::from_bytes::<JournalRow, rkyv::rancor::Error>(&bytes).unwrap();
            assert_eq!(read, row);
            self.journal.push(read);
        }
        self.keys.extend(changes.keys);
    }

    pub(crate) fn accounts(&self) -> Vec<Account> {
        let read = |bytes| rkyv::from_bytes::<Account, rkyv::rancor::Error>(bytes).unwrap();
        self.accounts.values().map(|bytes| read(bytes)).collect()
    }

    pub(crate) fn holds(&self) -> Vec<Hold> {
        let read = |bytes| rkyv::from_bytes::<Hold, rkyv::rancor::Error>(bytes).unwrap();
        self.holds.values().map(|bytes| read(bytes)).collect()
    }

    pub(crate) fn keys(&self) -> Vec<(TransferKey, u64)> {
        self.keys.iter().map(|(key, stored)| (*key, *stored)).collect()
    }

    pub(crate) fn restore(&self) -> Result<Ledger, LedgerError> {
        let next_journal = self.journal.len() as u64;
        // The order of rows is the store's affair: hand them over backwards.
        let mut accounts = self.accounts();
        accounts.reverse();
        Ledger::restore(accounts, self.holds(), self.keys(), next_journal)
    }
}
