//! The tree against the RFC's own recursion, against the crate ct-merkle, against known roots.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use novax_audit::merkle::{
    MemoryNodes, consistency_proof, first_difference, inclusion_proof, leaf_hash, node_hash,
    root_at, verify_consistency, verify_inclusion,
};
use novax_audit::{AuditError, Hash, NodeKey, Nodes, Tree, hash};
use proptest::prelude::*;
use sha2_oracle::Sha256;

/// Sizes gone through one by one: all shapes of the lowest levels, and past one stored level.
const SIZES: u64 = 70;

fn leaf(number: u64) -> Hash {
    leaf_hash(format!("transaction {number}").as_bytes())
}

fn grown(size: u64) -> (Tree, MemoryNodes) {
    let (mut tree, mut nodes) = (Tree::new(), MemoryNodes::default());
    for number in 0..size {
        nodes.extend(tree.append(leaf(number)));
    }
    (tree, nodes)
}

/// RFC 9162, 2.1.1, word for word.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => hash::from_hex(EMPTY).unwrap(),
        [one] => *one,
        many => {
            let mut k = 1;
            while k * 2 < many.len() {
                k *= 2;
            }
            node_hash(&naive_root(&many[..k]), &naive_root(&many[k..]))
        }
    }
}

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The inputs and roots that RFC 6962 implementations share (certificate-transparency's tests).
const INPUTS: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn known_roots_of_the_rfc_come_out() {
    let mut tree = Tree::new();
    assert_eq!(hash::to_hex(&tree.root()), EMPTY);
    for (input, root) in INPUTS.iter().zip(ROOTS) {
        let digits = input.as_bytes().chunks(2);
        let bytes: Vec<u8> = digits
            .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(tree.append(leaf_hash(&bytes)).len(), 1);
        assert_eq!(hash::to_hex(&tree.root()), root);
    }
}

#[test]
fn every_proof_of_every_small_tree_holds_and_holds_for_nothing_else() {
    let (_, nodes) = grown(SIZES);
    let leaves: Vec<Hash> = (0..SIZES).map(leaf).collect();
    for size in 1..=SIZES {
        let root = root_at(&nodes, size).unwrap();
        assert_eq!(root, naive_root(&leaves[..size as usize]), "size {size}");
        for number in 0..size {
            let proof = inclusion_proof(&nodes, number, size).unwrap();
            verify_inclusion(&leaf(number), number, size, &proof, &root).unwrap();
            let wrong = verify_inclusion(&leaf(number + 1), number, size, &proof, &root);
            assert_eq!(wrong, Err(AuditError::ProofWrong));
            for other in (0..size).filter(|other| *other != number) {
                let moved = verify_inclusion(&leaf(number), other, size, &proof, &root);
                assert!(moved.is_err(), "{number} of {size} passed for {other}");
            }
        }
    }
}

#[test]
fn every_consistency_of_small_trees_holds_and_holds_for_nothing_else() {
    let (_, nodes) = grown(SIZES);
    for new in 0..=SIZES {
        let new_root = root_at(&nodes, new).unwrap();
        for old in 0..=new {
            let old_root = root_at(&nodes, old).unwrap();
            let proof = consistency_proof(&nodes, old, new).unwrap();
            verify_consistency(old, &old_root, new, &new_root, &proof).unwrap();
            let forged = leaf(1_000);
            assert!(verify_consistency(old, &forged, new, &new_root, &proof).is_err());
            if old > 0 {
                assert!(verify_consistency(old, &old_root, new, &forged, &proof).is_err());
            }
            let longer = [&proof[..], &[forged]].concat();
            assert!(verify_consistency(old, &old_root, new, &new_root, &longer).is_err());
            if let Some((_, shorter)) = proof.split_last() {
                assert!(verify_consistency(old, &old_root, new, &new_root, shorter).is_err());
            }
        }
    }
}

#[test]
fn ct_merkle_gives_the_same_roots_and_proofs() {
    let (_, nodes) = grown(SIZES);
    let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut old_roots = Vec::new();
    for size in 1..=SIZES {
        oracle.push(format!("transaction {}", size - 1).into_bytes());
        let root = oracle.root();
        assert_eq!(root.as_bytes()[..], root_at(&nodes, size).unwrap());
        old_roots.push(root);
        for number in 0..size {
            let theirs = oracle.prove_inclusion(usize::try_from(number).unwrap());
            let ours = inclusion_proof(&nodes, number, size).unwrap().concat();
            assert_eq!(theirs.as_bytes(), ours, "leaf {number} of {size}");
        }
        for old in 1..size {
            let theirs = oracle.prove_consistency(usize::try_from(size - old).unwrap());
            let ours = consistency_proof(&nodes, old, size).unwrap().concat();
            assert_eq!(theirs.as_bytes(), ours, "{old} to {size}");
        }
    }
}

#[test]
fn a_proof_is_refused_for_what_the_tree_does_not_have() {
    let (_, nodes) = grown(5);
    let missing = AuditError::OutOfRange { asked: 5, size: 5 };
    assert_eq!(inclusion_proof(&nodes, 5, 5), Err(missing.clone()));
    assert_eq!(verify_inclusion(&leaf(5), 5, 5, &[], &leaf(0)), Err(missing));
    assert!(inclusion_proof(&nodes, 0, 0).is_err());
    assert!(consistency_proof(&nodes, 6, 5).is_err());
    let beyond = root_at(&nodes, 6).unwrap_err();
    assert_eq!(beyond, AuditError::NodeMissing(NodeKey { level: 0, index: 4 + 1 }));
}

#[test]
fn only_levels_0_4_8_are_stored_and_each_node_once() {
    let mut tree = Tree::new();
    let mut counts = [0_u64; 64];
    for number in 0..600 {
        for (key, _) in tree.append(leaf(number)) {
            assert_eq!(key.level % 4, 0);
            assert_eq!(key.index, counts[usize::from(key.level)], "in order, without gaps");
            counts[usize::from(key.level)] += 1;
        }
    }
    assert_eq!(counts[..12], [600, 0, 0, 0, 37, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn a_tree_goes_on_from_its_row() {
    let (tree, _) = grown(37);
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&tree).unwrap();
    let mut restored: Tree = rkyv::from_bytes::<Tree, rkyv::rancor::Error>(&bytes).unwrap();
    restored.check().unwrap();
    assert_eq!(restored, tree);
    for number in 37..100 {
        let _ = restored.append(leaf(number));
    }
    assert_eq!(restored, grown(100).0);
    let short = restored.frontier()[1..].to_vec();
    assert!(Tree::from_parts(restored.size(), short).is_err());
}

#[test]
fn node_keys_sort_as_their_bytes() {
    let keys = [(0, 0), (0, 255), (0, 256), (4, 0), (4, 1 << 40), (8, 3)];
    let keys = keys.map(|(level, index)| NodeKey { level, index });
    let bytes = keys.map(NodeKey::to_bytes);
    assert!(bytes.is_sorted() && keys.is_sorted());
    assert_eq!(bytes.map(NodeKey::from_bytes), keys);
}

/// Some node of a store was changed after the fact, its ancestors with it or not.
struct Changed<'a>(&'a MemoryNodes, NodeKey);

impl Nodes for Changed<'_> {
    fn read(&self, first: NodeKey, out: &mut [Hash]) -> Result<(), AuditError> {
        self.0.read(first, out)?;
        if first.level == self.1.level && first.index <= self.1.index {
            let place = usize::try_from(self.1.index - first.index).unwrap();
            if let Some(node) = out.get_mut(place) {
                node[0] ^= 1;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn proofs_hold_in_larger_trees(size in 1_u64..3_000, a in any::<u64>(), b in any::<u64>()) {
        let (tree, nodes) = grown(size);
        let root = tree.root();
        prop_assert_eq!(root, root_at(&nodes, size).unwrap());
        let (number, old) = (a % size, b % (size + 1));
        let proof = inclusion_proof(&nodes, number, size).unwrap();
        verify_inclusion(&leaf(number), number, size, &proof, &root).unwrap();
        let proof = consistency_proof(&nodes, old, size).unwrap();
        let old_root = root_at(&nodes, old).unwrap();
        verify_consistency(old, &old_root, size, &root, &proof).unwrap();
    }

    #[test]
    fn a_changed_bit_of_a_proof_is_seen(size in 2_u64..500, a in any::<u64>(), bit in any::<u64>()) {
        let (tree, nodes) = grown(size);
        let number = a % size;
        let mut proof = inclusion_proof(&nodes, number, size).unwrap();
        let bits = proof.len() as u64 * 256;
        let (place, bit) = (bit % bits / 256, bit % 256);
        proof[usize::try_from(place).unwrap()][usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        let seen = verify_inclusion(&leaf(number), number, size, &proof, &tree.root());
        prop_assert_eq!(seen, Err(AuditError::ProofWrong));
    }

    #[test]
    fn the_first_differing_leaf_is_found(size in 1_u64..300, a in any::<u64>()) {
        let number = a % size;
        let (_, nodes) = grown(size);
        let (mut tree, mut changed) = (Tree::new(), MemoryNodes::default());
        for place in 0..size {
            // From the changed leaf on everything may differ: the first is asked for.
            let is_other = place == number || (place > number && place % 3 == 0);
            changed.extend(tree.append(leaf(if is_other { place + size } else { place })));
        }
        prop_assert_eq!(first_difference(&nodes, &changed, size), Ok(Some(number)));
        prop_assert_eq!(first_difference(&nodes, &nodes, size), Ok(None));
        let below = Changed(&nodes, NodeKey { level: 0, index: number });
        let proof = inclusion_proof(&below, number ^ 1, size);
        if let Ok(proof) = proof && number ^ 1 < size {
            let root = root_at(&nodes, size).unwrap();
            prop_assert!(verify_inclusion(&leaf(number ^ 1), number ^ 1, size, &proof, &root).is_err());
        }
    }
}
