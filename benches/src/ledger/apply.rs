//! The ledger in memory on one core: sessions held, then rated, taxed, split and posted.
//!
//! A batch stands for a log entry: its changes are taken at its end, as they are in the node. Time is
//! that of the thread, for others may use the machine too; a second is a second of one core.

use super::books::{self, Books, SESSION_TRANSFERS, Spread, WALLETS, refused};
use super::price::{Bill, Prices};
use super::{failed, number};
use crate::cpu;
use crate::error::Result;
use novax_audit::merkle::leaf_hash;
use novax_audit::{Tree, canonical};
use novax_ledger::{JournalRow, Ledger, Stamp};
use novax_model::{PartitionId, Timestamp};
use std::hint::black_box;

const SESSIONS_PER_BATCH: u64 = 500;
const ROUNDS: u64 = 3;

/// Transfers a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Applied {
    pub(crate) uniform: f64,
    pub(crate) hot: f64,
    /// Each set also a leaf of the Merkle tree.
    pub(crate) proved: f64,
}

/// The best of some rounds each: what the machine can do when nothing else wants it. In turns, so that what
/// slows the machine slows all of them.
pub(crate) fn transfers_per_s(prices: &Prices, sessions: u64) -> Result<Applied> {
    let mut best = Applied::default();
    for _ in 0..ROUNDS {
        best.uniform = best.uniform.max(run(prices, Spread::UNIFORM, sessions, None)?);
        best.hot = best.hot.max(run(prices, Spread::HOT, sessions, None)?);
        let mut leaves = Leaves::default();
        best.proved = best.proved.max(run(prices, Spread::UNIFORM, sessions, Some(&mut leaves))?);
    }
    Ok(best)
}

/// Sessions rated a second.
pub(crate) fn rated_per_s(prices: &Prices, sessions: u64) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let begun = cpu::of_thread();
        for session in 0..sessions {
            black_box(prices.rate(black_box(session)));
        }
        best = best.max(number(sessions) / (cpu::of_thread() - begun).as_secs_f64());
    }
    best
}

fn run(
    prices: &Prices,
    spread: Spread,
    sessions: u64,
    mut leaves: Option<&mut Leaves>,
) -> Result<f64> {
    let books = Books::new(spread);
    let mut ledger = books.open()?;
    let (mut bill, mut legs) = (Bill::default(), Vec::new());
    let batches = sessions.div_ceil(SESSIONS_PER_BATCH);
    let begun = cpu::of_thread();
    for batch in 0..batches {
        let stamp = Stamp::now(batch + 2, Timestamp(1_000 + batch * 1_000));
        let sessions = batch * SESSIONS_PER_BATCH..(batch + 1) * SESSIONS_PER_BATCH;
        for session in sessions.clone() {
            let held = ledger.post(stamp, books.hold_key(session), &[books.hold(session)]);
            black_box(held.map_err(|error| refused(&error))?);
        }
        for session in sessions {
            prices.bill(session, &mut bill)?;
            books.settle(session, &bill, &mut legs);
            let settled = ledger.post(stamp, books.bill_key(session), &legs);
            black_box(settled.map_err(|error| refused(&error))?);
        }
        let changes = ledger.take_changes();
        books::visit(changes);
        if let Some(leaves) = &mut leaves {
            leaves.take(changes.journal())?;
        }
    }
    let seconds = (cpu::of_thread() - begun).as_secs_f64();
    let sessions = batches * SESSIONS_PER_BATCH;
    check(&ledger, sessions)?;
    if let Some(leaves) = leaves {
        assert_eq!(leaves.tree.size(), sessions * 2, "each set is a leaf");
    }
    Ok(number(sessions * SESSION_TRANSFERS) / seconds)
}

/// The sums of the ledger are those of its rows, nothing is held, and nothing is missing.
fn check(ledger: &Ledger, sessions: u64) -> Result<()> {
    ledger.audit().map_err(|error| refused(&error))?;
    assert_eq!(ledger.holds().count(), 0, "all sessions are settled");
    assert_eq!(ledger.next_journal(), WALLETS + sessions * SESSION_TRANSFERS);
    Ok(())
}

/// The Merkle tree that grows with the ledger.
#[derive(Default)]
struct Leaves {
    tree: Tree,
    bytes: Vec<u8>,
}

impl Leaves {
    fn take(&mut self, rows: &[JournalRow]) -> Result<()> {
        for set in canonical::transactions(rows) {
            self.bytes.clear();
            canonical::encode(PartitionId(1), set, &mut self.bytes).map_err(failed)?;
            for node in self.tree.append(leaf_hash(&self.bytes)) {
                black_box(node);
            }
        }
        Ok(())
    }
}
