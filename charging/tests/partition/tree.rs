//! The journal's tree, as a leader signs it and an auditor asks for proofs.

use crate::node::{Node, Store, config};
use ed25519_dalek::SigningKey;
use novax_audit::canonical::{encode, transactions};
use novax_audit::merkle::{self, NodeKey, Nodes, leaf_hash};
use novax_audit::{AuditError, Hash, TreeHead};
use novax_charging::{Command, Keyspace, Outcome, Refusal, TreeHeadRow};
use novax_ledger::JournalRow;
use novax_model::{Currency, Duration, Identity, Timestamp, TransferKey};

/// Tree nodes as they are stored.
pub(crate) struct Stored<'a>(pub(crate) &'a Store);

impl Nodes for Stored<'_> {
    fn read(&self, first: NodeKey, out: &mut [Hash]) -> Result<(), AuditError> {
        for (index, hash) in (first.index..).zip(out) {
            let key = NodeKey { index, ..first };
            let row = self.0.get(&(Keyspace::TreeNodes, key.to_bytes().to_vec()));
            let row = row.ok_or(AuditError::NodeMissing(key))?;
            hash.copy_from_slice(row);
        }
        Ok(())
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_800_000_000_000_000 + seconds * 1_000_000)
}

fn alice() -> Identity {
    Identity::new("alice").unwrap()
}

/// A node whose driver has got `deposits` deposits, one a second.
fn node(deposits: u64) -> Node {
    let mut node = Node::new(config(0));
    let (driver, currency) = (alice(), Currency::EUR);
    let put =
        Command::PutDriver { driver, salt: [7; 32], tokens: vec![], currency, blocked: false };
    node.one(at(0), put);
    for n in 1..=deposits {
        let key = TransferKey(u128::from(n));
        node.one(at(n), Command::Deposit { key, driver: alice(), amount: 100 });
    }
    node
}

fn heads(node: &Node) -> Vec<TreeHeadRow> {
    node.rows(Keyspace::TreeHeads)
}

#[test]
fn every_transaction_can_be_proved_from_what_is_stored() {
    let node = node(40);
    node.check_books();
    let head = heads(&node).last().expect("a head a second").head;
    assert_eq!(head.size, 40);
    let rows: Vec<JournalRow> = node.rows(Keyspace::Transfers);
    for (leaf, set) in (0..).zip(transactions(&rows)) {
        let proof = merkle::inclusion_proof(&Stored(&node.store), leaf, head.size).unwrap();
        let mut bytes = Vec::new();
        encode(node.config.partition, set, &mut bytes).unwrap();
        let hash = leaf_hash(&bytes);
        merkle::verify_inclusion(&hash, leaf, head.size, &proof, &head.root).unwrap();
    }
    for older in &heads(&node) {
        let size = older.head.size;
        let proof = merkle::consistency_proof(&Stored(&node.store), size, head.size).unwrap();
        merkle::verify_consistency(size, &older.head.root, head.size, &head.root, &proof).unwrap();
    }
}

#[test]
fn a_head_is_signed_as_it_stands_or_not_at_all() {
    let mut node = node(3);
    let key = SigningKey::from_bytes(&[7; 32]);
    let head = *node.partition.unsigned_head().expect("a head waits");
    let forged = TreeHead { root: [1; 32], ..head };
    let sign = |head: TreeHead| Command::SignTreeHead(Box::new(head.sign(&key)));
    let refused = Outcome::Refused(Refusal::WrongHead);
    assert_eq!(node.one(at(10), sign(forged)), refused);
    assert_eq!(node.one(at(11), sign(head)), Outcome::Done);
    assert_eq!(node.one(at(12), sign(head)), refused, "once");
    assert_eq!(node.partition.unsigned_head(), None, "it vouches for those before it");
    let stored = heads(&node);
    let signed = stored.iter().filter_map(|row| row.signed).collect::<Vec<_>>();
    assert_eq!(signed.len(), 1);
    let keys = novax_audit::PublicKeys::new(&key.verifying_key().to_bytes()).unwrap();
    keys.verify(&signed[0]).unwrap();
}

#[test]
fn a_head_comes_a_second_after_the_last_though_nothing_else_happens() {
    let mut node = node(1);
    let driver = alice();
    // Within the second of the head before: no head yet, but a time at which it is due.
    let soon = Timestamp(at(1).0 + 1_000);
    node.one(soon, Command::Deposit { key: TransferKey(9), driver, amount: 1 });
    assert_eq!(heads(&node).last().unwrap().head.size, 1);
    let due = heads(&node)[0].head.at.saturating_add(Duration::from_secs(1));
    assert_eq!(node.partition.next_deadline(), Some(due));
    node.one(due, Command::Tick);
    assert_eq!(heads(&node).last().unwrap().head.size, 2);
    assert_eq!(node.partition.next_deadline(), None);
}
