//! The journal's Merkle tree and the chain over the log, and heads for the leader to sign.
//!
//! **Invariants**: one leaf for each transaction of the journal, in its order; a head says what the tree
//! and the chain were right after an entry; a head is signed at most once, and only as it is.

use crate::command::{Outcome, Refusal};
use crate::rows::{Keyspace, LEAF_MARK, MetaRow, TreeHeadRow};
use crate::state::State;
use crate::writes::RowWrites;
use novax_audit::canonical::{encode, transactions};
use novax_audit::merkle::leaf_hash;
use novax_audit::{SignedHead, TreeHead, chain};
use novax_ledger::JournalRow;
use novax_model::{Duration, PartitionId, Timestamp};
use std::collections::BTreeMap;

/// Heads that wait for a signature; older ones stay unsigned, a newer one vouches for them too.
const UNSIGNED_MAX: usize = 64;

/// What is known of heads.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    last: Option<TreeHead>,
    unsigned: BTreeMap<u64, TreeHead>,
    /// Size of the newest head that was restored with a signature.
    signed: u64,
    buffer: Vec<u8>,
}

impl Heads {
    /// Takes a stored head in; any order will do.
    pub(crate) fn restore(&mut self, row: &TreeHeadRow) {
        if self.last.is_none_or(|last| last.size < row.head.size) {
            self.last = Some(row.head);
        }
        if row.signed.is_some() {
            // It vouches for those before it, which wait no more.
            self.signed = self.signed.max(row.head.size);
            self.unsigned = self.unsigned.split_off(&(self.signed + 1));
        } else if row.head.size > self.signed {
            self.wait(row.head);
        }
    }

    fn wait(&mut self, head: TreeHead) {
        self.unsigned.insert(head.size, head);
        while self.unsigned.len() > UNSIGNED_MAX {
            self.unsigned.pop_first();
        }
    }

    /// What an entry booked becomes leaves.
    pub(crate) fn grow(
        &mut self,
        partition: PartitionId,
        meta: &mut MetaRow,
        journal: &[JournalRow],
        out: &mut RowWrites,
    ) {
        for set in transactions(journal) {
            let leaf = meta.tree.size();
            let mut key = [LEAF_MARK; 9];
            let number = set.first().map_or(0, |row| row.number);
            key[1..].copy_from_slice(&number.to_be_bytes());
            out.write(Keyspace::TreeNodes, &key, Some(&leaf.to_be_bytes()));
            self.buffer.clear();
            encode(partition, set, &mut self.buffer).expect("the ledger writes whole sets");
            for (key, hash) in meta.tree.append(leaf_hash(&self.buffer)) {
                out.write(Keyspace::TreeNodes, &key.to_bytes(), Some(&hash));
            }
        }
        let (size, now) = (meta.tree.size(), meta.time);
        if TreeHead::is_due(self.last.as_ref(), size, now) {
            let head = TreeHead {
                partition,
                size,
                root: meta.tree.root(),
                log_index: meta.applied_index,
                log_chain: meta.log_chain,
                at: now,
            };
            self.last = Some(head);
            self.wait(head);
            write_head(&TreeHeadRow { head, signed: None }, out);
        }
    }
}

impl State {
    /// The chain goes on with an entry.
    pub(crate) fn link_entry(&mut self, index: u64, entry: &[u8]) {
        let mut before = self.meta.log_chain;
        if before == [0; 32] {
            before = chain::genesis(self.config.partition);
        }
        self.meta.log_chain = chain::link(&before, index, entry);
    }

    /// When a head is due though nothing happens.
    pub(crate) fn head_deadline(&self) -> Option<Timestamp> {
        let last = self.heads.last.as_ref()?;
        let waits = self.meta.tree.size() > last.size;
        waits.then(|| last.at.saturating_add(Duration::from_secs(1)))
    }

    /// The newest head that nobody has signed.
    pub(crate) fn unsigned_head(&self) -> Option<&TreeHead> {
        self.heads.unsigned.last_key_value().map(|(_, head)| head)
    }

    /// The leader has signed a head. It vouches for all before it: they need no signature any more.
    pub(crate) fn sign_head(&mut self, signed: &SignedHead) -> Outcome {
        match self.heads.unsigned.get(&signed.head.size) {
            Some(head) if *head == signed.head => {
                self.heads.unsigned = self.heads.unsigned.split_off(&(signed.head.size + 1));
                let row = TreeHeadRow { head: signed.head, signed: Some(*signed) };
                write_head(&row, &mut self.appended);
                Outcome::Done
            }
            _ => Outcome::Refused(Refusal::WrongHead),
        }
    }
}

fn write_head(row: &TreeHeadRow, out: &mut RowWrites) {
    out.write_row(Keyspace::TreeHeads, &row.head.size.to_be_bytes(), Some(row));
}

#[cfg(test)]
mod tests {
    use super::*;
    use novax_audit::Signer;

    /// Found by a simulated cluster (seed 2 of the worlds whose nodes lag): a replica that had started again took a
    /// signature that the others refused.
    #[test]
    fn heads_before_a_signed_one_wait_no_more_after_a_restart_either() {
        let head = |size| TreeHead {
            partition: PartitionId(0),
            size,
            root: [1; 32],
            log_index: size,
            log_chain: [2; 32],
            at: Timestamp(size),
        };
        let signer = Signer::new(ed25519_dalek::SigningKey::from_bytes(&[7; 32]));
        let row = |size, signed: bool| {
            let head = head(size);
            TreeHeadRow { head, signed: signed.then(|| signer.sign(head)) }
        };
        let rows = [row(5, false), row(9, true), row(7, false), row(12, false)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            let mut heads = Heads::default();
            order.iter().for_each(|at| heads.restore(&rows[*at]));
            assert_eq!(heads.unsigned.keys().copied().collect::<Vec<_>>(), [12]);
            assert_eq!(heads.last, Some(head(12)));
        }
    }
}
