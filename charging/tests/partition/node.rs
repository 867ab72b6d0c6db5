//! One partition with its store, as a node keeps it: every entry is also applied to a second
//! partition restored from the rows just before, and both must do the same.

use novax_audit::canonical::{encode, transactions};
use novax_audit::merkle::leaf_hash;
use novax_charging::{
    Applied, Command, Invoicing, Keyspace, Outcome, Partition, PartitionConfig, RowWrites,
    encode_entry, rows,
};
use novax_ledger::{EntryKind, JournalRow, KeyRow};
use novax_model::{PartitionId, SessionId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// Rows by keyspace and key.
pub(crate) type Store = BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>;

/// A partition and its store.
pub(crate) struct Node {
    pub(crate) partition: Partition,
    pub(crate) config: PartitionConfig,
    pub(crate) store: Store,
    pub(crate) index: u64,
}

/// A configuration with small bounds, so that tests meet them.
pub(crate) fn config(partition: u16) -> PartitionConfig {
    let partition = PartitionId(partition);
    PartitionConfig { partition, keys_max: 3, ..PartitionConfig::default() }
}

impl Node {
    pub(crate) fn new(config: PartitionConfig) -> Node {
        let partition = Partition::new(config.clone());
        Node { partition, config, store: Store::new(), index: 0 }
    }

    /// The partition that the store's rows make.
    pub(crate) fn restored(&self) -> Partition {
        let rows = self.store.iter().map(|((keyspace, key), value)| {
            Ok::<_, Infallible>((*keyspace, key.clone(), value.to_vec()))
        });
        Partition::restore(self.config.clone(), rows).expect("rows that apply wrote")
    }

    /// Applies an entry here and on a partition restored from the rows so far.
    pub(crate) fn apply(&mut self, at: Timestamp, commands: Vec<Command>) -> Applied {
        let heads = self.partition.seal_heads();
        self.write(&heads);
        let (mut twin, mut before) = (self.restored(), self.store.clone());
        let applied = self.apply_once(at, commands.clone());
        let same = twin.apply(self.index, &encode_entry(at, commands), &mut before);
        let same = same.expect("a sound entry");
        assert_eq!(applied, same, "a restored partition does the same");
        assert_eq!(self.partition.state_hash(), twin.state_hash());
        assert_eq!(self.partition.next_deadline(), twin.next_deadline());
        assert_eq!(self.partition.totals().settled, twin.totals().settled);
        applied
    }

    /// Applies an entry here alone.
    pub(crate) fn apply_once(&mut self, at: Timestamp, commands: Vec<Command>) -> Applied {
        self.index += 1;
        let count = commands.len();
        let before = self.partition.now();
        let entry = encode_entry(at, commands);
        let applied = self.partition.apply(self.index, &entry, &mut self.store);
        let applied = applied.expect("a sound entry");
        assert_eq!(applied.outcomes.len(), count, "one outcome for each command");
        assert!(self.partition.now() > before, "time grows");
        self.write(&applied.rows);
        for id in &applied.outbox {
            assert!(self.partition.outbox_row(*id).is_some(), "only standing rows are announced");
        }
        applied
    }

    /// Where the journal has the bill of a session, as the store says.
    pub(crate) fn booked(&self, session: SessionId) -> Option<KeyRow> {
        let key = Partition::bill_key(session).0.to_be_bytes().to_vec();
        let row = self.store.get(&(Keyspace::Keys, key))?;
        Some(rows::read(row).expect("a row that apply wrote"))
    }

    /// How a session stands with its documents.
    pub(crate) fn invoicing(&mut self, session: SessionId) -> Option<Invoicing> {
        self.partition.invoicing(session, &mut self.store)
    }

    /// One command in an entry of its own.
    pub(crate) fn one(&mut self, at: Timestamp, command: Command) -> Outcome {
        self.apply(at, vec![command]).outcomes.remove(0)
    }

    pub(crate) fn write(&mut self, rows: &RowWrites) {
        let mut seen = BTreeSet::new();
        for row in rows.iter() {
            assert!(seen.insert((row.keyspace, row.key)), "each key is written once an entry");
            let key = (row.keyspace, row.key.to_vec());
            match row.value {
                Some(value) => self.store.insert(key, value.to_vec()),
                None => self.store.remove(&key),
            };
        }
    }

    /// All rows of a keyspace, read.
    pub(crate) fn rows<T>(&self, keyspace: Keyspace) -> Vec<T>
    where
        T: rkyv::Archive,
        T::Archived: for<'a> rkyv::bytecheck::CheckBytes<
                rkyv::api::high::HighValidator<'a, rkyv::rancor::Error>,
            > + rkyv::Deserialize<T, rkyv::api::high::HighDeserializer<rkyv::rancor::Error>>,
    {
        self.store
            .iter()
            .filter(|((of, _), _)| *of == keyspace)
            .map(|(_, value)| rows::read(value).expect("a row that apply wrote"))
            .collect()
    }

    /// The journal says the same as the accounts, and no hold is resolved twice.
    pub(crate) fn check_books(&self) {
        self.partition.audit().expect("balanced books");
        let mut held = BTreeSet::new();
        let mut resolved = BTreeSet::new();
        let mut posted: BTreeMap<_, (u128, u128)> = BTreeMap::new();
        for row in self.rows::<JournalRow>(Keyspace::Transfers) {
            match row.kind {
                EntryKind::Held => assert!(held.insert(row.hold), "a hold is placed once"),
                EntryKind::Posted | EntryKind::HeldMore => {}
                _ => assert!(resolved.insert(row.hold), "a hold is resolved at most once"),
            }
            if matches!(row.kind, EntryKind::Posted | EntryKind::PostedHold) {
                posted.entry(row.debit).or_default().0 += row.amount;
                posted.entry(row.credit).or_default().1 += row.amount;
            }
        }
        assert!(resolved.is_subset(&held), "only placed holds are resolved");
        for account in self.partition.ledger().accounts() {
            let sums = posted.get(&account.id).copied().unwrap_or_default();
            assert_eq!(sums, (account.debits_posted, account.credits_posted), "{}", account.name);
        }
        let mut tree = novax_audit::Tree::new();
        for set in transactions(&self.rows::<JournalRow>(Keyspace::Transfers)) {
            let mut leaf = Vec::new();
            encode(self.config.partition, set, &mut leaf).expect("whole sets");
            let _ = tree.append(leaf_hash(&leaf));
        }
        let metas = self.rows::<rows::MetaRow>(Keyspace::Meta);
        assert!(metas.iter().all(|meta| meta.tree == tree), "the tree is that of the journal");
        let standing = self.rows::<novax_ledger::Hold>(Keyspace::Holds).len();
        assert_eq!(standing, held.len() - resolved.len(), "stored holds are those that stand");
    }

    /// Credits less debits of the account of this name, over all currencies.
    pub(crate) fn balance(&self, name: &str) -> i128 {
        let named = self.partition.ledger().accounts().filter(|account| &*account.name == name);
        named
            .map(|account| {
                i128::try_from(account.credits_posted).unwrap()
                    - i128::try_from(account.debits_posted).unwrap()
            })
            .sum()
    }
}
