//! The ledger beside PostgreSQL: transfers in memory with rating and split, transfers that are durable first,
//! holds by clients who wait for each; what rating and proofs take.
//!
//! Floors, top first: this file (the order of things and the figures) > `apply`, `proof`, `durable`, `clients` and
//! the peer > `journal` (the real log) > `entry` (its bytes) > `books`, `price` (the load).

mod apply;
mod books;
mod clients;
mod durable;
mod entry;
mod journal;
mod picture;
mod price;
mod proof;

use crate::Setting;
use crate::error::{BenchError, Result};
use crate::figures::Figures;
use crate::files;
use crate::peers::postgres::{Holds, Postgres, Target};
use books::Spread;
use durable::{Load, Rate};
use price::Prices;
use std::path::Path;
use std::time::Duration;

/// Durable loads are run so often, and the best round counts, on both sides: a disk that others use too moves by
/// factors.
const ROUNDS: u32 = 3;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Sessions held and settled in memory, each round.
    sessions: u64,
    rated: u64,
    leaves: u64,
    /// Of each round of a durable load, ours and PostgreSQL's.
    time: Duration,
}

impl Shape {
    fn new(setting: &Setting) -> Shape {
        Shape {
            sessions: setting.scaled(300_000),
            rated: setting.scaled(400_000),
            leaves: setting.scaled(10_000_000),
            time: Duration::from_secs(setting.scaled(4).max(2)),
        }
    }
}

/// Measures the ledger and its peer.
pub(crate) fn run(setting: &Setting) -> Result<Figures> {
    let shape = Shape::new(setting);
    let mut figures = Figures::default();
    in_memory(shape, &mut figures)?;
    on_disk(setting, shape, &mut figures)?;
    picture::write(setting, &figures)?;
    Ok(figures)
}

fn in_memory(shape: Shape, figures: &mut Figures) -> Result<()> {
    let prices = Prices::new()?;
    figures.add("rated_sessions_per_s", apply::rated_per_s(&prices, shape.rated), "1/s");
    let applied = apply::transfers_per_s(&prices, shape.sessions)?;
    figures.add("apply_transfers_per_s", applied.uniform, "1/s");
    figures.add("apply_hot_transfers_per_s", applied.hot, "1/s");
    figures.add("apply_hot_ratio", applied.hot / applied.uniform, "1");
    figures.add("apply_proved_transfers_per_s", applied.proved, "1/s");
    let took = proof::prove(shape.leaves)?;
    figures.add("proof_us", took.p50_us, "us");
    figures.add("proof_p99_us", took.p99_us, "us");
    Ok(())
}

/// Durable loads in turns, ours and the peer's, so that what slows the machine slows both.
fn on_disk(setting: &Setting, shape: Shape, figures: &mut Figures) -> Result<()> {
    let data = files::data_dir(setting.data_in.as_deref())?;
    let postgres = match setting.peers {
        true => Some(Postgres::start(data.path(), books::WALLETS, books::DEPOSIT)?),
        false => None,
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprintln!("bench: durable, round {round} of {ROUNDS}");
        ours.push(Ours::measure(setting, shape)?);
        if let Some(postgres) = &postgres {
            theirs.push(Theirs::measure(postgres, shape)?);
        }
    }
    let ours = add_ours(&ours, figures);
    if let Some(postgres) = postgres {
        postgres.check(books::HELD)?;
        postgres.stop()?;
        add_theirs(&theirs, ours, figures);
    }
    Ok(())
}

/// One round of ours.
#[derive(Debug, Clone, Copy)]
struct Ours {
    sessions: Rate,
    batched: Rate,
    hot_batched: Rate,
    waiting: Rate,
    hot_waiting: Rate,
}

impl Ours {
    fn measure(setting: &Setting, shape: Shape) -> Result<Ours> {
        let with_data = |work: &dyn Fn(&Path) -> Result<Rate>| {
            let data = files::data_dir(setting.data_in.as_deref())?;
            work(data.path())
        };
        let batched = |load, spread| with_data(&|dir| durable::run(dir, load, spread, shape.time));
        let waiting = |spread| with_data(&|dir| clients::run(dir, spread, shape.time));
        Ok(Ours {
            sessions: batched(Load::Sessions, Spread::UNIFORM)?,
            batched: batched(Load::Holds, Spread::UNIFORM)?,
            hot_batched: batched(Load::Holds, Spread::HOT_HOLDS)?,
            waiting: waiting(Spread::UNIFORM)?,
            hot_waiting: waiting(Spread::HOT_HOLDS)?,
        })
    }
}

/// One round of the peer's.
#[derive(Debug, Clone, Copy)]
struct Theirs {
    waiting: Holds,
    hot_waiting: Holds,
    batched: Holds,
}

impl Theirs {
    fn measure(postgres: &Postgres, shape: Shape) -> Result<Theirs> {
        let (clients, batch) = (clients::CLIENTS, entry::ENTRY_TRANSFERS_MAX);
        let waiting = |target| postgres.holds(clients, target, books::HELD, shape.time);
        Ok(Theirs {
            waiting: waiting(Target::Uniform)?,
            hot_waiting: waiting(Target::Hot)?,
            batched: postgres.batched_holds(batch, books::HELD, shape.time)?,
        })
    }
}

/// Gives the best of the rounds of each load.
fn add_ours(rounds: &[Ours], figures: &mut Figures) -> Ours {
    let most = |of: fn(&Ours) -> Rate| best(rounds.iter().map(of), |rate| rate.per_s);
    let ours = Ours {
        sessions: most(|round| round.sessions),
        batched: most(|round| round.batched),
        hot_batched: most(|round| round.hot_batched),
        waiting: most(|round| round.waiting),
        hot_waiting: most(|round| round.hot_waiting),
    };
    if !ours.sessions.direct {
        eprintln!("bench: this file system has no O_DIRECT: the log goes through the page cache");
    }
    let mut add = |name: &str, cpu_name: &str, rate: Rate| {
        figures.add(name, rate.per_s, "1/s");
        figures.add(cpu_name, rate.cpu_us, "us");
    };
    add("durable_transfers_per_s", "durable_transfer_cpu_us", ours.sessions);
    add("batched_holds_per_s", "batched_hold_cpu_us", ours.batched);
    add("batched_hot_holds_per_s", "batched_hot_hold_cpu_us", ours.hot_batched);
    add("holds_per_s", "hold_cpu_us", ours.waiting);
    add("hot_holds_per_s", "hot_hold_cpu_us", ours.hot_waiting);
    figures.add("durable_write_us", ours.sessions.write_us, "us");
    figures.add("hold_write_us", ours.waiting.write_us, "us");
    ours
}

fn add_theirs(rounds: &[Theirs], ours: Ours, figures: &mut Figures) {
    let most = |of: fn(&Theirs) -> Holds| best(rounds.iter().map(of), |holds| holds.per_s);
    let (uniform, hot) = (most(|round| round.waiting), most(|round| round.hot_waiting));
    let batched = most(|round| round.batched);
    let mut add = |name: &str, cpu_name: &str, holds: Holds| {
        figures.add(name, holds.per_s, "1/s");
        figures.add(cpu_name, holds.cpu_us, "us");
    };
    add("postgres_holds_per_s", "postgres_hold_cpu_us", uniform);
    add("postgres_hot_holds_per_s", "postgres_hot_hold_cpu_us", hot);
    add("postgres_batched_holds_per_s", "postgres_batched_hold_cpu_us", batched);
    // Ours in entries of 8,190, PostgreSQL's one by one from 64 clients: both as they are meant to be used.
    figures.add("postgres_ratio", ours.batched.per_s / uniform.per_s, "1");
    figures.add("postgres_hot_ratio", ours.hot_batched.per_s / hot.per_s, "1");
    // 64 clients who wait for each hold, on both sides.
    figures.add("postgres_64_clients_ratio", ours.waiting.per_s / uniform.per_s, "1");
    figures.add("postgres_64_clients_hot_ratio", ours.hot_waiting.per_s / hot.per_s, "1");
    // Batches on both sides.
    figures.add("postgres_batched_ratio", ours.batched.per_s / batched.per_s, "1");
    figures.add("postgres_cpu_ratio", uniform.cpu_us / ours.waiting.cpu_us, "1");
}

/// The round that did most.
fn best<T>(rounds: impl Iterator<Item = T>, per_s: impl Fn(&T) -> f64) -> T {
    let best = rounds.max_by(|a, b| per_s(a).total_cmp(&per_s(b)));
    best.expect("there is a round")
}

/// What a crate that is measured refuses, which it must not.
fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Answer(error.to_string())
}

/// Whole numbers below 2^53, which f64 has exactly.
fn number(whole: u64) -> f64 {
    Duration::from_secs(whole).as_secs_f64()
}
