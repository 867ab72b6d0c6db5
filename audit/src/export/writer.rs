//! Writes an export. It holds itself to the order a reader asks for, and to heads that fit what it
//! was given, so that no export is written that would not verify for want of order.

use std::io::Write;

use novax_ledger::JournalRow;
use novax_model::PartitionId;

use super::record::{Kind, first_link, preamble, seal};
use crate::canonical::encode;
use crate::error::AuditError;
use crate::hash::Hash;
use crate::head::{Rotation, SignedHead};
use crate::merkle::{PROOF_HASHES_MAX, Tree, leaf_hash};

/// Where an export begins.
#[derive(Debug, Clone)]
pub struct Start {
    /// Whose journal.
    pub partition: PartitionId,
    /// The tree before the first transaction: empty, or as it was at an earlier head.
    pub tree: Tree,
    /// The journal number of the first row.
    pub next_journal: u64,
    /// Whether each transaction that a head covers brings its inclusion proof. A forger who knows
    /// every check sum can then not hide which transaction was forged; without proofs, only
    /// between which heads.
    pub with_proofs: bool,
}

impl Start {
    /// From the very beginning.
    #[must_use]
    pub fn whole(partition: PartitionId, with_proofs: bool) -> Self {
        Self { partition, tree: Tree::new(), next_journal: 0, with_proofs }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.partition.0.to_le_bytes());
        bytes.push(u8::from(self.with_proofs));
        bytes.extend_from_slice(&self.tree.size().to_le_bytes());
        bytes.extend_from_slice(&self.next_journal.to_le_bytes());
        for peak in self.tree.frontier() {
            bytes.extend_from_slice(peak);
        }
        bytes
    }
}

/// Writes an export, record by record.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    partition: PartitionId,
    with_proofs: bool,
    tree: Tree,
    link: Hash,
    /// The last head written.
    head: Option<SignedHead>,
    /// Kept between transactions, so that its memory is.
    encoded: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins.
    ///
    /// # Errors
    /// [`AuditError::TreeInconsistent`], [`AuditError::Io`].
    pub fn new(mut out: W, start: &Start) -> Result<Self, AuditError> {
        start.tree.check()?;
        out.write_all(&preamble())?;
        let mut writer = Self {
            out,
            partition: start.partition,
            with_proofs: start.with_proofs,
            tree: start.tree.clone(),
            link: first_link(),
            head: None,
            encoded: Vec::new(),
        };
        writer.record(Kind::Start, &start.to_bytes())?;
        Ok(writer)
    }

    /// How many transactions there are up to here, those before the start too.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// A change of keys; before the first head that the new key signed.
    ///
    /// # Errors
    /// [`AuditError::Io`].
    pub fn rotation(&mut self, rotation: &Rotation) -> Result<(), AuditError> {
        self.record(Kind::Rotation, &rotation.to_bytes())
    }

    /// A head, before the transactions that it covers and the one before it does not. Not every
    /// head need be exported: the last one is enough, more of them narrow a forgery down.
    ///
    /// # Errors
    /// [`AuditError::OutOfOrder`] when transactions of the head before are still to come, or this
    /// one does not fit; [`AuditError::Io`].
    pub fn head(&mut self, signed: &SignedHead) -> Result<(), AuditError> {
        if self.awaits_transactions() {
            return Err(AuditError::OutOfOrder("transactions of the last head are missing"));
        }
        if signed.head.partition != self.partition || signed.head.size < self.tree.size() {
            return Err(AuditError::OutOfOrder("the head is of another partition, or too old"));
        }
        if signed.head.size == self.tree.size() && signed.head.root != self.tree.root() {
            return Err(AuditError::OutOfOrder("the head has another root"));
        }
        self.head = Some(*signed);
        self.record(Kind::Head, &signed.to_bytes())
    }

    /// The next transaction, with its inclusion proof in the tree of the last head exactly when the
    /// start says so and that head covers it.
    ///
    /// # Errors
    /// [`AuditError::NotOneSet`]; [`AuditError::OutOfOrder`] when a proof is missing or one too
    /// many, or the transactions do not make up the last head's root; [`AuditError::Io`].
    pub fn transaction(
        &mut self,
        rows: &[JournalRow],
        proof: Option<&[Hash]>,
    ) -> Result<(), AuditError> {
        let needs_proof = self.with_proofs && self.awaits_transactions();
        if needs_proof != proof.is_some() {
            return Err(AuditError::OutOfOrder("each covered transaction has a proof, or none"));
        }
        if proof.is_some_and(|proof| proof.len() > PROOF_HASHES_MAX) {
            return Err(AuditError::OutOfOrder("the proof is too long"));
        }
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        encode(self.partition, rows, &mut encoded)?;
        self.record(Kind::Transaction, &encoded)?;
        let _stored = self.tree.append(leaf_hash(&encoded));
        self.encoded = encoded;
        if let Some(proof) = proof {
            self.record(Kind::Proof, &proof.concat())?;
        }
        let head = self.head.map(|signed| signed.head);
        if head.is_some_and(|h| h.size == self.tree.size() && h.root != self.tree.root()) {
            return Err(AuditError::OutOfOrder("the transactions do not make up the head's root"));
        }
        Ok(())
    }

    /// Ends it; gives the writer back, flushed.
    ///
    /// # Errors
    /// [`AuditError::OutOfOrder`] when transactions of the last head are missing;
    /// [`AuditError::Io`].
    pub fn finish(mut self) -> Result<W, AuditError> {
        if self.awaits_transactions() {
            return Err(AuditError::OutOfOrder("transactions of the last head are missing"));
        }
        let mut body = self.tree.size().to_le_bytes().to_vec();
        body.extend_from_slice(&self.tree.root());
        self.record(Kind::End, &body)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn awaits_transactions(&self) -> bool {
        self.head.is_some_and(|signed| signed.head.size > self.tree.size())
    }

    fn record(&mut self, kind: Kind, body: &[u8]) -> Result<(), AuditError> {
        let (head, tail) = seal(&mut self.link, kind as u8, body);
        self.out.write_all(&head)?;
        self.out.write_all(body)?;
        self.out.write_all(&tail)?;
        Ok(())
    }
}
