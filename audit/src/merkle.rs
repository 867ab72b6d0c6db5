//! The Merkle tree of RFC 9162 over a partition's transactions.
//!
//! Appending needs only the frontier: the roots of the perfect subtrees, largest first, at most 64
//! hashes. Proofs need older nodes, which appending hands out to be stored: those of levels 0, 4,
//! 8, ... A node between is worked out from at most eight below it, which stand beside one another
//! in the store, so that one short scan per level reads a proof, of any leaf at any size the tree
//! once had.
//!
//! Invariants: a node, once handed out, never changes; the frontier has one hash for each bit set
//! in the size; two trees given the same leaves are equal.

use std::collections::BTreeMap;

use rkyv::{Archive, Deserialize, Serialize};

use crate::error::AuditError;
use crate::hash::{Domain, Hash, hash, hash_of_nothing};

pub use crate::ids::NodeKey;

/// One level of this many is stored.
pub const LEVELS_PER_STORED: u8 = 4;
/// The most nodes one leaf completes on stored levels: 0, 4, ..., 64.
const STORED_MAX: usize = 17;
/// The most hashes of a proof: two a level.
pub const PROOF_HASHES_MAX: usize = 128;

/// `SHA-256(0x00 || leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    hash(Domain::Leaf, &[leaf])
}

/// `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    hash(Domain::Node, &[left, right])
}

/// The nodes one append completes, to be stored: the leaf, seldom more. Holds them itself.
#[derive(Debug, Clone)]
pub struct Appended {
    leaf: u64,
    hashes: [Hash; STORED_MAX],
    count: u8,
    next: u8,
}

impl Appended {
    fn push(&mut self, node: Hash) {
        self.hashes[usize::from(self.count)] = node;
        self.count += 1;
    }
}

impl Iterator for Appended {
    type Item = (NodeKey, Hash);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.count {
            return None;
        }
        let level = self.next * LEVELS_PER_STORED;
        let index = self.leaf.checked_shr(u32::from(level)).unwrap_or(0);
        let node = self.hashes[usize::from(self.next)];
        self.next += 1;
        Some((NodeKey { level, index }, node))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.count - self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Appended {}

/// A tree as far as appending needs it. A row of the partition's state.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree {
    size: u64,
    frontier: Vec<Hash>,
}

impl Tree {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self { size: 0, frontier: Vec::with_capacity(64) }
    }

    /// The tree of a size and a frontier that were kept elsewhere, as in an export.
    ///
    /// # Errors
    /// [`AuditError::TreeInconsistent`] when they do not fit.
    pub fn from_parts(size: u64, frontier: Vec<Hash>) -> Result<Self, AuditError> {
        let tree = Self { size, frontier };
        tree.check()?;
        Ok(tree)
    }

    /// Whether the row fits together; call it once after reading it from a store.
    ///
    /// # Errors
    /// [`AuditError::TreeInconsistent`] when it does not.
    pub fn check(&self) -> Result<(), AuditError> {
        if self.frontier.len() == self.size.count_ones() as usize {
            return Ok(());
        }
        Err(AuditError::TreeInconsistent { size: self.size, frontier: self.frontier.len() })
    }

    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its perfect subtrees, largest first.
    #[must_use]
    pub fn frontier(&self) -> &[Hash] {
        &self.frontier
    }

    /// Adds a leaf by its [`leaf_hash`]; gives the nodes to store. The leaf's number is the size
    /// before. The tree is complete when this returns, whether the nodes are taken or not.
    pub fn append(&mut self, leaf: Hash) -> Appended {
        let mut appended =
            Appended { leaf: self.size, hashes: [[0; 32]; STORED_MAX], count: 0, next: 0 };
        appended.push(leaf);
        let mut node = leaf;
        for level in 1..=self.size.trailing_ones() {
            let left = self.frontier.pop().expect("a bit of the size is a peak");
            node = node_hash(&left, &node);
            if level.is_multiple_of(u32::from(LEVELS_PER_STORED)) {
                appended.push(node);
            }
        }
        self.frontier.push(node);
        self.size = self.size.checked_add(1).expect("fewer than 2^64 transactions");
        debug_assert!(self.check().is_ok());
        appended
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        join(&self.frontier)
    }
}

/// The hash over perfect subtrees, largest first; that of nothing for none.
fn join(peaks: &[Hash]) -> Hash {
    let mut peaks = peaks.iter().rev();
    let Some(last) = peaks.next() else { return hash_of_nothing() };
    peaks.fold(*last, |right, left| node_hash(left, &right))
}

/// Where stored nodes are read from.
pub trait Nodes {
    /// Reads the nodes from `first` on, side by side on one level: as many as `out` takes, at most
    /// eight. All of them were handed out by [`Tree::append`].
    ///
    /// # Errors
    /// [`AuditError::NodeMissing`] when one is not there, [`AuditError::Nodes`] when the store
    /// cannot be read.
    fn read(&self, first: NodeKey, out: &mut [Hash]) -> Result<(), AuditError>;
}

/// A small tree's nodes in memory, for tools and tests.
#[derive(Debug, Clone, Default)]
pub struct MemoryNodes(BTreeMap<NodeKey, Hash>);

impl Extend<(NodeKey, Hash)> for MemoryNodes {
    fn extend<I: IntoIterator<Item = (NodeKey, Hash)>>(&mut self, nodes: I) {
        for (key, node) in nodes {
            let before = self.0.insert(key, node);
            assert!(before.is_none(), "node {key} is handed out once");
        }
    }
}

impl Nodes for MemoryNodes {
    fn read(&self, first: NodeKey, out: &mut [Hash]) -> Result<(), AuditError> {
        for (index, out) in (first.index..).zip(out) {
            let key = NodeKey { level: first.level, index };
            *out = *self.0.get(&key).ok_or(AuditError::NodeMissing(key))?;
        }
        Ok(())
    }
}

/// The root the tree had when it had `size` leaves.
///
/// # Errors
/// What [`Nodes::read`] gives.
pub fn root_at(nodes: &impl Nodes, size: u64) -> Result<Hash, AuditError> {
    range_hash(nodes, 0, size)
}

/// That leaf number `leaf` is in the tree of `size` leaves: the siblings on its way up
/// (RFC 9162, 2.1.3.1). `size` may be any size the tree has had.
///
/// # Errors
/// [`AuditError::OutOfRange`] when the tree of that size has no such leaf; what [`Nodes::read`]
/// gives.
pub fn inclusion_proof(nodes: &impl Nodes, leaf: u64, size: u64) -> Result<Vec<Hash>, AuditError> {
    if leaf >= size {
        return Err(AuditError::OutOfRange { asked: leaf, size });
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::with_capacity(64);
    while end - start > 1 {
        let middle = start + largest_power_below(end - start);
        if leaf < middle {
            path.push(range_hash(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_hash(nodes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// That the tree of `new` leaves begins with all of the tree of `old` leaves (RFC 9162, 2.1.4.1).
/// Empty when the sizes are equal and when `old` is 0.
///
/// # Errors
/// [`AuditError::OutOfRange`] when `old` is more than `new`; what [`Nodes::read`] gives.
pub fn consistency_proof(nodes: &impl Nodes, old: u64, new: u64) -> Result<Vec<Hash>, AuditError> {
    if old > new {
        return Err(AuditError::OutOfRange { asked: old, size: new });
    }
    if old == 0 {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, new);
    let mut path = Vec::with_capacity(64);
    // What the older root is made of and the verifier therefore knows is left out.
    let mut is_known = true;
    while end != old {
        let middle = start + largest_power_below(end - start);
        if old <= middle {
            path.push(range_hash(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_hash(nodes, start, middle)?);
            start = middle;
            is_known = false;
        }
    }
    if !is_known {
        path.push(range_hash(nodes, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// The first leaf in which two trees of the same size differ, by going down from the roots: what
/// to ask when a replica or a witness has another root.
///
/// # Errors
/// What [`Nodes::read`] gives.
pub fn first_difference(
    one: &impl Nodes,
    other: &impl Nodes,
    size: u64,
) -> Result<Option<u64>, AuditError> {
    if size == 0 || root_at(one, size)? == root_at(other, size)? {
        return Ok(None);
    }
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + largest_power_below(end - start);
        if range_hash(one, start, middle)? == range_hash(other, start, middle)? {
            start = middle;
        } else {
            end = middle;
        }
    }
    Ok(Some(start))
}

/// The largest power of two below `count`, which is more than one.
fn largest_power_below(count: u64) -> u64 {
    assert!(count > 1, "a single leaf is not split");
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// The hash over leaves `start..end`. `start` is a multiple of a power of two that is no less than
/// their number, as it is wherever the RFC splits.
fn range_hash(nodes: &impl Nodes, start: u64, end: u64) -> Result<Hash, AuditError> {
    assert!(start <= end, "a range runs forward");
    let mut peaks = [[0; 32]; 64];
    let mut count = 0;
    let mut at = start;
    for level in (0..u64::BITS).rev() {
        if (end - start) >> level & 1 == 0 {
            continue;
        }
        peaks[count] = perfect(nodes, level, at >> level)?;
        count += 1;
        at += 1 << level;
    }
    assert!(at == end, "the peaks cover the range");
    Ok(join(&peaks[..count]))
}

/// The root of a perfect subtree, from the nearest stored level below it.
fn perfect(nodes: &impl Nodes, level: u32, index: u64) -> Result<Hash, AuditError> {
    let above = level % u32::from(LEVELS_PER_STORED);
    let stored = u8::try_from(level - above).expect("a level is less than 64");
    let mut row = [[0; 32]; 1 << (LEVELS_PER_STORED - 1)];
    let mut width = 1_usize << above;
    nodes.read(NodeKey { level: stored, index: index << above }, &mut row[..width])?;
    while width > 1 {
        width /= 2;
        for pair in 0..width {
            row[pair] = node_hash(&row[2 * pair], &row[2 * pair + 1]);
        }
    }
    Ok(row[0])
}

/// Checks that the leaf with this hash is number `leaf` of the `size` under `root`
/// (RFC 9162, 2.1.3.2).
///
/// # Errors
/// [`AuditError::OutOfRange`] when there is no such leaf, [`AuditError::ProofWrong`].
pub fn verify_inclusion(
    leaf_hash: &Hash,
    leaf: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), AuditError> {
    if leaf >= size {
        return Err(AuditError::OutOfRange { asked: leaf, size });
    }
    let mut way = Way { place: leaf, last: size - 1 };
    let mut node = *leaf_hash;
    for sibling in proof {
        node = match way.up()? {
            Side::Left => node_hash(sibling, &node),
            Side::Right => node_hash(&node, sibling),
        };
    }
    if way.last == 0 && node == *root { Ok(()) } else { Err(AuditError::ProofWrong) }
}

/// Checks that the tree of `new` leaves under `new_root` begins with that of `old` leaves under
/// `old_root` (RFC 9162, 2.1.4.2).
///
/// # Errors
/// [`AuditError::OutOfRange`] when `old` is more than `new`, [`AuditError::ProofWrong`].
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), AuditError> {
    if old > new {
        return Err(AuditError::OutOfRange { asked: old, size: new });
    }
    if old == 0 || old == new {
        let is_same = if old == 0 { *old_root == hash_of_nothing() } else { old_root == new_root };
        return if is_same && proof.is_empty() { Ok(()) } else { Err(AuditError::ProofWrong) };
    }
    // A perfect older tree is its own first node.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(AuditError::ProofWrong)?
    };
    let shift = (old - 1).trailing_ones();
    let mut way = Way { place: (old - 1) >> shift, last: (new - 1) >> shift };
    let (mut old_node, mut new_node) = (*first, *first);
    for sibling in rest {
        match way.up()? {
            Side::Left => {
                old_node = node_hash(sibling, &old_node);
                new_node = node_hash(sibling, &new_node);
            }
            Side::Right => new_node = node_hash(&new_node, sibling),
        }
    }
    let is_right = way.last == 0 && old_node == *old_root && new_node == *new_root;
    if is_right { Ok(()) } else { Err(AuditError::ProofWrong) }
}

/// On which side of the node the next sibling of a proof stands.
enum Side {
    Left,
    Right,
}

/// The way from a leaf to the root: the RFC's `fn` and `sn`.
struct Way {
    place: u64,
    last: u64,
}

impl Way {
    /// One sibling further up; fails when the root was reached already.
    fn up(&mut self) -> Result<Side, AuditError> {
        if self.last == 0 {
            return Err(AuditError::ProofWrong);
        }
        let side = if self.place & 1 == 1 || self.place == self.last {
            // A node without a right neighbour rises until it has a left one.
            let rise = self.place.trailing_zeros();
            self.place >>= rise;
            self.last >>= rise;
            Side::Left
        } else {
            Side::Right
        };
        self.place >>= 1;
        self.last >>= 1;
        Ok(side)
    }
}
