//! Proofs that transactions are in a Merkle tree of many. Nodes are read from memory: this is the tree's
//! own cost, without a store's.

use super::failed;
use crate::cpu;
use crate::error::Result;
use novax_audit::merkle::{inclusion_proof, leaf_hash, verify_inclusion};
use novax_audit::{AuditError, Hash, NodeKey, Nodes, Tree};

const PROOFS: u64 = 10_000;

/// What a proof takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// The stored levels, every fourth, as plain arrays.
#[derive(Default)]
struct Levels(Vec<Vec<Hash>>);

impl Levels {
    fn put(&mut self, key: NodeKey, node: Hash) {
        let level = usize::from(key.level / 4);
        if self.0.len() <= level {
            self.0.push(Vec::new());
        }
        assert_eq!(self.0[level].len() as u64, key.index, "nodes come in order");
        self.0[level].push(node);
    }
}

impl Nodes for Levels {
    fn read(&self, first: NodeKey, out: &mut [Hash]) -> std::result::Result<(), AuditError> {
        let start = usize::try_from(first.index).map_err(|_| AuditError::NodeMissing(first))?;
        let level = self.0.get(usize::from(first.level / 4));
        let nodes = level.and_then(|level| level.get(start..start + out.len()));
        out.copy_from_slice(nodes.ok_or(AuditError::NodeMissing(first))?);
        Ok(())
    }
}

/// Proves leaves far apart, each other than the one before, and verifies each proof off the clock.
pub(crate) fn prove(leaves: u64) -> Result<Took> {
    let (mut tree, mut levels) = (Tree::new(), Levels::default());
    let leaf = |number: u64| leaf_hash(&number.to_le_bytes());
    for number in 0..leaves {
        for (key, node) in tree.append(leaf(number)) {
            levels.put(key, node);
        }
    }
    let root = tree.root();
    let mut times_us = Vec::new();
    for number in (0..PROOFS).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % leaves) {
        let begun = cpu::of_thread();
        let proof = inclusion_proof(&levels, number, leaves).map_err(failed)?;
        times_us.push((cpu::of_thread() - begun).as_secs_f64() * 1e6);
        verify_inclusion(&leaf(number), number, leaves, &proof, &root).map_err(failed)?;
    }
    times_us.sort_by(f64::total_cmp);
    Ok(Took { p50_us: times_us[times_us.len() / 2], p99_us: times_us[times_us.len() * 99 / 100] })
}
