//! What tamper evidence costs: a transaction encoded, hashed and appended where it is booked; a
//! proof out of ten million leaves where it is asked for.
//!
//! `cargo bench -p novax-audit` prints one line per figure, `figure <name> <value> <unit>`.

use novax_audit::merkle::{inclusion_proof, leaf_hash, verify_inclusion};
use novax_audit::{AuditError, Hash, NodeKey, Nodes, Tree, canonical};
use novax_ledger::{Code, EntryKind, HoldId, JournalRow};
use novax_model::{AccountId, Currency, PartitionId, Timestamp, TransferKey};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;

const LEAVES: u64 = 10_000_000;
const PROOFS: u64 = 10_000;
const TRANSACTIONS: u32 = 100_000;
const ROUNDS: u32 = 10;
/// A hold posted and split five ways.
const ROWS: u8 = 6;

/// Stored levels as plain arrays: the tree's own cost, without a store's.
#[derive(Default)]
struct Levels(Vec<Vec<Hash>>);

impl Levels {
    fn put(&mut self, key: NodeKey, node: Hash) {
        let level = usize::from(key.level / 4);
        if self.0.len() <= level {
            self.0.push(Vec::new());
        }
        self.0[level].push(node);
    }
}

impl Nodes for Levels {
    fn read(&self, first: NodeKey, out: &mut [Hash]) -> Result<(), AuditError> {
        let start = usize::try_from(first.index).map_err(|_| AuditError::NodeMissing(first))?;
        let level = self.0.get(usize::from(first.level / 4));
        let nodes = level.and_then(|level| level.get(start..start + out.len()));
        out.copy_from_slice(nodes.ok_or(AuditError::NodeMissing(first))?);
        Ok(())
    }
}

fn settlement() -> Vec<JournalRow> {
    let row = |leg: u8| JournalRow {
        number: u64::from(leg),
        index: 9,
        key: TransferKey(1 << 100),
        leg,
        set_row: leg,
        set_rows: ROWS,
        kind: if leg == 0 { EntryKind::PostedHold } else { EntryKind::Posted },
        hold: (leg == 0).then_some(HoldId { key: TransferKey(2), leg: 0 }),
        debit: AccountId(3),
        credit: AccountId(u128::from(leg) + 4),
        amount: 1_234,
        released: 0,
        currency: Currency::EUR,
        code: Code::Energy,
        at: Timestamp(1),
        effective_at: Timestamp(1),
        stated_at: Timestamp(1),
        reverses: None,
        rate: None,
    };
    (0..ROWS).map(row).collect()
}

/// Processor time of this thread: others may use the machine too.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Nanoseconds that each of many calls takes.
fn each(mut call: impl FnMut()) -> f64 {
    let begun = cpu_seconds();
    for _ in 0..TRANSACTIONS {
        call();
    }
    (cpu_seconds() - begun) * 1e9 / f64::from(TRANSACTIONS)
}

fn book() {
    let (rows, mut bytes, mut tree) = (settlement(), Vec::new(), Tree::new());
    let (mut encode, mut hash, mut append) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        encode.push(each(|| {
            bytes.clear();
            canonical::encode(PartitionId(1), black_box(&rows), &mut bytes).expect("one set");
        }));
        let mut leaf = [0; 32];
        hash.push(each(|| leaf = leaf_hash(black_box(&bytes))));
        append.push(each(|| {
            for node in tree.append(leaf) {
                black_box(node);
            }
        }));
    }
    println!("figure transaction_encode_ns {:.0} ns", median(&mut encode));
    println!("figure transaction_leaf_ns {:.0} ns", median(&mut hash));
    println!("figure tree_append_ns {:.0} ns", median(&mut append));
}

fn prove() {
    let (mut tree, mut levels) = (Tree::new(), Levels::default());
    let leaf = |number: u64| leaf_hash(&number.to_le_bytes());
    for number in 0..LEAVES {
        for (key, node) in tree.append(leaf(number)) {
            levels.put(key, node);
        }
    }
    let root = tree.root();
    let mut times = Vec::new();
    // Multiples of an odd number: leaves far apart, each other than the one before.
    let numbers = (0..PROOFS).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % LEAVES);
    for number in numbers {
        let begun = cpu_seconds();
        let proof = inclusion_proof(&levels, number, LEAVES).expect("the leaf is there");
        times.push((cpu_seconds() - begun) * 1e6);
        verify_inclusion(&leaf(number), number, LEAVES, &proof, &root).expect("it is genuine");
    }
    println!("figure proof_us {:.1} us", median(&mut times));
    println!("figure proof_p99_us {:.1} us", times[times.len() * 99 / 100]);
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    book();
    prove();
}
