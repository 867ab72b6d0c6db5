//! What the ledger costs a core: sessions held, then taken and split five ways, in memory.
//!
//! `cargo bench -p novax-ledger` prints one line per figure, `figure <name> <value> <unit>`. A leg is
//! a transfer. A batch stands for a log entry: its changes are taken at its end, as they are in the
//! server.

use std::hint::black_box;
use std::time::Instant;

use novax_ledger::{Account, Code, HoldId, Ledger, Leg, Limit, Opening, Stamp};
use novax_model::{AccountId, Currency, Timestamp, TransferKey};

const WALLETS: u64 = 100_000;
const SESSIONS: u64 = 400_000;
const SESSIONS_PER_BATCH: u64 = 500;
const LEGS_PER_SESSION: u64 = 7;
const ROUNDS: u64 = 3;

/// Spreads as a hash would: ids in the field are hashes.
fn id(kind: u64, number: u64) -> u128 {
    let low = (number ^ kind << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let low = (low ^ low >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let high = (low ^ low >> 32).wrapping_mul(0x94d0_49bb_1331_11eb);
    u128::from(high) << 64 | u128::from(low)
}

fn wallet(number: u64) -> AccountId {
    AccountId(id(1, number))
}

/// The accounts that earn: as many of each kind as sites, or just one of each.
fn earner(kind: u64, number: u64, spread: u64) -> AccountId {
    AccountId(id(2 + kind, number % spread))
}

fn ledger(spread: u64) -> Ledger {
    let mut ledger = Ledger::new();
    let at = Timestamp(1);
    let funding = AccountId(id(100, 0));
    let eur = Currency::EUR;
    ledger.open_account(at, Opening::new(funding, "funding", eur, Limit::None)).expect("new");
    for kind in 0..6 {
        for number in 0..spread {
            let id = earner(kind, number, spread);
            let opening = Opening::new(id, "earner/of-some-name", eur, Limit::None);
            ledger.open_account(at, opening).expect("new");
        }
    }
    for number in 0..WALLETS {
        let limit = Limit::DebitsMustNotExceedCredits;
        let name = format!("driver/{number:08}");
        let opening = Opening::new(wallet(number), &name, eur, limit);
        ledger.open_account(at, opening).expect("new");
        let (debit, credit, code) = (funding, wallet(number), Code::Deposit);
        let leg = Leg::Post { debit, credit, amount: 1_000_000_000, code };
        ledger.post(Stamp::now(1, at), TransferKey(id(50, number)), &[leg]).expect("room");
    }
    ledger.take_changes();
    ledger
}

fn hold_leg(session: u64, spread: u64, expires: Timestamp) -> Leg {
    let wallet = wallet(session.wrapping_mul(7_919) % WALLETS);
    let clearing = earner(0, session, spread);
    Leg::Hold { debit: wallet, credit: clearing, amount: 3_000, code: Code::Hold, expires }
}

fn bill_legs(session: u64, spread: u64) -> [Leg; 6] {
    let clearing = earner(0, session, spread);
    let share = |kind, amount, code| Leg::Post {
        debit: clearing,
        credit: earner(kind, session, spread),
        amount,
        code,
    };
    let hold = HoldId { key: TransferKey(id(60, session)), leg: 0 };
    [
        Leg::PostHold { hold, amount: 2_622, code: Code::Energy },
        share(1, 220, Code::SiteHostShare),
        share(2, 1_800, Code::OperatorShare),
        share(3, 83, Code::PlatformShare),
        share(4, 100, Code::RoamingShare),
        share(5, 419, Code::Tax),
    ]
}

/// Transfers a second.
fn run(spread: u64) -> f64 {
    let mut ledger = ledger(spread);
    let begin = Instant::now();
    for batch in 0..SESSIONS / SESSIONS_PER_BATCH {
        let at = Timestamp(1_000 + batch * 1_000);
        let stamp = Stamp::now(batch, at);
        let expires = Timestamp(at.0 + 3_600_000_000);
        let sessions = batch * SESSIONS_PER_BATCH..(batch + 1) * SESSIONS_PER_BATCH;
        for session in sessions.clone() {
            let leg = hold_leg(session, spread, expires);
            let key = TransferKey(id(60, session));
            black_box(ledger.post(stamp, key, &[leg]).expect("room"));
        }
        for session in sessions {
            let key = TransferKey(id(61, session));
            black_box(ledger.post(stamp, key, &bill_legs(session, spread)).expect("held"));
        }
        let changes = ledger.take_changes();
        black_box(changes.accounts().map(Account::available).max());
        black_box(changes.holds().map(|(_, hold)| hold.map(|hold| hold.amount)).max());
        black_box(changes.keys().map(|(_, row)| row.first).max());
        black_box(changes.journal());
    }
    let seconds = begin.elapsed().as_secs_f64();
    ledger.audit().expect("balanced");
    assert_eq!(ledger.holds().count(), 0);
    assert_eq!(ledger.next_journal(), WALLETS + SESSIONS * LEGS_PER_SESSION);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let transfers = (SESSIONS * LEGS_PER_SESSION) as f64;
    transfers / seconds
}

/// The best of some rounds: what the machine can do when nothing else wants it.
fn best(spread: u64) -> f64 {
    (0..ROUNDS).map(|_| run(spread)).fold(0.0, f64::max)
}

fn main() {
    let uniform = best(10_000);
    let hot = best(1);
    println!("figure ledger_transfers_per_s {uniform:.0} transfers/s");
    println!("figure ledger_hot_transfers_per_s {hot:.0} transfers/s");
    println!("figure ledger_hot_ratio {:.3} ratio", hot / uniform);
}
