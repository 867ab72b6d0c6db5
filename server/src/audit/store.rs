//! Heads, proofs and exports from a partition's rows.

use novax_audit::export::Start;
use novax_audit::merkle::{self, NodeKey, Nodes};
use novax_audit::{AuditError, Hash, Rotation, SignedHead, Writer};
use novax_charging::Keyspace;
use novax_charging::rows::{self, LEAF_MARK, TreeHeadRow};
use novax_engine::Snapshot;
use novax_ledger::JournalRow;
use novax_model::PartitionId;
use std::io::Write;

const HEADS: u8 = Keyspace::TreeHeads as u8;
const NODES: u8 = Keyspace::TreeNodes as u8;
const TRANSFERS: u8 = Keyspace::Transfers as u8;

/// The tree's nodes in a snapshot.
struct Stored<'a>(&'a Snapshot);

impl Nodes for Stored<'_> {
    fn read(&self, first: NodeKey, out: &mut [Hash]) -> Result<(), AuditError> {
        for (index, hash) in (first.index..).zip(out) {
            let key = NodeKey { index, ..first };
            let row = self.0.get(NODES, &key.to_bytes()).map_err(unreadable)?;
            let row = row.and_then(|row| <Hash>::try_from(row).ok());
            *hash = row.ok_or(AuditError::NodeMissing(key))?;
        }
        Ok(())
    }
}

fn unreadable(error: impl std::fmt::Display) -> AuditError {
    AuditError::Nodes(error.to_string().into())
}

/// Signed heads, from this size on, in order.
pub fn signed_heads(
    snapshot: &Snapshot,
    from: u64,
) -> impl Iterator<Item = Result<SignedHead, AuditError>> + '_ {
    snapshot.range(HEADS, &from.to_be_bytes(), None).filter_map(|row| {
        let row = row.map_err(unreadable);
        let row = row.and_then(|(_, value)| rows::read::<TreeHeadRow>(&value).map_err(unreadable));
        row.map(|row| row.signed).transpose()
    })
}

/// The newest signed heads, newest first.
///
/// # Errors
/// [`AuditError::Nodes`] when the store cannot be read.
pub fn newest_heads(snapshot: &Snapshot, max: usize) -> Result<Vec<SignedHead>, AuditError> {
    let mut found = Vec::new();
    for row in snapshot.range_rev(HEADS, &[], None) {
        let (_, value) = row.map_err(unreadable)?;
        let row = rows::read::<TreeHeadRow>(&value).map_err(unreadable)?;
        found.extend(row.signed);
        if found.len() >= max {
            break;
        }
    }
    Ok(found)
}

/// That a transfer is in the journal as it was signed.
#[derive(Debug)]
pub struct Inclusion {
    /// Which leaf its transaction is.
    pub leaf: u64,
    /// The transaction in its canonical form.
    pub transaction: Vec<u8>,
    /// The head it is proved against.
    pub head: SignedHead,
    /// From the leaf up.
    pub path: Vec<Hash>,
}

/// Proves the transaction of a journal row against the newest signed head. `None` when there is no such
/// row, or it is not signed yet.
///
/// # Errors
/// [`AuditError`] when the store is damaged.
pub fn prove(
    snapshot: &Snapshot,
    partition: PartitionId,
    number: u64,
) -> Result<Option<Inclusion>, AuditError> {
    let mark = |number: u64| {
        let mut key = vec![LEAF_MARK];
        key.extend_from_slice(&number.to_be_bytes());
        key
    };
    let Some(after) = number.checked_add(1) else { return Ok(None) };
    let Some(found) = snapshot.range_rev(NODES, &mark(0), Some(&mark(after))).next() else {
        return Ok(None);
    };
    let (key, leaf) = found.map_err(unreadable)?;
    let numbers = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    let (Some(first), Some(leaf)) = (numbers(key.get(1..).unwrap_or_default()), numbers(&leaf))
    else {
        return Err(unreadable("a leaf's row is damaged"));
    };
    let set = one_set(snapshot, first)?;
    let rows_in_set = u64::try_from(set.len()).unwrap_or(u64::MAX);
    if number >= first.saturating_add(rows_in_set) {
        return Ok(None);
    }
    let Some(head) = newest_heads(snapshot, 1)?.pop().filter(|head| head.head.size > leaf) else {
        return Ok(None);
    };
    let mut transaction = Vec::new();
    novax_audit::canonical::encode(partition, &set, &mut transaction)?;
    let path = merkle::inclusion_proof(&Stored(snapshot), leaf, head.head.size)?;
    Ok(Some(Inclusion { leaf, transaction, head, path }))
}

/// That the tree of one size goes on into that of another.
///
/// # Errors
/// [`AuditError::OutOfRange`]; others when the store is damaged.
pub fn consistency(snapshot: &Snapshot, from: u64, to: u64) -> Result<Vec<Hash>, AuditError> {
    let newest = newest_heads(snapshot, 1)?.pop().map_or(0, |head| head.head.size);
    if to > newest {
        return Err(AuditError::OutOfRange { asked: to, size: newest });
    }
    merkle::consistency_proof(&Stored(snapshot), from, to)
}

/// The rows of the transaction that begins with this journal number.
fn one_set(snapshot: &Snapshot, first: u64) -> Result<Vec<JournalRow>, AuditError> {
    let mut set: Vec<JournalRow> = Vec::new();
    for row in snapshot.range(TRANSFERS, &first.to_be_bytes(), None) {
        let (_, value) = row.map_err(unreadable)?;
        let row = rows::read::<JournalRow>(&value).map_err(unreadable)?;
        if !set.is_empty() && row.set_row == 0 {
            break;
        }
        set.push(row);
    }
    Ok(set)
}

/// Writes the whole journal of a partition, each part vouched for by the next signed head; before them how
/// the keys followed one another.
///
/// # Errors
/// [`AuditError`].
pub fn export<W: Write>(
    snapshot: &Snapshot,
    partition: PartitionId,
    with_proofs: bool,
    rotations: &[Rotation],
    out: W,
) -> Result<W, AuditError> {
    let mut writer = Writer::new(out, &Start::whole(partition, with_proofs))?;
    for rotation in rotations {
        writer.rotation(rotation)?;
    }
    let mut heads = signed_heads(snapshot, 0);
    let mut head = next_head(&mut heads, &mut writer)?;
    let mut set: Vec<JournalRow> = Vec::new();
    for row in snapshot.range(TRANSFERS, &[], None) {
        let (_, value) = row.map_err(unreadable)?;
        let row = rows::read::<JournalRow>(&value).map_err(unreadable)?;
        if !set.is_empty() && row.set_row == 0 {
            write_set(snapshot, &set, with_proofs, &mut writer, head)?;
            set.clear();
            if head.is_some_and(|head| head.head.size == writer.size()) {
                head = next_head(&mut heads, &mut writer)?;
            }
        }
        set.push(row);
    }
    if !set.is_empty() {
        write_set(snapshot, &set, with_proofs, &mut writer, head)?;
    }
    writer.finish()
}

fn next_head<W: Write>(
    heads: &mut impl Iterator<Item = Result<SignedHead, AuditError>>,
    writer: &mut Writer<W>,
) -> Result<Option<SignedHead>, AuditError> {
    let head = heads.next().transpose()?;
    if let Some(head) = &head {
        writer.head(head)?;
    }
    Ok(head)
}

fn write_set<W: Write>(
    snapshot: &Snapshot,
    set: &[JournalRow],
    with_proofs: bool,
    writer: &mut Writer<W>,
    head: Option<SignedHead>,
) -> Result<(), AuditError> {
    let leaf = writer.size();
    let covered = head.filter(|head| with_proofs && head.head.size > leaf);
    let proof = covered
        .map(|head| merkle::inclusion_proof(&Stored(snapshot), leaf, head.head.size))
        .transpose()?;
    writer.transaction(set, proof.as_deref())
}
