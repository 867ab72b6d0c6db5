//! The rows of a ledger as a store keeps them, by way of their archives.

use std::collections::BTreeMap;

use novax_ledger::{
    Account, AccountEntry, Changes, Head, Hold, HoldId, JournalRow, KeyRow, Ledger, LedgerError,
    Rows,
};
use novax_model::{AccountId, TransferKey};

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Store {
    pub(crate) accounts: BTreeMap<AccountId, Vec<u8>>,
    pub(crate) holds: BTreeMap<HoldId, Vec<u8>>,
    pub(crate) journal: Vec<JournalRow>,
    pub(crate) keys: BTreeMap<TransferKey, Vec<u8>>,
    pub(crate) entries: BTreeMap<(AccountId, u64), AccountEntry>,
    pub(crate) head: Head,
}

impl Store {
    /// Writes what changed in the ledger since the last time.
    pub(crate) fn follow(&mut self, ledger: &mut Ledger) {
        let head = ledger.head();
        self.write(ledger.take_changes(), head);
    }

    pub(crate) fn write(&mut self, changes: Changes<'_>, head: Head) {
        self.head = head;
        assert!(changes.accounts().is_sorted_by(|a, b| a.id < b.id), "in order, each once");
        assert!(changes.holds().is_sorted_by(|a, b| a.0 < b.0), "in order, each once");
        assert!(changes.keys().is_sorted_by(|a, b| a.0 < b.0), "in order, each once");
        for account in changes.accounts() {
            let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(account).unwrap();
            self.accounts.insert(account.id, bytes.to_vec());
        }
        for (id, hold) in changes.holds() {
            match hold {
                Some(hold) => {
                    assert_eq!(hold.id(), id);
                    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(hold).unwrap();
                    self.holds.insert(id, bytes.to_vec());
                }
                None => {
                    self.holds.remove(&id);
                }
            }
        }
        for row in changes.journal() {
            assert_eq!(row.number, self.journal.len() as u64, "the journal has no gap");
            let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(row).unwrap();
            let read = rkyv::from_bytes::<JournalRow, rkyv::rancor::Error>(&bytes).unwrap();
            assert_eq!(read, *row);
            self.journal.push(read);
        }
        for entry in changes.entries() {
            let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(entry).unwrap();
            let read = rkyv::from_bytes::<AccountEntry, rkyv::rancor::Error>(&bytes).unwrap();
            let before = self.entries.insert((entry.account, entry.number), read);
            assert!(before.is_none(), "a row touches an account once");
        }
        for (key, row) in changes.keys() {
            let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&row).unwrap();
            self.keys.insert(key, bytes.to_vec());
        }
        assert_eq!(self.head.next_journal, self.journal.len() as u64);
    }

    /// What is kept of a set.
    pub(crate) fn key(&self, key: TransferKey) -> Option<KeyRow> {
        let bytes = self.keys.get(&key)?;
        Some(rkyv::from_bytes::<KeyRow, rkyv::rancor::Error>(bytes).unwrap())
    }

    /// Has the ledger take back a set that has left its memory.
    pub(crate) fn recall(&self, ledger: &mut Ledger, key: TransferKey) {
        if ledger.set(key).is_none()
            && let Some(row) = self.key(key)
        {
            ledger.recall_key(key, &row);
        }
    }

    pub(crate) fn accounts(&self) -> Vec<Account> {
        let read = |bytes| rkyv::from_bytes::<Account, rkyv::rancor::Error>(bytes).unwrap();
        self.accounts.values().map(|bytes| read(bytes)).collect()
    }

    pub(crate) fn holds(&self) -> Vec<Hold> {
        let read = |bytes| rkyv::from_bytes::<Hold, rkyv::rancor::Error>(bytes).unwrap();
        self.holds.values().map(|bytes| read(bytes)).collect()
    }

    pub(crate) fn keys(&self) -> Vec<(TransferKey, KeyRow)> {
        let read = |bytes| rkyv::from_bytes::<KeyRow, rkyv::rancor::Error>(bytes).unwrap();
        self.keys.iter().map(|(key, bytes)| (*key, read(bytes))).collect()
    }

    /// The journal rows of a set, by what the ledger says of it.
    pub(crate) fn lines_of_set(&self, row: Option<KeyRow>) -> Vec<JournalRow> {
        let Some(row) = row else { return Vec::new() };
        let first = usize::try_from(row.first).unwrap();
        self.journal[first..first + usize::from(row.rows)].to_vec()
    }

    pub(crate) fn rows(&self) -> Rows {
        // The order of rows is the store's affair: hand them over backwards.
        let mut accounts = self.accounts();
        accounts.reverse();
        let mut keys = self.keys();
        keys.reverse();
        Rows { head: self.head, accounts, holds: self.holds(), keys }
    }

    pub(crate) fn restore(&self) -> Result<Ledger, LedgerError> {
        Ledger::restore(self.rows())
    }
}
